//! Forms of string functions and literals that the parser does not know, put into ones that it knows:
//! `substring(a SIMILAR b ESCAPE c)` is `substring(a, b, c)`, `trim(LEADING FROM a)` is `trim(LEADING a)`, and
//! `U&'...' UESCAPE '!'` is a plain literal; literals that go on on the next line are one; FETCH FIRST is LIMIT.

use super::{byte_offset, char_position};
use hw_repr::{SqlError, SqlState};
use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

/// Rewrites the tokens of `text`.
pub(super) fn rewrite(text: &str, tokens: &mut Vec<TokenWithSpan>) -> Result<(), SqlError> {
    let mut at = 0;
    while at < tokens.len() {
        continued(text, tokens, at)?;
        if is_word(tokens, at, "substring") {
            similar(tokens, at);
        } else if is_word(tokens, at, "trim") {
            trim(tokens, at);
        } else if is_word(tokens, at, "variadic") {
            variadic(tokens, at)?;
        } else if is_word(tokens, at, "rows") {
            rows_from(tokens, at);
        } else if is_word(tokens, at, "fetch") {
            fetch_only(tokens, at);
        } else if matches!(tokens[at].token, Token::UnicodeStringLiteral(_)) {
            unicode(text, tokens, at)?;
        }
        at += 1;
    }
    Ok(())
}

/// A string that begins on a line of its own goes on with the literal before it. On the same line it is a syntax error, where
/// the parser would take it for an alias.
fn continued(text: &str, tokens: &mut Vec<TokenWithSpan>, at: usize) -> Result<(), SqlError> {
    use Token as T;
    while is_literal(&tokens[at].token)
        && let Some(next) = solid(tokens, at + 1)
        && let T::SingleQuotedString(more) = &tokens[next].token
    {
        let (more, span) = (more.clone(), tokens[next].span);
        let same_line = span.start.line == tokens[at].span.end.line;
        match &mut tokens[at].token {
            T::SingleQuotedString(s)
            | T::EscapedStringLiteral(s)
            | T::NationalStringLiteral(s)
            | T::SingleQuotedByteStringLiteral(s)
            | T::HexStringLiteral(s)
                if !same_line =>
            {
                s.push_str(&more);
            }
            _ => {
                let near = &text[byte_offset(text, span.start)..byte_offset(text, span.end)];
                let message = format!("syntax error at or near \"{}\"", near.trim_end());
                return Err(SqlError::new(SqlState::SYNTAX, message).at(char_position(text, span.start)));
            }
        }
        tokens[at].span.end = span.end;
        tokens.drain(at + 1..=next);
    }
    Ok(())
}

fn is_literal(token: &Token) -> bool {
    use Token as T;
    matches!(
        token,
        T::SingleQuotedString(_)
            | T::EscapedStringLiteral(_)
            | T::DollarQuotedString(_)
            | T::Number(..)
            | T::NationalStringLiteral(_)
            | T::SingleQuotedByteStringLiteral(_)
            | T::HexStringLiteral(_)
    )
}

