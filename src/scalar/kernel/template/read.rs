//! `to_date` and `to_timestamp` with a template.
//!
//! Unless `FX` was seen, white space in the text is skipped before fields, and a separator of the template takes at most one
//! separator of the text. A number takes as many digits as its pattern has letters when another number follows it, else
//! all there are.

use super::{
    Compiled, DAYS, Item, Key, MONTHS, Pattern, ROMAN, Template, invalid, is_separator, is_space, iso_week_start,
};
use crate::civil::{self, DAY, HOUR, MINUTE, SECOND};
use crate::kernel::cast::stamp;
use crate::kernel::string::Str;
use crate::kernel::{Kernel, build};
use crate::value::strict_nulls;
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use hw_plan::Func;
use hw_repr::{SqlError, SqlState, SqlType};
use std::cell::RefCell;
use std::sync::Arc;

/// The kernel of `to_date` or `to_timestamp` of two texts.
pub(in crate::kernel) fn kernel(func: Func) -> Kernel {
    Box::new(move |args, rows| {
        let (text, format) = (Str::of(&args[0])?, Str::of(&args[1])?);
        let compiled = RefCell::new(Compiled::default());
        let parsed = |i: usize| parse(text.get(i), compiled.borrow_mut().get(format.get(i)));
        if func == Func::ToDate {
            let f = |i| parsed(i)?.date(text.get(i));
            return Ok(Arc::new(build::<Date32Type>(rows, strict_nulls(args), f)?));
        }
        let f = |i| {
            let moment = parsed(i)?.timestamp()?;
            // FF3 and the like say to how many digits the moment is rounded.
            match fraction(compiled.borrow_mut().get(format.get(i))) {
                Some(digits) => hw_repr::text::modifier::round_timestamp(moment, digits),
                None => Ok(moment),
            }
        };
        Ok(stamp(build::<TimestampMicrosecondType>(rows, strict_nulls(args), f)?, SqlType::TimestampTz))
    })
}

/// Digits of FF1 to FF6, the last one where there are several.
fn fraction(template: &Template) -> Option<u8> {
    template.iter().rev().find_map(|item| match item {
        Item::Pattern(Pattern { key: Key::Fraction(digits), .. }) => u8::try_from(*digits).ok(),
        _ => None,
    })
}

/// A moment that was read; fields that were not named are those of 0001-01-01 BC, 00:00.
struct Parsed {
    year: i64,
    month: i64,
    day: i64,
    time: i64,
    /// Seconds east of UTC.
    offset: i64,
}

impl Parsed {
    fn days(&self) -> Option<i64> {
        let days = civil::days_from_civil(self.year, self.month, self.day);
        (civil::DATE_MIN..civil::DATE_END).contains(&days).then_some(days)
    }

    fn date(&self, text: &str) -> Result<i32, SqlError> {
        let out = || SqlError::new(SqlState::DATETIME_OVERFLOW, format!("date out of range: \"{text}\""));
        self.days().map(|d| d as i32).ok_or_else(out)
    }

    fn timestamp(&self) -> Result<i64, SqlError> {
        let micros = self
            .days()
            .map(|days| i128::from(days) * i128::from(DAY) + i128::from(self.time) - i128::from(self.offset * SECOND));
        let out = || SqlError::new(SqlState::DATETIME_OVERFLOW, "timestamp out of range");
        micros.and_then(civil::checked_timestamp).ok_or_else(out)
    }
}

/// Which calendar the patterns are of.
#[derive(Clone, Copy, PartialEq)]
enum Calendar {
    Gregorian,
    IsoWeek,
}

/// The numbers as they were read; 0 where there was none.
#[derive(Default)]
struct Found {
    calendar: Option<Calendar>,
    hour: i64,
    pm: i64,
    twelve_hours: bool,
    minute: i64,
    second: i64,
    second_of_day: i64,
    weekday: i64,
    day: i64,
    day_of_year: i64,
    month: i64,
    millis: i64,
    micros: i64,
    year: i64,
    bc: i64,
    week: i64,
    week_of_month: i64,
    century: i64,
    julian: i64,
    year_digits: u32,
    /// -1 or 1 once there is a zone.
    zone_sign: i64,
    zone_hours: i64,
    zone_minutes: i64,
}

/// Fields may be given twice, but not differently.
fn set(slot: &mut i64, value: i64, p: &Pattern) -> Result<(), SqlError> {
    if *slot != 0 && *slot != value {
        return Err(invalid(format!("conflicting values for \"{}\" field in formatting string", p.name))
            .detail("This value contradicts a previous setting for the same field type."));
    }
    *slot = value;
    Ok(())
}

