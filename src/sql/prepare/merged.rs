//! Joins by USING and NATURAL, written out as PostgreSQL defines them (SQL:2016, 7.10): ON the equality of both
//! columns; the joined column's name alone is that of the right side, or COALESCE of both; and `*` gives the joined columns
//! first, then what is left of either side.
//!
//! Only where the columns of every relation of the FROM item are known from the text and the catalog; other such joins are
//! left to DataFusion, or to be refused (see [`super::using`]).

use super::outside::outside;
use super::{Preparer, call};
use hw_repr::{SqlError, SqlState};
use sqlparser::ast::{
    BinaryOperator, Cte, Expr, Ident, JoinConstraint as Constraint, JoinOperator, ObjectName, OrderBy, OrderByKind,
    Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor, TableWithJoins, VisitMut,
    VisitorMut,
};
use std::collections::{HashMap, HashSet};
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
    pub(super) fn merge_joined(&self, query: &mut Query) -> Result<(), SqlError> {
        let Query { body, order_by, .. } = query;
        let SetExpr::Select(select) = body.as_mut() else { return Ok(()) };
        select.from.iter_mut().try_for_each(derive_named)?;
        self.refuse_ambiguous(select, order_by.as_mut())?;
        if !select.from.iter().any(concerns) {
            return Ok(());
        }
        let mut columns = vec![];
        let mut rewritten = select.from.clone();
        for from in &mut rewritten {
            match self.written_out(from, true) {
                Some(found) => columns.extend(found),
                None => return Ok(()),
            }
        }
        select.from = rewritten;
        write_star(select, &columns);
        let outputs: Vec<String> = select.projection.iter().filter_map(output).collect();
        let own = |query: &Query| self.names_of_from(query, true);
        let mut names = Joined { scopes: vec![], columns: &columns, own: &own };
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
        Ok(())
    }

    /// Each CTE of a query, with its columns where they are known.
    pub(super) fn columns_of_ctes(&self, query: &Query) -> Vec<(String, Option<Vec<String>>)> {
        let columns = |cte: &Cte| match cte.alias.columns.is_empty() {
            true => self.names_of_query(&cte.query),
            false => Some(cte.alias.columns.iter().map(|c| crate::parse::ast_fold(&c.name)).collect()),
        };
        let ctes = query.with.iter().flat_map(|w| &w.cte_tables);
        ctes.map(|cte| (crate::parse::ast_fold(&cte.alias.name), columns(cte))).collect()
    }

    fn columns_of_cte(&self, name: &str) -> Option<Vec<String>> {
        let mut found = self.with.iter().rev().flatten().filter(|(known, _)| known == name);
        found.next().and_then(|(_, columns)| columns.clone())
    }

    /// The names of the columns in the FROM of the SELECT that a query is, where all are known.
    fn names_of_from(&self, query: &Query, alone: bool) -> Option<Vec<String>> {
        let SetExpr::Select(select) = query.body.as_ref() else { return None };
        let mut names = vec![];
        for factor in factors(select) {
            names.extend(self.columns_of(factor, alone)?.into_iter().map(|c| c.name));
        }
        Some(names)
    }

    /// 42702 for a column that a subquery or a CTE of FROM has twice: DataFusion would take the first.
    fn refuse_ambiguous(&self, select: &mut Select, order_by: Option<&mut OrderBy>) -> Result<(), SqlError> {
        let mut twice: HashSet<(String, String)> = HashSet::new();
        for factor in factors(select) {
            let derived = match factor {
                TableFactor::Derived { .. } => true,
                TableFactor::Table { name, args: None, .. } => {
                    name.0.len() == 1
                        && name.0[0].as_ident().is_some_and(|i| self.ctes.contains(&crate::parse::ast_fold(i)))
                }
                _ => false,
            };
            let mut seen = HashSet::new();
            for c in derived.then(|| self.columns_of(factor, true)).flatten().unwrap_or_default() {
                if !seen.insert(c.name.clone())
                    && let Expr::CompoundIdentifier(parts) = &c.value
                {
                    twice.insert((crate::parse::ast_fold(&parts[0]), c.name));
                }
            }
        }
        if twice.is_empty() {
            return Ok(());
        }
        let mut refuse = |expr: &mut Expr| ambiguous(&twice, expr);
        super::finish(outside(select, &mut refuse))?;
        let Some(OrderByKind::Expressions(keys)) = order_by.map(|o| &mut o.kind) else { return Ok(()) };
        let mut keys = keys.iter_mut().filter(|key| !matches!(key.expr, Expr::Identifier(_)));
        keys.try_for_each(|key| super::finish(outside(&mut key.expr, &mut refuse)))
    }

    /// The columns of a FROM item, whose joins by names become joins ON; `None` where they are not known.
    fn written_out(&self, from: &mut TableWithJoins, alone: bool) -> Option<Vec<Column>> {
        let mut left = match &mut from.relation {
            TableFactor::NestedJoin { table_with_joins, alias: None } => self.written_out(table_with_joins, alone)?,
            factor => self.columns_of(factor, alone)?,
        };
        for join in &mut from.joins {
            let right = match &mut join.relation {
                TableFactor::NestedJoin { table_with_joins, alias: None } => {
                    self.written_out(table_with_joins, alone)?
                }
                factor => self.columns_of(factor, alone)?,
            };
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
                other => {
                    left.extend(right);
                    // It sees what is joined so far, not what stands beside that in FROM.
                    if let Constraint::On(on) = other {
                        let own = |query: &Query| self.names_of_from(query, alone);
                        let _ = on.visit(&mut Joined { scopes: vec![], columns: &left, own: &own });
                    }
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

    fn columns_of(&self, factor: &TableFactor, alone: bool) -> Option<Vec<Column>> {
        let (alias, names) = match factor {
            TableFactor::Table { name, args: None, alias, .. } => {
                let parts: Vec<&Ident> = name.0.iter().filter_map(|p| p.as_ident()).collect();
                let own = parts.last()?;
                let folded: Vec<String> = parts.iter().map(|i| crate::parse::ast_fold(i)).collect();
                let (table, schema) = (folded.last()?, folded.iter().rev().nth(1));
                let names = match schema.is_none() && self.ctes.contains(table) {
                    true => self.columns_of_cte(table).filter(|_| alone)?,
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
            TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } => return None,
            call => {
                let mut rows = call.clone();
                self.factor(&mut rows, true, &mut HashMap::new()).ok()?;
                return matches!(rows, TableFactor::Derived { .. }).then(|| self.columns_of(&rows, alone)).flatten();
            }
        };
        let column = |name: String| {
            let value = Expr::CompoundIdentifier(vec![alias.clone(), Ident::with_quote('"', name.clone())]);
            Column { name, value, merged: false }
        };
        Some(names.into_iter().map(column).collect())
    }

    /// The names of a query's columns, where they are known.
    fn names_of_query(&self, query: &Query) -> Option<Vec<String>> {
        self.names_of_body(&query.body, query.with.is_none())
    }

    /// `alone`: it has no WITH of its own, which may hide the relations that are known here.
    fn names_of_body(&self, body: &SetExpr, alone: bool) -> Option<Vec<String>> {
        match body {
            SetExpr::Select(select) => {
                let mut names = vec![];
                for item in &select.projection {
                    match item {
                        SelectItem::Wildcard(_) => names.extend(self.names_of_star(select, alone)?),
                        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(of), _) => {
                            names.extend(self.names_of_relation(select, of, alone)?);
                        }
                        item => names.push(output(item)?),
                    }
                }
                Some(names)
            }
            SetExpr::Values(values) => {
                let row = values.rows.first()?;
                Some((1..=row.len()).map(|n| format!("column{n}")).collect())
            }
            SetExpr::SetOperation { left, .. } => self.names_of_body(left, alone),
            SetExpr::Query(query) => self.names_of_query(query),
            _ => None,
        }
    }

    /// What `*` gives.
    fn names_of_star(&self, select: &Select, alone: bool) -> Option<Vec<String>> {
        let mut names = vec![];
        for from in &select.from {
            let mut from = from.clone();
            derive_named(&mut from).ok()?;
            names.extend(self.written_out(&mut from, alone)?.into_iter().map(|c| c.name));
        }
        Some(names)
    }

    /// What `of.*` gives.
    fn names_of_relation(&self, select: &Select, of: &ObjectName, alone: bool) -> Option<Vec<String>> {
        let [wanted] = of.0.as_slice() else { return None };
        let wanted = crate::parse::ast_fold(wanted.as_ident()?);
        let is_wanted = |c: &Column| matches!(&c.value, Expr::CompoundIdentifier(parts) if crate::parse::ast_fold(&parts[0]) == wanted);
        let found = factors(select)
            .find_map(|factor| self.columns_of(factor, alone).filter(|all| all.iter().all(is_wanted)))?;
        (!found.is_empty()).then(|| found.into_iter().map(|c| c.name).collect())
    }
}

/// Joins in parentheses with a name are a derived table of all their columns.
fn derive_named(from: &mut TableWithJoins) -> Result<(), SqlError> {
    for factor in std::iter::once(&mut from.relation).chain(from.joins.iter_mut().map(|j| &mut j.relation)) {
        let TableFactor::NestedJoin { table_with_joins, alias } = factor else { continue };
        derive_named(table_with_joins)?;
        if alias.is_some() {
            let mut subquery = crate::parse::parse_query("SELECT * FROM hw_joined")?;
            if let SetExpr::Select(all) = subquery.body.as_mut() {
                all.from = vec![table_with_joins.as_ref().clone()];
            }
            *factor = TableFactor::Derived { lateral: false, subquery, alias: alias.take(), sample: None };
        }
    }
    Ok(())
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

/// Whether a FROM item has a join by names, whose columns DataFusion chooses and orders otherwise, or joins in parentheses.
fn concerns(from: &TableWithJoins) -> bool {
    let by_names = from.joins.iter().any(|join| constraint_of(&join.join_operator).is_some_and(is_by_names));
    let nested = |factor: &TableFactor| match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => {
            concerns(table_with_joins) || !table_with_joins.joins.is_empty()
        }
        _ => false,
    };
    by_names || std::iter::once(&from.relation).chain(from.joins.iter().map(|j| &j.relation)).any(nested)
}

/// How the sides of a join of PostgreSQL's kinds find each other; `None` for others.
pub(super) fn constraint_of(operator: &JoinOperator) -> Option<&Constraint> {
    match operator {
        JoinOperator::Join(c)
        | JoinOperator::Inner(c)
        | JoinOperator::Left(c)
        | JoinOperator::LeftOuter(c)
        | JoinOperator::Right(c)
        | JoinOperator::RightOuter(c)
        | JoinOperator::FullOuter(c)
        | JoinOperator::CrossJoin(c) => Some(c),
        _ => None,
    }
}

/// Whether columns are joined by their names.
pub(super) fn is_by_names(constraint: &Constraint) -> bool {
    matches!(constraint, Constraint::Using(_) | Constraint::Natural)
}

/// Whether a join keeps rows of its right side that match none.
pub(super) fn keeps_right(operator: &JoinOperator) -> bool {
    matches!(operator, JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_))
}

fn factors(select: &Select) -> impl Iterator<Item = &TableFactor> {
    select.from.iter().flat_map(|f| std::iter::once(&f.relation).chain(f.joins.iter().map(|j| &j.relation)))
}

/// What a SELECT reads, in order; `None` for what is joined in a way that merges columns.
pub(crate) fn unmerged(select: &Select) -> impl Iterator<Item = Option<&TableFactor>> {
    select.from.iter().flat_map(|from| {
        let joined = from.joins.iter().map(|join| {
            let constraint = constraint_of(&join.join_operator)?;
            (!is_by_names(constraint)).then_some(&join.relation)
        });
        std::iter::once(Some(&from.relation)).chain(joined)
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

/// Writes out joined columns, in subqueries where these have no column of that name.
struct Joined<'a> {
    /// The columns of the subqueries around, where they are known.
    scopes: Vec<Option<Vec<String>>>,
    columns: &'a [Column],
    own: &'a dyn Fn(&Query) -> Option<Vec<String>>,
}

impl VisitorMut for Joined<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.scopes.push((self.own)(query));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Identifier(ident) = expr else { return ControlFlow::Continue(()) };
        let name = crate::parse::ast_fold(ident);
        let free = |scope: &Option<Vec<String>>| scope.as_ref().is_some_and(|names| !names.contains(&name));
        if self.scopes.iter().all(free)
            && let Some(value) = value_of(self.columns, ident)
        {
            *expr = value;
        }
        ControlFlow::Continue(())
    }
}

/// 42P09 where two relations without aliases go by one name (they are of two schemas) and a column is looked for by it.
pub(super) fn same_names(query: &mut Query) -> Result<(), SqlError> {
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(()) };
    let (mut seen, mut twice): (Vec<(String, &ObjectName)>, Vec<String>) = (vec![], vec![]);
    for factor in factors(select) {
        let TableFactor::Table { name, alias: None, args: None, .. } = factor else { continue };
        let last = name.0.last().and_then(|p| p.as_ident()).map(crate::parse::ast_fold).unwrap_or_default();
        // What is written the same way twice is refused for that later on.
        if seen.iter().any(|(known, whole)| *known == last && *whole != name) {
            twice.push(last.clone());
        }
        seen.push((last, name));
    }
    if twice.is_empty() {
        return Ok(());
    }
    super::finish(outside(select.as_mut(), |expr| {
        let Expr::CompoundIdentifier(parts) = expr else { return ControlFlow::Continue(()) };
        let [of, _] = parts.as_slice() else { return ControlFlow::Continue(()) };
        let of = crate::parse::ast_fold(of);
        if !twice.contains(&of) {
            return ControlFlow::Continue(());
        }
        let message = format!("table reference \"{of}\" is ambiguous");
        ControlFlow::Break(SqlError::new(SqlState::new("42P09"), message).hint("Give one of the tables an alias."))
    }))
}

/// 42702 of a name that one of these columns, given by relation and name, has.
fn ambiguous(twice: &HashSet<(String, String)>, expr: &Expr) -> ControlFlow<SqlError> {
    let (of, name) = match expr {
        Expr::Identifier(i) => (None, crate::parse::ast_fold(i)),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [of, name] => (Some(crate::parse::ast_fold(of)), crate::parse::ast_fold(name)),
            _ => return ControlFlow::Continue(()),
        },
        _ => return ControlFlow::Continue(()),
    };
    if !twice.iter().any(|(relation, column)| *column == name && of.as_ref().is_none_or(|of| of == relation)) {
        return ControlFlow::Continue(());
    }
    let message = format!("column reference \"{name}\" is ambiguous");
    ControlFlow::Break(SqlError::new(SqlState::new("42702"), message))
}
