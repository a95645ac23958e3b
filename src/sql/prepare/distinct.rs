//! `SELECT DISTINCT ON (...)`: places of the select list, and ON in the order of ORDER BY, as PostgreSQL reads them.

use sqlparser::ast::{Distinct, Expr, OrderByKind, Query, SelectItem, SetExpr, Value};

/// Writes out places of the select list in ON and in ORDER BY, and puts ON into the order in which ORDER BY names the same.
pub(super) fn distinct_on(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let Some(Distinct::On(on)) = &mut select.distinct else { return };
    let items = &select.projection;
    let mut order: Vec<&mut Expr> = match query.order_by.as_mut().map(|o| &mut o.kind) {
        Some(OrderByKind::Expressions(keys)) => keys.iter_mut().map(|key| &mut key.expr).collect(),
        _ => vec![],
    };
    for expr in on.iter_mut().chain(order.iter_mut().map(|e| &mut **e)) {
        if let Some(item) = place(expr).and_then(|at| written(items, at)) {
            *expr = item;
        }
    }
    let rank = |e: &Expr| order.iter().position(|key| **key == *e);
    if on.iter().all(|e| rank(e).is_some()) {
        on.sort_by_key(rank);
        on.dedup();
    }
}

/// A number alone, which is a place of the select list.
fn place(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(v) => match &v.value {
            Value::Number(digits, _) => digits.parse::<usize>().ok()?.checked_sub(1),
            _ => None,
        },
        _ => None,
    }
}

/// What stands there: its alias where it has one of its own, else the expression.
fn written(items: &[SelectItem], at: usize) -> Option<Expr> {
    let plain = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    if !items.get(..=at)?.iter().all(plain) {
        // A star stands for any number of columns.
        return None;
    }
    match &items[at] {
        SelectItem::ExprWithAlias { expr, alias } => {
            let same = |i: &&SelectItem| matches!(i, SelectItem::ExprWithAlias { alias: other, .. } if other.value == alias.value);
            let alone = items.iter().filter(same).count() == 1;
            Some(if alone { Expr::Identifier(alias.clone()) } else { expr.clone() })
        }
        SelectItem::UnnamedExpr(expr) if place(expr).is_none() => Some(expr.clone()),
        _ => None,
    }
}
