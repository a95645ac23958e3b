//! `to_char` of timestamps and intervals.

use super::{Case, Compiled, DAYS, Item, Key, MONTHS, Pattern, ROMAN, Template, invalid, iso_week, julian_day};
use crate::civil::{self, DAY, HOUR, MINUTE, SECOND};
use crate::kernel::string::Str;
use crate::kernel::{Kernel, Prim, unsupported};
use crate::value::{Val, strict_nulls};
use arrow::array::{ArrayRef, StringBuilder};
use arrow::datatypes::{IntervalMonthDayNanoType, TimestampMicrosecondType};
use hw_plan::Func;
use hw_repr::datum::IntervalValue;
use hw_repr::{SqlError, SqlType};
use std::sync::Arc;

/// The kernel of `to_char` of a moment or an interval.
pub(in crate::kernel) fn kernel(types: &[SqlType]) -> Result<Kernel, SqlError> {
    match types {
        [SqlType::Timestamp | SqlType::TimestampTz, _] => {
            let zoned = types[0] == SqlType::TimestampTz;
            Ok(Box::new(move |args, rows| {
                let a = Prim::<TimestampMicrosecondType>::of(&args[0])?;
                build(args, rows, |i| Some(a.get(i)), |i| Moment::of_timestamp(a.get(i), zoned))
            }))
        }
        [SqlType::Interval, _] => Ok(Box::new(|args, rows| {
            let a = Prim::<IntervalMonthDayNanoType>::of(&args[0])?;
            build(args, rows, |_| None, |i| Some(Moment::of_interval(IntervalValue::from_arrow(a.get(i)))))
        })),
        _ => Err(unsupported(Func::ToChar, types)),
    }
}

/// Infinite moments and empty templates give NULL. Moments near each other, by their microseconds in `at`, are often shown
/// alike: a column of times in order, as days.
fn build(
    args: &[Val],
    rows: usize,
    at: impl Fn(usize) -> Option<i64>,
    moment: impl Fn(usize) -> Option<Moment>,
) -> Result<ArrayRef, SqlError> {
    let (nulls, format) = (strict_nulls(args), Str::of(&args[1])?);
    let mut out = StringBuilder::with_capacity(rows, rows * 16);
    let (mut buffer, mut compiled) = (String::new(), Compiled::default());
    let mut shown = None;
    for row in 0..rows {
        if nulls.as_ref().is_some_and(|n| n.is_null(row)) || format.get(row).is_empty() {
            out.append_null();
            continue;
        }
        compiled.get(format.get(row));
        let alike = at(row).map(|micros| compiled.shown_alike(micros));
        if alike.is_none() || alike != shown {
            let Some(moment) = moment(row) else {
                out.append_null();
                continue;
            };
            buffer.clear();
            moment.write(compiled.get(format.get(row)), &mut buffer)?;
            shown = alike;
        }
        out.append_value(&buffer);
    }
    Ok(Arc::new(out.finish()))
}

/// What is shown, taken apart. The parts of an interval may be negative, and its month 0.
struct Moment {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    day_of_year: i64,
    interval: bool,
    zoned: bool,
}

/// Appends a number of at least `width` places, the sign counted, unless `FM` takes the padding away.
fn put(p: &Pattern, value: i64, width: usize, out: &mut String) {
    let start = out.len();
    let width = if p.fill { 0 } else { width };
    out.push_str(&format!("{value:0width$}"));
    put_ordinal(p, start, out);
}

fn put_ordinal(p: &Pattern, start: usize, out: &mut String) {
    let Some(upper) = p.ordinal else { return };
    let digits = &out.as_bytes()[start..];
    let teen = digits.len() > 1 && digits[digits.len() - 2] == b'1';
    let suffix = match digits.last() {
        Some(b'1') if !teen => ["st", "ST"],
        Some(b'2') if !teen => ["nd", "ND"],
        Some(b'3') if !teen => ["rd", "RD"],
        _ => ["th", "TH"],
    };
    out.push_str(suffix[usize::from(upper)]);
}

/// A place more where the sign needs one.
fn signed(value: i64, width: usize) -> usize {
    if value < 0 { width + 1 } else { width }
}

