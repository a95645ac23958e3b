//! Comparisons, and what chooses by them: GREATEST, LEAST, NULLIF.

use super::arithmetic::Numbers;
use super::{Kernel, Prim, downcast, is_exact_number, json, unsupported};
use crate::civil::interval_span;
use crate::value::{Val, internal, strict_nulls};
use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryBuilder, BooleanArray, FixedSizeBinaryArray, IntervalMonthDayNanoArray,
    LargeBinaryArray, LargeStringArray, StringArray, new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp;
use arrow::compute::{interleave, is_not_null};
use arrow::datatypes::{Float32Type, Float64Type};
use hw_plan::Func;
use hw_repr::Datum;
use hw_repr::encoding::RowCodec;
use hw_repr::numeric::key_len;
use hw_repr::{SqlError, SqlType};
use std::cmp::Ordering;
use std::sync::Arc;

/// Arrays and rows whose equal values may differ in bytes become keys of their bytes.
fn comparable(ty: SqlType, v: &Val) -> Result<Val, SqlError> {
    match ty {
        SqlType::Array(_) | SqlType::Row(_) if RowCodec::has_print_tails(&[ty]) => {
            let a = downcast::<BinaryArray>(v)?;
            let mut out = BinaryBuilder::with_capacity(a.len(), a.value_data().len());
            for bytes in a {
                match bytes {
                    Some(bytes) => match Datum::from_bytes(ty, bytes)? {
                        Datum::Array(v) => out.append_value(v.to_key_bytes()?),
                        Datum::Row(v) => out.append_value(v.to_key_bytes()?),
                        _ => out.append_value(bytes),
                    },
                    None => out.append_null(),
                }
            }
            let out: ArrayRef = Arc::new(out.finish());
            Ok(if v.is_const() { Val::Const(out) } else { Val::Array(out) })
        }
        _ => Ok(v.clone()),
    }
}

/// The kernel of a comparison operator or IS NOT DISTINCT FROM; both arguments have one type.
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    let nested = |t: SqlType| matches!(t, SqlType::Array(_) | SqlType::Row(_) | SqlType::Enum(_));
    if let [a, b] = types
        && nested(*a)
        && nested(*b)
    {
        let (plain, own) = (kernel(func, &[SqlType::Bytea; 2])?, [*a, *b]);
        return Ok(Box::new(move |args, rows| {
            let args = args.iter().zip(own).map(|(v, ty)| comparable(ty, v)).collect::<Result<Vec<_>, _>>()?;
            plain(&args, rows)
        }));
    }
    let [a, b] = types else { return Err(unsupported(func, types)) };
    let same = a.arrow() == b.arrow() || (is_exact_number(*a) && is_exact_number(*b));
    if !same {
        return Err(unsupported(func, types));
    }
    let ordered = if is_exact_number(*a) { *a } else { a.carrier() };
    if func == Func::NotDistinct {
        return Ok(Box::new(move |args, rows| not_distinct(ordered, args, rows)));
    }
    Ok(Box::new(move |args, rows| {
        let mut out = compare(func, ordered, args, rows)?;
        if let Some(n) = strict_nulls(args).filter(|_| out.null_count() == 0) {
            out = BooleanArray::new(out.values().clone(), Some(n));
        }
        Ok(Arc::new(out))
    }))
}

/// NULLs compare as equal to each other and to nothing else.
fn not_distinct(ty: SqlType, args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (a, b) = (args[0].clone().into_array(rows)?, args[1].clone().into_array(rows)?);
    let args = [Val::Array(a.clone()), Val::Array(b.clone())];
    let equal = compare(Func::Eq, ty, &args, rows)?;
    let (va, vb) = (is_not_null(&a).map_err(internal)?, is_not_null(&b).map_err(internal)?);
    let both = va.values() & vb.values();
    let neither = !&(va.values() | vb.values());
    Ok(Arc::new(BooleanArray::new(&(equal.values() & &both) | &neither, None)))
}

fn satisfies(func: Func, o: Ordering) -> bool {
    match func {
        Func::Eq => o.is_eq(),
        Func::Ne => o.is_ne(),
        Func::Lt => o.is_lt(),
        Func::Le => o.is_le(),
        Func::Gt => o.is_gt(),
        _ => o.is_ge(),
    }
}

/// The result on rows where an argument is NULL is unspecified (or NULL).
fn compare(func: Func, ty: SqlType, args: &[Val], rows: usize) -> Result<BooleanArray, SqlError> {
    let arrow_compares =
        !matches!(ty, SqlType::Float4 | SqlType::Float8 | SqlType::Numeric(None) | SqlType::Interval | SqlType::Jsonb)
            && args[0].array().data_type() == args[1].array().data_type();
    if arrow_compares {
        let op = match func {
            Func::Eq => cmp::eq,
            Func::Ne => cmp::neq,
            Func::Lt => cmp::lt,
            Func::Le => cmp::lt_eq,
            Func::Gt => cmp::gt,
            _ => cmp::gt_eq,
        };
        return op(&args[0], &args[1]).map_err(internal);
    }
    let order = orderer(ty, &args[0], &args[1])?;
    let nulls = strict_nulls(args);
    let mut failed = None;
    let bits = BooleanBuffer::collect_bool(rows, |i| {
        if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
            return false;
        }
        order(i, i).map(|o| satisfies(func, o)).unwrap_or_else(|e| {
            failed.get_or_insert(e);
            false
        })
    });
    match failed {
        Some(e) => Err(e),
        None => Ok(BooleanArray::new(bits, None)),
    }
}

/// Orders a row of one argument against a row of another.
type Orderer<'a> = Box<dyn Fn(usize, usize) -> Result<Ordering, SqlError> + 'a>;

