//! What `pg_proc` has of functions that statements have defined.

use super::{Filler, Rows, count16, int8, oid, role_oid, schema_oid, text};
use crate::snapshot::CatalogSnapshot;
use hw_plan::function::{DeclaredType, Returns, Volatility};
use hw_plan::{CatalogView, ObjectKind};
use hw_repr::Datum;
use hw_repr::types::RECORD_OID;

/// OID of the language SQL, PostgreSQL's.
pub(super) const SQL_LANGUAGE: i64 = 14;

pub(super) fn function_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let mut rows = vec![];
    for object in snapshot.objects() {
        let ObjectKind::Function(f) = &object.kind else { continue };
        let result = match &f.returns {
            Returns::Value(ty) | Returns::Set(ty) => ty.oid(),
            Returns::Table(columns) => match columns.as_slice() {
                [(_, ty)] => DeclaredType::Of(*ty).oid(),
                _ => RECORD_OID,
            },
        };
        let types: Vec<String> = f.parameters.iter().map(|p| p.ty.oid().to_string()).collect();
        let names: Vec<String> = f.parameters.iter().map(|p| p.name.clone().unwrap_or_default()).collect();
        let named = names.iter().any(|n| !n.is_empty());
        let volatility = match f.volatility {
            Volatility::Immutable => "i",
            Volatility::Stable => "s",
            Volatility::Volatile => "v",
        };
        rows.push(table.row(&[
            ("oid", oid(object.id)),
            ("proname", text(&object.name)),
            ("pronamespace", schema_oid(snapshot, &object.schema)),
            ("proowner", role_oid(snapshot, &object.owner)),
            ("prolang", int8(SQL_LANGUAGE)),
            ("prokind", text("f")),
            ("provolatile", text(volatility)),
            ("proretset", Datum::Bool(f.is_set())),
            ("pronargs", count16(f.parameters.len())),
            ("prorettype", int8(i64::from(result))),
            ("proargtypes", text(types.join(" "))),
            ("proargnames", if named { text(format!("{{{}}}", quoted(&names))) } else { Datum::Null }),
            ("prosrc", text(&f.source)),
        ]));
    }
    rows
}

/// The elements of a printed array of names.
fn quoted(names: &[String]) -> String {
    let plain = |n: &str| !n.is_empty() && n.chars().all(|c| c.is_alphanumeric() || c == '_');
    let one = |n: &String| match plain(n) && !n.eq_ignore_ascii_case("null") {
        true => n.clone(),
        false => format!("\"{}\"", n.replace('\\', "\\\\").replace('"', "\\\"")),
    };
    names.iter().map(one).collect::<Vec<_>>().join(",")
}
