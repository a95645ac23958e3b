//! From fields to a date, a time of day and a zone.

use super::lex::Kind;
use super::words::{Word, word};
use super::{Fault, InZone, Read, fraction_us};
use crate::text::datetime::zone::Zone;
use crate::text::datetime::{DAY_US, SECOND_US, civil_from_days, days_from_civil, days_in_month};

/// What a text means.
pub(super) enum Decoded {
    Infinity,
    MinusInfinity,
    Fields(Fields),
}

/// A day, a time of day, and the zone they are in. Year 0 is 1 BC.
pub(super) struct Fields {
    pub year: i32,
    pub month: u32,
    pub day: u32,
    /// µs since midnight, up to 24 hours.
    pub time_us: i64,
    pub zone: Option<InZone>,
}

// What is known so far.
const YEAR: u8 = 1;
const MONTH: u8 = 2;
const DAY: u8 = 4;
const DATE: u8 = YEAR | MONTH | DAY;
const TIME: u8 = 8;
const ZONE: u8 = 16;
const ORDINAL: u8 = 32;

/// What a word said of the next field.
#[derive(Clone, Copy, PartialEq)]
enum Expect {
    Julian,
    Time,
    Nothing,
}

#[derive(Default)]
struct State {
    known: u8,
    year: i64,
    month: i64,
    day: i64,
    ordinal: i64,
    time_us: i64,
    zone: Option<InZone>,
    /// The month was a word.
    month_named: bool,
    /// The year has one or two digits, and means 1970 to 2069.
    short_year: bool,
    bc: bool,
    pm: Option<bool>,
    /// The date is a Julian day, whose year is final.
    julian: bool,
}

fn number(digits: &str) -> Read<i64> {
    match !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        true => digits.parse::<i32>().map(i64::from).map_err(|_| Fault::Field),
        false => Err(Fault::Syntax),
    }
}

/// `[+-]hh[:mm[:ss]]` or `[+-]hhmm`, seconds east of UTC.
pub(super) fn offset(field: &str) -> Read<i32> {
    let body = &field[1..];
    let end = body.find(|c: char| !c.is_ascii_digit()).unwrap_or(body.len());
    let (mut hours, rest) = (number(&body[..end])?, &body[end..]);
    let (mut minutes, mut seconds, mut tail) = (0, 0, rest);
    if let Some(after) = rest.strip_prefix(':') {
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        (minutes, tail) = (number(&after[..end])?, &after[end..]);
        if let Some(after) = tail.strip_prefix(':') {
            let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
            (seconds, tail) = (number(&after[..end])?, &after[end..]);
        }
    } else if rest.is_empty() && body.len() > 2 {
        (hours, minutes) = (hours / 100, hours % 100);
    }
    if hours > 15 || minutes > 59 || seconds > 59 {
        return Err(Fault::Zone);
    }
    if !tail.is_empty() {
        return Err(Fault::Syntax);
    }
    let total = (hours * 3600 + minutes * 60 + seconds) as i32;
    Ok(if field.starts_with('-') { -total } else { total })
}

/// Hours, minutes and seconds, each checked, to µs.
fn clock(hour: i64, minute: i64, second: i64, fraction_us: i64) -> Read<i64> {
    let micros = (hour * 3600 + minute * 60 + second) * SECOND_US + fraction_us;
    match minute > 59 || second > 60 || hour > 24 || micros > DAY_US {
        true => Err(Fault::Field),
        false => Ok(micros),
    }
}

/// `hh:mm`, `hh:mm:ss`, `hh:mm:ss.ffffff`, and `mm:ss.ffffff`.
fn colon_time(field: &str) -> Read<i64> {
    let (whole, fraction) = match field.split_once('.') {
        Some((whole, digits)) => (whole, Some(fraction_us(digits).ok_or(Fault::Syntax)?)),
        None => (field, None),
    };
    let parts: Vec<&str> = whole.split(':').collect();
    match (parts.as_slice(), fraction) {
        ([h, m], None) => clock(number(h)?, number(m)?, 0, 0),
        ([m, s], Some(fraction)) => clock(0, number(m)?, number(s)?, fraction),
        ([h, m, s], fraction) => clock(number(h)?, number(m)?, number(s)?, fraction.unwrap_or(0)),
        _ => Err(Fault::Syntax),
    }
}

impl State {
    /// Notes that parts are known now; none may be known twice.
    fn note(&mut self, parts: u8) -> Read<()> {
        if self.known & parts != 0 {
            return Err(Fault::Syntax);
        }
        self.known |= parts;
        Ok(())
    }

