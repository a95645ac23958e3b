//! `to_char`: a number written by a template.

use super::template::{Node, Pattern, SignPlace, Template};
use hw_repr::numeric::{Numeric, math};
use hw_repr::{SqlError, SqlState};

/// Significant digits of double precision and of real.
const DOUBLE_DIGITS: usize = 15;
const REAL_DIGITS: usize = 6;
/// How wide a Roman numeral is.
const ROMAN_WIDTH: usize = 15;

/// Digits that fill a template, before it is followed.
struct Number {
    /// Digits with a point; or Roman digits, or scientific notation.
    text: String,
    negative: bool,
    /// Digits before the point that the template has and the number has not.
    missing: usize,
    /// Decimals that are shown.
    post: usize,
}

fn out_of_range(ty: &str) -> SqlError {
    SqlError::new(SqlState::OUT_OF_RANGE, format!("{ty} out of range"))
}

/// `to_char(integer, text)`
pub(super) fn integer(v: i64, t: &Template, out: &mut String) -> Result<(), SqlError> {
    if t.scientific {
        out.push_str(&scientific_float(v as f64, t.post));
        return Ok(());
    }
    let scaled = scaled(v, t, i64::from(i32::MAX)).ok_or_else(|| out_of_range("integer"))?;
    whole(v, scaled, t, out)
}

/// `to_char(bigint, text)`
pub(super) fn bigint(v: i64, t: &Template, out: &mut String) -> Result<(), SqlError> {
    if t.scientific {
        return numeric(&Numeric::from_i64(v), t, out);
    }
    if t.roman && i32::try_from(v).is_err() {
        return Err(out_of_range("integer"));
    }
    let scaled = scaled(v, t, i64::MAX).ok_or_else(|| out_of_range("bigint"))?;
    whole(v, scaled, t, out)
}

/// Times ten for every digit after `V`.
fn scaled(v: i64, t: &Template, max: i64) -> Option<i64> {
    let factor = 10i64.checked_pow(u32::try_from(t.multi).ok()?)?;
    let scaled = v.checked_mul(factor)?;
    (factor <= max && scaled <= max && scaled >= -max - 1).then_some(scaled)
}

fn whole(v: i64, scaled: i64, t: &Template, out: &mut String) -> Result<(), SqlError> {
    if t.roman {
        follow(t, roman(v), out)?;
        return Ok(());
    }
    let mut text = scaled.unsigned_abs().to_string();
    let len = text.len();
    if t.post > 0 {
        text.push('.');
        text.extend(std::iter::repeat_n('0', t.post));
    }
    follow(t, fit(text, len, scaled < 0, t, t.post), out)
}

/// `to_char(numeric, text)`
pub(super) fn numeric(v: &Numeric, t: &Template, out: &mut String) -> Result<(), SqlError> {
    if t.roman {
        return follow(t, roman(v.to_integer::<i32>("integer")?.into()), out);
    }
    if t.scientific {
        out.push_str(&if v.is_finite() { scientific(v, t.post)? } else { hashed_exponent(t) });
        return Ok(());
    }
    let scaled = match t.has_v {
        true => v.mul(&math::power(&Numeric::from_i64(10), &Numeric::from_i64(t.multi as i64))?)?,
        false => v.clone(),
    };
    let text = scaled.round(t.post as i32)?.to_string();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest.to_string()),
        None => (false, text),
    };
    let len = text.find('.').unwrap_or(text.len());
    follow(t, fit(text, len, negative, t, t.post), out)
}

/// `to_char(double precision, text)`
pub(super) fn double(v: f64, t: &Template, out: &mut String) -> Result<(), SqlError> {
    float(v, t, DOUBLE_DIGITS, |v| v, out)
}

/// `to_char(real, text)`
pub(super) fn real(v: f32, t: &Template, out: &mut String) -> Result<(), SqlError> {
    float(v.into(), t, REAL_DIGITS, |v| f64::from(v as f32), out)
}

fn float(v: f64, t: &Template, digits: usize, narrow: impl Fn(f64) -> f64, out: &mut String) -> Result<(), SqlError> {
    if t.roman {
        let whole = v.round_ties_even();
        let fits = whole >= i32::MIN.into() && whole <= i32::MAX.into();
        return follow(t, roman(if fits { whole as i64 } else { 0 }), out);
    }
    if t.scientific {
        out.push_str(&if v.is_finite() { scientific_float(v, t.post) } else { hashed_exponent(t) });
        return Ok(());
    }
    let v = if t.has_v { narrow(v * narrow(10f64.powf(t.multi as f64))) } else { v };
    let word = if v.is_nan() { Some("NaN") } else { v.is_infinite().then_some("Infinity") };
    let len = word.map_or_else(|| format!("{:.0}", v.abs()).len(), |w| w.len());
    // No more decimals than the type has digits.
    let post = t.post.min(digits.saturating_sub(len));
    let text = word.map_or_else(|| format!("{:.post$}", v.abs()), str::to_string);
    let len = text.find('.').unwrap_or(text.len());
    let negative = v.is_sign_negative() && !v.is_nan();
    follow(t, fit(text, len, negative, t, post), out)
}

