//! Reading a published arrangement at one time: merge its sorted runs, sum the diffs of equal rows, decode.
//!
//! Runs on the reader's own thread over immutable chunks; a scan holds the positions of its runs and one batch.
//!
//! Invariant: a row whose diffs up to `as_of` sum to n > 0 comes out n times, one that sums to 0 not at all; a
//! negative sum is a bug of the dataflow and fails the read.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use hw_repr::chunk::{ChunkView, PublishedShard};
use hw_repr::encoding::RowCodec;
use hw_repr::{Datum, Diff, PublishedRelation, RelationDesc, SqlError, SqlState, SqlType, Timestamp};
use std::sync::Arc;

/// Which rows of a published relation are read, and which of their columns.
#[derive(Debug)]
pub(crate) struct Scan {
    codec: RowCodec,
    /// Positions in the encoded row of the columns that come out, in order of output.
    wanted: Vec<usize>,
    schema: SchemaRef,
    /// Only rows whose bytes start with this.
    prefix: Vec<u8>,
    as_of: Timestamp,
    batch_rows: usize,
}

impl Scan {
    /// A scan of `columns` (positions in the relation) of the rows starting with `prefix`; `schema` is that of the
    /// output.
    pub(crate) fn new(
        types: &[SqlType],
        published: &PublishedRelation,
        columns: &[usize],
        schema: SchemaRef,
        prefix: Vec<u8>,
        as_of: Timestamp,
        batch_rows: usize,
    ) -> Result<Scan, SqlError> {
        let wanted = columns
            .iter()
            .map(|c| published.order.iter().position(|o| o == c))
            .collect::<Option<Vec<usize>>>()
            .ok_or_else(|| SqlError::internal("a published relation lacks a column"))?;
        Ok(Scan { codec: codec(types, published)?, wanted, schema, prefix, as_of, batch_rows })
    }

    /// The schema of the batches.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn batch(&self, shard: &PublishedShard, rows: &[(Position, Diff)]) -> Result<RecordBatch, SqlError> {
        let copies = |(at, n): &(Position, Diff)| std::iter::repeat_n(at.row(shard), *n as usize);
        let total: usize = rows.iter().map(|(_, n)| *n as usize).sum();
        let columns: Vec<ArrayRef> = if self.wanted.is_empty() {
            vec![]
        } else {
            self.codec.decode_columns(&mut rows.iter().flat_map(copies), &self.wanted)?
        };
        let options = RecordBatchOptions::new().with_row_count(Some(total));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|e| SqlError::internal(format!("a published row does not fit its relation: {e}")))
    }
}

/// The codec of the encoded rows: the relation's types in encoded order.
fn codec(types: &[SqlType], published: &PublishedRelation) -> Result<RowCodec, SqlError> {
    let ordered = published
        .order
        .iter()
        .map(|c| types.get(*c).copied())
        .collect::<Option<Vec<SqlType>>>()
        .ok_or_else(|| SqlError::internal("a published relation has a column too many"))?;
    Ok(RowCodec::new(&ordered))
}

/// Refuses a read that some shard cannot answer.
pub(crate) fn check_readable(published: &PublishedRelation, as_of: Timestamp) -> Result<(), SqlError> {
    let since = published.shards.iter().map(|s| s.since).max().unwrap_or(0);
    if as_of < since {
        let message = format!("timestamp {as_of} is no longer readable");
        return Err(SqlError::new(SqlState::PREREQUISITE_STATE, message)
            .detail(format!("the oldest readable timestamp is {since}")));
    }
    match published.shards.iter().find(|s| s.upper <= as_of) {
        Some(s) => Err(SqlError::internal(format!("read at {as_of} of a snapshot complete only below {}", s.upper))),
        None => Ok(()),
    }
}

/// A row in a shard: run, view in the run, row in the view's body.
#[derive(Clone, Copy, Debug)]
struct Position {
    run: usize,
    view: usize,
    row: usize,
}

impl Position {
    fn view(self, shard: &PublishedShard) -> Option<&ChunkView> {
        shard.runs[self.run].get(self.view)
    }
    fn row(self, shard: &PublishedShard) -> &[u8] {
        shard.runs[self.run][self.view].body.row(self.row)
    }
    /// The position after this one, skipping empty views; may be past the end.
    fn next(mut self, shard: &PublishedShard) -> Position {
        self.row += 1;
        self.settle(shard)
    }
    fn settle(mut self, shard: &PublishedShard) -> Position {
        while let Some(view) = self.view(shard) {
            if self.row < view.hi {
                break;
            }
            self.view += 1;
            self.row = self.view(shard).map_or(0, |v| v.lo);
        }
        self
    }
}

