//! The catalog as the coordinator uses it.

use super::*;
use hw_plan::{
    CatalogView, ConnectionDesc, FlowPlan, KafkaSource, Object, ObjectKind, SourceConnector, SourceDesc, StartAt,
};
use hw_repr::{Column, Datum, GlobalId, RelationDesc, SqlType};
use std::collections::BTreeMap;

fn desc() -> RelationDesc {
    RelationDesc {
        columns: vec![
            Column { name: "id".into(), ty: SqlType::Int8, nullable: false },
            Column { name: "amount".into(), ty: SqlType::Numeric(Some((12, 2))), nullable: true },
            Column { name: "note".into(), ty: SqlType::Varchar(Some(40)), nullable: true },
        ],
        keys: vec![vec![0]],
        append_only: false,
    }
}

fn object(id: u32, name: &str, depends_on: &[u32], kind: ObjectKind) -> Object {
    Object {
        id: GlobalId(id),
        schema: "public".into(),
        name: name.into(),
        owner: SUPERUSER.into(),
        create_sql: format!("CREATE ... {name}"),
        depends_on: depends_on.iter().map(|d| GlobalId(*d)).collect(),
        kind,
        rules: hw_plan::TableRules::default(),
    }
}
fn create(o: Object) -> CatalogChange {
    CatalogChange::CreateObject(o)
}
fn table(id: u32, name: &str) -> CatalogChange {
    create(object(id, name, &[], ObjectKind::Table(desc())))
}
fn view(id: u32, name: &str, reads: &[u32]) -> CatalogChange {
    create(object(id, name, reads, ObjectKind::View { query: "SELECT 1".into(), desc: desc() }))
}
fn materialized(id: u32, name: &str, reads: u32) -> CatalogChange {
    let plan = FlowPlan::Get { id: GlobalId(reads), name: "t".into(), desc: desc(), columns: vec![0, 1, 2] };
    let kind = ObjectKind::MaterializedView {
        query: "SELECT * FROM t".into(),
        desc: desc(),
        plan,
        on_error: hw_plan::OnError::Fail,
        read_by: vec![1],
    };
    create(object(id, name, &[reads], kind))
}
fn index(id: u32, name: &str, on: u32) -> CatalogChange {
    create(object(id, name, &[], ObjectKind::Index { on: GlobalId(on), columns: vec![2, 0], expressions: vec![] }))
}
fn kafka(id: u32, name: &str) -> [CatalogChange; 2] {
    let connection = ConnectionDesc::Kafka { brokers: "b:9092".into(), properties: BTreeMap::new() };
    let kafka = KafkaSource {
        connection: GlobalId(id),
        topic: "orders".into(),
        start: StartAt::Offsets(BTreeMap::from([(0, 17), (3, -1)])),
        format: hw_plan::Format::Json,
        include: vec![],
    };
    let source =
        SourceDesc { connector: SourceConnector::Kafka(kafka), outputs: vec![(name.into(), desc())], paused: false };
    [
        create(object(id, &format!("{name}_connection"), &[], ObjectKind::Connection(connection))),
        create(object(id + 1, name, &[id], ObjectKind::Source(source))),
    ]
}

fn open(dir: &Path) -> Result<Catalog, SqlError> {
    open_up_to(dir, u64::MAX)
}
fn open_up_to(dir: &Path, last_time: u64) -> Result<Catalog, SqlError> {
    Catalog::open_up_to(Arc::new(files::PlainFiles), dir, last_time)
}
fn in_memory() -> Catalog {
    Catalog::with_store(Box::new(MemoryStore::default()), None).expect("a new catalog")
}
fn names(snapshot: &CatalogSnapshot) -> Vec<String> {
    snapshot.objects().iter().map(|o| o.name.clone()).collect()
}

