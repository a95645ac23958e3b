//! Time zones: places (the IANA database that is compiled in), abbreviations, and POSIX forms such as `EST5EDT,M3.2.0,M11.1.0`.
//!
//! Offsets are seconds east of UTC, times are seconds since 1970 on the zone's clock or in UTC, as said. Nothing here
//! depends on the machine's settings or on the moment.

mod abbreviations;
mod posix;

use super::{civil_from_days, days_from_civil};
use abbreviations::{FIXED, PLACES};
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::{OffsetName, Tz};
use posix::Posix;
use std::collections::HashMap;
use std::sync::LazyLock;

const DAY_S: i64 = 86_400;
/// 1653-02-10: before it every place has its local mean time.
const EARLIEST_S: i64 = -10_000_000_000;
/// 2099-01-01 and 2100-01-01: the compiled tables end with 2099.
const LAST_YEAR_S: i64 = 4_070_908_800;
const TABLES_END_S: i64 = 4_102_444_800;

/// A rule that says how far a clock is from UTC.
#[derive(Clone, Debug, PartialEq)]
pub enum Zone {
    /// Always as many seconds east of UTC.
    Fixed(i32),
    /// A place of the IANA database.
    Place(Tz),
    /// An abbreviation, in upper case, that means what the place calls by it.
    Abbreviation(Tz, String),
    /// A POSIX rule with summer time.
    Posix(Posix),
}

static PLACE_NAMES: LazyLock<HashMap<String, Tz>> =
    LazyLock::new(|| chrono_tz::TZ_VARIANTS.iter().map(|z| (z.name().to_ascii_lowercase(), *z)).collect());

impl Zone {
    /// What `AT TIME ZONE` means by a name, in any case: an abbreviation, a place, or a POSIX form.
    pub fn by_name(name: &str) -> Option<Zone> {
        Zone::by_abbreviation(name).or_else(|| Zone::by_full_name(name))
    }

    /// An abbreviation.
    pub fn by_abbreviation(name: &str) -> Option<Zone> {
        let lower = name.to_ascii_lowercase();
        if let Ok(at) = FIXED.binary_search_by(|(n, _)| (*n).cmp(&lower)) {
            return Some(Zone::Fixed(FIXED[at].1 * 60));
        }
        let at = PLACES.binary_search_by(|(n, _)| (*n).cmp(&lower)).ok()?;
        let place = PLACE_NAMES.get(&PLACES[at].1.to_ascii_lowercase())?;
        Some(Zone::Abbreviation(*place, name.to_ascii_uppercase()))
    }

    /// A place or a POSIX form. `UTC+3` is a POSIX form: three hours *west*.
    pub fn by_full_name(name: &str) -> Option<Zone> {
        if let Some(place) = PLACE_NAMES.get(&name.to_ascii_lowercase()) {
            return Some(Zone::Place(*place));
        }
        Posix::parse(&name.to_ascii_uppercase()).map(Posix::into_zone)
    }

    /// The offset at an instant.
    pub fn offset_at(&self, utc_s: i64) -> i32 {
        match self {
            Zone::Fixed(offset) => *offset,
            Zone::Place(place) => place_offset(*place, utc_s).0,
            Zone::Abbreviation(place, name) => abbreviation_offset(*place, name, utc_s),
            Zone::Posix(rule) => rule.offset_at(utc_s),
        }
    }

    /// The offset that a clock of the zone means when it shows `local_s`. What the clock skips is read by the offset before
    /// the change, what it shows twice by the one after it.
    pub fn offset_of_local(&self, local_s: i64) -> i32 {
        if let Zone::Fixed(offset) = self {
            return *offset;
        }
        let (mut low, mut high) = (local_s.saturating_sub(DAY_S), local_s.saturating_add(DAY_S));
        let before = self.offset_at(low);
        if self.offset_at(high) == before {
            return before;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.offset_at(middle) == before { low = middle } else { high = middle }
        }
        let after = self.offset_at(high);
        let (read_before, read_after) = (local_s - i64::from(before), local_s - i64::from(after));
        if read_before < high && read_after < high {
            before
        } else if read_before > high && read_after >= high {
            after
        } else if read_before > read_after {
            before
        } else {
            after
        }
    }
}

/// The offset of a place at an instant, and what it is called there.
fn place_offset(place: Tz, utc_s: i64) -> (i32, Option<String>) {
    let within = match utc_s {
        ..EARLIEST_S => EARLIEST_S,
        TABLES_END_S.. if changes_after_tables(place) => like_year_of_tables(utc_s),
        TABLES_END_S.. => TABLES_END_S - 1,
        other => other,
    };
    let Some(at) = DateTime::from_timestamp(within, 0) else { return (0, None) };
    let offset = place.offset_from_utc_datetime(&at.naive_utc());
    (offset.fix().local_minus_utc(), offset.abbreviation().map(str::to_string))
}

