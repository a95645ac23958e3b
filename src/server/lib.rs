//! The outside of Headwater: the PostgreSQL wire protocol, the HTTP endpoints and the command line.
//!
//! Owns sockets, wire formats and the configuration of a process. Knows nothing of SQL, plans or storage: all of
//! that is behind [`backend::Backend`], which the coordinator implements (`adapter`), and tests replace.
//!
//! Invariant: no wire format is visible behind [`backend`]; values cross it as Arrow batches and datums.

pub mod adapter;
pub mod backend;
pub mod config;
pub mod http;
pub mod pg;
pub mod run;
pub mod serve;
