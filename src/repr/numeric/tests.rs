use super::*;

fn n(s: &str) -> Numeric {
    Numeric::parse(s).expect("a valid numeric")
}

#[test]
fn quotients_have_postgres_scales() {
    for (a, b, q) in [
        ("1", "3", "0.33333333333333333333"),
        ("10", "3", "3.3333333333333333"),
        ("1", "7", "0.14285714285714285714"),
        ("2", "3", "0.66666666666666666667"),
        ("-2", "3", "-0.66666666666666666667"),
        ("10000", "3", "3333.3333333333333333"),
        ("100000", "3", "33333.333333333333"),
        ("0", "3", "0.00000000000000000000"),
        ("6", "2", "3.0000000000000000"),
        ("1.0000000000000000000000", "4", "0.2500000000000000000000"),
    ] {
        assert_eq!(n(a).div(&n(b)).map(|v| v.to_string()), Ok(q.to_string()), "{a} / {b}");
    }
}

/// Catches any difference of value or scale from PostgreSQL's arithmetic.
#[test]
fn arithmetic_is_that_of_postgres() {
    let shown = |r: Result<Numeric, SqlError>| match r {
        Ok(v) => v.to_string(),
        Err(e) if e.code == SqlState::DIVISION_BY_ZERO => "!".to_string(),
        Err(e) => e.to_string(),
    };
    let mut wrong = vec![];
    for line in include_str!("../golden/numeric.tsv").lines().filter(|l| !l.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let (a, b) = (n(fields[0]), n(fields[1]));
        let ours = [a.add(&b), a.sub(&b), a.mul(&b), a.div(&b), a.rem(&b), a.div_trunc(&b)].map(shown);
        for (ours, theirs) in ours.iter().zip(&fields[2..]) {
            let digits = theirs.bytes().filter(u8::is_ascii_digit).skip_while(|d| *d == b'0').count();
            let decimals = theirs.split_once('.').map_or(0, |(_, d)| d.len());
            let fits = digits <= 38 && decimals <= 38;
            if if fits { ours != theirs } else { ours != "value overflows numeric format" } {
                wrong.push(format!("{a} {b}: {theirs:?}, not {ours:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
