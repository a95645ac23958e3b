//! Files that are not what was written: single bits that flipped, ends that are missing, files that are gone. A start
//! then gives a clear error, or comes back with everything; never a panic, never a wrong answer. One exception is part of
//! the deal: the last record of the log that was never followed by another may be taken for a torn write, and is cut with a
//! warning that names the tick.
//!
//! `HEADWATER_TEST_FLIPS=1000` is the long form; `HEADWATER_TEST_SEED` repeats the places.

use hw_testkit::rows::{rows, run};
use hw_testkit::{Random, Server, seed};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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

async fn must(client: &Client, sql: &str) {
    run(client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

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

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("directory");
    for entry in std::fs::read_dir(from).expect("list").map(|e| e.expect("entry")) {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copy");
        }
    }
}

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(dir).expect("list").map(|e| e.expect("entry").path()) {
        if path.is_dir() { files(&path, out) } else { out.push(path) }
    }
}

/// Damages a random file; what was done.
fn damage(home: &Path, random: &mut Random) -> String {
    let mut all = vec![];
    files(home, &mut all);
    all.retain(|p| !p.ends_with("LOCK"));
    all.sort();
    let path = &all[random.below(all.len() as u64) as usize];
    let name = path.strip_prefix(home).expect("inside").display().to_string();
    let mut bytes = std::fs::read(path).expect("read");
    // Room that was never written holds nothing to damage.
    let written = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    if written == 0 {
        return format!("{name} is empty");
    }
    match random.below(20) {
        0 => {
            std::fs::remove_file(path).expect("remove");
            format!("{name} removed")
        }
        // A log that ends early looks like one that was never longer, except where a checkpoint knows better.
        1 if !name.starts_with("log/") => {
            let len = random.below(written as u64) as usize;
            std::fs::write(path, &bytes[..len]).expect("write");
            format!("{name} cut to {len} of {written} bytes")
        }
        _ => {
            let (at, bit) = (random.below(written as u64) as usize, random.below(8));
            bytes[at] ^= 1 << bit;
            std::fs::write(path, &bytes).expect("write");
            format!("{name}: bit {bit} of byte {at} of {written}")
        }
    }
}

/// What `headwater verify` says: whether all is well, and its words.
fn verify(home: &Path) -> (bool, String) {
    let mut command = Command::new(hw_testkit::binary().expect("the binary"));
    let said = command.arg("verify").arg(home).output().expect("runs");
    let text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(matches!(said.status.code(), Some(0 | 1)) && !text.contains("panicked"), "{text}");
    (said.status.success(), text)
}

fn listing(home: &Path) -> Vec<(PathBuf, u32)> {
    let mut all = vec![];
    files(home, &mut all);
    all.sort();
    all.into_iter().map(|p| (p.clone(), crc32c::crc32c(&std::fs::read(&p).expect("read")))).collect()
}

enum Start {
    /// It is there.
    Ready(Server),
    /// It ended: whether by itself, and its last words.
    Ended(bool, String),
}

/// Starts on a directory whose state is not known.
fn start(home: &Path) -> Start {
    match Server::start_in(home, &["--checkpoint-interval", "3600"]) {
        Ok(server) => Start::Ready(server),
        Err(_) => {
            // Again, to hear what it says.
            let mut child = Command::new(hw_testkit::binary().expect("the binary"))
                .args(["start", "--pg-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--data-dir"])
                .arg(home)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("spawns");
            let mut text = String::new();
            child.stderr.take().expect("piped").read_to_string(&mut text).expect("text");
            let status = child.wait().expect("ends");
            Start::Ended(status.code() == Some(1), text)
        }
    }
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
