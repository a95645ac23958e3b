//! interval: `IntervalStyle` postgres output; input in units, `hh:mm:ss`, `y-m d h:m:s` and ISO 8601.

use super::datetime::{DAY_US, SECOND_US, write_fraction};
use super::trim;
use crate::datum::IntervalValue;
use crate::error::{SqlError, SqlState};
use std::fmt::Write;

/// Months, days and µs added up with room to spare.
#[derive(Default, Clone, Copy)]
struct Sum {
    months: f64,
    days: f64,
    micros: i128,
}

enum Fault {
    Syntax,
    Overflow,
}
type Read<T> = Result<T, Fault>;

/// What a unit's number counts.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Months(f64),
    Days(f64),
    Micros(f64),
}

fn unit(word: &str) -> Option<Unit> {
    let second = SECOND_US as f64;
    Some(match word {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" | "microsecon" => {
            Unit::Micros(1.0)
        }
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" | "millisecon" => {
            Unit::Micros(1e3)
        }
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Micros(second),
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Micros(60.0 * second),
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Micros(3600.0 * second),
        "d" | "day" | "days" => Unit::Days(1.0),
        "w" | "week" | "weeks" => Unit::Days(7.0),
        "mon" | "mons" | "month" | "months" => Unit::Months(1.0),
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Months(12.0),
        "dec" | "decs" | "decade" | "decades" => Unit::Months(120.0),
        "c" | "cent" | "century" | "centuries" => Unit::Months(1200.0),
        "mil" | "mils" | "millennium" | "millennia" => Unit::Months(12_000.0),
        _ => return None,
    })
}

impl Sum {
    /// Adds `whole + fraction` units: a fraction of a month spills into days of a month of 30, one of a day into µs.
    fn add(&mut self, whole: i64, fraction: f64, unit: Unit) -> Read<()> {
        match unit {
            Unit::Micros(size) => {
                self.micros += i128::from(whole) * size as i128 + (fraction * size).round_ties_even() as i128;
            }
            Unit::Days(size) => {
                self.days += whole as f64 * size;
                self.spill_days(fraction * size);
            }
            Unit::Months(1.0) => {
                self.months += whole as f64;
                self.spill_days(fraction * 30.0);
            }
            Unit::Months(size) => {
                // PostgreSQL rounds the fraction of a year to whole months.
                self.months += whole as f64 * size + (fraction * size).round_ties_even();
            }
        }
        Ok(())
    }

    fn spill_days(&mut self, days: f64) {
        self.days += days.trunc();
        self.micros += (days.fract() * DAY_US as f64).round_ties_even() as i128;
    }

    fn finish(self, negate: bool) -> Read<IntervalValue> {
        let sign = if negate { -1.0 } else { 1.0 };
        let fits = |v: f64| (v.abs() <= f64::from(i32::MAX)).then_some(v as i32).ok_or(Fault::Overflow);
        let micros = i64::try_from(if negate { -self.micros } else { self.micros }).map_err(|_| Fault::Overflow)?;
        // Arrow carries nanoseconds.
        micros.checked_mul(1000).ok_or(Fault::Overflow)?;
        Ok(IntervalValue { months: fits(sign * self.months)?, days: fits(sign * self.days)?, micros })
    }
}

/// Sign, whole part and fraction of a number such as `-1.5`; both parts carry the sign.
fn number(s: &str) -> Read<(i64, f64, bool)> {
    let negative = s.starts_with('-');
    let body = s.strip_prefix(['-', '+']).unwrap_or(s);
    let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return Err(Fault::Syntax);
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| Fault::Overflow)? };
    let fraction: f64 = format!("0.{fraction}0").parse().map_err(|_| Fault::Syntax)?;
    Ok(if negative { (-whole, -fraction, true) } else { (whole, fraction, false) })
}

