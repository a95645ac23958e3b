//! An index on expressions is what a SELECT reads, before a restart and after it; a read fails where it fails without.

use hw_testkit::Server;
use hw_testkit::rows::{rows, run};
use tokio_postgres::Client;

/// By the index, and by something else that comes to the same.
const SOUGHT: &str = "SELECT id FROM t WHERE a + b = 70007";
const READ: &str = "SELECT id FROM t WHERE b + a = 70007";

async fn code(client: &Client, sql: &str) -> String {
    match run(client, sql).await {
        Ok(_) => "ok".into(),
        Err(e) => e.code,
    }
}

/// True where the index is what EXPLAIN names; the rows are there whichever way they are read.
async fn is_sought(client: &Client) -> bool {
    for sql in [SOUGHT, READ] {
        assert_eq!(rows(client, sql).await.expect("rows").len(), 1, "{sql}");
    }
    let plan = rows(client, &format!("EXPLAIN {SOUGHT}")).await.expect("a plan");
    plan.iter().flatten().flatten().any(|line| line.contains("seek by by_sum on"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_is_the_index() {
    let mut server = Server::start(&["--workers", "1"]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    for sql in [
        "CREATE TABLE t (id int PRIMARY KEY, a int, b int, d int)",
        "INSERT INTO t SELECT i, i, 7, i % 5 FROM generate_series(1, 100000) g(i)",
    ] {
        run(&client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    let fails = "SELECT id FROM t WHERE 10 / d > 0 AND a + b = 70007";
    assert_eq!(code(&client, fails).await, "22012");
    run(&client, "CREATE INDEX by_sum ON t ((a + b))").await.expect("an index");
    assert!(is_sought(&client).await, "the index is not read");
    assert_eq!(code(&client, fails).await, "22012");
    assert_eq!(rows(&client, "SELECT id FROM t WHERE a + b = 70008 AND 10 / d > 0").await.expect("sought").len(), 1);
    // A row that the index cannot hold: all rows are read until it is gone.
    run(&client, "INSERT INTO t VALUES (0, 2147483647, 1, 1)").await.expect("a row that the table may have");
    assert_eq!(code(&client, SOUGHT).await, "22003");
    assert_eq!(rows(&client, "SELECT id FROM t WHERE id > 0 AND a + b = 70007").await.expect("others").len(), 1);
    run(&client, "DELETE FROM t WHERE id = 0").await.expect("it goes");
    assert!(is_sought(&client).await, "the index is not read again");
    run(&client, "CHECKPOINT").await.expect("a checkpoint");
    drop(client);
    server.kill().expect("killed");
    server.restart().expect("it starts again");
    let client = server.connect().await.expect("connect");
    assert!(is_sought(&client).await, "the index is not read after a restart");
    run(&client, "ALTER TABLE t RENAME COLUMN d TO e").await.expect("another name");
    assert!(is_sought(&client).await, "the index is not read with another name");
    run(&client, "DROP INDEX by_sum").await.expect("dropped");
    assert_eq!(rows(&client, SOUGHT).await.expect("all are read").len(), 1);
}
