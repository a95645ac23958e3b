//! Rows of Arrow columns, or values, to bytes.

use super::column::*;
use super::{RowCodec, Tails};
use crate::array::ArrayValue;
use crate::datum::{Datum, IntervalValue};
use crate::error::{SqlError, SqlState};
use crate::row::RowValue;
use crate::types::SqlType;
use arrow::array::*;

/// One column, downcast.
#[derive(Debug)]
enum Typed {
    Bool(BooleanArray),
    Int2(Int16Array),
    Int4(Int32Array),
    Int8(Int64Array),
    Float4(Float32Array),
    Float8(Float64Array),
    Decimal(Decimal128Array),
    Numeric(LargeBinaryArray),
    Text(StringArray),
    Bytea(BinaryArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    Timestamp(TimestampMicrosecondArray),
    Interval(IntervalMonthDayNanoArray),
    Uuid(FixedSizeBinaryArray),
    Jsonb(LargeStringArray),
    /// Arrays and rows with print tails within.
    Nested(BinaryArray, SqlType),
}

fn down<T: Array + Clone + 'static>(column: &ArrayRef, ty: SqlType) -> T {
    match column.as_any().downcast_ref::<T>() {
        Some(array) => array.clone(),
        None => panic!("a column of type {ty} must not be {}", column.data_type()),
    }
}

impl Typed {
    fn new(ty: SqlType, column: &ArrayRef) -> Typed {
        if matches!(ty, SqlType::Array(_) | SqlType::Row(_)) && RowCodec::has_print_tails(&[ty]) {
            return Typed::Nested(down(column, ty), ty);
        }
        match ty.carrier() {
            SqlType::Bool => Typed::Bool(down(column, ty)),
            SqlType::Int2 => Typed::Int2(down(column, ty)),
            SqlType::Int4 => Typed::Int4(down(column, ty)),
            SqlType::Int8 => Typed::Int8(down(column, ty)),
            SqlType::Float4 => Typed::Float4(down(column, ty)),
            SqlType::Float8 => Typed::Float8(down(column, ty)),
            SqlType::Numeric(Some(_)) => Typed::Decimal(down(column, ty)),
            SqlType::Numeric(None) => Typed::Numeric(down(column, ty)),
            SqlType::Text => Typed::Text(down(column, ty)),
            SqlType::Bytea => Typed::Bytea(down(column, ty)),
            SqlType::Date => Typed::Date(down(column, ty)),
            SqlType::Time => Typed::Time(down(column, ty)),
            SqlType::Timestamp | SqlType::TimestampTz => Typed::Timestamp(down(column, ty)),
            SqlType::Interval => Typed::Interval(down(column, ty)),
            SqlType::Uuid => Typed::Uuid(down(column, ty)),
            SqlType::Jsonb => Typed::Jsonb(down(column, ty)),
            other => unreachable!("{other} carries {ty}"),
        }
    }

    #[inline]
    fn encode(&self, row: usize, tails: Tails, out: &mut Vec<u8>) {
        macro_rules! put {
            ($array:expr, $value:ident => $put:expr) => {
                if $array.is_null(row) {
                    put_null(out)
                } else {
                    let $value = $array.value(row);
                    $put
                }
            };
        }
        match self {
            Typed::Bool(a) => put!(a, v => put_bool(v, out)),
            Typed::Int2(a) => put!(a, v => put_i16(v, out)),
            Typed::Int4(a) => put!(a, v => put_i32(v, out)),
            Typed::Int8(a) => put!(a, v => put_i64(v, out)),
            Typed::Float4(a) => put!(a, v => put_f32(v, tails, out)),
            Typed::Float8(a) => put!(a, v => put_f64(v, tails, out)),
            Typed::Decimal(a) => put!(a, v => put_i128(v, out)),
            Typed::Numeric(a) => put!(a, v => put_numeric_bytes(v, tails, out)),
            Typed::Text(a) => put!(a, v => put_bytes(v.as_bytes(), out)),
            Typed::Bytea(a) => put!(a, v => put_bytes(v, out)),
            Typed::Date(a) => put!(a, v => put_i32(v, out)),
            Typed::Time(a) => put!(a, v => put_i64(v, out)),
            Typed::Timestamp(a) => put!(a, v => put_i64(v, out)),
            Typed::Interval(a) => put!(a, v => put_interval(IntervalValue::from_arrow(v), tails, out)),
            Typed::Uuid(a) => put!(a, v => put_uuid(v, out)),
            Typed::Jsonb(a) => put!(a, v => put_bytes(v.as_bytes(), out)),
            Typed::Nested(a, ty) => put!(a, v => put_nested(v, *ty, tails, out)),
        }
    }
}

/// Encodes rows of columns that it was given once.
#[derive(Debug)]
pub struct RowEncoder {
    columns: Vec<Typed>,
    tails: Tails,
}

impl RowEncoder {
    pub(super) fn new(types: &[SqlType], columns: &[ArrayRef], tails: Tails) -> RowEncoder {
        assert_eq!(types.len(), columns.len(), "a column for each type");
        let columns = types.iter().zip(columns).map(|(ty, c)| Typed::new(*ty, c)).collect();
        RowEncoder { columns, tails }
    }

