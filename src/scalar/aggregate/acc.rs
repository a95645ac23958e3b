//! Accumulators: what a group keeps for one aggregate. Each is exact, and a retraction undoes its insertion.

use super::bits::Bits;
use super::input::{Input, damaged, int, string};
use super::moments::{Exact, Floats};
use super::multiset::Multiset;
use super::number::{self, Spans};
use super::pairs::Pairs;
use super::{list, wide};
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type, i256};
use hw_plan::kept::Kept;
use hw_plan::{Aggregate, AggregateFunc as F};
use hw_repr::encoding::RowCodec;
use hw_repr::numeric::Numeric;
use hw_repr::small::Small;
use hw_repr::{Datum, Diff, FloatSum, NumericSum, SqlError, SqlType};
use std::collections::BTreeMap;

/// State of one aggregate.
#[derive(Debug)]
pub enum Acc {
    /// count
    Count(i64),
    /// sum, avg of integers and decimals: unscaled sum, number of values
    Exact(i256, i64),
    /// sum, avg of bare numeric
    Numeric(NumericSum),
    /// sum, avg of floats
    Float(Box<FloatSum>, i64),
    /// min, max: encoded values with their counts
    Extreme(BTreeMap<Small, i64>),
    /// min, max of what is never retracted: the best so far
    Best(Option<Small>),
    /// bool_and, bool_or: trues, falses
    Bool(i64, i64),
    /// bit_and, bit_or, bit_xor
    Bits(Bits),
    /// variance and standard deviation of integers and numeric
    Moments(Exact),
    /// variance and standard deviation of floats
    FloatMoments(Box<Floats>),
    /// covariance, correlation, regression
    Pairs(Box<Pairs>),
    /// sum, avg of intervals
    Spans(Box<Spans>),
    /// what is made of a list
    List(Box<Multiset>),
}

impl Acc {
    /// For an aggregate over arguments of these types. `append_only`: nothing is ever retracted.
    pub fn new(agg: &Aggregate, args: &[SqlType], append_only: bool) -> Acc {
        let args: &[SqlType] = &args.iter().map(|t| t.carrier()).collect::<Vec<_>>();
        let float = matches!(args.first(), Some(SqlType::Float4 | SqlType::Float8));
        match agg.kept(append_only) {
            Kept::Best => return Acc::Best(None),
            Kept::Ordered => return Acc::Extreme(BTreeMap::new()),
            Kept::First(_) | Kept::List(_) => return Acc::List(Box::default()),
            Kept::Totals => {}
        }
        match agg.func {
            F::Count => Acc::Count(0),
            F::BoolAnd | F::BoolOr => Acc::Bool(0, 0),
            F::BitAnd | F::BitOr | F::BitXor => Acc::Bits(Bits::default()),
            F::VarPop | F::VarSamp | F::StddevPop | F::StddevSamp if float => Acc::FloatMoments(Box::default()),
            F::VarPop | F::VarSamp | F::StddevPop | F::StddevSamp => Acc::Moments(Exact::default()),
            func if func.is_pair() => Acc::Pairs(Box::default()),
            _ if float => Acc::Float(Box::default(), 0),
            _ if args == [SqlType::Interval] => Acc::Spans(Box::default()),
            _ if args == [SqlType::Numeric(None)] => Acc::Numeric(NumericSum::default()),
            _ => Acc::Exact(i256::ZERO, 0),
        }
    }