/// The text, and how far it is read.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    exact: bool,
    /// Blanks skipped beyond what the template asked for.
    skipped: i64,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_char(&mut self) {
        self.at += self.rest().chars().next().map_or(0, char::len_utf8);
    }

    /// The two letters that `TH` stands for, whatever they are.
    fn skip_ordinal(&mut self, p: &Pattern) {
        if p.ordinal.is_some() {
            self.skip_char();
            self.skip_char();
        }
    }

    fn skip_spaces(&mut self) {
        while self.rest().starts_with(is_space) {
            self.skip_char();
            self.skipped += 1;
        }
    }

    /// Sign and digits at the start of a text, after blanks, as `strtol` reads them: the value and the length taken.
    fn integer(text: &str) -> (Option<i64>, usize) {
        let blanks = text.len() - text.trim_start_matches(is_space).len();
        let body = &text[blanks..];
        let sign = usize::from(body.starts_with(['-', '+']));
        let digits = body[sign..].find(|c: char| !c.is_ascii_digit()).unwrap_or(body.len() - sign);
        if digits == 0 {
            return (Some(0), 0);
        }
        let value = body[..sign + digits].parse::<i64>().ok();
        (value.filter(|v| i32::try_from(*v).is_ok()), blanks + sign + digits)
    }

    /// A number of `width` characters, or of as many as there are where `open`. Gives it and the characters taken.
    fn number(&mut self, p: &Pattern, width: usize, open: bool) -> Result<(i64, usize), SqlError> {
        let start = self.at;
        while self.rest().starts_with(is_space) {
            self.at += 1;
        }
        let value = if open {
            let (value, used) = Self::integer(&self.text[start..]);
            self.at = start + used;
            value
        } else {
            let end = self.rest().char_indices().nth(width).map_or(self.rest().len(), |(at, _)| at);
            let piece = &self.rest()[..end];
            let hint = "If your source string is not fixed-width, try using the \"FM\" modifier.";
            if piece.len() < width {
                let left = piece.len();
                let what = format!("source string too short for \"{}\" formatting field", p.name);
                return Err(invalid(what)
                    .detail(format!("Field requires {width} characters, but only {left} remain."))
                    .hint(hint));
            }
            let (value, used) = Self::integer(piece);
            if used > 0 && used < width {
                return Err(invalid(format!("invalid value \"{piece}\" for \"{}\"", p.name))
                    .detail(format!("Field requires {width} characters, but only {used} could be parsed."))
                    .hint(hint));
            }
            if used == 0 {
                self.at = start;
            }
            self.at += used;
            value
        };
        if self.at == start {
            let piece: String = self.text[start..].chars().take(width).collect();
            return Err(
                invalid(format!("invalid value \"{piece}\" for \"{}\"", p.name)).detail("Value must be an integer.")
            );
        }
        let out = || {
            SqlError::new(
                SqlState::DATETIME_OVERFLOW,
                format!("value for \"{}\" in source string is out of range", p.name),
            )
            .detail(format!("Value must be in the range {} to {}.", i32::MIN, i32::MAX))
        };
        Ok((value.ok_or_else(out)?, self.at - start))
    }

    /// The position of the name that the text goes on with, in any case.
    fn name<'n>(&mut self, p: &Pattern, names: impl Iterator<Item = &'n str>) -> Result<i64, SqlError> {
        let rest = &self.text.as_bytes()[self.at..];
        for (index, name) in names.enumerate() {
            if rest.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name.as_bytes())) {
                self.at += name.len();
                return Ok(index as i64);
            }
        }
        let word: String = self.rest().chars().take_while(|c| !is_space(*c)).collect();
        Err(invalid(format!("invalid value \"{word}\" for \"{}\"", p.name))
            .detail("The given value did not match any of the allowed values for this field."))
    }

    /// What the template has beside patterns.
    fn literal(&mut self, item: &Item) {
        match item {
            Item::Space(_) | Item::Separator(_) if self.exact => self.skip_char(),
            Item::Space(_) | Item::Separator(_) => {
                self.skipped -= 1;
                if self.rest().starts_with(|c| is_space(c) || is_separator(c)) {
                    self.skip_char();
                    self.skipped += 1;
                }
            }
            // Blanks that were skipped stand for characters of the template.
            _ if !self.exact && self.skipped > 0 => self.skipped -= 1,
            _ => self.skip_char(),
        }
    }
}

