//! A session: parsing, planning and executing the statements of one connection.
//!
//! Everything that can be done without the coordinator task (planning, evaluating queries, talking to brokers) is
//! done here, on the connection's own task.

mod ddl;
mod query;
mod settings;

use crate::command::{Command, TableWrite};
use crate::handle::CoordinatorHandle;
use crate::session::{Executed, Notice, Outcome, Prepared, TransactionStatus};
use hw_plan::Statement;
use hw_repr::{Datum, GlobalId, SqlError, SqlState, SqlType};
use hw_sql::{ParamTypes, ParsedStatement, Planned};
use settings::Settings;
use std::sync::Arc;
use std::time::Duration;

/// One client's session.
pub struct Session {
    pub(crate) handle: CoordinatorHandle,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) settings: Settings,
    status: TransactionStatus,
    keep_identical: bool,
}

impl Session {
    pub(crate) fn new(handle: CoordinatorHandle, user: String, database: String, application: Option<String>) -> Self {
        let settings = Settings::new(application.unwrap_or_default());
        Session { handle, user, database, settings, status: TransactionStatus::Idle, keep_identical: false }
    }

    /// The statements of a query string: byte offset and text of each.
    pub fn split(&mut self, sql: &str) -> Result<Vec<(usize, String)>, SqlError> {
        Ok(hw_sql::parse(sql)?.into_iter().map(|s| (s.start_offset, s.text.to_string())).collect())
    }

    /// Parses and plans one statement. `declared[i]` is the type of `$i+1` where the client said.
    pub async fn prepare(&mut self, sql: &str, declared: &[Option<SqlType>]) -> Result<Prepared, SqlError> {
        self.handle.ready().await?;
        let empty = |sql: &str| Prepared { param_types: vec![], desc: None, sql: Arc::from(sql), empty: true };
        let Some(parsed) = one_statement(sql)? else { return Ok(empty(sql)) };
        if self.status == TransactionStatus::Failed && !ends_block(&parsed.text) {
            return Err(aborted());
        }
        let planned = self.plan(&parsed, declared)?;
        Ok(Prepared {
            desc: self.describe(&planned),
            param_types: planned.param_types.clone(),
            sql: Arc::from(sql),
            empty: false,
        })
    }

    fn plan(&self, parsed: &ParsedStatement, declared: &[Option<SqlType>]) -> Result<Planned, SqlError> {
        let catalog = self.handle.snapshot.load_full();
        hw_sql::plan(parsed, &*catalog, &self.planning_context(), &ParamTypes(declared.to_vec()))
    }

    fn describe(&self, planned: &Planned) -> Option<hw_repr::RelationDesc> {
        match &planned.statement {
            Statement::Select => planned.query.as_ref().map(|q| q.desc.clone()),
            Statement::Rows { desc, .. } => Some(desc.clone()),
            Statement::Show { name } => Some(Settings::show_desc(name)),
            Statement::Subscribe { id, progress, .. } => {
                let catalog = self.handle.snapshot.load();
                hw_plan::CatalogView::get(&**catalog, *id)
                    .and_then(|o| o.desc().map(|d| query::subscribe_desc(d, *progress)))
            }
            _ => None,
        }
    }

    /// Runs a statement up to its first rows.
    pub async fn execute(&mut self, prepared: &Prepared, params: Vec<Datum>) -> Result<Executed, SqlError> {
        self.handle.ready().await?;
        self.handle.count_statement();
        let result = self.run(prepared, params).await;
        if result.is_err() && self.status == TransactionStatus::Active {
            self.status = TransactionStatus::Failed;
        }
        result
    }

