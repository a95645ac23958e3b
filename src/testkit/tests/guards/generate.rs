//! Small queries whose expressions fail for some rows, behind conditions that keep these rows away: WHERE, HAVING, ON, CASE, FILTER,
//! subqueries, CTEs, views and branches of set operations.

use hw_testkit::Random;

/// What the queries are over. The view is a plain one, so that it is merged into what reads it.
pub const TABLES: &[&str] = &[
    "CREATE TABLE c (k int, z int)",
    "INSERT INTO c VALUES (1, 1), (1, 0), (2, 5), (4, 0), (5, NULL)",
    "CREATE TABLE p (y int)",
    "INSERT INTO p VALUES (1), (2), (3)",
    "CREATE TABLE n (a int, b int)",
    "INSERT INTO n VALUES (1, 10), (2, NULL), (NULL, 30), (4, 40)",
    "CREATE TABLE t (k int, v text)",
    "INSERT INTO t VALUES (1, '12'), (2, 'x'), (3, NULL), (4, '7')",
    "CREATE VIEW safe AS SELECT k, z FROM c WHERE z <> 0",
];

/// A query of columns `k` and more.
pub fn query(r: &mut Random) -> String {
    let from = relation(r, 2);
    match r.below(9) {
        0 => format!("SELECT k, {} AS e FROM {from} q WHERE {}", guarded_value(r), conditions(r)),
        1 => format!("SELECT count(*) AS n FROM {from} q WHERE {}", conditions(r)),
        2 => format!(
            "SELECT q.k, p.y FROM {from} q JOIN p ON q.k {} p.y AND {} WHERE {}",
            r.pick(&["=", "=", "=", "<"]),
            conditions(r),
            conditions(r)
        ),
        3 => format!("SELECT k, sum(z) AS s FROM {from} q WHERE {} GROUP BY k HAVING {}", conditions(r), having(r)),
        4 => format!("SELECT k, sum({}) FILTER (WHERE {}) AS s FROM {from} q GROUP BY k", fallible(r), guard(r)),
        5 => {
            format!("WITH w AS (SELECT * FROM {from} q WHERE {}) SELECT k, z FROM w WHERE {}", guard(r), conditions(r))
        }
        6 => format!(
            "SELECT k FROM {from} q WHERE {} {} SELECT k FROM {} q WHERE {}",
            conditions(r),
            r.pick(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]),
            relation(r, 1),
            conditions(r)
        ),
        7 => format!("SELECT y, {} AS e FROM p WHERE {}", scalar(r), outer_conditions(r)),
        _ => format!("SELECT y FROM p WHERE {} AND {}", outer_guard(r), outer_conditions(r)),
    }
}

/// Something with columns `k` and `z`.
fn relation(r: &mut Random, depth: u64) -> String {
    if depth == 0 {
        return r.pick(&["c", "safe"]).into();
    }
    let of = relation(r, depth - 1);
    match r.below(8) {
        0 | 1 => of,
        2 => format!("(SELECT k, z FROM {of} q WHERE {})", guard(r)),
        3 => format!("(SELECT DISTINCT k, z FROM {of} q WHERE {})", conditions(r)),
        4 => format!("(SELECT k, max(z) AS z FROM {of} q WHERE {} GROUP BY k)", guard(r)),
        5 => format!("(SELECT k, sum(z)::int AS z FROM {of} q GROUP BY k HAVING {})", having(r)),
        6 => format!("(SELECT k, z FROM {of} q WHERE {} UNION SELECT y, y FROM p WHERE 6 / y > 2)", guard(r)),
        _ => format!("(SELECT q.k, q.z FROM {of} q JOIN n ON q.k = n.a WHERE {})", guard(r)),
    }
}

/// A condition on `k` and `z` that cannot fail.
fn guard(r: &mut Random) -> String {
    r.pick(&["z <> 0", "z > 0", "z <> 0 AND z <> 1", "k < 4", "k = 2", "z IS NOT NULL", "k > 1 OR z = 1"]).into()
}

fn fallible(r: &mut Random) -> String {
    r.pick(&["10 / z", "10 / (z - 1)", "6 / (k - 2)", "1000 / (z * k)", "10 % z"]).into()
}

