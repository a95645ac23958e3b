//! Functions that stand for operators and calls between `SqlToRel` and [`crate::retype`]: they take anything and
//! guess a result type. They never run: retyping replaces every one of them.

use crate::system::SystemFunction;
use crate::typing::Reg;
use arrow::datatypes::DataType;
use datafusion_common::{Result as DfResult, ScalarValue, exec_err};
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility, expr::ScalarFunction,
};
use hw_plan::Func;
use hw_repr::SqlType;
use sqlparser::ast::BinaryOperator;
use std::any::Any;
use std::sync::Arc;

/// What a call means, before its arguments have types.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lazy {
    /// One of our functions.
    Call(Func),
    /// `NOT LIKE` and the like: the function, negated.
    NotCall(Func),
    /// An explicit cast.
    Cast(SqlType),
    /// A decimal literal.
    Number(String),
    /// The literal of a bit string.
    Bits(String),
    /// `coalesce`
    Coalesce,
    /// `now()` and its kin, of this type.
    Now(SqlType),
    /// `version()`, `current_user` and the like: text known at planning.
    Session(&'static str),
    /// `current_setting(name [, missing_ok])`
    Setting,
    /// A cell of VALUES.
    Cell,
    /// A subquery under a name of its own.
    Subquery,
    /// A quoted literal.
    Text(String),
    /// A cast to regclass and the like.
    RegCast(Reg),
    /// `ARRAY[...]`
    ArrayOf,
    /// Subscripts of a value, one letter each: `i` an index, `s` a slice's two bounds.
    Subscript(String),
    /// `value op ANY (array)` and `value op ALL (array)`: the sign, and whether it is ALL.
    Quantified(String, bool),
    /// The number of FETCH FIRST ... WITH TIES.
    Ties,
    /// `ROW(...)`
    RowOf,
    /// A row of the relation of that name as one value.
    WholeRow(String),
    /// A field of a row.
    Field(String),
    /// `pg_typeof(any)`
    TypeOf,
    /// `VARIADIC array`, as the last argument of a call.
    Variadic,
    /// A call of a function that a statement has defined.
    User(crate::functions::UserCall),
    /// A value as an argument of this type (true), or assigned to a column of it.
    Coerced(SqlType, bool),
    /// One column of a set-returning call.
    Set(Func, usize),
    /// A function of the catalog.
    System(SystemFunction),
    /// NOT
    Not,
    /// No function has this name.
    Unknown(String),
    /// No operator has this sign.
    NoOperator(String),
    /// `+ value`
    Positive,
    /// `array_to_json(array [, pretty])`
    ArrayToJson,
    /// `collation for (value)`
    CollationFor,
    /// `random()` and its kin.
    Volatile(crate::volatile::Volatile),
    /// An operand of AND or OR that is not known to be boolean.
    Operand(&'static str),
    /// A function of two arguments behind aggregates and indexes, of this type or of arrays.
    Pair(crate::typing::Pair, Option<SqlType>),
    /// A function of one signature, which is one of ours on these types.
    Fixed(Func, &'static [SqlType]),
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct LazyUdf {
    pub kind: Lazy,
    /// As the call names it, so that DataFusion gives it no alias; may carry a position.
    name: String,
    signature: Signature,
}

/// A function that stands for `kind`.
pub(crate) fn lazy(kind: Lazy, name: &str) -> Arc<ScalarUDF> {
    let signature = Signature::one_of(vec![TypeSignature::VariadicAny, TypeSignature::Nullary], Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(LazyUdf { kind, name: name.to_string(), signature }))
}

/// What a function stands for, where it is one of these.
pub(crate) fn lazy_of(udf: &ScalarUDF) -> Option<&Lazy> {
    let inner: &dyn Any = udf.inner().as_ref();
    inner.downcast_ref::<LazyUdf>().map(|l| &l.kind)
}

/// The position of a call, where it is known.
pub(crate) fn position_of(udf: &ScalarUDF) -> Option<usize> {
    crate::prepare::split_position(udf.name()).1
}

impl ScalarUDFImpl for LazyUdf {
    fn name(&self) -> &str {
        &self.name
    }
    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(hw_scalar::column_name(&self.name, args))
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        Ok(guess(&self.kind, args).unwrap_or(SqlType::Text).arrow())
    }
    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        exec_err!("{} was not typed", self.name)
    }
}

fn guess(kind: &Lazy, args: &[DataType]) -> Option<SqlType> {
    let types: Vec<Option<SqlType>> = args.iter().map(SqlType::from_arrow).collect();
    match kind {
        Lazy::Call(
            Func::Eq
            | Func::Ne
            | Func::Lt
            | Func::Le
            | Func::Gt
            | Func::Ge
            | Func::NotDistinct
            | Func::Like
            | Func::ILike
            // Of arrays as well, whose elements are not known here.
            | Func::ArrayOverlap
            | Func::JsonContains
            | Func::JsonContained,
        ) => Some(SqlType::Bool),
        Lazy::Call(func) => {
            // A text may be a quoted literal that will take another type.
            let open: Vec<Option<SqlType>> = types.iter().map(|t| t.filter(|t| *t != SqlType::Text)).collect();
            let resolve = |types: &[Option<SqlType>]| hw_scalar::resolve_call_with_unknown(*func, types).ok();
            resolve(&types).or_else(|| resolve(&open)).map(|(_, ty)| ty)
        }
        Lazy::NotCall(_) => Some(SqlType::Bool),
        Lazy::Cast(ty) | Lazy::Now(ty) | Lazy::Coerced(ty, _) => Some(*ty),
        Lazy::User(call) => call.condition.then_some(SqlType::Bool),
        Lazy::Pair(..) => None,
        Lazy::Number(_) => Some(SqlType::Numeric(None)),
        Lazy::Bits(_) => Some(SqlType::Bit(None)),
        Lazy::Coalesce => types.into_iter().flatten().next(),
        Lazy::Session("pg_backend_pid") => Some(SqlType::Int4),
        Lazy::Session(_) | Lazy::Setting | Lazy::Text(_) => Some(SqlType::Text),
        Lazy::Cell => types.first().copied().flatten().filter(|t| *t == SqlType::Bool),
        Lazy::RegCast(_) | Lazy::Ties => Some(SqlType::Int8),
        Lazy::Quantified(..) | Lazy::Not => Some(SqlType::Bool),
        Lazy::ArrayOf => types.first().copied().flatten().and_then(SqlType::array_of),
        Lazy::Subscript(_) | Lazy::RowOf | Lazy::WholeRow(_) | Lazy::Field(_) => None,
        Lazy::TypeOf => Some(SqlType::Text),
        Lazy::Unknown(_) | Lazy::Set(..) | Lazy::NoOperator(_) | Lazy::Variadic => None,
        Lazy::ArrayToJson | Lazy::CollationFor => Some(SqlType::Text),
        Lazy::Volatile(kind) => Some(kind.ty()),
        Lazy::Operand(_) => Some(SqlType::Bool),
        Lazy::Fixed(func, args) => hw_scalar::resolve_call(*func, args).ok().map(|(_, ty)| ty),
        Lazy::Positive | Lazy::Subquery => types.first().copied().flatten(),
        Lazy::System(f) => Some(f.result),
    }
}

/// Turns operators into lazy calls; AND and OR stay.
#[derive(Debug)]
pub(crate) struct OperatorPlanner;

impl ExprPlanner for OperatorPlanner {
    /// `a.b` where `a` is a column too: there are no composite types, so `a` is a relation of an enclosing query.
    fn plan_compound_identifier(
        &self,
        field: &arrow::datatypes::Field,
        qualifier: Option<&datafusion_common::TableReference>,
        nested_names: &[String],
    ) -> DfResult<PlannerResult<Vec<Expr>>> {
        let _ = qualifier;
        match nested_names {
            [column] => {
                let guess = Arc::new(arrow::datatypes::Field::new(column, DataType::Utf8, true));
                let column = datafusion_common::Column::new(Some(field.name().as_str()), column);
                Ok(PlannerResult::Planned(Expr::OuterReferenceColumn(guess, column)))
            }
            _ => Ok(PlannerResult::Original(vec![])),
        }
    }

    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &datafusion_common::DFSchema,
    ) -> DfResult<PlannerResult<RawBinaryExpr>> {
        let mut expr = expr;
        let kind = match operator(&expr.op) {
            Some(kind) => kind,
            None if matches!(expr.op, BinaryOperator::And | BinaryOperator::Or) => {
                let what = if expr.op == BinaryOperator::And { "AND" } else { "OR" };
                for side in [&mut expr.left, &mut expr.right] {
                    if !matches!(side.get_type(schema), Ok(DataType::Boolean | DataType::Null)) {
                        let operand = std::mem::replace(side, Expr::Literal(ScalarValue::Null, None));
                        *side = Expr::ScalarFunction(ScalarFunction::new_udf(
                            lazy(Lazy::Operand(what), "hw_operand"),
                            vec![operand],
                        ));
                    }
                }
                return Ok(PlannerResult::Original(expr));
            }
            // Typed first: the message names the types of its operands.
            None => Lazy::NoOperator(expr.op.to_string()),
        };
        let name = format!("{}{}", crate::prepare::OPERATOR, expr.op);
        let func = ScalarFunction::new_udf(lazy(kind, &name), vec![expr.left, expr.right]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(func)))
    }
}

