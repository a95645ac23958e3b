//! Functions that make, compare and straighten dates, times and intervals: `make_*`, `age`, `justify_*`, `isfinite`,
//! `overlaps`, `date_larger` and its kin.

use super::cast::stamp;
use super::datetime::{interval, interval_out};
use super::string::Str;
use super::{Kernel, Prim, build, compare, out_of_range, unsupported};
use crate::civil::{self, DAY, HOUR, MINUTE, SECOND};
use crate::value::{Val, strict_nulls};
use arrow::array::{Array, ArrayRef, BooleanArray, BooleanBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{
    Date32Type, Float64Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use hw_plan::Func;
use hw_repr::datum::IntervalValue;
use hw_repr::text::datetime::zone_or_offset;
use hw_repr::{SqlError, SqlState, SqlType};
use std::sync::Arc;

type Ints<'a> = Prim<'a, Int32Type>;
type Floats<'a> = Prim<'a, Float64Type>;
type Stamps<'a> = Prim<'a, TimestampMicrosecondType>;
type Spans<'a> = Prim<'a, IntervalMonthDayNanoType>;

fn overflow(message: String) -> SqlError {
    SqlError::new(SqlState::DATETIME_OVERFLOW, message)
}

/// The kernel of one of these functions.
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    use SqlType::*;
    Ok(match (func, types) {
        (Func::MakeDate, [_, _, _]) => Box::new(|args, rows| {
            let part = parts(args, 3)?;
            let f = |i| Ok(make_day(part[0].get(i), part[1].get(i), part[2].get(i))? as i32);
            Ok(Arc::new(build::<Date32Type>(rows, strict_nulls(args), f)?))
        }),
        (Func::MakeTime, [_, _, Float8]) => Box::new(|args, rows| {
            let (part, seconds) = (parts(args, 2)?, Floats::of(&args[2])?);
            let f = |i| make_clock(part[0].get(i), part[1].get(i), seconds.get(i));
            Ok(Arc::new(build::<Time64MicrosecondType>(rows, strict_nulls(args), f)?))
        }),
        (Func::MakeTimestamp | Func::MakeTimestampTz, [_, _, _, _, _, Float8, ..]) => {
            Box::new(move |args, rows| make_timestamp(func, args, rows))
        }
        (Func::MakeInterval, _) => Box::new(make_interval),
        (Func::Age, [Timestamp | TimestampTz, _]) => Box::new(|args, rows| {
            let (a, b) = (Stamps::of(&args[0])?, Stamps::of(&args[1])?);
            Ok(Arc::new(build::<IntervalMonthDayNanoType>(rows, strict_nulls(args), |i| age(a.get(i), b.get(i)))?))
        }),
        (Func::JustifyHours | Func::JustifyDays | Func::JustifyInterval, [Interval]) => Box::new(move |args, rows| {
            let a = Spans::of(&args[0])?;
            let f = |i| justify(func, interval(a.get(i)));
            Ok(Arc::new(build::<IntervalMonthDayNanoType>(rows, strict_nulls(args), f)?))
        }),
        (Func::IsFinite, [ty]) => {
            let ty = *ty;
            Box::new(move |args, rows| is_finite(ty, args, rows))
        }
        (Func::Overlaps, [_, _, _, _]) => {
            let types = types.to_vec();
            Box::new(move |args, rows| overlaps(&types, args, rows))
        }
        (larger, [a, b]) if a == b => {
            let choice = match larger {
                Func::DateLarger
                | Func::TimeLarger
                | Func::TimestampLarger
                | Func::TimestampTzLarger
                | Func::IntervalLarger => Func::Greatest,
                _ => Func::Least,
            };
            compare::choice_kernel(choice, types).map(|inner| strict(inner))?
        }
        _ => return Err(unsupported(func, types)),
    })
}

/// The kernel, NULL where an argument is NULL.
fn strict(inner: Kernel) -> Kernel {
    Box::new(move |args, rows| {
        let out = inner(args, rows)?;
        match strict_nulls(args) {
            None => Ok(out),
            Some(nulls) => {
                let null = BooleanArray::new(!nulls.inner(), None);
                arrow::compute::nullif(&out, &null).map_err(crate::value::internal)
            }
        }
    })
}

fn parts(args: &[Val], count: usize) -> Result<Vec<Ints<'_>>, SqlError> {
    args[..count].iter().map(Ints::of).collect()
}

/// Days since 1970; a negative year is before Christ.
fn make_day(year: i32, month: i32, day: i32) -> Result<i64, SqlError> {
    let (y, m, d) = (i64::from(if year < 0 { year.saturating_add(1) } else { year }), month.into(), day.into());
    if year == 0 || !(1..=12).contains(&m) || !(1..=civil::month_days(y, m)).contains(&d) {
        return Err(overflow(format!("date field value out of range: {year}-{month:02}-{day:02}")));
    }
    let days = civil::days_from_civil(y, m, d);
    match (civil::DATE_MIN..civil::DATE_END).contains(&days) {
        true => Ok(days),
        false => Err(overflow(format!("date out of range: {year}-{month:02}-{day:02}"))),
    }
}

