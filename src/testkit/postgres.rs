//! A PostgreSQL of its own, to ask what it answers.
//!
//! Needs PostgreSQL 15 (on Debian the package `postgresql-15`); runs it with locale C, time zone UTC and PostgreSQL's other
//! defaults in a temporary directory, as another user where this is run as root.

use crate::HarnessError;
use crate::conformance::Asker;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The major version that answers.
const VERSION: u32 = 15;
/// Who owns PostgreSQL's files where this runs as root: `nobody`.
const UNPRIVILEGED: u32 = 65_534;
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

fn find_binaries() -> Result<PathBuf, HarnessError> {
    let debian = PathBuf::from(format!("/usr/lib/postgresql/{VERSION}/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::iter::once(debian).chain(std::env::split_paths(&path));
    let found = places.find(|dir| dir.join("initdb").is_file() && dir.join("postgres").is_file());
    found.ok_or_else(|| HarnessError(format!("PostgreSQL {VERSION} is not installed; --bin names its directory")))
}

/// A running PostgreSQL, gone when it is dropped.
pub struct Postgres {
    child: Child,
    addr: SocketAddr,
    _data: tempfile::TempDir,
}

impl Postgres {
    /// Starts one from the binaries in `bin`, or from where they are usually installed.
    pub fn start(bin: Option<&Path>) -> Result<Postgres, HarnessError> {
        let bin = bin.map_or_else(find_binaries, |b| Ok(b.to_path_buf()))?;
        Postgres::start_from(&bin).map_err(HarnessError::wrap("PostgreSQL"))
    }

    fn start_from(bin: &Path) -> std::io::Result<Postgres> {
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
        if let Some(input) = &mut single.stdin {
            input.write_all(b"CREATE DATABASE headwater\n")?;
        }
        if !made.success() || !single.wait()?.success() {
            return Err(std::io::Error::other("initdb has failed"));
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

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Connects as soon as it answers.
    pub fn asker(&self) -> Result<Asker, HarnessError> {
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
                Ok((_, version)) => {
                    return Err(HarnessError(format!("version {VERSION} is needed, this is {version}")));
                }
                Err(e) if begun.elapsed() > Duration::from_secs(READY_SECONDS_MAX) => return Err(e),
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
