//! Chunk bodies: sorted runs of encoded rows with times and diffs, shared across threads; and what workers publish of
//! an arrangement for readers.
//!
//! Invariant: rows are sorted by (row bytes, time); the key is a prefix of the row bytes and prefix-free, so row
//! byte order is (key, value) order.

use crate::encoding::VALUE;
use crate::{Diff, Timestamp};
use std::cmp::Ordering;
use std::fmt::{Debug, Formatter};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

mod merge;

pub use merge::{Merge, Place};

/// A column that is stored once where it is constant.
#[derive(Clone, Debug)]
pub enum Col<T> {
    /// The same value `n` times.
    Const(T, usize),
    /// One value a row.
    Each(Vec<T>),
}

impl<T: Copy + PartialEq> Col<T> {
    /// The value of row `i`.
    #[inline]
    pub fn get(&self, i: usize) -> T {
        match self {
            Col::Const(v, _) => *v,
            Col::Each(v) => v[i],
        }
    }
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Col::Const(_, n) => *n,
            Col::Each(v) => v.len(),
        }
    }
    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The value of all rows, where it is stored once.
    pub fn constant(&self) -> Option<T> {
        match self {
            Col::Const(v, _) => Some(*v),
            Col::Each(_) => None,
        }
    }
    /// Appends a value.
    #[inline]
    pub fn push(&mut self, v: T) {
        match self {
            Col::Const(c, n) if *n == 0 || *c == v => {
                *c = v;
                *n += 1;
            }
            Col::Const(c, n) => {
                let mut all = vec![*c; *n];
                all.push(v);
                *self = Col::Each(all);
            }
            Col::Each(all) => all.push(v),
        }
    }
    /// Heap bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Col::Const(..) => 0,
            Col::Each(v) => v.capacity() * std::mem::size_of::<T>(),
        }
    }
}

/// A sorted run of (row bytes, time, diff).
#[derive(Clone, Debug)]
pub struct ChunkBody {
    /// Row bytes, one after the other.
    pub data: Vec<u8>,
    /// End of each row in `data`.
    pub ends: Vec<u32>,
    /// Bytes of each row that are its key.
    pub key_lens: Col<u32>,
    /// [`prefix`] of each row: compares cheaply.
    pub prefixes: Vec<u64>,
    /// When each change takes effect.
    pub times: Col<Timestamp>,
    /// By how much.
    pub diffs: Col<Diff>,
}

impl Default for ChunkBody {
    fn default() -> Self {
        ChunkBody {
            data: vec![],
            ends: vec![],
            key_lens: Col::Const(0, 0),
            prefixes: vec![],
            times: Col::Const(0, 0),
            diffs: Col::Const(0, 0),
        }
    }
}

/// Eight bytes that order rows as far as they go: those after the marker of the first column (zero-padded), the greatest
/// number where that column is NULL. Never decreases as row bytes increase, for any bytes.
#[inline]
pub fn prefix(row: &[u8]) -> u64 {
    match row {
        [] | [0, ..] => 0,
        [VALUE, rest @ ..] => match rest.first_chunk::<8>() {
            Some(b) => u64::from_be_bytes(*b),
            None => {
                let mut b = [0u8; 8];
                b[..rest.len()].copy_from_slice(rest);
                u64::from_be_bytes(b)
            }
        },
        _ => u64::MAX,
    }
}

