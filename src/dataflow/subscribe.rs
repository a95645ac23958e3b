//! Subscriptions: the changes of a flow, consolidated per time, in order, once all workers have passed them.

use crate::arrange::BATCH_BYTES;
use crate::chunk::RowChunk;
use crate::errors::ViewError;
use crate::layout::Layout;
use hw_repr::{Diff, SqlError, SqlState, Timestamp, UpdateBatch};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

/// Changes kept for a slow receiver before its subscription ends with an error.
const BACKLOG_ROWS_MAX: usize = 4_000_000;

/// What a subscriber gets.
#[derive(Clone, Debug)]
pub enum SubscribeMsg {
    /// Changes, one batch a time, times ascending. The first may be the snapshot, at as_of.
    Updates {
        /// The batches.
        batch: Arc<Vec<UpdateBatch>>,
    },
    /// Every change below this time was sent.
    Progress(Timestamp),
    /// The end: at this time the flow has a row that fails. Everything before was sent.
    Failed(Timestamp, Box<ViewError>),
    /// The end.
    Error(SqlError),
}

/// Where messages go. The function gives a message back when there is no room; it is offered again later.
pub struct SubscribeSink(Box<dyn Fn(SubscribeMsg) -> Result<(), SubscribeMsg> + Send + Sync>);

impl SubscribeSink {
    /// Around a function that does not block, such as the `try_send` of a bounded channel.
    pub fn new(offer: impl Fn(SubscribeMsg) -> Result<(), SubscribeMsg> + Send + Sync + 'static) -> Self {
        SubscribeSink(Box::new(offer))
    }
    /// A bounded channel. A receiver that is gone takes everything.
    pub fn channel(capacity: usize) -> (Self, crossbeam_channel::Receiver<SubscribeMsg>) {
        let (to, from) = crossbeam_channel::bounded(capacity);
        let offer = move |msg| match to.try_send(msg) {
            Err(crossbeam_channel::TrySendError::Full(msg)) => Err(msg),
            Ok(()) | Err(crossbeam_channel::TrySendError::Disconnected(_)) => Ok(()),
        };
        (SubscribeSink::new(offer), from)
    }
}

/// Names a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(pub u64);

type Rows = Vec<(Box<[u8]>, Diff)>;

#[derive(Default)]
struct State {
    rows: BTreeMap<Timestamp, Rows>,
    errors: BTreeMap<Timestamp, Rows>,
    error_counts: BTreeMap<Box<[u8]>, Diff>,
    uppers: Vec<Timestamp>,
    sent: Timestamp,
    queue: VecDeque<SubscribeMsg>,
    queued_rows: usize,
    closed: bool,
}

/// A subscription, shared by the workers.
pub struct Subscription {
    as_of: Timestamp,
    snapshot: bool,
    /// A row that fails ends it.
    pub fails: bool,
    layout: Layout,
    sink: SubscribeSink,
    state: Mutex<State>,
}

impl Subscription {
    /// Fed by `workers` workers.
    pub fn new(
        as_of: Timestamp,
        snapshot: bool,
        fails: bool,
        layout: Layout,
        sink: SubscribeSink,
        workers: usize,
    ) -> Self {
        let errors_from = if fails { as_of } else { Timestamp::MAX };
        let uppers = [as_of, errors_from].repeat(workers);
        let state = State { uppers, sent: as_of, ..State::default() };
        Subscription { as_of, snapshot, fails, layout, sink, state: Mutex::new(state) }
    }

    /// First time.
    pub fn as_of(&self) -> Timestamp {
        self.as_of
    }

    /// Before the first time, the subscriber has these rows: their changes begin with what makes them be gone.
    pub fn has_shown(&self, rows: Vec<(Box<[u8]>, Diff)>) {
        let mut state = self.lock();
        state.queued_rows += rows.len();
        let negated = rows.into_iter().map(|(row, diff)| (row, -diff));
        state.rows.entry(self.as_of).or_default().extend(negated);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Takes changes of rows or errors.
    pub fn add(&self, chunks: &[RowChunk], errors: bool) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let state = &mut *state;
        let to = if errors { &mut state.errors } else { &mut state.rows };
        for chunk in chunks {
            for i in chunk.range() {
                let time = chunk.body.times.get(i);
                if errors || self.snapshot || time > self.as_of {
                    let slot = to.entry(time.max(self.as_of)).or_default();
                    slot.push((chunk.body.row(i).into(), chunk.body.diffs.get(i)));
                    state.queued_rows += usize::from(!errors);
                }
            }
        }
    }

    /// A worker has passed `upper` with its rows (or errors).
    pub fn pass(&self, worker: usize, errors: bool, upper: Timestamp) {
        let mut state = self.lock();
        state.uppers[worker * 2 + usize::from(errors)] = upper;
        let upper = state.uppers.iter().copied().min().unwrap_or(0);
        if !state.closed && upper > state.sent {
            self.close_below(&mut state, upper);
        }
        self.offer(&mut state);
    }

