//! `generate_series`, one value at a time. As in PostgreSQL, a series ends without an error where the next integer
//! would not fit its type; a moment out of range is an error.

use crate::civil;
use crate::kernel::out_of_range;
use hw_repr::datum::IntervalValue;
use hw_repr::numeric::Numeric;
use hw_repr::{Datum, SqlError, SqlState, SqlType};
use std::cmp::Ordering;

/// A series under way: its next value.
#[derive(Debug)]
pub(super) enum Series {
    /// int4 (`small`) or int8; `None` behind the end of the type.
    Ints { next: Option<i64>, stop: i64, step: i64, small: bool },
    /// numeric
    Numerics { next: Numeric, stop: Numeric, step: Numeric },
    /// timestamp and timestamptz
    Moments { next: i64, stop: i64, step: IntervalValue, zoned: bool },
}

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER, message)
}

/// The series from, to and by these values, none of which is NULL. Errors: 22023.
pub(super) fn series(args: &[Datum]) -> Result<Series, SqlError> {
    let zero = || invalid("step size cannot equal zero");
    Ok(match args {
        [Datum::Int4(start), Datum::Int4(stop), rest @ ..] => {
            let step = if let [Datum::Int4(step)] = rest { *step } else { 1 };
            if step == 0 {
                return Err(zero());
            }
            Series::Ints { next: Some((*start).into()), stop: (*stop).into(), step: step.into(), small: true }
        }
        [Datum::Int8(start), Datum::Int8(stop), rest @ ..] => {
            let step = if let [Datum::Int8(step)] = rest { *step } else { 1 };
            if step == 0 {
                return Err(zero());
            }
            Series::Ints { next: Some(*start), stop: *stop, step, small: false }
        }
        [Datum::Numeric(start), Datum::Numeric(stop), rest @ ..] => {
            let step = if let [Datum::Numeric(step)] = rest { step.clone() } else { Numeric::from_i128(1) };
            for (value, what) in [(start, "start value"), (stop, "stop value"), (&step, "step size")] {
                if !value.is_finite() {
                    let kind = if value.is_nan() { "NaN" } else { "infinity" };
                    return Err(invalid(format!("{what} cannot be {kind}")));
                }
            }
            if step.is_zero() {
                return Err(zero());
            }
            Series::Numerics { next: start.clone(), stop: stop.clone(), step }
        }
        [Datum::Timestamp(start), Datum::Timestamp(stop), Datum::Interval(step)] => {
            moments(*start, *stop, *step, false)?
        }
        [Datum::TimestampTz(start), Datum::TimestampTz(stop), Datum::Interval(step)] => {
            moments(*start, *stop, *step, true)?
        }
        other => return Err(SqlError::internal(format!("a series of {other:?}"))),
    })
}

fn moments(next: i64, stop: i64, step: IntervalValue, zoned: bool) -> Result<Series, SqlError> {
    match span(&step) {
        0 => Err(invalid("step size cannot equal zero")),
        _ => Ok(Series::Moments { next, stop, step, zoned }),
    }
}

fn span(step: &IntervalValue) -> i128 {
    civil::interval_span(step.months, step.days, step.micros)
}

impl Series {
    /// The next value; `None` behind the last. Errors: 22008, 22003.
    pub fn next(&mut self) -> Result<Option<Datum>, SqlError> {
        match self {
            Series::Ints { next, stop, step, small } => {
                let Some(value) = next.filter(|v| if *step > 0 { v <= stop } else { v >= stop }) else {
                    return Ok(None);
                };
                *next = value.checked_add(*step);
                // Within the bounds, which are of the type.
                Ok(Some(if *small { Datum::Int4(value as i32) } else { Datum::Int8(value) }))
            }
            Series::Numerics { next, stop, step } => {
                let past = if step.signum() > 0 { Ordering::Greater } else { Ordering::Less };
                if next.cmp_value(stop) == past {
                    return Ok(None);
                }
                let following = next.add(step)?;
                Ok(Some(Datum::Numeric(std::mem::replace(next, following))))
            }
            Series::Moments { next, stop, step, zoned } => {
                let past = if span(step) > 0 { *next > *stop } else { *next < *stop };
                if past {
                    return Ok(None);
                }
                let value = *next;
                let ty = SqlType::Timestamp;
                *next = civil::add_interval(value, *step).ok_or_else(|| out_of_range(ty))?;
                Ok(Some(if *zoned { Datum::TimestampTz(value) } else { Datum::Timestamp(value) }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(args: &[Datum]) -> Result<Vec<Datum>, SqlError> {
        let mut series = series(args)?;
        let mut out = vec![];
        while let Some(value) = series.next()? {
            out.push(value);
        }
        Ok(out)
    }

    #[test]
    fn integers_end_at_the_end_of_their_type() {
        let ints = |v: &[i32]| v.iter().map(|v| Datum::Int4(*v)).collect::<Vec<_>>();
        assert_eq!(all(&ints(&[i32::MAX - 1, i32::MAX])), Ok(ints(&[i32::MAX - 1, i32::MAX])));
        assert_eq!(all(&ints(&[5, 1, -2])), Ok(ints(&[5, 3, 1])));
        assert_eq!(all(&ints(&[1, 0])), Ok(vec![]));
        assert!(all(&ints(&[1, 2, 0])).is_err_and(|e| e.message == "step size cannot equal zero"));
        let longs = [i64::MIN + 1, i64::MIN, -1].map(Datum::Int8);
        assert_eq!(all(&longs), Ok(vec![Datum::Int8(i64::MIN + 1), Datum::Int8(i64::MIN)]));
    }

    #[test]
    fn months_are_added_to_what_came_before() {
        let at = |s: &str| hw_repr::text::parse(SqlType::Timestamp, s).expect("a timestamp");
        let month = Datum::Interval(IntervalValue { months: 1, days: 0, micros: 0 });
        let found = all(&[at("2020-01-31"), at("2020-04-01"), month]).expect("a series");
        assert_eq!(found, [at("2020-01-31"), at("2020-02-29"), at("2020-03-29")]);
    }
}
