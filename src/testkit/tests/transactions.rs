//! Transactions over the wire: histories that are serializable, and kills that leave no half of one.

use hw_testkit::rows::{Refusal, rows, run, value};
use hw_testkit::serial::{Committed, anomalies};
use hw_testkit::{Random, Server, scaled, seed};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const TABLES: u64 = 4;
const KEYS: u64 = 4;
const CLIENTS: usize = 16;

async fn must(client: &Client, sql: &str) {
    run(client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

/// What a transaction has tried, and how it ended.
struct Attempt {
    committed: Option<Committed>,
    versions: Vec<u64>,
}

/// One transaction: reads and writes of some keys, through tables and through a view over all of them.
async fn transaction(
    client: &Client,
    random: &mut Random,
    number: u64,
    clock: Instant,
    me: usize,
) -> Result<Attempt, Refusal> {
    let mut done = Committed { begun: clock.elapsed().as_nanos() as u64, ..Committed::default() };
    let mut versions = vec![];
    run(client, "BEGIN").await?;
    let result = async {
        for step in 0..1 + random.below(4) {
            let (table, key) = (random.below(TABLES), random.below(KEYS));
            let register = table * 100 + key;
            let through_view = random.chance(30);
            let sql = match through_view {
                true => format!("SELECT v FROM everything WHERE k = {register}"),
                false => format!("SELECT v FROM r{table} WHERE k = {register}"),
            };
            let seen: u64 = value(client, &sql).await?.and_then(|v| v.parse().ok()).expect("a version");
            match done.writes.get(&register) {
                Some(own) => assert_eq!(seen, *own, "a transaction does not read its own write: {sql}"),
                None => {
                    let first = *done.reads.entry(register).or_insert(seen);
                    assert_eq!(first, seen, "a transaction reads two versions of one key");
                }
            }
            if random.chance(50) {
                let version = number * 10 + step + 1;
                let sql = format!("UPDATE r{table} SET v = {version} WHERE k = {register}");
                assert_eq!(run(client, &sql).await?, 1, "{sql}");
                versions.push(version);
                done.writes.insert(register, version);
            }
            if random.chance(10) {
                // What is undone is as if it had never been.
                run(client, "SAVEPOINT s").await?;
                run(client, &format!("UPDATE r{table} SET v = 7")).await?;
                run(client, "ROLLBACK TO s").await?;
            }
        }
        run(client, &format!("INSERT INTO journal{me} VALUES ({number})")).await?;
        run(client, if random.chance(10) { "ROLLBACK" } else { "COMMIT" }).await.map(|_| ())
    };
    match result.await {
        Ok(()) => {
            done.ended = clock.elapsed().as_nanos() as u64;
            Ok(Attempt { committed: Some(done), versions })
        }
        Err(e) if e.code == "40001" => {
            assert!(e.more.contains("retried"), "no hint: {e:?}");
            run(client, "ROLLBACK").await?;
            Ok(Attempt { committed: None, versions })
        }
        Err(e) => Err(e),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_are_serializable() {
    let seed = seed();
    println!("seed={seed}");
    let server = Server::start(&["--workers", "2"]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    let mut union = vec![];
    for table in 0..TABLES {
        must(&client, &format!("CREATE TABLE r{table} (k bigint PRIMARY KEY, v bigint NOT NULL)")).await;
        let values: Vec<String> = (0..KEYS).map(|k| format!("({}, 0)", table * 100 + k)).collect();
        must(&client, &format!("INSERT INTO r{table} VALUES {}", values.join(", "))).await;
        union.push(format!("SELECT k, v FROM r{table}"));
    }
    must(&client, &format!("CREATE MATERIALIZED VIEW everything AS {}", union.join(" UNION ALL "))).await;
    for me in 0..CLIENTS {
        must(&client, &format!("CREATE TABLE journal{me} (number bigint PRIMARY KEY)")).await;
    }
    let (clock, attempts) = (Instant::now(), Arc::new(Mutex::new(vec![])));
    let end = clock + Duration::from_secs(scaled(6));
    let mut tasks = vec![];
    for me in 0..CLIENTS {
        let client = server.connect().await.expect("connect");
        let attempts = attempts.clone();
        tasks.push(tokio::spawn(async move {
            let mut random = Random::new(seed + me as u64);
            let mut number = me as u64 + 1;
            while Instant::now() < end {
                let one = transaction(&client, &mut random, number, clock, me).await.expect("a transaction");
                attempts.lock().expect("no panic").push((me, number, one));
                number += CLIENTS as u64;
            }
        }));
    }
    for task in tasks {
        task.await.expect("a client");
    }
    let attempts = std::mem::take(&mut *attempts.lock().expect("no panic"));
    // ROLLBACK was asked for: its journal entry is not there.
    let mut there = BTreeSet::new();
    for me in 0..CLIENTS {
        for row in rows(&client, &format!("SELECT number FROM journal{me}")).await.expect("journal") {
            there.insert(row[0].as_deref().and_then(|v| v.parse::<u64>().ok()).expect("a number"));
        }
    }
    let (mut committed, mut aborted, mut left) = (vec![], BTreeSet::<u64>::new(), 0);
    for (_, number, one) in &attempts {
        match &one.committed {
            Some(done) if there.contains(number) => committed.push(done.clone()),
            Some(_) => aborted.extend(&one.versions),
            None => {
                assert!(!there.contains(number), "an aborted transaction has left a row");
                aborted.extend(&one.versions);
                left += 1;
            }
        }
    }
    println!("{} committed, {left} aborted by a conflict, of {}", committed.len(), attempts.len());
    assert!(committed.len() > 50, "hardly anything was committed");
    let found = anomalies(&committed);
    assert!(found.is_empty(), "seed {seed}:\n{}", found.join("\n"));
    for row in rows(&client, "SELECT v FROM everything").await.expect("the registers") {
        let version: u64 = row[0].as_deref().and_then(|v| v.parse().ok()).expect("a version");
        assert!(!aborted.contains(&version), "version {version} of an aborted transaction is there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_leaves_no_half_of_a_transaction() {
    let mut random = Random::new(seed());
    let mut server = Server::start(&["--workers", "1"]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    must(&client, "CREATE TABLE a (n bigint, i int, PRIMARY KEY (n, i))").await;
    must(&client, "CREATE TABLE b (n bigint GENERATED BY DEFAULT AS IDENTITY, t bigint UNIQUE, i int)").await;
    must(&client, "CREATE MATERIALIZED VIEW per AS SELECT n, count(*) AS c FROM a GROUP BY n").await;
    let (mut acknowledged, mut number) = (BTreeSet::new(), 0i64);
    for _ in 0..scaled(4) {
        let client = server.connect().await.expect("connect");
        let after = Duration::from_millis(50 + random.below(400));
        let writing = async {
            loop {
                number += 1;
                let mut all = vec!["BEGIN".to_string()];
                all.extend((0..5).map(|i| format!("INSERT INTO a VALUES ({number}, {i})")));
                all.push(format!("INSERT INTO b (t, i) VALUES ({number}, 0)"));
                all.push(format!("UPDATE b SET i = 5 WHERE t = {number}"));
                all.push("COMMIT".to_string());
                for sql in all {
                    run(&client, &sql).await?;
                }
                acknowledged.insert(number);
            }
        };
        let ended: Result<Result<(), Refusal>, _> = tokio::time::timeout(after, writing).await;
        assert!(ended.is_err(), "a transaction has failed: {ended:?}");
        server.kill().expect("kill");
        server.restart().expect("restart");
        let client = server.connect().await.expect("connect");
        let mut found = BTreeSet::new();
        for row in rows(&client, "SELECT n, c FROM per").await.expect("per") {
            assert_eq!(row[1].as_deref(), Some("5"), "half a transaction: {row:?}");
            found.insert(row[0].as_deref().and_then(|v| v.parse::<i64>().ok()).expect("a number"));
        }
        let mut other = BTreeSet::new();
        for row in rows(&client, "SELECT t, i FROM b").await.expect("b") {
            assert_eq!(row[1].as_deref(), Some("5"), "half a transaction: {row:?}");
            other.insert(row[0].as_deref().and_then(|v| v.parse::<i64>().ok()).expect("a number"));
        }
        assert_eq!(found, other, "one table without the other");
        assert!(acknowledged.is_subset(&found), "an acknowledged transaction is gone");
        let twice = rows(&client, "SELECT n FROM b GROUP BY n HAVING count(*) > 1").await.expect("identities");
        assert!(twice.is_empty(), "an identity was given twice: {twice:?}");
    }
    assert!(!acknowledged.is_empty(), "nothing was committed");
}
