//! `timezone` (`AT TIME ZONE`), and `date_trunc` in a zone.

use super::cast::stamp;
use super::datetime::{interval, truncate};
use super::string::Str;
use super::{Kernel, Prim, build, out_of_range, unsupported};
use crate::civil::{self, SECOND};
use crate::value::strict_nulls;
use arrow::datatypes::{IntervalMonthDayNanoType, TimestampMicrosecondType};
use hw_plan::Func;
use hw_repr::datum::IntervalValue;
use hw_repr::text::datetime::unknown_zone;
use hw_repr::text::datetime::zone::Zone;
use hw_repr::{Datum, SqlError, SqlState, SqlType};
use std::cell::RefCell;

type Stamps<'a> = Prim<'a, TimestampMicrosecondType>;

/// The zone of a row, looked up anew only where its name changes.
#[derive(Default)]
struct Named(RefCell<Option<(String, Zone)>>);

impl Named {
    fn with<T>(&self, name: &str, f: impl FnOnce(&Zone) -> T) -> Result<T, SqlError> {
        let mut last = self.0.borrow_mut();
        if last.as_ref().is_none_or(|(known, _)| known != name) {
            *last = Some((name.to_string(), Zone::by_name(name).ok_or_else(|| unknown_zone(name))?));
        }
        let (_, zone) = last.as_ref().ok_or_else(|| unknown_zone(name))?;
        Ok(f(zone))
    }
}

fn shift(ts: i64, seconds: i32, back: bool) -> Result<i64, SqlError> {
    let by = i128::from(seconds) * i128::from(SECOND);
    let moved = i128::from(ts) + if back { -by } else { by };
    civil::checked_timestamp(moved).ok_or_else(|| out_of_range(SqlType::Timestamp))
}

/// The same moment on the zone's clock (`to_local`), or the moment when its clock shows this.
fn convert(ts: i64, zone: &Zone, to_local: bool) -> Result<i64, SqlError> {
    let seconds = ts.div_euclid(SECOND);
    match to_local {
        true => shift(ts, zone.offset_at(seconds), false),
        false => shift(ts, zone.offset_of_local(seconds), true),
    }
}

/// The zone that an interval stands for.
pub(super) fn offset_zone(v: IntervalValue) -> Result<Zone, SqlError> {
    if v.months != 0 || v.days != 0 {
        let shown = Datum::Interval(v).to_text().unwrap_or_default();
        let message = format!("interval time zone \"{shown}\" must not include months or days");
        return Err(SqlError::new(SqlState::INVALID_PARAMETER, message));
    }
    let seconds = i32::try_from(v.micros / SECOND).map_err(|_| out_of_range(SqlType::Interval))?;
    Ok(Zone::Fixed(seconds))
}

/// The kernel of `timezone(zone, moment)`.
pub(super) fn kernel(types: &[SqlType]) -> Result<Kernel, SqlError> {
    let (by_name, to_local) = match types {
        [zone, SqlType::Timestamp] => (*zone != SqlType::Interval, false),
        [zone, SqlType::TimestampTz] => (*zone != SqlType::Interval, true),
        _ => return Err(unsupported(Func::Timezone, types)),
    };
    let result = if to_local { SqlType::Timestamp } else { SqlType::TimestampTz };
    Ok(Box::new(move |args, rows| {
        let a = Stamps::of(&args[1])?;
        let nulls = strict_nulls(args);
        let out = if by_name {
            let (names, zone) = (Str::of(&args[0])?, Named::default());
            build::<TimestampMicrosecondType>(rows, nulls, |i| match a.get(i) {
                ts if civil::is_infinite(ts) => Ok(ts),
                ts => zone.with(names.get(i), |z| convert(ts, z, to_local))?,
            })?
        } else {
            let offsets = Prim::<IntervalMonthDayNanoType>::of(&args[0])?;
            build::<TimestampMicrosecondType>(rows, nulls, |i| match a.get(i) {
                ts if civil::is_infinite(ts) => Ok(ts),
                ts => convert(ts, &offset_zone(interval(offsets.get(i)))?, to_local),
            })?
        };
        Ok(stamp(out, result))
    }))
}

/// The kernel of `date_trunc(unit, timestamptz, zone)`.
pub(super) fn truncate_kernel() -> Kernel {
    Box::new(|args, rows| {
        let (unit, a, names) = (Str::of(&args[0])?, Stamps::of(&args[1])?, Str::of(&args[2])?);
        let zone = Named::default();
        let f = |i: usize| match a.get(i) {
            ts if civil::is_infinite(ts) => Ok(ts),
            ts => zone.with(names.get(i), |z| truncate_in(unit.get(i), ts, z))?,
        };
        let out = build::<TimestampMicrosecondType>(rows, strict_nulls(args), f)?;
        Ok(stamp(out, SqlType::TimestampTz))
    })
}

/// Hours and less keep the offset of the moment; days and more take that of their start.
fn truncate_in(unit: &str, ts: i64, zone: &Zone) -> Result<i64, SqlError> {
    let offset = zone.offset_at(ts.div_euclid(SECOND));
    let (start, whole_days) = truncate(unit, shift(ts, offset, false)?, SqlType::TimestampTz)?;
    let offset = if whole_days { zone.offset_of_local(start.div_euclid(SECOND)) } else { offset };
    shift(start, offset, true)
}
