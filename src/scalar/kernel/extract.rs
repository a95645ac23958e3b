use super::{Kernel, unsupported};
use hw_plan::Func;
use hw_repr::{SqlError, SqlType};
pub(super) fn kernel(func: Func, types: &[SqlType]) -> Result<Kernel, SqlError> { Err(unsupported(func, types)) }
