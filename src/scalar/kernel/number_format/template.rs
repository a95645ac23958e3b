//! What a template of a number says.

use super::malformed;
use hw_repr::SqlError;

/// A pattern of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Comma,
    Point,
    LocalePoint,
    Zero,
    Nine,
    Group,
    Currency,
    Minus,
    Plus,
    SignedGlyph,
    RomanUpper,
    RomanLower,
    OrdinalUpper,
    OrdinalLower,
    /// Says something of the whole template, and stands for nothing where it is.
    Mark,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Pattern(Pattern),
    Literal(char),
}

/// Where `S` puts the sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignPlace {
    None,
    Before,
    Behind,
}

/// A template, read.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pub nodes: Vec<Node>,
    /// Digits before the point.
    pub pre: usize,
    /// Digits after it.
    pub post: usize,
    /// Digits after `V`.
    pub multi: usize,
    /// Position of the first `0`, from 1; 0 for none.
    pub zero_start: usize,
    /// Position of the last `0`.
    pub zero_end: usize,
    /// Digits before `S`.
    pub pre_sign: usize,
    pub sign_place: SignPlace,
    pub has_zero: bool,
    pub has_point: bool,
    pub has_v: bool,
    pub fill: bool,
    pub sign: bool,
    pub minus: bool,
    pub plus: bool,
    pub bracket: bool,
    pub roman: bool,
    pub scientific: bool,
    blank: bool,
}

/// Keywords, longer before their prefixes; each also in lower case.
const KEYWORDS: [&str; 20] =
    [",", ".", "0", "9", "B", "C", "D", "EEEE", "FM", "G", "L", "MI", "PL", "PR", "RN", "SG", "SP", "S", "TH", "V"];

