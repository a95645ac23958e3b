//! LIKE and ILIKE of text and bytea, and the rewriting of other escape characters.

use super::bytes::Bytes;
use super::string::{Str, build_text};
use super::text::bools;
use super::{Kernel, unsupported};
use crate::value::{Val, internal};
use arrow::array::ArrayRef;
use arrow::compute::like;
use hw_plan::Func;
use hw_repr::{SqlError, SqlState, SqlType};
use std::borrow::Cow;
use std::sync::Arc;

/// The kernel of LIKE, ILIKE and `like_escape`.
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    Ok(match (func, types.first()) {
        (Func::LikeEscape, Some(SqlType::Text)) => Box::new(|args, rows| {
            let (pattern, escape) = (Str::of(&args[0])?, Str::of(&args[1])?);
            build_text(args, rows, |i, out| with_backslashes(pattern.get(i), escape.get(i), out))
        }),
        (Func::Like, Some(SqlType::Bytea)) => Box::new(|args, rows| {
            let (a, pattern) = (Bytes::of(&args[0])?, Bytes::of(&args[1])?);
            Ok(Arc::new(bools(args, rows, |i| matches(a.get(i), pattern.get(i), Unit::Byte))?))
        }),
        (Func::Like, Some(SqlType::Text)) => Box::new(match_text),
        (Func::ILike, Some(SqlType::Text)) => Box::new(|args, rows| {
            let (a, pattern) = (Str::of(&args[0])?, Str::of(&args[1])?);
            Ok(Arc::new(bools(args, rows, |i| {
                let (text, pattern) = (folded(a.get(i)), folded(pattern.get(i)));
                matches(text.as_bytes(), pattern.as_bytes(), Unit::FoldedCharacter)
            })?))
        }),
        _ => return Err(unsupported(func, types)),
    })
}

/// Letters beyond ASCII in lower case; those of ASCII are compared without their case.
fn folded(s: &str) -> Cow<'_, str> {
    if s.is_ascii() { Cow::Borrowed(s) } else { Cow::Owned(s.chars().map(crate::ctype::lower).collect()) }
}

/// Whether a pattern ends with an escape character that escapes nothing.
pub(super) fn is_open(pattern: &str) -> bool {
    pattern.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

fn match_text(args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (a, pattern) = (Str::of(&args[0])?, Str::of(&args[1])?);
    if args[1].is_const() && !is_open(pattern.get(0)) {
        return Ok(Arc::new(like(&args[0], &args[1]).map_err(internal)?));
    }
    Ok(Arc::new(bools(args, rows, |i| matches(a.get(i).as_bytes(), pattern.get(i).as_bytes(), Unit::Character))?))
}

/// What an underscore stands for, and whether the case of letters counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Byte,
    Character,
    FoldedCharacter,
}

/// `22025`
fn open_pattern() -> SqlError {
    SqlError::new(SqlState::new("22025"), "LIKE pattern must not end with escape character")
}

/// Matches as far as the last `%` and, where that fails, once more with one byte more behind that `%`.
///
/// An escape at the pattern's end is an error only where it is met while text is left, as in PostgreSQL.
fn matches(text: &[u8], pattern: &[u8], unit: Unit) -> Result<bool, SqlError> {
    let (mut t, mut p) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    let width = |at: usize| match unit {
        Unit::Byte => 1,
        _ => 1 + text[at + 1..].iter().take_while(|b| **b & 0xc0 == 0x80).count(),
    };
    let same = |a: u8, b: u8| a == b || unit == Unit::FoldedCharacter && a.eq_ignore_ascii_case(&b);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'%') => {
                p += 1;
                if p + 1 == pattern.len() && pattern[p] == b'\\' {
                    return Err(open_pattern());
                }
                retry = Some((t, p));
                continue;
            }
            Some(b'_') => {
                t += width(t);
                p += 1;
                continue;
            }
            Some(b'\\') => match pattern.get(p + 1) {
                None => return Err(open_pattern()),
                Some(b) if same(*b, text[t]) => {
                    t += 1;
                    p += 2;
                    continue;
                }
                Some(_) => {}
            },
            Some(b) if same(*b, text[t]) => {
                t += 1;
                p += 1;
                continue;
            }
            _ => {}
        }
        let Some((from, behind)) = retry else { return Ok(false) };
        let from = from + width(from);
        retry = Some((from, behind));
        (t, p) = (from, behind);
    }
    Ok(pattern[p..].iter().all(|b| *b == b'%'))
}

/// `like_escape`: the pattern with backslash as its escape character.
fn with_backslashes(pattern: &str, escape: &str, out: &mut String) -> Result<(), SqlError> {
    let mut escapes = escape.chars();
    let escape = escapes.next();
    if escapes.next().is_some() {
        return Err(SqlError::new(SqlState::new("22025"), "invalid escape string")
            .hint("Escape string must be empty or one character."));
    }
    if escape == Some('\\') {
        out.push_str(pattern);
        return Ok(());
    }
    let mut escaped = false;
    for c in pattern.chars() {
        if Some(c) == escape && !escaped {
            out.push('\\');
            escaped = true;
            continue;
        }
        if c == '\\' && !escaped {
            out.push('\\');
        }
        out.push(c);
        escaped = false;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_postgresql() {
        let like = |t: &str, p: &str| matches(t.as_bytes(), p.as_bytes(), Unit::Character).map_err(|e| e.message);
        for (text, pattern, wanted) in [
            ("abc", "a%c", true),
            ("abcabd", "%ab_", true),
            ("żółć", "____", true),
            ("żółć", "%ł_", true),
            ("abc", "%\\c", true),
            ("a%c", "a\\%c", true),
            ("abc", "a\\%c", false),
            ("", "%", true),
            ("", "_", false),
            ("abc", "abc\\", false),
            ("b", "a\\", false),
            ("", "%\\", false),
        ] {
            assert_eq!(like(text, pattern), Ok(wanted), "{text} LIKE {pattern}");
        }
        assert!(like("a", "\\").is_err() && like("a", "%\\").is_err());
        assert_eq!(matches(b"aBC", b"AbC", Unit::FoldedCharacter).map_err(|e| e.message), Ok(true));
    }
}
