//! Reading intervals: a list of numbers with units and clocks, read from its end so that a number without a unit takes
//! it from what follows; what is not that may be ISO 8601.

use crate::datum::IntervalValue;
use crate::error::{SqlError, SqlState};
use crate::text::datetime::input::lex::{Kind, fields};
use crate::text::datetime::input::{Fault, Read};
use crate::text::datetime::{DAY_US, SECOND_US};
use crate::text::trim;

const MINUTE_US: i64 = 60 * SECOND_US;
const HOUR_US: i64 = 60 * MINUTE_US;

/// A field of an interval, as SQL names it behind a literal or a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// YEAR
    Year,
    /// MONTH
    Month,
    /// DAY
    Day,
    /// HOUR
    Hour,
    /// MINUTE
    Minute,
    /// SECOND
    Second,
}

/// The first and the last field of an interval's type: `DAY TO SECOND`. They say what a number without a unit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fields(pub Option<(Field, Field)>);

impl Fields {
    /// What a number without a unit at the end counts.
    fn last_unit(&self) -> Unit {
        match self.0.map(|(_, last)| last) {
            Some(Field::Year) => Unit::Years(1),
            Some(Field::Month) => Unit::Months,
            Some(Field::Day) => Unit::Days(1),
            Some(Field::Hour) => Unit::Micros(HOUR_US),
            Some(Field::Minute) => Unit::Micros(MINUTE_US),
            Some(Field::Second) | None => Unit::Micros(SECOND_US),
        }
    }
}

/// What a number counts: how many years, days or µs one of it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Years(i32),
    Months,
    Days(i32),
    Micros(i64),
}

/// A word in an interval.
enum Word {
    Unit(Unit),
    Ago,
}

fn word(name: &str) -> Option<Word> {
    // Of longer words only ten letters count: `microseconds`, `millenniums`.
    let unit = match name.get(..10).unwrap_or(name) {
        "ago" => return Some(Word::Ago),
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecon" => Unit::Micros(1),
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecon" => Unit::Micros(1_000),
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Micros(SECOND_US),
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Micros(MINUTE_US),
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Micros(HOUR_US),
        "d" | "day" | "days" => Unit::Days(1),
        "w" | "week" | "weeks" => Unit::Days(7),
        "mon" | "mons" | "month" | "months" => Unit::Months,
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Years(1),
        "dec" | "decs" | "decade" | "decades" => Unit::Years(10),
        "c" | "cent" | "century" | "centuries" => Unit::Years(100),
        "mil" | "mils" | "millennia" | "millennium" => Unit::Years(1_000),
        _ => return None,
    };
    Some(Word::Unit(unit))
}

/// What was added up so far. Years are apart from months because each has the range of an `i32`.
#[derive(Default, Clone, Copy)]
struct Sum {
    years: i32,
    months: i32,
    days: i32,
    micros: i64,
}

fn overflow<T>() -> Read<T> {
    Err(Fault::Field)
}

fn add(slot: &mut i32, value: i64) -> Read<()> {
    let sum = i64::from(*slot).checked_add(value).and_then(|v| i32::try_from(v).ok());
    *slot = sum.ok_or(Fault::Field)?;
    Ok(())
}

impl Sum {
    fn add_micros(&mut self, count: i64, size: i64) -> Read<()> {
        let sum = count.checked_mul(size).and_then(|v| self.micros.checked_add(v));
        self.micros = sum.ok_or(Fault::Field)?;
        Ok(())
    }

    /// A fraction of a unit of time, rounded half away from zero.
    fn add_fraction(&mut self, fraction: f64, size: i64) -> Read<()> {
        let exact = fraction * size as f64;
        let rest = exact.fract();
        let round = if rest > 0.5 {
            1
        } else if rest < -0.5 {
            -1
        } else {
            0
        };
        self.add_micros(exact.trunc() as i64 + round, 1)
    }

    /// A fraction of some days: whole days, then time.
    fn add_day_fraction(&mut self, fraction: f64, days: i32) -> Read<()> {
        let exact = fraction * f64::from(days);
        add(&mut self.days, exact.trunc() as i64)?;
        self.add_fraction(exact.fract(), DAY_US)
    }

