//! Where the rows of a collection are: what an operator gives stays on the worker that made it, so the next one that wants the
//! same key has them there already.
//!
//! Invariant: it says less than is true, never more. What it says follows from how [`super::Render`] renders a plan.

use crate::layout::Layout;
use hw_plan::{FlowPlan, ScalarExpr};

/// True where each row that a plan gives is on the owner of its key under `layout`.
pub fn is_placed(plan: &FlowPlan, layout: &Layout) -> bool {
    placed_by(plan).is_some_and(|columns| layout.is_placed_by(&columns))
}

/// The columns of what a plan gives whose key decides where a row is, if any do.
fn placed_by(plan: &FlowPlan) -> Option<Vec<usize>> {
    match plan {
        FlowPlan::Reduce { group, .. } => Some((0..group.len()).collect()),
        FlowPlan::Distinct { input } => Some((0..input.types().len()).collect()),
        // The columns of its input come first.
        FlowPlan::TopK { group, .. } => Some(group.clone()),
        FlowPlan::Mfp { input, project, .. } => {
            let columns = placed_by(input)?;
            let at = |c: &usize| project.iter().position(|e| matches!(e, ScalarExpr::Column(of, ..) if of == c));
            columns.iter().map(at).collect()
        }
        FlowPlan::Negate { input } => placed_by(input),
        FlowPlan::Let { body, .. } => placed_by(body),
        _ => None,
    }
}
