//! Events as ready batches: made before the clock starts, one tick at a time to whoever reads.

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
    tick: u64,
    go: AtomicBool,
    notify: Mutex<Vec<Notify>>,
}

impl Feed {
    /// Closed until [`Feed::open`].
    pub fn new(ticks: Ticks, tick: u64) -> Arc<Feed> {
        Arc::new(Feed { ticks, tick, go: AtomicBool::new(false), notify: Mutex::default() })
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
}

impl SourceReader for Reader {
    fn try_take(&self, _: usize) -> Vec<SourceBatch> {
        let at = self.next.load(Ordering::Acquire);
        if self.bounded || !self.feed.go.load(Ordering::Acquire) || at >= self.feed.ticks.len() {
            return vec![];
        }
        self.next.store(at + 1, Ordering::Release);
        let outputs = self.feed.ticks[at].to_vec();
        let count = outputs.iter().map(|o| o.num_rows() as u64).sum();
        vec![SourceBatch {
            partition: 0,
            from: self.position(at),
            to: self.position(at + 1),
            digest: RangeDigest { count, ..RangeDigest::default() },
            outputs,
            dead: vec![],
            memory: 1,
        }]
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
