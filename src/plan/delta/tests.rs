//! Which trees become delta joins, by which paths.

use super::*;
use crate::Func;
use crate::explain::explain;
use hw_repr::{Column, Datum, GlobalId, RelationDesc, SqlType};

/// What joins of two arrangements say in the end.
const HELD: &str =
    "; rows of left and right may be retracted; holds: rows of both inputs; change: O(log n) and its matches";

/// A relation of three columns, unique by the first where it has a key.
fn table(id: u32, keyed: bool) -> FlowPlan {
    let column = |i| Column { name: format!("c{i}"), ty: SqlType::Int4, nullable: true };
    let mut desc = RelationDesc::new((0..3).map(column).collect());
    if keyed {
        desc.keys = vec![vec![0]];
    }
    FlowPlan::Get { id: GlobalId(id), name: format!("t{id}"), desc, columns: vec![0, 1, 2] }
}

fn join(left: FlowPlan, right: FlowPlan, on: &[(usize, usize)]) -> FlowPlan {
    FlowPlan::Join { left: Box::new(left), right: Box::new(right), on: on.to_vec(), null_safe: vec![false; on.len()] }
}

fn filtered(input: FlowPlan) -> FlowPlan {
    let types = input.types();
    let project = types.iter().enumerate().map(|(i, t)| ScalarExpr::Column(i, *t)).collect();
    let args = vec![ScalarExpr::Column(2, SqlType::Int4), ScalarExpr::Literal(Datum::Int4(7), SqlType::Int4)];
    let filter = vec![ScalarExpr::Call { func: Func::Eq, args, ty: SqlType::Bool }];
    FlowPlan::Mfp { input: Box::new(input), filter, project, names: vec!["x".into(); types.len()] }
}

fn chosen(mut plan: FlowPlan) -> String {
    choose(&mut plan, &Kept::default());
    explain(&plan).lines().next().unwrap_or_default().to_string()
}

#[test]
fn one_key_of_three_inputs_needs_an_arrangement_each() {
    let plan = join(join(table(1, false), table(2, false), &[(0, 0)]), table(3, false), &[(3, 0)]);
    assert_eq!(
        chosen(plan),
        "DeltaJoin arrangements=3 why=[binary joins arrange 4 times] arranged=[0 by (#0), 1 by (#0), 2 by (#0)] \
         paths=[0 -> 1 on #1.0 = #0.0 -> 2 on #2.0 = #0.0, 1 -> 2 on #2.0 = #1.0 -> 0 on #0.0 = #1.0, \
         2 -> 0 on #0.0 = #2.0 -> 1 on #1.0 = #2.0] \
         output=[#0.0, #0.1, #0.2, #1.0, #1.1, #1.2, #2.0, #2.1, #2.2]; holds: rows of each input once for each of its \
         own arrangements; change: O(log n) and the matches of each look-up of its path"
    );
}

#[test]
fn a_relation_that_is_read_thrice_is_arranged_once_by_each_key() {
    let chain = join(join(table(1, false), table(1, false), &[(1, 0)]), table(1, false), &[(4, 0), (0, 1)]);
    let text = chosen(chain);
    // Round the triangle by one key, whichever edge changes; the last edge is looked up by both ends.
    assert!(text.starts_with("DeltaJoin arrangements=2 why=[binary joins arrange 4 times]"), "{text}");
    assert_eq!(text.matches(" shared").count(), text.matches(" by (").count(), "{text}");
}

