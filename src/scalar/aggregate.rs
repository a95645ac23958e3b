//! Aggregates: what a group keeps for one, how rows enter and leave it, and what it then shows. Maintained views and
//! ad-hoc reads run this code, so they cannot disagree.
//!
//! Invariants: a retraction undoes its insertion exactly, whatever came between; the result depends on the rows alone, not
//! on their order, nor on how they were split into batches or partial states. Where PostgreSQL's result depends on the
//! order of its input, this one is fixed: sums and moments of floats are exact and rounded once, and an aggregate of a
//! list without ORDER BY takes its rows in the order of its arguments.
//!
//! The caller evaluates FILTER. NULL arguments are skipped here (see [`Evaluator::counts`]).

mod acc;
mod bits;
mod check;
mod distinct;
mod few;
mod input;
mod json;
mod list;
mod moments;
mod multiset;
mod number;
mod pairs;
mod top;
mod wide;

use acc::Acc;
use arrow::array::{Array, ArrayRef};
pub use distinct::plain_numbers;
use distinct::{Change, Seen};
pub use few::Few;
use hw_plan::{Aggregate, AggregateFunc};
use hw_repr::encoding::{RowCodec, RowEncoder};
use hw_repr::{Datum, Diff, SqlError, SqlType};
pub use input::{Input, damaged, string};
pub use number::exact;
pub use top::{TopRow, top_rows};

/// One aggregate, ready to be evaluated over columns of known types.
#[derive(Debug)]
pub struct Evaluator {
    agg: Aggregate,
    /// Types of the arguments.
    args: Vec<SqlType>,
    append_only: bool,
    /// Of the result.
    result: RowCodec,
    /// Of the arguments, as they are.
    full: RowCodec,
    /// Of the keys of the order.
    order: RowCodec,
    /// Which arguments the keys of the order are, where they are arguments.
    order_args: Option<Vec<usize>>,
}

/// What a group keeps.
#[derive(Debug)]
pub struct State {
    acc: Acc,
    /// For DISTINCT: the arguments seen.
    seen: Option<Seen>,
}

/// Rows of arguments, ready to be added.
pub struct Rows {
    args: Vec<ArrayRef>,
    order: Vec<ArrayRef>,
    full: Option<RowEncoder>,
    keys: Option<RowEncoder>,
    bytes: Vec<u8>,
}

impl Evaluator {
    /// Of `agg` over an input of `types`. `append_only`: nothing is ever retracted. `0A000` where the aggregate does not
    /// take arguments of these types: the planner should have known.
    pub fn new(agg: &Aggregate, types: &[SqlType], append_only: bool) -> Result<Evaluator, SqlError> {
        let args = check::argument_types(agg, types)?;
        let order: Vec<SqlType> = agg.order.iter().map(|k| types[k.column]).collect();
        let positions: Vec<usize> = agg.args().collect();
        let place = |column: usize| positions.iter().position(|p| *p == column);
        Ok(Evaluator {
            args: args.clone(),
            append_only,
            result: RowCodec::new(&[agg.ty]),
            full: RowCodec::new(&args),
            order: RowCodec::key(&order),
            order_args: agg.order.iter().map(|k| place(k.column)).collect(),
            agg: agg.clone(),
        })
    }

    /// Types of the arguments.
    pub fn arg_types(&self) -> &[SqlType] {
        &self.args
    }

    /// What a group without rows keeps.
    pub fn fresh(&self) -> State {
        let seen = self.distinct().then(Seen::default);
        State { acc: Acc::new(&self.agg, &self.args, self.append_only), seen }
    }

    fn distinct(&self) -> bool {
        self.agg.keeps_distinct()
    }

    /// Input columns that must not be NULL for a row to count.
    pub fn strict_columns(&self) -> impl Iterator<Item = usize> {
        self.agg.args().take(self.agg.func.strict_args())
    }

    /// True where the row counts: none of the arguments is NULL that must not be.
    pub fn counts(&self, rows: &Rows, row: usize) -> bool {
        rows.args.iter().take(self.agg.func.strict_args()).all(|a| a.is_valid(row))
    }

    /// The rows of a batch, by its columns.
    pub fn rows(&self, column: impl Fn(usize) -> ArrayRef) -> Rows {
        let args: Vec<ArrayRef> = self.agg.args().map(&column).collect();
        let order = self.agg.order.iter().map(|k| column(k.column)).collect();
        self.rows_of(args, order)
    }

    fn rows_of(&self, args: Vec<ArrayRef>, order: Vec<ArrayRef>) -> Rows {
        let extreme = matches!(self.agg.func, AggregateFunc::Min | AggregateFunc::Max);
        let full = extreme || self.distinct() || self.agg.func.is_ordered();
        Rows {
            full: full.then(|| self.full.row_encoder(&args)),
            keys: (!order.is_empty()).then(|| self.order.row_encoder(&order)),
            args,
            order,
            bytes: vec![],
        }
    }

