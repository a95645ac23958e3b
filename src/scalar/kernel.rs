//! The kernels: one function over columns per function and argument types.
//!
//! A kernel of a strict function is never called with a constant NULL, and must not fail on a row where a column
//! argument is NULL. With only constants it is called on columns of one row.

mod arithmetic;
pub(crate) mod array;
mod bits;
mod bytes;
mod cast;
mod compare;
pub(crate) mod datetime;
mod extract;
mod hashing;
mod integer;
mod json;
mod like;
mod moment;
mod number;
mod number_format;
mod pattern;
mod quote;
mod row;
mod string;
mod subquery;
mod template;
mod text;
mod timetz;
mod trigonometry;
pub(crate) mod variadic;
mod zones;

use crate::resolve::is_comparison;
use crate::value::Val;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
pub(crate) use cast::{cast, cast_may_fail};
use hw_plan::{Func, ScalarExpr};
use hw_repr::{Datum, SqlError, SqlState, SqlType};

/// A function over columns: arguments and how many rows.
pub(crate) type Kernel = Box<dyn Fn(&[Val], usize) -> Result<ArrayRef, SqlError> + Send + Sync>;

/// The kernel of a function for these argument types.
pub(crate) fn call(func: Func, types: &[SqlType], ty: SqlType) -> Result<Kernel, SqlError> {
    // Kernels know the types that carry values, and json and arrays by their own names.
    let own = |t: SqlType| {
        use SqlType::*;
        matches!(t, Json | Array(_) | Numeric(_) | Char(_) | Enum(_) | Row(_) | TimeTz)
    };
    let carried = |t: SqlType| if t.without_modifier() == SqlType::TimeTz { SqlType::TimeTz } else { t.carrier() };
    if matches!(types.first(), Some(SqlType::Bit(_) | SqlType::Varbit(_)))
        && let Some(kernel) = bits::kernel(func)
    {
        return Ok(kernel);
    }
    let seen: Vec<SqlType> = types.iter().map(|t| if own(*t) { *t } else { carried(*t) }).collect();
    let types = seen.as_slice();
    if let Some(kernel) = of_numbers(func, types, ty) {
        return kernel;
    }
    match func {
        f if variadic::inner(f).is_some() => variadic::kernel(func, types, ty),
        f if row::FUNCTIONS.contains(&f) => row::kernel(func, types, ty),
        Func::Add | Func::Sub | Func::Timezone if types.contains(&SqlType::TimeTz) => timetz::kernel(func, types),
        f if array::is_array_function(f) => array::kernel(func, types, ty),
        // jsonb has operators of these names too.
        Func::Sub | Func::Concat if types.first() == Some(&SqlType::Jsonb) => json::kernel(func, types),
        Func::Add | Func::Sub | Func::Mul | Func::Div | Func::Mod | Func::Neg | Func::Abs => {
            arithmetic::kernel(func, types, ty)
        }
        f if is_comparison(f) => compare::kernel(func, types),
        Func::Greatest | Func::Least | Func::NullIf => compare::choice_kernel(func, types),
        Func::SingleRow => subquery::kernel(types),
        Func::DateTrunc | Func::DateBin | Func::ToTimestamp | Func::ToDate => datetime::kernel(func, types),
        Func::Extract | Func::DatePart => extract::kernel(func, types),
        Func::ToChar => template::write::kernel(types),
        Func::Timezone => zones::kernel(types),
        f if is_moment(f) => moment::kernel(func, types),
        f if json::FUNCTIONS.contains(&f) => json::kernel(func, types),
        f if hashing::is_hash(f) => hashing::kernel(func, types),
        // Text, regular expressions and bytea.
        Func::Like | Func::ILike | Func::LikeEscape => like::kernel(func, types),
        Func::RegexMatch
        | Func::RegexIMatch
        | Func::RegexpReplace
        | Func::RegexpLike
        | Func::RegexpCount
        | Func::RegexpInstr
        | Func::RegexpSubstr
        | Func::RegexpMatch
        | Func::RegexpMatches
        | Func::RegexpSplitToArray
        | Func::RegexpSplitToTable
        | Func::SimilarToEscape => pattern::kernel(func, types),
        Func::Substring if types.get(1) == Some(&SqlType::Text) => pattern::kernel(func, types),
        Func::QuoteIdent | Func::QuoteLiteral | Func::QuoteNullable | Func::Format | Func::ParseIdent => {
            quote::kernel(func, types)
        }
        f if is_of_bytes(f, types) => bytes::kernel(func, types),
        f if text::FUNCTIONS.contains(&f) => text::kernel(func, types),
        _ => string::kernel(func, types),
    }
}

