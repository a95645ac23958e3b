//! Evaluates expressions on a server, in a SELECT and in a maintained view, and compares with PostgreSQL's answers.

use super::lists::Status;
use hw_testkit::conformance::{Answer, Asker, Outcome, Reply, Table};
use hw_testkit::rows::Refusal;
use hw_testkit::{HarnessError, Server};
use std::collections::HashMap;

/// Expressions in one view.
const BATCH_MAX: usize = 40;
/// What says that something is not there yet: not supported, no such function or operator, no such type, not understood.
const REFUSALS: &[&str] = &["0A000", "42883", "42704", "42601"];
/// The table under views of expressions that name no column.
const ONE_ROW: &str = "one";
/// So much of a message or value is listed.
const SHOWN_MAX: usize = 100;

/// What has come of an expression in one place.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// What PostgreSQL says.
    Equal,
    /// It is refused as not supported.
    Refused(String),
    /// Something else.
    Wrong(String),
}

impl Verdict {
    /// How it would be listed.
    pub fn status(&self) -> Status {
        match self {
            Verdict::Equal => Status::Equal,
            Verdict::Refused(_) => Status::Pending,
            Verdict::Wrong(_) => Status::Wrong,
        }
    }

    /// What came instead.
    pub fn what(&self) -> &str {
        match self {
            Verdict::Equal => "",
            Verdict::Refused(what) | Verdict::Wrong(what) => what,
        }
    }

    fn of_refusal(e: &Refusal) -> Verdict {
        let what = shown(&format!("{}: {}", e.code, e.message));
        if REFUSALS.contains(&e.code.as_str()) { Verdict::Refused(what) } else { Verdict::Wrong(what) }
    }
}

fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN_MAX).collect()
}

/// The `id`s of the tables, or why one could not be made.
pub type Tables = HashMap<String, Result<Vec<String>, Refusal>>;

/// Makes what can be made of the tables.
pub fn create_tables(server: &Server, tables: &[Table]) -> Result<Tables, HarnessError> {
    let mut asker = Asker::connect(server.pg_addr)?;
    let mut made = Tables::new();
    for table in tables {
        let mut refused = None;
        for statement in &table.statements {
            if let Err(e) = asker.ask(statement)?.rows {
                refused = Some(e);
                break;
            }
        }
        let ids = match refused {
            Some(e) => Err(e),
            None => {
                let rows = asker.rows(&format!("SELECT id FROM {} ORDER BY id", table.name))?;
                Ok(rows.into_iter().flatten().flatten().collect())
            }
        };
        made.insert(table.name.clone(), ids);
    }
    Ok(made)
}

/// A connection that evaluates.
pub struct Judge<'a> {
    asker: Asker,
    tables: &'a Tables,
    prefix: String,
    views: usize,
}

