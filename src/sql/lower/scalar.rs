//! Plan expressions back to [`ScalarExpr`] over column positions.

use crate::error::from_planner;
use crate::typing::field_type;
use crate::value::from_scalar_value;
use datafusion_common::DFSchema;
use datafusion_expr::{Expr, Operator};
use hw_plan::{Func, ScalarExpr};
use hw_repr::{SqlError, SqlType};
use hw_scalar::{ScalarExprUdf, comparison};

/// `expr` over the columns of `schema`.
pub(crate) fn lower_expr(expr: &Expr, schema: &DFSchema) -> Result<ScalarExpr, SqlError> {
    Ok(match expr {
        Expr::Alias(a) => lower_expr(&a.expr, schema)?,
        Expr::Column(c) => {
            let index = schema.index_of_column(c).map_err(from_planner)?;
            let field = schema.field(index);
            ScalarExpr::Column(index, field_type(field)?)
        }
        Expr::Literal(value, metadata) => {
            let (datum, ty) = from_scalar_value(value, metadata.as_ref())?;
            ScalarExpr::Literal(datum, ty)
        }
        Expr::Not(e) => ScalarExpr::Not(Box::new(lower_expr(e, schema)?)),
        Expr::IsNull(e) => ScalarExpr::IsNull(Box::new(lower_expr(e, schema)?)),
        Expr::IsNotNull(e) => ScalarExpr::Not(Box::new(ScalarExpr::IsNull(Box::new(lower_expr(e, schema)?)))),
        Expr::BinaryExpr(b) => {
            let (left, right) = (lower_expr(&b.left, schema)?, lower_expr(&b.right, schema)?);
            match b.op {
                Operator::And => ScalarExpr::And(flat(left, right, true)),
                Operator::Or => ScalarExpr::Or(flat(left, right, false)),
                op => {
                    let func = comparison(op).ok_or_else(|| SqlError::internal(format!("operator {op} in a plan")))?;
                    call(func, left, right)
                }
            }
        }
        Expr::InList(l) => {
            let needle = lower_expr(&l.expr, schema)?;
            let tests = l
                .list
                .iter()
                .map(|e| Ok(call(Func::Eq, needle.clone(), lower_expr(e, schema)?)))
                .collect::<Result<Vec<_>, SqlError>>()?;
            let any = ScalarExpr::Or(tests);
            if l.negated { ScalarExpr::Not(Box::new(any)) } else { any }
        }
        Expr::ScalarFunction(f) => {
            let inner = ScalarExprUdf::expr(&f.func)
                .ok_or_else(|| SqlError::internal(format!("function {} is not ours", f.name())))?;
            let args = f.args.iter().map(|a| lower_expr(a, schema)).collect::<Result<Vec<_>, _>>()?;
            substitute(inner, &args)?
        }
        Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_) => {
            return Err(SqlError::unsupported(
                "a subquery in an expression is not supported in a materialized view yet",
            )
            .hint("Join the subquery instead."));
        }
        Expr::Placeholder(p) => {
            return Err(SqlError::new(
                hw_repr::SqlState::UNDEFINED_PARAMETER,
                format!("there is no parameter {}", p.id),
            ));
        }
        other => return Err(SqlError::unsupported(format!("{other} is not supported in a materialized view yet"))),
    })
}

fn flat(left: ScalarExpr, right: ScalarExpr, and: bool) -> Vec<ScalarExpr> {
    [left, right]
        .into_iter()
        .flat_map(|e| match e {
            ScalarExpr::And(all) if and => all,
            ScalarExpr::Or(all) if !and => all,
            other => vec![other],
        })
        .collect()
}

fn call(func: Func, left: ScalarExpr, right: ScalarExpr) -> ScalarExpr {
    ScalarExpr::Call { func, args: vec![left, right], ty: SqlType::Bool }
}

/// `expr` with its columns replaced by `args`.
fn substitute(expr: &ScalarExpr, args: &[ScalarExpr]) -> Result<ScalarExpr, SqlError> {
    if expr.columns().iter().any(|c| *c >= args.len()) {
        return Err(SqlError::internal("a function reads an argument it does not have"));
    }
    Ok(hw_plan::transform::substitute(expr, args))
}
