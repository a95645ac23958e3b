//! Writes to tables: constraint checks and the computation of changes at the commit point.
//!
//! Invariant: a write sees every earlier write, of this tick too; a failing write changes nothing.

use crate::command::TableWrite;
use crate::core::Core;
use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use hw_plan::{CatalogView, ScalarExpr};
use hw_repr::encoding::RowCodec;
use hw_repr::{
    Column, Datum, GlobalId, PublishedRelation, RelationDesc, SqlError, SqlState, SqlType, Timestamp, UpdateBatch,
};
use hw_scalar::Mfp;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// What a checked write does.
pub(crate) struct Checked {
    /// Rows affected, for the command tag.
    pub count: u64,
    /// The changes.
    pub changes: Vec<UpdateBatch>,
}

/// What the writes of one tick have done to a table so far.
#[derive(Default)]
pub(crate) struct Overlay {
    inserted: HashSet<Vec<u8>>,
    rewritten: bool,
}

impl Overlay {
    /// True after an UPDATE or DELETE: the table's published contents no longer decide.
    pub fn rewritten(&self) -> bool {
        self.rewritten
    }
}

impl Core {
    /// A query's rows may be written only if all tables behind it are still as it has read them: `written` are the
    /// tables that this tick has changed so far.
    pub(crate) fn check_current(
        &self,
        write: &TableWrite,
        written: &BTreeMap<GlobalId, Vec<UpdateBatch>>,
    ) -> Result<(), SqlError> {
        let TableWrite::Insert { read: Some((at, ids)), .. } = write else { return Ok(()) };
        let catalog = self.snapshot.load();
        let (mut behind, mut seen) = (ids.clone(), BTreeSet::new());
        while let Some(id) = behind.pop() {
            if !seen.insert(id) {
                continue;
            }
            if written.contains_key(&id) || self.changed.get(&id).is_some_and(|t| t > at) {
                return Err(SqlError::new(
                    SqlState::SERIALIZATION,
                    "could not serialize access due to a concurrent change of a table that the statement reads",
                )
                .hint("Run the statement again."));
            }
            behind.extend(catalog.get(id).iter().flat_map(|o| o.depends_on.iter().copied()));
        }
        Ok(())
    }

    /// Computes what `write` changes, or why it may not.
    pub(crate) fn check_write(
        &self,
        write: &TableWrite,
        overlay: &mut Overlay,
        time: Timestamp,
    ) -> Result<Checked, SqlError> {
        let id = write.table();
        let object = self.snapshot.load().get(id).filter(|_| self.flows.contains_key(&id)).ok_or_else(|| {
            SqlError::new(SqlState::UNDEFINED_TABLE, "the table was dropped before the statement could write it")
        })?;
        let desc = object
            .desc()
            .ok_or_else(|| SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", object.name)))?;
        let table =
            TableState { name: &object.name, desc, published: self.engine.published(id), as_of: self.last_tick };
        match write {
            TableWrite::Insert { rows, .. } => {
                let rows: Vec<&RecordBatch> = rows.iter().filter(|b| b.num_rows() > 0).collect();
                for batch in &rows {
                    table.check_not_null(batch)?;
                }
                table.check_unique(&rows, overlay, &HashSet::new())?;
                let count = rows.iter().map(|b| b.num_rows() as u64).sum();
                let changes = rows.into_iter().map(|b| UpdateBatch::inserts(b.clone(), time)).collect();
                Ok(Checked { count, changes })
            }
            TableWrite::Delete { filter, .. } => {
                let matched = table.matching(filter.as_ref())?;
                overlay.rewritten = true;
                let count = matched.num_rows() as u64;
                Ok(Checked { count, changes: retractions(matched, time) })
            }
            TableWrite::Update { filter, set, .. } => {
                let old = table.matching(filter.as_ref())?;
                let new = table.updated(&old, set)?;
                table.check_not_null(&new)?;
                table.check_unique(&[&new], overlay, &table.key_set(&old)?)?;
                overlay.rewritten = true;
                let count = old.num_rows() as u64;
                let mut changes = retractions(old, time);
                if new.num_rows() > 0 {
                    changes.push(UpdateBatch::inserts(new, time));
                }
                Ok(Checked { count, changes })
            }
        }
    }
}

fn retractions(rows: RecordBatch, time: Timestamp) -> Vec<UpdateBatch> {
    if rows.num_rows() == 0 {
        return vec![];
    }
    let diffs = Some(Arc::new(Int64Array::from(vec![-1; rows.num_rows()])));
    vec![UpdateBatch { rows, diffs, time }]
}

/// A table as the last tick left it.
struct TableState<'a> {
    name: &'a str,
    desc: &'a RelationDesc,
    published: Option<Arc<PublishedRelation>>,
    as_of: Timestamp,
}

