//! Joins that read the served arrangements of tables and of indexes: indexes that come, go and are computed anew while views go
//! on, views that are created over tables that have changed, restarts with other indexes and another number of workers.
//! Catches pairs that are found twice or never where an arrangement has times of its own, rows of a lender that were let go of too
//! early, state that depends on who lent something.

use super::delta::{Plans, draw, tree};
use super::*;
use std::collections::BTreeSet;

/// Indexes that there may be: their ids, on which table, by which columns.
const INDEXES: [(u32, u32, &[usize]); 4] = [(3, 1, &[0]), (4, 2, &[0]), (5, 1, &[1, 0]), (6, 2, &[0, 1])];

fn index(at: usize, as_of: u64) -> FlowSpec {
    let (id, on, columns) = INDEXES[at];
    spec(id, FlowKind::Index { on: GlobalId(on), columns: columns.to_vec() }, as_of)
}

/// Three delta joins, and three binary ones.
fn plans(random: &mut Random) -> (Plans, Plans) {
    let (mut rendered, mut meant) = draw(3, random);
    for _ in 0..3 {
        let plan = tree(2, random);
        let arity = plan.types().len();
        rendered.push((plan.clone(), arity));
        meant.push((plan, arity));
    }
    (rendered, meant)
}

/// An engine with some indexes.
struct Lent {
    running: Running,
    indexes: BTreeSet<usize>,
}

impl Lent {
    fn start(
        workers: usize,
        rendered: &Plans,
        disk: Option<&Disk>,
        anew: (u64, u64),
        wanted: u64,
        random: &mut Random,
    ) -> Lent {
        let indexes: BTreeSet<usize> = (0..INDEXES.len()).filter(|i| wanted >> i & 1 == 1).collect();
        let running = Running::start_with(workers, rendered, disk, anew, |engine| {
            for at in &indexes {
                let id = INDEXES[*at].0;
                let new = index(*at, disk.map_or(0, |d| d.tick));
                let spec = match disk.filter(|d| d.has(id)) {
                    Some(disk) if anew.1 > 0 && random.below(3) == 0 => {
                        let correction = Correction { shown: disk.restored(id), at: anew.0 };
                        FlowSpec { corrects: Some(correction), as_of: anew.0, ..new }
                    }
                    Some(disk) => FlowSpec { restored: Some(disk.restored(id)), ..new },
                    None => new,
                };
                engine.install(spec).expect("an index");
            }
        });
        Lent { running, indexes }
    }

    /// Creates an index, or drops one.
    fn change_indexes(&mut self, tick: u64, random: &mut Random) {
        let at = random.below(INDEXES.len() as u64) as usize;
        let engine = &self.running.engine;
        if self.indexes.remove(&at) {
            engine.drop_flow(GlobalId(INDEXES[at].0));
            assert!(engine.published(GlobalId(INDEXES[at].0)).is_none());
        } else if engine.install(index(at, tick)).is_ok() {
            // Else views still have the one of that id that was dropped.
            self.indexes.insert(at);
        }
    }

    /// Drops a view and creates it again, as of `tick`.
    fn create_late(&mut self, i: usize, (plan, arity): &(FlowPlan, usize), tick: u64) {
        let (engine, id) = (&self.running.engine, FIRST_VIEW + i as u32);
        engine.unsubscribe(self.running.subscriptions[i]);
        engine.drop_flow(GlobalId(id));
        let view = FlowKind::View { plan: plan.clone(), desc: desc(*arity), key: key(i) };
        engine.install(spec(id, view, tick)).expect("a late view");
        let (sink, from) = SubscribeSink::channel(10_000);
        self.running.subscriptions[i] = engine.subscribe(GlobalId(id), tick, true, sink).expect("a subscription");
        self.running.followed[i] = (from, Rows::new());
    }

    fn flows(&self, views: usize) -> Vec<u32> {
        let indexes = self.indexes.iter().map(|at| INDEXES[*at].0);
        [1, 2].into_iter().chain(indexes).chain((0..views as u32).map(|i| FIRST_VIEW + i)).collect()
    }
}

fn run(workers: usize, restarts: bool, seed: u64) {
    let shape = Shape { workers, append_only: false, restarts, seed };
    BY_ALL.set(seed);
    let mut random = Random(seed);
    let (rendered, meant) = plans(&mut random);
    let wanted = random.below(16);
    let mut lent = Lent::start(workers, &rendered, None, (0, 0), wanted, &mut random);
    let mut tables = [Rows::new(), Rows::new()];
    let (mut disk, mut since_disk): (Option<Disk>, Ticks) = (None, vec![]);
    for tick in 1..30u64 {
        let mut changes = tables.each_mut().map(|table| {
            let mut changes = change(table, &mut random, false);
            while table.len() > 9 {
                let (row, n) = table.pop_first().expect("rows");
                changes.push((row, -n));
            }
            changes
        });
        if random.below(8) == 0 {
            for (table, changes) in tables.iter_mut().zip(&mut changes) {
                changes.extend(std::mem::take(table).into_iter().map(|(row, n)| (row, -n)));
            }
        }
        // What is created now may have to wait for the tick.
        let early = random.below(2) == 0;
        if !early {
            lent.running.tick(tick, &changes);
        }
        if random.below(3) == 0 {
            lent.change_indexes(tick, &mut random);
        }
        if random.below(3) == 0 {
            let i = random.below(meant.len() as u64) as usize;
            lent.create_late(i, &rendered[i], tick);
        }
        if early {
            lent.running.tick(tick, &changes);
        }
        since_disk.push(changes);
        if random.below(3) > 0 || tick == 29 {
            lent.running.check(tick, &meant, &tables, shape);
        } else {
            continue;
        }
        let flows = lent.flows(meant.len());
        flows.iter().for_each(|id| wait(&lent.running.engine, *id, tick));
        if tick % 5 == 0 {
            flows.iter().for_each(|id| lent.running.engine.allow_compaction(GlobalId(*id), tick));
            lent.running.engine.compact();
        }
        if restarts && random.below(3) == 0 {
            disk.get_or_insert_default().take(&lent.running.engine, &flows, tick);
            since_disk.clear();
        }
        if let Some(disk) = disk.as_ref().filter(|_| random.below(3) == 0) {
            lent.running.engine.shutdown();
            let workers = [1, 2, 4][random.below(3) as usize];
            let mut some = || random.below(1 << meant.len());
            let anew = if since_disk.is_empty() { 0 } else { some() & some() & 0b1111 };
            let wanted = random.below(16);
            lent = Lent::start(workers, &rendered, Some(disk), (tick, anew), wanted, &mut random);
            for (i, changes) in since_disk.iter().enumerate() {
                lent.running.tick(disk.tick + 1 + i as u64, changes);
            }
            lent.running.check(tick, &meant, &tables, shape);
        }
    }
    lent.running.engine.shutdown();
}

