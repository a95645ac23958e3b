//! Comparisons of rows and with subqueries in other words: `(a, b) = (1, 2)` is `a = 1 AND b = 2`, `a = ANY (SELECT ...)`
//! is `a IN (SELECT ...)`; and `a IS DISTINCT FROM b AND c` with the precedence that PostgreSQL gives it.

use hw_repr::{SqlError, SqlState};
use sqlparser::ast::{BinaryOperator, Expr, SetExpr};

/// Rewrites one expression; its operands are visited later.
pub(super) fn rewrite_rows(expr: &mut Expr) {
    let new = match expr {
        Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) => bind_tighter(expr),
        Expr::BinaryOp { left, op, right } => match (tuple(left), tuple(right)) {
            (Some(l), Some(r)) if l.len() == r.len() => compare(op, l, r),
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
