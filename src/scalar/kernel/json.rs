//! jsonb: access, containment, order, casts of scalars. Values are carried as their canonical text.

use super::string::build_text;
use super::{Kernel, Prim, build, downcast, unsupported};
use crate::value::{Val, strict_nulls};
use arrow::array::{Array, ArrayRef, BooleanArray, LargeStringArray, LargeStringBuilder, StringArray, StringBuilder};
use arrow::datatypes::Int32Type;
use hw_plan::Func;
use hw_repr::numeric::Numeric;
use hw_repr::{Datum, SqlError, SqlState, SqlType, datum, text};
use serde_json::Value;
use std::cmp::Ordering;
use std::sync::Arc;

/// The kernel of a jsonb function.
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    Ok(match func {
        Func::JsonGet => Box::new(|args, rows| get(args, rows, false)),
        Func::JsonGetText => Box::new(|args, rows| get(args, rows, true)),
        Func::JsonContains => Box::new(|args, rows| {
            let (a, b) = (Docs::of(&args[0])?, Docs::of(&args[1])?);
            let nulls = strict_nulls(args);
            let mut out = arrow::array::BooleanBuilder::with_capacity(rows);
            for i in 0..rows {
                match nulls.as_ref().is_none_or(|n| n.is_valid(i)) {
                    true => out.append_value(contains(&a.get(i)?, &b.get(i)?, true)?),
                    false => out.append_null(),
                }
            }
            let out: BooleanArray = out.finish();
            Ok(Arc::new(out) as ArrayRef)
        }),
        Func::JsonTypeof => Box::new(|args, rows| {
            let a = Docs::of(&args[0])?;
            build_text(args, rows, |i, out| {
                out.push_str(type_name(&a.get(i)?));
                Ok(())
            })
        }),
        Func::JsonArrayLength => Box::new(|args, rows| {
            let a = Docs::of(&args[0])?;
            let f = |i| match a.get(i)? {
                Value::Array(all) => Ok(all.len() as i32),
                Value::Object(_) => Err(wrong("cannot get array length of a non-array")),
                _ => Err(wrong("cannot get array length of a scalar")),
            };
            Ok(Arc::new(build::<Int32Type>(rows, strict_nulls(args), f)?))
        }),
        _ => return Err(unsupported(func, types)),
    })
}

fn wrong(message: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER, message)
}

fn type_name(v: &Value) -> &'static str {
    match v {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

struct Docs<'a> {
    array: &'a LargeStringArray,
    mask: usize,
}

impl<'a> Docs<'a> {
    fn of(v: &'a Val) -> Result<Self, SqlError> {
        Ok(Docs { array: downcast(v)?, mask: v.mask() })
    }
    fn get(&self, row: usize) -> Result<Value, SqlError> {
        parse(self.array.value(row & self.mask))
    }
}

fn parse(s: &str) -> Result<Value, SqlError> {
    serde_json::from_str(s)
        .map_err(|e| SqlError::new(SqlState::DATA_CORRUPTED, format!("stored jsonb is not JSON: {e}")))
}

/// An element by key or by position, which counts from the end where negative.
fn step(doc: Value, key: Option<&str>, at: i32) -> Option<Value> {
    match (doc, key) {
        (Value::Object(mut all), Some(key)) => all.remove(key),
        (Value::Array(mut all), None) => {
            let n = i64::try_from(all.len()).ok()?;
            let at = if at < 0 { n + i64::from(at) } else { i64::from(at) };
            (0..n).contains(&at).then(|| all.swap_remove(at as usize))
        }
        _ => None,
    }
}

fn get(args: &[Val], rows: usize, as_text: bool) -> Result<ArrayRef, SqlError> {
    let docs = Docs::of(&args[0])?;
    let nulls = strict_nulls(args);
    let mask = args[1].mask();
    let keys = args[1].array().as_any().downcast_ref::<StringArray>();
    let places = if keys.is_none() { Some(Prim::<Int32Type>::of(&args[1])?) } else { None };
    let (mut json, mut plain) = (LargeStringBuilder::new(), StringBuilder::new());
    for i in 0..rows {
        let found = match nulls.as_ref().is_none_or(|n| n.is_valid(i)) {
            true => step(docs.get(i)?, keys.map(|k| k.value(i & mask)), places.as_ref().map_or(0, |p| p.get(i))),
            false => None,
        };
        match (found, as_text) {
            (None | Some(Value::Null), true) => plain.append_null(),
            (Some(Value::String(s)), true) => plain.append_value(s),
            (Some(v), true) => plain.append_value(text::jsonb_canonical(&v.to_string())?),
            (None, false) => json.append_null(),
            (Some(v), false) => json.append_value(text::jsonb_canonical(&v.to_string())?),
        }
    }
    Ok(if as_text { Arc::new(plain.finish()) } else { Arc::new(json.finish()) })
}

