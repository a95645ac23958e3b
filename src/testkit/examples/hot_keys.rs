//! Join keys with a million matches: how long do other views wait while the one row that has them comes, changes and goes?
//!
//! Table `many` has a million rows of one key, table `hot` one row at a time of it; a view joins them, with the many on its
//! left side or on its right, with an aggregate above the join or keeping the joined rows. Beside it one connection writes
//! one row after the other to a table that has nothing to do with them and reads its view, and another subscribes to that
//! view. Shown are: `commit`, from the INSERT to its acknowledgement; `select`, from there until a SELECT of the view has
//! answered with that row; `subscribe`, from the acknowledgement until SUBSCRIBE has said that the tick is complete (0 where
//! it said so before); `whole`, from the INSERT to the later of both. A SELECT may wait for its own view alone, SUBSCRIBE
//! shows when a tick is shown at all; a commit waits for its tick, and so for what holds ticks up. The undisturbed figures of
//! the same run stand before them.
//!
//! `disk` is what 4 KiB made durable in the data directory took, beside all that: a commit takes as long at least, whatever else
//! the server does.
//!
//! The next row is written when the one before was read, so what stops everything for a second meets one row: `longest` is
//! the longest `whole` of each hot change.
//!
//! `cargo run --release -p hw-testkit --example hot_keys -- --workers 2`

use clap::Parser;
use hw_testkit::process::{cpu_seconds, follow_disk, peak_memory, percentile, resident_memory};
use hw_testkit::rows::{run, value};
use hw_testkit::{Follower, Server};
use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;
/// Counts of the unrelated view, and when SUBSCRIBE has shown them.
type Seen = Arc<Mutex<Vec<(u64, Instant)>>>;

/// No tick should hold another view up for longer.
const LIMIT_MS: f64 = 50.0;
/// Rows of one INSERT of the load.
const LOAD_ROWS: u64 = 100_000;
const SIDES: &[&str] = &["left", "right"];
const KINDS: &[&str] = &["aggregate", "rows"];

/// Measures what a hot key does to others.
#[derive(Parser, Clone)]
struct Args {
    /// Matches of the hot row.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Changes of the hot row: each third an insert, an update, a delete.
    #[arg(long, default_value_t = 36)]
    changes: u64,
    /// Seconds without hot changes, before.
    #[arg(long, default_value_t = 5)]
    quiet: u64,
    /// Milliseconds between two writes of the unrelated table.
    #[arg(long, default_value_t = 5)]
    pause: u64,
    /// Worker threads of the server.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Only with the many rows on this side of the join: `left` or `right`.
    #[arg(long)]
    side: Option<String>,
    /// Only this view: `aggregate` or `rows`.
    #[arg(long)]
    kind: Option<String>,
    /// Seconds between the server's checkpoints.
    #[arg(long, default_value_t = 10)]
    checkpoint_interval: u64,
}

/// One row written to the unrelated table.
struct Probe {
    n: u64,
    begun: Instant,
    acknowledged: Instant,
    selected: Instant,
}

/// One change of the hot row.
struct Hot {
    what: &'static str,
    begun: Instant,
    acknowledged: Instant,
    shown: Instant,
}

fn ms(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1e3
}

fn view(side: &str, kind: &str) -> String {
    let from = match side {
        "left" => "many m JOIN hot h ON m.k = h.k",
        _ => "hot h JOIN many m ON h.k = m.k",
    };
    match kind {
        "aggregate" => format!("SELECT m.k, count(*) AS n, sum(m.v * h.w) AS s FROM {from} GROUP BY m.k"),
        _ => format!("SELECT m.id, h.id AS h, m.v * h.w AS s FROM {from}"),
    }
}

