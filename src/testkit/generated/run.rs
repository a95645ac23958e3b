//! Runs drawn queries over drawn tables on both systems and compares, batch after batch.
//!
//! For each query three answers are the same after every batch: of the materialized view, of the query ad hoc, of PostgreSQL.

use super::draw::{Drawn, Fails};
use super::judge::{Agreement, compare, is_of_data};
use super::tables::Batch;
use crate::rows::{Refusal, Row, rows, run};
use crate::{HarnessError, Server};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// A statement that takes longer has found a defect.
const STATEMENT_SECONDS_MAX: u64 = 20;

/// Tables and what happens to them.
#[derive(Clone, Debug)]
pub struct Script {
    /// Names and `CREATE TABLE`.
    pub tables: Vec<(String, String)>,
    /// Changes, a comparison after each.
    pub batches: Vec<Batch>,
    /// The server is killed after so many batches.
    pub kill_after: Option<usize>,
}

/// A query, and after how many batches its view is created.
#[derive(Clone, Debug)]
pub struct Case {
    /// The query.
    pub drawn: Drawn,
    /// 0: before there is anything in the tables.
    pub created_after: usize,
}

/// Where two answers differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs: shrinking keeps it.
    pub class: String,
    /// What, for people.
    pub text: String,
    /// After so many batches.
    pub after: usize,
}

/// What came of a case.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The first difference.
    pub difference: Option<Difference>,
    /// Why there is no view, where there is none.
    pub refused: Option<String>,
    /// Why it is not answered ad hoc, where it is not.
    pub refused_ad_hoc: Option<String>,
    /// What PostgreSQL said where it does not take the query.
    pub invalid: Option<String>,
    /// Answers that were equal.
    pub equal: u64,
    /// Of those, by the second look and by the third.
    pub looks: u64,
    /// Answers that agree in 12 digits only.
    pub digits: u64,
    /// Errors on both sides.
    pub both_failed: u64,
    /// Errors on one side, where the order of evaluation is open.
    pub one_failed: u64,
    /// Seconds of Headwater's statements for this case.
    pub seconds: f64,
    created: bool,
}

/// The two systems.
pub struct Systems {
    /// Headwater.
    pub server: Server,
    pub(super) ours: Client,
    pub(super) theirs: Client,
    schemas: u64,
}

type Answer = Result<Vec<Row>, Refusal>;

impl Systems {
    /// Connects to both.
    pub async fn new(server: Server, theirs: Client) -> Result<Systems, HarnessError> {
        let ours = server.connect().await.map_err(|e| HarnessError(format!("connect: {e}")))?;
        Ok(Systems { server, ours, theirs, schemas: 0 })
    }

    async fn both(&self, sql: &str) -> Result<(), HarnessError> {
        for client in [&self.ours, &self.theirs] {
            run(client, sql).await.map_err(|e| HarnessError(format!("{sql}: {e}")))?;
        }
        Ok(())
    }

    /// One statement of ours within its time; a new connection where it took longer.
    async fn asked(&mut self, sql: &str) -> Answer {
        let limit = Duration::from_secs(STATEMENT_SECONDS_MAX);
        if let Ok(answer) = tokio::time::timeout(limit, rows(&self.ours, sql)).await {
            return answer;
        }
        let _ = self.reconnect().await;
        let message = format!("not answered within {STATEMENT_SECONDS_MAX} s");
        Err(Refusal { code: "timeout".into(), message, more: String::new() })
    }

    async fn reconnect(&mut self) -> Result<(), HarnessError> {
        if !self.server.is_running() {
            self.server.restart()?;
        }
        self.ours = self.server.connect().await.map_err(|e| HarnessError(format!("connect: {e}")))?;
        let path = format!("SET search_path = g{}", self.schemas);
        run(&self.ours, &path).await.map_err(|e| HarnessError(format!("{path}: {e}")))?;
        Ok(())
    }

    /// Runs the cases over one script, in a schema that is dropped afterwards.
    pub async fn run(&mut self, script: &Script, cases: &[Case]) -> Result<Vec<Outcome>, HarnessError> {
        self.schemas += 1;
        let schema = format!("g{}", self.schemas);
        self.both(&format!("CREATE SCHEMA {schema}")).await?;
        self.both(&format!("SET search_path = {schema}")).await?;
        for (_, create) in &script.tables {
            self.both(create).await?;
        }
        let mut outcomes = vec![Outcome::default(); cases.len()];
        let done = self.steps(script, cases, &mut outcomes).await;
        if !self.server.is_running() {
            self.server.restart()?;
        }
        self.reconnect().await?;
        self.both(&format!("DROP SCHEMA {schema} CASCADE")).await?;
        done.map(|()| outcomes)
    }

