//! The interface between a client connection and the coordinator: sessions, prepared statements and their results.
//!
//! Owns the vocabulary ([`Prepared`], [`Outcome`]) and per-connection state (settings, transaction status). A
//! session is used by one connection task at a time.

use arrow::array::RecordBatch;
use futures::stream::BoxStream;
use hw_repr::{RelationDesc, SqlError, SqlType};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Rows as they become available. The stream ends with an error at most once.
pub type RowStream = BoxStream<'static, Result<RecordBatch, SqlError>>;

/// A statement that was parsed and planned once, and can be executed with parameters.
#[derive(Clone)]
pub struct Prepared {
    /// Types of `$1`, `$2`, ... as declared by the client or inferred.
    pub param_types: Vec<SqlType>,
    /// Columns of its result; `None` where it returns no rows.
    pub desc: Option<RelationDesc>,
    /// Its text.
    pub sql: Arc<str>,
    /// True for the empty query string.
    pub empty: bool,
    /// How it was planned last, for the next execution.
    pub(crate) plan: crate::plans::LastPlan,
}

impl Prepared {
    /// A statement that has not been planned yet.
    pub fn new(sql: &str, param_types: Vec<SqlType>, desc: Option<RelationDesc>) -> Self {
        let empty = sql.is_empty();
        Prepared { param_types, desc, sql: Arc::from(sql), empty, plan: crate::plans::LastPlan::default() }
    }
}

/// Decides between a statement's commit and its cancellation: whoever comes first.
#[derive(Debug, Default)]
pub struct CommitPoint(AtomicU8);

impl CommitPoint {
    /// The statement commits, unless it was withdrawn; true where it does.
    pub(crate) fn reach(&self) -> bool {
        self.0.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire) != Err(2)
    }

    /// The statement does not commit any more, unless it has begun to; true where it does not.
    pub fn withdraw(&self) -> bool {
        self.0.compare_exchange(0, 2, Ordering::AcqRel, Ordering::Acquire) != Err(1)
    }
}

/// What a statement gives.
pub enum Outcome {
    /// No rows; the command tag (`CREATE TABLE`, `INSERT 0 3`).
    Complete {
        /// Command tag.
        tag: String,
    },
    /// Rows, then the tag with their number appended where `count_in_tag` (`SELECT 5`), else the tag alone
    /// (`SUBSCRIBE`, `EXPLAIN`, `SHOW`).
    Rows {
        /// Columns.
        desc: RelationDesc,
        /// The rows. For `SUBSCRIBE` it has no end of its own; rows must be flushed when it is idle.
        rows: RowStream,
        /// Tag without the count.
        tag: &'static str,
        /// Append the number of rows to the tag.
        count_in_tag: bool,
    },
    /// `COPY ... FROM STDIN`: rows are to be read from the client.
    CopyIn(Box<crate::statement::CopyIn>),
    /// `COPY ... TO STDOUT`
    CopyOut {
        /// Columns.
        desc: RelationDesc,
        /// The rows.
        rows: RowStream,
        /// How they are written.
        options: hw_plan::CopyOptions,
    },
    /// The empty query.
    Empty,
}

/// A NOTICE or WARNING that goes with a result.
#[derive(Clone, Debug)]
pub struct Notice {
    /// `NOTICE` or `WARNING`.
    pub severity: &'static str,
    /// Code and texts.
    pub error: SqlError,
}

/// A result and what else the client is told.
pub struct Executed {
    /// The result.
    pub outcome: Outcome,
    /// Notices, in order, sent before the result.
    pub notices: Vec<Notice>,
    /// Settings whose ParameterStatus must be reported again: (name, value).
    pub parameter_status: Vec<(String, String)>,
}

/// ReadyForQuery's status byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`
    Idle,
    /// `T`
    Active,
    /// `E`
    Failed,
}

pub use crate::statement::Session;
