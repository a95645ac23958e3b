//! Bit strings: what of them is not as of the text of 0 and 1 that carries them.

use super::string::{Str, build_text};
use super::{Kernel, Prim, build, cast as any_cast, out_of_range};
use crate::value::{Val, strict_nulls};
use arrow::array::ArrayRef;
use arrow::datatypes::{Int32Type, Int64Type};
use hw_plan::Func;
use hw_repr::text::bits;
use hw_repr::{SqlError, SqlState, SqlType};
use std::sync::Arc;

/// The kernel of a function of bit strings; `None` where it is that of the text.
pub(super) fn kernel(func: Func) -> Option<Kernel> {
    Some(match func {
        Func::BitAnd | Func::BitOr | Func::BitXor => Box::new(move |args, rows| {
            let (a, b) = (Str::of(&args[0])?, Str::of(&args[1])?);
            build_text(args, rows, |i, out| combine(func, a.get(i), b.get(i), out))
        }),
        Func::BitNot => Box::new(|args, rows| {
            let a = Str::of(&args[0])?;
            build_text(args, rows, |i, out| {
                out.extend(a.get(i).chars().map(|c| if c == '0' { '1' } else { '0' }));
                Ok(())
            })
        }),
        Func::ShiftLeft | Func::ShiftRight => Box::new(move |args, rows| {
            let (a, by) = (Str::of(&args[0])?, Prim::<Int32Type>::of(&args[1])?);
            build_text(args, rows, |i, out| {
                let by = i64::from(by.get(i));
                shift(a.get(i), if func == Func::ShiftLeft { by } else { -by }, out);
                Ok(())
            })
        }),
        Func::OctetLength | Func::BitLength => Box::new(move |args, rows| {
            let a = Str::of(&args[0])?;
            let unit = if func == Func::OctetLength { 8 } else { 1 };
            let length = |i: usize| Ok(a.get(i).len().div_ceil(unit) as i32);
            Ok(Arc::new(build::<Int32Type>(rows, strict_nulls(args), length)?))
        }),
        Func::BitCount => Box::new(|args, rows| {
            let a = Str::of(&args[0])?;
            let count = |i: usize| Ok(a.get(i).bytes().filter(|b| *b == b'1').count() as i64);
            Ok(Arc::new(build::<Int64Type>(rows, strict_nulls(args), count)?))
        }),
        Func::Position => Box::new(|args, rows| {
            let (a, part) = (Str::of(&args[0])?, Str::of(&args[1])?);
            let find = |i: usize| match (a.get(i), part.get(i)) {
                ("", _) => Ok(0),
                (all, part) => Ok(all.find(part).map_or(0, |at| at as i32 + 1)),
            };
            Ok(Arc::new(build::<Int32Type>(rows, strict_nulls(args), find)?))
        }),
        Func::GetBit => Box::new(|args, rows| {
            let (a, index) = (Str::of(&args[0])?, Prim::<Int32Type>::of(&args[1])?);
            let get = |i: usize| Ok(i32::from(a.get(i).as_bytes()[place(a.get(i), index.get(i))?] == b'1'));
            Ok(Arc::new(build::<Int32Type>(rows, strict_nulls(args), get)?))
        }),
        Func::SetBit => Box::new(set_bit),
        _ => return None,
    })
}

fn combine(func: Func, a: &str, b: &str, out: &mut String) -> Result<(), SqlError> {
    if a.len() != b.len() {
        let verb = match func {
            Func::BitAnd => "AND",
            Func::BitOr => "OR",
            _ => "XOR",
        };
        let message = format!("cannot {verb} bit strings of different sizes");
        return Err(SqlError::new(SqlState::new("22026"), message));
    }
    let bit = |(a, b): (u8, u8)| match func {
        Func::BitAnd => a == b'1' && b == b'1',
        Func::BitOr => a == b'1' || b == b'1',
        _ => a != b,
    };
    out.extend(a.bytes().zip(b.bytes()).map(|pair| if bit(pair) { '1' } else { '0' }));
    Ok(())
}

/// To the left by so many places, to the right where that is negative; the length stays.
fn shift(bits: &str, left: i64, out: &mut String) {
    let by = usize::try_from(left.unsigned_abs()).unwrap_or(usize::MAX).min(bits.len());
    let zeros = std::iter::repeat_n('0', by);
    match left >= 0 {
        true => {
            out.push_str(&bits[by..]);
            out.extend(zeros);
        }
        false => {
            out.extend(zeros);
            out.push_str(&bits[..bits.len() - by]);
        }
    }
}

