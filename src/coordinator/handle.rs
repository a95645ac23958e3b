//! Starting the coordinator, and the handle that connections hold.

use crate::command::Command;
use crate::core::Core;
use crate::platform::Platform;
use crate::recovery;
use crate::session::Session;
use crate::sessions::Sessions;
use hw_catalog::CatalogSnapshot;
use hw_repr::{SqlError, SqlState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot, watch};

/// Messages that may wait for the coordinator.
const COMMAND_QUEUE: usize = 4096;

/// How to start.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Data directory; made where it does not exist.
    pub data_dir: PathBuf,
    /// Dataflow worker threads, at least 1.
    pub workers: usize,
    /// Bytes; reported, enforced by the pager when there is one.
    pub memory_limit: Option<usize>,
    /// Between checkpoints, while there are changes.
    pub checkpoint_interval: std::time::Duration,
    /// History that is kept of a relation once it was subscribed to.
    pub subscribe_resume: std::time::Duration,
    /// Password of the superuser in a new data directory.
    pub initial_password: Option<String>,
    /// Views keep nothing for readers; for benchmarks of the dataflow alone.
    pub discard_views: bool,
    /// Nothing is taken to be append-only; for benchmarks of the retractable forms.
    pub assume_retractions: bool,
    /// Materialized views that this start computes anew, by name.
    pub recompute: Vec<String>,
    /// Files and clock.
    pub platform: Platform,
}

/// What a client must show to log in.
#[derive(Clone, Debug)]
pub enum AuthRule {
    /// Nothing: no role has a password yet.
    Trust,
    /// SCRAM-SHA-256 against this verifier.
    Scram(ScramVerifier),
    /// No such role, or it has no password while others do.
    Reject,
}

/// RFC 5803's parts of a SCRAM-SHA-256 verifier.
#[derive(Clone, Debug)]
pub struct ScramVerifier {
    /// Salt.
    pub salt: Vec<u8>,
    /// Iterations.
    pub iterations: u32,
    /// StoredKey, 32 bytes.
    pub stored_key: [u8; 32],
    /// ServerKey, 32 bytes.
    pub server_key: [u8; 32],
}

#[derive(Clone)]
enum Phase {
    Starting,
    /// The catalog is loaded, so that clients can be authenticated; statements wait.
    Catalog,
    Ready,
    Failed(SqlError),
}

/// The coordinator as connections see it. Cheap to clone.
#[derive(Clone)]
pub struct CoordinatorHandle {
    pub(crate) tx: mpsc::Sender<Command>,
    pub(crate) snapshot: Arc<arc_swap::ArcSwap<CatalogSnapshot>>,
    phase: watch::Receiver<Phase>,
    statements: Arc<AtomicU64>,
    started: std::time::Instant,
    metrics: Arc<arc_swap::ArcSwap<String>>,
    pub(crate) sessions: Sessions,
    /// Name, value and description of what the server was started with.
    pub(crate) options: Arc<[(&'static str, String, &'static str)]>,
}

/// Starts recovery and then the coordinator in the background; returns at once. Must be called inside a tokio runtime.
///
/// Errors only where nothing could be started at all; what recovery finds is reported by [`CoordinatorHandle::ready`].
pub fn start(config: CoordinatorConfig) -> Result<CoordinatorHandle, SqlError> {
    if config.workers == 0 {
        return Err(SqlError::new(SqlState::INVALID_PARAMETER, "the number of workers must be at least 1"));
    }
    let (tx, rx) = mpsc::channel(COMMAND_QUEUE);
    let (phase_tx, phase) = watch::channel(Phase::Starting);
    let snapshot = Arc::new(arc_swap::ArcSwap::from_pointee(CatalogSnapshot::default()));
    let wake = Arc::new(tokio::sync::Notify::new());
    let metrics = Arc::new(arc_swap::ArcSwap::from_pointee(String::new()));
    let options = options(&config);
    let (weak, shared, notify, figures) = (tx.downgrade(), snapshot.clone(), wake.clone(), metrics.clone());
    tokio::spawn(async move {
        let early = phase_tx.clone();
        let loaded = move || drop(early.send(Phase::Catalog));
        let started =
            tokio::task::spawn_blocking(move || recovery::recover(&config, shared, weak, notify, figures, loaded))
                .await;
        let mut core: Core = match started {
            Ok(Ok(core)) => core,
            Ok(Err(e)) => return drop(phase_tx.send(Phase::Failed(e))),
            Err(e) => return drop(phase_tx.send(Phase::Failed(SqlError::internal(format!("recovery failed: {e}"))))),
        };
        loop {
            core.note_durables();
            core.observe_progress();
            core.step_hydration();
            if core.recovered() {
                break;
            }
            let _ = tokio::time::timeout(std::time::Duration::from_millis(5), wake.notified()).await;
        }
        let _ = phase_tx.send(Phase::Ready);
        core.run(rx, wake).await;
    });
    Ok(CoordinatorHandle {
        tx,
        snapshot,
        phase,
        statements: Arc::default(),
        started: std::time::Instant::now(),
        metrics,
        sessions: Sessions::default(),
        options,
    })
}

