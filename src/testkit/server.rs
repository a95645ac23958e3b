//! A `headwater` process.

use crate::HarnessError;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

/// How long a server may take until it answers statements.
const READY_SECONDS_MAX: u64 = 180;

/// The server's binary: `HEADWATER_BIN`, or the release build beside the running test. `None` where it is not built.
pub fn binary() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("HEADWATER_BIN") {
        return Some(path.into());
    }
    let test = std::env::current_exe().ok()?;
    test.ancestors().map(|dir| dir.join("headwater")).find(|path| path.is_file())
}

/// A running server with a data directory of its own.
#[derive(Debug)]
pub struct Server {
    /// Where PostgreSQL clients connect.
    pub pg_addr: SocketAddr,
    /// Where the HTTP endpoints are.
    pub http_addr: SocketAddr,
    child: Child,
    args: Vec<String>,
    data: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Server {
    /// Starts one on free ports, with these further arguments, and waits until it is ready.
    pub fn start(args: &[&str]) -> Result<Server, HarnessError> {
        let data = tempfile::tempdir().map_err(HarnessError::wrap("temporary directory"))?;
        let mut server = Server::start_in(data.path(), args)?;
        server._temporary = Some(data);
        Ok(server)
    }

    /// The same on a data directory that stays.
    pub fn start_in(data: &Path, args: &[&str]) -> Result<Server, HarnessError> {
        let args: Vec<String> = args.iter().map(|a| a.to_string()).collect();
        let (child, pg_addr, http_addr) = must_be_ready(spawn(&args, data, None)?)?;
        Ok(Server { pg_addr, http_addr, child, args, data: data.to_path_buf(), _temporary: None })
    }

    /// The same with a fail point (`name:count`) armed. `None` where it has passed that point before it was ready.
    pub fn start_armed_in(data: &Path, args: &[&str], point: &str) -> Result<Option<Server>, HarnessError> {
        let args: Vec<String> = args.iter().map(|a| a.to_string()).collect();
        let (child, pg_addr, http_addr) = match spawn(&args, data, Some(point))? {
            Spawned::Ended(status) if has_aborted(status) => return Ok(None),
            spawned => must_be_ready(spawned)?,
        };
        Ok(Some(Server { pg_addr, http_addr, child, args, data: data.to_path_buf(), _temporary: None }))
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) -> Result<(), HarnessError> {
        self.child.kill().map_err(HarnessError::wrap("kill"))?;
        self.child.wait().map_err(HarnessError::wrap("wait")).map(|_| ())
    }

    /// Asks it to stop, as SIGTERM does.
    pub fn terminate(&self) -> Result<(), HarnessError> {
        // The shell's own: the program of that name is not everywhere.
        let status = Command::new("sh").arg("-c").arg(format!("kill {}", self.pid())).status();
        match status.map_err(HarnessError::wrap("sh"))? {
            status if status.success() => Ok(()),
            status => Err(HarnessError(format!("kill: {status}"))),
        }
    }

    /// Starts it again on the same data directory, after [`Server::kill`].
    pub fn restart(&mut self) -> Result<(), HarnessError> {
        self.replace(must_be_ready(spawn(&self.args, &self.data, None)?)?);
        Ok(())
    }

    fn replace(&mut self, (child, pg_addr, http_addr): Running) {
        self.child = child;
        self.pg_addr = pg_addr;
        self.http_addr = http_addr;
    }

    /// Starts it again with other arguments and with a fail point (`name:count`) armed. False where it has passed that
    /// point before it was ready.
    pub fn restart_armed(&mut self, args: &[&str], point: &str) -> Result<bool, HarnessError> {
        self.args = args.iter().map(|a| a.to_string()).collect();
        match spawn(&self.args, &self.data, Some(point))? {
            Spawned::Ready(running) => self.replace(running),
            Spawned::Ended(status) if has_aborted(status) => return Ok(false),
            ended => drop(must_be_ready(ended)?),
        }
        Ok(true)
    }

    /// True where its process has ended at a fail point.
    pub fn has_died(&mut self) -> bool {
        self.child.try_wait().ok().flatten().is_some_and(has_aborted)
    }

    /// The same with other arguments from now on.
    pub fn restart_with(&mut self, args: &[&str]) -> Result<(), HarnessError> {
        self.args = args.iter().map(|a| a.to_string()).collect();
        self.restart()
    }

    /// True while its process runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// A connection; its traffic runs on the current tokio runtime.
    pub async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let config = format!("host={} port={} user=headwater", self.pg_addr.ip(), self.pg_addr.port());
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.kill();
    }
}

type Running = (Child, SocketAddr, SocketAddr);

enum Spawned {
    Ready(Running),
    Ended(ExitStatus),
}

fn must_be_ready(spawned: Spawned) -> Result<Running, HarnessError> {
    match spawned {
        Spawned::Ready(running) => Ok(running),
        Spawned::Ended(status) => Err(HarnessError(format!("the server ended before it was ready: {status}"))),
    }
}

/// What a fail point does.
fn has_aborted(status: ExitStatus) -> bool {
    const SIGABRT: i32 = 6;
    status.signal() == Some(SIGABRT)
}

/// The names of all fail points of the server.
pub fn fail_points() -> Result<Vec<String>, HarnessError> {
    let binary = binary().ok_or_else(not_built)?;
    let listed = Command::new(binary).arg("fail-points").output().map_err(HarnessError::wrap("fail-points"))?;
    Ok(String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect())
}

fn not_built() -> HarnessError {
    HarnessError("the headwater binary is not built: cargo build --release, or set HEADWATER_BIN".into())
}

fn spawn(args: &[String], data: &Path, point: Option<&str>) -> Result<Spawned, HarnessError> {
    let binary = binary().ok_or_else(not_built)?;
    let mut child = Command::new(&binary)
        .arg("start")
        .arg("--data-dir")
        .arg(data)
        .args(["--pg-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"])
        // Often, so that whatever a test does meets one.
        .env("HEADWATER_CHECKPOINT_INTERVAL", "1")
        .envs(point.map(|point| ("HEADWATER_FAILPOINT", point)))
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(HarnessError::wrap(&binary.display().to_string()))?;
    let (send, receive) = mpsc::channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            // Reads to the end so that the server never blocks on a full pipe.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(found) = ready(&line) {
                    let _ = send.send(found);
                }
            }
        });
    }
    match receive.recv_timeout(Duration::from_secs(READY_SECONDS_MAX)) {
        Ok((pg, http)) => Ok(Spawned::Ready((child, pg, http))),
        Err(RecvTimeoutError::Disconnected) => child.wait().map(Spawned::Ended).map_err(HarnessError::wrap("wait")),
        Err(RecvTimeoutError::Timeout) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(HarnessError(format!("the server was not ready within {READY_SECONDS_MAX} s")))
        }
    }
}

/// The addresses in `ready pg=ADDR http=ADDR`.
fn ready(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (pg, http) = line.trim().strip_prefix("ready pg=")?.split_once(" http=")?;
    Some((pg.parse().ok()?, http.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::ready;

    #[test]
    fn only_the_ready_line_counts() {
        assert!(ready("ready pg=127.0.0.1:7432 http=127.0.0.1:7480").is_some());
        assert!(ready("ready pg=nowhere http=127.0.0.1:7480").is_none());
        assert!(ready("starting").is_none());
    }
}
