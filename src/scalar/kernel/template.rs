//! Templates of dates and times: what `to_char`, `to_date` and `to_timestamp` take as their second argument.
//!
//! A template is compiled to items once; [`write`] makes text of a moment or an interval, [`read`] a moment of a text.

pub(super) mod read;
pub(super) mod write;

use crate::civil::{DAY, HOUR, MINUTE, SECOND};
use hw_repr::{SqlError, SqlState};

/// What a pattern stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// BC or AD, with points or without.
    Era,
    /// AM or PM.
    Half,
    Century,
    MonthName,
    MonthShort,
    Month,
    MonthRoman,
    DayName,
    DayShort,
    DayOfYear,
    IsoDayOfYear,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    /// Digits of a second.
    Fraction(u32),
    /// `FX`: exact reading from here on.
    Exact,
    Hour24,
    Hour12,
    Minute,
    Second,
    SecondOfDay,
    Millisecond,
    Microsecond,
    WeekOfMonth,
    Week,
    IsoWeek,
    /// A year's last digits, or all four and more.
    Year(u32),
    IsoYear(u32),
    /// `Y,YYY`
    YearComma,
    Julian,
    Quarter,
    ZoneName,
    ZoneHours,
    ZoneMinutes,
    Offset,
}

/// Patterns in capitals, longer before their prefixes; all but those with small letters are recognised in small letters
/// too, but never mixed.
const PATTERNS: [(&str, Key); 58] = [
    ("A.D.", Key::Era),
    ("A.M.", Key::Half),
    ("AD", Key::Era),
    ("AM", Key::Half),
    ("B.C.", Key::Era),
    ("BC", Key::Era),
    ("CC", Key::Century),
    ("DAY", Key::DayName),
    ("DDD", Key::DayOfYear),
    ("DD", Key::Day),
    ("DY", Key::DayShort),
    ("Day", Key::DayName),
    ("Dy", Key::DayShort),
    ("D", Key::DayOfWeek),
    ("FF1", Key::Fraction(1)),
    ("FF2", Key::Fraction(2)),
    ("FF3", Key::Fraction(3)),
    ("FF4", Key::Fraction(4)),
    ("FF5", Key::Fraction(5)),
    ("FF6", Key::Fraction(6)),
    ("FX", Key::Exact),
    ("HH24", Key::Hour24),
    ("HH12", Key::Hour12),
    ("HH", Key::Hour12),
    ("IDDD", Key::IsoDayOfYear),
    ("ID", Key::IsoDayOfWeek),
    ("IW", Key::IsoWeek),
    ("IYYY", Key::IsoYear(4)),
    ("IYY", Key::IsoYear(3)),
    ("IY", Key::IsoYear(2)),
    ("I", Key::IsoYear(1)),
    ("J", Key::Julian),
    ("MI", Key::Minute),
    ("MM", Key::Month),
    ("MONTH", Key::MonthName),
    ("MON", Key::MonthShort),
    ("MS", Key::Millisecond),
    ("Month", Key::MonthName),
    ("Mon", Key::MonthShort),
    ("OF", Key::Offset),
    ("P.M.", Key::Half),
    ("PM", Key::Half),
    ("Q", Key::Quarter),
    ("RM", Key::MonthRoman),
    ("SSSSS", Key::SecondOfDay),
    ("SSSS", Key::SecondOfDay),
    ("SS", Key::Second),
    ("TZH", Key::ZoneHours),
    ("TZM", Key::ZoneMinutes),
    ("TZ", Key::ZoneName),
    ("US", Key::Microsecond),
    ("WW", Key::Week),
    ("W", Key::WeekOfMonth),
    ("Y,YYY", Key::YearComma),
    ("YYYY", Key::Year(4)),
    ("YYY", Key::Year(3)),
    ("YY", Key::Year(2)),
    ("Y", Key::Year(1)),
];

/// How a name is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Upper,
    Capital,
    Lower,
}

/// A pattern with what stands around it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pattern {
    pub key: Key,
    /// As written.
    pub name: String,
    pub case: Case,
    /// `FM`: without padding.
    pub fill: bool,
    /// `TM`: names of the locale, which is C here.
    pub locale: bool,
    /// `TH` (true) or `th`.
    pub ordinal: Option<bool>,
}

/// One item of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    Pattern(Pattern),
    /// White space outside quotes.
    Space(char),
    /// Punctuation outside quotes.
    Separator(char),
    /// Any other character.
    Text(char),
}

/// A compiled template.
pub(super) type Template = Vec<Item>;

fn find(rest: &str) -> Option<(&'static str, Key, Case)> {
    let bytes = rest.as_bytes();
    PATTERNS.iter().find_map(|(name, key)| {
        let head = bytes.get(..name.len())?;
        let mixed = name.bytes().any(|b| b.is_ascii_lowercase());
        if head == name.as_bytes() {
            return Some((*name, *key, if mixed { Case::Capital } else { Case::Upper }));
        }
        let lower = !mixed && head.iter().zip(name.bytes()).all(|(h, n)| *h == n.to_ascii_lowercase());
        lower.then_some((*name, *key, Case::Lower))
    })
}

/// Printable ASCII that is no letter and no digit.
pub(super) fn is_separator(c: char) -> bool {
    c.is_ascii_punctuation()
}

/// What C's `isspace` says.
pub(super) fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