    fn add(&mut self, whole: i64, fraction: f64, unit: Unit) -> Read<()> {
        match unit {
            Unit::Micros(size) => {
                self.add_micros(whole, size)?;
                self.add_fraction(fraction, size)
            }
            Unit::Days(1) => {
                add(&mut self.days, whole)?;
                self.add_fraction(fraction, DAY_US)
            }
            Unit::Days(size) => {
                add(&mut self.days, whole.checked_mul(size.into()).ok_or(Fault::Field)?)?;
                self.add_day_fraction(fraction, size)
            }
            Unit::Months => {
                add(&mut self.months, whole)?;
                self.add_day_fraction(fraction, 30)
            }
            Unit::Years(size) => {
                add(&mut self.years, whole.checked_mul(size.into()).ok_or(Fault::Field)?)?;
                // A fraction of a year is rounded to whole months.
                add(&mut self.months, (fraction * f64::from(size) * 12.0).round_ties_even() as i64)
            }
        }
    }

    fn negate(self) -> Read<Sum> {
        let parts =
            (self.years.checked_neg(), self.months.checked_neg(), self.days.checked_neg(), self.micros.checked_neg());
        match parts {
            (Some(years), Some(months), Some(days), Some(micros)) => Ok(Sum { years, months, days, micros }),
            _ => overflow(),
        }
    }
}

/// What of an interval was given already.
mod known {
    pub const MICROSECOND: u16 = 1;
    pub const MILLISECOND: u16 = 2;
    pub const SECOND: u16 = 4;
    pub const ALL_SECONDS: u16 = MICROSECOND | MILLISECOND | SECOND;
    pub const MINUTE: u16 = 8;
    pub const HOUR: u16 = 16;
    pub const CLOCK: u16 = ALL_SECONDS | MINUTE | HOUR;
    pub const DAY: u16 = 32;
    pub const WEEK: u16 = 64;
    pub const MONTH: u16 = 128;
    pub const YEAR: u16 = 256;
    pub const DECADE: u16 = 512;
    pub const CENTURY: u16 = 1024;
    pub const MILLENNIUM: u16 = 2048;
}

fn parts_of(unit: Unit, fraction: f64) -> u16 {
    match unit {
        Unit::Micros(1) => known::MICROSECOND,
        Unit::Micros(1_000) => known::MILLISECOND,
        Unit::Micros(SECOND_US) if fraction == 0.0 => known::SECOND,
        Unit::Micros(SECOND_US) => known::ALL_SECONDS,
        Unit::Micros(MINUTE_US) => known::MINUTE,
        Unit::Micros(_) => known::HOUR,
        Unit::Days(1) => known::DAY,
        Unit::Days(_) => known::WEEK,
        Unit::Months => known::MONTH,
        Unit::Years(1) => known::YEAR,
        Unit::Years(10) => known::DECADE,
        Unit::Years(100) => known::CENTURY,
        Unit::Years(_) => known::MILLENNIUM,
    }
}

fn integer(digits: &str) -> Read<i64> {
    match !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        true => digits.parse().map_err(|_| Fault::Field),
        false => Err(Fault::Syntax),
    }
}

/// `.digits` as a part of one.
fn fraction(digits: &str) -> Read<f64> {
    match digits.bytes().all(|b| b.is_ascii_digit()) {
        true => format!("0.{digits}0").parse().map_err(|_| Fault::Syntax),
        false => Err(Fault::Syntax),
    }
}

/// `hh:mm[:ss[.f]]` in µs; two parts with a fraction, or MINUTE TO SECOND, are minutes and seconds.
fn clock(field: &str, limits: &Fields) -> Read<i64> {
    let (whole, part) = match field.split_once('.') {
        Some((whole, digits)) => (whole, Some(fraction(digits)?)),
        None => (field, None),
    };
    let parts: Vec<&str> = whole.split(':').collect();
    let minute_to_second = limits.0 == Some((Field::Minute, Field::Second));
    let (h, m, s) = match parts[..] {
        [m, s] if part.is_some() || minute_to_second => (0, integer(m)?, integer(s)?),
        [h, m] => (integer(h)?, integer(m)?, 0),
        [h, m, s] => (integer(h)?, integer(m)?, integer(s)?),
        _ => return Err(Fault::Syntax),
    };
    if m > 59 || s > 60 {
        return overflow();
    }
    let micros = (part.unwrap_or(0.0) * SECOND_US as f64).round_ties_even() as i64;
    let sum = h.checked_mul(HOUR_US).and_then(|v| v.checked_add(m * MINUTE_US + s * SECOND_US + micros));
    sum.ok_or(Fault::Field)
}

