//! Reading dates and times: a text is cut into fields, each field says what it is by its form.

use super::{DAY_US, SECOND_US, check_date, check_timestamp, days_from_civil, days_in_month};
use crate::error::{SqlError, SqlState};
use crate::text::trim;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

/// Why a text is no date or time.
enum Fault {
    /// Not in any form we know: `22007`.
    Syntax,
    /// A field is out of range: `22008`.
    Field,
    /// A month or day is out of range, which another order of them might mend: `22008`.
    MonthOrDay,
    /// A zone is out of range: `22009` in PostgreSQL.
    Zone,
    /// Valid in PostgreSQL: `0A000`.
    Unsupported(&'static str),
}
type Read<T> = Result<T, Fault>;

/// The fields found so far.
#[derive(Default)]
struct Fields {
    /// Year (negative or zero before Christ), month, day.
    date: Option<(i32, u32, u32)>,
    /// Numbers of a date that is spelled with the month's name.
    numbers: Vec<(u32, usize)>,
    month: Option<u32>,
    /// µs since midnight.
    time: Option<i64>,
    /// Seconds east of UTC.
    offset: Option<i32>,
    pm: Option<bool>,
    bc: bool,
}

fn number(s: &str) -> Read<u32> {
    match s.bytes().all(|b| b.is_ascii_digit()) && !s.is_empty() {
        true => s.parse().map_err(|_| Fault::Field),
        false => Err(Fault::Syntax),
    }
}

/// Two digits mean 1970 to 2069.
fn year(s: &str) -> Read<i32> {
    let v = number(s)?;
    Ok(match v {
        _ if s.len() > 2 => i32::try_from(v).map_err(|_| Fault::Field)?,
        0..70 => v as i32 + 2000,
        _ => v as i32 + 1900,
    })
}

fn month_name(word: &str) -> Option<u32> {
    let at = MONTHS.iter().position(|m| word.len() >= 3 && (*m == word || word == &m[..3]))?;
    Some(at as u32 + 1)
}

/// `yyyy-mm-dd`, `mm/dd/yyyy`, `dd-mon-yyyy`, with any of `-`, `/`, `.` between.
fn separated_date(field: &str) -> Read<(i32, u32, u32)> {
    let parts: Vec<&str> = field.split(['-', '/', '.']).collect();
    let [a, b, c] = parts[..] else {
        // A year and a day of it.
        return match parts[..] {
            [y, d] if y.len() >= 4 && d.len() == 3 => ordinal_date(year(y)?, number(d)?),
            _ => Err(Fault::Syntax),
        };
    };
    if let Some(month) = month_name(&b.to_ascii_lowercase()) {
        return if a.len() > 2 { Ok((year(a)?, month, number(c)?)) } else { Ok((year(c)?, month, number(a)?)) };
    }
    if let Some(month) = month_name(&a.to_ascii_lowercase()) {
        return Ok((year(c)?, month, number(b)?));
    }
    match a.len() > 2 {
        true => Ok((year(a)?, number(b)?, number(c)?)),
        false => Ok((year(c)?, number(a)?, number(b)?)),
    }
}

fn ordinal_date(year: i32, day: u32) -> Read<(i32, u32, u32)> {
    if !(1..=366).contains(&day) {
        return Err(Fault::Field);
    }
    Ok(super::civil_from_days(days_from_civil(year, 1, 1) + i64::from(day) - 1))
}

/// µs of a fraction's digits, rounded as PostgreSQL rounds.
pub(in crate::text) fn fraction_us(digits: &str) -> Option<i64> {
    if digits.is_empty() {
        return Some(0);
    }
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction: f64 = format!("0.{digits}").parse().ok()?;
    Some((fraction * 1e6).round_ties_even() as i64)
}

/// Hours, minutes and seconds, checked.
fn clock(hour: u32, minute: u32, second: u32, fraction: i64) -> Read<i64> {
    let whole = hour == 24 && minute == 0 && second == 0 && fraction == 0;
    if (hour > 23 && !whole) || minute > 59 || second > 60 {
        return Err(Fault::Field);
    }
    Ok((i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)) * SECOND_US + fraction)
}

/// `hh:mm`, `hh:mm:ss`, `hh:mm:ss.ffffff`.
fn colon_time(field: &str) -> Read<i64> {
    let (whole, fraction) = match field.split_once('.') {
        Some((whole, digits)) => (whole, fraction_us(digits).ok_or(Fault::Syntax)?),
        None => (field, 0),
    };
    let parts: Vec<&str> = whole.split(':').collect();
    match parts[..] {
        [h, m] if fraction == 0 && !field.contains('.') => clock(number(h)?, number(m)?, 0, 0),
        [h, m, s] => clock(number(h)?, number(m)?, number(s)?, fraction),
        _ => Err(Fault::Syntax),
    }
}

