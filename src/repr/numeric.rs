//! Bare `numeric`: up to 38 digits, every value with its own display scale.
//!
//! Owns the arithmetic with PostgreSQL's result scales, rounding and casts, and the ordered bytes by which a bare
//! numeric travels in Arrow: a comparable part (equal for 1.0 and 1.00, prefix-free, `memcmp` order is value order),
//! then one byte of print tail, the scale. Text is in [`crate::numeric::Numeric::parse`] and `Display`.
//!
//! Invariant: `|value| < 10^38` and `scale <= 38`. What PostgreSQL would compute beyond that is `22003`; NaN and the
//! infinities of PostgreSQL's numeric are refused.

use crate::error::{SqlError, SqlState};
use arrow::datatypes::i256;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

mod bytes;
mod parse;

/// Most digits a numeric may have.
pub const DIGITS_MAX: u8 = 38;
/// PostgreSQL's `NUMERIC_MIN_SIG_DIGITS`: what a quotient has at least.
const MIN_SIGNIFICANT_DIGITS: i32 = 16;
/// PostgreSQL's `DEC_DIGITS`: decimal digits in one digit of base 10,000.
const BASE_DIGITS: i32 = 4;
/// The greatest unscaled value.
pub const VALUE_MAX: i128 = 10i128.pow(38) - 1;

/// `value * 10^-scale`. 1.0 and 1.00 are equal as SQL values but print differently; `==` tells them apart,
/// [`Numeric::cmp_value`] does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Numeric {
    /// Unscaled digits, at most 38.
    pub value: i128,
    /// Digits after the point.
    pub scale: u8,
}

fn overflow() -> SqlError {
    SqlError::new(SqlState::OUT_OF_RANGE, "value overflows numeric format")
        .detail("A numeric holds at most 38 digits, of which at most 38 after the point.")
}

/// `22012`, as PostgreSQL words it.
fn division_by_zero() -> SqlError {
    SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero")
}

/// `10^n` for `n <= 38`.
fn pow10(n: u32) -> i128 {
    debug_assert!(n <= 38);
    10i128.pow(n)
}

fn wide(v: i128) -> i256 {
    i256::from_i128(v)
}

/// `v * 10^n` for `n <= 38`: never overflows 256 bits.
fn scaled_up(v: i128, n: u32) -> i256 {
    wide(v).wrapping_mul(wide(pow10(n)))
}

/// `n / d`, half away from zero. `d` is not zero.
fn div_round(n: i256, d: i256) -> i256 {
    let quotient = n.wrapping_div(d);
    let rest = n.wrapping_rem(d).wrapping_abs();
    let up = rest >= d.wrapping_abs().wrapping_sub(rest);
    match (up, n.is_negative() != d.is_negative()) {
        (false, _) => quotient,
        (true, false) => quotient.wrapping_add(i256::ONE),
        (true, true) => quotient.wrapping_sub(i256::ONE),
    }
}

impl Numeric {
    /// Zero without decimals.
    pub const ZERO: Numeric = Numeric { value: 0, scale: 0 };

    /// Checks both bounds; `22003` beyond.
    pub fn new(value: i128, scale: u8) -> Result<Numeric, SqlError> {
        if value.unsigned_abs() > VALUE_MAX as u128 || scale > DIGITS_MAX {
            return Err(overflow());
        }
        Ok(Numeric { value, scale })
    }

    fn from_wide(value: i256, scale: u32) -> Result<Numeric, SqlError> {
        let value = value.to_i128().ok_or_else(overflow)?;
        Numeric::new(value, u8::try_from(scale).map_err(|_| overflow())?)
    }

    /// PostgreSQL's input function.
    pub fn parse(s: &str) -> Result<Numeric, SqlError> {
        parse::parse(s)
    }

    /// An integer, scale 0.
    pub fn from_i64(v: i64) -> Numeric {
        Numeric { value: v.into(), scale: 0 }
    }

    /// An integer, scale 0; `22003` beyond 38 digits.
    pub fn from_i128(v: i128) -> Result<Numeric, SqlError> {
        Numeric::new(v, 0)
    }

