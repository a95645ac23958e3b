//! Filling a new dataflow with the history of its sources.
//!
//! A new dataflow gets readers of its own: they fetch [start, position), then what was admitted meanwhile, as often as
//! that is much, and only then does the dataflow join the shared stream; only batches of the last, short stretch are
//! held back for it. What was logged when it was first read is compared with what the upstream gives now. A broker that
//! is out of reach is waited for; a history that is gone or not the same fails the dataflow.
//!
//! History enters in steps at small times of its own below `as_of` (nothing reads it there), so that state builds
//! up in bounded steps; after a start, what ticks admitted meanwhile enters after the last tick of before, which can be
//! read; during recovery the last minute enters at the times it had, where somebody may ask for it. A dataflow that goes on from a
//! checkpoint lacks only what came since: it is not made to wait for others, and its sources give nothing newer before it
//! is there, so that what was shown before is shown again as soon as can be. Invariant: `advance` moves past a time only
//! when everything up to it has been sent.

use crate::core::{Core, Flow, Origin};
use crate::external;
use crate::known::Known;
use crate::ranges::{Timeline, Verifier};
use crate::source::{LiveSource, is_permanent, wake};
use crate::tee::tee;
use hw_connect::{RangeDigest, SourceBatch, SourceReader, SourceState};
use hw_plan::SourceConnector;
use hw_repr::{GlobalId, SqlError, Timestamp, UpdateBatch};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

type Positions = BTreeMap<i32, i64>;

const FEED_BUFFER_BYTES: usize = 32 << 20;
/// Bytes of a step: small at first, so that something is soon on its way, then as much as is good for throughput.
const STEP_BYTES_MIN: usize = 512 << 10;
const STEP_BYTES_MAX: usize = 8 << 20;
/// The same while ticks want their turn: a step then takes about [`STEP_TIME`].
const STEP_BYTES_PACED: std::ops::RangeInclusive<usize> = 16 << 10..=256 << 10;
/// What a tick may have to wait for: the workers finish a step before they turn to it.
const STEP_TIME: Duration = Duration::from_millis(4);
/// While ticks want their turn, filling rests this many times as long as it worked.
const REST: u32 = 2;
/// Ticks want their turn where the last one is not older than this.
const BUSY_FOR: Duration = Duration::from_millis(200);
/// A step that is too small enters nevertheless when it is this old.
const STEP_WAIT: Duration = Duration::from_millis(20);
/// Steps that may be on their way through the dataflow.
const STEPS_AHEAD: usize = 2;
/// Messages that may be missing when ticks begin to be held back.
const LAST_STRETCH_MAX: i64 = 50_000;
/// Between attempts to reach an upstream.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

struct Feed {
    source: GlobalId,
    /// (relation, output) that the dataflow reads.
    relations: Vec<(GlobalId, usize)>,
    wanted: Vec<Vec<usize>>,
    /// What has been sent.
    at: Positions,
    to: Positions,
    /// Ends that have to be reached before the dataflow is shown.
    reach: Positions,
    verifier: Verifier,
    timeline: Timeline,
    /// Of everything from the start on, until the first stretch has been read.
    history: Option<BTreeMap<i32, RangeDigest>>,
    reader: Option<Box<dyn SourceReader>>,
    retry_at: Instant,
}

/// A dataflow that is still filling.
pub(crate) struct Hydration {
    feeds: Vec<Feed>,
    /// History may enter below this, at `step`, where the dataflow has no imports; else everything enters at `target`.
    stepped: bool,
    step: Timestamp,
    step_at: Instant,
    step_bytes: usize,
    /// The next step waits until then.
    rest_until: Instant,
    target: Timestamp,
    /// Nobody will ask for what was before.
    since: Timestamp,
    /// Ticks before it enter at this time.
    floor: Timestamp,
    /// It began with the server.
    of_start: bool,
    /// All before this time is as it was; what the first stretch did not have came in from then on, up to `target`.
    known: Timestamp,
    /// There was something that the first stretch did not have.
    late: bool,
    /// Times that the dataflow has been advanced to and has not passed, and when it was.
    ahead: VecDeque<(Timestamp, Instant)>,
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

