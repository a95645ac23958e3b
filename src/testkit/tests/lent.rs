//! Views that join tables by their keys and indexes keep nothing of their own, and go on when an index that they read is dropped:
//! also after a start, which finds other indexes than those that the checkpoint was taken with.

use hw_testkit::Server;
use hw_testkit::expect::must;
use hw_testkit::rows::{bag, difference, rows, value};
use tokio_postgres::Client;

const STAR: &str = "SELECT f.id, a.name AS a, b.name AS b, f.n FROM fact f JOIN a ON f.a = a.id JOIN b ON f.b = b.id";
const BY_A: &str = "SELECT a.name, count(*) AS c, sum(f.n) AS s FROM fact f JOIN a ON f.a = a.id GROUP BY a.name";
const PAIRS: &str = "SELECT x.id, y.id AS other FROM fact x JOIN fact y ON x.b = y.b AND x.n = y.id";

/// Rows that the joins of a view hold of their own.
async fn of_its_own(client: &Client, view: &str) -> i64 {
    let sql = format!(
        "SELECT coalesce(sum(arranged_rows), 0) FROM headwater.operators WHERE name = '{view}' AND type LIKE '%join%'"
    );
    let found = value(client, &sql).await.expect("operators");
    found.and_then(|rows| rows.parse().ok()).expect("a number")
}

async fn right(client: &Client, views: &[(&str, &str)]) {
    for (view, query) in views {
        let shown = bag(client, &format!("SELECT * FROM {view}")).await.expect("the view");
        let meant = bag(client, query).await.expect("the query");
        assert!(!meant.is_empty(), "{view} shows nothing");
        assert!(shown == meant, "{view}: {}", difference(&shown, &meant));
    }
}

async fn change(client: &Client, round: i64) {
    for sql in [
        format!("UPDATE fact SET a = (a + {round}) % 50 WHERE id % 7 = {}", round % 7),
        format!("UPDATE fact SET b = NULL WHERE id % 11 = {}", round % 11),
        format!("UPDATE a SET name = 'a{round}' WHERE id % 5 = {}", round % 5),
        format!("DELETE FROM b WHERE id = {}", round + 3),
        format!(
            "INSERT INTO fact SELECT i, i % 50, i % 30, i % 100 FROM generate_series({0}, {0} + 99) i",
            10_000 * round
        ),
    ] {
        must(client, &sql).await;
    }
}

async fn explained(client: &Client, sql: &str) -> String {
    let lines = rows(client, sql).await.expect("a plan");
    lines.into_iter().flatten().flatten().collect::<Vec<_>>().join("\n")
}

async fn restart(server: &mut Server, workers: &str) -> Client {
    server.kill().expect("kill");
    server.restart_with(&["--checkpoint-interval", "3600", "--workers", workers]).expect("restarts");
    server.connect().await.expect("connects")
}

#[tokio::test]
async fn what_tables_and_indexes_keep_is_kept_once() {
    let mut server = Server::start(&["--checkpoint-interval", "3600", "--workers", "1"]).expect("starts");
    let client = server.connect().await.expect("connects");
    for sql in [
        "CREATE TABLE a (id int PRIMARY KEY, name text)",
        "CREATE TABLE b (id int PRIMARY KEY, name text)",
        "CREATE TABLE fact (id int PRIMARY KEY, a int, b int, n int)",
        "CREATE INDEX fact_a ON fact (a)",
        "CREATE INDEX fact_b ON fact (b)",
        "INSERT INTO a SELECT i, 'a' || i FROM generate_series(0, 49) i",
        "INSERT INTO b SELECT i, 'b' || i FROM generate_series(0, 29) i",
        "INSERT INTO fact SELECT i, i % 50, i % 30, i % 100 FROM generate_series(1, 3000) i",
        &format!("CREATE MATERIALIZED VIEW star AS {STAR}"),
        &format!("CREATE MATERIALIZED VIEW by_a AS {BY_A}"),
        &format!("CREATE MATERIALIZED VIEW pairs AS {PAIRS}"),
    ] {
        must(&client, sql).await;
    }
    let mut views = vec![("star", STAR), ("by_a", BY_A), ("pairs", PAIRS)];
    right(&client, &views).await;
    let plan = explained(&client, &format!("EXPLAIN FLOW {STAR}")).await;
    for name in ["fact_a", "fact_b", "a", "b"] {
        assert!(plan.contains(&format!(" shared with {name}")), "{plan}");
    }
    let plan = explained(&client, "EXPLAIN ANALYZE MATERIALIZED VIEW by_a").await;
    assert!(plan.contains(" shared with fact_a, ") || plan.contains(" shared with fact_a]"), "{plan}");
    assert_eq!((of_its_own(&client, "star").await, of_its_own(&client, "by_a").await), (0, 0));
    // By two columns there is no index.
    assert!(of_its_own(&client, "pairs").await > 0);
    change(&client, 1).await;
    must(&client, "CHECKPOINT").await;
    change(&client, 2).await;
    must(&client, "DROP INDEX fact_b").await;
    change(&client, 3).await;
    right(&client, &views).await;
    assert_eq!(of_its_own(&client, "star").await, 0);
    // The checkpoint has neither what the index held, which is gone, nor a copy of it.
    let client = restart(&mut server, "2").await;
    right(&client, &views).await;
    assert!(of_its_own(&client, "star").await > 0);
    change(&client, 4).await;
    right(&client, &views).await;
    must(&client, "CHECKPOINT").await;
    // Now it has a copy.
    let client = restart(&mut server, "1").await;
    change(&client, 5).await;
    right(&client, &views).await;
    must(&client, "DROP INDEX fact_a").await;
    must(&client, "CREATE INDEX fact_b ON fact (b)").await;
    must(&client, "CREATE INDEX fact_a ON fact (a)").await;
    must(&client, &format!("CREATE MATERIALIZED VIEW late AS {STAR}")).await;
    views.push(("late", STAR));
    change(&client, 6).await;
    right(&client, &views).await;
    assert_eq!(of_its_own(&client, "late").await, 0);
    let client = restart(&mut server, "3").await;
    change(&client, 7).await;
    right(&client, &views).await;
    must(&client, "SELECT headwater.compact()").await;
    must(&client, "DROP MATERIALIZED VIEW star, by_a, pairs").await;
    must(&client, "DROP INDEX fact_a, fact_b").await;
    change(&client, 8).await;
    right(&client, &[("late", STAR)]).await;
    must(&client, "CHECKPOINT").await;
    let client = restart(&mut server, "1").await;
    right(&client, &[("late", STAR)]).await;
}
