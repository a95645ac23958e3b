//! What the functions of arrays do to single values. Results and errors are PostgreSQL's.

use hw_repr::array::{ArrayValue, DIMENSIONS_MAX, Dimension, ELEMENTS_MAX, too_deep, too_large};
use hw_repr::{Datum, SqlError, SqlState, SqlType, text};

/// The value of a call, from arguments of which any may be NULL.
pub(super) type Op = fn(&[Datum], SqlType) -> Result<Datum, SqlError>;

fn array(d: Option<&Datum>) -> Option<&ArrayValue> {
    match d {
        Some(Datum::Array(v)) => Some(v),
        _ => None,
    }
}

fn int(d: Option<&Datum>) -> Option<i32> {
    match d {
        Some(Datum::Int4(v)) => Some(*v),
        _ => None,
    }
}

fn string(d: Option<&Datum>) -> Option<&str> {
    match d {
        Some(Datum::Text(v)) => Some(v),
        _ => None,
    }
}

fn made(v: ArrayValue) -> Datum {
    Datum::Array(Box::new(v))
}

fn subscript_error(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::new("2202E"), message)
}

fn element_of(result: SqlType) -> SqlType {
    result.element().unwrap_or(SqlType::Text)
}

/// `ARRAY[a, ...]`
pub(super) fn make(args: &[Datum], result: SqlType) -> Result<Datum, SqlError> {
    Ok(made(ArrayValue::from_values(element_of(result), args.to_vec())))
}

/// `ARRAY[array, ...]`; a NULL counts as an empty array.
pub(super) fn stack(args: &[Datum], result: SqlType) -> Result<Datum, SqlError> {
    let element = element_of(result);
    let empty = || ArrayValue::from_values(element, vec![]);
    let parts = args.iter().map(|d| array(Some(d)).cloned().unwrap_or_else(empty)).collect();
    ArrayValue::stack(element, parts).map(made)
}

/// `a[i][j]`: NULL outside.
pub(super) fn subscript(args: &[Datum], _: SqlType) -> Result<Datum, SqlError> {
    let Some(a) = array(args.first()) else { return Ok(Datum::Null) };
    let subscripts: Vec<i32> = args[1..].iter().filter_map(|d| int(Some(d))).collect();
    Ok(a.position(&subscripts).and_then(|at| a.values.get(at).cloned()).unwrap_or(Datum::Null))
}

/// `a[l:u]...`: clipped to what is there, lower bounds 1.
pub(super) fn slice(args: &[Datum], result: SqlType) -> Result<Datum, SqlError> {
    let Some(a) = array(args.first()) else { return Ok(Datum::Null) };
    let bounds: Vec<i32> = args[1..].iter().filter_map(|d| int(Some(d))).collect();
    let empty = || made(ArrayValue::from_values(element_of(result), vec![]));
    if a.dimensions.len() < bounds.len() / 2 || a.dimensions.is_empty() {
        return Ok(empty());
    }
    let mut kept: Vec<(usize, usize)> = vec![];
    for (i, d) in a.dimensions.iter().enumerate() {
        let (lower, upper) = match bounds.get(2 * i..2 * i + 2) {
            Some(&[lower, upper]) => (lower.max(d.lower), upper.min(d.upper())),
            _ => (d.lower, d.upper()),
        };
        if lower > upper {
            return Ok(empty());
        }
        let from = i64::from(lower) - i64::from(d.lower);
        kept.push((from as usize, (i64::from(upper) - i64::from(lower) + 1) as usize));
    }
    let mut values = vec![];
    take(a, &kept, 0, 0, &mut values);
    let dimensions = kept.iter().map(|(_, n)| Dimension { length: *n as i32, lower: 1 }).collect();
    Ok(made(ArrayValue { element: a.element, dimensions, values }))
}