/// Hashes where the template has too few digits. `post`: decimals that are shown.
fn fit(text: String, len: usize, negative: bool, t: &Template, post: usize) -> Number {
    let pre = t.pre + t.multi;
    if len <= pre {
        return Number { text, negative, missing: pre - len, post };
    }
    Number { text: format!("{}.{}", "#".repeat(pre), "#".repeat(post)), negative, missing: 0, post }
}

fn hashed_exponent(t: &Template) -> String {
    let mut all: Vec<u8> = vec![b'#'; t.pre + t.post + 6];
    all[0] = b' ';
    all[t.pre + 1] = b'.';
    all.into_iter().map(char::from).collect()
}

/// As C's `%+.*e`, a space for the plus.
fn scientific_float(v: f64, post: usize) -> String {
    let text = format!("{:.post$e}", v.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    exponential(v.is_sign_negative(), mantissa, exponent)
}

fn exponential(negative: bool, mantissa: &str, exponent: i32) -> String {
    let sign = if negative { '-' } else { ' ' };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{mantissa}e{exponent_sign}{:02}", exponent.unsigned_abs())
}

fn scientific(v: &Numeric, post: usize) -> Result<String, SqlError> {
    // The exponent is that of the value before it is rounded.
    let text = v.normalize().abs().to_string();
    let point = text.find('.').unwrap_or(text.len()) as i32;
    let exponent = match text.bytes().filter(|b| *b != b'.').position(|b| b != b'0') {
        Some(first) => point - 1 - first as i32,
        None => 0,
    };
    let shift = Numeric::parse(&format!("1e{}", -exponent))?;
    let mantissa = v.normalize().abs().mul(&shift)?.round(post as i32)?;
    Ok(exponential(v.signum() < 0, &mantissa.to_string(), exponent))
}

fn roman(v: i64) -> Number {
    const DIGITS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut text = String::new();
    let mut rest = v;
    if (1..=3999).contains(&v) {
        for (value, digit) in DIGITS {
            while rest >= value {
                text.push_str(digit);
                rest -= value;
            }
        }
    } else {
        text = "#".repeat(ROMAN_WIDTH);
    }
    Number { text, negative: false, missing: 0, post: 0 }
}

/// A number on its way through a template.
struct Writer<'a> {
    t: &'a Template,
    number: &'a [u8],
    /// Position in the number.
    at: usize,
    negative: bool,
    missing: usize,
    post: usize,
    bracket: bool,
    sign_place: SignPlace,
    sign_written: bool,
    zero_start: usize,
    /// Position of the last digit that `FM` keeps, or of the point.
    last: Option<usize>,
    /// Digits and points so far.
    count: usize,
    /// How many there will be.
    end: usize,
    /// Whether a digit was written.
    inside: bool,
    out: &'a mut String,
}

fn follow(t: &Template, number: Number, out: &mut String) -> Result<(), SqlError> {
    let pre = if t.roman { 0 } else { t.pre + t.multi };
    let plus = !number.negative;
    let mut w = Writer {
        t,
        number: number.text.as_bytes(),
        at: 0,
        negative: number.negative,
        missing: number.missing,
        post: number.post,
        bracket: t.bracket && !(plus && t.fill) && !t.roman,
        sign_place: t.sign_place,
        sign_written: plus && t.fill && !t.sign,
        zero_start: t.zero_start.saturating_sub(1),
        last: None,
        count: 0,
        end: 0,
        inside: false,
        out,
    };
    if t.plus || t.minus {
        // MI and SG write it themselves.
        w.sign_written = t.minus;
        w.bracket = t.bracket;
    } else if t.sign_place == SignPlace::Before && pre == t.pre_sign {
        w.sign_place = SignPlace::Behind;
    }
    if t.fill && t.has_point {
        w.last = w.last_relevant();
    }
    let mut digits = (number.post + pre) as i64 - 1;
    if !w.sign_written && w.missing == 0 {
        digits += 1;
    }
    w.end = (digits + i64::from(w.missing > 0) + i64::from(t.has_point)).max(0) as usize;
    let start = w.out.len();
    for node in &t.nodes {
        match node {
            Node::Literal(c) => w.out.push(*c),
            Node::Pattern(p) => w.pattern(*p)?,
        }
    }
    // What has run out of digits ends there.
    if let Some(cut) = w.out[start..].find('\0') {
        w.out.truncate(start + cut);
    }
    Ok(())
}

