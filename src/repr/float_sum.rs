//! Exact sums of floats: a sparse wide fixed-point number, rounded once. Order and retraction change nothing.
//!
//! The value is the sum of `limb * 2^(32 * index - 1074)`. A float adds its mantissa, shifted by less than 32 bits, to
//! one limb, so a limb has room for 2^41 additions.

use crate::error::{SqlError, SqlState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Exponent of the lowest bit of the smallest subnormal.
const MIN_EXP: i32 = -1074;

/// A sum of `f64`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FloatSum {
    limbs: BTreeMap<u8, i128>,
    nans: i64,
    plus_infinities: i64,
    minus_infinities: i64,
}

impl FloatSum {
    /// Adds `value` `times` times (negative: takes it away).
    pub fn add(&mut self, value: f64, times: i64) {
        if value.is_nan() {
            self.nans += times;
        } else if value == f64::INFINITY {
            self.plus_infinities += times;
        } else if value == f64::NEG_INFINITY {
            self.minus_infinities += times;
        } else if value != 0.0 {
            let bits = value.to_bits();
            let exponent = ((bits >> 52) & 0x7ff) as i32;
            let fraction = (bits & ((1 << 52) - 1)) as i128;
            let (mantissa, shift) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
            let signed = if value < 0.0 { -mantissa } else { mantissa };
            let index = (shift / 32) as u8;
            let limb = self.limbs.entry(index).or_insert(0);
            *limb += (signed << (shift % 32)) * i128::from(times);
            if *limb == 0 {
                self.limbs.remove(&index);
            }
        }
    }

    /// The sum, rounded to nearest, ties to even.
    pub fn value(&self) -> f64 {
        if self.nans > 0 || (self.plus_infinities > 0 && self.minus_infinities > 0) {
            return f64::NAN;
        }
        if self.plus_infinities > 0 {
            return f64::INFINITY;
        }
        if self.minus_infinities > 0 {
            return f64::NEG_INFINITY;
        }
        let (negative, digits) = self.digits();
        let magnitude = round(&digits);
        if negative { -magnitude } else { magnitude }
    }

    /// SQL's `sum` as double precision: 22003 where finite values have a sum that is not.
    pub fn sum(&self) -> Result<f64, SqlError> {
        let value = self.value();
        let overflow = value.is_infinite() && self.plus_infinities <= 0 && self.minus_infinities <= 0;
        if overflow { Err(too_large()) } else { Ok(value) }
    }

    /// SQL's `sum` as real.
    pub fn narrow_sum(&self) -> Result<f32, SqlError> {
        let value = self.sum()?;
        let narrow = value as f32;
        if narrow.is_infinite() && value.is_finite() { Err(too_large()) } else { Ok(narrow) }
    }

    /// SQL's `avg` of `n` values.
    pub fn mean(&self, n: i64) -> Result<f64, SqlError> {
        Ok(self.sum()? / n as f64)
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &FloatSum) {
        for (index, limb) in &other.limbs {
            let mine = self.limbs.entry(*index).or_insert(0);
            *mine += limb;
            if *mine == 0 {
                self.limbs.remove(index);
            }
        }
        self.nans += other.nans;
        self.plus_infinities += other.plus_infinities;
        self.minus_infinities += other.minus_infinities;
    }

    /// Sign and base 2^32 digits of the magnitude, lowest first.
    fn digits(&self) -> (bool, Vec<u32>) {
        let length = self.limbs.keys().next_back().map_or(0, |i| usize::from(*i) + 1) + 4;
        let carry_all = |sign: i128| -> (i128, Vec<u32>) {
            let mut carry: i128 = 0;
            let digits = (0..length)
                .map(|i| {
                    let total = carry + sign * self.limbs.get(&(i as u8)).copied().unwrap_or(0);
                    carry = total >> 32;
                    (total & 0xffff_ffff) as u32
                })
                .collect();
            (carry, digits)
        };
        let (carry, digits) = carry_all(1);
        if carry < 0 { (true, carry_all(-1).1) } else { (false, digits) }
    }

    /// The digits of the finite part: the value is the sum of `limb * 2^(32 * index - 1074)`.
    pub fn limbs(&self) -> impl Iterator<Item = (u8, i128)> {
        self.limbs.iter().map(|(index, limb)| (*index, *limb))
    }

    /// True where nothing in it is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        (self.nans, self.plus_infinities, self.minus_infinities) == (0, 0, 0)
    }

    /// Heap bytes, estimated.
    pub fn bytes(&self) -> usize {
        self.limbs.len() * 32
    }

    /// Appends it as bytes: the number of limbs, each with its index (u8) and value (i128), then how many NaN, infinity
    /// and -infinity there are (i64); little-endian.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(self.limbs.len() as u8);
        for (index, limb) in &self.limbs {
            out.push(*index);
            out.extend_from_slice(&limb.to_le_bytes());
        }
        for count in [self.nans, self.plus_infinities, self.minus_infinities] {
            out.extend_from_slice(&count.to_le_bytes());
        }
    }

    /// Takes what [`FloatSum::write`] appended from the front of `input`; `None` where it is not there.
    pub fn read(input: &mut &[u8]) -> Option<FloatSum> {
        fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
            let (first, rest) = input.split_first_chunk::<N>()?;
            *input = rest;
            Some(*first)
        }
        let [count] = take(input)?;
        let mut limbs = BTreeMap::new();
        for _ in 0..count {
            let [index] = take(input)?;
            limbs.insert(index, i128::from_le_bytes(take(input)?));
        }
        let mut counts = [0; 3];
        for count in &mut counts {
            *count = i64::from_le_bytes(take(input)?);
        }
        let [nans, plus_infinities, minus_infinities] = counts;
        Some(FloatSum { limbs, nans, plus_infinities, minus_infinities })
    }
}

