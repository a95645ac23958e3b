//! What of a damaged checkpoint can be kept: which blocks cannot be read, the rows of a table that are not in them, and a
//! manifest without what is lost.
//!
//! A block holds changes of rows, and later runs take back what earlier ones added. So where a block of a later run is
//! missing, rows of earlier ones may be as they were before; what the log has of a key says better, on either side of the
//! checkpoint's tick. Invariants: no row is there a negative number of times, no primary key twice, and what the log takes
//! back after the checkpoint is there.

use super::block::{self, FILE_HEADER};
use super::entries::{BODY_BYTES, BODY_ROWS, Cursor, Source};
use super::{Block, Checkpoints, Manifest, NewFile, Positions, Reader, SavedRelation, SavedView};
use crate::DataDir;
use crate::files::{FileHandle, file_error};
use hw_repr::chunk::ChunkBody;
use hw_repr::{GlobalId, SqlError, SqlState};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

/// What the log says of a table at the checkpoint's tick.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// No key is there twice.
    pub unique: bool,
    /// By key: the row that was there and how often at least, or that none was. Keys of tables that have no unique ones are
    /// whole rows.
    pub keys: BTreeMap<Vec<u8>, Option<(Vec<u8>, i64)>>,
}

/// What of a table is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Rows that are kept.
    pub kept: i64,
    /// Of these, rows that only the log knows of.
    pub known: i64,
    /// Rows, and changes of rows, in blocks that cannot be read.
    pub lost: usize,
    /// Of these, what may have been a change of a row that an earlier run has.
    pub changes: usize,
    /// Blocks that cannot be read.
    pub blocks: usize,
}

/// What is to become of a checkpoint.
#[derive(Debug, Default)]
pub struct Changed {
    /// Relations of which nothing is kept.
    pub dropped: BTreeSet<GlobalId>,
    /// Tables of which the rows are kept that can be, with what is known of them.
    pub salvaged: BTreeMap<GlobalId, Known>,
    /// The log begins at the checkpoint's tick.
    pub log_begins: bool,
}

/// A checkpoint whose manifest can be read.
#[derive(Debug)]
pub struct Salvage {
    all: Checkpoints,
    files: HashMap<u64, (PathBuf, Arc<dyn FileHandle>)>,
    bad: BTreeSet<Block>,
    /// Files of which nothing but the first bytes is damaged.
    headers: BTreeSet<u64>,
    /// What is not as it was written.
    pub damage: Vec<SqlError>,
}

impl Salvage {
    /// Reads the checkpoint of a data directory; `None` where there is none. Errors: `XX001` where the manifest is damaged,
    /// `55000` where another version wrote it.
    pub fn of(dir: &DataDir) -> Result<Option<Salvage>, SqlError> {
        let Some(all) = Checkpoints::unchanged(dir)? else { return Ok(None) };
        let (files, bad, headers) = (HashMap::new(), BTreeSet::new(), BTreeSet::new());
        let mut salvage = Salvage { all, files, bad, headers, damage: vec![] };
        let mut rows: BTreeMap<Block, usize> = BTreeMap::new();
        for view in salvage.all.manifest.relations.iter().flat_map(|r| r.shards.iter().flatten().flatten()) {
            let most = rows.entry(view.block).or_default();
            *most = view.hi.max(*most);
        }
        for (file, named) in salvage.all.manifest.files() {
            let blocks: Vec<Block> = named.into_iter().map(|(at, len)| Block { file, at, len }).collect();
            salvage.read_file(file, &blocks, &rows)?;
        }
        Ok(Some(salvage))
    }

