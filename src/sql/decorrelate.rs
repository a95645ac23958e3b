//! Correlated scalar subqueries that are no aggregates, as left joins.
//!
//! `(SELECT e FROM r WHERE r.k = outer.k AND p)` becomes an aggregate of `r` by `k` that is left-joined to the outer
//! rows; more than one row for an outer row is `21000`, none is NULL. The correlation must be by equality in a WHERE
//! right below the select list. What is left of the correlation may use outer columns where an equality says what
//! they are, or nothing but outer columns.

use crate::error::{external, from_planner};
use crate::planner::Env;
use crate::typing::is_global_aggregate;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, JoinType, NullEquality};
use datafusion_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion_expr::logical_plan::{Aggregate, Filter, Join, SubqueryAlias};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{Expr, JoinConstraint, LogicalPlan, Operator, Subquery, lit};
use hw_repr::SqlError;
use std::sync::Arc;

fn unsupported(what: &str) -> SqlError {
    SqlError::unsupported(format!("{what} in a correlated scalar subquery is not supported yet")).hint("Use a join.")
}

fn has_outer(expr: &Expr) -> bool {
    expr.exists(|e| Ok(matches!(e, Expr::OuterReferenceColumn(..)))).unwrap_or(true)
}

/// `SELECT count(*)` over the rows of a subquery.
pub(crate) fn count_rows(subquery: Subquery) -> Result<Subquery, SqlError> {
    let count = crate::aggregate::aggregate_by_name("count").ok_or_else(|| SqlError::internal("no count"))?;
    let count = AggregateFunction::new_udf(count, vec![lit(true)], false, None, vec![], None);
    let plan = Aggregate::try_new(subquery.subquery, vec![], vec![Expr::AggregateFunction(count)]);
    let plan = LogicalPlan::Aggregate(plan.map_err(from_planner)?);
    Ok(Subquery { subquery: Arc::new(plan), ..subquery })
}

/// Joins the correlated scalar subqueries of `exprs` to `input`; gives the joined plan and the expressions over it.
/// Other subqueries stay.
pub(crate) fn join_scalar_subqueries(
    env: &Env,
    input: LogicalPlan,
    exprs: Vec<Expr>,
) -> Result<(LogicalPlan, Vec<Expr>), SqlError> {
    let mut plan = input;
    let mut out = Vec::with_capacity(exprs.len());
    for expr in exprs {
        let found = expr.exists(|e| Ok(needs_join(e))).map_err(from_planner)?;
        if !found {
            out.push(expr);
            continue;
        }
        let mut joined = Some(plan);
        let new = expr
            .transform_down(|e| match e {
                Expr::ScalarSubquery(q) if needs_join(&Expr::ScalarSubquery(q.clone())) => {
                    let outer = joined.take().ok_or_else(|| external(SqlError::internal("a plan was lost")))?;
                    let (plan, value) = join_one(env, outer, &q).map_err(external)?;
                    joined = Some(plan);
                    Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
                }
                other => Ok(Transformed::no(other)),
            })
            .data()
            .map_err(from_planner)?;
        plan = joined.ok_or_else(|| SqlError::internal("a plan was lost"))?;
        out.push(new);
    }
    Ok((plan, out))
}

fn needs_join(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarSubquery(q) => !q.outer_ref_columns.is_empty() && !is_global_aggregate(&q.subquery),
        _ => false,
    }
}

/// The parts of `SELECT item FROM source WHERE conjuncts`.
struct Parts {
    item: Expr,
    source: LogicalPlan,
    conjuncts: Vec<Expr>,
}

fn take_apart(plan: &LogicalPlan) -> Result<Parts, SqlError> {
    match plan {
        LogicalPlan::Projection(p) => {
            let [item] = p.expr.as_slice() else { return Err(unsupported("more than one column")) };
            let (source, conjuncts) = match p.input.as_ref() {
                LogicalPlan::Filter(f) => (f.input.as_ref().clone(), split_conjunction_owned(f.predicate.clone())),
                other => (other.clone(), vec![]),
            };
            if !source.all_out_ref_exprs().is_empty() {
                return Err(unsupported("a reference to the outer query other than in WHERE"));
            }
            Ok(Parts { item: item.clone().unalias(), source, conjuncts })
        }
        LogicalPlan::Sort(s) if s.fetch.is_none() => take_apart(&s.input),
        LogicalPlan::Limit(_) => Err(unsupported("LIMIT")),
        LogicalPlan::Aggregate(_) => Err(unsupported("GROUP BY")),
        LogicalPlan::Distinct(_) => Err(unsupported("DISTINCT")),
        other => Err(unsupported(&format!("{}", other.display()))),
    }
}

/// `inner = outer` as (inner, outer).
fn equality(conjunct: &Expr) -> Option<(Expr, Expr)> {
    let Expr::BinaryExpr(b) = conjunct else { return None };
    if b.op != Operator::Eq {
        return None;
    }
    let pure_outer = |e: &Expr| has_outer(e) && outer_only(e).is_some();
    match (b.left.as_ref(), b.right.as_ref()) {
        (l, r) if pure_outer(r) && !has_outer(l) => Some((l.clone(), r.clone())),
        (l, r) if pure_outer(l) && !has_outer(r) => Some((r.clone(), l.clone())),
        _ => None,
    }
}

