//! Bytes to Arrow columns of exactly the types of [`SqlType::arrow`].

use super::column::*;
use super::damaged;
use crate::error::{SqlError, SqlState};
use crate::types::SqlType;
use arrow::array::*;
use std::sync::Arc;

/// One column being built.
enum Builder {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Decimal(Decimal128Builder),
    Numeric(LargeBinaryBuilder),
    Text(StringBuilder),
    Bytea(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Jsonb(LargeStringBuilder),
}

impl Builder {
    fn new(ty: SqlType, rows: usize) -> Builder {
        match ty.carrier() {
            SqlType::Bool => Builder::Bool(BooleanBuilder::with_capacity(rows)),
            SqlType::Int2 => Builder::Int2(Int16Builder::with_capacity(rows)),
            SqlType::Int4 => Builder::Int4(Int32Builder::with_capacity(rows)),
            SqlType::Int8 => Builder::Int8(Int64Builder::with_capacity(rows)),
            SqlType::Float4 => Builder::Float4(Float32Builder::with_capacity(rows)),
            SqlType::Float8 => Builder::Float8(Float64Builder::with_capacity(rows)),
            SqlType::Numeric(Some(_)) => {
                Builder::Decimal(Decimal128Builder::with_capacity(rows).with_data_type(ty.arrow()))
            }
            SqlType::Numeric(None) => Builder::Numeric(LargeBinaryBuilder::with_capacity(rows, rows * 8)),
            SqlType::Text => Builder::Text(StringBuilder::with_capacity(rows, rows * 16)),
            SqlType::Bytea => Builder::Bytea(BinaryBuilder::with_capacity(rows, rows * 16)),
            SqlType::Date => Builder::Date(Date32Builder::with_capacity(rows)),
            SqlType::Time => Builder::Time(Time64MicrosecondBuilder::with_capacity(rows)),
            SqlType::Timestamp | SqlType::TimestampTz => {
                Builder::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(ty.arrow()))
            }
            SqlType::Interval => Builder::Interval(IntervalMonthDayNanoBuilder::with_capacity(rows)),
            SqlType::Uuid => Builder::Uuid(FixedSizeBinaryBuilder::with_capacity(rows, 16)),
            SqlType::Jsonb => Builder::Jsonb(LargeStringBuilder::with_capacity(rows, rows * 16)),
            other => unreachable!("{other} carries {ty}"),
        }
    }

    fn append_null(&mut self) {
        match self {
            Builder::Bool(b) => b.append_null(),
            Builder::Int2(b) => b.append_null(),
            Builder::Int4(b) => b.append_null(),
            Builder::Int8(b) => b.append_null(),
            Builder::Float4(b) => b.append_null(),
            Builder::Float8(b) => b.append_null(),
            Builder::Decimal(b) => b.append_null(),
            Builder::Numeric(b) => b.append_null(),
            Builder::Text(b) => b.append_null(),
            Builder::Bytea(b) => b.append_null(),
            Builder::Date(b) => b.append_null(),
            Builder::Time(b) => b.append_null(),
            Builder::Timestamp(b) => b.append_null(),
            Builder::Interval(b) => b.append_null(),
            Builder::Uuid(b) => b.append_null(),
            Builder::Jsonb(b) => b.append_null(),
        }
    }

