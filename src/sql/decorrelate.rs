//! Subqueries of expressions as joins, by one method for all of them.
//!
//! Every subquery is first made one that gives exactly one row: a scalar one becomes the count of its rows and one of its
//! values, EXISTS a count, ANY and ALL counts of what compares true and of what is NULL. Then it is computed once for
//! every different value of the outer columns that it reads (its *domain*, see [`push`]), and joined to the outer rows by
//! these, NULL being NULL. Nothing but inner joins, unions and groups comes of it, so that views can maintain it.
//!
//! Promises: a subquery whose expressions may fail is computed only for rows that ask for it, that is, where the conditions
//! before it in AND, OR, CASE and COALESCE let its value be looked at (see [`lift`]). Conditions of one WHERE are tried in
//! their order. Several rows of a scalar subquery are 21000 where its value is looked at.
//!
//! Ad hoc, EXISTS and IN that are conditions of their own, cannot fail and correlate by nothing but equality are left for
//! DataFusion to join.

mod base;
mod groups;
mod lift;
mod native;
mod push;
mod scope;
pub(crate) use groups::name_groups;
pub(crate) use scope::{columns_read, outer_references};

use crate::emit::emit;
use crate::error::{external, from_planner};
use crate::planner::Env;
use crate::sets::{expand_of, plan_of};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Column, DFSchema, JoinType, NullEquality};
use datafusion_expr::expr::{AggregateFunction, Alias, Exists, ScalarFunction, SetComparison, SetQuantifier};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::logical_plan::{Aggregate, Filter, Join, Projection, Sort, Window};
use datafusion_expr::utils::{merge_schema, split_conjunction_owned};
use datafusion_expr::{Expr, ExprSchemable, JoinConstraint, LogicalPlan, Operator, lit};
use hw_plan::{Func, ScalarExpr};
use hw_repr::{Datum, SqlError, SqlState, SqlType};
use hw_scalar::ScalarExprUdf;
use hw_scalar::sets::{Expand, set_may_fail};
use lift::{Lift, demand};
use push::{Domain, push, push_global};
use std::sync::Arc;

/// Begins the names of joined subqueries.
const SUBQUERY: &str = "hw_subquery";
/// Begins the names of computed left operands of ANY.
const OPERAND: &str = "hw_operand";

/// True where computing the expression for a row may fail; subqueries in it aside.
pub(crate) fn fallible(expr: &Expr) -> bool {
    let may_fail = |e: &Expr| match e {
        Expr::ScalarFunction(f) => {
            ScalarExprUdf::expr(&f.func).is_some_and(hw_scalar::may_fail)
                || Expand::types(e).is_ok_and(|(func, ..)| set_may_fail(func))
        }
        _ => false,
    };
    expr.exists(|e| Ok(may_fail(e))).unwrap_or(true)
}

/// True where an expression holds a subquery.
pub(crate) fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|e| Ok(is_subquery(e))).unwrap_or(true)
}

fn is_subquery(e: &Expr) -> bool {
    matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_))
}

fn subplan(e: &Expr) -> Option<&LogicalPlan> {
    match e {
        Expr::ScalarSubquery(q) => Some(&q.subquery),
        Expr::Exists(e) => Some(&e.subquery.subquery),
        Expr::InSubquery(i) => Some(&i.subquery.subquery),
        Expr::SetComparison(c) => Some(&c.subquery.subquery),
        _ => None,
    }
}

/// True where some expression of the plan, those of subqueries included, may fail.
fn plan_fallible(plan: &LogicalPlan) -> bool {
    let several = |e: &Expr| matches!(e, Expr::ScalarSubquery(q) if !is_global_aggregate(&q.subquery));
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        found |= node.expressions().iter().any(|e| fallible(e) || e.exists(|e| Ok(several(e))).unwrap_or(true));
        Ok(datafusion_common::tree_node::TreeNodeRecursion::Continue)
    });
    found || walked.is_err()
}

