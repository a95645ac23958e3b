//! `RowChunk`: a view of rows `lo..hi` of a shared [`ChunkBody`], with differential's chunk operations on it.
//!
//! Invariants: a chunk is never empty where differential sees it; rows are sorted by (row bytes, time) and
//! consolidated; bodies are immutable once shared. A time below the compaction frontier may stay as it is where
//! rewriting it would let nothing cancel.

use differential_dataflow::trace::chunk::Chunk;
use hw_repr::chunk::{Body, ChunkView, Col};
use hw_repr::{ChunkBody, Diff, Timestamp};
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;

mod merging;
mod runs;

pub use merging::Merging;
pub use runs::merge_runs;

/// Rows a chunk is meant to have.
pub const TARGET: usize = 8192;
/// Bytes of rows from which on a chunk of fewer rows is large enough. A body's offsets reach 4 GiB: this, and one row
/// more, are far from there.
pub const TARGET_BYTES: usize = 32 << 20;

/// True where a body takes no more rows.
#[inline]
fn is_full(body: &ChunkBody) -> bool {
    body.len() >= TARGET || body.data.len() >= TARGET_BYTES
}

/// Rows `lo..hi` of a body.
#[derive(Clone, Debug)]
pub struct RowChunk {
    /// The shared body.
    pub body: Arc<Body>,
    /// First row.
    pub lo: usize,
    /// One past the last row.
    pub hi: usize,
}

impl Default for RowChunk {
    fn default() -> Self {
        static EMPTY: OnceLock<Arc<Body>> = OnceLock::new();
        RowChunk { body: EMPTY.get_or_init(Default::default).clone(), lo: 0, hi: 0 }
    }
}

impl From<ChunkBody> for RowChunk {
    fn from(body: ChunkBody) -> Self {
        let hi = body.len();
        RowChunk { body: Arc::new(body.into()), lo: 0, hi }
    }
}

impl RowChunk {
    /// The rows of a view that was published before.
    pub fn restored(view: &ChunkView) -> RowChunk {
        RowChunk { body: view.body.clone(), lo: view.lo, hi: view.hi }
    }
    fn view(&self, lo: usize, hi: usize) -> Self {
        RowChunk { body: self.body.clone(), lo, hi }
    }
    /// The same rows for readers.
    pub fn published(&self) -> ChunkView {
        ChunkView { body: self.body.clone(), lo: self.lo, hi: self.hi }
    }
    /// Positions of its rows.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.lo..self.hi
    }
    /// Heap bytes, in proportion where only a part of the body is seen.
    pub fn bytes(&self) -> usize {
        self.body.bytes_of(self.hi - self.lo)
    }
    fn is_whole(&self) -> bool {
        self.lo == 0 && self.hi == self.body.len()
    }
    /// Bytes of its rows alone.
    pub fn row_bytes(&self) -> usize {
        if self.lo >= self.hi { 0 } else { self.body.ends[self.hi - 1] as usize - self.body.start(self.lo) }
    }
    /// Takes the rows of `next`, which follow its own.
    fn absorb(&mut self, next: &RowChunk) {
        if !self.is_whole() || Arc::get_mut(&mut self.body).is_none() {
            *self = self.to_body().into();
        }
        let body = Arc::get_mut(&mut self.body).expect("invariant: just made, so not shared").get_mut();
        extend(body, &next.body, next.lo, next.hi);
        self.hi = body.len();
    }
    fn to_body(&self) -> ChunkBody {
        let mut body = ChunkBody::default();
        extend(&mut body, &self.body, self.lo, self.hi);
        body
    }
}

/// Order of two changes, without their diffs.
#[inline]
pub fn compare(a: &ChunkBody, i: usize, b: &ChunkBody, j: usize) -> Ordering {
    a.prefixes[i]
        .cmp(&b.prefixes[j])
        .then_with(|| a.row(i).cmp(b.row(j)))
        .then_with(|| a.times.get(i).cmp(&b.times.get(j)))
}

#[inline]
fn same_row(a: &ChunkBody, i: usize, b: &ChunkBody, j: usize) -> bool {
    a.prefixes[i] == b.prefixes[j] && a.row(i) == b.row(j)
}

