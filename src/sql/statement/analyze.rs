//! EXPLAIN ANALYZE of a view that runs: its plan, and beside each operator what `headwater.operators` tells of it.

use super::{Planning, wrong_kind};
use crate::Planned;
use crate::parse::ast::{DropKind, NameRef};
use hw_plan::ObjectKind;
use hw_plan::arranged::Kept;
use hw_repr::SqlError;

/// What an operator has taken and given since the server started, how long it worked, and what it holds; of all workers.
const FIGURES: &str =
    "SELECT node, ' (in ' || sum(rows_in) || ', out ' || sum(rows_out) || ', ' || round(sum(elapsed_us) / 1000.0, 1)
    || ' ms, holds ' || sum(arranged_rows) || ' rows, ' || sum(arranged_bytes) || ' bytes)' AS figures
    FROM headwater.operators";

impl Planning<'_> {
    /// `EXPLAIN ANALYZE MATERIALIZED VIEW name`: a query that reads the figures when it runs.
    pub(super) fn explain_analyze(&self, name: &NameRef) -> Result<Planned, SqlError> {
        let object = self.relation(name)?;
        let ObjectKind::MaterializedView { plan, desc, .. } = &object.kind else {
            return Err(wrong_kind(&object.name, DropKind::MaterializedView).at(name.position));
        };
        let quoted = |line: &str| line.replace('\'', "''");
        // It has found those indexes that were there before it.
        let kept = Kept::of(plan, self.catalog, Some(object.id));
        let lines: Vec<String> = hw_plan::explain::lines(plan, &kept)
            .iter()
            .enumerate()
            .map(|(n, line)| format!("({n}, '  {}')", quoted(line)))
            .collect();
        let text = format!(
            "WITH f AS ({FIGURES} WHERE object_id = {id} GROUP BY node), \
             l (node, line) AS (VALUES (-1, '{served}'), {lines}) \
             SELECT line || coalesce(figures, '') AS \"QUERY PLAN\" FROM l LEFT JOIN f ON l.node = coalesce(f.node, -1) ORDER BY l.node",
            id = object.id.0,
            served = quoted(&hw_plan::explain::served(desc, &object.kept_by())),
            lines = lines.join(", ")
        );
        self.select(crate::parse::parse_query(&text)?.as_ref(), None)
    }
}