    /// Appends the bytes of row `row`.
    #[inline]
    pub fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        for column in &self.columns {
            column.encode(row, self.tails, out);
        }
    }

    /// Appends the bytes of column `column` of row `row`.
    #[inline]
    pub fn encode_column(&mut self, column: usize, row: usize, out: &mut Vec<u8>) {
        self.columns[column].encode(row, self.tails, out);
    }

    /// True where any column of row `row` is NULL.
    pub fn any_null(&self, row: usize) -> bool {
        self.columns.iter().any(|c| c.is_null(row))
    }
}

impl Typed {
    fn is_null(&self, row: usize) -> bool {
        match self {
            Typed::Bool(a) => a.is_null(row),
            Typed::Int2(a) => a.is_null(row),
            Typed::Int4(a) => a.is_null(row),
            Typed::Int8(a) => a.is_null(row),
            Typed::Float4(a) => a.is_null(row),
            Typed::Float8(a) => a.is_null(row),
            Typed::Decimal(a) => a.is_null(row),
            Typed::Numeric(a) => a.is_null(row),
            Typed::Text(a) => a.is_null(row),
            Typed::Bytea(a) => a.is_null(row),
            Typed::Date(a) => a.is_null(row),
            Typed::Time(a) => a.is_null(row),
            Typed::Timestamp(a) => a.is_null(row),
            Typed::Interval(a) => a.is_null(row),
            Typed::Uuid(a) => a.is_null(row),
            Typed::Jsonb(a) => a.is_null(row),
            Typed::Nested(a, _) => a.is_null(row),
        }
    }
}

/// Appends an array or a row given by its bytes.
fn put_nested(v: &[u8], ty: SqlType, tails: Tails, out: &mut Vec<u8>) {
    let key = match (tails, ty) {
        (Tails::Kept, _) => return put_bytes(v, out),
        (Tails::Least, SqlType::Array(element)) => ArrayValue::key_of_bytes(element.ty(), v),
        (Tails::Least, SqlType::Row(row)) => RowValue::key_of_bytes(row, v),
        (Tails::Least, _) => return put_bytes(v, out),
    };
    // Bytes of an array or a row are always ones that it has written.
    put_bytes(key.as_deref().unwrap_or(v), out);
}

/// Appends one value. The value must be of the column's type.
pub(super) fn encode_datum(ty: SqlType, tails: Tails, datum: &Datum, out: &mut Vec<u8>) -> Result<(), SqlError> {
    match (ty.carrier(), datum) {
        (_, Datum::Null) => put_null(out),
        (SqlType::Bytea, Datum::Array(v)) => match tails {
            Tails::Kept => put_bytes(&v.to_bytes()?, out),
            Tails::Least => put_bytes(&v.to_key_bytes()?, out),
        },
        (SqlType::Bytea, Datum::Row(v)) => match tails {
            Tails::Kept => put_bytes(&v.to_bytes()?, out),
            Tails::Least => put_bytes(&v.to_key_bytes()?, out),
        },
        (SqlType::Bytea, Datum::Enum(v)) => put_bytes(&v.to_bytes(), out),
        (SqlType::Int8, Datum::TimeTz(v)) => put_i64(*v, out),
        (SqlType::Bool, Datum::Bool(v)) => put_bool(*v, out),
        (SqlType::Int2, Datum::Int2(v)) => put_i16(*v, out),
        (SqlType::Int4, Datum::Int4(v)) => put_i32(*v, out),
        (SqlType::Int8, Datum::Int8(v)) => put_i64(*v, out),
        (SqlType::Float4, Datum::Float4(v)) => put_f32(v.0 as f32, tails, out),
        (SqlType::Float8, Datum::Float8(v)) => put_f64(v.0, tails, out),
        (SqlType::Numeric(Some((p, s))), Datum::Numeric(v)) => put_i128(v.to_decimal(p, s)?, out),
        (SqlType::Numeric(None), Datum::Numeric(v)) => put_numeric(v, tails, out),
        (SqlType::Text, Datum::Text(v)) => put_bytes(v.as_bytes(), out),
        (SqlType::Bytea, Datum::Bytea(v)) => put_bytes(v, out),
        (SqlType::Date, Datum::Date(v)) => put_i32(*v, out),
        (SqlType::Time, Datum::Time(v))
        | (SqlType::Timestamp, Datum::Timestamp(v))
        | (SqlType::TimestampTz, Datum::TimestampTz(v)) => put_i64(*v, out),
        (SqlType::Interval, Datum::Interval(v)) => put_interval(*v, tails, out),
        (SqlType::Uuid, Datum::Uuid(v)) => put_uuid(v, out),
        (SqlType::Jsonb, Datum::Jsonb(v)) => put_bytes(v.as_bytes(), out),
        _ => {
            let message = format!("a value of type {} is not of type {ty}", datum.type_name());
            return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
        }
    }
    Ok(())
}
