//! The state of one aggregate over all groups, as columns indexed by the group's slot.
//!
//! Invariant: between two calls of [`Fold::forget`], `before` holds, in the order of their first touch, what the
//! touched groups were when the tick began; so a tick's old rows need no copy of what was shown.

use super::top::Top;
use crate::exchange::Window;
use crate::slab::Slab;
use crate::state::Input;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, LargeBinaryBuilder, PrimitiveArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use hw_plan::kept;
use hw_plan::{Aggregate, AggregateFunc};
use hw_repr::{Datum, Diff, SqlError, SqlType, datum::datums_to_array};
use hw_scalar::aggregate::{self, Evaluator, Few, State};
use std::sync::Arc;

/// One value to show: of the i-th touched group before the tick, or of a slot now.
#[derive(Clone, Copy)]
pub enum Pick {
    /// Position in the order of first touch.
    Before(usize),
    /// Slot.
    Now(u32),
}

/// Values of [`Pick`]s, and those that failed.
pub type Finished = (ArrayRef, Vec<(usize, SqlError)>);

/// See the module.
pub trait Fold {
    /// Room for this many slots; new ones are empty.
    fn grow(&mut self, slots: usize);
    /// Notes what slots are, before they are changed for the first time in this tick.
    fn remember(&mut self, slots: &[u32]);
    /// Takes rows; `slots` has one a row.
    fn add(&mut self, slots: &[u32], window: &Window<'_>);
    /// True where the i-th touched group, in `slot`, may show another value than before.
    fn changed(&self, i: usize, slot: u32) -> bool;
    /// The values to show.
    fn finish(&self, picks: &[Pick]) -> Result<Finished, SqlError>;
    /// Empties a slot.
    fn clear(&mut self, slot: u32);
    /// Forgets what was before.
    fn forget(&mut self);
    /// All slots are empty: gives their memory back.
    fn reset(&mut self);
    /// Heap bytes, estimated.
    fn bytes(&self) -> usize;
    /// Appends what a slot holds.
    fn write(&self, slot: u32, out: &mut Vec<u8>);
    /// Gives an empty slot what [`Fold::write`] appended.
    fn read(&mut self, slot: u32, input: &mut Input<'_>) -> Result<(), SqlError>;
}

/// The state for an aggregate over an input of `types`. `append_only`: nothing is ever retracted.
pub fn fold(agg: &Aggregate, types: &[SqlType], append_only: bool) -> Box<dyn Fold> {
    let arg = agg.arg.map(|a| types[a]);
    let narrow = matches!(arg, Some(SqlType::Int2 | SqlType::Int4 | SqlType::Int8))
        || matches!(arg, Some(SqlType::Numeric(Some((p, _)))) if p <= 18);
    match agg.func {
        AggregateFunc::Count if !agg.distinct => Box::new(Count { agg: agg.clone(), kept: Kept::default() }),
        AggregateFunc::Sum | AggregateFunc::Avg if narrow && !agg.distinct => {
            Box::new(Sum { agg: agg.clone(), arg, kept: Kept::default() })
        }
        _ if agg.kept(append_only) == kept::Kept::Best && arg.is_some_and(is_word) => {
            let max = agg.func == AggregateFunc::Max;
            Box::new(Best { agg: agg.clone(), max, kept: Kept::default() })
        }
        _ => {
            let evaluator = Evaluator::new(agg, types, append_only).expect("invariant: the plan was validated");
            match Few::new(evaluator) {
                Ok(few) => Box::new(Top::new(few)),
                Err(evaluator) => Box::new(Any::new(agg, *evaluator)),
            }
        }
    }
}

/// Types whose values are ordered as the integers that hold them.
fn is_word(ty: SqlType) -> bool {
    use SqlType::{Date, Int2, Int4, Int8, Time, Timestamp, TimestampTz};
    matches!(ty, Int2 | Int4 | Int8 | Date | Time | Timestamp | TimestampTz)
}

/// The rows that count: the column `filter` true, none of `args` NULL. `None`: all of them.
fn live(filter: Option<usize>, args: impl Iterator<Item = usize>, batch: &RecordBatch) -> Option<BooleanBuffer> {
    let filter = filter.map(|f| {
        let filter = batch.column(f).as_boolean();
        match filter.nulls() {
            Some(nulls) => filter.values() & nulls.inner(),
            None => filter.values().clone(),
        }
    });
    let nulls = args.filter_map(|a| batch.column(a).nulls()).map(|n| n.inner().clone());
    filter.into_iter().chain(nulls).reduce(|a, b| &a & &b)
}

/// Calls `f` with (row of the window's batch, slot, diff) of every row that is `live`.
#[inline]
pub(super) fn each(
    live: Option<BooleanBuffer>,
    slots: &[u32],
    window: &Window<'_>,
    mut f: impl FnMut(usize, usize, Diff),
) {
    let diffs = window.batch.diffs.as_ref().map(|d| d.values());
    let diff = |row: usize| diffs.map_or(1, |d| d[row]);
    match (window.rows(), live) {
        (None, None) => slots.iter().enumerate().for_each(|(row, s)| f(row, *s as usize, diff(row))),
        (None, Some(live)) => live.set_indices().for_each(|row| f(row, slots[row] as usize, diff(row))),
        (Some(rows), None) => rows.zip(slots).for_each(|(row, s)| f(row, *s as usize, diff(row))),
        (Some(rows), Some(live)) => {
            // Without a branch a row: who lives is rarely foreseeable.
            let rows: Vec<usize> = rows.collect();
            let own = BooleanBuffer::collect_bool(rows.len(), |i| live.value(rows[i]));
            own.set_indices().for_each(|i| f(rows[i], slots[i] as usize, diff(rows[i])));
        }
    }
}

/// As [`live`], for an aggregate of one argument.
fn live_of(agg: &Aggregate, batch: &RecordBatch) -> Option<BooleanBuffer> {
    live(agg.filter, agg.arg.into_iter(), batch)
}

/// Evaluates `$body` with a function from row to integer, whatever the width of the array's.
macro_rules! with_integers {
    ($array:expr, $get:ident => $body:expr) => {
        match $array.data_type() {
            DataType::Int16 => with_integers!(@ Int16Type, $array, $get, $body),
            DataType::Int32 => with_integers!(@ Int32Type, $array, $get, $body),
            DataType::Int64 => with_integers!(@ Int64Type, $array, $get, $body),
            DataType::Date32 => with_integers!(@ Date32Type, $array, $get, $body),
            DataType::Time64(_) => with_integers!(@ Time64MicrosecondType, $array, $get, $body),
            DataType::Timestamp(..) => with_integers!(@ TimestampMicrosecondType, $array, $get, $body),
            _ => {
                let values = $array.as_primitive::<Decimal128Type>().values();
                let $get = |row: usize| values[row];
                $body
            }
        }
    };
    (@ $ty:ty, $array:expr, $get:ident, $body:expr) => {{
        let values = $array.as_primitive::<$ty>().values();
        let $get = |row: usize| i128::from(values[row]);
        $body
    }};
}

/// States of all slots, and of the touched ones before the tick.
struct Kept<S> {
    now: Slab<S>,
    before: Vec<S>,
}

impl<S> Default for Kept<S> {
    fn default() -> Self {
        Kept { now: Slab::default(), before: vec![] }
    }
}

impl<S: Copy + Default + PartialEq> Kept<S> {
    fn get(&self, pick: Pick) -> S {
        match pick {
            Pick::Before(i) => self.before[i],
            Pick::Now(slot) => *self.now.get(slot as usize),
        }
    }
}

/// What the aggregates over a [`Kept`] have in common.
macro_rules! kept {
    () => {
        fn grow(&mut self, slots: usize) {
            self.kept.now.grow(slots);
        }
        fn remember(&mut self, slots: &[u32]) {
            let Kept { now, before } = &mut self.kept;
            before.extend(slots.iter().map(|s| *now.get(*s as usize)));
        }
        fn changed(&self, i: usize, slot: u32) -> bool {
            self.kept.before[i] != *self.kept.now.get(slot as usize)
        }
        fn clear(&mut self, slot: u32) {
            *self.kept.now.get_mut(slot as usize) = Default::default();
        }
        fn forget(&mut self) {
            self.kept.before.clear();
        }
        fn reset(&mut self) {
            self.kept.now.clear();
        }
        fn bytes(&self) -> usize {
            self.kept.now.bytes()
        }
        fn write(&self, slot: u32, out: &mut Vec<u8>) {
            self.kept.now.get(slot as usize).write(out);
        }
        fn read(&mut self, slot: u32, input: &mut Input<'_>) -> Result<(), SqlError> {
            *self.kept.now.get_mut(slot as usize) = Fixed::read(input)?;
            Ok(())
        }
    };
}

/// What a [`Kept`] keeps, as bytes; integers are little-endian.
trait Fixed: Sized {
    fn write(&self, out: &mut Vec<u8>);
    fn read(input: &mut Input<'_>) -> Result<Self, SqlError>;
}

impl Fixed for i64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn read(input: &mut Input<'_>) -> Result<i64, SqlError> {
        input.i64()
    }
}

impl Fixed for Total {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.sum.to_le_bytes());
        self.values.write(out);
    }
    fn read(input: &mut Input<'_>) -> Result<Total, SqlError> {
        Ok(Total { sum: i128::from_le_bytes(input.take()?), values: input.i64()? })
    }
}

