//! Functions of jsonb, over [`crate::json`]. Values are carried as their canonical text.

use super::string::{Str, build_text, build_text_opt};
use super::text::bools;
use super::{Kernel, Prim, build, downcast, unsupported};
use crate::json::{self, Doc, Edit, Kind, Style, invalid, path};
use crate::value::{Val, strict_nulls};
use arrow::array::{Array, ArrayRef, BinaryArray, BooleanArray, LargeStringArray, LargeStringBuilder, StringArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Int32Type;
use hw_plan::Func;
use hw_repr::numeric::Numeric;
use hw_repr::{ArrayValue, Datum, SqlError, SqlState, SqlType, datum, text};
use std::cmp::Ordering;
use std::sync::Arc;

/// What [`kernel`] has, operators that other types have too aside.
pub(super) const FUNCTIONS: &[Func] = &[
    Func::JsonGet,
    Func::JsonGetText,
    Func::JsonGetPath,
    Func::JsonGetPathText,
    Func::JsonExtractPath,
    Func::JsonExtractPathText,
    Func::JsonContains,
    Func::JsonContained,
    Func::JsonExists,
    Func::JsonExistsAny,
    Func::JsonExistsAll,
    Func::JsonTypeof,
    Func::JsonArrayLength,
    Func::JsonPretty,
    Func::JsonStripNulls,
    Func::JsonDeletePath,
    Func::JsonSet,
    Func::JsonSetLax,
    Func::JsonInsert,
    Func::JsonObject,
    Func::JsonTextTypeof,
    Func::JsonTextArrayLength,
    Func::JsonTextExtractPath,
    Func::JsonTextExtractPathText,
    Func::JsonTextStripNulls,
    Func::JsonTextObject,
    Func::ToJson,
    Func::JsonTextBuildArray,
    Func::JsonTextBuildObject,
    Func::ToJsonb,
    Func::JsonBuildArray,
    Func::JsonBuildObject,
    Func::RowToJson,
    Func::ArrayToJson,
    Func::JsonPathExists,
    Func::JsonPathMatch,
    Func::JsonPathQueryArray,
    Func::JsonPathQueryFirst,
    Func::JsonPathExistsOp,
    Func::JsonPathMatchOp,
];

/// The kernel of a jsonb function.
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    let types: Vec<SqlType> = types.to_vec();
    let is_json = types.first() == Some(&SqlType::Json);
    Ok(match func {
        Func::JsonGet => Box::new(move |args, rows| {
            let steps = Step::of(&args[1], is_json)?;
            each(args, rows, |doc, i| Ok(steps.take(doc, i)))
        }),
        Func::JsonGetText => Box::new(move |args, rows| {
            let steps = Step::of(&args[1], is_json)?;
            each_text(args, rows, |doc, i| Ok(steps.take(doc, i)))
        }),
        Func::JsonContains | Func::JsonContained => Box::new(move |args, rows| {
            let (a, b) = (Docs::of(&args[0])?, Docs::of(&args[1])?);
            let (a, b) = if func == Func::JsonContains { (a, b) } else { (b, a) };
            Ok(Arc::new(bools(args, rows, |i| json::contains(a.get(i), b.get(i), true))?))
        }),
        Func::JsonExists => Box::new(|args, rows| {
            let (docs, keys) = (Docs::of(&args[0])?, Str::of(&args[1])?);
            Ok(Arc::new(bools(args, rows, |i| docs.get(i).has(keys.get(i)))?))
        }),
        Func::JsonExistsAny | Func::JsonExistsAll => Box::new(move |args, rows| {
            let (docs, keys) = (Docs::of(&args[0])?, Paths::of(&args[1])?);
            Ok(Arc::new(bools(args, rows, |i| {
                // NULLs among the keys do not count.
                let all = func == Func::JsonExistsAll;
                for key in keys.get(i)?.iter().flatten() {
                    if docs.get(i).has(key)? != all {
                        return Ok(!all);
                    }
                }
                Ok(all)
            })?))
        }),
        Func::JsonTypeof | Func::JsonTextTypeof => Box::new(|args, rows| {
            let a = Docs::of(&args[0])?;
            build_text(args, rows, |i, out| {
                out.push_str(a.get(i).kind().name());
                Ok(())
            })
        }),
        Func::JsonArrayLength | Func::JsonTextArrayLength => Box::new(|args, rows| {
            let a = Docs::of(&args[0])?;
            let f = |i| match a.get(i).kind() {
                Kind::Array => Ok(json::elements(a.get(i)).count() as i32),
                Kind::Object => Err(invalid("cannot get array length of a non-array")),
                _ => Err(invalid("cannot get array length of a scalar")),
            };
            Ok(Arc::new(build::<Int32Type>(rows, strict_nulls(args), f)?))
        }),
        Func::JsonPretty => Box::new(|args, rows| {
            let a = Docs::of(&args[0])?;
            build_text(args, rows, |i, out| {
                json::write_pretty(a.get(i), 0, out);
                Ok(())
            })
        }),
        Func::ToJsonb
        | Func::JsonBuildArray
        | Func::JsonBuildObject
        | Func::ToJson
        | Func::JsonTextBuildArray
        | Func::JsonTextBuildObject => Box::new(move |args, rows| build_values(func, args, rows, &types)),
        Func::RowToJson | Func::ArrayToJson => of_one(types[0]),
        f if path::FUNCTIONS.contains(&f) => path_kernel(func),
        _ => return part_kernel(func, &types),
    })
}

