//! Operators that keep nothing: expressions, constants, negation, union.

pub use crate::errors::{ErrorRow, error_batch, row_json};
use crate::errors::{column_names, expression_text};
use crate::types::{Pair, Parcels, RowStream, Rows, batch_of, schema_of};
use arrow::array::{ArrayRef, AsArray, Int64Array, UInt32Array};
use hw_plan::flow::RowNumber;
use hw_plan::{FlowPlan, ScalarExpr};
use hw_repr::encoding::RowCodec;
use hw_repr::{Datum, Diff, SqlError, SqlType, Timestamp, UpdateBatch};
use hw_scalar::Mfp;
use hw_scalar::aggregate::TopRow;
use std::sync::Arc;
use timely::container::NoopBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::core::Concatenate;
use timely::dataflow::operators::generic::{Operator, operator::source};

/// Tag of rows in a [`Parcels`] that [`split_pair`] takes apart.
pub const OK: usize = 0;
/// Tag of error rows.
pub const ERR: usize = 1;

/// Takes apart a stream of tagged batches.
pub fn split_pair(stream: timely::dataflow::Stream<'_, u64, Parcels>) -> Pair<'_> {
    Pair { oks: only(stream.clone(), OK, "Oks"), errs: only(stream, ERR, "Errs") }
}

/// Of a stream without errors.
pub fn only_oks(stream: timely::dataflow::Stream<'_, u64, Parcels>) -> RowStream<'_> {
    only(stream, OK, "Oks")
}

fn only<'s>(stream: timely::dataflow::Stream<'s, u64, Parcels>, tag: usize, name: &str) -> RowStream<'s> {
    stream.unary::<NoopBuilder<Rows>, _, _, _>(Pipeline, name, move |_, _| {
        move |input, output| {
            input.for_each(|cap, parcels| {
                let mine = |p: (usize, UpdateBatch)| (p.0 == tag && !p.1.is_empty()).then_some(p.1);
                let mut rows = Rows(parcels.0.drain(..).filter_map(mine).collect());
                if !rows.0.is_empty() {
                    output.session_with_builder(&cap).give_container(&mut rows);
                }
            })
        }
    })
}

/// Applies `f` to every batch.
pub fn map<'s>(
    stream: RowStream<'s>,
    name: &str,
    mut f: impl FnMut(UpdateBatch) -> UpdateBatch + 'static,
) -> RowStream<'s> {
    stream.unary::<NoopBuilder<Rows>, _, _, _>(Pipeline, name, move |_, _| {
        move |input, output| {
            input.for_each(|cap, rows| {
                let mut rows = Rows(rows.0.drain(..).map(&mut f).collect());
                output.session_with_builder(&cap).give_container(&mut rows);
            })
        }
    })
}

/// Chooses columns.
pub fn project<'s>(stream: RowStream<'s>, columns: &[usize]) -> RowStream<'s> {
    let columns = columns.to_vec();
    map(stream, "Project", move |b| {
        let rows = b.rows.project(&columns).expect("invariant: the plan names columns of the relation");
        UpdateBatch { rows, ..b }
    })
}

/// Negates every diff.
pub fn negate(stream: RowStream<'_>) -> RowStream<'_> {
    map(stream, "Negate", |b| {
        let diffs: Int64Array = (0..b.len()).map(|i| -b.diff(i)).collect::<Vec<_>>().into();
        UpdateBatch { diffs: Some(Arc::new(diffs)), ..b }
    })
}

/// Takes everything and gives nothing on.
pub fn discard(stream: RowStream<'_>) -> RowStream<'_> {
    stream.unary::<NoopBuilder<Rows>, _, _, _>(Pipeline, "Discard", move |_, _| {
        move |input, _| input.for_each(|_, rows| rows.0.clear())
    })
}

/// The sum of collections.
pub fn union<'s>(scope: Scope<'s, u64>, mut streams: Vec<RowStream<'s>>) -> RowStream<'s> {
    if streams.len() == 1
        && let Some(only) = streams.pop()
    {
        return only;
    }
    scope.concatenate(streams)
}

/// Rows that enter once, at `as_of`, on the first worker.
pub fn constant<'s>(scope: Scope<'s, u64>, batch: Option<UpdateBatch>) -> RowStream<'s> {
    let first = scope.index() == 0;
    source::<_, NoopBuilder<Rows>, _, _>(scope, "Constant", move |capability, _| {
        let mut todo = batch.filter(|_| first).map(|b| (capability.delayed(&b.time), b));
        move |output| {
            if let Some((capability, batch)) = todo.take() {
                output.session_with_builder(&capability).give_container(&mut Rows(vec![batch]));
            }
        }
    })
}

