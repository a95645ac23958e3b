//! The command line, the environment and the configuration file.
//!
//! The same names everywhere: `--data-dir`, `HEADWATER_DATA_DIR`, `data-dir = "..."`. The command line wins over the
//! environment, the environment over the file, the file over the defaults.

use clap::{Args, Parser, Subcommand};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A streaming SQL database that speaks PostgreSQL's protocol.
#[derive(Parser, Debug)]
#[command(name = "headwater", version, about)]
pub struct CommandLine {
    /// What to do; `start` when omitted.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Settings of the server.
    #[command(flatten)]
    pub options: Options,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Start a server (the default).
    Start,
    /// Start a server and apply .sql files to it, in path order.
    Run {
        /// Files, or directories whose .sql files are applied.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Read every file of a data directory that no server uses, and say what is damaged; changes nothing.
    Verify {
        /// The directory, instead of --data-dir.
        directory: Option<PathBuf>,
    },
    /// Say what of a damaged data directory can be saved and what is lost, and with --accept-loss do it.
    ///
    /// For what a start refuses with XX001, where there is no backup. No server may use the directory. Without --accept-loss
    /// nothing is changed. Nothing is deleted: what is replaced is kept in DIRECTORY/repaired-<time>. Ends with 0 where
    /// nothing is damaged, or all is repaired.
    Repair {
        /// The directory, instead of --data-dir.
        directory: Option<PathBuf>,
        /// Do it, and lose what is listed as lost.
        #[arg(long)]
        accept_loss: bool,
    },
    /// List the points at which HEADWATER_FAILPOINT=NAME[:COUNT] ends the process, for crash tests.
    #[command(hide = true)]
    FailPoints,
}

/// Settings as given; what is absent is taken from the next source.
#[derive(Args, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Options {
    /// Where the data is kept [default: ./headwater-data]
    #[arg(long, env = "HEADWATER_DATA_DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// Address for PostgreSQL clients [default: 127.0.0.1:7432]
    #[arg(long, env = "HEADWATER_PG_ADDR", global = true)]
    pub pg_addr: Option<String>,
    /// Address for /healthz, /readyz and /metrics [default: 127.0.0.1:7480]
    #[arg(long, env = "HEADWATER_HTTP_ADDR", global = true)]
    pub http_addr: Option<String>,
    /// Dataflow worker threads [default: half the cores]
    #[arg(long, env = "HEADWATER_WORKERS", global = true)]
    pub workers: Option<usize>,
    /// Memory limit of the process: bytes, or with a unit, such as 4GiB [default: none]
    #[arg(long, env = "HEADWATER_MEMORY_LIMIT", global = true)]
    pub memory_limit: Option<String>,
    /// Seconds between checkpoints while there are changes [default: 10]
    #[arg(long, env = "HEADWATER_CHECKPOINT_INTERVAL", global = true)]
    pub checkpoint_interval: Option<u64>,
    /// Seconds for which SUBSCRIBE ... AS OF can go back [default: 60]
    #[arg(long, env = "HEADWATER_SUBSCRIBE_RESUME", global = true)]
    pub subscribe_resume: Option<u64>,
    /// Client sessions at once [default: 1000]
    #[arg(long, env = "HEADWATER_MAX_CONNECTIONS", global = true)]
    pub max_connections: Option<usize>,
    /// Compute a materialized view (name or schema.name) anew at this start; what it has shown is corrected. May be repeated
    #[arg(long, value_name = "VIEW", global = true)]
    #[serde(skip)]
    pub recompute: Vec<String>,
    /// A toml file with these same names
    #[arg(long, env = "HEADWATER_CONFIG", global = true)]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

/// Settings with every source taken into account.
#[derive(Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the data is kept.
    pub data_dir: PathBuf,
    /// Address for PostgreSQL clients, to be resolved.
    pub pg_addr: String,
    /// Address of the HTTP endpoints, to be resolved.
    pub http_addr: String,
    /// Dataflow worker threads, at least 1.
    pub workers: usize,
    /// In bytes.
    pub memory_limit: Option<usize>,
    /// Between checkpoints, while there are changes.
    pub checkpoint_interval: Duration,
    /// History that is kept of a relation once it was subscribed to.
    pub subscribe_resume: Duration,
    /// Client sessions at once.
    pub max_connections: usize,
    /// Materialized views that this start computes anew.
    pub recompute: Vec<String>,
}

