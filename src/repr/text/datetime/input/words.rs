//! The words of dates and times, zones aside.

/// What a word means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Word {
    Month(u32),
    /// A day of the week, `at` and `on`: say nothing.
    Ignored,
    Pm(bool),
    Bc(bool),
    Infinity,
    MinusInfinity,
    Epoch,
    /// Midnight in UTC.
    AllBalls,
    /// `now` and its kin.
    Moment,
    /// The following number is a Julian day.
    Julian,
    /// The following field is a time of day.
    IsoTime,
    /// Other units and `dst`, which mean nothing here.
    Unit,
    Unknown,
}

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

/// Precondition: lower case.
pub(super) fn word(name: &str) -> Word {
    let short = |full: &str| name.len() == 3 && full.starts_with(name);
    if let Some(at) = MONTHS.iter().position(|m| *m == name || short(m)) {
        return Word::Month(at as u32 + 1);
    }
    if DAYS.iter().any(|d| *d == name || short(d)) {
        return Word::Ignored;
    }
    match name {
        "sept" => Word::Month(9),
        "tues" | "weds" | "thur" | "thurs" | "at" | "on" => Word::Ignored,
        "am" => Word::Pm(false),
        "pm" => Word::Pm(true),
        "ad" => Word::Bc(false),
        "bc" => Word::Bc(true),
        "infinity" => Word::Infinity,
        "-infinity" => Word::MinusInfinity,
        "epoch" => Word::Epoch,
        "allballs" => Word::AllBalls,
        "now" | "today" | "tomorrow" | "yesterday" => Word::Moment,
        "j" | "jd" | "julian" => Word::Julian,
        "t" => Word::IsoTime,
        "d" | "h" | "m" | "mm" | "s" | "y" | "dow" | "doy" | "isodow" | "isoyear" | "dst" => Word::Unit,
        _ => Word::Unknown,
    }
}
