//! Fields of text to columns. Common types go straight into their builders; the others through the type's input function.

use arrow::array::{ArrayRef, Int16Builder, Int32Builder, Int64Builder, StringBuilder};
use hw_repr::datum::datums_to_array;
use hw_repr::{Datum, SqlError, SqlType, text};
use std::sync::Arc;

/// A column that is being filled.
pub enum ColumnBuilder {
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Text(StringBuilder),
    Other(SqlType, Vec<Datum>),
}

/// A plain decimal integer of at most 18 digits.
fn plain_int(s: &str) -> Option<i64> {
    let bytes = s.as_bytes();
    let (negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        all => (false, all),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0i64;
    for b in digits {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if negative { -value } else { value })
}

impl ColumnBuilder {
    pub fn new(ty: SqlType) -> ColumnBuilder {
        match ty {
            SqlType::Int2 => ColumnBuilder::Int2(Int16Builder::new()),
            SqlType::Int4 => ColumnBuilder::Int4(Int32Builder::new()),
            SqlType::Int8 => ColumnBuilder::Int8(Int64Builder::new()),
            SqlType::Text | SqlType::Varchar(None) => ColumnBuilder::Text(StringBuilder::new()),
            other => ColumnBuilder::Other(other, vec![]),
        }
    }

    /// Appends a field; `None` is NULL. On an error nothing is appended.
    pub fn append(&mut self, field: Option<&str>) -> Result<(), SqlError> {
        macro_rules! int {
            ($builder:expr, $native:ty, $ty:expr, $variant:path) => {
                match field {
                    None => $builder.append_null(),
                    Some(s) => match plain_int(s).and_then(|v| <$native>::try_from(v).ok()) {
                        Some(v) => $builder.append_value(v),
                        None => match text::parse($ty, s)? {
                            $variant(v) => $builder.append_value(v),
                            _ => return Err(SqlError::internal("an integer of another type")),
                        },
                    },
                }
            };
        }
        match self {
            ColumnBuilder::Int2(b) => int!(b, i16, SqlType::Int2, Datum::Int2),
            ColumnBuilder::Int4(b) => int!(b, i32, SqlType::Int4, Datum::Int4),
            ColumnBuilder::Int8(b) => int!(b, i64, SqlType::Int8, Datum::Int8),
            ColumnBuilder::Text(b) => b.append_option(field),
            ColumnBuilder::Other(ty, values) => values.push(match field {
                Some(s) => text::parse(*ty, s)?,
                None => Datum::Null,
            }),
        }
        Ok(())
    }

    /// The column so far; the builder is empty then.
    pub fn finish(&mut self) -> Result<ArrayRef, SqlError> {
        Ok(match self {
            ColumnBuilder::Int2(b) => Arc::new(b.finish()),
            ColumnBuilder::Int4(b) => Arc::new(b.finish()),
            ColumnBuilder::Int8(b) => Arc::new(b.finish()),
            ColumnBuilder::Text(b) => Arc::new(b.finish()),
            ColumnBuilder::Other(ty, values) => {
                let column = datums_to_array(*ty, values)?;
                values.clear();
                column
            }
        })
    }
}
