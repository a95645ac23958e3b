//! One JSON value to one SQL value, as PostgreSQL would read it.
//!
//! String: the type's PostgreSQL input function. Number: numeric types (integers need a zero fraction), epoch
//! milliseconds for date/time types. true and false: boolean. Object or array: jsonb, or its text. A number, true or
//! false given for jsonb is that JSON scalar. Everything else does not convert.
//!
//! The common cases are written out here; all others go through [`hw_repr::text::parse`].

use super::scan::{Kind, Span, unescape};
use hw_repr::datum::IntervalValue;
use hw_repr::numeric::Numeric;
use hw_repr::{Datum, SqlType, text};
use std::ops::Range;

/// A converted value, waiting until the whole message is known to be good.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// NULL.
    Null,
    /// boolean
    Bool(bool),
    /// Integers, dates (days), times and timestamps (µs).
    Int(i64),
    /// real and double precision
    Float(f64),
    /// numeric(p,s), scaled to s
    Decimal(i128),
    /// bare numeric
    Numeric(Numeric),
    /// Text that stands in the message.
    Message(Range<usize>),
    /// Text or bytes that were made, in the scratch buffer.
    Scratch(Range<usize>),
    /// interval
    Interval(IntervalValue),
    /// uuid
    Uuid([u8; 16]),
}

/// Converts the value at `span` of `message` to `ty`; made text and bytes are appended to `scratch`.
pub fn convert(ty: SqlType, message: &str, span: Span, scratch: &mut Vec<u8>) -> Result<Cell, String> {
    let raw = &message[span.range()];
    match span.kind {
        Kind::Missing | Kind::Null => Ok(Cell::Null),
        Kind::True | Kind::False => match ty {
            SqlType::Bool => Ok(Cell::Bool(span.kind == Kind::True)),
            SqlType::Jsonb | SqlType::Json => Ok(Cell::Message(span.range())),
            _ => Err(mismatch("a boolean", ty)),
        },
        Kind::Number if ty == SqlType::Json => Ok(Cell::Message(span.range())),
        Kind::Number => convert_number(ty, raw, scratch),
        Kind::Nested => match ty {
            SqlType::Jsonb => canonical(raw, scratch),
            SqlType::Text | SqlType::Json => Ok(Cell::Message(span.range())),
            SqlType::Varchar(_) => convert_string(ty, raw, span.range(), scratch),
            _ => Err(mismatch("an object or array", ty)),
        },
        Kind::Plain => convert_string(ty, raw, span.range(), scratch),
        Kind::Escaped => {
            let start = scratch.len();
            unescape(raw, scratch).map_err(str::to_string)?;
            let made = start..scratch.len();
            match ty {
                SqlType::Text | SqlType::Varchar(None) => Ok(Cell::Scratch(made)),
                _ => {
                    let text = String::from_utf8_lossy(&scratch[made.clone()]).into_owned();
                    match convert_string(ty, &text, made.clone(), scratch)? {
                        Cell::Message(_) => Ok(Cell::Scratch(made)),
                        cell => Ok(cell),
                    }
                }
            }
        }
    }
}

fn mismatch(what: &str, ty: SqlType) -> String {
    format!("{what} does not convert to type {ty}")
}

fn keep(bytes: &[u8], scratch: &mut Vec<u8>) -> Cell {
    let start = scratch.len();
    scratch.extend_from_slice(bytes);
    Cell::Scratch(start..scratch.len())
}

fn canonical(raw: &str, scratch: &mut Vec<u8>) -> Result<Cell, String> {
    let text = text::jsonb_canonical(raw).map_err(|e| e.message)?;
    Ok(keep(text.as_bytes(), scratch))
}

/// `range` is where `s` stands in the message.
fn convert_string(ty: SqlType, s: &str, range: Range<usize>, scratch: &mut Vec<u8>) -> Result<Cell, String> {
    match ty {
        SqlType::Text | SqlType::Varchar(None) => return Ok(Cell::Message(range)),
        SqlType::Varchar(Some(n)) if s.len() <= n as usize => return Ok(Cell::Message(range)),
        SqlType::Timestamp | SqlType::TimestampTz => {
            if let Some(micros) = iso_timestamp(s.as_bytes()) {
                return Ok(Cell::Int(micros));
            }
        }
        _ => (),
    }
    let datum = text::parse(ty, s).map_err(|e| e.message)?;
    cell(ty, datum, scratch)
}

