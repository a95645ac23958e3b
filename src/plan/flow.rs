//! Dataflow plans: the contract between planner and dataflow.

use crate::{Aggregate, OrderKey, ScalarExpr, SetCall};
use hw_repr::{Datum, Diff, GlobalId, RelationDesc, SqlType};
use serde::{Deserialize, Serialize};

/// A maintained collection, by the operators that make it. The output columns of each node are stated there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FlowPlan {
    /// A named relation: source, table or materialized view. With `columns`, only these, in this order.
    Get {
        /// Which.
        id: GlobalId,
        /// Its name, for people.
        name: String,
        /// Its description after choosing columns.
        desc: RelationDesc,
        /// The relation's column positions that are read.
        columns: Vec<usize>,
    },
    /// Fixed rows.
    Constant {
        /// Rows and their multiplicities.
        rows: Vec<(Vec<Datum>, Diff)>,
        /// What they are.
        desc: RelationDesc,
    },
    /// Keeps the rows for which every predicate is true (in order; a later one sees only rows that passed), then
    /// computes the projection. The output has exactly the columns of `project`.
    Mfp {
        /// What it reads.
        input: Box<FlowPlan>,
        /// Conjuncts.
        filter: Vec<ScalarExpr>,
        /// One expression a column of the output.
        project: Vec<ScalarExpr>,
        /// Their names.
        names: Vec<String>,
    },
    /// Inner equi-join: columns of `left`, then of `right`. Rows with a NULL in a key match only where
    /// `null_safe` is true for that key.
    Join {
        /// Left input.
        left: Box<FlowPlan>,
        /// Right input.
        right: Box<FlowPlan>,
        /// Key columns, pairwise of the same type.
        on: Vec<(usize, usize)>,
        /// Per key: `IS NOT DISTINCT FROM` instead of `=`.
        null_safe: Vec<bool>,
    },
    /// Inner equi-join of three inputs and more, none of which are joined before the others: the changes of each input
    /// look up the others, one after the other. The meaning is that of the joins it stands for, which
    /// [`crate::delta::choose`] has replaced.
    DeltaJoin {
        /// At least three.
        inputs: Vec<FlowPlan>,
        /// By input: how its changes find the rows of all the others.
        paths: Vec<Vec<LookUp>>,
        /// What comes out: columns of inputs.
        output: Vec<(usize, usize)>,
        /// Its description.
        desc: RelationDesc,
        /// Arrangements that the joins it stands for would keep.
        instead_of: usize,
    },
    /// Groups by columns of the input: these, then one column per aggregate. Without a group there is always
    /// exactly one row.
    Reduce {
        /// What it reads.
        input: Box<FlowPlan>,
        /// Group columns.
        group: Vec<usize>,
        /// Aggregates.
        aggregates: Vec<Aggregate>,
        /// Names of all output columns.
        names: Vec<String>,
    },
    /// Each row with a positive count, once.
    Distinct {
        /// What it reads.
        input: Box<FlowPlan>,
    },
    /// The sum of its inputs (UNION ALL). Never empty; all inputs have the same types.
    Union {
        /// What it reads.
        inputs: Vec<FlowPlan>,
    },
    /// Every diff negated.
    Negate {
        /// What it reads.
        input: Box<FlowPlan>,
    },
    /// The rows of each group that their numbers in an order select: the columns of the input, then the numbers.
    TopK {
        /// What it reads.
        input: Box<FlowPlan>,
        /// Group columns.
        group: Vec<usize>,
        /// The order; rows that it does not tell apart are in the order of their columns.
        order: Vec<OrderKey>,
        /// Numbers that are shown, int8 each.
        numbers: Vec<RowNumber>,
        /// Rows whose row number is at most this are left out.
        skip: u64,
        /// Rows are left out whose number of this kind is greater than this.
        limit: Option<(RowNumber, u64)>,
        /// Names of all output columns.
        names: Vec<String>,
    },
    /// The body, in which `Shared` with this id stands for the value. The value is made once, however often it is read.
    Let {
        /// Unique within the plan.
        id: u32,
        /// What is shared. It may read what was bound further out.
        value: Box<FlowPlan>,
        /// What it gives.
        body: Box<FlowPlan>,
    },
    /// What the enclosing `Let` with this id has bound.
    Shared {
        /// Which.
        id: u32,
        /// Its description.
        desc: RelationDesc,
    },
    /// The rows that set-returning calls give for each row of the input: `keep` of its columns, then those of the calls.
    /// The calls go on side by side; one that has ended gives NULLs until all have.
    FlatMap {
        /// What it reads.
        input: Box<FlowPlan>,
        /// Columns of the input that are passed on.
        keep: Vec<usize>,
        /// At least one.
        calls: Vec<SetCall>,
        /// A row for which no call gives any comes once, with NULLs.
        outer: bool,
        /// Names of all output columns.
        names: Vec<String>,
    },
}

