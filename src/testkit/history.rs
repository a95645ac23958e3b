//! A checker of strict serialisability for a history of registers that only grow.
//!
//! Every client writes numbers of its own, counting up; a read gives, for each client, the greatest number that is
//! there. The tick log orders writes by tick; a history is strictly serialisable exactly where
//! - every read equals the writes of all ticks up to some tick (never a part of a tick, never a gap),
//! - that tick is not before any write that was acknowledged, or any read that was answered, before the read began,
//! - that tick holds no write that began after the read had ended,
//! - a write that began after another was acknowledged has a later tick.

use std::collections::BTreeMap;
use std::time::Instant;

/// A write, its number unique within its client and counting up from 1.
#[derive(Clone, Debug)]
pub struct Write {
    /// Who wrote.
    pub client: usize,
    /// Which of its numbers.
    pub number: u64,
    /// When the statement was sent.
    pub begun: Instant,
    /// When it was acknowledged; `None` where that is not known.
    pub acknowledged: Option<Instant>,
}

/// A read: the greatest number of each client.
#[derive(Clone, Debug)]
pub struct Read {
    /// Who read.
    pub client: usize,
    /// Per client, its greatest number that was seen; 0 or absent: none.
    pub seen: BTreeMap<usize, u64>,
    /// When the statement was sent.
    pub begun: Instant,
    /// When its answer was there.
    pub ended: Instant,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// All writes.
    pub writes: Vec<Write>,
    /// All reads.
    pub reads: Vec<Read>,
}

impl History {
    /// Findings, each in words; empty where the history is strictly serialisable. `ticks` is the tick of each
    /// (client, number) that took effect.
    pub fn check(&self, ticks: &BTreeMap<(usize, u64), u64>) -> Vec<String> {
        let mut found = self.check_writes(ticks);
        // State after each tick, in order.
        let mut by_tick: BTreeMap<u64, Vec<(usize, u64)>> = BTreeMap::new();
        for (write, tick) in ticks {
            by_tick.entry(*tick).or_default().push(*write);
        }
        let mut states: Vec<(u64, BTreeMap<usize, u64>)> = vec![(0, BTreeMap::new())];
        for (tick, writes) in by_tick {
            let mut state = states.last().map(|s| s.1.clone()).unwrap_or_default();
            for (client, number) in writes {
                let before = state.insert(client, number).unwrap_or(0);
                if before >= number {
                    found.push(format!("client {client} wrote {number} at tick {tick}, after {before}"));
                }
            }
            states.push((tick, state));
        }
        let begun = self.writes.iter().map(|w| ((w.client, w.number), w.begun)).collect();
        self.check_reads(ticks, &states, &begun, &mut found);
        found
    }

    fn check_writes(&self, ticks: &BTreeMap<(usize, u64), u64>) -> Vec<String> {
        let mut found = vec![];
        for w in self.writes.iter().filter(|w| w.acknowledged.is_some()) {
            if !ticks.contains_key(&(w.client, w.number)) {
                found.push(format!("lost write: {} of client {}", w.number, w.client));
            }
        }
        // The newest tick acknowledged before each moment, against the writes that began after it.
        let mut acknowledged: Vec<(Instant, u64)> =
            self.writes.iter().filter_map(|w| Some((w.acknowledged?, *ticks.get(&(w.client, w.number))?))).collect();
        acknowledged.sort_unstable();
        running_max(&mut acknowledged);
        for w in &self.writes {
            let Some(tick) = ticks.get(&(w.client, w.number)) else { continue };
            if let Some(before) = newest_before(&acknowledged, w.begun)
                && before >= *tick
            {
                let what = format!("write {} of client {} has tick {tick}", w.number, w.client);
                found.push(format!("{what}, but one of tick {before} was acknowledged before it began"));
            }
        }
        found
    }