    async fn steps(&mut self, script: &Script, cases: &[Case], all: &mut [Outcome]) -> Result<(), HarnessError> {
        for done in 0..=script.batches.len() {
            if let Some(batch) = done.checked_sub(1).map(|at| &script.batches[at])
                && let Some(text) = self.change(batch).await?
            {
                let difference = Difference { class: "write".into(), text, after: done };
                all.iter_mut().for_each(|one| one.difference = one.difference.take().or(Some(difference.clone())));
                return Ok(());
            }
            for (at, (case, outcome)) in cases.iter().zip(all.iter_mut()).enumerate() {
                if outcome.difference.is_some() || outcome.invalid.is_some() {
                    continue;
                }
                let begun = Instant::now();
                // Not each time: most of the time is spent on planning it again.
                let ad_hoc = cases.len() == 1 || (at + done) % 3 == 0;
                self.compare_case(at, case, outcome, done, ad_hoc).await;
                outcome.seconds += begun.elapsed().as_secs_f64();
                if outcome.difference.is_some() && !self.server.is_running() {
                    return self.reconnect().await;
                }
            }
            if script.kill_after == Some(done) {
                self.server.kill()?;
                self.reconnect().await?;
                for (at, (case, outcome)) in cases.iter().zip(all.iter_mut()).enumerate() {
                    if outcome.difference.is_none() && outcome.invalid.is_none() {
                        self.compare_case(at, case, outcome, done, false).await;
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes the changes; a text where the systems do not agree about one.
    async fn change(&mut self, batch: &Batch) -> Result<Option<String>, HarnessError> {
        let mut codes = vec![];
        for client in [&self.ours, &self.theirs] {
            let mut all = vec![];
            if batch.block {
                run(client, "BEGIN").await.map_err(|e| HarnessError(format!("BEGIN: {e}")))?;
            }
            for change in &batch.changes {
                let done = run(client, &change.sql.to_string()).await.map_err(|e| e.code);
                let failed = done.is_err();
                all.push(done);
                if failed && batch.block {
                    break;
                }
            }
            if batch.block {
                let end = if all.iter().all(|d| d.is_ok()) { "COMMIT" } else { "ROLLBACK" };
                all.push(run(client, end).await.map(|_| 0).map_err(|e| e.code));
            }
            codes.push(all);
        }
        let text = format!("Headwater {:?}\nPostgreSQL {:?}", codes[0], codes[1]);
        Ok((codes[0] != codes[1]).then_some(text))
    }

    async fn compare_case(&mut self, at: usize, case: &Case, outcome: &mut Outcome, done: usize, ad_hoc: bool) {
        let query = case.drawn.query.to_string();
        let theirs = rows(&self.theirs, &query).await;
        // PostgreSQL computes constants as it plans, also those that no row asks for.
        let in_planning = theirs.is_err() && rows(&self.theirs, &format!("EXPLAIN {query}")).await.is_err();
        if let Err(e) = &theirs
            && !is_of_data(e)
        {
            // Too long or too much is no defect of the query: it is left as it is.
            if !matches!(e.code.as_str(), "57014" | "53200" | "54000" | "53400") {
                outcome.invalid = Some(e.to_string());
            }
            return;
        }
        if !outcome.created && outcome.refused.is_none() && done >= case.created_after {
            match self.asked(&format!("CREATE MATERIALIZED VIEW v{at} AS {query}")).await {
                Ok(_) => outcome.created = true,
                Err(e) if e.code == "0A000" => outcome.refused = Some(e.message),
                Err(e) if is_of_data(&e) && case.drawn.fails != Fails::Never => outcome.refused = Some(e.to_string()),
                Err(e) => return differs(outcome, format!("create {}", e.code), e.to_string(), done),
            }
        }
        if outcome.created {
            let ours = self.asked(&format!("SELECT * FROM v{at}")).await;
            judged(outcome, case, ("view", in_planning), ours, &theirs, done);
        }
        if ad_hoc && outcome.refused_ad_hoc.is_none() && outcome.difference.is_none() {
            let ours = self.asked(&query).await;
            judged(outcome, case, ("ad hoc", in_planning), ours, &theirs, done);
        }
    }
}

fn differs(outcome: &mut Outcome, class: String, text: String, after: usize) {
    outcome.difference = Some(Difference { class, text, after });
}

/// Whether a query still ends with its order, which may have been left out to make it smaller.
fn ends_in_order(query: &str) -> bool {
    query.rfind(" ORDER BY ").is_some_and(|at| !query[at..].contains(')'))
}

/// `how`: what was asked, and whether PostgreSQL failed while it planned.
fn judged(outcome: &mut Outcome, case: &Case, how: (&str, bool), ours: Answer, theirs: &Answer, done: usize) {
    let (what, in_planning) = how;
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            let ordered = what == "ad hoc" && case.drawn.ordered && ends_in_order(&case.drawn.query.to_string());
            match compare(&ours, theirs, ordered) {
                Ok(agreement) => {
                    outcome.equal += 1;
                    outcome.looks += u64::from(agreement == Agreement::Looks);
                    outcome.digits += u64::from(agreement == Agreement::Digits);
                }
                Err(text) => {
                    differs(outcome, format!("{what} rows"), format!("PostgreSQL < > Headwater\n{text}"), done)
                }
            }
        }
        (Err(ours), Err(_)) if is_of_data(&ours) => outcome.both_failed += 1,
        (Err(ours), _) if ours.code == "0A000" && what == "ad hoc" => outcome.refused_ad_hoc = Some(ours.message),
        (Err(ours), Ok(_)) if is_of_data(&ours) && case.drawn.fails == Fails::Perhaps => outcome.one_failed += 1,
        (Ok(_), Err(_)) if case.drawn.fails == Fails::Perhaps => outcome.one_failed += 1,
        // Rows may have asked for the constant that failed: only an answer without any shows that none did.
        (Ok(ours), Err(_)) if in_planning && ours.is_empty() => outcome.one_failed += 1,
        (Err(ours), _) => {
            let theirs = theirs.as_ref().map_or_else(|e| e.to_string(), |rows| format!("{} rows", rows.len()));
            differs(outcome, format!("{what} {}", ours.code), format!("Headwater {ours}\nPostgreSQL {theirs}"), done);
        }
        (Ok(ours), Err(theirs)) => {
            let text = format!("Headwater {} rows\nPostgreSQL {theirs}", ours.len());
            differs(outcome, format!("{what} without {}", theirs.code), text, done);
        }
    }
}
