//! Reading a published arrangement at a time: a merge of all sorted runs of all shards that sums the changes up to then.

use super::{ChunkBody, ChunkView, PublishedRelation};
use crate::error::{SqlError, SqlState};
use crate::{Diff, Timestamp};
use std::cmp::Ordering;
use std::ops::Range;

/// A place in a run. Invariant: `at < end`, and no further piece is empty.
struct Cursor<'a> {
    prefix: u64,
    row: &'a [u8],
    body: &'a ChunkBody,
    at: usize,
    end: usize,
    /// The run's further pieces.
    rest: std::vec::IntoIter<(&'a ChunkBody, Range<usize>)>,
}

impl<'a> Cursor<'a> {
    fn new(run: &'a [ChunkView], start: Option<&[u8]>) -> Option<Cursor<'a>> {
        let pieces: Vec<(&ChunkBody, Range<usize>)> = run
            .iter()
            .map(|view| (view.body.as_ref(), start.map_or(view.lo..view.hi, |s| view.starting_with(s))))
            .filter(|(_, range)| !range.is_empty())
            .collect();
        let mut rest = pieces.into_iter();
        let (body, range) = rest.next()?;
        let (at, end) = (range.start, range.end);
        Some(Cursor { prefix: body.prefixes[at], row: body.row(at), body, at, end, rest })
    }

    /// Steps to the next change; false at the end of the run.
    #[inline]
    fn step(&mut self) -> bool {
        self.at += 1;
        if self.at >= self.end {
            let Some((body, range)) = self.rest.next() else { return false };
            (self.body, self.at, self.end) = (body, range.start, range.end);
        }
        self.prefix = self.body.prefixes[self.at];
        self.row = self.body.row(self.at);
        true
    }

    /// Sums the changes of the present row up to `as_of` and steps beyond it; false at the end of the run.
    #[inline]
    fn sum(&mut self, as_of: Timestamp, total: &mut Diff) -> bool {
        let (prefix, row) = (self.prefix, self.row);
        loop {
            if self.body.times.get(self.at) <= as_of {
                *total += self.body.diffs.get(self.at);
            }
            if !self.step() {
                return false;
            }
            if self.prefix != prefix || self.row != row {
                return true;
            }
        }
    }

    #[inline]
    fn cmp(&self, other: &Cursor<'_>) -> Ordering {
        self.prefix.cmp(&other.prefix).then_with(|| self.row.cmp(other.row))
    }
}

/// Restores the heap below `at`: no cursor is after its children.
fn sift(heap: &mut [Cursor<'_>], mut at: usize) {
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

impl PublishedRelation {
    /// Gives each row that is there at `as_of`, in ascending order, with how often it is there, to `visit`: all rows, or
    /// those whose bytes begin with `start`. Rows whose changes sum to zero are left out; a negative count is passed on.
    /// Stops at the first error of `visit`. `55000` where `as_of` is below the `since` of a shard; the caller knows that
    /// all changes up to `as_of` are in.
    pub fn scan(
        &self,
        as_of: Timestamp,
        start: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], Diff) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        if let Some(shard) = self.shards.iter().find(|s| s.since > as_of) {
            let message = format!("the time {as_of} is no longer readable, the first that is: {}", shard.since);
            return Err(SqlError::new(SqlState::PREREQUISITE_STATE, message));
        }
        let runs = self.shards.iter().flat_map(|shard| &shard.runs);
        let mut heap: Vec<Cursor<'_>> = runs.filter_map(|run| Cursor::new(run, start)).collect();
        for at in (0..heap.len() / 2).rev() {
            sift(&mut heap, at);
        }
        while let Some(top) = heap.first() {
            let (prefix, row) = (top.prefix, top.row);
            let mut total = 0;
            while let Some(top) = heap.first_mut()
                && top.prefix == prefix
                && top.row == row
            {
                if !top.sum(as_of, &mut total) {
                    heap.swap_remove(0);
                }
                sift(&mut heap, 0);
            }
            if total != 0 {
                visit(row, total)?;
            }
        }
        Ok(())
    }

    /// Number of changes published, before any are summed.
    pub fn changes(&self) -> usize {
        self.shards.iter().flat_map(|s| &s.runs).flatten().map(ChunkView::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::PublishedShard;
    use std::sync::Arc;

    fn run(changes: &[(&str, u64, i64)]) -> Vec<ChunkView> {
        let mut body = ChunkBody::default();
        for (row, time, diff) in changes {
            body.push(row.as_bytes(), 1, *time, *diff);
        }
        let body = Arc::new(ChunkBody::from_unsorted(&body));
        let middle = body.len() / 2;
        let hi = body.len();
        vec![ChunkView { body: body.clone(), lo: 0, hi: middle }, ChunkView { body, lo: middle, hi }]
    }

    fn read(p: &PublishedRelation, as_of: u64, start: Option<&str>) -> Vec<(String, i64)> {
        let mut out = vec![];
        p.scan(as_of, start.map(str::as_bytes), |row, n| {
            out.push((String::from_utf8_lossy(row).into_owned(), n));
            Ok(())
        })
        .expect("readable");
        out
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
        let p = PublishedRelation { shards: vec![Arc::new(one), Arc::new(two)], ..Default::default() };
        let row = |s: &str, n| (s.to_string(), n);
        assert_eq!(read(&p, 2, None), [row("a-longer-row-1", 1), row("a-longer-row-2", 1), row("c", 1), row("d", 1)]);
        assert_eq!(
            read(&p, 8, None),
            [row("a-longer-row-2", 1), row("a-longer-row-3", 1), row("b", 2), row("c", 2), row("d", 1)]
        );
        assert_eq!(read(&p, 8, Some("a-longer-row")), [row("a-longer-row-2", 1), row("a-longer-row-3", 1)]);
        assert_eq!(read(&p, 8, Some("bb")), []);
        assert!(p.scan(1, None, |_, _| Ok(())).is_err());
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
