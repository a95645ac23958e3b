//! What a relation looks like: its columns, keys and identity.

use crate::SqlType;
use arrow::datatypes::{Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The persistent identity of a catalog object: its OID. User objects start at 16384.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GlobalId(pub u32);

impl fmt::Display for GlobalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "u{}", self.0)
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Column {
    /// Its name as stored: folded unless it was quoted.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
    /// False where NULL can be ruled out.
    pub nullable: bool,
}

/// The columns of a relation, and what is known of its contents.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
pub struct RelationDesc {
    /// Columns in order. Names may repeat.
    pub columns: Vec<Column>,
    /// Sets of column positions that are unique keys. An empty set: at most one row.
    pub keys: Vec<Vec<usize>>,
    /// True where no row is ever retracted.
    pub append_only: bool,
}

impl RelationDesc {
    /// A description without keys.
    pub fn new(columns: Vec<Column>) -> Self {
        RelationDesc { columns, keys: vec![], append_only: false }
    }
    /// The types in order.
    pub fn types(&self) -> Vec<SqlType> {
        self.columns.iter().map(|c| c.ty).collect()
    }
    /// Number of columns.
    pub fn arity(&self) -> usize {
        self.columns.len()
    }
    /// The Arrow schema of a batch of this relation.
    pub fn schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self.columns.iter().map(|c| c.ty.field(&c.name, c.nullable)).collect();
        Arc::new(Schema::new(fields))
    }
}
