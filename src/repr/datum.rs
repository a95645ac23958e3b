//! One value of any type: for literals, parameters and edges; never on the hot path.

use crate::array::ArrayValue;
use crate::error::{SqlError, SqlState};
use crate::numeric::Numeric;
use crate::row::{EnumValue, RowValue};
use crate::types::SqlType;
use arrow::array::*;
use arrow::datatypes::IntervalMonthDayNano;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A float that compares and hashes by its bits, so that plans can be compared.
#[derive(Clone, Copy, Debug)]
pub struct Float(pub f64);

/// By its bits, in hexadecimal: plans are kept as JSON, which has no NaN and no infinities.
impl Serialize for Float {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{:016x}", self.0.to_bits()))
    }
}
impl<'de> Deserialize<'de> for Float {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bits = u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)?;
        Ok(Float(f64::from_bits(bits)))
    }
}
impl PartialEq for Float {
    fn eq(&self, o: &Self) -> bool {
        self.0.to_bits() == o.0.to_bits()
    }
}
impl Eq for Float {}
impl std::hash::Hash for Float {
    fn hash<H: std::hash::Hasher>(&self, h: &mut H) {
        self.0.to_bits().hash(h);
    }
}

/// An interval as PostgreSQL keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct IntervalValue {
    /// Months.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

/// A time of day with an offset from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeTzValue {
    /// µs since midnight where it was read.
    pub micros: i64,
    /// Seconds east of UTC.
    pub east: i32,
}

/// Bits of the offset in a packed [`TimeTzValue`], and what is added to it so that it is not negative.
const OFFSET_BITS: u32 = 17;
const OFFSET_BASE: i64 = 1 << 16;

impl TimeTzValue {
    /// One number that compares as PostgreSQL compares: by the time in UTC, then by the offset west.
    pub fn pack(self) -> i64 {
        let west = -i64::from(self.east);
        let utc = self.micros + west * 1_000_000;
        (utc << OFFSET_BITS) + west + OFFSET_BASE
    }

    /// Back from [`TimeTzValue::pack`].
    pub fn unpack(packed: i64) -> TimeTzValue {
        let west = (packed & ((1 << OFFSET_BITS) - 1)) - OFFSET_BASE;
        let utc = packed >> OFFSET_BITS;
        TimeTzValue { micros: utc - west * 1_000_000, east: -(west as i32) }
    }
}

/// One value. `real` and `double precision` share [`Float`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Datum {
    /// NULL of any type.
    Null,
    /// boolean
    Bool(bool),
    /// smallint
    Int2(i16),
    /// integer
    Int4(i32),
    /// bigint
    Int8(i64),
    /// real
    Float4(Float),
    /// double precision
    Float8(Float),
    /// numeric, constrained or not
    Numeric(Numeric),
    /// text, varchar
    Text(String),
    /// bytea
    Bytea(Vec<u8>),
    /// days since 1970-01-01
    Date(i32),
    /// µs since midnight
    Time(i64),
    /// µs since 1970-01-01
    Timestamp(i64),
    /// µs since 1970-01-01 UTC
    TimestampTz(i64),
    /// interval
    Interval(IntervalValue),
    /// uuid
    Uuid([u8; 16]),
    /// canonical text of a jsonb
    Jsonb(String),
    /// an array
    Array(Box<ArrayValue>),
    /// timetz, packed: see [`TimeTzValue`]
    TimeTz(i64),
    /// a value of an enum
    Enum(Box<EnumValue>),
    /// a row
    Row(Box<RowValue>),
}

impl IntervalValue {
    /// From Arrow's value, whose nanoseconds are whole µs.
    #[inline]
    pub fn from_arrow(v: IntervalMonthDayNano) -> IntervalValue {
        IntervalValue { months: v.months, days: v.days, micros: v.nanoseconds / 1000 }
    }

    /// To Arrow's value; `22008` beyond 292 years of µs.
    #[inline]
    pub fn to_arrow(&self) -> Result<IntervalMonthDayNano, SqlError> {
        match self.micros.checked_mul(1000) {
            Some(ns) => Ok(IntervalMonthDayNano::new(self.months, self.days, ns)),
            None => Err(SqlError::new(SqlState::DATETIME_OVERFLOW, "interval out of range")),
        }
    }
}

fn mismatch(what: &str, ty: SqlType) -> SqlError {
    SqlError::internal(format!("{what} is not of type {ty}"))
}

fn down<T: 'static>(array: &dyn Array, ty: SqlType) -> Result<&T, SqlError> {
    array.as_any().downcast_ref::<T>().ok_or_else(|| mismatch(&format!("a column of {}", array.data_type()), ty))
}