/// True for an aggregate without GROUP BY under projections: always exactly one row.
fn is_global_aggregate(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(p) => is_global_aggregate(&p.input),
        LogicalPlan::SubqueryAlias(s) => is_global_aggregate(&s.input),
        LogicalPlan::Aggregate(a) => a.group_expr.is_empty(),
        _ => false,
    }
}

/// The plan with the subqueries of its expressions joined.
pub(crate) fn decorrelate(env: &Env, plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    // The right side of a LATERAL join is come to with its left.
    if matches!(plan, LogicalPlan::Subquery(_)) {
        return Ok(plan);
    }
    let plan = plan
        .map_children(|c| decorrelate(env, c).map(Transformed::yes).map_err(external))
        .data()
        .map_err(from_planner)?;
    if let LogicalPlan::Join(j) = plan {
        return join(env, j);
    }
    if !plan.expressions().iter().any(has_subquery) {
        return Ok(plan);
    }
    if let Some(node) = expand_of(&plan).cloned() {
        let (input, calls) = expressions(env, node.input.as_ref().clone(), node.calls.clone())?;
        let calls = calls.into_iter().map(Expr::unalias).collect();
        return Ok(plan_of(node.over(Arc::new(input), calls, node.outer).map_err(from_planner)?));
    }
    match plan {
        LogicalPlan::Filter(f) => filter(env, f),
        LogicalPlan::Projection(p) => {
            let (input, exprs) = expressions(env, Arc::unwrap_or_clone(p.input), p.expr)?;
            project(exprs, input)
        }
        LogicalPlan::Aggregate(a) => {
            let (input, group) = expressions(env, Arc::unwrap_or_clone(a.input), a.group_expr)?;
            let (input, aggregates) = expressions(env, input, a.aggr_expr)?;
            let plan = Aggregate::try_new(Arc::new(input), group, aggregates).map_err(from_planner)?;
            Ok(LogicalPlan::Aggregate(plan))
        }
        LogicalPlan::Window(w) => {
            let columns = w.schema.columns();
            let (input, calls) = expressions(env, Arc::unwrap_or_clone(w.input), w.window_expr)?;
            only(columns, LogicalPlan::Window(Window::try_new(calls, Arc::new(input)).map_err(from_planner)?))
        }
        LogicalPlan::Sort(s) => {
            let columns = s.input.schema().columns();
            let mut input = Arc::unwrap_or_clone(s.input);
            let mut keys = vec![];
            for mut key in s.expr {
                (input, key.expr) = expression(env, input, key.expr)?;
                keys.push(key);
            }
            let sort = LogicalPlan::Sort(Sort { expr: keys, input: Arc::new(input), fetch: s.fetch });
            only(columns, sort)
        }
        LogicalPlan::Values(v) => {
            let rows = push::rows_of(&v)?;
            decorrelate(env, rows)
        }
        other => Err(SqlError::unsupported(format!("a subquery in {} is not supported yet", other.display()))
            .hint("Write it in a WHERE or in a select list.")),
    }
}

pub(crate) fn project(exprs: Vec<Expr>, input: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input)).map_err(from_planner)?))
}

fn filtered(predicate: Expr, input: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input)).map_err(from_planner)?))
}

/// Only these columns, where there are more.
fn only(columns: Vec<Column>, plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    if plan.schema().fields().len() == columns.len() {
        return Ok(plan);
    }
    project(columns.into_iter().map(Expr::Column).collect(), plan)
}

fn filter(env: &Env, f: Filter) -> Result<LogicalPlan, SqlError> {
    let columns = f.input.schema().columns();
    let mut input = Arc::unwrap_or_clone(f.input);
    for conjunct in split_conjunction_owned(f.predicate) {
        if !has_subquery(&conjunct) {
            input = filtered(conjunct, input)?;
            continue;
        }
        if let Some(native) = native::condition(env, &conjunct)? {
            input = filtered(native, input)?;
            continue;
        }
        // Whether a comparison is false or NULL does not count here.
        let conjunct = match conjunct {
            Expr::SetComparison(c) if c.quantifier == SetQuantifier::Any => {
                let (joined, hit) = any_true(env, input, c, None)?;
                input = joined;
                hit
            }
            other => {
                let (joined, predicate) = expression(env, input, other)?;
                input = joined;
                predicate
            }
        };
        input = filtered(conjunct, input)?;
    }
    only(columns, input)
}

