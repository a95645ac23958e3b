//! Tables, views and changes found in sqllogictest files and SQL scripts.

use crate::HarnessError;
use sqllogictest::{DefaultColumnType, Record, StatementExpect};
use std::collections::BTreeSet;
use std::path::Path;

/// A view to maintain and the query it must equal.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Its defining query.
    pub query: String,
    /// It was made from a query that the server need not be able to maintain.
    pub optional: bool,
}

impl View {
    /// The statement that creates it.
    pub fn create(&self) -> String {
        format!("CREATE MATERIALIZED VIEW {} AS {}", self.name, self.query)
    }
}

/// What a run is about.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    /// Statements that create tables, plain views and indexes, in order.
    pub setup: Vec<String>,
    /// Views to maintain, in order.
    pub views: Vec<View>,
    /// Changes found beside them.
    pub changes: Vec<String>,
    /// A statement of `setup` or a view that is refused is left out: the script also drops and renames.
    pub lenient: bool,
}

impl Definitions {
    /// Everything that a sqllogictest file creates, and each of its queries as a view that may be refused.
    pub fn from_slt(path: &Path) -> Result<Definitions, HarnessError> {
        let records = sqllogictest::parse_file::<DefaultColumnType>(path)
            .map_err(|e| HarnessError(format!("{}: {e}", path.display())))?;
        let mut out = Definitions { lenient: true, ..Definitions::default() };
        let mut known = BTreeSet::new();
        for record in records {
            match record {
                Record::Statement { sql, expected: StatementExpect::Ok | StatementExpect::Count(_), .. } => {
                    out.add_statement(&sql, &mut known);
                }
                Record::Query { sql, .. } => out.add_query(&sql, &mut known),
                _ => {}
            }
        }
        Ok(out)
    }

    /// The statements of a script, separated by semicolons; comments go to the end of their lines.
    pub fn from_script(text: &str) -> Definitions {
        let mut out = Definitions::default();
        let mut known = BTreeSet::new();
        let bare: Vec<&str> = text.lines().map(|l| l.split("--").next().unwrap_or_default()).collect();
        for statement in bare.join("\n").split(';') {
            out.add_statement(statement.trim(), &mut known);
        }
        out
    }

    fn add_statement(&mut self, sql: &str, known: &mut BTreeSet<String>) {
        let words: Vec<String> = sql.split_whitespace().take(4).map(str::to_lowercase).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["create", "materialized", "view", name] => {
                let Some(query) = sql.split_once(" AS ").map(|(_, q)| q.trim()) else { return };
                if known.insert(format!("name {name}")) {
                    known.insert(format!("query {query}"));
                    if is_endless(query) || is_open(query) {
                        return;
                    }
                    self.views.push(View { name: name.into(), query: query.into(), optional: false });
                }
            }
            ["create", "table" | "view", "if", ..] => {}
            ["create", "table" | "view", name, ..] => {
                let name = name.split('(').next().unwrap_or(name);
                if known.insert(format!("name {name}")) {
                    self.setup.push(sql.to_string());
                }
            }
            ["insert" | "update" | "delete", ..] => self.changes.push(sql.to_string()),
            _ => {}
        }
    }

    fn add_query(&mut self, sql: &str, known: &mut BTreeSet<String>) {
        let lower = sql.to_lowercase();
        let whole = lower.starts_with("select ") && lower.contains(" from ");
        let system = ["headwater.", "pg_catalog", "information_schema", "pg_"].iter().any(|s| lower.contains(s));
        // Without its order, which rows these show is not defined.
        let open = lower.contains(" limit ") || lower.contains("distinct on");
        if !whole || system || open || is_endless(sql) || is_open(sql) {
            return;
        }
        // The order of a view's rows means nothing.
        let end = lower.rfind(" order by ").filter(|at| !lower[*at..].contains(')')).unwrap_or(sql.len());
        let query = sql[..end].trim();
        if known.insert(format!("query {query}")) {
            let name = format!("query_{}", self.views.len());
            self.views.push(View { name, query: query.into(), optional: true });
        }
    }
}

/// Which of the rows that are equally near it takes is not defined.
fn is_open(query: &str) -> bool {
    query.to_lowercase().contains("asof join")
}

/// A series up to a random number has more rows than any machine holds.
fn is_endless(query: &str) -> bool {
    query.to_lowercase().contains("generate_series(")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_taken_apart() {
        let d = Definitions::from_script(
            "CREATE TABLE t (a int); -- numbers\nCREATE VIEW v AS SELECT a FROM t;\n\
             CREATE MATERIALIZED VIEW m AS SELECT sum(a) AS s FROM v; INSERT INTO t VALUES (1);",
        );
        assert_eq!(d.setup, ["CREATE TABLE t (a int)", "CREATE VIEW v AS SELECT a FROM t"]);
        assert_eq!((d.views[0].name.as_str(), d.views[0].query.as_str()), ("m", "SELECT sum(a) AS s FROM v"));
        assert_eq!(d.changes, ["INSERT INTO t VALUES (1)"]);
    }

    #[test]
    fn queries_become_views_without_their_order() {
        let (mut d, mut known) = (Definitions::default(), BTreeSet::new());
        d.add_query("SELECT a FROM t ORDER BY a", &mut known);
        d.add_query("SELECT a FROM t", &mut known);
        d.add_query("SELECT * FROM headwater.views", &mut known);
        d.add_query("SELECT 1", &mut known);
        d.add_query("SELECT g FROM t, generate_series(1, a) g", &mut known);
        let queries: Vec<&str> = d.views.iter().map(|v| v.query.as_str()).collect();
        assert_eq!(queries, ["SELECT a FROM t"]);
    }
}
