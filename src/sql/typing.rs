//! Gives every expression PostgreSQL's types: a DataFusion expression as `SqlToRel` made it becomes one of ours over
//! *slots*, the parts that only a plan can compute (columns, aggregates, subqueries, parameters).

mod aggregate;
mod array;
mod cast;
mod catalog;
mod function;
mod operator;
mod row;
mod sets;
mod subquery;
mod variadic;
mod window;

use crate::lazy::{Lazy, lazy_of};
use crate::planner::Env;
use crate::prepare::split_position;
use crate::sets::{Sets, check_single};
use crate::value::from_scalar_value;
use crate::volatile::Volatile;
use cast::{assignment_error, float_literal, fold, parse_literal, without_length};
pub(crate) use cast::{cast_columns, cast_columns_in, cast_known};
use datafusion_common::metadata::FieldMetadata;
use datafusion_common::{DFSchema, DFSchemaRef, ExprSchema, ScalarValue};
use datafusion_expr::expr::Placeholder;
use datafusion_expr::{Expr, Operator};
pub(crate) use function::body_of;
use hw_plan::{Func, ScalarExpr};
use hw_repr::{AliasType, Datum, SqlError, SqlState, SqlType};
use hw_scalar::{CastContext, can_cast, common_type, comparison, connective, resolve_call_with_unknown};
use operator::collation_for;
pub(crate) use operator::{Pair, fixed, pair};
use std::sync::Arc;

/// A typed expression, or a literal or parameter that has no type yet (`unknown`, carried as text).
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    pub expr: ScalarExpr,
    pub unknown: bool,
    /// How a client sees it, where that is not the type's way.
    pub kind: Kind,
    /// Where it stands in the text, if it is a literal whose position is known.
    pub position: Option<usize>,
    /// The fields of a row's constructor, which have no types yet where they are literals: see [`row`].
    pub fields: Option<Vec<Typed>>,
}

/// Types of PostgreSQL that live only inside an expression here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Its SQL type says it all.
    Plain,
    /// A bigint that is shown as the name of an object.
    Reg(Reg),
    /// A text that is a printed array.
    Array,
}

/// PostgreSQL's types that print an OID as a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reg {
    /// regclass
    Class,
    /// regtype
    Type,
    /// regnamespace
    Namespace,
    /// regrole
    Role,
    /// regproc
    Proc,
    /// regprocedure
    Procedure,
}

impl Reg {
    pub(crate) const ALL: [Reg; 6] = [Reg::Class, Reg::Type, Reg::Namespace, Reg::Role, Reg::Proc, Reg::Procedure];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Reg::Class => "regclass",
            Reg::Type => "regtype",
            Reg::Namespace => "regnamespace",
            Reg::Role => "regrole",
            Reg::Proc => "regproc",
            Reg::Procedure => "regprocedure",
        }
    }

    /// The type that a client sees.
    pub fn alias(self) -> AliasType {
        match self {
            Reg::Class => AliasType::RegClass,
            Reg::Type => AliasType::RegType,
            Reg::Namespace => AliasType::RegNamespace,
            Reg::Role => AliasType::RegRole,
            Reg::Proc => AliasType::RegProc,
            Reg::Procedure => AliasType::RegProcedure,
        }
    }

    /// The type of that name.
    pub fn by_name(name: &str) -> Option<Reg> {
        Reg::ALL.into_iter().find(|r| r.name() == name)
    }
}

impl Typed {
    pub fn known(expr: ScalarExpr) -> Typed {
        Typed { expr, unknown: false, kind: Kind::Plain, position: None, fields: None }
    }
    fn untyped(expr: ScalarExpr) -> Typed {
        Typed { unknown: true, ..Typed::known(expr) }
    }
    pub fn ty(&self) -> Option<SqlType> {
        if self.unknown { None } else { Some(self.expr.ty()) }
    }
}

/// Where subqueries may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A conjunct of WHERE, HAVING or ON.
    Conjunct,
    /// Below OR, NOT, CASE or a call, within a filter.
    Nested,
    /// A select list and the like.
    Value,
}

/// Types the expressions of one plan node.
pub(crate) struct Typer<'a> {
    pub env: &'a Env<'a>,
    pub schema: &'a DFSchema,
    pub outer: &'a [DFSchemaRef],
    pub slots: Vec<Expr>,
    /// Whether set-returning calls may stand here.
    pub sets: Sets,
}

fn unsupported(what: &str) -> SqlError {
    SqlError::unsupported(format!("{what} is not supported yet"))
}

