//! Reading dates and times, as PostgreSQL with `DateStyle` "ISO, MDY": a text is cut into fields by its characters alone
//! ([`lex`]), then each field says what it is by its form and by what is known so far ([`decode`]).
//!
//! What depends on the moment (`now`, `today`, `tomorrow`, `yesterday`) is refused with `0A000`: a value that is read
//! must mean the same whenever the statement or the view is computed.

mod decode;
pub(in crate::text) mod lex;
mod words;

use super::zone::Zone;
use super::{DAY_US, SECOND_US, check_date, check_timestamp, days_from_civil};
use crate::datum::TimeTzValue;
use crate::error::{SqlError, SqlState};
use decode::{Decoded, decode};

/// Why a text is no date or time.
pub(in crate::text) enum Fault {
    /// Not in any form we know: `22007`.
    Syntax,
    /// A field is out of range: `22008`.
    Field,
    /// A month or day is out of range, which another order of them might mend: `22008`.
    MonthOrDay,
    /// A zone is out of range: `22009` in PostgreSQL.
    Zone,
    /// No zone has the name: `22023`.
    UnknownZone(String),
    /// It depends on the moment: `0A000`.
    Moment,
}
pub(in crate::text) type Read<T> = Result<T, Fault>;

/// How the local time that was read relates to UTC.
#[derive(Clone)]
enum InZone {
    Offset(i32),
    Of(Zone),
}

/// µs of a fraction's digits, rounded as PostgreSQL rounds.
pub(in crate::text) fn fraction_us(digits: &str) -> Option<i64> {
    if digits.is_empty() {
        return Some(0);
    }
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction: f64 = format!("0.{digits}").parse().ok()?;
    Some((fraction * 1e6).round_ties_even() as i64)
}

fn read<T>(ty: &str, s: &str, time_only: bool, finish: impl FnOnce(Decoded) -> Read<T>) -> Result<T, SqlError> {
    let result = lex::fields(s).and_then(|fields| decode(&fields, time_only)).and_then(finish);
    result.map_err(|fault| {
        let out_of_range =
            |what: &str| SqlError::new(SqlState::DATETIME_OVERFLOW, format!("{what} out of range: \"{s}\""));
        match fault {
            Fault::Syntax => {
                SqlError::new(SqlState::INVALID_DATETIME, format!("invalid input syntax for type {ty}: \"{s}\""))
            }
            Fault::Field => out_of_range("date/time field value"),
            Fault::MonthOrDay => {
                out_of_range("date/time field value").hint("Perhaps you need a different \"datestyle\" setting.")
            }
            Fault::Zone => {
                SqlError::new(SqlState::new("22009"), format!("time zone displacement out of range: \"{s}\""))
            }
            Fault::UnknownZone(name) => unknown_zone(&name),
            Fault::Moment => SqlError::unsupported(format!(
                "date and time input that depends on the clock is not supported: \"{s}\""
            ))
            .hint("Use current_date or now()."),
        }
    })
}

/// The zone of `make_timestamptz`: an offset with its sign (east of UTC is positive here), or a zone's name.
pub fn zone_or_offset(name: &str) -> Result<Zone, SqlError> {
    let parameter = |message: String| SqlError::new(SqlState::INVALID_PARAMETER, message);
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(parameter(format!("invalid input syntax for type numeric time zone: \"{name}\""))
            .hint("Numeric time zones must have \"-\" or \"+\" as first character."));
    }
    if name.starts_with(['+', '-']) {
        match decode::offset(name) {
            Ok(offset) => return Ok(Zone::Fixed(offset)),
            Err(Fault::Zone) => return Err(parameter(format!("numeric time zone \"{name}\" out of range"))),
            Err(_) => {}
        }
    }
    Zone::by_name(name).ok_or_else(|| unknown_zone(name))
}

/// `22023`: no zone has this name.
pub fn unknown_zone(name: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER, format!("time zone \"{name}\" not recognized"))
}

