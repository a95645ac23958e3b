//! The sets themselves: of arrays, JSON documents and series.

use super::series::{Series, series};
use crate::json::{Doc, Kind, elements, invalid, members, unquote};
use arrow::array::{Array, ArrayRef};
use hw_plan::Func;
use hw_repr::array::Dimension;
use hw_repr::{ArrayValue, Datum, SqlError, SqlState, SqlType};

/// A set under way.
pub(super) enum Set {
    Series(Series),
    /// One column.
    Values(std::vec::IntoIter<Datum>),
    /// Two columns.
    Pairs(std::vec::IntoIter<[Datum; 2]>),
    /// Numbers of the rows that others give.
    Ordinals,
}

impl Set {
    /// Appends one row, unless there is none.
    pub fn next(&mut self, out: &mut [Vec<Datum>]) -> Result<bool, SqlError> {
        let value = match self {
            Set::Ordinals => return Ok(false),
            Set::Pairs(all) => {
                let Some(pair) = all.next() else { return Ok(false) };
                out.iter_mut().zip(pair).for_each(|(column, value)| column.push(value));
                return Ok(true);
            }
            Set::Series(series) => series.next()?,
            Set::Values(all) => all.next(),
        };
        if let (Some(value), Some(column)) = (value, out.first_mut()) {
            column.push(value);
            return Ok(true);
        }
        Ok(false)
    }
}

fn values(all: Vec<Datum>) -> Set {
    Set::Values(all.into_iter())
}

/// The set that a function gives for one row of its arguments.
pub(super) fn open(func: Func, columns: &[ArrayRef], types: &[SqlType], row: usize) -> Result<Set, SqlError> {
    match func {
        Func::SetOrdinality => return Ok(Set::Ordinals),
        Func::SetOnce => {}
        // A row of NULLs.
        Func::JsonToRecord | Func::JsonTextToRecord if columns.iter().any(|c| c.is_null(row)) => {
            return Ok(values(vec![Datum::Null]));
        }
        _ if columns.iter().any(|c| c.is_null(row)) => return Ok(values(vec![])),
        _ => {}
    }
    let args = columns
        .iter()
        .zip(types)
        .map(|(c, t)| Datum::from_array(c.as_ref(), row, *t))
        .collect::<Result<Vec<_>, SqlError>>()?;
    match func {
        Func::GenerateSeries => series(&args).map(Set::Series),
        Func::SetOnce => Ok(values(args)),
        _ => of_value(func, args),
    }
}

fn of_value(func: Func, args: Vec<Datum>) -> Result<Set, SqlError> {
    let mut args = args.into_iter();
    match args.next() {
        Some(Datum::Array(array)) => match func {
            Func::Unnest => Ok(values(array.values)),
            Func::RegexpMatches => Ok(values(rows_of(*array))),
            _ => subscripts(&array, &args.collect::<Vec<_>>()),
        },
        Some(Datum::Jsonb(text)) => of_json(func, Doc::new(&text), Datum::Jsonb),
        Some(Datum::Text(text)) => of_json(func, Doc::new(&text), Datum::Text),
        other => Err(SqlError::internal(format!("{} of {other:?}", func.name()))),
    }
}

/// The rows of an array of two dimensions as arrays.
fn rows_of(array: ArrayValue) -> Vec<Datum> {
    let Some(width) = array.dimensions.get(1).map(|d| d.length as usize).filter(|n| *n > 0) else { return vec![] };
    let row = |part: &[Datum]| Datum::Array(Box::new(ArrayValue::from_values(array.element, part.to_vec())));
    array.values.chunks(width).map(row).collect()
}

fn subscripts(array: &ArrayValue, args: &[Datum]) -> Result<Set, SqlError> {
    let dimension: Option<&Dimension> = match args.first() {
        Some(Datum::Int4(n)) => n.checked_sub(1).and_then(|n| array.dimensions.get(usize::try_from(n).ok()?)),
        _ => None,
    };
    let Some(d) = dimension else { return Ok(values(vec![])) };
    let ends = if args.get(1) == Some(&Datum::Bool(true)) { (d.upper(), d.lower, -1) } else { (d.lower, d.upper(), 1) };
    series(&[ends.0, ends.1, ends.2].map(Datum::Int4)).map(Set::Series)
}

