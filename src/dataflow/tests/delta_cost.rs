//! What delta joins cost beside binary ones, in one run: CPU time of filling and of small changes, and bytes of state, of
//! views like TPC-H's; and what each of several views over the same tables costs, where these lend what joins look up.
//! `cargo test --release -p hw-dataflow --test delta_cost -- --ignored --nocapture`.

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use hw_dataflow::{Engine, EngineConfig, FlowKind, FlowSpec};
use hw_plan::arranged::Kept;
use hw_plan::{Aggregate, AggregateFunc, FlowPlan, Func, ScalarExpr, delta};
use hw_repr::{Column, Datum, GlobalId, RelationDesc, SqlType, UpdateBatch};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Row = Vec<i64>;

const VIEW: u32 = 100;

/// The tables: their number of columns, of which the first are the key, and how many rows a thousand orders have of each.
const TABLES: &[(&str, usize, usize, i64)] = &[
    ("lineitem", 8, 2, 4000),
    ("orders", 5, 1, 1000),
    ("customer", 5, 1, 100),
    ("supplier", 4, 1, 10),
    ("part", 5, 1, 133),
    ("partsupp", 4, 2, 533),
    ("nation", 3, 1, 0),
    ("region", 2, 1, 0),
];

/// A generator whose rows follow from their numbers.
fn row(table: &str, i: i64, orders: i64) -> Row {
    let mix =
        |salt: i64, n: i64| ((i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15u64 as i64 ^ salt) >> 17).rem_euclid(n.max(1));
    let (customers, suppliers, parts) = (orders / 10, orders / 100, orders * 133 / 1000);
    match table {
        // Order, number, part, supplier, quantity, price, discount, date.
        "lineitem" => {
            let part = mix(1, parts);
            let supplier = (part * 7 + i % 4 * 5) % suppliers.max(1);
            vec![i / 4, i % 4, part, supplier, mix(3, 50), mix(4, 100_000), mix(5, 10), mix(6, 2500)]
        }
        // Key, customer, date, priority, total.
        "orders" => vec![i, mix(7, customers), mix(8, 2500), mix(9, 5), mix(10, 1_000_000)],
        // Key, nation, balance, segment, phone.
        "customer" => vec![i, mix(11, 25), mix(12, 10_000), mix(13, 5), mix(14, 1 << 40)],
        "supplier" => vec![i, mix(15, 25), mix(16, 10_000), mix(17, 1 << 40)],
        // Key, colour, brand, type, size.
        "part" => vec![i, mix(18, 20), mix(19, 25), mix(20, 150), mix(21, 50)],
        // Part, supplier, cost, quantity.
        "partsupp" => vec![i / 4, (i / 4 * 7 + i % 4 * 5) % suppliers.max(1), mix(22, 1000), mix(23, 10_000)],
        "nation" => vec![i, i % 5, i * 77],
        _ => vec![i, i * 99],
    }
}

fn rows(table: usize, orders: i64) -> i64 {
    match TABLES[table].0 {
        "nation" => 25,
        "region" => 5,
        _ => TABLES[table].3 * orders / 1000,
    }
}

fn desc(table: usize) -> RelationDesc {
    let (_, columns, key, _) = TABLES[table];
    let column = |i| Column { name: format!("c{i}"), ty: SqlType::Int8, nullable: false };
    RelationDesc { keys: vec![(0..key).collect()], ..RelationDesc::new((0..columns).map(column).collect()) }
}

fn get(name: &str, columns: &[usize]) -> FlowPlan {
    let table = TABLES.iter().position(|t| t.0 == name).expect("a table");
    let desc = hw_plan::transform::choose_columns(&desc(table), columns);
    FlowPlan::Get { id: GlobalId(table as u32 + 1), name: name.into(), desc, columns: columns.to_vec() }
}

fn col(i: usize) -> ScalarExpr {
    ScalarExpr::Column(i, SqlType::Int8)
}

