use super::{ArrayValue, parse, write};
use crate::datum::Datum;
use crate::types::SqlType;

fn shown(array: &ArrayValue) -> String {
    let mut out = String::new();
    write(array, &mut out);
    out
}

#[test]
fn text_is_read_and_written_as_postgresql_does() {
    for (ty, text, wanted) in [
        (SqlType::Int4, "{1,2,3}", "{1,2,3}"),
        (SqlType::Int4, " { 1 , null } ", "{1,NULL}"),
        (SqlType::Int4, "{}", "{}"),
        (SqlType::Int4, "{{1,2},{3,4}}", "{{1,2},{3,4}}"),
        (SqlType::Int4, "[0:0][1:2]={{1,2}}", "[0:0][1:2]={{1,2}}"),
        (SqlType::Text, r#"{"a,b","c\"d",e\\f,"NULL",nUll,""}"#, r#"{"a,b","c\"d","e\\f","NULL",NULL,""}"#),
        (SqlType::Text, r"{a b , \ }", r#"{"a b"," "}"#),
        (SqlType::Numeric(Some((5, 2))), "{1.555,2}", "{1.56,2.00}"),
    ] {
        let array = parse(ty, text).unwrap();
        assert_eq!(shown(&array), wanted, "{text}");
        let again = ArrayValue::from_bytes(ty, &array.to_bytes().unwrap()).unwrap();
        assert_eq!(again, array, "{text}");
    }
}

#[test]
fn malformed_text_is_an_error() {
    for (text, code) in [
        ("{{1},{2,3}}", "22P02"),
        ("{{}}", "22P02"),
        ("{1,{2}}", "22P02"),
        ("{{1},2}", "22P02"),
        ("[1:2]={1}", "22P02"),
        ("{1,}", "22P02"),
        ("{,1}", "22P02"),
        ("{1", "22P02"),
        ("1}", "22P02"),
        ("", "22P02"),
        ("{1}{2}", "22P02"),
        ("[1:0]={}", "2202E"),
        ("{\"1", "22P02"),
        ("{99999999999}", "22003"),
        ("{{{{{{{1}}}}}}}", "54000"),
    ] {
        let error = parse(SqlType::Int4, text).unwrap_err();
        assert_eq!(error.code.as_str(), code, "{text}: {error}");
    }
}

#[test]
fn bytes_have_the_order_of_the_arrays() {
    let sorted = ["{}", "{1}", "{1,1}", "{{1,1}}", "{{1},{1}}", "{1,NULL}", "{2}", "{NULL}"];
    let bytes: Vec<_> = sorted.iter().map(|t| parse(SqlType::Int4, t).unwrap().to_bytes().unwrap()).collect();
    assert!(bytes.is_sorted(), "{bytes:?}");
}

#[test]
fn equal_arrays_have_equal_keys() {
    let key = |t| parse(SqlType::Numeric(None), t).unwrap().to_key_bytes().unwrap();
    assert_eq!(key("{1.0,2}"), key("{1,2.00}"));
    assert_ne!(key("{1.0,2}"), key("[0:1]={1,2}"));
}

#[test]
fn subscripts_find_elements() {
    let array = parse(SqlType::Int4, "[0:1][5:6]={{1,2},{3,4}}").unwrap();
    let at = |s: &[i32]| array.position(s).map(|i| array.values[i].clone());
    assert_eq!(at(&[1, 5]), Some(Datum::Int4(3)));
    assert_eq!(at(&[1, 7]), None);
    assert_eq!(at(&[1]), None);
}
