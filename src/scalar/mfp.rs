//! Filters and projections over batches, with failing rows set apart.
//!
//! Invariant: the result for a row, value or error, depends on that row alone, whatever batch it comes in.

use crate::compile::compile_operand;
use crate::eval::{Input, Operand, true_rows};
use crate::value::{Val, internal};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::filter;
use arrow::datatypes::{Field, Schema, SchemaRef};
use hw_plan::ScalarExpr;
use hw_repr::{SqlError, SqlType};
use std::sync::Arc;

/// What became of a batch.
#[derive(Clone, Debug)]
pub struct MfpOutput {
    /// The projected rows, in input order.
    pub rows: RecordBatch,
    /// The input row of each output row; `None` when every input row is in the output.
    pub kept: Option<UInt32Array>,
    /// Rows that failed, by input row, each with the error it gives alone; in no particular order.
    pub errors: Vec<(u32, SqlError)>,
}

/// Conjuncts applied in order, then projections.
pub struct Mfp {
    filters: Vec<Operand>,
    projections: Vec<Operand>,
    schema: SchemaRef,
    /// Columns that any expression reads.
    columns: Vec<usize>,
}

impl Mfp {
    /// Compiles `filter` (conjuncts) and `project` over an input of these column types.
    pub fn new(filter: &[ScalarExpr], project: &[ScalarExpr], input: &[SqlType]) -> Result<Mfp, SqlError> {
        let filters =
            conjuncts(filter).into_iter().map(|e| compile_operand(e, input)).collect::<Result<Vec<_>, _>>()?;
        let projections = project.iter().map(|e| compile_operand(e, input)).collect::<Result<Vec<_>, _>>()?;
        let fields: Vec<Field> =
            project.iter().enumerate().map(|(i, e)| Field::new(format!("c{i}"), e.ty().arrow(), true)).collect();
        let mut columns: Vec<usize> = filters.iter().chain(&projections).flat_map(|o| o.columns.clone()).collect();
        columns.sort_unstable();
        columns.dedup();
        Ok(Mfp { filters, projections, schema: Arc::new(Schema::new(fields)), columns })
    }

    /// The schema of every output batch: columns `c0`, `c1`, ..., all nullable.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether no row can ever fail.
    pub fn is_total(&self) -> bool {
        !self.filters.iter().chain(&self.projections).any(|o| o.fallible)
    }

    /// Applies filters, then projections. Column projections are not copied when every row passes.
    pub fn apply(&self, batch: &RecordBatch) -> MfpOutput {
        let mut rows = Rows {
            input: Input { columns: batch.columns().iter().cloned().map(Val::Array).collect(), rows: batch.num_rows() },
            kept: None,
            errors: vec![],
        };
        let mut mask: Option<BooleanArray> = None;
        for (i, f) in self.filters.iter().enumerate() {
            let wanted = self.columns_from(i);
            if let Some(m) = mask.as_ref().filter(|m| f.fallible || m.true_count() * 2 < m.len()) {
                rows.retain(m, &wanted);
                mask = None;
            }
            let passed = rows.test(f, &mut mask, &wanted);
            mask = Some(match mask {
                Some(m) => BooleanArray::new(m.values() & passed.values(), None),
                None => passed,
            });
            if mask.as_ref().is_some_and(|m| m.true_count() == m.len()) {
                mask = None;
            }
        }
        if let Some(m) = &mask {
            rows.retain(m, &self.columns_from(self.filters.len()));
        }
        self.project(rows)
    }

    /// Which expression a row fails on: its number among the conjuncts ([`conjuncts`]), then the projections.
    pub fn failing_expression(&self, batch: &RecordBatch, row: usize) -> Option<usize> {
        let columns = batch.columns().iter().map(|c| Val::Array(c.slice(row, 1))).collect();
        let input = Input { columns, rows: 1 };
        self.filters.iter().chain(&self.projections).position(|o| o.fallible && o.evaluate(&input).is_err())
    }

    /// Columns read by the filters from the `i`-th on and by the projections.
    fn columns_from(&self, i: usize) -> Vec<usize> {
        let rest = || self.filters[i..].iter().chain(&self.projections);
        self.columns.iter().copied().filter(|c| rest().any(|o| o.columns.contains(c))).collect()
    }

    fn project(&self, mut rows: Rows) -> MfpOutput {
        let all: Vec<&Operand> = self.projections.iter().collect();
        let columns = match evaluate_all(&all, &rows.input) {
            Ok(columns) => columns,
            Err(_) => {
                let fallible: Vec<&Operand> = self.projections.iter().filter(|o| o.fallible).collect();
                rows.set_apart_failing(&fallible, &self.columns);
                evaluate_all(&all, &rows.input).unwrap_or_else(|e| {
                    rows.fail_everything(e);
                    self.projections.iter().map(|o| arrow::array::new_empty_array(&o.ty)).collect()
                })
            }
        };
        MfpOutput {
            rows: build_batch(&self.schema, columns, rows.input.rows),
            kept: rows.kept.map(UInt32Array::from),
            errors: rows.errors,
        }
    }
}

