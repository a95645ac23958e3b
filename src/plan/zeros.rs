//! Which views may hold another state since -0.0 keeps its sign.

use crate::{Aggregate, AggregateFunc, FlowPlan, ScalarExpr};
use hw_repr::{Datum, SqlType};

/// False where a view that reads no -0.0 makes none, and keeps its state as it did when rows lost the sign: what was saved
/// of it then can be gone on from. True where it computes floats, or tells rows apart by them.
pub fn matters(plan: &FlowPlan) -> bool {
    let types = |input: &FlowPlan, columns: &[usize]| {
        let all = input.types();
        columns.iter().any(|c| all.get(*c).is_some_and(|ty| has_floats(*ty)))
    };
    let here = match plan {
        FlowPlan::Mfp { filter, project, .. } => filter.iter().chain(project).any(computes),
        FlowPlan::FlatMap { calls, .. } => {
            calls.iter().any(|call| call.types.iter().any(|ty| has_floats(*ty)) || call.args.iter().any(computes))
        }
        FlowPlan::Join { left, on, .. } => types(left, &on.iter().map(|(l, _)| *l).collect::<Vec<_>>()),
        FlowPlan::DeltaJoin { inputs, paths, .. } => paths.iter().flatten().any(|l| {
            let same: Vec<usize> = l.key.iter().chain(&l.also).map(|s| s.column).collect();
            inputs.get(l.input).is_some_and(|input| types(input, &same))
        }),
        FlowPlan::Reduce { input, group, aggregates, .. } => {
            types(input, group) || aggregates.iter().any(|a| !keeps(a) && types(input, &a.args().collect::<Vec<_>>()))
        }
        FlowPlan::TopK { .. } | FlowPlan::Distinct { .. } => plan.types().into_iter().any(has_floats),
        FlowPlan::Constant { rows, .. } => rows.iter().flat_map(|(row, _)| row).any(is_negative_zero),
        FlowPlan::Get { .. }
        | FlowPlan::Union { .. }
        | FlowPlan::Negate { .. }
        | FlowPlan::Let { .. }
        | FlowPlan::Shared { .. } => false,
    };
    here || plan.inputs().into_iter().any(matters)
}

/// Aggregates whose state and result do not tell -0.0 from 0.0.
fn keeps(aggregate: &Aggregate) -> bool {
    use AggregateFunc::{Avg, Count, Sum};
    matches!(aggregate.func, Count | Sum | Avg) && !aggregate.distinct && aggregate.order.is_empty()
}

/// True where a float comes out of a function, or a -0.0 is written.
fn computes(expr: &ScalarExpr) -> bool {
    let here = match expr {
        ScalarExpr::Call { ty, .. } | ScalarExpr::Cast { to: ty, .. } => has_floats(*ty),
        ScalarExpr::Literal(value, _) => is_negative_zero(value),
        _ => false,
    };
    here || expr.children().into_iter().any(computes)
}

fn is_negative_zero(value: &Datum) -> bool {
    match value {
        Datum::Float4(v) | Datum::Float8(v) => v.0 == 0.0 && v.0.is_sign_negative(),
        _ => false,
    }
}

fn has_floats(ty: SqlType) -> bool {
    match ty {
        SqlType::Array(element) => has_floats(element.ty()),
        SqlType::Row(row) => row.def().fields.iter().any(|f| has_floats(f.ty)),
        ty => matches!(ty, SqlType::Float4 | SqlType::Float8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Func;
    use hw_repr::{Column, GlobalId, RelationDesc};

    fn table() -> FlowPlan {
        let desc = RelationDesc::new(vec![
            Column { name: "k".into(), ty: SqlType::Int4, nullable: true },
            Column { name: "x".into(), ty: SqlType::Float8, nullable: true },
        ]);
        FlowPlan::Get { id: GlobalId(1), name: "t".into(), desc, columns: vec![0, 1] }
    }

    fn reduce(group: usize, func: AggregateFunc) -> FlowPlan {
        let aggregate = Aggregate {
            func,
            arg: Some(1),
            distinct: false,
            filter: None,
            ty: SqlType::Float8,
            more: vec![],
            order: vec![],
            direct: vec![],
        };
        let names = vec!["g".into(), "a".into()];
        FlowPlan::Reduce { input: Box::new(table()), group: vec![group], aggregates: vec![aggregate], names }
    }

    fn mapped(expr: ScalarExpr) -> FlowPlan {
        FlowPlan::Mfp { input: Box::new(table()), filter: vec![], project: vec![expr], names: vec!["x".into()] }
    }

    #[test]
    fn floats_that_are_passed_on_or_summed_do_not_matter() {
        let x = ScalarExpr::Column(1, SqlType::Float8);
        assert!(!matters(&mapped(x.clone())));
        assert!(!matters(&reduce(0, AggregateFunc::Avg)));
        let negated = ScalarExpr::Call { func: Func::Neg, args: vec![x.clone()], ty: SqlType::Float8 };
        assert!(matters(&mapped(negated.clone())));
        assert!(matters(&mapped(ScalarExpr::Cast { expr: Box::new(negated), to: SqlType::Text, explicit: true })));
        assert!(!matters(&mapped(ScalarExpr::Cast { expr: Box::new(x), to: SqlType::Text, explicit: true })));
        assert!(matters(&reduce(1, AggregateFunc::Count)));
        assert!(matters(&reduce(0, AggregateFunc::Min)));
        assert!(matters(&FlowPlan::Distinct { input: Box::new(table()) }));
    }
}
