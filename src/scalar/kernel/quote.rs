//! Quoting for SQL, and `format`.

use super::pattern::build_arrays;
use super::string::{BYTES_MAX, Str, build_text, build_text_opt, too_long};
use super::{Kernel, downcast, unsupported};
use crate::ctype;
use crate::value::{Val, strict_nulls};
use arrow::array::{Array, ArrayRef, BooleanArray};
use hw_plan::Func;
use hw_repr::{SqlError, SqlState, SqlType, text};

/// Keywords that PostgreSQL quotes as identifiers: all but the unreserved ones, ascending.
const KEYWORDS: &str = "all analyse analyze and any array as asc asymmetric authorization between bigint binary bit \
    boolean both case cast char character check coalesce collate collation column concurrently constraint create \
    cross current_catalog current_date current_role current_schema current_time current_timestamp current_user dec \
    decimal default deferrable desc distinct do else end except exists extract false fetch float for foreign freeze \
    from full grant greatest group grouping having ilike in initially inner inout int integer intersect interval \
    into is isnull join lateral leading least left like limit localtime localtimestamp national natural nchar none \
    normalize not notnull null nullif numeric offset on only or order out outer overlaps overlay placing position \
    precision primary real references returning right row select session_user setof similar smallint some substring \
    symmetric table tablesample then time timestamp to trailing treat trim true union unique user using values \
    varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest \
    xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable";

/// Appends `s` as an identifier, in double quotes where it needs them.
fn write_identifier(s: &str, out: &mut String) {
    let safe = s.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !KEYWORDS.split_ascii_whitespace().any(|k| k == s);
    if safe {
        out.push_str(s);
        return;
    }
    out.push('"');
    for c in s.chars() {
        if c == '"' {
            out.push('"');
        }
        out.push(c);
    }
    out.push('"');
}

/// Appends `s` as a literal, in the escape syntax where it has a backslash.
fn write_literal(s: &str, out: &mut String) {
    if s.contains('\\') {
        out.push('E');
    }
    out.push('\'');
    for c in s.chars() {
        if matches!(c, '\'' | '\\') {
            out.push(c);
        }
        out.push(c);
    }
    out.push('\'');
}

/// The kernel of `quote_ident`, `quote_literal`, `quote_nullable` and `format`.
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    Ok(match func {
        Func::QuoteIdent | Func::QuoteLiteral => Box::new(move |args, rows| {
            let a = Str::of(&args[0])?;
            build_text(args, rows, |i, out| {
                match func {
                    Func::QuoteIdent => write_identifier(a.get(i), out),
                    _ => write_literal(a.get(i), out),
                }
                Ok(())
            })
        }),
        Func::QuoteNullable => Box::new(|args, rows| {
            let a = Str::of(&args[0])?;
            let mask = args[0].mask();
            build_text(&[], rows, |i, out| {
                match args[0].array().is_null(i & mask) {
                    true => out.push_str("NULL"),
                    false => write_literal(a.get(i), out),
                }
                Ok(())
            })
        }),
        Func::ParseIdent => Box::new(|args, rows| {
            let names = Str::of(&args[0])?;
            let strict =
                args.get(1).map(|a| Ok::<_, SqlError>((downcast::<BooleanArray>(a)?, a.mask()))).transpose()?;
            build_arrays(strict_nulls(args), rows, |i| {
                let strict = strict.is_none_or(|(flags, mask)| flags.value(i & mask));
                Ok(Some(parse_ident(names.get(i), strict)?.into_iter().map(Some).collect()))
            })
        }),
        Func::Format => {
            let types = types.to_vec();
            Box::new(move |args, rows| format(args, rows, &types))
        }
        _ => return Err(unsupported(func, types)),
    })
}

/// The parts of a qualified name, folded where they are not quoted. What follows the name is an error where `strict`.
fn parse_ident(name: &str, strict: bool) -> Result<Vec<String>, SqlError> {
    let invalid =
        || SqlError::new(SqlState::INVALID_PARAMETER, format!("string is not a valid identifier: \"{name}\""));
    let mut parts = vec![];
    let mut rest = name.trim_start_matches(ctype::is_space);
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut part = String::new();
            rest = quoted;
            loop {
                let end = rest.find('"').ok_or_else(|| invalid().detail("String has unclosed double quotes."))?;
                part.push_str(&rest[..end]);
                rest = &rest[end + 1..];
                match rest.strip_prefix('"') {
                    Some(after) => {
                        part.push('"');
                        rest = after;
                    }
                    None => break,
                }
            }
            if part.is_empty() {
                return Err(invalid().detail("Quoted identifier must not be empty."));
            }
            parts.push(part);
        } else if rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()) {
            let end = rest.find(|c: char| c.is_ascii() && !ctype::is_word(c) && c != '$').unwrap_or(rest.len());
            parts.push(rest[..end].to_ascii_lowercase());
            rest = &rest[end..];
        } else {
            return Err(match (rest.starts_with('.'), parts.is_empty()) {
                (true, _) => invalid().detail("No valid identifier before \".\"."),
                (false, false) => invalid().detail("No valid identifier after \".\"."),
                (false, true) => invalid(),
            });
        }
        rest = rest.trim_start_matches(ctype::is_space);
        match rest.strip_prefix('.') {
            Some(after) => rest = after.trim_start_matches(ctype::is_space),
            None if rest.is_empty() || !strict => return Ok(parts),
            None => return Err(invalid()),
        }
    }
}

