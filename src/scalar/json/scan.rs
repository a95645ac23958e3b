//! Reading JSON text without building a tree: a value is a slice of its document.
//!
//! Precondition throughout: the text is one valid JSON value, as jsonb and json columns hold it; blanks may stand
//! between tokens. What is not valid gives no error but some value.

use super::Doc;
use hw_repr::{SqlError, SqlState};
use std::borrow::Cow;

fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r')
}

fn skip_blanks(s: &[u8], mut at: usize) -> usize {
    while s.get(at).is_some_and(|b| is_blank(*b)) {
        at += 1;
    }
    at
}

/// Behind the string that begins at `at`.
fn string_end(s: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while at < s.len() {
        match s[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    s.len()
}

/// Behind the value that begins at `at`.
fn value_end(s: &[u8], mut at: usize) -> usize {
    match s.get(at) {
        Some(b'"') => string_end(s, at),
        Some(b'{' | b'[') => {
            let mut depth = 0usize;
            while at < s.len() {
                match s[at] {
                    b'"' => {
                        at = string_end(s, at);
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return at + 1;
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
            s.len()
        }
        _ => {
            while at < s.len() && !matches!(s[at], b',' | b']' | b'}' | b':') && !is_blank(s[at]) {
                at += 1;
            }
            at
        }
    }
}

/// The elements of an array, or of an object as pairs; see [`elements`] and [`members`].
struct Items<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Items<'a> {
    fn of(doc: Doc<'a>) -> Items<'a> {
        Items { text: doc.0, at: 1 }
    }

    /// The next value, unless the container ends here.
    fn next(&mut self) -> Option<&'a str> {
        let s = self.text.as_bytes();
        let mut at = skip_blanks(s, self.at);
        if matches!(s.get(at), Some(b',' | b':')) {
            at = skip_blanks(s, at + 1);
        }
        if matches!(s.get(at), None | Some(b']' | b'}')) {
            return None;
        }
        let end = value_end(s, at);
        if end == at {
            return None;
        }
        self.at = end;
        Some(&self.text[at..end])
    }
}

/// The elements of an array; none of any other value.
pub(crate) fn elements<'a>(doc: Doc<'a>) -> impl Iterator<Item = Doc<'a>> {
    let mut items = doc.is_array().then(|| Items::of(doc));
    std::iter::from_fn(move || items.as_mut()?.next().map(Doc))
}

/// The keys, quoted as they stand there, and values of an object; none of any other value.
pub(crate) fn members<'a>(doc: Doc<'a>) -> impl Iterator<Item = (&'a str, Doc<'a>)> {
    let mut items = doc.is_object().then(|| Items::of(doc));
    std::iter::from_fn(move || {
        let items = items.as_mut()?;
        let key = items.next()?;
        Some((key, Doc(items.next()?)))
    })
}

/// The text that a quoted string stands for. Errors: 22P05 for a character that no text can hold.
pub(crate) fn unquote(quoted: &str) -> Result<Cow<'_, str>, SqlError> {
    let body = quoted.strip_prefix('"').and_then(|s| s.strip_suffix('"')).unwrap_or(quoted);
    if !body.contains('\\') {
        return Ok(Cow::Borrowed(body));
    }
    let mut out = String::with_capacity(body.len());
    let mut units: Vec<u16> = vec![];
    let mut rest = body;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        if !before.is_empty() || !escape.starts_with("\\u") {
            units.clear();
        }
        out.push_str(before);
        let mut taken = 2;
        match escape.as_bytes().get(1) {
            Some(b'n') => out.push('\n'),
            Some(b'r') => out.push('\r'),
            Some(b't') => out.push('\t'),
            Some(b'b') => out.push('\u{8}'),
            Some(b'f') => out.push('\u{c}'),
            Some(b'u') => {
                taken = 6;
                let code = escape.get(2..6).and_then(|h| u16::from_str_radix(h, 16).ok()).unwrap_or(0);
                if code == 0 {
                    return Err(SqlError::new(SqlState::new("22P05"), "unsupported Unicode escape sequence")
                        .detail("\\u0000 cannot be converted to text."));
                }
                units.push(code);
                if !(0xd800..0xdc00).contains(&code) {
                    out.extend(char::decode_utf16(units.drain(..)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
                }
            }
            Some(other) => out.push(*other as char),
            None => break,
        }
        rest = &escape[taken.min(escape.len())..];
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}