fn too_large() -> SqlError {
    SqlError::new(SqlState::OUT_OF_RANGE, "value out of range: overflow")
}

/// The float nearest to `sum(digit[i] * 2^(32 i)) * 2^MIN_EXP`.
fn round(digits: &[u32]) -> f64 {
    let Some(top) = digits.iter().rposition(|d| *d != 0) else { return 0.0 };
    let high_bit = top as i32 * 32 + 31 - digits[top].leading_zeros() as i32;
    let bit = |at: i32| at >= 0 && digits[at as usize / 32] >> (at % 32) & 1 == 1;
    // Below bit 52 the value is subnormal or exact in its lowest bit.
    let low = (high_bit - 52).max(0);
    let mut mantissa: u64 = 0;
    for at in (low..=high_bit).rev() {
        mantissa = mantissa << 1 | u64::from(bit(at));
    }
    let half = bit(low - 1);
    let rest = (0..low - 1).any(bit);
    if half && (rest || mantissa & 1 == 1) {
        mantissa += 1;
    }
    let mut exponent = low;
    if mantissa == 1 << 53 {
        mantissa >>= 1;
        exponent += 1;
    }
    if mantissa < 1 << 52 {
        return f64::from_bits(mantissa);
    }
    // mantissa * 2^(exponent + MIN_EXP), the biased exponent of which is exponent + 1
    debug_assert_eq!(MIN_EXP, -1074);
    if exponent + 1 >= 0x7ff {
        return f64::INFINITY;
    }
    f64::from_bits((exponent as u64 + 1) << 52 | (mantissa & ((1 << 52) - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_in_any_order() {
        let mut sum = FloatSum::default();
        for v in [1e308, 1.0, -1e308, 1e-300, 5e-324] {
            sum.add(v, 1);
        }
        assert_eq!(sum.value(), 1.0);
        sum.add(1.0, -1);
        assert_eq!(sum.value(), 1e-300);
        sum.add(1e-300, -1);
        assert_eq!(sum.value(), 5e-324);
        sum.add(5e-324, -1);
        assert_eq!(sum.value(), 0.0);
    }

    #[test]
    fn one_value_gives_itself() {
        for v in [0.1, -0.1, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, 1.5, 3.0e-310, -2.5e17] {
            let mut sum = FloatSum::default();
            sum.add(v, 1);
            assert_eq!(sum.value().to_bits(), v.to_bits(), "{v}");
        }
        let mut sum = FloatSum::default();
        sum.add(f64::MAX, 2);
        assert_eq!(sum.value(), f64::INFINITY);
    }

    #[test]
    fn parts_merge_and_overflow_is_an_error() {
        let (mut a, mut b) = (FloatSum::default(), FloatSum::default());
        a.add(1e308, 1);
        b.add(1e308, 1);
        b.add(0.5, 1);
        a.merge(&b);
        assert_eq!(a.sum().map_err(|e| e.code), Err(SqlState::OUT_OF_RANGE));
        a.add(1e308, -2);
        assert_eq!((a.sum().ok(), a.narrow_sum().ok(), a.mean(2).ok()), (Some(0.5), Some(0.5), Some(0.25)));
        a.add(1e300, 1);
        assert_eq!(a.narrow_sum().map_err(|e| e.code), Err(SqlState::OUT_OF_RANGE));
        a.add(f64::INFINITY, 1);
        assert_eq!(a.sum().ok(), Some(f64::INFINITY));
    }

    #[test]
    fn written_sums_come_back() {
        let mut sum = FloatSum::default();
        for v in [1e308, -2.5, 5e-324, f64::NAN, f64::INFINITY, f64::INFINITY] {
            sum.add(v, 3);
        }
        let mut bytes = vec![];
        sum.write(&mut bytes);
        bytes.push(7);
        let mut input = &bytes[..];
        let mut back = FloatSum::read(&mut input).expect("whole");
        assert_eq!(input, [7]);
        for v in [f64::NAN, f64::INFINITY, f64::INFINITY, 1e308, 5e-324] {
            back.add(v, -3);
        }
        assert_eq!(back.value(), -7.5);
        assert!(FloatSum::read(&mut &bytes[..bytes.len() - 2]).is_none());
    }

    #[test]
    fn infinities_come_and_go() {
        let mut sum = FloatSum::default();
        sum.add(2.0, 1);
        sum.add(f64::INFINITY, 1);
        assert_eq!(sum.value(), f64::INFINITY);
        sum.add(f64::NEG_INFINITY, 1);
        assert!(sum.value().is_nan());
        sum.add(f64::INFINITY, -1);
        sum.add(f64::NEG_INFINITY, -1);
        assert_eq!(sum.value(), 2.0);
    }

    #[test]
    fn ties_go_to_even() {
        let mut sum = FloatSum::default();
        sum.add(9007199254740992.0, 1);
        sum.add(1.0, 1);
        assert_eq!(sum.value(), 9007199254740992.0);
        sum.add(2.0, 1);
        assert_eq!(sum.value(), 9007199254740996.0);
        sum.add(1e-200, -1);
        assert_eq!(sum.value(), 9007199254740994.0);
    }
}