async fn create(client: &Client, rows: u64, query: &str) -> Outcome<()> {
    for sql in [
        "CREATE TABLE many (id bigint PRIMARY KEY, k int, v bigint)",
        "CREATE TABLE hot (id bigint PRIMARY KEY, k int, w bigint)",
        "CREATE TABLE other (id bigint PRIMARY KEY)",
        "CREATE MATERIALIZED VIEW unrelated AS SELECT count(*) AS n FROM other",
        // Other keys, with a few rows each.
        "INSERT INTO hot SELECT i, i, i FROM generate_series(1, 1000) i",
        "INSERT INTO many SELECT -i, i % 1000 + 1, i FROM generate_series(1, 10000) i",
    ] {
        run(client, sql).await?;
    }
    // Every row has values of its own: equal ones would be one row of the arrangement, however many there are.
    for from in (0..rows).step_by(LOAD_ROWS as usize) {
        let to = (from + LOAD_ROWS).min(rows) - 1;
        run(client, &format!("INSERT INTO many SELECT i, 0, i FROM generate_series({from}, {to}) i")).await?;
    }
    run(client, &format!("CREATE MATERIALIZED VIEW joined AS {query}")).await?;
    Ok(())
}

/// Writes a row, reads it through its view, and so on, until told to stop.
async fn probe(client: Client, pause: Duration, stop: Arc<AtomicBool>) -> Outcome<Vec<Probe>> {
    let mut out = vec![];
    for n in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let begun = Instant::now();
        run(&client, &format!("INSERT INTO other VALUES ({n})")).await?;
        let acknowledged = Instant::now();
        let shown = value(&client, "SELECT n FROM unrelated").await?;
        out.push(Probe { n, begun, acknowledged, selected: Instant::now() });
        if shown != Some(n.to_string()) {
            return Err(format!("the view shows {shown:?} after {n} rows were acknowledged").into());
        }
        tokio::time::sleep(pause).await;
    }
    Ok(out)
}

/// Notes when each count is complete.
async fn follow(mut follower: Follower, seen: Seen) -> Outcome<()> {
    let mut last = 0;
    loop {
        follower.step().await?;
        let shown = follower.contents().keys().next().and_then(|row| row.first().cloned().flatten());
        let n = shown.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        if n > last {
            let now = Instant::now();
            seen.lock().unwrap_or_else(PoisonError::into_inner).extend((last + 1..=n).map(|n| (n, now)));
            last = n;
        }
    }
}

