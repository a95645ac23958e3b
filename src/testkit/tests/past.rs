//! `SELECT ... AS OF` and `RETAIN HISTORY`: relations as they were, after restarts too.

use hw_testkit::Server;
use hw_testkit::expect::{must, refused, shown};
use hw_testkit::rows::{rows, run};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_postgres::Client;

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// A time at which everything up to now has been acknowledged, and nothing more.
async fn moment() -> u64 {
    tokio::time::sleep(Duration::from_millis(10)).await;
    let now = now_ms();
    tokio::time::sleep(Duration::from_millis(10)).await;
    now
}

const QUERIES: [&str; 5] = [
    "SELECT k, v FROM t ORDER BY k",
    "SELECT v FROM t WHERE k = 2",
    "SELECT g, n, s FROM v ORDER BY g",
    "SELECT g, n FROM v WHERE n = 2 ORDER BY g",
    "SELECT t.k, v.n FROM t JOIN v ON v.g = t.v ORDER BY t.k",
];

/// What each query gives now.
async fn all(client: &Client) -> Vec<Vec<String>> {
    let mut out = vec![];
    for sql in QUERIES {
        out.push(shown(client, sql).await);
    }
    out
}

/// Every moment looks as it did.
async fn check(client: &Client, moments: &[(u64, Vec<Vec<String>>)], when: &str) {
    for (at, before) in moments {
        for (sql, before) in QUERIES.iter().zip(before) {
            assert_eq!(&shown(client, &format!("{sql} AS OF {at}")).await, before, "{when}: {sql} AS OF {at}");
        }
    }
}

/// Catches: history that a checkpoint, the log's tail or another number of workers does not keep.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_retained_is_there_after_restarts() {
    let flags = ["--workers", "2", "--checkpoint-interval", "3600", "--subscribe-resume", "0"];
    let mut server = Server::start(&flags).expect("the server starts");
    let mut client = server.connect().await.expect("connect");
    must(&client, "CREATE TABLE t (k int PRIMARY KEY, v int) WITH (RETAIN HISTORY = '1 hour')").await;
    must(
        &client,
        "CREATE MATERIALIZED VIEW v WITH (RETAIN HISTORY FOR '1h') AS SELECT v AS g, count(*) AS n, sum(k) AS s FROM t GROUP BY v",
    )
    .await;
    must(&client, "CREATE INDEX v_n ON v (n)").await;
    let first = moment().await;
    let mut moments = vec![(first, all(&client).await)];
    for (round, way) in ["kill", "checkpoint and kill", "another number of workers", "clean"].iter().enumerate() {
        for sql in [
            "INSERT INTO t VALUES ({}1, 1), ({}2, 2), ({}3, 1)",
            "UPDATE t SET v = v + 1 WHERE v = 1",
            "DELETE FROM t WHERE k % 10 = 3",
            "INSERT INTO t VALUES ({}4, 2) ON CONFLICT DO NOTHING",
        ] {
            let sql = sql.replace("{}", &if round == 0 { String::new() } else { round.to_string() });
            if let Err(e) = run(&client, &sql).await {
                assert_eq!(e.code, "0A000", "{sql}: {e}");
            }
            let at = moment().await;
            moments.push((at, all(&client).await));
        }
        check(&client, &moments, "running").await;
        match *way {
            "kill" => {
                server.kill().expect("kill");
                server.restart().expect("restart");
            }
            "clean" => {
                server.terminate().expect("terminate");
                while server.is_running() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                server.restart().expect("restart");
            }
            other => {
                must(&client, "CHECKPOINT").await;
                must(&client, "INSERT INTO t VALUES (99, 1)").await;
                must(&client, "DELETE FROM t WHERE k = 99").await;
                server.kill().expect("kill");
                let workers = if other.starts_with("another") { "3" } else { "2" };
                server.restart_with(&[&["--workers", workers], &flags[2..]].concat()).expect("restart");
            }
        }
        client = server.connect().await.expect("connect");
        check(&client, &moments, way).await;
    }
    let before = refused(&client, &format!("SELECT * FROM v AS OF {}", first - 3_600_000)).await;
    assert_eq!(before.code, "55000", "{before}");
    let created = shown(&client, "SHOW CREATE MATERIALIZED VIEW v").await.join(" ");
    assert!(created.contains("WITH (RETAIN HISTORY = '1h')"), "{created}");
    let created = shown(&client, "SHOW CREATE TABLE t").await.join(" ");
    assert!(created.contains("WITH (RETAIN HISTORY = '1 hour')"), "{created}");
}

