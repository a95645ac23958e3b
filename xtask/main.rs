//! `cargo xtask <command>`: what to run, in one place.
//!
//! Owns the order of the checks and what the tests need from outside. Knows nothing of the crates' insides.

mod crash;
mod kafka;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "usage: cargo xtask ci | test | tidy | bench [nexmark | one-row | decode | kafka-load | kafka-latency | restart | checkpoint-cost | steady | copy] [--help]\n\
     \u{20}      cargo xtask crash [--kills N] [--points [NAME]] [--simulate N] [--seed S]";

fn main() -> ExitCode {
    // Asked at run time: one build directory may serve several checkouts.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let Some(root) = Path::new(&here).parent() else { return ExitCode::FAILURE };
    let done = match std::env::args().nth(1).as_deref() {
        Some("ci") => ci(root),
        Some("test") => test(root),
        Some("tidy") => tidy::check(root),
        Some("bench") => bench(root, std::env::args().skip(2).collect()),
        Some("crash") => crash::run(root, std::env::args().skip(2)),
        _ => Err(USAGE.to_string()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Format, lints, dependencies, tidy, then the tests.
fn ci(root: &Path) -> Result<(), String> {
    cargo(root, &["fmt", "--all", "--check"])?;
    tidy::check(root)?;
    cargo(root, &["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    deny(root)?;
    test(root)
}

/// Runs cargo-deny where it is installed; advisories only where their database can be reached.
fn deny(root: &Path) -> Result<(), String> {
    let present = Command::new("cargo").args(["deny", "--version"]).output().is_ok_and(|o| o.status.success());
    if !present {
        println!("xtask: SKIPPED: cargo-deny is not installed (cargo install cargo-deny --locked)");
        return Ok(());
    }
    cargo(root, &["deny", "check", "bans", "licenses", "sources"])?;
    if cargo(root, &["deny", "fetch", "db"]).is_err() {
        println!("xtask: SKIPPED: the advisory database cannot be reached");
        return Ok(());
    }
    cargo(root, &["deny", "check", "advisories"])
}

/// Builds everything and runs every test, fetching what they need.
fn test(root: &Path) -> Result<(), String> {
    match kafka::fetch() {
        Ok(dir) => println!("xtask: Kafka's jars are in {}", dir.display()),
        Err(why) => println!("xtask: SKIPPED: tests against a Kafka broker: {why}"),
    }
    cargo(root, &["build", "--release", "--workspace"])?;
    cargo(root, &["test", "--release", "--workspace"])
}

/// Builds everything the way the tests do, so that there is one tree, then runs a benchmark with these arguments. Those
/// that need a broker are examples of the test harness.
fn bench(root: &Path, mut args: Vec<String>) -> Result<(), String> {
    let broker = args.first().is_some_and(|a| a.starts_with("kafka-") || a == "restart" || a == "steady");
    let program = if broker || args.first().is_some_and(|a| a == "checkpoint-cost" || a == "copy") {
        format!("examples/{}", args.remove(0).replace('-', "_"))
    } else {
        "bench".to_owned()
    };
    if broker {
        kafka::fetch()?;
    }
    cargo(root, &["build", "--release", "--workspace", "--bins", "--examples"])?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    run(Command::new(root.join(target).join("release").join(program)).args(args))
}

fn cargo(root: &Path, args: &[&str]) -> Result<(), String> {
    println!("xtask: cargo {}", args.join(" "));
    run(Command::new("cargo").current_dir(root).args(args))
}

/// Runs a command to its end; anything but success is an error that names it.
fn run(command: &mut Command) -> Result<(), String> {
    let name = format!("{command:?}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name}: {status}")),
        Err(e) => Err(format!("{name}: {e}")),
    }
}

/// `~/.cache/headwater`.
fn cache() -> Result<PathBuf, String> {
    let home = std::env::var_os("HOME").ok_or("HOME is not set")?;
    Ok(PathBuf::from(home).join(".cache/headwater"))
}
