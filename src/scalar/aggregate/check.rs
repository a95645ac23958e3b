//! Which arguments an aggregate takes, and what it gives.

use hw_plan::{Aggregate, AggregateFunc as F};
use hw_repr::{Datum, SqlError, SqlType as T};

/// The types of the arguments, where the aggregate takes them and gives what it says.
pub fn argument_types(agg: &Aggregate, types: &[T]) -> Result<Vec<T>, SqlError> {
    let gone = || SqlError::internal("an aggregate of a column that is not there");
    let args = agg.args().map(|a| types.get(a).copied().ok_or_else(gone)).collect::<Result<Vec<T>, _>>()?;
    if agg.order.iter().any(|k| k.column >= types.len()) {
        return Err(gone());
    }
    let filter_fits = agg.filter.is_none_or(|f| types.get(f) == Some(&T::Bool));
    if filter_fits && fits(agg, &args) {
        return Ok(args);
    }
    Err(SqlError::unsupported(format!("this aggregate: {:?} over {args:?} as {}", agg.func, agg.ty)))
}

fn fits(agg: &Aggregate, args: &[T]) -> bool {
    let integer = |t: T| matches!(t, T::Int2 | T::Int4 | T::Int8);
    let float = |t: T| matches!(t, T::Float4 | T::Float8);
    let exact = |t: T| integer(t) || matches!(t, T::Numeric(_));
    let given = args;
    let args: &[T] = &args.iter().map(|t| t.carrier()).collect::<Vec<_>>();
    if agg.func.is_pair() {
        let result = if agg.func == F::RegrCount { T::Int8 } else { T::Float8 };
        return args == [T::Float8, T::Float8] && agg.ty == result;
    }
    let fraction = matches!(agg.direct.as_slice(), [Datum::Float8(_) | Datum::Null]);
    match (agg.func, args) {
        (F::Count, [] | [_]) => agg.ty == T::Int8,
        (F::Sum | F::Avg, [T::Interval]) => agg.ty == T::Interval,
        (F::Sum | F::Avg, [t]) if float(*t) => float(agg.ty),
        (F::Sum, [t]) if exact(*t) => matches!(agg.ty, T::Int8 | T::Numeric(_)),
        (F::Avg, [t]) if exact(*t) => matches!(agg.ty, T::Numeric(_)),
        (F::Min | F::Max, [t]) => t.arrow() == agg.ty.arrow(),
        (F::BoolAnd | F::BoolOr, [T::Bool]) => agg.ty == T::Bool,
        (F::BitAnd | F::BitOr | F::BitXor, [t]) => integer(*t) && agg.ty == *t,
        (F::VarPop | F::VarSamp | F::StddevPop | F::StddevSamp, [t]) => {
            float(*t) && agg.ty == T::Float8 || exact(*t) && agg.ty == T::Numeric(None)
        }
        (F::StringAgg, [a, b]) => {
            a.arrow() == b.arrow() && matches!(a, T::Text | T::Varchar(_) | T::Bytea) && agg.ty.arrow() == a.arrow()
        }
        (F::JsonbAgg, [_]) | (F::JsonbObjectAgg, [_, _]) => agg.ty == T::Jsonb,
        (F::JsonAgg, [_]) | (F::JsonObjectAgg, [_, _]) => agg.ty == T::Json,
        (F::ArrayAgg, [_]) => match given {
            [T::Array(_)] => matches!(agg.ty, T::Array(_)),
            _ => agg.ty.element().is_some_and(|e| e == given[0].without_modifier()),
        },
        (F::PercentileCont, [t @ (T::Float8 | T::Interval)]) => fraction && agg.ty == *t && agg.order.len() == 1,
        (F::PercentileDisc, [t]) => fraction && agg.ty.arrow() == t.arrow() && agg.order.len() == 1,
        (F::Mode, [t]) => agg.ty.arrow() == t.arrow() && agg.order.len() == 1,
        (F::TopRows, _) => agg.ty == T::Bytea && agg.direct.len() == 3,
        (F::First | F::Last, [t]) => agg.ty.arrow() == t.arrow(),
        _ => false,
    }
}
