//! Numbers that do not fit the small form, and arithmetic where an operand or the result is none, NaN or infinite.

use super::{Cut, DIGITS_MAX, Numeric, SCALE_MAX, VALUE_MAX, WHOLE_DIGITS_MAX, div_scale, division_by_zero, overflow};
use crate::error::SqlError;
use num_bigint::{BigInt, BigUint, Sign};
use std::cmp::Ordering;
use std::fmt;

/// `value * 10^-scale`: more than 38 digits, or more than 38 of them after the point.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Big {
    pub(super) value: BigInt,
    pub(super) scale: u16,
}

/// `10^n`
pub(super) fn power_of_ten(n: u32) -> BigInt {
    BigInt::from(10u8).pow(n)
}

/// Decimal digits of a magnitude; 0 for zero.
pub(super) fn count_digits(v: &BigUint) -> u64 {
    if v.bits() == 0 {
        return 0;
    }
    // 2^(bits - 1) <= v; log10(2) from below, so this is the number or one less.
    let least = ((v.bits() - 1) as f64 * std::f64::consts::LOG10_2 * (1.0 - 1e-12)) as u64 + 1;
    match BigUint::from(10u8).pow(least as u32) <= *v {
        true => least + 1,
        false => least,
    }
}

pub(super) fn signum(v: &BigInt) -> i32 {
    match v.sign() {
        Sign::Minus => -1,
        Sign::NoSign => 0,
        Sign::Plus => 1,
    }
}

/// `n / d`, half away from zero. `d` is not zero.
pub(super) fn divide_round(n: &BigInt, d: &BigInt) -> BigInt {
    let (quotient, rest) = (n / d, n % d);
    match rest.magnitude() * 2u8 >= *d.magnitude() {
        true if (n.sign() == Sign::Minus) != (d.sign() == Sign::Minus) => quotient - 1,
        true => quotient + 1,
        false => quotient,
    }
}

impl Big {
    /// The numeric of these digits, small where it fits; `22003` beyond the bounds.
    pub(super) fn numeric(value: BigInt, scale: u32) -> Result<Numeric, SqlError> {
        if scale <= DIGITS_MAX.into()
            && let Ok(small) = i128::try_from(&value)
            && small.unsigned_abs() <= VALUE_MAX as u128
        {
            return Ok(Numeric::Small { value: small, scale: scale as u8 });
        }
        if scale > SCALE_MAX {
            return Err(overflow());
        }
        // 10^131072 has 435,412 bits.
        if value.bits() > 435_000 && count_digits(value.magnitude()) > WHOLE_DIGITS_MAX + u64::from(scale) {
            return Err(overflow());
        }
        Ok(Numeric::Big(Box::new(Big { value, scale: scale as u16 })))
    }
}

impl fmt::Display for Big {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.value.magnitude().to_str_radix(10);
        if self.value.sign() == Sign::Minus {
            f.write_str("-")?;
        }
        let scale = usize::from(self.scale);
        if scale == 0 {
            return f.write_str(&digits);
        }
        match digits.len().checked_sub(scale) {
            None | Some(0) => write!(f, "0.{digits:0>scale$}"),
            Some(point) => write!(f, "{}.{}", &digits[..point], &digits[point..]),
        }
    }
}

/// Unscaled values at the greater scale; `None` where one is not finite.
fn align(a: &Numeric, b: &Numeric) -> Option<(BigInt, BigInt, u32)> {
    let ((mut x, s), (mut y, t)) = (a.to_bigint()?, b.to_bigint()?);
    match s.cmp(&t) {
        Ordering::Less => x *= power_of_ten(t - s),
        Ordering::Greater => y *= power_of_ten(s - t),
        Ordering::Equal => {}
    }
    Some((x, y, s.max(t)))
}

fn rank(n: &Numeric) -> u8 {
    match n {
        Numeric::NegInfinity => 0,
        Numeric::Small { .. } | Numeric::Big(_) => 1,
        Numeric::Infinity => 2,
        Numeric::NaN => 3,
    }
}

/// An infinity of this sign; NaN for none.
fn infinity(sign: i32) -> Numeric {
    match sign {
        0 => Numeric::NaN,
        1.. => Numeric::Infinity,
        _ => Numeric::NegInfinity,
    }
}

pub(super) fn cmp(a: &Numeric, b: &Numeric) -> Ordering {
    match align(a, b) {
        Some((x, y, _)) => x.cmp(&y),
        None => rank(a).cmp(&rank(b)),
    }
}

pub(super) fn add(a: &Numeric, b: &Numeric) -> Result<Numeric, SqlError> {
    if let Some((x, y, scale)) = align(a, b) {
        return Big::numeric(x + y, scale);
    }
    Ok(match (a.is_finite(), b.is_finite()) {
        (false, true) => a.clone(),
        (true, false) => b.clone(),
        _ if a == b => a.clone(),
        _ => Numeric::NaN,
    })
}

