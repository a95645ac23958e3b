//! The loop of one worker: drain commands, step, show what moved.

use crate::arrange::{Followed, ImportToken, follow, trace_size};
use crate::closed::Counters;
use crate::engine::EngineConfig;
use crate::flow::{FlowKind, FlowShared, FlowSpec};
use crate::layout::Layout;
use crate::render::{Arranged, Held, Relation, Render, account_traces};
use crate::state::{Request, Taking, Thawing};
use crate::subscribe::{Subscription, SubscriptionId};
use crate::types::{Pair, RowTrace, Rows};
use crossbeam_channel::{Receiver, TryRecvError};
use differential_dataflow::trace::TraceReader;
use hw_repr::chunk::PublishedShard;
use hw_repr::{GlobalId, Timestamp, UpdateBatch};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use timely::container::NoopBuilder;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::core::input::Handle;
use timely::dataflow::operators::core::{Input, Probe};
use timely::progress::Antichain;
use timely::worker::Worker;

/// How long a worker sleeps without being woken.
const PARK: Duration = Duration::from_millis(50);
/// The same while a subscriber has no room.
const PARK_BACKLOG: Duration = Duration::from_millis(2);

/// What workers are told, all in the same order.
#[derive(Clone)]
pub enum Command {
    /// Render a flow.
    Install(Arc<FlowSpec>, Arc<FlowShared>, Layout),
    /// This worker's part of changes.
    Send(GlobalId, GlobalId, Vec<UpdateBatch>),
    /// No change of these flows below this time will follow.
    Advance(Arc<[GlobalId]>, Timestamp),
    /// Forget a flow.
    Drop(GlobalId),
    /// A flow is dropped but has users: it keeps what they read.
    Retire(GlobalId),
    /// Flows take other ids, all at once.
    Rename(Arc<[(GlobalId, GlobalId)]>),
    /// Times below may be joined.
    AllowCompaction(GlobalId, Timestamp),
    /// Follow a flow.
    Subscribe(SubscriptionId, GlobalId, Arc<Subscription>),
    /// Stop following.
    Unsubscribe(SubscriptionId),
    /// Merge arrangements.
    Compact,
    /// Take the state of flows for a checkpoint.
    TakeState(Request),
    /// End.
    Shutdown,
}

/// What a worker shares with the engine.
pub struct Link {
    /// Its commands.
    pub commands: Receiver<Command>,
    /// Called when anything shown moved.
    pub wake: Arc<dyn Fn() + Send + Sync>,
    /// How the engine was started.
    pub config: EngineConfig,
}

struct Flow {
    inputs: HashMap<GlobalId, Handle<u64, NoopBuilder<Rows>>>,
    _tokens: Vec<ImportToken>,
    oks: RowTrace,
    errs: RowTrace,
    probe: ProbeHandle<u64>,
    held: Held,
    served: Arc<Counters>,
    layout: Layout,
    shared: Arc<FlowShared>,
    since: Timestamp,
    shown: Option<Timestamp>,
    /// It was dropped: only the flows that read it see what it holds.
    retired: bool,
}

/// One worker.
pub struct State {
    flows: BTreeMap<GlobalId, Flow>,
    subscriptions: HashMap<SubscriptionId, (Arc<Subscription>, Vec<ImportToken>)>,
    link: Link,
    /// Show everything again, moved or not.
    again: bool,
    /// State that is being taken, the oldest request first.
    taking: VecDeque<Taking>,
    thawing: Thawing,
}

/// Runs until told to end.
pub fn run(worker: &mut Worker, link: Link) {
    let mut state = State {
        flows: BTreeMap::new(),
        subscriptions: HashMap::new(),
        link,
        again: false,
        taking: VecDeque::new(),
        thawing: Thawing::default(),
    };
    loop {
        let mut idle = true;
        loop {
            match state.link.commands.try_recv() {
                Ok(Command::Shutdown) | Err(TryRecvError::Disconnected) => return,
                Ok(command) => {
                    idle = false;
                    state.apply(worker, command);
                }
                Err(TryRecvError::Empty) => break,
            }
        }
        let backlog = state.subscriptions.values().filter(|s| s.0.flush()).count() > 0;
        let at_once = state.take_state() | state.thawing.go_on(idle);
        worker.step_or_park(Some(match backlog {
            _ if at_once => Duration::ZERO,
            true => PARK_BACKLOG,
            false => PARK,
        }));
        state.show(worker.index());
    }
}

