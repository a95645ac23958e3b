//! bit_and, bit_or, bit_xor: how many of the values have each bit.

use super::input::{Input, int};
use hw_plan::AggregateFunc;
use hw_repr::{Datum, Diff, SqlError, SqlType};

/// See the module.
#[derive(Debug, Default)]
pub struct Bits {
    values: i64,
    /// How many values have the bit, lowest first, up to the highest that any has.
    ones: Vec<i64>,
}

impl Bits {
    /// Adds a value, `diff` times.
    pub fn add(&mut self, value: i64, diff: Diff) {
        self.values += diff;
        let mut left = value as u64;
        while left != 0 {
            let bit = left.trailing_zeros() as usize;
            left &= left - 1;
            if self.ones.len() <= bit {
                self.ones.resize(bit + 1, 0);
            }
            self.ones[bit] += diff;
        }
        while self.ones.last() == Some(&0) {
            self.ones.pop();
        }
    }

    /// Adds another's.
    pub fn merge(&mut self, other: &Bits) {
        self.values += other.values;
        if self.ones.len() < other.ones.len() {
            self.ones.resize(other.ones.len(), 0);
        }
        self.ones.iter_mut().zip(&other.ones).for_each(|(a, b)| *a += b);
    }

    /// The result of `func`, as a value of `ty`.
    pub fn result(&self, func: AggregateFunc, ty: SqlType) -> Datum {
        if self.values <= 0 {
            return Datum::Null;
        }
        let set = |n: i64| match func {
            AggregateFunc::BitAnd => n == self.values,
            AggregateFunc::BitOr => n > 0,
            _ => n % 2 != 0,
        };
        let value = self.ones.iter().enumerate().filter(|(_, n)| set(**n)).fold(0u64, |v, (bit, _)| v | 1 << bit);
        // Values are sign-extended, so the low bits are those of the narrower type.
        match ty {
            SqlType::Int2 => Datum::Int2(value as i16),
            SqlType::Int4 => Datum::Int4(value as i32),
            _ => Datum::Int8(value as i64),
        }
    }

    /// Heap bytes.
    pub fn bytes(&self) -> usize {
        self.ones.len() * 8
    }

    /// Appends the number of values, of bits, and the counts.
    pub fn write(&self, out: &mut Vec<u8>) {
        int(self.values, out);
        out.push(self.ones.len() as u8);
        self.ones.iter().for_each(|n| int(*n, out));
    }

    /// What [`Bits::write`] appended.
    pub fn read(input: &mut Input<'_>) -> Result<Bits, SqlError> {
        let values = input.i64()?;
        let [len] = input.take()?;
        let ones = (0..len.min(64)).map(|_| input.i64()).collect::<Result<_, _>>()?;
        Ok(Bits { values, ones })
    }
}
