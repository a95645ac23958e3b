//! Checkpoints as a client sees them: what was in one and what came after is there again, whatever ended the server, with
//! any number of workers; the log shrinks; damage is told.

use hw_testkit::Server;
use hw_testkit::rows::{bag, rows, run};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

async fn must(client: &Client, sql: &str) {
    run(client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

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
        let end = std::process::Command::new("kill").arg(server.pid().to_string()).status().expect("kill");
        assert!(end.success());
        let mut server = server;
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
