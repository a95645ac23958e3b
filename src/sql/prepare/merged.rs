//! Right and full joins by USING and NATURAL, written out as PostgreSQL defines them (SQL:2016, 7.10): ON the equality of both
//! columns; the joined column's name alone is that of the right side, or COALESCE of both; and `*` gives the joined columns
//! first, then what is left of either side.
//!
//! Only where the columns of every relation of the FROM item are known from the text and the catalog; other such joins are
//! left to be refused (see [`super::using`]). Names of joined columns within subqueries are left alone.

use super::{Preparer, call};
use sqlparser::ast::{
    BinaryOperator, Expr, Ident, JoinConstraint as Constraint, JoinOperator, OrderByKind, Query, Select, SelectItem,
    SetExpr, TableFactor, TableWithJoins, VisitMut, VisitorMut,
};
use std::ops::ControlFlow;

/// A column that a FROM item gives: its name, and what it is.
#[derive(Clone)]
struct Column {
    name: String,
    value: Expr,
    merged: bool,
}

/// Which side a joined column is taken from.
#[derive(Clone, Copy, PartialEq)]
enum Keeps {
    Left,
    Right,
    Both,
}

impl Preparer<'_, '_> {
    /// Rewrites the SELECT that a query is.
    pub(super) fn merge_joined(&self, query: &mut Query) {
        let Query { body, with, order_by, .. } = query;
        let SetExpr::Select(select) = body.as_mut() else { return };
        if !select.from.iter().any(keeps_right) {
            return;
        }
        let ctes = |name: &str| {
            let cte =
                with.iter().flat_map(|w| &w.cte_tables).find(|c| crate::parse::ast_fold(&c.alias.name) == name)?;
            match cte.alias.columns.is_empty() {
                true => self.names_of_query(&cte.query),
                false => Some(cte.alias.columns.iter().map(|c| crate::parse::ast_fold(&c.name)).collect()),
            }
        };
        let mut columns = vec![];
        let mut rewritten = select.from.clone();
        for from in &mut rewritten {
            match self.written_out(from, &ctes) {
                Some(found) => columns.extend(found),
                None => return,
            }
        }
        select.from = rewritten;
        write_star(select, &columns);
        let outputs: Vec<String> = select.projection.iter().filter_map(output).collect();
        let mut names = Joined { depth: 0, columns: &columns };
        name_items(select, &columns);
        let _ = select.visit(&mut names);
        if let Some(OrderByKind::Expressions(keys)) = order_by.as_mut().map(|o| &mut o.kind) {
            for key in keys {
                // The name of an output column is that column.
                let is_output =
                    matches!(&key.expr, Expr::Identifier(i) if outputs.contains(&crate::parse::ast_fold(i)));
                if !is_output {
                    let _ = key.expr.visit(&mut names);
                }
            }
        }
    }

    /// The columns of a FROM item, whose joins by names become joins ON; `None` where they are not known.
    fn written_out(
        &self,
        from: &mut TableWithJoins,
        ctes: &dyn Fn(&str) -> Option<Vec<String>>,
    ) -> Option<Vec<Column>> {
        let mut left = self.columns_of(&from.relation, ctes)?;
        for join in &mut from.joins {
            let right = self.columns_of(&join.relation, ctes)?;
            let (constraint, keeps) = match &mut join.join_operator {
                JoinOperator::Join(c) | JoinOperator::Inner(c) => (c, Keeps::Left),
                JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (c, Keeps::Left),
                JoinOperator::Right(c) | JoinOperator::RightOuter(c) => (c, Keeps::Right),
                JoinOperator::FullOuter(c) => (c, Keeps::Both),
                JoinOperator::CrossJoin(_) => {
                    left.extend(right);
                    continue;
                }
                _ => return None,
            };
            let names: Vec<String> = match constraint {
                Constraint::Using(names) => {
                    names.iter().map(|n| n.0.last()?.as_ident().map(crate::parse::ast_fold)).collect::<Option<_>>()?
                }
                Constraint::Natural => {
                    let both = |c: &&Column| right.iter().any(|r| r.name == c.name);
                    left.iter().filter(both).map(|c| c.name.clone()).collect()
                }
                _ => {
                    left.extend(right);
                    continue;
                }
            };
            let (merged, on) = merge(&mut left, &names, &right, keeps)?;
            *constraint = Constraint::On(on);
            let rest = right.into_iter().filter(|c| !names.contains(&c.name));
            left =
                merged.into_iter().chain(left.into_iter().filter(|c| !names.contains(&c.name))).chain(rest).collect();
        }
        Some(left)
    }

