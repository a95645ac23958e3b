//! Who is connected: the rows of `headwater.sessions`.

use hw_repr::Datum;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes of a statement's text that are shown.
const QUERY_BYTES_MAX: usize = 1024;

struct Info {
    pid: i32,
    user: String,
    database: String,
    application: String,
    started_us: i64,
    active: bool,
    query: Option<String>,
}

#[derive(Default)]
struct Running {
    next: u64,
    sessions: BTreeMap<u64, Info>,
}

/// All sessions of the server.
#[derive(Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<Running>>);

/// One session's row; dropping it removes the row.
pub(crate) struct Entry {
    sessions: Sessions,
    id: u64,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Adds a session.
    pub(crate) fn open(&self, user: &str, database: &str, application: &str) -> Entry {
        let mut running = self.lock();
        running.next += 1;
        let id = running.next;
        let info = Info {
            pid: 0,
            user: user.to_string(),
            database: database.to_string(),
            application: application.to_string(),
            started_us: (crate::platform::now_ms() as i64).saturating_mul(1000),
            active: false,
            query: None,
        };
        running.sessions.insert(id, info);
        Entry { sessions: self.clone(), id }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().sessions.len()
    }

    /// The rows, oldest session first.
    pub(crate) fn rows(&self) -> Vec<Vec<Datum>> {
        let text = |s: &str| Datum::Text(s.to_string());
        let row = |i: &Info| {
            vec![
                Datum::Int8(i64::from(i.pid)),
                text(&i.user),
                text(&i.database),
                text(&i.application),
                Datum::Null,
                Datum::TimestampTz(i.started_us),
                text(if i.active { "active" } else { "idle" }),
                i.query.as_deref().map_or(Datum::Null, text),
            ]
        };
        self.lock().sessions.values().map(row).collect()
    }
}

impl Entry {
    fn change(&self, change: impl FnOnce(&mut Info)) {
        if let Some(info) = self.sessions.lock().sessions.get_mut(&self.id) {
            change(info);
        }
    }

    /// The process id of its cancel key.
    pub(crate) fn set_pid(&self, pid: i32) {
        self.change(|i| i.pid = pid);
    }

    /// A statement begins.
    pub(crate) fn begin(&self, application: &str, query: &str) {
        let end = query.floor_char_boundary(QUERY_BYTES_MAX);
        self.change(|i| {
            i.active = true;
            i.query = Some(query[..end].to_string());
            if i.application != application {
                i.application = application.to_string();
            }
        });
    }

    /// Its first rows, or its outcome, are known.
    pub(crate) fn end(&self) {
        self.change(|i| i.active = false);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.sessions.lock().sessions.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_and_go() {
        let sessions = Sessions::default();
        let (a, b) = (sessions.open("u", "d", "psql"), sessions.open("u", "d", ""));
        a.set_pid(7);
        a.begin("psql", &"ä".repeat(1000));
        let rows = sessions.rows();
        assert_eq!((rows.len(), &rows[0][0], &rows[0][6]), (2, &Datum::Int8(7), &Datum::Text("active".into())));
        assert_eq!(rows[0][7], Datum::Text("ä".repeat(512)));
        a.end();
        drop(b);
        assert_eq!(sessions.rows()[0][6], Datum::Text("idle".into()));
        assert_eq!(sessions.count(), 1);
    }
}
