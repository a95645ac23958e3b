//! Mathematical functions.

use super::arithmetic::unary_numeric;
use super::{Kernel, Prim, build, out_of_range, unsupported};
use crate::value::{Val, strict_nulls};
use arrow::array::ArrayRef;
use arrow::datatypes::{Float64Type, Int32Type};
use hw_plan::Func;
use hw_repr::numeric::Numeric;
use hw_repr::{SqlError, SqlState, SqlType};
use std::sync::Arc;

/// The kernel of a mathematical function.
pub(super) fn kernel(func: Func, types: &[SqlType], _ty: SqlType) -> Result<Kernel, SqlError> {
    match types {
        [SqlType::Float8] => Ok(Box::new(move |args, rows| {
            let a = Prim::<Float64Type>::of(&args[0])?;
            Ok(Arc::new(build::<Float64Type>(rows, strict_nulls(args), |i| float(func, a.get(i)))?))
        })),
        [SqlType::Float8, SqlType::Float8] if func == Func::Power => Ok(Box::new(|args, rows| {
            let (a, b) = (Prim::<Float64Type>::of(&args[0])?, Prim::<Float64Type>::of(&args[1])?);
            Ok(Arc::new(build::<Float64Type>(rows, strict_nulls(args), |i| power(a.get(i), b.get(i)))?))
        })),
        [SqlType::Numeric(_)] => {
            let op: fn(Numeric) -> Result<Numeric, SqlError> = match func {
                Func::Floor => |v| v.floor(),
                Func::Ceil => |v| v.ceil(),
                Func::Round => |v| v.round(0),
                Func::Trunc => |v| v.trunc(0),
                Func::Sign => |v| Ok(Numeric::from_i64(v.signum().into())),
                _ => return Err(unsupported(func, types).hint("Cast the argument to double precision.")),
            };
            Ok(Box::new(move |args, rows| unary_numeric(args, rows, op)))
        }
        [SqlType::Numeric(_), SqlType::Int4] if func == Func::Round => {
            Ok(Box::new(|args, rows| digits(args, rows, true)))
        }
        [SqlType::Numeric(_), SqlType::Int4] if func == Func::Trunc => {
            Ok(Box::new(|args, rows| digits(args, rows, false)))
        }
        _ => Err(unsupported(func, types).hint("Cast the arguments to double precision.")),
    }
}

fn digits(args: &[Val], rows: usize, round: bool) -> Result<ArrayRef, SqlError> {
    let a = super::arithmetic::Numbers::of(&args[0])?;
    let n = Prim::<Int32Type>::of(&args[1])?;
    super::arithmetic::build_numeric(rows, strict_nulls(args), |i| {
        let v = a.get(i)?;
        if round { v.round(n.get(i)) } else { v.trunc(n.get(i)) }
    })
}

fn float(func: Func, v: f64) -> Result<f64, SqlError> {
    Ok(match func {
        Func::Floor => v.floor(),
        Func::Ceil => v.ceil(),
        Func::Round => v.round_ties_even(),
        Func::Trunc => v.trunc(),
        Func::Sign if v.is_nan() => v,
        Func::Sign if v == 0.0 => 0.0,
        Func::Sign => v.signum(),
        Func::Sqrt if v < 0.0 => return Err(power_error("cannot take square root of a negative number")),
        Func::Sqrt => v.sqrt(),
        Func::Ln if v == 0.0 => return Err(log_error("cannot take logarithm of zero")),
        Func::Ln if v < 0.0 => return Err(log_error("cannot take logarithm of a negative number")),
        Func::Ln => v.ln(),
        _ => {
            let r = v.exp();
            if r.is_infinite() && !v.is_infinite() {
                return Err(out_of_range(SqlType::Float8));
            }
            if r == 0.0 && !v.is_infinite() {
                return Err(underflow());
            }
            r
        }
    })
}

fn power_error(message: &str) -> SqlError {
    SqlError::new(SqlState::new("2201F"), message)
}

fn log_error(message: &str) -> SqlError {
    SqlError::new(SqlState::new("2201E"), message)
}

fn underflow() -> SqlError {
    SqlError::new(SqlState::OUT_OF_RANGE, "value out of range: underflow")
}

fn power(a: f64, b: f64) -> Result<f64, SqlError> {
    if a == 0.0 && b < 0.0 {
        return Err(power_error("zero raised to a negative power is undefined"));
    }
    if a < 0.0 && a.is_finite() && b.is_finite() && b.fract() != 0.0 {
        return Err(power_error("a negative number raised to a non-integer power yields a complex result"));
    }
    let r = a.powf(b);
    if a.is_finite() && b.is_finite() {
        if r.is_infinite() {
            return Err(out_of_range(SqlType::Float8));
        }
        if r == 0.0 && a != 0.0 {
            return Err(underflow());
        }
    }
    Ok(r)
}
