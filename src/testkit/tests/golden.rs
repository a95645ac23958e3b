//! Data directories that earlier versions wrote, which every later version opens: `headwater verify` finds them sound, a
//! start shows what they held, they take more, and the next start shows that too.
//!
//! `golden/<name>.golden` is a packed directory, `golden/<name>.expected` what it is to show: queries with their rows. Neither
//! is ever written again; a change of a format adds a pair (see [`write_golden_directories`]). `v2-clean` was shut down;
//! `v2-killed` was killed with log after its checkpoint, and had been subscribed to.

#[path = "golden/archive.rs"]
mod archive;

use archive::{pack, unpack};
use hw_testkit::Server;
use hw_testkit::expect::must;
use hw_testkit::rows::{Bag, Refusal, Row, bag, difference, rows, run};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

const PASSWORD: &str = "golden secret";
/// What a version writes whose formats have these numbers in docs/formats.md.
const VERSION: &str = "v2";
const ARGS: &[&str] = &["--checkpoint-interval", "3600", "--workers", "2"];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

async fn connect(server: &Server, password: &str) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(server.pg_addr.port()).user("headwater").password(password);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The statements of a file: one a line, but for texts that hold an end of line.
fn statements(file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(golden().join(file)).expect("a file of statements");
    let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with("--") && !l.is_empty()).collect();
    let ends = |line: &&str| line.ends_with(';') || file == "queries.sql";
    let mut out = vec![];
    let mut open: Vec<&str> = vec![];
    for line in lines {
        open.push(line);
        if ends(&line) {
            out.push(open.join("\n"));
            open.clear();
        }
    }
    out
}

/// What a query gives, as the lines of a file.
fn shown(result: &Result<Vec<Row>, Refusal>) -> Vec<String> {
    let escape = |text: &str| text.replace('\\', "\\\\").replace('\n', "\\n").replace('|', "\\p");
    let value = |v: &Option<String>| v.as_ref().map_or_else(|| "\\N".into(), |text| escape(text));
    match result {
        Ok(rows) => rows.iter().map(|row| row.iter().map(value).collect::<Vec<_>>().join("|")).collect(),
        Err(e) => vec![format!("! {}: {}", e.code, e.message)],
    }
}

/// Queries and what they are to show.
fn expected(name: &str) -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(golden().join(format!("{name}.expected"))).expect("what is expected");
    let mut out: Vec<(String, Vec<String>)> = vec![];
    for line in text.lines() {
        match (line.strip_prefix("> "), out.last_mut()) {
            (Some(query), _) => out.push((query.into(), vec![])),
            (None, Some((_, lines))) if !line.is_empty() => lines.push(line.into()),
            _ => {}
        }
    }
    out
}

/// The rows of a query, by their order where that means nothing.
async fn ask(client: &Client, query: &str) -> Vec<String> {
    let mut lines = shown(&rows(client, query).await);
    if query.starts_with("SUBSCRIBE") {
        lines.sort();
    }
    lines
}

/// What `headwater verify` says: whether all is well, and its words.
fn verify(home: &Path) -> (bool, String) {
    let mut command = std::process::Command::new(hw_testkit::binary().expect("the binary"));
    let said = command.arg("verify").arg(home).output().expect("runs");
    (
        said.status.success(),
        format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr)),
    )
}

/// Every materialized view shows what its query gives, or refuses where that does.
async fn check_views(client: &Client, when: &str) -> Vec<Bag> {
    let views = rows(client, "SELECT schemaname, matviewname, definition FROM pg_matviews ORDER BY 1, 2").await;
    let mut all = vec![];
    for view in views.expect("views") {
        let [schema, name, query] = [0, 1, 2].map(|i| view[i].clone().expect("a text"));
        let query = query.trim_end_matches(';').to_owned();
        match (bag(client, &query).await, bag(client, &format!("SELECT * FROM {schema}.{name}")).await) {
            (Ok(computed), Ok(shown)) => {
                let differs = difference(&computed, &shown);
                assert!(differs.is_empty(), "{when}: {name}: its query < > the view\n{differs}");
                all.push(shown);
            }
            (Err(a), Err(b)) => assert_eq!(a.code, b.code, "{when}: {name}"),
            (a, b) => panic!("{when}: {name}: its query {a:?}, the view {b:?}"),
        }
    }
    all
}

async fn tables(client: &Client) -> Vec<Bag> {
    let names = "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind = 'r' AND n.nspname IN ('public', 'shop') ORDER BY 1, 2";
    let mut all = vec![];
    for row in rows(client, names).await.expect("tables") {
        let [schema, name] = [0, 1].map(|i| row[i].clone().expect("a text"));
        // The relations of a generator are not kept.
        if !name.starts_with("n_") {
            all.push(bag(client, &format!("SELECT * FROM {schema}.{name}")).await.expect("a table"));
        }
    }
    all
}

