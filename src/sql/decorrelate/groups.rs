//! What a subquery reads of the groups around it: `SELECT a + 1, (SELECT ... WHERE c = a + 1) ... GROUP BY a + 1`. There
//! `a + 1` is a column of the groups; `a` by itself is none, and 42803.

use super::has_subquery;
use super::scope::{nested, with_subplan};
use crate::error::{external, from_planner};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Column, ExprSchema, Result as DfResult};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::logical_plan::Aggregate;
use datafusion_expr::utils::grouping_set_to_exprlist;
use datafusion_expr::{Expr, LogicalPlan};
use hw_repr::{SqlError, SqlState};
use std::cell::RefCell;
use std::sync::Arc;

/// The plan of a query as DataFusion makes it, not yet typed, with the columns of groups in the place of equal expressions of outer columns.
pub(crate) fn name_groups(plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    plan.transform_up_with_subqueries(|node| {
        let asks = node.expressions().iter().any(has_subquery);
        match asks.then(|| groups_below(&node)).flatten() {
            Some(groups) => Outer::new(groups.clone())?.replace_in(node).map(Transformed::yes),
            None => Ok(Transformed::no(node)),
        }
    })
    .data()
    .map_err(from_planner)
}

/// The groups of the SELECT that a node belongs to, where it stands above them.
fn groups_below(node: &LogicalPlan) -> Option<&Aggregate> {
    let [mut input] = node.inputs()[..] else { return None };
    loop {
        input = match input {
            LogicalPlan::Aggregate(a) => return Some(a),
            LogicalPlan::Filter(f) => &f.input,
            LogicalPlan::Window(w) => &w.input,
            _ => return None,
        }
    }
}

/// Groups as a subquery sees them.
struct Outer {
    groups: Aggregate,
    /// Each computed key over outer columns, with the column of the groups that it is.
    keys: Vec<(Expr, Expr)>,
    ungrouped: RefCell<Option<Column>>,
}

impl Outer {
    fn new(groups: Aggregate) -> DfResult<Outer> {
        let mut keys = vec![];
        for (at, key) in grouping_set_to_exprlist(&groups.group_expr)?.into_iter().enumerate() {
            let (relation, field) = groups.schema.qualified_field(at);
            let column = Expr::OuterReferenceColumn(Arc::clone(field), Column::new(relation.cloned(), field.name()));
            if matches!(key, Expr::Literal(..)) {
                continue;
            }
            let key = key.clone().unalias().transform(|e| match e {
                Expr::Column(c) => {
                    let field = Arc::clone(groups.input.schema().field_from_column(&c)?);
                    Ok(Transformed::yes(Expr::OuterReferenceColumn(field, c)))
                }
                other => Ok(Transformed::no(other)),
            });
            keys.push((key.data()?, column));
        }
        Ok(Outer { groups, keys, ungrouped: RefCell::default() })
    }

    fn replace_in(&self, node: LogicalPlan) -> DfResult<LogicalPlan> {
        let names = NamePreserver::new(&node);
        let replaced = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let new = expr.transform_down(|e| {
                with_subplan(e, &mut |plan| nested(plan, &mut vec![], &|e, inside| self.column_for(e, inside)))
            })?;
            Ok(new.update_data(|e| name.restore(e)))
        });
        match self.ungrouped.take() {
            Some(c) => {
                let message = format!("subquery uses ungrouped column \"{}\" from outer query", c.flat_name());
                Err(external(SqlError::new(SqlState::GROUPING, message)))
            }
            None => replaced.data(),
        }
    }

    fn column_for(&self, expr: &Expr, inside: &dyn Fn(&Column) -> bool) -> Option<Expr> {
        let hidden = |e: &Expr| matches!(e, Expr::OuterReferenceColumn(_, c) if inside(c));
        if let Some((_, column)) = self.keys.iter().find(|(key, _)| key == expr)
            && !expr.exists(|e| Ok(hidden(e))).unwrap_or(true)
        {
            return Some(column.clone());
        }
        if let Expr::OuterReferenceColumn(_, c) = expr
            && !inside(c)
            && self.groups.input.schema().has_column(c)
            && !self.groups.schema.has_column(c)
        {
            self.ungrouped.borrow_mut().get_or_insert_with(|| c.clone());
        }
        None
    }
}
