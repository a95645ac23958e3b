//! PostgreSQL's numeric input: sign, digits with underscores between them, point, exponent.

use super::{DIGITS_MAX, Numeric, overflow};
use crate::error::{SqlError, SqlState};

fn invalid(s: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_TEXT, format!("invalid input syntax for type numeric: \"{s}\""))
}

/// Reads digits (and single underscores between two digits) at `at`, giving each to `digit`; returns where they end.
fn digits(bytes: &[u8], mut at: usize, mut digit: impl FnMut(u8)) -> usize {
    let start = at;
    while let Some(b) = bytes.get(at) {
        match b {
            b'0'..=b'9' => digit(b - b'0'),
            b'_' if at > start && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => {}
            _ => break,
        }
        at += 1;
    }
    at
}

/// Unscaled digits as they are read; zeros in front do not count.
#[derive(Default)]
struct Digits {
    value: u128,
    /// Digits read that no longer fit 38.
    lost: u32,
    scale: i64,
    any: bool,
}

impl Digits {
    fn push(&mut self, d: u8) {
        self.any = true;
        if self.lost > 0 || self.value >= 10u128.pow(37) {
            self.lost += 1;
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
    let word = s[at..].to_ascii_lowercase();
    if matches!(word.as_str(), "nan" | "inf" | "infinity") {
        return Err(SqlError::unsupported(format!("numeric value \"{s}\" is not supported"))
            .hint("Use double precision for NaN and infinities."));
    }
    if word.starts_with("0x") || word.starts_with("0o") || word.starts_with("0b") {
        return radix(input, negative, &word);
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
        n.scale -= if minus { -exponent } else { exponent };
    }
    if at != bytes.len() {
        return Err(invalid(input));
    }
    finish(n, negative)
}

fn finish(n: Digits, negative: bool) -> Result<Numeric, SqlError> {
    if n.lost > 0 {
        return Err(overflow());
    }
    let value = n.value as i128;
    let (value, scale) = if n.scale < 0 {
        let up = n.scale.unsigned_abs();
        match value {
            0 => (0, 0),
            v if up <= 38 => (v.checked_mul(10i128.pow(up as u32)).ok_or_else(overflow)?, 0),
            _ => return Err(overflow()),
        }
    } else {
        (value, n.scale)
    };
    let scale = u8::try_from(scale).ok().filter(|s| *s <= DIGITS_MAX).ok_or_else(overflow)?;
    Numeric::new(if negative { -value } else { value }, scale)
}

/// `0x`, `0o` and `0b` integers, as PostgreSQL 16 takes them.
fn radix(input: &str, negative: bool, word: &str) -> Result<Numeric, SqlError> {
    let radix = match word.as_bytes()[1] {
        b'x' => 16,
        b'o' => 8,
        _ => 2,
    };
    let mut value = 0i128;
    let mut last_digit = true;
    let body = &word[2..];
    if body.is_empty() {
        return Err(invalid(input));
    }
    for c in body.chars() {
        if c == '_' && last_digit {
            last_digit = false;
            continue;
        }
        let d = c.to_digit(radix).ok_or_else(|| invalid(input))?;
        value = value.checked_mul(radix.into()).and_then(|v| v.checked_add(d.into())).ok_or_else(overflow)?;
        last_digit = true;
    }
    if !last_digit {
        return Err(invalid(input));
    }
    Numeric::new(if negative { -value } else { value }, 0)
}

/// PostgreSQL's float to numeric: `digits` significant digits, without trailing zeros.
pub(super) fn from_float(v: f64, digits: usize) -> Result<Numeric, SqlError> {
    if !v.is_finite() {
        let name = if v.is_nan() { "NaN" } else { "infinity" };
        return Err(SqlError::unsupported(format!("cannot convert {name} to numeric")));
    }
    let text = format!("{v:.*e}", digits - 1);
    let (mantissa, exponent) = text.split_once('e').expect("the exponent format has an e");
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    let parsed = parse(&format!("{mantissa}e{exponent}"))?;
    Ok(parsed.normalize())
}
