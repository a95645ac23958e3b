//! Conditions that may fail, joins by keys of which NULL is like NULL, and aggregates of all rows, hidden from the optimizer's
//! rules while these run.
//!
//! The rules give such a join further keys, of which NULL is then like NULL, too; and they take joins of both kinds for one.
//!
//! The rules move a condition below joins and groups and merge it with others in an order of their own; one that may fail
//! has to stay behind those that were written before it or stand further inside. So it becomes a node that no rule looks
//! into. What cannot fail may pass it downwards: it leaves out rows that PostgreSQL, which tries first what costs less,
//! leaves out first, too.

use crate::decorrelate::{fallible, has_subquery};
use datafusion_common::tree_node::{Transformed, TransformedResult};
use datafusion_common::{DFSchemaRef, JoinType, NullEquality, Result as DfResult, ScalarValue};
use datafusion_expr::logical_plan::{Extension, Filter, Join, Limit};
use datafusion_expr::utils::{conjunction, split_conjunction};
use datafusion_expr::{Expr, LogicalPlan, Operator, UserDefinedLogicalNodeCore};
use datafusion_optimizer::optimizer::ApplyOrder;
use datafusion_optimizer::{OptimizerConfig, OptimizerRule};
use hw_repr::SqlError;
use std::any::Any;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq, Hash, PartialOrd)]
struct Barrier {
    predicate: Expr,
    input: Arc<LogicalPlan>,
}

impl UserDefinedLogicalNodeCore for Barrier {
    fn name(&self) -> &str {
        "Barrier"
    }
    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }
    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }
    fn expressions(&self) -> Vec<Expr> {
        vec![self.predicate.clone()]
    }
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }
    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Barrier: {}", self.predicate)
    }
    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        match (exprs.into_iter().next(), inputs.into_iter().next()) {
            (Some(predicate), Some(input)) => Ok(Barrier { predicate, input: Arc::new(input) }),
            _ => Err(crate::error::external(SqlError::internal("a condition was lost"))),
        }
    }
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}

#[derive(Debug, PartialEq, Eq, Hash, PartialOrd)]
struct NullSafe {
    join: Join,
}

impl UserDefinedLogicalNodeCore for NullSafe {
    fn name(&self) -> &str {
        "NullSafe"
    }
    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.join.left, &self.join.right]
    }
    fn schema(&self) -> &DFSchemaRef {
        &self.join.schema
    }
    fn expressions(&self) -> Vec<Expr> {
        let on = self.join.on.iter().flat_map(|(l, r)| [l.clone(), r.clone()]);
        on.chain(self.join.filter.clone()).collect()
    }
    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "NullSafe")
    }
    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        let lost = || crate::error::external(SqlError::internal("a join has lost its keys"));
        let mut exprs = exprs.into_iter();
        let mut on = vec![];
        for _ in &self.join.on {
            on.push((exprs.next().ok_or_else(lost)?, exprs.next().ok_or_else(lost)?));
        }
        let [left, right] = inputs.try_into().map_err(|_| lost())?;
        let j = &self.join;
        let join = Join::try_new(
            Arc::new(left),
            Arc::new(right),
            on,
            exprs.next(),
            j.join_type,
            j.join_constraint,
            j.null_equality,
            j.null_aware,
        )?;
        Ok(NullSafe { join })
    }
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.join.left.schema().fields().len();
        let (left, right): (Vec<usize>, Vec<usize>) = output_columns.iter().partition(|c| **c < width);
        Some(vec![left, right.into_iter().map(|c| c - width).collect()])
    }
}

/// The rules would change what the join means. A subquery may not stand in a node of ours.
fn is_endangered(j: &Join) -> bool {
    let pairs = j.join_type == JoinType::Inner || is_outer(j);
    let endangered = pairs && j.null_equality == NullEquality::NullEqualsNull
        || is_outer(j) && j.filter.as_ref().is_some_and(has_constant);
    endangered && !j.filter.as_ref().is_some_and(has_subquery)
}

fn hidden(join: Join) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(NullSafe { join }) })
}

/// Hides joins that have got keys of which NULL is like NULL only now, of a condition of WHERE. It stands behind the rule that
/// makes such keys: the next ones would give them to the join of all.
#[derive(Debug)]
pub(super) struct HideNullSafe;

impl OptimizerRule for HideNullSafe {
    fn name(&self) -> &str {
        "hide_null_safe"
    }
    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }
    fn supports_rewrite(&self) -> bool {
        true
    }
    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> DfResult<Transformed<LogicalPlan>> {
        Ok(match plan {
            LogicalPlan::Join(join) if is_endangered(&join) => Transformed::yes(hidden(join)),
            other => Transformed::no(other),
        })
    }
}

fn is_outer(j: &Join) -> bool {
    matches!(j.join_type, JoinType::Left | JoinType::Right | JoinType::Full)
}

