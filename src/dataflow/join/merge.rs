//! Equi-join: a [`JoinTactic`] that merges the keys of a fresh batch with the other side's chunks.
//!
//! It gives up control about every [`YIELD_ROWS`] rows, inside a key too. The keys of both sides have the same types
//! and are written by [`Layout::keyed`], so equality of bytes is SQL's; NULL keys were left out when arranging unless
//! the key is null-safe.

use super::Arrangement;
use crate::arrange::{BATCH_BYTES, after_restored};
use crate::chunk::RowChunk;
use crate::closed::Counters;
use crate::layout::Layout;
use crate::types::{RowBatch, RowStream, Rows, batch_of, schema_of};
use arrow::datatypes::SchemaRef;
use differential_dataflow::operators::join::{Fresh, JoinTactic, join_with_tactic};
use hw_repr::{SqlType, Timestamp, UpdateBatch};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// Rows after which the operator yields.
pub(super) const YIELD_ROWS: usize = 8192;
/// Bytes of a match that count as one more row.
pub(super) const ROW_BYTES: usize = 16 << 10;

/// Joins two arrangements, which may be one. `work` counts what is made of them.
pub fn join<'s>(left: Arrangement<'s>, right: Arrangement<'s>, work: Arc<Counters>) -> RowStream<'s> {
    let types: Vec<SqlType> = left.types.iter().chain(&right.types).copied().collect();
    let (counters, same) =
        ([left.counters.clone(), right.counters.clone()], Arc::ptr_eq(&left.counters, &right.counters));
    let shape = Arc::new(Shape { layouts: [left.layout.clone(), right.layout.clone()], schema: schema_of(&types) });
    let [a, b] = [left, right].map(|side| {
        let mut arranged = side.arranged;
        if let Some(upper) = side.after {
            arranged.stream = after_restored(arranged.stream.clone(), upper);
        }
        arranged
    });
    let building = Rc::new(Cell::new(true));
    let counters = counters.map(Some);
    // What is read twice comes in once.
    let counters = if same { [counters[0].clone(), None] } else { counters };
    let pairs = join_with_tactic(a, b, MergeJoin { shape, counters, work, building: building.clone() });
    building.set(false);
    pairs
}

/// How to decode both sides.
struct Shape {
    layouts: [Layout; 2],
    schema: SchemaRef,
}

struct MergeJoin {
    shape: Arc<Shape>,
    /// Of both sides, where it counts what comes in.
    counters: [Option<Arc<Counters>>; 2],
    work: Arc<Counters>,
    /// The operator is being built, and joins what the arrangements begin with: restored rows, whose pairs went on before.
    building: Rc<Cell<bool>>,
}

impl JoinTactic<RowBatch, RowBatch, Rows> for MergeJoin {
    fn prep(
        &mut self,
        in0: Vec<RowBatch>,
        in1: Vec<RowBatch>,
        fresh: Fresh,
        _: Timestamp,
    ) -> Box<dyn Iterator<Item = Rows>> {
        if self.building.get() {
            return Box::new(std::iter::empty());
        }
        let (fresh, other, fresh_is_left) = match fresh {
            Fresh::Input0 => (in0, in1, true),
            Fresh::Input1 => (in1, in0, false),
        };
        let chunks: Vec<RowChunk> = fresh.iter().flat_map(|b| b.chunks.iter().cloned()).collect();
        if let Some(counters) = &self.counters[usize::from(!fresh_is_left)] {
            counters.take_in(chunks.iter().map(|c| c.range().len()).sum());
        }
        let at = vec![Position::default(); other.len()];
        Box::new(Merge {
            shape: self.shape.clone(),
            work: self.work.clone(),
            fresh: chunks,
            other,
            at,
            fresh_is_left,
            chunk: 0,
            lo: 0,
            hi: 0,
            batch: None,
            inner: Position::default(),
        })
    }
}

/// A row of a list of chunks.
#[derive(Clone, Copy, Default)]
pub(super) struct Position {
    pub(super) chunk: usize,
    pub(super) row: usize,
}

impl Position {
    /// Moves forward to the first row whose bytes are not below `key`. True when there is one.
    pub(super) fn seek(&mut self, chunks: &[RowChunk], key: &[u8]) -> bool {
        let last_below = |c: &RowChunk| c.body.row(c.hi - 1) < key;
        if self.chunk < chunks.len() && last_below(&chunks[self.chunk]) {
            self.chunk += gallop(chunks.len() - self.chunk, |i| last_below(&chunks[self.chunk + i]));
            self.row = 0;
        }
        let Some(chunk) = chunks.get(self.chunk) else { return false };
        let from = self.row.max(chunk.lo);
        self.row = from + gallop(chunk.hi - from, |i| chunk.body.row(from + i) < key);
        true
    }
    /// The next row. False at the end.
    pub(super) fn step(&mut self, chunks: &[RowChunk]) -> bool {
        self.row += 1;
        if self.row >= chunks[self.chunk].hi {
            self.chunk += 1;
            self.row = chunks.get(self.chunk).map_or(0, |c| c.lo);
        }
        self.chunk < chunks.len()
    }
}

/// The first of `0..n` for which `below` is false, near the front.
fn gallop(n: usize, below: impl Fn(usize) -> bool) -> usize {
    let (mut lo, mut step) = (0, 1);
    while lo + step <= n && below(lo + step - 1) {
        lo += step;
        step <<= 1;
    }
    let mut hi = (lo + step - 1).min(n);
    while lo < hi {
        let mid = lo + (hi - lo) / 2;
        if below(mid) { lo = mid + 1 } else { hi = mid }
    }
    lo
}

