//! What tests of the whole system stand on: a spawned server, sqllogictest over the wire, a real Kafka broker.
//!
//! Development only; no crate of the server depends on it. Everything runs on free ports and in temporary
//! directories, and is killed when its handle is dropped.
//!
//! `HEADWATER_TEST_SEED=n` repeats a run, `random` makes a new one; `HEADWATER_TEST_LONG=n` does n times as much; `HEADWATER_TEST_KILLS=n`,
//! `HEADWATER_TEST_SIMULATE=n` and `HEADWATER_TEST_PAIRS=n` set the numbers of kills, of simulated runs and of write-then-read pairs; `HEADWATER_BIN` names the server.

pub mod aggregates;
pub mod conformance;
pub mod expect;
mod follow;
pub mod generated;
pub mod held;
pub mod history;
mod kafka;
pub mod oracle;
pub mod postgres;
pub mod process;
mod random;
pub mod raw;
pub mod rows;
pub mod serial;
mod server;
mod slt;
pub mod tpch;

pub use follow::{FollowError, Follower, contents_at};
pub use kafka::KafkaBroker;
pub use random::{Random, scaled, seed};
pub use server::{Server, binary, fail_points};
pub use slt::{Restarts, run_file};

/// Where the sqllogictest files are. Asked at run time: one build directory may serve several checkouts.
pub fn sql_tests() -> std::path::PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    std::path::PathBuf::from(here).join("../../sql-tests")
}

/// What went wrong in the harness, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HarnessError(pub String);

impl HarnessError {
    /// Says what was tried.
    pub(crate) fn wrap(what: &str) -> impl Fn(std::io::Error) -> HarnessError + '_ {
        move |e| HarnessError(format!("{what}: {e}"))
    }
}
