//! Values that flow between kernels: a column, or one value standing for a whole column.

use arrow::array::{Array, ArrayRef, BooleanArray, Datum, UInt32Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{filter, take};
use hw_repr::SqlError;

/// A column of the batch, or a constant carried as an array of one element.
#[derive(Clone, Debug)]
pub(crate) enum Val {
    /// One element per row.
    Array(ArrayRef),
    /// One element for all rows.
    Const(ArrayRef),
}

impl Datum for Val {
    fn get(&self) -> (&dyn Array, bool) {
        match self {
            Val::Array(a) => (a.as_ref(), false),
            Val::Const(a) => (a.as_ref(), true),
        }
    }
}

impl Val {
    /// The carrying array: of as many rows as the batch, or of one.
    pub fn array(&self) -> &ArrayRef {
        match self {
            Val::Array(a) | Val::Const(a) => a,
        }
    }

    /// Whether it stands for all rows.
    pub fn is_const(&self) -> bool {
        matches!(self, Val::Const(_))
    }

    /// A constant NULL.
    pub fn is_const_null(&self) -> bool {
        matches!(self, Val::Const(a) if a.is_null(0))
    }

    /// Where the element of a row is: `row & mask()`.
    pub fn mask(&self) -> usize {
        if self.is_const() { 0 } else { usize::MAX }
    }

    /// One element per row.
    pub fn into_array(self, rows: usize) -> Result<ArrayRef, SqlError> {
        match self {
            Val::Array(a) => Ok(a),
            Val::Const(a) if rows == 1 => Ok(a),
            Val::Const(a) if a.is_null(0) => Ok(new_null_array(a.data_type(), rows)),
            Val::Const(a) => take(&a, &UInt32Array::from(vec![0u32; rows]), None).map_err(internal),
        }
    }

    /// As a boolean column.
    pub fn into_bools(self, rows: usize) -> Result<BooleanArray, SqlError> {
        let array = self.into_array(rows)?;
        array
            .as_any()
            .downcast_ref::<BooleanArray>()
            .cloned()
            .ok_or_else(|| SqlError::internal(format!("expected a boolean column, got {}", array.data_type())))
    }

    /// Only the rows that `keep` has true.
    pub fn select(&self, keep: &BooleanArray) -> Result<Val, SqlError> {
        match self {
            Val::Const(_) => Ok(self.clone()),
            Val::Array(a) => filter(a, keep).map(Val::Array).map_err(internal),
        }
    }

    /// Rows `[from, from + rows)`.
    pub fn slice(&self, from: usize, rows: usize) -> Val {
        match self {
            Val::Const(_) => self.clone(),
            Val::Array(a) => Val::Array(a.slice(from, rows)),
        }
    }
}

/// An error of Arrow that only a bug can cause.
pub(crate) fn internal(e: arrow::error::ArrowError) -> SqlError {
    SqlError::internal(e.to_string())
}

/// The rows on which a strict function has all its arguments; constants are known not to be NULL.
pub(crate) fn strict_nulls(args: &[Val]) -> Option<NullBuffer> {
    let mut nulls: Option<NullBuffer> = None;
    for a in args.iter().filter(|a| !a.is_const()) {
        if a.array().null_count() > 0 {
            nulls = NullBuffer::union(nulls.as_ref(), a.array().nulls());
        }
    }
    nulls
}
