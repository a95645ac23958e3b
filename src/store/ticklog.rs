//! The tick log: the server's only commit point.
//!
//! An append-only sequence of segment files (see [`segment`] for their layout) in `log/` of the data directory, each
//! frame one [`TickRecord`]. Ticks' times strictly increase. What [`TickLog::sync`] has returned for is never lost;
//! what was appended after the last sync may be torn by a crash and is then cut at the next start.
//!
//! Invariants: appends go to the last segment only; every other segment ends with an end mark; after a failed write
//! or sync the log is closed for good, because what the kernel still holds is unknown then. Does not know what a
//! tick means and does not acknowledge anything itself (see [`crate::LogWriter`]).

mod rebuild;
pub mod segment;
mod spare;
mod survey;
#[cfg(test)]
mod tests;

use crate::files::{FileHandle, FileSystem, file_error};
use crate::verify::{Reach, Report};
use crate::{DataDir, TickRecord};
use hw_repr::{SqlError, SqlState};
use segment::{
    FrameAt, FrameKind, HEADER_BYTES, PAYLOAD_BYTES_MAX, SegmentHeader, SegmentReader, damage, encode_frame, frame_len,
    segment_name, segment_sequence,
};
use spare::{Prepared, Spare};
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
pub use survey::{Place, Records, Stretch, Survey};

/// Sizes of the log's files.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// A segment that has reached this size is followed by a new one.
    pub segment_bytes: u64,
    /// By how many zero bytes a segment is extended at a time.
    pub extend_bytes: u64,
    /// Size of the file that is made ahead, to go on in when the present one is full; 0 for none.
    pub spare_bytes: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        LogLimits { segment_bytes: 64 << 20, extend_bytes: 4 << 20, spare_bytes: 16 << 20 }
    }
}

/// What was found when the log was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Time of the last tick in the log; 0 where there never was one.
    pub last_time: u64,
    /// The warning, where a torn tail was cut.
    pub torn: Option<String>,
}

/// Where a record ends: durable once [`TickLog::sync`] has returned after its append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AppendToken {
    /// Segment.
    pub sequence: u64,
    /// Offset of the end of the record.
    pub offset: u64,
}

/// The open log. One owner appends; [`TickLog::replay`] reads on its own handles.
#[derive(Debug)]
pub struct TickLog {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    limits: LogLimits,
    /// Sequence numbers of the segments on disk, and the time of the last tick before each.
    segments: Vec<(u64, u64)>,
    current: Current,
    /// The file of the segment after it.
    spare: Spare,
    last_time: u64,
    /// The error that closed the log.
    closed: Option<SqlError>,
    _lock: DataDir,
}

/// The segment that is written to.
#[derive(Debug)]
struct Current {
    file: Box<dyn FileHandle>,
    path: PathBuf,
    header: SegmentHeader,
    /// Where the next frame goes.
    end: u64,
    /// Everything before it is durable.
    synced: u64,
    /// Zeros reach up to here.
    allocated: u64,
    /// A sync has failed: what the kernel still holds is unknown.
    sync_failed: bool,
}

impl TickLog {
    /// Opens or creates the log of a data directory. Cuts a torn tail. Errors: `XX001` naming file and offset where
    /// the log is damaged; damage in earlier segments is found by [`TickLog::replay`].
    pub fn open(dir: &DataDir) -> Result<(TickLog, Recovered), SqlError> {
        Self::open_with(dir, LogLimits::default())
    }

    /// The same with other file sizes.
    pub fn open_with(dir: &DataDir, limits: LogLimits) -> Result<(TickLog, Recovered), SqlError> {
        let (fs, path) = (Arc::clone(dir.file_system()), dir.log_path());
        let mut segments = list_segments(fs.as_ref(), &path)?;
        let (tail, torn) = match segments.last() {
            None => (Tail { current: None, last_time: 0, sequence: 0 }, None),
            Some((sequence, _)) => recover_tail(fs.as_ref(), &path, *sequence)?,
        };
        let current = match tail.current {
            Some(current) => current,
            None => {
                let current = create_segment(fs.as_ref(), &path, tail.sequence + 1, tail.last_time, limits, None)?;
                segments.push((current.header.sequence, tail.last_time));
                current
            }
        };
        if let Some(warning) = &torn {
            tracing::warn!("{warning}");
        }
        let last_time = tail.last_time;
        let lock = dir.clone();
        let spare = Spare::default();
        let log = TickLog { fs, dir: path, limits, segments, current, spare, last_time, closed: None, _lock: lock };
        Ok((log, Recovered { last_time, torn }))
    }

