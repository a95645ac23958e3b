//! The bytes of one column: writing, skipping and reading of a single value.

use super::{NULL, Tails, VALUE, damaged};
use crate::datum::IntervalValue;
use crate::error::SqlError;
use crate::numeric::{self, Numeric};
use crate::types::SqlType;
use std::ffi::CStr;

/// Bytes of the comparable part of an interval and of its print tail.
const INTERVAL_KEY: usize = 16;
const INTERVAL_TAIL: usize = 16;
/// µs of a day.
const DAY_US: i128 = 86_400_000_000;

#[inline]
pub(super) fn put_null(out: &mut Vec<u8>) {
    out.push(NULL);
}

#[inline]
pub(super) fn put_bool(v: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(&[VALUE, v.into()]);
}

#[inline]
pub(super) fn put_i16(v: i16, out: &mut Vec<u8>) {
    let b = (v ^ i16::MIN).to_be_bytes();
    out.extend_from_slice(&[VALUE, b[0], b[1]]);
}

#[inline]
pub(super) fn put_i32(v: i32, out: &mut Vec<u8>) {
    let mut b = [VALUE; 5];
    b[1..].copy_from_slice(&(v ^ i32::MIN).to_be_bytes());
    out.extend_from_slice(&b);
}

#[inline]
pub(super) fn put_i64(v: i64, out: &mut Vec<u8>) {
    let mut b = [VALUE; 9];
    b[1..].copy_from_slice(&(v ^ i64::MIN).to_be_bytes());
    out.extend_from_slice(&b);
}

#[inline]
pub(super) fn put_i128(v: i128, out: &mut Vec<u8>) {
    let mut b = [VALUE; 17];
    b[1..].copy_from_slice(&(v ^ i128::MIN).to_be_bytes());
    out.extend_from_slice(&b);
}

#[inline]
pub(super) fn put_f32(v: f32, tails: Tails, out: &mut Vec<u8>) {
    // Adding zero turns -0.0 into 0.0.
    let v = if tails == Tails::Least { v + 0.0 } else { v };
    let bits = if v.is_nan() { 0x7fc0_0000 } else { v.to_bits() };
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    let mut b = [VALUE; 5];
    b[1..].copy_from_slice(&ordered.to_be_bytes());
    out.extend_from_slice(&b);
}

#[inline]
pub(super) fn put_f64(v: f64, tails: Tails, out: &mut Vec<u8>) {
    let v = if tails == Tails::Least { v + 0.0 } else { v };
    let bits = if v.is_nan() { 0x7ff8_0000_0000_0000 } else { v.to_bits() };
    let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    let mut b = [VALUE; 9];
    b[1..].copy_from_slice(&ordered.to_be_bytes());
    out.extend_from_slice(&b);
}

#[inline]
pub(super) fn put_uuid(v: &[u8], out: &mut Vec<u8>) {
    out.push(VALUE);
    out.extend_from_slice(v);
}

#[inline]
pub(super) fn put_bytes(mut v: &[u8], out: &mut Vec<u8>) {
    out.reserve(v.len() + 3);
    out.push(VALUE);
    while let Ok(head) = CStr::from_bytes_until_nul(v) {
        let len = head.to_bytes().len();
        out.extend_from_slice(&v[..=len]);
        out.push(0xFF);
        v = &v[len + 1..];
    }
    out.extend_from_slice(v);
    out.extend_from_slice(&[0, 0]);
}

/// Appends a numeric given by its ordered bytes.
#[inline]
pub(super) fn put_numeric_bytes(v: &[u8], tails: Tails, out: &mut Vec<u8>) {
    out.push(VALUE);
    match tails {
        Tails::Kept => out.extend_from_slice(v),
        Tails::Least => {
            let key = &v[..numeric::key_len(v)];
            out.extend_from_slice(key);
            numeric::write_least_tail(key, out);
        }
    }
}

/// Appends a numeric.
pub(super) fn put_numeric(v: &Numeric, tails: Tails, out: &mut Vec<u8>) {
    out.push(VALUE);
    match tails {
        Tails::Kept => v.write_bytes(out),
        Tails::Least => v.write_key_bytes(out),
    }
}

pub(super) fn put_interval(v: IntervalValue, tails: Tails, out: &mut Vec<u8>) {
    put_i128(v.total_micros(), out);
    let tail = match tails {
        Tails::Kept => v,
        Tails::Least => v.justified(),
    };
    out.extend_from_slice(&tail.months.to_be_bytes());
    out.extend_from_slice(&tail.days.to_be_bytes());
    out.extend_from_slice(&tail.micros.to_be_bytes());
}

/// Bytes of a value after its marker, where all values of the type have as many.
fn width(ty: SqlType) -> Option<usize> {
    Some(match ty.carrier() {
        SqlType::Bool => 1,
        SqlType::Int2 => 2,
        SqlType::Int4 | SqlType::Float4 | SqlType::Date => 4,
        SqlType::Int8 | SqlType::Float8 | SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz => 8,
        SqlType::Numeric(Some(_)) | SqlType::Uuid => 16,
        SqlType::Interval => INTERVAL_KEY + INTERVAL_TAIL,
        _ => return None,
    })
}

/// Takes the marker: true for a value, false for NULL.
#[inline]
pub(super) fn take_marker(row: &mut &[u8]) -> Result<bool, SqlError> {
    let (marker, rest) = row.split_first().ok_or_else(|| damaged("too short"))?;
    *row = rest;
    match *marker {
        VALUE => Ok(true),
        NULL => Ok(false),
        _ => Err(damaged("no such marker")),
    }
}

