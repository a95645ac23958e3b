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

/// Catches a literal with fields that keeps what they leave out, or counts in the wrong unit.
#[test]
fn intervals_with_fields() {
    use super::interval::{Field, Fields, parse_interval_fields, write_interval};
    let shown = |s: &str, range, precision| {
        let mut out = String::new();
        write_interval(parse_interval_fields(s, &Fields { range, precision }).expect(s), &mut out);
        out
    };
    assert_eq!(shown("1-2", Some((Field::Second, Field::Second)), None), "1 year 2 mons");
    assert_eq!(shown("1:30", Some((Field::Year, Field::Year)), None), "00:00:00");
    assert_eq!(shown("1:30", Some((Field::Minute, Field::Second)), None), "00:01:30");
    assert_eq!(shown("1 2:03", Some((Field::Day, Field::Minute)), None), "1 day 02:03:00");
    assert_eq!(shown("1 2", Some((Field::Day, Field::Hour)), None), "1 day 02:00:00");
    assert_eq!(shown("1.2345678", Some((Field::Second, Field::Second)), Some(2)), "00:00:01.23");
    assert_eq!(shown("-1.2355678", None, Some(3)), "-00:00:01.236");
}
