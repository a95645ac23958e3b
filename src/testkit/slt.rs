//! sqllogictest files over the wire, plain or with the server killed between statements.

use crate::{HarnessError, Random, Server};
use async_trait::async_trait;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio_postgres::{Client, SimpleQueryMessage};

/// Whether the server is killed while a file runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restarts {
    /// Never.
    Never,
    /// With SIGKILL between statements, so many times in a hundred, at moments that follow from the seed; every other time after a
    /// checkpoint. The server starts again with one to three workers.
    Random {
        /// The seed.
        seed: u64,
        /// How often.
        percent: u64,
    },
}

/// Runs one file against a server of its own.
pub async fn run_file(path: &Path, restarts: Restarts, args: &[&str]) -> Result<(), HarnessError> {
    let server = Arc::new(Mutex::new(Server::start(args)?));
    let connect = || {
        let server = server.clone();
        let seed = if let Restarts::Random { seed, .. } = restarts { seed } else { 0 };
        let name = path.file_name().map(|n| n.as_encoded_bytes().to_vec()).unwrap_or_default();
        let random = Random::new(name.iter().fold(seed, |s, b| s.wrapping_mul(31) + u64::from(*b)));
        async move { Ok::<_, WireError>(Wire { server, client: None, restarts, random }) }
    };
    let mut runner = Runner::new(connect);
    let done = runner.run_file_async(path).await;
    done.map_err(|e| HarnessError(format!("{}: {e}", path.display())))
}

/// An error from the server, or on the way to it.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
struct WireError {
    code: String,
    message: String,
}

impl From<tokio_postgres::Error> for WireError {
    fn from(e: tokio_postgres::Error) -> Self {
        match e.as_db_error() {
            Some(db) => WireError { code: db.code().code().to_string(), message: db.message().to_string() },
            None => WireError { code: "08000".into(), message: e.to_string() },
        }
    }
}

impl From<HarnessError> for WireError {
    fn from(e: HarnessError) -> Self {
        WireError { code: "08000".into(), message: e.0 }
    }
}

struct Wire {
    server: Arc<Mutex<Server>>,
    client: Option<Client>,
    restarts: Restarts,
    random: Random,
}

impl Wire {
    async fn restart(&mut self) -> Result<(), WireError> {
        if let Some(client) = self.client.take().filter(|_| self.random.chance(50)) {
            client.simple_query("CHECKPOINT").await?;
        }
        let workers = (1 + self.random.below(3)).to_string();
        let mut server = self.server.lock().map_err(|_| HarnessError("a test panicked".into()))?;
        server.kill()?;
        Ok(server.restart_with(&["--workers", &workers])?)
    }

    async fn client(&mut self) -> Result<&Client, WireError> {
        if let Restarts::Random { percent, .. } = self.restarts
            && self.random.chance(percent)
        {
            self.restart().await?;
        }
        if self.client.is_none() {
            let addr = self.server.lock().map_err(|_| HarnessError("a test panicked".into()))?.pg_addr;
            let config = format!("host={} port={} user=headwater", addr.ip(), addr.port());
            let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await?;
            tokio::spawn(connection);
            self.client = Some(client);
        }
        Ok(self.client.as_ref().expect("connected above"))
    }
}

#[async_trait]
impl AsyncDB for Wire {
    type Error = WireError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, WireError> {
        let messages = self.client().await?.simple_query(sql).await?;
        let (mut types, mut rows, mut count) = (None, vec![], 0);
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(columns) => {
                    types = Some(vec![DefaultColumnType::Text; columns.len()]);
                }
                SimpleQueryMessage::Row(row) => rows.push((0..row.len()).map(|i| show(row.get(i))).collect()),
                SimpleQueryMessage::CommandComplete(n) => count = n,
                _ => {}
            }
        }
        Ok(match types {
            Some(types) => DBOutput::Rows { types, rows },
            None => DBOutput::StatementComplete(count),
        })
    }

    async fn shutdown(&mut self) {
        self.client = None;
    }

    fn engine_name(&self) -> &str {
        "headwater"
    }

    fn error_sql_state(error: &WireError) -> Option<String> {
        Some(error.code.clone())
    }
}

/// A value as the files write it.
fn show(value: Option<&str>) -> String {
    match value {
        None => "NULL".into(),
        Some("") => "(empty)".into(),
        Some(text) => text.to_string(),
    }
}