/// `hhmm`, `hhmmss`, `hhmmss.ffffff`.
fn digits_time(field: &str) -> Read<i64> {
    let (whole, fraction) = match field.split_once('.') {
        Some((whole, digits)) => (whole, fraction_us(digits).ok_or(Fault::Syntax)?),
        None => (field, 0),
    };
    match whole.len() {
        4 => clock(number(&whole[..2])?, number(&whole[2..])?, 0, 0),
        6 => clock(number(&whole[..2])?, number(&whole[2..4])?, number(&whole[4..])?, fraction),
        _ => Err(Fault::Syntax),
    }
}

/// `+hh`, `-hh:mm`, `+hhmm`, `+hh:mm:ss`.
fn offset(field: &str) -> Read<i32> {
    let body = &field[1..];
    let parts: Vec<&str> = body.split(':').collect();
    let (h, m, s) = match parts[..] {
        [h] if h.len() <= 2 => (number(h)?, 0, 0),
        [hm] if hm.len() <= 4 => (number(&hm[..hm.len() - 2])?, number(&hm[hm.len() - 2..])?, 0),
        [hms] if hms.len() == 6 => (number(&hms[..2])?, number(&hms[2..4])?, number(&hms[4..])?),
        [h, m] => (number(h)?, number(m)?, 0),
        [h, m, s] => (number(h)?, number(m)?, number(s)?),
        _ => return Err(Fault::Syntax),
    };
    if h > 15 || m > 59 || s > 59 {
        return Err(Fault::Zone);
    }
    let seconds = (h * 3600 + m * 60 + s) as i32;
    Ok(if field.starts_with('-') { -seconds } else { seconds })
}

/// Seconds east of UTC of the abbreviations that mean one thing everywhere they are used.
fn zone_abbreviation(word: &str) -> Option<i32> {
    let hours = match word {
        "z" | "utc" | "gmt" | "ut" | "zulu" | "wet" => 0,
        "cet" | "bst" | "west" | "met" => 1,
        "cest" | "eet" => 2,
        "eest" | "msk" => 3,
        "jst" | "kst" => 9,
        "est" | "cdt" => -5,
        "edt" => -4,
        "cst" | "mdt" => -6,
        "mst" | "pdt" => -7,
        "pst" => -8,
        _ => return None,
    };
    Some(hours * 3600)
}

impl Fields {
    /// Reads one field that has no blank in it.
    fn field(&mut self, field: &str) -> Read<()> {
        let first = field.as_bytes()[0];
        if first == b'+' || (first == b'-' && self.time.is_some()) {
            return set(&mut self.offset, offset(field)?);
        }
        if first.is_ascii_digit() || first == b'.' {
            return self.digits(field);
        }
        self.word(field)
    }

    /// A field that starts with a digit.
    fn digits(&mut self, field: &str) -> Read<()> {
        if let Some((head, tail)) = split_at_t(field) {
            set(&mut self.date, date_field(head)?)?;
            return self.clock_field(tail);
        }
        let plain = field.bytes().all(|b| b.is_ascii_digit());
        if field.contains(':') {
            return self.clock_field(field);
        }
        if plain && self.date.is_none() && field.len() >= 6 {
            return set(&mut self.date, date_field(field)?);
        }
        if self.date.is_some() || (plain && field.len() == 6) {
            return self.clock_field(field);
        }
        if plain {
            self.numbers.push((number(field)?, field.len()));
            return Ok(());
        }
        let split = field.find(|c: char| !c.is_ascii_digit()).unwrap_or(field.len());
        let rest = &field[split..];
        if rest == "," {
            self.numbers.push((number(&field[..split])?, split));
            return Ok(());
        }
        if matches!(rest.to_ascii_lowercase().as_str(), "am" | "pm") {
            self.numbers.push((number(&field[..split])?, split));
            return self.word(rest);
        }
        set(&mut self.date, date_field(field)?)
    }

    /// A time of day, with a zone or AM or PM at its end.
    fn clock_field(&mut self, field: &str) -> Read<()> {
        let end = field.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.')).unwrap_or(field.len());
        let (clock, rest) = field.split_at(end);
        let time = match clock.contains(':') {
            true => colon_time(clock)?,
            false => digits_time(clock)?,
        };
        set(&mut self.time, time)?;
        if rest.is_empty() { Ok(()) } else { self.field(rest) }
    }

