//! Errors as data, over the wire: a table of which one row in a hundred fails, in views that fail with it and in views that
//! leave such rows out, through restarts, until the rows are gone.

use hw_testkit::expect::{must, refused, shown};
use hw_testkit::raw::{RawClient, error_field};
use hw_testkit::rows::{bag, difference};
use hw_testkit::{FollowError, Follower, Server};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio_postgres::Client;

const ROWS: i64 = 3000;

/// Name, whether it is a DEAD LETTER view, its query, and that query over the rows that do not fail.
const VIEWS: &[(&str, bool, &str, &str)] = &[
    ("quotients", false, "SELECT id, a / b AS r FROM t", "SELECT id, a / b AS r FROM t WHERE b <> 0"),
    ("quotients_left", true, "SELECT id, a / b AS r FROM t", "SELECT id, a / b AS r FROM t WHERE b <> 0"),
    ("numbers", true, "SELECT id, s::int AS n FROM t", "SELECT id, s::int AS n FROM t WHERE s <> 'none'"),
    ("totals", false, "SELECT id % 10 AS g, sum(r) AS s, count(*) AS n FROM quotients GROUP BY 1", ""),
    (
        "totals_left",
        false,
        "SELECT id % 10 AS g, sum(r) AS s, count(*) AS n FROM quotients_left GROUP BY 1",
        "SELECT id % 10 AS g, sum(a / b) AS s, count(*) AS n FROM t WHERE b <> 0 GROUP BY 1",
    ),
    (
        "joined",
        true,
        "SELECT q.id, u.name FROM quotients q JOIN u ON u.k = q.r",
        "SELECT q.id, u.name FROM (SELECT id, a / b AS r FROM t WHERE b <> 0) q JOIN u ON u.k = q.r",
    ),
];

async fn started(flags: &[&str]) -> (Server, Client) {
    let server = Server::start(flags).expect("the server starts");
    let client = server.connect().await.expect("connect");
    must(&client, "CREATE TABLE t (id int PRIMARY KEY, a int, b int, s text)").await;
    must(&client, "CREATE TABLE u (k int, name text)").await;
    must(&client, "INSERT INTO u VALUES (1, 'one'), (2, 'two'), (7, 'seven')").await;
    (server, client)
}

async fn create_views(client: &Client) {
    for (name, dead_letter, sql, _) in VIEWS {
        let with = if *dead_letter { " WITH (ON ERROR = DEAD LETTER)" } else { "" };
        must(client, &format!("CREATE MATERIALIZED VIEW {name}{with} AS {sql}")).await;
    }
}

/// Rows, one in a hundred with a divisor of 0, another one with a text that is no number.
async fn fill(client: &Client, ids: std::ops::Range<i64>) {
    let row = |id: i64| {
        let b = if id % 100 == 7 { 0 } else { 1 + id % 9 };
        let s = if id % 100 == 50 { "none".into() } else { id.to_string() };
        format!("({id}, {}, {b}, '{s}')", id % 50)
    };
    let rows: Vec<String> = ids.map(row).collect();
    must(client, &format!("INSERT INTO t VALUES {}", rows.join(", "))).await;
}

/// Every view has the rows that do not fail, or fails; and every row that fails is listed.
async fn check(client: &Client, when: &str) {
    let failing = shown(client, "SELECT id FROM t WHERE b = 0 ORDER BY id").await;
    let texts = shown(client, "SELECT id FROM t WHERE s = 'none' ORDER BY id").await;
    for (name, dead_letter, sql, good) in VIEWS {
        let (all, good) = (format!("SELECT * FROM {name}"), if good.is_empty() { sql } else { good });
        let reads_left = *name == "totals_left";
        if !failing.is_empty() && !dead_letter && !reads_left {
            let e = refused(client, &all).await;
            assert_eq!((e.code.as_str(), e.message.as_str()), ("22012", "division by zero"), "{when}: {name}");
            assert!(e.more.contains(&format!("headwater.view_errors WHERE view = '{name}'")), "{when}: {e:?}");
            assert!(e.more.contains("ON ERROR = DEAD LETTER") && e.more.contains("in a / b"), "{when}: {e:?}");
        } else {
            let rows = bag(client, &all).await.unwrap_or_else(|e| panic!("{when}: {name}: {e}"));
            let expected = bag(client, good).await.unwrap_or_else(|e| panic!("{when}: {good}: {e}"));
            assert!(rows == expected, "{when}: {name}: {}", difference(&rows, &expected));
        }
        let wanted = match *name {
            "numbers" => &texts,
            _ if reads_left => &vec![],
            _ => &failing,
        };
        let errors = format!(
            "SELECT (\"row\" ->> 'id')::int AS id FROM headwater.view_errors WHERE view = '{name}' AND count = 1 ORDER BY 1"
        );
        assert_eq!(&shown(client, &errors).await, wanted, "{when}: errors of {name}");
    }
    let counted = shown(client, "SELECT name, errors FROM headwater.views WHERE errors > 0 ORDER BY 1").await;
    let names = if failing.is_empty() { 0 } else { 4 } + usize::from(!texts.is_empty());
    assert_eq!(counted.len(), names, "{when}: {counted:?}");
}

