//! Every function against PostgreSQL's answer; isolation of failing rows; batches against single rows.

use crate::*;
use arrow::array::{Array, ArrayRef, Int32Array, RecordBatch};
use arrow::datatypes::{Field, Schema};
use hw_plan::{Func, ScalarExpr};
use hw_repr::{Datum, SqlError, SqlType, text};
use proptest::prelude::*;
use std::sync::Arc;

const NUM: SqlType = SqlType::Numeric(None);

fn lit(ty: SqlType, s: &str) -> ScalarExpr {
    ScalarExpr::Literal(text::parse(ty, s).expect("test literal"), ty)
}
fn int(v: i32) -> ScalarExpr {
    ScalarExpr::Literal(Datum::Int4(v), SqlType::Int4)
}
fn txt(s: &str) -> ScalarExpr {
    ScalarExpr::Literal(Datum::Text(s.into()), SqlType::Text)
}
fn cast_to(e: ScalarExpr, to: SqlType) -> ScalarExpr {
    if e.ty() == to { e } else { ScalarExpr::Cast { expr: Box::new(e), to, explicit: true } }
}

/// A call as the planner makes it: resolved, arguments coerced.
fn try_call(func: Func, args: Vec<ScalarExpr>) -> Result<ScalarExpr, SqlError> {
    let types: Vec<SqlType> = args.iter().map(ScalarExpr::ty).collect();
    let (coerced, ty) = resolve_call(func, &types)?;
    Ok(ScalarExpr::Call { func, args: args.into_iter().zip(coerced).map(|(a, t)| cast_to(a, t)).collect(), ty })
}
fn call(func: Func, args: Vec<ScalarExpr>) -> ScalarExpr {
    try_call(func, args).expect("resolves")
}

/// `type|text`, or the SQLSTATE and message.
fn show(e: Result<ScalarExpr, SqlError>) -> String {
    let answer = e.and_then(|e| eval_const(&e).map(|d| format!("{}|{}", e.ty(), d.to_text().unwrap_or("NULL".into()))));
    answer.unwrap_or_else(|e| format!("{} {}", e.code.as_str(), e.message))
}

