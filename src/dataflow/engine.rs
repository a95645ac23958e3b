//! The engine as its owner sees it: commands in, atomics out.

mod lend;
mod takeover;

use crate::correct::Correction;
use crate::exchange::slice;
use crate::flow::{FlowKind, FlowShared, FlowSpec, OperatorStats};
use crate::layout::Layout;
use crate::render::validate;
use crate::state::{Request, Share};
use crate::subscribe::{SubscribeSink, Subscription, SubscriptionId};
use crate::worker::{Command, Link, run};
use crossbeam_channel::{Receiver, Sender, unbounded};
use hw_plan::placed::kept_apart;
use hw_repr::{GlobalId, PublishedRelation, RelationDesc, SqlError, SqlState, SqlType, Timestamp, UpdateBatch};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::thread::Thread;
use timely::WorkerConfig;
use timely::communication::{Config as Communication, WorkerGuards};

/// Rows from which on batches are shared by the workers row by row.
const SLICE_ROWS: usize = 1024;

/// Many rows in equal shares, with as few slices as that takes: what follows costs by the batch, too. Few ones batch by batch, from
/// worker `next` on.
fn share(workers: usize, next: &mut usize, batches: Vec<UpdateBatch>) -> Vec<Vec<UpdateBatch>> {
    let mut out: Vec<Vec<UpdateBatch>> = vec![vec![]; workers];
    let rows: usize = batches.iter().map(UpdateBatch::len).sum();
    let batches = batches.into_iter().filter(|b| !b.is_empty());
    if workers == 1 || rows < SLICE_ROWS {
        for batch in batches {
            out[*next % workers].push(batch);
            *next += 1;
        }
        return out;
    }
    let step = rows.div_ceil(workers);
    let mut given = 0;
    for batch in batches {
        let mut at = 0;
        while at < batch.len() {
            let len = (batch.len() - at).min(step - given % step);
            out[given / step].push(slice(&batch, at, len));
            (at, given) = (at + len, given + len);
        }
    }
    out
}

/// How to run.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Threads, 1 to 256.
    pub workers: usize,
    /// Views are computed, and their changes dropped instead of arranged; for benchmarks.
    pub discard_views: bool,
    /// Nothing is taken to be append-only; for benchmarks of the retractable forms.
    pub assume_retractions: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig { workers: 1, discard_views: false, assume_retractions: false }
    }
}

type Waker = Arc<dyn Fn() + Send + Sync>;

struct Entry {
    shared: Arc<FlowShared>,
    layout: Layout,
    desc: RelationDesc,
    inputs: HashMap<GlobalId, Vec<SqlType>>,
    /// What it reads, and whose arrangements its joins read.
    reads: BTreeSet<GlobalId>,
    users: usize,
    /// The relation that it is an index on.
    index_on: Option<GlobalId>,
    /// From then on it holds what its relation does: what is computed anew shows something else before.
    exact_from: Timestamp,
    /// DROP came, users are left.
    dropped: bool,
    since: Timestamp,
    upper: Timestamp,
}

#[derive(Default)]
struct Flows {
    entries: HashMap<GlobalId, Entry>,
    subscriptions: HashMap<SubscriptionId, GlobalId>,
    next_worker: usize,
}

impl Flows {
    /// Refuses to read a flow from `begin` on that is not there, or has forgotten it.
    fn check_readable(&self, id: GlobalId, begin: Timestamp) -> Result<(), SqlError> {
        let entry = self.entries.get(&id).filter(|e| !e.dropped).ok_or_else(|| not_there(id))?;
        if entry.since > begin {
            let since = entry.since;
            return Err(SqlError::internal(format!("dataflow {id} cannot be read at {begin}, only from {since} on")));
        }
        Ok(())
    }
}

/// The workers and what is installed in them. Calls return before the workers have acted.
pub struct Engine {
    senders: Vec<Sender<Command>>,
    threads: Vec<Thread>,
    guards: Mutex<Option<WorkerGuards<()>>>,
    flows: Mutex<Flows>,
    waker: Arc<RwLock<Option<Waker>>>,
    next_subscription: AtomicU64,
    assume_retractions: bool,
}

/// Aborts the process when its thread panics: crash over corrupt.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a worker panicked; the process ends");
            std::process::abort();
        }
    }
}

