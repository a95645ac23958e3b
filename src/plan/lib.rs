//! What to maintain, never how: expressions, dataflow plans, descriptions of statements, sources and objects.
//!
//! Plain serialisable data, printable and comparable. Pure: no I/O, clock or threads; knows nothing of SQL text,
//! timely or Kafka.

pub mod aggregate;
pub mod arranged;
pub mod catalog;
pub mod delta;
pub mod explain;
pub mod fingerprint;
pub mod flow;
pub mod function;
pub mod index;
pub mod kept;
pub mod placed;
pub mod rules;
pub mod scalar;
pub mod seek;
pub mod set;
pub mod source;
pub mod stack;
pub mod statement;
pub mod transform;
pub mod write;
pub mod zeros;

pub use aggregate::{Aggregate, AggregateFunc, OrderKey};
pub use catalog::{CatalogView, IndexFacts, Object, ObjectFacts, ObjectKind, OnError};
pub use flow::FlowPlan;
pub use function::FunctionDesc;
pub use index::{IndexExpr, IndexForm};
pub use rules::{CheckRule, ColumnRule, IdentityRule, StoredExpr, TableRules, UniqueRule};
pub use scalar::{Func, ScalarExpr};
pub use set::SetCall;
pub use source::{ConnectionDesc, Format, KafkaSource, Metadata, NexmarkSource, SourceConnector, SourceDesc, StartAt};
pub use statement::Statement;
pub use write::{CopyFormat, CopyOptions, OnConflict, OnConflictUpdate, Returning};
