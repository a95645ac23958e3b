//! Arrays: casts between types of elements.

use super::{Kernel, cast as scalar_cast};
use crate::value::Val;
use arrow::array::{Array, ArrayRef, BinaryBuilder};
use hw_repr::{ArrayValue, Datum, SqlError, SqlType, datum};
use std::sync::Arc;

/// The array of a row; `None` of NULL.
pub(super) fn value(array: &dyn Array, row: usize, element: SqlType) -> Result<Option<ArrayValue>, SqlError> {
    let Some(ty) = element.array_of() else { return Err(SqlError::internal(format!("arrays of {element}"))) };
    match Datum::from_array(array, row, ty)? {
        Datum::Array(v) => Ok(Some(*v)),
        _ => Ok(None),
    }
}

/// A column of arrays.
pub(super) fn column(rows: impl Iterator<Item = Result<Option<ArrayValue>, SqlError>>) -> Result<ArrayRef, SqlError> {
    let mut out = BinaryBuilder::new();
    for row in rows {
        match row? {
            Some(v) => out.append_value(v.to_bytes()?),
            None => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// The cast of each element; `None` where their bytes stay as they are.
pub(super) fn cast(from: SqlType, to: SqlType, explicit: bool) -> Result<Option<Kernel>, SqlError> {
    let Some(inner) = scalar_cast(from, to, explicit)? else { return Ok(None) };
    Ok(Some(Box::new(move |args, rows| {
        let a = args[0].array().clone();
        column((0..rows).map(|row| {
            let Some(v) = value(a.as_ref(), row & args[0].mask(), from)? else { return Ok(None) };
            let count = v.values.len();
            let values = if count == 0 {
                vec![]
            } else {
                let elements = Val::Array(datum::datums_to_array(from, &v.values)?);
                let made = inner(&[elements], count)?;
                (0..count).map(|i| Datum::from_array(made.as_ref(), i, to)).collect::<Result<_, _>>()?
            };
            Ok(Some(ArrayValue { element: to, dimensions: v.dimensions, values }))
        }))
    })))
}
