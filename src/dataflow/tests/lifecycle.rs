//! Lives of flows: everything deleted leaves nothing; a dropped flow goes with its last user.

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use hw_dataflow::{Engine, EngineConfig, FlowKind, FlowSpec, Restored, RestoredFlow, SubscribeSink};
use hw_plan::FlowPlan;
use hw_repr::{Column, GlobalId, RelationDesc, SqlType, UpdateBatch};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn desc() -> RelationDesc {
    RelationDesc::new(vec![Column { name: "a".into(), ty: SqlType::Int8, nullable: true }])
}

fn spec(id: u32, kind: FlowKind) -> FlowSpec {
    FlowSpec {
        id: GlobalId(id),
        name: format!("f{id}"),
        kind,
        inputs: vec![],
        as_of: 0,
        fingerprint: 0,
        restored: None,
        corrects: None,
        dead_letter: false,
    }
}

fn distinct() -> FlowPlan {
    let get = FlowPlan::Get { id: GlobalId(1), name: "t".into(), desc: desc(), columns: vec![0] };
    FlowPlan::Distinct { input: Box::new(get) }
}

fn engine(workers: usize) -> Engine {
    let engine = Engine::start(EngineConfig { workers, ..EngineConfig::default() }).expect("workers start");
    engine.install(spec(1, FlowKind::Table { desc: desc(), key: vec![] })).expect("a table");
    engine.install(spec(2, FlowKind::View { plan: distinct(), desc: desc(), key: vec![] })).expect("a view");
    engine
}