#[test]
fn applying_a_tick_twice_changes_nothing() {
    let catalog = in_memory();
    catalog.apply(5, &[table(16384, "t")]).expect("apply");
    // The same tick again, and an older one: a replay of the log from its beginning.
    catalog.apply(5, &[table(16384, "t")]).expect("skipped");
    catalog.apply(3, &[CatalogChange::DropObject(GlobalId(16384))]).expect("skipped");
    assert_eq!((names(&catalog.snapshot()), catalog.last_applied()), (vec!["t".to_owned()], 5));
    let before = catalog.snapshot();
    catalog.apply(6, &[view(16385, "v", &[16384])]).expect("apply");
    assert_eq!(names(&before), ["t"], "a snapshot never changes");
    assert_eq!(names(&catalog.snapshot()), ["t", "v"]);
}

#[test]
fn a_refused_change_leaves_nothing_of_its_tick() {
    let catalog = in_memory();
    let error = catalog.apply(1, &[table(16384, "t"), table(16385, "t")]).expect_err("same name");
    assert_eq!(error.code, SqlState::DUPLICATE_TABLE);
    assert_eq!((names(&catalog.snapshot()).len(), catalog.last_applied()), (0, 0));
    let error = catalog.apply(1, &[view(16384, "v", &[77_777])]).expect_err("unknown dependency");
    assert_eq!(error.code, SqlState::UNDEFINED_OBJECT);
}

#[test]
fn everything_is_there_after_reopening() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let catalog = open(temp.path()).expect("create");
    let installation = catalog.installation();
    let verifier = scram::verifier("secret").expect("verifier");
    let mut changes = vec![
        CatalogChange::CreateSchema { name: "sales".into() },
        CatalogChange::DropSchema { name: "sales".into() },
        CatalogChange::CreateSchema { name: "Ümläut \"x\"".into() },
        CatalogChange::SetRolePassword { role: SUPERUSER.into(), verifier: Some(verifier.clone()) },
        CatalogChange::SetSetting { name: "a".into(), value: Some("1".into()) },
        table(16390, "t"),
        materialized(16391, "m", 16390),
        index(16392, "i", 16391),
    ];
    changes.extend(kafka(16393, "orders"));
    changes.extend([16390, 16391].map(|id| CatalogChange::KeepHistory(GlobalId(id))));
    changes.extend([16390, 16391].map(|id| CatalogChange::RetainHistory { id: GlobalId(id), ms: 60_000 }));
    let after = catalog.apply(9, &changes).expect("apply");
    let oid = catalog.next_oid();
    assert_eq!(oid, 16395, "above every id in use");
    catalog.sync().expect("sync");
    drop(catalog);
    let catalog = open(temp.path()).expect("reopen");
    let snapshot = catalog.snapshot();
    assert_eq!(snapshot.objects(), after.objects());
    assert!(!snapshot.has_schema("sales") && snapshot.has_schema("Ümläut \"x\"") && snapshot.has_schema("public"));
    assert_eq!(snapshot.role(SUPERUSER).and_then(|r| r.verifier.clone()), Some(verifier));
    assert!(snapshot.has_password());
    assert_eq!(snapshot.settings().get("a").map(String::as_str), Some("1"));
    assert_eq!(snapshot.histories(), &[GlobalId(16390), GlobalId(16391)].into());
    assert_eq!(snapshot.retentions(), &[(GlobalId(16390), 60_000), (GlobalId(16391), 60_000)].into());
    assert_eq!((catalog.last_applied(), catalog.installation()), (9, installation));
    assert_eq!(catalog.next_oid(), oid, "it was not used");
    assert_eq!(
        snapshot.schema("Ümläut \"x\"").map(|s| s.oid),
        Some(snapshot::NAMED_OIDS + 1),
        "dropped OIDs stay used"
    );
    assert_eq!(catalog.rebuilt(), None);
}

