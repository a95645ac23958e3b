//! Operators that are no functions of ours, a plus sign, and signs that mean nothing; functions behind operators.

use super::{Place, Typed, Typer, without_length};
use crate::lazy::Lazy;
use datafusion_expr::Expr;
use hw_plan::{Func, ScalarExpr};
use hw_repr::{Datum, SqlError, SqlState, SqlType};
use hw_scalar::{CastContext, can_cast};

/// Functions behind operators that have one signature.
pub(crate) fn fixed(name: &str) -> Option<Lazy> {
    use SqlType as T;
    let (func, types): (Func, &'static [SqlType]) = match name {
        "jsonb_concat" => (Func::Concat, &[T::Jsonb, T::Jsonb]),
        "int4mul" => (Func::Mul, &[T::Int4, T::Int4]),
        "int4div" => (Func::Div, &[T::Int4, T::Int4]),
        "int4pl" => (Func::Add, &[T::Int4, T::Int4]),
        "int4mi" => (Func::Sub, &[T::Int4, T::Int4]),
        "int4abs" => (Func::Abs, &[T::Int4]),
        "int8pl" => (Func::Add, &[T::Int8, T::Int8]),
        "int8mi" => (Func::Sub, &[T::Int8, T::Int8]),
        "int8mul" => (Func::Mul, &[T::Int8, T::Int8]),
        "int8div" => (Func::Div, &[T::Int8, T::Int8]),
        "numeric_add" => (Func::Add, &[T::Numeric(None), T::Numeric(None)]),
        "numeric_sub" => (Func::Sub, &[T::Numeric(None), T::Numeric(None)]),
        "numeric_mul" => (Func::Mul, &[T::Numeric(None), T::Numeric(None)]),
        "numeric_div" => (Func::Div, &[T::Numeric(None), T::Numeric(None)]),
        "texteq" => (Func::Eq, &[T::Text, T::Text]),
        "textne" => (Func::Ne, &[T::Text, T::Text]),
        "booleq" => (Func::Eq, &[T::Bool, T::Bool]),
        "boolne" => (Func::Ne, &[T::Bool, T::Bool]),
        _ => return None,
    };
    Some(Lazy::Fixed(func, types))
}

/// `collation for (value)`: text has the default one, a literal of no type yet none.
pub(super) fn collation_for(args: &[Typed]) -> Result<Typed, SqlError> {
    let [value] = args else { return Err(crate::error::undefined_function("pg_collation_for()")) };
    let shown = match value.ty().map(SqlType::carrier) {
        None => Datum::Null,
        Some(SqlType::Text) if value.ty() != Some(SqlType::Json) => Datum::Text("\"default\"".into()),
        Some(_) => {
            let ty = value.ty().map(|t| without_length(t).to_string()).unwrap_or_default();
            let message = format!("collations are not supported by type {ty}");
            return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
        }
    };
    Ok(Typed::known(ScalarExpr::Literal(shown, SqlType::Text)))
}

impl Typer<'_> {
    /// A call of a function of one signature.
    pub(super) fn fixed_call(
        &mut self,
        name: &str,
        (func, types): (Func, &[SqlType]),
        args: &[&Expr],
        place: Place,
    ) -> Result<Typed, SqlError> {
        let values = args.iter().map(|a| self.typed(a, place)).collect::<Result<Vec<_>, _>>()?;
        let fits = |(v, t): (&Typed, &SqlType)| v.ty().is_none_or(|f| can_cast(f, *t, CastContext::Implicit));
        if values.len() != types.len() || !values.iter().zip(types).all(fits) {
            let name = crate::prepare::split_position(name).0;
            return Err(self.no_function(name, args, place)?);
        }
        let cast = |(v, t): (Typed, &SqlType)| Ok(Typed::known(self.cast(v, *t, CastContext::Implicit)?));
        let values = values.into_iter().zip(types).map(cast).collect::<Result<Vec<_>, SqlError>>()?;
        self.call_typed(func, values)
    }

    /// 42883 of `int8(value)` where there is no such cast: it is a call of a function that is not there.
    pub(super) fn no_cast_by_name(
        &mut self,
        name: &str,
        arg: &Expr,
        to: SqlType,
        place: Place,
    ) -> Result<Option<SqlError>, SqlError> {
        let name = crate::prepare::split_position(name).0;
        if name.starts_with(crate::prepare::CAST) {
            return Ok(None);
        }
        let from = self.typed(arg, place)?.ty();
        match from.is_none_or(|from| can_cast(from, to, CastContext::Explicit)) {
            true => Ok(None),
            false => Ok(Some(self.no_function(name, &[arg], place)?)),
        }
    }

    /// 42883 with the types of the operands.
    pub(super) fn no_operator(&mut self, sign: &str, args: &[&Expr], place: Place) -> Result<SqlError, SqlError> {
        let types = args
            .iter()
            .map(|a| Ok(self.typed(a, place)?.ty().map_or("unknown".to_string(), |t| without_length(t).to_string())))
            .collect::<Result<Vec<_>, SqlError>>()?;
        let (call, noun) = match types.as_slice() {
            [one] => (format!("{sign} {one}"), "type. You might need to add an explicit type cast."),
            [one, other] => (format!("{one} {sign} {other}"), "types. You might need to add explicit type casts."),
            _ => (sign.to_string(), "types. You might need to add explicit type casts."),
        };
        Ok(SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("operator does not exist: {call}"))
            .hint(format!("No operator matches the given name and argument {noun}")))
    }

    /// `+ value`: the value, of a number; a literal of no type yet is a float.
    pub(super) fn positive(&mut self, operand: &Expr, place: Place) -> Result<Typed, SqlError> {
        let value = self.typed(operand, place)?;
        use SqlType as T;
        match value.ty() {
            None => Ok(Typed::known(self.cast(value, T::Float8, CastContext::Implicit)?)),
            Some(T::Int2 | T::Int4 | T::Int8 | T::Float4 | T::Float8) => Ok(value),
            // As every operator it forgets the modifier.
            Some(T::Numeric(_)) => Ok(Typed::known(self.cast(value, T::Numeric(None), CastContext::Implicit)?)),
            Some(_) => Err(self.no_operator("+", &[operand], place)?),
        }
    }
}
