//! PostgreSQL's binary numeric: base-10000 digits with weight, sign and display scale.

use bytes::{Buf, BufMut, BytesMut};
use hw_repr::numeric::Numeric;
use hw_repr::{SqlError, SqlState};

const NEGATIVE: u16 = 0x4000;

/// Appends `value * 10^-scale`.
pub fn put(value: i128, scale: i8, out: &mut BytesMut) {
    let mut digits = value.unsigned_abs().to_string();
    if scale < 0 {
        digits.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
    }
    let display_scale = usize::try_from(scale).unwrap_or(0);
    let int_len = digits.len().saturating_sub(display_scale);
    let (int, frac) = digits.split_at(int_len);
    let leading_zeros = display_scale - frac.len();
    let frac = format!("{}{frac}", "0".repeat(leading_zeros));

    let mut groups: Vec<u16> = Vec::with_capacity(12);
    let group = |part: &[u8]| part.iter().fold(0u16, |acc, d| acc * 10 + u16::from(d - b'0'));
    let head = int.len() % 4;
    if head > 0 {
        groups.push(group(&int.as_bytes()[..head]));
    }
    groups.extend(int.as_bytes()[head..].chunks(4).map(group));
    let mut weight = groups.len() as i16 - 1;
    groups.extend(frac.as_bytes().chunks(4).map(|part| group(part) * 10u16.pow(4 - part.len() as u32)));

    let zeros = groups.iter().take_while(|g| **g == 0).count();
    groups.drain(..zeros);
    weight -= zeros as i16;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    out.put_u16(groups.len() as u16);
    out.put_i16(weight);
    out.put_u16(if value < 0 { NEGATIVE } else { 0 });
    out.put_u16(display_scale as u16);
    for g in groups {
        out.put_u16(g);
    }
}

/// Reads a binary numeric. NaN, infinities and more than 38 digits are 22003.
pub fn parse(mut raw: &[u8]) -> Result<Numeric, SqlError> {
    let bad = || SqlError::new(SqlState::INVALID_BINARY, "invalid binary numeric");
    let range = || SqlError::new(SqlState::OUT_OF_RANGE, "numeric value out of range: at most 38 digits are supported");
    if raw.len() < 8 {
        return Err(bad());
    }
    let (n, weight, sign, scale) = (raw.get_u16(), i32::from(raw.get_i16()), raw.get_u16(), raw.get_u16());
    if raw.len() != usize::from(n) * 2 || scale > 0x3fff {
        return Err(bad());
    }
    match sign {
        0 | NEGATIVE => {}
        0xc000 | 0xd000 | 0xf000 => return Err(range()),
        _ => return Err(bad()),
    }
    if scale > 38 {
        return Err(range());
    }
    let mut value: i128 = 0;
    for i in 0..i32::from(n) {
        let digit = raw.get_u16();
        if digit > 9999 {
            return Err(bad());
        }
        // The digit counts 10000^(weight - i); in units of 10^-scale that is 10^exponent.
        let exponent = (weight - i) * 4 + i32::from(scale);
        let digit = i128::from(digit);
        let term = if digit == 0 {
            0
        } else if exponent >= 0 {
            10i128.checked_pow(exponent as u32).and_then(|p| p.checked_mul(digit)).ok_or_else(range)?
        } else if exponent > -4 {
            digit / 10i128.pow(exponent.unsigned_abs())
        } else {
            0
        };
        value = value.checked_add(term).ok_or_else(range)?;
    }
    if value >= 10i128.pow(38) {
        return Err(range());
    }
    Ok(Numeric { value: if sign == NEGATIVE { -value } else { value }, scale: scale as u8 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(value: i128, scale: i8) -> Vec<u8> {
        let mut out = BytesMut::new();
        put(value, scale, &mut out);
        out.to_vec()
    }

    /// Bytes as numeric_send gives them.
    #[test]
    fn known_bytes() {
        assert_eq!(bytes(0, 0), [0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes(0, 2), [0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(bytes(12345678, 2), [0, 3, 0, 1, 0, 0, 0, 2, 0, 12, 0x0d, 0x80, 0x1e, 0x78]);
        assert_eq!(bytes(-1, 4), [0, 1, 0xff, 0xff, 0x40, 0, 0, 4, 0, 1]);
        assert_eq!(bytes(1, 5), [0, 1, 0xff, 0xfe, 0, 0, 0, 5, 0x03, 0xe8]);
        assert_eq!(bytes(10000, 0), [0, 1, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(bytes(3, -2), [0, 1, 0, 0, 0, 0, 0, 0, 0x01, 0x2c]);
    }

    #[test]
    fn round_trips_at_every_scale() {
        let largest = 10i128.pow(38) - 1;
        for scale in 0..=38i8 {
            for value in [0, 1, -1, 9999, 10000, 12345678901234567890, largest, -largest, 10i128.pow(37)] {
                let back = parse(&bytes(value, scale)).expect("in range");
                assert_eq!((back.value, back.scale), (value, scale as u8));
            }
        }
    }

    #[test]
    fn damaged_and_too_large_are_refused() {
        let code = |raw: &[u8]| parse(raw).map(|n| n.value).map_err(|e| e.code);
        assert_eq!(code(&[0, 1]), Err(SqlState::INVALID_BINARY));
        assert_eq!(code(&[0, 2, 0, 0, 0, 0, 0, 0, 0, 1]), Err(SqlState::INVALID_BINARY));
        assert_eq!(code(&[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10]), Err(SqlState::INVALID_BINARY));
        assert_eq!(code(&[0, 0, 0, 0, 0xc0, 0, 0, 0]), Err(SqlState::OUT_OF_RANGE));
        assert_eq!(code(&[0, 1, 0, 12, 0, 0, 0, 0, 0, 1]), Err(SqlState::OUT_OF_RANGE));
    }
}