/// The kernel of a function that takes a part by its path.
fn part_kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    Ok(match func {
        Func::JsonGetPath => Box::new(|args, rows| {
            let paths = Paths::of(&args[1])?;
            each(args, rows, |doc, i| at_path(doc, &paths.get(i)?))
        }),
        Func::JsonGetPathText => Box::new(|args, rows| {
            let paths = Paths::of(&args[1])?;
            each_text(args, rows, |doc, i| at_path(doc, &paths.get(i)?))
        }),
        Func::JsonExtractPath
        | Func::JsonExtractPathText
        | Func::JsonTextExtractPath
        | Func::JsonTextExtractPathText => Box::new(move |args, rows| {
            let steps = args[1..].iter().map(Str::of).collect::<Result<Vec<_>, _>>()?;
            let take =
                |doc: Doc<'_>, i: usize| Ok(doc.at_path(steps.iter().map(|s| s.get(i))).map(|d| d.0.to_string()));
            match func {
                Func::JsonExtractPath | Func::JsonTextExtractPath => each_owned(args, rows, take),
                _ => build_text_opt(strict_nulls(args), rows, |i, out| {
                    let found = take(Docs::of(&args[0])?.get(i), i)?;
                    push_text(found.as_deref().map(Doc), out)
                }),
            }
        }),
        _ => return change_kernel(func, types),
    })
}

/// The kernel of a function that changes documents.
fn change_kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    Ok(match func {
        Func::Concat => Box::new(|args, rows| {
            let b = Docs::of(&args[1])?;
            change(args, rows, |doc, i, out| json::concat(doc, b.get(i), out))
        }),
        Func::Sub if types.get(1) == Some(&SqlType::Int4) => Box::new(|args, rows| {
            let place = Prim::<Int32Type>::of(&args[1])?;
            change(args, rows, |doc, i, out| json::delete_at(doc, place.get(i), out))
        }),
        Func::Sub if types.get(1) == Some(&SqlType::Text) => Box::new(|args, rows| {
            let keys = Str::of(&args[1])?;
            change(args, rows, |doc, i, out| json::delete_keys(doc, &[keys.get(i)], out))
        }),
        Func::JsonStripNulls => {
            Box::new(|args, rows| change(args, rows, |doc, _, out| json::strip_nulls(doc, Style::Jsonb, out)))
        }
        Func::JsonTextStripNulls => {
            Box::new(|args, rows| change(args, rows, |doc, _, out| json::strip_nulls(doc, Style::Json, out)))
        }
        Func::Sub => Box::new(|args, rows| {
            let keys = Paths::of(&args[1])?;
            change(args, rows, |doc, i, out| {
                let keys = keys.get(i)?;
                let keys: Vec<&str> = keys.iter().flatten().map(String::as_str).collect();
                json::delete_keys(doc, &keys, out)
            })
        }),
        Func::JsonObject | Func::JsonTextObject => Box::new(move |args, rows| objects(func, args, rows)),
        Func::JsonDeletePath => Box::new(|args, rows| {
            let paths = Paths::of(&args[1])?;
            change(args, rows, |doc, i, out| json::edit(doc, &as_strs(&paths.get(i)?), Edit::Delete, out))
        }),
        Func::JsonSet | Func::JsonInsert => Box::new(move |args, rows| {
            let (paths, new) = (Paths::of(&args[1])?, Docs::of(&args[2])?);
            let flag = args.get(3).map(Bools::of).transpose()?;
            change(args, rows, |doc, i, out| {
                let (path, new) = (paths.get(i)?, new.get(i).0);
                let flag = flag.as_ref().map(|f| f.get(i));
                let how = match func {
                    Func::JsonSet => Edit::Set { new, create: flag.unwrap_or(true) },
                    _ => Edit::Insert { new, after: flag.unwrap_or(false) },
                };
                json::edit(doc, &as_strs(&path), how, out)
            })
        }),
        Func::JsonSetLax => Box::new(set_lax),
        _ => return Err(unsupported(func, types)),
    })
}

