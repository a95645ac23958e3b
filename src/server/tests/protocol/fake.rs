//! A backend in memory for protocol tests. Its statements are words, not SQL:
//!
//! `rows N` (int4 0..N) · `echo TYPE $1` · `stream` (one row, then silence) · `half` (rows, then
//! an error) · `slow` (never completes) · `fail` ·
//! `notice` · `begin` · `commit` · `timeout MS` · `SET`; anything else is 42601.

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use hw_coordinator::session::{Executed, Notice, Outcome, Prepared, RowStream, TransactionStatus};
use hw_repr::datum::datums_to_array;
use hw_repr::{Column, Datum, RelationDesc, SqlError, SqlState, SqlType};
use hw_server::backend::{AuthRule, Backend, ScramVerifier, SessionBackend};
use hw_server::pg;
use ring::{digest, hmac, pbkdf2};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Every type, by the name `echo` takes.
const PLAIN: [SqlType; 21] = [
    SqlType::Bool,
    SqlType::Int2,
    SqlType::Int4,
    SqlType::Int8,
    SqlType::Float4,
    SqlType::Float8,
    SqlType::Numeric(None),
    SqlType::Numeric(Some((10, 2))),
    SqlType::Text,
    SqlType::Varchar(Some(5)),
    SqlType::Bytea,
    SqlType::Date,
    SqlType::Time,
    SqlType::Timestamp,
    SqlType::TimestampTz,
    SqlType::Interval,
    SqlType::Uuid,
    SqlType::Jsonb,
    SqlType::Json,
    SqlType::Char(None),
    SqlType::Alias(hw_repr::AliasType::Oid),
];

/// Those of [`PLAIN`], and one of the arrays.
pub fn types() -> Vec<SqlType> {
    PLAIN.into_iter().chain(SqlType::Int4.array_of()).chain([SqlType::Varbit(None)]).collect()
}

/// The backend; `running` counts streams and statements that are neither done nor dropped.
pub struct Fake {
    pub ready: watch::Sender<bool>,
    pub password: Option<&'static str>,
    pub running: Arc<AtomicUsize>,
}

/// Starts a server over a fake backend.
pub async fn serve(password: Option<&'static str>, connections_max: usize, ready: bool) -> (SocketAddr, Arc<Fake>) {
    let fake = Arc::new(Fake { ready: watch::Sender::new(ready), password, running: Arc::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(pg::serve(listener, pg::Shared::new(fake.clone(), connections_max, CancellationToken::new())));
    (addr, fake)
}

#[async_trait]
impl Backend for Fake {
    async fn ready(&self) -> Result<(), SqlError> {
        let mut ready = self.ready.subscribe();
        ready.wait_for(|r| *r).await.map(|_| ()).map_err(|_| SqlError::internal("gone"))
    }
    fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }
    async fn shutdown(&self) {}
    async fn metrics(&self) -> String {
        "fake_metric 1\n".into()
    }
    async fn scram_verifier(&self, user: &str) -> Result<AuthRule, SqlError> {
        Ok(match self.password {
            None => AuthRule::Trust,
            Some(password) if user == "headwater" => AuthRule::Scram(verifier(password)),
            Some(_) => AuthRule::Reject,
        })
    }
    async fn has_password(&self) -> Result<bool, SqlError> {
        Ok(self.password.is_some())
    }
    fn session(&self, _user: String, _database: String, _app: Option<String>) -> Box<dyn SessionBackend> {
        Box::new(FakeSession { running: self.running.clone(), in_block: false, timeout: None })
    }
}

fn verifier(password: &str) -> ScramVerifier {
    let (salt, mut salted) = (b"0123456789abcdef".to_vec(), [0u8; 32]);
    let rounds = std::num::NonZeroU32::new(4096).expect("not zero");
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let client_key = hmac::sign(&key, b"Client Key");
    ScramVerifier {
        salt,
        iterations: 4096,
        stored_key: digest::digest(&digest::SHA256, client_key.as_ref()).as_ref().to_vec(),
        server_key: hmac::sign(&key, b"Server Key").as_ref().to_vec(),
    }
}

struct FakeSession {
    running: Arc<AtomicUsize>,
    in_block: bool,
    timeout: Option<Duration>,
}

struct Running(Arc<AtomicUsize>);
impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Running {
        count.fetch_add(1, Ordering::SeqCst);
        Running(count.clone())
    }
}
impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn one_column(ty: SqlType) -> RelationDesc {
    RelationDesc::new(vec![Column { name: "v".into(), ty, nullable: true }])
}

