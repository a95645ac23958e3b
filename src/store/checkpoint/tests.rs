//! What checkpoints promise: what was written comes back, only what is new is written, what is not named goes, damage is
//! told, and a checkpoint that was cut short never was.

mod salvage;

use super::*;
use crate::files::faulty::faulty;
use std::path::Path;
use std::sync::atomic::Ordering;

const TABLE: GlobalId = GlobalId(16384);

fn body(rows: std::ops::Range<u32>) -> Arc<Body> {
    let mut body = ChunkBody::default();
    for i in rows {
        let mut row = vec![1];
        row.extend_from_slice(&i.to_be_bytes());
        row.extend_from_slice(b"some text that compresses well, well, well");
        body.push(&row, 5, u64::from(i % 3), 1 + i64::from(i % 2));
    }
    Arc::new(body.into())
}

fn shard(runs: &[&[Arc<Body>]]) -> Arc<PublishedShard> {
    let runs = runs.iter().map(|run| run.iter().cloned().map(ChunkView::whole).collect()).collect();
    Arc::new(PublishedShard { since: 3, upper: 11, runs })
}

fn snapshot(tick: u64, shard: &Arc<PublishedShard>) -> Snapshot {
    Snapshot { tick, relations: vec![arrangement(vec![shard.clone()])], ..Snapshot::default() }
}

fn arrangement(shards: Vec<Arc<PublishedShard>>) -> SnapshotPart {
    SnapshotPart { id: TABLE, part: 0, fingerprint: 0, apart: None, contents: Contents::Arrangement(shards) }
}

/// The number of blocks, or the first that is damaged.
fn verify(all: &Checkpoints) -> Result<usize, SqlError> {
    let mut report = Report::default();
    let manifest = Checkpoints::verify(&all._lock, &mut report)?;
    report.problems.into_iter().next().map_or(Ok(manifest.files().values().map(|f| f.len()).sum()), Err)
}

/// A part of a relation, where it is there.
fn part(all: &mut Checkpoints, id: GlobalId, part: u32) -> Option<Loaded> {
    let at = all.manifest().relations.iter().position(|r| (r.id, r.part) == (id, part));
    let mut loaded = all.load().expect("reads");
    at.map(|at| loaded.swap_remove(at))
}

/// The table's contents.
fn loaded(all: &mut Checkpoints) -> Vec<PublishedShard> {
    match part(all, TABLE, 0).expect("is there") {
        Loaded::Arrangement(shards) => shards,
        other => panic!("{other:?}"),
    }
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
    let back = loaded(&mut all);
    assert_eq!((back[0].since, back[0].upper), (3, 21));
    assert_eq!(rows(&back), rows(&[shard(&[&[a, b], &[c]]).as_ref().clone()]));
    assert!(part(&mut all, GlobalId(1), 0).is_none());
    // What was loaded is known to be on disk too.
    let again: Vec<Arc<PublishedShard>> = back.into_iter().map(Arc::new).collect();
    let third = Snapshot { tick: 30, relations: vec![arrangement(again)], ..Snapshot::default() };
    assert_eq!(all.write(third, || Ok(())).expect("written").bytes, 0);
    assert_eq!(verify(&all).expect("whole"), 3);
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
        verify(&all).expect("whole");
        let back = loaded(&mut open_again(all, home.path()));
        assert_eq!(rows(&back), rows(&[next.as_ref().clone()]));
        let mut all = open(home.path());
        all.write(snapshot(60, &shard(&[std::slice::from_ref(&b)])), || Ok(())).expect("written");
        drop(all.write(snapshot(70, &shard(&[&[a.clone(), b.clone()]])), || Err(SqlError::internal("once more"))));
    }
    let mut all = open(home.path());
    assert_eq!(all.manifest().tick, 60);
    assert_eq!(rows(&loaded(&mut all)), rows(&[shard(&[&[b]]).as_ref().clone()]));
    assert_eq!(chunk_files(home.path()).len(), 1, "what the cut ones left is gone");
}