fn build_batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let matches = schema.fields().iter().zip(&columns).all(|(f, c)| f.data_type() == c.data_type());
    let schema = if matches {
        schema.clone()
    } else {
        // A column that came in under another spelling of its type (say, another name of UTC) keeps it.
        let renamed =
            schema.fields().iter().zip(&columns).map(|(f, c)| Field::new(f.name(), c.data_type().clone(), true));
        Arc::new(Schema::new(renamed.collect::<Vec<_>>()))
    };
    RecordBatch::try_new_with_options(schema, columns, &options)
        .expect("projected columns have one length and these types")
}

/// The parts of conditions that all have to be true, in order.
pub fn conjuncts(filter: &[ScalarExpr]) -> Vec<&ScalarExpr> {
    let mut all = vec![];
    filter.iter().for_each(|f| flatten_and(f, &mut all));
    all
}

fn flatten_and<'a>(e: &'a ScalarExpr, out: &mut Vec<&'a ScalarExpr>) {
    match e {
        ScalarExpr::And(parts) => parts.iter().for_each(|p| flatten_and(p, out)),
        other => out.push(other),
    }
}

/// Evaluates every operand, one element per row.
pub(crate) fn evaluate_all(operands: &[&Operand], input: &Input) -> Result<Vec<ArrayRef>, SqlError> {
    operands.iter().map(|o| o.evaluate(input)).collect()
}

/// The rows on which one of the operands fails, ascending, each with the error it gives alone.
pub(crate) fn failing_rows(operands: &[&Operand], input: &Input, columns: &[usize]) -> Vec<(u32, SqlError)> {
    let mut out = vec![];
    let mut todo = vec![(0, input.rows)];
    while let Some((from, rows)) = todo.pop() {
        let part = input.slice(from, rows, columns);
        match evaluate_all(operands, &part) {
            Ok(_) => {}
            Err(e) if rows == 1 => out.push((from as u32, e)),
            Err(_) => {
                let half = rows / 2;
                todo.push((from + half, rows - half));
                todo.push((from, half));
            }
        }
    }
    out
}

/// The rows still alive.
struct Rows {
    input: Input,
    kept: Option<Vec<u32>>,
    errors: Vec<(u32, SqlError)>,
}

impl Rows {
    /// Drops the rows that `keep` has false; only `wanted` columns stay readable.
    fn retain(&mut self, keep: &BooleanArray, wanted: &[usize]) {
        if keep.true_count() == keep.len() {
            return;
        }
        self.kept = Some(match self.kept.take() {
            None => keep.values().set_indices().map(|i| i as u32).collect(),
            Some(old) => keep.values().set_indices().map(|i| old[i]).collect(),
        });
        for &c in wanted {
            if let Val::Array(a) = &self.input.columns[c] {
                let kept = filter(a, keep).map_err(internal).expect("a mask as long as the column filters it");
                self.input.columns[c] = Val::Array(kept);
            }
        }
        self.input.rows = keep.true_count();
    }

    fn original(&self, row: u32) -> u32 {
        self.kept.as_ref().map_or(row, |k| k[row as usize])
    }

    /// Moves the rows on which an operand fails to the errors. True if there were any.
    fn set_apart_failing(&mut self, operands: &[&Operand], wanted: &[usize]) -> bool {
        let mut columns: Vec<usize> = operands.iter().flat_map(|o| o.columns.clone()).collect();
        columns.sort_unstable();
        columns.dedup();
        let failing = failing_rows(operands, &self.input, &columns);
        if failing.is_empty() {
            return false;
        }
        let mut keep = vec![true; self.input.rows];
        for (row, e) in failing {
            keep[row as usize] = false;
            self.errors.push((self.original(row), e));
        }
        self.retain(&BooleanArray::from(keep), wanted);
        true
    }

    /// A batch that fails only as a whole is a bug of ours; no row of it may get through.
    fn fail_everything(&mut self, e: SqlError) {
        for row in 0..self.input.rows as u32 {
            self.errors.push((self.original(row), e.clone()));
        }
        self.kept = Some(vec![]);
        self.input.rows = 0;
    }

    /// The rows on which a conjunct is true. Rows on which it fails are set apart first; the pending mask, if
    /// any, belongs to a conjunct that cannot fail and is applied before that.
    fn test(&mut self, f: &Operand, pending: &mut Option<BooleanArray>, wanted: &[usize]) -> BooleanArray {
        let attempt = |input: &Input| f.evaluate(input).and_then(|a| Val::Array(a).into_bools(input.rows));
        let result = match attempt(&self.input) {
            Ok(b) => Ok(b),
            Err(_) => {
                if let Some(m) = pending.take() {
                    self.retain(&m, wanted);
                }
                self.set_apart_failing(&[f], wanted);
                attempt(&self.input)
            }
        };
        match result {
            Ok(b) => true_rows(&b),
            Err(e) => {
                self.fail_everything(e);
                BooleanArray::from(Vec::<bool>::new())
            }
        }
    }
}
