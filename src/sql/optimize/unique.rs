//! What DataFusion believes to be unique, forgotten.
//!
//! Above a grouping that reads a join it takes a key of one side of the join for a key of the groups
//! (`aggregate_functional_dependencies` of 55.2 gives every column as its target, also where rows with that key come several times).
//! Then DISTINCT, or another grouping, over such groups loses columns that nothing reads, and rows with them; GROUP BY gets columns that
//! nobody wrote; and a window's frame ends at the row itself instead of its last peer. So no rule that asks what is unique finds anything,
//! and no relation of FROM tells the planner of it.

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchemaRef, FunctionalDependencies, Result as DfResult, ScalarValue};
use datafusion_expr::logical_plan::{Aggregate, Distinct, Extension, Limit};
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_optimizer::optimizer::ApplyOrder;
use datafusion_optimizer::{OptimizerConfig, OptimizerRule};
use sqlparser::ast::TableFactor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
        let forgotten = plan.transform_up_with_subqueries(|mut node| {
            let changed = forget(&mut node)?;
            Ok(Transformed::new_transformed(node, changed))
        })?;
        // As if nothing had changed: nobody is to go on because of it.
        Ok(Transformed::no(forgotten.data))
    }
}

/// DISTINCT as groups of all columns, whatever is unique: the physical planner takes no DISTINCT.
#[derive(Debug)]
pub(super) struct GroupDistinct;

impl OptimizerRule for GroupDistinct {
    fn name(&self) -> &str {
        "group_distinct"
    }
    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }
    fn supports_rewrite(&self) -> bool {
        true
    }
    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> DfResult<Transformed<LogicalPlan>> {
        let LogicalPlan::Distinct(Distinct::All(input)) = plan else { return Ok(Transformed::no(plan)) };
        let keys: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        let plan = match keys.is_empty() {
            true => {
                let fetch = Some(Box::new(Expr::Literal(ScalarValue::Int64(Some(1)), None)));
                LogicalPlan::Limit(Limit { skip: None, fetch, input })
            }
            false => LogicalPlan::Aggregate(Aggregate::try_new(input, keys, vec![])?),
        };
        Ok(Transformed::yes(plan))
    }
}

/// Plans the relations of FROM as DataFusion does, and lets them tell of nothing unique.
#[derive(Debug, Default)]
pub(crate) struct Forgetful {
    /// The relation that comes next is the one that was just asked for.
    passes: AtomicBool,
}

impl RelationPlanner for Forgetful {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        if self.passes.swap(false, Ordering::Relaxed) {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        }
        self.passes.store(true, Ordering::Relaxed);
        let plan = context.plan(relation)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(forget_all_along(plan)?, None))))
    }
}

/// What stands above reads the schema of the topmost node only, which may be that of a node below.
fn forget_all_along(mut plan: LogicalPlan) -> DfResult<LogicalPlan> {
    if plan.schema().functional_dependencies().is_empty() {
        return Ok(plan);
    }
    if forget(&mut plan)? {
        return Ok(plan);
    }
    plan.map_children(|input| forget_all_along(input).map(Transformed::yes)).data()
}

/// Lets a node whose schema is its own tell of nothing unique; false where there was nothing, or the schema is that of its input.
fn forget(node: &mut LogicalPlan) -> DfResult<bool> {
    if node.schema().functional_dependencies().is_empty() {
        return Ok(false);
    }
    let clear = |schema: &mut DFSchemaRef| -> DfResult<bool> {
        *schema = Arc::new((**schema).clone().with_functional_dependencies(FunctionalDependencies::empty())?);
        Ok(true)
    };
    match node {
        LogicalPlan::Projection(p) => clear(&mut p.schema),
        LogicalPlan::Aggregate(a) => clear(&mut a.schema),
        LogicalPlan::Window(w) => clear(&mut w.schema),
        LogicalPlan::SubqueryAlias(s) => clear(&mut s.schema),
        LogicalPlan::Join(j) => clear(&mut j.schema),
        LogicalPlan::Union(u) => clear(&mut u.schema),
        LogicalPlan::Unnest(u) => clear(&mut u.schema),
        LogicalPlan::Distinct(Distinct::On(d)) => clear(&mut d.schema),
        LogicalPlan::TableScan(s) => clear(&mut s.projected_schema),
        // Made again over inputs that tell of nothing.
        LogicalPlan::Extension(Extension { node }) => {
            let inputs = node.inputs().into_iter().cloned().collect();
            *node = node.with_exprs_and_inputs(node.expressions(), inputs)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}
