//! `headwater repair`: the way back from damage that a start refuses, by giving up what is lost.
//!
//! What the log and the checkpoint still have is looked at first, and a plan made of it ([`log`], [`relations`]); only with
//! consent is anything changed, and before that every file that will be has a second name in `repaired-<ms>/`. Each step
//! leaves a directory that a start refuses or that is as it shall be, so a repair that was cut short is done again.
//!
//! Invariants: what is left was there at one tick, but for rows that are said to be lost; every view is what its query makes
//! of what is left; no tick is used again for something else.

mod log;
mod relations;

use crate::platform::{Platform, now_ms};
use crate::verify::{CatalogFound, verify_open};
use hw_catalog::{Catalog, CatalogChange, CatalogSnapshot, Stored};
use hw_plan::ObjectKind;
use hw_repr::{SqlError, SqlState, Timestamp};
use hw_store::checkpoint::{Changed, Salvage};
use hw_store::files::file_error;
use hw_store::ticklog::{Stretch, Survey};
use hw_store::{Aside, DataDir, TickLog};
use log::LogPlan;
use std::path::{Path, PathBuf};

/// What a repair does, or would do.
#[derive(Debug, Default)]
pub struct RepairReport {
    /// What is damaged.
    pub damaged: Vec<String>,
    /// What is done about it.
    pub steps: Vec<String>,
    /// What is lost by that.
    pub lost: Vec<String>,
    /// Why nothing can be done.
    pub cannot: Option<String>,
    /// Where all that was replaced is kept; `None` where nothing was changed.
    pub kept_in: Option<PathBuf>,
}

/// What is to be done.
struct Plan {
    survey: Survey,
    log: LogPlan,
    checkpoint: Checkpoint,
    /// The dump cannot be read, nor the store.
    drop_dump: bool,
}

/// What is to become of the checkpoint.
enum Checkpoint {
    /// There is none, or it is as it should be.
    Stays,
    /// It becomes another.
    Changes(Box<Salvage>, Changed),
    /// Its manifest cannot be read, and the log has everything.
    Goes,
}

/// Says what is damaged in a data directory that no server uses, and what would be lost by a repair; with `accept_loss` does
/// it. Errors: `F0001` where a server has it, `55000` where it is none or of another version, and what went wrong on the way:
/// then it can be done again.
pub fn repair(path: &Path, accept_loss: bool) -> Result<RepairReport, SqlError> {
    let dir = DataDir::open_existing_with(path, Platform::default().files)?;
    let mut report = RepairReport::default();
    report.damaged.extend(verify_open(&dir).problems.into_iter().map(|e| e.message));
    if report.damaged.is_empty() {
        return Ok(report);
    }
    let Some(plan) = make_plan(&dir, &mut report)? else { return Ok(report) };
    if accept_loss {
        report.kept_in = Some(carry_out(&dir, &plan, &report)?);
        let left = verify_open(&dir).problems;
        if let Some(e) = left.into_iter().next() {
            return Err(SqlError::new(e.code, format!("the repair was not enough: {}", e.message)));
        }
    }
    Ok(report)
}

/// `None` where nothing can be done: the report says why.
fn make_plan(dir: &DataDir, report: &mut RepairReport) -> Result<Option<Plan>, SqlError> {
    let survey = Survey::of(dir)?;
    let (salvage, manifest_lost) = match Salvage::of(dir) {
        Ok(salvage) => (salvage, false),
        Err(e) if e.code == SqlState::DATA_CORRUPTED => (None, true),
        Err(e) => return Err(e),
    };
    let manifest = salvage.as_ref().map(Salvage::manifest);
    let found = CatalogFound::read(&dir.catalog_path());
    let Some(mut log) = LogPlan::new(&survey, manifest) else {
        report.cannot = Some(match manifest_lost {
            true => {
                "the checkpoint's manifest cannot be read, and the tick log does not begin at the start: nothing else \
                     says what tables held before it"
                    .into()
            }
            false => "there is no checkpoint, and the beginning of the tick log is missing or cannot be read".into(),
        });
        return Ok(None);
    };
    let stored = [found.store.as_ref().ok(), found.dump.as_ref().ok().and_then(Option::as_ref)];
    let reached = stored.into_iter().flatten().map(|s| s.applied).max().unwrap_or(0);
    log.set_seal(&survey, reached.max(now_ms()));
    let Some((stored, drop_dump)) = usable_catalog(&found, &log, manifest.map_or(0, |m| m.catalog), report) else {
        return Ok(None);
    };
    let catalog = catalog_at_end(&survey, &log, stored)?;
    if log.rebuild {
        log.describe(&survey, &catalog, report)?;
    }
    if drop_dump {
        report.steps.push("the dump of the catalog is put aside: the catalog is built again from the tick log".into());
        report.lost.push("nothing of the catalog but the name of this installation, which is made anew".into());
    }
    // A log that has everything gives back what tables held; views alone are computed anew with less.
    let is_table = |id| matches!(catalog.user_object(id).map(|o| &o.kind), Some(ObjectKind::Table(_)));
    let tables = salvage.as_ref().is_some_and(|s| s.damaged().into_iter().any(is_table));
    let checkpoint = match salvage.filter(|_| !(tables && log.is_whole())) {
        Some(salvage) => {
            let mut changed = relations::plan(&salvage, &survey, &log, &catalog, report)?;
            changed.log_begins = log.raises_floor;
            let same = changed.dropped.is_empty() && changed.salvaged.is_empty() && salvage.damage.is_empty();
            if same && !log.raises_floor { Checkpoint::Stays } else { Checkpoint::Changes(Box::new(salvage), changed) }
        }
        None if manifest_lost || tables => {
            report.steps.push(
                "the checkpoint is put aside: tables and views are computed from the tick log, which begins at the start"
                    .into(),
            );
            Checkpoint::Goes
        }
        None => Checkpoint::Stays,
    };
    if report.steps.is_empty() {
        report.cannot = Some("nothing is known that could be done about it".into());
        return Ok(None);
    }
    Ok(Some(Plan { survey, log, checkpoint, drop_dump }))
}

