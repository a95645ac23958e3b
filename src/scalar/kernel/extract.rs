//! `extract` (numeric) and `date_part` (double precision).

use super::arithmetic::build_numeric;
use super::datetime::{bad_unit, unit_name};
use super::string::Str;
use super::{Kernel, Prim, build_opt, unsupported};
use crate::civil::{self, DAY, HOUR, MINUTE, SECOND};
use crate::value::{Val, strict_nulls};
use arrow::array::{ArrayRef, BooleanBufferBuilder};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    Date32Type, Float64Type, Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use hw_plan::Func;
use hw_repr::datum::{IntervalValue, TimeTzValue};
use hw_repr::numeric::Numeric;
use hw_repr::{SqlError, SqlType};
use std::sync::Arc;

/// The kernel of `extract` or `date_part`.
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    let ty = match types {
        [
            _,
            t @ (SqlType::Date
            | SqlType::Time
            | SqlType::TimeTz
            | SqlType::Timestamp
            | SqlType::TimestampTz
            | SqlType::Interval),
        ] => *t,
        _ => return Err(unsupported(func, types)),
    };
    Ok(Box::new(move |args, rows| {
        let unit = Str::of(&args[0])?;
        let source = Source::of(&args[1], ty)?;
        let float = func == Func::DatePart;
        let part = |i| source.part(i, unit.get(i), ty, float);
        if float {
            let f = |i| {
                Ok(match part(i)? {
                    Part::Number(v) => Some(v.to_f64()),
                    Part::Float(v) => Some(v),
                    Part::Unbounded(greatest) => Some(if greatest { f64::INFINITY } else { f64::NEG_INFINITY }),
                    Part::None => None,
                })
            };
            return Ok(Arc::new(build_opt::<Float64Type>(rows, strict_nulls(args), f)?) as ArrayRef);
        }
        numbers(args, rows, part)
    }))
}

/// A field of a moment.
enum Part {
    Number(Numeric),
    /// Computed in binary, as `date_part` has it.
    Float(f64),
    /// Of an infinite moment, a field that grows with it; true for `infinity`.
    Unbounded(bool),
    /// Of an infinite moment, any other field: NULL.
    None,
}

/// The results of `extract`.
fn numbers(args: &[Val], rows: usize, part: impl Fn(usize) -> Result<Part, SqlError>) -> Result<ArrayRef, SqlError> {
    let nulls = strict_nulls(args);
    let mut valid = BooleanBufferBuilder::new(rows);
    let mut values = Vec::with_capacity(rows);
    for row in 0..rows {
        let found = match nulls.as_ref().is_none_or(|n| n.is_valid(row)) {
            true => part(row)?,
            false => Part::None,
        };
        valid.append(!matches!(found, Part::None));
        values.push(match found {
            Part::Number(v) => v,
            Part::Float(v) => Numeric::from_f64(v)?,
            Part::Unbounded(positive) => Numeric::from_f64(if positive { f64::INFINITY } else { f64::NEG_INFINITY })?,
            Part::None => Numeric::from_i64(0),
        });
    }
    build_numeric(rows, Some(NullBuffer::new(valid.finish())), |i| Ok(values[i].clone()))
}