    fn set_zone(&mut self, zone: InZone) -> Read<()> {
        self.note(ZONE)?;
        self.zone = Some(zone);
        Ok(())
    }

    fn set_julian(&mut self, day: i64) -> Read<()> {
        let (year, month, day) = civil_from_days(day - 2_440_588);
        self.note(DATE)?;
        (self.year, self.month, self.day, self.julian) = (year.into(), month.into(), day.into(), true);
        Ok(())
    }

    /// A date of several parts.
    fn date(&mut self, field: &str) -> Read<()> {
        let mut parts: Vec<&str> = vec![];
        let mut rest = field;
        while !rest.is_empty() {
            rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
            let first = rest.chars().next().ok_or(Fault::Syntax)?;
            let same = |c: char| if first.is_ascii_digit() { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
            let end = rest.find(|c: char| !same(c)).unwrap_or(rest.len());
            parts.push(&rest[..end]);
            // A separator that ends the field stands for nothing.
            rest = &rest[end..];
            rest = rest.strip_prefix(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest);
        }
        for part in parts.iter().filter(|p| p.starts_with(|c: char| c.is_ascii_alphabetic())) {
            match word(part) {
                Word::Ignored => {}
                Word::Month(month) => {
                    self.note(MONTH)?;
                    (self.month, self.month_named) = (month.into(), true);
                }
                _ => return Err(Fault::Syntax),
            }
        }
        for part in parts.iter().filter(|p| p.starts_with(|c: char| c.is_ascii_digit())) {
            self.date_number(part)?;
        }
        if self.known & DATE == DATE { Ok(()) } else { Err(Fault::Syntax) }
    }

    /// One number of a date, which it is by its place and length; behind a whole date, a time.
    fn date_number(&mut self, field: &str) -> Read<()> {
        let (whole, fraction) = match field.split_once('.') {
            Some((whole, _)) if whole.len() > 2 => return self.digits(field, self.known | DATE),
            Some((whole, digits)) => (whole, Some(fraction_us(digits).ok_or(Fault::Syntax)?)),
            None => (field, None),
        };
        let value = number(whole)?;
        if let Some(fraction) = fraction {
            self.time_us = fraction;
        }
        let long = field.len() > 2;
        if field.len() == 3 && self.known & DATE == YEAR && (1..=366).contains(&value) {
            self.ordinal = value;
            return self.note(ORDINAL | MONTH | DAY);
        }
        let part = match self.known & DATE {
            0 if long => YEAR,
            0 | YEAR | DAY => MONTH,
            MONTH if self.month_named && long => YEAR,
            MONTH => DAY,
            known if known == YEAR | MONTH => {
                if self.month_named && long && self.short_year {
                    // What was taken for a year of two digits was the day.
                    (self.day, self.year, self.short_year) = (self.year, value, false);
                    return self.note(DAY);
                }
                DAY
            }
            known if known == MONTH | DAY => YEAR,
            DATE => return self.digits(field, self.known),
            _ => return Err(Fault::Syntax),
        };
        match part {
            YEAR => (self.year, self.short_year) = (value, !long),
            MONTH => self.month = value,
            _ => self.day = value,
        }
        self.note(part)
    }

    /// Digits run together: `yyyymmdd`, `yymmdd`, `hhmmss`, `hhmm`. `known` is what to take as known already.
    fn digits(&mut self, field: &str, known: u8) -> Read<()> {
        let (whole, fraction) = match field.split_once('.') {
            Some((whole, digits)) => (whole, Some(fraction_us(digits).ok_or(Fault::Syntax)?)),
            None => (field, None),
        };
        if !whole.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Fault::Syntax);
        }
        let part = |from: usize, to: usize| number(&whole[from..to]);
        let length = whole.len();
        if fraction.is_none() && known & DATE != DATE && length >= 6 {
            self.note(DATE)?;
            (self.year, self.month, self.day) =
                (part(0, length - 4)?, part(length - 4, length - 2)?, part(length - 2, length)?);
            self.short_year = length == 6;
            return Ok(());
        }
        let time = match length {
            _ if known & TIME != 0 => return Err(Fault::Syntax),
            6 => (part(0, 2)?, part(2, 4)?, part(4, 6)?),
            4 => (part(0, 2)?, part(2, 4)?, 0),
            _ => return Err(Fault::Syntax),
        };
        self.note(TIME)?;
        self.time_us = clock(time.0, time.1, time.2, fraction.unwrap_or(0))?;
        Ok(())
    }

    /// A time of day that runs into its zone: `hhmmss-zz`.
    fn digits_with_zone(&mut self, field: &str, known: u8) -> Read<()> {
        let at = field.find(['-', '+']).filter(|at| *at > 0).ok_or(Fault::Syntax)?;
        self.set_zone(InZone::Offset(offset(&field[at..])?))?;
        self.digits(&field[..at], known)
    }

    fn named_zone(&mut self, name: &str) -> Read<()> {
        let zone = Zone::by_full_name(name).ok_or_else(|| Fault::UnknownZone(name.to_string()))?;
        self.set_zone(InZone::Of(zone))
    }

    /// A month that is a word: a number that was taken for the month was the day.
    fn named_month(&mut self, month: u32) -> Read<()> {
        if self.known & (MONTH | DAY) == MONTH && !self.month_named && (1..=31).contains(&self.month) {
            self.day = self.month;
            self.known |= DAY;
        } else {
            self.note(MONTH)?;
        }
        (self.month, self.month_named) = (month.into(), true);
        Ok(())
    }

    fn finish(mut self) -> Read<Fields> {
        self.check_date()?;
        let hour = 3600 * SECOND_US;
        if let Some(pm) = self.pm {
            if self.time_us >= 13 * hour {
                return Err(Fault::Field);
            }
            self.time_us = self.time_us % (12 * hour) + if pm { 12 * hour } else { 0 };
        }
        let year = i32::try_from(self.year).map_err(|_| Fault::Field)?;
        Ok(Fields { year, month: self.month as u32, day: self.day as u32, time_us: self.time_us, zone: self.zone })
    }

    fn check_date(&mut self) -> Read<()> {
        if self.known & YEAR != 0 && !self.julian {
            self.year = match (self.bc, self.short_year) {
                (true, _) if self.year <= 0 => return Err(Fault::Field),
                (true, _) => 1 - self.year,
                (false, true) => self.year + if self.year < 70 { 2000 } else { 1900 },
                (false, false) if self.year <= 0 => return Err(Fault::Field),
                (false, false) => self.year,
            };
        }
        if self.known & ORDINAL != 0 {
            let first = days_from_civil(self.year as i32, 1, 1);
            let (year, month, day) = civil_from_days(first + self.ordinal - 1);
            (self.year, self.month, self.day) = (year.into(), month.into(), day.into());
        }
        let wrong_month = self.known & MONTH != 0 && !(1..=12).contains(&self.month);
        if wrong_month || self.known & DAY != 0 && !(1..=31).contains(&self.day) {
            return Err(Fault::MonthOrDay);
        }
        let whole = self.known & DATE == DATE;
        if whole && self.day > i64::from(days_in_month(self.year as i32, self.month as u32)) {
            return Err(Fault::Field);
        }
        Ok(())
    }
}