#[test]
fn a_history_is_kept_as_long_as_its_relation_is_there() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let catalog = open(temp.path()).expect("create");
    let keep = |id| CatalogChange::KeepHistory(GlobalId(id));
    let retain = |id| CatalogChange::RetainHistory { id: GlobalId(id), ms: 7 };
    let both = [keep(16390), keep(16391), retain(16390), retain(16391)];
    catalog.apply(1, &[table(16390, "t"), table(16391, "u")]).expect("tables");
    catalog.apply(2, &both).expect("apply");
    catalog.apply(3, &[CatalogChange::DropObject(GlobalId(16390))]).expect("drop");
    for change in [keep(16390), retain(16390)] {
        assert_eq!(catalog.apply(4, &[change]).expect_err("dropped").code, SqlState::UNDEFINED_TABLE);
    }
    catalog.sync().expect("sync");
    drop(catalog);
    let catalog = open(temp.path()).expect("reopen");
    assert_eq!(catalog.snapshot().histories(), &[GlobalId(16391)].into());
    assert_eq!(catalog.snapshot().retentions(), &[(GlobalId(16391), 7)].into());
}

#[test]
fn a_dropped_public_schema_stays_dropped() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let catalog = open(temp.path()).expect("create");
    catalog.apply(1, &[CatalogChange::DropSchema { name: "public".into() }]).expect("drop");
    catalog.sync().expect("sync");
    drop(catalog);
    assert!(!open(temp.path()).expect("reopen").snapshot().has_schema("public"));
}

/// Catches: a server that starts empty, or not at all, after sled's files were damaged.
#[test]
fn a_damaged_store_is_rebuilt_from_dump_and_log() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let catalog = open(temp.path()).expect("create");
    let installation = catalog.installation();
    catalog.apply(1, &[table(16384, "dumped")]).expect("apply");
    catalog.checkpoint().expect("checkpoint");
    catalog.apply(2, &[table(16385, "after_dump")]).expect("apply");
    catalog.sync().expect("sync");
    drop(catalog);
    let db = temp.path().join("sled/db");
    let len = std::fs::metadata(&db).expect("sled's file").len() as usize;
    std::fs::write(&db, vec![0xa5; len]).expect("damage");
    let catalog = open(temp.path()).expect("rebuild");
    assert!(catalog.rebuilt().expect("a warning").contains("tick 1"));
    assert_eq!((catalog.last_applied(), catalog.installation()), (1, installation));
    assert_eq!(names(&catalog.snapshot()), ["dumped"]);
    // The coordinator replays the log.
    catalog.apply(1, &[table(16384, "dumped")]).expect("skipped");
    catalog.apply(2, &[table(16385, "after_dump")]).expect("apply");
    assert_eq!(names(&catalog.snapshot()), ["dumped", "after_dump"]);
    drop(catalog);
    assert_eq!(names(&open(temp.path()).expect("reopen").snapshot()), ["dumped", "after_dump"]);
}

/// Catches: a change that a crash kept out of the log, and that nobody was told of, shows after the restart.
#[test]
fn a_store_ahead_of_the_log_is_rebuilt() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let catalog = open(temp.path()).expect("create");
    catalog.apply(1, &[table(16384, "logged")]).expect("apply");
    catalog.checkpoint().expect("checkpoint");
    catalog.apply(2, &[table(16385, "not_logged")]).expect("apply");
    catalog.sync().expect("sync");
    drop(catalog);
    let catalog = open_up_to(temp.path(), 2).expect("not ahead");
    assert_eq!((names(&catalog.snapshot()).len(), catalog.rebuilt()), (2, None));
    drop(catalog);
    let catalog = open_up_to(temp.path(), 1).expect("rebuild");
    assert!(catalog.rebuilt().is_some());
    assert_eq!((names(&catalog.snapshot()), catalog.last_applied()), (vec!["logged".to_owned()], 1));
}

