//! Items of `.datetime()`: dates and times read from ISO 8601 texts, which JSON itself has as strings only.

use hw_repr::text::{datetime, parse, write_datum};
use hw_repr::{Datum, SqlError, SqlType};

/// A date, time or timestamp, and how JSON shows it.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub ty: SqlType,
    /// Its own unit since its own zero: comparable within a type.
    value: i64,
    pub shown: String,
}

impl Moment {
    /// Reads a text; `None` where it has no known form.
    pub fn read(text: &str) -> Result<Option<Moment>, SqlError> {
        let Some(form) = Form::of(text) else { return Ok(None) };
        if form.time && !form.date && form.zone {
            return Err(SqlError::unsupported("type timetz is not supported"));
        }
        let ty = match (form.date, form.time, form.zone) {
            (true, false, _) => SqlType::Date,
            (false, _, _) => SqlType::Time,
            (true, true, false) => SqlType::Timestamp,
            (true, true, true) => SqlType::TimestampTz,
        };
        let Ok(datum) = parse(ty, text) else { return Ok(None) };
        let mut shown = String::new();
        let value = match datum {
            Datum::Date(v) => i64::from(v),
            Datum::Time(v) | Datum::Timestamp(v) | Datum::TimestampTz(v) => v,
            _ => return Ok(None),
        };
        match datum {
            // It stays in the zone that it was given in.
            Datum::TimestampTz(v) => {
                datetime::write_timestamptz(v, form.offset_s, &mut shown);
                if !shown.get(shown.len() - 3..).is_some_and(|end| end.starts_with(':')) {
                    shown.push_str(":00");
                }
            }
            other => write_datum(&other, &mut shown),
        }
        Ok(Some(Moment { ty, value, shown: shown.replacen(' ', "T", 1) }))
    }

    /// The order of two of one type.
    pub fn order(&self, other: &Moment) -> Option<std::cmp::Ordering> {
        (self.ty == other.ty).then(|| self.value.cmp(&other.value))
    }
}

/// What a text in the form of ISO 8601 has.
struct Form {
    date: bool,
    time: bool,
    zone: bool,
    offset_s: i32,
}

impl Form {
    fn of(text: &str) -> Option<Form> {
        let digits = |s: &str, shape: &str| {
            s.len() == shape.len()
                && s.bytes().zip(shape.bytes()).all(|(b, p)| if p == b'0' { b.is_ascii_digit() } else { b == p })
        };
        if digits(text, "0000-00-00") {
            return Some(Form { date: true, time: false, zone: false, offset_s: 0 });
        }
        let (date, rest) = match text.get(..10) {
            Some(date) if digits(date, "0000-00-00") => (true, text[10..].strip_prefix(['T', ' '])?),
            _ => (false, text),
        };
        let clock = rest.get(..8).filter(|c| digits(c, "00:00:00"))?;
        let mut rest = &rest[clock.len()..];
        if let Some(fraction) = rest.strip_prefix('.') {
            let size = fraction.bytes().take_while(u8::is_ascii_digit).count();
            rest = fraction.get(size..).filter(|_| size > 0)?;
        }
        let offset = match rest {
            "" => None,
            "Z" => Some(0),
            zone => {
                let sign = if zone.starts_with('-') { -1 } else { 1 };
                let body = zone.strip_prefix(['+', '-'])?;
                let (hours, minutes) = body.split_once(':').unwrap_or((body, "00"));
                if !digits(hours, "00") || !digits(minutes, "00") {
                    return None;
                }
                Some(sign * (hours.parse::<i32>().ok()? * 3_600 + minutes.parse::<i32>().ok()? * 60))
            }
        };
        Some(Form { date, time: true, zone: offset.is_some(), offset_s: offset.unwrap_or(0) })
    }
}
