//! The way back from damage that a start refuses: `headwater repair` says what is lost, changes nothing without consent, and
//! with it leaves a directory that verifies, that a server starts on, whose tables hold what was stated and whose views are
//! what their queries give.
//!
//! `HEADWATER_TEST_FLIPS=1000` is the long form of the random test, `HEADWATER_TEST_POINTS=all` that of dying on the way;
//! `HEADWATER_TEST_SEED` repeats the places.

#[path = "damage/directory.rs"]
mod directory;

use directory::{Start, copy, damage, files, listing, say, start, verify};
use hw_repr::GlobalId;
use hw_store::DataDir;
use hw_store::checkpoint::{Block, Salvage};
use hw_testkit::expect::must;
use hw_testkit::rows::{Bag, bag, difference, rows};
use hw_testkit::{Follower, KafkaBroker, Random, Server, fail_points, seed};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_postgres::Client;

const VIEWS: &[(&str, &str)] = &[
    ("by_g", "SELECT g, count(*) AS c, sum(n) AS s, max(k) AS top FROM t GROUP BY g"),
    ("pairs", "SELECT a.k AS one, b.k AS two FROM t a JOIN t b ON a.k = b.k * 7"),
    ("doubled", "SELECT g, c * 2 AS d FROM by_g WHERE c > 5"),
    ("words", "SELECT DISTINCT a FROM u"),
    ("bids", "SELECT auction, count(*) AS c, avg(price) AS a FROM bid GROUP BY auction"),
    ("prices", "SELECT DISTINCT b.price FROM bid b JOIN auction a ON a.id = b.auction"),
];
const TABLES: &[&str] = &["t", "u"];
const TAIL: usize = 8;
/// Rows of `t` that were changed before the checkpoint.
const UPDATED: i64 = 60;

async fn all(client: &Client, relation: &str) -> Bag {
    bag(client, &format!("SELECT * FROM {relation}")).await.unwrap_or_else(|e| panic!("{relation}: {e}"))
}

async fn tables(client: &Client) -> Vec<Bag> {
    vec![all(client, TABLES[0]).await, all(client, TABLES[1]).await]
}

fn count(bag: &Bag) -> i64 {
    bag.values().sum()
}

/// A directory as `kill -9` leaves it: a checkpoint, and log after it.
struct Prepared {
    home: TempDir,
    /// The tables at the checkpoint, and after each write since.
    after: Vec<Vec<Bag>>,
}

