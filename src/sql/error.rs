//! Errors of DataFusion's planner in PostgreSQL's words.

use datafusion_common::{DataFusionError, SchemaError};
use hw_repr::{SqlError, SqlState};

/// Our error inside DataFusion's.
pub(crate) fn external(e: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(e))
}

/// Line and column of what an error of planning is about, where DataFusion says it.
pub(crate) fn place(error: &DataFusionError) -> Option<(u64, u64)> {
    match error {
        DataFusionError::Diagnostic(d, inner) => match d.span {
            Some(span) if span.start.line > 0 => Some((span.start.line, span.start.column)),
            _ => place(inner),
        },
        DataFusionError::Context(_, inner) => place(inner),
        DataFusionError::Collection(all) => all.first().and_then(place),
        DataFusionError::Shared(inner) => place(inner),
        _ => None,
    }
}

/// What a client sees of an error of planning.
pub(crate) fn from_planner(error: DataFusionError) -> SqlError {
    match error {
        DataFusionError::External(e) => match e.downcast::<SqlError>() {
            Ok(e) => *e,
            Err(e) => SqlError::internal(e.to_string()),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => from_planner(*inner),
        DataFusionError::Collection(all) => {
            all.into_iter().next().map_or_else(|| SqlError::internal("no error"), from_planner)
        }
        DataFusionError::Shared(e) => match e.as_ref() {
            DataFusionError::External(e) => match e.downcast_ref::<SqlError>() {
                Some(e) => e.clone(),
                None => SqlError::internal(e.to_string()),
            },
            other => by_message(&other.strip_backtrace()),
        },
        DataFusionError::SchemaError(e, _) => from_schema(&e),
        DataFusionError::NotImplemented(m) => SqlError::unsupported(lower_first(&m)),
        DataFusionError::Plan(m) => by_message(&m),
        other => by_message(&other.strip_backtrace()),
    }
}

fn from_schema(error: &SchemaError) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, .. } => {
            let name = crate::prepare::shown_name(&field.name);
            let name = match &field.relation {
                Some(r) => format!("{}.{name}", r.table()),
                None => format!("\"{name}\""),
            };
            SqlError::new(SqlState::UNDEFINED_COLUMN, format!("column {name} does not exist"))
        }
        SchemaError::AmbiguousReference { field } => {
            SqlError::new(SqlState::AMBIGUOUS_COLUMN, format!("column reference \"{}\" is ambiguous", field.name))
        }
        SchemaError::DuplicateUnqualifiedField { name } | SchemaError::DuplicateQualifiedField { name, .. } => {
            SqlError::new(SqlState::AMBIGUOUS_COLUMN, format!("column name \"{name}\" is given twice"))
                .hint("Give one of them another name with AS, or the table an alias.")
        }
    }
}

fn by_message(message: &str) -> SqlError {
    let text = message.trim_start_matches("Error during planning: ");
    if let Some(name) = text.split("Invalid function '").nth(1).and_then(|r| r.split('\'').next()) {
        let (name, position) = crate::prepare::split_position(name);
        let e = undefined_function(&format!("{name}()"));
        return match position {
            Some(position) => e.at(position),
            None => e,
        };
    }
    if text.contains("must appear in the GROUP BY clause or")
        || text.contains("could not be resolved from available columns")
    {
        let column = text.split("column \"").nth(1).and_then(|r| r.split('"').next()).unwrap_or("?");
        return SqlError::new(
            SqlState::GROUPING,
            format!("column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function"),
        );
    }
    if text.contains("non-boolean predicate") {
        return SqlError::new(SqlState::DATATYPE_MISMATCH, "argument of WHERE must be type boolean");
    }
    if text.contains("have the same name") || text.contains("duplicate") {
        return SqlError::new(SqlState::AMBIGUOUS_COLUMN, lower_first(text));
    }
    if text.contains("number of columns") || text.contains("same number of") {
        return SqlError::new(SqlState::SYNTAX, "each UNION query must have the same number of columns");
    }
    if text.contains("not supported") || text.contains("nsupported") || text.contains("not implemented") {
        return SqlError::unsupported(lower_first(text));
    }
    SqlError::new(SqlState::SYNTAX, lower_first(text))
}

/// `42883`
pub(crate) fn undefined_function(name: &str) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("function {name} does not exist"))
        .hint("No function matches the given name. You might need to check its spelling.")
}

fn lower_first(text: &str) -> String {
    let text = text.lines().next().unwrap_or(text);
    let mut chars = text.chars();
    match chars.next() {
        Some(c) => c.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}