/// µs since midnight, up to 24:00; 60 seconds are the next minute.
fn make_clock(hour: i32, minute: i32, second: f64) -> Result<i64, SqlError> {
    let micros = (second * SECOND as f64).round_ties_even();
    let fits = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=MINUTE as f64).contains(&micros);
    let time = i64::from(hour) * HOUR + i64::from(minute) * MINUTE + if fits { micros as i64 } else { 0 };
    match fits && time <= DAY && second >= 0.0 {
        true => Ok(time),
        false => Err(overflow(format!("time field value out of range: {hour}:{minute:02}:{second:02}"))),
    }
}

fn make_timestamp(func: Func, args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (part, seconds) = (parts(args, 5)?, Floats::of(&args[5])?);
    let zone = args.get(6).map(Str::of).transpose()?;
    let f = |i: usize| {
        let day = make_day(part[0].get(i), part[1].get(i), part[2].get(i))?;
        let time = make_clock(part[3].get(i), part[4].get(i), seconds.get(i))?;
        let local = i128::from(day) * i128::from(DAY) + i128::from(time);
        let offset = match &zone {
            None => 0,
            Some(names) => {
                let seconds = local.div_euclid(i128::from(SECOND));
                zone_or_offset(names.get(i))?.offset_of_local(i64::try_from(seconds).unwrap_or(i64::MAX / 2))
            }
        };
        let micros = local - i128::from(offset) * i128::from(SECOND);
        civil::checked_timestamp(micros).ok_or_else(|| out_of_range(SqlType::Timestamp))
    };
    let ty = if func == Func::MakeTimestamp { SqlType::Timestamp } else { SqlType::TimestampTz };
    Ok(stamp(build::<TimestampMicrosecondType>(rows, strict_nulls(args), f)?, ty))
}

/// Years, months, weeks, days, hours, minutes, seconds; what is not given is 0.
fn make_interval(args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let whole = parts(args, args.len().min(6))?;
    let seconds = args.get(6).map(Floats::of).transpose()?;
    let f = |i: usize| {
        let part = |at: usize| whole.get(at).map_or(0, |p| i64::from(p.get(i)));
        let seconds = seconds.as_ref().map_or(0.0, |s| s.get(i));
        let micros = (seconds * SECOND as f64).round_ties_even();
        if !micros.is_finite() || micros.abs() >= 9.2e18 {
            return Err(out_of_range(SqlType::Interval));
        }
        let time = i128::from(part(4)) * i128::from(HOUR) + i128::from(part(5)) * i128::from(MINUTE);
        interval_out(part(0) * 12 + part(1), part(2) * 7 + part(3), time + micros as i128)
    };
    Ok(Arc::new(build::<IntervalMonthDayNanoType>(rows, strict_nulls(args), f)?))
}

/// Years, months, days and time between two moments, as one counts on a calendar: a borrowed month has the days of the
/// month that the earlier moment is in.
fn age(a: i64, b: i64) -> Result<IntervalMonthDayNano, SqlError> {
    if a == b {
        return interval_out(0, 0, 0);
    }
    if a == i64::MIN || b == i64::MIN {
        return Err(out_of_range(SqlType::Timestamp));
    }
    let (later, earlier) = (a.max(b), a.min(b));
    let part = |ts: i64| {
        // PostgreSQL 15 counts `infinity` as the last moment that its 64 bits hold.
        let exact = i128::from(ts) + if ts == i64::MAX { 946_684_800 * i128::from(SECOND) } else { 0 };
        let days = exact.div_euclid(i128::from(DAY)) as i64;
        (civil::civil_from_days(days), exact.rem_euclid(i128::from(DAY)) as i64)
    };
    let (((y1, m1, d1), t1), ((y2, m2, d2), t2)) = (part(later), part(earlier));
    let (mut months, mut days, mut time) = (y1 * 12 + m1 - y2 * 12 - m2, d1 - d2, t1 - t2);
    if time < 0 {
        (time, days) = (time + DAY, days - 1);
    }
    while days < 0 {
        (days, months) = (days + civil::month_days(y2, m2), months - 1);
    }
    let sign = if a < b { -1 } else { 1 };
    interval_out(sign * months, sign * days, i128::from(sign * time))
}

/// Moves whole days out of the time, whole months out of the days, and gives all parts one sign.
fn justify(func: Func, v: IntervalValue) -> Result<IntervalMonthDayNano, SqlError> {
    let (mut months, mut days, mut time) = (i64::from(v.months), i64::from(v.days), v.micros);
    if func != Func::JustifyDays {
        (days, time) = (days + time / DAY, time % DAY);
    }
    if func != Func::JustifyHours {
        (months, days) = (months + days / 30, days % 30);
    }
    if func != Func::JustifyHours {
        let below = func == Func::JustifyInterval && days == 0;
        if months > 0 && (days < 0 || below && time < 0) {
            (months, days) = (months - 1, days + 30);
        } else if months < 0 && (days > 0 || below && time > 0) {
            (months, days) = (months + 1, days - 30);
        }
    }
    if func != Func::JustifyDays {
        if days > 0 && time < 0 {
            (days, time) = (days - 1, time + DAY);
        } else if days < 0 && time > 0 {
            (days, time) = (days + 1, time - DAY);
        }
    }
    interval_out(months, days, time.into())
}

