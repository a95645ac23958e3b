//! Rows and enums: making rows, their fields, `IS NULL` of rows, casts of rows field by field, ranges of enums.

use super::{Kernel, Prim, cast as scalar_cast, downcast, unsupported};
use crate::value::{Val, internal};
use arrow::array::{Array, ArrayRef, BinaryArray, BinaryBuilder, BooleanBuilder, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::Int32Type;
use hw_plan::Func;
use hw_repr::encoding::RowCodec;
use hw_repr::row::{null_fields, written, written_types};
use hw_repr::{ArrayValue, Datum, EnumType, EnumValue, RowType, SqlError, SqlType};
use std::sync::Arc;

/// Functions whose kernels are here.
pub(super) const FUNCTIONS: &[Func] = &[
    Func::RowMake,
    Func::RowField,
    Func::RowIsNull,
    Func::RowIsNotNull,
    Func::EnumFirst,
    Func::EnumLast,
    Func::EnumRange,
];

/// The kernel of one of [`FUNCTIONS`].
pub(super) fn kernel(func: Func, types: &[SqlType], ty: SqlType) -> Result<Kernel, SqlError> {
    match (func, types, ty) {
        (Func::RowMake, _, SqlType::Row(row)) => make(row, types),
        (Func::RowField, [SqlType::Row(row), _], _) => {
            let row = *row;
            Ok(Box::new(move |args, rows| {
                let at = Prim::<Int32Type>::of(&args[1])?;
                let at = usize::try_from(at.values.first().copied().unwrap_or(0)).unwrap_or(0);
                field(row, at, &args[0], rows)
            }))
        }
        (Func::RowIsNull | Func::RowIsNotNull, [SqlType::Row(row)], _) => {
            let row = *row;
            Ok(Box::new(move |args, rows| tests(row, func == Func::RowIsNull, &args[0], rows)))
        }
        (Func::EnumFirst | Func::EnumLast, [SqlType::Enum(e)], _) => {
            let e = *e;
            Ok(Box::new(move |_, rows| {
                let all = EnumValue::all(e);
                let found = if func == Func::EnumFirst { all.first() } else { all.last() };
                let value = found.map_or(Datum::Null, |v| Datum::Enum(Box::new(v.clone())));
                let one = hw_repr::datum::datums_to_array(SqlType::Enum(e), &[value])?;
                Val::Const(one).into_array(rows)
            }))
        }
        (Func::EnumRange, [SqlType::Enum(e), ..], _) => {
            let (e, both) = (*e, types.len() == 2);
            Ok(Box::new(move |args, rows| range(e, both, args, rows)))
        }
        _ => Err(unsupported(func, types)),
    }
}

/// A column as the bytes of a row have it.
fn as_written(column: ArrayRef, ty: SqlType) -> Result<ArrayRef, SqlError> {
    let to = written(ty);
    if ty.arrow() == to.arrow() {
        return Ok(column);
    }
    let rows = column.len();
    match scalar_cast(ty, to, true)? {
        Some(kernel) => kernel(&[Val::Array(column)], rows),
        None => Ok(column),
    }
}

fn make(row: RowType, types: &[SqlType]) -> Result<Kernel, SqlError> {
    let (types, codec) = (types.to_vec(), RowCodec::new(&written_types(row)));
    if types.len() != row.def().fields.len() {
        return Err(SqlError::internal("a row of other fields than its type has"));
    }
    Ok(Box::new(move |args, rows| {
        let columns = args.iter().zip(&types).map(|(a, ty)| as_written(a.clone().into_array(rows)?, *ty));
        let columns = columns.collect::<Result<Vec<_>, SqlError>>()?;
        Ok(encoded(&codec, &columns, rows))
    }))
}

/// The bytes of each row of some columns.
fn encoded(codec: &RowCodec, columns: &[ArrayRef], rows: usize) -> ArrayRef {
    let mut encoder = codec.row_encoder(columns);
    let mut out = BinaryBuilder::with_capacity(rows, rows * 16);
    let mut bytes = vec![];
    for row in 0..rows {
        bytes.clear();
        encoder.encode(row, &mut bytes);
        out.append_value(&bytes);
    }
    Arc::new(out.finish())
}

/// Field `at` of each row, NULL of NULL.
fn field(row: RowType, at: usize, rows_of: &Val, rows: usize) -> Result<ArrayRef, SqlError> {
    let column = rows_of.clone().into_array(rows)?;
    let array = downcast::<BinaryArray>(rows_of)?;
    let (mask, types) = (rows_of.mask(), written_types(row));
    let ty = row.def().fields.get(at).map(|f| f.ty).ok_or_else(|| SqlError::internal("a field that no row has"))?;
    let mut places = Vec::with_capacity(rows);
    let mut present = vec![];
    for i in 0..rows {
        places.push(column.is_valid(i).then(|| {
            present.push(array.value(i & mask));
            present.len() as u32 - 1
        }));
    }
    if present.is_empty() {
        return Ok(new_null_array(&ty.arrow(), rows));
    }
    let mut found = RowCodec::new(&types).decode_columns(&mut present.iter().copied(), &[at])?;
    let values = found.pop().ok_or_else(|| SqlError::internal("a field was not decoded"))?;
    let values = match scalar_cast(types[at], ty, true)?.filter(|_| types[at].arrow() != ty.arrow()) {
        Some(kernel) => kernel(&[Val::Array(values)], present.len())?,
        None => values,
    };
    take(&values, &UInt32Array::from(places), None).map_err(internal)
}

/// `IS NULL` (all fields are) and `IS NOT NULL` (no field is) of rows; never NULL.
fn tests(row: RowType, null: bool, rows_of: &Val, rows: usize) -> Result<ArrayRef, SqlError> {
    let (array, mask) = (downcast::<BinaryArray>(rows_of)?, rows_of.mask());
    let types = written_types(row);
    let mut out = BooleanBuilder::with_capacity(rows);
    for i in 0..rows {
        let i = i & mask;
        if array.is_null(i) {
            out.append_value(null);
            continue;
        }
        let nulls = null_fields(&types, array.value(i))?;
        out.append_value(if null { nulls == types.len() } else { nulls == 0 });
    }
    Ok(Arc::new(out.finish()))
}

/// The cast of each field; `None` where the bytes stay as they are.
pub(super) fn cast(from: RowType, to: RowType, explicit: bool) -> Result<Option<Kernel>, SqlError> {
    let mut casts = vec![];
    for (a, b) in from.def().fields.iter().zip(&to.def().fields) {
        casts.push(scalar_cast(a.ty, b.ty, explicit)?);
    }
    if casts.iter().all(Option::is_none) && written_types(from) == written_types(to) {
        return Ok(None);
    }
    let codec = RowCodec::new(&written_types(to));
    Ok(Some(Box::new(move |args, rows| {
        let mut columns = vec![];
        for (at, (kernel, target)) in casts.iter().zip(&to.def().fields).enumerate() {
            let column = field(from, at, &args[0], rows)?;
            let made = match kernel {
                Some(kernel) => kernel(&[Val::Array(column)], rows)?,
                None => column,
            };
            columns.push(as_written(made, target.ty)?);
        }
        let made = encoded(&codec, &columns, rows);
        let source = args[0].clone().into_array(rows)?;
        if source.null_count() == 0 {
            return Ok(made);
        }
        let places: UInt32Array = (0..rows).map(|i| source.is_valid(i).then_some(i as u32)).collect();
        take(&made, &places, None).map_err(internal)
    })))
}

/// `enum_range`: all values, or those between two; NULL is no bound.
fn range(e: EnumType, both: bool, args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let ty = SqlType::Enum(e);
    let all = EnumValue::all(e);
    let bound = |at: usize, row: usize| match Datum::from_array(args[at].array().as_ref(), row & args[at].mask(), ty)? {
        Datum::Enum(v) => Ok::<_, SqlError>(Some(v.order)),
        _ => Ok(None),
    };
    let mut out = BinaryBuilder::new();
    for row in 0..rows {
        let (low, high) = if both { (bound(0, row)?, bound(1, row)?) } else { (None, None) };
        let within = |v: &&EnumValue| low.is_none_or(|l| v.order >= l) && high.is_none_or(|h| v.order <= h);
        let values = all.iter().filter(within).map(|v| Datum::Enum(Box::new(v.clone()))).collect();
        out.append_value(ArrayValue::from_values(ty, values).to_bytes()?);
    }
    Ok(Arc::new(out.finish()))
}
