//! Functions and operators of regular expressions, over [`crate::regex`].

use super::string::{BYTES_MAX, Str, build_text, build_text_opt, too_long};
use super::text::bools;
use super::{Kernel, Prim, build, unsupported};
use crate::regex::{ESCAPE, Flags, Found, Regex, Subject, similar};
use crate::value::{Val, strict_nulls};
use arrow::array::{ArrayRef, BinaryBuilder};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Int32Type;
use hw_plan::Func;
use hw_repr::{ArrayValue, Datum, SqlError, SqlState, SqlType};
use std::sync::{Arc, Mutex, PoisonError};

/// Compiled patterns kept per expression.
const CACHED_MAX: usize = 16;

/// The kernel of a pattern function.
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    let cache = Cache::default();
    let types: Vec<SqlType> = types.to_vec();
    Ok(match func {
        Func::RegexMatch | Func::RegexIMatch => {
            let flags = Flags { ignore_case: func == Func::RegexIMatch, ..Flags::default() };
            Box::new(move |args, rows| {
                let (s, patterns) = (Str::of(&args[0])?, Patterns::of(&cache, &args[1], flags)?);
                Ok(Arc::new(bools(args, rows, |i| patterns.get(i)?.is_match(s.get(i)))?))
            })
        }
        Func::RegexpLike => Box::new(move |args, rows| {
            let call = Call::of(&cache, func, args, None, None, args.get(2))?;
            Ok(Arc::new(bools(args, rows, |i| call.regex(i)?.is_match(call.text.get(i)))?))
        }),
        Func::RegexpReplace => Box::new(move |args, rows| replace(&cache, args, &types, rows)),
        Func::RegexpCount => Box::new(move |args, rows| {
            let call = Call::of(&cache, func, args, args.get(2), None, args.get(3))?;
            Ok(Arc::new(build::<Int32Type>(rows, strict_nulls(args), |i| {
                let mut count = 0;
                call.each(i, |_, _| {
                    count += 1;
                    true
                })?;
                Ok(count)
            })?))
        }),
        Func::RegexpInstr => Box::new(move |args, rows| instr(&cache, args, rows)),
        Func::RegexpSubstr => Box::new(move |args, rows| {
            let call = Call::of(&cache, func, args, args.get(2), args.get(3), args.get(4))?;
            let group = args.get(5).map(Prim::<Int32Type>::of).transpose()?;
            build_text_opt(strict_nulls(args), rows, |i, out| {
                let group = parameter("subexpr", group.as_ref().map_or(0, |g| g.get(i)), 0)?;
                let found = call.nth(i)?.and_then(|f| f.get(group as usize).copied().flatten());
                out.push_str(found.map_or("", |(a, b)| &call.text.get(i)[a..b]));
                Ok(found.is_some())
            })
        }),
        Func::RegexpMatch => Box::new(move |args, rows| {
            let call = Call::of(&cache, func, args, None, None, args.get(2))?;
            build_arrays(strict_nulls(args), rows, |i| {
                let regex = call.regex(i)?;
                let text = call.text.get(i);
                let Some(found) = regex.find(&Subject::new(text), 0)? else { return Ok(None) };
                let groups = if regex.groups() > 0 { &found[1..] } else { &found[..] };
                Ok(Some(groups.iter().map(|g| g.map(|(a, b)| text[a..b].to_string())).collect()))
            })
        }),
        Func::RegexpMatches => Box::new(move |args, rows| matches(&cache, args, rows)),
        Func::RegexpSplitToArray | Func::RegexpSplitToTable => Box::new(move |args, rows| {
            let call = Call::of(&cache, func, args, None, None, args.get(2))?;
            build_arrays(strict_nulls(args), rows, |i| Ok(Some(split(&call, i)?)))
        }),
        Func::Substring => Box::new(move |args, rows| substring(&cache, args, rows)),
        Func::SimilarToEscape => Box::new(|args, rows| {
            let (a, escape) = (Str::of(&args[0])?, args.get(1).map(Str::of).transpose()?);
            build_text(args, rows, |i, out| {
                out.push_str(&similar(a.get(i), escape.as_ref().map_or(ESCAPE, |e| e.get(i)))?);
                Ok(())
            })
        }),
        _ => return Err(unsupported(func, &types)),
    })
}

