//! String functions. Positions and lengths count characters. Case is that of locale C (see [`crate::ctype`]).

use super::cast::write_text;
use super::{Kernel, Prim, build, downcast, unsupported};
use crate::value::{Val, strict_nulls};
use arrow::array::{Array, ArrayRef, BooleanArray, StringArray, StringBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int32Type;
use hw_plan::Func;
use hw_repr::{SqlError, SqlState, SqlType, text};
use md5::Digest;
use std::sync::Arc;

/// Most bytes a value may have, PostgreSQL's MaxAllocSize.
pub(super) const BYTES_MAX: usize = 0x3fff_ffff;

/// A text argument, a constant too.
pub(super) struct Str<'a> {
    array: &'a StringArray,
    mask: usize,
}

impl<'a> Str<'a> {
    pub fn of(v: &'a Val) -> Result<Self, SqlError> {
        Ok(Str { array: downcast(v)?, mask: v.mask() })
    }
    #[inline]
    pub fn get(&self, row: usize) -> &'a str {
        self.array.value(row & self.mask)
    }
}

/// A text column, `f` called on the rows that are not NULL only; it appends to an empty buffer.
pub(super) fn build_text(
    args: &[Val],
    rows: usize,
    mut f: impl FnMut(usize, &mut String) -> Result<(), SqlError>,
) -> Result<ArrayRef, SqlError> {
    let nulls = strict_nulls(args);
    let mut out = StringBuilder::with_capacity(rows, rows * 8);
    let mut buffer = String::new();
    for row in 0..rows {
        if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
            out.append_null();
            continue;
        }
        buffer.clear();
        f(row, &mut buffer)?;
        out.append_value(&buffer);
    }
    Ok(Arc::new(out.finish()))
}

