//! What a change of one row costs, over state of one size and of ten times that: statement, fsynced tick log, operators and
//! the read that sees the change. Costs that grow with the state show as a ratio above 1.

use crate::{process, session};
use clap::Args;
use hw_coordinator::Session;
use std::time::Instant;

/// What to measure.
#[derive(Args)]
pub struct Options {
    /// Names of views; all where none.
    views: Vec<String>,
    /// Rows of the smaller tables.
    #[arg(long, default_value_t = 100_000)]
    rows: u64,
    /// How much more the larger ones hold.
    #[arg(long, default_value_t = 10)]
    times: u64,
    /// Changes measured.
    #[arg(long, default_value_t = 500)]
    changes: u64,
}

/// A view over `t` (k, g, v; a group has 100 rows) and `u` (k, w), and the read that a change is followed by.
struct View {
    name: &'static str,
    sql: &'static str,
    read: &'static str,
}

const VIEWS: &[View] = &[
    View { name: "projection", sql: "SELECT k, v + 1 AS w FROM t", read: "SELECT * FROM m WHERE k = 7" },
    View { name: "join", sql: "SELECT t.k, t.v, u.w FROM t JOIN u ON t.k = u.k", read: "SELECT * FROM m WHERE k = 7" },
    View {
        name: "outer join",
        sql: "SELECT t.k, t.v, u.w FROM t LEFT JOIN u ON t.k = u.k",
        read: "SELECT * FROM m WHERE k = 7",
    },
    View {
        name: "sum, count",
        sql: "SELECT g, sum(v) AS s, count(*) AS n FROM t GROUP BY g",
        read: "SELECT * FROM m WHERE g = 7",
    },
    View { name: "sum of all", sql: "SELECT sum(v) AS s, count(*) AS n FROM t", read: "SELECT * FROM m" },
    View {
        name: "min, max",
        sql: "SELECT g, min(v) AS a, max(v) AS b FROM t GROUP BY g",
        read: "SELECT * FROM m WHERE g = 7",
    },
    View { name: "max of all", sql: "SELECT max(v) AS s FROM t", read: "SELECT * FROM m" },
    View { name: "top-k", sql: "SELECT * FROM t ORDER BY v, k LIMIT 10", read: "SELECT * FROM m" },
    View {
        name: "row_number <= 3",
        sql: "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY g ORDER BY v, k) AS n FROM t) q WHERE n <= 3",
        read: "SELECT * FROM m WHERE g = 7",
    },
    View {
        name: "rank <= 3",
        // About ten rows of a group are its first.
        sql: "SELECT * FROM (SELECT *, rank() OVER (PARTITION BY g ORDER BY v % 10) AS n FROM t) q WHERE n <= 3",
        read: "SELECT * FROM m WHERE g = 7",
    },
    View {
        name: "distinct on",
        sql: "SELECT DISTINCT ON (g) * FROM t ORDER BY g, v, k",
        read: "SELECT * FROM m WHERE g = 7",
    },
    View { name: "distinct", sql: "SELECT DISTINCT v FROM t", read: "SELECT * FROM m WHERE v = 7" },
    View {
        name: "exists",
        sql: "SELECT k FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.k = t.k AND u.w > t.v)",
        read: "SELECT * FROM m WHERE k = 7",
    },
];

struct Figures {
    /// Median wall time of a change with its read, µs.
    wall: f64,
    /// CPU of the process for each, µs.
    cpu: f64,
}

/// Measures all, and prints a table.
pub fn all(options: &Options) -> Result<(), String> {
    let large = options.rows * options.times;
    println!(
        "{:<18}{:>14}{:>14}{:>8}{:>14}{:>14}{:>8}",
        "view",
        "wall µs",
        format!("x {}", options.times),
        "ratio",
        "CPU µs",
        format!("x {}", options.times),
        "ratio"
    );
    for view in VIEWS.iter().filter(|v| options.views.is_empty() || options.views.iter().any(|n| n == v.name)) {
        let (a, b) = (measure(view, options.rows, options.changes)?, measure(view, large, options.changes)?);
        println!(
            "{:<18}{:>14.0}{:>14.0}{:>8.2}{:>14.0}{:>14.0}{:>8.2}",
            view.name,
            a.wall,
            b.wall,
            b.wall / a.wall,
            a.cpu,
            b.cpu,
            b.cpu / a.cpu
        );
    }
    Ok(())
}

fn measure(view: &View, rows: u64, changes: u64) -> Result<Figures, String> {
    session::with(1, |mut session| async move {
        fill(&mut session, rows).await?;
        session::execute(&mut session, &format!("CREATE MATERIALIZED VIEW m AS {}", view.sql)).await?;
        session::execute(&mut session, view.read).await?;
        // What filling leaves to be done, merges and the first checkpoint, is no cost of a change.
        for settle in ["SELECT headwater.compact()", "CHECKPOINT"] {
            session::execute(&mut session, settle).await?;
        }
        // Places far apart; the first ones warm up.
        let place = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % rows;
        let mut walls = vec![];
        let mut cpu = 0.0;
        for n in 0..changes + 50 {
            if n == 50 {
                cpu = process::cpu_seconds();
            }
            let sql = format!("UPDATE t SET v = v + {} WHERE k = {}", if n % 2 == 0 { 1 } else { -1 }, place(n));
            let begun = Instant::now();
            session::execute(&mut session, &sql).await?;
            session::execute(&mut session, view.read).await?;
            if n >= 50 {
                walls.push(begun.elapsed().as_secs_f64() * 1e6);
            }
        }
        let cpu = (process::cpu_seconds() - cpu) * 1e6 / changes as f64;
        walls.sort_by(f64::total_cmp);
        Ok(Figures { wall: walls[walls.len() / 2], cpu })
    })
}

/// `t` and `u` with so many rows.
async fn fill(session: &mut Session, rows: u64) -> Result<(), String> {
    session::execute(session, "CREATE TABLE t (k bigint PRIMARY KEY, g bigint, v bigint)").await?;
    session::execute(session, "CREATE TABLE u (k bigint PRIMARY KEY, w bigint)").await?;
    for from in (0..rows).step_by(100_000) {
        let to = (from + 100_000).min(rows) - 1;
        let groups = rows / 100;
        let series = format!("generate_series({from}, {to}) k");
        session::execute(
            session,
            &format!("INSERT INTO t SELECT k, k % {groups}, k::bigint * 7919 % 1000003 FROM {series}"),
        )
        .await?;
        session::execute(session, &format!("INSERT INTO u SELECT k, k::bigint * 104729 % 1000003 FROM {series}"))
            .await?;
    }
    Ok(())
}
