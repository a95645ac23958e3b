//! Checkpoints as a client sees them: what was in one and what came after is there again, whatever ended the server, with
//! any number of workers; the log shrinks; damage is told.

use hw_testkit::expect::must;
use hw_testkit::rows::{bag, difference, rows, run};
use hw_testkit::{KafkaBroker, Server};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

async fn one(client: &Client, sql: &str) -> Vec<String> {
    let found = rows(client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    found.into_iter().flatten().map(|v| v.unwrap_or_else(|| "NULL".into())).collect()
}

fn files(dir: &Path, ends: &str) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("list")
        .map(|e| e.expect("entry").path())
        .filter(|p| p.to_string_lossy().ends_with(ends))
        .collect();
    all.sort();
    all
}

/// Everything a client can compare, as text.
async fn contents(client: &Client) -> Vec<String> {
    let mut all = vec![];
    for sql in [
        "SELECT * FROM t ORDER BY k",
        "SELECT * FROM u ORDER BY 1, 2",
        "SELECT * FROM v ORDER BY g",
        "SELECT name FROM headwater.views ORDER BY name",
    ] {
        all.push(one(client, sql).await.join("|"));
    }
    all
}

#[tokio::test]
async fn tables_come_back_from_a_checkpoint_and_the_log() {
    let mut server = Server::start(&["--checkpoint-interval", "3600", "--workers", "1"]).expect("starts");
    let client = server.connect().await.expect("connects");
    let many: Vec<String> = (0..20_000).map(|i| format!("({i}, 'g{}', {i} / 4.0)", i % 7)).collect();
    for sql in [
        "CREATE TABLE t (k int PRIMARY KEY, g text NOT NULL, n numeric(10, 2))",
        "CREATE TABLE u (a text, b timestamptz)",
        "CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS c, sum(n) AS s FROM t GROUP BY g",
        "CREATE INDEX ON t (g)",
        "CREATE INDEX ON t (upper(g), (k % 10))",
        &format!("INSERT INTO t VALUES {}", many.join(", ")),
        "INSERT INTO t VALUES (100001, 'late', 1), (100002, 'late', NULL), (100003, 'gone', 5)",
        "INSERT INTO u VALUES ('x', now()), ('x', '2020-01-01 00:00:00+00'), (NULL, NULL), (NULL, NULL)",
        "CHECKPOINT",
        "UPDATE t SET n = n + 1 WHERE k < 100002",
        "DELETE FROM t WHERE g = 'gone'",
        "INSERT INTO u VALUES ('y', NULL)",
        "DELETE FROM u WHERE a = 'x' AND b < '2021-01-01 00:00:00+00'",
    ] {
        must(&client, sql).await;
    }
    let state = "SELECT state FROM headwater.checkpoints ORDER BY time DESC LIMIT 1";
    assert_eq!(one(&client, state).await, ["done"]);
    let before = contents(&client).await;
    // Killed: the checkpoint and the log after it.
    server.kill().expect("kill");
    server.restart().expect("restarts");
    let client = server.connect().await.expect("connects");
    assert_eq!(contents(&client).await, before);
    // Keys are known again.
    let e = run(&client, "INSERT INTO t VALUES (100001, 'again', 1)").await.expect_err("a key that is there");
    assert_eq!(e.code, "23505");
    must(&client, "INSERT INTO t VALUES (100003, 'again', 2)").await;
    must(&client, "DROP TABLE u").await;
    must(&client, "CREATE TABLE u (a int, b int)").await;
    must(&client, "INSERT INTO u VALUES (1, 2)").await;
    let before = contents(&client).await;
    // A checkpoint over a restored table writes only what is new.
    must(&client, "CHECKPOINT").await;
    must(&client, "CHECKPOINT").await;
    server.kill().expect("kill");
    server.restart().expect("restarts");
    let client = server.connect().await.expect("connects");
    assert_eq!(contents(&client).await, before);
}

