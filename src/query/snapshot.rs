//! Reading a published arrangement at one time: merge its sorted runs, sum the diffs of equal rows, decode.
//!
//! Runs on the reader's own thread over immutable chunks; a scan holds the positions of its runs and one batch.
//!
//! Invariant: a row whose diffs up to `as_of` sum to n > 0 comes out n times, one that sums to 0 not at all; a
//! negative sum is a bug of the dataflow and fails the read. Where no column is wanted the rows are only counted: the sum of
//! all diffs, without a look at any row.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use hw_repr::chunk::{Merge, Place, PublishedShard};
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

    fn batch(&self, merge: &Merge, rows: &[(Place, Diff)]) -> Result<RecordBatch, SqlError> {
        let copies = |(at, n): &(Place, Diff)| std::iter::repeat_n(merge.row(*at), *n as usize);
        let columns = match self.wanted.is_empty() {
            true => vec![],
            false => self.codec.decode_columns(&mut rows.iter().flat_map(copies), &self.wanted)?,
        };
        self.made(columns, rows.iter().map(|(_, n)| *n as usize).sum())
    }

    /// A batch of `rows` rows without columns.
    fn counted(&self, rows: Diff) -> Result<RecordBatch, SqlError> {
        self.made(vec![], usize::try_from(rows).map_err(|_| self.negative(rows))?)
    }

    fn made(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, SqlError> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|e| SqlError::internal(format!("a published row does not fit its relation: {e}")))
    }

    fn negative(&self, count: Diff) -> SqlError {
        SqlError::internal(format!("a row is present {count} times at {}", self.as_of))
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

/// Changes that are few: to read them takes a fraction of a millisecond. A single row that is changed all the time has hundreds
/// until they are merged.
const FEW: usize = 2048;

/// True where a few changes are of rows whose bytes start with `prefix`.
pub(crate) fn are_few(published: &PublishedRelation, prefix: &[u8]) -> bool {
    let mut left = FEW;
    published.shards.iter().flat_map(|s| &s.runs).all(|run| {
        let first = run.partition_point(|view| view.last().is_some_and(|last| last < prefix));
        let found = run[first..].iter().map(|view| view.starting_with(prefix).len()).take_while(|rows| *rows > 0);
        for rows in found {
            match left.checked_sub(rows) {
                Some(fewer) => left = fewer,
                None => return false,
            }
        }
        true
    })
}

/// Bytes of encoded rows after which a batch ends: columns of text hold less than 2 GiB.
const BATCH_BYTES: usize = 32 << 20;

/// A batch ends when so many times its rows were looked at: after a large deletion there may be a million without one that is
/// still there.
const LOOKS: usize = 2;

/// The rows of one shard, merged and consolidated, as batches.
#[derive(Debug)]
pub(crate) struct ShardReader {
    scan: Arc<Scan>,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    /// No column is wanted: so many rows are still to come.
    Counted(Diff),
    Merged {
        merge: Merge,
        /// A row of which copies are still to come.
        pending: Option<(Place, Diff)>,
    },
}

impl ShardReader {
    /// Starts at the first row with the scan's prefix.
    pub(crate) fn new(scan: Arc<Scan>, shard: Arc<PublishedShard>) -> ShardReader {
        let rows = if scan.wanted.is_empty() && scan.prefix.is_empty() {
            Rows::Counted(shard.count(scan.as_of))
        } else {
            Rows::Merged { merge: Merge::new(vec![shard], scan.prefix.clone(), scan.as_of), pending: None }
        };
        ShardReader { scan, rows }
    }

    /// The next batch: at most `batch_rows` rows, none where many in a row are not there at the time; `None` at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        let mut room = self.scan.batch_rows as Diff;
        let (merge, pending) = match &mut self.rows {
            Rows::Merged { merge, pending } => (merge, pending),
            Rows::Counted(0) => return Ok(None),
            Rows::Counted(left) => {
                let now = (*left).min(room);
                *left -= now;
                return self.scan.counted(now).map(Some);
            }
        };
        let mut rows = vec![];
        let (mut bytes, mut looks, mut at_end) = (0, 0, false);
        while room > 0 && bytes < BATCH_BYTES && looks < LOOKS * self.scan.batch_rows {
            let Some((at, count)) = pending.take().or_else(|| merge.next_row()) else {
                at_end = true;
                break;
            };
            looks += 1;
            if count < 0 {
                return Err(self.scan.negative(count));
            }
            let width = merge.row(at).len().max(1);
            let now = count.min(room).min((BATCH_BYTES / width).max(1) as Diff);
            bytes += width * now as usize;
            if now > 0 {
                rows.push((at, now));
                room -= now;
            }
            if count > now {
                *pending = Some((at, count - now));
            }
        }
        if rows.is_empty() && at_end {
            return Ok(None);
        }
        self.scan.batch(merge, &rows).map(Some)
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
    let Some(prefix) = hw_plan::seek::encode_prefix(&types, &published.key, key) else { return Ok(None) };
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

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, Schema};
    use hw_repr::chunk::{Body, ChunkBody, ChunkView};

    /// Rows `(key, n)` with their changes, ascending, in views of at most a hundred.
    fn published(changes: impl Iterator<Item = (i64, i64, Timestamp, Diff)>) -> PublishedRelation {
        let codec = RowCodec::new(&[SqlType::Int8, SqlType::Int8]);
        let mut body = ChunkBody::default();
        for (key, n, time, diff) in changes {
            let mut bytes = vec![];
            codec.encode_datums(&[Datum::Int8(key), Datum::Int8(n)], &mut bytes).expect("encodes");
            body.push(&bytes, codec.prefix_len(&bytes, 1), time, diff);
        }
        let len = body.len();
        let body = Arc::new(Body::from(body));
        let views = (0..len).step_by(100).map(|lo| ChunkView { body: body.clone(), lo, hi: (lo + 100).min(len) });
        let shard = PublishedShard { since: 0, upper: 10, runs: vec![views.collect()] };
        PublishedRelation { shards: vec![Arc::new(shard)], key: vec![0], order: vec![0, 1] }
    }

    fn prefix(key: i64) -> Vec<u8> {
        hw_plan::seek::encode_prefix(&[SqlType::Int8, SqlType::Int8], &[0], &[Datum::Int8(key)]).expect("seeks")
    }

    #[test]
    fn few_are_counted_where_they_are_sought() {
        let few = FEW as i64;
        let all = (0..3).chain((0..few).map(|_| 5)).chain((0..=few).map(|_| 7)).enumerate();
        let all = published(all.map(|(n, key)| (key, n as i64, 1, 1)));
        assert!(are_few(&all, &prefix(1)) && are_few(&all, &prefix(5)) && are_few(&all, &prefix(6)));
        assert!(!are_few(&all, &prefix(7)) && !are_few(&all, &[]));
    }

    /// Of what is not there at the time, a reader looks at a bounded part at once.
    #[test]
    fn rows_that_are_gone_end_a_batch() {
        let gone = (0..100).flat_map(|n| [(1, n, 1, 1), (1, n, 2, -1)]).chain([(2, 0, 1, 1)]);
        let (published, types) = (published(gone), [SqlType::Int8, SqlType::Int8]);
        let field = |name: &str| Field::new(name, SqlType::Int8.arrow(), true);
        let schema: SchemaRef = Arc::new(Schema::new(vec![field("key"), field("n")]));
        let scan = Scan::new(&types, &published, &[0, 1], schema, vec![], 5, 4).expect("scans");
        let mut reader = ShardReader::new(Arc::new(scan), published.shards[0].clone());
        let mut rows = vec![];
        while let Some(batch) = reader.next_batch().expect("reads") {
            rows.push(batch.num_rows());
        }
        assert_eq!((rows.len(), rows.iter().sum::<usize>()), (100 / (4 * LOOKS) + 1, 1));
    }
}
