//! Changes of documents: joining, deleting, setting by path.

use super::build::owned_members;
use super::{Doc, Kind, elements, invalid, parse_place, unquote, write_array, write_object};
use hw_repr::{SqlError, SqlState};

/// `a || b`: objects are merged, anything else is joined as arrays.
pub(crate) fn concat(a: Doc, b: Doc, out: &mut String) -> Result<(), SqlError> {
    if a.is_object() && b.is_object() {
        let mut all = owned_members(a)?;
        all.extend(owned_members(b)?);
        write_object(all, out);
        return Ok(());
    }
    let items = |doc: Doc<'_>| match doc.is_array() {
        true => elements(doc).map(|d| d.0.to_string()).collect::<Vec<_>>(),
        false => vec![doc.0.to_string()],
    };
    let (a, b) = (items(a), items(b));
    write_array(a.iter().chain(&b).map(String::as_str), out);
    Ok(())
}

/// `doc - keys`: members with these keys, or elements that are these strings.
pub(crate) fn delete_keys(doc: Doc, keys: &[&str], out: &mut String) -> Result<(), SqlError> {
    match doc.kind() {
        Kind::Object => {
            let mut all = owned_members(doc)?;
            all.retain(|(k, _)| !keys.contains(&k.as_str()));
            write_object(all, out);
        }
        Kind::Array => {
            let mut kept = vec![];
            for e in elements(doc) {
                if e.kind() != Kind::String || !keys.contains(&&*unquote(e.0)?) {
                    kept.push(e.0);
                }
            }
            write_array(kept, out);
        }
        _ => return Err(invalid("cannot delete from scalar")),
    }
    Ok(())
}

/// `doc - place`
pub(crate) fn delete_at(doc: Doc, place: i32, out: &mut String) -> Result<(), SqlError> {
    match doc.kind() {
        Kind::Object => Err(invalid("cannot delete from object using integer index")),
        Kind::Array => {
            let count = elements(doc).count() as i64;
            let at = if place < 0 { count + i64::from(place) } else { i64::from(place) };
            write_array(elements(doc).enumerate().filter(|(i, _)| *i as i64 != at).map(|(_, e)| e.0), out);
            Ok(())
        }
        _ => Err(invalid("cannot delete from scalar")),
    }
}

/// What happens at the end of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edit<'a> {
    /// `jsonb_set`: replaced, and where `create` added.
    Set { new: &'a str, create: bool },
    /// `jsonb_insert`
    Insert { new: &'a str, after: bool },
    /// `#-`
    Delete,
}

impl<'a> Edit<'a> {
    /// What is added where there is nothing.
    fn added(self) -> Option<&'a str> {
        match self {
            Edit::Set { new, create: true } | Edit::Insert { new, .. } => Some(new),
            _ => None,
        }
    }
}

/// Appends the document changed at a path. Errors: 22023 for a scalar, 22004 for a NULL in the path, 22P02 for a step
/// into an array that is no number.
pub(crate) fn edit(doc: Doc, path: &[Option<&str>], change: Edit, out: &mut String) -> Result<(), SqlError> {
    if doc.is_scalar() {
        return Err(invalid(if change == Edit::Delete {
            "cannot delete path in scalar"
        } else {
            "cannot set path in scalar"
        }));
    }
    let is_empty = matches!(doc.0, "[]" | "{}");
    match path.is_empty() || is_empty && change.added().is_none() {
        true => {
            out.push_str(doc.0);
            Ok(())
        }
        false => step(doc, path, 0, change, out),
    }
}

fn step(doc: Doc, path: &[Option<&str>], level: usize, change: Edit, out: &mut String) -> Result<(), SqlError> {
    if doc.is_scalar() {
        out.push_str(doc.0);
        return Ok(());
    }
    let key = path[level].ok_or_else(|| {
        let message = format!("path element at position {} is null", level + 1);
        SqlError::new(SqlState::new("22004"), message)
    })?;
    if doc.is_array() {
        return step_array(doc, path, level, key, change, out);
    }
    let last = level + 1 == path.len();
    let mut changed = String::new();
    let mut all = owned_members(doc)?;
    match all.iter().position(|(k, _)| k == key) {
        Some(at) if last => match change {
            Edit::Set { new, .. } => all[at].1 = new,
            Edit::Delete => {
                all.remove(at);
            }
            Edit::Insert { .. } => {
                return Err(invalid("cannot replace existing key")
                    .hint("Try using the function jsonb_set to replace key value."));
            }
        },
        Some(at) => {
            step(Doc(all[at].1), path, level + 1, change, &mut changed)?;
            all[at].1 = &changed;
        }
        None if last => all.extend(change.added().map(|new| (key.to_string(), new))),
        None => {}
    }
    write_object(all, out);
    Ok(())
}

fn step_array(
    doc: Doc,
    path: &[Option<&str>],
    level: usize,
    key: &str,
    change: Edit,
    out: &mut String,
) -> Result<(), SqlError> {
    let place = parse_place(key).ok_or_else(|| {
        let message = format!("path element at position {} is not an integer: \"{key}\"", level + 1);
        SqlError::new(SqlState::INVALID_TEXT, message)
    })?;
    let last = level + 1 == path.len();
    let mut all: Vec<&str> = elements(doc).map(|e| e.0).collect();
    let count = all.len() as i64;
    let at = if place < 0 { count + i64::from(place) } else { i64::from(place) };
    let mut changed = String::new();
    match usize::try_from(at) {
        Ok(at) if at < all.len() && last => match change {
            Edit::Set { new, .. } => all[at] = new,
            Edit::Insert { new, after } => all.insert(at + usize::from(after), new),
            Edit::Delete => {
                all.remove(at);
            }
        },
        Ok(at) if at < all.len() => {
            step(Doc(all[at]), path, level + 1, change, &mut changed)?;
            all[at] = &changed;
        }
        // Beyond either end it is added at that end.
        beyond if last => {
            if let Some(new) = change.added() {
                let at = if beyond.is_ok() { all.len() } else { 0 };
                all.insert(at, new);
            }
        }
        _ => {}
    }
    write_array(all, out);
    Ok(())
}

/// `jsonb_set_lax`: as `jsonb_set`, where `treatment` says what a NULL as the new value means.
pub(crate) fn set_lax(
    doc: Doc,
    path: &[Option<&str>],
    new: Option<&str>,
    create: bool,
    treatment: Option<&str>,
    out: &mut String,
) -> Result<(), SqlError> {
    let known = ["raise_exception", "use_json_null", "delete_key", "return_target"];
    let treatment = treatment.filter(|t| new.is_some() || known.contains(t)).ok_or_else(|| {
        invalid(
            "null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\"",
        )
    })?;
    match (new, treatment) {
        (Some(new), _) => edit(doc, path, Edit::Set { new, create }, out),
        (None, "use_json_null") => edit(doc, path, Edit::Set { new: "null", create }, out),
        (None, "delete_key") => edit(doc, path, Edit::Delete, out),
        (None, "return_target") => {
            out.push_str(doc.0);
            Ok(())
        }
        (None, _) => Err(SqlError::new(SqlState::new("22004"), "JSON value must not be null")
            .detail("Exception was raised because null_value_treatment is \"raise_exception\".")
            .hint(
                "To avoid, either change the null_value_treatment argument or ensure that an SQL NULL is not passed.",
            )),
    }
}
