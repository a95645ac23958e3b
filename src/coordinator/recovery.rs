//! Start-up: catalog, then the tick log, then the dataflows.
//!
//! The catalog catches up with the log; tables and views begin with what the last checkpoint had, and what the log has
//! since follows: table writes, and ranges of sources, which are read again. A view that the checkpoint does not have is computed
//! anew: it reads all logged ranges again. What has been subscribed to, and what that is computed from, gets the last
//! minute at the times it had, so that every tick that a subscriber may come back for is there; for the rest many ticks
//! are done in one step. Invariant: nothing is served before the last durable
//! tick is reached.

use crate::CoordinatorConfig;
use crate::checkpoint::Checkpointer;
use crate::command::Command;
use crate::core::{Core, Stats};
use crate::ranges::{Ranges, Stretches, Timeline, digest};
use crate::replace::Replacing;
use crate::source::LiveSource;
use crate::subscribe::Subscriptions;
use hw_catalog::{Catalog, CatalogChange, CatalogSnapshot};
use hw_dataflow::{Engine, EngineConfig};
use hw_plan::{CatalogView, ObjectKind};
use hw_repr::{GlobalId, SqlError, SqlState, Timestamp, UpdateBatch};
use hw_store::verify::Reach;
use hw_store::{
    Checkpoints, DataDir, DeadLetterRow, LogWriter, Manifest, SavedPartition, SourcePosition, TickLog, TickRecord,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// What one pass over the log found, beside catalog changes.
#[derive(Default)]
struct Replayed {
    positions: BTreeMap<(GlobalId, i32), Advance>,
    dead: Vec<DeadLetterRow>,
    /// Ticks after the checkpoint, and which of them positions of sources were reached in.
    stretches: Stretches,
    joined: BTreeMap<GlobalId, Timeline>,
    /// Objects, and when they were created.
    created: BTreeMap<GlobalId, Timestamp>,
    /// Objects whose definition the checkpoint does not know: what it has of them was of another one.
    replaced: BTreeSet<GlobalId>,
}

impl Replayed {
    /// From when on relations can be read as they were.
    fn known(&self, manifest: &Manifest) -> BTreeMap<GlobalId, Timestamp> {
        let mut known: BTreeMap<GlobalId, Timestamp> = manifest.known.iter().copied().collect();
        for (id, created) in &self.created {
            known.entry(*id).and_modify(|at| *at = created.max(at).to_owned()).or_insert(*created);
        }
        known
    }

    fn note_created(&mut self, changes: &[CatalogChange], time: Timestamp, checkpoint: Timestamp) {
        let created = changes.iter().filter_map(|change| match change {
            CatalogChange::CreateObject(object) | CatalogChange::ReplaceObject(object) => Some((object.id, time)),
            _ => None,
        });
        self.created.extend(created);
        let replaced = changes.iter().filter_map(|change| match change {
            CatalogChange::ReplaceObject(object) if time > checkpoint => Some(object.id),
            _ => None,
        });
        self.replaced.extend(replaced);
    }

    /// Joins a tick after the checkpoint to those before it.
    fn join(&mut self, record: &TickRecord) {
        let read = record.positions.iter().map(|p| p.count);
        let written = record.tables.iter().map(|w| w.diffs.len() as u64);
        let time = self.stretches.add(record.time, read.chain(written).sum());
        for p in &record.positions {
            self.joined.entry(p.source).or_default().reached(p.partition, time, p.next);
        }
    }
}

/// How one partition of a source advanced.
struct Advance {
    /// The first record of it; none where a checkpoint has that.
    first: Option<SourcePosition>,
    /// What followed.
    ranges: Ranges,
    next: i64,
    /// The digest of everything before a position that had gone by unread.
    history: Option<SourcePosition>,
    /// The position when the kept history begins, where it had one.
    base: Option<i64>,
    /// Ticks of the kept history and their positions.
    ticks: VecDeque<(Timestamp, i64)>,
}

impl Advance {
    /// As a checkpoint has it; `base` is its position when the log that is left begins.
    fn saved(saved: &SavedPartition, base: Option<i64>) -> Advance {
        let (ranges, ticks) = (Ranges::default(), VecDeque::new());
        Advance { first: None, ranges, next: saved.next, history: None, base, ticks }
    }

    /// Notes when a position was reached.
    fn note_tick(&mut self, next: i64, time: Timestamp, kept: Timestamp) {
        if time > kept {
            self.ticks.push_back((time, next));
        } else {
            self.base = Some(next);
        }
    }

    fn take_in(known: &mut BTreeMap<(GlobalId, i32), Advance>, p: SourcePosition, time: Timestamp, kept: Timestamp) {
        let new = !known.contains_key(&(p.source, p.partition));
        let advance = known.entry((p.source, p.partition)).or_insert_with(|| Advance {
            first: Some(p),
            ranges: Ranges::default(),
            next: p.next,
            history: None,
            base: None,
            ticks: VecDeque::new(),
        });
        if advance.next < p.next {
            advance.ranges.push(p.partition, advance.next, p.next, digest(&p));
            advance.next = p.next;
        } else if p.read && !new {
            advance.history = Some(p);
            return;
        }
        advance.note_tick(p.next, time, kept);
    }
}

/// What is on disk.
struct Found {
    log: TickLog,
    manifest: Manifest,
    checkpoints: Checkpointer,
    catalog: Catalog,
    replayed: Replayed,
    /// The last durable tick.
    last: Timestamp,
}

/// From where on ticks keep their times.
#[derive(Clone, Copy)]
struct Kept {
    from: Timestamp,
    last: Timestamp,
}

impl Kept {
    /// A relation that is created at `time` keeps what came after it, as far back as it says.
    fn and(self, changes: &[CatalogChange], time: Timestamp) -> Kept {
        let retained = changes.iter().filter_map(|change| match change {
            CatalogChange::RetainHistory { ms, .. } => Some(self.last.saturating_sub(*ms).max(time)),
            _ => None,
        });
        Kept { from: retained.min().map_or(self.from, |from| from.min(self.from)), ..self }
    }
}

/// Opens log, checkpoint and catalog, and brings the catalog to the last durable tick.
fn find(config: &CoordinatorConfig) -> Result<Found, SqlError> {
    let platform = &config.platform;
    let dir = DataDir::open_with(&config.data_dir, platform.files.clone())?;
    let (mut log, recovered) = TickLog::open_with(&dir, platform.log)?;
    let saved = Checkpoints::open(&dir)?;
    let manifest = saved.manifest().clone();
    let last = recovered.last_time.max(manifest.tick);
    let mut catalog = Catalog::open_up_to(platform.catalog.clone(), &dir.catalog_path(), last)?;
    let (log_floor, log_end, torn) = (log.floor(), recovered.last_time, recovered.torn.is_some());
    check_whole(&Reach { log_floor, log_end, torn, manifest: manifest.clone() }, catalog.last_applied())?;
    if log_end < manifest.tick {
        // What was taken for torn was in the checkpoint. The log has to reach that far again before the next start.
        log.append(&TickRecord { time: manifest.tick, ..TickRecord::default() })?;
        log.sync()?;
    }
    log.truncate(manifest.log_floor)?;
    // What was before the log's floor has no times of its own any more.
    let retained = catalog.snapshot().retentions().values().copied().max().unwrap_or(0);
    let keep_ms = (config.subscribe_resume.as_millis() as u64).max(retained);
    let kept = Kept { from: last.saturating_sub(keep_ms).max(manifest.log_floor), last };
    let replayed = replay_catalog(&log, &mut catalog, kept, &manifest)?;
    let checkpoints = Checkpointer::new(saved, config.checkpoint_interval);
    checkpoints.log.reached(last);
    Ok(Found { log, manifest, checkpoints, catalog, replayed, last })
}

/// Histories that subscriptions and RETAIN HISTORY ask for.
fn keep_histories(core: &mut Core) {
    let snapshot = core.snapshot.load_full();
    snapshot.histories().iter().for_each(|id| core.keep_history(*id, core.resume_ms));
    snapshot.retentions().iter().for_each(|(id, ms)| core.keep_history(*id, *ms));
}

/// Opens everything in `config.data_dir` and brings the dataflows to the last durable tick; says when the catalog is
/// there. Blocks.
pub(crate) fn recover(
    config: &CoordinatorConfig,
    snapshot: Arc<arc_swap::ArcSwap<hw_catalog::CatalogSnapshot>>,
    tx: mpsc::WeakSender<Command>,
    wake: Arc<tokio::sync::Notify>,
    metrics: Arc<arc_swap::ArcSwap<String>>,
    catalog_loaded: impl FnOnce(),
) -> Result<Core, SqlError> {
    let Found { log, manifest, mut checkpoints, catalog, replayed, last } = find(config)?;
    snapshot.store(catalog.snapshot());
    let first_start = last == 0;
    if !(first_start && config.initial_password.is_some()) {
        catalog_loaded();
    }
    checkpoints.distrust(&views_named(&catalog.snapshot(), &config.recompute)?)?;
    let restored = checkpoints.restore(&replayed.replaced)?;
    let engine = start_engine(config, wake.clone())?;
    let mut core = Core {
        snapshot: Arc::new(arc_swap::ArcSwap::new(catalog.snapshot())),
        catalog,
        visible: snapshot,
        clock: config.platform.clock.clone(),
        undurable: VecDeque::new(),
        engine,
        log: None,
        tx,
        durables: crate::core::Durables::default(),
        wake,
        flows: BTreeMap::new(),
        broken: BTreeMap::new(),
        sources: BTreeMap::new(),
        writes: VecDeque::new(),
        changes: vec![],
        change_acks: vec![],
        replacing: Replacing::default(),
        reads: vec![],
        errors_asked: vec![],
        compacting: vec![],
        checkpoints,
        restored,
        known: replayed.known(&manifest),
        holds: vec![],
        changed: BTreeMap::new(),
        flushes: vec![],
        identities: BTreeMap::new(),
        acks: VecDeque::new(),
        subscriptions: Subscriptions::default(),
        histories: BTreeMap::new(),
        resume_ms: config.subscribe_resume.as_millis() as u64,
        began: (last, Instant::now()),
        last_tick: last,
        durable: last,
        read_ts: last,
        acked: last,
        in_flight: Default::default(),
        last_close: Instant::now(),
        read_only: None,
        stats: Stats::default(),
        metrics,
        metrics_at: Instant::now(),
    };
    core.restore_sources(&manifest, &replayed)?;
    keep_histories(&mut core);
    core.restore_tables(&log, manifest.tick, &replayed.stretches)?;
    core.restore_views(manifest.log_floor)?;
    core.log = Some(LogWriter::start(log)?);
    core.begin_corrections();
    core.set_initial_password(config.initial_password.as_deref().filter(|_| first_start))?;
    Ok(core)
}

fn start_engine(config: &CoordinatorConfig, wake: Arc<tokio::sync::Notify>) -> Result<Engine, SqlError> {
    let engine = Engine::start(EngineConfig {
        workers: config.workers,
        discard_views: config.discard_views,
        assume_retractions: config.assume_retractions,
    })?;
    engine.set_waker(Arc::new(move || wake.notify_one()));
    Ok(engine)
}

/// The ids of materialized views by their names. `42P01` or `42809` where there is none of that name.
fn views_named(catalog: &CatalogSnapshot, names: &[String]) -> Result<BTreeSet<GlobalId>, SqlError> {
    let named = |name: &String| {
        let (schema, view) = name.split_once('.').map_or(("public", name.as_str()), |(schema, view)| (schema, view));
        let object = catalog.resolve(Some(schema), view).ok_or_else(|| {
            SqlError::new(SqlState::UNDEFINED_TABLE, format!("materialized view \"{name}\" does not exist"))
        })?;
        match object.kind {
            ObjectKind::MaterializedView { .. } => Ok(object.id),
            _ => {
                let message = format!("\"{name}\" is not a materialized view");
                Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message))
            }
        }
    };
    names.iter().map(named).collect()
}