impl Fixed for Option<i64> {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.is_some().into());
        self.iter().for_each(|v| v.write(out));
    }
    fn read(input: &mut Input<'_>) -> Result<Option<i64>, SqlError> {
        match input.take()? {
            [0] => Ok(None),
            _ => input.i64().map(Some),
        }
    }
}

/// count(*), count(x)
struct Count {
    agg: Aggregate,
    kept: Kept<i64>,
}

impl Fold for Count {
    kept!();

    fn add(&mut self, slots: &[u32], window: &Window<'_>) {
        let batch = &window.batch.rows;
        let now = &mut self.kept.now;
        each(live_of(&self.agg, batch), slots, window, |_, slot, diff| *now.get_mut(slot) += diff);
    }
    fn finish(&self, picks: &[Pick]) -> Result<Finished, SqlError> {
        let values: PrimitiveArray<Int64Type> = picks.iter().map(|p| self.kept.get(*p)).collect::<Vec<_>>().into();
        Ok((Arc::new(values), vec![]))
    }
}

/// Sum and number of values. 128 bits hold 2^63 values of 63 bits.
#[derive(Clone, Copy, Default, PartialEq)]
struct Total {
    sum: i128,
    values: i64,
}

/// sum, avg of integers and of decimals of at most 18 digits
struct Sum {
    agg: Aggregate,
    arg: Option<SqlType>,
    kept: Kept<Total>,
}

