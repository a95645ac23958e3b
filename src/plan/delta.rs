//! Which inner joins become a [`FlowPlan::DeltaJoin`], and the paths of it.
//!
//! A tree of binary joins arranges every input and every intermediate result. A delta join arranges inputs only, each by
//! the keys by which the others look it up: an input whose key serves several of them is arranged once, and so is one
//! that is read twice. In exchange a change of any input looks up all the others, one after the other.
//!
//! The rule ([`choose`], measured in ADR 17). A delta join
//! - where it keeps fewer arrangements than the binary joins, and none of its inputs by more keys than they do: one key
//!   of all inputs, relations that are read twice;
//! - along references: where the input whose rows the result has (each one's at most once) is arranged at most half as often as
//!   it and the intermediate results that have a row for each of its rows are by binary joins, no input is filtered or
//!   computed, and no equality is left to be compared behind a look-up: else intermediate results may be small.
//!
//! An arrangement that a named relation keeps anyway ([`Kept`]) costs nothing and is not counted: over tables that have an index
//! for each key a star keeps nothing of its own.
//!
//! Never where two inputs from which nothing is retracted meet (their hash form is faster than either), nor where a path
//! would pass through pairs of which there may be many times the rows of any input, and the binary joins do not. Where both need
//! the same room, binary joins take less time: a change looks up fewer arrangements.
//!
//! Not absorbed into it are filters and computations between the joins: what may fail must fail for the same rows, so
//! such a part of the tree is an input as a whole.

mod paths;

use crate::arranged::{ArrangedBy, Kept, identity, is_hashed, sides};
use crate::flow::{LookUp, Same};
use crate::transform::describe;
use crate::{FlowPlan, ScalarExpr, stack};
use std::collections::HashSet;

/// Inputs of one delta join at most: it has a step for each two of them.
const INPUTS_MAX: usize = 8;

/// Replaces trees of joins where the rule says so, the largest first; `kept` are arrangements that cost nothing.
pub fn choose(plan: &mut FlowPlan, kept: &Kept) {
    replace(plan, kept, false);
}

/// Replaces all trees of joins of which a delta join can be made, whatever it costs: for tests and measurements.
pub fn choose_always(plan: &mut FlowPlan) {
    replace(plan, &Kept::default(), true);
}

/// Why a join of three inputs and more is a binary one; `None` for others.
pub fn why_binary(plan: &FlowPlan, kept: &Kept) -> Option<&'static str> {
    attempt(plan, kept, false).err().flatten()
}

fn replace(plan: &mut FlowPlan, kept: &Kept, always: bool) {
    if let Ok(new) = attempt(plan, kept, always) {
        *plan = new;
    }
    plan.inputs_mut().into_iter().for_each(|input| stack::deep(|| replace(input, kept, always)));
}

/// A column of an input.
type At = (usize, usize);

/// Columns of which each two are equal in every row of the join.
#[derive(Clone, Debug)]
struct Class {
    members: Vec<At>,
    null_safe: bool,
}

/// A tree of joins without what stands below and above it.
#[derive(Default)]
struct Tree<'a> {
    leaves: Vec<&'a FlowPlan>,
    equal: Vec<(At, At, bool)>,
    /// Arrangements of the binary joins.
    arranged: HashSet<ArrangedBy>,
    /// Some two inputs are joined by hashing.
    hashed: bool,
    /// Some join is between sides of which neither is unique by the key.
    many: bool,
    /// By arrangement of the binary joins: the leaf of which it has a row at most once for each; where there is one.
    bases: Vec<(ArrangedBy, Option<usize>)>,
}

