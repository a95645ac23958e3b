//! Functions of bytea: parts, bits, encodings of bytes as text and of text as bytes, digests.

use super::string::{BYTES_MAX, Str, build_text, too_long};
use super::text::{negative_length, overlaid};
use super::{Kernel, Prim, build, downcast, out_of_range, unsupported};
use crate::value::{Val, strict_nulls};
use arrow::array::{ArrayRef, BinaryArray, BinaryBuilder};
use arrow::datatypes::{Int32Type, Int64Type};
use hw_plan::Func;
use hw_repr::{SqlError, SqlState, SqlType};
use sha2::Digest;
use std::sync::Arc;

/// A bytea argument, a constant too.
pub(super) struct Bytes<'a> {
    array: &'a BinaryArray,
    mask: usize,
}

impl<'a> Bytes<'a> {
    pub fn of(v: &'a Val) -> Result<Self, SqlError> {
        Ok(Bytes { array: downcast(v)?, mask: v.mask() })
    }
    #[inline]
    pub fn get(&self, row: usize) -> &'a [u8] {
        self.array.value(row & self.mask)
    }
}

/// A bytea column, `f` called on the rows that are not NULL only; it appends to an empty buffer.
fn build_bytes(
    args: &[Val],
    rows: usize,
    mut f: impl FnMut(usize, &mut Vec<u8>) -> Result<(), SqlError>,
) -> Result<ArrayRef, SqlError> {
    let nulls = strict_nulls(args);
    let mut out = BinaryBuilder::new();
    let mut buffer = vec![];
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

/// The bits of so many bytes.
pub(super) fn bits(bytes: usize) -> Result<i32, SqlError> {
    i32::try_from(bytes.saturating_mul(8)).map_err(|_| out_of_range(SqlType::Int4))
}

/// The kernel of a function of bytea.
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    Ok(match func {
        Func::Concat => Box::new(|args, rows| {
            let (a, b) = (Bytes::of(&args[0])?, Bytes::of(&args[1])?);
            build_bytes(args, rows, |i, out| {
                out.extend_from_slice(a.get(i));
                out.extend_from_slice(b.get(i));
                Ok(())
            })
        }),
        Func::Length if types.len() == 2 => Box::new(|args, rows| {
            let (a, encoding) = (Bytes::of(&args[0])?, Str::of(&args[1])?);
            let f = |i| Ok(decode_text(a.get(i), Encoding::named(encoding.get(i), "")?)?.chars().count() as i32);
            Ok(Arc::new(build::<Int32Type>(rows, strict_nulls(args), f)?))
        }),
        Func::Length | Func::OctetLength | Func::BitLength => Box::new(move |args, rows| {
            let a = Bytes::of(&args[0])?;
            Ok(Arc::new(build::<Int32Type>(rows, strict_nulls(args), |i| match func {
                Func::BitLength => bits(a.get(i).len()),
                _ => Ok(a.get(i).len() as i32),
            })?))
        }),
        Func::BitCount => Box::new(|args, rows| {
            let a = Bytes::of(&args[0])?;
            let f = |i| Ok(a.get(i).iter().map(|b| i64::from(b.count_ones())).sum());
            Ok(Arc::new(build::<Int64Type>(rows, strict_nulls(args), f)?))
        }),
        Func::Position => Box::new(|args, rows| {
            let (a, b) = (Bytes::of(&args[0])?, Bytes::of(&args[1])?);
            let f = |i| Ok(find(a.get(i), b.get(i)).map_or(0, |at| at as i32 + 1));
            Ok(Arc::new(build::<Int32Type>(rows, strict_nulls(args), f)?))
        }),
        Func::GetByte | Func::GetBit => Box::new(move |args, rows| get(func, args, rows)),
        Func::SetByte | Func::SetBit => Box::new(move |args, rows| set(func, args, rows)),
        Func::Substr | Func::Substring => Box::new(substr),
        Func::Overlay => Box::new(overlay),
        Func::Btrim | Func::Ltrim | Func::Rtrim => Box::new(move |args, rows| trim(func, args, rows)),
        Func::Sha224 | Func::Sha256 | Func::Sha384 | Func::Sha512 => Box::new(move |args, rows| {
            let a = Bytes::of(&args[0])?;
            build_bytes(args, rows, |i, out| {
                match func {
                    Func::Sha224 => out.extend_from_slice(&sha2::Sha224::digest(a.get(i))),
                    Func::Sha256 => out.extend_from_slice(&sha2::Sha256::digest(a.get(i))),
                    Func::Sha384 => out.extend_from_slice(&sha2::Sha384::digest(a.get(i))),
                    _ => out.extend_from_slice(&sha2::Sha512::digest(a.get(i))),
                }
                Ok(())
            })
        }),
        _ => return coding(func, types),
    })
}

