//! The join of two collections from which nothing is ever retracted: each side keeps its rows as columns, a hash of key
//! to the newest row of that key, and for each row the one before it with the same key.
//!
//! Every pair is made once, when the later of its rows comes in.

use super::rows::Rows;
use crate::chunk::RowChunk;
use crate::closed::ClosedTick;
use crate::exchange::{Keyed, select};
use crate::layout::Layout;
use crate::reduce::groups::Groups;
use crate::slab::Slab;
use crate::state::{BODY_BYTES, Collected, Entries, Meaning};
use crate::stateless::OK;
use crate::types::{Parcels, batch_of, schema_of};
use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use hw_repr::{Diff, SqlError, SqlType, Timestamp, UpdateBatch};
use std::collections::VecDeque;
use std::sync::Arc;

/// Pairs, or rows looked up, after which a part of the output is given.
const PART: usize = 4096;

/// One input's rows and their index.
struct Side {
    layout: Layout,
    /// Columns in which NULL matches nothing.
    strict: Vec<usize>,
    keys: Groups,
    /// By key's slot: one more than the number of its newest row.
    newest: Slab<usize>,
    /// By row: one more than the number of the row before it with the same key.
    before: Slab<usize>,
    rows: Rows,
    /// By row, from the first row on that was there more than once.
    copies: Option<Slab<Diff>>,
    /// Rows before this one are in the last checkpoint.
    saved: usize,
}

/// Rows that are being taken as entries: those of both sides from `at` to `to`.
struct Taking {
    all: bool,
    at: [usize; 2],
    to: [usize; 2],
    out: Collected,
}

impl Side {
    /// Keeps rows; `slots` has the key of each.
    fn keep(&mut self, rows: &Keyed, slots: &[u32]) -> Result<(), SqlError> {
        let first = self.rows.push(rows.whole().rows.clone(), rows.numbers())?;
        self.before.grow(self.rows.len());
        let diffs = || (0..rows.len()).map(|i| rows.diff(i));
        if self.copies.is_none() && rows.whole().diffs.is_some() && diffs().any(|d| d != 1) {
            let mut copies = Slab::default();
            copies.grow(first);
            (0..first).for_each(|i| *copies.get_mut(i) = 1);
            self.copies = Some(copies);
        }
        if let Some(copies) = &mut self.copies {
            copies.grow(self.rows.len());
            diffs().enumerate().for_each(|(i, diff)| *copies.get_mut(first + i) = diff);
        }
        self.newest.grow(self.keys.slots());
        for (i, slot) in slots.iter().enumerate() {
            let newest = self.newest.get_mut(*slot as usize);
            *self.before.get_mut(first + i) = *newest;
            *newest = first + i + 1;
        }
        Ok(())
    }

    /// Takes at most `most` rows from `at` on as entries of this side: key and value are those of its layout, the time is
    /// the side's number. How many they were.
    fn take(&self, at: usize, most: usize, side: usize, out: &mut Collected) -> usize {
        let rows = self.rows.piece(at, most).expect("invariant: rows lie inside their segments");
        let count = rows.num_rows();
        let diffs = self.copies.as_ref().map(|copies| (at..at + count).map(|n| *copies.get(n)).collect::<Vec<_>>());
        let batch = UpdateBatch { rows, diffs: diffs.map(|d| Arc::new(d.into())), time: side as Timestamp };
        out.with_body(|body, full| self.layout.encode(&batch, &[], body, BODY_BYTES, full));
        count
    }

    /// Keeps the entries of this side.
    fn restore(&mut self, chunk: &RowChunk, side: usize) -> Result<(), SqlError> {
        let body = &chunk.body;
        let mine: Vec<usize> = chunk.range().filter(|i| body.times.get(*i) == side as Timestamp).collect();
        if mine.is_empty() {
            return Ok(());
        }
        let rows = self.layout.decode_batch(&mut mine.iter().map(|i| body.row(*i)))?;
        let diffs: Vec<Diff> = mine.iter().map(|i| body.diffs.get(*i)).collect();
        let ones = diffs.iter().all(|d| *d == 1);
        let slots: Vec<u32> = mine.iter().map(|i| self.keys.slot(body.key(*i))).collect();
        self.keep(&UpdateBatch { rows, diffs: (!ones).then(|| Arc::new(diffs.into())), time: 0 }.into(), &slots)
    }

    fn bytes(&self) -> usize {
        let copies = self.copies.as_ref().map_or(0, Slab::bytes);
        self.keys.bytes() + self.newest.bytes() + self.before.bytes() + self.rows.bytes() + copies
    }
}

/// A batch whose rows are being looked up in the other side.
struct Probe {
    side: usize,
    rows: Keyed,
    /// By row: one more than the number of the other side's newest row with its key.
    newest: Vec<usize>,
    row: usize,
}

/// The state of a join on one worker.
pub struct HashJoin {
    sides: [Side; 2],
    schema: SchemaRef,
    queue: VecDeque<(usize, Keyed)>,
    probe: Option<Probe>,
    taking: Option<Taking>,
    /// Entries have been taken, or it began with some.
    taken: bool,
}

impl HashJoin {
    /// Of inputs with these types, arranged like `layouts`; a NULL in a column of `strict` matches nothing.
    pub fn new(types: [&[SqlType]; 2], layouts: &[Layout; 2], strict: [Vec<usize>; 2]) -> HashJoin {
        let all: Vec<SqlType> = types.concat();
        let [left, right] = strict;
        let side = |layout: &Layout, strict| Side {
            layout: layout.clone(),
            strict,
            keys: Groups::new(),
            newest: Slab::default(),
            before: Slab::default(),
            rows: Rows::default(),
            copies: None,
            saved: 0,
        };
        HashJoin {
            sides: [side(&layouts[0], left), side(&layouts[1], right)],
            schema: schema_of(&all),
            queue: VecDeque::new(),
            probe: None,
            taking: None,
            taken: false,
        }
    }

