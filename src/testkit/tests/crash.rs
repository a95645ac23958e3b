//! `kill -9` at random moments under load: tables and Kafka in, views and subscriptions out.
//!
//! After each restart every acknowledged write is there exactly once and nothing is there half; every view equals what
//! its query gives; each tick that a subscription has shown has the same contents as before. `HEADWATER_TEST_KILLS=50`
//! is the long form; `HEADWATER_TEST_SEED` repeats the moments of the kills.

use hw_testkit::rows::{Bag, bag, difference, rows, run};
use hw_testkit::{Follower, KafkaBroker, Random, Server, contents_at, seed};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

const WRITERS: i64 = 3;
/// Ticks of each subscription that are looked at again.
const TICKS_CHECKED: usize = 6;

/// Rows of one writer: number -> value.
type Model = BTreeMap<i64, i64>;

/// What a writer knows: the state after its last acknowledged statement, and that after the one it had sent.
#[derive(Clone, Default)]
struct Journal {
    certain: Model,
    possible: Option<Model>,
    next: i64,
    acknowledged: u64,
}

/// One random statement and what it makes of the writer's rows.
fn statement(me: i64, journal: &mut Journal, random: &mut Random) -> (String, Model) {
    let mut model = journal.certain.clone();
    let some = |model: &Model, random: &mut Random| {
        let at = random.below(model.len() as u64) as usize;
        model.keys().nth(at).copied().unwrap_or(0)
    };
    match random.below(10) {
        0..=5 => {
            let rows = 1 + random.below(5) as i64;
            let values: Vec<String> = (journal.next..journal.next + rows)
                .map(|n| {
                    model.insert(n, n * 10);
                    format!("({me}, {n}, {})", n * 10)
                })
                .collect();
            journal.next += rows;
            (format!("INSERT INTO led VALUES {}", values.join(", ")), model)
        }
        6..=7 => {
            let (from, add) = (some(&model, random), 1 + random.below(9) as i64);
            model.range_mut(from..).for_each(|(_, v)| *v += add);
            (format!("UPDATE led SET v = v + {add} WHERE client = {me} AND n >= {from}"), model)
        }
        _ => {
            let to = some(&model, random);
            model.retain(|n, _| *n > to);
            (format!("DELETE FROM led WHERE client = {me} AND n <= {to}"), model)
        }
    }
}

/// Writes until the connection is lost; gives the journal back.
async fn write(client: Client, me: i64, mut journal: Journal, mut random: Random) -> Journal {
    loop {
        let (sql, after) = statement(me, &mut journal, &mut random);
        journal.possible = Some(after);
        match run(&client, &sql).await {
            Ok(_) => {
                journal.certain = journal.possible.take().unwrap_or_default();
                journal.acknowledged += 1;
            }
            Err(e) => {
                assert!(!e.answered() || e.code == "57P01", "{sql}: {e}");
                return journal;
            }
        }
    }
}

/// Follows until the connection is lost.
async fn follow(mut follower: Follower) -> Follower {
    follower.record();
    while follower.step().await.is_ok() {}
    follower
}

