//! A session: parsing, planning and executing the statements of one connection.
//!
//! Everything that can be done without the coordinator task (planning, evaluating queries, talking to brokers) is
//! done here, on the connection's own task.

mod ddl;
mod query;
mod settings;

use crate::command::{Command, ReadHold, Reply, SubscribeRequest, TableWrite};
use crate::handle::CoordinatorHandle;
use crate::plans::LastPlan;
use crate::session::{CommitPoint, Executed, Notice, Outcome, Prepared, TransactionStatus};
use hw_plan::Statement;
use hw_repr::{Datum, GlobalId, SqlError, SqlState, SqlType};
use hw_sql::{ParamTypes, ParsedStatement, Planned, Query};
use settings::Settings;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often an INSERT from a query is computed again because its input changes.
const INSERT_ATTEMPTS_MAX: usize = 100;

/// One client's session.
pub struct Session {
    pub(crate) handle: CoordinatorHandle,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) settings: Settings,
    /// Statements that PREPARE has named.
    pub(crate) prepared: BTreeMap<String, hw_sql::PreparedSql>,
    pub(crate) backend_pid: i32,
    status: TransactionStatus,
    /// The time that all reads of a transaction block are answered at.
    block: Option<Arc<ReadHold>>,
    /// The time of BEGIN, µs since 1970: what `now()` is inside the block.
    begun_us: Option<i64>,
    /// That of the statement that runs.
    pub(crate) commit: Arc<CommitPoint>,
    keep_identical: bool,
    /// What the statement that runs has to be said of its reads.
    warnings: std::sync::Mutex<Vec<SqlError>>,
    entry: crate::sessions::Entry,
}

impl Session {
    pub(crate) fn new(handle: CoordinatorHandle, user: String, database: String, application: Option<String>) -> Self {
        let application = application.unwrap_or_default();
        let entry = handle.sessions.open(&user, &database, &application);
        let settings = Settings::new(application);
        Session {
            handle,
            user,
            database,
            settings,
            prepared: BTreeMap::new(),
            backend_pid: 0,
            status: TransactionStatus::Idle,
            block: None,
            begun_us: None,
            commit: Arc::default(),
            keep_identical: false,
            warnings: Default::default(),
            entry,
        }
    }

    /// The statements of a query string: byte offset and text of each.
    pub fn split(&mut self, sql: &str) -> Result<Vec<(usize, String)>, SqlError> {
        Ok(hw_sql::parse(sql)?.into_iter().map(|s| (s.start_offset, s.text.to_string())).collect())
    }

    /// Parses and plans one statement. `declared[i]` is the type of `$i+1` where the client said.
    pub async fn prepare(&mut self, sql: &str, declared: &[Option<SqlType>]) -> Result<Prepared, SqlError> {
        self.handle.ready().await?;
        let plan = LastPlan::default();
        let Some(parsed) = one_statement(sql)? else {
            return Ok(Prepared { param_types: vec![], desc: None, sql: Arc::from(sql), empty: true, plan });
        };
        if self.status == TransactionStatus::Failed && !ends_block(&parsed.text) {
            return Err(aborted());
        }
        let planned = self.plan(&parsed, declared, &plan)?;
        let (desc, sql) = (self.describe(&planned), Arc::from(sql));
        Ok(Prepared { desc, param_types: planned.param_types, sql, empty: false, plan })
    }

    /// Plans against the newest catalog; keeps what can be used again.
    fn plan(
        &self,
        parsed: &ParsedStatement,
        declared: &[Option<SqlType>],
        last: &LastPlan,
    ) -> Result<Planned, SqlError> {
        let catalog = self.handle.snapshot.load_full();
        let (context, declared) = (self.planning_context(), ParamTypes(declared.to_vec()));
        let planned = beside_others(&parsed.text, || hw_sql::plan(parsed, &*catalog, &context, &declared))?;
        last.put(&catalog, self.settings.search_path(), &planned);
        Ok(planned)
    }

    fn describe(&self, planned: &Planned) -> Option<hw_repr::RelationDesc> {
        match &planned.statement {
            Statement::Select { .. } => planned.query.as_ref().map(|q| q.desc.clone()),
            Statement::Rows { desc, .. } => Some(desc.clone()),
            Statement::Show { name } => Some(Settings::show_desc(name)),
            Statement::SetConfig { .. } => Some(Settings::show_desc("set_config")),
            Statement::Compact => Some(query::compact_desc()),
            Statement::Subscribe { id, progress, .. } => {
                let catalog = self.handle.snapshot.load();
                hw_plan::CatalogView::get(&**catalog, *id)
                    .and_then(|o| o.desc().map(|d| query::subscribe_desc(d, *progress)))
            }
            _ => None,
        }
    }

