//! Bit strings: their text, in binary and hexadecimal digits, and what a length asks of them.
//!
//! A value is a text of 0 and 1. Its order by bytes is PostgreSQL's: the bits, then the length.

use crate::error::{SqlError, SqlState};
use crate::types::SqlType;

/// PostgreSQL's longest.
pub const BITS_MAX: usize = 0x7fff_fff8;

/// The bits of a text: binary digits, or `b` and these, or `x` and hexadecimal digits. `22P02` of any other.
pub fn parse(s: &str) -> Result<String, SqlError> {
    match s.as_bytes().first() {
        Some(b'x' | b'X') => hexadecimal(&s[1..]),
        Some(b'b' | b'B') => binary(&s[1..]),
        _ => binary(s),
    }
}

/// Binary digits.
pub fn binary(s: &str) -> Result<String, SqlError> {
    match s.chars().find(|c| !matches!(c, '0' | '1')) {
        None => Ok(s.to_string()),
        Some(c) => Err(not_a_digit(c, "binary")),
    }
}

/// Hexadecimal digits, four bits each.
pub fn hexadecimal(s: &str) -> Result<String, SqlError> {
    let mut out = String::with_capacity(s.len() * 4);
    for c in s.chars() {
        let digit = c.to_digit(16).ok_or_else(|| not_a_digit(c, "hexadecimal"))?;
        (0..4).rev().for_each(|bit| out.push(if digit >> bit & 1 == 1 { '1' } else { '0' }));
    }
    Ok(out)
}

fn not_a_digit(c: char, kind: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_TEXT, format!("\"{c}\" is not a valid {kind} digit"))
}

/// Bits as a value of `ty`. An explicit cast cuts them off, and fills `bit(n)` with 0; else `22026` where they are not as many as
/// `bit(n)` has, `22001` where they are more than `bit varying(n)` takes.
pub fn fit(ty: SqlType, mut bits: String, explicit: bool) -> Result<String, SqlError> {
    let (length, exact) = match ty {
        SqlType::Bit(Some(n)) => (n as usize, true),
        SqlType::Varbit(Some(n)) => (n as usize, false),
        _ => return Ok(bits),
    };
    if explicit {
        bits.truncate(length);
        if exact {
            bits.extend(std::iter::repeat_n('0', length - bits.len()));
        }
        return Ok(bits);
    }
    match exact {
        true if bits.len() != length => {
            let message = format!("bit string length {} does not match type bit({length})", bits.len());
            Err(SqlError::new(SqlState::new("22026"), message))
        }
        false if bits.len() > length => {
            let message = format!("bit string too long for type bit varying({length})");
            Err(SqlError::new(SqlState::STRING_TRUNCATION, message))
        }
        _ => Ok(bits),
    }
}

#[cfg(test)]
mod tests {
    use super::{fit, parse};
    use crate::types::SqlType;

    #[test]
    fn digits_are_read_and_lengths_kept() {
        assert_eq!(parse("x1F").unwrap(), "00011111");
        assert_eq!(parse("b01").unwrap(), "01");
        assert_eq!(parse("").unwrap(), "");
        assert_eq!(parse("12").unwrap_err().message, "\"2\" is not a valid binary digit");
        assert_eq!(parse("xG").unwrap_err().message, "\"G\" is not a valid hexadecimal digit");
        assert_eq!(fit(SqlType::Bit(Some(4)), "1".into(), true).unwrap(), "1000");
        assert_eq!(fit(SqlType::Bit(Some(1)), "01".into(), true).unwrap(), "0");
        assert!(fit(SqlType::Bit(Some(4)), "1".into(), false).is_err());
        assert_eq!(fit(SqlType::Varbit(Some(4)), "1".into(), false).unwrap(), "1");
        assert!(fit(SqlType::Varbit(Some(1)), "11".into(), false).is_err());
    }
}