    /// Where the dataflow can advance to after a step; `None` where something may still come at its present time.
    fn next_time(&mut self) -> Option<Timestamp> {
        let next: Vec<Option<Timestamp>> = self.feeds.iter().flat_map(Feed::next_times).collect();
        if next.iter().all(Option::is_some) {
            return next.into_iter().flatten().min().filter(|t| self.ahead.back().is_none_or(|(last, _)| last < t));
        }
        if !self.stepped || self.step >= self.target {
            return None;
        }
        self.step += 1;
        Some(self.step)
    }

    /// What follows came with the ticks up to `target`: before these it is not to be seen.
    fn begin_late(&mut self) {
        self.late = true;
        self.step = self.step.max(self.known);
    }

    /// A step has passed, `took` after it was sent: where ticks want their turn, the next is of a better size, and later.
    fn adapt(&mut self, took: Duration, paced: bool) {
        if paced {
            let bytes = if took > STEP_TIME { self.step_bytes / 2 } else { self.step_bytes + self.step_bytes / 4 };
            self.step_bytes = bytes.clamp(*STEP_BYTES_PACED.start(), *STEP_BYTES_PACED.end());
            self.rest_until = Instant::now() + took * REST;
        }
    }

    /// True where what waits is worth a step.
    fn has_step(&self) -> bool {
        let waiting: usize = self.feeds.iter().map(Feed::buffered).fold(0, usize::saturating_add);
        let full = self.feeds.iter().any(|f| f.buffered() >= FEED_BUFFER_BYTES / 2);
        let read = |f: &Feed| f.reader.as_ref().is_none_or(|r| r.state().0 == SourceState::Done);
        waiting > 0
            && (full
                || self.feeds.iter().all(read)
                || waiting >= self.step_bytes
                || self.step_at.elapsed() >= STEP_WAIT)
    }
}

/// What a dataflow begins with.
#[derive(Clone, Copy)]
pub(crate) enum Begin {
    /// Nothing: it is filled from where its sources begin.
    Empty,
    /// What a checkpoint had below this time: it goes on from the positions that were reached then.
    Restored(Timestamp),
    /// Nothing, and what was before it is there is not asked for.
    Corrected,
}

enum Progress {
    Filling,
    CaughtUp,
}