/// `[-]hh:mm[:ss[.f]]` to µs; two fields with a fraction are minutes and seconds.
fn clock(s: &str) -> Read<i128> {
    let negative = s.starts_with('-');
    let body = s.strip_prefix(['-', '+']).unwrap_or(s);
    let parts: Vec<&str> = body.split(':').collect();
    let whole = |s: &str| -> Read<i64> {
        match !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()) {
            true => s.parse().map_err(|_| Fault::Overflow),
            false => Err(Fault::Syntax),
        }
    };
    let (h, m, s) = match parts[..] {
        [m, s] if s.contains('.') => (0, whole(m)?, s),
        [h, m] => (whole(h)?, whole(m)?, "0"),
        [h, m, s] if s.starts_with(|c: char| c.is_ascii_digit()) => (whole(h)?, whole(m)?, s),
        _ => return Err(Fault::Syntax),
    };
    let (seconds, fraction, _) = number(s)?;
    if m > 59 || seconds > 60 {
        return Err(Fault::Overflow);
    }
    let second = i128::from(SECOND_US);
    let micros = (i128::from(h) * 3600 + i128::from(m) * 60 + i128::from(seconds)) * second
        + (fraction * SECOND_US as f64).round_ties_even() as i128;
    Ok(if negative { -micros } else { micros })
}

/// Cuts into numbers with their sign, clocks and words; blanks only separate.
fn tokens(body: &str) -> Vec<&str> {
    let bytes = body.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        if bytes[at].is_ascii_whitespace() || bytes[at] == b',' {
            at += 1;
            continue;
        }
        if bytes[at].is_ascii_alphabetic() {
            while at < bytes.len() && bytes[at].is_ascii_alphabetic() {
                at += 1;
            }
        } else {
            at += 1;
            while at < bytes.len() && (bytes[at].is_ascii_digit() || matches!(bytes[at], b'.' | b':' | b'-')) {
                at += 1;
            }
        }
        out.push(&body[start..at]);
    }
    out
}

/// `y-m`: years and months of one sign.
fn years_months(s: &str) -> Read<i64> {
    let negative = s.starts_with('-');
    let body = s.strip_prefix(['-', '+']).unwrap_or(s);
    let (y, m) = body.split_once('-').ok_or(Fault::Syntax)?;
    let ((y, y_fraction, y_sign), (m, m_fraction, m_sign)) = (number(y)?, number(m)?);
    if y_fraction != 0.0 || m_fraction != 0.0 || y_sign || m_sign {
        return Err(Fault::Syntax);
    }
    if m > 11 {
        return Err(Fault::Overflow);
    }
    let months = y.checked_mul(12).and_then(|v| v.checked_add(m)).ok_or(Fault::Overflow)?;
    Ok(if negative { -months } else { months })
}

/// Units, clocks and `y-m`, with `ago` at the end.
fn verbose(body: &str) -> Read<IntervalValue> {
    let mut sum = Sum::default();
    let mut tokens = tokens(body);
    if tokens.first() == Some(&"@") {
        tokens.remove(0);
    }
    let ago = tokens.last().is_some_and(|t| t.eq_ignore_ascii_case("ago"));
    if ago {
        tokens.pop();
    }
    if tokens.is_empty() {
        return Err(Fault::Syntax);
    }
    let mut clocks = 0;
    let mut seen: Vec<Unit> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let token = tokens[at];
        at += 1;
        if token.contains(':') {
            sum.micros += clock(token)?;
            clocks += 1;
            continue;
        }
        if token[1..].contains('-') {
            sum.months += years_months(token)? as f64;
            continue;
        }
        let (whole, fraction, _) = number(token)?;
        let size = match tokens.get(at) {
            Some(word) if word.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                at += 1;
                unit(&word.to_ascii_lowercase()).ok_or(Fault::Syntax)?
            }
            // SQL's `d hh:mm:ss`: a number before a clock counts days; a number at the end counts seconds.
            Some(next) if next.contains(':') => Unit::Days(1.0),
            None => Unit::Micros(SECOND_US as f64),
            Some(_) => return Err(Fault::Syntax),
        };
        if seen.contains(&size) {
            return Err(Fault::Syntax);
        }
        seen.push(size);
        sum.add(whole, fraction, size)?;
    }
    if clocks > 1 {
        return Err(Fault::Syntax);
    }
    sum.finish(ago)
}