fn join(env: &Env, mut j: Join) -> Result<LogicalPlan, SqlError> {
    if let LogicalPlan::Subquery(q) = j.right.as_ref() {
        let lateral = q.subquery.as_ref().clone();
        return push::lateral(env, j, lateral);
    }
    if let LogicalPlan::SubqueryAlias(s) = j.right.as_ref()
        && let LogicalPlan::Subquery(q) = s.input.as_ref()
    {
        let lateral = push::aliased(q.subquery.as_ref().clone(), &s.alias)?;
        return push::lateral(env, j, lateral);
    }
    if env.stored
        && j.join_type == JoinType::Left
        && let Some(sets) = crate::sets::of_left(&j, &j.right)?
    {
        return Ok(sets);
    }
    let Some(condition) = j.filter.take_if(|f| has_subquery(f)) else { return Ok(LogicalPlan::Join(j)) };
    let remake = |left, right, filter, j: Join| {
        Join::try_new(left, right, j.on, filter, j.join_type, j.join_constraint, j.null_equality, j.null_aware)
            .map(LogicalPlan::Join)
            .map_err(from_planner)
    };
    if j.join_type == JoinType::Inner {
        let joined = remake(Arc::clone(&j.left), Arc::clone(&j.right), None, j)?;
        return filter(env, Filter::try_new(condition, Arc::new(joined)).map_err(from_planner)?);
    }
    // Of an outer join: beside the side without whose columns it can be computed.
    let columns: Vec<Column> = j.left.schema().columns().into_iter().chain(j.right.schema().columns()).collect();
    let (left, right) = (Arc::clone(&j.left), Arc::clone(&j.right));
    let reads = |side: &LogicalPlan| scope::reads(&condition, side.schema());
    let (left, right, condition) = if j.join_type == JoinType::Left && !reads(&left) {
        let (right, condition) = expression(env, Arc::unwrap_or_clone(right), condition)?;
        (left, Arc::new(right), condition)
    } else if j.join_type == JoinType::Right && !reads(&right) {
        let (left, condition) = expression(env, Arc::unwrap_or_clone(left), condition)?;
        (Arc::new(left), right, condition)
    } else {
        return by_pairs(env, j, condition);
    };
    only(columns, remake(left, right, Some(condition), j)?)
}

/// A left or right join on a subquery that reads both sides. What the condition reads of each side is first paired and tested,
/// every different pair once; a row then has those rows of the other side that pass with it.
fn by_pairs(env: &Env, j: Join, condition: Expr) -> Result<LogicalPlan, SqlError> {
    if !matches!(j.join_type, JoinType::Left | JoinType::Right) {
        return Err(SqlError::unsupported(
            "a subquery of both sides in the condition of a full join is not supported yet",
        ));
    }
    let (left, right) = (Arc::clone(&j.left), Arc::clone(&j.right));
    let columns: Vec<Column> = left.schema().columns().into_iter().chain(right.schema().columns()).collect();
    let nulls = NullEquality::NullEqualsNull;
    let on = j.on.clone();
    let every = Join::try_new(j.left, j.right, j.on, None, JoinType::Inner, j.join_constraint, j.null_equality, false);
    let every = LogicalPlan::Join(every.map_err(from_planner)?);
    let mut read = scope::columns_read(&condition, every.schema());
    for key in on.iter().flat_map(|(l, r)| [l, r]) {
        let more = scope::columns_read(key, every.schema());
        read.extend(more.into_iter().filter(|c| !read.contains(c)).collect::<Vec<_>>());
    }
    let passing = filter(env, Filter::try_new(condition, Arc::new(every)).map_err(from_planner)?)?;
    let domain = Domain::of(env, read);
    let passing = Arc::new(domain.plan(env, &passing, None)?);
    let joined = |l: Arc<LogicalPlan>, r: Arc<LogicalPlan>, on, kind| {
        Join::try_new(l, r, on, None, kind, JoinConstraint::On, nulls, false)
            .map(LogicalPlan::Join)
            .map_err(from_planner)
    };
    let (of_left, of_right) = (domain.keys(&left), domain.keys(&right));
    let plan = if j.join_type == JoinType::Left {
        let right = joined(right, passing, of_right, JoinType::Inner)?;
        joined(left, Arc::new(right), of_left, JoinType::Left)?
    } else {
        let left = joined(left, passing, of_left, JoinType::Inner)?;
        let on = of_right.into_iter().map(|(o, d)| (d, o)).collect();
        joined(Arc::new(left), right, on, JoinType::Right)?
    };
    only(columns, plan)
}