    /// Reads all of it and changes nothing. The error is what keeps the rest from being read.
    pub fn verify(dir: &DataDir, report: &mut Report, reach: &mut Reach) -> Result<(), SqlError> {
        let (fs, path) = (dir.file_system().as_ref(), dir.log_path());
        let mut names = fs.list(&path).map_err(|e| file_error("read", &path, &e))?;
        names.retain(|n| !n.ends_with(".seg.tmp"));
        let (count, mut previous) = (names.len(), None);
        for (i, name) in names.iter().enumerate() {
            let sequence = segment_sequence(name).ok_or_else(|| unknown_file(&path.join(name)))?;
            let reader = SegmentReader::open(fs, &path, sequence)?;
            if i == 0 {
                reach.log_floor = reader.header.previous;
            }
            if previous.is_some_and(|p: (u64, u64)| p != (sequence - 1, reader.header.previous)) {
                return Err(damage(&reader.path, 0, "it does not follow the segment before it"));
            }
            let (ticks, last) = verify_segment(&reader, i + 1 == count, report, reach)?;
            report.sound.push((reader.path.clone(), format!("{ticks} ticks")));
            previous = Some((sequence, last));
            reach.log_end = last;
        }
        Ok(())
    }

    /// Ticks up to this one may be missing from it: it was truncated.
    pub fn floor(&self) -> u64 {
        self.segments.first().map_or(0, |(_, previous)| *previous)
    }

    /// Time of the last tick appended.
    pub fn last_time(&self) -> u64 {
        self.last_time
    }

    /// Every tick up to the last one at the time of the call, in order, one in memory at a time. After an error the
    /// iterator ends.
    pub fn replay(&self) -> Replay {
        self.replay_after(0)
    }

    /// Every tick later than `time`; whole segments at or before it are not read.
    pub fn replay_after(&self, time: u64) -> Replay {
        let first = self.segments.iter().rposition(|(_, previous)| *previous <= time).unwrap_or(0);
        Replay {
            fs: Arc::clone(&self.fs),
            dir: self.dir.clone(),
            segments: self.segments[first..].iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>().into_iter(),
            last: AppendToken { sequence: self.current.header.sequence, offset: self.current.end },
            reader: None,
            after: time,
            previous: None,
        }
    }

    /// Writes a record after the last one; durable only after [`TickLog::sync`]. Errors: `53100`, `58030`; `53400`
    /// for a record beyond 1 GiB; `XX000` where time does not increase.
    pub fn append(&mut self, record: &TickRecord) -> Result<AppendToken, SqlError> {
        self.check_open()?;
        let mut payload = vec![];
        record.encode(&mut payload)?;
        self.append_encoded(record.time, &payload)
    }

    /// The same, given the record's time and bytes.
    fn append_encoded(&mut self, time: u64, payload: &[u8]) -> Result<AppendToken, SqlError> {
        if time <= self.last_time {
            return Err(SqlError::internal(format!(
                "tick {time} is not after the last tick {} of the log",
                self.last_time
            )));
        }
        if payload.len() as u64 > PAYLOAD_BYTES_MAX {
            return Err(SqlError::new(
                SqlState::LIMIT_EXCEEDED,
                format!("a transaction of {} bytes exceeds the limit of {PAYLOAD_BYTES_MAX} bytes", payload.len()),
            )
            .hint("Split it into several transactions."));
        }
        if self.current.end > HEADER_BYTES && self.is_full(payload.len() as u64) {
            let rotated = self.rotate();
            self.closing(rotated)?;
        }
        let written = self.write_frame(FrameKind::Tick, payload);
        self.closing(written)?;
        self.last_time = time;
        Ok(AppendToken { sequence: self.current.header.sequence, offset: self.current.end })
    }

    /// True where the next record belongs into another segment: always beyond the size of a segment, and where the file
    /// would have to be extended as soon as the next one is there.
    fn is_full(&mut self, payload: u64) -> bool {
        let end = self.current.end;
        if self.limits.spare_bytes > 0 && end > self.current.allocated / 2 {
            self.spare.want(self.fs.as_ref(), &self.dir, self.limits.spare_bytes);
        }
        let extends = end + frame_len(payload) + frame_len(0) > self.current.allocated;
        end + payload > self.limits.segment_bytes || (extends && self.spare.is_ready())
    }

