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

/// Functions of two arguments that stand behind aggregates, indexes and sorting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pair {
    /// The greater one.
    Larger,
    /// The less one.
    Smaller,
    /// -1, 0 or 1.
    Compared,
    /// `bool_and` of two.
    And,
    /// `bool_or` of two.
    Or,
}

/// The function of that name and its arguments' type; `None` is any type of arrays.
pub(crate) fn pair(name: &str) -> Option<(Pair, Option<SqlType>)> {
    use SqlType as T;
    match name {
        "booland_statefunc" => return Some((Pair::And, Some(T::Bool))),
        "boolor_statefunc" => return Some((Pair::Or, Some(T::Bool))),
        "array_larger" => return Some((Pair::Larger, None)),
        "array_smaller" => return Some((Pair::Smaller, None)),
        "btarraycmp" => return Some((Pair::Compared, None)),
        _ => {}
    }
    const NAMES: &[(&str, &str, SqlType)] = &[
        ("int2", "btint2cmp", T::Int2),
        ("int4", "btint4cmp", T::Int4),
        ("int8", "btint8cmp", T::Int8),
        ("float4", "btfloat4cmp", T::Float4),
        ("float8", "btfloat8cmp", T::Float8),
        ("numeric_", "numeric_cmp", T::Numeric(None)),
        ("text_", "", T::Text),
        ("bpchar_", "bpcharcmp", T::Char(None)),
        ("oid", "btoidcmp", T::Alias(hw_repr::AliasType::Oid)),
        ("timetz_", "timetz_cmp", T::TimeTz),
        ("", "btboolcmp", T::Bool),
        ("", "date_cmp", T::Date),
        ("", "time_cmp", T::Time),
        ("", "timestamp_cmp", T::Timestamp),
        ("", "timestamptz_cmp", T::TimestampTz),
        ("", "interval_cmp", T::Interval),
        ("", "bitcmp", T::Bit(None)),
        ("", "varbitcmp", T::Varbit(None)),
    ];
    for (prefix, compare, ty) in NAMES {
        if !compare.is_empty() && *compare == name {
            return Some((Pair::Compared, Some(*ty)));
        }
        match name.strip_prefix(prefix).filter(|_| !prefix.is_empty()) {
            Some("larger") => return Some((Pair::Larger, Some(*ty))),
            Some("smaller") => return Some((Pair::Smaller, Some(*ty))),
            _ => {}
        }
    }
    None
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

    /// A call of a [`Pair`]: NULL where an argument is.
    pub(super) fn pair_call(
        &mut self,
        name: &str,
        (pair, ty): (Pair, Option<SqlType>),
        args: &[&Expr],
        place: Place,
    ) -> Result<Typed, SqlError> {
        let values = args.iter().map(|a| self.typed(a, place)).collect::<Result<Vec<_>, _>>()?;
        let arrays = || values.iter().find_map(Typed::ty).filter(|t| t.element().is_some());
        let wanted = ty.or_else(arrays).map(SqlType::without_modifier);
        let fits = |v: &Typed| match (v.ty(), wanted) {
            (None, _) => true,
            (Some(from), Some(to)) => can_cast(from, to, CastContext::Implicit),
            (Some(_), None) => false,
        };
        let (Some(ty), 2, true) = (wanted, values.len(), values.iter().all(fits)) else {
            let name = crate::prepare::split_position(name).0;
            return Err(self.no_function(name, args, place)?);
        };
        let both =
            values.into_iter().map(|v| self.cast(v, ty, CastContext::Implicit)).collect::<Result<Vec<_>, _>>()?;
        let call = |func, ty| ScalarExpr::Call { func, args: both.clone(), ty };
        let number = |n| ScalarExpr::Literal(Datum::Int4(n), SqlType::Int4);
        let value = match pair {
            Pair::Larger => call(Func::Greatest, ty),
            Pair::Smaller => call(Func::Least, ty),
            Pair::And => ScalarExpr::And(both.clone()),
            Pair::Or => ScalarExpr::Or(both.clone()),
            Pair::Compared => ScalarExpr::Case {
                branches: vec![(call(Func::Lt, SqlType::Bool), number(-1)), (call(Func::Eq, SqlType::Bool), number(0))],
                otherwise: Box::new(number(1)),
            },
        };
        let null = ScalarExpr::Literal(Datum::Null, value.ty());
        let any = ScalarExpr::Or(both.iter().map(|b| ScalarExpr::IsNull(Box::new(b.clone()))).collect());
        Ok(Typed::known(ScalarExpr::Case { branches: vec![(any, null)], otherwise: Box::new(value) }))
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

/// Conditions that a row must meet, one after the other: where one is NULL, those behind it that may fail are not computed.
pub(super) fn conjunction(all: &[ScalarExpr]) -> ScalarExpr {
    let no = || ScalarExpr::Literal(Datum::Bool(false), SqlType::Bool);
    let decided = |(i, e): (usize, &ScalarExpr)| match all[i + 1..].iter().any(hw_scalar::may_fail) {
        true => ScalarExpr::Coalesce(vec![e.clone(), no()]),
        false => e.clone(),
    };
    ScalarExpr::And(all.iter().enumerate().map(decided).collect())
}

/// The type of values of char(n): beside NULLs they keep their length, and so their spaces.
pub(super) fn one_length(values: &[Typed]) -> SqlType {
    let null = |v: &&Typed| v.unknown && matches!(v.expr, ScalarExpr::Literal(Datum::Null, _));
    let mut types = values.iter().filter(|v| !null(v)).map(Typed::ty);
    match types.next().flatten() {
        Some(ty @ SqlType::Char(_)) if types.all(|other| other == Some(ty)) => ty,
        _ => SqlType::Char(None),
    }
}