/// Expressions over `input` without subqueries, under the same names, and what they are over.
fn expressions(env: &Env, input: LogicalPlan, exprs: Vec<Expr>) -> Result<(LogicalPlan, Vec<Expr>), SqlError> {
    let names = NamePreserver::new_for_projection();
    let mut plan = input;
    let mut out = vec![];
    for expr in exprs {
        let name = names.save(&expr);
        let (joined, new) = expression(env, plan, expr)?;
        plan = joined;
        out.push(name.restore(new));
    }
    Ok((plan, out))
}

fn expression(env: &Env, mut plan: LogicalPlan, expr: Expr) -> Result<(LogicalPlan, Expr), SqlError> {
    if !has_subquery(&expr) {
        return Ok((plan, expr));
    }
    let several = |env: &Env, mut plan: LogicalPlan, exprs: Vec<Expr>| {
        let mut out = vec![];
        for e in exprs {
            let (joined, new) = expression(env, plan, e)?;
            plan = joined;
            out.push(new);
        }
        Ok::<_, SqlError>((plan, out))
    };
    match expr {
        Expr::Alias(a) => {
            let (plan, inner) = expression(env, plan, *a.expr)?;
            Ok((plan, Expr::Alias(Alias::new(inner, a.relation, a.name).with_metadata(a.metadata))))
        }
        Expr::AggregateFunction(mut a) => {
            (plan, a.params.args) = several(env, plan, a.params.args)?;
            if let Some(condition) = a.params.filter {
                let (joined, condition) = expression(env, plan, *condition)?;
                plan = joined;
                a.params.filter = Some(Box::new(condition));
            }
            for key in &mut a.params.order_by {
                (plan, key.expr) = expression(env, plan, key.expr.clone())?;
            }
            Ok((plan, Expr::AggregateFunction(a)))
        }
        Expr::WindowFunction(mut w) => {
            (plan, w.params.args) = several(env, plan, w.params.args)?;
            (plan, w.params.partition_by) = several(env, plan, w.params.partition_by)?;
            for key in &mut w.params.order_by {
                (plan, key.expr) = expression(env, plan, key.expr.clone())?;
            }
            Ok((plan, Expr::WindowFunction(w)))
        }
        Expr::ScalarFunction(f) if ScalarExprUdf::expr(&f.func).is_none() => {
            let (plan, args) = several(env, plan, f.args)?;
            Ok((plan, Expr::ScalarFunction(ScalarFunction { func: f.func, args })))
        }
        other => lifted(env, plan, &other),
    }
}