    /// Makes every appended record durable; possible still after a failed append, for the records before it. After
    /// an error of its own the log refuses everything.
    pub fn sync(&mut self) -> Result<(), SqlError> {
        if self.current.sync_failed {
            self.check_open()?;
        }
        if self.current.synced == self.current.end {
            return Ok(());
        }
        let synced = self.sync_current();
        self.closing(synced)
    }

    /// Removes the segments that hold no tick later than `time`. The last segment always stays.
    pub fn truncate(&mut self, time: u64) -> Result<usize, SqlError> {
        let keep = self.segments.iter().rposition(|(_, previous)| *previous <= time).unwrap_or(0);
        // One after another, the oldest first, and none after one that could not be removed: a log that lacks its middle
        // does not open.
        for _ in 0..keep {
            let path = self.dir.join(segment_name(self.segments[0].0));
            match self.fs.remove(&path) {
                // Removed before, by an attempt whose sync failed.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                removed => removed.map_err(|e| file_error("remove", &path, &e))?,
            }
            self.fs.sync_dir(&self.dir).map_err(|e| file_error("sync", &self.dir, &e))?;
            self.segments.remove(0);
        }
        Ok(keep)
    }

    fn check_open(&self) -> Result<(), SqlError> {
        match &self.closed {
            None => Ok(()),
            Some(cause) => Err(SqlError::new(cause.code, "the tick log is closed after an earlier error")
                .detail(cause.message.clone())
                .hint("Mend the cause and restart the server; everything acknowledged is in the log.")),
        }
    }

    /// Closes the log where `result` is an error.
    fn closing<T>(&mut self, result: Result<T, SqlError>) -> Result<T, SqlError> {
        if let Err(error) = &result {
            tracing::error!("the tick log is closed: {error}");
            self.closed = Some(error.clone());
        }
        result
    }

    fn write_frame(&mut self, kind: FrameKind, payload: &[u8]) -> Result<(), SqlError> {
        let end = self.current.end + frame_len(payload.len() as u64);
        while self.current.allocated < end {
            if let Err(e) = self.current.extend(self.limits.extend_bytes) {
                // The room of the file that was to be the next may be what is missing.
                if self.current.sync_failed || !self.spare.discard(self.fs.as_ref(), &self.dir) {
                    return Err(e);
                }
                self.current.extend(self.limits.extend_bytes)?;
            }
        }
        let c = &mut self.current;
        let frame = encode_frame(c.header.salt, c.end, c.synced, kind, payload);
        c.file.write_at(&frame, c.end).map_err(|e| file_error("write", &c.path, &e))?;
        c.end = end;
        Ok(())
    }

    fn sync_current(&mut self) -> Result<(), SqlError> {
        self.current.sync()
    }

    /// Ends the current segment durably and begins the next.
    fn rotate(&mut self) -> Result<(), SqlError> {
        // First the records, then the mark: a mark that is there implies that all before it is.
        self.sync_current()?;
        self.write_frame(FrameKind::End, &[])?;
        self.sync_current()?;
        let sequence = self.current.header.sequence + 1;
        let spare = self.spare.take();
        self.current = create_segment(self.fs.as_ref(), &self.dir, sequence, self.last_time, self.limits, spare)?;
        self.segments.push((sequence, self.last_time));
        Ok(())
    }
}

impl Current {
    /// Adds a block of durable zeros.
    fn extend(&mut self, bytes: u64) -> Result<(), SqlError> {
        let zeros = vec![0u8; bytes as usize];
        self.file.write_at(&zeros, self.allocated).map_err(|e| file_error("extend", &self.path, &e))?;
        self.sync()?;
        self.allocated += bytes;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), SqlError> {
        if let Err(error) = self.file.sync() {
            self.sync_failed = true;
            return Err(file_error("sync", &self.path, &error));
        }
        self.synced = self.end;
        Ok(())
    }
}

fn unknown_file(path: &Path) -> SqlError {
    SqlError::new(SqlState::DATA_CORRUPTED, format!("unknown file \"{}\" in the tick log", path.display()))
}

fn missing_segment(dir: &Path, sequence: u64) -> SqlError {
    let missing = dir.join(segment_name(sequence));
    SqlError::new(
        SqlState::DATA_CORRUPTED,
        format!("the tick log is damaged: file \"{}\" is missing", missing.display()),
    )
}

/// What the end of the log is.
struct Tail {
    /// The last segment, where it can take more.
    current: Option<Current>,
    last_time: u64,
    sequence: u64,
}

