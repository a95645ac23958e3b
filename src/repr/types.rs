//! SQL types and their mapping to Arrow and to PostgreSQL's OIDs.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A SQL type in scope. `Varchar(None)` and `Text` differ only in name and OID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SqlType {
    /// `boolean`
    Bool,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `numeric(p,s)` with 1..=38 digits, or bare `numeric` (`None`, every value carries its scale).
    Numeric(Option<(u8, i8)>),
    /// `text`
    Text,
    /// `varchar(n)`, n in characters
    Varchar(Option<u32>),
    /// `bytea`
    Bytea,
    /// `date`, days since 1970-01-01
    Date,
    /// `time`, µs since midnight
    Time,
    /// `timestamp`, µs since 1970-01-01
    Timestamp,
    /// `timestamptz`, µs since 1970-01-01 UTC
    TimestampTz,
    /// `interval`: months, days, µs (carried as ns in Arrow)
    Interval,
    /// `uuid`
    Uuid,
    /// `jsonb`, carried as its canonical text
    Jsonb,
}

impl SqlType {
    /// The Arrow type that carries this SQL type. The mapping back, [`SqlType::from_arrow`], loses only the
    /// difference between text and varchar. Bare numeric is `LargeBinary` holding [`crate::numeric`]'s ordered
    /// bytes; jsonb is `LargeUtf8`; bytea `Binary`; text `Utf8`; uuid `FixedSizeBinary(16)`.
    pub fn arrow(&self) -> DataType {
        match self {
            SqlType::Bool => DataType::Boolean,
            SqlType::Int2 => DataType::Int16,
            SqlType::Int4 => DataType::Int32,
            SqlType::Int8 => DataType::Int64,
            SqlType::Float4 => DataType::Float32,
            SqlType::Float8 => DataType::Float64,
            SqlType::Numeric(Some((p, s))) => DataType::Decimal128(*p, *s),
            SqlType::Numeric(None) => DataType::LargeBinary,
            SqlType::Text | SqlType::Varchar(_) => DataType::Utf8,
            SqlType::Bytea => DataType::Binary,
            SqlType::Date => DataType::Date32,
            SqlType::Time => DataType::Time64(TimeUnit::Microsecond),
            SqlType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            SqlType::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            SqlType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            SqlType::Uuid => DataType::FixedSizeBinary(16),
            SqlType::Jsonb => DataType::LargeUtf8,
        }
    }

    /// The SQL type that an Arrow type carries, or `None` where it carries none.
    pub fn from_arrow(ty: &DataType) -> Option<SqlType> {
        Some(match ty {
            DataType::Boolean => SqlType::Bool,
            DataType::Int16 => SqlType::Int2,
            DataType::Int32 => SqlType::Int4,
            DataType::Int64 => SqlType::Int8,
            DataType::Float32 => SqlType::Float4,
            DataType::Float64 => SqlType::Float8,
            DataType::Decimal128(p, s) => SqlType::Numeric(Some((*p, *s))),
            DataType::LargeBinary => SqlType::Numeric(None),
            DataType::Utf8 => SqlType::Text,
            DataType::Binary => SqlType::Bytea,
            DataType::Date32 => SqlType::Date,
            DataType::Time64(TimeUnit::Microsecond) => SqlType::Time,
            DataType::Timestamp(TimeUnit::Microsecond, None) => SqlType::Timestamp,
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => SqlType::TimestampTz,
            DataType::Interval(IntervalUnit::MonthDayNano) => SqlType::Interval,
            DataType::FixedSizeBinary(16) => SqlType::Uuid,
            DataType::LargeUtf8 => SqlType::Jsonb,
            _ => return None,
        })
    }

    /// PostgreSQL's type OID (`pg_type.oid`).
    pub fn oid(&self) -> u32 {
        match self {
            SqlType::Bool => 16,
            SqlType::Int2 => 21,
            SqlType::Int4 => 23,
            SqlType::Int8 => 20,
            SqlType::Float4 => 700,
            SqlType::Float8 => 701,
            SqlType::Numeric(_) => 1700,
            SqlType::Text => 25,
            SqlType::Varchar(_) => 1043,
            SqlType::Bytea => 17,
            SqlType::Date => 1082,
            SqlType::Time => 1083,
            SqlType::Timestamp => 1114,
            SqlType::TimestampTz => 1184,
            SqlType::Interval => 1186,
            SqlType::Uuid => 2950,
            SqlType::Jsonb => 3802,
        }
    }

    /// PostgreSQL's `atttypmod`: precision and scale of numeric, length of varchar, else -1.
    pub fn typmod(&self) -> i32 {
        match self {
            SqlType::Numeric(Some((p, s))) => ((i32::from(*p) << 16) | (i32::from(*s) & 0x7ff)) + 4,
            SqlType::Varchar(Some(n)) => *n as i32 + 4,
            _ => -1,
        }
    }

    /// Bytes of a fixed-width value as `pg_type.typlen` has it, or -1.
    pub fn typlen(&self) -> i16 {
        match self {
            SqlType::Bool => 1,
            SqlType::Int2 => 2,
            SqlType::Int4 | SqlType::Float4 | SqlType::Date => 4,
            SqlType::Int8 | SqlType::Float8 | SqlType::Time | SqlType::Timestamp | SqlType::TimestampTz => 8,
            SqlType::Interval | SqlType::Uuid => 16,
            _ => -1,
        }
    }
}

/// PostgreSQL's `format_type` spelling.
impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SqlType::Bool => f.write_str("boolean"),
            SqlType::Int2 => f.write_str("smallint"),
            SqlType::Int4 => f.write_str("integer"),
            SqlType::Int8 => f.write_str("bigint"),
            SqlType::Float4 => f.write_str("real"),
            SqlType::Float8 => f.write_str("double precision"),
            SqlType::Numeric(Some((p, s))) => write!(f, "numeric({p},{s})"),
            SqlType::Numeric(None) => f.write_str("numeric"),
            SqlType::Text => f.write_str("text"),
            SqlType::Varchar(Some(n)) => write!(f, "character varying({n})"),
            SqlType::Varchar(None) => f.write_str("character varying"),
            SqlType::Bytea => f.write_str("bytea"),
            SqlType::Date => f.write_str("date"),
            SqlType::Time => f.write_str("time without time zone"),
            SqlType::Timestamp => f.write_str("timestamp without time zone"),
            SqlType::TimestampTz => f.write_str("timestamp with time zone"),
            SqlType::Interval => f.write_str("interval"),
            SqlType::Uuid => f.write_str("uuid"),
            SqlType::Jsonb => f.write_str("jsonb"),
        }
    }
}
