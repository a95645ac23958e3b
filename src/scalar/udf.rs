//! An expression as a DataFusion function of its columns.

use crate::compile::{Compiled, compile};
use crate::eval::Input;
use crate::value::Val;
use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::{DataFusionError, Result as DfResult, ScalarValue};
use datafusion_expr::interval_arithmetic::Interval;
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use hw_plan::{Func, ScalarExpr};
use hw_repr::{SqlError, SqlType};
use std::any::Any;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A DataFusion function whose `n` arguments are the columns `0..n` of one of our expressions.
pub struct ScalarExprUdf {
    name: String,
    expr: ScalarExpr,
    input: Vec<SqlType>,
    signature: Signature,
    compiled: Result<Compiled, SqlError>,
}

impl ScalarExprUdf {
    /// The expression behind a function made by [`udf`] or [`udf_for`].
    pub fn expr(udf: &ScalarUDF) -> Option<&ScalarExpr> {
        Self::of(udf).map(|u| &u.expr)
    }

    /// The types of its arguments.
    pub fn input(udf: &ScalarUDF) -> Option<&[SqlType]> {
        Self::of(udf).map(|u| u.input.as_slice())
    }

    fn of(udf: &ScalarUDF) -> Option<&ScalarExprUdf> {
        let inner: &dyn Any = udf.inner().as_ref();
        inner.downcast_ref::<ScalarExprUdf>()
    }
}

/// A call of `func` on arguments of exactly these types (see [`crate::resolve_call`]), giving `ty`.
pub fn udf(func: Func, args: &[SqlType], ty: SqlType) -> Arc<ScalarUDF> {
    let columns = args.iter().enumerate().map(|(i, t)| ScalarExpr::Column(i, *t)).collect();
    named(func.name().to_string(), ScalarExpr::Call { func, args: columns, ty }, args)
}

/// An expression over columns `0..input.len()`, which the arguments stand for. A failing row raises its
/// [`SqlError`] as `DataFusionError::External`.
pub fn udf_for(expr: ScalarExpr, input: &[SqlType]) -> Arc<ScalarUDF> {
    let name = match &expr {
        ScalarExpr::Call { func, .. } => func.name(),
        ScalarExpr::Cast { .. } => "cast",
        ScalarExpr::And(_) => "and",
        ScalarExpr::Or(_) => "or",
        ScalarExpr::Case { .. } => "case",
        ScalarExpr::Coalesce(_) => "coalesce",
        _ => "expr",
    };
    named(name.to_string(), expr, input)
}

fn named(name: String, expr: ScalarExpr, input: &[SqlType]) -> Arc<ScalarUDF> {
    let types: Vec<DataType> = input.iter().map(SqlType::arrow).collect();
    let signature = match types.is_empty() {
        true => Signature::nullary(Volatility::Immutable),
        false => Signature::exact(types, Volatility::Immutable),
    };
    let compiled = compile(std::slice::from_ref(&expr), input);
    Arc::new(ScalarUDF::new_from_impl(ScalarExprUdf { name, expr, input: input.to_vec(), signature, compiled }))
}

impl fmt::Debug for ScalarExprUdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScalarExprUdf").field("name", &self.name).field("expr", &self.expr).finish()
    }
}
impl PartialEq for ScalarExprUdf {
    fn eq(&self, o: &Self) -> bool {
        self.name == o.name && self.expr == o.expr && self.input == o.input
    }
}
impl Eq for ScalarExprUdf {}
impl Hash for ScalarExprUdf {
    fn hash<H: Hasher>(&self, h: &mut H) {
        self.name.hash(h);
        self.expr.hash(h);
        self.input.hash(h);
    }
}

fn external(e: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(e))
}

/// Bytes of a call's column name that are written out.
const NAME_BYTES: usize = 200;

/// The name of the column that a call makes, unique to the call, of bounded length: names hold those of the arguments,
/// and planning asks for the name of every call in a chain again and again.
pub fn column_name(function: &str, args: &[Expr]) -> String {
    let args: Vec<String> = args.iter().map(|a| a.schema_name().to_string()).collect();
    let name = format!("{function}({})", args.join(","));
    if name.len() <= NAME_BYTES {
        return name;
    }
    let digest = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        (seed, &name).hash(&mut hasher);
        hasher.finish()
    };
    let begin: String = name.chars().take(NAME_BYTES / 8).collect();
    format!("{begin}...{:016x}{:016x}", digest(0), digest(1))
}

impl ScalarUDFImpl for ScalarExprUdf {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(column_name(&self.name, args))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.expr.ty().arrow())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> DfResult<FieldRef> {
        Ok(Arc::new(self.expr.ty().field(&self.name, true)))
    }

    /// Any value of its type: an interval without one cannot be compared with those of other types, and the planner then
    /// takes an order by such a comparison for none.
    fn evaluate_bounds(&self, _: &[&Interval]) -> DfResult<Interval> {
        Interval::make_unbounded(&self.expr.ty().arrow()).or_else(|_| Interval::make_unbounded(&DataType::Null))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let compiled = self.compiled.as_ref().map_err(|e| external(e.clone()))?;
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let mut columns = Vec::with_capacity(args.args.len());
        for a in &args.args {
            columns.push(match a {
                ColumnarValue::Array(a) => Val::Array(a.clone()),
                ColumnarValue::Scalar(s) => Val::Const(s.to_array()?),
            });
        }
        let rows = if constant { 1 } else { args.number_rows };
        let out = compiled.evaluate_values(&Input { columns, rows }).map_err(external)?;
        let out = out.into_iter().next().ok_or_else(|| external(SqlError::internal("an expression gave no column")))?;
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&out, 0)?),
            false => ColumnarValue::Array(out),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, ArrayRef, Int32Array};
    use arrow::datatypes::Field;

    fn invoke(f: &ScalarUDF, a: Vec<i32>, b: i32) -> DfResult<ColumnarValue> {
        let field = || Arc::new(Field::new("x", DataType::Int32, true));
        let number_rows = a.len();
        f.invoke_with_args(ScalarFunctionArgs {
            args: vec![
                ColumnarValue::Array(Arc::new(Int32Array::from(a)) as ArrayRef),
                ColumnarValue::Scalar(ScalarValue::Int32(Some(b))),
            ],
            arg_fields: vec![field(), field()],
            number_rows,
            return_field: field(),
            config_options: Arc::default(),
        })
    }

    #[test]
    fn a_function_evaluates_its_expression_and_raises_its_errors() {
        let f = udf(Func::Div, &[SqlType::Int4; 2], SqlType::Int4);
        assert!(matches!(ScalarExprUdf::expr(&f), Some(ScalarExpr::Call { func: Func::Div, .. })));
        let Ok(ColumnarValue::Array(out)) = invoke(&f, vec![7, 9], 2) else { panic!("a column is expected") };
        assert_eq!(out.to_data(), Int32Array::from(vec![3, 4]).to_data());
        let Err(DataFusionError::External(e)) = invoke(&f, vec![1], 0) else { panic!("an error is expected") };
        assert_eq!(e.downcast_ref::<SqlError>().map(|e| e.code.as_str()), Some("22012"));
    }
}