impl TableState<'_> {
    fn check_not_null(&self, rows: &RecordBatch) -> Result<(), SqlError> {
        for (column, array) in self.desc.columns.iter().zip(rows.columns()) {
            if column.nullable || array.null_count() == 0 {
                continue;
            }
            let row = (0..array.len()).find(|r| array.is_null(*r)).unwrap_or(0);
            let failing = row_text(rows, row, self.desc);
            return Err(SqlError::new(
                SqlState::NOT_NULL,
                format!(
                    "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                    column.name, self.name
                ),
            )
            .detail(format!("Failing row contains ({failing}).")));
        }
        Ok(())
    }

    fn key(&self) -> Option<&Vec<usize>> {
        self.desc.keys.first()
    }

    fn key_codec(&self, key: &[usize]) -> RowCodec {
        let types: Vec<SqlType> = key.iter().map(|k| self.desc.columns[*k].ty).collect();
        RowCodec::key(&types)
    }

    fn key_set(&self, rows: &RecordBatch) -> Result<HashSet<Vec<u8>>, SqlError> {
        let Some(key) = self.key() else { return Ok(HashSet::new()) };
        Ok(encode_keys(&self.key_codec(key), rows, key).into_iter().collect())
    }

    /// Each new key must be new in the table (but for `leaving`), in this tick and in the statement itself.
    fn check_unique(
        &self,
        rows: &[&RecordBatch],
        overlay: &mut Overlay,
        leaving: &HashSet<Vec<u8>>,
    ) -> Result<(), SqlError> {
        let Some(key) = self.key() else { return Ok(()) };
        let codec = self.key_codec(key);
        let mut fresh: HashSet<Vec<u8>> = HashSet::new();
        for batch in rows {
            for (row, bytes) in encode_keys(&codec, batch, key).into_iter().enumerate() {
                let there = !leaving.contains(&bytes)
                    && (overlay.inserted.contains(&bytes) || self.contains_key(batch, row, key, &bytes)?);
                if there || fresh.contains(&bytes) {
                    return Err(self.duplicate(batch, row, key));
                }
                fresh.insert(bytes);
            }
        }
        overlay.inserted.extend(fresh);
        Ok(())
    }

    fn duplicate(&self, batch: &RecordBatch, row: usize, key: &[usize]) -> SqlError {
        let names: Vec<&str> = key.iter().map(|k| self.desc.columns[*k].name.as_str()).collect();
        let values: Vec<String> =
            key.iter().map(|k| value_text(batch.column(*k), row, self.desc.columns[*k].ty)).collect();
        SqlError::new(
            SqlState::UNIQUE,
            format!("duplicate key value violates unique constraint \"{}_pkey\"", self.name),
        )
        .detail(format!("Key ({})=({}) already exists.", names.join(", "), values.join(", ")))
    }

    /// True where a row with this key is there.
    fn contains_key(&self, batch: &RecordBatch, row: usize, key: &[usize], bytes: &[u8]) -> Result<bool, SqlError> {
        let Some(published) = &self.published else { return Ok(false) };
        let datums: Vec<Datum> = key
            .iter()
            .map(|k| Datum::from_array(batch.column(*k), row, self.desc.columns[*k].ty))
            .collect::<Result<_, _>>()?;
        match hw_query::point_read(self.desc, published, &datums, self.as_of)? {
            Some(batches) => Ok(batches.iter().any(|b| b.num_rows() > 0)),
            // Types whose equal values have several encodings: compare the keys of all rows.
            None => Ok(self.key_set(&self.matching(None)?)?.contains(bytes)),
        }
    }

    /// The rows for which `filter` is true.
    fn matching(&self, filter: Option<&ScalarExpr>) -> Result<RecordBatch, SqlError> {
        let all = match &self.published {
            Some(p) => decode_published(p, self.desc, self.as_of)?,
            None => RecordBatch::new_empty(open_desc(self.desc).schema()),
        };
        let Some(filter) = filter else { return Ok(all) };
        let types = self.desc.types();
        let project: Vec<ScalarExpr> = types.iter().enumerate().map(|(i, t)| ScalarExpr::Column(i, *t)).collect();
        let out = Mfp::new(std::slice::from_ref(filter), &project, &types)?.apply(&all);
        match out.errors.into_iter().next() {
            Some((_, e)) => Err(e),
            None => with_schema(out.rows.columns().to_vec(), out.rows.num_rows(), self.desc),
        }
    }

    fn updated(&self, old: &RecordBatch, set: &[(usize, ScalarExpr)]) -> Result<RecordBatch, SqlError> {
        let types = self.desc.types();
        let mut project: Vec<ScalarExpr> = types.iter().enumerate().map(|(i, t)| ScalarExpr::Column(i, *t)).collect();
        for (column, value) in set {
            project[*column] = value.clone();
        }
        let out = Mfp::new(&[], &project, &types)?.apply(old);
        match out.errors.into_iter().next() {
            Some((_, e)) => Err(e),
            None => with_schema(out.rows.columns().to_vec(), out.rows.num_rows(), self.desc),
        }
    }
}

/// A batch whose fields allow NULL, so that checks of ours, not Arrow's, decide.
pub(crate) fn with_schema(columns: Vec<ArrayRef>, rows: usize, desc: &RelationDesc) -> Result<RecordBatch, SqlError> {
    let open = open_desc(desc);
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(open.schema(), columns, &options)
        .map_err(|e| SqlError::internal(format!("columns do not fit the relation: {e}")))
}

fn open_desc(desc: &RelationDesc) -> RelationDesc {
    RelationDesc::new(desc.columns.iter().map(|c| Column { nullable: true, ..c.clone() }).collect())
}

fn encode_keys(codec: &RowCodec, batch: &RecordBatch, key: &[usize]) -> Vec<Vec<u8>> {
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
