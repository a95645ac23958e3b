//! Errors of views: what a read meets, what it is told of, and the rows of `headwater.view_errors`.
//!
//! Invariant: a read of a view is answered only where neither the view nor what it is computed from has a failing row that
//! is not left out on request; what is left out is counted in a WARNING.

use crate::command::Reply;
use crate::core::{Core, Flow};
use hw_dataflow::ViewError;
use hw_plan::{Object, ObjectKind, OnError};
use hw_repr::chunk::Merge;
use hw_repr::{Datum, Diff, GlobalId, PublishedRelation, SqlError, SqlState, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Characters of a failing row, or of an expression, that a message shows.
const SHOWN_CHARS_MAX: usize = 500;

/// A question about errors of views, as of a time.
pub(crate) struct WaitingErrors {
    pub at: Timestamp,
    pub reply: Reply<Vec<Vec<Datum>>>,
}

/// The error collection of a view.
pub(crate) struct ErrorsOf {
    view: Arc<Object>,
    errors: Arc<PublishedRelation>,
    at: Timestamp,
}

impl ErrorsOf {
    /// How many rows fail, with their copies.
    fn count(&self) -> Diff {
        self.errors.shards.iter().map(|s| s.count(self.at)).sum()
    }

    /// For a reader of `read`, which is without these rows; nothing where there are none.
    fn warning(&self, read: &str) -> Option<SqlError> {
        let (count, view) = (self.count(), &self.view.name);
        let rows = if count == 1 { "1 row is" } else { &format!("{count} rows are") };
        let of = if read == view { String::new() } else { format!(", which \"{read}\" is computed from") };
        let message = format!("{rows} left out of \"{view}\"{of}: computing them fails");
        (count > 0).then(|| SqlError::new(SqlState::new("01000"), message).hint(format!("{} lists them.", query(view))))
    }

    /// The rows of `headwater.view_errors`.
    fn add_rows(&self, out: &mut Vec<Vec<Datum>>) -> Result<(), SqlError> {
        let opt = |text: Option<String>| text.map_or(Datum::Null, Datum::Text);
        let mut all = Merge::new(self.errors.shards.clone(), vec![], self.at);
        while let Some((place, count)) = all.next_row() {
            if count == 0 {
                continue;
            }
            let ViewError { error, expression, row } = ViewError::decode(all.row(place))?;
            out.push(vec![
                Datum::Int8(i64::from(self.view.id.0)),
                Datum::Text(self.view.name.clone()),
                Datum::Text(error.code.as_str().to_owned()),
                Datum::Text(error.message),
                Datum::Text(expression),
                hw_repr::text::jsonb_canonical(&row).map_or(Datum::Null, Datum::Jsonb),
                Datum::Int8(count),
                opt(error.detail),
                opt(error.hint),
            ]);
        }
        Ok(())
    }
}

/// Views that a read is without some rows of, and what it has read.
#[derive(Default)]
pub(crate) struct LeftOut(Vec<(String, ErrorsOf)>);

impl LeftOut {
    /// What the reader is told.
    pub fn warnings(&self) -> Vec<SqlError> {
        self.0.iter().filter_map(|(read, errors)| errors.warning(read)).collect()
    }
}

/// The statement that shows what fails.
fn query(view: &str) -> String {
    format!("SELECT * FROM headwater.view_errors WHERE view = '{}'", view.replace('\'', "''"))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// What who reads or follows a view is told of a row that fails: PostgreSQL's error, where it comes from, and the way out.
pub(crate) fn failed(view: &str, e: ViewError) -> SqlError {
    let mut detail = e.error.detail.map_or(String::new(), |detail| format!("{detail}\n"));
    detail.push_str(&format!("In the materialized view \"{view}\""));
    if !e.expression.is_empty() {
        detail.push_str(&format!(", in {}", shortened(&e.expression)));
    }
    detail.push_str(&format!(", for {}.", shortened(&e.row)));
    let mut hint = e.error.hint.map_or(String::new(), |hint| format!("{hint}\n"));
    hint.push_str(&format!(
        "{} lists all such rows. The view can be read again when they are corrected or deleted; \
         created WITH (ON ERROR = DEAD LETTER) it leaves them out.",
        query(view)
    ));
    SqlError::new(e.error.code, e.error.message).detail(detail).hint(hint)
}

/// The first row that fails at a time.
fn first(errors: &PublishedRelation, at: Timestamp) -> Result<Option<ViewError>, SqlError> {
    if errors.shards.iter().all(|s| s.runs.is_empty()) {
        return Ok(None);
    }
    let mut all = Merge::new(errors.shards.clone(), vec![], at);
    while let Some((place, count)) = all.next_row() {
        if count > 0 {
            return ViewError::decode(all.row(place)).map(Some);
        }
    }
    Ok(None)
}

impl Core {
    /// A view with failing rows cannot be read, unless they are left out: the first of its errors is raised.
    pub(crate) fn check_errors(&self, object: &Object, at: Timestamp) -> Result<(), SqlError> {
        if object.on_error() == OnError::DeadLetter {
            return Ok(());
        }
        let Some(errors) = self.engine.published_errors(object.id) else { return Ok(()) };
        match first(&errors, at)? {
            Some(e) => Err(failed(&object.name, e)),
            None => Ok(()),
        }
    }

    /// True where the flow has a failing row.
    pub(crate) fn has_errors(&self, id: GlobalId, at: Timestamp) -> Result<bool, SqlError> {
        let errors = self.engine.published_errors(id);
        errors.map_or(Ok(false), |errors| Ok(first(&errors, at)?.is_some()))
    }

    /// What a read of `ids` at `at` does without, there or in what they are computed from.
    pub(crate) fn left_out(&self, ids: &[GlobalId], at: Timestamp) -> LeftOut {
        let (mut seen, mut out) = (BTreeSet::new(), LeftOut::default());
        for read in ids {
            let mut todo = vec![*read];
            while let Some(id) = todo.pop() {
                let Some(flow) = self.flows.get(&id).filter(|_| seen.insert(id)) else { continue };
                todo.extend(&flow.imports);
                if flow.object.on_error() != OnError::DeadLetter {
                    continue;
                }
                let errors = self.engine.published_errors(id);
                if let Some(errors) = errors.filter(|e| e.shards.iter().any(|s| !s.runs.is_empty()))
                    && let Some(name) = self.flows.get(read).map(|f| f.object.name.clone())
                {
                    out.0.push((name, ErrorsOf { view: flow.object.clone(), errors, at }));
                }
            }
        }
        out
    }

    /// How many rows of a view fail.
    pub(crate) fn count_errors(&self, id: GlobalId) -> i64 {
        let errors = self.engine.published_errors(id);
        errors.map_or(0, |p| p.shards.iter().map(|s| s.count(self.read_ts)).sum())
    }

    /// Answers who asked for errors of views, once every earlier write is visible. The rows are put together elsewhere:
    /// there may be many.
    pub(crate) fn answer_errors(&mut self) {
        if self.errors_asked.is_empty() {
            return;
        }
        // Errors of a view may be published after its rows.
        let live = self.flows.iter().filter(|(_, f)| f.is_filled() && f.failed.is_none());
        let uppers = live.filter_map(|(id, _)| self.engine.published_errors(*id)?.shards.iter().map(|s| s.upper).min());
        let upper = uppers.min().unwrap_or(Timestamp::MAX);
        let asked = std::mem::take(&mut self.errors_asked).into_iter();
        let (due, rest): (Vec<WaitingErrors>, _) = asked.partition(|a| a.at <= self.read_ts && a.at < upper);
        self.errors_asked = rest;
        for asked in due {
            let all = self.errors_of_views();
            let answer = move || {
                let mut out = vec![];
                let added = all.iter().try_for_each(|errors| errors.add_rows(&mut out));
                let _ = asked.reply.send(added.map(|()| out));
            };
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn_blocking(answer)),
                Err(_) => answer(),
            }
        }
    }

    /// The errors of every view, and every index with expressions, at the read time; of one that is still being filled, those
    /// of what has been read.
    fn errors_of_views(&self) -> Vec<ErrorsOf> {
        let computes = |f: &&Flow| match &f.object.kind {
            ObjectKind::MaterializedView { .. } => true,
            ObjectKind::Index { expressions, .. } => !expressions.is_empty(),
            _ => false,
        };
        let views = self.flows.values().filter(computes);
        let of = |view: &Arc<Object>| {
            let errors = self.engine.published_errors(view.id)?;
            let since = errors.shards.iter().map(|s| s.since).max()?;
            let upper = errors.shards.iter().map(|s| s.upper).min()?;
            let at = self.read_ts.min(upper.checked_sub(1)?).max(since);
            Some(ErrorsOf { view: view.clone(), errors, at })
        };
        let lasting = views.filter(|flow| flow.object.id.0 < crate::replace::TEMPORARY);
        lasting.filter_map(|flow| of(&flow.object)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_view_names_the_way_out() {
        let error =
            SqlError::new(SqlState::OUT_OF_RANGE, "numeric field overflow").detail("A field.").hint("Round it.");
        let e = failed("it's", ViewError { error, expression: "a::numeric(2,1)".into(), row: "{\"a\": 10}".into() });
        assert_eq!((e.code, e.message.as_str()), (SqlState::OUT_OF_RANGE, "numeric field overflow"));
        let detail = "A field.\nIn the materialized view \"it's\", in a::numeric(2,1), for {\"a\": 10}.";
        assert_eq!(e.detail.as_deref(), Some(detail));
        let hint = e.hint.expect("a hint");
        assert!(
            hint.starts_with("Round it.\nSELECT * FROM headwater.view_errors WHERE view = 'it''s' lists"),
            "{hint}"
        );
        assert_eq!(shortened(&"ä".repeat(600)).chars().count(), SHOWN_CHARS_MAX + 3);
    }
}
