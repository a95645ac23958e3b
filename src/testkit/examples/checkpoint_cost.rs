//! What checkpoints cost: the same events into the same views, with checkpoints and without, in turn, each on a new server.
//!
//! `cargo run --release -p hw-testkit --example checkpoint_cost -- --events 60000000 --intervals 0,10,0,10`

use clap::Parser;
use hw_testkit::Server;
use hw_testkit::process::{cpu_seconds, peak_memory};
use hw_testkit::rows::value;
use std::error::Error;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// One view reads the source, so that it is up to date from the first event on: what is still being filled is in no
/// checkpoint. The others read that one: an aggregate with few groups that change often, and a join.
const VIEWS: &[(&str, &str)] = &[
    ("by_auction", "SELECT auction, count(*) AS n, sum(price) AS total, max(price) AS top FROM bid GROUP BY auction"),
    ("by_count", "SELECT n, count(*) AS auctions, sum(n) AS bids FROM by_auction GROUP BY n"),
    ("named", "SELECT d.name, b.auction, b.n FROM by_auction b JOIN dims d ON b.auction % 1000 = d.d"),
    ("progress", "SELECT sum(bids) AS n FROM by_count"),
];
/// The events come faster than anything takes them.
const EVENTS_PER_SECOND: u64 = 20_000_000;
/// Seconds that no run reaches.
const NEVER: u64 = 1_000_000;

/// Measures what checkpoints cost.
#[derive(Parser)]
struct Args {
    /// Events per run.
    #[arg(long, default_value_t = 60_000_000)]
    events: u64,
    /// Seconds between checkpoints, one run each, with commas; 0 for no checkpoints.
    #[arg(long, value_delimiter = ',', default_value = "0,10,0,10")]
    intervals: Vec<u64>,
    /// Workers of the server.
    #[arg(long, default_value_t = 1)]
    workers: usize,
}

async fn run(interval: u64, args: &Args) -> Outcome<f64> {
    let (workers, seconds) = (args.workers.to_string(), if interval == 0 { NEVER } else { interval }.to_string());
    let server = Server::start(&["--workers", &workers, "--checkpoint-interval", &seconds])?;
    let client = server.connect().await?;
    let dims: Vec<String> = (0..1000).map(|d| format!("({d}, 'name {d}')")).collect();
    client.simple_query("CREATE TABLE dims (d bigint PRIMARY KEY, name text)").await?;
    client.simple_query(&format!("INSERT INTO dims VALUES {}", dims.join(", "))).await?;
    let (begun, cpu) = (Instant::now(), cpu_seconds(server.pid())?);
    let pace = format!("EVENTS {}, EVENTS PER SECOND {EVENTS_PER_SECOND}, PREFIX ''", args.events);
    client.simple_query(&format!("CREATE SOURCE n FROM GENERATOR NEXMARK ({pace})")).await?;
    for (view, query) in VIEWS {
        client.simple_query(&format!("CREATE MATERIALIZED VIEW {view} AS {query}")).await?;
    }
    // Of 50 events 46 are bids.
    let bids = (args.events / 50 * 46).to_string();
    while value(&client, "SELECT n FROM progress").await?.as_ref() != Some(&bids) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (took, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds(server.pid())? - cpu);
    let written = "SELECT count(*) || ' checkpoints, ' || coalesce(sum(bytes)::bigint, 0) / 1048576 || ' MiB, ' || \
                   coalesce(sum(duration_ms), 0) || ' ms' FROM headwater.checkpoints";
    let rate = args.events as f64 / took;
    println!(
        "interval {interval} s: {took:.1} s, {:.3} million events/s, {cpu:.1} CPU seconds, {}, peak {} MiB",
        rate / 1e6,
        value(&client, written).await?.unwrap_or_default(),
        peak_memory(server.pid())? >> 20,
    );
    Ok(rate)
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let args = Args::parse();
    let mut rates = vec![];
    for interval in &args.intervals {
        rates.push((*interval, run(*interval, &args).await?));
    }
    let mean = |with: bool| {
        let some: Vec<f64> = rates.iter().filter(|(i, _)| (*i > 0) == with).map(|(_, rate)| *rate).collect();
        some.iter().sum::<f64>() / some.len() as f64
    };
    println!("with checkpoints {:.1} % fewer events/s than without", 100.0 - 100.0 * mean(true) / mean(false));
    Ok(())
}
