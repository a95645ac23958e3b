//! The trace of every arrangement: differential's spine behind the newest batches, which can also be told to become
//! one batch.
//!
//! By itself a spine merges what arrives, with the logical frontier of the moment at which a merge begins: what is
//! retracted later may lie beside what it retracts until enough else has arrived. After [`want_compaction`] every
//! spine of this worker, when it is scheduled next, rewrites what it holds with the frontiers of now, at once.
//!
//! Invariants: a reader sees the same contents before and after, at every time at or after the logical frontier, and
//! batches that end beyond the physical frontier are never joined. A trace that nothing will read again (its logical
//! frontier is empty: what it was to be joined with has ended) holds nothing, whatever arrives.

use crate::chunk::RowChunk;
use crate::types::RowBatch;
use differential_dataflow::logging::Logger;
use differential_dataflow::trace::chunk::{ChunkBatch, ChunkSpine};
use differential_dataflow::trace::{Batch, BatchReader, Description, ExertionLogic, Merger, Trace, TraceReader};
use recent::Recent;
use std::cell::Cell;
use std::rc::Rc;
use timely::PartialOrder;
use timely::dataflow::operators::generic::OperatorInfo;
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;
use timely::scheduling::activate::Activator;

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
    inner: ChunkSpine<RowChunk>,
    /// What came after it.
    recent: Recent,
    /// What another inner spine is made from.
    info: OperatorInfo,
    logger: Option<Logger>,
    activator: Option<Activator>,
    upper: Antichain<u64>,
    /// The last request that was heard of.
    heard: u64,
    /// How often compaction is still tried for it.
    tries: u8,
    /// It began with what was restored below this time, and nothing that came since has reached it.
    restored: Option<u64>,
}

/// Readers let go of earlier times only after the tick in which an arrangement compacts: then it does so again.
const TRIES: u8 = 4;

impl RowSpine {
    /// Serves a request, as far as the frontiers of now allow.
    fn serve_request(&mut self) {
        if self.heard != WANTED.get() {
            (self.heard, self.tries) = (WANTED.get(), TRIES);
        }
        if self.tries > 0 && self.compact() {
            let since = self.inner.get_logical_compaction().to_owned();
            let mut settled = true;
            self.inner.map_batches(|b| {
                let joined = |c: &RowChunk| c.range().all(|i| !since.less_than(&c.body.times.get(i)));
                settled &= b.chunks.iter().all(joined);
            });
            self.tries = if settled { 0 } else { self.tries - 1 };
        }
    }

    /// Gives the spine what may be joined; all of it, joined or not, where `all`.
    fn flush(&mut self, all: bool) {
        let since = self.inner.get_logical_compaction().to_owned();
        let joined = self.recent.join(&since, self.inner.get_physical_compaction());
        if let Some(batch) = joined {
            self.inner.insert(batch);
        }
        if all || self.recent.is_stuck() {
            self.recent.take().into_iter().for_each(|b| self.inner.insert(b));
        }
    }

    /// Lets go of everything: no reader is left, and none can come.
    fn forget(&mut self) {
        self.recent = Recent::default();
        self.inner = ChunkSpine::new(self.info.clone(), self.logger.clone(), self.activator.clone());
        let begin = Antichain::from_elem(0);
        if self.upper != begin {
            self.inner.insert(RowBatch::empty(begin, self.upper.clone()));
        }
        self.inner.set_logical_compaction(AntichainRef::new(&[]));
        self.inner.set_physical_compaction(AntichainRef::new(&[]));
    }