/// Whether the last year of the tables has summer and winter time, which then go on for ever.
fn changes_after_tables(place: Tz) -> bool {
    let at = |day: i64| DateTime::from_timestamp(LAST_YEAR_S + day * DAY_S, 0).map(|t| t.naive_utc());
    let offsets = (0..12).filter_map(|month| at(month * 30 + 14)).map(|t| place.offset_from_utc_datetime(&t).fix());
    let mut offsets = offsets.map(|o| o.local_minus_utc());
    let first = offsets.next();
    offsets.any(|o| Some(o) != first)
}

/// The same moment in a year of 2072 to 2099 that has the same calendar.
fn like_year_of_tables(utc_s: i64) -> i64 {
    let (year, _, _) = civil_from_days(utc_s.div_euclid(DAY_S));
    let begin = |y: i32| days_from_civil(y, 1, 1);
    let shape = |y: i32| (begin(y).rem_euclid(7), begin(y + 1) - begin(y));
    let like = (2072..2100).rev().find(|y| shape(*y) == shape(year)).unwrap_or(2099);
    utc_s - (begin(year) - begin(like)) * DAY_S
}

/// What a place called by the abbreviation last, or next.
fn abbreviation_offset(place: Tz, name: &str, utc_s: i64) -> i32 {
    const HALF_YEAR_S: i64 = 182 * DAY_S;
    let here = place_offset(place, utc_s);
    let near = [utc_s, utc_s - HALF_YEAR_S, utc_s + HALF_YEAR_S].into_iter().map(|t| place_offset(place, t));
    near.into_iter().find(|(_, called)| called.as_deref() == Some(name)).unwrap_or(here).0
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i32 = 3600;

    fn at(year: i32, month: u32, day: u32, hour: i64) -> i64 {
        days_from_civil(year, month, day) * DAY_S + hour * 3600
    }

    #[test]
    fn places_have_rules_beyond_the_tables() {
        let new_york = Zone::by_name("america/New_York").unwrap();
        assert_eq!(new_york.offset_at(at(2099, 7, 1, 0)), -4 * HOUR);
        assert_eq!(new_york.offset_at(at(2500, 7, 1, 0)), -4 * HOUR);
        assert_eq!(new_york.offset_at(at(2500, 1, 1, 0)), -5 * HOUR);
        assert_eq!(new_york.offset_at(at(-4000, 1, 1, 0)), -(4 * 3600 + 56 * 60 + 2));
        assert_eq!(Zone::by_name("Asia/Kolkata").unwrap().offset_at(at(9999, 7, 1, 0)), 19_800);
    }

    #[test]
    fn local_times_that_are_skipped_or_repeated() {
        let warsaw = Zone::by_name("Europe/Warsaw").unwrap();
        let skipped = at(2024, 3, 31, 2) + 1800;
        assert_eq!(warsaw.offset_of_local(skipped), HOUR);
        let repeated = at(2024, 10, 27, 2) + 1800;
        assert_eq!(warsaw.offset_of_local(repeated), HOUR);
        assert_eq!(warsaw.offset_of_local(at(2024, 10, 27, 2) - 1), 2 * HOUR);
        assert_eq!(warsaw.offset_of_local(at(2024, 10, 27, 3)), HOUR);
    }

    #[test]
    fn names_of_all_kinds() {
        assert_eq!(Zone::by_name("cest"), Some(Zone::Fixed(2 * HOUR)));
        assert_eq!(Zone::by_name("UTC+3"), Some(Zone::Fixed(-3 * HOUR)));
        assert_eq!(Zone::by_name("+03"), Some(Zone::Fixed(-3 * HOUR)));
        assert_eq!(Zone::by_name("<X>-5:30"), Some(Zone::Fixed(19_800)));
        assert_eq!(Zone::by_name("nope"), None);
        assert_eq!(Zone::by_name(""), None);
        let posix = Zone::by_name("EST5EDT,M3.2.0,M11.1.0").unwrap();
        assert_eq!(posix.offset_at(at(2024, 7, 1, 0)), -4 * HOUR);
        assert_eq!(posix.offset_at(at(2024, 3, 10, 7)), -4 * HOUR);
        assert_eq!(posix.offset_at(at(2024, 3, 10, 7) - 1), -5 * HOUR);
        assert_eq!(posix.offset_at(at(2024, 11, 3, 6)), -5 * HOUR);
        let msk = Zone::by_name("MSK").unwrap();
        assert_eq!(msk.offset_of_local(at(2005, 7, 1, 0)), 3 * HOUR);
        assert!(FIXED.is_sorted() && PLACES.is_sorted());
        assert!(PLACES.iter().all(|(_, p)| PLACE_NAMES.contains_key(&p.to_ascii_lowercase())));
    }
}
