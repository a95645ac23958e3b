//! Bad input gets a clear error and costs nothing else: the server goes on, nothing is lost, others notice nothing.

use hw_testkit::raw::{RawClient, error_field};
use hw_testkit::rows::{Refusal, rows, run};
use hw_testkit::{Follower, Random, Server, binary, seed};
use std::process::Command;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

async fn started(args: &[&str], statements: &[&str]) -> (Server, Client) {
    let server = Server::start(args).expect("the server starts");
    let client = server.connect().await.expect("connect");
    for sql in statements {
        run(&client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    (server, client)
}

async fn refused(client: &Client, sql: &str) -> Refusal {
    let what = &sql[..sql.len().min(200)];
    match tokio::time::timeout(Duration::from_secs(30), rows(client, sql)).await {
        Ok(Err(e)) => e,
        Ok(Ok(_)) => panic!("{what}: not refused"),
        Err(_) => panic!("{what}: still running"),
    }
}

async fn one(client: &Client, sql: &str) -> String {
    let got = rows(client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    got[0][0].clone().unwrap_or_else(|| "NULL".into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_directory_is_refused() {
    let (mut server, client) = started(&["--workers", "1"], &["CREATE TABLE t (a int)"]).await;
    let second = Command::new(binary().expect("the server is built"))
        .args(["start", "--pg-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--data-dir"])
        .arg(server.data_dir())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success());
    assert!(said.contains("in use by another server") && said.contains("hint"), "{said}");
    assert!(server.is_running());
    assert_eq!(run(&client, "INSERT INTO t VALUES (1)").await, Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_port_ends_that_connection_only() {
    let (mut server, client) = started(&["--workers", "1"], &["CREATE TABLE t (a int)"]).await;
    let mut random = Random::new(seed());
    let mut inputs: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0; 64],
        vec![255; 4096],
        vec![0, 0, 0, 4],
        vec![0, 0, 0, 8, 0, 3, 0, 0],
        [&[0, 0, 0, 8, 4, 210, 22, 47][..], b"not a TLS hello nor a startup message"].concat(),
        [&[0, 0, 0, 17, 0, 3, 0, 0][..], b"user\0\xff\xfe\0\0"].concat(),
    ];
    inputs.extend((0..20).map(|_| (0..1 + random.below(300)).map(|_| random.bits() as u8).collect()));
    for input in inputs {
        let mut raw = RawClient::connect(server.pg_addr).expect("connect");
        // The server may close before everything was sent.
        let _ = raw.send(&input);
        drop(raw);
    }
    // After the login too: unknown messages, lengths that lie, text that is not UTF-8.
    for body in [&b"?\0\0\0\x04"[..], b"Q\0\0\0\x03", b"Q\xff\xff\xff\xff", b"Q\0\0\0\x08SE\xff\0", b"B\0\0\0\x06\0\0"]
    {
        let mut raw = RawClient::login(server.pg_addr).expect("login");
        raw.send(body).expect("send");
        let (kind, error) = raw.message().expect("an answer");
        assert_eq!(kind, b'E', "{body:?}");
        let code = error_field(&error, b'C').unwrap_or_default();
        assert!(["08P01", "22021", "42601"].contains(&code.as_str()), "{body:?}: {code}");
    }
    let mut http = RawClient::connect(server.http_addr).expect("connect");
    http.send(&[7; 100]).expect("send");
    http.rest().expect("it is closed");
    assert!(server.is_running());
    assert_eq!(run(&client, "INSERT INTO t VALUES (1)").await, Ok(1));
}

/// A file system of a fixed size, mounted as long as this lives. `None` where that is not permitted.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(megabytes: u64) -> Option<SmallDisk> {
        let dir = tempfile::tempdir().ok()?;
        let size = format!("size={megabytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path());
        mount.output().ok().filter(|o| o.status.success()).map(|_| SmallDisk(dir))
    }

    fn resize(&self, megabytes: u64) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={megabytes}m")]).arg(self.0.path());
        assert!(mount.status().expect("mount runs").success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server may just be ending.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount(24) else {
        println!("SKIPPED: a small tmpfs cannot be mounted here");
        return;
    };
    let data = disk.0.path().join("data");
    let mut server = Server::start_in(&data, &["--workers", "1"]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    run(&client, "CREATE TABLE t (a int, b text)").await.expect("create");
    run(&client, "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, max(a) AS m FROM t").await.expect("create");
    let text = "x".repeat(400_000);
    let mut written = 0;
    let full = loop {
        match run(&client, &format!("INSERT INTO t VALUES ({written}, '{text}')")).await {
            Ok(_) => written += 1,
            Err(e) => break e,
        }
        assert!(written < 1000, "the disk never fills");
    };
    assert_eq!(full.code, "53100", "{full}");
    assert!(full.more.contains("ree space") || full.more.contains("space"), "{full:?}");
    // Reads go on; every kind of write is refused the same way.
    let want = (written.to_string(), (written - 1).to_string());
    for _ in 0..3 {
        assert_eq!(one(&client, "SELECT count(*) FROM t").await, want.0);
        assert_eq!((one(&client, "SELECT n FROM v").await, one(&client, "SELECT m FROM v").await), want);
        for sql in ["INSERT INTO t VALUES (1, 'y')", "DELETE FROM t", "CREATE TABLE u (a int)", "DROP TABLE t CASCADE"]
        {
            assert_eq!(refused(&client, sql).await.code, "53100", "{sql}");
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(server.is_running());
    // Space returns: after a restart everything acknowledged is there, nothing else, and writes work.
    server.kill().expect("kill");
    disk.resize(96);
    server.restart().expect("restart");
    let client = server.connect().await.expect("connect");
    assert_eq!(one(&client, "SELECT count(*) FROM t").await, want.0);
    assert_eq!((one(&client, "SELECT n FROM v").await, one(&client, "SELECT m FROM v").await), want);
    assert_eq!(refused(&client, "SELECT * FROM u").await.code, "42P01");
    assert_eq!(run(&client, "INSERT INTO t VALUES (-1, 'after')").await, Ok(1));
    run(&client, "CREATE TABLE u (a int)").await.expect("create");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_do_not_fit_change_nothing() {
    let create = "CREATE TABLE t (s smallint, i int, l bigint, n numeric(5,2), v varchar(3), d date, u uuid, j jsonb, b bytea, f real, ok boolean)";
    let (_server, client) = started(&["--workers", "1"], &[create, "INSERT INTO t (i) VALUES (1)"]).await;
    let cases = [
        ("INSERT INTO t (s) VALUES (32768)", "22003"),
        ("INSERT INTO t (i) VALUES (2147483648)", "22003"),
        ("INSERT INTO t (l) VALUES (9223372036854775808)", "22003"),
        ("INSERT INTO t (n) VALUES (1000)", "22003"),
        ("INSERT INTO t (n) VALUES (999.999)", "22003"),
        ("INSERT INTO t (v) VALUES ('abcd')", "22001"),
        ("INSERT INTO t (i) VALUES ('abc')", "22P02"),
        ("INSERT INTO t (d) VALUES ('2024-02-30')", "22008"),
        ("INSERT INTO t (d) VALUES ('soon')", "22007"),
        ("INSERT INTO t (u) VALUES ('1234')", "22P02"),
        ("INSERT INTO t (j) VALUES ('{\"a\":')", "22P02"),
        ("INSERT INTO t (b) VALUES ('\\x1')", "22023"),
        ("INSERT INTO t (ok) VALUES ('perhaps')", "22P02"),
        ("INSERT INTO t (f) VALUES ('1e50')", "22003"),
        ("INSERT INTO t (i) VALUES (1), (2), (3000000000)", "22003"),
        ("INSERT INTO t (i, i) VALUES (1, 2)", "42701"),
        ("INSERT INTO t (nothing) VALUES (1)", "42703"),
        ("INSERT INTO t (i) VALUES (1, 2)", "42601"),
        ("INSERT INTO t (ok) VALUES (DATE '2024-01-01')", "42804"),
        ("UPDATE t SET i = i + 2147483647", "22003"),
        ("UPDATE t SET i = 1 / (i - 1)", "22012"),
        ("UPDATE t SET nothing = 1", "42703"),
        ("DELETE FROM t WHERE 1 / (i - 1) = 1", "22012"),
        ("DELETE FROM t WHERE i", "42804"),
    ];
    let mut wrong = vec![];
    for (sql, code) in cases {
        match rows(&client, sql).await {
            Err(e) if e.code == code => {}
            Err(e) => wrong.push(format!("{sql}: {e}, not {code}")),
            Ok(_) => wrong.push(format!("{sql}: not refused")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(one(&client, "SELECT count(*) FROM t WHERE i = 1").await, "1");
    assert_eq!(one(&client, "SELECT count(*) FROM t").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn dependants_are_named_and_go_with_cascade() {
    let setup = [
        "CREATE TABLE t (a int)",
        "CREATE VIEW plain AS SELECT a FROM t",
        "CREATE MATERIALIZED VIEW kept AS SELECT count(*) AS n FROM plain",
        "CREATE MATERIALIZED VIEW over AS SELECT n FROM kept",
        "CREATE INDEX i ON kept (n)",
    ];
    let (_server, client) = started(&["--workers", "1"], &setup).await;
    for sql in ["DROP TABLE t", "DROP VIEW plain", "DROP MATERIALIZED VIEW kept"] {
        let e = refused(&client, sql).await;
        assert_eq!(e.code, "2BP01", "{sql}: {e}");
        assert!(e.more.contains("over") && e.more.contains("CASCADE"), "{sql}: {e:?}");
    }
    assert_eq!(one(&client, "SELECT n FROM over").await, "0");
    run(&client, "DROP VIEW plain CASCADE").await.expect("drop");
    for name in ["plain", "kept", "over"] {
        assert_eq!(refused(&client, &format!("SELECT * FROM {name}")).await.code, "42P01");
    }
    run(&client, "DROP TABLE t").await.expect("nothing depends on it any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_names_and_huge_statements() {
    let (mut server, client) = started(&["--workers", "1"], &["CREATE TABLE t (a int, b text)"]).await;
    let long = "x".repeat(64 << 10);
    for sql in [
        format!("CREATE TABLE {long} (a int)"),
        format!("CREATE TABLE u ({long} int)"),
        format!("CREATE SCHEMA \"{long}\""),
        format!("CREATE MATERIALIZED VIEW {long} AS SELECT a FROM t"),
    ] {
        let e = refused(&client, &sql).await;
        assert_eq!(e.code, "42622", "{}", &e.message[..e.message.len().min(300)]);
    }
    // Too deep to be planned: an error, not a crash.
    for sql in [
        format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("SELECT {}true", "NOT ".repeat(100_000)),
        format!("SELECT {}1", "- ".repeat(100_000)),
        format!("SELECT 1{}", " + 1".repeat(100_000)),
        format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(20_000), " END".repeat(20_000)),
        format!("SELECT * FROM {}t{}", "(SELECT * FROM ".repeat(10_000), ") q".repeat(10_000)),
        format!("SELECT a FROM t WHERE {}", vec!["a = 1"; 50_000].join(" OR ")),
        format!("SELECT 1 {}", "UNION ALL SELECT 1 ".repeat(20_000)),
    ] {
        let e = match tokio::time::timeout(Duration::from_secs(60), rows(&client, &sql)).await {
            Ok(Ok(_)) => continue,
            Ok(Err(e)) => e,
            Err(_) => panic!("still running: {}", &sql[..60]),
        };
        assert!(e.answered(), "{}: {e}", &sql[..60]);
        assert!(["54001", "54000", "42601", "0A000"].contains(&e.code.as_str()), "{}: {e}", &sql[..60]);
    }
    assert!(server.is_running());
    // Large ones that mean something.
    let values: Vec<String> = (0..50_000).map(|i| format!("({i}, 'row {i}')")).collect();
    let begun = Instant::now();
    assert_eq!(run(&client, &format!("INSERT INTO t VALUES {}", values.join(", "))).await, Ok(50_000));
    println!("50,000 rows in one INSERT: {:?}", begun.elapsed());
    let text = "y".repeat(8 << 20);
    assert_eq!(run(&client, &format!("INSERT INTO t VALUES (-1, '{text}')")).await, Ok(1));
    assert_eq!(one(&client, "SELECT length(b) FROM t WHERE a = -1").await, (8 << 20).to_string());
    let list: Vec<String> = (0..5000).map(|i| (i * 3).to_string()).collect();
    assert_eq!(one(&client, &format!("SELECT count(*) FROM t WHERE a IN ({})", list.join(", "))).await, "5000");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_refused_and_slots_return() {
    let (server, first) = started(&["--workers", "1", "--max-connections", "20"], &["CREATE TABLE t (a int)"]).await;
    let mut open = vec![];
    for _ in 1..20 {
        open.push(server.connect().await.expect("below the limit"));
    }
    let refused = server.connect().await.map(|_| ()).expect_err("beyond the limit");
    assert_eq!(refused.code().map(|c| c.code().to_string()).as_deref(), Some("53300"), "{refused:?}");
    assert_eq!(run(&first, "INSERT INTO t VALUES (1)").await, Ok(1));
    drop(open);
    let begun = Instant::now();
    while server.connect().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(5), "the slots do not return");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_statements_can_be_cancelled_and_time_out() {
    let (server, client) = started(&["--workers", "1"], &["CREATE TABLE t (a int)"]).await;
    let values: Vec<String> = (0..3000).map(|i| format!("({i})")).collect();
    run(&client, &format!("INSERT INTO t VALUES {}", values.join(", "))).await.expect("insert");
    let long = "SELECT count(*) FROM t a, t b, t c WHERE a.a + b.a + c.a = -1";
    let token = client.cancel_token();
    let cancelling = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(tokio_postgres::NoTls).await.expect("cancel");
        Instant::now()
    };
    let (e, at) = tokio::join!(refused(&client, long), cancelling);
    assert_eq!(e.code, "57014", "{e}");
    assert!(at.elapsed() < Duration::from_secs(2), "{:?}", at.elapsed());
    run(&client, "SET statement_timeout = 400").await.expect("set");
    let begun = Instant::now();
    let e = refused(&client, long).await;
    assert_eq!((e.code.as_str(), e.message.contains("timeout")), ("57014", true), "{e}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    // Nothing goes on in the background.
    let other = server.connect().await.expect("connect");
    let begun = Instant::now();
    assert_eq!(one(&other, "SELECT count(*) FROM t").await, "3000");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_stops_reading_is_cut_off() {
    let (server, client) = started(&["--workers", "1"], &["CREATE TABLE t (a int, b text)"]).await;
    let mut stalled = RawClient::login(server.pg_addr).expect("login");
    stalled.query("SUBSCRIBE t").expect("query");
    let mut follower = Follower::start(&server, "t").await.expect("subscribe");
    let (rounds, text) = (100, "z".repeat(1 << 20));
    for i in 0..rounds {
        let begun = Instant::now();
        run(&client, &format!("INSERT INTO t VALUES ({i}, '{text}')")).await.expect("insert");
        run(&client, &format!("DELETE FROM t WHERE a = {i}")).await.expect("delete");
        let upper = follower.upper();
        follower.until(upper).await.expect("the other subscriber goes on");
        assert!(begun.elapsed() < Duration::from_secs(3), "round {i} took {:?}", begun.elapsed());
    }
    // What was queued for it is bounded, and then comes the error, with the time to go on from.
    let mut bytes = 0;
    let error = loop {
        match stalled.message().expect("rows, then the error") {
            (b'E', body) => break body,
            (_, body) => bytes += body.len(),
        }
    };
    println!("{} MB were queued of {} MB", bytes >> 20, (rounds * 2 * text.len()) >> 20);
    assert!(bytes < 120 << 20, "{bytes} bytes");
    assert_eq!(error_field(&error, b'C').as_deref(), Some("53400"));
    assert!(error_field(&error, b'H').is_some_and(|h| h.contains("AS OF")), "{error:?}");
}