/// The segments on disk. Removes what a crash left half made; a gap in the numbers is damage.
fn list_segments(fs: &dyn FileSystem, dir: &Path) -> Result<Vec<(u64, u64)>, SqlError> {
    let mut segments: Vec<(u64, u64)> = vec![];
    for name in fs.list(dir).map_err(|e| file_error("read", dir, &e))? {
        let path = dir.join(&name);
        if name.ends_with(".seg.tmp") {
            fs.remove(&path).map_err(|e| file_error("remove", &path, &e))?;
            continue;
        }
        let sequence = segment_sequence(&name).ok_or_else(|| unknown_file(&path))?;
        if let Some((last, _)) = segments.last()
            && last + 1 != sequence
        {
            return Err(missing_segment(dir, last + 1));
        }
        let reader = SegmentReader::open(fs, dir, sequence)?;
        segments.push((sequence, reader.header.previous));
    }
    Ok(segments)
}

/// Reads the last segment to its end and cuts what is torn.
fn recover_tail(fs: &dyn FileSystem, dir: &Path, sequence: u64) -> Result<(Tail, Option<String>), SqlError> {
    let reader = SegmentReader::open(fs, dir, sequence)?;
    let (mut offset, mut last_time) = (HEADER_BYTES, reader.header.previous);
    let why = loop {
        match reader.frame_at(offset)? {
            FrameAt::Valid(frame) if frame.kind == FrameKind::Tick => {
                last_time = check_tick(&reader, offset, &frame.payload, last_time)?.time;
                offset = frame.next;
            }
            FrameAt::Valid(_) => return Ok((Tail { current: None, last_time, sequence }, None)),
            FrameAt::Nothing => match reader.first_written(offset)? {
                None => break None,
                Some(_) => break Some("its beginning was not written"),
            },
            FrameAt::Bad(why) => break Some(why),
        }
    };
    let (len, header, path) = (reader.len, reader.header, reader.path.clone());
    let mut torn = None;
    if let Some(why) = why {
        if reader.was_synced(offset)? {
            return Err(damage(&path, offset, why));
        }
        torn = Some(format!(
            "the tick log ended in the middle of a write after tick {last_time}: cut file \"{}\" at offset {offset} ({why}); \
             what was cut was never acknowledged",
            path.display()
        ));
    }
    let mut current =
        Current { file: reader.file, path, header, end: offset, synced: offset, allocated: len, sync_failed: false };
    if torn.is_some() {
        current.clear_from(offset)?;
    }
    // A crash while the file was extended can leave a length that is no multiple of 8.
    current.allocated = current.allocated.max(HEADER_BYTES);
    Ok((Tail { current: Some(current), last_time, sequence }, torn))
}

impl Current {
    /// Overwrites the rest of the file with zeros, so that no byte of a torn frame is ever read again.
    fn clear_from(&mut self, offset: u64) -> Result<(), SqlError> {
        let zeros = vec![0u8; 1 << 18];
        let mut at = offset;
        while at < self.allocated {
            let n = (self.allocated - at).min(zeros.len() as u64);
            self.file.write_at(&zeros[..n as usize], at).map_err(|e| file_error("write", &self.path, &e))?;
            at += n;
        }
        self.file.sync().map_err(|e| file_error("sync", &self.path, &e))
    }
}

/// Reads a segment, of which the `last` one may end in a torn write: the number of ticks, and the last one's time.
fn verify_segment(
    reader: &SegmentReader,
    last: bool,
    report: &mut Report,
    reach: &mut Reach,
) -> Result<(usize, u64), SqlError> {
    let (mut offset, mut time, mut ticks) = (HEADER_BYTES, reader.header.previous, 0);
    loop {
        let why = match reader.frame_at(offset)? {
            FrameAt::Valid(frame) if frame.kind == FrameKind::Tick => {
                time = check_tick(reader, offset, &frame.payload, time)?.time;
                ticks += 1;
                offset = frame.next;
                continue;
            }
            FrameAt::Valid(_) => return Ok((ticks, time)),
            FrameAt::Nothing if !last => "a record is missing",
            FrameAt::Nothing if reader.first_written(offset)?.is_none() => return Ok((ticks, time)),
            FrameAt::Nothing => "its beginning was not written",
            FrameAt::Bad(why) => why,
        };
        if !last || reader.was_synced(offset)? {
            return Err(damage(&reader.path, offset, why));
        }
        let path = reader.path.display();
        report.warnings.push(format!(
            "the tick log ends in the middle of a write after tick {time}: file \"{path}\", offset {offset} ({why}); a start \
             cuts it"
        ));
        reach.torn = true;
        return Ok((ticks, time));
    }
}

