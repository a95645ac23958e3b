//! Whether what a server keeps stays bounded while a fixed set of keys changes: a table whose rows are updated, a topic
//! whose messages have the same keys, and views over both. Samples the log, the chunk files and resident memory.
//!
//! `cargo run --release -p hw-testkit --example steady -- --minutes 30`

use clap::Parser;
use hw_testkit::process::{disk_bytes, resident_memory};
use hw_testkit::rows::value;
use hw_testkit::{KafkaBroker, Random, Server, seed};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const TOPIC: &str = "facts";
const PARTITIONS: u64 = 4;
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
const VIEWS: &[(&str, &str)] = &[
    ("per_group", "SELECT g, count(*) AS n, sum(v) AS s, max(v) AS top FROM t GROUP BY g"),
    ("joined", "SELECT t.k, t.v, p.n, p.s FROM t JOIN per_group p ON t.g = p.g"),
    ("per_key", "SELECT k, count(*) AS n, sum(v) AS s FROM facts GROUP BY k"),
    ("both", "SELECT t.k, t.v, f.n, f.s FROM t JOIN per_key f ON t.k = f.k"),
];

/// Runs and samples.
#[derive(Parser)]
struct Args {
    /// How long.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Keys of the table and of the topic.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Messages per second.
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// Rows that an UPDATE changes.
    #[arg(long, default_value_t = 100)]
    rows: u64,
    /// UPDATE statements per second.
    #[arg(long, default_value_t = 20)]
    updates: u64,
}

/// MiB at a moment.
#[derive(Clone, Copy, Default)]
struct Sample {
    log: u64,
    chunks: u64,
    memory: u64,
}

impl Sample {
    fn of(server: &Server) -> Outcome<Sample> {
        Ok(Sample {
            log: disk_bytes(&server.data_dir().join("log")) >> 20,
            chunks: disk_bytes(&server.data_dir().join("checkpoint")) >> 20,
            memory: resident_memory(server.pid())? >> 20,
        })
    }

    fn max(self, other: Sample) -> Sample {
        let Sample { log, chunks, memory } = other;
        Sample { log: self.log.max(log), chunks: self.chunks.max(chunks), memory: self.memory.max(memory) }
    }
}

fn send(producer: &ThreadedProducer<DefaultProducerContext>, k: u64, v: u64) -> Outcome<()> {
    let text = format!("{{\"k\":{k},\"v\":{v}}}");
    loop {
        let record = BaseRecord::<(), str>::to(TOPIC).partition((k % PARTITIONS) as i32).payload(text.as_str());
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err((e, _)) => return Err(e.into()),
        }
    }
}

/// Sends at an even pace until told to stop; how many.
fn produce(broker: &str, args: &(u64, u64), stop: &AtomicBool, sent: &AtomicU64) -> Outcome<()> {
    let (keys, rate) = *args;
    let producer: ThreadedProducer<_> =
        ClientConfig::new().set("bootstrap.servers", broker).set("linger.ms", "5").create()?;
    let (begun, mut random) = (Instant::now(), Random::new(seed()));
    for i in 0.. {
        let due = Duration::from_nanos(i * 1_000_000_000 / rate);
        if let Some(early) = due.checked_sub(begun.elapsed()).filter(|e| *e > Duration::from_millis(1)) {
            std::thread::sleep(early);
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
        send(&producer, random.below(keys), i)?;
        sent.store(i + 1, Ordering::Relaxed);
    }
    Ok(producer.flush(Duration::from_secs(10))?)
}

async fn create(client: &Client, broker: &str, keys: u64) -> Outcome<()> {
    for sql in [
        "CREATE TABLE t (k bigint PRIMARY KEY, g bigint, v bigint)".to_string(),
        format!("CREATE CONNECTION c TO KAFKA (BROKER '{broker}')"),
        format!("CREATE SOURCE facts (k bigint, v bigint) FROM KAFKA CONNECTION c (TOPIC '{TOPIC}') FORMAT JSON"),
    ] {
        client.simple_query(&sql).await?;
    }
    for from in (0..keys).step_by(10_000) {
        let rows: Vec<String> = (from..keys.min(from + 10_000)).map(|k| format!("({k}, {}, 0)", k / 10)).collect();
        client.simple_query(&format!("INSERT INTO t VALUES {}", rows.join(", "))).await?;
    }
    for (view, query) in VIEWS {
        client.simple_query(&format!("CREATE MATERIALIZED VIEW {view} AS {query}")).await?;
    }
    Ok(())
}

/// Updates rows at an even pace until told to stop.
async fn update(client: Client, args: Arc<Args>, stop: Arc<AtomicBool>) -> Outcome<u64> {
    let mut random = Random::new(seed() + 1);
    let mut ticks = tokio::time::interval(Duration::from_nanos(1_000_000_000 / args.updates));
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let from = random.below(args.keys.saturating_sub(args.rows).max(1));
        let sql = format!("UPDATE t SET v = v + 1 WHERE k >= {from} AND k < {}", from + args.rows);
        client.simple_query(&sql).await?;
        done += args.rows;
    }
    Ok(done)
}

