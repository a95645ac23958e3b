//! Files that are not what was written: single bits that flipped, ends that are missing, files that are gone. A start
//! then gives a clear error, or comes back with everything; never a panic, never a wrong answer. One exception is part of
//! the deal: the last record of the log that was never followed by another may be taken for a torn write, and is cut with a
//! warning that names the tick.
//!
//! `HEADWATER_TEST_FLIPS=1000` is the long form; `HEADWATER_TEST_SEED` repeats the places.

#[path = "damage/directory.rs"]
mod directory;

use directory::{Start, copy, damage, listing, start, verify};
use hw_testkit::expect::must;
use hw_testkit::rows::rows;
use hw_testkit::{Random, Server, seed};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const QUERIES: &[&str] = &[
    "SELECT * FROM t ORDER BY k",
    "SELECT * FROM by_g ORDER BY g",
    "SELECT * FROM pairs ORDER BY 1, 2",
    "SELECT * FROM bids ORDER BY auction",
    "SELECT * FROM prices ORDER BY 1",
    "SELECT name FROM headwater.views ORDER BY name",
];

async fn contents(client: &Client) -> Result<Vec<String>, String> {
    let mut all = vec![];
    for sql in QUERIES {
        all.push(format!("{:?}", rows(client, sql).await.map_err(|e| format!("{sql}: {e}"))?));
    }
    Ok(all)
}

/// A data directory with a checkpoint and log after it, as `kill -9` leaves it; what it holds, without and with the last
/// write.
async fn prepare(home: &Path) -> [Vec<String>; 2] {
    let mut server = Server::start_in(home, &["--checkpoint-interval", "3600"]).expect("starts");
    let client = server.connect().await.expect("connects");
    let values: Vec<String> = (0..3000).map(|i| format!("({i}, 'g{}', {i}.5)", i % 50)).collect();
    for sql in [
        "CREATE TABLE t (k int PRIMARY KEY, g text, n numeric(10, 2))",
        "CREATE SOURCE s FROM GENERATOR NEXMARK (EVENTS 3000, PREFIX '')",
        "CREATE MATERIALIZED VIEW by_g AS SELECT g, count(*) AS c, sum(n) AS s, max(k) AS top FROM t GROUP BY g",
        "CREATE MATERIALIZED VIEW pairs AS SELECT a.k AS one, b.k AS two FROM t a JOIN t b ON a.k = b.k * 7",
        "CREATE MATERIALIZED VIEW bids AS SELECT auction, count(*) AS c, avg(price) AS a FROM bid GROUP BY auction",
        "CREATE MATERIALIZED VIEW prices AS SELECT DISTINCT b.price FROM bid b JOIN auction a ON a.id = b.auction",
        "CREATE INDEX ON by_g (c)",
        &format!("INSERT INTO t VALUES {}", values.join(", ")),
    ] {
        must(&client, sql).await;
    }
    let begun = Instant::now();
    while rows(&client, "SELECT sum(c) FROM bids").await.expect("bids")[0][0].as_deref() != Some("2760") {
        assert!(begun.elapsed() < Duration::from_secs(20), "the bids do not come");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    must(&client, "CHECKPOINT").await;
    must(&client, "UPDATE t SET n = n + 1 WHERE k % 3 = 0").await;
    must(&client, "CHECKPOINT").await;
    for i in 0..5 {
        must(&client, &format!("INSERT INTO t VALUES ({}, 'late', {i})", 5000 + i)).await;
        must(&client, &format!("DELETE FROM t WHERE k = {}", i * 100)).await;
    }
    let before = contents(&client).await.expect("reads");
    must(&client, "INSERT INTO t VALUES (9999, 'last', 1)").await;
    let after = contents(&client).await.expect("reads");
    server.kill().expect("kill");
    [before, after]
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_told_or_harmless() {
    let seed = seed();
    let flips = std::env::var("HEADWATER_TEST_FLIPS").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    println!("seed={seed}, {flips} times");
    let mut random = Random::new(seed);
    let home = tempfile::tempdir().expect("a directory");
    let [without_last, whole] = prepare(home.path()).await;
    let (mut refused, mut torn) = (0, 0);
    let (sound, said) = verify(home.path());
    assert!(sound && said.contains("sound") && !said.contains("warning"), "{said}");
    for round in 0..flips {
        let copied = tempfile::tempdir().expect("a directory");
        copy(home.path(), copied.path());
        let what = damage(copied.path(), &mut random);
        let files = listing(copied.path());
        let (sound, said) = verify(copied.path());
        assert!(files == listing(copied.path()), "verify changed something: {what}");
        match start(copied.path()) {
            Start::Ended(by_itself, text) => {
                let clear =
                    text.contains("headwater: ") && !text.contains("panicked") && !text.contains("RUST_BACKTRACE");
                assert!(by_itself && clear, "round {round}: {what}: {text}");
                assert!(!sound, "round {round}: {what}: refused with {text}, but verify says {said}");
                refused += 1;
            }
            Start::Ready(server) => {
                let client = server.connect().await.unwrap_or_else(|e| panic!("round {round}: {what}: {e}"));
                let found = contents(&client).await.unwrap_or_else(|e| panic!("round {round}: {what}: {e}"));
                if found == without_last && what.starts_with("log/") {
                    torn += 1;
                    assert!(said.contains("warning"), "round {round}: {what}: {said}");
                } else {
                    let differs = QUERIES.iter().zip(found.iter().zip(&whole)).find(|(_, (a, b))| a != b);
                    assert!(differs.is_none(), "round {round}: {what}: {}", differs.map_or("", |d| d.0));
                }
            }
        }
    }
    println!("{flips} times: {refused} refused, {torn} lost the end of the log, the others came back with everything");
    assert!(refused > 0, "nothing was noticed");
}