/// Produces until told to stop, counting what the broker has acknowledged.
async fn produce(broker: Arc<KafkaBroker>, stop: Arc<AtomicBool>, sent: Arc<AtomicI64>) {
    while !stop.load(Ordering::Relaxed) {
        let from = sent.load(Ordering::Relaxed);
        let messages: Vec<String> = (from..from + 300).map(|i| format!("{{\"k\":{},\"v\":{i}}}", i % 5)).collect();
        broker.produce("events", (from / 300 % 3) as i32, &messages).await.expect("produce");
        sent.store(from + 300, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

struct Crash {
    server: Server,
    broker: Option<Arc<KafkaBroker>>,
    random: Random,
    journals: Vec<Journal>,
    views: Vec<(&'static str, &'static str)>,
    sent: Arc<AtomicI64>,
}

const TABLE_VIEWS: &[(&str, &str)] = &[
    ("per_client", "SELECT client, count(*) AS n, sum(v) AS s, max(n) AS top FROM led GROUP BY client"),
    ("over", "SELECT sum(n) AS n, sum(s) AS s FROM per_client"),
    ("large", "SELECT client, n, v FROM led WHERE v % 4 = 0"),
    (
        "several",
        "SELECT v % 7 AS w, count(DISTINCT client) AS c, min(n) AS low, avg(v) AS mean FROM led GROUP BY v % 7",
    ),
    ("distinct_v", "SELECT DISTINCT v FROM led"),
    ("paired", "SELECT a.client, b.n FROM led a JOIN per_client b ON a.client = b.client AND a.n = b.top"),
];
const KAFKA_VIEWS: &[(&str, &str)] = &[
    ("totals", "SELECT k, count(*) AS n, sum(v) AS s, max(v) AS top FROM events GROUP BY k"),
    ("tens", "SELECT a.k, a.v FROM events a JOIN events b ON a.v = b.v * 10"),
    ("joined", "SELECT t.k, t.n, p.s FROM totals t JOIN per_client p ON t.k = p.client"),
];

impl Crash {
    async fn start(seed: u64) -> Crash {
        let broker = match KafkaBroker::jars() {
            Some(_) => Some(Arc::new(KafkaBroker::start().await.expect("a broker starts"))),
            None => {
                println!("SKIPPED: Kafka input, no jars; cargo xtask test fetches them");
                None
            }
        };
        let server = Server::start(&["--workers", "2"]).expect("the server starts");
        let client = server.connect().await.expect("connect");
        let mut setup = vec!["CREATE TABLE led (client int, n bigint, v bigint, PRIMARY KEY (client, n))".to_string()];
        let mut views = TABLE_VIEWS.to_vec();
        if let Some(broker) = &broker {
            broker.create_topic("events", 3).await.expect("topic");
            setup.push(format!("CREATE CONNECTION kafka TO KAFKA (BROKER '{}')", broker.address()));
            setup.push(
                "CREATE SOURCE events (k INT, v BIGINT) FROM KAFKA CONNECTION kafka (TOPIC 'events') FORMAT JSON"
                    .into(),
            );
            views.extend(KAFKA_VIEWS);
        }
        setup.extend(views.iter().map(|(name, query)| format!("CREATE MATERIALIZED VIEW {name} AS {query}")));
        for sql in &setup {
            run(&client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e} {}", e.more));
        }
        let journals = vec![Journal::default(); WRITERS as usize];
        Crash { server, broker, random: Random::new(seed), journals, views, sent: Arc::default() }
    }

    /// Load, a kill after a random time, a restart, and everything compared.
    async fn round(&mut self, round: u64) {
        let mut writers: Vec<JoinHandle<Journal>> = vec![];
        for me in 0..WRITERS {
            let client = self.server.connect().await.expect("connect");
            let random = Random::new(self.random.bits());
            writers.push(tokio::spawn(write(client, me, self.journals[me as usize].clone(), random)));
        }
        let mut followers = vec![];
        for (view, _) in &self.views {
            let follower = Follower::start(&self.server, view).await.expect("subscribe");
            followers.push(tokio::spawn(follow(follower)));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let producer = self.broker.clone().map(|broker| tokio::spawn(produce(broker, stop.clone(), self.sent.clone())));
        let alive = Duration::from_millis(50 + self.random.below(1500));
        tokio::time::sleep(alive).await;
        self.server.kill().expect("kill");
        let begun = Instant::now();
        let workers = self.random.pick(&["1", "2", "2", "4"]);
        self.server.restart_with(&["--workers", workers]).expect("restart");
        let restarted = begun.elapsed();
        let mut acknowledged = 0;
        for (me, writer) in writers.into_iter().enumerate() {
            let before = self.journals[me].acknowledged;
            self.journals[me] = writer.await.expect("a writer");
            acknowledged += self.journals[me].acknowledged - before;
        }
        stop.store(true, Ordering::Relaxed);
        if let Some(producer) = producer {
            producer.await.expect("the producer");
        }
        let client = self.server.connect().await.expect("connect");
        self.check_writes(&client).await;
        let mut ticks = 0;
        for follower in followers {
            ticks += self.check_ticks(&client, &follower.await.expect("a follower")).await;
        }
        self.check_views(&client).await;
        println!(
            "kill {round}: alive {alive:?}, {acknowledged} writes acknowledged, {ticks} shown ticks compared, \
             {} messages, back with {workers} workers after {restarted:?}",
            self.sent.load(Ordering::Relaxed)
        );
    }

    /// Every acknowledged statement is there once; the one that was under way wholly or not at all.
    async fn check_writes(&mut self, client: &Client) {
        for (me, journal) in self.journals.iter_mut().enumerate() {
            let got = rows(client, &format!("SELECT n, v FROM led WHERE client = {me}")).await.expect("select");
            let number = |v: &Option<String>| v.as_deref().and_then(|v| v.parse().ok()).expect("a number");
            let count = got.len();
            let there: Model = got.iter().map(|row| (number(&row[0]), number(&row[1]))).collect();
            assert_eq!(count, there.len(), "a row of writer {me} is there twice");
            let possible = journal.possible.take();
            assert!(
                there == journal.certain || Some(&there) == possible.as_ref(),
                "writer {me}: lost or half a statement\nthere {there:?}\nacknowledged {:?}\nunder way {possible:?}",
                journal.certain
            );
            journal.certain = there;
        }
    }

    /// Some of the ticks that were shown, and the last of them.
    async fn check_ticks(&mut self, client: &Client, follower: &Follower) -> usize {
        let all: Vec<(u64, &Bag)> = follower.transcript().collect();
        let mut chosen: Vec<usize> =
            (0..TICKS_CHECKED - 1).map(|_| self.random.below(all.len() as u64) as usize).collect();
        chosen.push(all.len().saturating_sub(1));
        chosen.sort_unstable();
        chosen.dedup();
        let mut checked = 0;
        for (time, before) in chosen.iter().filter_map(|at| all.get(*at)) {
            let name = follower.name();
            let again = contents_at(client, name, *time).await;
            let again = again.unwrap_or_else(|e| panic!("SUBSCRIBE {name} AS OF {time}: {e}"));
            let differs = difference(before, &again);
            assert!(differs.is_empty(), "{name} at {time}: before < > after the restart\n{differs}");
            checked += 1;
        }
        checked
    }

    /// Every view equals its query; every message is there once.
    async fn check_views(&self, client: &Client) {
        if self.broker.is_some() {
            let (sent, begun) = (self.sent.load(Ordering::Relaxed), Instant::now());
            let sums = format!("{sent},{}", sent * (sent - 1) / 2);
            loop {
                let got = rows(client, "SELECT sum(n), sum(s) FROM totals").await.expect("select");
                let text: Vec<&str> = got[0].iter().map(|v| v.as_deref().unwrap_or("0")).collect();
                if text.join(",") == sums {
                    break;
                }
                assert!(begun.elapsed() < Duration::from_secs(30), "messages: got {text:?}, sent {sums}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        for (view, query) in &self.views {
            let shown = bag(client, &format!("SELECT * FROM {view}")).await.expect("select");
            let computed = bag(client, query).await.expect("select");
            let differs = difference(&computed, &shown);
            assert!(differs.is_empty(), "{view}: its query < > the view\n{differs}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments() {
    let seed = seed();
    let kills = std::env::var("HEADWATER_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(5);
    println!("seed={seed}, {kills} kills");
    let mut crash = Crash::start(seed).await;
    for round in 1..=kills {
        crash.round(round).await;
    }
}