fn of_json(func: Func, doc: Doc, json: fn(String) -> Datum) -> Result<Set, SqlError> {
    let part = |d: Doc| json(d.0.to_string());
    let text = |d: Doc| Ok(d.to_text()?.map_or(Datum::Null, |t| Datum::Text(t.into_owned())));
    let key = |k: &str| Ok(Datum::Text(unquote(k)?.into_owned()));
    check(func, doc)?;
    Ok(match func {
        Func::JsonElements | Func::JsonTextElements => values(elements(doc).map(part).collect()),
        Func::JsonElementsText | Func::JsonTextElementsText => {
            values(elements(doc).map(text).collect::<Result<_, SqlError>>()?)
        }
        Func::JsonKeys | Func::JsonTextKeys => {
            values(members(doc).map(|(k, _)| key(k)).collect::<Result<_, SqlError>>()?)
        }
        Func::JsonEach | Func::JsonTextEach => {
            let pairs = members(doc).map(|(k, v)| Ok([key(k)?, part(v)]));
            Set::Pairs(pairs.collect::<Result<Vec<_>, SqlError>>()?.into_iter())
        }
        Func::JsonEachText | Func::JsonTextEachText => {
            let pairs = members(doc).map(|(k, v)| Ok([key(k)?, text(v)?]));
            Set::Pairs(pairs.collect::<Result<Vec<_>, SqlError>>()?.into_iter())
        }
        Func::JsonToRecord | Func::JsonTextToRecord => values(vec![part(doc)]),
        Func::JsonToRecordset | Func::JsonTextToRecordset => {
            let name = func.name();
            let object = |d: Doc| match d.is_object() {
                true => Ok(part(d)),
                false => Err(invalid(format!("argument of {name} must be an array of objects"))),
            };
            values(elements(doc).map(object).collect::<Result<_, SqlError>>()?)
        }
        other => return Err(SqlError::internal(format!("{} of JSON", other.name()))),
    })
}

/// Refuses a document of another kind than the function takes, in PostgreSQL's words.
fn check(func: Func, doc: Doc) -> Result<(), SqlError> {
    let name = func.name();
    let is_text = name.starts_with("json_");
    let (kind, scalar) = (doc.kind(), doc.is_scalar());
    let message = match func {
        Func::JsonElements | Func::JsonElementsText | Func::JsonTextElements | Func::JsonTextElementsText => match kind
        {
            Kind::Array => return Ok(()),
            Kind::Object if is_text => format!("cannot call {name} on a non-array"),
            Kind::Object => "cannot extract elements from an object".to_string(),
            _ if is_text => format!("cannot call {name} on a scalar"),
            _ => "cannot extract elements from a scalar".to_string(),
        },
        Func::JsonToRecordset | Func::JsonTextToRecordset => match kind {
            Kind::Array => return Ok(()),
            _ if !is_text => format!("cannot call {name} on a non-array"),
            Kind::Object => format!("cannot call {name} on an object"),
            _ => format!("cannot call {name} on a scalar"),
        },
        _ if kind == Kind::Object => return Ok(()),
        Func::JsonEach | Func::JsonEachText => format!("cannot call {name} on a non-object"),
        Func::JsonTextEach | Func::JsonTextEachText if scalar => "cannot deconstruct a scalar".to_string(),
        Func::JsonTextEach | Func::JsonTextEachText => "cannot deconstruct an array as an object".to_string(),
        Func::JsonKeys | Func::JsonTextKeys if scalar => format!("cannot call {name} on a scalar"),
        Func::JsonKeys | Func::JsonTextKeys => format!("cannot call {name} on an array"),
        _ if scalar => "cannot call populate_composite on a scalar".to_string(),
        _ => "cannot call populate_composite on an array".to_string(),
    };
    Err(SqlError::new(SqlState::INVALID_PARAMETER, message))
}