impl<'a> Tree<'a> {
    /// Takes a tree apart: where the columns of its result come from, and of which leaf the result has each row at most once.
    fn gather(&mut self, plan: &'a FlowPlan) -> (Vec<At>, Option<usize>) {
        if let FlowPlan::Join { left, right, on, null_safe } = plan {
            let (mut columns, left_base) = stack::deep(|| self.gather(left));
            let (others, right_base) = stack::deep(|| self.gather(right));
            for (i, (l, r)) in on.iter().enumerate() {
                self.equal.push((columns[*l], others[*r], null_safe.get(i).copied().unwrap_or(false)));
            }
            self.hashed |= is_hashed(left, right);
            let [by_left_key, by_right_key] = sides(left, right, on, null_safe);
            self.arranged.extend([by_left_key.clone(), by_right_key.clone()]);
            let unique = |side: &FlowPlan, on: &dyn Fn(usize) -> bool| {
                describe(side, &[]).keys.iter().any(|key| key.iter().all(|c| on(*c)))
            };
            let by_left = unique(left, &|c| on.iter().any(|k| k.0 == c));
            let by_right = unique(right, &|c| on.iter().any(|k| k.1 == c));
            self.many |= !by_left && !by_right;
            self.bases.extend([(by_left_key, left_base), (by_right_key, right_base)]);
            columns.extend(others);
            let base = if by_right { left_base } else { right_base.filter(|_| by_left) };
            return (columns, base);
        }
        if let Some((input, chosen)) = chosen_columns(plan).filter(|(input, _)| is_tree(input)) {
            let (columns, base) = stack::deep(|| self.gather(input));
            return (chosen.into_iter().map(|c| columns[c]).collect(), base);
        }
        self.leaves.push(plan);
        let leaf = self.leaves.len() - 1;
        ((0..plan.types().len()).map(|c| (leaf, c)).collect(), Some(leaf))
    }

    /// The classes of equal columns. `None` where two are of one input, where their types differ, or where one is
    /// the same in all rows.
    fn classes(&self) -> Option<Vec<Class>> {
        let mut classes: Vec<Class> = vec![];
        for (a, b, null_safe) in &self.equal {
            let mut merged = Class { members: vec![*a, *b], null_safe: *null_safe };
            let touches = |c: &Class| c.members.contains(a) || c.members.contains(b);
            for old in classes.extract_if(.., |c| touches(c)) {
                merged.members.extend(old.members);
                merged.null_safe &= old.null_safe;
            }
            merged.members.sort_unstable();
            merged.members.dedup();
            classes.push(merged);
        }
        let types: Vec<_> = self.leaves.iter().map(|l| l.types()).collect();
        let fits = |class: &Class| {
            let ty = |at: &At| types[at.0][at.1];
            let first = ty(&class.members[0]);
            let same =
                |at: &At| ty(at).arrow() == first.arrow() && ty(at).without_modifier() == first.without_modifier();
            class.members.windows(2).all(|two| two[0].0 != two[1].0)
                && class.members.iter().all(|at| same(at) && !is_fixed(self.leaves[at.0], at.1))
        };
        classes.iter().all(fits).then_some(classes)
    }
}

/// The columns that an operator chooses which does nothing else.
fn chosen_columns(plan: &FlowPlan) -> Option<(&FlowPlan, Vec<usize>)> {
    let FlowPlan::Mfp { input, filter, project, .. } = plan else { return None };
    let column = |e: &ScalarExpr| match e {
        ScalarExpr::Column(c, _) => Some(*c),
        _ => None,
    };
    let columns: Option<Vec<usize>> = project.iter().map(column).collect();
    filter.is_empty().then_some((&**input, columns?))
}

/// True for joins under any number of choices of columns.
fn is_tree(plan: &FlowPlan) -> bool {
    let mut at = plan;
    while let Some((input, _)) = chosen_columns(at) {
        at = input;
    }
    matches!(at, FlowPlan::Join { .. })
}

/// How many inputs a tree has; of more than are wanted no more are counted.
fn leaves(plan: &FlowPlan) -> usize {
    let (mut todo, mut count) = (vec![plan], 0);
    while let Some(node) = todo.pop().filter(|_| count <= INPUTS_MAX) {
        match (node, chosen_columns(node)) {
            (FlowPlan::Join { left, right, .. }, _) => todo.extend([&**left, &**right]),
            (_, Some((input, _))) if is_tree(input) => todo.push(input),
            _ => count += 1,
        }
    }
    count
}

/// True for a column that is written in the plan: joined by it, every row meets every row.
fn is_fixed(plan: &FlowPlan, column: usize) -> bool {
    let FlowPlan::Mfp { project, .. } = plan else { return false };
    matches!(project.get(column), Some(ScalarExpr::Literal(..)))
}

/// Rows of it are those of a named relation, all of them.
fn is_whole(plan: &FlowPlan) -> bool {
    let plan = chosen_columns(plan).map_or(plan, |(input, _)| input);
    matches!(plan, FlowPlan::Get { .. } | FlowPlan::Shared { .. })
}

