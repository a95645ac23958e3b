//! Decisions, time and lifecycle: the coordinator introduces planner, dataflow, store, catalog, connectors and queries
//! to each other.
//!
//! One task ([`core`]) owns all mutable state and is reached only by messages of a closed enum ([`command`]). It
//! alone closes ticks ([`tick`]); the tick log is the only commit point. Sessions ([`session`]) plan statements
//! against an immutable catalog snapshot on their own tasks and send what must be decided.
//!
//! Invariants:
//! - nothing is acknowledged or shown before the tick that holds it is durable;
//! - at most one tick a millisecond, times strictly increase, restarts included;
//! - a read is answered at one time for all relations it names, never below an earlier read.

mod alter;
mod checkpoint;
mod command;
mod core;
mod ddl;
mod drop;
mod errors;
mod external;
mod functions;
mod handle;
mod hydrate;
mod identity;
mod known;
mod lag;
mod plans;
pub mod platform;
mod ranges;
mod read;
mod recovery;
mod repair;
mod replace;
pub mod session;
mod sessions;
mod source;
mod statement;
mod subscribe;
mod system;
mod tables;
mod tee;
mod tick;
mod transaction;
mod types;
mod verify;

pub use external::{MakeReader, feed_generators_from};
pub use handle::{AuthRule, CoordinatorConfig, CoordinatorHandle, ScramVerifier, start};
pub use hw_plan::{CopyFormat, CopyOptions};
pub use hw_store::files::failpoint;
pub use hw_store::verify::Report as VerifyReport;
pub use platform::Platform;
pub use repair::{RepairReport, repair};
pub use session::{Executed, Notice, Outcome, Prepared, RowStream, Session, TransactionStatus};
pub use statement::CopyIn;
pub use verify::verify;
