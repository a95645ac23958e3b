//! Joins over arrangements that are made once, and delta joins.
//!
//! The changes of input i at a time see, of the inputs before it, what they are at that time, and of those after it, what
//! they were before. So of the changes that make a row of the result, one from each input, the last to come (of several at
//! one time, that of the last input) finds all the others, and none of these finds it: each row is made once.
//!
//! **Lent arrangements.** Where a named relation, or an index on it, is served by the columns of a key, joins look that arrangement
//! up instead of keeping another one. Its rows have the times at which they came to the relation, not those at which they come
//! to this flow, which is filled in slices. So a relation that is looked up like that is *resident*: what it held when the
//! flow began counts as older than every change, and only later changes come from it to the joins. Where all
//! inputs are resident the first one is streamed to the others. A binary join with such a side is a delta join of two inputs, the one
//! with an arrangement of its own first: rows that were restored may have the time of the first change, which the second sees as well.
//!
//! Invariants: an arrangement is a part of the flow's state that is numbered when it is first asked for; which are shared
//! within the flow follows from the plan alone ([`hw_plan::arranged`]). What is lent has a number too but is not saved: so numbers do
//! not depend on who lends. Where a start finds neither a lender nor a part, the arrangement is made of what the relation held.

use super::{HeldTrace, Relation, Render, unhold};
use crate::arrange::{Begin, arrange, progress};
use crate::closed::Counters;
use crate::exchange::exchange;
use crate::join::{Arrangement, HeldBy, Input, Keeper, On, Step, hash_join, look_up, merge_join};
use crate::layout::Layout;
use crate::state::Holder;
use crate::stateless;
use crate::types::{Pair, RowArranged, RowStream};
use hw_plan::FlowPlan;
use hw_plan::arranged::{ArrangedBy, identity, order_in, sides};
use hw_plan::flow::{LookUp, Same};
use hw_repr::{SqlType, Timestamp};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What was rendered for joins while a flow is built.
#[derive(Default)]
pub struct Arranged<'s> {
    made: HashMap<ArrangedBy, Arrangement<'s>>,
    /// Changes of inputs of delta joins, by identity.
    streams: HashMap<u64, RowStream<'s>>,
    /// Of named relations, those that come after what they held in the beginning.
    later: HashMap<u64, RowStream<'s>>,
    /// Changes of what is arranged, each on the owner of its key, by identity and key.
    placed: HashMap<(u64, Vec<usize>), RowStream<'s>>,
}

/// A column of an input.
type At = (usize, usize);