    /// Looks up the keys of a batch in the other side, and keeps the batch.
    fn begin(&mut self, side: usize, rows: Keyed) -> Result<Probe, SqlError> {
        let [left, right] = &mut self.sides;
        let (own, other) = if side == 0 { (left, right) } else { (right, left) };
        let rows = own.matchable(rows);
        let mut keys = rows.keys(&own.layout);
        let (mut newest, mut slots) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for row in 0..rows.len() {
            let key = keys.get(row);
            newest.push(other.keys.find(key).map_or(0, |slot| *other.newest.get(slot as usize)));
            slots.push(own.keys.slot(key));
        }
        own.keep(&rows, &slots)?;
        Ok(Probe { side, rows, newest, row: 0 })
    }

    /// The next pairs of the probe in hand.
    fn pairs(&self, probe: &mut Probe, time: Timestamp) -> Result<Option<UpdateBatch>, SqlError> {
        let other = &self.sides[1 - probe.side];
        let (mut rows, mut numbers, mut diffs): (Vec<u32>, Vec<usize>, Vec<Diff>) = (vec![], vec![], vec![]);
        let until = (probe.row + PART).min(probe.rows.len());
        while probe.row < until && rows.len() < PART {
            let at = &mut probe.newest[probe.row];
            if *at == 0 {
                probe.row += 1;
                continue;
            }
            let number = *at - 1;
            *at = *other.before.get(number);
            rows.push(probe.rows.at(probe.row) as u32);
            numbers.push(number);
            diffs.push(probe.rows.diff(probe.row) * other.copies.as_ref().map_or(1, |c| *c.get(number)));
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let theirs = other.rows.gather(&numbers)?;
        let ours = columns_at(&probe.rows.whole().rows, rows)?;
        let columns = if probe.side == 0 { [ours, theirs] } else { [theirs, ours] }.concat();
        let ones = diffs.iter().all(|d| *d == 1);
        let rows = batch_of(&self.schema, columns, diffs.len())?;
        Ok(Some(UpdateBatch { rows, diffs: (!ones).then(|| Arc::new(diffs.into())), time }))
    }

    fn part(&mut self, time: Timestamp) -> Result<Option<Parcels>, SqlError> {
        let mut probe = match self.probe.take() {
            Some(probe) => probe,
            None => match self.queue.pop_front() {
                Some((side, rows)) => self.begin(side, rows)?,
                None => return Ok(None),
            },
        };
        let made = self.pairs(&mut probe, time)?;
        if probe.row < probe.rows.len() {
            self.probe = Some(probe);
        }
        Ok(Some(Parcels(made.into_iter().map(|b| (OK, b)).collect())))
    }
}

impl Side {
    /// The rows that can match anything.
    fn matchable(&self, rows: Keyed) -> Keyed {
        let strict = crate::layout::columns(&rows.whole().rows, &self.strict);
        if strict.iter().all(|c| c.null_count() == 0) {
            return rows;
        }
        let good = (0..rows.len()).map(|i| rows.at(i)).filter(|i| strict.iter().all(|c| c.is_valid(*i)));
        select(rows.whole(), &good.map(|i| i as u32).collect::<Vec<_>>().into()).into()
    }
}

fn columns_at(batch: &RecordBatch, rows: Vec<u32>) -> Result<Vec<ArrayRef>, SqlError> {
    let all = rows.len() == batch.num_rows() && rows.iter().enumerate().all(|(i, r)| i as u32 == *r);
    if all {
        return Ok(batch.columns().to_vec());
    }
    let rows = UInt32Array::from(rows);
    let column = |c: &ArrayRef| take(c, &rows, None).map_err(|e| SqlError::internal(e.to_string()));
    batch.columns().iter().map(column).collect()
}

impl ClosedTick for HashJoin {
    fn absorb(&mut self, input: usize, rows: Keyed) {
        self.queue.push_back((input, rows));
    }

    fn emit(&mut self, time: Timestamp) -> Option<Parcels> {
        self.part(time).expect("invariant: rows have the types that the planner checked")
    }

    fn size(&self) -> (usize, usize) {
        (self.sides.iter().map(|s| s.rows.len()).sum(), self.sides.iter().map(Side::bytes).sum())
    }

    fn begin_taking(&mut self, all: bool) {
        let all = all || !std::mem::replace(&mut self.taken, true);
        let at = self.sides.each_ref().map(|s| if all { 0 } else { s.saved });
        let to = self.sides.each_ref().map(|s| s.rows.len());
        self.sides.iter_mut().zip(to).for_each(|(s, to)| s.saved = to);
        self.taking = Some(Taking { all, at, to, out: Collected::default() });
    }

    fn take_some(&mut self, rows: usize) -> Option<Entries> {
        let mut taking = self.taking.take()?;
        if let Some(side) = (0..2).find(|s| taking.at[*s] < taking.to[*s]) {
            let most = rows.min(taking.to[side] - taking.at[side]);
            taking.at[side] += self.sides[side].take(taking.at[side], most, side, &mut taking.out);
            self.taking = Some(taking);
            return None;
        }
        Some(taking.out.into_entries(Meaning::Sum, taking.all))
    }

    fn restore(&mut self, entries: Vec<Vec<RowChunk>>) -> Result<(), SqlError> {
        for (number, side) in self.sides.iter_mut().enumerate() {
            entries.iter().flatten().try_for_each(|chunk| side.restore(chunk, number))?;
            side.saved = side.rows.len();
        }
        self.taken = true;
        Ok(())
    }
}
