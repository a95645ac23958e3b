//! The groups of one worker: encoded key to slot.
//!
//! Invariants: a slot is either live, with a key, or in the free list; the table is split by hash into parts that grow
//! one at a time, so that no tick pays for all of it.

use crate::slab::{Slab, Small};
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// Parts of the table, a power of two.
const PARTS: usize = 256;
/// Bytes a group takes beside its key and values: hash, key's place, table entry with its slack.
const GROUP_BYTES: usize = 40;

/// Where the bytes of a key are, and its hash.
#[derive(Clone, Default)]
struct Place {
    hash: u64,
    key: Small,
}

/// Slots by key.
pub struct Groups {
    parts: Vec<HashTable<u32>>,
    places: Slab<Place>,
    free: Vec<u32>,
    hasher: DefaultHashBuilder,
    live: usize,
    long_bytes: usize,
}

impl Groups {
    /// Without groups.
    pub fn new() -> Groups {
        Groups {
            parts: (0..PARTS).map(|_| HashTable::new()).collect(),
            places: Slab::default(),
            free: vec![],
            hasher: DefaultHashBuilder::default(),
            live: 0,
            long_bytes: 0,
        }
    }

    /// The part of a hash: of bits that the table itself does not look at first.
    fn part(hash: u64) -> usize {
        (hash >> 40) as usize & (PARTS - 1)
    }

    /// The slot of a key, made where there is none.
    pub fn slot(&mut self, key: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(key);
        let places = &mut self.places;
        let same = |i: &u32| {
            let place = places.get(*i as usize);
            place.hash == hash && place.key.bytes() == key
        };
        match self.parts[Self::part(hash)].entry(hash, same, |i| places.get(*i as usize).hash) {
            Entry::Occupied(e) => *e.get(),
            Entry::Vacant(e) => {
                let place = Place { hash, key: Small::new(key) };
                self.long_bytes += place.key.heap();
                self.live += 1;
                let slot = self.free.pop().unwrap_or(places.len() as u32);
                e.insert(slot);
                if slot as usize == places.len() {
                    places.push(place);
                } else {
                    *places.get_mut(slot as usize) = place;
                }
                slot
            }
        }
    }

    /// The slot of a key, where there is one.
    pub fn find(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let same = |i: &u32| {
            let place = self.places.get(*i as usize);
            place.hash == hash && place.key.bytes() == key
        };
        self.parts[Self::part(hash)].find(hash, same).copied()
    }

    /// Forgets the key of a slot, which may be given to another.
    pub fn remove(&mut self, slot: u32) {
        let place = std::mem::take(self.places.get_mut(slot as usize));
        if let Ok(found) = self.parts[Self::part(place.hash)].find_entry(place.hash, |i| *i == slot) {
            found.remove();
            self.live -= 1;
            self.long_bytes -= place.key.heap();
            self.free.push(slot);
        }
    }

    /// Without live groups: gives all memory back. Slots begin at 0 again.
    pub fn reset(&mut self) {
        *self = Groups { hasher: std::mem::take(&mut self.hasher), ..Groups::new() };
    }

    /// The key of a live slot.
    pub fn key(&self, slot: u32) -> &[u8] {
        self.places.get(slot as usize).key.bytes()
    }

    /// Slots ever used: all are below.
    pub fn slots(&self) -> usize {
        self.places.len()
    }

    /// Live groups.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Bytes of keys and table.
    pub fn bytes(&self) -> usize {
        self.live * GROUP_BYTES + self.long_bytes
    }
}
