//! Typed expressions back into DataFusion's: native where both mean the same (columns, constants, AND, OR, NOT,
//! comparisons of types that Arrow compares as PostgreSQL does), so that optimizer rules see them; everything else
//! as one function that evaluates our expression.

use crate::value::to_literal;
use datafusion_expr::expr::{BinaryExpr, InList, ScalarFunction};
use datafusion_expr::{Expr, Operator};
use hw_plan::{Func, ScalarExpr};
use hw_repr::{SqlError, SqlType};
use hw_scalar::{may_fail, udf_for};
use std::collections::BTreeMap;

/// True where Arrow's comparison of two values of this type is PostgreSQL's.
pub(crate) fn native_equality(ty: SqlType) -> bool {
    let carrier = match ty {
        SqlType::Array(_) | SqlType::Row(_) | SqlType::Json => return false,
        SqlType::Numeric(_) => ty,
        other => other.carrier(),
    };
    matches!(
        carrier,
        SqlType::Bool
            | SqlType::Int2
            | SqlType::Int4
            | SqlType::Int8
            | SqlType::Numeric(Some(_))
            | SqlType::Text
            | SqlType::Bytea
            | SqlType::Date
            | SqlType::Time
            | SqlType::Timestamp
            | SqlType::TimestampTz
            | SqlType::Uuid
    )
}

fn native_operator(func: Func) -> Option<Operator> {
    Some(match func {
        Func::Eq => Operator::Eq,
        Func::Ne => Operator::NotEq,
        Func::Lt => Operator::Lt,
        Func::Le => Operator::LtEq,
        Func::Gt => Operator::Gt,
        Func::Ge => Operator::GtEq,
        Func::NotDistinct => Operator::IsNotDistinctFrom,
        _ => return None,
    })
}

/// `expr` over `slots` as an expression of a plan.
pub(crate) fn emit(expr: &ScalarExpr, slots: &[Expr]) -> Result<Expr, SqlError> {
    match expr {
        ScalarExpr::Column(slot, _) => {
            slots.get(*slot).cloned().ok_or_else(|| SqlError::internal("a slot that does not exist"))
        }
        ScalarExpr::Literal(datum, ty) => to_literal(datum, *ty),
        ScalarExpr::Not(e) => Ok(Expr::Not(Box::new(emit(e, slots)?))),
        ScalarExpr::IsNull(e) => Ok(Expr::IsNull(Box::new(emit(e, slots)?))),
        ScalarExpr::And(all) if !all.iter().skip(1).any(may_fail) => connective(Operator::And, all, slots),
        ScalarExpr::Or(all) if !all.iter().skip(1).any(may_fail) => {
            if let Some(list) = membership(all, slots)? {
                return Ok(list);
            }
            connective(Operator::Or, all, slots)
        }
        ScalarExpr::Call { func, args, .. } if args.len() == 2 => {
            match (
                native_operator(*func),
                args.iter().all(|a| a.ty().arrow() == args[0].ty().arrow() && native_equality(a.ty())),
            ) {
                (Some(op), true) => Ok(binary(emit(&args[0], slots)?, op, emit(&args[1], slots)?)),
                _ => whole(expr, slots),
            }
        }
        _ => whole(expr, slots),
    }
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

/// A balanced tree, so that long lists do not nest deeply.
fn connective(op: Operator, all: &[ScalarExpr], slots: &[Expr]) -> Result<Expr, SqlError> {
    match all {
        [] => Err(SqlError::internal("an empty AND or OR")),
        [one] => emit(one, slots),
        _ => {
            let (left, right) = all.split_at(all.len() / 2);
            Ok(binary(connective(op, left, slots)?, op, connective(op, right, slots)?))
        }
    }
}

/// `x = 1 OR x = 2 OR ...` as IN.
fn membership(all: &[ScalarExpr], slots: &[Expr]) -> Result<Option<Expr>, SqlError> {
    let mut needle: Option<&ScalarExpr> = None;
    let mut list = vec![];
    for test in all {
        let ScalarExpr::Call { func: Func::Eq, args, .. } = test else { return Ok(None) };
        let [left, right @ ScalarExpr::Literal(..)] = args.as_slice() else { return Ok(None) };
        if !native_equality(left.ty()) || left.ty().arrow() != right.ty().arrow() || needle.is_some_and(|n| n != left) {
            return Ok(None);
        }
        needle = Some(left);
        list.push(emit(right, slots)?);
    }
    match needle {
        Some(needle) if list.len() > 3 => {
            Ok(Some(Expr::InList(InList::new(Box::new(emit(needle, slots)?), list, false))))
        }
        _ => Ok(None),
    }
}

/// The expression as one function of the slots it reads.
fn whole(expr: &ScalarExpr, slots: &[Expr]) -> Result<Expr, SqlError> {
    let mut types: BTreeMap<usize, SqlType> = BTreeMap::new();
    column_types(expr, &mut types);
    let used: Vec<usize> = types.keys().copied().collect();
    let mut compact = expr.clone();
    compact.map_columns(&mut |c| used.iter().position(|u| *u == c).unwrap_or(0));
    let args = used
        .iter()
        .map(|u| slots.get(*u).cloned().ok_or_else(|| SqlError::internal("a slot that does not exist")))
        .collect::<Result<Vec<_>, _>>()?;
    let input: Vec<SqlType> = types.into_values().collect();
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(udf_for(compact, &input), args)))
}

/// The types of the slots that an expression reads.
pub(crate) fn column_types(expr: &ScalarExpr, out: &mut BTreeMap<usize, SqlType>) {
    if let ScalarExpr::Column(i, ty) = expr {
        out.insert(*i, *ty);
    }
    expr.children().into_iter().for_each(|c| column_types(c, out));
}