impl Prepared {
    async fn new() -> Prepared {
        let home = tempfile::tempdir().expect("a directory");
        let mut server =
            Server::start_in(home.path(), &["--checkpoint-interval", "3600", "--workers", "2"]).expect("starts");
        let client = server.connect().await.expect("connects");
        let values: Vec<String> = (0..60_000).map(|i| format!("({i}, 'g{}', {i}.5)", i % 50)).collect();
        must(&client, "CREATE TABLE t (k int PRIMARY KEY, g text, n numeric(10, 2))").await;
        must(&client, "CREATE TABLE u (a text, b int)").await;
        must(&client, "CREATE SOURCE s FROM GENERATOR NEXMARK (EVENTS 3000, PREFIX '')").await;
        for (view, query) in VIEWS {
            must(&client, &format!("CREATE MATERIALIZED VIEW {view} AS {query}")).await;
        }
        must(&client, "CREATE INDEX ON by_g (c)").await;
        // From here on its history is kept, and that of the table below it.
        must(&client, "SUBSCRIBE TO by_g UP TO 1").await;
        must(&client, &format!("INSERT INTO t VALUES {}", values.join(", "))).await;
        must(&client, "INSERT INTO u VALUES ('first mark', 1), ('twice', 2), ('twice', 2), (NULL, NULL)").await;
        let begun = Instant::now();
        while rows(&client, "SELECT sum(c) FROM bids").await.expect("bids")[0][0].as_deref() != Some("2760") {
            assert!(begun.elapsed() < Duration::from_secs(20), "the bids do not come");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        must(&client, "CHECKPOINT").await;
        must(&client, "UPDATE t SET n = n + 1 WHERE k % 1000 = 0").await;
        must(&client, "INSERT INTO u VALUES ('second mark', 1)").await;
        must(&client, "CHECKPOINT").await;
        let after = Self::write_tail(&client).await;
        server.kill().expect("kill");
        Prepared { home, after }
    }

    /// The same with a log that does not begin at the start: made by a repair that gave up what was after the checkpoint.
    async fn without_early_log() -> Prepared {
        let mut p = Prepared::new().await;
        let path = segments(p.home.path()).pop().expect("a segment");
        std::fs::remove_file(&path).expect("remove");
        repair(p.home.path());
        let args = ["--checkpoint-interval", "3600", "--workers", "2"];
        let mut server = Server::start_in(p.home.path(), &args).expect("starts");
        let client = server.connect().await.expect("connects");
        assert!(tables(&client).await == p.after[0]);
        p.after = Self::write_tail(&client).await;
        server.kill().expect("kill");
        p
    }

    async fn write_tail(client: &Client) -> Vec<Vec<Bag>> {
        let mut after = vec![tables(client).await];
        for i in 0..TAIL {
            match i % 4 {
                0 => must(client, &format!("INSERT INTO t VALUES ({}, 'late mark {i}', {i})", 100_000 + i)).await,
                1 => must(client, &format!("DELETE FROM t WHERE k = {}", i * 100)).await,
                2 => must(client, &format!("UPDATE t SET g = 'late mark {i}' WHERE k = {}", i * 5000)).await,
                _ => must(client, &format!("INSERT INTO u VALUES ('late mark {i}', {i})")).await,
            }
            after.push(tables(client).await);
        }
        after
    }

    fn last(&self) -> &[Bag] {
        &self.after[TAIL]
    }

    /// The same again, to be damaged.
    fn copied(&self) -> TempDir {
        let copied = tempfile::tempdir().expect("a directory");
        copy(self.home.path(), copied.path());
        copied
    }
}

/// Flips a bit of the byte at `at`.
fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("read");
    bytes[at] ^= 4;
    std::fs::write(path, bytes).expect("write");
}

fn segments(home: &Path) -> Vec<PathBuf> {
    let mut all = vec![];
    files(&home.join("log"), &mut all);
    all.retain(|p| p.extension().is_some_and(|e| e == "seg"));
    all.sort();
    all
}

/// Flips a bit of a text that the log has.
fn flip_in_log(home: &Path, text: &str) {
    for path in segments(home) {
        let bytes = std::fs::read(&path).expect("read");
        if let Some(at) = bytes.windows(text.len()).position(|w| w == text.as_bytes()) {
            return flip(&path, at);
        }
    }
    panic!("the log does not have {text:?}");
}

/// The blocks of a relation in the checkpoint, by its id; in the order in which they are named.
fn blocks(home: &Path, id: &str) -> Vec<Block> {
    let id = GlobalId(id.parse().expect("a number"));
    let dir = DataDir::open_existing(home).expect("a data directory");
    let salvage = Salvage::of(&dir).expect("reads").expect("a checkpoint");
    let of_it = salvage.manifest().relations.iter().filter(|r| r.id == id);
    of_it.flat_map(|r| r.shards.iter().flatten().flatten().map(|v| v.block)).collect()
}

fn chunk_file(home: &Path, number: u64) -> PathBuf {
    home.join("checkpoint").join(format!("{number:016}.chunks"))
}

async fn id_of(prepared: &Prepared, name: &str) -> String {
    let copied = prepared.copied();
    let server = Server::start_in(copied.path(), &["--checkpoint-interval", "3600"]).expect("starts");
    let client = server.connect().await.expect("connects");
    let found = rows(&client, &format!("SELECT oid FROM pg_class WHERE relname = '{name}'")).await.expect("reads");
    found[0][0].clone().expect("an oid")
}

