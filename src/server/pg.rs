//! The PostgreSQL wire protocol: listening, and the modules of one connection.
//!
//! A connection is one task (plus one that reads its socket). It owns its statements, portals and session; what the
//! connections share is here: the backend, the slots and the registry of cancel keys.

pub mod cancel;
pub mod connection;
pub mod copy;
pub mod decode;
pub mod encode;
pub mod extended;
pub mod frontend;
pub mod numeric;
pub mod output;
pub mod rows;
pub mod scram;
pub mod startup;

use crate::backend::Backend;
use cancel::CancelRegistry;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What all connections share.
pub struct Shared {
    /// The database.
    pub backend: Arc<dyn Backend>,
    /// Cancel keys of the open connections.
    pub registry: Arc<CancelRegistry>,
    /// One permit per open session.
    pub slots: Arc<Semaphore>,
    /// Makes decoy verifiers of unknown users.
    pub process_secret: [u8; 32],
    /// Ends every connection.
    pub shutdown: CancellationToken,
}

impl Shared {
    /// For at most `connections_max` sessions.
    pub fn new(backend: Arc<dyn Backend>, connections_max: usize, shutdown: CancellationToken) -> Arc<Shared> {
        Arc::new(Shared {
            backend,
            registry: Arc::default(),
            slots: Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS))),
            process_secret: rand::random(),
            shutdown,
        })
    }
}

/// Accepts connections until `shared.shutdown`, then waits for the open ones to end.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = shared.shutdown.cancelled() => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                let shared = shared.clone();
                tasks.spawn(async move {
                    tracing::debug!(%peer, "connected");
                    startup::handle(socket, shared).await;
                    tracing::debug!(%peer, "disconnected");
                });
            }
            Err(error) => {
                // Out of file descriptors or the like: the others go on, and this may pass.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}