impl Core {
    /// Prepares filling `relations` (with the columns read of each) up to the last tick's positions. Nobody asks for what
    /// was before `as_of`; after a start ticks keep their times where `flow` has been subscribed to, or what reads it.
    pub(crate) fn begin_hydration(
        &self,
        flow: GlobalId,
        relations: &BTreeMap<GlobalId, BTreeSet<usize>>,
        stepped: bool,
        as_of: Timestamp,
        begin: Begin,
    ) -> Option<Hydration> {
        let restored = matches!(begin, Begin::Restored(_));
        let alone = self.histories.contains_key(&flow) && !matches!(begin, Begin::Corrected);
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
            let at = if restored { source.saved_positions() } else { source.starts.clone() };
            let logged = if restored { &source.tail } else { &source.ranges };
            feeds.push(Feed {
                source: *id,
                relations: read,
                wanted,
                verifier: logged.expected(&at, &source.positions),
                at,
                to: source.positions.clone(),
                reach: if restored { Positions::new() } else { source.ends_to_reach() },
                timeline: match alone {
                    true => source.replay.clone(),
                    false if restored => source.joined.clone(),
                    false => Timeline::default(),
                },
                history: (!restored).then(BTreeMap::new),
                reader: None,
                retry_at: Instant::now(),
            });
        }
        if feeds.is_empty() {
            return None;
        }
        Some(Hydration {
            feeds,
            stepped,
            step: 1,
            step_at: Instant::now(),
            step_bytes: STEP_BYTES_MIN,
            rest_until: Instant::now(),
            target: match begin {
                Begin::Empty | Begin::Corrected => as_of,
                Begin::Restored(upper) => as_of.max(upper),
            },
            since: as_of,
            floor: if alone { as_of } else { 0 },
            of_start: self.log.is_none(),
            known: if self.log.is_none() { self.last_tick + 1 } else { 0 },
            late: false,
            ahead: VecDeque::new(),
            closing: false,
            held: vec![],
        })
    }

    /// Dataflows that go on from a checkpoint lack the same of a source: it is read once for all of them.
    pub(crate) fn share_readers(&mut self) {
        let tx = self.tx.clone();
        for (id, source) in &self.sources {
            let restored = self.flows.values_mut().filter(|f| f.origin == Origin::Restored);
            let restored = restored.filter_map(|f| f.hydration.as_mut());
            let mut feeds: Vec<&mut Feed> =
                restored.flat_map(|h| &mut h.feeds).filter(|f| f.source == *id && !f.is_done()).collect();
            let Some((first, rest)) = feeds.split_first().filter(|(_, rest)| !rest.is_empty()) else { continue };
            let mut wanted = first.wanted.clone();
            let mut cuts: BTreeMap<i32, Vec<i64>> = first.all_cuts();
            for feed in rest {
                wanted.iter_mut().zip(&feed.wanted).for_each(|(all, more)| all.extend(more));
                feed.all_cuts().into_iter().for_each(|(p, more)| cuts.entry(p).or_default().extend(more));
            }
            wanted.iter_mut().for_each(sort_once);
            cuts.values_mut().for_each(sort_once);
            // Where there is no reader, each dataflow finds out by itself, and says so.
            let Ok(reader) = first.open_with(source, &wanted, cuts) else { continue };
            let readers = tee(reader, feeds.len());
            for (feed, reader) in feeds.iter_mut().zip(readers) {
                reader.set_notify(wake(&tx));
                feed.reader = Some(reader);
            }
        }
    }

    /// Time until a filling dataflow wants attention by itself.
    pub(crate) fn hydration_due(&self) -> Option<Duration> {
        let filling = self.flows.values().filter(|f| f.failed.is_none()).filter_map(|f| f.hydration.as_ref());
        let due = |h: &Hydration| {
            let waits = h.feeds.iter().any(|f| f.buffered() > 0);
            let rest = h.rest_until.saturating_duration_since(Instant::now());
            rest.max(Duration::from_millis(if waits { 5 } else { 100 }))
        };
        filling.map(due).min()
    }

    /// Moves every filling dataflow on.
    pub(crate) fn step_hydration(&mut self) {
        // Ticks that are closed meanwhile would be one step each, and the way to the newest would only become longer.
        let soon = |f: &&Flow| f.origin == Origin::Restored && !f.corrected;
        let behind = self.flows.values().filter(|f| !f.is_filled() && f.failed.is_none()).filter(soon);
        let held: BTreeSet<GlobalId> = behind.flat_map(|f| f.inputs.iter().copied()).collect();
        for source in self.sources.values_mut() {
            source.held = source.relations.iter().any(|r| held.contains(r));
        }
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
                    hydration.feeds.clear();
                    flow.hydration = Some(hydration);
                }
            }
        }
    }

    fn fill(&mut self, id: GlobalId, h: &mut Hydration) -> Result<Progress, SqlError> {
        if self.flows.get(&id).is_some_and(|f| f.failed.is_some()) {
            return Ok(Progress::Filling);
        }
        self.open_feeds(h)?;
        loop {
            let frontier = self.engine.frontier(id);
            // Nobody reads between the steps: what they change can be joined as soon as they have passed.
            self.engine.allow_compaction(id, frontier.min(h.since));
            let paced = self.is_paced(id, h);
            while let Some((_, sent)) = h.ahead.pop_front_if(|(t, _)| *t <= frontier) {
                h.adapt(sent.elapsed(), paced);
            }
            let room = h.ahead.len() < if paced { 1 } else { STEPS_AHEAD };
            if !room || h.rest_until > Instant::now() || !h.has_step() {
                break;
            }
            if !self.send_step(id, h, paced)? {
                break;
            }
        }
        if !h.feeds.iter().all(Feed::is_done) {
            return Ok(Progress::Filling);
        }
        self.next_stretch(id, h)
    }

    /// Sees to it that every feed that has something to read has a reader.
    fn open_feeds(&mut self, h: &mut Hydration) -> Result<(), SqlError> {
        for feed in &mut h.feeds {
            let Some(source) = self.sources.get(&feed.source) else { continue };
            let given_up = feed.reader.as_ref().is_some_and(|r| r.state().0 == SourceState::Failed);
            if given_up && let Some(reader) = feed.reader.take() {
                feed.retry_at = Instant::now() + RETRY_INTERVAL;
                match reader.state().1 {
                    Some(e) if is_permanent(&e) => return Err(e),
                    e => {
                        tracing::warn!(source = %source.object.name, error = ?e, "filling goes on when the source answers")
                    }
                }
            }
            if feed.reader.is_none() && !feed.is_done() && feed.retry_at <= Instant::now() {
                let reader = feed.open(source)?;
                reader.set_notify(wake(&self.tx));
                feed.reader = Some(reader);
            }
        }
        Ok(())
    }

    /// True while other dataflows follow ticks that come. What was there before a start is wanted again at once.
    fn is_paced(&self, id: GlobalId, h: &Hydration) -> bool {
        self.last_close.elapsed() < BUSY_FOR
            && !h.of_start
            && self.flows.iter().any(|(other, f)| *other != id && f.is_filled())
    }

    /// What waits enters the dataflow; false where nothing does.
    fn send_step(&mut self, id: GlobalId, h: &mut Hydration, paced: bool) -> Result<bool, SqlError> {
        let most = if paced { h.step_bytes } else { STEP_BYTES_MAX };
        let mut some = false;
        let untimed = if h.stepped { h.step } else { h.target };
        for feed in &mut h.feeds {
            let taken = feed.reader.as_ref().map_or(vec![], |r| r.try_take(most));
            for mut batch in taken {
                some = true;
                let Some(source) = self.sources.get_mut(&feed.source) else { continue };
                feed.admit(source, &mut batch)?;
                let tick = feed.timeline.time_of(batch.partition, batch.to);
                let time = tick.map_or(untimed, |tick| tick.max(h.floor));
                for (relation, output) in &feed.relations {
                    let rows = batch.outputs[*output].clone();
                    if rows.num_rows() > 0 {
                        self.engine.send(id, *relation, vec![UpdateBatch::inserts(rows, time)])?;
                    }
                }
            }
        }
        if !some {
            return Ok(false);
        }
        h.step_at = Instant::now();
        if !paced {
            h.step_bytes = (h.step_bytes * 2).clamp(STEP_BYTES_MIN, STEP_BYTES_MAX);
        }
        if let Some(to) = h.next_time() {
            h.ahead.push_back((to, h.step_at));
            self.engine.advance(id, to);
        } else {
            self.engine.wake();
        }
        Ok(true)
    }

    /// Everything up to `to` has been sent: fetch what was admitted since, or join the shared stream.
    fn next_stretch(&mut self, id: GlobalId, h: &mut Hydration) -> Result<Progress, SqlError> {
        if !h.closing {
            for feed in &mut h.feeds {
                let (history, source) = (feed.history.take(), self.sources.get_mut(&feed.source));
                if let (Some(history), Some(source)) = (history, source) {
                    for (partition, read) in history {
                        if let Some(to) = feed.to.get(&partition) {
                            source.note_history(partition, *to, read);
                        }
                    }
                }
            }
            let (mut missing, mut reached) = (0, true);
            for feed in &h.feeds {
                let Some(source) = self.sources.get(&feed.source) else { continue };
                if let Some(e) = source.failure() {
                    return Err(e);
                }
                missing += source.positions.iter().map(|(p, at)| at - feed.at.get(p).unwrap_or(at)).sum::<i64>();
                let passed = |(p, end): (&i32, &i64)| source.positions.get(p).is_some_and(|at| at >= end);
                reached &= source.paused || feed.reach.iter().all(passed);
            }
            if !reached && missing == 0 {
                return Ok(Progress::Filling);
            }
            h.closing = reached && missing <= LAST_STRETCH_MAX;
            h.target = self.last_tick;
            if missing > 0 {
                h.begin_late();
            }
            // After the ticks of the kept history there is no room for steps below them.
            h.stepped &= h.feeds.iter().all(|f| f.timeline.is_empty());
            for feed in &mut h.feeds {
                let Some(source) = self.sources.get(&feed.source) else { continue };
                feed.go_on(source);
            }
            if missing > 0 || h.feeds.iter().any(|f| !f.is_done()) {
                self.open_feeds(h)?;
                return Ok(Progress::Filling);
            }
        }
        for (source, batches) in std::mem::take(&mut h.held) {
            self.engine.send(id, source, batches)?;
        }
        self.engine.advance(id, self.last_tick + 1);
        if h.late {
            let known = if h.known == 0 { Known::from(h.target) } else { Known::except(h.known..h.target) };
            self.limit_known(id, &known);
        }
        Ok(Progress::CaughtUp)
    }
}