    /// Offers what is queued again; true when something is left.
    pub fn flush(&self) -> bool {
        let mut state = self.lock();
        self.offer(&mut state);
        !state.queue.is_empty()
    }

    /// The first time below `upper` at which a row fails, and the first of those rows.
    fn first_error(&self, state: &mut State, upper: Timestamp) -> Option<(Timestamp, SubscribeMsg)> {
        for (time, rows) in below(&mut state.errors, upper) {
            for (row, diff) in rows {
                *state.error_counts.entry(row).or_insert(0) += diff;
            }
            state.error_counts.retain(|_, n| *n != 0);
            if let Some((row, _)) = state.error_counts.iter().find(|(_, n)| **n > 0) {
                let end = match ViewError::decode(row) {
                    Ok(error) => SubscribeMsg::Failed(time, Box::new(error)),
                    Err(e) => SubscribeMsg::Error(e),
                };
                return Some((time, end));
            }
        }
        None
    }

    fn close_below(&self, state: &mut State, upper: Timestamp) {
        let end = self.first_error(state, upper);
        let upper = end.as_ref().map_or(upper, |(time, _)| *time);
        if upper > state.sent {
            self.close_rows(state, upper);
        }
        if let Some((_, end)) = end.filter(|_| !state.closed) {
            self.end(state, end);
        }
    }

    fn close_rows(&self, state: &mut State, upper: Timestamp) {
        state.sent = upper;
        let mut batches = vec![];
        for (time, rows) in below(&mut state.rows, upper) {
            let had = rows.len();
            let (rows, diffs) = consolidate(rows);
            state.queued_rows = state.queued_rows + rows.len() - had;
            if rows.is_empty() {
                continue;
            }
            for piece in pieces(&rows, BATCH_BYTES) {
                let diffs = Arc::new(diffs[piece.clone()].to_vec().into());
                match self.layout.decode_batch(&mut rows[piece].iter().map(|r| &r[..])) {
                    Ok(rows) => batches.push(UpdateBatch { rows, diffs: Some(diffs), time }),
                    Err(error) => return self.end(state, SubscribeMsg::Error(error)),
                }
            }
        }
        if !batches.is_empty() {
            state.queue.push_back(SubscribeMsg::Updates { batch: Arc::new(batches) });
        }
        // Progress that was not taken yet is replaced.
        if let Some(SubscribeMsg::Progress(_)) = state.queue.back() {
            state.queue.pop_back();
        }
        state.queue.push_back(SubscribeMsg::Progress(upper));
    }

    fn end(&self, state: &mut State, last: SubscribeMsg) {
        state.closed = true;
        state.rows.clear();
        state.errors.clear();
        state.queue.push_back(last);
    }

    fn offer(&self, state: &mut State) {
        while let Some(msg) = state.queue.pop_front() {
            let rows = match &msg {
                SubscribeMsg::Updates { batch } => batch.iter().map(UpdateBatch::len).sum(),
                _ => 0,
            };
            match (self.sink.0)(msg) {
                Ok(()) => state.queued_rows = state.queued_rows.saturating_sub(rows),
                Err(msg) => {
                    state.queue.push_front(msg);
                    break;
                }
            }
        }
        if state.queued_rows > BACKLOG_ROWS_MAX && !state.closed && !state.queue.is_empty() {
            state.queue.clear();
            let message = "the subscriber is too slow: more changes are waiting than are kept";
            self.end(state, SubscribeMsg::Error(SqlError::new(SqlState::LIMIT_EXCEEDED, message)));
        }
    }
}

/// Takes what is below `upper`.
fn below(map: &mut BTreeMap<Timestamp, Rows>, upper: Timestamp) -> BTreeMap<Timestamp, Rows> {
    let rest = if upper == Timestamp::MAX { BTreeMap::new() } else { map.split_off(&upper) };
    std::mem::replace(map, rest)
}

/// Ranges of rows that are `limit` bytes each, and one row more, at most.
fn pieces(rows: &[Box<[u8]>], limit: usize) -> Vec<std::ops::Range<usize>> {
    let (mut out, mut from, mut bytes) = (vec![], 0, 0);
    for (i, row) in rows.iter().enumerate() {
        bytes += row.len();
        if bytes >= limit || i + 1 == rows.len() {
            out.push(from..i + 1);
            (from, bytes) = (i + 1, 0);
        }
    }
    out
}

fn consolidate(mut rows: Rows) -> (Vec<Box<[u8]>>, Vec<Diff>) {
    rows.sort_unstable();
    let (mut out, mut diffs): (Vec<Box<[u8]>>, Vec<Diff>) = (vec![], vec![]);
    for (row, diff) in rows {
        if out.last() == Some(&row) {
            *diffs.last_mut().expect("invariant: a diff a row") += diff;
        } else {
            if diffs.last() == Some(&0) {
                out.pop();
                diffs.pop();
            }
            out.push(row);
            diffs.push(diff);
        }
    }
    if diffs.last() == Some(&0) {
        out.pop();
        diffs.pop();
    }
    (out, diffs)
}