impl State {
    fn apply(&mut self, worker: &mut Worker, command: Command) {
        match command {
            Command::Install(spec, shared, layout) => {
                let flow = self.install(worker, &spec, shared, layout);
                if spec.restored.is_some() {
                    flow.held.operators.iter().for_each(|(_, operator)| self.thawing.add(operator));
                }
                self.flows.insert(spec.id, flow);
            }
            Command::Send(flow, input, batches) => {
                if let Some(handle) = self.flows.get_mut(&flow).and_then(|f| f.inputs.get_mut(&input)) {
                    handle.send_batch(&mut Rows(batches));
                }
            }
            Command::Advance(flows, to) => {
                for id in flows.iter() {
                    for handle in self.flows.get_mut(id).into_iter().flat_map(|f| f.inputs.values_mut()) {
                        if *handle.time() < to {
                            handle.advance_to(to);
                        }
                    }
                }
            }
            Command::Drop(flow) => drop(self.flows.remove(&flow)),
            Command::Retire(flow) => {
                if let Some(flow) = self.flows.get_mut(&flow) {
                    flow.retired = true;
                    flow.shown = None;
                    for trace in [&mut flow.oks, &mut flow.errs] {
                        trace.set_logical_compaction(Antichain::new().borrow());
                    }
                }
            }
            Command::Rename(moves) => {
                let moved: Vec<(GlobalId, Option<Flow>)> =
                    moves.iter().map(|(from, to)| (*to, self.flows.remove(from))).collect();
                for (to, flow) in moved.into_iter().filter_map(|(to, flow)| Some((to, flow?))) {
                    flow.shared.rename(to);
                    self.flows.insert(to, flow);
                }
            }
            Command::AllowCompaction(flow, since) => {
                if let Some(flow) = self.flows.get_mut(&flow).filter(|f| f.since < since) {
                    flow.since = since;
                    let since = Antichain::from_elem(since);
                    flow.oks.set_logical_compaction(since.borrow());
                    flow.errs.set_logical_compaction(since.borrow());
                }
            }
            Command::Subscribe(id, flow, subscription) => self.subscribe(worker, id, flow, subscription),
            Command::Unsubscribe(id) => drop(self.subscriptions.remove(&id)),
            Command::Compact => {
                crate::spine::want_compaction();
                self.again = true;
            }
            Command::TakeState(request) => self.begin_taking(worker.index(), &request),
            Command::Shutdown => {}
        }
    }

    /// Everything that was handed over before the request has passed.
    fn begin_taking(&mut self, worker: usize, request: &Request) {
        let mut taking = Taking::new(worker, request.to.clone());
        for (id, all) in request.flows.iter() {
            let Some(flow) = self.flows.get(id) else { continue };
            let upper = flow.probe.with_frontier(|f| f.first().copied().unwrap_or(Timestamp::MAX));
            for held in &flow.held.arrangements {
                taking.arrangement(*id, held.part, shard(&held.trace, upper.saturating_sub(held.lag), upper));
            }
            for (part, operator) in &flow.held.operators {
                taking.entries(*id, *part, &operator.state, *all);
            }
        }
        self.taking.push_back(taking);
    }

    /// Takes some of what is wanted. True where there is more.
    fn take_state(&mut self) -> bool {
        if let Some(taking) = self.taking.pop_front()
            && let Some(more) = taking.go_on()
        {
            self.taking.push_front(more);
        }
        !self.taking.is_empty()
    }

    fn install(&mut self, worker: &mut Worker, spec: &FlowSpec, shared: Arc<FlowShared>, layout: Layout) -> Flow {
        let name = format!("{} {}", spec.id, spec.name);
        let flows = &mut self.flows;
        let EngineConfig { discard_views, assume_retractions, .. } = self.link.config;
        let (since, upper) = spec.bounds();
        worker.dataflow_named::<u64, _, _>(&name, |scope| {
            let mut render = Render {
                scope,
                relations: HashMap::new(),
                as_of: spec.as_of,
                failing: HashSet::new(),
                assume_retractions,
                tokens: vec![],
                restored: spec.restored.clone(),
                corrects: spec.corrects.clone(),
                held: Held::default(),
                shared,
                bound: HashMap::new(),
                nodes: Default::default(),
                arranged: Arranged::default(),
            };
            let mut inputs = HashMap::new();
            let own = matches!(spec.kind, FlowKind::Table { .. }).then_some(spec.id);
            for id in spec.inputs.iter().map(|i| i.0).chain(own) {
                let (mut handle, stream) = scope.new_input_with_builder::<NoopBuilder<Rows>>();
                handle.advance_to(upper);
                inputs.insert(id, handle);
                render.relations.insert(id, Relation::Input(stream));
            }
            for (id, flow) in flows.iter() {
                let errs = (!flow.shared.dead_letter).then(|| flow.errs.clone());
                let served = Relation::Served { oks: flow.oks.clone(), errs, layout: flow.layout.clone() };
                render.relations.entry(*id).or_insert(served);
            }
            let pair = rows_of(&mut render, spec, &layout, discard_views);
            let placed = matches!(&spec.kind, FlowKind::View { plan, .. } if render.is_placed(plan, &layout));
            let [oks, errs] = render.serve(pair, &layout, placed);
            let probe = ProbeHandle::new();
            oks.stream.probe_with(&probe);
            errs.stream.probe_with(&probe);
            let mut flow = Flow {
                inputs,
                _tokens: render.tokens,
                oks: oks.trace,
                errs: errs.trace,
                probe,
                held: render.held,
                served: render.shared.register("serve", scope.index(), None),
                layout,
                shared: render.shared,
                since,
                shown: None,
                retired: false,
            };
            for trace in [&mut flow.oks, &mut flow.errs] {
                trace.set_logical_compaction(Antichain::from_elem(since).borrow());
                trace.set_physical_compaction(Antichain::new().borrow());
            }
            flow
        })
    }