/// `XX001` where log, checkpoint and catalog, which has applied tick `applied`, do not fit together: something of the data
/// directory is missing.
pub(crate) fn check_whole(reach: &Reach, applied: Timestamp) -> Result<(), SqlError> {
    let (floor, tick) = (reach.log_floor, reach.manifest.tick);
    let message = if floor > tick {
        format!("the tick log begins after tick {floor}, the last checkpoint ends at {tick}")
    } else if reach.log_end < tick && !reach.torn {
        format!("the tick log ends at tick {}, before the last checkpoint at {tick}", reach.log_end)
    } else if applied < reach.manifest.catalog && applied < floor {
        format!("the catalog ends at tick {applied}, the tick log begins after tick {floor}")
    } else {
        return Ok(());
    };
    Err(SqlError::new(SqlState::DATA_CORRUPTED, message)
        .hint("Files of the data directory are missing. Restore it from a backup."))
}

fn replay_catalog(
    log: &TickLog,
    catalog: &mut Catalog,
    mut kept: Kept,
    manifest: &Manifest,
) -> Result<Replayed, SqlError> {
    let mut out = Replayed::default();
    let floor = manifest.earlier.first().filter(|p| p.tick <= manifest.log_floor);
    for saved in &manifest.partitions {
        let same =
            |(source, partition, _): &&(GlobalId, i32, i64)| (*source, *partition) == (saved.source, saved.partition);
        let base = floor.and_then(|p| p.next.iter().find(same)).map(|p| p.2);
        out.positions.insert((saved.source, saved.partition), Advance::saved(saved, base));
    }
    for record in log.replay() {
        let record = record?;
        if !record.catalog.is_empty() {
            let changes: Vec<CatalogChange> =
                record.catalog.iter().map(|bytes| CatalogChange::from_bytes(bytes)).collect::<Result<_, SqlError>>()?;
            catalog.apply(record.time, &changes)?;
            kept = kept.and(&changes, record.time);
            out.note_created(&changes, record.time, manifest.tick);
        }
        if record.time <= manifest.tick {
            for p in record.positions {
                if let Some(advance) = out.positions.get_mut(&(p.source, p.partition)) {
                    advance.note_tick(p.next, record.time, kept.from);
                }
            }
            continue;
        }
        out.join(&record);
        for position in record.positions {
            Advance::take_in(&mut out.positions, position, record.time, kept.from);
        }
        out.dead.extend(record.dead_letters);
    }
    Ok(out)
}

