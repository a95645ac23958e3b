//! `a ASOF JOIN b MATCH_CONDITION (a.t >= b.t) ON a.k = b.k`: to each row of `a` the row of `b` that is nearest by the
//! condition among those that match, or NULLs where there is none. (Snowflake's syntax; PostgreSQL has no such join.)
//!
//! It becomes the left join of a lateral subquery that orders the rows of `b` by its side of the condition and takes the
//! first. Which one of several rows that are equally near is open.

use hw_repr::{SqlError, SqlState};
use sqlparser::ast::{
    BinaryOperator, Expr, Join, JoinConstraint, JoinOperator, ObjectName, OrderBy, OrderByExpr, OrderByKind,
    OrderByOptions, Query, Select, SetExpr, TableAlias, TableFactor, TableWithJoins, Value,
};

/// Rewrites the joins of a SELECT.
pub(super) fn rewrite(select: &mut Select) -> Result<(), SqlError> {
    select.from.iter_mut().try_for_each(joins)
}

fn joins(from: &mut TableWithJoins) -> Result<(), SqlError> {
    for factor in std::iter::once(&mut from.relation).chain(from.joins.iter_mut().map(|j| &mut j.relation)) {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            joins(table_with_joins)?;
        }
    }
    for join in &mut from.joins {
        if let JoinOperator::AsOf { match_condition, constraint } = &join.join_operator {
            let (relation, condition) = (join.relation.clone(), match_condition.clone());
            let on = match constraint {
                JoinConstraint::On(on) => Some(on.clone()),
                JoinConstraint::None => None,
                _ => return Err(SqlError::unsupported("ASOF JOIN by USING is not supported yet").hint("Write ON.")),
            };
            *join = nearest(relation, condition, on)?;
        }
    }
    Ok(())
}

/// The left join of the nearest row of `relation`.
fn nearest(relation: TableFactor, condition: Expr, on: Option<Expr>) -> Result<Join, SqlError> {
    let alias = name_of(&relation)?;
    let invalid =
        || SqlError::new(SqlState::SYNTAX, "MATCH_CONDITION takes one comparison of both relations by <, <=, > or >=");
    let Expr::BinaryOp { left, op, right } = &condition else { return Err(invalid()) };
    let descending = match op {
        BinaryOperator::Gt | BinaryOperator::GtEq => true,
        BinaryOperator::Lt | BinaryOperator::LtEq => false,
        _ => return Err(invalid()),
    };
    // Written the other way round, it is read from the right.
    let mine = |e: &Expr| matches!(e, Expr::CompoundIdentifier(parts) if parts[0].value == alias.name.value);
    let (key, descending) = match mine(left) && !mine(right) {
        true => (left.as_ref().clone(), !descending),
        false => (right.as_ref().clone(), descending),
    };
    let mut query = crate::parse::parse_query("SELECT * FROM hw WHERE true LIMIT 1")?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from = vec![TableWithJoins { relation, joins: vec![] }];
        select.selection = Some(match on {
            Some(on) => Expr::BinaryOp {
                left: Box::new(Expr::Nested(Box::new(on))),
                op: BinaryOperator::And,
                right: Box::new(Expr::Nested(Box::new(condition))),
            },
            None => condition,
        });
    }
    order_by(&mut query, key, descending);
    let alias = Some(TableAlias { columns: vec![], ..alias });
    let relation = TableFactor::Derived { lateral: true, subquery: query, alias, sample: None };
    let always = Expr::Value(Value::Boolean(true).into());
    Ok(Join { relation, global: false, join_operator: JoinOperator::LeftOuter(JoinConstraint::On(always)) })
}

fn order_by(query: &mut Query, expr: Expr, descending: bool) {
    let options = OrderByOptions { asc: Some(!descending), nulls_first: Some(false) };
    let key = OrderByExpr { expr, options, with_fill: None };
    query.order_by = Some(OrderBy { kind: OrderByKind::Expressions(vec![key]), interpolate: None });
}

/// What a relation goes by in its query.
fn name_of(relation: &TableFactor) -> Result<TableAlias, SqlError> {
    let plain = |name: &ObjectName| {
        let ident = name.0.last().and_then(|p| p.as_ident())?.clone();
        Some(TableAlias { explicit: true, name: ident, columns: vec![], at: None })
    };
    let alias = match relation {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.clone())
        }
        TableFactor::Table { name, args: None, .. } => plain(name),
        _ => None,
    };
    alias.ok_or_else(|| SqlError::unsupported("ASOF JOIN takes a relation, or a subquery with an alias"))
}
