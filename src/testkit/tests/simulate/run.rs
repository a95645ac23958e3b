//! One simulated life after another of the same database, and what must hold between them.

use super::disk::{At, Disk, DiskFiles, Fault, Image, Place, Plan};
use super::model::{Bag, Model, Statement, TABLES, VIEWS};
use super::store::DiskCatalog;
use futures::StreamExt;
use hw_coordinator::{CoordinatorConfig, CoordinatorHandle, Outcome, Platform, Session};
use hw_repr::{Datum, SqlError, SqlState};
use hw_store::ticklog::LogLimits;
use hw_testkit::Random;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Longer than anything takes that ends at all.
const PATIENCE: Duration = Duration::from_secs(300);

/// History that SUBSCRIBE can go back to, where there is any.
const RESUME_MS: u64 = 60_000;
/// How far a tick may be ahead of the clock.
const AHEAD_MS: u64 = 2_000;

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub starts: u64,
    pub crashes: u64,
    pub failed_starts: u64,
    pub faults: u64,
    pub statements: u64,
    pub relations: u64,
    pub shown: u64,
}

impl Counts {
    pub fn add(&mut self, other: Counts) {
        self.starts += other.starts;
        self.crashes += other.crashes;
        self.failed_starts += other.failed_starts;
        self.faults += other.faults;
        self.statements += other.statements;
        self.relations += other.relations;
        self.shown += other.shown;
    }
}

/// A database over several lives.
pub struct Simulation {
    random: Random,
    lose_syncs: bool,
    limits: LogLimits,
    clock: Arc<AtomicU64>,
    image: Image,
    /// Everything acknowledged.
    model: Model,
    /// What failed, or was never answered: wholly there or not at all.
    pending: Vec<Statement>,
    next_key: i64,
    /// A view, a tick that SUBSCRIBE has shown, and the contents then.
    shown: Vec<(String, u64, Bag)>,
    resume_ms: u64,
    /// Some view has been computed anew, and maybe not for the last time: each start that does so shows nothing of it before
    /// its tick is durable, and nothing of what it has shown before.
    anew: bool,
    /// The latest that the clock was.
    newest_ms: u64,
    pub counts: Counts,
    /// What happened, for a failure's report.
    pub log: Vec<String>,
    disk: Option<Arc<Disk>>,
}

/// Why a life ended early.
enum End {
    /// The disk is dead, or nothing more can be written.
    Over,
    /// Something is wrong.
    Wrong(String),
}

impl From<String> for End {
    fn from(what: String) -> End {
        End::Wrong(what)
    }
}

struct Life {
    handle: CoordinatorHandle,
    disk: Arc<Disk>,
    faulty: bool,
    /// A statement has failed for a fault: every later one does.
    refuses: bool,
    background: Vec<tokio::task::JoinHandle<Result<(), SqlError>>>,
}

impl Life {
    fn new(handle: CoordinatorHandle, disk: &Arc<Disk>, faulty: bool) -> Life {
        Life { handle, disk: disk.clone(), faulty, refuses: false, background: vec![] }
    }

    fn session(&self) -> Session {
        self.handle.session("headwater".into(), "headwater".into(), None)
    }

    async fn query(&self, sql: &str) -> Result<Bag, SqlError> {
        let mut session = self.session();
        tokio::time::timeout(PATIENCE, rows(&mut session, sql)).await.unwrap_or_else(|_| Err(stuck(sql)))
    }
}

fn stuck(what: &str) -> SqlError {
    SqlError::internal(format!("no answer within {PATIENCE:?}: {what}"))
}

async fn rows(session: &mut Session, sql: &str) -> Result<Bag, SqlError> {
    let prepared = session.prepare(sql, &[]).await?;
    session.begin_statement();
    let executed = session.execute(&prepared, vec![]).await?;
    let Outcome::Rows { desc, mut rows, .. } = executed.outcome else { return Ok(Bag::new()) };
    let (types, mut out) = (desc.types(), Bag::new());
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            let mut values = vec![];
            for (column, ty) in batch.columns().iter().zip(&types) {
                let datum = Datum::from_array(column.as_ref(), row, *ty)?;
                values.push(datum.to_text().unwrap_or_else(|| "NULL".into()));
            }
            *out.entry(values).or_default() += 1;
        }
    }
    Ok(out)
}

