//! The life of a server process: bind, start, say ready, wait for a signal, stop.

use crate::adapter;
use crate::backend::Backend;
use crate::config::{self, Command, CommandLine, Config};
use crate::{http, pg, run};
use hw_coordinator::{CoordinatorConfig, failpoint};
use hw_repr::SqlError;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Time that clients are given to take their last message.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(700);

/// Runs the command. The error is for the user; the process then exits with 1.
pub async fn main(line: CommandLine) -> Result<(), String> {
    let config = line.options.resolve()?;
    if let Some(point) = config::fail_point()? {
        failpoint::arm(&point).map_err(|e| describe(&e))?;
    }
    let files = match line.command {
        None | Some(Command::Start) => vec![],
        Some(Command::Run { paths }) => run::read_files(&paths)?,
        Some(Command::FailPoints) => {
            failpoint::names().iter().for_each(|name| println!("{name}"));
            return Ok(());
        }
        Some(Command::Verify { directory }) => return verify(directory.unwrap_or(config.data_dir)).await,
        Some(Command::Repair { directory, accept_loss }) => {
            return repair(directory.unwrap_or(config.data_dir), accept_loss).await;
        }
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| format!("cannot handle SIGTERM: {e}"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| format!("cannot handle SIGINT: {e}"))?;
    let server = Server::start(config).await?;
    let result = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        result = server.operate(&files) => result,
    };
    tracing::info!("shutting down");
    server.stop().await;
    result
}

/// Prints what is in a data directory, and fails where something is damaged.
async fn verify(directory: PathBuf) -> Result<(), String> {
    let report = tokio::task::spawn_blocking(move || hw_coordinator::verify(&directory)).await;
    let report = report.map_err(|e| e.to_string())?.map_err(|e| describe(&e))?;
    for (path, what) in &report.sound {
        println!("sound    {}: {what}", path.display());
    }
    for warning in &report.warnings {
        println!("warning  {warning}");
    }
    for problem in &report.problems {
        println!("damaged  {}", problem.message);
    }
    match report.problems.len() {
        0 => Ok(()),
        n => Err(format!("{n} {} damaged", if n == 1 { "place is" } else { "places are" })),
    }
}

/// Says what a repair would do, or does it; fails where damage is left.
async fn repair(directory: PathBuf, accept_loss: bool) -> Result<(), String> {
    let path = absolute(directory)?;
    let report = tokio::task::spawn_blocking(move || hw_coordinator::repair(&path, accept_loss)).await;
    let report = report.map_err(|e| e.to_string())?.map_err(|e| describe(&e))?;
    print!("{}", report.text());
    if let Some(kept_in) = &report.kept_in {
        println!("repaired; what was replaced is kept in {}", kept_in.display());
        return Ok(());
    }
    match (report.damaged.is_empty(), report.cannot.is_some()) {
        (true, _) => {
            println!("nothing is damaged");
            Ok(())
        }
        (_, true) => Err("this cannot be repaired; nothing was changed. Restore the directory from a backup.".into()),
        _ => Err("nothing was changed. With --accept-loss this is done; make a copy of the directory first.".into()),
    }
}

struct Server {
    backend: Arc<dyn Backend>,
    shutdown: CancellationToken,
    listeners: JoinSet<()>,
    pg_addr: SocketAddr,
    http_addr: SocketAddr,
}

async fn bind(what: &str, addr: &str) -> Result<(TcpListener, SocketAddr), String> {
    let failed = |e: std::io::Error| format!("cannot listen for {what} on {addr}: {e}");
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}

fn describe(error: &SqlError) -> String {
    let mut text = error.message.clone();
    for (label, more) in [("detail", &error.detail), ("hint", &error.hint)] {
        if let Some(more) = more {
            text.push_str(&format!("\n{label}: {more}"));
        }
    }
    text
}

/// Only where it matters are the roles waited for, so that loopback clients can connect during recovery.
async fn check_listener(backend: &dyn Backend, pg: SocketAddr) -> Result<(), String> {
    let has_password = pg.ip().is_loopback() || backend.has_password().await.map_err(|e| describe(&e))?;
    config::refuse_open_listener(pg, has_password)
}

impl Server {
    /// The ports are bound first, so that clients can connect during recovery.
    async fn start(config: Config) -> Result<Server, String> {
        let initial_password = config::initial_password()?;
        let (pg_listener, pg_addr) = bind("PostgreSQL clients", &config.pg_addr).await?;
        let (http_listener, http_addr) = bind("HTTP", &config.http_addr).await?;
        let backend = adapter::start(CoordinatorConfig {
            data_dir: absolute(config.data_dir)?,
            workers: config.workers,
            memory_limit: config.memory_limit,
            checkpoint_interval: config.checkpoint_interval,
            subscribe_resume: config.subscribe_resume,
            initial_password,
            discard_views: false,
            assume_retractions: false,
            recompute: config.recompute,
            platform: hw_coordinator::Platform::default(),
        })
        .map_err(|e| describe(&e))?;
        if let Err(refusal) = check_listener(backend.as_ref(), pg_addr).await {
            backend.shutdown().await;
            return Err(refusal);
        }
        let (shutdown, mut listeners) = (CancellationToken::new(), JoinSet::new());
        let shared = pg::Shared::new(backend.clone(), config.max_connections, shutdown.clone());
        listeners.spawn(pg::serve(pg_listener, shared));
        listeners.spawn(http::serve(http_listener, backend.clone(), shutdown.clone()));
        Ok(Server { backend, shutdown, listeners, pg_addr, http_addr })
    }

    /// From recovery to a signal. Ends only with an error.
    async fn operate(&self, files: &[run::SqlFile]) -> Result<(), String> {
        self.backend.ready().await.map_err(|e| describe(&e))?;
        run::apply(self.backend.as_ref(), files).await?;
        let mut text = format!("ready pg={} http={}\n", self.pg_addr, self.http_addr);
        if !files.is_empty() {
            let (host, port) = (self.pg_addr.ip(), self.pg_addr.port());
            text.push_str(&format!("\nConnect with\n  psql -h {host} -p {port} -U headwater headwater\n"));
            let suggestions = run::suggestions(files);
            if !suggestions.is_empty() {
                text.push_str("and try\n");
            }
            text.extend(suggestions.iter().map(|s| format!("  {s}\n")));
        }
        let mut stdout = std::io::stdout().lock();
        // A closed standard output is no reason to stop serving.
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        drop(stdout);
        std::future::pending().await
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        let ended = async { while self.listeners.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL_TIMEOUT, ended).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        self.backend.shutdown().await;
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf, String> {
    std::path::absolute(&path).map_err(|e| format!("cannot use the data directory {}: {e}", path.display()))
}