impl<'a> Typer<'a> {
    pub fn new(env: &'a Env<'a>, schema: &'a DFSchema, outer: &'a [DFSchemaRef]) -> Self {
        Typer { env, schema, outer, slots: vec![], sets: Sets::Arguments("aggregate") }
    }

    fn slot(&mut self, expr: Expr, ty: SqlType) -> Typed {
        let found = self.slots.iter().position(|s| *s == expr);
        let index = found.unwrap_or_else(|| {
            self.slots.push(expr);
            self.slots.len() - 1
        });
        Typed::known(ScalarExpr::Column(index, ty))
    }

    /// An expression with its type.
    pub fn typed(&mut self, expr: &Expr, place: Place) -> Result<Typed, SqlError> {
        let inner = if place == Place::Conjunct { Place::Nested } else { place };
        match expr {
            Expr::Alias(a) => self.typed(&a.expr, place),
            Expr::Column(c) => {
                let field = self.schema.field_from_column(c).map_err(crate::error::from_planner)?;
                let ty = field_type(field)?;
                Ok(self.slot(expr.clone(), ty))
            }
            Expr::OuterReferenceColumn(_, c) => self.outer_column(c),
            Expr::Literal(value, metadata) => literal(value, metadata.as_ref()),
            Expr::BinaryExpr(b) => match b.op {
                Operator::And | Operator::Or => {
                    let keep = if b.op == Operator::And { place } else { inner };
                    let what = if b.op == Operator::And { "AND" } else { "OR" };
                    let operands = [self.boolean_of(what, &b.left, keep)?, self.boolean_of(what, &b.right, keep)?];
                    Ok(Typed::known(connective(b.op == Operator::And, operands)))
                }
                op => {
                    let func = comparison(op).ok_or_else(|| unsupported(&format!("operator {op}")))?;
                    self.call(func, &[b.left.as_ref(), b.right.as_ref()], inner)
                }
            },
            Expr::Like(l) => self.like(l, inner),
            Expr::Not(e) => Ok(Typed::known(ScalarExpr::Not(Box::new(self.boolean_of("NOT", e, inner)?)))),
            Expr::IsNull(e) => Ok(Typed::known(self.null_test(e, true, inner)?)),
            Expr::IsNotNull(e) => Ok(Typed::known(self.null_test(e, false, inner)?)),
            Expr::IsTrue(e) => self.truth(e, true, false, inner),
            Expr::IsNotTrue(e) => self.truth(e, true, true, inner),
            Expr::IsFalse(e) => self.truth(e, false, false, inner),
            Expr::IsNotFalse(e) => self.truth(e, false, true, inner),
            Expr::IsUnknown(e) => Ok(Typed::known(ScalarExpr::IsNull(Box::new(self.boolean(e, inner)?)))),
            Expr::IsNotUnknown(e) => {
                let test = ScalarExpr::IsNull(Box::new(self.boolean(e, inner)?));
                Ok(Typed::known(ScalarExpr::Not(Box::new(test))))
            }
            Expr::Negative(e) => self.call(Func::Neg, &[e.as_ref()], inner),
            Expr::Between(b) => {
                let (low, high) = if b.negated { (Func::Lt, Func::Gt) } else { (Func::Ge, Func::Le) };
                let low = self.call(low, &[b.expr.as_ref(), b.low.as_ref()], inner)?.expr;
                let high = self.call(high, &[b.expr.as_ref(), b.high.as_ref()], inner)?.expr;
                check_single("AND", &low, &self.slots).and_then(|()| check_single("AND", &high, &self.slots))?;
                Ok(Typed::known(connective(!b.negated, [low, high])))
            }
            Expr::Case(c) => self.without_sets("CASE", |t| t.case(c, inner)),
            Expr::Cast(c) => {
                let ty = field_type(&c.field)?;
                let value = self.typed(&c.expr, inner)?;
                Ok(Typed::known(self.cast(value, ty, CastContext::Explicit)?))
            }
            Expr::InList(l) => self.in_list(l, inner),
            Expr::ScalarFunction(f) => self.function(f, inner),
            Expr::Placeholder(p) => self.placeholder(p),
            Expr::AggregateFunction(a) => self.aggregate(a),
            Expr::WindowFunction(w) => self.window(w),
            Expr::Exists(e) => self.exists(e),
            Expr::InSubquery(i) => self.in_subquery(i),
            Expr::ScalarSubquery(q) => self.scalar_subquery(q),
            Expr::SetComparison(c) => self.set_comparison(c),
            Expr::GroupingSet(_) => Err(unsupported("a grouping set within an expression")),
            other => Err(unsupported(&format!("expression {other}"))),
        }
    }

