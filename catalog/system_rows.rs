//! The rows of `pg_catalog` and `information_schema`, computed from a snapshot.
//!
//! A row is given by the columns that say something; the rest are filled by their type (0, false, '' or NULL), as
//! PostgreSQL has them for plain relations. Values that need other parts of the server (settings, live figures) are
//! not here: [`catalog_rows`] answers `None` for those relations.

mod functions;
mod people;
mod types;

use crate::DATABASE;
use crate::builtin::{self, Builtin};
use crate::constraints;
use crate::snapshot::{CatalogSnapshot, PRIMARY_KEY_OIDS, SUPERUSER_OID};
use hw_plan::{CatalogView, IndexExpr, Object, ObjectKind};
use hw_repr::datum::Float;
use hw_repr::{Column, Datum, GlobalId, RelationDesc, SqlType};
use std::sync::Arc;

type Rows = Vec<Vec<Datum>>;
/// OID of the one database.
const DATABASE_OID: i64 = 5;
const HEAP_AM: i64 = 2;
const BTREE_AM: i64 = 403;
const DEFAULT_TABLESPACE: i64 = 1663;
const UTF8: i32 = 6;

/// Every type in scope: (type, name in `pg_type`, category, preferred, OID of its array type, alignment).
const TYPES: &[(SqlType, &str, &str, bool, i64, &str)] = &[
    (SqlType::Bool, "bool", "B", true, 1000, "c"),
    (SqlType::Int2, "int2", "N", false, 1005, "s"),
    (SqlType::Int4, "int4", "N", false, 1007, "i"),
    (SqlType::Int8, "int8", "N", false, 1016, "d"),
    (SqlType::Float4, "float4", "N", false, 1021, "i"),
    (SqlType::Float8, "float8", "N", true, 1022, "d"),
    (SqlType::Numeric(None), "numeric", "N", false, 1231, "i"),
    (SqlType::Text, "text", "S", true, 1009, "i"),
    (SqlType::Varchar(None), "varchar", "S", false, 1015, "i"),
    (SqlType::Bytea, "bytea", "U", false, 1001, "i"),
    (SqlType::Date, "date", "D", false, 1182, "i"),
    (SqlType::Time, "time", "D", false, 1183, "d"),
    (SqlType::TimeTz, "timetz", "D", false, 1270, "d"),
    (SqlType::Timestamp, "timestamp", "D", false, 1115, "d"),
    (SqlType::TimestampTz, "timestamptz", "D", true, 1185, "d"),
    (SqlType::Interval, "interval", "T", true, 1187, "d"),
    (SqlType::Uuid, "uuid", "U", false, 2951, "c"),
    (SqlType::Jsonb, "jsonb", "U", false, 3807, "i"),
    (SqlType::Json, "json", "U", false, 199, "i"),
    (SqlType::Char(None), "bpchar", "S", false, 1014, "i"),
    (SqlType::Bit(None), "bit", "V", false, 1561, "i"),
    (SqlType::Varbit(None), "varbit", "V", true, 1563, "i"),
];

/// Relations of things that Headwater does not have or does not list.
const EMPTY: &[&str] = &[
    "check_constraints",
    "parameters",
    "pg_aggregate",
    "pg_auth_members",
    "pg_cast",
    "pg_conversion",
    "pg_db_role_setting",
    "pg_default_acl",
    "pg_depend",
    "pg_description",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_inherits",
    "pg_largeobject_metadata",
    "pg_opclass",
    "pg_operator",
    "pg_opfamily",
    "pg_partitioned_table",
    "pg_policies",
    "pg_policy",
    "pg_prepared_xacts",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_publication_tables",
    "pg_range",
    "pg_rewrite",
    "pg_rules",
    "pg_seclabel",
    "pg_sequence",
    "pg_sequences",
    "pg_shdepend",
    "pg_shdescription",
    "pg_statistic_ext",
    "pg_subscription",
    "pg_subscription_rel",
    "pg_transform",
    "pg_trigger",
    "pg_ts_config",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
    "pg_user_mapping",
    "referential_constraints",
    "routines",
    "sequences",
    "triggers",
];

