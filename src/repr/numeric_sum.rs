//! Exact sums of numerics: order and retraction change nothing.
//!
//! Values of the small form are summed apart for each scale, so that the scale of a sum is the greatest of the values
//! that are left. The rest (more digits, NaN, infinities) is kept beside them, and only where there is any.

use crate::error::SqlError;
use crate::numeric::Numeric;
use arrow::datatypes::i256;
use num_bigint::BigInt;
use std::collections::BTreeMap;

/// A sum of `numeric`.
#[derive(Clone, Debug, Default)]
pub struct NumericSum {
    /// Unscaled sum and count of the small values of each scale.
    small: BTreeMap<u8, (i256, i64)>,
    great: Option<Box<Great>>,
}

/// What is not small.
#[derive(Clone, Debug, Default, PartialEq)]
struct Great {
    scales: BTreeMap<u16, (BigInt, i64)>,
    nans: i64,
    infinities: i64,
    negative_infinities: i64,
}

impl NumericSum {
    /// Adds `value` `times` times (negative: takes it away).
    pub fn add(&mut self, value: &Numeric, times: i64) {
        let Numeric::Small { value, scale } = value else { return self.add_great(value, times) };
        let slot = self.small.entry(*scale).or_insert((i256::ZERO, 0));
        let part = i256::from_i128(*value).wrapping_mul(i256::from_i128(times.into()));
        slot.0 = slot.0.wrapping_add(part);
        slot.1 += times;
        if *slot == (i256::ZERO, 0) {
            self.small.remove(scale);
        }
    }

    fn add_great(&mut self, value: &Numeric, times: i64) {
        let great = self.great.get_or_insert_default();
        match value {
            Numeric::NaN => great.nans += times,
            Numeric::Infinity => great.infinities += times,
            Numeric::NegInfinity => great.negative_infinities += times,
            _ => {
                if let Some((value, scale)) = value.to_bigint() {
                    let slot = great.scales.entry(scale as u16).or_default();
                    slot.0 += value * times;
                    slot.1 += times;
                    if *slot == (BigInt::ZERO, 0) {
                        great.scales.remove(&(scale as u16));
                    }
                }
            }
        }
        if **great == Great::default() {
            self.great = None;
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &NumericSum) {
        for (scale, (sum, n)) in &other.small {
            let slot = self.small.entry(*scale).or_insert((i256::ZERO, 0));
            slot.0 = slot.0.wrapping_add(*sum);
            slot.1 += n;
            if *slot == (i256::ZERO, 0) {
                self.small.remove(scale);
            }
        }
        let Some(theirs) = &other.great else { return };
        let great = self.great.get_or_insert_default();
        great.nans += theirs.nans;
        great.infinities += theirs.infinities;
        great.negative_infinities += theirs.negative_infinities;
        for (scale, (sum, n)) in &theirs.scales {
            let slot = great.scales.entry(*scale).or_default();
            slot.0 += sum;
            slot.1 += n;
        }
        great.scales.retain(|_, slot| *slot != (BigInt::ZERO, 0));
        if **great == Great::default() {
            self.great = None;
        }
    }

    /// How many values there are.
    pub fn count(&self) -> i64 {
        let great = self
            .great
            .as_ref()
            .map_or(0, |g| g.scales.values().map(|s| s.1).sum::<i64>() + g.nans + g.infinities + g.negative_infinities);
        self.small.values().map(|s| s.1).sum::<i64>() + great
    }

    /// The sum, at the greatest scale of its values; `22003` beyond the bounds of numeric.
    pub fn value(&self) -> Result<Numeric, SqlError> {
        let scale = self.small.iter().filter(|(_, s)| s.1 > 0).map(|(s, _)| *s).max().unwrap_or(0);
        if let Some(great) = &self.great {
            return self.great_value(great, scale);
        }
        match align(&self.small, scale) {
            Some(sum) => Numeric::from_i256(sum, scale.into()),
            None => self.great_value(&Great::default(), scale),
        }
    }

    fn great_value(&self, great: &Great, small_scale: u8) -> Result<Numeric, SqlError> {
        match (great.nans > 0, great.infinities > 0, great.negative_infinities > 0) {
            (false, false, false) => {}
            (false, true, false) => return Ok(Numeric::Infinity),
            (false, false, true) => return Ok(Numeric::NegInfinity),
            _ => return Ok(Numeric::NaN),
        }
        let scale = great.scales.iter().filter(|(_, s)| s.1 > 0).map(|(s, _)| *s).max().unwrap_or(0);
        let scale = scale.max(small_scale.into());
        let small = self.small.iter().map(|(s, (sum, _))| (u16::from(*s), to_bigint(*sum)));
        let parts: Vec<(u16, BigInt)> =
            small.chain(great.scales.iter().map(|(s, (sum, _))| (*s, sum.clone()))).collect();
        // Parts of a greater scale belong to values that are gone and cancel out there.
        let top = parts.iter().map(|p| p.0).max().unwrap_or(0).max(scale);
        let power = |by: u16| BigInt::from(10u8).pow(by.into());
        let sum: BigInt = parts.into_iter().map(|(s, part)| part * power(top - s)).sum();
        Numeric::from_bigint(sum / power(top - scale), scale.into())
    }

    /// Heap bytes, estimated.
    pub fn bytes(&self) -> usize {
        let great = self
            .great
            .as_ref()
            .map_or(0, |g| 96 + g.scales.values().map(|(sum, _)| 64 + sum.bits() as usize / 8).sum::<usize>());
        self.small.len() * 64 + great
    }

    /// Whether there are only values of the small form, so that [`NumericSum::write_small`] loses nothing.
    pub fn is_small(&self) -> bool {
        self.great.is_none()
    }

    /// Appends the small values: the number of scales (u8), each with its scale (u8), sum (i256) and count (i64),
    /// little-endian.
    pub fn write_small(&self, out: &mut Vec<u8>) {
        out.push(self.small.len() as u8);
        for (scale, (sum, count)) in &self.small {
            out.push(*scale);
            out.extend_from_slice(&sum.to_le_bytes());
            out.extend_from_slice(&count.to_le_bytes());
        }
    }

    /// Appends what is not small: the number of scales (u32), each with its scale (u16), the length (u32) and the bytes
    /// of its sum and its count (i64), then how many NaN, infinity and -infinity there are (i64); little-endian.
    pub fn write_great(&self, out: &mut Vec<u8>) {
        let none = Great::default();
        let great = self.great.as_deref().unwrap_or(&none);
        out.extend_from_slice(&(great.scales.len() as u32).to_le_bytes());
        for (scale, (sum, count)) in &great.scales {
            let sum = sum.to_signed_bytes_le();
            out.extend_from_slice(&scale.to_le_bytes());
            out.extend_from_slice(&(sum.len() as u32).to_le_bytes());
            out.extend_from_slice(&sum);
            out.extend_from_slice(&count.to_le_bytes());
        }
        for count in [great.nans, great.infinities, great.negative_infinities] {
            out.extend_from_slice(&count.to_le_bytes());
        }
    }

    /// Takes what [`NumericSum::write_small`] appended from the front of `input`; `None` where it is not there.
    pub fn read_small(input: &mut &[u8]) -> Option<NumericSum> {
        let [count] = take(input)?;
        let mut small = BTreeMap::new();
        for _ in 0..count {
            let [scale] = take(input)?;
            small.insert(scale, (i256::from_le_bytes(take(input)?), i64::from_le_bytes(take(input)?)));
        }
        Some(NumericSum { small, great: None })
    }

    /// Takes what [`NumericSum::write_great`] appended behind the small values.
    pub fn read_great(&mut self, input: &mut &[u8]) -> Option<()> {
        let mut great = Great::default();
        for _ in 0..u32::from_le_bytes(take(input)?) {
            let scale = u16::from_le_bytes(take(input)?);
            let len = u32::from_le_bytes(take(input)?) as usize;
            let (sum, rest) = input.split_at_checked(len)?;
            *input = rest;
            great.scales.insert(scale, (BigInt::from_signed_bytes_le(sum), i64::from_le_bytes(take(input)?)));
        }
        great.nans = i64::from_le_bytes(take(input)?);
        great.infinities = i64::from_le_bytes(take(input)?);
        great.negative_infinities = i64::from_le_bytes(take(input)?);
        self.great = Some(Box::new(great));
        Some(())
    }
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*first)
}

