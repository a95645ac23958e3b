use super::{Kernel, unsupported};
use hw_plan::Func;
use hw_repr::{SqlError, SqlType};
use std::cmp::Ordering;
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> { Err(unsupported(func, types)) }
pub(super) fn order(a: &str, b: &str) -> Result<Ordering, SqlError> { if a == b { Ok(Ordering::Equal) } else { Err(SqlError::unsupported("comparison of jsonb")) } }
pub(super) fn cast_scalar(to: SqlType) -> Kernel { Box::new(move |_, _| Err(SqlError::unsupported(format!("cast of jsonb to {to}")))) }