    /// PostgreSQL's cast from double precision: 15 significant digits.
    pub fn from_f64(v: f64) -> Result<Numeric, SqlError> {
        parse::from_float(v, 15)
    }

    /// PostgreSQL's cast from real: 6 significant digits.
    pub fn from_f32(v: f32) -> Result<Numeric, SqlError> {
        parse::from_float(v.into(), 6)
    }

    /// The nearest double.
    pub fn to_f64(&self) -> f64 {
        // Both operands are exact below these bounds, so one division rounds once.
        if self.value.unsigned_abs() < 1 << 53 && self.scale <= 22 {
            return self.value as f64 / 10f64.powi(self.scale.into());
        }
        self.to_string().parse().expect("a numeric prints as a number")
    }

    /// PostgreSQL's cast to bigint: rounded; `22003` when out of range.
    pub fn to_i64(&self) -> Result<i64, SqlError> {
        i64::try_from(self.round(0)?.value).map_err(|_| SqlError::new(SqlState::OUT_OF_RANGE, "bigint out of range"))
    }

    /// Compares by value: 1.0 equals 1.00.
    pub fn cmp_value(&self, other: &Numeric) -> Ordering {
        match self.scale.cmp(&other.scale) {
            Ordering::Equal => self.value.cmp(&other.value),
            Ordering::Less => scaled_up(self.value, (other.scale - self.scale).into()).cmp(&wide(other.value)),
            Ordering::Greater => wide(self.value).cmp(&scaled_up(other.value, (self.scale - other.scale).into())),
        }
    }

    /// Both unscaled values at the greater scale.
    fn align(&self, other: &Numeric) -> (i256, i256, u32) {
        let scale = self.scale.max(other.scale);
        let up = |n: &Numeric| scaled_up(n.value, (scale - n.scale).into());
        (up(self), up(other), scale.into())
    }

    /// Sum, at the greater scale.
    pub fn add(&self, other: &Numeric) -> Result<Numeric, SqlError> {
        if self.scale == other.scale
            && let Some(sum) = self.value.checked_add(other.value)
        {
            return Numeric::new(sum, self.scale);
        }
        let (a, b, scale) = self.align(other);
        Numeric::from_wide(a.wrapping_add(b), scale)
    }

    /// Difference, at the greater scale.
    pub fn sub(&self, other: &Numeric) -> Result<Numeric, SqlError> {
        self.add(&other.neg())
    }

    /// Product, exact: the sum of both scales.
    pub fn mul(&self, other: &Numeric) -> Result<Numeric, SqlError> {
        let scale = u32::from(self.scale) + u32::from(other.scale);
        if let Some(product) = self.value.checked_mul(other.value) {
            return Numeric::from_wide(wide(product), scale);
        }
        Numeric::from_wide(wide(self.value).wrapping_mul(wide(other.value)), scale)
    }

    /// Quotient, half away from zero, at PostgreSQL's `select_div_scale`: at least 16 significant digits, counted in
    /// whole digits of base 10,000, and no fewer decimals than either operand.
    pub fn div(&self, other: &Numeric) -> Result<Numeric, SqlError> {
        if other.value == 0 {
            return Err(division_by_zero());
        }
        let scale = div_scale(self, other);
        if scale > DIGITS_MAX.into() {
            return Err(overflow());
        }
        // The scale is no less than ours, so the dividend is only ever scaled up.
        let mut up = scale + u32::from(other.scale) - u32::from(self.scale);
        let divisor = wide(other.value);
        let mut quotient = i256::ZERO;
        let mut rest = wide(self.value);
        loop {
            let step = up.min(38);
            let dividend = rest.wrapping_mul(wide(pow10(step)));
            let shifted = quotient.checked_mul(wide(pow10(step))).ok_or_else(overflow)?;
            up -= step;
            if up == 0 {
                return Numeric::from_wide(shifted.wrapping_add(div_round(dividend, divisor)), scale);
            }
            quotient = shifted.wrapping_add(dividend.wrapping_div(divisor));
            rest = dividend.wrapping_rem(divisor);
        }
    }