/// sled can lose entries, or all that is recent, without an error.
#[test]
fn lost_entries_are_noticed() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let dump = Dump::new(Arc::new(files::PlainFiles), temp.path());
    let state = |store: &MemoryStore| store.scan("").expect("scan");
    let copy = |entries: &[(String, Vec<u8>)]| {
        let store = MemoryStore::default();
        let writes: Vec<_> = entries.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
        store.txn(&writes).expect("txn");
        store
    };
    let path = temp.path().join("sled");
    let store = SledStore::open(&path).expect("sled");
    let catalog = Catalog::with_store(Box::new(store), Some(dump.clone())).expect("create");
    let before = catalog.store.scan("").expect("scan");
    catalog.apply(4, &[table(16384, "t"), table(16385, "u")]).expect("apply");
    catalog.checkpoint().expect("checkpoint");
    let after = catalog.store.scan("").expect("scan");
    let reopened = Catalog::with_store(Box::new(copy(&after)), Some(dump.clone())).expect("whole");
    assert_eq!(names(&reopened.snapshot()), ["t", "u"]);
    for lost in 0..after.len() {
        let mut entries = after.clone();
        entries.remove(lost);
        let store = copy(&entries);
        assert_eq!(state(&store).len(), after.len() - 1);
        let error = Catalog::with_store(Box::new(store), None).err().unwrap_or_else(|| panic!("{}", after[lost].0));
        assert_eq!(error.code, SqlState::DATA_CORRUPTED, "{}", after[lost].0);
    }
    for old in [copy(&before), MemoryStore::default()] {
        let error = Catalog::with_store(Box::new(old), Some(dump.clone())).err().expect("older than its dump");
        assert_eq!(error.code, SqlState::DATA_CORRUPTED);
    }
}

#[test]
fn dependants_come_in_drop_order() {
    let catalog = in_memory();
    let changes = [
        table(16384, "t"),
        view(16385, "a", &[16384]),
        view(16386, "b", &[16385]),
        // A diamond: c reads a and b.
        view(16387, "c", &[16385, 16386]),
        index(16388, "i", 16384),
        table(16389, "other"),
    ];
    let snapshot = catalog.apply(1, &changes).expect("apply");
    let order = snapshot.dependants(GlobalId(16384));
    assert_eq!(order.len(), 4);
    let error = catalog.apply(2, &[CatalogChange::DropObject(GlobalId(16384))]).expect_err("still used");
    assert_eq!(error.code, SqlState::DEPENDENT_OBJECTS);
    let mut drops: Vec<_> = order.into_iter().map(CatalogChange::DropObject).collect();
    drops.push(CatalogChange::DropObject(GlobalId(16384)));
    let snapshot = catalog.apply(2, &drops).expect("drops in this order");
    assert_eq!(names(&snapshot), ["other"]);
    assert!(snapshot.dependants(GlobalId(16389)).is_empty());
}

/// After a replacement a view may read one with a greater id.
#[test]
fn an_update_changes_dependencies_and_refuses_cycles() {
    let catalog = in_memory();
    catalog.apply(1, &[table(16384, "t"), view(16385, "a", &[16384]), view(16386, "b", &[16384])]).expect("apply");
    let update = |id, name: &str, reads: &[u32]| match view(id, name, reads) {
        CatalogChange::CreateObject(o) => CatalogChange::UpdateObject(o),
        other => other,
    };
    let snapshot = catalog.apply(2, &[update(16385, "a2", &[16386])]).expect("update");
    assert_eq!(snapshot.dependants(GlobalId(16384)), [GlobalId(16385), GlobalId(16386)]);
    assert!(snapshot.resolve(None, "a").is_none() && snapshot.resolve(None, "a2").is_some());
    assert_eq!(
        catalog.apply(3, &[update(16386, "b", &[16385])]).expect_err("cycle").code,
        SqlState::INVALID_DEFINITION
    );
    assert_eq!(catalog.apply(3, &[update(16386, "a2", &[])]).expect_err("taken").code, SqlState::DUPLICATE_TABLE);
}

