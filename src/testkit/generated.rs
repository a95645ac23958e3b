//! Generated cases: random queries over random tables under random changes, where a materialized view, the query ad hoc and
//! PostgreSQL have to agree.
//!
//! `draw` makes queries as trees, `tables` what they read and how it changes, `run` asks both systems and compares, `judge`
//! says when answers are the same, `shrink` makes a failing case small. Everything follows from a seed: set `n` of a seed is
//! the same whatever ran before it. A query that Headwater refuses with 0A000 is counted by the message; one that PostgreSQL
//! refuses is not a case.

mod aggregate;
mod draw;
mod from;
mod judge;
mod predicate;
mod query;
mod run;
mod shrink;
mod tables;
mod tree;
mod types;
mod value;

use crate::postgres::Postgres;
use crate::{HarnessError, Random, Server};
use run::{Case, Outcome, Script, Systems};
use std::collections::BTreeMap;
use std::path::Path;
use tokio_postgres::NoTls;

/// Queries over one set of tables.
const CASES_PER_SET: u64 = 30;
/// Sets that one server is asked.
const SETS_PER_SERVER: u64 = 40;
/// A case that takes longer is listed.
const SLOW_SECONDS: f64 = 3.0;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Cases, at least.
    pub cases: u64,
    /// Where the randomness begins.
    pub seed: u64,
    /// The first set.
    pub first_set: u64,
    /// Workers of the server.
    pub workers: u64,
    /// True where the server is killed and started again in the middle of each set.
    pub kill: bool,
    /// Differences that are made small; the run ends with the one after them.
    pub shrunk_max: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Cases that PostgreSQL takes.
    pub cases: u64,
    /// Cases with a maintained view.
    pub views: u64,
    /// Sets of tables.
    pub sets: u64,
    /// Answers equal to PostgreSQL's.
    pub equal: u64,
    /// Of those, equal but for zeros at the end of numbers.
    pub looks: u64,
    /// Of those, equal in 12 digits.
    pub digits: u64,
    /// Errors on both sides.
    pub both_failed: u64,
    /// Errors on one side, where the order of evaluation is open.
    pub one_failed: u64,
    /// Views that are refused, by message.
    pub refused: BTreeMap<String, u64>,
    /// Ad-hoc reads that are refused, by message.
    pub refused_ad_hoc: BTreeMap<String, u64>,
    /// Queries that PostgreSQL does not take, by message.
    pub invalid: BTreeMap<String, u64>,
    /// Cases that took long, with their seconds.
    pub slow: Vec<String>,
    /// Cases that differ, small.
    pub differences: Vec<String>,
}

impl Report {
    fn add(&mut self, outcome: &Outcome) {
        if let Some(why) = &outcome.invalid {
            return *self.invalid.entry(masked(why)).or_default() += 1;
        }
        self.cases += 1;
        self.views += u64::from(outcome.refused.is_none());
        self.equal += outcome.equal;
        self.looks += outcome.looks;
        self.digits += outcome.digits;
        self.both_failed += outcome.both_failed;
        self.one_failed += outcome.one_failed;
        for (why, all) in [(&outcome.refused, &mut self.refused), (&outcome.refused_ad_hoc, &mut self.refused_ad_hoc)] {
            if let Some(why) = why {
                *all.entry(masked(why)).or_default() += 1;
            }
        }
    }

    /// Figures and lists, for people.
    pub fn text(&self) -> String {
        let mut out = format!(
            "{} cases over {} sets of tables, {} with a view; {} answers equal to PostgreSQL's ({} but for zeros at the end, \
             {} in 12 digits), {} errors on both sides, {} on one side where the order is open; {} differences\n",
            self.cases,
            self.sets,
            self.views,
            self.equal,
            self.looks,
            self.digits,
            self.both_failed,
            self.one_failed,
            self.differences.len()
        );
        for (what, all) in [
            ("no view", &self.refused),
            ("not ad hoc", &self.refused_ad_hoc),
            ("not taken by PostgreSQL", &self.invalid),
        ] {
            let mut all: Vec<(&String, &u64)> = all.iter().collect();
            all.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
            all.iter().for_each(|(why, n)| out.push_str(&format!("  {what}: {n:5} x {why}\n")));
        }
        self.slow.iter().for_each(|case| out.push_str(&format!("  slow: {case}\n")));
        out
    }
}

