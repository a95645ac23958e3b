//! Queries run on threads of their own and end when nobody waits for their rows any more.
//!
//! A query may compute for a long time between two rows. So it is a task of a runtime that does nothing else; the
//! receiver of its rows can always be dropped, which ends the task at its next pause. Joins and sets, the operators that turn
//! little input into much work, are made to pause: their output counts against the task's budget, and a nested-loop
//! join, which may compare for hours without a row of output, looks at the stop flag with every batch it compares.

use crate::error::{to_sql_error, wrap};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{StreamExt, stream};
use hw_repr::{SqlError, SqlState};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Batches that a query may be ahead of its receiver.
const BATCHES_AHEAD: usize = 2;

/// Raised when nobody waits any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopFlag(Arc<AtomicBool>);

/// The threads of queries, as many as there are cores.
fn threads() -> Result<&'static Handle, SqlError> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let start = || {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(cores).thread_name("query").enable_all().build().map_err(|e| e.to_string())
    };
    match RUNTIME.get_or_init(start) {
        Ok(runtime) => Ok(runtime.handle()),
        Err(e) => Err(SqlError::internal(format!("the threads of queries did not start: {e}"))),
    }
}

/// A plan that pauses often enough.
pub(crate) fn make_stoppable(
    plan: Arc<dyn ExecutionPlan>,
    stop: &StopFlag,
) -> Result<Arc<dyn ExecutionPlan>, SqlError> {
    let change = |node: Arc<dyn ExecutionPlan>| {
        if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>()
            && let Some(filter) = join.filter()
        {
            let checked = Arc::new(Checked { inner: filter.expression().clone(), stop: stop.clone() });
            let filter = JoinFilter::new(checked, filter.column_indices().to_vec(), filter.schema().clone());
            let projection = join.projection().as_ref().map(|p| p.to_vec());
            let (left, right) = (join.left().clone(), join.right().clone());
            let join = NestedLoopJoinExec::try_new(left, right, Some(filter), join.join_type(), projection)?;
            return Ok(Transformed::yes(Arc::new(CooperativeExec::new(Arc::new(join))) as Arc<dyn ExecutionPlan>));
        }
        if node.name().contains("Join") || node.name() == crate::sets::NAME {
            return Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>));
        }
        Ok(Transformed::no(node))
    };
    plan.transform_up(change).map(|t| t.data).map_err(|e| to_sql_error(&e))
}

/// The rows of `plan`, computed by tasks that end when the result is dropped.
pub(crate) fn run_apart(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    stop: StopFlag,
) -> Result<SendableRecordBatchStream, SqlError> {
    let threads = threads()?;
    let mut rows = {
        // What puts several partitions together starts their tasks here and now, on the runtime that is entered.
        let _entered = threads.enter();
        execute_stream(plan, context).map_err(|e| to_sql_error(&e))?
    };
    let schema = rows.schema();
    let (to, from) = mpsc::channel(BATCHES_AHEAD);
    let task = threads.spawn(async move {
        while let Some(batch) = rows.next().await {
            if to.send(batch).await.is_err() {
                return;
            }
        }
    });
    let running = Running { from, task: Some(task), stop };
    let stream = stream::unfold(running, |mut running| async move {
        let next = running.next().await?;
        Some((next, running))
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
}

struct Running {
    from: mpsc::Receiver<DfResult<RecordBatch>>,
    task: Option<JoinHandle<()>>,
    stop: StopFlag,
}

impl Running {
    async fn next(&mut self) -> Option<DfResult<RecordBatch>> {
        if let Some(batch) = self.from.recv().await {
            return Some(batch);
        }
        // Rows that end because their task has failed are no result.
        match self.task.take()?.await {
            Ok(()) => None,
            Err(e) => Some(Err(wrap(SqlError::internal(format!("the query failed: {e}"))))),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.0.store(true, Ordering::Relaxed);
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// An expression that fails once the flag is raised.
#[derive(Debug)]
struct Checked {
    inner: Arc<dyn PhysicalExpr>,
    stop: StopFlag,
}

impl PartialEq for Checked {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}
impl Eq for Checked {}
impl Hash for Checked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}
impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Checked {
    fn data_type(&self, input: &Schema) -> DfResult<DataType> {
        self.inner.data_type(input)
    }
    fn nullable(&self, input: &Schema) -> DfResult<bool> {
        self.inner.nullable(input)
    }
    fn return_field(&self, input: &Schema) -> DfResult<FieldRef> {
        self.inner.return_field(input)
    }
    fn evaluate(&self, batch: &RecordBatch) -> DfResult<ColumnarValue> {
        if self.stop.0.load(Ordering::Relaxed) {
            let e = SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request");
            return Err(DataFusionError::External(Box::new(e)));
        }
        self.inner.evaluate(batch)
    }
    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }
    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> DfResult<Arc<dyn PhysicalExpr>> {
        let inner = children.pop().unwrap_or_else(|| self.inner.clone());
        Ok(Arc::new(Checked { inner, stop: self.stop.clone() }))
    }
    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
