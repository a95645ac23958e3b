//! Statements against a small fixed catalog, each from its text to what the coordinator gets.

use crate::ast::Ast;
use crate::{ParamTypes, Planned, SessionContextInfo, parse, plan};
use hw_plan::explain::explain;
use hw_plan::{
    CatalogView, ConnectionDesc, FlowPlan, IndexExpr, Object, ObjectKind, SourceConnector, StartAt, Statement,
};
use hw_repr::{Column, Datum, GlobalId, RelationDesc, SqlError, SqlType};
use std::collections::BTreeMap;
use std::sync::Arc;

struct Fixed(Vec<Arc<Object>>);

impl CatalogView for Fixed {
    fn resolve(&self, schema: Option<&str>, name: &str) -> Option<Arc<Object>> {
        let schema = schema.unwrap_or("public");
        self.0.iter().find(|o| o.schema == schema && o.name == name).cloned()
    }
    fn get(&self, id: GlobalId) -> Option<Arc<Object>> {
        self.0.iter().find(|o| o.id == id).cloned()
    }
    fn objects(&self) -> Vec<Arc<Object>> {
        self.0.clone()
    }
    fn has_schema(&self, schema: &str) -> bool {
        matches!(schema, "public" | "headwater" | "pg_catalog")
    }
}

fn object(id: u32, name: &str, kind: ObjectKind) -> Arc<Object> {
    Arc::new(Object {
        id: GlobalId(id),
        schema: "public".into(),
        name: name.into(),
        owner: "headwater".into(),
        create_sql: String::new(),
        depends_on: vec![],
        kind,
        rules: hw_plan::TableRules::default(),
    })
}

fn relation(columns: &[(&str, SqlType)], keys: Vec<Vec<usize>>) -> RelationDesc {
    let columns = columns
        .iter()
        .enumerate()
        .map(|(i, (n, ty))| Column { name: n.to_string(), ty: *ty, nullable: !keys.iter().any(|k| k.contains(&i)) })
        .collect();
    RelationDesc { columns, keys, append_only: false }
}

fn catalog() -> Fixed {
    use SqlType::*;
    let t = relation(
        &[("a", Int4), ("b", Int8), ("c", Text), ("d", Numeric(Some((18, 2)))), ("ts", Timestamp)],
        vec![vec![0]],
    );
    let u = relation(&[("a", Int8), ("x", Float8), ("ok", Bool)], vec![]);
    let query = "SELECT a, b FROM public.t WHERE b > 0".to_string();
    let v = relation(&[("a", Int4), ("b", Int8)], vec![]);
    let kafka = ConnectionDesc::Kafka { brokers: "localhost:9092".into(), properties: BTreeMap::new() };
    Fixed(vec![
        object(20000, "t", ObjectKind::Table(t)),
        object(20001, "u", ObjectKind::Table(u)),
        object(20002, "v", ObjectKind::View { query, desc: v }),
        object(20003, "k", ObjectKind::Connection(kafka)),
    ])
}

fn try_plan(sql: &str) -> Result<Planned, SqlError> {
    plan_in(&catalog(), sql)
}

fn plan_in(catalog: &Fixed, sql: &str) -> Result<Planned, SqlError> {
    let session = SessionContextInfo {
        search_path: vec!["public".into()],
        user: "headwater".into(),
        database: "headwater".into(),
        now_us: 1_700_000_000_000_000,
        settings: Default::default(),
        prepared: Default::default(),
        backend_pid: 1,
        inline: Default::default(),
    };
    let statements = parse(sql)?;
    assert_eq!(statements.len(), 1, "{sql}");
    plan(&statements[0], catalog, &session, &ParamTypes::default())
}

fn planned(sql: &str) -> Planned {
    try_plan(sql).unwrap_or_else(|e| panic!("{sql}: {} {e} {:?}", e.code.as_str(), e.hint))
}

