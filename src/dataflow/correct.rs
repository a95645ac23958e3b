//! The correction step: a flow that is computed anew goes on from what was shown of it.
//!
//! What a checkpoint had of the served rows stays as it is, for those who read the flow from there. Everything that the
//! flow is computed to hold up to a time enters at that time, together with all that was shown, negated: the arrangement
//! consolidates both, so what follows sees only new - old, once. Later changes pass as they are.
//!
//! Invariant: nothing enters before that time, so the flow has not passed it before it has been computed.

use crate::arrange::Slices;
use crate::layout::Layout;
use crate::restore::Restored;
use crate::state::RestoredFlow;
use crate::types::{RowStream, Rows};
use arrow::array::Int64Array;
use hw_repr::{SqlError, Timestamp, UpdateBatch};
use std::sync::Arc;
use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::{Operator, operator::source};

/// What a flow has shown that is computed anew.
#[derive(Clone, Debug)]
pub struct Correction {
    /// As a checkpoint had it: of the served rows and errors.
    pub shown: Arc<RestoredFlow>,
    /// When what is computed takes its place: at or after the time below which all was shown.
    pub at: Timestamp,
}

impl Correction {
    /// Refuses to correct what is shown already.
    pub(crate) fn check(&self) -> Result<(), SqlError> {
        let early = || SqlError::internal(format!("a correction at {}, below {}", self.at, self.shown.upper));
        if self.at < self.shown.upper { Err(early()) } else { Ok(()) }
    }
}

/// The changes from `shown` on that make of it what `stream` is at `at`, and what `stream` is from then on.
pub fn correct<'s>(stream: RowStream<'s>, shown: &Restored, layout: &Layout, at: Timestamp) -> RowStream<'s> {
    let scope = stream.scope();
    let batches = shown.batches(layout, scope.index(), scope.peers());
    let layout = layout.clone();
    let shown = source::<_, NoopBuilder<Rows>, _, _>(scope, "Shown", move |mut capability, info| {
        capability.downgrade(&at);
        let (activator, mut held) = (scope.activator_for(info.address), Some(capability));
        let mut left = Slices::new(layout, at, batches);
        move |output| {
            let Some(capability) = &held else { return };
            let mut rows = Rows(left.next_at(at).into_iter().map(negated).collect());
            if !rows.0.is_empty() {
                output.session_with_builder(capability).give_container(&mut rows);
            }
            match left.is_done() {
                true => held = None,
                false => activator.activate(),
            }
        }
    });
    crate::stateless::union(scope, vec![from(stream, at), shown])
}

fn negated(batch: UpdateBatch) -> UpdateBatch {
    let diffs: Vec<i64> = (0..batch.len()).map(|i| -batch.diff(i)).collect();
    UpdateBatch { diffs: Some(Arc::new(Int64Array::from(diffs))), ..batch }
}

/// What comes before `at` comes then.
fn from(stream: RowStream<'_>, at: Timestamp) -> RowStream<'_> {
    stream.unary_frontier::<NoopBuilder<Rows>, _, _, _>(Pipeline, "From", move |mut capability, _| {
        capability.downgrade(&at);
        let mut held = Some(capability);
        move |(input, frontier), output| {
            input.for_each(|cap, rows| {
                let mut rows = Rows(rows.0.drain(..).map(|b| UpdateBatch { time: b.time.max(at), ..b }).collect());
                match &held {
                    Some(held) => output.session_with_builder(held).give_container(&mut rows),
                    None => output.session_with_builder(&cap).give_container(&mut rows),
                }
            });
            if !frontier.less_than(&at) {
                held = None;
            }
        }
    })
}
