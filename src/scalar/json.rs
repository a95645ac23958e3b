//! JSON values as slices of their text: taking apart, comparing, editing, and the path language.
//!
//! Owns what jsonb functions compute; [`crate::kernel`] calls it row by row. A document is never parsed into a tree:
//! a part of it is a slice, and what is made of parts is written anew in the canonical form of jsonb (see
//! [`hw_repr::text::jsonb_canonical`]).

mod build;
mod edit;
pub(crate) mod path;
mod scan;
#[cfg(test)]
mod tests;

pub(crate) use build::{Style, strip_nulls, write_array, write_lines, write_object, write_pretty, write_value};
pub(crate) use edit::{Edit, concat, delete_at, delete_keys, edit, set_lax};
use hw_repr::numeric::Numeric;
use hw_repr::text::write_json_string;
use hw_repr::{SqlError, SqlState};
pub(crate) use scan::{elements, members, unquote};
use std::cmp::Ordering;

/// A value, without blanks around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doc<'a>(pub &'a str);

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    String,
    Number,
    Bool,
    Array,
    Object,
}

impl Kind {
    /// As `jsonb_typeof` names it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::String => "string",
            Kind::Number => "number",
            Kind::Bool => "boolean",
            Kind::Array => "array",
            Kind::Object => "object",
        }
    }
}

impl<'a> Doc<'a> {
    /// The document of a column's text.
    pub fn new(text: &'a str) -> Doc<'a> {
        Doc(text.trim_matches([' ', '\t', '\n', '\r']))
    }

    pub fn kind(self) -> Kind {
        match self.0.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') | None => Kind::Null,
            _ => Kind::Number,
        }
    }

    pub fn is_array(self) -> bool {
        self.kind() == Kind::Array
    }

    pub fn is_object(self) -> bool {
        self.kind() == Kind::Object
    }

    pub fn is_scalar(self) -> bool {
        !self.is_array() && !self.is_object()
    }

    /// The value of a key; of equal keys, which only json has, the last.
    pub fn member(self, key: &str) -> Option<Doc<'a>> {
        let mut quoted = String::with_capacity(key.len() + 2);
        write_json_string(key, &mut quoted);
        let same = |k: &str| k == quoted || k.contains('\\') && unquote(k).is_ok_and(|k| k == key);
        members(self).filter(|(k, _)| same(k)).last().map(|(_, v)| v)
    }

    /// The element at a place, counted from zero or, where negative, from the end.
    pub fn element(self, at: i32) -> Option<Doc<'a>> {
        let at = match usize::try_from(at) {
            Ok(at) => at,
            Err(_) => elements(self).count().checked_sub(at.unsigned_abs() as usize)?,
        };
        elements(self).nth(at)
    }

    /// `#>`: what a path of keys and places leads to. A scalar has nothing within it.
    pub fn at_path<'p>(self, path: impl IntoIterator<Item = &'p str>) -> Option<Doc<'a>> {
        path.into_iter().try_fold(self, |doc, step| match doc.kind() {
            Kind::Object => doc.member(step),
            Kind::Array => doc.element(parse_place(step)?),
            _ => None,
        })
    }

    /// The value as text: `None` for null, a string without its quotes.
    pub fn to_text(self) -> Result<Option<std::borrow::Cow<'a, str>>, SqlError> {
        match self.kind() {
            Kind::Null => Ok(None),
            Kind::String => unquote(self.0).map(Some),
            _ => Ok(Some(std::borrow::Cow::Borrowed(self.0))),
        }
    }

    /// The number it is.
    pub fn number(self) -> Result<Numeric, SqlError> {
        Numeric::parse(self.0)
    }

    /// `?`: whether a key, an element or the value itself is this string.
    pub fn has(self, key: &str) -> Result<bool, SqlError> {
        Ok(match self.kind() {
            Kind::Object => self.member(key).is_some(),
            Kind::Array => {
                for e in elements(self) {
                    if e.kind() == Kind::String && unquote(e.0)? == key {
                        return Ok(true);
                    }
                }
                false
            }
            Kind::String => unquote(self.0)? == key,
            _ => false,
        })
    }
}

/// A step of a path as a place in an array, as C's `strtol` reads it.
pub(crate) fn parse_place(step: &str) -> Option<i32> {
    let body = step.trim_start_matches(crate::ctype::is_space);
    body.parse().ok()
}

/// `a @> b`. At the top an array also contains a scalar.
pub(crate) fn contains(a: Doc, b: Doc, top: bool) -> Result<bool, SqlError> {
    Ok(match (a.kind(), b.kind()) {
        (Kind::Object, Kind::Object) => {
            for (key, value) in members(b) {
                match a.member(&unquote(key)?) {
                    Some(found) if contains(found, value, false)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Kind::Array, Kind::Array) => {
            for value in elements(b) {
                let mut hit = false;
                for x in elements(a) {
                    hit = hit || contains(x, value, false)?;
                }
                if !hit {
                    return Ok(false);
                }
            }
            true
        }
        (Kind::Array, _) if top && b.is_scalar() => {
            for x in elements(a) {
                if x.is_scalar() && order(x, b)?.is_eq() {
                    return Ok(true);
                }
            }
            false
        }
        _ => a.is_scalar() && b.is_scalar() && order(a, b)?.is_eq(),
    })
}

/// PostgreSQL's order of documents: as [`order`], but an empty array at the top is below all.
pub(crate) fn order_documents(a: Doc, b: Doc) -> Result<Ordering, SqlError> {
    match (a.0 == "[]", b.0 == "[]") {
        _ if a == b => Ok(Ordering::Equal),
        (true, false) => Ok(Ordering::Less),
        (false, true) => Ok(Ordering::Greater),
        _ => order(a, b),
    }
}

/// null < string < number < boolean < array < object; containers by their size first.
pub(crate) fn order(a: Doc, b: Doc) -> Result<Ordering, SqlError> {
    Ok(match (a.kind(), b.kind()) {
        (Kind::Number, Kind::Number) => a.number()?.cmp_value(&b.number()?),
        (Kind::String, Kind::String) => unquote(a.0)?.cmp(&unquote(b.0)?),
        (Kind::Bool, Kind::Bool) => (a.0 == "true").cmp(&(b.0 == "true")),
        (Kind::Array, Kind::Array) => {
            let size = elements(a).count().cmp(&elements(b).count());
            if size.is_ne() {
                return Ok(size);
            }
            for (x, y) in elements(a).zip(elements(b)) {
                let o = order(x, y)?;
                if o.is_ne() {
                    return Ok(o);
                }
            }
            Ordering::Equal
        }
        (Kind::Object, Kind::Object) => {
            let size = members(a).count().cmp(&members(b).count());
            if size.is_ne() {
                return Ok(size);
            }
            for ((k, x), (l, y)) in members(a).zip(members(b)) {
                let keys = unquote(k)?.cmp(&unquote(l)?);
                let o = if keys.is_ne() { keys } else { order(x, y)? };
                if o.is_ne() {
                    return Ok(o);
                }
            }
            Ordering::Equal
        }
        (a, b) => (a as u8).cmp(&(b as u8)),
    })
}

/// `22023`
pub(crate) fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER, message)
}
