//! What a scalar subquery gives.

use super::{Kernel, Prim, unsupported};
use crate::value::Val;
use arrow::datatypes::Int64Type;
use hw_plan::Func;
use hw_repr::{SqlError, SqlState, SqlType};

/// `(rows, value)`: the value, or 21000 where the subquery gave several rows.
pub(super) fn kernel(types: &[SqlType]) -> Result<Kernel, SqlError> {
    if types.len() != 2 || types.first() != Some(&SqlType::Int8) {
        return Err(unsupported(Func::SingleRow, types));
    }
    Ok(Box::new(|args, rows| {
        let [count, value] = args else { return Err(SqlError::internal("single row takes two arguments")) };
        // Where the subquery was not computed for a row, its count is NULL, which is stored as zero or not at all.
        let nulls = crate::value::strict_nulls(std::slice::from_ref(count));
        let counts = Prim::<Int64Type>::of(count)?;
        let several = |row| counts.get(row) > 1 && nulls.as_ref().is_none_or(|n| n.is_valid(row));
        if (0..rows).any(several) {
            let message = "more than one row returned by a subquery used as an expression";
            return Err(SqlError::new(SqlState::CARDINALITY, message));
        }
        Val::into_array(value.clone(), rows)
    }))
}
