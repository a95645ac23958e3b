//! EXISTS and IN that DataFusion joins as PostgreSQL means them: conditions of their own, ad hoc, which cannot fail and
//! correlate by nothing but equalities of columns.

use super::scope::outer_references;
use super::{as_any, bare, decorrelate, fallible, is_equality, plan_fallible, project};
use crate::error::from_planner;
use crate::keys::{key_of, needs_key};
use crate::planner::Env;
use crate::typing::field_type;
use datafusion_common::Column;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion_expr::logical_plan::Filter;
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{Expr, LogicalPlan, Operator, Subquery};
use hw_repr::SqlError;
use std::collections::HashMap;
use std::sync::Arc;

/// The condition as DataFusion takes it, where it may.
pub(super) fn condition(env: &Env, expr: &Expr) -> Result<Option<Expr>, SqlError> {
    if env.stored {
        return Ok(None);
    }
    match expr {
        Expr::Not(inner) => match inner.as_ref() {
            Expr::Exists(e) => exists(env, e, !e.negated),
            Expr::SetComparison(c) => membership(env, c, true),
            _ => Ok(None),
        },
        Expr::Exists(e) => exists(env, e, e.negated),
        // It has been here before.
        Expr::InSubquery(_) => Ok(Some(expr.clone())),
        Expr::SetComparison(c) => membership(env, c, false),
        _ => Ok(None),
    }
}

fn exists(env: &Env, e: &Exists, negated: bool) -> Result<Option<Expr>, SqlError> {
    let mut query = bare(e.subquery.subquery.as_ref().clone());
    if plan_fallible(&query) || outer_references(&query).is_empty() || !is_simple(&query) {
        return Ok(None);
    }
    if share_names(&query.schema().columns()) {
        let LogicalPlan::Filter(f) = query else { return Ok(None) };
        query = renamed(env, f)?;
    }
    let columns = query.schema().columns().into_iter().map(Expr::Column).collect();
    let query = project(columns, query)?;
    Ok(Some(Expr::Exists(Exists { subquery: remade(&e.subquery, query), negated })))
}

/// Whether columns of several relations have one name: DataFusion gives what a subquery shows to the outside one relation, in
/// which it takes the first of them for the other.
fn share_names(columns: &[Column]) -> bool {
    let mut known: HashMap<&str, &Column> = HashMap::new();
    columns.iter().any(|c| known.insert(&c.name, c).is_some_and(|other| other != c))
}

/// The filter over columns with names of their own.
fn renamed(env: &Env, f: Filter) -> Result<LogicalPlan, SqlError> {
    let schema = Arc::clone(f.input.schema());
    let columns = schema.columns();
    let names: Vec<String> = columns.iter().map(|_| env.fresh_name("hw_column")).collect();
    let items = columns.into_iter().zip(&names).map(|(c, name)| Expr::Column(c).alias(name)).collect();
    let rename = |e: Expr| match e {
        Expr::Column(c) => {
            let at = schema.index_of_column(&c)?;
            Ok(Transformed::yes(Expr::Column(Column::from_name(&names[at]))))
        }
        other => Ok(Transformed::no(other)),
    };
    let predicate = f.predicate.transform(rename).data().map_err(from_planner)?;
    let input = project(items, Arc::unwrap_or_clone(f.input))?;
    Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input)).map_err(from_planner)?))
}

/// Whether the column at a place may be the same in all rows, as far as the optimizer finds out.
fn is_constant(plan: &LogicalPlan, at: usize) -> bool {
    match plan {
        LogicalPlan::Projection(p) => match p.expr.get(at).map(|e| e.clone().unalias()) {
            Some(Expr::Column(c)) => {
                p.input.schema().maybe_index_of_column(&c).is_none_or(|i| is_constant(&p.input, i))
            }
            Some(e) => e.column_refs().is_empty(),
            None => true,
        },
        LogicalPlan::SubqueryAlias(s) => is_constant(&s.input, at),
        LogicalPlan::TableScan(_) => false,
        LogicalPlan::Union(u) => u.inputs.iter().any(|input| is_constant(input, at)),
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) | LogicalPlan::Distinct(_) => {
            plan.inputs().into_iter().any(|input| is_constant(input, at))
        }
        // Of joins and groups it is not looked for: what is constant below them may be known to be so above.
        other => other.inputs().into_iter().any(has_constants),
    }
}

fn has_constants(plan: &LogicalPlan) -> bool {
    let own = match plan {
        LogicalPlan::Projection(p) => p.expr.iter().any(|e| e.column_refs().is_empty()),
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => true,
        _ => false,
    };
    own || plan.inputs().into_iter().any(has_constants)
}

/// The columns that a select list is made of.
fn projected(plan: &LogicalPlan) -> Vec<Column> {
    match plan {
        LogicalPlan::Projection(p) => p.expr.iter().flat_map(|e| e.column_refs().into_iter().cloned()).collect(),
        LogicalPlan::SubqueryAlias(s) => projected(&s.input),
        LogicalPlan::Filter(f) => projected(&f.input),
        _ => vec![],
    }
}

/// The columns of a subquery that conditions on the outer query read.
fn correlated_columns(plan: &LogicalPlan) -> Vec<Column> {
    match plan {
        LogicalPlan::Projection(p) => correlated_columns(&p.input),
        LogicalPlan::SubqueryAlias(s) => correlated_columns(&s.input),
        LogicalPlan::Filter(f) => {
            let conditions = split_conjunction(&f.predicate).into_iter().filter(|c| !is_local(c));
            let mut all: Vec<Column> = conditions.flat_map(|c| c.column_refs().into_iter().cloned()).collect();
            all.extend(correlated_columns(&f.input));
            all
        }
        _ => vec![],
    }
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
    let shown = || correlated_columns(&query).into_iter().chain(query.schema().columns()).chain(projected(&query));
    if correlated && share_names(&shown().collect::<Vec<_>>()) {
        return Ok(None);
    }
    // A comparison that reads one side only is moved there, where NULL leaves out rows like any condition.
    if negated && (c.expr.column_refs().is_empty() || is_constant(&query, 0)) {
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
        // Below an alias there may be no correlation: DataFusion does not bring its columns through it.
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
