//! `+ - * / %`, negation and absolute value of numbers; of dates and intervals see `datetime`.

use super::{Kernel, Prim, build, datetime, division_by_zero, downcast, is_exact_number, out_of_range, unsupported};
use crate::value::{Val, strict_nulls};
use arrow::array::{
    Array, ArrayRef, Decimal128Array, Int16Array, Int32Array, Int64Array, LargeBinaryArray, LargeBinaryBuilder,
};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::numeric;
use arrow::datatypes::{ArrowPrimitiveType, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type};
use arrow::error::ArrowError;
use hw_plan::Func;
use hw_repr::numeric::Numeric;
use hw_repr::{SqlError, SqlState, SqlType};
use std::sync::Arc;

/// The kernel of an arithmetic operator.
pub(super) fn kernel(func: Func, types: &[SqlType], ty: SqlType) -> Result<Kernel, SqlError> {
    use SqlType::*;
    match (func, types) {
        (_, [Int2 | Int4 | Int8]) => integer_unary(func, types[0]),
        (_, [Float4 | Float8]) => float_unary(func, types[0]),
        (_, [Numeric(_)]) => Ok(Box::new(move |args, rows| {
            unary_numeric(args, rows, |v| Ok(if func == Func::Neg { v.neg() } else { v.abs() }))
        })),
        (_, [a, b]) if ty == *a && a == b && matches!(a, Int2 | Int4 | Int8) => Ok(integers(func, ty)),
        (_, [Float4, Float4]) => float_kernel::<Float32Type>(func),
        (_, [Float8, Float8]) => float_kernel::<Float64Type>(func),
        (_, [a, b]) if ty == Numeric(None) && is_exact_number(*a) && is_exact_number(*b) => Ok(decimals(func)),
        _ => datetime::arithmetic(func, types).ok_or_else(|| unsupported(func, types)),
    }
}

fn integers(func: Func, ty: SqlType) -> Kernel {
    let op = match func {
        Func::Add => numeric::add,
        Func::Sub => numeric::sub,
        Func::Mul => numeric::mul,
        Func::Div => numeric::div,
        _ => numeric::rem,
    };
    Box::new(move |args, _| {
        op(&args[0], &args[1]).map_err(|e| match e {
            ArrowError::DivideByZero => division_by_zero(),
            ArrowError::ArithmeticOverflow(_) => out_of_range(ty),
            other => SqlError::internal(other.to_string()),
        })
    })
}

fn integer_unary(func: Func, ty: SqlType) -> Result<Kernel, SqlError> {
    fn one<T: ArrowPrimitiveType>(
        args: &[Val],
        rows: usize,
        f: impl Fn(T::Native) -> Option<T::Native>,
        ty: SqlType,
    ) -> Result<ArrayRef, SqlError> {
        let a = Prim::<T>::of(&args[0])?;
        Ok(Arc::new(build::<T>(rows, strict_nulls(args), |i| f(a.get(i)).ok_or_else(|| out_of_range(ty)))?))
    }
    let neg = func == Func::Neg;
    Ok(match ty {
        SqlType::Int2 => Box::new(move |args, rows| {
            one::<Int16Type>(args, rows, |v| if neg { v.checked_neg() } else { v.checked_abs() }, ty)
        }),
        SqlType::Int4 => Box::new(move |args, rows| {
            one::<Int32Type>(args, rows, |v| if neg { v.checked_neg() } else { v.checked_abs() }, ty)
        }),
        _ => Box::new(move |args, rows| {
            one::<Int64Type>(args, rows, |v| if neg { v.checked_neg() } else { v.checked_abs() }, ty)
        }),
    })
}

fn float_unary(func: Func, ty: SqlType) -> Result<Kernel, SqlError> {
    let neg = func == Func::Neg;
    Ok(match ty {
        SqlType::Float4 => Box::new(move |args, rows| {
            let a = Prim::<Float32Type>::of(&args[0])?;
            let f = |i| Ok(if neg { -a.get(i) } else { a.get(i).abs() });
            Ok(Arc::new(build::<Float32Type>(rows, strict_nulls(args), f)?))
        }),
        _ => Box::new(move |args, rows| {
            let a = Prim::<Float64Type>::of(&args[0])?;
            let f = |i| Ok(if neg { -a.get(i) } else { a.get(i).abs() });
            Ok(Arc::new(build::<Float64Type>(rows, strict_nulls(args), f)?))
        }),
    })
}