/// What the fields mean. `time_only`: for type time, which takes a date only where it cannot be anything else.
pub(super) fn decode(fields: &[(Kind, String)], time_only: bool) -> Read<Decoded> {
    if fields.is_empty() {
        return Err(Fault::Syntax);
    }
    let mut state = State::default();
    let mut expect = Expect::Nothing;
    let mut special = None;
    for (at, (kind, field)) in fields.iter().enumerate() {
        match kind {
            Kind::Time => {
                if std::mem::replace(&mut expect, Expect::Nothing) == Expect::Julian {
                    return Err(Fault::Syntax);
                }
                state.note(TIME)?;
                state.time_us = colon_time(field)?;
            }
            Kind::Zone => state.set_zone(InZone::Offset(offset(field)?))?,
            Kind::Date => {
                let expected = std::mem::replace(&mut expect, Expect::Nothing);
                state.date_field(fields, at, expected, time_only)?;
            }
            Kind::Number => {
                let expected = std::mem::replace(&mut expect, Expect::Nothing);
                state.number_field(fields, at, expected, time_only)?;
            }
            Kind::Word | Kind::Special => {
                let next = fields.get(at + 1).map(|(kind, _)| *kind);
                match state.word(field, next, time_only)? {
                    Meaning::Plain => {}
                    Meaning::Expect(what) => expect = what,
                    Meaning::Special(what) => special = Some(what),
                }
            }
        }
    }
    match special {
        Some(Word::Infinity) => return Ok(Decoded::Infinity),
        Some(Word::MinusInfinity) => return Ok(Decoded::MinusInfinity),
        Some(_) => (state.year, state.month, state.day, state.known) = (1970, 1, 1, DATE | TIME | ZONE),
        None => {}
    }
    let needed = if time_only { TIME } else { DATE };
    if state.known & needed != needed {
        state.check_date()?;
        return Err(Fault::Syntax);
    }
    if time_only && matches!(state.zone, Some(InZone::Of(_))) && state.known & DATE != DATE {
        return Err(Fault::Syntax);
    }
    Ok(Decoded::Fields(state.finish()?))
}

