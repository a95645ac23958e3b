//! Writing jsonb: containers from parts, SQL values as JSON, the indented form.

use super::{Doc, Kind, elements, members, unquote};
use arrow::array::{Array, BooleanArray};
use hw_repr::datum::datums_to_array;
use hw_repr::text::{jsonb_canonical, write_json_string, write_value as write_text};
use hw_repr::{ArrayValue, Datum, RowValue, SqlError, SqlType};

/// How what is built is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// The canonical form.
    Jsonb,
    /// Values as they were given, as the functions of json write them.
    Json,
}

/// Appends an array of these texts of values.
pub(crate) fn write_array<'a>(items: impl IntoIterator<Item = &'a str>, out: &mut String) {
    out.push('[');
    for (i, item) in items.into_iter().enumerate() {
        out.push_str(if i == 0 { "" } else { ", " });
        out.push_str(item);
    }
    out.push(']');
}

/// Appends an object: keys by length, then bytes; of equal ones the last stays.
pub(crate) fn write_object<K: AsRef<str>, V: AsRef<str>>(mut items: Vec<(K, V)>, out: &mut String) {
    // The sort keeps the order of equal keys.
    items.sort_by(|(a, _), (b, _)| {
        let (a, b) = (a.as_ref(), b.as_ref());
        a.len().cmp(&b.len()).then_with(|| a.cmp(b))
    });
    out.push('{');
    let mut first = true;
    for (i, (key, value)) in items.iter().enumerate() {
        if items.get(i + 1).is_some_and(|(next, _)| next.as_ref() == key.as_ref()) {
            continue;
        }
        out.push_str(if first { "" } else { ", " });
        first = false;
        write_json_string(key.as_ref(), out);
        out.push_str(": ");
        out.push_str(value.as_ref());
    }
    out.push('}');
}

/// Appends a SQL value as jsonb (`to_jsonb`).
pub(crate) fn write_value(
    a: &dyn Array,
    row: usize,
    ty: SqlType,
    style: Style,
    out: &mut String,
) -> Result<(), SqlError> {
    if a.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    if let Some(b) = a.as_any().downcast_ref::<BooleanArray>() {
        out.push_str(if b.value(row) { "true" } else { "false" });
        return Ok(());
    }
    if matches!(ty, SqlType::Array(_) | SqlType::Row(_)) {
        return match Datum::from_array(a, row, ty)? {
            Datum::Array(v) => write_nested(&v, v.element, style, false, out),
            Datum::Row(v) => write_row(&v, style, false, out),
            other => Err(SqlError::internal(format!("{other:?} is no array and no row"))),
        };
    }
    let mut text = String::new();
    write_text(a, row, ty, &mut text);
    match ty.without_modifier() {
        SqlType::Json if style == Style::Jsonb => out.push_str(&jsonb_canonical(&text)?),
        SqlType::Jsonb | SqlType::Json => out.push_str(&text),
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 => out.push_str(&text),
        SqlType::Float4 | SqlType::Float8 | SqlType::Numeric(_) => {
            // NaN and the infinities are strings; what has an exponent is written out.
            match text.starts_with(|c: char| c.is_ascii_digit())
                || text.strip_prefix('-').is_some_and(|t| t.starts_with(|c: char| c.is_ascii_digit()))
            {
                true if style == Style::Json => out.push_str(&text),
                true => out.push_str(&jsonb_canonical(&text)?),
                false => write_json_string(&text, out),
            }
        }
        SqlType::Timestamp | SqlType::TimestampTz => write_json_string(&iso(&text, ty), out),
        _ => write_json_string(&text, out),
    }
    Ok(())
}

/// Appends an array or a row as json (`array_to_json`, `row_to_json`), with line feeds between what it holds where `lines`.
pub(crate) fn write_lines(value: &Datum, lines: bool, out: &mut String) -> Result<(), SqlError> {
    match value {
        Datum::Array(v) => write_nested(v, v.element, Style::Json, lines, out),
        Datum::Row(v) => write_row(v, Style::Json, lines, out),
        other => Err(SqlError::internal(format!("{other:?} is no array and no row"))),
    }
}

