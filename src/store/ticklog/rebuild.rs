//! A log made anew from what of a damaged one could be read.
//!
//! The new segments get numbers after those that are there, which are removed when the new ones are durable: until then no
//! server starts on the log, because the segments do not follow each other, and the same can be done again. Whoever calls
//! this has given the old files another name first.

use super::spare::Spare;
use super::survey::{Stretch, Survey};
use super::{LogLimits, TickLog, create_segment, segment_sequence};
use crate::files::file_error;
use crate::{DataDir, TickRecord};
use hw_repr::{SqlError, SqlState, Timestamp};
use std::sync::Arc;

impl TickLog {
    /// Makes the log consist of the ticks of `kept` that are later than `after`, and of an empty one at `seal` where that is
    /// given: what is shown from then on is later than all that may ever have been shown.
    pub fn rebuild(
        dir: &DataDir,
        survey: &Survey,
        kept: Option<&Stretch>,
        after: Timestamp,
        seal: Option<Timestamp>,
    ) -> Result<(), SqlError> {
        let (fs, path, limits) = (Arc::clone(dir.file_system()), dir.subdirectory("log")?, LogLimits::default());
        let names = survey.files.iter().filter_map(|p| p.file_name()?.to_str());
        let sequence = names.filter_map(segment_sequence).max().unwrap_or(0);
        let sequence = sequence.checked_add(1).ok_or_else(|| {
            SqlError::new(SqlState::PROGRAM_LIMIT, "the tick log has a file with the greatest number there can be")
        })?;
        let current = create_segment(fs.as_ref(), &path, sequence, after, limits, None)?;
        let (segments, spare, lock) = (vec![(sequence, after)], Spare::default(), dir.clone());
        let mut log = TickLog {
            fs: Arc::clone(&fs),
            dir: path.clone(),
            limits,
            segments,
            current,
            spare,
            last_time: after,
            closed: None,
            _lock: lock,
        };
        for record in kept.into_iter().flat_map(|stretch| survey.records(stretch)) {
            let (record, payload) = record?;
            if record.time > after {
                log.append_encoded(record.time, &payload)?;
            }
        }
        if let Some(time) = seal.filter(|time| *time > log.last_time) {
            log.append(&TickRecord { time, ..TickRecord::default() })?;
        }
        log.sync()?;
        for old in &survey.files {
            fs.remove(old).map_err(|e| file_error("remove", old, &e))?;
        }
        fs.sync_dir(&path).map_err(|e| file_error("sync", &path, &e))
    }
}