/// Takes a template apart; every text is one.
pub(super) fn compile(format: &str) -> Template {
    let mut items = vec![];
    let mut rest = format;
    while !rest.is_empty() {
        let (mut fill, mut locale) = (false, false);
        match rest.as_bytes().get(..2) {
            Some(b"FM" | b"fm") => fill = true,
            Some(b"TM" | b"tm") => locale = true,
            _ => {}
        }
        if fill || locale {
            rest = &rest[2..];
        }
        if let Some((name, key, case)) = find(rest) {
            let name = rest[..name.len()].to_string();
            rest = &rest[name.len()..];
            let ordinal = match rest.as_bytes().get(..2) {
                Some(b"TH") => Some(true),
                Some(b"th") => Some(false),
                _ => None,
            };
            // `SP` was to spell numbers and never did.
            if ordinal.is_some() || rest.starts_with("SP") {
                rest = &rest[2..];
            }
            items.push(Item::Pattern(Pattern { key, name, case, fill, locale, ordinal }));
        } else {
            rest = literal(rest, &mut items);
        }
    }
    items
}

/// Reads one character, or one quoted text; gives what follows.
fn literal<'a>(text: &'a str, items: &mut Template) -> &'a str {
    let mut chars = text.chars();
    match chars.next() {
        None => {}
        Some('"') => {
            while let Some(c) = chars.next() {
                match c {
                    '"' => break,
                    '\\' => items.push(Item::Text(chars.next().unwrap_or('\\'))),
                    c => items.push(Item::Text(c)),
                }
            }
        }
        Some(first) => {
            let escaped = first == '\\' && chars.as_str().starts_with('"');
            let c = if escaped { chars.next().unwrap_or(first) } else { first };
            items.push(match c {
                c if is_separator(c) => Item::Separator(c),
                c if is_space(c) => Item::Space(c),
                c => Item::Text(c),
            });
        }
    }
    chars.as_str()
}

/// The template of a row, compiled anew only where its text changes.
#[derive(Default)]
pub(super) struct Compiled {
    source: String,
    template: Template,
    /// Its [`resolution`].
    unit: i64,
    /// How often it was compiled.
    count: usize,
}

impl Compiled {
    pub fn get(&mut self, format: &str) -> &Template {
        if self.source != format {
            self.source = format.to_string();
            self.template = compile(format);
            self.unit = resolution(&self.template);
            self.count += 1;
        }
        &self.template
    }

    /// Equal for two moments, in microseconds, that the template shows alike.
    pub fn shown_alike(&self, micros: i64) -> (usize, i64) {
        (self.count, micros.div_euclid(self.unit.max(1)))
    }
}

/// The longest time, of a day and its parts, within which a template shows every moment alike, in microseconds.
fn resolution(template: &Template) -> i64 {
    let of = |item: &Item| match item {
        Item::Pattern(p) => match p.key {
            Key::Fraction(_) | Key::Millisecond | Key::Microsecond => 1,
            Key::Second | Key::SecondOfDay => SECOND,
            Key::Minute => MINUTE,
            Key::Hour24 | Key::Hour12 | Key::Half => HOUR,
            _ => DAY,
        },
        _ => DAY,
    };
    template.iter().map(of).min().unwrap_or(DAY)
}

/// `22007`
pub(super) fn invalid(message: String) -> SqlError {
    SqlError::new(SqlState::INVALID_DATETIME, message)
}

pub(super) const MONTHS: [&str; 12] = [
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
pub(super) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
pub(super) const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// Julian day of a day; the year is astronomical. Months of 0, which only intervals have, count as PostgreSQL counts them.
pub(super) fn julian_day(year: i64, month: i64, day: i64) -> i64 {
    let (y, m) = if month > 2 { (year + 4800, month + 1) } else { (year + 4799, month + 13) };
    let century = y / 100;
    y * 365 - 32_167 + y / 4 - century + century / 4 + 7_834 * m / 256 + day
}

/// Julian day of the Monday that begins the first ISO week of a year.
fn iso_year_start(year: i64) -> i64 {
    let fourth = julian_day(year, 1, 4);
    fourth - fourth.rem_euclid(7)
}

/// Julian day of the Monday of an ISO week.
pub(super) fn iso_week_start(year: i64, week: i64) -> i64 {
    iso_year_start(year) + (week - 1) * 7
}

/// ISO year and week of a Julian day that lies in a year or near its ends.
pub(super) fn iso_week(julian: i64, year: i64) -> (i64, i64) {
    let mut of = year;
    if julian < iso_year_start(year) {
        of -= 1;
    }
    if julian >= iso_year_start(of + 1) {
        of += 1;
    }
    (of, (julian - iso_year_start(of)) / 7 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_weeks_agree_with_the_calendar() {
        use crate::civil;
        for days in (-800_000..1_200_000).step_by(37) {
            let (y, m, d) = civil::civil_from_days(days);
            assert_eq!(julian_day(y, m, d), days + 2_440_588);
            assert_eq!(iso_week(days + 2_440_588, y), civil::iso_week(days));
        }
    }

    #[test]
    fn templates_are_cut_as_postgresql_cuts_them() {
        let shown = |s: &str| -> Vec<String> {
            compile(s)
                .iter()
                .map(|i| match i {
                    Item::Pattern(p) => {
                        format!("{}{}", p.name, p.ordinal.map_or("", |o| if o { "+TH" } else { "+th" }))
                    }
                    Item::Space(c) | Item::Separator(c) | Item::Text(c) => format!("'{c}"),
                })
                .collect()
        };
        assert_eq!(shown("FMDDth"), ["DD+th"]);
        assert_eq!(shown("FMTMMon"), ["'T", "MM", "'o", "'n"]);
        assert_eq!(shown("Yyyy"), ["Y", "yyy"]);
        assert_eq!(shown("\"Day\" hMI"), ["'D", "'a", "'y", "' ", "'h", "MI"]);
        assert_eq!(shown("Y,YYYDDSP"), ["Y,YYY", "DD"]);
    }
}
