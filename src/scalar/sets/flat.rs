//! The operator of maintained views: batches of rows to the rows of their sets, with failing rows set apart.
//!
//! Invariant: the result for a row, its rows or its error, depends on that row alone, whatever batch it comes in.

use super::{Call, Opened, ROWS_MAX, Sets, open, prepared, too_many};
use crate::compile::compile_operand;
use crate::eval::{Input, Operand};
use crate::mfp::{evaluate_all, failing_rows};
use crate::value::{Val, internal};
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Field, Schema, SchemaRef};
use hw_plan::{ScalarExpr, SetCall};
use hw_repr::datum::datums_to_array;
use hw_repr::{Datum, SqlError, SqlType};
use std::sync::Arc;

/// Rows after which a part of the output is closed.
const PART_ROWS: usize = 8192;

/// What became of a batch.
pub struct FlatMapOutput {
    /// Output rows, each with its input row; in input order.
    pub parts: Vec<(RecordBatch, UInt32Array)>,
    /// Rows that failed, by input row: which call, and the error that the row gives alone.
    pub errors: Vec<(u32, usize, SqlError)>,
}

/// Set-returning calls over the rows of batches.
pub struct FlatMap {
    keep: Vec<usize>,
    sets: Sets,
    /// Of all calls, one after the other, with the number of the call.
    operands: Vec<(usize, Operand)>,
    schema: SchemaRef,
}

impl FlatMap {
    /// Compiles `calls` over an input of these column types; the output is the columns `keep` of it, then theirs.
    pub fn new(keep: &[usize], calls: &[SetCall], outer: bool, input: &[SqlType]) -> Result<FlatMap, SqlError> {
        let (mut operands, mut made) = (vec![], vec![]);
        for (i, call) in calls.iter().enumerate() {
            let (func, exprs) = prepared(call.func, call.args.clone());
            for e in &exprs {
                operands.push((i, compile_operand(e, input)?));
            }
            let types = exprs.iter().map(ScalarExpr::ty).collect();
            // The arguments are computed as they are: nothing is left to prepare.
            let prepare = crate::compile::compile(&[], &[])?;
            made.push(Call { func, prepare, types, columns: call.types.clone() });
        }
        let kept = keep.iter().map(|c| input.get(*c).copied());
        let kept = kept.collect::<Option<Vec<_>>>().ok_or_else(|| SqlError::internal("a column that is not there"))?;
        let types = kept.into_iter().chain(calls.iter().flat_map(|c| c.types.iter().copied()));
        let fields: Vec<Field> = types.enumerate().map(|(i, t)| Field::new(format!("c{i}"), t.arrow(), true)).collect();
        let sets = Sets { calls: made, outer };
        Ok(FlatMap { keep: keep.to_vec(), sets, operands, schema: Arc::new(Schema::new(fields)) })
    }

    /// The rows of each input row, or its error.
    pub fn apply(&self, batch: &RecordBatch) -> FlatMapOutput {
        self.all(batch).unwrap_or_else(|e| FlatMapOutput {
            // A batch that fails only as a whole is a bug of ours; no row of it may get through.
            parts: vec![],
            errors: (0..batch.num_rows() as u32).map(|row| (row, 0, e.clone())).collect(),
        })
    }

    fn all(&self, batch: &RecordBatch) -> Result<FlatMapOutput, SqlError> {
        let rows = batch.num_rows();
        let input = Input { columns: batch.columns().iter().cloned().map(Val::Array).collect(), rows };
        let all: Vec<&Operand> = self.operands.iter().map(|(_, o)| o).collect();
        let mut out = FlatMapOutput { parts: vec![], errors: vec![] };
        match evaluate_all(&all, &input) {
            Ok(args) => {
                let of: Vec<u32> = (0..rows as u32).collect();
                self.expand(batch, args, &of, &mut out)?;
            }
            Err(_) => {
                let columns: Vec<usize> = (0..input.columns.len()).collect();
                let failing = failing_rows(&all, &input, &columns);
                let mut of: Vec<u32> = (0..rows as u32).collect();
                of.retain(|row| failing.binary_search_by_key(row, |(r, _)| *r).is_err());
                for (row, error) in failing {
                    out.errors.push((row, self.failing_call(&input, row as usize), error));
                }
                let at = UInt32Array::from(of.clone());
                let picked = |v: &Val| take(v.array(), &at, None).map(Val::Array).map_err(internal);
                let columns = input.columns.iter().map(picked).collect::<Result<Vec<_>, _>>()?;
                let args = evaluate_all(&all, &Input { columns, rows: of.len() })?;
                self.expand(batch, args, &of, &mut out)?;
            }
        }
        Ok(out)
    }

