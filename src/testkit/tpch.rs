//! TPC-H over tables that change: its 22 queries as materialized views, each compared with PostgreSQL's answer.
//!
//! `words` has the vocabularies, `data` makes the rows of the eight tables at a scale, `changes` makes the batches of
//! inserts, updates and deletes, `run` does everything on both systems and compares. The schema and the queries are those of
//! `sql-tests/tpch.slt`, read at run time. Everything follows from a scale and a seed.
//!
//! Cardinalities, keys, value ranges and distributions are those of the specification (TPC-H 3.0, clauses 4.2.2 and 4.2.3) as
//! far as the queries depend on them. Two things differ: comments are drawn from a short list of words, and one order in
//! 5,000 has seven large items, so that query 18 shows rows at small scales too.

mod changes;
mod data;
mod run;
mod words;

pub use changes::{Batch, Changes};
pub use data::{Data, TABLES};
pub use run::{Answers, Done, Systems, queries};