fn cell(ty: SqlType, datum: Datum, scratch: &mut Vec<u8>) -> Result<Cell, String> {
    Ok(match datum {
        Datum::Null => Cell::Null,
        Datum::Bool(v) => Cell::Bool(v),
        Datum::Int2(v) => Cell::Int(v.into()),
        Datum::Int4(v) | Datum::Date(v) => Cell::Int(v.into()),
        Datum::Int8(v) | Datum::Time(v) | Datum::Timestamp(v) | Datum::TimestampTz(v) => Cell::Int(v),
        Datum::Float4(v) | Datum::Float8(v) => Cell::Float(v.0),
        Datum::Numeric(v) => return numeric_cell(ty, v),
        Datum::Text(v) | Datum::Jsonb(v) => keep(v.as_bytes(), scratch),
        Datum::Bytea(v) => keep(&v, scratch),
        Datum::Interval(v) => Cell::Interval(v),
        Datum::Uuid(v) => Cell::Uuid(v),
        Datum::TimeTz(v) => Cell::Int(v),
        Datum::Enum(v) => keep(&v.to_bytes(), scratch),
        Datum::Row(v) => keep(&v.to_bytes().map_err(|e| e.message)?, scratch),
        Datum::Array(v) => keep(&v.to_bytes().map_err(|e| e.message)?, scratch),
    })
}

fn convert_number(ty: SqlType, raw: &str, scratch: &mut Vec<u8>) -> Result<Cell, String> {
    let out_of_range = || format!("value \"{raw}\" is out of range for type {ty}");
    match ty {
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 => {
            let v = integer(raw).map_err(|e| match e {
                NotInteger::Fraction => format!("value \"{raw}\" has a fraction, type {ty} has none"),
                NotInteger::OutOfRange => out_of_range(),
            })?;
            let fits = match ty {
                SqlType::Int2 => i16::try_from(v).is_ok(),
                SqlType::Int4 => i32::try_from(v).is_ok(),
                _ => true,
            };
            if fits { Ok(Cell::Int(v)) } else { Err(out_of_range()) }
        }
        SqlType::Float4 | SqlType::Float8 => float(ty, raw).map(Cell::Float).ok_or_else(out_of_range),
        SqlType::Numeric(_) => match simple_decimal(raw) {
            Some(v) => numeric_cell(ty, v),
            None => cell(ty, text::parse(ty, raw).map_err(|e| e.message)?, scratch),
        },
        SqlType::Date | SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz => {
            epoch(ty, raw).map(Cell::Int).ok_or_else(out_of_range)
        }
        SqlType::Jsonb => canonical(raw, scratch),
        _ => Err(mismatch("a number", ty)),
    }
}

enum NotInteger {
    Fraction,
    OutOfRange,
}

