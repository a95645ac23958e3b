//! The first few rows of groups from which nothing is retracted.
//!
//! Invariant: what a group was before the tick is kept only where the tick has changed it.

use super::fold::{Finished, Fold, Pick, each};
use crate::exchange::Window;
use crate::slab::{Slab, Small};
use crate::state::Input;
use arrow::array::BinaryBuilder;
use hw_repr::SqlError;
use hw_scalar::aggregate::Few;
use std::sync::Arc;

/// See the module.
pub struct Top {
    few: Few,
    now: Slab<Small>,
    /// The touched groups that changed, as they were, in the order of their first touch.
    before: Vec<Option<Small>>,
    /// By slot: the position in `before`, of those touched in this tick.
    places: Slab<u32>,
    heap: usize,
}

impl Top {
    /// Without groups.
    pub fn new(few: Few) -> Top {
        Top { few, now: Slab::default(), before: vec![], places: Slab::default(), heap: 0 }
    }

    fn list(&self, pick: Pick) -> &[u8] {
        match pick {
            Pick::Now(slot) => self.now.get(slot as usize).bytes(),
            Pick::Before(i) => match &self.before[i] {
                Some(before) => before.bytes(),
                None => &[],
            },
        }
    }
}

impl Fold for Top {
    fn grow(&mut self, slots: usize) {
        self.now.grow(slots);
        self.places.grow(slots);
    }
    fn remember(&mut self, slots: &[u32]) {
        for slot in slots {
            *self.places.get_mut(*slot as usize) = self.before.len() as u32;
            self.before.push(None);
        }
    }
    fn add(&mut self, slots: &[u32], window: &Window<'_>) {
        let mut rows = self.few.evaluator().rows(|c| window.batch.rows.column(c).clone());
        let Top { few, now, before, places, heap } = self;
        each(None, slots, window, |row, slot, diff| {
            let list = now.get_mut(slot);
            let next = few.with(list.bytes(), &mut rows, row, diff).expect("invariant: a list that this operator made");
            let Some(next) = next else { return };
            *heap += next.heap();
            *heap -= list.heap();
            let was = std::mem::replace(list, next);
            before[*places.get(slot) as usize].get_or_insert(was);
        });
    }
    fn changed(&self, i: usize, _: u32) -> bool {
        self.before[i].is_some()
    }
    fn finish(&self, picks: &[Pick]) -> Result<Finished, SqlError> {
        let mut lists = BinaryBuilder::new();
        let mut out = vec![];
        for pick in picks {
            out.clear();
            self.few.result(self.list(*pick), &mut out)?;
            lists.append_value(&out);
        }
        Ok((Arc::new(lists.finish()), vec![]))
    }
    fn clear(&mut self, slot: u32) {
        self.heap -= std::mem::take(self.now.get_mut(slot as usize)).heap();
    }
    fn forget(&mut self) {
        self.before.clear();
    }
    fn reset(&mut self) {
        self.now.clear();
        self.places.clear();
        self.heap = 0;
    }
    fn bytes(&self) -> usize {
        self.now.bytes() + self.places.bytes() + self.heap
    }
    /// As every aggregate that keeps a list: 0, or 1, the list, and that DISTINCT has seen nothing.
    fn write(&self, slot: u32, out: &mut Vec<u8>) {
        let list = self.now.get(slot as usize).bytes();
        out.push((!list.is_empty()).into());
        if !list.is_empty() {
            self.few.write(list, out).expect("invariant: a list that this operator made");
        }
    }
    fn read(&mut self, slot: u32, input: &mut Input<'_>) -> Result<(), SqlError> {
        if input.take()? == [0] {
            return Ok(());
        }
        let list = self.few.read(input)?;
        self.heap += list.heap();
        *self.now.get_mut(slot as usize) = list;
        Ok(())
    }
}