/// The time of the first row of a subscription.
async fn first_time(session: &mut Session, sql: &str) -> Result<u64, SqlError> {
    let prepared = session.prepare(sql, &[]).await?;
    session.begin_statement();
    let executed = session.execute(&prepared, vec![]).await?;
    let none = || SqlError::internal(format!("no rows: {sql}"));
    let Outcome::Rows { desc, mut rows, .. } = executed.outcome else { return Err(none()) };
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        if batch.num_rows() > 0 {
            let time = Datum::from_array(batch.column(0).as_ref(), 0, desc.types()[0])?;
            return time.to_text().and_then(|t| t.parse().ok()).ok_or_else(none);
        }
    }
    Err(none())
}

fn is_of_the_disk(e: &SqlError) -> bool {
    e.code == SqlState::DISK_FULL || e.code == SqlState::IO_ERROR
}

impl Simulation {
    pub fn new(seed: u64, lose_syncs: bool) -> Simulation {
        let mut random = Random::new(seed);
        let pick = |random: &mut Random, of: &[u64]| of[random.below(of.len() as u64) as usize];
        let limits = LogLimits {
            segment_bytes: pick(&mut random, &[2 << 10, 16 << 10, 64 << 20]),
            extend_bytes: pick(&mut random, &[512, 4 << 10, 64 << 10]),
            spare_bytes: pick(&mut random, &[0, 0, 4 << 10, 16 << 10]),
        };
        let resume_ms = pick(&mut random, &[0, 20, RESUME_MS, RESUME_MS]);
        Simulation {
            random,
            lose_syncs,
            limits,
            clock: Arc::new(AtomicU64::new(1_700_000_000_000)),
            image: Image::default(),
            model: Model::default(),
            pending: vec![],
            next_key: 0,
            shown: vec![],
            resume_ms,
            anew: false,
            newest_ms: 0,
            counts: Counts::default(),
            log: vec![],
            disk: None,
        }
    }

    fn note(&mut self, what: impl Into<String>) {
        let at = self.disk.as_ref().map_or(0, |d| d.operations());
        self.log.push(format!("[{at}] {}", what.into()));
    }

    /// What the disk did in the last life.
    pub fn disk_trace(&self) -> Vec<String> {
        self.disk.as_ref().map_or(vec![], |d| d.trace())
    }

    /// Some lives with faults, then one without. The error says what is wrong.
    pub async fn run(&mut self) -> Result<(), String> {
        for _ in 0..2 + self.random.below(3) {
            let plan = self.plan();
            self.life(plan).await?;
        }
        self.life(Plan { lose_syncs: self.lose_syncs, ..Plan::default() }).await
    }

    fn plan(&mut self) -> Plan {
        let at = |random: &mut Random| {
            let (place, most) = match random.below(8) {
                0..=1 => (Place::Log, 30),
                2..=3 => (Place::Checkpoint, 14),
                4 => (Place::Store, 12),
                5 => (Place::Dump, 8),
                _ => (Place::Any, 90),
            };
            At(place, 1 + random.below(most))
        };
        let crash_at = self.random.chance(75).then(|| at(&mut self.random));
        let fault = self.random.chance(25).then(|| match self.random.below(4) {
            0 => Fault::Full(at(&mut self.random), 1 + self.random.below(3)),
            1 => Fault::Full(at(&mut self.random), u64::MAX),
            2 => Fault::Broken(at(&mut self.random)),
            _ => Fault::Short(at(&mut self.random)),
        });
        Plan { crash_at, fault, lose_syncs: self.lose_syncs }
    }

    async fn life(&mut self, plan: Plan) -> Result<(), String> {
        let faulty = plan.fault.is_some();
        let mut image = std::mem::take(&mut self.image);
        image.store_damaged = !self.lose_syncs && self.random.chance(3);
        let disk = Disk::new(image, plan.clone(), Random::new(self.random.bits()));
        self.disk = Some(disk.clone());
        self.note(format!("start {plan:?}"));
        let lived = match self.start(&disk).await {
            Ok(handle) => {
                let mut life = Life::new(handle, &disk, faulty);
                let lived = self.live(&mut life).await;
                self.end(life).await?;
                lived
            }
            Err(e) if disk.is_dead() || (faulty && is_of_the_disk(&e)) => {
                self.counts.failed_starts += 1;
                Err(End::Over)
            }
            Err(e) => Err(End::Wrong(format!("it does not start: {e} ({})", e.code.as_str()))),
        };
        self.counts.crashes += u64::from(disk.is_dead());
        self.image = disk.crash();
        match lived {
            Err(End::Wrong(what)) => Err(what),
            Ok(()) | Err(End::Over) => Ok(()),
        }
    }

