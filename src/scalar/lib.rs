//! Scalar expressions: PostgreSQL's types of calls and casts, and their evaluation over Arrow batches.
//!
//! Owns: which function or operator a call means ([`resolve_call`]), which casts exist ([`can_cast`]), the kernels
//! themselves, lazy AND/OR/CASE/COALESCE, filters and projections with failing rows set apart ([`Mfp`]), and the
//! wrapping of an expression as a DataFusion function ([`udf_for`]), so that maintained views and ad-hoc reads
//! evaluate with the same code, and aggregates ([`aggregate`]). Knows nothing of SQL text, plans of relations, clocks or time zones other than the
//! ones an expression names: the session's zone is UTC.
//!
//! Invariants: what a row gives, value or error, does not depend on the other rows of its batch; integers never
//! wrap; an unsupported case is an error (`0A000`), never a NULL.

pub mod aggregate;
mod civil;
mod compile;
mod condition;
mod ctype;
mod eval;
mod json;
mod kernel;
mod mfp;
mod regex;
mod resolve;
pub mod sets;
mod udf;
mod value;

pub use compile::{Compiled, compile, eval_const, may_fail};
pub use condition::{comparison, connective, never_fails};
pub use kernel::is_strict;
pub use kernel::variadic::of as variadic_of;
pub use mfp::{Mfp, MfpOutput, conjuncts};
pub use resolve::{
    CastContext, can_cast, choose_among, common_type, function_by_name, resolve_call, resolve_call_with_unknown,
};
pub use udf::{ScalarExprUdf, column_name, udf, udf_for};

#[cfg(test)]
mod tests;
