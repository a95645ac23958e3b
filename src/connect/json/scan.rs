//! One pass over the text of a JSON object: checks the grammar (RFC 8259) and reports the top-level fields as spans.
//!
//! Nothing is copied, and numbers stay text, so that no digit is lost on the way to `numeric` or `jsonb`. The cost is
//! in strings, so plain characters are skipped 32 at a time in a loop that the compiler turns into vector
//! instructions.
//!
//! Not done here: UTF-8 (checked once for the whole message before), escapes (see [`unescape`]), what a value means.

/// Objects and arrays inside each other; deeper is refused.
pub const DEPTH_MAX: usize = 128;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not in the object at all.
    Missing,
    /// `null`
    Null,
    /// `true`
    True,
    /// `false`
    False,
    /// A number; the span is its text.
    Number,
    /// A string without escapes; the span is between the quotes.
    Plain,
    /// A string with escapes; the span is between the quotes.
    Escaped,
    /// An object or an array; the span is its text.
    Nested,
}

/// Where a value stands in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// What it is.
    pub kind: Kind,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// Of a field that is not there.
    pub const MISSING: Span = Span { kind: Kind::Missing, start: 0, end: 0 };

    /// Its bytes as a range.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Why a text is not a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanError {
    /// Zero-based byte.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

type Scan<T> = Result<T, ScanError>;

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

/// Reports every field of the object that `text` holds, in order: (key, value). Precondition: under 4 GiB.
pub fn scan_object(text: &[u8], mut field: impl FnMut(Span, Span)) -> Scan<()> {
    let mut s = Scanner { text, at: 0 };
    s.space();
    if s.peek() != Some(b'{') {
        return s.fail(if s.at == text.len() { "the message is empty" } else { "not a JSON object" });
    }
    s.object(1, &mut field)?;
    s.space();
    if s.at < text.len() { s.fail("something follows the JSON object") } else { Ok(()) }
}

impl Scanner<'_> {
    fn fail<T>(&self, what: &'static str) -> Scan<T> {
        Err(ScanError { at: self.at, what })
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline]
    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Scan<()> {
        self.space();
        if self.peek() != Some(byte) {
            return self.fail(what);
        }
        self.at += 1;
        Ok(())
    }

    /// At `{`.
    fn object(&mut self, depth: usize, field: &mut dyn FnMut(Span, Span)) -> Scan<()> {
        self.at += 1;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return self.fail("a field name in double quotes is expected");
            }
            let key = self.string()?;
            self.expect(b':', "\":\" is expected")?;
            self.space();
            let value = self.value(depth)?;
            field(key, value);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.fail("\",\" or \"}\" is expected"),
            }
        }
    }

    /// At `[`.
    fn array(&mut self, depth: usize) -> Scan<()> {
        self.at += 1;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            self.value(depth)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.fail("\",\" or \"]\" is expected"),
            }
        }
    }

    fn value(&mut self, depth: usize) -> Scan<Span> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'"') => return self.string(),
            Some(b'{' | b'[') if depth >= DEPTH_MAX => return self.fail("nested too deeply"),
            Some(b'{') => {
                self.object(depth + 1, &mut |_, _| ())?;
                Kind::Nested
            }
            Some(b'[') => {
                self.array(depth + 1)?;
                Kind::Nested
            }
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                Kind::Number
            }
            Some(b't') => self.word(b"true", Kind::True)?,
            Some(b'f') => self.word(b"false", Kind::False)?,
            Some(b'n') => self.word(b"null", Kind::Null)?,
            _ => return self.fail("a value is expected"),
        };
        Ok(Span { kind, start: start as u32, end: self.at as u32 })
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Scan<Kind> {
        if !self.text[self.at..].starts_with(word) {
            return self.fail("a value is expected");
        }
        self.at += word.len();
        Ok(kind)
    }

    fn digits(&mut self) -> Scan<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.fail("a digit is expected") } else { Ok(()) }
    }

    fn number(&mut self) -> Scan<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// At `"`.
    #[inline]
    fn string(&mut self) -> Scan<Span> {
        self.at += 1;
        let start = self.at;
        let mut kind = Kind::Plain;
        loop {
            self.at = skip_plain(self.text, self.at);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    kind = Kind::Escaped;
                    self.escape()?;
                }
                Some(_) => return self.fail("a control character inside a string"),
                None => return self.fail("a string is not closed"),
            }
        }
        let span = Span { kind, start: start as u32, end: self.at as u32 };
        self.at += 1;
        Ok(span)
    }

    /// At a backslash.
    fn escape(&mut self) -> Scan<()> {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let hex = self.text.get(self.at + 2..self.at + 6).unwrap_or_default();
                if hex.len() != 4 || !hex.iter().all(u8::is_ascii_hexdigit) {
                    return self.fail("four hexadecimal digits are expected after \\u");
                }
                self.at += 6;
            }
            _ => return self.fail("an unknown escape"),
        }
        Ok(())
    }
}

