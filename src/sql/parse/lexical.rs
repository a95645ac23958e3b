//! What PostgreSQL's lexer reads otherwise than the parser's: operators are the longest run of their characters, `0x1F`
//! is no number, `integer ARRAY` is `integer[]`, and the escapes of `E'...'` are those of its manual, with its errors.

use super::DIALECT;
use hw_repr::{SqlError, SqlState};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

/// Rewrites the tokens of a text.
pub(super) fn rewrite(tokens: &mut Vec<TokenWithSpan>) -> Result<(), SqlError> {
    hexadecimal(tokens)?;
    junk(tokens)?;
    modifiers(tokens)?;
    let adjacent = tokens.windows(2).any(|w| is_operator(&w[0].token) && is_operator(&w[1].token));
    if adjacent || tokens.iter().any(|t| matches!(t.token, Token::CustomBinaryOperator(_))) {
        let mut out = Vec::with_capacity(tokens.len());
        let mut rest = std::mem::take(tokens).into_iter().peekable();
        while let Some(token) = rest.next() {
            if !is_operator(&token.token) {
                out.push(token);
                continue;
            }
            let mut run = vec![token];
            while let Some(next) = rest.next_if(|t| is_operator(&t.token)) {
                run.push(next);
            }
            out.extend(operators(run));
        }
        *tokens = out;
    }
    array_types(tokens);
    Ok(())
}

/// Tokens that are not made of the characters of operators.
fn is_operator(token: &Token) -> bool {
    use Token as T;
    matches!(
        token,
        T::CustomBinaryOperator(_)
            | T::DoubleEq
            | T::Eq
            | T::Lt
            | T::Gt
            | T::LtEq
            | T::GtEq
            | T::Spaceship
            | T::Plus
            | T::Minus
            | T::Mul
            | T::Div
            | T::Mod
            | T::StringConcat
            | T::Ampersand
            | T::Pipe
            | T::Caret
            | T::Sharp
            | T::DoubleSharp
            | T::Tilde
            | T::TildeAsterisk
            | T::ExclamationMark
            | T::DoubleExclamationMark
            | T::ExclamationMarkTilde
            | T::ExclamationMarkTildeAsterisk
            | T::DoubleTilde
            | T::DoubleTildeAsterisk
            | T::ExclamationMarkDoubleTilde
            | T::ExclamationMarkDoubleTildeAsterisk
            | T::ShiftLeft
            | T::ShiftRight
            | T::Overlap
            | T::AtSign
            | T::CaretAt
            | T::PGSquareRoot
            | T::PGCubeRoot
            | T::Arrow
            | T::LongArrow
            | T::HashArrow
            | T::HashLongArrow
            | T::AtArrow
            | T::ArrowAt
            | T::HashMinus
            | T::AtQuestion
            | T::AtAt
            | T::Question
            | T::QuestionAnd
            | T::QuestionPipe
    )
}

/// A run of operators without blanks between them, as PostgreSQL splits it: the longest ones, but that one of several
/// characters ends in + or - only where it has a character that no operator of the standard has.
fn operators(run: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let Some(first) = run.first().map(|t| t.span.start) else { return run };
    let written: String = run.iter().map(|t| t.token.to_string()).collect();
    let mut rest = written.as_str();
    let mut pieces = vec![];
    while !rest.is_empty() {
        let mut length = rest.len();
        let special = rest[..length - 1].contains(['~', '!', '@', '#', '^', '&', '|', '`', '?', '%']);
        while length > 1 && !special && rest[..length].ends_with(['+', '-']) {
            length -= 1;
        }
        let (piece, after) = rest.split_at(length);
        pieces.push(piece);
        rest = after;
    }
    if pieces.len() == run.len() && pieces.iter().zip(&run).all(|(piece, token)| *piece == token.token.to_string()) {
        return run;
    }
    let mut column = first.column;
    let mut out = vec![];
    for piece in pieces {
        let token = match Tokenizer::new(&DIALECT, piece).tokenize().as_deref() {
            Ok([one]) => one.clone(),
            _ => Token::CustomBinaryOperator(piece.to_string()),
        };
        let end = column + piece.len() as u64;
        let span = Span::new(Location { line: first.line, column }, Location { line: first.line, column: end });
        out.push(TokenWithSpan::new(token, span));
        column = end;
    }
    out
}

/// `0x1F` is 0 with junk behind it, before PostgreSQL 16.
fn hexadecimal(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    for token in tokens {
        if let Token::HexStringLiteral(digits) = &token.token
            && token.span.end.column.saturating_sub(token.span.start.column) == digits.len() as u64 + 2
        {
            let message = "trailing junk after numeric literal at or near \"0x\"";
            return Err(SqlError::new(SqlState::SYNTAX, message));
        }
    }
    Ok(())
}

