//! Subscriptions: from the engine's changes to clients, no further than the read time.
//!
//! Invariant: a client sees a tick only when it is durable and passed; changes come in time order, then the progress
//! that completes them. A client that does not keep up is cut off with the time to resume from.

use crate::command::{Reply, SubscribeEvent, SubscribeRequest, Subscription};
use crate::core::Core;
use hw_catalog::CatalogChange;
use hw_dataflow::{SubscribeMsg, SubscribeSink, SubscriptionId};
use hw_plan::{CatalogView, Object};
use hw_repr::{GlobalId, SqlError, SqlState, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Messages of the engine that may wait for this task.
const ENGINE_QUEUE: usize = 1024;
/// Events a client may be behind by.
const CLIENT_QUEUE: usize = 4096;
/// Bytes of changes a client may be behind by, beyond one event.
const CLIENT_BYTES_MAX: usize = 64 << 20;
/// A client that waits for progress hears of it this often where nothing changes.
const IDLE_PROGRESS: Duration = Duration::from_millis(750);
/// Changes that may wait for their tick to be readable.
const WAITING_MAX: usize = 65_536;

struct Running {
    relation: GlobalId,
    name: String,
    engine: SubscriptionId,
    incoming: crossbeam_channel::Receiver<SubscribeMsg>,
    waiting: VecDeque<SubscribeEvent>,
    out: mpsc::Sender<SubscribeEvent>,
    /// Bytes in `out`; the receiver takes off what it has taken.
    queued_bytes: Arc<AtomicUsize>,
    /// Wants to hear that time has passed where nothing has changed.
    wants_time: bool,
    /// Time of the snapshot, and whether the client wants it.
    as_of: Timestamp,
    snapshot: bool,
    /// What takes the relation's place, one after the other.
    next: VecDeque<Next>,
    /// A row failed then: the end, once that can be seen.
    failed: Option<(Timestamp, SqlError)>,
    /// All times below are sent.
    sent: Timestamp,
    /// The relation's own upper, as the engine says.
    upper: Timestamp,
    up_to: Option<Timestamp>,
}

/// Where a subscription goes on whose relation is computed in another way from a time on.
struct Next {
    at: Timestamp,
    engine: SubscriptionId,
    incoming: crossbeam_channel::Receiver<SubscribeMsg>,
}

/// For a relation that has no dataflow: a plain view, a system relation.
pub(crate) fn not_maintained(name: &str) -> SqlError {
    SqlError::unsupported(format!("SUBSCRIBE to \"{name}\" is not supported: nothing maintains it"))
        .hint("Subscribe to a table or to a materialized view over it.")
}

fn was_dropped(name: &str) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" was dropped"))
}

/// All running subscriptions.
#[derive(Default)]
pub(crate) struct Subscriptions {
    next: u64,
    running: BTreeMap<u64, Running>,
}

impl Subscriptions {
    /// The least time still needed of `relation`.
    pub(crate) fn hold(&self, relation: GlobalId) -> Option<Timestamp> {
        self.running.values().filter(|r| r.relation == relation).map(|r| r.sent).min()
    }

    /// Ends those of one relation; the engine's, to be ended too.
    fn end_relation(&mut self, relation: GlobalId, why: impl Fn(&str) -> SqlError) -> Vec<SubscriptionId> {
        let of_it = |r: &Running| r.relation == relation;
        let engines = |r: &Running| r.next.iter().map(|n| n.engine).chain([r.engine]).collect::<Vec<_>>();
        let ended = self.running.values().filter(|r| of_it(r)).flat_map(engines).collect();
        self.running.retain(|_, r| {
            if of_it(r) {
                let _ = r.out.try_send(SubscribeEvent::Error(why(&r.name)));
            }
            !of_it(r)
        });
        ended
    }

    /// How long after the last tick an empty one is due, for those who wait for time to pass.
    pub(crate) fn idle_tick(&self) -> Option<Duration> {
        self.running.values().any(|r| r.wants_time).then_some(IDLE_PROGRESS)
    }

    /// Ends all.
    pub(crate) fn end_all(&mut self, e: &SqlError) {
        for running in std::mem::take(&mut self.running).into_values() {
            let _ = running.out.try_send(SubscribeEvent::Error(e.clone()));
        }
    }
}

impl Core {
    /// From here on a relation can be read as of `ms` ago, and what it is computed from as long as subscribers may come back.
    pub(crate) fn keep_history(&mut self, id: GlobalId, ms: u64) {
        if self.histories.get(&id).is_some_and(|kept| *kept >= ms) {
            return;
        }
        self.histories.insert(id, ms);
        let object = self.snapshot.load().get(id);
        let uses = object.map_or(vec![], |o| o.depends_on.clone());
        uses.into_iter().for_each(|from| self.keep_history(from, ms.min(self.resume_ms)));
    }

