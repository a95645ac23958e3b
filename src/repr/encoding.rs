//! The order-preserving row encoding: `memcmp` order of rows is the order of their columns.
//!
//! Format, version [`VERSION`] (golden files in `golden/`), per column a marker, 0x01 for a value or 0x02 for NULL (so
//! NULLs sort last), then for a value:
//!
//! | type | bytes |
//! | --- | --- |
//! | boolean | 0 or 1 |
//! | smallint, integer, bigint, date, time, timestamp, timestamptz | big-endian, sign flipped |
//! | real, double precision | IEEE total order, big-endian; one NaN, the greatest; -0.0 right before 0.0, which in a key stands for both |
//! | numeric(p,s) | unscaled value, 16 bytes, big-endian, sign flipped |
//! | numeric | [`crate::numeric`]'s ordered bytes |
//! | text, varchar, char, bytea, json, jsonb | the bytes, 0x00 as 0x00 0xFF, then 0x00 0x00 |
//! | interval | total µs (months of 30 days, days of 24 hours) as 16 bytes, big-endian, sign flipped, then a print tail: months, days, µs, big-endian |
//! | uuid | 16 bytes |
//! | array | [`crate::array`]'s ordered bytes, as those of bytea |
//! | timetz | as bigint, [`crate::datum::TimeTzValue::pack`] |
//! | row, enum | [`crate::row`]'s ordered bytes, as those of bytea |
//!
//! Every column delimits itself, so the bytes of the first columns are a prefix and a range scan. jsonb orders by its
//! canonical text, which is not PostgreSQL's order, but equal where PostgreSQL's is equal up to the spelling of numbers.
//!
//! A **key codec** ([`RowCodec::key`]) writes the least print tail of a value: 1.0 and 1.00 have the same bytes, `1 day`
//! and `24:00:00`, -0.0 and 0.0 too, so equality of bytes is SQL equality. The original, where it matters, is carried by the value.

use crate::datum::Datum;
use crate::error::{SqlError, SqlState};
use crate::types::SqlType;
use arrow::array::ArrayRef;

mod column;
mod decode;
mod encode;

pub use encode::RowEncoder;

/// Version of the format; written in the header of whatever keeps rows on disk.
pub const VERSION: u8 = 1;

/// Marks a value.
pub(crate) const VALUE: u8 = 0x01;
/// Marks NULL.
pub(crate) const NULL: u8 = 0x02;

/// What becomes of print tails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tails {
    /// Kept: rows decode to what they were.
    Kept,
    /// The least one: equal values have equal bytes.
    Least,
}

/// Shard of a key: part of the format.
#[inline]
pub fn vnode(key: &[u8]) -> u8 {
    (twox_hash::XxHash3_64::oneshot(key) % 256) as u8
}

/// What follows the column of this type at the start of `row`; `XX001` where there is none.
pub(crate) fn skip_column(ty: SqlType, row: &[u8]) -> Result<&[u8], SqlError> {
    column::skip(ty, row)
}

/// `XX001`: bytes that no codec wrote.
pub(crate) fn damaged(what: &str) -> SqlError {
    SqlError::new(SqlState::DATA_CORRUPTED, format!("invalid bytes of an encoded row: {what}"))
}

/// Encodes and decodes rows of given types.
#[derive(Clone, Debug)]
pub struct RowCodec {
    types: Vec<SqlType>,
    tails: Tails,
}

impl RowCodec {
    /// Rows decode to exactly what they were: `numeric` and `interval` keep their print tails, -0.0 its sign.
    pub fn new(types: &[SqlType]) -> RowCodec {
        RowCodec { types: types.to_vec(), tails: Tails::Kept }
    }

    /// Equal values have equal bytes: print tails are the least ones, which is what decoding then gives.
    pub fn key(types: &[SqlType]) -> RowCodec {
        RowCodec { types: types.to_vec(), tails: Tails::Least }
    }

    /// The types of the columns.
    pub fn types(&self) -> &[SqlType] {
        &self.types
    }