/// Decodes a tick; its time must be later than `previous`.
fn check_tick(reader: &SegmentReader, offset: u64, payload: &[u8], previous: u64) -> Result<TickRecord, SqlError> {
    let record = TickRecord::decode(payload).map_err(|e| damage(&reader.path, offset, &e.message))?;
    if record.time <= previous {
        let what = format!("tick {} is not after tick {previous} before it", record.time);
        return Err(damage(&reader.path, offset, &what));
    }
    Ok(record)
}

/// A new segment: made under a temporary name, so that a file with a segment's name always has a header. `spare`: a file
/// that was made ahead.
fn create_segment(
    fs: &dyn FileSystem,
    dir: &Path,
    sequence: u64,
    previous: u64,
    limits: LogLimits,
    spare: Option<Prepared>,
) -> Result<Current, SqlError> {
    let name = segment_name(sequence);
    let path = dir.join(&name);
    let header = SegmentHeader { sequence, salt: RandomState::new().hash_one(sequence), previous };
    let (mut file, temporary, zeros) = match spare {
        Some(spare) => (spare.file, spare.path, spare.bytes),
        None => {
            let temporary = dir.join(format!("{name}.tmp"));
            (fs.create(&temporary).map_err(|e| file_error("create", &temporary, &e))?, temporary, 0)
        }
    };
    let wanted = if zeros > 0 { HEADER_BYTES } else { limits.extend_bytes.max(HEADER_BYTES) };
    let mut bytes = vec![0u8; wanted as usize];
    bytes[..HEADER_BYTES as usize].copy_from_slice(&header.encode());
    let made = file.write_at(&bytes, 0).and_then(|()| file.sync());
    if let Err(error) = made {
        if let Err(second) = fs.remove(&temporary)
            && second.kind() != ErrorKind::NotFound
        {
            tracing::warn!("could not remove \"{}\": {second}", temporary.display());
        }
        return Err(file_error("write", &temporary, &error));
    }
    // Its present name has to be durable first: a file system that does not keep the order of what happens in a directory could
    // else give the segment's name to another file that had it before.
    fs.sync_dir(dir).map_err(|e| file_error("sync", dir, &e))?;
    fs.rename(&temporary, &path).map_err(|e| file_error("rename", &temporary, &e))?;
    fs.sync_dir(dir).map_err(|e| file_error("sync", dir, &e))?;
    let allocated = zeros.max(wanted);
    Ok(Current { file, path, header, end: HEADER_BYTES, synced: HEADER_BYTES, allocated, sync_failed: false })
}

/// Reads ticks in order.
#[derive(Debug)]
pub struct Replay {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    segments: std::vec::IntoIter<u64>,
    last: AppendToken,
    reader: Option<(SegmentReader, u64)>,
    after: u64,
    previous: Option<u64>,
}

impl Replay {
    fn read(&mut self) -> Result<Option<TickRecord>, SqlError> {
        loop {
            let Some((reader, offset)) = &mut self.reader else {
                let Some(sequence) = self.segments.next() else { return Ok(None) };
                let reader = SegmentReader::open(self.fs.as_ref(), &self.dir, sequence)?;
                if self.previous.is_some_and(|p| p != reader.header.previous) {
                    return Err(damage(&reader.path, 0, "it does not follow the segment before it"));
                }
                self.previous = Some(reader.header.previous);
                self.reader = Some((reader, HEADER_BYTES));
                continue;
            };
            let last = reader.header.sequence == self.last.sequence;
            if last && *offset >= self.last.offset {
                return Ok(None);
            }
            match reader.frame_at(*offset)? {
                FrameAt::Valid(frame) if frame.kind == FrameKind::Tick => {
                    let previous = self.previous.unwrap_or(0);
                    let record = check_tick(reader, *offset, &frame.payload, previous)?;
                    *offset = frame.next;
                    self.previous = Some(record.time);
                    if record.time > self.after {
                        return Ok(Some(record));
                    }
                }
                FrameAt::Valid(_) => self.reader = None,
                FrameAt::Nothing => return Err(damage(&reader.path, *offset, "a record is missing")),
                FrameAt::Bad(why) => return Err(damage(&reader.path, *offset, why)),
            }
        }
    }
}

impl Iterator for Replay {
    type Item = Result<TickRecord, SqlError>;
    fn next(&mut self) -> Option<Self::Item> {
        let result = self.read();
        if result.is_err() {
            self.reader = None;
            self.segments = vec![].into_iter();
        }
        result.transpose()
    }
}
