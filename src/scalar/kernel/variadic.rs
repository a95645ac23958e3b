//! Calls with VARIADIC: the elements of an array as the last arguments of a function, row by row.

use super::Kernel;
use crate::value::{Val, internal};
use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use hw_plan::Func;
use hw_repr::datum::{Datum, datums_to_array};
use hw_repr::{SqlError, SqlType};

/// The function that a call with VARIADIC is of, and whether NULL is a list of nothing.
pub(crate) fn inner(func: Func) -> Option<(Func, bool)> {
    Some(match func {
        Func::VariadicFormat => (Func::Format, true),
        Func::VariadicNumNulls => (Func::NumNulls, false),
        Func::VariadicNumNonnulls => (Func::NumNonnulls, false),
        Func::VariadicJsonBuildArray => (Func::JsonBuildArray, false),
        Func::VariadicJsonBuildObject => (Func::JsonBuildObject, false),
        Func::VariadicJsonTextBuildArray => (Func::JsonTextBuildArray, false),
        Func::VariadicJsonTextBuildObject => (Func::JsonTextBuildObject, false),
        _ => return None,
    })
}

/// The call with VARIADIC of a function that takes any number of arguments.
pub fn of(func: Func) -> Option<Func> {
    Some(match func {
        Func::Format => Func::VariadicFormat,
        Func::NumNulls => Func::VariadicNumNulls,
        Func::NumNonnulls => Func::VariadicNumNonnulls,
        Func::JsonBuildArray => Func::VariadicJsonBuildArray,
        Func::JsonBuildObject => Func::VariadicJsonBuildObject,
        Func::JsonTextBuildArray => Func::VariadicJsonTextBuildArray,
        Func::JsonTextBuildObject => Func::VariadicJsonTextBuildObject,
        _ => return None,
    })
}

/// The kernel; the last argument is the array.
pub(super) fn kernel(func: Func, types: &[SqlType], ty: SqlType) -> Result<Kernel, SqlError> {
    let (inner, of_nothing) = inner(func).ok_or_else(|| SqlError::internal("no call with VARIADIC"))?;
    let Some((array, fixed)) = types.split_last() else {
        return Err(SqlError::internal("VARIADIC of nothing"));
    };
    let element = array.element().ok_or_else(|| SqlError::internal("VARIADIC of no array"))?;
    let element = if let SqlType::Char(_) = element { element } else { element.without_modifier() };
    let (array, fixed) = (*array, fixed.to_vec());
    Ok(Box::new(move |args, rows| {
        let mut parts: Vec<ArrayRef> = Vec::with_capacity(rows);
        for row in 0..rows {
            let list = match args.last() {
                Some(v) => Datum::from_array(v.array().as_ref(), row & v.mask(), array)?,
                None => Datum::Null,
            };
            let values = match list {
                Datum::Array(list) => list.values,
                _ if of_nothing => vec![],
                _ => {
                    parts.push(datums_to_array(ty, &[Datum::Null])?);
                    continue;
                }
            };
            let mut all: Vec<Val> =
                args[..fixed.len()].iter().map(|v| Val::Array(v.array().slice(row & v.mask(), 1))).collect();
            for value in &values {
                all.push(Val::Array(datums_to_array(element, std::slice::from_ref(value))?));
            }
            let mut types = fixed.clone();
            types.extend(std::iter::repeat_n(element, values.len()));
            parts.push(super::call(inner, &types, ty)?(&all, 1)?);
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        match parts.is_empty() {
            true => Ok(arrow::array::new_empty_array(&ty.arrow())),
            false => concat(&parts).map_err(internal),
        }
    }))
}
