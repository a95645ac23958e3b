//! Checkpoints: contents of relations as of a tick, so that the log before it is not needed.
//!
//! `checkpoint/` of the data directory holds chunk files (see [`block`]), which are never changed, and the [`Manifest`],
//! which names the blocks that count. A checkpoint is incremental: bodies that are on disk are only named. The order of
//! writes: chunk file, sync, sync of the directory, manifest by atomic rename; only then may the log be truncated, and
//! files that nothing names be removed. A crash before the rename leaves the checkpoint before.
//!
//! Does not know what a relation means, or when a checkpoint may be taken.

mod block;
mod entries;
mod manifest;
mod salvage;
#[cfg(test)]
mod tests;

pub use entries::{Kind, SnapshotEntries};
pub use manifest::{Block, MANIFEST, Manifest, Positions, SavedPartition, SavedRange, SavedRelation, SavedView};
pub use salvage::{Changed, Known, Salvage, Salvaged};

use crate::files::{FileHandle, FileSystem, file_error};
use crate::verify::Report;
use crate::{DataDir, DeadLetterRow};
use block::{BLOCK_HEADER_BYTES, FILE_HEADER};
use hw_repr::chunk::{Body, ChunkBody, ChunkView, PublishedShard};
use hw_repr::{GlobalId, SqlError, SqlState, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Bytes of blocks that are written, and made durable, at a time: what is left to the end is one write to the disk, which the
/// log of ticks, and with it every commit, waits for.
const WRITE_BYTES: usize = 1 << 20;
/// Bytes of rows above which a body is written as several blocks: less than a block may have.
const BODY_BYTES_MAX: usize = if cfg!(test) { 1 << 20 } else { 256 << 20 };
/// Between two blocks of a checkpoint that nobody waits for.
const LONGEST_REST: Duration = Duration::from_millis(50);
/// A checkpoint that takes longer than this rests no more: what comes after it is what a start has to do again.
const RESTS_FOR: Duration = Duration::from_secs(3);
/// A file of which less than one part in this many is named is given up: what is left of it is written again.
const LIVE_PART: u64 = 4;

/// What a checkpoint is made from: nothing of it changes while it is being written.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Everything up to this tick is in it.
    pub tick: Timestamp,
    /// The log will be truncated up to this tick.
    pub log_floor: Timestamp,
    /// The last tick that changed the catalog.
    pub catalog: Timestamp,
    /// The state of relations.
    pub relations: Vec<SnapshotPart>,
    /// See [`Manifest::partitions`].
    pub partitions: Vec<SavedPartition>,
    /// See [`Manifest::earlier`].
    pub earlier: Vec<Positions>,
    /// See [`Manifest::known`].
    pub known: Vec<(GlobalId, Timestamp)>,
    /// All dead letters, where they are not those of the last checkpoint.
    pub dead_letters: Option<Vec<DeadLetterRow>>,
    /// Nobody waits for it: writing rests two thirds of the time, for the first seconds.
    pub unhurried: bool,
}

/// A part of what keeps a relation up to date; 0 are its contents.
#[derive(Debug)]
pub struct SnapshotPart {
    /// The relation.
    pub id: GlobalId,
    /// Which part.
    pub part: u32,
    /// Of what it was computed by.
    pub fingerprint: u64,
    /// Of an arrangement: the columns by which its rows are on the workers, where they are not by its key.
    pub apart: Option<Vec<usize>>,
    /// What it holds.
    pub contents: Contents,
}

/// What a part holds.
#[derive(Debug)]
pub enum Contents {
    /// An arrangement, by worker.
    Arrangement(Vec<Arc<PublishedShard>>),
    /// Entries of an operator.
    Entries(SnapshotEntries),
}

/// A part as a checkpoint has it.
#[derive(Debug)]
pub enum Loaded {
    /// An arrangement, by worker.
    Arrangement(Vec<PublishedShard>),
    /// Runs of entries, newest last.
    Entries(Vec<Vec<ChunkView>>),
}

/// Open chunk files, and room for one block.
#[derive(Default)]
struct Reader {
    files: HashMap<u64, (PathBuf, Arc<dyn FileHandle>)>,
    block: Vec<u8>,
    raw: Vec<u8>,
}

