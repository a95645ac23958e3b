//! Set-returning calls of select lists and groups: taken out of the expressions into an [`Expand`] below, where those of one
//! select list go on side by side. A call within the arguments of another one is expanded before it, beside all others
//! that have none within theirs, as PostgreSQL does it.

use crate::error::from_planner;
use crate::planner::Env;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, JoinType};
use datafusion_expr::expr::Sort as SortKey;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::logical_plan::{Extension, Filter, Join, Sort};
use datafusion_expr::{Expr, LogicalPlan};
use hw_plan::ScalarExpr;
use hw_repr::{SqlError, SqlState};
use hw_scalar::sets::{Expand, is_set_call, set_column};
use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

/// Whether set-returning calls may stand in an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sets {
    /// In a select list and in GROUP BY.
    Allowed,
    /// Not in a clause of this name.
    Refused(&'static str),
    /// Not in an expression of this kind.
    Within(&'static str),
    /// Not among the arguments of calls of this kind.
    Arguments(&'static str),
}

impl Sets {
    /// `0A000` in PostgreSQL's words, where they may not.
    pub fn check(self) -> Result<(), SqlError> {
        let hint = "You might be able to move the set-returning function into a LATERAL FROM item.";
        Err(match self {
            Sets::Allowed => return Ok(()),
            Sets::Refused(what) => SqlError::unsupported(format!("set-returning functions are not allowed in {what}")),
            Sets::Within(what) => {
                SqlError::unsupported(format!("set-returning functions are not allowed in {what}")).hint(hint)
            }
            Sets::Arguments(what) => {
                let message = format!("{what} function calls cannot contain set-returning function calls");
                SqlError::unsupported(message).hint(hint)
            }
        })
    }
}

/// True where an expression holds a set-returning call.
pub(crate) fn has_set(expr: &Expr) -> bool {
    expr.exists(|e| Ok(is_set_call(e))).unwrap_or(true)
}

/// `42804` for a set where one truth value is wanted.
pub(crate) fn check_single(what: &str, value: &ScalarExpr, slots: &[Expr]) -> Result<(), SqlError> {
    match value.columns().iter().any(|c| slots.get(*c).is_some_and(has_set)) {
        true => {
            let message = format!("argument of {what} must not return a set");
            Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message))
        }
        false => Ok(()),
    }
}

/// The node of a plan, where it is one of sets.
pub(crate) fn expand_of(plan: &LogicalPlan) -> Option<&Expand> {
    match plan {
        LogicalPlan::Extension(e) => {
            let any: &dyn Any = e.node.as_any();
            any.downcast_ref::<Expand>()
        }
        _ => None,
    }
}

/// The node as a plan.
pub(crate) fn plan_of(node: Expand) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(node) })
}

/// The expressions without set-returning calls, under the same names, and what they are over.
pub(crate) fn expand(
    env: &Env,
    mut input: LogicalPlan,
    mut exprs: Vec<Expr>,
) -> Result<(LogicalPlan, Vec<Expr>), SqlError> {
    while exprs.iter().any(has_set) {
        let (mut found, mut calls) = (vec![], vec![]);
        for e in &exprs {
            collect(e, &mut found, &mut calls);
        }
        let node = Expand::new(Arc::new(input), calls, env.fresh_name("hw_set"), false, None).map_err(from_planner)?;
        let names = NamePreserver::new_for_projection();
        let replace = |e: Expr| {
            let name = names.save(&e);
            let new = e.transform_down(|e| match found.iter().find(|(call, ..)| *call == e) {
                Some((_, call, column)) => Ok(Transformed::yes(Expr::Column(node.column(*call, *column)))),
                None => Ok(Transformed::no(e)),
            });
            Ok::<_, SqlError>(name.restore(new.data().map_err(from_planner)?))
        };
        exprs = exprs.into_iter().map(replace).collect::<Result<_, _>>()?;
        input = plan_of(node);
    }
    Ok((input, exprs))
}