impl ChunkBody {
    /// Number of changes.
    #[inline]
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    /// True without changes.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
    /// Where row `i` starts in `data`.
    #[inline]
    pub fn start(&self, i: usize) -> usize {
        if i == 0 { 0 } else { self.ends[i - 1] as usize }
    }
    /// Bytes of row `i`: key, then value.
    #[inline]
    pub fn row(&self, i: usize) -> &[u8] {
        &self.data[self.start(i)..self.ends[i] as usize]
    }
    /// Key bytes of row `i`.
    #[inline]
    pub fn key(&self, i: usize) -> &[u8] {
        &self.row(i)[..self.key_lens.get(i) as usize]
    }
    /// Value bytes of row `i`.
    #[inline]
    pub fn val(&self, i: usize) -> &[u8] {
        &self.row(i)[self.key_lens.get(i) as usize..]
    }
    /// Appends a row.
    #[inline]
    pub fn push(&mut self, row: &[u8], key_len: usize, time: Timestamp, diff: Diff) {
        self.data.extend_from_slice(row);
        self.seal(key_len, time, diff);
    }
    /// Ends a row whose bytes were just appended to `data`.
    #[inline]
    pub fn seal(&mut self, key_len: usize, time: Timestamp, diff: Diff) {
        let start = self.ends.last().map_or(0, |e| *e as usize);
        self.prefixes.push(prefix(&self.data[start..]));
        self.ends.push(self.data.len() as u32);
        self.key_lens.push(key_len as u32);
        self.times.push(time);
        self.diffs.push(diff);
    }
    /// Makes room for more rows, with so many bytes in all.
    pub fn reserve(&mut self, rows: usize, bytes: usize) {
        self.data.reserve(bytes);
        self.ends.reserve(rows);
        self.prefixes.reserve(rows);
    }
    /// Forgets all rows, and keeps the room they took unless that is more than `keep` bytes.
    pub fn clear(&mut self, keep: usize) {
        if self.bytes() > keep {
            *self = ChunkBody::default();
            return;
        }
        self.data.clear();
        self.ends.clear();
        self.prefixes.clear();
        (self.key_lens, self.times, self.diffs) = (Col::Const(0, 0), Col::Const(0, 0), Col::Const(0, 0));
    }
    /// Compares row `i` with `row`, by the prefixes first.
    #[inline]
    pub fn cmp_row(&self, i: usize, row: &[u8]) -> Ordering {
        self.prefixes[i].cmp(&prefix(row)).then_with(|| self.row(i).cmp(row))
    }
    /// The sorted and consolidated run of changes in any order: one change per (row, time), none of zero.
    pub fn from_unsorted(rows: &ChunkBody) -> ChunkBody {
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        order.sort_unstable_by(|a, b| {
            let (a, b) = (*a as usize, *b as usize);
            rows.prefixes[a]
                .cmp(&rows.prefixes[b])
                .then_with(|| rows.row(a).cmp(rows.row(b)))
                .then_with(|| rows.times.get(a).cmp(&rows.times.get(b)))
        });
        let mut out = ChunkBody::default();
        out.data.reserve(rows.data.len());
        let mut at = 0;
        while let Some(first) = order.get(at).map(|i| *i as usize) {
            let (row, time) = (rows.row(first), rows.times.get(first));
            let mut sum = 0;
            while let Some(i) = order.get(at).map(|i| *i as usize)
                && rows.times.get(i) == time
                && rows.row(i) == row
            {
                sum += rows.diffs.get(i);
                at += 1;
            }
            if sum != 0 {
                out.push(row, rows.key_lens.get(first) as usize, time, sum);
            }
        }
        out
    }
    /// Heap bytes.
    pub fn bytes(&self) -> usize {
        self.data.capacity()
            + self.ends.capacity() * 4
            + self.prefixes.capacity() * 8
            + self.key_lens.bytes()
            + self.times.bytes()
            + self.diffs.bytes()
    }
}

/// Makes a body. What cannot be read any more ends the process: nothing that is shown may lack it.
pub type Make = dyn Fn() -> ChunkBody + Send + Sync;

/// A body to be shared; one that is kept elsewhere is made when it is first looked at.
pub struct Body {
    made: OnceLock<ChunkBody>,
    make: Option<Box<Make>>,
    /// About what it has, as long as it is not made.
    rows: usize,
    bytes: usize,
}

impl Body {
    /// One of about so many rows and bytes, when it is needed.
    pub fn later(rows: usize, bytes: usize, make: Box<Make>) -> Body {
        Body { made: OnceLock::new(), make: Some(make), rows, bytes }
    }
    /// The body of one that nobody shares.
    pub fn get_mut(&mut self) -> &mut ChunkBody {
        let _made: &ChunkBody = self;
        self.made.get_mut().expect("invariant: made just before")
    }
    /// Heap bytes that so many of its rows take.
    pub fn bytes_of(&self, rows: usize) -> usize {
        let (all, bytes) = self.made.get().map_or((self.rows, self.bytes), |made| (made.len(), made.bytes()));
        if all == 0 { 0 } else { (bytes as u128 * rows as u128 / all as u128) as usize }
    }
    #[cold]
    fn make(&self) -> &ChunkBody {
        self.made.get_or_init(|| self.make.as_ref().map_or_else(ChunkBody::default, |make| make()))
    }
}

