//! How soon a message is a row: Kafka (linger 0) to a SUBSCRIBE client, point reads beside it, and both while a large
//! view is being created. Prints the latency of a 4 KiB fdatasync in the data directory during the same time.
//!
//! `cargo run --release -p hw-testkit --example kafka_latency -- --big 5000000`

use clap::{Args, Parser, Subcommand};
use futures::StreamExt;
use hw_testkit::process::{cpu_seconds, follow_disk, percentile};
use hw_testkit::{KafkaBroker, Server};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio_postgres::{Client, types::ToSql};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;
/// When something was measured, µs since 1970, and how long it took, ms.
type Samples = Arc<Mutex<Vec<(i64, f64)>>>;

/// Measures the way from Kafka to a client.
#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    produce: Option<Produce>,
    #[command(flatten)]
    args: Measure,
}

#[derive(Args, Clone)]
struct Measure {
    /// Groups of the view.
    #[arg(long, default_value_t = 1_000_000)]
    groups: u64,
    /// Messages per second.
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// Seconds before anything counts.
    #[arg(long, default_value_t = 20)]
    warmup: u64,
    /// Seconds measured.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Rows of a view that is created afterwards, while everything goes on; none with 0.
    #[arg(long, default_value_t = 0)]
    big: u64,
    /// Beside it a consumer that does nothing with the messages: what the broker and this machine leave for us.
    #[arg(long)]
    plain: bool,
    /// Partitions of the topics.
    #[arg(long, default_value_t = 4)]
    partitions: u64,
    /// Workers of the server.
    #[arg(long)]
    workers: Option<usize>,
    /// Seconds between its checkpoints.
    #[arg(long, default_value_t = 10)]
    checkpoint_interval: u64,
}

#[derive(Subcommand)]
enum Produce {
    /// The producer's own process.
    #[command(hide = true)]
    Produce { broker: String, topic: String, partitions: u64, rate: u64, groups: u64 },
}

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
}

fn producer(broker: &str, linger_ms: &str) -> Outcome<ThreadedProducer<DefaultProducerContext>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker).set("linger.ms", linger_ms).set("acks", "1");
    // As the Java client does: what comes while five requests are on their way goes with the next one.
    config.set("max.in.flight.requests.per.connection", "5");
    Ok(config.set("socket.nagle.disable", "true").create()?)
}

/// `topic`: its name, and how many partitions it has.
fn send(producer: &ThreadedProducer<DefaultProducerContext>, topic: (&str, u64), k: u64, sent: i64) -> Outcome<()> {
    let text = format!("{{\"k\":{k},\"sent\":{sent},\"note\":\"a message of a usual length, about a hundred bytes\"}}");
    loop {
        let record = BaseRecord::<(), str>::to(topic.0).partition((k % topic.1) as i32).payload(text.as_str());
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err((e, _)) => return Err(e.into()),
        }
    }
}

/// Sends at an even pace until it is killed.
fn produce(broker: &str, topic: (&str, u64), rate: u64, groups: u64) -> Outcome<()> {
    let producer = producer(broker, "0")?;
    let begun = Instant::now();
    for i in 0.. {
        let due = Duration::from_nanos(i * 1_000_000_000 / rate);
        let early = due.saturating_sub(begun.elapsed());
        if early > Duration::from_micros(200) {
            std::thread::sleep(early);
        }
        send(&producer, topic, i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % groups, now_us())?;
        if i % (rate * 5) == 0 && producer.in_flight_count() > rate as i32 / 20 {
            eprintln!("the broker is behind: {} messages are not acknowledged yet", producer.in_flight_count());
        }
    }
    Ok(())
}

async fn fill(broker: &str, topic: (&str, u64), messages: u64, groups: u64) -> Outcome<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", broker).create()?;
    let wanted = NewTopic::new(topic.0, topic.1 as i32, TopicReplication::Fixed(1));
    for made in admin.create_topics([&wanted], &AdminOptions::new()).await? {
        made.map_err(|(name, e)| format!("{name}: {e}"))?;
    }
    let producer = producer(broker, "50")?;
    for i in 0..messages {
        send(&producer, topic, i % groups, 0)?;
    }
    Ok(producer.flush(Duration::from_secs(60))?)
}

