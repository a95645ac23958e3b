//! Nexmark: SQL text, coordinator, fsynced tick log and workers, fed with ready batches.

use crate::feed::{self, Feed};
use crate::queries::{self, QUERIES};
use crate::session::{self, execute};
use crate::{limits, process};
use clap::Args;
use hw_coordinator::CoordinatorConfig;
use serde::{Deserialize, Serialize};
use std::process::Command;
use std::time::{Duration, Instant};

/// What to measure.
#[derive(Args)]
pub struct Options {
    /// Names of queries; all where none.
    queries: Vec<String>,
    /// Events in all, of the three kinds 1:3:46.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// Events a batch; a tick takes as many batches as fit.
    #[arg(long, default_value_t = 10_000)]
    tick: u64,
    /// Numbers of workers.
    #[arg(long, default_values_t = [1, 2], value_delimiter = ',')]
    workers: Vec<usize>,
    /// Where the JSON goes.
    #[arg(long, default_value = "bench-nexmark.json")]
    out: std::path::PathBuf,
}

/// One measurement.
#[derive(Args, Clone)]
pub struct One {
    /// Which query.
    query: String,
    #[arg(long)]
    events: u64,
    #[arg(long)]
    tick: u64,
    /// 0: the single-purpose program.
    #[arg(long)]
    workers: usize,
    /// Without a final arrangement.
    #[arg(long)]
    discard: bool,
}

/// What one measurement found.
#[derive(Serialize, Deserialize)]
struct Figures {
    query: String,
    /// 0: the single-purpose program.
    workers: usize,
    discard: bool,
    events: u64,
    /// Wall seconds.
    wall: f64,
    /// CPU seconds of the whole process.
    cpu: f64,
    /// Most resident memory beyond what the ready events take, MiB.
    peak_mib: f64,
    /// What the view holds: count and checksum texts, to compare runs.
    result: String,
    /// Rows and bytes by operator, as `headwater.operators` has them.
    operators: Vec<String>,
}

/// Measures all in child processes and prints a table.
pub fn all(options: &Options) -> Result<(), String> {
    let names: Vec<&str> = match options.queries.as_slice() {
        [] => QUERIES.iter().map(|q| q.name).collect(),
        some => some.iter().map(String::as_str).collect(),
    };
    let mut figures: Vec<Figures> = vec![];
    println!(
        "{:<26}{:>8}{:>9}{:>12}{:>14}{:>10}{:>9}",
        "query", "workers", "CPU s/M", "M ev/CPU s", "M ev/s wall", "peak MiB", "x limit"
    );
    for name in names {
        let query = queries::find(name).ok_or_else(|| format!("no query is called {name}"))?;
        let limit = limits::by_name(name).is_some().then_some((0, false));
        let discarded = query.discard.then_some(true);
        let runs = options.workers.iter().flat_map(|w| discarded.into_iter().chain([false]).map(|d| (*w, d)));
        let mut of_limit = None;
        for (workers, discard) in limit.into_iter().chain(runs) {
            let found = child(options, name, workers, discard)?;
            if workers == 0 {
                of_limit = Some(found.cpu);
            }
            print_row(&found, of_limit);
            figures.push(found);
        }
    }
    let json = serde_json::to_string_pretty(&figures).map_err(|e| e.to_string())?;
    std::fs::write(&options.out, json).map_err(|e| format!("{}: {e}", options.out.display()))
}

fn print_row(found: &Figures, limit: Option<f64>) {
    let millions = found.events as f64 / 1e6;
    let name = format!("{}{}", found.query, if found.discard { " (stream)" } else { "" });
    let workers = if found.workers == 0 { "limit".to_owned() } else { found.workers.to_string() };
    let ratio = limit.map_or("-".to_owned(), |l| format!("{:.2}", found.cpu / l.max(1e-9)));
    println!(
        "{name:<26}{workers:>8}{:>9.3}{:>12.2}{:>14.2}{:>10.0}{ratio:>9}",
        found.cpu / millions,
        millions / found.cpu,
        millions / found.wall,
        found.peak_mib
    );
}

