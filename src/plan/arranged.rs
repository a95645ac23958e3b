//! Which arrangements the joins of a plan keep, told apart by what they hold: one that several joins read is made once; and by
//! what relations are arranged for their readers.
//!
//! Nothing here is a choice: the renderer makes exactly these, and `EXPLAIN` names them.

use crate::flow::LookUp;
use crate::transform::describe;
use crate::{FlowPlan, stack};
use hw_repr::RelationDesc;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What an arrangement holds: equal ones hold the same rows in the same order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ArrangedBy {
    /// The collection, see [`identity`].
    pub of: u64,
    /// Columns of its key, in order.
    pub key: Vec<usize>,
    /// Those in which NULL matches nothing: rows that have one are left out.
    pub strict: Vec<usize>,
}

impl ArrangedBy {
    /// A side of a binary join: the keys of that side, with what each one's NULL is.
    pub fn side(plan: &FlowPlan, key: Vec<usize>, null_safe: &[bool]) -> ArrangedBy {
        let safe = |i: usize| null_safe.get(i).copied().unwrap_or(false);
        let strict = key.iter().enumerate().filter(|(i, _)| !safe(*i)).map(|(_, c)| *c).collect();
        ArrangedBy { of: identity(plan), key, strict }
    }

    /// What a step of a delta join looks up; `of` stands for its input.
    pub fn looked_up(of: u64, step: &LookUp) -> ArrangedBy {
        let key = step.key.iter().map(|s| s.column).collect();
        let strict = step.key.iter().filter(|s| !s.null_safe).map(|s| s.column).collect();
        ArrangedBy { of, key, strict }
    }
}

/// Both sides of a [`FlowPlan::Join`].
pub fn sides(left: &FlowPlan, right: &FlowPlan, on: &[(usize, usize)], null_safe: &[bool]) -> [ArrangedBy; 2] {
    let key = |side: usize| on.iter().map(|k| if side == 0 { k.0 } else { k.1 }).collect();
    [ArrangedBy::side(left, key(0), null_safe), ArrangedBy::side(right, key(1), null_safe)]
}

/// A hash of what a plan computes, whatever its columns are called. Node by node: plans may be deep.
pub fn identity(plan: &FlowPlan) -> u64 {
    let (mut hasher, mut todo) = (DefaultHasher::new(), vec![plan]);
    while let Some(node) = todo.pop() {
        let own = match node {
            FlowPlan::Get { id, columns, .. } => hash((id, columns)),
            FlowPlan::Constant { rows, .. } => hash(rows),
            FlowPlan::Mfp { filter, project, .. } => hash((filter, project)),
            FlowPlan::Join { on, null_safe, .. } => hash((on, null_safe)),
            FlowPlan::DeltaJoin { inputs, paths, output, .. } => hash((inputs.len(), paths, output)),
            FlowPlan::Reduce { group, aggregates, .. } => hash((group, aggregates)),
            FlowPlan::TopK { group, order, numbers, skip, limit, .. } => hash((group, order, numbers, skip, limit)),
            FlowPlan::Union { inputs } => hash(inputs.len()),
            FlowPlan::Let { id, .. } | FlowPlan::Shared { id, .. } => hash(id),
            FlowPlan::FlatMap { keep, calls, outer, .. } => hash((keep, calls, outer)),
            FlowPlan::Distinct { .. } | FlowPlan::Negate { .. } => 0,
        };
        (std::mem::discriminant(node), own).hash(&mut hasher);
        todo.extend(node.inputs());
    }
    hasher.finish()
}

/// Of anything, the same in one run of the program.
pub fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// The key by which a relation is arranged for its readers; empty: all columns.
pub fn served_key(desc: &RelationDesc) -> &[usize] {
    desc.keys.first().map(Vec::as_slice).unwrap_or_default()
}

/// True where a join keeps its inputs in the hash form: nothing is ever retracted from either.
pub fn is_hashed(left: &FlowPlan, right: &FlowPlan) -> bool {
    describe(left, &[]).append_only && describe(right, &[]).append_only
}

/// The arrangements of a plan's joins, and how many joins or inputs of joins read each. With `retractions` no join has
/// the hash form.
pub fn arrangements(plan: &FlowPlan, retractions: bool) -> HashMap<ArrangedBy, usize> {
    let mut all = HashMap::new();
    collect(plan, retractions, &mut all);
    all
}

fn collect(plan: &FlowPlan, retractions: bool, all: &mut HashMap<ArrangedBy, usize>) {
    match plan {
        FlowPlan::Join { left, right, on, null_safe } if retractions || !is_hashed(left, right) => {
            for side in sides(left, right, on, null_safe) {
                *all.entry(side).or_default() += 1;
            }
        }
        FlowPlan::DeltaJoin { inputs, paths, .. } => {
            let of: Vec<u64> = inputs.iter().map(identity).collect();
            // An input that several paths look up by one key is one reader.
            let mut mine: Vec<(usize, ArrangedBy)> = vec![];
            for step in paths.iter().flatten() {
                let by = (step.input, ArrangedBy::looked_up(of[step.input], step));
                if !mine.contains(&by) {
                    mine.push(by);
                }
            }
            for (_, by) in mine {
                *all.entry(by).or_default() += 1;
            }
        }
        _ => {}
    }
    plan.inputs().into_iter().for_each(|input| stack::deep(|| collect(input, retractions, all)));
}

/// True where binary joins share an arrangement, which each had of its own before that was known: what was saved of such
/// a view is numbered otherwise.
pub fn shares(plan: &FlowPlan, retractions: bool) -> bool {
    arrangements(plan, retractions).values().any(|readers| *readers > 1)
}
