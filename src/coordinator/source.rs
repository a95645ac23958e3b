//! Running sources: the shared live reader of each, and its positions.
//!
//! Invariants:
//! - `positions` is what the tick log says; a reader is started exactly there, so what enters the ticks is the
//!   contiguous continuation of what entered before.
//! - The first position logged of a partition that the source's START does not name is where it begins.
//! - While a dataflow reads a source, its position moves only over what has been read.

use crate::core::Core;
use crate::external::{self, Marks, Upstream};
use crate::ranges::{Ranges, Timeline, digest};
use crate::tick::{SourceIntake, TICK_SOURCE_BYTES_MAX};
use hw_connect::{RangeDigest, SourceBatch, SourceReader, SourceState};
use hw_plan::{CatalogView, Object, ObjectKind, SourceConnector, SourceDesc};
use hw_repr::{GlobalId, SqlError, SqlState, Timestamp, UpdateBatch};
use hw_store::{DeadLetterRow, SavedPartition, SourcePosition};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// After this long a reader that has given up is replaced.
const RESTART_INTERVAL: Duration = Duration::from_secs(3);
/// How often the end of an upstream that nobody reads is asked for.
const WATERMARK_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes a live reader may hold decoded.
pub(crate) const READER_BUFFER_BYTES: usize = 32 << 20;

/// What a background watermark query found.
type Probed = Option<Result<Marks, SqlError>>;

/// One source that exists in the catalog.
pub(crate) struct LiveSource {
    /// The source object.
    pub object: Arc<Object>,
    /// What feeds it.
    pub connector: SourceConnector,
    /// How to reach it.
    pub upstream: Upstream,
    /// Ids of the relations it makes, by output.
    pub relations: Vec<GlobalId>,
    /// Where each partition begins.
    pub starts: BTreeMap<i32, i64>,
    /// Next position per partition, as of the last tick.
    pub positions: BTreeMap<i32, i64>,
    /// What has been read between the two.
    pub ranges: Ranges,
    /// Only during recovery: when positions were reached.
    pub replay: Timeline,
    /// Only during recovery: the same after the checkpoint, of many ticks joined.
    pub joined: Timeline,
    /// Only during recovery: positions as of the checkpoint.
    saved: BTreeMap<i32, i64>,
    /// Only during recovery: what was read after the checkpoint.
    pub tail: Ranges,
    /// Per output, columns that some dataflow reads.
    pub wanted: Vec<BTreeSet<usize>>,
    /// Paused by the user.
    pub paused: bool,
    /// A dataflow that goes on from a checkpoint reads what came since: nothing newer enters before it has.
    pub held: bool,
    /// Positions at the ticks that changed them, as far back as somebody may read them.
    recent: VecDeque<(Timestamp, BTreeMap<i32, i64>)>,
    /// Dead letters seen since the start, newest last, bounded.
    pub dead: VecDeque<DeadLetterRow>,
    /// How many there have been since the start.
    pub dead_total: u64,
    /// Some dataflow reads it.
    read: bool,
    reader: Option<Box<dyn SourceReader>>,
    restart_at: Option<Instant>,
    /// Set where the upstream no longer is what was read: only dropping the source helps.
    failed: Option<SqlError>,
    taken: VecDeque<SourceBatch>,
    /// Digests to log with the next tick.
    histories: Vec<SourcePosition>,
    probe: Arc<Mutex<Probed>>,
    probe_at: Instant,
    probing: bool,
    /// Positions when the last query was made.
    probed_from: BTreeMap<i32, i64>,
    marks: Marks,
    error: Option<SqlError>,
}

/// Dead letters kept in memory per source for `headwater.dead_letters`.
const DEAD_LETTERS_MAX: usize = 100_000;

impl LiveSource {
    pub(crate) fn new(object: Arc<Object>, desc: &SourceDesc, upstream: Upstream, relations: Vec<GlobalId>) -> Self {
        LiveSource {
            connector: desc.connector.clone(),
            starts: external::start_positions(&desc.connector),
            positions: external::start_positions(&desc.connector),
            ranges: Ranges::default(),
            replay: Timeline::default(),
            joined: Timeline::default(),
            saved: BTreeMap::new(),
            tail: Ranges::default(),
            wanted: desc.outputs.iter().map(|_| BTreeSet::new()).collect(),
            paused: desc.paused,
            held: false,
            object,
            upstream,
            relations,
            recent: VecDeque::new(),
            dead: VecDeque::new(),
            dead_total: 0,
            read: false,
            reader: None,
            restart_at: None,
            failed: None,
            taken: VecDeque::new(),
            histories: vec![],
            probe: Arc::default(),
            probe_at: Instant::now(),
            probing: false,
            probed_from: BTreeMap::new(),
            marks: BTreeMap::new(),
            error: None,
        }
    }

