//! Compares aggregates with PostgreSQL: random tables under random changes, every query as a maintained view and as a
//! SELECT. A case is one query after one change.
//!
//! Needs PostgreSQL 15, as the example `conformance`.
//! `cargo run --release -p hw-testkit --example aggregates -- --cases 10000`

use clap::Parser;
use hw_testkit::aggregates::{Contents, Query, create_table, differ, query, sorted};
use hw_testkit::postgres::Postgres;
use hw_testkit::rows::{rows, run};
use hw_testkit::{Random, Server};
use std::error::Error;
use std::path::PathBuf;
use tokio_postgres::{Client, NoTls};

/// Views that one table has at a time.
const VIEWS: u64 = 25;
/// Changes until there are new views.
const CHANGES: u64 = 40;
/// Differences that are shown.
const SHOWN_MAX: u64 = 20;

/// Compares aggregates with PostgreSQL's.
#[derive(Parser)]
struct Args {
    /// How many cases.
    #[arg(long, default_value_t = 10_000)]
    cases: u64,
    /// Where the randomness begins.
    #[arg(long, default_value_t = 20_261)]
    seed: u64,
    /// Where `initdb` and `postgres` are.
    #[arg(long)]
    bin: Option<PathBuf>,
}

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let args = Args::parse();
    let postgres = Postgres::start(args.bin.as_deref())?;
    drop(postgres.asker()?);
    tokio::runtime::Runtime::new()?.block_on(compare(&args, &postgres))
}

async fn compare(args: &Args, postgres: &Postgres) -> Result<()> {
    let config =
        format!("host={} port={} user=headwater dbname=headwater", postgres.addr().ip(), postgres.addr().port());
    let (oracle, connection) = tokio_postgres::connect(&config, NoTls).await?;
    tokio::spawn(connection);
    let server = Server::start(&[])?;
    let mut run = Run { random: Random::new(args.seed), server, oracle, cases: 0, differences: 0, unknown: 0 };
    let mut tables = 0;
    while run.cases < args.cases {
        tables += 1;
        run.table(&format!("t{tables}"), args.cases).await?;
    }
    println!(
        "seed {}: {tables} tables, {} cases, each as a view and as a SELECT: {} differences, {} not answered by PostgreSQL",
        args.seed, run.cases, run.differences, run.unknown
    );
    if run.differences > 0 { Err("there are differences".into()) } else { Ok(()) }
}

struct Run {
    random: Random,
    server: Server,
    oracle: Client,
    cases: u64,
    differences: u64,
    unknown: u64,
}

impl Run {
    /// A table with views, changed again and again.
    async fn table(&mut self, table: &str, cases: u64) -> Result<()> {
        let client = self.server.connect().await?;
        for system in [&client, &self.oracle] {
            run(system, &create_table(table)).await?;
        }
        let mut queries: Vec<Query> = vec![];
        for n in 0..VIEWS {
            let query = query(&mut self.random).over(table);
            let view = format!("CREATE MATERIALIZED VIEW {table}_v{n} AS {}", query.ours);
            run(&client, &view).await.map_err(|e| format!("{view}: {e}"))?;
            queries.push(query);
        }
        let mut contents = Contents::default();
        for _ in 0..CHANGES {
            let change = contents.change(&mut self.random, table);
            for system in [&client, &self.oracle] {
                run(system, &change).await.map_err(|e| format!("{change}: {e}"))?;
            }
            for (n, query) in queries.iter().enumerate() {
                self.case(&client, &format!("SELECT * FROM {table}_v{n}"), query, &change).await?;
                if self.cases >= cases {
                    return Ok(());
                }
            }
        }
        run(&client, &format!("DROP TABLE {table} CASCADE")).await?;
        Ok(())
    }

    async fn case(&mut self, client: &Client, view: &str, query: &Query, change: &str) -> Result<()> {
        self.cases += 1;
        let expected = match rows(&self.oracle, &query.postgres).await {
            Ok(rows) => sorted(rows),
            Err(e) => {
                self.unknown += 1;
                self.show(&format!("PostgreSQL: {e}\n{}", query.postgres));
                return Ok(());
            }
        };
        for text in [view, &query.ours] {
            let found = match rows(client, text).await {
                Ok(rows) if sorted(rows.clone()) == expected => continue,
                Ok(rows) => differ(&sorted(rows), &expected),
                Err(e) => format!("{e}\n"),
            };
            self.differences += 1;
            self.show(&format!("{text}\n{}\n{}\nafter {change}\n{found}", query.ours, query.postgres));
        }
        Ok(())
    }

    fn show(&self, text: &str) {
        if self.differences + self.unknown <= SHOWN_MAX {
            eprintln!("{text}");
        }
    }
}
