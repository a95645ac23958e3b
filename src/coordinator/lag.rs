//! Which dataflows ticks wait for, and for how long.
//!
//! A tick waits until every dataflow that can be read has passed the one before, so that a change is shown as soon as it is
//! acknowledged, but no longer than [`LAG`]: then those that are behind are set apart. They hold up no tick and no read of
//! another relation until they have caught up; a read of them waits for them.
//!
//! While sources have more at hand, and nobody waits for a commit or a read, the next tick closes while [`AHEAD`] are on their way:
//! workers go on with it where they would wait for each other and for the coordinator (ADR 20).
//!
//! One that has not moved for [`STUCK`] is left to itself: what reads a failed one never moves.
//!
//! Invariant: what the ticks hold that some dataflow has not passed stays below [`IN_FLIGHT_BYTES`] and one tick more for
//! sources; a commit waits for room at most [`LAG_MAX`].

use crate::core::{Core, Flow, Place};
use crate::tick::TICK_SOURCE_BYTES_MAX;
use hw_repr::{GlobalId, Timestamp};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// After this long a dataflow that has not passed the last tick no longer holds up the next. Nobody should wait more than
/// 50 ms for what another view has to do.
const LAG: Duration = Duration::from_millis(10);
/// The same where too much is in flight, and for a checkpoint that has waited for long.
const LAG_MAX: Duration = Duration::from_secs(1);
/// Ticks that may be on their way when the next one closes. With one, workers that share a tick unevenly wait for each other at its
/// end; with two, what one has more in a tick it mostly has less in the next.
const AHEAD: usize = 2;
/// Bytes of changes in ticks that some dataflow has not passed: what sources give to as many ticks.
const IN_FLIGHT_BYTES: usize = (AHEAD + 1) * TICK_SOURCE_BYTES_MAX;
/// After this long without moving, nothing waits for a dataflow.
const STUCK: Duration = Duration::from_secs(10);
/// While the previous tick has not passed, its passing wakes the coordinator; beside that it looks this often.
const BLOCKED_POLL: Duration = Duration::from_millis(20);

/// Changes in ticks that some dataflow has not passed.
#[derive(Default)]
pub(crate) struct InFlight {
    ticks: VecDeque<(Timestamp, usize)>,
    bytes: usize,
    /// The ticks that were closed last, oldest first; 0 where there was none since the start.
    closed: [Timestamp; AHEAD + 1],
}

impl InFlight {
    /// A tick was closed.
    pub(crate) fn add(&mut self, time: Timestamp, bytes: usize) {
        self.closed.rotate_left(1);
        self.closed[AHEAD] = time;
        if bytes > 0 {
            self.ticks.push_back((time, bytes));
            self.bytes += bytes;
        }
    }

    fn passed(&mut self, frontier: Timestamp) {
        while let Some((_, bytes)) = self.ticks.pop_front_if(|(time, _)| *time < frontier) {
            self.bytes -= bytes;
        }
    }

    /// The tick that must have passed before the next one closes.
    fn gate(&self) -> Timestamp {
        self.closed[0]
    }

    fn is_full(&self) -> bool {
        self.bytes >= IN_FLIGHT_BYTES
    }
}

impl Flow {
    /// True where ticks enter it as they are closed. What is filled from relations alone holds nothing of them.
    fn takes_ticks(&self) -> bool {
        self.hydration.is_none() && self.counts() && (self.is_filled() || !self.inputs.is_empty())
    }

    /// False for what will not move, as far as anybody knows.
    fn counts(&self) -> bool {
        self.failed.is_none() && self.behind.is_none_or(|(_, since)| since.elapsed() < STUCK)
    }

    /// Notes how far it is after the ticks up to `last`.
    fn note(&mut self, frontier: Timestamp, last: Timestamp, now: Instant) {
        if frontier > last {
            self.behind = None;
        } else if self.behind.is_none_or(|(at, _)| at != frontier) {
            self.behind = Some((frontier, now));
        }
    }
}

