//! Joining sorted runs a piece at a time.

use super::runs::first_bytes;
use super::{RowChunk, append, compare, flush, is_full, reserve, take_run};
use differential_dataflow::trace::chunk::Chunk;
use hw_repr::ChunkBody;
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

/// The next row of a run: of its front chunk, whose `lo` it is.
struct Head {
    bytes: u128,
    chunk: RowChunk,
    run: usize,
}

impl Head {
    fn new(chunk: RowChunk, run: usize) -> Head {
        Head { bytes: first_bytes(&chunk.body, chunk.lo), chunk, run }
    }

    /// The last row of the chunk against the next row of another.
    fn last_against(&self, other: &Head) -> Ordering {
        compare(&self.chunk.body, self.chunk.hi - 1, &other.chunk.body, other.chunk.lo)
    }

    /// The row after it in its chunk, where there is one.
    fn advance(mut self) -> Result<Head, usize> {
        self.chunk.lo += 1;
        if self.chunk.lo == self.chunk.hi { Err(self.run) } else { Ok(Head::new(self.chunk, self.run)) }
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Head) -> Ordering {
        let rows = || compare(&self.chunk.body, self.chunk.lo, &other.chunk.body, other.chunk.lo);
        self.bytes.cmp(&other.bytes).then_with(rows)
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

/// Several sorted and consolidated runs on their way to one, in which changes of a row at one time are summed. Times stay as
/// they are. What no other run reaches into is passed on as it is; everything else is copied once, however many runs
/// there are.
pub struct Merging {
    /// What comes after the chunk of each run's head.
    runs: Vec<VecDeque<RowChunk>>,
    heads: BinaryHeap<Reverse<Head>>,
    body: ChunkBody,
    /// Made, and not yet of their final sizes.
    made: VecDeque<RowChunk>,
    done: VecDeque<RowChunk>,
}

impl Merging {
    /// Of these runs, each the chunks of one after the other.
    pub fn new(runs: impl IntoIterator<Item = Vec<RowChunk>>) -> Merging {
        let mut runs: Vec<VecDeque<RowChunk>> = runs.into_iter().map(VecDeque::from).collect();
        let first =
            |(run, chunks): (usize, &mut VecDeque<RowChunk>)| Some(Reverse(Head::new(chunks.pop_front()?, run)));
        let heads = runs.iter_mut().enumerate().filter_map(first).collect();
        Merging { runs, heads, body: ChunkBody::default(), made: VecDeque::new(), done: VecDeque::new() }
    }

    /// Joins about as many rows. The run, when that was the rest.
    pub fn work(&mut self, rows: usize) -> Option<Vec<RowChunk>> {
        let mut left = rows as isize;
        while left > 0 {
            let Some(Reverse(head)) = self.heads.pop() else {
                flush(&mut self.body, &mut self.made);
                RowChunk::settle(&mut self.made, true, &mut self.done);
                return Some(std::mem::take(&mut self.done).into());
            };
            let next = self.heads.peek();
            if next.is_none_or(|Reverse(next)| head.last_against(next).is_lt()) {
                left -= head.chunk.len() as isize;
                take_run(&mut self.body, &head.chunk, head.chunk.lo, &mut self.made);
                self.follow(head.run);
            } else {
                left -= self.rows_before_next(head) as isize;
            }
            RowChunk::settle(&mut self.made, false, &mut self.done);
        }
        None
    }

    /// The next chunk of a run gives its head.
    fn follow(&mut self, run: usize) {
        if let Some(chunk) = self.runs[run].pop_front() {
            self.heads.push(Reverse(Head::new(chunk, run)));
        }
    }

    /// The head goes on, to its next row.
    fn advance(&mut self, head: Head) {
        match head.advance() {
            Ok(head) => self.heads.push(Reverse(head)),
            Err(run) => self.follow(run),
        }
    }

    /// Copies the rows of a head that come before those of all others, or the one that others have too; how many they were.
    fn rows_before_next(&mut self, mut head: Head) -> usize {
        let mut rows = 0;
        while let Some(Reverse(next)) = self.heads.peek() {
            match head.cmp(next) {
                Ordering::Less => {
                    let (body, at) = (&head.chunk.body, head.chunk.lo);
                    self.append(body, at, body.diffs.get(at));
                    rows += 1;
                    match head.advance() {
                        Ok(next) => head = next,
                        Err(run) => {
                            self.follow(run);
                            return rows;
                        }
                    }
                }
                Ordering::Equal => return rows + self.same_rows(head),
                Ordering::Greater => break,
            }
        }
        self.heads.push(Reverse(head));
        rows
    }

    /// Sums a row that several runs have; how many.
    fn same_rows(&mut self, head: Head) -> usize {
        let (chunk, mut rows) = (head.chunk.clone(), 1);
        let mut diff = chunk.body.diffs.get(chunk.lo);
        let same =
            |other: &Reverse<Head>| compare(&chunk.body, chunk.lo, &other.0.chunk.body, other.0.chunk.lo).is_eq();
        self.advance(head);
        while self.heads.peek().is_some_and(same)
            && let Some(Reverse(other)) = self.heads.pop()
        {
            diff += other.chunk.body.diffs.get(other.chunk.lo);
            rows += 1;
            self.advance(other);
        }
        if diff != 0 {
            self.append(&chunk.body, chunk.lo, diff);
        }
        rows
    }

    fn append(&mut self, from: &ChunkBody, at: usize, diff: hw_repr::Diff) {
        if self.body.is_empty() {
            reserve(&mut self.body, from, super::TARGET);
        }
        append(&mut self.body, from, at, from.times.get(at), diff);
        if is_full(&self.body) {
            flush(&mut self.body, &mut self.made);
        }
    }
}
