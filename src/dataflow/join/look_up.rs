//! One step of a path of a delta join: each change that comes in meets the rows of an arrangement that have its key.
//!
//! It sees what the arrangement held before the time of the change, or also what changed at that time; which of the two is
//! right depends on the inputs' order, see [`crate::render`]. So it waits until the arrangement is complete as far as it is to be
//! seen, and lets go of earlier times only behind that: times are told apart one tick below the oldest change that
//! waits or may come. It yields after [`YIELD_ROWS`] rows, inside a key too.
//!
//! Of a relation that is resident, all that it holds at the time at which the flow begins has been there before any change:
//! also before those that fill the flow, whose times lie below.

use super::Arrangement;
use super::merge::{Position, ROW_BYTES, YIELD_ROWS};
use crate::closed::Counters;
use crate::exchange::{exchange, select, slice};
use crate::layout::{Layout, columns, pick};
use crate::types::{RowBatch, RowStream, RowTrace, Rows, batch_of, schema_of};
use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use differential_dataflow::trace::TraceReader;
use hw_repr::{Diff, SqlError, SqlType, Timestamp, UpdateBatch};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::progress::Antichain;

/// Rows that are looked up together.
const PIECE_ROWS: usize = 8192;
/// Parts made before the operator lets others run.
const PARTS: usize = 8;

/// What a step does.
pub struct Step {
    /// Types of the columns that come in.
    pub types: Vec<SqlType>,
    /// Of these, the key, in the order of the arrangement's.
    pub key: Vec<usize>,
    /// Of these, those in which NULL matches nothing.
    pub strict: Vec<usize>,
    /// Only what was there before the time of a change is seen.
    pub before: bool,
    /// What the arrangement holds at this time is seen by every change.
    pub resident: Option<Timestamp>,
    /// Columns that came in and are read later, or compared here.
    pub keep: Vec<usize>,
    /// The same of the arrangement's.
    pub take: Vec<usize>,
    /// Pairs of columns that must be equal, as positions in `keep` and then `take`; whether NULL equals NULL.
    pub also: Vec<(usize, usize, bool)>,
    /// What goes on, as positions in `keep` and then `take`.
    pub output: Vec<usize>,
}

/// A step, prepared.
struct Shape {
    step: Step,
    from: Layout,
    to: Layout,
    schema: SchemaRef,
    /// The columns that must be equal, one and the other.
    also: Option<[Layout; 2]>,
    also_strict: Vec<usize>,
}

impl Shape {
    fn new(step: Step, to: &Arrangement<'_>) -> Shape {
        let types = [pick(&step.types, &step.keep), pick(&to.types, &step.take)].concat();
        let side = |f: &dyn Fn(&(usize, usize, bool)) -> usize| {
            Layout::keyed(&types, &step.also.iter().map(f).collect::<Vec<_>>())
        };
        let also = (!step.also.is_empty()).then(|| [side(&|a| a.0), side(&|a| a.1)]);
        let also_strict = step.also.iter().filter(|a| !a.2).map(|a| a.0).collect();
        let (from, to) = (Layout::keyed(&step.types, &step.key), to.layout.clone());
        Shape { from, to, schema: schema_of(&types), also, also_strict, step }
    }

    /// Changes at `time` see what the arrangement holds below this time.
    fn bound(&self, time: Timestamp) -> Timestamp {
        let bound = if self.step.before { time } else { time.saturating_add(1) };
        self.step.resident.map_or(bound, |begin| bound.max(begin.saturating_add(1)))
    }

    /// True for a time of the arrangement that changes at `time` see.
    fn sees(&self, of: Timestamp, time: Timestamp) -> bool {
        of < self.bound(time)
    }
}

/// Rows that are being looked up, of one time.
struct Probe {
    batch: UpdateBatch,
    /// Bytes that a row of it counts for.
    row_bytes: usize,
    keys: Vec<u8>,
    ends: Vec<usize>,
    /// Rows that can match, by key.
    order: Vec<u32>,
    others: Vec<RowBatch>,
    /// By batch: the first row of the current key, or one before it.
    at: Vec<Position>,
    /// The rows of the current key are `order[lo..hi]`.
    lo: usize,
    hi: usize,
    /// Where the current key is looked for: the batch, the row in it, and which of `lo..hi` is next for that.
    other: usize,
    inner: Position,
    next: usize,
}

/// Matches that make a batch.
#[derive(Default)]
struct Found {
    made: usize,
    rows: Vec<u32>,
    /// Batch, chunk and row.
    matches: Vec<(u32, u32, u32)>,
    diffs: Vec<Diff>,
}