/// NaN equals itself and is greater than everything else; -0 equals 0.
pub(super) fn order_floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn orderer<'a>(ty: SqlType, a: &'a Val, b: &'a Val) -> Result<Orderer<'a>, SqlError> {
    let (ma, mb) = (a.mask(), b.mask());
    macro_rules! by {
        ($array:ty, $order:expr) => {{
            let (x, y) = (downcast::<$array>(a)?, downcast::<$array>(b)?);
            let order = $order;
            Ok(Box::new(move |i: usize, j: usize| Ok(order(x.value(i & ma), y.value(j & mb)))))
        }};
    }
    let mixed = a.array().data_type() != b.array().data_type();
    match if is_exact_number(ty) { ty } else { ty.carrier() } {
        SqlType::Float4 => {
            let (x, y) = (Prim::<Float32Type>::of(a)?, Prim::<Float32Type>::of(b)?);
            Ok(Box::new(move |i, j| Ok(order_floats(f64::from(x.get(i)), f64::from(y.get(j))))))
        }
        SqlType::Float8 => {
            let (x, y) = (Prim::<Float64Type>::of(a)?, Prim::<Float64Type>::of(b)?);
            Ok(Box::new(move |i, j| Ok(order_floats(x.get(i), y.get(j)))))
        }
        t if is_exact_number(t) && mixed => {
            let (x, y) = (Numbers::of(a)?, Numbers::of(b)?);
            Ok(Box::new(move |i, j| Ok(x.get(i)?.cmp_value(&y.get(j)?))))
        }
        SqlType::Numeric(None) => by!(LargeBinaryArray, |x: &[u8], y: &[u8]| x[..key_len(x)].cmp(&y[..key_len(y)])),
        SqlType::Interval => {
            let span =
                |v: arrow::datatypes::IntervalMonthDayNano| interval_span(v.months, v.days, v.nanoseconds / 1_000);
            by!(IntervalMonthDayNanoArray, move |x, y| span(x).cmp(&span(y)))
        }
        SqlType::Jsonb => {
            let (x, y) = (downcast::<LargeStringArray>(a)?, downcast::<LargeStringArray>(b)?);
            Ok(Box::new(move |i, j| json::order(x.value(i & ma), y.value(j & mb))))
        }
        SqlType::Text | SqlType::Varchar(_) => by!(StringArray, |x: &str, y: &str| x.cmp(y)),
        SqlType::Uuid => by!(FixedSizeBinaryArray, |x: &[u8], y: &[u8]| x.cmp(y)),
        _ => {
            let (x, y) = (a.array().as_ref(), b.array().as_ref());
            let order = arrow::array::make_comparator(x, y, Default::default()).map_err(internal)?;
            Ok(Box::new(move |i, j| Ok(order(i & ma, j & mb))))
        }
    }
}

/// The kernel of GREATEST, LEAST (NULLs skipped) and NULLIF.
pub(super) fn choice_kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    if func == Func::NullIf {
        return null_if(types);
    }
    let Some(ty) = types.first().copied() else { return Err(unsupported(func, types)) };
    if types.iter().any(|t| t.arrow() != ty.arrow()) {
        return Err(unsupported(func, types));
    }
    Ok(Box::new(move |args, rows| {
        let arrays = args.iter().map(|a| a.clone().into_array(rows)).collect::<Result<Vec<_>, _>>()?;
        extreme(ty, &arrays, rows, func == Func::Greatest)
    }))
}

/// The first argument, NULL where `second = third`.
fn null_if(types: &[SqlType]) -> Result<Kernel, SqlError> {
    let equal = match types {
        [_, a, b] => kernel(Func::Eq, &[*a, *b])?,
        // As plans had it that were made before: the first is what is compared.
        [a, b] => kernel(Func::Eq, &[*a, *b])?,
        _ => return Err(unsupported(Func::NullIf, types)),
    };
    Ok(Box::new(move |args, rows| {
        let arrays = args.iter().map(|a| a.clone().into_array(rows)).collect::<Result<Vec<_>, _>>()?;
        let compared: Vec<Val> = arrays.iter().skip(arrays.len() - 2).cloned().map(Val::Array).collect();
        let equal = equal(&compared, rows)?;
        let equal = Val::Array(equal).into_bools(rows)?;
        let sure = match strict_nulls(&compared) {
            Some(n) => BooleanArray::new(equal.values() & n.inner(), None),
            None => BooleanArray::new(equal.values().clone(), None),
        };
        arrow::compute::nullif(&arrays[0], &sure).map_err(internal)
    }))
}

fn extreme(ty: SqlType, arrays: &[ArrayRef], rows: usize, greatest: bool) -> Result<ArrayRef, SqlError> {
    let vals: Vec<Val> = arrays.iter().cloned().map(Val::Array).collect();
    let mut best = vec![0usize; rows];
    let mut orderers = vec![];
    for x in &vals {
        let row: Result<Vec<_>, _> = vals.iter().map(|y| orderer(ty, x, y)).collect();
        orderers.push(row?);
    }
    for (k, array) in arrays.iter().enumerate().skip(1) {
        for (row, best) in best.iter_mut().enumerate() {
            if array.is_null(row) {
                continue;
            }
            let better = arrays[*best].is_null(row) || {
                let o = orderers[k][*best](row, row)?;
                if greatest { o.is_gt() } else { o.is_lt() }
            };
            if better {
                *best = k;
            }
        }
    }
    let sources: Vec<&dyn Array> = arrays.iter().map(|a| a.as_ref()).collect();
    let picks: Vec<(usize, usize)> = best.into_iter().enumerate().map(|(row, k)| (k, row)).collect();
    match rows {
        0 => Ok(new_null_array(arrays[0].data_type(), 0)),
        _ => interleave(&sources, &picks).map_err(internal),
    }
}
