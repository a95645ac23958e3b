//! Rows and values of enums: their ordered bytes and text.
//!
//! Bytes of a row: each field as the row encoding has a column of the field's type (numbers with a precision as bare
//! numeric), so that `memcmp` order is PostgreSQL's order of rows, fields in order, NULL last and equal to NULL.
//!
//! Bytes of a value of an enum: the order of its label (8 bytes, big-endian, sign flipped), then the label's text. They
//! compare by declaration order and say what they are without the type: labels that are added later, between others too,
//! change no value that is there, and a view made before knows what to show of them.

use crate::datum::Datum;
use crate::encoding::{self, RowCodec};
use crate::error::SqlError;
use crate::types::{EnumType, RowType, SqlType};
use serde::{Deserialize, Serialize};

mod text;

pub use text::{parse, write};

/// A value of an enum.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EnumValue {
    /// The enum.
    pub ty: EnumType,
    /// The order of its label.
    pub order: i64,
    /// The label.
    pub label: String,
}

impl EnumValue {
    /// The value with this label; `22P02` where there is none.
    pub fn parse(ty: EnumType, label: &str) -> Result<EnumValue, SqlError> {
        let found = ty.parse(label)?;
        Ok(EnumValue { ty, order: found.order, label: found.name.clone() })
    }

    /// Every value, in order.
    pub fn all(ty: EnumType) -> Vec<EnumValue> {
        ty.def().labels.iter().map(|l| EnumValue { ty, order: l.order, label: l.name.clone() }).collect()
    }

    /// The bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = (self.order ^ i64::MIN).to_be_bytes().to_vec();
        out.extend_from_slice(self.label.as_bytes());
        out
    }

    /// Back from [`EnumValue::to_bytes`]; `XX001` where they are none.
    pub fn from_bytes(ty: EnumType, bytes: &[u8]) -> Result<EnumValue, SqlError> {
        let order = bytes.first_chunk::<8>().ok_or_else(|| encoding::damaged("no order of a label"))?;
        let order = i64::from_be_bytes(*order) ^ i64::MIN;
        Ok(EnumValue { ty, order, label: enum_label(bytes)?.to_string() })
    }
}

/// The label in the bytes of a value of an enum.
pub fn enum_label(bytes: &[u8]) -> Result<&str, SqlError> {
    let label = bytes.get(8..).ok_or_else(|| encoding::damaged("no label"))?;
    std::str::from_utf8(label).map_err(|_| encoding::damaged("a label that is not UTF-8"))
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RowValue {
    /// Its type.
    pub ty: RowType,
    /// A value for each field.
    pub values: Vec<Datum>,
}

/// The type by which a field or an element is written: equal values of types that differ in modifiers have equal bytes.
pub fn written(ty: SqlType) -> SqlType {
    match ty {
        SqlType::Numeric(_) => SqlType::Numeric(None),
        SqlType::Array(_) | SqlType::Enum(_) | SqlType::Row(_) | SqlType::TimeTz => ty,
        SqlType::Alias(_) => written(ty.without_modifier()).plain(),
        other => other.carrier(),
    }
}

impl SqlType {
    /// Without a name of its own.
    fn plain(self) -> SqlType {
        if self == SqlType::TimeTz { self } else { self.carrier() }
    }
}

/// How many fields of an encoded row are NULL, given the types they are written by.
pub fn null_fields(types: &[SqlType], bytes: &[u8]) -> Result<usize, SqlError> {
    let (mut rest, mut nulls) = (bytes, 0);
    for ty in types {
        nulls += usize::from(rest.first() == Some(&encoding::NULL));
        rest = encoding::skip_column(*ty, rest)?;
    }
    Ok(nulls)
}

/// The types by which the fields of a row are written.
pub fn written_types(ty: RowType) -> Vec<SqlType> {
    ty.def().fields.iter().map(|f| written(f.ty)).collect()
}

impl RowValue {
    /// The ordered bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SqlError> {
        self.bytes(RowCodec::new(&written_types(self.ty)))
    }

    /// Equal rows have equal bytes: 1.0 and 1.00 within too.
    pub fn to_key_bytes(&self) -> Result<Vec<u8>, SqlError> {
        self.bytes(RowCodec::key(&written_types(self.ty)))
    }

    fn bytes(&self, codec: RowCodec) -> Result<Vec<u8>, SqlError> {
        let mut out = vec![];
        codec.encode_datums(&self.values, &mut out)?;
        Ok(out)
    }

    /// Back from [`RowValue::to_bytes`]; `XX001` where they are none.
    pub fn from_bytes(ty: RowType, bytes: &[u8]) -> Result<RowValue, SqlError> {
        let values = match ty.def().fields.is_empty() {
            true => vec![],
            false => RowCodec::new(&written_types(ty)).decode_datums(bytes)?,
        };
        Ok(RowValue { ty, values })
    }

    /// The least print tails of encoded fields, for keys.
    pub(crate) fn key_of_bytes(ty: RowType, bytes: &[u8]) -> Result<Vec<u8>, SqlError> {
        RowValue::from_bytes(ty, bytes)?.to_key_bytes()
    }
}

#[cfg(test)]
mod tests;