/// The rows of a constant as a batch.
pub fn constant_batch(
    rows: &[(Vec<Datum>, Diff)],
    types: &[SqlType],
    time: Timestamp,
) -> Result<UpdateBatch, SqlError> {
    let column = |c: usize| -> Result<ArrayRef, SqlError> {
        let values: Vec<Datum> = rows.iter().map(|r| r.0[c].clone()).collect();
        hw_repr::datum::datums_to_array(types[c], &values)
    };
    if rows.iter().any(|r| r.0.len() != types.len()) {
        return Err(SqlError::internal("a constant row does not have the columns of its description"));
    }
    let columns = (0..types.len()).map(column).collect::<Result<Vec<_>, _>>()?;
    let diffs: Int64Array = rows.iter().map(|r| r.1).collect::<Vec<_>>().into();
    Ok(UpdateBatch { rows: batch_of(&schema_of(types), columns, rows.len())?, diffs: Some(Arc::new(diffs)), time })
}

/// The rows that the last column of a top-k's groups holds (see [`TopRow`]), then their numbers. What a group showed before
/// and shows still cancels within a batch.
pub fn top_rows<'s>(stream: RowStream<'s>, types: &[SqlType], numbers: &[RowNumber]) -> RowStream<'s> {
    let mut shown = types.to_vec();
    shown.extend(numbers.iter().map(|_| SqlType::Int8));
    let (codec, schema, numbers) = (RowCodec::new(types), schema_of(&shown), numbers.to_vec());
    let take_apart = move |b: UpdateBatch| -> Result<UpdateBatch, SqlError> {
        let lists = b.rows.column(b.rows.num_columns() - 1).as_binary::<i32>();
        let mut places: hashbrown::HashMap<TopRow<'_>, usize> = hashbrown::HashMap::new();
        let mut rows: Vec<(TopRow<'_>, Diff)> = vec![];
        for at in 0..b.len() {
            for row in hw_scalar::aggregate::top_rows(lists.value(at))? {
                for (row, diff) in separate(row, b.diff(at), &numbers) {
                    let place = *places.entry(row).or_insert(rows.len());
                    match rows.get_mut(place) {
                        Some(known) => known.1 += diff,
                        None => rows.push((row, diff)),
                    }
                }
            }
        }
        rows.retain(|r| r.1 != 0);
        let mut columns = codec.decode(&mut rows.iter().map(|r| r.0.row))?;
        for number in &numbers {
            let of = |r: &(TopRow<'_>, Diff)| match number {
                RowNumber::RowNumber => r.0.first,
                RowNumber::Rank => r.0.rank,
                RowNumber::DenseRank => r.0.dense_rank,
            };
            columns.push(Arc::new(rows.iter().map(of).collect::<Int64Array>()));
        }
        let diffs: Int64Array = rows.iter().map(|r| r.1).collect();
        Ok(UpdateBatch { rows: batch_of(&schema, columns, rows.len())?, diffs: Some(Arc::new(diffs)), time: b.time })
    };
    stream.unary::<NoopBuilder<Rows>, _, _, _>(Pipeline, "TopRows", move |_, _| {
        move |input, output| {
            input.for_each(|cap, rows| {
                let apart = |b| take_apart(b).expect("invariant: the reduction made the lists");
                let mut rows = Rows(rows.0.drain(..).map(apart).filter(|b| !b.is_empty()).collect());
                if !rows.0.is_empty() {
                    output.session_with_builder(&cap).give_container(&mut rows);
                }
            })
        }
    })
}

