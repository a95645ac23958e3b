//! The grammar of our own statements, one function each.

use super::ast::{Ast, DropKind, NameRef, Opt, OptValue, ShowKind};
use super::cursor::{Cursor, name_ref};
use hw_repr::{SqlError, SqlState};
use sqlparser::ast::Statement as Sql;
use sqlparser::tokenizer::Token;

/// Options of `CREATE CONNECTION ... TO KAFKA`.
pub(crate) const KAFKA_CONNECTION: &[&str] =
    &["BROKER", "BROKERS", "SASL MECHANISM", "SASL USERNAME", "SASL PASSWORD", "SECURITY PROTOCOL", "SSL CA LOCATION"];
/// Options of `CREATE SOURCE ... FROM KAFKA`.
pub(crate) const KAFKA_SOURCE: &[&str] = &["TOPIC", "START"];
/// How long the past is kept.
pub(crate) const RETAIN_HISTORY: &str = "RETAIN HISTORY";
/// What becomes of rows that fail.
pub(crate) const ON_ERROR: &str = "ON ERROR";
/// Options of tables.
pub(crate) const TABLE: &[&str] = &[RETAIN_HISTORY];
/// Options of materialized views.
pub(crate) const VIEW: &[&str] = &[RETAIN_HISTORY, ON_ERROR];
/// Options of `CREATE SOURCE ... FROM GENERATOR NEXMARK`.
pub(crate) const NEXMARK: &[&str] = &["EVENTS PER SECOND", "EVENTS", "SEED", "EPOCH", "PREFIX"];

/// Parses one statement; the cursor may be left before trailing tokens.
pub(super) fn parse_statement(c: &mut Cursor) -> Result<Ast, SqlError> {
    let Some(first) = c.word(0) else {
        return if c.peek() == Token::LParen { native(c) } else { Err(c.unexpected()) };
    };
    match first.as_str() {
        "CREATE" => create(c),
        "DROP" => drop_objects(c),
        "ALTER" => alter(c),
        "SUBSCRIBE" => subscribe(c),
        "EXPLAIN" => explain(c),
        "SHOW" => show(c),
        "SET" | "RESET" => set(c),
        "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" => transaction(c),
        "PREPARE" => prepare(c),
        "EXECUTE" => execute(c),
        "DEALLOCATE" | "DISCARD" => deallocate(c),
        "TABLE" => table(c),
        "COPY" => super::copy::copy(c),
        "TRUNCATE" => truncate(c),
        "SAVEPOINT" => {
            c.expect(&["SAVEPOINT"])?;
            Ok(Ast::Savepoint(c.ident()?))
        }
        "RELEASE" => {
            c.expect(&["RELEASE"])?;
            c.eat(&["SAVEPOINT"]);
            Ok(Ast::Release(c.ident()?))
        }
        "FLUSH" => {
            c.expect(&["FLUSH"])?;
            Ok(Ast::Flush)
        }
        "CHECKPOINT" => {
            c.expect(&["CHECKPOINT"])?;
            Ok(Ast::Checkpoint)
        }
        _ => native(c),
    }
}

/// `TABLE name` is `SELECT * FROM name`.
fn table(c: &mut Cursor) -> Result<Ast, SqlError> {
    c.expect(&["TABLE"])?;
    let query = format!("SELECT * FROM {}", c.left());
    let before = c.text[..c.text.len() - c.rest().len()].chars().count();
    let moved = "SELECT * FROM ".len().saturating_sub(before);
    c.skip_to_end();
    let query = super::parse_query(&query).map_err(|mut e| {
        e.position = e.position.map(|p| p.saturating_sub(moved).max(1));
        e
    })?;
    Ok(Ast::Sql(Box::new(Sql::Query(query))))
}

fn truncate(c: &mut Cursor) -> Result<Ast, SqlError> {
    c.expect(&["TRUNCATE"])?;
    c.eat(&["TABLE"]);
    let mut names: Vec<NameRef> = vec![];
    loop {
        c.eat(&["ONLY"]);
        names.push(c.name()?);
        c.eat_token(&Token::Mul);
        if !c.eat_token(&Token::Comma) {
            break;
        }
    }
    let restart_identity = c.eat(&["RESTART", "IDENTITY"]);
    if !restart_identity {
        c.eat(&["CONTINUE", "IDENTITY"]);
    }
    if !c.eat(&["CASCADE"]) {
        c.eat(&["RESTRICT"]);
    }
    Ok(Ast::Truncate { names, restart_identity })
}