    async fn start(&mut self, disk: &Arc<Disk>) -> Result<CoordinatorHandle, SqlError> {
        let clock = self.clock.clone();
        let platform = Platform {
            files: Arc::new(DiskFiles(disk.clone())),
            catalog: Arc::new(DiskCatalog(disk.clone())),
            log: self.limits,
            clock: Arc::new(move || clock.load(Ordering::Relaxed)),
        };
        let workers = [1, 1, 2, 4][self.random.below(4) as usize];
        let recompute = self.recompute();
        if self.anew {
            self.shown.clear();
        }
        self.note(format!("{workers} workers, {} ms of history, anew: {recompute:?}", self.resume_ms));
        let config = CoordinatorConfig {
            data_dir: PathBuf::from("/data"),
            workers,
            memory_limit: None,
            checkpoint_interval: Duration::from_secs(3600),
            subscribe_resume: Duration::from_millis(self.resume_ms),
            initial_password: None,
            discard_views: false,
            assume_retractions: false,
            recompute,
            platform,
        };
        let handle = hw_coordinator::start(config)?;
        tokio::time::timeout(PATIENCE, handle.ready()).await.unwrap_or_else(|_| Err(stuck("start")))?;
        self.counts.starts += 1;
        Ok(handle)
    }

    /// Views that a start computes anew: what they have shown cannot be asked for again.
    fn recompute(&mut self) -> Vec<String> {
        if !self.pending.is_empty() || self.random.chance(80) {
            return vec![];
        }
        let mut some = vec![];
        for name in self.model.views.keys() {
            if self.random.chance(40) {
                some.push(name.clone());
            }
        }
        self.anew |= !some.is_empty();
        some
    }

    async fn live(&mut self, life: &mut Life) -> Result<(), End> {
        self.resolve(life).await?;
        for _ in 0..3 + self.random.below(10) {
            let step = self.random.below(100);
            let now = self.clock.fetch_add(self.random.below(40), Ordering::Relaxed);
            self.newest_ms = self.newest_ms.max(now + 40);
            match step {
                0..=49 => self.write(life).await?,
                50..=69 => self.define(life).await?,
                70..=81 => self.checkpoint(life).await?,
                82..=86 => self.move_clock(),
                87..=91 => self.subscribe(life).await?,
                _ => self.check_all(life).await?,
            }
        }
        self.check_all(life).await
    }

    /// Notes what SUBSCRIBE shows of a view, and when.
    async fn subscribe(&mut self, life: &mut Life) -> Result<(), End> {
        let names: Vec<&String> = self.model.views.keys().collect();
        let Some(name) = names.get(self.random.below(names.len() as u64) as usize).map(|n| n.to_string()) else {
            return Ok(());
        };
        let contents = self.model.contents(&name).unwrap_or_default();
        if contents.is_empty() || self.resume_ms < RESUME_MS || life.refuses {
            return Ok(());
        }
        let mut session = life.session();
        let sql = format!("SUBSCRIBE {name}");
        let first = tokio::time::timeout(PATIENCE, first_time(&mut session, &sql)).await;
        let time = match first.unwrap_or_else(|_| Err(stuck(&sql))) {
            Ok(time) => time,
            // The first one to a relation is a change of the catalog: it can fail like a write.
            Err(e) if life.disk.is_dead() || (life.faulty && is_of_the_disk(&e)) => {
                self.note(format!("{sql}: {e}"));
                life.refuses = true;
                return if life.disk.is_dead() { Err(End::Over) } else { Ok(()) };
            }
            Err(e) => return Err(End::Wrong(format!("{sql}: {e}"))),
        };
        self.note(format!("{sql}: at {time}"));
        self.shown.push((name, time, contents));
        Ok(())
    }

    /// What SUBSCRIBE has shown is still there.
    async fn check_shown(&mut self, life: &Life) -> Result<(), End> {
        let reach = self.newest_ms + AHEAD_MS;
        let views = &self.model.views;
        self.shown.retain(|(name, time, _)| views.contains_key(name) && time + RESUME_MS > reach);
        for (name, time, before) in &self.shown {
            let sql = format!("SUBSCRIBE {name} AS OF {time} UP TO {}", time + 1);
            let rows = life.query(&sql).await.map_err(|e| format!("{sql}: {e} ({})", e.code.as_str()))?;
            let again: Bag = rows.into_keys().map(|row| (row[2..].to_vec(), row[1].parse().unwrap_or(0))).collect();
            if again != *before {
                return Err(End::Wrong(format!("{sql}\nis  {again:?}\nwas {before:?}")));
            }
            self.counts.shown += 1;
        }
        Ok(())
    }

    fn forget_shown(&mut self, statement: &Statement) {
        if let Statement::DropView { name } | Statement::CreateView { name, .. } = statement {
            self.shown.retain(|(shown, ..)| shown != name);
        }
    }

