//! What a checkpoint would keep: state as it is taken, put together by the rules of its meaning, and given to another
//! engine.

use hw_dataflow::state::{Meaning, SERVED, SERVED_ERRORS, Taken};
use hw_dataflow::{Engine, Restored, RestoredFlow};
use hw_repr::chunk::{ChunkBody, ChunkView, PublishedShard};
use hw_repr::{Diff, GlobalId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Part = (GlobalId, u32);
/// By row or key, and time: the row, the length of its key, its diff.
type Entries = BTreeMap<(Vec<u8>, u64), (Vec<u8>, usize, Diff)>;

#[derive(Default)]
pub struct Disk {
    /// Everything up to this tick is in it.
    pub tick: u64,
    arrangements: BTreeMap<Part, Vec<Arc<PublishedShard>>>,
    entries: BTreeMap<Part, Entries>,
    known: BTreeSet<GlobalId>,
    /// How served rows were placed.
    apart: BTreeMap<GlobalId, Option<Vec<usize>>>,
}

impl Disk {
    /// Takes the state of all flows, which have passed `tick`.
    pub fn take(&mut self, engine: &Engine, flows: &[u32], tick: u64) {
        self.tick = tick;
        self.arrangements.clear();
        let flows: Vec<GlobalId> = flows.iter().map(|id| GlobalId(*id)).collect();
        for id in &flows {
            let served = engine.published(*id).expect("installed");
            self.arrangements.insert((*id, SERVED), served.shards.clone());
            self.apart.insert(*id, engine.apart(*id));
            let errors = engine.published_errors(*id).expect("installed");
            self.arrangements.insert((*id, SERVED_ERRORS), errors.shards.clone());
        }
        let shares = engine.take_state(flows.iter().map(|id| (*id, !self.known.contains(id))).collect());
        self.known.extend(flows);
        let mut cleared = BTreeSet::new();
        let mut shares: Vec<_> = (0..engine.workers()).map(|_| shares.recv().expect("a share")).collect();
        // Arrangements are kept by worker.
        shares.sort_by_key(|share| share.worker);
        for share in shares {
            for (id, part, taken) in share.parts {
                match taken {
                    Taken::Arrangement(shard) => self.arrangements.entry((id, part)).or_default().push(Arc::new(shard)),
                    Taken::Entries(entries) => {
                        assert!(entries.complete);
                        let kept = self.entries.entry((id, part)).or_default();
                        if entries.all && cleared.insert((id, part)) {
                            kept.clear();
                        }
                        add(kept, entries.meaning, &entries.bodies);
                    }
                }
            }
        }
    }

    /// What a flow begins with.
    pub fn restored(&self, id: u32) -> Arc<RestoredFlow> {
        let id = GlobalId(id);
        let mut flow = RestoredFlow { upper: self.tick + 1, ..RestoredFlow::default() };
        for ((_, part), shards) in self.arrangements.range((id, 0)..=(id, u32::MAX)) {
            let apart = self.apart.get(&id).filter(|_| *part == SERVED).cloned().flatten();
            flow.arrangements.insert(*part, Restored { shards: shards.clone(), apart });
        }
        for ((_, part), entries) in self.entries.range((id, 0)..=(id, u32::MAX)) {
            let mut body = ChunkBody::default();
            for ((_, time), (row, key_len, diff)) in entries {
                body.push(row, *key_len, *time, *diff);
            }
            let run = if body.is_empty() { vec![] } else { vec![ChunkView::whole(Arc::new(body.into()))] };
            flow.entries.insert(*part, vec![run]);
        }
        Arc::new(flow)
    }

    /// True for a flow that was taken.
    pub fn has(&self, id: u32) -> bool {
        self.arrangements.contains_key(&(GlobalId(id), SERVED))
    }

    /// Entries kept of a flow.
    pub fn entries(&self, id: u32) -> usize {
        let id = GlobalId(id);
        self.entries.range((id, 0)..=(id, u32::MAX)).map(|(_, e)| e.len()).sum()
    }
}

fn add(kept: &mut Entries, meaning: Meaning, bodies: &[ChunkBody]) {
    let rows = || bodies.iter().flat_map(|b| (0..b.len()).map(move |i| (b, i)));
    // Ends first: a state of the same key counts.
    let (ends, states): (Vec<_>, Vec<_>) = rows().partition(|(b, i)| b.diffs.get(*i) < 0);
    for (body, i) in ends.into_iter().chain(states) {
        let (row, key_len) = (body.row(i).to_vec(), body.key(i).len());
        let (time, diff) = (body.times.get(i), body.diffs.get(i));
        match meaning {
            Meaning::Latest if diff < 0 => drop(kept.remove(&(body.key(i).to_vec(), time))),
            Meaning::Latest => drop(kept.insert((body.key(i).to_vec(), time), (row, key_len, diff))),
            Meaning::Sum => kept.entry((row.clone(), time)).or_insert((row, key_len, 0)).2 += diff,
        }
    }
}