fn native(c: &mut Cursor) -> Result<Ast, SqlError> {
    if !matches!(
        c.word(0).as_deref(),
        None | Some(
            "SELECT"
                | "WITH"
                | "VALUES"
                | "TABLE"
                | "INSERT"
                | "UPDATE"
                | "DELETE"
                | "CREATE"
                | "ALTER"
                | "GRANT"
                | "REVOKE"
                | "COMMENT"
                | "DECLARE"
                | "FETCH"
                | "CLOSE"
                | "MERGE"
                | "LISTEN"
                | "UNLISTEN"
                | "NOTIFY"
                | "ANALYZE"
                | "VACUUM"
                | "LOCK"
                | "CALL"
        )
    ) {
        return Err(c.unexpected());
    }
    Ok(Ast::Sql(Box::new(c.native(|p| p.parse_statement())?)))
}

fn create(c: &mut Cursor) -> Result<Ast, SqlError> {
    match c.word(1).as_deref() {
        Some("CONNECTION") => {
            c.expect(&["CREATE", "CONNECTION"])?;
            create_connection(c)
        }
        Some("SOURCE") => {
            c.expect(&["CREATE", "SOURCE"])?;
            create_source(c)
        }
        Some("VIEW") => {
            c.expect(&["CREATE", "VIEW"])?;
            create_view(c, false, false)
        }
        Some("MATERIALIZED") => {
            c.expect(&["CREATE", "MATERIALIZED", "VIEW"])?;
            create_view(c, true, false)
        }
        Some("OR") if c.eat(&["CREATE", "OR", "REPLACE", "VIEW"]) => create_view(c, false, true),
        Some("OR") if c.eat(&["CREATE", "OR", "REPLACE", "MATERIALIZED", "VIEW"]) => create_view(c, true, true),
        Some("TYPE") => super::types::create(c),
        Some("FUNCTION") => super::function::create(c),
        Some("OR") if c.word(3).as_deref() == Some("FUNCTION") => super::function::create(c),
        Some("SINK" | "SECRET") => {
            Err(SqlError::unsupported(format!("CREATE {} is not supported yet", c.word(1).unwrap_or_default()))
                .at(c.position()))
        }
        Some("OR") => {
            Err(SqlError::unsupported("CREATE OR REPLACE is supported for views and materialized views only")
                .hint("Drop the object first, then create it.")
                .at(c.position()))
        }
        _ => native(c),
    }
}

fn if_not_exists(c: &mut Cursor) -> bool {
    c.eat(&["IF", "NOT", "EXISTS"])
}

fn create_connection(c: &mut Cursor) -> Result<Ast, SqlError> {
    let if_not_exists = if_not_exists(c);
    let name = c.name()?;
    c.expect(&["TO"])?;
    if !c.eat(&["KAFKA"]) {
        return Err(one_of(c, "connection kind", &["KAFKA"]));
    }
    let options = options(c, KAFKA_CONNECTION)?;
    Ok(Ast::CreateConnection { name, if_not_exists, options })
}

fn create_view(c: &mut Cursor, materialized: bool, or_replace: bool) -> Result<Ast, SqlError> {
    let if_not_exists = !or_replace && if_not_exists(c);
    let name = c.name()?;
    let mut columns = vec![];
    if c.eat_token(&Token::LParen) {
        loop {
            columns.push(c.ident()?);
            if !c.eat_token(&Token::Comma) {
                break;
            }
        }
        c.expect_token(&Token::RParen)?;
    }
    let options = super::suffix::view_options(c, materialized)?;
    c.expect(&["AS"])?;
    let query = c.native(|p| p.parse_query())?;
    Ok(Ast::CreateView { name, materialized, if_not_exists, or_replace, columns, options, query })
}

