//! Fuses what stands on itself: Mfp over Mfp, Union in Union, Distinct of Distinct, and Mfps that do nothing; and leaves out
//! what reads no rows.

use super::rank::bound_numbers;
use crate::{FlowPlan, ScalarExpr};

/// Rewrites a plan, leaves first, to its simplest form of the same meaning.
pub fn simplify(plan: &mut FlowPlan) {
    plan.inputs_mut().into_iter().for_each(simplify);
    if let Some(new) = drop_empty(plan)
        .or_else(|| fuse_mfps(plan))
        .or_else(|| merge_unions(plan))
        .or_else(|| drop_repeated_distinct(plan))
        .or_else(|| bound_numbers(plan))
    {
        *plan = new;
        simplify(plan);
    }
    if let Some(new) = narrow_get(plan).or_else(|| drop_identity(plan)) {
        *plan = new;
    }
}

/// `expr` with column `i` replaced by `columns[i]`. Every column must have a replacement.
pub fn substitute(expr: &ScalarExpr, columns: &[ScalarExpr]) -> ScalarExpr {
    let all = |es: &[ScalarExpr]| es.iter().map(|e| substitute(e, columns)).collect();
    let boxed = |e: &ScalarExpr| Box::new(substitute(e, columns));
    match expr {
        ScalarExpr::Column(i, _) => columns[*i].clone(),
        ScalarExpr::Literal(..) => expr.clone(),
        ScalarExpr::Call { func, args, ty } => ScalarExpr::Call { func: *func, args: all(args), ty: *ty },
        ScalarExpr::Cast { expr, to, explicit } => ScalarExpr::Cast { expr: boxed(expr), to: *to, explicit: *explicit },
        ScalarExpr::And(es) => ScalarExpr::And(all(es)),
        ScalarExpr::Or(es) => ScalarExpr::Or(all(es)),
        ScalarExpr::Not(e) => ScalarExpr::Not(boxed(e)),
        ScalarExpr::IsNull(e) => ScalarExpr::IsNull(boxed(e)),
        ScalarExpr::Case { branches, otherwise } => ScalarExpr::Case {
            branches: branches.iter().map(|(c, r)| (substitute(c, columns), substitute(r, columns))).collect(),
            otherwise: boxed(otherwise),
        },
        ScalarExpr::Coalesce(es) => ScalarExpr::Coalesce(all(es)),
    }
}

fn is_simple(e: &ScalarExpr) -> bool {
    matches!(e, ScalarExpr::Column(..) | ScalarExpr::Literal(..))
}

fn uses(exprs: &[&ScalarExpr], column: usize) -> usize {
    fn count(e: &ScalarExpr, column: usize) -> usize {
        let own = usize::from(matches!(e, ScalarExpr::Column(i, _) if *i == column));
        own + e.children().into_iter().map(|c| count(c, column)).sum::<usize>()
    }
    exprs.iter().map(|e| count(e, column)).sum()
}

/// Two Mfps become one where that computes nothing twice and skips no computation that might fail: an inner
/// expression must be a column or constant, or be read exactly once by the outer projection and by no filter.
fn fuse_mfps(plan: &FlowPlan) -> Option<FlowPlan> {
    let FlowPlan::Mfp { input, filter, project, names } = plan else { return None };
    let FlowPlan::Mfp { input: inner, filter: first, project: computed, .. } = input.as_ref() else { return None };
    let (in_filter, in_project): (Vec<&ScalarExpr>, Vec<&ScalarExpr>) =
        (filter.iter().collect(), project.iter().collect());
    // An outer filter would hide failures of inner expressions, so then all must be simple.
    let once =
        |i: usize| filter.is_empty() && uses(&in_filter, i) == 0 && direct(&in_project, i) && uses(&in_project, i) == 1;
    if !computed.iter().enumerate().all(|(i, e)| is_simple(e) || once(i)) {
        return None;
    }
    let mut all = first.clone();
    all.extend(filter.iter().map(|e| substitute(e, computed)));
    let project = project.iter().map(|e| substitute(e, computed)).collect();
    Some(FlowPlan::Mfp { input: inner.clone(), filter: all, project, names: names.clone() })
}

/// True where the column is read outside of lazily evaluated operands.
fn direct(exprs: &[&ScalarExpr], column: usize) -> bool {
    fn strict(e: &ScalarExpr, column: usize) -> bool {
        match e {
            ScalarExpr::Column(i, _) => *i == column,
            ScalarExpr::And(_) | ScalarExpr::Or(_) | ScalarExpr::Case { .. } | ScalarExpr::Coalesce(_) => false,
            other => other.children().into_iter().any(|c| strict(c, column)),
        }
    }
    exprs.iter().any(|e| strict(e, column))
}

