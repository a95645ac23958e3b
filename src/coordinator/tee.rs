//! One reader for several dataflows that lack the same range of a source.
//!
//! Invariant: every handle gives every batch once, in the reader's order. What one handle has not taken yet waits for it,
//! and holds the others up from [`WAITING_BYTES_MAX`] on.

use hw_connect::source::Notify;
use hw_connect::{SourceBatch, SourceReader, SourceState};
use hw_repr::SqlError;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of batches that may wait for one handle while another goes on.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// The reader, and what waits for each handle.
struct Shared {
    reader: Box<dyn SourceReader>,
    waiting: Mutex<Vec<Queue>>,
}

/// What waits for one handle.
#[derive(Default)]
struct Queue {
    batches: VecDeque<SourceBatch>,
    bytes: usize,
    /// After what the handle has taken.
    positions: BTreeMap<i32, i64>,
    /// The handle is gone.
    closed: bool,
}

/// One of the readers that [`tee`] gives.
struct Handle {
    shared: Arc<Shared>,
    number: usize,
}

/// So many readers of what `reader` gives. What they cannot do alone: they start and end with `reader`, and are paused with
/// it.
pub(crate) fn tee(reader: Box<dyn SourceReader>, readers: usize) -> impl Iterator<Item = Box<dyn SourceReader>> {
    let queue = || Queue { positions: reader.positions(), ..Queue::default() };
    let waiting = Mutex::new((0..readers).map(|_| queue()).collect());
    let shared = Arc::new(Shared { reader, waiting });
    (0..readers).map(move |number| Box::new(Handle { shared: shared.clone(), number }) as Box<dyn SourceReader>)
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Vec<Queue>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SourceReader for Handle {
    fn try_take(&self, max_bytes: usize) -> Vec<SourceBatch> {
        let mut all = self.shared.waiting();
        let full = all.iter().any(|q| !q.closed && q.bytes >= WAITING_BYTES_MAX);
        if all[self.number].batches.is_empty() && !full {
            for batch in self.shared.reader.try_take(max_bytes) {
                for queue in all.iter_mut().filter(|q| !q.closed) {
                    queue.bytes += batch.memory;
                    queue.batches.push_back(batch.clone());
                }
            }
        }
        let (mine, mut taken, mut bytes) = (&mut all[self.number], vec![], 0);
        while bytes < max_bytes
            && let Some(batch) = mine.batches.pop_front()
        {
            bytes += batch.memory;
            mine.bytes -= batch.memory;
            mine.positions.insert(batch.partition, batch.to);
            taken.push(batch);
        }
        taken
    }

    fn buffered(&self) -> usize {
        let waiting = self.shared.waiting()[self.number].bytes;
        waiting.saturating_add(self.shared.reader.buffered())
    }

    fn positions(&self) -> BTreeMap<i32, i64> {
        self.shared.waiting()[self.number].positions.clone()
    }

    fn upstream_end(&self) -> BTreeMap<i32, i64> {
        self.shared.reader.upstream_end()
    }

    fn state(&self) -> (SourceState, Option<SqlError>) {
        self.shared.reader.state()
    }

    fn set_notify(&self, notify: Notify) {
        self.shared.reader.set_notify(notify);
    }

    fn set_paused(&self, paused: bool) {
        self.shared.reader.set_paused(paused);
    }

    fn is_done(&self) -> bool {
        self.shared.waiting()[self.number].batches.is_empty() && self.shared.reader.is_done()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut all = self.shared.waiting();
        all[self.number] = Queue { closed: true, ..Queue::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hw_connect::RangeDigest;

    /// Gives one batch a call.
    struct Given(Mutex<VecDeque<SourceBatch>>);

    impl SourceReader for Given {
        fn try_take(&self, _: usize) -> Vec<SourceBatch> {
            self.0.lock().expect("not poisoned").pop_front().into_iter().collect()
        }
        fn buffered(&self) -> usize {
            self.0.lock().expect("not poisoned").iter().map(|b| b.memory).sum()
        }
        fn positions(&self) -> BTreeMap<i32, i64> {
            BTreeMap::from([(0, 0)])
        }
        fn upstream_end(&self) -> BTreeMap<i32, i64> {
            BTreeMap::new()
        }
        fn state(&self) -> (SourceState, Option<SqlError>) {
            (SourceState::Done, None)
        }
        fn set_notify(&self, _: Notify) {}
        fn set_paused(&self, _: bool) {}
        fn is_done(&self) -> bool {
            self.buffered() == 0
        }
    }

    fn batch(from: i64, memory: usize) -> SourceBatch {
        let digest = RangeDigest::default();
        SourceBatch { partition: 0, from, to: from + 1, digest, outputs: vec![], dead: vec![], memory }
    }

    #[test]
    fn every_handle_gives_every_batch_once() {
        let given = Given(Mutex::new((0..4).map(|at| batch(at, WAITING_BYTES_MAX / 2)).collect()));
        let mut handles: Vec<_> = tee(Box::new(given), 3).collect();
        let take = |handle: &dyn SourceReader| handle.try_take(1).iter().map(|b| b.from).collect::<Vec<_>>();
        assert_eq!([take(&*handles[0]), take(&*handles[0]), take(&*handles[1])], [[0], [1], [0]]);
        assert_eq!([0, 1].map(|h| handles[h].positions()[&0]), [2, 1]);
        // One that takes nothing holds the others up, as long as it is there.
        assert_eq!(take(&*handles[0]), [0; 0]);
        drop(handles.pop());
        assert_eq!([take(&*handles[0]), take(&*handles[1]), take(&*handles[0])], [[2], [1], [3]]);
        assert!(handles[0].is_done() && !handles[1].is_done());
        assert_eq!((0..2).flat_map(|_| take(&*handles[1])).collect::<Vec<_>>(), [2, 3]);
        assert!(handles[1].is_done());
    }
}