/// The inputs of look-ups.
struct Inputs<'a, 's> {
    plans: Vec<&'a FlowPlan>,
    of: Vec<u64>,
    types: Vec<Vec<SqlType>>,
    /// What they held in the beginning is there without having come.
    resident: Vec<bool>,
    /// Their changes.
    streams: Vec<RowStream<'s>>,
}

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
            if self.arranged.made.contains_key(&by[i]) || (i == 1 && by[0] == by[1]) {
                self.nodes.skip(plan);
            } else if self.is_served(plan) {
                self.nodes.skip(plan);
                errs.push(self.errors_of_named(plan));
            } else {
                let made = self.plan(plan);
                errs.push(made.errs);
                streams[i] = Some(made.oks);
            }
        }
        let [a, b] = streams;
        let a = self.arrangement(&by[0], a, left, "join");
        let b = self.arrangement(&by[1], b, right, "join");
        let work = self.counters();
        let oks = match a.is_resident() || b.is_resident() {
            true => self.look_up_each_other([left, right], [a, b], &by, (on, null_safe), &work),
            false => merge_join(a, b, work),
        };
        Pair { oks, errs: stateless::union(self.scope, errs) }
    }

    /// A binary join in which changes of each side look up the other.
    fn look_up_each_other(
        &mut self,
        sides: [&FlowPlan; 2],
        made: [Arrangement<'s>; 2],
        by: &[ArrangedBy; 2],
        (on, null_safe): (&[At], &[bool]),
        work: &Arc<Counters>,
    ) -> RowStream<'s> {
        let second_first = made[0].is_resident() && !made[1].is_resident();
        let order = if second_first { [1, 0] } else { [0, 1] };
        let place = |side: usize| usize::from(order[1] == side);
        let find = |input: usize| {
            let (side, other) = (order[input], order[1 - input]);
            let column = |k: &At, side: usize| if side == 0 { k.0 } else { k.1 };
            let safe = |i: usize| null_safe.get(i).copied().unwrap_or(false);
            let same = |(i, k): (usize, &At)| Same {
                column: column(k, side),
                with: (1 - input, column(k, other)),
                null_safe: safe(i),
            };
            vec![LookUp { input, key: on.iter().enumerate().map(same).collect(), also: vec![] }]
        };
        let paths = [find(1), find(0)];
        let widths = sides.map(|plan| plan.types().len());
        let output: Vec<At> = (0..2).flat_map(|side| (0..widths[side]).map(move |c| (side, c))).collect();
        let output: Vec<At> = output.into_iter().map(|(side, c)| (place(side), c)).collect();
        let resident: Vec<bool> = order.iter().map(|side| made[*side].is_resident()).collect();
        let mut streams = vec![];
        for (input, side) in order.into_iter().enumerate() {
            let stream = match resident[input] {
                true => self.changes_of_resident(sides[side], input == 0),
                // It was arranged of these.
                false => self.arranged.placed[&(by[side].of, by[side].key.clone())].clone(),
            };
            streams.push(stream);
        }
        let inputs = Inputs {
            plans: order.iter().map(|side| sides[*side]).collect(),
            of: order.iter().map(|side| by[*side].of).collect(),
            types: order.iter().map(|side| sides[*side].types()).collect(),
            resident,
            streams,
        };
        self.look_ups(&inputs, &paths, &output, work)
    }

    /// The arrangement of a collection, which is made of `stream` where there is none yet; of what a named relation holds
    /// where none is given.
    fn arrangement(
        &mut self,
        by: &ArrangedBy,
        stream: Option<RowStream<'s>>,
        plan: &FlowPlan,
        name: &'static str,
    ) -> Arrangement<'s> {
        if let Some(made) = self.arranged.made.get(by) {
            return made.clone();
        }
        let made = self.lent(by, plan).unwrap_or_else(|| self.arrange_own(by, stream, plan, name));
        self.arranged.made.insert(by.clone(), made.clone());
        made
    }

    fn arrange_own(
        &mut self,
        by: &ArrangedBy,
        stream: Option<RowStream<'s>>,
        plan: &FlowPlan,
        name: &'static str,
    ) -> Arrangement<'s> {
        let types = plan.types();
        let layout = Layout::keyed(&types, &by.key);
        let part = self.held.next_part();
        // It was lent when the state was saved, and is not any more.
        let missing = |r: &Arc<crate::state::RestoredFlow>| !r.arrangements.contains_key(&part) && self.is_served(plan);
        let anew = self.restored.clone().filter(missing).map(|r| Begin::AsOf(r.upper.saturating_sub(1)));
        let restored = self.restored_part(part).filter(|_| anew.is_none());
        let stream = match (anew, stream, plan) {
            (Some(begin), _, FlowPlan::Get { id, name, columns, .. }) => self.rows_of(*id, name, columns, begin),
            (_, Some(stream), _) => stream,
            _ => self.rows_of_named(plan),
        };
        let placed = if self.is_placed(plan, &layout) { stream } else { exchange(stream, &layout) };
        if anew.is_none() {
            self.arranged.placed.insert((by.of, by.key.clone()), placed.clone());
        }
        let arranged = arrange(placed, &layout, &by.strict, restored.as_ref(), true, "Arrange");
        let counters = self.shared.register(name, self.scope.index(), Some(self.nodes.at));
        let trace = unhold(arranged.trace.clone());
        self.held.arrangements.push(HeldTrace { part, counters: counters.clone(), trace, lag: 0 });
        let held = if anew.is_some() { HeldBy::FlowAnew } else { HeldBy::Flow };
        Arrangement { arranged, layout, types, counters, after: restored.map(|r| r.upper()), held }
    }

    /// The arrangement of another flow that holds the same.
    fn lent(&mut self, by: &ArrangedBy, plan: &FlowPlan) -> Option<Arrangement<'s>> {
        let (FlowPlan::Get { columns, name, .. }, lender) = (plan, *self.shared.lenders.get(by)?) else { return None };
        let Some(Relation::Served { oks, layout, .. }) = self.relations.get_mut(&lender) else { return None };
        let layout = layout.reading(columns);
        let (stream, token) = progress(self.scope, oks, name);
        let arranged = RowArranged { stream, trace: oks.clone() };
        self.tokens.push(token);
        self.held.lent += 1;
        let counters = Arc::new(Counters::default());
        Some(Arrangement { arranged, layout, types: plan.types(), counters, after: None, held: HeldBy::Relation })
    }

    /// True for a relation that another flow serves.
    fn is_served(&self, plan: &FlowPlan) -> bool {
        let FlowPlan::Get { id, .. } = plan else { return false };
        matches!(self.relations.get(id), Some(Relation::Served { .. }))
    }

    /// Rows of a named relation, read once for all joins.
    fn rows_of_named(&mut self, plan: &FlowPlan) -> RowStream<'s> {
        let FlowPlan::Get { id, name, columns, .. } = plan else {
            unreachable!("invariant: what is not a named relation was computed")
        };
        let of = identity(plan);
        if let Some(stream) = self.arranged.streams.get(&of) {
            return stream.clone();
        }
        let stream = self.rows_of(*id, name, columns, self.begin());
        self.arranged.streams.insert(of, stream.clone());
        stream
    }

    fn errors_of_named(&mut self, plan: &FlowPlan) -> RowStream<'s> {
        match plan {
            FlowPlan::Get { id, name, .. } => self.errors_of(*id, name),
            _ => self.no_errors(),
        }
    }

    /// Changes of a relation that is resident: with all that it held in the beginning where `whole`.
    fn changes_of_resident(&mut self, plan: &FlowPlan, whole: bool) -> RowStream<'s> {
        let FlowPlan::Get { id, name, columns, .. } = plan else { return self.rows_of_named(plan) };
        if whole || self.restored.is_some() {
            return self.rows_of_named(plan);
        }
        let of = identity(plan);
        if let Some(stream) = self.arranged.later.get(&of) {
            return stream.clone();
        }
        let stream = self.rows_of(*id, name, columns, Begin::Changes(self.resident_at() + 1));
        self.arranged.later.insert(of, stream.clone());
        stream
    }

    /// What resident relations hold then came before every change.
    fn resident_at(&self) -> Timestamp {
        self.restored.as_ref().map_or(self.as_of, |restored| restored.upper.saturating_sub(1))
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
    pub(super) fn delta_join(&mut self, plans: &[FlowPlan], paths: &[Vec<LookUp>], output: &[At]) -> Pair<'s> {
        let of: Vec<u64> = plans.iter().map(identity).collect();
        let (mut errs, mut computed) = (vec![], vec![]);
        for (plan, of) in plans.iter().zip(&of) {
            let made = match self.is_served(plan) {
                true => {
                    self.nodes.skip(plan);
                    errs.push(self.errors_of_named(plan));
                    None
                }
                false => Some(self.changes(*of, plan)),
            };
            computed.push(made.map(|made| {
                errs.push(made.errs);
                made.oks
            }));
        }
        let mut resident = vec![false; plans.len()];
        for step in paths.iter().flatten() {
            let by = ArrangedBy::looked_up(of[step.input], step);
            let made = self.arrangement(&by, computed[step.input].clone(), &plans[step.input], "delta join");
            for (resident, of) in resident.iter_mut().zip(&of).filter(|_| made.is_resident()) {
                *resident |= *of == by.of;
            }
        }
        // Where nothing comes from any in the beginning, all of the first does.
        let all = resident.iter().all(|r| *r);
        let mut streams = vec![];
        for (i, made) in computed.into_iter().enumerate() {
            streams.push(match made {
                Some(stream) => stream,
                None if resident[i] => self.changes_of_resident(&plans[i], all && i == 0),
                None => self.rows_of_named(&plans[i]),
            });
        }
        let work = self.shared.register("delta join", self.scope.index(), Some(self.nodes.at));
        let types = plans.iter().map(FlowPlan::types).collect();
        let inputs = Inputs { plans: plans.iter().collect(), of, types, resident, streams };
        let oks = self.look_ups(&inputs, paths, output, &work);
        Pair { oks, errs: stateless::union(self.scope, errs) }
    }

    /// What the last steps of all paths give is what the join gives. All that they look up is arranged.
    fn look_ups(
        &mut self,
        inputs: &Inputs<'_, 's>,
        paths: &[Vec<LookUp>],
        output: &[At],
        work: &Arc<Counters>,
    ) -> RowStream<'s> {
        let Inputs { of, types, .. } = inputs;
        let mut looked_up = HashMap::new();
        for step in paths.iter().flatten() {
            let by = ArrangedBy::looked_up(of[step.input], step);
            let made = self.arranged.made[&by].clone();
            // Look-ups tell the last tick from those before it, also after a restart.
            let held = self.held.arrangements.iter_mut().find(|h| Arc::ptr_eq(&h.counters, &made.counters));
            held.into_iter().for_each(|h| h.lag = 1);
            looked_up.insert(by, made);
        }
        let (mut made, mut counted) = (vec![], HashSet::new());
        for (i, path) in paths.iter().enumerate() {
            let first = |by: &&ArrangedBy| by.of == of[i];
            let first = looked_up.keys().filter(first).min_by_key(|by| &by.key).map(|by| &looked_up[by]);
            let mut counters = first.filter(|_| counted.insert(of[i])).map(|to| match to.held {
                HeldBy::Relation => work.clone(),
                _ => to.counters.clone(),
            });
            let path: Vec<(&Arrangement<'s>, LookUp)> = path
                .iter()
                .map(|look| {
                    let to = &looked_up[&ArrangedBy::looked_up(of[look.input], look)];
                    (to, in_order(look, to, inputs.plans[look.input]))
                })
                .collect();
            let looks: Vec<LookUp> = path.iter().map(|(_, look)| look.clone()).collect();
            let (stream, mut lies) = self.begin_path(inputs, i, &looks);
            let (mut stream, mut carried) = start(stream, i, &looks, output, types[i].len());
            for (number, (to, look)) in path.iter().enumerate() {
                let wanted = wanted(&looks[number + 1..], output);
                let resident = inputs.resident[look.input].then(|| self.resident_at());
                let step = Step { resident, ..prepare(look, i, &carried, &wanted, types) };
                let last = number + 1 == path.len();
                stream = look_up(stream, to, step, lies_by(&lies, look), counters.take(), (work.clone(), last));
                lies = Some(look.key.iter().map(|s| vec![s.with, (look.input, s.column)]).collect());
                carried = wanted.into_iter().filter(|at| carried.contains(at) || at.0 == look.input).collect();
            }
            made.push(stream);
        }
        stateless::union(self.scope, made)
    }

    /// The changes of an input, and by which columns they lie: by the key of the first step where they do so anyway.
    fn begin_path(&self, inputs: &Inputs<'_, 's>, i: usize, path: &[LookUp]) -> (RowStream<'s>, Option<Vec<Vec<At>>>) {
        let stream = inputs.streams[i].clone();
        let Some(first) = path.first() else { return (stream, None) };
        let lies = || Some(first.key.iter().map(|s| vec![s.with]).collect());
        let by: Vec<usize> = first.key.iter().map(|same| same.with.1).collect();
        if let (true, FlowPlan::Get { id, columns, .. }) = (inputs.resident[i], inputs.plans[i]) {
            // They come from where the relation is served.
            let Some(Relation::Served { layout, .. }) = self.relations.get(id) else { return (stream, None) };
            let order = order_in(&by, columns, &inputs.types[i], &layout.key);
            let same = layout.apart().is_none() && order.is_some_and(|order| order.into_iter().eq(0..by.len()));
            return (stream, same.then(lies).flatten());
        }
        match self.arranged.placed.get(&(inputs.of[i], by)) {
            Some(placed) => (placed.clone(), lies()),
            None => (stream, None),
        }
    }
}

/// A step with the columns of its key in the order in which the arrangement has them.
fn in_order(look: &LookUp, to: &Arrangement<'_>, plan: &FlowPlan) -> LookUp {
    let (HeldBy::Relation, FlowPlan::Get { columns, .. }) = (to.held, plan) else { return look.clone() };
    let key: Vec<usize> = look.key.iter().map(|same| same.column).collect();
    let order = order_in(&key, columns, &to.types, &to.layout.key).expect("invariant: it is lent for this key");
    LookUp { key: order.into_iter().map(|i| look.key[i]).collect(), ..look.clone() }
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
        resident: None,
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

    fn entries(&mut self, state: Holder, counters: Arc<Counters>) {
        self.keep(state, counters);
    }
}
