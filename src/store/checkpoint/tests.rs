//! What checkpoints promise: what was written comes back, only what is new is written, what is not named goes, damage is
//! told, and a checkpoint that was cut short never was.

use super::*;
use crate::files::faulty::faulty;
use std::path::Path;
use std::sync::atomic::Ordering;

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

fn open_again(all: Checkpoints, path: &Path) -> Checkpoints {
    drop(all);
    open(path)
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
        let c = body(400..450);
        let cut = snapshot(40, &shard(&[&[a.clone(), b.clone()], std::slice::from_ref(&c)]));
        drop(all.write(cut, || Err(SqlError::internal("and again"))));
        // What the cut ones wrote does not count, also where the next one writes other things into a file of that name.
        let next = shard(&[&[body(700..900), a.clone(), c.clone()]]);
        all.write(snapshot(50, &next), || Ok(())).expect("written");
        all.verify().expect("whole");
        let back = open_again(all, home.path()).load(TABLE).expect("reads").expect("is there");
        assert_eq!(rows(&back), rows(&[next.as_ref().clone()]));
        let mut all = open(home.path());
        all.write(snapshot(60, &shard(&[std::slice::from_ref(&b)])), || Ok(())).expect("written");
        drop(all.write(snapshot(70, &shard(&[&[a.clone(), b.clone()]])), || Err(SqlError::internal("once more"))));
    }
    let mut all = open(home.path());
    assert_eq!(all.manifest().tick, 60);
    assert_eq!(rows(&all.load(TABLE).expect("reads").expect("is there")), rows(&[shard(&[&[b]]).as_ref().clone()]));
    assert_eq!(chunk_files(home.path()).len(), 1, "what the cut ones left is gone");
}

#[test]
fn large_bodies_are_several_blocks() {
    let home = tempfile::tempdir().expect("a directory");
    let mut large = ChunkBody::default();
    for i in 0..9u8 {
        large.push(&[&[1, i][..], &vec![i; if i == 4 { 3 << 20 } else { 700 << 10 }]].concat(), 2, u64::from(i), 1);
    }
    let large = Arc::new(large);
    let view = ChunkView { body: large.clone(), lo: 1, hi: 8 };
    let shard = Arc::new(PublishedShard { since: 3, upper: 11, runs: vec![vec![view]] });
    open(home.path()).write(snapshot(10, &shard), || Ok(())).expect("written");
    let back = open(home.path()).load(TABLE).expect("reads").expect("is there");
    assert!(back[0].runs[0].len() > 3);
    assert_eq!(rows(&back), rows(&[shard.as_ref().clone()]));
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
    std::fs::remove_file(&file).expect("remove");
    assert_eq!(open(home.path()).verify().expect_err("gone").code, SqlState::DATA_CORRUPTED);
    std::fs::write(&file, &chunks).expect("write");
    for at in 0..names.len() {
        let mut damaged = names.clone();
        damaged[at] ^= 4;
        std::fs::write(&manifest, &damaged).expect("write");
        let error = Checkpoints::open(&DataDir::open(home.path()).expect("data directory")).expect_err("damaged");
        assert_eq!(error.code, SqlState::DATA_CORRUPTED, "byte {at}");
    }
}

#[test]
fn whichever_operation_fails_there_is_a_whole_checkpoint() {
    let first = shard(&[&[body(0..300)], &[body(100..120)]]);
    let second = shard(&[&[body(0..300)], &[body(500..600)]]);
    let third = shard(&[&[body(7..9)]]);
    for fails_at in 1.. {
        let home = tempfile::tempdir().expect("a directory");
        let (faults, dir) = faulty(home.path());
        let mut all = Checkpoints::open(&dir).expect("checkpoints");
        all.write(snapshot(10, &first), || Ok(())).expect("written");
        let before = faults.operations.load(Ordering::SeqCst);
        faults.fails_at.store(before + fails_at, Ordering::SeqCst);
        let failed = all.write(snapshot(20, &second), || Ok(())).is_err();
        let met = faults.operations.load(Ordering::SeqCst) >= before + fails_at;
        // Another attempt may be cut short too.
        let again = all.write(snapshot(30, &third), || Err(SqlError::internal("the log failed")));
        assert!(again.is_err());
        let expected = |tick: u64| if tick == 10 { &first } else { &second };
        {
            // As after a crash: what is on disk now.
            let copy = tempfile::tempdir().expect("a directory");
            copy_all(&home.path().join("checkpoint"), &copy.path().join("checkpoint"));
            let mut found = open(copy.path());
            let tick = found.manifest().tick;
            assert!(tick == 20 || (failed && tick == 10), "operation {fails_at}: tick {tick}");
            let back = found.load(TABLE).expect("reads").expect("is there");
            assert_eq!(rows(&back), rows(&[expected(tick).as_ref().clone()]), "operation {fails_at}");
        }
        all.write(snapshot(40, &third), || Ok(())).expect("written");
        assert_eq!(chunk_files(home.path()).len(), 1, "operation {fails_at}");
        drop((all, dir));
        let mut found = open(home.path());
        assert_eq!(rows(&found.load(TABLE).expect("reads").expect("is there")), rows(&[third.as_ref().clone()]));
        if !met {
            assert!(fails_at > 6, "{fails_at}");
            return;
        }
    }
}

fn copy_all(from: &Path, to: &Path) {
    drop(DataDir::open(to.parent().expect("a parent")).expect("data directory"));
    std::fs::create_dir_all(to).expect("create");
    for entry in std::fs::read_dir(from).expect("list") {
        let entry = entry.expect("entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copy");
    }
}
