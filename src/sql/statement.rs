//! From a parsed statement to a planned one; one file a family.

mod alter;
mod analyze;
mod copy;
mod create;
mod create_table;
mod dml;
mod function;
pub(crate) mod index;
mod modify;
pub(crate) mod restate;
mod show;
mod stars;
mod types;

use crate::parse::ast::{Ast, DropKind, NameRef};
use crate::planner::{Env, Target, plan_query, undefined_relation};
use crate::prepare::shown_name;
use crate::typing::field_type;
use crate::{ParamTypes, Planned, Query, SessionContextInfo};
use datafusion_expr::LogicalPlan;
use hw_plan::arranged::Kept;
use hw_plan::statement::QualifiedName;
use hw_plan::{CatalogView, Object, ObjectKind, ScalarExpr, Statement};
use hw_repr::{Column, Datum, GlobalId, RelationDesc, SqlError, SqlState, SqlType};
use sqlparser::ast as sql;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) struct Planning<'a> {
    pub text: &'a str,
    pub catalog: &'a dyn CatalogView,
    pub session: &'a SessionContextInfo,
    pub params: &'a ParamTypes,
    /// Plan only to find where an error stands.
    pub locate: bool,
    /// Functions that the rules of a table call.
    pub functions: RefCell<BTreeSet<GlobalId>>,
}

/// See [`crate::plan`].
pub(crate) fn plan_statement(
    text: &str,
    ast: &Ast,
    catalog: &dyn CatalogView,
    session: &SessionContextInfo,
    params: &ParamTypes,
    locate: bool,
) -> Result<Planned, SqlError> {
    Planning { text, catalog, session, params, locate, functions: RefCell::default() }.plan(ast)
}

fn plain(statement: Statement) -> Result<Planned, SqlError> {
    Ok(Planned { statement, query: None, param_types: vec![], reusable: false })
}

impl<'a> Planning<'a> {
    fn plan(&self, ast: &Ast) -> Result<Planned, SqlError> {
        match ast {
            Ast::Sql(s) => self.native(s),
            Ast::CreateConnection { name, if_not_exists, options } => {
                self.create_connection(name, *if_not_exists, options)
            }
            Ast::CreateKafkaSource { .. } | Ast::CreateGenerator { .. } => self.create_source(ast),
            Ast::AsOf { inner, at } => self.as_of(inner, at),
            Ast::CreateTable { statement, options } => match statement.as_ref() {
                sql::Statement::CreateTable(t) => self.create_table(t, options),
                other => self.native(other),
            },
            Ast::CreateView { .. } => self.create_view(ast),
            Ast::Drop { kind, if_exists, names, cascade } => self.drop_objects(*kind, *if_exists, names, *cascade),
            Ast::Alter { kind, if_exists, name, change } => self.alter(*kind, *if_exists, name, change),
            Ast::AlterSource { name, paused } => {
                let object = self.object(name)?;
                match object.kind {
                    ObjectKind::Source(_) => plain(Statement::AlterSourcePause { id: object.id, paused: *paused }),
                    _ => Err(wrong_kind(&object.name, DropKind::Source).at(name.position)),
                }
            }
            Ast::CreateType { name, definition } => self.create_type(name, definition),
            Ast::CreateFunction(function) => self.create_function(function),
            Ast::DropFunction { .. } => self.drop_functions(ast),
            Ast::AlterType { name, change } => self.alter_type(name, change),
            Ast::AlterRole { role, password } => {
                plain(Statement::AlterRolePassword { role: role.clone(), password: password.clone() })
            }
            Ast::Subscribe { name, snapshot, progress, as_of, up_to } => {
                let object = self.relation(name)?;
                let (id, snapshot, progress) = (object.id, *snapshot, *progress);
                plain(Statement::Subscribe { id, snapshot, progress, as_of: *as_of, up_to: *up_to })
            }
            Ast::Explain { flow, inner } => self.explain(*flow, inner),
            Ast::ExplainAnalyze(name) => self.explain_analyze(name),
            Ast::ShowObjects(kind) => self.show_objects(*kind),
            Ast::ShowColumns(name) => self.show_columns(name),
            Ast::ShowCreate { kind, name } => self.show_create(*kind, name),
            Ast::ShowSetting(name) => plain(Statement::Show { name: name.clone() }),
            Ast::Set { name, value } => plain(Statement::Set { name: name.clone(), value: value.clone() }),
            Ast::Copy(copy) => self.copy(copy),
            Ast::Truncate { names, restart_identity } => {
                let tables = names.iter().map(|n| Ok(self.table(n)?.object.id)).collect::<Result<_, SqlError>>()?;
                plain(Statement::Truncate { tables, restart_identity: *restart_identity })
            }
            Ast::Overriding { inner, system } => match inner.as_ref() {
                Ast::Sql(s) => match s.as_ref() {
                    sql::Statement::Insert(i) => self.insert(i, Some(*system)),
                    _ => Err(SqlError::new(SqlState::SYNTAX, "syntax error at or near \"OVERRIDING\"")),
                },
                _ => Err(SqlError::new(SqlState::SYNTAX, "syntax error at or near \"OVERRIDING\"")),
            },
            Ast::Savepoint(name) => plain(Statement::Savepoint { name: name.clone() }),
            Ast::Release(name) => plain(Statement::Release { name: name.clone() }),
            Ast::RollbackTo(name) => plain(Statement::RollbackTo { name: name.clone() }),
            Ast::Begin { read_only } => plain(Statement::Begin { read_only: *read_only }),
            Ast::Commit => plain(Statement::Commit),
            Ast::Rollback => plain(Statement::Rollback),
            Ast::Prepare { name, types, sql } => self.prepare(name, types, sql),
            Ast::Execute { name, args } => self.execute(name, args),
            Ast::Deallocate(name) => plain(Statement::Deallocate { name: name.clone() }),
            Ast::Flush => plain(Statement::Flush),
            Ast::Checkpoint => plain(Statement::Checkpoint),
        }
    }