fn child(options: &Options, name: &str, workers: usize, discard: bool) -> Result<Figures, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    command.args(["nexmark-one", name, "--workers", &workers.to_string()]);
    command.args(["--events", &options.events.to_string(), "--tick", &options.tick.to_string()]);
    command.args(discard.then_some("--discard"));
    let output = command.stderr(std::process::Stdio::inherit()).output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(format!("{name}: {}", output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| format!("{name}: {e}"))
}

/// Measures one query in this process.
pub fn one(one: &One) -> Result<(), String> {
    let figures = match one.workers {
        0 => limit(one)?,
        _ => view(one)?,
    };
    println!("{}", serde_json::to_string(&figures).map_err(|e| e.to_string())?);
    Ok(())
}

struct Clock {
    wall: Instant,
    cpu: f64,
    resident: f64,
}

impl Clock {
    fn start() -> Clock {
        process::reset_peak();
        Clock { wall: Instant::now(), cpu: process::cpu_seconds(), resident: process::resident_mib() }
    }

    fn stop(self, one: &One, result: String, operators: Vec<String>) -> Figures {
        Figures {
            query: one.query.clone(),
            workers: one.workers,
            discard: one.discard,
            events: one.events,
            wall: self.wall.elapsed().as_secs_f64(),
            cpu: process::cpu_seconds() - self.cpu,
            peak_mib: process::peak_mib() - self.resident,
            result,
            operators,
        }
    }
}

fn limit(one: &One) -> Result<Figures, String> {
    let mut program = limits::by_name(&one.query).ok_or("there is no single-purpose program for it")?;
    let ticks = feed::make(one.events, one.tick);
    let clock = Clock::start();
    let mut changed = 0;
    for tick in &ticks {
        changed += program.tick(tick);
    }
    Ok(clock.stop(one, format!("{changed} changes"), vec![]))
}

fn view(one: &One) -> Result<Figures, String> {
    let feed = Feed::new(feed::make(one.events, one.tick), one.tick);
    let readers = feed.clone();
    hw_coordinator::feed_generators_from(Box::new(move |from, to| readers.reader(from, to)));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(run(one, &feed))
}

async fn run(one: &One, feed: &Feed) -> Result<Figures, String> {
    let sql = queries::find(&one.query).ok_or("no such query")?.sql;
    let dir = tempfile::tempdir_in(".").map_err(|e| e.to_string())?;
    let config = CoordinatorConfig {
        discard_views: one.discard,
        assume_retractions: queries::find(&one.query).is_some_and(|q| q.retractable),
        ..session::config(&dir.path().join("data"), one.workers)
    };
    let handle = hw_coordinator::start(config).map_err(|e| e.to_string())?;
    handle.ready().await.map_err(|e| e.to_string())?;
    let mut session = handle.session("headwater".into(), "headwater".into(), None);
    execute(&mut session, "CREATE SOURCE nexmark FROM GENERATOR NEXMARK (PREFIX '')").await?;
    execute(&mut session, &format!("CREATE MATERIALIZED VIEW v AS {sql}")).await?;
    let clock = Clock::start();
    feed.open();
    // Reads wait for ticks, and ticks for reads: none before the last one was taken.
    while !feed.is_drained() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let want = (one.events.div_ceil(one.tick) * one.tick).to_string();
    while execute(&mut session, "SELECT position FROM headwater.source_partitions").await?.concat() != want {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // Strict serialisability: this read sees every tick that was closed before it, so it waits for the last ones.
    let rows = execute(&mut session, "SELECT count(*) FROM v").await?;
    let operators = execute(&mut session, "SELECT * FROM headwater.operators").await?;
    let figures = clock.stop(one, format!("{} rows", rows.concat()), operators);
    handle.shutdown().await;
    Ok(figures)
}
