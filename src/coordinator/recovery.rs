//! Start-up: catalog, then the tick log, then the dataflows.
//!
//! The catalog catches up with the log; tables are filled from the writes in it at their own times; views over
//! sources read the logged ranges again. Invariant: nothing is served before the last durable tick is reached.

use crate::CoordinatorConfig;
use crate::command::Command;
use crate::core::{Core, Stats};
use crate::ranges::{Ranges, digest};
use crate::subscribe::Subscriptions;
use hw_catalog::{Catalog, CatalogChange};
use hw_dataflow::{Engine, EngineConfig};
use hw_plan::{CatalogView, Object, ObjectKind};
use hw_repr::{GlobalId, SqlError, Timestamp, UpdateBatch};
use hw_store::{DataDir, DeadLetterRow, LogWriter, SourcePosition, TickLog};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// What one pass over the log found, beside catalog changes.
#[derive(Default)]
struct Replayed {
    last: Timestamp,
    positions: BTreeMap<(GlobalId, i32), Advance>,
    dead: Vec<DeadLetterRow>,
    written: BTreeSet<GlobalId>,
}

/// How one partition of a source advanced.
struct Advance {
    first: SourcePosition,
    /// What followed.
    ranges: Ranges,
    next: i64,
}

impl Advance {
    fn take_in(known: &mut BTreeMap<(GlobalId, i32), Advance>, p: SourcePosition) {
        match known.get_mut(&(p.source, p.partition)) {
            Some(a) => {
                a.ranges.push(p.partition, a.next, p.next, digest(&p));
                a.next = p.next;
            }
            None => {
                let a = Advance { first: p, ranges: Ranges::default(), next: p.next };
                known.insert((p.source, p.partition), a);
            }
        }
    }
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
    let dir = DataDir::open(&config.data_dir)?;
    let (log, recovered) = TickLog::open(&dir)?;
    let mut catalog = Catalog::open_up_to(&dir.catalog_path(), recovered.last_time)?;
    if let Some(warning) = &recovered.torn {
        tracing::warn!("{warning}");
    }
    let replayed = replay_catalog(&log, &mut catalog)?;
    snapshot.store(catalog.snapshot());
    catalog_loaded();
    let engine = Engine::start(EngineConfig { workers: config.workers, discard_views: config.discard_views })?;
    let notify = wake.clone();
    engine.set_waker(Arc::new(move || notify.notify_one()));
    let mut core = Core {
        snapshot: Arc::new(arc_swap::ArcSwap::new(catalog.snapshot())),
        catalog,
        visible: snapshot,
        undurable: VecDeque::new(),
        engine,
        log: None,
        tx,
        durables: crate::core::Durables::default(),
        wake,
        flows: BTreeMap::new(),
        sources: BTreeMap::new(),
        writes: VecDeque::new(),
        changes: vec![],
        change_acks: vec![],
        reads: vec![],
        errors_asked: vec![],
        holds: vec![],
        changed: BTreeMap::new(),
        recovered_at: (replayed.last > 0).then(Instant::now),
        flushes: vec![],
        acks: VecDeque::new(),
        subscriptions: Subscriptions::default(),
        subscribed: BTreeSet::new(),
        last_tick: replayed.last,
        durable: replayed.last,
        read_ts: replayed.last,
        acked: replayed.last,
        last_close: Instant::now(),
        read_only: None,
        stats: Stats::default(),
        metrics,
        metrics_at: Instant::now(),
    };
    core.restore_sources(&replayed)?;
    core.restore_tables(&log)?;
    core.restore_views()?;
    core.log = Some(LogWriter::start(log)?);
    if let Some(password) = &config.initial_password
        && replayed.last == 0
    {
        let verifier = Some(hw_catalog::scram::verifier(password)?);
        let change = CatalogChange::SetRolePassword { role: "headwater".into(), verifier };
        core.commit_changes(vec![change], Box::new(|_| {}));
    }
    Ok(core)
}

fn replay_catalog(log: &TickLog, catalog: &mut Catalog) -> Result<Replayed, SqlError> {
    let mut out = Replayed::default();
    for record in log.replay() {
        let record = record?;
        out.last = record.time;
        if !record.catalog.is_empty() {
            let changes: Vec<CatalogChange> =
                record.catalog.iter().map(|bytes| CatalogChange::from_bytes(bytes)).collect::<Result<_, SqlError>>()?;
            catalog.apply(record.time, &changes)?;
        }
        out.written.extend(record.tables.iter().map(|t| t.table));
        for position in record.positions {
            Advance::take_in(&mut out.positions, position);
        }
        out.dead.extend(record.dead_letters);
    }
    Ok(out)
}

impl Core {
    fn restore_sources(&mut self, replayed: &Replayed) -> Result<(), SqlError> {
        let objects = self.snapshot.load().objects();
        for object in objects.iter().filter(|o| matches!(o.kind, ObjectKind::Source(_))) {
            self.add_source(object)?;
        }
        for ((source, _), advance) in &replayed.positions {
            if let Some(source) = self.sources.get_mut(source) {
                source.restore(&advance.first, &advance.ranges, advance.next);
            }
        }
        for row in &replayed.dead {
            if let Some(source) = self.sources.get_mut(&row.source) {
                source.remember_dead(row.clone());
            }
        }
        Ok(())
    }

    fn restore_tables(&mut self, log: &TickLog) -> Result<(), SqlError> {
        let objects = self.snapshot.load().objects();
        let tables: BTreeSet<GlobalId> =
            objects.iter().filter(|o| matches!(o.kind, ObjectKind::Table(_))).map(|o| o.id).collect();
        for object in objects.iter().filter(|o| tables.contains(&o.id)) {
            self.install(object, 0)?;
        }
        for record in log.replay() {
            let record = record?;
            for write in record.tables {
                if tables.contains(&write.table) {
                    let diffs = Some(Arc::new(arrow::array::Int64Array::from(write.diffs)));
                    let update = UpdateBatch { rows: write.batch, diffs, time: record.time };
                    self.engine.send(write.table, write.table, vec![update])?;
                }
            }
        }
        for table in tables {
            self.engine.advance(table, self.last_tick + 1);
        }
        Ok(())
    }

    /// Installs views and indexes in the order of their ids: what a view reads is older than the view.
    fn restore_views(&mut self) -> Result<(), SqlError> {
        let mut objects: Vec<Arc<Object>> = self.snapshot.load().objects();
        objects.sort_by_key(|o| o.id);
        for object in objects {
            if matches!(object.kind, ObjectKind::MaterializedView { .. } | ObjectKind::Index { .. }) {
                self.install(&object, self.last_tick)?;
            }
        }
        Ok(())
    }

    /// True when every dataflow that does not wait for an upstream has reached the last durable tick.
    pub(crate) fn recovered(&self) -> bool {
        self.flows.values().all(|f| f.live || f.failed.is_some() || self.waits_for_upstream(f.object.id))
    }

    fn waits_for_upstream(&self, id: GlobalId) -> bool {
        self.flows
            .get(&id)
            .is_some_and(|f| f.hydration.is_some() || f.imports.iter().any(|i| self.waits_for_upstream(*i)))
    }
}