#[test]
fn large_bodies_are_several_blocks() {
    let home = tempfile::tempdir().expect("a directory");
    let mut large = ChunkBody::default();
    for i in 0..9u8 {
        large.push(&[&[1, i][..], &vec![i; if i == 4 { 3 << 20 } else { 700 << 10 }]].concat(), 2, u64::from(i), 1);
    }
    let large: Arc<Body> = Arc::new(large.into());
    let view = ChunkView { body: large.clone(), lo: 1, hi: 8 };
    let shard = Arc::new(PublishedShard { since: 3, upper: 11, runs: vec![vec![view]] });
    open(home.path()).write(snapshot(10, &shard), || Ok(())).expect("written");
    let back = loaded(&mut open(home.path()));
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
        let error = verify(&open(home.path())).expect_err("damaged");
        assert_eq!(error.code, SqlState::DATA_CORRUPTED, "byte {at}");
    }
    std::fs::write(&file, &chunks[..chunks.len() - 1]).expect("write");
    assert!(verify(&open(home.path())).is_err());
    std::fs::remove_file(&file).expect("remove");
    assert_eq!(verify(&open(home.path())).expect_err("gone").code, SqlState::DATA_CORRUPTED);
    std::fs::write(&file, &chunks).expect("write");
    for at in 0..names.len() {
        let mut damaged = names.clone();
        damaged[at] ^= 4;
        std::fs::write(&manifest, &damaged).expect("write");
        let error = Checkpoints::open(&DataDir::open(home.path()).expect("data directory")).expect_err("damaged");
        // The digit of the version: there may be such a version.
        let version = error.code == SqlState::PREREQUISITE_STATE && at == "headwater manifest ".len();
        assert!(error.code == SqlState::DATA_CORRUPTED || version, "byte {at}");
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
            let back = loaded(&mut found);
            assert_eq!(rows(&back), rows(&[expected(tick).as_ref().clone()]), "operation {fails_at}");
        }
        all.write(snapshot(40, &third), || Ok(())).expect("written");
        assert_eq!(chunk_files(home.path()).len(), 1, "operation {fails_at}");
        drop((all, dir));
        let mut found = open(home.path());
        assert_eq!(rows(&loaded(&mut found)), rows(&[third.as_ref().clone()]));
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

const OPERATOR: u32 = 2;

/// Keys and values, `None` where nothing is there any more.
type Changes<'a> = &'a [(u32, Option<u32>)];

/// A few changes of an operator's state, in bodies of `rows` rows.
fn latest(tick: u64, all: bool, changes: Changes<'_>, rows: usize) -> Snapshot {
    let mut bodies = vec![];
    for part in changes.chunks(rows) {
        let mut body = ChunkBody::default();
        for (key, value) in part {
            let mut row = vec![1];
            row.extend_from_slice(&key.to_be_bytes());
            value.iter().for_each(|v| row.extend_from_slice(&v.to_be_bytes()));
            body.push(&row, 5, 0, if value.is_some() { 1 } else { -1 });
        }
        bodies.push(body);
    }
    let contents = Contents::Entries(SnapshotEntries { kind: Kind::Latest, all, bodies });
    let part = SnapshotPart { id: TABLE, part: OPERATOR, fingerprint: 77, apart: None, contents };
    Snapshot { tick, relations: vec![part], ..Snapshot::default() }
}

/// The entries of the operator, by the rules of their kind; and how many runs they are in.
fn entries(all: &mut Checkpoints) -> (std::collections::BTreeMap<u32, u32>, usize, usize) {
    let Some(Loaded::Entries(runs)) = part(all, TABLE, OPERATOR) else { panic!() };
    let mut out = std::collections::BTreeMap::new();
    let number = |b: &[u8]| u32::from_be_bytes(b.try_into().expect("four bytes"));
    let mut rows = 0;
    for run in &runs {
        let mut last: Option<Vec<u8>> = None;
        for (view, i) in run.iter().flat_map(|v| (v.lo..v.hi).map(move |i| (v, i))) {
            let key = view.body.key(i).to_vec();
            assert!(last.as_ref().is_none_or(|l| *l < key), "sorted, and one entry a key");
            rows += 1;
            match view.body.diffs.get(i) {
                1 => drop(out.insert(number(&key[1..]), number(view.body.val(i)))),
                _ => drop(out.remove(&number(&key[1..]))),
            }
            last = Some(key);
        }
    }
    (out, runs.len(), rows)
}