/// The rows of a built-in relation that never change; `None` where they depend on the catalog or on the running server.
pub fn rows_static(schema: &str, name: &str) -> Option<Rows> {
    let table = Filler::of(schema, name)?;
    Some(match table.name.as_str() {
        "pg_am" => vec![
            table.row(&[
                ("oid", int8(HEAP_AM)),
                ("amname", text("heap")),
                ("amtype", text("t")),
                ("amhandler", text("heap_tableam_handler")),
            ]),
            table.row(&[
                ("oid", int8(BTREE_AM)),
                ("amname", text("btree")),
                ("amtype", text("i")),
                ("amhandler", text("bthandler")),
            ]),
        ],
        "pg_collation" => [(100, "default", "d"), (950, "C", "c"), (951, "POSIX", "c")]
            .map(|(oid, name, provider)| {
                table.row(&[
                    ("oid", int8(oid)),
                    ("collname", text(name)),
                    ("collnamespace", int8(11)),
                    ("collowner", owner_oid()),
                    ("collprovider", text(provider)),
                    ("collisdeterministic", Datum::Bool(true)),
                    ("collencoding", Datum::Int4(-1)),
                ])
            })
            .into(),
        "pg_language" => vec![table.row(&[
            ("oid", int8(functions::SQL_LANGUAGE)),
            ("lanname", text("sql")),
            ("lanowner", owner_oid()),
            ("lanpltrusted", Datum::Bool(true)),
        ])],
        "pg_tablespace" => [(DEFAULT_TABLESPACE, "pg_default"), (1664, "pg_global")]
            .map(|(oid, name)| table.row(&[("oid", int8(oid)), ("spcname", text(name)), ("spcowner", owner_oid())]))
            .into(),
        name if EMPTY.contains(&name) => vec![],
        _ => return None,
    })
}

/// The rows of a built-in relation as of a snapshot, the static ones included; `None` where they are not the catalog's
/// to know (schema `headwater`, `pg_settings`) or there is no such relation.
pub fn catalog_rows(snapshot: &CatalogSnapshot, schema: &str, name: &str) -> Option<Rows> {
    if let Some(rows) = rows_static(schema, name) {
        return Some(rows);
    }
    let table = Filler::of(schema, name)?;
    if schema == "headwater" {
        return None;
    }
    Some(match table.name.as_str() {
        "pg_class" => [class_rows(snapshot, &table), types::class_rows(snapshot, &table)].concat(),
        "pg_attribute" => attribute_rows(snapshot, &table),
        "pg_type" => [type_rows(&table), types::type_rows(snapshot, &table)].concat(),
        "pg_enum" => types::enum_rows(snapshot, &table),
        "pg_proc" => functions::function_rows(snapshot, &table),
        "pg_namespace" => namespace_rows(snapshot, &table),
        "pg_index" => index_rows(snapshot, &table),
        "pg_constraint" => constraint_rows(snapshot, &table),
        "pg_attrdef" => default_rows(snapshot, &table),
        "pg_roles" => role_rows(snapshot, &table),
        "pg_database" => database_rows(&table),
        "pg_tables" => pg_tables_rows(snapshot, &table),
        "pg_views" => pg_views_rows(snapshot, &table),
        "pg_matviews" => pg_matviews_rows(snapshot, &table),
        "pg_indexes" => people::index_rows(snapshot, &table),
        "pg_user" => people::user_rows(snapshot, &table),
        "views" => people::view_rows(snapshot, &table),
        "table_constraints" => people::constraint_rows(snapshot, &table),
        "key_column_usage" => people::key_rows(snapshot, &table, true),
        "constraint_column_usage" => people::key_rows(snapshot, &table, false),
        "tables" => information_tables(snapshot, &table),
        "columns" => information_columns(snapshot, &table),
        "schemata" => information_schemata(snapshot, &table),
        _ => return None,
    })
}

