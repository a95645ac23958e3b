//! The data directory: its layout, its lock and its format version.
//!
//! Layout: `LOCK` (held by the running server), `VERSION` (text: `headwater <n>`), `log/` (tick log),
//! `checkpoint/`, `catalog/` (the catalog's own files). A directory of another version, or one that holds foreign files, is refused.

use crate::files::{FileSystem, LockGuard, RealFileSystem, file_error, write_atomically};
use hw_repr::{SqlError, SqlState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The version of the directory's layout.
pub const LAYOUT_VERSION: u32 = 2;
/// The version before, which lacks checkpoints: a server that knows only that one would miss the log that they replace.
const LAYOUT_BEFORE: u32 = 1;
/// SQLSTATE `lock_file_exists`.
pub const LOCK_FILE_EXISTS: SqlState = SqlState::new("F0001");
const LOCK: &str = "LOCK";
const VERSION: &str = "VERSION";

/// An open, locked data directory. The lock is released when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct DataDir {
    path: PathBuf,
    fs: Arc<dyn FileSystem>,
    created: bool,
    _lock: Arc<dyn LockGuard>,
}

impl DataDir {
    /// Opens or creates the directory (its parents too) and locks it. Errors: `F0001` where another server has it,
    /// `55000` where it is not ours or of another version, `53100` and `58030` from the file system.
    pub fn open(path: &Path) -> Result<DataDir, SqlError> {
        Self::open_with(path, Arc::new(RealFileSystem))
    }

    /// The same on another file system.
    pub fn open_with(path: &Path, fs: Arc<dyn FileSystem>) -> Result<DataDir, SqlError> {
        create_all(fs.as_ref(), path)?;
        let before = fs.list(path).map_err(|e| file_error("read", path, &e))?;
        // A crash at the first start may leave the version under its temporary name, and nothing else.
        let ours = |n: &String| n == LOCK || n.trim_end_matches(".tmp") == VERSION;
        if !before.iter().any(ours) && !before.is_empty() {
            return Err(SqlError::new(
                SqlState::PREREQUISITE_STATE,
                format!("directory \"{}\" is not empty and not a data directory", path.display()),
            )
            .hint("Choose an empty or new directory with --data-dir."));
        }
        let lock = take_lock(fs.as_ref(), path)?;
        let created = check_version(fs.as_ref(), path)?;
        let dir = DataDir { path: path.to_path_buf(), fs, created, _lock: lock };
        dir.subdirectory("log")?;
        dir.subdirectory("catalog")?;
        Ok(dir)
    }

    /// Opens one that is there, without changing anything in it. `55000` where it is none.
    pub fn open_existing(path: &Path) -> Result<DataDir, SqlError> {
        Self::open_existing_with(path, Arc::new(RealFileSystem))
    }

    /// The same on another file system.
    pub fn open_existing_with(path: &Path, fs: Arc<dyn FileSystem>) -> Result<DataDir, SqlError> {
        let names = fs.list(path).map_err(|e| file_error("read", path, &e))?;
        if !names.iter().any(|n| n == VERSION) || !names.iter().any(|n| n == LOCK) {
            let message = format!("directory \"{}\" is not a data directory", path.display());
            return Err(SqlError::new(SqlState::PREREQUISITE_STATE, message));
        }
        let lock = take_lock(fs.as_ref(), path)?;
        let found = read_version(fs.as_ref(), path)?;
        if found != version_text(LAYOUT_VERSION) && found != version_text(LAYOUT_BEFORE) {
            return Err(unknown_version(path, &found));
        }
        Ok(DataDir { path: path.to_path_buf(), fs, created: false, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// True where this call made it: a first start.
    pub fn created(&self) -> bool {
        self.created
    }
    /// The file system it is on.
    pub fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.fs
    }
    /// Where the tick log is.
    pub fn log_path(&self) -> PathBuf {
        self.path.join("log")
    }
    /// Where the catalog is.
    pub fn catalog_path(&self) -> PathBuf {
        self.path.join("catalog")
    }
    /// A directory of this name inside, created durably where missing.
    pub fn subdirectory(&self, name: &str) -> Result<PathBuf, SqlError> {
        let path = self.path.join(name);
        self.fs.create_dir(&path).map_err(|e| file_error("create", &path, &e))?;
        self.fs.sync_dir(&self.path).map_err(|e| file_error("sync", &self.path, &e))?;
        Ok(path)
    }
}

fn take_lock(fs: &dyn FileSystem, path: &Path) -> Result<Arc<dyn LockGuard>, SqlError> {
    let lock_path = path.join(LOCK);
    let lock = fs.lock(&lock_path).map_err(|e| file_error("lock", &lock_path, &e))?;
    lock.map(Arc::from).ok_or_else(|| {
        let message = format!("data directory \"{}\" is in use by another server", path.display());
        SqlError::new(LOCK_FILE_EXISTS, message)
            .hint("Stop the other server, or choose another directory with --data-dir.")
    })
}

/// Creates `path` and what is missing above it, syncing each parent that gained a directory.
fn create_all(fs: &dyn FileSystem, path: &Path) -> Result<(), SqlError> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|p| !p.as_os_str().is_empty() && fs.list(p).is_err()).collect();
    for dir in missing.into_iter().rev() {
        fs.create_dir(dir).map_err(|e| file_error("create directory", dir, &e))?;
        let parent = match dir.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            _ => Path::new("."),
        };
        fs.sync_dir(parent).map_err(|e| file_error("sync", parent, &e))?;
    }
    Ok(())
}

