//! Cuts a text into fields, by their characters alone.

use super::words::{Word, word};
use super::{Fault, Read};
use crate::text::trim;

/// What a field's characters look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::text) enum Kind {
    /// Digits, perhaps with a fraction.
    Number,
    /// Numbers or words with separators between: a date, or a zone's name.
    Date,
    /// Digits with colons.
    Time,
    /// A sign and digits: an offset.
    Zone,
    /// Letters.
    Word,
    /// A sign and letters.
    Special,
}

/// Most fields of a text.
const FIELDS_MAX: usize = 25;

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn skip(&mut self, while_: impl Fn(u8) -> bool) {
        while self.at < self.bytes.len() && while_(self.peek()) {
            self.at += 1;
        }
    }

    /// A field that starts with a digit.
    fn digits(&mut self) -> Kind {
        self.skip(|b| b.is_ascii_digit());
        match self.peek() {
            b':' => {
                self.skip(|b| b.is_ascii_digit() || b == b':' || b == b'.');
                Kind::Time
            }
            delimiter @ (b'-' | b'/' | b'.') => {
                self.at += 1;
                if !self.peek().is_ascii_digit() {
                    self.skip(|b| b.is_ascii_alphanumeric() || b == delimiter);
                    return if self.bytes[self.at - 1] == b'.' { Kind::Number } else { Kind::Date };
                }
                self.skip(|b| b.is_ascii_digit());
                if self.peek() == delimiter {
                    self.skip(|b| b.is_ascii_digit() || b == delimiter);
                    return Kind::Date;
                }
                if delimiter == b'.' { Kind::Number } else { Kind::Date }
            }
            _ => Kind::Number,
        }
    }

    /// A field that starts with a letter.
    fn letters(&mut self, start: usize) -> Kind {
        self.skip(|b| b.is_ascii_alphabetic());
        let joined = match self.peek() {
            b'-' | b'/' | b'.' => true,
            // A word of dates before digits stands alone, as in `J2460370` or `T12:00`.
            b if b == b'+' || b.is_ascii_digit() => {
                let name = String::from_utf8_lossy(&self.bytes[start..self.at]).to_ascii_lowercase();
                word(&name) == Word::Unknown
            }
            _ => false,
        };
        if !joined {
            return Kind::Word;
        }
        self.skip(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'/' | b'_' | b'.' | b':'));
        Kind::Date
    }
}

/// The fields of a text, in lower case. An empty text has none.
pub(in crate::text) fn fields(s: &str) -> Read<Vec<(Kind, String)>> {
    let body = trim(s);
    let mut cursor = Cursor { bytes: body.as_bytes(), at: 0 };
    let mut found = vec![];
    while cursor.at < cursor.bytes.len() {
        let mut start = cursor.at;
        let kind = match cursor.peek() {
            b if b.is_ascii_whitespace() || b == b'\x0b' => {
                cursor.at += 1;
                continue;
            }
            b if b.is_ascii_digit() => cursor.digits(),
            b'.' => {
                cursor.at += 1;
                cursor.skip(|b| b.is_ascii_digit());
                Kind::Number
            }
            b if b.is_ascii_alphabetic() => cursor.letters(start),
            sign @ (b'+' | b'-') => {
                cursor.at += 1;
                cursor.skip(|b| b.is_ascii_whitespace());
                start = cursor.at;
                let kind = match cursor.peek() {
                    b if b.is_ascii_digit() => {
                        cursor.skip(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'-'));
                        Kind::Zone
                    }
                    b if b.is_ascii_alphabetic() => {
                        cursor.skip(|b| b.is_ascii_alphabetic());
                        Kind::Special
                    }
                    _ => return Err(Fault::Syntax),
                };
                let text = &body[start..cursor.at];
                found.push((kind, format!("{}{}", sign as char, text.to_ascii_lowercase())));
                continue;
            }
            b if b.is_ascii_punctuation() => {
                cursor.at += 1;
                continue;
            }
            _ => return Err(Fault::Syntax),
        };
        found.push((kind, body[start..cursor.at].to_ascii_lowercase()));
        if found.len() > FIELDS_MAX {
            return Err(Fault::Syntax);
        }
    }
    Ok(found)
}