impl Options {
    /// Fills in the file's settings and the defaults. The error is for the user.
    pub fn resolve(self) -> Result<Config, String> {
        let file = match &self.config {
            Some(path) => read_file(path)?,
            None => Options::default(),
        };
        let workers = self.workers.or(file.workers);
        if workers == Some(0) {
            return Err("workers must be at least 1".into());
        }
        let interval = self.checkpoint_interval.or(file.checkpoint_interval).unwrap_or(10);
        if interval == 0 {
            return Err("checkpoint-interval must be at least 1 second".into());
        }
        // The other half reads, decodes, logs, answers (docs/adr/0006-latency.md).
        let half = || (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1);
        let text = |a: Option<String>, b: Option<String>, default: &str| a.or(b).unwrap_or_else(|| default.into());
        Ok(Config {
            data_dir: self.data_dir.or(file.data_dir).unwrap_or_else(|| "./headwater-data".into()),
            pg_addr: text(self.pg_addr, file.pg_addr, "127.0.0.1:7432"),
            http_addr: text(self.http_addr, file.http_addr, "127.0.0.1:7480"),
            workers: workers.unwrap_or_else(half),
            memory_limit: self.memory_limit.or(file.memory_limit).map(|m| parse_bytes(&m)).transpose()?,
            checkpoint_interval: Duration::from_secs(interval),
            subscribe_resume: Duration::from_secs(self.subscribe_resume.or(file.subscribe_resume).unwrap_or(60)),
            max_connections: self.max_connections.or(file.max_connections).unwrap_or(1000),
            recompute: self.recompute,
        })
    }
}

fn read_file(path: &Path) -> Result<Options, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    toml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
}

/// `1073741824`, `512MiB`, `4GB` (powers of 1024 for both spellings, as PostgreSQL counts).
pub fn parse_bytes(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(format!("not a number of bytes: {text:?} (units: kB, MB, GB, TB)")),
    };
    let number: usize = number.parse().map_err(|_| format!("not a number of bytes: {text:?}"))?;
    number.checked_mul(1 << shift).filter(|n| *n > 0).ok_or_else(|| format!("number of bytes out of range: {text:?}"))
}

/// HEADWATER_PASSWORD, or the first line of the file that HEADWATER_PASSWORD_FILE names. Empty means none.
pub fn initial_password() -> Result<Option<String>, String> {
    let password = match (std::env::var("HEADWATER_PASSWORD"), std::env::var_os("HEADWATER_PASSWORD_FILE")) {
        (Ok(_), Some(_)) => return Err("set HEADWATER_PASSWORD or HEADWATER_PASSWORD_FILE, not both".into()),
        (Ok(password), None) => password,
        (Err(std::env::VarError::NotUnicode(_)), _) => return Err("HEADWATER_PASSWORD is not UTF-8".into()),
        (Err(_), None) => return Ok(None),
        (Err(_), Some(path)) => {
            let text = std::fs::read_to_string(&path)
                .map_err(|e| format!("cannot read HEADWATER_PASSWORD_FILE {}: {e}", Path::new(&path).display()))?;
            text.lines().next().unwrap_or_default().to_owned()
        }
    };
    Ok(Some(password).filter(|p| !p.is_empty()))
}

/// HEADWATER_FAILPOINT: where the process shall end as by `kill -9`, for crash tests.
pub fn fail_point() -> Result<Option<String>, String> {
    match std::env::var("HEADWATER_FAILPOINT") {
        Ok(point) => Ok(Some(point)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err("HEADWATER_FAILPOINT is not UTF-8".into()),
    }
}

/// Why these addresses may not be listened on, if so.
pub fn refuse_open_listener(pg: SocketAddr, has_password: bool) -> Result<(), String> {
    if pg.ip().is_loopback() || has_password {
        return Ok(());
    }
    Err(format!(
        "refusing to listen on {pg}: it is not a loopback address and no role has a password. \
         Set HEADWATER_PASSWORD (or HEADWATER_PASSWORD_FILE), or start on 127.0.0.1 and \
         run ALTER ROLE headwater PASSWORD '...' first."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_wins_over_file_and_file_over_default() {
        let file = std::env::temp_dir().join(format!("headwater-config-{}.toml", std::process::id()));
        std::fs::write(&file, "workers = 3\npg-addr = \"127.0.0.1:1\"\nmemory-limit = \"2GiB\"\n").expect("written");
        let path = file.to_str().expect("UTF-8");
        let line = CommandLine::parse_from(["headwater", "run", "a.sql", "--config", path, "--workers", "2"]);
        assert!(matches!(&line.command, Some(Command::Run { paths }) if paths == &[PathBuf::from("a.sql")]));
        let config = line.options.resolve().expect("valid");
        assert_eq!((config.workers, config.pg_addr.as_str()), (2, "127.0.0.1:1"));
        assert_eq!((config.memory_limit, config.http_addr.as_str()), (Some(2 << 30), "127.0.0.1:7480"));
        std::fs::write(&file, "wokers = 3\n").expect("written");
        let line = CommandLine::parse_from(["headwater", "--config", path]);
        assert!(line.options.resolve().expect_err("misspelt").contains("wokers"));
        std::fs::remove_file(&file).expect("removed");
    }

    #[test]
    fn bytes() {
        assert_eq!(parse_bytes("512 MiB"), Ok(512 << 20));
        assert_eq!(parse_bytes("4096"), Ok(4096));
        for bad in ["", "GB", "0", "4 parsecs", "99999999999999TB", "-1"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn open_listeners_need_a_password() {
        let open: SocketAddr = "0.0.0.0:7432".parse().expect("address");
        assert!(refuse_open_listener(open, false).is_err());
        assert!(refuse_open_listener(open, true).is_ok());
        assert!(refuse_open_listener("[::1]:1".parse().expect("address"), false).is_ok());
    }
}
