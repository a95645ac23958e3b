//! What checkpoints promise: what was written comes back, only what is new is written, what is not named goes, damage is
//! told, and a checkpoint that was cut short never was.

use super::*;
use std::path::Path;

const TABLE: GlobalId = GlobalId(16384);

fn body(rows: std::ops::Range<u32>) -> Arc<ChunkBody> {
    let mut body = ChunkBody::default();
    for i in rows {
        let mut row = vec![1];
        row.extend_from_slice(&i.to_be_bytes());
        row.extend_from_slice(b"some text that compresses well, well, well");
        body.push(&row, 5, u64::from(i % 3), 1 + i64::from(i % 2));
    }
    Arc::new(body)
}

fn shard(runs: &[&[Arc<ChunkBody>]]) -> Arc<PublishedShard> {
    let runs = runs.iter().map(|run| run.iter().cloned().map(ChunkView::whole).collect()).collect();
    Arc::new(PublishedShard { since: 3, upper: 11, runs })
}

fn snapshot(tick: u64, shard: &Arc<PublishedShard>) -> Snapshot {
    Snapshot { tick, relations: vec![(TABLE, vec![shard.clone()])], ..Snapshot::default() }
}

fn open(path: &Path) -> Checkpoints {
    Checkpoints::open(&DataDir::open(path).expect("data directory")).expect("checkpoints")
}

fn rows(shards: &[PublishedShard]) -> Vec<(Vec<u8>, u64, i64)> {
    let views = shards.iter().flat_map(|s| s.runs.iter().flatten());
    views
        .flat_map(|v| (v.lo..v.hi).map(|i| (v.body.row(i).to_vec(), v.body.times.get(i), v.body.diffs.get(i))))
        .collect()
}

fn chunk_files(path: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(path.join("checkpoint")).expect("list").map(|e| e.expect("entry").path());
    let mut files: Vec<PathBuf> = all.filter(|p| p.extension().is_some_and(|e| e == "chunks")).collect();
    files.sort();
    files
}

#[test]
fn what_is_on_disk_is_only_named() {
    let home = tempfile::tempdir().expect("a directory");
    let (a, b, c) = (body(0..1000), body(1000..1500), body(5..9));
    {
        let mut all = open(home.path());
        assert_eq!(all.manifest().tick, 0);
        let first = all.write(snapshot(10, &shard(&[&[a.clone(), b.clone()]])), || Ok(())).expect("written");
        assert!(first.bytes > 0 && first.bytes == first.total);
        let more = shard(&[&[a.clone(), b.clone()], std::slice::from_ref(&c)]);
        let second = all.write(snapshot(20, &more), || Ok(())).expect("written");
        assert!(second.bytes < first.bytes / 4, "{second:?}");
        assert_eq!(second.total, first.bytes + second.bytes);
    }
    let mut all = open(home.path());
    assert_eq!((all.manifest().tick, all.manifest().rows()), (20, 1504));
    let back = all.load(TABLE).expect("reads").expect("is there");
    assert_eq!((back[0].since, back[0].upper), (3, 21));
    assert_eq!(rows(&back), rows(&[shard(&[&[a, b], &[c]]).as_ref().clone()]));
    assert!(all.load(GlobalId(1)).expect("reads").is_none());
    // What was loaded is known to be on disk too.
    let again: Vec<Arc<PublishedShard>> = back.into_iter().map(Arc::new).collect();
    let third = Snapshot { tick: 30, relations: vec![(TABLE, again)], ..Snapshot::default() };
    assert_eq!(all.write(third, || Ok(())).expect("written").bytes, 0);
    assert_eq!(all.verify().expect("whole").0, 3);
}

#[test]
fn what_nothing_names_goes_and_sparse_files_are_written_again() {
    let home = tempfile::tempdir().expect("a directory");
    let (large, small) = (body(0..20_000), body(30_000..30_010));
    let mut all = open(home.path());
    all.write(snapshot(1, &shard(&[&[large.clone(), small.clone()]])), || Ok(())).expect("written");
    let rest = shard(&[std::slice::from_ref(&small)]);
    all.write(snapshot(2, &rest), || Ok(())).expect("written");
    assert_eq!(chunk_files(home.path()).len(), 1, "the file still has what is named");
    assert!(all.write(snapshot(3, &rest), || Ok(())).expect("written").bytes > 0, "written again");
    let files = chunk_files(home.path());
    assert_eq!(files.len(), 1);
    assert!(std::fs::metadata(&files[0]).expect("file").len() < 2000);
    all.write(snapshot(4, &shard(&[])), || Ok(())).expect("written");
    assert!(chunk_files(home.path()).is_empty());
}

#[test]
fn one_that_was_cut_short_never_was() {
    let home = tempfile::tempdir().expect("a directory");
    let (a, b) = (body(0..100), body(200..300));
    {
        let mut all = open(home.path());
        all.write(snapshot(10, &shard(&[std::slice::from_ref(&a)])), || Ok(())).expect("written");
        let cut =
            all.write(snapshot(20, &shard(&[&[a.clone(), b.clone()]])), || Err(SqlError::internal("the log failed")));
        assert!(cut.is_err());
        assert_eq!(all.manifest().tick, 10);
        // Another one may follow.
        all.write(snapshot(30, &shard(&[std::slice::from_ref(&b)])), || Ok(())).expect("written");
        drop(all.write(snapshot(40, &shard(&[&[a.clone(), b.clone()]])), || Err(SqlError::internal("and again"))));
    }
    let mut all = open(home.path());
    assert_eq!(all.manifest().tick, 30);
    assert_eq!(rows(&all.load(TABLE).expect("reads").expect("is there")), rows(&[shard(&[&[b]]).as_ref().clone()]));
    assert_eq!(chunk_files(home.path()).len(), 1, "what the cut ones left is gone");
}

#[test]
fn damage_is_told() {
    let home = tempfile::tempdir().expect("a directory");
    let letters = vec![DeadLetterRow {
        source: GlobalId(7),
        partition: 0,
        offset: 5,
        time_us: Some(1),
        key: None,
        value: Some(b"{".to_vec()),
        headers: None,
        reason: "not JSON".into(),
    }];
    let mut first = snapshot(10, &shard(&[&[body(0..50)]]));
    first.dead_letters = Some(letters.clone());
    open(home.path()).write(first, || Ok(())).expect("written");
    assert_eq!(open(home.path()).dead_letters().expect("reads"), letters);
    let file = chunk_files(home.path()).remove(0);
    let manifest = home.path().join("checkpoint/MANIFEST");
    let (chunks, names) = (std::fs::read(&file).expect("read"), std::fs::read(&manifest).expect("read"));
    for at in 0..chunks.len() {
        let mut damaged = chunks.clone();
        damaged[at] ^= 4;
        std::fs::write(&file, &damaged).expect("write");
        let error = open(home.path()).verify().expect_err("damaged");
        assert_eq!(error.code, SqlState::DATA_CORRUPTED, "byte {at}");
    }
    std::fs::write(&file, &chunks[..chunks.len() - 1]).expect("write");
    assert!(open(home.path()).verify().is_err());
    std::fs::write(&file, &chunks).expect("write");
    for at in 0..names.len() {
        let mut damaged = names.clone();
        damaged[at] ^= 4;
        std::fs::write(&manifest, &damaged).expect("write");
        let error = Checkpoints::open(&DataDir::open(home.path()).expect("data directory")).expect_err("damaged");
        assert_eq!(error.code, SqlState::DATA_CORRUPTED, "byte {at}");
    }
}