fn error(sql: &str) -> SqlError {
    match try_plan(sql) {
        Err(e) => e,
        Ok(p) => panic!("{sql} gave {:?}", p.statement),
    }
}

fn types(sql: &str) -> Vec<SqlType> {
    planned(sql).query.expect("a query").desc.types()
}

fn names(sql: &str) -> Vec<String> {
    planned(sql).query.expect("a query").desc.columns.into_iter().map(|c| c.name).collect()
}

fn flow(query: &str) -> FlowPlan {
    match planned(&format!("CREATE MATERIALIZED VIEW m AS {query}")).statement {
        Statement::CreateMaterializedView { plan, .. } => plan,
        other => panic!("{other:?}"),
    }
}

#[test]
fn splits_and_positions() {
    let all = parse("SELECT 1; ;\n SELECT ';' ; ").expect("parses");
    let texts: Vec<_> = all.iter().map(|s| (s.start_offset, s.text.as_str())).collect();
    assert_eq!(texts, [(0, "SELECT 1"), (13, "SELECT ';'")]);
    let e = parse("SELECT 1;\nSELEC 2").expect_err("fails");
    assert_eq!(
        (e.code.as_str(), e.message.as_str(), e.position),
        ("42601", "syntax error at or near \"SELEC\"", Some(11))
    );
    let e = parse("SELECT * FROM t WHERE").expect_err("fails");
    assert_eq!((e.code.as_str(), e.message.as_str()), ("42601", "syntax error at end of input"));
    let e = parse("SELECT (1").expect_err("fails");
    assert_eq!((e.message.as_str(), e.position), ("syntax error at end of input", Some(10)));
}

#[test]
fn own_statements_parse() {
    for sql in [
        "CREATE CONNECTION k TO KAFKA (BROKER 'x:1', SASL MECHANISM 'PLAIN', SASL USERNAME 'u', SASL PASSWORD 'p')",
        "DROP MATERIALIZED VIEW IF EXISTS a, b.c CASCADE",
        "ALTER SOURCE s PAUSE",
        "ALTER ROLE headwater PASSWORD 'x'",
        "SUBSCRIBE TO t WITH (SNAPSHOT = false, PROGRESS) AS OF 5 UP TO 9",
        "EXPLAIN FLOW SELECT 1",
        "SHOW MATERIALIZED VIEWS",
        "SHOW COLUMNS FROM t",
        "SHOW CREATE VIEW v",
        "SHOW server_version",
        "SET search_path TO a, b",
        "RESET search_path",
        "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY",
        "START TRANSACTION",
        "COMMIT",
        "ROLLBACK",
        "PREPARE p (int, text) AS SELECT $1, $2",
        "EXECUTE p (1, 'x')",
        "DEALLOCATE ALL",
        "DISCARD ALL",
        "FLUSH",
    ] {
        assert_eq!(parse(sql).unwrap_or_else(|e| panic!("{sql}: {e}")).len(), 1);
    }
    let all = parse("SUBSCRIBE t WITH (SNAPSHOT = false, PROGRESS) AS OF 5 UP TO 9").expect("parses");
    let Ast::Subscribe { snapshot, progress, as_of, up_to, .. } = &all[0].ast else { panic!() };
    assert_eq!((*snapshot, *progress, *as_of, *up_to), (false, true, Some(5), Some(9)));
    let e = parse("SUBSCRIBE t WITH (SNAPSHOTS)").expect_err("fails");
    assert_eq!((e.code.as_str(), e.hint.as_deref()), ("42601", Some("Valid: SNAPSHOT, PROGRESS.")));
}

