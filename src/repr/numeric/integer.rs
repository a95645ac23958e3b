//! Divisors, multiples, factorials and buckets.

use super::big::{power_of_ten, signum};
use super::{Big, Numeric, overflow};
use crate::error::{SqlError, SqlState};
use num_bigint::BigInt;
use std::cmp::Ordering;

/// The greatest factorial that fits.
const FACTORIAL_MAX: i64 = 32_177;

fn both(a: &Numeric, b: &Numeric) -> Option<(BigInt, BigInt, u32)> {
    let ((x, s), (y, t)) = (a.to_bigint()?, b.to_bigint()?);
    let scale = s.max(t);
    Some((x * power_of_ten(scale - s), y * power_of_ten(scale - t), scale))
}

fn divisor(mut a: BigInt, mut b: BigInt) -> BigInt {
    while signum(&b) != 0 {
        (a, b) = (b.clone(), a % b);
    }
    BigInt::from(a.magnitude().clone())
}

/// The greatest common divisor, at the greater scale.
pub fn gcd(a: &Numeric, b: &Numeric) -> Result<Numeric, SqlError> {
    match both(a, b) {
        Some((x, y, scale)) => Big::numeric(divisor(x, y), scale),
        None => Ok(Numeric::NaN),
    }
}

/// The least common multiple, at the greater scale; 0 where one is 0.
pub fn lcm(a: &Numeric, b: &Numeric) -> Result<Numeric, SqlError> {
    let Some((x, y, scale)) = both(a, b) else { return Ok(Numeric::NaN) };
    if signum(&x) == 0 || signum(&y) == 0 {
        return Big::numeric(BigInt::ZERO, scale);
    }
    let multiple = &x / divisor(x.clone(), y.clone()) * y;
    Big::numeric(BigInt::from(multiple.magnitude().clone()), scale)
}

/// `n!`; `22003` of a negative number and beyond 32,177.
pub fn factorial(n: i64) -> Result<Numeric, SqlError> {
    if n < 0 {
        return Err(SqlError::new(SqlState::OUT_OF_RANGE, "factorial of a negative number is undefined"));
    }
    if n > FACTORIAL_MAX {
        return Err(overflow());
    }
    Big::numeric(product(1, n.max(1) as u64), 0)
}

/// The product of the integers from `low` to `high`, halves of about equal size multiplied last.
fn product(low: u64, high: u64) -> BigInt {
    if high - low < 8 {
        return (low..=high).map(BigInt::from).product();
    }
    let middle = low + (high - low) / 2;
    product(low, middle) * product(middle + 1, high)
}

/// `2201G`
pub fn bucket_error(message: &str) -> SqlError {
    SqlError::new(SqlState::new("2201G"), message)
}

/// In which of `count` buckets of one width between the bounds `v` lies: 0 below, `count + 1` above.
pub fn width_bucket(v: &Numeric, low: &Numeric, high: &Numeric, count: i32) -> Result<i32, SqlError> {
    if count <= 0 {
        return Err(bucket_error("count must be greater than zero"));
    }
    if v.is_nan() || low.is_nan() || high.is_nan() {
        return Err(bucket_error("operand, lower bound, and upper bound cannot be NaN"));
    }
    if !low.is_finite() || !high.is_finite() {
        return Err(bucket_error("lower and upper bounds must be finite"));
    }
    let above = || count.checked_add(1).ok_or_else(|| SqlError::new(SqlState::OUT_OF_RANGE, "integer out of range"));
    let rising = match low.cmp_value(high) {
        Ordering::Equal => return Err(bucket_error("lower bound cannot equal upper bound")),
        order => order.is_lt(),
    };
    let (before, beyond) = match rising {
        true => (v.cmp_value(low).is_lt(), v.cmp_value(high).is_ge()),
        false => (v.cmp_value(low).is_gt(), v.cmp_value(high).is_le()),
    };
    if before {
        return Ok(0);
    }
    if beyond {
        return above();
    }
    let (n, d) = (v.sub(low)?.mul(&Numeric::from_i64(count.into()))?, high.sub(low)?);
    let bucket: i32 = n.div_trunc(&d)?.to_integer("integer")?;
    Ok(bucket + 1)
}
