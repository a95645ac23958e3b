//! A disk in memory that forgets at a crash what was not synced.
//!
//! Of a file, any of the 512-byte sectors written since its last sync may be there after a crash, or none, or all. Of a
//! directory, what was created, renamed and removed since its last sync survives up to some point of that order, as a
//! journaling file system has it, or any part of it. A sync that fails drops what it should have written, as Linux does: a later one that
//! succeeds does not bring it back. Writes can be short, or fail for want of space. The catalog's store is on it too.

use hw_store::files::{FileHandle, FileSystem, LockGuard};
use hw_testkit::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const SECTOR: usize = 512;

/// Keys and values of the catalog's store.
pub type Entries = BTreeMap<String, Vec<u8>>;
/// One transaction on it.
pub type Transaction = Vec<(String, Option<Vec<u8>>)>;

/// What a disk has when the power comes back.
#[derive(Clone, Default, Debug)]
pub struct Image {
    files: BTreeMap<PathBuf, Vec<u8>>,
    dirs: BTreeSet<PathBuf>,
    store: Entries,
    /// The store's own files were damaged.
    pub store_damaged: bool,
}

/// Where an operation is: each place is mostly used by one thread, so that its n-th operation is the same in every run
/// of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Log,
    Checkpoint,
    Dump,
    Store,
    Elsewhere,
    Any,
}

impl Place {
    fn of(path: &Path) -> Place {
        let text = path.to_string_lossy();
        match () {
            () if text.is_empty() => Place::Store,
            () if text.starts_with("/data/log") => Place::Log,
            () if text.starts_with("/data/checkpoint") => Place::Checkpoint,
            () if text.starts_with("/data/catalog") => Place::Dump,
            () => Place::Elsewhere,
        }
    }
}

/// The n-th operation in a place, counted from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(pub Place, pub u64);

/// What goes wrong beside the crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No space from an operation on, for so many operations of that place.
    Full(At, u64),
    /// An operation fails.
    Broken(At),
    /// The first write at or after an operation of its place is short, for want of space.
    Short(At),
}

/// When and how the disk fails.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The operation at which the power goes.
    pub crash_at: Option<At>,
    /// Another fault.
    pub fault: Option<Fault>,
    /// Syncs do nothing: the negative control.
    pub lose_syncs: bool,
}

#[derive(Debug, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Dir,
}

#[derive(Clone, Debug)]
enum Change {
    Bind(String, Node),
    Rename(String, String),
    Unbind(String),
}

type Names = BTreeMap<String, Node>;

#[derive(Debug, Default)]
struct Dir {
    live: Names,
    durable: Names,
    pending: Vec<Change>,
}

impl Dir {
    fn change(&mut self, change: Change) {
        apply(&mut self.live, &change);
        self.pending.push(change);
    }
}

fn apply(names: &mut Names, change: &Change) {
    match change {
        Change::Bind(name, node) => drop(names.insert(name.clone(), *node)),
        Change::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
        Change::Unbind(name) => drop(names.remove(name)),
    }
}

#[derive(Debug, Default)]
struct Store {
    live: Entries,
    durable: Entries,
    pending: Vec<Transaction>,
    damaged: bool,
}

fn commit(entries: &mut Entries, transaction: &Transaction) {
    for (key, value) in transaction {
        match value {
            Some(value) => entries.insert(key.clone(), value.clone()),
            None => entries.remove(key),
        };
    }
}

#[derive(Debug)]
struct State {
    inodes: Vec<Inode>,
    dirs: BTreeMap<PathBuf, Dir>,
    locks: BTreeSet<PathBuf>,
    store: Store,
    plan: Plan,
    random: Random,
    /// By [`Place`].
    operations: [u64; 6],
    /// The last one's.
    place: Place,
    /// Set at the crash.
    left: Option<Image>,
    trace: Vec<String>,
}

/// The disk, until its crash.
#[derive(Debug)]
pub struct Disk(Mutex<State>, AtomicBool);

#[derive(Debug)]
struct OpenFile {
    disk: Arc<Disk>,
    inode: usize,
    path: PathBuf,
}

/// A file system on it.
#[derive(Debug, Clone)]
pub struct DiskFiles(pub Arc<Disk>);

