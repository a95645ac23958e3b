//! The trace of every arrangement: batches in layers that are merged in the background, behind the newest ones; it can also
//! be told to become one batch.
//!
//! By itself a spine merges what arrives, with the logical frontier of the moment at which a merge begins: what is
//! retracted later may lie beside what it retracts until enough else has arrived. After [`want_compaction`] every
//! spine of this worker, when it is scheduled next, rewrites what it holds with the frontiers of now, at once.
//!
//! It stands in for differential's own spine, which merges up to eight rows for each that arrives within the call that
//! brings them: a batch of a million rows would hold up everything on its worker (ADR 19).
//!
//! Invariants: a reader sees the same contents before and after, at every time at or after the logical frontier, and
//! batches that end beyond the physical frontier are never joined. A trace that nothing will read again (its logical
//! frontier is empty: what it was to be joined with has ended) holds nothing, whatever arrives.

use crate::chunk::RowChunk;
use crate::types::RowBatch;
use differential_dataflow::logging::Logger;
use differential_dataflow::trace::chunk::ChunkBatch;
use differential_dataflow::trace::{Batch, BatchReader, Description, ExertionLogic, Merger, Trace, TraceReader};
use layers::Layers;
use recent::Recent;
use std::cell::Cell;
use std::rc::Rc;
use timely::PartialOrder;
use timely::dataflow::operators::generic::OperatorInfo;
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;
use timely::scheduling::activate::Activator;

mod layers;
mod recent;

thread_local! {
    /// How often compaction was asked for on this worker.
    static WANTED: Cell<u64> = const { Cell::new(0) };
}

/// Every spine of this worker becomes one batch when it is scheduled next.
pub fn want_compaction() {
    WANTED.set(WANTED.get() + 1);
}

/// A spine of row chunks.
pub struct RowSpine {
    layers: Layers,
    /// What came after them.
    recent: Recent,
    /// Of the operator that gives merges their turns.
    activator: Option<Activator>,
    /// Times before it may be joined.
    logical: Antichain<u64>,
    /// Readers need no bound between batches before it.
    physical: Antichain<u64>,
    upper: Antichain<u64>,
    /// Rows that came since merges had their last turn.
    arrived: usize,
    /// The last request that was heard of.
    heard: u64,
    /// How often compaction is still tried for it.
    tries: u8,
    /// It began with what was restored below this time, and nothing that came since has reached it.
    restored: Option<u64>,
}

/// Readers let go of earlier times only after the tick in which an arrangement compacts: then it does so again.
const TRIES: u8 = 4;

/// Rows merged in a turn to which nothing has come: less than a millisecond, which everything else on the worker waits for, and
/// on the other workers too, several times a tick.
const TURN_ROWS: usize = 4 << 10;
/// The most in any turn.
const TURN_ROWS_MAX: usize = 64 << 10;
/// Where more arrives than turns come, a turn merges this often what has arrived: each row is merged a few times.
const TURN_SHARE: usize = 8;

impl RowSpine {
    /// Serves a request, as far as the frontiers of now allow.
    fn serve_request(&mut self) {
        if self.heard != WANTED.get() {
            (self.heard, self.tries) = (WANTED.get(), TRIES);
        }
        if self.tries > 0 && self.compact() {
            let joined = |c: &RowChunk| c.range().all(|i| !self.logical.less_than(&c.body.times.get(i)));
            let settled = self.layers.iter().all(|b| b.chunks.iter().all(joined));
            self.tries = if settled { 0 } else { self.tries - 1 };
        }
    }

    /// Gives the layers what may be joined; all of it, joined or not, where `all`.
    fn flush(&mut self, all: bool) {
        let joined = self.recent.join(&self.logical, self.physical.borrow());
        if let Some(batch) = joined {
            self.layers.push(batch, self.physical.borrow());
        }
        if all || self.recent.is_stuck() {
            self.recent.take().into_iter().for_each(|b| self.layers.push(b, self.physical.borrow()));
        }
    }

    /// Lets go of everything: no reader is left, and none can come.
    fn forget(&mut self) {
        self.recent = Recent::default();
        let begin = Antichain::from_elem(0);
        let nothing = (self.upper != begin).then(|| RowBatch::empty(begin, self.upper.clone()));
        self.layers = Layers::of(nothing.into_iter().collect());
        self.physical = Antichain::new();
    }

