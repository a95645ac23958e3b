//! Joins as text: by which columns, in which form, and the arrangements that each one reads.

use super::list;
use crate::FlowPlan;
use crate::arranged::{ArrangedBy, Kept, arrangements, identity, is_hashed, named, sides};
use crate::delta::why_binary;
use crate::flow::{LookUp, Same};
use crate::transform::describe;
use std::collections::HashMap;

/// How many joins read each arrangement of a plan, and which named relations keep it anyway.
pub(super) struct Readers<'a> {
    readers: HashMap<ArrangedBy, usize>,
    named: HashMap<u64, &'a FlowPlan>,
    kept: &'a Kept,
}

impl<'a> Readers<'a> {
    pub(super) fn of(plan: &'a FlowPlan, kept: &'a Kept) -> Readers<'a> {
        Readers { readers: arrangements(plan, false), named: named(plan), kept }
    }

    /// What keeps it anyway.
    fn keeper(&self, by: &ArrangedBy) -> Option<&str> {
        self.kept.keeper(self.named.get(&by.of)?, &by.key)
    }

    /// An arrangement: of what, its key, whether others read it too.
    fn show(&self, of: &str, by: &ArrangedBy) -> String {
        let shared = match self.keeper(by) {
            Some(keeper) => format!(" shared with {keeper}"),
            None if self.readers.get(by).is_some_and(|readers| *readers > 1) => " shared".to_string(),
            None => String::new(),
        };
        format!("{of} by ({}){shared}", list(&by.key, |c| format!("#{c}")))
    }
}

/// A binary join.
pub(super) fn join(plan: &FlowPlan, readers: &Readers<'_>) -> String {
    let FlowPlan::Join { left, right, on, null_safe } = plan else { return String::new() };
    let keys = list(on.iter().zip(null_safe), |((l, r), s)| format!("#{l} {} #{r}", equals(*s)));
    if is_hashed(left, right) {
        return format!(
            "Join on=[{keys}] hashed: nothing is retracted; holds: rows of both inputs; change: its matches"
        );
    }
    let [a, b] = sides(left, right, on, null_safe);
    let why = why_binary(plan, readers.kept).map_or(String::new(), |why| format!(" binary: {why}"));
    let retracted: Vec<&str> = [("left", left), ("right", right)]
        .into_iter()
        .filter(|(_, side)| !describe(side, &[]).append_only)
        .map(|(name, _)| name)
        .collect();
    let rows = match [&a, &b].map(|by| readers.keeper(by).is_none()) {
        [false, false] => "nothing",
        [true, false] => "rows of left",
        [false, true] => "rows of right",
        [true, true] if a == b => "rows of the one input that both sides are",
        [true, true] => "rows of both inputs",
    };
    format!(
        "Join on=[{keys}] arranged=[{}, {}]{why}; rows of {} may be retracted; holds: {rows}; change: O(log n) and its matches",
        readers.show("left", &a),
        readers.show("right", &b),
        retracted.join(" and ")
    )
}

fn equals(null_safe: bool) -> &'static str {
    if null_safe { "<=>" } else { "=" }
}

/// A delta join: inputs have numbers, and columns those of their input before their own.
pub(super) fn delta_join(plan: &FlowPlan, readers: &Readers<'_>) -> String {
    let FlowPlan::DeltaJoin { inputs, paths, output, instead_of, .. } = plan else { return String::new() };
    let of: Vec<u64> = inputs.iter().map(identity).collect();
    let mut arranged: Vec<(usize, ArrangedBy)> =
        paths.iter().flatten().map(|l| (l.input, ArrangedBy::looked_up(of[l.input], l))).collect();
    arranged.sort_by(|a, b| (a.0, &a.1.key).cmp(&(b.0, &b.1.key)));
    arranged.dedup();
    let mut distinct: Vec<&ArrangedBy> = arranged.iter().map(|a| &a.1).collect();
    distinct.sort_by(|a, b| (a.of, &a.key).cmp(&(b.of, &b.key)));
    distinct.dedup();
    distinct.retain(|by| readers.keeper(by).is_none());
    let why = match distinct.len() < *instead_of {
        true => format!("binary joins arrange {instead_of} times"),
        false => "of inputs alone, along references".to_string(),
    };
    format!(
        "DeltaJoin arrangements={} why=[{why}] arranged=[{}] paths=[{}] output=[{}]; \
         holds: {}; change: O(log n) and the matches of each look-up of its path",
        distinct.len(),
        list(&arranged, |(input, by)| readers.show(&input.to_string(), by)),
        list(paths.iter().enumerate(), |(i, path)| format!("{i}{}", path.iter().map(step).collect::<String>())),
        list(output, |at| format!("#{}.{}", at.0, at.1)),
        if distinct.is_empty() { "nothing" } else { "rows of each input once for each of its own arrangements" },
    )
}

fn step(look: &LookUp) -> String {
    let same = |s: &Same| format!("#{}.{} {} #{}.{}", look.input, s.column, equals(s.null_safe), s.with.0, s.with.1);
    let all: Vec<String> = look.key.iter().chain(&look.also).map(same).collect();
    format!(" -> {} on {}", look.input, all.join(" and "))
}