impl<'a> Judge<'a> {
    /// One of several; `number` keeps the names of their views apart.
    pub fn new(server: &Server, tables: &'a Tables, number: usize) -> Result<Judge<'a>, HarnessError> {
        let asker = Asker::connect(server.pg_addr)?;
        Ok(Judge { asker, tables, prefix: format!("conformance_{number}"), views: 0 })
    }

    /// What a SELECT of the expression gives.
    pub fn select(&mut self, answer: &Answer) -> Verdict {
        self.judged(answer, |judge, rows| judge.asker.ask(&answer.expression.query(rows)), true)
    }

    /// What maintained views give, in the order of `cases`. Expressions that a SELECT answers well share views.
    pub fn views(&mut self, cases: &[(String, Answer)], select: &[Verdict]) -> Vec<Verdict> {
        let mut batches: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut verdicts: Vec<Option<Verdict>> = vec![None; cases.len()];
        for (at, (_, answer)) in cases.iter().enumerate() {
            let plain = answer.outcomes.iter().all(|o| matches!(o, Outcome::Value(_)));
            if plain && matches!(select[at], Verdict::Equal) {
                batches.entry(table_of(answer)).or_default().push(at);
            } else {
                verdicts[at] = Some(self.one_view(answer));
            }
        }
        for batch in batches.values().flat_map(|all| all.chunks(BATCH_MAX)) {
            self.batch(cases, batch, &mut verdicts);
        }
        verdicts.into_iter().map(|v| v.unwrap_or_else(|| Verdict::Wrong("not evaluated".into()))).collect()
    }

    fn one_view(&mut self, answer: &Answer) -> Verdict {
        let what = format!("{} AS c", answer.expression.text);
        self.judged(answer, |judge, rows| judge.view(&what, table_of(answer), rows), false)
    }

    /// Many expressions in a view; halves of it where it fails.
    fn batch(&mut self, cases: &[(String, Answer)], batch: &[usize], verdicts: &mut [Option<Verdict>]) {
        if let [at] = batch {
            verdicts[*at] = Some(self.one_view(&cases[*at].1));
            return;
        }
        let columns = batch.iter().enumerate().map(|(n, at)| format!("{} AS c{n}", cases[*at].1.expression.text));
        let what = columns.collect::<Vec<_>>().join(", ");
        match self.view(&what, table_of(&cases[batch[0]].1), "") {
            Ok(Reply { columns: Some(types), rows: Ok(rows) }) if types.len() == batch.len() + 1 => {
                for (n, at) in batch.iter().enumerate() {
                    let column = rows.iter().map(|row| vec![row[n + 1].clone()]).collect();
                    let reply = Reply { columns: Some(vec![types[n + 1]]), rows: Ok(column) };
                    let answer = &cases[*at].1;
                    verdicts[*at] = Some(self.compared(answer, reply, &answer.outcomes));
                }
            }
            _ => {
                let (left, right) = batch.split_at(batch.len() / 2);
                self.batch(cases, left, verdicts);
                self.batch(cases, right, verdicts);
            }
        }
    }

    /// Reads a view of `what` and drops it.
    fn view(&mut self, what: &str, table: &str, rows: &str) -> Result<Reply, HarnessError> {
        self.views += 1;
        let name = format!("{}_{}", self.prefix, self.views);
        let made =
            self.asker.ask(&format!("CREATE MATERIALIZED VIEW {name} AS SELECT id, {what} FROM {table}{rows}"))?;
        if made.rows.is_err() {
            return Ok(Reply { columns: None, rows: made.rows });
        }
        let reply = self.asker.ask(&format!("SELECT * FROM {name} ORDER BY id"));
        self.asker.rows(&format!("DROP MATERIALIZED VIEW {name}"))?;
        reply
    }

    /// Compares what `ask` gives for rows that PostgreSQL has values for, and for those it fails on: each of them, or all rows together.
    fn judged(
        &mut self,
        answer: &Answer,
        mut ask: impl FnMut(&mut Self, &str) -> Result<Reply, HarnessError>,
        each_error: bool,
    ) -> Verdict {
        let tables: &'a Tables = self.tables;
        let ids = match tables.get(table_of(answer)) {
            Some(Ok(ids)) => ids,
            Some(Err(e)) => return Verdict::Refused(shown(&format!("the table: {}: {}", e.code, e.message))),
            None => return Verdict::Wrong("there is no such table in tables.sql".into()),
        };
        let failing = |o: &Outcome| matches!(o, Outcome::Error(_));
        let (bad, good): (Vec<_>, Vec<_>) = answer.outcomes.iter().cloned().zip(ids).partition(|(o, _)| failing(o));
        let mut asked: Vec<(String, Vec<Outcome>)> = vec![];
        if good.is_empty() || bad.is_empty() {
            asked.push((String::new(), answer.outcomes.clone()));
        } else {
            let list: Vec<&str> = good.iter().map(|(_, id)| id.as_str()).collect();
            let values = good.iter().map(|(o, _)| o.clone()).collect();
            asked.push((format!(" WHERE id IN ({})", list.join(", ")), values));
            if each_error {
                asked.extend(bad.iter().map(|(o, id)| (format!(" WHERE id = {id}"), vec![o.clone()])));
            } else {
                asked.push((String::new(), bad.iter().map(|(o, _)| o.clone()).collect()));
            }
        }
        for (rows, outcomes) in asked {
            let verdict = match ask(self, &rows) {
                Ok(reply) => self.compared(answer, reply, &outcomes),
                Err(e) => Verdict::Wrong(shown(&e.0)),
            };
            if !matches!(verdict, Verdict::Equal) {
                return verdict;
            }
        }
        Verdict::Equal
    }

    /// Compares the last column of a reply, or its error with one of those expected.
    fn compared(&mut self, answer: &Answer, reply: Reply, outcomes: &[Outcome]) -> Verdict {
        let expected = |code: &str| outcomes.iter().any(|o| matches!(o, Outcome::Error(c) if c == code));
        let rows = match reply.rows {
            Err(e) if !expected(&e.code) => return Verdict::of_refusal(&e),
            rows => rows,
        };
        let column = reply.columns.and_then(|columns| columns.last().copied());
        if let (Some(expected), Some(column)) = (&answer.type_name, column) {
            match self.asker.type_name(column) {
                Ok(name) if name == *expected => {}
                Ok(name) => return Verdict::Wrong(format!("type {name}")),
                Err(e) => return Verdict::Wrong(shown(&e.0)),
            }
        }
        let Ok(rows) = rows else { return Verdict::Equal };
        if let [Outcome::Error(code)] = outcomes {
            return Verdict::Wrong(format!("no error {code}, but {} rows", rows.len()));
        }
        if rows.len() != outcomes.len() {
            return Verdict::Wrong(format!("{} rows", rows.len()));
        }
        let values = rows.into_iter().map(|row| Outcome::Value(row.into_iter().next_back().flatten()));
        match values.zip(outcomes).find(|(value, outcome)| value != *outcome) {
            None => Verdict::Equal,
            Some((value, outcome)) => {
                Verdict::Wrong(shown(&format!("{} instead of {}", value.field(), outcome.field())))
            }
        }
    }
}

fn table_of(answer: &Answer) -> &str {
    answer.expression.from.as_deref().unwrap_or(ONE_ROW)
}