    fn word(&mut self, field: &str) -> Read<()> {
        let word = field.trim_end_matches([',', '.']).to_ascii_lowercase();
        if let Some(month) = month_name(&word) {
            return set(&mut self.month, month);
        }
        match word.as_str() {
            "am" => return set(&mut self.pm, false),
            "pm" => return set(&mut self.pm, true),
            "ad" => return Ok(()),
            "bc" => {
                self.bc = true;
                return Ok(());
            }
            "t" if self.date.is_some() && self.time.is_none() => return Ok(()),
            "epoch" if self.date.is_none() && self.time.is_none() => {
                (self.date, self.time, self.offset) = (Some((1970, 1, 1)), Some(0), Some(0));
                return Ok(());
            }
            "infinity" | "-infinity" => {
                return Err(Fault::Unsupported("infinite dates and timestamps are not supported"));
            }
            "now" | "today" | "tomorrow" | "yesterday" | "allballs" => {
                return Err(Fault::Unsupported("date and time input that depends on the clock is not supported"));
            }
            _ => {}
        }
        if DAYS.iter().any(|d| *d == word || (word.len() == 3 && d.starts_with(&word))) {
            return Ok(());
        }
        if self.time.is_none() && word.starts_with('t') && word[1..].starts_with(|c: char| c.is_ascii_digit()) {
            return self.clock_field(&field[1..]);
        }
        // An abbreviation, perhaps with an offset glued to it as in `UTC+1`, is refused: POSIX signs surprise.
        if let Some(seconds) = zone_abbreviation(&word) {
            return set(&mut self.offset, seconds);
        }
        if word.contains('/') && word.starts_with(|c: char| c.is_ascii_alphabetic()) && self.time.is_some() {
            return Err(Fault::Unsupported(
                "time zones by the name of a place are not supported in date and time input",
            ));
        }
        if let Some(at) = word.find(|c: char| c == '-' || c.is_ascii_digit())
            && month_name(&word[..at]).is_some()
        {
            return set(&mut self.date, separated_date(field)?);
        }
        Err(Fault::Syntax)
    }

    /// Days since 1970-01-01, when there is a date.
    fn days(&self) -> Read<Option<i64>> {
        let date = match (self.date, self.month) {
            (Some(date), None) if self.numbers.is_empty() => Some(date),
            (None, Some(month)) => Some(self.named_date(month)?),
            (None, None) if self.numbers.is_empty() => None,
            _ => return Err(Fault::Syntax),
        };
        let Some((year, month, day)) = date else { return Ok(None) };
        let year = match self.bc {
            true if year <= 0 => return Err(Fault::Field),
            true => 1 - year,
            false if year == 0 => return Err(Fault::Field),
            false => year,
        };
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(Fault::MonthOrDay);
        }
        if day > days_in_month(year, month) {
            return Err(Fault::Field);
        }
        Ok(Some(days_from_civil(year, month, day)))
    }

    /// A month by name and two numbers: the longer, or else the second, is the year.
    fn named_date(&self, month: u32) -> Read<(i32, u32, u32)> {
        let [(a, a_len), (b, b_len)] = self.numbers[..] else { return Err(Fault::Syntax) };
        let (day, year_value, width) = if a_len > 2 && b_len <= 2 { (b, a, a_len) } else { (a, b, b_len) };
        Ok((year(&format!("{year_value:0width$}"))?, month, day))
    }

    /// µs since midnight, when there is a time.
    fn micros(&self) -> Read<Option<i64>> {
        let hour = 3600 * SECOND_US;
        match (self.time, self.pm) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Fault::Syntax),
            (Some(t), None) => Ok(Some(t)),
            (Some(t), Some(_)) if t >= 13 * hour => Err(Fault::Field),
            (Some(t), Some(pm)) => Ok(Some(t % (12 * hour) + if pm { 12 * hour } else { 0 })),
        }
    }
}

fn set<T>(slot: &mut Option<T>, value: T) -> Read<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::Syntax),
    }
}

/// Cuts `2024-01-02T03:04` at the T between two digits.
fn split_at_t(field: &str) -> Option<(&str, &str)> {
    let bytes = field.as_bytes();
    let at = (1..bytes.len().saturating_sub(1))
        .find(|i| matches!(bytes[*i], b'T' | b't') && bytes[i - 1].is_ascii_digit() && bytes[i + 1].is_ascii_digit())?;
    Some((&field[..at], &field[at + 1..]))
}

