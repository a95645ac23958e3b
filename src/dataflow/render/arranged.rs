//! Joins over arrangements that are made once, and delta joins.
//!
//! The changes of input i at a time see, of the inputs before it, what they are at that time, and of those after it, what
//! they were before. So of the changes that make a row of the result, one from each input, the last to come (of several at
//! one time, that of the last input) finds all the others, and none of these finds it: each row is made once.
//!
//! Invariant: an arrangement is a part of the flow's state that is numbered when it is first asked for; which are shared follows from
//! the plan alone ([`hw_plan::arranged`]).

use super::{HeldTrace, Render, unhold};
use crate::arrange::arrange_placed;
use crate::closed::{ClosedTick, Counters};
use crate::exchange::exchange;
use crate::join::{Arrangement, Input, Keeper, On, Step, hash_join, look_up, merge_join};
use crate::layout::Layout;
use crate::stateless;
use crate::types::{Pair, RowStream};
use hw_plan::FlowPlan;
use hw_plan::arranged::{ArrangedBy, identity, sides};
use hw_plan::flow::{LookUp, Same};
use hw_repr::SqlType;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

/// What was rendered for joins while a flow is built.
#[derive(Default)]
pub struct Arranged<'s> {
    made: HashMap<ArrangedBy, Arrangement<'s>>,
    /// Changes of inputs of delta joins, by identity.
    streams: HashMap<u64, RowStream<'s>>,
    /// Changes of what is arranged, each on the owner of its key, by identity and key.
    placed: HashMap<(u64, Vec<usize>), RowStream<'s>>,
}

/// A column of an input.
type At = (usize, usize);

impl<'s> Render<'s> {
    /// A binary join.
    pub(super) fn join(&mut self, left: &FlowPlan, right: &FlowPlan, on: &[At], null_safe: &[bool]) -> Pair<'s> {
        if self.append_only(left) && self.append_only(right) {
            let (a, b) = (self.plan(left), self.plan(right));
            let [one, other] = [(left, a.oks), (right, b.oks)].map(|(p, stream)| Input { stream, types: p.types() });
            let oks = hash_join(one, other, &On { keys: on, null_safe }, self);
            return Pair { oks, errs: stateless::union(self.scope, vec![a.errs, b.errs]) };
        }
        let by = sides(left, right, on, null_safe);
        let (mut errs, mut streams) = (vec![], [None, None]);
        for (i, plan) in [left, right].into_iter().enumerate() {
            // What is arranged already, or by the other side, need not be computed again.
            if !self.arranged.made.contains_key(&by[i]) && (i == 0 || by[0] != by[1]) {
                let made = self.plan(plan);
                errs.push(made.errs);
                streams[i] = Some(made.oks);
            } else {
                self.nodes.skip(plan);
            }
        }
        let [a, b] = streams;
        let a = self.arrangement(&by[0], a, left.types(), "join");
        let b = self.arrangement(&by[1], b, right.types(), "join");
        let work = self.counters();
        Pair { oks: merge_join(a, b, work), errs: stateless::union(self.scope, errs) }
    }

    /// The arrangement of a collection, which is made of `stream` where there is none yet.
    fn arrangement(
        &mut self,
        by: &ArrangedBy,
        stream: Option<RowStream<'s>>,
        types: Vec<SqlType>,
        name: &'static str,
    ) -> Arrangement<'s> {
        if let Some(made) = self.arranged.made.get(by) {
            return made.clone();
        }
        let stream = stream.expect("invariant: what is not arranged was computed");
        let layout = Layout::keyed(&types, &by.key);
        let part = self.held.next_part();
        let restored = self.restored_part(part);
        let placed = exchange(stream, &layout);
        self.arranged.placed.insert((by.of, by.key.clone()), placed.clone());
        let arranged = arrange_placed(placed, &layout, &by.strict, restored.as_ref(), "Arrange");
        let counters = self.shared.register(name, self.scope.index(), Some(self.nodes.at));
        let trace = unhold(arranged.trace.clone());
        self.held.arrangements.push(HeldTrace { part, counters: counters.clone(), trace, lag: 0 });
        let made = Arrangement { arranged, layout, types, counters, after: restored.map(|r| r.upper()) };
        self.arranged.made.insert(by.clone(), made.clone());
        made
    }

    /// Changes of an input that is read by its changes too.
    fn changes(&mut self, of: u64, plan: &FlowPlan) -> Pair<'s> {
        if let Some(oks) = self.arranged.streams.get(&of) {
            self.nodes.skip(plan);
            return Pair { oks: oks.clone(), errs: self.no_errors() };
        }
        let made = self.plan(plan);
        self.arranged.streams.insert(of, made.oks.clone());
        made
    }

    /// A delta join.
    pub(super) fn delta_join(&mut self, inputs: &[FlowPlan], paths: &[Vec<LookUp>], output: &[At]) -> Pair<'s> {
        let of: Vec<u64> = inputs.iter().map(identity).collect();
        let types: Vec<Vec<SqlType>> = inputs.iter().map(FlowPlan::types).collect();
        let (streams, errs): (Vec<_>, Vec<_>) =
            inputs.iter().zip(&of).map(|(input, of)| self.changes(*of, input)).map(|p| (p.oks, p.errs)).unzip();
        let mut looked_up = HashMap::new();
        for step in paths.iter().flatten() {
            let by = ArrangedBy::looked_up(of[step.input], step);
            let (stream, types) = (streams[step.input].clone(), types[step.input].clone());
            let made = self.arrangement(&by, Some(stream), types, "delta join");
            // Look-ups tell the last tick from those before it, also after a restart.
            let held = self.held.arrangements.iter_mut().find(|h| Arc::ptr_eq(&h.counters, &made.counters));
            held.into_iter().for_each(|h| h.lag = 1);
            looked_up.insert(by, made);
        }
        // What the last steps of all paths give is what the join gives.
        let work = self.shared.register("delta join", self.scope.index(), Some(self.nodes.at));
        let (mut made, mut counted) = (vec![], HashSet::new());
        for (i, (path, stream)) in paths.iter().zip(streams).enumerate() {
            let first = |by: &&ArrangedBy| by.of == of[i];
            let first = looked_up.keys().filter(first).min_by_key(|by| &by.key);
            let mut counters = first.map(|by| looked_up[by].counters.clone()).filter(|_| counted.insert(of[i]));
            // The changes of what is arranged by the first key lie right already.
            let by: Vec<usize> = path.first().into_iter().flat_map(|l| &l.key).map(|same| same.with.1).collect();
            let placed = self.arranged.placed.get(&(of[i], by)).cloned();
            let mut lies =
                placed.as_ref().and_then(|_| path.first()).map(|l| l.key.iter().map(|s| vec![s.with]).collect());
            let stream = placed.unwrap_or(stream);
            let (mut stream, mut carried) = start(stream, i, path, output, types[i].len());
            for (number, look) in path.iter().enumerate() {
                let wanted = wanted(&path[number + 1..], output);
                let step = prepare(look, i, &carried, &wanted, &types);
                let to = &looked_up[&ArrangedBy::looked_up(of[look.input], look)];
                let last = number + 1 == path.len();
                stream = look_up(stream, to, step, lies_by(&lies, look), counters.take(), (work.clone(), last));
                lies = Some(look.key.iter().map(|s| vec![s.with, (look.input, s.column)]).collect());
                carried = wanted.into_iter().filter(|at| carried.contains(at) || at.0 == look.input).collect();
            }
            made.push(stream);
        }
        Pair { oks: stateless::union(self.scope, made), errs: stateless::union(self.scope, errs) }
    }
}