pub(super) fn mul(a: &Numeric, b: &Numeric) -> Result<Numeric, SqlError> {
    let (Some((x, s)), Some((y, t))) = (a.to_bigint(), b.to_bigint()) else {
        return Ok(if a.is_nan() || b.is_nan() { Numeric::NaN } else { infinity(a.signum() * b.signum()) });
    };
    let (product, scale) = (x * y, s + t);
    match scale.checked_sub(SCALE_MAX) {
        None | Some(0) => Big::numeric(product, scale),
        Some(drop) => Big::numeric(divide_round(&product, &power_of_ten(drop)), SCALE_MAX),
    }
}

/// What a division gives where an operand is not finite; `None` where both are. `22012` by zero.
fn special_quotient(a: &Numeric, b: &Numeric) -> Result<Option<Numeric>, SqlError> {
    Ok(Some(match (a, b) {
        _ if a.is_nan() || b.is_nan() => Numeric::NaN,
        _ if b.is_zero() => return Err(division_by_zero()),
        _ if a.is_finite() && b.is_finite() => return Ok(None),
        _ if a.is_finite() => Numeric::ZERO,
        _ if b.is_finite() => infinity(a.signum() * b.signum()),
        _ => Numeric::NaN,
    }))
}

pub(super) fn div(a: &Numeric, b: &Numeric) -> Result<Numeric, SqlError> {
    if let Some(special) = special_quotient(a, b)? {
        return Ok(special);
    }
    divide(a, b, div_scale(a, b))
}

/// The quotient of finite numbers at `scale`, half away from zero.
pub(super) fn divide(a: &Numeric, b: &Numeric, scale: u32) -> Result<Numeric, SqlError> {
    let (Some((mut x, s)), Some((mut y, t))) = (a.to_bigint(), b.to_bigint()) else { return Ok(Numeric::NaN) };
    if signum(&y) == 0 {
        return Err(division_by_zero());
    }
    match (scale + t).cmp(&s) {
        Ordering::Less => y *= power_of_ten(s - scale - t),
        _ => x *= power_of_ten(scale + t - s),
    }
    Big::numeric(divide_round(&x, &y), scale)
}

pub(super) fn rem(a: &Numeric, b: &Numeric) -> Result<Numeric, SqlError> {
    match special_quotient(a, b)? {
        Some(_) if a.is_finite() && !b.is_nan() => return Ok(a.clone()),
        Some(_) => return Ok(Numeric::NaN),
        None => {}
    }
    match align(a, b) {
        Some((x, y, scale)) => Big::numeric(x % y, scale),
        None => Ok(Numeric::NaN),
    }
}

pub(super) fn div_trunc(a: &Numeric, b: &Numeric) -> Result<Numeric, SqlError> {
    if let Some(special) = special_quotient(a, b)? {
        return Ok(special);
    }
    match align(a, b) {
        Some((x, y, _)) => Big::numeric(x / y, 0),
        None => Ok(Numeric::NaN),
    }
}

pub(super) fn rescale(n: &Numeric, scale: i32, how: Cut) -> Result<Numeric, SqlError> {
    let Some((value, own)) = n.to_bigint() else { return Ok(n.clone()) };
    let drop = i64::from(own) - i64::from(scale);
    if drop <= 0 {
        return Big::numeric(value * power_of_ten(drop.unsigned_abs() as u32), scale.max(0) as u32);
    }
    let unit = power_of_ten(drop as u32);
    let kept = match how {
        Cut::Round => divide_round(&value, &unit),
        Cut::Trunc => value / unit,
        Cut::Floor | Cut::Ceil => {
            let (quotient, rest) = (&value / &unit, signum(&(&value % &unit)));
            match how {
                Cut::Floor if rest < 0 => quotient - 1,
                Cut::Ceil if rest > 0 => quotient + 1,
                _ => quotient,
            }
        }
    };
    match scale {
        0.. => Big::numeric(kept, scale as u32),
        _ => Big::numeric(kept * power_of_ten(scale.unsigned_abs()), 0),
    }
}

/// Without zeros at the end of the decimals.
pub(super) fn normalize(n: &Numeric) -> Numeric {
    let Some((value, scale)) = n.to_bigint() else { return n.clone() };
    let digits = value.magnitude().to_str_radix(10);
    let zeros = match signum(&value) {
        0 => scale,
        _ => (digits.bytes().rev().take_while(|d| *d == b'0').count() as u32).min(scale),
    };
    Big::numeric(value / power_of_ten(zeros), scale - zeros).unwrap_or_else(|_| n.clone())
}

/// Weight of the first digit other than zero in base 10,000, that digit and the next; `None` for zero.
pub(super) fn leading_digits(n: &Numeric) -> Option<(i32, u64, u64)> {
    let (value, scale) = n.to_bigint()?;
    let digits = count_digits(value.magnitude()) as i32;
    if digits == 0 {
        return None;
    }
    let weight = (digits - 1 - scale as i32).div_euclid(4);
    // Down to the decimal position where the second digit of base 10,000 ends.
    let shift = scale as i32 + (weight - 1) * 4;
    let magnitude = BigInt::from(value.magnitude().clone());
    let both = match shift {
        0.. => magnitude / power_of_ten(shift as u32),
        _ => magnitude * power_of_ten(shift.unsigned_abs()),
    };
    let both = u64::try_from(both).ok()?;
    Some((weight, both / 10_000, both % 10_000))
}
