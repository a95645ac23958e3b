//! Moves rows to the worker that owns their key: `worker = vnode * workers / 256`.
//!
//! A batch inside the process is shared, not copied: a worker gets it with the numbers of its rows, and the bytes of their keys,
//! which tell whose they are; who keeps the rows by that key does not encode it again. What becomes an arrangement is encoded
//! before it goes to its owner (see [`crate::arrange`]).

use crate::layout::Layout;
use crate::types::{RowStream, Rows};
use arrow::array::UInt32Array;
use arrow::compute::take;
use hw_repr::encoding::{RowEncoder, vnode};
use hw_repr::{Diff, Timestamp, UpdateBatch};
use std::sync::Arc;
use timely::Accountable;
use timely::communication::Push;
use timely::container::NoopBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::channels::{ContainerBytes, Message};
use timely::dataflow::operators::generic::Operator;

/// The worker that owns a key.
pub fn owner(key: &[u8], peers: usize) -> usize {
    usize::from(vnode(key)) * peers / 256
}

/// Bytes for which room is made before they are there: a batch of long rows may be followed by one of many short ones.
const ROOM_BYTES: usize = 4 << 20;

/// For how many of some rows one of `peers` makes room: a share is rarely the average, and what has no room moves all of it.
pub fn room_for_share(rows: usize, peers: usize) -> usize {
    rows / peers * 9 / 8 + 16
}

/// The keys of a batch's rows: their bytes, one after the other, and where each ends.
#[derive(Debug, Default)]
struct Keys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    /// `row_bytes`: of a key, as far as is known.
    fn of(batch: &UpdateBatch, layout: &Layout, row_bytes: &mut usize) -> Keys {
        let (mut encoder, rows) = (layout.key_encoder(&batch.rows), batch.len());
        let room = rows.saturating_mul(*row_bytes).min(ROOM_BYTES);
        let mut keys = Keys { bytes: Vec::with_capacity(room), ends: Vec::with_capacity(rows) };
        for row in 0..rows {
            encoder.encode(row, &mut keys.bytes);
            keys.ends.push(keys.bytes.len());
        }
        *row_bytes = keys.bytes.len().checked_div(rows).map_or(*row_bytes, |bytes| bytes + 1);
        keys
    }

    #[inline]
    fn get(&self, row: usize) -> &[u8] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[row]]
    }
}

/// A worker's part of a batch.
#[derive(Debug)]
struct Part {
    /// Its rows, ascending.
    rows: UInt32Array,
    /// The keys of all rows of the batch.
    keys: Arc<Keys>,
}

/// Rows of a batch that others may have a part of, with the bytes of their keys where they are known.
#[derive(Clone, Debug)]
pub struct Keyed {
    whole: UpdateBatch,
    /// Of this part, those from a position on, and how many.
    part: Option<(Arc<Part>, usize, usize)>,
}

impl From<UpdateBatch> for Keyed {
    fn from(batch: UpdateBatch) -> Keyed {
        Keyed { whole: batch, part: None }
    }
}

