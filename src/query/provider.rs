//! The relations of a query as DataFusion tables.
//!
//! One provider for all kinds: partitions that stream projected batches. Filters that the plan left on a scan are
//! applied here exactly; a filter that fixes a key prefix of a snapshot also narrows what is read.

use crate::error::wrap;
use crate::seek::{Arranged, add_filter};
use crate::snapshot::{Scan, ShardReader, are_few, check_readable};
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use futures::{Stream, StreamExt};
use hw_plan::ScalarExpr;
use hw_plan::seek::{self, Fixed};
use hw_repr::chunk::PublishedShard;
use hw_repr::{PublishedRelation, RelationDesc, SqlError, SqlState, SqlType, Timestamp};
use std::fmt;
use std::sync::Arc;

/// Makes the batches of a [`QueryTable::Stream`], once a scan.
pub type StreamFactory = Arc<dyn Fn() -> SendableRecordBatchStream + Send + Sync>;

/// The rows of a relation by a key of which some parts are computed. Invariant: it has all rows.
#[derive(Clone, Debug)]
pub struct ComputedIndex {
    /// Rows of all columns of the relation, then of one for each expression: positions in its key and order are of these.
    pub published: Arc<PublishedRelation>,
    /// Over the columns of the relation.
    pub expressions: Arc<[ScalarExpr]>,
}

/// What a relation of a query is read from. Batches and streams hold all columns of `desc`, in order.
#[derive(Clone)]
pub enum QueryTable {
    /// A published arrangement at one time.
    Snapshot {
        /// Its columns.
        desc: RelationDesc,
        /// What the workers published.
        published: Arc<PublishedRelation>,
        /// The same rows by other keys: a scan takes the arrangement whose key the filters fix furthest.
        indexes: Vec<Arc<PublishedRelation>>,
        /// The same rows by keys that are computed.
        computed: Vec<ComputedIndex>,
        /// The time to read.
        as_of: Timestamp,
    },
    /// Rows in memory: system relations and constants.
    Batches {
        /// Their columns.
        desc: RelationDesc,
        /// The rows.
        batches: Vec<RecordBatch>,
    },
    /// Rows made as they are read.
    Stream {
        /// Their columns.
        desc: RelationDesc,
        /// Starts a pass over the rows.
        provider: StreamFactory,
    },
}

impl QueryTable {
    /// The columns.
    pub fn desc(&self) -> &RelationDesc {
        match self {
            QueryTable::Snapshot { desc, .. } | QueryTable::Batches { desc, .. } | QueryTable::Stream { desc, .. } => {
                desc
            }
        }
    }
}

impl fmt::Debug for QueryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueryTable::Snapshot { as_of, .. } => write!(f, "Snapshot(as_of {as_of})"),
            QueryTable::Batches { batches, .. } => write!(f, "Batches({})", batches.len()),
            QueryTable::Stream { .. } => f.write_str("Stream"),
        }
    }
}

/// How a scan reads its relation.
#[derive(Clone, Copy, Default)]
pub(crate) struct Reach {
    /// A few rows.
    pub few: bool,
    /// The rows of one key of an arrangement.
    pub one_key: bool,
}

/// A relation as DataFusion sees it.
#[derive(Debug)]
pub(crate) struct Provider {
    table: QueryTable,
    /// That of the plan's placeholder, so that the plan's schema and the batches agree to the letter.
    schema: SchemaRef,
    /// What the plan's filters above the scan fix.
    fixed: Fixed,
    reading: Reading,
}

/// How scans give their rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// Rows of a batch.
    pub batch_rows: usize,
    /// True for one partition, whatever the number of workers.
    pub merged: bool,
}

