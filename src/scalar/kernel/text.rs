//! More string functions: characters by number, replacement by character or place, normal forms, Unicode escapes.

use super::cast::write_text;
use super::string::{Str, at_char, build_text, build_text_opt, too_long};
use super::{Kernel, Prim, build, out_of_range, unsupported};
use crate::ctype;
use crate::value::{Val, strict_nulls};
use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int32Type;
use hw_plan::Func;
use hw_repr::{SqlError, SqlState, SqlType};
use std::sync::Arc;
use unicode_normalization::UnicodeNormalization;

/// What [`kernel`] has.
pub(super) const FUNCTIONS: &[Func] = &[
    Func::Ascii,
    Func::BitLength,
    Func::Chr,
    Func::Initcap,
    Func::Translate,
    Func::Overlay,
    Func::ConcatWs,
    Func::Normalize,
    Func::IsNormalized,
    Func::Unistr,
    Func::ToAscii,
    Func::NumNulls,
    Func::NumNonnulls,
];

/// The kernel of one of these functions.
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    Ok(match func {
        Func::Ascii | Func::BitLength => Box::new(move |args, rows| {
            let a = Str::of(&args[0])?;
            Ok(Arc::new(build::<Int32Type>(rows, strict_nulls(args), |i| match func {
                Func::Ascii => Ok(a.get(i).chars().next().map_or(0, |c| c as i32)),
                _ => super::bytes::bits(a.get(i).len()),
            })?))
        }),
        Func::Chr => Box::new(|args, rows| {
            let n = Prim::<Int32Type>::of(&args[0])?;
            build_text(args, rows, |i, out| chr(n.get(i)).map(|c| out.push(c)))
        }),
        Func::Initcap => Box::new(|args, rows| {
            let a = Str::of(&args[0])?;
            build_text(args, rows, |i, out| {
                initcap(a.get(i), out);
                Ok(())
            })
        }),
        Func::Translate => Box::new(|args, rows| {
            let (a, from, to) = (Str::of(&args[0])?, Str::of(&args[1])?, Str::of(&args[2])?);
            build_text(args, rows, |i, out| {
                translate(a.get(i), from.get(i), to.get(i), out);
                Ok(())
            })
        }),
        Func::Overlay => Box::new(overlay),
        Func::ConcatWs => {
            let types = types.to_vec();
            Box::new(move |args, rows| concat_ws(args, rows, &types))
        }
        Func::Normalize => Box::new(|args, rows| {
            let (a, form) = (Str::of(&args[0])?, args.get(1).map(Str::of).transpose()?);
            build_text(args, rows, |i, out| normalize(a.get(i), form.as_ref().map_or("NFC", |f| f.get(i)), out))
        }),
        Func::IsNormalized => Box::new(|args, rows| {
            let (a, form) = (Str::of(&args[0])?, args.get(1).map(Str::of).transpose()?);
            let mut buffer = String::new();
            let found = bools(args, rows, |i| {
                buffer.clear();
                normalize(a.get(i), form.as_ref().map_or("NFC", |f| f.get(i)), &mut buffer)?;
                Ok(buffer == a.get(i))
            })?;
            Ok(Arc::new(found))
        }),
        Func::Unistr => Box::new(|args, rows| {
            let a = Str::of(&args[0])?;
            build_text(args, rows, |i, out| unistr(a.get(i), out))
        }),
        Func::ToAscii => Box::new(|args, rows| {
            build_text(args, rows, |_, _| {
                Err(SqlError::unsupported("encoding conversion from UTF8 to ASCII not supported"))
            })
        }),
        Func::NumNulls | Func::NumNonnulls => Box::new(move |args, rows| {
            Ok(Arc::new(build::<Int32Type>(rows, None, |i| {
                let wanted = func == Func::NumNulls;
                Ok(args.iter().filter(|a| a.array().is_null(i & a.mask()) == wanted).count() as i32)
            })?))
        }),
        _ => return Err(unsupported(func, types)),
    })
}

/// A boolean column, `f` called on the rows that are not NULL only.
pub(super) fn bools(
    args: &[Val],
    rows: usize,
    mut f: impl FnMut(usize) -> Result<bool, SqlError>,
) -> Result<BooleanArray, SqlError> {
    let nulls = strict_nulls(args);
    let mut failed = None;
    let bits = BooleanBuffer::collect_bool(rows, |i| {
        if failed.is_some() || nulls.as_ref().is_some_and(|n| n.is_null(i)) {
            return false;
        }
        f(i).unwrap_or_else(|e| {
            failed = Some(e);
            false
        })
    });
    match failed {
        Some(e) => Err(e),
        None => Ok(BooleanArray::new(bits, nulls)),
    }
}

fn chr(n: i32) -> Result<char, SqlError> {
    let limit = |message: String| SqlError::new(SqlState::PROGRAM_LIMIT, message);
    match u32::try_from(n) {
        Err(_) => Err(SqlError::new(SqlState::INVALID_PARAMETER, "character number must be positive")),
        Ok(0) => Err(limit("null character not permitted".into())),
        Ok(n) if n > 0x10_ffff => Err(limit(format!("requested character too large for encoding: {n}"))),
        Ok(n) => char::from_u32(n).ok_or_else(|| limit(format!("requested character not valid for encoding: {n}"))),
    }
}

