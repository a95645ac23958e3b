//! Comparisons of rows and with subqueries in other words: `(a, b) = (1, 2)` is `a = 1 AND b = 2`, `a = ANY (SELECT ...)`
//! is `a IN (SELECT ...)`; and `a IS DISTINCT FROM b AND c` with the precedence that PostgreSQL gives it.

use hw_repr::{SqlError, SqlState};
use sqlparser::ast::{BinaryOperator, Expr, Query, SelectItem, SetExpr, TableFactor};

/// Rewrites one expression; its operands are visited later.
pub(super) fn rewrite_rows(expr: &mut Expr) -> Result<(), SqlError> {
    let new = match expr {
        Expr::InSubquery { expr: needle, subquery, negated } => match tuple(needle) {
            Some(needle) => Some(row_in_subquery(needle, subquery, *negated)?),
            None => None,
        },
        Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) => bind_tighter(expr),
        Expr::BinaryOp { left, op, right } => match (tuple(left), tuple(right)) {
            (Some(l), Some(r)) if l.len() == r.len() => compare(op, l, r),
            (Some(l), None) => with_subquery(l, op, right, false)?,
            (None, Some(r)) => with_subquery(r, op, left, true)?,
            _ => None,
        },
        Expr::InList { expr: needle, list, negated } => match tuple(needle) {
            Some(needle) => membership(needle, list, *negated),
            None => None,
        },
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => in_subquery(left, right, false),
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => in_subquery(left, right, true),
        _ => None,
    };
    if let Some(new) = new {
        *expr = new;
    }
    Ok(())
}

/// `(a, b) IN (SELECT x, y ...)`: true where a row is equal, else NULL where one may be, else false.
fn row_in_subquery(needle: &[Expr], subquery: &Query, negated: bool) -> Result<Expr, SqlError> {
    if needle.iter().any(super::arrays::has_aggregate) {
        return Err(SqlError::unsupported("a row with an aggregate IN (SELECT ...) is not supported yet")
            .hint("Compute the aggregate in a subquery."));
    }
    let columns: Vec<String> = (0..needle.len()).map(|i| format!("hw_row_{i}")).collect();
    let equal = columns.iter().zip(needle).map(|(c, n)| {
        let column = Expr::Identifier(sqlparser::ast::Ident::new(c));
        binary(column, BinaryOperator::Eq, nested(n.clone()))
    });
    let equal = equal.reduce(|a, b| binary(a, BinaryOperator::And, b)).map(nested);
    let equal = equal.ok_or_else(|| SqlError::internal("an empty row"))?;
    let exists = |condition: Expr| {
        let columns = columns.join(", ");
        let mut query = crate::parse::parse_query(&format!("SELECT 1 FROM (SELECT 1) AS hw_row ({columns})"))?;
        if let SetExpr::Select(select) = query.body.as_mut() {
            select.selection = Some(condition);
            if let Some(TableFactor::Derived { subquery: inner, .. }) = select.from.first_mut().map(|f| &mut f.relation)
            {
                **inner = subquery.clone();
            }
        }
        Ok::<_, SqlError>(Expr::Exists { subquery: query, negated: false })
    };
    let shape = crate::parse::parse_query("SELECT CASE WHEN true THEN true WHEN true THEN NULL ELSE false END")?;
    let item = match shape.body.as_ref() {
        SetExpr::Select(s) => s.projection.first().cloned(),
        _ => None,
    };
    let Some(SelectItem::UnnamedExpr(mut case)) = item else {
        return Err(SqlError::internal("CASE was not parsed"));
    };
    if let Expr::Case { conditions, .. } = &mut case {
        let tests = [exists(equal.clone())?, exists(Expr::IsNull(Box::new(equal)))?];
        for (branch, test) in conditions.iter_mut().zip(tests) {
            branch.condition = test;
        }
    }
    Ok(match negated {
        true => Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Not, expr: Box::new(nested(case)) },
        false => nested(case),
    })
}

