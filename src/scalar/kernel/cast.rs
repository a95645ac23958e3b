//! Casts, as PostgreSQL's `pg_cast` and its input and output functions do them.

use super::arithmetic::{Numbers, build_numeric, unary_numeric};
use super::{Kernel, Prim, build, downcast, is_exact_number, out_of_range};
use crate::civil::{self, DAY};
use crate::resolve::{CastContext, can_cast};
use crate::value::{Val, internal, strict_nulls};
use arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, StringArray, StringBuilder, TimestampMicrosecondArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast as arrow_cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use hw_repr::numeric::Numeric;
use hw_repr::{AliasType, SqlError, SqlState, SqlType, datum, text};
use std::sync::Arc;

/// Whether a cast can fail on some value.
pub(crate) fn cast_may_fail(from: SqlType, to: SqlType, explicit: bool) -> bool {
    use SqlType::*;
    match (from, to) {
        (a, b) if a == b => false,
        (Alias(a), b) if !is_plain(b) => cast_may_fail(a.carrier(), b, explicit),
        (_, Char(None)) => false,
        (_, Char(Some(_))) => !explicit,
        (Char(_), b) => cast_may_fail(Text, b, explicit),
        (_, Alias(AliasType::Oid | AliasType::Xid | AliasType::Numeric(_))) => true,
        (a, Alias(b)) => cast_may_fail(a, b.carrier(), explicit) || b.precision().is_some(),
        (Array(a), Array(b)) => cast_may_fail(a.ty(), b.ty(), explicit),
        (Bit(_) | Varbit(_), Bit(None) | Varbit(None)) => false,
        (Bit(_) | Varbit(_), Bit(Some(_)) | Varbit(Some(_))) | (Int4 | Int8, Bit(_)) => !explicit,
        (TimeTz, Time) | (Time | TimestampTz, TimeTz) => false,
        (Jsonb, Json) => false,
        (_, Text | Varchar(None)) => false,
        (_, Varchar(Some(_))) => !explicit,
        (Int2, Int4 | Int8 | Float4 | Float8) | (Int4, Int8 | Float4 | Float8) | (Int8, Float4 | Float8) => false,
        (Int2 | Int4 | Int8, Numeric(None)) | (Numeric(_), Numeric(None)) | (Numeric(Some(_)), Float8) => false,
        (Float4 | Float8, Numeric(None)) => false,
        (Int2, Numeric(Some((p, s)))) => i16::from(p) - i16::from(s) < 5,
        (Int4, Numeric(Some((p, s)))) => i16::from(p) - i16::from(s) < 10,
        (Int8, Numeric(Some((p, s)))) => i16::from(p) - i16::from(s) < 19,
        (Numeric(Some((p, s))), Numeric(Some((q, r)))) => {
            r < s || i16::from(q) - i16::from(r) < i16::from(p) - i16::from(s)
        }
        (Float4, Float8) | (Bool, Int4) | (Int4, Bool) => false,
        (Time, Interval) | (Interval, Time) => false,
        (Timestamp, TimestampTz) | (TimestampTz, Timestamp) | (Timestamp | TimestampTz, Date | Time) => false,
        _ => true,
    }
}

/// The kernel of a cast, or `None` where the carried values stay as they are.
pub(crate) fn cast(from: SqlType, to: SqlType, explicit: bool) -> Result<Option<Kernel>, SqlError> {
    use SqlType::*;
    if from == to || matches!((from, to), (Text | Varchar(_), Text | Varchar(None))) {
        return Ok(None);
    }
    if let Some(found) = extended(from, to, explicit)? {
        return Ok(found);
    }
    if matches!((from, to), (Varchar(Some(a)), Varchar(Some(b))) if a <= b) {
        return Ok(None);
    }
    let context = if explicit { CastContext::Explicit } else { CastContext::Assignment };
    if !can_cast(from, to, context) {
        return Err(SqlError::new(SqlState::new("42846"), format!("cannot cast type {from} to {to}")));
    }
    Ok(Some(match (from, to) {
        (Text | Varchar(_), Varchar(Some(n))) => Box::new(move |args, rows| limit_length(args, rows, n, explicit)),
        (_, Text | Varchar(_)) => to_text(from, to, explicit),
        (Text | Varchar(_), _) => parse_text(to),
        (Jsonb, _) => super::json::cast_scalar(to),
        (Bool, Int4) | (Int4, Bool) => boolean(from),
        (TimeTz, _) | (_, TimeTz) => {
            super::timetz::cast(from, to).ok_or_else(|| SqlError::internal(format!("no cast from {from} to {to}")))?
        }
        (Float4 | Float8, _) => from_float(from, to),
        (Int2 | Int4 | Int8 | Numeric(_), _) => from_exact(from, to),
        _ => datetime(from, to),
    }))
}

