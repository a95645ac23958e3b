//! TPC-H's 22 queries as materialized views over tables that change: what the load and each batch of inserts, updates and
//! deletes cost, and whether every view is PostgreSQL's answer then.
//!
//! The time `until all views have it` ends when every view has been read once, one after the other, on one connection: a
//! read waits until its view has all that was committed before. PostgreSQL works while nothing is measured.
//!
//! `cargo run --release -p hw-testkit --example tpch -- --scale 0.1 --batches 5 --batch-rows 10000`

use clap::Parser;
use hw_testkit::generated::postgres;
use hw_testkit::process::{cpu_seconds, peak_memory, resident_memory};
use hw_testkit::rows::Bag;
use hw_testkit::tpch::{Changes, Data, Systems};
use hw_testkit::{Server, seed};
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

/// Loads, changes, compares.
#[derive(Parser)]
struct Args {
    /// 1 has 6 million line items.
    #[arg(long, default_value_t = 0.1)]
    scale: f64,
    /// Batches of changes.
    #[arg(long, default_value_t = 5)]
    batches: u64,
    /// Rows that a batch changes, about.
    #[arg(long, default_value_t = 10_000)]
    batch_rows: u64,
    /// Worker threads of the server.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Where the randomness begins.
    #[arg(long, default_value_t = seed())]
    seed: u64,
    /// The views are there before the tables are filled.
    #[arg(long)]
    views_first: bool,
    /// Where `initdb` and `postgres` are.
    #[arg(long)]
    bin: Option<PathBuf>,
}

/// Reads all views, says what it took since `begun`, and compares.
async fn finish(systems: &Systems, begun: (Instant, f64), written: f64) -> Result<Vec<Bag>, Box<dyn Error>> {
    let (shown, seconds) = systems.read().await?;
    let wall = begun.0.elapsed().as_secs_f64();
    let pid = systems.server.pid();
    let slowest = (0..seconds.len()).max_by(|a, b| seconds[*a].total_cmp(&seconds[*b])).unwrap_or(0);
    println!(
        "  acknowledged after {written:.2} s, all views have it after {wall:.2} s (longest read: {} {:.3} s); \
         {:.2} CPU s of the server; resident {} MiB, peak {} MiB",
        systems.name(slowest),
        seconds[slowest],
        cpu_seconds(pid)? - begun.1,
        resident_memory(pid)? >> 20,
        peak_memory(pid)? >> 20,
    );
    Ok(shown)
}

/// True where all are equal.
async fn compare(systems: &Systems, shown: &[Bag]) -> Result<bool, Box<dyn Error>> {
    let begun = Instant::now();
    let answers = systems.compare(shown).await?;
    let (equal, empty) = (shown.len() - answers.differences.len(), answers.filled.iter().filter(|f| !**f).count());
    println!(
        "  {equal} of {} answers equal PostgreSQL's, which computes them in {:.2} s; {} rows in all, {empty} without a value",
        shown.len(),
        begun.elapsed().as_secs_f64(),
        answers.rows.iter().sum::<usize>(),
    );
    answers.differences.iter().for_each(|d| println!("{d}"));
    Ok(answers.differences.is_empty())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let theirs = postgres(args.bin.as_deref())?;
    let data = Data::new(args.scale, args.seed);
    let server = Server::start(&["--workers", &args.workers.to_string(), "--checkpoint-interval", "10"])?;
    let systems = Systems::new(server, &theirs, args.scale).await?;
    let all = systems.views();
    println!("TPC-H at scale {}, {all} views, {} workers, seed {}", args.scale, args.workers, args.seed);
    if args.views_first {
        println!("views over empty tables: {:.2} s", systems.create(0..all).await?);
    }
    let begun = (Instant::now(), cpu_seconds(systems.server.pid())?);
    let load = systems.load(&data).await?;
    println!("load: {} rows by COPY in {:.2} s", load.rows, load.seconds);
    if !args.views_first {
        println!("  views over full tables: {:.2} s", systems.create(0..all).await?);
    }
    let shown = finish(&systems, begun, load.seconds).await?;
    systems.load_postgres(&data).await?;
    let mut equal = compare(&systems, &shown).await?;
    let mut changes = Changes::new(&data, args.seed);
    for n in 1..=args.batches {
        let batch = changes.batch(args.batch_rows);
        let begun = (Instant::now(), cpu_seconds(systems.server.pid())?);
        let done = systems.change(&batch).await?;
        let (statement, longest) = done.longest();
        println!(
            "batch {n}: {} rows by {} statements in {} commits, longest {longest:.2} s: {statement}",
            done.rows,
            done.statements.len(),
            batch.blocks.len()
        );
        let shown = finish(&systems, begun, done.seconds).await?;
        let theirs = systems.change_postgres(&batch).await?;
        println!("  PostgreSQL makes the same changes, with no view, in {:.2} s", theirs.seconds);
        if theirs.rows != done.rows {
            println!("  PostgreSQL changes {} rows", theirs.rows);
            equal = false;
        }
        equal &= compare(&systems, &shown).await?;
    }
    if equal { Ok(()) } else { Err("answers differ".into()) }
}