fn mfp(input: FlowPlan, filter: Vec<ScalarExpr>, keep: &[usize]) -> FlowPlan {
    let names = keep.iter().map(|c| format!("c{c}")).collect();
    FlowPlan::Mfp { input: Box::new(input), filter, project: keep.iter().map(|c| col(*c)).collect(), names }
}

/// Rows whose column is below a number.
fn below(input: FlowPlan, column: usize, most: i64) -> FlowPlan {
    let args = vec![col(column), ScalarExpr::Literal(Datum::Int8(most), SqlType::Int8)];
    let keep: Vec<usize> = (0..input.types().len()).collect();
    mfp(input, vec![ScalarExpr::Call { func: Func::Lt, args, ty: SqlType::Bool }], &keep)
}

fn join(left: FlowPlan, right: FlowPlan, on: &[(usize, usize)], keep: &[usize]) -> FlowPlan {
    let join = FlowPlan::Join {
        left: Box::new(left),
        right: Box::new(right),
        on: on.to_vec(),
        null_safe: vec![false; on.len()],
    };
    mfp(join, vec![], keep)
}

fn sums(input: FlowPlan, group: usize, sum: usize) -> FlowPlan {
    let count = Aggregate::new(AggregateFunc::Count, None, false, None, SqlType::Int8);
    let sum = Aggregate::new(AggregateFunc::Sum, Some(sum), false, None, SqlType::Int8);
    FlowPlan::Reduce { input: Box::new(input), group: vec![group], aggregates: vec![count, sum], names: vec![] }
}

/// Views by name; without columns that nothing reads any more, as the planner leaves them.
fn views() -> Vec<(&'static str, FlowPlan)> {
    let dated = |days| below(get("orders", &[0, 1, 2]), 2, days);
    // Customer key, nation; order key.
    let q5 = |days, regions| {
        let co = join(get("customer", &[0, 1]), dated(days), &[(0, 1)], &[1, 2]);
        let col = join(co, get("lineitem", &[0, 3, 5, 6]), &[(1, 0)], &[0, 3, 4, 5]);
        let cols = join(col, get("supplier", &[0, 1]), &[(1, 0), (0, 1)], &[2, 3, 5]);
        let coln = join(cols, get("nation", &[0, 1, 2]), &[(2, 0)], &[0, 1, 4, 5]);
        sums(join(coln, below(get("region", &[0, 1]), 1, regions), &[(2, 0)], &[0, 1, 3]), 2, 0)
    };
    let q9 = |colours| {
        let part = mfp(below(get("part", &[0, 1]), 1, colours), vec![], &[0]);
        let pl = join(part, get("lineitem", &[0, 2, 3, 4, 5, 6]), &[(0, 1)], &[1, 2, 3, 4, 5, 6]);
        let pls = join(pl, get("supplier", &[0, 1]), &[(2, 0)], &[0, 1, 2, 3, 4, 5, 7]);
        let plsp = join(pls, get("partsupp", &[0, 1, 2]), &[(1, 0), (2, 1)], &[0, 3, 4, 5, 6, 9]);
        let plspo = join(plsp, get("orders", &[0, 2]), &[(0, 0)], &[1, 2, 3, 4, 5, 7]);
        sums(join(plspo, get("nation", &[0, 2]), &[(3, 0)], &[0, 1, 2, 4, 5, 7]), 5, 1)
    };
    let star = |types| {
        let part = get("part", &[0, 2, 3, 4]);
        let part = if types < 150 { below(part, 2, types) } else { part };
        let lp = join(get("lineitem", &[0, 2, 3, 4, 5]), part, &[(1, 0)], &[0, 2, 3, 4, 6, 7, 8]);
        let lps = join(lp, get("supplier", &[0, 1, 2]), &[(1, 0)], &[0, 2, 3, 4, 5, 6, 8, 9]);
        sums(join(lps, get("orders", &[0, 1, 2, 3]), &[(0, 0)], &[1, 2, 3, 4, 5, 6, 7, 9, 10, 11]), 5, 0)
    };
    let chain = {
        let lo = join(get("lineitem", &[0, 4, 5]), get("orders", &[0, 1, 2, 3, 4]), &[(0, 0)], &[1, 2, 4, 5, 6, 7]);
        let loc = join(lo, get("customer", &[0, 1, 2, 3]), &[(2, 0)], &[0, 1, 3, 4, 5, 7, 8, 9]);
        sums(join(loc, get("nation", &[0, 1, 2]), &[(5, 0)], &[0, 1, 2, 3, 4, 6, 7, 9, 10]), 8, 0)
    };
    let one_key = {
        let of_lines = |column| sums(get("lineitem", &[0, column]), 0, 1);
        let ol = join(get("orders", &[0, 1, 3, 4]), of_lines(4), &[(0, 0)], &[0, 1, 2, 3, 5, 6]);
        sums(join(ol, of_lines(5), &[(0, 0)], &[0, 1, 2, 3, 4, 5, 7, 8]), 2, 5)
    };
    vec![
        ("q5, as it is", q5(365, 99)),
        ("q5, unfiltered dates", q5(2500, 99)),
        ("q9, as it is (1 of 20 parts)", q9(1)),
        ("q9, half of the parts", q9(10)),
        ("q9, all parts", q9(20)),
        ("star", star(150)),
        ("star, 1 of 10 parts", star(15)),
        ("chain", chain),
        ("one key", one_key),
    ]
}