impl Core {
    /// Newest tick passed by every live dataflow.
    pub(crate) fn passed(&self) -> Timestamp {
        let live = |f: &Flow| f.is_live() && f.failed.is_none();
        let least = self.flows.iter().filter(|(_, f)| live(f)).map(|(id, _)| self.engine.frontier(*id)).min();
        least.map_or(self.last_tick, |f| f.saturating_sub(1).min(self.last_tick))
    }

    /// Newest tick passed by everything that can be read, also where ticks do not wait for it.
    pub(crate) fn passed_by_all(&self) -> Timestamp {
        let counts = |f: &Flow| f.is_filled() && f.counts();
        let least = self.flows.iter().filter(|(_, f)| counts(f)).map(|(id, _)| self.engine.frontier(*id)).min();
        least.map_or(Timestamp::MAX, |f| f.saturating_sub(1))
    }

    /// What every dataflow has passed is no longer in flight.
    pub(crate) fn observe_flight(&mut self) {
        let now = Instant::now();
        for (id, flow) in &mut self.flows {
            flow.note(self.engine.frontier(*id), self.last_tick, now);
        }
        let behind = self.flows.iter().filter(|(_, f)| f.takes_ticks()).map(|(id, _)| self.engine.frontier(*id)).min();
        self.in_flight.passed(behind.unwrap_or(Timestamp::MAX));
    }

    /// True where the next tick had better wait: for what can be read, and where sources go on for what they fill.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind_of(self.last_tick)
    }

    fn is_behind_of(&self, tick: Timestamp) -> bool {
        let sources = self.sources.values().any(|s| s.has_data());
        let counts = |f: &Flow| (f.is_filled() && f.counts()) || (sources && f.takes_ticks());
        let behind = |(id, f): (&GlobalId, &Flow)| counts(f) && self.engine.frontier(*id) <= tick;
        self.flows.iter().any(behind)
    }

    /// True where the next tick may close while the last ones are on their way.
    pub(crate) fn may_run_ahead(&self) -> bool {
        let wanted = self.commits() || !self.reads.is_empty() || self.checkpoint_is_due(Duration::ZERO);
        !wanted && !self.in_flight.is_full() && !self.is_behind_of(self.in_flight.gate())
    }

    /// How long the tick after one that has not passed still waits, where nobody wakes the coordinator.
    pub(crate) fn lag_wait(&self) -> Duration {
        let limit = if self.checkpoint_is_late() || self.in_flight.is_full() { LAG_MAX } else { LAG };
        limit.saturating_sub(self.last_close.elapsed()).clamp(Duration::from_millis(1), BLOCKED_POLL)
    }

    /// True where the next tick may close although one before it has not passed for long.
    pub(crate) fn may_close_behind(&self) -> bool {
        let waited = self.last_close.elapsed();
        match self.in_flight.is_full() {
            true => self.commits() && waited >= LAG_MAX,
            false => waited >= if self.checkpoint_is_late() { LAG_MAX } else { LAG },
        }
    }

    /// Live dataflows that have not passed the last tick are set apart.
    pub(crate) fn set_laggards_apart(&mut self) {
        for (id, flow) in &mut self.flows {
            if flow.is_live() && self.engine.frontier(*id) <= self.last_tick {
                tracing::debug!(relation = %flow.object.name, "a dataflow is behind; ticks do not wait for it");
                flow.place = Place::Apart;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_been_passed_is_no_longer_in_flight() {
        let mut flight = InFlight::default();
        flight.add(1, IN_FLIGHT_BYTES / 2);
        flight.add(2, 0);
        assert!(!flight.is_full());
        flight.add(3, IN_FLIGHT_BYTES / 2);
        assert!(flight.is_full());
        flight.passed(1);
        assert!(flight.is_full());
        flight.passed(2);
        assert!(!flight.is_full());
        flight.passed(4);
        assert_eq!((flight.ticks.len(), flight.bytes), (0, 0));
    }

    #[test]
    fn the_next_tick_waits_for_one_that_was_closed_earlier() {
        let mut flight = InFlight::default();
        let gates: Vec<Timestamp> = (1..=5)
            .map(|tick| {
                flight.add(10 * tick, 0);
                flight.gate()
            })
            .collect();
        assert_eq!(gates, [0, 0, 10, 20, 30]);
    }
}
