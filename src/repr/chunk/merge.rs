//! Reading what was published at a time: a merge of sorted runs that sums the changes of equal rows up to then.

use super::{Body, ChunkView, PublishedShard};
use crate::{Diff, Timestamp};
use std::cmp::Ordering;
use std::sync::Arc;

/// A change among those that a [`Merge`] reads.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    shard: u32,
    run: u32,
    view: u32,
    row: u32,
}

/// A place in a run. Invariant: `at < end`, and all rows in `at..end` begin with the merge's start.
#[derive(Debug)]
struct Cursor {
    /// [`super::prefix`] of the present row.
    prefix: u64,
    body: Arc<Body>,
    at: usize,
    end: usize,
    shard: usize,
    run: usize,
    view: usize,
}

impl Cursor {
    fn new(shards: &[Arc<PublishedShard>], shard: usize, run: usize, start: &[u8]) -> Option<Cursor> {
        let views = &shards[shard].runs[run];
        debug_assert!(views.iter().all(|v| !v.is_empty()));
        let view = views.partition_point(|v| v.last().is_some_and(|last| last < start));
        let (view, body, range) = piece(views, view, start)?;
        Some(Cursor { prefix: body.prefixes[range.start], body, at: range.start, end: range.end, shard, run, view })
    }

    #[inline]
    fn row(&self) -> &[u8] {
        self.body.row(self.at)
    }

    /// Steps to the next change; false at the end of the run.
    #[inline]
    fn step(&mut self, shards: &[Arc<PublishedShard>], start: &[u8]) -> bool {
        self.at += 1;
        if self.at >= self.end {
            let Some((view, body, range)) = piece(&shards[self.shard].runs[self.run], self.view + 1, start) else {
                return false;
            };
            (self.view, self.body, self.at, self.end) = (view, body, range.start, range.end);
        }
        self.prefix = self.body.prefixes[self.at];
        true
    }

    #[inline]
    fn cmp(&self, other: &Cursor) -> Ordering {
        self.prefix.cmp(&other.prefix).then_with(|| self.row().cmp(other.row()))
    }
}

/// A view and which of its rows begin with `start`, unless there are none.
fn piece(views: &[ChunkView], view: usize, start: &[u8]) -> Option<(usize, Arc<Body>, std::ops::Range<usize>)> {
    let found = views.get(view)?;
    let range = if start.is_empty() { found.lo..found.hi } else { found.starting_with(start) };
    // Views ascend: behind one without such rows there are none.
    (!range.is_empty()).then(|| (view, found.body.clone(), range))
}

/// Restores the heap below `at`: no cursor is after its children.
fn sift(heap: &mut [Cursor], mut at: usize) {
    loop {
        let mut least = 2 * at + 1;
        if least >= heap.len() {
            return;
        }
        if least + 1 < heap.len() && heap[least + 1].cmp(&heap[least]) == Ordering::Less {
            least += 1;
        }
        if heap[least].cmp(&heap[at]) != Ordering::Less {
            return;
        }
        heap.swap(at, least);
        at = least;
    }
}

/// The rows of shards at a time, in ascending order, with how often each is there.
#[derive(Debug)]
pub struct Merge {
    shards: Vec<Arc<PublishedShard>>,
    /// Only rows whose bytes begin with this.
    start: Vec<u8>,
    as_of: Timestamp,
    heap: Vec<Cursor>,
}

impl Merge {
    /// Begins at the first row whose bytes begin with `start`. The caller knows that the shards can be read at `as_of`.
    pub fn new(shards: Vec<Arc<PublishedShard>>, start: Vec<u8>, as_of: Timestamp) -> Merge {
        let runs = shards.iter().enumerate().flat_map(|(s, shard)| (0..shard.runs.len()).map(move |r| (s, r)));
        let mut heap: Vec<Cursor> = runs.filter_map(|(s, r)| Cursor::new(&shards, s, r, &start)).collect();
        for at in (0..heap.len() / 2).rev() {
            sift(&mut heap, at);
        }
        Merge { shards, start, as_of, heap }
    }

