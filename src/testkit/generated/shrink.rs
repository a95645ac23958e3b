//! Makes a failing case smaller while it fails in the same way, and writes it down as a script.

use super::run::{Case, Difference, Outcome, Script, Systems};
use super::tables::{Batch, Change};
use super::tree::Tree;
use crate::HarnessError;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// Tries, at most.
const TRIES_MAX: u32 = 900;
/// Time, at most.
const SECONDS_MAX: u64 = 60;

/// A failing case that is being made smaller.
pub struct Shrinker<'a> {
    systems: &'a mut Systems,
    script: Script,
    case: Case,
    difference: Difference,
    tries: u32,
    begun: Instant,
}

impl Shrinker<'_> {
    /// The smallest script that was found to fail like this; `None` where the case does not fail by itself.
    pub async fn shrink(
        systems: &mut Systems,
        script: &Script,
        case: &Case,
        difference: &Difference,
    ) -> Result<Option<String>, HarnessError> {
        let mut script = script.clone();
        script.batches.truncate(difference.after);
        let (case, difference) = (case.clone(), difference.clone());
        let mut all = Shrinker { systems, script, case, difference, tries: 0, begun: Instant::now() };
        if !all.takes(all.script.clone(), all.case.clone()).await? {
            return Ok(None);
        }
        loop {
            let before = all.weight();
            all.fewer_batches().await?;
            all.smaller_query().await?;
            all.fewer_changes().await?;
            all.fewer_tables().await?;
            if all.weight() >= before || !all.goes_on() {
                break;
            }
        }
        Ok(Some(all.text()))
    }

    fn goes_on(&self) -> bool {
        self.tries < TRIES_MAX && self.begun.elapsed() < Duration::from_secs(SECONDS_MAX)
    }

    fn weight(&self) -> usize {
        let changes = self.script.batches.iter().flat_map(|b| &b.changes);
        self.case.drawn.query.weight() + self.script.tables.len() + changes.map(|c| 3 + c.sql.weight()).sum::<usize>()
    }

    /// True where this fails in the same way; it is kept then.
    async fn takes(&mut self, script: Script, case: Case) -> Result<bool, HarnessError> {
        self.tries += 1;
        let outcomes = match self.systems.run(&script, std::slice::from_ref(&case)).await {
            Ok(outcomes) => outcomes,
            // A table that is gone and still named.
            Err(e) if self.systems.server.is_running() => {
                drop(e);
                return Ok(false);
            }
            Err(e) => return Err(e),
        };
        let found =
            outcomes.into_iter().find_map(|o: Outcome| o.difference).filter(|d| d.class == self.difference.class);
        let Some(difference) = found else { return Ok(false) };
        (self.script, self.case, self.difference) = (script, case, difference);
        Ok(true)
    }

    async fn fewer_batches(&mut self) -> Result<(), HarnessError> {
        let mut at = self.script.batches.len();
        while at > 0 && self.goes_on() {
            at -= 1;
            let mut script = self.script.clone();
            script.batches.remove(at);
            let mut case = self.case.clone();
            case.created_after -= usize::from(case.created_after > at);
            if self.takes(script, case).await? {
                continue;
            }
            if at + 1 < self.script.batches.len() {
                // Together with the next.
                let mut script = self.script.clone();
                let Batch { changes, .. } = script.batches.remove(at + 1);
                script.batches[at].changes.extend(changes);
                let mut case = self.case.clone();
                case.created_after -= usize::from(case.created_after > at + 1);
                self.takes(script, case).await?;
            }
        }
        for after in [0, self.script.batches.len()] {
            let case = Case { created_after: after, ..self.case.clone() };
            if self.case.created_after != after && self.takes(self.script.clone(), case).await? {
                break;
            }
        }
        if self.script.kill_after.is_some() {
            self.takes(Script { kill_after: None, ..self.script.clone() }, self.case.clone()).await?;
        }
        Ok(())
    }

    async fn smaller_query(&mut self) -> Result<(), HarnessError> {
        let mut from = 0;
        loop {
            let edits = self.case.drawn.query.edits();
            let mut changed = false;
            for (at, edit) in edits.iter().enumerate().skip(from) {
                if !self.goes_on() {
                    return Ok(());
                }
                let mut case = self.case.clone();
                case.drawn.query = case.drawn.query.edited(edit);
                if self.takes(self.script.clone(), case).await? {
                    (from, changed) = (at, true);
                    break;
                }
            }
            match (changed, from) {
                (true, _) => {}
                (false, 0) => return Ok(()),
                (false, _) => from = 0,
            }
        }
    }

    async fn fewer_changes(&mut self) -> Result<(), HarnessError> {
        for batch in (0..self.script.batches.len()).rev() {
            if self.script.batches[batch].block {
                let mut script = self.script.clone();
                script.batches[batch].block = false;
                self.takes(script, self.case.clone()).await?;
            }
            for change in (0..self.script.batches[batch].changes.len()).rev() {
                let mut script = self.script.clone();
                script.batches[batch].changes.remove(change);
                if !self.goes_on() || self.takes(script, self.case.clone()).await? {
                    continue;
                }
                self.smaller_change(batch, change).await?;
            }
        }
        Ok(())
    }

    async fn smaller_change(&mut self, batch: usize, change: usize) -> Result<(), HarnessError> {
        loop {
            let sql: Tree = self.script.batches[batch].changes[change].sql.clone();
            let mut changed = false;
            for edit in sql.edits() {
                let mut script = self.script.clone();
                script.batches[batch].changes[change].sql = sql.edited(&edit);
                if !self.goes_on() {
                    return Ok(());
                }
                if self.takes(script, self.case.clone()).await? {
                    changed = true;
                    break;
                }
            }
            if !changed {
                return Ok(());
            }
        }
    }

    async fn fewer_tables(&mut self) -> Result<(), HarnessError> {
        for at in (0..self.script.tables.len()).rev() {
            let mut script = self.script.clone();
            let (name, _) = script.tables.remove(at);
            let stays = |change: &Change| change.table != name;
            script.batches.iter_mut().for_each(|batch| batch.changes.retain(stays));
            if self.goes_on() {
                self.takes(script, self.case.clone()).await?;
            }
        }
        Ok(())
    }

    /// A script that has everything in it.
    fn text(&self) -> String {
        script_text(&self.script, &self.case, &self.difference)
    }
}

/// Tables, view, changes and query of a case as statements.
pub fn script_text(script: &Script, case: &Case, difference: &Difference) -> String {
    let mut out = format!("-- {}, after {} batches\n", difference.class, difference.after);
    for line in difference.text.lines() {
        let _ = writeln!(out, "--   {line}");
    }
    for (_, create) in &script.tables {
        let _ = writeln!(out, "{create};");
    }
    let query = case.drawn.query.to_string();
    for done in 0..=script.batches.len() {
        if let Some(batch) = done.checked_sub(1).map(|at| &script.batches[at]) {
            let (begin, end) = if batch.block { ("BEGIN;\n", "COMMIT;\n") } else { ("", "") };
            let changes: String = batch.changes.iter().map(|c| format!("{};\n", c.sql)).collect();
            let _ = write!(out, "-- batch {done}\n{begin}{changes}{end}");
        }
        if done == case.created_after {
            let _ = writeln!(out, "CREATE MATERIALIZED VIEW v0 AS {query};");
        }
        if script.kill_after == Some(done) {
            let _ = writeln!(out, "-- SIGKILL and restart");
        }
    }
    let _ = writeln!(out, "SELECT * FROM v0;\n{query};");
    out
}