/// Appends row `i` of `from` with another time and diff.
#[inline]
fn append(to: &mut ChunkBody, from: &ChunkBody, i: usize, time: Timestamp, diff: Diff) {
    to.data.extend_from_slice(from.row(i));
    to.ends.push(to.data.len() as u32);
    to.prefixes.push(from.prefixes[i]);
    to.key_lens.push(from.key_lens.get(i));
    to.times.push(time);
    to.diffs.push(diff);
}

fn extend_col<T: Copy + PartialEq>(to: &mut Col<T>, from: &Col<T>, lo: usize, hi: usize) {
    match (&mut *to, from) {
        (Col::Each(a), Col::Each(b)) => a.extend_from_slice(&b[lo..hi]),
        (Col::Const(_, 0), Col::Each(b)) => *to = Col::Each(b[lo..hi].to_vec()),
        (Col::Const(c, n), Col::Const(v, _)) if *n == 0 || *c == *v => {
            *c = *v;
            *n += hi - lo;
        }
        _ => (lo..hi).for_each(|i| to.push(from.get(i))),
    }
}

/// Appends rows `lo..hi` of `from`.
fn extend(to: &mut ChunkBody, from: &ChunkBody, lo: usize, hi: usize) {
    if lo >= hi {
        return;
    }
    let (start, base) = (from.start(lo), to.data.len());
    to.data.extend_from_slice(&from.data[start..from.ends[hi - 1] as usize]);
    to.ends.extend(from.ends[lo..hi].iter().map(|e| (*e as usize - start + base) as u32));
    to.prefixes.extend_from_slice(&from.prefixes[lo..hi]);
    extend_col(&mut to.key_lens, &from.key_lens, lo, hi);
    extend_col(&mut to.times, &from.times, lo, hi);
    extend_col(&mut to.diffs, &from.diffs, lo, hi);
}

/// Some rows of a sorted run, as chunks: `wanted` says of each row of a view whether it is one.
pub fn pick(run: &[ChunkView], wanted: impl Fn(&ChunkView) -> Vec<bool>) -> Vec<RowChunk> {
    let (mut body, mut out) = (ChunkBody::default(), VecDeque::new());
    for view in run {
        for (i, _) in (view.lo..view.hi).zip(wanted(view)).filter(|(_, wanted)| *wanted) {
            append(&mut body, &view.body, i, view.body.times.get(i), view.body.diffs.get(i));
            if is_full(&body) {
                flush(&mut body, &mut out);
            }
        }
    }
    flush(&mut body, &mut out);
    out.into_iter().map(seal).collect()
}

fn flush(body: &mut ChunkBody, out: &mut VecDeque<RowChunk>) {
    if !body.is_empty() {
        out.push_back(std::mem::take(body).into());
    }
}

/// Rows `from..` of a chunk: moved untouched where they are many, copied otherwise.
fn take_run(body: &mut ChunkBody, chunk: &RowChunk, from: usize, out: &mut VecDeque<RowChunk>) {
    if chunk.hi - from >= TARGET / 4 {
        flush(body, out);
        out.push_back(chunk.view(from, chunk.hi));
    } else {
        extend(body, &chunk.body, from, chunk.hi);
        if is_full(body) {
            flush(body, out);
        }
    }
}

/// Room for `rows` rows as long as those of `like`, so that a body does not grow by copying itself.
fn reserve(body: &mut ChunkBody, like: &ChunkBody, rows: usize) {
    let each = like.data.len().div_ceil(like.len().max(1));
    body.data.reserve((each * rows).min(TARGET_BYTES) + each);
    body.ends.reserve(rows);
    body.prefixes.reserve(rows);
}

/// Merges rows of both from (i, j) until one ends or `body` is full; the new positions.
fn interleave(body: &mut ChunkBody, a: &RowChunk, b: &RowChunk, mut i: usize, mut j: usize) -> (usize, usize) {
    let (from_a, from_b): (&ChunkBody, &ChunkBody) = (&a.body, &b.body);
    while i < a.hi && j < b.hi && !is_full(body) {
        match compare(from_a, i, from_b, j) {
            Ordering::Less => {
                append(body, from_a, i, from_a.times.get(i), from_a.diffs.get(i));
                i += 1;
            }
            Ordering::Greater => {
                append(body, from_b, j, from_b.times.get(j), from_b.diffs.get(j));
                j += 1;
            }
            Ordering::Equal => {
                let diff = from_a.diffs.get(i) + from_b.diffs.get(j);
                if diff != 0 {
                    append(body, from_a, i, from_a.times.get(i), diff);
                }
                i += 1;
                j += 1;
            }
        }
    }
    (i, j)
}