fn int_batch(values: std::ops::Range<i32>) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int32Array::from_iter_values(values));
    RecordBatch::try_new(one_column(SqlType::Int4).schema(), vec![column]).expect("matches")
}

fn echo_type(rest: &str) -> Option<SqlType> {
    types().into_iter().find(|t| Some(t.to_string().as_str()) == rest.strip_suffix(" $1"))
}

#[async_trait]
impl SessionBackend for FakeSession {
    async fn prepare(&mut self, sql: &str, _declared: &[Option<SqlType>]) -> Result<Prepared, SqlError> {
        let sql = sql.trim();
        let (word, rest) = sql.split_once(' ').unwrap_or((sql, ""));
        let (param_types, desc) = match word {
            "rows" | "stream" | "half" => (vec![], Some(one_column(SqlType::Int4))),
            "echo" => {
                let ty = echo_type(rest).ok_or_else(|| SqlError::new(SqlState::UNDEFINED_OBJECT, "no such type"))?;
                (vec![ty], Some(one_column(ty)))
            }
            "slow" | "fail" | "notice" | "begin" | "commit" | "timeout" | "SET" | "" => (vec![], None),
            _ => {
                let error = SqlError::new(SqlState::SYNTAX, format!("syntax error at or near \"{word}\""));
                return Err(error.detail("A detail.").hint("A hint.").at(1));
            }
        };
        Ok(Prepared::new(sql, param_types, desc))
    }

    fn split(&mut self, sql: &str) -> Result<Vec<(usize, String)>, SqlError> {
        let mut parts = Vec::new();
        let mut at = 0;
        for part in sql.split(';') {
            if !part.trim().is_empty() {
                let lead = part.len() - part.trim_start().len();
                parts.push((at + lead, part.trim().to_owned()));
            }
            at += part.len() + 1;
        }
        Ok(parts)
    }

    async fn execute(&mut self, prepared: &Prepared, params: Vec<Datum>) -> Result<Executed, SqlError> {
        let (word, rest) = prepared.sql.split_once(' ').unwrap_or((&prepared.sql, ""));
        let (mut notices, running) = (vec![], Running::new(&self.running));
        let rows =
            |rows: RowStream, ty| Outcome::Rows { desc: one_column(ty), rows, tag: "SELECT", count_in_tag: true };
        let outcome = match word {
            "rows" => {
                let n: i32 = rest.parse().expect("test");
                let batches = (0..n).step_by(100).map(move |at| Ok(int_batch(at..n.min(at + 100))));
                rows(stream::iter(batches.collect::<Vec<_>>()).boxed(), SqlType::Int4)
            }
            "echo" => {
                let ty = prepared.param_types[0];
                let array = datums_to_array(ty, &params).expect("in range");
                let batch = RecordBatch::try_new(one_column(ty).schema(), vec![array]).expect("matches");
                rows(stream::iter([Ok(batch)]).boxed(), ty)
            }
            "stream" => {
                let silence = stream::pending().map(move |x| {
                    let _ = &running;
                    x
                });
                rows(stream::iter([Ok(int_batch(0..1))]).chain(silence).boxed(), SqlType::Int4)
            }
            "half" => {
                let error = SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero");
                rows(stream::iter([Ok(int_batch(0..3)), Err(error)]).boxed(), SqlType::Int4)
            }
            "slow" => std::future::pending().await,
            "fail" => return Err(SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero")),
            "" => Outcome::Empty,
            _ => {
                match word {
                    "begin" => self.in_block = true,
                    "commit" => self.in_block = false,
                    "timeout" => self.timeout = Some(Duration::from_millis(rest.parse().expect("test"))),
                    _ => {}
                }
                if word == "notice" {
                    let error = SqlError::new(SqlState::new("00000"), "take notice");
                    notices.push(Notice { severity: "NOTICE", error });
                }
                Outcome::Complete { tag: word.to_uppercase() }
            }
        };
        Ok(Executed { outcome, notices, parameter_status: vec![] })
    }

    fn transaction_status(&self) -> TransactionStatus {
        if self.in_block { TransactionStatus::Active } else { TransactionStatus::Idle }
    }
    fn parameters(&self) -> Vec<(String, String)> {
        vec![("server_version".into(), "17.0".into()), ("client_encoding".into(), "UTF8".into())]
    }
    fn statement_timeout(&self) -> Option<Duration> {
        self.timeout
    }
    fn keep_identical(&mut self) {}
}