/// Catches: errors that a restart doubles, loses or cannot retract, with any number of workers.
#[tokio::test(flavor = "multi_thread")]
async fn errors_come_and_go_with_their_rows_through_restarts() {
    let flags = |workers: &'static str| ["--workers", workers, "--checkpoint-interval", "3600"];
    let (mut server, client) = started(&flags("1")).await;
    fill(&client, 0..ROWS / 2).await;
    // Views are filled from what is there, and go on with what comes.
    create_views(&client).await;
    check(&client, "filled").await;
    fill(&client, ROWS / 2..ROWS).await;
    check(&client, "more rows").await;
    server.kill().expect("kill");
    server.restart_with(&flags("2")).expect("restart");
    let client = server.connect().await.expect("connect");
    check(&client, "killed without a checkpoint").await;
    must(&client, "CHECKPOINT").await;
    must(&client, "DELETE FROM t WHERE b = 0 AND id < 1000").await;
    must(&client, "UPDATE t SET a = a + 1 WHERE id % 100 = 7").await;
    must(&client, "UPDATE t SET s = 'none' WHERE id = 3").await;
    check(&client, "some are gone").await;
    server.kill().expect("kill");
    server.restart_with(&flags("4")).expect("restart");
    let client = server.connect().await.expect("connect");
    check(&client, "killed after a checkpoint").await;
    must(&client, "SELECT headwater.compact()").await;
    check(&client, "compacted").await;
    must(&client, "CHECKPOINT").await;
    server.kill().expect("kill");
    server.restart_with(&flags("1")).expect("restart");
    let client = server.connect().await.expect("connect");
    check(&client, "killed at a checkpoint").await;
    // Computed anew, they correct what was shown of their errors.
    server.kill().expect("kill");
    let anew = ["--recompute", "quotients", "--recompute", "numbers", "--recompute", "joined"];
    server.restart_with(&[&flags("2")[..], &anew[..]].concat()).expect("restart");
    let client = server.connect().await.expect("connect");
    check(&client, "computed anew").await;
    must(&client, "UPDATE t SET b = 2 WHERE b = 0").await;
    must(&client, "DELETE FROM t WHERE s = 'none'").await;
    check(&client, "none is left").await;
    assert!(shown(&client, "SELECT view FROM headwater.view_errors").await.is_empty());
    server.kill().expect("kill");
    server.restart_with(&flags("2")).expect("restart");
    let client = server.connect().await.expect("connect");
    check(&client, "restarted without errors").await;
    let created = shown(&client, "SHOW CREATE MATERIALIZED VIEW numbers").await.join("");
    assert!(created.contains("numbers (id, n) WITH (ON ERROR = DEAD LETTER) AS SELECT"), "{created}");
}

/// Severity, SQLSTATE, message and hint of the notices of a statement.
fn notices(client: &mut RawClient, sql: &str) -> Vec<[String; 4]> {
    client.query(sql).expect("send");
    let mut out = vec![];
    loop {
        match client.message().expect("an answer") {
            (b'N', body) => out.push([b'S', b'C', b'M', b'H'].map(|f| error_field(&body, f).unwrap_or_default())),
            (b'E', body) => panic!("{sql}: {:?}", error_field(&body, b'M')),
            (b'Z', _) => return out,
            _ => {}
        }
    }
}

