//! Which outer columns a subquery reads.

use super::{input_schema, is_subquery, subplan};
use crate::error::from_planner;
use arrow::datatypes::FieldRef;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, Result as DfResult};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::{Expr, LogicalPlan, Subquery};
use hw_repr::SqlError;
use std::sync::Arc;

/// The columns that a query reads of what is around it, each once.
pub(crate) fn outer_references(plan: &LogicalPlan) -> Vec<(Column, FieldRef)> {
    let mut found = vec![];
    references(plan, &mut vec![], &mut found);
    found
}

fn references(plan: &LogicalPlan, scopes: &mut Vec<DFSchema>, found: &mut Vec<(Column, FieldRef)>) {
    if let LogicalPlan::Subquery(q) = plan {
        return references(&q.subquery, scopes, found);
    }
    for expr in plan.expressions() {
        expression_references(&expr, plan, scopes, found);
    }
    if let LogicalPlan::Join(j) = plan
        && super::push::is_lateral(&j.right)
    {
        references(&j.left, scopes, found);
        scopes.push(j.left.schema().as_ref().clone());
        references(&j.right, scopes, found);
        scopes.pop();
        return;
    }
    plan.inputs().into_iter().for_each(|i| references(i, scopes, found));
}

fn expression_references(
    expr: &Expr,
    node: &LogicalPlan,
    scopes: &mut Vec<DFSchema>,
    found: &mut Vec<(Column, FieldRef)>,
) {
    // The walk cannot fail: its closure does not.
    let _ = expr.apply(|e| {
        if let Expr::OuterReferenceColumn(field, column) = e {
            let inside = scopes.iter().any(|s| s.has_column(column));
            if !inside && !found.iter().any(|(c, _)| c == column) {
                found.push((column.clone(), Arc::clone(field)));
            }
        }
        if let Some(query) = subplan(e) {
            scopes.push(input_schema(node));
            references(query, scopes, found);
            scopes.pop();
        }
        Ok(TreeNodeRecursion::Continue)
    });
}