/// The kernel of a function of mathematics, bits or templates of numbers; `None` where it is none of these.
fn of_numbers(func: Func, types: &[SqlType], ty: SqlType) -> Option<Result<Kernel, SqlError>> {
    Some(match func {
        Func::Floor
        | Func::Ceil
        | Func::Round
        | Func::Trunc
        | Func::Sqrt
        | Func::Power
        | Func::Exp
        | Func::Ln
        | Func::Sign
        | Func::PowerOf
        | Func::SquareRoot
        | Func::CubeRoot
        | Func::Cbrt
        | Func::Log
        | Func::Log10
        | Func::Pi
        | Func::Quotient
        | Func::Scale
        | Func::MinScale
        | Func::TrimScale
        | Func::NumericInc => number::kernel(func, types, ty),
        Func::Gcd | Func::Lcm if matches!(types, [SqlType::Numeric(_), _]) => number::kernel(func, types, ty),
        Func::Gcd
        | Func::Lcm
        | Func::Factorial
        | Func::WidthBucket
        | Func::BitAnd
        | Func::BitOr
        | Func::BitXor
        | Func::BitNot
        | Func::ShiftLeft
        | Func::ShiftRight
        | Func::ToHex => integer::kernel(func, types),
        Func::Sin
        | Func::Cos
        | Func::Tan
        | Func::Cot
        | Func::Asin
        | Func::Acos
        | Func::Atan
        | Func::Atan2
        | Func::Sind
        | Func::Cosd
        | Func::Tand
        | Func::Cotd
        | Func::Asind
        | Func::Acosd
        | Func::Atand
        | Func::Atan2d
        | Func::Sinh
        | Func::Cosh
        | Func::Tanh
        | Func::Asinh
        | Func::Acosh
        | Func::Atanh
        | Func::Degrees
        | Func::Radians => Ok(trigonometry::kernel(func)),
        Func::SizePretty => Ok(integer::size_pretty()),
        Func::SizeBytes => Ok(integer::size_bytes()),
        Func::ToNumber => Ok(number_format::to_number()),
        Func::ToChar if number_format::formats(types) => number_format::to_char(types),
        _ => return None,
    })
}

/// Whether a call is one of [`bytes`].
fn is_of_bytes(func: Func, types: &[SqlType]) -> bool {
    let other = matches!(func, Func::Md5 | Func::ConcatFn | Func::ConcatWs | Func::NumNulls | Func::NumNonnulls);
    !other && types.first() == Some(&SqlType::Bytea) || matches!(func, Func::Decode | Func::ConvertTo)
}

/// Whether a function makes, compares or straightens moments and intervals.
fn is_moment(func: Func) -> bool {
    matches!(
        func,
        Func::MakeDate
            | Func::MakeTime
            | Func::MakeTimestamp
            | Func::MakeTimestampTz
            | Func::MakeInterval
            | Func::Age
            | Func::JustifyHours
            | Func::JustifyDays
            | Func::JustifyInterval
            | Func::IsFinite
            | Func::Overlaps
            | Func::DateLarger
            | Func::DateSmaller
            | Func::TimeLarger
            | Func::TimeSmaller
            | Func::TimestampLarger
            | Func::TimestampSmaller
            | Func::TimestampTzLarger
            | Func::TimestampTzSmaller
            | Func::IntervalLarger
            | Func::IntervalSmaller
    )
}

