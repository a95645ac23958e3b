//! What the tick log says about the ranges of a source, to compare with what the upstream gives when it is read again.
//!
//! Consecutive ranges are joined, so that a long history stays small. Ranges that went by unread have no digest.

use hw_connect::{RangeDigest, SourceBatch};
use hw_repr::{SqlError, SqlState, Timestamp};
use hw_store::{SavedRange, SourcePosition};
use std::collections::{BTreeMap, VecDeque};

/// Messages up to which ranges are joined.
const JOINED_MESSAGES_MAX: u64 = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    from: i64,
    to: i64,
    digest: Option<RangeDigest>,
}

/// The digest of a logged range; none where it went by unread.
pub(crate) fn digest(p: &SourcePosition) -> Option<RangeDigest> {
    p.read.then_some(RangeDigest { count: p.count, crc: p.crc, bytes: p.bytes })
}

/// All ranges of one source, in order, without holes, per partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranges(BTreeMap<i32, Vec<Range>>);

impl Ranges {
    /// Adds the range that follows the last one; `digest` where it has been read.
    pub(crate) fn push(&mut self, partition: i32, from: i64, to: i64, digest: Option<RangeDigest>) {
        let ranges = self.0.entry(partition).or_default();
        if let Some(last) = ranges.last_mut().filter(|last| last.to == from) {
            match (last.digest, digest) {
                (None, None) => return last.to = to,
                (Some(a), Some(b)) if a.count + b.count <= JOINED_MESSAGES_MAX => {
                    return *last = Range { from: last.from, to, digest: Some(a.join(b)) };
                }
                _ => {}
            }
        }
        ranges.push(Range { from, to, digest });
    }

    /// Those of a partition, as a checkpoint keeps them.
    pub(crate) fn saved(&self, partition: i32) -> Vec<SavedRange> {
        let saved = |r: &Range| {
            let digest = r.digest.map(|d| (d.count, d.crc, d.bytes));
            SavedRange { from: r.from, to: r.to, digest }
        };
        self.0.get(&partition).into_iter().flatten().map(saved).collect()
    }

    /// Takes over those of a partition.
    pub(crate) fn restore(&mut self, partition: i32, saved: &[SavedRange]) {
        let range = |r: &SavedRange| {
            let digest = r.digest.map(|(count, crc, bytes)| RangeDigest { count, crc, bytes });
            Range { from: r.from, to: r.to, digest }
        };
        self.0.insert(partition, saved.iter().map(range).collect());
    }

    /// Adds the ranges that follow.
    pub(crate) fn append(&mut self, more: &Ranges) {
        for (partition, ranges) in &more.0 {
            ranges.iter().for_each(|r| self.push(*partition, r.from, r.to, r.digest));
        }
    }

    /// True where something before `to` went by unread and has no digest.
    pub(crate) fn has_unread(&self, partition: i32, to: i64) -> bool {
        self.0.get(&partition).is_some_and(|ranges| ranges.iter().any(|r| r.digest.is_none() && r.from < to))
    }

    /// One digest of `[from, to)` in place of what is known before `to`.
    pub(crate) fn replace_before(&mut self, partition: i32, from: i64, to: i64, digest: RangeDigest) {
        let ranges = self.0.entry(partition).or_default();
        ranges.retain(|r| r.from >= to);
        ranges.insert(0, Range { from, to, digest: Some(digest) });
    }

    /// What a reader of `[from, to)` has to give.
    pub(crate) fn expected(&self, from: &BTreeMap<i32, i64>, to: &BTreeMap<i32, i64>) -> Verifier {
        let mut left = BTreeMap::new();
        for (partition, ranges) in &self.0 {
            let (Some(from), Some(to)) = (from.get(partition), to.get(partition)) else { continue };
            let known = ranges.iter().filter(|r| r.digest.is_some() && r.from >= *from && r.to <= *to);
            left.insert(*partition, known.copied().collect());
        }
        Verifier { left, open: BTreeMap::new() }
    }
}

/// Messages and rows from which on a stretch takes no more ticks.
const STRETCH_ROWS: u64 = 16 << 10;

/// The ticks after a checkpoint, joined where nobody may ask for one of them alone: a stretch of them is done in one step,
/// at the time of its first.
#[derive(Debug, Default)]
pub(crate) struct Stretches {
    /// The first tick of each.
    begin: Vec<Timestamp>,
    /// Messages and rows in the last one.
    rows: u64,
}