    async fn run(&mut self, prepared: &Prepared, params: Vec<Datum>) -> Result<Executed, SqlError> {
        let declared: Vec<Option<SqlType>> = prepared.param_types.iter().map(|t| Some(*t)).collect();
        let Some(parsed) = one_statement(&prepared.sql)? else { return Ok(done(Outcome::Empty)) };
        if self.status == TransactionStatus::Failed && !ends_block(&parsed.text) {
            return Err(aborted());
        }
        let planned = self.plan(&parsed, &declared)?;
        self.check_block(&planned.statement)?;
        let Planned { statement, query, .. } = planned;
        match statement {
            Statement::Select => self.run_select(query, params).await,
            Statement::Rows { desc, rows, tag } => query::literal_rows(desc, rows, tag),
            Statement::Insert { table } => {
                let rows = self.collect(query, params).await?;
                let count = self.write(TableWrite::Insert { table, rows }).await?;
                Ok(done(Outcome::Complete { tag: format!("INSERT 0 {count}") }))
            }
            Statement::Update { table, filter, set } => {
                refuse_params(&params)?;
                let count = self.write(TableWrite::Update { table, filter, set }).await?;
                Ok(done(Outcome::Complete { tag: format!("UPDATE {count}") }))
            }
            Statement::Delete { table, filter } => {
                refuse_params(&params)?;
                let count = self.write(TableWrite::Delete { table, filter }).await?;
                Ok(done(Outcome::Complete { tag: format!("DELETE {count}") }))
            }
            Statement::Subscribe { id, snapshot, progress, as_of, up_to } => {
                self.run_subscribe(id, snapshot, progress, as_of, up_to).await
            }
            Statement::Begin => {
                self.set_status(TransactionStatus::Active, "BEGIN", "there is already a transaction in progress")
            }
            Statement::Commit => {
                let tag = if self.status == TransactionStatus::Failed { "ROLLBACK" } else { "COMMIT" };
                self.set_status(TransactionStatus::Idle, tag, "there is no transaction in progress")
            }
            Statement::Rollback => {
                self.set_status(TransactionStatus::Idle, "ROLLBACK", "there is no transaction in progress")
            }
            Statement::Set { name, value } => {
                let parameter_status = self.settings.set(&name, value)?;
                let tag = "SET".to_string();
                Ok(Executed { outcome: Outcome::Complete { tag }, notices: vec![], parameter_status })
            }
            Statement::Show { name } => {
                let value = self.settings.show(&name, &self.user)?;
                query::literal_rows(Settings::show_desc(&name), vec![vec![Datum::Text(value)]], "SHOW")
            }
            Statement::Deallocate { .. } => Ok(done(Outcome::Complete { tag: "DEALLOCATE".into() })),
            Statement::Prepare { .. } => Err(SqlError::unsupported("PREPARE as a statement is not supported")
                .hint("Use the extended query protocol: every driver's prepared statements work.")),
            Statement::AlterRolePassword { role, password } => {
                self.handle.request(|reply| Command::SetPassword { role, password, reply }).await?;
                Ok(done(Outcome::Complete { tag: "ALTER ROLE".into() }))
            }
            Statement::Compact => {
                self.handle.request(|reply| Command::Compact { reply }).await?;
                query::literal_rows(query::compact_desc(), vec![vec![Datum::Bool(true)]], "SELECT")
            }
            Statement::Flush => {
                self.handle.request(|reply| Command::Flush { reply }).await?;
                Ok(done(Outcome::Complete { tag: "FLUSH".into() }))
            }
            ddl => self.run_ddl(ddl, &parsed).await,
        }
    }

    async fn write(&self, write: TableWrite) -> Result<u64, SqlError> {
        self.handle.request(|reply| Command::Write { write, reply }).await
    }

    /// A transaction block may only read so far.
    fn check_block(&self, statement: &Statement) -> Result<(), SqlError> {
        let reads = matches!(
            statement,
            Statement::Select
                | Statement::Rows { .. }
                | Statement::Show { .. }
                | Statement::Set { .. }
                | Statement::Begin
                | Statement::Commit
                | Statement::Rollback
                | Statement::Subscribe { .. }
                | Statement::Deallocate { .. }
        );
        if self.status == TransactionStatus::Idle || reads {
            return Ok(());
        }
        Err(SqlError::unsupported("a transaction block may only read")
            .hint("Run the statement outside BEGIN ... COMMIT; it commits by itself."))
    }

    fn set_status(&mut self, to: TransactionStatus, tag: &str, idle: &str) -> Result<Executed, SqlError> {
        let unchanged = (self.status == TransactionStatus::Idle) == (to == TransactionStatus::Idle);
        self.status = to;
        let notices = if unchanged {
            let code =
                if to == TransactionStatus::Idle { SqlState::new("25P01") } else { SqlState::ACTIVE_TRANSACTION };
            vec![Notice { severity: "WARNING", error: SqlError::new(code, idle) }]
        } else {
            vec![]
        };
        Ok(Executed { outcome: Outcome::Complete { tag: tag.into() }, notices, parameter_status: vec![] })
    }

    /// For ReadyForQuery.
    pub fn transaction_status(&self) -> TransactionStatus {
        self.status
    }

    /// Settings reported at startup.
    pub fn parameters(&self) -> Vec<(String, String)> {
        self.settings.reported(&self.user)
    }

    /// Limit of one statement's time.
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.settings.statement_timeout()
    }

    /// From now on a CREATE of an object that exists with the same definition changes nothing and succeeds.
    pub fn keep_identical(&mut self) {
        self.keep_identical = true;
    }

    pub(crate) fn keeps_identical(&self) -> bool {
        self.keep_identical
    }

    /// The object with that id, as this session sees it.
    pub(crate) fn object(&self, id: GlobalId) -> Option<Arc<hw_plan::Object>> {
        hw_plan::CatalogView::get(&**self.handle.snapshot.load(), id)
    }
}

fn refuse_params(params: &[Datum]) -> Result<(), SqlError> {
    if params.is_empty() {
        return Ok(());
    }
    Err(SqlError::unsupported("parameters in UPDATE and DELETE are not supported yet")
        .hint("Send the values in the statement's text."))
}

fn one_statement(sql: &str) -> Result<Option<ParsedStatement>, SqlError> {
    let mut all = hw_sql::parse(sql)?;
    if all.len() > 1 {
        return Err(SqlError::new(SqlState::SYNTAX, "cannot insert multiple commands into a prepared statement"));
    }
    Ok(all.pop())
}

fn ends_block(text: &str) -> bool {
    let word = text.split_whitespace().next().unwrap_or_default().trim_end_matches(';');
    ["commit", "rollback", "end", "abort"].iter().any(|w| word.eq_ignore_ascii_case(w))
}

fn aborted() -> SqlError {
    SqlError::new(
        SqlState::FAILED_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

/// A result without notices.
pub(crate) fn done(outcome: Outcome) -> Executed {
    Executed { outcome, notices: vec![], parameter_status: vec![] }
}
