//! The parser of paths, by descent.

use super::{Arithmetic, Comparison, Method, Node, Path, Step};
use crate::regex::{Flags, Regex};
use hw_repr::numeric::Numeric;
use hw_repr::text::write_json_string;
use hw_repr::{SqlError, SqlState};

/// How deep parentheses and filters may nest.
const DEPTH_MAX: usize = 100;

pub(super) fn parse(text: &str) -> Result<Path, SqlError> {
    let tokens = tokenize(text)?;
    let mut parser = Parser { tokens, at: 0, depth: 0, filters: 0, subscripts: 0 };
    let lax = match parser.peek_word().as_deref() {
        Some("strict") => {
            parser.at += 1;
            false
        }
        Some("lax") => {
            parser.at += 1;
            true
        }
        _ => true,
    };
    if parser.tokens.len() == parser.at {
        return Err(SqlError::new(
            SqlState::INVALID_TEXT,
            format!("invalid input syntax for type jsonpath: \"{text}\""),
        ));
    }
    let expr = parser.or()?;
    match parser.peek() {
        None => Ok(Path { lax, expr }),
        Some(_) => Err(parser.unexpected()),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A word without quotes: a keyword, a key, a method.
    Word(String),
    Quoted(String),
    Number(String),
    /// `$name`
    Variable(String),
    Sign(&'static str),
}

const SIGNS: [&str; 30] = [
    "**", "&&", "||", "==", "!=", "<>", "<=", ">=", "$", "@", ".", "*", "[", "]", "(", ")", "{", "}", "?", ",", "<",
    ">", "=", "!", "+", "-", "/", "%", ":", "#",
];

fn syntax(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::SYNTAX, message)
}

fn is_key_char(c: char) -> bool {
    !c.is_ascii_whitespace() && c != '\x0b' && !"?%$.[]{}()|&!=<>@#,*:-+/\\\"".contains(c)
}

fn tokenize(text: &str) -> Result<Vec<Token>, SqlError> {
    let mut out = vec![];
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c.is_ascii_whitespace() {
            rest = &rest[1..];
        } else if let Some(comment) = rest.strip_prefix("/*") {
            let end = comment.find("*/").ok_or_else(|| syntax("unexpected end of comment at end of jsonpath input"))?;
            rest = &comment[end + 2..];
        } else if c == '"' {
            let (value, after) = quoted(&rest[1..])?;
            out.push(Token::Quoted(value));
            rest = after;
        } else if let Some(name) = rest.strip_prefix('$').filter(|n| n.starts_with(|c| is_key_char(c) || c == '"')) {
            let (value, after) = match name.strip_prefix('"') {
                Some(name) => quoted(name)?,
                None => word(name)?,
            };
            out.push(Token::Variable(value));
            rest = after;
        } else if c.is_ascii_digit() || c == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
            // Behind a value a dot begins a member, never a number.
            let member = c == '.' && matches!(out.last(), Some(Token::Word(_) | Token::Quoted(_) | Token::Variable(_)));
            let size = if member { 0 } else { number_size(rest)? };
            if size == 0 {
                out.push(Token::Sign("."));
                rest = &rest[1..];
                continue;
            }
            out.push(Token::Number(rest[..size].to_string()));
            rest = &rest[size..];
        } else if let Some(sign) = SIGNS.iter().find(|s| rest.starts_with(**s)) {
            out.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else if is_key_char(c) || c == '\\' {
            let (value, after) = word(rest)?;
            out.push(Token::Word(value));
            rest = after;
        } else {
            return Err(syntax(format!("syntax error at or near \"{c}\" of jsonpath input")));
        }
    }
    Ok(out)
}

/// The bytes of a number.
fn number_size(s: &str) -> Result<usize, SqlError> {
    let b = s.as_bytes();
    let digits = |mut at: usize| {
        while b.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let mut end = digits(0);
    if b.get(end) == Some(&b'.') && b.get(end + 1) != Some(&b'.') {
        end = digits(end + 1);
    }
    if matches!(b.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(b.get(end + 1), Some(b'-' | b'+')));
        let after = digits(end + 1 + sign);
        if after == end + 1 + sign {
            return Err(syntax(
                "invalid numeric literal at or near \"".to_string() + &s[..after] + "\" of jsonpath input",
            ));
        }
        end = after;
    }
    if s[end..].starts_with(is_key_char) {
        let junk: String = s.chars().take(end + 1).collect();
        return Err(syntax(format!("trailing junk after numeric literal at or near \"{junk}\" of jsonpath input")));
    }
    Ok(end)
}

