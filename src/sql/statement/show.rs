//! SHOW: answered from the catalog snapshot.

use super::{Planning, kind_of, plain, wrong_kind};
use crate::Planned;
use crate::parse::ast::{DropKind, NameRef, ShowKind};
use hw_plan::{ObjectKind, Statement};
use hw_repr::{Column, Datum, RelationDesc, SqlError, SqlType};

fn text_desc(names: &[&str]) -> RelationDesc {
    let column = |n: &&str| Column { name: n.to_string(), ty: SqlType::Text, nullable: false };
    RelationDesc::new(names.iter().map(column).collect())
}

/// Rows of one text column.
pub(super) fn text_rows(
    name: &str,
    lines: impl Iterator<Item = String>,
    tag: &'static str,
) -> Result<Planned, SqlError> {
    let rows = lines.map(|l| vec![Datum::Text(l)]).collect();
    plain(Statement::Rows { desc: text_desc(&[name]), rows, tag })
}

impl Planning<'_> {
    pub(super) fn show_objects(&self, kind: ShowKind) -> Result<Planned, SqlError> {
        let objects = self.catalog.objects();
        if kind == ShowKind::Schemas {
            let mut names: Vec<String> = objects.iter().map(|o| o.schema.clone()).collect();
            names.extend(["public", "pg_catalog", "headwater", "information_schema"].map(String::from));
            names.retain(|n| self.catalog.has_schema(n));
            names.sort();
            names.dedup();
            return text_rows("name", names.into_iter(), "SHOW");
        }
        let wanted = |k: &ObjectKind| match kind {
            ShowKind::Sources => matches!(k, ObjectKind::Source(_) | ObjectKind::SourceOutput { .. }),
            ShowKind::Views => matches!(k, ObjectKind::View { .. }),
            ShowKind::MaterializedViews => matches!(k, ObjectKind::MaterializedView { .. }),
            ShowKind::Tables => matches!(k, ObjectKind::Table(_)),
            ShowKind::Indexes => matches!(k, ObjectKind::Index { .. }),
            ShowKind::Connections => matches!(k, ObjectKind::Connection(_)),
            ShowKind::Schemas => false,
        };
        let mut names: Vec<(String, String)> = objects
            .iter()
            .filter(|o| !self.catalog.is_system(o.id) && wanted(&o.kind))
            .map(|o| (o.schema.clone(), o.name.clone()))
            .collect();
        names.sort();
        let rows = names.into_iter().map(|(s, n)| vec![Datum::Text(n), Datum::Text(s)]).collect();
        plain(Statement::Rows { desc: text_desc(&["name", "schema"]), rows, tag: "SHOW" })
    }

    pub(super) fn show_columns(&self, name: &NameRef) -> Result<Planned, SqlError> {
        let object = self.relation(name)?;
        let columns = object.desc().map(|d| d.columns.clone()).unwrap_or_default();
        let mut desc = text_desc(&["name", "type", "nullable"]);
        desc.columns[2].ty = SqlType::Bool;
        let rows = columns
            .into_iter()
            .map(|c| vec![Datum::Text(c.name), Datum::Text(c.ty.to_string()), Datum::Bool(c.nullable)])
            .collect();
        plain(Statement::Rows { desc, rows, tag: "SHOW" })
    }

    pub(super) fn show_create(&self, kind: DropKind, name: &NameRef) -> Result<Planned, SqlError> {
        let object = self.object(name)?;
        if kind_of(&object.kind) != Some(kind) {
            return Err(wrong_kind(&object.name, kind).at(name.position));
        }
        let full = format!("{}.{}", object.schema, object.name);
        let rows = vec![vec![Datum::Text(full), Datum::Text(object.create_sql.clone())]];
        plain(Statement::Rows { desc: text_desc(&["name", "create_sql"]), rows, tag: "SHOW" })
    }
}