fn test(r: &mut Random) -> String {
    let value = fallible(r);
    format!("{value} {} {}", r.pick(&[">", "<", "="]), r.below(6))
}

/// Conditions in WHERE: plain, guarded by CASE, by OR, or by what stands before.
fn conditions(r: &mut Random) -> String {
    match r.below(8) {
        0 => guard(r),
        1 => test(r),
        2 => format!("{} AND {}", guard(r), test(r)),
        3 => format!("CASE WHEN {} THEN {} ELSE k > 1 END", guard(r), test(r)),
        4 => format!("(z = 0 OR {})", test(r)),
        5 => format!("z <> 0 AND {} IN (SELECT y FROM p)", fallible(r)),
        6 => format!("{} AND EXISTS (SELECT 1 FROM p WHERE p.y = q.k AND {})", guard(r), "6 / p.y > 1"),
        _ => format!("z <> 0 AND ({} OR 10 / z > ALL (SELECT y FROM p))", test(r)),
    }
}

fn having(r: &mut Random) -> String {
    match r.below(4) {
        0 => "sum(z) <> 0".into(),
        1 => "10 / sum(z) > 1".into(),
        2 => "sum(z) <> 0 AND 10 / sum(z) > 1".into(),
        _ => "CASE WHEN sum(z) > 0 THEN 10 / sum(z) < 5 ELSE count(*) > 1 END".into(),
    }
}

fn guarded_value(r: &mut Random) -> String {
    match r.below(5) {
        0 => fallible(r),
        1 => format!("CASE WHEN z <> 0 THEN {} ELSE -1 END", fallible(r)),
        2 => format!("coalesce(nullif(z, 0), {})", fallible(r)),
        3 => format!("z <> 0 AND {} IN (SELECT a FROM n)", fallible(r)),
        _ => "CASE WHEN k > 1 THEN (SELECT sum(10 / (p.y - q.z)) FROM p WHERE p.y <> q.z) END".into(),
    }
}

fn outer_guard(r: &mut Random) -> String {
    r.pick(&["y > 1", "y < 3", "y <> 2", "y IS NOT NULL"]).into()
}

fn outer_conditions(r: &mut Random) -> String {
    match r.below(7) {
        0 => outer_guard(r),
        1 => format!("{} > 0", scalar(r)),
        2 => format!("y {} (SELECT {} FROM c WHERE {})", r.pick(&["IN", "NOT IN"]), fallible(r), guard(r)),
        3 => format!("y {} (SELECT a FROM n) OR y = 3", r.pick(&["IN", "NOT IN", "< ANY", ">= ALL"])),
        4 => format!("{}EXISTS (SELECT 10 / z FROM c WHERE c.k = p.y)", r.pick(&["", "NOT "])),
        5 => format!("{}EXISTS (SELECT 1 FROM c WHERE c.k = p.y AND {})", r.pick(&["", "NOT "]), conditions_in_c(r)),
        _ => format!("6 / (y - 1) > 1 OR {} IS NULL", scalar(r)),
    }
}

fn conditions_in_c(r: &mut Random) -> String {
    format!("{} AND {}", guard(r), test(r))
}

/// A correlated subquery of one value, or of several.
fn scalar(r: &mut Random) -> String {
    let inner = match r.below(7) {
        0 => "SELECT 10 / count(*) FROM c WHERE c.k = p.y".into(),
        1 => "SELECT 10 / sum(z) FROM c WHERE c.k = p.y".into(),
        2 => format!("SELECT max({}) FROM c WHERE c.k >= p.y AND {}", fallible(r), guard(r)),
        3 => "SELECT z FROM c WHERE c.k = p.y".into(),
        4 => format!("SELECT max(q.z) FROM {} q WHERE q.k = p.y", relation(r, 1)),
        5 => "SELECT count(*) FROM (SELECT k FROM c WHERE k = p.y UNION SELECT a FROM n WHERE a > p.y) u".into(),
        _ => "SELECT (SELECT 10 / max(z) FROM c WHERE c.k = n.a AND z > p.y) FROM n WHERE n.a = p.y".into(),
    };
    match r.below(3) {
        0 => format!("({inner})"),
        1 => format!("CASE WHEN y <> 1 THEN ({inner}) ELSE 0 END"),
        _ => format!("CASE WHEN y = 2 THEN ({inner}) END"),
    }
}
