//! From a real broker to a client: exact results, malformed messages, new partitions, a broker that goes away and a
//! server that is killed. Skipped, visibly, where Kafka's jars are not there.

use hw_testkit::{KafkaBroker, Server};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, SimpleQueryMessage};

async fn rows(client: &Client, sql: &str) -> Vec<Vec<String>> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    let mut out = vec![];
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            out.push((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_string()).collect());
        }
    }
    out
}

/// Asks again until the answer is `want`, for at most half a minute.
async fn eventually(client: &Client, sql: &str, want: &[&[&str]]) {
    let begun = Instant::now();
    loop {
        let got = rows(client, sql).await;
        if got == want {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{sql}: got {got:?}, want {want:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn messages(from: i64, to: i64) -> Vec<String> {
    (from..to).map(|i| format!("{{\"k\":{},\"v\":{i},\"note\":\"n{i}\"}}", i % 10)).collect()
}

async fn create(client: &Client, broker: &KafkaBroker) {
    for sql in [
        format!("CREATE CONNECTION kafka TO KAFKA (BROKER '{}')", broker.address()),
        "CREATE SOURCE events (k INT, v BIGINT, note TEXT) FROM KAFKA CONNECTION kafka (TOPIC 'events') FORMAT JSON \
         INCLUDE PARTITION AS p, OFFSET AS o"
            .into(),
        "CREATE MATERIALIZED VIEW totals AS SELECT k, count(*) AS n, sum(v) AS total, max(v) AS top FROM events GROUP BY k"
            .into(),
    ] {
        client.simple_query(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn journey() {
    if KafkaBroker::jars().is_none() {
        println!("SKIPPED: no Kafka jars; cargo xtask test fetches them");
        return;
    }
    let mut broker = KafkaBroker::start().await.expect("a broker starts");
    broker.create_topic("events", 2).await.expect("topic");
    broker.produce("events", 0, &messages(0, 500)).await.expect("produce");
    broker.produce("events", 1, &messages(500, 1000)).await.expect("produce");
    let mut server = Server::start(&["--workers", "2"]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    create(&client, &broker).await;

    // The first SELECT after CREATE shows everything that was there.
    let sum = "SELECT count(*), sum(n), sum(total), max(top) FROM totals";
    assert_eq!(rows(&client, sum).await, [["10", "1000", "499500", "999"]]);
    assert_eq!(rows(&client, "SELECT count(*), max(o) FROM events WHERE p = 1").await, [["500", "499"]]);

    // Malformed messages become dead letters; the others go on.
    let mut mixed = messages(1000, 1010);
    mixed.insert(3, "not json".into());
    mixed.insert(5, "{\"k\":\"seven\",\"v\":1}".into());
    broker.produce("events", 0, &mixed).await.expect("produce");
    eventually(&client, sum, &[&["10", "1010", "509545", "1009"]]).await;
    let dead = "SELECT source, partition, \"offset\" FROM headwater.dead_letters ORDER BY \"offset\"";
    assert_eq!(rows(&client, dead).await, [["events", "0", "503"], ["events", "0", "505"]]);

    // New partitions are noticed.
    broker.add_partitions("events", 3).await.expect("a partition more");
    tokio::time::sleep(Duration::from_millis(500)).await;
    broker.produce("events", 2, &messages(1010, 1020)).await.expect("produce");
    eventually(&client, sum, &[&["10", "1020", "519690", "1019"]]).await;

    // A killed server comes back with the same view, and goes on.
    server.kill().expect("kill");
    broker.produce("events", 1, &messages(1020, 1030)).await.expect("produce");
    server.restart().expect("restart");
    let client = server.connect().await.expect("connect");
    eventually(&client, sum, &[&["10", "1030", "529935", "1029"]]).await;
    assert_eq!(rows(&client, "SELECT count(*) FROM headwater.dead_letters").await, [["2"]]);

    // A broker that goes away: reads go on; when it is back, so do the rows.
    broker.kill();
    assert_eq!(rows(&client, sum).await, [["10", "1030", "529935", "1029"]]);
    broker.restart().await.expect("the broker comes back");
    broker.produce("events", 0, &messages(1030, 1040)).await.expect("produce");
    eventually(&client, sum, &[&["10", "1040", "540280", "1039"]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_brokers_and_unknown_topics_are_refused() {
    let server = Server::start(&["--workers", "1"]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    let begun = Instant::now();
    let refused = client.simple_query("CREATE CONNECTION nowhere TO KAFKA (BROKER '127.0.0.1:1')").await;
    let code = refused.err().and_then(|e| e.code().map(|c| c.code().to_string()));
    assert_eq!(code.as_deref(), Some("08001"));
    assert!(begun.elapsed() < Duration::from_secs(12));
    let unknown = client.simple_query("CREATE CONNECTION c TO KAFKA (BROKRE 'x')").await;
    let error = unknown.expect_err("an unknown option");
    let text = error.as_db_error().map(|e| format!("{} {:?}", e.message(), e.hint())).unwrap_or_default();
    assert!(text.contains("BROKER"), "{text}");
}
