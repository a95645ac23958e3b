//! Subscriptions: the changes of a flow, consolidated per time, in order, once all workers have passed them.

use crate::arrange::BATCH_BYTES;
use crate::chunk::RowChunk;
use crate::layout::Layout;
use crate::render::error_layout;
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
    layout: Layout,
    sink: SubscribeSink,
    state: Mutex<State>,
}

impl Subscription {
    /// Fed by `workers` workers.
    pub fn new(as_of: Timestamp, snapshot: bool, layout: Layout, sink: SubscribeSink, workers: usize) -> Self {
        let state = State { uppers: vec![as_of; workers * 2], sent: as_of, ..State::default() };
        Subscription { as_of, snapshot, layout, sink, state: Mutex::new(state) }
    }

    /// First time.
    pub fn as_of(&self) -> Timestamp {
        self.as_of
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

    fn close_below(&self, state: &mut State, upper: Timestamp) {
        state.sent = upper;
        for (row, diff) in below(&mut state.errors, upper).into_values().flatten() {
            *state.error_counts.entry(row).or_insert(0) += diff;
        }
        state.error_counts.retain(|_, n| *n != 0);
        if let Some((row, _)) = state.error_counts.iter().find(|(_, n)| **n > 0) {
            let error = decode_error(row);
            self.fail(state, error);
            return;
        }
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
                    Err(error) => return self.fail(state, error),
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

    fn fail(&self, state: &mut State, error: SqlError) {
        state.closed = true;
        state.rows.clear();
        state.errors.clear();
        state.queue.push_back(SubscribeMsg::Error(error));
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
            self.fail(state, SqlError::new(SqlState::LIMIT_EXCEEDED, message));
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

/// The error behind an encoded error row.
pub fn decode_error(row: &[u8]) -> SqlError {
    use arrow::array::AsArray;
    match error_layout().decode(&mut std::iter::once(row)) {
        Ok(columns) => {
            let code = columns[0].as_string::<i32>().value(0);
            let code = code.as_bytes().try_into().map_or(SqlState::INTERNAL, SqlState);
            SqlError::new(code, columns[1].as_string::<i32>().value(0))
        }
        Err(error) => error,
    }
}
