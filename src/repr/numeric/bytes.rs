//! The ordered bytes of a numeric.
//!
//! Zero is the one byte 0x80. A positive value is `0.d1d2d3... * 10^exponent` with d1 and the last digit not zero: the
//! exponent, then the digits in pairs, each a byte `2 * pair + 1`, the last `2 * pair`. An exponent from -38 to 38 is a
//! byte `0xC0 + exponent`; a lesser one is 0x90 and a greater one 0xF0, each followed by `exponent + 2^23` in three
//! bytes, big-endian. A negative value is the complement of the bytes of its absolute value. Infinity is 0xFC,
//! -Infinity its complement, NaN 0xFE. So `memcmp` order is value order and no value's bytes are a prefix of another's.
//!
//! The print tail follows, the scale: one byte up to 127, else two, big-endian, the first bit set.

use super::{Big, Numeric, VALUE_MAX};
use crate::error::{SqlError, SqlState};
use num_bigint::{BigInt, BigUint, Sign};

const ZERO: u8 = 0x80;
const EXPONENT_ZERO: i32 = 0xC0;
const TINY: u8 = 0x90;
const HUGE: u8 = 0xF0;
const INFINITY: u8 = 0xFC;
const NAN: u8 = 0xFE;
/// Added to an exponent of three bytes.
const LONG_EXPONENT_ZERO: i32 = 1 << 23;

/// `XX001` for bytes that are no numeric.
pub(super) fn damaged() -> SqlError {
    SqlError::new(SqlState::DATA_CORRUPTED, "invalid bytes of a numeric")
}

