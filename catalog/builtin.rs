//! Built-in relations: read from `catalog/builtin/*.sql`, one file each.
//!
//! A file is `-- description`, `-- oid n`, then `CREATE TABLE schema.name (`, one line `name type [NOT NULL],` a column,
//! and `);`. PostgreSQL's types are mapped to ours: oid is bigint; name, "char", xid, arrays and vectors are text.
//! Built-in relations are tables with ids below 16384. Their rows are computed by [`catalog_rows`] from a snapshot or
//! fixed ([`rows_static`]); those of the `headwater` schema and `pg_settings` are the coordinator's.

pub use crate::system_rows::{catalog_rows, rows_static};

use crate::SUPERUSER;
use hw_plan::{Object, ObjectKind};
use hw_repr::{Column, GlobalId, RelationDesc, SqlType};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

const FILES: &[&str] = &[
    include_str!("builtin/headwater.checkpoints.sql"),
    include_str!("builtin/headwater.dead_letters.sql"),
    include_str!("builtin/headwater.operators.sql"),
    include_str!("builtin/headwater.sessions.sql"),
    include_str!("builtin/headwater.settings.sql"),
    include_str!("builtin/headwater.source_partitions.sql"),
    include_str!("builtin/headwater.sources.sql"),
    include_str!("builtin/headwater.view_errors.sql"),
    include_str!("builtin/headwater.views.sql"),
    include_str!("builtin/information_schema.check_constraints.sql"),
    include_str!("builtin/information_schema.columns.sql"),
    include_str!("builtin/information_schema.constraint_column_usage.sql"),
    include_str!("builtin/information_schema.key_column_usage.sql"),
    include_str!("builtin/information_schema.parameters.sql"),
    include_str!("builtin/information_schema.referential_constraints.sql"),
    include_str!("builtin/information_schema.routines.sql"),
    include_str!("builtin/information_schema.schemata.sql"),
    include_str!("builtin/information_schema.sequences.sql"),
    include_str!("builtin/information_schema.table_constraints.sql"),
    include_str!("builtin/information_schema.tables.sql"),
    include_str!("builtin/information_schema.triggers.sql"),
    include_str!("builtin/information_schema.views.sql"),
    include_str!("builtin/pg_catalog.pg_aggregate.sql"),
    include_str!("builtin/pg_catalog.pg_am.sql"),
    include_str!("builtin/pg_catalog.pg_attrdef.sql"),
    include_str!("builtin/pg_catalog.pg_attribute.sql"),
    include_str!("builtin/pg_catalog.pg_auth_members.sql"),
    include_str!("builtin/pg_catalog.pg_cast.sql"),
    include_str!("builtin/pg_catalog.pg_class.sql"),
    include_str!("builtin/pg_catalog.pg_collation.sql"),
    include_str!("builtin/pg_catalog.pg_constraint.sql"),
    include_str!("builtin/pg_catalog.pg_conversion.sql"),
    include_str!("builtin/pg_catalog.pg_database.sql"),
    include_str!("builtin/pg_catalog.pg_db_role_setting.sql"),
    include_str!("builtin/pg_catalog.pg_default_acl.sql"),
    include_str!("builtin/pg_catalog.pg_depend.sql"),
    include_str!("builtin/pg_catalog.pg_description.sql"),
    include_str!("builtin/pg_catalog.pg_enum.sql"),
    include_str!("builtin/pg_catalog.pg_event_trigger.sql"),
    include_str!("builtin/pg_catalog.pg_extension.sql"),
    include_str!("builtin/pg_catalog.pg_foreign_data_wrapper.sql"),
    include_str!("builtin/pg_catalog.pg_foreign_server.sql"),
    include_str!("builtin/pg_catalog.pg_foreign_table.sql"),
    include_str!("builtin/pg_catalog.pg_index.sql"),
    include_str!("builtin/pg_catalog.pg_indexes.sql"),
    include_str!("builtin/pg_catalog.pg_inherits.sql"),
    include_str!("builtin/pg_catalog.pg_language.sql"),
    include_str!("builtin/pg_catalog.pg_largeobject_metadata.sql"),
    include_str!("builtin/pg_catalog.pg_matviews.sql"),
    include_str!("builtin/pg_catalog.pg_namespace.sql"),
    include_str!("builtin/pg_catalog.pg_opclass.sql"),
    include_str!("builtin/pg_catalog.pg_operator.sql"),
    include_str!("builtin/pg_catalog.pg_opfamily.sql"),
    include_str!("builtin/pg_catalog.pg_partitioned_table.sql"),
    include_str!("builtin/pg_catalog.pg_policies.sql"),
    include_str!("builtin/pg_catalog.pg_policy.sql"),
    include_str!("builtin/pg_catalog.pg_prepared_xacts.sql"),
    include_str!("builtin/pg_catalog.pg_proc.sql"),
    include_str!("builtin/pg_catalog.pg_publication.sql"),
    include_str!("builtin/pg_catalog.pg_publication_namespace.sql"),
    include_str!("builtin/pg_catalog.pg_publication_rel.sql"),
    include_str!("builtin/pg_catalog.pg_publication_tables.sql"),
    include_str!("builtin/pg_catalog.pg_range.sql"),
    include_str!("builtin/pg_catalog.pg_rewrite.sql"),
    include_str!("builtin/pg_catalog.pg_roles.sql"),
    include_str!("builtin/pg_catalog.pg_rules.sql"),
    include_str!("builtin/pg_catalog.pg_seclabel.sql"),
    include_str!("builtin/pg_catalog.pg_sequence.sql"),
    include_str!("builtin/pg_catalog.pg_sequences.sql"),
    include_str!("builtin/pg_catalog.pg_settings.sql"),
    include_str!("builtin/pg_catalog.pg_shdepend.sql"),
    include_str!("builtin/pg_catalog.pg_shdescription.sql"),
    include_str!("builtin/pg_catalog.pg_statistic_ext.sql"),
    include_str!("builtin/pg_catalog.pg_subscription.sql"),
    include_str!("builtin/pg_catalog.pg_subscription_rel.sql"),
    include_str!("builtin/pg_catalog.pg_tables.sql"),
    include_str!("builtin/pg_catalog.pg_tablespace.sql"),
    include_str!("builtin/pg_catalog.pg_transform.sql"),
    include_str!("builtin/pg_catalog.pg_trigger.sql"),
    include_str!("builtin/pg_catalog.pg_ts_config.sql"),
    include_str!("builtin/pg_catalog.pg_ts_dict.sql"),
    include_str!("builtin/pg_catalog.pg_ts_parser.sql"),
    include_str!("builtin/pg_catalog.pg_ts_template.sql"),
    include_str!("builtin/pg_catalog.pg_type.sql"),
    include_str!("builtin/pg_catalog.pg_user.sql"),
    include_str!("builtin/pg_catalog.pg_user_mapping.sql"),
    include_str!("builtin/pg_catalog.pg_views.sql"),
];