impl Fold for Sum {
    kept!();

    fn add(&mut self, slots: &[u32], window: &Window<'_>) {
        let batch = &window.batch.rows;
        let Some(column) = self.agg.arg.map(|a| batch.column(a)) else { return };
        let now = &mut self.kept.now;
        with_integers!(column, value => each(live_of(&self.agg, batch), slots, window, |row, slot, diff| {
            let total = now.get_mut(slot);
            total.sum += value(row) * i128::from(diff);
            total.values += diff;
        }));
    }
    fn finish(&self, picks: &[Pick]) -> Result<Finished, SqlError> {
        let mut errors = vec![];
        let mut result = |i: usize, p: &Pick| {
            let Total { sum, values } = self.kept.get(*p);
            let result = aggregate::exact(sum, values, &self.agg, self.arg);
            result.unwrap_or_else(|e| {
                errors.push((i, e));
                Datum::Null
            })
        };
        let values = picks.iter().enumerate().map(|(i, p)| result(i, p));
        let array = match self.agg.ty {
            SqlType::Numeric(None) => numerics(values, picks.len()),
            ty => datums_to_array(ty, &values.collect::<Vec<_>>())?,
        };
        Ok((array, errors))
    }
}

/// A column of numeric without a copy for each value.
fn numerics(values: impl Iterator<Item = Datum>, len: usize) -> ArrayRef {
    let mut builder = LargeBinaryBuilder::with_capacity(len, len * 12);
    let mut bytes = vec![];
    for value in values {
        match value {
            Datum::Numeric(n) => {
                bytes.clear();
                n.write_bytes(&mut bytes);
                builder.append_value(&bytes);
            }
            _ => builder.append_null(),
        }
    }
    Arc::new(builder.finish())
}

/// min, max of integers and times where nothing is retracted: only the best is kept.
struct Best {
    agg: Aggregate,
    max: bool,
    kept: Kept<Option<i64>>,
}

impl Fold for Best {
    kept!();

    fn add(&mut self, slots: &[u32], window: &Window<'_>) {
        let batch = &window.batch.rows;
        let Some(column) = self.agg.arg.map(|a| batch.column(a)) else { return };
        let (now, max) = (&mut self.kept.now, self.max);
        with_integers!(column, value => each(live_of(&self.agg, batch), slots, window, |row, slot, _| {
            let value = word(value(row));
            let best = now.get_mut(slot);
            if best.is_none_or(|b| if max { value > b } else { value < b }) {
                *best = Some(value);
            }
        }));
    }
    fn finish(&self, picks: &[Pick]) -> Result<Finished, SqlError> {
        let values = picks.iter().map(|p| self.kept.get(*p));
        fn array<T: ArrowPrimitiveType>(values: impl Iterator<Item = Option<i64>>, ty: SqlType) -> ArrayRef
        where
            T::Native: TryFrom<i64>,
        {
            // What was read from a column of the type fits it.
            let array: PrimitiveArray<T> = values.map(|v| v.and_then(|v| v.try_into().ok())).collect();
            Arc::new(array.with_data_type(ty.arrow()))
        }
        let ty = self.agg.ty;
        let values = match ty {
            SqlType::Int2 => array::<Int16Type>(values, ty),
            SqlType::Int4 => array::<Int32Type>(values, ty),
            SqlType::Date => array::<Date32Type>(values, ty),
            SqlType::Time => array::<Time64MicrosecondType>(values, ty),
            SqlType::Timestamp | SqlType::TimestampTz => array::<TimestampMicrosecondType>(values, ty),
            _ => array::<Int64Type>(values, ty),
        };
        Ok((values, vec![]))
    }
}

