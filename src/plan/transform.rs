//! Rewrites and analyses of dataflow plans.

mod analyse;
mod fuse;
mod rank;

pub use analyse::{choose_columns, describe, may_fail, not_null};
pub use fuse::{simplify, substitute};
