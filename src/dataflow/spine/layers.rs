//! The settled batches of an arrangement, oldest first, and the merges that join neighbours in the background.
//!
//! Neighbours are merged where the older one is less than twice as large as the newer: sizes fall geometrically from old to
//! new, a row is copied a logarithmic number of times, and a reader meets few batches. A merge goes on a bounded number of
//! rows at a time ([`Layers::work`]), whatever its size and whoever waits: a batch of a million rows costs the tick that
//! brings it no more than any other.
//!
//! Invariants: the batches follow each other without a gap; both inputs of a merge stay readable until it is done; batches
//! that end beyond the physical frontier are never joined.

use crate::types::RowBatch;
use differential_dataflow::trace::chunk::ChunkBatch;
use differential_dataflow::trace::{Batch, BatchReader, Description, Merger};
use std::rc::Rc;
use timely::PartialOrder;
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;

/// A batch and the number of its rows, which it would count anew.
struct Layer {
    batch: RowBatch,
    rows: usize,
}

impl Layer {
    fn new(batch: RowBatch) -> Layer {
        Layer { rows: batch.len(), batch }
    }
}

/// Two neighbours on their way to one.
struct Merge {
    first: RowBatch,
    second: RowBatch,
    merger: <RowBatch as Batch>::Merger,
}

/// See the module.
#[derive(Default)]
pub(super) struct Layers {
    layers: Vec<Layer>,
    /// Newest last.
    merges: Vec<Merge>,
}

impl Layers {
    /// Only these, which follow each other.
    pub(super) fn of(batches: Vec<RowBatch>) -> Layers {
        Layers { layers: batches.into_iter().map(Layer::new).collect(), merges: vec![] }
    }

    /// All batches, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &RowBatch> {
        self.layers.iter().map(|l| &l.batch)
    }

    /// Takes the batch that follows. Empty ones that follow each other become one where no reader needs the bound between
    /// them.
    pub(super) fn push(&mut self, batch: RowBatch, physical: AntichainRef<'_, u64>) {
        if let Some(Layer { batch: last, rows: 0 }) = self.layers.last_mut()
            && batch.is_empty()
            && PartialOrder::less_equal(&batch.upper().borrow(), &physical)
        {
            *last = RowBatch::empty(last.lower().clone(), batch.upper().clone());
            return;
        }
        self.layers.push(Layer::new(batch));
    }

    /// Begins the merges that are due. Their times are advanced to `since`.
    pub(super) fn begin(&mut self, since: AntichainRef<'_, u64>, physical: AntichainRef<'_, u64>) {
        let mut at = self.layers.len();
        while at >= 2 {
            at -= 1;
            let (older, newer) = (&self.layers[at - 1], &self.layers[at]);
            let (first, second) = (&older.batch, &newer.batch);
            let bound = !PartialOrder::less_equal(&second.upper().borrow(), &physical);
            if bound || older.rows >= 2 * newer.rows.max(1) || self.is_merging(first) || self.is_merging(second) {
                continue;
            }
            if older.rows == 0 || newer.rows == 0 {
                let joined = Layer::new(fold(first, second));
                self.layers.splice(at - 1..=at, [joined]);
                continue;
            }
            let merger = first.begin_merge(second, since);
            self.merges.push(Merge { first: first.clone(), second: second.clone(), merger });
            at -= 1;
        }
        // The smallest is the newest, and done first: readers meet fewer batches soonest.
        self.merges.sort_by(|a, b| a.first.lower().elements().cmp(b.first.lower().elements()));
    }

    fn is_merging(&self, batch: &RowBatch) -> bool {
        self.merges.iter().any(|m| Rc::ptr_eq(&m.first, batch) || Rc::ptr_eq(&m.second, batch))
    }

    /// Merges about as many rows as there is fuel; merges that this makes possible are begun.
    pub(super) fn work(&mut self, mut fuel: isize, since: AntichainRef<'_, u64>, physical: AntichainRef<'_, u64>) {
        while fuel > 0
            && let Some(merge) = self.merges.last_mut()
        {
            merge.merger.work(&merge.first, &merge.second, &mut fuel);
            // Fuel is left only where there was nothing more to do.
            if fuel <= 0 {
                return;
            }
            if let Some(Merge { first, merger, .. }) = self.merges.pop()
                && let Some(at) = self.layers.iter().position(|l| Rc::ptr_eq(&l.batch, &first))
            {
                self.layers.splice(at..=at + 1, [Layer::new(merger.done())]);
            }
            self.begin(since, physical);
        }
    }

    /// True where a merge is not done.
    pub(super) fn is_merging_any(&self) -> bool {
        !self.merges.is_empty()
    }
}