/// The last patterns compiled.
#[derive(Default)]
struct Cache(Mutex<Vec<(String, Flags, Arc<Regex>)>>);

impl Cache {
    fn get(&self, pattern: &str, flags: Flags) -> Result<Arc<Regex>, SqlError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, r)) = all.iter().find(|(p, f, _)| p == pattern && *f == flags) {
            return Ok(Arc::clone(r));
        }
        let regex = Arc::new(Regex::new(pattern, flags)?);
        if all.len() == CACHED_MAX {
            all.remove(0);
        }
        all.push((pattern.to_string(), flags, Arc::clone(&regex)));
        Ok(regex)
    }
}

/// The pattern argument: compiled once where it is constant.
struct Patterns<'a> {
    cache: &'a Cache,
    texts: Str<'a>,
    flags: Flags,
    /// Its error counts for the rows that are not NULL only.
    fixed: Option<Result<Arc<Regex>, SqlError>>,
}

impl<'a> Patterns<'a> {
    fn of(cache: &'a Cache, arg: &'a Val, flags: Flags) -> Result<Self, SqlError> {
        let texts = Str::of(arg)?;
        let fixed = arg.is_const().then(|| cache.get(texts.get(0), flags));
        Ok(Patterns { cache, texts, flags, fixed })
    }

    fn get(&self, row: usize) -> Result<Arc<Regex>, SqlError> {
        match &self.fixed {
            Some(r) => r.clone(),
            None => self.cache.get(self.texts.get(row), self.flags),
        }
    }
}

/// Whether a pattern compiles and no search for it is ever given up.
pub(super) fn always_searches(pattern: &str) -> bool {
    Regex::new(pattern, Flags::default()).is_ok_and(|r| r.is_bounded())
}

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER, message)
}

/// The flags argument, and whether it has `g`.
fn flags(letters: &str) -> Result<(Flags, bool), SqlError> {
    let (mut flags, mut global) = (Flags::default(), false);
    for c in letters.chars() {
        if c == 'g' {
            global = true;
        } else if !flags.set(c)? {
            return Err(invalid(format!("invalid regular expression option: \"{c}\"")));
        }
    }
    Ok((flags, global))
}

/// A parameter that has to be at least `least`.
fn parameter(name: &str, value: i32, least: i32) -> Result<i32, SqlError> {
    match value >= least {
        true => Ok(value),
        false => Err(invalid(format!("invalid value for parameter \"{name}\": {value}"))),
    }
}

/// The byte where the character at `start`, counted from one, begins; `None` behind the end.
fn start_of(text: &str, start: i32) -> Result<Option<usize>, SqlError> {
    let before = parameter("start", start, 1)? as usize - 1;
    let at = text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(before);
    Ok(at)
}

/// Where the search for another match begins: behind the last, and behind one character more if that was empty.
fn behind(text: &str, found: &Found) -> Option<usize> {
    let (begin, end) = found.first().copied().flatten()?;
    if begin < end {
        return Some(end);
    }
    text[end..].chars().next().map(|c| end + c.len_utf8())
}

/// The arguments that the `regexp_` functions have in common.
struct Call<'a> {
    func: Func,
    cache: &'a Cache,
    text: Str<'a>,
    patterns: Str<'a>,
    start: Option<Prim<'a, Int32Type>>,
    nth: Option<Prim<'a, Int32Type>>,
    flags: Option<Str<'a>>,
}

impl<'a> Call<'a> {
    fn of(
        cache: &'a Cache,
        func: Func,
        args: &'a [Val],
        start: Option<&'a Val>,
        nth: Option<&'a Val>,
        flags: Option<&'a Val>,
    ) -> Result<Self, SqlError> {
        Ok(Call {
            func,
            cache,
            text: Str::of(&args[0])?,
            patterns: Str::of(&args[1])?,
            start: start.map(Prim::of).transpose()?,
            nth: nth.map(Prim::of).transpose()?,
            flags: flags.map(Str::of).transpose()?,
        })
    }

    fn regex(&self, row: usize) -> Result<Arc<Regex>, SqlError> {
        let (flags, global) = flags(self.flags.as_ref().map_or("", |f| f.get(row)))?;
        if global {
            return Err(invalid(format!("{}() does not support the \"global\" option", self.func.name())));
        }
        self.cache.get(self.patterns.get(row), flags)
    }

