use super::path::Path;
use super::*;

fn query(doc: &str, path: &str) -> String {
    let found = Path::new(path).and_then(|p| p.search(Doc(doc), Doc("{\"x\": 2}"), false)).and_then(|f| f.items());
    found.map_or_else(|e| format!("{} {}", e.code.as_str(), e.message), |all| all.join(" "))
}

/// Each answer is PostgreSQL 15's.
#[test]
fn paths_select_as_in_postgresql() {
    let doc = r#"{"a": [1, 2, 3], "b": "x"}"#;
    for (path, wanted) in [
        ("$.a[*]", "1 2 3"),
        ("$.a[0 to 1]", "1 2"),
        ("$.a[last - 1, 0]", "2 1"),
        ("$.*", "[1, 2, 3] \"x\""),
        ("$.a.size()", "3"),
        ("$.a[*] * 2", "22038 left operand of jsonpath operator * is not a single numeric value"),
        ("$.a[*] ? (@ >= 2 && @ < 3)", "2"),
        ("$.a[*] ? (@ > $x)", "3"),
        ("$.**", "{\"a\": [1, 2, 3], \"b\": \"x\"} [1, 2, 3] 1 2 3 \"x\""),
        ("$.**{last}", "1 2 3 \"x\""),
        ("$.**{1}", "[1, 2, 3] \"x\""),
        ("-$.a[*]", "-1 -2 -3"),
        ("$.b like_regex \"^X\" flag \"i\"", "true"),
        ("$.b starts with \"x\"", "true"),
        ("$.a[9]", ""),
        ("strict $.a[9]", "22033 jsonpath array subscript is out of bounds"),
        ("strict $.c", "2203A JSON object does not contain key \"c\""),
        ("strict $.a.b", "2203A jsonpath member accessor can only be applied to an object"),
        ("$.a[1.7]", "2"),
        ("$.b.type()", "\"string\""),
        ("$.keyvalue().key", "\"a\" \"b\""),
        ("$.b > 1", "null"),
        ("($.b > 1) is unknown", "true"),
        ("!($.c > 1)", "true"),
        ("exists($.a[*] ? (@ > 2))", "true"),
        ("$.a[0] / 3 + 2 * ($.a[1] - 1)", "2.33333333333333333333"),
        ("$.\"a\"[*] ? (@ == 1 || @ == 3)", "1 3"),
        ("\"2024-02-29 12:34:56.70+02\".datetime()", "\"2024-02-29T12:34:56.7+02:00\""),
        ("$y", "42704 could not find jsonpath variable \"y\""),
        ("@", "42601 @ is not allowed in root expressions"),
        ("last", "42601 LAST is allowed only in array subscripts"),
        ("$.", "42601 syntax error at end of jsonpath input"),
        ("bad path", "42601 syntax error at or near \"bad\" of jsonpath input"),
        ("", "22P02 invalid input syntax for type jsonpath: \"\""),
    ] {
        assert_eq!(query(doc, path), wanted, "{path}");
    }
}

#[test]
fn documents_are_edited_by_path() {
    let edited = |doc: &str, path: &[&str], how: Edit| {
        let (path, mut out): (Vec<Option<&str>>, _) = (path.iter().map(|s| Some(*s)).collect(), String::new());
        edit(Doc(doc), &path, how, &mut out).map_or_else(|e| e.message, |()| out)
    };
    let set = Edit::Set { new: "9", create: true };
    assert_eq!(edited(r#"{"a": [1, 2]}"#, &["a", "-1"], set), r#"{"a": [1, 9]}"#);
    assert_eq!(edited(r#"{"a": [1, 2]}"#, &["a", "7"], set), r#"{"a": [1, 2, 9]}"#);
    assert_eq!(edited(r#"{"a": [1, 2]}"#, &["a", "-7"], set), r#"{"a": [9, 1, 2]}"#);
    assert_eq!(edited(r#"{"a": 1}"#, &["a", "x"], set), r#"{"a": 1}"#);
    assert_eq!(edited(r#"{"bb": 1}"#, &["c"], set), r#"{"c": 9, "bb": 1}"#);
    assert_eq!(edited(r#"{"a": [1, 2]}"#, &["a", "0"], Edit::Insert { new: "9", after: true }), r#"{"a": [1, 9, 2]}"#);
    assert_eq!(edited(r#"{"a": 1}"#, &["a"], Edit::Insert { new: "9", after: true }), "cannot replace existing key");
    assert_eq!(edited(r#"[1, [2, 3]]"#, &["1", "0"], Edit::Delete), "[1, [3]]");
    assert_eq!(edited("5", &["a"], set), "cannot set path in scalar");
}

#[test]
fn json_is_read_whatever_its_blanks_and_escapes() {
    let doc = Doc::new(" { \"b\" : 1 , \"a\":2, \"b\": {\"\\u00e9\" : [ 3 , \"]\\\"\" ] } } ");
    assert_eq!(doc.member("b").and_then(|d| d.member("é")).and_then(|d| d.element(-1)), Some(Doc("\"]\\\"\"")));
    assert_eq!(unquote("\"\\ud83d\\ude00\\n\"").expect("unquotes"), "😀\n");
}
