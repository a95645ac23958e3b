//! BEGIN, COMMIT, ROLLBACK and savepoints.

use super::{Session, done, now_us};
use crate::command::TableWrite;
use crate::session::{Executed, Notice, Outcome, TransactionStatus};
use crate::transaction::Transaction;
use hw_plan::Statement;
use hw_repr::{SqlError, SqlState};

fn complete(tag: &str) -> Executed {
    done(Outcome::Complete { tag: tag.into() })
}

fn warning(tag: &str, code: SqlState, message: &str) -> Executed {
    let notices = vec![Notice { severity: "WARNING", error: SqlError::new(code, message) }];
    Executed { notices, ..complete(tag) }
}

/// What modes of a transaction say of its writing.
pub(super) fn read_only_mode(modes: &str) -> Option<bool> {
    let words: Vec<&str> = modes.split(|c: char| c.is_whitespace() || c == ',').filter(|w| !w.is_empty()).collect();
    let is = |second: &str| words.windows(2).any(|w| w == ["read", second]);
    if is("only") { Some(true) } else { is("write").then_some(false) }
}

impl Session {
    /// True where statements do not commit by themselves.
    pub(super) fn in_block(&self) -> bool {
        self.status == TransactionStatus::Active || self.own
    }

    /// A statement that reads and writes begins a transaction of its own.
    pub(super) fn begin_own(&mut self) {
        (self.tx, self.own) = (Transaction::default(), true);
    }

    /// Commits the transaction of a statement, unless it failed.
    pub(super) async fn end_own<T>(&mut self, result: Result<T, SqlError>) -> Result<T, SqlError> {
        let committed = match result {
            Ok(value) => self.commit_changes().await.map(|()| value),
            Err(e) => Err(e),
        };
        (self.tx, self.own) = (Transaction::default(), false);
        committed
    }

    /// All changes become one tick, or nothing does.
    async fn commit_changes(&mut self) -> Result<(), SqlError> {
        let (changes, Some(hold)) = (self.tx.take_changes()?, self.tx.hold.clone()) else { return Ok(()) };
        if changes.is_empty() {
            return Ok(());
        }
        let reads = self.tx.reads.iter().copied().collect();
        self.write(TableWrite::Transaction { at: hold.at, reads, changes }).await.map(drop)
    }

    /// `SET TRANSACTION mode, ...`: of the modes only READ ONLY and READ WRITE change anything.
    pub(super) fn set_transaction(&mut self, modes: &str) -> Executed {
        if self.status == TransactionStatus::Idle {
            let message = "SET TRANSACTION can only be used in transaction blocks";
            return warning("SET", SqlState::NO_TRANSACTION, message);
        }
        self.tx.read_only = read_only_mode(modes).unwrap_or(self.tx.read_only);
        complete("SET")
    }

    pub(super) fn begin(&mut self, read_only: Option<bool>) -> Executed {
        if self.status != TransactionStatus::Idle {
            return warning("BEGIN", SqlState::ACTIVE_TRANSACTION, "there is already a transaction in progress");
        }
        self.status = TransactionStatus::Active;
        self.begun_us = Some(now_us());
        self.tx = Transaction::default();
        self.tx.read_only = read_only.unwrap_or_else(|| self.settings.is_read_only());
        complete("BEGIN")
    }

    pub(super) async fn commit(&mut self) -> Result<Executed, SqlError> {
        match self.status {
            TransactionStatus::Idle => {
                Ok(warning("COMMIT", SqlState::NO_TRANSACTION, "there is no transaction in progress"))
            }
            TransactionStatus::Failed => {
                self.end_block();
                Ok(complete("ROLLBACK"))
            }
            TransactionStatus::Active => {
                let result = self.commit_changes().await;
                self.end_block();
                result.map(|()| complete("COMMIT"))
            }
        }
    }

    pub(super) fn rollback(&mut self) -> Executed {
        if self.status == TransactionStatus::Idle {
            return warning("ROLLBACK", SqlState::NO_TRANSACTION, "there is no transaction in progress");
        }
        self.end_block();
        complete("ROLLBACK")
    }

    fn end_block(&mut self) {
        self.status = TransactionStatus::Idle;
        self.begun_us = None;
        self.tx = Transaction::default();
    }

    pub(super) fn savepoint(&mut self, statement: Statement) -> Result<Executed, SqlError> {
        let missing = |name: &str| {
            Err(SqlError::new(SqlState::INVALID_SAVEPOINT, format!("savepoint \"{name}\" does not exist")))
        };
        let outside = |what: &str| {
            let message = format!("{what} can only be used in transaction blocks");
            Err(SqlError::new(SqlState::NO_TRANSACTION, message))
        };
        let idle = self.status == TransactionStatus::Idle;
        match statement {
            Statement::Savepoint { .. } if idle => outside("SAVEPOINT"),
            Statement::Release { .. } if idle => outside("RELEASE SAVEPOINT"),
            Statement::RollbackTo { .. } if idle => outside("ROLLBACK TO SAVEPOINT"),
            Statement::Savepoint { name } => {
                self.tx.save(name);
                Ok(complete("SAVEPOINT"))
            }
            Statement::Release { name } if self.tx.release(&name) => Ok(complete("RELEASE")),
            Statement::RollbackTo { name } if self.tx.back_to(&name) => {
                self.status = TransactionStatus::Active;
                Ok(complete("ROLLBACK"))
            }
            Statement::Release { name } | Statement::RollbackTo { name } => missing(&name),
            other => Err(SqlError::internal(format!("not a savepoint: {other:?}"))),
        }
    }

    /// What a transaction block takes: everything but what changes the catalog or is no transaction's business.
    pub(super) fn check_block(&self, statement: &Statement) -> Result<(), SqlError> {
        let writes = match statement {
            Statement::Insert { .. } => Some("INSERT"),
            Statement::Update { .. } | Statement::Modify { set: Some(_), .. } => Some("UPDATE"),
            Statement::Delete { .. } | Statement::Modify { set: None, .. } => Some("DELETE"),
            Statement::Truncate { .. } => Some("TRUNCATE TABLE"),
            Statement::CopyFrom { .. } => Some("COPY FROM"),
            _ => None,
        };
        let read_only = match self.status {
            TransactionStatus::Active => self.tx.read_only,
            _ => self.settings.is_read_only(),
        };
        if let Some(what) = writes.filter(|_| read_only) {
            let message = format!("cannot execute {what} in a read-only transaction");
            return Err(SqlError::new(SqlState::new("25006"), message));
        }
        let other = matches!(
            statement,
            Statement::Select { .. }
                | Statement::Rows { .. }
                | Statement::CopyTo { .. }
                | Statement::Show { .. }
                | Statement::Set { .. }
                | Statement::SetConfig { .. }
                | Statement::Prepare { .. }
                | Statement::Begin { .. }
                | Statement::Commit
                | Statement::Rollback
                | Statement::Savepoint { .. }
                | Statement::Release { .. }
                | Statement::RollbackTo { .. }
                | Statement::Subscribe { .. }
                | Statement::Deallocate { .. }
        );
        if self.status == TransactionStatus::Idle || writes.is_some() || other {
            return Ok(());
        }
        Err(SqlError::unsupported("a transaction block may only read and write tables")
            .hint("Run the statement outside BEGIN ... COMMIT; it commits by itself."))
    }
}
