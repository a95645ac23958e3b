//! `headwater verify`: whether the files of a data directory are what was written, and fit together.

use crate::recovery::check_whole;
use hw_catalog::{Catalog, Stored};
use hw_repr::{SqlError, Timestamp};
use hw_store::DataDir;
use hw_store::verify::Report;
use std::path::Path;

/// Reads every file of a data directory that no server uses, and changes none of them. Errors: `F0001` where a server has
/// it, `55000` where it is none or of another version.
pub fn verify(path: &Path) -> Result<Report, SqlError> {
    Ok(verify_open(&DataDir::open_existing(path)?))
}

/// The same of one that is held.
pub(crate) fn verify_open(dir: &DataDir) -> Report {
    let mut report = Report::default();
    let reach = hw_store::verify::verify(dir, &mut report);
    let found = CatalogFound::read(&dir.catalog_path());
    match &found.dump {
        Ok(_) => report.sound.push((Catalog::dump_path(&dir.catalog_path()), "catalog".into())),
        Err(problem) if found.store.is_err() => report.problems.push(problem.clone()),
        Err(problem) => report.warnings.push(format!("{}; the next checkpoint replaces it", problem.message)),
    }
    match &found.store {
        Ok(stored) => {
            report.sound.push((dir.catalog_path().join("sled"), format!("catalog at tick {}", stored.applied)));
        }
        Err(problem) => {
            report
                .warnings
                .push(format!("{}; a start builds it again from its dump and the tick log", problem.message));
        }
    }
    if report.problems.is_empty()
        && let Ok(used) = found.used(reach.log_end.max(reach.manifest.tick))
        && let Err(problem) = check_whole(&reach, used.applied)
    {
        report.problems.push(problem);
    }
    report
}

/// What can be read of the catalog.
pub(crate) struct CatalogFound {
    /// `None` where there is none.
    pub dump: Result<Option<Stored>, SqlError>,
    pub store: Result<Stored, SqlError>,
}

impl CatalogFound {
    /// Reads that of a data directory.
    pub(crate) fn read(path: &Path) -> CatalogFound {
        let (dump, store) = Catalog::read(path);
        CatalogFound { dump, store }
    }

    /// What a start goes on from whose last tick is `last`, as [`Catalog::open_up_to`] does; the error where it refuses.
    pub(crate) fn used(&self, last: Timestamp) -> Result<Stored, SqlError> {
        let dumped = self.dump.as_ref().ok().and_then(Option::as_ref);
        let reaches = |s: &&Stored| s.applied <= last && dumped.is_none_or(|d| d.applied <= s.applied);
        match self.store.as_ref().ok().filter(reaches) {
            Some(stored) => Ok(stored.clone()),
            None => self.dump.clone().map(Option::unwrap_or_default),
        }
    }
}
