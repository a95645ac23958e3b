//! What rows' numbers within their group give: DISTINCT ON, EXCEPT ALL and INTERSECT ALL, LIMIT for each of many; and the
//! other set operations.

use crate::error::from_planner;
use crate::keys::{key_of, needs_key};
use crate::lazy::{Lazy, lazy_of};
use crate::planner::Env;
use crate::typing::{Typer, field_type};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Column, DFSchemaRef, JoinType, NullEquality, ScalarValue, TableReference};
use datafusion_expr::expr::{AggregateFunction, Sort as SortKey, WindowFunction, WindowFunctionDefinition};
use datafusion_expr::logical_plan::{Distinct, DistinctOn, Filter, Join, Sort, SubqueryAlias, Union, Window};
use datafusion_expr::{Expr, JoinConstraint, LogicalPlan, WindowFrame, lit};
use hw_repr::SqlError;
use std::sync::Arc;

/// `input` with one more column: the number of each row among those with equal `by`, in this order, from 1.
pub(crate) fn numbered(
    env: &Env,
    input: LogicalPlan,
    by: Vec<Expr>,
    order: Vec<SortKey>,
) -> Result<(LogicalPlan, Column), SqlError> {
    counted(env, input, "row_number", by, order)
}

/// The same with the window function of that name.
fn counted(
    env: &Env,
    input: LogicalPlan,
    function: &str,
    by: Vec<Expr>,
    order: Vec<SortKey>,
) -> Result<(LogicalPlan, Column), SqlError> {
    let func = crate::window::window_by_name(function).ok_or_else(|| SqlError::internal("no such function"))?;
    let mut call = WindowFunction::new(WindowFunctionDefinition::WindowUDF(func), vec![]);
    call.params.partition_by = by.into_iter().filter(|e| env.stored || crate::window::tells_apart(e)).collect();
    call.params.window_frame = WindowFrame::new((!order.is_empty()).then_some(false));
    call.params.order_by = order;
    let name = env.fresh_name("hw_number");
    let call = Expr::WindowFunction(Box::new(call)).alias(&name);
    let plan = LogicalPlan::Window(Window::try_new(vec![call], Arc::new(input)).map_err(from_planner)?);
    Ok((plan, Column::from_name(name)))
}

/// Whether a LIMIT is FETCH FIRST ... WITH TIES, and its number.
pub(crate) fn without_ties(fetch: Option<Box<Expr>>) -> (bool, Option<Box<Expr>>) {
    match fetch.map(|e| *e) {
        Some(Expr::ScalarFunction(mut f)) if matches!(lazy_of(&f.func), Some(Lazy::Ties)) => {
            (true, f.args.pop().map(Box::new))
        }
        other => (false, other.map(Box::new)),
    }
}

/// FETCH FIRST ... WITH TIES of an ordered plan: the rows whose rank is at most the number, and whose row number is above that
/// of OFFSET.
pub(crate) fn with_ties(
    env: &Env,
    plan: LogicalPlan,
    skip: Option<&Expr>,
    fetch: Option<&Expr>,
) -> Result<LogicalPlan, SqlError> {
    let number = |e: Option<&Expr>| match e {
        None | Some(Expr::Literal(ScalarValue::Int64(None), _)) => Ok(None),
        Some(Expr::Literal(ScalarValue::Int64(Some(n)), _)) => Ok(Some(*n)),
        Some(_) => Err(SqlError::unsupported("WITH TIES with a number that is not constant is not supported yet")),
    };
    let (skip, fetch) = (number(skip)?.unwrap_or(0), number(fetch)?);
    match plan {
        // The order may be by columns that are not selected.
        LogicalPlan::Projection(p) => {
            let input = with_ties_of(env, Arc::unwrap_or_clone(p.input), skip, fetch)?;
            crate::decorrelate::project(p.expr, input)
        }
        other => with_ties_of(env, other, skip, fetch),
    }
}