/// A letter behind a number belongs to nothing.
fn junk(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    for (at, token) in tokens.iter().enumerate() {
        let Token::Number(digits, long) = &token.token else { continue };
        let next = tokens.get(at + 1).filter(|next| next.span.start == token.span.end).map(|next| &next.token);
        let first = match next {
            _ if *long => Some('L'),
            Some(Token::Word(w)) if w.quote_style.is_none() => w.value.chars().next(),
            _ => None,
        };
        if let Some(first) = first {
            let message = format!("trailing junk after numeric literal at or near \"{digits}{first}\"");
            return Err(SqlError::new(SqlState::SYNTAX, message));
        }
    }
    Ok(())
}

/// `::numeric(10,6,2)`: 22023, as PostgreSQL has it, where the parser knows no such list.
fn modifiers(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let numeric = |t: &TokenWithSpan| {
        word(&t.token).is_some_and(|w| ["numeric", "decimal", "dec"].iter().any(|n| w.eq_ignore_ascii_case(n)))
    };
    for at in (1..tokens.len()).filter(|at| numeric(&tokens[*at])) {
        let mut before = tokens[..at].iter().rev().filter(|t| !matches!(t.token, Token::Whitespace(_)));
        let as_type = before.next().is_some_and(|t| match &t.token {
            Token::DoubleColon => true,
            token => word(token).is_some_and(|w| w.eq_ignore_ascii_case("as")),
        });
        let rest = tokens[at + 1..].iter().map(|t| &t.token).filter(|t| !matches!(t, Token::Whitespace(_)));
        let next: Vec<&Token> = rest.take(5).collect();
        let third =
            matches!(next[..], [Token::LParen, Token::Number(..), Token::Comma, Token::Number(..), Token::Comma]);
        if as_type && third {
            return Err(SqlError::new(SqlState::INVALID_PARAMETER, "invalid NUMERIC type modifier"));
        }
    }
    Ok(())
}

fn word(token: &Token) -> Option<&str> {
    match token {
        Token::Word(w) if w.quote_style.is_none() => Some(w.value.as_str()),
        _ => None,
    }
}

/// The word ARRAY behind a type stands for brackets; before brackets of its own it is no word more. NATIONAL before
/// CHARACTER says nothing.
fn array_types(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        let is = |i: usize, name: &str| {
            tokens.get(i).and_then(|t| word(&t.token)).is_some_and(|w| w.eq_ignore_ascii_case(name))
        };
        if is(at, "national") {
            let next = solid(tokens, at + 1);
            if next.is_some_and(|n| is(n, "character") || is(n, "char")) {
                tokens.remove(at);
            }
        } else if is(at, "array") {
            let before = (0..at).rev().find(|i| !matches!(tokens[*i].token, Token::Whitespace(_)));
            let of_type = before.is_some_and(|b| match &tokens[b].token {
                Token::RParen => true,
                _ => word(&tokens[b].token).is_some_and(|w| !w.eq_ignore_ascii_case("as")),
            });
            let next = solid(tokens, at + 1).map(|n| &tokens[n].token);
            let alone = !matches!(next, Some(Token::LBracket | Token::LParen));
            if of_type && alone {
                let span = tokens[at].span;
                tokens[at].token = Token::LBracket;
                tokens.insert(at + 1, TokenWithSpan::new(Token::RBracket, span));
            }
        }
        at += 1;
    }
}

fn solid(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    (from..tokens.len()).find(|i| !matches!(tokens[*i].token, Token::Whitespace(_)))
}

/// The literal `E'...'` at the start of `text`: what it stands for, and its length in bytes. `None` where it has no end.
/// Errors: 22025 for an escape that is cut short, 22021 for what is no UTF-8, 42601 for surrogates that are no pair.
pub(super) fn escaped(text: &str) -> Option<Result<(String, usize), SqlError>> {
    let body = text.strip_prefix(['E', 'e'])?.strip_prefix('\'')?;
    let end = end_of(body)?;
    Some(decode(&body[..end]).map(|value| (value, end + 3)))
}

/// Where the quote is that ends it.
fn end_of(body: &str) -> Option<usize> {
    let bytes = body.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return Some(at),
            _ => at += 1,
        }
    }
    None
}

