//! Nothing is computed that PostgreSQL does not compute: generated queries whose expressions fail for rows that a condition
//! keeps away, in a SELECT and in a maintained view, against what PostgreSQL 15 answers.
//!
//! `sql-tests/guards/answers.txt` has the queries and PostgreSQL's answers: rows, sorted, or the SQLSTATE. Where PostgreSQL gives rows,
//! the same rows must come. Where it fails, the same SQLSTATE must come, or rows: PostgreSQL does not promise in which order it tries
//! conditions, and one that it tries too early may fail there. `HEADWATER_POSTGRES=127.0.0.1:5432` (a user and a database `headwater`
//! without a password) writes the file anew, for `HEADWATER_TEST_SEED`.

#[path = "guards/generate.rs"]
mod generate;

use hw_testkit::conformance::{Asker, Reply};
use hw_testkit::{HarnessError, Random, Server, seed, sql_tests};
use std::path::PathBuf;

const QUERIES: usize = 600;
/// So many queries and views may fail where PostgreSQL has moved a condition that may fail before another one, written earlier, that
/// fails: the order as written is what is promised here.
const EARLY_MAX: usize = 32;
/// Findings that a failure shows.
const SHOWN_MAX: usize = 30;

fn file() -> PathBuf {
    sql_tests().join("guards/answers.txt")
}

/// Rows as text, sorted, or the SQLSTATE.
fn answer(reply: &Reply) -> String {
    match &reply.rows {
        Err(e) => format!("!{}", e.code),
        Ok(rows) => {
            let row = |row: &Vec<Option<String>>| {
                row.iter().map(|v| v.clone().unwrap_or_else(|| "NULL".into())).collect::<Vec<_>>().join(",")
            };
            let mut rows: Vec<String> = rows.iter().map(row).collect();
            rows.sort();
            rows.join(" ")
        }
    }
}

fn record(postgres: &str) -> Result<(), HarnessError> {
    let addr = postgres.parse().map_err(|e| HarnessError(format!("{postgres}: {e}")))?;
    let mut asker = Asker::connect(addr)?;
    for statement in ["DROP SCHEMA public CASCADE", "CREATE SCHEMA public"].iter().chain(generate::TABLES) {
        asker.rows(statement)?;
    }
    let mut random = Random::new(seed());
    let mut lines: Vec<String> = vec![];
    while lines.len() < QUERIES {
        let query = generate::query(&mut random);
        let reply = asker.ask(&query)?;
        // What is no valid query is of no use.
        let invalid = reply.rows.as_ref().is_err_and(|e| e.code.starts_with("42"));
        let line = format!("{query}\t{}", answer(&reply));
        if !invalid && !lines.contains(&line) {
            lines.push(line);
        }
    }
    std::fs::write(file(), lines.join("\n") + "\n").map_err(|e| HarnessError(e.to_string()))
}

/// What differs, in words.
fn judged(what: &str, query: &str, expected: &str, reply: &Reply, early: &mut usize) -> Option<String> {
    let found = answer(reply);
    if found == "!22012" && !expected.starts_with('!') && *early < EARLY_MAX {
        *early += 1;
        return None;
    }
    let same = found == expected || expected.starts_with('!') && !found.starts_with('!');
    let message = reply.rows.as_ref().err().map(|e| format!(" ({})", e.message)).unwrap_or_default();
    (!same).then(|| format!("{what}: {query}\n  expected {expected}\n  found    {found}{message}"))
}

#[test]
fn nothing_is_computed_that_postgresql_does_not_compute() {
    if let Ok(postgres) = std::env::var("HEADWATER_POSTGRES") {
        record(&postgres).expect("PostgreSQL answers");
    }
    let text = std::fs::read_to_string(file()).expect("the answers can be read");
    let server = Server::start(&["--workers", "1"]).expect("the server starts");
    let mut asker = Asker::connect(server.pg_addr).expect("a connection");
    for statement in generate::TABLES {
        asker.rows(statement).expect("a table is made");
    }
    let (mut wrong, mut stricter, mut views, mut refused, mut early) = (vec![], 0, 0, 0, 0);
    for line in text.lines() {
        let (query, expected) = line.split_once('\t').expect("a query and an answer");
        let reply = asker.ask(query).expect("an answer");
        stricter += usize::from(expected.starts_with('!') && reply.rows.is_ok());
        wrong.extend(judged("SELECT", query, expected, &reply, &mut early));
        let made = asker.ask(&format!("CREATE MATERIALIZED VIEW v AS {query}")).expect("an answer");
        match made.rows {
            Err(e) if e.code == "0A000" => refused += 1,
            Err(e) => wrong.push(format!("VIEW: {query}\n  {e}")),
            Ok(_) => {
                views += 1;
                let reply = asker.ask("SELECT * FROM v").expect("an answer");
                wrong.extend(judged("VIEW", query, expected, &reply, &mut early));
                asker.rows("DROP MATERIALIZED VIEW v").expect("the view goes");
            }
        }
    }
    println!(
        "{} queries, {stricter} give rows where PostgreSQL fails, {early} fail early; {views} views, {refused} refused",
        text.lines().count()
    );
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..wrong.len().min(SHOWN_MAX)].join("\n"));
}