async fn create(client: &Client, broker: &str, topic: &str) -> Outcome<()> {
    client.batch_execute(&format!("CREATE CONNECTION {topic}_c TO KAFKA (BROKER '{broker}')")).await?;
    let source = format!(
        "CREATE SOURCE {topic} (k BIGINT, sent BIGINT, note TEXT) FROM KAFKA CONNECTION {topic}_c (TOPIC '{topic}') FORMAT JSON"
    );
    Ok(client.batch_execute(&source).await?)
}

async fn view(client: &Client, topic: &str) -> Outcome<()> {
    let sql = format!(
        "CREATE MATERIALIZED VIEW {topic}_v AS SELECT k, count(*) AS n, max(sent) AS sent FROM {topic} GROUP BY k"
    );
    Ok(client.batch_execute(&sql).await?)
}

async fn shows(client: &Client, topic: &str, messages: u64) -> Outcome<()> {
    loop {
        let row = client.query_one(&format!("SELECT sum(n)::bigint FROM {topic}_v"), &[]).await?;
        if row.get::<_, Option<i64>>(0).unwrap_or(0) as u64 >= messages {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Notes how long ago each changed row was sent.
async fn follow(client: Client, samples: Samples, ticks: Samples) -> Outcome<()> {
    let none: [&(dyn ToSql + Sync); 0] = [];
    let rows = client.query_raw("SUBSCRIBE hot_v WITH (SNAPSHOT = false)", none).await?;
    let mut rows = std::pin::pin!(rows);
    while let Some(row) = rows.next().await {
        let row = row?;
        if row.get::<_, i64>("hw_diff") > 0 {
            let (now, sent) = (now_us(), row.get::<_, i64>("sent"));
            let tick = row.get::<_, i64>("hw_timestamp") as f64;
            lock(&samples).push((now, (now - sent) as f64 / 1000.0));
            lock(&ticks).push((now, tick - sent as f64 / 1000.0));
        }
    }
    Err("the subscription ended".into())
}

/// Notes how long ago each message was sent when a consumer of nothing else's has it.
fn consume(broker: &str, topic: (&str, u64), samples: &Samples, over: &AtomicBool) -> Result<(), KafkaError> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker).set("group.id", "plain").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create()?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..topic.1 as i32 {
        partitions.add_partition_offset(topic.0, partition, Offset::End)?;
    }
    consumer.assign(&partitions)?;
    while !over.load(Ordering::Relaxed) {
        let Some(message) = consumer.poll(Duration::from_millis(50)) else { continue };
        let text = String::from_utf8_lossy(message?.payload().unwrap_or_default()).into_owned();
        let sent = text.split("\"sent\":").nth(1).and_then(|t| t.split(',').next()?.parse::<i64>().ok());
        let now = now_us();
        lock(samples).push((now, (now - sent.unwrap_or(now)) as f64 / 1000.0));
    }
    Ok(())
}

async fn read_points(client: Client, groups: u64, samples: Samples) -> Outcome<()> {
    let statement = client.prepare("SELECT n, sent FROM hot_v WHERE k = $1").await?;
    for i in 0u64.. {
        let begun = Instant::now();
        let rows = client.query(&statement, &[&((i.wrapping_mul(7919) % groups) as i64)]).await?;
        if rows.len() != 1 {
            return Err(format!("{} rows for one key", rows.len()).into());
        }
        lock(&samples).push((now_us(), begun.elapsed().as_secs_f64() * 1000.0));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn report(what: &str, samples: &Samples, from: i64, to: i64) -> (f64, f64) {
    let mut values: Vec<f64> =
        lock(samples).iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, ms)| *ms).collect();
    values.sort_by(f64::total_cmp);
    let at = |share| percentile(&values, share);
    println!(
        "{what:28} {:>8} samples  p50 {:7.2}  p90 {:7.2}  p99 {:7.2}  p99.9 {:7.2}  max {:8.2} ms",
        values.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0)
    );
    (at(0.5), at(0.99))
}

