//! Arithmetic of dates, times and intervals; `date_trunc`, `date_bin`, `to_timestamp` of seconds.

use super::cast::{date_to_timestamp, stamp};
use super::string::Str;
use super::{Kernel, Prim, build, out_of_range, template, unsupported, zones};
use crate::civil::{self, DAY, HOUR, MINUTE, SECOND};
use crate::value::{Val, strict_nulls};
use arrow::array::ArrayRef;
use arrow::datatypes::{
    Date32Type, Float64Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use hw_plan::Func;
use hw_repr::datum::IntervalValue;
use hw_repr::{SqlError, SqlState, SqlType};
use std::sync::Arc;

type Dates<'a> = Prim<'a, Date32Type>;
type Times<'a> = Prim<'a, Time64MicrosecondType>;
type Stamps<'a> = Prim<'a, TimestampMicrosecondType>;
type Spans<'a> = Prim<'a, IntervalMonthDayNanoType>;

pub(super) fn interval(v: IntervalMonthDayNano) -> IntervalValue {
    IntervalValue { months: v.months, days: v.days, micros: v.nanoseconds / 1_000 }
}

pub(super) fn interval_out(months: i64, days: i64, micros: i128) -> Result<IntervalMonthDayNano, SqlError> {
    let all = (i32::try_from(months), i32::try_from(days), i64::try_from(micros * 1_000));
    match all {
        (Ok(m), Ok(d), Ok(ns)) => Ok(IntervalMonthDayNano::new(m, d, ns)),
        _ => Err(out_of_range(SqlType::Interval)),
    }
}

/// `-i`
fn negate(i: IntervalValue) -> Result<IntervalValue, SqlError> {
    match (i.months.checked_neg(), i.days.checked_neg(), i.micros.checked_neg()) {
        (Some(months), Some(days), Some(micros)) => Ok(IntervalValue { months, days, micros }),
        _ => Err(out_of_range(SqlType::Interval)),
    }
}

fn shift(ts: i64, by: IntervalValue, sub: bool) -> Result<i64, SqlError> {
    let by = if sub { negate(by)? } else { by };
    civil::add_interval(ts, by).ok_or_else(|| out_of_range(SqlType::Timestamp))
}

/// The kernel of an operator on dates, times and intervals, if there is one.
pub(super) fn arithmetic(func: Func, types: &[SqlType]) -> Option<Kernel> {
    use SqlType::*;
    let sub = func == Func::Sub;
    // a + b is b + a: the interval, time or number comes second.
    let swapped = func == Func::Add
        && matches!(types, [Interval, Date | Timestamp | TimestampTz | Time] | [Int4, Date] | [Time, Date])
        || func == Func::Mul && matches!(types, [Float8, Interval]);
    if swapped {
        let inner = arithmetic(func, &[types[1], types[0]])?;
        return Some(Box::new(move |args, rows| inner(&[args[1].clone(), args[0].clone()], rows)));
    }
    Some(match (func, types) {
        (Func::Add | Func::Sub, [Date, Int4]) => Box::new(move |args, rows| date_and_days(args, rows, sub)),
        (Func::Add | Func::Sub, [Date, Interval]) => Box::new(move |args, rows| {
            let (a, b) = (Dates::of(&args[0])?, Spans::of(&args[1])?);
            let f = |i| shift(date_to_timestamp(a.get(i))?, interval(b.get(i)), sub);
            Ok(Arc::new(build::<TimestampMicrosecondType>(rows, strict_nulls(args), f)?))
        }),
        (Func::Add, [Date, Time]) => Box::new(|args, rows| {
            let (a, b) = (Dates::of(&args[0])?, Times::of(&args[1])?);
            let f = |i| {
                let day = date_to_timestamp(a.get(i))?;
                Ok(if civil::is_infinite(day) { day } else { day + b.get(i) })
            };
            Ok(Arc::new(build::<TimestampMicrosecondType>(rows, strict_nulls(args), f)?))
        }),
        (Func::Add | Func::Sub, [Timestamp | TimestampTz, Interval]) => {
            let ty = types[0];
            Box::new(move |args, rows| {
                let (a, b) = (Stamps::of(&args[0])?, Spans::of(&args[1])?);
                let f = |i| shift(a.get(i), interval(b.get(i)), sub);
                Ok(stamp(build::<TimestampMicrosecondType>(rows, strict_nulls(args), f)?, ty))
            })
        }
        (Func::Add | Func::Sub, [Time, Interval]) => Box::new(move |args, rows| {
            let (a, b) = (Times::of(&args[0])?, Spans::of(&args[1])?);
            let f = |i| {
                let by = i128::from(interval(b.get(i)).micros);
                Ok((i128::from(a.get(i)) + if sub { -by } else { by }).rem_euclid(i128::from(DAY)) as i64)
            };
            Ok(Arc::new(build::<Time64MicrosecondType>(rows, strict_nulls(args), f)?))
        }),
        (Func::Add | Func::Sub, [Interval, Interval]) => Box::new(move |args, rows| add_intervals(args, rows, sub)),
        (Func::Sub, [Date, Date]) => Box::new(|args, rows| {
            let (a, b) = (Dates::of(&args[0])?, Dates::of(&args[1])?);
            let infinite = |d: i32| d == i32::MAX || d == i32::MIN;
            let f = |i| match (a.get(i), b.get(i)) {
                (x, y) if infinite(x) || infinite(y) => {
                    Err(SqlError::new(SqlState::DATETIME_OVERFLOW, "cannot subtract infinite dates"))
                }
                (x, y) => x.checked_sub(y).ok_or_else(|| out_of_range(Int4)),
            };
            Ok(Arc::new(build::<Int32Type>(rows, strict_nulls(args), f)?))
        }),
        (Func::Sub, [Timestamp, Timestamp] | [TimestampTz, TimestampTz]) => Box::new(between_timestamps),
        (Func::Sub, [Time, Time]) => Box::new(|args, rows| {
            let (a, b) = (Times::of(&args[0])?, Times::of(&args[1])?);
            let f = |i| interval_out(0, 0, i128::from(a.get(i) - b.get(i)));
            Ok(Arc::new(build::<IntervalMonthDayNanoType>(rows, strict_nulls(args), f)?))
        }),
        (Func::Mul | Func::Div, [Interval, Float8]) => Box::new(move |args, rows| {
            let (a, b) = (Spans::of(&args[0])?, Prim::<Float64Type>::of(&args[1])?);
            let f = |i| scale(interval(a.get(i)), b.get(i), func == Func::Div);
            Ok(Arc::new(build::<IntervalMonthDayNanoType>(rows, strict_nulls(args), f)?))
        }),
        (Func::Neg, [Interval]) => Box::new(|args, rows| {
            let a = Spans::of(&args[0])?;
            let f = |i| {
                let v = negate(interval(a.get(i)))?;
                interval_out(v.months.into(), v.days.into(), v.micros.into())
            };
            Ok(Arc::new(build::<IntervalMonthDayNanoType>(rows, strict_nulls(args), f)?))
        }),
        _ => return None,
    })
}

fn date_and_days(args: &[Val], rows: usize, sub: bool) -> Result<ArrayRef, SqlError> {
    let (a, b) = (Dates::of(&args[0])?, Prim::<Int32Type>::of(&args[1])?);
    let f = |i| {
        let d = a.get(i);
        if d == i32::MAX || d == i32::MIN {
            return Ok(d);
        }
        let by = i64::from(b.get(i));
        let day = i64::from(d) + if sub { -by } else { by };
        if (civil::DATE_MIN..civil::DATE_END).contains(&day) {
            Ok(day as i32)
        } else {
            Err(out_of_range(SqlType::Date))
        }
    };
    Ok(Arc::new(build::<Date32Type>(rows, strict_nulls(args), f)?))
}

fn add_intervals(args: &[Val], rows: usize, sub: bool) -> Result<ArrayRef, SqlError> {
    let (a, b) = (Spans::of(&args[0])?, Spans::of(&args[1])?);
    let f = |i| {
        let (x, y) = (interval(a.get(i)), interval(b.get(i)));
        let sign = if sub { -1 } else { 1 };
        interval_out(
            i64::from(x.months) + sign * i64::from(y.months),
            i64::from(x.days) + sign * i64::from(y.days),
            i128::from(x.micros) + i128::from(sign) * i128::from(y.micros),
        )
    };
    Ok(Arc::new(build::<IntervalMonthDayNanoType>(rows, strict_nulls(args), f)?))
}

/// Whole days and the rest, of one sign, as `interval_justify_hours` leaves them.
fn between_timestamps(args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (a, b) = (Stamps::of(&args[0])?, Stamps::of(&args[1])?);
    let f = |i| {
        let (x, y) = (a.get(i), b.get(i));
        if civil::is_infinite(x) || civil::is_infinite(y) {
            return Err(SqlError::new(SqlState::DATETIME_OVERFLOW, "cannot subtract infinite timestamps"));
        }
        let micros = x.checked_sub(y).ok_or_else(|| out_of_range(SqlType::Interval))?;
        interval_out(0, micros / DAY, i128::from(micros % DAY))
    };
    Ok(Arc::new(build::<IntervalMonthDayNanoType>(rows, strict_nulls(args), f)?))
}

/// Fractions of months flow into days of 30 to the month, fractions of days into time.
pub(crate) fn scale(v: IntervalValue, by: f64, divide: bool) -> Result<IntervalMonthDayNano, SqlError> {
    if divide && by == 0.0 {
        return Err(super::division_by_zero());
    }
    let apply = |x: f64| if divide { x / by } else { x * by };
    // PostgreSQL's TSROUND: to the microsecond, which hides the error of the binary fraction.
    let settle = |x: f64| (x * 1_000_000.0).round_ties_even() / 1_000_000.0;
    let (months, days) = (apply(v.months.into()), apply(v.days.into()));
    let whole = |x: f64| match x.abs() < 2_147_483_648.0 {
        true => Ok(x.trunc() as i64),
        false => Err(out_of_range(SqlType::Interval)),
    };
    let (month_out, mut day_out) = (whole(months)?, whole(days)?);
    let mut month_days = settle((months - month_out as f64) * 30.0);
    let mut seconds = settle((days - day_out as f64 + month_days - month_days.trunc()) * 86_400.0);
    if seconds.abs() >= 86_400.0 {
        day_out += (seconds / 86_400.0).trunc() as i64;
        seconds -= (seconds / 86_400.0).trunc() * 86_400.0;
    }
    month_days = month_days.trunc();
    day_out += month_days as i64;
    let micros = (apply(v.micros as f64) + seconds * 1_000_000.0).round_ties_even();
    if !micros.is_finite() || micros.abs() >= 9.2e18 {
        return Err(out_of_range(SqlType::Interval));
    }
    interval_out(month_out, day_out, micros as i128)
}

/// The kernel of `date_trunc`, `date_bin` and `to_timestamp`.
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    use SqlType::*;
    let ty = types.last().copied().unwrap_or(Text);
    Ok(match (func, types) {
        (Func::DateTrunc, [Text | Varchar(_), Timestamp | TimestampTz]) => Box::new(move |args, rows| {
            let (unit, a) = (Str::of(&args[0])?, Stamps::of(&args[1])?);
            let f = |i| Ok(truncate(unit.get(i), a.get(i), ty)?.0);
            Ok(stamp(build::<TimestampMicrosecondType>(rows, strict_nulls(args), f)?, ty))
        }),
        (Func::DateTrunc, [Text | Varchar(_), Interval]) => Box::new(|args, rows| {
            let (unit, a) = (Str::of(&args[0])?, Spans::of(&args[1])?);
            let f = |i| truncate_interval(unit.get(i), interval(a.get(i)));
            Ok(Arc::new(build::<IntervalMonthDayNanoType>(rows, strict_nulls(args), f)?))
        }),
        (Func::DateBin, [Interval, Timestamp | TimestampTz, _]) => Box::new(move |args, rows| {
            let (stride, a, origin) = (Spans::of(&args[0])?, Stamps::of(&args[1])?, Stamps::of(&args[2])?);
            let f = |i| bin(interval(stride.get(i)), a.get(i), origin.get(i));
            Ok(stamp(build::<TimestampMicrosecondType>(rows, strict_nulls(args), f)?, ty))
        }),
        (Func::DateTrunc, [Text | Varchar(_), TimestampTz, Text | Varchar(_)]) => zones::truncate_kernel(),
        (Func::ToTimestamp | Func::ToDate, [Text | Varchar(_), Text | Varchar(_)]) => template::read::kernel(func),
        (Func::ToTimestamp, [Float8]) => Box::new(|args, rows| {
            let a = Prim::<Float64Type>::of(&args[0])?;
            let f = |i| from_epoch(a.get(i));
            Ok(stamp(build::<TimestampMicrosecondType>(rows, strict_nulls(args), f)?, TimestampTz))
        }),
        _ => return Err(unsupported(func, types)),
    })
}