#[test]
fn kafka_source() {
    let p = planned(
        "CREATE SOURCE s (id BIGINT NOT NULL, p NUMERIC(10,2)) FROM KAFKA CONNECTION k (TOPIC 't', START OFFSETS (0 = 17)) \
         FORMAT JSON INCLUDE PARTITION AS part, OFFSET ENVELOPE NONE WITH (PAUSED)",
    );
    let Statement::CreateSource { desc, depends_on, .. } = p.statement else { panic!() };
    assert!(desc.paused);
    assert_eq!(depends_on, [GlobalId(20003)]);
    let SourceConnector::Kafka(k) = &desc.connector else { panic!() };
    assert_eq!(k.start, StartAt::Offsets([(0, 17)].into_iter().collect()));
    let names: Vec<_> = desc.outputs[0].1.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["id", "p", "part", "offset"]);
    assert!(desc.outputs[0].1.append_only);
    let e = error("CREATE SOURCE s (id BIGINT) FROM KAFKA CONNECTION k (TOPICS 't') FORMAT JSON");
    assert_eq!((e.code.as_str(), e.hint.as_deref()), ("42601", Some("Valid: TOPIC, START.")));
}

#[test]
fn generator() {
    let p = planned("CREATE SOURCE g FROM GENERATOR NEXMARK (EVENTS 10, EVENTS PER SECOND 5, SEED 3, PREFIX 'x_')");
    let Statement::CreateSource { desc, .. } = p.statement else { panic!() };
    let SourceConnector::Nexmark(n) = &desc.connector else { panic!() };
    assert_eq!((n.events, n.events_per_second, n.seed), (Some(10), Some(5), 3));
    let names: Vec<_> = desc.outputs.iter().map(|(n, d)| (n.as_str(), d.arity())).collect();
    assert_eq!(names, [("x_person", 8), ("x_auction", 10), ("x_bid", 7)]);
}

#[test]
fn literals_and_operators_have_postgres_types() {
    use SqlType::*;
    assert_eq!(
        types("SELECT 1/2, 1.5, 3000000000, 'x', 1 + 1.5, 2::int8 * 3"),
        [Int4, Numeric(None), Int8, Text, Numeric(None), Int8]
    );
    assert_eq!(
        types("SELECT sum(a), sum(b), avg(a), count(*), sum(d), min(c), max(ts) FROM t"),
        [Int8, Numeric(None), Numeric(None), Int8, Numeric(None), Text, Timestamp]
    );
    assert_eq!(types("SELECT CASE WHEN a > 1 THEN 1 ELSE 2.5 END, coalesce(b, 1) FROM t"), [Numeric(None), Int8]);
    assert_eq!(types("SELECT ts - ts, ts + interval '1 day', '2024-01-01'::date FROM t"), [Interval, Timestamp, Date]);
    assert_eq!(error("SELECT * FROM t WHERE a = 'x'").code.as_str(), "22P02");
    assert_eq!(error("SELECT c + 1 FROM t").code.as_str(), "42883");
}

#[test]
fn names_of_columns() {
    assert_eq!(
        names("SELECT a, a, a + 1, a + 2, count(*), c::varchar FROM t GROUP BY a, c"),
        ["a", "a", "?column?", "?column?", "count", "c"]
    );
    assert_eq!(names("SELECT *, a FROM t"), ["a", "b", "c", "d", "ts", "a"]);
}

#[test]
fn errors_of_names() {
    let e = error("SELECT * FROM nope");
    assert_eq!(
        (e.code.as_str(), e.message.as_str(), e.position),
        ("42P01", "relation \"nope\" does not exist", Some(15))
    );
    assert_eq!(error("SELECT nope FROM t").code.as_str(), "42703");
    assert_eq!(error("SELECT a FROM t, u").code.as_str(), "42702");
    let e = error("SELECT nope(a) FROM t");
    assert_eq!(e.code.as_str(), "42883", "{e}");
    assert_eq!(error("SELECT a, b, sum(a) FROM t GROUP BY a").code.as_str(), "42803");
    assert_eq!(error("SELECT * FROM t WHERE a").code.as_str(), "42804");
}

