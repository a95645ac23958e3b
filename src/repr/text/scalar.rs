//! boolean, integers, varchar, bytea, uuid.

use super::{invalid_syntax, trim};
use crate::error::{SqlError, SqlState};
use crate::types::SqlType;

/// Any unambiguous start of true, false, yes, no, and on, off, 1, 0.
pub(super) fn parse_bool(s: &str) -> Result<bool, SqlError> {
    let word = trim(s).to_ascii_lowercase();
    let starts = |full: &str| !word.is_empty() && full.starts_with(&word);
    match word.as_str() {
        "1" | "on" => Ok(true),
        "0" | "of" | "off" => Ok(false),
        _ if starts("true") || starts("yes") => Ok(true),
        _ if starts("false") || starts("no") => Ok(false),
        _ => Err(invalid_syntax("boolean", s)),
    }
}

/// Decimal digits with a sign.
pub(super) fn parse_int<T: TryFrom<i128>>(s: &str, ty: SqlType) -> Result<T, SqlError> {
    let body = trim(s);
    let digits = body.strip_prefix(['-', '+']).unwrap_or(body);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid_syntax(&ty.to_string(), s));
    }
    let value = digits.bytes().fold(0i128, |value, b| (value * 10 + i128::from(b - b'0')).min(1 << 100));
    T::try_from(if body.starts_with('-') { -value } else { value })
        .map_err(|_| SqlError::new(SqlState::OUT_OF_RANGE, format!("value \"{s}\" is out of range for type {ty}")))
}

/// Too long is an error unless only spaces are cut.
pub(super) fn parse_varchar(s: &str, length: Option<u32>) -> Result<String, SqlError> {
    let Some(length) = length else { return Ok(s.to_string()) };
    match s.char_indices().nth(length as usize) {
        None => Ok(s.to_string()),
        Some((cut, _)) if s[cut..].bytes().all(|b| b == b' ') => Ok(s[..cut].to_string()),
        Some(_) => Err(SqlError::new(
            SqlState::STRING_TRUNCATION,
            format!("value too long for type character varying({length})"),
        )),
    }
}

/// As [`parse_varchar`]; spaces at the end do not count.
pub(super) fn parse_char(s: &str, length: Option<u32>) -> Result<String, SqlError> {
    let s = s.trim_end_matches(' ');
    match length {
        Some(n) if s.chars().count() > n as usize => {
            Err(SqlError::new(SqlState::STRING_TRUNCATION, format!("value too long for type character({n})")))
        }
        _ => Ok(s.to_string()),
    }
}

/// `\x` and hex digits, or bytes with `\\` and `\ooo`.
pub(super) fn parse_bytea(s: &str) -> Result<Vec<u8>, SqlError> {
    match s.strip_prefix("\\x") {
        Some(hex) => parse_hex(hex),
        None => parse_escape(s),
    }
}

fn parse_hex(hex: &str) -> Result<Vec<u8>, SqlError> {
    let invalid = |message: String| SqlError::new(SqlState::INVALID_PARAMETER, message);
    let mut out = Vec::with_capacity(hex.len() / 2);
    let mut chars = hex.chars();
    let digit = |c: char| c.to_digit(16).ok_or_else(|| invalid(format!("invalid hexadecimal digit: \"{c}\"")));
    while let Some(c) = chars.next() {
        if matches!(c, ' ' | '\n' | '\t' | '\r') {
            continue;
        }
        let high = digit(c)?;
        let low = chars.next().ok_or_else(|| invalid("invalid hexadecimal data: odd number of digits".to_string()))?;
        out.push((high << 4 | digit(low)?) as u8);
    }
    Ok(out)
}

fn parse_escape(s: &str) -> Result<Vec<u8>, SqlError> {
    let mut out = Vec::with_capacity(s.len());
    let mut rest = s.as_bytes();
    loop {
        match rest {
            [] => return Ok(out),
            [b'\\', b'\\', after @ ..] => {
                out.push(b'\\');
                rest = after;
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            [b'\\', ..] => {
                return Err(SqlError::new(SqlState::INVALID_TEXT, "invalid input syntax for type bytea"));
            }
            [b, after @ ..] => {
                out.push(*b);
                rest = after;
            }
        }
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn push_hex(b: u8, out: &mut String) {
    out.push(HEX[usize::from(b >> 4)] as char);
    out.push(HEX[usize::from(b & 15)] as char);
}

/// `\x` and lower-case hex digits.
pub fn write_bytea(v: &[u8], out: &mut String) {
    out.reserve(2 + 2 * v.len());
    out.push_str("\\x");
    for b in v {
        push_hex(*b, out);
    }
}

/// Lower-case hex digits in groups of 8, 4, 4, 4 and 12.
pub fn write_uuid(v: &[u8], out: &mut String) {
    for (i, b) in v.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        push_hex(*b, out);
    }
}

/// 32 hex digits, a hyphen allowed after each group of four, braces allowed around.
pub(super) fn parse_uuid(s: &str) -> Result<[u8; 16], SqlError> {
    parse_uuid_digits(s).ok_or_else(|| invalid_syntax("uuid", s))
}

fn parse_uuid_digits(s: &str) -> Option<[u8; 16]> {
    let body = match s.strip_prefix('{') {
        Some(inner) => inner.strip_suffix('}')?,
        None => s,
    };
    let mut rest = body.as_bytes();
    let mut out = [0u8; 16];
    for (i, byte) in out.iter_mut().enumerate() {
        let [high, low, after @ ..] = rest else { return None };
        let digit = |b: &u8| (*b as char).to_digit(16);
        *byte = (digit(high)? << 4 | digit(low)?) as u8;
        rest = match after {
            [b'-', after @ ..] if i % 2 == 1 && i < 15 => after,
            _ => after,
        };
    }
    rest.is_empty().then_some(out)
}