impl Chunk for RowChunk {
    type Time = Timestamp;
    const TARGET: usize = TARGET;

    fn len(&self) -> usize {
        self.hi - self.lo
    }

    fn merge(in1: &mut VecDeque<Self>, in2: &mut VecDeque<Self>, out: &mut VecDeque<Self>) {
        let (Some(mut a), Some(mut b)) = (in1.pop_front(), in2.pop_front()) else { return };
        let (mut i, mut j) = (a.lo, b.lo);
        let mut body = ChunkBody::default();
        let mut made = 0;
        loop {
            if compare(&a.body, a.hi - 1, &b.body, j).is_lt() {
                made += a.hi - i;
                take_run(&mut body, &a, i, out);
                i = a.hi;
            } else if compare(&b.body, b.hi - 1, &a.body, i).is_lt() {
                made += b.hi - j;
                take_run(&mut body, &b, j, out);
                j = b.hi;
            } else {
                let before = body.len();
                if before == 0 {
                    reserve(&mut body, &a.body, (a.hi - i + b.hi - j).min(TARGET));
                }
                (i, j) = interleave(&mut body, &a, &b, i, j);
                made += body.len() - before;
                if is_full(&body) {
                    flush(&mut body, out);
                }
            }
            if i == a.hi {
                match in1.pop_front() {
                    Some(next) if made < TARGET => (i, a) = (next.lo, next),
                    Some(next) => {
                        in1.push_front(next);
                        break;
                    }
                    None => break,
                }
            }
            if j == b.hi {
                match in2.pop_front() {
                    Some(next) if made < TARGET => (j, b) = (next.lo, next),
                    Some(next) => {
                        in2.push_front(next);
                        break;
                    }
                    None => break,
                }
            }
        }
        flush(&mut body, out);
        if i < a.hi {
            in1.push_front(a.view(i, a.hi));
        }
        if j < b.hi {
            in2.push_front(b.view(j, b.hi));
        }
    }

    fn extract(
        input: &mut VecDeque<Self>,
        frontier: AntichainRef<Timestamp>,
        residual: &mut Antichain<Timestamp>,
        keep: &mut VecDeque<Self>,
        ship: &mut VecDeque<Self>,
    ) {
        let Some(chunk) = input.pop_front() else { return };
        let Some(&upper) = frontier.first() else {
            ship.push_back(chunk);
            return;
        };
        let body = &chunk.body;
        if chunk.range().all(|i| body.times.get(i) < upper) {
            ship.push_back(chunk);
            return;
        }
        let (mut kept, mut shipped) = (ChunkBody::default(), ChunkBody::default());
        for i in chunk.range() {
            let time = body.times.get(i);
            if time >= upper {
                residual.insert(time);
                append(&mut kept, body, i, time, body.diffs.get(i));
            } else {
                append(&mut shipped, body, i, time, body.diffs.get(i));
            }
        }
        flush(&mut kept, keep);
        flush(&mut shipped, ship);
    }

    fn advance(input: &mut VecDeque<Self>, frontier: AntichainRef<Timestamp>, done: bool, out: &mut VecDeque<Self>) {
        let Some(&since) = frontier.first() else {
            out.extend(input.drain(..));
            return;
        };
        let mut held: Vec<RowChunk> = Vec::new();
        while let Some(chunk) = input.pop_front() {
            let crosses = match input.front() {
                Some(next) => same_row(&chunk.body, chunk.hi - 1, &next.body, next.lo),
                None => !done,
            };
            let last = input.is_empty();
            held.push(chunk);
            if crosses && last {
                // The next rows are not known yet. A chunk by itself waits as it is: it may be passed on untouched.
                let waits = match held.as_slice() {
                    [_] => std::mem::take(&mut held),
                    _ => split_last_row(&mut held),
                };
                consolidate(&mut held, since, out);
                waits.into_iter().rev().for_each(|c| input.push_front(c));
                return;
            }
            if !crosses {
                consolidate(&mut held, since, out);
            }
        }
    }

