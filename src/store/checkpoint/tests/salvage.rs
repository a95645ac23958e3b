//! What a repair keeps of a table: every row that no damage concerns, and of the others what the log says.

use super::*;
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

const SHARDS: u64 = 2;
const KEYS: u64 = 120;

fn row(key: u64, version: u64) -> Vec<u8> {
    let mut row = vec![1];
    row.extend_from_slice(&(key as u32).to_be_bytes());
    row.push(version as u8);
    row
}

/// Sorted changes as a run of views of few rows each.
fn run_of(changes: &BTreeMap<(Vec<u8>, u64), i64>, key_len: usize, random: &mut Random) -> Vec<ChunkView> {
    let (mut views, mut body) = (vec![], ChunkBody::default());
    for ((row, time), diff) in changes.iter().filter(|(_, diff)| **diff != 0) {
        body.push(row, key_len, *time, *diff);
        if random.below(6) == 0 {
            views.push(ChunkView::whole(Arc::new(std::mem::take(&mut body).into())));
        }
    }
    if !body.is_empty() {
        views.push(ChunkView::whole(Arc::new(body.into())));
    }
    views
}

/// A table after some ticks: its shards, and how often each row is there. With unique keys a change replaces a row.
fn table(random: &mut Random, unique: bool) -> (Vec<Arc<PublishedShard>>, BTreeMap<Vec<u8>, i64>) {
    let mut truth: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    let mut shards: Vec<Vec<Vec<ChunkView>>> = (0..SHARDS).map(|_| vec![]).collect();
    let mut time = 0;
    for size in [150, 40, 15, 5] {
        let mut changes: Vec<BTreeMap<(Vec<u8>, u64), i64>> = (0..SHARDS).map(|_| BTreeMap::new()).collect();
        for _ in 0..size {
            // Some runs have several times, in some all are joined.
            time += u64::from(size < 100 && random.below(3) == 0);
            let key = random.below(KEYS);
            let new = row(key, random.below(3));
            let there = |row: &Vec<u8>| truth.get(row).is_some_and(|n| *n > 0);
            let old: Vec<Vec<u8>> = (0..3).map(|v| row(key, v)).filter(there).collect();
            let mut diffs: Vec<(Vec<u8>, i64)> = vec![];
            match unique {
                true => diffs.extend(old.into_iter().map(|row| (row, -1))),
                false if there(&new) && random.below(2) == 0 => diffs.push((new.clone(), -1)),
                false => {}
            }
            if !unique || random.below(4) > 0 {
                diffs.push((new, 1));
            }
            for (row, diff) in diffs {
                *truth.entry(row.clone()).or_default() += diff;
                *changes[(key % SHARDS) as usize].entry((row, time)).or_default() += diff;
            }
        }
        for (shard, changes) in shards.iter_mut().zip(&changes) {
            let run = run_of(changes, if unique { 5 } else { 6 }, random);
            if !run.is_empty() {
                shard.push(run);
            }
        }
        time += 1;
    }
    truth.retain(|_, n| *n > 0);
    let shards = shards.into_iter().map(|runs| Arc::new(PublishedShard { since: 3, upper: 101, runs })).collect();
    (shards, truth)
}

fn bag(shards: &[PublishedShard]) -> BTreeMap<Vec<u8>, i64> {
    let mut out: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for (row, _, diff) in rows(shards) {
        *out.entry(row).or_default() += diff;
    }
    out
}

fn flip(path: &Path, file: u64, at: u64) {
    let file = chunk_files(path).into_iter().nth(file as usize).expect("a chunk file");
    let file = std::fs::OpenOptions::new().read(true).write(true).open(file).expect("opens");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1], at).expect("written");
}