impl Datum {
    /// The value of row `row` of a column of type `ty`.
    pub fn from_array(array: &dyn Array, row: usize, ty: SqlType) -> Result<Datum, SqlError> {
        if array.is_null(row) {
            return Ok(Datum::Null);
        }
        if let SqlType::Array(_) | SqlType::Enum(_) | SqlType::Row(_) = ty {
            return Datum::from_bytes(ty, down::<BinaryArray>(array, ty)?.value(row));
        }
        if ty.without_modifier() == SqlType::TimeTz {
            return Ok(Datum::TimeTz(down::<Int64Array>(array, ty)?.value(row)));
        }
        Ok(match ty.carrier() {
            SqlType::Bool => Datum::Bool(down::<BooleanArray>(array, ty)?.value(row)),
            SqlType::Int2 => Datum::Int2(down::<Int16Array>(array, ty)?.value(row)),
            SqlType::Int4 => Datum::Int4(down::<Int32Array>(array, ty)?.value(row)),
            SqlType::Int8 => Datum::Int8(down::<Int64Array>(array, ty)?.value(row)),
            SqlType::Float4 => Datum::Float4(Float(down::<Float32Array>(array, ty)?.value(row).into())),
            SqlType::Float8 => Datum::Float8(Float(down::<Float64Array>(array, ty)?.value(row))),
            SqlType::Numeric(Some((_, scale))) => {
                Datum::Numeric(Numeric::from_decimal(down::<Decimal128Array>(array, ty)?.value(row), scale)?)
            }
            SqlType::Numeric(None) => {
                Datum::Numeric(Numeric::from_bytes(down::<LargeBinaryArray>(array, ty)?.value(row))?)
            }
            SqlType::Text => Datum::Text(down::<StringArray>(array, ty)?.value(row).into()),
            SqlType::Bytea => Datum::Bytea(down::<BinaryArray>(array, ty)?.value(row).into()),
            SqlType::Date => Datum::Date(down::<Date32Array>(array, ty)?.value(row)),
            SqlType::Time => Datum::Time(down::<Time64MicrosecondArray>(array, ty)?.value(row)),
            SqlType::Timestamp => Datum::Timestamp(down::<TimestampMicrosecondArray>(array, ty)?.value(row)),
            SqlType::TimestampTz => Datum::TimestampTz(down::<TimestampMicrosecondArray>(array, ty)?.value(row)),
            SqlType::Interval => {
                Datum::Interval(IntervalValue::from_arrow(down::<IntervalMonthDayNanoArray>(array, ty)?.value(row)))
            }
            SqlType::Uuid => {
                let bytes = down::<FixedSizeBinaryArray>(array, ty)?.value(row);
                Datum::Uuid(bytes.try_into().map_err(|_| mismatch("a uuid", ty))?)
            }
            SqlType::Jsonb => Datum::Jsonb(down::<LargeStringArray>(array, ty)?.value(row).into()),
            other => return Err(SqlError::internal(format!("{other} carries {ty}"))),
        })
    }

    /// The value of a type that is carried as bytes.
    pub fn from_bytes(ty: SqlType, bytes: &[u8]) -> Result<Datum, SqlError> {
        Ok(match ty {
            SqlType::Array(element) => Datum::Array(Box::new(ArrayValue::from_bytes(element.ty(), bytes)?)),
            SqlType::Enum(e) => Datum::Enum(Box::new(EnumValue::from_bytes(e, bytes)?)),
            SqlType::Row(r) => Datum::Row(Box::new(RowValue::from_bytes(r, bytes)?)),
            _ => Datum::Bytea(bytes.to_vec()),
        })
    }

    /// True for NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    /// The type of the value; `None` for NULL.
    pub fn sql_type(&self) -> Option<SqlType> {
        Some(match self {
            Datum::Null => return None,
            Datum::Bool(_) => SqlType::Bool,
            Datum::Int2(_) => SqlType::Int2,
            Datum::Int4(_) => SqlType::Int4,
            Datum::Int8(_) => SqlType::Int8,
            Datum::Float4(_) => SqlType::Float4,
            Datum::Float8(_) => SqlType::Float8,
            Datum::Numeric(_) => SqlType::Numeric(None),
            Datum::Text(_) => SqlType::Text,
            Datum::Bytea(_) => SqlType::Bytea,
            Datum::Date(_) => SqlType::Date,
            Datum::Time(_) => SqlType::Time,
            Datum::Timestamp(_) => SqlType::Timestamp,
            Datum::TimestampTz(_) => SqlType::TimestampTz,
            Datum::Interval(_) => SqlType::Interval,
            Datum::Uuid(_) => SqlType::Uuid,
            Datum::Jsonb(_) => SqlType::Jsonb,
            Datum::Array(v) => v.element.array_of()?,
            Datum::TimeTz(_) => SqlType::TimeTz,
            Datum::Enum(v) => SqlType::Enum(v.ty),
            Datum::Row(v) => SqlType::Row(v.ty),
        })
    }

    pub(crate) fn type_name(&self) -> String {
        self.sql_type().map_or_else(|| "unknown".to_string(), |ty| ty.to_string())
    }

