//! PostgreSQL's numeric input: sign, digits, point, exponent; NaN and the infinities.

use super::{Big, Numeric, SCALE_MAX, WHOLE_DIGITS_MAX, overflow};
use crate::error::{SqlError, SqlState};
use num_bigint::{BigInt, BigUint, Sign};

fn invalid(s: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_TEXT, format!("invalid input syntax for type numeric: \"{s}\""))
}

/// Reads digits at `at`, giving each to `digit`; returns where they end.
fn digits(bytes: &[u8], mut at: usize, mut digit: impl FnMut(u8)) -> usize {
    while let Some(b @ b'0'..=b'9') = bytes.get(at) {
        digit(b - b'0');
        at += 1;
    }
    at
}

/// Unscaled digits as they are read; zeros in front do not count.
#[derive(Default)]
struct Digits {
    value: u128,
    /// All digits, once there are more than 38.
    long: Vec<u8>,
    scale: i64,
    any: bool,
}

impl Digits {
    fn push(&mut self, d: u8) {
        self.any = true;
        if !self.long.is_empty() {
            self.long.push(d);
        } else if self.value >= 10u128.pow(37) {
            self.long = self.value.to_string().bytes().map(|b| b - b'0').collect();
            self.long.push(d);
        } else {
            self.value = self.value * 10 + u128::from(d);
        }
    }
}

pub(super) fn parse(input: &str) -> Result<Numeric, SqlError> {
    let s = input.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let bytes = s.as_bytes();
    let negative = bytes.first() == Some(&b'-');
    let mut at = usize::from(matches!(bytes.first(), Some(b'-' | b'+')));
    if bytes.get(at).is_some_and(u8::is_ascii_alphabetic) {
        return word(input, &s[at..], negative, at > 0);
    }
    let mut n = Digits::default();
    at = digits(bytes, at, |d| n.push(d));
    if bytes.get(at) == Some(&b'.') {
        let mut decimals = 0;
        at = digits(bytes, at + 1, |d| {
            n.push(d);
            decimals += 1;
        });
        n.scale = decimals;
    }
    if !n.any {
        return Err(invalid(input));
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let minus = bytes.get(at + 1) == Some(&b'-');
        let start = at + 1 + usize::from(matches!(bytes.get(at + 1), Some(b'-' | b'+')));
        let mut exponent = 0i64;
        at = digits(bytes, start, |d| exponent = (exponent * 10 + i64::from(d)).min(1 << 32));
        if at == start {
            return Err(invalid(input));
        }
        if exponent >= i64::from(i32::MAX / 2) {
            return Err(overflow());
        }
        n.scale -= if minus { -exponent } else { exponent };
    }
    if at != bytes.len() {
        return Err(invalid(input));
    }
    finish(n, negative)
}

/// NaN, which takes no sign, and the infinities.
fn word(input: &str, word: &str, negative: bool, signed: bool) -> Result<Numeric, SqlError> {
    match word.to_ascii_lowercase().as_str() {
        "nan" if !signed => Ok(Numeric::NaN),
        "inf" | "infinity" => Ok(if negative { Numeric::NegInfinity } else { Numeric::Infinity }),
        _ => Err(invalid(input)),
    }
}

fn finish(n: Digits, negative: bool) -> Result<Numeric, SqlError> {
    if n.long.is_empty()
        && let scale @ 0..=38 = n.scale
    {
        let value = n.value as i128;
        return Numeric::new(if negative { -value } else { value }, scale as u32);
    }
    let magnitude = match n.long.as_slice() {
        [] => BigUint::from(n.value),
        long => BigUint::from_radix_be(long, 10).ok_or_else(overflow)?,
    };
    if magnitude == BigUint::ZERO {
        return Big::numeric(BigInt::ZERO, u32::try_from(n.scale.max(0)).map_err(|_| overflow())?);
    }
    // What is out of bounds is not computed first.
    let digits = n.long.len().max(1) as i64;
    if n.scale > i64::from(SCALE_MAX) || digits - n.scale > WHOLE_DIGITS_MAX as i64 {
        return Err(overflow());
    }
    let value = BigInt::from_biguint(if negative { Sign::Minus } else { Sign::Plus }, magnitude);
    match n.scale {
        0.. => Big::numeric(value, n.scale as u32),
        _ => Big::numeric(value * super::big::power_of_ten(n.scale.unsigned_abs() as u32), 0),
    }
}

/// PostgreSQL's float to numeric: `digits` significant digits, without trailing zeros.
pub(super) fn from_float(v: f64, digits: usize) -> Result<Numeric, SqlError> {
    if v.is_nan() {
        return Ok(Numeric::NaN);
    }
    if v.is_infinite() {
        return Ok(if v > 0.0 { Numeric::Infinity } else { Numeric::NegInfinity });
    }
    let text = format!("{v:.*e}", digits - 1);
    let (mantissa, exponent) = text.split_once('e').expect("the exponent format has an e");
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    let parsed = parse(&format!("{mantissa}e{exponent}"))?;
    Ok(parsed.normalize())
}