    /// The first call whose arguments fail on a row.
    fn failing_call(&self, input: &Input, row: usize) -> usize {
        let columns: Vec<usize> = (0..input.columns.len()).collect();
        let one = input.slice(row, 1, &columns);
        self.operands.iter().find(|(_, o)| o.evaluate(&one).is_err()).map_or(0, |(call, _)| *call)
    }

    /// The sets of the rows `of`, whose arguments these are.
    fn expand(
        &self,
        batch: &RecordBatch,
        args: Vec<ArrayRef>,
        of: &[u32],
        out: &mut FlatMapOutput,
    ) -> Result<(), SqlError> {
        let mut by_call: Vec<Vec<ArrayRef>> = self.sets.calls.iter().map(|_| vec![]).collect();
        for ((call, _), array) in self.operands.iter().zip(args) {
            by_call[*call].push(array);
        }
        let mut values = self.sets.buffer();
        let mut rows: Vec<u32> = vec![];
        for (place, row) in of.iter().enumerate() {
            let before = rows.len();
            if let Err((call, error)) = self.row(&by_call, place, *row, &mut values, &mut rows) {
                rows.truncate(before);
                values.iter_mut().for_each(|v| v.truncate(before));
                out.errors.push((*row, call, *error));
            }
            if rows.len() >= PART_ROWS {
                self.close(batch, &mut values, &mut rows, out)?;
            }
        }
        self.close(batch, &mut values, &mut rows, out)
    }

    /// Makes parts of the rows that are there.
    fn close(
        &self,
        batch: &RecordBatch,
        values: &mut [Vec<Datum>],
        rows: &mut Vec<u32>,
        out: &mut FlatMapOutput,
    ) -> Result<(), SqlError> {
        let mut todo: Vec<(usize, usize)> =
            (0..rows.len()).step_by(PART_ROWS).map(|at| (at, (at + PART_ROWS).min(rows.len()))).rev().collect();
        while let Some((from, to)) = todo.pop() {
            match self.part(batch, values, &rows[from..to], from) {
                Ok(part) => out.parts.push(part),
                // Long texts beside each of many rows are more than one column can hold.
                Err(_) if to - from > 1 => {
                    let half = from + (to - from) / 2;
                    todo.push((half, to));
                    todo.push((from, half));
                }
                Err(e) => return Err(e),
            }
        }
        rows.clear();
        values.iter_mut().for_each(Vec::clear);
        Ok(())
    }

    /// Appends the rows of one input row, or says which call fails and how.
    fn row(
        &self,
        args: &[Vec<ArrayRef>],
        place: usize,
        row: u32,
        values: &mut [Vec<Datum>],
        rows: &mut Vec<u32>,
    ) -> Result<(), (usize, Box<SqlError>)> {
        let mut sets = vec![];
        for (i, (call, args)) in self.sets.calls.iter().zip(args).enumerate() {
            sets.push(open::open(call.func, args, &call.types, place).map_err(|e| (i, Box::new(e)))?);
        }
        let mut open = Opened { sets, rows: 0 };
        while self.sets.step(&mut open, values).map_err(|e| (0, Box::new(e)))? {
            if open.rows as usize > ROWS_MAX {
                return Err((0, Box::new(too_many())));
            }
            rows.push(row);
        }
        Ok(())
    }

    /// These rows, whose values begin at `from`.
    fn part(
        &self,
        batch: &RecordBatch,
        values: &[Vec<Datum>],
        rows: &[u32],
        from: usize,
    ) -> Result<(RecordBatch, UInt32Array), SqlError> {
        let at = UInt32Array::from(rows.to_vec());
        let kept = self.keep.iter().map(|c| take(batch.column(*c), &at, None).map_err(internal));
        let mut columns = kept.collect::<Result<Vec<_>, _>>()?;
        let types = self.sets.calls.iter().flat_map(|c| &c.columns);
        for (ty, v) in types.zip(values) {
            columns.push(datums_to_array(*ty, &v[from..from + rows.len()])?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(at.len()));
        let fields = self.schema.fields().iter().zip(&columns);
        // A column that came in under another spelling of its type keeps it.
        let fields: Vec<Field> = fields.map(|(f, c)| Field::new(f.name(), c.data_type().clone(), true)).collect();
        let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
        Ok((rows.map_err(internal)?, at))
    }
}