/// As [`build_text`], where `f` gives false for NULL; it is called where `nulls` has the row valid.
pub(super) fn build_text_opt(
    nulls: Option<arrow::buffer::NullBuffer>,
    rows: usize,
    mut f: impl FnMut(usize, &mut String) -> Result<bool, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let mut out = StringBuilder::with_capacity(rows, rows * 8);
    let mut buffer = String::new();
    for row in 0..rows {
        buffer.clear();
        match nulls.as_ref().is_none_or(|n| n.is_valid(row)) && f(row, &mut buffer)? {
            true => out.append_value(&buffer),
            false => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// The kernel of a string function.
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    let bytes = types.first() == Some(&SqlType::Bytea);
    Ok(match func {
        Func::Concat => Box::new(|args, rows| {
            let (a, b) = (Str::of(&args[0])?, Str::of(&args[1])?);
            build_text(args, rows, |i, out| {
                out.push_str(a.get(i));
                out.push_str(b.get(i));
                Ok(())
            })
        }),
        Func::ConcatFn => {
            let types = types.to_vec();
            Box::new(move |args, rows| concat_any(args, rows, &types))
        }
        Func::Length | Func::OctetLength | Func::Strpos | Func::Position => integer(func),
        Func::StartsWith => Box::new(|args, rows| {
            let (a, b) = (Str::of(&args[0])?, Str::of(&args[1])?);
            let nulls = strict_nulls(args);
            let bits = BooleanBuffer::collect_bool(rows, |i| a.get(i).starts_with(b.get(i)));
            Ok(Arc::new(BooleanArray::new(bits, nulls)))
        }),
        Func::Md5 if bytes => Box::new(|args, rows| {
            let (a, mask) = (downcast::<arrow::array::BinaryArray>(&args[0])?, args[0].mask());
            build_text(args, rows, |i, out| push_md5(a.value(i & mask), out))
        }),
        Func::Md5 | Func::Lower | Func::Upper | Func::Reverse => simple(func),
        Func::Substr | Func::Substring => Box::new(substr),
        Func::Btrim | Func::Ltrim | Func::Rtrim => Box::new(move |args, rows| trim(func, args, rows)),
        Func::Replace => Box::new(replace),
        Func::SplitPart => Box::new(|args, rows| {
            let (a, b, n) = (Str::of(&args[0])?, Str::of(&args[1])?, Prim::<Int32Type>::of(&args[2])?);
            build_text(args, rows, |i, out| split_part(a.get(i), b.get(i), n.get(i)).map(|s| out.push_str(s)))
        }),
        Func::Left | Func::Right | Func::Repeat => Box::new(move |args, rows| {
            let (a, n) = (Str::of(&args[0])?, Prim::<Int32Type>::of(&args[1])?);
            build_text(args, rows, |i, out| match func {
                Func::Repeat => repeat(a.get(i), n.get(i), out),
                _ => {
                    out.push_str(side(a.get(i), n.get(i), func == Func::Left));
                    Ok(())
                }
            })
        }),
        Func::Lpad | Func::Rpad => Box::new(move |args, rows| {
            let (a, n) = (Str::of(&args[0])?, Prim::<Int32Type>::of(&args[1])?);
            let fill = args.get(2).map(Str::of).transpose()?;
            build_text(args, rows, |i, out| {
                pad(a.get(i), n.get(i), fill.as_ref().map_or(" ", |f| f.get(i)), func == Func::Lpad, out)
            })
        }),
        _ => return Err(unsupported(func, types)),
    })
}

fn simple(func: Func) -> Kernel {
    Box::new(move |args, rows| {
        let a = Str::of(&args[0])?;
        build_text(args, rows, |i, out| {
            let s = a.get(i);
            match func {
                Func::Lower if s.is_ascii() => {
                    out.push_str(s);
                    out.make_ascii_lowercase();
                }
                Func::Upper if s.is_ascii() => {
                    out.push_str(s);
                    out.make_ascii_uppercase();
                }
                Func::Lower => out.extend(s.chars().map(crate::ctype::lower)),
                Func::Upper => out.extend(s.chars().map(crate::ctype::upper)),
                Func::Reverse => out.extend(s.chars().rev()),
                _ => push_md5(s.as_bytes(), out)?,
            }
            Ok(())
        })
    })
}

fn push_md5(bytes: &[u8], out: &mut String) -> Result<(), SqlError> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for b in md5::Md5::digest(bytes) {
        out.push(char::from(HEX[usize::from(b >> 4)]));
        out.push(char::from(HEX[usize::from(b & 15)]));
    }
    Ok(())
}

fn integer(func: Func) -> Kernel {
    Box::new(move |args, rows| {
        let a = Str::of(&args[0])?;
        let b = args.get(1).map(Str::of).transpose()?;
        Ok(Arc::new(build::<Int32Type>(rows, strict_nulls(args), |i| {
            let s = a.get(i);
            Ok(match (func, &b) {
                (Func::OctetLength, _) => s.len() as i32,
                (Func::Strpos | Func::Position, Some(b)) => {
                    s.find(b.get(i)).map_or(0, |at| s[..at].chars().count() as i32 + 1)
                }
                _ if s.is_ascii() => s.len() as i32,
                _ => s.chars().count() as i32,
            })
        })?))
    })
}

/// `concat` takes any type, by its output function, and skips NULLs.
fn concat_any(args: &[Val], rows: usize, types: &[SqlType]) -> Result<ArrayRef, SqlError> {
    build_text(&[], rows, |i, out| {
        for (a, ty) in args.iter().zip(types) {
            let at = i & a.mask();
            if a.array().is_valid(at) {
                match ty {
                    SqlType::Bool => text::write_value(a.array().as_ref(), at, *ty, out),
                    _ => write_text(a.array().as_ref(), at, *ty, out),
                }
            }
        }
        Ok(())
    })
}

/// The byte where the n-th character starts, or the end.
pub(super) fn at_char(s: &str, n: usize) -> usize {
    if s.is_ascii() { n.min(s.len()) } else { s.char_indices().nth(n).map_or(s.len(), |(at, _)| at) }
}

fn substr(args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (a, from) = (Str::of(&args[0])?, Prim::<Int32Type>::of(&args[1])?);
    let count = args.get(2).map(Prim::<Int32Type>::of).transpose()?;
    build_text(args, rows, |i, out| {
        let start = i64::from(from.get(i)) - 1;
        let end = match &count {
            None => i64::MAX,
            Some(c) if c.get(i) < 0 => {
                return Err(SqlError::new(SqlState::new("22011"), "negative substring length not allowed"));
            }
            Some(c) => start + i64::from(c.get(i)),
        };
        let (start, end) = (start.max(0) as usize, end.max(0) as usize);
        if end > start {
            let s = a.get(i);
            let rest = &s[at_char(s, start)..];
            out.push_str(&rest[..at_char(rest, end - start)]);
        }
        Ok(())
    })
}

fn trim(func: Func, args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let a = Str::of(&args[0])?;
    let set = args.get(1).map(Str::of).transpose()?;
    build_text(args, rows, |i, out| {
        let set = set.as_ref().map_or(" ", |s| s.get(i));
        let is_in = |c: char| set.contains(c);
        out.push_str(match func {
            Func::Btrim => a.get(i).trim_matches(is_in),
            Func::Ltrim => a.get(i).trim_start_matches(is_in),
            _ => a.get(i).trim_end_matches(is_in),
        });
        Ok(())
    })
}

pub(super) fn too_long() -> SqlError {
    SqlError::new(SqlState::PROGRAM_LIMIT, "requested length too large")
}

fn replace(args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (a, from, to) = (Str::of(&args[0])?, Str::of(&args[1])?, Str::of(&args[2])?);
    build_text(args, rows, |i, out| {
        let (s, from, to) = (a.get(i), from.get(i), to.get(i));
        if from.is_empty() {
            out.push_str(s);
            return Ok(());
        }
        let mut last = 0;
        for (at, _) in s.match_indices(from) {
            out.push_str(&s[last..at]);
            out.push_str(to);
            last = at + from.len();
            if out.len() > BYTES_MAX {
                return Err(too_long());
            }
        }
        out.push_str(&s[last..]);
        Ok(())
    })
}

/// The n-th field from 1, or from the end where n is negative.
fn split_part<'a>(s: &'a str, by: &str, n: i32) -> Result<&'a str, SqlError> {
    if n == 0 {
        return Err(SqlError::new(SqlState::INVALID_PARAMETER, "field position must not be zero"));
    }
    let k = n.unsigned_abs() as usize - 1;
    if s.is_empty() || by.is_empty() {
        return Ok(if k == 0 { s } else { "" });
    }
    if n > 0 {
        return Ok(s.split(by).nth(k).unwrap_or(""));
    }
    let fields: Vec<&str> = s.split(by).collect();
    Ok(fields.len().checked_sub(k + 1).map_or("", |at| fields[at]))
}

