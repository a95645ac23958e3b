//! Rows: constructors, their comparison field by field, `IS NULL`, fields, casts to composite types.
//!
//! A constructor keeps its fields apart until something needs the row as one value: comparisons of two constructors become
//! comparisons of columns, which views and their push-down see as what they are, and a literal among the fields takes its
//! type from what it meets.

use super::{Place, Typed, Typer, connective, fold};
use datafusion_common::{Column, DFSchema};
use datafusion_expr::Expr;
use hw_plan::{Func, ScalarExpr};
use hw_repr::types::RowField;
use hw_repr::{Datum, RowType, SqlError, SqlState, SqlType};
use hw_scalar::CastContext;

impl Typed {
    fn row(fields: Vec<Typed>, ty: RowType) -> Typed {
        let args = fields.iter().map(|f| f.expr.clone()).collect();
        let expr = ScalarExpr::Call { func: Func::RowMake, args, ty: SqlType::Row(ty) };
        Typed { fields: Some(fields), ..Typed::known(expr) }
    }
}

/// The six comparisons and IS NOT DISTINCT FROM.
pub(super) fn compares(func: Func) -> bool {
    matches!(func, Func::Eq | Func::Ne | Func::Lt | Func::Le | Func::Gt | Func::Ge | Func::NotDistinct)
}

/// The type of a row in a message.
fn shown(ty: RowType) -> SqlType {
    SqlType::Row(ty)
}