    /// The next distinct row and its count, which may be zero; negative only through a bug of what was published.
    pub fn next_row(&mut self) -> Option<(Place, Diff)> {
        let Merge { shards, start, as_of, heap } = self;
        let top = heap.first()?;
        let place = Place { shard: top.shard as u32, run: top.run as u32, view: top.view as u32, row: top.at as u32 };
        let prefix = top.prefix;
        let row = row_of(shards, place);
        let mut count = 0;
        while let Some(top) = heap.first_mut()
            && top.prefix == prefix
            && top.row() == row
        {
            if top.body.times.get(top.at) <= *as_of {
                count += top.body.diffs.get(top.at);
            }
            if !top.step(shards, start) {
                heap.swap_remove(0);
            }
            sift(heap, 0);
        }
        Some((place, count))
    }

    /// The bytes of a row that [`Merge::next_row`] gave.
    #[inline]
    pub fn row(&self, place: Place) -> &[u8] {
        row_of(&self.shards, place)
    }
}

#[inline]
fn row_of(shards: &[Arc<PublishedShard>], place: Place) -> &[u8] {
    shards[place.shard as usize].runs[place.run as usize][place.view as usize].body.row(place.row as usize)
}

impl PublishedShard {
    /// How many rows there are at `as_of`, with their copies: the changes summed, without looking at a row.
    pub fn count(&self, as_of: Timestamp) -> Diff {
        self.runs.iter().flatten().map(|view| view.count(as_of)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChunkBody;
    use std::sync::Arc;

    fn run(changes: &[(&str, u64, i64)]) -> Vec<ChunkView> {
        let mut body = ChunkBody::default();
        for (row, time, diff) in changes {
            body.push(row.as_bytes(), 1, *time, *diff);
        }
        let body: Arc<Body> = Arc::new(ChunkBody::from_unsorted(&body).into());
        let (middle, hi) = (body.len() / 2, body.len());
        let views = [ChunkView { body: body.clone(), lo: 0, hi: middle }, ChunkView { body, lo: middle, hi }];
        views.into_iter().filter(|v| !v.is_empty()).collect()
    }

    fn read(shards: &[Arc<PublishedShard>], as_of: u64, start: &str) -> Vec<(String, i64)> {
        let mut merge = Merge::new(shards.to_vec(), start.as_bytes().to_vec(), as_of);
        let rows = std::iter::from_fn(|| {
            let (place, count) = merge.next_row()?;
            Some((String::from_utf8_lossy(merge.row(place)).into_owned(), count))
        });
        rows.filter(|(_, count)| *count != 0).collect()
    }

    #[test]
    fn runs_of_all_shards_merge_at_a_time() {
        let one = PublishedShard {
            since: 2,
            upper: 9,
            runs: vec![
                run(&[("a-longer-row-1", 1, 1), ("a-longer-row-2", 1, 1), ("c", 1, 1), ("c", 5, 1)]),
                run(&[("a-longer-row-1", 3, -1), ("b", 3, 2)]),
                vec![],
            ],
        };
        let two = PublishedShard { since: 0, upper: 9, runs: vec![run(&[("d", 2, 1), ("a-longer-row-3", 4, 1)])] };
        let p = [Arc::new(one), Arc::new(two)];
        let row = |s: &str, n| (s.to_string(), n);
        assert_eq!(read(&p, 2, ""), [row("a-longer-row-1", 1), row("a-longer-row-2", 1), row("c", 1), row("d", 1)]);
        assert_eq!(
            read(&p, 8, ""),
            [row("a-longer-row-2", 1), row("a-longer-row-3", 1), row("b", 2), row("c", 2), row("d", 1)]
        );
        assert_eq!(read(&p, 8, "a-longer-row"), [row("a-longer-row-2", 1), row("a-longer-row-3", 1)]);
        assert_eq!(read(&p, 8, "bb"), []);
        for as_of in [2, 8] {
            let counted: i64 = p.iter().map(|shard| shard.count(as_of)).sum();
            assert_eq!(counted, read(&p, as_of, "").iter().map(|(_, n)| n).sum::<i64>());
        }
    }

    #[test]
    fn unsorted_changes_consolidate() {
        let mut body = ChunkBody::default();
        for (row, time, diff) in [("b", 1, 1), ("a", 2, 1), ("b", 1, -1), ("a", 1, 3), ("a", 2, 1)] {
            body.push(row.as_bytes(), 1, time, diff);
        }
        let sorted = ChunkBody::from_unsorted(&body);
        let all: Vec<_> =
            (0..sorted.len()).map(|i| (sorted.row(i), sorted.times.get(i), sorted.diffs.get(i))).collect();
        assert_eq!(all, [(&b"a"[..], 1, 3), (&b"a"[..], 2, 2)]);
    }
}
