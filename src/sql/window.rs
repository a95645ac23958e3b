//! Window functions of ad-hoc reads, with PostgreSQL's result types. Aggregates are window functions, too.
//!
//! Equal rows of PARTITION BY and ORDER BY are those of SQL equality (see [`crate::keys`]). Frames whose start moves need an
//! aggregate that forgets rows: those are refused by the executor, and so is RANGE with an offset here.

use crate::error::external;
use arrow::array::{ArrayRef, Float64Array, Int64Array, new_empty_array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result as DfResult, ScalarValue};
use datafusion_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion_expr::{Expr, PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};
use hw_repr::{SqlError, SqlState, SqlType};
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

/// Which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    RowNumber,
    Rank,
    DenseRank,
    PercentRank,
    CumeDist,
    Ntile,
    Lag,
    Lead,
    FirstValue,
    LastValue,
    NthValue,
}

/// The function of that name.
pub(crate) fn window_by_name(name: &str) -> Option<Arc<WindowUDF>> {
    let kind = match name {
        "row_number" => Kind::RowNumber,
        "rank" => Kind::Rank,
        "dense_rank" => Kind::DenseRank,
        "percent_rank" => Kind::PercentRank,
        "cume_dist" => Kind::CumeDist,
        "ntile" => Kind::Ntile,
        "lag" => Kind::Lag,
        "lead" => Kind::Lead,
        "first_value" => Kind::FirstValue,
        "last_value" => Kind::LastValue,
        "nth_value" => Kind::NthValue,
        _ => return None,
    };
    let signature = Signature::user_defined(Volatility::Immutable);
    Some(Arc::new(WindowUDF::new_from_impl(Udwf { kind, name: name.to_string(), signature })))
}

/// Whether a key of PARTITION BY may tell rows apart: a constant does not, and the executor counts constants that are equal once.
pub(crate) fn tells_apart(key: &Expr) -> bool {
    !key.column_refs().is_empty() || key.is_volatile()
}

/// Which of ours it is.
pub(crate) fn kind_of(udwf: &WindowUDF) -> Option<Kind> {
    let inner: &dyn Any = udwf.inner().as_ref();
    inner.downcast_ref::<Udwf>().map(|u| u.kind)
}

impl Kind {
    /// The types that the arguments are cast to, where the first has type `first`, and the result's; `None` where it takes no
    /// such number of arguments.
    pub fn signature(self, first: Option<SqlType>, count: usize) -> Option<(Vec<SqlType>, SqlType)> {
        use SqlType::{Float8, Int4, Int8};
        Some(match (self, first, count) {
            (Kind::RowNumber | Kind::Rank | Kind::DenseRank, _, 0) => (vec![], Int8),
            (Kind::PercentRank | Kind::CumeDist, _, 0) => (vec![], Float8),
            (Kind::Ntile, _, 1) => (vec![Int4], Int4),
            (Kind::Lag | Kind::Lead, Some(ty), 1..=3) => (vec![ty, Int4, ty].into_iter().take(count).collect(), ty),
            (Kind::FirstValue | Kind::LastValue, Some(ty), 1) => (vec![ty], ty),
            (Kind::NthValue, Some(ty), 2) => (vec![ty, Int4], ty),
            _ => return None,
        })
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Udwf {
    kind: Kind,
    name: String,
    signature: Signature,
}

impl WindowUDFImpl for Udwf {
    fn name(&self) -> &str {
        &self.name
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(types.to_vec())
    }
    fn partition_evaluator(&self, _: PartitionEvaluatorArgs) -> DfResult<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Evaluator { kind: self.kind }))
    }
    fn field(&self, args: WindowUDFFieldArgs) -> DfResult<FieldRef> {
        let ty = match self.kind {
            Kind::RowNumber | Kind::Rank | Kind::DenseRank => DataType::Int64,
            Kind::PercentRank | Kind::CumeDist => DataType::Float64,
            Kind::Ntile => DataType::Int32,
            _ => {
                let value = args.get_input_field(0).map(|f| f.as_ref().clone());
                let value = value.unwrap_or_else(|| Field::new("value", DataType::Utf8, true));
                return Ok(Arc::new(value.with_name(args.name()).with_nullable(true)));
            }
        };
        Ok(Arc::new(Field::new(args.name(), ty, true)))
    }
}

#[derive(Debug)]
struct Evaluator {
    kind: Kind,
}

fn integer(array: &ArrayRef, row: usize) -> DfResult<Option<i64>> {
    match ScalarValue::try_from_array(array, row)? {
        ScalarValue::Int32(n) => Ok(n.map(i64::from)),
        ScalarValue::Int64(n) => Ok(n),
        other => Err(external(SqlError::internal(format!("a window function's argument is {other}")))),
    }
}

