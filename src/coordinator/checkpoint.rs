//! When checkpoints are taken, and of what.
//!
//! Between two ticks, when every live dataflow has passed the last one, the state of all of them (see [`state`]) is handed
//! to a thread that writes what is new of it; ticks go on meanwhile. With it go the positions of sources and the dead
//! letters: all that the log knew and that is not in the catalog, which is dumped before. When the checkpoint is durable
//! the log is truncated, but for the time for which subscribers may come back.
//!
//! Dataflows that are being filled, or have failed, are not in it: a start computes them anew.

pub(crate) mod state;

use crate::command::Reply;
use crate::core::{Core, Flow, Place};
use crate::platform::{self, now_ms};
use hw_plan::ObjectKind;
use hw_repr::{Datum, GlobalId, SqlError, Timestamp};
use hw_store::checkpoint::{Positions, Snapshot, Written};
use hw_store::{Checkpoints, DeadLetterRow};
use state::{Fingerprints, TakenState};
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Checkpoints that `headwater.checkpoints` remembers.
const REMEMBERED: usize = 100;
/// How often the thread looks whether its tick is durable.
const DURABLE_POLL: Duration = Duration::from_millis(1);
/// Ticks wait for a checkpoint that has been due for so long.
const LATE: Duration = Duration::from_secs(5);
/// One that has been due for so long does without what is behind.
const VERY_LATE: Duration = Duration::from_secs(20);
/// How long a shutdown waits for dataflows to pass the last tick.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(10);

/// How far the log is, for the thread.
#[derive(Default)]
pub(crate) struct LogState {
    durable: AtomicU64,
    failed: AtomicBool,
}

impl LogState {
    /// The log is durable up to a tick.
    pub(crate) fn reached(&self, tick: Timestamp) {
        self.durable.fetch_max(tick, Ordering::Release);
    }
    /// Nothing more will be durable.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }
    /// Waits until `tick` is durable.
    fn wait_for(&self, tick: Timestamp) -> Result<(), SqlError> {
        while self.durable.load(Ordering::Acquire) < tick {
            if self.failed.load(Ordering::Acquire) {
                return Err(SqlError::internal("the tick log failed before the checkpoint's tick was durable"));
            }
            std::thread::sleep(DURABLE_POLL);
        }
        Ok(())
    }
}

/// Which dead letters there are: per source, how many there have been.
type DeadLetters = Vec<(GlobalId, u64)>;

/// What the thread gives back: with what was written, the flows that were left out.
type Done = (Checkpoints, Result<(Written, BTreeSet<GlobalId>), SqlError>);

/// One that is being written.
struct Writing {
    done: Receiver<Done>,
    replies: Vec<Reply<()>>,
    tick: Timestamp,
    log_floor: Timestamp,
    dead: DeadLetters,
    flows: Fingerprints,
    begun: Instant,
    /// ms since 1970.
    started: u64,
}

/// A row of `headwater.checkpoints`.
struct Taken {
    tick: Timestamp,
    started: u64,
    took: Duration,
    bytes: u64,
    files: u64,
    state: String,
}

/// The coordinator's view of checkpoints.
pub(crate) struct Checkpointer {
    interval: Duration,
    /// Elsewhere while one is being written.
    store: Option<Checkpoints>,
    writing: Option<Writing>,
    /// When the last one was begun.
    begun: Instant,
    /// Everything up to this tick is in the last one.
    tick: Timestamp,
    earlier: VecDeque<Positions>,
    log_floor: Timestamp,
    /// The tick of the catalog's dump.
    dumped: Option<Timestamp>,
    /// Those in the last checkpoint.
    dead: Option<DeadLetters>,
    /// Flows whose state is in the last checkpoint, and since then was taken for no other.
    pub saved: Fingerprints,
    asked: Vec<Reply<()>>,
    /// The server is being shut down.
    stopping: bool,
    pub log: Arc<LogState>,
    taken: VecDeque<Taken>,
}

