//! Text to statements: splits a string at its semicolons, parses our own statements and leaves the rest to
//! sqlparser. Promises: every syntax error is `42601` in PostgreSQL's words with a one-based character position.
//! Knows nothing of the catalog.

mod alter;
pub mod ast;
mod copy;
mod cursor;
pub(crate) mod depth;
mod dialect;
mod function;
pub(crate) mod grammar;
mod lexical;
pub(crate) mod own;
mod strings;
mod suffix;
pub(crate) mod table;
pub(crate) mod types;

use ast::Ast;
use cursor::Cursor;
use hw_repr::{SqlError, SqlState};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, TokenizerError};

/// One statement of the text a client sent.
#[derive(Clone, Debug)]
pub struct ParsedStatement {
    /// Its own text, without the semicolon.
    pub text: String,
    /// Zero-based character offset of `text` in what was parsed; added to error positions of later stages.
    pub start_offset: usize,
    /// What it says.
    pub ast: Ast,
}

static DIALECT: dialect::Postgres = dialect::Postgres;

/// Parses every statement of `sql`; empty statements are skipped. Positions in errors count from the start of `sql`.
pub fn parse(sql: &str) -> Result<Vec<ParsedStatement>, SqlError> {
    let tokens = tokenize(sql)?;
    let mut statements = vec![];
    for part in tokens.split(|t| t.token == Token::SemiColon) {
        let solid = |t: &&TokenWithSpan| !matches!(t.token, Token::Whitespace(_) | Token::EOF);
        let (Some(first), Some(last)) = (part.iter().find(solid), part.iter().rev().find(solid)) else {
            continue;
        };
        let start = byte_offset(sql, first.span.start);
        let end = byte_offset(sql, last.span.end).max(start);
        let text = sql[start..end].to_string();
        let start_offset = sql[..start].chars().count();
        let ast = parse_one(&text).map_err(|mut e| {
            e.position = e.position.map(|p| p + start_offset);
            e
        })?;
        statements.push(ParsedStatement { text, start_offset, ast });
    }
    Ok(statements)
}

/// Parses one statement; positions count from its start.
pub(crate) fn parse_one(text: &str) -> Result<Ast, SqlError> {
    let mut tokens = tokenize(text)?;
    depth::check(&tokens)?;
    let table = table::take(&mut tokens);
    let suffix = suffix::take(&mut tokens);
    depth::with_stack(text, || {
        let mut cursor = Cursor::new(text, tokens, &DIALECT);
        let mut ast = own::parse_statement(&mut cursor)?;
        cursor.expect_end()?;
        balance(&mut ast);
        if let Some(table) = table {
            ast = table.around(ast);
        }
        match suffix {
            Some(suffix) => suffix.around(ast, text),
            None => Ok(ast),
        }
    })
}

/// Parses the text of a stored query.
pub(crate) fn parse_query(text: &str) -> Result<Box<sqlparser::ast::Query>, SqlError> {
    let tokens = tokenize(text)?;
    depth::check(&tokens)?;
    depth::with_stack(text, || {
        let mut cursor = Cursor::new(text, tokens, &DIALECT);
        let mut query = cursor.native(|p| p.parse_query())?;
        cursor.expect_end()?;
        depth::balance_query(&mut query);
        Ok(query)
    })
}

/// Parses the text of a stored expression.
pub(crate) fn parse_expr(text: &str) -> Result<sqlparser::ast::Expr, SqlError> {
    let tokens = tokenize(text)?;
    depth::check(&tokens)?;
    depth::with_stack(text, || {
        let mut cursor = Cursor::new(text, tokens, &DIALECT);
        let expr = cursor.native(|p| p.parse_expr())?;
        cursor.expect_end()?;
        Ok(expr)
    })
}

/// Makes the chains of AND and OR in a statement balanced.
fn balance(ast: &mut Ast) {
    match ast {
        Ast::Sql(s) => depth::balance(s),
        Ast::CreateView { query, .. } => depth::balance_query(query),
        Ast::Explain { inner, .. } => balance(inner),
        _ => {}
    }
}