/// Takes `N` bytes.
#[inline]
pub(super) fn take<const N: usize>(row: &mut &[u8]) -> Result<[u8; N], SqlError> {
    let (head, rest) = row.split_first_chunk::<N>().ok_or_else(|| damaged("too short"))?;
    *row = rest;
    Ok(*head)
}

#[inline]
pub(super) fn take_i16(row: &mut &[u8]) -> Result<i16, SqlError> {
    Ok(i16::from_be_bytes(take(row)?) ^ i16::MIN)
}

#[inline]
pub(super) fn take_i32(row: &mut &[u8]) -> Result<i32, SqlError> {
    Ok(i32::from_be_bytes(take(row)?) ^ i32::MIN)
}

#[inline]
pub(super) fn take_i64(row: &mut &[u8]) -> Result<i64, SqlError> {
    Ok(i64::from_be_bytes(take(row)?) ^ i64::MIN)
}

#[inline]
pub(super) fn take_i128(row: &mut &[u8]) -> Result<i128, SqlError> {
    Ok(i128::from_be_bytes(take(row)?) ^ i128::MIN)
}

#[inline]
pub(super) fn take_f32(row: &mut &[u8]) -> Result<f32, SqlError> {
    let ordered = u32::from_be_bytes(take(row)?);
    Ok(f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered }))
}

#[inline]
pub(super) fn take_f64(row: &mut &[u8]) -> Result<f64, SqlError> {
    let ordered = u64::from_be_bytes(take(row)?);
    Ok(f64::from_bits(if ordered >> 63 == 1 { ordered & !(1 << 63) } else { !ordered }))
}

/// Takes escaped bytes: borrowed from the row, or, where there was something to unescape, from `scratch`.
#[inline]
pub(super) fn take_bytes<'s, 'a: 's>(row: &mut &'a [u8], scratch: &'s mut Vec<u8>) -> Result<&'s [u8], SqlError> {
    let mut rest = *row;
    let mut plain = true;
    loop {
        let len = zero(rest)?;
        match rest.get(len + 1) {
            Some(0) if plain => {
                *row = &rest[len + 2..];
                return Ok(&rest[..len]);
            }
            Some(0) => {
                scratch.extend_from_slice(&rest[..len]);
                *row = &rest[len + 2..];
                return Ok(scratch);
            }
            Some(0xFF) => {
                if plain {
                    scratch.clear();
                    plain = false;
                }
                scratch.extend_from_slice(&rest[..=len]);
                rest = &rest[len + 2..];
            }
            _ => return Err(damaged("no such escape")),
        }
    }
}

/// Where the next zero byte is.
#[inline]
fn zero(bytes: &[u8]) -> Result<usize, SqlError> {
    let head = CStr::from_bytes_until_nul(bytes).map_err(|_| damaged("no end of a string"))?;
    Ok(head.to_bytes().len())
}

/// Takes the ordered bytes of a numeric.
#[inline]
pub(super) fn take_numeric<'a>(row: &mut &'a [u8]) -> Result<&'a [u8], SqlError> {
    let len = numeric::whole_len(row);
    let (head, rest) = row.split_at_checked(len).ok_or_else(|| damaged("too short"))?;
    *row = rest;
    Ok(head)
}

pub(super) fn take_interval(row: &mut &[u8]) -> Result<IntervalValue, SqlError> {
    take::<INTERVAL_KEY>(row)?;
    Ok(IntervalValue {
        months: i32::from_be_bytes(take(row)?),
        days: i32::from_be_bytes(take(row)?),
        micros: i64::from_be_bytes(take(row)?),
    })
}

/// What follows the column at the start of `row`.
#[inline]
pub(super) fn skip(ty: SqlType, mut row: &[u8]) -> Result<&[u8], SqlError> {
    if !take_marker(&mut row)? {
        return Ok(row);
    }
    if let Some(width) = width(ty) {
        return row.get(width..).ok_or_else(|| damaged("too short"));
    }
    if ty.carrier() == SqlType::Numeric(None) {
        take_numeric(&mut row)?;
        return Ok(row);
    }
    loop {
        let len = zero(row)?;
        let escaped = row.get(len + 1).ok_or_else(|| damaged("too short"))?;
        row = &row[len + 2..];
        if *escaped == 0 {
            return Ok(row);
        }
    }
}

impl IntervalValue {
    /// µs with months of 30 days and days of 24 hours: what PostgreSQL compares.
    pub fn total_micros(&self) -> i128 {
        (i128::from(self.months) * 30 + i128::from(self.days)) * DAY_US + i128::from(self.micros)
    }

    /// The one interval among those equal to this that has less than a day of µs and fewer than 30 days, all of one
    /// sign (but for months that overflow, which stay days).
    pub fn justified(&self) -> IntervalValue {
        let total = self.total_micros();
        let micros = (total % DAY_US) as i64;
        let days = total / DAY_US;
        let limit = i128::from(i32::MAX);
        let months = (days / 30).clamp(-limit, limit);
        let days = (days - months * 30).clamp(-limit, limit);
        let rest = total - (months * 30 + days) * DAY_US;
        let micros = i64::try_from(rest).unwrap_or(micros);
        IntervalValue { months: months as i32, days: days as i32, micros }
    }
}
