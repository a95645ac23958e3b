//! What DataFusion believes to be unique, forgotten.
//!
//! Above a grouping that reads a join it takes a key of one side of the join for a key of the groups
//! (`aggregate_functional_dependencies` of 55.2 gives every column as its target, also where rows with that key come several times).
//! Then DISTINCT, or another grouping, over such groups loses columns that nothing reads, and rows with them. So no rule that
//! asks what is unique finds anything.

use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchemaRef, FunctionalDependencies, Result as DfResult};
use datafusion_expr::LogicalPlan;
use datafusion_expr::logical_plan::{Aggregate, Window};
use datafusion_optimizer::{OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// Stands before each rule that asks: the other rules find the dependencies again.
#[derive(Debug)]
pub(super) struct ForgetUnique;

impl OptimizerRule for ForgetUnique {
    fn name(&self) -> &str {
        "forget_unique"
    }
    fn supports_rewrite(&self) -> bool {
        true
    }
    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> DfResult<Transformed<LogicalPlan>> {
        // As if nothing had changed: nobody is to go on because of it.
        let forgotten = plan.transform_up_with_subqueries(|node| Ok(Transformed::no(forget(node)?)))?;
        Ok(Transformed::no(forgotten.data))
    }
}

/// A node whose inputs tell of nothing unique, telling of nothing.
fn forget(node: LogicalPlan) -> DfResult<LogicalPlan> {
    if node.schema().functional_dependencies().is_empty() {
        return Ok(node);
    }
    let schema = |of: &DFSchemaRef| -> DfResult<DFSchemaRef> {
        Ok(Arc::new((**of).clone().with_functional_dependencies(FunctionalDependencies::empty())?))
    };
    match node {
        LogicalPlan::Aggregate(a) => {
            let schema = schema(&a.schema)?;
            Aggregate::try_new_with_schema(a.input, a.group_expr, a.aggr_expr, schema).map(LogicalPlan::Aggregate)
        }
        LogicalPlan::Window(w) => {
            let schema = schema(&w.schema)?;
            Window::try_new_with_schema(w.window_expr, w.input, schema).map(LogicalPlan::Window)
        }
        other => other.recompute_schema(),
    }
}