    /// Takes over what the log has of a partition: the first position, the ranges that follow it, the last position.
    pub(crate) fn restore(&mut self, first: &SourcePosition, rest: &Ranges, next: i64) {
        match self.positions.insert(first.partition, next) {
            Some(from) => {
                self.ranges.push(first.partition, from, first.next, digest(first));
                self.tail.push(first.partition, from, first.next, digest(first));
            }
            None => drop(self.starts.insert(first.partition, first.next)),
        }
        self.ranges.append(rest);
        self.tail.append(rest);
    }

    /// Positions as of the checkpoint that this start goes on from, for every partition known by now.
    pub(crate) fn saved_positions(&self) -> BTreeMap<i32, i64> {
        let at = |(p, start): (&i32, &i64)| (*p, self.saved.get(p).copied().unwrap_or(*start));
        self.starts.iter().map(at).collect()
    }

    /// Every dataflow goes on by itself from here.
    pub(crate) fn end_recovery(&mut self) {
        (self.replay, self.joined, self.tail, self.saved) = Default::default();
    }

    /// What a checkpoint keeps of its partitions.
    pub(crate) fn saved(&self) -> Vec<SavedPartition> {
        let saved = |(partition, next): (&i32, &i64)| SavedPartition {
            source: self.object.id,
            partition: *partition,
            start: self.starts.get(partition).copied().unwrap_or(*next),
            next: *next,
            ranges: self.ranges.saved(*partition),
        };
        self.positions.iter().map(saved).collect()
    }

    /// Takes over what a checkpoint has of a partition.
    pub(crate) fn restore_saved(&mut self, saved: &SavedPartition) {
        self.starts.insert(saved.partition, saved.start);
        self.positions.insert(saved.partition, saved.next);
        self.saved.insert(saved.partition, saved.next);
        self.ranges.restore(saved.partition, &saved.ranges);
    }

    /// Takes over what the log has of a partition beyond a checkpoint.
    pub(crate) fn restore_rest(&mut self, partition: i32, rest: &Ranges, next: i64) {
        self.positions.insert(partition, next);
        self.ranges.append(rest);
        self.tail.append(rest);
    }

    /// Takes over a logged digest of everything before a position.
    pub(crate) fn restore_history(&mut self, logged: &SourcePosition) {
        if let (Some(start), Some(digest)) = (self.starts.get(&logged.partition), digest(logged)) {
            self.ranges.replace_before(logged.partition, *start, logged.next, digest);
        }
    }

    /// Everything before `to` has been read: where some of it had gone by unread, the next tick logs what it was.
    pub(crate) fn note_history(&mut self, partition: i32, to: i64, read: RangeDigest) {
        if !self.ranges.has_unread(partition, to) {
            return;
        }
        let RangeDigest { count, crc, bytes } = read;
        let logged = SourcePosition { source: self.object.id, partition, next: to, count, crc, bytes, read: true };
        self.restore_history(&logged);
        self.histories.push(logged);
    }

    /// Why it has failed for good, where it has.
    pub(crate) fn failure(&self) -> Option<SqlError> {
        self.failed.clone()
    }

    /// The upstream is not what it was: nothing more is read.
    pub(crate) fn fail(&mut self, e: SqlError) {
        tracing::error!(source = %self.object.name, error = %e, "the source has failed");
        self.reader = None;
        self.taken.clear();
        self.failed = Some(e);
    }

    /// Ends that a view created now has to show, where the source moves towards them.
    pub(crate) fn ends_to_reach(&self) -> BTreeMap<i32, i64> {
        if self.paused || self.failed.is_some() {
            return BTreeMap::new();
        }
        self.marks.iter().map(|(p, (_, high))| (*p, *high)).collect()
    }

    /// Positions as of a tick.
    pub(crate) fn positions_at(&self, at: Timestamp) -> BTreeMap<i32, i64> {
        let after = self.recent.partition_point(|(tick, _)| *tick <= at);
        after.checked_sub(1).map_or(&self.positions, |last| &self.recent[last].1).clone()
    }

    /// Nobody will ask for positions before this tick.
    pub(crate) fn forget_before(&mut self, tick: Timestamp) {
        while self.recent.get(1).is_some_and(|(next, _)| *next <= tick) {
            self.recent.pop_front();
        }
    }

    pub(crate) fn has_reader(&self) -> bool {
        self.reader.is_some()
    }