fn create_source(c: &mut Cursor) -> Result<Ast, SqlError> {
    let if_not_exists = if_not_exists(c);
    let name = c.name()?;
    let columns = if c.peek() == Token::LParen { Some(source_columns(c)?) } else { None };
    c.expect(&["FROM"])?;
    if c.eat(&["GENERATOR"]) {
        if columns.is_some() {
            return Err(SqlError::new(SqlState::SYNTAX, "a generator's columns are given").at(name.position));
        }
        if !c.eat(&["NEXMARK"]) {
            return Err(one_of(c, "generator", &["NEXMARK"]));
        }
        let options = if c.peek() == Token::LParen { options(c, NEXMARK)? } else { vec![] };
        let paused = with_paused(c)?;
        return Ok(Ast::CreateGenerator { name, if_not_exists, options, paused });
    }
    if !c.eat(&["KAFKA"]) {
        return Err(one_of(c, "source kind", &["KAFKA", "GENERATOR"]));
    }
    let Some(columns) = columns else {
        return Err(SqlError::new(SqlState::SYNTAX, "a Kafka source needs a list of columns")
            .hint("Write CREATE SOURCE name (column type, ...) FROM KAFKA ...")
            .at(name.position));
    };
    c.expect(&["CONNECTION"])?;
    let connection = c.name()?;
    let options = options(c, KAFKA_SOURCE)?;
    c.expect(&["FORMAT"])?;
    if !c.eat(&["JSON"]) {
        return Err(one_of(c, "format", &["JSON"]));
    }
    let include = if c.eat(&["INCLUDE"]) { includes(c)? } else { vec![] };
    if c.eat(&["ENVELOPE"]) && !c.eat(&["NONE"]) {
        return Err(one_of(c, "envelope", &["NONE"]));
    }
    let paused = with_paused(c)?;
    Ok(Ast::CreateKafkaSource { name, if_not_exists, columns, connection, options, include, paused })
}

fn source_columns(c: &mut Cursor) -> Result<Vec<sqlparser::ast::ColumnDef>, SqlError> {
    c.expect_token(&Token::LParen)?;
    let mut columns = vec![];
    loop {
        if c.word(0).as_deref() == Some("WATERMARK") && c.word(1).as_deref() == Some("FOR") {
            return Err(SqlError::unsupported("WATERMARK is not supported yet").at(c.position()));
        }
        if c.word(0).as_deref() == Some("PRIMARY") && c.word(1).as_deref() == Some("KEY") {
            return Err(SqlError::unsupported("a PRIMARY KEY of a source is not supported yet").at(c.position()));
        }
        columns.push(c.native(|p| p.parse_column_def())?);
        if !c.eat_token(&Token::Comma) {
            break;
        }
    }
    c.expect_token(&Token::RParen)?;
    Ok(columns)
}

fn includes(c: &mut Cursor) -> Result<Vec<(String, String)>, SqlError> {
    const KINDS: &[&str] = &["KEY", "PARTITION", "OFFSET", "TIMESTAMP"];
    let mut include = vec![];
    loop {
        let Some(kind) = KINDS.iter().find(|k| c.word(0).as_deref() == Some(**k)) else {
            return Err(one_of(c, "metadata column", KINDS));
        };
        c.expect(&[kind])?;
        let name = if c.eat(&["AS"]) { c.ident()? } else { kind.to_ascii_lowercase() };
        include.push((kind.to_string(), name));
        if !c.eat_token(&Token::Comma) {
            return Ok(include);
        }
    }
}

fn with_paused(c: &mut Cursor) -> Result<bool, SqlError> {
    if !c.eat(&["WITH"]) {
        return Ok(false);
    }
    c.expect_token(&Token::LParen)?;
    if !c.eat(&["PAUSED"]) {
        return Err(one_of(c, "option", &["PAUSED"]));
    }
    let paused = boolean_value(c)?;
    c.expect_token(&Token::RParen)?;
    Ok(paused)
}

/// `[= bool]`, true where absent.
fn boolean_value(c: &mut Cursor) -> Result<bool, SqlError> {
    let equals = c.eat_token(&Token::Eq);
    match c.word(0).as_deref() {
        Some("TRUE" | "ON") => {
            c.ident()?;
            Ok(true)
        }
        Some("FALSE" | "OFF") => {
            c.ident()?;
            Ok(false)
        }
        _ if equals => Err(c.unexpected()),
        _ => Ok(true),
    }
}