/// What a checkpoint took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes of new blocks.
    pub bytes: u64,
    /// Bytes of all blocks that the manifest names.
    pub total: u64,
    /// Chunk files that hold them.
    pub files: u64,
}

/// The checkpoints of a data directory.
#[derive(Debug)]
pub struct Checkpoints {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    manifest: Manifest,
    /// What is in files that the manifest names.
    stored: Stored,
    /// The number of the next chunk file; never one that was begun before.
    next_file: u64,
    /// Writing a manifest has failed: the one on disk may be that one, so nothing that it may name is removed.
    uncertain: bool,
    _lock: DataDir,
}

impl Checkpoints {
    /// Opens those of a data directory, and the last one's manifest; [`Manifest::tick`] is 0 where there is none.
    /// `XX001` where it is damaged.
    pub fn open(dir: &DataDir) -> Result<Checkpoints, SqlError> {
        let fs = Arc::clone(dir.file_system());
        let path = dir.subdirectory("checkpoint")?;
        let found = Manifest::read(fs.as_ref(), &path)?;
        // A directory that has lost its manifest keeps what can still be saved.
        let had_one = found.is_some();
        let manifest = found.unwrap_or_default();
        let next_file = manifest.next_file;
        let (stored, uncertain) = (HashMap::new(), false);
        let all = Checkpoints { fs, dir: path, manifest, stored, next_file, uncertain, _lock: dir.clone() };
        if had_one {
            all.remove_unnamed()?;
        }
        Ok(all)
    }

    /// The last checkpoint.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// No start goes on from what the checkpoint has of these relations; what they showed stays.
    pub fn distrust(&mut self, ids: &BTreeSet<GlobalId>) -> Result<(), SqlError> {
        let mut manifest = self.manifest.clone();
        for part in manifest.relations.iter_mut().filter(|r| ids.contains(&r.id)) {
            part.fingerprint = manifest::DISTRUSTED;
        }
        if manifest != self.manifest {
            self.uncertain = true;
            manifest.write(self.fs.as_ref(), &self.dir)?;
            self.uncertain = false;
            self.manifest = manifest;
        }
        Ok(())
    }

    /// All parts of relations in the last checkpoint, in the order of [`Manifest::relations`].
    pub fn load(&mut self) -> Result<Vec<Loaded>, SqlError> {
        let mut blocks: BTreeMap<Block, usize> = BTreeMap::new();
        for view in self.manifest.relations.iter().flat_map(|r| r.shards.iter().flatten().flatten()) {
            let rows = blocks.entry(view.block).or_default();
            *rows = view.hi.max(*rows);
        }
        let bodies = self.bodies(&blocks.into_iter().collect::<Vec<_>>())?;
        let kept = bodies.iter().map(|(at, body)| (Arc::as_ptr(body) as usize, (Arc::downgrade(body), *at)));
        self.stored.extend(kept);
        self.manifest.relations.iter().map(|saved| self.put_together(saved, &bodies)).collect()
    }

    fn put_together(&self, saved: &SavedRelation, bodies: &HashMap<Block, Arc<Body>>) -> Result<Loaded, SqlError> {
        let view = |v: &SavedView| {
            let body = bodies.get(&v.block).filter(|_| v.lo < v.hi);
            let body = body.ok_or_else(|| block::damage(&self.path_of(v.block.file), v.block.at))?;
            Ok(ChunkView { body: body.clone(), lo: v.lo, hi: v.hi })
        };
        let run = |run: &Vec<SavedView>| run.iter().map(view).collect::<Result<Vec<ChunkView>, SqlError>>();
        let runs = |runs: &Vec<Vec<SavedView>>| runs.iter().map(run).collect::<Result<Vec<_>, SqlError>>();
        let shards = saved.shards.iter().map(runs).collect::<Result<Vec<_>, SqlError>>()?;
        Ok(match saved.kind {
            Kind::Arrangement => {
                let (since, upper) = (saved.since, self.manifest.tick + 1);
                Loaded::Arrangement(shards.into_iter().map(|runs| PublishedShard { since, upper, runs }).collect())
            }
            _ => Loaded::Entries(shards.into_iter().flatten().collect()),
        })
    }

