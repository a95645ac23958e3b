//! FlowPlan to operators.

mod arranged;

use crate::arrange::{Begin, ImportToken, arrange, import, trace_size};
use crate::closed::{ClosedTick, Counters, closed_ticks};
use crate::correct::{Correction, correct};
use crate::errors::{aggregate_texts, column_names, error_layout};
use crate::exchange::{Dealt, deal, owner};
use crate::flow::{FlowShared, OperatorCounters};
use crate::layout::Layout;
use crate::reduce::Reduce;
use crate::restore::Restored;
use crate::sets;
use crate::state::{Counted, Holder, RestoredFlow, SERVED, SERVED_ERRORS};
use crate::stateless;
use crate::types::{Pair, RowStream, RowTrace};
pub use arranged::Arranged;
use hw_plan::arranged::{hash, identity};
use hw_plan::flow::LookUp;
use hw_plan::placed::placed_by;
use hw_plan::{Aggregate, FlowPlan};
use hw_repr::{GlobalId, SqlError, SqlType, Timestamp};
use hw_scalar::Mfp;
use hw_scalar::aggregate::Evaluator;
use hw_scalar::sets::FlatMap;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use timely::dataflow::{Scope, Stream};

/// Where a [`FlowPlan::Get`] finds its relation.
#[expect(clippy::large_enum_variant, reason = "one a relation while a dataflow is built")]
pub enum Relation<'s> {
    /// An input of this dataflow.
    Input(RowStream<'s>),
    /// The served arrangement of another flow: rows and errors.
    Served {
        /// Rows.
        oks: RowTrace,
        /// Errors; none where they stay with it.
        errs: Option<RowTrace>,
        /// Of the rows.
        layout: Layout,
    },
}

/// What rendering needs, and what it leaves behind.
pub struct Render<'s> {
    /// The dataflow.
    pub scope: Scope<'s, u64>,
    /// Relations by id.
    pub relations: HashMap<GlobalId, Relation<'s>>,
    /// Contents at this time are the first to be seen.
    pub as_of: Timestamp,
    /// See [`crate::EngineConfig::assume_retractions`].
    pub assume_retractions: bool,
    /// Hashes of what brings errors and was rendered: a plan that has it twice has its errors once.
    pub failing: HashSet<u64>,
    /// Imports to drop with the flow.
    pub tokens: Vec<ImportToken>,
    /// What the flow begins with, where that was restored.
    pub restored: Option<Arc<RestoredFlow>>,
    /// What was shown of it, where it is computed anew.
    pub corrects: Option<Correction>,
    /// State inside the flow.
    pub held: Held,
    /// The flow.
    pub shared: Arc<FlowShared>,
    /// Rows of what [`FlowPlan::Let`] has bound.
    pub bound: HashMap<u32, RowStream<'s>>,
    /// What joins share.
    pub arranged: Arranged<'s>,
    /// Where in the plan it is.
    pub nodes: Nodes,
}

/// The nodes of a plan by number, from 0: each before its inputs.
#[derive(Clone, Copy, Default)]
pub struct Nodes {
    /// The one whose operators are being made.
    at: u32,
    /// The number of the next.
    next: u32,
}

impl Nodes {
    /// A plan is not rendered: what it gives is there already.
    fn skip(&mut self, plan: &FlowPlan) {
        let mut todo = vec![plan];
        while let Some(node) = todo.pop() {
            self.next += 1;
            todo.extend(node.inputs());
        }
    }
}

/// The state inside a flow, on one worker.
#[derive(Default)]
pub struct Held {
    /// Arrangements.
    pub arrangements: Vec<HeldTrace>,
    /// Operators with state of their own, with their parts.
    pub operators: Vec<(u32, Counted)>,
    /// Arrangements that other flows hold for this one. They have numbers too: a part has the same one whoever holds the
    /// others.
    pub lent: u32,
}

