//! Aggregates of the rows of a group as a list in an order: string_agg, array_agg, json[b]_agg, json[b]_object_agg,
//! percentile_cont and percentile_disc, mode, first and last.
//!
//! An entry of the list is the keys of the order, then the arguments, then the length of those (4 bytes, big-endian).
//! Entries are compared by their bytes: a key has a marker (0 a NULL that comes first, 1 a value, 2 a NULL that comes last)
//! and the ordered encoding of the value, inverted for DESC; equal keys have equal bytes. So rows that the order does not
//! tell apart stand in the order of their arguments, ascending, NULLs last.

use super::json::{write_key, write_value};
use super::multiset::Multiset;
use super::{Rows, top, wide};
use arrow::array::{Array, ArrayRef, AsArray};
use hw_plan::{Aggregate, AggregateFunc as F};
use hw_repr::datum::{Float, IntervalValue};
use hw_repr::encoding::RowCodec;
use hw_repr::text::write_json_string;
use hw_repr::{ArrayValue, Datum, SqlError, SqlState, SqlType};

/// Writes the entry of a row to `rows.bytes`.
pub fn write_entry(agg: &Aggregate, rows: &mut Rows, row: usize) {
    write_keys(agg, rows, row);
    write_args(rows, row);
}

/// The part of an entry that the order reads.
pub fn write_keys(agg: &Aggregate, rows: &mut Rows, row: usize) {
    let out = &mut rows.bytes;
    let Some(keys) = &mut rows.keys else { return };
    for (i, (key, values)) in agg.order.iter().zip(&rows.order).enumerate() {
        if values.is_null(row) {
            out.push(if key.nulls_first { 0 } else { 2 });
            continue;
        }
        out.push(1);
        let start = out.len();
        keys.encode_column(i, row, out);
        if key.descending {
            out[start..].iter_mut().for_each(|b| *b = !*b);
        }
    }
}

/// What follows it.
pub fn write_args(rows: &mut Rows, row: usize) {
    let out = &mut rows.bytes;
    let start = out.len();
    if let Some(full) = &mut rows.full {
        full.encode(row, out);
    }
    let len = (out.len() - start) as u32;
    out.extend_from_slice(&len.to_be_bytes());
}

/// The keys and the arguments of an entry.
pub fn split(entry: &[u8]) -> Result<(&[u8], &[u8]), SqlError> {
    let parts = || {
        let (rest, len) = entry.split_last_chunk::<4>()?;
        rest.split_at_checked(rest.len().checked_sub(u32::from_be_bytes(*len) as usize)?)
    };
    parts().ok_or_else(super::input::damaged)
}

fn args(entry: &[u8]) -> Result<&[u8], SqlError> {
    split(entry).map(|(_, args)| args)
}

/// The first argument of an entry.
fn value(entry: Option<&[u8]>, codec: &RowCodec) -> Result<Datum, SqlError> {
    match entry {
        None => Ok(Datum::Null),
        Some(entry) => Ok(codec.decode_datums(args(entry)?)?.into_iter().next().unwrap_or(Datum::Null)),
    }
}

/// The result; [`hw_plan::kept::Made`] says what of the list it looks at. `types` and `codec` are those of the arguments.
pub fn result(agg: &Aggregate, types: &[SqlType], codec: &RowCodec, list: &Multiset) -> Result<Datum, SqlError> {
    match agg.func {
        F::First => value(list.iter().next().map(|(e, _)| e), codec),
        F::Last => value(list.last(), codec),
        F::Mode => mode(codec, list),
        F::TopRows => top::result(agg, list),
        F::PercentileCont | F::PercentileDisc => percentile(agg, codec, list),
        _ => {
            let rows: Vec<(&[u8], i64)> =
                list.iter().map(|(e, n)| Ok((args(e)?, n))).collect::<Result<_, SqlError>>()?;
            if rows.is_empty() {
                return Ok(Datum::Null);
            }
            let columns = codec.decode(&mut rows.iter().map(|r| r.0))?;
            let counts: Vec<i64> = rows.iter().map(|r| r.1).collect();
            match (agg.func, agg.ty) {
                (F::StringAgg, SqlType::Bytea) => Ok(Datum::Bytea(bytes(&columns, &counts))),
                (F::StringAgg, _) => Ok(Datum::Text(text(&columns, &counts))),
                (F::ArrayAgg, _) => array(types, &columns, &counts),
                (F::JsonAgg | F::JsonbAgg, ty) => json_array(types, &columns, &counts, ty),
                (_, ty) => json_object(types, &columns, &counts, ty),
            }
        }
    }
}

