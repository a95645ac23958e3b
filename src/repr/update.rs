//! Batches of changes.

use arrow::array::{Array, Int64Array, RecordBatch};
use std::sync::Arc;

/// Milliseconds on the one timeline of all inputs.
pub type Timestamp = u64;
/// How many copies of a row a change adds (negative: removes).
pub type Diff = i64;

/// Changes of one relation, all at one time. Cloning shares the columns.
#[derive(Clone, Debug)]
pub struct UpdateBatch {
    /// The rows. Invariant: its schema's types are those of the relation.
    pub rows: RecordBatch,
    /// One diff per row; `None` means +1 for each.
    pub diffs: Option<Arc<Int64Array>>,
    /// When they take effect.
    pub time: Timestamp,
}

impl UpdateBatch {
    /// Every row inserted once at `time`.
    pub fn inserts(rows: RecordBatch, time: Timestamp) -> Self {
        UpdateBatch { rows, diffs: None, time }
    }
    /// The diff of row `i`.
    pub fn diff(&self, i: usize) -> Diff {
        self.diffs.as_ref().map_or(1, |d| d.value(i))
    }
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }
    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Bytes held by the columns, for bounded queues.
    pub fn bytes(&self) -> usize {
        self.rows.get_array_memory_size() + self.diffs.as_ref().map_or(0, |d| d.get_array_memory_size())
    }
}
