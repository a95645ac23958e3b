//! A server under load that is killed, started again and compared, over and over.

use crate::expect;
use crate::journal::{Journal, Role, write};
use hw_testkit::rows::{Bag, Refusal, bag, difference, rows, run};
use hw_testkit::{Follower, KafkaBroker, Random, Server, contents_at};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

const WRITERS: i64 = 3;
/// Ticks of each subscription that are looked at again, and how far back.
const TICKS_CHECKED: usize = 6;
const TICKS_BACK_MS: u64 = 5000;
/// Shorter than the default, so that the log is truncated during a run.
const RESUME_S: &str = "15";
const RESUME_MS: u64 = 15_000;
/// How long an armed point may take to be passed.
const POINT_WAIT: Duration = Duration::from_secs(10);
/// And the messages that were sent, to be in the views.
const MESSAGES_WAIT: Duration = Duration::from_secs(180);
/// And a process that dies, to be gone.
const DEATH_WAIT: Duration = Duration::from_secs(60);

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
    ("padded", "SELECT n % 10 AS d, count(*) AS c, max(n) AS top FROM pad GROUP BY n % 10"),
];
const KAFKA_VIEWS: &[(&str, &str)] = &[
    ("totals", "SELECT k, count(*) AS n, sum(v) AS s, max(v) AS top FROM events GROUP BY k"),
    ("tens", "SELECT a.k, a.v FROM events a JOIN events b ON a.v = b.v * 10"),
    ("joined", "SELECT t.k, t.n, p.s FROM totals t JOIN per_client p ON t.k = p.client"),
];

/// What happened in all rounds.
#[derive(Default)]
pub struct Summary {
    /// Kills from outside.
    pub killed: u64,
    /// Deaths at each fail point.
    pub at_points: BTreeMap<String, u64>,
    pub acknowledged: u64,
    pub ticks: u64,
    pub views: u64,
    /// Of those, compared with rows computed without the server.
    pub recomputed: u64,
    pub starts: Vec<Duration>,
}

/// See the module.
pub struct Crash {
    server: Server,
    broker: Option<Arc<KafkaBroker>>,
    random: Random,
    journals: Vec<Journal>,
    views: Vec<(&'static str, &'static str)>,
    sent: Arc<AtomicI64>,
    /// The point at which the running server ends.
    armed: Option<String>,
    pub summary: Summary,
}

struct Load {
    writers: Vec<JoinHandle<Journal>>,
    followers: Vec<JoinHandle<Follower>>,
    producer: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
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

/// Asks for a checkpoint now and then, until the connection is lost.
async fn take_checkpoints(client: Client, mut random: Random) {
    loop {
        tokio::time::sleep(Duration::from_millis(100 + random.below(900))).await;
        if run(&client, "CHECKPOINT").await.is_err_and(|e| !e.answered()) {
            return;
        }
    }
}

fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |d| d.as_millis() as u64)
}

impl Crash {
    pub async fn start(seed: u64) -> Crash {
        let broker = match KafkaBroker::jars() {
            Some(_) => Some(Arc::new(KafkaBroker::start().await.expect("a broker starts"))),
            None => {
                println!("SKIPPED: Kafka input, no jars; cargo xtask test fetches them");
                None
            }
        };
        let server = Server::start(&["--workers", "2", "--subscribe-resume", RESUME_S]).expect("the server starts");
        let client = server.connect().await.expect("connect");
        let mut setup = vec![
            "CREATE TABLE led (client int, n bigint, v bigint, PRIMARY KEY (client, n))".to_string(),
            "CREATE TABLE pad (n bigint PRIMARY KEY, filler text)".to_string(),
        ];
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
        let roles = (0..WRITERS).map(Role::Writer).chain([Role::Filler, Role::Definer]);
        let journals = roles.map(Journal::new).collect();
        let (random, sent) = (Random::new(seed), Arc::default());
        Crash { server, broker, random, journals, views, sent, armed: None, summary: Summary::default() }
    }

    /// True where the running server is to end at a point.
    pub fn is_armed(&self) -> bool {
        self.armed.is_some()
    }

