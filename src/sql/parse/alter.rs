//! The grammar of ALTER of objects: RENAME, SET SCHEMA, OWNER TO.

use super::ast::{Ast, DropKind};
use super::cursor::Cursor;
use hw_plan::statement::Alteration;
use hw_repr::{SqlError, SqlState};
use sqlparser::tokenizer::Token;

/// `ALTER kind [IF EXISTS] name action`; nothing is taken where it is something else.
pub(super) fn alter(c: &mut Cursor) -> Result<Option<Ast>, SqlError> {
    let words: &[(&[&str], DropKind)] = &[
        (&["ALTER", "TABLE"], DropKind::Table),
        (&["ALTER", "VIEW"], DropKind::View),
        (&["ALTER", "MATERIALIZED", "VIEW"], DropKind::MaterializedView),
        (&["ALTER", "SOURCE"], DropKind::Source),
        (&["ALTER", "INDEX"], DropKind::Index),
        (&["ALTER", "CONNECTION"], DropKind::Connection),
        (&["ALTER", "SCHEMA"], DropKind::Schema),
        (&["ALTER", "TYPE"], DropKind::Type),
    ];
    let Some((_, kind)) = words.iter().find(|(words, _)| c.eat(words)) else { return Ok(None) };
    let kind = *kind;
    let if_exists = c.eat(&["IF", "EXISTS"]);
    if kind == DropKind::Table {
        c.eat(&["ONLY"]);
    }
    let name = c.name()?;
    if kind == DropKind::Table {
        c.eat_token(&Token::Mul);
    }
    if kind == DropKind::Source && !if_exists {
        if c.eat(&["PAUSE"]) {
            return Ok(Some(Ast::AlterSource { name, paused: true }));
        }
        if c.eat(&["RESUME"]) {
            return Ok(Some(Ast::AlterSource { name, paused: false }));
        }
    }
    if kind == DropKind::Type
        && let Some(change) = super::types::alter_action(c)?
    {
        return Ok(Some(Ast::AlterType { name, change }));
    }
    let change = action(c, kind)?;
    Ok(Some(Ast::Alter { kind, if_exists, name, change }))
}

fn action(c: &mut Cursor, kind: DropKind) -> Result<Alteration, SqlError> {
    let relation = matches!(kind, DropKind::Table | DropKind::View | DropKind::MaterializedView | DropKind::Source);
    if c.eat(&["RENAME"]) {
        if c.eat(&["TO"]) {
            return Ok(Alteration::RenameTo(c.ident()?));
        }
        if relation && !matches!(c.word(0).as_deref(), Some("CONSTRAINT" | "ATTRIBUTE" | "VALUE")) {
            c.eat(&["COLUMN"]);
            let from = c.ident()?;
            c.expect(&["TO"])?;
            return Ok(Alteration::RenameColumn { from, to: c.ident()? });
        }
    } else if kind != DropKind::Schema && c.eat(&["SET", "SCHEMA"]) {
        return Ok(Alteration::SetSchema(c.ident()?));
    } else if c.eat(&["OWNER", "TO"]) {
        return Ok(Alteration::OwnerTo(c.ident()?));
    }
    match c.word(0) {
        Some(word) => {
            let message = format!("{} ... {word} is not supported yet", kind.alter_tag());
            let hint = "RENAME TO, RENAME COLUMN, SET SCHEMA and OWNER TO are.";
            Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).hint(hint).at(c.position()))
        }
        None => Err(c.unexpected()),
    }
}