/// Every view is what its query gives.
async fn check_views(client: &Client, when: &str) {
    for (view, query) in VIEWS {
        let (shown, computed) = (all(client, view).await, bag(client, query).await.expect("computed"));
        let differs = difference(&computed, &shown);
        assert!(differs.is_empty(), "{when}: {view}: its query < > the view\n{differs}");
    }
    for relation in TABLES.iter().copied().chain(VIEWS.iter().map(|(view, _)| *view)) {
        assert!(all(client, relation).await.values().all(|n| *n > 0), "{when}: {relation}");
    }
}

/// What a start refuses with, naming a file that ends like this.
fn must_be_refused(home: &Path, file: &str) {
    match start(home) {
        Start::Ended(true, said) => assert!(said.contains(file), "{said}"),
        Start::Ended(false, said) => panic!("{said}"),
        Start::Ready(server) => panic!("a start does not mind: {server:?}"),
    }
}

/// Repairs: without consent nothing changes, with consent everything that was replaced is kept. What was said.
fn repair(home: &Path) -> String {
    let before = listing(home);
    let (done, said) = say(home, &["repair"]);
    assert!(!done && said.contains("nothing was changed"), "{said}");
    assert!(listing(home) == before, "something was changed without consent: {said}");
    let (done, again) = say(home, &["repair", "--accept-loss"]);
    assert!(done, "{again}");
    let told = |line: &&str| ["damaged ", "step ", "lost "].iter().any(|word| line.starts_with(word));
    let lines = |text: &str| -> Vec<String> { text.lines().filter(told).map(Into::into).collect() };
    assert_eq!(lines(&said), lines(&again), "what was done is not what was said");
    let kept: BTreeSet<u32> = listing(home).into_iter().map(|(_, crc)| crc).collect();
    let gone: Vec<&PathBuf> = before.iter().filter(|(_, crc)| !kept.contains(crc)).map(|(p, _)| p).collect();
    assert!(gone.is_empty(), "{gone:?} are nowhere: {again}");
    let (sound, text) = verify(home);
    assert!(sound, "after the repair: {text}");
    let (nothing, text) = say(home, &["repair"]);
    assert!(nothing && text.contains("nothing is damaged"), "{text}");
    again
}

/// Says that it cannot, and changes nothing; why.
fn must_be_beyond_repair(home: &Path) -> String {
    let before = listing(home);
    let (done, said) = say(home, &["repair", "--accept-loss"]);
    assert!(!done && said.contains("cannot"), "{said}");
    assert!(listing(home) == before, "something was changed: {said}");
    said
}