fn put_name(p: &Pattern, name: &str, width: usize, out: &mut String) {
    let start = out.len();
    match p.case {
        Case::Upper => out.extend(name.chars().map(|c| c.to_ascii_uppercase())),
        Case::Capital => out.push_str(name),
        Case::Lower => out.extend(name.chars().map(|c| c.to_ascii_lowercase())),
    }
    let written = out.len() - start;
    if !p.fill && !p.locale {
        out.extend(std::iter::repeat_n(' ', width.saturating_sub(written)));
    }
}

impl Moment {
    /// `None` where it is infinite.
    fn of_timestamp(ts: i64, zoned: bool) -> Option<Moment> {
        if civil::is_infinite(ts) {
            return None;
        }
        let (days, time) = (ts.div_euclid(DAY), ts.rem_euclid(DAY));
        let (year, month, day) = civil::civil_from_days(days);
        let day_of_year = days - civil::days_from_civil(year, 1, 1) + 1;
        Some(Moment { year, month, day, day_of_year, interval: false, zoned, ..Moment::of_time(time) })
    }

    fn of_interval(v: IntervalValue) -> Moment {
        let (year, month, day) = (i64::from(v.months / 12), i64::from(v.months % 12), i64::from(v.days));
        let day_of_year = i64::from(v.months) * 30 + day;
        Moment { year, month, day, day_of_year, interval: true, zoned: false, ..Moment::of_time(v.micros) }
    }

    fn of_time(time: i64) -> Moment {
        Moment {
            year: 0,
            month: 0,
            day: 0,
            hour: time / HOUR,
            minute: time / MINUTE % 60,
            second: time / SECOND % 60,
            micros: time % SECOND,
            day_of_year: 0,
            interval: true,
            zoned: false,
        }
    }

    fn write(&self, template: &Template, out: &mut String) -> Result<(), SqlError> {
        for item in template {
            match item {
                Item::Space(c) | Item::Separator(c) | Item::Text(c) => out.push(*c),
                Item::Pattern(p) => self.pattern(p, out)?,
            }
        }
        Ok(())
    }

    /// Patterns that need a date of the calendar.
    fn refuse_interval(&self) -> Result<(), SqlError> {
        match self.interval {
            false => Ok(()),
            true => Err(invalid("invalid format specification for an interval value".into())
                .hint("Intervals are not tied to specific calendar dates.")),
        }
    }

    /// The year as it is shown: 1 BC is 1.
    fn shown(&self, year: i64) -> i64 {
        if !self.interval && year <= 0 { 1 - year } else { year }
    }

    fn julian(&self) -> i64 {
        julian_day(self.year, self.month, self.day)
    }

    fn pattern(&self, p: &Pattern, out: &mut String) -> Result<(), SqlError> {
        match p.key {
            Key::Exact => {}
            Key::Era
            | Key::MonthName
            | Key::MonthShort
            | Key::DayName
            | Key::DayShort
            | Key::DayOfWeek
            | Key::IsoDayOfWeek
            | Key::ZoneName
            | Key::ZoneHours
            | Key::ZoneMinutes
            | Key::Offset => {
                self.refuse_interval()?;
                self.calendar(p, out);
            }
            Key::Half => {
                let pm = self.hour.rem_euclid(24) >= 12;
                self.put_half(p, pm, out);
            }
            Key::Hour24 => put(p, self.hour, signed(self.hour, 2), out),
            Key::Hour12 => {
                let hour = if self.hour % 12 == 0 { 12 } else { self.hour % 12 };
                put(p, hour, signed(self.hour, 2), out);
            }
            Key::Minute => put(p, self.minute, signed(self.minute, 2), out),
            Key::Second => put(p, self.second, signed(self.second, 2), out),
            Key::Fraction(_) | Key::Millisecond | Key::Microsecond => self.fraction(p, out),
            Key::SecondOfDay => put(p, self.hour * 3600 + self.minute * 60 + self.second, 0, out),
            _ => self.date(p, out),
        }
        Ok(())
    }

