//! What operators hold, as a checkpoint takes it and as a flow begins with it.
//!
//! A flow's state has parts, numbered in the order in which its plan is rendered: 0 the served rows, 1 the served errors,
//! then one for each arrangement of a join and each operator with state of its own. Arrangements are taken as the chunks
//! they consist of. The others are taken as entries (see [`Entries`]): all of them the first time, afterwards what changed
//! since; so the work follows the changes, not the state.
//!
//! Invariants: parts are taken when every flow asked for has passed the same tick, and nothing after it has been handed to
//! it; taking entries goes on between steps, and what the next ticks change is taken before they change it.

use crate::chunk::{RowChunk, pick};
use crate::closed::{ClosedTick, Counters};
use crate::exchange::owner;
use crate::restore::Restored;
use crossbeam_channel::Sender;
use hw_repr::chunk::{ChunkView, PublishedShard};
use hw_repr::{ChunkBody, GlobalId, Timestamp};
pub use hw_scalar::aggregate::{Input, damaged, string};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// Raised whenever an operator's entries, or the numbering of parts, mean something else than before.
pub const STATE_VERSION: u8 = 1;

/// The part with the served rows.
pub const SERVED: u32 = 0;
/// The part with the served errors.
pub const SERVED_ERRORS: u32 = 1;

/// How entries of one part fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// An entry replaces those that were there for its key; with the diff -1 nothing is there any more.
    Latest,
    /// The diffs of equal entries are added.
    Sum,
}

/// Entries of an operator: a key and a value each, as the rows of bodies, in no order. Their time is a number by which the
/// operator tells its tables apart. The vnode of a key tells which worker has it.
#[derive(Debug)]
pub struct Entries {
    /// How they fit together with earlier ones.
    pub meaning: Meaning,
    /// These are all; else what changed since they were taken last.
    pub all: bool,
    /// None is missing: an entry of more than [`ENTRY_BYTES_MAX`] is left out.
    pub complete: bool,
    /// The entries.
    pub bodies: Vec<ChunkBody>,
}

/// What one worker has of a part.
#[derive(Debug)]
pub enum Taken {
    /// An arrangement.
    Arrangement(PublishedShard),
    /// Other state.
    Entries(Entries),
}

/// What one worker has taken. Arrangements are restored by worker: shares come in any order.
#[derive(Debug)]
pub struct Share {
    /// Which worker.
    pub worker: usize,
    /// Flow, part and contents.
    pub parts: Vec<(GlobalId, u32, Taken)>,
}

/// What a flow begins with.
#[derive(Clone, Debug, Default)]
pub struct RestoredFlow {
    /// Of the flow that held it.
    pub fingerprint: u64,
    /// All changes below this time are in it.
    pub upper: Timestamp,
    /// Parts with arrangements.
    pub arrangements: BTreeMap<u32, Restored>,
    /// Parts with entries: sorted runs, newest last.
    pub entries: BTreeMap<u32, Vec<Vec<ChunkView>>>,
}

impl RestoredFlow {
    /// It can be read from this time on.
    pub fn since(&self) -> Timestamp {
        self.arrangements.get(&SERVED).map_or(self.upper, Restored::since)
    }

    /// What an arrangement begins with; nothing, and no gap, where the part was empty.
    pub(crate) fn arrangement(&self, part: u32) -> Restored {
        self.arrangements.get(&part).cloned().unwrap_or_else(|| Restored::empty(self.upper))
    }

    /// The runs of entries of a part that belong to one of `peers` workers, oldest first.
    pub(crate) fn entries(&self, part: u32, worker: usize, peers: usize) -> Vec<Vec<RowChunk>> {
        let mine = |view: &ChunkView| (view.lo..view.hi).map(|i| owner(view.body.key(i), peers) == worker).collect();
        let run = |run: &Vec<ChunkView>| match peers {
            1 => run.iter().map(RowChunk::restored).collect(),
            _ => pick(run, mine),
        };
        self.entries.get(&part).into_iter().flatten().map(run).collect()
    }
}

/// An operator whose entries can be taken.
pub type Holder = Rc<RefCell<dyn ClosedTick>>;

/// The same, which goes with its flow.
type Fading = Weak<RefCell<dyn ClosedTick>>;

/// An operator with its counters.
pub struct Counted {
    /// The operator.
    pub state: Holder,
    /// What it shows of its size.
    pub counters: Arc<Counters>,
}

/// What the workers are asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Flows, and whether all of their entries are wanted.
    pub flows: Arc<[(GlobalId, bool)]>,
    /// Where each worker's share goes.
    pub to: Sender<Share>,
}

/// Rows that are taken between two steps of the worker.
const SLICE_ROWS: usize = 2048;

/// Entries that an operator goes on with between two steps, where a flow began with them.
const THAW_ROWS: usize = 512;
/// While a worker has commands it goes on with them only this often.
const THAW_TURNS: u32 = 16;

/// Operators that have begun with entries, and have not done all of them.
#[derive(Default)]
pub struct Thawing {
    left: VecDeque<(Fading, Arc<Counters>)>,
    turns: u32,
}

impl Thawing {
    /// One more.
    pub fn add(&mut self, operator: &Counted) {
        self.left.push_back((Rc::downgrade(&operator.state), operator.counters.clone()));
    }

