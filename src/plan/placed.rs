//! On which workers the rows of a collection are: what an operator gives stays on the worker that made it, so what wants the same
//! key next has its rows there already, and a view may keep them there.
//!
//! Invariant: it says less than is true, never more. What it says follows from how `hw_dataflow` renders a plan.

use crate::arranged::is_hashed;
use crate::{FlowPlan, ScalarExpr};
use hw_repr::SqlType;

/// The columns of a key by which rows are placed; of each those that are equal to it, of the same type, at least one.
pub type Placement = Vec<Vec<usize>>;

/// By which columns' key the rows that a plan gives are on its owner, if by any. `retractions`: no join has the hash form.
pub fn placed_by(plan: &FlowPlan, retractions: bool) -> Option<Placement> {
    match plan {
        FlowPlan::Reduce { group, .. } => Some(each(0..group.len())),
        FlowPlan::Distinct { input } => Some(each(0..input.types().len())),
        // The columns of its input come first.
        FlowPlan::TopK { group, .. } => Some(each(group.iter().copied())),
        FlowPlan::Join { left, right, on, .. } => {
            // What is lent for a join may have the columns of its key in another order.
            let lent = [left, right].into_iter().any(|side| matches!(**side, FlowPlan::Get { .. }));
            let hashed = !retractions && is_hashed(left, right);
            (hashed || !lent).then(|| equal_columns(&left.types(), &right.types(), on))
        }
        FlowPlan::Mfp { input, project, .. } => {
            let types = input.types();
            let has = |e: &ScalarExpr, c: usize| matches!(e, ScalarExpr::Column(of, ty) if *of == c && *ty == types[c]);
            let given = |c: &usize| (0..project.len()).filter(|at| has(&project[*at], *c)).collect::<Vec<_>>();
            let columns: Placement =
                placed_by(input, retractions)?.iter().map(|equal| equal.iter().flat_map(given).collect()).collect();
            columns.iter().all(|equal| !equal.is_empty()).then_some(columns)
        }
        FlowPlan::Negate { input } => placed_by(input, retractions),
        FlowPlan::Let { body, .. } => placed_by(body, retractions),
        _ => None,
    }
}

/// By which columns a view is placed that is kept by the key `key`, where it is not by that: `types` are those of its columns.
/// Only what is kept by all of its columns may be: a shorter key is what others look up.
pub fn kept_apart(plan: &FlowPlan, types: &[SqlType], key: &[usize], retractions: bool) -> Option<Vec<usize>> {
    if !key.iter().copied().eq(0..types.len()) {
        return None;
    }
    let columns: Vec<usize> = placed_by(plan, retractions)?.into_iter().map(|equal| equal[0]).collect();
    let given = plan.types();
    let same = columns.iter().all(|c| given[*c] == types[*c]);
    // Without columns all would be on one worker.
    (same && !columns.is_empty() && columns != key).then_some(columns)
}

fn each(columns: impl Iterator<Item = usize>) -> Placement {
    columns.map(|c| vec![c]).collect()
}

/// Of a join, by column of its key.
fn equal_columns(left: &[SqlType], right: &[SqlType], on: &[(usize, usize)]) -> Placement {
    let equal = |(l, r): &(usize, usize)| match left[*l] == right[*r] {
        true => vec![*l, left.len() + r],
        false => vec![*l],
    };
    on.iter().map(equal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hw_repr::{Column, GlobalId, RelationDesc};

    fn get(id: u32, append_only: bool) -> FlowPlan {
        let column = |name: &str, ty| Column { name: name.into(), ty, nullable: true };
        let columns = vec![column("k", SqlType::Int4), column("v", SqlType::Text)];
        let desc = RelationDesc { append_only, ..RelationDesc::new(columns) };
        FlowPlan::Get { id: GlobalId(id), name: "r".into(), desc, columns: vec![0, 1] }
    }

    fn join(append_only: bool) -> FlowPlan {
        FlowPlan::Join {
            left: Box::new(get(1, append_only)),
            right: Box::new(get(2, append_only)),
            on: vec![(0, 0)],
            null_safe: vec![false],
        }
    }

    fn project(columns: &[(usize, SqlType)]) -> FlowPlan {
        let project: Vec<ScalarExpr> = columns.iter().map(|(c, ty)| ScalarExpr::Column(*c, *ty)).collect();
        let names = project.iter().map(|_| "c".into()).collect();
        FlowPlan::Mfp { input: Box::new(join(true)), filter: vec![], project, names }
    }

    #[test]
    fn a_join_is_placed_by_its_key_on_either_side() {
        assert_eq!(placed_by(&join(true), false), Some(vec![vec![0, 2]]));
        let [int, text] = [SqlType::Int4, SqlType::Text];
        assert_eq!(placed_by(&project(&[(1, text), (2, int), (2, int)]), false), Some(vec![vec![1, 2]]));
        // Not among the columns, or as another type.
        assert_eq!(placed_by(&project(&[(1, text), (3, text)]), false), None);
        assert_eq!(placed_by(&project(&[(0, SqlType::Int8)]), false), None);
        // What is lent may have the columns in another order.
        assert_eq!((placed_by(&join(false), false), placed_by(&join(true), true)), (None, None));
    }

    #[test]
    fn only_what_is_kept_by_all_columns_stays_apart() {
        let (plan, types) = (join(true), join(true).types());
        assert_eq!(kept_apart(&plan, &types, &[0, 1, 2, 3], false), Some(vec![0]));
        assert_eq!(kept_apart(&plan, &types, &[0], false), None);
        assert_eq!(kept_apart(&plan, &types, &[1, 0, 2, 3], false), None);
        let others = [SqlType::Int8, types[1], types[2], types[3]];
        assert_eq!(kept_apart(&plan, &others, &[0, 1, 2, 3], false), None);
        let all = FlowPlan::Distinct { input: Box::new(get(1, true)) };
        assert_eq!(kept_apart(&all, &all.types(), &[0, 1], false), None);
        let cross = FlowPlan::TopK {
            input: Box::new(get(1, true)),
            group: vec![],
            order: vec![],
            numbers: vec![],
            skip: 0,
            limit: None,
            names: vec![],
        };
        assert_eq!(kept_apart(&cross, &get(1, true).types(), &[0, 1], false), None);
    }
}