/// A date in digits, with or without separators.
fn date_field(field: &str) -> Read<(i32, u32, u32)> {
    let field = field.trim_end_matches(',');
    if !field.bytes().all(|b| b.is_ascii_digit()) {
        return separated_date(field);
    }
    match field.len() {
        6 => Ok((year(&field[..2])?, number(&field[2..4])?, number(&field[4..])?)),
        8.. => {
            let (y, md) = field.split_at(field.len() - 4);
            Ok((year(y)?, number(&md[..2])?, number(&md[2..])?))
        }
        _ => Err(Fault::Syntax),
    }
}

/// All fields of a text, or the error that names `ty`.
fn fields<T>(ty: &str, s: &str, finish: impl FnOnce(&Fields) -> Read<T>) -> Result<T, SqlError> {
    let mut found = Fields::default();
    let read = |found: &mut Fields| {
        let body = trim(s);
        if body.is_empty() || !body.is_ascii() {
            return Err(Fault::Syntax);
        }
        for field in body.split(|c: char| c.is_ascii_whitespace()).filter(|f| !f.is_empty() && *f != ",") {
            found.field(field)?;
        }
        finish(found)
    };
    read(&mut found).map_err(|fault| {
        let out_of_range =
            |what: &str| SqlError::new(SqlState::DATETIME_OVERFLOW, format!("{what} out of range: \"{s}\""));
        match fault {
            Fault::Syntax => {
                SqlError::new(SqlState::INVALID_DATETIME, format!("invalid input syntax for type {ty}: \"{s}\""))
            }
            Fault::Field => out_of_range("date/time field value"),
            Fault::MonthOrDay => {
                out_of_range("date/time field value").hint("Perhaps you need a different \"datestyle\" setting.")
            }
            Fault::Zone => {
                SqlError::new(SqlState::new("22009"), format!("time zone displacement out of range: \"{s}\""))
            }
            Fault::Unsupported(message) => SqlError::unsupported(format!("{message}: \"{s}\"")),
        }
    })
}

/// `date` input. A time of day and a zone are read and dropped.
pub fn parse_date(s: &str) -> Result<i32, SqlError> {
    let days = fields("date", s, |f| {
        f.micros()?;
        f.days()?.ok_or(Fault::Syntax)
    })?;
    check_date(days).map_err(|_| SqlError::new(SqlState::DATETIME_OVERFLOW, format!("date out of range: \"{s}\"")))
}

/// `time` input. A date and a zone are read and dropped.
pub fn parse_time(s: &str) -> Result<i64, SqlError> {
    let shown = trim(s);
    // Digits alone are a time of day here, not a date.
    if (shown.len() == 4 || shown.len() == 6) && shown.bytes().all(|b| b.is_ascii_digit()) {
        return fields_of_digits(s, shown);
    }
    fields("time", s, |f| {
        f.days()?;
        f.micros()?.ok_or(Fault::Syntax)
    })
}

fn fields_of_digits(s: &str, digits: &str) -> Result<i64, SqlError> {
    digits_time(digits)
        .map_err(|_| SqlError::new(SqlState::DATETIME_OVERFLOW, format!("date/time field value out of range: \"{s}\"")))
}

/// The local µs since 1970-01-01 and the offset.
fn timestamp(ty: &str, s: &str) -> Result<(i128, Option<i32>), SqlError> {
    fields(ty, s, |f| {
        let days = f.days()?.ok_or(Fault::Syntax)?;
        let micros = f.micros()?.unwrap_or(0);
        Ok((i128::from(days) * i128::from(DAY_US) + i128::from(micros), f.offset))
    })
}

fn timestamp_range(s: &str, micros: i128) -> Result<i64, SqlError> {
    check_timestamp(micros)
        .map_err(|_| SqlError::new(SqlState::DATETIME_OVERFLOW, format!("timestamp out of range: \"{s}\"")))
}

/// `timestamp` input. A zone is read and dropped.
pub fn parse_timestamp(s: &str) -> Result<i64, SqlError> {
    timestamp_range(s, timestamp("timestamp", s)?.0)
}

/// `timestamptz` input. Without a zone it is in UTC.
pub fn parse_timestamptz(s: &str) -> Result<i64, SqlError> {
    let (local, offset) = timestamp("timestamp with time zone", s)?;
    timestamp_range(s, local - i128::from(offset.unwrap_or(0)) * i128::from(SECOND_US))
}