    fn columns_of(&self, factor: &TableFactor, ctes: &dyn Fn(&str) -> Option<Vec<String>>) -> Option<Vec<Column>> {
        let (alias, names) = match factor {
            TableFactor::Table { name, args: None, alias, .. } => {
                let parts: Vec<&Ident> = name.0.iter().filter_map(|p| p.as_ident()).collect();
                let own = parts.last()?;
                let folded: Vec<String> = parts.iter().map(|i| crate::parse::ast_fold(i)).collect();
                let (table, schema) = (folded.last()?, folded.iter().rev().nth(1));
                let names = match schema.is_none() && self.ctes.contains(table) {
                    true => ctes(table)?,
                    false => {
                        let object = self.env.resolve(schema.map(String::as_str), table)?;
                        object.desc()?.columns.iter().map(|c| c.name.clone()).collect()
                    }
                };
                (alias.as_ref().map_or_else(|| (*own).clone(), |a| a.name.clone()), renamed(names, alias.as_ref()))
            }
            TableFactor::Derived { subquery, alias: Some(alias), .. } => {
                (alias.name.clone(), renamed(self.names_of_query(subquery)?, Some(alias)))
            }
            _ => return None,
        };
        let column = |name: String| {
            let value = Expr::CompoundIdentifier(vec![alias.clone(), Ident::with_quote('"', name.clone())]);
            Column { name, value, merged: false }
        };
        Some(names.into_iter().map(column).collect())
    }

    /// The names of a query's columns, where its list says them.
    fn names_of_query(&self, query: &Query) -> Option<Vec<String>> {
        let SetExpr::Select(select) = query.body.as_ref() else { return None };
        select.projection.iter().map(output).collect()
    }
}

/// The joined columns and the condition of a join of `left` and `right`; `None` where a name is not once on either side.
fn merge(left: &mut [Column], names: &[String], right: &[Column], keeps: Keeps) -> Option<(Vec<Column>, Expr)> {
    let mut merged = vec![];
    let mut on: Option<Expr> = None;
    for name in names {
        let one = |side: &[Column]| {
            let mut found = side.iter().filter(|c| c.name == *name);
            found.next().filter(|_| found.next().is_none()).map(|c| c.value.clone())
        };
        let (l, r) = (one(left)?, one(right)?);
        let equal = binary(l.clone(), BinaryOperator::Eq, r.clone());
        on = Some(match on {
            Some(on) => binary(on, BinaryOperator::And, equal),
            None => equal,
        });
        let value = match keeps {
            Keeps::Left => l,
            Keeps::Right => r,
            Keeps::Both => call("coalesce", vec![l, r]),
        };
        merged.push(Column { name: name.clone(), value, merged: true });
    }
    // A natural join without a common name is a join of all with all.
    let always = || Expr::Value(sqlparser::ast::Value::Boolean(true).into());
    Some((merged, on.unwrap_or_else(always)))
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn renamed(names: Vec<String>, alias: Option<&sqlparser::ast::TableAlias>) -> Vec<String> {
    let new = alias.map(|a| a.columns.as_slice()).unwrap_or_default();
    let name = |(i, name): (usize, String)| new.get(i).map_or(name, |c| crate::parse::ast_fold(&c.name));
    names.into_iter().enumerate().map(name).collect()
}

fn keeps_right(from: &TableWithJoins) -> bool {
    from.joins.iter().any(|join| {
        let (JoinOperator::Right(c) | JoinOperator::RightOuter(c) | JoinOperator::FullOuter(c)) = &join.join_operator
        else {
            return false;
        };
        matches!(c, Constraint::Using(_) | Constraint::Natural)
    })
}

fn output(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(crate::parse::ast_fold(alias)),
        SelectItem::UnnamedExpr(e) => Some(super::names::output_name(e)),
        _ => None,
    }
}

/// `*` as the columns that it stands for.
fn write_star(select: &mut Select, columns: &[Column]) {
    let item =
        |c: &Column| SelectItem::ExprWithAlias { expr: c.value.clone(), alias: Ident::with_quote('"', c.name.clone()) };
    let items = std::mem::take(&mut select.projection);
    for one in items {
        match one {
            SelectItem::Wildcard(_) => select.projection.extend(columns.iter().map(item)),
            other => select.projection.push(other),
        }
    }
}

/// A joined column alone in the select list keeps its name.
fn name_items(select: &mut Select, columns: &[Column]) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::Identifier(ident)) = item
            && let Some(expr) = value_of(columns, ident)
        {
            *item = SelectItem::ExprWithAlias { expr, alias: ident.clone() };
        }
    }
}

/// What a name alone stands for, where it is that of one joined column and of no other.
fn value_of(columns: &[Column], ident: &Ident) -> Option<Expr> {
    let name = crate::parse::ast_fold(ident);
    let mut found = columns.iter().filter(|c| c.name == name);
    let first = found.next().filter(|c| c.merged)?;
    found.next().is_none().then(|| first.value.clone())
}

/// Writes out joined columns, outside of subqueries.
struct Joined<'a> {
    depth: usize,
    columns: &'a [Column],
}

impl VisitorMut for Joined<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expr
            && self.depth == 0
            && let Some(value) = value_of(self.columns, ident)
        {
            *expr = value;
        }
        ControlFlow::Continue(())
    }
}
