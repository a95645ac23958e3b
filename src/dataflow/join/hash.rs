//! The join of two collections from which nothing is ever retracted: each side keeps its rows as columns, a hash of key
//! to the newest row of that key, and for each row the one before it with the same key.
//!
//! Every pair is made once, when the later of its rows comes in.

use super::rows::Rows;
use crate::closed::ClosedTick;
use crate::layout::Layout;
use crate::reduce::groups::Groups;
use crate::slab::Slab;
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
}

impl Side {
    /// Keeps the rows of a batch; `slots` has the key of each.
    fn keep(&mut self, batch: &UpdateBatch, slots: &[u32]) -> Result<(), SqlError> {
        let first = self.rows.push(batch.rows.clone())?;
        self.before.grow(self.rows.len());
        if self.copies.is_none() && batch.diffs.as_ref().is_some_and(|d| d.values().iter().any(|d| *d != 1)) {
            let mut copies = Slab::default();
            copies.grow(first);
            (0..first).for_each(|i| *copies.get_mut(i) = 1);
            self.copies = Some(copies);
        }
        if let Some(copies) = &mut self.copies {
            copies.grow(self.rows.len());
            (0..batch.len()).for_each(|i| *copies.get_mut(first + i) = batch.diff(i));
        }
        self.newest.grow(self.keys.slots());
        for (i, slot) in slots.iter().enumerate() {
            let newest = self.newest.get_mut(*slot as usize);
            *self.before.get_mut(first + i) = *newest;
            *newest = first + i + 1;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let copies = self.copies.as_ref().map_or(0, Slab::bytes);
        self.keys.bytes() + self.newest.bytes() + self.before.bytes() + self.rows.bytes() + copies
    }
}

/// A batch whose rows are being looked up in the other side.
struct Probe {
    side: usize,
    batch: UpdateBatch,
    /// By row: one more than the number of the other side's newest row with its key.
    newest: Vec<usize>,
    row: usize,
}

/// The state of a join on one worker.
pub struct HashJoin {
    sides: [Side; 2],
    schema: SchemaRef,
    queue: VecDeque<(usize, UpdateBatch)>,
    probe: Option<Probe>,
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
        };
        HashJoin {
            sides: [side(&layouts[0], left), side(&layouts[1], right)],
            schema: schema_of(&all),
            queue: VecDeque::new(),
            probe: None,
        }
    }

    /// Looks up the keys of a batch in the other side, and keeps the batch.
    fn begin(&mut self, side: usize, batch: UpdateBatch) -> Result<Probe, SqlError> {
        let [left, right] = &mut self.sides;
        let (own, other) = if side == 0 { (left, right) } else { (right, left) };
        let batch = own.matchable(batch);
        let mut encoder = own.layout.key_encoder(&batch.rows);
        let (mut newest, mut slots) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        let mut key = Vec::new();
        for row in 0..batch.len() {
            key.clear();
            encoder.encode(row, &mut key);
            newest.push(other.keys.find(&key).map_or(0, |slot| *other.newest.get(slot as usize)));
            slots.push(own.keys.slot(&key));
        }
        own.keep(&batch, &slots)?;
        Ok(Probe { side, batch, newest, row: 0 })
    }

    /// The next pairs of the probe in hand.
    fn pairs(&self, probe: &mut Probe, time: Timestamp) -> Result<Option<UpdateBatch>, SqlError> {
        let other = &self.sides[1 - probe.side];
        let (mut rows, mut numbers, mut diffs): (Vec<u32>, Vec<usize>, Vec<Diff>) = (vec![], vec![], vec![]);
        let until = (probe.row + PART).min(probe.batch.len());
        while probe.row < until && rows.len() < PART {
            let at = &mut probe.newest[probe.row];
            if *at == 0 {
                probe.row += 1;
                continue;
            }
            let number = *at - 1;
            *at = *other.before.get(number);
            rows.push(probe.row as u32);
            numbers.push(number);
            diffs.push(probe.batch.diff(probe.row) * other.copies.as_ref().map_or(1, |c| *c.get(number)));
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let theirs = other.rows.gather(&numbers)?;
        let ours = columns_at(&probe.batch.rows, rows)?;
        let columns = if probe.side == 0 { [ours, theirs] } else { [theirs, ours] }.concat();
        let ones = diffs.iter().all(|d| *d == 1);
        let rows = batch_of(&self.schema, columns, diffs.len())?;
        Ok(Some(UpdateBatch { rows, diffs: (!ones).then(|| Arc::new(diffs.into())), time }))
    }

    fn part(&mut self, time: Timestamp) -> Result<Option<Parcels>, SqlError> {
        let mut probe = match self.probe.take() {
            Some(probe) => probe,
            None => match self.queue.pop_front() {
                Some((side, batch)) => self.begin(side, batch)?,
                None => return Ok(None),
            },
        };
        let made = self.pairs(&mut probe, time)?;
        if probe.row < probe.batch.len() {
            self.probe = Some(probe);
        }
        Ok(Some(Parcels(made.into_iter().map(|b| (OK, b)).collect())))
    }
}

impl Side {
    /// The rows that can match anything.
    fn matchable(&self, batch: UpdateBatch) -> UpdateBatch {
        let strict = crate::layout::columns(&batch.rows, &self.strict);
        if strict.iter().all(|c| c.null_count() == 0) {
            return batch;
        }
        let good = (0..batch.len()).filter(|i| strict.iter().all(|c| c.is_valid(*i)));
        crate::exchange::select(&batch, &good.map(|i| i as u32).collect::<Vec<_>>().into())
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
    fn absorb(&mut self, input: usize, batch: UpdateBatch) {
        self.queue.push_back((input, batch));
    }

    fn emit(&mut self, time: Timestamp) -> Option<Parcels> {
        self.part(time).expect("invariant: rows have the types that the planner checked")
    }

    fn size(&self) -> (usize, usize) {
        (self.sides.iter().map(|s| s.rows.len()).sum(), self.sides.iter().map(Side::bytes).sum())
    }
}
