//! What a flow is to the outside: its specification, and what workers show of it through atomics.

use crate::closed::Counters;
use crate::correct::Correction;
use crate::state::RestoredFlow;
use arc_swap::ArcSwap;
use hw_plan::FlowPlan;
use hw_plan::arranged::ArrangedBy;
use hw_repr::chunk::PublishedShard;
use hw_repr::{GlobalId, PublishedRelation, RelationDesc, Timestamp};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A dataflow to install.
#[derive(Clone, Debug)]
pub struct FlowSpec {
    /// Its id: that of the relation it maintains.
    pub id: GlobalId,
    /// For people.
    pub name: String,
    /// What it maintains.
    pub kind: FlowKind,
    /// Source relations that are inputs of this dataflow itself, with all their columns.
    pub inputs: Vec<(GlobalId, RelationDesc)>,
    /// The first time at which its contents are right.
    pub as_of: Timestamp,
    /// Of the plan and its inputs: state restored under another one is not taken.
    pub fingerprint: u64,
    /// What it begins with: as of then, whatever `as_of` says.
    pub restored: Option<Arc<RestoredFlow>>,
    /// What was shown of it, where it is computed anew instead.
    pub corrects: Option<Correction>,
    /// Rows that fail are left out: what reads or follows it does not hear of them.
    pub dead_letter: bool,
}

impl FlowSpec {
    /// The first time at which it can be read, and the first at which changes may come.
    pub(crate) fn bounds(&self) -> (Timestamp, Timestamp) {
        match (&self.restored, &self.corrects) {
            (Some(r), _) => (r.since(), r.upper),
            (None, Some(c)) => (c.shown.since(), self.as_of),
            (None, None) => (self.as_of, self.as_of),
        }
    }
}

/// The kinds of dataflow.
#[derive(Clone, Debug)]
pub enum FlowKind {
    /// A table: what is sent to it. Its one input has its own id.
    Table {
        /// Columns.
        desc: RelationDesc,
        /// Key of the arrangement; empty: all columns.
        key: Vec<usize>,
    },
    /// A materialized view.
    View {
        /// What it computes.
        plan: FlowPlan,
        /// Columns.
        desc: RelationDesc,
        /// Key of the arrangement; empty: all columns.
        key: Vec<usize>,
    },
    /// An arrangement of another flow by other columns.
    Index {
        /// Of which flow.
        on: GlobalId,
        /// The key.
        columns: Vec<usize>,
    },
}

/// What an operator holds.
#[derive(Clone, Debug)]
pub struct OperatorStats {
    /// Of which flow.
    pub flow: GlobalId,
    /// The flow's name.
    pub flow_name: String,
    /// Kind of operator.
    pub operator: &'static str,
    /// Which worker.
    pub worker: usize,
    /// Rows, keys or groups.
    pub rows: u64,
    /// Heap bytes.
    pub bytes: u64,
    /// Changes that came in since the start.
    pub taken_in: u64,
    /// Changes that went out since the start.
    pub given_out: u64,
    /// Microseconds of its own work since the start.
    pub busy_us: u64,
    /// Which node of the flow's plan it belongs to, counted from 0 as EXPLAIN FLOW shows them; none: it serves the flow.
    pub node: Option<u32>,
}

/// Counters of an operator on a worker.
pub struct OperatorCounters {
    /// Kind.
    pub name: &'static str,
    /// Worker.
    pub worker: usize,
    /// See [`OperatorStats::node`].
    pub node: Option<u32>,
    /// Its figures.
    pub counters: Arc<Counters>,
}

/// What one worker shows of a flow. Invariant: shards are stored before the frontier that covers them.
pub struct WorkerShown {
    frontier: AtomicU64,
    oks: ArcSwap<PublishedShard>,
    errs: ArcSwap<PublishedShard>,
}

/// By what joins look up: the flow that serves it.
pub type Lenders = HashMap<ArrangedBy, GlobalId>;

/// A flow as every thread sees it.
pub struct FlowShared {
    /// Its id.
    id: AtomicU32,
    /// Its name.
    pub name: String,
    /// Key of the served arrangement.
    pub key: Vec<usize>,
    /// Columns in the order of their bytes.
    pub order: Vec<usize>,
    /// See [`FlowSpec::dead_letter`].
    pub dead_letter: bool,
    /// Flows whose served arrangements its joins read, by the ids that they have when it is installed.
    pub lenders: Lenders,
    shown: Vec<WorkerShown>,
    /// Figures of its operators.
    pub operators: Mutex<Vec<OperatorCounters>>,
}

impl FlowShared {
    /// A flow that has shown nothing yet.
    pub fn new(spec: &FlowSpec, key: Vec<usize>, order: Vec<usize>, lenders: Lenders, workers: usize) -> FlowShared {
        let shown = || WorkerShown {
            frontier: AtomicU64::new(0),
            oks: ArcSwap::from_pointee(PublishedShard::default()),
            errs: ArcSwap::from_pointee(PublishedShard::default()),
        };
        FlowShared {
            id: AtomicU32::new(spec.id.0),
            name: spec.name.clone(),
            key,
            order,
            dead_letter: spec.dead_letter,
            lenders,
            shown: (0..workers).map(|_| shown()).collect(),
            operators: Mutex::default(),
        }
    }
    /// It goes by another id from now on.
    pub fn rename(&self, id: GlobalId) {
        self.id.store(id.0, Ordering::Relaxed);
    }
    /// Shows a worker's shards, then the frontier.
    pub fn show(&self, worker: usize, oks: PublishedShard, errs: PublishedShard, frontier: Timestamp) {
        let shown = &self.shown[worker];
        shown.oks.store(Arc::new(oks));
        shown.errs.store(Arc::new(errs));
        shown.frontier.store(frontier, Ordering::Release);
    }
    /// Changes below this time are shown by all workers.
    pub fn frontier(&self) -> Timestamp {
        self.shown.iter().map(|s| s.frontier.load(Ordering::Acquire)).min().unwrap_or(0)
    }
    /// The newest contents.
    pub fn published(&self) -> PublishedRelation {
        let shards = self.shown.iter().map(|s| s.oks.load_full()).collect();
        PublishedRelation { shards, key: self.key.clone(), order: self.order.clone() }
    }
    /// The newest errors: four text columns.
    pub fn published_errors(&self) -> PublishedRelation {
        let shards = self.shown.iter().map(|s| s.errs.load_full()).collect();
        PublishedRelation { shards, key: vec![0, 1, 2, 3], order: vec![0, 1, 2, 3] }
    }
    /// Figures per operator and worker.
    pub fn stats(&self) -> Vec<OperatorStats> {
        let operators = self.operators.lock().unwrap_or_else(|e| e.into_inner());
        let stats = |o: &OperatorCounters| OperatorStats {
            flow: GlobalId(self.id.load(Ordering::Relaxed)),
            flow_name: self.name.clone(),
            operator: o.name,
            worker: o.worker,
            rows: o.counters.rows.load(Ordering::Relaxed).max(0) as u64,
            bytes: o.counters.bytes.load(Ordering::Relaxed).max(0) as u64,
            taken_in: o.counters.taken_in.load(Ordering::Relaxed),
            given_out: o.counters.given_out.load(Ordering::Relaxed),
            busy_us: o.counters.busy.load(Ordering::Relaxed) / 1000,
            node: o.node,
        };
        operators.iter().map(stats).collect()
    }
}
