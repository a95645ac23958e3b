//! The one constructor of arrangements, and the import of an arrangement into another dataflow.

use crate::batcher::Batcher;
use crate::chunk::RowChunk;
use crate::exchange::{Addressed, by_owner, owner, room_for_share};
use crate::layout::Layout;
use crate::restore::Restored;
use crate::types::{Chunks, RowArranged, RowBatch, RowSpine, RowStream, RowTrace, Rows};
use differential_dataflow::operators::arrange::{Arranged, TraceAgent, TraceReplayInstruction};
use differential_dataflow::trace::chunk::ChunkBatch;
use differential_dataflow::trace::{Description, Trace, TraceReader};
use hw_repr::{ChunkBody, SqlError, Timestamp, UpdateBatch};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use timely::container::{CapacityContainerBuilder, NoopBuilder};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::{Operator, operator::source};
use timely::dataflow::{Scope, Stream};
use timely::progress::Antichain;
use timely::scheduling::Activator;

impl Addressed for Chunks {
    fn owner(&self) -> usize {
        self.owner
    }
}

/// Bytes of rows that are encoded into one chunk.
const BODY_BYTES: usize = 32 << 20;

/// Arranges a collection by the key of `layout`, each key on its owner, after what was `restored`. Rows with a NULL in a
/// column of `drop_null` are left out. Where rows are `placed`, each is on the owner of its key.
pub fn arrange<'s>(
    stream: RowStream<'s>,
    layout: &Layout,
    drop_null: &[usize],
    restored: Option<&Restored>,
    placed: bool,
    name: &str,
) -> RowArranged<'s> {
    let scope = stream.scope();
    let (peers, here) = (scope.peers(), scope.index());
    let begin = restored.map(|r| r.batches(layout, here, peers));
    let (layout, drop_null, stay) = (layout.clone(), drop_null.to_vec(), placed || peers == 1);
    let chunks = stream.unary::<NoopBuilder<Chunks>, _, _, _>(Pipeline, "Encode", move |_, _| {
        // Of a row, as far as is known.
        let mut row_bytes = 0;
        move |input, output| {
            input.for_each(|cap, rows| {
                let rows = std::mem::take(&mut rows.0);
                let all = rows.iter().map(UpdateBatch::len).sum::<usize>();
                let room = if stay { all } else { room_for_share(all, peers) };
                let mut bodies: Vec<ChunkBody> = vec![];
                bodies.resize_with(peers, ChunkBody::default);
                let mut session = output.session_with_builder(&cap);
                let mut send = |owner: usize, body: &mut ChunkBody| {
                    let chunks = vec![RowChunk::from(std::mem::take(body))];
                    session.give_container(&mut Chunks { owner, chunks });
                };
                let bytes = room.saturating_mul(row_bytes).min(BODY_BYTES);
                if stay {
                    bodies[here].reserve(room, bytes);
                } else {
                    bodies.iter_mut().for_each(|body| body.reserve(room, bytes));
                }
                for batch in rows {
                    match stay {
                        true => {
                            let full = &mut |body: &mut ChunkBody| send(here, body);
                            layout.encode(&batch, &drop_null, &mut bodies[here], BODY_BYTES, full);
                        }
                        false => {
                            let of = |key: &[u8]| owner(key, peers);
                            let bodies = (bodies.as_mut_slice(), here);
                            layout.encode_apart(&batch, &drop_null, bodies, of, BODY_BYTES, &mut send);
                        }
                    }
                }
                for (owner, body) in bodies.iter_mut().enumerate().filter(|(_, body)| !body.is_empty()) {
                    row_bytes = body.data.len() / body.len() + 1;
                    send(owner, body);
                }
            })
        }
    });
    crate::restore::preload(begin);
    arrange_chunks(chunks, name)
}

