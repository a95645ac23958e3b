//! POSIX rules of time zones: `std offset [dst [offset] [, start [/time], end [/time]]]`, offsets *west* of UTC.

use super::super::{civil_from_days, days_from_civil, days_in_month};
use super::{DAY_S, Zone};

/// A rule; offsets are seconds east of UTC.
#[derive(Clone, Debug, PartialEq)]
pub struct Posix {
    standard: i32,
    /// Offset in summer, its start by standard time and its end by summer time.
    summer: Option<(i32, Change, Change)>,
}

/// A moment of each year: a day and seconds after its midnight.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Change {
    day: Day,
    time_s: i32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Day {
    /// `Jn`: 1 to 365, 29 February is not counted.
    Julian(i64),
    /// `n`: 0 to 365.
    Zero(i64),
    /// `Mm.w.d`: month, week (5 is the last), day of the week (0 is Sunday).
    Weekday(u32, i64, i64),
}

/// What PostgreSQL takes where a summer time has no dates: those of the USA.
const USUAL: (Change, Change) =
    (Change { day: Day::Weekday(3, 2, 0), time_s: 7_200 }, Change { day: Day::Weekday(11, 1, 0), time_s: 7_200 });

/// What is left to read.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn take(&mut self, c: char) -> bool {
        match self.0.strip_prefix(c) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn number(&mut self, max: i64) -> Option<i64> {
        let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let value = self.0.get(..end)?.parse().ok().filter(|v| *v <= max)?;
        self.0 = &self.0[end..];
        Some(value)
    }

    /// A name: letters, or anything between `<` and `>`. May be empty.
    fn name(&mut self) -> Option<usize> {
        let length = if self.take('<') {
            let end = self.0.find('>')?;
            self.0 = &self.0[end + 1..];
            end
        } else {
            let end = self.0.find(|c: char| c.is_ascii_digit() || matches!(c, ',' | '-' | '+')).unwrap_or(self.0.len());
            self.0 = &self.0[end..];
            end
        };
        Some(length)
    }

    /// `[+-]hh[:mm[:ss]]` in seconds.
    fn clock(&mut self) -> Option<i32> {
        let negative = self.take('-');
        if !negative {
            self.take('+');
        }
        let mut seconds = self.number(167)? * 3600;
        if self.take(':') {
            seconds += self.number(59)? * 60;
            if self.take(':') {
                seconds += self.number(60)?;
            }
        }
        Some(if negative { -seconds } else { seconds } as i32)
    }

    fn change(&mut self) -> Option<Change> {
        let day = if self.take('J') {
            Day::Julian(self.number(365).filter(|n| *n > 0)?)
        } else if self.take('M') {
            let month = self.number(12).filter(|n| *n > 0)?;
            let week = self.take('.').then(|| self.number(5).filter(|n| *n > 0))??;
            let weekday = self.take('.').then(|| self.number(6))??;
            Day::Weekday(month as u32, week, weekday)
        } else {
            Day::Zero(self.number(365)?)
        };
        let time_s = if self.take('/') { self.clock()? } else { 7_200 };
        Some(Change { day, time_s })
    }
}

impl Posix {
    /// Precondition: upper case.
    pub(super) fn parse(text: &str) -> Option<Posix> {
        let mut rest = Rest(text);
        rest.name()?;
        let standard = -rest.clock()?;
        if rest.0.is_empty() {
            return Some(Posix { standard, summer: None });
        }
        if rest.name()? == 0 {
            return None;
        }
        let summer = if rest.0.is_empty() || rest.0.starts_with(',') { standard + 3600 } else { -rest.clock()? };
        let (start, end) = if rest.take(',') {
            let start = rest.change()?;
            (start, rest.take(',').then(|| rest.change())??)
        } else {
            USUAL
        };
        rest.0.is_empty().then_some(Posix { standard, summer: Some((summer, start, end)) })
    }

    pub(super) fn into_zone(self) -> Zone {
        if self.summer.is_none() { Zone::Fixed(self.standard) } else { Zone::Posix(self) }
    }

    pub(super) fn offset_at(&self, utc_s: i64) -> i32 {
        let Some((summer, start, end)) = &self.summer else { return self.standard };
        let local = utc_s.saturating_add(self.standard.into());
        let (year, _, _) = civil_from_days(local.div_euclid(DAY_S));
        let start = start.local_s(year) - i64::from(self.standard);
        let end = end.local_s(year) - i64::from(*summer);
        let in_summer = if start < end { (start..end).contains(&utc_s) } else { !(end..start).contains(&utc_s) };
        if in_summer { *summer } else { self.standard }
    }
}

impl Change {
    /// In seconds since 1970 by the clock before the change.
    fn local_s(&self, year: i32) -> i64 {
        let first = days_from_civil(year, 1, 1);
        let leap = days_in_month(year, 2) == 29;
        let day = match self.day {
            Day::Julian(n) => first + n - 1 + i64::from(leap && n >= 60),
            Day::Zero(n) => first + n,
            Day::Weekday(month, week, weekday) => {
                let first = days_from_civil(year, month, 1);
                let first_weekday = (first + 4).rem_euclid(7);
                let day = (weekday - first_weekday).rem_euclid(7) + (week - 1) * 7;
                let last = i64::from(days_in_month(year, month)) - 1;
                first + if day > last { day - 7 } else { day }
            }
        };
        day * DAY_S + i64::from(self.time_s)
    }
}