#[test]
fn names_resolve_along_the_search_path() {
    let catalog = in_memory();
    let in_sales = |mut o: Object| {
        o.schema = "sales".into();
        create(o)
    };
    let changes = [
        CatalogChange::CreateSchema { name: "sales".into() },
        in_sales(object(16384, "t", &[], ObjectKind::Table(desc()))),
        table(16385, "pg_class"),
    ];
    let s = catalog.apply(1, &changes).expect("apply");
    assert!(s.resolve(None, "t").is_none());
    assert_eq!(s.resolve(Some("sales"), "t").map(|o| o.id), Some(GlobalId(16384)));
    // public comes first; the qualified name is the system's.
    assert_eq!(s.resolve(None, "pg_class").map(|o| o.id), Some(GlobalId(16385)));
    assert_eq!(s.resolve(Some("pg_catalog"), "pg_class").map(|o| o.id), Some(GlobalId(1259)));
    assert_eq!(s.resolve(None, "source_partitions").map(|o| o.schema.clone()).as_deref(), Some("headwater"));
    assert_eq!(s.resolve(None, "schemata").map(|o| o.schema.clone()).as_deref(), Some("information_schema"));
    assert!(s.is_system(GlobalId(1259)) && s.get(GlobalId(1259)).is_some());
    assert_eq!(s.validate_new_name("nowhere", "x").expect_err("schema").code, SqlState::UNDEFINED_SCHEMA);
    assert_eq!(s.validate_new_name("pg_catalog", "x").expect_err("system").code, SqlState::INSUFFICIENT_PRIVILEGE);
    assert_eq!(s.validate_new_name("sales", "t").expect_err("taken").code, SqlState::DUPLICATE_TABLE);
    assert_eq!(s.validate_new_name("sales", &"x".repeat(64)).expect_err("long").code, SqlState::new("42622"));
    s.validate_new_name("public", "t").expect("free");
    let error = s.with_changes(&[CatalogChange::DropSchema { name: "sales".into() }]).expect_err("not empty");
    assert_eq!(error.code, SqlState::DEPENDENT_OBJECTS);
}

#[test]
fn changes_travel_as_bytes_and_what_cannot_is_refused() {
    let mut changes = vec![table(16384, "t"), materialized(16385, "m", 16384), CatalogChange::DropObject(GlobalId(3))];
    changes.extend(kafka(16386, "k"));
    for change in changes {
        let bytes = change.to_bytes().expect("bytes");
        assert_eq!(CatalogChange::from_bytes(&bytes).expect("change"), change);
    }
    let constant = |value: f64| {
        let literal = Datum::Float8(hw_repr::datum::Float(value));
        let plan = FlowPlan::Constant { rows: vec![(vec![literal], 1)], desc: RelationDesc::default() };
        let (query, on_error) = (String::new(), hw_plan::OnError::Fail);
        let kind = ObjectKind::MaterializedView { query, desc: desc(), plan, on_error, read_by: vec![] };
        create(object(16384, "m", &[], kind))
    };
    for value in [0.1, -0.0, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY] {
        match constant(value).to_bytes() {
            Ok(bytes) => assert_eq!(CatalogChange::from_bytes(&bytes).expect("change"), constant(value)),
            Err(error) => {
                assert_eq!(error.code, SqlState::FEATURE_NOT_SUPPORTED);
                assert!(!value.is_finite(), "{value} must be stored");
            }
        }
    }
    assert_eq!(CatalogChange::from_bytes(b"{").expect_err("damage").code, SqlState::DATA_CORRUPTED);
}

/// The value of a column of a row of a built-in relation.
fn at<'a>(relation: &str, row: &'a [Datum], column: &str) -> &'a Datum {
    let (schema, name) = relation.split_once('.').expect("qualified");
    let object = builtin::resolve(schema, name).expect("built in");
    let columns = &object.desc().expect("a table").columns;
    &row[columns.iter().position(|c| c.name == column).unwrap_or_else(|| panic!("{relation}.{column}"))]
}
fn find<'a>(relation: &str, rows: &'a [Vec<Datum>], column: &str, value: &str) -> Vec<&'a Vec<Datum>> {
    rows.iter().filter(|r| *at(relation, r, column) == Datum::Text(value.into())).collect()
}

