//! Reads over hand-made published relations. Families: consolidation (copies, retractions, times), seeks (a poisoned
//! row outside the key must not be met), planning (joins, aggregates, pushed filters) and errors.

use arrow::array::{Array, ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::logical_plan::builder::LogicalTableSource;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, LogicalPlanBuilder, col, lit};
use futures::StreamExt;
use hw_plan::{Func, ScalarExpr};
use hw_query::{ComputedIndex, QueryOptions, QueryTable, execute, point_read, table_name, to_sql_error};
use hw_repr::chunk::{Body, ChunkBody, ChunkView, PublishedShard};
use hw_repr::encoding::RowCodec;
use hw_repr::{Column, Datum, GlobalId, PublishedRelation, RelationDesc, SqlError, SqlState, SqlType};
use std::collections::HashMap;
use std::sync::Arc;

/// (key, value, time, diff) of a relation `(v text, k bigint)` keyed by `k`.
type Change = (i64, &'static str, u64, i64);

fn desc() -> RelationDesc {
    RelationDesc::new(vec![
        Column { name: "v".into(), ty: SqlType::Text, nullable: true },
        Column { name: "k".into(), ty: SqlType::Int8, nullable: true },
    ])
}

/// Each run becomes a sorted run of views of at most two rows, on shard `run % shards`.
fn publish(runs: &[Vec<Change>], shards: usize, since: u64, upper: u64) -> Arc<PublishedRelation> {
    let codec = RowCodec::new(&[SqlType::Int8, SqlType::Text]);
    let mut out: Vec<PublishedShard> = (0..shards).map(|_| PublishedShard { since, upper, runs: vec![] }).collect();
    for (at, run) in runs.iter().enumerate() {
        let mut rows: Vec<(Vec<u8>, u64, i64)> = run
            .iter()
            .map(|(k, v, t, d)| {
                let mut bytes = vec![];
                codec.encode_datums(&[Datum::Int8(*k), Datum::Text((*v).into())], &mut bytes).expect("encodes");
                (bytes, *t, *d)
            })
            .collect();
        rows.sort();
        let mut body = ChunkBody::default();
        for (bytes, time, diff) in &rows {
            body.push(bytes, codec.prefix_len(bytes, 1), *time, *diff);
        }
        let (body, len) = (Arc::new(Body::from(body)), rows.len());
        let views = (0..len).step_by(2).map(|lo| ChunkView { body: body.clone(), lo, hi: (lo + 2).min(len) });
        out[at % shards].runs.push(views.collect());
    }
    let shards = out.into_iter().map(Arc::new).collect();
    Arc::new(PublishedRelation { shards, key: vec![1], order: vec![1, 0] })
}

fn snapshot(published: &Arc<PublishedRelation>, as_of: u64) -> QueryTable {
    QueryTable::Snapshot { desc: desc(), published: published.clone(), indexes: vec![], computed: vec![], as_of }
}

fn scan(id: u32) -> LogicalPlanBuilder {
    let source = Arc::new(LogicalTableSource::new(desc().schema()));
    LogicalPlanBuilder::scan(table_name(GlobalId(id)), source, None).expect("scan")
}

async fn run(
    plan: LogicalPlan,
    tables: Vec<(u32, QueryTable)>,
    batch_rows: usize,
) -> Result<Vec<RecordBatch>, SqlError> {
    let tables: HashMap<GlobalId, QueryTable> = tables.into_iter().map(|(id, t)| (GlobalId(id), t)).collect();
    let opts = QueryOptions { batch_rows, ..QueryOptions::default() };
    let mut stream = execute(plan, tables, opts).await?;
    let mut out = vec![];
    while let Some(batch) = stream.next().await {
        out.push(batch.map_err(|e| to_sql_error(&e))?);
    }
    Ok(out)
}

fn rows(batches: &[RecordBatch]) -> Vec<(i64, String)> {
    let mut out = vec![];
    for b in batches {
        let v = b.column(0).as_any().downcast_ref::<StringArray>().expect("text");
        let k = b.column(1).as_any().downcast_ref::<Int64Array>().expect("bigint");
        out.extend((0..b.num_rows()).map(|i| (k.value(i), v.value(i).to_string())));
    }
    out.sort();
    out
}

fn owned(rows: &[(i64, &str)]) -> Vec<(i64, String)> {
    rows.iter().map(|(k, v)| (*k, v.to_string())).collect()
}

/// `k = value` as the planner writes it: a call of our own function.
fn eq(column: Expr, value: i64) -> Expr {
    hw_scalar::udf(Func::Eq, &[SqlType::Int8, SqlType::Int8], SqlType::Bool).call(vec![column, lit(value)])
}

fn history() -> Vec<Vec<Change>> {
    vec![
        vec![(1, "a", 5, 1), (2, "b", 5, 3), (3, "c", 5, 1), (9, "z", 5, 1)],
        vec![(1, "a", 7, -1), (2, "b", 7, -1), (4, "d", 7, 1)],
        vec![(3, "c", 9, 2), (4, "d", 9, -1), (1, "aa", 9, 1)],
    ]
}

#[tokio::test]
async fn a_scan_consolidates_up_to_its_time() {
    for shards in [1, 3] {
        // Runs of one shard are merged; a row never lives in two shards, so with three the runs are disjoint.
        let runs = if shards == 1 { history() } else { vec![history()[0].clone(), vec![], vec![(5, "e", 6, 2)]] };
        let published = publish(&runs, shards, 0, 20);
        let at = |t| run(scan(1).build().expect("plan"), vec![(1, snapshot(&published, t))], 8192);
        assert_eq!(rows(&at(4).await.expect("rows")), vec![]);
        if shards == 1 {
            let seven = owned(&[(2, "b"), (2, "b"), (3, "c"), (4, "d"), (9, "z")]);
            assert_eq!(rows(&at(7).await.expect("rows")), seven);
            let nine = owned(&[(1, "aa"), (2, "b"), (2, "b"), (3, "c"), (3, "c"), (3, "c"), (9, "z")]);
            assert_eq!(rows(&at(19).await.expect("rows")), nine);
        } else {
            assert_eq!(rows(&at(7).await.expect("rows")).len(), 8);
        }
    }
}

#[tokio::test]
async fn batches_are_bounded_even_within_one_row() {
    let published = publish(&[vec![(1, "a", 1, 10), (2, "b", 1, 1)]], 1, 0, 2);
    let got = run(scan(1).build().expect("plan"), vec![(1, snapshot(&published, 1))], 3).await.expect("rows");
    assert!(got.iter().all(|b| b.num_rows() <= 3));
    assert_eq!(got.iter().map(RecordBatch::num_rows).sum::<usize>(), 11);
}

#[tokio::test]
async fn a_read_outside_the_snapshot_is_refused() {
    let published = publish(&history(), 1, 6, 20);
    let at = |t| run(scan(1).build().expect("plan"), vec![(1, snapshot(&published, t))], 8192);
    assert_eq!(at(5).await.expect_err("too old").code, SqlState::PREREQUISITE_STATE);
    assert_eq!(at(20).await.expect_err("too new").code, SqlState::INTERNAL);
    assert!(at(6).await.is_ok());
}

/// A relation in which reading key 7 fails: its count is negative.
fn poisoned() -> Arc<PublishedRelation> {
    let mut runs = history();
    runs.push(vec![(7, "poison", 1, -1), (-7, "poison", 1, -1)]);
    publish(&runs, 1, 0, 20)
}

#[tokio::test]
async fn an_equality_on_the_key_seeks() {
    let table = || vec![(1, snapshot(&poisoned(), 19))];
    let all = run(scan(1).build().expect("plan"), table(), 8192).await;
    assert_eq!(all.expect_err("the poison is met").code, SqlState::INTERNAL);
    let plan = scan(1).filter(eq(col("k"), 3)).and_then(|p| p.build()).expect("plan");
    assert_eq!(rows(&run(plan, table(), 8192).await.expect("rows")), owned(&[(3, "c"); 3]));
    let conjunction = eq(col("k"), 1).and(col("v").eq(lit("aa")));
    let plan = scan(1).filter(conjunction).and_then(|p| p.build()).expect("plan");
    assert_eq!(rows(&run(plan, table(), 8192).await.expect("rows")), owned(&[(1, "aa")]));
    let under_alias = scan(1).alias("t").and_then(|p| p.filter(eq(col("t.k"), 9))).and_then(|p| p.build());
    let got = run(under_alias.expect("plan"), table(), 8192).await.expect("rows");
    assert_eq!(rows(&got), owned(&[(9, "z")]));
    let missing = scan(1).filter(eq(col("k"), 5)).and_then(|p| p.build()).expect("plan");
    assert_eq!(rows(&run(missing, table(), 8192).await.expect("rows")), vec![]);
}

#[tokio::test]
async fn one_function_for_the_whole_filter_seeks_too() {
    let key = ScalarExpr::Column(0, SqlType::Int8);
    let three = ScalarExpr::Literal(Datum::Int8(3), SqlType::Int8);
    let equal = ScalarExpr::Call { func: Func::Eq, args: vec![three, key.clone()], ty: SqlType::Bool };
    let known = ScalarExpr::Not(Box::new(ScalarExpr::IsNull(Box::new(key))));
    let udf = hw_scalar::udf_for(ScalarExpr::And(vec![known, equal]), &[SqlType::Int8]);
    let plan = scan(1).filter(udf.call(vec![col("k")])).and_then(|p| p.build()).expect("plan");
    let got = run(plan, vec![(1, snapshot(&poisoned(), 19))], 8192).await.expect("rows");
    assert_eq!(rows(&got), owned(&[(3, "c"); 3]));
}

/// `(v, k)` by `upper(v)`; the base relation is poisoned and so are the index' other keys.
fn by_upper() -> QueryTable {
    let codec = RowCodec::new(&[SqlType::Text, SqlType::Text, SqlType::Int8]);
    let mut rows: Vec<(Vec<u8>, i64)> = [("A", "a", 1, 1), ("C", "c", 3, 3), ("D", "d", 4, 1), ("POISON", "x", 7, -1)]
        .into_iter()
        .map(|(upper, v, k, diff)| {
            let mut bytes = vec![];
            let row = [Datum::Text(upper.into()), Datum::Text(v.into()), Datum::Int8(k)];
            codec.encode_datums(&row, &mut bytes).expect("encodes");
            (bytes, diff)
        })
        .collect();
    rows.sort();
    let mut body = ChunkBody::default();
    rows.iter().for_each(|(bytes, diff)| body.push(bytes, codec.prefix_len(bytes, 1), 5, *diff));
    let views = vec![ChunkView { body: Arc::new(Body::from(body)), lo: 0, hi: rows.len() }];
    let shards = vec![Arc::new(PublishedShard { since: 0, upper: 20, runs: vec![views] })];
    let published = Arc::new(PublishedRelation { shards, key: vec![2], order: vec![2, 0, 1] });
    let computed = vec![ComputedIndex { published, expressions: Arc::new([upper(0)]) }];
    QueryTable::Snapshot { desc: desc(), published: poisoned(), indexes: vec![], computed, as_of: 19 }
}

fn upper(column: usize) -> ScalarExpr {
    ScalarExpr::Call { func: Func::Upper, args: vec![ScalarExpr::Column(column, SqlType::Text)], ty: SqlType::Text }
}

#[tokio::test]
async fn an_equality_of_an_expression_seeks_in_an_index_on_it() {
    let call = || hw_scalar::udf_for(upper(0), &[SqlType::Text]).call(vec![col("v")]);
    let read = async |filter: Expr| {
        let plan = scan(1).filter(filter).and_then(|p| p.build()).expect("plan");
        run(plan, vec![(1, by_upper())], 8192).await.map(|b| rows(&b))
    };
    // A native comparison, and one within a function of the whole condition.
    assert_eq!(read(call().eq(lit("C"))).await.expect("rows"), owned(&[(3, "c"); 3]));
    let other = ScalarExpr::Literal(Datum::Text("D".into()), SqlType::Text);
    let equal = ScalarExpr::Call { func: Func::Eq, args: vec![other, upper(0)], ty: SqlType::Bool };
    let whole = hw_scalar::udf_for(ScalarExpr::And(vec![equal]), &[SqlType::Text]).call(vec![col("v")]);
    assert_eq!(read(whole.and(col("k").gt(lit(1i64)))).await.expect("rows"), owned(&[(4, "d")]));
    // Filters that stand above each other; behind one that may fail nothing is sought by, as that is tried on all rows.
    let stacked = async |below: Expr| {
        let plan = scan(1).filter(below).and_then(|p| p.filter(call().eq(lit("C")))).and_then(|p| p.build());
        run(plan.expect("plan"), vec![(1, by_upper())], 8192).await.map(|b| rows(&b))
    };
    assert_eq!(stacked(col("k").gt(lit(1i64))).await.expect("rows"), owned(&[(3, "c"); 3]));
    let ratio = hw_scalar::udf(Func::Div, &[SqlType::Int8, SqlType::Int8], SqlType::Int8);
    assert!(stacked(ratio.call(vec![lit(10i64), col("k")]).gt(lit(1i64))).await.is_err());
    // Another expression, a disjunction, an order: all rows are read, the poison is met.
    let lower = hw_scalar::udf(Func::Lower, &[SqlType::Text], SqlType::Text);
    assert!(read(lower.call(vec![col("v")]).eq(lit("c"))).await.is_err());
    assert!(read(call().eq(lit("C")).or(call().eq(lit("D")))).await.is_err());
    assert!(read(call().gt(lit("C"))).await.is_err());
}

#[tokio::test]
async fn a_filter_on_the_scan_is_applied_and_seeks() {
    let source = Arc::new(LogicalTableSource::new(desc().schema()));
    let name = table_name(GlobalId(1));
    let plan = LogicalPlanBuilder::scan_with_filters(name, source, Some(vec![0]), vec![eq(col("k"), 3)])
        .and_then(|p| p.build())
        .expect("plan");
    let got = run(plan, vec![(1, snapshot(&poisoned(), 19))], 8192).await.expect("rows");
    assert_eq!(got.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    assert!(got.iter().all(|b| b.num_columns() == 1));
}

#[tokio::test]
async fn a_disjunction_does_not_seek() {
    let published = publish(&history(), 1, 0, 20);
    let either = eq(col("k"), 3).or(eq(col("k"), 9));
    let plan = scan(1).filter(either).and_then(|p| p.build()).expect("plan");
    let got = run(plan, vec![(1, snapshot(&published, 5))], 8192).await.expect("rows");
    assert_eq!(rows(&got), owned(&[(3, "c"), (9, "z")]));
}

#[tokio::test]
async fn joins_and_aggregates_over_snapshots_and_batches() {
    let published = publish(&history(), 1, 0, 20);
    let v: ArrayRef = Arc::new(StringArray::from(vec!["two", "nine"]));
    let k: ArrayRef = Arc::new(Int64Array::from(vec![2, 9]));
    let batch = RecordBatch::try_new(desc().schema(), vec![v, k]).expect("batch");
    let tables = vec![(1, snapshot(&published, 19)), (2, QueryTable::Batches { desc: desc(), batches: vec![batch] })];
    let right = scan(2).alias("r").and_then(|p| p.build()).expect("plan");
    let plan = scan(1)
        .alias("l")
        .and_then(|p| p.join(right, JoinType::Inner, (vec!["l.k"], vec!["r.k"]), None))
        .and_then(|p| p.aggregate(Vec::<Expr>::new(), vec![count(lit(1i64)), sum(col("l.k"))]))
        .and_then(|p| p.build())
        .expect("plan");
    let got = run(plan, tables, 8192).await.expect("rows");
    let value = |i: usize| got[0].column(i).as_any().downcast_ref::<Int64Array>().expect("bigint").value(0);
    assert_eq!((value(0), value(1)), (3, 13));
}

#[tokio::test]
async fn counting_needs_no_column() {
    let published = publish(&history(), 1, 0, 20);
    let source = Arc::new(LogicalTableSource::new(desc().schema()));
    let plan = LogicalPlanBuilder::scan(table_name(GlobalId(1)), source, Some(vec![]))
        .and_then(|p| p.aggregate(Vec::<Expr>::new(), vec![count(lit(1i64))]))
        .and_then(|p| p.build())
        .expect("plan");
    let got = run(plan, vec![(1, snapshot(&published, 19))], 8192).await.expect("rows");
    assert_eq!(got[0].column(0).as_any().downcast_ref::<Int64Array>().expect("bigint").value(0), 7);
}

#[tokio::test]
async fn a_failing_function_keeps_its_sqlstate() {
    let published = publish(&history(), 1, 0, 20);
    let int8 = [SqlType::Int8, SqlType::Int8];
    let div = hw_scalar::udf(Func::Div, &int8, SqlType::Int8).call(vec![lit(1i64), lit(0i64)]);
    let sum = hw_scalar::udf(Func::Add, &int8, SqlType::Int8).call(vec![col("k"), div]);
    let plan = scan(1).project(vec![sum]).and_then(|p| p.build()).expect("plan");
    let got = run(plan, vec![(1, snapshot(&published, 19))], 8192).await;
    assert_eq!(got.expect_err("fails").code, SqlState::DIVISION_BY_ZERO);
}

#[tokio::test]
async fn a_relation_that_does_not_fit_its_plan_is_refused() {
    let other = RelationDesc::new(vec![Column { name: "v".into(), ty: SqlType::Int4, nullable: true }]);
    let batch = RecordBatch::try_new(other.schema(), vec![Arc::new(Int32Array::from(vec![1]))]).expect("batch");
    let table = QueryTable::Batches { desc: other, batches: vec![batch] };
    let got = run(scan(1).build().expect("plan"), vec![(1, table)], 8192).await;
    assert_eq!(got.expect_err("refused").code, SqlState::SERIALIZATION);
    let got = run(scan(1).build().expect("plan"), vec![], 8192).await;
    assert_eq!(got.expect_err("refused").code, SqlState::INTERNAL);
}

/// What is computed of several partitions is computed on the threads of queries, whatever runtime asks for it.
#[test]
fn partitions_are_read_beside_the_caller() {
    let published = publish(&[vec![(1, "a", 1, 1)], vec![(2, "b", 1, 1)], vec![(3, "c", 1, 1)]], 3, 0, 9);
    let plan = scan(1).aggregate(Vec::<Expr>::new(), vec![count(col("v"))]).and_then(|p| p.build()).expect("plan");
    let (done, answer) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let caller = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
        let tables = HashMap::from([(GlobalId(1), snapshot(&published, 5))]);
        let stream = caller.block_on(execute(plan, tables, QueryOptions::default())).expect("starts");
        // From here on the caller's runtime runs nothing.
        let batches: Vec<_> = futures::executor::block_on(stream.collect());
        let _ = done.send(batches.into_iter().map(|b| b.expect("rows").num_rows()).sum::<usize>());
    });
    assert_eq!(answer.recv_timeout(std::time::Duration::from_secs(30)), Ok(1));
}

#[test]
fn point_reads_answer_without_a_plan() {
    let published = poisoned();
    let read = |key: &[Datum], at| point_read(&desc(), &published, key, at);
    let got = read(&[Datum::Int8(3)], 19).expect("reads").expect("seeks");
    assert_eq!(rows(&got), owned(&[(3, "c"); 3]));
    assert_eq!(rows(&read(&[Datum::Int8(4)], 19).expect("reads").expect("seeks")), vec![]);
    assert_eq!(rows(&read(&[Datum::Null], 19).expect("reads").expect("seeks")), vec![]);
    assert!(read(&[Datum::Int4(3)], 19).expect("reads").is_none(), "another type is the planner's matter");
    assert!(read(&[Datum::Int8(3), Datum::Text("c".into())], 19).expect("reads").is_none(), "more than the key");
}