fn change(engine: &Engine, time: u64, diff: i64) {
    let column: ArrayRef = Arc::new(Int64Array::from((0..20_000).collect::<Vec<i64>>()));
    let rows = RecordBatch::try_new(desc().schema(), vec![column]).expect("one column");
    let diffs = Some(Arc::new(Int64Array::from(vec![diff; 20_000])));
    engine.send(GlobalId(1), GlobalId(1), vec![UpdateBatch { rows, diffs, time }]).expect("changes");
    engine.advance(GlobalId(1), time + 1);
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn deleting_everything_leaves_nothing() {
    for workers in [1, 2] {
        let engine = engine(workers);
        change(&engine, 1, 1);
        until("20,000 rows", || engine.frontier(GlobalId(2)) > 1);
        assert!(engine.arranged(GlobalId(2)).0 >= 20_000);
        change(&engine, 2, -1);
        until("no rows", || engine.frontier(GlobalId(2)) > 2);
        [1, 2].iter().for_each(|id| engine.allow_compaction(GlobalId(*id), 3));
        engine.compact();
        let mut time = 4;
        until("empty arrangements", || {
            engine.advance(GlobalId(1), time);
            time += 1;
            engine.arranged(GlobalId(1)).0 + engine.arranged(GlobalId(2)).0 == 0
        });
    }
}

#[test]
fn a_dropped_flow_goes_with_its_last_user() {
    let engine = engine(2);
    let (sink, _from) = SubscribeSink::channel(10);
    let subscription = engine.subscribe(GlobalId(2), 0, true, sink).expect("a subscription");
    engine.drop_flow(GlobalId(1));
    engine.drop_flow(GlobalId(2));
    // Its id is taken.
    let is_there = |id| engine.install(spec(id, FlowKind::Table { desc: desc(), key: vec![] })).is_err();
    assert!(!engine.is_installed(GlobalId(2)) && is_there(1) && is_there(2));
    assert!(engine.published(GlobalId(2)).is_none());
    engine.unsubscribe(subscription);
    assert!(engine.published(GlobalId(2)).is_none() && engine.published(GlobalId(1)).is_none());
    assert!(engine.operators().is_empty());
}

#[test]
fn wrong_calls_are_refused() {
    let engine = engine(1);
    assert!(engine.install(spec(1, FlowKind::Table { desc: desc(), key: vec![] })).is_err());
    assert!(engine.install(spec(9, FlowKind::Index { on: GlobalId(77), columns: vec![0] })).is_err());
    change(&engine, 5, 1);
    let rows = RecordBatch::new_empty(desc().schema());
    assert!(engine.send(GlobalId(1), GlobalId(1), vec![UpdateBatch::inserts(rows, 3)]).is_err());
    engine.allow_compaction(GlobalId(2), 4);
    let (sink, _from) = SubscribeSink::channel(10);
    assert!(engine.subscribe(GlobalId(2), 3, true, sink).is_err());
}

/// The rows of a flow's newest contents, with their counts, at a time.
fn contents(engine: &Engine, id: u32, at: u64) -> std::collections::BTreeMap<Vec<u8>, i64> {
    let mut out = std::collections::BTreeMap::new();
    for shard in &engine.published(GlobalId(id)).expect("is there").shards {
        let mut merge = hw_repr::chunk::Merge::new(vec![shard.clone()], vec![], at);
        while let Some((place, count)) = merge.next_row() {
            if count != 0 {
                *out.entry(merge.row(place).to_vec()).or_default() += count;
            }
        }
    }
    out
}

#[test]
fn a_restored_table_goes_on_with_any_number_of_workers() {
    let numbers = |engine: &Engine, time: u64, from: i64, diff: i64| {
        let column: ArrayRef = Arc::new(Int64Array::from((from..from + 3000).collect::<Vec<i64>>()));
        let rows = RecordBatch::try_new(desc().schema(), vec![column]).expect("one column");
        let diffs = Some(Arc::new(Int64Array::from(vec![diff; 3000])));
        engine.send(GlobalId(1), GlobalId(1), vec![UpdateBatch { rows, diffs, time }]).expect("changes");
        engine.advance(GlobalId(1), time + 1);
        until("passed", || engine.frontier(GlobalId(1)) > time);
    };
    let mut expected = std::collections::BTreeMap::new();
    let mut restored: Option<Arc<RestoredFlow>> = None;
    for (round, workers) in [1usize, 2, 4, 1, 1].into_iter().enumerate() {
        let engine = Engine::start(EngineConfig { workers, ..EngineConfig::default() }).expect("workers start");
        let table = FlowSpec { restored: restored.clone(), ..spec(1, FlowKind::Table { desc: desc(), key: vec![] }) };
        engine.install(table).expect("a table");
        engine
            .install(FlowSpec {
                as_of: engine.since(GlobalId(1)),
                ..spec(2, FlowKind::View { plan: distinct(), desc: desc(), key: vec![] })
            })
            .expect("a view");
        let start = 100 * (round as u64 + 1);
        if restored.is_some() {
            let upper = engine.frontier(GlobalId(1)).max(start - 100 + 11);
            until("what was restored", || engine.frontier(GlobalId(1)) >= upper);
            assert_eq!(contents(&engine, 1, start - 100 + 10), expected, "{workers} workers");
        }
        // Times between stay readable, and nothing is twice.
        numbers(&engine, start, round as i64 * 1000, 1);
        let between = contents(&engine, 1, start);
        numbers(&engine, start + 10, 500, if round % 2 == 0 { 1 } else { -1 });
        assert_eq!(contents(&engine, 1, start), between);
        expected = contents(&engine, 1, start + 10);
        until("the view", || engine.frontier(GlobalId(2)) > start + 10);
        let distinct: Vec<Vec<u8>> = contents(&engine, 2, start + 10).into_keys().collect();
        assert_eq!(distinct, expected.keys().cloned().collect::<Vec<_>>(), "{workers} workers");
        if round % 2 == 1 {
            engine.allow_compaction(GlobalId(1), start + 5);
            numbers(&engine, start + 10 + 1, 0, 1);
            numbers(&engine, start + 10 + 2, 0, -1);
        }
        let published = engine.published(GlobalId(1)).expect("is there");
        let shards = Restored { shards: published.shards.clone(), apart: None };
        let (upper, arrangements) = (shards.upper(), [(0, shards)].into());
        restored = Some(Arc::new(RestoredFlow { upper, arrangements, ..RestoredFlow::default() }));
    }
}
