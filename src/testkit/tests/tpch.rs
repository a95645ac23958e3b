//! TPC-H's 22 queries as views over tables that change: each is PostgreSQL's answer after the load and after every batch,
//! and once more after a kill.
//!
//! `HEADWATER_TEST_SEED` repeats a run, `HEADWATER_TEST_LONG=n` does n times as many batches. Without PostgreSQL 15 there is
//! nothing to compare with, and the test says so. The example `tpch` does the same at a larger scale and measures.

use hw_testkit::generated::postgres;
use hw_testkit::tpch::{Changes, Data, Systems};
use hw_testkit::{Server, scaled, seed};
use std::time::Instant;

const SCALE: f64 = 0.01;
const BATCHES: u64 = 4;
const BATCH_ROWS: u64 = 1_500;
/// So many views are there before the tables are filled, the others are created afterwards.
const CREATED_BEFORE: usize = 11;

async fn compare(systems: &Systems, what: &str, filled: &mut [bool]) {
    let (shown, _) = systems.read().await.expect("the views are read");
    let answers = systems.compare(&shown).await.expect("PostgreSQL answers");
    assert!(answers.differences.is_empty(), "{what}:\n{}", answers.differences.join("\n"));
    filled.iter_mut().zip(answers.filled).for_each(|(all, one)| *all |= one);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_is_postgresql_s_answer_after_every_batch() {
    let theirs = match postgres(None) {
        Ok(postgres) => postgres,
        Err(e) => return println!("SKIPPED: TPC-H is not compared: {e}"),
    };
    let (begun, seed) = (Instant::now(), seed());
    let data = Data::new(SCALE, seed);
    let server = Server::start(&["--workers", "2"]).expect("the server starts");
    let mut systems = Systems::new(server, &theirs, SCALE).await.expect("creates the tables");
    assert_eq!(systems.views(), 22);
    systems.create(0..CREATED_BEFORE).await.expect("creates views");
    let load = systems.load(&data).await.expect("fills the tables");
    systems.create(CREATED_BEFORE..22).await.expect("creates views");
    systems.load_postgres(&data).await.expect("fills PostgreSQL's tables");
    let mut filled = vec![false; 22];
    compare(&systems, &format!("seed {seed}, after the load"), &mut filled).await;
    let (mut changes, mut changed) = (Changes::new(&data, seed), 0);
    let batches = scaled(BATCHES);
    for n in 1..=batches {
        let batch = changes.batch(BATCH_ROWS);
        let done = systems.change(&batch).await.expect("changes");
        let theirs = systems.change_postgres(&batch).await.expect("PostgreSQL changes");
        assert_eq!(done.rows, theirs.rows, "rows that batch {n} changes");
        compare(&systems, &format!("seed {seed}, after batch {n}"), &mut filled).await;
        changed += done.rows;
        if n == batches / 2 {
            systems.restart().await.expect("starts again");
            compare(&systems, &format!("seed {seed}, after batch {n} and a kill"), &mut filled).await;
        }
    }
    let empty: Vec<&str> = (0..22).filter(|v| !filled[*v]).map(|v| systems.name(v)).collect();
    println!(
        "seed {seed}: {} rows loaded, {changed} changed, {:.1?}; never filled: {empty:?}",
        load.rows,
        begun.elapsed()
    );
    assert!(empty.is_empty(), "seed {seed}: views that never had a value: {empty:?}");
}
