//! `cargo run --release -p hw-benches -- <what>`: measures, prints a table, writes JSON.
//!
//! Every measurement runs in a process of its own, so that CPU time and memory are its alone, and beside the same work
//! done by a program written for nothing else ([`limits`]): each figure is also a ratio within one run.

mod decode;
mod feed;
mod limits;
mod nexmark;
mod one_row;
mod process;
mod queries;
mod session;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: hw_memory::MiMalloc = hw_memory::MiMalloc;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Nexmark events, made before the clock starts, into views, one process a query.
    Nexmark(nexmark::Options),
    /// What a change of one row costs as the state grows.
    OneRow(one_row::Options),
    /// JSON of 1 KB to columns.
    Decode(decode::Options),
    /// One measurement of `nexmark`, as a line of JSON.
    #[command(hide = true)]
    NexmarkOne(nexmark::One),
}

fn main() -> ExitCode {
    if let Err(e) = hw_memory::give_back_in_background() {
        eprintln!("bench: no thread for giving memory back: {e}");
    }
    let done = match Line::parse().what {
        What::Nexmark(options) => nexmark::all(&options),
        What::OneRow(options) => one_row::all(&options),
        What::Decode(options) => decode::all(&options),
        What::NexmarkOne(one) => nexmark::one(&one),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e}");
            ExitCode::FAILURE
        }
    }
}
