//! PostgreSQL's binary numeric: base-10000 digits with weight, sign and display scale.

use bytes::{Buf, BufMut, BytesMut};
use hw_repr::numeric::Numeric;
use hw_repr::{SqlError, SqlState};

const NEGATIVE: u16 = 0x4000;

const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const NEGATIVE_INFINITY: u16 = 0xf000;

/// Appends `value * 10^-scale`.
pub fn put(value: i128, scale: i8, out: &mut BytesMut) {
    let mut digits = value.unsigned_abs().to_string();
    if scale < 0 {
        digits.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
    }
    put_digits(&digits, usize::try_from(scale).unwrap_or(0), value < 0, out);
}

/// Appends any numeric.
pub fn put_numeric(value: &Numeric, out: &mut BytesMut) {
    let special = match value {
        Numeric::Small { value, scale } => return put(*value, *scale as i8, out),
        Numeric::Big(_) => {
            let scale = value.scale().unwrap_or(0) as usize;
            let mut digits = value.abs().to_string();
            digits.retain(|c| c != '.');
            return put_digits(&digits, scale, value.signum() < 0, out);
        }
        Numeric::NaN => NAN,
        Numeric::Infinity => INFINITY,
        Numeric::NegInfinity => NEGATIVE_INFINITY,
    };
    out.put_u32(0);
    out.put_u16(special);
    out.put_u16(0);
}

/// Appends decimal digits, the last `display_scale` of which are behind the point.
fn put_digits(digits: &str, display_scale: usize, negative: bool, out: &mut BytesMut) {
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
    let mut weight = groups.len() as i32 - 1;
    groups.extend(frac.as_bytes().chunks(4).map(|part| group(part) * 10u16.pow(4 - part.len() as u32)));

    let zeros = groups.iter().take_while(|g| **g == 0).count();
    groups.drain(..zeros);
    weight -= zeros as i32;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    out.put_u16(groups.len() as u16);
    out.put_i16(weight as i16);
    out.put_u16(if negative { NEGATIVE } else { 0 });
    out.put_u16(display_scale as u16);
    for g in groups {
        out.put_u16(g);
    }
}

/// Reads a binary numeric: digits beyond its scale are cut off; `22003` beyond the bounds of numeric.
pub fn parse(mut raw: &[u8]) -> Result<Numeric, SqlError> {
    let bad = || SqlError::new(SqlState::INVALID_BINARY, "invalid binary numeric");
    if raw.len() < 8 {
        return Err(bad());
    }
    let (n, weight, sign, scale) = (raw.get_u16(), i32::from(raw.get_i16()), raw.get_u16(), raw.get_u16());
    if raw.len() != usize::from(n) * 2 || scale > 0x3fff {
        return Err(bad());
    }
    let negative = match sign {
        0 | NEGATIVE => sign == NEGATIVE,
        NAN => return Ok(Numeric::NaN),
        INFINITY => return Ok(Numeric::Infinity),
        NEGATIVE_INFINITY => return Ok(Numeric::NegInfinity),
        _ => return Err(bad()),
    };
    // Decimal text: the groups, a point behind the group of weight 0, and an exponent in place of missing groups.
    let mut text = String::with_capacity(usize::from(n) * 4 + 16);
    text.push(if negative { '-' } else { '+' });
    text.push('0');
    for _ in 0..n {
        let digit = raw.get_u16();
        if digit > 9999 {
            return Err(bad());
        }
        text.push_str(&format!("{digit:04}"));
    }
    text.push_str(&format!("e{}", (weight + 1 - i32::from(n)) * 4));
    let whole = Numeric::parse(&text)?;
    if whole.is_zero() {
        return Numeric::new(0, scale.into());
    }
    whole.rescaled(scale.into())
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
                assert_eq!(back, hw_repr::numeric::Numeric::small(value, scale as u8));
            }
        }
    }

    #[test]
    fn damaged_and_too_large_are_refused() {
        let code = |raw: &[u8]| parse(raw).map(drop).map_err(|e| e.code);
        assert_eq!(code(&[0, 1]), Err(SqlState::INVALID_BINARY));
        assert_eq!(code(&[0, 2, 0, 0, 0, 0, 0, 0, 0, 1]), Err(SqlState::INVALID_BINARY));
        assert_eq!(code(&[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10]), Err(SqlState::INVALID_BINARY));
        assert_eq!(code(&[0, 1, 0x7f, 0xff, 0, 0, 0, 0, 0, 1]), Ok(()));
    }

    #[test]
    fn great_and_special_values_round_trip() {
        for text in [
            "NaN",
            "Infinity",
            "-Infinity",
            "1e50",
            "-1.00000000000000000000000000000000000000000000001",
            "1e-50",
            "9e131071",
        ] {
            let value = Numeric::parse(text).expect("a numeric");
            let mut out = BytesMut::new();
            put_numeric(&value, &mut out);
            assert_eq!(parse(&out), Ok(value), "{text}");
        }
    }
}
