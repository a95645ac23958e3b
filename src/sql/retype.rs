//! Walks a plan from the leaves up and gives every expression its final types; column names stay.

use crate::decorrelate::{fallible, has_subquery};
use crate::error::from_planner;
use crate::planner::{Env, RelationSource};
use crate::sets::Sets;
use crate::typing::{Place, Typer, cast_columns, field_type};
use datafusion_common::{DFSchema, DFSchemaRef, JoinType, TableReference};
use datafusion_expr::expr::Alias;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::logical_plan::{
    Aggregate, Distinct, Filter, Join, Limit, Projection, Sort, SubqueryAlias, TableScan, Union, Values, Window,
};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Operator, Subquery};
use hw_plan::ScalarExpr;
use hw_repr::{GlobalId, SqlError, SqlState, SqlType};
use hw_scalar::common_type;
use std::sync::Arc;

/// The name of a relation in a plan's scan.
pub(crate) fn scan_name(id: GlobalId) -> String {
    format!("hw_{}", id.0)
}

/// See the module's text. `outer` are the schemas of the enclosing queries, innermost last.
pub(crate) fn retype_plan(env: &Env, plan: LogicalPlan, outer: &[DFSchemaRef]) -> Result<LogicalPlan, SqlError> {
    match plan {
        LogicalPlan::TableScan(scan) => table_scan(env, scan),
        LogicalPlan::SubqueryAlias(s) => {
            let input = retype_plan(env, Arc::unwrap_or_clone(s.input), outer)?;
            Ok(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), s.alias).map_err(from_planner)?))
        }
        LogicalPlan::Projection(p) => {
            let input = retype_plan(env, Arc::unwrap_or_clone(p.input), outer)?;
            let expr = values(env, input.schema(), outer, p.expr, Sets::Allowed)?;
            let (input, expr) = crate::sets::expand(env, input, expr)?;
            Ok(LogicalPlan::Projection(Projection::try_new(expr, Arc::new(input)).map_err(from_planner)?))
        }
        LogicalPlan::Filter(f) => {
            let input = retype_plan(env, Arc::unwrap_or_clone(f.input), outer)?;
            let mut typer = Typer::new(env, input.schema(), outer);
            typer.sets = Sets::Refused(if let LogicalPlan::Aggregate(_) = input { "HAVING" } else { "WHERE" });
            let conditions = typer.conditions(&f.predicate)?;
            filter(input, conditions)
        }
        LogicalPlan::Join(j) => join(env, j, outer),
        LogicalPlan::Aggregate(a) => aggregate(env, a, outer),
        LogicalPlan::Sort(s) => sort(env, s, outer),
        LogicalPlan::Limit(l) => limit(env, l, outer),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let input = retype_plan(env, Arc::unwrap_or_clone(input), outer)?;
            let keyed = crate::keys::distinct(&input, env.stored)?;
            Ok(keyed.unwrap_or_else(|| LogicalPlan::Distinct(Distinct::All(Arc::new(input)))))
        }
        LogicalPlan::Distinct(Distinct::On(d)) => {
            let input = retype_plan(env, d.input.as_ref().clone(), outer)?;
            let no_sets = Sets::Refused("SELECT DISTINCT ON");
            let select = |input: &LogicalPlan, items| values(env, input.schema(), outer, items, no_sets);
            crate::ranked::distinct_on(env, d, input, outer, select)
        }
        LogicalPlan::Union(u) => union(env, u, outer),
        LogicalPlan::Values(v) => values_rows(env, v, outer),
        LogicalPlan::EmptyRelation(e) => Ok(LogicalPlan::EmptyRelation(e)),
        LogicalPlan::Subquery(_) => Err(SqlError::unsupported("LATERAL is not supported yet").hint("Use a join.")),
        LogicalPlan::Window(w) => {
            let input = retype_plan(env, Arc::unwrap_or_clone(w.input), outer)?;
            let calls = values(env, input.schema(), outer, w.window_expr, Sets::Arguments("window"))?;
            Ok(LogicalPlan::Window(Window::try_new(calls, Arc::new(input)).map_err(from_planner)?))
        }
        LogicalPlan::RecursiveQuery(_) => Err(SqlError::unsupported("WITH RECURSIVE is not supported yet")),
        LogicalPlan::Unnest(_) => Err(SqlError::unsupported("unnest is not supported yet")),
        other => Err(SqlError::unsupported(format!("{} is not supported", other.display()))),
    }
}

