//! Inner equi-joins in three forms: hash state where nothing is ever retracted, arrangements of both inputs otherwise, and
//! look-ups in arrangements, of which a delta join of several inputs is made.
//!
//! All give a row for every pair of rows with equal keys, at the later of the two times, and yield inside a key.

mod hash;
mod look_up;
mod merge;
mod rows;

use crate::closed::{Counters, closed_ticks};
use crate::exchange::deal;
use crate::layout::Layout;
use crate::state::Holder;
use crate::stateless;
use crate::types::{RowArranged, RowStream};
use hash::HashJoin;
use hw_repr::{SqlType, Timestamp};
pub use look_up::{Step, look_up};
pub use merge::join as merge_join;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// One input of a join in the hash form.
pub struct Input<'s> {
    /// Its changes.
    pub stream: RowStream<'s>,
    /// Types of its columns.
    pub types: Vec<SqlType>,
}

/// An arrangement, as its readers see it.
#[derive(Clone)]
pub struct Arrangement<'s> {
    /// The trace, and the batches as they come.
    pub arranged: RowArranged<'s>,
    /// How its rows are laid out.
    pub layout: Layout,
    /// Types of its columns.
    pub types: Vec<SqlType>,
    /// Its counters.
    pub counters: Arc<Counters>,
    /// It begins with what was restored below this time.
    pub after: Option<Timestamp>,
    /// Whose it is.
    pub held: HeldBy,
}

/// Whose an arrangement is, and so what its readers see of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBy {
    /// The flow's, which makes it of changes that its joins see too.
    Flow,
    /// The flow's, made of what a named relation holds: what was there in the beginning has not come to joins as changes.
    FlowAnew,
    /// Another flow's that serves the relation.
    Relation,
}

impl Arrangement<'_> {
    /// True where joins must look it up: what it held in the beginning is there without having come.
    pub fn is_resident(&self) -> bool {
        self.held != HeldBy::Flow
    }
}

/// The columns that must be equal.
pub struct On<'a> {
    /// Pairs of positions, of the same type.
    pub keys: &'a [(usize, usize)],
    /// Per pair: NULL equals NULL.
    pub null_safe: &'a [bool],
}

impl On<'_> {
    /// Key columns of a side.
    fn columns(&self, side: usize) -> Vec<usize> {
        self.keys.iter().map(|k| if side == 0 { k.0 } else { k.1 }).collect()
    }
    /// Key columns of a side in which NULL matches nothing.
    fn strict(&self, side: usize) -> Vec<usize> {
        let safe = |i: usize| self.null_safe.get(i).copied().unwrap_or(false);
        self.columns(side).into_iter().enumerate().filter(|(i, _)| !safe(*i)).map(|(_, c)| c).collect()
    }
}

/// What a join does with state of its own: makes its counters, and begins with what was held.
pub trait Keeper {
    /// Counters of the operator.
    fn counters(&mut self) -> Arc<Counters>;
    /// The next part is the state of this operator, which begins with what was held of it.
    fn entries(&mut self, state: Holder, counters: Arc<Counters>);
}

/// Joins two collections from which nothing is ever retracted; see [`hw_plan::FlowPlan::Join`].
pub fn hash_join<'s>(left: Input<'s>, right: Input<'s>, on: &On<'_>, keeper: &mut impl Keeper) -> RowStream<'s> {
    let layouts = [Layout::keyed(&left.types, &on.columns(0)), Layout::keyed(&right.types, &on.columns(1))];
    let scope = left.stream.scope();
    let state = HashJoin::new([&left.types, &right.types], &layouts, [on.strict(0), on.strict(1)]);
    let state = Rc::new(RefCell::new(state));
    let counters = keeper.counters();
    keeper.entries(state.clone(), counters.clone());
    let streams = [left.stream, right.stream];
    let dealt = streams.into_iter().zip(&layouts).enumerate();
    let dealt = dealt.map(|(side, (stream, layout))| deal(stream, layout, side, false));
    let both = timely::dataflow::operators::core::Concatenate::concatenate(&scope, dealt);
    stateless::only_oks(closed_ticks(both, "HashJoin", None, state, counters))
}
