//! Every file of `sql-tests/` against a real server: as it is, and with the server killed again and again.

use hw_testkit::{Restarts, binary, run_file, seed};
use std::path::{Path, PathBuf};

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(dir).expect("sql-tests is readable");
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|e| e == "slt") {
            out.push(path);
        }
    }
}

async fn run_all(restarts: Restarts, args: &[&str]) {
    assert!(binary().is_some(), "build the server first: cargo build --release");
    let mut all = vec![];
    files(&hw_testkit::sql_tests(), &mut all);
    all.sort();
    if restarts != Restarts::Never {
        // A kill ends the transaction blocks that it is about.
        all.retain(|file| file.file_stem().is_none_or(|name| name != "transactions"));
    }
    assert!(!all.is_empty(), "no files in sql-tests");
    let mut failed = vec![];
    for file in &all {
        if let Err(e) = run_file(file, restarts, args).await {
            failed.push(e.to_string());
        }
    }
    assert!(
        failed.is_empty(),
        "{restarts:?}: {} of {} files failed:\n{}",
        failed.len(),
        all.len(),
        failed.join("\n\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn plain() {
    run_all(Restarts::Never, &["--workers", "1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_two_workers() {
    run_all(Restarts::Never, &["--workers", "2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_statements_at_random() {
    let seed = seed();
    println!("seed={seed}");
    run_all(Restarts::Random { seed, percent: 15 }, &["--workers", "1"]).await;
}