/// The calls that have no other within their arguments: each as it stands, with the number of its call and its column.
fn collect(expr: &Expr, found: &mut Vec<(Expr, usize, usize)>, calls: &mut Vec<Expr>) {
    // The walk cannot fail: its closure does not.
    let _ = expr.apply(|e| {
        if let Some((call, column)) = set_column(e)
            && !Expand::args(e).iter().any(has_set)
        {
            if !found.iter().any(|(known, ..)| known == e) {
                let at = calls.iter().position(|c| *c == call).unwrap_or_else(|| {
                    calls.push(call);
                    calls.len() - 1
                });
                found.push((e.clone(), at, column));
            }
            return Ok(TreeNodeRecursion::Jump);
        }
        Ok(TreeNodeRecursion::Continue)
    });
}

/// A LATERAL join with sets of nothing but the row on its left, as these sets over that row; `None` where it is none.
pub(crate) fn of_left(j: &Join, query: &LogicalPlan) -> Result<Option<LogicalPlan>, SqlError> {
    let always = match &j.filter {
        None => true,
        Some(Expr::Literal(v, _)) => *v == datafusion_common::ScalarValue::Boolean(Some(true)),
        Some(_) => false,
    };
    let outer = j.join_type == JoinType::Left;
    if outer && !always || !j.on.is_empty() {
        return Ok(None);
    }
    let mut plan = j.left.as_ref().clone();
    let kept = plan.schema().columns();
    let Some(exprs) = stacked(query, &mut plan, outer)? else { return Ok(None) };
    let own = kept.into_iter().map(Expr::Column);
    plan = crate::decorrelate::project(own.chain(exprs).collect(), plan)?;
    match &j.filter {
        Some(condition) if !always => {
            let filter = Filter::try_new(condition.clone(), Arc::new(plan)).map_err(from_planner)?;
            Ok(Some(LogicalPlan::Filter(filter)))
        }
        _ => Ok(Some(plan)),
    }
}

/// The columns of `query` over `plan`, which gets its sets; `None` where it is more than sets of one row.
fn stacked(query: &LogicalPlan, plan: &mut LogicalPlan, outer: bool) -> Result<Option<Vec<Expr>>, SqlError> {
    match query {
        LogicalPlan::SubqueryAlias(s) => {
            let Some(exprs) = stacked(&s.input, plan, outer)? else { return Ok(None) };
            let named = exprs.into_iter().zip(s.schema.iter());
            Ok(Some(named.map(|(e, (q, f))| e.unalias().alias_qualified(q.cloned(), f.name())).collect()))
        }
        LogicalPlan::Projection(p) => {
            let Some(expand) = expand_of(&p.input) else { return Ok(None) };
            let LogicalPlan::EmptyRelation(one) = expand.input.as_ref() else { return Ok(None) };
            let plain = |e: &Expr| matches!(e.clone().unalias(), Expr::Column(_));
            let simple = one.produce_one_row
                && !p.expr.iter().chain(&expand.calls).any(crate::decorrelate::has_subquery)
                && (!outer || p.expr.iter().all(plain));
            if !simple {
                return Ok(None);
            }
            let here = |e: &Expr| local(e.clone(), plan.schema());
            let Some(calls) = expand.calls.iter().map(here).collect::<Option<Vec<_>>>() else { return Ok(None) };
            let Some(exprs) = p.expr.iter().map(here).collect::<Option<Vec<_>>>() else { return Ok(None) };
            let node = expand.over(Arc::new(plan.clone()), calls, outer).map_err(from_planner)?;
            *plan = plan_of(node);
            let named = exprs.into_iter().zip(p.schema.iter());
            Ok(Some(named.map(|(e, (q, f))| e.unalias().alias_qualified(q.cloned(), f.name())).collect()))
        }
        _ => Ok(None),
    }
}

/// The expression with columns for its references to the row on the left; `None` where one is to something further out.
fn local(expr: Expr, left: &datafusion_common::DFSchema) -> Option<Expr> {
    let mut known = true;
    let new = expr.transform_up(|e| match e {
        Expr::OuterReferenceColumn(field, column) => {
            if left.has_column(&column) {
                return Ok(Transformed::yes(Expr::Column(column)));
            }
            known = false;
            Ok(Transformed::no(Expr::OuterReferenceColumn(field, column)))
        }
        other => Ok(Transformed::no(other)),
    });
    new.data().ok().filter(|_| known)
}