impl Deref for Body {
    type Target = ChunkBody;
    #[inline]
    fn deref(&self) -> &ChunkBody {
        match self.made.get() {
            Some(made) => made,
            None => self.make(),
        }
    }
}

impl From<ChunkBody> for Body {
    fn from(body: ChunkBody) -> Body {
        Body { made: body.into(), make: None, rows: 0, bytes: 0 }
    }
}

impl Default for Body {
    fn default() -> Body {
        ChunkBody::default().into()
    }
}

impl Debug for Body {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("made", &self.made.get()).field("rows", &self.rows).finish_non_exhaustive()
    }
}

/// Rows `lo..hi` of a body.
#[derive(Clone, Debug)]
pub struct ChunkView {
    /// The shared body.
    pub body: Arc<Body>,
    /// First row.
    pub lo: usize,
    /// One past the last row.
    pub hi: usize,
}

impl ChunkView {
    /// All rows of a body.
    pub fn whole(body: Arc<Body>) -> ChunkView {
        let hi = body.len();
        ChunkView { body, lo: 0, hi }
    }
    /// Number of changes.
    pub fn len(&self) -> usize {
        self.hi - self.lo
    }
    /// True without changes.
    pub fn is_empty(&self) -> bool {
        self.lo >= self.hi
    }
    /// The changes up to `as_of`, summed.
    pub fn count(&self, as_of: Timestamp) -> Diff {
        let range = self.lo..self.hi;
        match (&self.body.times, &self.body.diffs) {
            (Col::Const(time, _), Col::Const(diff, _)) if *time <= as_of => diff * range.len() as Diff,
            (times, diffs) => range.filter(|i| times.get(*i) <= as_of).map(|i| diffs.get(i)).sum(),
        }
    }
    /// The least row, unless empty.
    pub fn first(&self) -> Option<&[u8]> {
        (!self.is_empty()).then(|| self.body.row(self.lo))
    }
    /// The greatest row, unless empty.
    pub fn last(&self) -> Option<&[u8]> {
        (!self.is_empty()).then(|| self.body.row(self.hi - 1))
    }
    /// The first change, in `lo..=hi`, whose row is not below `row`.
    pub fn seek(&self, row: &[u8]) -> usize {
        self.partition(|i| self.body.cmp_row(i, row) == Ordering::Less)
    }
    /// The changes whose rows start with `start`.
    pub fn starting_with(&self, start: &[u8]) -> std::ops::Range<usize> {
        let below = |i: usize| self.body.cmp_row(i, start) == Ordering::Less;
        let lo = self.partition(below);
        let hi = self.partition(|i| below(i) || self.body.row(i).starts_with(start));
        lo..hi
    }
    /// The first change for which `before` is false, by binary search.
    fn partition(&self, before: impl Fn(usize) -> bool) -> usize {
        let (mut lo, mut hi) = (self.lo, self.hi);
        while lo < hi {
            let mid = lo + (hi - lo) / 2;
            if before(mid) { lo = mid + 1 } else { hi = mid }
        }
        lo
    }
}

/// What one worker publishes of one served arrangement after a tick: immutable, read by any thread.
#[derive(Clone, Debug, Default)]
pub struct PublishedShard {
    /// Reads at times below this are not answered.
    pub since: Timestamp,
    /// All changes below this time are in `runs`.
    pub upper: Timestamp,
    /// Sorted runs; each is a list of views in ascending order, none of them empty.
    pub runs: Vec<Vec<ChunkView>>,
}

/// A served arrangement at some moment: one shard a worker.
#[derive(Clone, Debug, Default)]
pub struct PublishedRelation {
    /// Per worker.
    pub shards: Vec<Arc<PublishedShard>>,
    /// Columns of the relation that form the key, in key order.
    pub key: Vec<usize>,
    /// The columns in the order in which they are encoded: the key, then the others ascending.
    pub order: Vec<usize>,
}
