//! Parts of the statements that write tables.

use crate::ScalarExpr;
use hw_repr::RelationDesc;

/// `ON CONFLICT`
#[derive(Clone, Debug, PartialEq)]
pub struct OnConflict {
    /// The columns of the unique constraint that decides; `None`: every one does.
    pub target: Option<Vec<usize>>,
    /// `DO UPDATE`; `None` is `DO NOTHING`.
    pub update: Option<OnConflictUpdate>,
}

/// `DO UPDATE SET ... WHERE ...`. Expressions read the columns of the row that is there, then those of the row that was to
/// be inserted.
#[derive(Clone, Debug, PartialEq)]
pub struct OnConflictUpdate {
    /// (column, new value already cast)
    pub set: Vec<(usize, ScalarExpr)>,
    /// `WHERE`
    pub filter: Option<ScalarExpr>,
}

/// `RETURNING`
#[derive(Clone, Debug, PartialEq)]
pub struct Returning {
    /// What the client sees.
    pub desc: RelationDesc,
    /// One expression a column.
    pub exprs: Vec<ScalarExpr>,
}

/// Formats of COPY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    /// Fields between delimiters, with backslashes.
    Text,
    /// Fields that may be quoted.
    Csv,
}

/// Options of COPY, with PostgreSQL's defaults put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    /// The format.
    pub format: CopyFormat,
    /// Between fields.
    pub delimiter: u8,
    /// What stands for NULL, unquoted.
    pub null: String,
    /// A first line of names.
    pub header: bool,
    /// `HEADER MATCH`: the names have to be those of the columns.
    pub header_match: bool,
    /// CSV's quote.
    pub quote: u8,
    /// CSV's escape inside quotes.
    pub escape: u8,
    /// Columns, by position among those copied, that are always quoted (TO).
    pub force_quote: Vec<usize>,
    /// Columns in which an unquoted null string is a value (FROM).
    pub force_not_null: Vec<usize>,
    /// Columns in which a quoted null string is NULL (FROM).
    pub force_null: Vec<usize>,
    /// The names of the columns copied.
    pub names: Vec<String>,
    /// The table, for messages.
    pub relation: String,
}
