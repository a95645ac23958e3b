//! interval: `IntervalStyle` postgres output; input in units, `hh:mm:ss`, `y-m d h:m:s` and ISO 8601.

use super::datetime::{SECOND_US, write_fraction};
use crate::datum::IntervalValue;
use std::fmt::Write;

mod input;

pub use input::{Field, Fields, parse_interval, parse_interval_fields};

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
