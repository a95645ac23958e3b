//! CREATE of every kind.

use super::{Planning, describe, plain};
use crate::Planned;
use crate::parse::ast::{Ast, NameRef, Opt, OptValue};
use crate::parse::own::{ON_ERROR, RETAIN_HISTORY};
use crate::planner::{Env, plan_query};
use hw_plan::statement::QualifiedName;
use hw_plan::{
    ConnectionDesc, Format, KafkaSource, Metadata, NexmarkSource, ObjectKind, OnError, SourceConnector, SourceDesc,
    StartAt, Statement,
};
use hw_repr::{Column, Datum, RelationDesc, SqlError, SqlState, SqlType};
use sqlparser::ast as sql;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

fn invalid(option: &Opt, wanted: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER, format!("option {} must be {wanted}", option.name)).at(option.position)
}

fn text(option: &Opt) -> Result<String, SqlError> {
    match &option.value {
        OptValue::Text(s) => Ok(s.clone()),
        OptValue::Word(s) if option.name != "SASL PASSWORD" => Ok(s.clone()),
        _ => Err(invalid(option, "a quoted string")),
    }
}

fn natural(option: &Opt) -> Result<u64, SqlError> {
    match option.value {
        OptValue::Number(n) => u64::try_from(n).map_err(|_| invalid(option, "a number that is not negative")),
        _ => Err(invalid(option, "a number")),
    }
}

/// ms since 1970 of a time, in UTC where it does not say its zone.
fn instant_ms(option: &Opt) -> Result<i64, SqlError> {
    let wanted = || invalid(option, "a time, such as '2026-01-01 00:00:00+00'");
    match hw_repr::text::parse(hw_repr::SqlType::TimestampTz, &text(option).map_err(|_| wanted())?) {
        Ok(hw_repr::Datum::TimestampTz(micros)) if micros != i64::MIN && micros != i64::MAX => {
            Ok(micros.div_euclid(1000))
        }
        _ => Err(wanted()),
    }
}

/// ms of history to keep, and the option that says so.
pub(super) fn retain(options: &[Opt]) -> Result<(Option<u64>, String), SqlError> {
    let Some(option) = options.iter().find(|o| o.name == RETAIN_HISTORY) else { return Ok((None, String::new())) };
    let wanted = || invalid(option, "an interval that is not negative, such as '1 hour'");
    let text = text(option).map_err(|_| wanted())?;
    let interval = hw_repr::text::interval::parse_interval(&text).map_err(|_| wanted())?;
    const DAY: i128 = 86_400_000_000;
    let micros = (i128::from(interval.months) * 30 + i128::from(interval.days)) * DAY + i128::from(interval.micros);
    let ms = u64::try_from(micros / 1000).ok().filter(|_| micros >= 0).ok_or_else(wanted)?;
    Ok((Some(ms), format!("{RETAIN_HISTORY} = '{}'", text.replace('\'', "''"))))
}

/// What becomes of failing rows, and the option that says so.
pub(super) fn on_error(options: &[Opt]) -> Result<(OnError, String), SqlError> {
    let Some(option) = options.iter().find(|o| o.name == ON_ERROR) else { return Ok((OnError::Fail, String::new())) };
    let said = match &option.value {
        OptValue::Word(words) | OptValue::Text(words) => words.to_ascii_uppercase(),
        _ => String::new(),
    };
    match OnError::NAMES.iter().find(|(name, _)| *name == said) {
        Some((_, OnError::Fail)) => Ok((OnError::Fail, String::new())),
        Some((name, on_error)) => Ok((*on_error, format!("{ON_ERROR} = {name}"))),
        None => {
            let names: Vec<&str> = OnError::NAMES.iter().map(|n| n.0).collect();
            let message = format!("unrecognized value for option {ON_ERROR}: \"{}\"", said.to_ascii_lowercase());
            let e = SqlError::new(SqlState::INVALID_PARAMETER, message).at(option.position);
            Err(e.hint(format!("Valid values are {}.", names.join(" and "))))
        }
    }
}

/// The clause with those options that say something.
pub(super) fn with_clause(options: &[String]) -> String {
    let said: Vec<&str> = options.iter().map(String::as_str).filter(|o| !o.is_empty()).collect();
    if said.is_empty() { String::new() } else { format!(" WITH ({})", said.join(", ")) }
}