fn to_bigint(v: i256) -> BigInt {
    BigInt::from_signed_bytes_le(&v.to_le_bytes())
}

/// The sum over all scales, at `scale`. Parts of a greater scale belong to values that are gone and cancel out there.
fn align(scales: &BTreeMap<u8, (i256, i64)>, scale: u8) -> Option<i256> {
    let top = scales.keys().next_back().copied().unwrap_or(0).max(scale);
    let power = |by: u8| i256::from_i128(10).checked_pow(u32::from(by));
    let mut sum = i256::ZERO;
    for (s, (part, _)) in scales {
        sum = sum.checked_add(part.checked_mul(power(top - s)?)?)?;
    }
    sum.checked_div(power(top - scale)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Numeric {
        Numeric::parse(text).expect("a numeric")
    }

    /// Catches: a retraction that leaves something of the value, and a form that is not written.
    #[test]
    fn whatever_comes_goes() {
        let mut sum = NumericSum::default();
        let values =
            ["1.50", "NaN", "1e100", "Infinity", "-2e-60", "-Infinity", "99999999999999999999999999999999999999"];
        values.iter().for_each(|v| sum.add(&n(v), 2));
        assert_eq!((sum.count(), sum.value()), (14, Ok(Numeric::NaN)));
        let mut bytes = vec![];
        sum.write_small(&mut bytes);
        sum.write_great(&mut bytes);
        bytes.push(9);
        let mut input = &bytes[..];
        let mut sum = NumericSum::read_small(&mut input).expect("whole");
        sum.read_great(&mut input).expect("whole");
        assert_eq!(input, [9]);
        sum.add(&n("NaN"), -2);
        sum.add(&n("Infinity"), -2);
        assert_eq!(sum.value(), Ok(Numeric::NegInfinity));
        sum.add(&n("-Infinity"), -2);
        sum.add(&n("1e100"), -1);
        let rest = n("1e100").add(&n("3")).and_then(|v| v.add(&n("199999999999999999999999999999999999998")));
        assert_eq!(sum.value(), rest.and_then(|v| v.sub(&n("4e-60"))));
        sum.add(&n("1e100"), -1);
        sum.add(&n("-2e-60"), -2);
        assert!(sum.is_small());
        assert_eq!(sum.value(), Ok(n("200000000000000000000000000000000000001.00")));
    }
}
