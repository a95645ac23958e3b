//! The coordinator task: owner of all mutable state.
//!
//! Owns which dataflows exist and how far they are, what waits for the next tick, what waits for a time to be
//! readable. Does not read or write rows itself: `tick` closes ticks, `ddl` changes the catalog, `read` answers reads.

use crate::command::{Command, ReadHold, ReadSnapshot, Reply, TableWrite, Written};
use crate::errors::WaitingErrors;
use crate::hydrate::Hydration;
use crate::known::Known;
use crate::platform::Clock;
use crate::session::CommitPoint;
use crate::source::LiveSource;
use crate::subscribe::Subscriptions;
use hw_catalog::{Catalog, CatalogChange, CatalogSnapshot};
use hw_dataflow::Engine;
use hw_plan::Object;
use hw_repr::{GlobalId, SqlError, SqlState, Timestamp};
use hw_store::LogWriter;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How a dataflow takes part in ticks and reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not yet: it is being filled.
    Filling,
    /// Ticks wait for it.
    Live,
    /// It was live and is behind; ticks wait for it no longer until it has caught up.
    Apart,
}

/// One dataflow that the engine runs for us.
pub(crate) struct Flow {
    /// The relation or index it maintains.
    pub object: Arc<Object>,
    /// Source relations that enter it directly.
    pub inputs: Vec<GlobalId>,
    /// Named relations it imports.
    pub imports: Vec<GlobalId>,
    pub place: Place,
    /// While it has not passed the last tick: how far it is, and since when.
    pub behind: Option<(Timestamp, Instant)>,
    /// Filling from sources: `None` once its inputs follow the shared stream.
    pub hydration: Option<Hydration>,
    /// Set where hydration cannot go on.
    pub failed: Option<SqlError>,
    /// Of what its state is computed by; 0 for tables.
    pub fingerprint: u64,
    /// The same in the form of earlier versions.
    pub earlier_fingerprint: u64,
    pub origin: Origin,
    /// When it can be read.
    pub known: Known,
    /// It, or something that it reads, corrects what was shown.
    pub corrected: bool,
}

impl Flow {
    /// True where ticks wait for it.
    pub fn is_live(&self) -> bool {
        self.place == Place::Live
    }

    /// True once it can be read, though it may be behind.
    pub fn is_filled(&self) -> bool {
        self.place != Place::Filling
    }
}

/// What a flow has begun with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nothing.
    New,
    /// What a checkpoint had of it.
    Restored,
    /// What a checkpoint had shown of it; it is computed anew, and corrects that.
    Corrected,
}

/// Who has chosen the time of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadKind {
    /// We, for this read: another one is as good.
    Now,
    /// An earlier read of the transaction.
    Held,
    /// The client.
    Past,
}

/// A read that waits for its relations.
pub(crate) struct WaitingRead {
    pub ids: Vec<GlobalId>,
    pub at: Arc<ReadHold>,
    pub kind: ReadKind,
    pub reply: Reply<ReadSnapshot>,
}

/// A write that waits for the next tick.
pub(crate) struct PendingWrite {
    pub write: TableWrite,
    pub commit: Arc<CommitPoint>,
    pub reply: Reply<Written>,
}

/// An acknowledgement that waits for a tick to be durable.
pub(crate) type Ack = Box<dyn FnOnce(Result<(), SqlError>) + Send>;

/// (tick, outcome) of records that the log is done with, in order.
pub(crate) type Durables = Arc<std::sync::Mutex<Vec<(Timestamp, Result<(), SqlError>)>>>;

/// Catalog changes in a tick that is not durable yet.
pub(crate) struct Undurable {
    pub time: Timestamp,
    /// The catalog with them.
    pub snapshot: Arc<CatalogSnapshot>,
    /// What they drop: runs on until then.
    pub dropped: Vec<GlobalId>,
}

/// A request to compact, and how many ticks it still takes from `at` on.
pub(crate) struct Compacting {
    at: Timestamp,
    ticks_left: usize,
    reply: Reply<()>,
}

/// The coordinator looks around this often even where nothing wakes it.
const IDLE: Duration = Duration::from_millis(500);
/// Ticks that compaction takes.
const COMPACT_TICKS: usize = 4;

