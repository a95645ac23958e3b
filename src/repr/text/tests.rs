use super::*;
use crate::datum::datums_to_array;

fn type_named(name: &str) -> SqlType {
    match name {
        "boolean" => SqlType::Bool,
        "smallint" => SqlType::Int2,
        "integer" => SqlType::Int4,
        "bigint" => SqlType::Int8,
        "real" => SqlType::Float4,
        "double precision" => SqlType::Float8,
        "numeric" => SqlType::Numeric(None),
        "numeric(5,2)" => SqlType::Numeric(Some((5, 2))),
        "numeric(3,0)" => SqlType::Numeric(Some((3, 0))),
        "numeric(2,2)" => SqlType::Numeric(Some((2, 2))),
        "varchar(3)" => SqlType::Varchar(Some(3)),
        "text" => SqlType::Text,
        "bytea" => SqlType::Bytea,
        "uuid" => SqlType::Uuid,
        "date" => SqlType::Date,
        "time" => SqlType::Time,
        "timestamp" => SqlType::Timestamp,
        "timestamptz" => SqlType::TimestampTz,
        "interval" => SqlType::Interval,
        "jsonb" => SqlType::Jsonb,
        other => panic!("no type {other}"),
    }
}

/// What we say to an input, in the form of the golden file. Checks that both ways of writing agree.
fn answer(ty: SqlType, input: &str) -> String {
    match parse(ty, input) {
        Ok(datum) => {
            let text = datum.to_text().unwrap_or_default();
            let column = datums_to_array(ty, std::slice::from_ref(&datum)).expect("a value of the type");
            let mut written = String::new();
            write_value(column.as_ref(), 0, ty, &mut written);
            assert_eq!(text, written, "{ty} {input:?}");
            assert_eq!(parse(ty, &text).map(|d| d.to_text()), Ok(Some(text.clone())), "{ty} {input:?} read again");
            format!("={text}")
        }
        Err(e) => match e.detail {
            Some(detail) if ty == SqlType::Jsonb => format!("!{} {} / {detail}", e.code.as_str(), e.message),
            _ => format!("!{} {}", e.code.as_str(), e.message),
        },
    }
}

/// Catches any difference from what PostgreSQL said to the same inputs.
#[test]
fn text_is_that_of_postgres() {
    let mut wrong = String::new();
    for line in include_str!("../golden/text.tsv").lines().filter(|l| !l.starts_with('#')) {
        let mut fields = line.split('\t');
        let (Some(ty), Some(input), Some(expected)) = (fields.next(), fields.next(), fields.next()) else {
            panic!("three fields in {line:?}")
        };
        let ours = answer(type_named(ty), input);
        if ours != expected {
            writeln!(wrong, "{ty} {input:?}: {expected:?}, not {ours:?}").expect("a string");
        }
    }
    assert!(wrong.is_empty(), "PostgreSQL says otherwise:\n{wrong}");
}

/// Catches an interval with fields that keeps what they leave out, or counts in the wrong unit.
#[test]
fn intervals_with_fields() {
    let shown = |s: &str, fields, precision| {
        let alias = crate::types::AliasType::interval(fields, precision).expect("fields");
        parse(SqlType::Alias(alias), s).expect(s).to_text().unwrap_or_default()
    };
    assert_eq!(shown("1-2", Some(("second", "second")), None), "1 year 2 mons");
    assert_eq!(shown("1:30", Some(("year", "year")), None), "00:00:00");
    assert_eq!(shown("1:30", Some(("minute", "second")), None), "00:01:30");
    assert_eq!(shown("1 2:03", Some(("day", "minute")), None), "1 day 02:03:00");
    assert_eq!(shown("1 2", Some(("day", "hour")), None), "1 day 02:00:00");
    assert_eq!(shown("5", Some(("year", "year")), None), "5 years");
    assert_eq!(shown("1.2345678", Some(("second", "second")), Some(2)), "00:00:01.23");
    assert_eq!(shown("-1.2355678", None, Some(3)), "-00:00:01.236");
}
