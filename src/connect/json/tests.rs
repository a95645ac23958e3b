use super::*;
use arrow::array::cast::AsArray;
use arrow::datatypes::*;
use hw_repr::Column;

fn desc(columns: &[(&str, SqlType)]) -> RelationDesc {
    RelationDesc::new(columns.iter().map(|(n, ty)| Column { name: (*n).into(), ty: *ty, nullable: true }).collect())
}

/// Decodes `{"c": value}` for one column and prints it as PostgreSQL would, or gives the reason.
fn one(ty: SqlType, value: &str) -> Result<String, String> {
    let mut decoder = JsonDecoder::new(&desc(&[("c", ty)]), &[true]);
    let pushed = decoder.push(Some(format!("{{\"c\":{value}}}").as_bytes()));
    let column = decoder.finish().remove(0);
    assert_eq!(*column.data_type(), ty.arrow());
    // A column that is not wanted must accept and refuse the same.
    let mut checker = JsonDecoder::new(&desc(&[("c", ty)]), &[false]);
    assert_eq!(checker.push(Some(format!("{{\"c\":{value}}}").as_bytes())), pushed);
    assert!(checker.finish().is_empty());
    pushed?;
    assert_eq!(column.len(), 1);
    if column.is_null(0) {
        return Ok("NULL".into());
    }
    let mut out = String::new();
    hw_repr::text::write_value(column.as_ref(), 0, ty, &mut out);
    Ok(out)
}

