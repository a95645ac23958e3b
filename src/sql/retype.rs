//! Walks a plan from the leaves up and gives every expression its final types; column names stay.

use crate::decorrelate::join_scalar_subqueries;
use crate::error::from_planner;
use crate::planner::{Env, RelationSource};
use crate::typing::{Place, Typer, cast_columns, field_type};
use datafusion_common::{DFSchema, DFSchemaRef, TableReference};
use datafusion_expr::expr::Alias;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::logical_plan::{
    Aggregate, Distinct, Filter, Join, Limit, Projection, Sort, SubqueryAlias, TableScan, Union, Values,
};
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
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
            let expr = values(env, input.schema(), outer, p.expr)?;
            let (input, expr) = join_named(env, input, expr)?;
            Ok(LogicalPlan::Projection(Projection::try_new(expr, Arc::new(input)).map_err(from_planner)?))
        }
        LogicalPlan::Filter(f) => {
            let input = retype_plan(env, Arc::unwrap_or_clone(f.input), outer)?;
            let predicate = Typer::new(env, input.schema(), outer).condition(&f.predicate)?;
            filter(env, input, predicate)
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
        LogicalPlan::Distinct(Distinct::On(_)) => Err(SqlError::unsupported("DISTINCT ON is not supported yet")),
        LogicalPlan::Union(u) => union(env, u, outer),
        LogicalPlan::Values(v) => values_rows(env, v, outer),
        LogicalPlan::EmptyRelation(e) => Ok(LogicalPlan::EmptyRelation(e)),
        LogicalPlan::Subquery(_) => Err(SqlError::unsupported("LATERAL is not supported yet").hint("Use a join.")),
        LogicalPlan::Window(_) => Err(SqlError::unsupported("window functions are not supported yet")
            .hint("Aggregate in a subquery and join it.")),
        LogicalPlan::RecursiveQuery(_) => Err(SqlError::unsupported("WITH RECURSIVE is not supported yet")),
        LogicalPlan::Unnest(_) => Err(SqlError::unsupported("unnest is not supported yet")),
        other => Err(SqlError::unsupported(format!("{} is not supported", other.display()))),
    }
}

/// Joins correlated scalar subqueries; the expressions keep their names.
fn join_named(env: &Env, input: LogicalPlan, exprs: Vec<Expr>) -> Result<(LogicalPlan, Vec<Expr>), SqlError> {
    let names = NamePreserver::new_for_projection();
    let saved: Vec<_> = exprs.iter().map(|e| names.save(e)).collect();
    let (input, exprs) = join_scalar_subqueries(env, input, exprs)?;
    Ok((input, exprs.into_iter().zip(saved).map(|(e, name)| name.restore(e)).collect()))
}

