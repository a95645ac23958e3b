//! When two answers are the same.
//!
//! Rows are compared by their text. Where that differs, numbers with a fraction may: of equal values that look different (1.5
//! and 1.50, -0 and 0), GROUP BY, DISTINCT and set operations show any, and so do PostgreSQL and Headwater; and the last
//! digits of a float that was rounded on the way, or of a quotient of such values, depend on the order of the rows. So a
//! second look leaves out zeros at the end, a third reads 12 digits. How often each was needed is counted.

use crate::rows::{Bag, Refusal, Row, difference};

/// How closely two answers agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// Character by character.
    Exact,
    /// But for zeros at the end of numbers.
    Looks,
    /// In 12 digits.
    Digits,
}

/// Digits of the third look.
const DIGITS: usize = 12;

/// How far two answers agree; what one has and the other has not where they do not.
pub fn compare(ours: &[Row], theirs: &[Row], ordered: bool) -> Result<Agreement, String> {
    for agreement in [Agreement::Exact, Agreement::Looks, Agreement::Digits] {
        if prepared(ours, agreement, ordered) == prepared(theirs, agreement, ordered) {
            return Ok(agreement);
        }
    }
    let bag = |rows: &[Row]| {
        rows.iter().fold(Bag::new(), |mut bag, row| {
            *bag.entry(row.clone()).or_default() += 1;
            bag
        })
    };
    let text = difference(&bag(theirs), &bag(ours));
    if text.is_empty() { Err("the rows are in another order".into()) } else { Err(text) }
}

fn prepared(rows: &[Row], agreement: Agreement, ordered: bool) -> Vec<Row> {
    let mut all: Vec<Row> = match agreement {
        Agreement::Exact => rows.to_vec(),
        _ => rows.iter().map(|row| row.iter().map(|v| v.as_ref().map(|v| rounded(v, agreement))).collect()).collect(),
    };
    if !ordered {
        all.sort();
    }
    all
}

/// The text with its numbers in one form.
fn rounded(value: &str, agreement: Agreement) -> String {
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e');
    let (mut out, mut rest) = (String::new(), value);
    while let Some(c) = rest.chars().next() {
        let length = if is_number(c) { rest.find(|c| !is_number(c)).unwrap_or(rest.len()) } else { c.len_utf8() };
        let (word, after) = rest.split_at(length);
        out.push_str(&number(word, agreement).unwrap_or_else(|| word.to_owned()));
        rest = after;
    }
    out
}

fn number(word: &str, agreement: Agreement) -> Option<String> {
    if word == "-0" {
        return Some("0".into());
    }
    let parsed: f64 = word.contains(['.', 'e']).then(|| word.parse().ok())??;
    let digits = word.chars().filter(char::is_ascii_digit).count();
    if agreement == Agreement::Digits && (digits > DIGITS || word.contains('e')) {
        return Some(format!("{parsed:.*e}", DIGITS - 1));
    }
    if word.contains('e') {
        return None;
    }
    let short = word.trim_end_matches('0').trim_end_matches('.');
    Some(if matches!(short, "-0" | "-" | "") { "0".into() } else { short.into() })
}

/// True for what a row can cause: a value out of range, a bad cast, more than one row of a subquery.
pub fn is_of_data(refusal: &Refusal) -> bool {
    refusal.code.starts_with("22") || refusal.code == "21000"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[&str]) -> Vec<Row> {
        values.iter().map(|v| vec![Some(v.to_string())]).collect()
    }

    #[test]
    fn numbers_may_look_different_and_nothing_else() {
        let same = |a: &[&str], b: &[&str]| compare(&rows(a), &rows(b), false);
        assert_eq!(same(&["1", "2"], &["2", "1"]), Ok(Agreement::Exact));
        assert_eq!(same(&["1.50", "{-0,1.0}"], &["1.5", "{0,1}"]), Ok(Agreement::Looks));
        assert_eq!(same(&["0.3333333333333333"], &["0.33333333333333333333"]), Ok(Agreement::Digits));
        for (a, b) in [("1.5", "1.6"), ("10", "1"), ("2020-01-01", "2020-01-02"), ("0.333333333", "0.333333334")] {
            assert!(same(&[a], &[b]).is_err(), "{a} {b}");
        }
        assert!(compare(&rows(&["1", "2"]), &rows(&["2", "1"]), true).is_err());
    }
}
