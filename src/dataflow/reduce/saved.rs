//! The groups of a reduction as entries of a checkpoint: the group's key; the number of its rows (i64) and what each
//! aggregate keeps of it.
//!
//! Which groups changed since entries were taken last is noted when a tick touches them first. While entries are being
//! taken, a group that is still to be taken is so before it changes. The end of a group is noted with its key, since its
//! slot may be given to another; where one run of entries has an end and a state of the same key, the state counts.

use super::Reduce;
use super::cold::{Cold, Entry};
use crate::chunk::RowChunk;
use crate::slab::{Slab, Small};
use crate::state::{Collected, Entries, Input, Meaning};
use hw_repr::SqlError;

/// Notes from which on it matters that there are more than twice as many as slots: those of changes are cleaned up, and
/// with more ends all groups are taken the next time.
const NOTES_MAX: usize = 1 << 20;

/// What is known of the groups since entries were taken last.
#[derive(Default)]
pub struct Saved {
    /// Entries have been taken, or the state began with some: ends of groups matter.
    before: bool,
    /// Number of the present round plus one, by slot, where the group has changed in it; 0 where it was taken or ended.
    changed_in: Slab<u32>,
    round: u32,
    changed: Vec<u32>,
    ended: Vec<Small>,
    /// More groups ended than are worth noting.
    overflown: bool,
    taking: Option<Taking>,
}

/// What is being taken.
struct Taking {
    all: bool,
    slots: Vec<u32>,
    at: usize,
    ended: Vec<Small>,
    out: Collected,
}

impl Saved {
    /// Room for this many slots.
    pub fn grow(&mut self, slots: usize) {
        self.changed_in.grow(slots);
    }

    /// A slot, which has its mark, may be there several times: its groups came and went.
    fn note_changed(&mut self, slot: u32) {
        if self.changed.len() > NOTES_MAX && self.changed.len() > 2 * self.changed_in.len() {
            let (marks, mark) = (&self.changed_in, self.mark());
            self.changed.retain(|s| *marks.get(*s as usize) == mark);
            self.changed.sort_unstable();
            self.changed.dedup();
        }
        self.changed.push(slot);
    }

    /// A group with this key, in this slot, has no rows any more.
    pub fn note_end(&mut self, slot: u32, key: &[u8]) {
        *self.changed_in.get_mut(slot as usize) = 0;
        if self.before && !self.overflown {
            self.ended.push(Small::new(key));
            if self.ended.len() > NOTES_MAX && self.ended.len() > 2 * self.changed_in.len() {
                self.overflown = true;
                self.ended = vec![];
            }
        }
    }

    /// There are no groups any more, and slots begin at 0 again. What was to be taken was so when it was touched.
    pub fn reset(&mut self) {
        self.changed_in.clear();
        self.changed.clear();
        if let Some(taking) = &mut self.taking {
            taking.at = taking.slots.len();
        }
    }

    /// Bytes of the notes about groups that are there; those of ends are bounded, belong to no group, and go with the next
    /// checkpoint.
    pub fn bytes(&self) -> usize {
        self.changed_in.bytes() + self.changed.len() * 4
    }

    fn mark(&self) -> u32 {
        self.round.wrapping_add(1).max(1)
    }
}

impl Reduce {
    /// A slot is about to change.
    pub(super) fn note_change(&mut self, slot: u32) {
        let (mark, at) = (self.saved.mark(), slot as usize);
        let known = *self.saved.changed_in.get(at);
        // Before the first time all are taken anyway.
        if known == mark || !self.saved.before {
            return;
        }
        if known != 0
            && let Some(mut taking) = self.saved.taking.take()
        {
            self.take_slot(slot, &mut taking.out);
            self.saved.taking = Some(taking);
        }
        *self.saved.changed_in.get_mut(at) = mark;
        self.saved.note_changed(slot);
    }

    /// Appends the entry of a slot.
    fn take_slot(&self, slot: u32, out: &mut Collected) {
        out.entry(self.groups.key(slot), |value| {
            value.extend_from_slice(&self.rows.get(slot as usize).to_le_bytes());
            self.folds.iter().for_each(|f| f.write(slot, value));
        });
    }