    /// Calls `visit` with each match and its number, from one, until it gives false.
    fn each(&self, row: usize, mut visit: impl FnMut(Found, usize) -> bool) -> Result<(), SqlError> {
        let text = self.text.get(row);
        let mut from = start_of(text, self.start.as_ref().map_or(1, |s| s.get(row)))?;
        let (regex, subject) = (self.regex(row)?, Subject::new(text));
        let mut number = 0;
        while let Some(at) = from
            && let Some(found) = regex.find(&subject, at)?
        {
            number += 1;
            from = behind(text, &found);
            if !visit(found, number) {
                break;
            }
        }
        Ok(())
    }

    /// The match whose number is asked for.
    fn nth(&self, row: usize) -> Result<Option<Found>, SqlError> {
        let wanted = parameter("n", self.nth.as_ref().map_or(1, |n| n.get(row)), 1)?;
        let mut out = None;
        self.each(row, |found, number| {
            if number == wanted as usize {
                out = Some(found);
            }
            out.is_none()
        })?;
        Ok(out)
    }
}

/// The parts between matches; an empty match counts only behind the last match and before the end.
fn split(call: &Call, row: usize) -> Result<Vec<Option<String>>, SqlError> {
    let (text, mut parts, mut last) = (call.text.get(row), vec![], 0);
    call.each(row, |found, _| {
        if let Some((begin, end)) = found.first().copied().flatten()
            && (begin < end || begin > last && begin < text.len())
        {
            parts.push(Some(text[last..begin].to_string()));
            last = end;
        }
        true
    })?;
    parts.push(Some(text[last..].to_string()));
    Ok(parts)
}

/// The groups of each match, or the match where there are no groups, as an array of two dimensions.
fn matches(cache: &Cache, args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (s, patterns) = (Str::of(&args[0])?, Str::of(&args[1])?);
    let letters = args.get(2).map(Str::of).transpose()?;
    let nulls = strict_nulls(args);
    let mut out = BinaryBuilder::new();
    for i in 0..rows {
        if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
            out.append_null();
            continue;
        }
        let (flags, global) = flags(letters.as_ref().map_or("", |l| l.get(i)))?;
        let (regex, text) = (cache.get(patterns.get(i), flags)?, s.get(i));
        let (subject, mut from, mut found_all) = (Subject::new(text), Some(0), vec![]);
        while let Some(at) = from
            && let Some(found) = regex.find(&subject, at)?
        {
            from = behind(text, &found).filter(|_| global);
            let groups = if regex.groups() > 0 { &found[1..] } else { &found[..] };
            let values = groups.iter().map(|g| g.map_or(Datum::Null, |(a, b)| Datum::Text(text[a..b].to_string())));
            found_all.push(ArrayValue::from_values(SqlType::Text, values.collect()));
        }
        out.append_value(ArrayValue::stack(SqlType::Text, found_all)?.to_bytes()?);
    }
    Ok(Arc::new(out.finish()))
}

