//! The views of the catalogs that people and BI tools read: `pg_indexes`, `pg_user`, and of `information_schema` the
//! constraints, their columns and the views.

use super::{Filler, Rows, count32, definition, relations, role_oid, text, yes_no};
use crate::DATABASE;
use crate::constraints::{self, Constraint};
use crate::snapshot::CatalogSnapshot;
use hw_plan::{CatalogView, IndexFacts, Object};
use hw_repr::Datum;
use std::sync::Arc;

pub(super) fn index_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let row = |i: IndexFacts| {
        table.row(&[
            ("indexdef", text(i.definition(false))),
            ("schemaname", text(i.schema)),
            ("tablename", text(i.on)),
            ("indexname", text(i.name)),
        ])
    };
    snapshot.facts().indexes.into_iter().map(row).collect()
}

pub(super) fn user_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let row = |r: &crate::Role| {
        table.row(&[
            ("usename", text(&r.name)),
            ("usesysid", role_oid(snapshot, &r.name)),
            ("usecreatedb", Datum::Bool(r.superuser)),
            ("usesuper", Datum::Bool(r.superuser)),
            ("userepl", Datum::Bool(false)),
            ("usebypassrls", Datum::Bool(r.superuser)),
            ("passwd", text("********")),
        ])
    };
    snapshot.roles().map(row).collect()
}

pub(super) fn view_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let row = |(o, _): &(Arc<Object>, &str)| {
        table.row(&[
            ("table_catalog", text(DATABASE)),
            ("table_schema", text(&o.schema)),
            ("table_name", text(&o.name)),
            ("view_definition", definition(o)),
            ("check_option", text("NONE")),
            ("is_updatable", yes_no(false)),
            ("is_insertable_into", yes_no(false)),
            ("is_trigger_updatable", yes_no(false)),
            ("is_trigger_deletable", yes_no(false)),
            ("is_trigger_insertable_into", yes_no(false)),
        ])
    };
    relations(snapshot).iter().filter(|(_, kind)| *kind == "v").map(row).collect()
}

/// Every constraint of user tables.
fn every_constraint(snapshot: &CatalogSnapshot) -> Vec<(Arc<Object>, Constraint)> {
    let of =
        |o: Arc<Object>| constraints::of(snapshot, &o).into_iter().map(|c| (Arc::clone(&o), c)).collect::<Vec<_>>();
    snapshot.objects().into_iter().flat_map(of).collect()
}

pub(super) fn constraint_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let row = |(o, constraint): &(Arc<Object>, Constraint)| {
        table.row(&[
            ("constraint_catalog", text(DATABASE)),
            ("constraint_schema", text(&o.schema)),
            ("constraint_name", text(&constraint.name)),
            ("table_catalog", text(DATABASE)),
            ("table_schema", text(&o.schema)),
            ("table_name", text(&o.name)),
            ("constraint_type", text(constraint.kind_name())),
            ("is_deferrable", yes_no(false)),
            ("initially_deferred", yes_no(false)),
            ("enforced", yes_no(true)),
        ])
    };
    every_constraint(snapshot).iter().map(row).collect()
}

/// A row a column of a constraint; `numbered` for `key_column_usage`, which has keys only.
pub(super) fn key_rows(snapshot: &CatalogSnapshot, table: &Filler, numbered: bool) -> Rows {
    let mut rows = vec![];
    for (o, constraint) in every_constraint(snapshot).iter().filter(|(_, c)| !numbered || c.kind != "c") {
        let columns = constraint.columns.iter().filter_map(|c| o.desc()?.columns.get(*c));
        for (number, column) in columns.enumerate() {
            let mut values = vec![
                ("constraint_catalog", text(DATABASE)),
                ("constraint_schema", text(&o.schema)),
                ("constraint_name", text(&constraint.name)),
                ("table_catalog", text(DATABASE)),
                ("table_schema", text(&o.schema)),
                ("table_name", text(&o.name)),
                ("column_name", text(&column.name)),
            ];
            if numbered {
                values.push(("ordinal_position", count32(number + 1)));
            }
            rows.push(table.row(&values));
        }
    }
    rows
}
