//! The order in which the changes of each input look up the others.
//!
//! Step by step, as an experienced reader would: first what has at most one row for each, then what multiplies rows only as
//! far as its own rows go; of those by an arrangement that is there already. What is there depends on the paths of the other inputs,
//! so they are looked for more than once.

use super::{At, Class, step};
use crate::FlowPlan;
use crate::arranged::{ArrangedBy, Kept};
use crate::flow::LookUp;
use crate::transform::describe;
use std::collections::{BTreeSet, HashSet};

/// How often paths are looked for with what the others arrange.
const ROUNDS: usize = 3;

/// What was found.
pub(super) struct Found {
    /// By input.
    pub(super) paths: Vec<Vec<LookUp>>,
    /// How many arrangements they need that are not there anyway.
    pub(super) arrangements: usize,
    /// Some step may find many rows for each of many.
    pub(super) many: bool,
}

/// How many rows a step finds, the best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fanout {
    /// At most one for each.
    One,
    /// Each at most once.
    Once,
    Many,
}

/// The least is best: what it finds, whether rows that it finds are to be left out again, whether an arrangement has to be made
/// for it, how long its key is, then which input and key it is.
type Rank = (Fanout, bool, bool, usize, usize, Vec<usize>);

/// A set of classes, by number; what has no class is numbered after them.
type Classes = BTreeSet<usize>;

struct Inputs<'a> {
    classes: &'a [Class],
    /// By input: its unique keys as sets of classes; of columns without one by numbers that no class has.
    keys: Vec<Vec<Classes>>,
    of: &'a [u64],
    leaves: &'a [&'a FlowPlan],
    kept: &'a Kept,
}

/// The best paths that a few rounds find; `None` where an input cannot be reached by equal columns.
pub(super) fn find(leaves: &[&FlowPlan], of: &[u64], classes: &[Class], kept: &Kept) -> Option<Found> {
    let class_of = |at: At| classes.iter().position(|c| c.members.contains(&at));
    let number = |at: At| class_of(at).unwrap_or(classes.len() + at.0 * COLUMNS_MAX + at.1);
    let keys = |(i, leaf): (usize, &&FlowPlan)| {
        let keys = describe(leaf, &[]).keys;
        keys.iter().map(|key| key.iter().map(|c| number((i, *c))).collect()).collect()
    };
    let inputs = Inputs { classes, keys: leaves.iter().enumerate().map(keys).collect(), of, leaves, kept };
    let mut best: Option<Found> = None;
    let mut paths: Vec<Vec<LookUp>> = vec![vec![]; leaves.len()];
    for _ in 0..ROUNDS {
        let mut many = false;
        for start in 0..leaves.len() {
            paths[start].clear();
            let there = arranged(of, &paths);
            let (path, worst) = inputs.path(start, leaves.len(), &there)?;
            paths[start] = path;
            many |= worst == Fanout::Many;
        }
        let leaf = |by: &ArrangedBy| of.iter().position(|leaf| *leaf == by.of).map(|i| leaves[i]);
        let own = |by: &&ArrangedBy| leaf(by).is_none_or(|leaf| kept.keeper(leaf, &by.key).is_none());
        let arrangements = arranged(of, &paths).iter().filter(own).count();
        let better = |b: &Found| (many, arrangements) < (b.many, b.arrangements);
        if best.as_ref().is_none_or(better) {
            best = Some(Found { paths: paths.clone(), arrangements, many });
        }
    }
    best
}

/// The arrangements that paths look up; `of` are the identities of the inputs.
pub(super) fn arranged(of: &[u64], paths: &[Vec<LookUp>]) -> HashSet<ArrangedBy> {
    paths.iter().flatten().map(|step| ArrangedBy::looked_up(of[step.input], step)).collect()
}

/// More than the columns of any input.
const COLUMNS_MAX: usize = 1 << 20;