impl Template {
    /// `42601` where patterns do not go together.
    pub fn parse(text: &str) -> Result<Template, SqlError> {
        let mut t = Template {
            nodes: vec![],
            pre: 0,
            post: 0,
            multi: 0,
            zero_start: 0,
            zero_end: 0,
            pre_sign: 0,
            sign_place: SignPlace::None,
            has_zero: false,
            has_point: false,
            has_v: false,
            fill: false,
            sign: false,
            minus: false,
            plus: false,
            bracket: false,
            roman: false,
            scientific: false,
            blank: false,
        };
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if let Some((keyword, lower)) = keyword(rest) {
                t.add(keyword, lower)?;
                rest = &rest[keyword.len()..];
            } else if c == '"' {
                rest = t.quoted(&rest[1..]);
            } else {
                // A backslash makes a quotation mark a character of its own.
                let c = if rest.starts_with("\\\"") { '"' } else { c };
                rest = rest.strip_prefix('\\').filter(|_| c == '"').unwrap_or(rest);
                t.nodes.push(Node::Literal(c));
                rest = &rest[c.len_utf8()..];
            }
        }
        Ok(t)
    }

    /// Literal text up to the closing quotation mark; gives what follows.
    fn quoted<'a>(&mut self, text: &'a str) -> &'a str {
        let mut chars = text.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return &text[at + 1..],
                '\\' => self.nodes.extend(chars.next().map(|(_, c)| Node::Literal(c))),
                _ => self.nodes.push(Node::Literal(c)),
            }
        }
        ""
    }

    fn add(&mut self, keyword: &str, lower: bool) -> Result<(), SqlError> {
        if self.scientific && keyword != "EEEE" {
            return Err(malformed("\"EEEE\" must be the last pattern used"));
        }
        let pattern = match keyword {
            "," => Pattern::Comma,
            "9" => self.digit(Pattern::Nine)?,
            "0" => self.digit(Pattern::Zero)?,
            "." => self.point(Pattern::Point)?,
            "D" => self.point(Pattern::LocalePoint)?,
            "G" => Pattern::Group,
            "L" => Pattern::Currency,
            "MI" | "PL" | "SG" | "S" | "PR" => self.signed(keyword)?,
            "RN" => {
                self.roman = true;
                if lower { Pattern::RomanLower } else { Pattern::RomanUpper }
            }
            "TH" if lower => Pattern::OrdinalLower,
            "TH" => Pattern::OrdinalUpper,
            "EEEE" => self.exponent()?,
            "V" if self.has_point => return Err(malformed("cannot use \"V\" and decimal point together")),
            "V" => {
                self.has_v = true;
                Pattern::Mark
            }
            "FM" => {
                self.fill = true;
                Pattern::Mark
            }
            "B" => {
                self.blank |= self.pre == 0 && self.post == 0 && !self.has_zero;
                Pattern::Mark
            }
            _ => Pattern::Mark,
        };
        self.nodes.push(Node::Pattern(pattern));
        Ok(())
    }

    fn digit(&mut self, pattern: Pattern) -> Result<Pattern, SqlError> {
        let zero = pattern == Pattern::Zero;
        if self.bracket {
            let digit = if zero { "0" } else { "9" };
            return Err(malformed(&format!("\"{digit}\" must be ahead of \"PR\"")));
        }
        if !zero && self.has_v {
            self.multi += 1;
            return Ok(pattern);
        }
        if zero && !self.has_zero && !self.has_point {
            self.has_zero = true;
            self.zero_start = self.pre + 1;
        }
        *(if self.has_point { &mut self.post } else { &mut self.pre }) += 1;
        if zero {
            self.zero_end = self.pre + self.post;
        }
        Ok(pattern)
    }

    fn point(&mut self, pattern: Pattern) -> Result<Pattern, SqlError> {
        if self.has_point {
            return Err(malformed("multiple decimal points"));
        }
        if self.has_v {
            return Err(malformed("cannot use \"V\" and decimal point together"));
        }
        self.has_point = true;
        Ok(pattern)
    }

    fn signed(&mut self, keyword: &str) -> Result<Pattern, SqlError> {
        match keyword {
            "S" => {
                if self.sign {
                    return Err(malformed("cannot use \"S\" twice"));
                }
                if self.plus || self.minus || self.bracket {
                    return Err(malformed("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together"));
                }
                self.sign = true;
                self.sign_place = if self.has_point { SignPlace::Behind } else { SignPlace::Before };
                if !self.has_point {
                    self.pre_sign = self.pre;
                }
                Ok(Pattern::Mark)
            }
            "PR" => {
                if self.sign || self.plus || self.minus {
                    return Err(malformed("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together"));
                }
                self.bracket = true;
                Ok(Pattern::Mark)
            }
            _ if self.sign => Err(malformed(&format!("cannot use \"S\" and \"{keyword}\" together"))),
            "MI" => {
                self.minus = true;
                Ok(Pattern::Minus)
            }
            "PL" => {
                self.plus = true;
                Ok(Pattern::Plus)
            }
            _ => {
                (self.minus, self.plus) = (true, true);
                Ok(Pattern::SignedGlyph)
            }
        }
    }

    fn exponent(&mut self) -> Result<Pattern, SqlError> {
        if self.scientific {
            return Err(malformed("cannot use \"EEEE\" twice"));
        }
        let others = [self.blank, self.fill, self.sign, self.bracket, self.minus, self.plus, self.roman, self.has_v];
        if others.contains(&true) {
            return Err(malformed("\"EEEE\" is incompatible with other formats")
                .detail("\"EEEE\" may only be used together with digit and decimal point patterns."));
        }
        self.scientific = true;
        Ok(Pattern::Mark)
    }
}

/// The keyword at the start of `text`, and whether it is spelled in lower case; mixed case is none.
fn keyword(text: &str) -> Option<(&'static str, bool)> {
    KEYWORDS.iter().find_map(|k| {
        let head = text.get(..k.len())?;
        match () {
            () if head == *k => Some((*k, false)),
            () if head.eq_ignore_ascii_case(k) && !head.bytes().any(|b| b.is_ascii_uppercase()) => Some((*k, true)),
            () => None,
        }
    })
}
