//! The grammar of CREATE FUNCTION and DROP FUNCTION.

use super::ast::{Ast, CreateFunctionAst, FunctionRef, ParameterAst, ReturnsAst};
use super::cursor::Cursor;
use hw_plan::function::Volatility;
use hw_repr::{SqlError, SqlState};
use sqlparser::ast::DataType;
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::Token;

fn invalid(message: &str) -> SqlError {
    SqlError::new(SqlState::new("42P13"), message)
}

fn unsupported(c: &Cursor, what: &str) -> SqlError {
    SqlError::unsupported(format!("{what} is not supported")).at(c.position())
}

/// `CREATE [OR REPLACE] FUNCTION name(parameters) RETURNS type ... AS 'body'`
pub(super) fn create(c: &mut Cursor) -> Result<Ast, SqlError> {
    c.expect(&["CREATE"])?;
    let replace = c.eat(&["OR", "REPLACE"]);
    c.expect(&["FUNCTION"])?;
    let name = c.name()?;
    let parameters = parameters(c)?;
    let returns = if c.eat(&["RETURNS"]) { Some(returns(c)?) } else { None };
    let mut function = CreateFunctionAst {
        name,
        replace,
        parameters,
        returns,
        strict: false,
        volatility: Volatility::Volatile,
        body: String::new(),
        is_expression: false,
    };
    let (mut language, mut body) = (None, None);
    while !c.at_end() {
        if c.eat(&["LANGUAGE"]) {
            let twice = language.replace(match c.string() {
                Ok(name) => name.to_ascii_lowercase(),
                Err(_) => c.ident()?,
            });
            conflicting(c, twice.is_some())?;
        } else if c.eat(&["AS"]) {
            let twice = body.replace(c.string()?);
            conflicting(c, twice.is_some())?;
        } else if c.word(0).as_deref() == Some("RETURN") {
            c.expect(&["RETURN"])?;
            body = Some(c.native(|p| p.parse_expr())?.to_string());
            function.is_expression = true;
            language.get_or_insert_with(|| "sql".into());
        } else {
            option(c, &mut function)?;
        }
    }
    function.body = body.ok_or_else(|| invalid("no function body specified"))?;
    match language.as_deref() {
        None => Err(invalid("no language specified")),
        Some("sql") => Ok(Ast::CreateFunction(Box::new(function))),
        Some(known @ ("plpgsql" | "c" | "internal")) => {
            Err(SqlError::unsupported(format!("functions in language {known} are not supported"))
                .hint("Write the body in SQL: LANGUAGE SQL."))
        }
        Some(other) => Err(SqlError::new(SqlState::UNDEFINED_OBJECT, format!("language \"{other}\" does not exist"))),
    }
}

fn conflicting(c: &Cursor, twice: bool) -> Result<(), SqlError> {
    match twice {
        true => Err(SqlError::new(SqlState::SYNTAX, "conflicting or redundant options").at(c.position())),
        false => Ok(()),
    }
}

/// What may be said of a function and changes nothing.
const DEFAULTS: [&[&str]; 4] =
    [&["LEAKPROOF"], &["NOT", "LEAKPROOF"], &["SECURITY", "INVOKER"], &["EXTERNAL", "SECURITY", "INVOKER"]];

/// What stands behind the signature, but for the language and the body.
fn option(c: &mut Cursor, function: &mut CreateFunctionAst) -> Result<(), SqlError> {
    if c.eat(&["IMMUTABLE"]) {
        function.volatility = Volatility::Immutable;
    } else if c.eat(&["STABLE"]) {
        function.volatility = Volatility::Stable;
    } else if c.eat(&["VOLATILE"]) {
        function.volatility = Volatility::Volatile;
    } else if c.eat(&["STRICT"]) || c.eat(&["RETURNS", "NULL", "ON", "NULL", "INPUT"]) {
        function.strict = true;
    } else if c.eat(&["CALLED", "ON", "NULL", "INPUT"]) {
        function.strict = false;
    } else if c.eat(&["PARALLEL"]) {
        // How it may be computed is ours to decide.
        c.ident()?;
    } else if c.eat(&["COST"]) || c.eat(&["ROWS"]) {
        c.native(|p| p.parse_number_value())?;
    } else if DEFAULTS.iter().any(|words| c.eat(words)) {
        // Nothing else is there.
    } else if matches!(c.word(0).as_deref(), Some("SECURITY" | "EXTERNAL" | "WINDOW" | "SET" | "SUPPORT" | "TRANSFORM"))
    {
        let what = c.word(0).unwrap_or_default();
        return Err(unsupported(c, &format!("{what} in CREATE FUNCTION")));
    } else if c.word(0).as_deref() == Some("BEGIN") {
        return Err(unsupported(c, "BEGIN ATOMIC").hint("Write AS $$ SELECT ... $$, or RETURN expression."));
    } else {
        return Err(c.unexpected());
    }
    Ok(())
}

