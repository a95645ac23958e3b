//! Statistics of pairs (y, x): covariance, correlation and regression, from exact sums.
//!
//! The sums of squared and of multiplied differences (PostgreSQL's Sxx, Syy and Sxy) are each rounded once; the result is
//! PostgreSQL's formula of them. What it does with NaN and infinities is PostgreSQL's too: they make NaN of whatever
//! they take part in.

use super::input::{Input, int};
use super::moments::{finite, spread};
use super::wide::{self, FLOAT_EXPONENT, ProductSum, nearest_float};
use hw_plan::AggregateFunc as F;
use hw_repr::datum::Float;
use hw_repr::{Datum, Diff, FloatSum, SqlError};
use num_bigint::BigInt;

/// See the module.
#[derive(Debug, Default)]
pub struct Pairs {
    values: i64,
    y: FloatSum,
    x: FloatSum,
    /// Of finite values.
    yy: ProductSum,
    xx: ProductSum,
    /// Of pairs of finite values.
    xy: ProductSum,
}

impl Pairs {
    /// Adds a pair, `diff` times.
    pub fn add(&mut self, y: f64, x: f64, diff: Diff) {
        self.values += diff;
        self.y.add(y, diff);
        self.x.add(x, diff);
        for (sum, a, b) in [(&mut self.yy, y, y), (&mut self.xx, x, x), (&mut self.xy, x, y)] {
            if a.is_finite() && b.is_finite() {
                sum.add(a, b, diff);
            }
        }
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Pairs) {
        self.values += other.values;
        self.y.merge(&other.y);
        self.x.merge(&other.x);
        self.yy.merge(&other.yy);
        self.xx.merge(&other.xx);
        self.xy.merge(&other.xy);
    }

    /// The sum of products of differences from the means, divided by `by`.
    fn differences(&self, a: &FloatSum, b: &FloatSum, products: &ProductSum, by: i64) -> Result<f64, SqlError> {
        if !a.is_finite() || !b.is_finite() {
            return Ok(f64::NAN);
        }
        let spread = spread(self.values, &wide::big_of(a), &wide::big_of(b), products);
        finite(nearest_float(&spread, &(BigInt::from(self.values) * by), 2 * FLOAT_EXPONENT))
    }

    fn sxx(&self) -> Result<f64, SqlError> {
        self.differences(&self.x, &self.x, &self.xx, 1)
    }

    fn syy(&self) -> Result<f64, SqlError> {
        self.differences(&self.y, &self.y, &self.yy, 1)
    }

    fn sxy(&self) -> Result<f64, SqlError> {
        self.differences(&self.x, &self.y, &self.xy, 1)
    }

    /// The result of `func`.
    pub fn result(&self, func: F) -> Result<Datum, SqlError> {
        if func == F::RegrCount {
            return Ok(Datum::Int8(self.values));
        }
        let least = if func == F::CovarSamp { 2 } else { 1 };
        if self.values < least {
            return Ok(Datum::Null);
        }
        let value = match func {
            F::CovarPop => Some(self.differences(&self.x, &self.y, &self.xy, self.values)?),
            F::CovarSamp => Some(self.differences(&self.x, &self.y, &self.xy, self.values - 1)?),
            F::RegrSxx => Some(self.sxx()?),
            F::RegrSyy => Some(self.syy()?),
            F::RegrSxy => Some(self.sxy()?),
            F::RegrAvgx => Some(self.x.mean(self.values)?),
            F::RegrAvgy => Some(self.y.mean(self.values)?),
            _ => self.fit(func)?,
        };
        Ok(value.map_or(Datum::Null, |v| Datum::Float8(Float(v))))
    }

    /// Correlation and regression. `None`: not defined, where all x (or y) are the same.
    fn fit(&self, func: F) -> Result<Option<f64>, SqlError> {
        let (sxx, sxy) = (self.sxx()?, self.sxy()?);
        if sxx == 0.0 {
            return Ok(None);
        }
        Ok(match func {
            F::RegrSlope => Some(sxy / sxx),
            F::RegrIntercept => Some((self.y.sum()? - self.x.sum()? * sxy / sxx) / self.values as f64),
            F::RegrR2 => match self.syy()? {
                0.0 => Some(1.0),
                syy => Some(bounded((sxy * sxy) / (sxx * syy))),
            },
            _ => match self.syy()? {
                0.0 => None,
                syy => Some(bounded(sxy / (sxx * syy).sqrt())),
            },
        })
    }

    /// Heap bytes, estimated.
    pub fn bytes(&self) -> usize {
        let sums = self.y.bytes() + self.x.bytes();
        sums + self.yy.bytes() + self.xx.bytes() + self.xy.bytes() + 224
    }

    /// Appends the number of pairs and the sums.
    pub fn write(&self, out: &mut Vec<u8>) {
        int(self.values, out);
        self.y.write(out);
        self.x.write(out);
        self.yy.write(out);
        self.xx.write(out);
        self.xy.write(out);
    }

    /// What [`Pairs::write`] appended.
    pub fn read(input: &mut Input<'_>) -> Result<Pairs, SqlError> {
        Ok(Pairs {
            values: input.i64()?,
            y: wide::read_float_sum(input)?,
            x: wide::read_float_sum(input)?,
            yy: ProductSum::read(input)?,
            xx: ProductSum::read(input)?,
            xy: ProductSum::read(input)?,
        })
    }
}

/// What rounding has carried beyond the bounds that the value has.
fn bounded(value: f64) -> f64 {
    value.clamp(-1.0, 1.0)
}
