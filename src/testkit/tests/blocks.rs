//! Transaction blocks, and what a cancelled or prepared statement has done.

use hw_testkit::Server;
use hw_testkit::rows::{rows, run};
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

async fn connected() -> (Server, Client) {
    let server = Server::start(&["--workers", "1"]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    (server, client)
}

async fn code(client: &Client, sql: &str) -> String {
    match rows(client, sql).await {
        Ok(_) => "ok".into(),
        Err(e) => e.code,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_in_a_block_ends_it() {
    let (_server, client) = connected().await;
    run(&client, "CREATE TABLE z (a int)").await.expect("created");
    run(&client, "INSERT INTO z VALUES (0)").await.expect("inserted");
    // While it is parsed, planned, begun, and while rows are on their way.
    for failing in ["SELEC 1", "SELECT * FROM no_such_table", "SELECT 1 / 0", "SELECT 1 / a FROM z WHERE a = 0"] {
        run(&client, "BEGIN").await.expect("begun");
        assert_ne!(code(&client, failing).await, "ok", "{failing}");
        assert_eq!(code(&client, "SELECT 'x'").await, "25P02", "after {failing}");
        run(&client, "COMMIT").await.expect("ended");
        assert_eq!(code(&client, "SELECT 'x'").await, "ok");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_stands_still_in_a_block() {
    let (_server, client) = connected().await;
    run(&client, "BEGIN").await.expect("begun");
    let first = rows(&client, "SELECT now()").await.expect("now");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(rows(&client, "SELECT now()").await.expect("now"), first);
    run(&client, "COMMIT").await.expect("ended");
    assert_ne!(rows(&client, "SELECT now()").await.expect("now"), first);
}

/// A client that hears 57014 may send the statement again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_as_cancelled_was_not_done() {
    let (_server, client) = connected().await;
    run(&client, "CREATE TABLE t (i int)").await.expect("created");
    let (mut cancelled, mut done) = (vec![], vec![]);
    for i in 0..300u64 {
        let cancel = client.cancel_token();
        let canceller = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_micros(i % 10 * 200)).await;
            cancel.cancel_query(NoTls).await
        });
        match code(&client, &format!("INSERT INTO t VALUES ({i})")).await.as_str() {
            "ok" => done.push(i.to_string()),
            "57014" => cancelled.push(i.to_string()),
            other => panic!("{other}"),
        }
        canceller.await.expect("the canceller ends").expect("the server takes cancel requests");
    }
    // A request that comes late may hit the next statement.
    let there = loop {
        if let Ok(there) = rows(&client, "SELECT i FROM t").await {
            break there;
        }
    };
    let there: Vec<String> = there.into_iter().filter_map(|mut r| r.pop().flatten()).collect();
    assert!(done.iter().all(|i| there.contains(i)), "acknowledged, and not there");
    let kept: Vec<&String> = cancelled.iter().filter(|i| there.contains(i)).collect();
    assert!(kept.is_empty(), "cancelled {}, and there nevertheless: {kept:?}", cancelled.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_follow_the_catalog() {
    let (_server, client) = connected().await;
    run(&client, "CREATE TABLE t (k int PRIMARY KEY, v int)").await.expect("created");
    run(&client, "INSERT INTO t VALUES (1, 10)").await.expect("inserted");
    let get = client.prepare("SELECT v FROM t WHERE k = $1").await.expect("prepared");
    let now = client.prepare("SELECT now()::text").await.expect("prepared");
    let first: String = client.query_one(&now, &[]).await.expect("now").get(0);
    assert_eq!(client.query_one(&get, &[&1i32]).await.expect("a row").get::<_, i32>(0), 10);
    run(&client, "DROP TABLE t").await.expect("dropped");
    assert!(client.query(&get, &[&1i32]).await.is_err(), "the table is gone");
    run(&client, "CREATE TABLE t (v int, k int PRIMARY KEY)").await.expect("created");
    run(&client, "INSERT INTO t VALUES (20, 1)").await.expect("inserted");
    assert_eq!(client.query_one(&get, &[&1i32]).await.expect("a row").get::<_, i32>(0), 20);
    run(&client, "CREATE SCHEMA s").await.expect("created");
    run(&client, "CREATE TABLE s.t (k int PRIMARY KEY, v int)").await.expect("created");
    run(&client, "SET search_path = s, public").await.expect("set");
    assert!(client.query(&get, &[&1i32]).await.expect("no row").is_empty());
    let later: String = client.query_one(&now, &[]).await.expect("now").get(0);
    assert_ne!(first, later);
    let compact = client.prepare("SELECT headwater.compact()").await.expect("prepared");
    assert!(client.query_one(&compact, &[]).await.expect("compacted").get::<_, bool>(0));
}
