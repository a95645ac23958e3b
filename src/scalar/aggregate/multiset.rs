//! An ordered multiset of byte strings: sorted blocks of bounded length, each with the sum of its counts, so that a change
//! costs little and the k-th item is found without walking to it.
//!
//! Invariant: no block is empty, no count is zero, and a block's `total` is the sum of its counts.

use super::input::{Input, int, string};
use hw_repr::SqlError;
use hw_repr::small::Small;

/// A block with twice as many items is split.
const BLOCK: usize = 128;
/// About what an item takes besides what lies on the heap: full blocks are three quarters full.
const ITEM_BYTES: usize = 32;

#[derive(Debug, Default)]
struct Block {
    items: Vec<(Small, i64)>,
    total: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Multiset {
    blocks: Vec<Block>,
    items: usize,
    heap: usize,
}

impl Multiset {
    /// Adds `bytes` `diff` times.
    pub fn add(&mut self, bytes: &[u8], diff: i64) {
        if diff == 0 {
            return;
        }
        if self.blocks.is_empty() {
            self.blocks.push(Block::default());
        }
        let at =
            self.blocks.partition_point(|b| b.items.first().is_some_and(|i| i.0.bytes() <= bytes)).saturating_sub(1);
        let block = &mut self.blocks[at];
        block.total += diff;
        match block.items.binary_search_by(|i| i.0.bytes().cmp(bytes)) {
            Ok(found) => {
                block.items[found].1 += diff;
                if block.items[found].1 == 0 {
                    let (gone, _) = block.items.remove(found);
                    self.items -= 1;
                    self.heap -= gone.heap();
                }
            }
            Err(place) => {
                let item = Small::new(bytes);
                self.items += 1;
                self.heap += item.heap();
                block.items.insert(place, (item, diff));
            }
        }
        if block.items.is_empty() {
            self.blocks.remove(at);
        } else if block.items.len() > 2 * BLOCK {
            let items = block.items.split_off(BLOCK);
            let total = items.iter().map(|i| i.1).sum();
            block.total -= total;
            self.blocks.insert(at + 1, Block { items, total });
        }
    }

    /// Items that are there, in order, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], i64)> {
        self.blocks.iter().flat_map(|b| &b.items).filter(|i| i.1 > 0).map(|i| (i.0.bytes(), i.1))
    }

    /// The last item that is there.
    pub fn last(&self) -> Option<&[u8]> {
        self.blocks.iter().rev().flat_map(|b| b.items.iter().rev()).find(|i| i.1 > 0).map(|i| i.0.bytes())
    }

    /// How many there are, repeated ones counted as often as they are there.
    pub fn count(&self) -> i64 {
        self.blocks.iter().map(|b| b.total).sum()
    }

    /// The item at position `at`, counted from 0.
    pub fn nth(&self, at: i64) -> Option<&[u8]> {
        let mut left = at;
        for block in &self.blocks {
            if left >= block.total {
                left -= block.total;
                continue;
            }
            for (item, count) in &block.items {
                if left < *count {
                    return Some(item.bytes());
                }
                left -= count;
            }
        }
        None
    }

    /// Heap bytes, estimated.
    pub fn bytes(&self) -> usize {
        self.items * ITEM_BYTES + self.heap
    }

    /// Appends how many items there are, and each with its count.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.items as u32).to_le_bytes());
        for (item, count) in self.blocks.iter().flat_map(|b| &b.items) {
            string(item.bytes(), out);
            int(*count, out);
        }
    }

    /// What [`Multiset::write`] appended.
    pub fn read(input: &mut Input<'_>) -> Result<Multiset, SqlError> {
        let mut set = Multiset::default();
        for _ in 0..input.length()? {
            let item = input.string()?;
            set.add(item, input.i64()?);
        }
        Ok(set)
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Multiset) {
        for (item, count) in other.blocks.iter().flat_map(|b| &b.items) {
            self.add(item.bytes(), *count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Catches: items lost where blocks split or vanish, and positions that are off by a block.
        #[test]
        fn it_is_a_sorted_map_of_counts(changes in prop::collection::vec((0u16..900, -1i64..3), 0..3000)) {
            let (mut set, mut model) = (Multiset::default(), BTreeMap::<Vec<u8>, i64>::new());
            for (item, diff) in changes {
                let bytes = item.to_be_bytes().repeat(1 + usize::from(item % 9));
                let count = model.entry(bytes.clone()).or_default();
                // What is not there is not retracted.
                let diff = if *count + diff < 0 { 1 } else { diff };
                *count += diff;
                set.add(&bytes, diff);
            }
            model.retain(|_, n| *n != 0);
            let all: Vec<(Vec<u8>, i64)> = set.iter().map(|(b, n)| (b.to_vec(), n)).collect();
            prop_assert_eq!(&all, &model.into_iter().collect::<Vec<_>>());
            let flat: Vec<&Vec<u8>> = all.iter().flat_map(|(b, n)| std::iter::repeat_n(b, *n as usize)).collect();
            prop_assert_eq!(set.count(), flat.len() as i64);
            prop_assert_eq!(set.last(), flat.last().map(|b| &b[..]));
            for at in (0..flat.len() + 1).step_by(7) {
                prop_assert_eq!(set.nth(at as i64), flat.get(at).map(|b| &b[..]));
            }
            let mut bytes = vec![];
            set.write(&mut bytes);
            let back = Multiset::read(&mut Input(&bytes)).expect("whole");
            prop_assert!(set.iter().eq(back.iter()));
            prop_assert_eq!(set.bytes(), back.bytes());
        }
    }
}
