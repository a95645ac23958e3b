//! `to_char` of timestamps. Patterns it does not know, and numbers and intervals, are refused with `0A000`.

use super::string::{Str, build_text};
use super::{Kernel, Prim, unsupported};
use crate::civil::{self, DAY, HOUR, MINUTE, SECOND};
use arrow::datatypes::TimestampMicrosecondType;
use hw_plan::Func;
use hw_repr::{SqlError, SqlType};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// Patterns, longer before their prefixes. All but the names are recognised in either case.
const PATTERNS: [&str; 43] = [
    "HH24", "HH12", "HH", "MI", "SSSSS", "SSSS", "SS", "MS", "US", "Y,YYY", "YYYY", "YYY", "YY", "Y", "IYYY", "IYY",
    "IY", "IDDD", "ID", "IW", "MONTH", "MON", "MM", "DAY", "DDD", "DD", "DY", "D", "WW", "W", "CC", "J", "Q", "RM",
    "A.M.", "P.M.", "AM", "PM", "FF3", "FF6", "TZH", "OF", "TZ",
];

/// The kernel of `to_char`.
pub(super) fn kernel(types: &[SqlType]) -> Result<Kernel, SqlError> {
    let zoned = match types {
        [SqlType::Timestamp, _] => false,
        [SqlType::TimestampTz, _] => true,
        _ => return Err(unsupported(Func::ToChar, types)),
    };
    Ok(Box::new(move |args, rows| {
        let (a, format) = (Prim::<TimestampMicrosecondType>::of(&args[0])?, Str::of(&args[1])?);
        build_text(args, rows, |i, out| write(a.get(i), format.get(i), zoned, out))
    }))
}

/// A timestamp taken apart.
struct Parts {
    days: i64,
    time: i64,
    year: i64,
    month: i64,
    day: i64,
    zoned: bool,
}

fn write(ts: i64, format: &str, zoned: bool, out: &mut String) -> Result<(), SqlError> {
    if civil::is_infinite(ts) {
        return Err(SqlError::unsupported("to_char of an infinite timestamp is not supported"));
    }
    let (days, time) = (ts.div_euclid(DAY), ts.rem_euclid(DAY));
    let (year, month, day) = civil::civil_from_days(days);
    let parts = Parts { days, time, year, month, day, zoned };
    let mut rest = format;
    while let Some(c) = rest.chars().next() {
        if c == '"' {
            rest = quoted(&rest[1..], out);
            continue;
        }
        if c == '\\' && rest[1..].starts_with('"') {
            out.push('"');
            rest = &rest[2..];
            continue;
        }
        let filled = rest.get(..2).is_some_and(|p| p.eq_ignore_ascii_case("FM"));
        let body = if filled { &rest[2..] } else { rest };
        let found = PATTERNS.iter().find(|p| body.get(..p.len()).is_some_and(|b| b.eq_ignore_ascii_case(p)));
        match found {
            Some(p) => {
                let number = write_pattern(&parts, p, &body[..p.len()], filled, out)?;
                rest = &body[p.len()..];
                if let Some(n) = number
                    && rest.get(..2).is_some_and(|s| s.eq_ignore_ascii_case("TH"))
                {
                    let suffix = ordinal(n);
                    out.push_str(if rest.starts_with("TH") { suffix.1 } else { suffix.0 });
                    rest = &rest[2..];
                }
            }
            None if c.is_ascii_alphabetic() => {
                return Err(SqlError::unsupported(format!("to_char format \"{rest}\" is not supported"))
                    .hint("Put literal text into double quotes."));
            }
            None => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    Ok(())
}

/// Copies text up to the closing quote and gives what follows it.
fn quoted<'a>(s: &'a str, out: &mut String) -> &'a str {
    let mut chars = s.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return &s[at + 1..],
            '\\' => out.extend(chars.next().map(|(_, c)| c)),
            _ => out.push(c),
        }
    }
    ""
}

fn ordinal(n: i64) -> (&'static str, &'static str) {
    match (n.abs() % 100, n.abs() % 10) {
        (11..=13, _) => ("th", "TH"),
        (_, 1) => ("st", "ST"),
        (_, 2) => ("nd", "ND"),
        (_, 3) => ("rd", "RD"),
        _ => ("th", "TH"),
    }
}

