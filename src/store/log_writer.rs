//! The thread that writes the tick log: group commit.
//!
//! Records are written in the order of submission; everything that waits is made durable by one sync, and only then
//! its callbacks are called, in order, on this thread. The queue is bounded by records: [`LogWriter::submit`] blocks
//! where it is full. After the first failure of any kind every later record fails too: the dataflows have already
//! seen the failed tick, so a log that went on without it would replay to something else.

use crate::{TickLog, TickRecord};
use hw_repr::SqlError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Called once, when a record is durable or has failed. Must not block.
pub type OnDurable = Box<dyn FnOnce(Result<(), SqlError>) + Send>;

/// How many records may wait by default.
pub const QUEUE_RECORDS_MAX: usize = 1024;
/// How many records one sync covers at most.
const GROUP_RECORDS_MAX: usize = 4096;

enum Command {
    Append(Box<TickRecord>, OnDurable),
    Truncate(u64, OnDurable),
}

/// A handle to the thread. Dropping it writes and syncs what was submitted, then stops the thread.
#[derive(Debug)]
pub struct LogWriter {
    queue: Option<SyncSender<Command>>,
    thread: Option<JoinHandle<()>>,
    failed: Arc<Mutex<Option<SqlError>>>,
    syncs: Arc<AtomicU64>,
}

impl LogWriter {
    /// Starts the thread with a queue of [`QUEUE_RECORDS_MAX`].
    pub fn start(log: TickLog) -> Result<LogWriter, SqlError> {
        Self::start_with(log, QUEUE_RECORDS_MAX)
    }

    /// Starts the thread with a queue of `queue_records_max`.
    pub fn start_with(log: TickLog, queue_records_max: usize) -> Result<LogWriter, SqlError> {
        let (queue, commands) = sync_channel(queue_records_max.max(1));
        let failed = Arc::new(Mutex::new(None));
        let syncs = Arc::new(AtomicU64::new(0));
        let mut writer = Writer { log, failed: Arc::clone(&failed), syncs: Arc::clone(&syncs) };
        let thread = std::thread::Builder::new()
            .name("tick-log".into())
            .spawn(move || writer.run(&commands))
            .map_err(|e| SqlError::internal(format!("could not start the thread of the tick log: {e}")))?;
        Ok(LogWriter { queue: Some(queue), thread: Some(thread), failed, syncs })
    }

    /// Hands over a record. `on_durable` is called exactly once, whatever happens; where the thread is gone, before
    /// this returns.
    pub fn submit(&self, record: TickRecord, on_durable: OnDurable) {
        self.send(Command::Append(Box::new(record), on_durable));
    }

    /// Removes segments without ticks later than `time`, after everything submitted before.
    pub fn truncate(&self, time: u64, done: OnDurable) {
        self.send(Command::Truncate(time, done));
    }

    /// The error that stopped the log, where one did.
    pub fn failed(&self) -> Option<SqlError> {
        lock(&self.failed).clone()
    }

    /// How many syncs there were.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Writes and syncs what was submitted and stops the thread.
    pub fn close(mut self) -> Result<(), SqlError> {
        self.stop();
        self.failed().map_or(Ok(()), Err)
    }

    fn send(&self, command: Command) {
        let queue = self.queue.as_ref().expect("the queue is there until the writer is dropped");
        if let Err(refused) = queue.send(command) {
            let (Command::Append(_, done) | Command::Truncate(_, done)) = refused.0;
            done(Err(self.failed().unwrap_or_else(|| SqlError::internal("the thread of the tick log has stopped"))));
        }
    }

    fn stop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the tick log has panicked");
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock(failed: &Mutex<Option<SqlError>>) -> std::sync::MutexGuard<'_, Option<SqlError>> {
    failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Writer {
    log: TickLog,
    failed: Arc<Mutex<Option<SqlError>>>,
    syncs: Arc<AtomicU64>,
}

impl Writer {
    fn run(&mut self, commands: &Receiver<Command>) {
        while let Ok(first) = commands.recv() {
            let mut waiting: Vec<OnDurable> = vec![];
            let mut next = Some(first);
            while let Some(command) = next.take() {
                match command {
                    Command::Append(record, done) => self.append(&record, done, &mut waiting),
                    Command::Truncate(time, done) => {
                        self.finish_group(&mut waiting);
                        done(self.log.truncate(time).map(|_| ()));
                    }
                }
                if waiting.len() < GROUP_RECORDS_MAX {
                    next = commands.try_recv().ok();
                }
            }
            self.finish_group(&mut waiting);
        }
    }

    fn append(&mut self, record: &TickRecord, done: OnDurable, waiting: &mut Vec<OnDurable>) {
        let failed = lock(&self.failed).clone();
        if let Some(error) = failed {
            // Never answered before the records ahead of it.
            self.finish_group(waiting);
            return done(Err(error));
        }
        match self.log.append(record) {
            Ok(_) => waiting.push(done),
            Err(error) => {
                self.finish_group(waiting);
                self.fail(&error);
                done(Err(error));
            }
        }
    }

    /// One sync for all that wait.
    fn finish_group(&mut self, waiting: &mut Vec<OnDurable>) {
        if waiting.is_empty() {
            return;
        }
        let result = self.log.sync();
        self.syncs.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = &result {
            self.fail(error);
        }
        waiting.drain(..).for_each(|done| done(result.clone()));
    }

    fn fail(&self, error: &SqlError) {
        lock(&self.failed).get_or_insert_with(|| error.clone());
    }
}
