//! Set-returning calls in DataFusion's plans: a function that stands for one column of a call, and the node that gives
//! the rows. The function never runs: every plan has its calls taken out of its expressions into an [`Expand`] below.

use super::set_columns;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Column, DFSchema, DFSchemaRef, DataFusionError, Result as DfResult, exec_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    UserDefinedLogicalNodeCore, Volatility,
};
use hw_plan::Func;
use hw_repr::{SqlError, SqlType};
use std::any::Any;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// One column of a set-returning call.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SetUdf {
    func: Func,
    args: Vec<SqlType>,
    ty: SqlType,
    column: usize,
    signature: Signature,
}

impl SetUdf {
    fn of(udf: &ScalarUDF) -> Option<&SetUdf> {
        let inner: &dyn Any = udf.inner().as_ref();
        inner.downcast_ref::<SetUdf>()
    }

    fn column_type(&self) -> SqlType {
        set_columns(self.func, self.ty).get(self.column).map_or(self.ty, |(_, ty)| *ty)
    }
}

impl ScalarUDFImpl for SetUdf {
    fn name(&self) -> &str {
        self.func.name()
    }
    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(format!("{}.{}", crate::udf::column_name(self.func.name(), args), self.column))
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.column_type().arrow())
    }
    fn return_field_from_args(&self, _: ReturnFieldArgs) -> DfResult<FieldRef> {
        Ok(Arc::new(self.column_type().field(self.func.name(), true)))
    }
    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        exec_err!("{} was not expanded", self.func.name())
    }
}

/// The function behind one column of a call of `func`, whose result resolves to `ty`.
pub fn set_udf(func: Func, args: &[SqlType], ty: SqlType, column: usize) -> Arc<ScalarUDF> {
    let types: Vec<DataType> = args.iter().map(SqlType::arrow).collect();
    let signature = match types.is_empty() {
        true => Signature::nullary(Volatility::Immutable),
        false => Signature::exact(types, Volatility::Immutable),
    };
    Arc::new(ScalarUDF::new_from_impl(SetUdf { func, args: args.to_vec(), ty, column, signature }))
}

/// Whether an expression is a column of a set-returning call.
pub fn is_set_call(e: &Expr) -> bool {
    matches!(e, Expr::ScalarFunction(f) if SetUdf::of(&f.func).is_some())
}

/// The call that an expression is a column of, as its first column, and which column it is.
pub fn set_column(e: &Expr) -> Option<(Expr, usize)> {
    let Expr::ScalarFunction(f) = e else { return None };
    let udf = SetUdf::of(&f.func)?;
    let first = set_udf(udf.func, &udf.args, udf.ty, 0);
    Some((Expr::ScalarFunction(ScalarFunction { func: first, args: f.args.clone() }), udf.column))
}

/// The rows that calls give for each row of the input: columns of the input, then those of the calls, unqualified, under
/// the names that [`Expand::column`] has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Expand {
    /// What it reads.
    pub input: Arc<LogicalPlan>,
    /// First columns of the calls, none of which has another within its arguments.
    pub calls: Vec<Expr>,
    /// A row for which no call gives any comes once, with NULLs.
    pub outer: bool,
    /// Columns of the input that are passed on; all where it is not said.
    pub keep: Option<Vec<Column>>,
    prefix: String,
    schema: DFSchemaRef,
}

impl PartialOrd for Expand {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

fn external(e: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(e))
}

impl Expand {
    /// Calls over `input`; `prefix` begins the names of their columns and is no other's.
    pub fn new(
        input: Arc<LogicalPlan>,
        calls: Vec<Expr>,
        prefix: String,
        outer: bool,
        keep: Option<Vec<Column>>,
    ) -> DfResult<Expand> {
        let below = input.schema();
        let mut fields = vec![];
        for (qualifier, field) in below.iter() {
            let column = Column::new(qualifier.cloned(), field.name());
            if keep.as_ref().is_none_or(|k| k.contains(&column)) {
                fields.push((qualifier.cloned(), Arc::clone(field)));
            }
        }
        for (i, call) in calls.iter().enumerate() {
            let (_, _, types) = Self::types(call)?;
            for (c, ty) in types.iter().enumerate() {
                let field: Field = ty.field(&format!("{prefix}_{i}_{c}"), true);
                fields.push((None, Arc::new(field)));
            }
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, below.metadata().clone())?);
        Ok(Expand { input, calls, outer, keep, prefix, schema })
    }

    /// The column of the `i`th call.
    pub fn column(&self, i: usize, column: usize) -> Column {
        Column::from_name(format!("{}_{i}_{column}", self.prefix))
    }

    /// The same with only these columns of the input.
    pub fn keeping(&self, keep: Vec<Column>) -> DfResult<Expand> {
        Expand::new(Arc::clone(&self.input), self.calls.clone(), self.prefix.clone(), self.outer, Some(keep))
    }

    /// The same over another input and other arguments.
    pub fn over(&self, input: Arc<LogicalPlan>, calls: Vec<Expr>, outer: bool) -> DfResult<Expand> {
        Expand::new(input, calls, self.prefix.clone(), outer, self.keep.clone())
    }

    /// Positions of the columns of the input that are passed on.
    pub fn kept(&self) -> Vec<usize> {
        let columns = self.input.schema().columns();
        let kept = |(_, c): &(usize, &Column)| self.keep.as_ref().is_none_or(|k| k.contains(c));
        columns.iter().enumerate().filter(kept).map(|(i, _)| i).collect()
    }

    /// A call: the function, the types of its arguments, and of its columns.
    pub fn types(call: &Expr) -> DfResult<super::CallTypes> {
        let udf = match call {
            Expr::ScalarFunction(f) => SetUdf::of(&f.func),
            _ => None,
        };
        let udf = udf.ok_or_else(|| external(SqlError::internal(format!("{call} gives no set"))))?;
        let columns = set_columns(udf.func, udf.ty).into_iter().map(|(_, ty)| ty).collect();
        Ok((udf.func, udf.args.clone(), columns))
    }

    /// The arguments of a call.
    pub fn args(call: &Expr) -> &[Expr] {
        match call {
            Expr::ScalarFunction(f) => &f.args,
            _ => &[],
        }
    }
}

impl UserDefinedLogicalNodeCore for Expand {
    fn name(&self) -> &str {
        "Expand"
    }
    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }
    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }
    fn expressions(&self) -> Vec<Expr> {
        self.calls.clone()
    }
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        // A condition on columns of the input may be tried before: it leaves out the same rows.
        self.schema.fields().iter().map(|f| f.name().clone()).filter(|n| n.starts_with(&self.prefix)).collect()
    }
    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let calls: Vec<String> = self.calls.iter().map(ToString::to_string).collect();
        write!(f, "Expand{} {}", if self.outer { " outer" } else { "" }, calls.join(", "))
    }
    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        let input = inputs.into_iter().next();
        let input = input.ok_or_else(|| external(SqlError::internal("the input of a set-returning call was lost")))?;
        let calls = exprs.into_iter().map(Expr::unalias).collect();
        self.over(Arc::new(input), calls, self.outer)
    }
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let kept = self.kept();
        Some(vec![output_columns.iter().filter_map(|c| kept.get(*c).copied()).collect()])
    }
}
