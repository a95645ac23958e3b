//! Filling a new dataflow with the history of its sources.
//!
//! A new dataflow gets readers of its own: they fetch [start, position(as_of)), then what was admitted meanwhile, and
//! only then does the dataflow join the shared stream; only batches of the last, short stretch are held back for it.
//! History enters in steps at small times of its own below `as_of` (nothing reads it there), so that state builds
//! up in bounded steps. Invariant: `advance` moves past `as_of` only when everything up to it has been sent.

use crate::core::Core;
use crate::external;
use hw_connect::{SourceReader, SourceState};
use hw_repr::{GlobalId, SqlError, Timestamp, UpdateBatch};
use std::collections::{BTreeMap, BTreeSet};

const FEED_BUFFER_BYTES: usize = 32 << 20;
const STEP_BYTES: usize = 16 << 20;
/// Steps that may be on their way through the dataflow.
const STEPS_AHEAD: u64 = 3;

struct Feed {
    source: GlobalId,
    /// (relation, output) that the dataflow reads.
    relations: Vec<(GlobalId, usize)>,
    wanted: Vec<Vec<usize>>,
    to: BTreeMap<i32, i64>,
    reader: Option<Box<dyn SourceReader>>,
    /// Set where no reader could be started: the history must not be taken for empty.
    error: Option<SqlError>,
}

/// A dataflow that is still filling.
pub(crate) struct Hydration {
    feeds: Vec<Feed>,
    /// History may enter below this, at `step`, where the dataflow has no imports; else everything enters at `target`.
    stepped: bool,
    step: Timestamp,
    target: Timestamp,
    closing: bool,
    held: Vec<(GlobalId, Vec<UpdateBatch>)>,
}

impl Hydration {
    /// Keeps a tick's batches until the dataflow has caught up.
    pub(crate) fn hold_back(&mut self, source: GlobalId, batches: &[UpdateBatch]) {
        if self.closing {
            self.held.push((source, batches.to_vec()));
        }
    }
}

enum Progress {
    Filling,
    CaughtUp,
}

impl Core {
    /// Prepares filling `relations` (with the columns read of each) up to the last tick's positions.
    pub(crate) fn begin_hydration(
        &self,
        relations: &BTreeMap<GlobalId, BTreeSet<usize>>,
        stepped: bool,
        as_of: Timestamp,
    ) -> Option<Hydration> {
        let mut feeds = vec![];
        for (id, source) in &self.sources {
            let read: Vec<(GlobalId, usize)> = source
                .relations
                .iter()
                .enumerate()
                .filter(|(_, r)| relations.contains_key(r))
                .map(|(output, r)| (*r, output))
                .collect();
            if read.is_empty() {
                continue;
            }
            let mut wanted: Vec<Vec<usize>> = source.relations.iter().map(|_| vec![]).collect();
            for (relation, output) in &read {
                wanted[*output] = relations[relation].iter().copied().collect();
            }
            let mut feed =
                Feed { source: *id, relations: read, wanted, to: source.positions.clone(), reader: None, error: None };
            feed.open(source, source.start());
            feeds.push(feed);
        }
        if feeds.is_empty() {
            return None;
        }
        Some(Hydration { feeds, stepped, step: 1, target: as_of, closing: false, held: vec![] })
    }

    /// Moves every filling dataflow on.
    pub(crate) fn step_hydration(&mut self) {
        let ids: Vec<GlobalId> = self.flows.iter().filter(|(_, f)| f.hydration.is_some()).map(|(id, _)| *id).collect();
        for id in ids {
            let Some(mut hydration) = self.flows.get_mut(&id).and_then(|f| f.hydration.take()) else { continue };
            let outcome = self.fill(id, &mut hydration);
            let Some(flow) = self.flows.get_mut(&id) else { continue };
            match outcome {
                Ok(Progress::CaughtUp) => {}
                Ok(Progress::Filling) => flow.hydration = Some(hydration),
                Err(e) => {
                    tracing::error!(relation = %flow.object.name, error = %e, "filling from its sources failed");
                    flow.failed = Some(e);
                    flow.hydration = Some(hydration);
                }
            }
        }
    }

    fn fill(&mut self, id: GlobalId, h: &mut Hydration) -> Result<Progress, SqlError> {
        if self.flows.get(&id).is_some_and(|f| f.failed.is_some()) {
            return Ok(Progress::Filling);
        }
        while !h.stepped || h.step < self.engine.frontier(id) + STEPS_AHEAD {
            let mut sent = false;
            for feed in &h.feeds {
                if let Some(e) = &feed.error {
                    return Err(e.clone());
                }
                let Some(reader) = &feed.reader else { continue };
                if let (SourceState::Failed, Some(e)) = reader.state() {
                    return Err(e);
                }
                let time = if h.stepped { h.step } else { h.target };
                for mut batch in reader.try_take(STEP_BYTES) {
                    for letter in std::mem::take(&mut batch.dead) {
                        if let Some(source) = self.sources.get_mut(&feed.source) {
                            source.remember_dead(external::dead_letter_row(feed.source, letter));
                        }
                    }
                    for (relation, output) in &feed.relations {
                        let rows = batch.outputs[*output].clone();
                        if rows.num_rows() > 0 {
                            self.engine.send(id, *relation, vec![UpdateBatch::inserts(rows, time)])?;
                            sent = true;
                        }
                    }
                }
            }
            if !sent {
                break;
            }
            if h.stepped {
                h.step += 1;
                self.engine.advance(id, h.step);
            }
        }
        if h.feeds.iter().any(|f| f.reader.as_ref().is_some_and(|r| !r.is_done())) {
            return Ok(Progress::Filling);
        }
        self.next_stretch(id, h)
    }

    /// Everything up to `target` has been sent: fetch what was admitted since, or join the shared stream.
    fn next_stretch(&mut self, id: GlobalId, h: &mut Hydration) -> Result<Progress, SqlError> {
        if !h.closing {
            h.closing = true;
            h.target = self.last_tick;
            let mut gap = false;
            for feed in &mut h.feeds {
                let Some(source) = self.sources.get(&feed.source) else { continue };
                let from = std::mem::replace(&mut feed.to, source.positions.clone());
                feed.reader = None;
                if from != feed.to {
                    gap = true;
                    let from = feed.to.keys().map(|p| (*p, from.get(p).copied().unwrap_or(0))).collect();
                    feed.open(source, from);
                }
            }
            if gap {
                return Ok(Progress::Filling);
            }
        }
        for (source, batches) in std::mem::take(&mut h.held) {
            self.engine.send(id, source, batches)?;
        }
        self.engine.advance(id, self.last_tick + 1);
        Ok(Progress::CaughtUp)
    }
}

impl Feed {
    fn open(&mut self, source: &crate::source::LiveSource, from: BTreeMap<i32, i64>) {
        let to = self.to.clone();
        let from: BTreeMap<i32, i64> = to.keys().map(|p| (*p, from.get(p).copied().unwrap_or(0))).collect();
        match external::open_reader(&source.object, &source.upstream, &self.wanted, from, Some(to), FEED_BUFFER_BYTES) {
            Ok(reader) => self.reader = Some(reader),
            Err(e) => {
                self.reader = None;
                self.error = Some(e);
            }
        }
    }
}
