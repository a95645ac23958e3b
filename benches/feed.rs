//! Events as ready batches: made before the clock starts. Who reads gets as many as it asks for, as from a source that is far
//! behind its upstream.

use arrow::array::RecordBatch;
use hw_connect::source::Notify;
use hw_connect::{NexmarkGenerator, RangeDigest, SourceBatch, SourceReader, SourceState};
use hw_plan::NexmarkSource;
use hw_repr::SqlError;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// All events, by tick: person, auction, bid.
pub type Ticks = Vec<[RecordBatch; 3]>;

/// Makes `events` events in ticks of `tick`.
pub fn make(events: u64, tick: u64) -> Ticks {
    let source = NexmarkSource { events: Some(events), events_per_second: None, seed: 0, epoch_ms: 1_735_689_600_000 };
    let generator = NexmarkGenerator::new(&source);
    (0..events.div_ceil(tick)).map(|i| generator.batch(i * tick, ((i + 1) * tick).min(events))).collect()
}

/// What the readers of one run share.
pub struct Feed {
    ticks: Ticks,
    /// Bytes of each.
    sizes: Vec<usize>,
    /// How many were given to the reader that was given most.
    given: AtomicUsize,
    tick: u64,
    go: AtomicBool,
    notify: Mutex<Vec<Notify>>,
}

impl Feed {
    /// Closed until [`Feed::open`].
    pub fn new(ticks: Ticks, tick: u64) -> Arc<Feed> {
        let size = |outputs: &[RecordBatch; 3]| outputs.iter().map(RecordBatch::get_array_memory_size).sum();
        let sizes = ticks.iter().map(size).collect();
        let given = AtomicUsize::new(0);
        Arc::new(Feed { ticks, sizes, given, tick, go: AtomicBool::new(false), notify: Mutex::default() })
    }

    /// True where a reader was given all.
    pub fn is_drained(&self) -> bool {
        self.given.load(Ordering::Acquire) == self.ticks.len()
    }

    /// Lets the readers read.
    pub fn open(&self) {
        self.go.store(true, Ordering::Release);
        self.notify.lock().unwrap_or_else(|e| e.into_inner()).iter().for_each(|n| n());
    }

    /// A reader of the events from `from` on; one that is asked for a range in the past has nothing to give.
    pub fn reader(self: &Arc<Self>, from: i64, to: Option<i64>) -> Box<dyn SourceReader> {
        let next = AtomicUsize::new((from.max(0) as u64).div_ceil(self.tick) as usize);
        Box::new(Reader { feed: self.clone(), next, bounded: to.is_some() })
    }
}

struct Reader {
    feed: Arc<Feed>,
    next: AtomicUsize,
    bounded: bool,
}

impl Reader {
    fn position(&self, tick: usize) -> i64 {
        (tick as u64 * self.feed.tick) as i64
    }

    fn batch(&self, tick: usize) -> SourceBatch {
        let outputs = self.feed.ticks[tick].to_vec();
        let count = outputs.iter().map(|o| o.num_rows() as u64).sum();
        SourceBatch {
            partition: 0,
            from: self.position(tick),
            to: self.position(tick + 1),
            digest: RangeDigest { count, ..RangeDigest::default() },
            outputs,
            dead: vec![],
            memory: self.feed.sizes[tick],
        }
    }
}

impl SourceReader for Reader {
    fn try_take(&self, max_bytes: usize) -> Vec<SourceBatch> {
        if self.bounded || !self.feed.go.load(Ordering::Acquire) {
            return vec![];
        }
        let (mut taken, mut bytes) = (vec![], 0);
        let mut at = self.next.load(Ordering::Acquire);
        while at < self.feed.ticks.len() && bytes < max_bytes {
            bytes += self.feed.sizes[at];
            taken.push(self.batch(at));
            at += 1;
        }
        self.next.store(at, Ordering::Release);
        self.feed.given.fetch_max(at, Ordering::AcqRel);
        taken
    }
    fn positions(&self) -> BTreeMap<i32, i64> {
        BTreeMap::from([(0, self.position(self.next.load(Ordering::Acquire)))])
    }
    fn upstream_end(&self) -> BTreeMap<i32, i64> {
        BTreeMap::from([(0, self.position(self.feed.ticks.len()))])
    }
    fn state(&self) -> (SourceState, Option<SqlError>) {
        (SourceState::Running, None)
    }
    fn set_notify(&self, notify: Notify) {
        self.feed.notify.lock().unwrap_or_else(|e| e.into_inner()).push(notify);
    }
    fn set_paused(&self, _: bool) {}
    fn is_done(&self) -> bool {
        self.bounded
    }
}
