//! Rows of one input of a join, as columns, by number.
//!
//! Invariants: rows are numbered from 0 in the order of their arrival, and never move; segments of few rows and bytes are
//! joined eight at a time, unless the first of the eight is much larger than the others: a stream of small ticks leaves
//! few batches, and a row is copied about once for every eightfold growth of its segment. A segment may be some rows of a
//! batch the others of which are kept by other workers: it is not copied then.

use crate::types::rows_at;
use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, interleave};
use hw_repr::SqlError;

/// Rows from which on a segment is left as it is.
const SEGMENT_ROWS: usize = 1024;

/// Segments that are joined at a time.
const FAN_IN: usize = 8;

/// Bytes from which on a segment is left as it is: eight together stay far below the 2 GiB that a column's offsets reach.
const SEGMENT_BYTES: usize = 32 << 20;

/// Rows that came together.
struct Segment {
    batch: RecordBatch,
    /// Those of the batch; all where there are none.
    rows: Option<Box<[u32]>>,
    bytes: usize,
}

impl Segment {
    fn new(batch: RecordBatch, rows: Option<&[u32]>) -> Segment {
        let own = |c: &ArrayRef| c.to_data().get_slice_memory_size().unwrap_or_else(|_| c.get_array_memory_size());
        let whole: usize = batch.columns().iter().map(own).sum();
        let bytes = rows.map_or(whole, |rows| whole * rows.len() / batch.num_rows().max(1) + size_of_val(rows));
        Segment { batch, rows: rows.map(Box::from), bytes }
    }

    fn len(&self) -> usize {
        self.rows.as_ref().map_or(self.batch.num_rows(), |rows| rows.len())
    }

    /// Where in the batch a row is.
    fn at(&self, row: usize) -> usize {
        self.rows.as_ref().map_or(row, |rows| rows[row] as usize)
    }

    /// Some of the rows as a batch of their own.
    fn piece(&self, from: usize, len: usize) -> Result<RecordBatch, SqlError> {
        let Some(rows) = &self.rows else { return Ok(self.batch.slice(from, len)) };
        rows_at(&self.batch, &UInt32Array::from(rows[from..from + len].to_vec()))
    }

    /// The order of magnitude of its rows, in powers of eight; none for what is not joined.
    fn size_class(&self) -> Option<u32> {
        let rows = self.len();
        (rows < SEGMENT_ROWS && self.bytes < SEGMENT_BYTES).then(|| rows.max(1).ilog(FAN_IN))
    }

    fn joined(small: &[Segment]) -> Result<Segment, SqlError> {
        let parts = small.iter().map(|s| s.piece(0, s.len())).collect::<Result<Vec<_>, _>>()?;
        Ok(Segment::new(concat_batches(&small[0].batch.schema(), &parts).map_err(internal)?, None))
    }
}

fn internal(e: arrow::error::ArrowError) -> SqlError {
    SqlError::internal(e.to_string())
}

/// See the module.
#[derive(Default)]
pub struct Rows {
    segments: Vec<Segment>,
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

    /// Bytes of the rows' columns.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends rows of a batch, all where none are named; the number of the first.
    pub fn push(&mut self, batch: RecordBatch, rows: Option<&[u32]>) -> Result<usize, SqlError> {
        let (first, segment) = (self.len, Segment::new(batch, rows));
        self.len += segment.len();
        self.bytes += segment.bytes;
        self.segments.push(segment);
        self.starts.push(first);
        while let Some(small) = self.segments.len().checked_sub(FAN_IN).map(|at| &self.segments[at..])
            && let Some(classes) = small.iter().map(Segment::size_class).collect::<Option<Vec<u32>>>()
            && classes[1..].iter().any(|class| *class >= classes[0])
        {
            let joined = Segment::joined(small)?;
            self.bytes -= small.iter().map(|s| s.bytes).sum::<usize>();
            self.bytes += joined.bytes;
            self.segments.truncate(self.segments.len() - FAN_IN);
            self.starts.truncate(self.segments.len() + 1);
            self.segments.push(joined);
        }
        Ok(first)
    }

    /// At most `most` rows from number `at` on, which is there: those that lie in one segment.
    pub fn piece(&self, at: usize, most: usize) -> Result<RecordBatch, SqlError> {
        let segment = self.starts.partition_point(|s| *s <= at) - 1;
        let (rows, from) = (&self.segments[segment], at - self.starts[segment]);
        rows.piece(from, most.min(rows.len() - from))
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
            at.push((places[segment] as usize, self.segments[segment].at(number - self.starts[segment])));
        }
        let columns = self.segments.first().map_or(0, |s| s.batch.num_columns());
        let column = |c: usize| {
            let arrays: Vec<&dyn Array> = used.iter().map(|s| self.segments[*s].batch.column(c).as_ref()).collect();
            interleave(&arrays, &at).map_err(internal)
        };
        (0..columns).map(column).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use std::sync::Arc;

    fn batch(values: std::ops::Range<i64>) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(values))]).expect("fits")
    }

    #[test]
    fn small_segments_are_joined_whatever_their_sizes() {
        let shapes: [&[usize]; 5] = [&[1], &[60], &[1, 10], &[900, 1, 70], &[9000, 2]];
        for sizes in shapes {
            let (mut rows, mut next) = (Rows::default(), 0);
            for size in sizes.iter().cycle().take(4000) {
                // Every other one is a part of a batch.
                let part: Vec<u32> = (3..3 + *size as u32).collect();
                let first = match next % 2 {
                    0 => rows.push(batch(next..next + *size as i64), None),
                    _ => rows.push(batch(next - 3..next + *size as i64 + 1), Some(&part)),
                };
                let first = first.expect("joins");
                assert_eq!(first as i64, next);
                next += *size as i64;
            }
            let large = rows.segments.iter().filter(|s| s.len() >= SEGMENT_ROWS).count();
            assert!(
                rows.segments.len() <= 2 * large + 40,
                "{sizes:?}: {} segments, {large} large",
                rows.segments.len()
            );
            assert!(large <= next as usize / SEGMENT_ROWS, "{sizes:?}");
            let asked: Vec<usize> = (0..next as usize).step_by(17).rev().collect();
            let got = rows.gather(&asked).expect("gathers");
            let got = got[0].as_primitive::<Int64Type>().values();
            assert!(got.iter().zip(&asked).all(|(g, a)| *g == *a as i64), "{sizes:?}");
        }
    }

    #[test]
    fn segments_of_long_rows_are_left_alone() {
        let schema = Arc::new(Schema::new(vec![Field::new("t", DataType::Utf8, false)]));
        let text = "x".repeat(SEGMENT_BYTES / 2);
        let mut rows = Rows::default();
        for _ in 0..16 {
            let column = StringArray::from_iter_values([&text, &text]);
            let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(column)]).expect("fits");
            rows.push(batch, None).expect("joins");
        }
        assert_eq!(rows.segments.len(), 16);
        let got = rows.gather(&[0, 31]).expect("gathers");
        assert_eq!(got[0].as_string::<i32>().value(1).len(), text.len());
    }
}
