//! How soon a server answers after `kill -9` under load, with how much state: the time from its start to the first right
//! SELECT, and how many changes came to its operators until then.
//!
//! Half of the rows of state are those of a join, half the groups of an aggregate.
//! `cargo run --release -p hw-testkit --example restart -- --rows 1000000,10000000`

use clap::Parser;
use hw_testkit::process::{disk_bytes, peak_memory};
use hw_testkit::rows::value;
use hw_testkit::{KafkaBroker, Random, Server, seed};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use std::error::Error;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio_postgres::{Client, SimpleQueryMessage};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const TOPIC: &str = "facts";
const PARTITIONS: u64 = 4;
const DIMENSIONS: u64 = 1000;
const VIEWS: &[(&str, &str)] = &[
    ("per_key", "SELECT k, count(*) AS n, sum(v) AS s FROM facts GROUP BY k"),
    ("per_name", "SELECT name, count(*) AS n, sum(v) AS s FROM facts JOIN dims ON facts.d = dims.d GROUP BY name"),
];
/// What both views say of the messages, in one reading.
const CHECK: &str = "SELECT a.n, a.s, b.n, b.s FROM (SELECT sum(n) AS n, sum(s) AS s FROM per_key) a, \
                     (SELECT sum(n) AS n, sum(s) AS s FROM per_name) b";

/// Measures restarts.
#[derive(Parser)]
struct Args {
    /// Rows of state; several runs, each on a new server, with commas.
    #[arg(long, value_delimiter = ',', default_value = "1000000")]
    rows: Vec<u64>,
    /// Messages per second meanwhile.
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Kills per run.
    #[arg(long, default_value_t = 3)]
    kills: u64,
    /// Seconds between checkpoints.
    #[arg(long, default_value_t = 10)]
    interval: u64,
    /// Workers of the server.
    #[arg(long, default_value_t = 1)]
    workers: usize,
}

fn send(producer: &ThreadedProducer<DefaultProducerContext>, i: u64, keys: u64) -> Outcome<()> {
    let text = format!("{{\"k\":{},\"d\":{},\"v\":{i}}}", i % keys, i % DIMENSIONS);
    loop {
        let record = BaseRecord::<(), str>::to(TOPIC).partition((i % PARTITIONS) as i32).payload(text.as_str());
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err((e, _)) => return Err(e.into()),
        }
    }
}

