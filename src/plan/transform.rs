//! Rewrites and analyses of dataflow plans.

mod analyse;
mod fuse;
mod rank;
mod read_by;

pub use analyse::{choose_columns, describe, may_fail, not_null};
pub use fuse::{simplify, substitute};
pub use read_by::read_by;
