//! Parameters from the wire to datums, in PostgreSQL's text and binary formats.

use crate::pg::encode::{EPOCH_DAYS, EPOCH_MICROS, Format};
use crate::pg::numeric;
use hw_repr::array::Dimension;
use hw_repr::datum::{Float, IntervalValue, TimeTzValue};
use hw_repr::text::{self, datetime};
use hw_repr::{AliasType, ArrayValue, Datum, RowType, RowValue, SqlError, SqlState, SqlType};

/// The type a client declared for a parameter: `None` for unknown (OID 0 and `unknown`).
pub fn declared_type(oid: u32) -> Result<Option<SqlType>, SqlError> {
    match oid {
        0 | 705 => Ok(None),
        19 => Ok(Some(SqlType::Text)),
        oid => SqlType::from_oid(oid, -1).map(Some).ok_or_else(|| {
            SqlError::unsupported(format!("parameters of the type with OID {oid} are not supported"))
                .hint("Declare the parameter as text and cast it, or leave its type to be inferred.")
        }),
    }
}

/// One parameter. `index` is one-based, for messages.
pub fn parameter(ty: SqlType, format: Format, raw: Option<&[u8]>, index: usize) -> Result<Datum, SqlError> {
    let Some(raw) = raw else { return Ok(Datum::Null) };
    match format {
        Format::Text => text::parse(ty, utf8(raw)?),
        Format::Binary => binary(ty, raw, index),
    }
}

/// `22021` of bytes that begin with what is no UTF-8; as many of them are shown as the first byte announces.
pub fn not_utf8(raw: &[u8]) -> SqlError {
    let announced = match raw.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => 1,
    };
    let shown: Vec<String> = raw.iter().take(announced).map(|b| format!("0x{b:02x}")).collect();
    let message = format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" "));
    SqlError::new(SqlState::new("22021"), message)
}

fn utf8(raw: &[u8]) -> Result<&str, SqlError> {
    let s = std::str::from_utf8(raw).map_err(|e| not_utf8(&raw[e.valid_up_to()..]))?;
    match s.contains('\0') {
        true => Err(not_utf8(b"\0").detail("The character with code zero cannot be stored.")),
        false => Ok(s),
    }
}

fn fixed<const N: usize>(raw: &[u8], index: usize) -> Result<[u8; N], SqlError> {
    raw.try_into().map_err(|_| {
        let message = format!("incorrect binary data format in bind parameter {index}");
        SqlError::new(SqlState::INVALID_BINARY, message)
            .detail(format!("{N} bytes are expected, {} were sent.", raw.len()))
    })
}

fn binary(ty: SqlType, raw: &[u8], index: usize) -> Result<Datum, SqlError> {
    Ok(match ty {
        SqlType::Bool => Datum::Bool(fixed::<1>(raw, index)?[0] != 0),
        SqlType::Int2 => Datum::Int2(i16::from_be_bytes(fixed(raw, index)?)),
        SqlType::Int4 => Datum::Int4(i32::from_be_bytes(fixed(raw, index)?)),
        SqlType::Int8 => Datum::Int8(i64::from_be_bytes(fixed(raw, index)?)),
        SqlType::Float4 => Datum::Float4(Float(f32::from_be_bytes(fixed(raw, index)?).into())),
        SqlType::Float8 => Datum::Float8(Float(f64::from_be_bytes(fixed(raw, index)?))),
        SqlType::Numeric(None) => Datum::Numeric(numeric::parse(raw)?),
        SqlType::Numeric(Some(_)) => {
            // Through text, so that precision and scale are applied as everywhere else.
            text::parse(ty, &numeric::parse(raw)?.to_string())?
        }
        SqlType::Text => Datum::Text(utf8(raw)?.to_owned()),
        SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Json => text::parse(ty, utf8(raw)?)?,
        SqlType::Bit(_) | SqlType::Varbit(_) => {
            let bad = || SqlError::new(SqlState::INVALID_BINARY, "invalid length in external bit string");
            let (length, bytes) = raw.split_first_chunk::<4>().ok_or_else(bad)?;
            let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| bad())?;
            if bytes.len() != length.div_ceil(8) {
                return Err(bad());
            }
            let bit = |i: usize| if bytes[i / 8] >> (7 - i % 8) & 1 == 1 { '1' } else { '0' };
            Datum::Text(text::bits::fit(ty, (0..length).map(bit).collect(), false)?)
        }
        SqlType::Array(element) => Datum::Array(Box::new(array(element.ty(), raw, index)?)),
        SqlType::Enum(_) => text::parse(ty, utf8(raw)?)?,
        SqlType::Row(row) => Datum::Row(Box::new(fields(row, raw, index)?)),
        SqlType::TimeTz => {
            let [a, b, c, d, e, f, g, h, zone @ ..] = fixed::<12>(raw, index)?;
            let micros = time(i64::from_be_bytes([a, b, c, d, e, f, g, h]))?;
            let west = i32::from_be_bytes(zone);
            if west.unsigned_abs() >= 16 * 3600 {
                return Err(SqlError::new(SqlState::new("22009"), "time zone displacement out of range"));
            }
            Datum::TimeTz(TimeTzValue { micros, east: -west }.pack())
        }
        SqlType::Alias(AliasType::Oid | AliasType::Xid) => Datum::Int8(u32::from_be_bytes(fixed(raw, index)?).into()),
        SqlType::Alias(alias) => text::modifier::apply(alias, binary(alias.carrier(), raw, index)?)?,
        SqlType::Bytea => Datum::Bytea(raw.to_vec()),
        SqlType::Date => Datum::Date(date(i32::from_be_bytes(fixed(raw, index)?))?),
        SqlType::Time => Datum::Time(time(i64::from_be_bytes(fixed(raw, index)?))?),
        SqlType::Timestamp => Datum::Timestamp(timestamp(i64::from_be_bytes(fixed(raw, index)?))?),
        SqlType::TimestampTz => Datum::TimestampTz(timestamp(i64::from_be_bytes(fixed(raw, index)?))?),
        SqlType::Interval => interval(fixed(raw, index)?),
        SqlType::Uuid => Datum::Uuid(fixed(raw, index)?),
        SqlType::Jsonb => match raw.split_first() {
            Some((1, json)) => Datum::Jsonb(text::jsonb_canonical(utf8(json)?)?),
            _ => return Err(SqlError::new(SqlState::INVALID_BINARY, "unsupported jsonb version number")),
        },
    })
}