enum Source<'a> {
    Date(Prim<'a, Date32Type>),
    Time(Prim<'a, Time64MicrosecondType>),
    TimeTz(Prim<'a, Int64Type>),
    Stamp(Prim<'a, TimestampMicrosecondType>),
    Span(Prim<'a, IntervalMonthDayNanoType>),
}

fn int(v: i64) -> Option<Numeric> {
    Some(Numeric::from_i64(v))
}

/// Seconds with six decimals.
fn seconds(micros: i128) -> Option<Numeric> {
    Some(Numeric::small(micros, 6))
}

impl<'a> Source<'a> {
    fn of(v: &'a Val, ty: SqlType) -> Result<Self, SqlError> {
        Ok(match ty {
            SqlType::Date => Source::Date(Prim::of(v)?),
            SqlType::Time => Source::Time(Prim::of(v)?),
            SqlType::TimeTz => Source::TimeTz(Prim::of(v)?),
            SqlType::Interval => Source::Span(Prim::of(v)?),
            _ => Source::Stamp(Prim::of(v)?),
        })
    }

    fn part(&self, row: usize, unit: &str, ty: SqlType, of_date_part: bool) -> Result<Part, SqlError> {
        let name = unit_name(unit).ok_or_else(|| bad_unit(unit, ty))?;
        let found = match self {
            Source::Date(a) if matches!(a.get(row), i32::MAX | i32::MIN) => {
                let of = if of_date_part { SqlType::Timestamp } else { SqlType::Date };
                return infinite(name, a.get(row) > 0, of).ok_or_else(|| bad_unit(unit, ty));
            }
            // `date_part` of a date is that of its midnight; `extract` knows that a date has no time.
            Source::Date(a) if of_date_part => {
                stamp_part(name, super::cast::date_to_timestamp(a.get(row))?, SqlType::Timestamp)?
            }
            Source::Date(a) => {
                let d = i64::from(a.get(row));
                day_part(name, d).or_else(|| (name == "epoch").then(|| Numeric::from_i64(d * 86_400)))
            }
            Source::Time(a) => {
                time_part(name, a.get(row)).or_else(|| (name == "epoch").then(|| seconds(a.get(row).into()))?)
            }
            Source::TimeTz(a) => {
                let v = TimeTzValue::unpack(a.get(row));
                let east = i64::from(v.east);
                match name {
                    "timezone" => int(east),
                    "timezone_hour" => int(east / 3_600),
                    "timezone_minute" => int(east / 60 % 60),
                    "epoch" => seconds((v.micros - east * SECOND).into()),
                    _ => time_part(name, v.micros),
                }
            }
            Source::Stamp(a) if civil::is_infinite(a.get(row)) => {
                return infinite(name, a.get(row) > 0, ty).ok_or_else(|| bad_unit(unit, ty));
            }
            Source::Stamp(a) => stamp_part(name, a.get(row), ty)?,
            Source::Span(a) => {
                let v = super::datetime::interval(a.get(row));
                if of_date_part && name == "epoch" {
                    return Ok(Part::Float(epoch_of_interval(v)));
                }
                span_part(name, v.months.into(), v.days.into(), v.micros)
            }
        };
        found.map(Part::Number).ok_or_else(|| bad_unit(unit, ty))
    }
}

/// Seconds, summed up in the order in which PostgreSQL does it, for its last digit.
fn epoch_of_interval(v: IntervalValue) -> f64 {
    const DAY_S: f64 = 86_400.0;
    v.micros as f64 / 1e6
        + 365.25 * DAY_S * f64::from(v.months / 12)
        + 30.0 * DAY_S * f64::from(v.months % 12)
        + DAY_S * f64::from(v.days)
}

/// A field of an infinite moment, if its type has it.
fn infinite(name: &str, greatest: bool, ty: SqlType) -> Option<Part> {
    let timed = matches!(ty, SqlType::Timestamp | SqlType::TimestampTz);
    Some(match name {
        "year" | "decade" | "century" | "millennium" | "julian" | "isoyear" | "epoch" => Part::Unbounded(greatest),
        "day" | "month" | "quarter" | "week" | "dow" | "isodow" | "doy" => Part::None,
        "hour" | "minute" | "second" | "milliseconds" | "microseconds" if timed => Part::None,
        "timezone" | "timezone_hour" | "timezone_minute" if ty == SqlType::TimestampTz => Part::None,
        _ => return None,
    })
}

fn stamp_part(name: &str, ts: i64, ty: SqlType) -> Result<Option<Numeric>, SqlError> {
    let (days, time) = (ts.div_euclid(DAY), ts.rem_euclid(DAY));
    Ok(match name {
        "epoch" => seconds(ts.into()),
        "timezone" | "timezone_hour" | "timezone_minute" if ty == SqlType::TimestampTz => int(0),
        "julian" => {
            let fraction = Numeric::from_i64(time).div(&Numeric::from_i64(DAY))?;
            Some(Numeric::from_i64(days + 2_440_588).add(&fraction)?)
        }
        _ => time_part(name, time).or_else(|| day_part(name, days)),
    })
}

fn time_part(name: &str, time: i64) -> Option<Numeric> {
    match name {
        "hour" => int(time / HOUR),
        "minute" => int(time / MINUTE % 60),
        "second" => seconds((time % MINUTE).into()),
        "milliseconds" => Some(Numeric::small((time % MINUTE).into(), 3)),
        "microseconds" => int(time % MINUTE),
        _ => None,
    }
}

/// Year 0 is 1 BC, which PostgreSQL counts as -1.
fn shown_year(year: i64) -> i64 {
    if year > 0 { year } else { year - 1 }
}

/// The n-th span of years, counted from 1, before Christ from -1.
fn span_of_years(year: i64, size: i64) -> i64 {
    if year > 0 { (year + size - 1) / size } else { -((size - (year - 1)) / size) }
}

fn day_part(name: &str, days: i64) -> Option<Numeric> {
    let (year, month, day) = civil::civil_from_days(days);
    match name {
        "day" => int(day),
        "month" => int(month),
        "quarter" => int((month - 1) / 3 + 1),
        "year" => int(shown_year(year)),
        "decade" => int(year.div_euclid(10)),
        "century" => int(span_of_years(year, 100)),
        "millennium" => int(span_of_years(year, 1_000)),
        "week" => int(civil::iso_week(days).1),
        "isoyear" => int(shown_year(civil::iso_week(days).0)),
        "dow" => int((days + 4).rem_euclid(7)),
        "isodow" => int((days + 3).rem_euclid(7) + 1),
        "doy" => int(days - civil::days_from_civil(year, 1, 1) + 1),
        "julian" => int(days + 2_440_588),
        _ => None,
    }
}

fn span_part(name: &str, months: i64, days: i64, micros: i64) -> Option<Numeric> {
    let years = months / 12;
    match name {
        "hour" => int(micros / HOUR),
        "minute" => int(micros / MINUTE % 60),
        "second" | "milliseconds" | "microseconds" => time_part(name, micros),
        "day" => int(days),
        "month" => int(months % 12),
        "quarter" => int(months % 12 / 3 + 1),
        "year" => int(years),
        "decade" => int(years / 10),
        "century" => int(years / 100),
        "millennium" => int(years / 1_000),
        "epoch" => {
            // A year has 365.25 days, a month beside whole years 30.
            let quarter_days = i128::from(years) * 1_461 + (i128::from(months % 12) * 30 + i128::from(days)) * 4;
            seconds(quarter_days * 21_600 * i128::from(SECOND) + i128::from(micros))
        }
        _ => None,
    }
}