/// The elements within the ranges (first, how many) of each dimension.
fn take(a: &ArrayValue, kept: &[(usize, usize)], depth: usize, at: usize, out: &mut Vec<Datum>) {
    let Some((from, count)) = kept.get(depth) else {
        out.extend(a.values.get(at).cloned());
        return;
    };
    let length = a.dimensions[depth].length as usize;
    for i in *from..from + count {
        take(a, kept, depth + 1, at * length + i, out);
    }
}

/// One more element behind (or before) an array of at most one dimension.
fn extend(a: Option<&ArrayValue>, value: Datum, result: SqlType, before: bool) -> Result<Datum, SqlError> {
    let element = element_of(result);
    let mut out = a.cloned().unwrap_or_else(|| ArrayValue::from_values(element, vec![]));
    match out.dimensions.as_mut_slice() {
        [] => return Ok(made(ArrayValue::from_values(element, vec![value]))),
        [one] => one.length = one.length.checked_add(1).ok_or_else(too_large)?,
        _ => {
            let message = "argument must be empty or one-dimensional array";
            return Err(SqlError::new(SqlState::new("22000"), message));
        }
    }
    out.values.insert(if before { 0 } else { out.values.len() }, value);
    Ok(made(out))
}

pub(super) fn append(args: &[Datum], result: SqlType) -> Result<Datum, SqlError> {
    extend(array(args.first()), args.get(1).cloned().unwrap_or(Datum::Null), result, false)
}

pub(super) fn prepend(args: &[Datum], result: SqlType) -> Result<Datum, SqlError> {
    extend(array(args.get(1)), args.first().cloned().unwrap_or(Datum::Null), result, true)
}

/// Two arrays of one shape but for the first dimension, or one of an element of the other's.
pub(super) fn cat(args: &[Datum], _: SqlType) -> Result<Datum, SqlError> {
    let (a, b) = match (array(args.first()), array(args.get(1))) {
        (None, None) => return Ok(Datum::Null),
        (Some(one), None) | (None, Some(one)) => return Ok(made(one.clone())),
        (Some(a), Some(b)) => (a, b),
    };
    if a.dimensions.is_empty() {
        return Ok(made(b.clone()));
    }
    if b.dimensions.is_empty() {
        return Ok(made(a.clone()));
    }
    let lengths = |d: &[Dimension]| d.iter().map(|d| (d.length, d.lower)).collect::<Vec<_>>();
    let inner = |v: &ArrayValue| lengths(&v.dimensions[1..]);
    let (n, m) = (a.dimensions.len(), b.dimensions.len());
    let dimensions = if n == m && inner(a) == inner(b) {
        let mut all = a.dimensions.clone();
        all[0].length = all[0].length.checked_add(b.dimensions[0].length).ok_or_else(too_large)?;
        all
    } else if n == m + 1 && inner(a) == lengths(&b.dimensions) {
        let mut all = a.dimensions.clone();
        all[0].length = all[0].length.checked_add(1).ok_or_else(too_large)?;
        all
    } else if m == n + 1 && inner(b) == lengths(&a.dimensions) {
        let mut all = b.dimensions.clone();
        all[0].length = all[0].length.checked_add(1).ok_or_else(too_large)?;
        all
    } else {
        return Err(subscript_error("cannot concatenate incompatible arrays")
            .detail("Arrays with differing dimensions are not compatible for concatenation."));
    };
    let values = a.values.iter().chain(&b.values).cloned().collect();
    Ok(made(ArrayValue { element: a.element, dimensions, values }))
}

/// The dimension that the second argument counts from 1.
fn dimension(args: &[Datum]) -> Option<Dimension> {
    let at = int(args.get(1))?.checked_sub(1)?;
    array(args.first())?.dimensions.get(usize::try_from(at).ok()?).copied()
}

pub(super) fn length(args: &[Datum], _: SqlType) -> Result<Datum, SqlError> {
    Ok(dimension(args).map_or(Datum::Null, |d| Datum::Int4(d.length)))
}

