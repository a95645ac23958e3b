//! Every aggregate against itself: rows that came and went, in any order, in any split, leave what the rest alone gives.

use super::*;
use hw_plan::{AggregateFunc as F, OrderKey};
use hw_repr::datum::{Float, datums_to_array};
use hw_repr::text;
use proptest::prelude::*;

fn column(ty: SqlType, values: &[Option<&str>]) -> ArrayRef {
    let datums: Vec<Datum> = values.iter().map(|v| v.map_or(Datum::Null, |v| text::parse(ty, v).expect(v))).collect();
    datums_to_array(ty, &datums).expect("of the type")
}

/// The aggregate over its first columns, ordered by the others.
fn aggregate(func: F, types: &[SqlType], ty: SqlType, distinct: bool) -> Aggregate {
    let order = (func.arity()..types.len()).map(|column| OrderKey { column, descending: false, nulls_first: false });
    Aggregate {
        more: (1..func.arity()).collect(),
        order: order.collect(),
        ..Aggregate::new(func, Some(0), distinct, None, ty)
    }
}

fn evaluate(agg: &Aggregate, types: &[SqlType], columns: &[ArrayRef]) -> Datum {
    let evaluator = Evaluator::new(agg, types, false).expect("takes them");
    let mut state = evaluator.fresh();
    let mut rows = evaluator.rows(|c| columns[c].clone());
    for row in 0..columns[0].len() {
        if evaluator.counts(&rows, row) {
            evaluator.add(&mut state, &mut rows, row, 1).expect("adds");
        }
    }
    evaluator.finish(&state).expect("in range")
}

fn one(func: F, arg: SqlType, ty: SqlType, values: &[&str]) -> String {
    let values: Vec<Option<&str>> = values.iter().map(|v| (*v != "NULL").then_some(*v)).collect();
    evaluate(&aggregate(func, &[arg], ty, false), &[arg], &[column(arg, &values)]).to_string()
}

const N: SqlType = SqlType::Numeric(None);

/// What PostgreSQL 15 answers.
#[test]
fn variances_have_postgresqls_digits() {
    use SqlType::{Float8, Int4, Int8};
    let ints = ["1", "2", "4", "NULL"];
    assert_eq!(one(F::VarPop, Int4, N, &ints), "1.5555555555555556");
    assert_eq!(one(F::VarSamp, Int4, N, &ints), "2.3333333333333333");
    assert_eq!(one(F::StddevPop, Int4, N, &ints), "1.2472191289246471");
    assert_eq!(one(F::StddevSamp, Int4, N, &ints), "1.5275252316519467");
    assert_eq!(one(F::VarPop, Int4, N, &["5"]), "0");
    assert_eq!(one(F::VarSamp, Int4, N, &["5"]), "NULL");
    assert_eq!(one(F::VarPop, Int4, N, &["NULL"]), "NULL");
    assert_eq!(one(F::VarSamp, N, N, &["1.5", "2.25", "100"]), "3209.6458333333333333");
    let big = ["9223372036854775807", "-9223372036854775808"];
    assert_eq!(one(F::VarPop, Int8, N, &big), "85070591730234615856620279821087277056");
    assert_eq!(one(F::VarPop, Float8, Float8, &["1", "2", "4"]), "1.5555555555555556");
    assert_eq!(one(F::StddevSamp, Float8, Float8, &["1", "Infinity"]), "NaN");
}