impl Probe {
    fn new(batch: UpdateBatch, others: Vec<RowBatch>, shape: &Shape) -> Probe {
        let strict = columns(&batch.rows, &shape.step.strict);
        let mut encoder = shape.from.key_encoder(&batch.rows);
        let (mut keys, mut ends) = (vec![], Vec::with_capacity(batch.len()));
        for row in 0..batch.len() {
            encoder.encode(row, &mut keys);
            ends.push(keys.len());
        }
        let matches = |row: &u32| batch.diff(*row as usize) != 0 && strict.iter().all(|c| c.is_valid(*row as usize));
        let mut order: Vec<u32> = (0..batch.len() as u32).filter(matches).collect();
        order.sort_by(|a, b| key_of(&keys, &ends, *a).cmp(key_of(&keys, &ends, *b)));
        let row_bytes = batch.rows.get_array_memory_size() / batch.len().max(1);
        let at = vec![Position::default(); others.len()];
        let mut probe = Probe {
            batch,
            row_bytes,
            keys,
            ends,
            order,
            others,
            at,
            lo: 0,
            hi: 0,
            other: 0,
            inner: Position::default(),
            next: 0,
        };
        probe.next_key();
        probe
    }

    fn key(&self) -> &[u8] {
        key_of(&self.keys, &self.ends, self.order[self.lo])
    }

    fn is_done(&self) -> bool {
        self.lo >= self.order.len()
    }

    /// Goes to the next key.
    fn next_key(&mut self) {
        self.lo = self.hi;
        if self.is_done() {
            return;
        }
        let same = |row: &&u32| key_of(&self.keys, &self.ends, **row) == self.key();
        self.hi += self.order[self.lo..].iter().take_while(same).count();
        self.other = 0;
        self.seek();
    }

    /// Goes to the current key in the current batch.
    fn seek(&mut self) {
        if let Some(batch) = self.others.get(self.other) {
            let key = key_of(&self.keys, &self.ends, self.order[self.lo]);
            self.at[self.other].seek(&batch.chunks, key);
            self.inner = self.at[self.other];
            self.next = self.lo;
        }
    }

    /// Finds more matches.
    fn find(&mut self, found: &mut Found, shape: &Shape) {
        while !self.is_done() && found.made < YIELD_ROWS {
            let Some(batch) = self.others.get(self.other).cloned() else {
                self.next_key();
                found.made += 1;
                continue;
            };
            let at = self.inner;
            let chunk = batch.chunks.get(at.chunk).filter(|c| c.body.key(at.row) == self.key());
            let Some(chunk) = chunk else {
                self.other += 1;
                self.seek();
                continue;
            };
            // Changes of one row stand together.
            let (body, row) = (&chunk.body, chunk.body.row(at.row));
            let (mut end, mut diff) = (at.row, 0);
            while end < chunk.hi && (end == at.row || body.row(end) == row) {
                if shape.sees(body.times.get(end), self.batch.time) {
                    diff += body.diffs.get(end);
                }
                end += 1;
            }
            if diff != 0 {
                let cost = 1 + (row.len() + self.row_bytes) / ROW_BYTES;
                while self.next < self.hi && found.made < YIELD_ROWS {
                    let mine = self.order[self.next];
                    found.rows.push(mine);
                    found.matches.push((self.other as u32, at.chunk as u32, at.row as u32));
                    found.diffs.push(diff * self.batch.diff(mine as usize));
                    found.made += cost;
                    self.next += 1;
                }
                if self.next < self.hi {
                    return;
                }
            }
            self.next = self.lo;
            self.inner.row = end - 1;
            self.inner.step(&batch.chunks);
        }
    }

    /// The next matches as a batch; none where none were found among so many rows.
    fn part(&mut self, shape: &Shape) -> Result<Option<UpdateBatch>, SqlError> {
        let mut found = Found::default();
        self.find(&mut found, shape);
        if found.rows.is_empty() {
            return Ok(None);
        }
        let rows = UInt32Array::from(found.rows);
        let gather = |c: &usize| take(self.batch.rows.column(*c), &rows, None);
        let kept = shape.step.keep.iter().map(gather).collect::<Result<Vec<_>, _>>();
        let mut all = kept.map_err(|e| SqlError::internal(e.to_string()))?;
        let row = |m: &(u32, u32, u32)| self.others[m.0 as usize].chunks[m.1 as usize].body.row(m.2 as usize);
        all.extend(shape.to.decode_some(&mut found.matches.iter().map(row), &shape.step.take)?);
        let batch = batch_of(&shape.schema, all, found.diffs.len())?;
        let ones = found.diffs.iter().all(|d| *d == 1);
        let diffs = (!ones).then(|| Arc::new(found.diffs.into()));
        let made = compared(UpdateBatch { rows: batch, diffs, time: self.batch.time }, shape);
        let rows = made.rows.project(&shape.step.output).map_err(|e| SqlError::internal(e.to_string()))?;
        Ok(Some(UpdateBatch { rows, ..made }).filter(|b| !b.is_empty()))
    }
}

fn key_of<'a>(keys: &'a [u8], ends: &[usize], row: u32) -> &'a [u8] {
    let start = row.checked_sub(1).map_or(0, |before| ends[before as usize]);
    &keys[start..ends[row as usize]]
}