    /// True where a tick would take something from it.
    pub(crate) fn has_data(&self) -> bool {
        !self.taken.is_empty() || !self.histories.is_empty() || (self.skips() && self.behind())
    }

    /// True where the position follows the upstream's end, because nobody reads.
    fn skips(&self) -> bool {
        !self.read && !self.paused && self.failed.is_none()
    }

    fn behind(&self) -> bool {
        self.marks.iter().any(|(p, (_, end))| self.positions.get(p).is_none_or(|at| at < end))
    }

    /// Time until it wants attention, where it needs any by itself.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        if self.restart_at.is_some() {
            return Some(Duration::from_millis(100));
        }
        match (&self.reader, &self.connector) {
            (None, SourceConnector::Kafka(_)) => Some(WATERMARK_INTERVAL.saturating_sub(self.probe_at.elapsed())),
            (Some(_), SourceConnector::Nexmark(n)) if n.events_per_second.is_some() => Some(Duration::from_millis(10)),
            _ => None,
        }
    }

    /// Upstream end per partition, as last heard.
    pub(crate) fn upstream_end(&self) -> BTreeMap<i32, i64> {
        let known = || self.marks.iter().map(|(p, (_, high))| (*p, *high)).collect();
        self.reader.as_ref().map_or_else(known, |r| r.upstream_end())
    }

    /// State and error for `headwater.sources`.
    pub(crate) fn state(&self) -> (&'static str, Option<SqlError>) {
        if let Some(e) = &self.failed {
            return (SourceState::Failed.as_str(), Some(e.clone()));
        }
        if self.paused {
            let error = self.reader.as_ref().and_then(|r| r.state().1);
            return (SourceState::Paused.as_str(), error.or_else(|| self.error.clone()));
        }
        match &self.reader {
            Some(r) => {
                let (state, error) = r.state();
                (state.as_str(), error)
            }
            None if self.error.is_some() => (SourceState::Stalled.as_str(), self.error.clone()),
            None => ("idle", None),
        }
    }

    /// (Re)starts the live reader at `positions`, for the wanted columns.
    fn start_reader(&mut self, tx: &tokio::sync::mpsc::WeakSender<crate::command::Command>) {
        self.taken.clear();
        self.reader = None;
        self.restart_at = None;
        if self.failed.is_some() {
            return;
        }
        let wanted: Vec<Vec<usize>> = self.wanted.iter().map(|w| w.iter().copied().collect()).collect();
        match external::open_reader(
            &self.object,
            &self.upstream,
            &wanted,
            self.positions.clone(),
            None,
            BTreeMap::new(),
            READER_BUFFER_BYTES,
        ) {
            Ok(reader) => {
                reader.set_notify(wake(tx));
                reader.set_paused(self.paused);
                self.reader = Some(reader);
                self.error = None;
            }
            Err(e) => {
                self.error = Some(e);
                self.restart_at = Some(Instant::now() + RESTART_INTERVAL);
            }
        }
    }

    /// Takes over what a watermark query found; asks again when due.
    fn follow_end(&mut self) {
        let found = self.probe.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(found) = found {
            self.probing = false;
            match found {
                Ok(marks) => {
                    if let Err(e) = self.heard_of_marks(&marks) {
                        self.error = Some(e);
                    }
                    if let Some(e) = shrunk(&std::mem::take(&mut self.probed_from), &marks) {
                        return self.fail(e);
                    }
                }
                Err(e) => self.error = Some(e),
            }
        }
        if !self.probing && self.probe_at.elapsed() >= WATERMARK_INTERVAL {
            self.probing = true;
            self.probed_from = self.positions.clone();
            self.probe_at = Instant::now();
            let (slot, upstream, object) = (self.probe.clone(), self.upstream.clone(), self.object.clone());
            tokio::task::spawn_blocking(move || {
                let result = external::upstream_marks(&object, &upstream);
                *slot.lock().unwrap_or_else(|e| e.into_inner()) = Some(result);
            });
        }
    }

    /// Takes over where the upstream begins and ends now. 55000 where that cannot give what was read before.
    pub(crate) fn heard_of_marks(&mut self, marks: &Marks) -> Result<(), SqlError> {
        self.error = None;
        let SourceConnector::Kafka(kafka) = &self.connector else { return Ok(()) };
        for (partition, (low, high)) in marks {
            let known = self.marks.entry(*partition).or_insert((*low, *high));
            *known = (*low, known.1.max(*high));
        }
        let gone = marks.iter().find_map(|(p, (low, _))| Some((*p, *self.starts.get(p)?, *low)).filter(|g| g.1 < g.2));
        gone.map_or(Ok(()), |(partition, start, low)| Err(hw_connect::range_gone(&kafka.topic, partition, start, low)))
    }

    /// Moves the position of a source without readers to the known end. Returns what to log.
    fn skip_to_end(&mut self) -> Vec<SourcePosition> {
        let mut out = vec![];
        for (partition, (low, end)) in self.marks.clone() {
            let at = self.begin(partition, low, &mut out);
            if at < end {
                self.positions.insert(partition, end);
                self.ranges.push(partition, at, end, None);
                out.push(unread(self.object.id, partition, end));
            }
        }
        out
    }

    /// Where a partition stands; one that is new begins at `first`, which is logged.
    fn begin(&mut self, partition: i32, first: i64, log: &mut Vec<SourcePosition>) -> i64 {
        if let Some(at) = self.positions.get(&partition) {
            return *at;
        }
        self.starts.insert(partition, first);
        self.positions.insert(partition, first);
        log.push(unread(self.object.id, partition, first));
        first
    }
}

