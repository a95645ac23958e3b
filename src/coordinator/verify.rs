//! `headwater verify`: whether the files of a data directory are what was written, and fit together.

use crate::recovery::check_whole;
use hw_catalog::Catalog;
use hw_repr::SqlError;
use hw_store::DataDir;
use hw_store::verify::Report;
use std::path::Path;

/// Reads every file of a data directory that no server uses, and changes none of them. Errors: `F0001` where a server has
/// it, `55000` where it is none or of another version.
pub fn verify(path: &Path) -> Result<Report, SqlError> {
    let dir = DataDir::open_existing(path)?;
    let mut report = Report::default();
    let reach = hw_store::verify::verify(&dir, &mut report);
    let (dump, store) = Catalog::verify(&dir.catalog_path());
    match dump {
        Ok(()) => report.sound.push((dir.catalog_path().join("catalog.dump"), "catalog".into())),
        Err(problem) if store.is_err() => report.problems.push(problem),
        Err(problem) => report.warnings.push(format!("{}; the next checkpoint replaces it", problem.message)),
    }
    match store {
        Ok(applied) => {
            report.sound.push((dir.catalog_path().join("sled"), format!("catalog at tick {applied}")));
            if report.problems.is_empty()
                && let Err(problem) = check_whole(&reach, applied)
            {
                report.problems.push(problem);
            }
        }
        Err(problem) => {
            report
                .warnings
                .push(format!("{}; a start builds it again from its dump and the tick log", problem.message));
        }
    }
    Ok(report)
}