/// Sorts `plan`: below its sets where the keys read nothing of them, so that the rows of one set stay in their order.
pub(crate) fn sorted(sort: Sort) -> Result<LogicalPlan, SqlError> {
    match below_sets(&sort.expr, &sort.input)? {
        Some(plan) => Ok(plan),
        None => Ok(LogicalPlan::Sort(sort)),
    }
}

fn below_sets(keys: &[SortKey], plan: &LogicalPlan) -> Result<Option<LogicalPlan>, SqlError> {
    if let Some(node) = expand_of(plan) {
        let below = node.input.schema();
        if !keys.iter().all(|k| k.expr.column_refs().iter().all(|c| below.has_column(c))) {
            return Ok(None);
        }
        let input = match below_sets(keys, &node.input)? {
            Some(sorted) => sorted,
            None => LogicalPlan::Sort(Sort { expr: keys.to_vec(), input: Arc::clone(&node.input), fetch: None }),
        };
        let node = node.over(Arc::new(input), node.calls.clone(), node.outer).map_err(from_planner)?;
        return Ok(Some(plan_of(node)));
    }
    let LogicalPlan::Projection(p) = plan else { return Ok(None) };
    if expand_of(&p.input).is_none() {
        return Ok(None);
    }
    let columns = p.schema.columns();
    let inner = |e: &Expr| {
        let new = e.clone().transform_up(|e| match &e {
            Expr::Column(c) => Ok(match columns.iter().position(|own| own == c).and_then(|at| p.expr.get(at)) {
                Some(found) => Transformed::yes(found.clone().unalias()),
                None => Transformed::no(e),
            }),
            _ => Ok(Transformed::no(e)),
        });
        new.data().map_err(from_planner)
    };
    let mut moved = vec![];
    for key in keys {
        moved.push(SortKey { expr: inner(&key.expr)?, ..key.clone() });
    }
    if moved.iter().any(|k| crate::decorrelate::has_subquery(&k.expr)) {
        return Ok(None);
    }
    match below_sets(&moved, &p.input)? {
        Some(input) => Ok(Some(crate::decorrelate::project(p.expr.clone(), input)?)),
        None => Ok(None),
    }
}

/// Lets sets pass on only the columns that are read above them: an array is not copied beside each of its elements.
pub(crate) fn narrow(plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    let narrowed = plan.transform_down_with_subqueries(|node| {
        if !matches!(node, LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_)) {
            return Ok(Transformed::no(node));
        }
        let mut read: HashSet<Column> = HashSet::new();
        node.expressions().iter().for_each(|e| read.extend(e.column_refs().into_iter().cloned()));
        node.map_children(|child| below(child, &mut read))
    });
    narrowed.data().map_err(from_planner)
}

fn below(plan: LogicalPlan, read: &mut HashSet<Column>) -> datafusion_common::Result<Transformed<LogicalPlan>> {
    if let Some(expand) = expand_of(&plan).filter(|e| e.keep.is_none()) {
        let columns = expand.input.schema().columns();
        let keep: Vec<Column> = columns.iter().filter(|c| read.contains(c)).cloned().collect();
        return match keep.len() == columns.len() {
            true => Ok(Transformed::no(plan)),
            false => Ok(Transformed::yes(plan_of(expand.keeping(keep)?))),
        };
    }
    match plan {
        LogicalPlan::Filter(f) => {
            read.extend(f.predicate.column_refs().into_iter().cloned());
            let input = below(f.input.as_ref().clone(), read)?;
            let filter = Filter::try_new(f.predicate, Arc::new(input.data))?;
            Ok(Transformed::new_transformed(LogicalPlan::Filter(filter), input.transformed))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// A call as the dataflow has it.
pub(crate) fn lower_call(call: &Expr, schema: &datafusion_common::DFSchema) -> Result<hw_plan::SetCall, SqlError> {
    let (func, _, types) = Expand::types(call).map_err(from_planner)?;
    let args = Expand::args(call).iter().map(|a| crate::lower::lower_expr(a, schema)).collect::<Result<_, _>>()?;
    Ok(hw_plan::SetCall { func, args, types })
}