fn from_epoch(v: f64) -> Result<i64, SqlError> {
    if v.is_nan() {
        return Err(SqlError::new(SqlState::DATETIME_OVERFLOW, "timestamp cannot be NaN"));
    }
    if v.is_infinite() {
        return Ok(if v > 0.0 { i64::MAX } else { i64::MIN });
    }
    // PostgreSQL rounds relative to its own epoch, 2000-01-01.
    const SHIFT: f64 = 946_684_800.0;
    let micros = ((v - SHIFT) * 1_000_000.0).round_ties_even();
    let in_range = micros.abs() < 9.3e18;
    in_range
        .then(|| civil::checked_timestamp(micros as i128 + SHIFT as i128 * 1_000_000))
        .flatten()
        .ok_or_else(|| SqlError::new(SqlState::DATETIME_OVERFLOW, format!("timestamp out of range: \"{v}\"")))
}

fn bin(stride: IntervalValue, ts: i64, origin: i64) -> Result<i64, SqlError> {
    if stride.months != 0 {
        return Err(SqlError::unsupported("timestamps cannot be binned into intervals containing months or years"));
    }
    if civil::is_infinite(ts) {
        return Ok(ts);
    }
    if civil::is_infinite(origin) {
        return Err(SqlError::new(SqlState::DATETIME_OVERFLOW, "origin out of range"));
    }
    let size = i128::from(stride.days) * i128::from(DAY) + i128::from(stride.micros);
    if size <= 0 {
        return Err(SqlError::new(SqlState::DATETIME_OVERFLOW, "stride must be greater than zero"));
    }
    let steps = (i128::from(ts) - i128::from(origin)).div_euclid(size);
    civil::checked_timestamp(i128::from(origin) + steps * size).ok_or_else(|| out_of_range(SqlType::Timestamp))
}

