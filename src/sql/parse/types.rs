//! The grammar of CREATE TYPE and ALTER TYPE, and literals of the types that they define.

use super::ast::{Ast, TypeBody};
use super::cursor::Cursor;
use hw_plan::statement::TypeChange;
use hw_repr::{SqlError, SqlState};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// `CREATE TYPE name AS ENUM ('a', ...)`, `CREATE TYPE name AS (field type, ...)`
pub(super) fn create(c: &mut Cursor) -> Result<Ast, SqlError> {
    c.expect(&["CREATE", "TYPE"])?;
    let name = c.name()?;
    if !c.eat(&["AS"]) {
        return Err(
            SqlError::unsupported("only CREATE TYPE name AS ENUM (...) and AS (...) are supported").at(c.position())
        );
    }
    if c.eat(&["ENUM"]) {
        return Ok(Ast::CreateType { name, definition: TypeBody::Enum(list(c, |c| c.string())?) });
    }
    if c.word(0).is_some() {
        let what = c.word(0).unwrap_or_default();
        return Err(SqlError::unsupported(format!("CREATE TYPE ... AS {what} is not supported")).at(c.position()));
    }
    let fields = list(c, |c| Ok((c.ident()?, c.native(|p| p.parse_data_type())?)))?;
    Ok(Ast::CreateType { name, definition: TypeBody::Row(fields) })
}

/// What stands between parentheses and commas, which may be nothing.
fn list<T>(c: &mut Cursor, item: impl Fn(&mut Cursor) -> Result<T, SqlError>) -> Result<Vec<T>, SqlError> {
    c.expect_token(&Token::LParen)?;
    let mut all = vec![];
    if c.eat_token(&Token::RParen) {
        return Ok(all);
    }
    loop {
        all.push(item(c)?);
        if !c.eat_token(&Token::Comma) {
            break;
        }
    }
    c.expect_token(&Token::RParen)?;
    Ok(all)
}

/// Behind `ALTER TYPE name`: `ADD VALUE [IF NOT EXISTS] 'a' [BEFORE | AFTER 'b']`, `RENAME VALUE 'a' TO 'b'`.
pub(super) fn alter_action(c: &mut Cursor) -> Result<Option<TypeChange>, SqlError> {
    if c.eat(&["ADD", "VALUE"]) {
        let if_not_exists = c.eat(&["IF", "NOT", "EXISTS"]);
        let label = c.string()?;
        let beside = if c.eat(&["BEFORE"]) {
            Some((true, c.string()?))
        } else if c.eat(&["AFTER"]) {
            Some((false, c.string()?))
        } else {
            None
        };
        return Ok(Some(TypeChange::AddValue { label, beside, if_not_exists }));
    }
    if c.eat(&["RENAME", "VALUE"]) {
        let from = c.string()?;
        c.expect(&["TO"])?;
        return Ok(Some(TypeChange::RenameValue { from, to: c.string()? }));
    }
    match c.word(0).as_deref() {
        Some("ADD" | "DROP" | "ALTER") => {
            let message =
                "of ALTER TYPE, only ADD VALUE, RENAME VALUE, RENAME TO, SET SCHEMA and OWNER TO are supported";
            Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).at(c.position()))
        }
        Some(_) => Ok(None),
        None => Err(c.unexpected()),
    }
}

/// `mood 'ok'` as `'ok'::mood`: a string behind a name that is no keyword can be nothing else within a query.
pub(super) fn typed_literals(tokens: &mut Vec<TokenWithSpan>) {
    const QUERY: &[Keyword] = &[Keyword::SELECT, Keyword::VALUES, Keyword::WHERE];
    let is_query = |t: &TokenWithSpan| matches!(&t.token, Token::Word(w) if QUERY.contains(&w.keyword));
    let Some(start) = tokens.iter().position(is_query) else { return };
    let mut at = start;
    while at < tokens.len() {
        let is_name =
            matches!(&tokens[at].token, Token::Word(w) if w.keyword == Keyword::NoKeyword && w.quote_style.is_none());
        let next = tokens[at + 1..].iter().position(|t| !matches!(t.token, Token::Whitespace(_))).map(|n| at + 1 + n);
        if let Some(next) = next.filter(|next| is_name && *next > at + 1)
            && matches!(tokens[next].token, Token::SingleQuotedString(_))
        {
            let name = tokens[at].clone();
            let literal = tokens[next].clone();
            let colons = TokenWithSpan { token: Token::DoubleColon, span: literal.span };
            tokens.splice(at..=next, [literal, colons, name]);
            at += 2;
        }
        at += 1;
    }
}

/// The field that stands for all of a row: see [`stars_of_rows`].
pub(crate) const ALL_FIELDS: &str = "*";

/// `(row).*` as `(row)."*"`, which the parser takes for a field.
pub(super) fn stars_of_rows(tokens: &mut [TokenWithSpan]) {
    for at in 2..tokens.len() {
        let [row, dot, star] = &tokens[at - 2..=at] else { continue };
        if row.token == Token::RParen && dot.token == Token::Period && star.token == Token::Mul {
            tokens[at].token = Token::make_word(ALL_FIELDS, Some('"'));
        }
    }
}
