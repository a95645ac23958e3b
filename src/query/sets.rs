//! Set-returning calls as an operator: for each batch of the input, the rows of its sets, a batch at a time. Nothing is
//! computed that is not asked for: a LIMIT above ends a long series.

use crate::error::wrap;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::{EquivalenceProperties, OrderingRequirements, Partitioning};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PhysicalExpr, PlanProperties,
};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use futures::{StreamExt, stream};
use hw_scalar::sets::{Cursor, Expand, Sets};
use std::fmt;
use std::sync::Arc;

/// The operator's name in plans.
pub(crate) const NAME: &str = "SetsExec";

/// Plans [`Expand`].
pub(crate) struct SetPlanner;

#[async_trait]
impl ExtensionPlanner for SetPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(expand), [input]) = (node.as_any().downcast_ref::<Expand>(), inputs) else { return Ok(None) };
        let (mut types, mut args) = (vec![], vec![]);
        for call in &expand.calls {
            types.push(Expand::types(call)?);
            let one = |e| planner.create_physical_expr(e, expand.input.schema(), session, context);
            args.push(Expand::args(call).iter().map(one).collect::<DfResult<Vec<_>>>()?);
        }
        let sets = Sets::new(&types, expand.outer).map_err(wrap)?;
        let schema = Arc::new(UserDefinedLogicalNode::schema(expand).as_arrow().clone());
        let sorted = input.output_ordering().cloned().map(OrderingRequirements::from);
        let exec = SetsExec::new(Arc::clone(input), Arc::new(sets), args, expand.kept(), sorted, schema);
        Ok(Some(Arc::new(exec)))
    }
}

struct SetsExec {
    input: Arc<dyn ExecutionPlan>,
    sets: Arc<Sets>,
    args: Vec<Vec<Arc<dyn PhysicalExpr>>>,
    kept: Vec<usize>,
    sorted: Option<OrderingRequirements>,
    properties: Arc<PlanProperties>,
}

impl SetsExec {
    fn new(
        input: Arc<dyn ExecutionPlan>,
        sets: Arc<Sets>,
        args: Vec<Vec<Arc<dyn PhysicalExpr>>>,
        kept: Vec<usize>,
        sorted: Option<OrderingRequirements>,
        schema: SchemaRef,
    ) -> SetsExec {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        SetsExec { input, sets, args, kept, sorted, properties: Arc::new(properties) }
    }
}

impl fmt::Debug for SetsExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(NAME).field("input", &self.input).field("args", &self.args).finish_non_exhaustive()
    }
}

impl DisplayAs for SetsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

impl ExecutionPlan for SetsExec {
    fn name(&self) -> &str {
        NAME
    }
    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }
    // The input stays sorted as it was planned. That the output is, too, must not be said: a sort above would be taken
    // for one of the input's columns at the same places.
    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.sorted.clone()]
    }
    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        for arg in self.args.iter().flatten() {
            if f(arg)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next().unwrap_or_else(|| Arc::clone(&self.input));
        let (sets, args) = (Arc::clone(&self.sets), self.args.clone());
        Ok(Arc::new(SetsExec::new(input, sets, args, self.kept.clone(), self.sorted.clone(), self.schema())))
    }
    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let run = Run {
            input: self.input.execute(partition, Arc::clone(&context))?,
            sets: Arc::clone(&self.sets),
            args: self.args.clone(),
            kept: self.kept.clone(),
            schema: self.schema(),
            rows: context.session_config().batch_size(),
            open: None,
        };
        let batches = stream::try_unfold(run, |mut run| async move { Ok(run.next().await?.map(|batch| (batch, run))) });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

/// The operator at work on one partition.
struct Run {
    input: SendableRecordBatchStream,
    sets: Arc<Sets>,
    args: Vec<Vec<Arc<dyn PhysicalExpr>>>,
    kept: Vec<usize>,
    schema: SchemaRef,
    /// Rows of an output batch.
    rows: usize,
    open: Option<(RecordBatch, Cursor)>,
}

impl Run {
    async fn next(&mut self) -> DfResult<Option<RecordBatch>> {
        loop {
            if let Some((batch, mut cursor)) = self.open.take()
                && let Some((of, made)) = self.sets.next(&mut cursor, self.rows).map_err(wrap)?
            {
                let options = RecordBatchOptions::new().with_row_count(Some(of.len()));
                let kept = self.kept.iter().map(|c| Ok(take(batch.column(*c), &of, None)?));
                let columns = kept.chain(made.into_iter().map(Ok)).collect::<DfResult<Vec<ArrayRef>>>()?;
                let out = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
                self.open = Some((batch, cursor));
                return Ok(Some(out));
            }
            let Some(batch) = self.input.next().await.transpose()? else { return Ok(None) };
            if batch.num_rows() > 0 {
                let args = self.arguments(&batch)?;
                let cursor = self.sets.cursor(args, batch.num_rows()).map_err(wrap)?;
                self.open = Some((batch, cursor));
            }
        }
    }

    fn arguments(&self, batch: &RecordBatch) -> DfResult<Vec<Vec<ArrayRef>>> {
        let one = |e: &Arc<dyn PhysicalExpr>| e.evaluate(batch)?.into_array(batch.num_rows());
        self.args.iter().map(|call| call.iter().map(one).collect()).collect()
    }
}