fn is_finite(ty: SqlType, args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let bits = match ty {
        SqlType::Date => {
            let a = Prim::<Date32Type>::of(&args[0])?;
            BooleanBuffer::collect_bool(rows, |i| !matches!(a.get(i), i32::MAX | i32::MIN))
        }
        SqlType::Interval => BooleanBuffer::new_set(rows),
        _ => {
            let a = Stamps::of(&args[0])?;
            BooleanBuffer::collect_bool(rows, |i| !civil::is_infinite(a.get(i)))
        }
    };
    Ok(Arc::new(BooleanArray::new(bits, strict_nulls(args))))
}

/// The values of a column of times or timestamps, NULL as `None`.
fn moments(v: &Val, ty: SqlType, rows: usize) -> Result<Vec<Option<i64>>, SqlError> {
    let valid = |i: usize| v.array().is_valid(i & v.mask());
    Ok(match ty {
        SqlType::Time => {
            let a = Prim::<Time64MicrosecondType>::of(v)?;
            (0..rows).map(|i| valid(i).then(|| a.get(i))).collect()
        }
        _ => {
            let a = Stamps::of(v)?;
            (0..rows).map(|i| valid(i).then(|| a.get(i))).collect()
        }
    })
}

/// The ends of a period: the second argument, or the first and the second where that is an interval.
fn ends(types: &[SqlType], args: &[Val], rows: usize) -> Result<Vec<Option<i64>>, SqlError> {
    if types[1] != SqlType::Interval {
        return moments(&args[1], types[1], rows);
    }
    let (starts, length) = (moments(&args[0], types[0], rows)?, Spans::of(&args[1])?);
    let valid = |i: usize| args[1].array().is_valid(i & args[1].mask());
    let add = |(i, start): (usize, Option<i64>)| match start.filter(|_| valid(i)) {
        None => Ok(None),
        Some(start) if types[0] == SqlType::Time => {
            let sum = i128::from(start) + i128::from(interval(length.get(i)).micros);
            Ok(Some(sum.rem_euclid(i128::from(DAY)) as i64))
        }
        Some(start) => {
            let sum = civil::add_interval(start, interval(length.get(i)));
            sum.map(Some).ok_or_else(|| out_of_range(SqlType::Timestamp))
        }
    };
    starts.into_iter().enumerate().map(add).collect()
}

fn overlaps(types: &[SqlType], args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (a, b) = (moments(&args[0], types[0], rows)?, ends(&types[..2], &args[..2], rows)?);
    let (c, d) = (moments(&args[2], types[2], rows)?, ends(&types[2..], &args[2..], rows)?);
    let mut out = BooleanBuilder::with_capacity(rows);
    for row in 0..rows {
        out.append_option(overlap((a[row], b[row]), (c[row], d[row])));
    }
    Ok(Arc::new(out.finish()))
}

/// SQL's OVERLAPS: the ends come in any order, a period includes its start and not its end, unless they are one moment.
fn overlap(a: (Option<i64>, Option<i64>), b: (Option<i64>, Option<i64>)) -> Option<bool> {
    let ordered = |(start, end): (Option<i64>, Option<i64>)| match (start, end) {
        (Some(s), Some(e)) => Some((s.min(e), Some(s.max(e)))),
        (one, other) => one.or(other).map(|s| (s, None)),
    };
    let ((start_a, end_a), (start_b, end_b)) = (ordered(a)?, ordered(b)?);
    if start_a == start_b {
        return (end_a.is_some() && end_b.is_some()).then_some(true);
    }
    let (later, end_later, end_earlier) =
        if start_a > start_b { (start_a, end_a, end_b) } else { (start_b, end_b, end_a) };
    if later < end_earlier? {
        return Some(true);
    }
    end_later.map(|_| false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_overlap_as_sql_says() {
        assert_eq!(overlap((Some(1), Some(5)), (Some(5), Some(9))), Some(false));
        assert_eq!(overlap((Some(5), Some(1)), (Some(4), Some(9))), Some(true));
        assert_eq!(overlap((Some(1), None), (Some(0), Some(9))), Some(true));
        assert_eq!(overlap((Some(1), Some(9)), (Some(4), None)), Some(true));
        assert_eq!(overlap((Some(1), Some(2)), (Some(4), None)), None);
        assert_eq!(overlap((Some(4), Some(4)), (Some(4), Some(4))), Some(true));
        assert_eq!(overlap((None, None), (Some(4), Some(4))), None);
    }
}
