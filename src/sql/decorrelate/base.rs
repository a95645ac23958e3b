//! Of which rows a subquery's domain is made: those of the plan that it is joined to, without the subqueries that were joined
//! before it.
//!
//! A domain is a copy of that plan, and a subquery has several. Where it kept what earlier subqueries of the same WHERE leave
//! out, each subquery would have copies of all before it, and plans would grow fivefold with each. So a plan that is large
//! already is left for the one below these conditions, where the subquery cannot fail: it has the same results for more
//! rows. Where it may fail it is computed for the rows that ask for it only, and a plan that grows too large is refused.

use super::{OPERAND, SUBQUERY, fallible, filtered, has_subquery};
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, TableReference};
use datafusion_expr::{Expr, LogicalPlan};
use hw_repr::{SqlError, SqlState};

/// Nodes from which on a plan is large.
const LARGE: usize = 200;
/// Nodes from which on a plan is refused: to plan one takes ten seconds, and 300 MiB.
const MOST: usize = 50_000;
/// The same of one whose rows are a domain: it will be there five times.
const BASE_MOST: usize = MOST / 5;

/// A plan with these columns that has every row that `plan` has. Others only where it is `wide`.
pub(super) fn of(plan: &LogicalPlan, columns: &[Column], wide: bool) -> Result<LogicalPlan, SqlError> {
    let same = below(plan, columns, false)?.unwrap_or_else(|| plan.clone());
    let wider = if wide && reaches(&same, LARGE) { below(plan, columns, true)? } else { None };
    within(BASE_MOST, wider.unwrap_or(same))
}

/// The plan; 54001 where it has grown too large.
pub(super) fn bounded(plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    within(MOST, plan)
}

fn within(most: usize, plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    if !reaches(&plan, most) {
        return Ok(plan);
    }
    let error = SqlError::new(SqlState::new("54001"), "statement too complex");
    Err(error
        .detail(
            "Subqueries that may fail, or that are in each other, multiply each other's plans, and these are too many.",
        )
        .hint("Compute some of them in views of their own."))
}

/// True where a plan has as many nodes.
fn reaches(plan: &LogicalPlan, most: usize) -> bool {
    let mut count = 0;
    let walked = plan.apply(|_| {
        count += 1;
        Ok(if count < most { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    walked.is_err() || count >= most
}

fn is_ours(relation: &TableReference) -> bool {
    relation.table().starts_with(SUBQUERY)
}

/// The plan without the subqueries that were joined to it, whose columns are not among these; without their conditions too,
/// where it may be `wide`. `None` where it has none.
fn below(plan: &LogicalPlan, columns: &[Column], wide: bool) -> Result<Option<LogicalPlan>, SqlError> {
    let has = |input: &LogicalPlan| columns.iter().all(|c| input.schema().has_column(c));
    let past = |input: &LogicalPlan| Ok(Some(below(input, columns, wide)?.unwrap_or_else(|| input.clone())));
    match plan {
        LogicalPlan::Join(j)
            if has(&j.left) && j.right.schema().iter().next().is_some_and(|(q, _)| q.is_some_and(is_ours)) =>
        {
            past(&j.left)
        }
        LogicalPlan::Projection(p) if has(&p.input) => {
            if p.schema.fields().last().is_some_and(|f| f.name().starts_with(OPERAND)) {
                return past(&p.input);
            }
            // Which leaves out only columns of subqueries.
            let same = p.expr.iter().all(|e| matches!(e, Expr::Column(_)));
            if wide && same { below(&p.input, columns, wide) } else { Ok(None) }
        }
        LogicalPlan::Filter(f) if wide && has(&f.input) => {
            let read = f.predicate.column_refs();
            if has_subquery(&f.predicate) || read.iter().any(|c| c.relation.as_ref().is_some_and(is_ours)) {
                return past(&f.input);
            }
            if fallible(&f.predicate) {
                return Ok(None);
            }
            // A condition of the rows themselves stays.
            let columns: Vec<Column> = read.into_iter().chain(columns).cloned().collect();
            below(&f.input, &columns, wide)?.map(|input| filtered(f.predicate.clone(), input)).transpose()
        }
        _ => Ok(None),
    }
}
