//! The views of the catalogs that people and BI tools read: `pg_indexes`, `pg_user`, and of `information_schema` the
//! constraints, their columns and the views.

use super::{Filler, Rows, count32, definition, primary_key, relations, role_oid, text, yes_no};
use crate::DATABASE;
use crate::snapshot::CatalogSnapshot;
use hw_plan::{CatalogView, IndexFacts, Object};
use hw_repr::Datum;
use std::sync::Arc;

pub(super) fn index_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let row = |i: IndexFacts| {
        table.row(&[
            ("schemaname", text(i.schema)),
            ("tablename", text(i.on)),
            ("indexname", text(i.name)),
            ("indexdef", text(i.definition)),
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

/// User tables with a primary key.
fn keyed(snapshot: &CatalogSnapshot) -> Vec<(Arc<Object>, Vec<String>)> {
    let names = |o: &Object| {
        let desc = o.desc()?;
        let key = primary_key(o)?;
        Some(key.iter().filter_map(|k| desc.columns.get(*k)).map(|c| c.name.clone()).collect())
    };
    snapshot.objects().into_iter().filter_map(|o| names(&o).map(|n| (o, n))).collect()
}

pub(super) fn constraint_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let row = |(o, _): &(Arc<Object>, Vec<String>)| {
        table.row(&[
            ("constraint_catalog", text(DATABASE)),
            ("constraint_schema", text(&o.schema)),
            ("constraint_name", text(format!("{}_pkey", o.name))),
            ("table_catalog", text(DATABASE)),
            ("table_schema", text(&o.schema)),
            ("table_name", text(&o.name)),
            ("constraint_type", text("PRIMARY KEY")),
            ("is_deferrable", yes_no(false)),
            ("initially_deferred", yes_no(false)),
            ("enforced", yes_no(true)),
        ])
    };
    keyed(snapshot).iter().map(row).collect()
}

/// A row a column of a primary key; `numbered` for `key_column_usage`.
pub(super) fn key_rows(snapshot: &CatalogSnapshot, table: &Filler, numbered: bool) -> Rows {
    let mut rows = vec![];
    for (o, columns) in keyed(snapshot) {
        for (number, column) in columns.iter().enumerate() {
            let mut values = vec![
                ("constraint_catalog", text(DATABASE)),
                ("constraint_schema", text(&o.schema)),
                ("constraint_name", text(format!("{}_pkey", o.name))),
                ("table_catalog", text(DATABASE)),
                ("table_schema", text(&o.schema)),
                ("table_name", text(&o.name)),
                ("column_name", text(column)),
            ];
            if numbered {
                values.push(("ordinal_position", count32(number + 1)));
            }
            rows.push(table.row(&values));
        }
    }
    rows
}
