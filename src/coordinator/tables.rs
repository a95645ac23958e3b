//! Writes to tables: constraint checks and the computation of changes at the commit point.
//!
//! Invariant: a write sees every earlier write, of this tick too; a failing write changes nothing.

pub(crate) mod lookup;
pub(crate) mod rules;
pub(crate) mod state;

use crate::command::TableWrite;
use crate::core::Core;
use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use hw_plan::CatalogView;
use hw_repr::encoding::RowCodec;
use hw_repr::{
    Column, Diff, GlobalId, PublishedRelation, RelationDesc, SqlError, SqlState, SqlType, Timestamp, UpdateBatch,
};
use rules::Rules;
use state::{Change, Fresh, TableState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the writes of one tick have done to a table so far.
#[derive(Default)]
pub(crate) struct Overlay {
    inserted: Fresh,
    rewritten: bool,
}

impl Overlay {
    /// True after an UPDATE or DELETE: the table's published contents no longer decide.
    pub fn rewritten(&self) -> bool {
        self.rewritten
    }

    /// Rows have left, or were changed.
    pub fn rewrite(&mut self) {
        self.rewritten = true;
    }
}

impl Core {
    /// What was read before may be written only if all tables behind it are still as they were: `written` are the
    /// tables that this tick has changed so far.
    pub(crate) fn check_current(
        &self,
        write: &TableWrite,
        written: &BTreeMap<GlobalId, Vec<UpdateBatch>>,
    ) -> Result<(), SqlError> {
        let (at, ids) = match write {
            TableWrite::Insert { read: Some((at, ids)), .. } => (*at, ids.clone()),
            TableWrite::Transaction { at, reads, changes } => {
                (*at, reads.iter().copied().chain(changes.iter().map(|(id, ..)| *id)).collect())
            }
            _ => return Ok(()),
        };
        let catalog = self.snapshot.load();
        let (mut behind, mut seen) = (ids, BTreeSet::new());
        while let Some(id) = behind.pop() {
            if !seen.insert(id) {
                continue;
            }
            if written.contains_key(&id) || self.changed.get(&id).is_some_and(|t| *t > at) {
                return Err(conflict(&catalog.get(id).map(|o| o.name.clone()).unwrap_or_default(), write));
            }
            behind.extend(catalog.get(id).iter().flat_map(|o| o.depends_on.iter().copied()));
        }
        if let TableWrite::Transaction { changes, .. } = write
            && let Some((id, ..)) = changes.iter().find(|(id, ..)| !self.flows.contains_key(id))
        {
            return Err(SqlError::new(
                SqlState::UNDEFINED_TABLE,
                format!("the table with OID {} was dropped before the transaction could write it", id.0),
            ));
        }
        Ok(())
    }

    /// Computes what a write to one table changes, or why it may not.
    pub(crate) fn check_write(&self, write: &TableWrite, overlay: &mut Overlay) -> Result<Change, SqlError> {
        let gone =
            || SqlError::new(SqlState::UNDEFINED_TABLE, "the table was dropped before the statement could write it");
        let id = write.table().ok_or_else(|| SqlError::internal("a write to no table"))?;
        let object = self.snapshot.load().get(id).filter(|_| self.flows.contains_key(&id)).ok_or_else(gone)?;
        let own = self.engine.published(id);
        let arrangements = own.into_iter().chain(self.indexes_of(id, self.last_tick)).collect();
        let table = TableState { object: &object, rules: Rules::new(&object)?, arrangements, as_of: self.last_tick };
        match write {
            TableWrite::Insert { rows, conflict, lines, .. } => {
                let change = table.insert(rows, conflict.as_ref(), lines.as_ref(), &mut overlay.inserted)?;
                overlay.rewritten |= !change.removed.is_empty();
                Ok(change)
            }
            TableWrite::Delete { filter, .. } => {
                overlay.rewrite();
                table.delete(filter.as_ref())
            }
            TableWrite::Update { filter, set, .. } => {
                let change = table.update(filter.as_ref(), set, &mut overlay.inserted)?;
                overlay.rewrite();
                Ok(change)
            }
            TableWrite::Transaction { .. } => Err(SqlError::internal("a transaction is no write to one table")),
        }
    }
}

/// `40001`
fn conflict(table: &str, write: &TableWrite) -> SqlError {
    let e = SqlError::new(
        SqlState::SERIALIZATION,
        "could not serialize access due to read/write dependencies among transactions",
    );
    let e = e.detail(format!("Table \"{table}\", which was read or written, has been changed since."));
    e.hint(match write {
        TableWrite::Transaction { .. } => "The transaction might succeed if retried.",
        _ => "Run the statement again.",
    })
}

impl Change {
    /// As the workers and the log take it.
    pub(crate) fn updates(&self, time: Timestamp) -> Vec<UpdateBatch> {
        let removed = self.removed.iter().flat_map(|rows| updates(rows.clone(), -1, time));
        removed.chain(self.added.iter().flat_map(|rows| updates(rows.clone(), 1, time))).collect()
    }
}

/// Rows that are there `diff` times more often.
pub(crate) fn updates(rows: RecordBatch, diff: Diff, time: Timestamp) -> Option<UpdateBatch> {
    if rows.num_rows() == 0 {
        return None;
    }
    let diffs = (diff != 1).then(|| Arc::new(Int64Array::from(vec![diff; rows.num_rows()])));
    Some(UpdateBatch { rows, diffs, time })
}

/// Fails where a row has failed.
pub(crate) fn first_error(errors: Vec<(u32, SqlError)>) -> Result<(), SqlError> {
    match errors.into_iter().min_by_key(|(row, _)| *row) {
        Some((_, e)) => Err(e),
        None => Ok(()),
    }
}

/// A batch whose fields allow NULL, so that checks of ours, not Arrow's, decide.
pub(crate) fn with_schema(columns: Vec<ArrayRef>, rows: usize, desc: &RelationDesc) -> Result<RecordBatch, SqlError> {
    let open = open_desc(desc);
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(open.schema(), columns, &options)
        .map_err(|e| SqlError::internal(format!("columns do not fit the relation: {e}")))
}

pub(crate) fn open_desc(desc: &RelationDesc) -> RelationDesc {
    RelationDesc::new(desc.columns.iter().map(|c| Column { nullable: true, ..c.clone() }).collect())
}

/// Batches under the schema of a relation whose columns may be NULL.
pub(crate) fn opened(batches: Vec<RecordBatch>, open: &RelationDesc) -> Result<Vec<RecordBatch>, SqlError> {
    batches.into_iter().map(|b| with_schema(b.columns().to_vec(), b.num_rows(), open)).collect()
}

pub(crate) fn encode_keys(codec: &RowCodec, batch: &RecordBatch, key: &[usize]) -> Vec<Vec<u8>> {
    let columns: Vec<ArrayRef> = key.iter().map(|k| batch.column(*k).clone()).collect();
    let mut encoder = codec.row_encoder(&columns);
    let mut out = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let mut bytes = Vec::new();
        encoder.encode(row, &mut bytes);
        out.push(bytes);
    }
    out
}

/// All rows of an arrangement at `as_of`, in the relation's column order; a row that is there n times comes n times.
pub(crate) fn decode_published(
    p: &PublishedRelation,
    desc: &RelationDesc,
    as_of: Timestamp,
) -> Result<RecordBatch, SqlError> {
    let open = open_desc(desc);
    let batches = hw_query::point_read(&open, p, &[], as_of)?.unwrap_or_default();
    concat_batches(&open.schema(), &batches).map_err(|e| SqlError::internal(e.to_string()))
}

fn value_text(array: &ArrayRef, row: usize, ty: SqlType) -> String {
    if array.is_null(row) {
        return "null".into();
    }
    let mut out = String::new();
    hw_repr::text::write_value(array, row, ty, &mut out);
    out
}

fn row_text(rows: &RecordBatch, row: usize, desc: &RelationDesc) -> String {
    let values: Vec<String> = desc.columns.iter().zip(rows.columns()).map(|(c, a)| value_text(a, row, c.ty)).collect();
    values.join(", ")
}