/// Conditions in their order: none is tried on a row that one before it leaves out. What cannot fail and follows each
/// other is one filter, and equalities of both sides of a join that may fail are keys of it.
fn filter(mut input: LogicalPlan, conditions: Vec<Expr>) -> Result<LogicalPlan, SqlError> {
    let mut first = true;
    let is_plain = |c: &Expr| !fallible(c) && !has_subquery(c);
    // Fewer rows ask for the others then; PostgreSQL, too, tries first what costs less.
    let (plain, rest): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(is_plain);
    let conditions = plain.into_iter().chain(rest);
    for condition in conditions {
        if let LogicalPlan::Join(j) = &mut input
            && j.join_type == JoinType::Inner
            && first
            && fallible(&condition)
            && is_key(&condition, j)
        {
            j.filter = j.filter.take().map_or(Some(condition.clone()), |f| Some(f.and(condition)));
            continue;
        }
        first &= !fallible(&condition) && !has_subquery(&condition);
        input = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(input)).map_err(from_planner)?);
    }
    Ok(input)
}

/// `l = r` with columns of one side each.
fn is_key(condition: &Expr, j: &Join) -> bool {
    let Expr::BinaryExpr(b) = condition else { return false };
    let of = |e: &Expr, schema: &DFSchema| {
        let columns = e.column_refs();
        !columns.is_empty() && columns.iter().all(|c| schema.has_column(c)) && !has_subquery(e)
    };
    let (l, r) = (j.left.schema(), j.right.schema());
    b.op == Operator::Eq && (of(&b.left, l) && of(&b.right, r) || of(&b.left, r) && of(&b.right, l))
}

fn table_scan(env: &Env, scan: TableScan) -> Result<LogicalPlan, SqlError> {
    let source = scan
        .source
        .downcast_ref::<RelationSource>()
        .ok_or_else(|| SqlError::internal(format!("a scan of {} that is not ours", scan.table_name)))?;
    if env.depth.get() == 0 {
        env.named.borrow_mut().insert(source.id);
    }
    let inner = match &source.view {
        Some(plan) => {
            env.scanned.borrow_mut().extend(&source.reads);
            plan.clone()
        }
        None => {
            env.scanned.borrow_mut().insert(source.id);
            let name = TableReference::bare(scan_name(source.id));
            LogicalPlanBuilder::scan(name, Arc::clone(&scan.source), None)
                .and_then(LogicalPlanBuilder::build)
                .map_err(from_planner)?
        }
    };
    let alias = SubqueryAlias::try_new(Arc::new(inner), scan.table_name).map_err(from_planner)?;
    Ok(LogicalPlan::SubqueryAlias(alias))
}

/// Select-list expressions, keeping their names.
fn values(
    env: &Env,
    schema: &DFSchema,
    outer: &[DFSchemaRef],
    exprs: Vec<Expr>,
    sets: Sets,
) -> Result<Vec<Expr>, SqlError> {
    let names = NamePreserver::new_for_projection();
    exprs
        .into_iter()
        .map(|e| {
            let name = names.save(&e);
            let mut typer = Typer::new(env, schema, outer);
            typer.sets = sets;
            let value = typer.typed(&e, Place::Value)?;
            let value = typer.settle(value)?;
            let new = crate::emit::emit(&value, &typer.slots)?;
            // A column that is aliased to itself must stay qualified, as SqlToRel left it.
            Ok(match (&e, new) {
                (Expr::Alias(Alias { relation, name, .. }), new) => new.alias_qualified(relation.clone(), name.clone()),
                (_, new) => name.restore(new),
            })
        })
        .collect()
}

/// DataFusion marks a side as LATERAL where its own expressions read the left side; here also where only subqueries in them do.
fn lateral_where_read(right: LogicalPlan, left: &DFSchemaRef) -> Result<LogicalPlan, SqlError> {
    let reads = |plan: &LogicalPlan| {
        let found = crate::decorrelate::outer_references(plan);
        found.iter().any(|(column, _)| left.has_column(column))
    };
    let marked = |plan: Arc<LogicalPlan>| {
        LogicalPlan::Subquery(Subquery {
            outer_ref_columns: plan.all_out_ref_exprs(),
            subquery: plan,
            spans: Default::default(),
        })
    };
    match right {
        LogicalPlan::SubqueryAlias(s) if !matches!(*s.input, LogicalPlan::Subquery(_)) && reads(&s.input) => {
            let input = Arc::new(marked(s.input));
            Ok(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(input, s.alias).map_err(from_planner)?))
        }
        other => Ok(other),
    }
}