    /// The commit point of the statement that is executed next.
    pub fn begin_statement(&mut self) -> Arc<CommitPoint> {
        self.commit = Arc::default();
        self.commit.clone()
    }

    /// A statement has failed, wherever: a transaction block is over but for its end.
    pub fn statement_failed(&mut self) {
        if self.status == TransactionStatus::Active {
            self.status = TransactionStatus::Failed;
            self.block = None;
        }
    }

    /// Runs a statement up to its first rows.
    pub async fn execute(&mut self, prepared: &Prepared, params: Vec<Datum>) -> Result<Executed, SqlError> {
        self.handle.ready().await?;
        self.handle.count_statement();
        self.entry.begin(self.settings.application_name(), &prepared.sql);
        let mut result = self.run(prepared, params).await;
        self.entry.end();
        let warnings = std::mem::take(&mut *self.warnings.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        if let Ok(executed) = &mut result {
            executed.notices.extend(warnings.into_iter().map(|error| Notice { severity: "WARNING", error }));
        }
        if result.is_err() {
            self.statement_failed();
        }
        result
    }

    async fn run(&mut self, prepared: &Prepared, params: Vec<Datum>) -> Result<Executed, SqlError> {
        if self.status != TransactionStatus::Failed
            && let Some(planned) = prepared.plan.get(&self.handle.snapshot.load(), &self.settings.search_path())
        {
            return self.run_planned(planned, None, params).await;
        }
        let declared: Vec<Option<SqlType>> = prepared.param_types.iter().map(|t| Some(*t)).collect();
        let Some(parsed) = one_statement(&prepared.sql)? else { return Ok(done(Outcome::Empty)) };
        if self.status == TransactionStatus::Failed && !ends_block(&parsed.text) {
            return Err(aborted());
        }
        let planned = self.plan(&parsed, &declared, &prepared.plan)?;
        self.run_planned(planned, Some(&parsed), params).await
    }

    /// Runs a plan; `parsed` is what it was made from, where it was made just now.
    async fn run_planned(
        &mut self,
        planned: Planned,
        parsed: Option<&ParsedStatement>,
        params: Vec<Datum>,
    ) -> Result<Executed, SqlError> {
        self.check_block(&planned.statement)?;
        let Planned { statement, query, .. } = planned;
        let statement = hw_sql::bind_statement(statement, &params)?;
        match statement {
            Statement::Select { as_of } => self.run_select(query, as_of, params).await,
            Statement::Rows { desc, rows, tag } => query::literal_rows(desc, rows, tag),
            Statement::Insert { table } => {
                let count = self.insert(table, query, params).await?;
                Ok(done(Outcome::Complete { tag: format!("INSERT 0 {count}") }))
            }
            Statement::Update { table, filter, set } => {
                let count = self.write(TableWrite::Update { table, filter, set }).await?;
                Ok(done(Outcome::Complete { tag: format!("UPDATE {count}") }))
            }
            Statement::Delete { table, filter } => {
                let count = self.write(TableWrite::Delete { table, filter }).await?;
                Ok(done(Outcome::Complete { tag: format!("DELETE {count}") }))
            }
            Statement::Subscribe { id, snapshot, progress, as_of, up_to } => {
                self.run_subscribe(SubscribeRequest { relation: id, snapshot, progress, as_of, up_to }).await
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
            Statement::SetConfig { name, value } => self.set_config(&name, value),
            Statement::Deallocate { name } => self.deallocate(name),
            Statement::Prepare { name, types, sql } => self.name_statement(name, types, sql),
            Statement::AlterRolePassword { role, password } => {
                self.ask("ALTER ROLE", |reply| Command::SetPassword { role, password, reply }).await
            }
            Statement::Compact => {
                self.handle.request(|reply| Command::Compact { reply }).await?;
                query::literal_rows(query::compact_desc(), vec![vec![Datum::Bool(true)]], "SELECT")
            }
            Statement::Flush => self.ask("FLUSH", |reply| Command::Flush { reply }).await,
            Statement::Checkpoint => self.ask("CHECKPOINT", |reply| Command::Checkpoint { reply }).await,
            ddl => match parsed {
                Some(parsed) => self.run_ddl(ddl, parsed).await,
                None => Err(SqlError::internal("a plan that was kept changes the catalog")),
            },
        }
    }

    /// Waits until the coordinator has done what is asked.
    async fn ask(&self, tag: &str, command: impl FnOnce(Reply<()>) -> Command) -> Result<Executed, SqlError> {
        self.handle.request(command).await?;
        Ok(done(Outcome::Complete { tag: tag.into() }))
    }

    /// Computed again where a table that the query reads has changed before its rows were written.
    async fn insert(&self, table: GlobalId, query: Option<Query>, params: Vec<Datum>) -> Result<u64, SqlError> {
        let query = query.ok_or_else(|| SqlError::internal("an INSERT without a query"))?;
        let mut attempts = 0;
        loop {
            let depends_on = query.depends_on.clone();
            let (rows, at) = self.collect(query.clone(), params.clone()).await?;
            let read = at.map(|hold| (hold.at, depends_on));
            match self.write(TableWrite::Insert { table, rows, read }).await {
                Err(e) if e.code == SqlState::SERIALIZATION && attempts < INSERT_ATTEMPTS_MAX => attempts += 1,
                other => return other,
            }
        }
    }

    /// `SELECT set_config(name, value, ...)`
    fn set_config(&mut self, name: &str, value: String) -> Result<Executed, SqlError> {
        let parameter_status = self.settings.set(name, Some(value.clone()))?;
        let desc = Settings::show_desc("set_config");
        let rows = query::literal_rows(desc, vec![vec![Datum::Text(value)]], "SELECT")?;
        Ok(Executed { parameter_status, ..rows })
    }

    /// `PREPARE name AS ...`
    fn name_statement(&mut self, name: String, types: Vec<SqlType>, sql: String) -> Result<Executed, SqlError> {
        if self.prepared.contains_key(&name) {
            let code = SqlState::new("42P05");
            return Err(SqlError::new(code, format!("prepared statement \"{name}\" already exists")));
        }
        self.prepared.insert(name, hw_sql::PreparedSql { types, sql });
        Ok(done(Outcome::Complete { tag: "PREPARE".into() }))
    }

    fn deallocate(&mut self, name: Option<String>) -> Result<Executed, SqlError> {
        let tag = match name {
            None => {
                self.prepared.clear();
                "DEALLOCATE ALL"
            }
            Some(name) => {
                if self.prepared.remove(&name).is_none() {
                    let code = SqlState::new("26000");
                    return Err(SqlError::new(code, format!("prepared statement \"{name}\" does not exist")));
                }
                "DEALLOCATE"
            }
        };
        Ok(done(Outcome::Complete { tag: tag.into() }))
    }

    async fn write(&self, write: TableWrite) -> Result<u64, SqlError> {
        let commit = self.commit.clone();
        self.handle.request(|reply| Command::Write { write, commit, reply }).await
    }

    /// A transaction block may only read so far.
    fn check_block(&self, statement: &Statement) -> Result<(), SqlError> {
        let reads = matches!(
            statement,
            Statement::Select { .. }
                | Statement::Rows { .. }
                | Statement::Show { .. }
                | Statement::Set { .. }
                | Statement::SetConfig { .. }
                | Statement::Prepare { .. }
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
        if !unchanged {
            self.begun_us = (to == TransactionStatus::Active).then(now_us);
        }
        if !(unchanged && to == TransactionStatus::Active) {
            self.block = None;
        }
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

    /// What `pg_backend_pid()` is: the process id of the cancel key.
    pub fn set_backend_pid(&mut self, pid: i32) {
        self.backend_pid = pid;
        self.entry.set_pid(pid);
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

fn now_us() -> i64 {
    (crate::platform::now_ms() as i64).saturating_mul(1000)
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

/// Bytes of a statement that is planned without making room first.
const SHORT_TEXT: usize = 2048;

/// Plans a statement. A long one takes long: other sessions do not wait for its thread.
fn beside_others<T>(text: &str, plan: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let shared = Handle::try_current().is_ok_and(|h| h.runtime_flavor() == RuntimeFlavor::MultiThread);
    if shared && text.len() > SHORT_TEXT { tokio::task::block_in_place(plan) } else { plan() }
}