/// What the operator with this sign stands for.
pub(crate) fn operator_by_sign(sign: &str) -> Option<Lazy> {
    use BinaryOperator as B;
    const SIGNS: &[B] = &[
        B::Plus,
        B::Minus,
        B::Multiply,
        B::Divide,
        B::Modulo,
        B::Eq,
        B::NotEq,
        B::Lt,
        B::LtEq,
        B::Gt,
        B::GtEq,
        B::StringConcat,
        B::PGRegexMatch,
        B::PGRegexIMatch,
        B::PGRegexNotMatch,
        B::PGRegexNotIMatch,
        B::PGLikeMatch,
        B::PGILikeMatch,
        B::PGNotLikeMatch,
        B::PGNotILikeMatch,
        B::Arrow,
        B::LongArrow,
        B::AtArrow,
        B::ArrowAt,
        B::PGOverlap,
        // Text and jsonb.
        B::PGStartsWith,
        B::HashArrow,
        B::HashLongArrow,
        B::HashMinus,
        B::Question,
        B::QuestionAnd,
        B::QuestionPipe,
        B::AtQuestion,
        B::AtAt,
        B::PGExp,
        B::BitwiseAnd,
        B::BitwiseOr,
        B::PGBitwiseXor,
        B::PGBitwiseShiftLeft,
        B::PGBitwiseShiftRight,
    ];
    if let Some(inner) = sign.strip_prefix("OPERATOR(").and_then(|s| s.strip_suffix(')')) {
        return operator(&B::PGCustomBinaryOperator(inner.split('.').map(str::to_string).collect()));
    }
    SIGNS.iter().find(|o| o.to_string() == sign).and_then(operator)
}

