//! real and double precision: shortest text that reads back, in C's `%g` style of exponents.

use super::{invalid_syntax, trim};
use crate::error::{SqlError, SqlState};
use std::fmt::Write;

/// The number and special values that C's `strtod` and PostgreSQL take; `None` for anything else.
fn parse<T: std::str::FromStr>(s: &str) -> Option<T> {
    let body = trim(s);
    let unsigned = body.strip_prefix(['-', '+']).unwrap_or(body);
    let word = unsigned.to_ascii_lowercase();
    let number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !number && !matches!(word.as_str(), "nan" | "inf" | "infinity") {
        return None;
    }
    body.parse().ok()
}

/// C's hexadecimal floats: `0x`, digits with a point, `p` and a power of two.
fn parse_hexadecimal(s: &str) -> Option<f64> {
    let body = trim(s);
    let unsigned = body.strip_prefix(['-', '+']).unwrap_or(body);
    let digits = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X"))?;
    let (digits, power) = match digits.split_once(['p', 'P']) {
        Some((digits, power)) => (digits, power.parse::<i32>().ok()?),
        None => (digits, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0f64;
    for c in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(c.to_digit(16)?);
    }
    let power = power.saturating_sub(4 * fraction.len() as i32);
    let value = value * 2f64.powi(power);
    Some(if body.starts_with('-') { -value } else { value })
}

/// True where the text has a digit other than zero before any exponent.
fn has_digits(s: &str) -> bool {
    trim(s).split(['e', 'E']).next().unwrap_or("").bytes().any(|b| matches!(b, b'1'..=b'9'))
}

fn out_of_range(s: &str, ty: &str) -> SqlError {
    SqlError::new(SqlState::OUT_OF_RANGE, format!("\"{s}\" is out of range for type {ty}"))
}

pub(super) fn parse_f64(s: &str) -> Result<f64, SqlError> {
    let v: f64 = parse(s).or_else(|| parse_hexadecimal(s)).ok_or_else(|| invalid_syntax("double precision", s))?;
    let named = s.contains(['n', 'N']);
    if (v.is_infinite() && !named) || (v == 0.0 && has_digits(s)) {
        return Err(out_of_range(trim(s), "double precision"));
    }
    Ok(v)
}

pub(super) fn parse_f32(s: &str) -> Result<f32, SqlError> {
    let v: f32 =
        parse(s).or_else(|| parse_hexadecimal(s).map(|v| v as f32)).ok_or_else(|| invalid_syntax("real", s))?;
    let named = s.contains(['n', 'N']);
    if (v.is_infinite() && !named) || (v == 0.0 && has_digits(s)) {
        return Err(out_of_range(trim(s), "real"));
    }
    Ok(v)
}

/// Digits and exponent of a number in Rust's shortest exponent form, on the stack.
struct Shortest {
    buffer: [u8; 40],
    len: usize,
}

impl Write for Shortest {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        let end = self.len + s.len();
        self.buffer.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Appends a double as `extra_float_digits = 1` prints it.
pub fn write_f64(v: f64, out: &mut String) {
    write_float(v.is_nan(), v.is_infinite(), v.is_sign_negative(), format_args!("{:e}", v.abs()), 15, out);
}

/// Appends a real as `extra_float_digits = 1` prints it.
pub fn write_f32(v: f32, out: &mut String) {
    write_float(v.is_nan(), v.is_infinite(), v.is_sign_negative(), format_args!("{:e}", v.abs()), 6, out);
}

fn write_float(
    nan: bool,
    infinite: bool,
    negative: bool,
    shortest: std::fmt::Arguments<'_>,
    plain_max: i32,
    out: &mut String,
) {
    if nan {
        out.push_str("NaN");
        return;
    }
    if negative {
        out.push('-');
    }
    if infinite {
        out.push_str("Infinity");
        return;
    }
    let mut text = Shortest { buffer: [0; 40], len: 0 };
    text.write_fmt(shortest).expect("a shortest float has no more than 17 digits");
    let text = std::str::from_utf8(&text.buffer[..text.len]).expect("a float prints as ASCII");
    let (mantissa, exponent) = text.split_once('e').expect("the exponent format has an e");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    let (first, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if exponent < -4 || exponent >= plain_max {
        let sign = if exponent < 0 { '-' } else { '+' };
        let point = if decimals.is_empty() { "" } else { "." };
        write!(out, "{first}{point}{decimals}e{sign}{:02}", exponent.abs()).expect("writing to a string does not fail");
    } else if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
        out.push_str(first);
        out.push_str(decimals);
    } else {
        let whole = exponent as usize;
        out.push_str(first);
        if decimals.len() <= whole {
            out.push_str(decimals);
            out.extend(std::iter::repeat_n('0', whole - decimals.len()));
        } else {
            out.push_str(&decimals[..whole]);
            out.push('.');
            out.push_str(&decimals[whole..]);
        }
    }
}
