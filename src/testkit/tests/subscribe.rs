//! SUBSCRIBE, as docs/sql.md describes it: snapshot, changes, PROGRESS, AS OF, UP TO, its errors and its end.

use hw_testkit::expect::{refused, shown};
use hw_testkit::rows::run;
use hw_testkit::{Follower, Server, contents_at};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

async fn started(statements: &[&str]) -> (Server, Client) {
    let server = Server::start(&["--workers", "2"]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    for sql in statements {
        run(&client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    (server, client)
}

/// Runs each statement and gives the tick that it took effect at, as a subscription shows it.
async fn ticks(server: &Server, client: &Client, relation: &str, statements: &[&str]) -> Vec<u64> {
    let mut follower = Follower::start(server, relation).await.expect("subscribe");
    follower.until(0).await.expect("the snapshot");
    follower.record();
    let mut times = vec![];
    for sql in statements {
        run(client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        let before = times.len();
        while times.len() == before {
            follower.step().await.expect("subscribe");
            let snapshot = follower.first_time();
            times = follower.transcript().map(|(t, _)| t).filter(|t| Some(*t) != snapshot).collect();
        }
    }
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_changes_and_bounds() {
    let (server, client) = started(&["CREATE TABLE t (a int, b text)", "INSERT INTO t VALUES (0, 'z')"]).await;
    let all = [
        "INSERT INTO t VALUES (1, 'x'), (1, 'x'), (2, NULL)",
        "UPDATE t SET b = 'y' WHERE a = 2",
        "DELETE FROM t WHERE a = 1",
    ];
    let at = ticks(&server, &client, "t", &all).await;
    let (t1, t2, t3) = (at[0], at[1], at[2]);
    let mut got = shown(&client, &format!("SUBSCRIBE TO t AS OF {t1} UP TO {}", t3 + 1)).await;
    got.sort();
    let mut want = vec![
        format!("{t1} 1 0 z"),
        format!("{t1} 2 1 x"),
        format!("{t1} 1 2 NULL"),
        format!("{t2} -1 2 NULL"),
        format!("{t2} 1 2 y"),
        format!("{t3} -2 1 x"),
    ];
    want.sort();
    assert_eq!(got, want);
    // UP TO is exclusive; without a snapshot only what comes after AS OF is shown.
    let got = shown(&client, &format!("SUBSCRIBE t WITH (SNAPSHOT = false) AS OF {t1} UP TO {t3}")).await;
    let mut got = got;
    got.sort();
    assert_eq!(got, [format!("{t2} -1 2 NULL"), format!("{t2} 1 2 y")]);
    let got = shown(&client, &format!("SUBSCRIBE t WITH (SNAPSHOT false) AS OF {t3} UP TO {}", t3 + 1)).await;
    assert!(got.is_empty(), "{got:?}");
    // Nothing is below a bound that is not above the start.
    let begun = Instant::now();
    assert!(shown(&client, &format!("SUBSCRIBE t AS OF {t3} UP TO {t3}")).await.is_empty());
    assert!(shown(&client, &format!("SUBSCRIBE t AS OF {t3} UP TO {t1}")).await.is_empty());
    assert!(begun.elapsed() < Duration::from_secs(5));
    // The snapshot comes at once, not with the next tick.
    let begun = Instant::now();
    for _ in 0..20 {
        shown(&client, &format!("SUBSCRIBE t AS OF {t3} UP TO {}", t3 + 1)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "20 snapshots took {:?}", begun.elapsed());
    // A bound in the future is reached although nothing changes.
    let soon = t3 + 3000 + begun.elapsed().as_millis() as u64;
    let got = shown(&client, &format!("SUBSCRIBE t WITH (SNAPSHOT false) AS OF {t3} UP TO {soon}")).await;
    assert!(got.is_empty(), "{got:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_says_what_is_complete() {
    let (server, client) = started(&["CREATE TABLE t (a int)"]).await;
    let at = ticks(&server, &client, "t", &["INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)"]).await;
    let end = at[1] + 1;
    let got = shown(&client, &format!("SUBSCRIBE t WITH (PROGRESS) AS OF {} UP TO {end}", at[0])).await;
    let changes: Vec<&String> = got.iter().filter(|r| r.contains(" f ")).collect();
    assert_eq!(changes, [&format!("{} f 1 1", at[0]), &format!("{} f 1 2", at[1])]);
    let progress: Vec<&String> = got.iter().filter(|r| r.contains(" t ")).collect();
    assert_eq!(got.last(), Some(&format!("{end} t NULL NULL")));
    assert!(!progress.is_empty() && progress.iter().all(|r| r.ends_with(" t NULL NULL")), "{progress:?}");
    let described = client.prepare("SUBSCRIBE t WITH (PROGRESS)").await.expect("prepare");
    let columns: Vec<(&str, &str)> = described.columns().iter().map(|c| (c.name(), c.type_().name())).collect();
    assert_eq!(columns, [("hw_timestamp", "int8"), ("hw_progressed", "bool"), ("hw_diff", "int8"), ("a", "int4")]);
    let described = client.prepare("SUBSCRIBE t").await.expect("prepare");
    assert_eq!(described.columns().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_still_says_that_time_passes() {
    let (server, _client) = started(&["CREATE TABLE t (a int)"]).await;
    let mut follower = Follower::start(&server, "t").await.expect("subscribe");
    follower.until(0).await.expect("the snapshot");
    for _ in 0..3 {
        let (begun, upper) = (Instant::now(), follower.upper());
        follower.until(upper).await.expect("progress");
        assert!(begun.elapsed() < Duration::from_millis(1300), "no progress for {:?}", begun.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_kept_from_the_first_subscription_on() {
    let (server, client) = started(&["CREATE TABLE t (a int)", "CREATE TABLE u (a int)"]).await;
    let at = ticks(&server, &client, "t", &["INSERT INTO t VALUES (1)"]).await;
    for i in 0..50 {
        run(&client, &format!("INSERT INTO u VALUES ({i})")).await.expect("insert");
    }
    let got = shown(&client, &format!("SUBSCRIBE t AS OF {0} UP TO {1}", at[0], at[0] + 1)).await;
    assert_eq!(got, [format!("{} 1 1", at[0])]);
    // Nobody has subscribed to u.
    let e = refused(&client, &format!("SUBSCRIBE u AS OF {} UP TO {}", at[0], at[0] + 1)).await;
    assert_eq!(e.code, "55000");
    let since: u64 = e.message.split_whitespace().find_map(|w| w.parse().ok()).expect("the message names since");
    assert!(since > at[0], "{e}");
    let later = shown(&client, &format!("SUBSCRIBE u WITH (SNAPSHOT false) AS OF {since} UP TO {}", since + 1)).await;
    assert!(later.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_was_shown_is_the_same_after_kill_9() {
    let statements = [
        "CREATE TABLE t (a int)",
        "CREATE MATERIALIZED VIEW v AS SELECT a % 3 AS r, count(*) AS n FROM t GROUP BY a % 3",
        "CREATE MATERIALIZED VIEW w AS SELECT max(n) AS m FROM v",
        "CREATE INDEX ON v (n)",
        // What nobody subscribes to keeps no history, and must not take that of others with it.
        "CREATE TABLE other (x int)",
        "CREATE MATERIALIZED VIEW of_other AS SELECT x, count(*) AS n FROM other GROUP BY x",
    ];
    let (mut server, client) = started(&statements).await;
    let mut follower = Follower::start(&server, "v").await.expect("subscribe");
    let mut above = Follower::start(&server, "w").await.expect("subscribe");
    follower.record();
    above.record();
    let mut last = 0;
    for i in 0..20 {
        run(&client, &format!("INSERT INTO t VALUES ({i}), ({})", i * 7)).await.expect("insert");
        run(&client, &format!("INSERT INTO other VALUES ({i})")).await.expect("insert");
        if i % 8 == 7 {
            run(&client, "CHECKPOINT").await.expect("checkpoint");
        }
        let upper = follower.upper();
        follower.until(upper).await.expect("subscribe");
        last = follower.upper() - 1;
        above.until(last).await.expect("subscribe");
    }
    server.kill().expect("kill");
    server.restart().expect("restart");
    let client = server.connect().await.expect("connect");
    let mut checked = 0;
    for one in [&follower, &above] {
        for (time, contents) in one.transcript().filter(|(t, _)| *t <= last) {
            let again = contents_at(&client, one.name(), time).await;
            let again = again.unwrap_or_else(|e| panic!("{} AS OF {time}: {e}", one.name()));
            assert_eq!(&again, contents, "{} at {time}", one.name());
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_followed_is_refused() {
    let (_server, client) = started(&["CREATE TABLE t (a int)", "CREATE VIEW v AS SELECT a FROM t"]).await;
    let codes = [
        ("SUBSCRIBE nothing", "42P01"),
        ("SUBSCRIBE t WITH (SNAPSHOTS)", "42601"),
        ("SUBSCRIBE t WITH (PROGRESS = maybe)", "42601"),
        ("SUBSCRIBE t AS OF 'yesterday'", "42601"),
        ("SUBSCRIBE t AS OF -5", "22023"),
        ("SUBSCRIBE v", "0A000"),
        ("SUBSCRIBE headwater.views", "0A000"),
    ];
    for (sql, code) in codes {
        let e = refused(&client, sql).await;
        assert_eq!(e.code, code, "{sql}: {e} {}", e.more);
    }
    let e = refused(&client, "SUBSCRIBE t WITH (SNAPSHOTS)").await;
    assert!(e.more.contains("SNAPSHOT") && e.more.contains("PROGRESS"), "{e:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn drop_cancel_and_timeout_end_it() {
    let (server, client) = started(&["CREATE TABLE t (a int)", "CREATE MATERIALIZED VIEW v AS SELECT a FROM t"]).await;
    let other = server.connect().await.expect("connect");
    let dropping = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        run(&other, "DROP MATERIALIZED VIEW v").await.expect("drop");
    };
    let (e, ()) = tokio::join!(refused(&client, "SUBSCRIBE v"), dropping);
    assert_eq!(e.code, "42P01", "{e}");
    let token = client.cancel_token();
    let cancelling = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(tokio_postgres::NoTls).await.expect("cancel");
        Instant::now()
    };
    let (e, at) = tokio::join!(refused(&client, "SUBSCRIBE t"), cancelling);
    assert_eq!(e.code, "57014", "{e}");
    assert!(at.elapsed() < Duration::from_secs(1));
    run(&client, "SET statement_timeout = '300ms'").await.expect("set");
    let e = refused(&client, "SUBSCRIBE t").await;
    assert_eq!((e.code.as_str(), e.message.contains("timeout")), ("57014", true), "{e}");
    run(&client, "RESET statement_timeout").await.expect("reset");
    assert_eq!(run(&client, "INSERT INTO t VALUES (1)").await, Ok(1), "the connection is as good as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn portals_take_as_many_rows_as_they_ask_for() {
    let (server, mut client) = started(&["CREATE TABLE t (a int)", "INSERT INTO t VALUES (1), (2), (3)"]).await;
    let other = server.connect().await.expect("connect");
    let transaction = client.transaction().await.expect("begin");
    let statement = transaction.prepare("SUBSCRIBE t").await.expect("prepare");
    let portal = transaction.bind(&statement, &[]).await.expect("bind");
    let first = transaction.query_portal(&portal, 2).await.expect("rows");
    assert_eq!(first.len(), 2);
    let second = transaction.query_portal(&portal, 1).await.expect("rows");
    assert_eq!((second.len(), second[0].get::<_, i64>(1)), (1, 1));
    run(&other, "DELETE FROM t WHERE a = 2").await.expect("delete");
    let third = transaction.query_portal(&portal, 1).await.expect("rows");
    assert_eq!((third[0].get::<_, i64>(1), third[0].get::<_, i32>(2)), (-1, 2));
    transaction.rollback().await.expect("rollback");
}
