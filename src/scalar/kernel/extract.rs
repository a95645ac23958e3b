//! `extract` (numeric) and `date_part` (double precision).

use super::arithmetic::build_numeric;
use super::datetime::{bad_unit, unit_name};
use super::string::Str;
use super::{Kernel, Prim, build, unsupported};
use crate::civil::{self, DAY, HOUR, MINUTE, SECOND};
use crate::value::{Val, strict_nulls};
use arrow::array::ArrayRef;
use arrow::datatypes::{
    Date32Type, Float64Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use hw_plan::Func;
use hw_repr::numeric::Numeric;
use hw_repr::{SqlError, SqlType};
use std::sync::Arc;

/// The kernel of `extract` or `date_part`.
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    let ty = match types {
        [_, t @ (SqlType::Date | SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz | SqlType::Interval)] => *t,
        _ => return Err(unsupported(func, types)),
    };
    Ok(Box::new(move |args, rows| {
        let unit = Str::of(&args[0])?;
        let source = Source::of(&args[1], ty)?;
        let part = |i| source.part(i, unit.get(i), ty, func == Func::DatePart);
        if func == Func::DatePart {
            let f = |i| part(i).map(|v| v.to_f64());
            return Ok(Arc::new(build::<Float64Type>(rows, strict_nulls(args), f)?) as ArrayRef);
        }
        build_numeric(rows, strict_nulls(args), part)
    }))
}

enum Source<'a> {
    Date(Prim<'a, Date32Type>),
    Time(Prim<'a, Time64MicrosecondType>),
    Stamp(Prim<'a, TimestampMicrosecondType>),
    Span(Prim<'a, IntervalMonthDayNanoType>),
}

fn int(v: i64) -> Option<Numeric> {
    Some(Numeric::from_i64(v))
}

/// Seconds with six decimals.
fn seconds(micros: i128) -> Option<Numeric> {
    Some(Numeric { value: micros, scale: 6 })
}

impl<'a> Source<'a> {
    fn of(v: &'a Val, ty: SqlType) -> Result<Self, SqlError> {
        Ok(match ty {
            SqlType::Date => Source::Date(Prim::of(v)?),
            SqlType::Time => Source::Time(Prim::of(v)?),
            SqlType::Interval => Source::Span(Prim::of(v)?),
            _ => Source::Stamp(Prim::of(v)?),
        })
    }

    fn part(&self, row: usize, unit: &str, ty: SqlType, of_date_part: bool) -> Result<Numeric, SqlError> {
        let name = unit_name(unit).ok_or_else(|| bad_unit(unit, ty))?;
        let found = match self {
            // `date_part` of a date is that of its midnight; `extract` knows that a date has no time.
            Source::Date(a) if of_date_part => {
                stamp_part(name, super::cast::date_to_timestamp(a.get(row))?, SqlType::Timestamp)?
            }
            Source::Date(a) => match a.get(row) {
                i32::MAX | i32::MIN => return Err(infinite()),
                d => day_part(name, d.into())
                    .or_else(|| (name == "epoch").then(|| Numeric::from_i64(i64::from(d) * 86_400))),
            },
            Source::Time(a) => {
                time_part(name, a.get(row)).or_else(|| (name == "epoch").then(|| seconds(a.get(row).into()))?)
            }
            Source::Stamp(a) => stamp_part(name, a.get(row), ty)?,
            Source::Span(a) => {
                let v = a.get(row);
                span_part(name, v.months.into(), v.days.into(), v.nanoseconds / 1_000)
            }
        };
        found.ok_or_else(|| bad_unit(unit, ty))
    }
}

fn infinite() -> SqlError {
    SqlError::unsupported("extract from an infinite date or timestamp is not supported")
}

fn stamp_part(name: &str, ts: i64, ty: SqlType) -> Result<Option<Numeric>, SqlError> {
    if civil::is_infinite(ts) {
        return Err(infinite());
    }
    let (days, time) = (ts.div_euclid(DAY), ts.rem_euclid(DAY));
    Ok(match name {
        "epoch" => seconds(ts.into()),
        "timezone" | "timezone_hour" | "timezone_minute" if ty == SqlType::TimestampTz => int(0),
        "julian" => {
            let whole = Numeric::from_i64(days + 2_440_588);
            match time {
                0 => Some(whole),
                _ => Some(whole.add(&Numeric::from_i64(time).div(&Numeric { value: i128::from(DAY), scale: 0 })?)?),
            }
        }
        _ => time_part(name, time).or_else(|| day_part(name, days)),
    })
}

fn time_part(name: &str, time: i64) -> Option<Numeric> {
    match name {
        "hour" => int(time / HOUR),
        "minute" => int(time / MINUTE % 60),
        "second" => seconds((time % MINUTE).into()),
        "milliseconds" => Some(Numeric { value: (time % MINUTE).into(), scale: 3 }),
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
