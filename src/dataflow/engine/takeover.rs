//! Flows that take the place of others while everything runs: a definition is replaced.
//!
//! The new flow is installed beside the old one, under an id of its own, with whatever is computed from it. When all have
//! passed the same time they take over the ids at once ([`Engine::rename`]); those who follow the old flow go on with the
//! new one, by the changes between them at that time ([`Engine::subscribe_instead`]).

use super::{Engine, not_there};
use crate::layout::Layout;
use crate::subscribe::{SubscribeSink, Subscription, SubscriptionId};
use crate::worker::Command;
use hw_repr::{ChunkBody, Diff, GlobalId, PublishedRelation, SqlError, Timestamp, UpdateBatch};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Rows of another layout that are written anew at once.
const PIECE_ROWS: usize = 4096;

impl Engine {
    /// Flows take other ids, all at once; an id that is given must be free, or be given up by the same call.
    pub fn rename(&self, moves: &[(GlobalId, GlobalId)]) {
        let mut flows = self.lock();
        let moved: HashMap<GlobalId, GlobalId> = moves.iter().copied().collect();
        let now = |id: GlobalId| moved.get(&id).copied().unwrap_or(id);
        let entries = std::mem::take(&mut flows.entries);
        flows.entries = entries
            .into_iter()
            .map(|(id, mut entry)| {
                entry.reads = entry.reads.into_iter().map(now).collect();
                entry.index_on = entry.index_on.map(now);
                (now(id), entry)
            })
            .collect();
        flows.subscriptions.values_mut().for_each(|id| *id = now(*id));
        self.broadcast(&flows, Command::Rename(moves.into()));
    }

    /// Follows a flow from `at` on for someone who has followed `old` up to then, whose contents do not change at that time:
    /// the first changes are those between the two. Both have the same types; `old` has passed `at`.
    pub fn subscribe_instead(
        &self,
        old: GlobalId,
        flow: GlobalId,
        at: Timestamp,
        sink: SubscribeSink,
    ) -> Result<SubscriptionId, SqlError> {
        let mut flows = self.lock();
        let (was, order) = {
            let entry = flows.entries.get(&old).ok_or_else(|| not_there(old))?;
            (entry.shared.published(), entry.layout.clone())
        };
        let entry = flows.entries.get_mut(&flow).ok_or_else(|| not_there(flow))?;
        if at < entry.since {
            return Err(SqlError::internal(format!("dataflow {flow} cannot be read at {at}")));
        }
        let base = shown_at(&was, &order, &entry.layout, at)?;
        entry.users += 1;
        let id = SubscriptionId(self.next_subscription.fetch_add(1, Ordering::Relaxed));
        let (fails, layout) = (!entry.shared.dead_letter, entry.layout.clone());
        let subscription = Subscription::new(at, true, fails, layout, sink, self.workers());
        subscription.has_shown(base);
        flows.subscriptions.insert(id, flow);
        self.broadcast(&flows, Command::Subscribe(id, flow, Arc::new(subscription)));
        Ok(id)
    }
}

/// The bytes of a row, and how often it is there.
type Shown = (Box<[u8]>, Diff);

/// What a flow shows at a time, in the bytes of another one's layout.
fn shown_at(was: &PublishedRelation, from: &Layout, to: &Layout, at: Timestamp) -> Result<Vec<Shown>, SqlError> {
    let mut rows: Vec<Shown> = vec![];
    for view in was.shards.iter().flat_map(|s| &s.runs).flatten() {
        for i in view.lo..view.hi {
            if view.body.times.get(i) <= at {
                rows.push((view.body.row(i).into(), view.body.diffs.get(i)));
            }
        }
    }
    if from.order() == to.order() {
        return Ok(rows);
    }
    let mut out = Vec::with_capacity(rows.len());
    for piece in rows.chunks(PIECE_ROWS) {
        let batch = from.decode_batch(&mut piece.iter().map(|(row, _)| &row[..]))?;
        let diffs: Vec<i64> = vec![1; piece.len()];
        let update = UpdateBatch { rows: batch, diffs: Some(Arc::new(diffs.into())), time: at };
        let mut body = ChunkBody::default();
        to.encode(&update, &[], &mut body, usize::MAX, &mut |_| {});
        out.extend((0..body.len()).zip(piece).map(|(i, (_, diff))| (body.row(i).into(), *diff)));
    }
    Ok(out)
}
