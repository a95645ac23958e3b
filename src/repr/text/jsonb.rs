//! jsonb: its canonical text. Keys are sorted by length, then bytes, the last of equal ones wins; `", "` and `": "`
//! separate; numbers are written without exponents, as PostgreSQL's numeric prints them.

use crate::error::{SqlError, SqlState};
use std::collections::BTreeMap;
use std::fmt::Write;

/// How deep arrays and objects may nest: well within a thread's stack.
const DEPTH_MAX: usize = 512;
/// Most digits a number may have on either side of the point once its exponent is written out.
const DIGITS_MAX: usize = 16_383;

struct Reader<'a> {
    input: &'a str,
    at: usize,
    depth: usize,
}

/// The canonical text of a JSON text; `22P02` for anything else.
pub fn jsonb_canonical(s: &str) -> Result<String, SqlError> {
    let mut reader = Reader { input: s, at: 0, depth: 0 };
    let mut out = String::with_capacity(s.len() + 16);
    reader.value(&mut out)?;
    reader.blanks();
    match reader.peek() {
        None => Ok(out),
        Some(_) => Err(reader.unexpected("end of input")),
    }
}

/// A JSON text as it is, where it is one: what only jsonb refuses (numbers out of its range, `\u0000`) is let through.
pub(super) fn checked(s: &str) -> Result<String, SqlError> {
    match jsonb_canonical(s) {
        Err(e) if !matches!(e.code.as_str(), "22P05" | "22003") => Err(e),
        _ => Ok(s.to_string()),
    }
}

