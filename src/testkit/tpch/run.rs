//! The tables and views on both systems, and the comparison.

use super::changes::Batch;
use super::data::{Data, TABLES, copy_line};
use crate::oracle::Definitions;
use crate::postgres::Postgres;
use crate::rows::{Bag, Refusal, Row, bag, difference, rows, run};
use crate::{HarnessError, Server, sql_tests};
use futures::SinkExt;
use std::io::Cursor;
use std::time::Instant;
use tokio_postgres::{Client, NoTls};

/// Bytes of one COPY message.
const COPY_BYTES: usize = 64 << 10;
/// What only PostgreSQL is told: it computes each query anew.
const POSTGRES_SETTINGS: &str = "SET statement_timeout = 0; SET work_mem = '64MB'; SET jit = off";
const POSTGRES_INDEXES: &[&str] = &[
    "CREATE INDEX ON lineitem (l_partkey, l_suppkey)",
    "CREATE INDEX ON lineitem (l_suppkey)",
    "CREATE INDEX ON orders (o_custkey)",
    "CREATE INDEX ON partsupp (ps_suppkey)",
];
/// Orders with a LIMIT that do not say which of equal rows is shown: made total, in both systems.
const TOTAL: &[(&str, &str)] = &[
    ("order by revenue desc, o_orderdate limit 10", "order by revenue desc, o_orderdate, l_orderkey limit 10"),
    ("order by revenue desc limit 20", "order by revenue desc, c_custkey limit 20"),
    ("order by o_totalprice desc, o_orderdate limit", "order by o_totalprice desc, o_orderdate, o_orderkey limit"),
];

/// What each view shows after something.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Rows of each view.
    pub rows: Vec<usize>,
    /// Views with a row that is not all NULL.
    pub filled: Vec<bool>,
    /// Names of views that differ from PostgreSQL's answer, and how.
    pub differences: Vec<String>,
}

/// What a load or a batch took.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// Rows written, as the command tags say.
    pub rows: u64,
    /// Seconds until the last statement was acknowledged.
    pub seconds: f64,
    /// The beginning of each statement, and its seconds.
    pub statements: Vec<(String, f64)>,
}

impl Done {
    fn took(&mut self, statement: String, begun: Instant) {
        let seconds = begun.elapsed().as_secs_f64();
        self.seconds += seconds;
        self.statements.push((statement, seconds));
    }

    /// The statement that took longest.
    pub fn longest(&self) -> (&str, f64) {
        let longest = self.statements.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        longest.map_or(("", 0.0), |(text, seconds)| (text, *seconds))
    }
}

/// A query's name and text.
pub type Query = (String, String);

/// The tables' definitions, and names and texts of the 22 queries at a scale. The order of each with a LIMIT is total.
pub fn queries(scale: f64) -> Result<(Vec<String>, Vec<Query>), HarnessError> {
    let found = Definitions::from_slt(&sql_tests().join("tpch.slt"))?;
    let views = found.views.into_iter().filter(|v| !v.optional).map(|view| {
        let mut query = view.query;
        TOTAL.iter().for_each(|(open, total)| query = query.replace(open, total));
        // The share that query 11 asks for is of a scale (clause 2.4.11.3).
        query = query.replace("* 0.0001 ", &format!("* {} ", 0.0001 / scale));
        (view.name, query)
    });
    Ok((found.setup, views.collect()))
}

fn refused(what: &str) -> impl Fn(Refusal) -> HarnessError + '_ {
    move |e| HarnessError(format!("{what}: {e} {}", e.more))
}

/// Headwater and PostgreSQL.
pub struct Systems {
    /// Headwater.
    pub server: Server,
    ours: Client,
    theirs: Client,
    queries: Vec<(String, String)>,
}

impl Systems {
    /// Connects to both and creates the tables.
    pub async fn new(server: Server, postgres: &Postgres, scale: f64) -> Result<Systems, HarnessError> {
        let ours = server.connect().await.map_err(|e| HarnessError(format!("connect: {e}")))?;
        let addr = postgres.addr();
        let config = format!("host={} port={} user=headwater dbname=headwater", addr.ip(), addr.port());
        let (theirs, connection) =
            tokio_postgres::connect(&config, NoTls).await.map_err(|e| HarnessError(format!("PostgreSQL: {e}")))?;
        tokio::spawn(connection);
        theirs.batch_execute(POSTGRES_SETTINGS).await.map_err(|e| HarnessError(format!("PostgreSQL: {e}")))?;
        let (tables, queries) = queries(scale)?;
        for table in &tables {
            for client in [&ours, &theirs] {
                run(client, table).await.map_err(refused(table))?;
            }
        }
        Ok(Systems { server, ours, theirs, queries })
    }

    /// How many queries there are.
    pub fn views(&self) -> usize {
        self.queries.len()
    }