/// An error at the next token that names what may stand there.
fn one_of(c: &Cursor, what: &str, valid: &[&str]) -> SqlError {
    let found = match c.peek() {
        Token::Word(w) => w.value,
        _ => return c.unexpected().hint(format!("Valid: {}.", valid.join(", "))),
    };
    SqlError::new(SqlState::SYNTAX, format!("unrecognized {what} \"{found}\""))
        .hint(format!("Valid: {}.", valid.join(", ")))
        .at(c.position())
}

pub(super) fn options(c: &mut Cursor, valid: &[&str]) -> Result<Vec<Opt>, SqlError> {
    c.expect_token(&Token::LParen)?;
    let mut options: Vec<Opt> = vec![];
    if c.eat_token(&Token::RParen) {
        return Ok(options);
    }
    loop {
        let position = c.position();
        let found = valid.iter().filter(|v| v.split(' ').enumerate().all(|(n, w)| c.word(n).as_deref() == Some(w)));
        let Some(name) = found.max_by_key(|v| v.len()) else {
            return Err(one_of(c, "option", valid));
        };
        name.split(' ').for_each(|w| {
            c.eat(&[w]);
        });
        if options.iter().any(|o| o.name == *name) {
            return Err(SqlError::new(SqlState::SYNTAX, format!("option {name} is given twice")).at(position));
        }
        if !c.eat_token(&Token::Eq) && *name == RETAIN_HISTORY {
            c.eat(&["FOR"]);
        }
        let value = if *name == ON_ERROR { words(c)? } else { option_value(c)? };
        options.push(Opt { name: name.to_string(), value, position });
        if !c.eat_token(&Token::Comma) {
            break;
        }
    }
    c.expect_token(&Token::RParen)?;
    Ok(options)
}

/// A value of one word or more.
fn words(c: &mut Cursor) -> Result<OptValue, SqlError> {
    let mut words = vec![];
    while c.word(0).is_some() {
        words.push(c.ident()?.to_ascii_uppercase());
    }
    if words.is_empty() { option_value(c) } else { Ok(OptValue::Word(words.join(" "))) }
}

fn option_value(c: &mut Cursor) -> Result<OptValue, SqlError> {
    match c.peek() {
        Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) | Token::DollarQuotedString(_) => {
            Ok(OptValue::Text(c.string()?))
        }
        Token::Number(..) | Token::Minus => Ok(OptValue::Number(c.integer()?)),
        Token::Word(_) if c.eat(&["TIMESTAMP"]) => Ok(OptValue::Timestamp(c.string()?)),
        Token::Word(_) if c.eat(&["OFFSETS"]) => offsets(c),
        Token::Word(_) if c.word(0).as_deref() == Some("SECRET") => {
            Err(SqlError::unsupported("secrets are not supported yet").at(c.position()))
        }
        Token::Word(_) => Ok(OptValue::Word(c.ident()?.to_ascii_uppercase())),
        _ => Err(c.unexpected()),
    }
}

fn offsets(c: &mut Cursor) -> Result<OptValue, SqlError> {
    c.expect_token(&Token::LParen)?;
    let mut all = vec![];
    loop {
        let error = c.unexpected();
        let partition = i32::try_from(c.integer()?).map_err(|_| error)?;
        c.expect_token(&Token::Eq)?;
        all.push((partition, c.integer()?));
        if !c.eat_token(&Token::Comma) {
            break;
        }
    }
    c.expect_token(&Token::RParen)?;
    Ok(OptValue::Offsets(all))
}

fn object_kind(c: &mut Cursor) -> Result<DropKind, SqlError> {
    let kinds: &[(&[&str], DropKind)] = &[
        (&["SOURCE"], DropKind::Source),
        (&["CONNECTION"], DropKind::Connection),
        (&["TABLE"], DropKind::Table),
        (&["VIEW"], DropKind::View),
        (&["MATERIALIZED", "VIEW"], DropKind::MaterializedView),
        (&["INDEX"], DropKind::Index),
        (&["SCHEMA"], DropKind::Schema),
        (&["TYPE"], DropKind::Type),
    ];
    match kinds.iter().find(|(words, _)| c.eat(words)) {
        Some((_, kind)) => Ok(*kind),
        None => Err(c.unexpected()),
    }
}

