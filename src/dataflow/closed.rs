//! The frame of operators with state of their own: changes of each closed time in, in order; changes of that time out.
//!
//! Invariant: time t is handed over once, complete, after every earlier one.

use crate::types::{Parcels, RowStream};
use hw_repr::{Timestamp, UpdateBatch};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
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
}

impl Counters {
    /// Sets both.
    pub fn set(&self, rows: usize, bytes: usize) {
        self.rows.store(rows as i64, Ordering::Relaxed);
        self.bytes.store(bytes as i64, Ordering::Relaxed);
    }
}

/// State that takes the changes of one time after the other. Both forms of state fit behind it.
pub trait ClosedTick: 'static {
    /// Takes all changes of `time`; the tagged changes of the output.
    fn tick(&mut self, time: Timestamp, changes: Vec<UpdateBatch>) -> Parcels;
    /// Rows and bytes held.
    fn size(&self) -> (usize, usize);
}

/// Runs `state` on the closed times of a stream. With `first`, that time is handed over even without changes.
pub fn closed_ticks<'s>(
    stream: RowStream<'s>,
    name: &str,
    first: Option<Timestamp>,
    mut state: impl ClosedTick,
    counters: Arc<Counters>,
) -> Stream<'s, u64, Parcels> {
    stream.unary_frontier::<NoopBuilder<Parcels>, _, _, _>(Pipeline, name, move |capability, _| {
        let mut pending: BTreeMap<Timestamp, (Capability<Timestamp>, Vec<UpdateBatch>)> = BTreeMap::new();
        if let Some(time) = first {
            pending.insert(time, (capability.delayed(&time), vec![]));
        }
        drop(capability);
        move |(input, frontier), output| {
            input.for_each(|cap, rows| {
                for batch in rows.0.drain(..) {
                    let slot = pending.entry(batch.time).or_insert_with(|| (cap.delayed(&batch.time, 0), vec![]));
                    slot.1.push(batch);
                }
            });
            while let Some(entry) = pending.first_entry().filter(|e| !frontier.less_equal(e.key())) {
                let (time, (capability, changes)) = entry.remove_entry();
                let mut parcels = state.tick(time, changes);
                if !parcels.0.is_empty() {
                    output.session_with_builder(&capability).give_container(&mut parcels);
                }
                let (rows, bytes) = state.size();
                counters.set(rows, bytes);
            }
        }
    })
}