/// A word and what follows it.
fn word(s: &str) -> Result<(String, &str), SqlError> {
    let (mut out, mut rest) = (String::new(), s);
    while let Some(c) = rest.chars().next() {
        if c == '\\' {
            rest = escape(&rest[1..], &mut out)?;
        } else if is_key_char(c) {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            break;
        }
    }
    Ok((out, rest))
}

/// The text up to the closing quote and what follows that.
fn quoted(s: &str) -> Result<(String, &str), SqlError> {
    let (mut out, mut rest) = (String::new(), s);
    loop {
        let c = rest.chars().next();
        let c = c.ok_or_else(|| syntax("unterminated quoted string at end of jsonpath input"))?;
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => return Ok((out, rest)),
            '\\' => rest = escape(rest, &mut out)?,
            c => out.push(c),
        }
    }
}

/// Resolves what is behind a backslash and gives what follows.
fn escape<'a>(s: &'a str, out: &mut String) -> Result<&'a str, SqlError> {
    let c = s.chars().next().ok_or_else(|| syntax("unexpected end after backslash at end of jsonpath input"))?;
    let rest = &s[c.len_utf8()..];
    out.push(match c {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        'u' | 'x' => {
            let (code, taken) = code(c, rest)?;
            let mut rest = &rest[taken..];
            let mut units = vec![code];
            if (0xd800..0xdc00).contains(&code)
                && let Some(low) = rest.strip_prefix("\\u")
            {
                let (code, taken) = self::code('u', low)?;
                units.push(code);
                rest = &low[taken..];
            }
            let resolved = match units[..] {
                [high, low] if (0xdc00..0xe000).contains(&low) => {
                    char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
                }
                [one] => char::from_u32(one).filter(|c| *c != '\0'),
                _ => None,
            };
            out.push(
                resolved.ok_or_else(|| SqlError::new(SqlState::new("22P05"), "unsupported Unicode escape sequence"))?,
            );
            return Ok(rest);
        }
        c => c,
    });
    Ok(rest)
}

