//! Incremental equals batch, over the wire: random changes, and every view compared with its defining query.
//!
//! Tables are changed by seeded random statements, some at the same time on several connections. Between bursts
//! nothing changes; then each view, as a SELECT reads it and as SUBSCRIBE has followed it, must hold what its
//! defining query gives when it is evaluated as a whole. A view whose query fails on some row must fail as well, and
//! must be right again when the row is gone.

mod definitions;
mod generate;

use crate::follow::{FollowError, Follower};
use crate::held::{self, Held, held};
use crate::random::Random;
use crate::rows::{Bag, Refusal, bag, difference, rows, run};
use crate::{HarnessError, Server};
pub use definitions::{Definitions, View};
use generate::Table;
use std::collections::{BTreeMap, VecDeque};
use tokio_postgres::Client;

/// Statements shown with a failure.
const RECENT_MAX: usize = 40;
/// Bytes by which an operator may hold more at the same number of rows.
const ROOM_BYTES: i64 = 256;
/// Where the oracle keeps its marks.
const MARKS: &str = "oracle.marks";

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Views that were followed.
    pub views: usize,
    /// Queries that the server does not maintain, with its reason.
    pub refused: Vec<String>,
    /// Statements that changed something.
    pub changes: u64,
    /// Statements refused, by SQLSTATE.
    pub errors: BTreeMap<String, u64>,
    /// Comparisons of a view with its query: equal rows.
    pub equal: u64,
    /// As many rows, but others of those that the query's order does not tell apart.
    pub ties: u64,
    /// Comparisons left out: the query is not answered ad hoc.
    pub unanswered: u64,
    /// Comparisons where both failed.
    pub both_failed: u64,
    /// Restarts of the server in between.
    pub restarts: u64,
}

struct Followed {
    view: View,
    /// `None` while the view cannot be read.
    follower: Option<Follower>,
}

/// A run over one set of definitions, in a schema of its own.
pub struct Oracle<'a> {
    server: &'a mut Server,
    schema: String,
    random: Random,
    clients: Vec<Client>,
    tables: Vec<Table>,
    followed: Vec<Followed>,
    marks: Option<Follower>,
    mark: u64,
    /// What operators hold over empty tables.
    empty: Held,
    given: Vec<String>,
    recent: VecDeque<String>,
    summary: Summary,
}

