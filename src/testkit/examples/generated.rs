//! Compares generated queries with PostgreSQL, maintained and ad hoc: `hw_testkit::generated`, at large.
//!
//! Needs PostgreSQL 15, as the example `conformance`.
//! `cargo run --release -p hw-testkit --example generated -- --cases 20000 --seed 1`; a difference is printed as a script with
//! its seed and set, `--set N --cases 30` repeats a set.

use clap::Parser;
use hw_testkit::generated::{self, Options};
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

/// Compares generated queries with PostgreSQL.
#[derive(Parser)]
struct Args {
    /// How many cases.
    #[arg(long, default_value_t = 20_000)]
    cases: u64,
    /// Where the randomness begins.
    #[arg(long, default_value_t = 20_261)]
    seed: u64,
    /// The first set of tables.
    #[arg(long, default_value_t = 0)]
    set: u64,
    /// Workers of the server.
    #[arg(long, default_value_t = 1)]
    workers: u64,
    /// Kill the server in the middle of each set.
    #[arg(long)]
    kill: bool,
    /// Differences to make small before the run ends.
    #[arg(long, default_value_t = 20)]
    shrunk: usize,
    /// Where `initdb` and `postgres` are.
    #[arg(long)]
    bin: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let postgres = generated::postgres(args.bin.as_deref())?;
    let options = Options {
        cases: args.cases,
        seed: args.seed,
        first_set: args.set,
        workers: args.workers,
        kill: args.kill,
        shrunk_max: args.shrunk,
    };
    let begun = Instant::now();
    let run = generated::run(&options, &postgres, |text| println!("{text}"));
    let report = tokio::runtime::Runtime::new()?.block_on(run)?;
    let seconds = begun.elapsed().as_secs_f64();
    println!("seed {}: {}{:.1} cases a second", args.seed, report.text(), report.cases as f64 / seconds);
    if report.differences.is_empty() { Ok(()) } else { Err("there are differences".into()) }
}