fn batch(table: usize, rows: &[(Row, i64)], time: u64) -> UpdateBatch {
    let column = |c: usize| -> ArrayRef { Arc::new(Int64Array::from(rows.iter().map(|r| r.0[c]).collect::<Vec<_>>())) };
    let diffs = Int64Array::from(rows.iter().map(|r| r.1).collect::<Vec<_>>());
    let columns = (0..TABLES[table].1).map(column).collect();
    let rows = RecordBatch::try_new(desc(table).schema(), columns).expect("columns of the table");
    UpdateBatch { rows, diffs: Some(Arc::new(diffs)), time }
}

/// Seconds of processor time of this process.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields[i].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
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

fn passed(engine: &Engine, flow: u32, time: u64) {
    let start = Instant::now();
    while engine.frontier(GlobalId(flow)) <= time {
        assert!(start.elapsed() < Duration::from_secs(300), "flow {flow} stays");
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// A tick's changes by table: mostly of lines, some of orders, few of the others.
fn changes(tick: i64, orders: i64) -> Vec<(usize, Vec<(Row, i64)>)> {
    let update = |table: usize, i: i64, column: usize| {
        let old = row(TABLES[table].0, i, orders);
        let mut new = old.clone();
        new[column] += 1;
        // There and back: every tick finds what the generator gives.
        if tick % 2 == 0 { [(old, -1), (new, 1)] } else { [(new, -1), (old, 1)] }
    };
    let step = tick / 2;
    let some = |table: usize, count: i64, column: usize| {
        let all = rows(table, orders).max(1);
        (0..count).flat_map(|n| update(table, (step * 7919 + n * 104_729) % all, column)).collect::<Vec<_>>()
    };
    let mut out = vec![(0, some(0, 80, 4)), (1, some(1, 15, 4))];
    if step % 10 == 0 {
        out.extend([(2, some(2, 2, 2)), (3, some(3, 1, 2)), (4, some(4, 2, 4)), (5, some(5, 2, 2))]);
    }
    out
}

/// Tables with rows, keyed by their keys or by all columns.
fn filled(engine: &Engine, orders: i64, keyed: bool) -> Vec<GlobalId> {
    let ids: Vec<GlobalId> = (1..=TABLES.len() as u32).map(GlobalId).collect();
    for (table, id) in ids.iter().enumerate() {
        let key = (0..if keyed { TABLES[table].2 } else { TABLES[table].1 }).collect();
        engine.install(spec(id.0, FlowKind::Table { desc: desc(table), key }, 0)).expect("a table");
        let all: Vec<(Row, i64)> = (0..rows(table, orders)).map(|i| (row(TABLES[table].0, i, orders), 1)).collect();
        let parts = all.chunks(8192).map(|part| batch(table, part, 1)).collect();
        engine.send(*id, *id, parts).expect("rows");
    }
    engine.tick(2, &ids);
    ids.iter().for_each(|id| passed(engine, id.0, 1));
    ids
}

fn view_of(plan: &FlowPlan) -> FlowKind {
    let column = |(i, ty)| Column { name: format!("c{i}"), ty, nullable: true };
    let desc = RelationDesc::new(plan.types().into_iter().enumerate().map(column).collect());
    FlowKind::View { plan: plan.clone(), desc, key: vec![0] }
}

fn measure(name: &str, form: &str, plan: &FlowPlan, orders: i64, workers: usize) {
    let engine = Engine::start(EngineConfig { workers, ..EngineConfig::default() }).expect("workers start");
    let ids = filled(&engine, orders, true);
    let begun = cpu();
    engine.install(spec(VIEW, view_of(plan), 1)).expect("a view");
    passed(&engine, VIEW, 1);
    let filled = cpu() - begun;
    let ticks = 400;
    let made: Vec<_> = (0..ticks).map(|t| changes(t, orders)).collect();
    let mut time = 2;
    let begun = (cpu(), Instant::now());
    for tick in &made {
        for (table, rows) in tick {
            engine.send(ids[*table], ids[*table], vec![batch(*table, rows, time)]).expect("changes");
        }
        time += 1;
        engine.tick(time, &ids);
        passed(&engine, VIEW, time - 1);
        if time % 50 == 0 {
            ids.iter().for_each(|id| engine.allow_compaction(*id, time - 1));
            engine.allow_compaction(GlobalId(VIEW), time - 1);
        }
    }
    let (changed, wall) = (cpu() - begun.0, begun.1.elapsed());
    engine.compact();
    for _ in 0..4 {
        time += 1;
        engine.tick(time, &ids);
        passed(&engine, VIEW, time - 1);
    }
    let joins = || engine.operators().into_iter().filter(|o| o.flow == GlobalId(VIEW) && o.operator.contains("join"));
    println!(
        "{name:30} {form:7} fill {filled:6.2} s  changes {changed:6.2} s ({:5.2} ms a tick)  {:9} rows {:7.1} MB in {} arrangements",
        wall.as_secs_f64() * 1000.0 / ticks as f64,
        joins().map(|o| o.rows).sum::<u64>(),
        joins().map(|o| o.bytes).sum::<u64>() as f64 / 1e6,
        joins().count() / workers
    );
    engine.shutdown();
}

#[test]
#[ignore = "a measurement"]
fn delta_joins_beside_binary_joins() {
    let number = |name: &str, other: i64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(other);
    let (orders, workers) = (number("ORDERS", 50_000), number("WORKERS", 1) as usize);
    for (name, binary) in views() {
        let (mut delta, mut ruled) = (binary.clone(), binary.clone());
        delta::choose_always(&mut delta);
        delta::choose(&mut ruled, &Default::default());
        let by_rule = if ruled == delta { "delta" } else { "binary" };
        println!("-- {name}: by the rule {by_rule}");
        measure(name, "binary", &binary, orders, workers);
        measure(name, "delta", &delta, orders, workers);
    }
}

/// Views over the same tables: two stars and two parts of them, without columns that only others read.
fn several() -> Vec<(&'static str, FlowPlan)> {
    let star = |group| {
        let lp = join(get("lineitem", &[0, 2, 3, 4, 5]), get("part", &[0, 2, 3, 4]), &[(1, 0)], &[0, 2, 3, 4, 6, 7, 8]);
        let lps = join(lp, get("supplier", &[0, 1, 2]), &[(1, 0)], &[0, 2, 3, 4, 5, 6, 8, 9]);
        sums(join(lps, get("orders", &[0, 1, 2, 3]), &[(0, 0)], &[1, 2, 3, 4, 5, 6, 7, 9, 10, 11]), group, 0)
    };
    let by_order = join(get("lineitem", &[0, 4, 5]), get("orders", &[0, 1, 2]), &[(0, 0)], &[1, 2, 4, 5]);
    let by_part = join(get("lineitem", &[2, 4]), get("part", &[0, 1, 2]), &[(0, 0)], &[1, 3, 4]);
    vec![
        ("star", star(5)),
        ("the same, otherwise", star(3)),
        ("orders", sums(by_order, 2, 0)),
        ("parts", sums(by_part, 1, 0)),
    ]
}

/// Indexes on lines, by their columns.
const INDEXES: [(u32, usize); 3] = [(50, 2), (51, 3), (52, 0)];

fn megabytes(engine: &Engine, of: impl Fn(u32) -> bool) -> f64 {
    engine.operators().iter().filter(|o| of(o.flow.0)).map(|o| o.bytes as f64).sum::<f64>() / 1e6
}

/// With `indexes`, tables are keyed and lines have an index for each reference.
fn measure_several(form: &str, keyed: bool, indexes: bool, orders: i64, workers: usize) {
    let engine = Engine::start(EngineConfig { workers, ..EngineConfig::default() }).expect("workers start");
    let ids = filled(&engine, orders, keyed);
    let mut kept = Kept::default();
    for (table, id) in ids.iter().enumerate().filter(|_| keyed) {
        kept.0.insert(*id, vec![(TABLES[table].0.into(), (0..TABLES[table].2).collect())]);
    }
    for (index, column) in INDEXES.into_iter().filter(|_| indexes) {
        kept.0.entry(ids[0]).or_default().push((index.to_string(), vec![column]));
        engine.install(spec(index, FlowKind::Index { on: ids[0], columns: vec![column] }, 1)).expect("an index");
        passed(&engine, index, 1);
    }
    let base = megabytes(&engine, |_| true);
    println!("-- {form}, {workers} workers: tables and indexes {base:.1} MB");
    let (mut time, mut views) = (1, vec![]);
    for (n, (name, mut plan)) in several().into_iter().enumerate() {
        delta::choose(&mut plan, &kept);
        let (id, begun) = (VIEW + n as u32, cpu());
        engine.install(spec(id, view_of(&plan), time)).expect("a view");
        passed(&engine, id, time);
        let filled = cpu() - begun;
        views.push(id);
        let (ticks, begun) = (200, cpu());
        for tick in 0..ticks {
            time += 1;
            for (table, rows) in changes(tick, orders) {
                engine.send(ids[table], ids[table], vec![batch(table, &rows, time)]).expect("changes");
            }
            engine.tick(time + 1, &ids);
            views.iter().for_each(|view| passed(&engine, *view, time));
            // As a server does it.
            let all = ids.iter().map(|id| id.0).chain(views.iter().copied()).chain(INDEXES.map(|i| i.0));
            all.for_each(|id| engine.allow_compaction(GlobalId(id), time - 1));
        }
        println!(
            "{name:20} fill {filled:5.2} s  changes of all views so far {:5.2} s  holds {:6.1} MB  all {:6.1} MB",
            cpu() - begun,
            megabytes(&engine, |flow| flow == id),
            megabytes(&engine, |_| true),
        );
    }
    engine.shutdown();
}

#[test]
#[ignore = "a measurement"]
fn several_views_over_the_same_tables() {
    let number = |name: &str, other: i64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(other);
    let (orders, workers) = (number("ORDERS", 50_000), number("WORKERS", 1) as usize);
    measure_several("nothing is lent", false, false, orders, workers);
    measure_several("tables lend", true, false, orders, workers);
    measure_several("tables and indexes lend", true, true, orders, workers);
}
