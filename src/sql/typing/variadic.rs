//! `f(a, VARIADIC array)`: the elements of an array as the last arguments of a function that takes any number of them.

use super::{Place, Typed, Typer, fold};
use crate::lazy::{Lazy, lazy_of};
use datafusion_expr::Expr;
use hw_plan::{Func, ScalarExpr};
use hw_repr::{Datum, SqlError, SqlState, SqlType};
use hw_scalar::{CastContext, resolve_call_with_unknown};

/// The array behind VARIADIC, where the last argument is one.
fn variadic<'e>(args: &[&'e Expr]) -> Option<&'e Expr> {
    match args.last() {
        Some(Expr::ScalarFunction(f)) if matches!(lazy_of(&f.func), Some(Lazy::Variadic)) => f.args.first(),
        _ => None,
    }
}

impl Typer<'_> {
    /// A call with VARIADIC; `None` where it is none.
    pub(super) fn variadic_call(
        &mut self,
        func: Func,
        args: &[&Expr],
        place: Place,
    ) -> Result<Option<Typed>, SqlError> {
        let Some(array) = variadic(args) else { return Ok(None) };
        let fixed = &args[..args.len() - 1];
        let path = match func {
            Func::JsonExtractPath | Func::JsonTextExtractPath => Some(Func::JsonGetPath),
            Func::JsonExtractPathText | Func::JsonTextExtractPathText => Some(Func::JsonGetPathText),
            _ => None,
        };
        let mut values = fixed.iter().map(|a| self.typed(a, place)).collect::<Result<Vec<_>, _>>()?;
        let array = self.typed(array, place)?;
        if let (Some(path), [_]) = (path, values.as_slice()) {
            let doc = match func {
                Func::JsonExtractPath | Func::JsonExtractPathText => SqlType::Jsonb,
                _ => SqlType::Json,
            };
            let document = values.remove(0);
            let document = Typed::known(self.cast(document, doc, CastContext::Implicit)?);
            return self.call_typed(path, vec![document, array]).map(Some);
        }
        let takes = match func {
            Func::ConcatWs | Func::Format => values.len() == 1,
            Func::ConcatFn => values.is_empty(),
            other => hw_scalar::variadic_of(other).is_some() && values.is_empty(),
        };
        if !takes {
            let all: Vec<&Expr> = args.to_vec();
            return Err(self.no_function(func.name(), &all, place)?);
        }
        if array.ty().is_none_or(|t| t.element().is_none()) {
            return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, "VARIADIC argument must be an array"));
        }
        let between = match func {
            Func::ConcatFn => Some(Typed::known(ScalarExpr::Literal(Datum::Text(String::new()), SqlType::Text))),
            Func::ConcatWs => Some(values.remove(0)),
            _ => None,
        };
        if let Some(between) = between {
            return self.call_typed(Func::ArrayToString, vec![array, between]).map(Some);
        }
        // The type of the result does not depend on how many there are.
        let types: Vec<_> = values.iter().map(Typed::ty).chain([Some(SqlType::Text); 2]).collect();
        let (wanted, ty) = resolve_call_with_unknown(func, &types)?;
        let mut exprs = vec![];
        for (value, ty) in values.into_iter().zip(wanted) {
            exprs.push(self.cast(value, ty, CastContext::Implicit)?);
        }
        exprs.push(array.expr);
        let func = hw_scalar::variadic_of(func).ok_or_else(|| SqlError::internal("no call with VARIADIC"))?;
        Ok(Some(Typed::known(fold(ScalarExpr::Call { func, args: exprs, ty }))))
    }
}
