//! Mathematical functions.

use super::arithmetic::unary_numeric;
use super::{Kernel, Prim, build, build_opt, out_of_range, unsupported};
use crate::value::{Val, strict_nulls};
use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::{Float64Type, Int32Type};
use hw_plan::Func;
use hw_repr::numeric::math::{complex_error, log_error, power_error, zero_power_error};
use hw_repr::numeric::{Numeric, integer, math};
use hw_repr::{SqlError, SqlState, SqlType};
use std::sync::Arc;

/// The kernel of a mathematical function.
pub(super) fn kernel(func: Func, types: &[SqlType], _ty: SqlType) -> Result<Kernel, SqlError> {
    Ok(match types {
        [] => Box::new(|_, rows| Ok(Arc::new(Float64Array::from(vec![std::f64::consts::PI; rows])))),
        [SqlType::Float8] => Box::new(move |args, rows| {
            let a = Prim::<Float64Type>::of(&args[0])?;
            Ok(Arc::new(build::<Float64Type>(rows, strict_nulls(args), |i| float(func, a.get(i)))?))
        }),
        [SqlType::Float8, SqlType::Float8] if matches!(func, Func::Power | Func::PowerOf) => Box::new(|args, rows| {
            let (a, b) = (Prim::<Float64Type>::of(&args[0])?, Prim::<Float64Type>::of(&args[1])?);
            Ok(Arc::new(build::<Float64Type>(rows, strict_nulls(args), |i| power(a.get(i), b.get(i)))?))
        }),
        [SqlType::Numeric(_)] if matches!(func, Func::Scale | Func::MinScale) => Box::new(move |args, rows| {
            let a = super::arithmetic::Numbers::of(&args[0])?;
            Ok(Arc::new(build_opt::<Int32Type>(rows, strict_nulls(args), |i| {
                let v = a.get(i)?;
                let v = if func == Func::MinScale { v.normalize() } else { v };
                Ok(v.scale().map(|s| s as i32))
            })?))
        }),
        [SqlType::Numeric(_)] => {
            let op = unary(func).ok_or_else(|| unsupported(func, types))?;
            Box::new(move |args, rows| unary_numeric(args, rows, op))
        }
        [SqlType::Numeric(_), SqlType::Int4] if func == Func::Round => Box::new(|args, rows| digits(args, rows, true)),
        [SqlType::Numeric(_), SqlType::Int4] if func == Func::Trunc => Box::new(|args, rows| digits(args, rows, false)),
        [SqlType::Numeric(_), SqlType::Numeric(_)] => {
            let op: fn(&Numeric, &Numeric) -> Result<Numeric, SqlError> = match func {
                Func::Power | Func::PowerOf => math::power,
                Func::Log => math::log,
                Func::Quotient => Numeric::div_trunc,
                Func::Gcd => integer::gcd,
                Func::Lcm => integer::lcm,
                _ => return Err(unsupported(func, types)),
            };
            Box::new(move |args, rows| {
                let [a, b] = [0, 1].map(|i| super::arithmetic::Numbers::of(&args[i]));
                let (a, b) = (a?, b?);
                super::arithmetic::build_numeric(rows, strict_nulls(args), |i| op(&a.get(i)?, &b.get(i)?))
            })
        }
        _ => return Err(unsupported(func, types)),
    })
}

/// A function from numeric to numeric.
fn unary(func: Func) -> Option<fn(Numeric) -> Result<Numeric, SqlError>> {
    Some(match func {
        Func::Floor => |v| v.floor(),
        Func::Ceil => |v| v.ceil(),
        Func::Round => |v| v.round(0),
        Func::Trunc => |v| v.trunc(0),
        Func::Sign => |v| Ok(if v.is_nan() { v } else { Numeric::from_i64(v.signum().into()) }),
        Func::Sqrt => |v| math::sqrt(&v),
        Func::Exp => |v| math::exp(&v),
        Func::Ln => |v| math::ln(&v),
        Func::Log | Func::Log10 => |v| math::log(&Numeric::from_i64(10), &v),
        Func::TrimScale => |v| Ok(v.normalize()),
        Func::NumericInc => |v| v.add(&Numeric::from_i64(1)),
        _ => return None,
    })
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
        // NaN is neither above nor below zero.
        Func::Sign if v == 0.0 || v.is_nan() => 0.0,
        Func::Sign => v.signum(),
        Func::Sqrt | Func::SquareRoot if v < 0.0 => {
            return Err(power_error("cannot take square root of a negative number"));
        }
        Func::Sqrt | Func::SquareRoot => v.sqrt(),
        Func::Cbrt | Func::CubeRoot => v.cbrt(),
        Func::Ln | Func::Log | Func::Log10 if v == 0.0 => return Err(log_error("cannot take logarithm of zero")),
        Func::Ln | Func::Log | Func::Log10 if v < 0.0 => {
            return Err(log_error("cannot take logarithm of a negative number"));
        }
        Func::Ln => v.ln(),
        Func::Log | Func::Log10 => v.log10(),
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

/// `22003` of a result that is too small.
pub(super) fn underflow() -> SqlError {
    SqlError::new(SqlState::OUT_OF_RANGE, "value out of range: underflow")
}

/// `22003` of an argument for which the function is not defined.
pub(super) fn input_out_of_range() -> SqlError {
    SqlError::new(SqlState::OUT_OF_RANGE, "input is out of range")
}

fn power(a: f64, b: f64) -> Result<f64, SqlError> {
    if a == 0.0 && b < 0.0 {
        return Err(zero_power_error());
    }
    if a < 0.0 && b.floor() != b && !b.is_nan() {
        return Err(complex_error());
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