impl Core {
    /// The superuser's, where one is given for a new data directory.
    fn set_initial_password(&mut self, password: Option<&str>) -> Result<(), SqlError> {
        let Some(password) = password else { return Ok(()) };
        let verifier = Some(hw_catalog::scram::verifier(password)?);
        let change = CatalogChange::SetRolePassword { role: "headwater".into(), verifier };
        self.commit_changes(vec![change], Box::new(|_| {}));
        Ok(())
    }

    /// What is corrected is shown from the next tick on, where the last one has been shown.
    fn begin_corrections(&mut self) {
        if self.flows.values().any(|f| f.known.from > self.last_tick) {
            self.close_tick();
        }
    }

    fn restore_sources(&mut self, manifest: &Manifest, replayed: &Replayed) -> Result<(), SqlError> {
        let objects = self.snapshot.load().objects();
        for object in objects.iter().filter(|o| matches!(o.kind, ObjectKind::Source(_))) {
            self.add_source(object)?;
        }
        for saved in &manifest.partitions {
            if let Some(source) = self.sources.get_mut(&saved.source) {
                source.restore_saved(saved);
            }
        }
        for ((source, partition), advance) in &replayed.positions {
            if let Some(source) = self.sources.get_mut(source) {
                match &advance.first {
                    Some(first) => source.restore(first, &advance.ranges, advance.next),
                    None => source.restore_rest(*partition, &advance.ranges, advance.next),
                }
                if let Some(history) = &advance.history {
                    source.restore_history(history);
                }
                source.replay.restore(*partition, advance.base, &advance.ticks);
            }
        }
        for (source, joined) in &replayed.joined {
            if let Some(source) = self.sources.get_mut(source) {
                source.joined = joined.clone();
            }
        }
        for row in self.checkpoints.dead_letters()?.iter().chain(&replayed.dead) {
            if let Some(source) = self.sources.get_mut(&row.source) {
                source.remember_dead(row.clone());
            }
        }
        Ok(())
    }

