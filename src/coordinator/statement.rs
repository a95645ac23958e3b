//! A session: parsing, planning and executing the statements of one connection.
//!
//! Everything that can be done without the coordinator task (planning, evaluating queries, talking to brokers) is
//! done here, on the connection's own task.

mod block;
mod copy;
mod ddl;
mod query;
mod settings;
mod write;

pub use copy::CopyIn;

use crate::command::{Command, Reply, SubscribeRequest};
use crate::handle::CoordinatorHandle;
use crate::plans::LastPlan;
use crate::session::{CommitPoint, Executed, Notice, Outcome, Prepared, TransactionStatus};
use crate::transaction::Transaction;
use hw_plan::Statement;
use hw_repr::{Datum, GlobalId, SqlError, SqlState, SqlType};
use hw_sql::{ParamTypes, ParsedStatement, Planned};
use settings::Settings;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

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
    /// The transaction block, or the transaction of the statement that runs.
    tx: Transaction,
    /// The statement that runs has a transaction of its own.
    own: bool,
    /// The time of BEGIN, µs since 1970: what `now()` is inside the block.
    begun_us: Option<i64>,
    /// That of the statement that runs.
    pub(crate) commit: Arc<CommitPoint>,
    keep_identical: bool,
    /// The catalog that the last statement was planned against.
    planned_against: arc_swap::ArcSwap<hw_catalog::CatalogSnapshot>,
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
            tx: Transaction::default(),
            own: false,
            begun_us: None,
            commit: Arc::default(),
            keep_identical: false,
            planned_against: arc_swap::ArcSwap::default(),
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
        self.forget_own();
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
        self.planned_against.store(Arc::clone(&catalog));
        let (context, declared) = (self.planning_context(), ParamTypes(declared.to_vec()));
        let planned = beside_others(&parsed.text, || hw_sql::plan(parsed, &*catalog, &context, &declared))?;
        // What the transaction has written changes how views are read.
        if self.tx.is_clean() {
            last.put(&catalog, self.settings.search_path(), &planned);
        }
        Ok(planned)
    }

    fn describe(&self, planned: &Planned) -> Option<hw_repr::RelationDesc> {
        match &planned.statement {
            Statement::Select { .. } => planned.query.as_ref().map(|q| q.desc.clone()),
            Statement::Insert { returning, .. }
            | Statement::Update { returning, .. }
            | Statement::Delete { returning, .. }
            | Statement::Modify { returning, .. } => returning.as_ref().map(|r| r.desc.clone()),
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
        self.forget_own();
        self.commit = Arc::default();
        self.commit.clone()
    }

    /// A statement that was cancelled may have left its own transaction behind.
    fn forget_own(&mut self) {
        if std::mem::take(&mut self.own) {
            self.tx = Transaction::default();
        }
    }

    /// A statement has failed, wherever: a transaction block is over but for its end.
    pub fn statement_failed(&mut self) {
        if self.status == TransactionStatus::Active {
            self.status = TransactionStatus::Failed;
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
            && self.tx.is_clean()
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
            Statement::Insert { table, identity, conflict, returning } => {
                let insertion = write::Insertion { table, identity, conflict, returning };
                self.run_insert(insertion, query, params).await
            }
            Statement::Update { table, filter, set, returning } => self.run_update(table, filter, set, returning).await,
            Statement::Delete { table, filter, returning } => self.run_delete(table, filter, returning).await,
            Statement::Modify { table, set, returning } => self.run_modify(table, set, returning, query, params).await,
            Statement::Truncate { tables, restart_identity } => self.run_truncate(tables, restart_identity).await,
            Statement::CopyFrom { table, columns, fill, filter, identity, options } => {
                self.run_copy_from(table, columns, (fill, filter), identity, options)
            }
            Statement::CopyTo { options } => self.run_copy_to(query, options, params).await,
            Statement::CreateTable { filled: Some(filled), .. } => match parsed {
                Some(parsed) => self.create_table_as(statement, parsed, query, params, filled).await,
                None => Err(SqlError::internal("a plan that was kept changes the catalog")),
            },
            Statement::Subscribe { id, snapshot, progress, as_of, up_to } => {
                self.run_subscribe(SubscribeRequest { relation: id, snapshot, progress, as_of, up_to }).await
            }
            Statement::Begin { read_only } => Ok(self.begin(read_only)),
            Statement::Commit => self.commit().await,
            Statement::Rollback => Ok(self.rollback()),
            Statement::Savepoint { .. } | Statement::Release { .. } | Statement::RollbackTo { .. } => {
                self.savepoint(statement)
            }
            Statement::Set { name, value } => self.run_set(&name, value),
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

    /// `SET name = value`, `SET TRANSACTION ...`
    fn run_set(&mut self, name: &str, value: Option<String>) -> Result<Executed, SqlError> {
        if name == "transaction" {
            return Ok(self.set_transaction(&value.unwrap_or_default()));
        }
        if name == "transaction_read_only" && self.status == TransactionStatus::Active {
            self.tx.read_only = value.as_deref().is_some_and(settings::is_on);
        }
        let parameter_status = self.settings.set(name, value)?;
        Ok(Executed { parameter_status, ..done(Outcome::Complete { tag: "SET".into() }) })
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

/// Plans a statement. A long one, or one with subqueries, may take long: other sessions do not wait for its thread.
fn beside_others<T>(text: &str, plan: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let shared = Handle::try_current().is_ok_and(|h| h.runtime_flavor() == RuntimeFlavor::MultiThread);
    let long = text.len() > SHORT_TEXT || text.to_ascii_lowercase().matches("select").nth(1).is_some();
    if shared && long { tokio::task::block_in_place(plan) } else { plan() }
}
