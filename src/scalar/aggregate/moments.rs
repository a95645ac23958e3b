//! Variance and standard deviation: the number of values, their sum and the sum of their squares, all exact.
//!
//! Of integers and numeric the result has PostgreSQL's digits. Of floats it is the exact variance rounded once, where
//! PostgreSQL's own last digits depend on the order of the rows.

use super::input::{Input, int};
use super::wide::{self, FLOAT_EXPONENT, ProductSum, nearest_float};
use arrow::datatypes::i256;
use hw_plan::AggregateFunc as F;
use hw_repr::datum::Float;
use hw_repr::numeric::Numeric;
use hw_repr::{Datum, Diff, FloatSum, SqlError};
use num_bigint::BigInt;
use std::collections::BTreeMap;

/// Values of one scale, unscaled.
#[derive(Debug, Default)]
struct Part {
    values: i64,
    /// Of values of at most 63 bits and of their squares: 2^63 of them fit.
    sum: i256,
    squares: i256,
    /// Of the others.
    wide_sum: BigInt,
    wide_squares: BigInt,
}

/// Of integers (scale 0) and numeric, by their scale.
#[derive(Debug, Default)]
pub struct Exact {
    parts: BTreeMap<u16, Part>,
    /// NaN and infinities: among them there is no variance.
    specials: i64,
}

fn wide_of(v: i128) -> i256 {
    i256::from_i128(v)
}

fn big(v: i256) -> BigInt {
    BigInt::from_signed_bytes_le(&v.to_le_bytes())
}

impl Part {
    fn is_empty(&self) -> bool {
        self.values == 0
            && self.sum == i256::ZERO
            && self.squares == i256::ZERO
            && self.wide_sum == BigInt::ZERO
            && self.wide_squares == BigInt::ZERO
    }
}

impl Exact {
    /// Adds `value`, `diff` times.
    pub fn add(&mut self, value: &Numeric, diff: Diff) {
        let Some(scale) = value.scale() else {
            self.specials += diff;
            return;
        };
        let part = self.parts.entry(scale as u16).or_default();
        part.values += diff;
        match value {
            Numeric::Small { value, .. } if i64::try_from(*value).is_ok() => {
                let times = wide_of(diff.into());
                part.sum = part.sum.wrapping_add(wide_of(*value).wrapping_mul(times));
                part.squares = part.squares.wrapping_add(wide_of(value * value).wrapping_mul(times));
            }
            wide => {
                let (value, _) = wide.to_bigint().unwrap_or_default();
                part.wide_squares += &value * &value * diff;
                part.wide_sum += value * diff;
            }
        }
        if part.is_empty() {
            self.parts.remove(&(scale as u16));
        }
    }

    /// Adds another's.
    pub fn merge(&mut self, other: Exact) {
        self.specials += other.specials;
        for (scale, theirs) in other.parts {
            let mine = self.parts.entry(scale).or_default();
            mine.values += theirs.values;
            mine.sum = mine.sum.wrapping_add(theirs.sum);
            mine.squares = mine.squares.wrapping_add(theirs.squares);
            mine.wide_sum += theirs.wide_sum;
            mine.wide_squares += theirs.wide_squares;
        }
    }

    /// The result of `func`.
    pub fn result(&self, func: F) -> Result<Datum, SqlError> {
        let values: i64 = self.parts.values().map(|p| p.values).sum();
        if values + self.specials < least(func) {
            return Ok(Datum::Null);
        }
        if self.specials > 0 {
            return Ok(Datum::Numeric(Numeric::NaN));
        }
        // Parts of scales that no value has any more are nothing.
        let scale = self.parts.iter().filter(|(_, p)| p.values > 0).map(|(s, _)| u32::from(*s)).max().unwrap_or(0);
        let (mut sum, mut squares) = (BigInt::ZERO, BigInt::ZERO);
        for (own, part) in self.parts.iter().filter(|(s, _)| u32::from(**s) <= scale) {
            let up = wide::power_of_ten(scale - u32::from(*own));
            sum += (big(part.sum) + &part.wide_sum) * &up;
            squares += (big(part.squares) + &part.wide_squares) * &up * &up;
        }
        let n = BigInt::from(values);
        let spread = &n * squares - &sum * &sum;
        if spread <= BigInt::ZERO {
            return Ok(Datum::Numeric(Numeric::ZERO));
        }
        let divisor = &n * divisor(func, values);
        let (variance, scale) = wide::quotient(&spread, 2 * scale, &divisor);
        let value = if is_deviation(func) { wide::square_root(&variance, scale) } else { variance };
        Ok(Datum::Numeric(Numeric::from_bigint(value, scale)?))
    }