/// Whether a number may take all digits there are: what follows its pattern is no number.
fn is_open(template: &Template, at: usize) -> bool {
    if matches!(&template[at], Item::Pattern(p) if p.fill || p.ordinal.is_some()) {
        return true;
    }
    match template.get(at + 1) {
        None => true,
        Some(Item::Pattern(p)) => !matches!(
            p.key,
            Key::Century
                | Key::DayOfYear
                | Key::IsoDayOfYear
                | Key::Day
                | Key::DayOfWeek
                | Key::IsoDayOfWeek
                | Key::Fraction(_)
                | Key::Hour24
                | Key::Hour12
                | Key::Minute
                | Key::Second
                | Key::SecondOfDay
                | Key::Millisecond
                | Key::Microsecond
                | Key::Month
                | Key::WeekOfMonth
                | Key::Week
                | Key::IsoWeek
                | Key::Year(_)
                | Key::IsoYear(_)
                | Key::YearComma
                | Key::Julian
                | Key::Quarter
                | Key::ZoneMinutes
        ),
        Some(Item::Space(c) | Item::Separator(c) | Item::Text(c)) => !c.is_ascii_digit(),
    }
}

fn calendar_of(key: Key) -> Option<Calendar> {
    match key {
        Key::IsoDayOfYear | Key::IsoDayOfWeek | Key::IsoWeek | Key::IsoYear(_) => Some(Calendar::IsoWeek),
        Key::MonthName
        | Key::MonthShort
        | Key::Month
        | Key::MonthRoman
        | Key::DayName
        | Key::DayShort
        | Key::DayOfYear
        | Key::Day
        | Key::DayOfWeek
        | Key::WeekOfMonth
        | Key::Week
        | Key::Year(_)
        | Key::YearComma => Some(Calendar::Gregorian),
        _ => None,
    }
}