fn drop_objects(c: &mut Cursor) -> Result<Ast, SqlError> {
    if c.word(1).as_deref() == Some("FUNCTION") {
        return super::function::drop(c);
    }
    c.expect(&["DROP"])?;
    let kind = object_kind(c)?;
    let if_exists = c.eat(&["IF", "EXISTS"]);
    let mut names: Vec<NameRef> = vec![];
    loop {
        names.push(c.name()?);
        if !c.eat_token(&Token::Comma) {
            break;
        }
    }
    let cascade = c.eat(&["CASCADE"]);
    if !cascade {
        c.eat(&["RESTRICT"]);
    }
    Ok(Ast::Drop { kind, if_exists, names, cascade })
}

fn alter(c: &mut Cursor) -> Result<Ast, SqlError> {
    if let Some(ast) = super::alter::alter(c)? {
        return Ok(ast);
    }
    if c.eat(&["ALTER", "ROLE"]) || c.eat(&["ALTER", "USER"]) {
        let role = c.ident()?;
        c.eat(&["WITH"]);
        if !c.eat(&["PASSWORD"]) && !c.eat(&["ENCRYPTED", "PASSWORD"]) {
            return Err(one_of(c, "role option", &["PASSWORD"]));
        }
        let password = if c.eat(&["NULL"]) { None } else { Some(c.string()?) };
        return Ok(Ast::AlterRole { role, password });
    }
    native(c)
}

fn subscribe(c: &mut Cursor) -> Result<Ast, SqlError> {
    c.expect(&["SUBSCRIBE"])?;
    c.eat(&["TO"]);
    let name = c.name()?;
    let (mut snapshot, mut progress) = (true, false);
    if c.eat(&["WITH"]) {
        c.expect_token(&Token::LParen)?;
        loop {
            if c.eat(&["SNAPSHOT"]) {
                snapshot = boolean_value(c)?;
            } else if c.eat(&["PROGRESS"]) {
                progress = boolean_value(c)?;
            } else {
                return Err(one_of(c, "option", &["SNAPSHOT", "PROGRESS"]));
            }
            if !c.eat_token(&Token::Comma) {
                break;
            }
        }
        c.expect_token(&Token::RParen)?;
    }
    let as_of = if c.eat(&["AS", "OF"]) { Some(timestamp(c)?) } else { None };
    let up_to = if c.eat(&["UP", "TO"]) { Some(timestamp(c)?) } else { None };
    Ok(Ast::Subscribe { name, snapshot, progress, as_of, up_to })
}

fn timestamp(c: &mut Cursor) -> Result<u64, SqlError> {
    let error = SqlError::new(SqlState::INVALID_PARAMETER, "a time must be a number of milliseconds, not negative")
        .at(c.position());
    u64::try_from(c.integer()?).map_err(|_| error)
}

fn explain(c: &mut Cursor) -> Result<Ast, SqlError> {
    c.expect(&["EXPLAIN"])?;
    if c.eat(&["ANALYZE", "MATERIALIZED", "VIEW"]) {
        return Ok(Ast::ExplainAnalyze(c.name()?));
    }
    let flow = c.eat(&["FLOW"]);
    if !flow {
        c.eat(&["PLAN"]);
    }
    match c.word(0).as_deref() {
        Some("SELECT" | "WITH" | "VALUES" | "CREATE" | "TABLE") => {
            Ok(Ast::Explain { flow, inner: Box::new(parse_statement(c)?) })
        }
        None if c.peek() == Token::LParen => Ok(Ast::Explain { flow, inner: Box::new(parse_statement(c)?) }),
        Some("ANALYZE" | "WHY" | "VERBOSE" | "INSERT" | "UPDATE" | "DELETE") => {
            Err(SqlError::unsupported(format!("EXPLAIN {} is not supported yet", c.word(0).unwrap_or_default()))
                .hint("EXPLAIN [PLAN | FLOW] takes a query or CREATE MATERIALIZED VIEW, EXPLAIN ANALYZE takes MATERIALIZED VIEW and a name.")
                .at(c.position()))
        }
        _ => Err(c.unexpected()),
    }
}

