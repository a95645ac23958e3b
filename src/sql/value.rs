//! Values between our representation and DataFusion's.

use arrow::datatypes::IntervalMonthDayNano;
use datafusion_common::ScalarValue;
use datafusion_common::metadata::FieldMetadata;
use datafusion_expr::Expr;
use hw_repr::datum::{Float, IntervalValue};
use hw_repr::numeric::Numeric;
use hw_repr::{Datum, SqlError, SqlType};

/// A constant of a plan; what its Arrow type does not tell of its type, its metadata does.
pub(crate) fn to_literal(datum: &Datum, ty: SqlType) -> Result<Expr, SqlError> {
    let metadata = ty.metadata().map(|pair| FieldMetadata::new([pair].into()));
    Ok(Expr::Literal(to_scalar_value(datum, ty)?, metadata))
}

/// A constant as DataFusion carries it.
pub(crate) fn to_scalar_value(datum: &Datum, ty: SqlType) -> Result<ScalarValue, SqlError> {
    Ok(match datum {
        Datum::Null => ScalarValue::try_from(&ty.arrow()).map_err(|e| SqlError::internal(e.to_string()))?,
        Datum::Bool(v) => ScalarValue::Boolean(Some(*v)),
        Datum::Int2(v) => ScalarValue::Int16(Some(*v)),
        Datum::Int4(v) => ScalarValue::Int32(Some(*v)),
        Datum::Int8(v) => ScalarValue::Int64(Some(*v)),
        Datum::Float4(v) => ScalarValue::Float32(Some(v.0 as f32)),
        Datum::Float8(v) => ScalarValue::Float64(Some(v.0)),
        Datum::Numeric(v) => match ty {
            SqlType::Numeric(Some((p, s))) => ScalarValue::Decimal128(Some(v.to_decimal(p, s)?), p, s),
            _ => ScalarValue::LargeBinary(Some(v.to_bytes())),
        },
        Datum::Text(v) => ScalarValue::Utf8(Some(v.clone())),
        Datum::Bytea(v) => ScalarValue::Binary(Some(v.clone())),
        Datum::Date(v) => ScalarValue::Date32(Some(*v)),
        Datum::Time(v) => ScalarValue::Time64Microsecond(Some(*v)),
        Datum::Timestamp(v) => ScalarValue::TimestampMicrosecond(Some(*v), None),
        Datum::TimestampTz(v) => ScalarValue::TimestampMicrosecond(Some(*v), Some("+00:00".into())),
        Datum::Interval(v) => {
            let nanoseconds = v
                .micros
                .checked_mul(1000)
                .ok_or_else(|| SqlError::new(hw_repr::SqlState::DATETIME_OVERFLOW, "interval out of range"))?;
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(v.months, v.days, nanoseconds)))
        }
        Datum::Uuid(v) => ScalarValue::FixedSizeBinary(16, Some(v.to_vec())),
        Datum::Jsonb(v) => ScalarValue::LargeUtf8(Some(v.clone())),
        Datum::Array(v) => ScalarValue::Binary(Some(v.to_bytes()?)),
        Datum::TimeTz(v) => ScalarValue::Int64(Some(*v)),
        Datum::Enum(v) => ScalarValue::Binary(Some(v.to_bytes())),
        Datum::Row(v) => ScalarValue::Binary(Some(v.to_bytes()?)),
    })
}

/// The constant behind a literal that retyping has made.
pub(crate) fn from_scalar_value(
    value: &ScalarValue,
    metadata: Option<&FieldMetadata>,
) -> Result<(Datum, SqlType), SqlError> {
    let ty = SqlType::from_parts(&value.data_type(), |key| metadata?.inner().get(key))
        .ok_or_else(|| SqlError::internal(format!("a literal of type {}", value.data_type())))?;
    if value.is_null() {
        return Ok((Datum::Null, ty));
    }
    let datum = match value {
        ScalarValue::Boolean(Some(v)) => Datum::Bool(*v),
        ScalarValue::Int16(Some(v)) => Datum::Int2(*v),
        ScalarValue::Int32(Some(v)) => Datum::Int4(*v),
        ScalarValue::Int64(Some(v)) if ty.without_modifier() == SqlType::TimeTz => Datum::TimeTz(*v),
        ScalarValue::Int64(Some(v)) => Datum::Int8(*v),
        ScalarValue::Float32(Some(v)) => Datum::Float4(Float(f64::from(*v))),
        ScalarValue::Float64(Some(v)) => Datum::Float8(Float(*v)),
        ScalarValue::Decimal128(Some(v), _, s) => Datum::Numeric(Numeric::from_decimal(*v, *s)?),
        ScalarValue::LargeBinary(Some(v)) => Datum::Numeric(Numeric::from_bytes(v)?),
        ScalarValue::Utf8(Some(v)) => Datum::Text(v.clone()),
        ScalarValue::Binary(Some(v)) => Datum::from_bytes(ty, v)?,
        ScalarValue::Date32(Some(v)) => Datum::Date(*v),
        ScalarValue::Time64Microsecond(Some(v)) => Datum::Time(*v),
        ScalarValue::TimestampMicrosecond(Some(v), None) => Datum::Timestamp(*v),
        ScalarValue::TimestampMicrosecond(Some(v), Some(_)) => Datum::TimestampTz(*v),
        ScalarValue::IntervalMonthDayNano(Some(v)) => {
            Datum::Interval(IntervalValue { months: v.months, days: v.days, micros: v.nanoseconds / 1000 })
        }
        ScalarValue::FixedSizeBinary(16, Some(v)) => {
            let bytes: [u8; 16] = v.as_slice().try_into().map_err(|_| SqlError::internal("a uuid of other length"))?;
            Datum::Uuid(bytes)
        }
        ScalarValue::LargeUtf8(Some(v)) => Datum::Jsonb(v.clone()),
        other => return Err(SqlError::internal(format!("a literal of type {}", other.data_type()))),
    };
    Ok((datum, ty))
}
