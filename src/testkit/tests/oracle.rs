//! Every view equals its defining query at every tick, under random changes, on 1, 2 and 4 workers.
//!
//! `HEADWATER_TEST_SEED` repeats a run, `HEADWATER_TEST_LONG=n` does n times as much.

use hw_testkit::oracle::{Definitions, Oracle, Summary};
use hw_testkit::{Random, Server, scaled, seed};
use std::path::PathBuf;
use std::time::Instant;

fn slt_files() -> Vec<PathBuf> {
    let dir = hw_testkit::sql_tests();
    let mut all: Vec<PathBuf> = std::fs::read_dir(dir)
        .expect("sql-tests is readable")
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "slt"))
        .collect();
    all.sort();
    all
}

fn show(name: &str, seed: u64, begun: Instant, s: &Summary) {
    println!(
        "{name} seed={seed}: {} views, {} changes, {} equal, {} with other rows of a tie, {} failed on both sides, {} unanswered, {} restarts, {:?} refused changes, {:.1} s",
        s.views,
        s.changes,
        s.equal,
        s.ties,
        s.both_failed,
        s.unanswered,
        s.restarts,
        s.errors,
        begun.elapsed().as_secs_f64()
    );
}

/// The list of `oracle/views.sql`: nothing in it may be refused.
async fn own_list(workers: &str, rounds: u64) {
    let (seed, begun) = (seed(), Instant::now());
    let definitions = Definitions::from_script(include_str!("oracle/views.sql"));
    let mut server = Server::start(&["--workers", workers]).expect("the server starts");
    let run = async {
        let mut oracle = Oracle::start(&mut server, "own", &definitions, seed).await?;
        oracle.rounds(rounds / 2).await?;
        oracle.restart().await?;
        oracle.rounds(rounds - rounds / 2).await?;
        oracle.finish().await
    };
    match run.await {
        Ok(summary) => show(&format!("{workers} workers, own list"), seed, begun, &summary),
        Err(e) => panic!("HEADWATER_TEST_SEED={seed}, {workers} workers: {e}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn own_list_with_one_worker() {
    own_list("1", scaled(50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_list_with_two_workers() {
    own_list("2", scaled(40)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_list_with_four_workers() {
    own_list("4", scaled(40)).await;
}

/// Views and queries of every file in `sql-tests`, each over the tables that the file creates.
#[tokio::test(flavor = "multi_thread")]
async fn definitions_of_the_sql_tests() {
    let seed = seed();
    let mut random = Random::new(seed);
    for file in slt_files() {
        let begun = Instant::now();
        let name = file.file_stem().and_then(|s| s.to_str()).unwrap_or("file").to_string();
        let definitions = Definitions::from_slt(&file).expect("the file can be read");
        if definitions.views.is_empty() {
            continue;
        }
        let workers = random.pick(&["1", "2", "4"]);
        let mut server = Server::start(&["--workers", workers]).expect("the server starts");
        let schema = format!("of_{name}");
        let run = async {
            let mut oracle = Oracle::start(&mut server, &schema, &definitions, random.bits()).await?;
            oracle.rounds(if oracle.is_empty() { 0 } else { scaled(8) }).await?;
            oracle.finish().await
        };
        match run.await {
            Ok(summary) => {
                show(&format!("{workers} workers, {name}"), seed, begun, &summary);
                summary.refused.iter().for_each(|r| println!("  not maintained: {r}"));
            }
            Err(e) => panic!("HEADWATER_TEST_SEED={seed}, {workers} workers, {}: {e}", file.display()),
        }
    }
}
