//! Rows of one input of a join, as columns, by number.
//!
//! Invariants: rows are numbered from 0 in the order of their arrival, and never move; neighbouring segments are joined
//! while they are small, so that a stream of small ticks does not leave one batch a tick.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{concat_batches, interleave};
use hw_repr::SqlError;

/// Rows above which a segment is left as it is.
const SEGMENT_ROWS: usize = 16_384;

/// See the module.
#[derive(Default)]
pub struct Rows {
    segments: Vec<RecordBatch>,
    /// Number of each segment's first row.
    starts: Vec<usize>,
    len: usize,
    bytes: usize,
}

impl Rows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the columns; what a batch shares with others is counted in each.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends rows; the number of the first.
    pub fn push(&mut self, batch: RecordBatch) -> Result<usize, SqlError> {
        let first = self.len;
        self.len += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        self.segments.push(batch);
        self.starts.push(first);
        while let [.., a, b] = &self.segments[..]
            && a.num_rows() + b.num_rows() <= SEGMENT_ROWS
            && b.num_rows() * 2 >= a.num_rows()
        {
            let joined = concat_batches(&a.schema(), [a, b]).map_err(|e| SqlError::internal(e.to_string()))?;
            self.bytes -= a.get_array_memory_size() + b.get_array_memory_size();
            self.bytes += joined.get_array_memory_size();
            self.segments.truncate(self.segments.len() - 2);
            self.starts.pop();
            self.segments.push(joined);
        }
        Ok(first)
    }

    /// The columns of some rows, in the order given.
    pub fn gather(&self, numbers: &[usize]) -> Result<Vec<ArrayRef>, SqlError> {
        // Only segments that are named enter `interleave`: there may be thousands.
        let mut places: Vec<u32> = vec![u32::MAX; self.segments.len()];
        let mut used: Vec<usize> = vec![];
        let mut at = Vec::with_capacity(numbers.len());
        for number in numbers {
            let segment = self.starts.partition_point(|s| s <= number) - 1;
            if places[segment] == u32::MAX {
                places[segment] = used.len() as u32;
                used.push(segment);
            }
            at.push((places[segment] as usize, number - self.starts[segment]));
        }
        let columns = self.segments.first().map_or(0, RecordBatch::num_columns);
        let column = |c: usize| {
            let arrays: Vec<&dyn Array> = used.iter().map(|s| self.segments[*s].column(c).as_ref()).collect();
            interleave(&arrays, &at).map_err(|e| SqlError::internal(e.to_string()))
        };
        (0..columns).map(column).collect()
    }
}