/// The refusal of a call that PostgreSQL has and we do not.
pub(crate) fn unsupported(func: Func, types: &[SqlType]) -> SqlError {
    let names: Vec<String> = types.iter().map(|t| t.to_string()).collect();
    SqlError::unsupported(format!("{}({}) is not supported", func.name(), names.join(", ")))
        .hint("Cast the arguments to types that the function supports.")
}

/// Whether a NULL argument makes the result NULL.
pub fn is_strict(func: Func) -> bool {
    array::is_strict(func)
        && !matches!(func, Func::NotDistinct | Func::ConcatFn | Func::Greatest | Func::Least | Func::NullIf)
        && !matches!(func, Func::Overlaps | Func::SingleRow)
        && (func == Func::RowField || !row::FUNCTIONS.contains(&func))
        // Text.
        && !matches!(
            func,
            Func::ConcatWs
                | Func::Format
                | Func::QuoteNullable
                | Func::NumNulls
                | Func::NumNonnulls
                | Func::ToJsonb
                | Func::JsonBuildArray
                | Func::JsonBuildObject
                | Func::JsonSetLax
                | Func::ToJson
                | Func::JsonTextBuildArray
                | Func::JsonTextBuildObject
        )
}

/// Whether the kernel of bare numeric also takes integers and fixed-point columns.
pub(crate) fn reads_any_number(func: Func) -> bool {
    matches!(
        func,
        Func::Add
            | Func::Sub
            | Func::Mul
            | Func::Div
            | Func::Mod
            | Func::Eq
            | Func::Ne
            | Func::Lt
            | Func::Le
            | Func::Gt
            | Func::Ge
    )
}

/// A type whose values a numeric kernel reads without loss.
pub(crate) fn is_exact_number(t: SqlType) -> bool {
    matches!(t, SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Numeric(_))
}

/// Whether a call itself, its arguments aside, can fail.
pub(crate) fn call_may_fail(func: Func, args: &[ScalarExpr]) -> bool {
    match func {
        f if is_comparison(f) => false,
        f if array::is_array_function(f) => array::may_fail(f),
        Func::Div | Func::Mod => !args.get(1).is_some_and(is_safe_divisor),
        Func::Neg | Func::Abs => {
            args.first().is_none_or(|a| !matches!(a.ty(), SqlType::Float4 | SqlType::Float8 | SqlType::Numeric(_)))
        }
        Func::Lower
        | Func::Upper
        | Func::Length
        | Func::OctetLength
        | Func::Btrim
        | Func::Ltrim
        | Func::Rtrim
        | Func::Strpos
        | Func::Left
        | Func::Right
        | Func::Reverse
        | Func::StartsWith
        | Func::ConcatFn
        | Func::Md5
        | Func::Greatest
        | Func::Least
        | Func::NullIf
        | Func::Sign
        | Func::IsFinite
        | Func::JsonGet
        | Func::JsonContains
        | Func::JsonContained
        | Func::JsonExists
        | Func::JsonStripNulls
        | Func::JsonPretty
        | Func::JsonTypeof => false,
        Func::Concat => false,
        // json, unlike jsonb, may hold a character that no text can.
        Func::JsonGetText => args.first().is_none_or(|a| a.ty() != SqlType::Jsonb),
        Func::Floor | Func::Ceil | Func::Round | Func::Trunc => args.first().is_none_or(|a| a.ty() != SqlType::Float8),
        Func::Like | Func::ILike => {
            !matches!(args.get(1), Some(ScalarExpr::Literal(Datum::Text(p), _)) if !like::is_open(p))
        }
        // A pattern that compiles now does for every row, unless back references make the search too long.
        Func::RegexMatch | Func::RegexIMatch => !matches!(
            args.get(1),
            Some(ScalarExpr::Literal(Datum::Text(p), _)) if pattern::always_searches(p)
        ),
        // Text and bytea.
        Func::Ascii
        | Func::Initcap
        | Func::Translate
        | Func::QuoteIdent
        | Func::QuoteLiteral
        | Func::QuoteNullable
        | Func::ConcatWs
        | Func::Position
        | Func::NumNulls
        | Func::NumNonnulls
        | Func::BitCount
        | Func::Sha224
        | Func::Sha256
        | Func::Sha384
        | Func::Sha512 => false,
        f if hashing::is_hash(f) => false,
        _ => true,
    }
}