/// The right side of a LATERAL join, typed with the columns of its left.
fn lateral(
    env: &Env,
    right: &LogicalPlan,
    left: &DFSchemaRef,
    outer: &[DFSchemaRef],
) -> Result<Option<LogicalPlan>, SqlError> {
    Ok(match right {
        LogicalPlan::Subquery(q) => {
            let mut outer = outer.to_vec();
            outer.push(Arc::clone(left));
            let plan = Arc::new(retype_plan(env, q.subquery.as_ref().clone(), &outer)?);
            let outer_ref_columns = plan.all_out_ref_exprs();
            Some(LogicalPlan::Subquery(Subquery { subquery: plan, outer_ref_columns, spans: q.spans.clone() }))
        }
        LogicalPlan::SubqueryAlias(s) => match lateral(env, &s.input, left, outer)? {
            Some(plan) => {
                let alias = SubqueryAlias::try_new(Arc::new(plan), s.alias.clone()).map_err(from_planner)?;
                Some(LogicalPlan::SubqueryAlias(alias))
            }
            None => None,
        },
        _ => None,
    })
}

fn join(env: &Env, j: Join, outer: &[DFSchemaRef]) -> Result<LogicalPlan, SqlError> {
    if matches!(j.join_type, JoinType::LeftAnti | JoinType::LeftSemi) {
        return set_operation(env, j, outer);
    }
    let left = retype_plan(env, Arc::unwrap_or_clone(j.left), outer)?;
    let right = lateral_where_read(Arc::unwrap_or_clone(j.right), left.schema())?;
    let right = match lateral(env, &right, left.schema(), outer)? {
        Some(lateral) => lateral,
        None => retype_plan(env, right, outer)?,
    };
    let both = left.schema().join(right.schema()).map_err(from_planner)?;
    let (mut on, mut constraint, mut equal) = (vec![], j.join_constraint, vec![]);
    for (l, r) in j.on {
        // USING and NATURAL: both sides as `=` would compare them.
        let original = l.clone().eq(r.clone());
        let mut lt = Typer::new(env, left.schema(), outer);
        let l = lt.typed(&l, Place::Value)?;
        let mut rt = Typer::new(env, right.schema(), outer);
        let r = rt.typed(&r, Place::Value)?;
        let (wanted, _) = hw_scalar::resolve_call(hw_plan::Func::Eq, &[l.expr.ty(), r.expr.ty()])?;
        let [lw, rw] = wanted.as_slice() else { return Err(SqlError::internal("= of other than two")) };
        let keyed = crate::keys::needs_key(*lw);
        if keyed {
            // Names are resolved by now, and USING is of columns alone.
            constraint = datafusion_expr::JoinConstraint::On;
        }
        if keyed && env.stored {
            // As ON says it: which values are equal is known where it is maintained.
            equal.push(original);
            continue;
        }
        let l = lt.cast(l, *lw, hw_scalar::CastContext::Implicit)?;
        let r = rt.cast(r, *rw, hw_scalar::CastContext::Implicit)?;
        let (l, r) = (crate::emit::emit(&l, &lt.slots)?, crate::emit::emit(&r, &rt.slots)?);
        on.push(if keyed { (crate::keys::key_of(l, *lw), crate::keys::key_of(r, *rw)) } else { (l, r) });
    }
    let mut conditions = match &j.filter {
        Some(f) => {
            let mut typer = Typer::new(env, &both, outer);
            typer.sets = Sets::Refused("JOIN conditions");
            if j.join_type == JoinType::Inner { typer.conditions(f)? } else { vec![typer.condition(f)?] }
        }
        None => vec![],
    };
    for equality in &equal {
        let condition = Typer::new(env, &both, outer).condition(equality)?;
        conditions.insert(0, condition);
    }
    if j.join_type != JoinType::Inner {
        conditions = conditions.into_iter().reduce(Expr::and).into_iter().collect();
    }
    // What an inner join has from the first condition on that may fail are conditions of a WHERE above it.
    let plain = |c: &Expr| !fallible(c) && !has_subquery(c);
    let inner = j.join_type == JoinType::Inner;
    let kept = if inner { conditions.iter().take_while(|c| plain(c)).count() } else { conditions.len() };
    let above = conditions.split_off(kept);
    let condition = conditions.into_iter().reduce(Expr::and);
    let join = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        condition,
        j.join_type,
        constraint,
        j.null_equality,
        j.null_aware,
    )
    .map_err(from_planner)?;
    filter(LogicalPlan::Join(join), above)
}

