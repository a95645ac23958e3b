//! `to_number`: text read by a template.

use super::template::{Node, Pattern, SignPlace, Template};
use hw_repr::numeric::{Numeric, math};
use hw_repr::{SqlError, SqlState};

/// A text on its way through a template.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    template: &'a Template,
    /// ' ' until a sign was read.
    sign: u8,
    digits: String,
    pre: usize,
    post: usize,
    point: bool,
}

/// The number; `None` for an empty template. `22P02` where there are no digits, `22003` where there are too many.
pub(super) fn number(text: &str, template: &Template) -> Result<Option<Numeric>, SqlError> {
    if template.nodes.is_empty() {
        return Ok(None);
    }
    if template.scientific {
        return Err(SqlError::unsupported("\"EEEE\" not supported for input"));
    }
    if template.roman {
        return Err(SqlError::unsupported("\"RN\" not supported for input"));
    }
    let mut r = Reader {
        text: text.as_bytes(),
        at: 0,
        template,
        sign: b' ',
        digits: String::new(),
        pre: 0,
        post: 0,
        point: false,
    };
    for node in &template.nodes {
        if r.ended() {
            break;
        }
        match node {
            Node::Literal(_) => r.skip_char(),
            Node::Pattern(pattern) => r.pattern(*pattern),
        }
    }
    r.finish().map(Some)
}

impl Reader<'_> {
    fn ended(&self) -> bool {
        self.at >= self.text.len()
    }

    fn current(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    /// One character of however many bytes.
    fn skip_char(&mut self) {
        self.at += 1;
        while self.text.get(self.at).is_some_and(|b| b & 0xC0 == 0x80) {
            self.at += 1;
        }
    }

    /// Up to `n` characters that cannot belong to a number.
    fn skip_other(&mut self, n: usize) {
        for _ in 0..n {
            if self.ended() || b"0123456789.,+-".contains(&self.current()) {
                break;
            }
            self.skip_char();
        }
    }

    fn pattern(&mut self, pattern: Pattern) {
        let current = self.current();
        match pattern {
            Pattern::Nine | Pattern::Zero => {
                self.digit(true);
                self.at += 1;
            }
            Pattern::Point | Pattern::LocalePoint => {
                self.digit(false);
                self.at += 1;
            }
            Pattern::Comma | Pattern::Group => {
                if !self.template.fill && current == b',' {
                    self.at += 1;
                }
            }
            Pattern::Currency => self.skip_other(1),
            Pattern::OrdinalUpper | Pattern::OrdinalLower => {
                if self.sign != b'-' && !self.template.has_point {
                    self.skip_other(2);
                }
            }
            Pattern::Minus if current == b'-' => self.take_sign(current),
            Pattern::Plus if current == b'+' => self.take_sign(current),
            Pattern::SignedGlyph if matches!(current, b'-' | b'+') => self.take_sign(current),
            Pattern::Minus | Pattern::Plus | Pattern::SignedGlyph => self.skip_other(1),
            Pattern::RomanUpper | Pattern::RomanLower | Pattern::Mark => {}
        }
    }

    fn take_sign(&mut self, sign: u8) {
        self.sign = sign;
        self.at += 1;
    }

    /// A digit or the point, with a sign before or behind it. Leaves the position on the last character that was read.
    fn digit(&mut self, of_digit: bool) {
        if self.current() == b' ' {
            self.at += 1;
        }
        if self.ended() {
            return;
        }
        if self.sign == b' ' && of_digit && self.pre + self.post == 0 {
            self.leading_sign();
        }
        if self.ended() {
            return;
        }
        let current = self.current();
        let mut read = false;
        if current.is_ascii_digit() {
            if self.point && self.post == self.template.post {
                return;
            }
            self.digits.push(current as char);
            *(if self.point { &mut self.post } else { &mut self.pre }) += 1;
            read = true;
        } else if self.template.has_point && !self.point && current == b'.' {
            self.digits.push('.');
            self.point = true;
            read = true;
        }
        if self.sign == b' ' && self.pre + self.post > 0 {
            self.trailing_sign(read);
        }
    }

    fn leading_sign(&mut self) {
        let current = self.current();
        let t = self.template;
        if t.sign && t.sign_place != SignPlace::Before {
            // The locale's sign is only looked for where `S` is.
            if !matches!(current, b'-' | b'+') {
                return;
            }
        }
        match current {
            b'-' => self.take_sign(b'-'),
            b'<' if t.bracket => self.take_sign(b'-'),
            b'+' => self.take_sign(b'+'),
            _ => {}
        }
    }

    fn trailing_sign(&mut self, read: bool) {
        let t = self.template;
        if t.sign && read {
            if let Some(next @ (b'-' | b'+')) = self.text.get(self.at + 1) {
                self.sign = *next;
                self.at += 1;
            }
        } else if !read && !t.sign && (t.plus || t.minus) && matches!(self.current(), b'-' | b'+') {
            self.sign = self.current();
        }
    }

    fn finish(self) -> Result<Numeric, SqlError> {
        let t = self.template;
        let digits = self.digits.strip_suffix('.').unwrap_or(&self.digits);
        let number = Numeric::parse(&format!("{}{digits}", self.sign as char))?;
        let whole = t.pre + t.multi;
        let number = number.round(self.post as i32)?;
        let bound = Numeric::parse(&format!("1e{whole}"))?;
        if number.abs().cmp_value(&bound).is_ge() {
            let bound = if whole == 0 { "1".to_string() } else { format!("10^{whole}") };
            return Err(SqlError::new(SqlState::OUT_OF_RANGE, "numeric field overflow").detail(format!(
                "A field with precision {}, scale {} must round to an absolute value less than {bound}.",
                whole + self.post,
                self.post
            )));
        }
        if !t.has_v {
            return Ok(number);
        }
        number.mul(&math::power(&Numeric::from_i64(10), &Numeric::from_i64(-(t.multi as i64)))?)
    }
}