impl Writer<'_> {
    /// The last decimal that is not zero, or the point; further where the template has a `0`.
    fn last_relevant(&self) -> Option<usize> {
        let point = self.number.iter().position(|b| *b == b'.')?;
        let last = self.number.iter().rposition(|b| *b != b'0').filter(|last| *last > point).unwrap_or(point);
        match self.t.zero_end.checked_sub(self.missing) {
            Some(zero @ 1..) => Some(last.max(zero.min(self.number.len() - 1))),
            _ => Some(last),
        }
    }

    fn digit_at(&self) -> u8 {
        self.number.get(self.at).copied().unwrap_or(0)
    }

    /// The one zero before the point, which a template without `0` leaves out.
    fn is_hidden_zero(&self) -> bool {
        !self.t.has_zero && self.at == 0 && self.number.first() == Some(&b'0') && self.post != 0 && !self.t.roman
    }

    fn keeps_only_point(&self) -> bool {
        self.last.is_some_and(|last| self.number[last] == b'.')
    }

    fn pattern(&mut self, pattern: Pattern) -> Result<(), SqlError> {
        match pattern {
            Pattern::Nine | Pattern::Zero | Pattern::Point | Pattern::LocalePoint => self.digit(pattern),
            Pattern::Comma | Pattern::Group if self.inside => self.out.push(','),
            Pattern::Comma | Pattern::Group => self.space(),
            Pattern::Currency => self.out.push(' '),
            Pattern::RomanUpper | Pattern::RomanLower => self.roman(pattern == Pattern::RomanLower),
            Pattern::OrdinalUpper | Pattern::OrdinalLower => self.ordinal(pattern == Pattern::OrdinalUpper)?,
            Pattern::Minus if self.negative => self.out.push('-'),
            Pattern::Plus if !self.negative => self.out.push('+'),
            Pattern::Minus | Pattern::Plus => self.space(),
            Pattern::SignedGlyph => self.out.push(if self.negative { '-' } else { '+' }),
            Pattern::Mark => {}
        }
        Ok(())
    }

    /// A space, which `FM` leaves out.
    fn space(&mut self) {
        if !self.t.fill {
            self.out.push(' ');
        }
    }

    fn roman(&mut self, lower: bool) {
        let text: String = self.number.iter().map(|b| *b as char).collect();
        let text = if lower { text.to_ascii_lowercase() } else { text };
        match self.t.fill {
            true => self.out.push_str(&text),
            false => self.out.push_str(&format!("{text:>ROMAN_WIDTH$}")),
        }
    }

    fn ordinal(&mut self, upper: bool) -> Result<(), SqlError> {
        if self.t.roman || self.number.first() == Some(&b'#') || self.negative || self.t.has_point {
            return Ok(());
        }
        let last = self.number.last().copied().unwrap_or(0);
        if !last.is_ascii_digit() {
            let text = String::from_utf8_lossy(self.number);
            return Err(SqlError::new(SqlState::INVALID_TEXT, format!("\"{text}\" is not a number")));
        }
        let teens = self.number.len() > 1 && self.number[self.number.len() - 2] == b'1';
        let suffix = match last {
            b'1' if !teens => "st",
            b'2' if !teens => "nd",
            b'3' if !teens => "rd",
            _ => "th",
        };
        self.out.push_str(&if upper { suffix.to_ascii_uppercase() } else { suffix.to_string() });
        Ok(())
    }

    fn sign_glyph(&self) -> char {
        if self.negative { '-' } else { '+' }
    }

    /// The sign, before the first digit that is written.
    fn sign(&mut self) {
        let begins = self.count >= self.missing || (self.t.has_zero && self.zero_start == self.count);
        if self.sign_written || !begins || (self.is_hidden_zero() && !self.keeps_only_point()) {
            return;
        }
        if self.t.sign {
            if self.sign_place != SignPlace::Before {
                return;
            }
            self.out.push(self.sign_glyph());
        } else if self.bracket {
            self.out.push(if self.negative { '<' } else { ' ' });
        } else if self.negative {
            self.out.push('-');
        } else {
            self.space();
        }
        self.sign_written = true;
    }

    fn digit(&mut self, pattern: Pattern) {
        if self.t.roman {
            return;
        }
        self.inside = false;
        self.sign();
        if self.count < self.missing && (self.zero_start > self.count || !self.t.has_zero) {
            self.space();
        } else if self.count < self.missing {
            self.out.push('0');
            self.inside = true;
        } else {
            self.next_digit(pattern);
        }
        let end = if self.last == Some(self.at) { self.count } else { self.end };
        if self.count + 1 == end {
            if self.sign_written && self.bracket {
                self.out.push(if self.negative { '>' } else { ' ' });
            } else if self.t.sign && self.sign_place == SignPlace::Behind {
                self.out.push(self.sign_glyph());
            }
        }
        self.count += 1;
    }

    fn next_digit(&mut self, pattern: Pattern) {
        let digit = self.digit_at();
        if digit == b'.' {
            self.out.push('.');
        } else if self.last.is_some_and(|last| self.at > last) && pattern != Pattern::Zero {
            // FM drops it.
        } else if self.is_hidden_zero() {
            if !self.t.fill {
                self.out.push(' ');
            } else if self.keeps_only_point() {
                self.out.push('0');
            }
        } else {
            self.out.push(digit as char);
            self.inside = true;
        }
        if self.at < self.number.len() {
            self.at += 1;
        }
    }
}