/// The integer that a JSON number is. `1.0` and `1e3` are integers.
fn integer(raw: &str) -> Result<i64, NotInteger> {
    if raw.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        return raw.parse().map_err(|_| NotInteger::OutOfRange);
    }
    let (mantissa, exponent) = raw.split_once(['e', 'E']).unwrap_or((raw, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let negative = whole.starts_with('-');
    let digits: Vec<u8> = whole.trim_start_matches('-').bytes().chain(fraction.bytes()).map(|b| b - b'0').collect();
    if digits.iter().all(|d| *d == 0) {
        return Ok(0);
    }
    // An exponent beyond i64 is beyond every integer, or below every fraction.
    let Ok(exponent) = exponent.trim_start_matches('+').parse::<i64>() else {
        return Err(if exponent.starts_with('-') { NotInteger::Fraction } else { NotInteger::OutOfRange });
    };
    let point = (whole.len() - usize::from(negative)) as i64;
    let Some(point) = point.checked_add(exponent) else { return Err(NotInteger::OutOfRange) };
    let significant = digits.iter().rposition(|d| *d != 0).map_or(0, |i| i as i64 + 1);
    if significant > point {
        return Err(NotInteger::Fraction);
    }
    let mut v: i128 = 0;
    for i in 0..point {
        let digit = usize::try_from(i).ok().and_then(|i| digits.get(i)).copied().unwrap_or(0);
        v = v * 10 + i128::from(digit);
        if v > i128::from(i64::MAX) + 1 {
            return Err(NotInteger::OutOfRange);
        }
    }
    i64::try_from(if negative { -v } else { v }).map_err(|_| NotInteger::OutOfRange)
}

/// As PostgreSQL: overflow to infinity and underflow to zero are errors.
fn float(ty: SqlType, raw: &str) -> Option<f64> {
    let v = match ty {
        SqlType::Float4 => f64::from(raw.parse::<f32>().ok()?),
        _ => raw.parse::<f64>().ok()?,
    };
    let mantissa = raw.split(['e', 'E']).next().unwrap_or_default();
    let is_zero = !mantissa.bytes().any(|b| matches!(b, b'1'..=b'9'));
    (v.is_finite() && (v != 0.0 || is_zero)).then_some(v)
}

/// A number of at most 38 digits without an exponent.
fn simple_decimal(raw: &str) -> Option<Numeric> {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    if digits.len() > 38 {
        return None;
    }
    let (mut value, mut scale, mut point) = (0i128, 0u8, false);
    for b in digits.bytes() {
        match b {
            b'.' => point = true,
            b'0'..=b'9' => {
                value = value * 10 + i128::from(b - b'0');
                scale += u8::from(point);
            }
            _ => return None,
        }
    }
    Some(Numeric::small(if raw.starts_with('-') { -value } else { value }, scale))
}

/// Scales to the declared precision and scale, rounding half away from zero.
fn numeric_cell(ty: SqlType, v: Numeric) -> Result<Cell, String> {
    let SqlType::Numeric(Some((precision, scale))) = ty else { return Ok(Cell::Numeric(v)) };
    let overflow = || format!("numeric field overflow: the value does not fit {ty}");
    let Numeric::Small { value: digits, scale: own } = v else {
        return v.to_decimal(precision, scale).map(Cell::Decimal).map_err(|_| overflow());
    };
    let shift = i32::from(scale) - i32::from(own);
    let power = 10i128.checked_pow(shift.unsigned_abs());
    let value = if shift >= 0 {
        match power.and_then(|p| digits.checked_mul(p)) {
            Some(value) => value,
            None if digits == 0 => 0,
            None => return Err(overflow()),
        }
    } else {
        match power {
            Some(p) => {
                let rest = (digits % p).abs();
                digits / p + if rest >= p - rest { digits.signum() } else { 0 }
            }
            None => 0,
        }
    };
    let limit = 10i128.checked_pow(precision.into()).ok_or_else(overflow)?;
    if value.abs() >= limit { Err(overflow()) } else { Ok(Cell::Decimal(value)) }
}

/// Epoch milliseconds to the unit of a date/time type.
fn epoch(ty: SqlType, raw: &str) -> Option<i64> {
    let micros = match raw.parse::<i64>() {
        Ok(ms) => ms.checked_mul(1000)?,
        Err(_) => {
            let micros = raw.parse::<f64>().ok()? * 1000.0;
            // Beyond 2^63 the cast would saturate.
            (micros.abs() < 9.2e18).then(|| micros.round() as i64)?
        }
    };
    const DAY: i64 = 86_400_000_000;
    // PostgreSQL's range begins at 4713-11-24 BC.
    const FIRST: i64 = -210_866_803_200_000_000;
    match ty {
        SqlType::Date => (micros >= FIRST).then(|| micros.div_euclid(DAY)),
        SqlType::Time => Some(micros.rem_euclid(DAY)),
        _ => (micros >= FIRST).then_some(micros),
    }
}

/// `YYYY-MM-DD hh:mm:ss[.ffffff][Z]`, with `T` or a space: the form nearly every producer writes. Anything else,
/// out-of-range fields included, is left to the full parser.
fn iso_timestamp(s: &[u8]) -> Option<i64> {
    let s = s.strip_suffix(b"Z").unwrap_or(s);
    if s.len() < 19 || s.len() > 26 || s.len() == 20 || s[4] != b'-' || s[7] != b'-' || s[13] != b':' || s[16] != b':' {
        return None;
    }
    if !matches!(s[10], b'T' | b' ') {
        return None;
    }
    let number = |range: Range<usize>| {
        s[range].iter().try_fold(0i64, |v, b| b.is_ascii_digit().then(|| v * 10 + i64::from(b - b'0')))
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year == 0 || !(1..=last).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut fraction = 0;
    if s.len() > 19 {
        if s[19] != b'.' {
            return None;
        }
        fraction = number(20..s.len())? * 10i64.pow(26 - s.len() as u32);
    }
    let days = days_from_civil(year, month, day);
    Some(((days * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000 + fraction)
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = year - i64::from(month <= 2);
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_need_a_zero_fraction() {
        for (raw, want) in [("1", 1), ("-1.0", -1), ("1e3", 1000), ("1200e-2", 12), ("0.0e99", 0), ("1.25e2", 125)] {
            assert_eq!(integer(raw).ok(), Some(want), "{raw}");
        }
        assert_eq!(integer("-9223372036854775808").ok(), Some(i64::MIN));
        assert_eq!(integer("9223372036854775807.0").ok(), Some(i64::MAX));
        assert!(matches!(integer("1.5"), Err(NotInteger::Fraction)));
        assert!(matches!(integer("1e-1"), Err(NotInteger::Fraction)));
        assert!(matches!(integer("1e-99999999999999999999"), Err(NotInteger::Fraction)));
        assert!(matches!(integer("9223372036854775808"), Err(NotInteger::OutOfRange)));
        assert!(matches!(integer("1e99999999999"), Err(NotInteger::OutOfRange)));
        assert!(matches!(integer("1e999999999999999999999"), Err(NotInteger::OutOfRange)));
    }

    #[test]
    fn decimals_round_half_away_from_zero() {
        let ty = SqlType::Numeric(Some((5, 2)));
        let get = |raw| numeric_cell(ty, simple_decimal(raw).unwrap());
        assert_eq!(get("1.005"), Ok(Cell::Decimal(101)));
        assert_eq!(get("-1.005"), Ok(Cell::Decimal(-101)));
        assert_eq!(get("1.0049"), Ok(Cell::Decimal(100)));
        assert_eq!(get("999.99"), Ok(Cell::Decimal(99999)));
        assert!(get("999.995").is_err());
        assert!(get("1000").is_err());
        assert!(get("99999999999999999999999999999999999999").is_err());
        assert_eq!(simple_decimal("1.50"), Some(Numeric::small(150, 2)));
        assert_eq!(simple_decimal("1e5"), None);
    }

    #[test]
    fn iso_timestamps_without_the_full_parser() {
        assert_eq!(iso_timestamp(b"1970-01-01 00:00:00"), Some(0));
        assert_eq!(iso_timestamp(b"2026-02-03T04:05:06.789Z"), Some(1_770_091_506_789_000));
        assert_eq!(iso_timestamp(b"1969-12-31 23:59:59.999999"), Some(-1));
        assert_eq!(iso_timestamp(b"2024-02-29 00:00:00"), Some(1_709_164_800_000_000));
        for other in [
            "2023-02-29 00:00:00",
            "2024-01-01 24:00:00",
            "2024-01-01",
            "2024-01-01 00:00:00+02",
            "2024-01-01 00:00:0x",
        ] {
            assert_eq!(iso_timestamp(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn floats_do_not_overflow_or_vanish() {
        assert_eq!(float(SqlType::Float8, "1e308"), Some(1e308));
        assert_eq!(float(SqlType::Float8, "1e309"), None);
        assert_eq!(float(SqlType::Float8, "1e-999"), None);
        assert_eq!(float(SqlType::Float8, "0e5"), Some(0.0));
        assert_eq!(float(SqlType::Float4, "1e39"), None);
        assert_eq!(float(SqlType::Float4, "0.1"), Some(f64::from(0.1f32)));
    }
}
