//! Arithmetic that is wider than any type: exact sums of products of floats, quotients rounded once, quotients and roots at
//! the scales of PostgreSQL's numeric.

use super::input::{Input, damaged};
use hw_repr::{FloatSum, SqlError, SqlState};
use num_bigint::{BigInt, BigUint, Sign};
use std::collections::BTreeMap;

/// Exponent of the lowest bit of a float.
pub const FLOAT_EXPONENT: i32 = -1074;
/// PostgreSQL's `NUMERIC_MIN_SIG_DIGITS` and `DEC_DIGITS`.
const SIGNIFICANT_DIGITS: i64 = 16;
const BASE_DIGITS: i64 = 4;
/// PostgreSQL's greatest display scale.
const SCALE_MAX: i64 = 1000;

/// `22003`, as PostgreSQL words it for floats.
pub fn float_overflow() -> SqlError {
    SqlError::new(SqlState::OUT_OF_RANGE, "value out of range: overflow")
}

/// `22008`
pub fn interval_out_of_range() -> SqlError {
    SqlError::new(SqlState::DATETIME_OVERFLOW, "interval out of range")
}

/// An exact sum of products of two finite floats: the sum of `limb * 2^(32 * index - 2148)`. A product adds two halves of at
/// most 53 bits, shifted by less than 32, so that a limb has room for 2^42 of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProductSum(BTreeMap<u8, i128>);

/// Mantissa with its sign, and the exponent above the lowest.
fn parts(value: f64) -> (i128, u32) {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as u32;
    let fraction = i128::from(bits & ((1 << 52) - 1));
    let (mantissa, shift) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
    (if value < 0.0 { -mantissa } else { mantissa }, shift)
}

impl ProductSum {
    /// Adds `a * b` `times` times. Both are finite.
    pub fn add(&mut self, a: f64, b: f64, times: i64) {
        let ((ma, sa), (mb, sb)) = (parts(a), parts(b));
        let product = ma * mb;
        let (high, low) = (product >> 53, product & ((1 << 53) - 1));
        self.add_at(low, sa + sb, times);
        self.add_at(high, sa + sb + 53, times);
    }

    fn add_at(&mut self, value: i128, shift: u32, times: i64) {
        if value == 0 {
            return;
        }
        let index = (shift / 32) as u8;
        let limb = self.0.entry(index).or_insert(0);
        *limb += (value << (shift % 32)) * i128::from(times);
        if *limb == 0 {
            self.0.remove(&index);
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &ProductSum) {
        for (index, limb) in &other.0 {
            let mine = self.0.entry(*index).or_insert(0);
            *mine += limb;
            if *mine == 0 {
                self.0.remove(index);
            }
        }
    }

    /// The sum in units of `2^(2 * FLOAT_EXPONENT)`.
    pub fn to_big(&self) -> BigInt {
        big_of_limbs(self.0.iter().map(|(i, l)| (*i, *l)))
    }

    /// Heap bytes, estimated.
    pub fn bytes(&self) -> usize {
        self.0.len() * 32
    }

    /// Appends the number of limbs and each with its index.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(self.0.len() as u8);
        for (index, limb) in &self.0 {
            out.push(*index);
            out.extend_from_slice(&limb.to_le_bytes());
        }
    }

    /// What [`ProductSum::write`] appended.
    pub fn read(input: &mut Input<'_>) -> Result<ProductSum, SqlError> {
        let [count] = input.take()?;
        let mut limbs = BTreeMap::new();
        for _ in 0..count {
            let [index] = input.take()?;
            limbs.insert(index, i128::from_le_bytes(input.take()?));
        }
        Ok(ProductSum(limbs))
    }
}

fn big_of_limbs(limbs: impl Iterator<Item = (u8, i128)>) -> BigInt {
    limbs.fold(BigInt::ZERO, |sum, (index, limb)| sum + (BigInt::from(limb) << (32 * usize::from(index))))
}

/// The finite part of a sum of floats, in units of `2^FLOAT_EXPONENT`.
pub fn big_of(sum: &FloatSum) -> BigInt {
    big_of_limbs(sum.limbs())
}

/// A sum as it was written.
pub fn read_float_sum(input: &mut Input<'_>) -> Result<FloatSum, SqlError> {
    FloatSum::read(&mut input.0).ok_or_else(damaged)
}

/// The float nearest to `n / d * 2^exponent`, ties to even; infinite where that is out of range. `d` is positive.
pub fn nearest_float(n: &BigInt, d: &BigInt, exponent: i32) -> f64 {
    let (negative, n, d) = (n.sign() == Sign::Minus, n.magnitude(), d.magnitude());
    if n.bits() == 0 {
        return 0.0;
    }
    // A quotient of at least 66 bits, and whether something is left.
    let up = 66 + d.bits() as i64 - n.bits() as i64;
    let (n, d) = if up >= 0 { (n << up, d.clone()) } else { (n.clone(), d << -up) };
    let quotient = &n / &d;
    let rest = &quotient * &d != n;
    let magnitude = round(&quotient, rest, i64::from(exponent) - up);
    if negative { -magnitude } else { magnitude }
}

