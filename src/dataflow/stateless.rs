//! Operators that keep nothing: expressions, constants, negation, union.

pub use crate::errors::{ErrorRow, error_batch, row_json};
use crate::errors::{column_names, expression_text};
use crate::types::{Pair, Parcels, RowStream, Rows, batch_of, schema_of};
use arrow::array::{ArrayRef, Int64Array, UInt32Array};
use hw_plan::{FlowPlan, ScalarExpr};
use hw_repr::{Datum, Diff, SqlError, SqlType, Timestamp, UpdateBatch};
use hw_scalar::Mfp;
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