/// Joins the subqueries of one expression, each for the rows that ask for it.
fn lifted(env: &Env, mut plan: LogicalPlan, expr: &Expr) -> Result<(LogicalPlan, Expr), SqlError> {
    let mut lift = Lift::new(plan.schema().as_ref().clone());
    let mut value = lift.lift(expr)?;
    loop {
        let open: Vec<usize> = lift.in_order(&value, is_subquery);
        let Some(slot) = open.first().copied() else { break };
        let asked = match demand(&value, slot, &open) {
            Some(condition) => Some(emit(&condition, &lift.slots)?),
            None => None,
        };
        let (joined, found) = match lift.slots[slot].clone() {
            Expr::ScalarSubquery(q) => scalar(env, plan, q.subquery.as_ref().clone(), asked, &mut lift)?,
            Expr::Exists(e) => exists(env, plan, e, asked, &mut lift)?,
            Expr::SetComparison(c) => set_comparison(env, plan, c, asked, &mut lift)?,
            other => return Err(SqlError::internal(format!("{other} as a subquery"))),
        };
        plan = joined;
        value = lift::replaced(&value, slot, &found);
    }
    Ok((plan, emit(&value, &lift.slots)?))
}

fn count(arg: Expr) -> Result<Expr, SqlError> {
    let count = crate::aggregate::aggregate_by_name("count").ok_or_else(|| SqlError::internal("no count"))?;
    Ok(Expr::AggregateFunction(AggregateFunction::new_udf(count, vec![arg], false, None, vec![], None)))
}

/// One of the values of a group, of which the caller knows that there is one at most wherever it is looked at.
fn one_value(env: &Env, arg: Expr, schema: &DFSchema) -> Result<Expr, SqlError> {
    let func = if env.stored {
        let (_, field) = arg.to_field(schema).map_err(from_planner)?;
        let ty = crate::typing::field_type(&field)?;
        let name = if ty == SqlType::Bool { "bool_and" } else { "min" };
        if matches!(ty, SqlType::Jsonb | SqlType::Uuid) {
            return Err(SqlError::unsupported(format!(
                "a scalar subquery of type {ty} is not supported in a view yet"
            ))
            .hint("Cast it to text."));
        }
        crate::aggregate::aggregate_by_name(name).ok_or_else(|| SqlError::internal("no min"))?
    } else {
        crate::collect::any_value()
    };
    Ok(Expr::AggregateFunction(AggregateFunction::new_udf(func, vec![arg], false, None, vec![], None)))
}

fn aggregated(aggregates: Vec<Expr>, input: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    let plan = Aggregate::try_new(Arc::new(input), vec![], aggregates).map_err(from_planner)?;
    Ok(LogicalPlan::Aggregate(plan))
}

fn first_column(plan: &LogicalPlan) -> Result<Expr, SqlError> {
    match plan.schema().columns().as_slice() {
        [one] => Ok(Expr::Column(one.clone())),
        _ => Err(SqlError::new(SqlState::SYNTAX, "subquery must return only one column")),
    }
}

/// `(SELECT ...)`
fn scalar(
    env: &Env,
    plan: LogicalPlan,
    query: LogicalPlan,
    asked: Option<Expr>,
    lift: &mut Lift,
) -> Result<(LogicalPlan, ScalarExpr), SqlError> {
    let value = first_column(&query)?;
    if is_global_aggregate(&query) {
        let (plan, columns) = attach(env, plan, query, asked)?;
        let value = lift.column(&plan, columns.first())?;
        return Ok((plan, value));
    }
    let aggregates = vec![count(lit(true))?.alias("n"), one_value(env, value, query.schema())?.alias("v")];
    let query = aggregated(aggregates, query)?;
    let (plan, columns) = attach(env, plan, query, asked)?;
    let rows = lift.column(&plan, columns.first())?;
    let value = lift.column(&plan, columns.get(1))?;
    let ty = value.ty();
    Ok((plan, ScalarExpr::Call { func: Func::SingleRow, args: vec![rows, value], ty }))
}

fn zero() -> ScalarExpr {
    ScalarExpr::Literal(Datum::Int8(0), SqlType::Int8)
}

fn compare(func: Func, left: ScalarExpr, right: ScalarExpr) -> ScalarExpr {
    ScalarExpr::Call { func, args: vec![left, right], ty: SqlType::Bool }
}

