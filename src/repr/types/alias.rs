//! Types that are carried and computed as another type and differ in name, OID or modifier alone.

use super::SqlType;
use serde::{Deserialize, Serialize};
use std::fmt;

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AliasType {
    /// `name`: text of at most 63 bytes
    Name,
    /// `"char"`: text of at most one byte
    Char,
    /// `oid`, as bigint
    Oid,
    /// `xid`, as bigint
    Xid,
    /// `regclass`, as the name that it shows
    RegClass,
    /// `regtype`, as the name that it shows
    RegType,
    /// `regnamespace`, as the name that it shows
    RegNamespace,
    /// `regrole`, as the name that it shows
    RegRole,
    /// `regproc`, as the name that it shows
    RegProc,
    /// `regprocedure`, as the name that it shows
    RegProcedure,
    /// `timestamp(p)`, p in 0..=6
    Timestamp(u8),
    /// `timestamptz(p)`
    TimestampTz(u8),
    /// `time(p)`
    Time(u8),
    /// `timetz(p)`
    TimeTz(u8),
    /// `numeric(p,s)` whose values no fixed-point number of 38 digits holds, or whose scale is negative or above its
    /// precision: by PostgreSQL's modifier, carried as bare numeric
    Numeric(i32),
    /// `interval` with fields or a precision, by PostgreSQL's modifier: see [`AliasType::interval`]
    Interval(i32),
}

/// PostgreSQL's bits of the fields of an interval's modifier, and how they are spelled.
const FIELDS: &[(i32, &str)] = &[
    (1 << 2, "year"),
    (1 << 1, "month"),
    (1 << 3, "day"),
    (1 << 10, "hour"),
    (1 << 11, "minute"),
    (1 << 12, "second"),
];
/// The modifier of an interval without fields, and of one without a precision.
const ALL_FIELDS: i32 = 0x7fff;
const FULL_PRECISION: i32 = 0xffff;

/// Precision and scale of PostgreSQL's modifier of a numeric.
pub(super) fn numeric_of_typmod(typmod: i32) -> (i32, i32) {
    let m = typmod - 4;
    (m >> 16 & 0xffff, ((m & 0x7ff) ^ 1024) - 1024)
}

impl AliasType {
    /// Those without a modifier.
    pub const NAMED: [AliasType; 10] = [
        AliasType::Name,
        AliasType::Char,
        AliasType::Oid,
        AliasType::Xid,
        AliasType::RegClass,
        AliasType::RegType,
        AliasType::RegNamespace,
        AliasType::RegRole,
        AliasType::RegProc,
        AliasType::RegProcedure,
    ];

    /// `interval` from its first to its last field (as "year", "second") with digits of its seconds; `None` where these
    /// are no fields, or in the wrong order.
    pub fn interval(fields: Option<(&str, &str)>, precision: Option<u8>) -> Option<AliasType> {
        let range = match fields {
            None => ALL_FIELDS,
            Some((first, last)) => {
                let at = |name: &str| FIELDS.iter().position(|(_, n)| *n == name);
                let (first, last) = (at(first)?, at(last)?);
                // Years and months do not mix with what is shorter.
                if first > last || (first < 2 && last >= 2) {
                    return None;
                }
                FIELDS[first..=last].iter().map(|(bit, _)| bit).sum()
            }
        };
        Some(AliasType::Interval(range << 16 | precision.map_or(FULL_PRECISION, i32::from)))
    }

    /// Digits of seconds that values are rounded to, where there is a limit.
    pub fn precision(self) -> Option<u8> {
        match self {
            AliasType::Timestamp(p) | AliasType::TimestampTz(p) | AliasType::Time(p) | AliasType::TimeTz(p) => Some(p),
            AliasType::Interval(m) if m & FULL_PRECISION != FULL_PRECISION => Some((m & FULL_PRECISION) as u8),
            _ => None,
        }
    }

    /// Precision and scale of a numeric.
    pub fn digits(self) -> Option<(i32, i32)> {
        match self {
            AliasType::Numeric(m) => Some(numeric_of_typmod(m)),
            _ => None,
        }
    }

    /// The last field of an interval with fields, as an index from the longest: 0 is a year, 5 a second.
    pub fn last_field(self) -> Option<usize> {
        let AliasType::Interval(m) = self else { return None };
        let range = m >> 16 & ALL_FIELDS;
        (range != ALL_FIELDS).then(|| FIELDS.iter().rposition(|(bit, _)| range & bit != 0)).flatten()
    }

