//! Conditions on the numbers of a [`FlowPlan::TopK`] become its limits: only the rows that are shown are then looked at.

use crate::flow::RowNumber;
use crate::{FlowPlan, Func, ScalarExpr};
use hw_repr::Datum;

/// An Mfp over a TopK without limits: a conjunct that compares a number with a constant bounds it, and numbers that
/// nothing reads any more are not made.
pub(super) fn bound_numbers(plan: &FlowPlan) -> Option<FlowPlan> {
    let FlowPlan::Mfp { input, filter, project, names } = plan else { return None };
    let FlowPlan::TopK { input: below, group, order, numbers, skip: before, limit: known, names: own } = input.as_ref()
    else {
        return None;
    };
    let width = below.types().len();
    let (mut skip, mut limit, mut kept) = (*before, *known, vec![]);
    for conjunct in filter {
        let bound = number_bound(conjunct, width, numbers);
        match bound {
            Some((RowNumber::RowNumber, Bound::Above(n))) if skip == 0 => skip = n,
            Some((kind, Bound::UpTo(n))) if limit.is_none() => limit = Some((kind, n)),
            Some((kind, Bound::Exactly(n))) => {
                if limit.is_none() {
                    limit = Some((kind, n));
                }
                // The first is the least there is.
                if n != 1 || limit != Some((kind, 1)) {
                    kept.push(conjunct.clone());
                }
            }
            _ => kept.push(conjunct.clone()),
        }
    }
    let read: Vec<usize> = kept.iter().chain(project).flat_map(ScalarExpr::columns).collect();
    let shown: Vec<usize> = (0..numbers.len()).filter(|i| read.contains(&(width + i))).collect();
    if kept.len() == filter.len() && shown.len() == numbers.len() && (skip, limit) == (*before, *known) {
        return None;
    }
    let place = |c: usize| match c.checked_sub(width) {
        Some(number) => width + shown.iter().position(|s| *s == number).unwrap_or(0),
        None => c,
    };
    let moved = |e: &ScalarExpr| {
        let mut e = e.clone();
        e.map_columns(&mut |c| place(c));
        e
    };
    let top = FlowPlan::TopK {
        input: below.clone(),
        group: group.clone(),
        order: order.clone(),
        numbers: shown.iter().map(|i| numbers[*i]).collect(),
        skip,
        limit,
        names: own
            .iter()
            .enumerate()
            .filter(|(i, _)| *i < width || shown.contains(&(i - width)))
            .map(|(_, n)| n.clone())
            .collect(),
    };
    Some(FlowPlan::Mfp {
        input: Box::new(top),
        filter: kept.iter().map(moved).collect(),
        project: project.iter().map(moved).collect(),
        names: names.clone(),
    })
}

enum Bound {
    UpTo(u64),
    Above(u64),
    Exactly(u64),
}

/// What a conjunct says of one of the numbers, which begin with column `width`.
fn number_bound(conjunct: &ScalarExpr, width: usize, numbers: &[RowNumber]) -> Option<(RowNumber, Bound)> {
    let ScalarExpr::Call { func, args, .. } = conjunct else { return None };
    let [left, right] = args.as_slice() else { return None };
    let (column, n, func) = match (left, integer(left), right, integer(right)) {
        (ScalarExpr::Column(c, _), _, _, Some(n)) => (*c, n, *func),
        (_, Some(n), ScalarExpr::Column(c, _), _) => (*c, n, mirrored(*func)?),
        _ => return None,
    };
    let kind = *numbers.get(column.checked_sub(width)?)?;
    let at_least = |n: i64| u64::try_from(n).unwrap_or(0);
    let bound = match func {
        Func::Le => Bound::UpTo(at_least(n)),
        Func::Lt => Bound::UpTo(at_least(n.saturating_sub(1))),
        Func::Gt => Bound::Above(at_least(n)),
        Func::Ge => Bound::Above(at_least(n.saturating_sub(1))),
        Func::Eq => Bound::Exactly(at_least(n)),
        _ => return None,
    };
    Some((kind, bound))
}

fn mirrored(func: Func) -> Option<Func> {
    Some(match func {
        Func::Le => Func::Ge,
        Func::Lt => Func::Gt,
        Func::Ge => Func::Le,
        Func::Gt => Func::Lt,
        Func::Eq => Func::Eq,
        _ => return None,
    })
}

fn integer(e: &ScalarExpr) -> Option<i64> {
    match e {
        ScalarExpr::Literal(Datum::Int2(n), _) => Some((*n).into()),
        ScalarExpr::Literal(Datum::Int4(n), _) => Some((*n).into()),
        ScalarExpr::Literal(Datum::Int8(n), _) => Some(*n),
        ScalarExpr::Cast { expr, .. } => integer(expr),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hw_repr::{Column, GlobalId, RelationDesc, SqlType};

    fn numbered(filter: Vec<ScalarExpr>, project: Vec<usize>) -> FlowPlan {
        let column = Column { name: "a".into(), ty: SqlType::Int4, nullable: true };
        let get = FlowPlan::Get {
            id: GlobalId(1),
            name: "t".into(),
            desc: RelationDesc::new(vec![column]),
            columns: vec![0],
        };
        let top = FlowPlan::TopK {
            input: Box::new(get),
            group: vec![],
            order: vec![],
            numbers: vec![RowNumber::RowNumber],
            skip: 0,
            limit: None,
            names: vec!["a".into(), "n".into()],
        };
        let project = project.into_iter().map(|c| ScalarExpr::Column(c, SqlType::Int8)).collect();
        FlowPlan::Mfp { input: Box::new(top), filter, project, names: vec![] }
    }

    fn compare(func: Func, n: i64) -> ScalarExpr {
        let args = vec![ScalarExpr::Column(1, SqlType::Int8), ScalarExpr::Literal(Datum::Int8(n), SqlType::Int8)];
        ScalarExpr::Call { func, args, ty: SqlType::Bool }
    }

    /// skip, limit, how many numbers and conjuncts are left
    type Found = (u64, Option<(RowNumber, u64)>, usize, usize);

    fn found(plan: &FlowPlan) -> Option<Found> {
        match bound_numbers(plan)? {
            FlowPlan::Mfp { input, filter, .. } => match *input {
                FlowPlan::TopK { skip, limit, numbers, .. } => Some((skip, limit, numbers.len(), filter.len())),
                _ => None,
            },
            _ => None,
        }
    }

    #[test]
    fn conditions_on_numbers_bound_them() {
        let first = Some((RowNumber::RowNumber, 1));
        assert_eq!(found(&numbered(vec![compare(Func::Eq, 1)], vec![0])), Some((0, first, 0, 0)));
        let three = Some((RowNumber::RowNumber, 3));
        assert_eq!(found(&numbered(vec![compare(Func::Lt, 4)], vec![0, 1])), Some((0, three, 1, 0)));
        let both = vec![compare(Func::Ge, 3), compare(Func::Le, 3)];
        assert_eq!(found(&numbered(both, vec![0])), Some((2, three, 0, 0)));
        assert_eq!(found(&numbered(vec![compare(Func::Eq, 3)], vec![0])), Some((0, three, 1, 1)));
        assert_eq!(found(&numbered(vec![compare(Func::Ne, 3)], vec![1])), None);
        let none = Some((RowNumber::RowNumber, 0));
        assert_eq!(found(&numbered(vec![compare(Func::Le, -1)], vec![1])), Some((0, none, 1, 0)));
    }
}