/// The canonical name of a unit of time, PostgreSQL's abbreviations included.
pub(super) fn unit_name(unit: &str) -> Option<&'static str> {
    Some(match unit.trim().to_ascii_lowercase().as_str() {
        "microsecond" | "microseconds" | "us" | "usec" | "usecs" | "microsecon" | "usecond" | "useconds" => {
            "microseconds"
        }
        "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" | "millisecon" | "msecond" | "mseconds" => {
            "milliseconds"
        }
        "second" | "seconds" | "s" | "sec" | "secs" => "second",
        "minute" | "minutes" | "m" | "min" | "mins" => "minute",
        "hour" | "hours" | "h" | "hr" | "hrs" => "hour",
        "day" | "days" | "d" => "day",
        "week" | "weeks" | "w" => "week",
        "month" | "months" | "mon" | "mons" => "month",
        "quarter" | "qtr" => "quarter",
        "year" | "years" | "y" | "yr" | "yrs" => "year",
        "decade" | "decades" | "dec" | "decs" => "decade",
        "century" | "centuries" | "c" | "cent" => "century",
        "millennium" | "millennia" | "mil" | "mils" => "millennium",
        "epoch" => "epoch",
        "dow" => "dow",
        "isodow" => "isodow",
        "doy" => "doy",
        "isoyear" => "isoyear",
        "julian" | "jd" | "j" => "julian",
        "timezone" => "timezone",
        "timezone_hour" | "timezone_h" => "timezone_hour",
        "timezone_minute" | "timezone_m" => "timezone_minute",
        _ => return None,
    })
}