    /// Tables as the checkpoint at `tick` has them, and what was written since.
    fn restore_tables(&mut self, log: &TickLog, tick: Timestamp, stretches: &Stretches) -> Result<(), SqlError> {
        let objects = self.snapshot.load().objects();
        let tables: BTreeSet<GlobalId> =
            objects.iter().filter(|o| matches!(o.kind, ObjectKind::Table(_))).map(|o| o.id).collect();
        for object in objects.iter().filter(|o| tables.contains(&o.id)) {
            self.install(object, 0)?;
        }
        for record in log.replay_after(tick) {
            let record = record?;
            for write in record.tables {
                if tables.contains(&write.table) {
                    let diffs = Some(Arc::new(arrow::array::Int64Array::from(write.diffs)));
                    let alone = self.histories.contains_key(&write.table);
                    let time = if alone { record.time } else { stretches.time_of(record.time) };
                    let update = UpdateBatch { rows: write.batch, diffs, time };
                    self.engine.send(write.table, write.table, vec![update])?;
                }
            }
        }
        for table in tables {
            self.engine.advance(table, self.last_tick + 1);
        }
        Ok(())
    }

    /// Installs views and indexes, what is read before what reads it. What has been
    /// subscribed to, or retains history, has what it keeps of it, as far as the log goes back to `log_floor`; of the rest
    /// nothing before the last tick can be read.
    fn restore_views(&mut self, log_floor: Timestamp) -> Result<(), SqlError> {
        for object in self.snapshot.load().in_order() {
            // What it is computed from can be read from then on: before, nobody has seen it.
            let since = match &object.kind {
                ObjectKind::MaterializedView { plan, .. } => {
                    let mut since = 0;
                    plan.for_each_get(&mut |id, _| since = since.max(self.engine.since(id)));
                    since
                }
                ObjectKind::Index { on, .. } => self.engine.since(*on),
                _ => continue,
            };
            let begin = self.last_tick.saturating_sub(self.keeps(object.id));
            self.install_or_break(&object, begin.max(log_floor).min(self.last_tick).max(since));
        }
        // Not before: what follows an arrangement finds there which changes came after the checkpoint.
        for (id, flow) in &self.flows {
            let keep = self.last_tick.saturating_sub(self.keeps(*id));
            self.engine.allow_compaction(*id, keep.max(flow.known.from));
        }
        self.restored.clear();
        self.known.clear();
        self.share_readers();
        self.sources.values_mut().for_each(LiveSource::end_recovery);
        Ok(())
    }

    /// True when the catalog is shown and every dataflow that does not wait for an upstream has reached the last durable tick.
    pub(crate) fn recovered(&self) -> bool {
        let from = self.flows.values().map(|f| f.known.from).max().unwrap_or(0);
        let shown = (self.undurable.is_empty() && from <= self.read_ts) || self.read_only.is_some();
        shown
            && self.flows.values().all(|f| f.is_filled() || f.failed.is_some() || self.waits_for_upstream(f.object.id))
    }

    fn waits_for_upstream(&self, id: GlobalId) -> bool {
        self.flows
            .get(&id)
            .is_some_and(|f| f.hydration.is_some() || f.imports.iter().any(|i| self.waits_for_upstream(*i)))
    }
}
