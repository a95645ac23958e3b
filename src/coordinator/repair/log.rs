//! Which part of a damaged log is kept.
//!
//! The checkpoint at its tick, and the ticks that follow it without a gap. What comes after a gap may build on what was in
//! it, and is given up. Where damage lies before the checkpoint's tick nothing is lost.

use super::{RepairReport, tick_text};
use hw_catalog::CatalogSnapshot;
use hw_plan::CatalogView;
use hw_repr::{GlobalId, SqlError, Timestamp};
use hw_store::Manifest;
use hw_store::ticklog::Survey;
use std::collections::BTreeMap;

/// What is to become of the log.
pub(super) struct LogPlan {
    /// It is made anew.
    pub rebuild: bool,
    /// The stretch that is kept; none where the checkpoint is all there is.
    pub kept: Option<usize>,
    /// It begins after this tick.
    pub after: Timestamp,
    /// The last tick that is kept, in the log or the checkpoint.
    pub end: Timestamp,
    /// It begins later than the checkpoint says.
    pub raises_floor: bool,
    /// An empty tick that follows, where something is lost: later than all that anybody may have seen.
    pub seal: Option<Timestamp>,
    /// Whether it loses ticks, and bytes of it that cannot be read and may have held some.
    loses: bool,
    unread: u64,
}

impl LogPlan {
    /// `None` where neither log nor checkpoint has the beginning.
    pub(super) fn new(survey: &Survey, manifest: Option<&Manifest>) -> Option<LogPlan> {
        let (tick, floor) = manifest.map_or((0, 0), |m| (m.tick, m.log_floor));
        let stretches = &survey.stretches;
        let kept = survey.from(tick);
        if kept.is_none() && tick == 0 && !survey.files.is_empty() {
            return None;
        }
        // A start takes a log that ends in a torn write before the checkpoint's tick.
        let covered = kept.is_some() || (survey.torn && stretches.iter().all(|s| s.after <= tick));
        let rebuild = !(survey.is_sound() && (covered || survey.files.is_empty() && tick == 0));
        let end = kept.map_or(tick, |at| stretches[at].last);
        let after = kept.map(|at| stretches[at].after).filter(|after| *after <= floor).unwrap_or(tick);
        let known = |s: &&hw_store::ticklog::Stretch| s.after != Timestamp::MAX;
        let other = |at: usize| Some(at) != kept;
        let more = stretches.iter().enumerate().any(|(at, s)| other(at) && known(&s) && s.last > end);
        let later = |at: usize| stretches.get(at + 1).filter(known).is_none_or(|next| next.after > end);
        let gaps = stretches.iter().enumerate().filter(|(at, _)| later(*at));
        let unread = gaps.map(|(_, s)| s.unread).sum();
        // Without a tick that follows the checkpoint nothing says that there was none.
        let loses = rebuild && (more || unread > 0 || kept.is_none());
        Some(LogPlan { rebuild, kept, after, end, raises_floor: after > floor, seal: None, loses, unread })
    }

    /// True where it has everything since the start.
    pub(super) fn is_whole(&self) -> bool {
        self.after == 0 && self.kept.is_some()
    }

    /// Where something is lost, what is shown from now on is later than `reached`, and than all that is in the log.
    pub(super) fn set_seal(&mut self, survey: &Survey, reached: Timestamp) {
        let known = survey.stretches.iter().map(|s| s.last).filter(|last| *last != Timestamp::MAX);
        self.seal = self.loses.then(|| known.chain([reached, self.end]).max().unwrap_or(reached));
    }

    /// Says what is done and what is lost.
    pub(super) fn describe(
        &self,
        survey: &Survey,
        catalog: &CatalogSnapshot,
        report: &mut RepairReport,
    ) -> Result<(), SqlError> {
        let end = tick_text(self.end);
        report.steps.push(match self.kept {
            Some(_) => format!("the tick log is kept up to {end}"),
            None => format!("the tick log begins anew after the checkpoint at {end}"),
        });
        if !self.loses {
            report.lost.push("no tick of the log: what cannot be read of it is in the checkpoint".into());
            return Ok(());
        }
        let (mut ticks, mut rows, mut seen) = (0, BTreeMap::<GlobalId, usize>::new(), self.end);
        for (_, stretch) in survey.stretches.iter().enumerate().filter(|(at, _)| Some(*at) != self.kept) {
            for record in survey.records(stretch) {
                let (record, _) = record?;
                if record.time <= seen {
                    continue;
                }
                seen = record.time;
                ticks += 1;
                for write in record.tables {
                    *rows.entry(write.table).or_default() += write.diffs.len();
                }
            }
        }
        let unread = match self.unread {
            0 => String::new(),
            bytes => format!(", and {bytes} bytes that cannot be read"),
        };
        let until = if ticks > 0 { format!(", up to {}", tick_text(seen)) } else { String::new() };
        report.lost.push(format!("what came after {end}: {ticks} ticks that can be read{until}{unread}"));
        for (table, changes) in rows {
            let name = catalog.get(table).map_or_else(
                || format!("a table that is not there ({table})"),
                |o| format!("table {}.{}", o.schema, o.name),
            );
            report.lost.push(format!("  {changes} changes of rows of {name}, in the ticks that can be read"));
        }
        report.lost.push(
            "  what sources gave in these ticks is read from them again; definitions made in them are there where the \
             catalog has them"
                .into(),
        );
        Ok(())
    }
}