/// Makes whole rows of one relation from the columns that matter.
struct Filler {
    name: String,
    columns: Vec<Column>,
}

impl Filler {
    fn of(schema: &str, name: &str) -> Option<Filler> {
        let object = builtin::resolve(schema, name)?;
        Some(Filler { name: object.name.clone(), columns: object.desc()?.columns.clone() })
    }

    fn set(&self, row: &mut [Datum], name: &str, value: Datum) {
        let at = self.columns.iter().position(|c| c.name == name).expect("a column of the built-in relation");
        row[at] = value;
    }

    fn row(&self, values: &[(&str, Datum)]) -> Vec<Datum> {
        let mut row: Vec<Datum> = self.columns.iter().map(default).collect();
        values.iter().for_each(|(name, value)| self.set(&mut row, name, value.clone()));
        row
    }
}

fn default(column: &Column) -> Datum {
    if column.nullable {
        return Datum::Null;
    }
    match column.ty {
        SqlType::Int2 => Datum::Int2(0),
        SqlType::Int4 => Datum::Int4(0),
        SqlType::Int8 => Datum::Int8(0),
        SqlType::Bool => Datum::Bool(false),
        SqlType::Float4 => Datum::Float4(Float(0.0)),
        SqlType::Float8 => Datum::Float8(Float(0.0)),
        _ => Datum::Text(String::new()),
    }
}

fn int8(v: i64) -> Datum {
    Datum::Int8(v)
}
fn text(v: impl Into<String>) -> Datum {
    Datum::Text(v.into())
}
fn oid(id: GlobalId) -> Datum {
    Datum::Int8(i64::from(id.0))
}
fn owner_oid() -> Datum {
    int8(i64::from(SUPERUSER_OID))
}
fn role_oid(snapshot: &CatalogSnapshot, name: &str) -> Datum {
    int8(snapshot.role(name).map_or(0, |r| i64::from(r.oid)))
}
fn schema_oid(snapshot: &CatalogSnapshot, name: &str) -> Datum {
    int8(snapshot.schema(name).map_or(0, |s| i64::from(s.oid)))
}
fn count16(n: usize) -> Datum {
    Datum::Int2(i16::try_from(n).unwrap_or(i16::MAX))
}
fn count32(n: usize) -> Datum {
    Datum::Int4(i32::try_from(n).unwrap_or(i32::MAX))
}

/// The system's relations and the user's, by id.
fn every_object(snapshot: &CatalogSnapshot) -> Vec<Arc<Object>> {
    let system = builtin::all().iter().map(|Builtin { object, .. }| Arc::clone(object));
    system.chain(snapshot.objects()).collect()
}

/// `pg_class.relkind`; `None` where the object is no relation.
fn relkind(snapshot: &CatalogSnapshot, object: &Object) -> Option<&'static str> {
    Some(match &object.kind {
        // What PostgreSQL has as views, or not at all, are views too.
        ObjectKind::Table(_) if snapshot.is_system(object.id) && object.schema != "pg_catalog" => "v",
        ObjectKind::Table(_) | ObjectKind::SourceOutput { .. } => "r",
        ObjectKind::Source(_) if object.desc().is_some() => "r",
        ObjectKind::View { .. } => "v",
        ObjectKind::MaterializedView { .. } => "m",
        ObjectKind::Index { .. } => "i",
        _ => return None,
    })
}

fn relations(snapshot: &CatalogSnapshot) -> Vec<(Arc<Object>, &'static str)> {
    every_object(snapshot).into_iter().filter_map(|o| relkind(snapshot, &o).map(|k| (o, k))).collect()
}

/// The primary key of a user table.
fn primary_key(object: &Object) -> Option<&[usize]> {
    match &object.kind {
        ObjectKind::Table(desc) => desc.keys.first().map(Vec::as_slice),
        _ => None,
    }
}

