//! Groups that a reduction began with and that nothing has touched since: entries of a checkpoint as they lie there.
//!
//! A start does not make all of them groups in memory: one is when it is touched, the others little by little, in the
//! order of their keys. Invariant: the group of a key is in memory, or it ended since the start, or the newest entry at or
//! behind the runs' cursors says what it is.

use crate::chunk::RowChunk;
use crate::slab::Small;
use hw_repr::chunk::Body;
use std::collections::HashSet;
use std::sync::Arc;

/// Where an entry lies.
pub type Entry = (Arc<Body>, usize);

/// Entries that are not groups yet.
pub struct Cold {
    /// Oldest first.
    runs: Vec<Run>,
    /// Groups that were made of an entry, and have ended since.
    gone: HashSet<Small>,
    rows: usize,
    bytes: usize,
    left: usize,
}

/// A run of entries, sorted by key, each key once.
struct Run {
    chunks: Vec<RowChunk>,
    /// The first entry that is left.
    chunk: usize,
    row: usize,
}

impl Run {
    fn new(mut chunks: Vec<RowChunk>) -> Run {
        chunks.retain(|c| !c.range().is_empty());
        let row = chunks.first().map_or(0, |c| c.lo);
        Run { chunks, chunk: 0, row }
    }

    /// The first entry that is left.
    fn first(&self) -> Option<(&Arc<Body>, usize)> {
        Some((&self.chunks.get(self.chunk)?.body, self.row))
    }

    fn step(&mut self) {
        self.row += 1;
        if self.row >= self.chunks[self.chunk].hi {
            // What its rows took is given back.
            self.chunks[self.chunk] = RowChunk::default();
            self.chunk += 1;
            self.row = self.chunks.get(self.chunk).map_or(0, |c| c.lo);
        }
    }

    /// The entry of a key, where it is left.
    fn find(&self, key: &[u8]) -> Option<(&Arc<Body>, usize)> {
        let rest = &self.chunks[self.chunk..];
        let skipped = rest.partition_point(|c| c.body.key(c.hi - 1) < key);
        let chunk = rest.get(skipped)?;
        let (mut lo, mut hi) = (if skipped == 0 { self.row } else { chunk.lo }, chunk.hi);
        while lo < hi {
            let mid = lo + (hi - lo) / 2;
            if chunk.body.key(mid) < key { lo = mid + 1 } else { hi = mid }
        }
        (chunk.body.key(lo) == key).then_some((&chunk.body, lo))
    }
}

impl Cold {
    /// Runs of entries, oldest first. `None` without entries.
    pub fn new(runs: Vec<Vec<RowChunk>>) -> Option<Cold> {
        let chunks = || runs.iter().flatten();
        let rows: usize = chunks().map(|c| c.range().len()).sum();
        let bytes = chunks().map(RowChunk::bytes).sum();
        let runs: Vec<Run> = runs.into_iter().map(Run::new).filter(|r| r.first().is_some()).collect();
        (rows > 0).then(|| Cold { runs, gone: HashSet::new(), rows, bytes, left: rows })
    }

    /// The entry that says what the group of a key is, which is not in memory.
    pub fn find(&self, key: &[u8]) -> Option<Entry> {
        let (body, at) = self.runs.iter().rev().find_map(|run| run.find(key))?;
        (body.diffs.get(at) > 0 && !self.gone.contains(key)).then(|| (body.clone(), at))
    }

    /// A group has ended.
    pub fn note_end(&mut self, key: &[u8]) {
        self.gone.insert(Small::new(key));
    }

    /// The next entry that may say what a group is, unless that is in memory. The second one is `None` where its group is
    /// no more; the first where all are done.
    pub fn next(&mut self) -> Option<Option<Entry>> {
        let least = self.runs.iter().filter_map(Run::first).map(|(body, at)| body.key(at)).min()?;
        let newest = self.runs.iter().rev().filter_map(Run::first).find(|(body, at)| body.key(*at) == least)?;
        let (body, at) = (newest.0.clone(), newest.1);
        let key = body.key(at);
        for run in &mut self.runs {
            if run.first().is_some_and(|(body, at)| body.key(at) == key) {
                run.step();
                self.left -= 1;
            }
        }
        let there = body.diffs.get(at) > 0 && !self.gone.contains(key);
        Some(there.then_some((body, at)))
    }

    /// Entries that are left, and about the bytes they take.
    pub fn size(&self) -> (usize, usize) {
        (self.left, (self.bytes as u128 * self.left as u128 / self.rows as u128) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hw_repr::ChunkBody;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn run(entries: &BTreeMap<u8, (u8, i64)>) -> Vec<RowChunk> {
        let chunk = |part: &[(&u8, &(u8, i64))]| {
            let mut body = ChunkBody::default();
            part.iter().for_each(|(key, (value, diff))| body.push(&[1, **key, *value], 2, 0, *diff));
            body.into()
        };
        entries.iter().collect::<Vec<_>>().chunks(3).map(chunk).collect()
    }

    fn value(entry: Entry) -> u8 {
        entry.0.val(entry.1)[0]
    }

    proptest! {
        #[test]
        fn the_newest_entry_counts_until_its_group_ends(
            runs in prop::collection::vec(prop::collection::btree_map(0u8..30, (0u8.., prop_oneof![Just(1i64), Just(-1)]), 0..20), 0..4),
            asked in prop::collection::vec((0u8..30, any::<bool>(), 0usize..4), 0..40),
        ) {
            let mut model: BTreeMap<u8, u8> = BTreeMap::new();
            for run in &runs {
                for (key, (value, diff)) in run {
                    if *diff > 0 { model.insert(*key, *value); } else { model.remove(key); }
                }
            }
            let Some(mut cold) = Cold::new(runs.iter().map(run).collect()) else { return Ok(()) };
            let mut passed = vec![];
            let take = |cold: &mut Cold, passed: &mut Vec<u8>, model: &mut BTreeMap<u8, u8>| -> Result<bool, TestCaseError> {
                let Some(next) = cold.next() else { return Ok(false) };
                if let Some((body, at)) = next {
                    let key = body.key(at)[1];
                    prop_assert_eq!(model.remove(&key), Some(value((body, at))));
                    passed.push(key);
                }
                Ok(true)
            };
            for (key, ends, steps) in asked {
                let found = cold.find(&[1, key]).map(value);
                prop_assert_eq!(found, model.get(&key).copied());
                if ends && found.is_some() {
                    cold.note_end(&[1, key]);
                    model.remove(&key);
                }
                for _ in 0..steps {
                    take(&mut cold, &mut passed, &mut model)?;
                }
            }
            while take(&mut cold, &mut passed, &mut model)? {}
            prop_assert!(model.is_empty());
            prop_assert!(passed.is_sorted());
            prop_assert_eq!(cold.size().0, 0);
        }
    }
}