/// A checked index from the left.
fn place(bits: &str, index: i32) -> Result<usize, SqlError> {
    usize::try_from(index).ok().filter(|i| *i < bits.len()).ok_or_else(|| {
        let message = format!("bit index {index} out of valid range (0..{})", bits.len() as i64 - 1);
        SqlError::new(SqlState::new("2202E"), message)
    })
}

fn set_bit(args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (a, index, new) = (Str::of(&args[0])?, Prim::<Int32Type>::of(&args[1])?, Prim::<Int32Type>::of(&args[2])?);
    build_text(args, rows, |i, out| {
        let at = place(a.get(i), index.get(i))?;
        let new = match new.get(i) {
            0 => '0',
            1 => '1',
            _ => return Err(SqlError::new(SqlState::INVALID_PARAMETER, "new bit must be 0 or 1")),
        };
        out.push_str(&a.get(i)[..at]);
        out.push(new);
        out.push_str(&a.get(i)[at + 1..]);
        Ok(())
    })
}

/// The kernel of a cast from or to bit strings; `None` where the carried values stay as they are.
pub(super) fn cast(from: SqlType, to: SqlType, explicit: bool) -> Result<Option<Kernel>, SqlError> {
    use SqlType::*;
    let is_bits = |t: SqlType| matches!(t, Bit(_) | Varbit(_));
    Ok(match (from, to) {
        (a, Bit(None) | Varbit(None) | Text | Varchar(None)) if is_bits(a) => None,
        (a, Int4 | Int8) if is_bits(a) => Some(number(to)),
        (a, b) if is_bits(a) && is_bits(b) => Some(fitted(b, explicit, false)),
        (a, other) if is_bits(a) => any_cast(Text, other, explicit)?,
        (Int4 | Int8, b) => Some(digits(from, b)),
        (a, b) if a.carrier() == Text => Some(fitted(b, explicit, true)),
        (a, b) => return Err(SqlError::internal(format!("no cast from {a} to {b}"))),
    })
}

/// Bits, or a text that is to be read as such, as what `ty` takes.
fn fitted(ty: SqlType, explicit: bool, read: bool) -> Kernel {
    Box::new(move |args, rows| {
        let a = Str::of(&args[0])?;
        build_text(args, rows, |i, out| {
            let value = if read { bits::parse(a.get(i))? } else { a.get(i).to_string() };
            out.push_str(&bits::fit(ty, value, explicit)?);
            Ok(())
        })
    })
}

/// The lowest bits of an integer, its sign before them; `bit` is `bit(1)`.
fn digits(from: SqlType, to: SqlType) -> Kernel {
    let length = match to {
        SqlType::Bit(Some(n)) => n,
        _ => 1,
    };
    let write = move |v: i64, out: &mut String| {
        (0..length).rev().for_each(|bit| out.push(if v >> bit.min(63) & 1 == 1 { '1' } else { '0' }));
        Ok(())
    };
    match from {
        SqlType::Int4 => Box::new(move |args, rows| {
            let a = Prim::<Int32Type>::of(&args[0])?;
            build_text(args, rows, |i, out| write(a.get(i).into(), out))
        }),
        _ => Box::new(move |args, rows| {
            let a = Prim::<Int64Type>::of(&args[0])?;
            build_text(args, rows, |i, out| write(a.get(i), out))
        }),
    }
}

/// The integer of these bits; `22003` where it has fewer.
fn number(to: SqlType) -> Kernel {
    let width = if to == SqlType::Int4 { 32 } else { 64 };
    let value = move |bits: &str| match bits.len() <= width {
        true => Ok(bits.bytes().fold(0u64, |n, b| n << 1 | u64::from(b == b'1'))),
        false => Err(out_of_range(to)),
    };
    Box::new(move |args, rows| {
        let a = Str::of(&args[0])?;
        let nulls = strict_nulls(args);
        Ok(match to {
            SqlType::Int4 => Arc::new(build::<Int32Type>(rows, nulls, |i| Ok(value(a.get(i))? as u32 as i32))?),
            _ => Arc::new(build::<Int64Type>(rows, nulls, |i| Ok(value(a.get(i))? as i64))?) as ArrayRef,
        })
    })
}
