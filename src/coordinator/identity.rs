//! Values of identity columns.
//!
//! They are set aside in blocks: the catalog, through the log, knows the first value behind the last block before any of
//! it is given out. So no value is ever given twice; what was set aside and not used when the server stops is lost, as
//! the values of statements that fail are.

use crate::command::Reply;
use crate::core::Core;
use hw_catalog::CatalogChange;
use hw_plan::CatalogView;
use hw_repr::{GlobalId, SqlError, SqlState};

fn dropped() -> SqlError {
    SqlError::new(SqlState::UNDEFINED_TABLE, "the table was dropped before the statement could write it")
}

/// Values set aside at a time.
const BLOCK: u64 = 256;

impl Core {
    /// `TRUNCATE ... RESTART IDENTITY`, for a table that has an identity column.
    pub(crate) fn restart_identity(&mut self, table: GlobalId, reply: Reply<()>) {
        let object = self.snapshot.load_full().get(table).map(|o| (*o).clone());
        let Some(mut object) = object else { return drop(reply.send(Err(dropped()))) };
        object.rules.columns.iter_mut().filter_map(|c| c.identity.as_mut()).for_each(|rule| rule.next = None);
        self.identities.remove(&table);
        let ack = Box::new(move |result| drop(reply.send(result)));
        let _ = self.commit_changes(vec![CatalogChange::UpdateObject(object)], ack);
    }

    /// Answers with the first of `count` values.
    pub(crate) fn next_identity(&mut self, table: GlobalId, count: u64, reply: Reply<i64>) {
        let catalog = self.snapshot.load_full();
        let object = catalog.get(table).map(|o| (*o).clone());
        let found = object.and_then(|o| o.rules.identity().map(|(c, r)| (c, r.clone())).map(|(c, r)| (o, c, r)));
        let Some((mut object, column, mut rule)) = found else {
            return drop(reply.send(Err(dropped())));
        };
        let begin = rule.next.unwrap_or(rule.start);
        let (next, end) = self.identities.get(&table).copied().unwrap_or((begin, begin));
        let step = |from: i64, values: u64| -> Option<i64> {
            from.checked_add(rule.increment.checked_mul(i64::try_from(values).ok()?)?)
        };
        let over = || SqlError::new(SqlState::new("2200H"), "nextval: reached maximum value of the identity column");
        let Some(after) = step(next, count) else { return drop(reply.send(Err(over()))) };
        let enough = if rule.increment > 0 { after <= end } else { after >= end };
        if enough {
            self.identities.insert(table, (after, end));
            return drop(reply.send(Ok(next)));
        }
        let Some(end) = step(next, count.max(BLOCK)) else { return drop(reply.send(Err(over()))) };
        rule.next = Some(end);
        if let Some(c) = object.rules.columns.get_mut(column) {
            c.identity = Some(rule);
        }
        let ack = Box::new(move |result: Result<(), SqlError>| drop(reply.send(result.map(|()| next))));
        if self.commit_changes(vec![CatalogChange::UpdateObject(object)], ack).is_some() {
            self.identities.insert(table, (after, end));
        }
    }
}