fn primary_key_oid(table: GlobalId) -> i64 {
    i64::from(PRIMARY_KEY_OIDS) + i64::from(table.0)
}

fn has_index(snapshot: &CatalogSnapshot, object: &Object) -> bool {
    let indexed = |id: &GlobalId| snapshot.user_object(*id).is_some_and(|o| matches!(o.kind, ObjectKind::Index { .. }));
    primary_key(object).is_some() || snapshot.direct_dependants(object.id).iter().any(indexed)
}

fn class_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let mut rows = vec![];
    for (object, kind) in relations(snapshot) {
        let is_index = kind == "i";
        let natts = match &object.kind {
            ObjectKind::Index { columns, .. } => columns.len(),
            _ => object.desc().map_or(0, RelationDesc::arity),
        };
        let am = match kind {
            "i" => BTREE_AM,
            "v" => 0,
            _ => HEAP_AM,
        };
        let common = |id: Datum, name: String, kind: &str, am: i64, natts: usize, has_index: bool| {
            table.row(&[
                ("oid", id.clone()),
                ("relname", text(name)),
                ("relnamespace", schema_oid(snapshot, &object.schema)),
                ("relowner", role_oid(snapshot, &object.owner)),
                ("relam", int8(am)),
                ("relfilenode", id),
                ("reltuples", Datum::Float4(Float(-1.0))),
                ("relhasindex", Datum::Bool(has_index)),
                ("relpersistence", text("p")),
                ("relkind", text(kind)),
                ("relnatts", count16(natts)),
                ("relchecks", count16(if kind == "r" { object.rules.checks.len() } else { 0 })),
                ("relispopulated", Datum::Bool(true)),
                ("relreplident", text(if matches!(kind, "r" | "m") { "d" } else { "n" })),
            ])
        };
        let indexed = !is_index && has_index(snapshot, &object);
        rows.push(common(oid(object.id), object.name.clone(), kind, am, natts, indexed));
        if let Some(key) = primary_key(&object) {
            let id = int8(primary_key_oid(object.id));
            rows.push(common(id, object.rules.key_name(&object.name), "i", BTREE_AM, key.len(), false));
        }
    }
    rows
}

fn attribute_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let mut rows = vec![];
    for (object, _) in relations(snapshot) {
        if let ObjectKind::Index { on, columns, expressions } = &object.kind {
            if let Some(desc) = snapshot.get(*on).as_ref().and_then(|o| o.desc()) {
                let mut desc = hw_plan::index::described(desc, expressions);
                desc.columns.iter_mut().for_each(|c| c.nullable = true);
                index_attributes(table, &oid(object.id), &desc, columns, &mut rows);
            }
        } else if let Some(desc) = object.desc() {
            let all: Vec<usize> = (0..desc.arity()).collect();
            let first = rows.len();
            index_attributes(table, &oid(object.id), desc, &all, &mut rows);
            fillings(&object, table, &mut rows[first..]);
            if let Some(key) = primary_key(&object) {
                index_attributes(table, &int8(primary_key_oid(object.id)), desc, key, &mut rows);
            }
        }
    }
    types::attribute_rows(snapshot, table, &mut rows);
    rows
}

/// What columns are filled by.
fn fillings(object: &Object, table: &Filler, rows: &mut [Vec<Datum>]) {
    if object.rules.columns.is_empty() {
        return;
    }
    for (column, row) in rows.iter_mut().enumerate() {
        table.set(row, "atthasdef", Datum::Bool(constraints::default_of(object, column).is_some()));
        table.set(row, "attidentity", text(constraints::identity_of(object, column)));
        table.set(row, "attgenerated", text(if constraints::is_generated(object, column) { "s" } else { "" }));
    }
}

fn default_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let mut rows = vec![];
    for object in snapshot.objects() {
        for column in 0..object.rules.columns.len() {
            let Some(default) = constraints::default_of(&object, column) else { continue };
            rows.push(table.row(&[
                ("oid", int8(i64::from(object.id.0) << 11 | column as i64)),
                ("adrelid", oid(object.id)),
                ("adnum", count16(column + 1)),
                ("adbin", text(default)),
            ]));
        }
    }
    rows
}