impl Checkpointer {
    /// After a start with these checkpoints.
    pub(crate) fn new(store: Checkpoints, interval: Duration) -> Checkpointer {
        let manifest = store.manifest();
        Checkpointer {
            interval,
            tick: manifest.tick,
            earlier: manifest.earlier.iter().cloned().collect(),
            log_floor: manifest.log_floor,
            store: Some(store),
            writing: None,
            begun: Instant::now(),
            dumped: None,
            dead: None,
            saved: Fingerprints::new(),
            asked: vec![],
            stopping: false,
            log: Arc::default(),
            taken: VecDeque::new(),
        }
    }

    /// A start computes these anew, this one and those that follow until a checkpoint has them again.
    pub(crate) fn distrust(&mut self, views: &BTreeSet<GlobalId>) -> Result<(), SqlError> {
        self.store.as_mut().map_or(Ok(()), |store| store.distrust(views))
    }

    /// The dataflow of this id is another one from now on: nothing of its state is in a checkpoint, nor in the one that is
    /// being written.
    pub(crate) fn forget(&mut self, id: GlobalId) {
        self.saved.remove(&id);
        if let Some(writing) = &mut self.writing {
            writing.flows.remove(&id);
        }
    }

    /// Dead letters as they were.
    pub(crate) fn dead_letters(&self) -> Result<Vec<DeadLetterRow>, SqlError> {
        self.store.as_ref().map_or(Ok(vec![]), Checkpoints::dead_letters)
    }

    /// What is kept of the positions at earlier ticks, with those of now: back to the newest that is not after `old`.
    fn earlier_with(&self, now: Positions, old: Timestamp) -> VecDeque<Positions> {
        let mut earlier = self.earlier.clone();
        earlier.push_back(now);
        while earlier.get(1).is_some_and(|second| second.tick <= old) {
            earlier.pop_front();
        }
        earlier
    }

    fn remember(&mut self, taken: Taken) {
        if self.taken.len() == REMEMBERED {
            self.taken.pop_front();
        }
        self.taken.push_back(taken);
    }

    /// ms since the last one was begun, and its tick.
    pub(crate) fn figures(&self) -> [(&'static str, u64); 4] {
        let last = self.taken.back();
        [
            ("headwater_checkpoint_tick", self.tick),
            ("headwater_checkpoint_age_milliseconds", now_ms().saturating_sub(self.tick)),
            ("headwater_checkpoint_duration_milliseconds", last.map_or(0, |t| t.took.as_millis() as u64)),
            ("headwater_checkpoint_bytes", last.map_or(0, |t| t.bytes)),
        ]
    }

    /// The rows of `headwater.checkpoints`.
    pub(crate) fn rows(&self) -> Vec<Vec<Datum>> {
        let int8 = |n: u64| Datum::Int8(n.try_into().unwrap_or(i64::MAX));
        let row = |t: &Taken| {
            vec![
                int8(t.tick),
                Datum::TimestampTz((t.started * 1000).try_into().unwrap_or(i64::MAX)),
                int8(t.took.as_millis() as u64),
                int8(t.bytes),
                int8(t.files),
                Datum::Text(t.state.clone()),
            ]
        };
        self.taken.iter().map(row).collect()
    }
}

/// Waits for the state and writes it with the rest.
fn write(
    store: &mut Checkpoints,
    mut snapshot: Snapshot,
    state: TakenState,
    log: &LogState,
) -> Result<(Written, BTreeSet<GlobalId>), SqlError> {
    let (parts, left_out) = state.parts()?;
    snapshot.relations = parts;
    let tick = snapshot.tick;
    Ok((store.write(snapshot, || log.wait_for(tick))?, left_out))
}

impl Core {
    /// `CHECKPOINT`: answered when one that has everything acknowledged before is durable.
    pub(crate) fn ask_for_checkpoint(&mut self, reply: Reply<()>) {
        self.checkpoints.asked.push(reply);
    }

