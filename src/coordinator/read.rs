//! Read times and answers.
//!
//! Invariant: `at` is at least every acknowledged commit and every earlier read, and all relations of one read are
//! given at the same `at`.

use crate::command::{ReadAt, ReadHold, ReadSnapshot, ReadTable, Reply};
use crate::core::{Core, ReadKind, WaitingRead};
use hw_plan::{IndexExpr, Object, ObjectKind};
use hw_query::ComputedIndex;
use hw_repr::{GlobalId, PublishedRelation, SqlError, SqlState, Timestamp};
use std::sync::Arc;

impl Core {
    /// Chooses the read's time, or takes that of an earlier read; answered now, or by [`Core::answer_reads`] once its
    /// relations are there.
    pub(crate) fn start_read(&mut self, ids: Vec<GlobalId>, at: ReadAt, reply: Reply<ReadSnapshot>) {
        let (kind, at) = match at {
            ReadAt::Now => (ReadKind::Now, self.hold_now()),
            ReadAt::Held(hold) => (ReadKind::Held, hold),
            ReadAt::Past(at) => match self.check_past(at) {
                Ok(()) => (ReadKind::Past, self.hold(at)),
                Err(e) => return drop(reply.send(Err(e))),
            },
        };
        self.answer(WaitingRead { ids, at, kind, reply });
    }

    /// What has happened up to the clock's time is known when a tick has been closed after it, which the read waits for.
    fn check_past(&self, at: Timestamp) -> Result<(), SqlError> {
        let now = (self.clock)().max(self.last_tick);
        if at > now {
            let e = SqlError::new(SqlState::INVALID_PARAMETER, format!("AS OF {at} lies in the future"));
            return Err(e.hint(format!("It is {now} now; times are milliseconds since 1970.")));
        }
        match &self.read_only {
            Some(e) if at > self.last_tick => Err(e.clone()),
            _ => Ok(()),
        }
    }

    /// True where a read waits for time to pass.
    pub(crate) fn read_wants_tick(&self) -> bool {
        self.read_only.is_none() && self.reads.iter().any(|r| r.at.at > self.last_tick)
    }

    /// The newest time that may be shown, kept readable as long as the hold lives.
    pub(crate) fn hold_now(&mut self) -> Arc<ReadHold> {
        self.hold(self.read_ts.max(self.acked))
    }