/// Two neighbours, one of which is empty, as one.
fn fold(first: &RowBatch, second: &RowBatch) -> RowBatch {
    let rows = if first.is_empty() { second } else { first };
    let (lower, upper) = (first.lower().clone(), second.upper().clone());
    let since: Antichain<u64> = rows.description().since().clone();
    Rc::new(ChunkBatch::new(rows.chunks.clone(), Description::new(lower, upper, since)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::RowChunk;
    use hw_repr::ChunkBody;

    /// A batch of the times from `lower` to `upper` with these rows, each once at `lower`.
    fn batch(lower: u64, upper: u64, rows: impl Iterator<Item = u32>) -> RowBatch {
        let mut body = ChunkBody::default();
        rows.for_each(|row| body.push(&row.to_be_bytes(), 4, lower, 1));
        let chunks = if body.is_empty() { vec![] } else { vec![RowChunk::from(body)] };
        let at = Antichain::from_elem;
        Rc::new(ChunkBatch::new(chunks, Description::new(at(lower), at(upper), at(0))))
    }

    fn rows(layers: &Layers) -> Vec<u32> {
        let chunks = layers.iter().flat_map(|b| b.chunks.iter());
        let mut all: Vec<u32> = chunks
            .flat_map(|c| c.range().map(|i| u32::from_be_bytes(c.body.row(i).try_into().expect("four bytes"))))
            .collect();
        all.sort_unstable();
        all
    }

    fn follow_each_other(layers: &Layers) -> bool {
        let all: Vec<&RowBatch> = layers.iter().collect();
        all.windows(2).all(|w| w[0].upper() == w[1].lower())
    }

    #[test]
    fn a_large_batch_is_merged_a_piece_at_a_time() {
        let (since, physical) = (Antichain::from_elem(9), Antichain::from_elem(9));
        let mut layers = Layers::default();
        layers.push(batch(0, 1, (0..20_000).map(|i| 2 * i)), physical.borrow());
        layers.push(batch(1, 2, (0..20_000).map(|i| 2 * i + 1)), physical.borrow());
        layers.begin(since.borrow(), physical.borrow());
        let mut pieces = 0;
        while layers.is_merging_any() {
            assert_eq!(rows(&layers), (0..40_000).collect::<Vec<_>>());
            layers.work(1, since.borrow(), physical.borrow());
            pieces += 1;
        }
        assert!(pieces > 2, "{pieces} pieces");
        assert_eq!(layers.iter().count(), 1);
        assert_eq!(rows(&layers), (0..40_000).collect::<Vec<_>>());
    }

    #[test]
    fn sizes_fall_geometrically_and_nothing_is_lost() {
        let since = Antichain::from_elem(0);
        let mut layers = Layers::default();
        let mut next = 0;
        for time in 0..200u64 {
            let physical = Antichain::from_elem(time.saturating_sub(3));
            let count = (time * 7919 % 50) as u32;
            layers.push(batch(time, time + 1, next..next + count), physical.borrow());
            next += count;
            layers.begin(since.borrow(), physical.borrow());
            layers.work(1_000_000, since.borrow(), physical.borrow());
            assert!(follow_each_other(&layers));
        }
        assert_eq!(rows(&layers), (0..next).collect::<Vec<_>>());
        assert!(layers.iter().count() < 20, "{} batches", layers.iter().count());
    }

    #[test]
    fn what_ends_beyond_the_physical_frontier_stays_apart() {
        let (since, physical) = (Antichain::from_elem(0), Antichain::from_elem(1));
        let mut layers = Layers::default();
        for time in 0..4u64 {
            layers.push(batch(time, time + 1, 0..if time == 3 { 0 } else { 5 }), physical.borrow());
        }
        layers.begin(since.borrow(), physical.borrow());
        layers.work(1_000_000, since.borrow(), physical.borrow());
        assert_eq!(layers.iter().count(), 4);
        let physical = Antichain::from_elem(3);
        layers.begin(since.borrow(), physical.borrow());
        layers.work(1_000_000, since.borrow(), physical.borrow());
        assert_eq!(layers.iter().map(|b| b.upper().elements()[0]).collect::<Vec<_>>(), [3, 4]);
    }
}