/// See `put_array` of [`crate::pg::encode`].
fn array(element: SqlType, raw: &[u8], index: usize) -> Result<ArrayValue, SqlError> {
    let bad = || {
        let message = format!("incorrect binary data format in bind parameter {index}");
        SqlError::new(SqlState::INVALID_BINARY, message)
    };
    let mut rest = raw;
    let mut number = || {
        let (head, tail) = rest.split_first_chunk::<4>().ok_or_else(bad)?;
        rest = tail;
        Ok::<i32, SqlError>(i32::from_be_bytes(*head))
    };
    let count = usize::try_from(number()?).ok().filter(|n| *n <= hw_repr::array::DIMENSIONS_MAX).ok_or_else(bad)?;
    let (_has_nulls, oid) = (number()?, number()? as u32);
    if oid != element.oid() {
        return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, "wrong element type")
            .detail(format!("Parameter {index} is an array of the type with OID {oid}, {element} is expected.")));
    }
    let mut dimensions = vec![];
    for _ in 0..count {
        let (length, lower) = (number()?, number()?);
        dimensions.push(Dimension { length: if length > 0 { length } else { return Err(bad()) }, lower });
    }
    let elements = dimensions.iter().try_fold(1usize, |n, d| n.checked_mul(d.length as usize)).ok_or_else(bad)?;
    let elements = if count == 0 { 0 } else { elements };
    let mut values = vec![];
    for _ in 0..elements {
        let (head, tail) = rest.split_first_chunk::<4>().ok_or_else(bad)?;
        rest = tail;
        values.push(match usize::try_from(i32::from_be_bytes(*head)) {
            Err(_) => Datum::Null,
            Ok(len) => {
                let (value, tail) = rest.split_at_checked(len).ok_or_else(bad)?;
                rest = tail;
                binary(element, value, index)?
            }
        });
    }
    if rest.is_empty() { Ok(ArrayValue { element, dimensions, values }) } else { Err(bad()) }
}

/// See `put_fields` of [`crate::pg::encode`].
fn fields(ty: RowType, raw: &[u8], index: usize) -> Result<RowValue, SqlError> {
    let bad = || {
        let message = format!("incorrect binary data format in bind parameter {index}");
        SqlError::new(SqlState::INVALID_BINARY, message)
    };
    let mut rest = raw;
    let number = |rest: &mut &[u8]| {
        let (head, tail) = rest.split_first_chunk::<4>().ok_or_else(bad)?;
        *rest = tail;
        Ok::<i32, SqlError>(i32::from_be_bytes(*head))
    };
    let wanted = &ty.def().fields;
    if usize::try_from(number(&mut rest)?).ok() != Some(wanted.len()) {
        return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, "wrong number of columns"));
    }
    let mut values = vec![];
    for (at, field) in wanted.iter().enumerate() {
        let oid = number(&mut rest)? as u32;
        if oid != field.ty.oid() {
            let message = format!(
                "binary data has type {oid} instead of expected {} in record column {}",
                field.ty.oid(),
                at + 1
            );
            return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
        }
        values.push(match usize::try_from(number(&mut rest)?) {
            Err(_) => Datum::Null,
            Ok(len) => {
                let (value, tail) = rest.split_at_checked(len).ok_or_else(bad)?;
                rest = tail;
                binary(field.ty, value, index)?
            }
        });
    }
    if rest.is_empty() { Ok(RowValue { ty, values }) } else { Err(bad()) }
}

fn date(days: i32) -> Result<i32, SqlError> {
    if matches!(days, i32::MAX | i32::MIN) {
        return Ok(days);
    }
    datetime::check_date(i64::from(days) + i64::from(EPOCH_DAYS))
}

fn time(micros: i64) -> Result<i64, SqlError> {
    if (0..=86_400_000_000).contains(&micros) {
        return Ok(micros);
    }
    Err(SqlError::new(SqlState::DATETIME_OVERFLOW, "time out of range"))
}

fn timestamp(micros: i64) -> Result<i64, SqlError> {
    if matches!(micros, i64::MAX | i64::MIN) {
        return Ok(micros);
    }
    datetime::check_timestamp(i128::from(micros) + i128::from(EPOCH_MICROS))
}

fn interval(raw: [u8; 16]) -> Datum {
    let [a, b, c, d, e, f, g, h, days @ .., _, _, _, _] = raw;
    let [.., i, j, k, l] = raw;
    Datum::Interval(IntervalValue {
        micros: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        days: i32::from_be_bytes(days),
        months: i32::from_be_bytes([i, j, k, l]),
    })
}