/// Changes the hot row, and waits each time until the joined view has it.
async fn heat(client: &Client, args: &Args, kind: &str) -> Outcome<Vec<Hot>> {
    let mut out = vec![];
    for i in 0..args.changes {
        let (what, sql) = match i % 3 {
            0 => ("insert", "INSERT INTO hot VALUES (0, 0, 2)".to_string()),
            1 => ("update", format!("UPDATE hot SET w = {} WHERE id = 0", 3 + i)),
            _ => ("delete", "DELETE FROM hot WHERE id = 0".to_string()),
        };
        let begun = Instant::now();
        run(client, &sql).await?;
        let acknowledged = Instant::now();
        let read = match kind {
            "rows" => "SELECT s FROM joined WHERE id = 7",
            _ => "SELECT n FROM joined WHERE k = 0",
        };
        let shown = value(client, read).await?;
        out.push(Hot { what, begun, acknowledged, shown: Instant::now() });
        let expected = match (what, kind) {
            ("delete", _) => None,
            ("insert", "rows") => Some("14".into()),
            (_, "rows") => Some(((3 + i) * 7).to_string()),
            _ => Some(args.rows.to_string()),
        };
        if shown != expected {
            return Err(format!("after {sql} the joined view shows {shown:?}, not {expected:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Ok(out)
}

fn line(what: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let over = values.iter().filter(|v| **v > LIMIT_MS).count();
    let at = |share| percentile(&values, share);
    println!(
        "    {what:<9} median {:>8.2} ms, 99 % {:>8.2} ms, max {:>8.2} ms, {over} of {} over {LIMIT_MS} ms",
        at(0.5),
        at(0.99),
        at(1.0),
        values.len()
    );
}

fn report(what: &str, probes: &[&Probe], seen: &HashMap<u64, Instant>) {
    println!("  unrelated view {what}:");
    line("commit", probes.iter().map(|p| ms(p.begun, p.acknowledged)).collect());
    line("select", probes.iter().map(|p| ms(p.acknowledged, p.selected)).collect());
    let complete: Vec<(&&Probe, Instant)> = probes.iter().filter_map(|p| Some((p, *seen.get(&p.n)?))).collect();
    line("subscribe", complete.iter().map(|(p, at)| ms(p.acknowledged, *at)).collect());
    line("whole", complete.iter().map(|(p, at)| ms(p.begun, p.selected.max(*at))).collect());
}

fn load_average() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or_default().to_string()
}

async fn case(args: &Args, side: &str, kind: &str) -> Outcome<()> {
    let interval = args.checkpoint_interval.to_string();
    let server = Server::start(&["--workers", &args.workers.to_string(), "--checkpoint-interval", &interval])?;
    let (client, pid) = (server.connect().await?, server.pid());
    create(&client, args.rows, &view(side, kind)).await?;
    let seen = Seen::default();
    let following = tokio::spawn(follow(Follower::start(&server, "unrelated").await?, seen.clone()));
    let stop = Arc::new(AtomicBool::new(false));
    let probing = tokio::spawn(probe(server.connect().await?, Duration::from_millis(args.pause), stop.clone()));
    let most = Arc::new(AtomicU64::new(0));
    let (highest, ended) = (most.clone(), stop.clone());
    // The first second does not count.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let quiet = Instant::now();
    tokio::time::sleep(Duration::from_secs(args.quiet)).await;
    let (before, cpu, quiet_load) = (resident_memory(pid)? >> 20, cpu_seconds(pid)?, load_average());
    let sampling = std::thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            highest.fetch_max(resident_memory(pid).unwrap_or(0) >> 20, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let (syncs, ended) = (Arc::new(Mutex::new(vec![])), stop.clone());
    let (all, file) = (syncs.clone(), server.data_dir().join("disk-probe"));
    let each = move |_, ms| all.lock().unwrap_or_else(PoisonError::into_inner).push(ms);
    let disk = std::thread::spawn(move || follow_disk(&file, Duration::from_millis(5), &ended, each));
    let hot_begun = Instant::now();
    let changed = heat(&client, args, kind).await;
    let cpu = cpu_seconds(pid)? - cpu;
    stop.store(true, Ordering::Relaxed);
    let (probes, _, _) = (probing.await??, sampling.join(), disk.join());
    let hot = changed?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    following.abort();
    let seen: HashMap<u64, Instant> = seen.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
    println!(
        "{} rows of the key on the {side}, view of {kind}, {} workers; load average {quiet_load} before, {} after",
        args.rows,
        args.workers,
        load_average()
    );
    show(&probes, &hot, &seen, (quiet, hot_begun));
    line("disk", std::mem::take(&mut *syncs.lock().unwrap_or_else(PoisonError::into_inner)));
    println!("  {:.2} CPU s of the server for each hot change", cpu / hot.len().max(1) as f64);
    println!(
        "  resident memory {before} MiB before, at most {} MiB during hot changes; {} MiB at most in the server's life",
        most.load(Ordering::Relaxed),
        peak_memory(pid)? >> 20
    );
    Ok(())
}

/// `quiet`: when the time without hot changes began and ended.
fn show(probes: &[Probe], hot: &[Hot], seen: &HashMap<u64, Instant>, quiet: (Instant, Instant)) {
    let touched = |p: &&Probe| hot.iter().any(|h| p.begun < h.shown && h.begun < p.selected);
    let undisturbed: Vec<&Probe> = probes.iter().filter(|p| p.begun > quiet.0 && p.selected < quiet.1).collect();
    report("without hot changes", &undisturbed, seen);
    report("while a hot change goes on", &probes.iter().filter(touched).collect::<Vec<_>>(), seen);
    let longest = |h: &Hot| {
        let met = probes.iter().filter(|p| p.begun < h.shown && h.begun < p.selected);
        let whole = |p: &Probe| ms(p.begun, p.selected.max(seen.get(&p.n).copied().unwrap_or(p.selected)));
        met.map(whole).fold(0.0, f64::max)
    };
    line("longest", hot.iter().map(longest).collect());
    println!("  hot changes:");
    for what in ["insert", "update", "delete"] {
        let of = || hot.iter().filter(|h| h.what == what);
        println!("   {what}:");
        line("commit", of().map(|h| ms(h.begun, h.acknowledged)).collect());
        line("shown", of().map(|h| ms(h.begun, h.shown)).collect());
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let args = Args::parse();
    for kind in KINDS.iter().filter(|k| args.kind.as_deref().is_none_or(|wanted| wanted == **k)) {
        for side in SIDES.iter().filter(|s| args.side.as_deref().is_none_or(|wanted| wanted == **s)) {
            case(&args, side, kind).await?;
        }
    }
    Ok(())
}