/// Puts changes into a trace on their owner, a batch for each step of their frontier. As differential's `arrange_core`, but what
/// takes long is done in turns: other operators wait for none of it (see [`Batcher`] and [`RowSpine`]).
fn arrange_chunks<'s>(chunks: Stream<'s, u64, Chunks>, name: &str) -> RowArranged<'s> {
    let scope = chunks.scope();
    let mut trace = None;
    let trace_ref = &mut trace;
    type Batches = CapacityContainerBuilder<Vec<RowBatch>>;
    let stream = chunks.unary_frontier::<Batches, _, _, _>(by_owner(), name, move |_, info| {
        let activator = scope.activator_for(Rc::clone(&info.address));
        let spine = RowSpine::new(info.clone(), None, Some(scope.activator_for(Rc::clone(&info.address))));
        let (reader, mut writer) = TraceAgent::new(spine, info, None);
        *trace_ref = Some(reader);
        let mut batcher = Batcher::default();
        // Of the least time of what waits, and of what is being sealed.
        let mut capability: Option<Capability<Timestamp>> = None;
        let mut lower = Antichain::from_elem(0);
        // The bound of the batch that is being made.
        let mut sealing: Option<Antichain<Timestamp>> = None;
        move |(input, frontier), output| {
            input.for_each(|cap, chunks| {
                if capability.as_ref().is_none_or(|held| cap.time() < held.time()) {
                    capability = Some(cap.retain(0));
                }
                chunks.chunks.drain(..).for_each(|changes| batcher.push(changes));
            });
            loop {
                let upper = sealing.get_or_insert_with(|| frontier.frontier().to_owned());
                if *upper == lower {
                    sealing = None;
                    if batcher.go_on() {
                        activator.activate();
                    }
                    break;
                }
                match capability.as_mut().filter(|held| !upper.less_equal(held.time())) {
                    None => writer.seal(upper.clone()),
                    Some(held) => {
                        let Some(chunks) = batcher.seal(upper) else {
                            activator.activate();
                            break;
                        };
                        let since = Antichain::from_elem(0);
                        let description = Description::new(lower.clone(), upper.clone(), since);
                        let batch: RowBatch = Rc::new(ChunkBatch::new(chunks, description));
                        writer.insert(batch.clone(), Some(*held.time()));
                        output.session(&*held).give(batch);
                        match batcher.least_time() {
                            Some(time) => held.downgrade(&time),
                            None => capability = None,
                        }
                    }
                }
                lower.clone_from(upper);
                sealing = None;
            }
            writer.exert();
        }
    });
    Arranged { stream, trace: trace.expect("invariant: the operator is built before it is returned") }
}

/// The batches of an arrangement that follow what was restored below `upper`, with bounds as in its trace: on its stream
/// they begin at 0.
pub fn after_restored(stream: Stream<'_, u64, Vec<RowBatch>>, upper: Timestamp) -> Stream<'_, u64, Vec<RowBatch>> {
    let mut begins = Some(upper);
    stream.unary::<NoopBuilder<Vec<RowBatch>>, _, _, _>(Pipeline, "AfterRestored", move |_, _| {
        move |input, output| {
            input.for_each(|cap, batches| {
                let mut batches: Vec<RowBatch> =
                    batches.drain(..).filter_map(|b| crate::restore::follow(&mut begins, b)).collect();
                output.session_with_builder(&cap).give_container(&mut batches);
            })
        }
    })
}

/// Bytes of rows from which on a batch of columns takes no more: a column's offsets reach 2 GiB.
pub const BATCH_BYTES: usize = 256 << 20;

/// Changes that become a batch.
#[derive(Default)]
struct Open<'a> {
    rows: Vec<&'a [u8]>,
    diffs: Vec<i64>,
    bytes: usize,
}

impl Open<'_> {
    fn close(&mut self, layout: &Layout, time: Timestamp) -> Result<UpdateBatch, SqlError> {
        let Open { rows, diffs, .. } = std::mem::take(self);
        let rows = layout.decode_batch(&mut rows.iter().copied())?;
        let ones = diffs.iter().all(|d| *d == 1);
        Ok(UpdateBatch { rows, diffs: (!ones).then(|| Arc::new(diffs.into())), time })
    }
}

