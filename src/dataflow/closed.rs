//! The frame of operators with state of their own: changes of each closed time in, in order; changes of that time out.
//!
//! Invariant: time t is handed over once, complete, after every earlier one.

use crate::chunk::RowChunk;
use crate::exchange::{Dealt, Keyed, by_owner};
use crate::state::Entries;
use crate::types::Parcels;
use hw_repr::{SqlError, Timestamp};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
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
    fn absorb(&mut self, input: usize, rows: Keyed);
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
    changes: VecDeque<(usize, Keyed)>,
}

/// Runs `state` on the closed times of rows that are dealt to their owners. With `first`, that time is handed over even without changes.
pub fn closed_ticks<'s>(
    stream: Stream<'s, u64, Dealt>,
    name: &str,
    first: Option<Timestamp>,
    state: Rc<RefCell<impl ClosedTick>>,
    counters: Arc<Counters>,
) -> Stream<'s, u64, Parcels> {
    let scope = stream.scope();
    stream.unary_frontier::<NoopBuilder<Parcels>, _, _, _>(by_owner(), name, move |capability, info| {
        let activator = scope.activator_for(info.address);
        let mut pending: BTreeMap<Timestamp, Tick> = BTreeMap::new();
        if let Some(time) = first {
            pending.insert(time, Tick { capability: capability.delayed(&time), changes: VecDeque::new() });
        }
        drop(capability);
        move |(input, frontier), output| {
            input.for_each(|cap, dealt| {
                for (from, rows) in dealt.rows.drain(..).filter(|(_, rows)| !rows.is_empty()) {
                    let time = rows.time();
                    counters.take_in(rows.len());
                    let make = || Tick { capability: cap.delayed(&time, 0), changes: VecDeque::new() };
                    pending.entry(time).or_insert_with(make).changes.push_back((from, rows));
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
                    && let Some((from, rows)) = tick.changes.pop_front()
                {
                    let (all, now) = (rows.len(), rows.len().min(fuel));
                    fuel -= now;
                    if now < all {
                        tick.changes.push_front((from, rows.slice(now, all - now)));
                    }
                    state.absorb(from, rows.slice(0, now));
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