fn argument(values: &[ArrayRef], index: usize) -> DfResult<&ArrayRef> {
    values.get(index).ok_or_else(|| external(SqlError::internal("a window function lacks an argument")))
}

impl Evaluator {
    /// The row `by` rows before or behind each row, the default where there is none.
    fn shifted(&self, values: &[ArrayRef], rows: usize) -> DfResult<ArrayRef> {
        let value = argument(values, 0)?;
        let mut out = Vec::with_capacity(rows);
        for row in 0..rows {
            let by = match values.get(1) {
                Some(offsets) => integer(offsets, row)?,
                None => Some(1),
            };
            let Some(by) = by else {
                out.push(ScalarValue::try_from(value.data_type())?);
                continue;
            };
            let at = if self.kind == Kind::Lag { row as i64 - by } else { row as i64 + by };
            out.push(match (usize::try_from(at).ok().filter(|at| *at < rows), values.get(2)) {
                (Some(at), _) => ScalarValue::try_from_array(value, at)?,
                (None, Some(default)) => ScalarValue::try_from_array(default, row)?,
                (None, None) => ScalarValue::try_from(value.data_type())?,
            });
        }
        match out.is_empty() {
            true => Ok(new_empty_array(value.data_type())),
            false => ScalarValue::iter_to_array(out),
        }
    }

    /// Buckets of sizes that differ by one at most, the greater ones first.
    fn ntile(values: &[ArrayRef], rows: usize) -> DfResult<ArrayRef> {
        let buckets = match rows {
            0 => None,
            _ => integer(argument(values, 0)?, 0)?,
        };
        let Some(buckets) = buckets else {
            return Ok(Arc::new(arrow::array::Int32Array::from(vec![None; rows])));
        };
        let Some(buckets) = usize::try_from(buckets).ok().filter(|n| *n > 0) else {
            let error = SqlError::new(SqlState::new("22014"), "argument of ntile must be greater than zero");
            return Err(external(error));
        };
        let (size, greater) = (rows / buckets, rows % buckets);
        let bucket = |row: usize| {
            let in_greater = greater * (size + 1);
            if row < in_greater { row / (size + 1) } else { greater + (row - in_greater) / size.max(1) }
        };
        let all = (0..rows).map(|row| i32::try_from(bucket(row) + 1).unwrap_or(i32::MAX));
        Ok(Arc::new(arrow::array::Int32Array::from_iter_values(all)))
    }
}

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> DfResult<ArrayRef> {
        match self.kind {
            Kind::RowNumber => Ok(Arc::new(Int64Array::from_iter_values(1..=rows as i64))),
            Kind::Ntile => Evaluator::ntile(values, rows),
            _ => self.shifted(values, rows),
        }
    }

    fn evaluate(&mut self, values: &[ArrayRef], frame: &Range<usize>) -> DfResult<ScalarValue> {
        let value = argument(values, 0)?;
        let at = match self.kind {
            Kind::FirstValue => Some(frame.start),
            Kind::LastValue => frame.end.checked_sub(1),
            _ => match integer(argument(values, 1)?, frame.start.min(value.len().saturating_sub(1)))? {
                None => None,
                Some(n) if n < 1 => {
                    let message = "argument of nth_value must be greater than zero";
                    return Err(external(SqlError::new(SqlState::new("22016"), message)));
                }
                Some(n) => usize::try_from(n - 1).ok().and_then(|n| frame.start.checked_add(n)),
            },
        };
        match at.filter(|at| frame.contains(at)) {
            Some(at) => ScalarValue::try_from_array(value, at),
            None => ScalarValue::try_from(value.data_type()),
        }
    }

    fn evaluate_all_with_rank(&self, rows: usize, peers: &[Range<usize>]) -> DfResult<ArrayRef> {
        let rank = |at: usize, peers: &Range<usize>| match self.kind {
            Kind::DenseRank => at as i64 + 1,
            _ => peers.start as i64 + 1,
        };
        let each = || peers.iter().enumerate().flat_map(|(at, p)| p.clone().map(move |_| (at, p)));
        Ok(match self.kind {
            Kind::PercentRank => {
                let of = (rows.saturating_sub(1)).max(1) as f64;
                Arc::new(Float64Array::from_iter_values(each().map(|(_, p)| p.start as f64 / of)))
            }
            Kind::CumeDist => Arc::new(Float64Array::from_iter_values(each().map(|(_, p)| p.end as f64 / rows as f64))),
            _ => Arc::new(Int64Array::from_iter_values(each().map(|(at, p)| rank(at, p)))),
        })
    }

    fn uses_window_frame(&self) -> bool {
        matches!(self.kind, Kind::FirstValue | Kind::LastValue | Kind::NthValue)
    }

    fn include_rank(&self) -> bool {
        matches!(self.kind, Kind::Rank | Kind::DenseRank | Kind::PercentRank | Kind::CumeDist)
    }
}