/// A message without the names and numbers of one query.
fn masked(message: &str) -> String {
    let mut out = String::new();
    for word in message.split_inclusive(' ') {
        let own = word.contains(|c: char| c.is_ascii_digit()) && !word.starts_with("0A") && !word.starts_with("42");
        out.push_str(if own { "_ " } else { word });
    }
    out.chars().take(160).collect()
}

/// The set of tables and queries with this number.
fn set(options: &Options, number: u64, cases: u64) -> (Script, Vec<Case>) {
    let mut random = Random::new(options.seed.wrapping_mul(0x9e37_79b9).wrapping_add(number));
    let mut tables = tables::draw_tables(&mut random);
    let batches = tables::draw_batches(&mut random, &mut tables);
    let mut all = vec![];
    for _ in 0..cases {
        // Each from its own seed, so that a change of one kind of query leaves the others as they are.
        let mut own = Random::new(random.bits());
        let created_after = if own.chance(50) { 0 } else { 1 + own.below(3) as usize };
        all.push(Case { drawn: draw::draw(&mut own, &tables), created_after });
    }
    let kill_after = options.kill.then(|| 1 + random.below(4) as usize);
    let tables = tables.iter().map(|t| (t.name.clone(), t.create())).collect();
    (Script { tables, batches, kill_after }, all)
}

/// Runs cases until there are enough. `said` is told of what was found so far.
pub async fn run(options: &Options, postgres: &Postgres, said: impl Fn(&str)) -> Result<Report, HarnessError> {
    let mut report = Report::default();
    let mut number = options.first_set;
    while report.cases < options.cases {
        let server = Server::start(&["--workers", &options.workers.to_string()])?;
        let addr = postgres.addr();
        let config = format!("host={} port={} user=headwater dbname=headwater", addr.ip(), addr.port());
        let (client, connection) =
            tokio_postgres::connect(&config, NoTls).await.map_err(|e| HarnessError(format!("PostgreSQL: {e}")))?;
        tokio::spawn(connection);
        let mut systems = Systems::new(server, client).await?;
        for _ in 0..SETS_PER_SERVER {
            if report.cases >= options.cases {
                break;
            }
            let (script, cases) = set(options, number, CASES_PER_SET.min(options.cases - report.cases));
            run_set(options, number, &script, &cases, &mut systems, &mut report, &said).await?;
            number += 1;
            if report.differences.len() > options.shrunk_max {
                return Ok(report);
            }
        }
    }
    Ok(report)
}

async fn run_set(
    options: &Options,
    number: u64,
    script: &Script,
    cases: &[Case],
    systems: &mut Systems,
    report: &mut Report,
    said: &impl Fn(&str),
) -> Result<(), HarnessError> {
    let outcomes = systems.run(script, cases).await?;
    report.sets += 1;
    for (at, (case, outcome)) in cases.iter().zip(&outcomes).enumerate() {
        report.add(outcome);
        if let Some(why) = &outcome.invalid
            && report.invalid.get(&masked(why)) == Some(&1)
        {
            said(&format!("-- set {number}, case {at}: PostgreSQL does not take it: {why}\n{};\n", case.drawn.query));
        }
        if outcome.seconds > SLOW_SECONDS {
            report.slow.push(format!("set {number}, {:.1} s: {}", outcome.seconds, case.drawn.query));
        }
        let Some(difference) = &outcome.difference else { continue };
        let head = format!("-- seed {}, set {number}, case {at}\n", options.seed);
        let small = if report.differences.len() < options.shrunk_max {
            shrink::Shrinker::shrink(systems, script, case, difference).await?
        } else {
            None
        };
        let whole = || format!("-- not made smaller\n{}", shrink::script_text(script, case, difference));
        let text = head + &small.unwrap_or_else(whole);
        said(&text);
        report.differences.push(text);
        if report.differences.len() > options.shrunk_max {
            break;
        }
    }
    Ok(())
}

/// A PostgreSQL that answers; where there is none, why.
pub fn postgres(bin: Option<&Path>) -> Result<Postgres, HarnessError> {
    let postgres = Postgres::start(bin)?;
    drop(postgres.asker()?);
    Ok(postgres)
}