#[test]
fn functions_answer_as_postgresql_does() {
    use SqlType::*;
    let big = |s| lit(Int8, s);
    let num = |s| lit(NUM, s);
    let f8 = |s| lit(Float8, s);
    let ts = |s| lit(Timestamp, s);
    let iv = |s| lit(Interval, s);
    let js = |s| lit(Jsonb, s);
    let cases: Vec<(Func, Vec<ScalarExpr>, &str)> = vec![
        (Func::Add, vec![int(1), big("2")], "bigint|3"),
        (Func::Add, vec![int(i32::MAX), int(1)], "22003 integer out of range"),
        (Func::Mul, vec![big("9223372036854775807"), int(2)], "22003 bigint out of range"),
        (Func::Sub, vec![lit(Int2, "-32768"), lit(Int2, "1")], "22003 smallint out of range"),
        (Func::Div, vec![int(7), int(0)], "22012 division by zero"),
        (Func::Div, vec![int(-7), int(2)], "integer|-3"),
        (Func::Div, vec![int(i32::MIN), int(-1)], "22003 integer out of range"),
        (Func::Mod, vec![int(i32::MIN), int(-1)], "integer|0"),
        (Func::Mod, vec![int(-7), int(3)], "integer|-1"),
        (Func::Neg, vec![int(i32::MIN)], "22003 integer out of range"),
        (Func::Abs, vec![int(-5)], "integer|5"),
        (Func::Add, vec![num("1.50"), int(1)], "numeric|2.50"),
        (Func::Mul, vec![num("1.50"), lit(Numeric(Some((10, 2))), "2.00")], "numeric|3.0000"),
        (Func::Div, vec![num("1"), num("3")], "numeric|0.33333333333333333333"),
        (Func::Div, vec![num("1"), num("0")], "22012 division by zero"),
        (Func::Mod, vec![num("5.5"), num("2")], "numeric|1.5"),
        (Func::Add, vec![int(1), lit(Float4, "1.5")], "double precision|2.5"),
        (Func::Add, vec![num("1"), f8("1.5")], "double precision|2.5"),
        (Func::Mul, vec![f8("1e300"), f8("1e300")], "22003 value out of range: overflow"),
        (Func::Mul, vec![f8("1e-300"), f8("1e-300")], "22003 value out of range: underflow"),
        (Func::Div, vec![f8("1"), f8("0")], "22012 division by zero"),
        (Func::Add, vec![lit(Date, "2024-01-31"), int(1)], "date|2024-02-01"),
        (Func::Add, vec![lit(Date, "2024-01-31"), iv("1 month")], "timestamp without time zone|2024-02-29 00:00:00"),
        (Func::Sub, vec![lit(Date, "2024-03-01"), lit(Date, "2024-02-01")], "integer|29"),
        (Func::Sub, vec![ts("2024-03-01 12:00"), ts("2024-02-28")], "interval|2 days 12:00:00"),
        (Func::Add, vec![iv("1 day"), ts("2024-02-28 01:00")], "timestamp without time zone|2024-02-29 01:00:00"),
        (Func::Mul, vec![iv("1 month"), f8("1.5")], "interval|1 mon 15 days"),
        (Func::Div, vec![iv("1 day"), int(2)], "interval|12:00:00"),
        (Func::Add, vec![lit(Time, "23:00"), iv("2 hours")], "time without time zone|01:00:00"),
        (Func::Eq, vec![num("1.0"), num("1.00")], "boolean|t"),
        (Func::Lt, vec![lit(Numeric(Some((5, 2))), "1.25"), int(2)], "boolean|t"),
        (Func::Eq, vec![f8("NaN"), f8("NaN")], "boolean|t"),
        (Func::Gt, vec![f8("NaN"), f8("Infinity")], "boolean|t"),
        (Func::Eq, vec![f8("-0"), f8("0")], "boolean|t"),
        (Func::Eq, vec![iv("1 month"), iv("30 days")], "boolean|t"),
        (Func::Lt, vec![lit(Date, "2024-01-01"), ts("2024-01-01 00:00:01")], "boolean|t"),
        (Func::Eq, vec![txt("1"), int(1)], "42883 operator does not exist: text = integer"),
        (Func::Eq, vec![js("1.0"), js("1.00")], "boolean|t"),
        (Func::NotDistinct, vec![ScalarExpr::Literal(Datum::Null, Int4), int(1)], "boolean|f"),
        (Func::Eq, vec![ScalarExpr::Literal(Datum::Null, Int4), int(1)], "boolean|NULL"),
        (Func::Concat, vec![txt("a"), int(1)], "text|a1"),
        (Func::Concat, vec![txt("a"), lit(Bool, "t")], "text|atrue"),
        (Func::ConcatFn, vec![txt("a"), ScalarExpr::Literal(Datum::Null, Int4), lit(Bool, "t")], "text|at"),
        (Func::Like, vec![txt("a%c"), txt("a\\%_")], "boolean|t"),
        (Func::Like, vec![txt("ab"), txt("a\\")], "22025 LIKE pattern must not end with escape character"),
        (Func::ILike, vec![txt("ABC"), txt("%b%")], "boolean|t"),
        (Func::RegexMatch, vec![txt("abc"), txt("^a.c$")], "boolean|t"),
        (Func::RegexIMatch, vec![txt("ABC"), txt("b")], "boolean|t"),
        (Func::RegexMatch, vec![txt("abc"), txt("(a)\\1")], "boolean|f"),
        (Func::RegexpReplace, vec![txt("foobar"), txt("o(.)"), txt("<\\1>")], "text|f<o>bar"),
        (Func::RegexpReplace, vec![txt("banana"), txt("a"), txt("x"), txt("g")], "text|bxnxnx"),
        (Func::Upper, vec![txt("straße")], "text|STRAßE"),
        (Func::Length, vec![txt("héllo")], "integer|5"),
        (Func::OctetLength, vec![txt("héllo")], "integer|6"),
        (Func::Lower, vec![int(1)], "42883 function lower(integer) does not exist"),
        (Func::Substr, vec![txt("alphabet"), int(3), int(2)], "text|ph"),
        (Func::Substr, vec![txt("alphabet"), int(-1), int(4)], "text|al"),
        (Func::Substr, vec![txt("a"), int(1), int(-1)], "22011 negative substring length not allowed"),
        (Func::Btrim, vec![txt("xyxtrimyyx"), txt("xyz")], "text|trim"),
        (Func::Ltrim, vec![txt("  a ")], "text|a "),
        (Func::Replace, vec![txt("abcabc"), txt("cd"), txt("x")], "text|abcabc"),
        (Func::SplitPart, vec![txt("a,b,c"), txt(","), int(-1)], "text|c"),
        (Func::SplitPart, vec![txt("a"), txt(","), int(0)], "22023 field position must not be zero"),
        (Func::Strpos, vec![txt("hígh"), txt("g")], "integer|3"),
        (Func::Left, vec![txt("abcde"), int(-2)], "text|abc"),
        (Func::Right, vec![txt("abcde"), int(2)], "text|de"),
        (Func::Repeat, vec![txt("ab"), int(3)], "text|ababab"),
        (Func::Reverse, vec![txt("abc")], "text|cba"),
        (Func::StartsWith, vec![txt("abc"), txt("ab")], "boolean|t"),
        (Func::Lpad, vec![txt("hi"), int(5), txt("xy")], "text|xyxhi"),
        (Func::Rpad, vec![txt("hello"), int(3), txt("x")], "text|hel"),
        (Func::Md5, vec![txt("abc")], "text|900150983cd24fb0d6963f7d28e17f72"),
        (Func::Round, vec![f8("2.5")], "double precision|2"),
        (Func::Round, vec![num("2.5")], "numeric|3"),
        (Func::Round, vec![num("42.4382"), int(2)], "numeric|42.44"),
        (Func::Trunc, vec![num("-42.4382"), int(2)], "numeric|-42.43"),
        (Func::Floor, vec![num("-42.8")], "numeric|-43"),
        (Func::Ceil, vec![f8("-42.8")], "double precision|-42"),
        (Func::Sqrt, vec![int(2)], "double precision|1.4142135623730951"),
        (Func::Sqrt, vec![f8("-1")], "2201F cannot take square root of a negative number"),
        (Func::Ln, vec![f8("0")], "2201E cannot take logarithm of zero"),
        (Func::Power, vec![f8("9"), f8("3")], "double precision|729"),
        (Func::Sign, vec![num("-8.4")], "numeric|-1"),
        (Func::Greatest, vec![int(1), ScalarExpr::Literal(Datum::Null, Int4), big("5")], "bigint|5"),
        (Func::Least, vec![int(1), txt("a")], "42804 LEAST types integer and text cannot be matched"),
        (Func::NullIf, vec![int(1), int(1)], "integer|NULL"),
        (
            Func::DateTrunc,
            vec![txt("hour"), ts("2001-02-16 20:38:40")],
            "timestamp without time zone|2001-02-16 20:00:00",
        ),
        (
            Func::DateTrunc,
            vec![txt("week"), ts("2024-02-29 20:38:40")],
            "timestamp without time zone|2024-02-26 00:00:00",
        ),
        (
            Func::DateTrunc,
            vec![txt("bogus"), ts("2024-02-29")],
            "22023 unit \"bogus\" not recognized for type timestamp without time zone",
        ),
        (
            Func::DateBin,
            vec![iv("15 minutes"), ts("2020-02-11 15:44:17"), ts("2001-01-01")],
            "timestamp without time zone|2020-02-11 15:30:00",
        ),
        (Func::Extract, vec![txt("second"), ts("2001-02-16 20:38:05.5")], "numeric|5.500000"),
        (Func::Extract, vec![txt("milliseconds"), ts("2001-02-16 20:38:28.5")], "numeric|28500.000"),
        (Func::Extract, vec![txt("epoch"), iv("5 days 3 hours")], "numeric|442800.000000"),
        (Func::Extract, vec![txt("isodow"), ts("2001-02-18 20:38:40")], "numeric|7"),
        (Func::Extract, vec![txt("century"), lit(Date, "2000-12-16")], "numeric|20"),
        (Func::Extract, vec![txt("hour"), lit(Date, "2000-12-16")], "0A000 unit \"hour\" not supported for type date"),
        (Func::DatePart, vec![txt("year"), ts("2001-02-16 20:38:40")], "double precision|2001"),
        (
            Func::ToChar,
            vec![ts("2024-02-09 15:04:05.006"), txt("YYYY-MM-DD HH24:MI:SS.MS")],
            "text|2024-02-09 15:04:05.006",
        ),
        (
            Func::ToChar,
            vec![ts("2024-02-09 15:04:05"), txt("Day, DDth FMMonth HH12 am")],
            "text|Friday   , 09th February 03 pm",
        ),
        (Func::ToTimestamp, vec![f8("1284352323.5")], "timestamp with time zone|2010-09-13 04:32:03.5+00"),
        (Func::JsonGet, vec![js("{\"a\": {\"b\":\"foo\"}}"), txt("a")], "jsonb|{\"b\": \"foo\"}"),
        (Func::JsonGetText, vec![js("[1,2,3]"), int(-1)], "text|3"),
        (Func::JsonContains, vec![js("{\"a\":1, \"b\":2}"), js("{\"b\":2}")], "boolean|t"),
        (Func::JsonTypeof, vec![js("-123.4")], "text|number"),
        (Func::JsonArrayLength, vec![js("{}")], "22023 cannot get array length of a non-array"),
    ];
    let wrong: Vec<String> = cases
        .into_iter()
        .filter_map(|(func, args, want)| {
            let got = show(try_call(func, args.clone()));
            (got != want).then(|| format!("{}({args:?})\n   gave {got}\n   want {want}", func.name()))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn casts_answer_as_postgresql_does() {
    use SqlType::*;
    for (e, to, want) in [
        (lit(Float8, "2.5"), Int4, "integer|2"),
        (lit(NUM, "2.5"), Int4, "integer|3"),
        (lit(Float8, "1e10"), Int4, "22003 integer out of range"),
        (lit(Int8, "40000"), Int2, "22003 smallint out of range"),
        (lit(NUM, "123.456"), Numeric(Some((5, 2))), "numeric(5,2)|123.46"),
        (lit(Bool, "t"), Text, "text|true"),
        (txt("  42 "), Int4, "integer|42"),
        (txt("4x"), Int4, "22P02 invalid input syntax for type integer: \"4x\""),
        (txt("abcdef"), Varchar(Some(3)), "character varying(3)|abc"),
        (lit(Timestamp, "2024-01-01 10:00"), Date, "date|2024-01-01"),
        (lit(Jsonb, "1.5"), Int4, "integer|2"),
        (lit(Bool, "t"), Int8, "42846 cannot cast type boolean to bigint"),
    ] {
        assert_eq!(show(Ok(cast_to(e, to))), want);
    }
    let assigned = ScalarExpr::Cast { expr: Box::new(txt("abcdef")), to: Varchar(Some(3)), explicit: false };
    assert_eq!(show(Ok(assigned)), "22001 value too long for type character varying(3)");
}

fn batch(columns: Vec<Vec<Option<i32>>>) -> RecordBatch {
    let arrays: Vec<ArrayRef> = columns.into_iter().map(|c| Arc::new(Int32Array::from(c)) as ArrayRef).collect();
    let fields: Vec<Field> =
        (0..arrays.len()).map(|i| Field::new(format!("x{i}"), arrays[i].data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of one length")
}

fn col(i: usize) -> ScalarExpr {
    ScalarExpr::Column(i, SqlType::Int4)
}

#[test]
fn a_failing_row_does_not_touch_the_others() {
    let e = call(Func::Div, vec![int(1), call(Func::Sub, vec![col(0), int(9)])]);
    let mfp = Mfp::new(&[], &[col(0), e], &[SqlType::Int4]).expect("compiles");
    let out = mfp.apply(&batch(vec![(0..1000).map(Some).collect()]));
    assert_eq!(out.rows.num_rows(), 999);
    assert_eq!(out.errors.len(), 1);
    assert_eq!((out.errors[0].0, out.errors[0].1.code.as_str()), (9, "22012"));
    assert_eq!(out.kept.expect("a row is missing").value(9), 10);
}

#[test]
fn and_guards_its_later_operands() {
    let guard = call(Func::Ne, vec![col(0), int(0)]);
    let risky = call(Func::Gt, vec![call(Func::Div, vec![int(1), col(0)]), int(0)]);
    let input = batch(vec![vec![Some(0), Some(1), None, Some(-1)]]);
    let filter = Mfp::new(&[ScalarExpr::And(vec![guard.clone(), risky.clone()])], &[col(0)], &[SqlType::Int4])
        .expect("compiles");
    let out = filter.apply(&input);
    assert!(out.errors.is_empty());
    assert_eq!(out.kept.expect("rows are missing").values(), &[1]);
    let either = ScalarExpr::Or(vec![ScalarExpr::Not(Box::new(guard)), risky]);
    let project = compile(&[either], &[SqlType::Int4]).expect("compiles").evaluate(&input).expect("guarded");
    assert_eq!(project[0].null_count(), 1);
}

#[test]
fn plain_columns_are_not_copied() {
    let input = batch(vec![vec![Some(1), Some(2)]]);
    let always = call(Func::Gt, vec![col(0), int(0)]);
    let out = Mfp::new(&[always], &[col(0)], &[SqlType::Int4]).expect("compiles").apply(&input);
    assert!(out.kept.is_none() && Arc::ptr_eq(out.rows.column(0), input.column(0)));
}

fn expression() -> impl Strategy<Value = ScalarExpr> {
    let leaf = prop_oneof![
        Just(col(0)),
        Just(col(1)),
        (-3..4i32).prop_map(int),
        Just(ScalarExpr::Literal(Datum::Null, SqlType::Int4))
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let arithmetic = prop_oneof![
            Just(Func::Add),
            Just(Func::Sub),
            Just(Func::Mul),
            Just(Func::Div),
            Just(Func::Mod),
            Just(Func::NullIf)
        ];
        let pair = (inner.clone(), inner.clone());
        let condition = (pair.clone(), pair.clone(), any::<bool>()).prop_map(|((a, b), (c, d), and)| {
            let both = vec![call(Func::Lt, vec![a, b]), call(Func::Ne, vec![c, d])];
            if and { ScalarExpr::And(both) } else { ScalarExpr::Or(both) }
        });
        prop_oneof![
            (arithmetic, pair).prop_map(|(f, (a, b))| call(f, vec![a, b])),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| ScalarExpr::Coalesce(vec![a, b])),
            (condition, inner.clone(), inner)
                .prop_map(|(c, a, b)| ScalarExpr::Case { branches: vec![(c, a)], otherwise: Box::new(b) }),
        ]
    })
}

proptest! {
    #[test]
    fn a_batch_gives_what_its_rows_give(
        e in expression(),
        rows in prop::collection::vec((prop::option::of(-3..4i32), prop::option::of(prop_oneof![-3..4i32, Just(i32::MAX)])), 1..40),
    ) {
        let input = batch(vec![rows.iter().map(|r| r.0).collect(), rows.iter().map(|r| r.1).collect()]);
        let keep = call(Func::Ge, vec![e.clone(), int(-2)]);
        let mfp = Mfp::new(&[keep], &[e.clone(), col(0)], &[SqlType::Int4, SqlType::Int4]).expect("compiles");
        let collect = |batch: &RecordBatch, base: u32| {
            let out = mfp.apply(batch);
            let mut all: Vec<(u32, String)> = (0..out.rows.num_rows())
                .map(|i| {
                    let from = out.kept.as_ref().map_or(i as u32, |k| k.value(i));
                    (base + from, format!("{:?}", Datum::from_array(out.rows.column(0), i, SqlType::Int4)))
                })
                .collect();
            all.extend(out.errors.iter().map(|(row, e)| (base + row, format!("{e:?}"))));
            all.sort();
            all
        };
        let alone: Vec<(u32, String)> = (0..rows.len()).flat_map(|i| collect(&input.slice(i, 1), i as u32)).collect();
        prop_assert_eq!(collect(&input, 0), alone);
        if !may_fail(&e) {
            prop_assert!(compile(&[e], &[SqlType::Int4, SqlType::Int4]).expect("compiles").evaluate(&input).is_ok());
        }
    }
}

/// Catches any difference of a template from what PostgreSQL made of it.
#[test]
fn templates_answer_as_postgresql_does() {
    let mut wrong = String::new();
    for line in include_str!("golden/templates.tsv").lines().filter(|l| !l.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [func, ty, value, format, expected] = fields[..] else { panic!("five fields in {line:?}") };
        let func = Func::ALL.iter().copied().find(|f| f.name() == func).expect("a function");
        let ty = match ty {
            "timestamp" => SqlType::Timestamp,
            "interval" => SqlType::Interval,
            _ => SqlType::Text,
        };
        let answer = match try_call(func, vec![lit(ty, value), txt(format)]).and_then(|e| eval_const(&e)) {
            Ok(d) => d.to_text().unwrap_or("\\N".into()),
            Err(e) => format!("!{}", e.code.as_str()),
        };
        if answer != expected {
            wrong.push_str(&format!("{line:?}, not {answer:?}\n"));
        }
    }
    assert!(wrong.is_empty(), "PostgreSQL says otherwise:\n{wrong}");
}
