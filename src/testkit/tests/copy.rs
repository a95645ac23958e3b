//! COPY and transactions over the wire: all or nothing, one tick, and what comes out is what goes in.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hw_testkit::Server;
use hw_testkit::rows::{rows, run, value};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::Client;

async fn must(client: &Client, sql: &str) {
    run(client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

async fn count(client: &Client, table: &str) -> u64 {
    let n = value(client, &format!("SELECT count(*) FROM {table}")).await.expect("a count");
    n.and_then(|n| n.parse().ok()).expect("a number")
}

/// Sends a COPY in pieces that do not end where lines do.
async fn copy_in(client: &Client, sql: &str, text: &str) -> Result<u64, tokio_postgres::Error> {
    let sink = client.copy_in::<_, Bytes>(sql).await?;
    tokio::pin!(sink);
    for piece in text.as_bytes().chunks(10_007) {
        sink.send(Bytes::copy_from_slice(piece)).await?;
    }
    sink.finish().await
}

async fn copy_out(client: &Client, sql: &str) -> String {
    let stream = client.copy_out(sql).await.expect("COPY TO");
    tokio::pin!(stream);
    let mut all = vec![];
    while let Some(data) = stream.next().await {
        all.extend_from_slice(&data.expect("data"));
    }
    String::from_utf8(all).expect("UTF-8")
}

fn lines(range: std::ops::Range<u64>) -> String {
    range.map(|n| format!("{n}\trow {n}\n")).collect()
}

async fn now_ms(client: &Client) -> u64 {
    let now = value(client, "SELECT (extract(epoch FROM now()) * 1000)::bigint").await.expect("now");
    now.and_then(|n| n.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_fails_leaves_nothing() {
    let server = Server::start(&["--workers", "1"]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    must(&client, "CREATE TABLE t (id bigint PRIMARY KEY, v text CHECK (v <> 'bad'))").await;
    must(&client, "INSERT INTO t VALUES (70000, 'there')").await;
    let cases = [
        ("x\ty\n", "22P02", "COPY t, line 60001, column id: \"x\""),
        ("60000\tbad\n", "23514", "COPY t, line 60001"),
        ("70000\tdup\n", "23505", "COPY t, line 60001"),
        ("5\tdup\n", "23505", "COPY t, line 60001"),
        ("\\N\tnull\n", "23502", "COPY t, line 60001"),
        ("1\n", "22P04", "COPY t, line 60001: \"1\""),
    ];
    for (line, code, context) in cases {
        let text = format!("{}{line}{}", lines(0..60_000), lines(80_000..81_000));
        let e = copy_in(&client, "COPY t FROM STDIN", &text).await.expect_err("refused");
        let e = e.as_db_error().expect("an error of the server");
        assert_eq!((e.code().code(), e.where_()), (code, Some(context)), "{line:?}: {e}");
        assert_eq!(count(&client, "t").await, 1, "{line:?} has left rows");
    }
    // A client that gives up, and one that goes away.
    for gone in [false, true] {
        let other = server.connect().await.expect("connect");
        let sink = other.copy_in::<_, Bytes>("COPY t FROM STDIN").await.expect("COPY");
        let mut sink = Box::pin(sink);
        sink.send(Bytes::from(lines(0..50_000))).await.expect("send");
        sink.flush().await.expect("flush");
        drop(sink);
        if !gone {
            assert_eq!(count(&other, "t").await, 1, "the session goes on");
        }
        drop(other);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(count(&client, "t").await, 1, "a COPY that was given up has left rows");
    }
    assert_eq!(copy_in(&client, "COPY t FROM STDIN", &lines(0..60_000)).await.expect("it fits"), 60_000);
    assert_eq!(count(&client, "t").await, 60_001);
    let (some, text) = ("COPY t FROM STDIN WHERE id % 10 = 0 AND v <> 'row 90010'", lines(90_000..90_100));
    assert_eq!(copy_in(&client, some, &text).await.expect("it fits"), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_copied_out_can_be_copied_in() {
    let server = Server::start(&["--workers", "1"]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    let columns =
        "(id int, t text, n numeric, d date, ts timestamptz, b bytea, j jsonb, a text[], f float8, i interval)";
    must(&client, &format!("CREATE TABLE a {columns}")).await;
    must(
        &client,
        "INSERT INTO a VALUES \
         (1, E'tab\\t nl\\n cr\\r bs\\\\ q\" c, \\\\N', 1.50, '2020-02-29', '2020-01-01 12:00+00', '\\x00ff5c', \
          '{\"a\": \"x\\\\ny\"}', ARRAY['a,b', E'q\"', NULL, ''], 'NaN', '1 day 2 hours'), \
         (2, '', 'NaN', 'infinity', '-infinity', '', 'null', '{}', '-Infinity', '-1 mon'), \
         (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
         (4, '\\N', 0.000, '0044-03-15 BC', '1900-01-01', '\\x41', '[1, 2.50]', ARRAY[E'\\\\'], 0.1, '0'), \
         (5, '\\.', -1, '2000-01-01', '2000-01-01', '\\x5c2e', '\"\\\\\\\\.\"', ARRAY['NULL', ' '], 1e300, '1 us')",
    )
    .await;
    let ways = [
        "",
        " WITH (FORMAT csv)",
        " WITH (FORMAT csv, FORCE_QUOTE *, DELIMITER ';')",
        " WITH (FORMAT csv, QUOTE '''', ESCAPE '!', NULL 'nil', HEADER)",
        " WITH (DELIMITER '|', NULL '~', HEADER)",
    ];
    for (n, with) in ways.iter().enumerate() {
        let text = copy_out(&client, &format!("COPY a TO STDOUT{with}")).await;
        must(&client, &format!("CREATE TABLE b{n} {columns}")).await;
        let with = with.replace("FORCE_QUOTE *, ", "");
        let copied = copy_in(&client, &format!("COPY b{n} FROM STDIN{with}"), &text).await;
        assert_eq!(copied.unwrap_or_else(|e| panic!("{with}: {e}\n{text}")), 5, "{with}");
        for (one, other) in [("a".to_string(), format!("b{n}")), (format!("b{n}"), "a".to_string())] {
            let differ = format!(
                "SELECT id, t, n, d, ts, b, a, f, i, j::text FROM {one} EXCEPT ALL \
                                  SELECT id, t, n, d, ts, b, a, f, i, j::text FROM {other}"
            );
            let left = rows(&client, &differ).await.expect("a comparison");
            assert!(left.is_empty(), "{with}: {left:?}\n{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_one_tick() {
    let server = Server::start(&["--workers", "2"]).expect("the server starts");
    let (client, other) = (server.connect().await.expect("connect"), server.connect().await.expect("connect"));
    must(&client, "CREATE TABLE t (id bigint PRIMARY KEY, v text)").await;
    must(&client, "CREATE TABLE u (id bigint PRIMARY KEY, w int)").await;
    must(
        &client,
        "CREATE MATERIALIZED VIEW v WITH (RETAIN HISTORY = '1 hour') AS \
         SELECT 't' AS name, count(*) AS n FROM t UNION ALL SELECT 'u', count(*) FROM u",
    )
    .await;
    let begun = now_ms(&client).await;
    copy_in(&client, "COPY t FROM STDIN", &lines(0..40_000)).await.expect("COPY");
    must(&client, "BEGIN").await;
    copy_in(&client, "COPY t FROM STDIN", &lines(40_000..60_000)).await.expect("COPY");
    for n in 0..300 {
        must(&client, &format!("INSERT INTO u VALUES ({n}, 1)")).await;
    }
    must(&client, "DELETE FROM t WHERE id < 10000").await;
    assert_eq!(value(&client, "SELECT sum(n) FROM v").await.expect("v"), Some("50300".into()));
    assert_eq!(value(&other, "SELECT sum(n) FROM v").await.expect("v"), Some("40000".into()), "seen before COMMIT");
    must(&client, "COMMIT").await;
    assert_eq!(value(&other, "SELECT sum(n) FROM v").await.expect("v"), Some("50300".into()));
    let ended = now_ms(&client).await + 1;
    let changes = format!("SUBSCRIBE v AS OF {begun} UP TO {ended}");
    let mut ticks: BTreeMap<u64, Vec<(String, u64, i64)>> = BTreeMap::new();
    for row in rows(&client, &changes).await.expect("changes") {
        let text = |i: usize| row[i].clone().expect("a value");
        let change = (text(2), text(3).parse().expect("n"), text(1).parse().expect("diff"));
        ticks.entry(text(0).parse().expect("a time")).or_default().push(change);
    }
    let mut now: BTreeMap<(String, u64), i64> = BTreeMap::new();
    for (time, changes) in &ticks {
        changes.iter().for_each(|(name, n, diff)| *now.entry((name.clone(), *n)).or_default() += diff);
        now.retain(|_, diff| *diff != 0);
        let shown: Vec<(&str, u64)> = now.keys().map(|(name, n)| (name.as_str(), *n)).collect();
        let whole = [[("t", 0), ("u", 0)], [("t", 40_000), ("u", 0)], [("t", 50_000), ("u", 300)]];
        assert!(whole.iter().any(|w| *w == shown.as_slice()), "part of a write is seen at {time}: {shown:?}");
    }
    assert_eq!(now.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_cut_off_leaves_no_transaction_open() {
    let server = Server::start(&["--workers", "1"]).expect("the server starts");
    let (client, other) = (server.connect().await.expect("connect"), server.connect().await.expect("connect"));
    must(&client, "CREATE TABLE t (id bigint PRIMARY KEY, v bigint)").await;
    copy_in(&client, "COPY t (id) FROM STDIN", &(0..3000).map(|n| format!("{n}\n")).collect::<String>())
        .await
        .expect("COPY");
    must(&client, "SET statement_timeout = '300ms'").await;
    let long = "UPDATE t SET v = (SELECT count(*) FROM t a, t b, t c WHERE a.id + b.id + c.id > t.id)";
    let e = run(&client, long).await.expect_err("it takes too long");
    assert_eq!(e.code, "57014", "{e}");
    must(&client, "SET statement_timeout = 0").await;
    must(&client, "INSERT INTO t VALUES (-1, 1)").await;
    assert_eq!(count(&other, "t").await, 3001, "an acknowledged row is not there");
    assert_eq!(value(&other, "SELECT count(v) FROM t").await.expect("t"), Some("1".into()));
}
