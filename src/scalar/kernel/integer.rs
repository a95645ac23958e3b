//! Functions of integers: bits, divisors, factorials, hexadecimal digits; buckets, and sizes in words.

use super::arithmetic::{Numbers, build_numeric};
use super::string::{Str, build_text};
use super::{Kernel, Prim, build, out_of_range, unsupported};
use crate::value::{Val, strict_nulls};
use arrow::array::ArrayRef;
use arrow::datatypes::{ArrowPrimitiveType, Float64Type, Int16Type, Int32Type, Int64Type};
use hw_plan::Func;
use hw_repr::numeric::{Numeric, integer};
use hw_repr::{SqlError, SqlState, SqlType};
use std::fmt::Write;
use std::sync::Arc;

/// The kernel of a function of integers.
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> {
    use SqlType::*;
    Ok(match (func, types) {
        (Func::ToHex, [Int4]) => Box::new(|args, rows| {
            let a = Prim::<Int32Type>::of(&args[0])?;
            build_text(args, rows, |i, out| hex(format_args!("{:x}", a.get(i)), out))
        }),
        (Func::ToHex, [Int8]) => Box::new(|args, rows| {
            let a = Prim::<Int64Type>::of(&args[0])?;
            build_text(args, rows, |i, out| hex(format_args!("{:x}", a.get(i)), out))
        }),
        (Func::Factorial, [Int8]) => Box::new(|args, rows| {
            let a = Prim::<Int64Type>::of(&args[0])?;
            build_numeric(rows, strict_nulls(args), |i| integer::factorial(a.get(i)))
        }),
        (Func::WidthBucket, [Float8, ..]) => Box::new(float_buckets),
        (Func::WidthBucket, [Numeric(_), ..]) => Box::new(numeric_buckets),
        (_, [Int2, ..]) => bits::<Int16Type>(func, Int2),
        (_, [Int4, ..]) => bits::<Int32Type>(func, Int4),
        (_, [Int8, ..]) => bits::<Int64Type>(func, Int8),
        _ => return Err(unsupported(func, types)),
    })
}

fn hex(digits: std::fmt::Arguments<'_>, out: &mut String) -> Result<(), SqlError> {
    out.write_fmt(digits).map_err(|e| SqlError::internal(e.to_string()))
}

/// What the kernels need of the integer types.
trait Bits: Copy + Send + Sync + 'static {
    fn wide(self) -> i64;
    fn narrow(v: i128) -> Option<Self>;
    fn shl(self, by: i32) -> Self;
    fn shr(self, by: i32) -> Self;
}
macro_rules! bits {
    ($t:ty, $carrier:ty) => {
        impl Bits for $t {
            fn wide(self) -> i64 {
                self.into()
            }
            fn narrow(v: i128) -> Option<Self> {
                <$t>::try_from(v).ok()
            }
            // A distance counts modulo the width of the machine's word, as in PostgreSQL.
            fn shl(self, by: i32) -> Self {
                <$carrier>::from(self).wrapping_shl(by as u32) as $t
            }
            fn shr(self, by: i32) -> Self {
                <$carrier>::from(self).wrapping_shr(by as u32) as $t
            }
        }
    };
}
bits!(i16, i32);
bits!(i32, i32);
bits!(i64, i64);

fn bits<T: ArrowPrimitiveType>(func: Func, ty: SqlType) -> Kernel
where
    T::Native: Bits,
{
    let narrow = move |v: i128| T::Native::narrow(v).ok_or_else(|| out_of_range(ty));
    match func {
        Func::BitNot => Box::new(move |args, rows| {
            let a = Prim::<T>::of(&args[0])?;
            Ok(Arc::new(build::<T>(rows, strict_nulls(args), |i| narrow((!a.get(i).wide()).into()))?))
        }),
        Func::ShiftLeft | Func::ShiftRight => Box::new(move |args, rows| {
            let (a, by) = (Prim::<T>::of(&args[0])?, Prim::<Int32Type>::of(&args[1])?);
            let left = func == Func::ShiftLeft;
            Ok(Arc::new(build::<T>(rows, strict_nulls(args), |i| {
                Ok(if left { a.get(i).shl(by.get(i)) } else { a.get(i).shr(by.get(i)) })
            })?))
        }),
        _ => Box::new(move |args, rows| {
            let (a, b) = (Prim::<T>::of(&args[0])?, Prim::<T>::of(&args[1])?);
            Ok(Arc::new(build::<T>(rows, strict_nulls(args), |i| {
                let (x, y) = (a.get(i).wide(), b.get(i).wide());
                match func {
                    Func::BitAnd => narrow((x & y).into()),
                    Func::BitOr => narrow((x | y).into()),
                    Func::BitXor => narrow((x ^ y).into()),
                    Func::Gcd => narrow(divisor(x, y)),
                    _ => narrow(multiple(x, y)),
                }
            })?))
        }),
    }
}

