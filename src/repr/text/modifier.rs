//! What the modifier of a type does to a value: digits of seconds, fields of intervals, lengths of names, ranges of OIDs.

use crate::datum::{Datum, IntervalValue, TimeTzValue};
use crate::error::{SqlError, SqlState};
use crate::text::interval::{Field, Fields};
use crate::types::AliasType;

/// µs from 1970-01-01 to 2000-01-01, from which PostgreSQL counts, and so rounds.
const EPOCH_US: i64 = 946_684_800_000_000;
const HOUR_US: i64 = 3_600_000_000;
const MINUTE_US: i64 = 60_000_000;
/// Bytes of a `name`.
const NAME_BYTES: usize = 63;

/// A value of the type that carries `alias`, as one of `alias`. Errors: 22003 for an OID out of range, 22008 for a time.
pub fn apply(alias: AliasType, value: Datum) -> Result<Datum, SqlError> {
    Ok(match (alias, value) {
        (AliasType::Name, Datum::Text(v)) => Datum::Text(head(&v, NAME_BYTES).to_string()),
        (AliasType::Char, Datum::Text(v)) => Datum::Text(head(&v, 1).to_string()),
        (AliasType::Oid | AliasType::Xid, Datum::Int8(v)) => Datum::Int8(oid(v)?),
        (AliasType::Timestamp(p), Datum::Timestamp(v)) => Datum::Timestamp(round_timestamp(v, p)?),
        (AliasType::TimestampTz(p), Datum::TimestampTz(v)) => Datum::TimestampTz(round_timestamp(v, p)?),
        (AliasType::Time(p), Datum::Time(v)) => Datum::Time(round_half_up(v, p)),
        (AliasType::TimeTz(p), Datum::TimeTz(v)) => {
            let v = TimeTzValue::unpack(v);
            Datum::TimeTz(TimeTzValue { micros: round_half_up(v.micros, p), ..v }.pack())
        }
        (AliasType::Interval(_), Datum::Interval(v)) => Datum::Interval(limit_interval(v, alias)?),
        (AliasType::Numeric(_), Datum::Numeric(v)) => {
            let (precision, scale) = alias.digits().unwrap_or((1000, 0));
            Datum::Numeric(v.limited(precision, scale)?)
        }
        (_, other) => other,
    })
}

/// What the fields of an interval's type say of numbers without a unit.
pub(super) fn interval_fields(alias: AliasType) -> Fields {
    const ALL: [Field; 6] = [Field::Year, Field::Month, Field::Day, Field::Hour, Field::Minute, Field::Second];
    let field = |at: Option<usize>| at.and_then(|at| ALL.get(at).copied());
    Fields(field(alias.first_field()).zip(field(alias.last_field())))
}

/// The longest start of at most so many bytes that ends between characters.
fn head(s: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(s.len())).rev().find(|at| s.is_char_boundary(*at)).unwrap_or(0);
    &s[..end]
}

/// 32 bits without a sign; negative ones of 32 bits wrap, as in PostgreSQL.
fn oid(v: i64) -> Result<i64, SqlError> {
    match v {
        0..=0xffff_ffff => Ok(v),
        -0x8000_0000..0 => Ok(v + 0x1_0000_0000),
        _ => Err(SqlError::new(SqlState::OUT_OF_RANGE, "OID out of range")),
    }
}

fn unit(precision: u8) -> i64 {
    10i64.pow(6u32.saturating_sub(precision.into()))
}

/// Half away from zero.
fn round_half_up(v: i64, precision: u8) -> i64 {
    let unit = unit(precision);
    let rest = v % unit;
    let base = v - rest;
    if rest.unsigned_abs() * 2 >= unit.unsigned_abs() { base.saturating_add(unit * rest.signum()) } else { base }
}

/// µs since 1970 to digits of a second.
pub fn round_timestamp(v: i64, precision: u8) -> Result<i64, SqlError> {
    if v == i64::MAX || v == i64::MIN {
        return Ok(v);
    }
    let out_of_range = || SqlError::new(SqlState::DATETIME_OVERFLOW, "timestamp out of range");
    let since_2000 = v.checked_sub(EPOCH_US).ok_or_else(out_of_range)?;
    round_half_up(since_2000, precision).checked_add(EPOCH_US).ok_or_else(out_of_range)
}

/// What is shorter than the last field falls away; seconds are rounded.
fn limit_interval(v: IntervalValue, alias: AliasType) -> Result<IntervalValue, SqlError> {
    let mut v = v;
    match alias.last_field() {
        Some(0) => v = IntervalValue { months: v.months / 12 * 12, days: 0, micros: 0 },
        Some(1) => v = IntervalValue { months: v.months, days: 0, micros: 0 },
        Some(2) => v.micros = 0,
        Some(3) => v.micros = v.micros / HOUR_US * HOUR_US,
        Some(4) => v.micros = v.micros / MINUTE_US * MINUTE_US,
        _ => {}
    }
    if let Some(p) = alias.precision() {
        v.micros = round_half_up(v.micros, p);
    }
    Ok(v)
}

#[cfg(test)]
mod tests {
    use super::{apply, round_half_up, round_timestamp};
    use crate::datum::{Datum, IntervalValue};
    use crate::types::AliasType;

    #[test]
    fn seconds_are_rounded_half_away_from_zero() {
        assert_eq!(round_half_up(1_500_000, 0), 2_000_000);
        assert_eq!(round_half_up(-1_500_000, 0), -2_000_000);
        assert_eq!(round_half_up(1_234_567, 3), 1_235_000);
        assert_eq!(round_half_up(1_234_567, 6), 1_234_567);
        assert_eq!(round_timestamp(i64::MAX, 0).unwrap(), i64::MAX);
        // 1999-12-31 23:59:59.5 is before the year that is counted from.
        assert_eq!(round_timestamp(super::EPOCH_US - 500_000, 0).unwrap(), super::EPOCH_US - 1_000_000);
    }

    #[test]
    fn fields_cut_intervals() {
        let v = IntervalValue { months: 14, days: 3, micros: 4 * super::HOUR_US + 5 * super::MINUTE_US + 6_700_000 };
        let cut = |first, last| {
            let alias = AliasType::interval(Some((first, last)), None).unwrap();
            match apply(alias, Datum::Interval(v)).unwrap() {
                Datum::Interval(v) => (v.months, v.days, v.micros),
                other => panic!("{other}"),
            }
        };
        assert_eq!(cut("year", "year"), (12, 0, 0));
        assert_eq!(cut("year", "month"), (14, 0, 0));
        assert_eq!(cut("day", "day"), (14, 3, 0));
        assert_eq!(cut("day", "minute"), (14, 3, 4 * super::HOUR_US + 5 * super::MINUTE_US));
        assert_eq!(cut("minute", "second"), (14, 3, v.micros));
        assert!(AliasType::interval(Some(("month", "day")), None).is_none());
    }

    #[test]
    fn oids_have_32_bits() {
        assert_eq!(apply(AliasType::Oid, Datum::Int8(-1)).unwrap(), Datum::Int8(4_294_967_295));
        assert!(apply(AliasType::Oid, Datum::Int8(4_294_967_296)).is_err());
    }
}
