//! The state of dataflows on its way into a checkpoint and back.
//!
//! A view goes on from what a checkpoint has of it where it is computed in the same way: by its fingerprint, which stands for
//! its plan, its key and how state is laid out, and ends at the named relations that it reads; these have to go on as well,
//! or to correct what was shown of them. Else it is computed anew, and corrects what was shown of it; what the checkpoint does
//! not have begins with nothing.

use super::Checkpointer;
use crate::core::{Core, Flow};
use crossbeam_channel::Receiver;
use hw_dataflow::state::{Entries, Meaning, SERVED, SERVED_ERRORS, STATE_VERSION, Share, Taken};
use hw_dataflow::{ERRORS_VERSION, FlowKind, Restored, RestoredFlow};
use hw_plan::{CatalogView, ObjectKind};
use hw_repr::{GlobalId, PublishedRelation, SqlError};
use hw_store::checkpoint::{Contents, Kind, Loaded, SnapshotEntries, SnapshotPart};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Flows by fingerprint.
pub(crate) type Fingerprints = BTreeMap<GlobalId, u64>;

/// The state of flows that is being taken.
pub(super) struct TakenState {
    shares: Receiver<Share>,
    workers: usize,
    pub(super) flows: Fingerprints,
    /// What they show.
    served: Vec<SnapshotPart>,
}

impl TakenState {
    /// All parts, once every worker has given its share, and the flows whose state cannot be kept: a start computes them
    /// anew. Blocks.
    pub(super) fn parts(self) -> Result<(Vec<SnapshotPart>, BTreeSet<GlobalId>), SqlError> {
        let mut parts = self.served;
        let mut inner: BTreeMap<(GlobalId, u32), Contents> = BTreeMap::new();
        let gone = |_| SqlError::internal("the workers ended while a checkpoint was taken");
        let mut shares: Vec<Share> =
            (0..self.workers).map(|_| self.shares.recv().map_err(gone)).collect::<Result<_, _>>()?;
        // Arrangements are kept by worker.
        shares.sort_by_key(|share| share.worker);
        let mut left_out = BTreeSet::new();
        for (id, part, taken) in shares.into_iter().flat_map(|share| share.parts) {
            if let Err(why) = add(&mut inner, (id, part), taken)
                && left_out.insert(id)
            {
                tracing::warn!(relation = %id, "its state is not in the checkpoint: {why}");
            }
        }
        for ((id, part), contents) in inner {
            let fingerprint = self.flows.get(&id).copied().unwrap_or(0);
            parts.push(SnapshotPart { id, part, fingerprint, apart: None, contents });
        }
        parts.retain(|p| !left_out.contains(&p.id));
        Ok((parts, left_out))
    }
}

/// Adds what one worker has of a part; or why it cannot be kept.
fn add(parts: &mut BTreeMap<(GlobalId, u32), Contents>, at: (GlobalId, u32), taken: Taken) -> Result<(), &'static str> {
    match (parts.entry(at).or_insert_with(|| nothing_of(&taken)), taken) {
        (_, Taken::Entries(entries)) if !entries.complete => return Err("one group of it is too large"),
        (Contents::Arrangement(shards), Taken::Arrangement(shard)) => shards.push(Arc::new(shard)),
        (Contents::Entries(all), Taken::Entries(entries)) if all.all == entries.all => {
            all.bodies.extend(entries.bodies)
        }
        // A worker that has noted more ends of groups than it can gives all.
        _ => return Err("the next checkpoint takes all of it"),
    }
    Ok(())
}

/// Contents of the kind that a checkpoint makes of what is taken, empty.
fn nothing_of(taken: &Taken) -> Contents {
    match taken {
        Taken::Arrangement(_) => Contents::Arrangement(vec![]),
        Taken::Entries(Entries { meaning, all, .. }) => {
            let kind = match meaning {
                Meaning::Latest => Kind::Latest,
                Meaning::Sum => Kind::Sum,
            };
            Contents::Entries(SnapshotEntries { kind, all: *all, bodies: vec![] })
        }
    }
}

impl Checkpointer {
    /// Flows as they were, but for those whose definition is another one since.
    pub(crate) fn restore(
        &mut self,
        replaced: &BTreeSet<GlobalId>,
    ) -> Result<BTreeMap<GlobalId, Arc<RestoredFlow>>, SqlError> {
        let Some(store) = &mut self.store else { return Ok(BTreeMap::new()) };
        let upper = store.manifest().tick + 1;
        let loaded = store.load()?;
        let mut flows: BTreeMap<GlobalId, RestoredFlow> = BTreeMap::new();
        for (saved, contents) in store.manifest().relations.iter().zip(loaded) {
            if replaced.contains(&saved.id) {
                continue;
            }
            let new = || RestoredFlow { fingerprint: saved.fingerprint, upper, ..RestoredFlow::default() };
            let flow = flows.entry(saved.id).or_insert_with(new);
            match contents {
                Loaded::Arrangement(shards) => {
                    let shards = shards.into_iter().map(Arc::new).collect();
                    flow.arrangements.insert(saved.part, Restored { shards, apart: saved.apart.clone() });
                }
                Loaded::Entries(runs) => drop(flow.entries.insert(saved.part, runs)),
            }
        }
        Ok(flows.into_iter().map(|(id, flow)| (id, Arc::new(flow))).collect())
    }
}

