//! What the executor may know of a union, and of what is below a window: nothing but the columns.
//!
//! DataFusion tells of a column that is constant in each input of a union that it is constant, although the inputs' values
//! differ; a sort then leaves it out, or stops early as if the rows came sorted by it (apache/datafusion pull request 23528 mends
//! one of the places). So a node that passes rows on stands above each union, and has no properties of that kind.

use datafusion::common::Result as DfResult;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties, replace_children_if_necessary,
};
use std::fmt;
use std::sync::Arc;

const NAME: &str = "Unknown";

/// The rule that puts the node above each union and below each window: before every other rule.
#[derive(Debug)]
pub(crate) struct HideConstants;

impl PhysicalOptimizerRule for HideConstants {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> DfResult<Arc<dyn ExecutionPlan>> {
        let hide = |node: Arc<dyn ExecutionPlan>| {
            if node.is::<UnionExec>() {
                return Ok(Transformed::yes(Arc::new(UnknownExec::new(node)) as Arc<dyn ExecutionPlan>));
            }
            // A window counts keys that are constant, equal or ordered below it in two ways, and fails where they differ; joins pass
            // on other constants once rules have turned them round.
            let window = node.is::<WindowAggExec>() || node.is::<BoundedWindowAggExec>();
            if window {
                let hidden = |input: &Arc<dyn ExecutionPlan>| {
                    Arc::new(UnknownExec::new(Arc::clone(input))) as Arc<dyn ExecutionPlan>
                };
                let children = node.children().into_iter().map(hidden).collect();
                return Ok(Transformed::yes(replace_children_if_necessary(node, children)?));
            }
            Ok(Transformed::no(node))
        };
        plan.transform_up(hide).data()
    }
    fn name(&self) -> &str {
        "hide_constants"
    }
    fn schema_check(&self) -> bool {
        true
    }
}

/// Passes on what its input gives.
struct UnknownExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl UnknownExec {
    fn new(input: Arc<dyn ExecutionPlan>) -> UnknownExec {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            input.properties().output_partitioning().clone(),
            input.properties().emission_type,
            input.properties().boundedness,
        );
        UnknownExec { input, properties: Arc::new(properties) }
    }
}

impl fmt::Debug for UnknownExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(NAME).field("input", &self.input).finish()
    }
}

impl DisplayAs for UnknownExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

impl ExecutionPlan for UnknownExec {
    fn name(&self) -> &str {
        NAME
    }
    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }
    fn supports_limit_pushdown(&self) -> bool {
        true
    }
    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().unwrap_or_else(|| Arc::clone(&self.input));
        Ok(Arc::new(UnknownExec::new(input)))
    }
    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}