/// A jsonb or json argument, a constant too.
struct Docs<'a> {
    texts: Texts<'a>,
    mask: usize,
}

enum Texts<'a> {
    Jsonb(&'a LargeStringArray),
    Json(&'a StringArray),
}

impl<'a> Docs<'a> {
    fn of(v: &'a Val) -> Result<Self, SqlError> {
        let texts = match v.array().as_any().downcast_ref::<StringArray>() {
            Some(json) => Texts::Json(json),
            None => Texts::Jsonb(downcast(v)?),
        };
        Ok(Docs { texts, mask: v.mask() })
    }
    fn get(&self, row: usize) -> Doc<'a> {
        let row = row & self.mask;
        Doc::new(match &self.texts {
            Texts::Jsonb(a) => a.value(row),
            Texts::Json(a) => a.value(row),
        })
    }
}

/// A boolean argument, a constant too.
struct Bools<'a> {
    array: &'a BooleanArray,
    mask: usize,
}

impl<'a> Bools<'a> {
    fn of(v: &'a Val) -> Result<Self, SqlError> {
        Ok(Bools { array: downcast(v)?, mask: v.mask() })
    }
    fn get(&self, row: usize) -> bool {
        self.array.value(row & self.mask)
    }
}

/// The right side of `->` and `->>`.
enum Step<'a> {
    Key(Str<'a>),
    /// Of jsonb a scalar counts as an array of itself.
    Place(Prim<'a, Int32Type>, bool),
}

impl<'a> Step<'a> {
    fn of(v: &'a Val, is_json: bool) -> Result<Self, SqlError> {
        match v.array().as_any().is::<StringArray>() {
            true => Ok(Step::Key(Str::of(v)?)),
            false => Ok(Step::Place(Prim::of(v)?, !is_json)),
        }
    }

    fn take<'d>(&self, doc: Doc<'d>, row: usize) -> Option<Doc<'d>> {
        match self {
            Step::Key(keys) => doc.member(keys.get(row)),
            Step::Place(places, scalars) => match (doc.kind(), places.get(row)) {
                (Kind::Array, place) => doc.element(place),
                (Kind::Object, _) => None,
                (_, 0 | -1) if *scalars => Some(doc),
                _ => None,
            },
        }
    }
}

/// An argument of type text[], read once where it is constant.
struct Paths<'a> {
    array: &'a BinaryArray,
    fixed: Option<Vec<Option<String>>>,
}

impl<'a> Paths<'a> {
    fn of(v: &'a Val) -> Result<Self, SqlError> {
        let array = downcast::<BinaryArray>(v)?;
        let fixed = if v.is_const() && array.is_valid(0) { Some(read_texts(array.value(0))?) } else { None };
        Ok(Paths { array, fixed })
    }

    fn get(&self, row: usize) -> Result<Vec<Option<String>>, SqlError> {
        match &self.fixed {
            Some(path) => Ok(path.clone()),
            None => read_texts(self.array.value(row)),
        }
    }
}

fn read_texts(bytes: &[u8]) -> Result<Vec<Option<String>>, SqlError> {
    let value = ArrayValue::from_bytes(SqlType::Text, bytes)?;
    if value.dimensions.len() > 1 {
        return Err(SqlError::new(SqlState::new("2202E"), "wrong number of array subscripts"));
    }
    value.values.into_iter().map(text_of).collect()
}

fn text_of(d: Datum) -> Result<Option<String>, SqlError> {
    match d {
        Datum::Null => Ok(None),
        Datum::Text(s) => Ok(Some(s)),
        other => Err(SqlError::internal(format!("{other:?} is no text"))),
    }
}