impl Keyed {
    /// How many rows.
    pub fn len(&self) -> usize {
        self.part.as_ref().map_or(self.whole.len(), |part| part.2)
    }
    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Their time.
    pub fn time(&self) -> Timestamp {
        self.whole.time
    }
    /// The batch that they are in.
    pub fn whole(&self) -> &UpdateBatch {
        &self.whole
    }
    /// The part that they are, and which of it; `None` where they are all rows of their batch.
    fn less(&self) -> Option<(&Part, usize, usize)> {
        let (part, first, len) = self.part.as_ref()?;
        (*len < self.whole.len()).then_some((part, *first, *len))
    }
    /// The rows of that batch that they are; `None` where they are all.
    pub fn numbers(&self) -> Option<&[u32]> {
        self.less().map(|(part, first, len)| &part.rows.values()[first..first + len])
    }
    /// Which row of that batch row `row` of these is.
    #[inline]
    pub fn at(&self, row: usize) -> usize {
        match &self.part {
            Some((part, first, _)) => part.rows.value(first + row) as usize,
            None => row,
        }
    }
    /// How often a row counts.
    #[inline]
    pub fn diff(&self, row: usize) -> Diff {
        self.whole.diff(self.at(row))
    }
    /// As a batch of their own: copied where others have a part of it.
    pub fn batch(&self) -> UpdateBatch {
        match self.less() {
            Some((part, first, len)) => select(&self.whole, &part.rows.slice(first, len)),
            None => self.whole.clone(),
        }
    }
    /// Them where they lie: not copied.
    pub fn window(&self) -> Window<'_> {
        match self.numbers() {
            Some([first, .., last]) => {
                let batch = slice(&self.whole, *first as usize, (last - first) as usize + 1);
                Window { batch, numbers: self.numbers(), first: *first }
            }
            _ => Window { batch: self.batch(), numbers: None, first: 0 },
        }
    }
    /// The key of each row under the layout by which they were dealt.
    pub fn keys(&self, layout: &Layout) -> RowKeys<'_> {
        match &self.part {
            Some((part, first, _)) => RowKeys(Source::Known(part, *first)),
            None => RowKeys(Source::Encoded(layout.key_encoder(&self.whole.rows), vec![])),
        }
    }
    /// Some of them, shared.
    pub fn slice(&self, at: usize, len: usize) -> Keyed {
        match &self.part {
            Some((part, first, _)) => Keyed { whole: self.whole.clone(), part: Some((part.clone(), first + at, len)) },
            None => slice(&self.whole, at, len).into(),
        }
    }
}

/// A part of a batch, of which some rows are meant.
pub struct Window<'a> {
    /// The part.
    pub batch: UpdateBatch,
    /// Their numbers, counted from `first`; all where there are none.
    numbers: Option<&'a [u32]>,
    first: u32,
}

impl Window<'_> {
    /// Which rows of the part they are, where it has others.
    pub fn rows(&self) -> Option<impl Iterator<Item = usize> + '_> {
        Some(self.numbers?.iter().map(|n| (n - self.first) as usize))
    }
}

/// See [`Keyed::keys`].
pub struct RowKeys<'a>(Source<'a>);

enum Source<'a> {
    /// They came with the rows.
    Known(&'a Part, usize),
    /// They are encoded one by one.
    Encoded(RowEncoder, Vec<u8>),
}

impl RowKeys<'_> {
    /// The key of a row.
    #[inline]
    pub fn get(&mut self, row: usize) -> &[u8] {
        match &mut self.0 {
            Source::Known(part, first) => part.keys.get(part.rows.value(*first + row) as usize),
            Source::Encoded(encoder, key) => {
                key.clear();
                encoder.encode(row, key);
                key
            }
        }
    }
}

/// Rows for one worker, with the number of the input that they are for.
#[derive(Clone, Debug, Default)]
pub struct Dealt {
    /// Whose they are.
    pub owner: usize,
    /// Input and rows.
    pub rows: Vec<(usize, Keyed)>,
}

impl Accountable for Dealt {
    fn record_count(&self) -> i64 {
        self.rows.iter().map(|(_, rows)| rows.len() as i64).sum()
    }
}

/// A container that goes to one worker as a whole.
///
/// Workers are threads of one process, between which it is moved by pointer. Timely asks for [`ContainerBytes`] at compile time
/// only; its methods run between processes, which [`crate::Engine`] never starts.
pub trait Addressed: Default {
    /// Which worker.
    fn owner(&self) -> usize;
}

impl Addressed for Dealt {
    fn owner(&self) -> usize {
        self.owner
    }
}