/// What decides whether a query has rows: its select list, order and DISTINCT are never computed.
fn bare(query: LogicalPlan) -> LogicalPlan {
    match query {
        LogicalPlan::Projection(p) => bare(Arc::unwrap_or_clone(p.input)),
        LogicalPlan::Distinct(d) => bare(d.input().as_ref().clone()),
        LogicalPlan::Sort(s) => bare(Arc::unwrap_or_clone(s.input)),
        LogicalPlan::SubqueryAlias(s) => bare(Arc::unwrap_or_clone(s.input)),
        LogicalPlan::Limit(l) => match (&l.skip, l.fetch.as_deref()) {
            (None, Some(Expr::Literal(datafusion_common::ScalarValue::Int64(Some(n)), _))) if *n > 0 => {
                bare(Arc::unwrap_or_clone(l.input))
            }
            _ => LogicalPlan::Limit(l),
        },
        other => other,
    }
}

/// `EXISTS (SELECT ...)`
fn exists(
    env: &Env,
    plan: LogicalPlan,
    e: Exists,
    asked: Option<Expr>,
    lift: &mut Lift,
) -> Result<(LogicalPlan, ScalarExpr), SqlError> {
    let query = aggregated(vec![count(lit(true))?.alias("n")], bare(e.subquery.subquery.as_ref().clone()))?;
    let (plan, columns) = attach(env, plan, query, asked)?;
    let rows = lift.column(&plan, columns.first())?;
    Ok((plan, compare(if e.negated { Func::Eq } else { Func::Gt }, rows, zero())))
}

/// `x op ALL (q)` is `NOT (x negated-op ANY (q))`.
fn as_any(c: SetComparison) -> Result<(SetComparison, bool), SqlError> {
    if c.quantifier == SetQuantifier::Any {
        return Ok((c, false));
    }
    let op =
        c.op.negate().ok_or_else(|| SqlError::unsupported(format!("{} ALL (SELECT ...) is not supported", c.op)))?;
    Ok((SetComparison { op, quantifier: SetQuantifier::Any, ..c }, true))
}

/// `x op ANY (SELECT ...)` and `x op ALL (SELECT ...)`, with NULL where it is not known.
fn set_comparison(
    env: &Env,
    plan: LogicalPlan,
    c: SetComparison,
    asked: Option<Expr>,
    lift: &mut Lift,
) -> Result<(LogicalPlan, ScalarExpr), SqlError> {
    let (c, negated) = as_any(c)?;
    let query = c.subquery.subquery.as_ref().clone();
    let item = first_column(&query)?;
    let nullable = |e: &Expr, schema: &DFSchema| e.nullable(schema).unwrap_or(true);
    let (plan, needle) = expression(env, plan, c.expr.as_ref().clone())?;
    let known = !nullable(&needle, plan.schema()) && !nullable(&item, query.schema());
    let c = SetComparison { expr: Box::new(needle), ..c };
    let bool = |b| ScalarExpr::Literal(Datum::Bool(b), SqlType::Bool);
    let hits = |env: &Env, plan: LogicalPlan, asked: Option<Expr>, lift: &mut Lift| {
        let (plan, hit, needle) = hit_count(env, plan, c.clone(), asked)?;
        let rows = lift.column(&plan, Some(&hit))?;
        let needle = lift.slot(&plan, needle)?;
        Ok::<_, SqlError>((plan, compare(Func::Gt, rows, zero()), needle))
    };
    let (plan, value) = if known {
        let (plan, hit, _) = hits(env, plan, asked, lift)?;
        (plan, hit)
    } else {
        let counts = vec![count(lit(true))?.alias("n"), count(item)?.alias("c")];
        let (plan, columns) = attach(env, plan, aggregated(counts, query)?, asked.clone())?;
        let rows = lift.column(&plan, columns.first())?;
        let present = lift.column(&plan, columns.get(1))?;
        // The left operand is not computed where there is nothing to compare it with.
        let some = compare(Func::Gt, rows.clone(), zero());
        let asked = match asked {
            Some(asked) => {
                let asked = lift.again(&plan, &asked)?;
                ScalarExpr::And(vec![asked, some])
            }
            None => some,
        };
        let asked = emit(&asked, &lift.slots)?;
        let (plan, hit, needle) = hits(env, plan, Some(asked), lift)?;
        let unknown =
            ScalarExpr::Or(vec![ScalarExpr::IsNull(Box::new(needle)), compare(Func::Ne, rows.clone(), present)]);
        let null = ScalarExpr::Literal(Datum::Null, SqlType::Bool);
        let branches = vec![(compare(Func::Eq, rows, zero()), bool(false)), (hit, bool(true)), (unknown, null)];
        (plan, ScalarExpr::Case { branches, otherwise: Box::new(bool(false)) })
    };
    Ok((plan, if negated { ScalarExpr::Not(Box::new(value)) } else { value }))
}

