//! What operators hold.

use crate::rows::{Refusal, Row, rows};
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// Rows and bytes by dataflow, operator and worker.
pub type Held = BTreeMap<Row, (i64, i64)>;

/// What every operator holds now.
pub async fn held(client: &Client) -> Result<Held, Refusal> {
    let all = rows(client, "SELECT name, type, worker, arranged_rows, arranged_bytes FROM headwater.operators").await?;
    let mut out = Held::new();
    for row in all {
        let figure = |i: usize| row[i].as_deref().and_then(|v| v.parse::<i64>().ok()).unwrap_or(0);
        let sum = out.entry(row[..3].to_vec()).or_default();
        *sum = (sum.0 + figure(3), sum.1 + figure(4));
    }
    Ok(out)
}

/// A line for each operator that does not hold what it held before.
pub fn differences(before: &Held, after: &Held) -> Vec<String> {
    let operators: std::collections::BTreeSet<&Row> = before.keys().chain(after.keys()).collect();
    let line = |operator: &&Row| {
        let (was, is) = (before.get(*operator), after.get(*operator));
        (was != is).then(|| format!("{operator:?}: (rows, bytes) {was:?} before, {is:?} after"))
    };
    operators.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_that_came_or_grew_are_told() {
        let of = |name: &str, rows| (vec![Some(name.to_string())], (rows, 0));
        let before = Held::from([of("a", 1), of("b", 2)]);
        assert!(differences(&before, &before.clone()).is_empty());
        assert_eq!(differences(&before, &Held::from([of("a", 1), of("b", 3), of("c", 0)])).len(), 2);
    }
}