/// An arrangement inside a flow.
pub struct HeldTrace {
    /// Its number among the parts.
    pub part: u32,
    /// Its counters.
    pub counters: Arc<Counters>,
    /// What it holds, held back by nobody here.
    pub trace: RowTrace,
    /// Its readers tell apart the times from so many before the first that is not complete.
    pub lag: Timestamp,
}

impl Held {
    /// The part that comes next: after the served rows and errors.
    fn next_part(&self) -> u32 {
        SERVED_ERRORS + 1 + self.lent + (self.arrangements.len() + self.operators.len()) as u32
    }
}

/// Refuses what [`Render`] cannot maintain.
pub fn validate(plan: &FlowPlan) -> Result<(), SqlError> {
    validate_node(plan, &mut vec![])
}

/// `bound` are the ids of enclosing [`FlowPlan::Let`]s.
fn validate_node(plan: &FlowPlan, bound: &mut Vec<u32>) -> Result<(), SqlError> {
    let arity = |p: &FlowPlan| p.types().len();
    let inside = |i: usize, n: usize| {
        if i < n { Ok(()) } else { Err(SqlError::internal("the plan names a column that its input does not have")) }
    };
    match plan {
        FlowPlan::Get { .. } => {}
        FlowPlan::Constant { rows, desc } => {
            stateless::constant_batch(rows, &desc.types(), 0)?;
        }
        FlowPlan::Mfp { input, filter, project, .. } => {
            Mfp::new(filter, project, &input.types())?;
        }
        FlowPlan::Join { left, right, on, .. } => {
            let (a, b) = (left.types(), right.types());
            for (l, r) in on {
                inside(*l, a.len())?;
                inside(*r, b.len())?;
                if a[*l].arrow() != b[*r].arrow() {
                    return Err(SqlError::internal(format!("a join of {} with {}", a[*l], b[*r])));
                }
            }
        }
        FlowPlan::DeltaJoin { inputs, paths, output, .. } => validate_paths(inputs, paths, output)?,
        FlowPlan::Reduce { input, group, aggregates, .. } => {
            let types = input.types();
            group.iter().try_for_each(|g| inside(*g, types.len()))?;
            aggregates.iter().try_for_each(|a| Evaluator::new(a, &types, false).map(drop))?;
        }
        FlowPlan::TopK { input, group, order, .. } => {
            let width = arity(input);
            group.iter().chain(order.iter().map(|k| &k.column)).try_for_each(|c| inside(*c, width))?;
        }
        FlowPlan::Distinct { .. } | FlowPlan::Negate { .. } => {}
        FlowPlan::Let { id, value, body } => {
            hw_plan::stack::deep(|| validate_node(value, bound))?;
            bound.push(*id);
            let body = hw_plan::stack::deep(|| validate_node(body, bound));
            bound.pop();
            return body;
        }
        FlowPlan::Shared { id, .. } if bound.contains(id) => {}
        FlowPlan::Shared { .. } => return Err(SqlError::internal("the plan shares what is not bound")),
        FlowPlan::FlatMap { input, keep, calls, outer, .. } => {
            FlatMap::new(keep, calls, *outer, &input.types())?;
        }
        FlowPlan::Union { inputs } => {
            let first = inputs.first().map(FlowPlan::types).ok_or_else(|| SqlError::internal("a union of nothing"))?;
            let same = |p: &FlowPlan| {
                arity(p) == first.len() && p.types().iter().zip(&first).all(|(a, b)| a.arrow() == b.arrow())
            };
            if !inputs.iter().all(same) {
                return Err(SqlError::internal("a union of different types"));
            }
        }
    }
    plan.inputs().into_iter().try_for_each(|input| hw_plan::stack::deep(|| validate_node(input, bound)))
}

