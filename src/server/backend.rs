//! What the server asks of the database behind it. The coordinator's handle implements it in [`crate::adapter`].
//!
//! Cancellation: every future and row stream may be dropped at any time; dropping it cancels the work.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use hw_coordinator::CopyIn;
use hw_coordinator::session::{CommitPoint, Executed, Prepared, TransactionStatus};
use hw_repr::{Datum, SqlError, SqlType};
use std::sync::Arc;
use std::time::Duration;

/// What SCRAM-SHA-256 needs to know of a password; the password itself is not recoverable from it.
#[derive(Clone, Debug)]
pub struct ScramVerifier {
    /// Salt.
    pub salt: Vec<u8>,
    /// PBKDF2 iterations.
    pub iterations: u32,
    /// SHA-256 of the client key.
    pub stored_key: Vec<u8>,
    /// The server key.
    pub server_key: Vec<u8>,
}

/// How a user proves who it is.
#[derive(Clone, Debug)]
pub enum AuthRule {
    /// Any name is let in (loopback, before a role has a password).
    Trust,
    /// By SCRAM-SHA-256 against this verifier.
    Scram(ScramVerifier),
    /// Unknown or without a password: fails like a wrong password.
    Reject,
}

/// A running database.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Resolves when statements can be answered (recovery is over), or with why they never will be.
    async fn ready(&self) -> Result<(), SqlError>;
    /// True once [`Backend::ready`] resolves.
    fn is_ready(&self) -> bool;
    /// Stops everything; what was acknowledged is durable.
    async fn shutdown(&self);
    /// Metrics in Prometheus' text format.
    async fn metrics(&self) -> String;
    /// How `user` authenticates. Waits until the roles are known; never `Trust` because they are not.
    async fn scram_verifier(&self, user: &str) -> Result<AuthRule, SqlError>;
    /// True once any role has a password. Waits until the roles are known.
    async fn has_password(&self) -> Result<bool, SqlError>;
    /// A new session. Answers during recovery too.
    fn session(&self, user: String, database: String, application_name: Option<String>) -> Box<dyn SessionBackend>;
}

/// One client's session. Used by one connection task at a time.
#[async_trait]
pub trait SessionBackend: Send {
    /// Parses and plans one statement (42601 for several). `declared[i]` is the type of `$i+1` where the client said.
    async fn prepare(&mut self, sql: &str, declared: &[Option<SqlType>]) -> Result<Prepared, SqlError>;
    /// The statements of a query string: byte offset in `sql` and text. Positions of later errors are relative to
    /// each text.
    fn split(&mut self, sql: &str) -> Result<Vec<(usize, String)>, SqlError>;
    /// Runs a statement up to its first rows.
    async fn execute(&mut self, prepared: &Prepared, params: Vec<Datum>) -> Result<Executed, SqlError>;
    /// Rows of a COPY, with the line of each.
    async fn copy_rows(&mut self, _copy: &mut CopyIn, _rows: RecordBatch, _lines: Vec<u32>) -> Result<(), SqlError> {
        Err(SqlError::unsupported("COPY is not supported"))
    }
    /// All rows of a COPY have come: it is written.
    async fn copy_done(&mut self, _copy: Box<CopyIn>) -> Result<Executed, SqlError> {
        Err(SqlError::unsupported("COPY is not supported"))
    }
    /// The commit point of the statement that is executed next.
    fn begin_statement(&mut self) -> Arc<CommitPoint> {
        Arc::default()
    }
    /// A statement has failed, in whatever step: a transaction block has failed with it.
    fn statement_failed(&mut self) {}
    /// For ReadyForQuery.
    fn transaction_status(&self) -> TransactionStatus;
    /// Settings reported at startup.
    fn parameters(&self) -> Vec<(String, String)>;
    /// Limit of one statement's time; `None`: no limit.
    fn statement_timeout(&self) -> Option<Duration>;
    /// From now on a CREATE of an object that exists with the same definition succeeds and changes nothing; with
    /// another definition it stays 42P07 (`headwater run`).
    fn keep_identical(&mut self);
    /// The process id of the connection's cancel key.
    fn set_pid(&mut self, _pid: i32) {}
}