/// The kernel of a function between bytes and their texts.
fn coding(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    Ok(match func {
        Func::Encode => Box::new(|args, rows| {
            let (a, form) = (Bytes::of(&args[0])?, Str::of(&args[1])?);
            build_text(args, rows, |i, out| encode(a.get(i), form.get(i), out))
        }),
        Func::Decode => Box::new(|args, rows| {
            let (a, form) = (Str::of(&args[0])?, Str::of(&args[1])?);
            build_bytes(args, rows, |i, out| decode(a.get(i), form.get(i), out))
        }),
        Func::ConvertFrom => Box::new(|args, rows| {
            let (a, from) = (Bytes::of(&args[0])?, Str::of(&args[1])?);
            build_text(args, rows, |i, out| {
                out.push_str(&decode_text(a.get(i), Encoding::named(from.get(i), "source ")?)?);
                Ok(())
            })
        }),
        Func::ConvertTo => Box::new(|args, rows| {
            let (a, to) = (Str::of(&args[0])?, Str::of(&args[1])?);
            build_bytes(args, rows, |i, out| encode_text(a.get(i), Encoding::named(to.get(i), "destination ")?, out))
        }),
        Func::Convert => Box::new(|args, rows| {
            let (a, from, to) = (Bytes::of(&args[0])?, Str::of(&args[1])?, Str::of(&args[2])?);
            build_bytes(args, rows, |i, out| {
                let from = Encoding::named(from.get(i), "source ")?;
                let to = Encoding::named(to.get(i), "destination ")?;
                encode_text(&decode_text(a.get(i), from)?, to, out)
            })
        }),
        _ => return Err(unsupported(func, types)),
    })
}

/// Where `part` is first.
fn find(all: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    all.windows(part.len()).position(|w| w == part)
}

/// Byte and bit of a checked index; bits count from the lowest of each byte.
fn place(bytes: &[u8], index: i64, bit: bool) -> Result<(usize, u32), SqlError> {
    let size = bytes.len() as i64 * if bit { 8 } else { 1 };
    if !(0..size).contains(&index) {
        let message = format!("index {index} out of valid range, 0..{}", size - 1);
        return Err(SqlError::new(SqlState::new("2202E"), message));
    }
    Ok(if bit { ((index / 8) as usize, (index % 8) as u32) } else { (index as usize, 0) })
}

/// The index argument: bits are addressed by bigint, bytes by integer.
fn indexes<'a>(arg: &'a Val) -> Result<Box<dyn Fn(usize) -> i64 + 'a>, SqlError> {
    if let Ok(small) = Prim::<Int32Type>::of(arg) {
        return Ok(Box::new(move |i| i64::from(small.get(i))));
    }
    let wide = Prim::<Int64Type>::of(arg)?;
    Ok(Box::new(move |i| wide.get(i)))
}

fn get(func: Func, args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (a, index) = (Bytes::of(&args[0])?, indexes(&args[1])?);
    let bit = func == Func::GetBit;
    Ok(Arc::new(build::<Int32Type>(rows, strict_nulls(args), |i| {
        let (byte, shift) = place(a.get(i), index(i), bit)?;
        let value = i32::from(a.get(i)[byte]);
        Ok(if bit { value >> shift & 1 } else { value })
    })?))
}

fn set(func: Func, args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (a, index, new) = (Bytes::of(&args[0])?, indexes(&args[1])?, Prim::<Int32Type>::of(&args[2])?);
    let bit = func == Func::SetBit;
    build_bytes(args, rows, |i, out| {
        let (byte, shift) = place(a.get(i), index(i), bit)?;
        let new = new.get(i);
        if bit && !matches!(new, 0 | 1) {
            return Err(SqlError::new(SqlState::INVALID_PARAMETER, "new bit must be 0 or 1"));
        }
        out.extend_from_slice(a.get(i));
        // As PostgreSQL has it, only the low eight bits of the new byte count.
        out[byte] = if bit { out[byte] & !(1 << shift) | (new as u8) << shift } else { new as u8 };
        Ok(())
    })
}

