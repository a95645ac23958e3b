//! Sources against a real broker: where they start, what they include, pauses, brokers that go away, histories that are
//! gone or not what they were. Skipped, visibly, where Kafka's jars are not there.

use futures::StreamExt;
use hw_testkit::{KafkaBroker, Server};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, SimpleQueryMessage};

async fn try_rows(client: &Client, sql: &str) -> Result<Vec<Vec<String>>, tokio_postgres::Error> {
    let mut out = vec![];
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            out.push((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_string()).collect());
        }
    }
    Ok(out)
}

async fn rows(client: &Client, sql: &str) -> Vec<Vec<String>> {
    try_rows(client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"))
}

async fn run(client: &Client, sql: &str) {
    client.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

/// SQLSTATE and text of the error that `sql` must raise.
async fn refused(client: &Client, sql: &str) -> (String, String) {
    let e = client.simple_query(sql).await.expect_err(sql);
    let db = e.as_db_error().unwrap_or_else(|| panic!("{sql}: {e:?}"));
    (db.code().code().to_string(), format!("{} {:?} {:?}", db.message(), db.detail(), db.hint()))
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
    (from..to).map(|i| format!("{{\"k\":{},\"v\":{i}}}", i % 10)).collect()
}

fn no_jars() -> bool {
    let none = KafkaBroker::jars().is_none();
    if none {
        println!("SKIPPED: no Kafka jars; cargo xtask test fetches them");
    }
    none
}

async fn connect(server: &Server, broker: &KafkaBroker) -> Client {
    let client = server.connect().await.expect("connect");
    run(&client, &format!("CREATE CONNECTION kafka TO KAFKA (BROKER '{}')", broker.address())).await;
    client
}

fn source(name: &str, topic: &str, start: &str) -> String {
    format!("CREATE SOURCE {name} (k INT, v BIGINT) FROM KAFKA CONNECTION kafka (TOPIC '{topic}'{start}) FORMAT JSON")
}

const TOTALS: &str = "SELECT count(*), coalesce(sum(v), 0), coalesce(max(v), 0) FROM";

#[tokio::test(flavor = "multi_thread")]
async fn starts_and_metadata() {
    if no_jars() {
        return;
    }
    let broker = KafkaBroker::start().await.expect("a broker starts");
    broker.create_topic("t", 2).await.expect("topic");
    for i in 0..10 {
        let (key, value) = (format!("key{i}"), format!("{{\"k\":{i},\"v\":{i}}}"));
        broker.produce_one("t", i % 2, &key, &value, 1_700_000_000_000 + i64::from(i) * 1000).await.expect("produce");
    }
    let server = Server::start(&["--workers", "1"]).expect("the server starts");
    let client = connect(&server, &broker).await;
    for (name, start, want) in [
        ("earliest", ", START 'earliest'", ["10", "45", "9"]),
        ("latest", ", START 'latest'", ["0", "0", "0"]),
        ("offsets", ", START OFFSETS (0 = 3)", ["7", "39", "9"]),
        ("since", ", START TIMESTAMP '2023-11-14 22:13:26+00'", ["4", "30", "9"]),
    ] {
        run(&client, &source(name, "t", start)).await;
        run(&client, &format!("CREATE MATERIALIZED VIEW {name}_v AS SELECT v FROM {name}")).await;
        assert_eq!(rows(&client, &format!("{TOTALS} {name}_v")).await, [want], "{name}");
        assert_eq!(rows(&client, &format!("{TOTALS} {name}")).await, [want], "{name}, read ad hoc");
    }
    let past = source("past", "t", ", START OFFSETS (0 = 99)");
    assert_eq!(refused(&client, &past).await.0, "22023");
    let (code, text) = refused(&client, &source("nothing", "T", "")).await;
    assert!(code == "42704" && text.contains("\"T\" does not exist"), "{code} {text}");

    run(&client, "CREATE SOURCE meta (k INT) FROM KAFKA CONNECTION kafka (TOPIC 't') FORMAT JSON INCLUDE KEY AS key, PARTITION AS p, OFFSET AS o, TIMESTAMP AS at").await;
    run(&client, "CREATE MATERIALIZED VIEW meta_v AS SELECT k, key, p, o, at FROM meta").await;
    let one = "SELECT convert_from(key, 'UTF8'), p, o, at AT TIME ZONE 'UTC' FROM meta_v WHERE k = 5";
    let got = try_rows(&client, one).await;
    let got = match got {
        Ok(got) => got,
        // Without those functions: the bytes and the time as they are.
        Err(_) => rows(&client, "SELECT key, p, o, at FROM meta_v WHERE k = 5").await,
    };
    assert!(got[0][0] == "key5" || got[0][0] == "\\x6b657935", "{got:?}");
    assert_eq!(got[0][1..3], ["1", "2"]);
    assert!(got[0][3].starts_with("2023-11-14 22:13:25"), "{got:?}");

    // New messages reach what starts at the latest, and the next view over a running source has them at once.
    broker.produce("t", 0, &messages(100, 200)).await.expect("produce");
    run(&client, "CREATE MATERIALIZED VIEW again AS SELECT v FROM latest").await;
    assert_eq!(rows(&client, &format!("{TOTALS} again")).await, [["100", "14950", "199"]]);
    eventually(&client, &format!("{TOTALS} latest_v"), &[&["100", "14950", "199"]]).await;

    // A paused source keeps what it has and goes on where it was.
    run(&client, "ALTER SOURCE latest PAUSE").await;
    broker.produce("t", 0, &messages(200, 300)).await.expect("produce");
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(rows(&client, &format!("{TOTALS} latest_v")).await, [["100", "14950", "199"]]);
    assert_eq!(rows(&client, "SELECT state FROM headwater.sources WHERE name = 'latest'").await, [["paused"]]);
    run(&client, "ALTER SOURCE latest RESUME").await;
    eventually(&client, &format!("{TOTALS} latest_v"), &[&["200", "39900", "299"]]).await;

    broker.create_topic_with("c", 1, "cleanup.policy", "compact").await.expect("topic");
    let (code, text) = refused(&client, &source("compacted", "c", "")).await;
    assert!(code == "0A000" && text.contains("cleanup.policy"), "{code} {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn histories_that_are_gone_or_changed() {
    if no_jars() {
        return;
    }
    let broker = KafkaBroker::start().await.expect("a broker starts");
    for topic in ["kept", "short", "other"] {
        broker.create_topic(topic, 1).await.expect("topic");
        broker.produce(topic, 0, &messages(0, 100)).await.expect("produce");
    }
    broker.delete_before("kept", 0, 40).await.expect("delete");
    // Without a checkpoint views are computed anew; those of a checkpoint need no history.
    let mut server = Server::start(&["--workers", "2", "--checkpoint-interval", "3600"]).expect("the server starts");
    let client = connect(&server, &broker).await;
    for name in ["kept", "short", "other"] {
        run(&client, &source(name, name, "")).await;
        run(&client, &format!("CREATE MATERIALIZED VIEW {name}_v AS SELECT v FROM {name}")).await;
    }
    // It begins where the topic begins.
    assert_eq!(rows(&client, &format!("{TOTALS} kept_v")).await, [["60", "4170", "99"]]);
    for name in ["short", "other"] {
        assert_eq!(rows(&client, &format!("{TOTALS} {name}_v")).await, [["100", "4950", "99"]]);
    }
    // A partition that appears with its beginning gone begins where it is first seen.
    server.kill().expect("kill");
    broker.add_partitions("kept", 2).await.expect("a partition more");
    tokio::time::sleep(Duration::from_millis(500)).await;
    broker.produce("kept", 1, &messages(1000, 1010)).await.expect("produce");
    broker.delete_before("kept", 1, 4).await.expect("delete");
    // The others are not what they were.
    broker.delete_before("short", 0, 10).await.expect("delete");
    broker.delete_topic("other").await.expect("delete");
    tokio::time::sleep(Duration::from_millis(1000)).await;
    broker.create_topic("other", 1).await.expect("topic");
    broker.produce("other", 0, &messages(5000, 5200)).await.expect("produce");
    for _ in 0..2 {
        server.restart().expect("restart");
        let client = server.connect().await.expect("connect");
        eventually(&client, &format!("{TOTALS} kept_v"), &[&["66", "10209", "1009"]]).await;
        let (code, text) = refused(&client, "SELECT count(*) FROM short_v").await;
        assert!(code == "55000" && text.contains("offsets 0 to 9"), "{code} {text}");
        let (code, text) = refused(&client, "SELECT count(*) FROM other_v").await;
        assert!(code == "55000" && text.contains("changed behind our back"), "{code} {text}");
        let failed = "SELECT name, state FROM headwater.sources WHERE name = 'other'";
        eventually(&client, failed, &[&["other", "failed"]]).await;
        // A new view over a history that is gone is refused.
        let (code, text) = refused(&client, "CREATE MATERIALIZED VIEW late AS SELECT k FROM short").await;
        assert!(code == "55000" && text.contains("gone"), "{code} {text}");
        server.kill().expect("kill");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_away() {
    if no_jars() {
        return;
    }
    let mut broker = KafkaBroker::start().await.expect("a broker starts");
    broker.create_topic("t", 2).await.expect("topic");
    broker.produce("t", 0, &messages(0, 100)).await.expect("produce");
    let mut server = Server::start(&["--workers", "1", "--checkpoint-interval", "3600"]).expect("the server starts");
    let client = connect(&server, &broker).await;
    run(&client, &source("s", "t", "")).await;
    run(&client, "CREATE MATERIALIZED VIEW v AS SELECT k, count(*) AS n, sum(v) AS total FROM s GROUP BY k").await;
    run(&client, "CREATE TABLE plain (a INT)").await;
    let sum = "SELECT sum(n), sum(total) FROM v";
    assert_eq!(rows(&client, sum).await, [["100", "4950"]]);
    run(&client, "CHECKPOINT").await;
    run(&client, "CREATE MATERIALIZED VIEW late AS SELECT k, count(*) AS n, sum(v) AS total FROM s GROUP BY k").await;
    let sum_late = "SELECT sum(n), sum(total) FROM late";
    assert_eq!(rows(&client, sum_late).await, [["100", "4950"]]);

    broker.kill();
    let state = "SELECT state, error IS NOT NULL FROM headwater.sources WHERE name = 's'";
    eventually(&client, state, &[&["stalled", "t"]]).await;
    assert_eq!(rows(&client, sum).await, [["100", "4950"]]);
    let begun = Instant::now();
    assert_eq!(refused(&client, &source("s2", "t", "")).await.0, "08001");
    assert!(begun.elapsed() < Duration::from_secs(11), "{:?}", begun.elapsed());

    // Restarted without its broker: tables are there, and a view that goes on from a checkpoint; one that has to be computed
    // anew waits, and is right when the broker is back.
    server.kill().expect("kill");
    server.restart().expect("restart");
    let client = server.connect().await.expect("connect");
    run(&client, "INSERT INTO plain VALUES (1)").await;
    assert_eq!(rows(&client, "SELECT count(*) FROM plain").await, [["1"]]);
    assert_eq!(rows(&client, sum).await, [["100", "4950"]]);
    let states = "SELECT name, state FROM headwater.views ORDER BY name";
    assert_eq!(rows(&client, states).await, [["late", "hydrating"], ["v", "running"]]);
    eventually(&client, state, &[&["stalled", "t"]]).await;
    broker.restart().await.expect("the broker comes back");
    broker.produce("t", 1, &messages(100, 110)).await.expect("produce");
    eventually(&client, sum, &[&["110", "5995"]]).await;
    eventually(&client, sum_late, &[&["110", "5995"]]).await;
    eventually(&client, state, &[&["running", "f"]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_before_a_restart_can_be_read_again() {
    if no_jars() {
        return;
    }
    let broker = KafkaBroker::start().await.expect("a broker starts");
    broker.create_topic("t", 2).await.expect("topic");
    broker.produce("t", 0, &messages(0, 100)).await.expect("produce");
    let mut server = Server::start(&["--workers", "2"]).expect("the server starts");
    let client = connect(&server, &broker).await;
    run(&client, &source("s", "t", "")).await;
    run(&client, "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, sum(v) AS total FROM s").await;
    assert_eq!(rows(&client, "SELECT n, total FROM v").await, [["100", "4950"]]);
    let follower = server.connect().await.expect("connect");
    let stream = follower.simple_query_raw("SUBSCRIBE v").await.expect("subscribe");
    let shown = tokio::spawn(async move {
        let mut stream = std::pin::pin!(stream);
        let mut shown: Vec<(u64, i64, String)> = vec![];
        // Until the server is killed.
        while let Some(Ok(message)) = stream.next().await {
            if let SimpleQueryMessage::Row(row) = message {
                let cell = |i| row.get(i).unwrap_or_default().to_string();
                shown.push((cell(0).parse().expect("a time"), cell(1).parse().expect("a change"), cell(2)));
            }
        }
        drop(follower);
        shown
    });
    for round in 0..5 {
        let from = 100 + round * 10;
        broker.produce("t", (round % 2) as i32, &messages(from, from + 10)).await.expect("produce");
        let n = (from + 10).to_string();
        eventually(&client, "SELECT n FROM v", &[&[n.as_str()]]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.kill().expect("kill");
    let shown = shown.await.expect("followed");
    assert!(shown.iter().filter(|s| s.1 > 0).count() >= 6, "{shown:?}");
    server.restart().expect("restart");
    let client = server.connect().await.expect("connect");
    eventually(&client, "SELECT n FROM v", &[&["150"]]).await;
    for (time, _, n) in shown.iter().filter(|s| s.1 > 0) {
        let then = rows(&client, &format!("SUBSCRIBE v AS OF {time} UP TO {}", time + 1)).await;
        assert_eq!(then.len(), 1, "at {time}: {then:?}");
        assert_eq!(then[0][2], *n, "at {time}: {then:?}");
    }
}