    /// Ends one that has been written, begins one that is due.
    pub(crate) fn step_checkpoint(&mut self) {
        self.poll_checkpoint();
        if let Some(e) = &self.read_only {
            let e = e.clone();
            return self.checkpoints.asked.drain(..).for_each(|reply| drop(reply.send(Err(e.clone()))));
        }
        if self.checkpoint_is_due(Duration::ZERO) && self.all_passed() {
            self.begin_checkpoint();
        }
    }

    /// True where one has been due for so long, or was asked for, and could begin.
    pub(crate) fn checkpoint_is_due(&self, since: Duration) -> bool {
        let c = &self.checkpoints;
        let due = c.begun.elapsed() >= c.interval + since && self.last_tick > c.tick;
        c.writing.is_none() && self.undurable.is_empty() && (due || !c.asked.is_empty())
    }

    /// True where ticks had better wait until every dataflow has passed, so that a checkpoint can begin.
    pub(crate) fn checkpoint_is_late(&self) -> bool {
        self.read_only.is_none() && self.checkpoint_is_due(LATE)
    }

    /// True where every table and every dataflow that can be read has published what the last tick made of it. One that has
    /// been behind for very long is left out.
    fn all_passed(&self) -> bool {
        let patient = self.checkpoints.begun.elapsed() < self.checkpoints.interval + VERY_LATE;
        let counts = |f: &Flow| {
            matches!(f.object.kind, ObjectKind::Table(_)) || (patient && f.place == Place::Apart && f.failed.is_none())
        };
        let mut counted = self.flows.iter().filter(|(_, f)| counts(f));
        self.passed() >= self.last_tick
            && counted.all(|(id, f)| f.failed.is_none() && self.engine.frontier(*id) > self.last_tick)
    }

    fn begin_checkpoint(&mut self) {
        let replies = std::mem::take(&mut self.checkpoints.asked);
        self.checkpoints.begun = Instant::now();
        if self.last_tick == self.checkpoints.tick {
            return replies.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
        }
        let refuse = |e: SqlError, replies: Vec<Reply<()>>| {
            tracing::error!(error = %e, "a checkpoint could not be taken");
            replies.into_iter().for_each(|reply| drop(reply.send(Err(e.clone()))));
        };
        if let Err(e) = self.dump_catalog() {
            return refuse(e, replies);
        }
        let (mut snapshot, dead) = self.checkpoint_snapshot();
        // Beside ticks that come, a thread that takes a processor for itself is felt by all of them.
        snapshot.unhurried = replies.is_empty() && !self.checkpoints.stopping;
        let Some(store) = self.checkpoints.store.take() else { return };
        let (tick, log_floor) = (snapshot.tick, snapshot.log_floor);
        let state = self.take_state();
        let flows = state.flows.clone();
        let (to, done) = channel();
        let (log, wake) = (self.checkpoints.log.clone(), self.wake.clone());
        // Taken by the thread, or taken back where there is none.
        let work = Arc::new(Mutex::new(Some((store, snapshot, state))));
        let theirs = work.clone();
        let spawned = std::thread::Builder::new().name("checkpoint".into()).spawn(move || {
            let taken = theirs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            if let Some((mut store, snapshot, state)) = taken {
                if snapshot.unhurried {
                    platform::step_back();
                }
                let written = write(&mut store, snapshot, state, &log);
                let _ = to.send((store, written));
                wake.notify_one();
            }
        });
        if let Err(e) = spawned {
            let back = work.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            self.checkpoints.store = back.map(|(store, ..)| store);
            self.checkpoints.saved.clear();
            return refuse(SqlError::internal(format!("the checkpoint's thread did not start: {e}")), replies);
        }
        let (begun, started) = (Instant::now(), now_ms());
        self.checkpoints.writing = Some(Writing { done, replies, tick, log_floor, dead, flows, begun, started });
    }

    /// The log may go only after the catalog has all of it.
    fn dump_catalog(&mut self) -> Result<(), SqlError> {
        let applied = Some(self.catalog.last_applied());
        if self.checkpoints.dumped != applied {
            self.catalog.checkpoint()?;
            self.checkpoints.dumped = applied;
        }
        Ok(())
    }