    /// The clients of one life. Fails where the server is gone already.
    async fn begin_load(&mut self) -> Result<Load, Refusal> {
        // Nobody writes before all are connected: what is written by a life that is given up would be in no journal.
        let mut clients = vec![];
        for _ in &self.journals {
            clients.push(self.server.connect().await?);
        }
        let mut writers = vec![];
        for (journal, client) in self.journals.iter().zip(clients) {
            let random = Random::new(self.random.bits());
            writers.push(tokio::spawn(write(client, journal.clone(), random)));
        }
        let mut followers = vec![];
        for (view, _) in &self.views {
            if let Ok(follower) = Follower::start(&self.server, view).await {
                followers.push(tokio::spawn(follow(follower)));
            }
        }
        if let Ok(client) = self.server.connect().await {
            tokio::spawn(take_checkpoints(client, Random::new(self.random.bits())));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let producer = self.broker.clone().map(|broker| tokio::spawn(produce(broker, stop.clone(), self.sent.clone())));
        Ok(Load { writers, followers, producer, stop })
    }

    /// Load until the server dies; then it is started again, at `next` where that is given, and everything compared.
    pub async fn round(&mut self, number: u64, next: Option<&str>) {
        self.round_then(number, next, None).await;
    }

    /// The same; where the next life ends at its point before it is compared, the one after it is armed with another.
    pub async fn round_then(&mut self, number: u64, next: Option<&str>, then: Option<&str>) {
        let begun = Instant::now();
        let load = self.begin_load().await;
        let how = self.wait_for_death().await;
        let alive = begun.elapsed();
        let before: u64 = self.journals.iter().map(|j| j.acknowledged).sum();
        let followers = match load {
            Ok(load) => self.end_load(load).await,
            Err(_) => vec![],
        };
        let acknowledged = self.journals.iter().map(|j| j.acknowledged).sum::<u64>() - before;
        let ended = begun.elapsed() - alive;
        let restarted = self.restart(next).await;
        let comparing = Instant::now();
        let mut ticks = self.compare(&followers).await;
        if ticks.is_err() {
            // Armed, it has died meanwhile.
            self.note_point();
            self.restart(then).await;
            ticks = self.compare(&followers).await;
        }
        let ticks = ticks.expect("a server that is not armed answers");
        self.summary.acknowledged += acknowledged;
        self.summary.ticks += ticks;
        self.summary.starts.push(restarted);
        println!(
            "{number}: alive {alive:.1?}, {how}, {acknowledged} writes acknowledged, {ticks} shown ticks compared, {} \
             messages, ended in {ended:.1?}, back after {restarted:.1?}, compared in {:.1?}{}",
            self.sent.load(Ordering::Relaxed),
            comparing.elapsed(),
            self.armed.as_ref().map_or(String::new(), |point| format!(", next {point}"))
        );
    }

    /// Until the armed point is passed, or a random time; says which.
    async fn wait_for_death(&mut self) -> String {
        if let Some(point) = self.armed.clone() {
            let begun = Instant::now();
            while begun.elapsed() < POINT_WAIT {
                if self.server.has_died() {
                    self.note_point();
                    return format!("died at {point}");
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } else {
            tokio::time::sleep(Duration::from_millis(50 + self.random.below(1500))).await;
        }
        self.server.kill().expect("kill");
        self.summary.killed += 1;
        match self.armed.take() {
            Some(point) => format!("killed, {point} was not passed"),
            None => "killed".into(),
        }
    }

    fn note_point(&mut self) {
        let begun = Instant::now();
        while !self.server.has_died() {
            // A connection is lost a moment before its process has ended.
            assert!(begun.elapsed() < DEATH_WAIT, "the server does not answer, and has not passed {:?}", self.armed);
            std::thread::sleep(Duration::from_millis(5));
        }
        let point = self.armed.take().expect("a server dies at an armed point only");
        let name = point.split(':').next().unwrap_or_default();
        *self.summary.at_points.entry(name.to_owned()).or_default() += 1;
    }

    async fn end_load(&mut self, load: Load) -> Vec<Follower> {
        for (journal, writer) in self.journals.iter_mut().zip(load.writers) {
            *journal = writer.await.expect("a writer");
        }
        load.stop.store(true, Ordering::Relaxed);
        if let Some(producer) = load.producer {
            producer.await.expect("the producer");
        }
        let mut followers = vec![];
        for follower in load.followers {
            followers.push(follower.await.expect("a follower"));
        }
        followers
    }

    /// Starts it on another number of workers, armed where a point is given; at once again where that is passed before it
    /// is ready. How long the start took.
    async fn restart(&mut self, point: Option<&str>) -> Duration {
        let workers = self.random.pick(&["1", "2", "2", "4"]);
        let args = ["--workers", workers, "--subscribe-resume", RESUME_S];
        if let Some(point) = point {
            self.armed = Some(point.to_owned());
            let begun = Instant::now();
            if self.server.restart_armed(&args, point).expect("it starts or dies at its point") {
                return begun.elapsed();
            }
            let name = point.split(':').next().unwrap_or_default();
            *self.summary.at_points.entry(name.to_owned()).or_default() += 1;
            self.armed = None;
        }
        let begun = Instant::now();
        self.server.restart_with(&args).expect("restart");
        begun.elapsed()
    }

    /// Everything that must hold after a start; how many shown ticks were compared. The error is a connection that was
    /// lost.
    async fn compare(&mut self, followers: &[Follower]) -> Result<u64, Refusal> {
        let client = self.server.connect().await?;
        for journal in &mut self.journals {
            journal.check(&client).await?;
        }
        let newest = followers.iter().map(Follower::upper).max().unwrap_or(0);
        let mut ticks = 0;
        for follower in followers {
            ticks += self.check_ticks(&client, follower, newest.saturating_sub(TICKS_BACK_MS)).await?;
        }
        self.check_views(&client).await?;
        Ok(ticks)
    }

    /// Some of the ticks that were shown, and the last of them.
    async fn check_ticks(&mut self, client: &Client, follower: &Follower, oldest: u64) -> Result<u64, Refusal> {
        let all: Vec<(u64, &Bag)> = follower.transcript().filter(|(time, _)| *time > oldest).collect();
        let mut chosen: Vec<usize> =
            (0..TICKS_CHECKED - 1).map(|_| self.random.below(all.len() as u64) as usize).collect();
        chosen.push(all.len().saturating_sub(1));
        chosen.sort_unstable();
        chosen.dedup();
        let mut checked = 0;
        for (time, before) in chosen.iter().filter_map(|at| all.get(*at)) {
            let name = follower.name();
            let again = match contents_at(client, name, *time).await {
                Err(e) if !e.answered() => return Err(e),
                // The machine was slow: it is older than what is kept.
                Err(e) if e.code == "55000" && now_ms() > time + RESUME_MS => continue,
                again => again.unwrap_or_else(|e| panic!("SUBSCRIBE {name} AS OF {time}, now {}: {e}", now_ms())),
            };
            let differs = difference(before, &again);
            assert!(differs.is_empty(), "{name} at {time}: before < > after the restart\n{differs}");
            checked += 1;
        }
        Ok(checked)
    }

    /// Every view equals its query, and what the clients know; every message is there once.
    async fn check_views(&mut self, client: &Client) -> Result<(), Refusal> {
        let sent = self.sent.load(Ordering::Relaxed);
        if self.broker.is_some() {
            let begun = Instant::now();
            let sums = format!("{sent},{}", sent * (sent - 1) / 2);
            loop {
                let got = rows(client, "SELECT sum(n), sum(s) FROM totals").await?;
                let text: Vec<&str> = got[0].iter().map(|v| v.as_deref().unwrap_or("0")).collect();
                if text.join(",") == sums {
                    break;
                }
                assert!(begun.elapsed() < MESSAGES_WAIT, "messages: got {text:?}, sent {sums}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        for (view, query) in &self.views {
            let shown = bag(client, &format!("SELECT * FROM {view}")).await?;
            let differs = difference(&bag(client, query).await?, &shown);
            assert!(differs.is_empty(), "{view}: its query < > the view\n{differs}");
            self.summary.views += 1;
            if let Some(expected) = expect::contents(view, &self.journals, sent) {
                let differs = difference(&expected, &shown);
                assert!(differs.is_empty(), "{view}: what clients know < > the view\n{differs}");
                self.summary.recomputed += 1;
            }
        }
        Ok(())
    }
}

/// A server that dies at this point of its first start comes up at the next one. False where it does not pass the point.
pub async fn first_start(point: &str) -> bool {
    let home = tempfile::tempdir().expect("temporary directory");
    let data = home.path().join("data");
    let armed = Server::start_armed_in(&data, &[], point).expect("it starts or dies at its point");
    let died = armed.is_none();
    drop(armed);
    let server = Server::start_in(&data, &[]).expect("starts after the death of its first start");
    let client = server.connect().await.expect("connect");
    for sql in ["CREATE TABLE t (k int)", "INSERT INTO t VALUES (1)"] {
        run(&client, sql).await.unwrap_or_else(|e| panic!("after {point}: {sql}: {e}"));
    }
    died
}