pub(super) fn quote(name: &str) -> String {
    let plain =
        name.chars().enumerate().all(|(i, c)| c.is_ascii_lowercase() || c == '_' || i > 0 && c.is_ascii_digit());
    if plain && !name.is_empty() { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

pub(super) fn qualified(name: &QualifiedName) -> String {
    format!("{}.{}", quote(&name.schema), quote(&name.name))
}

pub(super) fn check_unique(columns: &[Column]) -> Result<(), SqlError> {
    let mut seen = BTreeSet::new();
    match columns.iter().find(|c| !seen.insert(c.name.clone())) {
        None => Ok(()),
        Some(c) => {
            let message = format!("column \"{}\" specified more than once", c.name);
            Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message))
        }
    }
}

impl Planning<'_> {
    pub(super) fn create_schema(&self, name: &sql::SchemaName, if_not_exists: bool) -> Result<Planned, SqlError> {
        let sql::SchemaName::Simple(name) = name else {
            return Err(SqlError::unsupported("CREATE SCHEMA AUTHORIZATION is not supported yet"));
        };
        let name = crate::parse::own::name_in(self.text, name)?;
        if name.name.starts_with("pg_") {
            return Err(SqlError::new(SqlState::new("42939"), format!("unacceptable schema name \"{}\"", name.name)));
        }
        plain(Statement::CreateSchema { name: name.name, if_not_exists })
    }

    pub(super) fn create_connection(
        &self,
        name: &NameRef,
        if_not_exists: bool,
        options: &[Opt],
    ) -> Result<Planned, SqlError> {
        let (mut brokers, mut properties) = (None, BTreeMap::new());
        let qualified_name = self.new_name(name)?;
        let mut shown = vec![];
        for option in options {
            let value = text(option)?;
            let key = match option.name.as_str() {
                "BROKER" | "BROKERS" => {
                    brokers = Some(value.clone());
                    None
                }
                "SASL MECHANISM" => Some("sasl.mechanism"),
                "SASL USERNAME" => Some("sasl.username"),
                "SASL PASSWORD" => Some("sasl.password"),
                "SECURITY PROTOCOL" => Some("security.protocol"),
                "SSL CA LOCATION" => Some("ssl.ca.location"),
                other => return Err(SqlError::internal(format!("option {other}"))),
            };
            let secret = option.name == "SASL PASSWORD";
            shown.push(format!(
                "{} '{}'",
                option.name,
                if secret { "********".into() } else { value.replace('\'', "''") }
            ));
            if let Some(key) = key {
                properties.insert(key.to_string(), value);
            }
        }
        let brokers = brokers.ok_or_else(|| {
            SqlError::new(SqlState::SYNTAX, "option BROKER is missing").hint("Write TO KAFKA (BROKER 'host:9092').")
        })?;
        let create_sql = format!("CREATE CONNECTION {} TO KAFKA ({})", qualified(&qualified_name), shown.join(", "));
        let desc = ConnectionDesc::Kafka { brokers, properties };
        plain(Statement::CreateConnection { name: qualified_name, desc, if_not_exists, create_sql })
    }

    pub(super) fn create_source(&self, ast: &Ast) -> Result<Planned, SqlError> {
        match ast {
            Ast::CreateKafkaSource { name, if_not_exists, columns, connection, options, include, paused } => {
                let object = self.object(connection).map_err(|e| {
                    let message = format!("connection \"{}\" does not exist", connection.name);
                    SqlError { code: SqlState::UNDEFINED_OBJECT, message, ..e }
                })?;
                if !matches!(object.kind, ObjectKind::Connection(_)) {
                    return Err(
                        super::wrong_kind(&connection.name, crate::ast::DropKind::Connection).at(connection.position)
                    );
                }
                let mut desc = self.source_columns(columns)?;
                let mut metadata = vec![];
                for (kind, column) in include {
                    let (kind, ty, nullable) = match kind.as_str() {
                        "KEY" => (Metadata::Key, SqlType::Bytea, true),
                        "PARTITION" => (Metadata::Partition, SqlType::Int4, false),
                        "OFFSET" => (Metadata::Offset, SqlType::Int8, false),
                        _ => (Metadata::Timestamp, SqlType::TimestampTz, true),
                    };
                    metadata.push(kind);
                    desc.columns.push(Column { name: column.clone(), ty, nullable });
                }
                check_unique(&desc.columns)?;
                desc.append_only = true;
                let (topic, start) = kafka_options(options)?;
                let connector = SourceConnector::Kafka(KafkaSource {
                    connection: object.id,
                    topic,
                    start,
                    format: Format::Json,
                    include: metadata,
                });
                let name = self.new_name(name)?;
                let desc = SourceDesc { connector, outputs: vec![(name.name.clone(), desc)], paused: *paused };
                let create_sql = self.text.to_string();
                plain(Statement::CreateSource {
                    name,
                    desc,
                    if_not_exists: *if_not_exists,
                    create_sql,
                    depends_on: vec![object.id],
                })
            }
            Ast::CreateGenerator { .. } => self.create_generator(ast),
            _ => Err(SqlError::internal("not a source")),
        }
    }

    fn create_generator(&self, ast: &Ast) -> Result<Planned, SqlError> {
        let Ast::CreateGenerator { name, if_not_exists, options, paused } = ast else {
            return Err(SqlError::internal("not a generator"));
        };
        let mut nexmark =
            NexmarkSource { events: None, events_per_second: None, seed: 0, epoch_ms: NexmarkSource::AT_CREATE };
        let mut prefix = String::new();
        for option in options {
            match option.name.as_str() {
                "EVENTS" => nexmark.events = Some(natural(option)?),
                "EVENTS PER SECOND" => nexmark.events_per_second = Some(natural(option)?.max(1)),
                "SEED" => nexmark.seed = natural(option)?,
                "EPOCH" => nexmark.epoch_ms = instant_ms(option)?,
                _ => prefix = text(option)?,
            }
        }
        let outputs = nexmark_outputs(&prefix);
        let name = self.new_name(name)?;
        let desc = SourceDesc { connector: SourceConnector::Nexmark(nexmark), outputs, paused: *paused };
        let create_sql = self.text.to_string();
        plain(Statement::CreateSource { name, desc, if_not_exists: *if_not_exists, create_sql, depends_on: vec![] })
    }

    pub(super) fn create_view(&self, ast: &Ast) -> Result<Planned, SqlError> {
        let Ast::CreateView { name, materialized, if_not_exists, or_replace, columns, options, query } = ast else {
            return Err(SqlError::internal("CREATE VIEW"));
        };
        let (materialized, if_not_exists, or_replace) = (*materialized, *if_not_exists, *or_replace);
        let (retain_ms, retain) = retain(options)?;
        let (on_error, errors) = on_error(options)?;
        let with = with_clause(&[retain, errors]);
        let name = self.new_name(name)?;
        let env = self.env(true);
        let plan = plan_query(&env, query.as_ref().clone())?;
        let mut desc = describe(&plan)?;
        if columns.len() > desc.arity() {
            return Err(SqlError::new(SqlState::SYNTAX, "CREATE VIEW specifies more column names than columns"));
        }
        for (column, new) in desc.columns.iter_mut().zip(columns) {
            column.name = new.clone();
        }
        check_unique(&desc.columns)?;
        let text = self.stored_query(&env, query, &desc)?;
        let list: Vec<String> = desc.columns.iter().map(|c| quote(&c.name)).collect();
        let kind = if materialized { "MATERIALIZED VIEW" } else { "VIEW" };
        let create_sql = format!("CREATE {kind} {} ({}){with} AS {text}", qualified(&name), list.join(", "));
        let mut depends: BTreeSet<_> = env.named.borrow().clone();
        if !materialized {
            let depends_on = depends.into_iter().collect();
            return plain(Statement::CreateView {
                name,
                query: text,
                desc,
                if_not_exists,
                or_replace,
                create_sql,
                depends_on,
            });
        }
        depends.extend(env.scanned.borrow().iter());
        let names: Vec<String> = desc.columns.iter().map(|c| c.name.clone()).collect();
        let plan = crate::lower(&crate::optimize::optimize_view(plan)?, self.catalog)?;
        let desc = hw_plan::transform::describe(&plan, &names);
        let depends_on = depends.into_iter().collect();
        plain(Statement::CreateMaterializedView {
            name,
            query: text,
            desc,
            plan,
            on_error,
            retain_ms,
            if_not_exists,
            or_replace,
            create_sql,
            depends_on,
        })
    }

    /// The text of a view's query: relations by their full names and, where it is plain what it stands for, `*` by its columns.
    fn stored_query(&self, env: &Env, query: &sql::Query, desc: &RelationDesc) -> Result<String, SqlError> {
        let as_written = self.qualified_query(env, query)?;
        let Some(spelt) = super::stars::without_stars(env, query) else { return Ok(as_written) };
        let spelt = self.qualified_query(env, &spelt)?;
        let planned = crate::parse::parse_query(&spelt).and_then(|q| describe(&plan_query(&self.env(true), *q)?));
        let types = |d: &RelationDesc| d.columns.iter().map(|c| (c.ty, c.nullable)).collect::<Vec<_>>();
        Ok(if planned.is_ok_and(|d| types(&d) == types(desc)) { spelt } else { as_written })
    }

    /// The text of a query with every relation's name qualified.
    pub(super) fn qualified_query(&self, env: &Env, query: &sql::Query) -> Result<String, SqlError> {
        let mut query = query.clone();
        qualify(env, &mut query, &BTreeSet::new());
        Ok(query.to_string())
    }
}