/// Rows by position, each as often as it is there.
fn repeated(counts: &[i64]) -> impl Iterator<Item = usize> {
    counts.iter().enumerate().flat_map(|(row, n)| std::iter::repeat_n(row, *n as usize))
}

/// Values with the separators before all but the first; a NULL separator is none.
fn text(columns: &[ArrayRef], counts: &[i64]) -> String {
    let (values, separators) = (columns[0].as_string::<i32>(), columns[1].as_string::<i32>());
    let mut out = String::new();
    for (i, row) in repeated(counts).enumerate() {
        if i > 0 && separators.is_valid(row) {
            out.push_str(separators.value(row));
        }
        out.push_str(values.value(row));
    }
    out
}

fn bytes(columns: &[ArrayRef], counts: &[i64]) -> Vec<u8> {
    let (values, separators) = (columns[0].as_binary::<i32>(), columns[1].as_binary::<i32>());
    let mut out = vec![];
    for (i, row) in repeated(counts).enumerate() {
        if i > 0 && separators.is_valid(row) {
            out.extend_from_slice(separators.value(row));
        }
        out.extend_from_slice(values.value(row));
    }
    out
}

fn array(types: &[SqlType], columns: &[ArrayRef], counts: &[i64]) -> Result<Datum, SqlError> {
    let ty = types[0];
    let values = repeated(counts).map(|row| Datum::from_array(&columns[0], row, ty)).collect::<Result<Vec<_>, _>>()?;
    let Some(element) = ty.element() else {
        return Ok(Datum::Array(Box::new(ArrayValue::from_values(ty.without_modifier(), values))));
    };
    let mut parts = vec![];
    for value in values {
        match value {
            Datum::Array(part) if part.dimensions.is_empty() => {
                return Err(SqlError::new(SqlState::new("2202E"), "cannot accumulate empty arrays"));
            }
            Datum::Array(part) => parts.push(*part),
            _ => return Err(SqlError::new(SqlState::new("22004"), "cannot accumulate null arrays")),
        }
    }
    let same = parts.windows(2).all(|p| p[0].dimensions == p[1].dimensions);
    if !same {
        let message = "cannot accumulate arrays of different dimensionality";
        return Err(SqlError::new(SqlState::new("2202E"), message));
    }
    Ok(Datum::Array(Box::new(ArrayValue::stack(element.without_modifier(), parts)?)))
}

/// JSON text, as a value of json or jsonb.
fn json(text: String, ty: SqlType) -> Result<Datum, SqlError> {
    if ty == SqlType::Json { Ok(Datum::Text(text)) } else { hw_repr::text::parse(SqlType::Jsonb, &text) }
}

fn json_array(types: &[SqlType], columns: &[ArrayRef], counts: &[i64], ty: SqlType) -> Result<Datum, SqlError> {
    let mut out = String::from("[");
    for (i, row) in repeated(counts).enumerate() {
        let value = Datum::from_array(&columns[0], row, types[0])?;
        if i > 0 {
            // PostgreSQL breaks the line before an array or a row.
            out.push_str(if matches!(value, Datum::Array(_) | Datum::Row(_)) { ", \n " } else { ", " });
        }
        write_value(&value, types[0], &mut out);
    }
    out.push(']');
    json(out, ty)
}