/// True where rows lie by the key of a step: `lies` has, by column of the key by which they do, those that are equal to it.
fn lies_by(lies: &Option<Vec<Vec<At>>>, step: &LookUp) -> bool {
    let Some(lies) = lies else { return false };
    lies.len() == step.key.len() && lies.iter().zip(&step.key).all(|(columns, same)| columns.contains(&same.with))
}

/// Columns that the rest of a path reads, none twice: those of the output as they stand there, then others.
fn wanted(rest: &[LookUp], output: &[At]) -> Vec<At> {
    let mut all = output.to_vec();
    if rest.is_empty() {
        return all;
    }
    all.extend(rest.iter().flat_map(|l| l.key.iter().chain(&l.also)).map(|s| s.with));
    let mut once: Vec<At> = vec![];
    for at in all {
        if !once.contains(&at) {
            once.push(at);
        }
    }
    once
}

/// The changes of an input, and which of its columns they have: those that its path reads.
fn start<'s>(
    stream: RowStream<'s>,
    input: usize,
    path: &[LookUp],
    output: &[At],
    width: usize,
) -> (RowStream<'s>, Vec<At>) {
    let mut read: Vec<usize> = wanted(path, output).into_iter().filter(|at| at.0 == input).map(|at| at.1).collect();
    read.sort_unstable();
    let carried = read.iter().map(|c| (input, *c)).collect();
    let stream = if read.len() == width { stream } else { stateless::project(stream, &read) };
    (stream, carried)
}

/// A step of the path of input `start`, on rows of the columns `carried`, that passes `wanted` on as far as it has them.
fn prepare(look: &LookUp, start: usize, carried: &[At], wanted: &[At], types: &[Vec<SqlType>]) -> Step {
    let place = |at: &At| carried.iter().position(|c| c == at).expect("invariant: a path carries what it reads");
    let mut keep: Vec<usize> = vec![];
    let mut taken: Vec<usize> = vec![];
    let note = |list: &mut Vec<usize>, c: usize| {
        if !list.contains(&c) {
            list.push(c);
        }
    };
    for at in wanted {
        if at.0 == look.input {
            note(&mut taken, at.1);
        } else if carried.contains(at) {
            note(&mut keep, place(at));
        }
    }
    for same in &look.also {
        note(&mut keep, place(&same.with));
        note(&mut taken, same.column);
    }
    let kept = |at: &At| keep.iter().position(|k| carried[*k] == *at);
    let of_taken = |c: usize| taken.iter().position(|t| *t == c).map(|p| keep.len() + p);
    let both = |at: &At| if at.0 == look.input { of_taken(at.1) } else { kept(at) };
    let also = |s: &Same| Some((kept(&s.with)?, of_taken(s.column)?, s.null_safe));
    Step {
        types: carried.iter().map(|at| types[at.0][at.1]).collect(),
        key: look.key.iter().map(|s| place(&s.with)).collect(),
        strict: look.key.iter().filter(|s| !s.null_safe).map(|s| place(&s.with)).collect(),
        before: look.input > start,
        also: look.also.iter().filter_map(also).collect(),
        output: wanted.iter().filter_map(both).collect(),
        keep,
        take: taken,
    }
}

impl Keeper for Render<'_> {
    fn counters(&mut self) -> Arc<Counters> {
        self.shared.register("join", self.scope.index(), Some(self.nodes.at))
    }

    fn entries(&mut self, state: Rc<RefCell<dyn ClosedTick>>) {
        self.keep(state);
    }
}