    /// Takes one column off `row`.
    #[inline]
    fn take(&mut self, row: &mut &[u8], scratch: &mut Vec<u8>) -> Result<(), SqlError> {
        if !take_marker(row)? {
            self.append_null();
            return Ok(());
        }
        match self {
            Builder::Bool(b) => b.append_value(take::<1>(row)?[0] != 0),
            Builder::Int2(b) => b.append_value(take_i16(row)?),
            Builder::Int4(b) => b.append_value(take_i32(row)?),
            Builder::Int8(b) => b.append_value(take_i64(row)?),
            Builder::Float4(b) => b.append_value(take_f32(row)?),
            Builder::Float8(b) => b.append_value(take_f64(row)?),
            Builder::Decimal(b) => b.append_value(take_i128(row)?),
            Builder::Numeric(b) => b.append_value(take_numeric(row)?),
            Builder::Text(b) => {
                let text = take_text(row, scratch)?;
                check_room(b.values_slice().len(), text.len())?;
                b.append_value(text);
            }
            Builder::Bytea(b) => {
                let bytes = take_bytes(row, scratch)?;
                check_room(b.values_slice().len(), bytes.len())?;
                b.append_value(bytes);
            }
            Builder::Date(b) => b.append_value(take_i32(row)?),
            Builder::Time(b) => b.append_value(take_i64(row)?),
            Builder::Timestamp(b) => b.append_value(take_i64(row)?),
            Builder::Interval(b) => b.append_value(take_interval(row)?.to_arrow()?),
            Builder::Uuid(b) => {
                b.append_value(take::<16>(row)?).map_err(|_| damaged("not 16 bytes of uuid"))?;
            }
            Builder::Jsonb(b) => b.append_value(take_text(row, scratch)?),
        }
        Ok(())
    }

    fn finish(self) -> ArrayRef {
        match self {
            Builder::Bool(mut b) => Arc::new(b.finish()),
            Builder::Int2(mut b) => Arc::new(b.finish()),
            Builder::Int4(mut b) => Arc::new(b.finish()),
            Builder::Int8(mut b) => Arc::new(b.finish()),
            Builder::Float4(mut b) => Arc::new(b.finish()),
            Builder::Float8(mut b) => Arc::new(b.finish()),
            Builder::Decimal(mut b) => Arc::new(b.finish()),
            Builder::Numeric(mut b) => Arc::new(b.finish()),
            Builder::Text(mut b) => Arc::new(b.finish()),
            Builder::Bytea(mut b) => Arc::new(b.finish()),
            Builder::Date(mut b) => Arc::new(b.finish()),
            Builder::Time(mut b) => Arc::new(b.finish()),
            Builder::Timestamp(mut b) => Arc::new(b.finish()),
            Builder::Interval(mut b) => Arc::new(b.finish()),
            Builder::Uuid(mut b) => Arc::new(b.finish()),
            Builder::Jsonb(mut b) => Arc::new(b.finish()),
        }
    }
}

fn take_text<'s, 'a: 's>(row: &mut &'a [u8], scratch: &'s mut Vec<u8>) -> Result<&'s str, SqlError> {
    std::str::from_utf8(take_bytes(row, scratch)?).map_err(|_| damaged("text that is not UTF-8"))
}

/// 54000 where a column of 32-bit offsets has no room for another value: the builder would panic.
fn check_room(held: usize, more: usize) -> Result<(), SqlError> {
    if held + more <= i32::MAX as usize {
        return Ok(());
    }
    Err(SqlError::new(SqlState::PROGRAM_LIMIT, "a batch of rows has more than 2 GiB in one column"))
}

/// Decodes the `wanted` columns of rows of `types`, in the order wanted.
pub(super) fn decode_columns(
    types: &[SqlType],
    rows: &mut dyn Iterator<Item = &[u8]>,
    wanted: &[usize],
) -> Result<Vec<ArrayRef>, SqlError> {
    let columns = wanted.iter().map(|w| w + 1).max().unwrap_or(0);
    let capacity = rows.size_hint().0;
    let mut builders: Vec<Option<Builder>> =
        (0..columns).map(|i| wanted.contains(&i).then(|| Builder::new(types[i], capacity))).collect();
    let mut scratch = Vec::new();
    for mut row in rows {
        for (ty, builder) in types.iter().zip(&mut builders) {
            match builder {
                Some(builder) => builder.take(&mut row, &mut scratch)?,
                None => row = skip(*ty, row)?,
            }
        }
    }
    let arrays: Vec<Option<ArrayRef>> = builders.into_iter().map(|b| b.map(Builder::finish)).collect();
    Ok(wanted.iter().map(|w| arrays[*w].clone().expect("wanted columns are built")).collect())
}