    /// True where a column of type `ty` can hold the value as it is: NULL anywhere, numeric and text whatever the
    /// type modifier.
    pub fn is_of(&self, ty: SqlType) -> bool {
        match self.sql_type() {
            None => true,
            Some(SqlType::Numeric(_)) => matches!(ty, SqlType::Numeric(_)),
            Some(own @ (SqlType::Array(_) | SqlType::Enum(_) | SqlType::Row(_) | SqlType::TimeTz)) => {
                own.without_modifier() == ty.without_modifier()
            }
            Some(own) => {
                let other = matches!(
                    ty.without_modifier(),
                    SqlType::Array(_) | SqlType::Enum(_) | SqlType::Row(_) | SqlType::TimeTz
                );
                own == ty.carrier() && !other
            }
        }
    }

    /// PostgreSQL's text output, timestamptz in UTC; `None` for NULL.
    pub fn to_text(&self) -> Option<String> {
        if self.is_null() {
            return None;
        }
        let mut out = String::new();
        crate::text::write_datum(self, &mut out);
        Some(out)
    }
}

/// PostgreSQL's text output; NULL as `NULL`.
impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_text().as_deref().unwrap_or("NULL"))
    }
}

/// A column of type `ty` with these values; an error where one is of another type, or (`22003`) a numeric does not fit
/// its precision.
pub fn datums_to_array(ty: SqlType, datums: &[Datum]) -> Result<ArrayRef, SqlError> {
    macro_rules! column {
        ($builder:expr, $pattern:pat => $value:expr) => {{
            let mut builder = $builder;
            for datum in datums {
                match datum {
                    Datum::Null => builder.append_null(),
                    $pattern => builder.append_value($value),
                    other => return Err(mismatch(&format!("a value of type {}", other.type_name()), ty)),
                }
            }
            Arc::new(builder.finish()) as ArrayRef
        }};
    }
    match ty.without_modifier() {
        SqlType::Array(_) => return Ok(column!(BinaryBuilder::new(), Datum::Array(v) => v.to_bytes()?)),
        SqlType::Enum(_) => return Ok(column!(BinaryBuilder::new(), Datum::Enum(v) => v.to_bytes())),
        SqlType::Row(_) => return Ok(column!(BinaryBuilder::new(), Datum::Row(v) => v.to_bytes()?)),
        SqlType::TimeTz => return Ok(column!(Int64Builder::new(), Datum::TimeTz(v) => *v)),
        _ => {}
    }
    Ok(match ty.carrier() {
        SqlType::Bool => column!(BooleanBuilder::new(), Datum::Bool(v) => *v),
        SqlType::Int2 => column!(Int16Builder::new(), Datum::Int2(v) => *v),
        SqlType::Int4 => column!(Int32Builder::new(), Datum::Int4(v) => *v),
        SqlType::Int8 => column!(Int64Builder::new(), Datum::Int8(v) => *v),
        SqlType::Float4 => column!(Float32Builder::new(), Datum::Float4(v) => v.0 as f32),
        SqlType::Float8 => column!(Float64Builder::new(), Datum::Float8(v) => v.0),
        SqlType::Numeric(Some((p, s))) => {
            let builder = Decimal128Builder::new().with_data_type(ty.arrow());
            column!(builder, Datum::Numeric(v) => v.to_decimal(p, s)?)
        }
        SqlType::Numeric(None) => column!(LargeBinaryBuilder::new(), Datum::Numeric(v) => v.to_bytes()),
        SqlType::Text => column!(StringBuilder::new(), Datum::Text(v) => v),
        SqlType::Bytea => column!(BinaryBuilder::new(), Datum::Bytea(v) => v),
        SqlType::Date => column!(Date32Builder::new(), Datum::Date(v) => *v),
        SqlType::Time => column!(Time64MicrosecondBuilder::new(), Datum::Time(v) => *v),
        SqlType::Timestamp => column!(TimestampMicrosecondBuilder::new(), Datum::Timestamp(v) => *v),
        SqlType::TimestampTz => {
            let builder = TimestampMicrosecondBuilder::new().with_data_type(ty.arrow());
            column!(builder, Datum::TimestampTz(v) => *v)
        }
        SqlType::Interval => column!(IntervalMonthDayNanoBuilder::new(), Datum::Interval(v) => v.to_arrow()?),
        SqlType::Uuid => uuid_column(datums)?,
        SqlType::Jsonb => column!(LargeStringBuilder::new(), Datum::Jsonb(v) => v),
        other => return Err(SqlError::internal(format!("{other} carries {ty}"))),
    })
}

fn uuid_column(datums: &[Datum]) -> Result<ArrayRef, SqlError> {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(datums.len(), 16);
    for datum in datums {
        match datum {
            Datum::Null => builder.append_null(),
            Datum::Uuid(v) => builder.append_value(v).map_err(|e| SqlError::internal(e.to_string()))?,
            other => return Err(mismatch(&format!("a value of type {}", other.type_name()), SqlType::Uuid)),
        }
    }
    Ok(Arc::new(builder.finish()))
}