async fn check(name: &str) {
    let home = tempfile::tempdir().expect("a directory");
    unpack(&std::fs::read(golden().join(format!("{name}.golden"))).expect("a packed directory"), home.path());
    let (sound, said) = verify(home.path());
    assert!(sound && !said.contains("warning"), "{name}: {said}");
    let mut server = Server::start_in(home.path(), ARGS).unwrap_or_else(|e| panic!("{name}: {e}"));
    for wrong in ["", "golden", "golden secrets"] {
        assert!(connect(&server, wrong).await.is_err(), "{name}: {wrong:?} is taken for the password");
    }
    let client = connect(&server, PASSWORD).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    let expected = expected(name);
    assert!(expected.len() > 40, "{name}: {} queries", expected.len());
    for (query, lines) in &expected {
        let found = ask(&client, query).await;
        assert_eq!(&found, lines, "{name}: {query}");
    }
    check_views(&client, name).await;
    // It takes more.
    for sql in [
        "INSERT INTO shop.customers VALUES (100, 'Zoe', 'north'), (101, 'Yan', NULL)",
        "INSERT INTO shop.orders VALUES (100, 11.11, 3, 1e10, false), (3, 0.01, 1, 'NaN', true)",
        "UPDATE types SET x = 'changed', f8 = 1 WHERE id < 4",
        "DELETE FROM keyed WHERE a = 2",
        "CREATE MATERIALIZED VIEW shop.another AS SELECT customer, count(*) AS n FROM shop.orders GROUP BY customer",
        "CREATE TABLE another (t text PRIMARY KEY)",
        "INSERT INTO another VALUES ('a'), ('b')",
    ] {
        must(&client, sql).await;
    }
    for (sql, code) in [
        ("INSERT INTO shop.customers VALUES (1, 'again', NULL)", "23505"),
        ("INSERT INTO shop.customers VALUES (200, NULL, NULL)", "23502"),
    ] {
        assert_eq!(run(&client, sql).await.expect_err(sql).code, code);
    }
    let before = (tables(&client).await, check_views(&client, name).await);
    assert!(before.0.len() > 5 && before.1.len() > 15, "{} tables, {} views", before.0.len(), before.1.len());
    for checkpoint in [false, true] {
        if checkpoint {
            must(&connect(&server, PASSWORD).await.expect("connects"), "CHECKPOINT").await;
        }
        server.kill().expect("kill");
        server.restart().unwrap_or_else(|e| panic!("{name}: {e}"));
        let client = connect(&server, PASSWORD).await.expect("connects");
        let after = (tables(&client).await, check_views(&client, name).await);
        assert!(after == before, "{name}: after a restart, with a checkpoint: {checkpoint}");
    }
    drop(server);
    let (sound, said) = verify(home.path());
    assert!(sound, "{name}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn golden_directories_are_opened() {
    let mut names: Vec<String> = vec![];
    for entry in std::fs::read_dir(golden()).expect("list").map(|e| e.expect("entry").path()) {
        if entry.extension().is_some_and(|e| e == "golden") {
            names.push(entry.file_stem().expect("a name").to_string_lossy().into_owned());
        }
    }
    names.sort();
    for known in ["v2-clean", "v2-killed"] {
        assert!(names.iter().any(|n| n == known), "{known} is missing");
    }
    for name in names {
        println!("{name}");
        check(&name).await;
    }
}

/// Reads the snapshot of a new subscription; when it is, for the queries to come.
async fn subscribe(server: &Server, relation: &str) -> u64 {
    use futures::StreamExt;
    let client = connect(server, PASSWORD).await.expect("connects");
    let stream = client.simple_query_raw(&format!("SUBSCRIBE TO {relation}")).await.expect("subscribes");
    let mut stream = std::pin::pin!(stream);
    loop {
        if let SimpleQueryMessage::Row(row) = stream.next().await.expect("a row").expect("a row") {
            return row.get(0).and_then(|t| t.parse().ok()).expect("a time");
        }
    }
}

/// Writes golden directories of this version, with what they show. To be run, with [`VERSION`] raised, by whoever changes the
/// version of a format, and before the change for what is missing of the version then:
/// `cargo test --release -p hw-testkit --test golden -- --ignored`. What it says is expected has to be read, and understood
/// from `setup.sql` and `tail.sql`, before it is committed. It refuses to write what is there.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes files of the repository"]
async fn write_golden_directories() {
    for name in ["clean", "killed"] {
        let name = format!("{VERSION}-{name}");
        let (packed, text) = (golden().join(format!("{name}.golden")), golden().join(format!("{name}.expected")));
        assert!(!packed.exists() && !text.exists(), "{name} is there and stays as it is");
        let home = tempfile::tempdir().expect("a directory");
        let mut server = Server::start_in(home.path(), ARGS).expect("starts");
        let client = server.connect().await.expect("connects");
        for sql in statements("setup.sql") {
            must(&client, &sql).await;
        }
        let begun = Instant::now();
        while rows(&client, "SELECT bids FROM n_total").await.expect("a count")[0][0].as_deref() != Some("460") {
            assert!(begun.elapsed() < Duration::from_secs(20), "the bids do not come");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut queries: Vec<String> = vec![];
        if name.ends_with("clean") {
            queries.extend(statements("queries.sql"));
            let lines = asked(&client, &queries).await;
            server.terminate().expect("SIGTERM");
            while server.is_running() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            finish(home.path(), &packed, &text, &lines);
            continue;
        }
        let from = subscribe(&server, "shop.by_region").await;
        must(&client, "CHECKPOINT").await;
        for sql in statements("tail.sql") {
            must(&client, &sql).await;
        }
        let to = subscribe(&server, "shop.by_region").await;
        queries.push(format!("SUBSCRIBE TO shop.by_region AS OF {from} UP TO {}", to + 1));
        queries.extend(statements("queries.sql"));
        let lines = asked(&client, &queries).await;
        server.kill().expect("kill");
        finish(home.path(), &packed, &text, &lines);
    }
}

async fn asked(client: &Client, queries: &[String]) -> String {
    let mut out = String::new();
    for query in queries {
        let lines = ask(client, query).await;
        out += &format!("> {query}\n{}\n\n", lines.join("\n"));
    }
    out
}

fn finish(home: &Path, packed: &Path, text: &Path, lines: &str) {
    std::fs::write(packed, pack(home)).expect("write");
    std::fs::write(text, lines).expect("write");
}
