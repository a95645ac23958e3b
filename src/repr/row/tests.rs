use super::{EnumValue, RowValue, parse, write};
use crate::datum::Datum;
use crate::types::{EnumDef, EnumLabel, EnumType, LABEL_STEP, RowDef, RowField, RowType, SqlType};

fn pair() -> RowType {
    let field = |name: &str, ty| RowField { name: name.into(), ty };
    let fields = vec![field("x", SqlType::Int4), field("y", SqlType::Text)];
    RowType::new(RowDef { oid: 20_001, schema: "public".into(), name: "pair".into(), fields }).unwrap()
}

fn mood(labels: &[(&str, i64)]) -> EnumType {
    let labels = labels.iter().map(|(name, order)| EnumLabel { name: (*name).into(), order: *order }).collect();
    EnumType::new(EnumDef { oid: 20_002, schema: "public".into(), name: "mood".into(), labels }).unwrap()
}

#[test]
fn text_of_rows_is_read_and_written_as_postgresql_does() {
    for (text, wanted) in [
        ("(1,a)", "(1,a)"),
        (" ( 1 , a b )", "(1,\" a b \")"),
        ("(,)", "(,)"),
        ("(1,\"\")", "(1,\"\")"),
        (r#"(1,"a ""b"" \\c")"#, r#"(1,"a ""b"" \\c")"#),
        (r"(1,a\,b)", r#"(1,"a,b")"#),
    ] {
        let row = parse(pair(), text).unwrap();
        let mut out = String::new();
        write(&row, &mut out);
        assert_eq!(out, wanted, "{text}");
        assert_eq!(RowValue::from_bytes(pair(), &row.to_bytes().unwrap()).unwrap(), row);
    }
    for text in ["1,a", "(1)", "(1,a,b)", "(1,a", "(1,\"a)", "(1,a)b", "(x,a)", ""] {
        assert_eq!(parse(pair(), text).unwrap_err().code.as_str(), "22P02", "{text}");
    }
}

#[test]
fn rows_of_numbers_are_equal_by_key() {
    let ty = RowType::of_types(&[SqlType::Numeric(None), SqlType::Int4]).unwrap();
    let key = |text: &str| {
        let number = crate::text::parse(SqlType::Numeric(None), text).unwrap();
        RowValue { ty, values: vec![number, Datum::Null] }.to_key_bytes().unwrap()
    };
    assert_eq!(key("1.0"), key("1.00"));
    assert_ne!(key("1.0"), key("1.01"));
}

/// Catches values that change their order when a label is added between others.
#[test]
fn values_of_enums_sort_by_declaration() {
    let before = mood(&[("sad", 0), ("ok", LABEL_STEP)]);
    let after = mood(&[("sad", 0), ("so-so", LABEL_STEP / 2), ("ok", LABEL_STEP)]);
    assert_eq!(before, after);
    let bytes = |ty, label| EnumValue::parse(ty, label).unwrap().to_bytes();
    assert!(bytes(before, "sad") < bytes(after, "so-so"));
    assert!(bytes(after, "so-so") < bytes(before, "ok"));
    let shown = EnumValue::from_bytes(before, &bytes(after, "so-so")).unwrap();
    assert_eq!(shown.label, "so-so");
    assert_eq!(EnumValue::parse(before, "so-so").unwrap_err().code.as_str(), "22P02");
}

#[test]
fn definitions_come_back_from_what_is_kept() {
    let ty = SqlType::Row(
        RowType::record(vec![RowField { name: "m".into(), ty: SqlType::Enum(mood(&[("a", 0)])) }]).unwrap(),
    );
    let text = serde_json::to_string(&ty).unwrap();
    assert_eq!(serde_json::from_str::<SqlType>(&text).unwrap(), ty);
    let array = ty.array_of().unwrap();
    let field = array.field("a", true);
    assert_eq!(SqlType::from_field(&field), Some(array));
    assert_eq!(SqlType::from_field(&ty.field("r", true)), Some(ty));
}