/// The first letter of each word in upper case, the others in lower; a word is of letters and digits.
fn initcap(s: &str, out: &mut String) {
    let mut inside = false;
    for c in s.chars() {
        out.push(if inside { ctype::lower(c) } else { ctype::upper(c) });
        inside = c.is_alphanumeric();
    }
}

/// Characters of `from` become those of `to` at the same place, or nothing.
fn translate(s: &str, from: &str, to: &str, out: &mut String) {
    for c in s.chars() {
        match from.chars().position(|f| f == c) {
            None => out.push(c),
            Some(at) => out.extend(to.chars().nth(at)),
        }
    }
}

/// `22011`
pub(super) fn negative_length() -> SqlError {
    SqlError::new(SqlState::new("22011"), "negative substring length not allowed")
}

/// The characters before the replaced part and those from its end on, both counted from zero.
pub(super) fn overlaid(from: i32, count: i32) -> Result<(usize, usize), SqlError> {
    if from <= 0 {
        return Err(negative_length());
    }
    let end = from.checked_add(count).ok_or_else(|| out_of_range(SqlType::Int4))?;
    Ok((from as usize - 1, (end.max(1) - 1) as usize))
}

fn overlay(args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (a, new, from) = (Str::of(&args[0])?, Str::of(&args[1])?, Prim::<Int32Type>::of(&args[2])?);
    let count = args.get(3).map(Prim::<Int32Type>::of).transpose()?;
    build_text(args, rows, |i, out| {
        let (s, new) = (a.get(i), new.get(i));
        let count = count.as_ref().map_or_else(|| new.chars().count() as i32, |c| c.get(i));
        let (before, after) = overlaid(from.get(i), count)?;
        out.push_str(&s[..at_char(s, before)]);
        out.push_str(new);
        out.push_str(&s[at_char(s, after)..]);
        Ok(())
    })
}

/// As `concat`, with the first argument between the others.
fn concat_ws(args: &[Val], rows: usize, types: &[SqlType]) -> Result<ArrayRef, SqlError> {
    let separator = Str::of(&args[0])?;
    let mask = args[0].mask();
    build_text_opt(None, rows, |i, out| {
        if args[0].array().is_null(i & mask) {
            return Ok(false);
        }
        let mut first = true;
        for (a, ty) in args.iter().zip(types).skip(1) {
            let at = i & a.mask();
            if a.array().is_null(at) {
                continue;
            }
            if !first {
                out.push_str(separator.get(i));
            }
            first = false;
            match ty {
                SqlType::Bool => hw_repr::text::write_value(a.array().as_ref(), at, *ty, out),
                _ => write_text(a.array().as_ref(), at, *ty, out),
            }
        }
        Ok(true)
    })
}

fn normalize(s: &str, form: &str, out: &mut String) -> Result<(), SqlError> {
    match form.to_ascii_uppercase().as_str() {
        "NFC" => out.extend(s.nfc()),
        "NFD" => out.extend(s.nfd()),
        "NFKC" => out.extend(s.nfkc()),
        "NFKD" => out.extend(s.nfkd()),
        _ => {
            let message = format!("invalid normalization form: {form}");
            return Err(SqlError::new(SqlState::INVALID_PARAMETER, message));
        }
    }
    if out.len() > super::string::BYTES_MAX {
        return Err(too_long());
    }
    Ok(())
}

/// Resolves `\XXXX`, `\+XXXXXX`, `\uXXXX`, `\UXXXXXXXX` and `\\`.
fn unistr(s: &str, out: &mut String) -> Result<(), SqlError> {
    let pair = || SqlError::new(SqlState::SYNTAX, "invalid Unicode surrogate pair");
    let mut rest = s;
    let mut high: Option<u32> = None;
    while let Some(c) = rest.chars().next() {
        if c != '\\' || rest[1..].starts_with('\\') {
            if high.is_some() {
                return Err(pair());
            }
            out.push(c);
            rest = &rest[c.len_utf8() + usize::from(c == '\\')..];
            continue;
        }
        let (code, taken) = unicode_escape(&rest[1..]).ok_or_else(|| {
            SqlError::new(SqlState::SYNTAX, "invalid Unicode escape")
                .hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.")
        })?;
        rest = &rest[1 + taken..];
        match (high.take(), code) {
            (None, 0xd800..0xdc00) => high = Some(code),
            (Some(first), 0xdc00..0xe000) => {
                let joined = 0x10000 + ((first - 0xd800) << 10) + (code - 0xdc00);
                out.extend(char::from_u32(joined));
            }
            (None, 0xdc00..0xe000) | (Some(_), _) => return Err(pair()),
            (None, code) => match char::from_u32(code).filter(|_| code != 0) {
                Some(c) => out.push(c),
                None => {
                    let message = format!("invalid Unicode code point: {code:04X}");
                    return Err(SqlError::new(SqlState::INVALID_PARAMETER, message));
                }
            },
        }
    }
    if high.is_some() { Err(pair()) } else { Ok(()) }
}

/// The code behind a backslash and how many bytes it takes.
fn unicode_escape(s: &str) -> Option<(u32, usize)> {
    let (lead, digits) = match s.as_bytes().first()? {
        b'+' => (1, 6),
        b'u' => (1, 4),
        b'U' => (1, 8),
        _ => (0, 4),
    };
    let hex = s.get(lead..lead + digits).filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))?;
    Some((u32::from_str_radix(hex, 16).ok()?, lead + digits))
}
