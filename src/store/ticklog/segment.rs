//! One segment file of the tick log: header, frames, and telling a torn tail from damage.
//!
//! A segment is a file `log/<sequence, 16 hex digits>.seg`, extended by blocks of zeros that are synced before any
//! record is written into them, so that a later fdatasync writes no metadata. Integers are little endian.
//! ```text
//! header, 64 bytes:  "HWTL" · version u32 · sequence u64 · salt u64 · previous u64 · crc u32 · zeros
//! frame, 8-aligned:  "HWTK" · payload length u32 · crc u32 · kind u32 · synced u64 · payload · zeros up to 8
//! ```
//! `previous` is the time of the last tick before this segment (0: none). `kind` is 1 for a tick, 2 for the mark that
//! ends a segment which has a successor. `synced` is the offset up to which the segment was durable when the frame was
//! written. The frame's CRC32C covers salt, offset, kind, synced, length and payload: bytes of a frame that are
//! somewhere else (a record can hold any user's bytes) are never a valid frame.
//!
//! Torn or damaged? A frame that cannot be read is *torn* (never acknowledged) unless some valid frame after it says
//! that more was synced when it was written; then it is *damage*. Only the last segment can be torn.

use crate::TickRecord;
use crate::files::{FileHandle, FileSystem, file_error};
use hw_repr::{SqlError, SqlState};
use std::io;
use std::path::{Path, PathBuf};

/// The version of segment files.
pub const SEGMENT_VERSION: u32 = 1;
/// Where the first frame begins.
pub const HEADER_BYTES: u64 = 64;
/// Bytes before a frame's payload.
pub const FRAME_BYTES: u64 = 24;
/// The largest payload.
pub const PAYLOAD_BYTES_MAX: u64 = 1 << 30;
const SEGMENT_MAGIC: [u8; 4] = *b"HWTL";
const FRAME_MAGIC: [u8; 4] = *b"HWTK";

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A tick.
    Tick = 1,
    /// The segment ends here and has a successor.
    End = 2,
}

/// What a segment's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Its number, one more than its predecessor's.
    pub sequence: u64,
    /// Mixed into every checksum.
    pub salt: u64,
    /// Time of the last tick before it.
    pub previous: u64,
}

impl SegmentHeader {
    /// Its bytes on disk.
    pub fn encode(&self) -> [u8; HEADER_BYTES as usize] {
        let mut out = [0u8; HEADER_BYTES as usize];
        out[0..4].copy_from_slice(&SEGMENT_MAGIC);
        out[4..8].copy_from_slice(&SEGMENT_VERSION.to_le_bytes());
        out[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        out[16..24].copy_from_slice(&self.salt.to_le_bytes());
        out[24..32].copy_from_slice(&self.previous.to_le_bytes());
        let crc = crc32c::crc32c(&out[..32]);
        out[32..36].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8], path: &Path) -> Result<SegmentHeader, SqlError> {
        if bytes.len() < HEADER_BYTES as usize || bytes[0..4] != SEGMENT_MAGIC {
            return Err(damage(path, 0, "it does not begin like a segment of the tick log"));
        }
        if crc32c::crc32c(&bytes[..32]) != u32_at(bytes, 32) {
            return Err(damage(path, 0, "the checksum of the segment's header is wrong"));
        }
        let version = u32_at(bytes, 4);
        if version != SEGMENT_VERSION {
            return Err(SqlError::new(
                SqlState::PREREQUISITE_STATE,
                format!("\"{}\" has format version {version}, this server reads {SEGMENT_VERSION}", path.display()),
            )
            .hint("Start the version of the server that wrote it."));
        }
        Ok(SegmentHeader { sequence: u64_at(bytes, 8), salt: u64_at(bytes, 16), previous: u64_at(bytes, 24) })
    }
}

/// The name of a segment's file.
pub fn segment_name(sequence: u64) -> String {
    format!("{sequence:016x}.seg")
}

