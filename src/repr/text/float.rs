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

/// Appends a double as `extra_float_digits = 1` prints it.
pub fn write_f64(v: f64, out: &mut String) {
    if !write_special(v, out) {
        write_shortest(ryu::Buffer::new().format_finite(v.abs()), 15, out);
    }
}

/// Appends a real as `extra_float_digits = 1` prints it.
pub fn write_f32(v: f32, out: &mut String) {
    if !write_special(f64::from(v), out) {
        write_shortest(ryu::Buffer::new().format_finite(v.abs()), 6, out);
    }
}

/// Appends the sign, and what is no number; true where nothing is left.
fn write_special(v: f64, out: &mut String) -> bool {
    if v.is_nan() {
        out.push_str("NaN");
        return true;
    }
    if v.is_sign_negative() {
        out.push('-');
    }
    if v.is_infinite() {
        out.push_str("Infinity");
    }
    v.is_infinite()
}

/// Appends a number as C's `%g` places its point. `shortest` is its shortest text, of two that are equally near the one
/// whose last digit is even, as PostgreSQL's; numbers of `plain_max` digits and more have an exponent.
fn write_shortest(shortest: &str, plain_max: i32, out: &mut String) {
    let (mantissa, scale) = shortest.split_once('e').unwrap_or((shortest, "0"));
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut buffer = [b'0'; 40];
    let mut len = 0;
    for (place, digit) in buffer.iter_mut().zip(whole.bytes().chain(decimals.bytes())) {
        *place = digit;
        len += 1;
    }
    let digits = std::str::from_utf8(&buffer[..len]).unwrap_or_default();
    let leading = digits.bytes().take_while(|b| *b == b'0').count();
    let digits = digits.trim_start_matches('0').trim_end_matches('0');
    if digits.is_empty() {
        out.push('0');
        return;
    }
    // Of the first digit.
    let exponent = scale.parse::<i32>().unwrap_or(0) + whole.len() as i32 - 1 - leading as i32;
    let (first, rest) = digits.split_at(1);
    if exponent < -4 || exponent >= plain_max {
        let sign = if exponent < 0 { '-' } else { '+' };
        let point = if rest.is_empty() { "" } else { "." };
        write!(out, "{first}{point}{rest}e{sign}{:02}", exponent.abs()).expect("writing to a string does not fail");
    } else if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
        out.push_str(digits);
    } else {
        let whole = exponent as usize + 1;
        match digits.split_at_checked(whole) {
            Some((before, "")) => out.push_str(before),
            Some((before, after)) => {
                out.push_str(before);
                out.push('.');
                out.push_str(after);
            }
            None => {
                out.push_str(digits);
                out.extend(std::iter::repeat_n('0', whole - digits.len()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(v: f64) -> String {
        let mut out = String::new();
        write_f64(v, &mut out);
        out
    }

    /// What a PostgreSQL 15 prints.
    #[test]
    fn numbers_are_printed_as_postgresql_prints_them() {
        let all = [
            (900_719_925_474_099.3, "900719925474099.2"),
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (120.0, "120"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.000012, "1.2e-05"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (123_456_789_012_345.0, "123456789012345"),
            (1.5e300, "1.5e+300"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::NAN, "NaN"),
        ];
        for (v, text) in all {
            assert_eq!(double(v), text);
        }
        let mut real = String::new();
        [1e5f32, 1e6, 0.1, 1.5e-7].iter().for_each(|v| {
            write_f32(*v, &mut real);
            real.push(' ');
        });
        assert_eq!(real, "100000 1e+06 0.1 1.5e-07 ");
    }
}