fn as_strs(path: &[Option<String>]) -> Vec<Option<&str>> {
    path.iter().map(Option::as_deref).collect()
}

fn at_path<'d>(doc: Doc<'d>, path: &[Option<String>]) -> Result<Option<Doc<'d>>, SqlError> {
    let steps: Option<Vec<&str>> = path.iter().map(Option::as_deref).collect();
    Ok(steps.and_then(|steps| doc.at_path(steps)))
}

/// A jsonb or json column, as the first argument is; see [`build_json`].
fn build_alike(
    args: &[Val],
    rows: usize,
    f: impl FnMut(usize, &mut String) -> Result<bool, SqlError>,
) -> Result<ArrayRef, SqlError> {
    match args[0].array().as_any().is::<StringArray>() {
        true => build_text_opt(strict_nulls(args), rows, f),
        false => build_json(strict_nulls(args), rows, f),
    }
}

/// A jsonb column, `f` called on the rows that are not NULL only; it gives false for NULL.
fn build_json(
    nulls: Option<NullBuffer>,
    rows: usize,
    mut f: impl FnMut(usize, &mut String) -> Result<bool, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let mut out = LargeStringBuilder::new();
    let mut buffer = String::new();
    for i in 0..rows {
        buffer.clear();
        match nulls.as_ref().is_none_or(|n| n.is_valid(i)) && f(i, &mut buffer)? {
            true => out.append_value(&buffer),
            false => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// `row_to_json` and `array_to_json`.
fn of_one(ty: SqlType) -> Kernel {
    Box::new(move |args, rows| {
        let lines = args.get(1).map(Bools::of).transpose()?;
        build_text(args, rows, |i, out| {
            let value = Datum::from_array(args[0].array().as_ref(), i & args[0].mask(), ty)?;
            json::write_lines(&value, lines.as_ref().is_some_and(|l| l.get(i)), out)
        })
    })
}

/// A part of each document.
fn each<'a>(
    args: &'a [Val],
    rows: usize,
    mut f: impl FnMut(Doc<'a>, usize) -> Result<Option<Doc<'a>>, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let docs = Docs::of(&args[0])?;
    build_alike(args, rows, |i, out| {
        let found = f(docs.get(i), i)?;
        out.push_str(found.map_or("", |d| d.0));
        Ok(found.is_some())
    })
}

/// As [`each`], with the part's text.
fn each_owned(
    args: &[Val],
    rows: usize,
    f: impl Fn(Doc, usize) -> Result<Option<String>, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let docs = Docs::of(&args[0])?;
    build_alike(args, rows, |i, out| {
        let found = f(docs.get(i), i)?;
        out.push_str(found.as_deref().unwrap_or(""));
        Ok(found.is_some())
    })
}

/// A part of each document as text.
fn each_text<'a>(
    args: &'a [Val],
    rows: usize,
    mut f: impl FnMut(Doc<'a>, usize) -> Result<Option<Doc<'a>>, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let docs = Docs::of(&args[0])?;
    build_text_opt(strict_nulls(args), rows, |i, out| {
        let found = f(docs.get(i), i)?;
        push_text(found, out)
    })
}

fn push_text(found: Option<Doc>, out: &mut String) -> Result<bool, SqlError> {
    let Some(found) = found else { return Ok(false) };
    let text = found.to_text()?;
    out.push_str(text.as_deref().unwrap_or(""));
    Ok(text.is_some())
}

/// A document made of each document.
fn change(
    args: &[Val],
    rows: usize,
    mut f: impl FnMut(Doc, usize, &mut String) -> Result<(), SqlError>,
) -> Result<ArrayRef, SqlError> {
    let docs = Docs::of(&args[0])?;
    build_alike(args, rows, |i, out| {
        f(docs.get(i), i, out)?;
        Ok(true)
    })
}

fn set_lax(args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (docs, paths, new) = (Docs::of(&args[0])?, Paths::of(&args[1])?, Docs::of(&args[2])?);
    let (create, treatment) = (args.get(3).map(Bools::of).transpose()?, args.get(4).map(Str::of).transpose()?);
    let null = |at: usize, i: usize| args.get(at).is_some_and(|a| a.array().is_null(i & a.mask()));
    build_json(None, rows, |i, out| {
        if null(0, i) || null(1, i) || null(3, i) {
            return Ok(false);
        }
        let new = (!null(2, i)).then(|| new.get(i).0);
        let treatment = match &treatment {
            Some(_) if null(4, i) => None,
            Some(t) => Some(t.get(i)),
            None => Some("use_json_null"),
        };
        let create = create.as_ref().is_none_or(|c| c.get(i));
        json::set_lax(docs.get(i), &as_strs(&paths.get(i)?), new, create, treatment, out)?;
        Ok(true)
    })
}

/// `to_jsonb`, `jsonb_build_array`, `jsonb_build_object` and their kin of json.
fn build_values(func: Func, args: &[Val], rows: usize, types: &[SqlType]) -> Result<ArrayRef, SqlError> {
    let is_json = matches!(func, Func::ToJson | Func::JsonTextBuildArray | Func::JsonTextBuildObject);
    let style = if is_json { Style::Json } else { Style::Jsonb };
    let build = |row: usize, out: &mut String| {
        let value = |at: usize| {
            let (a, mut text) = (&args[at], String::new());
            json::write_value(a.array().as_ref(), row & a.mask(), types[at], style, &mut text).map(|()| text)
        };
        match func {
            Func::ToJsonb | Func::ToJson => {
                if args[0].array().is_null(row & args[0].mask()) {
                    return Ok(false);
                }
                out.push_str(&value(0)?);
            }
            Func::JsonBuildArray | Func::JsonTextBuildArray => {
                let all = (0..args.len()).map(value).collect::<Result<Vec<_>, _>>()?;
                json::write_array(all.iter().map(String::as_str), out);
            }
            _ => {
                if args.len() % 2 == 1 {
                    let message = "argument list must have even number of elements";
                    return Err(invalid(message).hint(format!(
                        "The arguments of {}() must consist of alternating keys and values.",
                        func.name()
                    )));
                }
                let mut all = Vec::with_capacity(args.len() / 2);
                for at in (0..args.len()).step_by(2) {
                    all.push((object_key(&args[at], row, types[at], at, style)?, value(at + 1)?));
                }
                write_members(all, style, out);
            }
        }
        Ok(true)
    };
    if is_json { build_text_opt(None, rows, build) } else { build_json(None, rows, build) }
}

/// An object; json keeps all members in their order.
fn write_members(all: Vec<(String, String)>, style: Style, out: &mut String) {
    if style == Style::Jsonb {
        return json::write_object(all, out);
    }
    out.push('{');
    for (i, (key, value)) in all.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { ", " });
        text::write_json_string(key, out);
        out.push_str(" : ");
        out.push_str(value);
    }
    out.push('}');
}

/// `jsonb_object` and `json_object`: of alternating keys and values, of pairs, or of keys and values apart.
fn objects(func: Func, args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let is_json = func == Func::JsonTextObject;
    let style = if is_json { Style::Json } else { Style::Jsonb };
    let arrays = args.iter().map(downcast::<BinaryArray>).collect::<Result<Vec<_>, _>>()?;
    let subscripts = |message: &str| SqlError::new(SqlState::new("2202E"), message);
    let read = |at: usize, row: usize| {
        let value = ArrayValue::from_bytes(SqlType::Text, arrays[at].value(row & args[at].mask()))?;
        let size: Vec<i32> = value.dimensions.iter().map(|d| d.length).collect();
        let texts = value.values.into_iter().map(text_of).collect::<Result<Vec<_>, _>>()?;
        Ok::<_, SqlError>((size, texts))
    };
    let build = |row: usize, out: &mut String| {
        let (size, first) = read(0, row)?;
        let pairs: Vec<(Option<String>, Option<String>)> = if args.len() == 2 {
            let (other, second) = read(1, row)?;
            if size.len() > 1 || other.len() > 1 {
                return Err(subscripts("wrong number of array subscripts"));
            }
            if first.len() != second.len() {
                return Err(subscripts("mismatched array dimensions"));
            }
            first.into_iter().zip(second).collect()
        } else {
            match size[..] {
                [] => {}
                [n] if n % 2 == 0 => {}
                [_, 2] => {}
                [_] => return Err(subscripts("array must have even number of elements")),
                [_, _] => return Err(subscripts("array must have two columns")),
                _ => return Err(subscripts("wrong number of array subscripts")),
            }
            first.chunks(2).map(|pair| (pair[0].clone(), pair.get(1).cloned().flatten())).collect()
        };
        let mut all = vec![];
        for (key, value) in pairs {
            let key =
                key.ok_or_else(|| SqlError::new(SqlState::new("22004"), "null value not allowed for object key"))?;
            let mut shown = String::new();
            match value {
                Some(v) => text::write_json_string(&v, &mut shown),
                None => shown.push_str("null"),
            }
            all.push((key, shown));
        }
        write_members(all, style, out);
        Ok(true)
    };
    let nulls = strict_nulls(args);
    if is_json { build_text_opt(nulls, rows, build) } else { build_json(nulls, rows, build) }
}

fn object_key(arg: &Val, row: usize, ty: SqlType, at: usize, style: Style) -> Result<String, SqlError> {
    let row = row & arg.mask();
    if arg.array().is_null(row) {
        return Err(match style {
            Style::Jsonb => invalid(format!("argument {}: key must not be null", at + 1)),
            Style::Json => invalid(format!("argument {} cannot be null", at + 1)).hint("Object keys should be text."),
        });
    }
    if matches!(ty, SqlType::Jsonb | SqlType::Json | SqlType::Array(_) | SqlType::Row(_)) {
        return Err(invalid("key value must be scalar, not array, composite, or json"));
    }
    let mut key = String::new();
    super::cast::write_text(arg.array().as_ref(), row, ty, &mut key);
    Ok(key)
}

/// The kernel of a function of the path language.
fn path_kernel(func: Func) -> Kernel {
    let cache = path::Cache::default();
    Box::new(move |args, rows| {
        let (docs, paths) = (Docs::of(&args[0])?, Str::of(&args[1])?);
        let vars = args.get(2).map(Docs::of).transpose()?;
        let silent = args.get(3).map(Bools::of).transpose()?;
        let run = |i: usize| {
            let path = cache.get(paths.get(i))?;
            let vars = vars.as_ref().map_or(Doc("{}"), |v| v.get(i));
            // The operators, not the functions, keep errors of the data to themselves.
            let quiet = matches!(func, Func::JsonPathExistsOp | Func::JsonPathMatchOp);
            path.search(docs.get(i), vars, quiet || silent.as_ref().is_some_and(|s| s.get(i)))
        };
        match func {
            Func::JsonPathQueryArray | Func::JsonPathQueryFirst => build_json(strict_nulls(args), rows, |i, out| {
                let found = run(i)?.items()?;
                match func {
                    Func::JsonPathQueryArray => json::write_array(found.iter().map(String::as_str), out),
                    _ => out.push_str(found.first().map_or("", String::as_str)),
                }
                Ok(func == Func::JsonPathQueryArray || !found.is_empty())
            }),
            _ => {
                let nulls = strict_nulls(args);
                let mut out = arrow::array::BooleanBuilder::with_capacity(rows);
                for i in 0..rows {
                    if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
                        out.append_null();
                        continue;
                    }
                    let search = run(i)?;
                    out.append_option(match func {
                        Func::JsonPathExists | Func::JsonPathExistsOp => search.exists()?,
                        _ => search.matches()?,
                    });
                }
                Ok(Arc::new(out.finish()))
            }
        }
    })
}

