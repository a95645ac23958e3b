//! Errors as data: rows that fail are rows of the error collection, there as long as the rows are, whatever the batching,
//! the number of workers and the restarts; they reach what reads the view unless it leaves them out; a subscription ends
//! at the tick at which the first one appears. Catches: errors that a retraction leaves behind, or that a restart or a
//! second use of the same view doubles; rows that are lost beside a failing one; a subscription that ends too late.

use super::disk::Disk;
use super::{Changes, Random, Rows, batch, change, desc, get, read, row, spec, wait};
use hw_dataflow::{Engine, EngineConfig, FlowKind, FlowSpec, SubscribeMsg, SubscribeSink, ViewError};
use hw_plan::{Aggregate, AggregateFunc, FlowPlan, Func, ScalarExpr};
use hw_repr::{Datum, GlobalId, SqlType};
use std::collections::BTreeMap;
use std::time::Duration;

const FIRST: u32 = 10;
const FACTOR: i64 = 1 << 62;
/// SQLSTATE and failing row of every error, with its count.
type Errors = BTreeMap<(String, String), i64>;

struct View {
    plan: FlowPlan,
    arity: usize,
    dead_letter: bool,
}

fn literal(n: i64) -> ScalarExpr {
    ScalarExpr::Literal(Datum::Int8(n), SqlType::Int8)
}

fn call(func: Func, args: Vec<ScalarExpr>, ty: SqlType) -> ScalarExpr {
    ScalarExpr::Call { func, args, ty }
}

fn column(i: usize) -> ScalarExpr {
    ScalarExpr::Column(i, SqlType::Int8)
}

/// An operator that fails on some rows; the name of its first column says what it does.
fn fallible(what: &str, input: FlowPlan) -> FlowPlan {
    let (c0, c1) = (column(0), column(1));
    let div = || call(Func::Div, vec![literal(10), column(1)], SqlType::Int8);
    let (filter, project) = match what {
        "div" => (vec![], vec![c0, div()]),
        "mul" => (vec![], vec![c0, call(Func::Mul, vec![c1, literal(FACTOR)], SqlType::Int8)]),
        _ => (vec![call(Func::Gt, vec![div(), literal(3)], SqlType::Bool)], vec![c0, c1]),
    };
    FlowPlan::Mfp { input: Box::new(input), filter, project, names: vec![what.into(), "c1".into()] }
}

/// What it does with a row.
fn applied(what: &str, row: &[Option<i64>]) -> Result<Option<Vec<Option<i64>>>, &'static str> {
    let Some(c1) = row[1] else { return Ok((what != "filter").then(|| row.to_vec())) };
    match what {
        "mul" => Ok(Some(vec![row[0], Some(c1.checked_mul(FACTOR).ok_or("22003")?)])),
        "div" if c1 != 0 => Ok(Some(vec![row[0], Some(10 / c1)])),
        "filter" if c1 != 0 => Ok((10 / c1 > 3).then(|| row.to_vec())),
        _ => Err("22012"),
    }
}

fn totals(input: FlowPlan) -> FlowPlan {
    let agg = |func, arg| Aggregate::new(func, arg, false, None, SqlType::Int8);
    let aggregates = vec![agg(AggregateFunc::Count, None), agg(AggregateFunc::Sum, Some(1))];
    FlowPlan::Reduce { input: Box::new(input), group: vec![0], aggregates, names: vec![] }
}

fn of_view(i: u32, arity: usize) -> FlowPlan {
    let (name, columns) = ("v".into(), (0..arity).collect());
    FlowPlan::Get { id: GlobalId(FIRST + i), name, desc: desc(arity), columns }
}

fn join(left: FlowPlan, right: FlowPlan) -> FlowPlan {
    FlowPlan::Join { left: Box::new(left), right: Box::new(right), on: vec![(0, 1)], null_safe: vec![false] }
}

fn views() -> Vec<View> {
    let div = || fallible("div", get(1, false));
    let view = |plan, arity, dead_letter| View { plan, arity, dead_letter };
    vec![
        view(div(), 2, false),
        view(totals(of_view(0, 2)), 3, false),
        view(join(div(), get(2, false)), 4, false),
        view(div(), 2, true),
        view(totals(of_view(3, 2)), 3, false),
        view(totals(fallible("mul", get(1, false))), 3, false),
        view(FlowPlan::Union { inputs: vec![div(), div(), fallible("filter", get(2, false))] }, 2, false),
        view(join(of_view(0, 2), of_view(0, 2)), 4, true),
        view(FlowPlan::Distinct { input: Box::new(of_view(6, 2)) }, 2, true),
    ]
}

