//! From a bound logical plan to a stream of batches.

use crate::error::to_sql_error;
use crate::provider::QueryTable;
use crate::rewrite::{Bound, bind_tables};
use crate::stoppable::{StopFlag, make_stoppable, run_apart};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_optimizer::projection_pushdown::ProjectionPushdown;
use datafusion::physical_plan::execute_stream;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use hw_repr::{GlobalId, SqlError};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};

/// How a query runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryOptions {
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Into how many partitions DataFusion may split work.
    pub target_partitions: usize,
    /// Bytes that sorts, joins and aggregations of this query may hold before they spill or fail.
    pub memory_bytes_max: Option<usize>,
}

impl Default for QueryOptions {
    fn default() -> Self {
        QueryOptions { batch_rows: 8192, target_partitions: 1, memory_bytes_max: None }
    }
}

/// Runs `plan`, whose scans are named `hw_<oid>` and found in `tables`. The plan is already optimised and its
/// parameters are bound. Errors inside the stream are DataFusion's; [`to_sql_error`] turns them into ours.
/// The rows are computed on threads of their own, and dropping the stream ends that; a few that are found by
/// their key, or given as they are, are read by whoever polls the stream.
pub async fn execute(
    plan: LogicalPlan,
    tables: HashMap<GlobalId, QueryTable>,
    opts: QueryOptions,
) -> Result<SendableRecordBatchStream, SqlError> {
    let Bound { plan, plain, few } = bind_tables(plan, &tables, opts.batch_rows)?;
    let state = if plain { plain_session(&opts)? } else { session(&opts)?.build() };
    let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(crate::sets::SetPlanner)]);
    let physical = planner.create_physical_plan(&plan, &state).await.map_err(|e| to_sql_error(&e))?;
    let context = Arc::new(TaskContext::from(&state));
    if plain && few {
        return execute_stream(physical, context).map_err(|e| to_sql_error(&e));
    }
    let stop = StopFlag::default();
    run_apart(make_stoppable(physical, &stop)?, context, stop)
}

/// A state without optimizer rules: they change nothing in a plan that only filters and projects, and take longer than
/// to read a row.
fn plain_session(opts: &QueryOptions) -> Result<SessionState, SqlError> {
    static DEFAULT: OnceLock<SessionState> = OnceLock::new();
    let build = || Ok::<_, SqlError>(session(opts)?.with_physical_optimizer_rules(vec![]).build());
    if opts != &QueryOptions::default() {
        return build();
    }
    match DEFAULT.get() {
        Some(state) => Ok(state.clone()),
        None => {
            let state = build()?;
            Ok(DEFAULT.get_or_init(|| state).clone())
        }
    }
}

/// DataFusion's, less one that computes what a projection above a filter or a join asks for below it, where the rows that
/// are filtered out may fail, and those that merge filters or move them down: which condition is tried on which rows is
/// decided in the logical plan, and so is which columns are read.
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let moving = [
        ProjectionPushdown::new().name().to_string(),
        FilterPushdown::new().name().to_string(),
        FilterPushdown::new_post_optimization().name().to_string(),
    ];
    let is_kept = |rule: &Arc<dyn PhysicalOptimizerRule + Send + Sync>| !moving.iter().any(|m| m == rule.name());
    let hide: Arc<dyn PhysicalOptimizerRule + Send + Sync> = Arc::new(crate::unions::HideConstants);
    std::iter::once(hide).chain(PhysicalOptimizer::new().rules.into_iter().filter(is_kept)).collect()
}

/// A state with our physical optimizer rules and no functions: those are already in the plan.
fn session(opts: &QueryOptions) -> Result<SessionStateBuilder, SqlError> {
    static UNLIMITED: LazyLock<Arc<RuntimeEnv>> = LazyLock::new(|| Arc::new(RuntimeEnv::default()));
    let runtime = match opts.memory_bytes_max {
        None => UNLIMITED.clone(),
        Some(bytes) => RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(bytes)))
            .build_arc()
            .map_err(|e| to_sql_error(&e))?,
    };
    let mut config = SessionConfig::new()
        .with_batch_size(opts.batch_rows)
        .with_target_partitions(opts.target_partitions)
        .with_create_default_catalog_and_schema(false);
    // Of a UNION, logical and physical plan do not agree about what may be NULL; nothing depends on that.
    config.options_mut().execution.skip_physical_aggregate_schema_check = true;
    // Interleaved unions lose what they rest on where rules after theirs change the inputs: planning then fails.
    config.options_mut().optimizer.prefer_existing_union = true;
    let state = SessionStateBuilder::new().with_config(config).with_runtime_env(runtime);
    Ok(state.with_physical_optimizer_rules(physical_rules()))
}

/// Rows that something else makes, as a stream that a [`QueryTable::Stream`] can give.
pub fn stream_of(
    schema: datafusion::arrow::datatypes::SchemaRef,
    rows: impl futures::Stream<Item = Result<datafusion::arrow::array::RecordBatch, SqlError>> + Send + 'static,
) -> SendableRecordBatchStream {
    use futures::StreamExt;
    let rows = rows.map(|r| r.map_err(crate::error::wrap));
    Box::pin(datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(schema, rows))
}
