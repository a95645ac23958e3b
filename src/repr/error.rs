//! The error that reaches a client: SQLSTATE, message, detail, hint and position, as PostgreSQL words them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What the caller can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The statement or its input is wrong.
    User,
    /// Valid in PostgreSQL, not (yet) here.
    Unsupported,
    /// Try again.
    Conflict,
    /// Something outside is out of reach.
    Unavailable,
    /// Data on disk or from upstream is damaged.
    Data,
    /// A bug.
    Internal,
}

/// A five-character SQLSTATE.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SqlState(pub [u8; 5]);

impl SqlState {
    /// From a literal of five characters.
    pub const fn new(code: &str) -> Self {
        let b = code.as_bytes();
        assert!(b.len() == 5);
        SqlState([b[0], b[1], b[2], b[3], b[4]])
    }
    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }
}
impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl SqlState { $($(#[$doc])* pub const $name: SqlState = SqlState::new($code);)* }
    };
}
states! {
    /// connection failure
    CANNOT_CONNECT = "08001";
    /// protocol_violation
    PROTOCOL_VIOLATION = "08P01";
    /// feature_not_supported
    FEATURE_NOT_SUPPORTED = "0A000";
    /// cardinality_violation
    CARDINALITY = "21000";
    /// string_data_right_truncation
    STRING_TRUNCATION = "22001";
    /// numeric_value_out_of_range
    OUT_OF_RANGE = "22003";
    /// invalid_datetime_format
    INVALID_DATETIME = "22007";
    /// datetime_field_overflow
    DATETIME_OVERFLOW = "22008";
    /// division_by_zero
    DIVISION_BY_ZERO = "22012";
    /// invalid_parameter_value
    INVALID_PARAMETER = "22023";
    /// invalid_text_representation
    INVALID_TEXT = "22P02";
    /// invalid_binary_representation
    INVALID_BINARY = "22P03";
    /// bad_copy_file_format
    BAD_COPY_FORMAT = "22P04";
    /// check_violation
    CHECK = "23514";
    /// not_null_violation
    NOT_NULL = "23502";
    /// unique_violation
    UNIQUE = "23505";
    /// active_sql_transaction
    ACTIVE_TRANSACTION = "25001";
    /// no_active_sql_transaction
    NO_TRANSACTION = "25P01";
    /// in_failed_sql_transaction
    FAILED_TRANSACTION = "25P02";
    /// invalid_password
    INVALID_PASSWORD = "28P01";
    /// dependent_objects_still_exist
    DEPENDENT_OBJECTS = "2BP01";
    /// serialization_failure
    SERIALIZATION = "40001";
    /// insufficient_privilege
    INSUFFICIENT_PRIVILEGE = "42501";
    /// syntax_error
    SYNTAX = "42601";
    /// invalid_name
    INVALID_NAME = "42602";
    /// invalid_savepoint_specification
    INVALID_SAVEPOINT = "3B001";
    /// generated_always
    GENERATED_ALWAYS = "428C9";
    /// duplicate_column
    DUPLICATE_COLUMN = "42701";
    /// ambiguous_column
    AMBIGUOUS_COLUMN = "42702";
    /// undefined_column
    UNDEFINED_COLUMN = "42703";
    /// undefined_object
    UNDEFINED_OBJECT = "42704";
    /// duplicate_object
    DUPLICATE_OBJECT = "42710";
    /// grouping_error
    GROUPING = "42803";
    /// datatype_mismatch
    DATATYPE_MISMATCH = "42804";
    /// wrong_object_type
    WRONG_OBJECT_TYPE = "42809";
    /// undefined_function
    UNDEFINED_FUNCTION = "42883";
    /// undefined_table
    UNDEFINED_TABLE = "42P01";
    /// undefined_parameter
    UNDEFINED_PARAMETER = "42P02";
    /// duplicate_schema
    DUPLICATE_SCHEMA = "42P06";
    /// duplicate_table
    DUPLICATE_TABLE = "42P07";
    /// invalid_schema_name
    UNDEFINED_SCHEMA = "3F000";
    /// invalid_object_definition
    INVALID_DEFINITION = "42P17";
    /// disk_full
    DISK_FULL = "53100";
    /// too_many_connections
    TOO_MANY_CONNECTIONS = "53300";
    /// configuration_limit_exceeded
    LIMIT_EXCEEDED = "53400";
    /// program_limit_exceeded
    PROGRAM_LIMIT = "54000";
    /// object_not_in_prerequisite_state
    PREREQUISITE_STATE = "55000";
    /// query_canceled
    QUERY_CANCELED = "57014";
    /// admin_shutdown
    ADMIN_SHUTDOWN = "57P01";
    /// io_error
    IO_ERROR = "58030";
    /// internal_error
    INTERNAL = "XX000";
    /// data_corrupted
    DATA_CORRUPTED = "XX001";
}

/// An error a client sees. Also what a failing row becomes inside a view.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct SqlError {
    /// SQLSTATE.
    pub code: SqlState,
    /// Primary message, lower case, no full stop.
    pub message: String,
    /// More about the problem.
    pub detail: Option<String>,
    /// A way out.
    pub hint: Option<String>,
    /// One-based character position in the statement.
    pub position: Option<usize>,
    /// Where it happened beyond the statement: `COPY t, line 3`.
    #[serde(default)]
    pub context: Option<String>,
}

impl SqlError {
    /// With a message alone.
    pub fn new(code: SqlState, message: impl Into<String>) -> Self {
        SqlError { code, message: message.into(), detail: None, hint: None, position: None, context: None }
    }
    /// `0A000`.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(SqlState::FEATURE_NOT_SUPPORTED, message)
    }
    /// `XX000`: a bug of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(SqlState::INTERNAL, message)
    }
    /// Adds a detail.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
    /// Adds a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// Adds where it happened; what was said before stays.
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context = self.context.or_else(|| Some(context.into()));
        self
    }
    /// Adds a one-based character position.
    pub fn at(mut self, position: usize) -> Self {
        self.position = Some(position);
        self
    }
    /// What the caller can do next, by the class of the SQLSTATE.
    pub fn kind(&self) -> ErrorKind {
        match &self.code.0[..2] {
            b"0A" => ErrorKind::Unsupported,
            b"40" => ErrorKind::Conflict,
            b"08" | b"53" | b"57" | b"58" => ErrorKind::Unavailable,
            b"XX" if self.code == SqlState::DATA_CORRUPTED => ErrorKind::Data,
            b"XX" => ErrorKind::Internal,
            _ => ErrorKind::User,
        }
    }
}