/// The float nearest to `digits * 2^exponent`, where `rest` says that a little has been cut off.
fn round(digits: &BigUint, rest: bool, exponent: i64) -> f64 {
    let lowest = (exponent + digits.bits() as i64 - 53).max(FLOAT_EXPONENT.into());
    let drop = lowest - exponent;
    if drop > digits.bits() as i64 + 1 {
        return 0.0;
    }
    let kept = digits >> drop;
    let mut mantissa = kept.iter_u64_digits().next().unwrap_or(0);
    let half = digits.bit(drop as u64 - 1);
    let below = rest || digits.trailing_zeros().is_some_and(|z| (z as i64) < drop - 1);
    if half && (below || mantissa & 1 == 1) {
        mantissa += 1;
    }
    let mut lowest = lowest;
    if mantissa == 1 << 53 {
        mantissa >>= 1;
        lowest += 1;
    }
    if mantissa < 1 << 52 {
        return f64::from_bits(mantissa);
    }
    match lowest - i64::from(FLOAT_EXPONENT) + 1 {
        biased @ 1..0x7ff => f64::from_bits((biased as u64) << 52 | (mantissa & ((1 << 52) - 1))),
        _ => f64::INFINITY,
    }
}

/// `10^n`
pub fn power_of_ten(n: u32) -> BigInt {
    BigInt::from(10).pow(n)
}

/// PostgreSQL's quotient of `n * 10^-scale` and the integer `d`, both positive: the unscaled value and its scale.
pub fn quotient(n: &BigInt, scale: u32, d: &BigInt) -> (BigInt, u32) {
    let ((weight_n, first_n), (weight_d, first_d)) = (leading_digit(n, scale), leading_digit(d, 0));
    let weight = weight_n - weight_d - i64::from(first_n <= first_d);
    let wanted = (SIGNIFICANT_DIGITS - weight * BASE_DIGITS).max(scale.into()).clamp(0, SCALE_MAX) as u32;
    let n = n * power_of_ten(wanted - scale);
    // Half away from zero; both are positive.
    ((n * 2 + d) / (d * BigInt::from(2)), wanted)
}

/// The first digit in base 10,000 and its weight.
fn leading_digit(value: &BigInt, scale: u32) -> (i64, u64) {
    let digits = value.magnitude().to_str_radix(10);
    let log = digits.len() as i64 - 1 - i64::from(scale);
    let weight = log.div_euclid(BASE_DIGITS);
    let length = (log - weight * BASE_DIGITS + 1) as usize;
    let first = format!("{digits:0<length$}");
    (weight, first[..length].parse().unwrap_or(0))
}

/// The square root of `value * 10^-scale` at the same scale, rounded.
pub fn square_root(value: &BigInt, scale: u32) -> BigInt {
    let square = value * power_of_ten(scale);
    let root = square.sqrt();
    let rest = &square - &root * &root;
    if rest > root { root + 1 } else { root }
}

/// Appends a wide integer.
pub fn write_big(value: &BigInt, out: &mut Vec<u8>) {
    super::input::string(&value.to_signed_bytes_le(), out);
}

/// What [`write_big`] appended.
pub fn read_big(input: &mut Input<'_>) -> Result<BigInt, SqlError> {
    input.string().map(BigInt::from_signed_bytes_le)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_of_floats_are_rounded_once() {
        let near = |n: i64, d: i64, e| nearest_float(&BigInt::from(n), &BigInt::from(d), e);
        assert_eq!(near(1, 3, 0), 1.0 / 3.0);
        assert_eq!(near(-2, 3, 0), -2.0 / 3.0);
        assert_eq!(near(1, 10, 0), 0.1);
        assert_eq!(near(5, 1, -1074), 2.5e-323);
        assert_eq!(near(3, 2, -1074), 1e-323);
        assert_eq!(near(1, 2, -1074), 0.0);
        assert_eq!(near(3, 4, -1074), 5e-324);
        assert_eq!(near(1, 1, 1024), f64::INFINITY);
        assert_eq!(near((1 << 53) + 1, 1, 0), 9007199254740992.0);
        assert_eq!(near((1 << 53) - 1, 1, 971), f64::MAX);
        assert_eq!(near(7, 1, 0), 7.0);
    }

    #[test]
    fn sums_of_products_are_exact() {
        let mut sum = ProductSum::default();
        for (a, b) in [(1e300, 1e-300), (0.1, 0.1), (-3.5, 2.0), (5e-324, 5e-324), (1e308, 1e308)] {
            sum.add(a, b, 2);
        }
        let mut bytes = vec![];
        sum.write(&mut bytes);
        assert_eq!(ProductSum::read(&mut Input(&bytes)).ok(), Some(sum.clone()));
        for (a, b) in [(1e300, 1e-300), (0.1, 0.1), (5e-324, 5e-324), (1e308, 1e308)] {
            sum.add(a, b, -2);
        }
        assert_eq!(nearest_float(&sum.to_big(), &BigInt::from(1), 2 * FLOAT_EXPONENT), -14.0);
        sum.add(-3.5, 2.0, -2);
        assert_eq!(sum, ProductSum::default());
    }

    #[test]
    fn roots_are_rounded() {
        let root = |v: i64, scale| square_root(&BigInt::from(v), scale).to_string();
        assert_eq!(
            (root(2, 0), root(3, 0), root(200, 2), root(0, 3)),
            ("1".into(), "2".into(), "141".into(), "0".into())
        );
    }
}
