//! How fast a filled topic becomes a view: messages per second and CPU seconds per million, peak memory, exact result.
//!
//! `cargo run --release -p hw-testkit --example kafka_load -- --messages 1000000,10000000`

use clap::Parser;
use hw_testkit::process::{cpu_seconds, peak_memory};
use hw_testkit::{KafkaBroker, Server};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use std::error::Error;
use std::fmt::Write;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, SimpleQueryMessage};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const KEYS: u64 = 100_000;
const PADDING_FIELDS: usize = 6;
const QUERY: &str = "SELECT k, count(*) AS n, sum(v) AS total, max(v) AS top FROM load GROUP BY k";

/// Measures Kafka into a view.
#[derive(Parser)]
struct Args {
    /// Messages per run; several runs, each on a new server, with commas.
    #[arg(long, value_delimiter = ',', default_value = "1000000")]
    messages: Vec<u64>,
    /// Partitions of the topics.
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// Bytes of a message.
    #[arg(long, default_value_t = 1000)]
    size: usize,
    /// Workers of the server; its default where absent.
    #[arg(long)]
    workers: Option<usize>,
    /// A broker that is there already: topics that it has are used as they are.
    #[arg(long)]
    broker: Option<String>,
    /// Afterwards kill the server and start it again: how long until the view shows all again.
    #[arg(long)]
    restart: bool,
    /// Keep the server for this many seconds after the result.
    #[arg(long, default_value_t = 0)]
    linger: u64,
}

/// Key of message `i`: each about as often, in no order.
fn key(i: u64) -> u64 {
    let mixed = i.wrapping_add(0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 29)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 32 & 0xFFFF_FFFF
}

fn message(i: u64, size: usize, out: &mut String) {
    out.clear();
    let _ = write!(out, "{{\"k\":{},\"v\":{i}", key(i) % KEYS);
    let each = size.saturating_sub(out.len() + 1) / PADDING_FIELDS;
    for field in 0..PADDING_FIELDS {
        let _ = write!(out, ",\"p{field}\":\"");
        for at in 0..each.saturating_sub(8) {
            out.push(char::from(b'a' + ((i as usize + at * 7 + field) % 26) as u8));
        }
        out.push('"');
    }
    out.push('}');
}

fn client(broker: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker);
    config
}

fn held(broker: &str, topic: &str, partitions: i32) -> Outcome<u64> {
    let consumer: BaseConsumer = client(broker).create()?;
    let mut sum = 0;
    for partition in 0..partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, Duration::from_secs(10))?;
        sum += (high - low) as u64;
    }
    Ok(sum)
}

/// Makes and fills the topic, unless it is there.
async fn fill(broker: &str, topic: &str, messages: u64, args: &Args) -> Outcome<()> {
    let admin: AdminClient<DefaultClientContext> = client(broker).create()?;
    let wanted = NewTopic::new(topic, args.partitions, TopicReplication::Fixed(1));
    for result in admin.create_topics([&wanted], &AdminOptions::new()).await? {
        match result {
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {
                let held = held(broker, topic, args.partitions)?;
                println!("topic {topic} is there with {held} messages");
                return if held == messages { Ok(()) } else { Err("which are not those asked for".into()) };
            }
            Err((_, e)) => return Err(e.into()),
            Ok(_) => {}
        }
    }
    let begun = Instant::now();
    let threads: Vec<_> = (0..args.partitions)
        .map(|partition| {
            let (broker, topic, partitions, size) = (broker.to_string(), topic.to_string(), args.partitions, args.size);
            std::thread::spawn(move || produce(&broker, &topic, partition, partitions, messages, size))
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a producer panicked")??;
    }
    println!("filled {topic} with {messages} messages in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

fn produce(broker: &str, topic: &str, partition: i32, partitions: i32, messages: u64, size: usize) -> Outcome<()> {
    let producer: ThreadedProducer<DefaultProducerContext> =
        client(broker).set("linger.ms", "50").set("batch.size", "1000000").set("acks", "1").create()?;
    let mut text = String::new();
    for i in (partition as u64..messages).step_by(partitions as usize) {
        message(i, size, &mut text);
        loop {
            let record = BaseRecord::<(), str>::to(topic).partition(partition).payload(text.as_str());
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((e, _)) => return Err(e.into()),
            }
        }
    }
    Ok(producer.flush(Duration::from_secs(60))?)
}

async fn rows(client: &Client, sql: &str) -> Outcome<Vec<Vec<u64>>> {
    let mut out = vec![];
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            let cell = |i| row.get(i).unwrap_or("0").parse::<u64>().unwrap_or(0);
            out.push((0..row.len()).map(cell).collect());
        }
    }
    Ok(out)
}

