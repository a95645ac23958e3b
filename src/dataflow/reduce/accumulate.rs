//! Accumulators: what a group keeps for one aggregate. Each is exact, and a retraction undoes its insertion.

use super::float_sum::FloatSum;
use crate::slab::Small;
use crate::state::{Input, damaged, string};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, i256};
use hw_plan::{Aggregate, AggregateFunc};
use hw_repr::datum::Float;
use hw_repr::encoding::RowCodec;
use hw_repr::numeric::Numeric;
use hw_repr::{Datum, Diff, NumericSum, SqlError, SqlState, SqlType};
use std::collections::BTreeMap;

/// State of one aggregate.
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
}

impl Acc {
    /// For an aggregate over an argument of type `arg`. `append_only`: nothing is ever retracted.
    pub fn new(agg: &Aggregate, arg: Option<SqlType>, append_only: bool) -> Acc {
        match (agg.func, arg) {
            (AggregateFunc::Count, _) => Acc::Count(0),
            (AggregateFunc::Min | AggregateFunc::Max, _) if append_only => Acc::Best(None),
            (AggregateFunc::Min | AggregateFunc::Max, _) => Acc::Extreme(BTreeMap::new()),
            (AggregateFunc::BoolAnd | AggregateFunc::BoolOr, _) => Acc::Bool(0, 0),
            (_, Some(SqlType::Float4 | SqlType::Float8)) => Acc::Float(Box::default(), 0),
            (_, Some(SqlType::Numeric(None))) => Acc::Numeric(NumericSum::default()),
            _ => Acc::Exact(i256::ZERO, 0),
        }
    }

    /// Adds the value at `row`, which is not NULL, `diff` times. `bytes` is its encoding, for min and max.
    pub fn add(
        &mut self,
        agg: &Aggregate,
        arg: Option<&ArrayRef>,
        row: usize,
        bytes: &[u8],
        diff: Diff,
    ) -> Result<(), SqlError> {
        if let Acc::Count(n) = self {
            *n += diff;
            return Ok(());
        }
        let arg = arg.ok_or_else(|| SqlError::internal("an aggregate without its argument"))?;
        match self {
            Acc::Count(_) => {}
            Acc::Best(best) => {
                let better =
                    |b: &Small| if agg.func == AggregateFunc::Min { bytes < b.bytes() } else { bytes > b.bytes() };
                if best.as_ref().is_none_or(better) {
                    *best = Some(Small::new(bytes));
                }
            }
            Acc::Exact(sum, n) => {
                *sum = sum.wrapping_add(i256::from_i128(integer(arg, row)?).wrapping_mul(times(diff)));
                *n += diff;
            }
            Acc::Numeric(sum) => sum.add(&Numeric::from_bytes(arg.as_binary::<i64>().value(row))?, diff),
            Acc::Float(sum, n) => {
                let value = match arg.data_type() {
                    DataType::Float32 => f64::from(arg.as_primitive::<Float32Type>().value(row)),
                    _ => arg.as_primitive::<Float64Type>().value(row),
                };
                sum.add(value, diff);
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
        }
        Ok(())
    }

    /// Appends it: the position of its kind in [`Acc`] (7 for a numeric with values that are not small), then what it
    /// holds.
    pub fn write(&self, out: &mut Vec<u8>) {
        fn int(value: i64, out: &mut Vec<u8>) {
            out.extend_from_slice(&value.to_le_bytes());
        }
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
        }
    }