    fn like(&mut self, l: &datafusion_expr::expr::Like, inner: Place) -> Result<Typed, SqlError> {
        let func = if l.case_insensitive { Func::ILike } else { Func::Like };
        let (value, pattern) = (self.typed(&l.expr, inner)?, self.typed(&l.pattern, inner)?);
        let like = self.call_typed(func, vec![value, pattern])?;
        Ok(if l.negated { Typed::known(ScalarExpr::Not(Box::new(like.expr))) } else { like })
    }

    fn outer_column(&mut self, column: &datafusion_common::Column) -> Result<Typed, SqlError> {
        for schema in self.outer.iter().rev() {
            if let Ok(field) = schema.field_from_column(column) {
                let ty = field_type(field)?;
                let expr = Expr::OuterReferenceColumn(Arc::clone(field), column.clone());
                return Ok(self.slot(expr, ty));
            }
        }
        Err(SqlError::new(SqlState::UNDEFINED_COLUMN, format!("column {} does not exist", column.flat_name())))
    }

    /// A boolean operand.
    pub fn boolean(&mut self, expr: &Expr, place: Place) -> Result<ScalarExpr, SqlError> {
        self.boolean_of("WHERE", expr, place)
    }

    fn boolean_of(&mut self, what: &str, expr: &Expr, place: Place) -> Result<ScalarExpr, SqlError> {
        let value = self.typed(expr, place)?;
        match value.ty() {
            None | Some(SqlType::Bool) => {
                check_single(what, &value.expr, &self.slots)?;
                self.cast(value, SqlType::Bool, CastContext::Implicit)
            }
            Some(ty) => Err(SqlError::new(
                SqlState::DATATYPE_MISMATCH,
                format!("argument of {what} must be type boolean, not type {}", without_length(ty)),
            )),
        }
    }

    fn truth(&mut self, e: &Expr, wanted: bool, negated: bool, place: Place) -> Result<Typed, SqlError> {
        let value = self.boolean(e, place)?;
        let value = if wanted { value } else { ScalarExpr::Not(Box::new(value)) };
        let no = ScalarExpr::Literal(Datum::Bool(false), SqlType::Bool);
        let test = ScalarExpr::Coalesce(vec![value, no]);
        Ok(Typed::known(if negated { ScalarExpr::Not(Box::new(test)) } else { test }))
    }

    /// The expression itself; what is still unknown becomes text.
    pub fn settle(&mut self, value: Typed) -> Result<ScalarExpr, SqlError> {
        let value = self.built(value)?;
        match (value.unknown, value.kind) {
            (true, _) => {
                if let ScalarExpr::Literal(Datum::Text(s), _) = &value.expr {
                    self.env.settled.borrow_mut().insert(s.clone());
                }
                self.cast(value, SqlType::Text, CastContext::Implicit)
            }
            (false, Kind::Reg(reg)) => Ok(as_type(self.shown(value)?.expr, SqlType::Alias(reg.alias()))),
            (false, _) => Ok(value.expr),
        }
    }

    fn call(&mut self, func: Func, args: &[&Expr], place: Place) -> Result<Typed, SqlError> {
        let args = args.iter().map(|a| self.typed(a, place)).collect::<Result<Vec<_>, _>>()?;
        self.call_typed(func, args)
    }