/// Sends messages from number `from` on at an even pace until told to stop.
fn produce(broker: &str, from: u64, keys: u64, rate: u64, stop: &AtomicBool) -> Outcome<()> {
    let producer: ThreadedProducer<_> =
        ClientConfig::new().set("bootstrap.servers", broker).set("linger.ms", "5").create()?;
    let begun = Instant::now();
    for i in 0.. {
        let due = Duration::from_nanos(i * 1_000_000_000 / rate);
        if let Some(early) = due.checked_sub(begun.elapsed()).filter(|e| *e > Duration::from_millis(1)) {
            std::thread::sleep(early);
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        send(&producer, from + i, keys)?;
    }
    Ok(producer.flush(Duration::from_secs(10))?)
}

/// Messages that both views show; an error where they disagree, or are not the first ones.
async fn shown(client: &Client) -> Outcome<u64> {
    for message in client.simple_query(CHECK).await? {
        if let SimpleQueryMessage::Row(row) = message {
            let cell = |i| row.get(i).unwrap_or("0").parse::<u128>().unwrap_or(0);
            let (n, s) = (cell(0), cell(1));
            if (cell(2), cell(3)) != (n, s) {
                return Err(format!("the views disagree: {row:?}").into());
            }
            return Ok(n as u64);
        }
    }
    Err("no row".into())
}

/// Messages that the join shows, and that some groups of the aggregate show the same of, looked up by their keys in the
/// same reading: group `k` has had message k, `keys + k`, `2 keys + k` and so on.
async fn first_answer(client: &Client, keys: u64) -> Outcome<(u64, usize)> {
    let group = |i| format!("SELECT k, n, s FROM per_key WHERE k = {}", i * (keys / 20));
    let some: Vec<String> = (0..20).map(group).collect();
    let sql = format!(
        "SELECT b.n, b.s, a.k, a.n, a.s FROM (SELECT sum(n) AS n, sum(s) AS s FROM per_name) b, ({}) a",
        some.join(" UNION ALL ")
    );
    let (mut found, mut groups) = (0, 0);
    for message in client.simple_query(&sql).await? {
        let SimpleQueryMessage::Row(row) = message else { continue };
        let cell = |i| row.get(i).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
        let (all, k, n) = (cell(0), cell(2), cell(3));
        // Messages of all partitions come in about evenly, not exactly in order: a group may have one more or less.
        let (least, most) = ((all.saturating_sub(k)) / keys, (all.saturating_sub(k)) / keys + 1);
        let sum = n * k + keys * (n * (n - 1) / 2);
        if !(least.max(1)..=most + 1).contains(&n) || cell(4) != sum {
            return Err(format!("group {k} is wrong: {row:?}").into());
        }
        (found, groups) = (all, groups + 1);
    }
    if groups == some.len() { Ok((found, groups)) } else { Err(format!("{groups} groups of {}", some.len()).into()) }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// Changes that have come to joins and aggregates since the start.
fn changes(server: &Server) -> Outcome<u64> {
    let mut stream = std::net::TcpStream::connect(server.http_addr)?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let lines = text.lines().filter(|l| l.starts_with("headwater_operator_changes_total{"));
    Ok(lines.filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}

/// The table, the source and the views.
async fn create(client: &Client, broker: &str) -> Outcome<()> {
    let dims: Vec<String> = (0..DIMENSIONS).map(|d| format!("({d}, 'name {d}')")).collect();
    for sql in [
        "CREATE TABLE dims (d bigint PRIMARY KEY, name text)".to_string(),
        format!("INSERT INTO dims VALUES {}", dims.join(", ")),
        format!("CREATE CONNECTION c TO KAFKA (BROKER '{}')", broker),
        format!(
            "CREATE SOURCE facts (k bigint, d bigint, v bigint) FROM KAFKA CONNECTION c (TOPIC '{TOPIC}') FORMAT JSON"
        ),
    ] {
        client.simple_query(&sql).await?;
    }
    for (view, query) in VIEWS {
        client.simple_query(&format!("CREATE MATERIALIZED VIEW {view} AS {query}")).await?;
    }
    Ok(())
}

async fn run(rows: u64, args: &Args) -> Outcome<()> {
    let (messages, broker) = (rows / 2, KafkaBroker::start().await?);
    broker.create_topic(TOPIC, PARTITIONS as i32).await?;
    let (workers, interval) = (args.workers.to_string(), args.interval.to_string());
    let mut server = Server::start(&["--workers", &workers, "--checkpoint-interval", &interval])?;
    let client = server.connect().await?;
    create(&client, &broker.address()).await?;
    let producer: ThreadedProducer<_> = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("linger.ms", "50")
        .set("batch.size", "1000000")
        .create()?;
    (0..messages).try_for_each(|i| send(&producer, i, messages))?;
    producer.flush(Duration::from_secs(60))?;
    while shown(&client).await? < messages {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    client.simple_query("CHECKPOINT").await?;
    println!("{messages} messages, {rows} rows of state, server {} MiB", peak_memory(server.pid())? >> 20);
    let stop = Arc::new(AtomicBool::new(false));
    let (address, stop2, rate) = (broker.address(), stop.clone(), args.rate);
    let load = std::thread::spawn(move || produce(&address, messages, messages, rate, &stop2));
    let mut random = Random::new(seed());
    for kill in 1..=args.kills {
        let client = server.connect().await?;
        let last = "SELECT max(time) FROM headwater.checkpoints WHERE state = 'done'";
        let before = value(&client, last).await?;
        while value(&client, last).await? == before {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let took = value(&client, "SELECT duration_ms FROM headwater.checkpoints ORDER BY time DESC LIMIT 1").await;
        // The ticks after it are the tail, those that came while it was written too.
        let tick: u64 = value(&client, last).await?.and_then(|t| t.parse().ok()).unwrap_or(0);
        let known = shown(&client).await?;
        let tail = random.below(args.interval * 1000).max(now_ms().saturating_sub(tick));
        tokio::time::sleep(Duration::from_millis((tick + tail).saturating_sub(now_ms()))).await;
        server.kill()?;
        let tail = now_ms().saturating_sub(tick) as f64 / 1000.0;
        let begun = Instant::now();
        server.restart()?;
        let ready = begun.elapsed();
        let client = server.connect().await?;
        let (found, keys) = first_answer(&client, messages).await?;
        let right = begun.elapsed();
        let (all, scanned) = (shown(&client).await?, begun.elapsed());
        if found < known || all < found {
            return Err(format!("{known} messages before the kill, {found} and {all} after it").into());
        }
        tokio::time::sleep(Duration::from_millis(1200)).await;
        println!(
            "kill {kill}, {tail:.1} s after the tick of a checkpoint of {} ms: ready after {:.2} s, right after {:.2} s \
             (join and {keys} groups; all groups summed after {:.2} s), {} changes came to the operators by {:.1} s, {} \
             MiB on disk, peak {} MiB",
            took.ok().flatten().unwrap_or_default(),
            ready.as_secs_f64(),
            right.as_secs_f64(),
            scanned.as_secs_f64(),
            changes(&server)?,
            begun.elapsed().as_secs_f64(),
            disk_bytes(server.data_dir()) >> 20,
            peak_memory(server.pid())? >> 20,
        );
    }
    stop.store(true, Ordering::Relaxed);
    load.join().map_err(|_| "the producer panicked")?
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let args = Args::parse();
    for rows in &args.rows {
        run(*rows, &args).await?;
    }
    Ok(())
}
