//! The grammar of COPY, in its present form and the one before PostgreSQL 9.

use super::ast::{Ast, CopyAst, CopyOption, CopyWhat};
use super::cursor::Cursor;
use hw_repr::{SqlError, SqlState};
use sqlparser::tokenizer::Token;

/// `COPY t [(columns)] | (query) FROM | TO STDIN | STDOUT [WITH] (options)`
pub(super) fn copy(c: &mut Cursor) -> Result<Ast, SqlError> {
    c.expect(&["COPY"])?;
    let what = match c.eat_token(&Token::LParen) {
        true => {
            let query = c.native(|p| p.parse_query())?;
            c.expect_token(&Token::RParen)?;
            CopyWhat::Query(query)
        }
        false => {
            let name = c.name()?;
            let columns = if c.peek() == Token::LParen { names(c)? } else { vec![] };
            CopyWhat::Table(name, columns)
        }
    };
    let from = c.eat(&["FROM"]);
    if !from {
        c.expect(&["TO"])?;
    }
    let position = c.position();
    if matches!(c.peek(), Token::SingleQuotedString(_)) || c.word(0).as_deref() == Some("PROGRAM") {
        let e = SqlError::unsupported("COPY of files and programs of the server is not supported");
        return Err(e
            .hint("Use COPY FROM STDIN or COPY TO STDOUT; psql's \\copy reads and writes files.")
            .at(position));
    }
    if !c.eat(&["STDIN"]) && !c.eat(&["STDOUT"]) {
        return Err(c.unexpected());
    }
    if from && matches!(what, CopyWhat::Query(_)) {
        return Err(SqlError::new(SqlState::SYNTAX, "syntax error at or near \"FROM\"").at(position));
    }
    c.eat(&["WITH"]);
    let options = if c.eat_token(&Token::LParen) { options(c)? } else { old_options(c)? };
    let filter = match from && c.eat(&["WHERE"]) {
        true => Some(c.native(|p| p.parse_expr())?),
        false => None,
    };
    Ok(Ast::Copy(Box::new(CopyAst { what, from, options, filter })))
}

/// `(a, b)`
fn names(c: &mut Cursor) -> Result<Vec<(String, usize)>, SqlError> {
    c.expect_token(&Token::LParen)?;
    let mut all = vec![];
    loop {
        let position = c.position();
        all.push((c.ident()?, position));
        if !c.eat_token(&Token::Comma) {
            break;
        }
    }
    c.expect_token(&Token::RParen)?;
    Ok(all)
}

fn options(c: &mut Cursor) -> Result<Vec<CopyOption>, SqlError> {
    let mut all = vec![];
    loop {
        let position = c.position();
        let name = c.ident()?.to_ascii_lowercase();
        let mut option = CopyOption { name, position, value: None, columns: None };
        match c.peek() {
            Token::LParen => option.columns = Some(names(c)?),
            Token::Mul => {
                c.eat_token(&Token::Mul);
                option.columns = Some(vec![]);
            }
            Token::Comma | Token::RParen => {}
            _ => option.value = Some(c.setting_value()?),
        }
        all.push(option);
        if !c.eat_token(&Token::Comma) {
            break;
        }
    }
    c.expect_token(&Token::RParen)?;
    Ok(all)
}

fn old_options(c: &mut Cursor) -> Result<Vec<CopyOption>, SqlError> {
    let mut all = vec![];
    loop {
        let position = c.position();
        let mut add = |name: &str, value: Option<String>, columns| {
            all.push(CopyOption { name: name.into(), position, value, columns });
        };
        if c.eat(&["BINARY"]) {
            add("format", Some("binary".into()), None);
        } else if c.eat(&["CSV"]) {
            add("format", Some("csv".into()), None);
        } else if c.eat(&["HEADER"]) {
            add("header", None, None);
        } else if c.eat(&["FREEZE"]) {
            add("freeze", None, None);
        } else if c.eat(&["FORCE", "QUOTE"]) {
            let columns = if c.eat_token(&Token::Mul) { vec![] } else { list(c)? };
            add("force_quote", None, Some(columns));
        } else if c.eat(&["FORCE", "NOT", "NULL"]) {
            let columns = list(c)?;
            add("force_not_null", None, Some(columns));
        } else if c.eat(&["FORCE", "NULL"]) {
            let columns = list(c)?;
            add("force_null", None, Some(columns));
        } else if let Some(word) =
            ["DELIMITER", "DELIMITERS", "NULL", "QUOTE", "ESCAPE", "ENCODING"].into_iter().find(|w| c.eat(&[w]))
        {
            c.eat(&["AS"]);
            let value = c.string()?;
            add(word.trim_end_matches('S').to_ascii_lowercase().as_str(), Some(value), None);
        } else {
            return Ok(all);
        }
    }
}

/// `a, b` without parentheses.
fn list(c: &mut Cursor) -> Result<Vec<(String, usize)>, SqlError> {
    let mut all = vec![];
    loop {
        let position = c.position();
        all.push((c.ident()?, position));
        if !c.eat_token(&Token::Comma) {
            return Ok(all);
        }
    }
}