    /// Adds the arguments at `row`, `diff` times. `bytes` is their encoding for min and max, the entry for lists.
    pub fn add(
        &mut self,
        agg: &Aggregate,
        args: &[ArrayRef],
        row: usize,
        bytes: &[u8],
        diff: Diff,
    ) -> Result<(), SqlError> {
        match self {
            Acc::Count(n) => {
                *n += diff;
                return Ok(());
            }
            // A row of no columns has an entry, too.
            Acc::List(entries) => {
                entries.add(bytes, diff);
                return Ok(());
            }
            _ => {}
        }
        let arg = args.first().ok_or_else(|| SqlError::internal("an aggregate without its argument"))?;
        match self {
            Acc::Count(_) | Acc::List(_) => {}
            Acc::Best(best) => {
                let better = |b: &Small| if agg.func == F::Min { bytes < b.bytes() } else { bytes > b.bytes() };
                if best.as_ref().is_none_or(better) {
                    *best = Some(Small::new(bytes));
                }
            }
            Acc::Exact(sum, n) => {
                *sum = sum.wrapping_add(i256::from_i128(number::integer(arg, row)?).wrapping_mul(times(diff)));
                *n += diff;
            }
            Acc::Numeric(sum) => sum.add(&Numeric::from_bytes(arg.as_binary::<i64>().value(row))?, diff),
            Acc::Float(sum, n) => {
                sum.add(number::float(arg, row), diff);
                *n += diff;
            }
            Acc::Extreme(values) => match values.get_mut(bytes) {
                Some(n) => {
                    *n += diff;
                    if *n == 0 {
                        values.remove(bytes);
                    }
                }
                None => {
                    values.insert(Small::new(bytes), diff);
                }
            },
            Acc::Bool(trues, falses) => {
                let slot = if arg.as_boolean().value(row) { trues } else { falses };
                *slot += diff;
            }
            Acc::Bits(bits) => bits.add(number::integer(arg, row)? as i64, diff),
            Acc::Moments(moments) => {
                moments.add(&number::numeric(arg, row)?, diff);
            }
            Acc::FloatMoments(moments) => moments.add(number::float(arg, row), diff),
            Acc::Pairs(pairs) => {
                let x = args.get(1).ok_or_else(|| SqlError::internal("a pair of one"))?;
                pairs.add(number::float(arg, row), number::float(x, row), diff);
            }
            Acc::Spans(spans) => spans.add(arg, row, diff),
        }
        Ok(())
    }

    /// Adds all rows, NULLs skipped, where that needs no look at each: counts, and sums of integers. False where it does.
    pub fn add_all(&mut self, args: &[ArrayRef]) -> bool {
        fn sum<T: ArrowPrimitiveType>(array: &ArrayRef) -> i128
        where
            T::Native: Into<i128>,
        {
            array.as_primitive::<T>().iter().flatten().map(Into::into).sum()
        }
        let [arg] = args else { return false };
        let values = (arg.len() - arg.logical_null_count()) as i64;
        match self {
            Acc::Count(n) => *n += values,
            Acc::Exact(total, n) => {
                let added = match arg.data_type() {
                    DataType::Int16 => sum::<Int16Type>(arg),
                    DataType::Int32 => sum::<Int32Type>(arg),
                    DataType::Int64 => sum::<Int64Type>(arg),
                    _ => return false,
                };
                *total = total.wrapping_add(i256::from_i128(added));
                *n += values;
            }
            _ => return false,
        }
        true
    }

    /// Adds what another one of the same aggregate holds.
    pub fn merge(&mut self, agg: &Aggregate, other: Acc) -> Result<(), SqlError> {
        match (self, other) {
            (Acc::Count(a), Acc::Count(b)) => *a += b,
            (Acc::Exact(a, n), Acc::Exact(b, m)) => {
                *a = a.wrapping_add(b);
                *n += m;
            }
            (Acc::Numeric(a), Acc::Numeric(b)) => a.merge(&b),
            (Acc::Float(a, n), Acc::Float(b, m)) => {
                a.merge(&b);
                *n += m;
            }
            (Acc::Extreme(a), Acc::Extreme(b)) => b.into_iter().for_each(|(v, n)| *a.entry(v).or_insert(0) += n),
            (Acc::Best(a), Acc::Best(b)) => {
                *a = match (a.take(), b) {
                    (Some(a), Some(b)) => Some(if agg.func == F::Min { a.min(b) } else { a.max(b) }),
                    (a, b) => a.or(b),
                };
            }
            (Acc::Bool(a, b), Acc::Bool(c, d)) => (*a, *b) = (*a + c, *b + d),
            (Acc::Bits(a), Acc::Bits(b)) => a.merge(&b),
            (Acc::Moments(a), Acc::Moments(b)) => a.merge(b),
            (Acc::FloatMoments(a), Acc::FloatMoments(b)) => a.merge(&b),
            (Acc::Pairs(a), Acc::Pairs(b)) => a.merge(&b),
            (Acc::Spans(a), Acc::Spans(b)) => a.merge(&b),
            (Acc::List(a), Acc::List(b)) => a.merge(&b),
            _ => return Err(SqlError::internal("states of different aggregates")),
        }
        Ok(())
    }

