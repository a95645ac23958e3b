//! Expressions that a filter fixes: `lower(email) = 'x'`, or a condition, which is true.
//!
//! They are compared with those of indexes as what they are after planning, so that the same text means the same.

use datafusion::common::ScalarValue;
use datafusion::common::metadata::FieldMetadata;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use hw_plan::seek::Fixed;
use hw_plan::{Func, ScalarExpr, stack, transform};
use hw_repr::{Datum, RelationDesc, SqlType};
use hw_scalar::{comparison, connective};

/// Adds the expressions that have one value in all rows for which `filter` is true.
pub(super) fn collect(filter: &Expr, desc: &RelationDesc, out: &mut Fixed) {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            stack::deep(|| collect(left, desc, out));
            stack::deep(|| collect(right, desc, out));
        }
        // Long chains of OR and lists are no equality, and costly to look at.
        Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }) | Expr::InList(_) => {}
        other => lowered(other, desc).into_iter().for_each(|condition| out.add(condition)),
    }
}

/// An expression of a plan over the relation's columns; `None` where something in it is none of ours.
pub(super) fn lowered(expr: &Expr, desc: &RelationDesc) -> Option<ScalarExpr> {
    let deep = |e: &Expr| stack::deep(|| lowered(e, desc));
    let boxed = |e: &Expr| deep(e).map(Box::new);
    Some(match expr {
        Expr::Alias(alias) => return deep(&alias.expr),
        Expr::Column(_) => return super::operand(expr, desc),
        Expr::Literal(value, metadata) => return literal(value, metadata.as_ref()),
        Expr::Not(e) => ScalarExpr::Not(boxed(e)?),
        Expr::IsNull(e) => ScalarExpr::IsNull(boxed(e)?),
        Expr::IsNotNull(e) => ScalarExpr::Not(Box::new(ScalarExpr::IsNull(boxed(e)?))),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let sides = [deep(left)?, deep(right)?];
            match op {
                Operator::And | Operator::Or => connective(*op == Operator::And, sides),
                op => ScalarExpr::Call { func: comparison(*op)?, args: sides.into(), ty: SqlType::Bool },
            }
        }
        Expr::InList(list) => {
            let needle = deep(&list.expr)?;
            let equal = |e| Some(ScalarExpr::Call { func: Func::Eq, args: vec![needle.clone(), e], ty: SqlType::Bool });
            let any = ScalarExpr::Or(list.list.iter().map(|e| deep(e).and_then(equal)).collect::<Option<_>>()?);
            if list.negated { ScalarExpr::Not(Box::new(any)) } else { any }
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            let inner = hw_scalar::ScalarExprUdf::expr(func)?;
            let args = args.iter().map(deep).collect::<Option<Vec<_>>>()?;
            if inner.columns().iter().any(|c| *c >= args.len()) {
                return None;
            }
            transform::substitute(inner, &args)
        }
        _ => return None,
    })
}

/// A constant with its type; what the Arrow type does not tell of it, the metadata does.
fn literal(value: &ScalarValue, metadata: Option<&FieldMetadata>) -> Option<ScalarExpr> {
    let ty = SqlType::from_parts(&value.data_type(), |key| metadata?.inner().get(key))?;
    let array = value.to_array().ok()?;
    Some(ScalarExpr::Literal(Datum::from_array(array.as_ref(), 0, ty).ok()?, ty))
}