    /// As [`Core::keep_history`], for what a relation is computed from since its definition was replaced.
    pub(crate) fn keep_history_of_inputs(&mut self, id: GlobalId) {
        let Some(ms) = self.histories.get(&id).copied() else { return };
        let uses = self.snapshot.load().get(id).map_or(vec![], |o| o.depends_on.clone());
        uses.into_iter().for_each(|from| self.keep_history(from, ms.min(self.resume_ms)));
    }

    /// Why nothing maintains a relation.
    pub(crate) fn not_maintained(&self, object: &Object) -> SqlError {
        self.broken.get(&object.id).cloned().unwrap_or_else(|| not_maintained(&object.name))
    }

    pub(crate) fn start_subscribe(&mut self, request: SubscribeRequest, reply: Reply<Subscription>) {
        let id = request.relation;
        let kept = self.visible.load().keeps_history(id);
        match self.subscribe(request) {
            // Nothing is shown before a start would know that it was. Where nothing more is logged, no start will.
            Ok(subscription) if !kept && self.read_only.is_none() => {
                let shown =
                    Box::new(move |logged: Result<(), SqlError>| drop(reply.send(logged.map(|()| subscription))));
                self.commit_changes(vec![CatalogChange::KeepHistory(id)], shown);
            }
            subscribed => drop(reply.send(subscribed)),
        }
    }

    fn subscribe(&mut self, request: SubscribeRequest) -> Result<Subscription, SqlError> {
        let id = request.relation;
        let object = self
            .visible
            .load()
            .get(id)
            .ok_or_else(|| SqlError::new(SqlState::UNDEFINED_TABLE, "the relation does not exist"))?;
        if self.snapshot.load().get(id).is_none() {
            return Err(was_dropped(&object.name));
        }
        let Some(flow) = self.flows.get(&id) else {
            return Err(self.not_maintained(&object));
        };
        if let Some(e) = &flow.failed {
            return Err(e.clone());
        }
        let desc = object.desc().cloned().unwrap_or_default();
        let mut since = self.engine.since(id);
        if let Some(at) = request.as_of {
            since = since.max(self.known_from(id, at));
        }
        let as_of = match request.as_of {
            Some(t) if t < since => return Err(crate::read::no_longer_kept(&object.name, since)),
            Some(t) => t,
            None => self.read_ts.max(self.acked),
        };
        let (sink, incoming) = self.sink();
        let engine = self.engine.subscribe(id, as_of, request.snapshot, sink)?;
        let (out, updates) = mpsc::channel(CLIENT_QUEUE);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        self.subscriptions.next += 1;
        let key = self.subscriptions.next;
        let running = Running {
            relation: id,
            name: object.name.clone(),
            engine,
            incoming,
            waiting: VecDeque::new(),
            out,
            queued_bytes: queued_bytes.clone(),
            wants_time: request.progress || request.up_to.is_some(),
            as_of,
            snapshot: request.snapshot,
            next: VecDeque::new(),
            failed: None,
            sent: as_of,
            upper: 0,
            up_to: request.up_to,
        };
        self.subscriptions.running.insert(key, running);
        self.keep_history(id, self.resume_ms);
        Ok(Subscription { id: key, as_of, desc, updates, queued_bytes })
    }

    /// A bounded way for the engine's changes that wakes this task.
    fn sink(&self) -> (SubscribeSink, crossbeam_channel::Receiver<SubscribeMsg>) {
        let (to, incoming) = crossbeam_channel::bounded(ENGINE_QUEUE);
        let wake = self.wake.clone();
        let sink = SubscribeSink::new(move |msg| match to.try_send(msg) {
            Err(crossbeam_channel::TrySendError::Full(msg)) => Err(msg),
            // A receiver that is gone takes everything.
            Err(crossbeam_channel::TrySendError::Disconnected(_)) => Ok(()),
            Ok(()) => {
                wake.notify_one();
                Ok(())
            }
        });
        (sink, incoming)
    }

    pub(crate) fn end_subscribe(&mut self, id: u64) {
        if let Some(running) = self.subscriptions.running.remove(&id) {
            self.engine.unsubscribe(running.engine);
            running.next.into_iter().for_each(|next| self.engine.unsubscribe(next.engine));
        }
    }

    /// Ends every subscription to a relation.
    pub(crate) fn end_subscriptions_with(&mut self, relation: GlobalId, why: impl Fn(&str) -> SqlError) {
        for engine in self.subscriptions.end_relation(relation, why) {
            self.engine.unsubscribe(engine);
        }
    }

