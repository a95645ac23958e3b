//! Writes the answers of the conformance list: runs its expressions on a PostgreSQL of its own.
//!
//! Needs PostgreSQL 15 (on Debian the package `postgresql-15`); starts it with locale C, time zone UTC and PostgreSQL's other
//! defaults in a temporary directory, as another user where it is run as root.
//! `cargo run --release -p hw-testkit --example conformance`

use clap::Parser;
use hw_testkit::HarnessError;
use hw_testkit::conformance::{self, Answer, Asker, Expression, Outcome, Topic};
use std::collections::HashMap;
use std::error::Error;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The major version whose answers are kept.
const VERSION: u32 = 15;
/// Who owns PostgreSQL's files where this runs as root: `nobody`.
const UNPRIVILEGED: u32 = 65_534;
/// Longer texts do not belong into a list that people read.
const TEXT_LENGTH_MAX: usize = 2500;
const READY_SECONDS_MAX: u64 = 30;
const SETTINGS: &[&str] = &[
    "TimeZone=UTC",
    "DateStyle=ISO, MDY",
    "IntervalStyle=postgres",
    "extra_float_digits=1",
    "bytea_output=hex",
    "lc_messages=C",
    "statement_timeout=5s",
    "fsync=off",
    "unix_socket_directories=",
    "listen_addresses=127.0.0.1",
];

/// Writes PostgreSQL's answers to the conformance expressions.
#[derive(Parser)]
struct Args {
    /// Where `initdb` and `postgres` are.
    #[arg(long)]
    bin: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let postgres = Postgres::start(&args.bin.map_or_else(find_binaries, Ok)?)?;
    let mut asker = postgres.connect()?;
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

fn find_binaries() -> Result<PathBuf> {
    let debian = PathBuf::from(format!("/usr/lib/postgresql/{VERSION}/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::iter::once(debian).chain(std::env::split_paths(&path));
    let found = places.find(|dir| dir.join("initdb").is_file() && dir.join("postgres").is_file());
    found.ok_or_else(|| format!("PostgreSQL {VERSION} is not installed; --bin names its directory").into())
}

/// A running PostgreSQL, gone when it is dropped.
struct Postgres {
    child: Child,
    addr: SocketAddr,
    _data: tempfile::TempDir,
}

impl Postgres {
    fn start(bin: &Path) -> Result<Postgres> {
        let data = tempfile::tempdir()?;
        let root = std::fs::metadata(data.path())?.uid() == 0;
        if root {
            chown(data.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED))?;
        }
        let command = |name: &str| {
            let mut command = Command::new(bin.join(name));
            command.current_dir(data.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if root {
                command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
            }
            command
        };
        let cluster = data.path().join("cluster");
        let made = command("initdb")
            .args(["--locale=C", "--encoding=UTF8", "--username=headwater", "--auth=trust", "--no-sync", "--pgdata"])
            .arg(&cluster)
            .status()?;
        let mut single = command("postgres");
        let mut single =
            single.args(["--single", "-D"]).arg(&cluster).arg("template1").stdin(Stdio::piped()).spawn()?;
        single.stdin.take().ok_or("no input")?.write_all(b"CREATE DATABASE headwater\n")?;
        if !made.success() || !single.wait()?.success() {
            return Err("initdb has failed".into());
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut server = command("postgres");
        server.arg("-D").arg(&cluster).args(["-p", &port.to_string()]);
        for setting in SETTINGS {
            server.args(["-c", setting]);
        }
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Postgres { child: server.spawn()?, addr, _data: data })
    }

    /// Connects as soon as it answers.
    fn connect(&self) -> Result<Asker> {
        let begun = Instant::now();
        loop {
            let tried = Asker::connect(self.addr).and_then(|mut asker| {
                let version = asker.rows("SHOW server_version_num")?;
                Ok((asker, version.into_iter().flatten().flatten().next().unwrap_or_default()))
            });
            match tried {
                Ok((asker, version)) if version.parse::<u32>().is_ok_and(|v| v / 10_000 == VERSION) => {
                    return Ok(asker);
                }
                Ok((_, version)) => return Err(format!("version {VERSION} is needed, this is {version}").into()),
                Err(HarnessError(e)) if begun.elapsed() > Duration::from_secs(READY_SECONDS_MAX) => {
                    return Err(e.into());
                }
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, but so that it removes its shared memory. It may have ended already, which is as good.
        let _ = Command::new("sh").arg("-c").arg(format!("kill -QUIT {}", self.child.id())).status();
        let _ = self.child.wait();
    }
}