impl Provider {
    /// Checks that the plan was made for this relation and that it can be read.
    pub(crate) fn new(
        table: QueryTable,
        schema: SchemaRef,
        fixed: Fixed,
        reading: Reading,
    ) -> Result<Provider, SqlError> {
        let planned: Vec<Option<SqlType>> =
            schema.fields().iter().map(|f| SqlType::from_arrow(f.data_type())).collect();
        let given: Vec<Option<SqlType>> =
            table.desc().columns.iter().map(|c| SqlType::from_arrow(&c.ty.arrow())).collect();
        let names = || schema.fields().iter().map(|f| f.name()).eq(table.desc().columns.iter().map(|c| &c.name));
        if planned != given || !names() {
            // Its definition was replaced after the statement was planned.
            return Err(SqlError::new(
                SqlState::SERIALIZATION,
                "could not serialize access due to a change of a relation's columns",
            ));
        }
        if let QueryTable::Snapshot { published, as_of, .. } = &table {
            check_readable(published, *as_of)?;
        }
        Ok(Provider { table, schema, fixed, reading })
    }

    /// How a scan with `filters` reads.
    pub(crate) fn reach(&self, filters: &[Expr]) -> Reach {
        let (all, fixed) = (self.arrangements(), self.fixed_with(filters));
        let (best, _, prefix) = seek::best(all.iter().map(|a| &a.way), &fixed);
        Reach {
            few: all.get(best).is_some_and(|a| are_few(a.published, &prefix)),
            one_key: all.iter().any(|a| a.way.is_fixed(&fixed)),
        }
    }

    fn fixed_with(&self, filters: &[Expr]) -> Fixed {
        let mut fixed = self.fixed.clone();
        filters.iter().for_each(|f| add_filter(&mut fixed, f, &self.table));
        fixed
    }

    /// Ways to the rows of a snapshot: its own first.
    fn arrangements(&self) -> Vec<Arranged<'_>> {
        let QueryTable::Snapshot { desc, published, indexes, computed, .. } = &self.table else { return vec![] };
        let plain = std::iter::once(published).chain(indexes).map(|p| Arranged::new(desc, p, &[]));
        plain.chain(computed.iter().map(|c| Arranged::new(desc, &c.published, &c.expressions))).collect()
    }

    fn partitions(&self, columns: &[usize], filters: &[Expr]) -> Result<Vec<Arc<dyn PartitionStream>>, SqlError> {
        let schema = Arc::new(self.schema.project(columns).map_err(|e| SqlError::internal(e.to_string()))?);
        let one = |part: Part| -> Arc<dyn PartitionStream> {
            Arc::new(Partition { schema: schema.clone(), columns: columns.to_vec(), part })
        };
        match &self.table {
            QueryTable::Batches { batches, .. } => Ok(vec![one(Part::Batches(batches.clone()))]),
            QueryTable::Stream { provider, .. } => Ok(vec![one(Part::Stream(provider.clone()))]),
            QueryTable::Snapshot { published, as_of, .. } => {
                let all = self.arrangements();
                let (best, _, prefix) = seek::best(all.iter().map(|a| &a.way), &self.fixed_with(filters));
                let (published, types) = match all.into_iter().nth(best) {
                    Some(Arranged { published, way }) => (published, way.types),
                    None => (published, self.table.desc().types()),
                };
                let scan =
                    Scan::new(&types, published, columns, schema.clone(), prefix, *as_of, self.reading.batch_rows)?;
                let scan = Arc::new(scan);
                let shards = published.shards.iter().map(|s| one(Part::Shard(scan.clone(), s.clone())));
                if !self.reading.merged || published.shards.len() < 2 {
                    return Ok(shards.collect());
                }
                Ok(vec![Arc::new(Merged { schema: scan.schema().clone(), parts: shards.collect() })])
            }
        }
    }
}

