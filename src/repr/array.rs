//! Arrays: their values, ordered bytes and text.
//!
//! Format of the bytes (version of the row encoding): each element as the row encoding has a column of the element type,
//! 0x00, the number of dimensions (one byte), the lengths, then the lower bounds (both big-endian, sign flipped). Elements of
//! `numeric(p,s)` are written as bare numeric. `memcmp` order is PostgreSQL's: elements in order, NULL last, the shorter
//! first, then dimensions.
//!
//! Invariant: the number of elements is the product of the lengths; an empty array has no dimensions.

use crate::datum::Datum;
use crate::encoding::{self, RowCodec};
use crate::error::{SqlError, SqlState};
use crate::row::written;
use crate::types::SqlType;
use serde::{Deserialize, Serialize};

mod text;

pub use text::{parse, write};

/// PostgreSQL's `MAXDIM`.
pub const DIMENSIONS_MAX: usize = 6;
/// PostgreSQL's `MaxArraySize`.
pub const ELEMENTS_MAX: usize = 134_217_727;

/// One dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dimension {
    /// Elements along it.
    pub length: i32,
    /// Subscript of the first one.
    pub lower: i32,
}

impl Dimension {
    /// Subscript of the last element.
    pub fn upper(&self) -> i32 {
        self.lower.saturating_add(self.length - 1)
    }
}

/// An array, its elements in row-major order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ArrayValue {
    /// Type of the elements.
    pub element: SqlType,
    /// Dimensions, the slowest first; none of an empty array.
    pub dimensions: Vec<Dimension>,
    /// Elements.
    pub values: Vec<Datum>,
}

/// `22P02` for text, `2202E` for values: sub-arrays of different shapes.
pub(crate) fn ragged() -> SqlError {
    SqlError::new(
        SqlState::new("2202E"),
        "multidimensional arrays must have array expressions with matching dimensions",
    )
}

/// `54000`: more than [`ELEMENTS_MAX`].
pub fn too_large() -> SqlError {
    SqlError::new(SqlState::new("54000"), format!("array size exceeds the maximum allowed ({ELEMENTS_MAX})"))
}

/// `54000`: more than [`DIMENSIONS_MAX`].
pub fn too_deep(dimensions: usize) -> SqlError {
    let message = format!("number of array dimensions ({dimensions}) exceeds the maximum allowed ({DIMENSIONS_MAX})");
    SqlError::new(SqlState::new("54000"), message)
}

impl ArrayValue {
    /// An array of one dimension from 1; without elements, an empty one.
    pub fn from_values(element: SqlType, values: Vec<Datum>) -> ArrayValue {
        let length = i32::try_from(values.len()).unwrap_or(i32::MAX);
        let dimensions = if values.is_empty() { vec![] } else { vec![Dimension { length, lower: 1 }] };
        ArrayValue { element, dimensions, values }
    }

    /// Puts arrays side by side along a new first dimension; `2202E` where their shapes differ. Empty ones give an empty one.
    pub fn stack(element: SqlType, parts: Vec<ArrayValue>) -> Result<ArrayValue, SqlError> {
        let Some(first) = parts.first() else { return Ok(ArrayValue::from_values(element, vec![])) };
        let inner = first.dimensions.clone();
        if inner.len() >= DIMENSIONS_MAX {
            return Err(too_deep(inner.len() + 1));
        }
        if parts.iter().any(|p| p.dimensions != inner) {
            return Err(ragged());
        }
        if inner.is_empty() {
            return Ok(ArrayValue::from_values(element, vec![]));
        }
        let length = i32::try_from(parts.len()).map_err(|_| too_large())?;
        let dimensions = std::iter::once(Dimension { length, lower: 1 }).chain(inner).collect();
        Ok(ArrayValue { element, dimensions, values: parts.into_iter().flat_map(|p| p.values).collect() })
    }

    /// The ordered bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SqlError> {
        self.bytes(RowCodec::new(&[written(self.element)]))
    }

    /// Equal arrays have equal bytes: 1.0 and 1.00 within too.
    pub fn to_key_bytes(&self) -> Result<Vec<u8>, SqlError> {
        self.bytes(RowCodec::key(&[written(self.element)]))
    }

    fn bytes(&self, codec: RowCodec) -> Result<Vec<u8>, SqlError> {
        let mut out = vec![];
        for value in &self.values {
            codec.encode_datums(std::slice::from_ref(value), &mut out)?;
        }
        out.push(0);
        out.push(self.dimensions.len() as u8);
        for d in &self.dimensions {
            out.extend_from_slice(&(d.length ^ i32::MIN).to_be_bytes());
        }
        for d in &self.dimensions {
            out.extend_from_slice(&(d.lower ^ i32::MIN).to_be_bytes());
        }
        Ok(out)
    }

    /// Back from [`ArrayValue::to_bytes`]; `XX001` where they are none.
    pub fn from_bytes(element: SqlType, bytes: &[u8]) -> Result<ArrayValue, SqlError> {
        let ty = written(element);
        let (mut rest, mut elements) = (bytes, vec![]);
        while rest.first().is_some_and(|marker| *marker != 0) {
            let after = encoding::skip_column(ty, rest)?;
            elements.push(&rest[..rest.len() - after.len()]);
            rest = after;
        }
        let damaged = || encoding::damaged("no dimensions of an array");
        let (count, mut tail) = match rest {
            [0, count, tail @ ..] if tail.len() == usize::from(*count) * 8 => (usize::from(*count), tail),
            _ => return Err(damaged()),
        };
        let mut numbers = vec![];
        while let Some((head, after)) = tail.split_first_chunk::<4>() {
            numbers.push(i32::from_be_bytes(*head) ^ i32::MIN);
            tail = after;
        }
        let (lengths, lowers) = numbers.split_at(count);
        let dimensions = lengths.iter().zip(lowers).map(|(l, b)| Dimension { length: *l, lower: *b }).collect();
        let columns = RowCodec::new(&[ty]).decode(&mut elements.into_iter())?;
        let column = columns.first().ok_or_else(damaged)?;
        let values =
            (0..column.len()).map(|row| Datum::from_array(column.as_ref(), row, ty)).collect::<Result<_, _>>()?;
        Ok(ArrayValue { element, dimensions, values })
    }

    /// The least print tails of encoded elements, for keys.
    pub(crate) fn key_of_bytes(element: SqlType, bytes: &[u8]) -> Result<Vec<u8>, SqlError> {
        ArrayValue::from_bytes(element, bytes)?.to_key_bytes()
    }

    /// Position among the elements of the one with these subscripts; `None` outside, or where there are not as many
    /// subscripts as dimensions.
    pub fn position(&self, subscripts: &[i32]) -> Option<usize> {
        if subscripts.len() != self.dimensions.len() || subscripts.is_empty() {
            return None;
        }
        let mut at = 0usize;
        for (s, d) in subscripts.iter().zip(&self.dimensions) {
            let offset = i64::from(*s) - i64::from(d.lower);
            if offset < 0 || offset >= i64::from(d.length) {
                return None;
            }
            at = at * d.length as usize + offset as usize;
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests;
