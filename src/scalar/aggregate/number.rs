//! sum and avg: exact sums of integers, numeric, floats and intervals.

use super::wide::interval_out_of_range;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, i256,
};
use hw_plan::{Aggregate, AggregateFunc};
use hw_repr::datum::{Float, IntervalValue};
use hw_repr::numeric::Numeric;
use hw_repr::{Datum, Diff, FloatSum, NumericSum, SqlError, SqlState, SqlType};

/// Months, days and microseconds of intervals, each summed by itself, and how many there are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spans {
    pub months: i128,
    pub days: i128,
    pub micros: i128,
    pub values: i64,
}

impl Spans {
    /// Adds the interval at `row`, `diff` times.
    pub fn add(&mut self, arg: &ArrayRef, row: usize, diff: Diff) {
        let v = IntervalValue::from_arrow(arg.as_primitive::<IntervalMonthDayNanoType>().value(row));
        let times = i128::from(diff);
        self.months += i128::from(v.months) * times;
        self.days += i128::from(v.days) * times;
        self.micros += i128::from(v.micros) * times;
        self.values += diff;
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Spans) {
        self.months += other.months;
        self.days += other.days;
        self.micros += other.micros;
        self.values += other.values;
    }

    /// sum or avg; `22008` where it is out of range.
    pub fn result(&self, func: AggregateFunc) -> Result<Datum, SqlError> {
        if self.values == 0 {
            return Ok(Datum::Null);
        }
        let sum = match (i32::try_from(self.months), i32::try_from(self.days), i64::try_from(self.micros)) {
            (Ok(months), Ok(days), Ok(micros)) => IntervalValue { months, days, micros },
            _ => return Err(interval_out_of_range()),
        };
        let value = match func {
            AggregateFunc::Avg => {
                IntervalValue::from_arrow(crate::kernel::datetime::scale(sum, self.values as f64, true)?)
            }
            // What no column can hold is out of range, too.
            _ => IntervalValue::from_arrow(sum.to_arrow()?),
        };
        Ok(Datum::Interval(value))
    }
}

/// sum or avg of `n` integers or decimals whose unscaled sum is `sum`. `arg` is the type of the argument.
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

/// As [`exact`], of a wider sum.
pub fn exact_wide(sum: &i256, n: i64, agg: &Aggregate, arg: Option<SqlType>) -> Result<Datum, SqlError> {
    match sum.to_i128() {
        Some(sum) => exact(sum, n, agg, arg),
        None if agg.func == AggregateFunc::Sum && agg.ty == SqlType::Int8 => Err(bigint_overflow()),
        None => numeric_result(Numeric::from_i256(*sum, 0)?.mul(&unit(arg)?)?, n, agg),
    }
}

/// sum or avg of bare numeric: at the greatest scale of a value that is there.
pub fn of_numerics(sum: &NumericSum, agg: &Aggregate) -> Result<Datum, SqlError> {
    match sum.count() {
        0 => Ok(Datum::Null),
        n => numeric_result(sum.value()?, n, agg),
    }
}

/// sum or avg of floats.
pub fn of_floats(sum: &FloatSum, n: i64, agg: &Aggregate) -> Result<Datum, SqlError> {
    Ok(match (agg.func, agg.ty) {
        _ if n == 0 => Datum::Null,
        (AggregateFunc::Avg, _) => Datum::Float8(Float(sum.mean(n)?)),
        (_, SqlType::Float4) => Datum::Float4(Float(sum.narrow_sum()?.into())),
        _ => Datum::Float8(Float(sum.sum()?)),
    })
}

fn bigint_overflow() -> SqlError {
    SqlError::new(SqlState::OUT_OF_RANGE, "bigint out of range")
}

fn numeric_result(sum: Numeric, n: i64, agg: &Aggregate) -> Result<Datum, SqlError> {
    let value = if agg.func == AggregateFunc::Avg { sum.div(&Numeric::from_i64(n))? } else { sum };
    match agg.ty {
        SqlType::Numeric(Some((p, s))) => Ok(Datum::Numeric(value.cast(p, s)?)),
        SqlType::Int8 => Ok(Datum::Int8(value.to_i64()?)),
        _ => Ok(Datum::Numeric(value)),
    }
}

/// An integer or numeric of any type.
pub fn numeric(arg: &ArrayRef, row: usize) -> Result<Numeric, SqlError> {
    match arg.data_type() {
        DataType::LargeBinary => Numeric::from_bytes(arg.as_binary::<i64>().value(row)),
        DataType::Decimal128(_, scale) => Numeric::from_decimal(integer(arg, row)?, *scale),
        _ => Ok(Numeric::from_i128(integer(arg, row)?)),
    }
}

/// An integer or the unscaled digits of a decimal.
pub fn integer(arg: &ArrayRef, row: usize) -> Result<i128, SqlError> {
    Ok(match arg.data_type() {
        DataType::Int16 => arg.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => arg.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => arg.as_primitive::<Int64Type>().value(row).into(),
        DataType::Decimal128(..) => arg.as_primitive::<Decimal128Type>().value(row),
        other => return Err(SqlError::internal(format!("no sum over {other}"))),
    })
}

/// A float of either width.
pub fn float(arg: &ArrayRef, row: usize) -> f64 {
    match arg.data_type() {
        DataType::Float32 => f64::from(arg.as_primitive::<Float32Type>().value(row)),
        _ => arg.as_primitive::<Float64Type>().value(row),
    }
}
