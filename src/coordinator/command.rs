//! The messages the coordinator task understands.

use crate::errors::LeftOut;
use crate::session::CommitPoint;
use arrow::array::RecordBatch;
use hw_catalog::CatalogSnapshot;
use hw_plan::{OnConflict, ScalarExpr, Statement};
use hw_repr::{Datum, Diff, GlobalId, PublishedRelation, RelationDesc, SqlError, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use tokio::sync::{mpsc, oneshot};

/// Answer channel of a request.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, SqlError>>;

/// A message to the coordinator task.
pub(crate) enum Command {
    /// A statement that changes the catalog. What needs the outside world was done by the session before.
    Ddl(Box<Ddl>),
    /// A statement that writes a table.
    Write { write: TableWrite, commit: Arc<CommitPoint>, reply: Reply<Written> },
    /// The next value of a table's identity column is the first one again.
    RestartIdentity { table: GlobalId, reply: Reply<()> },
    /// The next values of a table's identity column; answered with the first of `count`.
    Identity { table: GlobalId, count: u64, reply: Reply<i64> },
    /// Contents of these relations at one time: the newest, or that of an earlier read that is held.
    Read { ids: Vec<GlobalId>, at: ReadAt, reply: Reply<ReadSnapshot> },
    /// Rows of a system relation that the coordinator knows.
    System { name: String, reply: Reply<Vec<Vec<Datum>>> },
    /// Where the partitions of a source begin and end upstream now.
    Marks { source: GlobalId, marks: BTreeMap<i32, (i64, i64)>, reply: Reply<()> },
    /// Starts a subscription.
    Subscribe { request: SubscribeRequest, reply: Reply<Subscription> },
    /// Ends one.
    Unsubscribe { id: u64 },
    /// A new password verifier for a role.
    SetPassword { role: String, password: Option<String>, reply: Reply<()> },
    /// Answers when a checkpoint that has everything acknowledged before is durable.
    Checkpoint { reply: Reply<()> },
    /// Merges every arrangement into one batch.
    Compact { reply: Reply<()> },
    /// Answers when every earlier write is visible.
    Flush { reply: Reply<()> },
    /// A background job on behalf of a source or a hydrating dataflow has news.
    Wake,
    /// Stops everything in order.
    Shutdown { reply: oneshot::Sender<()> },
}

/// A statement that changes the catalog.
pub(crate) struct Ddl {
    pub statement: Statement,
    /// The catalog that it was planned against.
    pub planned: Arc<CatalogSnapshot>,
    pub owner: String,
    pub commit: Arc<CommitPoint>,
    pub reply: Reply<DdlDone>,
}

/// What a DDL statement did.
pub(crate) struct DdlDone {
    /// NOTICE texts (`IF NOT EXISTS` skipped and the like).
    pub notices: Vec<SqlError>,
}

/// A write to one table.
pub(crate) enum TableWrite {
    /// Rows to add, already of the table's types. `read` is the time at which a query gave them and what it read:
    /// where a table among that has changed since, the statement must be computed again (40001).
    /// The rows have passed the table's own rules, but for its unique constraints.
    Insert {
        table: GlobalId,
        rows: Vec<RecordBatch>,
        read: Option<(Timestamp, Vec<GlobalId>)>,
        conflict: Option<OnConflict>,
        lines: Option<CopyLines>,
        returning: bool,
    },
    /// `UPDATE`
    Update { table: GlobalId, filter: Option<ScalarExpr>, set: Vec<(usize, ScalarExpr)>, returning: bool },
    /// `DELETE`
    Delete { table: GlobalId, filter: Option<ScalarExpr>, returning: bool },
    /// What a transaction that has read as of `at` has done, in order. Where a table among what it has read or written
    /// has changed since, it fails (40001); else all checks it has made still hold.
    Transaction { at: Timestamp, reads: Vec<GlobalId>, changes: Vec<(GlobalId, RecordBatch, Diff)> },
}

impl TableWrite {
    /// The table written, unless it is a transaction.
    pub fn table(&self) -> Option<GlobalId> {
        match self {
            TableWrite::Insert { table, .. } | TableWrite::Update { table, .. } | TableWrite::Delete { table, .. } => {
                Some(*table)
            }
            TableWrite::Transaction { .. } => None,
        }
    }
    /// True where the write depends on rows that are there, beyond key checks.
    pub fn reads_table(&self) -> bool {
        match self {
            TableWrite::Insert { conflict, .. } => conflict.as_ref().is_some_and(|c| c.update.is_some()),
            TableWrite::Transaction { .. } => false,
            TableWrite::Update { .. } | TableWrite::Delete { .. } => true,
        }
    }
    /// True where the client wants to see the rows.
    pub fn returning(&self) -> bool {
        match self {
            TableWrite::Insert { returning, .. }
            | TableWrite::Update { returning, .. }
            | TableWrite::Delete { returning, .. } => *returning,
            TableWrite::Transaction { .. } => false,
        }
    }
}

/// What a write has done.
#[derive(Default)]
pub(crate) struct Written {
    /// Rows affected.
    pub count: u64,
    /// The rows as they have become, or were where they are deleted; only where they are wanted.
    pub rows: Vec<RecordBatch>,
}

/// Where the rows of a COPY stand in what the client has sent.
pub(crate) struct CopyLines {
    /// The table's name.
    pub relation: String,
    /// The line of each row, from 1.
    pub lines: Vec<u32>,
}

impl CopyLines {
    /// What an error at a row adds.
    pub fn context(&self, row: usize) -> String {
        match self.lines.get(row) {
            Some(line) => format!("COPY {}, line {line}", self.relation),
            None => format!("COPY {}", self.relation),
        }
    }
}

/// When a read reads.
#[derive(Clone, Debug)]
pub(crate) enum ReadAt {
    /// What is newest when it arrives.
    Now,
    /// The time of an earlier read.
    Held(Arc<ReadHold>),
    /// `AS OF`
    Past(Timestamp),
}

/// Keeps a time readable in every relation, as long as it is there.
#[derive(Debug)]
pub(crate) struct ReadHold {
    /// The time.
    pub at: Timestamp,
    /// How far sources were read that nothing else reads: once for all reads of a transaction.
    pub ends: std::sync::Mutex<BTreeMap<GlobalId, BTreeMap<i32, i64>>>,
}

impl ReadHold {
    /// Of a time.
    pub(crate) fn new(at: Timestamp) -> ReadHold {
        ReadHold { at, ends: std::sync::Mutex::default() }
    }
}

/// Relations at one time.
pub(crate) struct ReadSnapshot {
    /// The time.
    pub as_of: Arc<ReadHold>,
    /// Each relation's contents.
    pub tables: Vec<(GlobalId, ReadTable)>,
    /// What is not in them because it fails.
    pub left_out: LeftOut,
}

/// One relation's contents.
pub(crate) enum ReadTable {
    /// An arrangement, and others of the same relation by other keys (indexes).
    Arranged {
        desc: RelationDesc,
        published: Arc<PublishedRelation>,
        indexes: Vec<Arc<PublishedRelation>>,
        /// Those whose keys are computed.
        computed: Vec<hw_query::ComputedIndex>,
    },
    /// A source without an arrangement: positions to read, per partition; up to the upstream's end without `to`.
    Source {
        object: Arc<hw_plan::Object>,
        desc: RelationDesc,
        from: BTreeMap<i32, i64>,
        to: Option<BTreeMap<i32, i64>>,
    },
}

/// `SUBSCRIBE`, resolved.
pub(crate) struct SubscribeRequest {
    pub relation: GlobalId,
    pub snapshot: bool,
    pub progress: bool,
    pub as_of: Option<Timestamp>,
    pub up_to: Option<Timestamp>,
}

/// A running subscription.
pub(crate) struct Subscription {
    /// To end it.
    pub id: u64,
    /// Time of the snapshot.
    pub as_of: Timestamp,
    /// Columns of the relation.
    pub desc: RelationDesc,
    /// Changes, only of durable ticks, in time order.
    pub updates: mpsc::Receiver<SubscribeEvent>,
    /// Bytes that wait in `updates`: to be reduced by what was taken.
    pub queued_bytes: Arc<AtomicUsize>,
}

/// What a subscription receives.
pub(crate) enum SubscribeEvent {
    /// Changes at `time`, consolidated.
    Changes { time: Timestamp, rows: RecordBatch, diffs: Vec<i64> },
    /// All times below are complete.
    Progress(Timestamp),
    /// It is over.
    Error(SqlError),
}

impl SubscribeEvent {
    /// What it holds in memory, about.
    pub fn bytes(&self) -> usize {
        match self {
            SubscribeEvent::Changes { rows, diffs, .. } => rows.get_array_memory_size() + diffs.len() * 8,
            SubscribeEvent::Progress(_) | SubscribeEvent::Error(_) => 0,
        }
    }
}