/// Catches: history that is kept for longer than asked for, or not as long.
#[tokio::test(flavor = "multi_thread")]
async fn history_goes_back_as_far_as_it_was_asked_for() {
    let server = Server::start(&[]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    must(&client, "CREATE TABLE t (k int) WITH (RETAIN HISTORY = '2 seconds')").await;
    must(&client, "CREATE TABLE plain (k int)").await;
    must(&client, "INSERT INTO t VALUES (1)").await;
    must(&client, "INSERT INTO plain VALUES (1)").await;
    let at = moment().await;
    for k in 0..10 {
        must(&client, &format!("INSERT INTO t VALUES ({k})")).await;
        must(&client, &format!("INSERT INTO plain VALUES ({k})")).await;
    }
    assert_eq!(shown(&client, &format!("SELECT count(*) FROM t AS OF {at}")).await, ["1"]);
    let none = refused(&client, &format!("SELECT count(*) FROM plain AS OF {at}")).await;
    assert_eq!(none.code, "55000", "{none}");
    assert!(none.message.contains("\"plain\"") && none.more.contains("RETAIN HISTORY"), "{none}");
    tokio::time::sleep(Duration::from_millis(2500)).await;
    must(&client, "INSERT INTO t VALUES (11)").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(refused(&client, &format!("SELECT count(*) FROM t AS OF {at}")).await.code, "55000");
    // A reader holds its time.
    must(&client, "BEGIN").await;
    assert_eq!(shown(&client, "SELECT count(*) FROM t").await, ["12"]);
    let (server2, at) = (server.connect().await.expect("connect"), moment().await);
    must(&server2, "INSERT INTO t VALUES (12)").await;
    assert_eq!(shown(&client, "SELECT count(*) FROM t").await, ["12"]);
    assert_eq!(shown(&client, &format!("SELECT count(*) FROM t AS OF {at}")).await, ["12"]);
    must(&client, "COMMIT").await;
    assert_eq!(shown(&client, "SELECT count(*) FROM t").await, ["13"]);
}

/// Catches: a time that is misread.
#[tokio::test(flavor = "multi_thread")]
async fn ways_to_name_a_time() {
    let server = Server::start(&[]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    must(&client, "CREATE TABLE t (k int) WITH (RETAIN HISTORY = '1 hour')").await;
    must(&client, "INSERT INTO t VALUES (1)").await;
    let at = moment().await;
    must(&client, "INSERT INTO t VALUES (2)").await;
    let iso = &shown(&client, &format!("SELECT to_timestamp({at} / 1000.0)::timestamptz")).await;
    for (time, rows) in [
        (format!("{at}"), "1"),
        (format!("'{}'", iso[0]), "1"),
        (format!("TIMESTAMPTZ '{}'", iso[0]), "1"),
        (format!("CAST({at} AS bigint)"), "1"),
        ("now()".into(), "2"),
        (format!("now() - '{} ms'::interval", now_ms() - at), "1"),
    ] {
        let got = rows_or(&client, &format!("SELECT count(*) FROM t AS OF {time}")).await;
        if !(time.contains("interval") && got == "2") {
            assert_eq!(got, rows, "{time}");
        }
    }
    // Nothing happens meanwhile: what is asked for is known once the clock has passed it.
    assert_eq!(rows_or(&client, &format!("SELECT count(*) FROM t AS OF {}", now_ms())).await, "2");
    assert_eq!(rows_or(&client, &format!("TABLE t AS OF {at}")).await, "1");
    assert_eq!(
        rows_or(&client, &format!("(SELECT k FROM t) UNION ALL (SELECT 7) ORDER BY k DESC LIMIT 1 AS OF {at}")).await,
        "7"
    );
    let ms = i64::try_from(at).expect("fits");
    let row = client.query_one("SELECT count(*) FROM t AS OF $1", &[&ms]).await.expect("a parameter");
    assert_eq!(row.get::<_, i64>(0), 1);
    must(&client, &format!("PREPARE p AS SELECT count(*) FROM t AS OF {at}")).await;
    assert_eq!(rows_or(&client, "EXECUTE p").await, "1");
    assert!(!shown(&client, &format!("EXPLAIN SELECT count(*) FROM t AS OF {at}")).await.is_empty());
    // An alias of that name is still one.
    assert_eq!(rows_or(&client, "SELECT 1 AS of").await, "1");
    assert_eq!(rows_or(&client, "SELECT count(*) FROM t AS of WHERE of.k = 1").await, "1");
    assert_eq!(rows_or(&client, "SELECT count(*) FROM t AS of, t AS b").await, "4");
}

async fn rows_or(client: &Client, sql: &str) -> String {
    shown(client, sql).await.join(",")
}

/// Catches: a statement whose AS OF is not heeded.
#[tokio::test(flavor = "multi_thread")]
async fn where_no_time_can_be_named() {
    let server = Server::start(&[]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    must(&client, "CREATE TABLE t (k int) WITH (RETAIN HISTORY = '1 hour')").await;
    must(&client, "CREATE SOURCE bids FROM GENERATOR NEXMARK (EVENTS 10, PREFIX 'n_')").await;
    must(&client, "INSERT INTO t VALUES (1)").await;
    let at = moment().await;
    for (sql, code) in [
        (format!("SELECT * FROM t AS OF {}", now_ms() + 60_000), "22023"),
        ("SELECT * FROM t AS OF -5".into(), "22023"),
        ("SELECT * FROM t AS OF 5".into(), "55000"),
        ("SELECT * FROM t AS OF NULL".into(), "42601"),
        ("SELECT * FROM t AS OF CAST(NULL AS bigint)".into(), "22004"),
        ("SELECT * FROM t AS OF 'some time'".into(), "22007"),
        ("SELECT * FROM t AS OF 99999999999999999999".into(), "22003"),
        (format!("CREATE VIEW w AS SELECT * FROM t AS OF {at}"), "0A000"),
        (format!("CREATE MATERIALIZED VIEW w AS SELECT * FROM t AS OF {at}"), "0A000"),
        (format!("INSERT INTO t SELECT * FROM t AS OF {at}"), "0A000"),
        (format!("EXPLAIN CREATE MATERIALIZED VIEW w AS SELECT * FROM t AS OF {at}"), "0A000"),
        (format!("SELECT * FROM headwater.views AS OF {at}"), "0A000"),
        (format!("SELECT * FROM n_bid AS OF {at}"), "0A000"),
        (format!("SELECT 1 AS OF {at}"), "0A000"),
        ("CREATE VIEW w WITH (RETAIN HISTORY = '1 hour') AS SELECT * FROM t".into(), "0A000"),
        ("CREATE TABLE u (k int) WITH (RETAIN HISTORY = '-1 hour')".into(), "22023"),
        ("CREATE TABLE u (k int) WITH (RETAIN HISTORY = 'long')".into(), "22023"),
        ("CREATE TABLE u (k int) WITH (RETAIN HISTORY = 5)".into(), "22023"),
        ("CREATE TABLE u (k int) WITH (RETAIN HISTORY = '1 hour', RETAIN HISTORY = '1 hour')".into(), "42601"),
        ("CREATE TABLE u (k int) WITH (RETAIN HISTORY = '1 hour') garbage".into(), "42601"),
        ("CREATE TABLE u (k int) WITH (RETAIN THINGS = '1 hour')".into(), "42601"),
    ] {
        let e = refused(&client, &sql).await;
        assert_eq!(e.code, code, "{sql}: {e}");
    }
}

/// Catches: contents of a time at which a relation was not there, or was being filled.
#[tokio::test(flavor = "multi_thread")]
async fn before_a_relation_was_there_nothing_is_known() {
    let flags = ["--workers", "2", "--checkpoint-interval", "3600"];
    let mut server = Server::start(&flags).expect("the server starts");
    let mut client = server.connect().await.expect("connect");
    for sql in [
        "CREATE SOURCE nexmark FROM GENERATOR NEXMARK (EVENTS PER SECOND 20000, PREFIX '')",
        "CREATE MATERIALIZED VIEW total WITH (RETAIN HISTORY = '1 hour') AS SELECT count(*) AS n FROM bid",
        "CREATE TABLE t (k int) WITH (RETAIN HISTORY = '1 hour')",
        "INSERT INTO t VALUES (1), (2)",
    ] {
        must(&client, sql).await;
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let before = moment().await;
    for sql in [
        "DROP TABLE t",
        "CREATE TABLE t (k int) WITH (RETAIN HISTORY = '1 hour')",
        "INSERT INTO t VALUES (3)",
        "CREATE MATERIALIZED VIEW late WITH (RETAIN HISTORY = '1 hour') AS SELECT auction, count(*) AS n FROM bid GROUP BY auction",
        "CREATE MATERIALIZED VIEW over WITH (RETAIN HISTORY = '1 hour') AS SELECT sum(n) AS n FROM late",
        "CREATE MATERIALIZED VIEW of_t WITH (RETAIN HISTORY = '1 hour') AS SELECT k FROM t",
    ] {
        must(&client, sql).await;
    }
    let mut times = vec![];
    for _ in 0..40 {
        times.push(now_ms());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rows_or(&client, "SELECT n FROM over").await;
    times.push(moment().await);
    tokio::time::sleep(Duration::from_millis(300)).await;
    for way in ["running", "killed", "killed after a checkpoint", "the same again"] {
        for relation in ["t", "of_t", "late", "over"] {
            for at in [before, before - 60_000] {
                let sql = format!("SELECT * FROM {relation} AS OF {at}");
                assert_eq!(refused(&client, &sql).await.code, "55000", "{way}: {sql}");
            }
        }
        let mut known = 0;
        for at in &times {
            let sql = "SELECT (SELECT n FROM total), (SELECT n FROM over), (SELECT sum(n) FROM late)";
            match rows(&client, &format!("{sql} AS OF {at}")).await {
                Ok(row) => {
                    assert!(row[0][0] == row[0][1] && row[0][0] == row[0][2], "{way}: at {at}: {row:?}");
                    known += 1;
                }
                Err(e) => assert_eq!(e.code, "55000", "{way}: {e}"),
            }
        }
        // Computed anew after the first kill, it has no past from before.
        assert!(known > 0 || way != "running", "{way}: nothing is known");
        if way == "killed" {
            must(&client, "CHECKPOINT").await;
        }
        server.kill().expect("kill");
        server.restart().expect("restart");
        client = server.connect().await.expect("connect");
        rows_or(&client, "SELECT n FROM over").await;
    }
}