/// The first byte at or after `at` that is a quote, a backslash or a control character, or the end.
#[inline]
fn skip_plain(text: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = text.get(at..at + 32) {
        let special =
            chunk.iter().fold(0u8, |acc, &b| acc | u8::from(b == b'"') | u8::from(b == b'\\') | u8::from(b < 0x20));
        if special != 0 {
            break;
        }
        at += 32;
    }
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    while let Some(word) = text.get(at..at + 8) {
        let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
        let zero = |w: u64| w.wrapping_sub(ONES) & !w & HIGH;
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let hit = zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | control;
        if hit != 0 {
            // The lowest mark is exact; only marks above a true one can be false.
            return at + (hit.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while at < text.len() && !matches!(text[at], b'"' | b'\\' | 0..=0x1f) {
        at += 1;
    }
    at
}

/// Appends the characters that the inside of a string with escapes stands for. Precondition: it came out of
/// [`scan_object`]. Lone surrogates and the zero character, which no PostgreSQL text can hold, are errors.
pub fn unescape(inside: &str, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut rest = inside;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let code = rest.as_bytes().get(at + 1).copied().unwrap_or_default();
        let mut used = at + 2;
        match code {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let (c, len) = unicode_escape(&rest[at..])?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                used = at + len;
            }
            other => out.push(other),
        }
        rest = rest.get(used..).unwrap_or_default();
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(())
}

/// The character of a `\uXXXX` (or a pair of them) at the beginning of `text`, and its length there.
fn unicode_escape(text: &str) -> Result<(char, usize), &'static str> {
    let unit = |from: usize| text.get(from..from + 4).and_then(|h| u32::from_str_radix(h, 16).ok());
    let first = unit(2).ok_or("a broken \\u escape")?;
    match first {
        0 => Err("\\u0000 cannot be converted to text"),
        0xD800..=0xDBFF => {
            let low = if text.get(6..8) == Some("\\u") { unit(8) } else { None };
            match low {
                Some(low @ 0xDC00..=0xDFFF) => {
                    let c = 0x10000 + ((first - 0xD800) << 10) + (low - 0xDC00);
                    char::from_u32(c).map(|c| (c, 12)).ok_or("a broken surrogate pair")
                }
                _ => Err("a Unicode high surrogate without its low surrogate"),
            }
        }
        0xDC00..=0xDFFF => Err("a Unicode low surrogate without its high surrogate"),
        c => char::from_u32(c).map(|c| (c, 6)).ok_or("a broken \\u escape"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(text: &str) -> Result<Vec<(String, Kind, String)>, ScanError> {
        let mut out = vec![];
        scan_object(text.as_bytes(), |k, v| {
            out.push((text[k.range()].to_string(), v.kind, text[v.range()].to_string()));
        })?;
        Ok(out)
    }

    #[test]
    fn reports_top_level_fields_as_spans() {
        let got = fields(r#" {"a": 1.50, "b":"x\n","c":"plain", "d":[1,{"a":2}] ,"e":null,"f":true,"g":{}} "#).unwrap();
        let want = [
            ("a", Kind::Number, "1.50"),
            ("b", Kind::Escaped, "x\\n"),
            ("c", Kind::Plain, "plain"),
            ("d", Kind::Nested, "[1,{\"a\":2}]"),
            ("e", Kind::Null, "null"),
            ("f", Kind::True, "true"),
            ("g", Kind::Nested, "{}"),
        ];
        assert_eq!(got, want.map(|(k, kind, v)| (k.to_string(), kind, v.to_string())));
    }

    #[test]
    fn refuses_what_is_not_an_object() {
        for bad in [
            "",
            "  ",
            "1",
            "[1]",
            "{",
            "{}x",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":-}",
            "{\"a\":1e}",
            "{\"a\":tru}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":\"",
            "{\"a\":[1,]}",
            "{\"a\":+1}",
            "{\"a\":.5}",
            "{\"a\":NaN}",
            "{\"a\":1}{}",
        ] {
            assert!(fields(bad).is_err(), "{bad:?} was taken");
            assert!(serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(bad).is_err());
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        assert_eq!(fields(&deep).unwrap_err().what, "nested too deeply");
    }

    #[test]
    fn finds_the_end_of_a_string_at_every_length() {
        for len in 0..100 {
            for special in ['"', '\\', '\u{1}'] {
                let text = format!("{}{special}tail", "é".repeat(len / 2) + &"x".repeat(len % 2));
                let at = text.find(special).unwrap();
                assert_eq!(skip_plain(text.as_bytes(), 0), at);
            }
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            (-1e300..1e300f64).prop_map(Into::into),
            ".{0,40}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 20, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                proptest::collection::vec((".{0,5}", inner), 0..5)
                    .prop_map(|v| serde_json::Value::Object(v.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn takes_what_serde_json_writes(fields_in in proptest::collection::vec(("[a-z\\\\\"é]{1,5}", json()), 0..8)) {
            let object: serde_json::Map<String, serde_json::Value> = fields_in.into_iter().collect();
            let text = serde_json::to_string(&object).unwrap();
            let mut seen = 0;
            for (key, kind, value) in fields(&text).unwrap() {
                let mut name = vec![];
                unescape(&key, &mut name).unwrap();
                let want = &object[std::str::from_utf8(&name).unwrap()];
                match kind {
                    Kind::Plain | Kind::Escaped => {
                        let mut s = vec![];
                        let got = unescape(&value, &mut s);
                        let want = want.as_str().unwrap();
                        let right = if want.contains('\0') { got.is_err() } else { s == want.as_bytes() };
                        prop_assert!(right, "{}", value);
                    }
                    _ => prop_assert_eq!(&value, &serde_json::to_string(want).unwrap()),
                }
                seen += 1;
            }
            prop_assert_eq!(seen, object.len());
        }

        #[test]
        fn agrees_with_serde_json_on_damaged_text(at in 0usize..60, byte in any::<u8>()) {
            let mut text = br#"{"a": [1.5e3, -2, {"b":"x\u00e9\n"}], "c":true,"d" : "yz"}"#.to_vec();
            let at = at % text.len();
            text[at] = byte;
            let Ok(text) = String::from_utf8(text) else { return Ok(()) };
            let theirs = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text);
            let mine = fields(&text);
            // Lone surrogates are found when a string is unescaped, not by the scan.
            if !text.contains("\\ud") && !text.contains("\\uD") {
                prop_assert_eq!(mine.is_ok(), theirs.is_ok(), "{}", text);
            }
        }
    }
}
