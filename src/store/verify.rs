//! Reads every file of the tick log and of the checkpoint, changes nothing, and says what is not as it was written.

use crate::checkpoint::Checkpoints;
use crate::ticklog::TickLog;
use crate::{DataDir, Manifest};
use hw_repr::{SqlError, Timestamp};
use std::path::PathBuf;

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Files that are as they were written, and what they hold.
    pub sound: Vec<(PathBuf, String)>,
    /// What a start mends by itself.
    pub warnings: Vec<String>,
    /// Damage.
    pub problems: Vec<SqlError>,
}

/// How far log and checkpoint reach; for comparing them with each other and with the catalog.
#[derive(Debug, Default)]
pub struct Reach {
    /// Ticks up to this one may be missing from the log.
    pub log_floor: Timestamp,
    /// The last tick in the log.
    pub log_end: Timestamp,
    /// The log's end is torn.
    pub torn: bool,
    /// The checkpoint's manifest; its tick is 0 where there is none.
    pub manifest: Manifest,
}

/// Reads everything.
pub fn verify(dir: &DataDir, report: &mut Report) -> Reach {
    let mut reach = Reach::default();
    if let Err(problem) = TickLog::verify(dir, report, &mut reach) {
        report.problems.push(problem);
    }
    match Checkpoints::verify(dir, report) {
        Ok(manifest) => reach.manifest = manifest,
        Err(problem) => report.problems.push(problem),
    }
    reach
}
