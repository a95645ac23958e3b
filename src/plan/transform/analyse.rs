//! What is known of a plan's rows without running it: never NULL, unique keys, never retracted, may fail.
//!
//! Every answer errs on the safe side: nullable, no key, retracted, may fail.

use crate::flow::RowNumber;
use crate::{AggregateFunc, FlowPlan, Func, ScalarExpr};
use hw_repr::{Column, Datum, Diff, RelationDesc, SqlType};

/// Keys beyond this many are forgotten.
const KEYS_MAX: usize = 8;

/// A relation's description after choosing columns.
pub fn choose_columns(desc: &RelationDesc, columns: &[usize]) -> RelationDesc {
    let keys = desc
        .keys
        .iter()
        .filter_map(|key| key.iter().map(|k| columns.iter().position(|c| c == k)).collect::<Option<Vec<usize>>>());
    RelationDesc {
        columns: columns.iter().map(|c| desc.columns[*c].clone()).collect(),
        keys: keys.collect(),
        append_only: desc.append_only,
    }
}

/// The description of a plan's output; the names are the caller's to give.
pub fn describe(plan: &FlowPlan, names: &[String]) -> RelationDesc {
    let mut desc = known(plan);
    for (column, name) in desc.columns.iter_mut().zip(names) {
        column.name = name.clone();
    }
    desc
}

fn known(plan: &FlowPlan) -> RelationDesc {
    match plan {
        FlowPlan::Get { desc, .. } | FlowPlan::Shared { desc, .. } | FlowPlan::DeltaJoin { desc, .. } => desc.clone(),
        FlowPlan::Let { body, .. } => known(body),
        FlowPlan::Constant { rows, desc } => constant(rows, desc.clone()),
        FlowPlan::Mfp { input, filter, project, names } => mfp(&known(input), filter, project, names),
        FlowPlan::Join { left, right, on, null_safe } => join(&known(left), &known(right), on, null_safe),
        FlowPlan::Reduce { input, group, aggregates, names } => {
            let below = known(input);
            let mut columns: Vec<Column> = group.iter().map(|g| below.columns[*g].clone()).collect();
            for a in aggregates {
                // Over a group there is at least one row; the argument may still be filtered out.
                let some = matches!(a.func, AggregateFunc::Count | AggregateFunc::RegrCount)
                    || !group.is_empty()
                        && a.filter.is_none()
                        && a.func.gives_a_value()
                        && a.args().take(1).all(|c| !below.columns[c].nullable);
                columns.push(Column { name: String::new(), ty: a.ty, nullable: !some });
            }
            for (column, name) in columns.iter_mut().zip(names) {
                column.name = name.clone();
            }
            RelationDesc {
                columns,
                keys: vec![(0..group.len()).collect()],
                append_only: below.append_only && aggregates.is_empty() && !group.is_empty(),
            }
        }
        FlowPlan::TopK { input, .. } => top_k(plan, known(input)),
        FlowPlan::Distinct { input } => {
            let mut desc = known(input);
            if desc.keys.is_empty() {
                desc.keys = vec![(0..desc.arity()).collect()];
            }
            desc
        }
        FlowPlan::Union { inputs } => {
            let all: Vec<RelationDesc> = inputs.iter().map(known).collect();
            let mut desc = all.first().cloned().unwrap_or_default();
            for other in all.iter().skip(1) {
                for (column, o) in desc.columns.iter_mut().zip(&other.columns) {
                    column.nullable |= o.nullable;
                }
                desc.append_only &= other.append_only;
            }
            if all.len() > 1 {
                desc.keys = vec![];
            }
            desc
        }
        FlowPlan::Negate { input } => {
            let mut desc = known(input);
            desc.append_only = false;
            desc
        }
        FlowPlan::FlatMap { input, keep, calls, names, .. } => {
            let mut desc = choose_columns(&known(input), keep);
            let made = calls.iter().flat_map(|c| c.types.iter().copied());
            desc.columns.extend(made.map(|ty| Column { name: String::new(), ty, nullable: true }));
            for (column, name) in desc.columns.iter_mut().zip(names) {
                column.name = name.clone();
            }
            desc.keys = vec![];
            desc
        }
    }
}

fn constant(rows: &[(Vec<Datum>, Diff)], mut desc: RelationDesc) -> RelationDesc {
    for (i, column) in desc.columns.iter_mut().enumerate() {
        column.nullable = rows.iter().any(|(row, _)| row.get(i).is_none_or(|d| *d == Datum::Null));
    }
    desc.append_only = rows.iter().all(|(_, diff)| *diff > 0);
    desc.keys = if rows.len() <= 1 && rows.iter().all(|(_, diff)| *diff <= 1) { vec![vec![]] } else { vec![] };
    desc
}