/// `P1Y2M3DT4H5M6.7S`, `P2W`.
fn iso(body: &str) -> Read<IntervalValue> {
    let mut sum = Sum::default();
    let mut rest = &body[1..];
    let mut time = false;
    while !rest.is_empty() {
        if !time && rest.starts_with(['T', 't']) {
            time = true;
            rest = &rest[1..];
            continue;
        }
        let end = rest.find(|c: char| c.is_ascii_alphabetic()).ok_or(Fault::Syntax)?;
        let (whole, fraction, _) = number(&rest[..end])?;
        let designator = rest.as_bytes()[end].to_ascii_uppercase();
        let size = match (time, designator) {
            (false, b'Y') => Unit::Months(12.0),
            (false, b'M') => Unit::Months(1.0),
            (false, b'W') => Unit::Days(7.0),
            (false, b'D') => Unit::Days(1.0),
            (true, b'H') => Unit::Micros(3600e6),
            (true, b'M') => Unit::Micros(60e6),
            (true, b'S') => Unit::Micros(1e6),
            _ => return Err(Fault::Syntax),
        };
        sum.add(whole, fraction, size)?;
        rest = &rest[end + 1..];
    }
    sum.finish(false)
}

/// PostgreSQL's interval input.
pub fn parse_interval(s: &str) -> Result<IntervalValue, SqlError> {
    let body = trim(s);
    let read = match body.as_bytes() {
        _ if !body.is_ascii() => Err(Fault::Syntax),
        [b'P', _, ..] => iso(body),
        _ => verbose(body),
    };
    let word = body.trim_start_matches(['-', '+']);
    if read.is_err() && (word.eq_ignore_ascii_case("infinity") || word.eq_ignore_ascii_case("inf")) {
        return Err(SqlError::unsupported("infinite intervals are not supported"));
    }
    read.map_err(|fault| match fault {
        Fault::Syntax => {
            SqlError::new(SqlState::INVALID_DATETIME, format!("invalid input syntax for type interval: \"{s}\""))
        }
        Fault::Overflow => SqlError::new(SqlState::new("22015"), format!("interval field value out of range: \"{s}\"")),
    })
}

/// Appends an interval as `IntervalStyle` postgres has it: `1 year 2 mons 3 days 04:05:06.7`.
pub fn write_interval(v: IntervalValue, out: &mut String) {
    let start = out.len();
    // A positive part after a negative one shows its sign.
    let mut before_negative = false;
    let mut part = |n: i64, name: &str, out: &mut String| {
        if n != 0 {
            let blank = if out.len() > start { " " } else { "" };
            let sign = if before_negative && n > 0 { "+" } else { "" };
            let plural = if n == 1 { "" } else { "s" };
            write!(out, "{blank}{sign}{n} {name}{plural}").expect("writing to a string does not fail");
            before_negative = n < 0;
        }
    };
    part((v.months / 12).into(), "year", out);
    part((v.months % 12).into(), "mon", out);
    part(v.days.into(), "day", out);
    if v.micros == 0 && out.len() > start {
        return;
    }
    if out.len() > start {
        out.push(' ');
    }
    if v.micros < 0 {
        out.push('-');
    } else if before_negative {
        out.push('+');
    }
    let micros = v.micros.unsigned_abs();
    let seconds = micros / SECOND_US as u64;
    write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
        .expect("writing to a string does not fail");
    write_fraction((micros % SECOND_US as u64) as i64, out);
}
