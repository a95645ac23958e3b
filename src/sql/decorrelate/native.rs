//! EXISTS and IN that DataFusion joins as PostgreSQL means them: conditions of their own, ad hoc, which cannot fail and
//! correlate by nothing but equalities of columns.

use super::scope::outer_references;
use super::{as_any, bare, decorrelate, fallible, is_equality, plan_fallible, project};
use crate::keys::{key_of, needs_key};
use crate::planner::Env;
use crate::typing::field_type;
use datafusion_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{Expr, LogicalPlan, Operator, Subquery};
use hw_repr::SqlError;
use std::sync::Arc;

/// The condition as DataFusion takes it, where it may.
pub(super) fn condition(env: &Env, expr: &Expr) -> Result<Option<Expr>, SqlError> {
    if env.stored {
        return Ok(None);
    }
    match expr {
        Expr::Not(inner) => match inner.as_ref() {
            Expr::Exists(e) => exists(e, !e.negated),
            Expr::SetComparison(c) => membership(env, c, true),
            _ => Ok(None),
        },
        Expr::Exists(e) => exists(e, e.negated),
        // It has been here before.
        Expr::InSubquery(_) => Ok(Some(expr.clone())),
        Expr::SetComparison(c) => membership(env, c, false),
        _ => Ok(None),
    }
}

fn exists(e: &Exists, negated: bool) -> Result<Option<Expr>, SqlError> {
    let query = bare(e.subquery.subquery.as_ref().clone());
    if plan_fallible(&query) || outer_references(&query).is_empty() || !is_simple(&query) {
        return Ok(None);
    }
    let columns = query.schema().columns().into_iter().map(Expr::Column).collect();
    let query = project(columns, query)?;
    Ok(Some(Expr::Exists(Exists { subquery: remade(&e.subquery, query), negated })))
}

fn membership(env: &Env, c: &SetComparison, negated: bool) -> Result<Option<Expr>, SqlError> {
    let (c, is_all) = as_any(c.clone())?;
    let negated = negated != is_all;
    let mut query = c.subquery.subquery.as_ref().clone();
    let correlated = !outer_references(&query).is_empty();
    let not_ours = c.op != Operator::Eq || fallible(&c.expr) || super::has_subquery(&c.expr) || correlated && negated;
    if not_ours || plan_fallible(&query) || correlated && !is_simple(&query) {
        return Ok(None);
    }
    if !correlated {
        query = decorrelate(env, query)?;
    }
    let [column] = query.schema().columns().try_into().map_err(|_| SqlError::internal("not one column"))?;
    let field = query.schema().field(0);
    let ty = field_type(field)?;
    let mut needle = c.expr.as_ref().clone();
    if needs_key(ty) {
        if correlated {
            return Ok(None);
        }
        needle = key_of(needle, ty);
        query = project(vec![key_of(Expr::Column(column), ty).alias("key")], query)?;
    }
    let subquery = remade(&c.subquery, query);
    Ok(Some(Expr::InSubquery(InSubquery::new(Box::new(needle), subquery, negated))))
}

fn remade(old: &Subquery, plan: LogicalPlan) -> Subquery {
    Subquery { outer_ref_columns: plan.all_out_ref_exprs(), subquery: Arc::new(plan), spans: old.spans.clone() }
}

/// A WHERE over something that reads no outer column, whose conditions either read none or equate one with an expression.
fn is_simple(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(p) => p.expr.iter().all(is_local) && is_simple(&p.input),
        LogicalPlan::SubqueryAlias(s) => is_simple(&s.input),
        LogicalPlan::Filter(f) => {
            let simple = |c: &&Expr| is_local(c) || is_correlation(c);
            split_conjunction(&f.predicate).iter().all(simple) && is_simple(&f.input)
        }
        other => {
            let plain = outer_references(other).is_empty();
            let mut subqueries = false;
            let walked = datafusion_common::tree_node::TreeNode::apply(other, |node| {
                subqueries |= node.expressions().iter().any(super::has_subquery);
                Ok(datafusion_common::tree_node::TreeNodeRecursion::Continue)
            });
            plain && !subqueries && walked.is_ok()
        }
    }
}

fn is_outer(e: &Expr) -> bool {
    matches!(e, Expr::OuterReferenceColumn(..))
}

fn is_local(e: &Expr) -> bool {
    use datafusion_common::tree_node::TreeNode;
    !super::has_subquery(e) && !e.exists(|e| Ok(is_outer(e))).unwrap_or(true)
}

/// `inner = outer column`, either way round.
fn is_correlation(e: &Expr) -> bool {
    match e {
        Expr::BinaryExpr(b) if is_equality(b.op) => {
            is_outer(&b.left) && is_local(&b.right) || is_outer(&b.right) && is_local(&b.left)
        }
        _ => false,
    }
}