/// All mutable state of the server.
pub(crate) struct Core {
    pub catalog: Catalog,
    /// The catalog with every change that was decided.
    pub snapshot: Arc<arc_swap::ArcSwap<CatalogSnapshot>>,
    /// The catalog as sessions see it: what is durable.
    pub visible: Arc<arc_swap::ArcSwap<CatalogSnapshot>>,
    pub clock: Clock,
    pub undurable: VecDeque<Undurable>,
    pub engine: Engine,
    /// `None` only during recovery.
    pub log: Option<LogWriter>,
    pub tx: mpsc::WeakSender<Command>,
    /// What the log's thread has to say; never longer than the log's own queue.
    pub durables: Durables,
    pub wake: Arc<tokio::sync::Notify>,
    pub flows: BTreeMap<GlobalId, Flow>,
    /// Objects that could not be started, and why.
    pub broken: BTreeMap<GlobalId, SqlError>,
    pub sources: BTreeMap<GlobalId, LiveSource>,
    pub writes: VecDeque<PendingWrite>,
    /// Catalog changes for the next tick, as the log takes them.
    pub changes: Vec<Vec<u8>>,
    pub change_acks: Vec<Ack>,
    pub replacing: crate::replace::Replacing,
    pub reads: Vec<WaitingRead>,
    pub errors_asked: Vec<WaitingErrors>,
    pub compacting: Vec<Compacting>,
    pub checkpoints: crate::checkpoint::Checkpointer,
    /// Flows that a checkpoint had, until they are installed.
    pub restored: BTreeMap<GlobalId, Arc<hw_dataflow::RestoredFlow>>,
    /// From when on relations can be read as they were, until they are installed.
    pub known: BTreeMap<GlobalId, Timestamp>,
    /// Times that reads, queries and transactions hold.
    pub holds: Vec<Weak<ReadHold>>,
    /// Per table, the last tick that changed it since the start.
    pub changed: BTreeMap<GlobalId, Timestamp>,
    /// Values of identity columns that were set aside: the next one, and the first one behind them.
    pub identities: BTreeMap<GlobalId, (i64, i64)>,
    pub flushes: Vec<(Timestamp, oneshot::Sender<Result<(), SqlError>>)>,
    pub acks: VecDeque<(Timestamp, Vec<Ack>)>,
    pub subscriptions: Subscriptions,
    /// How far back relations can be read, ms: those that have been subscribed to ([`CatalogSnapshot::histories`]) or retain
    /// history, and all that they are computed from, since a start computes theirs from it.
    pub histories: BTreeMap<GlobalId, u64>,
    /// History kept of a relation that has been subscribed to, for `AS OF`, ms.
    pub resume_ms: u64,
    /// The last tick before this start, and when it started.
    pub began: (Timestamp, Instant),
    pub in_flight: crate::lag::InFlight,
    /// Last tick that was closed.
    pub last_tick: Timestamp,
    /// Last tick whose record is on disk.
    pub durable: Timestamp,
    /// Newest tick that is durable and passed by every live dataflow. Never goes back.
    pub read_ts: Timestamp,
    /// Newest tick that a client was told of.
    pub acked: Timestamp,
    /// When the last tick was closed.
    pub last_close: Instant,
    /// Set after the log failed: every write is refused.
    pub read_only: Option<SqlError>,
    pub stats: Stats,
    /// Text of `/metrics`, renewed now and then.
    pub metrics: Arc<arc_swap::ArcSwap<String>>,
    pub metrics_at: Instant,
}

/// Counters for `/metrics`.
#[derive(Default)]
pub(crate) struct Stats {
    pub ticks: u64,
    pub rows_in: u64,
    pub dead_letters: u64,
    pub writes: u64,
}