impl<'a> Oracle<'a> {
    /// Creates everything on `server` and follows every view.
    pub async fn start(
        server: &'a mut Server,
        schema: &str,
        definitions: &Definitions,
        seed: u64,
    ) -> Result<Oracle<'a>, HarnessError> {
        let mut oracle = Oracle {
            server,
            schema: schema.to_string(),
            random: Random::new(seed),
            clients: vec![],
            tables: vec![],
            followed: vec![],
            marks: None,
            mark: 0,
            empty: Held::new(),
            given: definitions.changes.clone(),
            recent: VecDeque::new(),
            summary: Summary::default(),
        };
        oracle.connect().await?;
        for sql in ["CREATE SCHEMA IF NOT EXISTS oracle", "CREATE TABLE IF NOT EXISTS oracle.marks (n bigint)"] {
            run(&oracle.clients[0], sql).await.map_err(|e| oracle.failed(sql, &e))?;
        }
        let views = oracle.create(definitions).await?;
        oracle.empty = oracle.emptied().await?;
        oracle.marks = Some(oracle.follow(MARKS).await?);
        for view in views {
            let name = format!("{}.{}", oracle.schema, view.name);
            let follower = Some(oracle.follow(&name).await?);
            oracle.followed.push(Followed { view, follower });
        }
        oracle.summary.views = oracle.followed.len();
        Ok(oracle)
    }

    /// True where there is nothing to compare, or nothing that changes.
    pub fn is_empty(&self) -> bool {
        self.followed.is_empty() || self.tables.is_empty()
    }

    /// `rounds` bursts of changes, each followed by a comparison of everything.
    pub async fn rounds(&mut self, rounds: u64) -> Result<(), HarnessError> {
        for _ in 0..rounds {
            self.burst().await?;
            self.compare().await?;
        }
        Ok(())
    }

    /// Kills the server, starts it again and compares everything.
    pub async fn restart(&mut self) -> Result<(), HarnessError> {
        self.server.kill()?;
        self.server.restart()?;
        self.summary.restarts += 1;
        self.note("(restart)".into());
        self.connect().await?;
        self.marks = Some(self.follow(MARKS).await?);
        for at in 0..self.followed.len() {
            self.followed[at].follower = None;
        }
        self.compare().await
    }

    /// Deletes all rows, which must leave nothing behind in any operator, and drops what was created.
    pub async fn finish(mut self) -> Result<Summary, HarnessError> {
        self.followed.clear();
        let (before, mut after) = (self.empty.clone(), self.emptied().await?);
        let restarted = self.summary.restarts > 0;
        for (operator, held) in &mut after {
            let Some(was) = before.get(operator) else { continue };
            // A row may be noted for the next checkpoint, and rows that never go away may lie in a piece with room for more. What was
            // restored may lie in other pieces, less of it in memory.
            let noted = held.0 == was.0 && held.1 <= was.1 + ROOM_BYTES + 4 * was.0;
            if noted || restarted && held.0 <= was.0 {
                *held = *was;
            }
        }
        let left = held::differences(&before, &after);
        if !left.is_empty() {
            return Err(HarnessError(format!("schema {}: left behind\n{}", self.schema, left.join("\n"))));
        }
        let sql = format!("DROP SCHEMA {} CASCADE", self.schema);
        run(&self.clients[0], &sql).await.map_err(|e| self.failed(&sql, &e))?;
        Ok(self.summary)
    }

    /// What operators hold when every table is empty; but for the marks, which stay.
    async fn emptied(&self) -> Result<Held, HarnessError> {
        let client = &self.clients[0];
        let all = format!(
            "SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = '{}' AND table_type = 'BASE TABLE'",
            self.schema
        );
        let tables = rows(client, &all).await.map_err(|e| self.failed(&all, &e))?;
        let deletes = tables.iter().filter_map(|row| row[0].as_ref()).map(|name| format!("DELETE FROM {name}"));
        for sql in deletes.chain(["SELECT headwater.compact()".to_string()]) {
            run(client, &sql).await.map_err(|e| self.failed(&sql, &e))?;
        }
        let mut held = held(client).await.map_err(|e| self.failed("headwater.operators", &e))?;
        // What a relation has shown stays for subscribers who come back.
        held.retain(|operator, _| operator[0].as_deref() != Some("marks") && operator[1].as_deref() != Some("serve"));
        Ok(held)
    }

    async fn connect(&mut self) -> Result<(), HarnessError> {
        self.clients.clear();
        for _ in 0..3 {
            let client = self.server.connect().await.map_err(|e| HarnessError(format!("connect: {e:?}")))?;
            let path = format!("SET search_path = {}", self.schema);
            run(&client, &path).await.map_err(|e| self.failed(&path, &e))?;
            self.clients.push(client);
        }
        Ok(())
    }

    async fn create(&mut self, definitions: &Definitions) -> Result<Vec<View>, HarnessError> {
        let create = format!("CREATE SCHEMA {}", self.schema);
        run(&self.clients[0], &create).await.map_err(|e| self.failed(&create, &e))?;
        for sql in &definitions.setup {
            match run(&self.clients[0], sql).await {
                Ok(_) => {}
                Err(e) if definitions.lenient && e.answered() => {
                    self.summary.refused.push(format!("{e}: {sql}"));
                    continue;
                }
                Err(e) => return Err(self.failed(sql, &e)),
            }
            if let Some(table) = Table::read(&self.clients[0], sql).await.map_err(|e| self.failed(sql, &e))? {
                self.tables.push(table);
            }
        }
        let (mut views, mut failed) = (vec![], vec![]);
        for view in &definitions.views {
            match run(&self.clients[0], &view.create()).await {
                Ok(_) => views.push(view.clone()),
                Err(e) if (view.optional || definitions.lenient) && e.answered() && !e.code.starts_with("XX") => {
                    self.summary.refused.push(format!("{e}: {}", view.query));
                }
                Err(e) => failed.push(format!("{}: {e}", view.create())),
            }
        }
        if failed.is_empty() { Ok(views) } else { Err(HarnessError(failed.join("\n"))) }
    }

    async fn follow(&self, name: &str) -> Result<Follower, HarnessError> {
        Follower::start(self.server, name).await.map_err(|e| HarnessError(format!("SUBSCRIBE {name}: {e}")))
    }

    fn note(&mut self, sql: String) {
        self.recent.push_back(sql);
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }

    fn failed(&self, what: &str, e: &Refusal) -> HarnessError {
        HarnessError(format!("{what}: {e} {}\nafter\n{}", e.more, self.recent_text()))
    }

    fn recent_text(&self) -> String {
        self.recent.iter().map(|s| format!("  {s};\n")).collect()
    }

    fn statement(&mut self) -> String {
        if !self.given.is_empty() && self.random.chance(15) {
            return self.given[self.random.below(self.given.len() as u64) as usize].clone();
        }
        let table = self.random.below(self.tables.len() as u64) as usize;
        self.tables[table].change(&mut self.random)
    }

    async fn burst(&mut self) -> Result<(), HarnessError> {
        // Mostly one tick, which is compared by itself; sometimes several, some of them close together.
        let together = self.random.chance(30);
        let steps = if self.random.chance(60) { 1 } else { 1 + self.random.below(4) };
        for _ in 0..steps {
            let lanes = if together { self.clients.len() } else { 1 };
            let statements: Vec<String> = (0..lanes).map(|_| self.statement()).collect();
            let running = statements.iter().zip(&self.clients).map(|(sql, client)| run(client, sql));
            let results = futures::future::join_all(running).await;
            for (sql, result) in statements.into_iter().zip(results) {
                self.note(sql.clone());
                match result {
                    Ok(n) => self.summary.changes += u64::from(n > 0),
                    Err(e) if e.answered() && !e.code.starts_with("XX") => {
                        *self.summary.errors.entry(e.code).or_default() += 1;
                    }
                    Err(e) => return Err(self.failed(&sql, &e)),
                }
            }
        }
        Ok(())
    }

    /// A time at which all changes so far are complete.
    async fn mark(&mut self) -> Result<u64, HarnessError> {
        self.mark += 1;
        let value = self.random.bits().to_string();
        let value = value[..value.len().min(15)].to_string();
        let sql = format!("INSERT INTO {MARKS} VALUES ({value})");
        run(&self.clients[0], &sql).await.map_err(|e| self.failed(&sql, &e))?;
        let Some(marks) = &mut self.marks else { return Err(HarnessError("no marks are followed".into())) };
        let found = marks.until_row(|row| row[0].as_deref() == Some(&value)).await;
        found.map_err(|e| HarnessError(format!("following {MARKS}: {e}")))
    }

    async fn compare(&mut self) -> Result<(), HarnessError> {
        let time = self.mark().await?;
        let mut followed = std::mem::take(&mut self.followed);
        let mut wrong = vec![];
        for one in &mut followed {
            let query = bag(&self.clients[0], &one.view.query).await;
            let view = bag(&self.clients[0], &format!("SELECT * FROM {}", one.view.name)).await;
            if let Err(e) = self.compare_one(one, time, query, view).await {
                wrong.push(format!("{}\n{e}", one.view.create()));
            }
        }
        self.followed = followed;
        if wrong.is_empty() {
            return Ok(());
        }
        Err(HarnessError(format!(
            "schema {}, mark {}: {} views differ\n{}\nafter\n{}",
            self.schema,
            self.mark,
            wrong.len(),
            wrong.join("\n"),
            self.recent_text()
        )))
    }

    async fn compare_one(
        &mut self,
        one: &mut Followed,
        time: u64,
        query: Result<Bag, Refusal>,
        view: Result<Bag, Refusal>,
    ) -> Result<(), String> {
        match (query, view) {
            (Ok(query), Ok(view)) => {
                let by_select = difference_in(&one.view.query, &query, &view);
                let tie = !by_select.is_empty() && cuts_off(&one.view.query) && count(&query) == count(&view);
                if !by_select.is_empty() && !tie {
                    return Err(format!("query < > SELECT from the view\n{by_select}"));
                }
                let followed = self.followed_contents(one, time).await?;
                let by_subscribe = difference_in(&one.view.query, if tie { &view } else { &query }, &followed);
                if !by_subscribe.is_empty() {
                    return Err(format!("query < > SUBSCRIBE\n{by_subscribe}"));
                }
                if tie {
                    self.summary.ties += 1;
                } else {
                    self.summary.equal += 1;
                }
                Ok(())
            }
            (Err(query), Err(view)) if is_of_data(&query.code) && is_of_data(&view.code) => {
                self.summary.both_failed += 1;
                self.expect_end(one, time).await
            }
            (Err(query), _) if query.code == "0A000" => {
                self.summary.unanswered += 1;
                Ok(())
            }
            (Err(e), Ok(_)) => Err(format!("the query fails ({e}), the view does not")),
            (Ok(_), Err(e)) => Err(format!("the view fails ({e} {}), the query does not", e.more)),
            (Err(a), Err(b)) => Err(format!("the query fails with {a}, the view with {b}")),
        }
    }

    /// What the view's follower has at `time`; one that ended because of a failing row is started again.
    async fn followed_contents(&self, one: &mut Followed, time: u64) -> Result<Bag, String> {
        let name = format!("{}.{}", self.schema, one.view.name);
        for _ in 0..2 {
            let mut follower = match one.follower.take() {
                Some(follower) => follower,
                None => Follower::start(self.server, &name).await.map_err(|e| format!("SUBSCRIBE: {e}"))?,
            };
            match follower.until(time).await {
                Ok(()) => {
                    let contents = follower.contents().clone();
                    one.follower = Some(follower);
                    return Ok(contents);
                }
                // A row failed and was corrected within the burst.
                Err(FollowError::Ended(e)) if is_of_data(&e.code) => {}
                Err(e) => return Err(format!("SUBSCRIBE: {e}")),
            }
        }
        Err("SUBSCRIBE fails although the view can be read".into())
    }

    /// A follower of a view with a failing row ends with the row's error.
    async fn expect_end(&self, one: &mut Followed, time: u64) -> Result<(), String> {
        let Some(mut follower) = one.follower.take() else { return Ok(()) };
        match follower.until(time).await {
            Err(FollowError::Ended(e)) if is_of_data(&e.code) => Ok(()),
            Err(e) => Err(format!("SUBSCRIBE: {e}")),
            Ok(()) => Err("the view cannot be read, but SUBSCRIBE goes on".into()),
        }
    }
}