/// A name in the case of its pattern, padded to nine characters unless `FM` or short.
fn write_name(name: &str, spelled: &str, width: usize, filled: bool, out: &mut String) {
    let start = out.len();
    let second_lower = spelled.as_bytes().get(1).is_some_and(u8::is_ascii_lowercase);
    if !second_lower && spelled.starts_with(|c: char| c.is_ascii_uppercase()) {
        out.push_str(&name.to_ascii_uppercase());
    } else if spelled.starts_with(|c: char| c.is_ascii_lowercase()) {
        out.push_str(&name.to_ascii_lowercase());
    } else {
        out.push_str(name);
    }
    let written = out.len() - start;
    if !filled {
        out.extend(std::iter::repeat_n(' ', width.saturating_sub(written)));
    }
}

/// Writes one pattern; a number it wrote can take an ordinal suffix.
fn write_pattern(
    t: &Parts,
    pattern: &str,
    spelled: &str,
    filled: bool,
    out: &mut String,
) -> Result<Option<i64>, SqlError> {
    let weekday = (t.days + 4).rem_euclid(7);
    let ordinal_day = t.days - civil::days_from_civil(t.year, 1, 1) + 1;
    match pattern {
        "MONTH" => write_name(MONTHS[t.month as usize - 1], spelled, 9, filled, out),
        "MON" => write_name(&MONTHS[t.month as usize - 1][..3], spelled, 3, filled, out),
        "DAY" => write_name(DAYS[weekday as usize], spelled, 9, filled, out),
        "DY" => write_name(&DAYS[weekday as usize][..3], spelled, 3, filled, out),
        "RM" => write_name(ROMAN[t.month as usize - 1], spelled, 4, filled, out),
        "AM" | "PM" | "A.M." | "P.M." => {
            let half = match (t.time < 12 * HOUR, pattern.len() == 2) {
                (true, true) => "AM",
                (true, false) => "A.M.",
                (false, true) => "PM",
                (false, false) => "P.M.",
            };
            match spelled.starts_with(|c: char| c.is_ascii_lowercase()) {
                true => out.push_str(&half.to_ascii_lowercase()),
                false => out.push_str(half),
            }
        }
        "TZ" if spelled == "TZ" => out.push_str(if t.zoned { "UTC" } else { "" }),
        "TZ" => out.push_str(if t.zoned { "utc" } else { "" }),
        "TZH" => out.push_str("+00"),
        "OF" => out.push_str("+00"),
        _ if t.year <= 0 && pattern.contains(['Y', 'C']) => {
            return Err(SqlError::unsupported("to_char of a year before Christ is not supported"));
        }
        "Y,YYY" => out.push_str(&format!("{},{:03}", t.year / 1_000, t.year % 1_000)),
        _ => {
            let (n, width) = number(t, pattern, weekday, ordinal_day);
            let width = if filled { 0 } else { width };
            out.push_str(&format!("{n:0width$}"));
            return Ok(Some(n));
        }
    }
    Ok(None)
}

/// The number a pattern stands for and its least width.
fn number(t: &Parts, pattern: &str, weekday: i64, ordinal_day: i64) -> (i64, usize) {
    let (iso_year, iso_week) = civil::iso_week(t.days);
    let micros = t.time % SECOND;
    match pattern {
        "HH24" => (t.time / HOUR, 2),
        "HH12" | "HH" => ((t.time / HOUR + 11) % 12 + 1, 2),
        "MI" => (t.time / MINUTE % 60, 2),
        "SSSSS" | "SSSS" => (t.time / SECOND, 0),
        "SS" => (t.time / SECOND % 60, 2),
        "MS" | "FF3" => (micros / 1_000, 3),
        "US" | "FF6" => (micros, 6),
        "YYYY" => (t.year, 4),
        "YYY" => (t.year % 1_000, 3),
        "YY" => (t.year % 100, 2),
        "Y" => (t.year % 10, 1),
        "IYYY" => (iso_year, 4),
        "IYY" => (iso_year % 1_000, 3),
        "IY" => (iso_year % 100, 2),
        "IDDD" => ((iso_week - 1) * 7 + (weekday + 6) % 7 + 1, 3),
        "ID" => ((weekday + 6) % 7 + 1, 1),
        "IW" => (iso_week, 2),
        "MM" => (t.month, 2),
        "DDD" => (ordinal_day, 3),
        "DD" => (t.day, 2),
        "D" => (weekday + 1, 1),
        "WW" => ((ordinal_day - 1) / 7 + 1, 2),
        "W" => ((t.day - 1) / 7 + 1, 1),
        "CC" => ((t.year + 99) / 100, 2),
        "J" => (t.days + 2_440_588, 0),
        _ => ((t.month - 1) / 3 + 1, 1),
    }
}