/// Matches of one time.
#[derive(Default)]
struct Matches {
    sides: [(Vec<u8>, Vec<u32>); 2],
    diffs: Vec<i64>,
}

impl Matches {
    fn bytes(&self) -> usize {
        self.sides[0].0.len() + self.sides[1].0.len()
    }
    fn push(&mut self, left: &[u8], right: &[u8], diff: i64) {
        for (side, row) in self.sides.iter_mut().zip([left, right]) {
            side.0.extend_from_slice(row);
            side.1.push(side.0.len() as u32);
        }
        self.diffs.push(diff);
    }
    fn into_batch(self, time: Timestamp, shape: &Shape) -> UpdateBatch {
        let mut columns = vec![];
        for ((data, ends), layout) in self.sides.iter().zip(&shape.layouts) {
            let mut start = 0;
            let mut rows = ends.iter().map(|end| {
                let row = &data[start..*end as usize];
                start = *end as usize;
                row
            });
            columns.extend(layout.decode(&mut rows).expect("invariant: an arrangement holds what its layout encoded"));
        }
        let count = self.diffs.len();
        let rows = batch_of(&shape.schema, columns, count).expect("invariant: the schema is that of both sides");
        let ones = self.diffs.iter().all(|d| *d == 1);
        UpdateBatch { rows, diffs: (!ones).then(|| Arc::new(self.diffs.into())), time }
    }
}

/// Matches that were found between two yields.
#[derive(Default)]
struct Found {
    /// Rows, and those that long rows count for.
    made: usize,
    open: BTreeMap<Timestamp, Matches>,
    /// Batches that take no more: the offsets of rows and columns are 32 bits.
    full: Vec<UpdateBatch>,
}

impl Found {
    fn push(&mut self, time: Timestamp, left: &[u8], right: &[u8], diff: i64, shape: &Shape) {
        self.made += 1 + (left.len() + right.len()) / ROW_BYTES;
        let matches = self.open.entry(time).or_default();
        matches.push(left, right, diff);
        if matches.bytes() >= BATCH_BYTES {
            self.full.push(std::mem::take(matches).into_batch(time, shape));
        }
    }
    fn into_rows(mut self, shape: &Shape) -> Option<Rows> {
        self.open.retain(|_, matches| !matches.diffs.is_empty());
        self.full.extend(self.open.into_iter().map(|(time, m)| m.into_batch(time, shape)));
        (!self.full.is_empty()).then_some(Rows(self.full))
    }
}

struct Merge {
    shape: Arc<Shape>,
    work: Arc<Counters>,
    fresh: Vec<RowChunk>,
    other: Vec<RowBatch>,
    at: Vec<Position>, // per other batch, the first row of the current key
    fresh_is_left: bool,
    chunk: usize,
    lo: usize, // fresh rows of the current key
    hi: usize,
    batch: Option<usize>, // other batch, None: take the next key
    inner: Position,
}

impl Merge {
    /// Moves `lo..hi` to the next fresh key (or the part of it in this chunk).
    fn next_key(&mut self) -> bool {
        while let Some(chunk) = self.fresh.get(self.chunk) {
            let at = self.hi.max(chunk.lo);
            if at < chunk.hi {
                let key = chunk.body.key(at);
                self.lo = at;
                self.hi = at + gallop(chunk.hi - at, |i| chunk.body.key(at + i) == key);
                return true;
            }
            self.chunk += 1;
            self.hi = 0;
        }
        false
    }

    /// Matches of the current key with the batches left; false when it yields before their end.
    fn scan(&mut self, found: &mut Found) -> bool {
        let fresh = self.fresh[self.chunk].body.clone();
        let key = fresh.key(self.lo);
        while let Some(b) = self.batch.filter(|b| *b < self.other.len()) {
            let chunks = &self.other[b].chunks[..];
            while let Some(chunk) = chunks.get(self.inner.chunk).filter(|c| c.body.key(self.inner.row) == key) {
                let (body, i) = (&chunk.body, self.inner.row);
                for f in self.lo..self.hi {
                    let (left, right) =
                        if self.fresh_is_left { (fresh.row(f), body.row(i)) } else { (body.row(i), fresh.row(f)) };
                    let time = fresh.times.get(f).max(body.times.get(i));
                    found.push(time, left, right, fresh.diffs.get(f) * body.diffs.get(i), &self.shape);
                }
                self.inner.step(chunks);
                if found.made >= YIELD_ROWS {
                    return false;
                }
            }
            self.batch = Some(b + 1);
            self.start(b + 1, self.chunk, self.lo);
        }
        self.batch = None;
        true
    }

    /// Finds the key of fresh row (chunk, row) in batch `b`.
    fn start(&mut self, b: usize, chunk: usize, row: usize) {
        if let Some(batch) = self.other.get(b) {
            let key = self.fresh[chunk].body.key(row);
            self.at[b].seek(&batch.chunks, key);
            self.inner = self.at[b];
        }
    }
}

impl Iterator for Merge {
    type Item = Rows;
    fn next(&mut self) -> Option<Rows> {
        let begun = Instant::now();
        let mut found = Found::default();
        while found.made < YIELD_ROWS {
            if self.batch.is_none() {
                if !self.next_key() {
                    break;
                }
                self.batch = Some(0);
                self.start(0, self.chunk, self.lo);
            }
            if !self.scan(&mut found) {
                break;
            }
        }
        let rows = found.into_rows(&self.shape);
        self.work.worked(rows.iter().flat_map(|r| &r.0).map(UpdateBatch::len).sum(), begun);
        rows
    }
}
