//! Ad-hoc reads: a bound logical plan becomes a stream of batches over published snapshots.
//!
//! Owns: replacing the plan's table scans by providers, physical planning, seeks on arrangement keys, point reads, and
//! turning DataFusion's errors back into [`SqlError`]. Does not parse, resolve or optimise SQL, does not choose
//! read times and never talks to a dataflow worker.
//!
//! Invariants: every relation of a query is read at the one `as_of` the caller chose; nothing is materialised that
//! the physical plan does not ask for (a scan holds one batch a partition); the plan's meaning is what the planner
//! made it: no logical optimizer rule runs here.

mod error;
mod execute;
mod provider;
mod rewrite;
mod seek;
mod sets;
mod snapshot;
mod stoppable;
mod unions;

pub use datafusion::execution::SendableRecordBatchStream;
pub use error::to_sql_error;
pub use execute::{QueryOptions, execute, stream_of};
pub use hw_repr::SqlError;
pub use provider::{ComputedIndex, QueryTable, StreamFactory};
pub use rewrite::{scan_id, table_name};
pub use snapshot::point_read;
