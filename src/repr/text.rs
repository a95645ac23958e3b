//! PostgreSQL's text input and output of every type in scope, to the character.
//!
//! Owns the two directions between text and values: [`parse`] for input (literals, parameters, COPY, casts from text)
//! and [`write_value`] and [`write_datum`] for output, with `DateStyle` ISO, `IntervalStyle` postgres, `bytea_output`
//! hex and `extra_float_digits` 1. A `timestamptz` is shown in UTC, or at a given offset by
//! [`datetime::write_timestamptz`].

use crate::array::{self, ArrayValue};
use crate::datum::{Datum, Float, IntervalValue};
use crate::error::{SqlError, SqlState};
use crate::numeric::Numeric;
use crate::row::{self, EnumValue, RowValue};
use crate::types::{AliasType, SqlType};
use arrow::array::*;
use std::fmt::Write;

pub mod bits;
pub mod datetime;
mod float;
pub mod interval;
mod jsonb;
pub mod modifier;
mod scalar;

pub use float::{write_f32, write_f64};
pub use jsonb::{jsonb_canonical, write_string as write_json_string};
pub use scalar::{write_bytea, write_uuid};

/// `22P02`: `invalid input syntax for type ...`.
pub(crate) fn invalid_syntax(ty: &str, s: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_TEXT, format!("invalid input syntax for type {ty}: \"{s}\""))
}

/// `s` without the white space around it, as C's `isspace` has it.
pub(crate) fn trim(s: &str) -> &str {
    s.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b')
}

/// PostgreSQL's input function of `ty`, with its type modifier. A timestamptz without a zone is in UTC.
pub fn parse(ty: SqlType, s: &str) -> Result<Datum, SqlError> {
    Ok(match ty {
        SqlType::Bool => Datum::Bool(scalar::parse_bool(s)?),
        SqlType::Int2 => Datum::Int2(scalar::parse_int(s, ty)?),
        SqlType::Int4 => Datum::Int4(scalar::parse_int(s, ty)?),
        SqlType::Int8 => Datum::Int8(scalar::parse_int(s, ty)?),
        SqlType::Float4 => Datum::Float4(Float(float::parse_f32(s)?.into())),
        SqlType::Float8 => Datum::Float8(Float(float::parse_f64(s)?)),
        SqlType::Numeric(None) => Datum::Numeric(Numeric::parse(s)?),
        SqlType::Numeric(Some((precision, scale))) => Datum::Numeric(Numeric::parse(s)?.cast(precision, scale)?),
        SqlType::Text => Datum::Text(s.to_string()),
        SqlType::Varchar(length) => Datum::Text(scalar::parse_varchar(s, length)?),
        SqlType::Bytea => Datum::Bytea(scalar::parse_bytea(s)?),
        SqlType::Date => Datum::Date(datetime::parse_date(s)?),
        SqlType::Time => Datum::Time(datetime::parse_time(s)?),
        SqlType::Timestamp => Datum::Timestamp(datetime::parse_timestamp(s)?),
        SqlType::TimestampTz => Datum::TimestampTz(datetime::parse_timestamptz(s)?),
        SqlType::Interval => Datum::Interval(interval::parse_interval(s)?),
        SqlType::Uuid => Datum::Uuid(scalar::parse_uuid(s)?),
        SqlType::Jsonb => Datum::Jsonb(jsonb_canonical(s)?),
        SqlType::Json => Datum::Text(jsonb::checked(s)?),
        SqlType::Char(length) => Datum::Text(scalar::parse_char(s, length)?),
        SqlType::Bit(_) | SqlType::Varbit(_) => Datum::Text(bits::fit(ty, bits::parse(s)?, false)?),
        SqlType::Array(element) => Datum::Array(Box::new(array::parse(element.ty(), s)?)),
        SqlType::Alias(alias @ AliasType::Interval(_)) => {
            let value = interval::parse_interval_fields(s, &modifier::interval_fields(alias))?;
            modifier::apply(alias, Datum::Interval(value))?
        }
        SqlType::Alias(alias) => modifier::apply(alias, parse(alias.carrier(), s)?)?,
        SqlType::TimeTz => Datum::TimeTz(datetime::parse_timetz(s)?),
        SqlType::Enum(ty) => Datum::Enum(Box::new(EnumValue::parse(ty, s)?)),
        SqlType::Row(ty) => Datum::Row(Box::new(row::parse(ty, s)?)),
    })
}

/// Appends a value as text; nothing for NULL.
pub fn write_datum(datum: &Datum, out: &mut String) {
    match datum {
        Datum::Null => {}
        Datum::Bool(v) => out.push(if *v { 't' } else { 'f' }),
        Datum::Int2(v) => write_display(v, out),
        Datum::Int4(v) => write_display(v, out),
        Datum::Int8(v) => write_display(v, out),
        Datum::Float4(v) => write_f32(v.0 as f32, out),
        Datum::Float8(v) => write_f64(v.0, out),
        Datum::Numeric(v) => write_display(v, out),
        Datum::Text(v) | Datum::Jsonb(v) => out.push_str(v),
        Datum::Bytea(v) => write_bytea(v, out),
        Datum::Date(v) => datetime::write_date(*v, out),
        Datum::Time(v) => datetime::write_time(*v, out),
        Datum::Timestamp(v) => datetime::write_timestamp(*v, out),
        Datum::TimestampTz(v) => datetime::write_timestamptz(*v, 0, out),
        Datum::Interval(v) => interval::write_interval(*v, out),
        Datum::Uuid(v) => write_uuid(v, out),
        Datum::Array(v) => array::write(v, out),
        Datum::TimeTz(v) => datetime::write_timetz(*v, out),
        Datum::Enum(v) => out.push_str(&v.label),
        Datum::Row(v) => row::write(v, out),
    }
}