#[test]
fn rows_have_the_types_of_their_columns() {
    let catalog = in_memory();
    let mut changes = vec![table(16384, "t"), view(16385, "v", &[16384]), materialized(16386, "m", 16384)];
    changes.push(index(16387, "i", 16386));
    changes.extend(kafka(16388, "k"));
    let snapshot = catalog.apply(1, &changes).expect("apply");
    let mut answered = 0;
    for b in builtin::all() {
        let full = format!("{}.{}", b.object.schema, b.object.name);
        let Some(rows) = builtin::catalog_rows(&snapshot, &b.object.schema, &b.object.name) else {
            assert!(b.object.schema == "headwater" || b.object.name == "pg_settings", "{full} has no rows");
            continue;
        };
        answered += 1;
        for row in rows {
            let columns = &b.object.desc().expect("a table").columns;
            assert_eq!(row.len(), columns.len(), "{full}");
            for (column, value) in columns.iter().zip(&row) {
                let fits = match (column.ty, value) {
                    (_, Datum::Null) => column.nullable,
                    (SqlType::Int2, Datum::Int2(_)) | (SqlType::Int4, Datum::Int4(_)) => true,
                    (SqlType::Int8, Datum::Int8(_)) | (SqlType::Bool, Datum::Bool(_)) => true,
                    (SqlType::Text, Datum::Text(_)) | (SqlType::Float4, Datum::Float4(_)) => true,
                    _ => false,
                };
                assert!(fits, "{full}.{}: {value:?}", column.name);
            }
        }
    }
    assert!(answered > 30);
}

#[test]
fn pg_catalog_shows_what_there_is() {
    let catalog = in_memory();
    let mut changes = vec![table(16384, "t"), view(16385, "v", &[16384]), materialized(16386, "m", 16384)];
    changes.push(index(16387, "i", 16386));
    changes.extend(kafka(16388, "k"));
    let snapshot = catalog.apply(1, &changes).expect("apply");
    let rows = |name: &str| {
        let (schema, name) = name.split_once('.').unwrap_or(("pg_catalog", name));
        builtin::catalog_rows(&snapshot, schema, name).expect("rows")
    };
    let class = rows("pg_class");
    for (name, kind) in [("t", "r"), ("v", "v"), ("m", "m"), ("i", "i"), ("k", "r"), ("t_pkey", "i")] {
        let found = find("pg_catalog.pg_class", &class, "relname", name);
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(*at("pg_catalog.pg_class", found[0], "relkind"), Datum::Text(kind.into()), "{name}");
    }
    assert!(find("pg_catalog.pg_class", &class, "relname", "k_connection").is_empty(), "no relation");
    let mut ids: Vec<_> = class.iter().map(|r| format!("{:?}", at("pg_catalog.pg_class", r, "oid"))).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), class.len(), "OIDs are unique");
    let index_key: Vec<_> = rows("pg_index").iter().map(|r| at("pg_catalog.pg_index", r, "indkey").clone()).collect();
    assert_eq!(index_key, [Datum::Text("1".into()), Datum::Text("3 1".into())]);
    let attributes = rows("pg_attribute");
    let of_t: Vec<_> =
        attributes.iter().filter(|r| *at("pg_catalog.pg_attribute", r, "attrelid") == Datum::Int8(16384)).collect();
    assert_eq!(of_t.len(), 3);
    assert_eq!(*at("pg_catalog.pg_attribute", of_t[1], "atttypmod"), Datum::Int4((12 << 16) + 2 + 4));
    let columns = rows("information_schema.columns");
    let amount: Vec<_> = find("information_schema.columns", &columns, "table_name", "t");
    assert_eq!(*at("information_schema.columns", amount[1], "numeric_precision"), Datum::Int4(12));
    assert_eq!(*at("information_schema.columns", amount[2], "character_maximum_length"), Datum::Int4(40));
    assert_eq!(rows("pg_matviews").len(), 1);
    assert_eq!(find("pg_catalog.pg_views", &rows("pg_views"), "schemaname", "public").len(), 1);
    assert_eq!(find("pg_catalog.pg_tables", &rows("pg_tables"), "schemaname", "public").len(), 2);
    assert!(builtin::catalog_rows(&snapshot, "pg_catalog", "nothing").is_none());
    assert_eq!(builtin::catalog_rows(&CatalogSnapshot::default(), "pg_catalog", "pg_type").expect("rows").len(), 44);
}