/// `a @> b`. At the top an array also contains a scalar.
fn contains(a: &Value, b: &Value, top: bool) -> Result<bool, SqlError> {
    Ok(match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            for (k, v) in b {
                match a.get(k) {
                    Some(found) if contains(found, v, false)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Array(a), Value::Array(b)) => {
            for v in b {
                let mut hit = false;
                for x in a {
                    hit = hit || contains(x, v, false)?;
                }
                if !hit {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Array(a), scalar) if top && !scalar.is_object() => {
            for x in a {
                if order_values(x, scalar)?.is_eq() {
                    return Ok(true);
                }
            }
            false
        }
        (Value::Object(_) | Value::Array(_), _) | (_, Value::Object(_) | Value::Array(_)) => false,
        (a, b) => order_values(a, b)?.is_eq(),
    })
}

/// PostgreSQL's order: null < string < number < boolean < array < object, an empty array at the top below all.
pub(super) fn order(a: &str, b: &str) -> Result<Ordering, SqlError> {
    if a == b {
        return Ok(Ordering::Equal);
    }
    match (a == "[]", b == "[]") {
        (true, false) => Ok(Ordering::Less),
        (false, true) => Ok(Ordering::Greater),
        _ => order_values(&parse(a)?, &parse(b)?),
    }
}

fn rank(v: &Value) -> u8 {
    match v {
        Value::Null => 0,
        Value::String(_) => 1,
        Value::Number(_) => 2,
        Value::Bool(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

fn order_values(a: &Value, b: &Value) -> Result<Ordering, SqlError> {
    Ok(match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            Numeric::parse(&a.to_string())?.cmp_value(&Numeric::parse(&b.to_string())?)
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            for (x, y) in a.iter().zip(b).filter(|_| a.len() == b.len()) {
                let o = order_values(x, y)?;
                if o.is_ne() {
                    return Ok(o);
                }
            }
            a.len().cmp(&b.len())
        }
        (Value::Object(a), Value::Object(b)) => {
            if a.len() != b.len() {
                return Ok(a.len().cmp(&b.len()));
            }
            // Keys are stored, and so compared, by length first.
            let sorted = |o: &serde_json::Map<String, Value>| {
                let mut keys: Vec<String> = o.keys().cloned().collect();
                keys.sort_by(|x, y| x.len().cmp(&y.len()).then_with(|| x.cmp(y)));
                keys
            };
            for (x, y) in sorted(a).iter().zip(&sorted(b)) {
                let o = x.cmp(y);
                let o = if o.is_ne() { o } else { order_values(&a[x], &b[y])? };
                if o.is_ne() {
                    return Ok(o);
                }
            }
            Ordering::Equal
        }
        _ => rank(a).cmp(&rank(b)),
    })
}

/// The cast of a jsonb scalar to boolean or a number; JSON null gives NULL.
pub(super) fn cast_scalar(to: SqlType) -> Kernel {
    Box::new(move |args, rows| {
        let (docs, nulls) = (Docs::of(&args[0])?, strict_nulls(args));
        let mut out = Vec::with_capacity(rows);
        for i in 0..rows {
            if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
                out.push(Datum::Null);
                continue;
            }
            out.push(match (docs.get(i)?, to) {
                (Value::Null, _) => Datum::Null,
                (Value::Bool(b), SqlType::Bool) => Datum::Bool(b),
                (Value::Number(n), t) if t != SqlType::Bool => number(Numeric::parse(&n.to_string())?, t)?,
                (v, _) => {
                    let kind = match type_name(&v) {
                        "boolean" => "boolean",
                        "number" => "numeric",
                        "string" => "string",
                        _ => "array or object",
                    };
                    return Err(wrong(&format!("cannot cast jsonb {kind} to type {to}")));
                }
            });
        }
        datum::datums_to_array(to, &out)
    })
}

fn number(v: Numeric, to: SqlType) -> Result<Datum, SqlError> {
    let range = || super::out_of_range(to);
    let whole = || v.to_i64().map_err(|_| range());
    Ok(match to {
        SqlType::Int2 => Datum::Int2(i16::try_from(whole()?).map_err(|_| range())?),
        SqlType::Int4 => Datum::Int4(i32::try_from(whole()?).map_err(|_| range())?),
        SqlType::Int8 => Datum::Int8(whole()?),
        SqlType::Float4 => Datum::Float4(datum::Float(f64::from(v.to_f64() as f32))),
        SqlType::Float8 => Datum::Float8(datum::Float(v.to_f64())),
        SqlType::Numeric(Some((p, s))) => Datum::Numeric(v.cast(p, s)?),
        _ => Datum::Numeric(v),
    })
}