fn unread(source: GlobalId, partition: i32, next: i64) -> SourcePosition {
    SourcePosition { source, partition, next, count: 0, crc: 0, bytes: 0, read: false }
}

/// 55000 where a partition ends before positions that were known when its end was asked for.
fn shrunk(before: &BTreeMap<i32, i64>, marks: &Marks) -> Option<SqlError> {
    let end = |p: &i32| marks.get(p).map_or(0, |(_, high)| *high);
    let (partition, at) = before.iter().find(|(p, at)| end(p) < **at)?;
    let message = format!("the source has changed behind our back: partition {partition} ends at {}", end(partition));
    Some(
        SqlError::new(SqlState::PREREQUISITE_STATE, message)
            .detail(format!("It had messages up to offset {at}."))
            .hint("The topic has been truncated or created again. Drop the source and create it again."),
    )
}

/// A reader's way to the coordinator.
pub(crate) fn wake(tx: &tokio::sync::mpsc::WeakSender<crate::command::Command>) -> hw_connect::source::Notify {
    let tx = tx.clone();
    Arc::new(move || {
        if let Some(tx) = tx.upgrade() {
            // A full queue means that the coordinator is about to look anyway.
            let _ = tx.try_send(crate::command::Command::Wake);
        }
    })
}

/// True for errors that time does not heal.
pub(crate) fn is_permanent(e: &SqlError) -> bool {
    !matches!(e.code, SqlState::CANNOT_CONNECT | SqlState::UNDEFINED_OBJECT | SqlState::INSUFFICIENT_PRIVILEGE)
}

impl Core {
    /// The running source that feeds a relation, and which of its outputs it is.
    pub(crate) fn source_of(&self, object: &Object) -> Result<(&LiveSource, usize), SqlError> {
        let (id, output) = match &object.kind {
            ObjectKind::SourceOutput { source, output, .. } => (*source, *output),
            _ => (object.id, 0),
        };
        let source = self.sources.get(&id).ok_or_else(|| {
            SqlError::new(SqlState::UNDEFINED_TABLE, format!("source \"{}\" is not running", object.name))
        })?;
        Ok((source, output))
    }

    /// Pulls what readers have, so that ticks know whether there is work.
    pub(crate) fn poll_sources(&mut self) {
        let tx = self.tx.clone();
        for source in self.sources.values_mut() {
            source.mend_reader(&tx);
            match &source.reader {
                Some(reader) if source.taken.is_empty() && !source.paused && !source.held => {
                    source.taken.extend(reader.try_take(TICK_SOURCE_BYTES_MAX));
                }
                Some(_) => {}
                None if source.skips() && matches!(source.connector, SourceConnector::Kafka(_)) => {
                    source.follow_end();
                }
                None => {}
            }
        }
    }

    /// What the tick at `time` takes from all sources.
    pub(crate) fn take_from_sources(&mut self, time: Timestamp) -> SourceIntake {
        let mut intake = SourceIntake::default();
        for source in self.sources.values_mut() {
            intake.positions.append(&mut source.histories);
            if source.recent.is_empty() {
                source.recent.push_back((0, source.positions.clone()));
            }
            if source.skips() {
                intake.positions.extend(source.skip_to_end());
            }
            for batch in std::mem::take(&mut source.taken) {
                source.admit(batch, time, &mut intake);
            }
            if source.recent.back().is_none_or(|(_, positions)| *positions != source.positions) {
                source.recent.push_back((time, source.positions.clone()));
            }
        }
        intake
    }

