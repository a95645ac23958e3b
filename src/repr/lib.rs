//! The representation of values, rows and updates that every other crate speaks.
//!
//! Owns: SQL types and their one-to-one mapping to Arrow types, single values ([`Datum`]), relation
//! descriptions, update batches, the order-preserving row encoding, chunk bodies, published snapshots and the
//! error type that reaches a client. Does not know of plans, files, threads or protocols.
//!
//! Invariant: the Arrow type alone determines the SQL type family (see [`SqlType::arrow`]), so no layer needs
//! field metadata to know what a column means.

pub mod chunk;
pub mod datum;
pub mod encoding;
pub mod error;
pub mod float_sum;
pub mod numeric;
pub mod relation;
pub mod text;
pub mod types;
pub mod update;

pub use chunk::{ChunkBody, PublishedRelation};
pub use datum::Datum;
pub use error::{ErrorKind, SqlError, SqlState};
pub use float_sum::FloatSum;
pub use relation::{Column, GlobalId, RelationDesc};
pub use types::SqlType;
pub use update::{Diff, Timestamp, UpdateBatch};
