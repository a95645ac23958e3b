//! Conditions of plans as ours.

use datafusion_expr::Operator;
use hw_plan::{Func, ScalarExpr};

/// What a comparison of DataFusion's is; `None` for other operators.
pub fn comparison(op: Operator) -> Option<Func> {
    Some(match op {
        Operator::Eq => Func::Eq,
        Operator::NotEq => Func::Ne,
        Operator::Lt => Func::Lt,
        Operator::LtEq => Func::Le,
        Operator::Gt => Func::Gt,
        Operator::GtEq => Func::Ge,
        Operator::IsNotDistinctFrom => Func::NotDistinct,
        _ => return None,
    })
}

/// AND, or OR, of two operands: those of nested ones side by side.
pub fn connective(and: bool, operands: [ScalarExpr; 2]) -> ScalarExpr {
    let mut all = vec![];
    for operand in operands {
        match operand {
            ScalarExpr::And(inner) if and => all.extend(inner),
            ScalarExpr::Or(inner) if !and => all.extend(inner),
            other => all.push(other),
        }
    }
    if and { ScalarExpr::And(all) } else { ScalarExpr::Or(all) }
}

/// True where a condition cannot fail on any row, given that what is `known` has been computed of all of them: whoever tries it
/// on some rows only hides no error.
pub fn never_fails(condition: &ScalarExpr, known: &dyn Fn(&ScalarExpr) -> bool) -> bool {
    let value = |e: &ScalarExpr| known(e) || !crate::may_fail(e);
    match condition {
        ScalarExpr::And(all) => all.iter().all(|e| never_fails(e, known)),
        ScalarExpr::Call { func: Func::Eq, args, .. } => args.iter().all(value),
        other => value(other),
    }
}
