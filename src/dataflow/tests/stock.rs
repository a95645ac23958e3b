//! Our join, reduce and distinct against differential's own, on random ticks with retractions, at every tick.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use differential_dataflow::input::Input;
use hw_dataflow::{Engine, EngineConfig, FlowKind, FlowSpec, SubscribeMsg, SubscribeSink};
use hw_plan::{Aggregate, AggregateFunc, FlowPlan};
use hw_repr::{Column, GlobalId, RelationDesc, SqlType, UpdateBatch};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Changes of (key, value) in one of two tables.
type Tick = Vec<(usize, i64, i64, i64)>;
/// Changes of the output by (time, row).
type Changes = BTreeMap<(u64, Vec<i64>), i64>;

#[derive(Clone, Copy, Debug)]
enum What {
    Join,
    Reduce,
    Distinct,
}

fn desc(columns: usize) -> RelationDesc {
    let column = |i| Column { name: format!("c{i}"), ty: SqlType::Int8, nullable: false };
    RelationDesc::new((0..columns).map(column).collect())
}

fn plan(what: What) -> (FlowPlan, usize) {
    let get = |id: u32| {
        Box::new(FlowPlan::Get { id: GlobalId(id), name: format!("t{id}"), desc: desc(2), columns: vec![0, 1] })
    };
    let agg = |func, arg| Aggregate::new(func, arg, false, None, SqlType::Int8);
    match what {
        What::Join => (FlowPlan::Join { left: get(1), right: get(2), on: vec![(0, 0)], null_safe: vec![false] }, 4),
        What::Reduce => {
            let aggregates = vec![
                agg(AggregateFunc::Count, None),
                agg(AggregateFunc::Min, Some(1)),
                agg(AggregateFunc::Max, Some(1)),
            ];
            (FlowPlan::Reduce { input: get(1), group: vec![0], aggregates, names: vec![] }, 4)
        }
        What::Distinct => (FlowPlan::Distinct { input: get(1) }, 2),
    }
}

/// What differential's operators make of the ticks.
fn stock(what: What, ticks: &[Tick]) -> Changes {
    let (ticks, changes) = (ticks.to_vec(), Arc::new(Mutex::new(Changes::new())));
    let sink = changes.clone();
    timely::execute_directly(move |worker| {
        let (mut inputs, probe) = worker.dataflow::<u64, _, _>(|scope| {
            let (a, left) = scope.new_collection::<(i64, i64), i64>();
            let (b, right) = scope.new_collection::<(i64, i64), i64>();
            let rows = match what {
                What::Join => left.join(right).map(|(k, (v, w))| vec![k, v, k, w]),
                What::Reduce => left
                    .reduce(|_, rows, out| {
                        let count: i64 = rows.iter().map(|r| r.1).sum();
                        if let (Some(least), Some(most)) = (rows.first(), rows.last()) {
                            out.push(((count, *least.0, *most.0), 1i64));
                        }
                    })
                    .map(|(k, (n, least, most))| vec![k, n, least, most]),
                What::Distinct => {
                    left.map(|r| (r, ())).reduce(|_, _, out| out.push(((), 1i64))).map(|((k, v), ())| vec![k, v])
                }
            };
            let keep = move |(row, time, diff): &(Vec<i64>, u64, i64)| {
                *sink.lock().expect("one thread").entry((*time, row.clone())).or_insert(0) += diff;
            };
            let (probe, _) = rows.consolidate().inspect(keep).probe();
            ([a, b], probe)
        });
        for (time, tick) in (1..).zip(&ticks) {
            inputs.iter_mut().for_each(|i| i.advance_to(time));
            tick.iter().for_each(|(table, k, v, diff)| inputs[*table].update((*k, *v), *diff));
            inputs.iter_mut().for_each(|i| {
                i.advance_to(time + 1);
                i.flush();
            });
            worker.step_while(|| probe.less_than(&(time + 1)));
        }
    });
    let mut changes = changes.lock().expect("the worker has ended").clone();
    changes.retain(|_, d| *d != 0);
    changes
}

