//! What of a damaged log can still be read. Changes nothing.
//!
//! A frame proves by its checksum, which covers where it is, that it is one: so reading goes on at the next valid frame after
//! damage. What cannot be read may have held ticks; a stretch is what lies between two such places.

use super::segment::{FrameAt, FrameKind, HEADER_BYTES, SegmentReader, damage, segment_sequence};
use super::{check_tick, missing_segment, unknown_file};
use crate::files::{FileSystem, file_error};
use crate::{DataDir, TickRecord};
use hw_repr::{SqlError, SqlState, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Frames of one segment that follow each other: its number, the first byte, and one past the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The segment.
    pub sequence: u64,
    /// First byte.
    pub from: u64,
    /// One past the last byte.
    pub to: u64,
}

/// Ticks of which none is missing between the first and the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Every tick later than this, up to the last one, is in it.
    pub after: Timestamp,
    /// The last tick; `after` where there is none.
    pub last: Timestamp,
    /// How many.
    pub ticks: usize,
    /// Where they are.
    pub places: Vec<Place>,
    /// Bytes after it that cannot be read, and may have held ticks.
    pub unread: u64,
}

/// All of a log.
#[derive(Debug)]
pub struct Survey {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    /// What can be read, in the order of the files.
    pub stretches: Vec<Stretch>,
    /// What is not as it was written.
    pub damage: Vec<SqlError>,
    /// Every file of the log, but those that a start removes anyway.
    pub files: Vec<PathBuf>,
    /// The log ends in a write that was never acknowledged.
    pub torn: bool,
    /// Where the last stretch may be continued by the next segment.
    open: bool,
}

impl Survey {
    /// Reads the log of a data directory. Errors: what keeps a file from being read at all, and what another version wrote.
    pub fn of(dir: &DataDir) -> Result<Survey, SqlError> {
        let (fs, path) = (Arc::clone(dir.file_system()), dir.log_path());
        let there = fs.list(dir.path()).map_err(|e| file_error("read", dir.path(), &e))?;
        let mut names = match there.iter().any(|n| n == "log") {
            true => fs.list(&path).map_err(|e| file_error("read", &path, &e))?,
            false => vec![],
        };
        names.retain(|n| !n.ends_with(".seg.tmp"));
        let files = names.iter().map(|n| path.join(n)).collect();
        let mut survey = Survey { fs, dir: path, stretches: vec![], damage: vec![], files, torn: false, open: false };
        let mut previous = None;
        let sequences: Vec<u64> = names.iter().filter_map(|n| segment_sequence(n)).collect();
        for name in names.iter().filter(|n| segment_sequence(n).is_none()) {
            survey.damage.push(unknown_file(&survey.dir.join(name)));
        }
        for sequence in &sequences {
            if previous.is_some_and(|p: u64| p + 1 != *sequence) {
                survey.damage.push(missing_segment(&survey.dir, sequence - 1));
            }
            previous = Some(*sequence);
            survey.read_segment(*sequence, Some(sequence) == sequences.last())?;
        }
        Ok(survey)
    }