/// The first or last n characters; a negative n leaves |n| out at the other side.
fn side(s: &str, n: i32, left: bool) -> &str {
    if n == i32::MIN && !left {
        // PostgreSQL negates the count in 32 bits, where the least one has no opposite: nothing is left out.
        return s;
    }
    let chars = if s.is_ascii() { s.len() } else { s.chars().count() };
    let size = n.unsigned_abs() as usize;
    let keep = if n >= 0 { size.min(chars) } else { chars.saturating_sub(size) };
    if left { &s[..at_char(s, keep)] } else { &s[at_char(s, chars - keep)..] }
}

fn repeat(s: &str, n: i32, out: &mut String) -> Result<(), SqlError> {
    let n = n.max(0) as usize;
    if s.len().checked_mul(n).is_none_or(|bytes| bytes > BYTES_MAX) {
        return Err(too_long());
    }
    (0..n).for_each(|_| out.push_str(s));
    Ok(())
}

fn pad(s: &str, n: i32, fill: &str, left: bool, out: &mut String) -> Result<(), SqlError> {
    let n = n.max(0) as usize;
    let chars = s.chars().count();
    if chars >= n {
        out.push_str(&s[..at_char(s, n)]);
        return Ok(());
    }
    if (n - chars).saturating_mul(fill.chars().map(char::len_utf8).max().unwrap_or(0)) > BYTES_MAX {
        return Err(too_long());
    }
    let padding = fill.chars().cycle().take(n - chars);
    if left {
        out.extend(padding);
        out.push_str(s);
    } else {
        out.push_str(s);
        out.extend(padding);
    }
    Ok(())
}