fn returns(c: &mut Cursor) -> Result<ReturnsAst, SqlError> {
    if c.eat(&["TABLE"]) {
        c.expect_token(&Token::LParen)?;
        let mut columns = vec![];
        loop {
            columns.push((c.ident()?, c.native(|p| p.parse_data_type())?));
            if !c.eat_token(&Token::Comma) {
                break;
            }
        }
        c.expect_token(&Token::RParen)?;
        return Ok(ReturnsAst::Table(columns));
    }
    if c.eat(&["SETOF"]) {
        return Ok(ReturnsAst::Set(c.native(|p| p.parse_data_type())?));
    }
    Ok(ReturnsAst::Value(c.native(|p| p.parse_data_type())?))
}

fn parameters(c: &mut Cursor) -> Result<Vec<ParameterAst>, SqlError> {
    c.expect_token(&Token::LParen)?;
    let mut all = vec![];
    if c.eat_token(&Token::RParen) {
        return Ok(all);
    }
    loop {
        all.push(parameter(c, true)?);
        if !c.eat_token(&Token::Comma) {
            break;
        }
    }
    c.expect_token(&Token::RParen)?;
    Ok(all)
}

/// `[IN] [name] type [DEFAULT expr | = expr]`
fn parameter(c: &mut Cursor, defaults: bool) -> Result<ParameterAst, SqlError> {
    if matches!(c.word(0).as_deref(), Some("OUT" | "INOUT" | "VARIADIC")) {
        let mode = c.word(0).unwrap_or_default();
        return Err(unsupported(c, &format!("a parameter of mode {mode}"))
            .hint("Declare what it gives with RETURNS type or RETURNS TABLE (...)."));
    }
    c.eat(&["IN"]);
    let alone = c.native(|p| {
        p.maybe_parse(|p| {
            let ty = p.parse_data_type()?;
            let next = p.peek_token_ref().token.clone();
            let word = matches!(&next, Token::Word(w) if w.value.eq_ignore_ascii_case("default"));
            match word || matches!(next, Token::Comma | Token::RParen | Token::Eq | Token::Assignment) {
                true => Ok(ty),
                false => Err(ParserError::ParserError("a name".into())),
            }
        })
    })?;
    let (name, ty): (Option<String>, DataType) = match alone {
        Some(ty) => (None, ty),
        None => (Some(c.ident()?), c.native(|p| p.parse_data_type())?),
    };
    let given = defaults && (c.eat(&["DEFAULT"]) || c.eat_token(&Token::Eq) || c.eat_token(&Token::Assignment));
    let default = if given { Some(c.native(|p| p.parse_expr())?) } else { None };
    Ok(ParameterAst { name, ty, default })
}

/// `DROP FUNCTION [IF EXISTS] name [(types)], ... [CASCADE | RESTRICT]`
pub(super) fn drop(c: &mut Cursor) -> Result<Ast, SqlError> {
    c.expect(&["DROP", "FUNCTION"])?;
    let if_exists = c.eat(&["IF", "EXISTS"]);
    let mut functions = vec![];
    loop {
        let name = c.name()?;
        let types = match c.peek() == Token::LParen {
            true => Some(signature(c)?),
            false => None,
        };
        functions.push(FunctionRef { name, types });
        if !c.eat_token(&Token::Comma) {
            break;
        }
    }
    let cascade = c.eat(&["CASCADE"]);
    if !cascade {
        c.eat(&["RESTRICT"]);
    }
    Ok(Ast::DropFunction { if_exists, functions, cascade })
}

fn signature(c: &mut Cursor) -> Result<Vec<DataType>, SqlError> {
    c.expect_token(&Token::LParen)?;
    let mut types = vec![];
    if c.eat_token(&Token::RParen) {
        return Ok(types);
    }
    loop {
        types.push(parameter(c, false)?.ty);
        if !c.eat_token(&Token::Comma) {
            break;
        }
    }
    c.expect_token(&Token::RParen)?;
    Ok(types)
}