    fn prepare(&self, name: &str, types: &[sql::DataType], sql: &str) -> Result<Planned, SqlError> {
        let types: Vec<SqlType> = {
            let env = self.env(false);
            types.iter().map(|t| crate::types::named_type(&env, t)).collect::<Result<_, _>>()?
        };
        let types = self.check_prepared(&types, sql)?;
        plain(Statement::Prepare { name: name.to_string(), types, sql: sql.to_string() })
    }

    fn native(&self, statement: &sql::Statement) -> Result<Planned, SqlError> {
        match statement {
            sql::Statement::Query(q) if is_compact(q) => plain(Statement::Compact),
            sql::Statement::Query(q) if set_config(q).is_some() => self.set_config(q),
            sql::Statement::Query(q) if writes(q) => self.with_write(q),
            sql::Statement::Query(q) if writes_within(q) => {
                Err(SqlError::unsupported("INSERT, UPDATE and DELETE within WITH are not supported yet")
                    .hint("Run them before, in the same transaction."))
            }
            sql::Statement::Query(q) => self.select(q, None),
            sql::Statement::Insert(i) => self.insert(i, None),
            sql::Statement::Update(u) => self.update(u, None),
            sql::Statement::Delete(d) => self.delete(d, None),
            sql::Statement::CreateTable(t) => self.create_table(t, &[]),
            sql::Statement::CreateIndex(i) => self.create_index(i),
            sql::Statement::CreateSchema { schema_name, if_not_exists, .. } => {
                self.create_schema(schema_name, *if_not_exists)
            }
            other => {
                let words: Vec<String> = other.to_string().split(' ').take(2).map(str::to_uppercase).collect();
                Err(SqlError::unsupported(format!("{} is not supported yet", words.join(" "))))
            }
        }
    }

    fn select(&self, query: &sql::Query, at: Option<&sql::Expr>) -> Result<Planned, SqlError> {
        let env = self.env(false);
        let plan = plan_query(&env, query.clone())?;
        let query = finish_query(&env, plan)?;
        let as_of = at.map(|at| history_time(&env, at)).transpose()?;
        Ok(env.planned(Statement::Select { as_of }, Some(query)))
    }

    /// `WITH q AS (...) INSERT | UPDATE | DELETE`
    fn with_write(&self, query: &sql::Query) -> Result<Planned, SqlError> {
        let with = query.with.clone();
        match query.body.as_ref() {
            sql::SetExpr::Insert(sql::Statement::Insert(i)) => {
                let mut insert = i.clone();
                match insert.source.as_mut() {
                    Some(source) if source.with.is_none() => source.with = with,
                    _ => return Err(SqlError::unsupported("WITH before and behind INSERT")),
                }
                self.insert(&insert, None)
            }
            sql::SetExpr::Update(sql::Statement::Update(u)) => self.update(u, with),
            sql::SetExpr::Delete(sql::Statement::Delete(d)) => self.delete(d, with),
            _ => Err(SqlError::unsupported("this statement behind WITH is not supported")),
        }
    }

