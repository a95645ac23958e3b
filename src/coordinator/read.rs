//! Read times and answers.
//!
//! Invariant: `at` is at least every acknowledged commit and every earlier read, and all relations of one read are
//! given at the same `at`.

use crate::command::{ReadHold, ReadSnapshot, ReadTable, Reply};
use crate::core::{Core, WaitingRead};
use hw_plan::{Object, ObjectKind};
use hw_repr::{GlobalId, PublishedRelation, SqlError, SqlState, Timestamp};
use std::sync::Arc;

impl Core {
    /// Chooses the read's time, or takes that of an earlier read; answered now, or by [`Core::answer_reads`] once its
    /// relations are there.
    pub(crate) fn start_read(&mut self, ids: Vec<GlobalId>, at: Option<Arc<ReadHold>>, reply: Reply<ReadSnapshot>) {
        let at = at.unwrap_or_else(|| self.hold_now());
        self.answer(WaitingRead { ids, at, reply });
    }

    /// The newest time that may be shown, kept readable as long as the hold lives.
    pub(crate) fn hold_now(&mut self) -> Arc<ReadHold> {
        let hold = Arc::new(ReadHold { at: self.read_ts.max(self.acked) });
        self.holds.push(Arc::downgrade(&hold));
        hold
    }

    /// The least time that somebody holds.
    pub(crate) fn held(&mut self) -> Timestamp {
        self.holds.retain(|h| h.strong_count() > 0);
        self.holds.iter().filter_map(|h| h.upgrade()).map(|h| h.at).min().unwrap_or(Timestamp::MAX)
    }

    /// Answers every read whose relations have passed its time.
    pub(crate) fn answer_reads(&mut self) {
        let waiting = std::mem::take(&mut self.reads);
        waiting.into_iter().filter(|r| !r.reply.is_closed()).for_each(|r| self.answer(r));
    }

    fn answer(&mut self, read: WaitingRead) {
        match self.try_read(&read.ids, &read.at) {
            Ok(Some(snapshot)) => drop(read.reply.send(Ok(snapshot))),
            Ok(None) => self.reads.push(read),
            Err(e) => drop(read.reply.send(Err(e))),
        }
    }

    fn try_read(&self, ids: &[GlobalId], hold: &Arc<ReadHold>) -> Result<Option<ReadSnapshot>, SqlError> {
        let catalog = self.visible.load();
        let mut tables = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(object) = hw_plan::CatalogView::get(&**catalog, *id) else {
                return Err(SqlError::new(
                    SqlState::UNDEFINED_TABLE,
                    format!("relation with OID {} does not exist", id.0),
                ));
            };
            match self.read_one(&object, hold.at)? {
                Some(table) => tables.push((*id, table)),
                None => return Ok(None),
            }
        }
        Ok(Some(ReadSnapshot { as_of: hold.clone(), tables }))
    }

    fn read_one(&self, object: &Arc<Object>, at: Timestamp) -> Result<Option<ReadTable>, SqlError> {
        let desc = object.desc().cloned().ok_or_else(|| {
            SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a relation", object.name))
        })?;
        if let ObjectKind::Source(_) | ObjectKind::SourceOutput { .. } = object.kind {
            let (source, _) = self.source_of(object)?;
            let to = source.has_reader().then(|| source.positions.clone());
            let from = source.starts.clone();
            return Ok(Some(ReadTable::Source { object: object.clone(), desc, from, to }));
        }
        let Some(flow) = self.flows.get(&object.id) else {
            return Err(self.not_maintained(object));
        };
        if let Some(e) = &flow.failed {
            return Err(e.clone());
        }
        if flow.hydration.is_some() || self.engine.frontier(object.id) <= at {
            return Ok(None);
        }
        if self.engine.since(object.id) > at {
            return Err(SqlError::new(
                SqlState::PREREQUISITE_STATE,
                format!("\"{}\" is newer than the snapshot of the transaction", object.name),
            )
            .hint("Begin another transaction."));
        }
        self.check_errors(object, at)?;
        let Some(published) = self.engine.published(object.id) else { return Ok(None) };
        if !reaches(&published, at) {
            return Ok(None);
        }
        let indexes = self.indexes_of(object.id, at);
        Ok(Some(ReadTable::Arranged { desc, published, indexes }))
    }

    /// Arrangements of `id` by other keys that have passed `at`.
    fn indexes_of(&self, id: GlobalId, at: Timestamp) -> Vec<Arc<PublishedRelation>> {
        let flows = self.flows.iter().filter(|(i, f)| {
            matches!(f.object.kind, ObjectKind::Index { on, .. } if on == id) && self.engine.frontier(**i) > at
        });
        flows.filter_map(|(i, _)| self.engine.published(*i)).filter(|p| reaches(p, at)).collect()
    }

    /// A view with failing rows cannot be read: the first of its errors is raised.
    fn check_errors(&self, object: &Object, at: Timestamp) -> Result<(), SqlError> {
        let Some(errors) = self.engine.published_errors(object.id) else { return Ok(()) };
        let rows = crate::tables::error_rows(&errors, at)?;
        let Some(first) = rows.first() else { return Ok(()) };
        Err(SqlError::new(first.code(), first.message.clone())
            .detail(format!("{} row(s) of \"{}\" cannot be computed.", rows.iter().map(|r| r.count).sum::<i64>(), object.name))
            .hint(format!(
                "SELECT * FROM headwater.view_errors WHERE view = '{}'; correct or delete the input rows and the view can be read again.",
                object.name
            )))
    }
}

/// True where every shard holds all changes up to and including `at`.
fn reaches(published: &PublishedRelation, at: Timestamp) -> bool {
    !published.shards.is_empty() && published.shards.iter().all(|s| s.upper > at)
}