impl Core {
    /// Runs until `Shutdown`.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>, wake: Arc<tokio::sync::Notify>) {
        loop {
            let idle = self.idle_for();
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Shutdown { reply }) => {
                        self.stop();
                        let _ = reply.send(());
                        return;
                    }
                    Some(command) => {
                        self.handle(command);
                        while let Ok(next) = commands.try_recv() {
                            if let Command::Shutdown { reply } = next {
                                self.stop();
                                let _ = reply.send(());
                                return;
                            }
                            self.handle(next);
                        }
                    }
                    None => return self.stop(),
                },
                () = wake.notified() => {}
                () = tokio::time::sleep(idle) => {}
            }
            self.turn();
        }
    }

    /// How long nothing needs to be done unless a message comes.
    fn idle_for(&self) -> Duration {
        let idle = self.subscriptions.idle_tick().map(|d| d.saturating_sub(self.last_close.elapsed()));
        let tick = self.has_work().then(|| self.tick_wait());
        let sources = self.sources.values().filter_map(LiveSource::due_in);
        let due = sources.chain(self.hydration_due()).chain(idle).chain(tick).min();
        due.unwrap_or(IDLE).clamp(Duration::from_millis(1), IDLE)
    }

    /// One round: progress of dataflows, hydration, ticks, reads.
    fn turn(&mut self) {
        self.note_durables();
        self.observe_progress();
        self.step_replacement();
        self.step_hydration();
        self.poll_sources();
        self.step_checkpoint();
        self.close_ticks();
        self.observe_progress();
        self.answer_reads();
        self.answer_errors();
        self.compact_histories();
        self.step_compaction();
        if self.metrics_at.elapsed() > Duration::from_millis(500) {
            self.metrics_at = Instant::now();
            self.metrics.store(Arc::new(self.metrics_text()));
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Ddl(ddl) if self.replacing.current.is_some() => self.replacing.ddl.push_back(*ddl),
            Command::Ddl(ddl) => self.execute_ddl(*ddl),
            Command::Write { write, commit, reply } => {
                if let Some(e) = &self.read_only {
                    let _ = reply.send(Err(e.clone()));
                } else {
                    self.writes.push_back(PendingWrite { write, commit, reply });
                }
            }
            Command::RestartIdentity { table, reply } => self.restart_identity(table, reply),
            Command::Identity { table, count, reply } => self.next_identity(table, count, reply),
            Command::Read { ids, at, reply } => self.start_read(ids, at, reply),
            Command::System { name, reply } if name == "view_errors" => {
                self.errors_asked.push(WaitingErrors { at: self.read_ts.max(self.acked), reply });
            }
            Command::System { name, reply } => {
                let _ = reply.send(self.system_rows(&name));
            }
            Command::Marks { source, marks, reply } => {
                let _ = reply.send(self.sources.get_mut(&source).map_or(Ok(()), |s| s.heard_of_marks(&marks)));
            }
            Command::Subscribe { request, reply } if self.replacing_at().is_some() => {
                self.replacing.subscribes.push((request, reply));
            }
            Command::Subscribe { request, reply } => self.start_subscribe(request, reply),
            Command::Unsubscribe { id } => self.end_subscribe(id),
            Command::SetPassword { role, password, reply } => self.set_password(role, password, reply),
            Command::Checkpoint { reply } => self.ask_for_checkpoint(reply),
            Command::Compact { reply } => self.start_compact(reply),
            Command::Flush { reply } => self.flushes.push((self.acked.max(self.read_ts), reply)),
            Command::Wake => {}
            Command::Shutdown { .. } => {}
        }
    }

    /// Takes over what the log's thread has to say.
    pub(crate) fn note_durables(&mut self) {
        let durables = std::mem::take(&mut *self.durables.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        durables.into_iter().for_each(|(time, result)| self.on_durable(time, result));
    }

    /// The log has, or has not, made a tick durable.
    fn on_durable(&mut self, time: Timestamp, result: Result<(), SqlError>) {
        if let Err(e) = &result {
            tracing::error!(time, error = %e, "the tick log failed; the server is read-only from here");
            let e =
                e.clone().hint("Free space or mend the disk, then restart the server; acknowledged writes are safe.");
            self.become_read_only(e);
        } else {
            self.durable = self.durable.max(time);
            self.checkpoints.log.reached(self.durable);
            self.show_catalog(time);
        }
        while self.acks.front().is_some_and(|(t, _)| *t <= time) {
            if let Some((t, acks)) = self.acks.pop_front() {
                if result.is_ok() && !acks.is_empty() && self.replacing_at() != Some(t) {
                    self.acked = self.acked.max(t);
                }
                acks.into_iter().for_each(|ack| ack(result.clone()));
            }
        }
    }

    /// From here on every write is refused, those that wait too.
    pub(crate) fn become_read_only(&mut self, e: SqlError) {
        self.checkpoints.log.fail();
        let e = self.read_only.get_or_insert(e).clone();
        for pending in std::mem::take(&mut self.writes) {
            let _ = pending.reply.send(Err(e.clone()));
        }
    }

    /// Sessions see the catalog as of `time`; what was dropped by then ends.
    pub(crate) fn show_catalog(&mut self, time: Timestamp) {
        let shown = self.replacing_at().map_or(time, |at| time.min(at.saturating_sub(1)));
        while self.undurable.front().is_some_and(|u| u.time <= shown) {
            let Some(Undurable { snapshot, dropped, .. }) = self.undurable.pop_front() else { return };
            self.visible.store(snapshot);
            if !dropped.is_empty() {
                dropped.into_iter().for_each(|id| self.forget(id));
                self.retire_readers();
            }
        }
    }

    /// Moves `live` and `read_ts` by what the engine has passed.
    pub fn observe_progress(&mut self) {
        let ids: Vec<GlobalId> = self.flows.keys().copied().collect();
        for id in ids {
            let ready = {
                let flow = &self.flows[&id];
                !flow.is_live()
                    && flow.hydration.is_none()
                    && flow.failed.is_none()
                    && flow.imports.iter().all(|i| self.flows.get(i).is_some_and(Flow::is_live))
                    && self.engine.frontier(id) > self.last_tick
            };
            if ready && let Some(flow) = self.flows.get_mut(&id) {
                flow.place = Place::Live;
            }
        }
        self.observe_flight();
        let passed = self.passed();
        let shown = self.replacing_at().map_or(Timestamp::MAX, |at| at.saturating_sub(1));
        let readable = passed.min(self.durable).min(shown);
        self.read_ts = self.read_ts.max(readable);
        let read_ts = self.read_ts;
        let all = self.passed_by_all();
        let (done, rest) = std::mem::take(&mut self.flushes).into_iter().partition(|(t, _)| *t <= read_ts.min(all));
        self.flushes = rest;
        let done: Vec<(Timestamp, oneshot::Sender<Result<(), SqlError>>)> = done;
        done.into_iter().for_each(|(_, reply)| drop(reply.send(Ok(()))));
        self.release_subscriptions();
    }

    /// Histories compact to the read time, except where someone may come back for them.
    fn compact_histories(&mut self) {
        let waiting = self.held();
        let read = self.read_ts.min(waiting);
        self.sources.values_mut().for_each(|source| source.forget_before(read));
        for (id, flow) in &self.flows {
            if !flow.is_filled() {
                continue;
            }
            // What is behind keeps what it has not passed.
            let own = if flow.is_live() { Timestamp::MAX } else { self.engine.frontier(*id) };
            let held = self.subscriptions.hold(*id).unwrap_or(Timestamp::MAX);
            let keep = self.history_from(self.read_ts, self.keeps(*id));
            let hydrating = self.hydration_hold(*id);
            self.engine.allow_compaction(*id, keep.min(waiting).min(held).min(hydrating).min(own));
        }
    }

    /// Where a history of `ms` begins at `now`. Who comes back to a subscription after a start finds what had been kept for
    /// it, however long the server was down.
    pub(crate) fn history_from(&self, now: Timestamp, ms: u64) -> Timestamp {
        let (before, started) = self.began;
        let from = now.saturating_sub(ms);
        let returning = started.elapsed() < Duration::from_millis(ms);
        if returning { from.min(before.saturating_sub(ms)) } else { from }
    }

    /// How far back a relation can be read, ms.
    pub(crate) fn keeps(&self, id: GlobalId) -> u64 {
        self.histories.get(&id).copied().unwrap_or(0)
    }

    /// The least time at which a dataflow that is still filling reads `id`.
    fn hydration_hold(&self, id: GlobalId) -> Timestamp {
        let filling = self.flows.iter().filter(|(_, f)| !f.is_live() && f.imports.contains(&id));
        filling.map(|(f, _)| self.engine.frontier(*f)).min().unwrap_or(Timestamp::MAX)
    }

    /// Closes a tick, so that every history may end there; [`Core::step_compaction`] goes on.
    fn start_compact(&mut self, reply: Reply<()>) {
        match &self.read_only {
            Some(e) => drop(reply.send(Err(e.clone()))),
            None => {
                let at = self.close_tick();
                self.compacting.push(Compacting { at, ticks_left: COMPACT_TICKS, reply });
            }
        }
    }

    /// Once the first tick has passed, arrangements are told to become one batch each, which they do with the next
    /// ticks: readers inside dataflows let go of a time only after it.
    fn step_compaction(&mut self) {
        let passed = self.passed_by_all();
        let (due, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.compacting).into_iter().partition(|c| c.at <= self.read_ts.min(passed));
        self.compacting = rest;
        for mut one in due {
            if one.ticks_left == 0 || self.read_only.is_some() {
                let _ = one.reply.send(Ok(()));
                continue;
            }
            if one.ticks_left == COMPACT_TICKS {
                self.engine.compact();
            }
            one.ticks_left -= 1;
            one.at = self.close_tick();
            self.compacting.push(one);
        }
    }

    fn set_password(&mut self, role: String, password: Option<String>, reply: Reply<()>) {
        if self.snapshot.load().role(&role).is_none() {
            let e = SqlError::new(SqlState::UNDEFINED_OBJECT, format!("role \"{role}\" does not exist"));
            let _ = reply.send(Err(e));
            return;
        }
        let verifier = match password.map(|p| hw_catalog::scram::verifier(&p)).transpose() {
            Ok(verifier) => verifier,
            Err(e) => return drop(reply.send(Err(e))),
        };
        let change = CatalogChange::SetRolePassword { role, verifier };
        self.commit_changes(vec![change], Box::new(move |r| drop(reply.send(r))));
    }

    /// One tick that carries catalog changes: checked first, then logged, then applied; `ack` is told when the tick is
    /// durable. Returns its time, or `None` where nothing was done.
    pub(crate) fn commit_changes(&mut self, changes: Vec<CatalogChange>, ack: Ack) -> Option<Timestamp> {
        self.commit_in_tick(changes, ack, false)
    }

    /// As [`Core::commit_changes`], in a tick that carries nothing else.
    pub(crate) fn commit_quietly(&mut self, changes: Vec<CatalogChange>, ack: Ack) -> Option<Timestamp> {
        self.commit_in_tick(changes, ack, true)
    }

    fn commit_in_tick(&mut self, changes: Vec<CatalogChange>, ack: Ack, quietly: bool) -> Option<Timestamp> {
        if let Some(e) = &self.read_only {
            ack(Err(e.clone()));
            return None;
        }
        // The log must never hold a change that the catalog refuses, nor the catalog one that the log has not.
        let bytes = changes.iter().map(CatalogChange::to_bytes).collect::<Result<Vec<_>, _>>();
        let checked = bytes.and_then(|bytes| Ok((bytes, self.snapshot.load().with_changes(&changes)?)));
        let with_changes = match checked {
            Ok((bytes, with_changes)) => {
                self.changes.extend(bytes);
                with_changes
            }
            Err(e) => {
                ack(Err(e));
                return None;
            }
        };
        self.change_acks.push(ack);
        let time = if quietly { self.close_tick_with(false) } else { self.close_tick() };
        let snapshot = self.catalog.apply(time, &changes).unwrap_or_else(|e| {
            // The log has it, so it is acknowledged, and shown; the next start applies it again.
            tracing::error!(error = %e, "the catalog could not be written");
            self.become_read_only(e);
            Arc::new(with_changes)
        });
        self.snapshot.store(snapshot.clone());
        self.undurable.push_back(Undurable { time, snapshot, dropped: vec![] });
        Some(time)
    }

    /// Closes what is pending, waits for the log, ends the workers.
    fn stop(&mut self) {
        if self.read_only.is_none() && (!self.writes.is_empty() || !self.changes.is_empty()) {
            self.close_tick();
        }
        match self.log.take().map(LogWriter::close) {
            Some(Err(e)) => {
                tracing::error!(error = %e, "the tick log did not close well");
                self.become_read_only(e);
            }
            _ => self.checkpoints.log.reached(self.last_tick),
        }
        self.checkpoint_at_shutdown();
        self.subscriptions.end_all(&SqlError::new(SqlState::ADMIN_SHUTDOWN, "the server is shutting down"));
        self.sources.clear();
        self.engine.shutdown();
    }
}