/// An expression without columns of the subquery, its outer references as plain columns.
fn outer_only(expr: &Expr) -> Option<Expr> {
    let inner = expr.exists(|e| Ok(matches!(e, Expr::Column(_) | Expr::ScalarSubquery(_)))).unwrap_or(true);
    if inner {
        return None;
    }
    expr.clone()
        .transform_up(|e| match e {
            Expr::OuterReferenceColumn(_, c) => Ok(Transformed::yes(Expr::Column(c))),
            other => Ok(Transformed::no(other)),
        })
        .data()
        .ok()
}

fn join_one(env: &Env, outer: LogicalPlan, q: &Subquery) -> Result<(LogicalPlan, Expr), SqlError> {
    let Parts { item, source, conjuncts } = take_apart(&q.subquery)?;
    let mut keys: Vec<(Expr, Expr)> = vec![];
    let mut rest = vec![];
    for c in conjuncts {
        match equality(&c) {
            Some(found) => keys.push(found),
            None => rest.push(c),
        }
    }
    if keys.is_empty() {
        return Err(unsupported("a correlation other than by equality"));
    }
    // Where an equality holds, the outer column is the inner expression.
    let known = |expr: Expr| {
        expr.transform_up(|e| match keys.iter().find(|(_, o)| *o == e) {
            Some((inner, _)) => Ok(Transformed::yes(inner.clone())),
            None => Ok(Transformed::no(e)),
        })
        .data()
        .map_err(from_planner)
    };
    let (mut inner_filter, mut on_filter) = (vec![], vec![]);
    for c in rest {
        if let Some(condition) = outer_only(&c).filter(|_| has_outer(&c)) {
            on_filter.push(condition);
            continue;
        }
        let c = known(c)?;
        if has_outer(&c) {
            return Err(unsupported("a correlation other than by equality"));
        }
        inner_filter.push(c);
    }
    let item = known(item)?;
    if has_outer(&item) {
        return Err(unsupported("a reference to the outer query other than in WHERE"));
    }
    let filtered = match conjunction(inner_filter) {
        Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(source)).map_err(from_planner)?),
        None => source,
    };
    attach(env, outer, filtered, item, keys, conjunction(on_filter))
}

/// Aggregates the subquery by its keys and left-joins it.
fn attach(
    env: &Env,
    outer: LogicalPlan,
    inner: LogicalPlan,
    item: Expr,
    keys: Vec<(Expr, Expr)>,
    on_filter: Option<Expr>,
) -> Result<(LogicalPlan, Expr), SqlError> {
    let alias = env.fresh_name("hw_subquery");
    let count = crate::aggregate::aggregate_by_name("count").ok_or_else(|| SqlError::internal("no count"))?;
    let one = crate::collect::any_value();
    let call = |f, arg| Expr::AggregateFunction(AggregateFunction::new_udf(f, vec![arg], false, None, vec![], None));
    let (_, field) = datafusion_expr::ExprSchemable::to_field(&item, inner.schema()).map_err(from_planner)?;
    let ty = crate::typing::field_type(&field)?;
    let group: Vec<Expr> = keys.iter().enumerate().map(|(i, (k, _))| k.clone().alias(format!("k{i}"))).collect();
    let aggregates = vec![call(count, lit(true)).alias("n"), call(one, item).alias("v")];
    let plan = Aggregate::try_new(Arc::new(inner), group, aggregates).map_err(from_planner)?;
    let plan = SubqueryAlias::try_new(Arc::new(LogicalPlan::Aggregate(plan)), alias.clone()).map_err(from_planner)?;
    let column = |name: &str| Expr::Column(Column::new(Some(alias.clone()), name));
    let on = keys
        .iter()
        .enumerate()
        .map(|(i, (_, o))| {
            let outer = outer_only(o).ok_or_else(|| SqlError::internal("an outer key that is not outer"))?;
            Ok((outer, column(&format!("k{i}"))))
        })
        .collect::<Result<Vec<_>, SqlError>>()?;
    let known = on.iter().all(|(o, _)| o.column_refs().iter().all(|c| outer.schema().has_column(c)));
    let known = known && on_filter.iter().all(|f| f.column_refs().iter().all(|c| outer.schema().has_column(c)));
    if !known {
        return Err(unsupported("a reference further out than the enclosing query"));
    }
    let join = Join::try_new(
        Arc::new(outer),
        Arc::new(LogicalPlan::SubqueryAlias(plan)),
        on,
        on_filter,
        JoinType::Left,
        JoinConstraint::On,
        NullEquality::NullEqualsNothing,
        false,
    );
    let join = LogicalPlan::Join(join.map_err(from_planner)?);
    let udf = crate::collect::single_row(ty);
    let value = Expr::ScalarFunction(ScalarFunction::new_udf(udf, vec![column("n"), column("v")]));
    Ok((join, value))
}

/// The error of a scalar subquery with several rows.
pub(crate) fn more_than_one_row() -> SqlError {
    SqlError::new(hw_repr::SqlState::CARDINALITY, "more than one row returned by a subquery used as an expression")
}