/// A built-in relation.
#[derive(Clone, Debug)]
pub struct Builtin {
    /// What it is for.
    pub description: String,
    /// The relation.
    pub object: Arc<Object>,
}

struct Index {
    by_id: HashMap<GlobalId, usize>,
    by_name: HashMap<(String, String), usize>,
    all: Vec<Builtin>,
}

static BUILTINS: LazyLock<Index> = LazyLock::new(|| {
    let all: Vec<Builtin> =
        FILES.iter().map(|text| parse(text).expect("built-in files are part of the program and tested")).collect();
    let by_id = all.iter().enumerate().map(|(i, b)| (b.object.id, i)).collect();
    let key = |o: &Object| (o.schema.clone(), o.name.clone());
    let by_name = all.iter().enumerate().map(|(i, b)| (key(&b.object), i)).collect();
    Index { by_id, by_name, all }
});

/// Every built-in relation.
pub fn all() -> &'static [Builtin] {
    &BUILTINS.all
}

/// By schema and name.
pub fn resolve(schema: &str, name: &str) -> Option<Arc<Object>> {
    let at = BUILTINS.by_name.get(&(schema.to_owned(), name.to_owned()))?;
    Some(Arc::clone(&BUILTINS.all[*at].object))
}

/// By id.
pub fn get(id: GlobalId) -> Option<Arc<Object>> {
    BUILTINS.by_id.get(&id).map(|at| Arc::clone(&BUILTINS.all[*at].object))
}

