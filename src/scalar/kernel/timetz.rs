//! `timetz`: arithmetic, casts and `AT TIME ZONE`.

use super::string::Str;
use super::{Kernel, Prim, build, build_opt, unsupported};
use crate::civil::{self, DAY, SECOND};
use crate::value::strict_nulls;
use arrow::array::ArrayRef;
use arrow::datatypes::{
    Date32Type, Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use hw_plan::Func;
use hw_repr::datum::TimeTzValue;
use hw_repr::text::datetime::unknown_zone;
use hw_repr::text::datetime::zone::Zone;
use hw_repr::{SqlError, SqlState, SqlType};
use std::sync::Arc;

fn unpack(a: &Prim<Int64Type>, row: usize) -> TimeTzValue {
    TimeTzValue::unpack(a.get(row))
}

/// The kernel of an operator or of `timezone` with a timetz among its arguments.
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    use SqlType::{Date, Interval, Text, TimeTz};
    Ok(match (func, types) {
        (Func::Add, [TimeTz, Interval]) => shift(0, 1, 1),
        (Func::Add, [Interval, TimeTz]) => shift(1, 0, 1),
        (Func::Sub, [TimeTz, Interval]) => shift(0, 1, -1),
        (Func::Add, [Date, TimeTz]) => moment(0, 1),
        (Func::Add, [TimeTz, Date]) => moment(1, 0),
        (Func::Timezone, [Text, TimeTz]) => Box::new(|args, rows| {
            let (names, a) = (Str::of(&args[0])?, Prim::<Int64Type>::of(&args[1])?);
            let f = |i| Ok(rezone(unpack(&a, i), fixed_offset(names.get(i))?));
            Ok(Arc::new(build::<Int64Type>(rows, strict_nulls(args), f)?) as ArrayRef)
        }),
        (Func::Timezone, [Interval, TimeTz]) => Box::new(|args, rows| {
            let (spans, a) = (Prim::<IntervalMonthDayNanoType>::of(&args[0])?, Prim::<Int64Type>::of(&args[1])?);
            let f = |i| match super::zones::offset_zone(super::datetime::interval(spans.get(i)))? {
                Zone::Fixed(east) => Ok(rezone(unpack(&a, i), east)),
                _ => Err(SqlError::internal("an interval stands for an offset")),
            };
            Ok(Arc::new(build::<Int64Type>(rows, strict_nulls(args), f)?) as ArrayRef)
        }),
        _ => return Err(unsupported(func, types)),
    })
}

/// The same moment of the day at another offset.
fn rezone(v: TimeTzValue, east: i32) -> i64 {
    let moved = v.micros + (i64::from(east) - i64::from(v.east)) * SECOND;
    TimeTzValue { micros: moved.rem_euclid(DAY), east }.pack()
}

/// The offset of a zone that has one all the year round.
fn fixed_offset(name: &str) -> Result<i32, SqlError> {
    // Two moments of 2024, in winter and in summer.
    const WINTER: i64 = 1_704_067_200;
    const SUMMER: i64 = 1_719_792_000;
    let zone = Zone::by_name(name).ok_or_else(|| unknown_zone(name))?;
    let (winter, summer) = (zone.offset_at(WINTER), zone.offset_at(SUMMER));
    if winter == summer {
        return Ok(winter);
    }
    Err(SqlError::unsupported(format!(
        "the offset of time zone \"{name}\" depends on the date, which a time does not have"
    ))
    .hint("Use a zone with a fixed offset, or a timestamp with time zone."))
}

fn shift(time: usize, span: usize, sign: i64) -> Kernel {
    Box::new(move |args, rows| {
        let (a, spans) = (Prim::<Int64Type>::of(&args[time])?, Prim::<IntervalMonthDayNanoType>::of(&args[span])?);
        let f = |i| {
            let v = unpack(&a, i);
            let moved = v.micros + sign * (spans.get(i).nanoseconds / 1_000 % DAY);
            Ok(TimeTzValue { micros: moved.rem_euclid(DAY), ..v }.pack())
        };
        Ok(Arc::new(build::<Int64Type>(rows, strict_nulls(args), f)?))
    })
}

/// The moment of a date and a timetz.
fn moment(date: usize, time: usize) -> Kernel {
    Box::new(move |args, rows| {
        let (days, a) = (Prim::<Date32Type>::of(&args[date])?, Prim::<Int64Type>::of(&args[time])?);
        let f = |i| {
            let (midnight, v) = (super::cast::date_to_timestamp(days.get(i))?, unpack(&a, i));
            if civil::is_infinite(midnight) {
                return Ok(midnight);
            }
            let utc = i128::from(midnight) + i128::from(v.micros) - i128::from(v.east) * i128::from(SECOND);
            civil::checked_timestamp(utc)
                .ok_or_else(|| SqlError::new(SqlState::DATETIME_OVERFLOW, "date out of range for timestamp"))
        };
        let out = build::<TimestampMicrosecondType>(rows, strict_nulls(args), f)?;
        Ok(super::cast::stamp(out, SqlType::TimestampTz))
    })
}

/// Casts from and to timetz other than by text.
pub(super) fn cast(from: SqlType, to: SqlType) -> Option<Kernel> {
    Some(match (from, to) {
        (SqlType::Time, SqlType::TimeTz) => Box::new(|args, rows| {
            let a = Prim::<Time64MicrosecondType>::of(&args[0])?;
            let f = |i| Ok(TimeTzValue { micros: a.get(i), east: 0 }.pack());
            Ok(Arc::new(build::<Int64Type>(rows, strict_nulls(args), f)?))
        }),
        (SqlType::TimeTz, SqlType::Time) => Box::new(|args, rows| {
            let a = Prim::<Int64Type>::of(&args[0])?;
            let f = |i| Ok(unpack(&a, i).micros);
            Ok(Arc::new(build::<Time64MicrosecondType>(rows, strict_nulls(args), f)?))
        }),
        // The session's zone is UTC.
        (SqlType::TimestampTz, SqlType::TimeTz) => Box::new(|args, rows| {
            let a = Prim::<TimestampMicrosecondType>::of(&args[0])?;
            let f = |i| {
                let v = a.get(i);
                let time = TimeTzValue { micros: v.rem_euclid(DAY), east: 0 };
                Ok((!civil::is_infinite(v)).then(|| time.pack()))
            };
            Ok(Arc::new(build_opt::<Int64Type>(rows, strict_nulls(args), f)?))
        }),
        _ => return None,
    })
}