/// Catches: rows that are left out in silence.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_is_counted_in_a_warning() {
    let (server, client) = started(&["--workers", "2"]).await;
    create_views(&client).await;
    let mut raw = RawClient::login(server.pg_addr).expect("login");
    assert!(notices(&mut raw, "SELECT * FROM quotients_left").is_empty());
    fill(&client, 0..200).await;
    let hint = "SELECT * FROM headwater.view_errors WHERE view = 'quotients_left' lists them.";
    let warning = |message: &str| vec![["WARNING", "01000", message, hint].map(str::to_owned)];
    let direct = warning("2 rows are left out of \"quotients_left\": computing them fails");
    assert_eq!(notices(&mut raw, "SELECT count(*) FROM quotients_left"), direct);
    assert_eq!(notices(&mut raw, "SELECT l.r FROM quotients_left l JOIN quotients_left r ON l.id = r.id"), direct);
    must(&client, "CREATE TABLE copy (id int, r int)").await;
    assert_eq!(notices(&mut raw, "INSERT INTO copy SELECT * FROM quotients_left"), direct);
    let through = warning(
        "2 rows are left out of \"quotients_left\", which \"totals_left\" is computed from: computing them fails",
    );
    assert_eq!(notices(&mut raw, "SELECT * FROM totals_left"), through);
    assert!(notices(&mut raw, "SELECT * FROM t").is_empty());
    must(&client, "DELETE FROM t WHERE id = 7").await;
    let one = warning("1 row is left out of \"quotients_left\": computing them fails");
    assert_eq!(notices(&mut raw, "TABLE quotients_left"), one);
    must(&client, "UPDATE t SET b = 1 WHERE b = 0").await;
    assert!(notices(&mut raw, "TABLE quotients_left").is_empty());
}

/// Catches: a subscription that goes on, or that loses what came before the error, or that ends for what is left out.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_ends_with_the_error_at_its_time() {
    let (server, client) = started(&["--workers", "2"]).await;
    create_views(&client).await;
    must(&client, "INSERT INTO t VALUES (1, 10, 2, '1')").await;
    let mut strict = Follower::start(&server, "quotients").await.expect("subscribe");
    let mut totals = Follower::start(&server, "totals").await.expect("subscribe");
    let mut left = Follower::start(&server, "quotients_left").await.expect("subscribe");
    let row = |id: &str, r: &str| vec![Some(id.to_owned()), Some(r.to_owned())];
    let begun = strict.until_row(|r| *r == row("1", "5")).await.expect("the snapshot");
    left.until_row(|r| *r == row("1", "5")).await.expect("the snapshot");
    must(&client, "INSERT INTO t VALUES (2, 12, 3, '2')").await;
    must(&client, "INSERT INTO t VALUES (3, 1, 0, '3'), (4, 4, 1, '4')").await;
    must(&client, "DELETE FROM t WHERE id = 3").await;
    must(&client, "INSERT INTO t VALUES (5, 5, 1, '5')").await;
    let end = loop {
        if let Err(e) = strict.step().await {
            break e;
        }
    };
    let FollowError::Ended(e) = end else { panic!("{end}") };
    assert_eq!((e.code.as_str(), e.message.as_str()), ("22012", "division by zero"));
    assert!(e.more.contains("for {\"id\": 3, \"a\": 1, \"b\": 0}.") && e.more.contains("'quotients'"), "{e:?}");
    let seen: Vec<_> = strict.contents().keys().cloned().collect();
    assert_eq!(seen, [row("1", "5"), row("2", "4")], "all that came before, and nothing later");
    let failed_at = strict.upper();
    let end = loop {
        if let Err(e) = totals.step().await {
            break e;
        }
    };
    assert!(matches!(&end, FollowError::Ended(e) if e.code == "22012"), "{end}");
    assert_eq!(totals.upper(), failed_at);
    left.until_row(|r| *r == row("5", "5")).await.expect("it goes on");
    let seen: Vec<_> = left.contents().keys().cloned().collect();
    assert_eq!(seen, [row("1", "5"), row("2", "4"), row("4", "4"), row("5", "5")]);
    // Up to the error all can be had; from it on nothing, although the row is gone by now.
    let range = |to: u64| format!("SUBSCRIBE quotients AS OF {begun} UP TO {to}");
    assert_eq!(shown(&client, &range(failed_at)).await.len(), 2);
    assert_eq!(refused(&client, &range(failed_at + 1)).await.code, "22012");
    let again = format!("SUBSCRIBE quotients AS OF {failed_at} UP TO {}", failed_at + 1);
    assert_eq!(refused(&client, &again).await.code, "22012");
    assert_eq!(shown(&client, "SELECT count(*) FROM quotients").await, ["4"]);
}