    fn checkpoint_snapshot(&self) -> (Snapshot, DeadLetters) {
        let positions = self.sources.iter().flat_map(|(id, s)| s.positions.iter().map(|(p, at)| (*id, *p, *at)));
        let now = Positions { tick: self.last_tick, next: positions.collect() };
        let old = self.history_from(self.last_tick, self.resume_ms);
        let earlier: Vec<Positions> = self.checkpoints.earlier_with(now, old).into();
        let first = earlier.first().map_or(0, |p| p.tick);
        let log_floor = if first <= old { first } else { self.checkpoints.log_floor };
        let dead: DeadLetters = self.sources.iter().map(|(id, s)| (*id, s.dead_total)).collect();
        let all_dead = || self.sources.values().flat_map(|s| s.dead.iter().cloned()).collect();
        let snapshot = Snapshot {
            tick: self.last_tick,
            log_floor,
            catalog: self.catalog.last_applied(),
            relations: vec![],
            known: self.all_known(),
            partitions: self.sources.values().flat_map(crate::source::LiveSource::saved).collect(),
            earlier,
            dead_letters: (self.checkpoints.dead.as_ref() != Some(&dead)).then(all_dead),
            unhurried: false,
        };
        (snapshot, dead)
    }

    /// Takes over one that has been written.
    fn poll_checkpoint(&mut self) {
        let Some(writing) = &self.checkpoints.writing else { return };
        match writing.done.try_recv() {
            Ok(done) => self.end_checkpoint(done),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                // Without its store there are no more: a start reads it from disk.
                self.checkpoints.writing = None;
                self.become_read_only(SqlError::internal("the checkpoint's thread has ended"));
            }
        }
    }

    fn end_checkpoint(&mut self, (store, written): Done) {
        let c = &mut self.checkpoints;
        let Some(mut w) = c.writing.take() else { return };
        let state = written.as_ref().map_or_else(|e| format!("failed: {}", e.message), |_| "done".to_owned());
        let (bytes, files) = written.as_ref().map_or((0, 0), |(w, _)| (w.bytes, w.files));
        c.remember(Taken { tick: w.tick, started: w.started, took: w.begun.elapsed(), bytes, files, state });
        match &written {
            Ok((_, left_out)) => {
                w.flows.retain(|id, _| !left_out.contains(id));
                (c.tick, c.log_floor, c.dead, c.saved) = (w.tick, w.log_floor, Some(w.dead), w.flows);
                c.earlier = store.manifest().earlier.iter().cloned().collect();
                if let Some(log) = &self.log {
                    log.truncate(
                        w.log_floor,
                        Box::new(|result| {
                            if let Err(e) = result {
                                tracing::warn!(error = %e, "the tick log could not be truncated");
                            }
                        }),
                    );
                }
            }
            Err(e) => {
                // What was taken for it will not be given again.
                c.saved.clear();
                tracing::error!(error = %e, "a checkpoint failed; the one before counts");
            }
        }
        c.store = Some(store);
        let outcome = written.map(|_| ());
        w.replies.into_iter().for_each(|reply| drop(reply.send(outcome.clone())));
    }

    /// The last one, when the log is closed. Blocks.
    pub(crate) fn checkpoint_at_shutdown(&mut self) {
        self.checkpoints.stopping = true;
        let waiting = Instant::now();
        if let Some(writing) = &self.checkpoints.writing
            && let Ok(done) = writing.done.recv()
        {
            self.end_checkpoint(done);
        }
        // What a replaced definition computes has not taken its place: the next start computes it.
        if self.read_only.is_some() || self.last_tick == self.checkpoints.tick || self.replacing_at().is_some() {
            return;
        }
        while !self.all_passed() && waiting.elapsed() < SHUTDOWN_WAIT {
            std::thread::sleep(DURABLE_POLL);
        }
        if !self.all_passed() {
            return tracing::warn!("dataflows are behind: there is no checkpoint of the shutdown");
        }
        self.begin_checkpoint();
        if let Some(writing) = &self.checkpoints.writing
            && let Ok(done) = writing.done.recv()
        {
            self.end_checkpoint(done);
        }
    }
}
