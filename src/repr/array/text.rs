//! The text of arrays, as PostgreSQL's `array_in` and `array_out` have it.

use super::{ArrayValue, DIMENSIONS_MAX, Dimension, too_deep};
use crate::datum::Datum;
use crate::error::{SqlError, SqlState};
use crate::types::SqlType;
use std::fmt::Write;

/// White space of `array_in`.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

fn malformed(s: &str, detail: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_TEXT, format!("malformed array literal: \"{s}\"")).detail(detail)
}

/// Reads `{1,2}`, `{{a},{"b c"}}` and `[2:3]={1,2}`. Errors: 22P02, 2202E for bounds, and what the elements have.
pub fn parse(element: SqlType, s: &str) -> Result<ArrayValue, SqlError> {
    let mut reader = Reader { whole: s, rest: s, element, values: vec![], lengths: vec![] };
    let given = reader.bounds()?;
    if !reader.rest.starts_with('{') {
        let detail = match given {
            Some(_) => "Array contents must start with \"{\".",
            None => "Array value must start with \"{\" or dimension information.",
        };
        return Err(malformed(s, detail));
    }
    reader.list(0)?;
    reader.skip_space();
    if !reader.rest.is_empty() {
        return Err(malformed(s, "Junk after closing right brace."));
    }
    let Reader { values, lengths, .. } = reader;
    let dimensions = match given {
        Some(given) => {
            let same = given.len() == lengths.len() && given.iter().zip(&lengths).all(|(d, l)| Some(d.length) == *l);
            if !same {
                return Err(malformed(s, "Specified array dimensions do not match array contents."));
            }
            given
        }
        None if values.is_empty() => vec![],
        None => lengths.iter().map(|l| Dimension { length: l.unwrap_or(0), lower: 1 }).collect(),
    };
    Ok(ArrayValue { element, dimensions, values })
}

struct Reader<'a> {
    whole: &'a str,
    rest: &'a str,
    element: SqlType,
    values: Vec<Datum>,
    /// Length of each dimension, once one list at that depth has ended.
    lengths: Vec<Option<i32>>,
}