#[derive(Debug)]
struct Held(Arc<Disk>, PathBuf);
impl LockGuard for Held {}
impl Drop for Held {
    fn drop(&mut self) {
        self.0.state().locks.remove(&self.1);
    }
}

fn power() -> io::Error {
    io::Error::other("the power is gone")
}

impl Disk {
    /// With what was left of the one before.
    pub fn new(image: Image, plan: Plan, random: Random) -> Arc<Disk> {
        let mut state = State {
            inodes: vec![],
            dirs: BTreeMap::from([(PathBuf::from("/"), Dir::default())]),
            locks: BTreeSet::new(),
            store: Store {
                live: image.store.clone(),
                durable: image.store,
                pending: vec![],
                damaged: image.store_damaged,
            },
            plan,
            random,
            operations: [0; 6],
            place: Place::Any,
            left: None,
            trace: vec![],
        };
        for path in image.dirs {
            state.dirs.entry(path.clone()).or_default();
            state.bind_durably(&path, Node::Dir);
        }
        for (path, bytes) in image.files {
            let node = Node::File(state.inodes.len());
            state.inodes.push(Inode { live: bytes.clone(), durable: bytes, dirty: BTreeSet::new() });
            state.bind_durably(&path, node);
        }
        Arc::new(Disk(Mutex::new(state), AtomicBool::new(false)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True once the power is gone.
    pub fn is_dead(&self) -> bool {
        self.state().left.is_some()
    }

    /// The power goes now, where it has not; what is left.
    pub fn crash(&self) -> Image {
        let mut state = self.state();
        state.crash();
        state.left.clone().unwrap_or_default()
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.state().operations[Place::Any as usize]
    }

    /// From now on this is what goes wrong, counted from now on.
    pub fn fail(&self, fault: Fault) {
        let mut state = self.state();
        (state.plan.fault, state.operations) = (Some(fault), [0; 6]);
    }

    /// Files are synced, or that takes until they may be.
    pub fn hold_syncs(&self, held: bool) {
        self.1.store(held, Ordering::Release);
    }

    /// What was done, for a failure's report.
    pub fn trace(&self) -> Vec<String> {
        self.state().trace.clone()
    }

    /// All entries of the catalog's store.
    pub fn store(&self) -> io::Result<Entries> {
        let state = self.state();
        if state.store.damaged { Err(ErrorKind::InvalidData.into()) } else { Ok(state.store.live.clone()) }
    }

    /// Applies a transaction to the catalog's store.
    pub fn store_apply(&self, transaction: Transaction) -> io::Result<()> {
        let mut state = self.state();
        state.begin("store apply", Path::new(""))?;
        commit(&mut state.store.live, &transaction);
        state.store.pending.push(transaction);
        state.finish()
    }

    /// Makes what was applied durable.
    pub fn store_sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.begin("store sync", Path::new(""))?;
        state.finish()?;
        if !state.plan.lose_syncs {
            for transaction in std::mem::take(&mut state.store.pending) {
                commit(&mut state.store.durable, &transaction);
            }
        }
        Ok(())
    }

    /// Begins with an empty store.
    pub fn store_set_aside(&self) {
        self.state().store = Store::default();
    }
}

fn split(path: &Path) -> (PathBuf, String) {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    (path.parent().unwrap_or(Path::new("/")).to_owned(), name)
}

impl State {
    fn bind_durably(&mut self, path: &Path, node: Node) {
        let (dir, name) = split(path);
        let dir = self.dirs.entry(dir).or_default();
        dir.live.insert(name.clone(), node);
        dir.durable.insert(name, node);
    }

    /// Counts an operation; an error where it fails.
    fn begin(&mut self, what: &str, path: &Path) -> io::Result<()> {
        if self.left.is_some() {
            return Err(power());
        }
        self.place = Place::of(path);
        self.operations[self.place as usize] += 1;
        self.operations[Place::Any as usize] += 1;
        self.trace.push(format!("{} {what} {}", self.operations[Place::Any as usize], path.display()));
        match self.plan.fault {
            Some(Fault::Broken(at)) if self.count(at) == at.1 && self.is_at(at.0) => {
                self.trace.push("  fails".into());
                Err(io::Error::other("the drive is gone"))
            }
            Some(Fault::Full(at, count)) if self.is_at(at.0) => {
                let grows = matches!(what, "create" | "write" | "store apply" | "create_dir" | "rename");
                if grows && (at.1..at.1.saturating_add(count)).contains(&self.count(at)) {
                    self.trace.push("  no space".into());
                    return Err(ErrorKind::StorageFull.into());
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// True where the operation under way is in this place.
    fn is_at(&self, place: Place) -> bool {
        place == Place::Any || place == self.place
    }

    /// Operations so far in this place.
    fn count(&self, at: At) -> u64 {
        self.operations[at.0 as usize]
    }

    /// After what an operation does to names and unsynced contents: the power may go now.
    fn finish(&mut self) -> io::Result<()> {
        if self.plan.crash_at.is_some_and(|at| self.is_at(at.0) && self.count(at) == at.1) {
            self.crash();
            return Err(power());
        }
        Ok(())
    }

    fn dir(&mut self, path: &Path) -> io::Result<&mut Dir> {
        self.dirs.get_mut(path).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn file(&mut self, path: &Path) -> io::Result<usize> {
        let (dir, name) = split(path);
        match self.dir(&dir)?.live.get(&name) {
            Some(Node::File(inode)) => Ok(*inode),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn write(&mut self, inode: usize, bytes: &[u8], offset: usize) {
        let file = &mut self.inodes[inode];
        let end = offset + bytes.len();
        if file.live.len() < end {
            // Bytes of a hole are zeros, and as unsynced as the length.
            file.dirty.extend(file.live.len() / SECTOR..end.div_ceil(SECTOR));
            file.live.resize(end, 0);
        }
        file.live[offset..end].copy_from_slice(bytes);
        file.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
    }

    fn sync(&mut self, inode: usize) {
        let file = &mut self.inodes[inode];
        file.durable.resize(file.live.len(), 0);
        for sector in std::mem::take(&mut file.dirty) {
            copy_sector(&file.live, &mut file.durable, sector);
        }
    }

    fn crash(&mut self) {
        if self.left.is_some() {
            return;
        }
        self.trace.push("crash".into());
        let mut image = Image::default();
        self.survive(Path::new("/"), &mut image);
        image.store = self.store.durable.clone();
        let kept = self.chance_of(Path::new("")).below(self.store.pending.len() as u64 + 1) as usize;
        self.store.pending.iter().take(kept).for_each(|t| commit(&mut image.store, t));
        image.store_damaged = self.store.damaged;
        self.left = Some(image);
    }

    /// What is left of a directory and all below it.
    fn survive(&self, path: &Path, image: &mut Image) {
        let Some(dir) = self.dirs.get(path) else { return };
        let mut names = dir.durable.clone();
        let mut random = self.chance_of(path);
        let kept = random.below(dir.pending.len() as u64 + 1) as usize;
        let in_order = random.chance(70);
        for (i, change) in dir.pending.iter().enumerate() {
            let survives = if in_order { i < kept } else { random.chance(50) };
            if survives {
                apply(&mut names, change);
            }
        }
        for (name, node) in names {
            let below = path.join(&name);
            match node {
                Node::Dir => {
                    image.dirs.insert(below.clone());
                    self.survive(&below, image);
                }
                Node::File(inode) => {
                    let left = self.contents_left(inode, &below);
                    image.files.insert(below, left);
                }
            }
        }
    }

    /// Of its own for each path, so that threads that differ in speed do not change what is left elsewhere.
    fn chance_of(&self, path: &Path) -> Random {
        let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let bytes = path.as_os_str().as_encoded_bytes();
        Random::new(bytes.iter().fold(self.random.clone().bits(), hash))
    }

    fn contents_left(&self, inode: usize, path: &Path) -> Vec<u8> {
        let (file, mut random) = (&self.inodes[inode], self.chance_of(path));
        let (mut left, dirty) = (file.durable.clone(), file.dirty.iter().copied().collect::<Vec<_>>());
        let mode = random.below(4);
        let prefix = random.below(dirty.len() as u64 + 1) as usize;
        for (i, sector) in dirty.into_iter().enumerate() {
            let survives = match mode {
                0 => false,
                1 => true,
                2 => random.chance(50),
                _ => i < prefix,
            };
            if survives {
                let end = ((sector + 1) * SECTOR).min(file.live.len());
                if left.len() < end {
                    left.resize(end, 0);
                }
                copy_sector(&file.live, &mut left, sector);
            }
        }
        if file.live.len() > left.len() && random.chance(50) {
            left.resize(file.live.len(), 0);
        }
        left
    }
}

fn copy_sector(from: &[u8], to: &mut [u8], sector: usize) {
    let (start, end) = (sector * SECTOR, ((sector + 1) * SECTOR).min(from.len()));
    if start < end {
        to[start..end].copy_from_slice(&from[start..end]);
    }
}

impl FileHandle for OpenFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        // Also when the power is gone: what has died reads on, and nobody hears of it; what cannot be read ends the process.
        let state = self.disk.state();
        let live = &state.inodes[self.inode].live;
        let from = live.get(offset as usize..).unwrap_or_default();
        let n = from.len().min(buf.len());
        buf[..n].copy_from_slice(&from[..n]);
        Ok(n)
    }
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin("write", &self.path)?;
        if let Some(Fault::Short(at)) = state.plan.fault
            && state.is_at(at.0)
            && state.count(at) >= at.1
        {
            state.plan.fault = None;
            state.trace.push("  short".into());
            let part = state.chance_of(&self.path).below(bytes.len() as u64) as usize;
            state.write(self.inode, &bytes[..part], offset as usize);
            state.finish()?;
            return Err(ErrorKind::StorageFull.into());
        }
        state.write(self.inode, bytes, offset as usize);
        state.finish()
    }
    fn sync(&mut self) -> io::Result<()> {
        while self.disk.1.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut state = self.disk.state();
        let begun = state.begin("sync", &self.path);
        if begun.is_err() && state.left.is_none() {
            // What should have been written is dropped: it is still read, and never written again.
            state.inodes[self.inode].dirty.clear();
        }
        begun?;
        state.finish()?;
        if !state.plan.lose_syncs {
            state.sync(self.inode);
        }
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].live.len() as u64)
    }
}

impl DiskFiles {
    fn open_file(&self, inode: usize, path: &Path) -> Box<dyn FileHandle> {
        Box::new(OpenFile { disk: self.0.clone(), inode, path: path.to_owned() })
    }
}

impl FileSystem for DiskFiles {
    fn open(&self, path: &Path) -> io::Result<Box<dyn FileHandle>> {
        let mut state = self.0.state();
        if state.left.is_some() {
            return Err(power());
        }
        let inode = state.file(path)?;
        drop(state);
        Ok(self.open_file(inode, path))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn FileHandle>> {
        let mut state = self.0.state();
        state.begin("create", path)?;
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        let (dir, name) = split(path);
        state.dir(&dir)?.change(Change::Bind(name, Node::File(inode)));
        state.finish()?;
        drop(state);
        Ok(self.open_file(inode, path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.state();
        state.begin("rename", from)?;
        state.file(from)?;
        let ((dir, from), (_, to)) = (split(from), split(to));
        state.dir(&dir)?.change(Change::Rename(from, to));
        state.finish()
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.state();
        state.begin("remove", path)?;
        state.file(path)?;
        let (dir, name) = split(path);
        state.dir(&dir)?.change(Change::Unbind(name));
        state.finish()
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.state();
        if state.left.is_none() && state.dirs.contains_key(path) {
            return Ok(());
        }
        state.begin("create_dir", path)?;
        let (dir, name) = split(path);
        state.dir(&dir)?.change(Change::Bind(name, Node::Dir));
        state.dirs.insert(path.to_owned(), Dir::default());
        state.finish()
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.state();
        state.begin("sync_dir", path)?;
        state.finish()?;
        if !state.plan.lose_syncs {
            let dir = state.dir(path)?;
            (dir.durable, dir.pending) = (dir.live.clone(), vec![]);
        }
        Ok(())
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut state = self.0.state();
        if state.left.is_some() {
            return Err(power());
        }
        Ok(state.dir(path)?.live.keys().cloned().collect())
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        let mut state = self.0.state();
        if state.left.is_some() {
            return Err(power());
        }
        if !state.locks.insert(path.to_owned()) {
            return Ok(None);
        }
        // The file itself, which stays.
        if state.file(path).is_err() {
            let inode = state.inodes.len();
            state.inodes.push(Inode::default());
            let (dir, name) = split(path);
            state.dir(&dir)?.change(Change::Bind(name, Node::File(inode)));
        }
        drop(state);
        Ok(Some(Box::new(Held(self.0.clone(), path.to_owned()))))
    }
}
