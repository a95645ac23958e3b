//! Changes on their way into an arrangement: of those of closed times is made one sorted run.
//!
//! What comes is sorted once, with all that it is sealed with, where that is not much. Otherwise it becomes sorted runs, sixteen
//! of which become one of the next level as they come, so that what is merged in the end are few. Neither that nor the
//! end is done at once where it is much: [`Batcher::go_on`] and [`Batcher::seal`] merge a bounded number of rows, and are called
//! again. A tick that brings a million rows costs its worker some milliseconds at a time (ADR 19).
//!
//! Invariants: a run is sorted and consolidated; times stay as they came; what was taken for a seal is never beyond its bound.

use crate::chunk::{Merging, RowChunk, merge_runs};
use differential_dataflow::trace::chunk::Chunk;
use hw_repr::Timestamp;
use std::collections::VecDeque;
use timely::progress::Antichain;

/// Runs of one level that become one of the next.
const RUNS: usize = 16;
/// Rows that are sorted, or merged, at once.
const AT_ONCE: usize = 32 << 10;
/// Rows that wait as they came.
const RAW_ROWS: usize = 16 << 10;
/// Rows that are merged in a turn, where they are more.
const TURN_ROWS: usize = 4 << 10;

/// Changes.
struct Run {
    chunks: Vec<RowChunk>,
    rows: usize,
    /// The least and the greatest of its times.
    times: (Timestamp, Timestamp),
}

impl Run {
    fn new(chunks: Vec<RowChunk>) -> Option<Run> {
        let times = chunks.iter().map(times_of).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        Some(Run { rows: chunks.iter().map(RowChunk::len).sum(), chunks, times })
    }

    /// What is below a bound, and the rest.
    fn split(self, upper: &Antichain<Timestamp>) -> (Option<Run>, Option<Run>) {
        if !upper.less_equal(&self.times.1) {
            return (Some(self), None);
        }
        if upper.less_equal(&self.times.0) {
            return (None, Some(self));
        }
        let (mut keep, mut ship) = (VecDeque::new(), VecDeque::new());
        let (mut input, mut least) = (VecDeque::from(self.chunks), Antichain::new());
        while !input.is_empty() {
            RowChunk::extract(&mut input, upper.borrow(), &mut least, &mut keep, &mut ship);
        }
        (Run::new(ship.into()), Run::new(keep.into()))
    }
}

fn times_of(chunk: &RowChunk) -> (Timestamp, Timestamp) {
    let times = &chunk.body.times;
    let first = times.get(chunk.lo);
    match times.constant() {
        Some(_) => (first, first),
        None => chunk.range().map(|i| times.get(i)).fold((first, first), |(a, b), t| (a.min(t), b.max(t))),
    }
}

/// See the module.
#[derive(Default)]
pub struct Batcher {
    /// Each a chunk as it came, not sorted.
    raw: Vec<Run>,
    raw_rows: usize,
    levels: Vec<Vec<Run>>,
    /// Runs that are becoming one of this level.
    rising: Option<(usize, Merging)>,
    sealing: Option<Merging>,
}

impl Batcher {
    /// Takes changes in any order.
    pub fn push(&mut self, changes: RowChunk) {
        if changes.len() == 0 {
            return;
        }
        self.raw_rows += changes.len();
        self.raw.extend(Run::new(vec![changes]));
        if self.raw_rows >= RAW_ROWS {
            self.raw_rows = 0;
            let sorted = sorted(&std::mem::take(&mut self.raw));
            self.keep(0, sorted);
        }
    }

    fn keep(&mut self, level: usize, chunks: Vec<RowChunk>) {
        let Some(run) = Run::new(chunks) else { return };
        while self.levels.len() <= level {
            self.levels.push(vec![]);
        }
        self.levels[level].push(run);
    }

    /// The least time of what waits; what is being merged in the background is waited for.
    pub fn least_time(&self) -> Option<Timestamp> {
        self.levels.iter().flatten().chain(&self.raw).map(|run| run.times.0).min()
    }