fn show(c: &mut Cursor) -> Result<Ast, SqlError> {
    c.expect(&["SHOW"])?;
    let kinds: &[(&[&str], ShowKind)] = &[
        (&["SOURCES"], ShowKind::Sources),
        (&["VIEWS"], ShowKind::Views),
        (&["MATERIALIZED", "VIEWS"], ShowKind::MaterializedViews),
        (&["TABLES"], ShowKind::Tables),
        (&["INDEXES"], ShowKind::Indexes),
        (&["CONNECTIONS"], ShowKind::Connections),
        (&["SCHEMAS"], ShowKind::Schemas),
    ];
    if let Some((_, kind)) = kinds.iter().find(|(words, _)| c.eat(words)) {
        return Ok(Ast::ShowObjects(*kind));
    }
    if c.eat(&["COLUMNS"]) {
        c.expect(&["FROM"])?;
        return Ok(Ast::ShowColumns(c.name()?));
    }
    if c.eat(&["CREATE"]) {
        let kind = object_kind(c)?;
        return Ok(Ast::ShowCreate { kind, name: c.name()? });
    }
    if c.eat(&["TRANSACTION", "ISOLATION", "LEVEL"]) {
        return Ok(Ast::ShowSetting("transaction_isolation".into()));
    }
    if c.eat(&["TIME", "ZONE"]) {
        return Ok(Ast::ShowSetting("timezone".into()));
    }
    Ok(Ast::ShowSetting(setting_name(c)?))
}

fn setting_name(c: &mut Cursor) -> Result<String, SqlError> {
    let name = c.name()?;
    Ok(match name.schema {
        Some(schema) => format!("{schema}.{}", name.name).to_ascii_lowercase(),
        None => name.name.to_ascii_lowercase(),
    })
}

fn set(c: &mut Cursor) -> Result<Ast, SqlError> {
    if c.eat(&["RESET"]) {
        return Ok(Ast::Set { name: setting_name(c)?, value: None });
    }
    c.expect(&["SET"])?;
    if !c.eat(&["SESSION"]) {
        c.eat(&["LOCAL"]);
    }
    let all = c.eat(&["CHARACTERISTICS", "AS", "TRANSACTION"]);
    if all || c.eat(&["TRANSACTION"]) {
        let modes = transaction_modes(c)?;
        if !all {
            let value = modes.map(|only| if only { "read only" } else { "read write" }.to_string());
            return Ok(Ast::Set { name: "transaction".into(), value });
        }
        let value = modes.map(|only| if only { "on" } else { "off" }.to_string());
        return Ok(match value {
            Some(_) => Ast::Set { name: "default_transaction_read_only".into(), value },
            // What else it says holds anyway.
            None => Ast::Set { name: "default_transaction_isolation".into(), value },
        });
    }
    let name = if c.eat(&["TIME", "ZONE"]) {
        "timezone".to_string()
    } else {
        let name = setting_name(c)?;
        if !c.eat_token(&Token::Eq) {
            c.expect(&["TO"])?;
        }
        name
    };
    if c.eat(&["DEFAULT"]) {
        return Ok(Ast::Set { name, value: None });
    }
    let mut values = vec![c.setting_value()?];
    while c.eat_token(&Token::Comma) {
        values.push(c.setting_value()?);
    }
    Ok(Ast::Set { name, value: Some(values.join(", ")) })
}

fn transaction(c: &mut Cursor) -> Result<Ast, SqlError> {
    let word = c.word(0).unwrap_or_default();
    c.ident()?;
    if word == "START" {
        c.expect(&["TRANSACTION"])?;
    } else if !c.eat(&["TRANSACTION"]) {
        c.eat(&["WORK"]);
    }
    match word.as_str() {
        "BEGIN" | "START" => Ok(Ast::Begin { read_only: transaction_modes(c)? }),
        "COMMIT" | "END" => Ok(Ast::Commit),
        _ => {
            if c.eat(&["TO"]) {
                c.eat(&["SAVEPOINT"]);
                return Ok(Ast::RollbackTo(c.ident()?));
            }
            Ok(Ast::Rollback)
        }
    }
}

