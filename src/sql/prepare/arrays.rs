//! `ARRAY(query)`, which becomes an aggregate; and what clients ask of the system catalogs: the elements of their printed
//! arrays, and items of a SELECT that can never give a row, which are not computed.

use super::{Env, call, text};
use hw_repr::SqlError;
use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    GroupByExpr, Ident, JoinOperator, OrderByKind, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor,
    TableWithJoins, Value, ValueWithSpan, Visit, Visitor,
};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// The aggregate behind `ARRAY(query)`.
const ARRAY_AGG: &str = "array_agg";
/// Every element of an array with a prefix.
pub(crate) const ARRAY_PREFIX: &str = "hw_array_prefix";

/// `ARRAY(SELECT ...)` as a scalar subquery.
pub(super) fn rewrite_array(env: &Env, ctes: &HashSet<String>, expr: &mut Expr) -> Result<Option<Expr>, SqlError> {
    let Expr::Function(f) = expr else { return Ok(None) };
    let is_array =
        matches!(f.name.0.as_slice(), [p] if p.as_ident().is_some_and(|i| i.value.eq_ignore_ascii_case("array")));
    let FunctionArguments::Subquery(query) = &f.args else { return Ok(None) };
    if !is_array {
        return Err(SqlError::unsupported("a query as a function's argument needs parentheses of its own"));
    }
    if let Some(new) = elements_with_prefix(query) {
        return Ok(Some(new));
    }
    if let Some(aggregated) = aggregate_in_place(env, ctes, query) {
        return Ok(Some(or_empty(aggregated)));
    }
    let inner = query.to_string();
    // The rows stand in the query's order; a view has none beyond that of its rows.
    let ordered = query.order_by.is_some() || query.limit_clause.is_some();
    if ordered && env.stored {
        let message = "ARRAY of a query with DISTINCT, grouping, LIMIT or a set operation and an order of its own";
        return Err(SqlError::unsupported(format!("{message} is not supported in a materialized view yet"))
            .hint("Use array_agg(... ORDER BY ...)."));
    }
    let outer = match ordered {
        true => {
            let numbered = format!("SELECT hw_b.c, row_number() OVER () FROM ({inner}) AS hw_b (c)");
            format!("SELECT {ARRAY_AGG}(hw_a.c ORDER BY hw_a.n) FROM ({numbered}) AS hw_a (c, n)")
        }
        false => format!("SELECT {ARRAY_AGG}(hw_a.c) FROM ({inner}) AS hw_a (c)"),
    };
    // Printed and parsed again: the tree of the outer SELECT has dozens of fields that say nothing here.
    let mut outer = crate::parse::parse_query(&outer)?;
    replace_innermost(&mut outer, query);
    Ok(Some(or_empty(outer)))
}

/// Puts the query where its printed form stands: positions in its text stay what they are.
fn replace_innermost(outer: &mut Query, inner: &Query) {
    let SetExpr::Select(select) = outer.body.as_mut() else { return };
    let Some(TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|f| &mut f.relation) else { return };
    let numbered = matches!(subquery.body.as_ref(), SetExpr::Select(s)
        if s.projection.len() == 2 && s.projection[1].to_string().starts_with("row_number() OVER ()"));
    match numbered {
        true => replace_innermost(subquery, inner),
        false => **subquery = inner.clone(),
    }
}

/// An array of no rows is empty, not NULL.
fn or_empty(query: Box<Query>) -> Expr {
    call("coalesce", vec![Expr::Subquery(query), text(String::from("{}"))])
}

/// `SELECT e FROM ... WHERE ...` as a SELECT of the aggregate of e: the condition may then name outer columns.
fn aggregate_in_place(env: &Env, ctes: &HashSet<String>, query: &Query) -> Option<Box<Query>> {
    let mut query = query.clone();
    let order = query.order_by.take();
    let plain = query.with.is_none() && query.limit_clause.is_none();
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(e, _) if e.is_empty());
    if !plain || !ungrouped || select.distinct.is_some() || select.having.is_some() {
        return None;
    }
    skip_uncomputed(env, ctes, select);
    let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] = select.projection.as_slice()
    else {
        return None;
    };
    let mut finder = Finder::default();
    let _ = item.visit(&mut finder);
    if finder.aggregates || finder.sets {
        return None;
    }
    let mut aggregate = call(ARRAY_AGG, vec![item.clone()]);
    if let Some(order) = order {
        let OrderByKind::Expressions(mut keys) = order.kind else { return None };
        for key in &mut keys {
            // A position or a name can only mean the one item.
            let is_position = matches!(&key.expr, Expr::Value(v) if matches!(v.value, Value::Number(..)));
            if is_position {
                key.expr = item.clone();
            }
        }
        if let Expr::Function(f) = &mut aggregate
            && let FunctionArguments::List(list) = &mut f.args
        {
            list.clauses.push(FunctionArgumentClause::OrderBy(keys));
        }
    }
    select.projection = vec![SelectItem::UnnamedExpr(aggregate)];
    Some(Box::new(query))
}