fn aggregate(env: &Env, a: Aggregate, outer: &[DFSchemaRef]) -> Result<LogicalPlan, SqlError> {
    let input = Arc::new(retype_plan(env, Arc::unwrap_or_clone(a.input), outer)?);
    let shape = crate::grouping::Shape::of(&a.group_expr, &a.aggr_expr, &a.schema)?;
    let group = values(env, input.schema(), outer, shape.exprs.clone(), Sets::Allowed)?;
    let (input, group) = match group.iter().any(crate::sets::has_set) {
        true => {
            let (input, group) = crate::sets::expand(env, Arc::unwrap_or_clone(input), group)?;
            (Arc::new(input), group)
        }
        false => (input, group),
    };
    let no_sets = Sets::Arguments("aggregate");
    let aggregates = values(env, input.schema(), outer, shape.aggregates.clone(), no_sets)?;
    if shape.is_plain() {
        return crate::keys::group(input, group, aggregates, env.stored);
    }
    shape.plan(env, input, &group, &aggregates)
}

fn sort(env: &Env, s: Sort, outer: &[DFSchemaRef]) -> Result<LogicalPlan, SqlError> {
    let input = Arc::new(retype_plan(env, Arc::unwrap_or_clone(s.input), outer)?);
    let mut expr = vec![];
    for mut key in s.expr {
        let mut typer = Typer::new(env, input.schema(), outer);
        typer.sets = Sets::Refused("ORDER BY");
        let value = typer.typed(&key.expr, Place::Value)?;
        let value = typer.settle(value)?;
        let ty = value.ty();
        crate::keys::ordered(ty)?;
        key.expr = crate::emit::emit(&value, &typer.slots)?;
        if crate::keys::needs_key(ty) && !env.stored {
            key.expr = crate::keys::key_of(key.expr, ty);
        }
        expr.push(key);
    }
    crate::sets::sorted(Sort { expr, input, fetch: s.fetch })
}

fn limit(env: &Env, l: Limit, outer: &[DFSchemaRef]) -> Result<LogicalPlan, SqlError> {
    let input = Arc::new(retype_plan(env, Arc::unwrap_or_clone(l.input), outer)?);
    let empty = DFSchema::empty();
    let (ties, fetch) = crate::ranked::without_ties(l.fetch);
    let number = |e: Option<Box<Expr>>, what: &str| match e {
        None => Ok(None),
        Some(e) => {
            let mut typer = Typer::new(env, &empty, outer);
            typer.sets = Sets::Refused(if what == "LIMIT" { "LIMIT" } else { "OFFSET" });
            let value = typer.typed(&e, Place::Value)?;
            let value = typer.cast(value, SqlType::Int8, hw_scalar::CastContext::Assignment)?;
            if let ScalarExpr::Literal(hw_repr::Datum::Int8(n), _) = &value
                && *n < 0
            {
                let code = SqlState::new(if what == "LIMIT" { "2201W" } else { "2201X" });
                return Err(SqlError::new(code, format!("{what} must not be negative")));
            }
            Ok(Some(Box::new(crate::emit::emit(&value, &typer.slots)?)))
        }
    };
    let (skip, fetch) = (number(l.skip, "OFFSET")?, number(fetch, "LIMIT")?);
    match ties {
        true => crate::ranked::with_ties(env, Arc::unwrap_or_clone(input), skip.as_deref(), fetch.as_deref()),
        false => Ok(LogicalPlan::Limit(Limit { skip, fetch, input })),
    }
}

fn union(env: &Env, u: Union, outer: &[DFSchemaRef]) -> Result<LogicalPlan, SqlError> {
    let names: Vec<String> = u.schema.fields().iter().map(|f| f.name().clone()).collect();
    let mut inputs = vec![];
    for input in u.inputs {
        inputs.push(retype_plan(env, Arc::unwrap_or_clone(input), outer)?);
    }
    let inputs = unified(env, "UNION", inputs, &names)?.into_iter().map(Arc::new).collect();
    Ok(LogicalPlan::Union(Union::try_new(inputs).map_err(from_planner)?))
}

/// The inputs of a set operation, of the types that all of them fit, under these names.
fn unified(env: &Env, what: &str, inputs: Vec<LogicalPlan>, names: &[String]) -> Result<Vec<LogicalPlan>, SqlError> {
    let mut wanted = vec![];
    for column in 0..names.len() {
        let mut types = vec![];
        for input in &inputs {
            let field = input.schema().field(column);
            types.push(if untyped_literal(env, input, column).is_some() { None } else { Some(field_type(field)?) });
        }
        wanted.push(common_type(what, &types)?);
    }
    inputs.into_iter().map(|i| name_columns(cast_columns(env, i, &wanted)?, names)).collect()
}