/// A number with or without a fraction, or `years-months` in months. Both parts carry the sign.
fn number(field: &str, unit: &mut Unit) -> Read<(i64, f64)> {
    let negative = field.starts_with('-');
    let body = field.strip_prefix(['-', '+']).unwrap_or(field);
    let end = body.find(|c: char| !c.is_ascii_digit()).unwrap_or(body.len());
    let (digits, rest) = body.split_at(end);
    let whole = if digits.is_empty() && rest.starts_with('.') { 0 } else { integer(digits)? };
    let sign = if negative { -1 } else { 1 };
    match rest.as_bytes().first() {
        None => Ok((sign * whole, 0.0)),
        Some(b'.') => Ok((sign * whole, sign as f64 * fraction(&rest[1..])?)),
        Some(b'-') => {
            let end = rest[1..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |at| at + 1);
            let months = integer(&rest[1..end])?;
            if months > 11 {
                return overflow();
            }
            if end < rest.len() {
                return Err(Fault::Syntax);
            }
            *unit = Unit::Months;
            let all = whole.checked_mul(12).and_then(|v| v.checked_add(months)).ok_or(Fault::Field)?;
            Ok((sign * all, 0.0))
        }
        Some(_) => Err(Fault::Syntax),
    }
}

/// Numbers with units, clocks and `y-m`, with `ago` anywhere.
fn verbose(s: &str, limits: &Fields) -> Read<Sum> {
    let mut sum = Sum::default();
    let mut given = 0;
    let mut unit: Option<Unit> = None;
    let mut ago = false;
    for (kind, field) in fields(s)?.iter().rev() {
        let signed_clock = *kind == Kind::Zone && field.contains(':');
        let parts = match kind {
            Kind::Time => {
                sum.add_micros(clock(field, limits)?, 1)?;
                unit = Some(Unit::Days(1));
                known::CLOCK
            }
            Kind::Zone if signed_clock && clock(&field[1..], limits).is_ok() => {
                let micros = clock(&field[1..], limits)?;
                sum.add_micros(if field.starts_with('-') { -micros } else { micros }, 1)?;
                unit = Some(Unit::Days(1));
                known::CLOCK
            }
            Kind::Zone | Kind::Date | Kind::Number => {
                let mut of = unit.unwrap_or(limits.last_unit());
                let (whole, fraction) = number(field, &mut of)?;
                sum.add(whole, fraction, of)?;
                // SQL's `d h`: what stands before hours counts days.
                unit = Some(if of == Unit::Micros(HOUR_US) { Unit::Days(1) } else { of });
                parts_of(of, fraction)
            }
            Kind::Word | Kind::Special => match word(field) {
                Some(Word::Unit(found)) => {
                    unit = Some(found);
                    0
                }
                Some(Word::Ago) => {
                    ago = true;
                    0
                }
                None => return Err(Fault::Syntax),
            },
        };
        if given & parts != 0 {
            return Err(Fault::Syntax);
        }
        given |= parts;
    }
    match (given, ago) {
        (0, _) => Err(Fault::Syntax),
        (_, true) => sum.negate(),
        (_, false) => Ok(sum),
    }
}

/// What is left of an ISO 8601 text.
struct Iso<'a>(&'a str);