pub(super) fn lower(args: &[Datum], _: SqlType) -> Result<Datum, SqlError> {
    Ok(dimension(args).map_or(Datum::Null, |d| Datum::Int4(d.lower)))
}

pub(super) fn upper(args: &[Datum], _: SqlType) -> Result<Datum, SqlError> {
    Ok(dimension(args).map_or(Datum::Null, |d| Datum::Int4(d.upper())))
}

pub(super) fn ndims(args: &[Datum], _: SqlType) -> Result<Datum, SqlError> {
    let dimensions = array(args.first()).map_or(0, |a| a.dimensions.len());
    Ok(if dimensions == 0 { Datum::Null } else { Datum::Int4(dimensions as i32) })
}

pub(super) fn dims(args: &[Datum], _: SqlType) -> Result<Datum, SqlError> {
    let Some(a) = array(args.first()).filter(|a| !a.dimensions.is_empty()) else { return Ok(Datum::Null) };
    let all: Vec<String> = a.dimensions.iter().map(|d| format!("[{}:{}]", d.lower, d.upper())).collect();
    Ok(Datum::Text(all.concat()))
}

pub(super) fn cardinality(args: &[Datum], _: SqlType) -> Result<Datum, SqlError> {
    Ok(array(args.first()).map_or(Datum::Null, |a| Datum::Int4(a.values.len() as i32)))
}

/// Bytes that equal elements share.
fn key(element: SqlType, value: &Datum) -> Result<Vec<u8>, SqlError> {
    ArrayValue::from_values(element, vec![value.clone()]).to_key_bytes()
}

fn one_dimension(a: &ArrayValue, message: &str) -> Result<(), SqlError> {
    if a.dimensions.len() > 1 { Err(SqlError::unsupported(message)) } else { Ok(()) }
}

pub(super) fn remove(args: &[Datum], _: SqlType) -> Result<Datum, SqlError> {
    let Some(a) = array(args.first()) else { return Ok(Datum::Null) };
    one_dimension(a, "removing elements from multidimensional arrays is not supported")?;
    let wanted = key(a.element, &args[1])?;
    let mut values = vec![];
    for v in &a.values {
        if key(a.element, v)? != wanted {
            values.push(v.clone());
        }
    }
    let mut dimensions = a.dimensions.clone();
    match values.len() {
        0 => dimensions.clear(),
        n => dimensions.iter_mut().for_each(|d| d.length = n as i32),
    }
    Ok(made(ArrayValue { element: a.element, dimensions, values }))
}

pub(super) fn replace(args: &[Datum], _: SqlType) -> Result<Datum, SqlError> {
    let Some(a) = array(args.first()) else { return Ok(Datum::Null) };
    let wanted = key(a.element, &args[1])?;
    let mut out = a.clone();
    for v in &mut out.values {
        if key(a.element, v)? == wanted {
            *v = args[2].clone();
        }
    }
    Ok(made(out))
}

/// Subscripts of the elements that equal the second argument.
fn positions_of(args: &[Datum]) -> Result<Option<Vec<i32>>, SqlError> {
    let Some(a) = array(args.first()) else { return Ok(None) };
    one_dimension(a, "searching for elements in multidimensional arrays is not supported")?;
    let wanted = key(a.element, &args[1])?;
    let first = a.dimensions.first().map_or(1, |d| d.lower);
    let mut out = vec![];
    for (i, v) in a.values.iter().enumerate() {
        if key(a.element, v)? == wanted {
            out.push(first.saturating_add(i as i32));
        }
    }
    Ok(Some(out))
}

pub(super) fn position(args: &[Datum], _: SqlType) -> Result<Datum, SqlError> {
    if array(args.first()).is_none() {
        return Ok(Datum::Null);
    }
    let start = match args.get(2) {
        Some(Datum::Null) => {
            let message = "initial position must not be null";
            return Err(SqlError::new(SqlState::new("22004"), message));
        }
        other => int(other).unwrap_or(i32::MIN),
    };
    let found = positions_of(args)?.unwrap_or_default();
    Ok(found.into_iter().find(|at| *at >= start).map_or(Datum::Null, Datum::Int4))
}