    /// See [`crate::closed::ClosedTick::begin_taking`].
    pub(super) fn begin(&mut self, all: bool) {
        let all = all || !self.saved.before || self.saved.overflown;
        if all {
            // Only groups in memory are taken.
            self.thaw_groups(usize::MAX).expect("invariant: entries are what this operator gave");
        }
        let mark = self.saved.mark();
        let mut slots = std::mem::take(&mut self.saved.changed);
        let mut ended = std::mem::take(&mut self.saved.ended);
        if all {
            (slots, ended) = (vec![], vec![]);
            for slot in 0..self.rows.len() as u32 {
                if *self.rows.get(slot as usize) != 0 || self.holds_global {
                    *self.saved.changed_in.get_mut(slot as usize) = mark;
                    slots.push(slot);
                }
            }
        }
        self.saved.taking = Some(Taking { all, slots, at: 0, ended, out: Collected::default() });
        self.saved.round = mark;
        (self.saved.before, self.saved.overflown) = (true, false);
    }

    /// See [`crate::closed::ClosedTick::take_some`].
    pub(super) fn take(&mut self, rows: usize) -> Option<Entries> {
        let mut taking = self.saved.taking.take()?;
        let until = (taking.at + rows).min(taking.slots.len());
        for slot in &taking.slots[taking.at..until] {
            // Marks of the round before this one; groups that ended or were taken have none.
            let mark = self.saved.changed_in.get_mut(*slot as usize);
            if *mark != 0 && *mark == self.saved.round {
                *mark = 0;
                self.take_slot(*slot, &mut taking.out);
            }
        }
        taking.at = until;
        if until < taking.slots.len() {
            self.saved.taking = Some(taking);
            return None;
        }
        for key in &taking.ended {
            let key = key.bytes();
            taking.out.body().push(key, key.len(), 0, -1);
        }
        Some(taking.out.into_entries(Meaning::Latest, taking.all))
    }

    /// See [`crate::closed::ClosedTick::restore`].
    pub(super) fn restore_groups(&mut self, entries: Vec<Vec<RowChunk>>) -> Result<(), SqlError> {
        self.cold = Cold::new(entries);
        if self.holds_global {
            // The one row is always there.
            self.thaw_groups(usize::MAX)?;
        }
        self.global_shown = self.holds_global;
        self.saved.before = true;
        Ok(())
    }

    /// The slot of a key.
    pub(super) fn slot(&mut self, key: &[u8]) -> u32 {
        let Some(cold) = &self.cold else { return self.groups.slot(key) };
        if let Some(slot) = self.groups.find(key) {
            return slot;
        }
        match cold.find(key) {
            Some(entry) => self.begin_with(&entry).expect("invariant: entries are what this operator gave"),
            None => self.groups.slot(key),
        }
    }

    /// Makes a group of its entry.
    fn begin_with(&mut self, (body, at): &Entry) -> Result<u32, SqlError> {
        let slot = self.groups.slot(body.key(*at));
        if slot as usize >= self.rows.len() {
            self.grow();
        }
        let mut value = Input(body.val(*at));
        *self.rows.get_mut(slot as usize) = value.i64()?;
        self.folds.iter_mut().try_for_each(|f| f.read(slot, &mut value))?;
        Ok(slot)
    }

    /// Makes groups of about so many entries that nothing has touched. True where there are more.
    pub(super) fn thaw_groups(&mut self, rows: usize) -> Result<bool, SqlError> {
        let Some(mut cold) = self.cold.take() else { return Ok(false) };
        for _ in 0..rows {
            match cold.next() {
                Some(Some(entry)) if self.groups.find(entry.0.key(entry.1)).is_none() => {
                    self.begin_with(&entry)?;
                }
                Some(_) => {}
                None => return Ok(false),
            }
        }
        self.cold = Some(cold);
        Ok(true)
    }
}