#[test]
fn what_no_damage_concerns_is_kept_and_the_log_knows_better() {
    let mut random = Random(7);
    let (mut all_kept, mut all_missing, mut all_known) = (0, 0, 0);
    for round in 0..80 {
        let temp = tempfile::tempdir().expect("temporary directory");
        let unique = round % 2 == 0;
        let (shards, truth) = table(&mut random, unique);
        let mut all = open(temp.path());
        let other = SnapshotPart { id: GlobalId(16385), ..arrangement(vec![shard(&[&[body(0..20)]])]) };
        let relations = vec![arrangement(shards), other];
        all.write(Snapshot { tick: 100, relations, ..Snapshot::default() }, || Ok(())).expect("written");
        let saved = all.manifest().relation(TABLE, 0).expect("saved").clone();
        let blocks: Vec<Block> = saved.shards.iter().flatten().flatten().map(|v| v.block).collect();
        let broken: std::collections::BTreeSet<Block> =
            (0..=random.below(4)).map(|_| blocks[random.below(blocks.len() as u64) as usize]).collect();
        let key_of = |row: &[u8]| if unique { row[..5].to_vec() } else { row.to_vec() };
        let mut concerned = std::collections::BTreeSet::new();
        for block in &broken {
            let lost = all.body(&mut Reader::default(), *block).expect("reads");
            concerned.extend((0..lost.len()).map(|i| key_of(lost.row(i))));
        }
        drop(all);
        broken.iter().for_each(|b| flip(temp.path(), 0, b.at + 14));
        // What the log says of some keys.
        let mut known = Known { unique, ..Known::default() };
        for (key, version) in (0..KEYS).flat_map(|key| (0..3).map(move |v| (key, v))) {
            let row = row(key, version);
            if let Some(n) = truth.get(&row).filter(|_| random.below(10) == 0) {
                let least = if unique { 1 } else { 1 + random.below(*n as u64) as i64 };
                known.keys.insert(key_of(&row), Some((row, least)));
            } else if unique && random.below(20) == 0 && !truth.keys().any(|r| key_of(r) == key_of(&row)) {
                known.keys.insert(key_of(&row), None);
            }
        }
        let dir = DataDir::open(temp.path()).expect("data directory");
        let salvage = Salvage::of(&dir).expect("reads").expect("a checkpoint");
        assert_eq!(salvage.damaged(), [TABLE].into());
        let said = salvage.look(TABLE, &known).expect("looks");
        let changed = Changed { salvaged: [(TABLE, known.clone())].into(), ..Changed::default() };
        salvage.write(&changed).expect("written");
        drop((salvage, dir));
        let mut all = open(temp.path());
        let shards = loaded(&mut all);
        let kept = bag(&shards);
        assert_eq!((shards.len(), shards[0].since, shards[0].upper), (1, 100, 101));
        let sorted = rows(&shards).windows(2).all(|w| w[0].0 < w[1].0);
        assert!(sorted && kept.values().all(|n| *n > 0), "round {round}: not in order");
        let mut keys: Vec<Vec<u8>> = kept.keys().map(|r| key_of(r)).collect();
        keys.dedup();
        assert_eq!(keys.len(), kept.len(), "round {round}: a key is there twice");
        let relevant = |bag: &BTreeMap<Vec<u8>, i64>| -> BTreeMap<Vec<u8>, i64> {
            let sure =
                |row: &Vec<u8>| !concerned.contains(&key_of(row)) || unique && known.keys.contains_key(&key_of(row));
            bag.iter().filter(|(row, _)| sure(row)).map(|(row, n)| (row.clone(), *n)).collect()
        };
        assert_eq!(relevant(&kept), relevant(&truth), "round {round}, unique keys: {unique}");
        for (row, least) in known.keys.values().flatten() {
            assert!(kept.get(row).is_some_and(|n| n >= least), "round {round}: {row:?} is known");
        }
        assert_eq!((said.kept, said.blocks), (kept.values().sum::<i64>(), broken.len()), "round {round}");
        assert!(said.lost >= said.changes && said.lost > 0, "{said:?}");
        assert_eq!(
            rows(&[match part(&mut all, GlobalId(16385), 0) {
                Some(Loaded::Arrangement(mut shards)) => shards.swap_remove(0),
                other => panic!("{other:?}"),
            }])
            .len(),
            20
        );
        all_kept += said.kept;
        all_missing += truth.keys().filter(|row| !kept.contains_key(*row)).count();
        all_known += said.known;
    }
    assert!(all_kept > 1000 && all_missing > 0 && all_known > 0, "{all_kept} {all_missing} {all_known}");
}

#[test]
fn only_the_rows_of_a_damaged_block_go() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let mut all = open(temp.path());
    let parts: Vec<Arc<Body>> = (0..5).map(|i| body(i * 10..i * 10 + 10)).collect();
    let runs: &[&[Arc<Body>]] = &[&parts];
    all.write(snapshot(10, &shard(runs)), || Ok(())).expect("written");
    let block = all.manifest().relation(TABLE, 0).expect("saved").shards[0][0][2].block;
    drop(all);
    flip(temp.path(), 0, block.at + 20);
    // And the file's first bytes, which say nothing of what follows.
    flip(temp.path(), 0, 3);
    let dir = DataDir::open(temp.path()).expect("data directory");
    let salvage = Salvage::of(&dir).expect("reads").expect("a checkpoint");
    assert_eq!((salvage.damage.len(), salvage.damaged_headers()), (2, 1));
    let said = salvage.look(TABLE, &Known::default()).expect("looks");
    // Every other row is there twice.
    assert_eq!(said, Salvaged { kept: 60, known: 0, lost: 10, changes: 0, blocks: 1 });
    let changed = Changed { salvaged: [(TABLE, Known::default())].into(), log_begins: true, ..Changed::default() };
    salvage.write(&changed).expect("written");
    drop((salvage, dir));
    let mut all = open(temp.path());
    assert_eq!((all.manifest().log_floor, all.manifest().earlier.len()), (10, 1));
    assert_eq!(bag(&loaded(&mut all)).len(), 40);
    assert!(verify(&all).is_ok());
}

#[test]
fn a_manifest_of_another_version_is_no_damage() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let mut all = open(temp.path());
    all.write(snapshot(10, &shard(&[&[body(0..5)]])), || Ok(())).expect("written");
    drop(all);
    let path = temp.path().join("checkpoint/MANIFEST");
    let written = std::fs::read_to_string(&path).expect("read");
    let text = written.replacen("manifest 3", "manifest 4", 1);
    assert_ne!(written, text);
    std::fs::write(&path, text).expect("write");
    let dir = DataDir::open(temp.path()).expect("data directory");
    for e in [Checkpoints::open(&dir).map(|_| ()), Salvage::of(&dir).map(|_| ())] {
        assert_eq!(e.expect_err("another version").code, SqlState::PREREQUISITE_STATE);
    }
}