/// The catalog that a start goes on from after the repair, and whether the dump is in its way; `None`, and the report says
/// why, where there is none that fits.
fn usable_catalog(
    found: &CatalogFound,
    log: &LogPlan,
    needed: Timestamp,
    report: &mut RepairReport,
) -> Option<(Stored, bool)> {
    let last = log.seal.unwrap_or(log.end);
    let (stored, drop_dump) = match found.used(last) {
        Ok(stored) => (stored, false),
        // The log has every definition since the start.
        Err(_) if log.after == 0 => (Stored::default(), true),
        Err(e) => {
            report.cannot =
                Some(format!("the catalog cannot be read, and the tick log does not have all of it: {}", e.message));
            return None;
        }
    };
    if stored.applied < needed && stored.applied < log.after {
        report.cannot = Some(format!(
            "the catalog ends at tick {}, and the tick log that can be read begins after tick {}: the definitions between \
             them are missing",
            stored.applied, log.after
        ));
        return None;
    }
    Some((stored, drop_dump))
}

/// The catalog as of the last tick that is kept.
fn catalog_at_end(survey: &Survey, log: &LogPlan, stored: Stored) -> Result<CatalogSnapshot, SqlError> {
    let mut catalog = (*stored.snapshot).clone();
    for record in kept_records(survey, log, stored.applied) {
        let changes: Vec<CatalogChange> =
            record?.catalog.iter().map(|bytes| CatalogChange::from_bytes(bytes)).collect::<Result<_, SqlError>>()?;
        catalog = catalog.with_changes(&changes)?;
    }
    Ok(catalog)
}

/// The ticks that are kept of the log, later than `time`.
fn kept_records<'a>(
    survey: &'a Survey,
    log: &'a LogPlan,
    time: Timestamp,
) -> impl Iterator<Item = Result<hw_store::TickRecord, SqlError>> + 'a {
    let stretch: Option<&Stretch> = log.kept.map(|at| &survey.stretches[at]);
    let records = stretch.into_iter().flat_map(|s| survey.records(s));
    records.map(|r| r.map(|(record, _)| record)).filter(move |r| r.as_ref().map_or(true, |r| r.time > time))
}

/// Does it; where everything is kept that was replaced.
fn carry_out(dir: &DataDir, plan: &Plan, report: &RepairReport) -> Result<PathBuf, SqlError> {
    let aside = Aside::create(dir, now_ms())?;
    let checkpoint = dir.path().join("checkpoint");
    let chunks = || {
        let names = dir.file_system().list(&checkpoint).map_err(|e| file_error("read", &checkpoint, &e))?;
        Ok::<_, SqlError>(names.into_iter().map(|n| checkpoint.join(n)).collect::<Vec<_>>())
    };
    let mut kept = match plan.checkpoint {
        Checkpoint::Stays => vec![],
        _ => chunks()?,
    };
    let manifest = checkpoint.join(hw_store::checkpoint::MANIFEST);
    kept.extend(plan.survey.files.iter().filter(|_| plan.log.rebuild).cloned());
    let dump = Catalog::dump_path(&dir.catalog_path());
    kept.extend(plan.drop_dump.then(|| dump.clone()));
    kept.iter().try_for_each(|path| aside.keep(path))?;
    aside.note(&report.text())?;
    match &plan.checkpoint {
        Checkpoint::Stays => {}
        Checkpoint::Changes(salvage, changed) => salvage.write(changed)?,
        Checkpoint::Goes => {
            // First what makes the others count. They go because a new checkpoint may use their names.
            remove(dir, &manifest)?;
            chunks()?.iter().try_for_each(|path| remove(dir, path))?;
        }
    }
    if plan.log.rebuild {
        let stretch = plan.log.kept.map(|at| &plan.survey.stretches[at]);
        TickLog::rebuild(dir, &plan.survey, stretch, plan.log.after, plan.log.seal)?;
    }
    if plan.drop_dump {
        remove(dir, &dump)?;
    }
    Ok(aside.path().to_path_buf())
}

fn remove(dir: &DataDir, path: &Path) -> Result<(), SqlError> {
    let fs = dir.file_system();
    fs.remove(path).map_err(|e| file_error("remove", path, &e))?;
    let parent = path.parent().unwrap_or(dir.path());
    fs.sync_dir(parent).map_err(|e| file_error("sync", parent, &e))
}

impl RepairReport {
    /// One line each, for people.
    pub fn text(&self) -> String {
        let lines = |word: &str, all: &[String]| all.iter().map(|l| format!("{word} {l}\n")).collect::<String>();
        let cannot: Vec<String> = self.cannot.iter().cloned().collect();
        lines("damaged ", &self.damaged)
            + &lines("step    ", &self.steps)
            + &lines("lost    ", &self.lost)
            + &lines("cannot  ", &cannot)
    }
}

/// A tick for people: its number, which is ms since 1970, and as a time.
fn tick_text(tick: Timestamp) -> String {
    let mut text = format!("tick {tick} (");
    hw_repr::text::write_datum(&hw_repr::Datum::TimestampTz((tick as i64).saturating_mul(1000)), &mut text);
    text + ")"
}
