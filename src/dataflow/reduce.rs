//! Grouped aggregates: one state per group on the group's owner, found by a hash of the group's bytes.
//!
//! Invariants: a group's row is emitted only where it changed; a group with no rows left is forgotten; without group
//! columns there is always exactly one row, from the dataflow's as_of on. A result that fails (a sum out of range)
//! becomes an error row and goes when the sum is in range again.

use crate::closed::ClosedTick;
use crate::layout::{Layout, pick};
use crate::stateless::{ERR, ErrorRow, OK, error_batch};
use crate::types::{Parcels, batch_of, schema_of};
use accumulate::Acc;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::SchemaRef;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use hw_plan::Aggregate;
use hw_repr::encoding::RowCodec;
use hw_repr::{Diff, SqlError, SqlType, Timestamp, UpdateBatch};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

mod accumulate;
pub mod float_sum;

/// Bytes a group takes beside its key and values.
const GROUP_BYTES: usize = 96;

/// One aggregate of one group.
struct Slot {
    acc: Acc,
    /// Counts of encoded arguments, for DISTINCT.
    seen: Option<HashMap<Box<[u8]>, i64>>,
}

struct Group {
    key: Box<[u8]>,
    rows: i64,
    slots: Vec<Slot>,
    emitted: Option<Result<Box<[u8]>, SqlError>>,
    touched: bool,
}

/// What is fixed about an aggregate.
struct Column {
    agg: Aggregate,
    arg: Option<SqlType>,
    codec: RowCodec,
    /// Encodes arguments: with all tails for min and max, equal for equal values otherwise.
    arg_codec: Option<RowCodec>,
}

/// The state of a reduction on one worker.
pub struct Reduce {
    layout: Layout,
    columns: Vec<Column>,
    output: RowCodec,
    schema: SchemaRef,
    index: HashTable<u32>,
    groups: Vec<Option<Group>>,
    free: Vec<u32>,
    hasher: RandomState,
    /// Without group columns: this worker keeps the one row.
    holds_global: bool,
    touched: Vec<u32>,
    key_bytes: usize,
}

impl Reduce {
    /// Over an input of `types`. `holds_global`: there are no group columns and this worker owns the empty key.
    pub fn new(types: &[SqlType], group: &[usize], aggregates: &[Aggregate], holds_global: bool) -> Reduce {
        let column = |agg: &Aggregate| {
            let arg = agg.arg.map(|a| types[a]);
            let extreme = matches!(Acc::new(agg.func, arg), Acc::Extreme(_));
            let make = |t: SqlType| if agg.distinct && !extreme { RowCodec::key(&[t]) } else { RowCodec::new(&[t]) };
            let arg_codec = arg.filter(|_| agg.distinct || extreme).map(make);
            Column { agg: agg.clone(), arg, codec: RowCodec::new(&[agg.ty]), arg_codec }
        };
        let mut out = pick(types, group);
        out.extend(aggregates.iter().map(|a| a.ty));
        Reduce {
            layout: Self::layout(types, group),
            columns: aggregates.iter().map(column).collect(),
            output: RowCodec::new(&out),
            schema: schema_of(&out),
            index: HashTable::new(),
            groups: vec![],
            free: vec![],
            hasher: RandomState::new(),
            holds_global,
            touched: vec![],
            key_bytes: 0,
        }
    }

    /// By which its input is exchanged.
    pub fn layout(types: &[SqlType], group: &[usize]) -> Layout {
        Layout::keyed(types, group)
    }

    /// The group of a key, made when new, marked as touched.
    fn group(&mut self, key: &[u8]) -> &mut Group {
        let (groups, hasher) = (&mut self.groups, &self.hasher);
        let is_key = |i: &u32| groups[*i as usize].as_ref().is_some_and(|g| *g.key == *key);
        let entry = self.index.entry(hasher.hash_one(key), is_key, |i| {
            groups[*i as usize].as_ref().map_or(0, |g| hasher.hash_one(&g.key[..]))
        });
        let slot = match entry {
            Entry::Occupied(e) => *e.get(),
            Entry::Vacant(e) => {
                let slots = self
                    .columns
                    .iter()
                    .map(|c| Slot { acc: Acc::new(c.agg.func, c.arg), seen: c.agg.distinct.then(HashMap::new) });
                let group = Group { key: key.into(), rows: 0, slots: slots.collect(), emitted: None, touched: false };
                self.key_bytes += key.len();
                let slot = self.free.pop().unwrap_or(groups.len() as u32);
                match groups.get_mut(slot as usize) {
                    Some(place) => *place = Some(group),
                    None => groups.push(Some(group)),
                }
                e.insert(slot);
                slot
            }
        };
        let group = self.groups[slot as usize].as_mut().expect("invariant: the index names live groups");
        if !group.touched {
            group.touched = true;
            self.touched.push(slot);
        }
        group
    }

