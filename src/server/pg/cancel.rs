//! Cancel keys, and what a running statement can be ended by: a cancel request, its timeout, a client that left.

use crate::pg::connection::Fail;
use hw_coordinator::session::CommitPoint;
use hw_repr::{SqlError, SqlState};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

type Slot = Arc<Mutex<Option<CancellationToken>>>;

/// The cancel keys of the open connections.
#[derive(Default)]
pub struct CancelRegistry {
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    next_pid: i32,
    by_pid: HashMap<i32, (i32, Slot)>,
}

/// A connection's entry; dropping it removes the key.
pub struct CancelHandle {
    /// For BackendKeyData.
    pub pid: i32,
    /// For BackendKeyData.
    pub secret: i32,
    slot: Slot,
    registry: Arc<CancelRegistry>,
}

impl CancelRegistry {
    /// A key for a new connection.
    pub fn register(self: &Arc<Self>) -> CancelHandle {
        let (secret, slot) = (rand::random::<i32>(), Slot::default());
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            keys.next_pid = keys.next_pid.checked_add(1).unwrap_or(1);
            let pid = keys.next_pid;
            if let std::collections::hash_map::Entry::Vacant(e) = keys.by_pid.entry(pid) {
                e.insert((secret, slot.clone()));
                return CancelHandle { pid, secret, slot, registry: self.clone() };
            }
        }
    }

    /// Cancels the statement that runs on the connection with this key, if one does. A wrong key does nothing.
    pub fn cancel(&self, pid: i32, secret: i32) {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((expected, slot)) = keys.by_pid.get(&pid)
            && *expected == secret
            && let Some(token) = &*slot.lock().unwrap_or_else(PoisonError::into_inner)
        {
            token.cancel();
        }
    }
}

impl Drop for CancelHandle {
    fn drop(&mut self) {
        self.registry.keys.lock().unwrap_or_else(PoisonError::into_inner).by_pid.remove(&self.pid);
    }
}

impl CancelHandle {
    /// Begins a statement: what can end it from now on, until the returned value is dropped.
    pub fn begin(&self, deadline: Option<Instant>, gone: CancellationToken) -> Control {
        let token = CancellationToken::new();
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Control { token, deadline, gone, slot: self.slot.clone() }
    }
}

/// What can end the running statement.
pub struct Control {
    token: CancellationToken,
    deadline: Option<Instant>,
    gone: CancellationToken,
    slot: Slot,
}

impl Drop for Control {
    fn drop(&mut self) {
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Control {
    /// Fails where the statement was cancelled or its time is over.
    pub fn check(&self) -> Result<(), Fail> {
        if self.token.is_cancelled() {
            return Err(cancelled().into());
        }
        if self.deadline.is_some_and(|d| Instant::now() >= d) {
            return Err(timed_out().into());
        }
        Ok(())
    }

    /// `work`, unless a cancel request or the timeout comes first: then `work` is dropped.
    pub async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, Fail> {
        let timeout = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.token.cancelled() => Err(cancelled().into()),
            () = timeout => Err(timed_out().into()),
            done = work => Ok(done),
        }
    }

    /// As [`Control::guard`], for work that may commit: once it has begun to, its outcome is waited for.
    pub async fn guard_commit<T>(&self, work: impl Future<Output = T>, commit: &CommitPoint) -> Result<T, Fail> {
        let mut work = std::pin::pin!(work);
        match self.guard(work.as_mut()).await {
            Err(_) if !commit.withdraw() => Ok(work.await),
            other => other,
        }
    }

    /// As [`Control::guard`], for waiting for rows: it ends too when the client has closed the connection.
    pub async fn guard_rows<T>(&self, work: impl Future<Output = T>) -> Result<T, Fail> {
        tokio::select! {
            biased;
            () = self.gone.cancelled() => Err(Fail::Io(io::ErrorKind::ConnectionReset.into())),
            done = self.guard(work) => done,
        }
    }
}

fn cancelled() -> SqlError {
    SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")
}
fn timed_out() -> SqlError {
    SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to statement timeout")
}