/// The usual form `yyyy-mm-dd[ hh:mm:ss[.ffffff]][Z|+hh[:mm]]` without detours: days, µs of the day, offset. `None` for
/// every other form, and for what is wrong, which the long way names.
fn plain(s: &str) -> Option<(i64, i64, Option<i32>)> {
    let b = s.as_bytes();
    let two = |at: usize| -> Option<u32> {
        match (b.get(at)?, b.get(at + 1)?) {
            (x @ b'0'..=b'9', y @ b'0'..=b'9') => Some(u32::from(x - b'0') * 10 + u32::from(y - b'0')),
            _ => None,
        }
    };
    let year = (two(0)? * 100 + two(2)?) as i32;
    let (month, day) = (two(5)?, two(8)?);
    let valid = b[4] == b'-' && b[7] == b'-' && year > 0 && (1..=12).contains(&month);
    if !valid || day == 0 || day > super::days_in_month(year, month) {
        return None;
    }
    let days = days_from_civil(year, month, day);
    if b.len() == 10 {
        return Some((days, 0, None));
    }
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    let valid = matches!(b[10], b' ' | b'T') && b[13] == b':' && b[16] == b':';
    if !valid || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (mut at, mut micros) = (19, 0);
    if b.get(at) == Some(&b'.') {
        let digits = b[20..].iter().take_while(|c| c.is_ascii_digit()).count();
        if !(1..=6).contains(&digits) {
            return None;
        }
        micros = b[20..20 + digits].iter().fold(0, |v, c| v * 10 + i64::from(c - b'0')) * 10i64.pow(6 - digits as u32);
        at = 20 + digits;
    }
    let offset = match (b.get(at), b.len() - at) {
        (None, _) => None,
        (Some(b'Z'), 1) => Some(0),
        (Some(sign @ (b'+' | b'-')), length @ (3 | 6)) => {
            let minutes = if length == 6 { two(at + 4).filter(|_| b[at + 3] == b':')? } else { 0 };
            let hours = two(at + 1)?;
            if hours > 15 || minutes > 59 {
                return None;
            }
            let seconds = (hours * 3600 + minutes * 60) as i32;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => return None,
    };
    let time = i64::from(hour * 3600 + minute * 60 + second) * SECOND_US + micros;
    Some((days, time, offset))
}

/// `date` input. A time of day and a zone are read and dropped.
pub fn parse_date(s: &str) -> Result<i32, SqlError> {
    if let Some((days, ..)) = plain(s) {
        return check_date(days);
    }
    let days = read("date", s, false, |found| {
        Ok(match found {
            Decoded::Infinity => return Ok(None),
            Decoded::MinusInfinity => return Ok(Some(i64::MIN)),
            Decoded::Fields(f) => Some(days_from_civil(f.year, f.month, f.day)),
        })
    })?;
    match days {
        None => Ok(i32::MAX),
        Some(i64::MIN) => Ok(i32::MIN),
        Some(days) => check_date(days)
            .map_err(|_| SqlError::new(SqlState::DATETIME_OVERFLOW, format!("date out of range: \"{s}\""))),
    }
}

/// `time` input. A date and a zone are read and dropped.
pub fn parse_time(s: &str) -> Result<i64, SqlError> {
    read("time", s, true, |found| match found {
        Decoded::Fields(f) => Ok(f.time_us),
        _ => Err(Fault::Syntax),
    })
}

/// `timetz` input, packed. Without a zone it is in UTC; a zone whose offset changes needs a date beside it.
pub fn parse_timetz(s: &str) -> Result<i64, SqlError> {
    let value = read("time with time zone", s, true, |found| match found {
        Decoded::Fields(f) => {
            let east = match f.zone {
                None => 0,
                Some(InZone::Offset(offset)) => offset,
                Some(InZone::Of(zone)) => {
                    let days = days_from_civil(f.year, f.month, f.day);
                    zone.offset_of_local(days * 86_400 + f.time_us / SECOND_US)
                }
            };
            Ok(TimeTzValue { micros: f.time_us, east })
        }
        _ => Err(Fault::Syntax),
    })?;
    Ok(value.pack())
}

/// The local µs since 1970-01-01 and the zone; `Err` is an infinite value.
fn timestamp(ty: &str, s: &str) -> Result<Result<(i128, Option<InZone>), i64>, SqlError> {
    if let Some((days, time, offset)) = plain(s) {
        let local = i128::from(days) * i128::from(DAY_US) + i128::from(time);
        return Ok(Ok((local, offset.map(InZone::Offset))));
    }
    read(ty, s, false, |found| {
        Ok(match found {
            Decoded::Infinity => Err(i64::MAX),
            Decoded::MinusInfinity => Err(i64::MIN),
            Decoded::Fields(f) => {
                let days = i128::from(days_from_civil(f.year, f.month, f.day));
                Ok((days * i128::from(DAY_US) + i128::from(f.time_us), f.zone))
            }
        })
    })
}

fn timestamp_range(s: &str, micros: i128) -> Result<i64, SqlError> {
    check_timestamp(micros)
        .map_err(|_| SqlError::new(SqlState::DATETIME_OVERFLOW, format!("timestamp out of range: \"{s}\"")))
}

/// `timestamp` input. A zone is read and dropped.
pub fn parse_timestamp(s: &str) -> Result<i64, SqlError> {
    match timestamp("timestamp", s)? {
        Ok((local, _)) => timestamp_range(s, local),
        Err(infinite) => Ok(infinite),
    }
}

/// `timestamptz` input. Without a zone it is in UTC.
pub fn parse_timestamptz(s: &str) -> Result<i64, SqlError> {
    let (local, zone) = match timestamp("timestamp with time zone", s)? {
        Ok(found) => found,
        Err(infinite) => return Ok(infinite),
    };
    let offset = match zone {
        None => 0,
        Some(InZone::Offset(offset)) => offset,
        Some(InZone::Of(zone)) => {
            let seconds = local.div_euclid(i128::from(SECOND_US));
            zone.offset_of_local(i64::try_from(seconds).unwrap_or(i64::MAX / 2))
        }
    };
    timestamp_range(s, local - i128::from(offset) * i128::from(SECOND_US))
}
