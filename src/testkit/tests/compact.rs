//! Insert everything, delete everything: after `headwater.compact()` nothing is left, on 1 and 2 workers.

use hw_testkit::Server;
use hw_testkit::held::{differences, held};
use hw_testkit::rows::{rows, run};

async fn nothing_is_left(workers: &str) {
    let server = Server::start(&["--workers", workers]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    for sql in [
        "CREATE TABLE a (k int PRIMARY KEY, g text, v bigint, f double precision)",
        "CREATE TABLE b (k int, w int)",
        "CREATE MATERIALIZED VIEW joined AS SELECT a.k, g, w FROM a JOIN b ON a.k = b.k",
        "CREATE MATERIALIZED VIEW grouped AS SELECT g, count(*) AS n, sum(v) AS s, avg(f) AS m, min(v) AS lo, max(f) AS hi FROM a GROUP BY g",
        "CREATE MATERIALIZED VIEW counted AS SELECT w, count(DISTINCT k) AS n FROM b GROUP BY w",
        "CREATE MATERIALIZED VIEW once AS SELECT DISTINCT g, v FROM a",
        "CREATE MATERIALIZED VIEW both AS SELECT k FROM a UNION ALL SELECT k FROM b",
        "CREATE MATERIALIZED VIEW set_of_both AS SELECT k FROM a UNION SELECT k FROM b",
        "CREATE MATERIALIZED VIEW over AS SELECT n, count(*) AS c FROM grouped GROUP BY n",
        "CREATE MATERIALIZED VIEW three AS SELECT x.k, z.g FROM b x JOIN b y ON x.w = y.k JOIN a z ON z.k = y.w",
        "CREATE MATERIALIZED VIEW failing AS SELECT k, 100 / w AS q FROM b",
        "CREATE MATERIALIZED VIEW listed AS SELECT array(SELECT k FROM b WHERE w < 9 ORDER BY k) AS keys",
        "CREATE INDEX ON joined (w)",
        "CREATE INDEX ON joined (upper(g), (k + w))",
    ] {
        run(&client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    run(&client, "SELECT headwater.compact()").await.expect("compact");
    let before = held(&client).await.expect("operators");
    assert!(!before.is_empty());
    for round in 0..3 {
        run(&client, "DELETE FROM a").await.expect("delete");
        let values = |f: &dyn Fn(i64) -> String| (0..2000).map(f).collect::<Vec<_>>().join(", ");
        let sql =
            format!("INSERT INTO a VALUES {}", values(&|i| format!("({i}, 'g{}', {}, {})", i % 50, i * round, i)));
        run(&client, &sql).await.expect("insert");
        let sql = format!("INSERT INTO b VALUES {}", values(&|i| format!("({}, {})", i % 700, i % 300)));
        run(&client, &sql).await.expect("insert");
        run(&client, "UPDATE a SET v = v + 1 WHERE k < 500").await.expect("update");
    }
    let filled = held(&client).await.expect("operators");
    assert!(filled.values().map(|v| v.0).sum::<i64>() > 10_000, "{filled:?}");
    assert_eq!(rows(&client, "SELECT count(*) FROM failing").await.map_err(|e| e.code), Err("22012".into()));
    run(&client, "DELETE FROM a WHERE k >= 1000").await.expect("delete");
    run(&client, "DELETE FROM b").await.expect("delete");
    run(&client, "DELETE FROM a").await.expect("delete");
    run(&client, "SELECT headwater.compact()").await.expect("compact");
    let mut after = held(&client).await.expect("operators");
    for (operator, held) in &mut after {
        let Some(was) = before.get(operator) else { continue };
        // The row of an aggregate of all rows may be noted for the next checkpoint.
        if held.0 == was.0 && (was.1..=was.1 + 4 * was.0).contains(&held.1) {
            *held = *was;
        }
    }
    let differ = differences(&before, &after);
    assert!(differ.is_empty(), "{workers} workers:\n{}", differ.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_with_one_worker() {
    nothing_is_left("1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_with_two_workers() {
    nothing_is_left("2").await;
}