    fn as_of(&self, inner: &Ast, at: &sql::Expr) -> Result<Planned, SqlError> {
        match inner {
            Ast::Sql(s) => match s.as_ref() {
                sql::Statement::Query(q) if !is_compact(q) && set_config(q).is_none() => self.select(q, Some(at)),
                _ => Err(SqlError::unsupported("AS OF stands behind a query of relations")),
            },
            Ast::Explain { flow: false, inner } if matches!(**inner, Ast::Sql(_)) => {
                history_time(&self.env(false), at)?;
                self.explain(false, inner)
            }
            _ => Err(SqlError::unsupported("AS OF stands behind a SELECT of its own")),
        }
    }

    fn explain(&self, flow: bool, inner: &Ast) -> Result<Planned, SqlError> {
        let query = match inner {
            Ast::CreateView { query, .. } => query.as_ref(),
            Ast::Sql(s) => match s.as_ref() {
                sql::Statement::Query(q) => q.as_ref(),
                _ => return Err(SqlError::unsupported("EXPLAIN takes a query or CREATE MATERIALIZED VIEW")),
            },
            _ => return Err(SqlError::unsupported("EXPLAIN takes a query or CREATE MATERIALIZED VIEW")),
        };
        let stored = flow || matches!(inner, Ast::CreateView { .. });
        let env = self.env(stored);
        let plan = plan_query(&env, query.clone())?;
        if flow {
            let plan = crate::lower(&crate::optimize::optimize_view(plan)?, self.catalog)?;
            let served = hw_plan::explain::served(
                &hw_plan::transform::describe(&plan, &[]),
                &hw_plan::transform::read_by(&plan),
            );
            let kept = Kept::of(&plan, self.catalog, None);
            let lines = hw_plan::explain::lines(&plan, &kept).into_iter().map(|line| format!("  {line}"));
            return show::text_rows("QUERY PLAN", std::iter::once(served).chain(lines), "EXPLAIN");
        }
        let text = crate::explain::explain(&finish_query(&env, plan)?.plan, self.catalog);
        show::text_rows("QUERY PLAN", text.lines().map(str::to_string), "EXPLAIN")
    }

