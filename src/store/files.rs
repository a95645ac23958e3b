//! The one seam to the operating system's files.
//!
//! Everything in this crate goes through [`FileSystem`] and [`FileHandle`], so that tests can lose writes, fail
//! syncs and fill the disk. Promises of the real implementation: `sync` reaches the device (fdatasync or fsync), a
//! rename is durable after [`FileSystem::sync_dir`] of its directory, a lock lasts as long as its guard or the process.

pub mod failpoint;
#[cfg(test)]
pub(crate) mod faulty;

use hw_repr::{SqlError, SqlState};
use std::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// An open file, read and written by position.
pub trait FileHandle: Send + Sync + Debug {
    /// Reads up to `buf.len()` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, growing the file where needed.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the contents durable, and the length where it changed.
    fn sync(&mut self) -> io::Result<()>;
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// True where it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// What holds a lock; dropping it releases the lock.
pub trait LockGuard: Send + Sync + Debug {}

/// A file system.
pub trait FileSystem: Send + Sync + Debug {
    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn FileHandle>>;
    /// Creates a file, emptying an existing one.
    fn create(&self, path: &Path) -> io::Result<Box<dyn FileHandle>>;
    /// Renames within one directory, replacing the target.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file that is written no more a second name in another directory; without hard links a copy is made.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (file, mut copy) = (self.open(from)?, self.create(to)?);
        let mut block = vec![0; 1 << 20];
        let mut at = 0;
        loop {
            let n = file.read_at(&mut block, at)?;
            if n == 0 {
                return copy.sync();
            }
            copy.write_at(&block[..n], at)?;
            at += n as u64;
        }
    }
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Creates one directory; an existing one is fine.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in the directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The names of the files in a directory, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Takes an exclusive lock on a file, creating it; `None` where another holder has it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>>;
}

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFileSystem;

#[derive(Debug)]
struct RealFile(File);

#[derive(Debug)]
struct RealLock(#[expect(dead_code, reason = "held for its lock")] File);
impl LockGuard for RealLock {}

impl FileHandle for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.0.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl FileSystem for RealFileSystem {
    fn open(&self, path: &Path) -> io::Result<Box<dyn FileHandle>> {
        Ok(Box::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn FileHandle>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        // Where there are no hard links.
        std::fs::hard_link(from, to).or_else(|_| copy(from, to))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match std::fs::create_dir(path) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        }
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = vec![];
        for entry in std::fs::read_dir(path)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(RealLock(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::copy(from, to)?;
    File::open(to)?.sync_all()
}

/// The error a client sees: `53100` where the disk (or a quota) is full, else `58030`.
pub fn file_error(action: &str, path: &Path, error: &io::Error) -> SqlError {
    let message = format!("could not {action} \"{}\": {error}", path.display());
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => SqlError::new(SqlState::DISK_FULL, message)
            .hint("Free some space on the file system of the data directory and restart the server."),
        _ => SqlError::new(SqlState::IO_ERROR, message),
    }
}

/// All bytes of a small file; `None` where there is none.
pub fn read_whole(fs: &dyn FileSystem, path: &Path) -> Result<Option<Vec<u8>>, SqlError> {
    let failed = |e: io::Error| file_error("read", path, &e);
    let file = match fs.open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let len = usize::try_from(file.len().map_err(failed)?).unwrap_or(usize::MAX);
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, 0).map_err(failed)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Writes a small file as a whole: temporary name, sync, rename, sync of the directory.
pub fn write_atomically(fs: &dyn FileSystem, dir: &Path, name: &str, bytes: &[u8]) -> Result<(), SqlError> {
    let (target, temporary) = (dir.join(name), dir.join(format!("{name}.tmp")));
    let mut file = fs.create(&temporary).map_err(|e| file_error("create", &temporary, &e))?;
    file.write_at(bytes, 0).map_err(|e| file_error("write", &temporary, &e))?;
    file.sync().map_err(|e| file_error("sync", &temporary, &e))?;
    fs.rename(&temporary, &target).map_err(|e| file_error("rename", &temporary, &e))?;
    fs.sync_dir(dir).map_err(|e| file_error("sync", dir, &e))
}

/// The same, given the file's path.
pub fn replace_whole(fs: &dyn FileSystem, path: &Path, bytes: &[u8]) -> Result<(), SqlError> {
    match (path.parent(), path.file_name().and_then(|n| n.to_str())) {
        (Some(dir), Some(name)) => write_atomically(fs, dir, name, bytes),
        _ => Err(SqlError::internal(format!("\"{}\" is not a file's path", path.display()))),
    }
}