/// Years of few digits are those nearest to 2020.
fn near_2020(year: i64) -> i64 {
    match year {
        ..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}

fn parse(text: &str, template: &Template) -> Result<Parsed, SqlError> {
    let mut found = Found::default();
    let mut reader = Reader { text, at: 0, exact: false, skipped: 0 };
    for (at, item) in template.iter().enumerate() {
        if reader.rest().is_empty() {
            break;
        }
        if !reader.exact && (at == 0 || matches!(item, Item::Pattern(_))) {
            reader.skip_spaces();
        }
        let Item::Pattern(p) = item else {
            reader.literal(item);
            continue;
        };
        if let Some(calendar) = calendar_of(p.key) {
            if found.calendar.is_some_and(|c| c != calendar) {
                return Err(invalid("invalid combination of date conventions".into())
                    .hint("Do not mix Gregorian and ISO week date conventions in a formatting template."));
            }
            found.calendar = Some(calendar);
        }
        found.read(p, is_open(template, at), &mut reader)?;
        if !reader.exact {
            reader.skipped = 0;
            reader.skip_spaces();
        }
    }
    found.finish(text)
}

impl Found {
    fn read(&mut self, p: &Pattern, open: bool, reader: &mut Reader) -> Result<(), SqlError> {
        let short = |names: &'static [&'static str]| names.iter().map(|n| &n[..3]);
        match p.key {
            Key::Exact => reader.exact = true,
            Key::Half | Key::Era => {
                let names = match (p.key, p.name.len() == 2) {
                    (Key::Half, true) => ["am", "pm"],
                    (Key::Half, false) => ["a.m.", "p.m."],
                    (_, true) => ["ad", "bc"],
                    (_, false) => ["a.d.", "b.c."],
                };
                let value = reader.name(p, names.into_iter())?;
                if p.key == Key::Half {
                    self.twelve_hours = true;
                    set(&mut self.pm, value, p)?;
                } else {
                    set(&mut self.bc, value, p)?;
                }
            }
            Key::MonthName => set(&mut self.month, reader.name(p, MONTHS.into_iter())? + 1, p)?,
            Key::MonthShort => set(&mut self.month, reader.name(p, short(&MONTHS))? + 1, p)?,
            Key::DayName => set(&mut self.weekday, reader.name(p, DAYS.into_iter())? + 1, p)?,
            Key::DayShort => set(&mut self.weekday, reader.name(p, short(&DAYS))? + 1, p)?,
            Key::MonthRoman => {
                // The longest first: VIII before VII.
                let at = reader.name(p, ROMAN.into_iter().rev())?;
                set(&mut self.month, 12 - at, p)?;
            }
            Key::ZoneName | Key::Offset => {
                return Err(SqlError::unsupported(format!(
                    "formatting field \"{}\" is only supported in to_char",
                    p.name
                )));
            }
            Key::ZoneHours => {
                let rest = reader.rest().chars().next();
                self.zone_sign = match rest {
                    Some('-') => -1,
                    Some('+' | ' ') => 1,
                    // The sign may have been taken for a separator.
                    _ if reader.skipped > 0 && reader.text[..reader.at].ends_with('-') => -1,
                    _ => 1,
                };
                if matches!(rest, Some('+' | '-' | ' ')) {
                    reader.at += 1;
                }
                set(&mut self.zone_hours, reader.number(p, 2, open)?.0, p)?;
            }
            Key::ZoneMinutes => {
                self.zone_sign = if self.zone_sign == 0 { 1 } else { self.zone_sign };
                set(&mut self.zone_minutes, reader.number(p, 2, open)?.0, p)?;
            }
            Key::YearComma => {
                self.year_with_comma(p, reader)?;
                reader.skip_ordinal(p);
            }
            _ => {
                self.read_number(p, open, reader)?;
                reader.skip_ordinal(p);
            }
        }
        Ok(())
    }

    fn read_number(&mut self, p: &Pattern, open: bool, reader: &mut Reader) -> Result<(), SqlError> {
        let width = match p.key {
            Key::Hour24 | Key::Hour12 => 2,
            Key::IsoDayOfYear => 3,
            Key::IsoDayOfWeek => 1,
            Key::Fraction(digits) => digits as usize,
            Key::Microsecond => 6,
            Key::Millisecond => 3,
            _ => p.name.len(),
        };
        let (value, taken) = reader.number(p, width, open)?;
        let scaled = |digits: u32| value * 10i64.pow(digits.saturating_sub(taken as u32));
        match p.key {
            Key::Hour12 => {
                self.twelve_hours = true;
                set(&mut self.hour, value, p)
            }
            Key::Hour24 => set(&mut self.hour, value, p),
            Key::Minute => set(&mut self.minute, value, p),
            Key::Second => set(&mut self.second, value, p),
            Key::SecondOfDay => set(&mut self.second_of_day, value, p),
            Key::Millisecond => {
                set(&mut self.millis, value, p)?;
                self.millis = scaled(3);
                Ok(())
            }
            Key::Microsecond | Key::Fraction(_) => {
                set(&mut self.micros, value, p)?;
                self.micros = scaled(6);
                Ok(())
            }
            Key::DayOfYear | Key::IsoDayOfYear => set(&mut self.day_of_year, value, p),
            Key::Day => set(&mut self.day, value, p),
            Key::DayOfWeek => set(&mut self.weekday, value, p),
            // Counted from Monday; inside, Sunday is 1.
            Key::IsoDayOfWeek => set(&mut self.weekday, if value >= 7 { 1 } else { value + 1 }, p),
            Key::Week | Key::IsoWeek => set(&mut self.week, value, p),
            Key::WeekOfMonth => set(&mut self.week_of_month, value, p),
            Key::Month => set(&mut self.month, value, p),
            Key::Century => set(&mut self.century, value, p),
            Key::Julian => set(&mut self.julian, value, p),
            Key::Year(digits) | Key::IsoYear(digits) => {
                set(&mut self.year, value, p)?;
                if digits < 4 && taken < 4 {
                    self.year = near_2020(value);
                }
                self.year_digits = digits;
                Ok(())
            }
            // Which day of a quarter is not said: it is read and dropped.
            _ => Ok(()),
        }
    }

    fn year_with_comma(&mut self, p: &Pattern, reader: &mut Reader) -> Result<(), SqlError> {
        let wrong = || invalid("invalid input string for \"Y,YYY\"".into());
        let (thousands, used) = Reader::integer(reader.rest());
        let rest = reader.rest()[used..].strip_prefix(',').filter(|_| used > 0).ok_or_else(wrong)?;
        let digits = rest.bytes().take(3).take_while(u8::is_ascii_digit).count();
        let years: i64 = rest[..digits].parse().map_err(|_| wrong())?;
        reader.at += used + 1 + digits;
        set(&mut self.year, thousands.ok_or_else(wrong)?.saturating_mul(1_000) + years, p)?;
        self.year_digits = 4;
        Ok(())
    }

    /// The year, if there is one, as 0 for 1 BC.
    fn whole_year(&self) -> Option<i64> {
        let century = if self.bc != 0 { -self.century } else { self.century };
        if self.year == 0 {
            return match century {
                0 => None,
                c if c > 0 => Some((c - 1) * 100 + 1),
                c => Some(c * 100 + 1),
            };
        }
        if century != 0 && self.year_digits <= 2 {
            let rest = self.year % 100;
            return Some(match (rest, century > 0) {
                (0, true) => century * 100,
                (0, false) => century * 100 + 1,
                (rest, true) => rest + (century - 1) * 100,
                (rest, false) => (century + 1) * 100 - rest + 1,
            });
        }
        let year = if self.bc != 0 { -self.year } else { self.year };
        Some(if year < 0 { year + 1 } else { year })
    }

    /// Hours, minutes and seconds.
    fn clock(&self) -> Result<(i64, i64, i64), SqlError> {
        let of_day = self.second_of_day;
        let or = |value: i64, otherwise: i64| if value != 0 { value } else { otherwise };
        let mut hour = or(self.hour, of_day / 3600);
        let (minute, second) = (or(self.minute, of_day / 60 % 60), or(self.second, of_day % 60));
        if self.twelve_hours {
            if !(1..=12).contains(&hour) {
                return Err(invalid(format!("hour \"{hour}\" is invalid for the 12-hour clock"))
                    .hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            hour = hour % 12 + if self.pm != 0 { 12 } else { 0 };
        }
        Ok((hour, minute, second))
    }

    fn finish(mut self, text: &str) -> Result<Parsed, SqlError> {
        let out =
            || SqlError::new(SqlState::DATETIME_OVERFLOW, format!("date/time field value out of range: \"{text}\""));
        let (hour, minute, second) = self.clock()?;
        let (year, month, day) = self.calendar_date(out)?;
        let micros = self.millis * 1_000 + self.micros;
        let fits = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
        if !fits || !(0..SECOND).contains(&micros) {
            return Err(out());
        }
        if self.zone_sign != 0 && (!(0..=15).contains(&self.zone_hours) || !(0..60).contains(&self.zone_minutes)) {
            let message = format!("time zone displacement out of range: \"{text}\"");
            return Err(SqlError::new(SqlState::new("22009"), message));
        }
        let offset = self.zone_sign * (self.zone_hours * 3600 + self.zone_minutes * 60);
        let time = hour * HOUR + minute * MINUTE + second * SECOND + micros;
        Ok(Parsed { year, month, day, time, offset })
    }

    fn calendar_date(&mut self, out: impl Fn() -> SqlError) -> Result<(i64, i64, i64), SqlError> {
        let known_year = self.whole_year();
        let (mut year, mut month, mut day) = (known_year.unwrap_or(0), 1, 1);
        let (mut has_year, mut has_month, mut has_day) = (known_year.is_some(), false, false);
        let from_julian = |julian: i64| civil::civil_from_days(julian - 2_440_588);
        if self.julian != 0 {
            (year, month, day) = from_julian(self.julian);
            (has_year, has_month, has_day) = (true, true, true);
        }
        let iso = self.calendar == Some(Calendar::IsoWeek);
        if self.week != 0 && iso {
            let monday = iso_week_start(year, self.week);
            let weekday = match self.weekday {
                0 => 0,
                1 => 6,
                later => later - 2,
            };
            (year, month, day) = from_julian(monday + weekday);
            (has_year, has_month, has_day) = (true, true, true);
        } else if self.week != 0 {
            self.day_of_year = (self.week - 1) * 7 + 1;
        }
        if self.week_of_month != 0 {
            self.day = (self.week_of_month - 1) * 7 + 1;
        }
        if self.day != 0 {
            (day, has_day) = (self.day, true);
        }
        if self.month != 0 {
            (month, has_month) = (self.month, true);
        }
        if self.day_of_year != 0 && (month <= 1 || day <= 1) {
            if year == 0 && self.bc == 0 {
                return Err(invalid("cannot calculate day of year without year information".into()));
            }
            if iso {
                (year, month, day) = from_julian(iso_week_start(year, 1) - 1 + self.day_of_year);
                has_year = true;
            } else {
                let (of_month, of_day) = month_of_day(year, self.day_of_year);
                month = if month <= 1 { of_month } else { month };
                day = if day <= 1 { of_day } else { day };
            }
            (has_month, has_day) = (true, true);
        }
        let wrong = has_month && !(1..=12).contains(&month) || has_day && !(1..=31).contains(&day);
        if wrong || has_year && has_month && has_day && day > civil::month_days(year, month) {
            return Err(out());
        }
        Ok((year, month, day))
    }
}

/// Month and day of a day of the year; beyond its end, a month that is out of range.
fn month_of_day(year: i64, of_year: i64) -> (i64, i64) {
    let mut left = of_year;
    for month in 1..=12 {
        let days = civil::month_days(year, month);
        if left <= days {
            return (month, left);
        }
        left -= days;
    }
    (13, left)
}