    /// What queries of this statement are planned against.
    fn env(&self, stored: bool) -> Env<'_> {
        let mut env = Env::new(self.catalog, self.session, stored, &self.params.0);
        env.statement_text = Some(self.text);
        env.locate = self.locate;
        env
    }

    /// Plans the statement of a PREPARE, to find its errors and the types of all its parameters.
    fn check_prepared(&self, types: &[SqlType], sql: &str) -> Result<Vec<SqlType>, SqlError> {
        let parsed = crate::parse(sql)?;
        let [inner] = parsed.as_slice() else { return Err(SqlError::internal("a prepared statement of several")) };
        let declared = ParamTypes(types.iter().map(|t| Some(*t)).collect());
        let before = self.text.chars().count().saturating_sub(sql.chars().count());
        let planned = crate::plan(inner, self.catalog, self.session, &declared).map_err(|mut e| {
            e.position = e.position.map(|p| p + before);
            e
        })?;
        Ok(planned.param_types)
    }

    /// EXECUTE: the named statement, planned with the arguments in the place of its parameters.
    fn execute(&self, name: &str, args: &[sql::Expr]) -> Result<Planned, SqlError> {
        let prepared = self.session.prepared.get(name).ok_or_else(|| {
            SqlError::new(SqlState::new("26000"), format!("prepared statement \"{name}\" does not exist"))
        })?;
        let parsed = crate::parse(&prepared.sql)?;
        let [inner] = parsed.as_slice() else { return Err(SqlError::internal("a prepared statement of several")) };
        let declared = ParamTypes(prepared.types.iter().map(|t| Some(*t)).collect());
        let planned = crate::plan(inner, self.catalog, self.session, &declared)?;
        if planned.param_types.len() != args.len() {
            let message = format!("wrong number of parameters for prepared statement \"{name}\"");
            let (wanted, given) = (planned.param_types.len(), args.len());
            return Err(SqlError::new(SqlState::SYNTAX, message)
                .detail(format!("Expected {wanted} parameters but got {given}.")));
        }
        let env = self.env(false);
        let empty = RelationDesc::new(vec![]);
        let mut values = vec![];
        for (arg, ty) in args.iter().zip(&planned.param_types) {
            let value = crate::planner::plan_expr(&env, arg, "", &empty, Target::Value(*ty))?;
            values.push(hw_scalar::eval_const(&value)?);
        }
        let query = match planned.query {
            Some(q) => Some(Query { plan: crate::bind_params(q.plan, &values)?, ..q }),
            None => None,
        };
        let statement = crate::bind_statement(planned.statement, &values)?;
        Ok(Planned { statement, query, param_types: vec![], reusable: false })
    }

    /// `SELECT set_config(...)`: a statement that sets, as the SELECT list cannot.
    fn set_config(&self, query: &sql::Query) -> Result<Planned, SqlError> {
        let constant = |e: &sql::Expr| {
            let env = self.env(false);
            let value =
                crate::planner::plan_expr(&env, e, "", &RelationDesc::new(vec![]), Target::Value(SqlType::Text))?;
            hw_scalar::eval_const(&value)
        };
        let args = set_config(query).unwrap_or_default();
        let [name, value, _] = args.as_slice() else {
            return Err(crate::error::undefined_function("set_config()"));
        };
        match (constant(name)?, constant(value)?) {
            (Datum::Text(name), Datum::Text(value)) => {
                plain(Statement::SetConfig { name: name.to_ascii_lowercase(), value })
            }
            _ => Err(SqlError::new(SqlState::new("22004"), "set_config needs a name and a value that are not NULL")),
        }
    }

    /// An object by name, or 42P01/42704.
    fn object(&self, name: &NameRef) -> Result<Arc<Object>, SqlError> {
        let env = Env::new(self.catalog, self.session, false, &[]);
        env.resolve(name.schema.as_deref(), &name.name)
            .ok_or_else(|| undefined_relation(name.schema.as_deref(), &name.name).at(name.position))
    }

    fn relation(&self, name: &NameRef) -> Result<Arc<Object>, SqlError> {
        let object = self.object(name)?;
        match object.desc() {
            Some(_) => Ok(object),
            None => Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a relation", name.name))
                .at(name.position)),
        }
    }

    /// The name of a new object.
    fn new_name(&self, name: &NameRef) -> Result<QualifiedName, SqlError> {
        let schema = match &name.schema {
            Some(s) => s.clone(),
            None => self
                .session
                .search_path
                .iter()
                .find(|s| self.catalog.has_schema(s) && !is_system_schema(s))
                .cloned()
                .unwrap_or_else(|| "public".into()),
        };
        if !self.catalog.has_schema(&schema) {
            return Err(SqlError::new(SqlState::UNDEFINED_SCHEMA, format!("schema \"{schema}\" does not exist"))
                .at(name.position));
        }
        if is_system_schema(&schema) {
            return Err(SqlError::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("permission denied for schema {schema}"),
            ));
        }
        Ok(QualifiedName { schema, name: name.name.clone() })
    }

    fn drop_objects(
        &self,
        kind: DropKind,
        if_exists: bool,
        names: &[NameRef],
        cascade: bool,
    ) -> Result<Planned, SqlError> {
        let (mut ids, mut schemas, mut skipped) = (vec![], vec![], vec![]);
        for name in names {
            if kind == DropKind::Schema {
                match self.catalog.has_schema(&name.name) {
                    true => schemas.push(name.name.clone()),
                    false if if_exists => skipped.push(name.name.clone()),
                    false => {
                        let message = format!("schema \"{}\" does not exist", name.name);
                        return Err(SqlError::new(SqlState::UNDEFINED_SCHEMA, message).at(name.position));
                    }
                }
                continue;
            }
            match self.object(name) {
                Ok(object) if kind_of(&object.kind) == Some(kind) => {
                    if self.catalog.is_system(object.id) {
                        return Err(SqlError::new(
                            SqlState::INSUFFICIENT_PRIVILEGE,
                            format!("permission denied: \"{}\" is a system relation", object.name),
                        ));
                    }
                    ids.push(object.id);
                }
                Ok(object) => return Err(wrong_drop(&object, kind).at(name.position)),
                Err(_) if if_exists => skipped.push(name.name.clone()),
                Err(_) => {
                    let code = match kind {
                        DropKind::Table | DropKind::View | DropKind::MaterializedView => SqlState::UNDEFINED_TABLE,
                        _ => SqlState::UNDEFINED_OBJECT,
                    };
                    let message = format!("{} \"{}\" does not exist", kind.noun(), name.name);
                    return Err(SqlError::new(code, message).at(name.position));
                }
            }
        }
        plain(Statement::Drop { ids, schemas, cascade, kind: kind.tag(), skipped })
    }
}

