//! Arrays: constructors, subscripts, `op ANY (array)`, and which function of arrays an operator means.
//!
//! What the catalogs show as arrays ([`Kind::Array`]) are printed ones, with functions of their own.

use super::{Kind, Place, Typed, Typer, unsupported};
use crate::lazy::{Lazy, lazy_of, operator_by_sign};
use datafusion_expr::Expr;
use hw_plan::{Func, ScalarExpr};
use hw_repr::{AliasType, Datum, SqlError, SqlState, SqlType};
use hw_scalar::{CastContext, resolve_call_with_unknown};

/// Functions of printed arrays, by those of arrays.
const PRINTED: &[(Func, &str)] = &[
    (Func::ArrayToString, "array_to_string"),
    (Func::ArrayLength, "array_length"),
    (Func::ArrayUpper, "array_upper"),
    (Func::ArrayRemove, "array_remove"),
    (Func::Cardinality, "cardinality"),
];

fn is_array(t: &Typed) -> bool {
    t.ty().is_some_and(|t| t.element().is_some())
}

impl Typer<'_> {
    /// A printed array: what a function of the catalogs gives, or a column of text where an array is asked for, as the
    /// catalogs have them.
    fn is_printed(&self, value: &Typed) -> bool {
        let column = matches!(value.expr, ScalarExpr::Column(_, SqlType::Text)) && !value.unknown;
        value.kind == Kind::Array || column && !self.env.stored
    }

    /// A call that has arrays among its arguments: done where one is printed, else the function it means.
    pub(super) fn on_printed_array(
        &mut self,
        func: Func,
        args: &mut Vec<Typed>,
    ) -> Result<Result<Typed, Func>, SqlError> {
        let printed = args.first().is_some_and(|a| self.is_printed(a));
        if let Some((_, name)) = PRINTED.iter().find(|(f, _)| *f == func && printed) {
            return self.system(name, std::mem::take(args)).map(Ok);
        }
        let (first, second) = (args.first().is_some_and(is_array), args.get(1).is_some_and(is_array));
        let unknown = |i: usize| args.get(i).is_some_and(|a: &Typed| a.unknown);
        Ok(Err(match func {
            Func::Concat if first && (second || unknown(1)) || second && unknown(0) => Func::ArrayCat,
            Func::Concat if first => Func::ArrayAppend,
            Func::Concat if second => Func::ArrayPrepend,
            Func::WidthBucket if args.len() == 2 => Func::WidthBucketArray,
            Func::JsonContains if first || second => Func::ArrayContains,
            Func::JsonContained if first || second => Func::ArrayContained,
            other => other,
        }))
    }

    /// `ARRAY[...]`
    pub(super) fn array_of(&mut self, args: Vec<Typed>) -> Result<Typed, SqlError> {
        let func = if args.iter().any(is_array) { Func::ArrayStack } else { Func::ArrayMake };
        self.call_typed(func, args)
    }

    /// `ARRAY[...]::type[]`: each element is cast, as in PostgreSQL.
    pub(super) fn array_cast(&mut self, arg: &Expr, to: SqlType, place: Place) -> Result<Option<Typed>, SqlError> {
        let Expr::ScalarFunction(f) = arg else { return Ok(None) };
        let (Some(Lazy::ArrayOf), Some(element)) = (lazy_of(&f.func), to.element()) else { return Ok(None) };
        let mut args = vec![];
        let mut nested = false;
        for arg in &f.args {
            // An array within is one of the same type.
            if let Some(inner) = self.array_cast(arg, to, place)? {
                nested = true;
                args.push(inner.expr);
                continue;
            }
            let value = self.typed(arg, place)?;
            let wanted = if is_array(&value) { to } else { element };
            nested |= is_array(&value);
            args.push(self.cast(value, wanted, CastContext::Explicit)?);
        }
        let func = if nested { Func::ArrayStack } else { Func::ArrayMake };
        Ok(Some(Typed::known(super::fold(ScalarExpr::Call { func, args, ty: to }))))
    }

    /// Subscripts of an array or a jsonb.
    pub(super) fn subscript(&mut self, pattern: &str, args: Vec<Typed>) -> Result<Typed, SqlError> {
        let mut args = args.into_iter();
        let Some(base) = args.next() else { return Err(SqlError::internal("subscripts of nothing")) };
        match base.ty() {
            Some(SqlType::Jsonb) if !pattern.contains('s') => {
                return args.try_fold(base, |value, key| {
                    let key = match key.ty() {
                        Some(SqlType::Int2 | SqlType::Int4 | SqlType::Int8) => {
                            let place = Typed::known(self.cast(key, SqlType::Int4, CastContext::Assignment)?);
                            Typed::known(self.cast(place, SqlType::Text, CastContext::Explicit)?)
                        }
                        _ => Typed::known(self.cast(key, SqlType::Text, CastContext::Implicit)?),
                    };
                    // As a path: a number is a key of an object, and a scalar has nothing within it.
                    self.call_typed(Func::JsonExtractPath, vec![value, key])
                });
            }
            Some(SqlType::Jsonb) => {
                let message = "jsonb subscript does not support slices";
                return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
            }
            Some(SqlType::Array(_)) => {}
            other => {
                let ty = other.map_or_else(|| "unknown".to_string(), |t| t.without_modifier().to_string());
                let message = format!("cannot subscript type {ty} because it does not support subscripting");
                return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
            }
        }
        let sliced = pattern.contains('s');
        let mut all = vec![base];
        for letter in pattern.chars() {
            if sliced && letter == 'i' {
                // Among slices, `[n]` is `[1:n]`.
                all.push(Typed::known(ScalarExpr::Literal(Datum::Int4(1), SqlType::Int4)));
            }
            let count = if letter == 's' { 2 } else { 1 };
            for value in args.by_ref().take(count) {
                if value.ty().is_some_and(|t| !hw_scalar::can_cast(t, SqlType::Int4, CastContext::Assignment)) {
                    let message = "array subscript must have type integer";
                    return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
                }
                all.push(Typed::known(self.cast(value, SqlType::Int4, CastContext::Assignment)?));
            }
        }
        self.call_typed(if sliced { Func::Slice } else { Func::Subscript }, all)
    }

    /// `array_to_json(array [, pretty])`
    pub(super) fn array_to_json(&mut self, args: Vec<Typed>) -> Result<Typed, SqlError> {
        if !args.first().is_some_and(is_array) || args.len() > 2 {
            return Err(crate::error::undefined_function("array_to_json(unknown)"));
        }
        self.call_typed(Func::ArrayToJson, args)
    }

    /// `value op ANY (array)` and `value op ALL (array)`.
    pub(super) fn quantified(&mut self, sign: &str, all: bool, args: Vec<Typed>) -> Result<Typed, SqlError> {
        let [left, right] = <[Typed; 2]>::try_from(args).map_err(|_| SqlError::internal("ANY takes two operands"))?;
        if self.is_printed(&right) {
            if sign == "=" && !all {
                return self.printed_any(left, right);
            }
            return Err(unsupported("ANY and ALL other than = ANY over an array of the catalogs"));
        }
        let (op, negated) = match operator_by_sign(sign) {
            Some(Lazy::Call(op)) => (op, false),
            Some(Lazy::NotCall(op)) => (op, true),
            _ => return Err(unsupported(&format!("operator {sign} with ANY or ALL"))),
        };
        // Not op ANY is not (op ALL).
        let func = op.over_elements(all != negated);
        let func = func.ok_or_else(|| unsupported(&format!("operator {sign} with ANY or ALL")))?;
        let element = match right.ty() {
            None => left.ty().map(SqlType::without_modifier),
            Some(ty) => match ty.element() {
                Some(element) => Some(element),
                None => {
                    let message = "op ANY/ALL (array) requires array on right side";
                    return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
                }
            },
        };
        let (wanted, _) = resolve_call_with_unknown(op, &[left.ty(), element])?;
        let [to, of] = wanted.as_slice() else { return Err(SqlError::internal("an operator of other than two")) };
        let array = of.array_of().ok_or_else(|| unsupported(&format!("arrays of {of}")))?;
        let args = vec![self.cast(left, *to, CastContext::Implicit)?, self.cast(right, array, CastContext::Implicit)?];
        let call = super::fold(ScalarExpr::Call { func, args, ty: SqlType::Bool });
        Ok(Typed::known(if negated { ScalarExpr::Not(Box::new(call)) } else { call }))
    }

    /// `value = ANY (array)` over the printed forms, for types whose equal values print alike.
    fn printed_any(&mut self, left: Typed, right: Typed) -> Result<Typed, SqlError> {
        if let Some(ty) = left.ty() {
            use SqlType as T;
            if !matches!(ty, T::Bool | T::Int2 | T::Int4 | T::Int8 | T::Text | T::Varchar(_) | T::Uuid | T::Date) {
                return Err(unsupported(&format!("= ANY (array) on type {ty}")).hint("Write IN (...)."));
            }
        }
        self.system("hw_any_equal", vec![left, right])
    }

    /// `pg_typeof(any)`: known at planning. Without `values`, some of the value only stands for its type.
    pub(super) fn type_of(&mut self, args: Vec<Typed>, values: bool) -> Result<Typed, SqlError> {
        let [value] = args.as_slice() else {
            return Err(crate::error::undefined_function("pg_typeof()"));
        };
        let name = match (value.ty(), value.kind) {
            (None, _) => "unknown".to_string(),
            (_, Kind::Reg(reg)) => reg.name().to_string(),
            (Some(ty), _) => pg_type_name(ty),
        };
        let name = ScalarExpr::Literal(Datum::Text(name), SqlType::Alias(AliasType::RegType));
        // What fails, fails here too.
        if !value.unknown && values && hw_scalar::may_fail(&value.expr) {
            let computed = ScalarExpr::IsNull(Box::new(value.expr.clone()));
            return Ok(Typed::known(ScalarExpr::Case {
                branches: vec![(computed, name.clone())],
                otherwise: Box::new(name),
            }));
        }
        Ok(Typed::known(name))
    }
}

/// As `regtype` prints a type: without its modifier, and with the standard's names.
fn pg_type_name(ty: SqlType) -> String {
    match ty.without_modifier() {
        SqlType::Char(_) => "character".to_string(),
        SqlType::Array(element) => format!("{}[]", pg_type_name(element.ty())),
        other => other.to_string(),
    }
}
