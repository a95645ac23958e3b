//! Values to the wire: DataRow messages straight from Arrow arrays, in PostgreSQL's text and binary formats.

use crate::pg::numeric;
use arrow::array::{
    Array, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, LargeBinaryArray, LargeStringArray, RecordBatch,
    StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use bytes::{BufMut, BytesMut};
use hw_repr::datum::TimeTzValue;
use hw_repr::row::enum_label;
use hw_repr::{AliasType, ArrayValue, RelationDesc, RowType, RowValue, SqlError, SqlState, SqlType, text};

/// Days from 1970-01-01 to 2000-01-01.
pub const EPOCH_DAYS: i32 = 10_957;
/// Microseconds from 1970-01-01 to 2000-01-01.
pub const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Days since 2000; the infinite dates are the same there.
fn wire_days(days: i32) -> i32 {
    if matches!(days, i32::MAX | i32::MIN) { days } else { days.saturating_sub(EPOCH_DAYS) }
}

/// Microseconds since 2000; the infinite timestamps are the same there.
fn wire_micros(micros: i64) -> i64 {
    if matches!(micros, i64::MAX | i64::MIN) { micros } else { micros.saturating_sub(EPOCH_MICROS) }
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As text.
    Text,
    /// In the type's binary form.
    Binary,
}

impl Format {
    /// From the protocol's code.
    pub fn from_code(code: i16) -> Result<Format, SqlError> {
        match code {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            _ => Err(SqlError::new(SqlState::INVALID_PARAMETER, format!("unsupported format code: {code}"))),
        }
    }
    /// The protocol's code.
    pub fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }
}

/// The format of each of `n` values from a message's list: none, one for all, or one for each.
pub fn expand_formats(codes: &[i16], n: usize, what: &str) -> Result<Vec<Format>, SqlError> {
    match codes {
        [] => Ok(vec![Format::Text; n]),
        [one] => Ok(vec![Format::from_code(*one)?; n]),
        many if many.len() == n => many.iter().map(|c| Format::from_code(*c)).collect(),
        many => Err(SqlError::new(
            SqlState::PROTOCOL_VIOLATION,
            format!("bind message has {} {what} formats but there are {n}", many.len()),
        )),
    }
}