#[test]
fn strings_go_through_the_input_function() {
    let cases = [
        (SqlType::Bool, r#""yes""#, "t"),
        (SqlType::Int2, r#"" 12 ""#, "12"),
        (SqlType::Int4, r#""-7""#, "-7"),
        (SqlType::Int8, r#""9223372036854775807""#, "9223372036854775807"),
        (SqlType::Float8, r#""1e3""#, "1000"),
        (SqlType::Numeric(None), r#""1.50""#, "1.50"),
        (SqlType::Numeric(Some((6, 2))), r#""1.505""#, "1.51"),
        (SqlType::Text, r#""a\u00e9\n\ud83d\ude00""#, "aé\n😀"),
        (SqlType::Varchar(Some(3)), r#""äöü""#, "äöü"),
        (SqlType::Bytea, r#""\\x00ff""#, "\\x00ff"),
        (SqlType::Date, r#""2024-02-29""#, "2024-02-29"),
        (SqlType::Time, r#""04:05:06.5""#, "04:05:06.5"),
        (SqlType::Timestamp, r#""2024-02-29T01:02:03.004Z""#, "2024-02-29 01:02:03.004"),
        (SqlType::TimestampTz, r#""2024-02-29 01:02:03+02""#, "2024-02-28 23:02:03+00"),
        (SqlType::Interval, r#""1 day 02:00:00""#, "1 day 02:00:00"),
        (SqlType::Uuid, r#""00112233-4455-6677-8899-aabbccddeeff""#, "00112233-4455-6677-8899-aabbccddeeff"),
        (SqlType::Jsonb, r#""{\"b\":1,\"a\":[ ]}""#, r#"{"a": [], "b": 1}"#),
    ];
    for (ty, value, want) in cases {
        assert_eq!(one(ty, value).as_deref(), Ok(want), "{ty} {value}");
    }
}

#[test]
fn numbers_booleans_and_nested_values_convert() {
    let cases = [
        (SqlType::Int2, "-32768", "-32768"),
        (SqlType::Int4, "1e3", "1000"),
        (SqlType::Int8, "12.000", "12"),
        (SqlType::Float4, "0.1", "0.1"),
        (SqlType::Float8, "1e-7", "1e-07"),
        (SqlType::Numeric(None), "12345678901234567890.12300", "12345678901234567890.12300"),
        (SqlType::Numeric(None), "15e-1", "1.5"),
        (SqlType::Numeric(Some((5, 1))), "-2.25", "-2.3"),
        (SqlType::Date, "86400000", "1970-01-02"),
        (SqlType::Time, "90061001", "01:01:01.001"),
        (SqlType::Timestamp, "-1", "1969-12-31 23:59:59.999"),
        (SqlType::TimestampTz, "1700000000000.5", "2023-11-14 22:13:20.0005+00"),
        (SqlType::Bool, "false", "f"),
        (SqlType::Jsonb, "true", "true"),
        (SqlType::Jsonb, "1.50", "1.50"),
        (SqlType::Jsonb, r#"{"b" : [1,2],"a":null}"#, r#"{"a": null, "b": [1, 2]}"#),
        (SqlType::Text, r#"{"b" : [1]}"#, r#"{"b" : [1]}"#),
        (SqlType::Text, "null", "NULL"),
    ];
    for (ty, value, want) in cases {
        assert_eq!(one(ty, value).as_deref(), Ok(want), "{ty} {value}");
    }
}

#[test]
fn what_does_not_convert_says_why() {
    let cases = [
        (SqlType::Bool, "1", "a number does not convert to type boolean"),
        (SqlType::Bool, r#""maybe""#, "invalid input syntax for type boolean"),
        (SqlType::Int2, "40000", "out of range for type smallint"),
        (SqlType::Int4, "1.5", "has a fraction"),
        (SqlType::Int4, r#""x""#, "invalid input syntax for type integer"),
        (SqlType::Int4, "true", "a boolean does not convert to type integer"),
        (SqlType::Int8, "9223372036854775808", "out of range for type bigint"),
        (SqlType::Float4, "1e40", "out of range for type real"),
        (SqlType::Float8, "1e400", "out of range for type double precision"),
        (SqlType::Numeric(Some((3, 1))), "100", "numeric field overflow"),
        (SqlType::Text, "1", "a number does not convert to type text"),
        (SqlType::Text, r#""\u0000""#, "cannot be converted to text"),
        (SqlType::Text, r#""\ud800""#, "surrogate"),
        (SqlType::Varchar(Some(2)), r#""abc""#, "value too long"),
        (SqlType::Date, r#""2023-02-29""#, "date"),
        (SqlType::Timestamp, "1e30", "out of range"),
        (SqlType::Interval, "1", "a number does not convert to type interval"),
        (SqlType::Uuid, r#""1""#, "uuid"),
        (SqlType::Uuid, "[1]", "an object or array does not convert to type uuid"),
        (SqlType::Jsonb, r#""not json""#, "json"),
    ];
    for (ty, value, want) in cases {
        let reason = one(ty, value).expect_err(value);
        assert!(reason.starts_with("column \"c\": ") && reason.contains(want), "{ty} {value}: {reason}");
    }
}

#[test]
fn a_bad_message_leaves_no_trace() {
    let mut d = desc(&[("a", SqlType::Int8), ("b", SqlType::Text), ("c", SqlType::Int4)]);
    d.columns[0].nullable = false;
    let mut decoder = JsonDecoder::new(&d, &[true, true, false]);
    let good: [&[u8]; 4] = [
        br#"{"a":1,"b":"x","c":1}"#,
        br#"{"c":null,"zz":{"a":5},"b":"y","a":2}"#,
        br#"{"a":7,"a":3}"#,
        br#"{"\u0061":4,"B":"case matters"}"#,
    ];
    let bad: [(Option<&[u8]>, &str); 8] = [
        (None, "no value"),
        (Some(b""), "empty"),
        (Some(b"[1]"), "not a JSON object"),
        (Some(b"{\"a\":1"), "byte 6"),
        (Some(b"{\"a\":1,\"b\":\"\xff\"}"), "UTF-8"),
        (Some(br#"{"b":"no a"}"#), "not-null"),
        (Some(br#"{"a":1,"b":"x","c":"unread but declared"}"#), "column \"c\""),
        (Some(br#"{"a":1,"c":1,"c":1.5}"#), "fraction"),
    ];
    for (i, message) in good.iter().enumerate() {
        for (payload, want) in &bad {
            let reason = decoder.push(*payload).expect_err(want);
            assert!(reason.contains(want), "{reason} lacks {want}");
        }
        decoder.push(Some(message)).unwrap();
        assert_eq!(decoder.rows(), i + 1);
    }
    let columns = decoder.finish();
    assert_eq!(columns.len(), 2);
    assert_eq!(columns[0].as_primitive::<Int64Type>().values(), &[1, 2, 3, 4]);
    let b: Vec<_> = columns[1].as_string::<i32>().iter().collect();
    assert_eq!(b, [Some("x"), Some("y"), None, None]);
    assert_eq!((decoder.rows(), decoder.bytes()), (0, 0));
    assert_eq!(decoder.finish()[0].len(), 0);
}

#[test]
fn many_columns_are_found_in_any_order() {
    let names: Vec<String> = (0..40).map(|i| format!("col{i}")).collect();
    let columns: Vec<_> = names.iter().map(|n| (n.as_str(), SqlType::Int4)).collect();
    let mut decoder = JsonDecoder::new(&desc(&columns), &[true; 40]);
    for turn in 0..3 {
        let fields: Vec<String> =
            (0..40).map(|i| (i * 7 + turn) % 40).map(|i| format!("\"col{i}\":{}", i * 10)).collect();
        decoder.push(Some(format!("{{{}}}", fields.join(",")).as_bytes())).unwrap();
    }
    for (i, column) in decoder.finish().iter().enumerate() {
        assert_eq!(column.as_primitive::<Int32Type>().values(), &[i as i32 * 10; 3]);
    }
}
