//! Moves rows to the worker that owns their key: `worker = vnode * workers / 256`.

use crate::layout::Layout;
use crate::types::{Parcels, RowStream, Rows};
use arrow::array::UInt32Array;
use arrow::compute::{take, take_record_batch};
use hw_repr::UpdateBatch;
use hw_repr::encoding::vnode;
use std::sync::Arc;
use timely::communication::Push;
use timely::container::NoopBuilder;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::operators::generic::Operator;

/// The worker that owns a key.
pub fn owner(key: &[u8], peers: usize) -> usize {
    usize::from(vnode(key)) * peers / 256
}

/// Each row to the owner of its key under `layout`.
pub fn exchange<'s>(stream: RowStream<'s>, layout: &Layout) -> RowStream<'s> {
    let peers = stream.scope().peers();
    if peers == 1 {
        return stream;
    }
    let layout = layout.clone();
    stream
        .unary::<NoopBuilder<Parcels>, _, _, _>(Pipeline, "Split", move |_, _| {
            move |input, output| {
                input.for_each(|cap, rows| {
                    let mut parcels = Parcels(rows.0.drain(..).flat_map(|b| split(&b, &layout, peers)).collect());
                    output.session_with_builder(&cap).give_container(&mut parcels);
                })
            }
        })
        .unary::<NoopBuilder<Rows>, _, _, _>(DistributorPact(|_| ByOwner), "Exchange", move |_, _| {
            move |input, output| {
                input.for_each(|cap, parcels| {
                    let mut rows = Rows(parcels.0.drain(..).map(|p| p.1).collect());
                    output.session_with_builder(&cap).give_container(&mut rows);
                })
            }
        })
}

/// The rows of a batch by owner.
fn split(batch: &UpdateBatch, layout: &Layout, peers: usize) -> Vec<(usize, UpdateBatch)> {
    let mut rows: Vec<Vec<u32>> = vec![vec![]; peers];
    let mut encoder = layout.key_encoder(&batch.rows);
    let mut key = Vec::new();
    for row in 0..batch.len() {
        key.clear();
        encoder.encode(row, &mut key);
        rows[owner(&key, peers)].push(row as u32);
    }
    if let Some(worker) = rows.iter().position(|r| r.len() == batch.len()) {
        return vec![(worker, batch.clone())];
    }
    let parts = rows.into_iter().enumerate().filter(|(_, r)| !r.is_empty());
    parts.map(|(worker, r)| (worker, select(batch, &UInt32Array::from(r)))).collect()
}

/// The rows of a batch at `indices`, which lie inside it.
pub fn select(batch: &UpdateBatch, indices: &UInt32Array) -> UpdateBatch {
    let rows = take_record_batch(&batch.rows, indices).expect("invariant: indices lie inside the batch");
    let diffs = batch.diffs.as_ref().map(|d| {
        let taken = take(d.as_ref(), indices, None).expect("invariant: indices lie inside the batch");
        Arc::new(arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(taken.as_ref()).clone())
    });
    UpdateBatch { rows, diffs, time: batch.time }
}

/// Parcels to the worker written on them.
struct ByOwner;

impl Distributor<Parcels> for ByOwner {
    fn partition<T: Clone, P: Push<Message<T, Parcels>>>(&mut self, parcels: &mut Parcels, time: &T, to: &mut [P]) {
        let mut each: Vec<Parcels> = vec![Parcels::default(); to.len()];
        parcels.0.drain(..).for_each(|p| each[p.0].0.push(p));
        for (mut parcel, pusher) in each.into_iter().zip(to) {
            if !parcel.0.is_empty() {
                Message::push_at(&mut parcel, time.clone(), pusher);
            }
        }
    }
    fn flush<T: Clone, P: Push<Message<T, Parcels>>>(&mut self, _: &T, _: &mut [P]) {}
}