fn filter(env: &Env, input: LogicalPlan, predicate: Expr) -> Result<LogicalPlan, SqlError> {
    let columns = input.schema().columns();
    let (joined, mut predicate) = join_scalar_subqueries(env, input, vec![predicate])?;
    let predicate = predicate.pop().ok_or_else(|| SqlError::internal("a condition was lost"))?;
    let wider = joined.schema().fields().len() > columns.len();
    let plan = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(joined)).map_err(from_planner)?);
    if !wider {
        return Ok(plan);
    }
    let exprs = columns.into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan)).map_err(from_planner)?))
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
fn values(env: &Env, schema: &DFSchema, outer: &[DFSchemaRef], exprs: Vec<Expr>) -> Result<Vec<Expr>, SqlError> {
    let names = NamePreserver::new_for_projection();
    exprs
        .into_iter()
        .map(|e| {
            let name = names.save(&e);
            let mut typer = Typer::new(env, schema, outer);
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

fn join(env: &Env, j: Join, outer: &[DFSchemaRef]) -> Result<LogicalPlan, SqlError> {
    let left = retype_plan(env, Arc::unwrap_or_clone(j.left), outer)?;
    let right = retype_plan(env, Arc::unwrap_or_clone(j.right), outer)?;
    let both = left.schema().join(right.schema()).map_err(from_planner)?;
    let mut on = vec![];
    for (l, r) in j.on {
        // USING and NATURAL: both sides as `=` would compare them.
        let mut lt = Typer::new(env, left.schema(), outer);
        let l = lt.typed(&l, Place::Value)?;
        let mut rt = Typer::new(env, right.schema(), outer);
        let r = rt.typed(&r, Place::Value)?;
        let (wanted, _) = hw_scalar::resolve_call(hw_plan::Func::Eq, &[l.expr.ty(), r.expr.ty()])?;
        let [lw, rw] = wanted.as_slice() else { return Err(SqlError::internal("= of other than two")) };
        let keyed = crate::keys::needs_key(*lw);
        if keyed && env.stored {
            return Err(SqlError::unsupported(format!("USING on columns of type {lw} is not supported in a view"))
                .hint("Write the condition with ON."));
        }
        let l = lt.cast(l, *lw, hw_scalar::CastContext::Implicit)?;
        let r = rt.cast(r, *rw, hw_scalar::CastContext::Implicit)?;
        let (l, r) = (crate::emit::emit(&l, &lt.slots)?, crate::emit::emit(&r, &rt.slots)?);
        on.push(if keyed { (crate::keys::key_of(l, *lw), crate::keys::key_of(r, *rw)) } else { (l, r) });
    }
    let filter = match &j.filter {
        Some(f) => Some(Typer::new(env, &both, outer).condition(f)?),
        None => None,
    };
    let join = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        filter,
        j.join_type,
        j.join_constraint,
        j.null_equality,
        j.null_aware,
    )
    .map_err(from_planner)?;
    Ok(LogicalPlan::Join(join))
}

fn aggregate(env: &Env, a: Aggregate, outer: &[DFSchemaRef]) -> Result<LogicalPlan, SqlError> {
    let input = Arc::new(retype_plan(env, Arc::unwrap_or_clone(a.input), outer)?);
    if a.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))) {
        return Err(SqlError::unsupported("GROUPING SETS, ROLLUP and CUBE are not supported yet")
            .hint("Use UNION ALL of one GROUP BY each."));
    }
    let group = values(env, input.schema(), outer, a.group_expr)?;
    let aggregates = values(env, input.schema(), outer, a.aggr_expr)?;
    crate::keys::group(input, group, aggregates, env.stored)
}

fn sort(env: &Env, s: Sort, outer: &[DFSchemaRef]) -> Result<LogicalPlan, SqlError> {
    let input = Arc::new(retype_plan(env, Arc::unwrap_or_clone(s.input), outer)?);
    let mut expr = vec![];
    for mut key in s.expr {
        let mut typer = Typer::new(env, input.schema(), outer);
        let value = typer.typed(&key.expr, Place::Value)?;
        let value = typer.settle(value)?;
        let ty = value.ty();
        if ty == SqlType::Jsonb {
            return Err(SqlError::unsupported("ORDER BY on type jsonb is not supported yet").hint("Cast it to text."));
        }
        key.expr = crate::emit::emit(&value, &typer.slots)?;
        if crate::keys::needs_key(ty) && !env.stored {
            key.expr = crate::keys::key_of(key.expr, ty);
        }
        expr.push(key);
    }
    Ok(LogicalPlan::Sort(Sort { expr, input, fetch: s.fetch }))
}

fn limit(env: &Env, l: Limit, outer: &[DFSchemaRef]) -> Result<LogicalPlan, SqlError> {
    let input = Arc::new(retype_plan(env, Arc::unwrap_or_clone(l.input), outer)?);
    let empty = DFSchema::empty();
    let number = |e: Option<Box<Expr>>, what: &str| match e {
        None => Ok(None),
        Some(e) => {
            let mut typer = Typer::new(env, &empty, outer);
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
    Ok(LogicalPlan::Limit(Limit { skip: number(l.skip, "OFFSET")?, fetch: number(l.fetch, "LIMIT")?, input }))
}

fn union(env: &Env, u: Union, outer: &[DFSchemaRef]) -> Result<LogicalPlan, SqlError> {
    let names: Vec<String> = u.schema.fields().iter().map(|f| f.name().clone()).collect();
    let mut inputs = vec![];
    for input in u.inputs {
        inputs.push(retype_plan(env, Arc::unwrap_or_clone(input), outer)?);
    }
    let mut wanted = vec![];
    for column in 0..names.len() {
        let mut types = vec![];
        for input in &inputs {
            let field = input.schema().field(column);
            types.push(if untyped_literal(env, input, column).is_some() { None } else { Some(field_type(field)?) });
        }
        wanted.push(common_type("UNION", &types)?);
    }
    let inputs = inputs
        .into_iter()
        .map(|i| Ok(Arc::new(name_columns(cast_columns(env, i, &wanted)?, &names)?)))
        .collect::<Result<Vec<_>, SqlError>>()?;
    Ok(LogicalPlan::Union(Union::try_new(inputs).map_err(from_planner)?))
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