/// A row as an object by the names of its fields.
fn write_row(v: &RowValue, style: Style, lines: bool, out: &mut String) -> Result<(), SqlError> {
    let mut members = Vec::with_capacity(v.values.len());
    for (value, field) in v.values.iter().zip(&v.ty.def().fields) {
        let column = datums_to_array(field.ty, std::slice::from_ref(value))?;
        let mut text = String::new();
        write_value(column.as_ref(), 0, field.ty, style, &mut text)?;
        members.push((field.name.as_str(), text));
    }
    if style == Style::Jsonb {
        write_object(members, out);
        return Ok(());
    }
    out.push('{');
    for (i, (key, value)) in members.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { separator(style, lines) });
        write_json_string(key, out);
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    Ok(())
}

fn separator(style: Style, lines: bool) -> &'static str {
    match (style, lines) {
        (Style::Jsonb, _) => ", ",
        (Style::Json, true) => ",\n ",
        (Style::Json, false) => ",",
    }
}

/// An array as JSON, one level of brackets for each dimension; line feeds stand between the parts of the outermost.
fn write_nested(v: &ArrayValue, element: SqlType, style: Style, lines: bool, out: &mut String) -> Result<(), SqlError> {
    let mut items = Vec::with_capacity(v.values.len());
    let column = datums_to_array(element, &v.values)?;
    for row in 0..v.values.len() {
        let mut item = String::new();
        write_value(column.as_ref(), row, element, style, &mut item)?;
        items.push(item);
    }
    for (at, dimension) in v.dimensions.iter().enumerate().rev() {
        let length = usize::try_from(dimension.length).unwrap_or(1).max(1);
        let between = separator(style, lines && at == 0);
        items = items.chunks(length).map(|part| format!("[{}]", part.join(between))).collect();
    }
    out.push_str(items.first().map_or("[]", String::as_str));
    Ok(())
}

/// ISO 8601: a `T` before the time and minutes in the offset.
fn iso(text: &str, ty: SqlType) -> String {
    let mut out = text.replacen(' ', "T", 1);
    let era = out.find(" BC").map(|at| out.split_off(at));
    if ty == SqlType::TimestampTz && out.contains('T') && out.as_bytes()[out.len() - 3..][0] != b':' {
        out.push_str(":00");
    }
    out.extend(era);
    out
}

/// Appends a document without the members of objects that are null.
pub(crate) fn strip_nulls(doc: Doc, style: Style, out: &mut String) -> Result<(), SqlError> {
    let (comma, colon) = if style == Style::Jsonb { (", ", ": ") } else { (",", ":") };
    match doc.kind() {
        Kind::Object => {
            out.push('{');
            let mut first = true;
            for (key, value) in members(doc).filter(|(_, v)| v.kind() != Kind::Null) {
                out.push_str(if first { "" } else { comma });
                first = false;
                write_json_string(&unquote(key)?, out);
                out.push_str(colon);
                strip_nulls(value, style, out)?;
            }
            out.push('}');
        }
        Kind::Array => {
            out.push('[');
            for (i, value) in elements(doc).enumerate() {
                out.push_str(if i == 0 { "" } else { comma });
                strip_nulls(value, style, out)?;
            }
            out.push(']');
        }
        Kind::String => write_json_string(&unquote(doc.0)?, out),
        _ => out.push_str(doc.0),
    }
    Ok(())
}

/// Appends a document over several lines, four blanks for a level.
pub(crate) fn write_pretty(doc: Doc, level: usize, out: &mut String) {
    let line = |level: usize, out: &mut String| {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', 4 * level));
    };
    match doc.kind() {
        Kind::Object => {
            out.push('{');
            for (i, (key, value)) in members(doc).enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                line(level + 1, out);
                out.push_str(key);
                out.push_str(": ");
                write_pretty(value, level + 1, out);
            }
            line(level, out);
            out.push('}');
        }
        Kind::Array => {
            out.push('[');
            for (i, value) in elements(doc).enumerate() {
                out.push_str(if i == 0 { "" } else { "," });
                line(level + 1, out);
                write_pretty(value, level + 1, out);
            }
            line(level, out);
            out.push(']');
        }
        _ => out.push_str(doc.0),
    }
}

/// The members of an object with their keys as texts.
pub(super) fn owned_members<'a>(doc: Doc<'a>) -> Result<Vec<(String, &'a str)>, SqlError> {
    members(doc).map(|(k, v)| Ok((unquote(k)?.into_owned(), v.0))).collect()
}