fn substr(args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (a, from) = (Bytes::of(&args[0])?, Prim::<Int32Type>::of(&args[1])?);
    let count = args.get(2).map(Prim::<Int32Type>::of).transpose()?;
    build_bytes(args, rows, |i, out| {
        let s = a.get(i);
        let start = i64::from(from.get(i)) - 1;
        let end = match &count {
            None => i64::MAX,
            Some(c) if c.get(i) < 0 => return Err(negative_length()),
            Some(c) => start + i64::from(c.get(i)),
        };
        let clamp = |v: i64| v.clamp(0, s.len() as i64) as usize;
        let (start, end) = (clamp(start), clamp(end));
        if start < end {
            out.extend_from_slice(&s[start..end]);
        }
        Ok(())
    })
}

fn overlay(args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (a, new, from) = (Bytes::of(&args[0])?, Bytes::of(&args[1])?, Prim::<Int32Type>::of(&args[2])?);
    let count = args.get(3).map(Prim::<Int32Type>::of).transpose()?;
    build_bytes(args, rows, |i, out| {
        let (s, new) = (a.get(i), new.get(i));
        let (before, after) = overlaid(from.get(i), count.as_ref().map_or(new.len() as i32, |c| c.get(i)))?;
        out.extend_from_slice(&s[..before.min(s.len())]);
        out.extend_from_slice(new);
        out.extend_from_slice(&s[after.min(s.len())..]);
        Ok(())
    })
}

fn trim(func: Func, args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (a, set) = (Bytes::of(&args[0])?, Bytes::of(&args[1])?);
    build_bytes(args, rows, |i, out| {
        let (mut s, set) = (a.get(i), set.get(i));
        while let [first, rest @ ..] = s
            && func != Func::Rtrim
            && set.contains(first)
        {
            s = rest;
        }
        while let [rest @ .., last] = s
            && func != Func::Ltrim
            && set.contains(last)
        {
            s = rest;
        }
        out.extend_from_slice(s);
        Ok(())
    })
}

const HEX: &[u8; 16] = b"0123456789abcdef";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Characters of base 64 in a line.
const LINE: usize = 76;

fn unknown_form(form: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER, format!("unrecognized encoding: \"{form}\""))
}

fn encode(bytes: &[u8], form: &str, out: &mut String) -> Result<(), SqlError> {
    if bytes.len() > BYTES_MAX / 4 {
        return Err(too_long());
    }
    match form.to_ascii_lowercase().as_str() {
        "hex" => bytes.iter().for_each(|b| {
            out.push(HEX[usize::from(b >> 4)] as char);
            out.push(HEX[usize::from(b & 15)] as char);
        }),
        "base64" => {
            let mut column = 0;
            for chunk in bytes.chunks(3) {
                if column == LINE {
                    out.push('\n');
                    column = 0;
                }
                let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
                let word = at(0) << 16 | at(1) << 8 | at(2);
                for i in 0..4 {
                    let digit = BASE64[(word >> (18 - 6 * i) & 63) as usize] as char;
                    out.push(if i > chunk.len() { '=' } else { digit });
                }
                column += 4;
            }
        }
        "escape" => {
            for b in bytes {
                match b {
                    0 | 0x80.. => {
                        out.push('\\');
                        for shift in [6, 3, 0] {
                            out.push((b'0' + (b >> shift & 7)) as char);
                        }
                    }
                    b'\\' => out.push_str("\\\\"),
                    b => out.push(*b as char),
                }
            }
        }
        _ => return Err(unknown_form(form)),
    }
    Ok(())
}

fn decode(s: &str, form: &str, out: &mut Vec<u8>) -> Result<(), SqlError> {
    match form.to_ascii_lowercase().as_str() {
        "hex" => decode_hex(s, out),
        "base64" => decode_base64(s, out),
        "escape" => decode_escape(s.as_bytes(), out),
        _ => Err(unknown_form(form)),
    }
}

fn malformed(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER, message)
}

fn decode_hex(s: &str, out: &mut Vec<u8>) -> Result<(), SqlError> {
    let mut chars = s.chars();
    let digit = |c: char| c.to_digit(16).ok_or_else(|| malformed(format!("invalid hexadecimal digit: \"{c}\"")));
    while let Some(c) = chars.next() {
        if matches!(c, ' ' | '\n' | '\t' | '\r') {
            continue;
        }
        let high = digit(c)?;
        let low = chars.next().ok_or_else(|| malformed("invalid hexadecimal data: odd number of digits"))?;
        out.push((high << 4 | digit(low)?) as u8);
    }
    Ok(())
}

