//! Catches records that come out otherwise where they arrive in other pieces, and what is refused.

use super::*;
use hw_repr::{Column, Datum, SqlType};

fn options(format: CopyFormat) -> CopyOptions {
    let csv = format == CopyFormat::Csv;
    CopyOptions {
        format,
        delimiter: if csv { b',' } else { b'\t' },
        null: if csv { String::new() } else { "\\N".into() },
        header: false,
        header_match: false,
        quote: b'"',
        escape: b'"',
        force_quote: vec![],
        force_not_null: vec![],
        force_null: vec![],
        names: vec!["a".into(), "b".into()],
        relation: "t".into(),
    }
}

fn read(options: CopyOptions, input: &[u8], piece: usize) -> Result<Vec<Vec<Option<String>>>, SqlError> {
    let column = |name: &str, ty| Column { name: name.into(), ty, nullable: true };
    let desc = RelationDesc::new(vec![column("a", SqlType::Int4), column("b", SqlType::Text)]);
    let mut reader = CopyReader::new(desc.clone(), options);
    for data in input.chunks(piece) {
        reader.push(data)?;
    }
    reader.finish()?;
    let mut out = vec![];
    while let Some((batch, lines)) = reader.next_batch() {
        assert_eq!(lines.len(), batch.num_rows());
        for row in 0..batch.num_rows() {
            let value = |c: usize| {
                let datum = Datum::from_array(batch.column(c), row, desc.columns[c].ty).expect("a value");
                hw_repr::text::format(&datum)
            };
            out.push(vec![value(0), value(1)]);
        }
    }
    Ok(out)
}

fn rows(all: &[(&str, Option<&str>)]) -> Vec<Vec<Option<String>>> {
    all.iter().map(|(a, b)| vec![Some(a.to_string()), b.map(str::to_string)]).collect()
}

#[test]
fn text_is_the_same_in_any_pieces() {
    let input = b"1\tone\n2\t\\N\n3\t\n4\ta\\tb\\\\c\\n\\x41\\101\n-5\ta\\\nb\n6\tlast";
    let wanted = rows(&[
        ("1", Some("one")),
        ("2", None),
        ("3", Some("")),
        ("4", Some("a\tb\\c\nAA")),
        ("-5", Some("a\nb")),
        ("6", Some("last")),
    ]);
    for piece in 1..input.len() + 1 {
        assert_eq!(read(options(CopyFormat::Text), input, piece).expect("it reads"), wanted, "pieces of {piece}");
    }
}

#[test]
fn csv_is_the_same_in_any_pieces() {
    let input = b"1,one\r\n2,\r\n3,\"\"\r\n4,\"a,\"\"b\"\"\r\nc\"\r\n5,a\"b\"c\r\n";
    let wanted =
        rows(&[("1", Some("one")), ("2", None), ("3", Some("")), ("4", Some("a,\"b\"\r\nc")), ("5", Some("abc"))]);
    for piece in 1..input.len() + 1 {
        assert_eq!(read(options(CopyFormat::Csv), input, piece).expect("it reads"), wanted, "pieces of {piece}");
    }
}

#[test]
fn what_is_wrong_is_refused_with_its_line() {
    let refused = |format, input: &[u8]| {
        let e = read(options(format), input, 3).expect_err("refused");
        format!("{} {} [{}]", e.code.as_str(), e.message, e.context.unwrap_or_default())
    };
    let text = CopyFormat::Text;
    assert_eq!(refused(text, b"1\ta\n2\n"), "22P04 missing data for column \"b\" [COPY t, line 2: \"2\"]");
    assert_eq!(
        refused(text, b"1\ta\tb\n"),
        "22P04 extra data after last expected column [COPY t, line 1: \"1\ta\tb\"]"
    );
    assert_eq!(
        refused(text, b"1\ta\n1\tb\nx\tc\n"),
        "22P02 invalid input syntax for type integer: \"x\" [COPY t, line 3, column a: \"x\"]"
    );
    assert_eq!(refused(text, b"1\ta\n2\tb\r\n"), "22P04 literal carriage return found in data [COPY t, line 2]");
    assert_eq!(
        refused(CopyFormat::Csv, b"1,\"a\n2,b\n"),
        "22P04 unterminated CSV quoted field [COPY t, line 1: \"1,\"a\n2,b\n\"]"
    );
    assert_eq!(refused(text, b"1\ta\\.b\n"), "22P04 end-of-copy marker corrupt [COPY t, line 1]");
    assert!(refused(text, b"1\t\xff\n").starts_with("22021"));
}

#[test]
fn the_end_mark_and_the_header_are_no_rows() {
    let with_header = CopyOptions { header: true, ..options(CopyFormat::Csv) };
    let read_all = |o: CopyOptions, input: &[u8]| read(o, input, 5);
    assert_eq!(read_all(with_header, b"a,b\n1,x\n").expect("it reads"), rows(&[("1", Some("x"))]));
    let text = options(CopyFormat::Text);
    assert_eq!(read_all(text, b"1\tx\n\\.\nnot read\n").expect("it reads"), rows(&[("1", Some("x"))]));
    let text = options(CopyFormat::Text);
    assert_eq!(read_all(text, b"1\tx\\\n\\.\nnot read\n").expect("it reads"), rows(&[("1", Some("x\n"))]));
    let matching = CopyOptions { header: true, header_match: true, ..options(CopyFormat::Csv) };
    assert_eq!(read_all(matching, b"a,c\n1,x\n").expect_err("refused").code, SqlState::BAD_COPY_FORMAT);
}