#[async_trait]
impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
    fn table_type(&self) -> TableType {
        TableType::Base
    }
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }
    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let output: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let mut read = output.clone();
        for column in filters.iter().flat_map(|f| f.column_refs()) {
            let at = self.schema.index_of(column.name())?;
            if !read.contains(&at) {
                read.push(at);
            }
        }
        let partitions = self.partitions(&read, filters).map_err(wrap)?;
        let schema = Arc::new(self.schema.project(&read)?);
        let pushed = if filters.is_empty() { limit } else { None };
        let rows: Arc<dyn ExecutionPlan> =
            Arc::new(StreamingTableExec::try_new(schema.clone(), partitions, None, [], false, pushed)?);
        let Some(predicate) = conjunction(filters.iter().cloned()) else { return Ok(rows) };
        let predicate = state.create_physical_expr(predicate, &DFSchema::try_from(schema.as_ref().clone())?)?;
        let kept: Arc<dyn ExecutionPlan> = Arc::new(FilterExec::try_new(predicate, rows)?);
        if read.len() == output.len() {
            return Ok(kept);
        }
        let exprs: Vec<(Arc<dyn PhysicalExpr>, String)> = schema.fields()[..output.len()]
            .iter()
            .enumerate()
            .map(|(i, f)| (Arc::new(PhysicalColumn::new(f.name(), i)) as _, f.name().clone()))
            .collect();
        Ok(Arc::new(ProjectionExec::try_new(exprs, kept)?))
    }
}

/// Several partitions as one, the one after the other.
#[derive(Debug)]
struct Merged {
    schema: SchemaRef,
    parts: Vec<Arc<dyn PartitionStream>>,
}

impl PartitionStream for Merged {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }
    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let parts = self.parts.clone();
        let rows = futures::stream::iter(parts).flat_map(move |part| part.execute(Arc::clone(&context)));
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows))
    }
}

/// One partition of a scan.
struct Partition {
    schema: SchemaRef,
    columns: Vec<usize>,
    part: Part,
}

enum Part {
    Shard(Arc<Scan>, Arc<PublishedShard>),
    Batches(Vec<RecordBatch>),
    Stream(StreamFactory),
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            Part::Shard(scan, _) => write!(f, "Shard({scan:?})"),
            Part::Batches(all) => write!(f, "Batches({})", all.len()),
            Part::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        match &self.part {
            Part::Shard(scan, _) => scan.schema(),
            _ => &self.schema,
        }
    }
    fn execute(&self, _ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = self.schema.clone();
        let columns = self.columns.clone();
        let narrow = move |batch: RecordBatch| narrow(&batch, &columns, &schema);
        let schema = self.schema.clone();
        match &self.part {
            Part::Shard(scan, shard) => {
                let mut reader = ShardReader::new(scan.clone(), shard.clone());
                let batches = std::iter::from_fn(move || reader.next_batch().map_err(wrap).transpose());
                let batches = with_pauses(futures::stream::iter(batches.fuse()));
                Box::pin(RecordBatchStreamAdapter::new(schema, batches))
            }
            Part::Batches(all) => {
                let batches = all.clone().into_iter().map(narrow);
                Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches)))
            }
            Part::Stream(start) => {
                let batches = start().map(move |batch| batch.and_then(&narrow));
                Box::pin(RecordBatchStreamAdapter::new(schema, batches))
            }
        }
    }
}

/// Batches after which a scan lets other queries run: a few milliseconds of work.
const BATCHES_AT_ONCE: usize = 2;

/// The same, without empty ones, with a pause after every few: what is computed of a scan may take all of it without giving a row.
fn with_pauses(
    batches: impl Stream<Item = DfResult<RecordBatch>> + Send,
) -> impl Stream<Item = DfResult<RecordBatch>> + Send {
    let paused = batches.enumerate().then(|(at, batch)| async move {
        if at % BATCHES_AT_ONCE == BATCHES_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        batch
    });
    paused.filter(|batch| std::future::ready(!batch.as_ref().is_ok_and(|b| b.num_rows() == 0)))
}

/// The projected columns of a batch under the planned schema.
fn narrow(batch: &RecordBatch, columns: &[usize], schema: &SchemaRef) -> DfResult<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let narrowed = columns
        .iter()
        .map(|c| batch.columns().get(*c).cloned())
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| wrap(SqlError::internal("a batch lacks a column of its relation")))?;
    RecordBatch::try_new_with_options(schema.clone(), narrowed, &options).map_err(DataFusionError::from)
}