fn unknown_unit(unit: &str, ty: SqlType) -> SqlError {
    let shown = unit.to_ascii_lowercase();
    SqlError::new(SqlState::INVALID_PARAMETER, format!("unit \"{shown}\" not recognized for type {ty}"))
}

/// PostgreSQL's two refusals of a unit.
pub(super) fn bad_unit(unit: &str, ty: SqlType) -> SqlError {
    match unit_name(unit) {
        None => unknown_unit(unit, ty),
        Some(_) => SqlError::unsupported(format!("unit \"{}\" not supported for type {ty}", unit.to_ascii_lowercase())),
    }
}

/// A unit that `date_trunc` knows; it takes fewer words than `extract`.
fn trunc_unit(unit: &str, ty: SqlType) -> Result<&'static str, SqlError> {
    match unit_name(unit) {
        Some("dow" | "isodow" | "doy" | "epoch" | "julian" | "isoyear") | None => Err(unknown_unit(unit, ty)),
        Some(name) => Ok(name),
    }
}

/// The start of a timestamp's unit, and whether that is of whole days.
pub(super) fn truncate(unit: &str, ts: i64, ty: SqlType) -> Result<(i64, bool), SqlError> {
    let name = trunc_unit(unit, ty)?;
    let size = match name {
        "microseconds" => Some(1),
        "milliseconds" => Some(1_000),
        "second" => Some(SECOND),
        "minute" => Some(MINUTE),
        "hour" => Some(HOUR),
        "day" => Some(DAY),
        "week" | "month" | "quarter" | "year" | "decade" | "century" | "millennium" => None,
        _ => return Err(bad_unit(unit, ty)),
    };
    if civil::is_infinite(ts) {
        return Ok((ts, false));
    }
    if let Some(size) = size {
        return Ok((ts - ts.rem_euclid(size), size == DAY));
    }
    let days = ts.div_euclid(DAY);
    let (year, month, _) = civil::civil_from_days(days);
    let start = match name {
        "week" => days - (days + 3).rem_euclid(7),
        "month" => civil::days_from_civil(year, month, 1),
        "quarter" => civil::days_from_civil(year, (month - 1) / 3 * 3 + 1, 1),
        "year" => civil::days_from_civil(year, 1, 1),
        "decade" => civil::days_from_civil(year.div_euclid(10) * 10, 1, 1),
        "century" => civil::days_from_civil((year - 1).div_euclid(100) * 100 + 1, 1, 1),
        _ => civil::days_from_civil((year - 1).div_euclid(1_000) * 1_000 + 1, 1, 1),
    };
    let micros = i128::from(start) * i128::from(DAY);
    Ok((civil::checked_timestamp(micros).ok_or_else(|| out_of_range(SqlType::Timestamp))?, true))
}

fn truncate_interval(unit: &str, v: IntervalValue) -> Result<IntervalMonthDayNano, SqlError> {
    let ty = SqlType::Interval;
    let name = trunc_unit(unit, ty)?;
    let months = |size: i32| interval_out((v.months / size * size).into(), 0, 0);
    let time = |size: i64| interval_out(v.months.into(), v.days.into(), (v.micros / size * size).into());
    match name {
        "microseconds" => time(1),
        "milliseconds" => time(1_000),
        "second" => time(SECOND),
        "minute" => time(MINUTE),
        "hour" => time(HOUR),
        "day" => interval_out(v.months.into(), v.days.into(), 0),
        "month" => months(1),
        "quarter" => months(3),
        "year" => months(12),
        "decade" => months(120),
        "century" => months(1_200),
        "millennium" => months(12_000),
        "week" => Err(bad_unit(unit, ty).detail("Months usually have fractional weeks.")),
        _ => Err(bad_unit(unit, ty)),
    }
}
