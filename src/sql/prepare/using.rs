//! Joins by USING and NATURAL, as far as DataFusion gives what PostgreSQL gives.
//!
//! DataFusion takes the joined column from the left side, also where a right or full join has no row there, and leaves it
//! where it stands among the left columns, where PostgreSQL puts it first in `*`.

use super::merged::{constraint_of, is_by_names, keeps_right};
use super::outside::outside;
use datafusion_common::JoinConstraint;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr as PlanExpr, LogicalPlan};
use hw_repr::SqlError;
use sqlparser::ast::{
    Expr, Ident, Join, JoinConstraint as Constraint, Select, SelectItem, TableFactor, TableWithJoins,
};
use std::ops::ControlFlow;

/// Refuses outer joins that would lose the joined column; true where `*` stands for the columns of such a join.
pub(super) fn star_of_using(select: &Select) -> Result<bool, SqlError> {
    let mut found = false;
    for from in &select.from {
        found |= joins_using(from)?;
    }
    Ok(found && select.projection.iter().any(|i| matches!(i, SelectItem::Wildcard(_))))
}

fn joins_using(from: &TableWithJoins) -> Result<bool, SqlError> {
    let mut found = false;
    for factor in std::iter::once(&from.relation).chain(from.joins.iter().map(|j| &j.relation)) {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            found |= joins_using(table_with_joins)?;
        }
    }
    for join in &from.joins {
        if !constraint_of(&join.join_operator).is_some_and(is_by_names) {
            continue;
        }
        if keeps_right(&join.join_operator) {
            return Err(SqlError::unsupported("a right or full join by USING or NATURAL is not supported yet")
                .hint("Join ON the columns, and select COALESCE of both sides."));
        }
        found = true;
    }
    Ok(found)
}

impl super::Preparer<'_, '_> {
    /// In WHERE, the joined column's name alone becomes that of the left side, which is its value in the joins that are
    /// taken: there, it would be known in both relations.
    pub(super) fn name_joined(&self, select: &mut Select) {
        let Some(mut condition) = select.selection.take() else { return };
        if select.from.iter().any(|from| joins_using(from).unwrap_or(false)) {
            let named = |name: &str| select.from.iter().find_map(|from| self.joined_column(from, name));
            let _ = outside(&mut condition, |expr| {
                if let Expr::Identifier(ident) = expr
                    && let Some(relation) = named(&crate::parse::ast_fold(ident))
                {
                    *expr = Expr::CompoundIdentifier(vec![relation, ident.clone()]);
                }
                ControlFlow::<()>::Continue(())
            });
        }
        select.selection = Some(condition);
    }

    /// The relation whose column a joined column of this name is.
    fn joined_column(&self, from: &TableWithJoins, name: &str) -> Option<Ident> {
        let alone = |factor: &TableFactor| TableWithJoins { relation: factor.clone(), joins: vec![] };
        let is_joined = |join: &Join| match constraint_of(&join.join_operator) {
            Some(Constraint::Using(names)) => names
                .iter()
                .any(|n| n.0.last().and_then(|p| p.as_ident()).is_some_and(|i| crate::parse::ast_fold(i) == name)),
            Some(Constraint::Natural) => self.has_column(&alone(&join.relation), name),
            _ => false,
        };
        if let TableFactor::NestedJoin { table_with_joins, alias: None } = &from.relation
            && let Some(found) = self.joined_column(table_with_joins, name)
        {
            return Some(found);
        }
        from.joins.iter().find(|join| is_joined(join))?;
        let first = std::iter::once(&from.relation).chain(from.joins.iter().map(|j| &j.relation));
        first.filter(|factor| self.has_column(&alone(factor), name)).find_map(|factor| match factor {
            TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
                Some(alias.name.clone())
            }
            TableFactor::Table { name, alias: None, .. } => name.0.last()?.as_ident().cloned(),
            _ => None,
        })
    }
}

/// Refuses a plan whose joined columns are not the first of the left side: `*` would have another order.
pub(crate) fn check_using(plan: &LogicalPlan) -> Result<(), SqlError> {
    let mut first = true;
    let walked = plan.apply(|node| {
        if let LogicalPlan::Join(join) = node
            && join.join_constraint == JoinConstraint::Using
        {
            let columns = join.left.schema().columns();
            // Of both columns, DataFusion shows that of the first name.
            let same = |(i, (left, right)): (usize, &(PlanExpr, PlanExpr))| match (left, right) {
                (PlanExpr::Column(l), PlanExpr::Column(r)) => columns.get(i) == Some(l) && l < r,
                _ => false,
            };
            first &= join.on.iter().enumerate().all(same);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    if walked.is_err() || !first {
        return Err(SqlError::unsupported("* of a join whose USING columns are not the first is not supported yet")
            .hint("List the columns."));
    }
    Ok(())
}