    /// Adds row `row`, which counts, `diff` times.
    pub fn add(&self, state: &mut State, rows: &mut Rows, row: usize, diff: Diff) -> Result<(), SqlError> {
        let Some(seen) = &mut state.seen else { return self.add_row(&mut state.acc, rows, row, diff) };
        rows.encode_full(row);
        match seen.change(&self.args, &rows.bytes, diff)? {
            Change::Same(change) => self.add_row(&mut state.acc, rows, row, change),
            Change::Form { gone, come } => self.add_forms(&mut state.acc, gone, come),
        }
    }

    /// Adds the first `len` rows, those that count.
    pub fn add_all(&self, state: &mut State, rows: &mut Rows, len: usize) -> Result<(), SqlError> {
        if state.seen.is_none() && state.acc.add_all(&rows.args) {
            return Ok(());
        }
        for row in 0..len {
            if self.counts(rows, row) {
                self.add(state, rows, row, 1)?;
            }
        }
        Ok(())
    }

    fn add_forms(&self, acc: &mut Acc, gone: Option<Box<[u8]>>, come: Option<Box<[u8]>>) -> Result<(), SqlError> {
        for (bytes, count) in [(gone, -1), (come, 1)] {
            if let Some(bytes) = bytes {
                self.add_encoded(acc, &bytes, count)?;
            }
        }
        Ok(())
    }

    fn add_row(&self, acc: &mut Acc, rows: &mut Rows, row: usize, diff: Diff) -> Result<(), SqlError> {
        if diff == 0 {
            return Ok(());
        }
        rows.bytes.clear();
        if self.agg.func.is_ordered() {
            list::write_entry(&self.agg, rows, row);
        } else if rows.full.is_some() {
            rows.encode_full(row);
        }
        acc.add(&self.agg, &rows.args, row, &rows.bytes, diff)
    }

    /// Adds arguments by their encoding.
    fn add_encoded(&self, acc: &mut Acc, bytes: &[u8], diff: Diff) -> Result<(), SqlError> {
        let args = self.full.decode(&mut std::iter::once(bytes))?;
        let positions = self.order_args.as_deref().unwrap_or_default();
        let order = positions.iter().map(|p| args[*p].clone()).collect();
        let mut rows = self.rows_of(args, order);
        self.add_row(acc, &mut rows, 0, diff)
    }

    /// Adds what another state of the same aggregate holds.
    pub fn merge(&self, state: &mut State, other: State) -> Result<(), SqlError> {
        match (&mut state.seen, other.seen) {
            (Some(ours), Some(theirs)) => {
                for (bytes, count) in theirs.into_values() {
                    match ours.change(&self.args, &bytes, count)? {
                        Change::Same(0) => {}
                        Change::Same(change) => self.add_encoded(&mut state.acc, &bytes, change)?,
                        Change::Form { gone, come } => self.add_forms(&mut state.acc, gone, come)?,
                    }
                }
                Ok(())
            }
            _ => state.acc.merge(&self.agg, other.acc),
        }
    }

    /// The result.
    pub fn finish(&self, state: &State) -> Result<Datum, SqlError> {
        match state.acc.extreme(&self.agg) {
            Some(Some(bytes)) => {
                let mut row = self.full.decode_datums(bytes)?;
                row.pop().ok_or_else(|| SqlError::internal("min and max have a value"))
            }
            Some(None) => Ok(Datum::Null),
            None => state.acc.result(&self.agg, &self.args, &self.full),
        }
    }

    /// Appends the result, encoded as a column of its type.
    pub fn finish_encoded(&self, state: &State, out: &mut Vec<u8>) -> Result<(), SqlError> {
        if let Some(Some(bytes)) = state.acc.extreme(&self.agg) {
            out.extend_from_slice(bytes);
            return Ok(());
        }
        let value = self.finish(state)?;
        self.result.encode_datums(&[value], out)
    }

    /// The codec of the result.
    pub fn result_codec(&self) -> &RowCodec {
        &self.result
    }

    /// Appends a state: its accumulator, then how many arguments were seen, each with its count.
    pub fn write(&self, state: &State, out: &mut Vec<u8>) {
        state.acc.write(out);
        match &state.seen {
            Some(seen) => seen.write(out),
            None => out.extend_from_slice(&0u32.to_le_bytes()),
        }
    }

    /// What [`Evaluator::write`] appended.
    pub fn read(&self, input: &mut Input<'_>) -> Result<State, SqlError> {
        let mut state = self.fresh();
        state.acc = Acc::read(input)?;
        match &mut state.seen {
            Some(seen) => seen.read(&self.args, input)?,
            None if input.length()? == 0 => {}
            None => return Err(input::damaged()),
        }
        Ok(state)
    }
}

impl State {
    /// Heap bytes, estimated.
    pub fn bytes(&self) -> usize {
        self.acc.bytes() + self.seen.as_ref().map_or(0, Seen::bytes)
    }
}

impl Rows {
    /// The arguments' bytes, as they are.
    fn encode_full(&mut self, row: usize) {
        self.bytes.clear();
        if let Some(full) = &mut self.full {
            full.encode(row, &mut self.bytes);
        }
    }
}

#[cfg(test)]
mod tests;