    fn read_file(&mut self, file: u64, blocks: &[Block], rows: &BTreeMap<Block, usize>) -> Result<(), SqlError> {
        let (path, handle, whole) = match self.all.open_file(file) {
            Ok(opened) => opened,
            Err(e) if e.code == SqlState::DATA_CORRUPTED => {
                self.bad.extend(blocks);
                self.damage.push(e);
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let mut header = FILE_HEADER;
        handle.read_at(&mut header, 0).map_err(|e| file_error("read", &path, &e))?;
        self.files.insert(file, (path.clone(), handle));
        let (mut reader, mut bad) = (self.reader(), vec![]);
        for at in blocks {
            let least = rows.get(at).copied().unwrap_or(0);
            if let Err(e) = self.all.body(&mut reader, *at).and_then(|body| match body.len() >= least {
                true => Ok(()),
                false => Err(block::damage(&path, at.at)),
            }) {
                bad.push(*at);
                self.damage.push(e);
            }
        }
        if !whole && bad.len() == blocks.len() && header[..7] == FILE_HEADER[..7] {
            let message = format!("\"{}\" has format version {}, this server reads 1", path.display(), header[7]);
            return Err(SqlError::new(SqlState::PREREQUISITE_STATE, message)
                .hint("Use the version of the server that wrote it."));
        }
        if !whole && bad.len() < blocks.len() {
            self.headers.insert(file);
            self.damage.push(block::damage(&path, 0));
        }
        self.bad.extend(bad);
        Ok(())
    }

    /// Reads blocks whatever their files begin with.
    fn reader(&self) -> Reader {
        Reader { files: self.files.clone(), ..Reader::default() }
    }

    /// The checkpoint.
    pub fn manifest(&self) -> &Manifest {
        &self.all.manifest
    }

    /// Relations of which something cannot be read.
    pub fn damaged(&self) -> BTreeSet<GlobalId> {
        let bad = |r: &&SavedRelation| r.shards.iter().flatten().flatten().any(|v| self.bad.contains(&v.block));
        self.all.manifest.relations.iter().filter(bad).map(|r| r.id).collect()
    }

    /// True where the dead letters cannot be read.
    pub fn lost_dead_letters(&self) -> bool {
        self.all.manifest.dead_letters.is_some_and(|at| self.bad.contains(&at))
    }

    /// Files whose beginning alone is damaged.
    pub fn damaged_headers(&self) -> usize {
        self.headers.len()
    }

    /// Every file of the checkpoint that a start may remove or replace after [`Salvage::write`].
    pub fn paths(&self) -> Result<Vec<PathBuf>, SqlError> {
        let names = self.all.fs.list(&self.all.dir).map_err(|e| file_error("read", &self.all.dir, &e))?;
        Ok(names.into_iter().filter(|n| !n.ends_with(".tmp")).map(|n| self.all.dir.join(n)).collect())
    }

    /// What can be kept of a table; writes nothing.
    pub fn look(&self, table: GlobalId, known: &Known) -> Result<Salvaged, SqlError> {
        match self.all.manifest.relation(table, 0) {
            Some(saved) => self.salvage(saved, known, &mut |_, _, _| Ok(())),
            None => Ok(Salvaged::default()),
        }
    }

    /// Makes the checkpoint what it is to become, as a whole or not at all.
    pub fn write(&self, changed: &Changed) -> Result<(), SqlError> {
        self.mend_headers()?;
        let mut manifest = self.all.manifest.clone();
        let mut out = NewFile::new(manifest.next_file);
        manifest.next_file += 1;
        manifest.relations.retain(|r| !changed.dropped.contains(&r.id));
        for saved in manifest.relations.iter_mut().filter(|r| r.part == 0) {
            if let Some(known) = changed.salvaged.get(&saved.id) {
                let run = self.rewrite(saved, known, &mut out)?;
                // One shard: a start gives each row to the worker that owns it.
                saved.shards = vec![if run.is_empty() { vec![] } else { vec![run] }];
                saved.since = manifest.tick;
            }
        }
        manifest.dead_letters = manifest.dead_letters.filter(|at| !self.bad.contains(at));
        if changed.log_begins {
            let next = manifest.partitions.iter().map(|p| (p.source, p.partition, p.next)).collect();
            manifest.log_floor = manifest.tick;
            manifest.earlier = vec![Positions { tick: manifest.tick, next }];
        }
        out.finish(&self.all)?;
        manifest.write(self.all.fs.as_ref(), &self.all.dir)
    }

    fn rewrite(&self, saved: &SavedRelation, known: &Known, out: &mut NewFile) -> Result<Vec<SavedView>, SqlError> {
        let (mut views, mut body) = (vec![], ChunkBody::default());
        let tick = self.all.manifest.tick;
        let mut flush = |body: &mut ChunkBody| {
            let full = std::mem::take(body);
            views.push(SavedView { block: out.push(&self.all, &full)?, lo: 0, hi: full.len() });
            Ok::<(), SqlError>(())
        };
        self.salvage(saved, known, &mut |row, key_len, count| {
            body.push(row, key_len, tick, count);
            if body.len() >= BODY_ROWS || body.data.len() >= BODY_BYTES { flush(&mut body) } else { Ok(()) }
        })?;
        if !body.is_empty() {
            flush(&mut body)?;
        }
        Ok(views)
    }

    /// Gives the rows that are kept, in order: bytes, length of the key, how often.
    fn salvage(&self, saved: &SavedRelation, known: &Known, keep: &mut Keep<'_>) -> Result<Salvaged, SqlError> {
        let mut reader = self.reader();
        let (mut sources, mut out) = (vec![], Salvaged::default());
        for runs in &saved.shards {
            for (age, run) in runs.iter().enumerate() {
                let (bad, good): (Vec<SavedView>, Vec<SavedView>) =
                    run.iter().partition(|v| self.bad.contains(&v.block));
                let lost: usize = bad.iter().map(|v| v.hi - v.lo).sum();
                out.lost += lost;
                out.changes += if age > 0 { lost } else { 0 };
                out.blocks += bad.len();
                sources.push(Source { left: good.into_iter().filter(|v| v.lo < v.hi).collect(), ..Source::default() });
            }
        }
        let mut merge = Merge::new(&self.all, &mut reader, sources)?;
        let mut left = known.keys.iter().peekable();
        let mut next = merge.next_row(&self.all, &mut reader)?;
        while let Some(first) = next.take() {
            let key = first.row[..first.key_len].to_vec();
            while let Some((key, row)) = left.next_if(|(known, _)| **known < key) {
                out.keep(key, &[], Some(row), known.unique, keep)?;
            }
            let mut rows = vec![first];
            loop {
                next = merge.next_row(&self.all, &mut reader)?;
                match next.take_if(|row| row.row[..row.key_len] == key) {
                    Some(row) => rows.push(row),
                    None => break,
                }
            }
            let said = left.next_if(|(known, _)| **known == key).map(|(_, row)| row);
            out.keep(&key, &rows, said, known.unique, keep)?;
        }
        left.try_for_each(|(key, row)| out.keep(key, &[], Some(row), known.unique, keep))?;
        Ok(out)
    }

    /// Replaces files that do not begin as they must by copies that do.
    fn mend_headers(&self) -> Result<(), SqlError> {
        let fs = self.all.fs.as_ref();
        for (path, from) in self.headers.iter().filter_map(|file| self.files.get(file)) {
            let temporary = path.with_extension("chunks.tmp");
            let mut to = fs.create(&temporary).map_err(|e| file_error("create", &temporary, &e))?;
            let (mut block, mut at) = (vec![0; 1 << 20], FILE_HEADER.len() as u64);
            let copied = to.write_at(&FILE_HEADER, 0).and_then(|()| {
                loop {
                    let n = from.read_at(&mut block, at)?;
                    if n == 0 {
                        return to.sync();
                    }
                    to.write_at(&block[..n], at)?;
                    at += n as u64;
                }
            });
            copied.map_err(|e| file_error("write", &temporary, &e))?;
            fs.rename(&temporary, path).map_err(|e| file_error("rename", &temporary, &e))?;
        }
        fs.sync_dir(&self.all.dir).map_err(|e| file_error("sync", &self.all.dir, &e))
    }
}

/// Takes a row that is kept: bytes, length of the key, how often.
type Keep<'a> = dyn FnMut(&[u8], usize, i64) -> Result<(), SqlError> + 'a;

/// A row by all of its changes that can be read.
struct Row {
    row: Vec<u8>,
    key_len: usize,
    count: i64,
    /// The last run that has it.
    newest: usize,
}

impl Salvaged {
    /// Keeps what there was of a key, by the rows that can be read and by what the log says.
    fn keep(
        &mut self,
        key: &[u8],
        rows: &[Row],
        said: Option<&Option<(Vec<u8>, i64)>>,
        unique: bool,
        keep: &mut Keep<'_>,
    ) -> Result<(), SqlError> {
        let there = rows.iter().filter(|r| r.count > 0);
        let found = there.max_by_key(|r| r.newest).map(|r| (&r.row, if unique { 1 } else { r.count }));
        let chosen = match said {
            Some(None) => None,
            Some(Some((row, least))) => {
                let read = found.filter(|(found, _)| *found == row).map_or(0, |(_, count)| count);
                let count = if unique { *least } else { read.max(*least) };
                self.known += (count - read).max(0);
                Some((row, count))
            }
            None => found,
        };
        match chosen {
            Some((row, count)) => {
                self.kept += count;
                keep(row, key.len(), count)
            }
            None => Ok(()),
        }
    }
}

/// All runs at once, by row.
struct Merge {
    sources: Vec<Source>,
    heap: BinaryHeap<Reverse<Cursor>>,
}

impl Merge {
    fn new(all: &Checkpoints, reader: &mut Reader, mut sources: Vec<Source>) -> Result<Merge, SqlError> {
        let mut heap = BinaryHeap::with_capacity(sources.len());
        for (source, s) in sources.iter_mut().enumerate() {
            if let Some((body, at, hi)) = s.load(all, reader)? {
                heap.push(Reverse(Cursor { body, at, hi, source }));
            }
        }
        Ok(Merge { sources, heap })
    }

    fn next_row(&mut self, all: &Checkpoints, reader: &mut Reader) -> Result<Option<Row>, SqlError> {
        let Some(Reverse(first)) = self.heap.peek() else { return Ok(None) };
        let (bytes, key_len) = (first.body.row(first.at).to_vec(), first.body.key_lens.get(first.at) as usize);
        let mut row = Row { row: bytes, key_len, count: 0, newest: 0 };
        while let Some(Reverse(mut c)) = self.heap.pop() {
            if c.body.row(c.at) != row.row {
                self.heap.push(Reverse(c));
                break;
            }
            row.count += c.body.diffs.get(c.at);
            row.newest = row.newest.max(c.source);
            c.at += 1;
            if c.at == c.hi {
                match self.sources[c.source].load(all, reader)? {
                    Some((body, at, hi)) => (c.body, c.at, c.hi) = (body, at, hi),
                    None => continue,
                }
            }
            self.heap.push(Reverse(c));
        }
        Ok(Some(row))
    }
}