/// One row for each of these columns, numbered from 1.
fn index_attributes(table: &Filler, relation: &Datum, desc: &RelationDesc, columns: &[usize], rows: &mut Rows) {
    for (number, column) in columns.iter().filter_map(|at| desc.columns.get(*at)).enumerate() {
        let len = column.ty.typlen();
        rows.push(table.row(&[
            ("attrelid", relation.clone()),
            ("attname", text(&column.name)),
            ("atttypid", int8(i64::from(column.ty.oid()))),
            ("attstattarget", Datum::Int4(-1)),
            ("attlen", Datum::Int2(len)),
            ("attnum", count16(number + 1)),
            ("attcacheoff", Datum::Int4(-1)),
            ("atttypmod", Datum::Int4(column.ty.typmod())),
            ("attbyval", Datum::Bool((1..=8).contains(&len))),
            ("attalign", text(alignment(column.ty))),
            ("attstorage", text(storage(column.ty))),
            ("attnotnull", Datum::Bool(!column.nullable)),
            ("attislocal", Datum::Bool(true)),
            ("attcollation", int8(collation(column.ty))),
        ]));
    }
}

fn alignment(ty: SqlType) -> &'static str {
    TYPES.iter().find(|t| t.0.oid() == ty.oid()).map_or("i", |t| t.5)
}
fn storage(ty: SqlType) -> &'static str {
    match ty {
        SqlType::Numeric(_) => "m",
        _ if ty.typlen() < 0 => "x",
        _ => "p",
    }
}
fn collation(ty: SqlType) -> i64 {
    if matches!(ty, SqlType::Text | SqlType::Varchar(_)) { 100 } else { 0 }
}

fn namespace_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let row = |s: &crate::SchemaEntry| {
        table.row(&[
            ("oid", int8(i64::from(s.oid))),
            ("nspname", text(&s.name)),
            ("nspowner", role_oid(snapshot, &s.owner)),
        ])
    };
    snapshot.schemas().map(row).collect()
}

/// A vector as PostgreSQL prints int2vector and oidvector.
fn vector(items: impl Iterator<Item = usize>) -> Datum {
    text(items.map(|i| i.to_string()).collect::<Vec<_>>().join(" "))
}

fn index_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    // `columns` are positions; those of expressions are shown as 0.
    let row = |index: Datum, on: GlobalId, columns: &[usize], computed: &[IndexExpr], unique: bool, primary: bool| {
        let zeros = || vector(columns.iter().map(|_| 0));
        let arity = snapshot.get(on).and_then(|o| o.desc().map(RelationDesc::arity)).unwrap_or(usize::MAX);
        let texts: Vec<&str> = computed.iter().map(|e| e.sql.as_str()).collect();
        table.row(&[
            ("indexprs", if texts.is_empty() { Datum::Null } else { text(texts.join(", ")) }),
            ("indexrelid", index),
            ("indrelid", oid(on)),
            ("indnatts", count16(columns.len())),
            ("indnkeyatts", count16(columns.len())),
            ("indisunique", Datum::Bool(unique)),
            ("indisprimary", Datum::Bool(primary)),
            ("indimmediate", Datum::Bool(true)),
            ("indisvalid", Datum::Bool(true)),
            ("indisready", Datum::Bool(true)),
            ("indislive", Datum::Bool(true)),
            ("indkey", vector(columns.iter().map(|c| if *c < arity { c + 1 } else { 0 }))),
            ("indcollation", zeros()),
            ("indclass", zeros()),
            ("indoption", zeros()),
        ])
    };
    let mut rows = vec![];
    for object in snapshot.objects() {
        if let ObjectKind::Index { on, columns, expressions } = &object.kind {
            let unique = snapshot.get(*on).is_some_and(|on| constraints::is_unique_index(&on, &object.name));
            rows.push(row(oid(object.id), *on, columns, expressions, unique, false));
        } else if let Some(key) = primary_key(&object) {
            rows.push(row(int8(primary_key_oid(object.id)), object.id, key, &[], true, true));
        }
    }
    rows
}