/// Stands for how a flow computes what it holds from what it reads; 0 for tables. `retractions`: see
/// [`hw_dataflow::EngineConfig::assume_retractions`].
pub(crate) fn fingerprint(kind: &FlowKind, retractions: bool) -> Result<u64, SqlError> {
    let FlowKind::View { plan, key, .. } = kind else { return Ok(0) };
    let hash = hw_plan::fingerprint::fingerprint(plan)?;
    let more = [u64::from(STATE_VERSION), u64::from(retractions), key.len() as u64];
    let hash = extend(hash, more.into_iter().chain(key.iter().map(|k| *k as u64)));
    let marks = [(hw_plan::zeros::matters(plan), SIGNED_ZEROS), (hw_plan::arranged::shares(plan, retractions), SHARED)];
    Ok(extend(hash, marks.into_iter().filter(|m| m.0).map(|m| m.1)))
}

/// Marks the state of flows in which the sign of -0.0 matters. What was saved before it had one is computed anew: a row that
/// is taken away would not be the one that was kept.
const SIGNED_ZEROS: u64 = 1;

/// Marks the state of flows whose joins share an arrangement, which each had of its own before: their parts are numbered
/// otherwise.
const SHARED: u64 = 2;

/// The form in which checkpoints are written: with the version of the rows of errors.
pub(crate) fn with_errors(fingerprint: u64) -> u64 {
    extend(fingerprint, std::iter::once(u64::from(ERRORS_VERSION)))
}

/// True where the state that was saved of a flow has rows of errors.
pub(crate) fn has_errors(saved: &RestoredFlow) -> bool {
    saved.arrangements.get(&SERVED_ERRORS).is_some_and(|errors| errors.shards.iter().any(|s| !s.runs.is_empty()))
}

/// The form in which checkpoints were written before ADR 10: with the fingerprints, in that form, of what a flow
/// reads. What was saved under it is taken where it fits.
pub(crate) fn with_reads(fingerprint: u64, reads: impl Iterator<Item = u64>) -> u64 {
    extend(fingerprint, reads)
}

/// FNV-1a, 64 bits.
fn extend(hash: u64, numbers: impl Iterator<Item = u64>) -> u64 {
    let bytes = numbers.flat_map(u64::to_le_bytes);
    bytes.fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

impl Core {
    /// Takes the state of every flow that has passed the last tick, which all have that are live.
    pub(super) fn take_state(&self) -> TakenState {
        let catalog = self.snapshot.load();
        let live = |f: &Flow| f.is_live() && f.failed.is_none();
        let is_table = |f: &Flow| matches!(f.object.kind, ObjectKind::Table(_));
        let flows: Fingerprints = self
            .flows
            .iter()
            .filter(|(id, f)| catalog.get(**id).is_some() && (is_table(f) || live(f)))
            .map(|(id, f)| (*id, f.fingerprint))
            .collect();
        let mut served = vec![];
        for (id, fingerprint) in &flows {
            let shards = |published: Option<Arc<PublishedRelation>>| {
                Contents::Arrangement(published.map_or(vec![], |p| p.shards.clone()))
            };
            let mut part = |part, apart, contents| {
                served.push(SnapshotPart { id: *id, part, fingerprint: *fingerprint, apart, contents });
            };
            part(SERVED, self.engine.apart(*id), shards(self.engine.published(*id)));
            if *fingerprint != 0 {
                part(SERVED_ERRORS, None, shards(self.engine.published_errors(*id)));
            }
        }
        let saved = &self.checkpoints.saved;
        let inner = flows.iter().filter(|(_, f)| **f != 0);
        let wanted = inner.map(|(id, f)| (*id, saved.get(id) != Some(f))).collect();
        TakenState { shares: self.engine.take_state(wanted), workers: self.engine.workers(), flows, served }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hw_repr::ChunkBody;

    fn share(worker: usize, parts: Vec<(u32, Taken)>) -> Share {
        Share { worker, parts: parts.into_iter().map(|(id, taken)| (GlobalId(id), 2, taken)).collect() }
    }

    fn entries(all: bool, complete: bool) -> Taken {
        Taken::Entries(Entries { meaning: Meaning::Latest, all, complete, bodies: vec![ChunkBody::default()] })
    }

    #[test]
    fn a_flow_whose_state_cannot_be_kept_is_left_out_alone() {
        let (to, shares) = crossbeam_channel::unbounded();
        let one = [(1, entries(true, true)), (2, entries(true, true)), (3, entries(true, true))];
        let other = [(1, entries(true, true)), (2, entries(false, true)), (3, entries(true, false))];
        to.send(share(1, other.into())).expect("sent");
        to.send(share(0, one.into())).expect("sent");
        let part = |id| SnapshotPart {
            id: GlobalId(id),
            part: SERVED,
            fingerprint: 7,
            apart: None,
            contents: Contents::Arrangement(vec![]),
        };
        let flows = [1, 2, 3].map(|id| (GlobalId(id), 7)).into();
        let state = TakenState { shares, workers: 2, flows, served: [1, 2, 3].map(part).into() };
        let (parts, left_out) = state.parts().expect("both shares");
        assert_eq!(left_out, [GlobalId(2), GlobalId(3)].into());
        assert_eq!(parts.iter().map(|p| (p.id, p.part)).collect::<Vec<_>>(), [(GlobalId(1), SERVED), (GlobalId(1), 2)]);
        let Contents::Entries(kept) = &parts[1].contents else { panic!("{:?}", parts[1]) };
        assert_eq!((kept.bodies.len(), kept.all, parts[1].fingerprint), (2, true, 7));
    }
}
