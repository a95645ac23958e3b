//! Statements of which a test knows how they end. What ends otherwise is a panic that names the statement.

use crate::rows::{Refusal, Row, rows, run};
use std::time::Duration;
use tokio_postgres::Client;

/// A statement that must be refused may take this long.
const REFUSED_WITHIN: Duration = Duration::from_secs(10);

/// Runs a statement.
pub async fn must(client: &Client, sql: &str) {
    run(client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

/// The rows of a query, each as its values with spaces between.
pub async fn shown(client: &Client, sql: &str) -> Vec<String> {
    let text = |row: Row| row.into_iter().map(|v| v.unwrap_or_else(|| "NULL".into())).collect::<Vec<_>>().join(" ");
    rows(client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}")).into_iter().map(text).collect()
}

/// Why a statement is refused.
pub async fn refused(client: &Client, sql: &str) -> Refusal {
    match tokio::time::timeout(REFUSED_WITHIN, rows(client, sql)).await {
        Ok(Err(e)) => e,
        Ok(Ok(rows)) => panic!("{sql}: not refused, {rows:?}"),
        Err(_) => panic!("{sql}: still running"),
    }
}