    /// Makes sure that a live reader runs and delivers `columns` of `relation`.
    pub(crate) fn want_columns(&mut self, relation: GlobalId, columns: &BTreeSet<usize>) {
        let tx = self.tx.clone();
        for source in self.sources.values_mut() {
            let Some(output) = source.relations.iter().position(|r| *r == relation) else { continue };
            let fresh = !columns.is_subset(&source.wanted[output]);
            source.wanted[output].extend(columns);
            source.read = true;
            if fresh || source.reader.is_none() {
                source.start_reader(&tx);
            }
        }
    }

    /// Stops readers whose relations no dataflow reads any more.
    pub(crate) fn retire_readers(&mut self) {
        let read: BTreeSet<GlobalId> = self.flows.values().flat_map(|f| f.inputs.iter().copied()).collect();
        for source in self.sources.values_mut() {
            if source.read && !source.relations.iter().any(|r| read.contains(r)) {
                source.read = false;
                source.restart_at = None;
                source.reader = None;
                source.taken.clear();
                source.wanted.iter_mut().for_each(BTreeSet::clear);
            }
        }
    }

    /// Pauses or resumes a source.
    pub(crate) fn pause_source(&mut self, id: GlobalId, paused: bool) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.paused = paused;
            if let Some(reader) = &source.reader {
                reader.set_paused(paused);
            }
        }
    }

    /// Starts tracking a source object of the catalog.
    pub(crate) fn add_source(&mut self, object: &Arc<Object>) -> Result<(), SqlError> {
        let ObjectKind::Source(desc) = &object.kind else { return Ok(()) };
        let catalog = self.snapshot.load();
        let upstream = external::upstream(desc, &**catalog)?;
        let relations = relations_of(object, desc, &**catalog);
        self.sources.insert(object.id, LiveSource::new(object.clone(), desc, upstream, relations));
        Ok(())
    }
}

impl LiveSource {
    /// Replaces a reader that has given up, unless that is for good.
    fn mend_reader(&mut self, tx: &tokio::sync::mpsc::WeakSender<crate::command::Command>) {
        if let (SourceState::Failed, error) = self.reader.as_ref().map_or((SourceState::Done, None), |r| r.state()) {
            match error {
                Some(e) if is_permanent(&e) => return self.fail(e),
                _ if self.restart_at.is_none() => self.restart_at = Some(Instant::now() + RESTART_INTERVAL),
                _ => {}
            }
        }
        if self.restart_at.is_some_and(|at| at <= Instant::now()) {
            self.start_reader(tx);
        }
    }

    fn admit(&mut self, batch: SourceBatch, time: Timestamp, intake: &mut SourceIntake) {
        let from = self.begin(batch.partition, batch.from, &mut intake.positions);
        if from != batch.from {
            let message = format!("a reader gave offset {} where {from} was due", batch.from);
            return self.fail(SqlError::internal(message));
        }
        self.positions.insert(batch.partition, batch.to);
        self.ranges.push(batch.partition, from, batch.to, Some(batch.digest));
        intake.positions.push(SourcePosition {
            source: self.object.id,
            partition: batch.partition,
            next: batch.to,
            count: batch.digest.count,
            crc: batch.digest.crc,
            bytes: batch.digest.bytes,
            read: true,
        });
        for letter in batch.dead {
            let row = external::dead_letter_row(self.object.id, letter);
            self.remember_dead(row.clone());
            intake.dead.push(row);
        }
        for (rows, relation) in batch.outputs.into_iter().zip(&self.relations) {
            if rows.num_rows() > 0 {
                intake.batches.entry(*relation).or_default().push(UpdateBatch::inserts(rows, time));
            }
        }
    }

    /// Keeps a dead letter once per (partition, offset).
    pub(crate) fn remember_dead(&mut self, row: DeadLetterRow) {
        if self.dead.iter().rev().any(|d| d.partition == row.partition && d.offset == row.offset) {
            return;
        }
        self.dead_total += 1;
        if self.dead.len() == DEAD_LETTERS_MAX {
            self.dead.pop_front();
        }
        self.dead.push_back(row);
    }
}

/// Ids of the relations that a source makes, by output.
pub(crate) fn relations_of(object: &Object, desc: &SourceDesc, catalog: &dyn CatalogView) -> Vec<GlobalId> {
    if let SourceConnector::Kafka(_) = desc.connector {
        return vec![object.id];
    }
    let mut all: Vec<(usize, GlobalId)> = catalog
        .objects()
        .iter()
        .filter_map(|o| match &o.kind {
            ObjectKind::SourceOutput { source, output, .. } if *source == object.id => Some((*output, o.id)),
            _ => None,
        })
        .collect();
    all.sort_unstable();
    all.into_iter().map(|(_, id)| id).collect()
}
