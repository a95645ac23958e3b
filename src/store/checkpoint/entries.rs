//! The entries of an operator's state, as runs: sorted by row and time, newest last. A checkpoint adds a run of what
//! changed; where there are [`FAN_IN`] then of about one size, they are merged. So an entry is written about once each time
//! that what came after it has grown by that factor, and there are less than that many runs of each size for a start to
//! look into.

use super::{Block, Checkpoints, NewFile, Reader, SavedView};
use hw_repr::chunk::ChunkBody;
use hw_repr::{Diff, SqlError};
use serde::{Deserialize, Serialize};
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

/// How entries fit together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// They are no entries but the runs of an arrangement, by worker.
    #[default]
    Arrangement,
    /// An entry replaces those that were there for its key; with the diff -1 nothing is there any more, unless the same run
    /// has a state for the key.
    Latest,
    /// The diffs of equal entries are added.
    Sum,
}

/// Entries that are to be saved.
#[derive(Debug)]
pub struct SnapshotEntries {
    /// How they fit together.
    pub kind: Kind,
    /// These are all; else what changed since the last checkpoint.
    pub all: bool,
    /// The entries, in no order.
    pub bodies: Vec<ChunkBody>,
}

/// Runs of about one size (none is this many times as large as what follows it) that are merged.
const FAN_IN: usize = 4;
/// Rows of a stored body of entries.
pub(super) const BODY_ROWS: usize = 8192;
/// Bytes of rows from which on a stored body takes no more.
pub(super) const BODY_BYTES: usize = 4 << 20;

fn rows(run: &[SavedView]) -> usize {
    run.iter().map(|v| v.hi - v.lo).sum()
}

/// Saves entries after the runs that the last checkpoint has: the runs that there are then. Blocks in files that are given
/// up (`sparse`) are copied.
pub fn save(
    all: &Checkpoints,
    before: Vec<Vec<SavedView>>,
    new: SnapshotEntries,
    sparse: &[u64],
    out: &mut NewFile,
) -> Result<Vec<Vec<SavedView>>, SqlError> {
    let mut runs = if new.all { vec![] } else { before };
    let mut size: usize = new.bodies.iter().map(ChunkBody::len).sum();
    let mut reader = Reader::default();
    let mut keep = runs.len();
    while size > 0 {
        let similar: Vec<usize> =
            runs[..keep].iter().rev().map(|run| rows(run)).take_while(|rows| *rows < FAN_IN * size).collect();
        if similar.len() + 1 < FAN_IN {
            break;
        }
        size += similar.iter().sum::<usize>();
        keep -= similar.len();
    }
    let merged = runs.split_off(keep);
    for view in runs.iter_mut().flatten().filter(|v| sparse.contains(&v.block.file)) {
        view.block = out.copy(all, &mut reader, view.block)?;
    }
    if size == 0 {
        return Ok(runs);
    }
    let old = merged.into_iter().map(|run| Source { left: run.into(), ..Source::default() });
    let sorted = new.bodies.into_iter().map(|b| Source { next: Some(Arc::new(sort(&b))), ..Source::default() });
    let run = merge(all, new.kind, old.chain(sorted).collect(), keep, &mut reader, out)?;
    if !run.is_empty() {
        runs.push(run);
    }
    Ok(runs)
}

/// The rows of a body by row and time; none is left out.
fn sort(body: &ChunkBody) -> ChunkBody {
    // Prefixes beside the numbers: most comparisons end there.
    let mut order: Vec<(u64, u32)> = body.prefixes.iter().copied().zip(0..).collect();
    order.sort_unstable_by(|(first, a), (second, b)| {
        let (a, b) = (*a as usize, *b as usize);
        let rows = first.cmp(second).then_with(|| body.row(a).cmp(body.row(b)));
        rows.then_with(|| body.times.get(a).cmp(&body.times.get(b)))
    });
    let mut out = ChunkBody::default();
    out.data.reserve(body.data.len());
    for (_, i) in order {
        let i = i as usize;
        out.push(body.row(i), body.key_lens.get(i) as usize, body.times.get(i), body.diffs.get(i));
    }
    out
}

/// A sorted run that is being read.
#[derive(Default)]
pub(super) struct Source {
    pub(super) next: Option<Arc<ChunkBody>>,
    pub(super) left: VecDeque<SavedView>,
}

impl Source {
    /// The next rows: body, first, one past the last.
    pub(super) fn load(
        &mut self,
        all: &Checkpoints,
        reader: &mut Reader,
    ) -> Result<Option<(Arc<ChunkBody>, usize, usize)>, SqlError> {
        if let Some(body) = self.next.take().filter(|b| !b.is_empty()) {
            let hi = body.len();
            return Ok(Some((body, 0, hi)));
        }
        let Some(view) = self.left.pop_front() else { return Ok(None) };
        let body = all.body(reader, view.block)?;
        if view.lo >= view.hi || view.hi > body.len() {
            return Err(super::block::damage(&all.path_of(view.block.file), view.block.at));
        }
        Ok(Some((Arc::new(body), view.lo, view.hi)))
    }
}