fn with_ties_of(env: &Env, plan: LogicalPlan, skip: i64, fetch: Option<i64>) -> Result<LogicalPlan, SqlError> {
    let LogicalPlan::Sort(sort) = plan else {
        return Err(SqlError::unsupported("WITH TIES in this place is not supported yet").hint("Order a subquery."));
    };
    let columns: Vec<Expr> = sort.input.schema().columns().into_iter().map(Expr::Column).collect();
    let (mut plan, mut kept) = (Arc::unwrap_or_clone(sort.input), vec![]);
    if let Some(n) = fetch {
        let (ranked, rank) = counted(env, plan, "rank", vec![], sort.expr.clone())?;
        kept.push(Expr::Column(rank).lt_eq(lit(n.saturating_add(skip))));
        plan = ranked;
    }
    if skip > 0 {
        let (numbered, number) = numbered(env, plan, vec![], sort.expr.clone())?;
        kept.push(Expr::Column(number).gt(lit(skip)));
        plan = numbered;
    }
    for condition in kept {
        plan = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(plan)).map_err(from_planner)?);
    }
    crate::decorrelate::project(
        columns,
        LogicalPlan::Sort(Sort { expr: sort.expr, input: Arc::new(plan), fetch: None }),
    )
}

/// All columns, as keys of SQL equality; in a maintained view they are that themselves.
pub(crate) fn columns_as_keys(env: &Env, plan: &LogicalPlan) -> Result<Vec<Expr>, SqlError> {
    let columns = plan.schema().columns().into_iter().zip(plan.schema().fields());
    columns
        .map(|(c, f)| {
            let ty = field_type(f)?;
            let column = Expr::Column(c);
            Ok(if needs_key(ty) && !env.stored { key_of(column, ty) } else { column })
        })
        .collect()
}

/// `SELECT DISTINCT ON (...)`; `input` is typed already.
pub(crate) fn distinct_on(
    env: &Env,
    d: DistinctOn,
    input: LogicalPlan,
    outer: &[DFSchemaRef],
    select: impl Fn(&LogicalPlan, Vec<Expr>) -> Result<Vec<Expr>, SqlError>,
) -> Result<LogicalPlan, SqlError> {
    let mut items = select(&input, d.select_expr)?;
    let schema = Arc::clone(input.schema());
    let mut typer = Typer::new(env, &schema, outer);
    let mut by = d.on_expr.iter().map(|e| typer.key(e)).collect::<Result<Vec<_>, _>>()?;
    let mut order = vec![];
    for mut key in d.sort_expr.unwrap_or_default() {
        key.expr = typer.order_key(&key.expr)?;
        order.push(key);
    }
    let keys = by.iter_mut().chain(order.iter_mut().map(|key| &mut key.expr)).map(|e| (e, false));
    let input = computed_once(env, input, items.iter_mut().map(|e| (e, true)).chain(keys))?;
    let mut within = order.clone();
    if !env.stored {
        // The executor does not order by constants; and something has to be read: it takes no batch without columns.
        by.retain(crate::window::tells_apart);
        within.retain(|key| crate::window::tells_apart(&key.expr));
        let reads_none = |e: &Expr| e.column_refs().is_empty();
        if by.iter().all(reads_none) && within.iter().all(|key| reads_none(&key.expr)) {
            within.extend(input.schema().columns().first().map(|c| Expr::Column(c.clone()).sort(true, false)));
        }
    }
    let (plan, number) = numbered(env, input, by, within)?;
    let first = Expr::Column(number).eq(lit(1i64));
    let mut plan = LogicalPlan::Filter(Filter::try_new(first, Arc::new(plan)).map_err(from_planner)?);
    order.retain(|key| env.stored || crate::window::tells_apart(&key.expr));
    if !order.is_empty() {
        plan = LogicalPlan::Sort(Sort { expr: order, input: Arc::new(plan), fetch: None });
    }
    crate::decorrelate::project(items, plan)
}

/// `input` with what has a subquery as further columns, which stand for it from here on: computed again above the numbers it
/// would be joined to rows that are numbered again, and may be numbered otherwise. The flag: an item, which keeps its name.
fn computed_once<'a>(
    env: &Env,
    input: LogicalPlan,
    exprs: impl Iterator<Item = (&'a mut Expr, bool)>,
) -> Result<LogicalPlan, SqlError> {
    let mut columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let count = columns.len();
    let mut known: Vec<(Expr, Column)> = vec![];
    for (expr, is_named) in exprs {
        if !crate::decorrelate::has_subquery(expr) {
            continue;
        }
        let (qualifier, name) = expr.qualified_name();
        let bare = expr.clone().unalias();
        let column = match known.iter().find(|(e, _)| *e == bare) {
            Some((_, column)) => column.clone(),
            None => {
                let name = env.fresh_name("hw_item");
                columns.push(bare.clone().alias(&name));
                known.push((bare, Column::from_name(&name)));
                Column::from_name(name)
            }
        };
        let column = Expr::Column(column);
        *expr = if is_named { column.alias_qualified(qualifier, name) } else { column };
    }
    if columns.len() == count { Ok(input) } else { crate::decorrelate::project(columns, input) }
}