/// What the float kernels need of `f32` and `f64`.
trait FloatOps: Copy + PartialEq {
    const ZERO: Self;
    fn infinite(self) -> bool;
    fn nan(self) -> bool;
    fn apply(self, func: Func, o: Self) -> Self;
}
macro_rules! float_ops {
    ($t:ty) => {
        impl FloatOps for $t {
            const ZERO: Self = 0.0;
            fn infinite(self) -> bool {
                self.is_infinite()
            }
            fn nan(self) -> bool {
                self.is_nan()
            }
            #[inline]
            fn apply(self, func: Func, o: Self) -> Self {
                match func {
                    Func::Add => self + o,
                    Func::Sub => self - o,
                    Func::Mul => self * o,
                    _ => self / o,
                }
            }
        }
    };
}
float_ops!(f32);
float_ops!(f64);

fn float_kernel<T: ArrowPrimitiveType>(func: Func) -> Result<Kernel, SqlError>
where
    T::Native: FloatOps,
{
    if func == Func::Mod {
        return Err(unsupported(func, &[SqlType::Float8, SqlType::Float8]));
    }
    Ok(Box::new(move |args, rows| {
        let (a, b) = (Prim::<T>::of(&args[0])?, Prim::<T>::of(&args[1])?);
        let product = matches!(func, Func::Mul | Func::Div);
        Ok(Arc::new(build::<T>(rows, strict_nulls(args), |i| {
            let (x, y) = (a.get(i), b.get(i));
            if func == Func::Div && y == T::Native::ZERO && !x.nan() {
                return Err(division_by_zero());
            }
            let r = x.apply(func, y);
            if r.infinite() && !x.infinite() && !y.infinite() {
                return Err(out_of_range(SqlType::Float8));
            }
            let vanished = r == T::Native::ZERO && x != T::Native::ZERO;
            if product && vanished && (if func == Func::Mul { y != T::Native::ZERO } else { !y.infinite() }) {
                return Err(SqlError::new(SqlState::OUT_OF_RANGE, "value out of range: underflow"));
            }
            Ok(r)
        })?))
    }))
}

/// Exact numbers of any carrying type, read one by one.
pub(super) enum Numbers<'a> {
    Int2(&'a Int16Array),
    Int4(&'a Int32Array),
    Int8(&'a Int64Array),
    Decimal(&'a Decimal128Array, i8),
    Bytes(&'a LargeBinaryArray),
    /// A constant, decoded once.
    Const(Numeric),
}

impl<'a> Numbers<'a> {
    pub fn of(v: &'a Val) -> Result<Self, SqlError> {
        use arrow::datatypes::DataType;
        let all = match v.array().data_type() {
            DataType::Int16 => Numbers::Int2(downcast(v)?),
            DataType::Int32 => Numbers::Int4(downcast(v)?),
            DataType::Int64 => Numbers::Int8(downcast(v)?),
            DataType::Decimal128(_, s) => Numbers::Decimal(downcast(v)?, *s),
            _ => Numbers::Bytes(downcast(v)?),
        };
        Ok(if v.is_const() { Numbers::Const(all.get(0)?) } else { all })
    }

    #[inline]
    pub fn get(&self, row: usize) -> Result<Numeric, SqlError> {
        Ok(match self {
            Numbers::Int2(a) => Numeric::from_i64(a.value(row).into()),
            Numbers::Int4(a) => Numeric::from_i64(a.value(row).into()),
            Numbers::Int8(a) => Numeric::from_i64(a.value(row)),
            Numbers::Decimal(a, s) => Numeric::from_decimal(a.value(row), *s)?,
            Numbers::Bytes(a) => Numeric::from_bytes(a.value(row))?,
            Numbers::Const(v) => v.clone(),
        })
    }
}

/// A column of bare numerics, `f` called on the rows that are not NULL only.
pub(super) fn build_numeric(
    rows: usize,
    nulls: Option<NullBuffer>,
    mut f: impl FnMut(usize) -> Result<Numeric, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let mut out = LargeBinaryBuilder::with_capacity(rows, rows * 12);
    let mut bytes = vec![];
    for row in 0..rows {
        if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
            out.append_null();
        } else {
            bytes.clear();
            f(row)?.write_bytes(&mut bytes);
            out.append_value(&bytes);
        }
    }
    Ok(Arc::new(out.finish()))
}

/// A function of one exact number to bare numeric.
pub(super) fn unary_numeric(
    args: &[Val],
    rows: usize,
    f: impl Fn(Numeric) -> Result<Numeric, SqlError>,
) -> Result<ArrayRef, SqlError> {
    let a = Numbers::of(&args[0])?;
    build_numeric(rows, strict_nulls(args), |i| f(a.get(i)?))
}

fn decimals(func: Func) -> Kernel {
    let op = match func {
        Func::Add => Numeric::add,
        Func::Sub => Numeric::sub,
        Func::Mul => Numeric::mul,
        Func::Div => Numeric::div,
        _ => Numeric::rem,
    };
    Box::new(move |args, rows| {
        let (a, b) = (Numbers::of(&args[0])?, Numbers::of(&args[1])?);
        build_numeric(rows, strict_nulls(args), |i| op(&a.get(i)?, &b.get(i)?))
    })
}