/// Each path of a delta join looks up every other input once, by columns of equal types.
fn validate_paths(inputs: &[FlowPlan], paths: &[Vec<LookUp>], output: &[(usize, usize)]) -> Result<(), SqlError> {
    let wrong = || SqlError::internal("the paths of a delta join do not fit its inputs");
    let types: Vec<Vec<SqlType>> = inputs.iter().map(FlowPlan::types).collect();
    let ty = |at: &(usize, usize)| types.get(at.0).and_then(|t| t.get(at.1)).copied().ok_or_else(wrong);
    output.iter().try_for_each(|at| ty(at).map(drop))?;
    if paths.len() != inputs.len() {
        return Err(wrong());
    }
    for (start, path) in paths.iter().enumerate() {
        let mut bound = vec![start];
        for step in path {
            for same in step.key.iter().chain(&step.also) {
                if ty(&same.with)?.arrow() != ty(&(step.input, same.column))?.arrow() || !bound.contains(&same.with.0) {
                    return Err(wrong());
                }
            }
            if step.key.is_empty() || bound.contains(&step.input) {
                return Err(wrong());
            }
            bound.push(step.input);
        }
        if bound.len() != inputs.len() {
            return Err(wrong());
        }
    }
    Ok(())
}

impl<'s> Render<'s> {
    /// The operators of a plan that passed [`validate`].
    pub fn plan(&mut self, plan: &FlowPlan) -> Pair<'s> {
        let outer = std::mem::replace(&mut self.nodes.at, self.nodes.next);
        self.nodes.next += 1;
        let made = hw_plan::stack::deep(|| self.node(plan));
        self.nodes.at = outer;
        made
    }

    fn node(&mut self, plan: &FlowPlan) -> Pair<'s> {
        match plan {
            FlowPlan::Get { id, name, columns, .. } => self.get(*id, name, columns),
            FlowPlan::Constant { rows, desc } => {
                let batch = stateless::constant_batch(rows, &desc.types(), self.as_of).expect("invariant: validated");
                // What was restored has these rows already.
                let batch = self.restored.is_none().then_some(batch);
                Pair { oks: stateless::constant(self.scope, batch), errs: self.no_errors() }
            }
            FlowPlan::Mfp { input, filter, project, .. } => {
                let inner = self.plan(input);
                let mfp = Mfp::new(filter, project, &input.types()).expect("invariant: validated");
                let total = mfp.is_total();
                let made = stateless::mfp(inner.oks, mfp, stateless::Naming::new(filter, project, input));
                let errs = if total { made.errs } else { self.once(plan, made.errs) };
                Pair { oks: made.oks, errs: stateless::union(self.scope, vec![inner.errs, errs]) }
            }
            FlowPlan::Join { left, right, on, null_safe } => self.join(left, right, on, null_safe),
            FlowPlan::DeltaJoin { inputs, paths, output, .. } => self.delta_join(inputs, paths, output),
            FlowPlan::Reduce { input, group, aggregates, .. } => self.reduce(plan, input, group, aggregates),
            FlowPlan::Distinct { input } => {
                let all: Vec<usize> = (0..input.types().len()).collect();
                self.reduce(plan, input, &all, &[])
            }
            FlowPlan::TopK { input, group, order, numbers, skip, limit, .. } => {
                let types = input.types();
                let kept = Aggregate::top_rows(types.len(), order, *skip, *limit);
                let made = self.reduce(plan, input, group, &[kept]);
                Pair { oks: stateless::top_rows(made.oks, &types, numbers), errs: made.errs }
            }
            FlowPlan::Union { inputs } => {
                let (oks, errs) = inputs.iter().map(|p| self.plan(p)).map(|p| (p.oks, p.errs)).unzip();
                Pair { oks: stateless::union(self.scope, oks), errs: stateless::union(self.scope, errs) }
            }
            FlowPlan::Negate { input } => {
                let inner = self.plan(input);
                Pair { oks: stateless::negate(inner.oks), errs: inner.errs }
            }
            FlowPlan::Let { id, value, body } => {
                let value = self.plan(value);
                let outer = self.bound.insert(*id, value.oks);
                let mut made = self.plan(body);
                // The errors of what is shared come once.
                made.errs = stateless::union(self.scope, vec![value.errs, made.errs]);
                match outer {
                    Some(outer) => self.bound.insert(*id, outer),
                    None => self.bound.remove(id),
                };
                made
            }
            FlowPlan::Shared { id, .. } => {
                let oks = self.bound.get(id).expect("invariant: validated").clone();
                Pair { oks, errs: self.no_errors() }
            }
            FlowPlan::FlatMap { input, keep, calls, outer, .. } => {
                let inner = self.plan(input);
                let map = FlatMap::new(keep, calls, *outer, &input.types()).expect("invariant: validated");
                let made = sets::flat_map(inner.oks, map, sets::naming(calls, input));
                let errs = self.once(plan, made.errs);
                Pair { oks: made.oks, errs: stateless::union(self.scope, vec![inner.errs, errs]) }
            }
        }
    }

    fn get(&mut self, id: GlobalId, name: &str, columns: &[usize]) -> Pair<'s> {
        let oks = self.rows_of(id, name, columns, self.begin());
        Pair { oks, errs: self.errors_of(id, name) }
    }

    /// From where on the flow sees what it reads.
    fn begin(&self) -> Begin {
        self.restored.as_ref().map_or(Begin::AsOf(self.as_of), |restored| Begin::Changes(restored.upper))
    }

    /// Rows of a named relation.
    fn rows_of(&mut self, id: GlobalId, name: &str, columns: &[usize], begin: Begin) -> RowStream<'s> {
        let rows = match self.relations.get_mut(&id).expect("invariant: the engine checked that it is there") {
            Relation::Input(stream) => stream.clone(),
            Relation::Served { oks, layout, .. } => {
                let (rows, token) = import(self.scope, oks, layout, begin, name);
                self.tokens.push(token);
                rows
            }
        };
        stateless::project(rows, columns)
    }

    /// Errors of a named relation, where they have not been read before.
    fn errors_of(&mut self, id: GlobalId, name: &str) -> RowStream<'s> {
        let begin = self.begin();
        if let Some(Relation::Served { errs: Some(errs), .. }) = self.relations.get_mut(&id)
            && self.failing.insert(hash(id))
        {
            let (errors, token) = import(self.scope, errs, &error_layout(), begin, name);
            self.tokens.push(token);
            return errors;
        }
        self.no_errors()
    }

    /// The errors that a node of the plan brings, where another one has not brought the same.
    fn once(&mut self, plan: &FlowPlan, errs: RowStream<'s>) -> RowStream<'s> {
        if self.failing.insert(identity(plan)) { errs } else { self.no_errors() }
    }

    /// True where nothing is ever retracted from what a plan gives.
    fn append_only(&self, plan: &FlowPlan) -> bool {
        !self.assume_retractions && hw_plan::transform::describe(plan, &[]).append_only
    }

    /// True where each row that a plan gives is on its owner under `layout`.
    pub fn is_placed(&self, plan: &FlowPlan, layout: &Layout) -> bool {
        placed_by(plan, self.assume_retractions).is_some_and(|by| layout.is_placed_by(&by))
    }

    /// The grouping, or DISTINCT, that `plan` is.
    fn reduce(&mut self, plan: &FlowPlan, input: &FlowPlan, group: &[usize], aggregates: &[Aggregate]) -> Pair<'s> {
        let name = match plan {
            FlowPlan::Distinct { .. } => "distinct",
            FlowPlan::TopK { .. } => "top-k",
            _ => "reduce",
        };
        let types = input.types();
        let append_only = self.append_only(input);
        let inner = self.plan(input);
        let global = group.is_empty() && owner(&[], self.scope.peers()) == self.scope.index();
        let names = column_names(input);
        let keys = group.iter().map(|g| names[*g].clone()).collect();
        let state = Reduce::new(&types, group, aggregates, global, append_only);
        let state = state.named(keys, aggregate_texts(aggregates, &names));
        // Without group columns there is a row from the beginning, which a restored flow has already.
        let first = (global && self.restored.is_none()).then_some(self.as_of);
        let Pair { oks, errs } = inner;
        let layout = Reduce::layout(&types, group);
        let dealt = deal(oks, &layout, 0, self.is_placed(input, &layout));
        let made = self.stateful(dealt, name, first, state);
        let own = self.once(plan, made.errs);
        Pair { oks: made.oks, errs: stateless::union(self.scope, vec![errs, own]) }
    }

    fn stateful(
        &mut self,
        input: Stream<'s, u64, Dealt>,
        name: &'static str,
        first: Option<Timestamp>,
        state: impl ClosedTick,
    ) -> Pair<'s> {
        let counters = self.shared.register(name, self.scope.index(), Some(self.nodes.at));
        let state = Rc::new(RefCell::new(state));
        self.keep(state.clone(), counters.clone());
        stateless::split_pair(closed_ticks(input, name, first, state, counters))
    }

    /// The next part is the state of an operator, which begins with what was held of it.
    fn keep(&mut self, state: Holder, counters: Arc<Counters>) {
        let part = self.held.next_part();
        if let Some(flow) = &self.restored {
            let entries = flow.entries(part, self.scope.index(), self.scope.peers());
            // Their blocks had the right checksums.
            state.borrow_mut().restore(entries).expect("invariant: entries are what this operator gave");
        }
        self.held.operators.push((part, Counted { state, counters }));
    }

    fn no_errors(&self) -> RowStream<'s> {
        stateless::constant(self.scope, None)
    }

    /// What an arrangement inside the flow begins with.
    fn restored_part(&self, part: u32) -> Option<Restored> {
        Some(self.restored.as_ref()?.arrangement(part))
    }

    /// Arranges rows and errors for readers, after what was restored or shown. Where rows are `placed`, each is on the owner of
    /// its key.
    pub fn serve(&mut self, pair: Pair<'s>, layout: &Layout, placed: bool) -> [crate::types::RowArranged<'s>; 2] {
        let oks = self.serve_part(pair.oks, layout, SERVED, placed, "serve");
        [oks, self.serve_part(pair.errs, &error_layout(), SERVED_ERRORS, false, "serve errors")]
    }

    fn serve_part(
        &self,
        stream: RowStream<'s>,
        layout: &Layout,
        part: u32,
        placed: bool,
        name: &str,
    ) -> crate::types::RowArranged<'s> {
        let Some(Correction { shown, at }) = &self.corrects else {
            return arrange(stream, layout, &[], self.restored_part(part).as_ref(), placed, name);
        };
        let shown = shown.arrangement(part);
        arrange(correct(stream, &shown, layout, *at), layout, &[], Some(&shown), placed, name)
    }
}

/// A handle that holds back no compaction.
pub fn unhold(mut trace: RowTrace) -> RowTrace {
    use differential_dataflow::trace::TraceReader;
    trace.set_logical_compaction(timely::progress::Antichain::new().borrow());
    trace.set_physical_compaction(timely::progress::Antichain::new().borrow());
    trace
}

/// Writes the sizes of traces where any thread reads them.
pub fn account_traces(traces: &[HeldTrace]) {
    for HeldTrace { counters, trace, .. } in traces {
        let (rows, bytes) = trace_size(trace);
        counters.set(rows, bytes);
    }
}

impl FlowShared {
    /// Counters of a new operator on a worker.
    pub fn register(&self, name: &'static str, worker: usize, node: Option<u32>) -> Arc<Counters> {
        let counters = Arc::new(Counters::default());
        let entry = OperatorCounters { name, worker, node, counters: counters.clone() };
        self.operators.lock().unwrap_or_else(|e| e.into_inner()).push(entry);
        counters
    }
}
