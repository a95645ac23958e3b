//! Puts providers in the place of a plan's table scans.

use crate::error::{to_sql_error, wrap};
use crate::provider::{Provider, QueryTable, Reading};
use crate::seek::{add_filter, never_fails};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{EmptyRelation, Expr, Join, Limit, LogicalPlan, Projection, SubqueryAlias, TableScan};
use hw_plan::seek::Fixed;
use hw_plan::stack;
use hw_repr::{GlobalId, SqlError, SqlState};
use std::collections::HashMap;
use std::sync::Arc;

/// The table name under which a plan scans the relation `id`.
pub fn table_name(id: GlobalId) -> String {
    format!("hw_{}", id.0)
}

/// The relation that a scan reads, by its table name `hw_<oid>`.
pub fn scan_id(scan: &TableScan) -> Option<GlobalId> {
    scan.table_name.table().strip_prefix("hw_")?.parse().ok().map(GlobalId)
}

/// A plan that can be run.
pub(crate) struct Bound {
    pub plan: LogicalPlan,
    /// It only filters and projects what it scans.
    pub plain: bool,
    /// Every scan reads a few rows: those of one key, or of a small relation of which nothing is computed.
    pub few: bool,
}

/// `plan` with every scan (in subqueries too) reading from `tables`.
pub(crate) fn bind_tables(
    plan: LogicalPlan,
    tables: &HashMap<GlobalId, QueryTable>,
    batch_rows: usize,
) -> Result<Bound, SqlError> {
    // Of rows in several partitions, the physical planner takes those with a constant key for rows that are together.
    let merged = plan.exists(|node| Ok(matches!(node, LogicalPlan::Window(_)))).unwrap_or(true);
    let reading = Reading { batch_rows, merged };
    let (mut plain, mut bare, mut few, mut keyed) = (true, true, true, true);
    let bind = |node: LogicalPlan| -> DfResult<Transformed<LogicalPlan>> {
        plain &= is_plain(&node);
        bare &= node.expressions().iter().all(is_bare);
        match node {
            LogicalPlan::Filter(mut filter) => {
                let input = bind_below(&[&filter.predicate], &filter.input, tables, reading)?;
                let changed = input.is_some();
                if let Some(input) = input {
                    filter.input = Arc::new(input);
                }
                Ok(Transformed::new_transformed(LogicalPlan::Filter(filter), changed))
            }
            LogicalPlan::TableScan(scan) => {
                let bound = bind_scan(&scan, &[], tables, reading)?;
                let changed = bound.is_some();
                let scan = bound.unwrap_or(scan);
                let provider = source_as_provider(&scan.source)?;
                let provider = provider.downcast_ref::<Provider>();
                let reach = provider.map(|p| p.reach(&scan.filters)).unwrap_or_default();
                few &= reach.few;
                keyed &= reach.one_key;
                Ok(Transformed::new_transformed(LogicalPlan::TableScan(scan), changed))
            }
            LogicalPlan::Limit(limit) => checked_limit(limit).map_err(wrap),
            LogicalPlan::Join(join) => Ok(named_keys(join)),
            other => Ok(Transformed::no(other)),
        }
    };
    let plan = plan.transform_down_with_subqueries(bind).map(|t| t.data).map_err(|e| to_sql_error(&e))?;
    Ok(Bound { plan, plain, few: few && (keyed || bare) })
}

/// Gives computed keys of a join names of their own: the physical planner makes columns of them, and takes two casts of one column
/// for the same.
fn named_keys(mut join: Join) -> Transformed<LogicalPlan> {
    let mut changed = false;
    for (number, (left, right)) in join.on.iter_mut().enumerate() {
        for (side, key) in [("left", left), ("right", right)] {
            if !matches!(key, Expr::Column(_) | Expr::Alias(_)) {
                *key = key.clone().alias(format!("hw_{side}_key_{number}"));
                changed = true;
            }
        }
    }
    Transformed::new_transformed(LogicalPlan::Join(join), changed)
}

/// A node that filters or projects, without a query inside its expressions.
fn is_plain(node: &LogicalPlan) -> bool {
    let known = matches!(
        node,
        LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::TableScan(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::EmptyRelation(_)
    );
    let queries = |e: &Expr| matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_));
    known && node.expressions().iter().all(|e| !e.exists(|e| Ok(queries(e))).unwrap_or(true))
}

/// A column or a constant, whatever it is called: it costs nothing.
fn is_bare(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_bare(&alias.expr),
        other => matches!(other, Expr::Column(_) | Expr::Literal(..)),
    }
}