/// Not called: see [`Addressed`].
macro_rules! stays_in_process {
    ($container:ty) => {
        impl ContainerBytes for $container {
            fn from_bytes(_: timely::bytes::arc::Bytes) -> Self {
                unreachable!("invariant: the engine runs in one process")
            }
            fn length_in_bytes(&self) -> usize {
                unreachable!("invariant: the engine runs in one process")
            }
            fn into_bytes<W: std::io::Write>(&self, _: &mut W) {
                unreachable!("invariant: the engine runs in one process")
            }
        }
    };
}
stays_in_process!(Dealt);
stays_in_process!(crate::types::Chunks);

/// Each container to its worker.
pub struct ByOwner;

/// The contract of an edge on which containers go to their workers.
pub fn by_owner() -> DistributorPact<fn(usize) -> ByOwner> {
    DistributorPact(|_| ByOwner)
}

impl<C: Addressed> Distributor<C> for ByOwner {
    fn partition<T: Clone, P: Push<Message<T, C>>>(&mut self, container: &mut C, time: &T, to: &mut [P]) {
        let owner = container.owner();
        Message::push_at(container, time.clone(), &mut to[owner]);
    }
    fn flush<T: Clone, P: Push<Message<T, C>>>(&mut self, _: &T, _: &mut [P]) {}
}

/// The rows of a stream on their way to the owners of their keys under `layout`, as those of the input with this number; on
/// an edge that is [`by_owner`] they get there. Where they are `placed`, they are there.
pub fn deal<'s>(stream: RowStream<'s>, layout: &Layout, input: usize, placed: bool) -> Stream<'s, u64, Dealt> {
    let (peers, here) = (stream.scope().peers(), stream.scope().index());
    let (layout, stay) = (layout.clone(), placed || peers == 1);
    stream.unary::<NoopBuilder<Dealt>, _, _, _>(Pipeline, "Deal", move |_, _| {
        let mut row_bytes = 0;
        move |from, output| {
            from.for_each(|cap, rows| {
                let mut parts = vec![Dealt::default(); peers];
                for batch in rows.0.drain(..) {
                    match stay {
                        true => parts[here].rows.push((input, batch.into())),
                        false => split(&batch, &layout, peers, &mut row_bytes, |owner, part| {
                            parts[owner].rows.push((input, part));
                        }),
                    }
                }
                let mut session = output.session_with_builder(&cap);
                for (owner, mut part) in parts.into_iter().enumerate().filter(|(_, part)| !part.rows.is_empty()) {
                    part.owner = owner;
                    session.give_container(&mut part);
                }
            })
        }
    })
}

/// Each row to the owner of its key under `layout`.
pub fn exchange<'s>(stream: RowStream<'s>, layout: &Layout) -> RowStream<'s> {
    if stream.scope().peers() == 1 {
        return stream;
    }
    deal(stream, layout, 0, false).unary::<NoopBuilder<Rows>, _, _, _>(by_owner(), "Exchange", move |_, _| {
        move |input, output| {
            input.for_each(|cap, dealt| {
                let mut rows = Rows(dealt.rows.drain(..).map(|(_, rows)| rows.batch()).collect());
                output.session_with_builder(&cap).give_container(&mut rows);
            })
        }
    })
}

/// Gives the rows of a batch by owner. Their keys are encoded before the first is hashed: to read bytes that were just written
/// would wait for them, row by row.
fn split(
    batch: &UpdateBatch,
    layout: &Layout,
    peers: usize,
    row_bytes: &mut usize,
    mut give: impl FnMut(usize, Keyed),
) {
    let keys = Arc::new(Keys::of(batch, layout, row_bytes));
    let mut parts: Vec<Vec<u32>> = vec![];
    parts.resize_with(peers, || Vec::with_capacity(room_for_share(batch.len(), peers)));
    for row in 0..batch.len() {
        parts[owner(keys.get(row), peers)].push(row as u32);
    }
    for (owner, rows) in parts.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
        let len = rows.len();
        let part = Part { rows: rows.into(), keys: keys.clone() };
        give(owner, Keyed { whole: batch.clone(), part: Some((Arc::new(part), 0, len)) });
    }
}