/// EXCEPT and INTERSECT, which `SqlToRel` gives as joins; without ALL their left side is distinct.
fn set_operation(env: &Env, j: Join, outer: &[DFSchemaRef]) -> Result<LogicalPlan, SqlError> {
    let what = if j.join_type == JoinType::LeftAnti { "EXCEPT" } else { "INTERSECT" };
    let (all, left) = match Arc::unwrap_or_clone(j.left) {
        LogicalPlan::Distinct(Distinct::All(left)) => (false, Arc::unwrap_or_clone(left)),
        left => (true, left),
    };
    let shape = j.schema;
    let names: Vec<String> = (0..shape.fields().len()).map(|i| format!("s{i}")).collect();
    let sides = vec![retype_plan(env, left, outer)?, retype_plan(env, Arc::unwrap_or_clone(j.right), outer)?];
    let mut sides = unified(env, what, sides, &names)?.into_iter();
    let (Some(left), Some(right)) = (sides.next(), sides.next()) else {
        return Err(SqlError::internal("a set operation of other than two"));
    };
    let plan = crate::ranked::set_operation(env, left, right, j.join_type, all)?;
    let columns = names.iter().map(datafusion_common::Column::from_name);
    let exprs = columns.zip(shape.iter()).map(|(c, (q, f))| Expr::Column(c).alias_qualified(q.cloned(), f.name()));
    Ok(LogicalPlan::Projection(Projection::try_new(exprs.collect(), Arc::new(plan)).map_err(from_planner)?))
}

/// The NULL or the quoted literal that a column of a plan is, where nothing gave it a type but its being shown.
pub(crate) fn untyped_literal(env: &Env, plan: &LogicalPlan, column: usize) -> Option<hw_repr::Datum> {
    let expr = match plan {
        LogicalPlan::Projection(p) => p.expr.get(column)?,
        LogicalPlan::SubqueryAlias(_) => return None,
        _ => return None,
    };
    let expr = match expr {
        Expr::Alias(a) => a.expr.as_ref(),
        other => other,
    };
    match expr {
        Expr::Literal(v, _) if v.is_null() => Some(hw_repr::Datum::Null),
        Expr::Literal(datafusion_common::ScalarValue::Utf8(Some(s)), _) if env.settled.borrow().contains(s) => {
            Some(hw_repr::Datum::Text(s.clone()))
        }
        _ => None,
    }
}

fn name_columns(plan: LogicalPlan, names: &[String]) -> Result<LogicalPlan, SqlError> {
    let same = plan.schema().iter().zip(names).all(|((q, f), n)| q.is_none() && f.name() == n);
    if same {
        return Ok(plan);
    }
    let columns = plan.schema().columns();
    let exprs = columns.into_iter().zip(names).map(|(c, n)| Expr::Column(c).alias_qualified(None::<&str>, n)).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan)).map_err(from_planner)?))
}

fn values_rows(env: &Env, v: Values, outer: &[DFSchemaRef]) -> Result<LogicalPlan, SqlError> {
    let empty = DFSchema::empty();
    let arity = v.schema.fields().len();
    let mut typer = Typer::new(env, &empty, outer);
    typer.sets = Sets::Refused("VALUES");
    let mut columns = vec![];
    for column in 0..arity {
        let mut cells = vec![];
        for row in &v.values {
            let cell = row
                .get(column)
                .ok_or_else(|| SqlError::new(SqlState::SYNTAX, "VALUES lists must all be the same length"))?;
            // SqlToRel casts cells to its own common type; casts of the statement are calls, so this is never one.
            let mut cell = cell;
            while let Expr::Cast(c) = cell {
                cell = &c.expr;
            }
            cells.push(typer.typed(cell, Place::Value)?);
        }
        // The rows of INSERT ... VALUES take the types of the table's columns, as in PostgreSQL.
        let target = env.values_types.borrow().get(column).cloned();
        columns.push(match target {
            Some((name, ty)) => cells.into_iter().map(|c| typer.assign(c, &name, ty)).collect::<Result<Vec<_>, _>>()?,
            None => typer.unify("VALUES", cells)?,
        });
    }
    let mut rows = vec![];
    for row in 0..v.values.len() {
        rows.push(columns.iter().map(|c| crate::emit::emit(&c[row], &typer.slots)).collect::<Result<Vec<_>, _>>()?);
    }
    LogicalPlanBuilder::values(rows).and_then(LogicalPlanBuilder::build).map_err(from_planner)
}