fn batch(rows: &[(i64, i64, i64)], time: u64) -> UpdateBatch {
    let column = |f: fn(&(i64, i64, i64)) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from(rows.iter().map(f).collect::<Vec<_>>()))
    };
    let diffs: Int64Array = rows.iter().map(|r| r.2).collect::<Vec<_>>().into();
    let rows = RecordBatch::try_new(desc(2).schema(), vec![column(|r| r.0), column(|r| r.1)]).expect("two columns");
    UpdateBatch { rows, diffs: Some(Arc::new(diffs)), time }
}

/// What the engine makes of them.
fn ours(what: What, ticks: &[Tick], workers: usize) -> Changes {
    let engine = Engine::start(EngineConfig { workers, ..EngineConfig::default() }).expect("workers start");
    let install = |id: u32, kind| {
        let spec = FlowSpec {
            id: GlobalId(id),
            name: id.to_string(),
            kind,
            inputs: vec![],
            as_of: 0,
            fingerprint: 0,
            restored: None,
            corrects: None,
            dead_letter: false,
        };
        engine.install(spec).expect("a flow");
    };
    let (plan, columns) = plan(what);
    (1..3).for_each(|id| install(id, FlowKind::Table { desc: desc(2), key: vec![] }));
    install(10, FlowKind::View { plan, desc: desc(columns), key: vec![0] });
    let (sink, from) = SubscribeSink::channel(10_000);
    engine.subscribe(GlobalId(10), 0, true, sink).expect("a subscription");
    for (time, tick) in (1..).zip(ticks) {
        for table in 0..2 {
            let rows: Vec<_> = tick.iter().filter(|c| c.0 == table).map(|c| (c.1, c.2, c.3)).collect();
            let id = GlobalId(table as u32 + 1);
            engine.send(id, id, rows.chunks(3).map(|part| batch(part, time)).collect()).expect("changes at the tick");
        }
        engine.tick(time + 1, &[GlobalId(1), GlobalId(2)]);
    }
    let mut changes = Changes::new();
    loop {
        match from.recv_timeout(Duration::from_secs(20)).expect("progress") {
            SubscribeMsg::Updates { batch } => {
                for part in batch.iter() {
                    for row in 0..part.len() {
                        let value = |c: &ArrayRef| c.as_primitive::<Int64Type>().value(row);
                        assert!(part.rows.columns().iter().all(|c| c.is_valid(row)));
                        let key = (part.time, part.rows.columns().iter().map(value).collect());
                        *changes.entry(key).or_insert(0) += part.diff(row);
                    }
                }
            }
            SubscribeMsg::Progress(upper) if upper > ticks.len() as u64 => break,
            SubscribeMsg::Progress(_) => {}
            SubscribeMsg::Failed(_, e) => panic!("{e:?}"),
            SubscribeMsg::Error(e) => panic!("{e}"),
        }
    }
    engine.shutdown();
    changes.retain(|_, d| *d != 0);
    changes
}

/// Ticks in which every retraction has its row.
fn ticks() -> impl Strategy<Value = Vec<Tick>> {
    let change = (0..2usize, 0..6i64, 0..5i64, any::<bool>());
    prop::collection::vec(prop::collection::vec(change, 0..25), 1..12).prop_map(|ticks| {
        let mut there: BTreeMap<(usize, i64, i64), i64> = BTreeMap::new();
        let mut change = |(table, k, v, retract): (usize, i64, i64, bool)| {
            let count = there.entry((table, k, v)).or_insert(0);
            let diff = if retract && *count > 0 { -1 } else { 1 };
            *count += diff;
            (table, k, v, diff)
        };
        ticks.into_iter().map(|t| t.into_iter().map(&mut change).collect()).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn join(ticks in ticks(), workers in 1..4usize) {
        prop_assert_eq!(ours(What::Join, &ticks, workers), stock(What::Join, &ticks));
    }

    #[test]
    fn reduce(ticks in ticks(), workers in 1..4usize) {
        prop_assert_eq!(ours(What::Reduce, &ticks, workers), stock(What::Reduce, &ticks));
    }

    #[test]
    fn distinct(ticks in ticks(), workers in 1..4usize) {
        prop_assert_eq!(ours(What::Distinct, &ticks, workers), stock(What::Distinct, &ticks));
    }
}