/// One step of a path of a [`FlowPlan::DeltaJoin`]: rows of several inputs find those of one more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LookUp {
    /// Which input is looked up.
    pub input: usize,
    /// By which of its columns: those of an arrangement, ascending. Never empty.
    pub key: Vec<Same>,
    /// What must be equal beside that.
    pub also: Vec<Same>,
}

/// A column of the input that is looked up, and one that the path has by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Same {
    /// Of the input that is looked up.
    pub column: usize,
    /// Input and column that the path has.
    pub with: (usize, usize),
    /// `IS NOT DISTINCT FROM` instead of `=`.
    pub null_safe: bool,
}

/// Numbers of rows within their group, from 1, as PostgreSQL's window functions of these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RowNumber {
    /// row_number()
    RowNumber,
    /// rank()
    Rank,
    /// dense_rank()
    DenseRank,
}

impl FlowPlan {
    /// Inputs, in order.
    pub fn inputs(&self) -> Vec<&FlowPlan> {
        match self {
            FlowPlan::Get { .. } | FlowPlan::Constant { .. } | FlowPlan::Shared { .. } => vec![],
            FlowPlan::Mfp { input, .. }
            | FlowPlan::Reduce { input, .. }
            | FlowPlan::Distinct { input }
            | FlowPlan::FlatMap { input, .. }
            | FlowPlan::TopK { input, .. }
            | FlowPlan::Negate { input } => vec![input],
            FlowPlan::Join { left, right, .. } => vec![left, right],
            FlowPlan::Let { value, body, .. } => vec![value, body],
            FlowPlan::Union { inputs } | FlowPlan::DeltaJoin { inputs, .. } => inputs.iter().collect(),
        }
    }

    /// Inputs, in order, to rewrite.
    pub fn inputs_mut(&mut self) -> Vec<&mut FlowPlan> {
        match self {
            FlowPlan::Get { .. } | FlowPlan::Constant { .. } | FlowPlan::Shared { .. } => vec![],
            FlowPlan::Mfp { input, .. }
            | FlowPlan::Reduce { input, .. }
            | FlowPlan::Distinct { input }
            | FlowPlan::FlatMap { input, .. }
            | FlowPlan::TopK { input, .. }
            | FlowPlan::Negate { input } => vec![input],
            FlowPlan::Join { left, right, .. } => vec![left, right],
            FlowPlan::Let { value, body, .. } => vec![value, body],
            FlowPlan::Union { inputs } | FlowPlan::DeltaJoin { inputs, .. } => inputs.iter_mut().collect(),
        }
    }

    /// Types of the output columns.
    pub fn types(&self) -> Vec<SqlType> {
        match self {
            FlowPlan::Get { desc, .. }
            | FlowPlan::Constant { desc, .. }
            | FlowPlan::Shared { desc, .. }
            | FlowPlan::DeltaJoin { desc, .. } => desc.types(),
            FlowPlan::Let { body, .. } => body.types(),
            FlowPlan::Mfp { project, .. } => project.iter().map(ScalarExpr::ty).collect(),
            FlowPlan::Join { left, right, .. } => {
                let mut types = left.types();
                types.extend(right.types());
                types
            }
            FlowPlan::Reduce { input, group, aggregates, .. } => {
                let types = input.types();
                group.iter().map(|g| types[*g]).chain(aggregates.iter().map(|a| a.ty)).collect()
            }
            FlowPlan::TopK { input, numbers, .. } => {
                let mut types = input.types();
                types.extend(numbers.iter().map(|_| SqlType::Int8));
                types
            }
            FlowPlan::Distinct { input } | FlowPlan::Negate { input } => input.types(),
            FlowPlan::Union { inputs } => inputs.first().map(FlowPlan::types).unwrap_or_default(),
            FlowPlan::FlatMap { input, keep, calls, .. } => {
                let types = input.types();
                keep.iter().map(|c| types[*c]).chain(calls.iter().flat_map(|c| c.types.iter().copied())).collect()
            }
        }
    }

    /// Calls `f` with every named relation it reads, repeats included.
    pub fn for_each_get(&self, f: &mut impl FnMut(GlobalId, &[usize])) {
        if let FlowPlan::Get { id, columns, .. } = self {
            f(*id, columns);
        }
        self.inputs().into_iter().for_each(|i| i.for_each_get(f));
    }
}