#[test]
fn bits_and_lists() {
    use SqlType::{Int2, Int4, Jsonb, Text, TimestampTz};
    assert_eq!(one(F::BitAnd, Int4, Int4, &["-2", "7", "NULL"]), "6");
    assert_eq!(one(F::BitXor, Int2, Int2, &["-2", "7"]), "-7");
    assert_eq!(one(F::BitOr, Int2, Int2, &["-32768", "1"]), "-32767");
    assert_eq!(one(F::BitOr, Int2, Int2, &["0"]), "0");
    assert_eq!(one(F::JsonbAgg, Text, Jsonb, &["b\"", "NULL", "a"]), r#"["a", "b\"", null]"#);
    let at = one(F::JsonbAgg, TimestampTz, Jsonb, &["2024-02-29 12:34:56.5+00"]);
    assert_eq!(at, r#"["2024-02-29T12:34:56.5+00:00"]"#);
    let columns = [
        column(Text, &[Some("b"), Some("a"), None, Some("a")]),
        column(Text, &[Some(","), None, Some("x"), Some("+")]),
    ];
    let agg = aggregate(F::StringAgg, &[Text, Text], Text, false);
    assert_eq!(evaluate(&agg, &[Text, Text], &columns).to_string(), "aa,b");
}

fn percentile(func: F, fraction: f64, values: &[&str]) -> String {
    let order = vec![OrderKey { column: 0, descending: false, nulls_first: false }];
    let direct = vec![Datum::Float8(Float(fraction))];
    let agg = Aggregate { order, direct, ..Aggregate::new(func, Some(0), false, None, SqlType::Float8) };
    let values: Vec<Option<&str>> = values.iter().map(|v| Some(*v)).collect();
    evaluate(&agg, &[SqlType::Float8], &[column(SqlType::Float8, &values)]).to_string()
}

#[test]
fn percentiles() {
    let values = ["10", "20", "30", "40", "20"];
    assert_eq!(percentile(F::PercentileCont, 0.5, &values), "20");
    assert_eq!(percentile(F::PercentileCont, 0.9, &values), "36");
    assert_eq!(percentile(F::PercentileDisc, 0.6, &values), "20");
    assert_eq!(percentile(F::PercentileDisc, 0.61, &values), "30");
    assert_eq!(percentile(F::PercentileDisc, 0.0, &values), "10");
    assert_eq!(percentile(F::PercentileDisc, 1.0, &values), "40");
    assert_eq!(percentile(F::PercentileCont, 0.5, &[]), "NULL");
}

/// Aggregates with the types of their columns (arguments, then keys of the order) and of their result.
fn all() -> Vec<(F, Vec<SqlType>, SqlType)> {
    use SqlType::{Bool, Float4, Float8, Int2, Int4, Int8, Interval, Jsonb, Text};
    let mut all = vec![
        (F::Count, vec![Text], Int8),
        (F::Sum, vec![Int8], N),
        (F::Sum, vec![N], N),
        (F::Avg, vec![Interval], Interval),
        (F::Avg, vec![Float4], Float8),
        (F::Min, vec![N], N),
        (F::Max, vec![Interval], Interval),
        (F::BoolAnd, vec![Bool], Bool),
        (F::BitAnd, vec![Int2], Int2),
        (F::BitXor, vec![Int4], Int4),
        (F::VarPop, vec![Int8], N),
        (F::StddevSamp, vec![N], N),
        (F::VarSamp, vec![Float8], Float8),
        (F::StringAgg, vec![Text, Text, Int4], Text),
        (F::JsonbAgg, vec![N, Text], Jsonb),
        (F::JsonbObjectAgg, vec![Text, Float8], Jsonb),
        (F::First, vec![Text, Interval], Text),
        (F::Last, vec![N, Int4], N),
        (F::Mode, vec![N, N], N),
    ];
    for func in [F::CovarPop, F::CovarSamp, F::Corr, F::RegrSxx, F::RegrR2, F::RegrSlope, F::RegrIntercept] {
        all.push((func, vec![Float8, Float8], Float8));
    }
    all
}

fn values(ty: SqlType) -> &'static [&'static str] {
    match ty {
        SqlType::Bool => &["t", "f"],
        SqlType::Int2 | SqlType::Int4 => &["0", "1", "-1", "77", "-32768"],
        SqlType::Int8 => &["0", "-5", "9223372036854775807", "1000000"],
        SqlType::Float4 | SqlType::Float8 => &["0.1", "-1e10", "3", "Infinity", "NaN", "0", "2.5"],
        SqlType::Interval => &["1 mon", "30 days", "-1 day", "24:00:00", "00:00:00.5"],
        SqlType::Text => &["a", "b", "", "ab"],
        _ => &["1", "1.0", "1.00", "-2.5", "1000000.125", "0"],
    }
}

type Cells = Vec<Option<usize>>;

fn rows() -> impl Strategy<Value = Vec<Cells>> {
    let cell = prop::option::weighted(0.85, 0usize..7);
    prop::collection::vec(prop::collection::vec(cell, 3), 0..12)
}

proptest! {
    #[test]
    fn retracted_rows_leave_no_trace(which in 0usize..26, distinct: bool, kept in rows(), gone in rows(), swap: bool) {
        let (func, types, ty) = all()[which % all().len()].clone();
        let mut agg = aggregate(func, &types, ty, distinct);
        if distinct {
            // As the planner has it: the order of distinct arguments is by arguments.
            agg.order.iter_mut().for_each(|k| k.column = 0);
        }
        let columns = |rows: &[Cells]| -> Vec<ArrayRef> {
            types.iter().enumerate().map(|(i, ty)| {
                let cells: Vec<Option<&str>> = rows.iter().map(|r| r[i].map(|v| values(*ty)[v % values(*ty).len()])).collect();
                column(*ty, &cells)
            }).collect()
        };
        let evaluator = Evaluator::new(&agg, &types, false).expect("takes them");
        let add = |state: &mut State, rows: &[Cells], diff| {
            let columns = columns(rows);
            let mut batch = evaluator.rows(|c| columns[c].clone());
            for row in 0..rows.len() {
                if evaluator.counts(&batch, row) {
                    evaluator.add(state, &mut batch, row, diff).expect("adds");
                }
            }
        };
        let finish = |state: &State| evaluator.finish(state).map(|d| d.to_string()).map_err(|e| e.message);
        let mut plain = evaluator.fresh();
        add(&mut plain, &kept, 1);
        let mut reversed = kept.clone();
        reversed.reverse();
        let mut state = evaluator.fresh();
        if swap { add(&mut state, &gone, 1); }
        add(&mut state, &reversed, 1);
        if !swap { add(&mut state, &gone, 1); }
        // Through a checkpoint.
        let mut bytes = vec![];
        evaluator.write(&state, &mut bytes);
        let mut state = evaluator.read(&mut Input(&bytes)).expect("whole");
        add(&mut state, &gone, -1);
        prop_assert_eq!(finish(&state), finish(&plain));
        // In two parts.
        let (mut a, mut b) = (evaluator.fresh(), evaluator.fresh());
        add(&mut a, &kept[..kept.len() / 2], 1);
        add(&mut b, &kept[kept.len() / 2..], 1);
        evaluator.merge(&mut b, a).expect("of one aggregate");
        prop_assert_eq!(finish(&b), finish(&plain));
        // All gone: nothing is left but an empty state.
        add(&mut state, &kept, -1);
        prop_assert_eq!(finish(&state), finish(&evaluator.fresh()));
        prop_assert!(state.bytes() <= evaluator.fresh().bytes() + 64);
    }
}
