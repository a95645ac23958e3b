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
        SchemaError::FieldNotFound { field, valid_fields } => {
            if let Some(r) = &field.relation
                && !valid_fields.iter().any(|f| f.relation.as_ref().is_some_and(|v| v.table() == r.table()))
            {
                let message = format!("missing FROM-clause entry for table \"{}\"", r.table());
                return SqlError::new(SqlState::UNDEFINED_TABLE, message);
            }
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
    if text.starts_with("SELECT DISTINCT ON expressions must") {
        return SqlError::new(SqlState::new("42P10"), text);
    }
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
        let message = format!("argument of WHERE must be type boolean, not type {}", predicate_type(text));
        return SqlError::new(SqlState::DATATYPE_MISMATCH, message);
    }
    if let Some(e) = misplaced(text) {
        return e;
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

/// The type in `... non-boolean predicate 'p' returning Int64`, as PostgreSQL names it.
fn predicate_type(text: &str) -> String {
    let parts = text.split_once("predicate '").and_then(|(_, r)| r.rsplit_once("' returning "));
    let (predicate, ty) = parts.unwrap_or(("", ""));
    let literal = predicate.starts_with("Int64(");
    match ty.split('(').next().unwrap_or_default().trim() {
        "Int16" => "smallint",
        "Int32" => "integer",
        "Int64" if literal => "integer",
        "Int64" => "bigint",
        "Float32" => "real",
        "Float64" => "double precision",
        "Decimal128" | "LargeBinary" => "numeric",
        "Binary" => "bytea",
        "Date32" => "date",
        "Time64" => "time without time zone",
        "Timestamp" if ty.contains("+00") => "timestamp with time zone",
        "Timestamp" => "timestamp without time zone",
        "Interval" => "interval",
        "FixedSizeBinary" => "uuid",
        "LargeUtf8" => "jsonb",
        _ => "text",
    }
    .to_string()
}

/// Aggregates, positions and subqueries where they may not stand.
fn misplaced(text: &str) -> Option<SqlError> {
    let lower = text.to_ascii_lowercase();
    let after = |lead: &str| {
        let rest = lower.split_once(lead)?.1;
        Some(rest.chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect::<String>())
    };
    let error = |code: &str, message: String| Some(SqlError::new(SqlState::new(code), message));
    if lower.contains("aggregate function calls cannot be nested") {
        return error("42803", "aggregate function calls cannot be nested".into());
    }
    if lower.contains("aggregate functions are not allowed in the where clause") {
        return error("42803", "aggregate functions are not allowed in WHERE".into());
    }
    if lower.contains("should only return one column") {
        return error("42601", "subquery must return only one column".into());
    }
    if let Some(n) = after("order by column out of bounds, specified: ") {
        return error("42P10", format!("ORDER BY position {n} is not in select list"));
    }
    if let Some(n) = after("cannot find column with position ") {
        return error("42P10", format!("GROUP BY position {n} is not in select list"));
    }
    None
}

/// `42883`
pub(crate) fn undefined_function(name: &str) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("function {name} does not exist"))
        .hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}

fn lower_first(text: &str) -> String {
    let text = text.lines().next().unwrap_or(text);
    let mut chars = text.chars();
    match chars.next() {
        Some(c) => c.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}
