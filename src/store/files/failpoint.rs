//! Named points around everything that makes files durable, at which a process can be told to die.
//!
//! A point is what is touched, what is done with it, and `before` or `after`: `manifest-rename-before`. The harness of
//! crash tests walks all of them ([`names`]). Where none is armed, no file passes through here at all:
//! [`FailpointFileSystem`] is put in front of the operating system's files only by [`armed`].
//!
//! Deliberately nothing fails here: the process ends at once, without unwinding or flushing, as by `kill -9`.

use super::{FileHandle, FileSystem, LockGuard};
use hw_repr::{SqlError, SqlState};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// What is done with what; each has a point before and one after. `segment` is a file of the log before it has its name,
/// `dir-sync` is named by what was last changed in the directory.
const OPERATIONS: &[&str] = &[
    "version-sync",
    "version-rename",
    "version-dir-sync",
    "subdirectory-dir-sync",
    "segment-sync",
    "segment-rename",
    "segment-remove",
    "segment-dir-sync",
    "log-sync",
    "log-remove",
    "log-dir-sync",
    "chunks-sync",
    "chunks-remove",
    "chunks-dir-sync",
    "manifest-sync",
    "manifest-rename",
    "manifest-remove",
    "manifest-dir-sync",
    "dump-sync",
    "dump-rename",
    "dump-dir-sync",
    "catalog-flush",
    "catalog-sync",
];

/// The armed point and how often it is passed until the process ends.
#[derive(Debug)]
struct Armed {
    name: String,
    left: AtomicU64,
}

static ARMED: OnceLock<Armed> = OnceLock::new();

/// The names of all points.
pub fn names() -> Vec<String> {
    OPERATIONS.iter().flat_map(|o| [format!("{o}-before"), format!("{o}-after")]).collect()
}

/// Ends the process at the `count`-th time that a point is passed; `setting` is `name` or `name:count`. Once per process,
/// before any file is opened. `22023` where there is no such point.
pub fn arm(setting: &str) -> Result<(), SqlError> {
    let bad = |message: String| {
        SqlError::new(SqlState::INVALID_PARAMETER, message)
            .hint("\"headwater fail-points\" lists the names of all points.")
    };
    let (name, count) = setting.split_once(':').unwrap_or((setting, "1"));
    if !names().iter().any(|n| n == name) {
        return Err(bad(format!("there is no fail point \"{name}\"")));
    }
    let count = count.parse::<u64>().ok().filter(|n| *n > 0);
    let count = count.ok_or_else(|| bad(format!("fail point \"{setting}\" lacks a count of at least 1")))?;
    let armed = Armed { name: name.to_owned(), left: AtomicU64::new(count) };
    ARMED.set(armed).map_err(|_| bad("a fail point is armed already".into()))
}

/// True where a point is armed.
pub fn armed() -> bool {
    ARMED.get().is_some()
}

/// A point is passed: returns, or does not.
pub fn pass(name: &str) {
    if let Some(armed) = ARMED.get()
        && armed.name == name
        && armed.left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}

/// Does `work` between the two points of an operation.
pub fn around<T>(operation: &str, work: impl FnOnce() -> T) -> T {
    if !armed() {
        return work();
    }
    pass(&format!("{operation}-before"));
    let done = work();
    pass(&format!("{operation}-after"));
    done
}

/// What a file is, by its name.
fn kind_of(path: &Path) -> &'static str {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    match name.trim_end_matches(".tmp") {
        "VERSION" => "version",
        "MANIFEST" => "manifest",
        "catalog.dump" => "dump",
        _ if name.ends_with(".seg.tmp") => "segment",
        _ if name.ends_with(".seg") => "log",
        _ if name.ends_with(".chunks") => "chunks",
        _ => "other",
    }
}

/// What an open file is; changes when it is renamed.
type Kind = Arc<Mutex<&'static str>>;