    /// Remainder of the truncated quotient, at the greater scale; takes the sign of the dividend.
    pub fn rem(&self, other: &Numeric) -> Result<Numeric, SqlError> {
        if other.value == 0 {
            return Err(division_by_zero());
        }
        let (a, b, scale) = self.align(other);
        Numeric::from_wide(a.wrapping_rem(b), scale)
    }

    /// The quotient without its fraction (PostgreSQL's `div`), scale 0.
    pub fn div_trunc(&self, other: &Numeric) -> Result<Numeric, SqlError> {
        if other.value == 0 {
            return Err(division_by_zero());
        }
        let (a, b, _) = self.align(other);
        Numeric::from_wide(a.wrapping_div(b), 0)
    }

    /// The negated value.
    pub fn neg(&self) -> Numeric {
        Numeric { value: -self.value, scale: self.scale }
    }

    /// The absolute value.
    pub fn abs(&self) -> Numeric {
        Numeric { value: self.value.abs(), scale: self.scale }
    }

    /// -1, 0 or 1.
    pub fn signum(&self) -> i32 {
        self.value.signum() as i32
    }

    /// Half away from zero at `scale` decimals. A negative scale rounds left of the point and leaves scale 0.
    pub fn round(&self, scale: i32) -> Result<Numeric, SqlError> {
        self.rescale(scale, |v, drop| {
            let unit = pow10(drop);
            let (quotient, rest) = (v / unit, (v % unit).abs());
            quotient + if rest >= unit - rest { v.signum() } else { 0 }
        })
    }

    /// Toward zero at `scale` decimals.
    pub fn trunc(&self, scale: i32) -> Result<Numeric, SqlError> {
        self.rescale(scale, |v, drop| v / pow10(drop))
    }

    /// The greatest integer not above.
    pub fn floor(&self) -> Result<Numeric, SqlError> {
        self.rescale(0, |v, drop| v.div_euclid(pow10(drop)))
    }

    /// The least integer not below.
    pub fn ceil(&self) -> Result<Numeric, SqlError> {
        self.rescale(0, |v, drop| -(-v).div_euclid(pow10(drop)))
    }

    /// Brings to `scale`: pads with zeros, or drops digits with `cut(value, digits)`.
    fn rescale(&self, scale: i32, cut: impl Fn(i128, u32) -> i128) -> Result<Numeric, SqlError> {
        let drop = i32::from(self.scale) - scale;
        if drop <= 0 {
            if scale > DIGITS_MAX.into() {
                return Err(overflow());
            }
            return Numeric::from_wide(scaled_up(self.value, drop.unsigned_abs()), scale as u32);
        }
        if drop > DIGITS_MAX.into() {
            // Every digit goes, the first lies below half a unit.
            return Ok(Numeric { value: 0, scale: 0 });
        }
        let kept = cut(self.value, drop as u32);
        if scale >= 0 {
            return Numeric::new(kept, scale as u8);
        }
        Numeric::from_wide(scaled_up(kept, scale.unsigned_abs().min(38)), 0)
    }

    /// PostgreSQL's cast to `numeric(precision, scale)`; `22003` when the integer part does not fit.
    pub fn cast(&self, precision: u8, scale: i8) -> Result<Numeric, SqlError> {
        let field = |bound: i32| {
            SqlError::new(SqlState::OUT_OF_RANGE, "numeric field overflow").detail(format!(
                "A field with precision {precision}, scale {scale} must round to an absolute value less than {}.",
                if bound == 0 { "1".to_string() } else { format!("10^{bound}") }
            ))
        };
        let bound = i32::from(precision) - i32::from(scale);
        let rounded = self.round(scale.into()).map_err(|_| field(bound))?;
        let digits = i32::from(precision) - if scale < 0 { i32::from(scale) } else { 0 };
        if digits < 38 && rounded.value.unsigned_abs() >= pow10(digits.max(0) as u32) as u128 {
            return Err(field(bound));
        }
        Ok(rounded)
    }