/// Compares every group with what the messages say.
async fn check(client: &Client, messages: u64) -> Outcome<()> {
    let mut want = vec![[0u64; 3]; KEYS as usize];
    for i in 0..messages {
        let group = &mut want[(key(i) % KEYS) as usize];
        *group = [group[0] + 1, group[1] + i, group[2].max(i)];
    }
    let mut groups = 0;
    for row in rows(client, "SELECT k, n, total, top FROM totals").await? {
        if row.len() != 4 || want.get(row[0] as usize).is_none_or(|w| w[..] != row[1..]) {
            return Err(format!("wrong row {row:?}").into());
        }
        groups += 1;
    }
    let expected = want.iter().filter(|w| w[0] > 0).count();
    if groups == expected { Ok(()) } else { Err(format!("{groups} groups instead of {expected}").into()) }
}

async fn run(broker: &str, topic: &str, messages: u64, args: &Args) -> Outcome<()> {
    let workers = args.workers.map(|w| w.to_string());
    // The default: tests take checkpoints more often.
    let mut flags = vec!["--checkpoint-interval", "10"];
    flags.extend(workers.iter().flat_map(|w| ["--workers", w.as_str()]));
    let mut server = Server::start(&flags)?;
    let client = server.connect().await?;
    println!("server {} started", server.pid());
    client.simple_query(&format!("CREATE CONNECTION kafka TO KAFKA (BROKER '{broker}')")).await?;
    let padding: String = (0..PADDING_FIELDS).map(|f| format!(", p{f} TEXT")).collect();
    let source = format!(
        "CREATE SOURCE load (k BIGINT, v BIGINT{padding}) FROM KAFKA CONNECTION kafka (TOPIC '{topic}') FORMAT JSON"
    );
    let (begun, cpu) = (Instant::now(), cpu_seconds(server.pid())?);
    client.simple_query(&source).await?;
    client.simple_query(&format!("CREATE MATERIALIZED VIEW totals AS {QUERY}")).await?;
    let created = begun.elapsed();
    let mut shown = 0;
    while shown < messages {
        shown = rows(&client, "SELECT sum(n) FROM totals").await?.first().map_or(0, |r| r[0]);
    }
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds(server.pid())? - cpu);
    check(&client, messages).await?;
    let peak = peak_memory(server.pid())?;
    let millions = messages as f64 / 1e6;
    println!(
        "{messages} messages: {wall:.2} s wall ({:.0} messages/s; DDL {:.2} s), {cpu:.2} CPU s ({:.2} per million), \
         peak {:.0} MiB, result exact",
        messages as f64 / wall,
        created.as_secs_f64(),
        cpu / millions,
        peak as f64 / 1048576.0,
    );
    if args.restart {
        restart(&mut server, messages).await?;
    }
    tokio::time::sleep(Duration::from_secs(args.linger)).await;
    Ok(())
}

/// Kills the server and starts it again.
async fn restart(server: &mut Server, messages: u64) -> Outcome<()> {
    server.kill()?;
    let begun = Instant::now();
    server.restart()?;
    let client = server.connect().await?;
    let accepted = begun.elapsed();
    // It waits until the view is what it was.
    let shown = rows(&client, "SELECT sum(n) FROM totals").await?.first().map_or(0, |r| r[0]);
    let wall = begun.elapsed().as_secs_f64();
    if shown != messages {
        return Err(format!("{shown} messages after the restart").into());
    }
    check(&client, messages).await?;
    println!(
        "restart after kill -9: a connection after {:.0} ms, the view with all {messages} messages after {wall:.2} s, \
         peak {:.0} MiB",
        accepted.as_secs_f64() * 1e3,
        peak_memory(server.pid())? as f64 / 1048576.0
    );
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let args = Args::parse();
    let own = match &args.broker {
        None => Some(KafkaBroker::start().await?),
        Some(_) => None,
    };
    let broker = match (&args.broker, &own) {
        (Some(address), _) => address.clone(),
        (None, Some(own)) => own.address(),
        (None, None) => return Err("no broker".into()),
    };
    for messages in &args.messages {
        let topic = format!("load-{messages}-{}-{}", args.partitions, args.size);
        fill(&broker, &topic, *messages, &args).await?;
        run(&broker, &topic, *messages, &args).await?;
    }
    Ok(())
}