fn constraint_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let mut rows = vec![];
    for object in snapshot.objects() {
        for constraint in constraints::of(snapshot, &object) {
            let numbers: Vec<String> = constraint.columns.iter().map(|c| (c + 1).to_string()).collect();
            rows.push(table.row(&[
                ("oid", int8(i64::from(constraint.oid))),
                ("conname", text(constraint.name)),
                ("connamespace", schema_oid(snapshot, &object.schema)),
                ("contype", text(constraint.kind)),
                ("convalidated", Datum::Bool(true)),
                ("conrelid", oid(object.id)),
                ("conindid", int8(i64::from(constraint.index))),
                ("confupdtype", text(" ")),
                ("confdeltype", text(" ")),
                ("confmatchtype", text(" ")),
                ("conislocal", Datum::Bool(true)),
                ("connoinherit", Datum::Bool(constraint.kind != "c")),
                ("conkey", text(format!("{{{}}}", numbers.join(",")))),
            ]));
        }
    }
    rows
}

fn role_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let row = |r: &crate::Role| {
        let superuser = Datum::Bool(r.superuser);
        table.row(&[
            ("rolname", text(&r.name)),
            ("rolsuper", superuser.clone()),
            ("rolinherit", Datum::Bool(true)),
            ("rolcreaterole", superuser.clone()),
            ("rolcreatedb", superuser.clone()),
            ("rolcanlogin", Datum::Bool(true)),
            ("rolconnlimit", Datum::Int4(-1)),
            ("rolpassword", text("********")),
            ("rolbypassrls", superuser),
            ("oid", int8(i64::from(r.oid))),
        ])
    };
    snapshot.roles().map(row).collect()
}

fn database_rows(table: &Filler) -> Rows {
    vec![table.row(&[
        ("oid", int8(DATABASE_OID)),
        ("datname", text(DATABASE)),
        ("datdba", owner_oid()),
        ("encoding", Datum::Int4(UTF8)),
        ("datlocprovider", text("c")),
        ("datallowconn", Datum::Bool(true)),
        ("datconnlimit", Datum::Int4(-1)),
        ("dattablespace", int8(DEFAULT_TABLESPACE)),
        ("datcollate", text("C")),
        ("datctype", text("C.UTF-8")),
    ])]
}

fn type_rows(table: &Filler) -> Rows {
    let mut rows = vec![];
    for (ty, name, category, preferred, array, align) in TYPES {
        let element = int8(i64::from(ty.oid()));
        let (underscored, functions) = (format!("_{name}"), io_functions(name));
        let common = |id: Datum, name: &str, len: i16, functions: &[String; 4]| {
            vec![
                ("oid", id),
                ("typname", text(name)),
                ("typnamespace", int8(11)),
                ("typowner", owner_oid()),
                ("typlen", Datum::Int2(len)),
                ("typbyval", Datum::Bool((1..=8).contains(&len))),
                ("typtype", text("b")),
                ("typisdefined", Datum::Bool(true)),
                ("typdelim", text(",")),
                ("typinput", text(&functions[0])),
                ("typoutput", text(&functions[1])),
                ("typreceive", text(&functions[2])),
                ("typsend", text(&functions[3])),
                ("typtypmod", Datum::Int4(-1)),
                ("typcollation", int8(collation(*ty))),
                ("typsubscript", text("-")),
                ("typmodin", text("-")),
                ("typmodout", text("-")),
                ("typanalyze", text("-")),
            ]
        };
        let mut values = common(element.clone(), name, ty.typlen(), &functions);
        values.extend([
            ("typcategory", text(*category)),
            ("typispreferred", Datum::Bool(*preferred)),
            ("typarray", int8(*array)),
            ("typalign", text(*align)),
            ("typstorage", text(storage(*ty))),
        ]);
        rows.push(table.row(&values));
        // Clients that load types follow typarray and expect the row to exist.
        let mut values =
            common(int8(*array), &underscored, -1, &["in", "out", "recv", "send"].map(|f| format!("array_{f}")));
        values.extend([
            ("typcategory", text("A")),
            ("typelem", element),
            ("typalign", text(if *align == "d" { "d" } else { "i" })),
            ("typstorage", text("x")),
        ]);
        rows.push(table.row(&values));
    }
    rows
}