fn json(row: &[Option<i64>]) -> String {
    let value = |v: &Option<i64>| v.map_or("null".to_owned(), |v| v.to_string());
    let all: Vec<String> = row.iter().enumerate().map(|(i, v)| format!("\"c{i}\": {}", value(v))).collect();
    format!("{{{}}}", all.join(", "))
}

/// What a plan means: its rows; its errors are added, those of equal parts once.
fn naive(plan: &FlowPlan, tables: &[Rows; 2], seen: &mut Vec<FlowPlan>, errors: &mut Errors) -> Rows {
    let first = !seen.contains(plan);
    seen.push(plan.clone());
    let mut fail = |code: &str, row: &[Option<i64>], n: i64| {
        if first {
            *errors.entry((code.to_owned(), json(row))).or_insert(0) += n;
        }
    };
    let mut out = Rows::new();
    match plan {
        FlowPlan::Get { id, .. } if id.0 >= FIRST => {
            let view = &views()[(id.0 - FIRST) as usize];
            let mut below = Errors::new();
            out = naive(&view.plan, tables, &mut vec![], &mut below);
            below.retain(|_, _| !view.dead_letter && first);
            below.into_iter().for_each(|(e, n)| *errors.entry(e).or_insert(0) += n);
        }
        FlowPlan::Get { id, .. } => out = tables[id.0 as usize - 1].clone(),
        FlowPlan::Mfp { input, names, .. } => {
            let FlowPlan::Get { id, .. } = &**input else { panic!("over a table") };
            for (row, n) in &tables[id.0 as usize - 1] {
                match applied(&names[0], row) {
                    Ok(Some(made)) => *out.entry(made).or_insert(0) += n,
                    Ok(None) => {}
                    Err(code) => fail(code, row, *n),
                }
            }
        }
        FlowPlan::Union { inputs } => {
            for input in inputs {
                let rows = naive(input, tables, seen, errors);
                rows.into_iter().for_each(|(r, n)| *out.entry(r).or_insert(0) += n);
            }
        }
        FlowPlan::Distinct { input } => out = naive(input, tables, seen, errors).into_keys().map(|r| (r, 1)).collect(),
        FlowPlan::Join { left, right, .. } => {
            let (left, right) = (naive(left, tables, seen, errors), naive(right, tables, seen, errors));
            for (l, a) in left {
                for (r, b) in right.iter().filter(|(r, _)| l[0] == r[1] && l[0].is_some()) {
                    *out.entry(l.iter().chain(r).copied().collect()).or_insert(0) += a * b;
                }
            }
        }
        FlowPlan::Reduce { input, .. } => {
            let mut groups: BTreeMap<Option<i64>, (i64, Option<i128>)> = BTreeMap::new();
            let below = naive(input, tables, seen, errors);
            for (row, n) in below {
                let (count, sum) = groups.entry(row[0]).or_default();
                *count += n;
                if let Some(v) = row[1] {
                    *sum = Some(sum.unwrap_or(0) + i128::from(v) * i128::from(n));
                }
            }
            for (key, (count, sum)) in groups {
                match sum.map(i64::try_from).transpose() {
                    Ok(sum) => drop(out.insert(vec![key, Some(count), sum], 1)),
                    Err(_) => {
                        *errors
                            .entry((
                                "22003".into(),
                                format!("{{\"mul\": {}}}", key.map_or("null".into(), |k: i64| k.to_string())),
                            ))
                            .or_insert(0) += 1
                    }
                }
            }
        }
        other => panic!("no naive {other:?}"),
    }
    out
}

fn meaning(plan: &FlowPlan, tables: &[Rows; 2]) -> (Rows, Errors) {
    let mut errors = Errors::new();
    (naive(plan, tables, &mut vec![], &mut errors), errors)
}