fn options(config: &CoordinatorConfig) -> Arc<[(&'static str, String, &'static str)]> {
    let memory = config.memory_limit.map_or_else(|| "none".to_string(), |bytes| bytes.to_string());
    let seconds = |d: std::time::Duration| format!("{}s", d.as_secs());
    Arc::new([
        (
            "checkpoint_interval",
            seconds(config.checkpoint_interval),
            "Time between checkpoints while there are changes.",
        ),
        ("data_dir", config.data_dir.display().to_string(), "Where the data is kept."),
        ("memory_limit", memory, "Memory limit of the process in bytes."),
        (
            "subscribe_resume",
            seconds(config.subscribe_resume),
            "History that is kept of a relation that was subscribed to.",
        ),
        ("workers", config.workers.to_string(), "Dataflow worker threads."),
    ])
}

impl CoordinatorHandle {
    /// Waits until statements are answered. Errors where recovery failed.
    pub async fn ready(&self) -> Result<(), SqlError> {
        self.reaches(|p| matches!(p, Phase::Ready)).await
    }

    /// Waits until roles and objects are known, which is before statements are answered. Errors where recovery failed.
    pub async fn catalog_loaded(&self) -> Result<(), SqlError> {
        self.reaches(|p| matches!(p, Phase::Catalog | Phase::Ready)).await
    }

    async fn reaches(&self, wanted: impl Fn(&Phase) -> bool) -> Result<(), SqlError> {
        let mut phase = self.phase.clone();
        let reached = phase.wait_for(|p| wanted(p) || matches!(p, Phase::Failed(_))).await;
        match reached.map(|p| p.clone()) {
            Ok(Phase::Failed(e)) => Err(e),
            Ok(_) => Ok(()),
            Err(_) => Err(SqlError::new(SqlState::ADMIN_SHUTDOWN, "the server is shutting down")),
        }
    }

    /// True once statements are answered.
    pub fn is_ready(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Ready)
    }

    /// Makes what is pending durable and stops the workers. During recovery nothing is pending.
    pub async fn shutdown(&self) {
        if !self.is_ready() {
            return;
        }
        let (reply, done) = oneshot::channel();
        if self.tx.send(Command::Shutdown { reply }).await.is_ok() {
            let _ = done.await;
        }
    }

    /// A session for a new connection.
    pub fn session(&self, user: String, database: String, application_name: Option<String>) -> Session {
        Session::new(self.clone(), user, database, application_name)
    }

    /// True once some role has a password.
    pub fn has_password(&self) -> bool {
        self.snapshot.load().has_password()
    }

    /// What `user` must show.
    pub fn scram_verifier(&self, user: &str) -> AuthRule {
        let catalog = self.snapshot.load();
        if !catalog.has_password() {
            return AuthRule::Trust;
        }
        match catalog.role(user).and_then(|r| r.verifier.clone()) {
            Some(v) => match (v.stored_key.try_into(), v.server_key.try_into()) {
                (Ok(stored_key), Ok(server_key)) => {
                    AuthRule::Scram(ScramVerifier { salt: v.salt, iterations: v.iterations, stored_key, server_key })
                }
                _ => AuthRule::Reject,
            },
            None => AuthRule::Reject,
        }
    }

    pub(crate) fn count_statement(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }

    /// Figures in Prometheus' text format.
    pub async fn metrics(&self) -> String {
        let uptime = self.started.elapsed().as_secs_f64();
        let statements = self.statements.load(Ordering::Relaxed);
        format!(
            "# TYPE headwater_uptime_seconds gauge\nheadwater_uptime_seconds {uptime}\n\
             # TYPE headwater_statements_total counter\nheadwater_statements_total {statements}\n\
             # TYPE headwater_sessions gauge\nheadwater_sessions {}\n{}",
            self.sessions.count(),
            self.metrics.load()
        )
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn request<T>(
        &self,
        make: impl FnOnce(crate::command::Reply<T>) -> Command,
    ) -> Result<T, SqlError> {
        let gone = || SqlError::new(SqlState::ADMIN_SHUTDOWN, "the server is shutting down");
        let (reply, answer) = oneshot::channel();
        self.tx.send(make(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