/// What has no rows whatever happens, as no rows.
fn drop_empty(plan: &FlowPlan) -> Option<FlowPlan> {
    let is_empty = |p: &FlowPlan| matches!(p, FlowPlan::Constant { rows, .. } if rows.is_empty());
    let nothing = match plan {
        FlowPlan::Mfp { input, .. }
        | FlowPlan::Distinct { input }
        | FlowPlan::Negate { input }
        | FlowPlan::TopK { input, .. }
        | FlowPlan::FlatMap { input, .. } => is_empty(input),
        FlowPlan::Reduce { input, group, .. } => !group.is_empty() && is_empty(input),
        FlowPlan::Join { left, right, .. } => is_empty(left) || is_empty(right),
        FlowPlan::Let { body, .. } => is_empty(body),
        FlowPlan::Union { inputs } if inputs.iter().any(is_empty) => {
            let some: Vec<FlowPlan> = inputs.iter().filter(|input| !is_empty(input)).cloned().collect();
            return Some(match some.is_empty() {
                true => inputs.first()?.clone(),
                false => FlowPlan::Union { inputs: some },
            });
        }
        _ => false,
    };
    nothing.then(|| FlowPlan::Constant { rows: vec![], desc: super::describe(plan, &[]) })
}

fn merge_unions(plan: &FlowPlan) -> Option<FlowPlan> {
    let FlowPlan::Union { inputs } = plan else { return None };
    if let [one] = inputs.as_slice() {
        return Some(one.clone());
    }
    if !inputs.iter().any(|i| matches!(i, FlowPlan::Union { .. })) {
        return None;
    }
    let flat = inputs.iter().flat_map(|i| match i {
        FlowPlan::Union { inputs } => inputs.clone(),
        other => vec![other.clone()],
    });
    Some(FlowPlan::Union { inputs: flat.collect() })
}

fn drop_repeated_distinct(plan: &FlowPlan) -> Option<FlowPlan> {
    let FlowPlan::Distinct { input } = plan else { return None };
    match input.as_ref() {
        FlowPlan::Distinct { .. } => Some(input.as_ref().clone()),
        FlowPlan::Reduce { group, aggregates, .. } if aggregates.is_empty() && !group.is_empty() => {
            Some(input.as_ref().clone())
        }
        _ => None,
    }
}

/// An Mfp over a Get that reads only some of its columns: the Get reads only these.
fn narrow_get(plan: &FlowPlan) -> Option<FlowPlan> {
    let FlowPlan::Mfp { input, filter, project, names } = plan else { return None };
    let FlowPlan::Get { id, name, desc, columns } = input.as_ref() else { return None };
    let mut wanted: Vec<usize> = filter.iter().chain(project).flat_map(ScalarExpr::columns).collect();
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.len() == columns.len() {
        return None;
    }
    let get = FlowPlan::Get {
        id: *id,
        name: name.clone(),
        desc: super::choose_columns(desc, &wanted),
        columns: wanted.iter().map(|c| columns[*c]).collect(),
    };
    let move_columns = |e: &ScalarExpr| {
        let mut e = e.clone();
        e.map_columns(&mut |c| wanted.binary_search(&c).unwrap_or(0));
        e
    };
    let filter = filter.iter().map(move_columns).collect();
    let project = project.iter().map(move_columns).collect();
    Some(FlowPlan::Mfp { input: Box::new(get), filter, project, names: names.clone() })
}

/// An Mfp that passes its input on as it is.
fn drop_identity(plan: &FlowPlan) -> Option<FlowPlan> {
    let FlowPlan::Mfp { input, filter, project, .. } = plan else { return None };
    let same = project.iter().enumerate().all(|(i, e)| matches!(e, ScalarExpr::Column(c, _) if *c == i));
    (filter.is_empty() && same && project.len() == input.types().len()).then(|| input.as_ref().clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hw_repr::{Column, GlobalId, RelationDesc, SqlType};

    fn get(arity: usize) -> FlowPlan {
        let columns = (0..arity).map(|i| Column { name: format!("c{i}"), ty: SqlType::Int4, nullable: true }).collect();
        let desc = RelationDesc::new(columns);
        FlowPlan::Get { id: GlobalId(20000), name: "t".into(), desc, columns: (0..arity).collect() }
    }
    fn col(i: usize) -> ScalarExpr {
        ScalarExpr::Column(i, SqlType::Int4)
    }
    fn neg(e: ScalarExpr) -> ScalarExpr {
        ScalarExpr::Call { func: crate::Func::Neg, args: vec![e], ty: SqlType::Int4 }
    }
    fn mfp(input: FlowPlan, filter: Vec<ScalarExpr>, project: Vec<ScalarExpr>) -> FlowPlan {
        let names = project.iter().map(|_| "x".to_string()).collect();
        FlowPlan::Mfp { input: Box::new(input), filter, project, names }
    }

    #[test]
    fn fuses_and_narrows() {
        let mut plan = mfp(mfp(get(3), vec![], vec![col(2), col(0)]), vec![], vec![neg(col(0))]);
        simplify(&mut plan);
        let FlowPlan::Mfp { input, project, .. } = &plan else { panic!("{plan:?}") };
        assert_eq!(project, &[neg(col(0))]);
        let FlowPlan::Get { columns, .. } = input.as_ref() else { panic!("{input:?}") };
        assert_eq!(columns, &[2]);
    }

    #[test]
    fn computed_column_read_by_a_filter_stays_below_it() {
        let mut plan =
            mfp(mfp(get(1), vec![], vec![neg(col(0))]), vec![ScalarExpr::IsNull(Box::new(col(0)))], vec![col(0)]);
        let before = plan.clone();
        simplify(&mut plan);
        assert_eq!(plan, before);
    }

    #[test]
    fn identity_goes() {
        let mut plan = mfp(get(2), vec![], vec![col(0), col(1)]);
        simplify(&mut plan);
        assert_eq!(plan, get(2));
    }
}