/// The first row of a run that is not below `prefix`.
fn seek(shard: &PublishedShard, run: usize, prefix: &[u8]) -> Position {
    let views = &shard.runs[run];
    let view = views.partition_point(|v| v.lo == v.hi || v.body.row(v.hi - 1) < prefix);
    let Some(v) = views.get(view) else { return Position { run, view, row: 0 } };
    let (mut lo, mut hi) = (v.lo, v.hi);
    while lo < hi {
        let mid = lo + (hi - lo) / 2;
        if v.body.row(mid) < prefix { lo = mid + 1 } else { hi = mid }
    }
    Position { run, view, row: lo }.settle(shard)
}

/// Bytes of encoded rows after which a batch ends: columns of text hold less than 2 GiB.
const BATCH_BYTES: usize = 32 << 20;

/// The rows of one shard, merged and consolidated, as batches.
#[derive(Debug)]
pub(crate) struct ShardReader {
    scan: Arc<Scan>,
    shard: Arc<PublishedShard>,
    /// Next row of each run that is not exhausted.
    heads: Vec<Position>,
    /// A row of which copies are still to come.
    pending: Option<(Position, Diff)>,
}

impl ShardReader {
    /// Starts at the first row with the scan's prefix.
    pub(crate) fn new(scan: Arc<Scan>, shard: Arc<PublishedShard>) -> ShardReader {
        let mut reader = ShardReader { scan, shard, heads: vec![], pending: None };
        for run in 0..reader.shard.runs.len() {
            let head = seek(&reader.shard, run, &reader.scan.prefix);
            reader.keep(head);
        }
        reader
    }

    fn keep(&mut self, head: Position) {
        if head.view(&self.shard).is_some() && head.row(&self.shard).starts_with(&self.scan.prefix) {
            self.heads.push(head);
        }
    }

    /// The next distinct row and its count at `as_of`, which may be zero.
    fn next_row(&mut self) -> Option<(Position, Diff)> {
        let shard = self.shard.clone();
        let least = *self.heads.iter().min_by_key(|h| h.row(&shard))?;
        let row = least.row(&shard);
        let mut sum: Diff = 0;
        for mut head in std::mem::take(&mut self.heads) {
            while let Some(view) = head.view(&shard) {
                if head.row(&shard) != row {
                    break;
                }
                if view.body.times.get(head.row) <= self.scan.as_of {
                    sum += view.body.diffs.get(head.row);
                }
                head = head.next(&shard);
            }
            self.keep(head);
        }
        Some((least, sum))
    }

    /// The next batch: at most `batch_rows` rows, `None` at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        let mut rows = vec![];
        let mut room = self.scan.batch_rows as Diff;
        let mut bytes = 0;
        while room > 0 && bytes < BATCH_BYTES {
            let Some((at, count)) = self.pending.take().or_else(|| self.next_row()) else { break };
            if count < 0 {
                return Err(SqlError::internal(format!("a row is present {count} times at {}", self.scan.as_of)));
            }
            let width = at.row(&self.shard).len().max(1);
            let now = count.min(room).min((BATCH_BYTES / width).max(1) as Diff);
            bytes += width * now as usize;
            if now > 0 {
                rows.push((at, now));
                room -= now;
            }
            if count > now {
                self.pending = Some((at, count - now));
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        self.scan.batch(&self.shard, &rows).map(Some)
    }
}

/// All rows whose key columns equal `key` at `as_of`, all columns, without planning or scanning; `key` may be shorter
/// than the arrangement's key. `None` where equality is not equality of encoded bytes for one of the types
/// (bare numeric, floats, interval, jsonb) or a datum is of another type: the caller plans a query instead.
/// A NULL key equals nothing.
pub fn point_read(
    desc: &RelationDesc,
    published: &PublishedRelation,
    key: &[Datum],
    as_of: Timestamp,
) -> Result<Option<Vec<RecordBatch>>, SqlError> {
    check_readable(published, as_of)?;
    if key.iter().any(|d| matches!(d, Datum::Null)) {
        return Ok(Some(vec![]));
    }
    let types = desc.types();
    let Some(prefix) = crate::seek::encode_prefix(&types, published, key) else { return Ok(None) };
    let columns: Vec<usize> = (0..desc.arity()).collect();
    let scan = Arc::new(Scan::new(&types, published, &columns, desc.schema(), prefix, as_of, 8192)?);
    let mut batches = vec![];
    for shard in &published.shards {
        let mut reader = ShardReader::new(scan.clone(), shard.clone());
        while let Some(batch) = reader.next_batch()? {
            batches.push(batch);
        }
    }
    Ok(Some(batches))
}
