//! Subqueries in expressions: their plans typed, IN as `= ANY` and NOT IN as `<> ALL`. [`crate::decorrelate`] joins them.

use super::{Typed, Typer, cast_columns, comparison, field_type, unsupported};
use crate::retype::retype_plan;
use datafusion_expr::expr::{InSubquery, SetComparison, SetQuantifier};
use datafusion_expr::{Expr, Operator, Subquery};
use hw_repr::{SqlError, SqlState, SqlType};
use hw_scalar::{CastContext, resolve_call_with_unknown};
use std::sync::Arc;

impl Typer<'_> {
    fn subquery(&mut self, q: &Subquery) -> Result<Subquery, SqlError> {
        let mut outer = self.outer.to_vec();
        outer.push(Arc::new(self.schema.clone()));
        let plan = retype_plan(self.env, q.subquery.as_ref().clone(), &outer)?;
        let outer_ref_columns = plan.all_out_ref_exprs();
        Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: q.spans.clone() })
    }

    pub(super) fn exists(&mut self, e: &datafusion_expr::expr::Exists) -> Result<Typed, SqlError> {
        let mut e = e.clone();
        e.subquery = self.subquery(&e.subquery)?;
        Ok(self.slot(Expr::Exists(e), SqlType::Bool))
    }

    pub(super) fn in_subquery(&mut self, i: &InSubquery) -> Result<Typed, SqlError> {
        let (op, quantifier) = match i.negated {
            false => (Operator::Eq, SetQuantifier::Any),
            true => (Operator::NotEq, SetQuantifier::All),
        };
        self.set_comparison(&SetComparison::new(i.expr.clone(), i.subquery.clone(), op, quantifier))
    }

    pub(super) fn set_comparison(&mut self, c: &SetComparison) -> Result<Typed, SqlError> {
        let func = comparison(c.op).ok_or_else(|| unsupported(&format!("{} {} (SELECT ...)", c.op, c.quantifier)))?;
        let subquery = self.subquery(&c.subquery)?;
        let (right, name) = match subquery.subquery.schema().fields().as_ref() {
            [field] => (field_type(field)?, field.name().clone()),
            [] => return Err(SqlError::new(SqlState::SYNTAX, "subquery has no columns")),
            _ => return Err(SqlError::new(SqlState::SYNTAX, "subquery has too many columns")),
        };
        let mut inner = Typer::new(self.env, self.schema, self.outer);
        inner.sets = self.sets;
        let value = inner.typed(&c.expr, super::Place::Value)?;
        let (wanted, _) = resolve_call_with_unknown(func, &[value.ty(), Some(right)])?;
        let [left_ty, right_ty] = wanted.as_slice() else {
            return Err(SqlError::internal(format!("a comparison with {name} of other than two")));
        };
        let left = inner.cast(value, *left_ty, CastContext::Implicit)?;
        let left = crate::emit::emit(&left, &inner.slots)?;
        let plan = cast_columns(self.env, subquery.subquery.as_ref().clone(), &[*right_ty])?;
        let subquery = Subquery { subquery: Arc::new(plan), ..subquery };
        let test = SetComparison::new(Box::new(left), subquery, c.op, c.quantifier);
        Ok(self.slot(Expr::SetComparison(test), SqlType::Bool))
    }

    pub(super) fn scalar_subquery(&mut self, q: &Subquery) -> Result<Typed, SqlError> {
        let subquery = self.subquery(q)?;
        let ty = match subquery.subquery.schema().fields().as_ref() {
            [field] => field_type(field)?,
            _ => return Err(SqlError::new(SqlState::SYNTAX, "subquery must return only one column")),
        };
        Ok(self.slot(Expr::ScalarSubquery(subquery), ty))
    }
}
