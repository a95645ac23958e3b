//! Incremental equals batch: random ticks with retractions through views, 1, 2 and 4 workers, compared at every tick
//! with a recomputation, by the published snapshot and by a subscription. Catches state that retractions do not undo,
//! rows on the wrong worker, times handed over twice. With restarts: state is taken now and then, and another engine, with
//! another number of workers, goes on from it and the ticks since; some views are then computed anew, and correct what was
//! shown of them, or of another view, under views that go on.

mod delta;
mod disk;
mod errors;
mod lent;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use disk::Disk;
use hw_dataflow::{
    Correction, Engine, EngineConfig, FlowKind, FlowSpec, Layout, OperatorStats, SubscribeMsg, SubscribeSink,
    SubscriptionId,
};
use hw_plan::{Aggregate, AggregateFunc, FlowPlan, Func, ScalarExpr, SetCall};
use hw_repr::{Column, Datum, GlobalId, PublishedRelation, RelationDesc, SqlType, UpdateBatch};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Rows = BTreeMap<Vec<Option<i64>>, i64>;

fn desc(n: usize) -> RelationDesc {
    RelationDesc::new((0..n).map(|i| Column { name: format!("c{i}"), ty: SqlType::Int8, nullable: true }).collect())
}

/// What a run is made of.
#[derive(Clone, Copy, Debug)]
struct Shape {
    workers: usize,
    /// Nothing is retracted, and the plans know.
    append_only: bool,
    restarts: bool,
    seed: u64,
}

fn get(id: u32, append_only: bool) -> FlowPlan {
    let desc = RelationDesc { append_only, ..desc(2) };
    FlowPlan::Get { id: GlobalId(id), name: format!("t{id}"), desc, columns: vec![0, 1] }
}

fn agg(func: AggregateFunc, arg: Option<usize>, distinct: bool) -> Aggregate {
    Aggregate::new(func, arg, distinct, None, SqlType::Int8)
}

fn reduce(group: Vec<usize>, append_only: bool) -> FlowPlan {
    let aggregates = vec![
        agg(AggregateFunc::Count, None, false),
        Aggregate { ty: SqlType::Int8, ..agg(AggregateFunc::Sum, Some(1), false) },
        agg(AggregateFunc::Min, Some(1), false),
        agg(AggregateFunc::Max, Some(1), false),
        agg(AggregateFunc::Count, Some(1), true),
    ];
    reduce_of(get(1, append_only), group, aggregates)
}

fn reduce_of(input: FlowPlan, group: Vec<usize>, aggregates: Vec<Aggregate>) -> FlowPlan {
    FlowPlan::Reduce { input: Box::new(input), group, aggregates, names: vec![] }
}

fn plans(append_only: bool) -> Vec<(FlowPlan, usize)> {
    let get = |id| get(id, append_only);
    let join = |null_safe| FlowPlan::Join {
        left: Box::new(get(1)),
        right: Box::new(get(2)),
        on: vec![(0, 1)],
        null_safe: vec![null_safe],
    };
    let except = FlowPlan::Union { inputs: vec![get(1), FlowPlan::Negate { input: Box::new(get(2)) }] };
    let FlowPlan::Reduce { aggregates, .. } = reduce(vec![], append_only) else { unreachable!() };
    let of_join = reduce_of(join(false), vec![2], aggregates);
    let of_distinct = FlowPlan::Join {
        left: Box::new(FlowPlan::Distinct { input: Box::new(get(1)) }),
        right: Box::new(FlowPlan::Distinct { input: Box::new(except.clone()) }),
        on: vec![(0, 1)],
        null_safe: vec![false],
    };
    let view = |i: u32, arity| FlowPlan::Get {
        id: GlobalId(FIRST_VIEW + i),
        name: "v".into(),
        desc: desc(arity),
        columns: (0..arity).collect(),
    };
    let FlowPlan::Reduce { aggregates, .. } = reduce(vec![], append_only) else { unreachable!() };
    let of_view = reduce_of(view(2, 6), vec![1], aggregates);
    let view_join = FlowPlan::Join {
        left: Box::new(view(0, 6)),
        right: Box::new(get(2)),
        on: vec![(0, 1)],
        null_safe: vec![false],
    };
    // Placed by a column that is equal to that of the key.
    let of_key = FlowPlan::Mfp {
        input: Box::new(of_distinct.clone()),
        filter: vec![],
        project: [1, 3, 2].map(|c| ScalarExpr::Column(c, SqlType::Int8)).into(),
        names: ["a", "b", "c"].map(String::from).into(),
    };
    vec![
        (of_join, 6),
        (of_distinct, 4),
        (reduce(vec![0], append_only), 6),
        (reduce(vec![], append_only), 5),
        (join(false), 4),
        (join(true), 4),
        (FlowPlan::Distinct { input: Box::new(get(1)) }, 2),
        (except, 2),
        (of_view, 6),
        (view_join, 8),
        (sets(get(1), false), 5),
        (FlowPlan::Distinct { input: Box::new(sets(get(2), true)) }, 5),
        (of_key, 3),
    ]
}

