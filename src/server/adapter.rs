//! The coordinator behind the server's [`Backend`] trait. Translation only, no decisions.

use crate::backend::{AuthRule, Backend, ScramVerifier, SessionBackend};
use arrow::array::RecordBatch;
use async_trait::async_trait;
use hw_coordinator::CopyIn;
use hw_coordinator::session::Session;
use hw_coordinator::session::{CommitPoint, Executed, Prepared, TransactionStatus};
use hw_coordinator::{CoordinatorConfig, CoordinatorHandle};
use hw_repr::{Datum, SqlError, SqlType};
use std::sync::Arc;
use std::time::Duration;

/// Starts a coordinator. Must run inside a tokio runtime; recovery goes on behind the returned backend.
pub fn start(config: CoordinatorConfig) -> Result<Arc<dyn Backend>, SqlError> {
    Ok(Arc::new(Coordinator(hw_coordinator::start(config)?)))
}

struct Coordinator(CoordinatorHandle);

#[async_trait]
impl Backend for Coordinator {
    async fn ready(&self) -> Result<(), SqlError> {
        self.0.ready().await
    }
    fn is_ready(&self) -> bool {
        self.0.is_ready()
    }
    async fn shutdown(&self) {
        self.0.shutdown().await;
    }
    async fn metrics(&self) -> String {
        self.0.metrics().await
    }
    // Until recovery has read the catalog, its roles look as if none had a password: wait for it.
    async fn scram_verifier(&self, user: &str) -> Result<AuthRule, SqlError> {
        self.0.catalog_loaded().await?;
        Ok(match self.0.scram_verifier(user) {
            hw_coordinator::AuthRule::Trust => AuthRule::Trust,
            hw_coordinator::AuthRule::Scram(v) => AuthRule::Scram(ScramVerifier {
                salt: v.salt,
                iterations: v.iterations,
                stored_key: v.stored_key.to_vec(),
                server_key: v.server_key.to_vec(),
            }),
            hw_coordinator::AuthRule::Reject => AuthRule::Reject,
        })
    }
    async fn has_password(&self) -> Result<bool, SqlError> {
        self.0.catalog_loaded().await?;
        Ok(self.0.has_password())
    }
    fn session(&self, user: String, database: String, application_name: Option<String>) -> Box<dyn SessionBackend> {
        Box::new(CoordinatorSession(self.0.session(user, database, application_name)))
    }
}

struct CoordinatorSession(Session);

#[async_trait]
impl SessionBackend for CoordinatorSession {
    async fn prepare(&mut self, sql: &str, declared: &[Option<SqlType>]) -> Result<Prepared, SqlError> {
        self.0.prepare(sql, declared).await
    }
    fn split(&mut self, sql: &str) -> Result<Vec<(usize, String)>, SqlError> {
        self.0.split(sql)
    }
    async fn execute(&mut self, prepared: &Prepared, params: Vec<Datum>) -> Result<Executed, SqlError> {
        self.0.execute(prepared, params).await
    }
    async fn copy_rows(&mut self, copy: &mut CopyIn, rows: RecordBatch, lines: Vec<u32>) -> Result<(), SqlError> {
        self.0.copy_rows(copy, rows, lines).await
    }
    async fn copy_done(&mut self, copy: Box<CopyIn>) -> Result<Executed, SqlError> {
        self.0.copy_done(copy).await
    }
    fn begin_statement(&mut self) -> Arc<CommitPoint> {
        self.0.begin_statement()
    }
    fn statement_failed(&mut self) {
        self.0.statement_failed();
    }
    fn transaction_status(&self) -> TransactionStatus {
        self.0.transaction_status()
    }
    fn parameters(&self) -> Vec<(String, String)> {
        self.0.parameters()
    }
    fn statement_timeout(&self) -> Option<Duration> {
        self.0.statement_timeout()
    }
    fn keep_identical(&mut self) {
        self.0.keep_identical();
    }
    fn set_pid(&mut self, pid: i32) {
        self.0.set_backend_pid(pid);
    }
}
