//! Views that a start computes anew: what has been shown of them is corrected, and what reads them goes on.

use hw_testkit::expect::must;
use hw_testkit::rows::{bag, difference, rows};
use hw_testkit::{Follower, Server};
use tokio_postgres::Client;

const VIEWS: &[(&str, &str)] = &[
    ("joined", "SELECT t.k, t.g, u.v FROM t JOIN u ON u.k = t.k"),
    ("grouped", "SELECT g, count(*) AS n, sum(v) AS s, max(v) AS m FROM joined GROUP BY g"),
    ("top", "SELECT max(n) AS n, count(*) AS groups FROM grouped"),
    ("apart", "SELECT v, count(*) AS n FROM u GROUP BY v"),
    ("auctions", "SELECT category, count(*) AS n, max(initial_bid) AS m FROM n_auction GROUP BY category"),
    ("both", "SELECT g.g, a.n FROM grouped g JOIN auctions a ON a.n > 0 AND g.n = a.n"),
    ("named", "SELECT c.category, g.n FROM auctions c JOIN grouped g ON g.g = c.category"),
];

async fn started() -> (Server, Client) {
    let flags = ["--workers", "2", "--checkpoint-interval", "3600"];
    let server = Server::start(&flags).expect("the server starts");
    let client = server.connect().await.expect("connect");
    for sql in [
        "CREATE TABLE t (k bigint PRIMARY KEY, g bigint)",
        "CREATE TABLE u (k bigint, v bigint)",
        "CREATE SOURCE nexmark FROM GENERATOR NEXMARK (EVENTS 20000, SEED 7, PREFIX 'n_')",
    ] {
        must(&client, sql).await;
    }
    for (name, sql) in VIEWS {
        must(&client, &format!("CREATE MATERIALIZED VIEW {name} AS {sql}")).await;
    }
    must(&client, "CREATE INDEX grouped_n ON grouped (n)").await;
    for from in [0, 1000, 2000] {
        write(&client, from).await;
    }
    // 3 of 50 events are auctions.
    let all = vec![vec![Some("1200".to_owned())]];
    while rows(&client, "SELECT sum(n) FROM auctions").await.expect("auctions") != all {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    (server, client)
}

/// 1,000 keys more, and changes of earlier ones.
async fn write(client: &Client, from: i64) {
    let t: Vec<String> = (from..from + 1000).map(|k| format!("({k}, {})", k % 20)).collect();
    let u: Vec<String> = (from..from + 1000).map(|k| format!("({k}, {}), ({k}, {})", k % 7, k % 5)).collect();
    must(client, &format!("INSERT INTO t VALUES {}", t.join(", "))).await;
    must(client, &format!("INSERT INTO u VALUES {}", u.join(", "))).await;
    must(client, &format!("UPDATE t SET g = g + 1 WHERE k % 100 = {}", from / 1000)).await;
    must(client, &format!("DELETE FROM u WHERE v = 3 AND k < {}", from / 2)).await;
}

/// Every view is what its query gives.
async fn check(client: &Client, when: &str) {
    for (name, sql) in VIEWS {
        let shown =
            bag(client, &format!("SELECT * FROM {name}")).await.unwrap_or_else(|e| panic!("{when}: {name}: {e}"));
        let computed = bag(client, sql).await.unwrap_or_else(|e| panic!("{when}: {sql}: {e}"));
        assert!(shown == computed, "{when}: {name}: {}", difference(&shown, &computed));
        assert!(!shown.is_empty() || *name == "both", "{when}: {name} is empty");
    }
    let by_key = bag(client, "SELECT g FROM grouped WHERE n = 300").await.expect("by the index");
    let scanned = bag(client, "SELECT g FROM grouped WHERE n + 0 = 300").await.expect("scanned");
    assert_eq!(by_key, scanned, "{when}");
}

async fn taken_in(client: &Client, view: &str) -> i64 {
    let sql = format!("SELECT sum(rows_in)::bigint FROM headwater.operators WHERE name = '{view}'");
    let found = rows(client, &sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    found[0][0].as_deref().unwrap_or("0").parse().expect("a number")
}

/// Catches: contents that are doubled or lost where a view begins again under views that go on, and views that are
/// computed anew though nothing of them has changed.
#[tokio::test(flavor = "multi_thread")]
async fn what_reads_a_view_that_is_computed_anew_goes_on() {
    let (mut server, client) = started().await;
    check(&client, "before").await;
    must(&client, "CHECKPOINT").await;
    let flags = ["--workers", "2", "--checkpoint-interval", "3600"];
    for (round, anew) in
        [&["joined"][..], &["grouped", "public.auctions"], &["top", "joined", "apart"]].iter().enumerate()
    {
        for tail in [false, true] {
            if tail {
                write(&server.connect().await.expect("connect"), 3000 + 1000 * round as i64).await;
            }
            server.kill().expect("kill");
            let named = anew.iter().flat_map(|view| ["--recompute", view]);
            server.restart_with(&flags.into_iter().chain(named).collect::<Vec<_>>()).expect("restart");
            let client = server.connect().await.expect("connect");
            let when = format!("{anew:?}, tail {tail}");
            check(&client, &when).await;
            if !tail && round == 0 {
                // Rows of the tables came in, of the one that lends its arrangement none, and nothing that had been shown has changed.
                let all = "SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM (SELECT DISTINCT k, v FROM u) d)";
                let found = rows(&client, all).await.expect("tables")[0][0].as_deref().map(str::parse::<i64>);
                let inputs = found.and_then(Result::ok).expect("a number");
                let joined = taken_in(&client, "joined").await;
                assert!((1..=inputs).contains(&joined), "{when}: {joined} of {inputs}");
                assert_eq!(taken_in(&client, "apart").await, 0, "{when}");
                assert_eq!((taken_in(&client, "grouped").await, taken_in(&client, "top").await), (0, 0), "{when}");
            }
            write(&client, 10_000 + 2000 * round as i64 + 1000 * i64::from(tail)).await;
            check(&client, &format!("{when}, later")).await;
            if tail {
                must(&client, "CHECKPOINT").await;
                check(&client, &format!("{when}, after a checkpoint")).await;
            }
        }
    }
    server.kill().expect("kill");
    server.restart_with(&["--workers", "1"]).expect("restart");
    check(&server.connect().await.expect("connect"), "at last").await;
}

/// Catches: history that is shown though nobody knows it any more.
#[tokio::test(flavor = "multi_thread")]
async fn history_begins_with_the_correction() {
    let (mut server, client) = started().await;
    let mut follower = Follower::start(&server, "grouped").await.expect("subscribe");
    follower.until(0).await.expect("the snapshot");
    must(&client, "CHECKPOINT").await;
    write(&client, 3000).await;
    let now = rows(&client, "SELECT count(*) FROM t").await.expect("read");
    follower.step().await.expect("changes");
    // The last tick that it has been shown, whatever that is.
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_secs(2) {
        follower.step().await.expect("progress");
    }
    let seen = follower.upper() - 1;
    server.kill().expect("kill");
    server.restart_with(&["--workers", "2", "--recompute", "joined"]).expect("restart");
    let client = server.connect().await.expect("connect");
    assert_eq!(rows(&client, "SELECT count(*) FROM t").await.expect("read"), now);
    for seen in [seen, seen - 1] {
        for relation in ["grouped", "joined"] {
            let sql = format!("SUBSCRIBE {relation} WITH (SNAPSHOT = false) AS OF {seen} UP TO {}", seen + 1);
            let e = rows(&client, &sql).await.expect_err("not known");
            assert_eq!(e.code, "55000", "{e}");
        }
    }
    let mut follower = Follower::start(&server, "grouped").await.expect("subscribe");
    write(&client, 4000).await;
    follower.until(0).await.expect("changes");
    check(&client, "later").await;
}

/// Catches: a view that shows what it was not to be trusted for after the next start.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_after_it_goes_on_with_it() {
    let (mut server, client) = started().await;
    must(&client, "CHECKPOINT").await;
    server.kill().expect("kill");
    let flags = ["--workers", "2", "--checkpoint-interval", "3600"];
    server
        .restart_with(&[&flags[..], &["--recompute", "joined", "--recompute", "auctions"]].concat())
        .expect("restart");
    let client = server.connect().await.expect("connect");
    check(&client, "computed anew").await;
    assert!(taken_in(&client, "joined").await > 0);
    // Killed before a checkpoint: anew again.
    server.kill().expect("kill");
    server.restart_with(&flags).expect("restart");
    let client = server.connect().await.expect("connect");
    check(&client, "killed before a checkpoint").await;
    assert!(taken_in(&client, "joined").await > 0, "it is not computed anew");
    must(&client, "CHECKPOINT").await;
    server.kill().expect("kill");
    server.restart_with(&flags).expect("restart");
    let client = server.connect().await.expect("connect");
    check(&client, "killed after a checkpoint").await;
    assert_eq!(taken_in(&client, "joined").await, 0);
}

/// Catches: a name that is ignored.
#[tokio::test(flavor = "multi_thread")]
async fn only_materialized_views_can_be_named() {
    let (mut server, _client) = started().await;
    server.kill().expect("kill");
    for name in ["nothing", "t", "x.joined", "grouped_n"] {
        let e = server.restart_with(&["--recompute", name]).expect_err("no such view");
        assert!(e.0.contains("ended before it was ready"), "{name}: {}", e.0);
    }
    server.restart_with(&[]).expect("restart");
    check(&server.connect().await.expect("connect"), "after it").await;
}

/// Catches: a view that shows, at the last time of before a start, what its sources have given since.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_a_view_is_filled_is_not_seen_before() {
    let flags = ["--workers", "2", "--checkpoint-interval", "3600"];
    let mut server = Server::start(&flags).expect("the server starts");
    let client = server.connect().await.expect("connect");
    for sql in [
        "CREATE SOURCE large FROM GENERATOR NEXMARK (EVENTS 1000000, SEED 1, PREFIX 'l_')",
        "CREATE SOURCE slow FROM GENERATOR NEXMARK (EVENTS PER SECOND 4, SEED 2, PREFIX 's_')",
        "CREATE MATERIALIZED VIEW v AS \
         SELECT 1 AS one, count(*) AS n FROM (SELECT DISTINCT bidder, price FROM l_bid) UNION ALL SELECT 2, count(*) FROM s_bid",
    ] {
        must(&client, sql).await;
    }
    while rows(&client, "SELECT n FROM v WHERE one = 1 AND n > 800000").await.expect("v").is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for round in 0..5 {
        server.kill().expect("kill");
        server.restart().expect("restart");
        let client = server.connect().await.expect("connect");
        must(&client, "BEGIN").await;
        let shown = rows(&client, "SELECT n FROM v WHERE one = 2").await.expect("v");
        let read = rows(&client, "SELECT count(*) FROM s_bid").await.expect("s_bid");
        must(&client, "COMMIT").await;
        assert_eq!(shown, read, "start {round}");
    }
}
