//! date, time, timestamp and timestamptz: ISO output, and the input forms that `DateStyle` "ISO, MDY" takes.
//!
//! The calendar is the proleptic Gregorian one, year 0 is 1 BC. The greatest and the least value of a date or a timestamp are
//! `infinity` and `-infinity`. What depends on the clock (`now`, `today`) is refused.

use crate::datum::TimeTzValue;
use crate::error::{SqlError, SqlState};
use std::fmt::Write;

pub(super) mod input;
pub mod zone;

pub use input::{
    parse_date, parse_time, parse_timestamp, parse_timestamptz, parse_timetz, unknown_zone, zone_or_offset,
};

/// µs of a second.
pub const SECOND_US: i64 = 1_000_000;
/// µs of a day.
pub const DAY_US: i64 = 86_400 * SECOND_US;
/// 4714-11-24 BC, PostgreSQL's first day.
const DATE_MIN: i32 = -2_440_588;
/// 5874897-12-31, PostgreSQL's last day.
const DATE_MAX: i32 = 2_145_042_905;
/// 294247-01-10, the first day that µs since 1970 do not reach the end of. PostgreSQL, which counts from 2000, ends 30
/// years later.
const TIMESTAMP_END: i64 = 106_751_991 * DAY_US;

/// Days since 1970-01-01 of a day of the proleptic Gregorian calendar. The month is 1 to 12.
pub fn days_from_civil(year: i32, month: u32, day: u32) -> i64 {
    // Years that begin in March put the leap day at their end.
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a day since 1970-01-01.
pub fn civil_from_days(days: i64) -> (i32, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year as i32, month as u32, day as u32)
}

/// Days of a month.
pub fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// `22008` unless PostgreSQL has the day.
pub fn check_date(days: i64) -> Result<i32, SqlError> {
    i32::try_from(days)
        .ok()
        .filter(|d| (DATE_MIN..=DATE_MAX).contains(d))
        .ok_or_else(|| SqlError::new(SqlState::DATETIME_OVERFLOW, "date out of range"))
}

/// `22008` unless PostgreSQL has the instant and 64 bits hold it.
pub fn check_timestamp(micros: i128) -> Result<i64, SqlError> {
    i64::try_from(micros)
        .ok()
        .filter(|t| (i64::from(DATE_MIN) * DAY_US..TIMESTAMP_END).contains(t))
        .ok_or_else(|| SqlError::new(SqlState::DATETIME_OVERFLOW, "timestamp out of range"))
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string does not fail");
}

fn two(v: i64, out: &mut String) {
    out.push((b'0' + (v / 10 % 10) as u8) as char);
    out.push((b'0' + (v % 10) as u8) as char);
}

/// Writes year, month and day; true where the year is before Christ.
fn write_day(days: i64, out: &mut String) -> bool {
    let (year, month, day) = civil_from_days(days);
    let bc = year <= 0;
    let shown = if bc { 1 - year } else { year };
    put(out, format_args!("{shown:04}-"));
    two(month.into(), out);
    out.push('-');
    two(day.into(), out);
    bc
}

/// Appends `.ffffff` without trailing zeros, nothing for 0. `micros` is below a second.
pub(super) fn write_fraction(micros: i64, out: &mut String) {
    if micros != 0 {
        put(out, format_args!(".{micros:06}"));
        out.truncate(out.trim_end_matches('0').len());
    }
}

/// The word for a value that is infinite.
fn write_infinite(greatest: bool, out: &mut String) {
    out.push_str(if greatest { "infinity" } else { "-infinity" });
}

/// Appends a date.
pub fn write_date(days: i32, out: &mut String) {
    if matches!(days, i32::MAX | i32::MIN) {
        return write_infinite(days == i32::MAX, out);
    }
    if write_day(days.into(), out) {
        out.push_str(" BC");
    }
}

/// Appends a time of day, or 24:00:00.
pub fn write_time(micros: i64, out: &mut String) {
    let seconds = micros / SECOND_US;
    two(seconds / 3600, out);
    out.push(':');
    two(seconds / 60 % 60, out);
    out.push(':');
    two(seconds % 60, out);
    write_fraction(micros % SECOND_US, out);
}

/// Appends a timestamp.
pub fn write_timestamp(micros: i64, out: &mut String) {
    if matches!(micros, i64::MAX | i64::MIN) {
        return write_infinite(micros == i64::MAX, out);
    }
    let bc = write_day(micros.div_euclid(DAY_US), out);
    out.push(' ');
    write_time(micros.rem_euclid(DAY_US), out);
    if bc {
        out.push_str(" BC");
    }
}

/// Appends an instant as the clock shows it `offset_s` seconds east of UTC, and the offset.
pub fn write_timestamptz(micros: i64, offset_s: i32, out: &mut String) {
    if matches!(micros, i64::MAX | i64::MIN) {
        return write_infinite(micros == i64::MAX, out);
    }
    let local = micros.saturating_add(i64::from(offset_s) * SECOND_US);
    let bc = write_day(local.div_euclid(DAY_US), out);
    out.push(' ');
    write_time(local.rem_euclid(DAY_US), out);
    write_offset(offset_s, out);
    if bc {
        out.push_str(" BC");
    }
}

/// Appends an offset in seconds east of UTC, minutes and seconds only where there are some.
fn write_offset(offset_s: i32, out: &mut String) {
    out.push(if offset_s < 0 { '-' } else { '+' });
    let offset = i64::from(offset_s.abs());
    two(offset / 3600, out);
    if offset % 3600 != 0 {
        out.push(':');
        two(offset / 60 % 60, out);
    }
    if offset % 60 != 0 {
        out.push(':');
        two(offset % 60, out);
    }
}

/// Appends a packed timetz (see [`TimeTzValue`]).
pub fn write_timetz(packed: i64, out: &mut String) {
    let v = TimeTzValue::unpack(packed);
    write_time(v.micros, out);
    write_offset(v.east, out);
}