/// A column of one batch, downcast once.
enum Column<'a> {
    Text(&'a dyn Array, SqlType),
    Bool(&'a BooleanArray),
    Int2(&'a Int16Array),
    Int4(&'a Int32Array),
    Int8(&'a Int64Array),
    Float4(&'a Float32Array),
    Float8(&'a Float64Array),
    Decimal(&'a Decimal128Array, i8),
    Numeric(&'a LargeBinaryArray),
    Str(&'a StringArray),
    Bytea(&'a BinaryArray),
    Date(&'a Date32Array),
    Time(&'a Time64MicrosecondArray),
    Timestamp(&'a TimestampMicrosecondArray),
    Interval(&'a IntervalMonthDayNanoArray),
    Uuid(&'a FixedSizeBinaryArray),
    Jsonb(&'a LargeStringArray),
    Array(&'a BinaryArray, SqlType),
    Enum(&'a BinaryArray),
    Row(&'a BinaryArray, RowType),
    TimeTz(&'a Int64Array),
    Oid(&'a Int64Array),
    Bits(&'a StringArray),
}

fn cast<T: 'static>(array: &dyn Array) -> Result<&T, SqlError> {
    let wrong = || SqlError::internal(format!("a result column has the unexpected type {}", array.data_type()));
    array.as_any().downcast_ref::<T>().ok_or_else(wrong)
}

impl<'a> Column<'a> {
    fn new(array: &'a dyn Array, ty: SqlType, format: Format) -> Result<Column<'a>, SqlError> {
        if SqlType::from_arrow(array.data_type()) != Some(ty.carrier()) {
            let message = format!("a result column of type {ty} arrived as {}", array.data_type());
            return Err(SqlError::internal(message));
        }
        if format == Format::Text {
            return Ok(Column::Text(array, ty));
        }
        Ok(match ty {
            SqlType::Array(element) => Column::Array(cast(array)?, element.ty()),
            SqlType::Enum(_) => Column::Enum(cast(array)?),
            SqlType::Row(row) => Column::Row(cast(array)?, row),
            SqlType::TimeTz => Column::TimeTz(cast(array)?),
            SqlType::Char(_) => Column::Text(array, ty),
            SqlType::Bit(_) | SqlType::Varbit(_) => Column::Bits(cast(array)?),
            SqlType::Alias(AliasType::Oid | AliasType::Xid) => Column::Oid(cast(array)?),
            SqlType::Alias(alias) => return Column::new(array, alias.carrier(), format),
            SqlType::Bool => Column::Bool(cast(array)?),
            SqlType::Int2 => Column::Int2(cast(array)?),
            SqlType::Int4 => Column::Int4(cast(array)?),
            SqlType::Int8 => Column::Int8(cast(array)?),
            SqlType::Float4 => Column::Float4(cast(array)?),
            SqlType::Float8 => Column::Float8(cast(array)?),
            SqlType::Numeric(Some((_, scale))) => Column::Decimal(cast(array)?, scale),
            SqlType::Numeric(None) => Column::Numeric(cast(array)?),
            SqlType::Text | SqlType::Varchar(_) | SqlType::Json => Column::Str(cast(array)?),
            SqlType::Bytea => Column::Bytea(cast(array)?),
            SqlType::Date => Column::Date(cast(array)?),
            SqlType::Time => Column::Time(cast(array)?),
            SqlType::Timestamp | SqlType::TimestampTz => Column::Timestamp(cast(array)?),
            SqlType::Interval => Column::Interval(cast(array)?),
            SqlType::Uuid => Column::Uuid(cast(array)?),
            SqlType::Jsonb => Column::Jsonb(cast(array)?),
        })
    }

    fn array(&self) -> &dyn Array {
        match self {
            Column::Text(a, _) => *a,
            Column::Bool(a) => *a,
            Column::Int2(a) => *a,
            Column::Int4(a) => *a,
            Column::Int8(a) => *a,
            Column::Float4(a) => *a,
            Column::Float8(a) => *a,
            Column::Decimal(a, _) => *a,
            Column::Numeric(a) => *a,
            Column::Str(a) => *a,
            Column::Bytea(a) => *a,
            Column::Date(a) => *a,
            Column::Time(a) => *a,
            Column::Timestamp(a) => *a,
            Column::Interval(a) => *a,
            Column::Uuid(a) => *a,
            Column::Jsonb(a) => *a,
            Column::Array(a, _) | Column::Enum(a) | Column::Row(a, _) => *a,
            Column::TimeTz(a) => *a,
            Column::Oid(a) => *a,
            Column::Bits(a) => *a,
        }
    }

    /// The value without its length. Precondition: not NULL.
    fn put(&self, row: usize, scratch: &mut String, out: &mut BytesMut) -> Result<(), SqlError> {
        match self {
            Column::Text(array, ty) => {
                scratch.clear();
                text::write_value(*array, row, *ty, scratch);
                out.put_slice(scratch.as_bytes());
            }
            Column::Bool(a) => out.put_u8(a.value(row).into()),
            Column::Int2(a) => out.put_i16(a.value(row)),
            Column::Int4(a) => out.put_i32(a.value(row)),
            Column::Int8(a) => out.put_i64(a.value(row)),
            Column::Float4(a) => out.put_f32(a.value(row)),
            Column::Float8(a) => out.put_f64(a.value(row)),
            Column::Decimal(a, scale) => numeric::put(a.value(row), *scale, out),
            Column::Numeric(a) => {
                let value = hw_repr::numeric::Numeric::from_bytes(a.value(row))?;
                numeric::put_numeric(&value, out);
            }
            Column::Str(a) => out.put_slice(a.value(row).as_bytes()),
            Column::Bytea(a) => out.put_slice(a.value(row)),
            Column::Date(a) => out.put_i32(wire_days(a.value(row))),
            Column::Time(a) => out.put_i64(a.value(row)),
            Column::Timestamp(a) => out.put_i64(wire_micros(a.value(row))),
            Column::Interval(a) => {
                let v = a.value(row);
                out.put_i64(v.nanoseconds / 1000);
                out.put_i32(v.days);
                out.put_i32(v.months);
            }
            Column::Uuid(a) => out.put_slice(a.value(row)),
            Column::Array(a, element) => put_array(&ArrayValue::from_bytes(*element, a.value(row))?, out)?,
            Column::Enum(a) => out.put_slice(enum_label(a.value(row))?.as_bytes()),
            Column::Row(a, ty) => put_fields(&RowValue::from_bytes(*ty, a.value(row))?, out)?,
            Column::TimeTz(a) => {
                let v = TimeTzValue::unpack(a.value(row));
                out.put_i64(v.micros);
                // The wire counts seconds west.
                out.put_i32(-v.east);
            }
            Column::Oid(a) => out.put_u32(a.value(row) as u32),
            Column::Bits(a) => {
                // How many bits, then bytes of them from the highest down.
                let bits = a.value(row).as_bytes();
                out.put_i32(bits.len() as i32);
                for byte in bits.chunks(8) {
                    let set = byte.iter().enumerate().filter(|(_, b)| **b == b'1');
                    out.put_u8(set.map(|(i, _)| 0x80 >> i).sum());
                }
            }
            Column::Jsonb(a) => {
                out.put_u8(1);
                out.put_slice(a.value(row).as_bytes());
            }
        }
        Ok(())
    }
}

/// PostgreSQL's binary form of an array: dimensions, whether there are NULLs, the element's OID, lengths and lower
/// bounds, then each element with its length.
fn put_array(array: &ArrayValue, out: &mut BytesMut) -> Result<(), SqlError> {
    out.put_i32(array.dimensions.len() as i32);
    out.put_i32(array.values.iter().any(hw_repr::Datum::is_null).into());
    out.put_u32(array.element.oid());
    for d in &array.dimensions {
        out.put_i32(d.length);
        out.put_i32(d.lower);
    }
    let values = hw_repr::datum::datums_to_array(array.element.without_modifier(), &array.values)?;
    let column = Column::new(values.as_ref(), array.element.without_modifier(), Format::Binary)?;
    let mut scratch = String::new();
    for row in 0..values.len() {
        put_value(&column, row, &mut scratch, out)?;
    }
    Ok(())
}

/// PostgreSQL's binary form of a row: how many fields, then each one's OID and its value with its length.
fn put_fields(row: &RowValue, out: &mut BytesMut) -> Result<(), SqlError> {
    out.put_i32(row.values.len() as i32);
    let mut scratch = String::new();
    for (value, field) in row.values.iter().zip(&row.ty.def().fields) {
        out.put_u32(field.ty.oid());
        let bare = field.ty.without_modifier();
        let values = hw_repr::datum::datums_to_array(bare, std::slice::from_ref(value))?;
        put_value(&Column::new(values.as_ref(), bare, Format::Binary)?, 0, &mut scratch, out)?;
    }
    Ok(())
}

/// A value behind its length; -1 for NULL.
fn put_value(column: &Column, row: usize, scratch: &mut String, out: &mut BytesMut) -> Result<(), SqlError> {
    if column.array().is_null(row) {
        out.put_i32(-1);
        return Ok(());
    }
    let at = out.len();
    out.put_i32(0);
    column.put(row, scratch, out)?;
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
    Ok(())
}

/// Writes the rows of one batch.
pub struct BatchEncoder<'a> {
    columns: Vec<Column<'a>>,
}

impl<'a> BatchEncoder<'a> {
    /// Precondition: one format per column of `desc`. Fails where the batch is not what `desc` says.
    pub fn new(batch: &'a RecordBatch, desc: &RelationDesc, formats: &[Format]) -> Result<Self, SqlError> {
        if batch.num_columns() != desc.arity() {
            let message = format!("a result of {} columns arrived with {}", desc.arity(), batch.num_columns());
            return Err(SqlError::internal(message));
        }
        let columns = batch
            .columns()
            .iter()
            .zip(&desc.columns)
            .zip(formats)
            .map(|((array, column), format)| Column::new(array.as_ref(), column.ty, *format))
            .collect::<Result<_, _>>()?;
        Ok(BatchEncoder { columns })
    }

    /// Appends one DataRow message. On an error nothing is appended.
    pub fn put_row(&self, row: usize, scratch: &mut String, out: &mut BytesMut) -> Result<(), SqlError> {
        let start = out.len();
        let written = self.put_columns(row, scratch, out).and_then(|()| {
            let len = out.len() - start - 1;
            i32::try_from(len).map_err(|_| SqlError::new(SqlState::LIMIT_EXCEEDED, "a row is longer than 2 GiB"))
        });
        match written {
            Ok(len) => {
                out[start + 1..start + 5].copy_from_slice(&len.to_be_bytes());
                Ok(())
            }
            Err(e) => {
                out.truncate(start);
                Err(e)
            }
        }
    }

    fn put_columns(&self, row: usize, scratch: &mut String, out: &mut BytesMut) -> Result<(), SqlError> {
        out.put_u8(b'D');
        out.put_i32(0);
        out.put_u16(self.columns.len() as u16);
        for column in &self.columns {
            put_value(column, row, scratch, out)?;
        }
        Ok(())
    }
}
