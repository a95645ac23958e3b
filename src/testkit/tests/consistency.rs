//! What clients see of each other: never a stale read, one order of all writes and reads, on 1 and 2 workers.

use hw_testkit::history::{History, Read, Write};
use hw_testkit::rows::{Row, rows, run};
use hw_testkit::{Follower, Random, Server, scaled, seed};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

async fn connect(server: &Server) -> Client {
    server.connect().await.expect("connect")
}

async fn create(client: &Client, statements: &[&str]) {
    for sql in statements {
        run(client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
}

fn number(row: &Row, column: usize) -> i64 {
    row[column].as_deref().and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("not a number: {row:?}"))
}

/// A write on one connection, then a read of a view over a view on another: 10,000 times in the long form.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_over_a_view_is_never_stale() {
    let server = Server::start(&["--workers", "2"]).expect("the server starts");
    let (writer, reader) = (connect(&server).await, connect(&server).await);
    let views = [
        "CREATE TABLE t (k int, v bigint)",
        "CREATE MATERIALIZED VIEW per_key AS SELECT k, count(*) AS n, sum(v) AS s FROM t GROUP BY k",
        "CREATE MATERIALIZED VIEW total AS SELECT sum(n) AS n, sum(s) AS s FROM per_key",
        "CREATE VIEW shown AS SELECT n, s FROM total",
    ];
    create(&writer, &views).await;
    let times = std::env::var("HEADWATER_TEST_PAIRS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let (begun, mut sum) = (Instant::now(), 0);
    for i in 1..=times as i64 {
        sum += i;
        run(&writer, &format!("INSERT INTO t VALUES ({}, {i})", i % 97)).await.expect("insert");
        let got = rows(&reader, "SELECT n, s FROM shown").await.expect("select");
        assert_eq!((number(&got[0], 0), number(&got[0], 1)), (i, sum), "after insert {i}");
    }
    println!("{times} pairs in {:.1} s, never stale", begun.elapsed().as_secs_f64());
}

/// What a client of the register test does until `end`.
async fn register_client(client: Client, me: usize, seed: u64, end: Instant, history: Arc<Mutex<History>>) {
    let (mut random, mut next) = (Random::new(seed), 1);
    while Instant::now() < end {
        let begun = Instant::now();
        if random.chance(45) {
            let sql = format!("INSERT INTO log VALUES ({me}, {next})");
            run(&client, &sql).await.expect("insert");
            let write = Write { client: me, number: next, begun, acknowledged: Some(Instant::now()) };
            history.lock().expect("no panic").writes.push(write);
            next += 1;
            continue;
        }
        // Through a table, a view, a view over a view, and a join of the last two.
        let sql = random.pick(&[
            "SELECT client, max(number) AS top, count(*) AS n FROM log GROUP BY client",
            "SELECT client, top, n FROM tops",
            "SELECT client, top, n FROM again",
            "SELECT a.client, t.top, a.n FROM again a JOIN tops t ON a.client = t.client",
        ]);
        let got = rows(&client, sql).await.expect("select");
        let mut seen = BTreeMap::new();
        for row in got {
            assert_eq!(number(&row, 1), number(&row, 2), "a gap in the writes of a client: {row:?} ({sql})");
            seen.insert(number(&row, 0) as usize, number(&row, 1) as u64);
        }
        let read = Read { client: me, seen, begun, ended: Instant::now() };
        history.lock().expect("no panic").reads.push(read);
    }
}

async fn registers(workers: &str) {
    let (seed, clients) = (seed(), 8);
    let server = Server::start(&["--workers", workers]).expect("the server starts");
    let views = [
        "CREATE TABLE log (client int, number bigint)",
        "CREATE MATERIALIZED VIEW tops AS SELECT client, max(number) AS top, count(*) AS n FROM log GROUP BY client",
        "CREATE MATERIALIZED VIEW again AS SELECT client, top, n FROM tops",
    ];
    create(&connect(&server).await, &views).await;
    let mut follower = Follower::start(&server, "log").await.expect("subscribe");
    follower.record_changes();
    let history = Arc::new(Mutex::new(History::default()));
    let end = Instant::now() + Duration::from_secs(scaled(6));
    let mut tasks = vec![];
    for me in 0..clients {
        let client = connect(&server).await;
        tasks.push(tokio::spawn(register_client(client, me, seed + me as u64, end, history.clone())));
    }
    let done = async {
        for task in tasks {
            task.await.expect("a client");
        }
    };
    let following = async {
        // Keeps reading, so that the subscription is never cut off.
        loop {
            follower.step().await.expect("subscribe");
        }
    };
    tokio::select! { () = done => {}, () = following => {} }
    let client = connect(&server).await;
    run(&client, "INSERT INTO log VALUES (-1, 0)").await.expect("the last mark");
    follower.until_row(|row| row[0].as_deref() == Some("-1")).await.expect("subscribe");
    let mut ticks = BTreeMap::new();
    for (time, row) in follower.changes() {
        let (who, which) = (number(row, 0), number(row, 1) as u64);
        if who >= 0 {
            assert!(ticks.insert((who as usize, which), *time).is_none(), "a write is there twice: {row:?}");
        }
    }
    let history = history.lock().expect("no panic");
    let found = history.check(&ticks);
    println!(
        "{workers} workers, seed={seed}: {} writes in {} ticks, {} reads, {} findings",
        history.writes.len(),
        ticks.values().collect::<std::collections::BTreeSet<_>>().len(),
        history.reads.len(),
        found.len()
    );
    assert!(found.is_empty(), "HEADWATER_TEST_SEED={seed}\n{}", found[..found.len().min(20)].join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_clients_are_strictly_serialisable() {
    registers("1").await;
    registers("2").await;
}

/// Money moves between accounts in single statements: every read sees the same total, in tables, views and joins, and
/// both reads of a transaction block see the same state.
#[tokio::test(flavor = "multi_thread")]
async fn a_bank_never_loses_money() {
    let (seed, accounts, each) = (seed(), 20, 100);
    let server = Server::start(&["--workers", "2"]).expect("the server starts");
    let setup = connect(&server).await;
    let views = [
        "CREATE TABLE account (id int PRIMARY KEY, owner int, balance bigint NOT NULL)",
        "CREATE TABLE copied (id int, balance bigint)",
        "CREATE MATERIALIZED VIEW owners AS SELECT owner, sum(balance) AS s FROM account GROUP BY owner",
        "CREATE MATERIALIZED VIEW bank AS SELECT sum(s) AS s FROM owners",
    ];
    create(&setup, &views).await;
    for id in 0..accounts {
        let sql = format!("INSERT INTO account VALUES ({id}, {}, {each})", id % 3);
        run(&setup, &sql).await.expect("insert");
    }
    let end = Instant::now() + Duration::from_secs(scaled(4));
    let total = (accounts * each).to_string();
    let mut tasks = vec![];
    for me in 0..8u64 {
        let (client, total) = (connect(&server).await, total.clone());
        tasks.push(tokio::spawn(async move {
            let (mut random, mut done) = (Random::new(seed ^ me), 0);
            while Instant::now() < end {
                bank_step(&client, &mut random, accounts as u64, &total).await;
                done += 1;
            }
            done
        }));
    }
    let mut done = 0;
    for task in tasks {
        done += task.await.expect("a client");
    }
    // What INSERT ... SELECT copied was always a whole state.
    let copies =
        rows(&setup, "SELECT DISTINCT n % 20, s FROM (SELECT count(*) AS n, sum(balance) % 2000 AS s FROM copied) q");
    let copies = copies.await.expect("select");
    println!("seed={seed}: {done} statements, copies {copies:?}");
    assert_eq!(copies[0][0].as_deref(), Some("0"));
    assert!(copies[0][1].as_deref().is_none_or(|s| s == "0"), "HEADWATER_TEST_SEED={seed}: {copies:?}");
}

async fn bank_step(client: &Client, random: &mut Random, accounts: u64, total: &str) {
    let (from, to, amount) = (random.below(accounts), random.below(accounts), 1 + random.below(50));
    match random.below(10) {
        0..=3 if from != to => {
            let sql = format!(
                "UPDATE account SET balance = balance + CASE WHEN id = {to} THEN {amount} ELSE -{amount} END \
                 WHERE id IN ({from}, {to})"
            );
            assert_eq!(run(client, &sql).await.expect("update"), 2);
        }
        4 => {
            let inserted = run(client, "INSERT INTO copied SELECT id, balance FROM account").await;
            assert_eq!(inserted.expect("copy"), accounts);
        }
        5 => {
            run(client, "BEGIN").await.expect("begin");
            let first = rows(client, "SELECT id, balance FROM account ORDER BY id").await.expect("select");
            tokio::time::sleep(Duration::from_millis(random.below(20))).await;
            let second = rows(client, "SELECT id, balance FROM account ORDER BY id").await.expect("select");
            assert_eq!(first, second, "a transaction block sees two states");
            run(client, "COMMIT").await.expect("commit");
        }
        _ => {
            let sql = random.pick(&[
                "SELECT sum(balance) FROM account",
                "SELECT s FROM bank",
                "SELECT sum(s) FROM owners",
                "SELECT sum(a.balance) FROM account a JOIN owners o ON a.owner = o.owner",
            ]);
            let got = rows(client, sql).await.expect("select");
            assert_eq!(got[0][0].as_deref(), Some(total), "{sql}");
        }
    }
}

/// Catches: a source that is read further than the views over it, in one statement or in a transaction; a view that is
/// shown at a time whose contents it does not have, because it was being filled then.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_and_new_views_are_read_at_one_time() {
    let server = Server::start(&["--workers", "2"]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    let number = |sql: &'static str| {
        let client = &client;
        async move {
            let found = rows(client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            found.into_iter().flatten().map(|v| v.unwrap_or_default()).collect::<Vec<_>>()
        }
    };
    for sql in [
        "CREATE SOURCE nexmark FROM GENERATOR NEXMARK (EVENTS PER SECOND 50000, PREFIX '')",
        "CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM bid",
    ] {
        run(&client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    for round in 0..8 {
        let one = number("SELECT (SELECT n FROM counted), (SELECT count(*) FROM bid)").await;
        assert_eq!(one[0], one[1], "round {round}");
        run(&client, "BEGIN").await.expect("BEGIN");
        let first = number("SELECT n FROM counted").await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert_eq!(number("SELECT count(*) FROM bid").await, first, "round {round}");
        assert_eq!(number("SELECT n FROM counted").await, first, "round {round}");
        run(&client, "COMMIT").await.expect("COMMIT");
        let create = format!("CREATE MATERIALIZED VIEW late{round} AS SELECT count(*) AS n, sum(price) AS s FROM bid");
        run(&client, &create).await.expect("a view");
        let over = format!("CREATE MATERIALIZED VIEW over{round} AS SELECT max(n) AS n FROM late{round}");
        run(&client, &over).await.expect("a view over it");
        let sql = format!("SELECT counted.n, o.n, l.n FROM counted, late{round} l, over{round} o");
        let both = rows(&client, &sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert!(both[0][0] == both[0][1] && both[0][1] == both[0][2], "round {round}: {both:?}");
    }
}
