//! Session settings: the ones that mean something here, and the ones clients set out of habit.

use hw_repr::{Column, RelationDesc, SqlError, SqlState, SqlType};
use std::collections::BTreeMap;
use std::time::Duration;

/// (name, default, reported to clients as ParameterStatus)
const KNOWN: &[(&str, &str, bool)] = &[
    ("application_name", "", true),
    ("bytea_output", "hex", false),
    ("client_encoding", "UTF8", true),
    ("client_min_messages", "notice", false),
    ("datestyle", "ISO, MDY", true),
    ("default_transaction_isolation", "serializable", false),
    ("default_transaction_read_only", "off", true),
    ("extra_float_digits", "1", false),
    ("idle_in_transaction_session_timeout", "0", false),
    ("in_hot_standby", "off", true),
    ("integer_datetimes", "on", true),
    ("intervalstyle", "postgres", true),
    ("is_superuser", "on", true),
    ("lock_timeout", "0", false),
    ("max_identifier_length", "63", false),
    ("row_security", "on", false),
    ("search_path", "\"$user\", public", false),
    ("server_encoding", "UTF8", true),
    ("server_version", "16.0", true),
    ("server_version_num", "160000", false),
    ("standard_conforming_strings", "on", true),
    ("statement_timeout", "0", false),
    ("timezone", "UTC", true),
    ("transaction_isolation", "serializable", false),
    ("transaction_read_only", "off", false),
];

/// Settings whose value cannot be changed: here it means what it says.
const FIXED: &[&str] = &[
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "max_identifier_length",
    "server_encoding",
    "server_version",
    "server_version_num",
];

/// Settings that have just one supported value.
const ONLY: &[(&str, &[&str])] = &[
    ("client_encoding", &["utf8", "utf-8", "unicode"]),
    ("timezone", &["utc", "etc/utc", "gmt", "z"]),
    ("intervalstyle", &["postgres"]),
    ("standard_conforming_strings", &["on", "true"]),
    ("bytea_output", &["hex"]),
];

/// True for a boolean setting that is on.
pub(crate) fn is_on(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "on" | "true" | "1" | "yes")
}

/// A session's settings.
pub(crate) struct Settings {
    values: BTreeMap<&'static str, String>,
}

impl Settings {
    pub(crate) fn new(application_name: String) -> Self {
        let mut values: BTreeMap<&'static str, String> = KNOWN.iter().map(|(n, d, _)| (*n, (*d).to_string())).collect();
        values.insert("application_name", application_name);
        Settings { values }
    }

    fn known(name: &str) -> Result<&'static (&'static str, &'static str, bool), SqlError> {
        let name = canonical(name);
        KNOWN.iter().find(|(n, _, _)| *n == name).ok_or_else(|| {
            SqlError::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
        })
    }

    /// Sets or resets; returns what must be reported.
    pub(crate) fn set(&mut self, name: &str, value: Option<String>) -> Result<Vec<(String, String)>, SqlError> {
        let (name, default, reported) = Self::known(name)?;
        let value = value.unwrap_or_else(|| (*default).to_string());
        if FIXED.contains(name) {
            return Err(SqlError::new(SqlState::new("55P02"), format!("parameter \"{name}\" cannot be changed")));
        }
        if let Some((_, only)) = ONLY.iter().find(|(n, _)| n == name)
            && !only.contains(&value.to_ascii_lowercase().as_str())
        {
            let e = SqlError::unsupported(format!("{name} = '{value}' is not supported"));
            return Err(e.hint(format!("The supported value is {default}.")));
        }
        if *name == "statement_timeout" {
            parse_ms(&value)?;
        }
        self.values.insert(name, value.clone());
        Ok(if *reported { vec![(display_name(name), value)] } else { vec![] })
    }

    pub(crate) fn show(&self, name: &str, user: &str) -> Result<String, SqlError> {
        if name == "session_authorization" {
            return Ok(user.into());
        }
        let (name, _, _) = Self::known(name)?;
        Ok(self.values.get(name).cloned().unwrap_or_default())
    }

    /// Every setting, by its name in lower case.
    pub(crate) fn all(&self, user: &str) -> BTreeMap<String, String> {
        let own = self.values.iter().map(|(n, v)| (n.to_string(), v.clone()));
        own.chain([("session_authorization".to_string(), user.to_string())]).collect()
    }

    /// What the client calls itself.
    pub(crate) fn application_name(&self) -> &str {
        self.values.get("application_name").map_or("", String::as_str)
    }

    pub(crate) fn show_desc(name: &str) -> RelationDesc {
        RelationDesc::new(vec![Column { name: canonical(name), ty: SqlType::Text, nullable: false }])
    }

    pub(crate) fn reported(&self, user: &str) -> Vec<(String, String)> {
        let own = KNOWN.iter().filter(|(_, _, r)| *r).map(|(n, _, _)| (display_name(n), self.values[n].clone()));
        own.chain([("session_authorization".to_string(), user.to_string())]).collect()
    }

    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        let ms = parse_ms(&self.values["statement_timeout"]).unwrap_or(0);
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    /// True where a transaction that does not say otherwise only reads.
    pub(crate) fn is_read_only(&self) -> bool {
        self.values.get("default_transaction_read_only").is_some_and(|v| is_on(v))
    }

    /// Schemas that unqualified names are looked up in.
    pub(crate) fn search_path(&self) -> Vec<String> {
        let path = &self.values["search_path"];
        path.split(',')
            .map(|s| s.trim().trim_matches('"').to_string())
            .filter(|s| !s.is_empty() && s != "$user")
            .collect()
    }
}

fn canonical(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    if name == "time zone" { "timezone".into() } else { name }
}

/// How PostgreSQL spells a reported name.
fn display_name(name: &str) -> String {
    match name {
        "datestyle" => "DateStyle".into(),
        "intervalstyle" => "IntervalStyle".into(),
        "timezone" => "TimeZone".into(),
        other => other.into(),
    }
}

/// A duration as PostgreSQL takes it: ms without a unit, or with us, ms, s, min, h, d.
fn parse_ms(value: &str) -> Result<u64, SqlError> {
    let value = value.trim();
    let split = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    let (number, unit) = value.split_at(split);
    let factor = match unit.trim() {
        "" | "ms" => 1.0,
        "us" => 0.001,
        "s" => 1000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => f64::NAN,
    };
    match number.parse::<f64>().map(|n| n * factor) {
        Ok(ms) if ms.is_finite() && ms <= f64::from(i32::MAX) => Ok(ms.round() as u64),
        _ => Err(SqlError::new(
            SqlState::INVALID_PARAMETER,
            format!("invalid value for parameter \"statement_timeout\": \"{value}\""),
        )
        .hint("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_ms("250").ok(), Some(250));
        assert_eq!(parse_ms("2s").ok(), Some(2000));
        assert_eq!(parse_ms("1 min").ok(), Some(60_000));
        assert!(parse_ms("soon").is_err());
        assert!(parse_ms("-1").is_err());
    }

    #[test]
    fn unknown_and_fixed_settings_are_refused() {
        let mut s = Settings::new("t".into());
        assert_eq!(s.set("nonsense", Some("1".into())).map_err(|e| e.code), Err(SqlState::UNDEFINED_OBJECT));
        assert!(s.set("server_version", Some("1".into())).is_err());
        assert_eq!(
            s.set("TimeZone", Some("Europe/Berlin".into())).map_err(|e| e.code),
            Err(SqlState::FEATURE_NOT_SUPPORTED)
        );
        assert!(s.set("TimeZone", Some("UTC".into())).is_ok());
    }
}