/// The columns of `schema` that an expression, subqueries in it included, reads.
pub(crate) fn columns_read(expr: &Expr, schema: &DFSchema) -> Vec<Column> {
    let mut found: Vec<Column> = vec![];
    let mut note = |c: &Column| {
        if schema.has_column(c) && !found.contains(c) {
            found.push(c.clone());
        }
    };
    let _ = expr.apply(|e| {
        if let Expr::Column(c) = e {
            note(c);
        }
        if let Some(query) = subplan(e) {
            outer_references(query).iter().for_each(|(c, _)| note(c));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// True where an expression, subqueries in it included, reads a column of `schema`.
pub(super) fn reads(expr: &Expr, schema: &DFSchema) -> bool {
    let mut read = expr.column_refs().into_iter().any(|c| schema.has_column(c));
    let _ = expr.apply(|e| {
        if let Some(query) = subplan(e) {
            read |= outer_references(query).iter().any(|(c, _)| schema.has_column(c));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    read
}

/// Refuses an aggregate over outer columns alone: it belongs to the query around.
pub(super) fn check_aggregates(plan: &LogicalPlan) -> Result<(), SqlError> {
    let outer = |e: &Expr| match e {
        Expr::AggregateFunction(a) => {
            let any =
                |wanted: fn(&Expr) -> bool| a.params.args.iter().any(|x| x.exists(|x| Ok(wanted(x))).unwrap_or(false));
            any(|x| matches!(x, Expr::OuterReferenceColumn(..)))
                && !any(|x| matches!(x, Expr::Column(_)) || is_subquery(x))
        }
        _ => false,
    };
    let mut found = false;
    let walked = plan.apply(|node| {
        found |= node.expressions().iter().any(|e| e.exists(|e| Ok(outer(e))).unwrap_or(false));
        Ok(TreeNodeRecursion::Continue)
    });
    match found || walked.is_err() {
        true => Err(SqlError::unsupported("an aggregate of an outer query's columns is not supported yet")
            .hint("Compute it in the outer query.")),
        false => Ok(()),
    }
}

/// An expression with `replace` of its outer references; those that a query around it inside `scopes` means stay.
pub(super) fn localized(
    expr: Expr,
    own: &DFSchema,
    replace: &dyn Fn(&Column) -> Option<Column>,
) -> Result<Expr, SqlError> {
    expr.transform_down(|e| match e {
        Expr::OuterReferenceColumn(field, column) => Ok(match replace(&column) {
            Some(new) => Transformed::yes(Expr::Column(new)),
            None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
        }),
        other => with_subplan(other, &mut |plan| renamed(plan, own, replace)),
    })
    .data()
    .map_err(from_planner)
}

/// A query within a query of the schema `own`, its references to columns further out replaced.
pub(super) fn renamed(
    plan: LogicalPlan,
    own: &DFSchema,
    replace: &dyn Fn(&Column) -> Option<Column>,
) -> DfResult<LogicalPlan> {
    nested(plan, &mut vec![own.clone()], &|e, inside| match e {
        Expr::OuterReferenceColumn(field, column) if !inside(column) => {
            replace(column).map(|new| Expr::OuterReferenceColumn(Arc::clone(field), new))
        }
        _ => None,
    })
}

/// Another expression in the place of one; the function tells which outer columns are those of a query between.
pub(super) type Replace<'a> = &'a dyn Fn(&Expr, &dyn Fn(&Column) -> bool) -> Option<Expr>;

/// The expression with another plan in its subquery, where it is one.
pub(super) fn with_subplan(
    expr: Expr,
    f: &mut dyn FnMut(LogicalPlan) -> DfResult<LogicalPlan>,
) -> DfResult<Transformed<Expr>> {
    let mut remake = |q: Subquery| -> DfResult<Subquery> {
        let plan = f(Arc::unwrap_or_clone(q.subquery))?;
        let outer_ref_columns = plan.all_out_ref_exprs();
        Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: q.spans })
    };
    Ok(match expr {
        Expr::ScalarSubquery(q) => Transformed::yes(Expr::ScalarSubquery(remake(q)?)),
        Expr::Exists(mut e) => {
            e.subquery = remake(e.subquery)?;
            Transformed::yes(Expr::Exists(e))
        }
        Expr::InSubquery(mut i) => {
            i.subquery = remake(i.subquery)?;
            Transformed::yes(Expr::InSubquery(i))
        }
        Expr::SetComparison(mut c) => {
            c.subquery = remake(c.subquery)?;
            Transformed::yes(Expr::SetComparison(c))
        }
        other => Transformed::no(other),
    })
}

/// A query within queries of the schemas `scopes`, its expressions replaced.
pub(super) fn nested(plan: LogicalPlan, scopes: &mut Vec<DFSchema>, replace: Replace<'_>) -> DfResult<LogicalPlan> {
    if let LogicalPlan::Subquery(mut q) = plan {
        q.subquery = Arc::new(nested(Arc::unwrap_or_clone(q.subquery), scopes, replace)?);
        q.outer_ref_columns = q.subquery.all_out_ref_exprs();
        return Ok(LogicalPlan::Subquery(q));
    }
    let lateral = match &plan {
        LogicalPlan::Join(j) if super::push::is_lateral(&j.right) => Some(j.left.schema().as_ref().clone()),
        _ => None,
    };
    let mut at = 0;
    let plan = plan
        .map_children(|c| {
            let inner = lateral.clone().filter(|_| at == 1);
            at += 1;
            let pushed = inner.is_some();
            scopes.extend(inner);
            let new = nested(c, scopes, replace);
            if pushed {
                scopes.pop();
            }
            new.map(Transformed::yes)
        })
        .data()?;
    let own = input_schema(&plan);
    let is_values = matches!(plan, LogicalPlan::Values(_));
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let new = expr.transform_down(|e| {
            if let Some(new) = replace(&e, &|c| scopes.iter().any(|s| s.has_column(c))) {
                return Ok(Transformed::yes(new));
            }
            with_subplan(e, &mut |plan| {
                scopes.push(own.clone());
                let new = nested(plan, scopes, replace);
                scopes.pop();
                new
            })
        })?;
        // The cells of VALUES have no names.
        Ok(if is_values { new } else { new.update_data(|e| name.restore(e)) })
    })?
    .map_data(LogicalPlan::recompute_schema)
    .data()
}
