//! Calls of aggregates: the types of their arguments, their order, and what stands in front of WITHIN GROUP.

use super::{Place, Typed, Typer, unsupported};
use crate::aggregate::{Call, call_of, result_type, udaf, wanted_types};
use crate::decorrelate::has_subquery;
use datafusion_expr::Expr;
use datafusion_expr::expr::{AggregateFunction, Sort};
use hw_plan::{AggregateFunc, OrderKey, ScalarExpr};
use hw_repr::{Datum, SqlError, SqlState, SqlType};
use hw_scalar::CastContext;

impl Typer<'_> {
    /// A call; its arguments are computed only where the condition of FILTER is true.
    pub(super) fn aggregate(&mut self, a: &AggregateFunction) -> Result<Typed, SqlError> {
        let mut a = a.clone();
        let written_filter = a.params.filter.take();
        a.params.filter = match &written_filter {
            Some(f) => Some(Box::new(self.condition(f)?)),
            None => None,
        };
        let Some(call) = call_of(&a.func).cloned() else {
            return Err(crate::error::undefined_function(a.func.name()));
        };
        let (name, func) = (a.func.name().to_string(), call.func);
        let mut args = std::mem::take(&mut a.params.args);
        let direct = self.direct(&name, func, &mut args, &a.params.order_by)?;
        let mut inner = Typer::new(self.env, self.schema, self.outer);
        let typed = args.iter().map(|e| inner.typed(e, Place::Value)).collect::<Result<Vec<_>, _>>()?;
        let types: Vec<Option<SqlType>> = typed.iter().map(Typed::ty).collect();
        let wanted = wanted_types(func, &name, &types)?;
        // As they were written: an ORDER BY names them so, whatever they are converted to.
        let mut written: Vec<ScalarExpr> = typed.iter().map(|t| t.expr.clone()).collect();
        let mut plain = vec![];
        for (value, ty) in typed.into_iter().zip(&wanted) {
            plain.push(match value.ty() == Some(*ty) {
                true => inner.settle(value)?,
                false => inner.cast(value, *ty, CastContext::Implicit)?,
            });
        }
        let order = inner.order(&a, func, &args, &mut written, &mut plain)?;
        if let Some(filter) = &written_filter {
            for value in plain.iter_mut().filter(|v| hw_scalar::may_fail(v)) {
                let null = Box::new(ScalarExpr::Literal(Datum::Null, value.ty()));
                let passing = (inner.boolean(filter, Place::Nested)?, value.clone());
                *value = ScalarExpr::Case { branches: vec![passing], otherwise: null };
            }
        }
        a.params.args = plain.iter().map(|e| crate::emit::emit(e, &inner.slots)).collect::<Result<_, _>>()?;
        a.params.order_by.clear();
        a.func = udaf(Call { func, order, direct }, &name);
        Ok(self.slot(Expr::AggregateFunction(a), result_type(func, &wanted)?))
    }

    /// Takes the constants in front of WITHIN GROUP from the arguments, behind the value that is ordered.
    fn direct(
        &mut self,
        name: &str,
        func: AggregateFunc,
        args: &mut Vec<Expr>,
        order: &[Sort],
    ) -> Result<Vec<Datum>, SqlError> {
        let Some(wanted) = func.within_group() else { return Ok(vec![]) };
        if order.is_empty() {
            let message = format!("WITHIN GROUP is required for ordered-set aggregate {name}");
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
        }
        let constants = args.split_off(1);
        if constants.len() != wanted {
            return Err(crate::error::undefined_function(&format!("{name} of {} arguments", constants.len())));
        }
        let empty = datafusion_common::DFSchema::empty();
        let mut direct = vec![];
        for expr in &constants {
            let mut typer = Typer::new(self.env, &empty, &[]);
            let no_constant = |_| unsupported(&format!("{name} of a fraction that is no constant"));
            let value = typer.typed(expr, Place::Value).map_err(no_constant)?;
            let value = typer.cast(value, SqlType::Float8, CastContext::Implicit)?;
            if !typer.slots.is_empty() {
                return Err(no_constant(SqlError::internal("")));
            }
            direct.push(hw_scalar::eval_const(&value)?);
        }
        Ok(direct)
    }

    /// The keys of the order; those that are no arguments are added to `plain`.
    fn order(
        &mut self,
        a: &AggregateFunction,
        func: AggregateFunc,
        args: &[Expr],
        written: &mut Vec<ScalarExpr>,
        plain: &mut Vec<ScalarExpr>,
    ) -> Result<Vec<OrderKey>, SqlError> {
        let arity = plain.len();
        let mut order = vec![];
        for key in &a.params.order_by {
            // A subquery that is planned again may have other names inside: it is the argument where it was written so.
            let same = args.iter().position(|e| *e == key.expr && has_subquery(e));
            let expr = match same.and_then(|at| written.get(at)) {
                Some(argument) => argument.clone(),
                None => {
                    let value = self.typed(&key.expr, Place::Value)?;
                    self.settle(value)?
                }
            };
            crate::keys::ordered(expr.ty())?;
            let found = written.iter().position(|w| *w == expr);
            if a.params.distinct && found.is_none_or(|at| at >= arity) {
                let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
                return Err(SqlError::new(SqlState::new("42P10"), message));
            }
            if !func.is_ordered() {
                continue;
            }
            let column = found.unwrap_or_else(|| {
                written.push(expr.clone());
                plain.push(expr);
                plain.len() - 1
            });
            order.push(OrderKey { column, descending: !key.asc, nulls_first: key.nulls_first });
        }
        Ok(order)
    }
}
