//! Arrays: functions, subscripts, casts between types of elements, `op ANY (array)`.
//!
//! Values are taken out of their bytes row by row; an operator over the elements of arrays runs once for all of a batch.

mod ops;

use super::{Kernel, cast as scalar_cast, unsupported};
use crate::value::Val;
use arrow::array::{Array, ArrayRef, BinaryBuilder, BooleanBuilder, UInt32Array};
use arrow::compute::take;
use hw_plan::Func;
use hw_repr::{ArrayValue, Datum, SqlError, SqlType, datum};
use std::sync::Arc;

/// Whether a function is one of this module's.
pub(crate) fn is_array_function(func: Func) -> bool {
    op(func).is_some() || func.quantified().is_some()
}

fn op(func: Func) -> Option<ops::Op> {
    Some(match func {
        Func::ArrayMake => ops::make,
        Func::ArrayStack => ops::stack,
        Func::Subscript => ops::subscript,
        Func::Slice => ops::slice,
        Func::ArrayAppend => ops::append,
        Func::ArrayPrepend => ops::prepend,
        Func::ArrayCat => ops::cat,
        Func::ArrayLength => ops::length,
        Func::ArrayLower => ops::lower,
        Func::ArrayUpper => ops::upper,
        Func::ArrayNdims => ops::ndims,
        Func::ArrayDims => ops::dims,
        Func::Cardinality => ops::cardinality,
        Func::ArrayRemove => ops::remove,
        Func::ArrayReplace => ops::replace,
        Func::ArrayPosition => ops::position,
        Func::ArrayPositions => ops::positions,
        Func::ArrayToString => ops::to_string,
        Func::StringToArray => ops::from_string,
        Func::ArrayFill => ops::fill,
        Func::TrimArray => ops::trim,
        Func::ArrayContains => ops::contains,
        Func::ArrayContained => ops::contained,
        Func::ArrayOverlap => ops::overlap,
        Func::WidthBucketArray => ops::width_bucket,
        Func::HashArray => super::hashing::array,
        _ => return None,
    })
}

/// Whether a NULL argument makes the result NULL.
pub(crate) fn is_strict(func: Func) -> bool {
    let none_of = func.quantified().is_none();
    none_of
        && !matches!(
            func,
            Func::ArrayMake
                | Func::ArrayStack
                | Func::ArrayAppend
                | Func::ArrayPrepend
                | Func::ArrayCat
                | Func::ArrayRemove
                | Func::ArrayReplace
                | Func::ArrayPosition
                | Func::ArrayPositions
                | Func::ArrayToString
                | Func::StringToArray
                | Func::ArrayFill
        )
}

/// Whether a call, its arguments aside, can fail.
pub(crate) fn may_fail(func: Func) -> bool {
    match func.quantified() {
        Some((inner, _)) => !super::is_comparison(inner),
        None => !matches!(
            func,
            Func::ArrayMake
                | Func::Subscript
                | Func::Slice
                | Func::ArrayLength
                | Func::ArrayLower
                | Func::ArrayUpper
                | Func::ArrayNdims
                | Func::ArrayDims
                | Func::Cardinality
                | Func::ArrayToString
                | Func::StringToArray
                | Func::ArrayContains
                | Func::ArrayContained
                | Func::ArrayOverlap
        ),
    }
}

/// The kernel of a function of arrays.
pub(super) fn kernel(func: Func, types: &[SqlType], ty: SqlType) -> Result<Kernel, SqlError> {
    if let Some((inner, all)) = func.quantified() {
        return quantified(inner, all, types);
    }
    let Some(op) = op(func) else { return Err(unsupported(func, types)) };
    let types = types.to_vec();
    let strict = is_strict(func);
    Ok(Box::new(move |args, rows| {
        let mut out = Vec::with_capacity(rows);
        let mut values = vec![Datum::Null; args.len()];
        for row in 0..rows {
            for ((slot, v), ty) in values.iter_mut().zip(args).zip(&types) {
                *slot = Datum::from_array(v.array().as_ref(), row & v.mask(), *ty)?;
            }
            out.push(if strict && values.iter().any(Datum::is_null) { Datum::Null } else { op(&values, ty)? });
        }
        datum::datums_to_array(ty, &out)
    }))
}

/// The array of a row; `None` of NULL.
fn value(array: &dyn Array, row: usize, element: SqlType) -> Result<Option<ArrayValue>, SqlError> {
    let Some(ty) = element.array_of() else { return Err(SqlError::internal(format!("arrays of {element}"))) };
    match Datum::from_array(array, row, ty)? {
        Datum::Array(v) => Ok(Some(*v)),
        _ => Ok(None),
    }
}

/// A column of arrays.
fn column(rows: impl Iterator<Item = Result<Option<ArrayValue>, SqlError>>) -> Result<ArrayRef, SqlError> {
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

/// `left op ANY (array)` (`all`: ALL): three-valued OR (AND) of `left op element` over the elements.
fn quantified(inner: Func, all: bool, types: &[SqlType]) -> Result<Kernel, SqlError> {
    let [left, SqlType::Array(element)] = types else { return Err(unsupported(inner, types)) };
    let element = element.ty();
    let op = super::call(inner, &[*left, element], SqlType::Bool)?;
    Ok(Box::new(move |args, rows| {
        // The elements of all rows one after the other, each beside the left operand of its row.
        let (mut owners, mut parts, mut ends) = (vec![], vec![], Vec::with_capacity(rows));
        for row in 0..rows {
            let array = value(args[1].array().as_ref(), row & args[1].mask(), element)?;
            ends.push(array.map(|array| {
                owners.extend(std::iter::repeat_n((row & args[0].mask()) as u32, array.values.len()));
                parts.extend(array.values);
                parts.len()
            }));
        }
        let results = if parts.is_empty() {
            None
        } else {
            let left = take(args[0].array(), &UInt32Array::from(owners), None).map_err(crate::value::internal)?;
            let right = datum::datums_to_array(element, &parts)?;
            Some(Val::Array(op(&[Val::Array(left), Val::Array(right)], parts.len())?).into_bools(parts.len())?)
        };
        let mut out = BooleanBuilder::with_capacity(rows);
        let mut from = 0;
        for end in ends {
            let Some(end) = end else {
                out.append_null();
                continue;
            };
            let (mut decided, mut unknown) = (false, false);
            for i in from..end {
                match results.as_ref().filter(|r| r.is_valid(i)) {
                    Some(r) => decided |= r.value(i) != all,
                    None => unknown = true,
                }
            }
            from = end;
            match (decided, unknown) {
                (true, _) => out.append_value(!all),
                (false, true) => out.append_null(),
                (false, false) => out.append_value(all),
            }
        }
        Ok(Arc::new(out.finish()))
    }))
}
