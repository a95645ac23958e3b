//! The ordered bytes of a numeric.
//!
//! Zero is the one byte 0x80. A positive value is `0.d1d2d3... * 10^exponent` with d1 and the last digit not zero: a
//! byte `0xC0 + exponent`, then the digits in pairs, each a byte `2 * pair + 1`, the last `2 * pair`. A negative value
//! is the complement of the bytes of its absolute value. So `memcmp` order is value order and no value's bytes are a
//! prefix of another's. The print tail, one byte of scale, follows.

use super::{Numeric, VALUE_MAX};
use crate::error::{SqlError, SqlState};

const ZERO: u8 = 0x80;
const EXPONENT_ZERO: i32 = 0xC0;

/// `XX001` for bytes that are no numeric.
pub(super) fn damaged() -> SqlError {
    SqlError::new(SqlState::DATA_CORRUPTED, "invalid bytes of a numeric")
}

/// Appends the comparable part.
pub(super) fn write_comparable(n: &Numeric, out: &mut Vec<u8>) {
    let mut magnitude = n.value.unsigned_abs();
    let Some(log) = magnitude.checked_ilog10() else {
        out.push(ZERO);
        return;
    };
    let exponent = log as i32 + 1 - i32::from(n.scale);
    let flip = if n.value < 0 { 0xFF } else { 0 };
    out.push((EXPONENT_ZERO + exponent) as u8 ^ flip);
    // Pairs count from the first digit, so an odd number of digits is padded behind. 38 digits and a pad fit.
    if log.is_multiple_of(2) {
        magnitude *= 10;
    }
    let mut pairs = [0u8; 20];
    let mut at = pairs.len();
    while magnitude > u128::from(u64::MAX) {
        at -= 1;
        pairs[at] = (magnitude % 100) as u8;
        magnitude /= 100;
    }
    let mut rest = magnitude as u64;
    while rest > 0 {
        at -= 1;
        pairs[at] = (rest % 100) as u8;
        rest /= 100;
    }
    let end = pairs.iter().rposition(|p| *p != 0).expect("a value other than zero has a digit");
    out.extend(pairs[at..end].iter().map(|p| (2 * p + 1) ^ flip));
    out.push((2 * pairs[end]) ^ flip);
}

/// Length of the comparable part, at most `bytes.len()`.
pub(super) fn key_len(bytes: &[u8]) -> usize {
    let Some(first) = bytes.first() else { return 0 };
    if *first == ZERO {
        return 1;
    }
    let last_bit = u8::from(*first < ZERO);
    match bytes[1..].iter().position(|b| b & 1 == last_bit) {
        Some(i) => i + 2,
        None => bytes.len(),
    }
}

/// Exponent and digits without their trailing zero: (exponent, unscaled value, number of digits).
fn read_comparable(key: &[u8]) -> Option<(i32, i128, i32)> {
    let (first, pairs) = key.split_first()?;
    if *first == ZERO {
        return Some((0, 0, 0));
    }
    let flip = if *first < ZERO { 0xFF } else { 0 };
    let exponent = i32::from(first ^ flip) - EXPONENT_ZERO;
    if pairs.is_empty() || pairs.len() > 20 || !(-38..=38).contains(&exponent) {
        return None;
    }
    let mut value = 0u128;
    for byte in pairs {
        value = value.checked_mul(100)?.checked_add(((byte ^ flip) >> 1).into())?;
    }
    let mut digits = 2 * pairs.len() as i32;
    if value.is_multiple_of(10) {
        value /= 10;
        digits -= 1;
    }
    let value = i128::try_from(value).ok().filter(|v| *v <= VALUE_MAX)?;
    Some((exponent, if flip == 0 { value } else { -value }, digits))
}

/// The least scale that shows every digit.
pub(super) fn least_scale(key: &[u8]) -> u8 {
    read_comparable(key).map_or(0, |(exponent, _, digits)| (digits - exponent).clamp(0, 38) as u8)
}

/// The value at the start of `bytes`: comparable part and print tail.
pub(super) fn read(bytes: &[u8]) -> Result<Numeric, SqlError> {
    let len = key_len(bytes);
    let scale = *bytes.get(len).ok_or_else(damaged)?;
    let (exponent, value, digits) = read_comparable(&bytes[..len]).ok_or_else(damaged)?;
    let pad = i32::from(scale) + exponent - digits;
    if value == 0 {
        return Numeric::new(0, scale).map_err(|_| damaged());
    }
    let pad = u32::try_from(pad).ok().filter(|p| *p <= 38).ok_or_else(damaged)?;
    let value = value.checked_mul(10i128.pow(pad)).ok_or_else(damaged)?;
    Numeric::new(value, scale).map_err(|_| damaged())
}