/// Appends the comparable part.
pub(super) fn write_comparable(n: &Numeric, out: &mut Vec<u8>) {
    let (value, scale) = match n {
        Numeric::Small { value, scale } => (*value, *scale),
        Numeric::Big(b) => return write_big(b, out),
        Numeric::NaN => return out.push(NAN),
        Numeric::Infinity => return out.push(INFINITY),
        Numeric::NegInfinity => return out.push(!INFINITY),
    };
    let mut magnitude = value.unsigned_abs();
    let Some(log) = magnitude.checked_ilog10() else {
        out.push(ZERO);
        return;
    };
    let exponent = log as i32 + 1 - i32::from(scale);
    let flip = if value < 0 { 0xFF } else { 0 };
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

fn write_big(n: &Big, out: &mut Vec<u8>) {
    if n.value.sign() == Sign::NoSign {
        return out.push(ZERO);
    }
    let mut digits = n.value.magnitude().to_radix_be(10);
    let exponent = digits.len() as i32 - i32::from(n.scale);
    let flip = if n.value.sign() == Sign::Minus { 0xFF } else { 0 };
    if (-38..=38).contains(&exponent) {
        out.push((EXPONENT_ZERO + exponent) as u8 ^ flip);
    } else {
        out.push(if exponent < 0 { TINY } else { HUGE } ^ flip);
        out.extend((exponent + LONG_EXPONENT_ZERO).to_be_bytes()[1..].iter().map(|b| b ^ flip));
    }
    let end = digits.iter().rposition(|d| *d != 0).map_or(0, |last| last + 1);
    digits.truncate(end);
    let last = digits.len().div_ceil(2) - 1;
    for (i, pair) in digits.chunks(2).enumerate() {
        let pair = 10 * pair[0] + pair.get(1).copied().unwrap_or(0);
        out.push((2 * pair + u8::from(i < last)) ^ flip);
    }
}

/// Appends a print tail.
#[inline]
pub(super) fn write_tail(scale: u32, out: &mut Vec<u8>) {
    match scale {
        0..0x80 => out.push(scale as u8),
        _ => out.extend_from_slice(&(scale as u16 | 0x8000).to_be_bytes()),
    }
}

/// Bytes of the print tail that begins with this one.
#[inline]
pub(super) fn tail_len(first: u8) -> usize {
    1 + usize::from(first >> 7)
}

/// Length of the comparable part, at most `bytes.len()`.
pub(super) fn key_len(bytes: &[u8]) -> usize {
    let Some(first) = bytes.first() else { return 0 };
    let digits = match *first {
        ZERO | INFINITY | NAN => return 1,
        first if first == !INFINITY => return 1,
        first => exponent_len(first).min(bytes.len()),
    };
    let last_bit = u8::from(*first < ZERO);
    match bytes[digits..].iter().position(|b| b & 1 == last_bit) {
        Some(i) => digits + i + 1,
        None => bytes.len(),
    }
}

/// Bytes of the exponent that begins with this one.
fn exponent_len(first: u8) -> usize {
    let is_long = [TINY, HUGE, !TINY, !HUGE].contains(&first);
    if is_long { 4 } else { 1 }
}

/// Sign, exponent and pairs of digits, complemented where the value is negative; `None` for zero and damage.
fn split(key: &[u8]) -> Option<(u8, i32, &[u8])> {
    let first = *key.first()?;
    let flip = if first < ZERO { 0xFF } else { 0 };
    let (head, pairs) = key.split_at_checked(exponent_len(first))?;
    let exponent = match head {
        [one] => Some(i32::from(one ^ flip) - EXPONENT_ZERO).filter(|e| (-38..=38).contains(e))?,
        [_, a, b, c] => i32::from_be_bytes([0, a ^ flip, b ^ flip, c ^ flip]) - LONG_EXPONENT_ZERO,
        _ => return None,
    };
    (!pairs.is_empty()).then_some((flip, exponent, pairs))
}

/// Exponent and digits without their trailing zero: (exponent, unscaled value, number of digits).
fn read_comparable(key: &[u8]) -> Option<(i32, i128, i32)> {
    if key == [ZERO] {
        return Some((0, 0, 0));
    }
    let (flip, exponent, pairs) = split(key)?;
    if pairs.len() > 20 {
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
pub(super) fn least_scale(key: &[u8]) -> u32 {
    if key.len() == 1 {
        return 0;
    }
    split(key).map_or(0, |(flip, exponent, pairs)| {
        let last = pairs[pairs.len() - 1] ^ flip;
        let digits = 2 * pairs.len() as i32 - i32::from((last >> 1).is_multiple_of(10));
        (digits - exponent).max(0) as u32
    })
}

/// The value at the start of `bytes`: comparable part and print tail.
pub(super) fn read(bytes: &[u8]) -> Result<Numeric, SqlError> {
    let (key, tail) = bytes.split_at(key_len(bytes));
    let scale = match tail {
        [first @ 0..0x80, ..] => u32::from(*first),
        [high, low, ..] => u32::from(high & 0x7f) << 8 | u32::from(*low),
        _ => return Err(damaged()),
    };
    match key {
        [INFINITY] => return Ok(Numeric::Infinity),
        [NAN] => return Ok(Numeric::NaN),
        [first] if *first == !INFINITY => return Ok(Numeric::NegInfinity),
        _ => {}
    }
    read_small(key, scale).map_or_else(|| read_big(key, scale), Ok)
}

/// `None` where it is not small, or damaged.
fn read_small(key: &[u8], scale: u32) -> Option<Numeric> {
    let (exponent, value, digits) = read_comparable(key)?;
    if scale > 38 {
        return None;
    }
    if value == 0 {
        return Some(Numeric::Small { value: 0, scale: scale as u8 });
    }
    let pad = u32::try_from(scale as i32 + exponent - digits).ok().filter(|p| *p <= 38)?;
    let value = value.checked_mul(10i128.pow(pad)).filter(|v| v.unsigned_abs() <= VALUE_MAX as u128)?;
    Some(Numeric::Small { value, scale: scale as u8 })
}

fn read_big(key: &[u8], scale: u32) -> Result<Numeric, SqlError> {
    if key == [ZERO] {
        return Big::numeric(BigInt::ZERO, scale).map_err(|_| damaged());
    }
    let (flip, exponent, pairs) = split(key).ok_or_else(damaged)?;
    let digits: Vec<u8> = pairs.iter().map(|b| (b ^ flip) >> 1).flat_map(|pair| [pair / 10, pair % 10]).collect();
    let len = digits.len() as i32 - i32::from(digits.last() == Some(&0));
    let magnitude = BigUint::from_radix_be(&digits[..len as usize], 10).ok_or_else(damaged)?;
    let pad = u32::try_from(scale as i32 + exponent - len).ok().filter(|pad| *pad <= 1 << 18).ok_or_else(damaged)?;
    let sign = if flip == 0 { Sign::Plus } else { Sign::Minus };
    let value = BigInt::from_biguint(sign, magnitude) * super::big::power_of_ten(pad);
    Big::numeric(value, scale).map_err(|_| damaged())
}
