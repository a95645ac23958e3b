//! Random queries over random tables under random changes: view, ad-hoc SELECT and PostgreSQL agree.
//!
//! `HEADWATER_TEST_SEED` repeats a run, `HEADWATER_TEST_QUERIES=n` sets the number of queries. Without PostgreSQL 15 there is
//! nothing to compare with, and the tests say so.

use hw_testkit::generated::{self, Options};
use hw_testkit::seed;
use std::time::Instant;

/// Queries of each test.
const QUERIES: u64 = 150;

async fn compared(workers: u64, kill: bool) {
    let postgres = match generated::postgres(None) {
        Ok(postgres) => postgres,
        Err(e) => return println!("SKIPPED: generated queries are not compared: {e}"),
    };
    let cases = std::env::var("HEADWATER_TEST_QUERIES").ok().and_then(|n| n.parse().ok()).unwrap_or(QUERIES);
    // Other queries for each of the tests.
    let first_set = workers * 100_000 + u64::from(kill) * 1_000_000;
    let options = Options { cases, seed: seed(), first_set, workers, kill, shrunk_max: 2 };
    let begun = Instant::now();
    let report = generated::run(&options, &postgres, |text| println!("{text}")).await.expect("the run goes on");
    println!("seed {}, {workers} workers: {}{:.1?}", options.seed, report.text(), begun.elapsed());
    assert!(report.differences.is_empty(), "HEADWATER_TEST_SEED={}: there are differences", options.seed);
}

#[tokio::test(flavor = "multi_thread")]
async fn views_and_reads_are_postgresql_s() {
    compared(1, false).await;
}