/// `ARRAY(SELECT ['prefix' ||] x FROM pg_catalog.unnest(array) x)` of a catalog's printed array.
fn elements_with_prefix(query: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let [from] = select.from.as_slice() else { return None };
    if query.with.is_some() || query.order_by.is_some() || query.limit_clause.is_some() {
        return None;
    }
    if !from.joins.is_empty() || select.selection.is_some() || select.distinct.is_some() {
        return None;
    }
    let (array, alias) = unnested(&from.relation)?;
    let name = crate::parse::ast_fold(&alias.name);
    let is_element = |e: &Expr| matches!(e, Expr::Identifier(i) if crate::parse::ast_fold(i) == name);
    let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] = select.projection.as_slice()
    else {
        return None;
    };
    let prefix = match item {
        Expr::BinaryOp { left, op: BinaryOperator::StringConcat, right } if is_element(right) => super::quoted(left)?,
        e if is_element(e) => String::new(),
        _ => return None,
    };
    Some(call(ARRAY_PREFIX, vec![array, text(prefix)]))
}

fn unnested(factor: &TableFactor) -> Option<(Expr, &TableAlias)> {
    match factor {
        TableFactor::Table { name, args: Some(args), alias: Some(alias), .. } => {
            let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(crate::parse::ast_fold).collect();
            match args.args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(one))] if parts == ["pg_catalog", "unnest"] => {
                    Some((one.clone(), alias))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// A SELECT without aggregates that reads a relation which is always empty gives no row: those of its items that
/// could not be planned (arrays, subqueries) are never computed and become NULL.
pub(super) fn skip_uncomputed(env: &Env, ctes: &HashSet<String>, select: &mut Select) {
    let no_groups =
        matches!(&select.group_by, GroupByExpr::Expressions(e, _) if e.is_empty()) && select.having.is_none();
    let empty = select.from.iter().any(|f| is_empty(env, ctes, f));
    if !no_groups || !empty {
        return;
    }
    let mut finder = Finder::default();
    let _ = select.projection.visit(&mut finder);
    if finder.aggregates {
        return;
    }
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { continue };
        let mut finder = Finder::default();
        let _ = expr.visit(&mut finder);
        if finder.odd {
            *expr = Expr::Value(ValueWithSpan::from(Value::Null));
        }
    }
}

fn is_empty(env: &Env, ctes: &HashSet<String>, from: &TableWithJoins) -> bool {
    let relation = |f: &TableFactor| match f {
        TableFactor::Table { name, args: None, .. } => {
            let mut parts: Vec<String> =
                name.0.iter().filter_map(|p| p.as_ident()).map(crate::parse::ast_fold).collect();
            let last = parts.pop().unwrap_or_default();
            let schema = parts.pop();
            let shadowed = schema.is_none() && ctes.contains(&last);
            !shadowed && env.resolve(schema.as_deref(), &last).is_some_and(|o| env.catalog.is_always_empty(o.id))
        }
        _ => false,
    };
    let keeps_left = |o: &JoinOperator| {
        matches!(
            o,
            JoinOperator::Join(_)
                | JoinOperator::Inner(_)
                | JoinOperator::Left(_)
                | JoinOperator::LeftOuter(_)
                | JoinOperator::CrossJoin(_)
        )
    };
    let inner =
        |o: &JoinOperator| matches!(o, JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_));
    from.joins.iter().all(|j| keeps_left(&j.join_operator))
        && (relation(&from.relation) || from.joins.iter().any(|j| inner(&j.join_operator) && relation(&j.relation)))
}

/// True where an expression calls an aggregate outside of its subqueries.
pub(super) fn has_aggregate(expr: &Expr) -> bool {
    let mut finder = Finder::default();
    let _ = expr.visit(&mut finder);
    finder.aggregates
}

/// `0A000` for a set-returning call among the arguments of a function in FROM.
pub(super) fn refuse_sets(args: &[FunctionArg]) -> Result<(), SqlError> {
    let mut finder = Finder::default();
    for arg in args {
        let _ = arg.visit(&mut finder);
    }
    match finder.sets {
        true => Err(SqlError::unsupported("set-returning functions must appear at top level of FROM")),
        false => Ok(()),
    }
}

/// Finds aggregates outside subqueries, and what cannot be planned.
#[derive(Default)]
struct Finder {
    depth: usize,
    aggregates: bool,
    /// Set-returning calls outside subqueries.
    sets: bool,
    odd: bool,
}

impl Visitor for Finder {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        self.odd = true;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(Function { name, .. }) if self.depth == 0 => {
                let name = name.0.last().and_then(|p| p.as_ident()).map(|i: &Ident| crate::parse::ast_fold(i));
                let name = name.unwrap_or_default();
                self.sets |= hw_scalar::function_by_name(&name).is_some_and(|f| f.is_set());
                // Where the groups are computed, `grouping` is too.
                self.aggregates |= name == "grouping" || crate::aggregate::aggregate_by_name(&name).is_some();
            }
            Expr::AnyOp { .. } | Expr::AllOp { .. } | Expr::CompoundFieldAccess { .. } => self.odd = true,
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