/// Whether a type is not one of those that [`extended`] casts to.
fn is_plain(t: SqlType) -> bool {
    t == t.carrier() || t == SqlType::TimeTz
}

/// Casts from and to types that another one carries: through that one, then by what their modifier asks for.
fn extended(from: SqlType, to: SqlType, explicit: bool) -> Result<Option<Option<Kernel>>, SqlError> {
    use SqlType::*;
    let context = if explicit { CastContext::Explicit } else { CastContext::Assignment };
    let exists = || match can_cast(from, to, context) {
        true => Ok(()),
        false => Err(SqlError::new(SqlState::new("42846"), format!("cannot cast type {from} to {to}"))),
    };
    Ok(Some(match (from, to) {
        (Array(a), Array(b)) => {
            exists()?;
            super::array::cast(a.ty(), b.ty(), explicit)?
        }
        (Row(a), Row(b)) => {
            exists()?;
            super::row::cast(a, b, explicit)?
        }
        (Bit(_) | Varbit(_), _) | (_, Bit(_) | Varbit(_)) => {
            exists()?;
            super::bits::cast(from, to, explicit)?
        }
        (Alias(AliasType::Char), Int4) => Some(Box::new(char_code)),
        (Int4, Alias(AliasType::Char)) if explicit => Some(Box::new(char_of_code)),
        (Alias(a), _) if is_plain(to) || matches!(to, Varchar(_)) => cast(a.carrier(), to, explicit)?,
        (Char(_) | Json, Varchar(_)) => cast(Text, to, explicit)?,
        (Char(_) | Json, Text) => None,
        (Char(_), t) if is_plain(t) => cast(Text, t, explicit)?,
        (Char(_), Alias(_) | Json | Array(_) | Enum(_) | Row(_)) => cast(Text, to, explicit)?,
        (Json | Alias(_), Enum(_) | Row(_)) if from.carrier() == Text => cast(Text, to, explicit)?,
        (_, Char(length)) => {
            let text = if from.carrier() == Text { None } else { Some(to_text(from, Text, explicit)) };
            Some(then(text, Box::new(move |args, rows| limit_char(args, rows, length, explicit))))
        }
        // The fields say what a number without a unit counts.
        (Text | Varchar(_), Alias(AliasType::Interval(_))) => Some(parse_text(to)),
        (_, Alias(alias)) => {
            let carried = if from.carrier() == alias.carrier() { None } else { cast(from, alias.carrier(), explicit)? };
            let from_big = matches!(from, Int8 | Numeric(_));
            Some(then(carried, Box::new(move |args, _| limit_alias(&args[0], alias, from_big))))
        }
        (Jsonb, Json) => Some(to_text(from, Text, explicit)),
        (Json, Jsonb) => Some(parse_text(Jsonb)),
        _ => return Ok(None),
    }))
}

/// The byte of a `"char"`, with a sign; 0 of an empty one.
fn char_code(args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let a = downcast::<StringArray>(&args[0])?;
    let code = |i: usize| Ok(a.value(i).bytes().next().map_or(0, |b| i32::from(b as i8)));
    Ok(Arc::new(build::<Int32Type>(rows, a.nulls().cloned(), code)?))
}

