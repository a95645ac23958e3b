//! The operator of set-returning calls. It keeps nothing: the rows of a set have the diff of the row that they are of.

use crate::errors::{column_names, error_batch, expression_text};
use crate::stateless::{ERR, ErrorRow, Naming, OK, split_pair, take_diffs};
use crate::types::{Pair, Parcels, RowStream};
use hw_plan::{FlowPlan, ScalarExpr, SetCall};
use hw_repr::{SqlType, UpdateBatch};
use hw_scalar::sets::FlatMap;
use std::sync::Arc;
use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

/// The texts of calls over an input, for rows that fail.
pub fn naming(calls: &[SetCall], input: &FlowPlan) -> Naming {
    let names = column_names(input);
    let text = |c: &SetCall| {
        let ty = c.types.first().copied().unwrap_or(SqlType::Text);
        expression_text(&ScalarExpr::Call { func: c.func, args: c.args.clone(), ty }, &names)
    };
    Naming::of(calls.iter().map(text).collect(), input)
}

/// The rows of the sets of each row; a row that fails becomes an error row of the same diff.
pub fn flat_map(input: RowStream<'_>, map: FlatMap, naming: Naming) -> Pair<'_> {
    let tagged = input.unary::<NoopBuilder<Parcels>, _, _, _>(Pipeline, "FlatMap", move |_, _| {
        move |input, output| {
            input.for_each(|cap, rows| {
                let mut parcels = Parcels::default();
                rows.0.drain(..).for_each(|b| apply(&map, &b, &naming, &mut parcels));
                if !parcels.0.is_empty() {
                    output.session_with_builder(&cap).give_container(&mut parcels);
                }
            })
        }
    });
    split_pair(tagged)
}

fn apply(map: &FlatMap, batch: &UpdateBatch, naming: &Naming, out: &mut Parcels) {
    let result = map.apply(&batch.rows);
    for (rows, of) in result.parts {
        let diffs = batch.diffs.as_ref().map(|d| Arc::new(take_diffs(d, &of)));
        out.0.push((OK, UpdateBatch { rows, diffs, time: batch.time }));
    }
    let failed = result.errors.into_iter();
    let rows: Vec<ErrorRow> =
        failed.map(|(row, call, error)| naming.error_row(batch, row as usize, Some(call), error)).collect();
    if !rows.is_empty() {
        out.0.push((ERR, error_batch(&rows, batch.time)));
    }
}
