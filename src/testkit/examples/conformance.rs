//! Writes the answers of the conformance list: runs its expressions on a PostgreSQL of its own.
//!
//! Needs PostgreSQL 15 (on Debian the package `postgresql-15`); starts it with locale C, time zone UTC and PostgreSQL's other
//! defaults in a temporary directory, as another user where it is run as root.
//! `cargo run --release -p hw-testkit --example conformance`

use clap::Parser;
use hw_testkit::conformance::{self, Answer, Asker, Expression, Outcome, Topic};
use hw_testkit::postgres::Postgres;
use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Longer texts do not belong into a list that people read.
const TEXT_LENGTH_MAX: usize = 2500;
/// Writes PostgreSQL's answers to the conformance expressions.
#[derive(Parser)]
struct Args {
    /// Where `initdb` and `postgres` are.
    #[arg(long)]
    bin: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let postgres = Postgres::start(args.bin.as_deref())?;
    let mut asker = postgres.asker()?;
    let ids = create_tables(&mut asker)?;
    let (mut answered, mut failed) = (0, 0);
    for topic in conformance::topics()? {
        let mut entries = vec![];
        for expression in topic.entries {
            entries.push(answer(&mut asker, expression, &ids)?);
        }
        answered += entries.len();
        failed += entries.iter().filter(|a| a.type_name.is_none()).count();
        println!("{}: {}", topic.name, entries.len());
        conformance::write_answers(&Topic { name: topic.name, entries })?;
    }
    println!("{answered} expressions, {failed} of them without a type");
    Ok(())
}

/// The `id`s of every table.
type Ids = HashMap<String, Vec<String>>;

fn create_tables(asker: &mut Asker) -> Result<Ids> {
    let mut ids = Ids::new();
    for table in conformance::tables()? {
        for statement in &table.statements {
            asker.rows(statement)?;
        }
        let rows = asker.rows(&format!("SELECT id FROM {} ORDER BY id", table.name))?;
        ids.insert(table.name, rows.into_iter().flatten().flatten().collect());
    }
    Ok(ids)
}

fn answer(asker: &mut Asker, expression: Expression, ids: &Ids) -> Result<Answer> {
    let reply = asker.ask(&expression.query(""))?;
    let column = reply.columns.as_ref().and_then(|c| c.last().copied());
    let type_name = column.map(|c| asker.type_name(c)).transpose()?;
    let outcomes = match (reply.rows, &expression.from) {
        (Ok(rows), _) => rows.into_iter().map(|row| Outcome::Value(row.into_iter().next_back().flatten())).collect(),
        (Err(e), Some(table)) if type_name.is_some() => {
            let ids = ids.get(table).ok_or_else(|| format!("there is no table {table} ({e})"))?;
            ids.iter().map(|id| one_row(asker, &expression, id)).collect::<Result<Vec<_>>>()?
        }
        (Err(e), _) => vec![Outcome::Error(e.code)],
    };
    let length = outcomes.iter().map(|o| o.field().len()).max().unwrap_or_default();
    let lost = outcomes.iter().any(|o| matches!(o, Outcome::Error(code) if code == "08000" || code == "57014"));
    if length > TEXT_LENGTH_MAX || lost || outcomes.is_empty() {
        return Err(format!("no expression for this list: {}", expression.text).into());
    }
    Ok(Answer { expression, type_name, outcomes })
}

fn one_row(asker: &mut Asker, expression: &Expression, id: &str) -> Result<Outcome> {
    Ok(match asker.ask(&expression.query(&format!(" WHERE id = {id}")))?.rows {
        Ok(rows) => Outcome::Value(rows.into_iter().flatten().next_back().flatten()),
        Err(e) => Outcome::Error(e.code),
    })
}
