//! What COPY costs the server: a table with a view over it is filled, over the wire, while its CPU time and memory are
//! watched. Then the table is read back.
//!
//! `cargo run --release -p hw-testkit --example copy -- --rows 1000000`

use bytes::Bytes;
use clap::Parser;
use futures::{SinkExt, StreamExt};
use hw_testkit::Server;
use hw_testkit::process::{cpu_seconds, peak_memory, resident_memory};
use hw_testkit::rows::{run, value};
use std::error::Error;
use std::time::Instant;

/// Fills and reads a table.
#[derive(Parser)]
struct Args {
    /// Rows of one COPY.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// How many COPY one after the other.
    #[arg(long, default_value_t = 3)]
    times: u64,
    /// Without a primary key.
    #[arg(long)]
    no_key: bool,
    /// As CSV.
    #[arg(long)]
    csv: bool,
    /// Worker threads.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Rows a message.
    #[arg(long, default_value_t = 500)]
    chunk: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let server = Server::start(&["--workers", &args.workers.to_string()])?;
    let client = server.connect().await?;
    let key = if args.no_key { "" } else { " PRIMARY KEY" };
    run(&client, &format!("CREATE TABLE t (id bigint{key}, g int NOT NULL, name text, amount numeric(12,2))")).await?;
    run(&client, "CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS n, sum(amount) AS s FROM t GROUP BY g").await?;
    let before = resident_memory(server.pid())? >> 20;
    let separator = if args.csv { ',' } else { '\t' };
    for time in 0..args.times {
        let (cpu, begun) = (cpu_seconds(server.pid())?, Instant::now());
        let sql = if args.csv { "COPY t FROM STDIN WITH (FORMAT csv)" } else { "COPY t FROM STDIN" };
        let sink = client.copy_in::<_, Bytes>(sql).await?;
        tokio::pin!(sink);
        let mut bytes = 0;
        for chunk in 0..args.rows.div_ceil(args.chunk) {
            let mut text = String::new();
            for i in chunk * args.chunk..((chunk + 1) * args.chunk).min(args.rows) {
                let id = time * args.rows + i;
                let (g, cents) = (id % 1000, id % 100_000);
                text.push_str(&format!(
                    "{id}{separator}{g}{separator}name {}{separator}{}.{:02}\n",
                    id * 7919 % 1_000_003,
                    cents / 100,
                    cents % 100
                ));
            }
            bytes += text.len();
            sink.send(Bytes::from(text)).await?;
        }
        let copied = sink.finish().await?;
        let wall = begun.elapsed().as_secs_f64();
        let shown = value(&client, "SELECT sum(n) FROM v").await?;
        assert_eq!(shown, Some(((time + 1) * args.rows).to_string()), "the view lacks rows");
        let cpu = cpu_seconds(server.pid())? - cpu;
        println!(
            "COPY {copied}: {:.1} MB in {wall:.2} s, {cpu:.2} CPU s of the server, {:.0} rows per CPU second; \
             resident {} MB (before all: {before}), peak {} MB",
            bytes as f64 / 1e6,
            copied as f64 / cpu,
            resident_memory(server.pid())? >> 20,
            peak_memory(server.pid())? >> 20,
        );
    }
    let (cpu, begun) = (cpu_seconds(server.pid())?, Instant::now());
    let stream = client.copy_out("COPY t TO STDOUT").await?;
    tokio::pin!(stream);
    let mut rows = 0;
    while let Some(data) = stream.next().await {
        rows += data?.iter().filter(|b| **b == b'\n').count();
    }
    let cpu = cpu_seconds(server.pid())? - cpu;
    println!("COPY TO {rows}: {:.2} s, {:.0} rows per CPU second", begun.elapsed().as_secs_f64(), rows as f64 / cpu);
    Ok(())
}
