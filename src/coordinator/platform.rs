//! What the coordinator stands on: files, the catalog's store, the clock. The operating system's, or those of a simulation.

use hw_catalog::meta::MetaStore;
use hw_catalog::{CatalogFiles, SledStore};
use hw_repr::{SqlError, Timestamp};
use hw_store::files::failpoint::{self, FailpointFileSystem};
use hw_store::files::{self, FileSystem, RealFileSystem};
use hw_store::ticklog::LogLimits;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};

/// Milliseconds since 1970; may go back.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// See the module.
#[derive(Clone)]
pub struct Platform {
    /// The log's and the checkpoints' files.
    pub files: Arc<dyn FileSystem>,
    /// The catalog's.
    pub catalog: Arc<dyn CatalogFiles>,
    /// Sizes of the log's files.
    pub log: LogLimits,
    /// What ticks are timed by. Intervals are measured by the operating system's monotonic clock.
    pub clock: Clock,
}

impl Default for Platform {
    /// The operating system's, with fail points where one is armed.
    fn default() -> Platform {
        let real: Arc<dyn FileSystem> = Arc::new(RealFileSystem);
        let files = if failpoint::armed() { Arc::new(FailpointFileSystem::new(real)) } else { real };
        let catalog = Arc::new(OwnCatalogFiles(files.clone()));
        Platform { files, catalog, log: LogLimits::default(), clock: Arc::new(now_ms) }
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Platform").field("files", &self.files).field("log", &self.log).finish_non_exhaustive()
    }
}

/// Milliseconds since 1970 by the wall clock.
pub(crate) fn now_ms() -> Timestamp {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// The current thread gives way to all others from now on: of a processor that they want too it gets about a tenth.
pub(crate) fn step_back() {
    /// Of 0 to 99: a niceness of 9.
    const PRIORITY: u8 = 25;
    let priority = ThreadPriorityValue::try_from(PRIORITY).unwrap_or_default();
    if let Err(e) = set_current_thread_priority(ThreadPriority::Crossplatform(priority)) {
        tracing::debug!("the priority of a thread was not changed: {e:?}");
    }
}

/// The catalog on sled, its dump on the server's files.
struct OwnCatalogFiles(Arc<dyn FileSystem>);

impl CatalogFiles for OwnCatalogFiles {
    fn open_store(&self, path: &Path) -> Result<Box<dyn MetaStore>, SqlError> {
        Ok(Box::new(SledStore::open_with(path, |operation, work| failpoint::around(operation, work))?))
    }
    fn set_aside(&self, path: &Path) -> Result<PathBuf, SqlError> {
        hw_catalog::files::set_aside(path)
    }
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, SqlError> {
        files::read_whole(self.0.as_ref(), path)
    }
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), SqlError> {
        files::replace_whole(self.0.as_ref(), path, bytes)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Of the current thread: the 19th word of its state, the 17th after the name in brackets.
    fn niceness() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("is there");
        let word = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(16)).map(str::parse);
        word.expect("is there").expect("a number")
    }

    #[test]
    fn a_thread_steps_back_alone() {
        let before = niceness();
        let stepped = std::thread::spawn(|| {
            step_back();
            niceness()
        });
        assert!(stepped.join().expect("ends") >= 9);
        assert_eq!(niceness(), before);
    }
}
