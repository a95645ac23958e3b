//! Subqueries in expressions.

use super::{Place, Typed, Typer, cast_columns, field_type, unsupported};
use crate::retype::retype_plan;
use datafusion_expr::expr::InSubquery;
use datafusion_expr::{Expr, LogicalPlan, Subquery};
use hw_plan::{Func, ScalarExpr};
use hw_repr::{Datum, SqlError, SqlState, SqlType};
use hw_scalar::{CastContext, resolve_call_with_unknown};
use std::sync::Arc;

impl Typer<'_> {
    pub(super) fn subquery(&mut self, q: &Subquery) -> Result<Subquery, SqlError> {
        let mut outer = self.outer.to_vec();
        outer.push(Arc::new(self.schema.clone()));
        let plan = retype_plan(self.env, q.subquery.as_ref().clone(), &outer)?;
        let outer_ref_columns = plan.all_out_ref_exprs();
        Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: q.spans.clone() })
    }

    /// EXISTS outside a condition: whether the count of the rows is above zero.
    pub(super) fn exists_value(&mut self, e: &datafusion_expr::expr::Exists) -> Result<Typed, SqlError> {
        let subquery = self.subquery(&e.subquery)?;
        let counted = crate::decorrelate::count_rows(subquery)?;
        let count = self.slot(Expr::ScalarSubquery(counted), SqlType::Int8);
        let zero = Typed::known(ScalarExpr::Literal(Datum::Int8(0), SqlType::Int8));
        let exists = self.call_typed(if e.negated { Func::Eq } else { Func::Gt }, vec![count, zero])?;
        Ok(exists)
    }

    pub(super) fn in_subquery(&mut self, i: &InSubquery, place: Place) -> Result<Typed, SqlError> {
        let allowed = place == Place::Conjunct;
        if !allowed {
            return Err(unsupported("IN (SELECT ...) other than as a condition of its own in WHERE")
                .hint("Write it as a conjunct of WHERE, or use a join."));
        }
        let subquery = self.subquery(&i.subquery)?;
        if i.negated && !subquery.outer_ref_columns.is_empty() {
            return Err(unsupported("a correlated NOT IN").hint("Use NOT EXISTS."));
        }
        let field = subquery.subquery.schema().fields().first().cloned();
        let right_ty = match &field {
            Some(f) => field_type(f)?,
            None => return Err(SqlError::new(SqlState::SYNTAX, "subquery has no columns")),
        };
        let value = self.typed(&i.expr, Place::Value)?;
        let (wanted, _) = resolve_call_with_unknown(Func::Eq, &[value.ty(), Some(right_ty)])?;
        let ty = wanted.first().copied().unwrap_or(right_ty);
        let left = self.cast(value, ty, CastContext::Implicit)?;
        let mut left = crate::emit::emit(&left, &self.slots)?;
        let mut plan = cast_columns(self.env, subquery.subquery.as_ref().clone(), &[ty])?;
        if crate::keys::needs_key(ty) {
            if !subquery.outer_ref_columns.is_empty() || self.env.stored {
                return Err(unsupported(&format!("IN (SELECT ...) on type {ty}")).hint("Use a join."));
            }
            left = crate::keys::key_of(left, ty);
            let columns = plan.schema().columns().into_iter().map(Expr::Column);
            let keys: Vec<Expr> = columns.map(|c| crate::keys::key_of(c, ty).alias("key")).collect();
            let keys = datafusion_expr::Projection::try_new(keys, Arc::new(plan));
            plan = LogicalPlan::Projection(keys.map_err(crate::error::from_planner)?);
        }
        let subquery = Subquery { subquery: Arc::new(plan), ..subquery };
        Ok(self.slot(Expr::InSubquery(InSubquery::new(Box::new(left), subquery, i.negated)), SqlType::Bool))
    }

    pub(super) fn scalar_subquery(&mut self, q: &Subquery) -> Result<Typed, SqlError> {
        let subquery = self.subquery(q)?;
        let ty = match subquery.subquery.schema().fields().as_ref() {
            [field] => field_type(field)?,
            _ => return Err(SqlError::new(SqlState::SYNTAX, "subquery must return only one column")),
        };
        let subquery = if is_global_aggregate(&subquery.subquery) { subquery } else { may_be_null(subquery, ty)? };
        Ok(self.slot(Expr::ScalarSubquery(subquery), ty))
    }
}

/// A scalar subquery whose column may be NULL, as it is where there is no row.
fn may_be_null(subquery: Subquery, ty: SqlType) -> Result<Subquery, SqlError> {
    let schema = subquery.subquery.schema();
    if schema.fields().iter().all(|f| f.is_nullable()) {
        return Ok(subquery);
    }
    let plan = match subquery.subquery.as_ref() {
        // Of a SELECT, the item itself: what stands above it must see its WHERE.
        LogicalPlan::Projection(p) if p.expr.len() == 1 => {
            let name = p.schema.field(0).name().clone();
            let item = nullable(p.expr[0].clone().unalias(), ty).alias(name);
            datafusion_expr::Projection::try_new(vec![item], Arc::clone(&p.input))
        }
        _ => {
            let name = schema.field(0).name().clone();
            let columns = schema.columns().into_iter().map(|c| nullable(Expr::Column(c), ty).alias(&name)).collect();
            datafusion_expr::Projection::try_new(columns, Arc::clone(&subquery.subquery))
        }
    };
    let plan = LogicalPlan::Projection(plan.map_err(crate::error::from_planner)?);
    Ok(Subquery { subquery: Arc::new(plan), ..subquery })
}

fn nullable(expr: Expr, ty: SqlType) -> Expr {
    let udf = crate::collect::nullable(ty);
    Expr::ScalarFunction(datafusion_expr::expr::ScalarFunction::new_udf(udf, vec![expr]))
}

/// True for an aggregate without GROUP BY under projections: always exactly one row.
pub(crate) fn is_global_aggregate(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(p) => is_global_aggregate(&p.input),
        LogicalPlan::SubqueryAlias(s) => is_global_aggregate(&s.input),
        LogicalPlan::Aggregate(a) => a.group_expr.is_empty(),
        _ => false,
    }
}
