//! The frame of operators with state of their own: changes of each closed time in, in order; changes of that time out.
//!
//! Invariant: time t is handed over once, complete, after every earlier one.

use crate::chunk::RowChunk;
use crate::state::Entries;
use crate::types::{Parcels, RowStream};
use hw_repr::{SqlError, Timestamp, UpdateBatch};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

/// What an operator holds on one worker, readable from any thread.
#[derive(Debug, Default)]
pub struct Counters {
    /// Keys or rows.
    pub rows: AtomicI64,
    /// Heap bytes, estimated.
    pub bytes: AtomicI64,
    /// Changes that have come in since the start.
    pub taken_in: AtomicU64,
    /// Changes that have gone out since the start.
    pub given_out: AtomicU64,
    /// Nanoseconds of its own work since the start; arranging what it reads is not in it.
    pub busy: AtomicU64,
}

impl Counters {
    /// Sets both.
    pub fn set(&self, rows: usize, bytes: usize) {
        self.rows.store(rows as i64, Ordering::Relaxed);
        self.bytes.store(bytes as i64, Ordering::Relaxed);
    }

    /// Counts changes that came in.
    pub fn take_in(&self, changes: usize) {
        self.taken_in.fetch_add(changes as u64, Ordering::Relaxed);
    }

    /// Counts changes that went out, and the time that they took.
    pub fn worked(&self, changes: usize, since: Instant) {
        self.given_out.fetch_add(changes as u64, Ordering::Relaxed);
        self.busy.fetch_add(since.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }
}

/// State that takes the changes of one time after the other. Both forms of state fit behind it.
pub trait ClosedTick: 'static {
    /// Takes some changes of the tick, of the input with this number.
    fn absorb(&mut self, input: usize, batch: UpdateBatch);
    /// All changes of the tick at `time` were absorbed: the next part of the output's changes. After `None` the next
    /// tick begins.
    fn emit(&mut self, time: Timestamp) -> Option<Parcels>;
    /// Rows and bytes held.
    fn size(&self) -> (usize, usize);
    /// What is held now is to be taken: all of it, or what changed since the last time.
    fn begin_taking(&mut self, all: bool);
    /// Takes about as many rows; all that was to be taken, when that was the rest.
    fn take_some(&mut self, rows: usize) -> Option<Entries>;
    /// Begins with runs of entries, oldest first. Only before anything was absorbed.
    fn restore(&mut self, entries: Vec<Vec<RowChunk>>) -> Result<(), SqlError>;
    /// Goes on with about so many of the entries it began with, where it does not do all of them at once. True where some
    /// are left.
    fn thaw(&mut self, _rows: usize) -> bool {
        false
    }
}

/// Rows absorbed, or parts emitted times 2048, after which the operator yields: one tick may be a whole history.
const FUEL_ROWS: usize = 8192;
const EMIT_COST: usize = 2048;

/// A time whose changes are being collected.
struct Tick {
    capability: Capability<Timestamp>,
    changes: VecDeque<(usize, UpdateBatch)>,
}

/// Writes the number of an input on its batches.
pub fn tag(stream: RowStream<'_>, input: usize) -> Stream<'_, u64, Parcels> {
    stream.unary::<NoopBuilder<Parcels>, _, _, _>(Pipeline, "Tag", move |_, _| {
        move |from, output| {
            from.for_each(|cap, rows| {
                let mut parcels = Parcels(rows.0.drain(..).map(|b| (input, b)).collect());
                output.session_with_builder(&cap).give_container(&mut parcels);
            })
        }
    })
}

/// Runs `state` on the closed times of a stream of batches with their input's number. With `first`, that time is handed over even without changes.
pub fn closed_ticks<'s>(
    stream: Stream<'s, u64, Parcels>,
    name: &str,
    first: Option<Timestamp>,
    state: Rc<RefCell<impl ClosedTick>>,
    counters: Arc<Counters>,
) -> Stream<'s, u64, Parcels> {
    let scope = stream.scope();
    stream.unary_frontier::<NoopBuilder<Parcels>, _, _, _>(Pipeline, name, move |capability, info| {
        let activator = scope.activator_for(info.address);
        let mut pending: BTreeMap<Timestamp, Tick> = BTreeMap::new();
        if let Some(time) = first {
            pending.insert(time, Tick { capability: capability.delayed(&time), changes: VecDeque::new() });
        }
        drop(capability);
        move |(input, frontier), output| {
            input.for_each(|cap, parcels| {
                for (from, batch) in parcels.0.drain(..).filter(|p| !p.1.is_empty()) {
                    counters.take_in(batch.len());
                    let make = || Tick { capability: cap.delayed(&batch.time, 0), changes: VecDeque::new() };
                    pending.entry(batch.time).or_insert_with(make).changes.push_back((from, batch));
                }
            });
            let (begun, mut made) = (Instant::now(), 0);
            let mut fuel = FUEL_ROWS;
            let mut worked = false;
            let mut state = state.borrow_mut();
            while let Some(mut entry) = pending.first_entry().filter(|e| !frontier.less_equal(e.key())) {
                worked = true;
                let time = *entry.key();
                let tick = entry.get_mut();
                while fuel > 0
                    && let Some((from, batch)) = tick.changes.pop_front()
                {
                    let now = batch.len().min(fuel);
                    fuel -= now;
                    if now < batch.len() {
                        tick.changes.push_front((from, slice(&batch, now, batch.len() - now)));
                    }
                    state.absorb(from, slice(&batch, 0, now));
                }
                let mut done = false;
                while fuel > 0 && !done {
                    match state.emit(time) {
                        Some(mut parcels) if !parcels.0.is_empty() => {
                            made += parcels.0.iter().map(|p| p.1.len()).sum::<usize>();
                            output.session_with_builder(&tick.capability).give_container(&mut parcels);
                            fuel = fuel.saturating_sub(EMIT_COST);
                        }
                        Some(_) => fuel = fuel.saturating_sub(EMIT_COST / 4),
                        None => done = true,
                    }
                }
                if !done {
                    activator.activate();
                    break;
                }
                entry.remove();
            }
            if worked {
                let (rows, bytes) = state.size();
                counters.set(rows, bytes);
                counters.worked(made, begun);
            }
        }
    })
}

/// Some rows of a batch, shared.
pub fn slice(batch: &UpdateBatch, at: usize, len: usize) -> UpdateBatch {
    if at == 0 && len == batch.len() {
        return batch.clone();
    }
    let diffs = batch.diffs.as_ref().map(|d| Arc::new(d.slice(at, len)));
    UpdateBatch { rows: batch.rows.slice(at, len), diffs, time: batch.time }
}
