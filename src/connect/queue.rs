//! A byte-bounded queue of batches between a reader's thread and whoever takes them.
//!
//! Invariant: `bytes` is the sum of `memory` of what is queued; a producer that waits for room before it pushes
//! overshoots the bound by at most one batch.

use crate::source::{Notify, SourceBatch, SourceState};
use hw_repr::SqlError;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// See the module.
pub struct BatchQueue {
    inner: Mutex<Inner>,
    room: Condvar,
    max_bytes: usize,
}

struct Inner {
    ready: VecDeque<SourceBatch>,
    bytes: usize,
    taken: BTreeMap<i32, i64>,
    ends: BTreeMap<i32, i64>,
    state: SourceState,
    error: Option<SqlError>,
    paused: bool,
    stopped: bool,
    notify: Option<Notify>,
}

impl BatchQueue {
    /// An empty queue that holds about `max_bytes`; `from` are the positions before anything is taken.
    pub fn new(max_bytes: usize, from: BTreeMap<i32, i64>) -> Self {
        BatchQueue {
            inner: Mutex::new(Inner {
                ready: VecDeque::new(),
                bytes: 0,
                taken: from,
                ends: BTreeMap::new(),
                state: SourceState::Starting,
                error: None,
                paused: false,
                stopped: false,
                notify: None,
            }),
            room: Condvar::new(),
            max_bytes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A poisoned lock means a reader thread panicked; its last consistent state is still the truth.
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Appends a batch. Does not wait and does not notify.
    pub fn push(&self, batch: SourceBatch) {
        let mut inner = self.lock();
        inner.bytes += batch.memory;
        inner.ready.push_back(batch);
    }

    /// Takes batches until `max_bytes` are reached; at least one where there is one.
    pub fn take(&self, max_bytes: usize) -> Vec<SourceBatch> {
        let mut inner = self.lock();
        let mut out = Vec::new();
        let mut sum = 0;
        while let Some(next) = inner.ready.front() {
            if !out.is_empty() && sum + next.memory > max_bytes {
                break;
            }
            let Some(batch) = inner.ready.pop_front() else { break };
            sum += batch.memory;
            inner.bytes -= batch.memory;
            inner.taken.insert(batch.partition, batch.to);
            out.push(batch);
        }
        if !out.is_empty() {
            self.room.notify_all();
        }
        out
    }

    /// True when `more` bytes outside the queue and what is in it reach the bound.
    pub fn is_full(&self, more: usize) -> bool {
        self.lock().bytes + more >= self.max_bytes
    }

    /// Bytes in the queue.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// True without batches.
    pub fn is_empty(&self) -> bool {
        self.lock().ready.is_empty()
    }

    /// Waits at most `timeout` for something to change (batches taken, pause, stop).
    pub fn wait(&self, timeout: Duration) {
        let inner = self.lock();
        if !inner.stopped {
            drop(self.room.wait_timeout(inner, timeout));
        }
    }

    /// Calls the notify callback, outside the lock.
    pub fn notify(&self) {
        let notify = self.lock().notify.clone();
        if let Some(notify) = notify {
            notify();
        }
    }

    /// Sets who is told; tells them at once when something waits already.
    pub fn set_notify(&self, notify: Notify) {
        let waiting = {
            let mut inner = self.lock();
            inner.notify = Some(notify);
            !inner.ready.is_empty() || inner.state != SourceState::Starting
        };
        if waiting {
            self.notify();
        }
    }

    /// Per partition, the position after everything taken so far.
    pub fn positions(&self) -> BTreeMap<i32, i64> {
        self.lock().taken.clone()
    }

    /// Makes a partition known that begins at `position`.
    pub fn add_partition(&self, partition: i32, position: i64) {
        self.lock().taken.entry(partition).or_insert(position);
    }

    /// The upstream's ends as last seen.
    pub fn ends(&self) -> BTreeMap<i32, i64> {
        self.lock().ends.clone()
    }

    /// Records the upstream's end of a partition; it never moves back.
    pub fn set_end(&self, partition: i32, end: i64) {
        let mut inner = self.lock();
        let slot = inner.ends.entry(partition).or_insert(end);
        *slot = (*slot).max(end);
    }

    /// State and error. Failed and done are final. Notifies when the state changed.
    pub fn set_state(&self, state: SourceState, error: Option<SqlError>) {
        let changed = {
            let mut inner = self.lock();
            if matches!(inner.state, SourceState::Failed | SourceState::Done) {
                return;
            }
            let changed = inner.state != state;
            inner.state = state;
            if state != SourceState::Stalled || error.is_some() {
                inner.error = error;
            }
            changed
        };
        if changed {
            self.notify();
        }
    }

    /// State and error as shown: a pause hides running and stalled.
    pub fn state(&self) -> (SourceState, Option<SqlError>) {
        let inner = self.lock();
        let state = match inner.state {
            SourceState::Starting | SourceState::Running | SourceState::Stalled if inner.paused => SourceState::Paused,
            s => s,
        };
        (state, inner.error.clone())
    }

    /// Pauses or continues.
    pub fn set_paused(&self, paused: bool) {
        self.lock().paused = paused;
        self.room.notify_all();
        self.notify();
    }

    /// True while paused.
    pub fn is_paused(&self) -> bool {
        self.lock().paused
    }

    /// Tells the producer to end.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.room.notify_all();
    }

    /// True when the producer shall end.
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }
}
