//! Functions that stand for operators and calls between `SqlToRel` and [`crate::retype`]: they take anything and
//! guess a result type. They never run: retyping replaces every one of them.

use arrow::datatypes::DataType;
use datafusion_common::{Result as DfResult, exec_err};
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
    expr::ScalarFunction,
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
    /// `coalesce`
    Coalesce,
    /// `now()` and its kin, of this type.
    Now(SqlType),
    /// `version()`, `current_user` and the like: text known at planning.
    Session(&'static str),
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct LazyUdf {
    pub kind: Lazy,
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

impl ScalarUDFImpl for LazyUdf {
    fn name(&self) -> &str {
        &self.name
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
            | Func::ILike,
        ) => Some(SqlType::Bool),
        Lazy::Call(func) => {
            // A text may be a quoted literal that will take another type.
            let open: Vec<Option<SqlType>> = types.iter().map(|t| t.filter(|t| *t != SqlType::Text)).collect();
            let resolve = |types: &[Option<SqlType>]| hw_scalar::resolve_call_with_unknown(*func, types).ok();
            resolve(&types).or_else(|| resolve(&open)).map(|(_, ty)| ty)
        }
        Lazy::NotCall(_) => Some(SqlType::Bool),
        Lazy::Cast(ty) | Lazy::Now(ty) => Some(*ty),
        Lazy::Number(_) => Some(SqlType::Numeric(None)),
        Lazy::Coalesce => types.into_iter().flatten().next(),
        Lazy::Session(_) => Some(SqlType::Text),
    }
}

/// Turns operators into lazy calls; AND and OR stay.
#[derive(Debug)]
pub(crate) struct OperatorPlanner;

impl ExprPlanner for OperatorPlanner {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        _schema: &datafusion_common::DFSchema,
    ) -> DfResult<PlannerResult<RawBinaryExpr>> {
        let kind = match operator(&expr.op) {
            Some(kind) => kind,
            None if matches!(expr.op, BinaryOperator::And | BinaryOperator::Or) => {
                return Ok(PlannerResult::Original(expr));
            }
            None => {
                let error = hw_repr::SqlError::unsupported(format!("operator {} is not supported", expr.op));
                return Err(crate::error::external(error));
            }
        };
        let name = format!("hw_op:{}", expr.op);
        let func = ScalarFunction::new_udf(lazy(kind, &name), vec![expr.left, expr.right]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(func)))
    }
}

fn operator(op: &BinaryOperator) -> Option<Lazy> {
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
        B::PGCustomBinaryOperator(parts) => match parts.last().map(String::as_str) {
            Some("~") => Lazy::Call(Func::RegexMatch),
            Some("=") => Lazy::Call(Func::Eq),
            _ => return None,
        },
        _ => return None,
    })
}
