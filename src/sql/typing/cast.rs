//! Casts: of expressions of known types, of literals, of the columns of a plan.

use super::{Typed, field_type};
use crate::lazy::{Lazy, lazy_of};
use crate::planner::Env;
use datafusion_expr::{Expr, LogicalPlan};
use hw_plan::ScalarExpr;
use hw_repr::{Datum, SqlError, SqlState, SqlType};
use hw_scalar::{CastContext, can_cast, eval_const};
use std::sync::Arc;

/// Casts the columns of a plan to `types`, keeping their names.
pub(crate) fn cast_columns(env: &Env, plan: LogicalPlan, types: &[SqlType]) -> Result<LogicalPlan, SqlError> {
    let wanted: Vec<(Option<&str>, SqlType)> = types.iter().map(|t| (None, *t)).collect();
    cast_columns_in(env, plan, &wanted)
}

/// As [`cast_columns`]; a column with a name is assigned to the column of that name.
pub(crate) fn cast_columns_in(
    env: &Env,
    plan: LogicalPlan,
    wanted: &[(Option<&str>, SqlType)],
) -> Result<LogicalPlan, SqlError> {
    let schema = Arc::clone(plan.schema());
    let mut exprs = vec![];
    let mut changed = false;
    for ((column, field), (name, to)) in schema.columns().into_iter().zip(schema.fields()).zip(wanted) {
        let from = field_type(field)?;
        let position = exprs.len();
        let column = Expr::Column(column);
        if from != *to
            && let Some(literal) = crate::retype::untyped_literal(env, &plan, position)
        {
            changed = true;
            let value = match literal {
                Datum::Text(s) => parse_literal(&s, *to, false)?,
                other => ScalarExpr::Literal(other, *to),
            };
            exprs.push(crate::emit::emit(&value, &[])?.alias(field.name()));
            continue;
        }
        if from.arrow() == to.arrow() && matches!(to, SqlType::Varchar(None) | SqlType::Text) || from == *to {
            exprs.push(column);
            continue;
        }
        changed = true;
        let slots = [column];
        let cast = match name {
            Some(name) => cast_known(ScalarExpr::Column(0, from), *to, CastContext::Assignment)
                .map_err(|e| assignment_error(e, name, Some(from), *to))?,
            None => cast_known(ScalarExpr::Column(0, from), *to, CastContext::Implicit)?,
        };
        exprs.push(crate::emit::emit(&cast, &slots)?.alias_qualified(None::<&str>, field.name()));
    }
    if !changed {
        return Ok(plan);
    }
    let projection = datafusion_expr::Projection::try_new(exprs, Arc::new(plan)).map_err(crate::error::from_planner)?;
    Ok(LogicalPlan::Projection(projection))
}

/// A cast between known types.
pub(crate) fn cast_known(expr: ScalarExpr, to: SqlType, context: CastContext) -> Result<ScalarExpr, SqlError> {
    let from = expr.ty();
    let bare = |t: SqlType| matches!(t, SqlType::Text | SqlType::Varchar(None));
    if from == to || matches!(from, SqlType::Text | SqlType::Varchar(_)) && bare(to) {
        return Ok(if context == CastContext::Explicit { super::as_type(expr, to) } else { expr });
    }
    if !can_cast(from, to, context) {
        let (code, message) = match context {
            CastContext::Explicit => (SqlState::new("42846"), format!("cannot cast type {from} to {to}")),
            _ => (SqlState::DATATYPE_MISMATCH, format!("expression is of type {from} but {to} is needed")),
        };
        return Err(SqlError::new(code, message).hint("You will need to rewrite or cast the expression."));
    }
    let explicit = context == CastContext::Explicit;
    Ok(fold(ScalarExpr::Cast { expr: Box::new(expr), to, explicit }))
}

/// A quoted literal as a value of `to`.
pub(super) fn parse_literal(text: &str, to: SqlType, explicit: bool) -> Result<ScalarExpr, SqlError> {
    let base = match to {
        SqlType::Numeric(_) => SqlType::Numeric(None),
        SqlType::Varchar(_) | SqlType::Char(_) => SqlType::Text,
        SqlType::Array(_) | SqlType::Bit(_) | SqlType::Varbit(_) => to.without_modifier(),
        other => other,
    };
    let value = ScalarExpr::Literal(hw_repr::text::parse(base, text)?, base);
    if base == to || to == SqlType::Varchar(None) {
        return Ok(super::as_type(value, to));
    }
    let cast = ScalarExpr::Cast { expr: Box::new(value), to, explicit };
    Ok(ScalarExpr::Literal(eval_const(&cast)?, to))
}

/// Computes a call of constants; one that fails stays, to fail when (and if) it is evaluated. A strict call with NULL is NULL,
/// whatever else its arguments are (`eval_const_expressions` of PostgreSQL); one that always fails among them does so still.
pub(super) fn fold(expr: ScalarExpr) -> ScalarExpr {
    if let ScalarExpr::Call { func, args, ty } = &expr
        && hw_scalar::is_strict(*func)
        && args.iter().any(|a| matches!(a, ScalarExpr::Literal(Datum::Null, _)))
        && !args.iter().any(always_fails)
    {
        return ScalarExpr::Literal(Datum::Null, *ty);
    }
    let constant = expr.children().iter().all(|c| matches!(c, ScalarExpr::Literal(..)));
    match constant.then(|| eval_const(&expr)) {
        Some(Ok(value)) => ScalarExpr::Literal(value, expr.ty()),
        _ => expr,
    }
}

/// True where a call of constants stayed because it fails.
fn always_fails(expr: &ScalarExpr) -> bool {
    let children = expr.children();
    let constants = !children.is_empty() && expr.columns().is_empty();
    constants && hw_scalar::may_fail(expr) || children.into_iter().any(always_fails)
}

/// A decimal literal cast to a float, which may be greater than any numeric here.
pub(super) fn float_literal(arg: &Expr, to: SqlType) -> Result<Option<Typed>, SqlError> {
    let Expr::ScalarFunction(f) = arg else { return Ok(None) };
    match (lazy_of(&f.func), to) {
        (Some(Lazy::Number(digits)), SqlType::Float4 | SqlType::Float8) => {
            Ok(Some(Typed::known(ScalarExpr::Literal(hw_repr::text::parse(to, digits)?, to))))
        }
        _ => Ok(None),
    }
}

/// PostgreSQL's message for a value that a column does not take.
pub(super) fn assignment_error(e: SqlError, name: &str, from: Option<SqlType>, to: SqlType) -> SqlError {
    match from {
        Some(from) if e.code == SqlState::DATATYPE_MISMATCH => {
            let (from, to) = (without_length(from), without_length(to));
            SqlError { message: format!("column \"{name}\" is of type {to} but expression is of type {from}"), ..e }
        }
        _ => e,
    }
}

pub(super) fn without_length(ty: SqlType) -> SqlType {
    match ty {
        SqlType::Numeric(_) => SqlType::Numeric(None),
        SqlType::Varchar(_) => SqlType::Varchar(None),
        SqlType::Bit(_) => SqlType::Bit(None),
        SqlType::Varbit(_) => SqlType::Varbit(None),
        other => other,
    }
}