    /// True where a server reads all of it: nothing is damaged, and what is there has no gap.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty() && self.stretches.len() <= 1
    }

    /// The stretch that goes on from `tick`, which may be its last: where there are several, that which reaches furthest.
    pub fn from(&self, tick: Timestamp) -> Option<usize> {
        let whole = |s: &Stretch| s.after <= tick && tick <= s.last;
        let found = self.stretches.iter().enumerate().filter(|(_, s)| whole(s));
        found.max_by_key(|(_, s)| s.last).map(|(at, _)| at)
    }

    /// The records of a stretch, with their bytes.
    pub fn records(&self, stretch: &Stretch) -> Records<'_> {
        Records { survey: self, places: stretch.places.clone().into_iter(), open: None, previous: stretch.after }
    }

    fn read_segment(&mut self, sequence: u64, last: bool) -> Result<(), SqlError> {
        let reader = match SegmentReader::open(self.fs.as_ref(), &self.dir, sequence) {
            Ok(reader) => reader,
            Err(e) if e.code == SqlState::DATA_CORRUPTED => {
                let len = written(self.fs.as_ref(), &self.files, sequence)?;
                self.lose(e, len);
                self.open = false;
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let previous = reader.header.previous;
        if !self.open || self.stretches.last().is_none_or(|s| s.last != previous) {
            if !self.stretches.is_empty() && self.damage.is_empty() {
                self.damage.push(damage(&reader.path, 0, "it does not follow the segment before it"));
            }
            self.begin(previous);
        }
        self.open = true;
        let mut offset = HEADER_BYTES;
        loop {
            let why = match reader.frame_at(offset)? {
                FrameAt::Valid(frame) if frame.kind == FrameKind::Tick => {
                    self.take_tick(&reader, offset, frame.next, &frame.payload)?;
                    offset = frame.next;
                    continue;
                }
                FrameAt::Valid(_) => return Ok(()),
                FrameAt::Nothing if !last => "a record is missing",
                FrameAt::Nothing if reader.first_written(offset)?.is_none() => return Ok(()),
                FrameAt::Nothing => "its beginning was not written",
                FrameAt::Bad(why) => why,
            };
            if last && !reader.was_synced(offset)? {
                self.torn = true;
                return Ok(());
            }
            let next = reader.next_valid(offset)?;
            let end = next.map_or_else(|| reader.written(), Ok)?;
            self.lose(damage(&reader.path, offset, why), end.saturating_sub(offset));
            let Some(next) = next else { return Ok(()) };
            self.go_on_after(&reader, offset, next)?;
            offset = next;
        }
    }

    /// A tick that follows damage begins a stretch; the mark at the end of a segment says nothing of what came before it.
    fn go_on_after(&mut self, reader: &SegmentReader, bad: u64, next: u64) -> Result<(), SqlError> {
        if let FrameAt::Valid(frame) = reader.frame_at(next)?
            && frame.kind == FrameKind::Tick
        {
            let time = check_tick(reader, next, &frame.payload, 0).map_err(other_version)?.time;
            let before = self.stretches.last().map_or(0, |s| s.last);
            // Where there is but one frame between, what follows it goes on from its tick. Should the number be wrong it is
            // nobody's: a checkpoint is at a tick that the log has.
            let only = reader.time_of_one(bad, next)?.filter(|t| before < *t && *t < time);
            self.begin(only.unwrap_or(time - 1));
        }
        Ok(())
    }

    fn begin(&mut self, after: Timestamp) {
        self.stretches.push(Stretch { after, last: after, ticks: 0, places: vec![], unread: 0 });
    }

    fn take_tick(&mut self, reader: &SegmentReader, at: u64, next: u64, payload: &[u8]) -> Result<(), SqlError> {
        let Some(stretch) = self.stretches.last_mut() else { return Ok(()) };
        stretch.last = check_tick(reader, at, payload, stretch.last).map_err(other_version)?.time;
        stretch.ticks += 1;
        let sequence = reader.header.sequence;
        match stretch.places.last_mut().filter(|p| p.sequence == sequence && p.to == at) {
            Some(place) => place.to = next,
            None => stretch.places.push(Place { sequence, from: at, to: next }),
        }
        Ok(())
    }

    fn lose(&mut self, why: SqlError, bytes: u64) {
        if self.stretches.is_empty() {
            // Ticks before this one are not known to be anywhere.
            self.begin(Timestamp::MAX);
        }
        if let Some(stretch) = self.stretches.last_mut() {
            stretch.unread += bytes;
        }
        self.damage.push(why);
    }
}

/// A record whose checksum is right is what a server wrote: not damage, but one that this version cannot read.
fn other_version(e: SqlError) -> SqlError {
    SqlError::new(SqlState::PREREQUISITE_STATE, e.message)
        .detail("Its checksum is right.")
        .hint("Use the version of the server that wrote it.")
}

/// Bytes of a segment whose header cannot be read.
fn written(fs: &dyn FileSystem, files: &[PathBuf], sequence: u64) -> Result<u64, SqlError> {
    let named = |p: &&PathBuf| {
        p.file_name().and_then(|n| n.to_str()).and_then(segment_sequence).is_some_and(|found| found == sequence)
    };
    let Some(path) = files.iter().find(named) else { return Ok(0) };
    let bytes = crate::files::read_whole(fs, path)?.unwrap_or_default();
    Ok(bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at as u64 + 1).saturating_sub(HEADER_BYTES))
}

/// Reads the records of a stretch.
#[derive(Debug)]
pub struct Records<'a> {
    survey: &'a Survey,
    places: std::vec::IntoIter<Place>,
    open: Option<(SegmentReader, Place)>,
    previous: Timestamp,
}

impl Records<'_> {
    fn read(&mut self) -> Result<Option<(TickRecord, Vec<u8>)>, SqlError> {
        loop {
            let Some((reader, place)) = self.open.as_mut().filter(|(_, p)| p.from < p.to) else {
                let Some(place) = self.places.next() else { return Ok(None) };
                let dir: &Path = &self.survey.dir;
                self.open = Some((SegmentReader::open(self.survey.fs.as_ref(), dir, place.sequence)?, place));
                continue;
            };
            let FrameAt::Valid(frame) = reader.frame_at(place.from)? else {
                return Err(damage(&reader.path, place.from, "it was there before"));
            };
            let record = check_tick(reader, place.from, &frame.payload, self.previous)?;
            place.from = frame.next;
            self.previous = record.time;
            return Ok(Some((record, frame.payload)));
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<(TickRecord, Vec<u8>), SqlError>;
    fn next(&mut self) -> Option<Self::Item> {
        let result = self.read();
        if result.is_err() {
            (self.open, self.places) = (None, vec![].into_iter());
        }
        result.transpose()
    }
}