/// Whether `x op ANY (SELECT ...)` is true, as a condition over the plan.
fn any_true(
    env: &Env,
    plan: LogicalPlan,
    c: SetComparison,
    asked: Option<Expr>,
) -> Result<(LogicalPlan, Expr), SqlError> {
    let (plan, needle) = expression(env, plan, *c.expr)?;
    let (plan, hit, _) = hit_count(env, plan, SetComparison { expr: Box::new(needle), ..c }, asked)?;
    Ok((plan, Expr::Column(hit).gt(lit(0i64))))
}

/// How many rows of the subquery compare true: the column of that, and the left operand as a column.
fn hit_count(
    env: &Env,
    plan: LogicalPlan,
    c: SetComparison,
    asked: Option<Expr>,
) -> Result<(LogicalPlan, Column, Expr), SqlError> {
    let query = c.subquery.subquery.as_ref().clone();
    let item = first_column(&query)?;
    let (plan, needle) = computed(env, plan, *c.expr, asked.as_ref())?;
    let outer = match &needle {
        Expr::Column(column) => {
            let field = plan.schema().qualified_field_from_column(column).map_err(from_planner)?.1;
            Expr::OuterReferenceColumn(Arc::clone(field), column.clone())
        }
        literal => literal.clone(),
    };
    let func = hw_scalar::comparison(c.op)
        .ok_or_else(|| SqlError::unsupported(format!("{} ANY (SELECT ...) is not supported", c.op)))?;
    let mut lift = Lift::new(query.schema().as_ref().clone());
    let (left, right) = (lift.lift(&outer)?, lift.lift(&item)?);
    let condition = emit(&compare(func, left, right), &lift.slots)?;
    let query = aggregated(vec![count(lit(true))?.alias("n")], filtered(condition, query)?)?;
    let (plan, columns) = attach(env, plan, query, asked)?;
    let hit = columns.into_iter().next().ok_or_else(|| SqlError::internal("a count was lost"))?;
    Ok((plan, hit, needle))
}

/// An expression as a column of the plan, computed only for rows that ask for it; a column or a literal as it is.
fn computed(env: &Env, plan: LogicalPlan, expr: Expr, asked: Option<&Expr>) -> Result<(LogicalPlan, Expr), SqlError> {
    if matches!(expr, Expr::Column(_) | Expr::Literal(..)) {
        return Ok((plan, expr));
    }
    let mut lift = Lift::new(plan.schema().as_ref().clone());
    let mut value = lift.lift(&expr)?;
    if let Some(asked) = asked.filter(|_| fallible(&expr)) {
        let null = ScalarExpr::Literal(Datum::Null, value.ty());
        value = ScalarExpr::Case { branches: vec![(lift.lift(asked)?, value)], otherwise: Box::new(null) };
    }
    let name = env.fresh_name(OPERAND);
    let mut exprs: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    exprs.push(emit(&value, &lift.slots)?.alias(&name));
    Ok((project(exprs, plan)?, Expr::Column(Column::from_name(name))))
}