/// What an operator stands for.
pub(crate) fn operator(op: &BinaryOperator) -> Option<Lazy> {
    use BinaryOperator as B;
    Some(match op {
        B::Plus => Lazy::Call(Func::Add),
        B::Minus => Lazy::Call(Func::Sub),
        B::Multiply => Lazy::Call(Func::Mul),
        B::Divide => Lazy::Call(Func::Div),
        B::Modulo => Lazy::Call(Func::Mod),
        B::Eq => Lazy::Call(Func::Eq),
        B::NotEq => Lazy::Call(Func::Ne),
        B::Lt => Lazy::Call(Func::Lt),
        B::LtEq => Lazy::Call(Func::Le),
        B::Gt => Lazy::Call(Func::Gt),
        B::GtEq => Lazy::Call(Func::Ge),
        B::StringConcat => Lazy::Call(Func::Concat),
        B::PGRegexMatch => Lazy::Call(Func::RegexMatch),
        B::PGRegexIMatch => Lazy::Call(Func::RegexIMatch),
        B::PGRegexNotMatch => Lazy::NotCall(Func::RegexMatch),
        B::PGRegexNotIMatch => Lazy::NotCall(Func::RegexIMatch),
        B::PGLikeMatch => Lazy::Call(Func::Like),
        B::PGILikeMatch => Lazy::Call(Func::ILike),
        B::PGNotLikeMatch => Lazy::NotCall(Func::Like),
        B::PGNotILikeMatch => Lazy::NotCall(Func::ILike),
        B::Arrow => Lazy::Call(Func::JsonGet),
        B::LongArrow => Lazy::Call(Func::JsonGetText),
        B::AtArrow => Lazy::Call(Func::JsonContains),
        B::PGOverlap => Lazy::Call(Func::ArrayOverlap),
        // Text and jsonb.
        B::PGStartsWith => Lazy::Call(Func::StartsWith),
        B::ArrowAt => Lazy::Call(Func::JsonContained),
        B::HashArrow => Lazy::Call(Func::JsonGetPath),
        B::HashLongArrow => Lazy::Call(Func::JsonGetPathText),
        B::HashMinus => Lazy::Call(Func::JsonDeletePath),
        B::Question => Lazy::Call(Func::JsonExists),
        B::QuestionAnd => Lazy::Call(Func::JsonExistsAll),
        B::QuestionPipe => Lazy::Call(Func::JsonExistsAny),
        B::AtQuestion => Lazy::Call(Func::JsonPathExistsOp),
        B::AtAt => Lazy::Call(Func::JsonPathMatchOp),
        B::PGExp | B::BitwiseXor => Lazy::Call(Func::PowerOf),
        B::BitwiseAnd => Lazy::Call(Func::BitAnd),
        B::BitwiseOr => Lazy::Call(Func::BitOr),
        B::PGBitwiseXor => Lazy::Call(Func::BitXor),
        B::PGBitwiseShiftLeft => Lazy::Call(Func::ShiftLeft),
        B::PGBitwiseShiftRight => Lazy::Call(Func::ShiftRight),
        B::PGCustomBinaryOperator(parts) => match parts.last().map(String::as_str) {
            Some("~") => Lazy::Call(Func::RegexMatch),
            Some("~*") => Lazy::Call(Func::RegexIMatch),
            Some("!~") => Lazy::NotCall(Func::RegexMatch),
            Some("!~*") => Lazy::NotCall(Func::RegexIMatch),
            Some("~~") => Lazy::Call(Func::Like),
            Some("~~*") => Lazy::Call(Func::ILike),
            Some("!~~") => Lazy::NotCall(Func::Like),
            Some("!~~*") => Lazy::NotCall(Func::ILike),
            Some("=") => Lazy::Call(Func::Eq),
            Some("<>" | "!=") => Lazy::Call(Func::Ne),
            Some("<") => Lazy::Call(Func::Lt),
            Some("<=") => Lazy::Call(Func::Le),
            Some(">") => Lazy::Call(Func::Gt),
            Some(">=") => Lazy::Call(Func::Ge),
            Some("+") => Lazy::Call(Func::Add),
            Some("-") => Lazy::Call(Func::Sub),
            Some("*") => Lazy::Call(Func::Mul),
            Some("/") => Lazy::Call(Func::Div),
            Some("%") => Lazy::Call(Func::Mod),
            Some("||") => Lazy::Call(Func::Concat),
            Some("^@") => Lazy::Call(Func::StartsWith),
            Some("^") => Lazy::Call(Func::PowerOf),
            Some("&") => Lazy::Call(Func::BitAnd),
            Some("|") => Lazy::Call(Func::BitOr),
            Some("#") => Lazy::Call(Func::BitXor),
            Some("<<") => Lazy::Call(Func::ShiftLeft),
            Some(">>") => Lazy::Call(Func::ShiftRight),
            _ => return None,
        },
        _ => return None,
    })
}