    /// One batch of all that may be joined. False where a reader still needs a bound between batches.
    fn compact(&mut self) -> bool {
        self.flush(true);
        let batches: Vec<RowBatch> = self.layers.iter().filter(|b| !b.is_empty()).cloned().collect();
        if batches.is_empty() || self.logical.is_empty() {
            return true;
        }
        if batches.iter().any(|b| !PartialOrder::less_equal(b.upper(), &self.physical)) {
            return false;
        }
        let all_joined = PartialOrder::less_equal(&self.upper, &self.physical);
        let split = if all_joined { self.upper.clone() } else { self.physical.clone() };
        let mut joined = RowBatch::empty(Antichain::from_elem(0), batches[0].lower().clone());
        for batch in &batches {
            joined = merge(&joined, batch, self.logical.borrow());
        }
        let description = Description::new(Antichain::from_elem(0), split.clone(), self.logical.clone());
        let one: RowBatch = Rc::new(ChunkBatch::new(joined.chunks.clone(), description));
        let rest = (split != self.upper).then(|| RowBatch::empty(split, self.upper.clone()));
        self.layers = Layers::of([one].into_iter().chain(rest).collect());
        true
    }
}

/// Both batches as one, with times advanced to `since`.
fn merge(first: &RowBatch, second: &RowBatch, since: AntichainRef<'_, u64>) -> RowBatch {
    let mut merger = first.begin_merge(second, since);
    let mut fuel = isize::MAX;
    merger.work(first, second, &mut fuel);
    merger.done()
}

impl TraceReader for RowSpine {
    type Time = u64;
    type Batch = RowBatch;

    fn batches_through(&mut self, upper: AntichainRef<'_, u64>) -> Option<Vec<RowBatch>> {
        let mut batches = vec![];
        for batch in self.layers.iter().chain(self.recent.iter()).filter(|b| !b.is_empty()) {
            if PartialOrder::less_equal(&batch.upper().borrow(), &upper) {
                batches.push(batch.clone());
            } else if !PartialOrder::less_equal(&upper, &batch.lower().borrow()) {
                return None;
            }
        }
        Some(batches)
    }
    fn set_logical_compaction(&mut self, frontier: AntichainRef<'_, u64>) {
        let last = frontier.is_empty() && !self.logical.is_empty();
        self.logical = frontier.to_owned();
        if last {
            self.forget();
        }
    }
    fn get_logical_compaction(&mut self) -> AntichainRef<'_, u64> {
        self.logical.borrow()
    }
    fn set_physical_compaction(&mut self, frontier: AntichainRef<'_, u64>) {
        self.physical = frontier.to_owned();
    }
    fn get_physical_compaction(&mut self) -> AntichainRef<'_, u64> {
        self.physical.borrow()
    }
    fn map_batches<F: FnMut(&RowBatch)>(&self, f: F) {
        self.layers.iter().chain(self.recent.iter()).for_each(f);
    }
}

impl Trace for RowSpine {
    fn new(_: OperatorInfo, _: Option<Logger>, activator: Option<Activator>) -> Self {
        let restored = crate::restore::take().unwrap_or_default();
        let upper = restored.last().map_or_else(|| Antichain::from_elem(0), |b| b.upper().clone());
        RowSpine {
            restored: restored.last().and_then(|b| b.upper().first().copied()),
            layers: Layers::of(restored),
            recent: Recent::default(),
            activator,
            logical: Antichain::from_elem(0),
            physical: Antichain::from_elem(0),
            upper,
            arrived: 0,
            heard: WANTED.get(),
            tries: 0,
        }
    }
    fn exert(&mut self) {
        self.serve_request();
        self.layers.begin(self.logical.borrow(), self.physical.borrow());
        let rows = std::mem::take(&mut self.arrived).saturating_mul(TURN_SHARE).clamp(TURN_ROWS, TURN_ROWS_MAX);
        self.layers.work(rows as isize, self.logical.borrow(), self.physical.borrow());
        if self.layers.is_merging_any()
            && let Some(activator) = &self.activator
        {
            activator.activate();
        }
    }
    fn set_exert_logic(&mut self, _: ExertionLogic) {}
    fn insert(&mut self, batch: RowBatch) {
        let Some(batch) = crate::restore::follow(&mut self.restored, batch) else { return };
        self.upper.clone_from(batch.upper());
        if self.logical.is_empty() {
            return self.forget();
        }
        let alone = self.recent.is_empty() && batch.is_empty();
        self.arrived = self.arrived.saturating_add(batch.len());
        if alone || Recent::is_large(&batch) {
            self.flush(true);
            return self.layers.push(batch, self.physical.borrow());
        }
        self.recent.push(batch, self.physical.borrow());
        if self.recent.is_full() {
            self.flush(false);
        }
    }
    fn close(&mut self) {
        self.flush(true);
        self.upper = Antichain::new();
    }
}