#[test]
fn a_chain_of_references_arranges_its_first_relation_once() {
    let chain = join(join(table(1, true), table(2, true), &[(1, 0)]), table(3, true), &[(4, 0)]);
    let text = chosen(chain);
    let expected = "DeltaJoin arrangements=4 why=[of inputs alone, along references] \
                    arranged=[0 by (#1), 1 by (#0), 1 by (#1), 2 by (#0)] \
                    paths=[0 -> 1 on #1.0 = #0.1 -> 2 on #2.0 = #1.1, 1 -> 2 on #2.0 = #1.1 -> 0 on #0.1 = #1.0, \
                    2 -> 1 on #1.1 = #2.0 -> 0 on #0.1 = #1.0]";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_star_would_arrange_its_middle_as_often() {
    let star = join(join(table(1, true), table(2, true), &[(1, 0)]), table(3, true), &[(2, 0)]);
    let arranged = "Join on=[#2 = #0] arranged=[left by (#2), right by (#0)]";
    assert_eq!(chosen(star), format!("{arranged} binary: look-ups would need as much room{HELD}"));
}

#[test]
fn filters_that_make_intermediate_results_small_keep_binary_joins() {
    let chain = join(join(table(1, true), filtered(table(2, true)), &[(1, 0)]), table(3, true), &[(4, 0)]);
    let arranged = "Join on=[#4 = #0] arranged=[left by (#4), right by (#0)]";
    assert_eq!(chosen(chain), format!("{arranged} binary: look-ups would need as much room{HELD}"));
    // Not where they save an arrangement.
    let same = join(join(table(1, false), filtered(table(2, false)), &[(0, 0)]), table(3, false), &[(3, 0)]);
    assert!(chosen(same).starts_with("DeltaJoin arrangements=3 "));
}

#[test]
fn what_is_never_retracted_is_hashed() {
    let get = |id| match table(id, false) {
        FlowPlan::Get { id, name, desc, columns } => {
            FlowPlan::Get { id, name, desc: RelationDesc { append_only: true, ..desc }, columns }
        }
        other => other,
    };
    let plan = join(join(get(1), get(2), &[(0, 0)]), table(3, false), &[(3, 0)]);
    let arranged = "Join on=[#3 = #0] arranged=[left by (#3), right by (#0)]";
    let held = HELD.replace("left and right", "right");
    assert_eq!(chosen(plan.clone()), format!("{arranged} binary: some inputs are hashed{held}"));
    let FlowPlan::Join { left, .. } = plan else { panic!() };
    let hashed = "Join on=[#0 = #0] hashed: nothing is retracted; holds: rows of both inputs; change: its matches";
    assert_eq!(explain(&left).lines().next(), Some(hashed));
}

#[test]
fn a_filter_between_joins_ends_the_tree() {
    let below = filtered(join(join(table(1, false), table(2, false), &[(0, 0)]), table(3, false), &[(3, 0)]));
    let mut plan = join(below, table(4, false), &[(0, 0)]);
    choose(&mut plan, &Kept::default());
    let text = explain(&plan);
    assert!(text.starts_with("Join on=[#0 = #0]"), "{text}");
    assert!(text.contains("\n    DeltaJoin arrangements=3 "), "{text}");
}

/// As above, with indexes by columns.
fn chosen_with(mut plan: FlowPlan, indexes: &[(u32, &[usize])]) -> Vec<String> {
    let mut kept = Kept::default();
    for (table, columns) in indexes {
        let all = kept.0.entry(GlobalId(*table)).or_default();
        all.push((format!("by_{}", columns.iter().map(usize::to_string).collect::<String>()), columns.to_vec()));
    }
    choose(&mut plan, &kept);
    crate::explain::lines(&plan, &kept)
}

#[test]
fn a_star_over_indexed_tables_keeps_nothing_of_its_own() {
    let star = join(join(table(1, true), table(2, true), &[(1, 0)]), table(3, true), &[(2, 0)]);
    let text = chosen_with(star.clone(), &[(1, &[0]), (1, &[1]), (1, &[2]), (2, &[0]), (3, &[0])]);
    let expected = "DeltaJoin arrangements=0 why=[binary joins arrange 1 times] \
                    arranged=[0 by (#1) shared with by_1, 0 by (#2) shared with by_2, 1 by (#0) shared with by_0, \
                    2 by (#0) shared with by_0]";
    assert!(text[0].starts_with(expected), "{text:?}");
    // What refers to the others is arranged as often as intermediate results, where only these are indexed.
    let text = chosen_with(star.clone(), &[(1, &[0]), (2, &[0]), (3, &[0])]);
    let expected = "Join on=[#2 = #0] arranged=[left by (#2), right by (#0) shared with by_0] binary: look-ups would need as \
                    much room; rows of left and right may be retracted; holds: rows of left; change: ";
    assert!(text[0].starts_with(expected), "{text:?}");
    // One of its keys is enough.
    let text = chosen_with(star, &[(1, &[2]), (2, &[0]), (3, &[0])]);
    assert!(text[0].starts_with("DeltaJoin arrangements=1 why=[binary joins arrange 2 times]"), "{text:?}");
}

#[test]
fn a_key_is_kept_in_any_order_of_its_columns_and_by_no_others() {
    let two = |on: &[(usize, usize)]| join(table(1, false), table(2, false), on);
    let text = chosen_with(two(&[(0, 1), (1, 2)]), &[(2, &[2, 1]), (1, &[0])]);
    let expected = "Join on=[#0 = #1, #1 = #2] arranged=[left by (#0, #1), right by (#1, #2) shared with by_21]; ";
    assert!(text[0].starts_with(expected), "{text:?}");
    let text = chosen_with(two(&[(0, 1), (1, 1)]), &[(2, &[1])]);
    let expected = "Join on=[#0 = #1, #1 = #1] arranged=[left by (#0, #1), right by (#1, #1)]; ";
    assert!(text[0].starts_with(expected), "{text:?}");
}