impl Stretches {
    /// Adds the next tick. Returns the time of its stretch.
    pub(crate) fn add(&mut self, tick: Timestamp, rows: u64) -> Timestamp {
        if self.begin.is_empty() || self.rows >= STRETCH_ROWS {
            self.begin.push(tick);
            self.rows = 0;
        }
        self.rows += rows;
        self.time_of(tick)
    }

    /// The time of the stretch that has a tick.
    pub(crate) fn time_of(&self, tick: Timestamp) -> Timestamp {
        let next = self.begin.partition_point(|begin| *begin <= tick);
        next.checked_sub(1).map_or(tick, |at| self.begin[at])
    }
}

/// When positions were reached, as far back as history is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline(BTreeMap<i32, Ticks>);

#[derive(Clone, Debug)]
struct Ticks {
    /// Everything before this position is older than the kept history; the partition's start where `None`.
    base: Option<i64>,
    ticks: VecDeque<(Timestamp, i64)>,
}

impl Timeline {
    /// Sets what is known of a partition.
    pub(crate) fn restore(&mut self, partition: i32, base: Option<i64>, ticks: &VecDeque<(Timestamp, i64)>) {
        self.0.insert(partition, Ticks { base, ticks: ticks.clone() });
    }

    /// A partition reached a position at a time, which is not before the last one.
    pub(crate) fn reached(&mut self, partition: i32, time: Timestamp, next: i64) {
        let t = self.0.entry(partition).or_insert_with(|| Ticks { base: None, ticks: VecDeque::new() });
        match t.ticks.back_mut() {
            Some((last, at)) if *last == time => *at = next.max(*at),
            _ => t.ticks.push_back((time, next)),
        }
    }

    /// True where nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where batches have to end so that each belongs to one tick.
    pub(crate) fn cuts(&self, partition: i32) -> impl Iterator<Item = i64> + '_ {
        self.0.get(&partition).into_iter().flat_map(|t| t.base.into_iter().chain(t.ticks.iter().map(|(_, next)| *next)))
    }

    /// The tick in which a batch that ends at `to` entered; `None` for older ones.
    pub(crate) fn time_of(&self, partition: i32, to: i64) -> Option<Timestamp> {
        let t = self.0.get(&partition)?;
        if t.base.is_some_and(|base| to <= base) {
            return None;
        }
        let at = t.ticks.partition_point(|(_, next)| *next < to);
        t.ticks.get(at).or(t.ticks.back()).map(|(time, _)| *time)
    }

    /// The tick of what follows position `at`, which is before the partition's end.
    pub(crate) fn next_time(&self, partition: i32, at: i64) -> Option<Timestamp> {
        self.time_of(partition, at + 1)
    }
}

/// Compares what a reader gives with what was logged.
#[derive(Debug, Default)]
pub(crate) struct Verifier {
    left: BTreeMap<i32, VecDeque<Range>>,
    /// What has been given of the first range that is left.
    open: BTreeMap<i32, RangeDigest>,
}

impl Verifier {
    /// Where the reader's batches have to end.
    pub(crate) fn cuts(&self, partition: i32) -> impl Iterator<Item = i64> + '_ {
        self.left.get(&partition).into_iter().flatten().flat_map(|r| [r.from, r.to])
    }

    /// Takes in the next batch of a partition. 55000 where it is not what was logged.
    pub(crate) fn check(&mut self, batch: &SourceBatch) -> Result<(), SqlError> {
        let Some(ranges) = self.left.get_mut(&batch.partition) else { return Ok(()) };
        let Some(range) = ranges.front().copied().filter(|r| r.from <= batch.from) else { return Ok(()) };
        let open = self.open.entry(batch.partition).or_default();
        *open = open.join(batch.digest);
        if batch.to < range.to {
            return Ok(());
        }
        ranges.pop_front();
        let given = std::mem::take(open);
        match range.digest {
            Some(logged) if logged != given || batch.to > range.to => {
                Err(changed(batch.partition, range, logged, given))
            }
            _ => Ok(()),
        }
    }
}