/// Of a [`FlowPlan::TopK`] over what is `desc`.
fn top_k(plan: &FlowPlan, mut desc: RelationDesc) -> RelationDesc {
    let FlowPlan::TopK { group, numbers, skip, limit, names, .. } = plan else { return desc };
    let width = desc.columns.len();
    let number = |_: &RowNumber| Column { name: String::new(), ty: SqlType::Int8, nullable: false };
    desc.columns.extend(numbers.iter().map(number));
    for (column, name) in desc.columns.iter_mut().zip(names) {
        column.name = name.clone();
    }
    desc.append_only = false;
    if let Some((RowNumber::RowNumber, most)) = limit
        && most.saturating_sub(*skip) <= 1
    {
        desc.keys = vec![group.clone()];
    } else if let Some(at) = numbers.iter().position(|n| *n == RowNumber::RowNumber)
        && desc.keys.is_empty()
    {
        desc.keys = vec![group.iter().copied().chain([width + at]).collect()];
    }
    desc
}

fn mfp(below: &RelationDesc, filter: &[ScalarExpr], project: &[ScalarExpr], names: &[String]) -> RelationDesc {
    let mut columns: Vec<Column> = below.columns.clone();
    // A row that passes `c = x` or `c IS NOT NULL` has no NULL in c.
    for conjunct in filter {
        for c in proves_not_null(conjunct) {
            columns[c].nullable = false;
        }
    }
    let nullable: Vec<bool> = columns.iter().map(|c| c.nullable).collect();
    let place = |k: &usize| project.iter().position(|e| matches!(e, ScalarExpr::Column(i, _) if i == k));
    let keys = below.keys.iter().filter_map(|key| key.iter().map(place).collect::<Option<Vec<usize>>>());
    RelationDesc {
        columns: project
            .iter()
            .enumerate()
            .map(|(i, e)| Column {
                name: names.get(i).cloned().unwrap_or_default(),
                ty: e.ty(),
                nullable: !not_null(e, &nullable),
            })
            .collect(),
        keys: keys.collect(),
        append_only: below.append_only,
    }
}

fn proves_not_null(conjunct: &ScalarExpr) -> Vec<usize> {
    match conjunct {
        ScalarExpr::Not(e) => match e.as_ref() {
            ScalarExpr::IsNull(e) => match e.as_ref() {
                ScalarExpr::Column(c, _) => vec![*c],
                _ => vec![],
            },
            _ => vec![],
        },
        ScalarExpr::Call { func: Func::Eq | Func::Ne | Func::Lt | Func::Le | Func::Gt | Func::Ge, args, .. } => args
            .iter()
            .filter_map(|a| match a {
                ScalarExpr::Column(c, _) => Some(*c),
                _ => None,
            })
            .collect(),
        ScalarExpr::Column(c, _) => vec![*c],
        _ => vec![],
    }
}

fn join(left: &RelationDesc, right: &RelationDesc, on: &[(usize, usize)], null_safe: &[bool]) -> RelationDesc {
    let mut columns = left.columns.clone();
    columns.extend(right.columns.iter().cloned());
    for ((l, r), safe) in on.iter().zip(null_safe) {
        if !safe {
            columns[*l].nullable = false;
            columns[left.arity() + r].nullable = false;
        }
    }
    let left_on: Vec<usize> = on.iter().map(|(l, _)| *l).collect();
    let right_on: Vec<usize> = on.iter().map(|(_, r)| *r).collect();
    let determines = |keys: &[Vec<usize>], on: &[usize]| keys.iter().any(|k| k.iter().all(|c| on.contains(c)));
    let shifted = |k: &Vec<usize>| -> Vec<usize> { k.iter().map(|c| c + left.arity()).collect() };
    let mut keys: Vec<Vec<usize>> = vec![];
    // Each left row meets at most one right row: left keys stay keys, and the other way round.
    if determines(&right.keys, &right_on) {
        keys.extend(left.keys.iter().cloned());
    }
    if determines(&left.keys, &left_on) {
        keys.extend(right.keys.iter().map(shifted));
    }
    if keys.is_empty() {
        for l in &left.keys {
            for r in &right.keys {
                let mut key = l.clone();
                key.extend(shifted(r));
                keys.push(key);
            }
        }
    }
    keys.truncate(KEYS_MAX);
    RelationDesc { columns, keys, append_only: left.append_only && right.append_only }
}

