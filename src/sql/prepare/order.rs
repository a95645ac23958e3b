//! ORDER BY as PostgreSQL reads it: a bare name is a name of the result, where there is one; within an expression, and behind a
//! relation's name, it is a column of FROM.
//!
//! DataFusion knows the names of the result within expressions too. So where an expression of ORDER BY has a name that an alias
//! of the select list has as well, it becomes a column of a subquery that the query then orders and cuts off.

use super::outside::outside;
use sqlparser::ast::{Distinct, Expr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, Value};
use std::ops::ControlFlow;

/// Rewrites a query that this concerns.
pub(super) fn of_columns(query: &mut Query) {
    let Query { body, order_by, .. } = query;
    let SetExpr::Select(select) = body.as_mut() else { return };
    let Some(OrderByKind::Expressions(keys)) = order_by.as_mut().map(|o| &mut o.kind) else { return };
    let aliases: Vec<String> = select.projection.iter().filter_map(alias).collect();
    if aliases.is_empty() {
        return;
    }
    let Some(outputs) = select.projection.iter().map(output).collect::<Option<Vec<(Expr, String)>>>() else { return };
    let bare = |e: &Expr| place(e, &outputs).is_some();
    if !keys.iter().any(|key| !bare(&key.expr) && mentions(&key.expr, &aliases)) {
        return;
    }
    let mut columns: Vec<Expr> = outputs.iter().map(|o| o.0.clone()).collect();
    let mut places = vec![];
    for key in keys.iter() {
        let known = place(&key.expr, &outputs).or_else(|| outputs.iter().position(|(e, _)| *e == key.expr));
        let at = match (known, &select.distinct) {
            (Some(at), _) => at,
            (None, None) => {
                columns.push(key.expr.clone());
                columns.len() - 1
            }
            // What is not selected cannot order what is selected once.
            (None, Some(_)) => return,
        };
        places.push(at);
    }
    if matches!(select.distinct, Some(Distinct::On(_))) {
        return;
    }
    let Ok(mut outer) = crate::parse::parse_query("SELECT 1 FROM (SELECT 1) AS hw_ordered") else { return };
    let name = |i: usize| Ident::with_quote('"', format!("hw_c{i}"));
    let mut inner: Select = select.as_ref().clone();
    let item = |(i, expr): (usize, Expr)| SelectItem::ExprWithAlias { expr, alias: name(i) };
    inner.projection = columns.into_iter().enumerate().map(item).collect();
    let SetExpr::Select(shell) = outer.body.as_mut() else { return };
    if let Some(TableFactor::Derived { subquery, .. }) = shell.from.first_mut().map(|f| &mut f.relation) {
        *subquery.body = SetExpr::Select(Box::new(inner));
    }
    let shown = |(i, (_, shown)): (usize, (Expr, String))| SelectItem::ExprWithAlias {
        expr: Expr::Identifier(name(i)),
        alias: Ident::with_quote('"', shown),
    };
    shell.projection = outputs.into_iter().enumerate().map(shown).collect();
    for (key, at) in keys.iter_mut().zip(places) {
        key.expr = Expr::Identifier(name(at));
    }
    *body = outer.body;
}

/// An item and its name; `None` of a star.
fn output(item: &SelectItem) -> Option<(Expr, String)> {
    match item {
        SelectItem::ExprWithAlias { expr, alias } => Some((expr.clone(), crate::parse::ast_fold(alias))),
        SelectItem::UnnamedExpr(expr) => Some((expr.clone(), super::names::output_name(expr))),
        _ => None,
    }
}

/// A name that an item has of its own: not that of the column that it is.
fn alias(item: &SelectItem) -> Option<String> {
    let SelectItem::ExprWithAlias { expr, alias } = item else { return None };
    let alias = crate::parse::ast_fold(alias);
    let same = match expr {
        Expr::Identifier(i) => crate::parse::ast_fold(i) == alias,
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|i| crate::parse::ast_fold(i) == alias),
        _ => false,
    };
    (!same).then_some(alias)
}

/// Which item a name alone, or a number, is.
fn place(expr: &Expr, outputs: &[(Expr, String)]) -> Option<usize> {
    match expr {
        Expr::Identifier(i) => {
            let name = crate::parse::ast_fold(i);
            outputs.iter().position(|o| o.1 == name)
        }
        Expr::Value(v) => match &v.value {
            Value::Number(digits, _) => digits.parse::<usize>().ok()?.checked_sub(1).filter(|at| *at < outputs.len()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether an expression has one of these names, outside of subqueries.
fn mentions(expr: &Expr, names: &[String]) -> bool {
    let found = outside(&mut expr.clone(), |expr| {
        let name = match expr {
            Expr::Identifier(i) => Some(&*i),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        match name.is_some_and(|i| names.contains(&crate::parse::ast_fold(i))) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    found.is_break()
}