    fn subscribe(&mut self, worker: &mut Worker, id: SubscriptionId, flow: GlobalId, subscription: Arc<Subscription>) {
        let Some(flow) = self.flows.get_mut(&flow) else { return };
        let index = worker.index();
        let (mut oks, mut errs) = (flow.oks.clone(), flow.errs.clone());
        let as_of = subscription.as_of();
        let tokens = worker.dataflow_named::<u64, _, _>("Subscribe", |scope| {
            let each = |errors: bool| {
                let subscription = subscription.clone();
                move |seen: Followed<'_>| match seen {
                    Followed::Batch(batch) => subscription.add(&batch.chunks, errors),
                    Followed::Upper(upper) => subscription.pass(index, errors, upper),
                }
            };
            let rows = follow(scope, &mut oks, as_of, "Follow", each(false));
            let errors = subscription.fails.then(|| follow(scope, &mut errs, as_of, "FollowErrors", each(true)));
            errors.into_iter().chain([rows]).collect()
        });
        self.subscriptions.insert(id, (subscription, tokens));
    }

    /// Shows every flow whose frontier moved.
    fn show(&mut self, worker: usize) {
        let mut moved = false;
        let again = std::mem::take(&mut self.again);
        for flow in self.flows.values_mut() {
            let frontier = flow.probe.with_frontier(|f| f.first().copied().unwrap_or(Timestamp::MAX));
            if flow.shown == Some(frontier) && !again {
                continue;
            }
            moved = true;
            flow.shown = Some(frontier);
            let (rows, bytes) = trace_size(&flow.oks);
            flow.served.set(rows, bytes);
            account_traces(&flow.held.arrangements);
            let [oks, errs] = match flow.retired {
                true => Default::default(),
                false => [&flow.oks, &flow.errs].map(|trace| shard(trace, flow.since, frontier)),
            };
            flow.shared.show(worker, oks, errs, frontier);
        }
        if moved {
            (self.link.wake)();
        }
    }
}

/// What a flow keeps, before it is arranged as it is served.
fn rows_of<'s>(render: &mut Render<'s>, spec: &FlowSpec, layout: &Layout, discard_views: bool) -> Pair<'s> {
    match &spec.kind {
        FlowKind::Table { desc, .. } => get_all(render, spec.id, desc.arity()),
        FlowKind::View { plan, .. } if discard_views => {
            let pair = render.plan(plan);
            Pair { oks: crate::stateless::discard(pair.oks), errs: pair.errs }
        }
        FlowKind::View { plan, .. } => render.plan(plan),
        // A key may name a column twice.
        FlowKind::Index { on, .. } => get_all(render, *on, layout.order().iter().max().map_or(0, |last| last + 1)),
    }
}

fn get_all<'s>(render: &mut Render<'s>, id: GlobalId, arity: usize) -> Pair<'s> {
    let columns: Vec<usize> = (0..arity).collect();
    let desc = hw_repr::RelationDesc::default();
    render.plan(&hw_plan::FlowPlan::Get { id, name: id.to_string(), desc, columns })
}

fn shard(trace: &RowTrace, since: Timestamp, upper: Timestamp) -> PublishedShard {
    let mut runs = vec![];
    trace.map_batches(|batch| {
        if !batch.chunks.is_empty() {
            runs.push(batch.chunks.iter().map(|c| c.published()).collect());
        }
    });
    PublishedShard { since, upper, runs }
}