fn changed(partition: i32, range: Range, logged: RangeDigest, given: RangeDigest) -> SqlError {
    let message = format!(
        "the source has changed behind our back: offsets {} to {} of partition {partition} are not what was read before",
        range.from,
        range.to - 1
    );
    let show = |d: RangeDigest| format!("{} messages, {} bytes, CRC {:08x}", d.count, d.bytes, d.crc);
    SqlError::new(SqlState::PREREQUISITE_STATE, message)
        .detail(format!("Logged: {}. Now: {}.", show(logged), show(given)))
        .hint("The topic has been truncated, compacted or created again. Drop the source and create it again.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(messages: &[&str]) -> RangeDigest {
        let mut d = RangeDigest::default();
        for m in messages {
            d.update(m.as_bytes());
            d.message();
        }
        d
    }

    fn batch(from: i64, messages: &[&str]) -> SourceBatch {
        let to = from + messages.len() as i64;
        SourceBatch { partition: 0, from, to, digest: digest(messages), outputs: vec![], dead: vec![], memory: 0 }
    }

    #[test]
    fn ranges_are_joined_and_compared_as_a_whole() {
        let mut ranges = Ranges::default();
        ranges.push(0, 5, 7, None);
        ranges.push(0, 7, 9, None);
        ranges.push(0, 9, 11, Some(digest(&["a", "b"])));
        ranges.push(0, 11, 12, Some(digest(&["c"])));
        let (from, to) = (BTreeMap::from([(0, 5)]), BTreeMap::from([(0, 12)]));
        let mut expected = ranges.expected(&from, &to);
        assert_eq!(expected.cuts(0).collect::<Vec<_>>(), [9, 12]);
        // However the reader splits it.
        for b in [batch(5, &["x", "y", "z", "z"]), batch(9, &["a"]), batch(10, &["b", "c"])] {
            expected.check(&b).expect("as logged");
        }
        let mut expected = ranges.expected(&from, &to);
        expected.check(&batch(9, &["a"])).expect("nothing to compare yet");
        let e = expected.check(&batch(10, &["b", "C"])).expect_err("another message");
        assert!(e.message.contains("offsets 9 to 11 of partition 0"), "{}", e.message);
        // A reader of less than a range has nothing to compare.
        assert_eq!(ranges.expected(&from, &BTreeMap::from([(0, 11)])).cuts(0).count(), 0);
    }

    #[test]
    fn ticks_are_joined_by_their_rows() {
        let (mut stretches, mut timeline) = (Stretches::default(), Timeline::default());
        let ticks = [(100, STRETCH_ROWS - 1), (101, 1), (105, 0), (109, 3 * STRETCH_ROWS), (110, 1)];
        for (i, (tick, rows)) in ticks.into_iter().enumerate() {
            timeline.reached(0, stretches.add(tick, rows), 10 * (i as i64 + 1));
        }
        assert_eq!(
            [99, 100, 101, 105, 109, 110, 200].map(|t| stretches.time_of(t)),
            [99, 100, 100, 105, 105, 110, 110]
        );
        assert_eq!(timeline.cuts(0).collect::<Vec<_>>(), [20, 40, 50]);
        assert_eq!([1, 20, 21, 41].map(|to| timeline.time_of(0, to)), [100, 100, 105, 110].map(Some));
    }

    #[test]
    fn kept_ticks_have_their_times() {
        let mut timeline = Timeline::default();
        timeline.restore(0, Some(10), &VecDeque::from([(100, 12), (101, 12), (105, 20)]));
        timeline.restore(1, None, &VecDeque::from([(7, 3)]));
        let times: Vec<_> = [5, 10, 11, 12, 13, 20].map(|to| timeline.time_of(0, to)).into();
        assert_eq!(times, [None, None, Some(100), Some(100), Some(105), Some(105)]);
        assert_eq!((timeline.next_time(0, 9), timeline.next_time(0, 12)), (None, Some(105)));
        assert_eq!((timeline.time_of(1, 1), timeline.time_of(2, 1)), (Some(7), None));
        assert_eq!(timeline.cuts(0).collect::<Vec<_>>(), [10, 12, 12, 20]);
    }

    #[test]
    fn what_went_by_unread_is_known_once_it_has_been_read() {
        let mut ranges = Ranges::default();
        ranges.push(0, 0, 2, None);
        ranges.push(0, 2, 3, Some(digest(&["c"])));
        assert!(ranges.has_unread(0, 2) && !ranges.has_unread(1, 2));
        ranges.replace_before(0, 0, 2, digest(&["a", "b"]));
        assert!(!ranges.has_unread(0, 3));
        let (from, to) = (BTreeMap::from([(0, 0)]), BTreeMap::from([(0, 3)]));
        let mut expected = ranges.expected(&from, &to);
        expected.check(&batch(0, &["a", "b"])).expect("as logged");
        expected.check(&batch(2, &["c"])).expect("as logged");
        assert!(ranges.expected(&from, &to).check(&batch(0, &["a", "x"])).is_err());
    }

    #[test]
    fn long_histories_stay_small() {
        let mut ranges = Ranges::default();
        for i in 0..200_000 {
            ranges.push(0, i, i + 1, Some(digest(&["m"])));
        }
        assert_eq!(ranges.0[&0].len(), 4);
    }
}
