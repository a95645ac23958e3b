//! The representation of values, rows and updates that every other crate speaks.
//!
//! Owns: SQL types and their one-to-one mapping to Arrow types, single values ([`Datum`]), relation
//! descriptions, update batches, the order-preserving row encoding, chunk bodies, published snapshots and the
//! error type that reaches a client. Does not know of plans, files, threads or protocols.
//!
//! Invariant: the Arrow type alone determines the type that carries a column's values (see [`SqlType::carrier`]), which is
//! all that computing and storing them takes; field metadata adds under which name and modifier a client sees it.

pub mod array;
pub mod chunk;
pub mod datum;
pub mod encoding;
pub mod error;
pub mod float_sum;
pub mod numeric;
pub mod numeric_sum;
pub mod relation;
pub mod row;
pub mod small;
pub mod text;
pub mod types;
pub mod update;

pub use array::ArrayValue;
pub use chunk::{ChunkBody, PublishedRelation};
pub use datum::Datum;
pub use error::{ErrorKind, SqlError, SqlState};
pub use float_sum::FloatSum;
pub use numeric_sum::NumericSum;
pub use relation::{Column, GlobalId, RelationDesc};
pub use row::{EnumValue, RowValue};
pub use types::{AliasType, ElementType, EnumType, RowType, SqlType};
pub use update::{Diff, Timestamp, UpdateBatch};