    fn absorb(&mut self, batch: &UpdateBatch) -> Result<(), SqlError> {
        let mut keys = self.layout.key_encoder(&batch.rows);
        let args: Vec<Option<ArrayRef>> =
            self.columns.iter().map(|c| c.agg.arg.map(|a| batch.rows.column(a).clone())).collect();
        let filters: Vec<Option<ArrayRef>> =
            self.columns.iter().map(|c| c.agg.filter.map(|f| batch.rows.column(f).clone())).collect();
        let encode = |c: &Column, arg: &Option<ArrayRef>| -> Option<hw_repr::encoding::RowEncoder> {
            Some(c.arg_codec.as_ref()?.row_encoder(&[arg.clone()?]))
        };
        let mut encoders: Vec<_> = self.columns.iter().zip(&args).map(|(c, a)| encode(c, a)).collect();
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for row in 0..batch.len() {
            let diff = batch.diff(row);
            key.clear();
            keys.encode(row, &mut key);
            let group = self.group(&key);
            group.rows += diff;
            for (i, slot) in group.slots.iter_mut().enumerate() {
                let skip = filters[i].as_ref().is_some_and(|f| f.is_null(row) || !f.as_boolean().value(row));
                if skip || args[i].as_ref().is_some_and(|a| a.is_null(row)) {
                    continue;
                }
                value.clear();
                if let Some(encoder) = &mut encoders[i] {
                    encoder.encode(row, &mut value);
                }
                slot.add(args[i].as_ref(), row, &value, diff)?;
            }
        }
        Ok(())
    }

    /// Compares the touched groups with what they showed.
    fn emit(&mut self, time: Timestamp) -> Parcels {
        let (mut data, mut ends, mut diffs) = (Vec::new(), Vec::new(), Vec::new());
        let mut errors: Vec<ErrorRow> = vec![];
        for slot in std::mem::take(&mut self.touched) {
            let Some(group) = self.groups[slot as usize].as_mut() else { continue };
            group.touched = false;
            let shown = group.rows > 0 || self.holds_global;
            let now = shown.then(|| result(&self.columns, group));
            if now != group.emitted {
                let changes = [(group.emitted.take(), -1), (now.clone(), 1)];
                for (shown, diff) in changes {
                    match shown {
                        Some(Ok(bytes)) => {
                            data.extend_from_slice(&group.key);
                            data.extend_from_slice(&bytes);
                            ends.push(data.len());
                            diffs.push(diff);
                        }
                        Some(Err(error)) => {
                            errors.push(ErrorRow { error, expression: "aggregate".into(), row: "{}".into(), diff })
                        }
                        None => {}
                    }
                }
                group.emitted = now;
            }
            if group.rows == 0 && !self.holds_global {
                let hash = self.hasher.hash_one(&group.key[..]);
                if let Ok(found) = self.index.find_entry(hash, |i| *i == slot) {
                    found.remove();
                }
                self.key_bytes -= group.key.len();
                self.groups[slot as usize] = None;
                self.free.push(slot);
            }
        }
        self.parcels(time, &data, &ends, diffs, &errors)
    }

    fn parcels(&self, time: Timestamp, data: &[u8], ends: &[usize], diffs: Vec<Diff>, errors: &[ErrorRow]) -> Parcels {
        let mut out = Parcels::default();
        if !ends.is_empty() {
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let mut rows = starts.zip(ends).map(|(lo, hi)| &data[lo..*hi]);
            let columns = self.output.decode(&mut rows).expect("invariant: bytes of this codec");
            let rows = batch_of(&self.schema, columns, ends.len()).expect("invariant: the schema is the codec's");
            out.0.push((OK, UpdateBatch { rows, diffs: Some(Arc::new(diffs.into())), time }));
        }
        if !errors.is_empty() {
            out.0.push((ERR, error_batch(errors, time)));
        }
        out
    }
}

impl Slot {
    fn add(&mut self, arg: Option<&ArrayRef>, row: usize, bytes: &[u8], diff: Diff) -> Result<(), SqlError> {
        let Some(arg) = arg else {
            if let Acc::Count(n) = &mut self.acc {
                *n += diff;
            }
            return Ok(());
        };
        let Some(seen) = &mut self.seen else { return self.acc.add(arg, row, bytes, diff) };
        let count = match seen.get_mut(bytes) {
            Some(count) => count,
            None => seen.entry(bytes.into()).or_insert(0),
        };
        let before = *count > 0;
        *count += diff;
        let after = *count > 0;
        if *count == 0 {
            seen.remove(bytes);
        }
        match (before, after) {
            (false, true) => self.acc.add(arg, row, bytes, 1),
            (true, false) => self.acc.add(arg, row, bytes, -1),
            _ => Ok(()),
        }
    }
}

fn result(columns: &[Column], group: &Group) -> Result<Box<[u8]>, SqlError> {
    let mut out = Vec::new();
    for (column, slot) in columns.iter().zip(&group.slots) {
        slot.acc.finish(&column.agg, column.arg, &column.codec, &mut out)?;
    }
    Ok(out.into())
}

impl ClosedTick for Reduce {
    fn tick(&mut self, time: Timestamp, changes: Vec<UpdateBatch>) -> Parcels {
        if self.holds_global {
            self.group(&[]);
        }
        for batch in &changes {
            self.absorb(batch).expect("invariant: the planner checked the types of arguments");
        }
        self.emit(time)
    }

    fn size(&self) -> (usize, usize) {
        let live = self.index.len();
        // Values are estimated from a sample of the groups.
        let sample: Vec<&Group> = self.groups.iter().flatten().take(16).collect();
        let each = |g: &&Group| -> usize {
            g.slots.iter().map(|s| s.acc.bytes() + s.seen.as_ref().map_or(0, |m| m.len() * 48) + 64).sum()
        };
        let values = sample.iter().map(each).sum::<usize>() / sample.len().max(1);
        (live, self.key_bytes + live * (GROUP_BYTES + values))
    }
}
