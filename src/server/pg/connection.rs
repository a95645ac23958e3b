//! One authenticated connection: its message loop, the simple query protocol, and running a statement.
//!
//! The socket is read by a task of its own, so that a client that leaves is noticed while rows are awaited. Invariant:
//! the reading task ends with the connection.

use crate::backend::SessionBackend;
use crate::pg::Shared;
use crate::pg::cancel::{CancelHandle, Control};
use crate::pg::encode::Format;
use crate::pg::extended::{Portal, Statement};
use crate::pg::frontend::{self, Frontend, MESSAGE_BYTES_MAX, ReadError};
use crate::pg::output::Output;
use crate::pg::rows::{Portion, RowCursor};
use crate::pg::startup::key_data;
use futures::FutureExt;
use hw_coordinator::session::{Executed, Outcome, Prepared, TransactionStatus};
use hw_repr::{Datum, SqlError, SqlState};
use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::response::EmptyQueryResponse;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Messages read ahead of their execution.
const READ_AHEAD_MESSAGES: usize = 8;

/// Bytes read from the socket at a time.
const READ_BYTES: usize = 32 << 10;

/// Why something on a connection ended early.
#[derive(Debug)]
pub enum Fail {
    /// The statement failed: the client is told.
    Sql(SqlError),
    /// The connection is of no more use.
    Io(io::Error),
}
impl From<SqlError> for Fail {
    fn from(e: SqlError) -> Fail {
        Fail::Sql(e)
    }
}
impl From<io::Error> for Fail {
    fn from(e: io::Error) -> Fail {
        Fail::Io(e)
    }
}
impl From<ReadError> for Fail {
    fn from(e: ReadError) -> Fail {
        match e {
            ReadError::Io(e) => Fail::Io(e),
            ReadError::NotText(error) => Fail::Sql(error),
            ReadError::Malformed(what) => Fail::Sql(SqlError::new(SqlState::PROTOCOL_VIOLATION, what)),
        }
    }
}

/// What clients hear when the server stops.
pub fn shutting_down() -> SqlError {
    SqlError::new(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
}

/// The state of one connection.
pub struct Connection<'a> {
    pub(super) out: &'a mut Output,
    pub(super) session: Box<dyn SessionBackend>,
    pub(super) statements: HashMap<String, Arc<Statement>>,
    pub(super) portals: HashMap<String, Portal>,
    shared: Arc<Shared>,
    pub(super) messages: mpsc::Receiver<Result<Frontend, ReadError>>,
    reading: AbortHandle,
    /// Cancelled when the client has closed its side.
    gone: CancellationToken,
    key: CancelHandle,
    /// Settings of the startup message, applied before the first statement.
    startup_settings: Vec<(String, String)>,
    /// After an error in an extended query, messages are skipped up to the next Sync.
    skip_to_sync: bool,
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

fn spawn_reader(
    reader: OwnedReadHalf,
    gone: CancellationToken,
) -> (mpsc::Receiver<Result<Frontend, ReadError>>, AbortHandle) {
    let (sender, messages) = mpsc::channel(READ_AHEAD_MESSAGES);
    let task = tokio::spawn(async move {
        let _gone = gone.drop_guard();
        let mut reader = tokio::io::BufReader::with_capacity(READ_BYTES, reader);
        while let Some(message) = frontend::read_message(&mut reader, MESSAGE_BYTES_MAX).await.transpose() {
            let last = message.is_err();
            if sender.send(message).await.is_err() || last {
                return;
            }
        }
    });
    (messages, task.abort_handle())
}

/// The settings in a startup message: every parameter that is none of the protocol's own, and `-c name=value` in
/// `options`.
fn startup_settings(parameters: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    let options = parameters.get("options").map(String::as_str).unwrap_or_default();
    let mut words = options.split_whitespace();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--") {
            Some(long) => long,
            None if word == "-c" => words.next().unwrap_or_default(),
            None => word.strip_prefix("-c").unwrap_or(word),
        };
        if let Some((name, value)) = setting.split_once('=') {
            settings.push((name.replace('-', "_"), value.to_owned()));
        }
    }
    let own = ["user", "database", "options", "application_name", "replication"];
    let others = parameters.iter().filter(|(k, _)| !own.contains(&k.as_str()) && !k.starts_with("_pq_."));
    settings.extend(others.map(|(k, v)| (k.clone(), v.clone())));
    settings
}