/// Appends a JSON string literal as PostgreSQL escapes it.
pub fn write_string(s: &str, out: &mut String) {
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => write!(out, "\\u{:04x}", c as u32).expect("writing to a string does not fail"),
            c => out.push(c),
        }
    }
    out.push('"');
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.input.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn error(&self, detail: impl Into<String>) -> SqlError {
        SqlError::new(SqlState::INVALID_TEXT, "invalid input syntax for type json").detail(detail)
    }

    /// The error at the present place.
    fn unexpected(&self, expected: &str) -> SqlError {
        let rest = &self.input[self.at..];
        if rest.is_empty() {
            return self.error("The input string ended unexpectedly.");
        }
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
        let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
        let token = if end == 0 { rest.chars().next().map_or("", |c| &rest[..c.len_utf8()]) } else { &rest[..end] };
        let structural = matches!(token, "{" | "}" | "[" | "]" | ":" | "," | "\"")
            || token.starts_with(|c: char| c.is_ascii_digit());
        match structural {
            true => self.error(format!("Expected {expected}, but found \"{token}\".")),
            false => self.error(format!("Token \"{token}\" is invalid.")),
        }
    }

    fn value(&mut self, out: &mut String) -> Result<(), SqlError> {
        self.blanks();
        match self.peek() {
            Some(b'{') => self.nested(|r| r.object(out)),
            Some(b'[') => self.nested(|r| r.array(out)),
            Some(b'"') => {
                let s = self.string()?;
                write_string(&s, out);
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => self.number(out),
            _ => {
                for word in ["true", "false", "null"] {
                    let after = self.input[self.at..].strip_prefix(word);
                    if after.is_some_and(|a| !a.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')) {
                        self.at += word.len();
                        out.push_str(word);
                        return Ok(());
                    }
                }
                Err(self.unexpected("JSON value"))
            }
        }
    }

    fn nested(&mut self, body: impl FnOnce(&mut Self) -> Result<(), SqlError>) -> Result<(), SqlError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(SqlError::new(SqlState::LIMIT_EXCEEDED, "JSON is nested too deeply")
                .detail(format!("Arrays and objects may nest {DEPTH_MAX} deep.")));
        }
        self.at += 1;
        body(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self, out: &mut String) -> Result<(), SqlError> {
        out.push('[');
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            out.push(']');
            return Ok(());
        }
        loop {
            self.value(out)?;
            self.blanks();
            match self.peek() {
                Some(b',') => out.push_str(", "),
                Some(b']') => {
                    self.at += 1;
                    out.push(']');
                    return Ok(());
                }
                _ => return Err(self.unexpected("\",\" or \"]\"")),
            }
            self.at += 1;
        }
    }

    fn object(&mut self, out: &mut String) -> Result<(), SqlError> {
        let mut members: BTreeMap<(usize, String), String> = BTreeMap::new();
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            out.push_str("{}");
            return Ok(());
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected(if members.is_empty() { "string or \"}\"" } else { "string" }));
            }
            let key = self.string()?;
            self.blanks();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("\":\""));
            }
            self.at += 1;
            let mut value = String::new();
            self.value(&mut value)?;
            members.insert((key.len(), key), value);
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.unexpected("\",\" or \"}\"")),
            }
        }
        self.at += 1;
        for (i, ((_, key), value)) in members.iter().enumerate() {
            out.push_str(if i == 0 { "{" } else { ", " });
            write_string(key, out);
            out.push_str(": ");
            out.push_str(value);
        }
        out.push('}');
        Ok(())
    }

    /// A string literal, unescaped.
    fn string(&mut self) -> Result<String, SqlError> {
        let start = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.input[self.at..];
            let end = rest
                .find(|c: char| c == '"' || c == '\\' || c < ' ')
                .ok_or_else(|| self.error(format!("Token \"{}\" is invalid.", &self.input[start..])))?;
            out.push_str(&rest[..end]);
            self.at += end;
            match rest.as_bytes()[end] {
                b'"' => {
                    self.at += 1;
                    return Ok(out);
                }
                b'\\' => out.push(self.escape()?),
                b => return Err(self.error(format!("Character with value 0x{b:02x} must be escaped."))),
            }
        }
    }

    fn escape(&mut self) -> Result<char, SqlError> {
        let c = self.input.as_bytes().get(self.at + 1).copied();
        self.at += 2;
        Ok(match c {
            Some(c @ (b'"' | b'\\' | b'/')) => c as char,
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            Some(_) => {
                let shown = self.input[self.at - 1..].chars().next().unwrap_or('\\');
                return Err(self.error(format!("Escape sequence \"\\{shown}\" is invalid.")));
            }
            None => return Err(self.error("The input string ended unexpectedly.")),
        })
    }

    fn hex4(&mut self) -> Result<u32, SqlError> {
        let digits = self.input.as_bytes().get(self.at..self.at + 4);
        let digits = digits.filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        let value = digits.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u32::from_str_radix(d, 16).ok());
        self.at += 4;
        value.ok_or_else(|| self.error("\"\\u\" must be followed by four hexadecimal digits."))
    }

    fn unicode(&mut self) -> Result<char, SqlError> {
        let high = self.hex4()?;
        match high {
            0 => Err(SqlError::new(SqlState::new("22P05"), "unsupported Unicode escape sequence")
                .detail("\\u0000 cannot be converted to text.")),
            0xD800..0xDC00 => {
                if self.input.as_bytes().get(self.at..self.at + 2) != Some(b"\\u") {
                    return Err(self.error("Unicode low surrogate must follow a high surrogate."));
                }
                self.at += 2;
                let low = self.hex4()?;
                (0xDC00..0xE000)
                    .contains(&low)
                    .then(|| char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)))
                    .flatten()
                    .ok_or_else(|| self.error("Unicode low surrogate must follow a high surrogate."))
            }
            _ => char::from_u32(high).ok_or_else(|| self.error("Unicode low surrogate must follow a high surrogate.")),
        }
    }

    /// Takes digits; an error where there is none.
    fn digits(&mut self, start: usize) -> Result<&'a str, SqlError> {
        let from = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if from == self.at {
            self.at = start;
            let rest = &self.input[start..];
            let end =
                rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.'))).unwrap_or(rest.len());
            return Err(self.error(format!("Token \"{}\" is invalid.", &rest[..end])));
        }
        Ok(&self.input[from..self.at])
    }

    fn number(&mut self, out: &mut String) -> Result<(), SqlError> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let whole = self.digits(start)?.to_string();
        if whole.len() > 1 && whole.starts_with('0') {
            return Err(self.error(format!("Token \"{}\" is invalid.", &self.input[start..self.at])));
        }
        let mut decimals = String::new();
        if self.peek() == Some(b'.') {
            self.at += 1;
            decimals = self.digits(start)?.to_string();
        }
        let mut exponent = 0i64;
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            let minus = self.peek() == Some(b'-');
            self.at += usize::from(matches!(self.peek(), Some(b'-' | b'+')));
            let digits = self.digits(start)?;
            exponent = digits.parse().unwrap_or(i64::MAX);
            exponent = if minus { -exponent } else { exponent };
        }
        if self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'+' | b'-')) {
            let rest = &self.input[start..];
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_.+-".contains(c))).unwrap_or(rest.len());
            return Err(self.error(format!("Token \"{}\" is invalid.", &rest[..end])));
        }
        write_number(negative, &whole, &decimals, exponent, out)
    }
}

/// Writes a number without exponent; zero has no sign.
fn write_number(negative: bool, whole: &str, decimals: &str, exponent: i64, out: &mut String) -> Result<(), SqlError> {
    let overflow = || SqlError::new(SqlState::OUT_OF_RANGE, "value overflows numeric format");
    let digits = format!("{whole}{decimals}");
    let zero = digits.bytes().all(|b| b == b'0');
    let scale = (decimals.len() as i64).checked_sub(exponent).ok_or_else(overflow)?;
    if scale > DIGITS_MAX as i64 || (scale < -(DIGITS_MAX as i64) && !zero) {
        return Err(overflow());
    }
    let mut digits = digits;
    if scale < 0 && !zero {
        digits.extend(std::iter::repeat_n('0', scale.unsigned_abs() as usize));
    }
    let scale = scale.max(0) as usize;
    if digits.len() <= scale {
        digits.insert_str(0, &"0".repeat(scale + 1 - digits.len()));
    }
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let whole = whole.trim_start_matches('0');
    if negative && !zero {
        out.push('-');
    }
    out.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        out.push('.');
        out.push_str(fraction);
    }
    Ok(())
}