    /// The unscaled value of a `Decimal128(precision, scale)`; `22003` as [`Numeric::cast`].
    pub fn to_decimal(&self, precision: u8, scale: i8) -> Result<i128, SqlError> {
        let n = self.cast(precision, scale)?;
        Ok(if scale < 0 { n.value / pow10(scale.unsigned_abs().into()) } else { n.value })
    }

    /// From the unscaled value of a `Decimal128(_, scale)`.
    pub fn from_decimal(value: i128, scale: i8) -> Result<Numeric, SqlError> {
        match u8::try_from(scale) {
            Ok(scale) => Numeric::new(value, scale),
            Err(_) => Numeric::from_wide(scaled_up(value, u32::from(scale.unsigned_abs()).min(38)), 0),
        }
    }

    /// The same value with the least scale: trailing zeros after the point dropped.
    pub fn normalize(&self) -> Numeric {
        let mut n = *self;
        while n.scale > 0 && n.value % 10 == 0 {
            n.value /= 10;
            n.scale -= 1;
        }
        n
    }

    /// The ordered bytes: comparable part, then the print tail.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(12);
        self.write_bytes(&mut out);
        out
    }

    /// Appends the ordered bytes.
    pub fn write_bytes(&self, out: &mut Vec<u8>) {
        bytes::write_comparable(self, out);
        out.push(self.scale);
    }

    /// Appends the comparable part, then the least scale as print tail: equal values give equal bytes.
    pub fn write_key_bytes(&self, out: &mut Vec<u8>) {
        let start = out.len();
        bytes::write_comparable(self, out);
        let scale = bytes::least_scale(&out[start..]);
        out.push(scale);
    }

    /// From ordered bytes and nothing after them; `XX001` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Numeric, SqlError> {
        let len = key_len(bytes);
        if len + 1 != bytes.len() {
            return Err(bytes::damaged());
        }
        bytes::read(bytes)
    }
}

/// Bytes of the comparable part at the start of `bytes`, without the print tail. No more than `bytes.len()`.
pub fn key_len(bytes: &[u8]) -> usize {
    bytes::key_len(bytes)
}

/// The least print tail of a value by its comparable part, `key`.
pub fn least_scale(key: &[u8]) -> u8 {
    bytes::least_scale(key)
}

/// PostgreSQL's `select_div_scale`.
fn div_scale(a: &Numeric, b: &Numeric) -> u32 {
    let ((weight_a, first_a), (weight_b, first_b)) = (leading_digit(a), leading_digit(b));
    let weight = weight_a - weight_b - i32::from(first_a <= first_b);
    let scale = MIN_SIGNIFICANT_DIGITS - weight * BASE_DIGITS;
    scale.max(a.scale.into()).max(b.scale.into()).max(0) as u32
}

/// The first non-zero digit in base 10,000 and its weight; zero gives (0, 0).
fn leading_digit(n: &Numeric) -> (i32, i128) {
    let value = n.value.unsigned_abs();
    let Some(log) = value.checked_ilog10() else { return (0, 0) };
    let weight = (log as i32 - i32::from(n.scale)).div_euclid(BASE_DIGITS);
    // The digit spans the decimal positions 4 * weight and up: shift the value there.
    let shift = i32::from(n.scale) + weight * BASE_DIGITS;
    let first = if shift >= 0 { value / 10u128.pow(shift as u32) } else { value * 10u128.pow(-shift as u32) };
    (weight, first as i128)
}

impl FromStr for Numeric {
    type Err = SqlError;
    fn from_str(s: &str) -> Result<Self, SqlError> {
        Numeric::parse(s)
    }
}

/// PostgreSQL's output function.
impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.value < 0 { "-" } else { "" };
        let magnitude = self.value.unsigned_abs();
        if self.scale == 0 {
            return write!(f, "{sign}{magnitude}");
        }
        let unit = 10u128.pow(self.scale.into());
        let width = usize::from(self.scale);
        write!(f, "{sign}{}.{:0width$}", magnitude / unit, magnitude % unit)
    }
}

#[cfg(test)]
mod tests;