    /// One batch of all that may be joined. False where a reader still needs a bound between batches.
    fn compact(&mut self) -> bool {
        self.flush(true);
        let since = self.inner.get_logical_compaction().to_owned();
        let physical = self.inner.get_physical_compaction().to_owned();
        let mut batches: Vec<RowBatch> = vec![];
        self.inner.map_batches(|b| {
            if !b.is_empty() {
                batches.push(b.clone());
            }
        });
        if batches.is_empty() || since.is_empty() {
            return true;
        }
        if batches.iter().any(|b| !PartialOrder::less_equal(b.upper(), &physical)) {
            return false;
        }
        let all_joined = PartialOrder::less_equal(&self.upper, &physical);
        let split = if all_joined { self.upper.clone() } else { physical.clone() };
        let mut joined = RowBatch::empty(Antichain::from_elem(0), batches[0].lower().clone());
        for batch in &batches {
            joined = merge(&joined, batch, since.borrow());
        }
        let description = Description::new(Antichain::from_elem(0), split.clone(), since.clone());
        let mut inner = ChunkSpine::new(self.info.clone(), self.logger.clone(), self.activator.clone());
        inner.insert(Rc::new(ChunkBatch::new(joined.chunks.clone(), description)));
        if split != self.upper {
            inner.insert(RowBatch::empty(split, self.upper.clone()));
        }
        inner.set_logical_compaction(since.borrow());
        inner.set_physical_compaction(physical.borrow());
        self.inner = inner;
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
        let mut batches = self.inner.batches_through(upper)?;
        for batch in self.recent.iter().filter(|b| !b.is_empty()) {
            if PartialOrder::less_equal(&batch.upper().borrow(), &upper) {
                batches.push(batch.clone());
            } else if !PartialOrder::less_equal(&upper, &batch.lower().borrow()) {
                return None;
            }
        }
        Some(batches)
    }
    fn set_logical_compaction(&mut self, frontier: AntichainRef<'_, u64>) {
        let last = frontier.is_empty() && !self.inner.get_logical_compaction().is_empty();
        self.inner.set_logical_compaction(frontier);
        if last {
            self.forget();
        }
    }
    fn get_logical_compaction(&mut self) -> AntichainRef<'_, u64> {
        self.inner.get_logical_compaction()
    }
    fn set_physical_compaction(&mut self, frontier: AntichainRef<'_, u64>) {
        self.inner.set_physical_compaction(frontier);
    }
    fn get_physical_compaction(&mut self) -> AntichainRef<'_, u64> {
        self.inner.get_physical_compaction()
    }
    fn map_batches<F: FnMut(&RowBatch)>(&self, mut f: F) {
        self.inner.map_batches(&mut f);
        self.recent.iter().for_each(f);
    }
}

impl Trace for RowSpine {
    fn new(info: OperatorInfo, logger: Option<Logger>, activator: Option<Activator>) -> Self {
        let inner = ChunkSpine::new(info.clone(), logger.clone(), activator.clone());
        let (upper, recent) = (Antichain::from_elem(0), Recent::default());
        let heard = WANTED.get();
        let mut spine = RowSpine { inner, recent, info, logger, activator, upper, heard, tries: 0, restored: None };
        for batch in crate::restore::take().into_iter().flatten() {
            spine.upper.clone_from(batch.upper());
            spine.restored = batch.upper().first().copied();
            spine.inner.insert(batch);
        }
        spine
    }
    fn exert(&mut self) {
        self.inner.exert();
        self.serve_request();
    }
    fn set_exert_logic(&mut self, logic: ExertionLogic) {
        self.inner.set_exert_logic(logic);
    }
    fn insert(&mut self, batch: RowBatch) {
        let Some(batch) = crate::restore::follow(&mut self.restored, batch) else { return };
        self.upper.clone_from(batch.upper());
        if self.inner.get_logical_compaction().is_empty() {
            return self.forget();
        }
        let alone = self.recent.is_empty() && batch.is_empty();
        if alone || Recent::is_large(&batch) {
            self.flush(true);
            return self.inner.insert(batch);
        }
        self.recent.push(batch, self.inner.get_physical_compaction());
        if self.recent.is_full() {
            self.flush(false);
        }
    }
    fn close(&mut self) {
        self.flush(true);
        self.upper = Antichain::new();
        self.inner.close();
    }
}