/// An entry of a source.
pub(super) struct Cursor {
    pub(super) body: Arc<ChunkBody>,
    pub(super) at: usize,
    pub(super) hi: usize,
    /// Later sources have newer entries.
    pub(super) source: usize,
}

impl Cursor {
    fn rank(&self) -> (&[u8], u64) {
        (self.body.row(self.at), self.body.times.get(self.at))
    }
}

impl Ord for Cursor {
    fn cmp(&self, other: &Self) -> Ordering {
        let prefix = self.body.prefixes[self.at].cmp(&other.body.prefixes[other.at]);
        prefix.then_with(|| self.rank().cmp(&other.rank())).then(self.source.cmp(&other.source))
    }
}

impl PartialOrd for Cursor {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cursor {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Cursor {}

/// Entries of one key, of which one counts; or equal entries, which are summed.
struct Open {
    row: Vec<u8>,
    key_len: usize,
    time: u64,
    diff: Diff,
    /// Of the run: all new ones are of one.
    age: usize,
}

/// One run of all sources. The last `sources.len() - old` are of one age, where there are `old` runs before.
fn merge(
    all: &Checkpoints,
    kind: Kind,
    mut sources: Vec<Source>,
    keep: usize,
    reader: &mut Reader,
    out: &mut NewFile,
) -> Result<Vec<SavedView>, SqlError> {
    let old = sources.iter().filter(|s| s.next.is_none()).count();
    let mut heap = BinaryHeap::with_capacity(sources.len());
    for (source, s) in sources.iter_mut().enumerate() {
        if let Some((body, at, hi)) = s.load(all, reader)? {
            heap.push(Reverse(Cursor { body, at, hi, source }));
        }
    }
    let mut made = Made { body: ChunkBody::default(), views: vec![], ends: keep == 0 };
    let mut open: Option<Open> = None;
    while let Some(mut top) = heap.peek_mut() {
        let Reverse(c) = &mut *top;
        let (row, key_len, time) = (c.body.row(c.at), c.body.key_lens.get(c.at) as usize, c.body.times.get(c.at));
        let (diff, age) = (c.body.diffs.get(c.at), c.source.min(old));
        let same = open.as_ref().is_some_and(|o| match kind {
            Kind::Latest => o.row[..o.key_len] == row[..key_len],
            _ => o.time == time && o.row == row,
        });
        match &mut open {
            Some(o) if same && kind != Kind::Latest => o.diff += diff,
            Some(o) if same && (age, diff) < (o.age, o.diff) => {}
            Some(o) => {
                if !same {
                    made.push(kind, o, all, out)?;
                }
                o.row.clear();
                o.row.extend_from_slice(row);
                (o.key_len, o.time, o.diff, o.age) = (key_len, time, diff, age);
            }
            None => open = Some(Open { row: row.to_vec(), key_len, time, diff, age }),
        }
        c.at += 1;
        if c.at == c.hi {
            match sources[c.source].load(all, reader)? {
                Some((body, at, hi)) => (c.body, c.at, c.hi) = (body, at, hi),
                None => drop(std::collections::binary_heap::PeekMut::pop(top)),
            }
        }
    }
    if let Some(done) = open {
        made.push(kind, &done, all, out)?;
    }
    made.flush(all, out)?;
    Ok(made.views)
}

/// A run that is being written.
struct Made {
    body: ChunkBody,
    views: Vec<SavedView>,
    /// Nothing lies before it: what says that nothing is there needs not be kept.
    ends: bool,
}

impl Made {
    fn push(&mut self, kind: Kind, o: &Open, all: &Checkpoints, out: &mut NewFile) -> Result<(), SqlError> {
        if o.diff == 0 || (kind == Kind::Latest && self.ends && o.diff < 0) {
            return Ok(());
        }
        self.body.push(&o.row, o.key_len, o.time, o.diff);
        if self.body.len() >= BODY_ROWS || self.body.data.len() >= BODY_BYTES {
            self.flush(all, out)?;
        }
        Ok(())
    }

    fn flush(&mut self, all: &Checkpoints, out: &mut NewFile) -> Result<(), SqlError> {
        if !self.body.is_empty() {
            let body = std::mem::take(&mut self.body);
            let block: Block = out.push(all, &body)?;
            self.views.push(SavedView { block, lo: 0, hi: body.len() });
        }
        Ok(())
    }
}
