//! Angles: trigonometric functions of radians and, exact where the angle is, of degrees; hyperbolic functions.

use super::number::{input_out_of_range, underflow};
use super::{Kernel, Prim, build, out_of_range};
use crate::value::strict_nulls;
use arrow::datatypes::Float64Type;
use hw_plan::Func;
use hw_repr::{SqlError, SqlType};
use std::sync::Arc;

const RADIANS_PER_DEGREE: f64 = 0.017_453_292_519_943_295;

/// The kernel of a function of one or two angles or ratios.
pub(super) fn kernel(func: Func) -> Kernel {
    if matches!(func, Func::Atan2 | Func::Atan2d) {
        return Box::new(move |args, rows| {
            let (a, b) = (Prim::<Float64Type>::of(&args[0])?, Prim::<Float64Type>::of(&args[1])?);
            Ok(Arc::new(build::<Float64Type>(rows, strict_nulls(args), |i| {
                let angle = a.get(i).atan2(b.get(i));
                Ok(if func == Func::Atan2 { angle } else { angle / 1f64.atan() * 45.0 })
            })?))
        });
    }
    Box::new(move |args, rows| {
        let a = Prim::<Float64Type>::of(&args[0])?;
        Ok(Arc::new(build::<Float64Type>(rows, strict_nulls(args), |i| one(func, a.get(i)))?))
    })
}

fn one(func: Func, v: f64) -> Result<f64, SqlError> {
    if v.is_nan() {
        return Ok(f64::NAN);
    }
    let periodic = matches!(
        func,
        Func::Sin | Func::Cos | Func::Tan | Func::Cot | Func::Sind | Func::Cosd | Func::Tand | Func::Cotd
    );
    let bounded = match func {
        Func::Asin | Func::Acos | Func::Asind | Func::Acosd | Func::Atanh => v.abs() <= 1.0,
        Func::Acosh => v >= 1.0,
        _ => !(periodic && v.is_infinite()),
    };
    if !bounded {
        return Err(input_out_of_range());
    }
    Ok(match func {
        Func::Sin => v.sin(),
        Func::Cos => v.cos(),
        Func::Tan => v.tan(),
        Func::Cot => 1.0 / v.tan(),
        Func::Asin => v.asin(),
        Func::Acos => v.acos(),
        Func::Atan => v.atan(),
        Func::Sind => sind(v),
        Func::Cosd => cosd(v),
        Func::Tand => without_minus_zero(tand(v)),
        Func::Cotd => without_minus_zero(cotd(v)),
        Func::Asind if v < 0.0 => -asind_positive(-v),
        Func::Asind => asind_positive(v),
        Func::Acosd if v < 0.0 => 90.0 + asind_positive(-v),
        Func::Acosd => acosd_positive(v),
        Func::Atand => v.atan() / 1f64.atan() * 45.0,
        Func::Sinh => v.sinh(),
        Func::Cosh => v.cosh(),
        Func::Tanh => v.tanh(),
        Func::Asinh => v.asinh(),
        Func::Acosh => v.acosh(),
        Func::Atanh => v.atanh(),
        Func::Degrees => in_range(v, v / RADIANS_PER_DEGREE)?,
        _ => in_range(v, v * RADIANS_PER_DEGREE)?,
    })
}

fn in_range(v: f64, r: f64) -> Result<f64, SqlError> {
    if r.is_infinite() && !v.is_infinite() {
        return Err(out_of_range(SqlType::Float8));
    }
    if r == 0.0 && v != 0.0 {
        return Err(underflow());
    }
    Ok(r)
}

fn without_minus_zero(v: f64) -> f64 {
    if v == 0.0 { 0.0 } else { v }
}

/// From 0 to 30 degrees, exact at both ends.
fn sin_to_30(x: f64) -> f64 {
    let half = (30.0 * RADIANS_PER_DEGREE).sin();
    (x * RADIANS_PER_DEGREE).sin() / half / 2.0
}

/// From 0 to 60 degrees, exact at both ends.
fn cos_to_60(x: f64) -> f64 {
    let half = 1.0 - (60.0 * RADIANS_PER_DEGREE).cos();
    1.0 - (1.0 - (x * RADIANS_PER_DEGREE).cos()) / half / 2.0
}

/// From 0 to 90 degrees.
fn sin_quarter(x: f64) -> f64 {
    if x <= 30.0 { sin_to_30(x) } else { cos_to_60(90.0 - x) }
}

/// From 0 to 90 degrees.
fn cos_quarter(x: f64) -> f64 {
    if x <= 60.0 { cos_to_60(x) } else { sin_to_30(90.0 - x) }
}

/// An angle folded into the first quarter, with how often it was mirrored at 0 or 360, and at 90.
fn fold(v: f64) -> (f64, f64, f64) {
    let (mut x, mut around, mut across) = (v % 360.0, 1.0, 1.0);
    if x < 0.0 {
        (x, around) = (-x, -around);
    }
    if x > 180.0 {
        (x, around) = (360.0 - x, -around);
    }
    if x > 90.0 {
        (x, across) = (180.0 - x, -across);
    }
    (x, around, across)
}

fn sind(v: f64) -> f64 {
    let (x, around, _) = fold(v);
    around * sin_quarter(x)
}

fn cosd(v: f64) -> f64 {
    let (x, _, across) = fold(v);
    across * cos_quarter(x)
}

fn tand(v: f64) -> f64 {
    let (x, around, across) = fold(v);
    around * across * (sin_quarter(x) / cos_quarter(x) / (sin_quarter(45.0) / cos_quarter(45.0)))
}

fn cotd(v: f64) -> f64 {
    let (x, around, across) = fold(v);
    around * across * (cos_quarter(x) / sin_quarter(x) / (cos_quarter(45.0) / sin_quarter(45.0)))
}

/// Of ratios from 0 to 1, exact at 0, 1/2 and 1.
fn asind_positive(x: f64) -> f64 {
    match x <= 0.5 {
        true => x.asin() / 0.5f64.asin() * 30.0,
        false => 90.0 - x.acos() / 0.5f64.acos() * 60.0,
    }
}

/// Of ratios from 0 to 1, exact at 0, 1/2 and 1.
fn acosd_positive(x: f64) -> f64 {
    match x <= 0.5 {
        true => 90.0 - x.asin() / 0.5f64.asin() * 30.0,
        false => x.acos() / 0.5f64.acos() * 60.0,
    }
}
