//! Calls of window functions.

use super::{Place, Typed, Typer, unsupported};
use crate::sets::Sets;
use datafusion_expr::expr::{AggregateFunction, WindowFunction, WindowFunctionDefinition};
use datafusion_expr::{Expr, WindowFrameBound, WindowFrameUnits};
use hw_repr::{SqlError, SqlState, SqlType};
use hw_scalar::{CastContext, common_type};

impl Typer<'_> {
    pub(super) fn window(&mut self, w: &WindowFunction) -> Result<Typed, SqlError> {
        let mut w = w.clone();
        check_frame(&w)?;
        if w.params.distinct {
            return Err(unsupported("DISTINCT in a window function"));
        }
        let ty = match &w.fun {
            WindowFunctionDefinition::AggregateUDF(func) => {
                let params = &w.params;
                let (args, filter) = (params.args.clone(), params.filter.clone());
                let call = AggregateFunction::new_udf(func.clone(), args, false, filter, vec![], None);
                let mut inner = Typer::new(self.env, self.schema, self.outer);
                inner.sets = Sets::Arguments("window");
                let typed = inner.aggregate(&call)?;
                let Some(Expr::AggregateFunction(call)) = inner.slots.pop() else {
                    return Err(SqlError::internal("an aggregate was lost"));
                };
                w.fun = WindowFunctionDefinition::AggregateUDF(call.func);
                w.params.args = call.params.args;
                w.params.filter = call.params.filter;
                typed.expr.ty()
            }
            WindowFunctionDefinition::WindowUDF(func) => {
                let name = func.name().to_string();
                let kind = crate::window::kind_of(func).ok_or_else(|| crate::error::undefined_function(&name))?;
                if w.params.filter.is_some() {
                    let message = "FILTER is not implemented for non-aggregate window functions";
                    return Err(SqlError::unsupported(message));
                }
                let (args, ty) = self.window_arguments(&name, kind, &w.params.args)?;
                w.params.args = args;
                ty
            }
        };
        let mut by = w.params.partition_by.iter().map(|e| self.key(e)).collect::<Result<Vec<_>, _>>()?;
        by.retain(|e| self.env.stored || crate::window::tells_apart(e));
        w.params.partition_by = by;
        for sort in &mut w.params.order_by {
            sort.expr = self.order_key(&sort.expr)?;
        }
        Ok(self.slot(Expr::WindowFunction(Box::new(w)), ty))
    }

    fn window_arguments(
        &mut self,
        name: &str,
        kind: crate::window::Kind,
        args: &[Expr],
    ) -> Result<(Vec<Expr>, SqlType), SqlError> {
        let mut inner = Typer::new(self.env, self.schema, self.outer);
        inner.sets = Sets::Arguments("window");
        let values = args.iter().map(|a| inner.typed(a, Place::Value)).collect::<Result<Vec<_>, _>>()?;
        // The default of lag and lead and the value take one type.
        let first = match (values.first().map(Typed::ty), values.get(2).map(Typed::ty)) {
            (Some(value), Some(default)) => Some(common_type(name, &[value, default])?),
            (Some(value), None) => Some(value.unwrap_or(SqlType::Text)),
            _ => None,
        };
        let types = || {
            let names = values.iter().map(|v| v.ty().map_or("unknown".into(), |t| t.to_string()));
            names.collect::<Vec<String>>().join(", ")
        };
        let (wanted, ty) = kind
            .signature(first, args.len())
            .ok_or_else(|| crate::error::undefined_function(&format!("{name}({})", types())))?;
        let mut out = vec![];
        for (value, ty) in values.into_iter().zip(wanted) {
            let value = inner.cast(value, ty, CastContext::Implicit)?;
            out.push(crate::emit::emit(&value, &inner.slots)?);
        }
        Ok((out, ty))
    }

    /// What rows are told apart by.
    pub(crate) fn key(&mut self, expr: &Expr) -> Result<Expr, SqlError> {
        let (expr, ty) = self.plan_expr(expr)?;
        Ok(self.as_key(expr, ty))
    }

    /// What rows are sorted by.
    pub(crate) fn order_key(&mut self, expr: &Expr) -> Result<Expr, SqlError> {
        let (expr, ty) = self.plan_expr(expr)?;
        crate::keys::ordered(ty)?;
        Ok(self.as_key(expr, ty))
    }

    fn as_key(&self, expr: Expr, ty: SqlType) -> Expr {
        // Maintained views tell rows apart by SQL equality.
        if crate::keys::needs_key(ty) && !self.env.stored { crate::keys::key_of(expr, ty) } else { expr }
    }
}

fn check_frame(w: &WindowFunction) -> Result<(), SqlError> {
    let frame = &w.params.window_frame;
    let offset = |b: &WindowFrameBound| match b {
        WindowFrameBound::Preceding(v) | WindowFrameBound::Following(v) => !v.is_null(),
        WindowFrameBound::CurrentRow => false,
    };
    if frame.units == WindowFrameUnits::Range && (offset(&frame.start_bound) || offset(&frame.end_bound)) {
        return Err(unsupported("RANGE with an offset").hint("Use ROWS or GROUPS."));
    }
    if frame.units == WindowFrameUnits::Groups && w.params.order_by.is_empty() {
        return Err(SqlError::new(SqlState::new("42P20"), "GROUPS mode requires an ORDER BY clause"));
    }
    Ok(())
}