/// A join of which `IS NOT DISTINCT FROM` is the only equality, with keys: the rules would make them, and give them to an equality
/// of WHERE later on.
fn with_null_safe_keys(mut join: Join) -> DfResult<Join> {
    let pairs = join.on.is_empty() && (join.join_type == JoinType::Inner || is_outer(&join));
    let Some(filter) = join.filter.take_if(|f| pairs && !has_subquery(f)) else { return Ok(join) };
    let of = |e: &Expr, side: &LogicalPlan| {
        let columns = e.column_refs();
        !columns.is_empty() && columns.into_iter().all(|c| side.schema().has_column(c)) && !fallible(e)
    };
    let sides = |e: &Expr, op: Operator| match e {
        Expr::BinaryExpr(b) if b.op == op => {
            let straight = of(&b.left, &join.left) && of(&b.right, &join.right);
            let crossed = of(&b.left, &join.right) && of(&b.right, &join.left);
            let (left, right) = if crossed { (&b.right, &b.left) } else { (&b.left, &b.right) };
            (straight || crossed).then(|| (left.as_ref().clone(), right.as_ref().clone()))
        }
        _ => None,
    };
    let conjuncts = split_conjunction(&filter);
    let keys: Vec<(Expr, Expr)> = conjuncts.iter().filter_map(|c| sides(c, Operator::IsNotDistinctFrom)).collect();
    if keys.is_empty() || conjuncts.iter().any(|c| sides(c, Operator::Eq).is_some()) {
        join.filter = Some(filter);
        return Ok(join);
    }
    let rest = conjuncts.into_iter().filter(|c| sides(c, Operator::IsNotDistinctFrom).is_none()).cloned();
    let filter = conjunction(rest);
    let (kind, constraint, null_aware) = (join.join_type, join.join_constraint, join.null_aware);
    Join::try_new(join.left, join.right, keys, filter, kind, constraint, NullEquality::NullEqualsNull, null_aware)
}

/// A conjunct of no column, which would be pushed below an aggregate of all rows: that has a row still.
fn has_constant(condition: &Expr) -> bool {
    let is_true = |c: &Expr| matches!(c, Expr::Literal(ScalarValue::Boolean(Some(true)), _));
    split_conjunction(condition).into_iter().any(|c| c.column_refs().is_empty() && !is_true(c))
}

/// Hides the conditions that may fail.
pub(super) fn raise(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Filter(f) if fallible(&f.predicate) => {
            let node = Arc::new(Barrier { predicate: f.predicate, input: f.input });
            Ok(Transformed::yes(LogicalPlan::Extension(Extension { node })))
        }
        LogicalPlan::Join(join) => match with_null_safe_keys(join)? {
            join if is_endangered(&join) => Ok(Transformed::yes(hidden(join))),
            join => Ok(Transformed::no(LogicalPlan::Join(join))),
        },
        LogicalPlan::Aggregate(a) if a.group_expr.is_empty() => {
            // A condition of no column (a key that a grouping set leaves out is a constant) would be pushed below, where its
            // one row stays. No rule goes past a LIMIT.
            let fetch = Some(Box::new(Expr::Literal(ScalarValue::Int64(Some(1)), None)));
            Ok(Transformed::yes(LogicalPlan::Limit(Limit {
                skip: None,
                fetch,
                input: Arc::new(LogicalPlan::Aggregate(a)),
            })))
        }
        other => Ok(Transformed::no(other)),
    })
    .data()
}

/// True for an aggregate of all rows, under projections: it has one.
fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(p) => has_one_row(&p.input),
        LogicalPlan::Aggregate(a) => a.group_expr.is_empty(),
        _ => false,
    }
}

fn is_first(limit: &Limit) -> bool {
    let one = |e: &Expr| matches!(e, Expr::Literal(ScalarValue::Int64(Some(1)), _));
    limit.skip.is_none() && limit.fetch.as_deref().is_some_and(one)
}

/// Shows them again.
pub(super) fn lower(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Limit(l) if is_first(&l) && has_one_row(&l.input) => {
            Ok(Transformed::yes(Arc::unwrap_or_clone(l.input)))
        }
        LogicalPlan::Extension(e) => {
            let any: &dyn Any = e.node.as_any();
            match any.downcast_ref::<Barrier>() {
                Some(b) => {
                    let filter = Filter::try_new(b.predicate.clone(), Arc::clone(&b.input))?;
                    Ok(Transformed::yes(LogicalPlan::Filter(filter)))
                }
                None => match any.downcast_ref::<NullSafe>() {
                    Some(n) => Ok(Transformed::yes(LogicalPlan::Join(n.join.clone()))),
                    None => Ok(Transformed::no(LogicalPlan::Extension(e))),
                },
            }
        }
        other => Ok(Transformed::no(other)),
    })
    .data()
}