/// What stands between two delimiters.
enum Item {
    Quoted(String),
    Bare(String),
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches(is_space);
    }

    fn fail<T>(&self, detail: &str) -> Result<T, SqlError> {
        Err(malformed(self.whole, detail))
    }

    /// `[l:u][n]...=`
    fn bounds(&mut self) -> Result<Option<Vec<Dimension>>, SqlError> {
        let mut all = vec![];
        self.skip_space();
        while let Some(inner) = self.rest.strip_prefix('[') {
            if all.len() >= DIMENSIONS_MAX {
                return Err(too_deep(all.len() + 1));
            }
            let Some((range, after)) = inner.split_once(']') else {
                return self.fail("Missing \"]\" after array dimensions.");
            };
            let number = |s: &str| {
                let s = s.trim_matches(is_space);
                s.parse::<i32>()
                    .map_err(|_| malformed(self.whole, "\"[\" must introduce explicitly-specified array dimensions."))
            };
            let (lower, upper) = match range.split_once(':') {
                Some((lower, upper)) => (number(lower)?, number(upper)?),
                None => (1, number(range)?),
            };
            if upper < lower {
                let message = "upper bound cannot be less than lower bound";
                return Err(SqlError::new(SqlState::new("2202E"), message));
            }
            let length = i32::try_from(i64::from(upper) - i64::from(lower) + 1).map_err(|_| super::too_large())?;
            all.push(Dimension { length, lower });
            self.rest = after;
            self.skip_space();
        }
        if all.is_empty() {
            return Ok(None);
        }
        match self.rest.strip_prefix('=') {
            Some(after) => {
                self.rest = after;
                self.skip_space();
                Ok(Some(all))
            }
            None => self.fail("Missing \"=\" after array dimensions."),
        }
    }

    /// A list in braces at this depth.
    fn list(&mut self, depth: usize) -> Result<(), SqlError> {
        if depth >= DIMENSIONS_MAX {
            return Err(too_deep(depth + 1));
        }
        if self.lengths.len() == depth {
            if !self.values.is_empty() {
                return self.ragged();
            }
            self.lengths.push(None);
        }
        self.rest = &self.rest[1..];
        let (mut count, mut nested) = (0i32, None);
        loop {
            self.skip_space();
            match self.rest.chars().next() {
                None => return self.fail("Unexpected end of input."),
                Some('}') if count == 0 => {
                    if depth > 0 {
                        return self.fail("Unexpected \"}\" character.");
                    }
                    self.rest = &self.rest[1..];
                    self.lengths.clear();
                    return Ok(());
                }
                Some('{') => {
                    if nested == Some(false) {
                        return self.fail("Unexpected \"{\" character.");
                    }
                    nested = Some(true);
                    self.list(depth + 1)?;
                }
                Some(_) => {
                    if nested == Some(true) || self.lengths.len() > depth + 1 {
                        return self.ragged();
                    }
                    nested = Some(false);
                    self.value()?;
                }
            }
            count += 1;
            self.skip_space();
            let next = self.rest.chars().next();
            self.rest = self.rest.get(1..).unwrap_or("");
            match next {
                Some(',') => {}
                Some('}') => break,
                None => return self.fail("Unexpected end of input."),
                Some(_) => return self.fail("Unexpected array element."),
            }
        }
        match self.lengths[depth] {
            Some(length) if length != count => self.ragged(),
            _ => {
                self.lengths[depth] = Some(count);
                Ok(())
            }
        }
    }

    fn ragged(&self) -> Result<(), SqlError> {
        self.fail("Multidimensional arrays must have sub-arrays with matching dimensions.")
    }

    fn value(&mut self) -> Result<(), SqlError> {
        let value = match self.item()? {
            Item::Quoted(text) => crate::text::parse(self.element, &text)?,
            Item::Bare(text) if text.is_empty() => return self.fail("Unexpected \",\" character."),
            Item::Bare(text) if text.eq_ignore_ascii_case("null") => Datum::Null,
            Item::Bare(text) => crate::text::parse(self.element, &text)?,
        };
        self.values.push(value);
        Ok(())
    }

    fn item(&mut self) -> Result<Item, SqlError> {
        let mut chars = self.rest.char_indices().peekable();
        let mut text = String::new();
        if self.rest.starts_with('"') {
            chars.next();
            while let Some((at, c)) = chars.next() {
                match c {
                    '"' => {
                        self.rest = &self.rest[at + 1..];
                        return Ok(Item::Quoted(text));
                    }
                    '\\' => match chars.next() {
                        Some((_, c)) => text.push(c),
                        None => break,
                    },
                    c => text.push(c),
                }
            }
            return self.fail("Unexpected end of input.");
        }
        // White space at the end does not count, unless it was escaped.
        let (mut kept, mut escaped) = (0, false);
        while let Some((at, c)) = chars.next() {
            match c {
                ',' | '}' => {
                    self.rest = &self.rest[at..];
                    text.truncate(kept);
                    // An escaped NULL is a word.
                    return Ok(if escaped { Item::Quoted(text) } else { Item::Bare(text) });
                }
                '{' => return self.fail("Unexpected \"{\" character."),
                '"' => return self.fail("Unexpected array element."),
                '\\' => {
                    let Some((_, c)) = chars.next() else { break };
                    text.push(c);
                    (kept, escaped) = (text.len(), true);
                }
                c => {
                    text.push(c);
                    if !is_space(c) {
                        kept = text.len();
                    }
                }
            }
        }
        self.fail("Unexpected end of input.")
    }
}

/// Appends the text of an array.
pub fn write(array: &ArrayValue, out: &mut String) {
    if array.dimensions.iter().any(|d| d.lower != 1) {
        for d in &array.dimensions {
            // Writing to a string does not fail.
            let _ = write!(out, "[{}:{}]", d.lower, d.upper());
        }
        out.push('=');
    }
    if array.dimensions.is_empty() {
        out.push_str("{}");
        return;
    }
    write_level(array, 0, &mut array.values.iter(), out);
}

fn write_level<'a>(array: &ArrayValue, depth: usize, values: &mut impl Iterator<Item = &'a Datum>, out: &mut String) {
    out.push('{');
    for i in 0..array.dimensions[depth].length {
        if i > 0 {
            out.push(',');
        }
        if depth + 1 < array.dimensions.len() {
            write_level(array, depth + 1, values, out);
        } else {
            write_element(array.element, values.next(), out);
        }
    }
    out.push('}');
}

fn write_element(ty: SqlType, value: Option<&Datum>, out: &mut String) {
    let Some(value) = value.filter(|v| !v.is_null()) else {
        out.push_str("NULL");
        return;
    };
    let mut text = String::new();
    crate::text::write_typed(value, ty, &mut text);
    let special = |c: char| matches!(c, '"' | '\\' | '{' | '}' | ',') || is_space(c);
    if !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.contains(special) {
        out.push_str(&text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}