/// Each value once, in order.
fn sort_once<T: Ord>(values: &mut Vec<T>) {
    values.sort_unstable();
    values.dedup();
}

impl Feed {
    fn buffered(&self) -> usize {
        self.reader.as_ref().map_or(0, |r| r.buffered())
    }

    /// The times of what comes next, per partition that is not done; `None` for what has no time of its own.
    fn next_times(&self) -> impl Iterator<Item = Option<Timestamp>> + '_ {
        let left = self.to.iter().filter_map(|(p, to)| Some((*p, *self.at.get(p)?, *to))).filter(|(_, at, to)| at < to);
        left.map(|(partition, at, _)| self.timeline.next_time(partition, at))
    }

    fn is_done(&self) -> bool {
        self.to.iter().all(|(p, to)| self.at.get(p).is_some_and(|at| at >= to))
    }

    /// Moves on to where the source is now.
    fn go_on(&mut self, source: &LiveSource) {
        self.reader = None;
        self.retry_at = Instant::now();
        for (partition, start) in &source.starts {
            self.at.entry(*partition).or_insert(*start);
        }
        self.to = source.positions.clone();
        self.verifier = source.ranges.expected(&self.at, &self.to);
        self.timeline = Timeline::default();
    }

    /// Where batches have to end, in order.
    fn cuts(&self, partition: i32) -> Vec<i64> {
        let mut cuts: Vec<i64> = self.verifier.cuts(partition).chain(self.timeline.cuts(partition)).collect();
        sort_once(&mut cuts);
        cuts
    }

    fn all_cuts(&self) -> BTreeMap<i32, Vec<i64>> {
        self.to.keys().map(|p| (*p, self.cuts(*p))).collect()
    }

    fn open(&self, source: &LiveSource) -> Result<Box<dyn SourceReader>, SqlError> {
        self.open_with(source, &self.wanted, self.all_cuts())
    }

    /// A reader of what this feed lacks, with these columns, whose batches end at `cuts`.
    fn open_with(
        &self,
        source: &LiveSource,
        wanted: &[Vec<usize>],
        cuts: BTreeMap<i32, Vec<i64>>,
    ) -> Result<Box<dyn SourceReader>, SqlError> {
        let (from, to) = (self.at.clone(), Some(self.to.clone()));
        external::open_reader(&source.object, &source.upstream, wanted, from, to, cuts, FEED_BUFFER_BYTES)
    }

    /// Notes how far it has come; what is not as it was fails the source too.
    fn admit(&mut self, source: &mut LiveSource, batch: &mut SourceBatch) -> Result<(), SqlError> {
        if matches!(source.connector, SourceConnector::Kafka(_))
            && let Err(e) = self.verifier.check(batch)
        {
            source.fail(e.clone());
            return Err(e);
        }
        if let Some(history) = &mut self.history {
            let read = history.entry(batch.partition).or_default();
            *read = read.join(batch.digest);
        }
        self.at.insert(batch.partition, batch.to);
        for letter in std::mem::take(&mut batch.dead) {
            source.remember_dead(external::dead_letter_row(self.source, letter));
        }
        Ok(())
    }
}