    /// The bodies of blocks, which have at least so many rows. All are read by as many threads as there are processors, so
    /// that damage is found now; each is decoded when it is first looked at.
    fn bodies(&self, blocks: &[(Block, usize)]) -> Result<HashMap<Block, Arc<Body>>, SqlError> {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(blocks.len() / 8 + 1);
        let next = AtomicUsize::new(0);
        let work = || {
            let (mut reader, mut out) = (Reader::default(), vec![]);
            while let Some((at, rows)) = blocks.get(next.fetch_add(1, Ordering::Relaxed)) {
                out.push((*at, Arc::new(self.later(&mut reader, *at, *rows)?)));
            }
            Ok(out)
        };
        let parts: Vec<Result<_, SqlError>> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mine = work();
            let ended = |_| Err(SqlError::internal("a thread that read the checkpoint has ended"));
            std::iter::once(mine).chain(others.into_iter().map(|t| t.join().unwrap_or_else(ended))).collect()
        });
        let mut bodies = HashMap::with_capacity(blocks.len());
        for part in parts {
            bodies.extend(part?);
        }
        Ok(bodies)
    }

    /// The dead letters in the last checkpoint.
    pub fn dead_letters(&self) -> Result<Vec<DeadLetterRow>, SqlError> {
        let Some(at) = self.manifest.dead_letters else { return Ok(vec![]) };
        let body = self.body(&mut Reader::default(), at)?;
        let json = if body.is_empty() { &[] } else { body.row(0) };
        serde_json::from_slice(json).map_err(|_| block::damage(&self.path_of(at.file), at.at))
    }

    /// A body that is read again, and decoded, when it is needed.
    fn later(&self, reader: &mut Reader, at: Block, rows: usize) -> Result<Body, SqlError> {
        self.read(reader, at)?;
        let bytes = block::check(&reader.block).ok_or_else(|| block::damage(&self.path_of(at.file), at.at))?;
        let (path, file) = reader.files.get(&at.file).ok_or_else(|| SqlError::internal("a file that is not open"))?;
        // The file stays readable as long as something needs it, even when no checkpoint names it any more.
        let (path, file) = (path.clone(), Arc::clone(file));
        Ok(Body::later(
            rows,
            bytes,
            Box::new(move || {
                let mut block = vec![0; at.len as usize];
                let found = file.read_at(&mut block, at.at);
                let body =
                    found.is_ok().then(|| block::decode(&block, &mut vec![])).flatten().filter(|b| b.len() >= rows);
                body.unwrap_or_else(|| {
                    let why = found.map_or_else(|e| file_error("read", &path, &e), |_| block::damage(&path, at.at));
                    tracing::error!("what a checkpoint holds, and was read before, cannot be read any more: {why}");
                    std::process::abort()
                })
            }),
        ))
    }

    fn body(&self, reader: &mut Reader, at: Block) -> Result<ChunkBody, SqlError> {
        self.read(reader, at)?;
        block::decode(&reader.block, &mut reader.raw).ok_or_else(|| block::damage(&self.path_of(at.file), at.at))
    }

    /// Opens a chunk file; whether it begins as it must.
    fn open_file(&self, number: u64) -> Result<(PathBuf, Arc<dyn FileHandle>, bool), SqlError> {
        let path = self.path_of(number);
        let file = self.fs.open(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => block::damage(&path, 0),
            _ => file_error("open", &path, &e),
        })?;
        let mut header = [0; FILE_HEADER.len()];
        file.read_at(&mut header, 0).map_err(|e| file_error("read", &path, &e))?;
        Ok((path, file.into(), header == FILE_HEADER))
    }

    /// Reads the bytes of a block.
    fn read(&self, reader: &mut Reader, at: Block) -> Result<(), SqlError> {
        let (path, file) = match reader.files.entry(at.file) {
            std::collections::hash_map::Entry::Occupied(e) => e.into_mut(),
            std::collections::hash_map::Entry::Vacant(e) => {
                let (path, file, whole) = self.open_file(at.file)?;
                if !whole {
                    return Err(block::damage(&path, 0));
                }
                e.insert((path, file))
            }
        };
        if (at.len as usize) < BLOCK_HEADER_BYTES {
            return Err(block::damage(path, at.at));
        }
        reader.block.resize(at.len as usize, 0);
        let found = file.read_at(&mut reader.block, at.at).map_err(|e| file_error("read", path, &e))?;
        if found == reader.block.len() { Ok(()) } else { Err(block::damage(path, at.at)) }
    }

    /// Writes what is new of `snapshot`, then calls `ready`, which waits until its tick is durable, then makes it the
    /// last checkpoint. After an error the last checkpoint is the one before, and another may be tried.
    pub fn write(
        &mut self,
        snapshot: Snapshot,
        ready: impl FnOnce() -> Result<(), SqlError>,
    ) -> Result<Written, SqlError> {
        let written = self.try_write(snapshot, ready);
        if let Err(e) = &written
            && !self.uncertain
            && let Err(more) = self.remove_unnamed()
        {
            tracing::warn!(error = %more, "what a checkpoint left that failed ({e}) could not be removed");
        }
        written
    }

    fn try_write(
        &mut self,
        snapshot: Snapshot,
        ready: impl FnOnce() -> Result<(), SqlError>,
    ) -> Result<Written, SqlError> {
        let sparse = self.sparse_files()?;
        self.stored.retain(|_, (body, at)| body.strong_count() > 0 && !sparse.contains(&at.file));
        let mut out = NewFile::new(self.next_file);
        out.paced = snapshot.unhurried.then(|| (Instant::now(), Instant::now()));
        self.next_file += 1;
        let mut relations = vec![];
        for part in snapshot.relations {
            relations.push(self.save_part(part, &sparse, &mut out)?);
        }
        let dead_letters = match &snapshot.dead_letters {
            Some(rows) => self.save_dead_letters(rows, &mut out)?,
            None => match self.manifest.dead_letters {
                Some(at) if sparse.contains(&at.file) => self.save_dead_letters(&self.dead_letters()?, &mut out)?,
                at => at,
            },
        };
        let bytes = out.finish(self)?;
        let manifest = Manifest {
            tick: snapshot.tick,
            log_floor: snapshot.log_floor,
            catalog: snapshot.catalog,
            next_file: self.next_file,
            relations,
            partitions: snapshot.partitions,
            earlier: snapshot.earlier,
            dead_letters,
            known: snapshot.known,
        };
        ready()?;
        self.uncertain = true;
        manifest.write(self.fs.as_ref(), &self.dir)?;
        self.uncertain = false;
        self.manifest = manifest;
        let files = self.manifest.files();
        self.stored.extend(out.stored);
        // A body that is not named now may be named again: not in a file that goes.
        self.stored.retain(|_, (_, at)| files.contains_key(&at.file));
        if let Err(e) = self.remove_unnamed() {
            tracing::warn!(error = %e, "files that no checkpoint needs could not be removed");
        }
        let total = files.values().flat_map(|f| f.values()).map(|len| u64::from(*len)).sum();
        Ok(Written { bytes, total, files: files.len() as u64 })
    }

    fn save_part(&self, part: SnapshotPart, sparse: &[u64], out: &mut NewFile) -> Result<SavedRelation, SqlError> {
        let SnapshotPart { id, part, fingerprint, apart, contents } = part;
        let mut saved =
            SavedRelation { id, part, fingerprint, apart, kind: Kind::Arrangement, since: 0, shards: vec![] };
        match contents {
            Contents::Arrangement(shards) => {
                saved.since = shards.iter().map(|s| s.since).max().unwrap_or(0);
                for shard in shards {
                    let runs = shard.runs.iter().map(|run| self.save_run(run, out)).collect::<Result<_, _>>()?;
                    saved.shards.push(runs);
                }
            }
            Contents::Entries(new) => {
                saved.kind = new.kind;
                let before = self.manifest.relation(id, part).filter(|r| r.fingerprint == fingerprint);
                if !new.all && before.is_none_or(|r| r.kind != new.kind) {
                    return Err(SqlError::internal("changes of a state that the last checkpoint does not have"));
                }
                let before = before.map_or(vec![], |r| r.shards.concat());
                saved.shards.push(entries::save(self, before, new, sparse, out)?);
            }
        }
        Ok(saved)
    }

    fn save_run(&self, run: &[ChunkView], out: &mut NewFile) -> Result<Vec<SavedView>, SqlError> {
        let mut views = vec![];
        for view in run.iter().filter(|v| !v.is_empty()) {
            let key = Arc::as_ptr(&view.body) as usize;
            // An address is not given again while there is a weak reference to what was there.
            let block = match self.stored.get(&key).or_else(|| out.stored.get(&key)) {
                Some((_, block)) => *block,
                None if view.body.data.len() > BODY_BYTES_MAX => {
                    views.extend(save_parts(self, view, out)?);
                    continue;
                }
                None => {
                    let block = out.push(self, &view.body)?;
                    out.stored.insert(key, (Arc::downgrade(&view.body), block));
                    block
                }
            };
            views.push(SavedView { block, lo: view.lo, hi: view.hi });
        }
        Ok(views)
    }

    fn save_dead_letters(&self, rows: &[DeadLetterRow], out: &mut NewFile) -> Result<Option<Block>, SqlError> {
        if rows.is_empty() {
            return Ok(None);
        }
        let json = serde_json::to_vec(rows)
            .map_err(|e| SqlError::internal(format!("dead letters cannot be serialised: {e}")))?;
        let mut body = ChunkBody::default();
        body.push(&json, 0, 0, 1);
        out.push(self, &body).map(Some)
    }

    /// Files of which so little is named that what is left is better written again.
    fn sparse_files(&self) -> Result<Vec<u64>, SqlError> {
        let mut sparse = vec![];
        for (number, blocks) in self.manifest.files() {
            let path = self.path_of(number);
            let file = self.fs.open(&path).map_err(|e| file_error("open", &path, &e))?;
            let size = file.len().map_err(|e| file_error("read", &path, &e))?;
            let named: u64 = blocks.values().map(|len| u64::from(*len)).sum();
            if named * LIVE_PART < size {
                sparse.push(number);
            }
        }
        Ok(sparse)
    }

    /// Removes files that the manifest does not name: of earlier checkpoints, or of one that a crash cut short.
    fn remove_unnamed(&self) -> Result<(), SqlError> {
        let named = self.manifest.files();
        for name in self.fs.list(&self.dir).map_err(|e| file_error("read", &self.dir, &e))? {
            let number = name.strip_suffix(".chunks").and_then(|n| n.parse::<u64>().ok());
            if name.ends_with(".tmp") || number.is_some_and(|n| !named.contains_key(&n)) {
                let path = self.dir.join(&name);
                self.fs.remove(&path).map_err(|e| file_error("remove", &path, &e))?;
            }
        }
        Ok(())
    }

    fn path_of(&self, number: u64) -> PathBuf {
        self.dir.join(file_name(number))
    }

    /// Those of a data directory, to be read alone; `None` where there is no manifest.
    fn unchanged(dir: &DataDir) -> Result<Option<Checkpoints>, SqlError> {
        let (fs, path) = (Arc::clone(dir.file_system()), dir.path().join("checkpoint"));
        let there = fs.list(dir.path()).map_err(|e| file_error("read", dir.path(), &e))?;
        let manifest = if there.iter().any(|n| n == "checkpoint") { Manifest::read(fs.as_ref(), &path)? } else { None };
        Ok(manifest.map(|manifest| {
            let (stored, next_file) = (HashMap::new(), manifest.next_file);
            Checkpoints { fs, dir: path, manifest, stored, next_file, uncertain: false, _lock: dir.clone() }
        }))
    }

    /// Reads the manifest and every block that it names, and changes nothing. The manifest, or why it cannot be read; what
    /// else is damaged goes into the report.
    pub fn verify(dir: &DataDir, report: &mut Report) -> Result<Manifest, SqlError> {
        let Some(all) = Self::unchanged(dir)? else { return Ok(Manifest::default()) };
        let (path, tick) = (all.dir.join(manifest::MANIFEST), all.manifest.tick);
        report.sound.push((path, format!("checkpoint at tick {tick}")));
        let mut reader = Reader::default();
        for (file, named) in all.manifest.files() {
            let (blocks, before) = (named.len(), report.problems.len());
            for (at, len) in named {
                if let Err(problem) = all.body(&mut reader, Block { file, at, len }) {
                    report.problems.push(problem);
                }
            }
            if report.problems.len() == before {
                report.sound.push((all.path_of(file), format!("{blocks} blocks")));
            }
        }
        Ok(all.manifest)
    }
}

