//! Operators that keep nothing: expressions, constants, negation, union.

use crate::types::{Pair, Parcels, RowStream, Rows, batch_of, error_types, schema_of};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array};
use hw_plan::ScalarExpr;
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

/// Filters, then computes; a row that fails becomes an error row of the same diff.
pub fn mfp<'s>(input: RowStream<'s>, mfp: Mfp, types: Vec<SqlType>, expression: String) -> Pair<'s> {
    let tagged = input.unary::<NoopBuilder<Parcels>, _, _, _>(Pipeline, "Mfp", move |_, _| {
        move |input, output| {
            input.for_each(|cap, rows| {
                let mut parcels = Parcels::default();
                rows.0.drain(..).for_each(|b| apply(&mfp, &b, &types, &expression, &mut parcels));
                if !parcels.0.is_empty() {
                    output.session_with_builder(&cap).give_container(&mut parcels);
                }
            })
        }
    });
    split_pair(tagged)
}

fn apply(mfp: &Mfp, batch: &UpdateBatch, types: &[SqlType], expression: &str, out: &mut Parcels) {
    let result = mfp.apply(&batch.rows);
    if result.rows.num_rows() > 0 {
        let diffs = match (&batch.diffs, &result.kept) {
            (Some(d), Some(kept)) => Some(Arc::new(take_diffs(d, kept))),
            (d, _) => d.clone(),
        };
        out.0.push((OK, UpdateBatch { rows: result.rows, diffs, time: batch.time }));
    }
    if !result.errors.is_empty() {
        let rows: Vec<ErrorRow> = result
            .errors
            .into_iter()
            .map(|(row, error)| ErrorRow {
                error,
                expression: expression.to_owned(),
                row: row_json(&batch.rows, row as usize, types),
                diff: batch.diff(row as usize),
            })
            .collect();
        out.0.push((ERR, error_batch(&rows, batch.time)));
    }
}

fn take_diffs(diffs: &Int64Array, kept: &UInt32Array) -> Int64Array {
    kept.values().iter().map(|i| diffs.value(*i as usize)).collect::<Vec<_>>().into()
}

/// An error on its way into the error collection.
pub struct ErrorRow {
    /// What happened.
    pub error: SqlError,
    /// Where.
    pub expression: String,
    /// For which row, as JSON.
    pub row: String,
    /// How often.
    pub diff: Diff,
}

/// Error rows as a batch.
pub fn error_batch(rows: &[ErrorRow], time: Timestamp) -> UpdateBatch {
    let text = |f: &dyn Fn(&ErrorRow) -> String| -> ArrayRef {
        Arc::new(StringArray::from(rows.iter().map(f).collect::<Vec<_>>()))
    };
    let columns = vec![
        text(&|r| r.error.code.as_str().to_owned()),
        text(&|r| r.error.message.clone()),
        text(&|r| r.expression.clone()),
        text(&|r| r.row.clone()),
    ];
    let diffs: Int64Array = rows.iter().map(|r| r.diff).collect::<Vec<_>>().into();
    let rows = batch_of(&schema_of(&error_types()), columns, rows.len()).expect("invariant: four text columns");
    UpdateBatch { rows, diffs: Some(Arc::new(diffs)), time }
}

/// A row as a JSON object of texts by column name.
pub fn row_json(batch: &RecordBatch, row: usize, types: &[SqlType]) -> String {
    let mut out = String::from("{");
    for (i, (field, ty)) in batch.schema().fields().iter().zip(types).enumerate() {
        if i > 0 {
            out.push(',');
        }
        json_string(field.name(), &mut out);
        out.push(':');
        let text = Datum::from_array(batch.column(i).as_ref(), row, *ty).ok().and_then(|d| d.to_text());
        match text {
            Some(text) => json_string(&text, &mut out),
            None => out.push_str("null"),
        }
    }
    out.push('}');
    out
}

fn json_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A text for the `expression` column.
pub fn describe(filter: &[ScalarExpr], project: &[ScalarExpr]) -> String {
    let failing = |e: &&ScalarExpr| hw_scalar::may_fail(e);
    let names: Vec<String> = filter.iter().chain(project).filter(failing).map(name).collect();
    names.join(", ")
}

fn name(e: &ScalarExpr) -> String {
    match e {
        ScalarExpr::Column(i, _) => format!("#{i}"),
        ScalarExpr::Literal(d, _) => d.to_text().unwrap_or_else(|| "NULL".into()),
        ScalarExpr::Call { func, args, .. } => {
            format!("{}({})", func.name(), args.iter().map(name).collect::<Vec<_>>().join(", "))
        }
        ScalarExpr::Cast { expr, to, .. } => format!("{}::{to}", name(expr)),
        other => other.children().into_iter().map(name).collect::<Vec<_>>().join(", "),
    }
}