/// The `"char"` of a code; those that are no ASCII have no text here.
fn char_of_code(args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let a = Prim::<Int32Type>::of(&args[0])?;
    let mut out = StringBuilder::with_capacity(rows, rows);
    for row in 0..rows {
        if args[0].array().is_null(row) {
            out.append_null();
            continue;
        }
        match a.get(row) {
            0 => out.append_value(""),
            code @ 1..=127 => out.append_value((code as u8 as char).encode_utf8(&mut [0; 4])),
            -128..0 => return Err(SqlError::unsupported("a \"char\" that is not ASCII is not supported")),
            _ => return Err(SqlError::new(SqlState::OUT_OF_RANGE, "\"char\" out of range")),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// One kernel behind another; a missing first one changes nothing.
fn then(first: Option<Kernel>, second: Kernel) -> Kernel {
    match first {
        None => second,
        Some(first) => Box::new(move |args, rows| second(&[Val::Array(first(args, rows)?)], rows)),
    }
}

/// char(n): spaces at the end do not count; an explicit cast truncates.
fn limit_char(args: &[Val], rows: usize, length: Option<u32>, explicit: bool) -> Result<ArrayRef, SqlError> {
    let a = downcast::<StringArray>(&args[0])?;
    let mut out = StringBuilder::with_capacity(rows, a.value_data().len());
    for v in a {
        let fitted = match (v, length) {
            (Some(v), Some(n)) => Some(
                fit(v.trim_end_matches(' '), n, explicit)
                    .map_err(|e| SqlError { message: format!("value too long for type character({n})"), ..e })?,
            ),
            (v, _) => v,
        };
        out.append_option(fitted.map(|v| v.trim_end_matches(' ')));
    }
    Ok(Arc::new(out.finish()))
}

/// What the modifier of an alias does to each value. A bigint that is no OID is an error even where 32 bits would wrap.
fn limit_alias(v: &Val, alias: AliasType, from_big: bool) -> Result<ArrayRef, SqlError> {
    let (a, carrier) = (v.array(), alias.carrier());
    let mut out = Vec::with_capacity(a.len());
    for row in 0..a.len() {
        let value = hw_repr::Datum::from_array(a.as_ref(), row, carrier)?;
        if from_big && matches!(value, hw_repr::Datum::Int8(v) if v < 0) {
            return Err(SqlError::new(SqlState::OUT_OF_RANGE, "OID out of range"));
        }
        out.push(if value.is_null() { value } else { text::modifier::apply(alias, value)? });
    }
    datum::datums_to_array(carrier, &out)
}

fn limit_length(args: &[Val], rows: usize, n: u32, explicit: bool) -> Result<ArrayRef, SqlError> {
    let a = downcast::<StringArray>(&args[0])?;
    let mut out = StringBuilder::with_capacity(rows, a.value_data().len());
    for v in a {
        match v {
            Some(v) => out.append_value(fit(v, n, explicit)?),
            None => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// An explicit cast truncates; an assignment may only lose spaces.
fn fit(v: &str, n: u32, explicit: bool) -> Result<&str, SqlError> {
    let Some((end, _)) = v.char_indices().nth(n as usize) else { return Ok(v) };
    if explicit || v[end..].bytes().all(|b| b == b' ') {
        return Ok(&v[..end]);
    }
    Err(SqlError::new(SqlState::STRING_TRUNCATION, format!("value too long for type character varying({n})")))
}

fn to_text(from: SqlType, to: SqlType, explicit: bool) -> Kernel {
    Box::new(move |args, rows| {
        let a = args[0].array();
        let mut out = StringBuilder::with_capacity(rows, rows * 8);
        let mut buffer = String::new();
        for row in 0..rows {
            if a.is_null(row) {
                out.append_null();
                continue;
            }
            buffer.clear();
            write_text(a.as_ref(), row, from, &mut buffer);
            match to {
                SqlType::Varchar(Some(n)) => out.append_value(fit(&buffer, n, explicit)?),
                _ => out.append_value(&buffer),
            }
        }
        Ok(Arc::new(out.finish()))
    })
}

/// The cast to text: the output function, but booleans in full.
pub(super) fn write_text(a: &dyn Array, row: usize, ty: SqlType, out: &mut String) {
    match a.as_any().downcast_ref::<BooleanArray>() {
        Some(b) => out.push_str(if b.value(row) { "true" } else { "false" }),
        None => text::write_value(a, row, ty, out),
    }
}

fn parse_text(to: SqlType) -> Kernel {
    Box::new(move |args, rows| {
        let a = downcast::<StringArray>(&args[0])?;
        match to {
            SqlType::Int4 => parse_integers::<Int32Type>(a, rows, to),
            SqlType::Int8 => parse_integers::<Int64Type>(a, rows, to),
            _ => {
                let values = a
                    .iter()
                    .map(|v| v.map_or(Ok(hw_repr::Datum::Null), |v| text::parse(to, v)))
                    .collect::<Result<Vec<_>, _>>()?;
                datum::datums_to_array(to, &values)
            }
        }
    })
}

/// Plain digits at once; everything else through the input function.
fn parse_integers<T: ArrowPrimitiveType>(a: &StringArray, rows: usize, to: SqlType) -> Result<ArrayRef, SqlError>
where
    T::Native: std::str::FromStr + TryFrom<i64>,
{
    let out = build::<T>(rows, a.nulls().cloned(), |i| {
        let s = a.value(i);
        if !s.is_empty()
            && s.bytes().all(|b| b.is_ascii_digit())
            && let Ok(v) = s.parse::<T::Native>()
        {
            return Ok(v);
        }
        let v = match text::parse(to, s)? {
            hw_repr::Datum::Int4(v) => i64::from(v),
            hw_repr::Datum::Int8(v) => v,
            other => return Err(SqlError::internal(format!("{to} parsed as {other:?}"))),
        };
        T::Native::try_from(v).map_err(|_| out_of_range(to))
    })?;
    Ok(Arc::new(out))
}

fn boolean(from: SqlType) -> Kernel {
    Box::new(move |args, rows| {
        if from == SqlType::Bool {
            let a = downcast::<BooleanArray>(&args[0])?;
            return Ok(Arc::new(build::<Int32Type>(rows, a.nulls().cloned(), |i| Ok(i32::from(a.value(i))))?));
        }
        let a = downcast::<Int32Array>(&args[0])?;
        let bits = BooleanBuffer::collect_bool(rows, |i| a.value(i) != 0);
        Ok(Arc::new(BooleanArray::new(bits, a.nulls().cloned())))
    })
}

/// Rounds half to even, as `rint` does, and checks the range.
fn float_to_int(v: f64, to: SqlType) -> Result<i64, SqlError> {
    let r = v.round_ties_even();
    let (min, end) = match to {
        SqlType::Int2 => (-32_768.0, 32_768.0),
        SqlType::Int4 => (-2_147_483_648.0, 2_147_483_648.0),
        _ => (-9_223_372_036_854_775_808.0, 9_223_372_036_854_775_808.0),
    };
    if r >= min && r < end { Ok(r as i64) } else { Err(out_of_range(to)) }
}

fn from_float(from: SqlType, to: SqlType) -> Kernel {
    Box::new(move |args, rows| {
        let nulls = strict_nulls(args);
        let wide;
        let (single, values) = match from {
            SqlType::Float4 => {
                wide = arrow_cast(args[0].array(), &DataType::Float64).map_err(internal)?;
                (true, Val::Array(wide))
            }
            _ => (false, args[0].clone()),
        };
        let a = Prim::<Float64Type>::of(&values)?;
        let number = |i: usize| if single { Numeric::from_f32(a.get(i) as f32) } else { Numeric::from_f64(a.get(i)) };
        Ok(match to {
            SqlType::Float8 => values.array().clone(),
            SqlType::Float4 => Arc::new(build::<Float32Type>(rows, nulls, |i| {
                let (v, r) = (a.get(i), a.get(i) as f32);
                match () {
                    () if r.is_infinite() && !v.is_infinite() => Err(out_of_range(to)),
                    () if r == 0.0 && v != 0.0 => {
                        Err(SqlError::new(SqlState::OUT_OF_RANGE, "value out of range: underflow"))
                    }
                    () => Ok(r),
                }
            })?),
            SqlType::Int2 => Arc::new(build::<Int16Type>(rows, nulls, |i| Ok(float_to_int(a.get(i), to)? as i16))?),
            SqlType::Int4 => Arc::new(build::<Int32Type>(rows, nulls, |i| Ok(float_to_int(a.get(i), to)? as i32))?),
            SqlType::Int8 => Arc::new(build::<Int64Type>(rows, nulls, |i| float_to_int(a.get(i), to))?),
            SqlType::Numeric(None) => build_numeric(rows, nulls, number)?,
            SqlType::Numeric(Some((p, s))) => decimal(rows, args, p, s, number)?,
            other => return Err(SqlError::internal(format!("no cast from {from} to {other}"))),
        })
    })
}

fn decimal(
    rows: usize,
    args: &[Val],
    p: u8,
    s: i8,
    f: impl Fn(usize) -> Result<Numeric, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let out = build::<Decimal128Type>(rows, strict_nulls(args), |i| f(i)?.to_decimal(p, s))?;
    Ok(Arc::new(out.with_precision_and_scale(p, s).map_err(internal)?))
}

fn from_exact(from: SqlType, to: SqlType) -> Kernel {
    use SqlType::*;
    let widening = matches!((from, to), (Int2, Int4 | Int8) | (Int4, Int8) | (Int2 | Int4 | Int8, Float4 | Float8));
    Box::new(move |args, rows| {
        if widening {
            return arrow_cast(args[0].array(), &to.arrow()).map_err(internal);
        }
        if to == Numeric(None) {
            return unary_numeric(args, rows, Ok);
        }
        let nulls = strict_nulls(args);
        let a = Numbers::of(&args[0])?;
        let whole = |i: usize, min: i64, max: i64| {
            let v: i64 = a.get(i)?.to_integer(&to.to_string())?;
            if (min..=max).contains(&v) { Ok(v) } else { Err(out_of_range(to)) }
        };
        Ok(match to {
            Int2 => {
                Arc::new(build::<Int16Type>(rows, nulls, |i| Ok(whole(i, i16::MIN.into(), i16::MAX.into())? as i16))?)
            }
            Int4 => {
                Arc::new(build::<Int32Type>(rows, nulls, |i| Ok(whole(i, i32::MIN.into(), i32::MAX.into())? as i32))?)
            }
            Int8 => Arc::new(build::<Int64Type>(rows, nulls, |i| whole(i, i64::MIN, i64::MAX))?),
            Float8 => Arc::new(build::<Float64Type>(rows, nulls, |i| to_double(&a.get(i)?))?),
            Float4 => Arc::new(build::<Float32Type>(rows, nulls, |i| to_real(&a.get(i)?))?),
            Numeric(Some((p, s))) => {
                if let (Numbers::Decimal(raw, old), true) = (&a, is_exact_number(from))
                    && let Some(up) = rescale_factor(raw.precision(), *old, p, s)
                {
                    let out = build::<Decimal128Type>(rows, nulls, |i| Ok(raw.value(i) * up))?;
                    return Ok(Arc::new(out.with_precision_and_scale(p, s).map_err(internal)?));
                }
                decimal(rows, args, p, s, |i| a.get(i))?
            }
            other => return Err(SqlError::internal(format!("no cast from {from} to {other}"))),
        })
    })
}

/// The nearest double; PostgreSQL goes by the text of the numeric.
fn to_double(v: &Numeric) -> Result<f64, SqlError> {
    let r = v.to_f64();
    let lost = v.is_finite() && (r.is_infinite() || r == 0.0 && v.signum() != 0);
    if lost { Err(text_out_of_range(v, SqlType::Float8)) } else { Ok(r) }
}

/// The nearest real, rounded once.
fn to_real(v: &Numeric) -> Result<f32, SqlError> {
    let r = match v {
        Numeric::Small { value, scale: 0 } if value.unsigned_abs() < 1 << 24 => *value as f32,
        _ if v.is_finite() => v.to_string().parse().unwrap_or(f32::NAN),
        _ => v.to_f64() as f32,
    };
    let lost = v.is_finite() && (r.is_infinite() || r == 0.0 && v.signum() != 0);
    if lost { Err(text_out_of_range(v, SqlType::Float4)) } else { Ok(r) }
}

fn text_out_of_range(v: &Numeric, ty: SqlType) -> SqlError {
    SqlError::new(SqlState::OUT_OF_RANGE, format!("\"{v}\" is out of range for type {ty}"))
}

/// By what to multiply unscaled values when every value fits the new type exactly.
fn rescale_factor(p: u8, s: i8, q: u8, r: i8) -> Option<i128> {
    let fits = s >= 0 && r >= s && i16::from(q) - i16::from(r) >= i16::from(p) - i16::from(s);
    fits.then(|| 10i128.pow((r - s) as u32))
}

fn datetime(from: SqlType, to: SqlType) -> Kernel {
    use SqlType::*;
    Box::new(move |args, rows| {
        let nulls = strict_nulls(args);
        Ok(match (from, to) {
            (Date, Timestamp | TimestampTz) => {
                let a = Prim::<Date32Type>::of(&args[0])?;
                let out = build::<TimestampMicrosecondType>(rows, nulls, |i| date_to_timestamp(a.get(i)))?;
                stamp(out, to)
            }
            (Timestamp | TimestampTz, Timestamp | TimestampTz) => {
                let a = downcast::<TimestampMicrosecondArray>(&args[0])?;
                stamp(a.clone(), to)
            }
            (Timestamp | TimestampTz, Date) => {
                let a = Prim::<TimestampMicrosecondType>::of(&args[0])?;
                Arc::new(build::<Date32Type>(rows, nulls, |i| Ok(timestamp_to_date(a.get(i))))?)
            }
            (Timestamp | TimestampTz, Time) => time_of_timestamp(&args[0], rows)?,
            (Time, Interval) => {
                let a = Prim::<Time64MicrosecondType>::of(&args[0])?;
                let f = |i| Ok(IntervalMonthDayNano::new(0, 0, a.get(i) * 1_000));
                Arc::new(build::<IntervalMonthDayNanoType>(rows, nulls, f)?)
            }
            (Interval, Time) => {
                let a = Prim::<IntervalMonthDayNanoType>::of(&args[0])?;
                let f = |i| Ok((a.get(i).nanoseconds / 1_000).rem_euclid(DAY));
                Arc::new(build::<Time64MicrosecondType>(rows, nulls, f)?)
            }
            _ => return Err(SqlError::internal(format!("no cast from {from} to {to}"))),
        })
    })
}

/// Infinite timestamps have no time of day: NULL, as in PostgreSQL.
fn time_of_timestamp(arg: &Val, rows: usize) -> Result<ArrayRef, SqlError> {
    let a = downcast::<TimestampMicrosecondArray>(arg)?;
    let out = super::build_opt::<Time64MicrosecondType>(rows, a.nulls().cloned(), |i| {
        let v = a.value(i);
        Ok((!civil::is_infinite(v)).then(|| v.rem_euclid(DAY)))
    })?;
    Ok(Arc::new(out))
}

/// Midnight of a date; `infinity` stays so.
pub(super) fn date_to_timestamp(d: i32) -> Result<i64, SqlError> {
    match d {
        i32::MAX => Ok(i64::MAX),
        i32::MIN => Ok(i64::MIN),
        _ => civil::checked_timestamp(i128::from(d) * i128::from(DAY))
            .ok_or_else(|| SqlError::new(SqlState::DATETIME_OVERFLOW, "date out of range for timestamp")),
    }
}

fn timestamp_to_date(v: i64) -> i32 {
    match v {
        i64::MAX => i32::MAX,
        i64::MIN => i32::MIN,
        _ => v.div_euclid(DAY) as i32,
    }
}

/// As the Arrow type of timestamp or timestamptz.
pub(super) fn stamp(a: TimestampMicrosecondArray, to: SqlType) -> ArrayRef {
    match to {
        SqlType::TimestampTz => Arc::new(a.with_timezone("+00:00")),
        _ => Arc::new(a.with_timezone_opt(None::<Arc<str>>)),
    }
}