/// The text of an expression with the names of defined types and functions qualified.
pub(super) fn qualified_expr(env: &Env, expr: &sql::Expr) -> String {
    let mut expr = expr.clone();
    let _ = sql::VisitMut::visit(&mut expr, &mut Qualifier { env, scopes: vec![], function: false });
    expr.to_string()
}

/// Qualifies the names of relations; those in `hidden` are CTEs.
fn qualify(env: &Env, query: &mut sql::Query, hidden: &BTreeSet<String>) {
    let _ = sql::VisitMut::visit(query, &mut Qualifier { env, scopes: vec![hidden.clone()], function: false });
}

struct Qualifier<'a, 'b> {
    env: &'a Env<'b>,
    /// Names of the CTEs in sight, a level a query.
    scopes: Vec<BTreeSet<String>>,
    /// The next name is that of a function in FROM.
    function: bool,
}

impl sql::VisitorMut for Qualifier<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut sql::Query) -> ControlFlow<()> {
        let mut scope = self.scopes.last().cloned().unwrap_or_default();
        if let Some(with) = &mut query.with {
            for cte in &mut with.cte_tables {
                let name = crate::parse::ast_fold(&cte.alias.name);
                if with.recursive {
                    scope.insert(name.clone());
                }
                // Before its own name is in sight: `WITH t AS (SELECT ... FROM t)` reads the relation t.
                qualify(self.env, &mut cte.query, &scope);
                scope.insert(name);
            }
        }
        self.scopes.push(scope);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut sql::Query) -> ControlFlow<()> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut sql::TableFactor) -> ControlFlow<()> {
        self.function = matches!(factor, sql::TableFactor::Table { args: Some(_), .. });
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut sql::Expr) -> ControlFlow<()> {
        match expr {
            sql::Expr::Cast { data_type, .. } => qualify_type(self.env, data_type),
            sql::Expr::TypedString(t) => qualify_type(self.env, &mut t.data_type),
            sql::Expr::Function(f) => crate::prepare::qualify(self.env, &mut f.name),
            // Written without a blank between them, two operators would be read as one.
            sql::Expr::UnaryOp { expr: operand, .. } if matches!(**operand, sql::Expr::UnaryOp { .. }) => {
                **operand = sql::Expr::Nested(operand.clone());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut sql::ObjectName) -> ControlFlow<()> {
        if std::mem::take(&mut self.function) {
            crate::prepare::qualify(self.env, relation);
            return ControlFlow::Continue(());
        }
        if let [sql::ObjectNamePart::Identifier(ident)] = relation.0.as_slice() {
            let folded = crate::parse::ast_fold(ident);
            let hidden = self.scopes.last().is_some_and(|s| s.contains(&folded));
            if !hidden && let Some(object) = self.env.resolve(None, &folded) {
                let part = |n: &str| sql::ObjectNamePart::Identifier(written(n));
                relation.0 = vec![part(&object.schema), part(&object.name)];
            }
        }
        ControlFlow::Continue(())
    }
}

/// Qualifies the name of a type that a statement has defined.
fn qualify_type(env: &Env, ty: &mut sql::DataType) {
    match ty {
        sql::DataType::Array(sql::ArrayElemTypeDef::SquareBracket(element, _)) => qualify_type(env, element),
        sql::DataType::Custom(name, args) if args.is_empty() && name.0.len() == 1 => {
            let defined = match crate::types::named_type(env, &sql::DataType::Custom(name.clone(), vec![])) {
                Ok(SqlType::Enum(e)) => Some((&e.def().schema, &e.def().name)),
                Ok(SqlType::Row(r)) => Some((&r.def().schema, &r.def().name)),
                _ => None,
            };
            if let Some((schema, own)) = defined {
                let part = |n: &str| sql::ObjectNamePart::Identifier(written(n));
                name.0 = vec![part(schema), part(own)];
            }
        }
        _ => {}
    }
}

/// An identifier as it must be written.
pub(super) fn written(name: &str) -> sql::Ident {
    let keyword = sqlparser::keywords::ALL_KEYWORDS.binary_search(&name.to_ascii_uppercase().as_str()).is_ok();
    let keyword = keyword && name != "public";
    if keyword || quote(name) != name { sql::Ident::with_quote('"', name) } else { sql::Ident::new(name) }
}

pub(super) fn column_of(expr: &sql::Expr, desc: &RelationDesc) -> Result<usize, SqlError> {
    let sql::Expr::Identifier(ident) = expr else {
        return Err(SqlError::unsupported("a key on an expression is not supported"));
    };
    let name = crate::parse::ast_fold(ident);
    desc.columns
        .iter()
        .position(|c| c.name == name)
        .ok_or_else(|| SqlError::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist")))
}

fn kafka_options(options: &[Opt]) -> Result<(String, StartAt), SqlError> {
    let (mut topic, mut start) = (None, StartAt::Earliest);
    for option in options {
        if option.name == "TOPIC" {
            topic = Some(text(option)?);
            continue;
        }
        start = match &option.value {
            OptValue::Text(s) | OptValue::Word(s) if s.eq_ignore_ascii_case("earliest") => StartAt::Earliest,
            OptValue::Text(s) | OptValue::Word(s) if s.eq_ignore_ascii_case("latest") => StartAt::Latest,
            OptValue::Timestamp(s) => match hw_repr::text::parse(SqlType::TimestampTz, s)? {
                Datum::TimestampTz(us) => StartAt::Timestamp(us.div_euclid(1000)),
                _ => return Err(invalid(option, "a timestamp")),
            },
            OptValue::Offsets(all) => StartAt::Offsets(all.iter().copied().collect()),
            _ => {
                return Err(invalid(
                    option,
                    "'earliest', 'latest', TIMESTAMP '...' or OFFSETS (partition = offset, ...)",
                ));
            }
        };
    }
    let topic = topic.ok_or_else(|| SqlError::new(SqlState::SYNTAX, "option TOPIC is missing"))?;
    Ok((topic, start))
}

fn nexmark_outputs(prefix: &str) -> Vec<(String, RelationDesc)> {
    use SqlType::{Int8, Text, Timestamp};
    let relation = |name: &str, columns: &[(&str, SqlType)]| {
        let columns = columns.iter().map(|(n, ty)| Column { name: n.to_string(), ty: *ty, nullable: false }).collect();
        let mut desc = RelationDesc::new(columns);
        desc.append_only = true;
        (format!("{prefix}{name}"), desc)
    };
    vec![
        relation(
            "person",
            &[
                ("id", Int8),
                ("name", Text),
                ("email_address", Text),
                ("credit_card", Text),
                ("city", Text),
                ("state", Text),
                ("date_time", Timestamp),
                ("extra", Text),
            ],
        ),
        relation(
            "auction",
            &[
                ("id", Int8),
                ("item_name", Text),
                ("description", Text),
                ("initial_bid", Int8),
                ("reserve", Int8),
                ("date_time", Timestamp),
                ("expires", Timestamp),
                ("seller", Int8),
                ("category", Int8),
                ("extra", Text),
            ],
        ),
        relation(
            "bid",
            &[
                ("auction", Int8),
                ("bidder", Int8),
                ("price", Int8),
                ("channel", Text),
                ("url", Text),
                ("date_time", Timestamp),
                ("extra", Text),
            ],
        ),
    ]
}
