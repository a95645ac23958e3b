//! A transaction: the snapshot it reads, what it has read, and what it has written.
//!
//! Nothing of it leaves the session before COMMIT, which hands all its changes over as one write; so a transaction that
//! does not commit leaves nothing. Invariant: its changes only grow, so that a savepoint is a length.

use crate::command::ReadHold;
use crate::tables::state::Change;
use crate::tick::{WRITE_BYTES_MAX, logged_bytes, too_large};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};
use hw_repr::chunk::{ChunkView, PublishedShard};
use hw_repr::encoding::RowCodec;
use hw_repr::{ChunkBody, Diff, GlobalId, PublishedRelation, RelationDesc, SqlError, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Rows of a batch that is not worth copying together with others.
const LARGE_ROWS: usize = 1024;
/// What a batch takes beside its values, a column, in bytes.
const COLUMN_BYTES: usize = 300;

/// About the bytes that a change takes until COMMIT.
fn kept_bytes(rows: &RecordBatch) -> usize {
    logged_bytes(rows) + COLUMN_BYTES * (1 + rows.num_columns())
}

/// See the module's text. Outside of a block it is empty.
#[derive(Default)]
pub(crate) struct Transaction {
    /// Its snapshot, from its first read or write on.
    pub hold: Option<Arc<ReadHold>>,
    /// What it has read, views too.
    pub reads: BTreeSet<GlobalId>,
    /// `READ ONLY`
    pub read_only: bool,
    changes: Vec<(GlobalId, RecordBatch, Diff)>,
    /// How many of them each table has; none that has none.
    tables: BTreeMap<GlobalId, usize>,
    /// About the bytes of the changes in the log.
    bytes: usize,
    savepoints: Vec<(String, usize)>,
    /// Its changes as arrangements have them, by table and order of columns.
    runs: BTreeMap<(GlobalId, Vec<usize>), Runs>,
}

/// Sorted runs of the changes `0..taken`.
#[derive(Default)]
struct Runs {
    taken: usize,
    bodies: Vec<ChunkBody>,
    views: Vec<ChunkView>,
}

impl Transaction {
    /// Keeps what a statement has done to a table. A transaction that would become too large for one write is refused
    /// before it has filled the memory.
    pub(crate) fn add(&mut self, table: GlobalId, change: Change) -> Result<(), SqlError> {
        let some = |rows: &RecordBatch| rows.num_rows() > 0;
        let more: usize = change.removed.iter().chain(&change.added).map(kept_bytes).sum();
        if self.bytes + more > WRITE_BYTES_MAX {
            return Err(too_large(self.bytes + more));
        }
        self.bytes += more;
        let before = self.changes.len();
        self.changes.extend(change.removed.into_iter().filter(some).map(|rows| (table, rows, -1)));
        self.changes.extend(change.added.into_iter().filter(some).map(|rows| (table, rows, 1)));
        if self.changes.len() > before {
            *self.tables.entry(table).or_default() += self.changes.len() - before;
        }
        Ok(())
    }

    /// The tables it has changed.
    pub(crate) fn written(&self) -> BTreeSet<GlobalId> {
        self.tables.keys().copied().collect()
    }

    /// True where it has changed the table.
    pub(crate) fn writes(&self, table: GlobalId) -> bool {
        self.tables.contains_key(&table)
    }

    /// True where it has changed nothing.
    pub(crate) fn is_clean(&self) -> bool {
        self.changes.is_empty()
    }

    /// Its changes, to be committed: those of a table together, so that many small statements are no larger than one.
    pub(crate) fn take_changes(&mut self) -> Result<Vec<(GlobalId, RecordBatch, Diff)>, SqlError> {
        self.runs.clear();
        self.tables.clear();
        let mut together: BTreeMap<(GlobalId, Diff), Vec<RecordBatch>> = BTreeMap::new();
        for (table, rows, diff) in std::mem::take(&mut self.changes) {
            together.entry((table, diff)).or_default().push(rows);
        }
        let mut out = vec![];
        for ((table, diff), batches) in together {
            let large = batches.iter().map(RecordBatch::num_rows).sum::<usize>() / batches.len() >= LARGE_ROWS;
            let Some(schema) = batches.first().map(open_schema).filter(|_| !large) else {
                out.extend(batches.into_iter().map(|rows| (table, rows, diff)));
                continue;
            };
            let rows = concat_batches(&schema, &batches).map_err(|e| SqlError::internal(e.to_string()))?;
            out.push((table, rows, diff));
        }
        Ok(out)
    }

    /// `SAVEPOINT`
    pub(crate) fn save(&mut self, name: String) {
        self.savepoints.push((name, self.changes.len()));
    }

    /// `RELEASE`; false where there is none of that name.
    pub(crate) fn release(&mut self, name: &str) -> bool {
        let found = self.savepoints.iter().rposition(|(n, _)| n == name);
        found.inspect(|at| self.savepoints.truncate(*at)).is_some()
    }

    /// `ROLLBACK TO`; false where there is none of that name.
    pub(crate) fn back_to(&mut self, name: &str) -> bool {
        let Some(at) = self.savepoints.iter().rposition(|(n, _)| n == name) else { return false };
        self.savepoints.truncate(at + 1);
        let kept = self.savepoints[at].1;
        if kept < self.changes.len() {
            self.changes.truncate(kept);
            self.bytes = self.changes.iter().map(|(_, rows, _)| kept_bytes(rows)).sum();
            self.tables.clear();
            for (table, ..) in &self.changes {
                *self.tables.entry(*table).or_default() += 1;
            }
            self.runs.clear();
        }
        true
    }

    /// An arrangement of a table with the transaction's own changes; what was published where it has none.
    pub(crate) fn overlaid(
        &mut self,
        table: GlobalId,
        desc: &RelationDesc,
        published: &Arc<PublishedRelation>,
        as_of: Timestamp,
    ) -> Arc<PublishedRelation> {
        if !self.writes(table) {
            return published.clone();
        }
        let runs = self.runs.entry((table, published.order.clone())).or_default();
        let new = &self.changes[runs.taken..];
        runs.take(new.iter().filter(|(id, ..)| *id == table), desc, published, as_of);
        runs.taken = self.changes.len();
        let own = runs.views.iter().map(|v| vec![v.clone()]);
        let shards = &published.shards;
        let shard = PublishedShard {
            since: shards.iter().map(|s| s.since).max().unwrap_or(0),
            upper: shards.iter().map(|s| s.upper).min().unwrap_or(as_of + 1),
            runs: shards.iter().flat_map(|s| s.runs.iter().cloned()).chain(own).collect(),
        };
        let (key, order) = (published.key.clone(), published.order.clone());
        Arc::new(PublishedRelation { shards: vec![Arc::new(shard)], key, order })
    }
}

impl Runs {
    /// Adds changes as one run. Runs of about one size are merged, so that there are few.
    fn take<'a>(
        &mut self,
        changes: impl Iterator<Item = &'a (GlobalId, RecordBatch, Diff)>,
        desc: &RelationDesc,
        published: &PublishedRelation,
        as_of: Timestamp,
    ) {
        let types: Vec<_> = published.order.iter().map(|c| desc.columns[*c].ty).collect();
        let codec = RowCodec::new(&types);
        let mut body = ChunkBody::default();
        for (_, rows, diff) in changes {
            let columns: Vec<_> = published.order.iter().map(|c| rows.column(*c).clone()).collect();
            let mut encoder = codec.row_encoder(&columns);
            for row in 0..rows.num_rows() {
                let start = body.data.len();
                encoder.encode(row, &mut body.data);
                let key_len = codec.prefix_len(&body.data[start..], published.key.len());
                body.seal(key_len, as_of, *diff);
            }
        }
        if body.is_empty() {
            return;
        }
        while self.bodies.last().is_some_and(|last| last.len() <= body.len() * 2) {
            if let Some(last) = self.bodies.pop() {
                for i in 0..last.len() {
                    body.push(last.row(i), last.key(i).len(), last.times.get(i), last.diffs.get(i));
                }
            }
            self.views.pop();
        }
        let sorted = ChunkBody::from_unsorted(&body);
        self.views.truncate(self.bodies.len());
        self.views.push(ChunkView::whole(Arc::new(sorted.clone().into())));
        self.bodies.push(sorted);
        // A run whose changes cancel out holds nothing, and readers expect none that is empty.
        if self.bodies.last().is_some_and(ChunkBody::is_empty) {
            self.bodies.pop();
            self.views.pop();
        }
    }
}

/// The schema of a batch where every column may be NULL: what one statement's rows are not, another's may be.
fn open_schema(batch: &RecordBatch) -> SchemaRef {
    let fields: Vec<Field> = batch.schema().fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new(fields))
}
