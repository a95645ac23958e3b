//! What a table demands of its rows beyond its columns' types: defaults, generated columns, constraints.
//!
//! Stored with the object. Invariant: a table of an earlier version has none of it, which is the default of every field.

use crate::ScalarExpr;
use serde::{Deserialize, Serialize};

/// The rules of a table. Without any it is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TableRules {
    /// One a column, or none at all where no column has one.
    #[serde(default)]
    pub columns: Vec<ColumnRule>,
    /// `UNIQUE`, without the primary key.
    #[serde(default)]
    pub uniques: Vec<UniqueRule>,
    /// `CHECK`
    #[serde(default)]
    pub checks: Vec<CheckRule>,
    /// The name of the primary key where it is not the usual one.
    #[serde(default)]
    pub key_name: Option<String>,
}

/// What fills a column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ColumnRule {
    /// `DEFAULT`: SQL text, planned anew by each statement.
    #[serde(default)]
    pub default: Option<String>,
    /// `GENERATED ALWAYS AS (...) STORED`
    #[serde(default)]
    pub generated: Option<StoredExpr>,
    /// `GENERATED ... AS IDENTITY`
    #[serde(default)]
    pub identity: Option<IdentityRule>,
}

/// An expression over the table's columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StoredExpr {
    /// As written.
    pub sql: String,
    /// As computed.
    pub expr: ScalarExpr,
}

/// An identity column.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdentityRule {
    /// `ALWAYS` rather than `BY DEFAULT`.
    pub always: bool,
    /// The first value.
    pub start: i64,
    /// From one value to the next.
    pub increment: i64,
    /// The next value that was never set aside to be given out; `None`: the first.
    #[serde(default)]
    pub next: Option<i64>,
    /// A `serial` column: shown as such.
    #[serde(default)]
    pub serial: bool,
}

/// A unique constraint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UniqueRule {
    /// Its name; the index behind it is called so.
    pub name: String,
    /// Its columns.
    pub columns: Vec<usize>,
    /// `NULLS NOT DISTINCT`
    #[serde(default)]
    pub nulls_equal: bool,
}

/// A check constraint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CheckRule {
    /// Its name.
    pub name: String,
    /// What must not be false.
    pub expr: StoredExpr,
}

impl TableRules {
    /// True where nothing is demanded.
    pub fn is_empty(&self) -> bool {
        *self == TableRules::default()
    }
    /// The name of the primary key of a table.
    pub fn key_name(&self, table: &str) -> String {
        self.key_name.clone().unwrap_or_else(|| format!("{table}_pkey"))
    }
    /// The rule of a column.
    pub fn column(&self, at: usize) -> Option<&ColumnRule> {
        self.columns.get(at)
    }
    /// Generated columns and what they are computed by.
    pub fn generated(&self) -> impl Iterator<Item = (usize, &StoredExpr)> {
        self.columns.iter().enumerate().filter_map(|(i, c)| Some((i, c.generated.as_ref()?)))
    }
    /// The identity column, where there is one.
    pub fn identity(&self) -> Option<(usize, &IdentityRule)> {
        self.columns.iter().enumerate().find_map(|(i, c)| Some((i, c.identity.as_ref()?)))
    }
}