/// Names of input, output, receive and send functions as PostgreSQL has them.
fn io_functions(name: &str) -> [String; 4] {
    let separator = match name {
        "numeric" | "date" | "time" | "timetz" | "timestamp" | "timestamptz" | "interval" | "uuid" | "jsonb" => "_",
        _ => "",
    };
    ["in", "out", "recv", "send"].map(|f| format!("{name}{separator}{f}"))
}

fn pg_tables_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let row = |(o, _): &(Arc<Object>, &str)| {
        table.row(&[
            ("schemaname", text(&o.schema)),
            ("tablename", text(&o.name)),
            ("tableowner", text(&o.owner)),
            ("hasindexes", Datum::Bool(has_index(snapshot, o))),
        ])
    };
    relations(snapshot).iter().filter(|(_, kind)| *kind == "r").map(row).collect()
}

fn definition(object: &Object) -> Datum {
    match &object.kind {
        ObjectKind::View { query, .. } | ObjectKind::MaterializedView { query, .. } => text(query),
        _ => Datum::Null,
    }
}

fn pg_views_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let row = |(o, _): &(Arc<Object>, &str)| {
        table.row(&[
            ("schemaname", text(&o.schema)),
            ("viewname", text(&o.name)),
            ("viewowner", text(&o.owner)),
            ("definition", definition(o)),
        ])
    };
    relations(snapshot).iter().filter(|(_, kind)| *kind == "v").map(row).collect()
}

fn pg_matviews_rows(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let row = |(o, _): &(Arc<Object>, &str)| {
        table.row(&[
            ("schemaname", text(&o.schema)),
            ("matviewname", text(&o.name)),
            ("matviewowner", text(&o.owner)),
            ("hasindexes", Datum::Bool(has_index(snapshot, o))),
            ("ispopulated", Datum::Bool(true)),
            ("definition", definition(o)),
        ])
    };
    relations(snapshot).iter().filter(|(_, kind)| *kind == "m").map(row).collect()
}

fn yes_no(yes: bool) -> Datum {
    text(if yes { "YES" } else { "NO" })
}

fn information_tables(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let mut rows = vec![];
    for (o, kind) in relations(snapshot) {
        // PostgreSQL leaves materialized views out here; we list them as views, since clients find relations here.
        let table_type = match kind {
            "r" => "BASE TABLE",
            "v" | "m" => "VIEW",
            _ => continue,
        };
        let insertable = matches!(o.kind, ObjectKind::Table(_)) && !snapshot.is_system(o.id);
        rows.push(table.row(&[
            ("table_catalog", text(DATABASE)),
            ("table_schema", text(&o.schema)),
            ("table_name", text(&o.name)),
            ("table_type", text(table_type)),
            ("is_insertable_into", yes_no(insertable)),
            ("is_typed", yes_no(false)),
        ]));
    }
    rows
}