/// The rows in which the columns are equal that have to be.
fn compared(batch: UpdateBatch, shape: &Shape) -> UpdateBatch {
    let Some([one, other]) = &shape.also else { return batch };
    let equal = |rows: &RecordBatch| {
        let strict = columns(rows, &shape.also_strict);
        let (mut a, mut b) = (one.key_encoder(rows), other.key_encoder(rows));
        let (mut left, mut right) = (vec![], vec![]);
        let mut is_equal = move |row: usize| {
            left.clear();
            right.clear();
            a.encode(row, &mut left);
            b.encode(row, &mut right);
            left == right && strict.iter().all(|c| c.is_valid(row))
        };
        (0..rows.num_rows()).filter(|row| is_equal(*row)).map(|row| row as u32).collect::<Vec<u32>>()
    };
    let good = equal(&batch.rows);
    if good.len() == batch.len() { batch } else { select(&batch, &good.into()) }
}

/// Changes of one time that wait or are being looked up.
struct Tick {
    capability: Capability<Timestamp>,
    waiting: VecDeque<UpdateBatch>,
    probe: Option<Probe>,
}

impl Tick {
    /// Begins with the next rows, where there are some.
    fn begin(&mut self, trace: &RowTrace, shape: &Shape) -> bool {
        let Some(batch) = self.waiting.pop_front() else { return false };
        if batch.len() > PIECE_ROWS {
            self.waiting.push_front(slice(&batch, PIECE_ROWS, batch.len() - PIECE_ROWS));
        }
        let mut others = vec![];
        trace.map_batches(|b| {
            if !b.chunks.is_empty() {
                others.push(b.clone());
            }
        });
        self.probe = Some(Probe::new(slice(&batch, 0, batch.len().min(PIECE_ROWS)), others, shape));
        true
    }
}

/// The rows of a stream, each with those of an arrangement that have its key. With `placed` every row is on the owner of
/// its key. `counters` count what comes in, `work` the time that it takes and, on the `last` step of a path, what goes out.
pub fn look_up<'s>(
    stream: RowStream<'s>,
    to: &Arrangement<'s>,
    step: Step,
    placed: bool,
    counters: Option<Arc<Counters>>,
    (work, last): (Arc<Counters>, bool),
) -> RowStream<'s> {
    let shape = Rc::new(Shape::new(step, to));
    let mut trace = to.arranged.trace.clone();
    trace.set_physical_compaction(Antichain::new().borrow());
    let (mut trace, scope) = (Some(trace), stream.scope());
    let stream = if placed { stream } else { exchange(stream, &shape.from) };
    let passed = to.arranged.stream.clone();
    stream.binary_frontier::<_, NoopBuilder<Rows>, _, _, _, _>(passed, Pipeline, Pipeline, "LookUp", move |_, info| {
        let activator = scope.activator_for(info.address);
        let mut ticks: BTreeMap<Timestamp, Tick> = BTreeMap::new();
        move |(input, frontier), (batches, passed), output| {
            // What it holds is read from the trace.
            batches.for_each(|_, batches| batches.clear());
            input.for_each(|cap, rows| {
                for batch in rows.0.drain(..).filter(|b| !b.is_empty()) {
                    counters.iter().for_each(|c| c.take_in(batch.len()));
                    let capability = || cap.delayed(&batch.time, 0);
                    let make = || Tick { capability: capability(), waiting: VecDeque::new(), probe: None };
                    ticks.entry(batch.time).or_insert_with(make).waiting.push_back(batch);
                }
            });
            let ready = |time: &Timestamp| !passed.less_than(&shape.bound(*time));
            let mut parts = 0;
            while let Some(mut entry) = ticks.first_entry().filter(|e| ready(e.key()))
                && let Some(trace) = &trace
            {
                if parts == PARTS {
                    activator.activate();
                    break;
                }
                let tick = entry.get_mut();
                let Some(probe) = &mut tick.probe else {
                    if !tick.begin(trace, &shape) {
                        entry.remove();
                    }
                    continue;
                };
                parts += 1;
                let begun = Instant::now();
                let made = probe.part(&shape).expect("invariant: an arrangement holds what its layout encoded");
                work.worked(made.as_ref().filter(|_| last).map_or(0, UpdateBatch::len), begun);
                if probe.is_done() {
                    tick.probe = None;
                }
                if let Some(made) = made {
                    output.session_with_builder(&tick.capability).give_container(&mut Rows(vec![made]));
                }
            }
            let oldest = frontier.frontier().first().copied().into_iter().chain(ticks.keys().next().copied()).min();
            match (oldest, &mut trace) {
                (Some(time), Some(trace)) => {
                    trace.set_logical_compaction(Antichain::from_elem(time.saturating_sub(1)).borrow());
                }
                _ => trace = None,
            }
        }
    })
}
