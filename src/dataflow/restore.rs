//! Arrangements that begin with what a checkpoint had.
//!
//! A trace makes itself deep inside differential, so what it begins with is left for it on its worker just before
//! ([`preload`]) and taken by it ([`take`]). What comes then follows: the empty batches with which an arrangement starts are
//! swallowed up to the restored bound (see [`crate::spine`]).
//!
//! Invariants: restored rows are sorted runs as an arrangement of the same layout published them; where they were on other
//! workers, because of their number or because they were placed by other columns, each row goes to its owner.

use crate::chunk::{RowChunk, merge_runs, pick};
use crate::layout::Layout;
use crate::types::RowBatch;
use differential_dataflow::trace::chunk::ChunkBatch;
use differential_dataflow::trace::{BatchReader, Description};
use hw_repr::Timestamp;
use hw_repr::chunk::{ChunkView, PublishedShard};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use timely::PartialOrder;
use timely::progress::Antichain;

/// What a served arrangement held.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// By worker, as published; any number of workers.
    pub shards: Vec<Arc<PublishedShard>>,
    /// See [`Layout::apart`].
    pub apart: Option<Vec<usize>>,
}

impl Restored {
    /// Nothing, below `upper`.
    pub fn empty(upper: Timestamp) -> Restored {
        Restored { shards: vec![Arc::new(PublishedShard { since: upper, upper, runs: vec![] })], apart: None }
    }

    /// It can be read from this time on.
    pub fn since(&self) -> Timestamp {
        self.shards.iter().map(|s| s.since).max().unwrap_or(0)
    }

    /// All changes below this time are in it.
    pub fn upper(&self) -> Timestamp {
        self.shards.iter().map(|s| s.upper).min().unwrap_or(0)
    }

    /// The sorted runs of one of `peers` workers.
    fn runs(&self, layout: &Layout, worker: usize, peers: usize) -> Vec<Vec<RowChunk>> {
        if self.shards.len() == peers && (peers == 1 || self.apart.as_deref() == layout.apart()) {
            let whole = |run: &Vec<ChunkView>| run.iter().map(RowChunk::restored).collect();
            return self.shards[worker].runs.iter().map(whole).collect();
        }
        // Their blocks had the right checksums.
        let owners =
            |view: &ChunkView| layout.owners(view, peers).expect("invariant: rows are what the layout encoded");
        let mine = |view: &ChunkView| owners(view).into_iter().map(|owner| owner == worker).collect();
        let runs = self.shards.iter().flat_map(|s| &s.runs);
        runs.map(|run| pick(run, mine)).filter(|run| !run.is_empty()).collect()
    }

    /// The batches with which the trace of one of `peers` workers begins. Without gaps from 0 to [`Restored::upper`]; the
    /// bounds between them lie below every time that can be read.
    pub fn batches(&self, layout: &Layout, worker: usize, peers: usize) -> Vec<RowBatch> {
        let (since, upper) = (self.since(), self.upper());
        let mut runs = self.runs(layout, worker, peers);
        if runs.len() as u64 > since {
            let all: Vec<RowChunk> = runs.into_iter().flatten().collect();
            runs = vec![merge_runs(&all, since)];
        }
        runs.retain(|run| !run.is_empty());
        if runs.is_empty() {
            runs.push(vec![]);
        }
        let last = runs.len() - 1;
        let batch = |(i, chunks): (usize, Vec<RowChunk>)| {
            let upper = if i == last { upper } else { i as u64 + 1 };
            let at = Antichain::from_elem;
            Rc::new(ChunkBatch::new(chunks, Description::new(at(i as u64), at(upper), at(since))))
        };
        runs.into_iter().enumerate().map(batch).collect()
    }
}

thread_local! {
    static NEXT: Cell<Option<Vec<RowBatch>>> = const { Cell::new(None) };
}

/// What of a batch follows what was restored: an arrangement does not know of that and begins at 0. `begins` is the
/// restored bound until the first batch that does.
pub fn follow(begins: &mut Option<Timestamp>, batch: RowBatch) -> Option<RowBatch> {
    let Some(restored) = begins.map(Antichain::from_elem) else { return Some(batch) };
    if PartialOrder::less_equal(batch.upper(), &restored) {
        debug_assert!(batch.is_empty(), "changes of times that were restored");
        return None;
    }
    *begins = None;
    // On a stream empty batches before it may be missing.
    if PartialOrder::less_equal(&restored, batch.lower()) {
        return Some(batch);
    }
    let (upper, since) = (batch.upper().clone(), batch.description().since().clone());
    Some(Rc::new(ChunkBatch::new(batch.chunks.clone(), Description::new(restored, upper, since))))
}

/// Leaves what the next trace of this worker begins with.
pub fn preload(batches: Option<Vec<RowBatch>>) {
    NEXT.set(batches);
}

/// What was left for this trace.
pub fn take() -> Option<Vec<RowBatch>> {
    NEXT.take()
}