/// What a word asks for beyond the state.
enum Meaning {
    Plain,
    Expect(Expect),
    Special(Word),
}

impl State {
    fn date_field(&mut self, fields: &[(Kind, String)], at: usize, expected: Expect, time_only: bool) -> Read<()> {
        let field = fields[at].1.as_str();
        let starts_with_digit = field.starts_with(|c: char| c.is_ascii_digit());
        if expected == Expect::Julian {
            let end = field.find(|c: char| !c.is_ascii_digit()).ok_or(Fault::Syntax)?;
            self.set_julian(number(&field[..end])?)?;
            return self.set_zone(InZone::Offset(offset(&field[end..])?));
        }
        let later = match time_only {
            false => expected == Expect::Time || self.known & (MONTH | DAY) == MONTH | DAY,
            true => {
                let last = fields.last().map(|(kind, _)| *kind);
                let dated = at == 0
                    && fields.len() >= 2
                    && (last == Some(Kind::Date) || fields.get(1).map(|(kind, _)| *kind) == Some(Kind::Time));
                !dated
            }
        };
        match later {
            false => self.date(field),
            true if starts_with_digit || expected == Expect::Time => {
                if self.known & TIME != 0 {
                    return Err(Fault::Syntax);
                }
                let known = if time_only { self.known | DATE } else { self.known };
                self.digits_with_zone(field, known)
            }
            true => self.named_zone(field),
        }
    }

    fn number_field(&mut self, fields: &[(Kind, String)], at: usize, expected: Expect, time_only: bool) -> Read<()> {
        let field = fields[at].1.as_str();
        match expected {
            Expect::Julian => {
                let (whole, fraction) = field.split_once('.').unwrap_or((field, ""));
                self.set_julian(number(whole)?)?;
                if !fraction.is_empty() {
                    let fraction: f64 = format!("0.{fraction}").parse().map_err(|_| Fault::Syntax)?;
                    self.note(TIME)?;
                    self.time_us = (fraction * DAY_US as f64).round_ties_even() as i64;
                }
                return Ok(());
            }
            Expect::Time => {
                let known = if time_only { self.known | DATE } else { self.known };
                return self.digits(field, known);
            }
            Expect::Nothing => {}
        }
        let point = field.find('.');
        if time_only {
            return match point {
                Some(_) if at == 0 && fields.len() >= 2 && matches!(fields.last(), Some((Kind::Date, _))) => {
                    self.date(field)
                }
                Some(point) if point <= 2 => Err(Fault::Syntax),
                _ => self.digits(field, self.known | DATE),
            };
        }
        match point {
            Some(_) if self.known & DATE == 0 => self.date(field),
            Some(point) if point > 2 => self.digits(field, self.known),
            None if field.len() >= 6 && (self.known & DATE == 0 || self.known & TIME == 0) => {
                self.digits(field, self.known)
            }
            _ => self.date_number(field),
        }
    }

    fn word(&mut self, field: &str, next: Option<Kind>, time_only: bool) -> Read<Meaning> {
        if let Some(zone) = Zone::by_abbreviation(field) {
            self.set_zone(match zone {
                Zone::Fixed(offset) => InZone::Offset(offset),
                other => InZone::Of(other),
            })?;
            return Ok(Meaning::Plain);
        }
        match word(field) {
            Word::Ignored if !time_only => {}
            Word::Month(month) if !time_only => self.named_month(month)?,
            Word::Pm(pm) => self.pm = Some(pm),
            Word::Bc(bc) => self.bc = bc,
            Word::Moment => return Err(Fault::Moment),
            Word::AllBalls => {
                self.note(TIME | ZONE)?;
                (self.time_us, self.zone) = (0, Some(InZone::Offset(0)));
            }
            Word::Epoch if !time_only => {
                self.note(DATE | TIME | ZONE)?;
                return Ok(Meaning::Special(Word::Epoch));
            }
            special @ (Word::Infinity | Word::MinusInfinity) if !time_only => {
                self.note(DATE | TIME | ZONE)?;
                return Ok(Meaning::Special(special));
            }
            Word::Julian => return Ok(Meaning::Expect(Expect::Julian)),
            Word::IsoTime => {
                let dated = time_only || self.known & DATE == DATE;
                return match next {
                    Some(Kind::Number | Kind::Time | Kind::Date) if dated => Ok(Meaning::Expect(Expect::Time)),
                    _ => Err(Fault::Syntax),
                };
            }
            Word::Unknown if Zone::by_full_name(field).is_some() => self.named_zone(field)?,
            _ => return Err(Fault::Syntax),
        }
        Ok(Meaning::Plain)
    }
}