/// Changes grouped by what `time` makes of their times, as columns; those of one time in several batches where they are
/// large. Changes for whose time it gives `None` are left out.
pub fn batches_by_time(
    layout: &Layout,
    chunks: &[RowChunk],
    time: impl Fn(Timestamp) -> Option<Timestamp>,
) -> Result<Vec<UpdateBatch>, SqlError> {
    let (mut times, mut out): (BTreeMap<Timestamp, Open<'_>>, Vec<UpdateBatch>) = Default::default();
    for chunk in chunks {
        for i in chunk.range() {
            let Some(time) = time(chunk.body.times.get(i)) else { continue };
            let row = chunk.body.row(i);
            let open = times.entry(time).or_default();
            open.rows.push(row);
            open.diffs.push(chunk.body.diffs.get(i));
            open.bytes += row.len();
            if open.bytes >= BATCH_BYTES {
                out.push(open.close(layout, time)?);
            }
        }
    }
    times.retain(|_, open| !open.rows.is_empty());
    for (time, mut open) in times {
        out.push(open.close(layout, time)?);
    }
    out.sort_by_key(|batch| batch.time);
    Ok(out)
}

/// Ends an import: its dataflow sees no more of the arrangement.
pub struct ImportToken {
    capability: Rc<RefCell<Option<Capability<Timestamp>>>>,
    activator: Activator,
}

impl Drop for ImportToken {
    fn drop(&mut self) {
        self.capability.borrow_mut().take();
        self.activator.activate();
    }
}

/// Follows a trace: `each` gets every batch, and the frontier after it.
pub fn follow<L>(scope: Scope<'_, u64>, trace: &mut RowTrace, as_of: Timestamp, name: &str, mut each: L) -> ImportToken
where
    L: FnMut(Followed<'_>) + 'static,
{
    let mut token = None;
    let token_ref = &mut token;
    source::<_, NoopBuilder<Rows>, _, _>(scope, name, move |mut capability, info| {
        capability.downgrade(&as_of);
        let held = Rc::new(RefCell::new(Some(capability)));
        let queue = trace.new_listener(scope.activator_for(Rc::clone(&info.address)));
        *token_ref = Some(ImportToken { capability: Rc::clone(&held), activator: scope.activator_for(info.address) });
        move |_| {
            let mut held = held.borrow_mut();
            for instruction in queue.1.borrow_mut().drain(..) {
                let Some(capability) = held.as_mut() else { continue };
                match instruction {
                    TraceReplayInstruction::Batch(batch, _) => each(Followed::Batch(&batch)),
                    TraceReplayInstruction::Frontier(frontier) => {
                        let upper = frontier.elements().first().copied();
                        each(Followed::Upper(upper.map_or(Timestamp::MAX, |u| u.max(as_of))));
                        match upper {
                            Some(upper) if upper > *capability.time() => capability.downgrade(&upper),
                            Some(_) => {}
                            None => *held = None,
                        }
                    }
                }
            }
        }
    });
    token.expect("invariant: the source is built before it is returned")
}

/// How far a trace has come, as the frontier of a stream on which nothing comes.
pub fn progress<'s>(
    scope: Scope<'s, u64>,
    trace: &mut RowTrace,
    name: &str,
) -> (Stream<'s, u64, Vec<RowBatch>>, ImportToken) {
    let mut token = None;
    let token_ref = &mut token;
    let stream = source::<_, NoopBuilder<Vec<RowBatch>>, _, _>(scope, name, move |capability, info| {
        let held = Rc::new(RefCell::new(Some(capability)));
        let queue = trace.new_listener(scope.activator_for(Rc::clone(&info.address)));
        *token_ref = Some(ImportToken { capability: Rc::clone(&held), activator: scope.activator_for(info.address) });
        move |_| {
            let mut held = held.borrow_mut();
            for instruction in queue.1.borrow_mut().drain(..) {
                let TraceReplayInstruction::Frontier(frontier) = instruction else { continue };
                match (frontier.elements().first(), held.as_mut()) {
                    (Some(upper), Some(capability)) if upper > capability.time() => capability.downgrade(upper),
                    (Some(_), _) => {}
                    (None, _) => *held = None,
                }
            }
        }
    });
    (stream, token.expect("invariant: the source is built before it is returned"))
}

/// What [`follow`] sees.
pub enum Followed<'a> {
    /// A batch of changes.
    Batch(&'a RowBatch),
    /// No change below this time will follow.
    Upper(Timestamp),
}

/// From where on an import gives what a collection holds.
#[derive(Clone, Copy)]
pub enum Begin {
    /// Its contents at this time, and what comes after it.
    AsOf(Timestamp),
    /// What changes at this time or later.
    Changes(Timestamp),
}

/// The collection behind a served arrangement.
///
/// What was before comes in slices, at small times of their own, each closed before the next: so the dataflow that is
/// filled works in bounded steps and lets others run between them. What it shows before it begins means nothing.
pub fn import<'s>(
    scope: Scope<'s, u64>,
    trace: &mut RowTrace,
    layout: &Layout,
    begin: Begin,
    name: &str,
) -> (RowStream<'s>, ImportToken) {
    let (Begin::AsOf(as_of) | Begin::Changes(as_of)) = begin;
    let layout = layout.clone();
    let mut token = None;
    let token_ref = &mut token;
    let stream = source::<_, NoopBuilder<Rows>, _, _>(scope, name, move |mut capability, info| {
        let changes = matches!(begin, Begin::Changes(_));
        if changes {
            capability.downgrade(&as_of);
        }
        let held = Rc::new(RefCell::new(Some(capability)));
        let activator = scope.activator_for(Rc::clone(&info.address));
        let queue = trace.new_listener(scope.activator_for(Rc::clone(&info.address)));
        *token_ref = Some(ImportToken { capability: Rc::clone(&held), activator: scope.activator_for(info.address) });
        let mut import = Import { layout, as_of, changes, waiting: VecDeque::new() };
        move |output| {
            let mut held = held.borrow_mut();
            import.waiting.extend(queue.1.borrow_mut().drain(..).map(Seen::from));
            let Some(capability) = held.as_mut() else { return import.waiting.clear() };
            let mut rows = Rows(import.slice(*capability.time()));
            if !rows.0.is_empty() {
                output.session_with_builder(&*capability).give_container(&mut rows);
                let next = (*capability.time() + 1).min(as_of.max(*capability.time()));
                capability.downgrade(&next);
            }
            match import.passed() {
                Some(upper) if upper == Timestamp::MAX => *held = None,
                Some(upper) if upper >= as_of && upper > *capability.time() => capability.downgrade(&upper),
                _ => {}
            }
            if !import.waiting.is_empty() {
                activator.activate();
            }
        }
    });
    (stream, token.expect("invariant: the source is built before it is returned"))
}

/// Rows of an import between two yields.
const SLICE_ROWS: usize = 4096;
/// Bytes of rows of an import between two yields.
const SLICE_BYTES: usize = 64 << 20;

/// What a listener heard.
enum Seen {
    /// A batch, and how many of its chunks are done.
    Batch(RowBatch, usize),
    /// No change below this time will follow.
    Upper(Timestamp),
}

impl From<TraceReplayInstruction<RowSpine>> for Seen {
    fn from(instruction: TraceReplayInstruction<RowSpine>) -> Seen {
        match instruction {
            TraceReplayInstruction::Batch(batch, _) => Seen::Batch(batch, 0),
            TraceReplayInstruction::Frontier(f) => Seen::Upper(f.elements().first().copied().unwrap_or(Timestamp::MAX)),
        }
    }
}

/// What an import has still to hand out, in order.
struct Import {
    layout: Layout,
    as_of: Timestamp,
    /// What was before `as_of` is left out.
    changes: bool,
    waiting: VecDeque<Seen>,
}

impl Import {
    /// The next changes: what lies before `as_of` at the time `now`.
    fn slice(&mut self, now: Timestamp) -> Vec<UpdateBatch> {
        let mut chunks: Vec<RowChunk> = vec![];
        let (mut rows, mut bytes) = (0, 0);
        while rows < SLICE_ROWS
            && bytes < SLICE_BYTES
            && let Some(Seen::Batch(batch, done)) = self.waiting.front_mut()
        {
            // What was restored has rows of any times, whatever the bounds of its batches.
            match batch.chunks.get(*done) {
                Some(chunk) if self.changes && chunk.range().all(|i| chunk.body.times.get(i) < self.as_of) => {
                    *done += 1;
                }
                Some(chunk) => {
                    rows += chunk.range().len();
                    bytes += chunk.row_bytes();
                    chunks.push(chunk.clone());
                    *done += 1;
                }
                None => drop(self.waiting.pop_front()),
            }
        }
        let (as_of, changes) = (self.as_of, self.changes);
        let time = |t: Timestamp| match t < as_of {
            true if changes => None,
            true => Some(now.min(as_of)),
            false => Some(t),
        };
        batches_by_time(&self.layout, &chunks, time).expect("invariant: an arrangement holds what its layout encoded")
    }

    /// The bound behind which everything was handed out, where it is known by now.
    fn passed(&mut self) -> Option<Timestamp> {
        let mut upper = None;
        while let Some(Seen::Upper(u)) = self.waiting.front() {
            upper = Some(*u);
            self.waiting.pop_front();
        }
        upper
    }
}

/// What batches hold, in slices.
pub struct Slices(Import);

impl Slices {
    /// Of batches, all of whose times are before `before`.
    pub fn new(layout: Layout, before: Timestamp, batches: Vec<RowBatch>) -> Slices {
        let waiting = batches.into_iter().map(|b| Seen::Batch(b, 0)).collect();
        Slices(Import { layout, as_of: before, changes: false, waiting })
    }
    /// The next one, with all of it at `time`.
    pub fn next_at(&mut self, time: Timestamp) -> Vec<UpdateBatch> {
        self.0.slice(time)
    }
    /// True where there are no more.
    pub fn is_done(&self) -> bool {
        self.0.waiting.is_empty()
    }
}

/// Rows and bytes of a trace.
pub fn trace_size(trace: &RowTrace) -> (usize, usize) {
    let (mut rows, mut bytes) = (0, 0);
    trace.map_batches(|b| {
        for chunk in &b.chunks {
            rows += chunk.range().len();
            bytes += chunk.bytes();
        }
    });
    (rows, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hw_repr::SqlType;
    use hw_repr::chunk::PublishedShard;

    /// A run of rows with these numbers, each at its time.
    fn run(layout: &Layout, rows: &[(i32, Timestamp)]) -> Vec<hw_repr::chunk::ChunkView> {
        let mut body = ChunkBody::default();
        for (number, time) in rows {
            let column: arrow::array::ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![*number]));
            let schema = crate::types::schema_of(&[SqlType::Int4]);
            let rows = crate::types::batch_of(&schema, vec![column], 1).expect("one row");
            layout.encode(&UpdateBatch { rows, diffs: None, time: *time }, &[], &mut body, BODY_BYTES, &mut |_| {});
        }
        crate::chunk::merge_runs(&[body.into()], 0).iter().map(RowChunk::published).collect()
    }

    /// Of a relation that keeps its history: what came after a time lies in any of its runs.
    #[test]
    fn changes_after_a_time_are_found_in_every_restored_run() {
        let layout = Layout::keyed(&[SqlType::Int4], &[0]);
        let runs = vec![run(&layout, &[(1, 2), (2, 7)]), run(&layout, &[(3, 4), (4, 9)])];
        let restored = Restored { shards: vec![Arc::new(PublishedShard { since: 2, upper: 10, runs })], apart: None };
        let waiting: VecDeque<Seen> = restored.batches(&layout, 0, 1).into_iter().map(|b| Seen::Batch(b, 0)).collect();
        let mut import = Import { layout, as_of: 5, changes: true, waiting };
        let mut seen: Vec<(Timestamp, i32)> = vec![];
        for batch in import.slice(0) {
            let numbers: &arrow::array::Int32Array = arrow::array::AsArray::as_primitive(batch.rows.column(0));
            seen.push((batch.time, numbers.value(0)));
        }
        assert_eq!(seen, [(7, 2), (9, 4)]);
    }
}
