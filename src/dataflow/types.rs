//! The concrete types of the engine, fixed once: time, containers of the edges, traces, streams.
//!
//! Invariant: an [`UpdateBatch`] travels under a capability at or before its own time.

use crate::chunk::RowChunk;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Field, Schema, SchemaRef};
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::chunk::ChunkBatch;
use hw_repr::{SqlError, SqlType, UpdateBatch};
use std::rc::Rc;
use std::sync::Arc;
use timely::Accountable;
use timely::dataflow::Stream;

/// A container of the edges: batches of changes, several times allowed.
#[derive(Clone, Debug, Default)]
pub struct Rows(pub Vec<UpdateBatch>);

/// What a row counts for where work is measured in records: differential's join goes on for a million of them before it lets
/// other operators run, which would be a hundred milliseconds. (Timely only compares counts of what was sent and received.)
const RECORDS: i64 = 128;

impl Accountable for Rows {
    fn record_count(&self) -> i64 {
        self.0.iter().map(|b| b.len() as i64 * RECORDS).sum()
    }
}

/// Batches with what they are.
#[derive(Clone, Debug, Default)]
pub struct Parcels(pub Vec<(usize, UpdateBatch)>);

impl Accountable for Parcels {
    fn record_count(&self) -> i64 {
        self.0.iter().map(|b| b.1.len() as i64).sum()
    }
}

/// Changes on their way into an arrangement, encoded but not sorted, all for one worker.
#[derive(Clone, Debug, Default)]
pub struct Chunks {
    /// Whose they are.
    pub owner: usize,
    /// The changes.
    pub chunks: Vec<RowChunk>,
}

impl Accountable for Chunks {
    fn record_count(&self) -> i64 {
        self.chunks.iter().map(|c| (c.hi - c.lo) as i64).sum()
    }
}

/// A stream of changes.
pub type RowStream<'s> = Stream<'s, u64, Rows>;
/// One batch of an arrangement.
pub type RowBatch = Rc<ChunkBatch<RowChunk>>;
/// The trace of an arrangement.
pub use crate::spine::RowSpine;
/// A handle on it.
pub type RowTrace = TraceAgent<RowSpine>;
/// An arrangement within a dataflow.
pub type RowArranged<'s> = Arranged<'s, RowTrace>;

/// What every operator renders: rows, and the rows of errors (see [`crate::errors`]).
pub struct Pair<'s> {
    /// The collection.
    pub oks: RowStream<'s>,
    /// Its errors.
    pub errs: RowStream<'s>,
}

/// A schema with positional names.
pub fn schema_of(types: &[SqlType]) -> SchemaRef {
    let fields: Vec<Field> =
        types.iter().enumerate().map(|(i, t)| Field::new(format!("c{i}"), t.arrow(), true)).collect();
    Arc::new(Schema::new(fields))
}

/// The rows of a batch at `indices`, which lie inside it, also where there are no columns.
pub fn rows_at(batch: &RecordBatch, indices: &UInt32Array) -> Result<RecordBatch, SqlError> {
    let taken = |c: &ArrayRef| {
        take(c.as_ref(), indices, None).map_err(|e| SqlError::internal(format!("rows lie outside their batch: {e}")))
    };
    let columns = batch.columns().iter().map(taken).collect::<Result<_, _>>()?;
    batch_of(&batch.schema(), columns, indices.len())
}

/// A batch of `rows` rows, also where there are no columns.
pub fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, SqlError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(|e| SqlError::internal(format!("columns do not fit their schema: {e}")))
}
