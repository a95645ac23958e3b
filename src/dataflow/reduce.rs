//! Grouped aggregates, and DISTINCT as the grouping without aggregates: columns of state on the group's owner, found by
//! a hash of the group's bytes.
//!
//! Invariants: a group's row is emitted only where it changed; a group with no rows left is forgotten; without group
//! columns there is always exactly one row, from the dataflow's as_of on. A result that fails (a sum out of range)
//! becomes an error row and goes when the sum is in range again.

use crate::chunk::RowChunk;
use crate::closed::ClosedTick;
use crate::exchange::Keyed;
use crate::layout::{Layout, pick};
use crate::state::Entries;
use crate::stateless::{ERR, ErrorRow, OK, error_batch, row_json};
use crate::types::{Parcels, batch_of, schema_of};
use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use fold::{Fold, Pick, fold};
use groups::Groups;
use hw_plan::Aggregate;
use hw_repr::encoding::RowCodec;
use hw_repr::{Diff, SqlError, SqlType, Timestamp, UpdateBatch};
use std::collections::BTreeMap;
use std::sync::Arc;

mod cold;
mod fold;
pub mod groups;
mod saved;
mod top;

/// Groups whose changes go out as one batch.
const EMIT_GROUPS: usize = 2048;

/// The state of a reduction on one worker.
pub struct Reduce {
    layout: Layout,
    key_codec: RowCodec,
    key_schema: SchemaRef,
    key_types: Vec<SqlType>,
    schema: SchemaRef,
    groups: Groups,
    /// Those that are not in `groups` yet.
    cold: Option<cold::Cold>,
    /// Rows of each group, by slot.
    rows: crate::slab::Slab<i64>,
    folds: Vec<Box<dyn Fold>>,
    /// Without group columns: this worker keeps the one row.
    holds_global: bool,
    /// The one row was shown.
    global_shown: bool,
    /// Groups changed in this tick, in the order of their first touch, and the rows they had.
    touched: Vec<u32>,
    rows_before: Vec<i64>,
    /// By slot: one more than the number of the tick that touched it last.
    touched_in: crate::slab::Slab<u32>,
    tick: u32,
    /// Touched groups that were emitted.
    emitted: usize,
    slots: Vec<u32>,
    saved: saved::Saved,
    /// Names of the group's columns, and the texts of the aggregates: for errors.
    names: [Vec<String>; 2],
}

impl Reduce {
    /// Over an input of `types`. `holds_global`: there are no group columns and this worker owns the empty key.
    /// `append_only`: nothing is ever retracted from the input.
    pub fn new(
        types: &[SqlType],
        group: &[usize],
        aggregates: &[Aggregate],
        holds_global: bool,
        append_only: bool,
    ) -> Reduce {
        let key_types = pick(types, group);
        let mut out = key_types.clone();
        out.extend(aggregates.iter().map(|a| a.ty));
        Reduce {
            layout: Self::layout(types, group),
            key_codec: RowCodec::key(&key_types),
            key_schema: schema_of(&key_types),
            key_types,
            schema: schema_of(&out),
            groups: Groups::new(),
            cold: None,
            rows: Default::default(),
            folds: aggregates.iter().map(|a| fold(a, types, append_only)).collect(),
            holds_global,
            global_shown: false,
            touched: vec![],
            rows_before: vec![],
            touched_in: Default::default(),
            tick: 1,
            emitted: 0,
            slots: vec![],
            saved: saved::Saved::default(),
            names: Default::default(),
        }
    }

    /// With what errors call the group's columns and the aggregates.
    pub fn named(self, group: Vec<String>, aggregates: Vec<String>) -> Reduce {
        Reduce { names: [group, aggregates], ..self }
    }

    /// By which its input is exchanged.
    pub fn layout(types: &[SqlType], group: &[usize]) -> Layout {
        Layout::keyed(types, group)
    }

    /// Marks a slot as touched.
    fn touch(&mut self, slot: u32) {
        let at = slot as usize;
        if at >= self.rows.len() {
            self.grow();
        }
        let seen = self.touched_in.get_mut(at);
        if *seen != self.tick {
            *seen = self.tick;
            self.touched.push(slot);
            self.rows_before.push(*self.rows.get(at));
            self.note_change(slot);
        }
    }

    /// Makes room for every slot.
    fn grow(&mut self) {
        let slots = self.groups.slots();
        self.rows.grow(slots);
        self.touched_in.grow(slots);
        self.saved.grow(slots);
        self.folds.iter_mut().for_each(|f| f.grow(slots));
    }

    /// Lets the aggregates note what newly touched groups were.
    fn remember(&mut self, from: usize) {
        let fresh = &self.touched[from..];
        self.folds.iter_mut().for_each(|f| f.remember(fresh));
    }

    /// The changes of the touched groups `range`, as picks with their diffs.
    fn changes(&self, range: std::ops::Range<usize>) -> (Vec<Pick>, Vec<u32>, Vec<Diff>) {
        let (mut picks, mut keys, mut diffs) = (vec![], vec![], vec![]);
        for i in range.clone() {
            let slot = self.touched[i];
            let was = self.rows_before[i] > 0 || self.global_shown;
            let is = *self.rows.get(slot as usize) > 0 || self.holds_global;
            if was == is && !(was && self.folds.iter().any(|f| f.changed(i, slot))) {
                continue;
            }
            let key = (i - range.start) as u32;
            for (shown, pick, diff) in [(was, Pick::Before(i), -1), (is, Pick::Now(slot), 1)] {
                if shown {
                    picks.push(pick);
                    keys.push(key);
                    diffs.push(diff);
                }
            }
        }
        (picks, keys, diffs)
    }