fn decode_base64(s: &str, out: &mut Vec<u8>) -> Result<(), SqlError> {
    let hint = "Input data is missing padding, is truncated, or is otherwise corrupted.";
    let (mut word, mut taken, mut end) = (0u32, 0, 0);
    for c in s.chars() {
        if matches!(c, ' ' | '\n' | '\t' | '\r') {
            continue;
        }
        let digit = if c == '=' {
            if end == 0 {
                end = match taken {
                    2 => 1,
                    3 => 2,
                    _ => return Err(malformed("unexpected \"=\" while decoding base64 sequence")),
                };
            }
            0
        } else {
            let digit = BASE64.iter().position(|d| *d as char == c);
            digit.ok_or_else(|| malformed(format!("invalid symbol \"{c}\" found while decoding base64 sequence")))?
        };
        word = word << 6 | digit as u32;
        taken += 1;
        if taken == 4 {
            let bytes = word.to_be_bytes();
            out.extend_from_slice(match end {
                1 => &bytes[1..2],
                2 => &bytes[1..3],
                _ => &bytes[1..4],
            });
            (word, taken) = (0, 0);
        }
    }
    if taken != 0 { Err(malformed("invalid base64 end sequence").hint(hint)) } else { Ok(()) }
}

fn decode_escape(mut rest: &[u8], out: &mut Vec<u8>) -> Result<(), SqlError> {
    loop {
        rest = match rest {
            [] => return Ok(()),
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            [b'\\', b'\\', after @ ..] => {
                out.push(b'\\');
                after
            }
            [b'\\', ..] => {
                return Err(SqlError::new(SqlState::INVALID_TEXT, "invalid input syntax for type bytea"));
            }
            [b, after @ ..] => {
                out.push(*b);
                after
            }
        };
    }
}

/// The encodings of text that are known here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Latin1,
    Ascii,
}

impl Encoding {
    /// By PostgreSQL's names, letters and digits of which count. `side` is for the message: `source ` and the like.
    fn named(name: &str, side: &str) -> Result<Encoding, SqlError> {
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        Ok(match plain.to_ascii_lowercase().as_str() {
            "utf8" | "unicode" => Encoding::Utf8,
            "latin1" | "iso88591" => Encoding::Latin1,
            "sqlascii" => Encoding::Ascii,
            "latin2" | "latin3" | "latin4" | "latin5" | "latin6" | "latin7" | "latin8" | "latin9" | "latin10"
            | "win1250" | "win1251" | "win1252" | "win1253" | "win1254" | "win1255" | "win1256" | "win1257"
            | "win1258" | "win866" | "win874" | "koi8r" | "koi8u" | "eucjp" | "euccn" | "euckr" | "euctw" | "sjis"
            | "big5" | "gbk" | "uhc" | "gb18030" | "johab" | "iso88595" | "iso88596" | "iso88597" | "iso88598" => {
                return Err(SqlError::unsupported(format!("the encoding \"{name}\" is not supported"))
                    .hint("UTF8, LATIN1 and SQL_ASCII are."));
            }
            _ => {
                let message = format!("invalid {side}encoding name \"{name}\"");
                return Err(SqlError::new(SqlState::INVALID_PARAMETER, message));
            }
        })
    }
}

/// `22021` for the first bytes that are no character.
fn invalid_bytes(bytes: &[u8]) -> SqlError {
    let shown: Vec<String> = bytes.iter().map(|b| format!("0x{b:02x}")).collect();
    let message = format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" "));
    SqlError::new(SqlState::new("22021"), message)
}

fn decode_text(bytes: &[u8], from: Encoding) -> Result<String, SqlError> {
    if let Some(at) = bytes.iter().position(|b| *b == 0) {
        return Err(invalid_bytes(&bytes[at..=at]));
    }
    if from == Encoding::Latin1 {
        return Ok(bytes.iter().map(|b| char::from(*b)).collect());
    }
    match std::str::from_utf8(bytes) {
        Ok(s) => Ok(s.to_string()),
        Err(e) => {
            let at = e.valid_up_to();
            // PostgreSQL shows as many bytes as the first one says that the character has.
            let size = match bytes[at] {
                0xc0..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf7 => 4,
                _ => 1,
            };
            Err(invalid_bytes(&bytes[at..(at + size).min(bytes.len())]))
        }
    }
}

fn encode_text(s: &str, to: Encoding, out: &mut Vec<u8>) -> Result<(), SqlError> {
    if to != Encoding::Latin1 {
        out.extend_from_slice(s.as_bytes());
        return Ok(());
    }
    for c in s.chars() {
        out.push(u8::try_from(c as u32).map_err(|_| {
            let mut buffer = [0; 4];
            let shown: Vec<String> = c.encode_utf8(&mut buffer).bytes().map(|b| format!("0x{b:02x}")).collect();
            let message = format!(
                "character with byte sequence {} in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"",
                shown.join(" ")
            );
            SqlError::new(SqlState::new("22P05"), message)
        })?);
    }
    Ok(())
}