fn errors(engine: &Engine, id: u32, at: u64) -> Errors {
    let mut out = Errors::new();
    let published = engine.published_errors(GlobalId(id)).expect("installed");
    for view in published.shards.iter().flat_map(|s| s.runs.iter().flatten()) {
        for i in (view.lo..view.hi).filter(|i| view.body.times.get(*i) <= at) {
            let ViewError { error, expression, row } = ViewError::decode(view.body.row(i)).expect("an error");
            assert!(!expression.is_empty(), "{error}");
            *out.entry((error.code.as_str().to_owned(), row)).or_insert(0) += view.body.diffs.get(i);
        }
    }
    out.retain(|_, n| *n != 0);
    out
}

/// A subscription, and what it has been given.
struct Followed {
    from: crossbeam_channel::Receiver<SubscribeMsg>,
    contents: Rows,
}

struct Running {
    engine: Engine,
    followed: Vec<Option<Followed>>,
}

impl Running {
    fn start(workers: usize, disk: Option<&Disk>) -> Running {
        let engine = Engine::start(EngineConfig { workers, ..EngineConfig::default() }).expect("workers start");
        let restored = |id| disk.map(|d| d.restored(id));
        for id in [1, 2] {
            let table = spec(id, FlowKind::Table { desc: desc(2), key: vec![1] }, 0);
            engine.install(FlowSpec { restored: restored(id), ..table }).expect("a table");
        }
        let views = views();
        for (id, View { plan, arity, dead_letter }) in (FIRST..).zip(&views) {
            let view = spec(id, FlowKind::View { plan: plan.clone(), desc: desc(*arity), key: vec![0] }, 0);
            let view = FlowSpec { restored: restored(id), dead_letter: *dead_letter, ..view };
            engine.install(view).expect("a view");
        }
        Running { engine, followed: views.iter().map(|_| None).collect() }
    }

    fn tick(&self, tick: u64, changes: &[Changes; 2], random: &mut Random) {
        for (id, changes) in [1, 2].map(GlobalId).into_iter().zip(changes) {
            let parts = changes.chunks(1 + random.below(9) as usize).map(|c| batch(c, tick)).collect();
            self.engine.send(id, id, parts).expect("changes at the tick");
        }
        self.engine.tick(tick + 1, &[GlobalId(1), GlobalId(2)]);
    }

    fn check(&mut self, tick: u64, tables: &[Rows; 2], before: &mut [Rows], context: &str) -> usize {
        let mut failing = 0;
        for (i, view) in views().iter().enumerate() {
            let (id, context) = (FIRST + i as u32, format!("view {i}, tick {tick}, {context}"));
            wait(&self.engine, id, tick);
            let (rows, expected) = meaning(&view.plan, tables);
            let published = self.engine.published(GlobalId(id)).expect("installed");
            assert_eq!(read(&published, view.arity, tick), rows, "{context}");
            assert_eq!(errors(&self.engine, id, tick), expected, "{context}");
            failing += expected.len();
            let ends = !expected.is_empty() && !view.dead_letter;
            self.followed[i] = match self.followed[i].take() {
                Some(followed) => followed.until(tick, ends, (&before[i], &rows), &context),
                None if !ends => {
                    let (sink, from) = SubscribeSink::channel(10_000);
                    self.engine.subscribe(GlobalId(id), tick, true, sink).expect("a subscription");
                    Followed { from, contents: Rows::new() }.until(tick, false, (&rows, &rows), &context)
                }
                None => None,
            };
            before[i] = rows;
        }
        failing
    }
}

impl Followed {
    /// What it is after a tick: with the rows of the tick, or ended at it with those before.
    fn until(mut self, tick: u64, ends: bool, (before, now): (&Rows, &Rows), context: &str) -> Option<Followed> {
        loop {
            match self.from.recv_timeout(Duration::from_secs(20)).expect("progress") {
                SubscribeMsg::Updates { batch } => {
                    for part in batch.iter() {
                        for r in 0..part.len() {
                            *self.contents.entry(row(part.rows.columns(), r)).or_insert(0) += part.diff(r);
                        }
                    }
                }
                SubscribeMsg::Progress(upper) if upper > tick => break,
                SubscribeMsg::Progress(_) => {}
                SubscribeMsg::Failed(time, _) => {
                    assert!(ends, "ended, {context}");
                    self.contents.retain(|_, n| *n != 0);
                    assert_eq!((time, &self.contents), (tick, before), "at its end, {context}");
                    return None;
                }
                SubscribeMsg::Error(e) => panic!("{e}, {context}"),
            }
        }
        assert!(!ends, "not ended, {context}");
        self.contents.retain(|_, n| *n != 0);
        assert_eq!(&self.contents, now, "a subscription, {context}");
        Some(self)
    }
}