    /// The encoded value of min or max, `None` within where there is none; `None` for other aggregates.
    pub fn extreme(&self, agg: &Aggregate) -> Option<Option<&[u8]>> {
        match self {
            Acc::Extreme(values) => {
                let mut present = values.iter().filter(|(_, n)| **n > 0).map(|(v, _)| v.bytes());
                Some(if agg.func == F::Min { present.next() } else { present.next_back() })
            }
            Acc::Best(best) => Some(best.as_ref().map(Small::bytes)),
            _ => None,
        }
    }

    /// The result, but for min and max. `codec` is of the arguments.
    pub fn result(&self, agg: &Aggregate, args: &[SqlType], codec: &RowCodec) -> Result<Datum, SqlError> {
        match self {
            Acc::Count(n) => Ok(Datum::Int8(*n)),
            Acc::Bool(trues, falses) if trues + falses == 0 => Ok(Datum::Null),
            Acc::Bool(_, falses) if agg.func == F::BoolAnd => Ok(Datum::Bool(*falses == 0)),
            Acc::Bool(trues, _) => Ok(Datum::Bool(*trues > 0)),
            Acc::Float(sum, n) => number::of_floats(sum, *n, agg),
            // Narrower than its parts where enough was retracted.
            Acc::Exact(sum, n) => number::exact_wide(sum, *n, agg, args.first().copied()),
            Acc::Numeric(sum) => number::of_numerics(sum, agg),
            Acc::Bits(bits) => Ok(bits.result(agg.func, agg.ty)),
            Acc::Moments(moments) => moments.result(agg.func),
            Acc::FloatMoments(moments) => moments.result(agg.func),
            Acc::Pairs(pairs) => pairs.result(agg.func),
            Acc::Spans(spans) => spans.result(agg.func),
            Acc::List(entries) => list::result(agg, args, codec, entries),
            Acc::Extreme(_) | Acc::Best(_) => Err(SqlError::internal("min and max are read from their encoded values")),
        }
    }

    /// Heap bytes, estimated.
    pub fn bytes(&self) -> usize {
        match self {
            // Nodes of a tree are two thirds full; the first value stands for all.
            Acc::Extreme(values) => values.first_key_value().map_or(0, |(k, _)| (k.heap() + 36) * values.len()),
            Acc::Best(best) => best.as_ref().map_or(0, Small::heap),
            Acc::Numeric(sum) => sum.bytes(),
            Acc::Float(sum, _) => sum.bytes() + 64,
            Acc::Bits(bits) => bits.bytes(),
            Acc::Moments(moments) => moments.bytes(),
            Acc::FloatMoments(moments) => moments.bytes(),
            Acc::Pairs(pairs) => pairs.bytes(),
            Acc::Spans(_) => size_of::<Spans>(),
            Acc::List(entries) => entries.bytes() + 48,
            _ => 0,
        }
    }