    fn call_typed(&mut self, func: Func, mut args: Vec<Typed>) -> Result<Typed, SqlError> {
        if row::compares(func)
            && let Some(compared) = self.compare_rows(func, &args)?
        {
            return Ok(compared);
        }
        if matches!(func, Func::Greatest | Func::Least | Func::ArrayMake) {
            args = self.aligned(args)?;
        }
        if func == Func::Concat && args.iter().any(|a| a.kind == Kind::Array) {
            return self.system("hw_array_concat", args);
        }
        if let (Func::NullIf, [first, _]) = (func, args.as_slice()) {
            // The result, and what is compared.
            args.insert(0, first.clone());
            let types: Vec<Option<SqlType>> = args[1..].iter().map(Typed::ty).collect();
            let (wanted, ty) = resolve_call_with_unknown(func, &types)?;
            let cast = |(a, to)| self.cast(a, to, CastContext::Implicit);
            let args = args.into_iter().zip(wanted).map(cast).collect::<Result<Vec<_>, _>>()?;
            return Ok(Typed::known(fold(ScalarExpr::Call { func, args, ty })));
        }
        let syntax = |what: &str| SqlError::new(SqlState::SYNTAX, format!("wrong number of arguments of {what}"));
        match (func, args.len()) {
            (Func::NullIf, _) => return Err(syntax("NULLIF")),
            (Func::Greatest, 0) => return Err(syntax("GREATEST")),
            (Func::Least, 0) => return Err(syntax("LEAST")),
            _ => {}
        }
        self.name_literals(&mut args)?;
        pad(func, &mut args);
        let func = match self.on_printed_array(func, &mut args)? {
            Ok(done) => return Ok(done),
            Err(func) => func,
        };
        let types: Vec<Option<SqlType>> = args.iter().map(Typed::ty).collect();
        let (wanted, ty) = resolve_call_with_unknown(func, &types)?;
        let args = args
            .into_iter()
            .zip(wanted)
            .map(|(a, ty)| match a.ty() {
                // Some calls convert within (text || anything): an assignment cast is then what they mean.
                Some(from) if !can_cast(from, ty, CastContext::Implicit) => self.cast(a, ty, CastContext::Explicit),
                _ => self.cast(a, ty, CastContext::Implicit),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Typed::known(fold(ScalarExpr::Call { func, args, ty })))
    }

    /// `value` as `to`; an unknown literal is read by the type's input function.
    pub fn cast(&mut self, value: Typed, to: SqlType, context: CastContext) -> Result<ScalarExpr, SqlError> {
        let explicit = context == CastContext::Explicit;
        let value = match (value, to) {
            (Typed { fields: Some(fields), expr, .. }, SqlType::Row(row)) => {
                return self.cast_row(fields, expr.ty(), row, context);
            }
            (value, _) => self.built(value)?,
        };
        if matches!(value.kind, Kind::Reg(_)) && matches!(to, SqlType::Text | SqlType::Varchar(_)) {
            let shown = self.shown(value)?;
            return cast_known(shown.expr, to, context);
        }
        if value.unknown {
            let position = value.position;
            return match value.expr {
                ScalarExpr::Literal(Datum::Null, _) => Ok(ScalarExpr::Literal(Datum::Null, to)),
                ScalarExpr::Literal(Datum::Text(s), _) => {
                    parse_literal(&s, to, explicit).map_err(|e| located(e, position))
                }
                ScalarExpr::Column(slot, _) => self.bind_parameter(slot, to),
                other => Err(SqlError::internal(format!("{other:?} of unknown type"))),
            };
        }
        let expr = if to == SqlType::Bytea { padded(value.expr) } else { value.expr };
        cast_known(expr, to, context)
    }

    fn bind_parameter(&mut self, slot: usize, to: SqlType) -> Result<ScalarExpr, SqlError> {
        let Some(Expr::Placeholder(p)) = self.slots.get(slot).cloned() else {
            return Err(SqlError::internal("an unknown slot that is no parameter"));
        };
        let base = match to.without_modifier() {
            SqlType::Varchar(_) => SqlType::Text,
            other => other,
        };
        self.env.set_parameter(&p.id, base)?;
        let typed = self.typed_placeholder(&p.id, base);
        cast_known(typed.expr, to, CastContext::Assignment)
    }

    fn typed_placeholder(&mut self, id: &str, ty: SqlType) -> Typed {
        let field = Arc::new(ty.field("", true));
        self.slot(Expr::Placeholder(Placeholder::new_with_field(id.to_string(), Some(field))), ty)
    }

    fn placeholder(&mut self, p: &Placeholder) -> Result<Typed, SqlError> {
        match self.env.parameter(&p.id)? {
            Some(ty) => Ok(self.typed_placeholder(&p.id, ty)),
            None => {
                let bare = Placeholder::new_with_field(p.id.clone(), None);
                let slot = self.slot(Expr::Placeholder(bare), SqlType::Text);
                Ok(Typed::untyped(slot.expr))
            }
        }
    }

    /// `value` as the new value of a column.
    pub fn assign(&mut self, value: Typed, name: &str, to: SqlType) -> Result<ScalarExpr, SqlError> {
        let from = value.ty();
        self.cast(value, to, CastContext::Assignment).map_err(|e| assignment_error(e, name, from, to))
    }

    /// All of one type, as CASE, COALESCE and VALUES need it.
    pub fn unify(&mut self, what: &str, values: Vec<Typed>) -> Result<Vec<ScalarExpr>, SqlError> {
        let values = self.aligned(values)?;
        let values = values.into_iter().map(|v| self.shown(v)).collect::<Result<Vec<_>, _>>()?;
        let types: Vec<Option<SqlType>> = values.iter().map(Typed::ty).collect();
        let ty = match common_type(what, &types)? {
            SqlType::Char(None) => operator::one_length(&values),
            ty => ty,
        };
        values.into_iter().map(|v| Ok(as_type(self.cast(v, ty, CastContext::Implicit)?, ty))).collect()
    }

    fn case(&mut self, c: &datafusion_expr::Case, place: Place) -> Result<Typed, SqlError> {
        let mut conditions = vec![];
        let mut results = vec![];
        for (when, then) in &c.when_then_expr {
            conditions.push(match &c.expr {
                Some(operand) => self.call(Func::Eq, &[operand.as_ref(), when.as_ref()], place)?.expr,
                None => self.boolean_of("CASE/WHEN", when, place)?,
            });
            results.push(self.typed(then, place)?);
        }
        results.push(match &c.else_expr {
            Some(e) => self.typed(e, place)?,
            None => Typed::untyped(ScalarExpr::Literal(Datum::Null, SqlType::Text)),
        });
        // ELSE is the first of them, as in PostgreSQL: of types that mean the same it decides.
        results.rotate_right(1);
        let mut results = self.unify("CASE", results)?;
        results.rotate_left(1);
        let otherwise = Box::new(results.pop().ok_or_else(|| SqlError::internal("CASE without a result"))?);
        let branches = conditions.into_iter().zip(results).collect();
        Ok(Typed::known(fold(ScalarExpr::Case { branches, otherwise })))
    }

    fn in_list(&mut self, l: &datafusion_expr::expr::InList, place: Place) -> Result<Typed, SqlError> {
        let needle = self.typed(&l.expr, place)?;
        let mut values = vec![needle.clone()];
        for item in &l.list {
            values.push(self.typed(item, place)?);
        }
        // Constructors of rows are compared field by field.
        let rows = values.iter().all(|v| v.fields.is_some());
        // One type for all where there is one, as PostgreSQL's "= ANY (array)"; else one comparison each.
        let types: Vec<Option<SqlType>> = values.iter().map(Typed::ty).collect();
        let mut tests = vec![];
        if let Some(ty) = common_type("IN", &types).ok().filter(|_| !rows) {
            values = values
                .into_iter()
                .map(|v| Ok(Typed::known(self.cast(v, ty, CastContext::Implicit)?)))
                .collect::<Result<Vec<_>, SqlError>>()?;
        }
        let mut values = values.into_iter();
        let needle = values.next().unwrap_or(needle);
        for value in values {
            tests.push(self.call_typed(Func::Eq, vec![needle.clone(), value])?.expr);
        }
        let any = if tests.len() == 1 { tests.remove(0) } else { ScalarExpr::Or(tests) };
        Ok(Typed::known(if l.negated { ScalarExpr::Not(Box::new(any)) } else { any }))
    }

    fn function(&mut self, f: &datafusion_expr::expr::ScalarFunction, place: Place) -> Result<Typed, SqlError> {
        self.function_at(f, place).map_err(|e| located(e, crate::lazy::position_of(&f.func)))
    }

    /// 42883 with the types of the arguments.
    fn no_function(&mut self, name: &str, args: &[&Expr], place: Place) -> Result<SqlError, SqlError> {
        let types = args
            .iter()
            .map(|a| Ok(self.typed(a, place)?.ty().map_or("unknown".to_string(), |t| without_length(t).to_string())))
            .collect::<Result<Vec<_>, SqlError>>()?;
        Ok(crate::error::undefined_function(&format!("{name}({})", types.join(", "))))
    }

    /// `char_length` is `length` of texts alone.
    fn counts_other_than_characters(&mut self, name: &str, args: &[&Expr], place: Place) -> Result<bool, SqlError> {
        let [arg] = args else { return Ok(false) };
        let other = |ty| matches!(ty, SqlType::Bytea | SqlType::Bit(_) | SqlType::Varbit(_));
        Ok(name.starts_with("char") && self.typed(arg, place)?.ty().is_some_and(other))
    }

    fn function_at(&mut self, f: &datafusion_expr::expr::ScalarFunction, place: Place) -> Result<Typed, SqlError> {
        let kind = lazy_of(&f.func).cloned().ok_or_else(|| crate::error::undefined_function(f.name()))?;
        let args: Vec<&Expr> = f.args.iter().collect();
        match kind.clone() {
            Lazy::Call(func) if func.is_set() => self.set_call(func, None, &args, place),
            Lazy::Set(func, column) => self.set_call(func, Some(column), &args, place),
            Lazy::Call(Func::Length) if self.counts_other_than_characters(f.func.name(), &args, place)? => {
                Err(self.no_function(split_position(f.func.name()).0, &args, place)?)
            }
            Lazy::Call(func) => match self.variadic_call(func, &args, place)? {
                Some(call) => Ok(call),
                None => self.call(func, &args, place),
            },
            Lazy::NotCall(func) => {
                let call = self.call(func, &args, place)?;
                Ok(Typed::known(ScalarExpr::Not(Box::new(call.expr))))
            }
            Lazy::User(call) => self.user_call(&call, &args, place),
            Lazy::Coerced(to, argument) => {
                let arg = args.first().ok_or_else(|| SqlError::internal("nothing to coerce"))?;
                let value = self.typed(arg, place)?;
                let context = if argument { CastContext::Implicit } else { CastContext::Assignment };
                Ok(Typed::known(as_type(self.cast(value, to, context)?, to)))
            }
            Lazy::Cast(to) => self.cast_call(f.func.name(), &args, to, place),
            Lazy::Number(digits) => {
                let value = Datum::Numeric(hw_repr::numeric::Numeric::parse(&digits)?);
                Ok(Typed::known(ScalarExpr::Literal(value, SqlType::Numeric(None))))
            }
            Lazy::Bits(digits) => bit_string(&digits),
            Lazy::Coalesce => {
                let each = |t: &mut Self| args.iter().map(|a| t.typed(a, place)).collect::<Result<Vec<_>, _>>();
                let values = self.without_sets("COALESCE", each)?;
                if values.is_empty() {
                    return Err(SqlError::new(SqlState::SYNTAX, "COALESCE needs an argument"));
                }
                Ok(Typed::known(fold(ScalarExpr::Coalesce(self.unify("COALESCE", values)?))))
            }
            Lazy::Now(_) | Lazy::Session(_) => self.momentary(&kind),
            Lazy::Unknown(name) => Err(self.no_function(&name, &args, place)?),
            Lazy::RowOf => self.row_of(&args, place),
            Lazy::WholeRow(name) => self.whole_row(&name, &args, place),
            Lazy::Field(name) => self.field(&name, &args, place),
            Lazy::NoOperator(sign) => Err(self.no_operator(&sign, &args, place)?),
            Lazy::Volatile(kind) => self.volatile(kind, &args, place),
            Lazy::Fixed(func, types) => self.fixed_call(f.func.name(), (func, types), &args, place),
            Lazy::Pair(pair, ty) => self.pair_call(f.func.name(), (pair, ty), &args, place),
            Lazy::Variadic | Lazy::Not | Lazy::Operand(_) | Lazy::Positive | Lazy::Cell | Lazy::Subquery => {
                match args.as_slice() {
                    [one] => self.of_one(&kind, one, place),
                    _ => Err(SqlError::internal(format!("{kind:?} takes one operand"))),
                }
            }
            Lazy::Text(s) => {
                let literal = Typed::untyped(ScalarExpr::Literal(Datum::Text(s), SqlType::Text));
                Ok(Typed { position: crate::lazy::position_of(&f.func), ..literal })
            }
            Lazy::RegCast(reg) => {
                let arg = args.first().ok_or_else(|| SqlError::internal("a cast of nothing"))?;
                let value = self.typed(arg, place)?;
                let position = value.position;
                self.reg_cast(reg, value).map_err(|e| located(e, position))
            }
            Lazy::TypeOf => {
                let was = (self.env.type_only.replace(true), self.env.stood_in.replace(false));
                let typed = args.iter().map(|a| self.typed(a, place)).collect::<Result<Vec<_>, _>>();
                let stood_in = self.env.stood_in.replace(was.1);
                self.env.type_only.set(was.0);
                self.type_of(typed?, !stood_in)
            }
            kind => {
                let args = args.iter().map(|a| self.typed(a, place)).collect::<Result<Vec<_>, _>>()?;
                self.typed_call(kind, args)
            }
        }
    }

    fn of_one(&mut self, kind: &Lazy, one: &Expr, place: Place) -> Result<Typed, SqlError> {
        match kind {
            Lazy::Not => {
                let inner = if place == Place::Conjunct { Place::Nested } else { place };
                Ok(Typed::known(ScalarExpr::Not(Box::new(self.boolean_of("NOT", one, inner)?))))
            }
            Lazy::Operand(what) => Ok(Typed::known(self.boolean_of(what, one, place)?)),
            Lazy::Positive => self.positive(one, place),
            // A cell of VALUES, the array behind VARIADIC, a subquery.
            _ => self.typed(one, place),
        }
    }

    /// Calls that need the types of their arguments and no more.
    fn typed_call(&mut self, kind: Lazy, args: Vec<Typed>) -> Result<Typed, SqlError> {
        match kind {
            Lazy::ArrayOf => self.array_of(args),
            Lazy::ArrayToJson => self.array_to_json(args),
            Lazy::CollationFor => collation_for(&args),
            Lazy::Subscript(pattern) => self.subscript(&pattern, args),
            Lazy::Quantified(sign, all) => self.quantified(&sign, all, args),
            Lazy::System(function) => self.call_system(function, args),
            _ => self.setting(args),
        }
    }

    /// A cast, written as one or as a call of the type's name.
    fn cast_call(&mut self, name: &str, args: &[&Expr], to: SqlType, place: Place) -> Result<Typed, SqlError> {
        let [arg] = args else {
            return Err(self.no_function(without_length(to).to_string().as_str(), args, place)?);
        };
        if let Some(refused) = self.no_cast_by_name(name, arg, to, place)? {
            return Err(refused);
        }
        if let Some(float) = float_literal(arg, to)? {
            return Ok(float);
        }
        if let Some(array) = self.array_cast(arg, to, place)? {
            return Ok(array);
        }
        let value = self.typed(arg, place)?;
        Ok(Typed::known(self.cast(value, to, CastContext::Explicit)?))
    }

    fn volatile(&mut self, kind: Volatile, args: &[&Expr], place: Place) -> Result<Typed, SqlError> {
        if !args.is_empty() {
            return Err(self.no_function(kind.name(), args, place)?);
        }
        match (self.env.stored, self.env.type_only.get()) {
            (true, true) => {
                self.env.stood_in.set(true);
                Ok(Typed::known(ScalarExpr::Literal(Datum::Null, kind.ty())))
            }
            (true, false) => Err(crate::planner::of_the_reader(kind.name())),
            _ => Ok(self.slot(kind.call(self.env.fresh_name(kind.name())), kind.ty())),
        }
    }

    /// What the moment or the session decides.
    fn momentary(&mut self, kind: &Lazy) -> Result<Typed, SqlError> {
        match kind {
            Lazy::Now(ty) => Ok(Typed::known(ScalarExpr::Literal(self.env.now(*ty)?, *ty))),
            Lazy::Session("pg_backend_pid") => {
                self.env.session_text("pg_backend_pid()")?;
                Ok(Typed::known(ScalarExpr::Literal(Datum::Int4(self.env.session.backend_pid), SqlType::Int4)))
            }
            Lazy::Session(name) => {
                let text = self.env.session_text(name)?;
                let ty = if *name == "version" { SqlType::Text } else { SqlType::Alias(AliasType::Name) };
                Ok(Typed::known(ScalarExpr::Literal(Datum::Text(text), ty)))
            }
            other => Err(SqlError::internal(format!("{other:?} does not depend on the session"))),
        }
    }

    /// The argument of an aggregate or window function as a plan expression, and its type.
    fn plan_expr(&mut self, expr: &Expr) -> Result<(Expr, SqlType), SqlError> {
        self.filtered_expr(expr, None)
    }

    /// The same, computed only where the condition of FILTER is true.
    fn filtered_expr(&mut self, expr: &Expr, filter: Option<&Expr>) -> Result<(Expr, SqlType), SqlError> {
        let mut inner = Typer::new(self.env, self.schema, self.outer);
        if let Sets::Arguments(_) = self.sets {
            inner.sets = self.sets;
        }
        let value = inner.typed(expr, Place::Value)?;
        let mut value = inner.settle(value)?;
        let ty = value.ty();
        if let Some(filter) = filter.filter(|_| hw_scalar::may_fail(&value)) {
            let null = Box::new(ScalarExpr::Literal(Datum::Null, ty));
            value =
                ScalarExpr::Case { branches: vec![(inner.boolean(filter, Place::Nested)?, value)], otherwise: null };
        }
        Ok((crate::emit::emit(&value, &inner.slots)?, ty))
    }

    /// A condition as a plan expression.
    pub fn condition(&mut self, expr: &Expr) -> Result<Expr, SqlError> {
        let mut inner = Typer::new(self.env, self.schema, self.outer);
        inner.sets = if let Sets::Refused(_) = self.sets { self.sets } else { Sets::Refused("FILTER") };
        let value = match inner.boolean(expr, Place::Conjunct)? {
            ScalarExpr::And(all) if !self.env.stored => operator::conjunction(&all),
            value => value,
        };
        crate::emit::emit(&value, &inner.slots)
    }

    /// The conjuncts of a condition, in their order: those that cannot fail and follow each other as one, the same with
    /// those that may fail, and each that has a subquery by itself.
    pub fn conditions(&mut self, expr: &Expr) -> Result<Vec<Expr>, SqlError> {
        let mut inner = Typer::new(self.env, self.schema, self.outer);
        inner.sets = self.sets;
        let all = match inner.boolean(expr, Place::Conjunct)? {
            ScalarExpr::And(all) => all,
            one => vec![one],
        };
        let class = |e: &ScalarExpr| {
            let subquery =
                e.columns().iter().any(|c| inner.slots.get(*c).is_some_and(crate::decorrelate::has_subquery));
            (subquery, hw_scalar::may_fail(e))
        };
        let mut out = vec![];
        let mut rest = all.as_slice();
        while let Some(first) = rest.first() {
            let kind = class(first);
            let alike = if kind.0 { 1 } else { rest.iter().take_while(|e| class(e) == kind).count() };
            let (run, later) = rest.split_at(alike);
            // Equalities stay apart: one may be the key of a join.
            let apart =
                kind.1 && run.len() > 1 && run.iter().all(|e| matches!(e, ScalarExpr::Call { func: Func::Eq, .. }));
            match run {
                [one] => out.push(crate::emit::emit(one, &inner.slots)?),
                many if apart => {
                    for one in many {
                        out.push(crate::emit::emit(one, &inner.slots)?);
                    }
                }
                many if self.env.stored => out.push(crate::emit::emit(&ScalarExpr::And(many.to_vec()), &inner.slots)?),
                many => out.push(crate::emit::emit(&operator::conjunction(many), &inner.slots)?),
            }
            rest = later;
        }
        Ok(out)
    }
}

/// What counts the spaces of a char(n) gets it with them, as a text.
fn pad(func: Func, args: &mut [Typed]) {
    let counts = matches!(func, Func::OctetLength | Func::Like | Func::ILike | Func::RegexMatch | Func::RegexIMatch);
    if let Some(first) = args.first_mut().filter(|a| counts && matches!(a.ty(), Some(SqlType::Char(Some(_))))) {
        *first = Typed { expr: padded(first.expr.clone()), ..first.clone() };
    }
}

/// A char(n) with its spaces, as text.
fn padded(expr: ScalarExpr) -> ScalarExpr {
    let SqlType::Char(Some(n)) = expr.ty() else { return expr };
    let length = ScalarExpr::Literal(Datum::Int4(i32::try_from(n).unwrap_or(i32::MAX)), SqlType::Int4);
    let space = ScalarExpr::Literal(Datum::Text(" ".into()), SqlType::Text);
    let args = vec![as_type(expr, SqlType::Text), length, space];
    fold(ScalarExpr::Call { func: Func::Rpad, args, ty: SqlType::Text })
}

/// An expression whose values are those of `ty` already, described as `ty`.
pub(crate) fn as_type(expr: ScalarExpr, ty: SqlType) -> ScalarExpr {
    match expr {
        same if same.ty() == ty => same,
        ScalarExpr::Literal(datum, _) => ScalarExpr::Literal(datum, ty),
        other => ScalarExpr::Cast { expr: Box::new(other), to: ty, explicit: true },
    }
}

/// The error with this position, where it has none yet.
fn located(mut error: SqlError, position: Option<usize>) -> SqlError {
    error.position = error.position.or(position);
    error
}

/// The SQL type of a column of a plan.
pub(crate) fn field_type(field: &arrow::datatypes::Field) -> Result<SqlType, SqlError> {
    let ty = field.data_type();
    if ty.is_null() {
        return Ok(SqlType::Text);
    }
    SqlType::from_field(field).ok_or_else(|| SqlError::internal(format!("column {} has the type {ty}", field.name())))
}

/// A literal as `SqlToRel` reads it: integers take the smallest of int4, int8 and numeric; strings are unknown.
fn literal(value: &ScalarValue, metadata: Option<&FieldMetadata>) -> Result<Typed, SqlError> {
    let known = |d, ty| Ok(Typed::known(ScalarExpr::Literal(d, ty)));
    match value {
        ScalarValue::Int64(Some(n)) if metadata.is_none() => match i32::try_from(*n) {
            Ok(n) => known(Datum::Int4(n), SqlType::Int4),
            Err(_) => known(Datum::Int8(*n), SqlType::Int8),
        },
        ScalarValue::Utf8(Some(s)) => Ok(Typed::untyped(ScalarExpr::Literal(Datum::Text(s.clone()), SqlType::Text))),
        v if v.is_null() => Ok(Typed::untyped(ScalarExpr::Literal(Datum::Null, SqlType::Text))),
        other => {
            let (datum, ty) = from_scalar_value(other, metadata)?;
            known(datum, ty)
        }
    }
}

/// A literal `B'...'` or `X'...'`.
fn bit_string(digits: &str) -> Result<Typed, SqlError> {
    let bits = hw_repr::text::bits::parse(digits)?;
    Ok(Typed::known(ScalarExpr::Literal(Datum::Text(bits), SqlType::Bit(None))))
}