/// A literal integer by which every integer can be divided.
fn is_safe_divisor(e: &ScalarExpr) -> bool {
    match e {
        ScalarExpr::Literal(d, _) => match d {
            Datum::Int2(v) => !matches!(v, 0 | -1),
            Datum::Int4(v) => !matches!(v, 0 | -1),
            Datum::Int8(v) => !matches!(v, 0 | -1),
            _ => false,
        },
        _ => false,
    }
}

/// The values of a primitive argument, a constant too: `values[row & mask]`.
pub(crate) struct Prim<'a, T: ArrowPrimitiveType> {
    pub values: &'a [T::Native],
    mask: usize,
}

impl<'a, T: ArrowPrimitiveType> Prim<'a, T> {
    pub fn of(v: &'a Val) -> Result<Self, SqlError> {
        let a = downcast::<PrimitiveArray<T>>(v)?;
        Ok(Prim { values: a.values(), mask: v.mask() })
    }

    #[inline]
    pub fn get(&self, row: usize) -> T::Native {
        self.values[row & self.mask]
    }
}

/// The array of an argument as what its type says it is.
pub(crate) fn downcast<A: Array + 'static>(v: &Val) -> Result<&A, SqlError> {
    let array = v.array();
    array.as_any().downcast_ref::<A>().ok_or_else(|| {
        SqlError::internal(format!("a kernel for {} got {}", std::any::type_name::<A>(), array.data_type()))
    })
}

/// A primitive column, `f` called on the rows that are not NULL only.
pub(crate) fn build<T: ArrowPrimitiveType>(
    rows: usize,
    nulls: Option<NullBuffer>,
    mut f: impl FnMut(usize) -> Result<T::Native, SqlError>,
) -> Result<PrimitiveArray<T>, SqlError> {
    let mut out = Vec::with_capacity(rows);
    match &nulls {
        None => {
            for row in 0..rows {
                out.push(f(row)?);
            }
        }
        Some(n) => {
            for row in 0..rows {
                out.push(if n.is_valid(row) { f(row)? } else { T::Native::default() });
            }
        }
    }
    Ok(PrimitiveArray::new(ScalarBuffer::from(out), nulls))
}

/// As [`build`], where `f` may also give NULL.
pub(crate) fn build_opt<T: ArrowPrimitiveType>(
    rows: usize,
    nulls: Option<NullBuffer>,
    mut f: impl FnMut(usize) -> Result<Option<T::Native>, SqlError>,
) -> Result<PrimitiveArray<T>, SqlError> {
    let mut out = arrow::array::PrimitiveBuilder::<T>::with_capacity(rows);
    for row in 0..rows {
        match nulls.as_ref().is_none_or(|n| n.is_valid(row)) {
            true => out.append_option(f(row)?),
            false => out.append_null(),
        }
    }
    Ok(out.finish())
}

/// `22003` with PostgreSQL's words.
pub(crate) fn out_of_range(t: SqlType) -> SqlError {
    let message = match t {
        SqlType::Date => "date out of range".to_string(),
        SqlType::Timestamp | SqlType::TimestampTz => "timestamp out of range".to_string(),
        SqlType::Interval => "interval out of range".to_string(),
        SqlType::Float4 | SqlType::Float8 => "value out of range: overflow".to_string(),
        SqlType::Numeric(_) => "value overflows numeric format".to_string(),
        other => format!("{other} out of range"),
    };
    let code = match t {
        SqlType::Date | SqlType::Timestamp | SqlType::TimestampTz | SqlType::Interval => SqlState::DATETIME_OVERFLOW,
        _ => SqlState::OUT_OF_RANGE,
    };
    SqlError::new(code, message)
}

/// `22012`.
pub(crate) fn division_by_zero() -> SqlError {
    SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero")
}