fn decode(body: &str) -> Result<String, SqlError> {
    let mut out: Vec<u8> = vec![];
    let mut rest = body;
    let mut high: Option<u32> = None;
    let pair = || SqlError::new(SqlState::SYNTAX, "invalid Unicode surrogate pair");
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let Some(kind) = (c == '\\').then(|| rest.chars().next()).flatten() else {
            if high.is_some() {
                return Err(pair());
            }
            // A quote is written twice.
            rest = if c == '\'' { rest.strip_prefix('\'').unwrap_or(rest) } else { rest };
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        };
        let behind = &rest[kind.len_utf8()..];
        if matches!(kind, 'u' | 'U') {
            let code = unicode(behind, if kind == 'u' { 4 } else { 8 })?;
            rest = &behind[if kind == 'u' { 4 } else { 8 }..];
            let code = match (high.take(), code) {
                (None, 0xd800..=0xdbff) => {
                    high = Some(code);
                    continue;
                }
                (Some(high), 0xdc00..=0xdfff) => 0x1_0000 + ((high - 0xd800) << 10) + (code - 0xdc00),
                (Some(_), _) | (None, 0xdc00..=0xdfff) => return Err(pair()),
                (None, code) => code,
            };
            let value = char::from_u32(code).filter(|c| *c != '\0');
            let value = value.ok_or_else(|| SqlError::new(SqlState::SYNTAX, "invalid Unicode escape value"))?;
            out.extend_from_slice(value.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        if high.is_some() {
            return Err(pair());
        }
        let (byte, taken) = byte_escape(kind, behind);
        match byte {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(kind.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        rest = &behind[taken..];
    }
    if high.is_some() {
        return Err(pair());
    }
    let invalid = |bytes: &[u8]| {
        let shown: Vec<String> = bytes.iter().map(|b| format!("0x{b:02x}")).collect();
        let message = format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" "));
        SqlError::new(SqlState::new("22021"), message)
    };
    if out.contains(&0) {
        return Err(invalid(&[0]));
    }
    String::from_utf8(out).map_err(|e| {
        let from = e.utf8_error().valid_up_to();
        let length = e.utf8_error().error_len().unwrap_or(1);
        invalid(&e.as_bytes()[from..from + length])
    })
}

/// Four or eight hexadecimal digits.
fn unicode(text: &str, digits: usize) -> Result<u32, SqlError> {
    let hex = text.get(..digits).filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()));
    hex.and_then(|h| u32::from_str_radix(h, 16).ok()).ok_or_else(|| {
        SqlError::new(SqlState::new("22025"), "invalid Unicode escape")
            .hint("Unicode escapes must be \\uXXXX or \\UXXXXXXXX.")
    })
}

/// The byte that an escape stands for, and how many bytes behind its letter belong to it; without one, the letter itself.
fn byte_escape(kind: char, behind: &str) -> (Option<u8>, usize) {
    let digits = |text: &str, most: usize, radix: u32| {
        text.bytes().take(most).take_while(|b| char::from(*b).is_digit(radix)).count()
    };
    match kind {
        'b' => (Some(8), 0),
        'f' => (Some(12), 0),
        'n' => (Some(b'\n'), 0),
        'r' => (Some(b'\r'), 0),
        't' => (Some(b'\t'), 0),
        'v' => (Some(11), 0),
        '0'..='7' => {
            let more = digits(behind, 2, 8);
            let code = format!("{kind}{}", &behind[..more]);
            // Nine bits lose the first, as in PostgreSQL.
            (u32::from_str_radix(&code, 8).ok().map(|v| (v & 0xff) as u8), more)
        }
        'x' => match digits(behind, 2, 16) {
            0 => (None, 0),
            n => (u8::from_str_radix(&behind[..n], 16).ok(), n),
        },
        _ => (None, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<String> {
        let mut tokens = Tokenizer::new(&DIALECT, text).tokenize_with_location().unwrap();
        rewrite(&mut tokens).unwrap();
        let solid = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF));
        solid.map(|t| t.token.to_string()).collect()
    }

    #[test]
    fn operators_are_the_longest_runs() {
        assert_eq!(pieces("1 === 2"), ["1", "===", "2"]);
        assert_eq!(pieces("a<-1"), ["a", "<", "-", "1"]);
        assert_eq!(pieces("2*-3"), ["2", "*", "-", "3"]);
        assert_eq!(pieces("2^-3"), ["2", "^-", "3"]);
        assert_eq!(pieces("a->-1"), ["a", "->", "-", "1"]);
        assert_eq!(pieces("count(*)"), ["count", "(", "*", ")"]);
    }

    #[test]
    fn array_is_a_suffix_of_types() {
        assert_eq!(pieces("'{1}'::int array"), ["'{1}'", "::", "int", "[", "]"]);
        assert_eq!(pieces("x::int array[4]"), ["x", "::", "int", "array", "[", "4", "]"]);
        assert_eq!(pieces("SELECT ARRAY[1]"), ["SELECT", "ARRAY", "[", "1", "]"]);
        assert_eq!(pieces("1::national character(2)"), ["1", "::", "character", "(", "2", ")"]);
    }

    #[test]
    fn escapes_are_those_of_the_manual() {
        let value = |text: &str| escaped(text).unwrap().map_err(|e| e.code.as_str().to_string());
        assert_eq!(value("E'a\\tb\\x41\\101''\\'' rest"), Ok(("a\tbAA''".into(), 19)));
        assert_eq!(value("e'\\xc5\\xbc\\ud83d\\ude00'"), Ok(("ż😀".into(), 23)));
        assert_eq!(value("E'\\u12'"), Err("22025".into()));
        assert_eq!(value("E'\\000'"), Err("22021".into()));
        assert_eq!(value("E'\\xff'"), Err("22021".into()));
        assert_eq!(value("E'\\ud83dx'"), Err("42601".into()));
        assert!(escaped("E'abc").is_none());
    }
}