impl Iso<'_> {
    fn take(&mut self, c: char) -> bool {
        match self.0.strip_prefix(c) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// A number, and the width of its whole part where that is plain digits.
    fn number(&mut self) -> Read<(i64, f64, usize)> {
        let body = self.0.strip_prefix('-').unwrap_or(self.0);
        let digits = |s: &str| s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
        let mut length = digits(body);
        let width = length;
        if body[length..].starts_with('.') {
            length += 1 + digits(&body[length + 1..]);
        }
        let exponent = body[length..].strip_prefix(['e', 'E']).map(|e| (e, e.strip_prefix(['-', '+']).unwrap_or(e)));
        if let Some((all, number)) = exponent
            && digits(number) > 0
        {
            length += 1 + (all.len() - number.len()) + digits(number);
        }
        let end = self.0.len() - body.len() + length;
        let value: f64 = self.0[..end].parse().map_err(|_| Fault::Syntax)?;
        if value.abs() > 1.0e15 {
            return overflow();
        }
        self.0 = &self.0[end..];
        Ok((value.trunc() as i64, value.fract(), width))
    }

    /// The dates' part; true where a time follows.
    fn date(&mut self, sum: &mut Sum) -> Read<bool> {
        let mut any = false;
        while !self.0.is_empty() {
            if self.take('T') {
                return Ok(true);
            }
            let (whole, fraction, width) = self.number()?;
            let unit = match self.0.chars().next() {
                Some('Y') => Unit::Years(1),
                Some('M') => Unit::Months,
                Some('W') => Unit::Days(7),
                Some('D') => Unit::Days(1),
                None | Some('T') if width == 8 && !any => {
                    sum.add(whole / 10_000, 0.0, Unit::Years(1))?;
                    sum.add(whole / 100 % 100, 0.0, Unit::Months)?;
                    sum.add(whole % 100, fraction, Unit::Days(1))?;
                    return Ok(self.take('T'));
                }
                None | Some('T' | '-') if !any => return self.extended_date(sum, whole, fraction),
                _ => return Err(Fault::Syntax),
            };
            self.0 = &self.0[1..];
            sum.add(whole, fraction, unit)?;
            any = true;
        }
        Ok(false)
    }

    /// The rest of `yyyy-mm-dd`.
    fn extended_date(&mut self, sum: &mut Sum, years: i64, fraction: f64) -> Read<bool> {
        sum.add(years, fraction, Unit::Years(1))?;
        for unit in [Unit::Months, Unit::Days(1)] {
            if !self.take('-') {
                break;
            }
            let (whole, fraction, _) = self.number()?;
            sum.add(whole, fraction, unit)?;
        }
        match self.take('T') {
            true => Ok(true),
            false if self.0.is_empty() => Ok(false),
            false => Err(Fault::Syntax),
        }
    }

    fn time(&mut self, sum: &mut Sum) -> Read<()> {
        let mut any = false;
        while !self.0.is_empty() {
            if self.take('T') {
                any = false;
                continue;
            }
            let (whole, fraction, width) = self.number()?;
            let unit = match self.0.chars().next() {
                Some('H') => HOUR_US,
                Some('M') => MINUTE_US,
                Some('S') => SECOND_US,
                None if width == 6 && !any => {
                    sum.add_micros(whole / 10_000, HOUR_US)?;
                    sum.add_micros(whole / 100 % 100, MINUTE_US)?;
                    return sum.add(whole % 100, fraction, Unit::Micros(SECOND_US));
                }
                None | Some(':') if !any => return self.extended_time(sum, whole, fraction),
                _ => return Err(Fault::Syntax),
            };
            self.0 = &self.0[1..];
            sum.add(whole, fraction, Unit::Micros(unit))?;
            any = true;
        }
        Ok(())
    }

    /// The rest of `hh:mm:ss`.
    fn extended_time(&mut self, sum: &mut Sum, hours: i64, fraction: f64) -> Read<()> {
        sum.add(hours, fraction, Unit::Micros(HOUR_US))?;
        for size in [MINUTE_US, SECOND_US] {
            if !self.take(':') {
                break;
            }
            let (whole, fraction, _) = self.number()?;
            sum.add(whole, fraction, Unit::Micros(size))?;
        }
        if self.0.is_empty() { Ok(()) } else { Err(Fault::Syntax) }
    }
}

/// `P1Y2M3DT4H5M6.7S`, `P2W`, `P0001-02-03T04:05:06`, `P00010203T040506`.
fn iso(body: &str) -> Read<Sum> {
    let mut sum = Sum::default();
    let mut rest = Iso(body.strip_prefix('P').filter(|rest| !rest.is_empty()).ok_or(Fault::Syntax)?);
    if rest.date(&mut sum)? {
        rest.time(&mut sum)?;
    }
    Ok(sum)
}

/// PostgreSQL's interval input.
pub fn parse_interval(s: &str) -> Result<IntervalValue, SqlError> {
    parse_interval_fields(s, &Fields::default())
}

/// The interval input of a type with fields, as in `INTERVAL '1' HOUR`. What is shorter than the last field stays: see
/// [`crate::text::modifier`].
pub fn parse_interval_fields(s: &str, limits: &Fields) -> Result<IntervalValue, SqlError> {
    let read = verbose(s, limits).or_else(|fault| match fault {
        Fault::Syntax => iso(trim(s)),
        other => Err(other),
    });
    let sum = read.map_err(|fault| match fault {
        Fault::Field => SqlError::new(SqlState::new("22015"), format!("interval field value out of range: \"{s}\"")),
        _ => SqlError::new(SqlState::INVALID_DATETIME, format!("invalid input syntax for type interval: \"{s}\"")),
    })?;
    let months = i32::try_from(i64::from(sum.years) * 12 + i64::from(sum.months))
        .map_err(|_| SqlError::new(SqlState::DATETIME_OVERFLOW, "interval out of range"))?;
    Ok(IntervalValue { months, days: sum.days, micros: sum.micros })
}