/// `(a, b) op (SELECT x, y ...)`, or the other way round, as `(SELECT (a, b) op (x, y) FROM (...))`: NULL where there is no row.
fn with_subquery(row: &[Expr], op: &BinaryOperator, other: &Expr, swapped: bool) -> Result<Option<Expr>, SqlError> {
    let Expr::Subquery(subquery) = other else { return Ok(None) };
    if row.iter().any(super::arrays::has_aggregate) {
        return Err(SqlError::unsupported("a row with an aggregate beside (SELECT ...) is not supported yet")
            .hint("Compute the aggregate in a subquery."));
    }
    if let SetExpr::Select(select) = subquery.body.as_ref() {
        let plain = |i: &SelectItem| matches!(i, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
        let count = select.projection.len();
        if select.projection.iter().all(plain) && count != row.len() {
            let many = if count > row.len() { "many" } else { "few" };
            return Err(SqlError::new(SqlState::SYNTAX, format!("subquery has too {many} columns")));
        }
    }
    let names: Vec<String> = (0..row.len()).map(|i| format!("hw_row_{i}")).collect();
    let columns = names.iter().map(|n| Expr::Identifier(sqlparser::ast::Ident::new(n))).collect();
    let (left, right) = (Expr::Tuple(row.to_vec()), Expr::Tuple(columns));
    let (left, right) = if swapped { (right, left) } else { (left, right) };
    let mut query = crate::parse::parse_query(&format!("SELECT 1 FROM (SELECT 1) AS hw_row ({})", names.join(", ")))?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = vec![SelectItem::UnnamedExpr(binary(left, op.clone(), right))];
        if let Some(TableFactor::Derived { subquery: inner, .. }) = select.from.first_mut().map(|f| &mut f.relation) {
            **inner = subquery.as_ref().clone();
        }
    }
    Ok(Some(Expr::Subquery(query)))
}

/// A scalar subquery or IN whose SELECT has no columns.
pub(super) fn without_columns(expr: &Expr) -> Option<SqlError> {
    let (Expr::Subquery(query) | Expr::InSubquery { subquery: query, .. }) = expr else { return None };
    match query.body.as_ref() {
        SetExpr::Select(s) if s.projection.is_empty() => {
            Some(SqlError::new(SqlState::SYNTAX, "subquery must return only one column"))
        }
        _ => None,
    }
}

fn tuple(e: &Expr) -> Option<&[Expr]> {
    match e {
        Expr::Tuple(items) if items.len() > 1 => Some(items),
        _ => None,
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn nested(e: Expr) -> Expr {
    Expr::Nested(Box::new(e))
}

/// `=` and `<>` of two rows of the same length.
fn compare(op: &BinaryOperator, left: &[Expr], right: &[Expr]) -> Option<Expr> {
    let with = match op {
        BinaryOperator::Eq => BinaryOperator::And,
        BinaryOperator::NotEq => BinaryOperator::Or,
        _ => return None,
    };
    let pairs = left.iter().zip(right).map(|(l, r)| binary(l.clone(), op.clone(), r.clone()));
    pairs.reduce(|a, b| binary(a, with.clone(), b)).map(nested)
}

fn membership(needle: &[Expr], list: &[Expr], negated: bool) -> Option<Expr> {
    let mut tests = vec![];
    for item in list {
        let item = tuple(item).filter(|i| i.len() == needle.len())?;
        tests.push(compare(&BinaryOperator::Eq, needle, item)?);
    }
    let any = tests.into_iter().reduce(|a, b| binary(a, BinaryOperator::Or, b)).map(nested)?;
    Some(match negated {
        true => Expr::UnaryOp { op: sqlparser::ast::UnaryOperator::Not, expr: Box::new(any) },
        false => any,
    })
}

fn in_subquery(left: &Expr, right: &Expr, negated: bool) -> Option<Expr> {
    let Expr::Subquery(subquery) = right else { return None };
    Some(Expr::InSubquery { expr: Box::new(left.clone()), subquery: subquery.clone(), negated })
}

/// The parser takes everything behind FROM as the right operand: AND and OR must end it.
fn bind_tighter(expr: &mut Expr) -> Option<Expr> {
    let (left, right, distinct) = match expr {
        Expr::IsDistinctFrom(l, r) => (l, r, true),
        Expr::IsNotDistinctFrom(l, r) => (l, r, false),
        _ => return None,
    };
    let is_connective = |e: &Expr| matches!(e, Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. });
    if !is_connective(right) {
        return None;
    }
    let mut whole = right.as_ref().clone();
    let mut place = &mut whole;
    while is_connective(place) {
        let Expr::BinaryOp { left, .. } = place else { break };
        place = left;
    }
    let (left, right) = (left.clone(), Box::new(place.clone()));
    *place = if distinct { Expr::IsDistinctFrom(left, right) } else { Expr::IsNotDistinctFrom(left, right) };
    Some(whole)
}