    /// What [`Acc::write`] appended.
    pub fn read(input: &mut Input<'_>) -> Result<Acc, SqlError> {
        fn wide(input: &mut Input<'_>) -> Result<i256, SqlError> {
            input.take().map(i256::from_le_bytes)
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
            [3] => Acc::Float(Box::new(FloatSum::read(&mut input.0).ok_or_else(damaged)?), input.i64()?),
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
            _ => return Err(damaged()),
        })
    }

    /// Heap bytes, estimated.
    pub fn bytes(&self) -> usize {
        match self {
            // Nodes of a tree are two thirds full; the first value stands for all.
            Acc::Extreme(values) => values.first_key_value().map_or(0, |(k, _)| (k.heap() + 36) * values.len()),
            Acc::Best(best) => best.as_ref().map_or(0, Small::heap),
            Acc::Numeric(sum) => sum.bytes(),
            Acc::Float(sum, _) => sum.bytes() + 64,
            _ => 0,
        }
    }

    /// Appends the result, encoded.
    pub fn finish(
        &self,
        agg: &Aggregate,
        arg: Option<SqlType>,
        codec: &RowCodec,
        out: &mut Vec<u8>,
    ) -> Result<(), SqlError> {
        if let Acc::Extreme(values) = self {
            let mut present = values.iter().filter(|(_, n)| **n > 0).map(|(v, _)| v);
            let best = if agg.func == AggregateFunc::Min { present.next() } else { present.next_back() };
            match best {
                Some(value) => out.extend_from_slice(value.bytes()),
                None => codec.encode_datums(&[Datum::Null], out)?,
            }
            return Ok(());
        }
        if let Acc::Best(Some(value)) = self {
            out.extend_from_slice(value.bytes());
            return Ok(());
        }
        codec.encode_datums(&[self.result(agg, arg)?], out)
    }

    fn result(&self, agg: &Aggregate, arg: Option<SqlType>) -> Result<Datum, SqlError> {
        match self {
            Acc::Count(n) => Ok(Datum::Int8(*n)),
            Acc::Bool(trues, falses) if trues + falses == 0 => Ok(Datum::Null),
            Acc::Bool(_, falses) if agg.func == AggregateFunc::BoolAnd => Ok(Datum::Bool(*falses == 0)),
            Acc::Bool(trues, _) => Ok(Datum::Bool(*trues > 0)),
            Acc::Float(_, 0) | Acc::Exact(_, 0) | Acc::Best(None) => Ok(Datum::Null),
            Acc::Float(sum, n) => float_result(sum, *n, agg),
            // Narrower than its parts where enough was retracted.
            Acc::Exact(sum, n) => match sum.to_i128() {
                Some(sum) => exact(sum, *n, agg, arg),
                None if agg.func == AggregateFunc::Sum && agg.ty == SqlType::Int8 => Err(bigint_overflow()),
                None => numeric_result(Numeric::from_i256(*sum, 0)?.mul(&unit(arg)?)?, *n, agg),
            },
            Acc::Numeric(sum) => match sum.count() {
                0 => Ok(Datum::Null),
                n => numeric_result(sum.value()?, n, agg),
            },
            Acc::Extreme(_) | Acc::Best(Some(_)) => {
                Err(SqlError::internal("min and max are read from their encoded values"))
            }
        }
    }
}

/// sum or avg of `n` integers or decimals whose unscaled sum is `sum`.
pub fn exact(sum: i128, n: i64, agg: &Aggregate, arg: Option<SqlType>) -> Result<Datum, SqlError> {
    if n == 0 {
        return Ok(Datum::Null);
    }
    if agg.func == AggregateFunc::Sum && agg.ty == SqlType::Int8 {
        return i64::try_from(sum).map(Datum::Int8).map_err(|_| bigint_overflow());
    }
    numeric_result(Numeric::from_decimal(sum, scale_of(arg))?, n, agg)
}

fn scale_of(arg: Option<SqlType>) -> i8 {
    match arg {
        Some(SqlType::Numeric(Some((_, s)))) => s,
        _ => 0,
    }
}

/// What 1 of the unscaled values of a column is worth.
fn unit(arg: Option<SqlType>) -> Result<Numeric, SqlError> {
    Numeric::from_decimal(1, scale_of(arg))
}

fn bigint_overflow() -> SqlError {
    SqlError::new(SqlState::OUT_OF_RANGE, "bigint out of range")
}

fn times(diff: Diff) -> i256 {
    i256::from_i128(i128::from(diff))
}

fn numeric_result(sum: Numeric, n: i64, agg: &Aggregate) -> Result<Datum, SqlError> {
    let value = if agg.func == AggregateFunc::Avg { sum.div(&Numeric::from_i64(n))? } else { sum };
    match agg.ty {
        SqlType::Numeric(Some((p, s))) => Ok(Datum::Numeric(value.cast(p, s)?)),
        SqlType::Int8 => Ok(Datum::Int8(value.to_i64()?)),
        _ => Ok(Datum::Numeric(value)),
    }
}

fn float_result(sum: &FloatSum, n: i64, agg: &Aggregate) -> Result<Datum, SqlError> {
    Ok(match (agg.func, agg.ty) {
        (AggregateFunc::Avg, _) => Datum::Float8(Float(sum.mean(n)?)),
        (_, SqlType::Float4) => Datum::Float4(Float(sum.narrow_sum()?.into())),
        _ => Datum::Float8(Float(sum.sum()?)),
    })
}

/// An integer or the unscaled digits of a decimal.
fn integer(arg: &ArrayRef, row: usize) -> Result<i128, SqlError> {
    Ok(match arg.data_type() {
        DataType::Int16 => arg.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => arg.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => arg.as_primitive::<Int64Type>().value(row).into(),
        DataType::Decimal128(..) => arg.as_primitive::<Decimal128Type>().value(row),
        other => return Err(SqlError::internal(format!("no sum over {other}"))),
    })
}