/// PostgreSQL's order of two values of a column.
pub(super) fn order(a: &str, b: &str) -> Result<Ordering, SqlError> {
    json::order_documents(Doc::new(a), Doc::new(b))
}

/// The cast of a jsonb scalar to boolean or a number.
pub(super) fn cast_scalar(to: SqlType) -> Kernel {
    Box::new(move |args, rows| {
        let (docs, nulls) = (Docs::of(&args[0])?, strict_nulls(args));
        let mut out = Vec::with_capacity(rows);
        for i in 0..rows {
            if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
                out.push(Datum::Null);
                continue;
            }
            let doc = docs.get(i);
            out.push(match (doc.kind(), to) {
                (Kind::Bool, SqlType::Bool) => Datum::Bool(doc.0 == "true"),
                (Kind::Number, SqlType::Float4 | SqlType::Float8) => text::parse(to, doc.0)?,
                (Kind::Number, t) if t != SqlType::Bool => number(doc.number()?, to)?,
                (kind, _) => {
                    let kind = if kind == Kind::Number { "numeric" } else { kind.name() };
                    let to = if matches!(to, SqlType::Numeric(_)) { SqlType::Numeric(None) } else { to };
                    return Err(invalid(format!("cannot cast jsonb {kind} to type {to}")));
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
        SqlType::Numeric(Some((p, s))) => Datum::Numeric(v.cast(p, s)?),
        _ => Datum::Numeric(v),
    })
}