    /// Goes on with some. True where there is more to do at once.
    pub fn go_on(&mut self, idle: bool) -> bool {
        self.turns = self.turns.wrapping_add(1);
        if (idle || self.turns.is_multiple_of(THAW_TURNS))
            && let Some((next, counters)) = self.left.pop_front()
            && let Some(holder) = next.upgrade()
        {
            let more = holder.borrow_mut().thaw(THAW_ROWS);
            // Until something changes nobody else says how much it holds.
            let (rows, bytes) = holder.borrow().size();
            counters.set(rows, bytes);
            if more {
                self.left.push_back((next, counters));
            }
        }
        !self.left.is_empty()
    }
}

/// What a worker is taking.
pub struct Taking {
    to: Sender<Share>,
    share: Share,
    left: VecDeque<(GlobalId, u32, Holder)>,
}

impl Taking {
    /// Nothing yet.
    pub fn new(worker: usize, to: Sender<Share>) -> Taking {
        Taking { to, share: Share { worker, parts: vec![] }, left: VecDeque::new() }
    }

    /// An arrangement as it is now.
    pub fn arrangement(&mut self, flow: GlobalId, part: u32, shard: PublishedShard) {
        self.share.parts.push((flow, part, Taken::Arrangement(shard)));
    }

    /// An operator's entries as they are now, taken later.
    pub fn entries(&mut self, flow: GlobalId, part: u32, holder: &Holder, all: bool) {
        holder.borrow_mut().begin_taking(all);
        self.left.push_back((flow, part, holder.clone()));
    }

    /// Takes some more. `None` when that was all: then it has been sent.
    pub fn go_on(mut self) -> Option<Taking> {
        if let Some((flow, part, holder)) = self.left.pop_front() {
            let taken = holder.borrow_mut().take_some(SLICE_ROWS);
            match taken {
                Some(entries) => self.share.parts.push((flow, part, Taken::Entries(entries))),
                None => self.left.push_front((flow, part, holder)),
            }
            return Some(self);
        }
        // Nobody waits for it where the checkpoint was given up.
        let _ = self.to.send(self.share);
        None
    }
}

/// Most bytes of an entry: a block of a checkpoint takes one.
pub const ENTRY_BYTES_MAX: usize = if cfg!(test) { 1 << 20 } else { 512 << 20 };

/// Bytes of entries from which on a body takes no more.
pub const BODY_BYTES: usize = 8 << 20;

/// Entries that are being collected.
#[derive(Default)]
pub struct Collected {
    bodies: Vec<ChunkBody>,
    /// An entry was left out.
    incomplete: bool,
}

impl Collected {
    /// The body for the next entry.
    pub fn body(&mut self) -> &mut ChunkBody {
        if self.bodies.last().is_none_or(|b| b.data.len() >= BODY_BYTES) {
            self.bodies.push(ChunkBody::default());
        }
        let last = self.bodies.len() - 1;
        &mut self.bodies[last]
    }

    /// Calls `fill` with a body and with what has to be done whenever that has [`BODY_BYTES`].
    pub fn with_body(&mut self, fill: impl FnOnce(&mut ChunkBody, &mut dyn FnMut(&mut ChunkBody))) {
        let mut body = self.bodies.pop().unwrap_or_default();
        fill(&mut body, &mut |full| self.bodies.push(std::mem::take(full)));
        self.bodies.push(body);
    }

    /// Adds an entry: its key, and what `value` appends.
    pub fn entry(&mut self, key: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
        let body = self.body();
        let start = body.data.len();
        body.data.extend_from_slice(key);
        value(&mut body.data);
        if body.data.len() - start > ENTRY_BYTES_MAX {
            body.data.truncate(start);
            body.data.shrink_to(BODY_BYTES);
            self.incomplete = true;
            return;
        }
        body.seal(key.len(), 0, 1);
    }

    /// All of them.
    pub fn into_entries(self, meaning: Meaning, all: bool) -> Entries {
        let longest = |b: &ChunkBody| (0..b.len()).map(|i| b.row(i).len()).max().unwrap_or(0);
        let complete = !self.incomplete && self.bodies.iter().all(|b| longest(b) <= ENTRY_BYTES_MAX);
        Entries { meaning, all, complete, bodies: self.bodies }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_no_block_takes_is_left_out_and_that_is_said() {
        let mut out = Collected::default();
        out.entry(b"a", |value| value.push(1));
        out.entry(b"b", |value| value.extend(std::iter::repeat_n(0, ENTRY_BYTES_MAX)));
        out.entry(b"c", |value| value.push(2));
        let entries = out.into_entries(Meaning::Latest, true);
        assert!(!entries.complete);
        let keys: Vec<&[u8]> = entries.bodies.iter().flat_map(|b| (0..b.len()).map(|i| b.key(i))).collect();
        assert_eq!(keys, [b"a", b"c"]);
        assert!(Collected::default().into_entries(Meaning::Sum, false).complete);
        // Rows come in with their lengths as they are.
        let mut out = Collected::default();
        out.with_body(|body, _| body.push(&vec![1; ENTRY_BYTES_MAX + 1], 1, 0, 1));
        assert!(!out.into_entries(Meaning::Sum, false).complete);
    }
}
