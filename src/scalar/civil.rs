//! The proleptic Gregorian calendar over PostgreSQL's whole range, and its limits. Pure integer arithmetic.

use hw_repr::datum::IntervalValue;

/// Microseconds in a second.
pub(crate) const SECOND: i64 = 1_000_000;
/// Microseconds in a minute.
pub(crate) const MINUTE: i64 = 60 * SECOND;
/// Microseconds in an hour.
pub(crate) const HOUR: i64 = 60 * MINUTE;
/// Microseconds in a day.
pub(crate) const DAY: i64 = 24 * HOUR;
/// Least timestamp: 4714-11-24 BC.
pub(crate) const TIMESTAMP_MIN: i64 = -210_866_803_200_000_000;
/// First instant after the greatest timestamp. PostgreSQL counts from 2000 and so gets 30 years further, to 294276.
pub(crate) const TIMESTAMP_END: i64 = i64::MAX;
/// Least date: 4714-11-24 BC.
pub(crate) const DATE_MIN: i64 = -2_440_588;
/// First day after the greatest date: 5874898-01-01.
pub(crate) const DATE_END: i64 = 2_145_042_906;

/// Days since 1970-01-01 of a date; the year is astronomical (0 is 1 BC), the month 1..=12.
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// (year, month, day) of a number of days since 1970-01-01.
pub(crate) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * of_year + 2) / 153;
    let day = of_year - (153 * m + 2) / 5 + 1;
    let month = if m < 10 { m + 3 } else { m - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days in a month.
pub(crate) fn month_days(year: i64, month: i64) -> i64 {
    let leap = year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0);
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    }
}

/// Adds months, the day clamped to the month's last.
pub(crate) fn add_months(days: i64, months: i64) -> i64 {
    let (y, m, d) = civil_from_days(days);
    let total = y * 12 + (m - 1) + months;
    let (y, m) = (total.div_euclid(12), total.rem_euclid(12) + 1);
    days_from_civil(y, m, d.min(month_days(y, m)))
}

/// Whether a timestamp is `infinity` or `-infinity`.
pub(crate) fn is_infinite(ts: i64) -> bool {
    ts == i64::MAX || ts == i64::MIN
}

/// A timestamp in range, or `None`.
pub(crate) fn checked_timestamp(ts: i128) -> Option<i64> {
    (i128::from(TIMESTAMP_MIN)..i128::from(TIMESTAMP_END)).contains(&ts).then_some(ts as i64)
}

/// A timestamp and an interval: months, then days, then microseconds. `None` when out of range.
pub(crate) fn add_interval(ts: i64, by: IntervalValue) -> Option<i64> {
    if is_infinite(ts) {
        return Some(ts);
    }
    let (mut days, time) = (ts.div_euclid(DAY), ts.rem_euclid(DAY));
    if by.months != 0 {
        days = add_months(days, i64::from(by.months));
    }
    days += i64::from(by.days);
    checked_timestamp(i128::from(days) * i128::from(DAY) + i128::from(time) + i128::from(by.micros))
}

/// ISO 8601 (year, week) of a day.
pub(crate) fn iso_week(days: i64) -> (i64, i64) {
    // The week belongs to the year of its Thursday.
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let (year, _, _) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

/// What PostgreSQL orders intervals by: months of 30 days, days of 24 hours.
pub(crate) fn interval_span(months: i32, days: i32, micros: i64) -> i128 {
    (i128::from(months) * 30 + i128::from(days)) * i128::from(DAY) + i128::from(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_round_trips_and_hits_known_days() {
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(days_from_civil(2000, 2, 29), 11_016);
        assert_eq!(days_from_civil(-4713, 11, 24), DATE_MIN);
        assert_eq!(days_from_civil(5_874_898, 1, 1), DATE_END);
        for days in (-2_440_588..3_000_000).step_by(97) {
            let (y, m, d) = civil_from_days(days);
            assert_eq!(days_from_civil(y, m, d), days);
        }
    }

    #[test]
    fn months_clamp_and_weeks_are_iso() {
        assert_eq!(civil_from_days(add_months(days_from_civil(2024, 1, 31), 1)), (2024, 2, 29));
        assert_eq!(civil_from_days(add_months(days_from_civil(2024, 3, 31), -13)), (2023, 2, 28));
        assert_eq!(iso_week(days_from_civil(2021, 1, 3)), (2020, 53));
        assert_eq!(iso_week(days_from_civil(2024, 12, 30)), (2025, 1));
    }
}
