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
            if ours != theirs {
                wrong.push(format!("{a} {b}: {theirs:?}, not {ours:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Catches: forms that are lost on the way, and an order of bytes that is not that of the values.
#[test]
fn every_form_has_ordered_bytes_and_text() {
    let huge = format!("1{}", "0".repeat(131_071));
    let tiny = format!("0.{}1", "0".repeat(16_382));
    let ascending = [
        "-Infinity",
        &format!("-{huge}"),
        "-1e39",
        "-99999999999999999999999999999999999999.5",
        "-1.5",
        "-1e-39",
        &format!("-{tiny}"),
        "0",
        &tiny,
        "1e-400",
        "1.5e-39",
        "1e-38",
        "0.5",
        "1",
        "1.00000000000000000000000000000000000000000001",
        "12345678901234567890123456789012345678901234567890",
        "1e100",
        &huge,
        "Infinity",
        "NaN",
    ];
    for (i, a) in ascending.iter().enumerate() {
        let value = n(a);
        let bytes = value.to_bytes();
        assert_eq!(Numeric::from_bytes(&bytes), Ok(value.clone()), "{a:.50}");
        assert_eq!(Numeric::parse(&value.to_string()), Ok(value.clone()), "{a:.50}");
        let mut key = vec![];
        value.write_key_bytes(&mut key);
        assert_eq!(key[..key_len(&key)], bytes[..key_len(&bytes)]);
        for b in &ascending[i + 1..] {
            let other = n(b);
            let other_bytes = other.to_bytes();
            assert!(value.cmp_value(&other).is_lt(), "{a:.50} {b:.50}");
            assert!(bytes[..key_len(&bytes)] < other_bytes[..key_len(&other_bytes)], "{a:.50} {b:.50}");
            assert!(!other_bytes.starts_with(&bytes[..key_len(&bytes)]), "{a:.50} {b:.50}");
        }
    }
    let (a, b) = (n("1e50"), n(&format!("1{}.000", "0".repeat(50))));
    let keys = [&a, &b].map(|v| {
        let mut key = vec![];
        v.write_key_bytes(&mut key);
        key
    });
    assert_eq!(keys[0], keys[1]);
    assert_ne!(a, b);
}

/// Catches: a plan written before there were big numerics that is read no more.
#[test]
fn serialised_forms() {
    let small = r#"{"value":-150,"scale":2}"#;
    let read: Numeric = serde_json::from_str(small).expect("the old form");
    assert_eq!((read.to_string().as_str(), serde_json::to_string(&read).ok().as_deref()), ("-1.50", Some(small)));
    for text in ["NaN", "Infinity", "-Infinity", "1e100", "99999999999999999999999999999999999999"] {
        let json = serde_json::to_string(&n(text)).expect("json");
        assert_eq!(serde_json::from_str::<Numeric>(&json).ok(), Some(n(text)), "{json}");
    }
}

#[test]
fn bounds_are_those_of_postgres() {
    for text in ["1e131072", "1e-16384", "0e-20000", "1e2000000000"] {
        assert_eq!(Numeric::parse(text).map_err(|e| e.code), Err(SqlState::OUT_OF_RANGE), "{text}");
    }
    for text in ["0x1F", "1_000", "1e", "-NaN", "infinit", "", "."] {
        assert_eq!(Numeric::parse(text).map_err(|e| e.code), Err(SqlState::INVALID_TEXT), "{text}");
    }
    let most = n("9e131071");
    assert_eq!(most.add(&most).map_err(|e| e.code), Err(SqlState::OUT_OF_RANGE));
    assert_eq!(most.mul(&n("10")).map_err(|e| e.code), Err(SqlState::OUT_OF_RANGE));
    assert_eq!(n("1e-16000").mul(&n("1e-16000")).map(|v| v.scale()), Ok(Some(16_383)));
}

/// Of PostgreSQL: function, arguments and result, tab separated.
#[test]
fn functions_have_postgres_digits() {
    let mut wrong = vec![];
    for line in include_str!("../golden/numeric_functions.tsv").lines().filter(|l| !l.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let (a, b) = (n(fields[1]), n(fields[2]));
        let ours = match fields[0] {
            "sqrt" => math::sqrt(&a),
            "exp" => math::exp(&a),
            "ln" => math::ln(&a),
            "log" => math::log(&a, &b),
            "power" => math::power(&a, &b),
            "gcd" => integer::gcd(&a, &b),
            "lcm" => integer::lcm(&a, &b),
            "mul" => a.mul(&b),
            "div" => a.div(&b),
            "mod" => a.rem(&b),
            other => panic!("{other}"),
        };
        let ours = ours.map_or_else(|e| String::from_utf8_lossy(&e.code.0).to_string(), |v| v.to_string());
        if ours != fields[3] {
            wrong.push(format!("{}: {ours}", &line[..line.len().min(300)]));
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}
