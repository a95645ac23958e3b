//! A file system that fails on demand, for tests.

use super::{FileHandle, FileSystem, LockGuard, RealFileSystem};
use crate::DataDir;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A file system whose syncs fail or whose disk is full on demand, and whose syncs can be held up.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub sync_fails: AtomicBool,
    pub full: AtomicBool,
    pub syncs: AtomicU64,
    pub gate: Mutex<()>,
    /// The operation that fails, counted from 1 on; 0: none does.
    pub fails_at: AtomicU64,
    /// Operations so far: creations, writes, syncs, renames, removals.
    pub operations: AtomicU64,
    /// Bytes that all files of a directory may have.
    pub capacity: Option<(PathBuf, u64)>,
}

impl Faults {
    /// Counts an operation; an error where it is the one that fails.
    fn operation(&self) -> io::Result<()> {
        let number = self.operations.fetch_add(1, Ordering::SeqCst) + 1;
        if number == self.fails_at.load(Ordering::SeqCst) { Err(io::Error::other("the drive is gone")) } else { Ok(()) }
    }
    /// True where a file cannot grow by so much.
    fn refuses(&self, growth: u64) -> bool {
        let size = |entry: std::fs::DirEntry| entry.metadata().map_or(0, |m| m.len());
        let used = |dir: &Path| std::fs::read_dir(dir).map_or(0, |files| files.flatten().map(size).sum::<u64>());
        let capacity = self.capacity.as_ref().is_some_and(|(dir, most)| used(dir) + growth > *most);
        growth > 0 && (capacity || self.full.load(Ordering::SeqCst))
    }
}
#[derive(Debug)]
pub(crate) struct FaultyFileSystem(pub Arc<Faults>);
#[derive(Debug)]
struct FaultyFile(Box<dyn FileHandle>, Arc<Faults>);

impl FileHandle for FaultyFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.1.operation()?;
        if self.1.refuses((offset + bytes.len() as u64).saturating_sub(self.0.len()?)) {
            return Err(io::Error::from(ErrorKind::StorageFull));
        }
        self.0.write_at(bytes, offset)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.1.operation()?;
        let _open = self.1.gate.lock().expect("not poisoned");
        self.1.syncs.fetch_add(1, Ordering::SeqCst);
        if self.1.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("the drive is gone"));
        }
        self.0.sync()
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}
impl FileSystem for FaultyFileSystem {
    fn open(&self, path: &Path) -> io::Result<Box<dyn FileHandle>> {
        Ok(Box::new(FaultyFile(RealFileSystem.open(path)?, Arc::clone(&self.0))))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn FileHandle>> {
        self.0.operation()?;
        Ok(Box::new(FaultyFile(RealFileSystem.create(path)?, Arc::clone(&self.0))))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.operation()?;
        RealFileSystem.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.operation()?;
        RealFileSystem.remove(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealFileSystem.create_dir(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.operation()?;
        RealFileSystem.sync_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealFileSystem.list(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        RealFileSystem.lock(path)
    }
}

/// A data directory on such a file system.
pub(crate) fn faulty(path: &Path) -> (Arc<Faults>, DataDir) {
    let faults = Arc::new(Faults::default());
    let dir = DataDir::open_with(path, Arc::new(FaultyFileSystem(Arc::clone(&faults)))).expect("data directory");
    (faults, dir)
}