    /// Subscriptions to `relation` go on with the dataflow `new` at `at`: with what is different then.
    pub(crate) fn continue_subscriptions(&mut self, relation: GlobalId, new: GlobalId, at: Timestamp) {
        let of_it = self.subscriptions.running.iter().filter(|(_, r)| r.relation == relation);
        let keys: Vec<(u64, Timestamp, bool)> = of_it.map(|(key, r)| (*key, r.as_of, r.snapshot)).collect();
        for (key, as_of, snapshot) in keys {
            let (sink, incoming) = self.sink();
            // One that begins later has seen nothing yet.
            let followed = match as_of < at {
                true => self.engine.subscribe_instead(relation, new, at, sink),
                false => self.engine.subscribe(new, as_of, snapshot, sink),
            };
            let Some(running) = self.subscriptions.running.get_mut(&key) else { continue };
            match followed {
                Ok(engine) => running.go_on_with(Next { at: at.max(as_of), engine, incoming }),
                Err(e) => running.waiting.push_back(SubscribeEvent::Error(e)),
            }
        }
    }

    /// Ends every subscription to a relation that was dropped.
    pub(crate) fn end_subscriptions_of(&mut self, relation: GlobalId) {
        self.end_subscriptions_with(relation, was_dropped);
    }

    /// Passes on what has become readable.
    pub(crate) fn release_subscriptions(&mut self) {
        let read_ts = self.read_ts;
        let mut ended = vec![];
        for (key, running) in &mut self.subscriptions.running {
            if !running.release(read_ts) {
                ended.push(*key);
            } else if let Some(old) = running.switch() {
                self.engine.unsubscribe(old);
                // The difference may be there already.
                if !running.release(read_ts) {
                    ended.push(*key);
                }
            }
        }
        ended.into_iter().for_each(|key| self.end_subscribe(key));
    }
}

impl Running {
    /// From `next.at` on changes come from there.
    fn go_on_with(&mut self, next: Next) {
        if self.next.is_empty() {
            let at = next.at;
            self.upper = self.upper.min(at);
            self.waiting.retain(|e| !matches!(e, SubscribeEvent::Changes { time, .. } if *time >= at));
            self.failed.take_if(|(time, _)| *time >= at);
        }
        self.next.push_back(next);
    }

    /// Goes on with what takes the relation's place, where everything before has come; gives what is over.
    fn switch(&mut self) -> Option<SubscriptionId> {
        let upper = self.upper;
        let next = self.next.pop_front_if(|next| upper >= next.at)?;
        self.incoming = next.incoming;
        Some(std::mem::replace(&mut self.engine, next.engine))
    }

    /// False when it is over.
    fn release(&mut self, read_ts: Timestamp) -> bool {
        let end = self.next.front().map_or(Timestamp::MAX, |next| next.at);
        while self.waiting.len() < WAITING_MAX {
            match self.incoming.try_recv() {
                Ok(SubscribeMsg::Updates { batch }) => {
                    for update in batch.iter().filter(|u| u.time < end) {
                        let diffs =
                            update.diffs.as_ref().map_or_else(|| vec![1; update.len()], |d| d.values().to_vec());
                        let (time, rows) = (update.time, update.rows.clone());
                        self.waiting.push_back(SubscribeEvent::Changes { time, rows, diffs });
                    }
                }
                Ok(SubscribeMsg::Progress(upper)) => self.upper = self.upper.max(upper.min(end)),
                Ok(SubscribeMsg::Failed(time, _)) if time >= end => self.upper = end,
                Ok(SubscribeMsg::Failed(time, e)) => self.failed = Some((time, crate::errors::failed(&self.name, *e))),
                Ok(SubscribeMsg::Error(e)) => self.waiting.push_back(SubscribeEvent::Error(e)),
                Err(_) => break,
            }
        }
        while let Some(next) = self.waiting.front() {
            let due = match next {
                SubscribeEvent::Changes { time, .. } => *time <= read_ts,
                _ => true,
            };
            if !due {
                break;
            }
            let Some(event) = self.waiting.pop_front() else { break };
            let last = matches!(event, SubscribeEvent::Error(_));
            if !self.deliver(event) || last {
                return false;
            }
        }
        let complete = (read_ts + 1).min(self.upper);
        if self.waiting.is_empty() && complete > self.sent {
            if !self.deliver(SubscribeEvent::Progress(complete)) {
                return false;
            }
            self.sent = complete;
        }
        if self.up_to.is_some_and(|t| self.sent >= t) || self.out.is_closed() {
            return false;
        }
        match self.failed.take_if(|(time, _)| *time <= read_ts && self.waiting.is_empty()) {
            Some((_, e)) => {
                self.deliver(SubscribeEvent::Error(e));
                false
            }
            None => true,
        }
    }

    fn deliver(&mut self, event: SubscribeEvent) -> bool {
        if let (SubscribeEvent::Changes { time, .. }, Some(up_to)) = (&event, self.up_to)
            && *time >= up_to
        {
            return true;
        }
        let bytes = event.bytes();
        let before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        // Where it ends, the receiver finds the channel closed and reports where to resume.
        (before == 0 || before + bytes <= CLIENT_BYTES_MAX) && self.out.try_send(event).is_ok()
    }
}