/// The rows of a view whose body is too large for a block, as several; written anew each time.
fn save_parts(all: &Checkpoints, view: &ChunkView, out: &mut NewFile) -> Result<Vec<SavedView>, SqlError> {
    let mut views = vec![];
    let mut part = ChunkBody::default();
    for i in view.lo..view.hi {
        let row = view.body.row(i);
        let full = !part.is_empty() && part.data.len() + row.len() > BODY_BYTES_MAX;
        if full {
            views.push(SavedView { block: out.push(all, &part)?, lo: 0, hi: part.len() });
            part = ChunkBody::default();
        }
        part.push(row, view.body.key_lens.get(i) as usize, view.body.times.get(i), view.body.diffs.get(i));
    }
    views.push(SavedView { block: out.push(all, &part)?, lo: 0, hi: part.len() });
    Ok(views)
}

fn file_name(number: u64) -> String {
    format!("{number:016}.chunks")
}

/// Bodies in memory that are on disk too, by address.
type Stored = HashMap<usize, (Weak<Body>, Block)>;

/// A chunk file that is being written; made with its first block.
struct NewFile {
    number: u64,
    /// What is in it; counts when a manifest names it.
    stored: Stored,
    file: Option<Box<dyn FileHandle>>,
    /// What is not written yet.
    buffer: Vec<u8>,
    /// Room for a block before it is compressed.
    raw: Vec<u8>,
    /// Where the buffer goes.
    at: u64,
    bytes: u64,
    /// When it was begun and when the last pause ended, where there are pauses.
    paced: Option<(Instant, Instant)>,
}