fn report_all(title: &str, all: &[(&str, Samples); 4], from: i64, to: i64) {
    println!("{title}");
    let [events, _ticks, _points, syncs] = all.each_ref().map(|(what, samples)| report(what, samples, from, to));
    println!(
        "  events less twice the fdatasync: p50 {:.2} ms, p99 {:.2} ms",
        events.0 - 2.0 * syncs.0,
        events.1 - 2.0 * syncs.1
    );
}

async fn measure(args: Measure) -> Outcome<()> {
    let broker = KafkaBroker::start().await?;
    fill(&broker.address(), ("hot", args.partitions), args.groups, args.groups).await?;
    if args.big > 0 {
        fill(&broker.address(), ("big", args.partitions), args.big, args.big).await?;
    }
    let workers = args.workers.map(|w| w.to_string());
    let interval = args.checkpoint_interval.to_string();
    let mut flags = vec!["--checkpoint-interval", interval.as_str()];
    flags.extend(workers.iter().flat_map(|w| ["--workers", w.as_str()]));
    let server = Server::start(&flags)?;
    let client = server.connect().await?;
    create(&client, &broker.address(), "hot").await?;
    view(&client, "hot").await?;
    shows(&client, "hot", args.groups).await?;
    println!("server {}: {} groups are there", server.pid(), args.groups);

    let all =
        ["event to SUBSCRIBE", "event to tick", "point SELECT", "4 KiB fdatasync"].map(|w| (w, Samples::default()));
    let over = Arc::new(AtomicBool::new(false));
    let (file, syncs, stop) = (server.data_dir().join("fdatasync-probe"), all[3].1.clone(), over.clone());
    let each = move |_, ms| lock(&syncs).push((now_us(), ms));
    let syncer = std::thread::spawn(move || follow_disk(&file, Duration::from_millis(20), &stop, each));
    let plain = Samples::default();
    if args.plain {
        let (broker, samples, stop) = (broker.address(), plain.clone(), over.clone());
        std::thread::spawn(move || consume(&broker, ("hot", args.partitions), &samples, &stop));
    }
    let mut failures = tokio::task::JoinSet::new();
    failures.spawn(follow(server.connect().await?, all[0].1.clone(), all[1].1.clone()));
    failures.spawn(read_points(server.connect().await?, args.groups, all[2].1.clone()));
    let mut sender = std::process::Command::new(std::env::current_exe()?)
        .args(["produce", &broker.address(), "hot", &args.partitions.to_string()])
        .args([&args.rate.to_string(), &args.groups.to_string()])
        .spawn()?;
    let sleep = |s| tokio::time::sleep(Duration::from_secs(s));
    let body = async {
        sleep(args.warmup).await;
        let (from, cpu) = (now_us(), cpu_seconds(server.pid())?);
        sleep(args.seconds).await;
        let cpu = cpu_seconds(server.pid())? - cpu;
        report_all(&format!("{} events/s, {} groups", args.rate, args.groups), &all, from, now_us());
        if args.plain {
            report("event to a plain consumer", &plain, from, now_us());
        }
        println!("  server: {:.2} CPU seconds per second", cpu / args.seconds as f64);
        if args.big > 0 {
            create(&client, &broker.address(), "big").await?;
            let (from, begun) = (now_us(), Instant::now());
            view(&client, "big").await?;
            shows(&client, "big", args.big).await?;
            println!("a view over {} rows took {:.2} s", args.big, begun.elapsed().as_secs_f64());
            report_all("while it was being created", &all, from, now_us());
        }
        Ok(())
    };
    let result = tokio::select! {
        result = body => result,
        Some(ended) = failures.join_next() => ended.map_err(|e| e.into()).and_then(|r| r),
    };
    over.store(true, Ordering::Relaxed);
    sender.kill()?;
    sender.wait()?;
    let _ = syncer.join();
    result
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let line = Line::parse();
    match line.produce {
        Some(Produce::Produce { broker, topic, partitions, rate, groups }) => {
            produce(&broker, (&topic, partitions), rate, groups)
        }
        None => measure(line.args).await,
    }
}
