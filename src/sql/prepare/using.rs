//! Joins by USING and NATURAL, as far as DataFusion gives what PostgreSQL gives.
//!
//! DataFusion takes the joined column from the left side, also where a right or full join has no row there, and leaves it
//! where it stands among the left columns, where PostgreSQL puts it first in `*`.

use datafusion_common::JoinConstraint;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr, LogicalPlan};
use hw_repr::SqlError;
use sqlparser::ast::{JoinConstraint as Constraint, JoinOperator, Select, SelectItem, TableFactor, TableWithJoins};

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
        let (constraint, keeps_right) = match &join.join_operator {
            JoinOperator::Join(c) | JoinOperator::Inner(c) | JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => {
                (c, false)
            }
            JoinOperator::Right(c) | JoinOperator::RightOuter(c) | JoinOperator::FullOuter(c) => (c, true),
            _ => continue,
        };
        if !matches!(constraint, Constraint::Using(_) | Constraint::Natural) {
            continue;
        }
        if keeps_right {
            return Err(SqlError::unsupported("a right or full join by USING or NATURAL is not supported yet")
                .hint("Join ON the columns, and select COALESCE of both sides."));
        }
        found = true;
    }
    Ok(found)
}

/// Refuses a plan whose joined columns are not the first of the left side: `*` would have another order.
pub(crate) fn check_using(plan: &LogicalPlan) -> Result<(), SqlError> {
    let mut first = true;
    let walked = plan.apply(|node| {
        if let LogicalPlan::Join(join) = node
            && join.join_constraint == JoinConstraint::Using
        {
            let columns = join.left.schema().columns();
            let same = |(i, (left, _)): (usize, &(Expr, Expr))| match left {
                Expr::Column(c) => columns.get(i) == Some(c),
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