    fn fraction(&self, p: &Pattern, out: &mut String) {
        let digits = match p.key {
            Key::Fraction(digits) => digits,
            Key::Millisecond => 3,
            _ => 6,
        };
        let start = out.len();
        let (value, width) = (self.micros / 10i64.pow(6 - digits), digits as usize);
        out.push_str(&format!("{value:0width$}"));
        put_ordinal(p, start, out);
    }

    fn put_half(&self, p: &Pattern, pm: bool, out: &mut String) {
        let name = match (p.name.len() == 2, pm) {
            (true, false) => "AM",
            (true, true) => "PM",
            (false, false) => "A.M.",
            (false, true) => "P.M.",
        };
        put_name(p, name, 0, out);
    }

    fn calendar(&self, p: &Pattern, out: &mut String) {
        let weekday = (self.julian() + 1).rem_euclid(7);
        match p.key {
            Key::Era => {
                let name = match (p.name.len() == 2, self.year <= 0) {
                    (true, true) => "BC",
                    (true, false) => "AD",
                    (false, true) => "B.C.",
                    (false, false) => "A.D.",
                };
                put_name(p, name, 0, out);
            }
            Key::MonthName => put_name(p, MONTHS[self.month as usize - 1], 9, out),
            Key::MonthShort => put_name(p, &MONTHS[self.month as usize - 1][..3], 0, out),
            Key::DayName => put_name(p, DAYS[weekday as usize], 9, out),
            Key::DayShort => put_name(p, &DAYS[weekday as usize][..3], 0, out),
            Key::DayOfWeek => put(p, weekday + 1, 0, out),
            Key::IsoDayOfWeek => put(p, if weekday == 0 { 7 } else { weekday }, 0, out),
            Key::ZoneName if self.zoned => put_name(p, "UTC", 0, out),
            Key::ZoneHours | Key::Offset => out.push_str("+00"),
            Key::ZoneMinutes => out.push_str("00"),
            _ => {}
        }
    }

    fn date(&self, p: &Pattern, out: &mut String) {
        match p.key {
            Key::Month => put(p, self.month, signed(self.month, 2), out),
            Key::Day => put(p, self.day, 2, out),
            Key::DayOfYear => put(p, self.day_of_year, 3, out),
            Key::IsoDayOfYear => {
                let (year, _) = iso_week(self.julian(), self.year);
                put(p, self.julian() - super::iso_week_start(year, 1) + 1, 3, out);
            }
            Key::Week => put(p, (self.day_of_year - 1) / 7 + 1, 2, out),
            Key::IsoWeek => put(p, iso_week(self.julian(), self.year).1, 2, out),
            Key::WeekOfMonth => put(p, (self.day - 1) / 7 + 1, 0, out),
            Key::Quarter if self.month != 0 => put(p, (self.month - 1) / 3 + 1, 0, out),
            Key::Century => {
                let century = match (self.interval, self.year > 0) {
                    (true, _) => self.year / 100,
                    (false, true) => (self.year - 1) / 100 + 1,
                    (false, false) => self.year / 100 - 1,
                };
                let width = if (-99..=99).contains(&century) { signed(century, 2) } else { 0 };
                put(p, century, width, out);
            }
            Key::YearComma => {
                let (year, start) = (self.shown(self.year), out.len());
                out.push_str(&format!("{},{:03}", year / 1_000, year % 1_000));
                put_ordinal(p, start, out);
            }
            Key::Year(digits) => self.year(p, self.year, digits, out),
            Key::IsoYear(digits) => self.year(p, iso_week(self.julian(), self.year).0, digits, out),
            Key::MonthRoman if self.month != 0 || self.year != 0 => {
                let month = match self.month {
                    0 if self.year > 0 => 12,
                    0 => 1,
                    m if m < 0 => 13 + m,
                    m => m,
                };
                put_name(p, ROMAN[month as usize - 1], 4, out);
            }
            Key::Julian => put(p, self.julian(), 0, out),
            _ => {}
        }
    }

    fn year(&self, p: &Pattern, year: i64, digits: u32, out: &mut String) {
        let year = self.shown(year);
        let value = if digits == 4 { year } else { year % 10i64.pow(digits) };
        let width = if digits == 1 { 1 } else { signed(year, digits as usize) };
        put(p, value, width, out);
    }
}