/// The modes of BEGIN and SET TRANSACTION: whether they say READ ONLY or READ WRITE.
fn transaction_modes(c: &mut Cursor) -> Result<Option<bool>, SqlError> {
    let mut read_only = None;
    while !c.at_end() {
        let known = [
            &["ISOLATION", "LEVEL"][..],
            &["READ", "ONLY"],
            &["READ", "WRITE"],
            &["DEFERRABLE"],
            &["NOT", "DEFERRABLE"],
        ]
        .into_iter()
        .find(|words| c.eat(words));
        match known {
            Some(["ISOLATION", "LEVEL"]) => isolation_level(c)?,
            Some(["READ", mode]) => read_only = Some(*mode == "ONLY"),
            Some(_) => {}
            None => return Err(c.unexpected()),
        }
        c.eat_token(&Token::Comma);
    }
    Ok(read_only)
}

fn isolation_level(c: &mut Cursor) -> Result<(), SqlError> {
    let levels: &[&[&str]] =
        &[&["SERIALIZABLE"], &["REPEATABLE", "READ"], &["READ", "COMMITTED"], &["READ", "UNCOMMITTED"]];
    if levels.iter().any(|l| c.eat(l)) { Ok(()) } else { Err(c.unexpected()) }
}

fn prepare(c: &mut Cursor) -> Result<Ast, SqlError> {
    c.expect(&["PREPARE"])?;
    let name = c.ident()?;
    let mut types = vec![];
    if c.eat_token(&Token::LParen) {
        loop {
            types.push(c.native(|p| p.parse_data_type())?);
            if !c.eat_token(&Token::Comma) {
                break;
            }
        }
        c.expect_token(&Token::RParen)?;
    }
    c.expect(&["AS"])?;
    let sql = c.rest().to_string();
    let inner = parse_statement(c)?;
    match inner {
        Ast::Sql(s) if matches!(*s, Sql::Query(_) | Sql::Insert(_) | Sql::Update(_) | Sql::Delete(_)) => {
            Ok(Ast::Prepare { name, types, sql })
        }
        _ => Err(SqlError::new(SqlState::SYNTAX, "PREPARE takes SELECT, INSERT, UPDATE, DELETE or VALUES")),
    }
}

fn execute(c: &mut Cursor) -> Result<Ast, SqlError> {
    c.expect(&["EXECUTE"])?;
    let name = c.ident()?;
    let mut args = vec![];
    if c.eat_token(&Token::LParen) {
        loop {
            args.push(c.native(|p| p.parse_expr())?);
            if !c.eat_token(&Token::Comma) {
                break;
            }
        }
        c.expect_token(&Token::RParen)?;
    }
    Ok(Ast::Execute { name, args })
}

fn deallocate(c: &mut Cursor) -> Result<Ast, SqlError> {
    if c.eat(&["DISCARD"]) {
        if !["ALL", "PLANS", "SEQUENCES", "TEMP", "TEMPORARY"].iter().any(|w| c.eat(&[w])) {
            return Err(c.unexpected());
        }
        return Ok(Ast::Deallocate(None));
    }
    c.expect(&["DEALLOCATE"])?;
    c.eat(&["PREPARE"]);
    if c.eat(&["ALL"]) { Ok(Ast::Deallocate(None)) } else { Ok(Ast::Deallocate(Some(c.ident()?))) }
}

/// The name of an object in a statement of sqlparser's, with the position of its first part.
pub(crate) fn name_in(text: &str, name: &sqlparser::ast::ObjectName) -> Result<NameRef, SqlError> {
    let position = name.0.first().and_then(|p| p.as_ident()).map_or(1, |i| super::char_position(text, i.span.start));
    name_ref(name, position)
}

/// What stands before and behind the name in a CREATE SOURCE.
pub(crate) fn around_source_name(text: &str) -> Option<(String, String)> {
    let mut c = Cursor::new(text, super::tokenize(text).ok()?, &super::DIALECT);
    c.expect(&["CREATE", "SOURCE"]).ok()?;
    if_not_exists(&mut c);
    let before = text.chars().take(c.position().checked_sub(1)?).collect();
    c.name().ok()?;
    let behind = text.chars().skip(c.position().checked_sub(1)?).collect::<String>();
    Some((before, format!(" {behind}")))
}