/// `generate_series(c0, c1)` beside `generate_series(c1, c0, -2)`, with the numbers of their rows.
fn sets(input: FlowPlan, outer: bool) -> FlowPlan {
    let column = |c| ScalarExpr::Column(c, SqlType::Int8);
    let step = ScalarExpr::Literal(Datum::Int8(-2), SqlType::Int8);
    let call = |func, args| SetCall { func, args, types: vec![SqlType::Int8] };
    let calls = vec![
        call(Func::GenerateSeries, vec![column(0), column(1)]),
        call(Func::GenerateSeries, vec![column(1), column(0), step]),
        call(Func::SetOrdinality, vec![]),
    ];
    FlowPlan::FlatMap { input: Box::new(input), keep: vec![1, 0], calls, outer, names: vec![] }
}

/// What they mean for a row.
fn naive_sets(row: &[Option<i64>], outer: bool) -> Vec<Vec<Option<i64>>> {
    let (mut up, mut down): (Vec<i64>, Vec<i64>) = (vec![], vec![]);
    if let (Some(a), Some(b)) = (row[0], row[1]) {
        up = (a..=b).collect();
        down = (a..=b).rev().step_by(2).collect();
    }
    let count = up.len().max(down.len());
    let at = |i: usize| vec![row[1], row[0], up.get(i).copied(), down.get(i).copied(), Some(i as i64 + 1)];
    match count {
        0 if outer => vec![vec![row[1], row[0], None, None, None]],
        _ => (0..count).map(at).collect(),
    }
}

/// What a plan means.
fn naive(plan: &FlowPlan, tables: &[Rows; 2]) -> Rows {
    let mut out = Rows::new();
    match plan {
        FlowPlan::Get { id, .. } if id.0 >= FIRST_VIEW => {
            return naive(&plans(false)[(id.0 - FIRST_VIEW) as usize].0, tables);
        }
        FlowPlan::Get { id, .. } => return tables[id.0 as usize - 1].clone(),
        FlowPlan::FlatMap { input, outer, .. } => {
            for (row, d) in naive(input, tables) {
                naive_sets(&row, *outer).into_iter().for_each(|r| *out.entry(r).or_insert(0) += d);
            }
        }
        FlowPlan::Union { inputs } => {
            for input in inputs {
                naive(input, tables).into_iter().for_each(|(r, d)| *out.entry(r).or_insert(0) += d);
            }
        }
        FlowPlan::Negate { input } => naive(input, tables).into_iter().for_each(|(r, d)| {
            out.insert(r, -d);
        }),
        FlowPlan::Distinct { input } => naive(input, tables).into_iter().filter(|(_, d)| *d > 0).for_each(|(r, _)| {
            out.insert(r, 1);
        }),
        FlowPlan::Join { left, right, on, null_safe } => {
            let right = naive(right, tables);
            for (l, a) in naive(left, tables) {
                let same = on.iter().zip(null_safe);
                let matches =
                    |r: &[Option<i64>]| same.clone().all(|((i, j), safe)| l[*i] == r[*j] && (*safe || l[*i].is_some()));
                for (r, b) in right.iter().filter(|(r, _)| matches(r)) {
                    *out.entry(l.iter().chain(r).copied().collect()).or_insert(0) += a * b;
                }
            }
        }
        FlowPlan::Reduce { input, group, .. } => {
            let mut groups: BTreeMap<Vec<Option<i64>>, Rows> = BTreeMap::new();
            if group.is_empty() {
                groups.insert(vec![], Rows::new());
            }
            for (r, d) in naive(input, tables) {
                groups.entry(group.iter().map(|g| r[*g]).collect()).or_default().insert(r, d);
            }
            for (mut key, rows) in groups {
                let values: Vec<(i64, i64)> = rows.iter().filter_map(|(r, d)| Some((r[1]?, *d))).collect();
                let mut distinct: Vec<i64> = values.iter().map(|v| v.0).collect();
                distinct.sort_unstable();
                distinct.dedup();
                key.push(Some(rows.values().sum()));
                key.push((!values.is_empty()).then(|| values.iter().map(|v| v.0 * v.1).sum()));
                key.push(distinct.first().copied());
                key.push(distinct.last().copied());
                key.push(Some(distinct.len() as i64));
                out.insert(key, 1);
            }
        }
        FlowPlan::Mfp { input, filter, project, .. } => {
            // Columns, and those of the rows that have no NULL in the first.
            let column = |e: &ScalarExpr| e.columns()[0];
            for (r, d) in naive(input, tables).into_iter().filter(|(r, _)| filter.is_empty() || r[0].is_some()) {
                *out.entry(project.iter().map(|e| r[column(e)]).collect()).or_insert(0) += d;
            }
        }
        other => panic!("no naive {other:?}"),
    }
    out.retain(|_, d| *d != 0);
    out
}