    /// The name of a view.
    pub fn name(&self, view: usize) -> &str {
        &self.queries[view].0
    }

    /// Creates some of the views; seconds.
    pub async fn create(&self, views: std::ops::Range<usize>) -> Result<f64, HarnessError> {
        let begun = Instant::now();
        for (name, query) in &self.queries[views] {
            let sql = format!("CREATE MATERIALIZED VIEW {name} AS {query}");
            run(&self.ours, &sql).await.map_err(refused(&sql))?;
        }
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Fills Headwater's tables.
    pub async fn load(&self, data: &Data) -> Result<Done, HarnessError> {
        load(&self.ours, data).await
    }

    /// Fills PostgreSQL's.
    pub async fn load_postgres(&self, data: &Data) -> Result<(), HarnessError> {
        load(&self.theirs, data).await?;
        for sql in POSTGRES_INDEXES.iter().chain(&["ANALYZE"]) {
            run(&self.theirs, sql).await.map_err(refused(sql))?;
        }
        Ok(())
    }

    /// Makes a batch's changes in Headwater.
    pub async fn change(&self, batch: &Batch) -> Result<Done, HarnessError> {
        apply(&self.ours, batch).await
    }

    /// Makes them in PostgreSQL.
    pub async fn change_postgres(&self, batch: &Batch) -> Result<Done, HarnessError> {
        apply(&self.theirs, batch).await
    }

    /// What each view shows now: a read comes after every commit that was acknowledged before it. Second: seconds that each
    /// took.
    pub async fn read(&self) -> Result<(Vec<Bag>, Vec<f64>), HarnessError> {
        let (mut all, mut seconds) = (vec![], vec![]);
        for (name, _) in &self.queries {
            let begun = Instant::now();
            let sql = format!("SELECT * FROM {name}");
            all.push(bag(&self.ours, &sql).await.map_err(refused(&sql))?);
            seconds.push(begun.elapsed().as_secs_f64());
        }
        Ok((all, seconds))
    }

    /// Compares what views have shown with what PostgreSQL computes now, as texts.
    pub async fn compare(&self, shown: &[Bag]) -> Result<Answers, HarnessError> {
        let mut out = Answers::default();
        for ((name, query), ours) in self.queries.iter().zip(shown) {
            let mut theirs = Bag::new();
            for row in rows(&self.theirs, query).await.map_err(refused(query))? {
                *theirs.entry(row).or_default() += 1;
            }
            out.rows.push(ours.values().sum::<i64>() as usize);
            out.filled.push(ours.keys().any(|row: &Row| row.iter().any(Option::is_some)));
            if *ours != theirs {
                out.differences.push(format!("{name}: Headwater < > PostgreSQL\n{}", difference(ours, &theirs)));
            }
        }
        Ok(out)
    }

    /// Kills the server and starts it again on the same data.
    pub async fn restart(&mut self) -> Result<(), HarnessError> {
        self.server.kill()?;
        self.server.restart()?;
        self.ours = self.server.connect().await.map_err(|e| HarnessError(format!("connect: {e}")))?;
        Ok(())
    }
}

async fn apply(client: &Client, batch: &Batch) -> Result<Done, HarnessError> {
    let mut done = Done::default();
    for block in &batch.blocks {
        let several = block.len() > 1;
        let ends = |word: &str| several.then(|| word.to_string());
        for sql in ends("BEGIN").iter().chain(block).chain(&ends("COMMIT")) {
            let (begun, text) = (Instant::now(), sql.chars().take(60).collect::<String>());
            done.rows += run(client, sql).await.map_err(refused(&text))?;
            done.took(text, begun);
        }
    }
    Ok(done)
}

async fn load(client: &Client, data: &Data) -> Result<Done, HarnessError> {
    let mut done = Done::default();
    for table in TABLES {
        let begun = Instant::now();
        done.rows += copy(client, data, table).await?;
        done.took(format!("COPY {table}"), begun);
    }
    Ok(done)
}

async fn copy(client: &Client, data: &Data, table: &str) -> Result<u64, HarnessError> {
    let failed = |e: tokio_postgres::Error| HarnessError(format!("COPY {table}: {}", Refusal::from(e)));
    let mut messages = vec![];
    let mut text = String::new();
    data.rows(table, |row| {
        text.push_str(&copy_line(&row));
        if text.len() > COPY_BYTES {
            messages.push(std::mem::take(&mut text));
        }
    });
    messages.push(text);
    let sink = client.copy_in::<_, Cursor<Vec<u8>>>(&format!("COPY {table} FROM STDIN")).await.map_err(failed)?;
    tokio::pin!(sink);
    for message in messages {
        sink.send(Cursor::new(message.into_bytes())).await.map_err(failed)?;
    }
    sink.finish().await.map_err(failed)
}