    fn check_reads(
        &self,
        ticks: &BTreeMap<(usize, u64), u64>,
        states: &[(u64, BTreeMap<usize, u64>)],
        begun: &BTreeMap<(usize, u64), Instant>,
        found: &mut Vec<String>,
    ) {
        let mut known: Vec<(Instant, u64)> =
            self.writes.iter().filter_map(|w| Some((w.acknowledged?, *ticks.get(&(w.client, w.number))?))).collect();
        let mut placed = vec![];
        for read in &self.reads {
            let seen: BTreeMap<usize, u64> = read.seen.iter().filter(|(_, n)| **n > 0).map(|(c, n)| (*c, *n)).collect();
            // The last write seen says which state it must be.
            let tick = seen.iter().map(|(c, n)| ticks.get(&(*c, *n)).copied().unwrap_or(u64::MAX)).max().unwrap_or(0);
            let at = states.partition_point(|(t, _)| *t <= tick).saturating_sub(1);
            if states[at].1 != seen {
                found.push(format!("client {} read {seen:?}; at tick {tick} it was {:?}", read.client, states[at].1));
                continue;
            }
            for write in &seen {
                if begun.get(&(*write.0, *write.1)).is_some_and(|b| *b > read.ended) {
                    found.push(format!("client {} read {write:?} before that was written", read.client));
                }
            }
            known.push((read.ended, states[at].0));
            placed.push((read, states[at].0));
        }
        known.sort_unstable();
        running_max(&mut known);
        for (read, tick) in placed {
            if let Some(newest) = newest_before(&known, read.begun)
                && newest > tick
            {
                let what = format!("stale read: client {} saw tick {tick}", read.client);
                found.push(format!("{what}, but tick {newest} was known before it began"));
            }
        }
    }
}

/// Each value becomes the greatest up to it.
fn running_max(values: &mut [(Instant, u64)]) {
    let mut max = 0;
    for (_, value) in values {
        max = max.max(*value);
        *value = max;
    }
}

/// The value of the last entry before `moment`.
fn newest_before(values: &[(Instant, u64)], moment: Instant) -> Option<u64> {
    let at = values.partition_point(|(t, _)| *t < moment);
    at.checked_sub(1).map(|i| values[i].1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn write(base: Instant, client: usize, number: u64, from_ms: u64, to_ms: u64) -> Write {
        let at = |ms| base + Duration::from_millis(ms);
        Write { client, number, begun: at(from_ms), acknowledged: Some(at(to_ms)) }
    }
    fn read(base: Instant, seen: &[(usize, u64)], from_ms: u64, to_ms: u64) -> Read {
        let at = |ms| base + Duration::from_millis(ms);
        Read { client: 9, seen: seen.iter().copied().collect(), begun: at(from_ms), ended: at(to_ms) }
    }

    /// Registers with their versions, and when the read began and ended.
    type Observed<'a> = (&'a [(usize, u64)], u64, u64);

    fn check(reads: &[Observed<'_>]) -> Vec<String> {
        let base = Instant::now();
        let writes = vec![write(base, 1, 1, 0, 10), write(base, 2, 1, 0, 10), write(base, 1, 2, 20, 30)];
        let ticks = BTreeMap::from([((1, 1), 100), ((2, 1), 100), ((1, 2), 101)]);
        let reads = reads.iter().map(|(seen, from, to)| read(base, seen, *from, *to)).collect();
        History { writes, reads }.check(&ticks)
    }

    #[test]
    fn a_good_history_passes() {
        let all: &[(usize, u64)] = &[(1, 2), (2, 1)];
        assert!(
            check(&[(&[], 0, 5), (&[(1, 1), (2, 1)], 5, 15), (&[(1, 1), (2, 1)], 15, 25), (all, 22, 40)]).is_empty()
        );
    }

    #[test]
    fn each_anomaly_is_found() {
        let found = |reads: &[Observed<'_>], what: &str| {
            let all = check(reads);
            assert!(all.iter().any(|f| f.contains(what)), "{what}: {all:?}");
        };
        found(&[(&[], 15, 18)], "stale read");
        found(&[(&[(1, 1)], 5, 15)], "at tick 100 it was");
        found(&[(&[(1, 2), (2, 1)], 12, 19)], "before that was written");
        found(&[(&[(1, 2), (2, 1)], 21, 24), (&[(1, 1), (2, 1)], 25, 28)], "stale read");
    }

    #[test]
    fn lost_and_disordered_writes_are_found() {
        let base = Instant::now();
        let writes = vec![write(base, 1, 1, 0, 10), write(base, 2, 1, 20, 30)];
        let history = History { writes, reads: vec![] };
        let lost = history.check(&BTreeMap::from([((1, 1), 5)]));
        assert!(lost[0].contains("lost write"), "{lost:?}");
        let order = history.check(&BTreeMap::from([((1, 1), 5), ((2, 1), 5)]));
        assert!(order[0].contains("acknowledged before it began"), "{order:?}");
    }
}
