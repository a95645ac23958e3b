//! COPY, on the session's side: what becomes of rows that the connection has read from its client.

use super::write::Insertion;
use super::{Session, done};
use crate::command::CopyLines;
use crate::session::{Executed, Outcome};
use crate::tables::rules::{Rules, passing, project};
use crate::tick::{WRITE_BYTES_MAX, logged_bytes, too_large};
use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use hw_plan::{CopyOptions, Object, ScalarExpr};
use hw_repr::{Column, GlobalId, RelationDesc, SqlError, SqlType};
use std::sync::Arc;

/// Rows on their way into a table. Nothing is written before [`Session::copy_done`].
pub struct CopyIn {
    /// The columns that come.
    pub desc: RelationDesc,
    /// How they are written.
    pub options: CopyOptions,
    insertion: Insertion,
    object: Arc<Object>,
    rules: Rules,
    fill: Vec<ScalarExpr>,
    filter: Option<ScalarExpr>,
    types: Vec<SqlType>,
    rows: Vec<RecordBatch>,
    lines: Vec<u32>,
    bytes: usize,
}

impl Session {
    pub(super) fn run_copy_from(
        &mut self,
        table: GlobalId,
        columns: Vec<usize>,
        (fill, filter): (Vec<ScalarExpr>, Option<ScalarExpr>),
        identity: bool,
        options: CopyOptions,
    ) -> Result<Executed, SqlError> {
        let object = self.table_object(table)?;
        let rules = Rules::new(&object)?;
        let column = |c: &usize| Column { nullable: true, ..rules.desc().columns[*c].clone() };
        let desc = RelationDesc::new(columns.iter().map(column).collect());
        let types = desc.types();
        let insertion = Insertion { table, identity, conflict: None, returning: None };
        let (rows, lines) = (vec![], vec![]);
        let copy = CopyIn { desc, options, insertion, object, rules, fill, filter, types, rows, lines, bytes: 0 };
        Ok(done(Outcome::CopyIn(Box::new(copy))))
    }

    /// Takes rows, each with its line in what the client has sent. The rules that a row alone can break are checked now.
    pub async fn copy_rows(
        &mut self,
        copy: &mut CopyIn,
        batch: RecordBatch,
        mut lines: Vec<u32>,
    ) -> Result<(), SqlError> {
        let mut full = project(&batch, &copy.fill, &copy.types, copy.rules.desc())?;
        if let Some(filter) = &copy.filter {
            let kept = passing(&full, filter, copy.rules.desc())?;
            full = filter_record_batch(&full, &kept).map_err(|e| SqlError::internal(e.to_string()))?;
            let mut flags = kept.iter();
            lines.retain(|_| flags.next().flatten() == Some(true));
        }
        let full = self.with_identity(&copy.object, &copy.rules, full, copy.insertion.identity).await?;
        let full = copy.rules.complete(full).map_err(|e| {
            let lines = CopyLines { relation: copy.options.relation.clone(), lines: lines.clone() };
            e.error.context(lines.context(e.row))
        })?;
        copy.bytes += logged_bytes(&full);
        if copy.bytes > WRITE_BYTES_MAX {
            return Err(too_large(copy.bytes));
        }
        copy.rows.push(full);
        copy.lines.extend(lines);
        Ok(())
    }

    /// The client has sent all: one write, and so one tick.
    pub async fn copy_done(&mut self, mut copy: Box<CopyIn>) -> Result<Executed, SqlError> {
        let rows = std::mem::take(&mut copy.rows);
        let lines = CopyLines { relation: copy.options.relation.clone(), lines: std::mem::take(&mut copy.lines) };
        let result = self.insert_rows(&copy.insertion, rows, None, Some(lines)).await;
        if result.is_err() {
            self.statement_failed();
        }
        Ok(done(Outcome::Complete { tag: format!("COPY {}", result?.count) }))
    }
}