/// Switches this process's transparent huge pages off. Merging arrangements frees and takes buffers of some MiB all the
/// time, and with pages of 2 MiB the kernel clears whole ones for a part of a buffer: twice the CPU and a fifth more
/// memory on a join with wide rows (docs/adr/0005-pages.md).
fn prefer_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(e) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(error = %e, "transparent huge pages stay as they are");
    }
}

impl Engine {
    /// Starts the workers.
    pub fn start(config: EngineConfig) -> Result<Engine, SqlError> {
        prefer_small_pages();
        if !(1..=256).contains(&config.workers) {
            return Err(SqlError::new(SqlState::INVALID_PARAMETER, "the number of workers must be between 1 and 256"));
        }
        let assume_retractions = config.assume_retractions;
        let waker: Arc<RwLock<Option<Waker>>> = Arc::default();
        let (mut senders, mut links) = (vec![], vec![]);
        for _ in 0..config.workers {
            let (to, commands) = unbounded();
            let waker = waker.clone();
            let wake = Arc::new(move || {
                let waker = waker.read().unwrap_or_else(|e| e.into_inner()).clone();
                if let Some(wake) = waker {
                    wake();
                }
            });
            senders.push(to);
            links.push(Mutex::new(Some(Link { commands, wake, config: config.clone() })));
        }
        let (up, started) = unbounded();
        let up = Mutex::new(up);
        let communication =
            if config.workers == 1 { Communication::Thread } else { Communication::Process(config.workers) };
        let guards =
            timely::execute(timely::Config { communication, worker: WorkerConfig::default() }, move |worker| {
                let _abort = AbortOnPanic;
                let link = links[worker.index()].lock().ok().and_then(|mut l| l.take());
                let _ = up.lock().map(|up| up.send((worker.index(), std::thread::current())));
                if let Some(link) = link {
                    run(worker, link);
                }
            });
        let guards = guards.map_err(|e| SqlError::internal(format!("the workers did not start: {e}")))?;
        let mut threads: Vec<(usize, Thread)> = started.iter().take(config.workers).collect();
        threads.sort_by_key(|t| t.0);
        Ok(Engine {
            senders,
            threads: threads.into_iter().map(|t| t.1).collect(),
            guards: Mutex::new(Some(guards)),
            flows: Mutex::default(),
            waker,
            next_subscription: AtomicU64::new(1),
            assume_retractions,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Flows> {
        self.flows.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The same command to all, under the lock of the flows so that all see one order.
    fn broadcast(&self, order: &Flows, command: Command) {
        self.leave(order, command);
        self.wake();
    }

    /// As [`Engine::broadcast`], for what can wait until the workers are awake anyway: waking costs more than most
    /// commands.
    fn leave(&self, _order: &Flows, command: Command) {
        for sender in &self.senders {
            let _ = sender.send(command.clone());
        }
    }

    /// Called from a worker's thread whenever a frontier or a publication moved. Must not block.
    pub fn set_waker(&self, waker: Arc<dyn Fn() + Send + Sync>) {
        *self.waker.write().unwrap_or_else(|e| e.into_inner()) = Some(waker);
    }

    /// Number of workers.
    pub fn workers(&self) -> usize {
        self.senders.len()
    }

    /// See [`EngineConfig::assume_retractions`].
    pub fn assumes_retractions(&self) -> bool {
        self.assume_retractions
    }

    /// Installs a dataflow. What it reads must be installed and readable at its as_of.
    pub fn install(&self, spec: FlowSpec) -> Result<(), SqlError> {
        let mut flows = self.lock();
        if flows.entries.contains_key(&spec.id) {
            return Err(SqlError::internal(format!("dataflow {} is installed already", spec.id)));
        }
        let mut inputs: HashMap<GlobalId, Vec<SqlType>> = spec.inputs.iter().map(|(id, d)| (*id, d.types())).collect();
        let mut reads = BTreeSet::new();
        let (desc, key) = match &spec.kind {
            FlowKind::Table { desc, key } => {
                inputs.insert(spec.id, desc.types());
                (desc.clone(), key.clone())
            }
            FlowKind::View { plan, desc, key } => {
                validate(plan)?;
                plan.for_each_get(&mut |id, _| {
                    reads.insert(id);
                });
                let same = plan.types().iter().map(SqlType::arrow).eq(desc.types().iter().map(SqlType::arrow));
                if !same {
                    return Err(SqlError::internal("the plan does not have the columns of its description"));
                }
                (desc.clone(), key.clone())
            }
            FlowKind::Index { on, columns } => {
                reads.insert(*on);
                let desc = flows.entries.get(on).map(|e| e.desc.clone()).ok_or_else(|| not_there(*on))?;
                (desc, columns.clone())
            }
        };
        reads.retain(|id| !inputs.contains_key(id));
        // What was restored needs the changes from then on.
        let begin = spec.restored.as_ref().map_or(spec.as_of, |r| r.upper);
        reads.iter().try_for_each(|id| flows.check_readable(*id, begin))?;
        spec.corrects.as_ref().map_or(Ok(()), Correction::check)?;
        let key = if key.is_empty() { (0..desc.arity()).collect() } else { key };
        if key.iter().any(|k| *k >= desc.arity()) {
            return Err(SqlError::internal("a key column that the relation does not have"));
        }
        let layout = self.layout(&spec.kind, &desc.types(), &key);
        let lenders = self.lenders(&flows, &spec, &reads);
        reads.extend(lenders.values().copied());
        let shared = Arc::new(FlowShared::new(&spec, key, layout.order(), lenders, self.workers()));
        for id in &reads {
            if let Some(entry) = flows.entries.get_mut(id) {
                entry.users += 1;
            }
        }
        let id = spec.id;
        let (since, upper) = spec.bounds();
        let entry = Entry {
            shared: shared.clone(),
            layout: layout.clone(),
            desc,
            inputs,
            reads,
            users: 0,
            index_on: match spec.kind {
                FlowKind::Index { on, .. } => Some(on),
                _ => None,
            },
            exact_from: spec.corrects.as_ref().map_or(0, |c| c.at),
            dropped: false,
            since,
            upper,
        };
        flows.entries.insert(id, entry);
        self.broadcast(&flows, Command::Install(Arc::new(spec), shared, layout));
        Ok(())
    }

    /// How a flow is served that is kept by a key.
    fn layout(&self, kind: &FlowKind, types: &[SqlType], key: &[usize]) -> Layout {
        let apart = match kind {
            FlowKind::View { plan, .. } => kept_apart(plan, types, key, self.assume_retractions),
            _ => None,
        };
        Layout::served(types, key).kept_apart(types, apart)
    }

    /// Changes for an input of a flow, at or after the time it was advanced to. Workers that sleep take them up when the
    /// flow is advanced, or with [`Engine::wake`].
    pub fn send(&self, flow: GlobalId, input: GlobalId, batches: Vec<UpdateBatch>) -> Result<(), SqlError> {
        let mut flows = self.lock();
        let entry = flows.entries.get(&flow).ok_or_else(|| not_there(flow))?;
        let types = entry
            .inputs
            .get(&input)
            .ok_or_else(|| SqlError::internal(format!("dataflow {flow} has no input {input}")))?;
        for batch in &batches {
            if batch.time < entry.upper {
                return Err(SqlError::internal(format!(
                    "changes at {} for dataflow {flow}, which was advanced to {}",
                    batch.time, entry.upper
                )));
            }
            let schema = batch.rows.schema();
            if !schema.fields().iter().map(|f| f.data_type().clone()).eq(types.iter().map(SqlType::arrow)) {
                return Err(SqlError::internal(format!("a batch for {input} does not have its columns: {schema}")));
            }
        }
        for (worker, batches) in share(self.workers(), &mut flows.next_worker, batches).into_iter().enumerate() {
            if !batches.is_empty() {
                let _ = self.senders[worker].send(Command::Send(flow, input, batches));
            }
        }
        Ok(())
    }

    /// Workers that sleep take up what was left for them.
    pub fn wake(&self) {
        self.threads.iter().for_each(Thread::unpark);
    }

    /// All inputs of a flow: no change below `to` will follow. Earlier times are ignored.
    pub fn advance(&self, flow: GlobalId, to: Timestamp) {
        self.tick(to, &[flow]);
    }

    /// Advances several flows at once.
    pub fn tick(&self, upper: Timestamp, flows: &[GlobalId]) {
        let mut locked = self.lock();
        let mut moved = vec![];
        for id in flows {
            if let Some(entry) = locked.entries.get_mut(id).filter(|e| !e.inputs.is_empty() && e.upper < upper) {
                entry.upper = upper;
                moved.push(*id);
            }
        }
        if !moved.is_empty() {
            self.broadcast(&locked, Command::Advance(moved.into(), upper));
        }
    }

    /// Drops a flow: now, or with its last user.
    pub fn drop_flow(&self, flow: GlobalId) {
        let mut flows = self.lock();
        if let Some(entry) = flows.entries.get_mut(&flow) {
            entry.dropped = true;
        }
        let mut todo = vec![flow];
        while let Some(id) = todo.pop() {
            match flows.entries.get(&id) {
                Some(entry) if entry.dropped && entry.users == 0 => {}
                Some(entry) if entry.dropped => {
                    // Its users say from now on what it keeps.
                    self.broadcast(&flows, Command::Retire(id));
                    continue;
                }
                _ => continue,
            }
            if let Some(entry) = flows.entries.remove(&id) {
                self.broadcast(&flows, Command::Drop(id));
                for read in entry.reads {
                    if let Some(entry) = flows.entries.get_mut(&read) {
                        entry.users -= 1;
                    }
                    todo.push(read);
                }
            }
        }
    }

    /// True while a flow is there and not dropped.
    pub fn is_installed(&self, flow: GlobalId) -> bool {
        self.lock().entries.get(&flow).is_some_and(|e| !e.dropped)
    }

    fn shared(&self, flow: GlobalId) -> Option<Arc<FlowShared>> {
        self.lock().entries.get(&flow).map(|e| e.shared.clone())
    }

    /// Times from here on can be read. 0 for an unknown flow.
    pub fn since(&self, flow: GlobalId) -> Timestamp {
        self.lock().entries.get(&flow).map_or(0, |e| e.since)
    }

    /// Changes below this time are complete and shown on all workers. 0 for an unknown flow.
    pub fn frontier(&self, flow: GlobalId) -> Timestamp {
        self.shared(flow).map_or(0, |s| s.frontier())
    }

    /// The newest contents of a flow; none where it is dropped.
    pub fn published(&self, flow: GlobalId) -> Option<Arc<PublishedRelation>> {
        self.shared(flow).filter(|_| self.is_installed(flow)).map(|s| Arc::new(s.published()))
    }

    /// By which columns its contents are placed, where they are not by their key; see [`Restored::apart`].
    pub fn apart(&self, flow: GlobalId) -> Option<Vec<usize>> {
        self.lock().entries.get(&flow)?.layout.apart().map(<[usize]>::to_vec)
    }

    /// The newest errors of a flow: see [`crate::ViewError::decode`].
    pub fn published_errors(&self, flow: GlobalId) -> Option<Arc<PublishedRelation>> {
        self.shared(flow).filter(|_| self.is_installed(flow)).map(|s| Arc::new(s.published_errors()))
    }

    /// Reads of a flow below `since` are over. Does not wake workers that sleep.
    pub fn allow_compaction(&self, flow: GlobalId, since: Timestamp) {
        let mut flows = self.lock();
        if let Some(entry) = flows.entries.get_mut(&flow).filter(|e| e.since < since) {
            entry.since = since;
            self.leave(&flows, Command::AllowCompaction(flow, since));
        }
    }

    /// Follows a flow from `as_of` on: the contents then, if `snapshot`, and every later change. It ends where a row fails,
    /// unless such rows are left out.
    pub fn subscribe(
        &self,
        flow: GlobalId,
        as_of: Timestamp,
        snapshot: bool,
        sink: SubscribeSink,
    ) -> Result<SubscriptionId, SqlError> {
        let mut flows = self.lock();
        let entry = flows.entries.get_mut(&flow).ok_or_else(|| not_there(flow))?;
        if as_of < entry.since {
            let message = format!("cannot read at {as_of}: history is kept from {} on", entry.since);
            return Err(SqlError::new(SqlState::INVALID_PARAMETER, message));
        }
        entry.users += 1;
        let id = SubscriptionId(self.next_subscription.fetch_add(1, Ordering::Relaxed));
        let fails = !entry.shared.dead_letter;
        let layout = entry.layout.clone();
        let subscription = Arc::new(Subscription::new(as_of, snapshot, fails, layout, sink, self.workers()));
        flows.subscriptions.insert(id, flow);
        self.broadcast(&flows, Command::Subscribe(id, flow, subscription));
        Ok(id)
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, id: SubscriptionId) {
        let mut flows = self.lock();
        let Some(flow) = flows.subscriptions.remove(&id) else { return };
        self.broadcast(&flows, Command::Unsubscribe(id));
        let last = flows.entries.get_mut(&flow).is_some_and(|e| {
            e.users -= 1;
            e.users == 0 && e.dropped
        });
        drop(flows);
        if last {
            self.drop_flow(flow);
        }
    }

    /// What every operator holds.
    pub fn operators(&self) -> Vec<OperatorStats> {
        self.lock().entries.values().flat_map(|e| e.shared.stats()).collect()
    }

    /// Rows and bytes of all arrangements and states of a flow.
    pub fn arranged(&self, flow: GlobalId) -> (usize, usize) {
        let stats = self.shared(flow).map(|s| s.stats()).unwrap_or_default();
        stats.iter().fold((0, 0), |sum, s| (sum.0 + s.rows as usize, sum.1 + s.bytes as usize))
    }

    /// Takes the state of flows, which have passed everything that was sent to them, for a checkpoint: all of an
    /// operator's entries where that is asked for, else what changed since they were taken last. Every worker gives its
    /// share, or goes away.
    pub fn take_state(&self, wanted: Vec<(GlobalId, bool)>) -> Receiver<Share> {
        let flows = self.lock();
        let (to, shares) = unbounded();
        self.broadcast(&flows, Command::TakeState(Request { flows: wanted.into(), to }));
        shares
    }

    /// Changes that have come to the joins and aggregates of a flow since the start: those of a view that goes on from a
    /// checkpoint are few.
    pub fn taken_in(&self, flow: GlobalId) -> u64 {
        self.shared(flow).map_or(0, |s| s.stats().iter().map(|o| o.taken_in).sum())
    }

    /// Every arrangement becomes one batch, with the next time that all are advanced to.
    pub fn compact(&self) {
        let flows = self.lock();
        self.broadcast(&flows, Command::Compact);
    }

    /// Ends the workers and waits for them.
    pub fn shutdown(&self) {
        let flows = self.lock();
        self.broadcast(&flows, Command::Shutdown);
        drop(flows);
        let guards = self.guards.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(guards) = guards {
            for result in guards.join() {
                if let Err(error) = result {
                    tracing::error!(%error, "a worker ended badly");
                }
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shutdown();
    }
}

fn not_there(flow: GlobalId) -> SqlError {
    SqlError::internal(format!("dataflow {flow} is not installed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    fn shares(workers: usize, next: &mut usize, sizes: &[usize]) -> Vec<Vec<Vec<i64>>> {
        let mut from = 0i64;
        let batches = sizes.iter().map(|size| {
            let values = from..from + *size as i64;
            from = values.end;
            let column = Arc::new(Int64Array::from_iter_values(values));
            let schema = crate::types::schema_of(&[SqlType::Int8]);
            let rows = crate::types::batch_of(&schema, vec![column], *size).expect("fits");
            UpdateBatch { rows, diffs: None, time: 1 }
        });
        let values = |batch: &UpdateBatch| batch.rows.column(0).as_primitive::<Int64Type>().values().to_vec();
        share(workers, next, batches.collect()).iter().map(|own| own.iter().map(values).collect()).collect()
    }

    #[test]
    fn many_rows_are_shared_equally_and_cut_where_a_share_ends() {
        let sizes: [&[usize]; 6] =
            [&[1024], &[10_000; 14], &[0, 5000, 0, 1, 1, 3000], &[1; 1500], &[1, 7000], &[1023, 2]];
        for (sizes, workers) in sizes.iter().flat_map(|s| [2, 3, 5, 256].map(|w| (*s, w))) {
            let rows: usize = sizes.iter().sum();
            let shares = shares(workers, &mut 0, sizes);
            let all: Vec<i64> = shares.iter().flatten().flatten().copied().collect();
            assert_eq!(all, (0..rows as i64).collect::<Vec<_>>(), "{sizes:?} {workers}");
            assert!(shares.iter().all(|own| own.iter().map(Vec::len).sum::<usize>() <= rows.div_ceil(workers)));
            assert!(shares.iter().flatten().all(|batch| !batch.is_empty()));
            assert!(shares.iter().map(Vec::len).sum::<usize>() <= sizes.len() + workers, "{sizes:?} {workers}");
        }
    }

    #[test]
    fn few_rows_go_batch_by_batch() {
        let mut next = 1;
        assert_eq!(shares(2, &mut next, &[2, 0, 1, 1]), [vec![vec![2]], vec![vec![0, 1], vec![3]]]);
        assert_eq!(next, 4);
        assert_eq!(shares(1, &mut 0, &[2000, 1]).concat().concat().len(), 2001);
    }
}