    /// Merges some of what waits, where there is enough of it. True where there is more to do.
    pub fn go_on(&mut self) -> bool {
        if self.rising.is_none()
            && let Some(level) = self.levels.iter().position(|runs| runs.len() >= RUNS)
        {
            let runs = std::mem::take(&mut self.levels[level]);
            match merge_now(&runs) {
                Some(merged) => self.keep(level + 1, merged),
                None => self.rising = Some((level + 1, Merging::new(runs.into_iter().map(|run| run.chunks)))),
            }
        }
        self.rise();
        self.rising.is_some() || self.levels.iter().any(|runs| runs.len() >= RUNS)
    }

    /// Goes on with what is merged in the background.
    fn rise(&mut self) {
        if let Some((level, mut merging)) = self.rising.take() {
            match merging.work(TURN_ROWS) {
                Some(chunks) => self.keep(level, chunks),
                None => self.rising = Some((level, merging)),
            }
        }
    }

    /// The changes below `upper`, of which none will follow, as one run; `None` where that is not done yet: then it is to be
    /// called again, with the same bound.
    pub fn seal(&mut self, upper: &Antichain<Timestamp>) -> Option<Vec<RowChunk>> {
        let mut merging = match self.sealing.take() {
            Some(merging) => merging,
            None => {
                self.rise();
                if self.rising.is_some() {
                    return None;
                }
                let (mut ready, raw) = self.take_before(upper);
                if let Some(sealed) = seal_now(&ready, &raw) {
                    return Some(sealed);
                }
                ready.extend(Run::new(sorted(&raw)));
                Merging::new(ready.into_iter().map(|run| run.chunks))
            }
        };
        let sealed = merging.work(TURN_ROWS);
        if sealed.is_none() {
            self.sealing = Some(merging);
        }
        sealed
    }

    /// All runs with times below a bound; and what came, of such times.
    fn take_before(&mut self, upper: &Antichain<Timestamp>) -> (Vec<Run>, Vec<Run>) {
        let take = |runs: &mut Vec<Run>, ready: &mut Vec<Run>| {
            for run in std::mem::take(runs) {
                let (before, rest) = run.split(upper);
                ready.extend(before);
                runs.extend(rest);
            }
        };
        let (mut ready, mut raw) = (vec![], vec![]);
        self.levels.iter_mut().for_each(|runs| take(runs, &mut ready));
        take(&mut self.raw, &mut raw);
        self.raw_rows = self.raw.iter().map(|run| run.rows).sum();
        (ready, raw)
    }
}

/// Changes in any order, as a run.
fn sorted(changes: &[Run]) -> Vec<RowChunk> {
    let chunks: Vec<RowChunk> = changes.iter().flat_map(|run| run.chunks.iter().cloned()).collect();
    // It sorts them all.
    merge_runs(&chunks, 0)
}

/// Runs, and what came, as one run, where that is done at once.
fn seal_now(ready: &[Run], raw: &[Run]) -> Option<Vec<RowChunk>> {
    if raw.is_empty() {
        return merge_now(ready);
    }
    let all: Vec<RowChunk> = ready.iter().chain(raw).flat_map(|run| run.chunks.iter().cloned()).collect();
    (all.iter().map(RowChunk::len).sum::<usize>() <= AT_ONCE).then(|| merge_runs(&all, 0))
}