/// Joins a query that gives one row for every outer row; its columns under new names. Where `asked` is not true, they
/// are NULL or what the query gives of no rows.
fn attach(
    env: &Env,
    plan: LogicalPlan,
    query: LogicalPlan,
    asked: Option<Expr>,
) -> Result<(LogicalPlan, Vec<Column>), SqlError> {
    let refs = scope::outer_references(&query);
    for (column, _) in &refs {
        if !plan.schema().has_column(column) {
            let what = format!("a subquery that reads column {column} where it is not in the select list");
            return Err(SqlError::unsupported(format!("{what} is not supported yet")).hint("Select the column, too."));
        }
    }
    scope::check_aggregates(&query)?;
    let alias = env.fresh_name(SUBQUERY);
    let may_fail = plan_fallible(&query);
    let asked = asked.filter(|_| may_fail);
    let column = |name: String| Column::new(Some(alias.clone()), name);
    let width = query.schema().fields().len();
    let columns: Vec<Column> = (0..width).map(|i| column(format!("c{i}"))).collect();
    let give = |from: Column, to: &Column| Expr::Column(from).alias_qualified(to.relation.clone(), &to.name);
    if refs.is_empty() && asked.is_none() {
        let query = decorrelate(env, query)?;
        let exprs = query.schema().columns().into_iter().zip(&columns).map(|(f, t)| give(f, t)).collect();
        return Ok((joined(plan, project(exprs, query)?, vec![])?, columns));
    }
    let domain = Domain::new(env, refs);
    let all = domain.plan(env, &base::of(&plan, &domain.outer, !may_fail)?, None)?;
    let some = match &asked {
        Some(condition) => {
            let read = condition.column_refs().into_iter().chain(&domain.outer).cloned().collect::<Vec<_>>();
            domain.plan(env, &base::of(&plan, &read, false)?, Some(condition.clone()))?
        }
        None => all.clone(),
    };
    let query = match query {
        LogicalPlan::Aggregate(a) => LogicalPlan::Aggregate(a),
        other if asked.is_none() => other,
        other => {
            let values = other.schema().columns().into_iter().enumerate();
            let values = values
                .map(|(i, c)| Ok(one_value(env, Expr::Column(c), other.schema())?.alias(format!("v{i}"))))
                .collect::<Result<Vec<_>, SqlError>>()?;
            aggregated(values, other)?
        }
    };
    let values = query.schema().columns();
    let pushed = match query {
        LogicalPlan::Aggregate(a) => push_global(env, a, &domain, &all, &some)?,
        other => push(env, other, &domain, &some)?,
    };
    let pushed = decorrelate(env, pushed)?;
    let keys: Vec<Column> = (0..domain.columns.len()).map(|i| column(format!("d{i}"))).collect();
    let mut exprs: Vec<Expr> = domain.columns.iter().cloned().zip(&keys).map(|(f, t)| give(f, t)).collect();
    exprs.extend(values.into_iter().zip(&columns).map(|(f, t)| give(f, t)));
    let on = domain.outer.iter().cloned().zip(keys).map(|(o, k)| (Expr::Column(o), Expr::Column(k))).collect();
    Ok((base::bounded(joined(plan, project(exprs, pushed)?, on)?)?, columns))
}

/// An inner join by keys of which NULL is like NULL.
fn joined(left: LogicalPlan, right: LogicalPlan, on: Vec<(Expr, Expr)>) -> Result<LogicalPlan, SqlError> {
    let null_equality = if on.is_empty() { NullEquality::NullEqualsNothing } else { NullEquality::NullEqualsNull };
    let (left, right) = (Arc::new(left), Arc::new(right));
    Join::try_new(left, right, on, None, JoinType::Inner, JoinConstraint::On, null_equality, false)
        .map(LogicalPlan::Join)
        .map_err(from_planner)
}

/// The schema that a node's expressions are over.
fn input_schema(plan: &LogicalPlan) -> DFSchema {
    merge_schema(&plan.inputs())
}

/// An equality whose sides are as `=` has them.
fn is_equality(op: Operator) -> bool {
    op == Operator::Eq
}