/// True where the expression is never NULL, given which columns may be.
pub fn not_null(expr: &ScalarExpr, nullable: &[bool]) -> bool {
    let all = |es: &[ScalarExpr]| es.iter().all(|e| not_null(e, nullable));
    match expr {
        ScalarExpr::Column(i, _) => !nullable.get(*i).copied().unwrap_or(true),
        ScalarExpr::Literal(d, _) => *d != Datum::Null,
        ScalarExpr::IsNull(_) => true,
        ScalarExpr::Not(e) => not_null(e, nullable),
        ScalarExpr::Cast { expr, .. } => not_null(expr, nullable),
        ScalarExpr::And(es) | ScalarExpr::Or(es) => all(es),
        ScalarExpr::Coalesce(es) => es.iter().any(|e| not_null(e, nullable)),
        ScalarExpr::Case { branches, otherwise } => {
            branches.iter().all(|(_, r)| not_null(r, nullable)) && not_null(otherwise, nullable)
        }
        ScalarExpr::Call { func, args, .. } => match func {
            Func::NotDistinct | Func::ConcatFn | Func::ArrayMake | Func::RowMake => true,
            Func::Greatest | Func::Least => args.iter().any(|e| not_null(e, nullable)),
            // A row may hold NULLs that a comparison meets.
            Func::Eq | Func::Ne | Func::Lt | Func::Le | Func::Gt | Func::Ge => {
                all(args) && !args.iter().any(|a| matches!(a.ty(), SqlType::Row(_)))
            }
            func => gives_values(*func) && all(args),
        },
    }
}

/// Functions that give a value for values. (Others give NULL for some: a subscript out of bounds, a path that is not there, a
/// pattern that does not match, the day of infinity.)
fn gives_values(func: Func) -> bool {
    use Func as F;
    matches!(
        func,
        F::Add
            | F::Sub
            | F::Mul
            | F::Div
            | F::Mod
            | F::Neg
            | F::Abs
            | F::Concat
            | F::Like
            | F::ILike
            | F::RegexMatch
            | F::RegexIMatch
            | F::StartsWith
            | F::Cardinality
            | F::Lower
            | F::Upper
            | F::Length
            | F::OctetLength
            | F::Substr
            | F::Btrim
            | F::Ltrim
            | F::Rtrim
            | F::Replace
            | F::SplitPart
            | F::Strpos
            | F::Position
            | F::Left
            | F::Right
            | F::Repeat
            | F::Reverse
            | F::Lpad
            | F::Rpad
            | F::Md5
            | F::RegexpReplace
            | F::Ascii
            | F::Chr
            | F::Initcap
            | F::Translate
            | F::Overlay
            | F::Floor
            | F::Ceil
            | F::Round
            | F::Trunc
            | F::Sqrt
            | F::Power
            | F::Exp
            | F::Ln
            | F::Sign
            | F::DateTrunc
            | F::DateBin
    )
}

/// True where any expression of the plan may fail, as `fails` judges one.
pub fn may_fail(plan: &FlowPlan, fails: &impl Fn(&ScalarExpr) -> bool) -> bool {
    let own = match plan {
        FlowPlan::Mfp { filter, project, .. } => filter.iter().chain(project).any(fails),
        FlowPlan::Reduce { aggregates, .. } => aggregates.iter().any(|a| a.func.may_fail()),
        // A set has a limit.
        FlowPlan::FlatMap { .. } => true,
        _ => false,
    };
    own || plan.inputs().into_iter().any(|i| may_fail(i, fails))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Aggregate;
    use hw_repr::GlobalId;

    fn get(keys: Vec<Vec<usize>>, append_only: bool) -> FlowPlan {
        let column = |n: &str| Column { name: n.into(), ty: SqlType::Int4, nullable: true };
        let desc = RelationDesc { columns: vec![column("a"), column("b")], keys, append_only };
        FlowPlan::Get { id: GlobalId(20000), name: "t".into(), desc, columns: vec![0, 1] }
    }

    #[test]
    fn reduce_has_its_group_as_key_and_retracts() {
        let count = Aggregate::new(AggregateFunc::Count, None, false, None, SqlType::Int8);
        let input = Box::new(get(vec![], true));
        let plan =
            FlowPlan::Reduce { input, group: vec![1], aggregates: vec![count], names: vec!["b".into(), "n".into()] };
        let desc = describe(&plan, &["b".into(), "n".into()]);
        assert_eq!(desc.keys, vec![vec![0]]);
        assert!(!desc.append_only);
        assert!(desc.columns[0].nullable && !desc.columns[1].nullable);
    }

    #[test]
    fn join_on_a_key_keeps_the_other_sides_key() {
        let (left, right) = (Box::new(get(vec![vec![0]], true)), Box::new(get(vec![vec![0]], true)));
        let plan = FlowPlan::Join { left, right, on: vec![(1, 0)], null_safe: vec![false] };
        let desc = describe(&plan, &[]);
        assert_eq!(desc.keys, vec![vec![0]]);
        assert!(desc.append_only && !desc.columns[1].nullable && !desc.columns[2].nullable && desc.columns[0].nullable);
    }
}