fn is_system_schema(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "headwater" | "information_schema")
}

fn wrong_kind(name: &str, kind: DropKind) -> SqlError {
    let article = if kind == DropKind::Index { "an" } else { "a" };
    SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{name}\" is not {article} {}", kind.noun()))
}

/// As [`wrong_kind`], with the statement that drops what the object is.
fn wrong_drop(object: &Object, kind: DropKind) -> SqlError {
    let e = wrong_kind(&object.name, kind);
    match kind_of(&object.kind) {
        Some(is) => {
            let article = if is == DropKind::Index { "an" } else { "a" };
            e.hint(format!("Use {} to remove {article} {}.", is.tag(), is.noun()))
        }
        None => e,
    }
}

fn kind_of(kind: &ObjectKind) -> Option<DropKind> {
    Some(match kind {
        ObjectKind::Connection(_) => DropKind::Connection,
        ObjectKind::Source(_) => DropKind::Source,
        ObjectKind::SourceOutput { .. } | ObjectKind::Function(_) => return None,
        ObjectKind::Table(_) => DropKind::Table,
        ObjectKind::View { .. } => DropKind::View,
        ObjectKind::MaterializedView { .. } => DropKind::MaterializedView,
        ObjectKind::Index { .. } => DropKind::Index,
        ObjectKind::Type(_) => DropKind::Type,
    })
}

/// True where the body of a query is a statement that writes.
fn writes(q: &sql::Query) -> bool {
    matches!(q.body.as_ref(), sql::SetExpr::Insert(_) | sql::SetExpr::Update(_) | sql::SetExpr::Delete(_))
}

/// True where a CTE of a query is a statement that writes.
fn writes_within(q: &sql::Query) -> bool {
    q.with.iter().flat_map(|w| &w.cte_tables).any(|cte| writes(&cte.query))
}

fn is_compact(q: &sql::Query) -> bool {
    let text = q.to_string().to_ascii_lowercase();
    text.split_whitespace().collect::<String>() == "selectheadwater.compact()"
}

/// The arguments of `SELECT set_config(...)`, where the query is just that.
fn set_config(q: &sql::Query) -> Option<Vec<sql::Expr>> {
    let sql::SetExpr::Select(select) = q.body.as_ref() else { return None };
    let [
        sql::SelectItem::UnnamedExpr(sql::Expr::Function(f))
        | sql::SelectItem::ExprWithAlias { expr: sql::Expr::Function(f), .. },
    ] = select.projection.as_slice()
    else {
        return None;
    };
    let name = f.name.0.last().and_then(|p| p.as_ident())?;
    let plain = select.from.is_empty() && select.selection.is_none() && q.with.is_none();
    if !plain || !name.value.eq_ignore_ascii_case("set_config") {
        return None;
    }
    let sql::FunctionArguments::List(list) = &f.args else { return None };
    let args = list.args.iter().map(|a| match a {
        sql::FunctionArg::Unnamed(sql::FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    });
    args.collect()
}

/// The time behind `AS OF`: ms since 1970 where it is a number, else a timestamptz.
fn history_time(env: &Env, at: &sql::Expr) -> Result<ScalarExpr, SqlError> {
    let number =
        matches!(at, sql::Expr::Value(v) if matches!(v.value, sql::Value::Number(..) | sql::Value::Placeholder(_)));
    let kinds = if number { [SqlType::Int8, SqlType::TimestampTz] } else { [SqlType::TimestampTz, SqlType::Int8] };
    let empty = RelationDesc::new(vec![]);
    let as_kind = |ty| crate::planner::plan_expr(env, at, "", &empty, Target::Value(ty));
    as_kind(kinds[0]).or_else(|first| as_kind(kinds[1]).map_err(|_| first))
}

/// Optimises an ad-hoc query and describes it.
fn finish_query(env: &Env, plan: LogicalPlan) -> Result<Query, SqlError> {
    let desc = describe(&plan)?;
    let plan = crate::optimize::optimize_query(plan)?;
    Ok(Query { plan, desc, depends_on: env.scanned.borrow().iter().copied().collect() })
}

fn describe(plan: &LogicalPlan) -> Result<RelationDesc, SqlError> {
    let columns = plan.schema().fields().iter().map(|f| {
        let name = shown_name(f.name()).to_string();
        Ok(Column { name, ty: field_type(f)?, nullable: f.is_nullable() })
    });
    Ok(RelationDesc::new(columns.collect::<Result<_, SqlError>>()?))
}