fn run(workers: usize, restarts: bool, seed: u64) {
    let (mut random, mut tables) = (Random(seed), [Rows::new(), Rows::new()]);
    let (mut running, mut before) = (Running::start(workers, None), vec![Rows::new(); views().len()]);
    let flows: Vec<u32> = [1, 2].into_iter().chain((FIRST..).take(views().len())).collect();
    let (mut disk, mut tail): (Option<Disk>, Vec<[Changes; 2]>) = (None, vec![]);
    let (mut failing, mut whole) = (0, 0);
    for tick in 1..50u64 {
        let mut changes = tables.each_mut().map(|table| change(table, &mut random, false));
        for (table, changes) in tables.iter_mut().zip(&mut changes) {
            // Now and then all rows that fail go, or all rows.
            let (some, all) = (random.below(3) == 0, random.below(10) == 0);
            let gone = |r: &Vec<Option<i64>>| all || some && r[1].is_some_and(|v| v.abs() != 1);
            let rows: Vec<_> = table.extract_if(.., |r, _| gone(r)).collect();
            changes.extend(rows.into_iter().map(|(row, n)| (row, -n)));
        }
        running.tick(tick, &changes, &mut random);
        tail.push(changes);
        let context = format!("{workers} workers, seed {seed}");
        match running.check(tick, &tables, &mut before, &context) {
            0 => whole += 1,
            _ => failing += 1,
        }
        if tick % 10 == 0 {
            flows.iter().for_each(|id| running.engine.allow_compaction(GlobalId(*id), tick));
        }
        if restarts && random.below(3) == 0 {
            disk.get_or_insert_default().take(&running.engine, &flows, tick);
            tail.clear();
        }
        if let Some(disk) = disk.as_ref().filter(|_| random.below(4) == 0) {
            running.engine.shutdown();
            running = Running::start([1, 2, 4][random.below(3) as usize], Some(disk));
            for (time, changes) in (disk.tick + 1..).zip(&tail) {
                running.tick(time, changes, &mut random);
            }
            running.check(tick, &tables, &mut before, &format!("{context}, restarted"));
        }
    }
    assert!(failing > 10 && whole > 1, "{failing} ticks with errors, {whole} without");
    running.engine.shutdown();
}

#[test]
fn errors_come_and_go_with_their_rows() {
    for workers in [1, 2, 4] {
        (1..4).for_each(|seed| run(workers, false, seed * 7919));
    }
}

#[test]
fn errors_survive_restarts() {
    (1..9).for_each(|seed| run(1, true, seed * 104_729));
}

/// The texts of an error are those of the plan, and a flow that is installed later has the errors of what it reads.
#[test]
fn an_error_says_which_expression_fails_on_which_row() {
    let mut running = Running::start(2, None);
    let rows: Changes = vec![(vec![Some(1), Some(0)], 2), (vec![None, Some(2)], 1)];
    running.tick(1, &[rows, vec![]], &mut Random(5));
    for id in [FIRST, FIRST + 1, FIRST + 2] {
        wait(&running.engine, id, 1);
    }
    let late = spec(50, FlowKind::View { plan: totals(of_view(1, 3)), desc: desc(3), key: vec![] }, 1);
    running.engine.install(late).expect("a view");
    wait(&running.engine, 50, 1);
    for id in [FIRST, FIRST + 1, FIRST + 2, FIRST + 3, 50] {
        let published = running.engine.published_errors(GlobalId(id)).expect("installed");
        let views = published.shards.iter().flat_map(|s| s.runs.iter().flatten());
        let all: Vec<(ViewError, i64)> = views
            .flat_map(|v| {
                (v.lo..v.hi).map(|i| (ViewError::decode(v.body.row(i)).expect("an error"), v.body.diffs.get(i)))
            })
            .collect();
        let [(e, 2)] = &all[..] else { panic!("{all:?}") };
        assert_eq!((e.error.message.as_str(), e.expression.as_str()), ("division by zero", "10 / c1"));
        assert_eq!(e.row, "{\"c0\": 1, \"c1\": 0}");
    }
    running.followed.clear();
}