#[test]
fn table_and_constraints() {
    let p = planned("CREATE TABLE n (id int PRIMARY KEY, v text NOT NULL, w numeric(5,2))");
    let Statement::CreateTable { desc, create_sql, .. } = p.statement else { panic!() };
    assert_eq!(desc.keys, vec![vec![0]]);
    assert_eq!(desc.columns.iter().map(|c| c.nullable).collect::<Vec<_>>(), [false, false, true]);
    assert!(create_sql.starts_with("CREATE TABLE public.n (id integer NOT NULL"), "{create_sql}");
    // What is stored is what makes the table anew.
    let p = planned(
        "CREATE TABLE n (id int DEFAULT 1 CHECK (id > 0), b int UNIQUE, c text DEFAULT E'a\\'b\\n', \
         d int GENERATED ALWAYS AS (id + b) STORED, \
         e bigint GENERATED ALWAYS AS IDENTITY (START 5 INCREMENT BY -1), UNIQUE NULLS NOT DISTINCT (id, b))",
    );
    let Statement::CreateTable { rules, create_sql, .. } = p.statement else { panic!() };
    assert_eq!((rules.uniques.len(), rules.checks.len(), rules.generated().count()), (2, 1, 1));
    let Statement::CreateTable { rules: again, create_sql: same, .. } = planned(&create_sql).statement else {
        panic!()
    };
    assert_eq!((again, same), (rules, create_sql));
    for sql in ["CREATE TABLE n (id int REFERENCES t)", "CREATE TABLE n (a int, FOREIGN KEY (a) REFERENCES t)"] {
        assert_eq!(error(sql).code.as_str(), "0A000", "{sql}");
    }
    assert_eq!(error("CREATE TABLE n (a int, a text)").code.as_str(), "42701");
}

#[test]
fn insert_fills_and_casts() {
    let p = planned("INSERT INTO t (b, a) VALUES (1, '2'), (3, $1)");
    assert_eq!(p.param_types, [SqlType::Int4]);
    let query = p.query.expect("a query");
    let types: Vec<_> = query.plan.schema().fields().iter().map(|f| f.data_type().clone()).collect();
    assert_eq!(types, query.desc.types().iter().map(SqlType::arrow).collect::<Vec<_>>());
    let bound = crate::bind_params(query.plan, &[Datum::Int4(7)]).expect("binds");
    assert!(!bound.display_indent().to_string().contains('$'));
    assert_eq!(error("INSERT INTO t (a) VALUES (1, 2)").code.as_str(), "42601");
    assert_eq!(error("INSERT INTO v VALUES (1, 2)").code.as_str(), "42809");
}

#[test]
fn update_and_delete() {
    let Statement::Update { set, filter, .. } = planned("UPDATE t SET b = a + 1 WHERE c = 'x'").statement else {
        panic!()
    };
    assert_eq!(set.len(), 1);
    assert_eq!((set[0].0, set[0].1.ty()), (1, SqlType::Int8));
    assert_eq!(filter.expect("a filter").columns(), [2]);
    let Statement::Delete { filter, .. } = planned("DELETE FROM t").statement else { panic!() };
    assert!(filter.is_none());
    let p = planned("DELETE FROM t WHERE a IN (SELECT a FROM u)");
    assert!(matches!(p.statement, Statement::Modify { set: None, .. }) && p.query.is_some());
}

#[test]
fn lowers_aggregates_over_chosen_columns() {
    let plan = flow("SELECT c, count(*) AS n, sum(a) FROM t WHERE b > 10 GROUP BY c HAVING count(*) > 1");
    let text = explain(&plan);
    assert!(text.contains("Reduce group=[#0] aggregates=[count(*) bigint, sum(#1) bigint]"), "{text}");
    assert!(text.contains("Get public.t (u20000) columns=[a integer, b bigint, c text]"), "{text}");
    assert!(text.contains("(#1 > 1)") || text.contains("filter=["), "{text}");
}