pub(super) fn positions(args: &[Datum], _: SqlType) -> Result<Datum, SqlError> {
    let found = positions_of(args)?;
    let values = |all: Vec<i32>| all.into_iter().map(Datum::Int4).collect();
    Ok(found.map_or(Datum::Null, |all| made(ArrayValue::from_values(SqlType::Int4, values(all)))))
}

/// Elements joined by the second argument; NULLs as the third, or left out.
pub(super) fn to_string(args: &[Datum], _: SqlType) -> Result<Datum, SqlError> {
    let (Some(a), Some(delimiter)) = (array(args.first()), string(args.get(1))) else { return Ok(Datum::Null) };
    let null = string(args.get(2));
    let mut out = String::new();
    let mut any = false;
    for v in &a.values {
        let shown = match (v.is_null(), null) {
            (true, None) => continue,
            (true, Some(null)) => null.to_string(),
            (false, _) => text::format_typed(v, a.element).unwrap_or_default(),
        };
        if any {
            out.push_str(delimiter);
        }
        out.push_str(&shown);
        any = true;
    }
    Ok(Datum::Text(out))
}

/// The parts between delimiters; single characters where that is NULL. Parts that are the third argument become NULL.
pub(super) fn from_string(args: &[Datum], _: SqlType) -> Result<Datum, SqlError> {
    let Some(s) = string(args.first()) else { return Ok(Datum::Null) };
    let null = string(args.get(2));
    let part = |p: &str| if null == Some(p) { Datum::Null } else { Datum::Text(p.to_string()) };
    let values = match string(args.get(1)) {
        _ if s.is_empty() => vec![],
        None => s.chars().map(|c| part(c.encode_utf8(&mut [0; 4]))).collect(),
        Some("") => vec![part(s)],
        Some(delimiter) => s.split(delimiter).map(part).collect(),
    };
    Ok(made(ArrayValue::from_values(SqlType::Text, values)))
}

/// Elements that one call makes: a few bytes of SQL must not take the memory of the server.
const FILLED_MAX: usize = 1_000_000;

/// `array_fill(value, lengths [, lower bounds])`
pub(super) fn fill(args: &[Datum], result: SqlType) -> Result<Datum, SqlError> {
    let numbers = |d: Option<&Datum>| -> Result<Option<Vec<i32>>, SqlError> {
        let Some(a) = array(d) else { return Ok(None) };
        if a.dimensions.len() > 1 {
            return Err(
                subscript_error("wrong number of array subscripts").detail("Dimension array must be one dimensional.")
            );
        }
        let not_null = || SqlError::new(SqlState::new("22004"), "dimension values cannot be null");
        a.values.iter().map(|v| int(Some(v)).ok_or_else(not_null)).collect::<Result<Vec<_>, _>>().map(Some)
    };
    let null = || SqlError::new(SqlState::new("22004"), "dimension array or low bound array cannot be null");
    let lengths = numbers(args.get(1))?.ok_or_else(null)?;
    let lowers = match args.get(2) {
        None => vec![1; lengths.len()],
        given => numbers(given)?.ok_or_else(null)?,
    };
    if lowers.len() != lengths.len() {
        return Err(subscript_error("wrong number of array subscripts")
            .detail("Low bound array has different size than dimensions array."));
    }
    if lengths.len() > DIMENSIONS_MAX {
        return Err(too_deep(lengths.len()));
    }
    let count = lengths.iter().try_fold(1usize, |n, l| usize::try_from(*l).ok().and_then(|l| n.checked_mul(l)));
    let count = count.filter(|n| *n <= ELEMENTS_MAX).ok_or_else(too_large)?;
    if count > FILLED_MAX {
        return Err(SqlError::new(
            SqlState::LIMIT_EXCEEDED,
            format!("array_fill makes no more than {FILLED_MAX} elements"),
        ));
    }
    let element = element_of(result);
    if count == 0 || lengths.is_empty() {
        return Ok(made(ArrayValue::from_values(element, vec![])));
    }
    let dimensions: Vec<Dimension> =
        lengths.iter().zip(lowers).map(|(length, lower)| Dimension { length: *length, lower }).collect();
    if dimensions.iter().any(|d| d.lower.checked_add(d.length - 1).is_none()) {
        return Err(too_large());
    }
    Ok(made(ArrayValue { element, dimensions, values: vec![args[0].clone(); count] }))
}