/// True for a query that takes some of the rows that its order may not tell apart: a view takes them by their columns, a read as
/// it finds them, which follows from how far merges have come.
fn cuts_off(query: &str) -> bool {
    let query = query.to_ascii_lowercase();
    ["limit", "fetch", "distinct on", "row_number"].iter().any(|word| query.contains(word))
}

fn count(bag: &Bag) -> i64 {
    bag.values().sum()
}

/// As [`difference`]. Which of equal values a group shows is not defined (docs/sql.md): where a query groups, numbers are
/// compared without their trailing zeros.
fn difference_in(query: &str, left: &Bag, right: &Bag) -> String {
    let found = difference(left, right);
    let query = query.to_ascii_lowercase();
    let groups = ["distinct", "union", "group by", "except", "intersect"].iter().any(|w| query.contains(w));
    if found.is_empty() || !groups || !difference(&by_value(left), &by_value(right)).is_empty() {
        return found;
    }
    String::new()
}

fn by_value(bag: &Bag) -> Bag {
    let mut out = Bag::new();
    for (row, n) in bag {
        *out.entry(row.iter().map(|v| v.as_deref().map(without_zeros)).collect()).or_default() += n;
    }
    out
}

fn without_zeros(value: &str) -> String {
    let number = value.bytes().all(|b| b.is_ascii_digit() || b"-.".contains(&b)) && value.contains('.');
    if number { value.trim_end_matches('0').trim_end_matches('.').to_string() } else { value.to_string() }
}

/// Whether an error is of the rows: a value that a function does not take, or a subquery with several rows.
fn is_of_data(code: &str) -> bool {
    code.starts_with("22") || code == "21000"
}