fn information_columns(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let mut rows = vec![];
    for (o, _) in relations(snapshot) {
        let updatable = matches!(o.kind, ObjectKind::Table(_)) && !snapshot.is_system(o.id);
        for (number, column) in o.desc().into_iter().flat_map(|d| &d.columns).enumerate() {
            let (identity, generated) = (constraints::identity_of(&o, number), constraints::is_generated(&o, number));
            let default = constraints::default_of(&o, number).filter(|_| !generated).map_or(Datum::Null, text);
            let mut values = vec![
                ("table_catalog", text(DATABASE)),
                ("table_schema", text(&o.schema)),
                ("table_name", text(&o.name)),
                ("column_name", text(&column.name)),
                ("ordinal_position", count32(number + 1)),
                ("is_nullable", yes_no(column.nullable)),
                ("udt_catalog", text(DATABASE)),
                ("udt_schema", text("pg_catalog")),
                ("column_default", default),
                ("is_identity", yes_no(!identity.is_empty())),
                ("is_generated", text(if generated { "ALWAYS" } else { "NEVER" })),
                ("is_updatable", yes_no(updatable)),
            ];
            values.extend(type_facts(column.ty));
            rows.push(table.row(&values));
        }
    }
    rows
}

/// What `information_schema.columns` says of a type.
fn type_facts(ty: SqlType) -> Vec<(&'static str, Datum)> {
    let bare = ty.without_modifier();
    let name = |ty: SqlType| TYPES.iter().find(|t| t.0 == ty).map_or("", |t| t.1).to_string();
    let (shown, udt) = match bare {
        SqlType::Array(element) => match element.ty() {
            SqlType::Enum(_) | SqlType::Row(_) => ("ARRAY".to_string(), format!("_{}", element.ty())),
            element => ("ARRAY".to_string(), format!("_{}", name(element))),
        },
        SqlType::Enum(e) => ("USER-DEFINED".to_string(), e.def().name.clone()),
        SqlType::Row(r) => ("USER-DEFINED".to_string(), r.def().name.clone()),
        SqlType::Char(_) => ("character".to_string(), name(bare)),
        SqlType::Alias(alias) => (bare.to_string(), alias.name().trim_matches('"').to_string()),
        other => (other.to_string(), name(other)),
    };
    let mut facts = vec![("data_type", text(shown)), ("udt_name", text(udt))];
    let mut number = |name, value: i32| facts.push((name, Datum::Int4(value)));
    match ty {
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 => {
            number("numeric_precision", i32::from(ty.typlen()) * 8);
            number("numeric_precision_radix", 2);
            number("numeric_scale", 0);
        }
        SqlType::Float4 | SqlType::Float8 => {
            number("numeric_precision", if ty == SqlType::Float4 { 24 } else { 53 });
            number("numeric_precision_radix", 2);
        }
        SqlType::Numeric(digits) => {
            number("numeric_precision_radix", 10);
            if let Some((precision, scale)) = digits {
                number("numeric_precision", i32::from(precision));
                number("numeric_scale", i32::from(scale));
            }
        }
        SqlType::Text => number("character_octet_length", 1 << 30),
        SqlType::Varchar(None) => number("character_octet_length", 1 << 30),
        SqlType::Varchar(Some(n)) | SqlType::Char(Some(n)) => {
            let n = i32::try_from(n).unwrap_or(i32::MAX);
            number("character_maximum_length", n);
            number("character_octet_length", n.saturating_mul(4).min(1 << 30));
        }
        SqlType::Bit(Some(n)) | SqlType::Varbit(Some(n)) => {
            number("character_maximum_length", i32::try_from(n).unwrap_or(i32::MAX));
        }
        SqlType::Date => number("datetime_precision", 0),
        SqlType::Time | SqlType::TimeTz | SqlType::Timestamp | SqlType::TimestampTz | SqlType::Interval => {
            number("datetime_precision", 6)
        }
        SqlType::Alias(alias) => {
            if let Some(precision) = alias.precision() {
                number("datetime_precision", precision.into());
            }
        }
        _ => {}
    }
    facts
}

fn information_schemata(snapshot: &CatalogSnapshot, table: &Filler) -> Rows {
    let row = |s: &crate::SchemaEntry| {
        table.row(&[("catalog_name", text(DATABASE)), ("schema_name", text(&s.name)), ("schema_owner", text(&s.owner))])
    };
    snapshot.schemas().map(row).collect()
}