/// Another file system, with a point before and after each operation that makes something durable.
#[derive(Debug)]
pub struct FailpointFileSystem {
    inner: Arc<dyn FileSystem>,
    open: Mutex<HashMap<PathBuf, Kind>>,
    /// What was last changed in a directory.
    changed: Mutex<HashMap<PathBuf, &'static str>>,
}

#[derive(Debug)]
struct FailpointFile(Box<dyn FileHandle>, Kind);

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FailpointFileSystem {
    /// In front of `inner`.
    pub fn new(inner: Arc<dyn FileSystem>) -> FailpointFileSystem {
        FailpointFileSystem { inner, open: Mutex::default(), changed: Mutex::default() }
    }

    fn opened(&self, path: &Path, file: Box<dyn FileHandle>) -> Box<dyn FileHandle> {
        let kind =
            lock(&self.open).entry(path.to_owned()).or_insert_with(|| Arc::new(Mutex::new(kind_of(path)))).clone();
        Box::new(FailpointFile(file, kind))
    }

    fn note_change(&self, path: &Path, kind: &'static str) {
        if let Some(dir) = path.parent() {
            lock(&self.changed).insert(dir.to_owned(), kind);
        }
    }
}

impl FileHandle for FailpointFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }
    fn sync(&mut self) -> io::Result<()> {
        let operation = format!("{}-sync", lock(&self.1));
        around(&operation, || self.0.sync())
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

impl FileSystem for FailpointFileSystem {
    fn open(&self, path: &Path) -> io::Result<Box<dyn FileHandle>> {
        Ok(self.opened(path, self.inner.open(path)?))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn FileHandle>> {
        let file = self.inner.create(path)?;
        self.note_change(path, kind_of(path));
        lock(&self.open).remove(path);
        Ok(self.opened(path, file))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let kind = kind_of(from);
        around(&format!("{kind}-rename"), || self.inner.rename(from, to))?;
        self.note_change(to, kind);
        let mut open = lock(&self.open);
        if let Some(moved) = open.remove(from) {
            *lock(&moved) = kind_of(to);
            open.insert(to.to_owned(), moved);
        }
        Ok(())
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.link(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let kind = kind_of(path);
        around(&format!("{kind}-remove"), || self.inner.remove(path))?;
        self.note_change(path, kind);
        lock(&self.open).remove(path);
        Ok(())
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)?;
        self.note_change(path, "subdirectory");
        Ok(())
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let kind = lock(&self.changed).get(path).copied().unwrap_or("other");
        around(&format!("{kind}-dir-sync"), || self.inner.sync_dir(path))
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.inner.list(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.inner.lock(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_points_and_counts_are_refused() {
        for bad in ["", "manifest-rename", "log-sync-before:0", "log-sync-before:x", "nowhere-before:1"] {
            let error = arm(bad).expect_err(bad);
            assert_eq!(error.code, SqlState::INVALID_PARAMETER, "{bad}");
        }
        assert!(!armed());
        let all = names();
        assert!(all.iter().any(|n| n == "manifest-rename-before"), "{all:?}");
    }

    #[test]
    fn files_are_known_by_their_names() {
        let kinds =
            ["log/00.seg", "log/next.seg.tmp", "MANIFEST.tmp", "7.chunks", "catalog.dump.tmp", "VERSION", "LOCK"];
        let kinds = kinds.map(|name| kind_of(Path::new(name)));
        assert_eq!(kinds, ["log", "segment", "manifest", "chunks", "dump", "version", "other"]);
    }

    #[test]
    fn a_file_of_the_log_gets_its_kind_with_its_name() {
        let temp = tempfile::tempdir().expect("temporary directory");
        let fs = FailpointFileSystem::new(Arc::new(super::super::RealFileSystem));
        let (made, named) = (temp.path().join("next.seg.tmp"), temp.path().join("1.seg"));
        let _file = fs.create(&made).expect("create");
        let kind = lock(&fs.open)[&made].clone();
        assert_eq!(*lock(&kind), "segment");
        fs.rename(&made, &named).expect("rename");
        assert_eq!(*lock(&kind), "log");
        assert_eq!(lock(&fs.changed)[temp.path()], "segment");
    }
}