    fn parcels(&self, range: std::ops::Range<usize>, time: Timestamp) -> Result<Parcels, SqlError> {
        let (picks, keys, diffs) = self.changes(range.clone());
        if picks.is_empty() {
            return Ok(Parcels::default());
        }
        let mut bytes = self.touched[range].iter().map(|slot| self.groups.key(*slot));
        let decoded = self.key_codec.decode(&mut bytes)?;
        let keys = UInt32Array::from(keys);
        let mut columns: Vec<ArrayRef> = vec![];
        for column in &decoded {
            columns.push(take(column, &keys, None).map_err(|e| SqlError::internal(e.to_string()))?);
        }
        let key_batch = batch_of(&self.key_schema, columns.clone(), picks.len())?;
        let mut failed: BTreeMap<usize, (usize, SqlError)> = BTreeMap::new();
        for (number, fold) in self.folds.iter().enumerate() {
            let (column, errors) = fold.finish(&picks)?;
            columns.push(column);
            for (i, e) in errors {
                failed.entry(i).or_insert((number, e));
            }
        }
        let rows = batch_of(&self.schema, columns, picks.len())?;
        let mut batch = UpdateBatch { rows, diffs: Some(Arc::new(diffs.clone().into())), time };
        let mut out = Parcels::default();
        if !failed.is_empty() {
            let errors: Vec<ErrorRow> =
                failed.iter().map(|(i, e)| self.error_row(&key_batch, *i, e.clone(), diffs[*i])).collect();
            out.0.push((ERR, error_batch(&errors, time)));
            let good: UInt32Array =
                (0..picks.len()).filter(|i| !failed.contains_key(i)).map(|i| i as u32).collect::<Vec<_>>().into();
            batch = crate::exchange::select(&batch, &good);
        }
        if !batch.is_empty() {
            out.0.push((OK, batch));
        }
        Ok(out)
    }

    fn error_row(&self, keys: &RecordBatch, row: usize, (number, error): (usize, SqlError), diff: Diff) -> ErrorRow {
        let [group, aggregates] = &self.names;
        let expression = aggregates.get(number).cloned().unwrap_or_default();
        ErrorRow { error, expression, row: row_json(keys, row, &self.key_types, group), diff }
    }

    /// Forgets what is gone, and what was.
    fn end_tick(&mut self) {
        for slot in std::mem::take(&mut self.touched) {
            if *self.rows.get(slot as usize) == 0 && !self.holds_global {
                self.saved.note_end(slot, self.groups.key(slot));
                if let Some(cold) = &mut self.cold {
                    cold.note_end(self.groups.key(slot));
                }
                self.groups.remove(slot);
                self.folds.iter_mut().for_each(|f| f.clear(slot));
            }
        }
        self.rows_before.clear();
        self.folds.iter_mut().for_each(|f| f.forget());
        if self.groups.len() == 0 && self.groups.slots() > 0 {
            self.groups.reset();
            self.rows.clear();
            self.touched_in.clear();
            self.saved.reset();
            self.folds.iter_mut().for_each(|f| f.reset());
        }
        self.global_shown = self.holds_global;
        self.emitted = 0;
        self.tick = self.tick.wrapping_add(1).max(1);
    }
}

impl ClosedTick for Reduce {
    fn absorb(&mut self, _: usize, rows: Keyed) {
        let mut keys = rows.keys(&self.layout);
        let mut slots = std::mem::take(&mut self.slots);
        slots.clear();
        let first = self.touched.len();
        for row in 0..rows.len() {
            let slot = self.slot(keys.get(row));
            self.touch(slot);
            slots.push(slot);
        }
        self.remember(first);
        for (row, slot) in slots.iter().enumerate() {
            *self.rows.get_mut(*slot as usize) += rows.diff(row);
        }
        let window = rows.window();
        self.folds.iter_mut().for_each(|f| f.add(&slots, &window));
        self.slots = slots;
    }

    fn emit(&mut self, time: Timestamp) -> Option<Parcels> {
        if self.holds_global && self.touched.is_empty() && !self.global_shown {
            let slot = self.groups.slot(&[]);
            self.touch(slot);
            self.remember(0);
        }
        if self.emitted == self.touched.len() {
            self.end_tick();
            return None;
        }
        let to = (self.emitted + EMIT_GROUPS).min(self.touched.len());
        let parcels = self.parcels(self.emitted..to, time);
        self.emitted = to;
        Some(parcels.expect("invariant: keys and arguments have the types that the planner checked"))
    }

    fn size(&self) -> (usize, usize) {
        let bytes: usize = self.folds.iter().map(|f| f.bytes()).sum();
        let own = self.groups.bytes() + self.rows.bytes() + self.touched_in.bytes() + self.saved.bytes();
        let (cold_groups, cold_bytes) = self.cold.as_ref().map_or((0, 0), cold::Cold::size);
        (self.groups.len() + cold_groups, own + bytes + cold_bytes)
    }

    fn begin_taking(&mut self, all: bool) {
        self.begin(all);
    }

    fn take_some(&mut self, rows: usize) -> Option<Entries> {
        self.take(rows)
    }

    fn restore(&mut self, entries: Vec<Vec<RowChunk>>) -> Result<(), SqlError> {
        self.restore_groups(entries)
    }

    fn thaw(&mut self, rows: usize) -> bool {
        self.thaw_groups(rows).expect("invariant: entries are what this operator gave")
    }
}