impl NewFile {
    fn new(number: u64) -> NewFile {
        NewFile {
            number,
            stored: HashMap::new(),
            file: None,
            buffer: FILE_HEADER.to_vec(),
            raw: vec![],
            at: 0,
            bytes: 0,
            paced: None,
        }
    }

    /// Rests twice as long as was worked since the last time.
    fn rest(&mut self) {
        if let Some((begun, since)) = &mut self.paced
            && begun.elapsed() < RESTS_FOR
        {
            std::thread::sleep((since.elapsed() * 2).min(LONGEST_REST));
            *since = Instant::now();
        }
    }

    fn push(&mut self, all: &Checkpoints, body: &ChunkBody) -> Result<Block, SqlError> {
        self.rest();
        let at = self.at + self.buffer.len() as u64;
        block::encode(body, &mut self.raw, &mut self.buffer)?;
        let len = self.at + self.buffer.len() as u64 - at;
        self.bytes += len;
        if self.buffer.len() >= WRITE_BYTES {
            self.flush(all)?;
        }
        let len = u32::try_from(len)
            .map_err(|_| SqlError::new(SqlState::PROGRAM_LIMIT, "a chunk does not fit into a block"))?;
        Ok(Block { file: self.number, at, len })
    }

    /// Takes over a block of another file, as it is.
    fn copy(&mut self, all: &Checkpoints, reader: &mut Reader, from: Block) -> Result<Block, SqlError> {
        all.read(reader, from)?;
        let at = self.at + self.buffer.len() as u64;
        self.buffer.extend_from_slice(&reader.block);
        self.bytes += reader.block.len() as u64;
        if self.buffer.len() >= WRITE_BYTES {
            self.flush(all)?;
        }
        Ok(Block { file: self.number, at, len: from.len })
    }

    /// Writes what is in the buffer, and makes it durable.
    fn flush(&mut self, all: &Checkpoints) -> Result<(), SqlError> {
        let path = all.path_of(self.number);
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(all.fs.create(&path).map_err(|e| file_error("create", &path, &e))?),
        };
        file.write_at(&self.buffer, self.at).map_err(|e| file_error("write", &path, &e))?;
        file.sync().map_err(|e| file_error("sync", &path, &e))?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes it durable; bytes of its blocks.
    fn finish(&mut self, all: &Checkpoints) -> Result<u64, SqlError> {
        if self.bytes == 0 {
            return Ok(0);
        }
        self.flush(all)?;
        all.fs.sync_dir(&all.dir).map_err(|e| file_error("sync", &all.dir, &e))?;
        Ok(self.bytes)
    }
}
