//! A cursor over the tokens of one statement: keyword look-ahead for our own statements, sqlparser for the rest,
//! and errors in PostgreSQL's words.

use super::ast::NameRef;
use super::char_position;
use hw_repr::{SqlError, SqlState};
use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use sqlparser::dialect::Dialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan};

/// See the module's text.
pub(super) struct Cursor<'a> {
    parser: Parser<'a>,
    tokens: Vec<TokenWithSpan>,
    /// The statement.
    pub text: &'a str,
}

/// The name an identifier stands for: folded unless quoted.
pub(crate) fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str, tokens: Vec<TokenWithSpan>, dialect: &'a dyn Dialect) -> Self {
        let parser = Parser::new(dialect).with_recursion_limit(100).with_tokens_with_locations(tokens.clone());
        Cursor { parser, tokens, text }
    }

    /// The unquoted word `n` tokens ahead, upper case.
    pub fn word(&self, n: usize) -> Option<String> {
        match &self.parser.peek_nth_token_ref(n).token {
            Token::Word(w) if w.quote_style.is_none() => Some(w.value.to_ascii_uppercase()),
            _ => None,
        }
    }

    /// Takes these words where they come next.
    pub fn eat(&mut self, words: &[&str]) -> bool {
        let here = words.iter().enumerate().all(|(n, w)| self.word(n).as_deref() == Some(*w));
        if here {
            words.iter().for_each(|_| self.parser.advance_token());
        }
        here
    }

    /// Takes these words or fails at the first other token.
    pub fn expect(&mut self, words: &[&str]) -> Result<(), SqlError> {
        for word in words {
            if !self.eat(&[word]) {
                return Err(self.unexpected());
            }
        }
        Ok(())
    }

    pub fn eat_token(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    pub fn expect_token(&mut self, token: &Token) -> Result<(), SqlError> {
        if self.eat_token(token) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub fn peek(&self) -> Token {
        self.parser.peek_token_ref().token.clone()
    }

    pub fn at_end(&self) -> bool {
        self.parser.peek_token_ref().token == Token::EOF
    }

    pub fn expect_end(&self) -> Result<(), SqlError> {
        if self.at_end() { Ok(()) } else { Err(self.unexpected()) }
    }

    /// One-based position of the next token.
    pub fn position(&self) -> usize {
        let token = self.parser.peek_token_ref();
        if token.token == Token::EOF {
            self.text.chars().count() + 1
        } else {
            char_position(self.text, token.span.start)
        }
    }

    /// The rest of the statement's text.
    pub fn rest(&self) -> &'a str {
        let token = self.parser.peek_token_ref();
        if token.token == Token::EOF { "" } else { &self.text[super::byte_offset(self.text, token.span.start)..] }
    }

    /// The text of the tokens that are left.
    pub fn left(&self) -> &'a str {
        let rest = self.rest();
        let end = self.tokens.last().map_or(self.text.len(), |t| super::byte_offset(self.text, t.span.end));
        &rest[..rest.len().saturating_sub(self.text.len().saturating_sub(end))]
    }

    /// Takes everything that is left.
    pub fn skip_to_end(&mut self) {
        while !self.at_end() {
            self.parser.advance_token();
        }
    }

    /// A syntax error at the next token.
    pub fn unexpected(&self) -> SqlError {
        let token = self.parser.peek_token_ref();
        if token.token == Token::EOF {
            return SqlError::new(SqlState::SYNTAX, "syntax error at end of input").at(self.position());
        }
        self.error_at_token(token)
    }

    fn error_at_token(&self, token: &TokenWithSpan) -> SqlError {
        let from = super::byte_offset(self.text, token.span.start);
        let to = super::byte_offset(self.text, token.span.end).max(from);
        let near = if to > from { self.text[from..to].to_string() } else { token.token.to_string() };
        SqlError::new(SqlState::SYNTAX, format!("syntax error at or near \"{near}\""))
            .at(char_position(self.text, token.span.start))
    }

    /// Runs one of sqlparser's rules; its errors are put into PostgreSQL's words.
    pub fn native<T>(&mut self, f: impl FnOnce(&mut Parser<'a>) -> Result<T, ParserError>) -> Result<T, SqlError> {
        f(&mut self.parser).map_err(|e| self.native_error(&e))
    }

    fn native_error(&self, error: &ParserError) -> SqlError {
        let message = match error {
            ParserError::RecursionLimitExceeded => {
                return SqlError::new(SqlState::new("54001"), "statement too complex")
                    .hint("The statement is nested too deeply.");
            }
            ParserError::TokenizerError(m) | ParserError::ParserError(m) => m,
        };
        let Some(location) = location_in(message) else {
            return match message.contains("EOF") {
                true => {
                    SqlError::new(SqlState::SYNTAX, "syntax error at end of input").at(self.text.chars().count() + 1)
                }
                false => self.unexpected().detail(message.clone()),
            };
        };
        match self.tokens.iter().find(|t| t.span.start == location && t.token != Token::EOF) {
            Some(token) => self.error_at_token(token),
            None => SqlError::new(SqlState::SYNTAX, "syntax error at end of input").at(self.text.chars().count() + 1),
        }
    }

    pub fn ident(&mut self) -> Result<String, SqlError> {
        match self.parser.peek_token_ref().token {
            Token::Word(_) => Ok(fold(&self.native(|p| p.parse_identifier())?)),
            _ => Err(self.unexpected()),
        }
    }

    /// A possibly qualified name.
    pub fn name(&mut self) -> Result<NameRef, SqlError> {
        let position = self.position();
        if !matches!(self.parser.peek_token_ref().token, Token::Word(_)) {
            return Err(self.unexpected());
        }
        let name = self.native(|p| p.parse_object_name(false))?;
        name_ref(&name, position)
    }

    pub fn string(&mut self) -> Result<String, SqlError> {
        match self.peek() {
            Token::SingleQuotedString(s) | Token::EscapedStringLiteral(s) => {
                self.parser.advance_token();
                Ok(s)
            }
            Token::DollarQuotedString(s) => {
                self.parser.advance_token();
                Ok(s.value)
            }
            _ => Err(self.unexpected()),
        }
    }

    pub fn integer(&mut self) -> Result<i64, SqlError> {
        let error = self.unexpected();
        let negative = self.eat_token(&Token::Minus);
        let Token::Number(digits, _) = self.peek() else { return Err(self.unexpected()) };
        let value: i64 = digits.parse().map_err(|_| error)?;
        self.parser.advance_token();
        Ok(if negative { -value } else { value })
    }

    /// `name`, `'name'`, a number or a word, as text: the value of a setting.
    pub fn setting_value(&mut self) -> Result<String, SqlError> {
        match self.peek() {
            Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) => self.string(),
            Token::Number(..) | Token::Minus => match self.integer() {
                Ok(n) => Ok(n.to_string()),
                Err(_) => Ok(self.native(|p| p.parse_expr())?.to_string()),
            },
            Token::Word(_) => self.ident(),
            _ => Err(self.unexpected()),
        }
    }
}

/// A name of at most three parts; the database is not checked here.
pub(crate) fn name_ref(name: &ObjectName, position: usize) -> Result<NameRef, SqlError> {
    let mut parts = vec![];
    for part in &name.0 {
        match part {
            ObjectNamePart::Identifier(ident) => parts.push(fold(ident)),
            ObjectNamePart::Function(_) => {
                return Err(SqlError::new(SqlState::SYNTAX, format!("improper qualified name: {name}")).at(position));
            }
        }
    }
    let improper =
        || SqlError::new(SqlState::SYNTAX, format!("improper qualified name (too many dotted names): {name}"));
    if parts.len() > 3 {
        return Err(improper().at(position));
    }
    let last = parts.pop().ok_or_else(|| improper().at(position))?;
    Ok(NameRef { schema: parts.pop(), name: last, position })
}

/// sqlparser ends its messages with ` at Line: 1, Column: 8`.
fn location_in(message: &str) -> Option<Location> {
    let at = message.rfind("at Line: ")?;
    let (line, column) = message[at + "at Line: ".len()..].split_once(", Column: ")?;
    Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}
