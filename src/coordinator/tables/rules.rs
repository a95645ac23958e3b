//! What a row must be before it can be in its table: generated columns are computed, NOT NULL and CHECK are enforced.
//!
//! Each row is judged alone; uniqueness is judged elsewhere ([`super::state`]).

use super::{first_error, row_text, with_schema};
use arrow::array::{Array, BooleanArray, RecordBatch};
use hw_plan::{Object, ScalarExpr};
use hw_repr::{RelationDesc, SqlError, SqlState};
use hw_scalar::Mfp;
use std::sync::Arc;

/// An error, and the row of the batch that has it.
pub(crate) struct RowError {
    pub row: usize,
    pub error: Box<SqlError>,
}

impl From<RowError> for SqlError {
    fn from(e: RowError) -> SqlError {
        *e.error
    }
}

/// The rules of one table, compiled.
pub(crate) struct Rules {
    object: Arc<Object>,
    desc: RelationDesc,
    generated: Option<Mfp>,
    checks: Option<Mfp>,
}

impl Rules {
    /// Those of a table.
    pub(crate) fn new(object: &Arc<Object>) -> Result<Rules, SqlError> {
        let desc = object
            .desc()
            .cloned()
            .ok_or_else(|| SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", object.name)))?;
        let types = desc.types();
        let mut project: Vec<ScalarExpr> = types.iter().enumerate().map(|(i, t)| ScalarExpr::Column(i, *t)).collect();
        let mut any = false;
        for (i, stored) in object.rules.generated() {
            project[i] = stored.expr.clone();
            any = true;
        }
        let generated = if any { Some(Mfp::new(&[], &project, &types)?) } else { None };
        let checks: Vec<ScalarExpr> = object.rules.checks.iter().map(|c| c.expr.expr.clone()).collect();
        let checks = if checks.is_empty() { None } else { Some(Mfp::new(&[], &checks, &types)?) };
        Ok(Rules { object: object.clone(), desc, generated, checks })
    }

    /// The columns.
    pub(crate) fn desc(&self) -> &RelationDesc {
        &self.desc
    }

    /// The rows with their generated columns, once every rule holds for them.
    pub(crate) fn complete(&self, rows: RecordBatch) -> Result<RecordBatch, RowError> {
        let rows = match &self.generated {
            None => rows,
            Some(mfp) => {
                let out = mfp.apply(&rows);
                if let Some((row, error)) = out.errors.into_iter().min_by_key(|(row, _)| *row) {
                    return Err(RowError { row: row as usize, error: Box::new(error) });
                }
                with_schema(out.rows.columns().to_vec(), out.rows.num_rows(), &self.desc)
                    .map_err(|error| RowError { row: 0, error: Box::new(error) })?
            }
        };
        self.check_not_null(&rows)?;
        self.check(&rows)?;
        Ok(rows)
    }

    fn check_not_null(&self, rows: &RecordBatch) -> Result<(), RowError> {
        for (column, array) in self.desc.columns.iter().zip(rows.columns()) {
            if column.nullable || array.null_count() == 0 {
                continue;
            }
            let row = (0..array.len()).find(|r| array.is_null(*r)).unwrap_or(0);
            let message = format!(
                "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                column.name, self.object.name
            );
            let error = SqlError::new(SqlState::NOT_NULL, message).detail(self.failing(rows, row));
            return Err(RowError { row, error: Box::new(error) });
        }
        Ok(())
    }

    fn check(&self, rows: &RecordBatch) -> Result<(), RowError> {
        let Some(mfp) = &self.checks else { return Ok(()) };
        let out = mfp.apply(rows);
        if let Some((row, error)) = out.errors.into_iter().min_by_key(|(row, _)| *row) {
            return Err(RowError { row: row as usize, error: Box::new(error) });
        }
        for (rule, column) in self.object.rules.checks.iter().zip(out.rows.columns()) {
            let Some(holds) = column.as_any().downcast_ref::<BooleanArray>() else { continue };
            // NULL is not false.
            let Some(row) = (0..holds.len()).find(|r| holds.is_valid(*r) && !holds.value(*r)) else { continue };
            let message =
                format!("new row for relation \"{}\" violates check constraint \"{}\"", self.object.name, rule.name);
            let error = SqlError::new(SqlState::CHECK, message).detail(self.failing(rows, row));
            return Err(RowError { row, error: Box::new(error) });
        }
        Ok(())
    }

    fn failing(&self, rows: &RecordBatch, row: usize) -> String {
        format!("Failing row contains ({}).", row_text(rows, row, &self.desc))
    }
}

/// Which rows pass a condition.
pub(crate) fn passing(rows: &RecordBatch, filter: &ScalarExpr, desc: &RelationDesc) -> Result<BooleanArray, SqlError> {
    let out = Mfp::new(&[], std::slice::from_ref(filter), &desc.types())?.apply(rows);
    first_error(out.errors)?;
    let flags = out.rows.column(0).as_any().downcast_ref::<BooleanArray>().cloned();
    flags.ok_or_else(|| SqlError::internal("a condition that is not boolean"))
}

/// Rows made of the columns of others, under a relation's description.
pub(crate) fn project(
    rows: &RecordBatch,
    exprs: &[ScalarExpr],
    input: &[hw_repr::SqlType],
    desc: &RelationDesc,
) -> Result<RecordBatch, SqlError> {
    let out = Mfp::new(&[], exprs, input)?.apply(rows);
    first_error(out.errors)?;
    with_schema(out.rows.columns().to_vec(), out.rows.num_rows(), desc)
}
