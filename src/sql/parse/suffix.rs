//! Clauses of our own behind statements that sqlparser reads: `AS OF time` behind a query, `WITH (RETAIN HISTORY ...)`
//! behind CREATE TABLE. They are taken off the tokens before, and put around what was read of the rest.

use super::ast::{Ast, Opt};
use super::cursor::Cursor;
use super::{DIALECT, own};
use hw_repr::SqlError;
use sqlparser::ast::Statement as Sql;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// What stood behind a statement.
pub(super) enum Suffix {
    /// What follows `AS OF`.
    AsOf(Vec<TokenWithSpan>),
    /// What follows `WITH`.
    Retain(Vec<TokenWithSpan>),
    /// `OVERRIDING SYSTEM VALUE`, or USER with false.
    Overriding(bool),
}

/// Words that a time begins with. Any other one behind `AS of` goes on after an alias of that name.
const TIMES: &[&str] = &["NOW", "CURRENT_TIMESTAMP", "TRANSACTION_TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP", "CAST"];

/// Takes the clause off, where there is one.
pub(super) fn take(tokens: &mut Vec<TokenWithSpan>) -> Option<Suffix> {
    let solid: Vec<usize> =
        (0..tokens.len()).filter(|i| !matches!(tokens[*i].token, Token::Whitespace(_) | Token::EOF)).collect();
    let word = |n: usize| match solid.get(n).map(|i| &tokens[*i].token) {
        Some(Token::Word(w)) if w.quote_style.is_none() => w.value.to_ascii_uppercase(),
        _ => String::new(),
    };
    let table = word(0) == "CREATE" && word(1) == "TABLE";
    if word(0) == "SUBSCRIBE" {
        return None;
    }
    let mut depth = 0_usize;
    if word(0) == "INSERT"
        && let Some(n) = (1..solid.len()).find(|n| {
            word(*n) == "OVERRIDING" && ["SYSTEM", "USER"].contains(&word(n + 1).as_str()) && word(n + 2) == "VALUE"
        })
    {
        let system = word(n + 1) == "SYSTEM";
        tokens.drain(solid[n]..=solid[n + 2]);
        return Some(Suffix::Overriding(system));
    }
    let mut found = None;
    for (n, at) in solid.iter().enumerate() {
        let next = solid.get(n + 2).map(|i| &tokens[*i].token);
        match &tokens[*at].token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            _ if table => {
                let parens = solid.get(n + 1).is_some_and(|i| tokens[*i].token == Token::LParen);
                found = found.or((word(n) == "WITH" && parens && word(n + 2) == "RETAIN").then_some((n, n + 1)));
            }
            _ if word(n) == "AS" && word(n + 1) == "OF" => {
                let time = match next {
                    Some(Token::Number(..) | Token::Placeholder(_) | Token::Minus) => true,
                    Some(Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_)) => true,
                    _ => TIMES.contains(&word(n + 2).as_str()),
                };
                found = if time { Some((n, n + 2)) } else { found };
            }
            _ => {}
        }
    }
    let (from, rest) = found?;
    let (from, rest) = (solid[from], solid[rest]);
    let clause = tokens.split_off(rest);
    tokens.truncate(from);
    Some(if table { Suffix::Retain(clause) } else { Suffix::AsOf(clause) })
}

impl Suffix {
    /// Puts the clause around the statement that it stood behind.
    pub(super) fn around(self, ast: Ast, text: &str) -> Result<Ast, SqlError> {
        match self {
            Suffix::AsOf(tokens) => {
                let mut c = Cursor::new(text, tokens, &DIALECT);
                let position = c.position();
                let at = Box::new(c.native(|p| p.parse_expr())?);
                c.expect_end()?;
                match &ast {
                    // Read again with it when it is executed.
                    Ast::Prepare { .. } => Ok(ast),
                    Ast::Sql(s) if matches!(**s, Sql::Query(_)) => Ok(Ast::AsOf { inner: Box::new(ast), at }),
                    Ast::Explain { .. } => Ok(Ast::AsOf { inner: Box::new(ast), at }),
                    _ => Err(SqlError::unsupported("AS OF stands behind a SELECT of its own")
                        .hint("A view, and what a statement writes, is always computed from the newest contents.")
                        .at(position)),
                }
            }
            Suffix::Overriding(system) => Ok(Ast::Overriding { inner: Box::new(ast), system }),
            Suffix::Retain(tokens) => {
                let mut c = Cursor::new(text, tokens, &DIALECT);
                let options = own::options(&mut c, own::TABLE)?;
                c.expect_end()?;
                match ast {
                    Ast::Sql(statement) => Ok(Ast::CreateTable { statement, options }),
                    Ast::CreateTable { statement, options: before } => {
                        Ok(Ast::CreateTable { statement, options: [options, before].concat() })
                    }
                    other => Ok(other),
                }
            }
        }
    }
}

/// Options of views and tables.
pub(super) fn view_options(c: &mut Cursor, materialized: bool) -> Result<Vec<Opt>, SqlError> {
    if c.word(0).as_deref() != Some("WITH") {
        return Ok(vec![]);
    }
    if !materialized {
        let e = SqlError::unsupported("a plain view has no options");
        return Err(e.hint("Nothing is kept of it; create a materialized view.").at(c.position()));
    }
    c.expect(&["WITH"])?;
    own::options(c, own::VIEW)
}
