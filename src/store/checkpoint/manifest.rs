//! The manifest: what a checkpoint consists of.
//!
//! Layout, version 3: the line `headwater manifest 3 <CRC32C of the rest, eight hex digits>`, then JSON. It is replaced
//! as a whole by an atomic rename, which is what makes a checkpoint count. Version 1 had the contents of tables alone:
//! what it lacks has a default.

use super::Kind;
use crate::files::{FileSystem, file_error, write_atomically};
use hw_repr::{Diff, GlobalId, SqlError, SqlState, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The manifest's file name.
pub const MANIFEST: &str = "MANIFEST";
const MAGIC: &str = "headwater manifest ";
const VERSION: u32 = 3;
/// Those that are read.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=VERSION;
/// The fingerprint of what is to be computed anew.
pub(super) const DISTRUSTED: u64 = u64::MAX;
const HINT: &str = "\"headwater verify\" lists all that is damaged. Restore the data directory from a backup, or see what \
                    \"headwater repair\" can save.";

/// A checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Everything up to this tick is in it.
    pub tick: Timestamp,
    /// The log may lack ticks up to this one.
    pub log_floor: Timestamp,
    /// The last tick that changed the catalog.
    pub catalog: Timestamp,
    /// No chunk file has this number or a greater one.
    pub next_file: u64,
    /// The state of relations.
    pub relations: Vec<SavedRelation>,
    /// How far sources have come.
    pub partitions: Vec<SavedPartition>,
    /// Positions at some earlier ticks, ascending; the first is at `log_floor`, unless that is 0.
    pub earlier: Vec<Positions>,
    /// The block with the dead letters, as JSON.
    pub dead_letters: Option<Block>,
    /// Relations whose history is kept, and from when on they can be read as they were.
    #[serde(default)]
    pub known: Vec<(GlobalId, Timestamp)>,
}

/// A part of the state of a relation: sorted runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedRelation {
    /// Which.
    pub id: GlobalId,
    /// Which part; 0 are the contents.
    #[serde(default)]
    pub part: u32,
    /// Of what it was computed by; 0 where nobody asks.
    #[serde(default)]
    pub fingerprint: u64,
    /// Of an arrangement: the columns by which its rows are on the workers, where they are not by its key. Since version 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apart: Option<Vec<usize>>,
    /// What the runs are.
    #[serde(default)]
    pub kind: Kind,
    /// It can be read from this time on.
    pub since: Timestamp,
    /// By worker, the runs, each the views of one after the other. Entries are not kept by worker.
    pub shards: Vec<Vec<Vec<SavedView>>>,
}

/// Some rows of a stored chunk body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedView {
    /// The body.
    pub block: Block,
    /// First row.
    pub lo: usize,
    /// One past the last row.
    pub hi: usize,
}

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Block {
    /// Number of the chunk file.
    pub file: u64,
    /// First byte.
    pub at: u64,
    /// Bytes.
    pub len: u32,
}

/// What is known of a partition of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPartition {
    /// The source.
    pub source: GlobalId,
    /// Partition.
    pub partition: i32,
    /// Where it begins.
    pub start: i64,
    /// The next offset to read.
    pub next: i64,
    /// What was read of it, in order.
    pub ranges: Vec<SavedRange>,
}

/// A range of offsets, and what it held: messages, CRC32C, bytes; `None` where it went by unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedRange {
    /// First offset.
    pub from: i64,
    /// One past the last.
    pub to: i64,
    /// See above.
    pub digest: Option<(u64, u32, u64)>,
}

/// Positions of all partitions at a tick.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions {
    /// The tick.
    pub tick: Timestamp,
    /// (source, partition, next offset).
    pub next: Vec<(GlobalId, i32, i64)>,
}

impl Manifest {
    /// Every block with its bytes, by file.
    pub(super) fn files(&self) -> BTreeMap<u64, BTreeMap<u64, u32>> {
        let views = self.relations.iter().flat_map(|r| r.shards.iter().flatten().flatten());
        let mut files: BTreeMap<u64, BTreeMap<u64, u32>> = BTreeMap::new();
        for block in views.map(|v| v.block).chain(self.dead_letters) {
            files.entry(block.file).or_default().insert(block.at, block.len);
        }
        files
    }

    /// A part of a relation, where it is there.
    pub(super) fn relation(&self, id: GlobalId, part: u32) -> Option<&SavedRelation> {
        self.relations.iter().find(|r| (r.id, r.part) == (id, part))
    }

    /// Changes stored.
    pub fn rows(&self) -> Diff {
        let views = self.relations.iter().flat_map(|r| r.shards.iter().flatten().flatten());
        views.map(|v| (v.hi - v.lo) as Diff).sum()
    }

    /// Reads the manifest of a directory; `None` where there is none. `XX001` where it is damaged.
    pub(super) fn read(fs: &dyn FileSystem, dir: &Path) -> Result<Option<Manifest>, SqlError> {
        let path = dir.join(MANIFEST);
        if !fs.list(dir).map_err(|e| file_error("read", dir, &e))?.iter().any(|n| n == MANIFEST) {
            return Ok(None);
        }
        let file = fs.open(&path).map_err(|e| file_error("open", &path, &e))?;
        let len = file.len().map_err(|e| file_error("read", &path, &e))?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        file.read_at(&mut bytes, 0).map_err(|e| file_error("read", &path, &e))?;
        let damaged = || {
            let message = format!("the checkpoint's manifest is damaged: \"{}\"", path.display());
            SqlError::new(SqlState::DATA_CORRUPTED, message).hint(HINT)
        };
        let (version, json) = open(&bytes).ok_or_else(damaged)?;
        if !VERSIONS.contains(&version) {
            let message =
                format!("\"{}\" has format version {version}, this server reads up to {VERSION}", path.display());
            return Err(SqlError::new(SqlState::PREREQUISITE_STATE, message)
                .hint("Start the version of the server that wrote it."));
        }
        serde_json::from_slice(json).map(Some).map_err(|_| damaged())
    }

    /// Makes this the directory's manifest, durably.
    pub(super) fn write(&self, fs: &dyn FileSystem, dir: &Path) -> Result<(), SqlError> {
        let json = serde_json::to_vec(self)
            .map_err(|e| SqlError::internal(format!("the manifest cannot be serialised: {e}")))?;
        let mut bytes = format!("{MAGIC}{VERSION} {:08x}\n", crc32c::crc32c(&json)).into_bytes();
        bytes.extend_from_slice(&json);
        write_atomically(fs, dir, MANIFEST, &bytes)
    }
}

/// The version of a manifest and its JSON; `None` where the checksum is wrong.
fn open(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let (line, json) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]);
    let (version, crc) = line.strip_prefix(MAGIC)?.split_once(' ')?;
    let whole = u32::from_str_radix(crc, 16).ok()? == crc32c::crc32c(json);
    whole.then_some((version.parse().ok()?, json))
}