fn is_word(tokens: &[TokenWithSpan], at: usize, word: &str) -> bool {
    let token = tokens.get(at).map(|t| &t.token);
    matches!(token, Some(Token::Word(w)) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// The next token that is not blank.
fn solid(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    (from..tokens.len()).find(|at| !matches!(tokens[*at].token, Token::Whitespace(_)))
}

fn similar(tokens: &mut [TokenWithSpan], at: usize) {
    let Some(open) = solid(tokens, at + 1).filter(|i| tokens[*i].token == Token::LParen) else { return };
    let (mut depth, mut found) = (0, None);
    for i in open..tokens.len() {
        match tokens[i].token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ if depth == 1 && found.is_none() && is_word(tokens, i, "similar") => {
                if solid(tokens, i + 1).is_some_and(|next| is_word(tokens, next, "to")) {
                    return;
                }
                found = Some(i);
            }
            _ if depth == 1 && is_word(tokens, i, "escape") => {
                if let Some(similar) = found {
                    tokens[similar].token = Token::Comma;
                    tokens[i].token = Token::Comma;
                }
                return;
            }
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

fn trim(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let Some(open) = solid(tokens, at + 1).filter(|i| tokens[*i].token == Token::LParen) else { return };
    let Some(mut next) = solid(tokens, open + 1) else { return };
    if ["both", "leading", "trailing"].iter().any(|w| is_word(tokens, next, w)) {
        let Some(behind) = solid(tokens, next + 1) else { return };
        next = behind;
    }
    if is_word(tokens, next, "from") {
        tokens.remove(next);
    }
}

/// `f(a, VARIADIC b)` as `f(a, hw_variadic(b))`.
fn variadic(tokens: &mut Vec<TokenWithSpan>, at: usize) -> Result<(), SqlError> {
    let before = (0..at).rev().find(|i| !matches!(tokens[*i].token, Token::Whitespace(_)));
    let begins = before.is_some_and(|i| matches!(tokens[i].token, Token::LParen | Token::Comma));
    let created = tokens.iter().find(|t| !matches!(t.token, Token::Whitespace(_)));
    let created = created.is_some_and(|t| matches!(&t.token, Token::Word(w) if w.value.eq_ignore_ascii_case("create")));
    // The arguments of a function that is made have this word before their names.
    let function = created && (0..at).any(|i| is_word(tokens, i, "function"));
    if !begins || function {
        return Ok(());
    }
    let mut depth = 0usize;
    for i in at + 1..tokens.len() {
        let end = match tokens[i].token {
            Token::LParen | Token::LBracket => {
                depth += 1;
                continue;
            }
            Token::RParen if depth == 0 => true,
            Token::RParen | Token::RBracket => {
                depth = depth.saturating_sub(1);
                continue;
            }
            Token::Comma if depth == 0 => {
                return Err(SqlError::new(SqlState::SYNTAX, "syntax error at or near \",\""));
            }
            _ => depth == 0 && is_word(tokens, i, "order"),
        };
        if end {
            let with = |token, span| TokenWithSpan { token, span };
            let (first, last) = (tokens[at].span, tokens[i].span);
            tokens.insert(i, with(Token::RParen, last));
            tokens[at].token = Token::make_word(crate::prepare::VARIADIC, None);
            tokens.insert(at + 1, with(Token::LParen, first));
            return Ok(());
        }
    }
    Ok(())
}

/// `FROM ROWS FROM (f(x), ...)` as a call, where it is one: not a column of that name before FROM.
fn rows_from(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let before = (0..at).rev().find(|i| !matches!(tokens[*i].token, Token::Whitespace(_)));
    let begins = before.is_some_and(|i| {
        tokens[i].token == Token::Comma || ["from", "join", "lateral"].iter().any(|w| is_word(tokens, i, w))
    });
    let Some(from) = solid(tokens, at + 1).filter(|i| begins && is_word(tokens, *i, "from")) else { return };
    let Some(open) = solid(tokens, from + 1).filter(|i| tokens[*i].token == Token::LParen) else { return };
    let mut next = solid(tokens, open + 1);
    while let Some(word) = next.filter(|i| matches!(tokens[*i].token, Token::Word(_))) {
        match solid(tokens, word + 1) {
            Some(dot) if tokens[dot].token == Token::Period => next = solid(tokens, dot + 1),
            Some(paren) if tokens[paren].token == Token::LParen => {
                tokens[at].token = Token::make_word(crate::prepare::ROWS_FROM, None);
                tokens.drain(at + 1..open);
                return;
            }
            _ => return,
        }
    }
}

/// `FETCH FIRST n ROWS ONLY` as `LIMIT n`, which the parser takes before OFFSET and with any expression.
fn fetch_only(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let first = |i: &usize| is_word(tokens, *i, "first") || is_word(tokens, *i, "next");
    let Some(first) = solid(tokens, at + 1).filter(first) else { return };
    let Some(begin) = solid(tokens, first + 1) else { return };
    let (mut depth, mut end) = (0usize, None);
    for i in begin..tokens.len() {
        match tokens[i].token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return,
            Token::RParen => depth -= 1,
            _ if depth == 0 && (is_word(tokens, i, "row") || is_word(tokens, i, "rows")) => {
                end = Some(i);
                break;
            }
            _ => {}
        }
    }
    let Some(rows) = end else { return };
    let Some(only) = solid(tokens, rows + 1).filter(|i| is_word(tokens, *i, "only")) else { return };
    let (start, end) = (tokens[at].span.start, tokens[only].span.end);
    tokens[at].token = Token::make_word("LIMIT", None);
    let number = tokens[begin..rows].iter().rposition(|t| !matches!(t.token, Token::Whitespace(_)));
    tokens.drain(rows..=only);
    match number {
        // The text of the statement goes on to where its last token ends.
        Some(last) => tokens[begin + last].span.end = end,
        // One row.
        None => {
            let token = Token::Number("1".into(), false);
            tokens.insert(begin, TokenWithSpan { token, span: Span { start, end } });
        }
    }
    tokens.remove(first);
}

fn unicode(text: &str, tokens: &mut Vec<TokenWithSpan>, at: usize) -> Result<(), SqlError> {
    let mut escape = '\\';
    let mut last = at;
    if let Some(word) = solid(tokens, at + 1).filter(|i| is_word(tokens, *i, "uescape")) {
        let value = solid(tokens, word + 1);
        let chosen = value.and_then(|i| match &tokens[i].token {
            Token::SingleQuotedString(s) => s.chars().next().filter(|c| s.len() == c.len_utf8()),
            _ => None,
        });
        let refused = |c: &char| c.is_ascii_hexdigit() || c.is_whitespace() || matches!(c, '+' | '\'' | '"');
        let invalid = || SqlError::new(SqlState::SYNTAX, "invalid Unicode escape character");
        escape = chosen.filter(|c| !refused(c)).ok_or_else(invalid)?;
        last = value.unwrap_or(word);
    }
    let span = tokens[at].span;
    let raw = &text[byte_offset(text, span.start)..byte_offset(text, span.end)];
    let body = raw.get(3..).and_then(|r| r.trim_end().strip_suffix('\''));
    let decoded = match body {
        Some(body) => decode(&body.replace("''", "'"), escape)?,
        None => return Ok(()),
    };
    tokens[at].token = Token::SingleQuotedString(decoded);
    tokens.drain(at + 1..=last);
    Ok(())
}

fn decode(body: &str, escape: char) -> Result<String, SqlError> {
    let invalid = || {
        SqlError::new(SqlState::SYNTAX, "invalid Unicode escape").hint("Unicode escapes must be \\XXXX or \\+XXXXXX.")
    };
    let mut out = String::new();
    let mut units: Vec<u16> = vec![];
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let code = match c {
            c if c != escape => u32::from(c),
            _ if rest.starts_with(escape) => {
                rest = &rest[escape.len_utf8()..];
                u32::from(escape)
            }
            _ => {
                let (skip, digits) = if rest.starts_with('+') { (1, 6) } else { (0, 4) };
                let hex = rest.get(skip..skip + digits).filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()));
                let code = u32::from_str_radix(hex.ok_or_else(invalid)?, 16).map_err(|_| invalid())?;
                rest = &rest[skip + digits..];
                code
            }
        };
        // Two surrogates are one character.
        if (0xd800..0xe000).contains(&code) && units.len() < 2 {
            units.push(code as u16);
            if let [high, low] = units[..] {
                let pair = char::decode_utf16([high, low]).next().and_then(Result::ok);
                out.push(pair.ok_or_else(|| SqlError::new(SqlState::SYNTAX, "invalid Unicode surrogate pair"))?);
                units.clear();
            }
            continue;
        }
        if !units.is_empty() {
            return Err(SqlError::new(SqlState::SYNTAX, "invalid Unicode surrogate pair"));
        }
        out.push(
            char::from_u32(code)
                .filter(|c| *c != '\0')
                .ok_or_else(|| SqlError::new(SqlState::SYNTAX, "invalid Unicode escape value"))?,
        );
    }
    match units.is_empty() {
        true => Ok(out),
        false => Err(SqlError::new(SqlState::SYNTAX, "invalid Unicode surrogate pair")),
    }
}