fn batch(rows: &[(Vec<Option<i64>>, i64)], time: u64) -> UpdateBatch {
    let column = |c: usize| -> ArrayRef { Arc::new(rows.iter().map(|r| r.0[c]).collect::<Int64Array>()) };
    let diffs: Int64Array = rows.iter().map(|r| r.1).collect::<Vec<_>>().into();
    let rows = RecordBatch::try_new(desc(2).schema(), vec![column(0), column(1)]).expect("two columns");
    UpdateBatch { rows, diffs: Some(Arc::new(diffs)), time }
}

fn row(columns: &[ArrayRef], i: usize) -> Vec<Option<i64>> {
    let value = |c: &ArrayRef| (!c.is_null(i)).then(|| c.as_primitive::<Int64Type>().value(i));
    columns.iter().map(value).collect()
}

fn read(published: &PublishedRelation, arity: usize, at: u64) -> Rows {
    let layout = Layout::served(&vec![SqlType::Int8; arity], &published.key);
    let mut out = Rows::new();
    for (worker, shard) in published.shards.iter().enumerate() {
        let mut mine = Rows::new();
        for view in shard.runs.iter().flatten() {
            for i in (view.lo..view.hi).filter(|i| view.body.times.get(*i) <= at) {
                let columns = layout.decode(&mut std::iter::once(view.body.row(i))).expect("rows of this layout");
                *mine.entry(row(&columns, 0)).or_insert(0) += view.body.diffs.get(i);
            }
        }
        for (row, diff) in mine.into_iter().filter(|(_, d)| *d != 0) {
            let other = out.insert(row, diff);
            assert!(other.is_none(), "a row of worker {worker} is on another one too");
        }
    }
    out
}