fn code(kind: char, s: &str) -> Result<(u32, usize), SqlError> {
    let invalid = || syntax("invalid Unicode escape sequence of jsonpath input");
    let (hex, taken) = match s.strip_prefix('{').filter(|_| kind == 'u') {
        Some(inner) => {
            let end = inner.find('}').filter(|end| (1..=6).contains(end)).ok_or_else(invalid)?;
            (&inner[..end], end + 2)
        }
        None => {
            let size = if kind == 'u' { 4 } else { 2 };
            (s.get(..size).ok_or_else(invalid)?, size)
        }
    };
    if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(invalid());
    }
    Ok((u32::from_str_radix(hex, 16).map_err(|_| invalid())?, taken))
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// Filters around this place: `@` has a meaning there.
    filters: usize,
    /// Subscripts around this place: `last` has a meaning there.
    subscripts: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn peek_word(&self) -> Option<String> {
        match self.peek() {
            Some(Token::Word(w)) => Some(w.to_ascii_lowercase()),
            _ => None,
        }
    }

    fn unexpected(&self) -> SqlError {
        let shown = match self.peek() {
            None => return syntax("syntax error at end of jsonpath input"),
            Some(Token::Word(w) | Token::Quoted(w) | Token::Number(w) | Token::Variable(w)) => w.clone(),
            Some(Token::Sign(s)) => s.to_string(),
        };
        syntax(format!("syntax error at or near \"{shown}\" of jsonpath input"))
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(s)) if *s == sign);
        self.at += usize::from(found);
        found
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.peek_word().as_deref() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), SqlError> {
        if self.eat(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn condition(&self, node: Node) -> Result<Node, SqlError> {
        if node.is_condition() { Ok(node) } else { Err(self.unexpected()) }
    }

    fn value(&self, node: Node) -> Result<Node, SqlError> {
        if node.is_condition() { Err(self.unexpected()) } else { Ok(node) }
    }

    fn or(&mut self) -> Result<Node, SqlError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(SqlError::new(SqlState::new("54001"), "jsonpath is nested too deeply"));
        }
        let mut left = self.and()?;
        while self.eat("||") {
            let right = self.and()?;
            left = Node::Or(Box::new(self.condition(left)?), Box::new(self.condition(right)?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Result<Node, SqlError> {
        let mut left = self.not()?;
        while self.eat("&&") {
            let right = self.not()?;
            left = Node::And(Box::new(self.condition(left)?), Box::new(self.condition(right)?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Node, SqlError> {
        if self.eat("!") {
            let exists = self.peek_word().as_deref() == Some("exists");
            if !exists && !matches!(self.peek(), Some(Token::Sign("("))) {
                return Err(self.unexpected());
            }
            let inner = self.postfix()?;
            return Ok(Node::Not(Box::new(self.condition(inner)?)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Node, SqlError> {
        let left = self.additive()?;
        let op = match self.peek() {
            Some(Token::Sign("==" | "=")) => Comparison::Eq,
            Some(Token::Sign("!=" | "<>")) => Comparison::Ne,
            Some(Token::Sign("<")) => Comparison::Lt,
            Some(Token::Sign("<=")) => Comparison::Le,
            Some(Token::Sign(">")) => Comparison::Gt,
            Some(Token::Sign(">=")) => Comparison::Ge,
            Some(Token::Word(_)) if !left.is_condition() => return self.word_condition(left),
            _ => return Ok(left),
        };
        self.at += 1;
        let right = self.additive()?;
        Ok(Node::Compare(op, Box::new(self.value(left)?), Box::new(self.value(right)?)))
    }

    /// `starts with` and `like_regex`
    fn word_condition(&mut self, left: Node) -> Result<Node, SqlError> {
        if self.eat_word("starts") {
            if !self.eat_word("with") {
                return Err(self.unexpected());
            }
            let right = match self.peek().cloned() {
                Some(Token::Quoted(s)) => string(&s),
                Some(Token::Variable(name)) => Node::Variable(name),
                _ => return Err(self.unexpected()),
            };
            self.at += 1;
            return Ok(Node::StartsWith(Box::new(left), Box::new(right)));
        }
        if self.eat_word("like_regex") {
            let pattern = self.quoted()?;
            let flags = if self.eat_word("flag") { self.quoted()? } else { String::new() };
            let regex = Regex::new(&pattern, regex_flags(&flags)?)?;
            return Ok(Node::LikeRegex(Box::new(left), Box::new(regex)));
        }
        Ok(left)
    }

    fn quoted(&mut self) -> Result<String, SqlError> {
        match self.peek().cloned() {
            Some(Token::Quoted(s)) => {
                self.at += 1;
                Ok(s)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn additive(&mut self) -> Result<Node, SqlError> {
        let mut left = self.multiplicative()?;
        loop {
            let op = match self.peek() {
                Some(Token::Sign("+")) => Arithmetic::Add,
                Some(Token::Sign("-")) => Arithmetic::Sub,
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.multiplicative()?;
            left = Node::Arithmetic(op, Box::new(self.value(left)?), Box::new(self.value(right)?));
        }
    }

    fn multiplicative(&mut self) -> Result<Node, SqlError> {
        let mut left = self.signed()?;
        loop {
            let op = match self.peek() {
                Some(Token::Sign("*")) => Arithmetic::Mul,
                Some(Token::Sign("/")) => Arithmetic::Div,
                Some(Token::Sign("%")) => Arithmetic::Mod,
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.signed()?;
            left = Node::Arithmetic(op, Box::new(self.value(left)?), Box::new(self.value(right)?));
        }
    }

    fn signed(&mut self) -> Result<Node, SqlError> {
        let mut signs = vec![];
        while matches!(self.peek(), Some(Token::Sign("+" | "-"))) {
            signs.push(matches!(self.peek(), Some(Token::Sign("-"))));
            self.at += 1;
        }
        let mut node = self.postfix()?;
        for minus in signs.into_iter().rev() {
            node = Node::Sign(minus, Box::new(self.value(node)?));
        }
        Ok(node)
    }

    fn postfix(&mut self) -> Result<Node, SqlError> {
        let mut node = self.primary()?;
        loop {
            if self.eat(".") {
                let step = self.member()?;
                node = Node::Access(Box::new(node), step);
            } else if self.eat("[") {
                let step = self.subscript()?;
                node = Node::Access(Box::new(node), step);
            } else if self.eat("?") {
                self.expect("(")?;
                self.filters += 1;
                let condition = self.or()?;
                self.filters -= 1;
                let condition = self.condition(condition)?;
                self.expect(")")?;
                node = Node::Access(Box::new(node), Step::Filter(Box::new(condition)));
            } else {
                return Ok(node);
            }
        }
    }

    fn primary(&mut self) -> Result<Node, SqlError> {
        let Some(token) = self.peek().cloned() else { return Err(self.unexpected()) };
        self.at += 1;
        Ok(match token {
            Token::Sign("$") => Node::Root,
            Token::Sign("@") if self.filters > 0 => Node::Current,
            Token::Sign("@") => return Err(syntax("@ is not allowed in root expressions")),
            Token::Sign("(") => {
                let inner = self.or()?;
                self.expect(")")?;
                if inner.is_condition() && self.eat_word("is") {
                    if !self.eat_word("unknown") {
                        return Err(self.unexpected());
                    }
                    return Ok(Node::IsUnknown(Box::new(inner)));
                }
                inner
            }
            Token::Variable(name) => Node::Variable(name),
            Token::Quoted(s) => string(&s),
            Token::Number(n) => Node::Literal(Numeric::parse(&n)?.to_string()),
            Token::Word(w) if matches!(w.as_str(), "null" | "true" | "false") => Node::Literal(w),
            Token::Word(w) if w.eq_ignore_ascii_case("last") => match self.subscripts > 0 {
                true => Node::Last,
                false => return Err(syntax("LAST is allowed only in array subscripts")),
            },
            Token::Word(w) if w.eq_ignore_ascii_case("exists") => {
                self.expect("(")?;
                let inner = self.or()?;
                let inner = self.value(inner)?;
                self.expect(")")?;
                Node::Exists(Box::new(inner))
            }
            _ => {
                self.at -= 1;
                return Err(self.unexpected());
            }
        })
    }

    /// Behind a dot.
    fn member(&mut self) -> Result<Step, SqlError> {
        let Some(token) = self.peek().cloned() else { return Err(self.unexpected()) };
        self.at += 1;
        match token {
            Token::Sign("*") => Ok(Step::AnyMember),
            Token::Sign("**") => self.levels(),
            Token::Quoted(key) => Ok(Step::Member(key)),
            Token::Word(name) if matches!(self.peek(), Some(Token::Sign("("))) => {
                let method = Method::ALL.iter().find(|(n, _)| name.eq_ignore_ascii_case(n)).map(|(_, m)| *m);
                let method = method.ok_or_else(|| self.unexpected())?;
                self.at += 1;
                if method == Method::Datetime && !matches!(self.peek(), Some(Token::Sign(")"))) {
                    return Err(SqlError::unsupported("a template of .datetime() is not supported"));
                }
                self.expect(")")?;
                Ok(Step::Method(method))
            }
            Token::Word(key) => Ok(Step::Member(key)),
            _ => {
                self.at -= 1;
                Err(self.unexpected())
            }
        }
    }

    /// Behind `.**`
    fn levels(&mut self) -> Result<Step, SqlError> {
        if !self.eat("{") {
            return Ok(Step::AnyLevel(0, u32::MAX));
        }
        let first = self.level()?;
        let last = if self.eat_word("to") { self.level()? } else { first };
        self.expect("}")?;
        Ok(Step::AnyLevel(first, last))
    }

    fn level(&mut self) -> Result<u32, SqlError> {
        if self.eat_word("last") {
            return Ok(u32::MAX);
        }
        let level = match self.peek() {
            Some(Token::Number(n)) => n.parse().ok(),
            _ => None,
        };
        self.at += 1;
        level.ok_or_else(|| self.unexpected())
    }

    /// Behind an opening bracket.
    fn subscript(&mut self) -> Result<Step, SqlError> {
        if self.eat("*") {
            self.expect("]")?;
            return Ok(Step::AnyElement);
        }
        self.subscripts += 1;
        let mut all = vec![];
        loop {
            let from = self.additive()?;
            let from = self.value(from)?;
            let to = if self.eat_word("to") { Some(self.additive()?) } else { None };
            all.push((from, to.map(|t| self.value(t)).transpose()?));
            if !self.eat(",") {
                break;
            }
        }
        self.subscripts -= 1;
        self.expect("]")?;
        Ok(Step::Elements(all))
    }
}

fn string(s: &str) -> Node {
    let mut out = String::new();
    write_json_string(s, &mut out);
    Node::Literal(out)
}

/// The flags of LIKE_REGEX: those of XQuery, where a dot takes no newline unless `s` says so.
fn regex_flags(letters: &str) -> Result<Flags, SqlError> {
    let mut flags = Flags { newline_stops: true, ..Flags::default() };
    for c in letters.chars() {
        match c {
            'i' => flags.ignore_case = true,
            's' => flags.newline_stops = false,
            'm' => flags.newline_anchors = true,
            'q' => flags.literal = true,
            'x' => {
                return Err(SqlError::unsupported(
                    "XQuery \"x\" flag (expanded regular expressions) is not implemented",
                ));
            }
            _ => {
                return Err(syntax("invalid input syntax for type jsonpath")
                    .detail(format!("Unrecognized flag character \"{c}\" in LIKE_REGEX predicate.")));
            }
        }
    }
    Ok(flags)
}