/// LIMIT and OFFSET as PostgreSQL has them, now that parameters have values: NULL is none, less than zero an error. No
/// plan may be made for `LIMIT 0` of sorted rows.
fn checked_limit(limit: Limit) -> Result<Transformed<LogicalPlan>, SqlError> {
    let rows = |e: &Option<Box<Expr>>, code: &str, word: &str| match e.as_deref() {
        None => Ok(None),
        Some(Expr::Literal(ScalarValue::Int64(n), _)) => match n {
            Some(n) if *n < 0 => Err(SqlError::new(SqlState::new(code), format!("{word} must not be negative"))),
            other => Ok(*other),
        },
        Some(Expr::Literal(value, _)) if value.is_null() => Ok(None),
        Some(other) => Err(SqlError::unsupported(format!("{word} {other} is not supported yet"))),
    };
    let fetch = rows(&limit.fetch, "2201W", "LIMIT")?;
    let skip = rows(&limit.skip, "2201X", "OFFSET")?.filter(|n| *n > 0);
    if fetch == Some(0) {
        let schema = Arc::clone(limit.input.schema());
        return Ok(Transformed::yes(LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema })));
    }
    if fetch.is_none() && skip.is_none() {
        return Ok(Transformed::yes(Arc::unwrap_or_clone(limit.input)));
    }
    let literal = |n: i64| Box::new(Expr::Literal(ScalarValue::Int64(Some(n)), None));
    let limit = Limit { skip: skip.map(literal), fetch: fetch.map(literal), input: limit.input };
    Ok(Transformed::yes(LogicalPlan::Limit(limit)))
}

/// Binds the scan below filters and choices of columns, which may let it seek; `None` where there is none. `above` are their predicates, the last one
/// is tried first.
fn bind_below(
    above: &[&Expr],
    input: &LogicalPlan,
    tables: &HashMap<GlobalId, QueryTable>,
    reading: Reading,
) -> DfResult<Option<LogicalPlan>> {
    match input {
        LogicalPlan::TableScan(scan) => Ok(bind_scan(scan, above, tables, reading)?.map(LogicalPlan::TableScan)),
        LogicalPlan::SubqueryAlias(alias) => match bind_below(above, &alias.input, tables, reading)? {
            Some(bound) => {
                let alias = SubqueryAlias::try_new(Arc::new(bound), alias.alias.clone())?;
                Ok(Some(LogicalPlan::SubqueryAlias(alias)))
            }
            None => Ok(None),
        },
        LogicalPlan::Filter(filter) => {
            let above: Vec<&Expr> = above.iter().copied().chain([&filter.predicate]).collect();
            let bound = stack::deep(|| bind_below(&above, &filter.input, tables, reading))?;
            Ok(bound.map(|bound| {
                let mut filter = filter.clone();
                filter.input = Arc::new(bound);
                LogicalPlan::Filter(filter)
            }))
        }
        LogicalPlan::Projection(p) if p.expr.iter().all(|e| matches!(e, Expr::Column(_))) => {
            let bound = stack::deep(|| bind_below(above, &p.input, tables, reading))?;
            let chosen = |bound| Projection::try_new_with_schema(p.expr.clone(), Arc::new(bound), p.schema.clone());
            Ok(bound.map(chosen).transpose()?.map(LogicalPlan::Projection))
        }
        _ => Ok(None),
    }
}

/// The scan reading from its provider; `None` where it already does.
fn bind_scan(
    scan: &TableScan,
    above: &[&Expr],
    tables: &HashMap<GlobalId, QueryTable>,
    reading: Reading,
) -> DfResult<Option<TableScan>> {
    if source_as_provider(&scan.source).is_ok() {
        return Ok(None);
    }
    let table = scan_id(scan).and_then(|id| tables.get(&id)).ok_or_else(|| {
        wrap(SqlError::internal(format!("the query reads {}, which it was not given", scan.table_name)))
    })?;
    let mut fixed = Fixed::default();
    for (n, predicate) in above.iter().enumerate().rev() {
        add_filter(&mut fixed, predicate, table);
        // One that fails for some row fails the read, as it does in a view, whatever is tried behind it.
        if n > 0 && !never_fails(predicate, table) {
            break;
        }
    }
    let provider = Provider::new(table.clone(), scan.source.schema(), fixed, reading).map_err(wrap)?;
    let mut bound = scan.clone();
    bound.source = provider_as_source(Arc::new(provider));
    Ok(Some(bound))
}