/// The delta join that a tree becomes; or why not, where it has three inputs.
fn attempt(plan: &FlowPlan, kept: &Kept, always: bool) -> Result<FlowPlan, Option<&'static str>> {
    match leaves(plan) {
        3..=INPUTS_MAX if matches!(plan, FlowPlan::Join { .. }) => {}
        0..3 => return Err(None),
        _ => return Err(Some("it has too many inputs").filter(|_| matches!(plan, FlowPlan::Join { .. }))),
    }
    let mut tree = Tree::default();
    let (output, base) = tree.gather(plan);
    if tree.hashed && !always {
        return Err(Some("some inputs are hashed"));
    }
    let classes = tree.classes().ok_or("its keys are compared otherwise")?;
    let of: Vec<u64> = tree.leaves.iter().map(|l| identity(l)).collect();
    let found =
        paths::find(&tree.leaves, &of, &classes, kept).ok_or("its keys do not lead from each input to all others")?;
    if found.many && !tree.many && !always {
        return Err(Some("look-ups would find many rows for each of many"));
    }
    let costs = Costs::of(&tree, &of, &found.paths, kept);
    if !always && !costs.saves(&of) && !costs.follows_references(&tree, &of, base, &found.paths) {
        return Err(Some("look-ups would need as much room"));
    }
    let (instead_of, inputs) = (costs.binary.len(), tree.leaves.into_iter().cloned().collect());
    Ok(FlowPlan::DeltaJoin { inputs, paths: found.paths, output, desc: describe(plan, &[]), instead_of })
}

/// The arrangements that a view would have of its own.
struct Costs {
    /// By look-ups.
    delta: HashSet<ArrangedBy>,
    /// By binary joins.
    binary: HashSet<ArrangedBy>,
}

impl Costs {
    fn of(tree: &Tree<'_>, of: &[u64], paths: &[Vec<LookUp>], kept: &Kept) -> Costs {
        let own = |by: &ArrangedBy| {
            let leaf = of.iter().position(|leaf| *leaf == by.of);
            leaf.is_none_or(|leaf| kept.keeper(tree.leaves[leaf], &by.key).is_none())
        };
        let delta = paths::arranged(of, paths).into_iter().filter(own).collect();
        Costs { delta, binary: tree.arranged.iter().filter(|by| own(by)).cloned().collect() }
    }

    /// True where there are fewer arrangements, and none of an input in place of one of a result.
    fn saves(&self, of: &[u64]) -> bool {
        let count = |all: &HashSet<ArrangedBy>, leaf: &u64| all.iter().filter(|by| by.of == *leaf).count();
        self.delta.len() < self.binary.len()
            && of.iter().all(|leaf| count(&self.delta, leaf) <= count(&self.binary, leaf))
    }

    /// True for relations as they are that refer to each other, where the one that refers to all is arranged seldom enough.
    fn follows_references(&self, tree: &Tree<'_>, of: &[u64], base: Option<usize>, paths: &[Vec<LookUp>]) -> bool {
        let Some(base) = base else { return false };
        let times = self.delta.iter().filter(|by| by.of == of[base]).count();
        let of_base = |b: &&(ArrangedBy, Option<usize>)| b.1 == Some(base) && self.binary.contains(&b.0);
        let instead_of = tree.bases.iter().filter(of_base).count();
        self.delta.len() <= self.binary.len()
            && 2 * times <= instead_of
            && tree.leaves.iter().all(|leaf| is_whole(leaf))
            && paths.iter().flatten().all(|step| step.also.is_empty())
    }
}

/// Where a class has a member of one of these inputs.
fn member(class: &Class, inputs: &[usize]) -> Option<At> {
    inputs.iter().find_map(|i| class.members.iter().find(|at| at.0 == *i)).copied()
}

/// The step that looks up `input` by some of the classes that it shares with `bound`, and compares the others.
fn step(classes: &[Class], bound: &[usize], input: usize, key: &[usize]) -> LookUp {
    let mut step = LookUp { input, key: vec![], also: vec![] };
    for (number, class) in classes.iter().enumerate() {
        let (Some(own), Some(with)) = (member(class, &[input]), member(class, bound)) else { continue };
        let same = Same { column: own.1, with, null_safe: class.null_safe };
        if key.contains(&number) { step.key.push(same) } else { step.also.push(same) }
    }
    step.key.sort_unstable_by_key(|s| s.column);
    step
}

#[cfg(test)]
mod tests;
