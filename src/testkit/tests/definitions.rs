//! What a client is told where definitions change: DROP and what goes with it.

use hw_testkit::raw::RawClient;
use hw_testkit::{Server, binary};

/// Fields of the notices and the error that a statement is answered with: severity aside, message, detail and hint.
fn told(client: &mut RawClient, sql: &str) -> Vec<String> {
    client.query(sql).expect("sent");
    let mut out = vec![];
    loop {
        let (kind, body) = client.message().expect("a message");
        match kind {
            b'N' | b'E' => {
                let field = |f| hw_testkit::raw::error_field(&body, f);
                let parts = [field(b'C'), field(b'M'), field(b'D'), field(b'H')];
                out.push(parts.into_iter().flatten().collect::<Vec<_>>().join(" | "));
            }
            b'Z' => return out,
            _ => {}
        }
    }
}

fn started() -> (Server, RawClient) {
    assert!(binary().is_some(), "build the server first: cargo build --release");
    let server = Server::start(&["--workers", "1"]).expect("server starts");
    let client = RawClient::login(server.pg_addr).expect("login");
    (server, client)
}

const HINT: &str = "Use DROP ... CASCADE to drop the dependent objects too.";

#[test]
fn drop_says_what_goes_with_it_in_postgresqls_words() {
    let (_server, mut client) = started();
    for sql in [
        "CREATE TABLE t (a int)",
        "CREATE VIEW v AS SELECT a FROM t",
        "CREATE MATERIALIZED VIEW m AS SELECT a FROM v",
        "CREATE INDEX mi ON m (a)",
        "CREATE TABLE u (a int)",
        "CREATE VIEW alone AS SELECT a FROM u",
    ] {
        assert!(told(&mut client, sql).is_empty(), "{sql}");
    }
    let want = format!(
        "2BP01 | cannot drop table t because other objects depend on it | view v depends on table t\n\
         materialized view m depends on view v | {HINT}"
    );
    assert_eq!(told(&mut client, "DROP TABLE t"), [want]);
    let want = format!(
        "2BP01 | cannot drop desired object(s) because other objects depend on them | view v depends on table t\n\
         materialized view m depends on view v\nview alone depends on table u | {HINT}"
    );
    assert_eq!(told(&mut client, "DROP TABLE t, u RESTRICT"), [want]);
    assert_eq!(told(&mut client, "DROP TABLE u CASCADE"), ["00000 | drop cascades to view alone"]);
    let want = "00000 | drop cascades to 2 other objects | drop cascades to view v\n\
                drop cascades to materialized view m";
    assert_eq!(told(&mut client, "DROP TABLE t CASCADE"), [want]);
    assert_eq!(told(&mut client, "DROP TABLE IF EXISTS t"), ["00000 | table \"t\" does not exist, skipping"]);
    let want = "00000 | materialized view \"m\" does not exist, skipping";
    assert_eq!(told(&mut client, "DROP MATERIALIZED VIEW IF EXISTS m"), [want]);
}

#[test]
fn a_schema_goes_with_what_is_in_it_and_what_reads_that() {
    let (_server, mut client) = started();
    for sql in ["CREATE SCHEMA s", "CREATE TABLE s.t (a int)", "CREATE VIEW v AS SELECT a FROM s.t"] {
        assert!(told(&mut client, sql).is_empty(), "{sql}");
    }
    let want = format!(
        "2BP01 | cannot drop schema s because other objects depend on it | table s.t depends on schema s\n\
         view v depends on table s.t | {HINT}"
    );
    assert_eq!(told(&mut client, "DROP SCHEMA s"), [want]);
    let want = "00000 | drop cascades to 2 other objects | drop cascades to table s.t\ndrop cascades to view v";
    assert_eq!(told(&mut client, "DROP SCHEMA s CASCADE"), [want]);
    assert_eq!(told(&mut client, "DROP SCHEMA IF EXISTS s"), ["00000 | schema \"s\" does not exist, skipping"]);
}

#[test]
fn a_type_that_columns_have_names_them() {
    let (_server, mut client) = started();
    for sql in ["CREATE TYPE mood AS ENUM ('ok')", "CREATE TABLE t (a int, m mood)"] {
        assert!(told(&mut client, sql).is_empty(), "{sql}");
    }
    let want = format!(
        "2BP01 | cannot drop type mood because other objects depend on it | \
         column m of table t depends on type mood | {HINT}"
    );
    assert_eq!(told(&mut client, "DROP TYPE mood"), [want]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_of_what_is_dropped_is_told() {
    let (server, mut client) = started();
    assert!(told(&mut client, "CREATE TABLE t (a int)").is_empty());
    assert!(told(&mut client, "CREATE MATERIALIZED VIEW m AS SELECT a FROM t").is_empty());
    let mut follower = hw_testkit::Follower::start(&server, "m").await.expect("subscribed");
    // It has begun when it shows a row.
    assert!(told(&mut client, "INSERT INTO t VALUES (1)").is_empty());
    follower.until_row(|row| row[0].as_deref() == Some("1")).await.expect("a row");
    assert_eq!(told(&mut client, "DROP TABLE t CASCADE"), ["00000 | drop cascades to materialized view m"]);
    let ended = loop {
        if let Err(e) = follower.step().await {
            break format!("{e:?}");
        }
    };
    assert!(ended.contains("42P01") && ended.contains("relation \\\"m\\\" was dropped"), "{ended}");
}