impl<'a> Connection<'a> {
    /// For a user that is authenticated.
    pub fn new(
        reader: OwnedReadHalf,
        out: &'a mut Output,
        shared: Arc<Shared>,
        user: String,
        parameters: BTreeMap<String, String>,
    ) -> Connection<'a> {
        let gone = CancellationToken::new();
        let (messages, reading) = spawn_reader(reader, gone.clone());
        let database = parameters.get("database").filter(|d| !d.is_empty()).unwrap_or(&user).clone();
        let application_name = parameters.get("application_name").cloned();
        Connection {
            out,
            session: shared.backend.session(user, database, application_name),
            statements: HashMap::new(),
            portals: HashMap::new(),
            messages,
            reading,
            gone,
            key: shared.registry.register(),
            shared,
            startup_settings: startup_settings(&parameters),
            skip_to_sync: false,
        }
    }

    /// Serves until the client leaves, an error that ends the connection, or shutdown.
    pub async fn run(&mut self) -> Result<(), Fail> {
        let shutdown = self.shared.shutdown.clone();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Err(shutting_down().into()),
            result = self.serve() => result,
        }
    }

    async fn serve(&mut self) -> Result<(), Fail> {
        for (name, value) in self.session.parameters() {
            self.out.put_parameter(&name, &value)?;
        }
        self.session.set_pid(self.key.pid);
        self.out.put(&key_data(self.key.pid, self.key.secret))?;
        self.ready_for_query()?;
        loop {
            let message = match self.messages.try_recv() {
                Ok(message) => Some(message),
                Err(_) => {
                    self.out.flush().await?;
                    self.messages.recv().await
                }
            };
            match message.transpose()? {
                None | Some(Frontend::Terminate) => return Ok(()),
                Some(message) => self.handle(message).await?,
            }
        }
    }

    async fn handle(&mut self, message: Frontend) -> Result<(), Fail> {
        match message {
            Frontend::Sync => {
                self.skip_to_sync = false;
                self.ready_for_query()?;
                return Ok(self.out.flush().await?);
            }
            _ if self.skip_to_sync => return Ok(()),
            Frontend::Query(sql) => {
                let result = self.simple_query(&sql).await;
                self.report(result)?;
                self.ready_for_query()?;
                return Ok(self.out.flush().await?);
            }
            Frontend::NotText(true, error) => {
                self.report(Err(Fail::Sql(error)))?;
                self.ready_for_query()?;
                return Ok(self.out.flush().await?);
            }
            Frontend::FunctionCall => {
                let error = SqlError::unsupported("function calls of the fast path are not supported");
                self.out.put_error("ERROR", &error)?;
                return Ok(self.ready_for_query()?);
            }
            Frontend::Flush => return Ok(self.out.flush().await?),
            _ => {}
        }
        let result = self.extended(message).await;
        self.skip_to_sync = matches!(result, Err(Fail::Sql(_)));
        self.report(result)
    }

    /// Tells the client of a failed statement; passes on what ends the connection.
    fn report(&mut self, result: Result<(), Fail>) -> Result<(), Fail> {
        match result {
            Err(Fail::Sql(error)) => {
                tracing::debug!(code = error.code.as_str(), message = %error.message, "statement failed");
                self.session.statement_failed();
                Ok(self.out.put_error("ERROR", &error)?)
            }
            other => other,
        }
    }

    /// Outside a transaction block no portal outlives its statement.
    fn ready_for_query(&mut self) -> io::Result<()> {
        let status = self.session.transaction_status();
        if status == TransactionStatus::Idle {
            self.portals.clear();
        }
        self.out.put_ready(status)
    }

    /// Begins a statement's time.
    pub(super) fn begin(&self) -> Control {
        let deadline = self.session.statement_timeout().and_then(|t| Instant::now().checked_add(t));
        self.key.begin(deadline, self.gone.clone())
    }

    /// Waits until statements are answered; the first time applies the startup message's settings.
    pub(super) async fn settle(&mut self, control: &Control) -> Result<(), Fail> {
        if !self.shared.backend.is_ready() {
            self.out.flush().await?;
            control.guard_rows(self.shared.backend.ready()).await??;
        }
        for (name, value) in std::mem::take(&mut self.startup_settings) {
            if let Err(error) = self.apply_setting(&name, &value, control).await? {
                let message = format!("startup setting \"{name}\" is not applied: {}", error.message);
                self.out.put_notice("WARNING", &SqlError::new(error.code, message))?;
            }
        }
        Ok(())
    }

    async fn apply_setting(
        &mut self,
        name: &str,
        value: &str,
        control: &Control,
    ) -> Result<Result<(), SqlError>, Fail> {
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.') {
            return Ok(Err(SqlError::new(SqlState::INVALID_NAME, "it is not the name of a setting")));
        }
        let sql = format!("SET {name} = '{}'", value.replace('\'', "''"));
        let set = async {
            let prepared = self.session.prepare(&sql, &[]).await?;
            self.session.execute(&prepared, vec![]).await
        };
        match control.guard(set).await? {
            Ok(executed) => {
                self.tell(&executed)?;
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Sends a result's notices and changed settings.
    fn tell(&mut self, executed: &Executed) -> io::Result<()> {
        for notice in &executed.notices {
            self.out.put_notice(notice.severity, &notice.error)?;
        }
        for (name, value) in &executed.parameter_status {
            self.out.put_parameter(name, value)?;
        }
        Ok(())
    }

    /// Runs a statement up to its first rows, and sends its notices.
    pub(super) async fn execute(
        &mut self,
        prepared: &Prepared,
        params: Vec<Datum>,
        control: &Control,
    ) -> Result<Outcome, Fail> {
        let executed = {
            let commit = self.session.begin_statement();
            let mut work = std::pin::pin!(control.guard_commit(self.session.execute(prepared, params), &commit));
            match work.as_mut().now_or_never() {
                Some(done) => done,
                None => {
                    // It takes a while: what came before it is not kept from the client.
                    self.out.flush().await?;
                    work.await
                }
            }??
        };
        self.tell(&executed)?;
        Ok(executed.outcome)
    }

    async fn simple_query(&mut self, sql: &str) -> Result<(), Fail> {
        self.statements.remove("");
        self.portals.remove("");
        let control = self.begin();
        self.settle(&control).await?;
        let parts = self.session.split(sql)?;
        drop(control);
        if parts.is_empty() {
            self.out.put(&Message::EmptyQueryResponse(EmptyQueryResponse::new()))?;
        }
        for (offset, text) in parts {
            let control = self.begin();
            self.simple_statement(&text, &control).await.map_err(|fail| shift_position(fail, sql, offset))?;
        }
        Ok(())
    }

    async fn simple_statement(&mut self, sql: &str, control: &Control) -> Result<(), Fail> {
        let prepared = control.guard(self.session.prepare(sql, &[])).await??;
        if !prepared.param_types.is_empty() {
            return Err(SqlError::new(SqlState::UNDEFINED_PARAMETER, "there is no parameter $1").into());
        }
        match self.execute(&prepared, vec![], control).await? {
            Outcome::Empty => self.out.put(&Message::EmptyQueryResponse(EmptyQueryResponse::new()))?,
            Outcome::Complete { tag } => self.out.put_complete(tag)?,
            Outcome::CopyIn(copy) => self.copy_in(copy, control).await?,
            Outcome::CopyOut { desc, rows, options } => self.copy_out(desc, rows, options, control).await?,
            Outcome::Rows { desc, rows, tag, count_in_tag } => {
                let formats = vec![Format::Text; desc.arity()];
                self.out.put_description(Some(&desc), &formats)?;
                let mut cursor = RowCursor::new(desc, formats, rows, tag, count_in_tag);
                if let Portion::Complete(tag) = cursor.send(0, self.out, control).await? {
                    self.out.put_complete(tag)?;
                }
            }
        }
        Ok(())
    }
}

/// A position within one statement becomes one within the query string: positions count characters from one, `offset`
/// is in bytes.
fn shift_position(fail: Fail, sql: &str, offset: usize) -> Fail {
    match fail {
        Fail::Sql(mut error) => {
            let before = sql.get(..offset).map_or(0, |s| s.chars().count());
            error.position = error.position.map(|p| p + before);
            Fail::Sql(error)
        }
        other => other,
    }
}
