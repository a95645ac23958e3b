//! Set-returning calls: each a slot, which [`crate::sets`] expands below the node whose expression it is.

use super::{Place, Typed, Typer};
use crate::sets::Sets;
use datafusion_expr::Expr;
use datafusion_expr::expr::ScalarFunction;
use hw_plan::{Func, ScalarExpr};
use hw_repr::SqlError;
use hw_scalar::sets::{set_columns, set_udf};
use hw_scalar::{CastContext, resolve_call_with_unknown};

impl Typer<'_> {
    /// A call; `column` is which one of several is wanted.
    pub(super) fn set_call(
        &mut self,
        func: Func,
        column: Option<usize>,
        args: &[&Expr],
        place: Place,
    ) -> Result<Typed, SqlError> {
        let args = args.iter().map(|a| self.typed(a, place)).collect::<Result<Vec<_>, _>>()?;
        let types: Vec<_> = args.iter().map(Typed::ty).collect();
        let (wanted, ty) = resolve_call_with_unknown(func, &types)?;
        self.sets.check()?;
        let columns = set_columns(func, ty);
        if column.is_none() && columns.len() > 1 {
            return Err(SqlError::unsupported(format!("{} gives rows, which are no values here yet", func.name()))
                .hint("Call it in FROM."));
        }
        let cast = |(a, to)| {
            let value: ScalarExpr = self.cast(a, to, CastContext::Implicit)?;
            crate::emit::emit(&value, &self.slots)
        };
        let exprs = args.into_iter().zip(&wanted).map(|(a, t)| (a, *t)).map(cast).collect::<Result<Vec<_>, _>>()?;
        let column = column.unwrap_or(0);
        let ty_of = columns.get(column).map_or(ty, |(_, ty)| *ty);
        let call = Expr::ScalarFunction(ScalarFunction::new_udf(set_udf(func, &wanted, ty, column), exprs));
        Ok(self.slot(call, ty_of))
    }

    /// Types what may hold no set-returning call.
    pub(super) fn without_sets<T>(
        &mut self,
        what: &'static str,
        f: impl FnOnce(&mut Self) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        let outside = self.sets;
        if outside == Sets::Allowed {
            self.sets = Sets::Within(what);
        }
        let out = f(self);
        self.sets = outside;
        out
    }
}