    fn move_clock(&mut self) {
        let most = if self.random.chance(20) { 200_000 } else { 500 };
        let by = self.random.below(most);
        let back = self.random.chance(50);
        self.note(format!("the clock goes {} by {by} ms", if back { "back" } else { "on" }));
        match back {
            true => self.clock.fetch_sub(by, Ordering::Relaxed),
            false => self.clock.fetch_add(by, Ordering::Relaxed),
        };
    }

    /// One or several statements at once, on different tables.
    async fn write(&mut self, life: &mut Life) -> Result<(), End> {
        let (mut statements, mut written) = (vec![], BTreeSet::new());
        let many = if self.random.chance(25) { 3 } else { 1 };
        for _ in 0..many {
            if let Some(statement) = self.model.write(&mut self.random, &mut self.next_key, &written) {
                if let Statement::Insert { table, .. }
                | Statement::Update { table, .. }
                | Statement::Delete { table, .. } = &statement
                {
                    written.insert(table.clone());
                }
                statements.push(statement);
            }
        }
        self.execute(life, statements).await
    }

    async fn define(&mut self, life: &mut Life) -> Result<(), End> {
        let statement = self.model.define(&mut self.random);
        self.execute(life, statement.into_iter().collect()).await
    }

    async fn execute(&mut self, life: &mut Life, statements: Vec<Statement>) -> Result<(), End> {
        let answers = {
            let texts: Vec<String> = statements.iter().map(Statement::sql).collect();
            futures::future::join_all(texts.iter().map(|sql| life.query(sql))).await
        };
        let refused_before = life.refuses;
        let mut over = false;
        for (statement, answer) in statements.into_iter().zip(answers) {
            self.counts.statements += 1;
            self.forget_shown(&statement);
            let mut sql = statement.sql();
            sql.truncate(160);
            match answer {
                Ok(_) => {
                    self.note(sql);
                    statement.apply(&mut self.model);
                }
                Err(e) if life.disk.is_dead() || (life.faulty && is_of_the_disk(&e)) => {
                    self.note(format!("{sql}: {e}"));
                    self.counts.faults += 1;
                    over |= life.disk.is_dead() || self.random.chance(30);
                    if !refused_before {
                        self.pending.push(statement);
                    }
                    life.refuses = true;
                }
                Err(e) => return Err(End::Wrong(format!("{sql}: {e} ({})", e.code.as_str()))),
            }
        }
        if over { Err(End::Over) } else { Ok(()) }
    }

    async fn checkpoint(&mut self, life: &mut Life) -> Result<(), End> {
        if self.random.chance(20) {
            self.note("CHECKPOINT, not waited for");
            let mut session = life.session();
            let work = async move { rows(&mut session, "CHECKPOINT").await.map(|_| ()) };
            life.background.push(tokio::spawn(work));
            return Ok(());
        }
        let done = life.query("CHECKPOINT").await;
        self.note(format!("CHECKPOINT {:?}", done.as_ref().err().map(|e| e.message.clone())));
        match done {
            Ok(_) => Ok(()),
            Err(_) if life.disk.is_dead() => Err(End::Over),
            Err(_) if life.faulty => Ok(()),
            Err(e) => Err(End::Wrong(format!("CHECKPOINT: {e} ({})", e.code.as_str()))),
        }
    }

    /// Finds out what became of the statements that were not acknowledged; everything else must be there.
    async fn resolve(&mut self, life: &mut Life) -> Result<(), End> {
        let pending = std::mem::take(&mut self.pending);
        let mut candidates = vec![self.model.clone()];
        for statement in &pending {
            for i in 0..candidates.len() {
                let mut with = candidates[i].clone();
                statement.apply(&mut with);
                candidates.push(with);
            }
        }
        let names = (0..TABLES).map(|i| format!("t{i}")).chain((0..VIEWS).map(|i| format!("v{i}")));
        let mut wrong = String::new();
        for name in names {
            let found = match self.contents(life, &name).await {
                Err(End::Over) => {
                    self.pending = pending;
                    return Err(End::Over);
                }
                found => found?,
            };
            let before = candidates.clone();
            // Views are compared once it is known which of the tables it is.
            let fits = |c: &Model| match c.tables.contains_key(&name) {
                true => c.contents(&name) == found,
                false => found.is_some() == c.views.contains_key(&name),
            };
            candidates.retain(fits);
            if candidates.is_empty() {
                let expected: Vec<Option<Bag>> = before.iter().map(|c| c.contents(&name)).collect();
                wrong = format!("{name} is {found:?}\nacknowledged or possible: {expected:?}\nunder way {pending:?}");
                break;
            }
        }
        let Some(model) = candidates.into_iter().next() else { return Err(End::Wrong(wrong)) };
        self.model = model;
        self.check_all(life).await?;
        self.check_shown(life).await
    }

