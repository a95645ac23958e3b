//! The text of rows, as PostgreSQL's `record_in` and `record_out` have it.

use super::RowValue;
use crate::datum::Datum;
use crate::error::{SqlError, SqlState};
use crate::types::RowType;

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

fn malformed(s: &str, detail: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_TEXT, format!("malformed record literal: \"{s}\"")).detail(detail)
}

/// Reads `(1,"a b",)`. Errors: 22P02, and what the fields have; 0A000 for a row without a named type.
pub fn parse(ty: RowType, s: &str) -> Result<RowValue, SqlError> {
    if ty.is_record() {
        return Err(SqlError::unsupported("input of anonymous composite types is not implemented"));
    }
    let mut rest = s.trim_start_matches(is_space);
    rest = rest.strip_prefix('(').ok_or_else(|| malformed(s, "Missing left parenthesis."))?;
    let fields = &ty.def().fields;
    let mut values = Vec::with_capacity(fields.len());
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            rest = rest.strip_prefix(',').ok_or_else(|| malformed(s, "Too few columns."))?;
        }
        let (text, after) = item(s, rest)?;
        rest = after;
        values.push(match text {
            None => Datum::Null,
            Some(text) => crate::text::parse(field.ty, &text)?,
        });
    }
    if rest.starts_with(',') {
        return Err(malformed(s, "Too many columns."));
    }
    rest = rest.strip_prefix(')').ok_or_else(|| malformed(s, "Missing right parenthesis."))?;
    if !rest.trim_start_matches(is_space).is_empty() {
        return Err(malformed(s, "Junk after right parenthesis."));
    }
    Ok(RowValue { ty, values })
}

/// One field up to a comma or parenthesis, `None` where there is nothing, and what follows it.
fn item<'a>(whole: &str, rest: &'a str) -> Result<(Option<String>, &'a str), SqlError> {
    if rest.starts_with([',', ')']) {
        return Ok((None, rest));
    }
    let end = || malformed(whole, "Unexpected end of input.");
    let (mut out, mut quoted) = (String::new(), false);
    let mut chars = rest.char_indices().peekable();
    loop {
        let (at, c) = chars.next().ok_or_else(end)?;
        match c {
            ',' | ')' if !quoted => return Ok((Some(out), &rest[at..])),
            '\\' => out.push(chars.next().ok_or_else(end)?.1),
            '"' if quoted && chars.peek().is_some_and(|(_, next)| *next == '"') => {
                chars.next();
                out.push('"');
            }
            '"' => quoted = !quoted,
            other => out.push(other),
        }
    }
}

/// Appends a row as text.
pub fn write(row: &RowValue, out: &mut String) {
    out.push('(');
    let mut text = String::new();
    for (i, (value, field)) in row.values.iter().zip(&row.ty.def().fields).enumerate() {
        if i > 0 {
            out.push(',');
        }
        if value.is_null() {
            continue;
        }
        text.clear();
        crate::text::write_typed(value, field.ty, &mut text);
        let special = |c: char| matches!(c, '"' | '\\' | '(' | ')' | ',') || is_space(c);
        if !text.is_empty() && !text.contains(special) {
            out.push_str(&text);
            continue;
        }
        out.push('"');
        for c in text.chars() {
            if matches!(c, '"' | '\\') {
                out.push(c);
            }
            out.push(c);
        }
        out.push('"');
    }
    out.push(')');
}