/// The runs as one, where that is done at once.
fn merge_now(runs: &[Run]) -> Option<Vec<RowChunk>> {
    match runs {
        [] => Some(vec![]),
        [only] => Some(only.chunks.clone()),
        all if all.iter().map(|run| run.rows).sum::<usize>() <= AT_ONCE => {
            let chunks: Vec<RowChunk> = all.iter().flat_map(|run| run.chunks.iter().cloned()).collect();
            Some(merge_runs(&chunks, 0))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hw_repr::{ChunkBody, Diff};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Change = (u32, Timestamp, Diff);

    fn raw(changes: &[Change]) -> ChunkBody {
        let mut body = ChunkBody::default();
        changes.iter().for_each(|(row, time, diff)| body.push(&row.to_be_bytes(), 4, *time, *diff));
        body
    }

    fn chunks(changes: &[Change]) -> Vec<RowChunk> {
        merge_runs(&[raw(changes).into()], 0)
    }

    fn changes(run: &[RowChunk]) -> Vec<Change> {
        let row = |c: &RowChunk, i: usize| u32::from_be_bytes(c.body.row(i).try_into().expect("four bytes"));
        run.iter().flat_map(|c| c.range().map(|i| (row(c, i), c.body.times.get(i), c.body.diffs.get(i)))).collect()
    }

    fn summed(all: impl IntoIterator<Item = Change>) -> Vec<Change> {
        let mut sums: BTreeMap<(u32, Timestamp), Diff> = BTreeMap::new();
        all.into_iter().for_each(|(row, time, diff)| *sums.entry((row, time)).or_default() += diff);
        sums.into_iter().filter(|(_, d)| *d != 0).map(|((row, time), diff)| (row, time, diff)).collect()
    }

    fn sealed(batcher: &mut Batcher, upper: Timestamp) -> (Vec<Change>, usize) {
        let upper = Antichain::from_elem(upper);
        let mut turns = 1;
        loop {
            match batcher.seal(&upper) {
                Some(run) => return (changes(&run), turns),
                None => turns += 1,
            }
        }
    }

    #[test]
    fn many_rows_take_several_turns() {
        let mut batcher = Batcher::default();
        let mut turns = 0;
        for part in 0..40u32 {
            batcher.push(raw(&(0..10_000).map(|i| (i * 40 + part, 3, 1)).collect::<Vec<_>>()).into());
            turns += usize::from(batcher.go_on());
        }
        let (all, more) = sealed(&mut batcher, 4);
        assert_eq!(all, (0..400_000).map(|i| (i, 3, 1)).collect::<Vec<_>>());
        assert!(turns + more > 10, "{turns} and {more} turns");
        assert_eq!(batcher.least_time(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// What is sealed is the sum of what came, whenever and in whatever runs it came, each time once.
        #[test]
        fn sealed_is_what_came(
            parts in prop::collection::vec((prop::collection::vec((0u32..60, 0u64..6, -2i64..3), 0..40), 0u64..7, any::<bool>()), 1..60)
        ) {
            let mut batcher = Batcher::default();
            let (mut waiting, mut upper): (Vec<Change>, Timestamp) = (vec![], 0);
            for (part, to, idle) in parts {
                let part: Vec<Change> = part.into_iter().map(|(row, t, d)| (row, upper + t, d)).collect();
                waiting.extend(summed(part.iter().copied()));
                batcher.push(raw(&part).into());
                if idle {
                    batcher.go_on();
                    continue;
                }
                upper += to;
                let (due, rest): (Vec<Change>, Vec<Change>) = waiting.into_iter().partition(|c| c.1 < upper);
                prop_assert_eq!(sealed(&mut batcher, upper).0, summed(due));
                let least = summed(rest.iter().copied()).into_iter().map(|c| c.1).min();
                prop_assert!(batcher.least_time() <= least || least.is_none());
                waiting = rest;
            }
        }

        /// A merge by pieces is the merge at once.
        #[test]
        fn pieces_are_the_whole(
            runs in prop::collection::vec(prop::collection::vec((0u32..40, 0u64..3, -2i64..3), 0..50), 0..9),
            piece in 1usize..20
        ) {
            let runs: Vec<Vec<RowChunk>> = runs.iter().map(|run| chunks(run)).collect();
            let all = summed(runs.iter().flat_map(|run| changes(run)));
            let mut merging = Merging::new(runs);
            let merged = loop {
                if let Some(merged) = merging.work(piece) {
                    break merged;
                }
            };
            prop_assert_eq!(changes(&merged), all);
        }
    }
}