/// The sequence number in a file's name, or `None` for another file.
pub fn segment_sequence(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// `XX001`, naming file and offset.
pub fn damage(path: &Path, offset: u64, what: &str) -> SqlError {
    SqlError::new(
        SqlState::DATA_CORRUPTED,
        format!("the tick log is damaged: file \"{}\", offset {offset}: {what}", path.display()),
    )
    .hint(
        "Restore the file from a backup, or see what \"headwater repair\" can save. The server does not start on a damaged \
         log, so that nothing is lost silently.",
    )
}

/// Encodes a frame: header, payload, padding.
pub fn encode_frame(salt: u64, offset: u64, synced: u64, kind: FrameKind, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(frame_len(payload.len() as u64) as usize);
    out.extend_from_slice(&FRAME_MAGIC);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(kind as u32).to_le_bytes());
    out.extend_from_slice(&synced.to_le_bytes());
    let crc = frame_crc(salt, offset, &out, payload);
    out[8..12].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(payload);
    out.resize(frame_len(payload.len() as u64) as usize, 0);
    out
}

/// Bytes of a frame with its header and padding.
pub fn frame_len(payload: u64) -> u64 {
    (FRAME_BYTES + payload).next_multiple_of(8)
}

fn frame_crc(salt: u64, offset: u64, header: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32c::crc32c(&salt.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &offset.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &header[4..8]);
    crc = crc32c::crc32c_append(crc, &header[12..24]);
    crc32c::crc32c_append(crc, payload)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// A frame that was read.
#[derive(Debug)]
pub struct Frame {
    /// What it is.
    pub kind: FrameKind,
    /// What was durable when it was written.
    pub synced: u64,
    /// Its contents.
    pub payload: Vec<u8>,
    /// Where the next one begins.
    pub next: u64,
}

/// What is at an offset.
#[derive(Debug)]
pub enum FrameAt {
    /// A valid frame.
    Valid(Frame),
    /// Zeros or the end of the file: nothing was written here.
    Nothing,
    /// Bytes that are no valid frame, and why.
    Bad(&'static str),
}

/// An open segment, for reading.
#[derive(Debug)]
pub struct SegmentReader {
    /// The file.
    pub file: Box<dyn FileHandle>,
    /// Its path.
    pub path: PathBuf,
    /// Its header.
    pub header: SegmentHeader,
    /// Its length when it was opened.
    pub len: u64,
}

impl SegmentReader {
    /// Opens segment `sequence` and checks its header.
    pub fn open(fs: &dyn FileSystem, dir: &Path, sequence: u64) -> Result<SegmentReader, SqlError> {
        let path = dir.join(segment_name(sequence));
        let file = fs.open(&path).map_err(|e| file_error("open", &path, &e))?;
        let len = file.len().map_err(|e| file_error("read", &path, &e))?;
        let mut bytes = vec![0u8; HEADER_BYTES as usize];
        let n = file.read_at(&mut bytes, 0).map_err(|e| file_error("read", &path, &e))?;
        let header = SegmentHeader::decode(&bytes[..n], &path)?;
        if header.sequence != sequence {
            return Err(damage(&path, 0, "the segment's number is not that of its name"));
        }
        Ok(SegmentReader { file, path, header, len })
    }

    /// What is at `offset`. Holds one frame in memory.
    pub fn frame_at(&self, offset: u64) -> Result<FrameAt, SqlError> {
        self.try_frame_at(offset).map_err(|e| file_error("read", &self.path, &e))
    }

    fn try_frame_at(&self, offset: u64) -> io::Result<FrameAt> {
        let mut header = [0u8; FRAME_BYTES as usize];
        let n = self.file.read_at(&mut header, offset)?;
        if header[..n].iter().all(|b| *b == 0) {
            return Ok(FrameAt::Nothing);
        }
        if n < header.len() || header[0..4] != FRAME_MAGIC {
            return Ok(FrameAt::Bad("no record begins here"));
        }
        let payload_len = u64::from(u32_at(&header, 4));
        if payload_len > PAYLOAD_BYTES_MAX || offset + FRAME_BYTES + payload_len > self.len {
            return Ok(FrameAt::Bad("the length of the record is impossible"));
        }
        let mut payload = vec![0u8; payload_len as usize];
        let n = self.file.read_at(&mut payload, offset + FRAME_BYTES)?;
        if n < payload.len() || frame_crc(self.header.salt, offset, &header, &payload) != u32_at(&header, 8) {
            return Ok(FrameAt::Bad("the checksum of the record is wrong"));
        }
        let kind = match u32_at(&header, 12) {
            1 => FrameKind::Tick,
            2 => FrameKind::End,
            _ => return Ok(FrameAt::Bad("the record is of an unknown kind")),
        };
        let next = offset + frame_len(payload_len);
        Ok(FrameAt::Valid(Frame { kind, synced: u64_at(&header, 16), payload, next }))
    }

    /// The offset of the first byte at or after `from` that is not zero.
    pub fn first_written(&self, from: u64) -> Result<Option<u64>, SqlError> {
        let mut found = None;
        self.scan(from, |offset, block| {
            found = block.iter().position(|b| *b != 0).map(|i| offset + i as u64);
            found.is_none()
        })?;
        Ok(found)
    }

    /// True where a valid frame after `offset` says that the bytes at `offset` were durable when it was written.
    pub fn was_synced(&self, offset: u64) -> Result<bool, SqlError> {
        for at in self.candidates(offset)? {
            if let FrameAt::Valid(frame) = self.frame_at(at)?
                && frame.synced > offset
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where the first valid frame after `offset` begins.
    pub fn next_valid(&self, offset: u64) -> Result<Option<u64>, SqlError> {
        for at in self.candidates(offset)? {
            if let FrameAt::Valid(_) = self.frame_at(at)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// The time in a frame whose checksum is wrong, where by its length it is all that there is from `offset` to `next`.
    pub fn time_of_one(&self, offset: u64, next: u64) -> Result<Option<u64>, SqlError> {
        let mut begin = [0u8; FRAME_BYTES as usize + 11];
        let n = self.file.read_at(&mut begin, offset).map_err(|e| file_error("read", &self.path, &e))?;
        let one = n == begin.len() && offset + frame_len(u64::from(u32_at(&begin, 4))) == next;
        Ok(if one { TickRecord::time_at_start(&begin[FRAME_BYTES as usize..]) } else { None })
    }

    /// Where frames after `offset` may begin.
    fn candidates(&self, offset: u64) -> Result<Vec<u64>, SqlError> {
        let mut candidates = vec![];
        self.scan(offset + 8 - offset % 8, |start, block| {
            let (words, _) = block.as_chunks::<8>();
            candidates.extend(
                words.iter().enumerate().filter(|(_, w)| w[..4] == FRAME_MAGIC).map(|(i, _)| start + 8 * i as u64),
            );
            true
        })?;
        Ok(candidates)
    }

    /// One past the last byte that is not zero.
    pub fn written(&self) -> Result<u64, SqlError> {
        let mut end = 0;
        self.scan(0, |offset, block| {
            end = block.iter().rposition(|b| *b != 0).map_or(end, |i| offset + i as u64 + 1);
            true
        })?;
        Ok(end)
    }

    /// Calls `visit` with blocks up to the end of the file, until it returns false.
    fn scan(&self, from: u64, mut visit: impl FnMut(u64, &[u8]) -> bool) -> Result<(), SqlError> {
        let mut block = vec![0u8; 1 << 18];
        let mut offset = from;
        loop {
            let n = self.file.read_at(&mut block, offset).map_err(|e| file_error("read", &self.path, &e))?;
            if n == 0 || !visit(offset, &block[..n]) {
                return Ok(());
            }
            offset += n as u64;
        }
    }
}