/// The relation that a file describes, or what is wrong with it.
fn parse(text: &str) -> Result<Builtin, String> {
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    let mut next = |what: &str| lines.next().ok_or_else(|| format!("{what} is missing"));
    let description = next("description")?.strip_prefix("-- ").ok_or("no description")?.to_owned();
    let oid = next("oid")?.strip_prefix("-- oid ").ok_or("no oid")?;
    let oid: u32 = oid.parse().map_err(|e| format!("oid {oid}: {e}"))?;
    let head = next("CREATE TABLE")?;
    let full = head.strip_prefix("CREATE TABLE ").and_then(|h| h.strip_suffix(" (")).ok_or("no CREATE TABLE")?;
    let (schema, name) = full.split_once('.').ok_or("no schema")?;
    let mut columns = vec![];
    loop {
        let line = next(");")?;
        if line == ");" {
            break;
        }
        columns.push(parse_column(line.strip_suffix(',').unwrap_or(line))?);
    }
    let object = Object {
        id: GlobalId(oid),
        schema: schema.into(),
        name: name.into(),
        owner: SUPERUSER.into(),
        create_sql: text[text.find("CREATE").unwrap_or(0)..].trim_end().trim_end_matches(';').to_owned(),
        depends_on: vec![],
        kind: ObjectKind::Table(RelationDesc::new(columns)),
        rules: hw_plan::TableRules::default(),
    };
    Ok(Builtin { description, object: Arc::new(object) })
}

fn parse_column(line: &str) -> Result<Column, String> {
    let (name, rest) = line.split_once(' ').ok_or_else(|| format!("column without a type: {line}"))?;
    let (ty, nullable) = match rest.strip_suffix(" NOT NULL") {
        Some(ty) => (ty, false),
        None => (rest, true),
    };
    let ty = match ty {
        "bigint" => SqlType::Int8,
        "integer" => SqlType::Int4,
        "smallint" => SqlType::Int2,
        "boolean" => SqlType::Bool,
        "text" => SqlType::Text,
        "bytea" => SqlType::Bytea,
        "real" => SqlType::Float4,
        "double precision" => SqlType::Float8,
        "jsonb" => SqlType::Jsonb,
        "timestamp with time zone" => SqlType::TimestampTz,
        other => return Err(format!("unknown type {other}")),
    };
    Ok(Column { name: name.trim_matches('"').to_owned(), ty, nullable })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FIRST_USER_OID;
    use std::collections::HashSet;

    #[test]
    fn every_file_parses_and_ids_and_names_are_unique() {
        let (mut ids, mut names) = (HashSet::new(), HashSet::new());
        for text in FILES {
            let b = parse(text).unwrap_or_else(|e| panic!("{e} in\n{text}"));
            assert!(b.object.id.0 < FIRST_USER_OID, "{}", b.object.name);
            assert!(ids.insert(b.object.id), "id of {} is taken", b.object.name);
            assert!(names.insert((b.object.schema.clone(), b.object.name.clone())));
            let columns = &b.object.desc().expect("a table").columns;
            let distinct: HashSet<_> = columns.iter().map(|c| &c.name).collect();
            assert!(!columns.is_empty() && distinct.len() == columns.len(), "columns of {}", b.object.name);
        }
        // Asked at run time: one build directory may serve several checkouts.
        let crate_dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
        let listed = std::fs::read_dir(format!("{crate_dir}/builtin")).expect("the folder").count();
        assert_eq!(listed, FILES.len(), "every file is compiled in");
    }

    #[test]
    fn mistakes_in_a_file_are_found() {
        for (text, mistake) in [
            ("-- d\n-- oid x\nCREATE TABLE a.b (\n c text\n);", "oid"),
            ("-- d\n-- oid 1\nCREATE TABLE b (\n c text\n);", "schema"),
            ("-- d\n-- oid 1\nCREATE TABLE a.b (\n c txt\n);", "unknown type"),
            ("-- d\n-- oid 1\nCREATE TABLE a.b (\n c text", "missing"),
        ] {
            let error = parse(text).expect_err("a mistake");
            assert!(error.contains(mistake), "{error}");
        }
    }
}
