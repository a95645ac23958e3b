//! Plan to maintained collections: arrangements, operators, workers, published snapshots, subscriptions.
//!
//! Knows nothing of SQL text, sessions or sources. [`Engine`] is the only entrance: its calls put commands into the
//! queues of all workers in the same order and return at once; what workers have reached is read from atomics.
//!
//! Invariants: what a flow shows below its frontier never changes (but for compaction of times below since); every
//! operator is exact under retractions, whatever the batching and the number of workers; a panic of a worker ends the
//! process.

pub mod arrange;
mod batcher;
pub mod chunk;
mod closed;
mod correct;
mod engine;
mod errors;
mod exchange;
mod flow;
mod join;
mod layout;
mod reduce;
mod render;
mod restore;
mod sets;
mod slab;
mod spine;
pub mod state;
mod stateless;
mod subscribe;
mod types;
mod worker;

pub use correct::Correction;
pub use engine::{Engine, EngineConfig};
pub use errors::{ERRORS_VERSION, ViewError};
pub use flow::{FlowKind, FlowSpec, OperatorStats};
pub use hw_repr::FloatSum;
pub use layout::Layout;
pub use render::validate;
pub use restore::Restored;
pub use state::RestoredFlow;
pub use subscribe::{SubscribeMsg, SubscribeSink, SubscriptionId};