/// Equal rows as one with a greater diff, or each by itself where their row numbers are shown; numbers that are not shown
/// are 0.
fn separate<'a>(
    row: TopRow<'a>,
    diff: Diff,
    numbers: &[RowNumber],
) -> impl Iterator<Item = (TopRow<'a>, Diff)> + use<'a> {
    let shown = |kind, n: i64| if numbers.contains(&kind) { n } else { 0 };
    let one = TopRow {
        first: 0,
        copies: 1,
        rank: shown(RowNumber::Rank, row.rank),
        dense_rank: shown(RowNumber::DenseRank, row.dense_rank),
        ..row
    };
    let each = numbers.contains(&RowNumber::RowNumber);
    let (rows, times) = if each { (row.copies, 1) } else { (1, row.copies) };
    let first = if each { row.first } else { 0 };
    (0..rows).map(move |i| (TopRow { first: if each { first + i } else { 0 }, ..one }, diff * times))
}

/// What a row that fails is told of: the texts of the expressions, and of the input's columns.
pub struct Naming {
    /// The conjuncts of the filter, then the projection.
    expressions: Vec<String>,
    names: Vec<String>,
    types: Vec<SqlType>,
}

impl Naming {
    /// Of these texts.
    pub fn of(expressions: Vec<String>, input: &FlowPlan) -> Naming {
        Naming { expressions, names: column_names(input), types: input.types() }
    }

    /// The error row of a row that fails on the expression of that number.
    pub fn error_row(&self, batch: &UpdateBatch, row: usize, failing: Option<usize>, error: SqlError) -> ErrorRow {
        ErrorRow {
            error,
            expression: failing.and_then(|i| self.expressions.get(i)).cloned().unwrap_or_default(),
            row: row_json(&batch.rows, row, &self.types, &self.names),
            diff: batch.diff(row),
        }
    }

    /// Of filters and projections over an input.
    pub fn new(filter: &[ScalarExpr], project: &[ScalarExpr], input: &FlowPlan) -> Naming {
        let names = column_names(input);
        let all = hw_scalar::conjuncts(filter).into_iter().chain(project);
        Naming { expressions: all.map(|e| expression_text(e, &names)).collect(), names, types: input.types() }
    }
}

/// Filters, then computes; a row that fails becomes an error row of the same diff.
pub fn mfp<'s>(input: RowStream<'s>, mfp: Mfp, naming: Naming) -> Pair<'s> {
    let tagged = input.unary::<NoopBuilder<Parcels>, _, _, _>(Pipeline, "Mfp", move |_, _| {
        move |input, output| {
            input.for_each(|cap, rows| {
                let mut parcels = Parcels::default();
                rows.0.drain(..).for_each(|b| apply(&mfp, &b, &naming, &mut parcels));
                if !parcels.0.is_empty() {
                    output.session_with_builder(&cap).give_container(&mut parcels);
                }
            })
        }
    });
    split_pair(tagged)
}

fn apply(mfp: &Mfp, batch: &UpdateBatch, naming: &Naming, out: &mut Parcels) {
    let result = mfp.apply(&batch.rows);
    if result.rows.num_rows() > 0 {
        let diffs = match (&batch.diffs, &result.kept) {
            (Some(d), Some(kept)) => Some(Arc::new(take_diffs(d, kept))),
            (d, _) => d.clone(),
        };
        out.0.push((OK, UpdateBatch { rows: result.rows, diffs, time: batch.time }));
    }
    if !result.errors.is_empty() {
        let error_row = |(row, error): (u32, SqlError)| {
            let row = row as usize;
            naming.error_row(batch, row, mfp.failing_expression(&batch.rows, row), error)
        };
        let rows: Vec<ErrorRow> = result.errors.into_iter().map(error_row).collect();
        out.0.push((ERR, error_batch(&rows, batch.time)));
    }
}

/// The diffs of some rows.
pub fn take_diffs(diffs: &Int64Array, kept: &UInt32Array) -> Int64Array {
    kept.values().iter().map(|i| diffs.value(*i as usize)).collect::<Vec<_>>().into()
}