fn json_object(types: &[SqlType], columns: &[ArrayRef], counts: &[i64], ty: SqlType) -> Result<Datum, SqlError> {
    let mut out = String::from("{ ");
    let mut key = String::new();
    for (i, row) in repeated(counts).enumerate() {
        if columns[0].is_null(row) {
            return Err(SqlError::new(SqlState::INVALID_PARAMETER, "field name must not be null"));
        }
        if i > 0 {
            out.push_str(", ");
        }
        key.clear();
        write_key(&Datum::from_array(&columns[0], row, types[0])?, types[0], &mut key);
        write_json_string(&key, &mut out);
        out.push_str(" : ");
        write_value(&Datum::from_array(&columns[1], row, types[1])?, types[1], &mut out);
    }
    out.push_str(" }");
    // In jsonb the last one of equal keys stays.
    json(out, ty)
}

/// The most frequent value; of several the first in the order.
fn mode(codec: &RowCodec, list: &Multiset) -> Result<Datum, SqlError> {
    let mut best: Option<(&[u8], i64)> = None;
    // A run of entries with equal keys: its first one, its key, its count.
    let mut run: Option<(&[u8], &[u8], i64)> = None;
    for (entry, n) in list.iter() {
        let (key, _) = split(entry)?;
        run = match run {
            Some((first, same, count)) if same == key => Some((first, same, count + n)),
            _ => Some((entry, key, n)),
        };
        if let Some((first, _, count)) = run
            && best.is_none_or(|(_, most)| count > most)
        {
            best = Some((first, count));
        }
    }
    value(best.map(|(entry, _)| entry), codec)
}

fn percentile(agg: &Aggregate, codec: &RowCodec, list: &Multiset) -> Result<Datum, SqlError> {
    let Some(Datum::Float8(Float(fraction))) = agg.direct.first() else { return Ok(Datum::Null) };
    if !(0.0..=1.0).contains(fraction) {
        let mut shown = String::new();
        hw_repr::text::write_datum(&Datum::Float8(Float(*fraction)), &mut shown);
        let message = format!("percentile value {shown} is not between 0 and 1");
        return Err(SqlError::new(SqlState::OUT_OF_RANGE, message));
    }
    let n = list.count();
    if n == 0 {
        return Ok(Datum::Null);
    }
    if agg.func == F::PercentileDisc {
        let at = (fraction * n as f64).ceil() as i64;
        return value(list.nth((at - 1).max(0)), codec);
    }
    let exact = fraction * (n - 1) as f64;
    let (low, high) = (exact.floor(), exact.ceil());
    let first = value(list.nth(low as i64), codec)?;
    if low == high {
        return Ok(first);
    }
    between(first, value(list.nth(high as i64), codec)?, exact - low)
}

/// The value that lies at `part` of the way.
fn between(low: Datum, high: Datum, part: f64) -> Result<Datum, SqlError> {
    match (low, high) {
        (Datum::Float8(Float(a)), Datum::Float8(Float(b))) => Ok(Datum::Float8(Float(a + part * (b - a)))),
        (Datum::Interval(a), Datum::Interval(b)) => {
            let span = |x: i64, y: i64| x.checked_sub(y).ok_or_else(wide::interval_out_of_range);
            let narrow = |x: i64| i32::try_from(x).map_err(|_| wide::interval_out_of_range());
            let distance = IntervalValue {
                months: narrow(span(b.months.into(), a.months.into())?)?,
                days: narrow(span(b.days.into(), a.days.into())?)?,
                micros: span(b.micros, a.micros)?,
            };
            let way = IntervalValue::from_arrow(crate::kernel::datetime::scale(distance, part, false)?);
            let sum = |x: i64, y: i64| x.checked_add(y).ok_or_else(wide::interval_out_of_range);
            Ok(Datum::Interval(IntervalValue {
                months: narrow(sum(a.months.into(), way.months.into())?)?,
                days: narrow(sum(a.days.into(), way.days.into())?)?,
                micros: sum(a.micros, way.micros)?,
            }))
        }
        _ => Err(SqlError::internal("percentile_cont is of floats and intervals")),
    }
}