    /// Heap bytes, estimated.
    pub fn bytes(&self) -> usize {
        self.parts.len() * 200
    }

    /// Appends the number of special values, that of scales, and each with what is kept of it.
    pub fn write(&self, out: &mut Vec<u8>) {
        int(self.specials, out);
        out.extend_from_slice(&(self.parts.len() as u16).to_le_bytes());
        for (scale, part) in &self.parts {
            out.extend_from_slice(&scale.to_le_bytes());
            int(part.values, out);
            out.extend_from_slice(&part.sum.to_le_bytes());
            out.extend_from_slice(&part.squares.to_le_bytes());
            wide::write_big(&part.wide_sum, out);
            wide::write_big(&part.wide_squares, out);
        }
    }

    /// What [`Exact::write`] appended.
    pub fn read(input: &mut Input<'_>) -> Result<Exact, SqlError> {
        let specials = input.i64()?;
        let mut parts = BTreeMap::new();
        for _ in 0..u16::from_le_bytes(input.take()?) {
            let scale = u16::from_le_bytes(input.take()?);
            let part = Part {
                values: input.i64()?,
                sum: i256::from_le_bytes(input.take()?),
                squares: i256::from_le_bytes(input.take()?),
                wide_sum: wide::read_big(input)?,
                wide_squares: wide::read_big(input)?,
            };
            parts.insert(scale, part);
        }
        Ok(Exact { parts, specials })
    }
}

/// How many values there must be.
fn least(func: F) -> i64 {
    if matches!(func, F::VarSamp | F::StddevSamp | F::CovarSamp) { 2 } else { 1 }
}

/// What the sum of squared differences is divided by.
fn divisor(func: F, values: i64) -> i64 {
    values - (least(func) - 1)
}

fn is_deviation(func: F) -> bool {
    matches!(func, F::StddevPop | F::StddevSamp)
}

/// Of floats.
#[derive(Debug, Default)]
pub struct Floats {
    values: i64,
    sum: FloatSum,
    /// Of finite values.
    squares: ProductSum,
}

impl Floats {
    /// Adds `value`, `diff` times.
    pub fn add(&mut self, value: f64, diff: Diff) {
        self.values += diff;
        self.sum.add(value, diff);
        if value.is_finite() {
            self.squares.add(value, value, diff);
        }
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Floats) {
        self.values += other.values;
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
    }

    /// The result of `func`; `22003` where the variance of finite values is out of range.
    pub fn result(&self, func: F) -> Result<Datum, SqlError> {
        if self.values < least(func) {
            return Ok(Datum::Null);
        }
        if !self.sum.is_finite() {
            return Ok(Datum::Float8(Float(f64::NAN)));
        }
        let spread = spread(self.values, &wide::big_of(&self.sum), &wide::big_of(&self.sum), &self.squares);
        let by = BigInt::from(self.values) * divisor(func, self.values);
        let variance = finite(nearest_float(&spread, &by, 2 * FLOAT_EXPONENT))?;
        Ok(Datum::Float8(Float(if is_deviation(func) { variance.sqrt() } else { variance })))
    }

    /// Heap bytes, estimated.
    pub fn bytes(&self) -> usize {
        self.sum.bytes() + self.squares.bytes() + 128
    }

    /// Appends the number of values, their sum and that of their squares.
    pub fn write(&self, out: &mut Vec<u8>) {
        int(self.values, out);
        self.sum.write(out);
        self.squares.write(out);
    }

    /// What [`Floats::write`] appended.
    pub fn read(input: &mut Input<'_>) -> Result<Floats, SqlError> {
        Ok(Floats { values: input.i64()?, sum: wide::read_float_sum(input)?, squares: ProductSum::read(input)? })
    }
}

/// `n * sum(a * b) - sum(a) * sum(b)`, in units of `2^(2 * FLOAT_EXPONENT)`.
pub fn spread(n: i64, a: &BigInt, b: &BigInt, products: &ProductSum) -> BigInt {
    products.to_big() * n - a * b
}

/// `22003` for what is not finite.
pub fn finite(value: f64) -> Result<f64, SqlError> {
    if value.is_finite() { Ok(value) } else { Err(wide::float_overflow()) }
}
