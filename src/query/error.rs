//! DataFusion's errors as [`SqlError`]s.
//!
//! Our own functions raise a boxed [`SqlError`]; DataFusion wraps it in context, sharing and Arrow errors on its way
//! out. Whatever is not ours gets the SQLSTATE that PostgreSQL would give for the same trouble, and `XX000` where
//! that cannot be told.

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use hw_repr::{SqlError, SqlState};
use std::error::Error;

/// `out_of_memory`
const OUT_OF_MEMORY: SqlState = SqlState::new("53200");

/// The error to show for `error`: the [`SqlError`] inside it where there is one.
pub fn to_sql_error(error: &DataFusionError) -> SqlError {
    match error {
        DataFusionError::External(inner) => from_boxed(inner.as_ref()),
        DataFusionError::ArrowError(inner, _) => from_arrow(inner),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => to_sql_error(inner),
        DataFusionError::Shared(inner) => to_sql_error(inner),
        DataFusionError::Collection(all) => match all.first() {
            Some(first) => to_sql_error(first),
            None => SqlError::internal("an error without a message"),
        },
        DataFusionError::ResourcesExhausted(message) => SqlError::new(OUT_OF_MEMORY, "out of memory")
            .detail(message.clone())
            .hint("the query needs more memory than --memory-limit leaves it"),
        DataFusionError::NotImplemented(message) => SqlError::unsupported(message.clone()),
        DataFusionError::IoError(inner) => SqlError::new(SqlState::IO_ERROR, inner.to_string()),
        DataFusionError::Execution(message) if message.contains("more than one row") => {
            SqlError::new(SqlState::CARDINALITY, "more than one row returned by a subquery used as an expression")
        }
        other => SqlError::internal(other.strip_backtrace()),
    }
}

/// The [`DataFusionError`] that carries `error` through a physical plan.
pub(crate) fn wrap(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn from_boxed(error: &(dyn Error + Send + Sync + 'static)) -> SqlError {
    if let Some(ours) = error.downcast_ref::<SqlError>() {
        return ours.clone();
    }
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return to_sql_error(inner);
    }
    if let Some(inner) = error.downcast_ref::<ArrowError>() {
        return from_arrow(inner);
    }
    SqlError::internal(error.to_string())
}

fn from_arrow(error: &ArrowError) -> SqlError {
    match error {
        ArrowError::ExternalError(inner) => from_boxed(inner.as_ref()),
        ArrowError::DivideByZero => SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero"),
        ArrowError::ArithmeticOverflow(_) => SqlError::new(SqlState::OUT_OF_RANGE, "value out of range"),
        ArrowError::CastError(message) | ArrowError::ParseError(message) => {
            SqlError::new(SqlState::INVALID_TEXT, message.clone())
        }
        ArrowError::MemoryError(message) => SqlError::new(OUT_OF_MEMORY, "out of memory").detail(message.clone()),
        ArrowError::IoError(message, _) => SqlError::new(SqlState::IO_ERROR, message.clone()),
        ArrowError::NotYetImplemented(message) => SqlError::unsupported(message.clone()),
        other => SqlError::internal(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn our_errors_survive_every_wrapping() {
        let ours = SqlError::new(SqlState::OUT_OF_RANGE, "bigint out of range").hint("h").at(7);
        let arrow = ArrowError::ExternalError(Box::new(wrap(ours.clone())));
        let shared = DataFusionError::Shared(Arc::new(DataFusionError::ArrowError(Box::new(arrow), None)));
        let nested = DataFusionError::Collection(vec![DataFusionError::Context("x".into(), Box::new(shared))]);
        assert_eq!(to_sql_error(&nested), ours);
    }

    #[test]
    fn foreign_errors_get_postgresqls_codes() {
        let code = |e: DataFusionError| to_sql_error(&e).code;
        assert_eq!(code(ArrowError::DivideByZero.into()), SqlState::DIVISION_BY_ZERO);
        assert_eq!(code(ArrowError::ArithmeticOverflow("x".into()).into()), SqlState::OUT_OF_RANGE);
        assert_eq!(code(DataFusionError::NotImplemented("x".into())), SqlState::FEATURE_NOT_SUPPORTED);
        assert_eq!(code(DataFusionError::ResourcesExhausted("x".into())), OUT_OF_MEMORY);
        let many = DataFusionError::Execution("Scalar subquery returned more than one row".into());
        assert_eq!(code(many), SqlState::CARDINALITY);
        assert_eq!(code(DataFusionError::Internal("x".into())), SqlState::INTERNAL);
    }
}