fn tokenize(text: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    let mut tokens = read_tokens(text)?;
    strings::rewrite(text, &mut tokens)?;
    types::typed_literals(&mut tokens);
    types::stars_of_rows(&mut tokens);
    lexical::rewrite(&mut tokens)?;
    check_brackets(&tokens)?;
    Ok(tokens)
}

/// `54001` where brackets stand in each other deeper than this: the parser tries each of them twice where it gives up.
fn check_brackets(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    const DEPTH_MAX: usize = 64;
    let mut depth = 0usize;
    for token in tokens {
        match token.token {
            Token::LBracket => depth += 1,
            Token::RBracket => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(SqlError::new(SqlState::new("54001"), "stack depth limit exceeded")
                .detail(format!("Brackets stand in each other more than {DEPTH_MAX} deep.")));
        }
    }
    Ok(())
}

/// The tokens; escapes that the parser does not know are read by [`lexical::escaped`], and put where it was given others.
fn read_tokens(text: &str) -> Result<Vec<TokenWithSpan>, SqlError> {
    let mut read: Vec<(Location, String)> = vec![];
    let mut masked = std::borrow::Cow::Borrowed(text);
    loop {
        let error = match Tokenizer::new(&DIALECT, &masked).tokenize_with_location() {
            Ok(mut tokens) => {
                for (at, value) in read {
                    if let Some(token) = tokens.iter_mut().find(|t| t.span.start == at) {
                        token.token = Token::EscapedStringLiteral(value);
                    }
                }
                return Ok(tokens);
            }
            Err(e) => e,
        };
        let start = byte_offset(text, error.location);
        match error.message.contains("encoded string").then(|| lexical::escaped(&text[start..])).flatten() {
            None => return Err(token_error(text, error)),
            Some(Err(e)) => return Err(e.at(char_position(text, error.location))),
            Some(Ok((value, length))) => {
                let mask = |c: char| if c == '\n' { c } else { 'a' };
                let body: String = text[start + 2..start + length - 1].chars().map(mask).collect();
                let before = byte_offset(&masked, error.location);
                masked = format!("{}E'{body}'{}", &masked[..before], &text[start + length..]).into();
                read.push((error.location, value));
            }
        }
    }
}

fn token_error(text: &str, TokenizerError { message, location }: TokenizerError) -> SqlError {
    if let Some((_, sign)) = message.split_once("valid binary operator after '") {
        // Its first characters are an operator of the parser's.
        let message = format!("operator does not exist: {}", sign.trim_end_matches('\''));
        return SqlError::new(SqlState::UNDEFINED_FUNCTION, message).at(char_position(text, location));
    }
    let message = match message.as_str() {
        m if m.contains("string literal") => "unterminated quoted string".to_string(),
        m if m.contains("close delimiter") => "unterminated quoted identifier".to_string(),
        m if m.contains("multi-line comment") => "unterminated /* comment".to_string(),
        m => format!("syntax error: {}", m.to_lowercase()),
    };
    let near = match message.starts_with("unterminated") {
        true => format!("{message} at or near \"{}\"", &text[byte_offset(text, location)..]),
        false => message,
    };
    SqlError::new(SqlState::SYNTAX, near).at(char_position(text, location))
}

/// Byte offset of a line and column (both one-based, columns in characters).
pub(crate) fn byte_offset(text: &str, at: Location) -> usize {
    let (mut line, mut column) = (1, 1);
    for (offset, c) in text.char_indices() {
        if line == at.line && column == at.column {
            return offset;
        }
        if c == '\n' {
            line += 1;
            column = 1;
        } else {
            column += 1;
        }
    }
    text.len()
}

/// The name an identifier stands for.
pub(crate) fn ast_fold(ident: &sqlparser::ast::Ident) -> String {
    cursor::fold(ident)
}

/// One-based character position of a line and column.
pub(crate) fn char_position(text: &str, at: Location) -> usize {
    text[..byte_offset(text, at)].chars().count() + 1
}