    /// The first field of an interval with fields, counted as [`AliasType::last_field`] counts.
    pub fn first_field(self) -> Option<usize> {
        let AliasType::Interval(m) = self else { return None };
        let range = m >> 16 & ALL_FIELDS;
        (range != ALL_FIELDS).then(|| FIELDS.iter().position(|(bit, _)| range & bit != 0)).flatten()
    }

    pub(super) fn of_time(oid: u32, typmod: i32) -> Option<AliasType> {
        let precision = u8::try_from(typmod).ok();
        Some(match oid {
            1083 => AliasType::Time(precision?),
            1266 => AliasType::TimeTz(precision?),
            1114 => AliasType::Timestamp(precision?),
            1184 => AliasType::TimestampTz(precision?),
            _ => AliasType::Interval(typmod),
        })
    }

    /// The type that carries it, by its own name where that has one (`timetz`).
    pub fn carrier(self) -> SqlType {
        match self {
            AliasType::Oid | AliasType::Xid => SqlType::Int8,
            AliasType::Timestamp(_) => SqlType::Timestamp,
            AliasType::TimestampTz(_) => SqlType::TimestampTz,
            AliasType::Time(_) => SqlType::Time,
            AliasType::TimeTz(_) => SqlType::TimeTz,
            AliasType::Interval(_) => SqlType::Interval,
            AliasType::Numeric(_) => SqlType::Numeric(None),
            _ => SqlType::Text,
        }
    }

    /// PostgreSQL's OID.
    pub fn oid(self) -> u32 {
        match self {
            AliasType::Name => 19,
            AliasType::Char => 18,
            AliasType::Oid => 26,
            AliasType::Xid => 28,
            AliasType::RegClass => 2205,
            AliasType::RegType => 2206,
            AliasType::RegNamespace => 4089,
            AliasType::RegRole => 4096,
            AliasType::RegProc => 24,
            AliasType::RegProcedure => 2202,
            other => other.carrier().oid(),
        }
    }

    /// PostgreSQL's type modifier.
    pub fn typmod(self) -> i32 {
        match self {
            AliasType::Timestamp(p) | AliasType::TimestampTz(p) | AliasType::Time(p) | AliasType::TimeTz(p) => p.into(),
            AliasType::Interval(m) | AliasType::Numeric(m) => m,
            _ => -1,
        }
    }

    pub(super) fn typlen(self) -> i16 {
        match self {
            AliasType::Name => 64,
            AliasType::Char => 1,
            AliasType::Timestamp(_) | AliasType::TimestampTz(_) | AliasType::Time(_) => 8,
            AliasType::TimeTz(_) => 12,
            AliasType::Interval(_) => 16,
            AliasType::Numeric(_) => -1,
            _ => 4,
        }
    }

    /// The name without a modifier.
    pub fn name(self) -> &'static str {
        match self {
            AliasType::Name => "name",
            AliasType::Char => "\"char\"",
            AliasType::Oid => "oid",
            AliasType::Xid => "xid",
            AliasType::RegClass => "regclass",
            AliasType::RegType => "regtype",
            AliasType::RegNamespace => "regnamespace",
            AliasType::RegRole => "regrole",
            AliasType::RegProc => "regproc",
            AliasType::RegProcedure => "regprocedure",
            AliasType::Timestamp(_) => "timestamp",
            AliasType::TimestampTz(_) => "timestamptz",
            AliasType::Time(_) => "time",
            AliasType::TimeTz(_) => "timetz",
            AliasType::Interval(_) => "interval",
            AliasType::Numeric(_) => "numeric",
        }
    }
}

impl fmt::Display for AliasType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AliasType::Timestamp(p) => write!(f, "timestamp({p}) without time zone"),
            AliasType::TimestampTz(p) => write!(f, "timestamp({p}) with time zone"),
            AliasType::Time(p) => write!(f, "time({p}) without time zone"),
            AliasType::TimeTz(p) => write!(f, "time({p}) with time zone"),
            AliasType::Interval(m) => {
                f.write_str("interval")?;
                let range = m >> 16 & ALL_FIELDS;
                if range != ALL_FIELDS {
                    let mut all = FIELDS.iter().filter(|(bit, _)| range & bit != 0).map(|(_, name)| name);
                    let (first, last) = (all.next(), all.next_back());
                    first.map_or(Ok(()), |name| write!(f, " {name}"))?;
                    last.map_or(Ok(()), |name| write!(f, " to {name}"))?;
                }
                self.precision().map_or(Ok(()), |p| write!(f, "({p})"))
            }
            AliasType::Numeric(m) => {
                let (precision, scale) = numeric_of_typmod(*m);
                write!(f, "numeric({precision},{scale})")
            }
            other => f.write_str(other.name()),
        }
    }
}