/// EXCEPT (`LeftAnti`) and INTERSECT (`LeftSemi`) of sides with the same columns; of equal rows, as many as there are
/// with `all`, else one.
pub(crate) fn set_operation(
    env: &Env,
    left: LogicalPlan,
    right: LogicalPlan,
    kind: JoinType,
    all: bool,
) -> Result<LogicalPlan, SqlError> {
    if env.stored && !all {
        return grouped(left, right, kind);
    }
    let columns: Vec<Expr> = left.schema().columns().into_iter().map(Expr::Column).collect();
    let mut on = columns_as_keys(env, &left)?;
    let (left, right) = match all {
        true => {
            let (by_left, by_right) = (on.clone(), columns_as_keys(env, &right)?);
            let (left, number) = numbered(env, left, by_left, vec![])?;
            let (right, same) = numbered(env, right, by_right, vec![])?;
            on.push(Expr::Column(number.clone()));
            (left, renamed(right, &same, &number)?)
        }
        false => {
            let keyed = crate::keys::distinct(&left, false)?;
            (keyed.unwrap_or_else(|| LogicalPlan::Distinct(Distinct::All(Arc::new(left)))), right)
        }
    };
    let alias = env.fresh_name("hw_right");
    let right = LogicalPlan::SubqueryAlias(
        SubqueryAlias::try_new(Arc::new(right), TableReference::bare(alias.clone())).map_err(from_planner)?,
    );
    let of_right = |e: &Expr| {
        e.clone()
            .transform_up(|e| match e {
                Expr::Column(c) => Ok(Transformed::yes(Expr::Column(Column::new(Some(alias.clone()), c.name)))),
                other => Ok(Transformed::no(other)),
            })
            .data()
            .map_err(from_planner)
    };
    let on = on.into_iter().map(|l| Ok((l.clone(), of_right(&l)?))).collect::<Result<Vec<_>, SqlError>>()?;
    let (left, right, nulls) = (Arc::new(left), Arc::new(right), NullEquality::NullEqualsNull);
    let join = Join::try_new(left, right, on, None, kind, JoinConstraint::On, nulls, false).map_err(from_planner)?;
    crate::decorrelate::project(columns, LogicalPlan::Join(join))
}

fn renamed(plan: LogicalPlan, from: &Column, to: &Column) -> Result<LogicalPlan, SqlError> {
    let columns = plan.schema().columns().into_iter().map(|c| match c == *from {
        true => Expr::Column(c).alias(&to.name),
        false => Expr::Column(c),
    });
    let columns = columns.collect();
    crate::decorrelate::project(columns, plan)
}

/// The same without joins, as a maintained view has it: groups of both sides' rows by which side they are of.
fn grouped(left: LogicalPlan, right: LogicalPlan, kind: JoinType) -> Result<LogicalPlan, SqlError> {
    const SIDE: &str = "hw_left";
    let columns: Vec<Expr> = left.schema().columns().into_iter().map(Expr::Column).collect();
    let side = |plan: LogicalPlan, is_left: bool| {
        let exprs = columns.iter().cloned().chain([lit(is_left).alias(SIDE)]).collect();
        crate::decorrelate::project(exprs, plan).map(Arc::new)
    };
    let union = Union::try_new(vec![side(left, true)?, side(right, false)?]).map_err(from_planner)?;
    let count = crate::aggregate::aggregate_by_name("count").ok_or_else(|| SqlError::internal("no count"))?;
    let count = |of: Expr, name: &str| {
        let call =
            AggregateFunction::new_udf(Arc::clone(&count), vec![lit(true)], false, Some(Box::new(of)), vec![], None);
        Expr::AggregateFunction(call).alias(name)
    };
    let is_left = || Expr::Column(Column::from_name(SIDE));
    let counts = vec![count(is_left(), "hw_lefts"), count(Expr::Not(Box::new(is_left())), "hw_rights")];
    let plan = crate::keys::group(Arc::new(LogicalPlan::Union(union)), columns.clone(), counts, true)?;
    let some = |name: &str| Expr::Column(Column::from_name(name)).gt(lit(0i64));
    let condition = match kind {
        JoinType::LeftSemi => some("hw_lefts").and(some("hw_rights")),
        _ => some("hw_lefts").and(Expr::Not(Box::new(some("hw_rights")))),
    };
    let plan = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(plan)).map_err(from_planner)?);
    crate::decorrelate::project(columns, plan)
}
