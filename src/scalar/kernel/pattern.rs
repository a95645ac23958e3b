//! LIKE and regular expressions.
//!
//! Regular expressions are those of the `regex` crate; what PostgreSQL's syntax has beyond it (back references,
//! lookaround, word escapes such as `\m`) is refused with `0A000`.

use super::string::{Str, build_text};
use super::{Kernel, unsupported};
use crate::value::{Val, internal, strict_nulls};
use arrow::array::{ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{ilike, like};
use hw_plan::Func;
use hw_repr::{SqlError, SqlState, SqlType};
use regex::{Regex, RegexBuilder};
use std::sync::{Arc, Mutex, PoisonError};

/// Compiled patterns kept per expression.
const CACHED_MAX: usize = 16;

/// The kernel of a pattern function.
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    Ok(match func {
        Func::Like | Func::ILike => Box::new(move |args, rows| matches_like(func, args, rows)),
        Func::RegexMatch | Func::RegexIMatch => {
            let cache = Cache::default();
            let flags = if func == Func::RegexIMatch { "i" } else { "" };
            Box::new(move |args, rows| matches_regex(&cache, flags, args, rows))
        }
        Func::RegexpReplace => {
            let cache = Cache::default();
            Box::new(move |args, rows| replace(&cache, args, rows))
        }
        _ => return Err(unsupported(func, types)),
    })
}

fn matches_like(func: Func, args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let pattern = Str::of(&args[1])?;
    let nulls = strict_nulls(args);
    let patterns = if args[1].is_const() { 1 } else { rows };
    for i in 0..patterns {
        let null = !args[1].is_const() && nulls.as_ref().is_some_and(|n| n.is_null(i));
        let open = || pattern.get(i).bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1;
        if !null && open() {
            return Err(SqlError::new(SqlState::new("22025"), "LIKE pattern must not end with escape character"));
        }
    }
    let op = if func == Func::Like { like } else { ilike };
    Ok(Arc::new(op(&args[0], &args[1]).map_err(internal)?))
}

/// The last patterns compiled.
#[derive(Default)]
struct Cache(Mutex<Vec<(String, String, Regex)>>);

impl Cache {
    fn get(&self, pattern: &str, flags: &str) -> Result<Regex, SqlError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, r)) = all.iter().find(|(p, f, _)| p == pattern && f == flags) {
            return Ok(r.clone());
        }
        let regex = compile(pattern, flags)?;
        if all.len() == CACHED_MAX {
            all.remove(0);
        }
        all.push((pattern.to_string(), flags.to_string(), regex.clone()));
        Ok(regex)
    }
}

/// Constructs whose meaning differs between the two syntaxes.
fn refuse_foreign(pattern: &str) -> Result<(), SqlError> {
    let foreign = |what: &str| {
        Err(SqlError::unsupported(format!("regular expression \"{pattern}\" uses {what}, which is not supported")))
    };
    if pattern.starts_with("***") || (pattern.starts_with("(?") && !pattern.starts_with("(?:")) {
        return foreign("embedded options or lookaround");
    }
    let mut chars = pattern.chars().peekable();
    let mut class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('m' | 'M' | 'y' | 'Y' | 'A' | 'Z' | 'B' | 'b' | 'c' | 'e' | 'u' | 'U' | 'x' | 'z' | 'p' | 'P') => {
                    return foreign("an escape of its own");
                }
                Some(d) if d.is_ascii_digit() => return foreign("a back reference"),
                _ => {}
            },
            '[' if !class => class = true,
            '[' if class && matches!(chars.peek(), Some('.' | '=')) => return foreign("a collating element"),
            '[' if class && !matches!(chars.peek(), Some(':')) => return foreign("a bracket within brackets"),
            '&' | '~' | '-' if class && chars.peek() == Some(&c) => return foreign("a doubled sign within brackets"),
            ']' => class = false,
            '(' if !class && chars.peek() == Some(&'?') => {
                chars.next();
                if chars.peek() != Some(&':') {
                    return foreign("lookaround");
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn compile(pattern: &str, flags: &str) -> Result<Regex, SqlError> {
    refuse_foreign(pattern)?;
    let mut builder = RegexBuilder::new(pattern);
    // In PostgreSQL's syntax a dot matches a newline and anchors only the whole string, unless flag n.
    builder.dot_matches_new_line(true);
    for f in flags.chars() {
        match f {
            'i' => builder.case_insensitive(true),
            'c' => builder.case_insensitive(false),
            'n' | 'm' => builder.dot_matches_new_line(false).multi_line(true),
            's' | 'g' => &mut builder,
            'x' => builder.ignore_whitespace(true),
            other => {
                return Err(SqlError::new(
                    SqlState::INVALID_PARAMETER,
                    format!("invalid regular expression option: \"{other}\""),
                ));
            }
        };
    }
    builder.build().map_err(|e| {
        let reason = e.to_string();
        let last = reason.lines().last().unwrap_or("invalid").trim_start_matches("error: ").to_string();
        SqlError::new(SqlState::new("2201B"), format!("invalid regular expression: {last}"))
    })
}

fn matches_regex(cache: &Cache, flags: &str, args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (s, pattern) = (Str::of(&args[0])?, Str::of(&args[1])?);
    let nulls = strict_nulls(args);
    let fixed = if args[1].is_const() { Some(cache.get(pattern.get(0), flags)?) } else { None };
    let mut failed = None;
    let bits = BooleanBuffer::collect_bool(rows, |i| {
        if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
            return false;
        }
        match &fixed {
            Some(r) => r.is_match(s.get(i)),
            None => cache.get(pattern.get(i), flags).map(|r| r.is_match(s.get(i))).unwrap_or_else(|e| {
                failed.get_or_insert(e);
                false
            }),
        }
    });
    match failed {
        Some(e) => Err(e),
        None => Ok(Arc::new(BooleanArray::new(bits, nulls))),
    }
}

fn replace(cache: &Cache, args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (s, pattern, to) = (Str::of(&args[0])?, Str::of(&args[1])?, Str::of(&args[2])?);
    let flags = args.get(3).map(Str::of).transpose()?;
    build_text(args, rows, |i, out| {
        let flags = flags.as_ref().map_or("", |f| f.get(i));
        let regex = cache.get(pattern.get(i), flags)?;
        let (subject, mut last) = (s.get(i), 0);
        for found in regex.captures_iter(subject) {
            let Some(whole) = found.get(0) else { continue };
            out.push_str(&subject[last..whole.start()]);
            expand(to.get(i), &found, out);
            last = whole.end();
            if !flags.contains('g') {
                break;
            }
        }
        out.push_str(&subject[last..]);
        Ok(())
    })
}

/// `\1` to `\9` are groups, `\&` the match, `\\` a backslash.
fn expand(to: &str, found: &regex::Captures<'_>, out: &mut String) {
    let mut chars = to.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('&') => out.push_str(found.get(0).map_or("", |m| m.as_str())),
            Some(d) if d.is_ascii_digit() && d != '0' => {
                out.push_str(found.get(d as usize - '0' as usize).map_or("", |m| m.as_str()));
            }
            Some('\\') => out.push('\\'),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
}