#[test]
fn lowers_joins() {
    let text = explain(&flow("SELECT t.c, u.x FROM t JOIN u ON t.b = u.a AND t.d > 1 WHERE u.ok"));
    assert!(text.contains("Join on=["), "{text}");
    let text = explain(&flow("SELECT t.c, u.x FROM t, u WHERE t.a = u.a"));
    assert!(text.contains("Join on=["), "{text}");
    let text = explain(&flow("SELECT t.c, u.x, w.x AS y FROM t JOIN u ON t.b = u.a JOIN u w ON w.a = t.b"));
    assert!(text.contains("DeltaJoin arrangements=2 "), "{text}");
}

#[test]
fn views_are_inlined_and_fuse() {
    let text = explain(&flow("SELECT a + 1 AS y FROM v WHERE a > 5"));
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("Get public.t (u20000) columns=[a integer, b bigint]"), "{text}");
}

#[test]
fn refuses_what_a_view_cannot_hold() {
    for query in [
        "SELECT now() FROM t",
        "SELECT a, sum(b) OVER (ORDER BY a) FROM t",
        "SELECT a, lag(a) OVER (ORDER BY a) FROM t",
        "SELECT a FROM t WHERE random() < 0.5",
    ] {
        let e = error(&format!("CREATE MATERIALIZED VIEW m AS {query}"));
        assert_eq!(e.code.as_str(), "0A000", "{query}: {e}");
        assert!(e.hint.is_some(), "{query}: {e}");
    }
}

#[test]
fn union_and_distinct() {
    let text = explain(&flow("SELECT a FROM t UNION SELECT 1 UNION ALL SELECT b FROM t"));
    assert!(text.contains("Distinct") && text.contains("Union"), "{text}");
    assert_eq!(types("SELECT a FROM t UNION ALL SELECT b FROM t UNION ALL SELECT NULL"), [SqlType::Int8]);
}

#[test]
fn ad_hoc_subqueries() {
    for sql in [
        "SELECT a FROM t WHERE b IN (SELECT a FROM u)",
        "SELECT a FROM t WHERE b NOT IN (SELECT a FROM u)",
        "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.a = t.b)",
        "SELECT a, (SELECT max(x) FROM u) FROM t ORDER BY a LIMIT 2 OFFSET 1",
        "WITH w AS (SELECT a FROM t) SELECT * FROM w LEFT JOIN u ON w.a = u.a",
        "SELECT t.a FROM t JOIN u USING (a)",
        "SELECT a FROM t WHERE a = 1 OR b NOT IN (SELECT a FROM u)",
        "SELECT a FROM t EXCEPT ALL SELECT a FROM t",
        "SELECT a, CASE WHEN b > 1 THEN (SELECT x FROM u WHERE u.a = t.b) END, b > ALL (SELECT a FROM u) FROM t",
        "SELECT DISTINCT ON (a) a, rank() OVER (PARTITION BY a ORDER BY b) FROM t ORDER BY a, b",
        "SELECT * FROM t, LATERAL (SELECT max(x) FROM u WHERE u.a = t.a) l",
        "SELECT c FROM t WHERE c LIKE 'x%' AND a BETWEEN 1 AND 3 AND b IN (1, 2, 3, 4, 5)",
    ] {
        planned(sql);
    }
}

#[test]
fn compact_explain_and_index() {
    assert_eq!(planned("SELECT headwater.compact()").statement, Statement::Compact);
    let Statement::Rows { rows, .. } = planned("EXPLAIN FLOW SELECT a FROM t").statement else { panic!() };
    let served = "Serve by (#0), its key, shared by all that read it; holds: every row; change: O(log n)";
    assert_eq!(rows[0][0], Datum::Text(served.into()));
    assert_eq!(rows[1][0], Datum::Text("  Get public.t (u20000) columns=[a integer]; holds: nothing".into()));
    let Statement::CreateIndex { name, columns, .. } = planned("CREATE INDEX ON t (c, a)").statement else { panic!() };
    assert_eq!((name.name.as_str(), columns.as_slice()), ("t_c_a_idx", [2, 0].as_slice()));
}

