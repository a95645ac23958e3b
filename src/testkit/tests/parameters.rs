//! Parameters where drivers put them: LIMIT and OFFSET of every type that counts, names of types that are looked up.

use hw_testkit::rows::run;
use hw_testkit::{Server, binary};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

async fn started(statements: &[&str]) -> (Server, Client) {
    assert!(binary().is_some(), "build the server first: cargo build --release");
    let server = Server::start(&["--workers", "1"]).expect("the server starts");
    let client = server.connect().await.expect("connect");
    for sql in statements {
        run(&client, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    (server, client)
}

async fn numbers(
    client: &Client,
    sql: &str,
    types: &[Type],
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<i32>, String> {
    let prepared = client.prepare_typed(sql, types).await.map_err(|e| format!("{e:?}"))?;
    let rows = client.query(&prepared, params).await;
    rows.map(|rows| rows.iter().map(|r| r.get(0)).collect())
        .map_err(|e| e.code().map_or(String::new(), |c| c.code().into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_every_integer() {
    let (_server, client) = started(&["CREATE TABLE t (a int)", "INSERT INTO t VALUES (1), (2), (3), (4)"]).await;
    let sql = "SELECT a FROM t ORDER BY a LIMIT $1 OFFSET $2";
    let types = [Type::INT2, Type::INT4];
    assert_eq!(numbers(&client, sql, &types, &[&2i16, &1i32]).await, Ok(vec![2, 3]));
    assert_eq!(numbers(&client, sql, &types, &[&None::<i16>, &2i32]).await, Ok(vec![3, 4]));
    assert_eq!(numbers(&client, sql, &types, &[&-1i16, &0i32]).await, Err("2201W".into()));
    assert_eq!(numbers(&client, sql, &types, &[&1i16, &-1i32]).await, Err("2201X".into()));
    assert_eq!(numbers(&client, sql, &[], &[&1i64, &3i64]).await, Ok(vec![4]));
    let sum = "SELECT a FROM t ORDER BY a LIMIT $1 + 1";
    assert_eq!(numbers(&client, sum, &[Type::INT4], &[&1i32]).await, Ok(vec![1, 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn types_are_found_by_their_names() {
    let statements = ["CREATE TYPE mood AS ENUM ('sad', 'ok')", "CREATE TYPE pair AS (x int, y text)"];
    let (_server, client) = started(&statements).await;
    // As drivers ask for the labels of an enum.
    let labels = "SELECT name, oid, array_oid, array_agg(label) AS labels FROM (\
                  SELECT t.typname AS name, t.oid AS oid, t.typarray AS array_oid, e.enumlabel AS label \
                  FROM pg_type t LEFT JOIN pg_enum e ON t.oid = e.enumtypid \
                  WHERE t.oid = to_regtype($1) ORDER BY e.enumsortorder) x GROUP BY name, oid, array_oid";
    let rows = client.query(labels, &[&"mood"]).await.expect("labels");
    assert_eq!(rows.len(), 1);
    // An aggregate without an order of its own does not see that of a subquery.
    let mut labels = rows[0].get::<_, Vec<String>>(3);
    labels.sort_unstable();
    assert_eq!(labels, ["ok", "sad"]);
    // And for the fields of a composite type.
    let fields = "SELECT t.typname AS name, t.oid AS oid, t.typarray AS array_oid, t.oid::regtype::text AS regtype, \
                  coalesce(a.fnames, '{}') AS field_names, coalesce(a.ftypes, '{}') AS field_types \
                  FROM pg_type t LEFT JOIN (\
                  SELECT attrelid, array_agg(attname) AS fnames, array_agg(atttypid) AS ftypes FROM (\
                  SELECT a.attrelid, a.attname, a.atttypid FROM pg_attribute a JOIN pg_type t ON t.typrelid = a.attrelid \
                  WHERE t.oid = to_regtype($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) x \
                  GROUP BY attrelid) a ON a.attrelid = t.typrelid WHERE t.oid = to_regtype($1)";
    let rows = client.query(fields, &[&"pair"]).await.expect("fields");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<_, Vec<String>>(4), ["x", "y"]);
    let none = client.query("SELECT 1 WHERE to_regtype('nothing') IS NULL", &[]).await.expect("none");
    assert_eq!(none.len(), 1);
}