/// Catches: a question about errors that fails because some view is not there yet, and errors of a source's history that
/// are lost, doubled, or missing after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_is_being_filled_has_its_errors() {
    let flags = ["--workers", "2", "--checkpoint-interval", "3600"];
    let mut server = Server::start(&flags).expect("the server starts");
    let client = server.connect().await.expect("connect");
    must(&client, "CREATE SOURCE nexmark FROM GENERATOR NEXMARK (EVENTS 200000, SEED 7, PREFIX 'n_')").await;
    let query = "SELECT auction, price, 1000 / (price % 100) AS x FROM n_bid";
    let create = format!("CREATE MATERIALIZED VIEW odd WITH (ON ERROR = DEAD LETTER) AS {query}");
    let other = server.connect().await.expect("connect");
    let created = tokio::spawn(async move { must(&other, &create).await });
    let failing =
        "SELECT coalesce(sum(count), 0)::bigint FROM headwater.view_errors WHERE view = 'odd' AND sqlstate = '22012'";
    let mut seen = vec![];
    let begun = Instant::now();
    // 46 of 50 events are bids: each is a row of the view, or fails.
    let whole = format!("SELECT (SELECT count(*) FROM odd) + ({failing})");
    loop {
        seen.extend(shown(&client, failing).await);
        if created.is_finished() && shown(&client, &whole).await == ["184000"] {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", seen.last());
    }
    let all = shown(&client, failing).await;
    assert_eq!(shown(&client, "SELECT count(*) FROM n_bid WHERE price % 100 = 0").await, all);
    assert!(seen.is_sorted_by_key(|n| n.parse::<i64>().expect("a number")), "{seen:?}");
    created.await.expect("created");
    must(&client, "CHECKPOINT").await;
    for recompute in [&[][..], &["--recompute", "odd"]] {
        server.kill().expect("kill");
        server.restart_with(&[&flags[..], recompute].concat()).expect("restart");
        let client = server.connect().await.expect("connect");
        // At one time: the source may still be on its way to its end.
        let both = "SELECT count(*), sum(x), sum(price) FROM odd UNION SELECT count(*), sum(1000 / (price % 100)), sum(price) \
                    FROM n_bid WHERE price % 100 <> 0";
        assert_eq!(shown(&client, both).await.len(), 1, "{recompute:?}");
        let begun = Instant::now();
        while shown(&client, failing).await != all {
            assert!(begun.elapsed() < Duration::from_secs(30), "{recompute:?}: not {all:?}");
        }
        assert_eq!(shown(&client, both).await.len(), 1, "{recompute:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(shown(&client, failing).await, all, "{recompute:?}");
    }
}

/// Catches: a read of the past that meets an error of another time.
#[tokio::test(flavor = "multi_thread")]
async fn the_past_has_its_own_errors() {
    let (server, client) = started(&["--workers", "2"]).await;
    must(&client, "CREATE MATERIALIZED VIEW v WITH (RETAIN HISTORY = '1 hour') AS SELECT id, a / b AS r FROM t").await;
    let mut times = vec![];
    for sql in
        ["INSERT INTO t VALUES (1, 4, 2, '')", "INSERT INTO t VALUES (2, 1, 0, '')", "DELETE FROM t WHERE id = 2"]
    {
        must(&client, sql).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        times.push(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let read = |at: u128| format!("SELECT * FROM v AS OF {at}");
    assert_eq!(shown(&client, &read(times[0])).await, ["1 2"]);
    assert_eq!(refused(&client, &read(times[1])).await.code, "22012");
    assert_eq!(shown(&client, &read(times[2])).await, ["1 2"]);
    // A transaction goes on with what it has begun to read.
    let other = server.connect().await.expect("connect");
    must(&client, "BEGIN").await;
    assert_eq!(shown(&client, "SELECT * FROM v").await, ["1 2"]);
    must(&other, "UPDATE t SET b = 0").await;
    assert_eq!(refused(&other, "SELECT * FROM v").await.code, "22012");
    assert_eq!(shown(&client, "SELECT * FROM v").await, ["1 2"]);
    must(&client, "COMMIT").await;
    assert_eq!(refused(&client, "SELECT * FROM v").await.code, "22012");
}