#[test]
fn entries_replace_each_other_and_runs_are_merged() {
    let home = tempfile::tempdir().expect("a directory");
    let mut all = open(home.path());
    let mut model = std::collections::BTreeMap::new();
    let first: Vec<(u32, Option<u32>)> = (0..30_000).rev().map(|k| (k, Some(k))).collect();
    model.extend((0..30_000u32).map(|k| (k, k)));
    all.write(latest(1, true, &first, 7000), || Ok(())).expect("written");
    let mut bytes = 0;
    for round in 2..60u32 {
        let mut changes = vec![];
        for i in 0..200 {
            let key = (i * 7919 + round * 104_729) % 40_000;
            if (key + round) % 3 == 0 {
                model.remove(&key);
                changes.push((key, None));
            }
            // Ended and begun again within the round: the state counts.
            if (key + round) % 5 != 0 {
                model.insert(key, round);
                changes.push((key, Some(round)));
            }
        }
        bytes += all.write(latest(u64::from(round), false, &changes, 64), || Ok(())).expect("written").bytes;
        if round % 20 == 0 {
            all = open_again(all, home.path());
        }
        let (found, runs, rows) = entries(&mut all);
        assert_eq!(found, model, "round {round}");
        assert!(runs <= 10 && rows <= 2 * 40_000, "{runs} runs of {rows} rows");
    }
    let one = all.write(latest(99, true, &first, 7000), || Ok(())).expect("written").bytes;
    assert!(bytes < one, "58 rounds of 200 changes wrote {bytes} bytes, all of it is {one}");
    assert_eq!(entries(&mut all).1, 1);
    verify(&all).expect("whole");
}

#[test]
fn changes_of_what_is_not_there_are_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let mut all = open(home.path());
    assert!(all.write(latest(1, false, &[(1, Some(1))], 1), || Ok(())).is_err());
    all.write(latest(2, true, &[(1, Some(1))], 1), || Ok(())).expect("written");
    let mut other = latest(3, false, &[(2, Some(2))], 1);
    other.relations[0].fingerprint = 78;
    assert!(all.write(other, || Ok(())).is_err());
    // It ends the state of what is not in a checkpoint.
    all.write(snapshot(4, &shard(&[])), || Ok(())).expect("written");
    assert!(part(&mut all, TABLE, OPERATOR).is_none());
}

#[test]
fn equal_entries_are_summed() {
    let home = tempfile::tempdir().expect("a directory");
    let mut all = open(home.path());
    for round in 1..5u64 {
        let mut body = ChunkBody::default();
        for key in [3u8, 1, 2, 1] {
            body.push(&[1, key, 9], 2, u64::from(key % 2), 1);
        }
        let entries = SnapshotEntries { kind: Kind::Sum, all: round == 1, bodies: vec![body] };
        let part = SnapshotPart {
            id: TABLE,
            part: OPERATOR,
            fingerprint: 1,
            apart: None,
            contents: Contents::Entries(entries),
        };
        all.write(Snapshot { tick: round, relations: vec![part], ..Snapshot::default() }, || Ok(())).expect("written");
    }
    let Some(Loaded::Entries(runs)) = part(&mut all, TABLE, OPERATOR) else { panic!() };
    let mut sums = std::collections::BTreeMap::new();
    for (view, i) in runs.iter().flatten().flat_map(|v| (v.lo..v.hi).map(move |i| (v, i))) {
        *sums.entry((view.body.row(i)[1], view.body.times.get(i))).or_insert(0) += view.body.diffs.get(i);
    }
    assert_eq!(sums, [((1, 1), 8), ((2, 0), 4), ((3, 1), 4)].into());
}