fn wait(engine: &Engine, flow: u32, passed: u64) {
    let start = Instant::now();
    while engine.frontier(GlobalId(flow)) <= passed {
        assert!(start.elapsed() < Duration::from_secs(20), "flow {flow} stays at {}", engine.frontier(GlobalId(flow)));
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn spec(id: u32, kind: FlowKind, as_of: u64) -> FlowSpec {
    FlowSpec {
        id: GlobalId(id),
        name: format!("f{id}"),
        kind,
        inputs: vec![],
        as_of,
        fingerprint: 0,
        restored: None,
        corrects: None,
        dead_letter: false,
    }
}

/// A small generator, so that a failure repeats.
struct Random(u64);
impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Changes of a table.
type Changes = Vec<(Vec<Option<i64>>, i64)>;
/// Changes of each tick, by table.
type Ticks = Vec<[Changes; 2]>;

/// An engine and those who follow its views.
struct Running {
    engine: Engine,
    followed: Vec<(crossbeam_channel::Receiver<SubscribeMsg>, Rows)>,
    subscriptions: Vec<SubscriptionId>,
}

const FIRST_VIEW: u32 = 10;

thread_local! {
    /// Which views of a run are kept by all of their columns, bit by bit; the others are by the first one.
    static BY_ALL: Cell<u64> = const { Cell::new(0) };
}

/// By what a view is kept. Those that show each other's contents are by the same.
fn key(i: usize) -> Vec<usize> {
    if BY_ALL.get() >> (i / 2) & 1 == 1 { vec![] } else { vec![0] }
}

impl Running {
    /// Begins with what is on disk, where something is; but the views of `anew`, bit by bit, are computed anew, and
    /// correct at a time what was shown.
    fn start(workers: usize, plans: &[(FlowPlan, usize)], disk: Option<&Disk>, anew: (u64, u64)) -> Running {
        Running::start_with(workers, plans, disk, anew, |_| {})
    }

    /// The same; `before` is done when there are tables, and no views.
    fn start_with(
        workers: usize,
        plans: &[(FlowPlan, usize)],
        disk: Option<&Disk>,
        anew: (u64, u64),
        before: impl FnOnce(&Engine),
    ) -> Running {
        let engine = Engine::start(EngineConfig { workers, ..EngineConfig::default() }).expect("workers start");
        let restored = |id| disk.map(|d| d.restored(id));
        for id in [1, 2] {
            let table = spec(id, FlowKind::Table { desc: desc(2), key: vec![1] }, 0);
            engine.install(FlowSpec { restored: restored(id), ..table }).expect("a table");
        }
        before(&engine);
        let (mut followed, mut subscriptions) = (vec![], vec![]);
        for (i, (plan, arity)) in plans.iter().enumerate() {
            let id = FIRST_VIEW + i as u32;
            let view = spec(id, FlowKind::View { plan: plan.clone(), desc: desc(*arity), key: key(i) }, 0);
            let spec = match disk.filter(|_| anew.1 >> i & 1 == 1) {
                Some(disk) => {
                    // What was shown of another view of as many columns, where no view goes on from it.
                    let shown = if (4..8).contains(&i) { id ^ 1 } else { id };
                    let correction = Correction { shown: disk.restored(shown), at: anew.0 };
                    FlowSpec { corrects: Some(correction), as_of: anew.0, ..view }
                }
                None => FlowSpec { restored: restored(id), ..view },
            };
            engine.install(spec).expect("a view");
            let (sink, from) = SubscribeSink::channel(10_000);
            let from_tick = disk.map_or(0, |d| d.tick);
            subscriptions.push(engine.subscribe(GlobalId(id), from_tick, true, sink).expect("a subscription"));
            followed.push((from, Rows::new()));
        }
        Running { engine, followed, subscriptions }
    }

    fn tick(&self, tick: u64, changes: &[Changes; 2]) {
        for (t, changes) in changes.iter().enumerate() {
            let parts = changes.chunks(7).map(|c| batch(c, tick)).collect();
            self.engine.send(GlobalId(t as u32 + 1), GlobalId(t as u32 + 1), parts).expect("changes at the tick");
        }
        self.engine.tick(tick + 1, &[GlobalId(1), GlobalId(2)]);
    }

    /// What is shown and what was sent is what the plans mean.
    fn check(&mut self, tick: u64, plans: &[(FlowPlan, usize)], tables: &[Rows; 2], shape: Shape) {
        for (i, (plan, arity)) in plans.iter().enumerate() {
            let id = FIRST_VIEW + i as u32;
            wait(&self.engine, id, tick);
            let expected = naive(plan, tables);
            let published = self.engine.published(GlobalId(id)).expect("installed");
            assert_eq!(read(&published, *arity, tick), expected, "plan {i}, tick {tick}, {shape:?}");
            let (from, contents) = &mut self.followed[i];
            loop {
                match from.recv_timeout(Duration::from_secs(20)).expect("progress") {
                    SubscribeMsg::Updates { batch } => {
                        for part in batch.iter() {
                            for r in 0..part.len() {
                                *contents.entry(row(part.rows.columns(), r)).or_insert(0) += part.diff(r);
                            }
                        }
                    }
                    SubscribeMsg::Progress(upper) if upper > tick => break,
                    SubscribeMsg::Progress(_) => {}
                    SubscribeMsg::Failed(_, e) => panic!("{e:?}"),
                    SubscribeMsg::Error(e) => panic!("{e}"),
                }
            }
            contents.retain(|_, d| *d != 0);
            assert_eq!(*contents, expected, "subscription to plan {i}, tick {tick}, {shape:?}");
        }
    }
}

/// Random changes of a table, which it takes.
fn change(table: &mut Rows, random: &mut Random, append_only: bool) -> Changes {
    let mut changes = vec![];
    for _ in 0..random.below(30) {
        let value = |n: u64| (n > 0).then_some(n as i64 - 4);
        let fresh = vec![value(random.below(6)), value(random.below(9))];
        let old = table.keys().nth(random.below(40) as usize).cloned();
        let (row, diff) = match old.filter(|_| random.below(2) == 0 && !append_only) {
            Some(row) => (row, -1),
            None => (fresh, 1),
        };
        let count = table.entry(row.clone()).or_insert(0);
        *count += diff;
        if *count == 0 {
            table.remove(&row);
        }
        changes.push((row, diff));
    }
    changes
}

fn run(shape: Shape) {
    let Shape { workers, append_only, restarts, seed } = shape;
    let plans = plans(append_only);
    BY_ALL.set(seed);
    let flows: Vec<u32> = [1, 2].into_iter().chain((0..plans.len() as u32).map(|i| FIRST_VIEW + i)).collect();
    let mut running = Running::start(workers, &plans, None, (0, 0));
    let mut random = Random(seed);
    let mut tables = [Rows::new(), Rows::new()];
    let (mut disk, mut since_disk, mut most): (Option<Disk>, Ticks, usize) = (None, vec![], 0);
    for tick in 1..40u64 {
        let mut changes = tables.each_mut().map(|table| change(table, &mut random, append_only));
        if !append_only && random.below(8) == 0 {
            // All of it goes, and groups with it.
            for (table, changes) in tables.iter_mut().zip(&mut changes) {
                changes.extend(std::mem::take(table).into_iter().map(|(row, n)| (row, -n)));
            }
        }
        running.tick(tick, &changes);
        since_disk.push(changes);
        running.check(tick, &plans, &tables, shape);
        if tick % 10 == 0 {
            flows.iter().for_each(|id| running.engine.allow_compaction(GlobalId(*id), tick));
        }
        if restarts && random.below(3) == 0 {
            let disk = disk.get_or_insert_default();
            disk.take(&running.engine, &flows, tick);
            most = most.max(disk.entries(FIRST_VIEW + 2));
            since_disk.clear();
        }
        if let Some(disk) = disk.as_ref().filter(|_| random.below(4) == 0) {
            running.engine.shutdown();
            let workers = [1, 2, 4][random.below(3) as usize];
            // A correction needs a tick that the disk does not have.
            let mut some = || random.below(1 << plans.len());
            let anew = if since_disk.is_empty() { 0 } else { some() & some() };
            running = Running::start(workers, &plans, Some(disk), (tick, anew));
            for (i, changes) in since_disk.iter().enumerate() {
                running.tick(disk.tick + 1 + i as u64, changes);
            }
            running.check(tick, &plans, &tables, shape);
        }
    }
    assert!(!restarts || most > 0, "nothing was taken");
    late_view(&running.engine, &plans[2].0, &tables);
    running.engine.shutdown();
}

/// A view created later sees the contents as of its as_of.
fn late_view(engine: &Engine, plan: &FlowPlan, tables: &[Rows; 2]) {
    let on = FlowPlan::Get { id: GlobalId(FIRST_VIEW + 2), name: "v".into(), desc: desc(6), columns: (0..6).collect() };
    engine.install(spec(50, FlowKind::View { plan: on, desc: desc(6), key: vec![0] }, 39)).expect("a view of a view");
    wait(engine, 50, 39);
    let published = engine.published(GlobalId(50)).expect("installed");
    assert_eq!(read(&published, 6, 39), naive(plan, tables));
}

/// Rows that the groupings of the first view hold.
fn grouped(engine: &Engine) -> u64 {
    let mine = |o: &&OperatorStats| o.flow.0 == FIRST_VIEW && o.operator == "reduce";
    engine.operators().iter().filter(mine).map(|o| o.rows).sum()
}

#[test]
fn what_operators_hold_is_shown_after_a_restart() {
    let plans = [(reduce(vec![0], false), 6)];
    let row = |i, diff| (vec![Some(i), Some(i)], diff);
    let all = |diff| [(0..5000).map(|i| row(i, diff)).collect(), vec![]];
    let mut running = Running::start(2, &plans, None, (0, 0));
    running.tick(1, &all(1));
    wait(&running.engine, FIRST_VIEW, 1);
    let mut disk = Disk::default();
    disk.take(&running.engine, &[1, 2, FIRST_VIEW], 1);
    let shows = |engine: &Engine, rows: u64| {
        let start = Instant::now();
        while grouped(engine) != rows {
            assert!(start.elapsed() < Duration::from_secs(20), "{} rows instead of {rows}", grouped(engine));
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    // Nothing changes; all of it goes at once.
    for (deleted, left) in [(false, 5000), (true, 0)] {
        running.engine.shutdown();
        running = Running::start(2, &plans, Some(&disk), (0, 0));
        if deleted {
            running.tick(2, &all(-1));
            wait(&running.engine, FIRST_VIEW, 2);
        }
        shows(&running.engine, left);
    }
    running.engine.shutdown();
}

fn runs(workers: usize) {
    for append_only in [false, true] {
        (1..4).for_each(|seed| run(Shape { workers, append_only, restarts: false, seed: seed * 7919 }));
    }
}

#[test]
fn one_worker() {
    runs(1);
}

#[test]
fn two_workers() {
    runs(2);
}

#[test]
fn four_workers() {
    runs(4);
}

#[test]
fn restarts_with_other_numbers_of_workers() {
    for append_only in [false, true] {
        (1..9).for_each(|seed| run(Shape { workers: 1, append_only, restarts: true, seed: seed * 104_729 }));
    }
}