fn format(args: &[Val], rows: usize, types: &[SqlType]) -> Result<ArrayRef, SqlError> {
    let formats = Str::of(&args[0])?;
    let mask = args[0].mask();
    build_text_opt(None, rows, |row, out| {
        if args[0].array().is_null(row & mask) {
            return Ok(false);
        }
        Formatter { rest: formats.get(row), args: &args[1..], types: &types[1..], row, next: 0 }.run(out)?;
        Ok(true)
    })
}

fn wrong(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER, message)
}

fn unterminated() -> SqlError {
    wrong("unterminated format() type specifier").hint("For a single \"%\" use \"%%\".")
}

struct Formatter<'a> {
    rest: &'a str,
    args: &'a [Val],
    types: &'a [SqlType],
    row: usize,
    /// The argument that a specifier without a position takes.
    next: usize,
}

impl Formatter<'_> {
    fn run(&mut self, out: &mut String) -> Result<(), SqlError> {
        while let Some(at) = self.rest.find('%') {
            out.push_str(&self.rest[..at]);
            self.rest = &self.rest[at + 1..];
            if self.eat('%') {
                out.push('%');
                continue;
            }
            self.specifier(out)?;
            if out.len() > BYTES_MAX {
                return Err(too_long());
            }
        }
        out.push_str(self.rest);
        Ok(())
    }

    fn eat(&mut self, c: char) -> bool {
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn number(&mut self) -> Result<Option<i32>, SqlError> {
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = self.rest.split_at(digits);
        self.rest = rest;
        if digits == 0 {
            return Ok(None);
        }
        if self.rest.is_empty() {
            return Err(unterminated());
        }
        let parsed = number.parse().map_err(|_| SqlError::new(SqlState::OUT_OF_RANGE, "number is out of range"));
        parsed.map(Some)
    }

    fn position(&self, n: i32) -> Result<usize, SqlError> {
        match usize::try_from(n).ok().and_then(|n| n.checked_sub(1)) {
            Some(at) => Ok(at),
            None => Err(wrong("format specifies argument 0, but arguments are numbered from 1")),
        }
    }

    /// `[n$][-][width]type`, behind the percent sign.
    fn specifier(&mut self, out: &mut String) -> Result<(), SqlError> {
        if self.rest.is_empty() {
            return Err(unterminated());
        }
        let (mut position, mut width, mut left) = (None, 0i32, false);
        let first = self.number()?;
        match first {
            Some(n) if self.eat('$') => position = Some(self.position(n)?),
            Some(n) => width = n,
            None => {}
        }
        if first.is_none() || position.is_some() {
            while self.eat('-') {
                left = true;
            }
            if self.eat('*') {
                width = self.width_argument()?;
                if width < 0 {
                    left = true;
                    width = width
                        .checked_neg()
                        .ok_or_else(|| SqlError::new(SqlState::OUT_OF_RANGE, "number is out of range"))?;
                }
            } else if let Some(n) = self.number()? {
                width = n;
            }
        }
        let kind = self.rest.chars().next().ok_or_else(unterminated)?;
        self.rest = &self.rest[kind.len_utf8()..];
        if !matches!(kind, 's' | 'I' | 'L') {
            let message = format!("unrecognized format() type specifier \"{kind}\"");
            return Err(wrong(message).hint("For a single \"%\" use \"%%\"."));
        }
        let at = position.unwrap_or(self.next);
        self.next = at + 1;
        let value = self.argument(at)?;
        let start = out.len();
        match (kind, value) {
            ('s', Some(v)) => out.push_str(&v),
            ('s', None) => {}
            ('I', Some(v)) => write_identifier(&v, out),
            ('I', None) => {
                return Err(SqlError::new(
                    SqlState::new("22004"),
                    "null values cannot be formatted as an SQL identifier",
                ));
            }
            (_, Some(v)) => write_literal(&v, out),
            (_, None) => out.push_str("NULL"),
        }
        pad(start, width as usize, left, out)
    }

    /// Behind an asterisk.
    fn width_argument(&mut self) -> Result<i32, SqlError> {
        let at = match self.number()? {
            Some(n) => {
                if !self.eat('$') {
                    return Err(wrong("width argument position must be ended by \"$\""));
                }
                self.position(n)?
            }
            None => {
                self.next += 1;
                self.next - 1
            }
        };
        if self.rest.is_empty() {
            return Err(unterminated());
        }
        match self.argument(at)? {
            None => Ok(0),
            Some(v) => match text::parse(SqlType::Int4, &v)? {
                hw_repr::Datum::Int4(n) => Ok(n),
                other => Err(SqlError::internal(format!("a width is {other:?}"))),
            },
        }
    }

    /// The argument as its type prints it.
    fn argument(&self, at: usize) -> Result<Option<String>, SqlError> {
        let arg = self.args.get(at).ok_or_else(|| wrong("too few arguments for format()"))?;
        let row = self.row & arg.mask();
        if arg.array().is_null(row) {
            return Ok(None);
        }
        let mut out = String::new();
        text::write_value(arg.array().as_ref(), row, self.types[at], &mut out);
        Ok(Some(out))
    }
}

/// Fills what was written from `start` on up to `width` characters.
fn pad(start: usize, width: usize, left: bool, out: &mut String) -> Result<(), SqlError> {
    let missing = width.saturating_sub(out[start..].chars().count());
    if missing > BYTES_MAX {
        return Err(too_long());
    }
    let blanks = " ".repeat(missing);
    if left {
        out.push_str(&blanks)
    } else {
        out.insert_str(start, &blanks)
    }
    Ok(())
}