/// A column of type text[]; `f` gives `None` for NULL.
pub(super) fn build_arrays(
    nulls: Option<NullBuffer>,
    rows: usize,
    mut f: impl FnMut(usize) -> Result<Option<Vec<Option<String>>>, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let mut out = BinaryBuilder::new();
    for i in 0..rows {
        let texts = if nulls.as_ref().is_none_or(|n| n.is_valid(i)) { f(i)? } else { None };
        match texts {
            Some(texts) => {
                let values = texts.into_iter().map(|t| t.map_or(Datum::Null, Datum::Text)).collect();
                out.append_value(ArrayValue::from_values(SqlType::Text, values).to_bytes()?);
            }
            None => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn instr(cache: &Cache, args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let call = Call::of(cache, Func::RegexpInstr, args, args.get(2), args.get(3), args.get(5))?;
    let end = args.get(4).map(Prim::<Int32Type>::of).transpose()?;
    let group = args.get(6).map(Prim::<Int32Type>::of).transpose()?;
    Ok(Arc::new(build::<Int32Type>(rows, strict_nulls(args), |i| {
        let end = end.as_ref().map_or(0, |e| e.get(i));
        if !matches!(end, 0 | 1) {
            return Err(invalid(format!("invalid value for parameter \"endoption\": {end}")));
        }
        let group = parameter("subexpr", group.as_ref().map_or(0, |g| g.get(i)), 0)?;
        let found = call.nth(i)?.and_then(|f| f.get(group as usize).copied().flatten());
        Ok(found.map_or(0, |(a, b)| call.text.get(i)[..if end == 1 { b } else { a }].chars().count() as i32 + 1))
    })?))
}

/// `substring(text, pattern)`: the first group, or all of the match where there are no groups; with a third argument
/// the pattern is that of SIMILAR TO with this escape character.
fn substring(cache: &Cache, args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (s, pattern) = (Str::of(&args[0])?, Str::of(&args[1])?);
    let escape = args.get(2).map(Str::of).transpose()?;
    build_text_opt(strict_nulls(args), rows, |i, out| {
        let regex = match &escape {
            Some(e) => cache.get(&similar(pattern.get(i), e.get(i))?, Flags::default())?,
            None => cache.get(pattern.get(i), Flags::default())?,
        };
        let text = s.get(i);
        let Some(found) = regex.find(&Subject::new(text), 0)? else { return Ok(false) };
        let part = found.get(usize::from(regex.groups() > 0)).copied().flatten();
        out.push_str(part.map_or("", |(a, b)| &text[a..b]));
        Ok(part.is_some())
    })
}

/// `regexp_replace`; its fourth argument is the flags or the start.
fn replace(cache: &Cache, args: &[Val], types: &[SqlType], rows: usize) -> Result<ArrayRef, SqlError> {
    let (s, pattern, to) = (Str::of(&args[0])?, Str::of(&args[1])?, Str::of(&args[2])?);
    let by_place = types.get(3) == Some(&SqlType::Int4);
    let numbers = |at: usize| args.get(at).filter(|_| by_place).map(Prim::<Int32Type>::of).transpose();
    let (start, nth) = (numbers(3)?, numbers(4)?);
    let letters = args.get(if by_place { 5 } else { 3 }).map(Str::of).transpose()?;
    build_text(args, rows, |i, out| {
        let letters = letters.as_ref().map_or("", |l| l.get(i));
        let (flags, global) = flags(letters).map_err(|e| match letters.starts_with(|c: char| c.is_ascii_digit()) {
            true => e.hint(
                "If you meant to use regexp_replace() with a start parameter, cast the fourth argument to integer \
                 explicitly.",
            ),
            false => e,
        })?;
        let text = s.get(i);
        let from = start_of(text, start.as_ref().map_or(1, |s| s.get(i)))?;
        let wanted = match &nth {
            Some(n) => parameter("n", n.get(i), 0)? as usize,
            None => usize::from(!global),
        };
        let regex = cache.get(pattern.get(i), flags)?;
        replace_one(&regex, text, from, wanted, to.get(i), out)
    })
}

/// Replaces the match number `wanted`, or all where that is zero.
fn replace_one(
    regex: &Regex,
    text: &str,
    mut from: Option<usize>,
    wanted: usize,
    to: &str,
    out: &mut String,
) -> Result<(), SqlError> {
    let subject = Subject::new(text);
    let (mut copied, mut number) = (0, 0);
    while let Some(at) = from
        && let Some(found) = regex.find(&subject, at)?
    {
        number += 1;
        from = behind(text, &found);
        let Some((begin, end)) = found.first().copied().flatten() else { break };
        if wanted == 0 || number == wanted {
            out.push_str(&text[copied..begin]);
            expand(to, text, &found, out);
            copied = end;
            if out.len() > BYTES_MAX {
                return Err(too_long());
            }
        }
        if number == wanted {
            break;
        }
    }
    out.push_str(&text[copied..]);
    Ok(())
}

/// `\1` to `\9` are groups, `\&` the match, `\\` a backslash.
fn expand(to: &str, text: &str, found: &Found, out: &mut String) {
    let group = |n: usize| found.get(n).copied().flatten().map_or("", |(a, b)| &text[a..b]);
    let mut chars = to.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('&') => out.push_str(group(0)),
            Some(d @ '1'..='9') => out.push_str(group(d as usize - '0' as usize)),
            Some('\\') => out.push('\\'),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
}