    /// True where equal values of these types may have different print tails; the sign of -0.0 is one.
    pub fn has_print_tails(types: &[SqlType]) -> bool {
        types.iter().any(|t| match t {
            SqlType::Array(element) => RowCodec::has_print_tails(&[element.ty().without_modifier()]),
            SqlType::Row(row) => row.def().fields.iter().any(|f| RowCodec::has_print_tails(&[f.ty.without_modifier()])),
            t => matches!(t.carrier(), SqlType::Numeric(None) | SqlType::Interval | SqlType::Float4 | SqlType::Float8),
        })
    }

    /// An encoder of the rows of `columns`.
    ///
    /// # Panics
    /// Where the Arrow types are not those of the codec.
    pub fn row_encoder(&self, columns: &[ArrayRef]) -> RowEncoder {
        RowEncoder::new(&self.types, columns, self.tails)
    }

    /// As [`RowCodec::row_encoder`], with the least print tails whatever the codec's own rule.
    pub fn key_encoder(&self, columns: &[ArrayRef]) -> RowEncoder {
        RowEncoder::new(&self.types, columns, Tails::Least)
    }

    /// Appends the bytes of one row. For several rows of the same columns take a [`RowEncoder`].
    pub fn encode_row(&self, columns: &[ArrayRef], row: usize, out: &mut Vec<u8>) {
        self.row_encoder(columns).encode(row, out);
    }

    /// Appends the bytes of each row to `sink` and where each ends to `ends`.
    pub fn encode_batch(
        &self,
        columns: &[ArrayRef],
        rows: impl IntoIterator<Item = usize>,
        sink: &mut Vec<u8>,
        ends: &mut Vec<u32>,
    ) {
        let mut encoder = self.row_encoder(columns);
        for row in rows {
            encoder.encode(row, sink);
            ends.push(u32::try_from(sink.len()).expect("encoded rows of a batch fit 4 GB"));
        }
    }

    /// Appends the bytes of a row of values, or of its first columns when there are fewer values than types. A value
    /// that is not of its column's type is an error.
    pub fn encode_datums(&self, datums: &[Datum], out: &mut Vec<u8>) -> Result<(), SqlError> {
        if datums.len() > self.types.len() {
            return Err(SqlError::internal("more values than columns"));
        }
        let start = out.len();
        for (ty, datum) in self.types.iter().zip(datums) {
            if let Err(e) = encode::encode_datum(*ty, self.tails, datum, out) {
                out.truncate(start);
                return Err(e);
            }
        }
        Ok(())
    }

    /// Byte length of the first `columns` columns of `row`; no more than `row.len()`.
    pub fn prefix_len(&self, row: &[u8], columns: usize) -> usize {
        let mut rest = row;
        for ty in self.types.iter().take(columns) {
            match column::skip(*ty, rest) {
                Ok(after) => rest = after,
                Err(_) => return row.len(),
            }
        }
        row.len() - rest.len()
    }

    /// Decodes all columns. Bytes after the last column are not looked at.
    pub fn decode(&self, rows: &mut dyn Iterator<Item = &[u8]>) -> Result<Vec<ArrayRef>, SqlError> {
        let all: Vec<usize> = (0..self.types.len()).collect();
        self.decode_columns(rows, &all)
    }

    /// Decodes the `wanted` columns, in that order.
    pub fn decode_columns(
        &self,
        rows: &mut dyn Iterator<Item = &[u8]>,
        wanted: &[usize],
    ) -> Result<Vec<ArrayRef>, SqlError> {
        decode::decode_columns(&self.types, rows, wanted)
    }

    /// Decodes one row into values.
    pub fn decode_datums(&self, row: &[u8]) -> Result<Vec<Datum>, SqlError> {
        let columns = self.decode(&mut std::iter::once(row))?;
        self.types.iter().zip(&columns).map(|(ty, c)| Datum::from_array(c.as_ref(), 0, *ty)).collect()
    }
}

#[cfg(test)]
mod tests;