fn divisor(a: i64, b: i64) -> i128 {
    let (mut a, mut b) = (i128::from(a).abs(), i128::from(b).abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn multiple(a: i64, b: i64) -> i128 {
    match divisor(a, b) {
        0 => 0,
        d => (i128::from(a) / d * i128::from(b)).abs(),
    }
}

fn numeric_buckets(args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let [v, low, high] = [Numbers::of(&args[0])?, Numbers::of(&args[1])?, Numbers::of(&args[2])?];
    let count = Prim::<Int32Type>::of(&args[3])?;
    Ok(Arc::new(build::<Int32Type>(rows, strict_nulls(args), |i| {
        integer::width_bucket(&v.get(i)?, &low.get(i)?, &high.get(i)?, count.get(i))
    })?))
}

fn float_buckets(args: &[Val], rows: usize) -> Result<ArrayRef, SqlError> {
    let (v, low) = (Prim::<Float64Type>::of(&args[0])?, Prim::<Float64Type>::of(&args[1])?);
    let (high, count) = (Prim::<Float64Type>::of(&args[2])?, Prim::<Int32Type>::of(&args[3])?);
    Ok(Arc::new(build::<Int32Type>(rows, strict_nulls(args), |i| {
        float_bucket(v.get(i), low.get(i), high.get(i), count.get(i))
    })?))
}

fn float_bucket(v: f64, low: f64, high: f64, count: i32) -> Result<i32, SqlError> {
    if count <= 0 {
        return Err(integer::bucket_error("count must be greater than zero"));
    }
    if v.is_nan() || low.is_nan() || high.is_nan() {
        return Err(integer::bucket_error("operand, lower bound, and upper bound cannot be NaN"));
    }
    if low.is_infinite() || high.is_infinite() {
        return Err(integer::bucket_error("lower and upper bounds must be finite"));
    }
    if low == high {
        return Err(integer::bucket_error("lower bound cannot equal upper bound"));
    }
    let (before, beyond) = if low < high { (v < low, v >= high) } else { (v > low, v <= high) };
    if before {
        return Ok(0);
    }
    if beyond {
        return count.checked_add(1).ok_or_else(|| out_of_range(SqlType::Int4));
    }
    let share = match (high - low).is_infinite() {
        false => (v - low) / (high - low),
        true => (v / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0),
    };
    // Rounding may reach the upper bound.
    let bucket = (f64::from(count) * share) as i32;
    Ok(bucket.min(count - 1) + 1)
}

/// Units of sizes, and the power of two each is.
const UNITS: [(&str, u32); 6] = [("bytes", 0), ("kB", 10), ("MB", 20), ("GB", 30), ("TB", 40), ("PB", 50)];

/// The kernel of `pg_size_pretty`.
pub(super) fn size_pretty() -> Kernel {
    Box::new(|args, rows| {
        let a = Numbers::of(&args[0])?;
        build_text(args, rows, |i, out| pretty(&a.get(i)?, out))
    })
}

/// Below ten times 1024 of a unit it is shown in that unit; greater ones halve half-units, rounding up.
fn pretty(size: &Numeric, out: &mut String) -> Result<(), SqlError> {
    let limit = Numeric::from_i64(10 * 1024);
    let double_limit = Numeric::from_i64(20 * 1024 - 1);
    let mut size = size.clone();
    for (i, (unit, bits)) in UNITS.iter().enumerate() {
        let half = i > 0;
        let below = size.abs().cmp_value(if half { &double_limit } else { &limit }).is_lt();
        if below || i + 1 == UNITS.len() {
            if half && size.is_finite() {
                let one = Numeric::from_i64(if size.signum() < 0 { -1 } else { 1 });
                size = size.add(&one)?.div_trunc(&Numeric::from_i64(2))?;
            }
            return write!(out, "{size} {unit}").map_err(|e| SqlError::internal(e.to_string()));
        }
        // In halves of the next unit.
        let shift = UNITS[i + 1].1 - bits - u32::from(!half);
        size = size.div_trunc(&Numeric::from_i64(1 << shift))?;
    }
    Ok(())
}

/// The kernel of `pg_size_bytes`.
pub(super) fn size_bytes() -> Kernel {
    Box::new(|args, rows| {
        let a = Str::of(&args[0])?;
        Ok(Arc::new(build::<Int64Type>(rows, strict_nulls(args), |i| bytes_of(a.get(i)))?))
    })
}

fn bytes_of(text: &str) -> Result<i64, SqlError> {
    let invalid = || SqlError::new(SqlState::INVALID_PARAMETER, format!("invalid size: \"{text}\""));
    let body = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let sign = usize::from(body.starts_with(['-', '+']));
    let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
    let mut end = sign + digits(&body[sign..]);
    let mut any = end > sign;
    if body[end..].starts_with('.') {
        let decimals = digits(&body[end + 1..]);
        any |= decimals > 0;
        end += 1 + decimals;
    }
    if !any {
        return Err(invalid());
    }
    if body[end..].starts_with(['e', 'E']) {
        let exponent = &body[end + 1..];
        let exponent_sign = usize::from(exponent.starts_with(['-', '+']));
        let len = digits(&exponent[exponent_sign..]);
        if len > 0 {
            end += 1 + exponent_sign + len;
        }
    }
    let number = Numeric::parse(&body[..end])?;
    let unit = body[end..].trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let known = |name: &str| UNITS.iter().find(|(u, _)| u.eq_ignore_ascii_case(name)).map(|(_, bits)| *bits);
    let bits = match unit {
        "" => 0,
        name => known(name).ok_or_else(|| {
            invalid()
                .detail(format!("Invalid size unit: \"{unit}\"."))
                .hint("Valid units are \"bytes\", \"kB\", \"MB\", \"GB\", \"TB\", and \"PB\".")
        })?,
    };
    number.mul(&Numeric::from_i64(1 << bits))?.to_i64()
}
