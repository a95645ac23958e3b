//! Distinct: each row with a positive count, once. One count per distinct row, on the row's owner.
//!
//! Rows that SQL calls equal are one row; it shows with the least print tail.

use crate::closed::ClosedTick;
use crate::layout::Layout;
use crate::stateless::OK;
use crate::types::Parcels;
use hashbrown::HashMap;
use hw_repr::{SqlType, Timestamp, UpdateBatch};
use std::sync::Arc;

/// Bytes an entry takes beside its row.
const ENTRY_BYTES: usize = 32;

/// Counts of rows.
pub struct Distinct {
    layout: Layout,
    counts: HashMap<Box<[u8]>, i64>,
    bytes: usize,
}

impl Distinct {
    /// Over rows of these types.
    pub fn new(types: &[SqlType]) -> Distinct {
        Distinct { layout: Self::layout(types), counts: HashMap::new(), bytes: 0 }
    }
    /// The layout by which its input is exchanged: the whole row is the key.
    pub fn layout(types: &[SqlType]) -> Layout {
        Layout::keyed(types, &(0..types.len()).collect::<Vec<_>>())
    }
}

impl ClosedTick for Distinct {
    fn tick(&mut self, time: Timestamp, changes: Vec<UpdateBatch>) -> Parcels {
        // What each touched row had before this time.
        let mut before: HashMap<Box<[u8]>, i64> = HashMap::new();
        let mut row = Vec::new();
        for batch in &changes {
            let mut encoder = self.layout.key_encoder(&batch.rows);
            for i in 0..batch.len() {
                row.clear();
                encoder.encode(i, &mut row);
                let old = match self.counts.get_mut(&row[..]) {
                    Some(count) => {
                        let old = *count;
                        *count += batch.diff(i);
                        old
                    }
                    None => {
                        self.bytes += row.len() + ENTRY_BYTES;
                        self.counts.insert(row.clone().into(), batch.diff(i));
                        0
                    }
                };
                if !before.contains_key(&row[..]) {
                    before.insert(row.clone().into(), old);
                }
            }
        }
        let mut rows: Vec<&[u8]> = vec![];
        let mut diffs: Vec<i64> = vec![];
        for (row, old) in &before {
            let new = self.counts.get(row).copied().unwrap_or(0);
            if new == 0 {
                self.counts.remove(row);
                self.bytes -= row.len() + ENTRY_BYTES;
            }
            if (new > 0) != (*old > 0) {
                rows.push(row);
                diffs.push(if new > 0 { 1 } else { -1 });
            }
        }
        if rows.is_empty() {
            return Parcels::default();
        }
        let rows = self.layout.decode_key_batch(&mut rows.into_iter());
        Parcels(vec![(OK, UpdateBatch { rows, diffs: Some(Arc::new(diffs.into())), time })])
    }
    fn size(&self) -> (usize, usize) {
        (self.counts.len(), self.bytes)
    }
}