impl Inputs<'_> {
    fn path(&self, start: usize, inputs: usize, there: &HashSet<ArrangedBy>) -> Option<(Vec<LookUp>, Fanout)> {
        let (mut bound, mut path, mut worst) = (vec![start], vec![], Fanout::One);
        // By which the rows of the path are unique.
        let mut unique = self.keys[start].clone();
        let mut there = there.clone();
        while bound.len() < inputs {
            let left = (0..inputs).filter(|i| !bound.contains(i));
            let steps = left.flat_map(|input| self.steps(&bound, input, &unique, &there));
            let (rank, next) = steps.min_by(|a, b| a.0.cmp(&b.0))?;
            let shared = self.shared(&bound, next.input);
            let covered = |keys: &[Classes]| keys.iter().any(|key| key.is_subset(&shared));
            let own = &self.keys[next.input];
            unique = match (covered(own), covered(&unique)) {
                (true, true) => unique.into_iter().chain(own.iter().cloned()).collect(),
                (true, false) => unique,
                (false, true) => own.clone(),
                (false, false) => vec![],
            };
            worst = worst.max(rank.0);
            there.insert(ArrangedBy::looked_up(self.of[next.input], &next));
            bound.push(next.input);
            path.push(next);
        }
        Some((path, worst))
    }

    /// Classes that an input has in common with others.
    fn shared(&self, bound: &[usize], input: usize) -> Classes {
        let has = |class: &Class, inputs: &[usize]| super::member(class, inputs).is_some();
        let both = |c: &(usize, &Class)| has(c.1, &[input]) && has(c.1, bound);
        self.classes.iter().enumerate().filter(both).map(|c| c.0).collect()
    }

    /// The ways to look up an input, with their ranks: the least is best.
    fn steps(
        &self,
        bound: &[usize],
        input: usize,
        unique: &[Classes],
        there: &HashSet<ArrangedBy>,
    ) -> Vec<(Rank, LookUp)> {
        let shared = self.shared(bound, input);
        if shared.is_empty() {
            return vec![];
        }
        let mut keys: Vec<Vec<usize>> = vec![shared.iter().copied().collect()];
        // A unique key alone finds as few rows, and more paths have it.
        keys.extend(self.keys[input].iter().filter(|k| k.is_subset(&shared)).map(|k| k.iter().copied().collect()));
        keys.extend(self.already(input, &shared, there));
        keys.retain(|key| !key.is_empty());
        let covers = |key: &[usize], all: &[Classes]| all.iter().any(|k| k.iter().all(|c| key.contains(c)));
        let ranked = |key: Vec<usize>| {
            let step = step(self.classes, bound, input, &key);
            let by = ArrangedBy::looked_up(self.of[input], &step);
            let made = !there.contains(&by) && self.kept.keeper(self.leaves[input], &by.key).is_none();
            let (fanout, length) = if covers(&key, &self.keys[input]) {
                (Fanout::One, key.len())
            } else if covers(&key, unique) {
                (Fanout::Once, usize::MAX - key.len())
            } else {
                (Fanout::Many, usize::MAX - key.len())
            };
            let leaves_out = fanout != Fanout::One && !step.also.is_empty();
            ((fanout, leaves_out, made, length, input, key), step)
        };
        keys.into_iter().map(ranked).collect()
    }

    /// Keys of arrangements that are there, as far as `shared` covers them.
    fn already(&self, input: usize, shared: &Classes, there: &HashSet<ArrangedBy>) -> Vec<Vec<usize>> {
        let class = |column: usize| self.classes.iter().position(|c| c.members.contains(&(input, column)));
        let of = there.iter().filter(|by| by.of == self.of[input]);
        let kept = self.kept.keys(self.leaves[input]);
        let keys = of.map(|by| by.key.clone()).chain(kept);
        let keys = keys.filter_map(|key| key.iter().map(|c| class(*c)).collect::<Option<Vec<usize>>>());
        keys.filter(|key| key.iter().all(|c| shared.contains(c))).collect()
    }
}