/// True where the version file was missing and is now written.
fn check_version(fs: &dyn FileSystem, path: &Path) -> Result<bool, SqlError> {
    let names = fs.list(path).map_err(|e| file_error("read", path, &e))?;
    let expected = version_text(LAYOUT_VERSION);
    if !names.iter().any(|n| n == VERSION) {
        if names.iter().any(|n| n == "log") {
            return Err(SqlError::new(
                SqlState::DATA_CORRUPTED,
                format!("data directory \"{}\" has lost its file {VERSION}", path.display()),
            ));
        }
        write_atomically(fs, path, VERSION, expected.as_bytes())?;
        return Ok(true);
    }
    let found = read_version(fs, path)?;
    if found == version_text(LAYOUT_BEFORE) {
        write_atomically(fs, path, VERSION, expected.as_bytes())?;
    } else if found != expected {
        return Err(unknown_version(path, &found));
    }
    Ok(false)
}

fn version_text(version: u32) -> String {
    format!("headwater {version}\n")
}

fn read_version(fs: &dyn FileSystem, path: &Path) -> Result<String, SqlError> {
    let file_path = path.join(VERSION);
    let file = fs.open(&file_path).map_err(|e| file_error("open", &file_path, &e))?;
    let mut text = [0u8; 64];
    let n = file.read_at(&mut text, 0).map_err(|e| file_error("read", &file_path, &e))?;
    Ok(String::from_utf8_lossy(&text[..n]).into_owned())
}

fn unknown_version(path: &Path, found: &str) -> SqlError {
    SqlError::new(
        SqlState::PREREQUISITE_STATE,
        format!("data directory \"{}\" has an unknown format: {:?}", path.display(), found.trim()),
    )
    .detail(format!("This server reads format \"{}\".", version_text(LAYOUT_VERSION).trim()))
    .hint("Start the version of the server that wrote it.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_server_is_refused_until_the_first_is_gone() {
        let temp = tempfile::tempdir().expect("temporary directory");
        let path = temp.path().join("a/b");
        let first = DataDir::open(&path).expect("first");
        assert!(first.created());
        let error = DataDir::open(&path).expect_err("second");
        assert_eq!(error.code.as_str(), "F0001");
        assert!(error.message.contains(&path.display().to_string()), "{}", error.message);
        let clone = first.clone();
        drop(first);
        assert!(DataDir::open(&path).is_err(), "a clone still holds the lock");
        drop(clone);
        assert!(!DataDir::open(&path).expect("free again").created());
    }

    #[test]
    fn foreign_and_newer_directories_are_refused() {
        let temp = tempfile::tempdir().expect("temporary directory");
        std::fs::write(temp.path().join("letter.txt"), "dear").expect("write");
        assert_eq!(DataDir::open(temp.path()).expect_err("foreign").code, SqlState::PREREQUISITE_STATE);
        let begun = temp.path().join("begun");
        std::fs::create_dir(&begun).expect("directory");
        std::fs::write(begun.join("VERSION.tmp"), "").expect("write");
        assert!(DataDir::open(&begun).expect("a first start that a crash cut short").created());
        let other = temp.path().join("new");
        drop(DataDir::open(&other).expect("create"));
        std::fs::write(other.join("VERSION"), "headwater 99\n").expect("write");
        let error = DataDir::open(&other).expect_err("newer");
        assert!(error.message.contains("headwater 99"), "{}", error.message);
        std::fs::write(other.join("VERSION"), "headwater 1\n").expect("write");
        drop(DataDir::open(&other).expect("the version before is taken over"));
        let version = std::fs::read_to_string(other.join("VERSION")).expect("read");
        assert_eq!(version, format!("headwater {LAYOUT_VERSION}\n"));
        std::fs::remove_file(other.join("VERSION")).expect("remove");
        assert_eq!(DataDir::open(&other).expect_err("lost").code, SqlState::DATA_CORRUPTED);
    }
}