    /// Appends it: the number of its kind (two for a numeric: 7 where not all of its values are small), then what it
    /// holds.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Acc::Count(n) => {
                out.push(0);
                int(*n, out);
            }
            Acc::Exact(sum, n) => {
                out.push(1);
                out.extend_from_slice(&sum.to_le_bytes());
                int(*n, out);
            }
            Acc::Numeric(sum) => {
                out.push(if sum.is_small() { 2 } else { 7 });
                sum.write_small(out);
                if !sum.is_small() {
                    sum.write_great(out);
                }
            }
            Acc::Float(sum, n) => {
                out.push(3);
                sum.write(out);
                int(*n, out);
            }
            Acc::Extreme(values) => {
                out.push(4);
                out.extend_from_slice(&(values.len() as u32).to_le_bytes());
                for (value, n) in values {
                    string(value.bytes(), out);
                    int(*n, out);
                }
            }
            Acc::Best(best) => {
                out.extend_from_slice(&[5, best.is_some().into()]);
                best.iter().for_each(|value| string(value.bytes(), out));
            }
            Acc::Bool(trues, falses) => {
                out.push(6);
                int(*trues, out);
                int(*falses, out);
            }
            other => other.write_later_kinds(out),
        }
    }

    /// Kinds that the first version of the format did not have.
    fn write_later_kinds(&self, out: &mut Vec<u8>) {
        fn as_kind(kind: u8, out: &mut Vec<u8>) -> &mut Vec<u8> {
            out.push(kind);
            out
        }
        match self {
            Acc::Bits(bits) => bits.write(as_kind(8, out)),
            Acc::Moments(moments) => moments.write(as_kind(9, out)),
            Acc::FloatMoments(moments) => moments.write(as_kind(10, out)),
            Acc::Pairs(pairs) => pairs.write(as_kind(11, out)),
            Acc::Spans(spans) => {
                let out = as_kind(12, out);
                for part in [spans.months, spans.days, spans.micros] {
                    out.extend_from_slice(&part.to_le_bytes());
                }
                int(spans.values, out);
            }
            Acc::List(entries) => entries.write(as_kind(13, out)),
            _ => {}
        }
    }

    /// What [`Acc::write`] appended.
    pub fn read(input: &mut Input<'_>) -> Result<Acc, SqlError> {
        fn wide(input: &mut Input<'_>) -> Result<i256, SqlError> {
            input.take().map(i256::from_le_bytes)
        }
        fn part(input: &mut Input<'_>) -> Result<i128, SqlError> {
            input.take().map(i128::from_le_bytes)
        }
        Ok(match input.take()? {
            [0] => Acc::Count(input.i64()?),
            [1] => Acc::Exact(wide(input)?, input.i64()?),
            [2] => Acc::Numeric(NumericSum::read_small(&mut input.0).ok_or_else(damaged)?),
            [7] => {
                let mut sum = NumericSum::read_small(&mut input.0).ok_or_else(damaged)?;
                sum.read_great(&mut input.0).ok_or_else(damaged)?;
                Acc::Numeric(sum)
            }
            [3] => Acc::Float(Box::new(wide::read_float_sum(input)?), input.i64()?),
            [4] => {
                let mut values = BTreeMap::new();
                for _ in 0..input.length()? {
                    values.insert(Small::new(input.string()?), input.i64()?);
                }
                Acc::Extreme(values)
            }
            [5] => match input.take()? {
                [0] => Acc::Best(None),
                _ => Acc::Best(Some(Small::new(input.string()?))),
            },
            [6] => Acc::Bool(input.i64()?, input.i64()?),
            [8] => Acc::Bits(Bits::read(input)?),
            [9] => Acc::Moments(Exact::read(input)?),
            [10] => Acc::FloatMoments(Box::new(Floats::read(input)?)),
            [11] => Acc::Pairs(Box::new(Pairs::read(input)?)),
            [12] => {
                let (months, days, micros) = (part(input)?, part(input)?, part(input)?);
                Acc::Spans(Box::new(Spans { months, days, micros, values: input.i64()? }))
            }
            [13] => Acc::List(Box::new(Multiset::read(input)?)),
            _ => return Err(damaged()),
        })
    }
}

fn times(diff: Diff) -> i256 {
    i256::from_i128(i128::from(diff))
}
