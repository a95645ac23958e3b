//! By which columns the rows of a view are asked for, where that is not its unique key.
//!
//! Only a choice of the order in which rows are kept: whatever it is, every read gives the same.

use crate::{FlowPlan, ScalarExpr, stack};
use hw_repr::encoding::RowCodec;
use std::collections::HashMap;

/// Lists of columns, the likeliest first.
type Candidates = Vec<Vec<usize>>;

/// Candidates beyond this many are forgotten.
const CANDIDATES_MAX: usize = 8;

/// Columns of the output by which its rows are best kept: of the first rows of groups those of the groups, since a group
/// is what is read of them. Empty where only unique keys say anything. The columns need not be a unique key.
pub fn read_by(plan: &FlowPlan) -> Vec<usize> {
    candidates(plan, &mut HashMap::new()).into_iter().next().unwrap_or_default()
}

/// `shared`: of what is bound further out.
fn candidates(plan: &FlowPlan, shared: &mut HashMap<u32, Candidates>) -> Candidates {
    let mut below = |plan: &FlowPlan| stack::deep(|| candidates(plan, shared));
    let mut found = match plan {
        FlowPlan::Get { .. } | FlowPlan::Constant { .. } => vec![],
        // A reduction has a row for each of its own groups, which are its key.
        FlowPlan::Reduce { .. } => vec![],
        FlowPlan::TopK { input, group, limit, .. } => match limit {
            Some(_) if can_be_sought(input, group) => vec![group.clone()],
            _ => below(input),
        },
        FlowPlan::Mfp { input, project, .. } => {
            let place = |c: usize| project.iter().position(|e| matches!(e, ScalarExpr::Column(p, _) if *p == c));
            moved(&below(input), place)
        }
        FlowPlan::FlatMap { input, keep, .. } => moved(&below(input), |c| keep.iter().position(|k| *k == c)),
        FlowPlan::Join { left, right, on, .. } => {
            let width = left.types().len();
            let (mut all, others) = (below(left), below(right));
            // The left one of two equal columns is as good, and may be the one that is shown.
            let equal = |c: usize| on.iter().find(|k| k.1 == c).map_or(width + c, |k| k.0);
            all.extend(moved(&others, |c| Some(width + c)));
            all.extend(moved(&others, |c| Some(equal(c))));
            all
        }
        FlowPlan::DeltaJoin { inputs, output, .. } => {
            let of = |(i, input): (usize, &FlowPlan)| {
                moved(&below(input), |c| output.iter().position(|from| *from == (i, c)))
            };
            inputs.iter().enumerate().flat_map(of).collect()
        }
        FlowPlan::Distinct { input } | FlowPlan::Negate { input } => below(input),
        // What an outer join adds has no groups of its own.
        FlowPlan::Union { inputs } => inputs.iter().flat_map(below).collect(),
        FlowPlan::Let { id, value, body } => {
            let of_value = below(value);
            shared.insert(*id, of_value);
            stack::deep(|| candidates(body, shared))
        }
        FlowPlan::Shared { id, .. } => shared.get(id).cloned().unwrap_or_default(),
    };
    found.truncate(CANDIDATES_MAX);
    found
}

/// A read seeks by columns in which equal values have equal bytes.
fn can_be_sought(input: &FlowPlan, columns: &[usize]) -> bool {
    let types = input.types();
    let chosen: Vec<_> = columns.iter().filter_map(|c| types.get(*c).copied()).collect();
    !columns.is_empty() && !RowCodec::has_print_tails(&chosen)
}

/// Those of which `place` still has every column.
fn moved(candidates: &Candidates, place: impl Fn(usize) -> Option<usize>) -> Candidates {
    candidates.iter().filter_map(|columns| columns.iter().map(|c| place(*c)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::RowNumber;
    use hw_repr::{Column, GlobalId, RelationDesc, SqlType};

    const TYPES: [SqlType; 3] = [SqlType::Int8, SqlType::Int8, SqlType::Float8];

    fn table() -> FlowPlan {
        let column = |ty: &SqlType| Column { name: "c".into(), ty: *ty, nullable: true };
        let desc = RelationDesc { keys: vec![vec![0]], ..RelationDesc::new(TYPES.iter().map(column).collect()) };
        FlowPlan::Get { id: GlobalId(20000), name: "t".into(), desc, columns: vec![0, 1, 2] }
    }

    fn top(input: FlowPlan, group: &[usize], limit: Option<(RowNumber, u64)>) -> FlowPlan {
        let (group, numbers) = (group.to_vec(), vec![RowNumber::Rank]);
        FlowPlan::TopK { input: Box::new(input), group, order: vec![], numbers, skip: 0, limit, names: vec![] }
    }

    fn project(input: FlowPlan, columns: &[usize]) -> FlowPlan {
        let types = input.types();
        let project = columns.iter().map(|c| ScalarExpr::Column(*c, types[*c])).collect();
        FlowPlan::Mfp { input: Box::new(input), filter: vec![], project, names: vec![] }
    }

    fn join(left: FlowPlan, right: FlowPlan, on: (usize, usize)) -> FlowPlan {
        FlowPlan::Join { left: Box::new(left), right: Box::new(right), on: vec![on], null_safe: vec![false] }
    }

    const NONE: [usize; 0] = [];

    #[test]
    fn the_first_rows_of_groups_are_read_by_group() {
        for kind in [RowNumber::RowNumber, RowNumber::Rank, RowNumber::DenseRank] {
            assert_eq!(read_by(&top(table(), &[1], Some((kind, 3)))), [1]);
        }
        let three = Some((RowNumber::Rank, 3));
        assert_eq!(read_by(&project(top(table(), &[1, 0], three), &[3, 1, 0])), [1, 2]);
        assert_eq!(read_by(&project(top(table(), &[1], three), &[0, 2])), NONE, "the group is not shown");
        assert_eq!(read_by(&top(table(), &[1], None)), NONE, "all rows are shown");
        assert_eq!(read_by(&top(table(), &[], three)), NONE, "there are no groups");
        assert_eq!(read_by(&top(table(), &[2], three)), NONE, "equal values may differ in their bytes");
        assert_eq!(read_by(&table()), NONE);
    }

    #[test]
    fn groups_are_found_behind_joins_and_bindings() {
        let first = || top(table(), &[1], Some((RowNumber::RowNumber, 3)));
        assert_eq!(read_by(&join(first(), table(), (0, 0))), [1]);
        assert_eq!(read_by(&join(table(), first(), (0, 1))), [4]);
        // The left one of the equal columns is shown.
        assert_eq!(read_by(&project(join(table(), first(), (0, 1)), &[3, 0])), [1]);
        let outer =
            FlowPlan::Union { inputs: vec![project(join(table(), first(), (0, 1)), &[0]), project(table(), &[0])] };
        assert_eq!(read_by(&outer), [0]);
        let shared = FlowPlan::Shared { id: 7, desc: crate::transform::describe(&first(), &[]) };
        let bound = FlowPlan::Let { id: 7, value: Box::new(first()), body: Box::new(project(shared, &[1])) };
        assert_eq!(read_by(&bound), [0]);
    }
}
