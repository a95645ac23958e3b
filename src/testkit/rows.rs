//! Statements and their rows as text, and what the server said where it refused.

use std::collections::BTreeMap;
use tokio_postgres::{Client, SimpleQueryMessage};

/// A row; NULL is `None`.
pub type Row = Vec<Option<String>>;
/// Rows with their multiplicity, order left out.
pub type Bag = BTreeMap<Row, i64>;

/// Why a statement has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// SQLSTATE; `08000` where the connection was lost.
    pub code: String,
    /// The message.
    pub message: String,
    /// DETAIL and HINT, where there were any.
    pub more: String,
}

impl Refusal {
    /// True where the server answered at all.
    pub fn answered(&self) -> bool {
        self.code != "08000"
    }
}

impl From<tokio_postgres::Error> for Refusal {
    fn from(e: tokio_postgres::Error) -> Self {
        match e.as_db_error() {
            Some(db) => Refusal {
                code: db.code().code().into(),
                message: db.message().into(),
                more: [db.detail(), db.hint()].into_iter().flatten().collect::<Vec<_>>().join("\n"),
            },
            None => Refusal { code: "08000".into(), message: format!("{e:?}"), more: String::new() },
        }
    }
}

/// Runs one statement by the simple protocol; the number of rows in its command tag.
pub async fn run(client: &Client, sql: &str) -> Result<u64, Refusal> {
    let mut count = 0;
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::CommandComplete(n) = message {
            count = n;
        }
    }
    Ok(count)
}

/// The rows of a query, in the order they came.
pub async fn rows(client: &Client, sql: &str) -> Result<Vec<Row>, Refusal> {
    let mut out = vec![];
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            out.push((0..row.len()).map(|i| row.get(i).map(str::to_string)).collect());
        }
    }
    Ok(out)
}

/// The first value of a query's first row; `None` where that is NULL or there is none.
pub async fn value(client: &Client, sql: &str) -> Result<Option<String>, Refusal> {
    Ok(rows(client, sql).await?.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
}

/// The rows of a query, counted.
pub async fn bag(client: &Client, sql: &str) -> Result<Bag, Refusal> {
    let mut out = Bag::new();
    for row in rows(client, sql).await? {
        *out.entry(row).or_default() += 1;
    }
    Ok(out)
}

/// What one has and the other has not, for people; empty where they are equal.
pub fn difference(left: &Bag, right: &Bag) -> String {
    let line = |sign: char, row: &Row, n: i64| {
        let values: Vec<&str> = row.iter().map(|v| v.as_deref().unwrap_or("NULL")).collect();
        format!("{sign} {n} x ({})", values.join(", "))
    };
    let only = |sign: char, a: &Bag, b: &Bag| {
        let more = a.iter().filter_map(move |(row, n)| {
            let n = n - b.get(row).copied().unwrap_or(0);
            (n > 0).then(|| line(sign, row, n))
        });
        more.collect::<Vec<_>>()
    };
    let mut lines = only('<', left, right);
    lines.extend(only('>', right, left));
    lines.truncate(20);
    lines.join("\n")
}
