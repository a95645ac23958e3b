//! The newest batches of an arrangement, before the spine has them.
//!
//! A spine that gets every tick by itself merges pairs: a row is copied again on each of the lowest levels, and a tick of
//! a few rows costs as much as its bookkeeping. So small batches wait here and are joined several at a time, each row
//! copied once.
//!
//! Invariant: the batches follow each other without a gap, and the first follows what the spine has.

use crate::chunk::{RowChunk, merge_runs};
use crate::types::RowBatch;
use differential_dataflow::trace::chunk::ChunkBatch;
use differential_dataflow::trace::{BatchReader, Description};
use std::collections::VecDeque;
use std::rc::Rc;
use timely::PartialOrder;
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;

/// Batches that are joined at a time.
const BATCHES: usize = 8;
/// Rows, and bytes, that are joined at a time: what a tick has to wait for.
const ROWS_MAX: usize = 64 << 10;
const BYTES_MAX: usize = 8 << 20;

/// See the module.
#[derive(Default)]
pub(super) struct Recent {
    batches: VecDeque<RowBatch>,
    rows: usize,
    bytes: usize,
}

impl Recent {
    /// True for a batch that would not gain from waiting.
    pub(super) fn is_large(batch: &RowBatch) -> bool {
        batch.len() > ROWS_MAX / 4
    }

    /// All batches, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &RowBatch> {
        self.batches.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// True where it is time to join.
    pub(super) fn is_full(&self) -> bool {
        self.batches.len() >= BATCHES || self.rows >= ROWS_MAX || self.bytes >= BYTES_MAX
    }

    /// True where batches wait in vain: some reader needs the bounds between them.
    pub(super) fn is_stuck(&self) -> bool {
        self.batches.len() >= 2 * BATCHES || self.rows >= 2 * ROWS_MAX || self.bytes >= 2 * BYTES_MAX
    }

    /// Takes the batch that follows. An empty one only moves the end of the last, where no reader needs the bound
    /// between them.
    pub(super) fn push(&mut self, batch: RowBatch, physical: AntichainRef<'_, u64>) {
        if batch.is_empty()
            && let Some(last) = self.batches.back_mut()
            && PartialOrder::less_equal(&batch.upper().borrow(), &physical)
        {
            let since = last.description().since().clone();
            let description = Description::new(last.lower().clone(), batch.upper().clone(), since);
            *last = Rc::new(ChunkBatch::new(last.chunks.clone(), description));
            return;
        }
        self.rows += batch.len();
        self.bytes += batch.chunks.iter().map(RowChunk::bytes).sum::<usize>();
        self.batches.push_back(batch);
    }

    /// The oldest batches as one, as far as no reader needs the bounds between them; `None` where that would join nothing.
    pub(super) fn join(&mut self, since: &Antichain<u64>, physical: AntichainRef<'_, u64>) -> Option<RowBatch> {
        let free = |b: &&RowBatch| PartialOrder::less_equal(&b.upper().borrow(), &physical);
        let count = self.batches.iter().take_while(free).count();
        let time = since.first().copied().filter(|_| count > 1)?;
        let joined: Vec<RowBatch> = self.batches.drain(..count).collect();
        let (first, last) = (joined.first()?, joined.last()?);
        let description = Description::new(first.lower().clone(), last.upper().clone(), since.clone());
        let chunks: Vec<RowChunk> = joined.iter().flat_map(|b| b.chunks.iter().cloned()).collect();
        self.count();
        Some(Rc::new(ChunkBatch::new(merge_runs(&chunks, time), description)))
    }

    /// All batches, as they are.
    pub(super) fn take(&mut self) -> VecDeque<RowBatch> {
        (self.rows, self.bytes) = (0, 0);
        std::mem::take(&mut self.batches)
    }

    fn count(&mut self) {
        self.rows = self.batches.iter().map(|b| b.len()).sum();
        self.bytes = self.batches.iter().flat_map(|b| &b.chunks).map(RowChunk::bytes).sum();
    }
}