pub(super) fn trim(args: &[Datum], result: SqlType) -> Result<Datum, SqlError> {
    let (Some(a), Some(n)) = (array(args.first()), int(args.get(1))) else { return Ok(Datum::Null) };
    let length = a.dimensions.first().map_or(0, |d| d.length);
    if n < 0 || n > length {
        return Err(subscript_error(format!("number of elements to trim must be between 0 and {length}")));
    }
    if n == length {
        return Ok(made(ArrayValue::from_values(element_of(result), vec![])));
    }
    let mut out = a.clone();
    let each = a.values.len() / length.max(1) as usize;
    out.values.truncate((length - n) as usize * each);
    out.dimensions[0] = Dimension { length: length - n, lower: 1 };
    out.dimensions.iter_mut().for_each(|d| d.lower = 1);
    Ok(made(out))
}

/// Keys of the elements that are not NULL, and whether there are NULLs.
fn keys(a: &ArrayValue) -> Result<(Vec<Vec<u8>>, bool), SqlError> {
    let present = a.values.iter().filter(|v| !v.is_null());
    let keys = present.map(|v| key(a.element, v)).collect::<Result<Vec<_>, _>>()?;
    let nulls = keys.len() < a.values.len();
    Ok((keys, nulls))
}

pub(super) fn contains(args: &[Datum], _: SqlType) -> Result<Datum, SqlError> {
    let (Some(a), Some(b)) = (array(args.first()), array(args.get(1))) else { return Ok(Datum::Null) };
    let ((has, _), (wanted, nulls)) = (keys(a)?, keys(b)?);
    Ok(Datum::Bool(!nulls && wanted.iter().all(|k| has.contains(k))))
}

pub(super) fn contained(args: &[Datum], result: SqlType) -> Result<Datum, SqlError> {
    let swapped: Vec<Datum> = args.iter().rev().cloned().collect();
    contains(&swapped, result)
}

pub(super) fn overlap(args: &[Datum], _: SqlType) -> Result<Datum, SqlError> {
    let (Some(a), Some(b)) = (array(args.first()), array(args.get(1))) else { return Ok(Datum::Null) };
    let ((has, _), (wanted, _)) = (keys(a)?, keys(b)?);
    Ok(Datum::Bool(wanted.iter().any(|k| has.contains(k))))
}

/// `width_bucket(value, thresholds)`: how many thresholds, which ascend, are at most the value.
pub(super) fn width_bucket(args: &[Datum], _: SqlType) -> Result<Datum, SqlError> {
    let (value, Some(a)) = (&args[0], array(args.get(1))) else { return Ok(Datum::Null) };
    if a.dimensions.len() > 1 {
        return Err(subscript_error("thresholds must be one-dimensional array"));
    }
    if a.values.iter().any(Datum::is_null) {
        return Err(SqlError::new(SqlState::new("22004"), "thresholds array must not contain NULLs"));
    }
    let wanted = key(a.element, value)?;
    let keys = a.values.iter().map(|v| key(a.element, v)).collect::<Result<Vec<_>, _>>()?;
    Ok(Datum::Int4(keys.partition_point(|k| *k <= wanted) as i32))
}
