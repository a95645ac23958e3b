//! What operators hold and what a change of one row costs them, as text. `k` are the rows of a group.
//!
//! Derived from what the operators decide by: [`Aggregate::kept`] and what is known of their inputs.

use super::{aggregate_call, list};
use crate::kept::{Kept, Made};
use crate::transform::describe;
use crate::{Aggregate, FlowPlan};
use hw_repr::RelationDesc;

/// Of every operator but joins.
pub(super) fn held(plan: &FlowPlan) -> String {
    match plan {
        FlowPlan::Reduce { input, group, aggregates, .. } => {
            grouped(group, aggregates, describe(input, &[]).append_only)
        }
        FlowPlan::TopK { input, group, order, skip, limit, .. } => {
            let rows = Aggregate::top_rows(input.types().len(), order, *skip, *limit);
            top_rows(group, &rows, describe(input, &[]).append_only)
        }
        FlowPlan::Distinct { .. } => "; hashed by all columns; holds: each distinct row; change: O(1)".into(),
        FlowPlan::FlatMap { .. } => "; holds: nothing; change: rows of its sets".into(),
        _ => "; holds: nothing".into(),
    }
}

/// What serves a view to its readers.
pub(super) fn served(desc: &RelationDesc, kept_by: &[usize]) -> String {
    let columns = |key: &[usize]| list(key, |c| format!("#{c}"));
    let by = match (kept_by, desc.keys.first()) {
        ([], Some(key)) if !key.is_empty() => format!("({}), its key", columns(key)),
        ([], _) => "all columns, there is no key".to_string(),
        (by, Some(key)) if by == key.as_slice() => format!("({}), its key", columns(by)),
        (by, _) => format!("({}), its groups", columns(by)),
    };
    format!("Serve by {by}, shared by all that read it; holds: every row; change: O(log n)")
}

fn hashed_by(group: &[usize]) -> String {
    match group {
        [] => "one group".into(),
        columns => format!("hashed by ({})", list(columns, |c| format!("#{c}"))),
    }
}

fn grouped(group: &[usize], aggregates: &[Aggregate], append_only: bool) -> String {
    let row = if group.is_empty() { "one row" } else { "one row per group" };
    let mut holds = vec![row.to_string()];
    let mut best = vec![];
    for a in aggregates {
        let call = aggregate_call(a);
        if a.keeps_distinct() {
            holds.push(format!("distinct values of {call}"));
        }
        match a.kept(append_only) {
            Kept::Totals => {}
            Kept::Best => best.push(call),
            Kept::Ordered => holds.push(format!("values of {call}, as rows may be retracted")),
            Kept::First(n) => holds.push(format!("{} of {call}", first(n))),
            Kept::List(_) => holds.push(format!("values of {call}")),
        }
    }
    if !best.is_empty() {
        holds.push(format!("in it the value of {}, as nothing is retracted", best.join(", ")));
    }
    let change = aggregates.iter().map(|a| cost(a.kept(append_only))).max().unwrap_or(Cost::Constant);
    let whole: Vec<String> =
        aggregates.iter().filter(|a| cost(a.kept(append_only)) == Cost::Made(Made::All)).map(aggregate_call).collect();
    let cause = if whole.is_empty() { String::new() } else { format!(", for {}", whole.join(", ")) };
    format!("; {}; holds: {}; change: {}{cause}", hashed_by(group), holds.join(", "), change.text(group))
}

fn top_rows(group: &[usize], rows: &Aggregate, append_only: bool) -> String {
    let kept = rows.kept(append_only);
    let per = if group.is_empty() { "" } else { " per group" };
    let holds = match kept {
        Kept::First(n) => format!("{}{per}, as nothing is retracted", first(n)),
        _ if append_only => "all rows".into(),
        _ => "all rows, as some may be retracted".into(),
    };
    format!("; {}; holds: {holds}; change: {}", hashed_by(group), cost(kept).text(group))
}

fn first(n: i64) -> String {
    if n == 1 { "the first row".into() } else { format!("the first {n} rows") }
}

/// What a change costs, the least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    Constant,
    Few(i64),
    Logarithm,
    Made(Made),
}

fn cost(kept: Kept) -> Cost {
    match kept {
        Kept::Totals | Kept::Best => Cost::Constant,
        Kept::First(n) => Cost::Few(n),
        Kept::Ordered | Kept::List(Made::End) => Cost::Logarithm,
        Kept::List(made) => Cost::Made(made),
    }
}

impl Cost {
    fn text(self, group: &[usize]) -> String {
        let of = if group.is_empty() { "of all k rows" } else { "of its group's k rows" };
        match self {
            Cost::Constant => "O(1)".into(),
            Cost::Few(n) => format!("O({n})"),
            Cost::Logarithm | Cost::Made(Made::End) => format!("O(log k) {of}"),
            Cost::Made(Made::First(n)) => format!("O(log k) {of}, and {}", first(n)),
            Cost::Made(Made::Ranked(n)) => format!("O(log k) {of}, and those numbered up to {n}"),
            Cost::Made(Made::Place) => format!("a walk over blocks {of}"),
            Cost::Made(Made::All) if group.is_empty() => "all rows".into(),
            Cost::Made(Made::All) => "its whole group".into(),
        }
    }
}
