//! Running sources: the shared live reader of each, and its positions.
//!
//! Invariant: `positions` is what the tick log says; a reader is started exactly there, so what enters the ticks is
//! the contiguous continuation of what entered before.

use crate::core::Core;
use crate::external::{self, Upstream};
use crate::tick::{SourceIntake, TICK_SOURCE_BYTES_MAX};
use hw_connect::{SourceBatch, SourceReader, SourceState};
use hw_plan::{CatalogView, Object, ObjectKind, SourceConnector, SourceDesc};
use hw_repr::{GlobalId, SqlError, SqlState, Timestamp, UpdateBatch};
use hw_store::{DeadLetterRow, SourcePosition};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often the end of an upstream that nobody reads is asked for.
const WATERMARK_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes a live reader may hold decoded.
pub(crate) const READER_BUFFER_BYTES: usize = 32 << 20;

/// What a background watermark query found.
type Probed = Option<Result<BTreeMap<i32, i64>, SqlError>>;

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
    /// Next position per partition, as of the last tick.
    pub positions: BTreeMap<i32, i64>,
    /// Per output, columns that some dataflow reads.
    pub wanted: Vec<BTreeSet<usize>>,
    /// Paused by the user.
    pub paused: bool,
    /// Dead letters seen since the start, newest last, bounded.
    pub dead: VecDeque<DeadLetterRow>,
    reader: Option<Box<dyn SourceReader>>,
    taken: VecDeque<SourceBatch>,
    probe: Arc<Mutex<Probed>>,
    probe_at: Instant,
    probing: bool,
    ends: BTreeMap<i32, i64>,
    error: Option<SqlError>,
}

/// Dead letters kept in memory per source for `headwater.dead_letters`.
const DEAD_LETTERS_MAX: usize = 100_000;

impl LiveSource {
    pub(crate) fn new(object: Arc<Object>, desc: &SourceDesc, upstream: Upstream, relations: Vec<GlobalId>) -> Self {
        LiveSource {
            connector: desc.connector.clone(),
            positions: external::start_positions(&desc.connector),
            wanted: desc.outputs.iter().map(|_| BTreeSet::new()).collect(),
            paused: desc.paused,
            object,
            upstream,
            relations,
            dead: VecDeque::new(),
            reader: None,
            taken: VecDeque::new(),
            probe: Arc::default(),
            probe_at: Instant::now(),
            probing: false,
            ends: BTreeMap::new(),
            error: None,
        }
    }

    /// Where its first row comes from.
    pub(crate) fn start(&self) -> BTreeMap<i32, i64> {
        external::start_positions(&self.connector)
    }

    pub(crate) fn has_reader(&self) -> bool {
        self.reader.is_some()
    }

    /// True where a tick would take something from it.
    pub(crate) fn has_data(&self) -> bool {
        !self.taken.is_empty() || (self.reader.is_none() && !self.paused && self.behind())
    }

    fn behind(&self) -> bool {
        self.ends.iter().any(|(p, end)| self.positions.get(p).is_none_or(|at| at < end))
    }

    /// Time until it wants attention, where it needs any by itself.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        match (&self.reader, &self.connector) {
            (None, SourceConnector::Kafka(_)) => Some(WATERMARK_INTERVAL.saturating_sub(self.probe_at.elapsed())),
            (Some(_), SourceConnector::Nexmark(n)) if n.events_per_second.is_some() => Some(Duration::from_millis(10)),
            _ => None,
        }
    }

    /// Upstream end per partition, as last heard.
    pub(crate) fn upstream_end(&self) -> BTreeMap<i32, i64> {
        self.reader.as_ref().map_or_else(|| self.ends.clone(), |r| r.upstream_end())
    }

    /// State and error for `headwater.sources`.
    pub(crate) fn state(&self) -> (&'static str, Option<SqlError>) {
        if self.paused {
            return ("paused", self.error.clone());
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
        let wanted: Vec<Vec<usize>> = self.wanted.iter().map(|w| w.iter().copied().collect()).collect();
        match external::open_reader(
            &self.object,
            &self.upstream,
            &wanted,
            self.positions.clone(),
            None,
            READER_BUFFER_BYTES,
        ) {
            Ok(reader) => {
                let tx = tx.clone();
                reader.set_notify(Arc::new(move || {
                    if let Some(tx) = tx.upgrade() {
                        // A full queue means that the coordinator is about to look anyway.
                        let _ = tx.try_send(crate::command::Command::Wake);
                    }
                }));
                reader.set_paused(self.paused);
                self.reader = Some(reader);
                self.error = None;
            }
            Err(e) => self.error = Some(e),
        }
    }

    /// Takes over what a watermark query found; asks again when due.
    fn follow_end(&mut self) {
        let found = self.probe.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(found) = found {
            self.probing = false;
            match found {
                Ok(ends) => {
                    self.error = None;
                    self.ends = ends;
                }
                Err(e) => self.error = Some(e),
            }
        }
        if !self.probing && self.probe_at.elapsed() >= WATERMARK_INTERVAL {
            self.probing = true;
            self.probe_at = Instant::now();
            let (slot, upstream, object) = (self.probe.clone(), self.upstream.clone(), self.object.clone());
            tokio::task::spawn_blocking(move || {
                let result = external::upstream_ends(&object, &upstream);
                *slot.lock().unwrap_or_else(|e| e.into_inner()) = Some(result);
            });
        }
    }

    /// Takes over what a session asked the upstream.
    pub(crate) fn heard_of_ends(&mut self, ends: BTreeMap<i32, i64>) {
        self.error = None;
        for (partition, end) in ends {
            let at = self.ends.entry(partition).or_insert(end);
            *at = (*at).max(end);
        }
    }

    /// Moves the position of a source without readers to the known end. Returns what to log.
    fn skip_to_end(&mut self) -> Vec<SourcePosition> {
        let mut out = vec![];
        for (partition, end) in &self.ends {
            let at = self.positions.entry(*partition).or_insert(0);
            if *at < *end {
                *at = *end;
                out.push(SourcePosition {
                    source: self.object.id,
                    partition: *partition,
                    next: *end,
                    count: 0,
                    crc: 0,
                    read: false,
                });
            }
        }
        out
    }
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
        for source in self.sources.values_mut() {
            match &source.reader {
                Some(reader) if source.taken.is_empty() && !source.paused => {
                    source.taken.extend(reader.try_take(TICK_SOURCE_BYTES_MAX));
                }
                Some(_) => {}
                None if matches!(source.connector, SourceConnector::Kafka(_)) => {
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
            if source.reader.is_none() {
                if !source.paused {
                    intake.positions.extend(source.skip_to_end());
                }
                continue;
            }
            for batch in std::mem::take(&mut source.taken) {
                source.admit(batch, time, &mut intake);
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
            if fresh || source.reader.is_none() {
                source.start_reader(&tx);
            }
        }
    }

    /// Stops readers whose relations no dataflow reads any more.
    pub(crate) fn retire_readers(&mut self) {
        let read: BTreeSet<GlobalId> = self.flows.values().flat_map(|f| f.inputs.iter().copied()).collect();
        for source in self.sources.values_mut() {
            if source.reader.is_some() && !source.relations.iter().any(|r| read.contains(r)) {
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
    fn admit(&mut self, batch: SourceBatch, time: Timestamp, intake: &mut SourceIntake) {
        self.positions.insert(batch.partition, batch.to);
        intake.positions.push(SourcePosition {
            source: self.object.id,
            partition: batch.partition,
            next: batch.to,
            count: batch.digest.count,
            crc: batch.digest.crc,
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