#[tokio::test]
async fn a_shutdown_takes_one_and_any_number_of_workers_reads_it() {
    let home = tempfile::tempdir().expect("a directory");
    let args = |workers: &'static str| ["--checkpoint-interval", "3600", "--workers", workers];
    let mut before = None;
    for (round, workers) in ["1", "2", "4", "1"].into_iter().enumerate() {
        let server = Server::start_in(home.path(), &args(workers)).expect("starts");
        let client = server.connect().await.expect("connects");
        if round == 0 {
            must(&client, "CREATE TABLE t (k int PRIMARY KEY, g text NOT NULL, n numeric(10, 2))").await;
            must(&client, "CREATE TABLE u (a text, b timestamptz)").await;
            must(&client, "CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS c FROM t GROUP BY g").await;
        }
        if let Some(before) = &before {
            assert_eq!(&contents(&client).await, before, "{workers} workers");
        }
        let values: Vec<String> = (0..500).map(|i| format!("({}, 'g{}', {i})", round * 1000 + i, i % 9)).collect();
        must(&client, &format!("INSERT INTO t VALUES {}", values.join(", "))).await;
        must(&client, &format!("DELETE FROM t WHERE k < {} AND k % 3 = 0", round * 1000)).await;
        before = Some(contents(&client).await);
        let mut server = server;
        server.terminate().expect("SIGTERM");
        let start = Instant::now();
        while server.is_running() {
            assert!(start.elapsed() < Duration::from_secs(20), "the server does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(!files(&home.path().join("checkpoint"), "MANIFEST").is_empty());
    }
}

#[tokio::test]
async fn the_log_shrinks_and_nothing_is_lost_with_it() {
    let home = tempfile::tempdir().expect("a directory");
    let args = ["--checkpoint-interval", "1", "--subscribe-resume", "1"];
    let mut server = Server::start_in(home.path(), &args).expect("starts");
    let client = server.connect().await.expect("connects");
    must(&client, "CREATE TABLE t (k int PRIMARY KEY, g text NOT NULL, n numeric(10, 2))").await;
    must(&client, "CREATE TABLE u (a text, b timestamptz)").await;
    must(&client, "CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS c FROM t GROUP BY g").await;
    for i in 0..12 {
        must(&client, &format!("INSERT INTO t VALUES ({i}, 'g', 1)")).await;
        must(&client, "DELETE FROM u").await;
        must(&client, &format!("INSERT INTO u VALUES (repeat('x', {}), now())", 20_000_000 + i)).await;
    }
    let log = home.path().join("log");
    let start = Instant::now();
    while files(&log, "").len() > 3 {
        must(&client, "INSERT INTO t VALUES (99, 'tick', 1)").await;
        must(&client, "DELETE FROM t WHERE k = 99").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", files(&log, ""));
    }
    let lengths = "SELECT length(a), (SELECT count(*) FROM t), (SELECT c FROM v) FROM u";
    let before = one(&client, lengths).await;
    assert_eq!(before, ["20000011", "12", "12"]);
    server.kill().expect("kill");
    server.restart().expect("restarts");
    let client = server.connect().await.expect("connects");
    assert_eq!(one(&client, lengths).await, before);
    must(&client, "INSERT INTO t VALUES (50, 'h', 2)").await;
    assert_eq!(bag(&client, "SELECT g, c FROM v").await.expect("reads").len(), 2);
    drop(client);
    server.kill().expect("kill");
    // What the log lacks is in the checkpoint: without it there is no start.
    let manifest = home.path().join("checkpoint/MANIFEST");
    let kept = std::fs::read(&manifest).expect("read");
    std::fs::remove_file(&manifest).expect("remove");
    assert!(server.restart().is_err());
    std::fs::write(&manifest, &kept).expect("write");
    server.restart().expect("restarts with it");
    server.kill().expect("kill");
    // Nor is there one without the log, or without the catalog that the log no longer has.
    for part in ["log", "catalog"] {
        let (path, aside) = (home.path().join(part), home.path().join(format!("{part}-aside")));
        std::fs::rename(&path, &aside).expect("rename");
        assert!(server.restart().is_err(), "started without its {part}");
        std::fs::remove_dir_all(&path).expect("remove");
        std::fs::rename(&aside, &path).expect("rename");
    }
    server.restart().expect("restarts with everything");
    let client = server.connect().await.expect("connects");
    assert_eq!(one(&client, "SELECT count(*) FROM t").await, ["13"]);
}

/// Views of every operator with state, over a topic, a table, both, and each other.
const VIEWS: &[(&str, &str)] = &[
    ("sums", "SELECT k, count(*) AS n, sum(v) AS s, max(v) AS top, avg(f) AS mean FROM events GROUP BY k"),
    ("total", "SELECT count(*) AS n, sum(n) AS s, min(top) AS low FROM sums"),
    ("kinds", "SELECT DISTINCT v % 100 AS kind FROM events"),
    ("pairs", "SELECT a.v, b.k FROM events a JOIN events b ON a.v = b.v * 50"),
    ("named", "SELECT e.k, n.name, e.v FROM events e JOIN names n ON e.k = n.k WHERE e.v % 10 = 0"),
    (
        "per_name",
        "SELECT name, count(*) AS c, count(DISTINCT v) AS d, min(v) AS low, sum(n) AS s FROM named \
                  JOIN prices ON named.k = prices.k GROUP BY name",
    ),
    ("filtered", "SELECT k, 100 / (v - 70) AS q FROM events WHERE v > 19000 OR v = 71"),
    ("constant", "SELECT 1 AS one UNION ALL SELECT k FROM names"),
    ("none", "SELECT max(n) AS top, bool_or(n > 5) AS some FROM prices WHERE n > 1000"),
];

/// How many changes came to the joins and aggregates of views since the start.
async fn changes(server: &Server, views: &[&str]) -> Vec<u64> {
    // Figures are renewed about once a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut stream = std::net::TcpStream::connect(server.http_addr).expect("connects");
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("asks");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let figure = |view: &&str| {
        let start = format!("headwater_operator_changes_total{{relation=\"{view}\"}} ");
        text.lines().find_map(|l| l.strip_prefix(&start)).and_then(|n| n.parse().ok()).expect("the metric")
    };
    views.iter().map(figure).collect()
}

struct Views {
    server: Server,
    broker: KafkaBroker,
    sent: i64,
}

impl Views {
    async fn start() -> Option<Views> {
        if KafkaBroker::jars().is_none() {
            println!("SKIPPED: no jars of Kafka; cargo xtask test fetches them");
            return None;
        }
        let broker = KafkaBroker::start().await.expect("a broker");
        broker.create_topic("events", 3).await.expect("topic");
        let server = Server::start(&["--checkpoint-interval", "3600", "--workers", "1"]).expect("starts");
        let client = server.connect().await.expect("connects");
        must(&client, "CREATE TABLE names (k int, name text)").await;
        must(&client, "CREATE TABLE prices (k int PRIMARY KEY, n numeric(10, 2))").await;
        must(&client, &format!("CREATE CONNECTION c TO KAFKA (BROKER '{}')", broker.address())).await;
        must(
            &client,
            "CREATE SOURCE events (k int, v bigint, f double precision) FROM KAFKA CONNECTION c (TOPIC 'events') FORMAT JSON",
        )
        .await;
        for (view, query) in VIEWS {
            must(&client, &format!("CREATE MATERIALIZED VIEW {view} AS {query}")).await;
        }
        must(&client, "CREATE INDEX ON sums (n)").await;
        Some(Views { server, broker, sent: 0 })
    }

    async fn produce(&mut self, messages: i64) {
        for from in (self.sent..self.sent + messages).step_by(500) {
            let upto = (from + 500).min(self.sent + messages);
            let texts: Vec<String> =
                (from..upto).map(|i| format!("{{\"k\":{},\"v\":{i},\"f\":{}}}", i % 11, i as f64 / 8.0)).collect();
            self.broker.produce("events", (from / 500 % 3) as i32, &texts).await.expect("produce");
        }
        self.sent += messages;
    }

    async fn write(&self, client: &Client, round: i32) {
        for k in 0..11 {
            must(client, &format!("INSERT INTO names VALUES ({k}, 'n{}'), ({k}, 'round {round}')", (k + round) % 4))
                .await;
            must(client, &format!("DELETE FROM prices WHERE k = {k}")).await;
            if (k + round) % 3 != 0 {
                must(client, &format!("INSERT INTO prices VALUES ({k}, {}.25)", k * round)).await;
            }
        }
        must(client, &format!("DELETE FROM names WHERE name = 'round {}'", round - 2)).await;
    }

    /// Every view shows what its query gives, with all messages.
    async fn check(&self, client: &Client, when: &str) {
        let begun = Instant::now();
        while one(client, "SELECT s FROM total").await != [self.sent.to_string()] {
            assert!(begun.elapsed() < Duration::from_secs(60), "{when}: not all messages have come");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for (view, query) in VIEWS.iter().filter(|(view, _)| *view != "filtered") {
            let shown = bag(client, &format!("SELECT * FROM {view}")).await.expect("shown");
            let computed = bag(client, query).await.expect("computed");
            let differs = difference(&computed, &shown);
            assert!(differs.is_empty(), "{when}: {view}: its query < > the view\n{differs}");
        }
        // v = 70 divides by zero, whatever the start.
        let e = run(client, "SELECT * FROM filtered").await.map(|_| ());
        assert!(e.is_ok() || e.is_err_and(|e| e.code == "22012"), "{when}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn views_go_on_from_a_checkpoint() {
    let Some(mut v) = Views::start().await else { return };
    let client = v.server.connect().await.expect("connects");
    v.write(&client, 0).await;
    v.produce(20_000).await;
    v.check(&client, "first").await;
    for (round, workers) in ["2", "4", "1", "1"].into_iter().enumerate() {
        let round = round as i32 + 1;
        let client = v.server.connect().await.expect("connects");
        must(&client, "CHECKPOINT").await;
        let stateful = ["sums", "kinds", "pairs", "total", "named", "per_name"];
        let mut came = vec![];
        for (view, changes) in stateful.iter().zip(changes(&v.server, &stateful).await) {
            came.push((*view, changes));
        }
        v.write(&client, round).await;
        v.produce(700).await;
        v.check(&client, "before").await;
        for ((_, before), now) in came.iter_mut().zip(changes(&v.server, &stateful).await) {
            *before = now - *before;
        }
        v.server.kill().expect("kill");
        v.server.restart_with(&["--checkpoint-interval", "3600", "--workers", workers]).expect("restarts");
        let client = v.server.connect().await.expect("connects");
        v.check(&client, &format!("{workers} workers")).await;
        // What came after the checkpoint, and no more, came to the operators: joins of several ticks in one step make
        // some pairs that cancel out.
        for ((view, before), again) in came.iter().zip(changes(&v.server, &stateful).await) {
            assert!(again <= 3 * before / 2 + 20, "{view} took in {again} changes, not {before}, round {round}");
        }
        v.write(&client, round + 10).await;
        v.produce(300).await;
        v.check(&client, "goes on").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn views_that_a_checkpoint_lacks_are_computed_anew() {
    let Some(mut v) = Views::start().await else { return };
    let client = v.server.connect().await.expect("connects");
    v.write(&client, 0).await;
    v.produce(5_000).await;
    v.check(&client, "first").await;
    must(&client, "CHECKPOINT").await;
    must(&client, "CREATE MATERIALIZED VIEW late AS SELECT k, sum(s) AS s FROM sums GROUP BY k").await;
    must(&client, "CREATE MATERIALIZED VIEW later AS SELECT v FROM events WHERE v < 3000").await;
    must(&client, "DROP MATERIALIZED VIEW per_name").await;
    must(&client, &format!("CREATE MATERIALIZED VIEW per_name AS {}", VIEWS[5].1)).await;
    v.produce(500).await;
    v.check(&client, "before").await;
    v.server.kill().expect("kill");
    v.server.restart().expect("restarts");
    let client = v.server.connect().await.expect("connects");
    v.check(&client, "after").await;
    let late = "SELECT (SELECT sum(s) FROM late) = (SELECT sum(s) FROM sums), (SELECT count(*) FROM later)";
    assert_eq!(one(&client, late).await, ["t", "3000"]);
    // They are in the next one.
    must(&client, "CHECKPOINT").await;
    v.server.kill().expect("kill");
    v.server.restart().expect("restarts");
    let client = v.server.connect().await.expect("connects");
    v.check(&client, "again").await;
    assert_eq!(one(&client, late).await, ["t", "3000"]);
    assert_eq!(changes(&v.server, &["late", "sums"]).await, [0, 0]);
}
