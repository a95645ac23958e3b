//! What calls on arrays mean: PostgreSQL's `anyarray` and `anycompatiblearray`.

use super::cast::base;
use super::common_type;
use hw_plan::Func;
use hw_repr::{SqlError, SqlState, SqlType};

type Resolved = (Vec<SqlType>, SqlType);

/// The types of a call of a function of arrays; `None` where the function is another kind, or nothing fits.
pub(super) fn resolve(func: Func, args: &[Option<SqlType>]) -> Result<Option<Resolved>, SqlError> {
    let found = match (func, args) {
        (Func::ArrayMake, _) => make(args)?,
        (Func::ArrayStack, _) => stack(args)?,
        (Func::Subscript, [Some(array), rest @ ..]) => array.element().map(|e| (with_ints(*array, rest.len()), e)),
        (Func::Slice, [Some(array), rest @ ..]) => Some((with_ints(*array, rest.len()), *array)),
        (Func::ArrayAppend, [array, element]) => {
            compatible(*array, &[*element])?.map(|(array, element)| (vec![array, element], array))
        }
        (Func::ArrayPrepend, [element, array]) => {
            compatible(*array, &[*element])?.map(|(array, element)| (vec![element, array], array))
        }
        (Func::ArrayCat, [a, b]) => both(*a, *b)?.map(|array| (vec![array; 2], array)),
        (Func::ArrayContains | Func::ArrayContained | Func::ArrayOverlap, [a, b]) => {
            same(*a, *b).map(|array| (vec![array; 2], SqlType::Bool))
        }
        (Func::ArrayLength | Func::ArrayLower | Func::ArrayUpper, [array, _]) => {
            known(*array).map(|array| (vec![array, SqlType::Int4], SqlType::Int4))
        }
        (Func::ArrayNdims | Func::Cardinality | Func::HashArray, [array]) => {
            known(*array).map(|array| (vec![array], SqlType::Int4))
        }
        (Func::ArrayDims, [array]) => known(*array).map(|array| (vec![array], SqlType::Text)),
        (Func::ArrayRemove, [array, element]) => {
            compatible(*array, &[*element])?.map(|(array, element)| (vec![array, element], array))
        }
        (Func::ArrayReplace, [array, from, to]) => {
            compatible(*array, &[*from, *to])?.map(|(array, element)| (vec![array, element, element], array))
        }
        (Func::ArrayPosition, [array, element, rest @ ..]) if rest.len() <= 1 => {
            compatible(*array, &[*element])?.map(|(array, element)| {
                let more = rest.iter().map(|_| SqlType::Int4);
                (vec![array, element].into_iter().chain(more).collect(), SqlType::Int4)
            })
        }
        (Func::ArrayPositions, [array, element]) => {
            match (compatible(*array, &[*element])?, SqlType::Int4.array_of()) {
                (Some((array, element)), Some(ints)) => Some((vec![array, element], ints)),
                _ => None,
            }
        }
        (Func::ArrayToString, [array, rest @ ..]) if matches!(rest.len(), 1 | 2) => known(*array)
            .map(|array| (std::iter::once(array).chain(rest.iter().map(|_| SqlType::Text)).collect(), SqlType::Text)),
        (Func::StringToArray, _) if matches!(args.len(), 2 | 3) => {
            let texts = args.iter().flatten().all(|t| base(*t) == SqlType::Text);
            SqlType::Text.array_of().filter(|_| texts).map(|array| (vec![SqlType::Text; args.len()], array))
        }
        (Func::ArrayFill, [value, rest @ ..]) if matches!(rest.len(), 1 | 2) => {
            let element = value.unwrap_or(SqlType::Text);
            match (element.array_of(), SqlType::Int4.array_of()) {
                (Some(array), Some(ints)) => {
                    Some((std::iter::once(element).chain(rest.iter().map(|_| ints)).collect(), array))
                }
                _ => None,
            }
        }
        (Func::TrimArray, [array, _]) => known(*array).map(|array| (vec![array, SqlType::Int4], array)),
        (Func::WidthBucketArray, [value, array]) => {
            compatible(*array, &[*value])?.map(|(array, element)| (vec![element, array], SqlType::Int4))
        }
        _ => return Ok(None),
    };
    Ok(found)
}

fn known(array: Option<SqlType>) -> Option<SqlType> {
    array.filter(|t| t.element().is_some())
}

fn with_ints(array: SqlType, count: usize) -> Vec<SqlType> {
    std::iter::once(array).chain(std::iter::repeat_n(SqlType::Int4, count)).collect()
}

fn make(args: &[Option<SqlType>]) -> Result<Option<Resolved>, SqlError> {
    if args.is_empty() {
        return Err(SqlError::new(SqlState::new("42P18"), "cannot determine type of empty array")
            .hint("Explicitly cast to the desired type, for example ARRAY[]::integer[]."));
    }
    let element = common_type("ARRAY", args)?;
    let array = element.array_of().ok_or_else(|| {
        SqlError::new(SqlState::UNDEFINED_OBJECT, format!("could not find array type for data type {element}"))
    })?;
    Ok(Some((vec![element; args.len()], array)))
}

fn stack(args: &[Option<SqlType>]) -> Result<Option<Resolved>, SqlError> {
    let array = common_type("ARRAY", args)?;
    Ok(array.element().map(|_| (vec![array; args.len()], array)))
}

/// `anycompatiblearray` beside `anycompatible`s: the array type and the type of elements that all take.
fn compatible(array: Option<SqlType>, others: &[Option<SqlType>]) -> Result<Option<(SqlType, SqlType)>, SqlError> {
    let element = match array {
        Some(array) => match array.element() {
            Some(element) => Some(element.without_modifier()),
            None => return Ok(None),
        },
        None => None,
    };
    let types: Vec<Option<SqlType>> = std::iter::once(element).chain(others.iter().copied()).collect();
    let Ok(common) = common_type("ARRAY", &types) else { return Ok(None) };
    let common = common.without_modifier();
    Ok(common.array_of().map(|array| (array, common)))
}

/// Two `anycompatiblearray`s.
fn both(a: Option<SqlType>, b: Option<SqlType>) -> Result<Option<SqlType>, SqlError> {
    let elements: Vec<Option<SqlType>> = [a, b].iter().map(|t| t.and_then(SqlType::element)).collect();
    let not_arrays = [a, b].iter().zip(&elements).any(|(t, e)| t.is_some() && e.is_none());
    if not_arrays || elements.iter().all(Option::is_none) {
        return Ok(None);
    }
    let Ok(common) = common_type("ARRAY", &elements) else { return Ok(None) };
    Ok(common.without_modifier().array_of())
}

/// Two `anyarray`s: of one type, unless one is a literal.
fn same(a: Option<SqlType>, b: Option<SqlType>) -> Option<SqlType> {
    let (a, b) = (a.map(base), b.map(base));
    match (a, b) {
        (Some(a), Some(b)) if a != b => None,
        (Some(t), _) | (None, Some(t)) => known(Some(t)),
        _ => None,
    }
}