impl Typer<'_> {
    /// `ROW(...)` and `(a, b)`; `t.*` among the arguments stands for its columns.
    pub(super) fn row_of(&mut self, args: &[&Expr], place: Place) -> Result<Typed, SqlError> {
        let mut fields = vec![];
        for arg in args {
            match self.columns_of(arg, place)? {
                Some(columns) => fields.extend(columns.into_iter().map(|(_, value)| value)),
                None => fields.push(self.typed(arg, place)?),
            }
        }
        let field_type = |f: &Typed| match f.ty() {
            Some(ty @ SqlType::Char(_)) => ty,
            Some(ty) => ty.without_modifier(),
            None => SqlType::Text,
        };
        let types: Vec<SqlType> = fields.iter().map(field_type).collect();
        Ok(Typed::row(fields, RowType::of_types(&types)?))
    }

    /// A row of a relation as one value, fields named as its columns; a column of the relation's name comes first.
    pub(super) fn whole_row(&mut self, name: &str, args: &[&Expr], place: Place) -> Result<Typed, SqlError> {
        let named = self.schema.iter().find(|(_, f)| crate::prepare::shown_name(f.name()) == name);
        if let Some((qualifier, field)) = named {
            let column = Column::new(qualifier.cloned(), field.name());
            return self.typed(&Expr::Column(column), place);
        }
        let columns = match args {
            [one] => self.columns_of(one, place)?,
            _ => None,
        };
        let columns = columns.ok_or_else(|| SqlError::internal("a row of no relation"))?;
        let fields = columns.iter().map(|(name, value)| {
            let ty = value.ty().unwrap_or(SqlType::Text);
            RowField { name: crate::prepare::shown_name(name).to_string(), ty }
        });
        let ty = RowType::record(fields.collect())?;
        Ok(Typed::row(columns.into_iter().map(|(_, value)| value).collect(), ty))
    }

    /// The columns that `t.*` stands for.
    fn columns_of(&mut self, arg: &Expr, place: Place) -> Result<Option<Vec<(String, Typed)>>, SqlError> {
        #[expect(deprecated)]
        let Expr::Wildcard { qualifier: Some(qualifier), .. } = arg else { return Ok(None) };
        let named = |schema: &DFSchema| {
            schema
                .iter()
                .filter(|(q, _)| q.is_some_and(|q| q.resolved_eq(qualifier)))
                .map(|(q, f)| (f.name().clone(), Column::new(q.cloned(), f.name())))
                .collect::<Vec<_>>()
        };
        let own = named(self.schema);
        let (found, outer) = match own.is_empty() {
            false => (own, false),
            true => (self.outer.iter().rev().map(|s| named(s)).find(|c| !c.is_empty()).unwrap_or_default(), true),
        };
        let mut columns = vec![];
        for (name, column) in found {
            let value = if outer { self.outer_column(&column)? } else { self.typed(&Expr::Column(column), place)? };
            columns.push((name, value));
        }
        Ok(Some(columns))
    }

    /// A constructor as one value: literals without a type become text.
    pub(super) fn built(&mut self, value: Typed) -> Result<Typed, SqlError> {
        let Typed { fields: Some(fields), expr, .. } = value else { return Ok(value) };
        let ty = expr.ty();
        let args = fields.into_iter().map(|f| self.settle(f)).collect::<Result<Vec<_>, _>>()?;
        Ok(Typed::known(fold(ScalarExpr::Call { func: Func::RowMake, args, ty })))
    }

    /// Constructors of as many fields, each field of one type where there is one for all: a literal takes that of the others.
    pub(super) fn aligned(&mut self, values: Vec<Typed>) -> Result<Vec<Typed>, SqlError> {
        let count = values.first().and_then(|v| v.fields.as_ref()).map_or(0, Vec::len);
        if count == 0 || !values.iter().all(|v| v.fields.as_ref().is_some_and(|f| f.len() == count)) {
            return Ok(values);
        }
        let mut types = vec![];
        for at in 0..count {
            let of = |v: &Typed| v.fields.as_ref().and_then(|f| f.get(at)).and_then(Typed::ty);
            match hw_scalar::common_type("ROW", &values.iter().map(of).collect::<Vec<_>>()) {
                Ok(ty) => types.push(ty.without_modifier()),
                Err(_) => return Ok(values),
            }
        }
        let to = SqlType::Row(RowType::of_types(&types)?);
        values.into_iter().map(|v| Ok(Typed::known(self.cast(v, to, CastContext::Implicit)?))).collect()
    }

    /// A comparison of two constructors; `None` where one operand is none.
    pub(super) fn compare_rows(&mut self, func: Func, args: &[Typed]) -> Result<Option<Typed>, SqlError> {
        let [left, right] = args else { return Ok(None) };
        let (Some(left), Some(right)) = (&left.fields, &right.fields) else { return Ok(None) };
        if left.len() != right.len() {
            return Err(SqlError::new(SqlState::SYNTAX, "unequal number of entries in row expressions"));
        }
        if left.is_empty() {
            return Err(SqlError::unsupported("cannot compare rows of zero length"));
        }
        let pairs: Vec<[Typed; 2]> = left.iter().cloned().zip(right.iter().cloned()).map(|(l, r)| [l, r]).collect();
        let (and, each) = match func {
            Func::Eq | Func::NotDistinct => (true, func),
            Func::Ne => (false, func),
            _ => return self.order_rows(func, &pairs).map(Some),
        };
        let tests = pairs.into_iter().map(|pair| Ok(self.call_typed(each, pair.into())?.expr));
        let tests = tests.collect::<Result<Vec<_>, SqlError>>()?;
        Ok(Some(Typed::known(all_or_any(and, tests))))
    }

    /// `a < x OR a = x AND (b < y OR ...)`
    fn order_rows(&mut self, func: Func, pairs: &[[Typed; 2]]) -> Result<Typed, SqlError> {
        let strict = match func {
            Func::Lt | Func::Le => Func::Lt,
            _ => Func::Gt,
        };
        let mut rest: Option<ScalarExpr> = None;
        for pair in pairs.iter().rev() {
            rest = Some(match rest {
                None => self.call_typed(func, pair.to_vec())?.expr,
                Some(rest) => {
                    let before = self.call_typed(strict, pair.to_vec())?.expr;
                    let equal = self.call_typed(Func::Eq, pair.to_vec())?.expr;
                    connective(false, [before, connective(true, [equal, rest])])
                }
            });
        }
        rest.map(Typed::known).ok_or_else(|| SqlError::internal("a row without fields"))
    }

    /// `value IS NULL` (`null`) or IS NOT NULL: of rows, whether all fields are NULL, or none is.
    pub(super) fn null_test(&mut self, e: &Expr, null: bool, place: Place) -> Result<ScalarExpr, SqlError> {
        let value = self.typed(e, place)?;
        let of_one = |value: ScalarExpr| {
            let test = ScalarExpr::IsNull(Box::new(value));
            if null { test } else { ScalarExpr::Not(Box::new(test)) }
        };
        if let Some(fields) = value.fields {
            let tests =
                fields.into_iter().map(|f| Ok(of_one(self.settle(f)?))).collect::<Result<Vec<_>, SqlError>>()?;
            return Ok(all_or_any(true, tests));
        }
        let value = self.settle(value)?;
        if let SqlType::Row(_) = value.ty() {
            let func = if null { Func::RowIsNull } else { Func::RowIsNotNull };
            return Ok(fold(ScalarExpr::Call { func, args: vec![value], ty: SqlType::Bool }));
        }
        Ok(of_one(value))
    }

    /// A constructor as a row of `to`, field by field.
    pub(super) fn cast_row(
        &mut self,
        fields: Vec<Typed>,
        from: SqlType,
        to: RowType,
        context: CastContext,
    ) -> Result<ScalarExpr, SqlError> {
        let wanted = &to.def().fields;
        if fields.len() != wanted.len() {
            let message = format!("cannot cast type {from} to {}", shown(to));
            let few = if fields.len() < wanted.len() { "few" } else { "many" };
            return Err(SqlError::new(SqlState::new("42846"), message).detail(format!("Input has too {few} columns.")));
        }
        let mut args = vec![];
        for (at, (field, wanted)) in fields.into_iter().zip(wanted).enumerate() {
            let ty = field.ty();
            args.push(self.cast(field, wanted.ty, context).map_err(|e| match ty {
                Some(ty) if e.code == SqlState::new("42846") || e.code == SqlState::DATATYPE_MISMATCH => {
                    let message = format!("cannot cast type {from} to {}", shown(to));
                    let detail = format!("Cannot cast type {ty} to {} in column {}.", wanted.ty, at + 1);
                    SqlError::new(SqlState::new("42846"), message).detail(detail)
                }
                _ => e,
            })?);
        }
        Ok(fold(ScalarExpr::Call { func: Func::RowMake, args, ty: SqlType::Row(to) }))
    }

    /// `(row).name`
    pub(super) fn field(&mut self, name: &str, args: &[&Expr], place: Place) -> Result<Typed, SqlError> {
        let [of] = args else { return Err(SqlError::internal("a field of other than one row")) };
        let value = self.typed(of, place)?;
        let ty = match value.ty() {
            Some(SqlType::Row(row)) => row,
            other => {
                let ty = other.map_or_else(|| "unknown".to_string(), |t| t.without_modifier().to_string());
                let message = format!("column notation .{name} applied to type {ty}, which is not a composite type");
                return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message));
            }
        };
        let Some(at) = ty.def().fields.iter().position(|f| f.name == name) else {
            let message = match ty.is_record() {
                true => format!("could not identify column \"{name}\" in record data type"),
                false => format!("column \"{name}\" not found in data type {}", shown(ty)),
            };
            return Err(SqlError::new(SqlState::UNDEFINED_COLUMN, message));
        };
        if let Some(field) = value.fields.and_then(|fields| fields.into_iter().nth(at)) {
            return Ok(Typed::known(self.settle(field)?));
        }
        let position = i32::try_from(at).map_err(|_| SqlError::internal("a row of too many fields"))?;
        let args = vec![value.expr, ScalarExpr::Literal(Datum::Int4(position), SqlType::Int4)];
        Ok(Typed::known(fold(ScalarExpr::Call { func: Func::RowField, args, ty: ty.def().fields[at].ty })))
    }
}

/// AND or OR of these; of none what nothing contradicts.
fn all_or_any(and: bool, mut tests: Vec<ScalarExpr>) -> ScalarExpr {
    match tests.len() {
        0 => ScalarExpr::Literal(Datum::Bool(and), SqlType::Bool),
        1 => tests.remove(0),
        _ if and => ScalarExpr::And(tests),
        _ => ScalarExpr::Or(tests),
    }
}