/// Types of [`is_word`] have at most 64 bits.
fn word(value: i128) -> i64 {
    value as i64
}

/// A result, encoded; what failed; `None` where the slot was empty.
type Shown = Result<Box<[u8]>, SqlError>;

/// Everything else, one accumulator a group.
struct Any {
    agg: Aggregate,
    evaluator: Evaluator,
    /// What a slot that was never used shows.
    empty: State,
    now: Slab<Option<Box<State>>>,
    before: Vec<Shown>,
    heap: isize,
}

impl Any {
    fn new(agg: &Aggregate, evaluator: Evaluator) -> Any {
        Any { agg: agg.clone(), empty: evaluator.fresh(), evaluator, now: Slab::default(), before: vec![], heap: 0 }
    }

    fn show(&self, slot: u32) -> Shown {
        let mut out = Vec::new();
        let state = self.now.get(slot as usize).as_deref().unwrap_or(&self.empty);
        self.evaluator.finish_encoded(state, &mut out)?;
        Ok(out.into())
    }
}

impl Fold for Any {
    fn grow(&mut self, slots: usize) {
        self.now.grow(slots);
    }
    fn remember(&mut self, slots: &[u32]) {
        for slot in slots {
            let shown = self.show(*slot);
            self.before.push(shown);
        }
    }
    fn add(&mut self, slots: &[u32], window: &Window<'_>) {
        let batch = &window.batch.rows;
        let mut rows = self.evaluator.rows(|c| batch.column(c).clone());
        let live = live(self.agg.filter, self.evaluator.strict_columns(), batch);
        let (evaluator, now, heap) = (&self.evaluator, &mut self.now, &mut self.heap);
        each(live, slots, window, |row, slot, diff| {
            let state = now.get_mut(slot).get_or_insert_with(|| Box::new(evaluator.fresh()));
            let before = state.bytes() as isize;
            evaluator.add(state, &mut rows, row, diff).expect("invariant: the planner checked the argument's type");
            *heap += state.bytes() as isize - before;
        });
    }
    fn changed(&self, i: usize, slot: u32) -> bool {
        self.before[i] != self.show(slot)
    }
    fn finish(&self, picks: &[Pick]) -> Result<Finished, SqlError> {
        let mut errors = vec![];
        let mut null = vec![];
        self.evaluator.result_codec().encode_datums(&[Datum::Null], &mut null)?;
        let mut data: Vec<Box<[u8]>> = Vec::with_capacity(picks.len());
        for (i, pick) in picks.iter().enumerate() {
            let shown = match pick {
                Pick::Before(i) => self.before[*i].clone(),
                Pick::Now(slot) => self.show(*slot),
            };
            data.push(shown.unwrap_or_else(|e| {
                errors.push((i, e));
                null.clone().into()
            }));
        }
        let mut columns = self.evaluator.result_codec().decode(&mut data.iter().map(|d| &d[..]))?;
        let array = columns.pop().ok_or_else(|| SqlError::internal("an aggregate without a column"))?;
        Ok((array, errors))
    }
    fn clear(&mut self, slot: u32) {
        if let Some(state) = self.now.get_mut(slot as usize).take() {
            self.heap -= state.bytes() as isize;
        }
    }
    fn forget(&mut self) {
        self.before.clear();
    }
    fn reset(&mut self) {
        self.now.clear();
    }
    fn bytes(&self) -> usize {
        self.now.bytes() + self.heap.max(0) as usize
    }
    /// 0, or 1, the accumulator, how many arguments were seen and each with its count.
    fn write(&self, slot: u32, out: &mut Vec<u8>) {
        let state = self.now.get(slot as usize);
        out.push(state.is_some().into());
        if let Some(state) = state {
            self.evaluator.write(state, out);
        }
    }
    fn read(&mut self, slot: u32, input: &mut Input<'_>) -> Result<(), SqlError> {
        if input.take()? == [0] {
            return Ok(());
        }
        let state = self.evaluator.read(input)?;
        self.heap += state.bytes() as isize;
        *self.now.get_mut(slot as usize) = Some(Box::new(state));
        Ok(())
    }
}