    /// As [`differential_dataflow::trace::chunk::pack`], which counts only rows: a chunk takes its neighbour where both
    /// are no more than [`TARGET`] rows and [`TARGET_BYTES`].
    fn settle(input: &mut VecDeque<Self>, done: bool, out: &mut VecDeque<Self>) {
        let mut carry: Option<RowChunk> = None;
        while let Some(mut next) = input.pop_front() {
            if let Some(mut before) = carry.take() {
                if before.len() + next.len() <= TARGET && before.row_bytes() + next.row_bytes() <= TARGET_BYTES {
                    before.absorb(&next);
                    next = before;
                } else {
                    out.push_back(seal(before));
                }
            }
            while next.len() > TARGET {
                let mid = next.lo + TARGET;
                out.push_back(seal(next.view(next.lo, mid)));
                next = next.view(mid, next.hi);
            }
            carry = Some(next);
        }
        match carry {
            Some(last) if done || last.len() == TARGET => out.push_back(seal(last)),
            Some(last) => input.push_front(last),
            None => {}
        }
    }
}

/// A view of less than three quarters of its body gets its own; slack is given back.
fn seal(mut chunk: RowChunk) -> RowChunk {
    if (chunk.hi - chunk.lo) * 4 < chunk.body.len() * 3 {
        chunk = chunk.to_body().into();
    }
    if let Some(body) = Arc::get_mut(&mut chunk.body) {
        let body = body.get_mut();
        body.data.shrink_to_fit();
        body.ends.shrink_to_fit();
        body.prefixes.shrink_to_fit();
    }
    chunk
}

/// Chunks joined by rows that cross their bounds: times advanced where rows repeat, then summed.
fn consolidate(held: &mut Vec<RowChunk>, since: Timestamp, out: &mut VecDeque<RowChunk>) {
    if let [only] = held.as_slice()
        && !(only.lo + 1..only.hi).any(|i| same_row(&only.body, i - 1, &only.body, i))
    {
        out.extend(held.pop());
        return;
    }
    let mut body = ChunkBody::default();
    let mut changes: Vec<(Timestamp, Diff)> = Vec::new();
    let mut rows = held.iter().flat_map(|c| c.range().map(|i| (&**c.body, i))).peekable();
    while let Some((from, i)) = rows.next() {
        let only = (from.times.get(i), from.diffs.get(i));
        changes.clear();
        while let Some((other, j)) = rows.next_if(|(other, j)| same_row(from, i, other, *j)) {
            changes.push((other.times.get(j).max(since), other.diffs.get(j)));
        }
        if changes.is_empty() {
            append(&mut body, from, i, only.0, only.1);
        } else {
            changes.push((only.0.max(since), only.1));
            sum(&mut changes, |time, diff| append(&mut body, from, i, time, diff));
        }
        if is_full(&body) {
            flush(&mut body, out);
        }
    }
    flush(&mut body, out);
    drop(rows);
    held.clear();
}

/// Takes the changes of the last row off chunks that follow each other. What keeps all others from waiting with it: where rows
/// come in pairs, every chunk may end within one.
fn split_last_row(chunks: &mut Vec<RowChunk>) -> Vec<RowChunk> {
    let mut tail: Vec<RowChunk> = vec![];
    while let Some(mut chunk) = chunks.pop() {
        let (after, at) = tail.last().map_or((&chunk, chunk.hi - 1), |t| (t, t.lo));
        let from = chunk.range().rev().take_while(|i| same_row(&chunk.body, *i, &after.body, at)).last();
        let from = from.unwrap_or(chunk.hi);
        if from < chunk.hi {
            tail.push(chunk.view(from, chunk.hi));
        }
        if from > chunk.lo {
            chunk.hi = from;
            chunks.push(chunk);
            break;
        }
    }
    tail.reverse();
    tail
}

/// Sorts by time and calls `emit` with each time's sum that is not zero.
fn sum(changes: &mut [(Timestamp, Diff)], mut emit: impl FnMut(Timestamp, Diff)) {
    changes.sort_unstable_by_key(|c| c.0);
    let mut i = 0;
    while i < changes.len() {
        let (time, mut diff) = changes[i];
        i += 1;
        while i < changes.len() && changes[i].0 == time {
            diff += changes[i].1;
            i += 1;
        }
        if diff != 0 {
            emit(time, diff);
        }
    }
}

#[cfg(test)]
mod tests;
