//! What `pg_type`, `pg_enum`, `pg_class` and `pg_attribute` have of types that statements have defined.

use super::{Filler, Rows, count16, every_object, index_attributes, int8, oid, role_oid, schema_oid, text};
use crate::snapshot::CatalogSnapshot;
use hw_plan::{Object, ObjectKind};
use hw_repr::datum::Float;
use hw_repr::types::{ARRAY_TYPE_OIDS, LABEL_STEP};
use hw_repr::{Column, Datum, RelationDesc, SqlType};
use std::sync::Arc;

/// Labels have OIDs from here on, which are theirs as long as no label is added or dropped: nothing refers to them.
const LABEL_OIDS: i64 = 0xC000_0000;

fn defined(snapshot: &CatalogSnapshot) -> Vec<(Arc<Object>, SqlType)> {
    let ty = |o: Arc<Object>| match o.kind {
        ObjectKind::Type(ty) => Some((o, ty)),
        _ => None,
    };
    every_object(snapshot).into_iter().filter_map(ty).collect()
}

/// A row for each type and one for its arrays.
pub(super) fn type_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let mut rows = vec![];
    for (object, ty) in defined(snapshot) {
        let array = int8(i64::from(ARRAY_TYPE_OIDS) + i64::from(object.id.0));
        let (kind, category, functions, relation) = match ty {
            SqlType::Enum(_) => ("e", "E", ["enum_in", "enum_out", "enum_recv", "enum_send"], int8(0)),
            _ => ("c", "C", ["record_in", "record_out", "record_recv", "record_send"], oid(object.id)),
        };
        let common = |id: Datum, name: String, kind: &str, category: &str, len: i16, functions: [&str; 4]| {
            vec![
                ("oid", id),
                ("typname", text(name)),
                ("typnamespace", schema_oid(snapshot, &object.schema)),
                ("typowner", role_oid(snapshot, &object.owner)),
                ("typlen", Datum::Int2(len)),
                ("typbyval", Datum::Bool(len == 4)),
                ("typtype", text(kind)),
                ("typcategory", text(category)),
                ("typisdefined", Datum::Bool(true)),
                ("typdelim", text(",")),
                ("typinput", text(functions[0])),
                ("typoutput", text(functions[1])),
                ("typreceive", text(functions[2])),
                ("typsend", text(functions[3])),
                ("typtypmod", Datum::Int4(-1)),
                ("typsubscript", text("-")),
                ("typmodin", text("-")),
                ("typmodout", text("-")),
                ("typanalyze", text("-")),
            ]
        };
        let enumerated = kind == "e";
        let mut values = common(oid(object.id), object.name.clone(), kind, category, ty.typlen(), functions);
        values.extend([
            ("typarray", array.clone()),
            ("typrelid", relation),
            ("typalign", text(if enumerated { "i" } else { "d" })),
            ("typstorage", text(if enumerated { "p" } else { "x" })),
        ]);
        rows.push(table.row(&values));
        let functions = ["array_in", "array_out", "array_recv", "array_send"];
        let mut values = common(array, format!("_{}", object.name), "b", "A", -1, functions);
        values.extend([
            ("typelem", oid(object.id)),
            ("typalign", text(if enumerated { "i" } else { "d" })),
            ("typstorage", text("x")),
        ]);
        rows.push(table.row(&values));
    }
    rows
}

pub(super) fn enum_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let mut rows = vec![];
    for (object, ty) in defined(snapshot) {
        let SqlType::Enum(e) = ty else { continue };
        for label in &e.def().labels {
            let order = label.order as f64 / LABEL_STEP as f64 + 1.0;
            rows.push(table.row(&[
                ("oid", int8(LABEL_OIDS + rows.len() as i64)),
                ("enumtypid", oid(object.id)),
                ("enumsortorder", Datum::Float4(Float(f64::from(order as f32)))),
                ("enumlabel", text(&label.name)),
            ]));
        }
    }
    rows
}

/// Composite types, as PostgreSQL has them among the relations.
pub(super) fn class_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let mut rows = vec![];
    for (object, ty) in defined(snapshot) {
        let SqlType::Row(row) = ty else { continue };
        rows.push(table.row(&[
            ("oid", oid(object.id)),
            ("relname", text(&object.name)),
            ("relnamespace", schema_oid(snapshot, &object.schema)),
            ("reltype", oid(object.id)),
            ("relowner", role_oid(snapshot, &object.owner)),
            ("relpersistence", text("p")),
            ("relkind", text("c")),
            ("relnatts", count16(row.def().fields.len())),
            ("relispopulated", Datum::Bool(true)),
            ("relreplident", text("n")),
        ]));
    }
    rows
}

/// The fields of composite types.
pub(super) fn attribute_rows(snapshot: &CatalogSnapshot, table: &Filler, rows: &mut Rows) {
    for (object, ty) in defined(snapshot) {
        let SqlType::Row(row) = ty else { continue };
        let column = |f: &hw_repr::types::RowField| Column { name: f.name.clone(), ty: f.ty, nullable: true };
        let desc = RelationDesc::new(row.def().fields.iter().map(column).collect());
        let all: Vec<usize> = (0..desc.arity()).collect();
        index_attributes(table, &oid(object.id), &desc, &all, rows);
    }
}