/// Appends a value of type `ty`: as [`write_datum`], but char(n) with its spaces.
pub fn write_typed(datum: &Datum, ty: SqlType, out: &mut String) {
    match (datum, ty) {
        (Datum::Text(v), SqlType::Char(length)) => write_char(v, length, out),
        _ => write_datum(datum, out),
    }
}

/// The text of a value of a type, as [`write_typed`]; `None` for NULL.
pub fn format_typed(datum: &Datum, ty: SqlType) -> Option<String> {
    let mut out = String::new();
    write_typed(datum, ty, &mut out);
    (!datum.is_null()).then_some(out)
}

fn write_char(v: &str, length: Option<u32>, out: &mut String) {
    out.push_str(v);
    let missing = length.map_or(0, |n| (n as usize).saturating_sub(v.chars().count()));
    out.extend(std::iter::repeat_n(' ', missing));
}

/// The text of a value; `None` for NULL.
pub fn format(datum: &Datum) -> Option<String> {
    datum.to_text()
}

fn write_display(v: impl std::fmt::Display, out: &mut String) {
    write!(out, "{v}").expect("writing to a string does not fail");
}

fn down<T: 'static>(array: &dyn Array) -> &T {
    array.as_any().downcast_ref::<T>().expect("the column has the Arrow type of its SQL type")
}

/// Appends the text of row `at` of a column of type `ty`; nothing for NULL. Allocates nothing but `out`.
///
/// # Panics
/// Where the column's Arrow type is not that of `ty`.
pub fn write_value(array: &dyn Array, at: usize, ty: SqlType, out: &mut String) {
    if array.is_null(at) {
        return;
    }
    match ty {
        SqlType::Array(element) => {
            let bytes = down::<BinaryArray>(array).value(at);
            let array = ArrayValue::from_bytes(element.ty(), bytes).expect("an array column holds arrays");
            array::write(&array, out);
        }
        SqlType::Enum(_) => {
            let bytes = down::<BinaryArray>(array).value(at);
            out.push_str(row::enum_label(bytes).expect("a column of an enum holds its values"));
        }
        SqlType::Row(ty) => {
            let bytes = down::<BinaryArray>(array).value(at);
            row::write(&RowValue::from_bytes(ty, bytes).expect("a column of rows holds rows"), out);
        }
        SqlType::TimeTz => datetime::write_timetz(down::<Int64Array>(array).value(at), out),
        SqlType::Char(length) => write_char(down::<StringArray>(array).value(at), length, out),
        SqlType::Alias(alias) => write_value(array, at, alias.carrier(), out),
        SqlType::Bool => out.push(if down::<BooleanArray>(array).value(at) { 't' } else { 'f' }),
        SqlType::Int2 => write_display(down::<Int16Array>(array).value(at), out),
        SqlType::Int4 => write_display(down::<Int32Array>(array).value(at), out),
        SqlType::Int8 => write_display(down::<Int64Array>(array).value(at), out),
        SqlType::Float4 => write_f32(down::<Float32Array>(array).value(at), out),
        SqlType::Float8 => write_f64(down::<Float64Array>(array).value(at), out),
        SqlType::Numeric(Some((_, scale))) => {
            let n = Numeric::from_decimal(down::<Decimal128Array>(array).value(at), scale);
            write_display(n.expect("a decimal holds no more than its precision"), out);
        }
        SqlType::Numeric(None) => {
            let n = Numeric::from_bytes(down::<LargeBinaryArray>(array).value(at));
            write_display(n.expect("a numeric column holds ordered bytes"), out);
        }
        SqlType::Text | SqlType::Varchar(_) | SqlType::Json | SqlType::Bit(_) | SqlType::Varbit(_) => {
            out.push_str(down::<StringArray>(array).value(at));
        }
        SqlType::Bytea => write_bytea(down::<BinaryArray>(array).value(at), out),
        SqlType::Date => datetime::write_date(down::<Date32Array>(array).value(at), out),
        SqlType::Time => datetime::write_time(down::<Time64MicrosecondArray>(array).value(at), out),
        SqlType::Timestamp => datetime::write_timestamp(down::<TimestampMicrosecondArray>(array).value(at), out),
        SqlType::TimestampTz => datetime::write_timestamptz(down::<TimestampMicrosecondArray>(array).value(at), 0, out),
        SqlType::Interval => {
            let v = IntervalValue::from_arrow(down::<IntervalMonthDayNanoArray>(array).value(at));
            interval::write_interval(v, out);
        }
        SqlType::Uuid => write_uuid(down::<FixedSizeBinaryArray>(array).value(at), out),
        SqlType::Jsonb => out.push_str(down::<LargeStringArray>(array).value(at)),
    }
}

#[cfg(test)]
mod tests;