    fn hold(&mut self, at: Timestamp) -> Arc<ReadHold> {
        let hold = Arc::new(ReadHold::new(at));
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

    fn answer(&mut self, mut read: WaitingRead) {
        // It has waited for a view that was being filled.
        if read.kind == ReadKind::Now && read.ids.iter().any(|id| self.known_from(*id, read.at.at) > read.at.at) {
            read.at = self.hold_now();
        }
        match self.try_read(&read) {
            Ok(Some(snapshot)) => drop(read.reply.send(Ok(snapshot))),
            Ok(None) => self.reads.push(read),
            Err(e) => drop(read.reply.send(Err(e))),
        }
    }

    /// The first time, `at` or later, at which a relation is just what it was then.
    pub(crate) fn known_from(&self, id: GlobalId, at: Timestamp) -> Timestamp {
        self.flows.get(&id).map_or(at, |flow| flow.known.first(at))
    }

    fn try_read(&self, read: &WaitingRead) -> Result<Option<ReadSnapshot>, SqlError> {
        if self.replacing_at().is_some_and(|at| read.at.at >= at) && self.read_only.is_none() {
            return Ok(None);
        }
        if read.at.at > self.read_ts.max(self.acked) {
            return match &self.read_only {
                Some(e) if read.at.at > self.last_tick => Err(e.clone()),
                _ => Ok(None),
            };
        }
        let catalog = self.visible.load();
        let mut tables = Vec::with_capacity(read.ids.len());
        for id in &read.ids {
            let Some(object) = hw_plan::CatalogView::get(&**catalog, *id) else {
                return Err(SqlError::new(
                    SqlState::UNDEFINED_TABLE,
                    format!("relation with OID {} does not exist", id.0),
                ));
            };
            match self.read_one(&object, read.at.at, read.kind)? {
                Some(table) => tables.push((*id, table)),
                None => return Ok(None),
            }
        }
        let left_out = self.left_out(&read.ids, read.at.at);
        Ok(Some(ReadSnapshot { as_of: read.at.clone(), tables, left_out }))
    }

    fn read_one(&self, object: &Arc<Object>, at: Timestamp, kind: ReadKind) -> Result<Option<ReadTable>, SqlError> {
        let desc = object.desc().cloned().ok_or_else(|| {
            SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a relation", object.name))
        })?;
        if let ObjectKind::Source(_) | ObjectKind::SourceOutput { .. } = object.kind {
            if kind == ReadKind::Past {
                let e = SqlError::unsupported(format!("AS OF of the source \"{}\"", object.name));
                return Err(e.hint("A source keeps no rows; read a materialized view over it."));
            }
            let (source, _) = self.source_of(object)?;
            let to = source.has_reader().then(|| source.positions_at(at));
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
        let since = self.engine.since(object.id).max(self.known_from(object.id, at));
        if since > at {
            return match (&self.read_only, kind) {
                (_, ReadKind::Past) => Err(no_longer_kept(&object.name, since)),
                (Some(e), _) if flow.known.from > at => Err(e.clone()),
                (_, ReadKind::Now) if self.engine.since(object.id) <= at => Ok(None),
                _ => Err(SqlError::new(
                    SqlState::PREREQUISITE_STATE,
                    format!("\"{}\" is newer than the snapshot of the transaction", object.name),
                )
                .hint("Begin another transaction.")),
            };
        }
        self.check_errors(object, at)?;
        let Some(published) = self.engine.published(object.id) else { return Ok(None) };
        if !reaches(&published, at) {
            return Ok(None);
        }
        let indexes = self.indexes_of(object.id, at);
        let computed = self.computed_indexes_of(object.id, at)?;
        Ok(Some(ReadTable::Arranged { desc, published, indexes, computed }))
    }

    /// Arrangements of `id` by other columns that have passed `at`.
    pub(crate) fn indexes_of(&self, id: GlobalId, at: Timestamp) -> Vec<Arc<PublishedRelation>> {
        self.readable_indexes(id, at, false).map(|(_, published, _)| published).collect()
    }

    /// Arrangements of `id` by keys that are computed which have passed `at`: those that have all rows. A row for which an
    /// expression fails is none of them.
    fn computed_indexes_of(&self, id: GlobalId, at: Timestamp) -> Result<Vec<ComputedIndex>, SqlError> {
        let mut out = vec![];
        for (index, published, expressions) in self.readable_indexes(id, at, true) {
            if !self.has_errors(index, at)? {
                let expressions = expressions.iter().map(|e| e.expr.clone()).collect();
                out.push(ComputedIndex { published, expressions });
            }
        }
        Ok(out)
    }

    /// Those with expressions (`computed`), or those without.
    fn readable_indexes(
        &self,
        id: GlobalId,
        at: Timestamp,
        computed: bool,
    ) -> impl Iterator<Item = (GlobalId, Arc<PublishedRelation>, &[IndexExpr])> {
        self.flows.iter().filter_map(move |(index, flow)| {
            let expressions = match &flow.object.kind {
                ObjectKind::Index { on, expressions, .. } if *on == id && expressions.is_empty() != computed => {
                    expressions.as_slice()
                }
                _ => return None,
            };
            let there = self.engine.frontier(*index) > at && self.engine.since(*index) <= at;
            let published = self.engine.published(*index).filter(|p| there && reaches(p, at))?;
            Some((*index, published, expressions))
        })
    }
}

/// For a time before what is kept of a relation.
pub(crate) fn no_longer_kept(name: &str, since: Timestamp) -> SqlError {
    let message = format!("the history of \"{name}\" before {since} is no longer kept");
    SqlError::new(SqlState::PREREQUISITE_STATE, message)
        .hint(format!("Use AS OF {since} or later. WITH (RETAIN HISTORY = '1 hour') keeps more."))
}

/// True where every shard holds all changes up to and including `at`.
fn reaches(published: &PublishedRelation, at: Timestamp) -> bool {
    !published.shards.is_empty() && published.shards.iter().all(|s| s.upper > at)
}