    /// A relation's rows; `None` where it is not there.
    async fn contents(&mut self, life: &Life, name: &str) -> Result<Option<Bag>, End> {
        match life.query(&format!("SELECT * FROM {name}")).await {
            Ok(rows) => Ok(Some(rows)),
            Err(e) if e.code == SqlState::UNDEFINED_TABLE => Ok(None),
            Err(e) if self.anew && is_of_the_disk(&e) && (life.disk.is_dead() || life.faulty) => Err(End::Over),
            Err(e) => Err(End::Wrong(format!("SELECT * FROM {name}: {e} ({})", e.code.as_str()))),
        }
    }

    /// Every relation is what the model computes.
    async fn check_all(&mut self, life: &Life) -> Result<(), End> {
        let names: Vec<String> = self.model.tables.keys().chain(self.model.views.keys()).cloned().collect();
        for name in names {
            let (expected, found) = (self.model.contents(&name), self.contents(life, &name).await?);
            self.counts.relations += 1;
            if expected != found {
                let kind = self.model.views.get(&name);
                return Err(End::Wrong(format!("{name} {kind:?}\nis        {found:?}\nshould be {expected:?}")));
            }
        }
        Ok(())
    }

    /// A clean end now and then; else the power goes.
    async fn end(&mut self, life: Life) -> Result<(), String> {
        if self.random.chance(25) && !life.disk.is_dead() {
            self.note("clean shutdown");
            tokio::time::timeout(PATIENCE, life.handle.shutdown()).await.map_err(|_| "the shutdown does not end")?;
        }
        life.disk.crash();
        drop(life.handle);
        for work in life.background {
            tokio::time::timeout(PATIENCE, work).await.map_err(|_| "CHECKPOINT is never answered")?.ok();
        }
        Ok(())
    }
}

/// A table is created while the catalog's store refuses writes: the log has it, so it is acknowledged, shown, and there
/// after a restart; nothing more is accepted until then.
pub async fn store_refuses_a_definition() -> Result<(), String> {
    let mut one = Simulation::new(1, false);
    let disk = Disk::new(Image::default(), Plan::default(), Random::new(1));
    let said = |e: SqlError| e.to_string();
    let first = Life::new(one.start(&disk).await.map_err(said)?, &disk, true);
    disk.fail(Fault::Broken(At(Place::Store, 1)));
    first.query("CREATE TABLE t0 (k bigint)").await.map_err(said)?;
    first.query("SELECT * FROM t0").await.map_err(said)?;
    let refused = first.query("INSERT INTO t0 VALUES (1)").await.err().map(|e| e.code);
    if refused != Some(SqlState::IO_ERROR) {
        return Err(format!("a write after it: {refused:?}"));
    }
    let disk = Disk::new(disk.crash(), Plan::default(), Random::new(2));
    let second = Life::new(one.start(&disk).await.map_err(said)?, &disk, true);
    second.query("INSERT INTO t0 VALUES (1)").await.map_err(said)?;
    match second.query("SELECT * FROM t0").await.map_err(said)?.len() {
        1 => Ok(()),
        n => Err(format!("{n} rows")),
    }
}

/// While the mark of the first subscriber is not durable, no other one is shown anything: after a crash nobody could come
/// back to it.
pub async fn a_second_subscriber_comes_first() -> Result<(), String> {
    let mut one = Simulation::new(1, false);
    let disk = Disk::new(Image::default(), Plan::default(), Random::new(1));
    let said = |e: SqlError| e.to_string();
    let life = Arc::new(Life::new(one.start(&disk).await.map_err(said)?, &disk, false));
    life.query("CREATE TABLE t0 (k bigint)").await.map_err(said)?;
    life.query("INSERT INTO t0 VALUES (1)").await.map_err(said)?;
    disk.hold_syncs(true);
    let subscribe = || {
        let life = life.clone();
        tokio::spawn(async move { first_time(&mut life.session(), "SUBSCRIBE t0").await })
    };
    let mut subscribers = vec![];
    for _ in 0..3 {
        subscribers.push(subscribe());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let early = subscribers.iter().position(|s| s.is_finished());
    disk.hold_syncs(false);
    for subscriber in subscribers {
        subscriber.await.map_err(|e| e.to_string())?.map_err(said)?;
    }
    early.map_or(Ok(()), |n| Err(format!("subscriber {n} was shown something before the mark was durable")))
}