fn print(what: &str, s: Sample) {
    println!("{what}: log {} MiB, chunk files {} MiB, resident {} MiB", s.log, s.chunks, s.memory);
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let args = Arc::new(Args::parse());
    let broker = KafkaBroker::start().await?;
    broker.create_topic(TOPIC, PARTITIONS as i32).await?;
    let server = Server::start(&["--checkpoint-interval", "10"])?;
    let client = server.connect().await?;
    create(&client, &broker.address(), args.keys).await?;
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (address, pace, stop2, sent2) = (broker.address(), (args.keys, args.rate), stop.clone(), sent.clone());
    let load = std::thread::spawn(move || produce(&address, &pace, &stop2, &sent2));
    let updates = tokio::spawn(update(server.connect().await?, args.clone(), stop.clone()));
    let (begun, length) = (Instant::now(), Duration::from_secs(args.minutes * 60));
    let (mut tenths, mut at) = (vec![], Duration::ZERO);
    while begun.elapsed() < length && !updates.is_finished() && !load.is_finished() {
        at += length / 10;
        let mut most = Sample::default();
        while begun.elapsed() < at && !updates.is_finished() {
            tokio::time::sleep(SAMPLE_EVERY.min(length / 20)).await;
            most = most.max(Sample::of(&server)?);
        }
        print(&format!("{:.0} s, at most", begun.elapsed().as_secs_f64()), most);
        tenths.push(most);
    }
    stop.store(true, Ordering::Relaxed);
    let updated = updates.await??;
    load.join().map_err(|_| "the producer panicked")??;
    let sent = sent.load(Ordering::Relaxed);
    for (what, sql, is) in [
        ("messages", "SELECT sum(n) FROM per_key", sent),
        ("updates", "SELECT sum(v) FROM t", updated),
        ("updates seen through views", "SELECT sum(s) FROM per_group", updated),
    ] {
        let mut found = value(&client, sql).await?.unwrap_or_default();
        for _ in 0..100 {
            if found == is.to_string() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            found = value(&client, sql).await?.unwrap_or_default();
        }
        println!("{what}: {is}; the server says {found}");
        if found != is.to_string() {
            return Err(format!("{what} are wrong").into());
        }
    }
    // The first tenth fills.
    let (early, late) = tenths.split_at(tenths.len() / 2);
    let most = |some: &[Sample]| some.iter().copied().fold(Sample::default(), Sample::max);
    let (early, late) = (most(early), most(late));
    print("first half, at most", early);
    print("second half, at most", late);
    let grows = |early: u64, late: u64| late > early + early / 5 + 16;
    if grows(early.log, late.log) || grows(early.chunks, late.chunks) || grows(early.memory, late.memory) {
        return Err("the second half needs more than the first".into());
    }
    Ok(())
}