/// Starts, checks, writes more, and starts again, twice; the tables as they were at first.
async fn must_go_on(home: &Path, when: &str) -> Vec<Bag> {
    let args = ["--checkpoint-interval", "3600", "--workers", "1"];
    let mut server = Server::start_in(home, &args).unwrap_or_else(|e| panic!("{when}: {e}"));
    let client = server.connect().await.expect("connects");
    check_views(&client, when).await;
    let first = tables(&client).await;
    // What comes is shown to those who subscribe now.
    let mut follower = Follower::start(&server, "by_g").await.expect("subscribes");
    follower.until(0).await.expect("the snapshot");
    must(&client, "INSERT INTO u VALUES ('after the repair', 1)").await;
    must(&client, "DELETE FROM t WHERE k % 10 = 3").await;
    must(&client, "CREATE TABLE more (k int PRIMARY KEY)").await;
    check_views(&client, when).await;
    let wanted = all(&client, "by_g").await;
    let changes = async {
        while *follower.contents() != wanted {
            follower.step().await.unwrap_or_else(|e| panic!("{when}: {e}"));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), changes)
        .await
        .unwrap_or_else(|_| panic!("{when}: SUBSCRIBE differs"));
    drop(follower);
    let before = tables(&client).await;
    for checkpoint in [false, true] {
        if checkpoint {
            let client = server.connect().await.expect("connects");
            must(&client, "CHECKPOINT").await;
        }
        server.kill().expect("kill");
        server.restart_with(&["--checkpoint-interval", "3600", "--workers", "2"]).expect("restarts");
        let client = server.connect().await.expect("connects");
        check_views(&client, when).await;
        assert!(tables(&client).await == before && all(&client, "more").await.is_empty(), "{when}: after a restart");
    }
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_where_nothing_is_damaged() {
    let p = Prepared::new().await;
    let before = listing(p.home.path());
    for args in [&["repair"][..], &["repair", "--accept-loss"]] {
        let (done, said) = say(p.home.path(), args);
        assert!(done && said.contains("nothing is damaged"), "{said}");
    }
    assert!(listing(p.home.path()) == before);
    let server = Server::start_in(p.home.path(), &[]).expect("starts");
    let (done, said) = say(p.home.path(), &["repair", "--accept-loss"]);
    assert!(!done && said.contains("in use by another server"), "{said}");
    drop(server);
    let empty = tempfile::tempdir().expect("a directory");
    let (done, said) = say(empty.path(), &["repair", "--accept-loss"]);
    assert!(!done && said.contains("not a data directory"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_kept_up_to_the_damage() {
    let p = Prepared::new().await;
    // In the middle of what came after the checkpoint.
    for broken in [0, 3, 4, 6] {
        let copied = p.copied();
        let home = copied.path();
        flip_in_log(home, &format!("late mark {broken}"));
        must_be_refused(home, ".seg");
        let said = repair(home);
        let left = TAIL - 1 - broken;
        assert!(said.contains(&format!("{left} ticks that can be read")), "{said}");
        let found = must_go_on(home, &format!("write {broken} damaged")).await;
        assert!(found == p.after[broken], "write {broken}: {said}");
    }
    // In what the checkpoint has too: nothing is lost.
    for mark in ["first mark", "second mark"] {
        let copied = p.copied();
        flip_in_log(copied.path(), mark);
        must_be_refused(copied.path(), ".seg");
        let said = repair(copied.path());
        assert!(said.contains("no tick of the log"), "{said}");
        assert!(must_go_on(copied.path(), mark).await == p.last(), "{mark}: {said}");
    }
    // In the segment's header: nothing of it can be read. And the segment gone.
    for gone in [false, true] {
        let copied = p.copied();
        let home = copied.path();
        let path = segments(home).pop().expect("a segment");
        if gone {
            std::fs::remove_file(&path).expect("remove")
        } else {
            flip(&path, 20)
        }
        must_be_refused(home, if gone { "tick log ends" } else { ".seg" });
        let said = repair(home);
        assert!(said.contains("begins anew after the checkpoint"), "{said}");
        assert!(must_go_on(home, "without its log").await == p.after[0], "{said}");
        // Now the log does not begin at the start any more.
        flip(&home.join("checkpoint/MANIFEST"), 100);
        must_be_refused(home, "MANIFEST");
        assert!(must_be_beyond_repair(home).contains("manifest cannot be read"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn views_whose_state_is_damaged_are_computed_anew() {
    let p = Prepared::new().await;
    for view in ["by_g", "pairs", "doubled", "bids", "prices"] {
        let id = id_of(&p, view).await;
        let copied = p.copied();
        let home = copied.path();
        let of_it = blocks(home, &id);
        let block = of_it[of_it.len() / 2];
        flip(&chunk_file(home, block.file), block.at as usize + 12);
        must_be_refused(home, ".chunks");
        let said = repair(home);
        assert!(said.contains(&format!("public.{view}")) && !said.contains("lost "), "{said}");
        assert!(must_go_on(home, view).await == p.last(), "{view}: {said}");
    }
    // What a file begins with says nothing of what follows.
    let copied = p.copied();
    let id = id_of(&p, "t").await;
    flip(&chunk_file(copied.path(), blocks(copied.path(), &id)[0].file), 2);
    must_be_refused(copied.path(), ".chunks");
    let said = repair(copied.path());
    assert!(said.contains("first bytes") && !said.contains("lost "), "{said}");
    assert!(must_go_on(copied.path(), "first bytes").await == p.last(), "{said}");
}

/// The number before a word of a text.
fn number_before(text: &str, word: &str) -> i64 {
    let before = text.split(word).next().unwrap_or_default();
    before
        .split(' ')
        .next_back()
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| panic!("no number before {word:?}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_come_back_from_a_log_that_begins_at_the_start() {
    let p = Prepared::new().await;
    let copied = p.copied();
    let block = blocks(copied.path(), &id_of(&p, "t").await)[0];
    flip(&chunk_file(copied.path(), block.file), block.at as usize + 12);
    must_be_refused(copied.path(), ".chunks");
    let said = repair(copied.path());
    assert!(said.contains("the checkpoint is put aside") && !said.contains("lost "), "{said}");
    assert!(must_go_on(copied.path(), "a block of a table").await == p.last(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_table_that_can_be_read_are_kept() {
    let p = Prepared::without_early_log().await;
    let id = id_of(&p, "t").await;
    let of_it = blocks(p.home.path(), &id);
    assert!(of_it.len() > 5, "{of_it:?}");
    let mut changes = 0;
    for (number, block) in of_it.iter().enumerate() {
        let copied = p.copied();
        let home = copied.path();
        flip(&chunk_file(home, block.file), block.at as usize + 12);
        must_be_refused(home, ".chunks");
        let said = repair(home);
        assert!(said.contains("lost     table public.t") && said.contains("public.pairs, public.doubled"), "{said}");
        let found = must_go_on(home, &format!("block {number}")).await;
        assert!(found[1] == p.last()[1], "the other table");
        let kept = number_before(&said, " rows at the checkpoint");
        let (lost, changed) = match said.contains("up to") {
            true => (0, number_before(&said, " rows may be there as they were before")),
            false => (number_before(&said, " rows or changes of rows"), 0),
        };
        changes += changed;
        // What is missing, and what should not be there, is what was said, less what the log knows.
        let (there, last) = (&found[0], &p.last()[0]);
        let missing = last.keys().filter(|row| !there.contains_key(*row)).count() as i64;
        let wrong = there.keys().filter(|row| !last.contains_key(*row)).count() as i64;
        assert!(missing <= lost.max(changed) && wrong <= changed, "{missing} missing, {wrong} wrong: {said}");
        assert!(
            missing + TAIL as i64 + UPDATED >= lost && kept >= count(&p.after[0][0]) - lost - changed,
            "{missing} missing: {said}"
        );
    }
    assert!(changes > 0, "no block of a later run was met");
    // All of a file that is gone, and the log is damaged too.
    let copied = p.copied();
    let home = copied.path();
    std::fs::remove_file(chunk_file(home, of_it[0].file)).expect("remove");
    flip_in_log(home, "late mark 6");
    let said = repair(home);
    assert!(said.contains("1 ticks that can be read"), "{said}");
    let found = must_go_on(home, "a file that is gone").await;
    assert!(count(&found[0]) < 60_000, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn manifest_and_catalog_come_back_from_a_log_that_begins_at_the_start() {
    let p = Prepared::new().await;
    let copied = p.copied();
    let home = copied.path();
    flip(&home.join("checkpoint/MANIFEST"), 100);
    must_be_refused(home, "MANIFEST");
    let said = repair(home);
    assert!(said.contains("the checkpoint is put aside") && !said.contains("lost "), "{said}");
    assert!(must_go_on(home, "without its checkpoint").await == p.last(), "{said}");
    // With damage in the log what follows that is lost, whatever the checkpoint had.
    let copied = p.copied();
    let home = copied.path();
    flip(&home.join("checkpoint/MANIFEST"), 100);
    flip_in_log(home, "second mark");
    let said = repair(home);
    let found = must_go_on(home, "without its checkpoint and half of the log").await;
    assert!(count(&found[1]) == 4 && count(&found[0]) == 60_000, "{said}");
    // A start mends the store by the dump; not where both are damaged.
    let copied = p.copied();
    let home = copied.path();
    for file in ["db", "conf"] {
        let path = home.join("catalog/sled").join(file);
        let bytes = std::fs::read(&path).expect("read");
        std::fs::write(&path, vec![0x55; bytes.len()]).expect("write");
    }
    flip(&home.join("catalog/catalog.dump"), 100);
    must_be_refused(home, "catalog.dump");
    let said = repair(home);
    assert!(said.contains("the dump of the catalog is put aside"), "{said}");
    assert!(must_go_on(home, "without its catalog").await == p.last(), "{said}");
    // Nor where the log lacks some of it.
    let copied = p.copied();
    let home = copied.path();
    std::fs::remove_dir_all(home.join("catalog/sled")).expect("remove");
    flip(&home.join("catalog/catalog.dump"), 100);
    flip_in_log(home, "first mark");
    assert!(must_be_beyond_repair(home).contains("catalog"));
    // Nor where the log lacks all of it, and nothing is there that could be damaged.
    let p = Prepared::without_early_log().await;
    let home = p.home.path();
    std::fs::write(home.join("catalog/sled/db"), [0x55; 5000]).expect("write");
    std::fs::remove_file(home.join("catalog/catalog.dump")).expect("remove");
    must_be_refused(home, "catalog ends at tick 0");
    let (sound, said) = verify(home);
    assert!(!sound && said.contains("catalog ends at tick 0"), "{said}");
    must_be_beyond_repair(home);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_topic_gave_in_lost_ticks_is_read_again() {
    if KafkaBroker::jars().is_none() {
        println!("SKIPPED: no jars of Kafka; cargo xtask test fetches them");
        return;
    }
    let broker = KafkaBroker::start().await.expect("a broker");
    broker.create_topic("events", 1).await.expect("topic");
    let home = tempfile::tempdir().expect("a directory");
    let args = ["--checkpoint-interval", "3600"];
    let mut server = Server::start_in(home.path(), &args).expect("starts");
    let client = server.connect().await.expect("connects");
    must(&client, &format!("CREATE CONNECTION c TO KAFKA (BROKER '{}')", broker.address())).await;
    must(&client, "CREATE SOURCE events (k int, v bigint) FROM KAFKA CONNECTION c (TOPIC 'events') FORMAT JSON").await;
    must(&client, "CREATE TABLE names (k int, name text)").await;
    let query = "SELECT e.k, count(*) AS n, sum(e.v) AS s FROM events e JOIN names n ON e.k = n.k GROUP BY e.k";
    must(&client, &format!("CREATE MATERIALIZED VIEW sums AS {query}")).await;
    must(&client, "CREATE MATERIALIZED VIEW total AS SELECT count(*) AS n FROM events").await;
    must(&client, "INSERT INTO names VALUES (0, 'zero'), (1, 'one')").await;
    let mut sent = 0;
    for round in 0..4 {
        let mut texts: Vec<String> = (0..500).map(|i| format!("{{\"k\":{},\"v\":{i}}}", i % 3)).collect();
        texts.push(format!("no JSON {round}"));
        broker.produce("events", 0, &texts).await.expect("produce");
        sent += 500;
        wait_for_all(&client, sent).await;
        match round {
            1 => must(&client, "CHECKPOINT").await,
            _ => must(&client, &format!("INSERT INTO names VALUES (2, 'mark {round}')")).await,
        }
    }
    server.kill().expect("kill");
    flip_in_log(home.path(), "mark 2");
    // The dead letters of the checkpoint, too.
    let dir = DataDir::open_existing(home.path()).expect("a data directory");
    let dead = Salvage::of(&dir).expect("reads").expect("a checkpoint").manifest().dead_letters.expect("dead letters");
    drop(dir);
    flip(&chunk_file(home.path(), dead.file), dead.at as usize + 12);
    must_be_refused(home.path(), "damaged");
    let said = repair(home.path());
    assert!(said.contains("headwater.dead_letters") && said.contains("public.names"), "{said}");
    for _ in 0..2 {
        server.restart().expect("restarts");
        let client = server.connect().await.expect("connects");
        wait_for_all(&client, sent).await;
        assert_eq!(bag(&client, "SELECT * FROM names").await.expect("names").len(), 3, "mark 0 alone is left");
        let (shown, computed) = (all(&client, "sums").await, bag(&client, query).await.expect("computed"));
        assert!(difference(&computed, &shown).is_empty() && shown.len() == 3, "{}", difference(&computed, &shown));
        let dead = rows(&client, "SELECT count(*) FROM headwater.dead_letters").await.expect("dead letters");
        assert_eq!(dead[0][0].as_deref(), Some("2"), "those after the checkpoint");
        server.kill().expect("kill");
    }
}

async fn wait_for_all(client: &Client, sent: i64) {
    let begun = Instant::now();
    while rows(client, "SELECT n FROM total").await.expect("a count")[0][0].as_deref() != Some(&sent.to_string()) {
        assert!(begun.elapsed() < Duration::from_secs(60), "not all messages have come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Damage at the very end looks like a torn write, which a start cuts; the checkpoint has what it lacks then.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_before_the_checkpoint_stays_usable() {
    let p = Prepared::new().await;
    let copied = p.copied();
    let home = copied.path();
    let mut server = Server::start_in(home, &["--checkpoint-interval", "3600"]).expect("starts");
    let client = server.connect().await.expect("connects");
    must(&client, "INSERT INTO u VALUES ('the very last', 1)").await;
    must(&client, "CHECKPOINT").await;
    let before = tables(&client).await;
    server.kill().expect("kill");
    flip_in_log(home, "the very last");
    for round in 0..3 {
        server.restart().unwrap_or_else(|e| panic!("start {round}: {e}"));
        let client = server.connect().await.expect("connects");
        assert!(tables(&client).await == before, "start {round}");
        server.kill().expect("kill");
        let (sound, said) = verify(home);
        assert!(sound, "after start {round}: {said}");
    }
}

/// Damages a random file, but hardly ever that with the version, which nothing can mend.
fn damage_data(home: &Path, random: &mut Random) -> String {
    let version = std::fs::read(home.join("VERSION")).ok();
    let what = damage(home, random);
    if what.starts_with("VERSION")
        && !random.chance(20)
        && let Some(version) = version
    {
        std::fs::write(home.join("VERSION"), version).expect("write");
        return format!("{what}, but mended");
    }
    what
}

/// Repairs with a fail point armed; whether that ended it.
fn repair_and_die(home: &Path, point: &str) -> bool {
    let mut command = Command::new(hw_testkit::binary().expect("the binary"));
    let said = command.args(["repair", "--accept-loss"]).arg(home).env("HEADWATER_FAILPOINT", point).output();
    let said = said.expect("runs");
    assert!(
        said.status.success() || said.status.code().is_none(),
        "{point}: {}",
        String::from_utf8_lossy(&said.stderr)
    );
    !said.status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_was_cut_short_is_done_again() {
    let (whole, late) = (Prepared::new().await, Prepared::without_early_log().await);
    let view = blocks(whole.home.path(), &id_of(&whole, "by_g").await)[0];
    let table = blocks(late.home.path(), &id_of(&late, "t").await)[1];
    type Damage<'a> = Box<dyn Fn(&Path) + 'a>;
    let cases: [(&Prepared, Damage<'_>); 4] = [
        (
            &whole,
            Box::new(|home| {
                flip(&chunk_file(home, view.file), view.at as usize + 12);
                flip_in_log(home, "late mark 3");
            }),
        ),
        (
            &whole,
            Box::new(|home| {
                flip(&home.join("checkpoint/MANIFEST"), 100);
                std::fs::remove_dir_all(home.join("catalog/sled")).expect("remove");
                flip(&home.join("catalog/catalog.dump"), 100);
            }),
        ),
        (
            &late,
            Box::new(|home| {
                flip(&chunk_file(home, table.file), table.at as usize + 12);
                flip_in_log(home, "late mark 6");
            }),
        ),
        (&late, Box::new(|home| flip(&segments(home).pop().expect("a segment"), 20))),
    ];
    let mut deaths = 0;
    for (number, (prepared, damage)) in cases.iter().enumerate() {
        let shown = async |home: &Path| {
            let server = Server::start_in(home, &["--checkpoint-interval", "3600"]).expect("starts");
            let client = server.connect().await.expect("connects");
            check_views(&client, "after the repair").await;
            tables(&client).await
        };
        let copied = prepared.copied();
        damage(copied.path());
        repair(copied.path());
        let expected = shown(copied.path()).await;
        // Each point once, in one of the cases; all of them in all cases in the long form.
        let all = std::env::var("HEADWATER_TEST_POINTS").is_ok_and(|p| p == "all");
        let points = fail_points().expect("the points").into_iter().enumerate();
        for (_, point) in points.filter(|(i, _)| all || i % cases.len() == number) {
            let copied = prepared.copied();
            let home = copied.path();
            damage(home);
            if !repair_and_die(home, &point) {
                continue;
            }
            deaths += 1;
            let (done, said) = say(home, &["repair", "--accept-loss"]);
            assert!(done, "case {number}, {point}: {said}");
            let (sound, said) = verify(home);
            assert!(sound, "case {number}, {point}: {said}");
            assert!(shown(home).await == expected, "case {number}, {point}");
        }
    }
    println!("{deaths} deaths");
    assert!(deaths > 10, "{deaths} deaths");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_damaged_is_repaired_or_said_to_be_beyond_that() {
    let seed = seed();
    let flips = std::env::var("HEADWATER_TEST_FLIPS").ok().and_then(|n| n.parse().ok()).unwrap_or(30);
    println!("seed={seed}, {flips} times");
    let mut random = Random::new(seed);
    let both = [Prepared::new().await, Prepared::without_early_log().await];
    let (mut repaired, mut beyond) = (0, 0);
    for round in 0..flips {
        let p = &both[round % 2];
        let copied = p.copied();
        let home = copied.path();
        let what: Vec<String> = (0..=random.below(3)).map(|_| damage_data(home, &mut random)).collect();
        let when = format!("round {round}: {what:?}");
        println!("{when}");
        let Start::Ended(by_itself, _) = start(home) else { continue };
        assert!(by_itself, "{when}");
        let before = listing(home);
        let (done, said) = say(home, &["repair", "--accept-loss"]);
        if !done {
            assert!(listing(home) == before, "{when}: something was changed: {said}");
            let known = ["cannot be repaired", "not a data directory", "unknown format", "has format version"];
            assert!(known.iter().any(|k| said.contains(k)), "{when}: {said}");
            beyond += 1;
            continue;
        }
        repaired += 1;
        let (sound, text) = verify(home);
        assert!(sound, "{when}: {said}{text}");
        let found = must_go_on(home, &when).await;
        for (n, found) in found.iter().enumerate() {
            // At some tick since the checkpoint, or before it where that was lost: each row was there once.
            let was = |row: &Vec<Option<String>>| p.after.iter().any(|tables| tables[n].contains_key(row));
            let early =
                ["the checkpoint is put aside", "as they were before a change"].iter().any(|s| said.contains(s));
            assert!(early || found.keys().all(was), "{when}: {said}");
        }
    }
    println!("{flips} times: {repaired} repaired, {beyond} beyond repair, a start did not mind the others");
    assert!(repaired > 0, "nothing was repaired");
}
