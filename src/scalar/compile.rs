//! From expressions to evaluable nodes: constants folded, kernels chosen, fallible operands marked.

use crate::eval::{CallNode, Input, Node, Operand};
use crate::kernel;
use crate::mfp::{evaluate_all, failing_rows};
use crate::value::Val;
use arrow::array::{ArrayRef, RecordBatch};
use hw_plan::{Func, ScalarExpr};
use hw_repr::{Datum, SqlError, SqlType, datum};

/// Expressions ready to be evaluated over batches.
pub struct Compiled {
    operands: Vec<Operand>,
    columns: Vec<usize>,
}

/// Compiles expressions over an input of these column types.
pub fn compile(exprs: &[ScalarExpr], input: &[SqlType]) -> Result<Compiled, SqlError> {
    let operands = exprs.iter().map(|e| compile_operand(e, input)).collect::<Result<Vec<_>, _>>()?;
    let mut columns: Vec<usize> = operands.iter().flat_map(|o| o.columns.clone()).collect();
    columns.sort_unstable();
    columns.dedup();
    Ok(Compiled { operands, columns })
}

impl Compiled {
    /// One array per expression. The error is that of the first row that fails.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, SqlError> {
        let columns = batch.columns().iter().cloned().map(Val::Array).collect();
        self.evaluate_values(&Input { columns, rows: batch.num_rows() })
    }

    pub(crate) fn evaluate_values(&self, input: &Input) -> Result<Vec<ArrayRef>, SqlError> {
        let all: Vec<&Operand> = self.operands.iter().collect();
        evaluate_all(&all, input).map_err(|e| {
            // The kernels stop at the first error they meet; the first row's error does not depend on their order.
            failing_rows(&all, input, &self.columns).into_iter().next().map_or(e, |(_, first)| first)
        })
    }
}

/// The value of an expression without columns.
pub fn eval_const(expr: &ScalarExpr) -> Result<Datum, SqlError> {
    let operand = compile_operand(expr, &[])?;
    let out = operand.evaluate(&Input { columns: vec![], rows: 1 })?;
    Datum::from_array(out.as_ref(), 0, expr.ty())
}

/// Whether some row can make the expression fail. False only where none can.
pub fn may_fail(expr: &ScalarExpr) -> bool {
    let own = match expr {
        ScalarExpr::Call { func, args, .. } => kernel::call_may_fail(*func, args),
        ScalarExpr::Cast { expr, to, explicit } => kernel::cast_may_fail(expr.ty(), *to, *explicit),
        _ => false,
    };
    own || expr.children().into_iter().any(may_fail)
}

/// Compiles one expression.
pub(crate) fn compile_operand(expr: &ScalarExpr, input: &[SqlType]) -> Result<Operand, SqlError> {
    let node = compile_node(expr, input)?;
    let folded = matches!(node, Node::Const(_));
    Ok(Operand {
        fallible: !folded && may_fail(expr),
        columns: if folded { vec![] } else { expr.columns() },
        ty: expr.ty().arrow(),
        node,
    })
}

fn compile_all(exprs: &[ScalarExpr], input: &[SqlType]) -> Result<Vec<Operand>, SqlError> {
    exprs.iter().map(|e| compile_operand(e, input)).collect()
}

fn compile_node(expr: &ScalarExpr, input: &[SqlType]) -> Result<Node, SqlError> {
    hw_plan::stack::deep(|| compile_one(expr, input))
}

fn compile_one(expr: &ScalarExpr, input: &[SqlType]) -> Result<Node, SqlError> {
    let node = match expr {
        ScalarExpr::Column(i, ty) => {
            let found = input.get(*i).map(SqlType::arrow);
            if found != Some(ty.arrow()) {
                return Err(SqlError::internal(format!("column {i} is said to be {ty}, the input has {found:?}")));
            }
            return Ok(Node::Column(*i));
        }
        ScalarExpr::Literal(d, ty) => return Ok(Node::Const(datum::datums_to_array(*ty, std::slice::from_ref(d))?)),
        ScalarExpr::Call { func, args, ty } => compile_call(*func, args, *ty, input)?,
        ScalarExpr::Cast { expr, to, explicit } => match kernel::cast(expr.ty(), *to, *explicit)? {
            None => return compile_node(expr, input),
            Some(kernel) => {
                Node::Call(CallNode { kernel, args: vec![compile_node(expr, input)?], strict: true, ty: to.arrow() })
            }
        },
        ScalarExpr::And(all) => Node::And(compile_all(all, input)?),
        ScalarExpr::Or(all) => Node::Or(compile_all(all, input)?),
        ScalarExpr::Not(e) => Node::Not(Box::new(compile_node(e, input)?)),
        ScalarExpr::IsNull(e) => Node::IsNull(Box::new(compile_node(e, input)?)),
        ScalarExpr::Case { branches, otherwise } => Node::Case {
            branches: branches
                .iter()
                .map(|(c, r)| Ok((compile_operand(c, input)?, compile_operand(r, input)?)))
                .collect::<Result<_, SqlError>>()?,
            otherwise: Box::new(compile_operand(otherwise, input)?),
            ty: otherwise.ty().arrow(),
        },
        ScalarExpr::Coalesce(all) => Node::Coalesce(compile_all(all, input)?, expr.ty().arrow()),
    };
    Ok(fold(node, expr))
}

fn compile_call(func: Func, args: &[ScalarExpr], ty: SqlType, input: &[SqlType]) -> Result<Node, SqlError> {
    // Kernels of bare numeric read integers and fixed-point columns as they are: no detour through its bytes.
    let reads_numbers = kernel::reads_any_number(func);
    let args: Vec<&ScalarExpr> = args
        .iter()
        .map(|a| match a {
            ScalarExpr::Cast { expr, to: SqlType::Numeric(None), .. }
                if reads_numbers && kernel::is_exact_number(expr.ty()) =>
            {
                expr.as_ref()
            }
            other => other,
        })
        .collect();
    let types: Vec<SqlType> = args.iter().map(|a| a.ty()).collect();
    Ok(Node::Call(CallNode {
        kernel: kernel::call(func, &types, ty)?,
        strict: kernel::is_strict(func),
        args: args.iter().map(|a| compile_node(a, input)).collect::<Result<_, _>>()?,
        ty: ty.arrow(),
    }))
}

/// Evaluates what has no columns, once. What fails stays as it is: it must fail only for rows that reach it.
fn fold(node: Node, expr: &ScalarExpr) -> Node {
    if !expr.columns().is_empty() {
        return node;
    }
    match node.evaluate(&Input { columns: vec![], rows: 1 }).and_then(|v| v.into_array(1)) {
        Ok(a) => Node::Const(a),
        Err(_) => node,
    }
}