#[test]
fn lent_on_one_worker() {
    (1..17).for_each(|seed| run(1, false, seed * 7907));
}

#[test]
fn lent_on_several_workers() {
    (1..9).for_each(|seed| run(2, false, seed * 15_485_867));
    (1..7).for_each(|seed| run(4, false, seed * 32_452_867));
}

#[test]
fn lent_after_restarts() {
    (1..25).for_each(|seed| run(1 + (seed % 2) as usize, true, seed * 104_723));
}

/// `t1.c0 = t2.c1`, and `t1.c1 = t2.c0`.
fn two(on: (usize, usize)) -> FlowPlan {
    let (left, right) = (Box::new(get(1, false)), Box::new(get(2, false)));
    FlowPlan::Join { left, right, on: vec![on], null_safe: vec![false] }
}

/// Rows that the joins of a flow hold.
fn held(engine: &Engine, id: u32) -> u64 {
    let of_joins = |o: &hw_dataflow::OperatorStats| o.flow.0 == id && o.operator.contains("join");
    engine.operators().iter().filter(|o| of_joins(o)).map(|o| o.rows).sum()
}

#[test]
fn what_is_lent_is_held_once_and_as_long_as_it_is_read() {
    let engine = Engine::start(EngineConfig { workers: 2, ..EngineConfig::default() }).expect("workers start");
    for id in [1, 2] {
        engine.install(spec(id, FlowKind::Table { desc: desc(2), key: vec![1] }, 0)).expect("a table");
    }
    engine.install(index(0, 0)).expect("an index");
    let mut running = Running { engine, followed: vec![], subscriptions: vec![] };
    let row = |a, b| (vec![Some(a), Some(b)], 1);
    let mut tables = [Rows::new(), Rows::new()];
    let mut tick = |running: &Running, tick: u64| {
        let changes = [0, 1].map(|t| (0..20).map(|i| row(i % 7, i + (t + 100) * tick as i64)).collect::<Changes>());
        for (table, changes) in tables.iter_mut().zip(&changes) {
            changes.iter().for_each(|(row, d)| *table.entry(row.clone()).or_insert(0) += d);
        }
        running.tick(tick, &changes);
        tables.clone()
    };
    tick(&running, 1);
    // By the index and the table's own key; by the table's own key, and by what nobody keeps.
    let both = (two((0, 1)), 4);
    let one = (two((1, 0)), 4);
    for (i, (plan, arity)) in [&both, &one].into_iter().enumerate() {
        let view = FlowKind::View { plan: plan.clone(), desc: desc(*arity), key: vec![0] };
        running.engine.install(spec(FIRST_VIEW + i as u32, view, 1)).expect("a view");
        let (sink, from) = SubscribeSink::channel(10_000);
        let id = GlobalId(FIRST_VIEW + i as u32);
        running.subscriptions.push(running.engine.subscribe(id, 1, true, sink).expect("a subscription"));
        running.followed.push((from, Rows::new()));
    }
    let plans = vec![both, one];
    let shape = Shape { workers: 2, append_only: false, restarts: false, seed: 0 };
    let now = tick(&running, 2);
    running.check(2, &plans, &now, shape);
    assert_eq!((held(&running.engine, FIRST_VIEW), held(&running.engine, FIRST_VIEW + 1)), (0, 40));
    // The index is gone for everybody but the view.
    running.engine.drop_flow(GlobalId(3));
    assert!(!running.engine.is_installed(GlobalId(3)));
    for t in 3..40 {
        let now = tick(&running, t);
        [1, 2, FIRST_VIEW].iter().for_each(|id| running.engine.allow_compaction(GlobalId(*id), t - 1));
        running.check(t, &plans, &now, shape);
    }
    let of_index = |engine: &Engine| engine.operators().iter().filter(|o| o.flow.0 == 3).map(|o| o.rows).sum::<u64>();
    assert_eq!(of_index(&running.engine), 39 * 20);
    running.engine.unsubscribe(running.subscriptions[0]);
    running.engine.drop_flow(GlobalId(FIRST_VIEW));
    assert_eq!(of_index(&running.engine), 0);
    running.engine.install(index(0, 39)).expect("an index of the same id");
    running.engine.shutdown();
}