/// The rows of a batch at `indices`, which lie inside it.
pub fn select(batch: &UpdateBatch, indices: &UInt32Array) -> UpdateBatch {
    let rows = crate::types::rows_at(&batch.rows, indices).expect("invariant: indices lie inside the batch");
    let diffs = batch.diffs.as_ref().map(|d| {
        let taken = take(d.as_ref(), indices, None).expect("invariant: indices lie inside the batch");
        Arc::new(arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(taken.as_ref()).clone())
    });
    UpdateBatch { rows, diffs, time: batch.time }
}

/// Some rows of a batch, shared.
pub fn slice(batch: &UpdateBatch, at: usize, len: usize) -> UpdateBatch {
    if at == 0 && len == batch.len() {
        return batch.clone();
    }
    let diffs = batch.diffs.as_ref().map(|d| Arc::new(d.slice(at, len)));
    UpdateBatch { rows: batch.rows.slice(at, len), diffs, time: batch.time }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, AsArray, Int32Array};
    use arrow::datatypes::Int32Type;
    use hw_repr::SqlType;

    /// A batch is taken in pieces, also where all of it is one worker's.
    #[test]
    fn a_piece_of_a_part_is_not_the_whole() {
        let types = [SqlType::Int4, SqlType::Int4];
        let keys = [vec![7; 6], (0..6).collect::<Vec<i32>>()];
        for keys in keys {
            let columns: Vec<ArrayRef> =
                vec![Arc::new(Int32Array::from(keys)), Arc::new(Int32Array::from((10..16).collect::<Vec<i32>>()))];
            let rows = crate::types::batch_of(&crate::types::schema_of(&types), columns, 6).expect("six rows");
            let batch = UpdateBatch { rows, diffs: None, time: 1 };
            let layout = Layout::keyed(&types, &[0]);
            let mut seen = vec![];
            split(&batch, &layout, 2, &mut 0, |_, part| {
                for at in 0..part.len() {
                    let piece = part.slice(at, 1);
                    let own = piece.batch();
                    assert_eq!((piece.len(), own.len()), (1, 1));
                    assert_eq!(piece.numbers(), Some(&[piece.at(0) as u32][..]));
                    let value = own.rows.column(1).as_primitive::<Int32Type>().value(0);
                    assert_eq!(value as usize, 10 + piece.at(0));
                    let mut key = vec![];
                    layout.key_encoder(&batch.rows).encode(piece.at(0), &mut key);
                    assert_eq!(piece.keys(&layout).get(0), key);
                    seen.push(value);
                }
            });
            seen.sort_unstable();
            assert_eq!(seen, (10..16).collect::<Vec<i32>>());
        }
    }

    /// What was long before says little of what comes.
    #[test]
    fn room_for_keys_is_bounded() {
        let types = [SqlType::Int4];
        let columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from_iter_values(0..1000))];
        let rows = crate::types::batch_of(&crate::types::schema_of(&types), columns, 1000).expect("fits");
        let batch = UpdateBatch { rows, diffs: None, time: 1 };
        let mut row_bytes = usize::MAX / 2;
        let keys = Keys::of(&batch, &Layout::keyed(&types, &[0]), &mut row_bytes);
        assert!(keys.bytes.capacity() <= ROOM_BYTES);
        assert!((1..100).contains(&row_bytes), "{row_bytes}");
    }

    /// Rows without columns are rows.
    #[test]
    fn a_piece_of_rows_without_columns_has_rows() {
        let rows = crate::types::batch_of(&crate::types::schema_of(&[]), vec![], 6).expect("six rows");
        let batch = UpdateBatch { rows, diffs: None, time: 1 };
        let mut seen = 0;
        split(&batch, &Layout::keyed(&[], &[]), 2, &mut 0, |_, part| {
            let (one, rest) = (part.slice(0, 1).batch(), part.slice(1, part.len() - 1).batch());
            assert_eq!((one.len(), rest.len()), (1, 5));
            seen += one.len() + rest.len();
        });
        assert_eq!(seen, 6);
    }
}