/// An index on `t`, which has five columns.
fn index_on_t(key: &str) -> (String, Vec<usize>, Vec<IndexExpr>, String) {
    match planned(&format!("CREATE INDEX ON t ({key})")).statement {
        Statement::CreateIndex { name, columns, expressions, create_sql, depends_on, .. } => {
            assert_eq!(depends_on, [GlobalId(20000)]);
            (name.name, columns, expressions, create_sql)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_of_indexes_have_expressions() {
    let (name, columns, expressions, create_sql) = index_on_t("lower(t.c), ((a + b)) DESC, (a), (b - a)");
    assert_eq!((name.as_str(), columns.as_slice()), ("t_lower_expr_a_expr1_idx", [5, 6, 0, 7].as_slice()));
    assert_eq!(expressions.iter().map(IndexExpr::written).collect::<Vec<_>>(), ["lower(c)", "(a + b)", "(b - a)"]);
    assert_eq!(create_sql, "CREATE INDEX t_lower_expr_a_expr1_idx ON public.t (lower(c), (a + b), a, (b - a))");
    for (key, code) in [
        ("a + b", "42601"),
        ("c::varchar", "42601"),
        ("((SELECT 1))", "0A000"),
        ("count(*)", "42803"),
        ("(row_number() OVER ())", "42P20"),
        ("(generate_series(1, a))", "0A000"),
        ("(ts > now())", "42P17"),
        ("($1 + a)", "42P02"),
        ("(nosuch)", "42703"),
    ] {
        assert_eq!(error(&format!("CREATE INDEX ON t ({key})")).code.as_str(), code, "{key}");
    }
}

/// By which key EXPLAIN says that a scan of `t` seeks.
fn seek_in(catalog: &Fixed, condition: &str) -> Option<String> {
    let text = format!("EXPLAIN SELECT a FROM t AS x WHERE {condition}");
    let Ok(Statement::Rows { rows, .. }) = plan_in(catalog, &text).map(|p| p.statement) else { panic!("{text}") };
    let scan = rows.last().and_then(|r| r[0].to_text())?;
    scan.split_once(" seek by ").map(|(_, by)| by.to_string())
}

#[test]
fn explain_names_the_key_that_is_sought_by() {
    let (_, columns, expressions, _) = index_on_t("lower(c), b");
    let mut catalog = catalog();
    catalog.0.push(object(20004, "i", ObjectKind::Index { on: GlobalId(20000), columns, expressions }));
    let scan = |condition: &str| seek_in(&catalog, condition);
    assert_eq!(scan("lower(x.c) = 'q'").as_deref(), Some("i on lower(c)"));
    assert_eq!(scan("b = 7 AND 'q' = lower(c)").as_deref(), Some("i on lower(c), b"));
    assert_eq!(scan("a = 7 AND b = 7").as_deref(), Some("its key on a"));
    assert_eq!(scan("lower(c) = 'q' AND a / b = 1").as_deref(), Some("i on lower(c)"));
    // What may fail leads to the key where nothing else that may fail is tried before it.
    let (_, columns, expressions, _) = index_on_t("(a + b), (a - b)");
    catalog.0.push(object(20005, "j", ObjectKind::Index { on: GlobalId(20000), columns, expressions }));
    let scan = |condition: &str| seek_in(&catalog, condition);
    assert_eq!(scan("a + b = 7 AND c > 'x'").as_deref(), Some("j on (a + b)"));
    assert_eq!(scan("a - b = 7 AND a + b = 7 AND b > 7").as_deref(), Some("j on (a + b), (a - b)"));
    assert_eq!(scan("a + b = 7 AND 10 / a = 1").as_deref(), Some("j on (a + b)"));
    assert_eq!(scan("10 / a = 1 AND a + b = 7"), None);
    for other in ["lower(c) > 'q'", "b = 7", "upper(c) = 'q'", "lower(c) = 'q' OR a = 1", "lower(c) = NULL"] {
        assert_eq!(scan(other), None, "{other}");
    }
}

#[test]
fn materialized_view_text_is_qualified_and_described() {
    let p = planned("CREATE MATERIALIZED VIEW m (k, n) AS SELECT a, count(*) FROM t GROUP BY a");
    let Statement::CreateMaterializedView { desc, query, depends_on, .. } = p.statement else { panic!() };
    assert_eq!(desc.keys, vec![vec![0]]);
    assert_eq!(desc.columns[0].name, "k");
    assert!(query.contains("FROM public.t"), "{query}");
    assert_eq!(depends_on, [GlobalId(20000)]);
}

#[test]
fn views_of_the_first_rows_of_groups_are_read_by_group() {
    let read_by = |query: &str| hw_plan::transform::read_by(&flow(query));
    for number in ["row_number()", "rank()", "dense_rank()"] {
        let of = |rest: &str| {
            let numbered = format!("(SELECT *, {number} OVER (PARTITION BY b ORDER BY ts) AS n FROM t) q");
            read_by(&rest.replace("numbered", &numbered))
        };
        assert_eq!(of("SELECT * FROM numbered WHERE n <= 3"), [1], "{number}");
        assert_eq!(of("SELECT c, b FROM numbered WHERE 4 > n AND d > 0"), [1], "{number}");
        assert_eq!(of("WITH w AS (SELECT * FROM numbered WHERE n <= 3) SELECT x, b FROM w JOIN u ON u.a = w.a"), [1]);
        assert!(of("SELECT a, c FROM numbered WHERE n <= 3").is_empty(), "{number}: the group is not shown");
        assert!(of("SELECT * FROM numbered").is_empty(), "{number}: all rows are shown");
    }
    assert_eq!(read_by("SELECT DISTINCT ON (c) a, c FROM t ORDER BY c, ts"), [1]);
    assert_eq!(
        read_by("SELECT u.x, u.a, l.c FROM u, LATERAL (SELECT c FROM t WHERE b = u.a ORDER BY ts LIMIT 3) l"),
        [1]
    );
    for all in ["SELECT a, b FROM t", "SELECT b, count(*) FROM t GROUP BY b", "SELECT * FROM t ORDER BY ts LIMIT 3"] {
        assert!(read_by(all).is_empty(), "{all}");
    }
}

#[test]
fn errors_say_where_they_stand() {
    for (sql, code, message, position) in [
        ("SELECT nosuch FROM t", "42703", "column \"nosuch\" does not exist", 8),
        ("SELECT t.nosuch FROM t", "42703", "column t.nosuch does not exist", 8),
        ("SELECT x.a FROM t", "42P01", "missing FROM-clause entry for table \"x\"", 8),
        ("SELECT t.a FROM t AS q", "42P01", "invalid reference to FROM-clause entry for table \"t\"", 8),
        ("SELECT a FROM nosuch", "42P01", "relation \"nosuch\" does not exist", 15),
        ("SELECT 1,\n  nosuch(a) FROM t", "42883", "function nosuch(integer) does not exist", 13),
        ("SELECT lower(a) FROM t", "42883", "function lower(integer) does not exist", 8),
        ("SELECT a + c FROM t", "42883", "operator does not exist: integer + text", 10),
        ("SELECT a FROM t WHERE b = 'x'", "22P02", "invalid input syntax for type bigint: \"x\"", 27),
        ("SELECT int 'x'", "22P02", "invalid input syntax for type integer: \"x\"", 12),
        ("SELECT 1::nosuch", "42704", "type \"nosuch\" does not exist", 11),
        ("SELECT a FROM t WHERE c", "42804", "argument of WHERE must be type boolean, not type text", 23),
        ("SELECT NOT a FROM t", "42804", "argument of NOT must be type boolean, not type integer", 12),
        ("SELECT a FROM t ORDER BY nosuch", "42703", "column \"nosuch\" does not exist", 26),
        ("VALUES (1, 2), (3)", "42601", "VALUES lists must all be the same length", 17),
        ("UPDATE t SET nosuch = 1", "42703", "column \"nosuch\" of relation \"t\" does not exist", 14),
        ("DELETE FROM t x WHERE t.a = 1", "42P01", "invalid reference to FROM-clause entry for table \"t\"", 23),
        ("PREPARE p AS SELECT nosuch FROM t", "42703", "column \"nosuch\" does not exist", 21),
    ] {
        let e = error(sql);
        assert_eq!((e.code.as_str(), e.message.as_str(), e.position), (code, message, Some(position)), "{sql}");
    }
}

#[test]
fn grouped_calls_match_whatever_their_positions() {
    assert_eq!(types("SELECT lower(c) || 'x', count(*) FROM t GROUP BY lower(c)"), [SqlType::Text, SqlType::Int8]);
}

#[test]
fn values_take_one_type_a_column() {
    use SqlType::*;
    assert_eq!(types("VALUES (1, 'x', 1.5), (2, NULL, 2)"), [Int4, Text, Numeric(None)]);
    assert_eq!(types("SELECT * FROM (VALUES ('2020-01-01'), (DATE '2021-01-01')) v(d)"), [Date]);
    assert_eq!(types("SELECT a FROM t UNION SELECT '7'"), [Int4]);
    assert_eq!(error("VALUES (1), ('x')").code.as_str(), "22P02");
    assert_eq!(
        error("INSERT INTO t (a) VALUES (true)").message,
        "column \"a\" is of type integer but expression is of type boolean"
    );
}

#[test]
fn long_chains_are_planned_and_deep_ones_refused() {
    let or: Vec<String> = (0..5000).map(|i| format!("a = {i}")).collect();
    planned(&format!("SELECT a FROM t WHERE {}", or.join(" OR ")));
    planned(&format!("SELECT a FROM t WHERE a IN ({})", vec!["-1"; 5000].join(", ")));
    for deep in
        [vec!["1"; 5000].join(" + "), format!("{}1{}", "(".repeat(5000), ")".repeat(5000)), "- ".repeat(5000) + "1"]
    {
        assert_eq!(error(&format!("SELECT {deep}")).code.as_str(), "54001");
    }
}

#[test]
fn a_cte_hides_a_relation_only_in_its_scope() {
    let text = |sql: &str| match planned(sql).statement {
        Statement::CreateView { query, .. } => query,
        other => panic!("{other:?}"),
    };
    let inner = text("CREATE VIEW w AS SELECT x.a FROM t x WHERE x.a IN (WITH t AS (SELECT 2 AS a) SELECT a FROM t)");
    assert!(inner.contains("FROM public.t x") && inner.ends_with("SELECT a FROM t)"), "{inner}");
    let own = text("CREATE VIEW w AS WITH t AS (SELECT a FROM t) SELECT a FROM t");
    assert_eq!(own, "WITH t AS (SELECT a FROM public.t) SELECT a FROM t");
}

#[test]
fn explain_speaks_sql() {
    let Statement::Rows { rows, .. } = planned("EXPLAIN SELECT c, count(*) FROM t WHERE b > 1 GROUP BY c").statement
    else {
        panic!("EXPLAIN gives rows")
    };
    let text: Vec<String> = rows.iter().filter_map(|r| r[0].to_text()).collect();
    let text = text.join("\n");
    assert!(text.contains("count(*)") && text.contains("group by t.c") && text.contains("Scan t"), "{text}");
}

#[test]
fn a_subquery_without_columns_is_refused() {
    assert_eq!(error("SELECT (SELECT FROM t)").code.as_str(), "42601");
    assert_eq!(error("SELECT a FROM t WHERE a IN (SELECT FROM u)").code.as_str(), "42601");
}
