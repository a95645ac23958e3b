//! CREATE FUNCTION and DROP FUNCTION.

use super::create::{check_unique, qualified, qualified_expr, quote};
use super::{Planning, plain, writes};
use crate::Planned;
use crate::functions::bound;
use crate::parse::ast::{Ast, CreateFunctionAst, FunctionRef, ParameterAst, ReturnsAst};
use crate::planner::{Env, Target, plan_expr, plan_query};
use crate::types::named_type;
use crate::typing::{Place, body_of, field_type};
use hw_plan::function::{DeclaredType, FunctionDesc, Parameter, Returns, Volatility};
use hw_plan::statement::QualifiedName;
use hw_plan::{Object, ObjectKind, Statement};
use hw_repr::{Column, GlobalId, RelationDesc, SqlError, SqlState, SqlType};
use hw_scalar::{CastContext, can_cast};
use sqlparser::ast as sql;
use std::collections::BTreeSet;
use std::sync::Arc;

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::new("42P13"), message)
}

/// The body gives something else than is declared.
fn mismatch(returns: &Returns, detail: impl Into<String>) -> SqlError {
    let declared = match returns {
        Returns::Value(ty) | Returns::Set(ty) => ty.to_string(),
        Returns::Table(columns) => match columns.as_slice() {
            [(_, ty)] => ty.to_string(),
            _ => "record".into(),
        },
    };
    invalid(format!("return type mismatch in function declared to return {declared}")).detail(detail)
}

fn declared(env: &Env, ty: &sql::DataType) -> Result<DeclaredType, SqlError> {
    if let sql::DataType::Custom(name, args) = ty
        && args.is_empty()
    {
        let name = name.0.last().and_then(|p| p.as_ident()).map(crate::parse::ast_fold).unwrap_or_default();
        match name.as_str() {
            "anyelement" => return Ok(DeclaredType::AnyElement),
            "anyarray" => return Ok(DeclaredType::AnyArray),
            "void" | "record" | "trigger" | "anynonarray" | "anyenum" | "anycompatible" | "anyrange" | "cstring" => {
                let e = SqlError::unsupported(format!("type {name} is not supported in a function"));
                return Err(match name.as_str() {
                    "record" => e.hint("Use RETURNS TABLE (name type, ...)."),
                    _ => e,
                });
            }
            _ => {}
        }
    }
    named_type(env, ty).map(|ty| DeclaredType::Of(ty.without_modifier()))
}

/// The query of a body; `0A000` where it is no query.
fn query_of(function: &CreateFunctionAst, returns: &Returns) -> Result<sql::Query, SqlError> {
    let text = match function.is_expression {
        true => format!("SELECT {}", function.body),
        false => function.body.clone(),
    };
    let mut statements = crate::parse(&text).map_err(|e| SqlError { position: None, ..e })?;
    if statements.len() > 1 {
        return Err(SqlError::unsupported("a function of several statements is not supported")
            .hint("Write one SELECT, with subqueries or WITH."));
    }
    match statements.pop().map(|s| s.ast) {
        Some(Ast::Sql(statement)) => match *statement {
            sql::Statement::Query(q) if !writes(&q) && !super::writes_within(&q) => Ok(*q),
            _ => Err(SqlError::unsupported("a function that writes is not supported")),
        },
        Some(_) => Err(SqlError::unsupported("of the statements, a function may hold SELECT only")),
        None => Err(mismatch(returns, "Function's final statement must be SELECT or INSERT/UPDATE/DELETE RETURNING.")),
    }
}

impl Planning<'_> {
    pub(super) fn create_function(&self, function: &CreateFunctionAst) -> Result<Planned, SqlError> {
        let name = self.new_name(&function.name)?;
        let env = self.env(false);
        let parameters = self.parameters(&env, &function.parameters)?;
        let returns = self.returns(&env, function)?;
        check_polymorphic(&parameters, &returns)?;
        let query = query_of(function, &returns)?;
        let body = env.beside(|| self.qualified_query(&env, &query))?;
        let (strict, volatility) = (function.strict, function.volatility);
        let source = function.body.clone();
        let desc = FunctionDesc { parameters, returns, strict, volatility, body, source };
        let signature = desc.signature();
        let same = |o: &&Arc<Object>| matches!(&o.kind, ObjectKind::Function(f) if f.signature() == signature);
        let found = self.catalog.functions(&name.schema, &name.name).iter().find(same).map(|o| o.id);
        env.replacing.set(found);
        env.beside(|| check_body(&env, &name.name, &desc)).map_err(|e| SqlError { position: None, ..e })?;
        let depends_on: BTreeSet<GlobalId> = env.named.take().into_iter().chain(env.scanned.take()).collect();
        let create_sql = create_sql(&name, &desc);
        plain(Statement::CreateFunction {
            name,
            desc,
            replaces: found.filter(|_| function.replace),
            create_sql,
            depends_on: depends_on.into_iter().filter(|id| !self.catalog.is_system(*id)).collect(),
        })
    }

    fn parameters(&self, env: &Env, all: &[ParameterAst]) -> Result<Vec<Parameter>, SqlError> {
        let mut seen = BTreeSet::new();
        let mut parameters: Vec<Parameter> = vec![];
        if all.len() > 100 {
            return Err(SqlError::new(SqlState::new("54023"), "functions cannot have more than 100 arguments"));
        }
        for parameter in all {
            if let Some(name) = parameter.name.as_ref().filter(|n| !seen.insert((*n).clone())) {
                return Err(invalid(format!("parameter name \"{name}\" used more than once")));
            }
            let ty = declared(env, &parameter.ty)?;
            let default = match (&parameter.default, parameters.last()) {
                (Some(expr), _) => Some(default_of(env, expr, ty)?),
                (None, Some(last)) if last.default.is_some() => {
                    return Err(invalid("input parameters after one with a default value must also have defaults"));
                }
                (None, _) => None,
            };
            parameters.push(Parameter { name: parameter.name.clone(), ty, default });
        }
        Ok(parameters)
    }

    fn returns(&self, env: &Env, function: &CreateFunctionAst) -> Result<Returns, SqlError> {
        let columns = |columns: Vec<(String, SqlType)>| {
            let as_column = |(name, ty): &(String, SqlType)| Column { name: name.clone(), ty: *ty, nullable: true };
            check_unique(&columns.iter().map(as_column).collect::<Vec<_>>())
                .map_err(|_| invalid("a column name of RETURNS TABLE is used more than once"))?;
            Ok(Returns::Table(columns))
        };
        match &function.returns {
            None => Err(invalid("function result type must be specified")),
            Some(ReturnsAst::Value(ty)) => declared(env, ty).map(Returns::Value),
            Some(ReturnsAst::Table(all)) => {
                let mut found = vec![];
                for (name, ty) in all {
                    if function.parameters.iter().any(|p| p.name.as_ref() == Some(name)) {
                        return Err(invalid(format!("parameter name \"{name}\" used more than once")));
                    }
                    found.push((name.clone(), named_type(env, ty)?.without_modifier()));
                }
                columns(found)
            }
            Some(ReturnsAst::Set(ty)) => {
                if let Some(found) = relation_columns(env, ty) {
                    return Ok(Returns::Table(found));
                }
                match declared(env, ty)? {
                    DeclaredType::Of(SqlType::Row(row)) => {
                        Ok(Returns::Table(row.def().fields.iter().map(|f| (f.name.clone(), f.ty)).collect()))
                    }
                    DeclaredType::Of(ty) => Ok(Returns::Set(DeclaredType::Of(ty))),
                    other => Err(SqlError::unsupported(format!("RETURNS SETOF {other} is not supported"))),
                }
            }
        }
    }

    pub(super) fn drop_functions(&self, ast: &Ast) -> Result<Planned, SqlError> {
        let Ast::DropFunction { if_exists, functions, cascade } = ast else {
            return Err(SqlError::internal("DROP FUNCTION"));
        };
        let (if_exists, cascade) = (*if_exists, *cascade);
        let (mut ids, mut skipped) = (vec![], vec![]);
        for function in functions {
            match self.dropped(function) {
                Ok(object) => ids.push(object.id),
                Err(e) if if_exists && e.code == SqlState::UNDEFINED_FUNCTION => {
                    let shown = e.message.strip_prefix("function ").and_then(|m| m.strip_suffix(" does not exist"));
                    skipped.push(shown.map_or_else(|| format!("{}()", function.name.name), str::to_string));
                }
                Err(e) => return Err(e.at(function.name.position)),
            }
        }
        plain(Statement::Drop { ids, schemas: vec![], cascade, kind: "DROP FUNCTION", skipped })
    }

    /// The function that DROP FUNCTION names.
    fn dropped(&self, function: &FunctionRef) -> Result<Arc<Object>, SqlError> {
        let name = &function.name;
        let paths = match &name.schema {
            Some(schema) => std::slice::from_ref(schema),
            None => self.session.search_path.as_slice(),
        };
        let missing = |message: String| SqlError::new(SqlState::UNDEFINED_FUNCTION, message);
        let Some(types) = &function.types else {
            let all = paths.iter().map(|s| self.catalog.functions(s, &name.name)).find(|all| !all.is_empty());
            return match all.unwrap_or_default().as_slice() {
                [one] => Ok(Arc::clone(one)),
                [] => Err(missing(format!("could not find a function named \"{}\"", name.name))),
                _ => {
                    Err(SqlError::new(SqlState::new("42725"), format!("function name \"{}\" is not unique", name.name))
                        .hint("Specify the argument list to select the function unambiguously."))
                }
            };
        };
        let env = self.env(false);
        let types = types.iter().map(|t| declared(&env, t)).collect::<Result<Vec<_>, _>>()?;
        let same = |o: &Arc<Object>| match &o.kind {
            ObjectKind::Function(f) => f.parameters.iter().map(|p| p.ty).eq(types.iter().copied()),
            _ => false,
        };
        let found = paths.iter().flat_map(|s| self.catalog.functions(s, &name.name)).find(same);
        found.ok_or_else(|| {
            let shown: Vec<String> = types.iter().map(ToString::to_string).collect();
            missing(format!("function {}({}) does not exist", name.name, shown.join(", ")))
        })
    }
}

/// A result of any type follows from a parameter of any type.
fn check_polymorphic(parameters: &[Parameter], returns: &Returns) -> Result<(), SqlError> {
    let any = |ty: DeclaredType| !matches!(ty, DeclaredType::Of(_));
    match returns {
        Returns::Value(ty) if any(*ty) && !parameters.iter().any(|p| any(p.ty)) => {
            Err(invalid("cannot determine result data type").detail(format!(
                "A result of type {ty} requires at least one input of type anyelement, anyarray, anynonarray, anyenum, anyrange, or anymultirange."
            )))
        }
        _ => Ok(()),
    }
}

/// The text of a default; it names no columns and no parameters.
fn default_of(env: &Env, expr: &sql::Expr, ty: DeclaredType) -> Result<String, SqlError> {
    let target = match ty {
        DeclaredType::Of(ty) => Target::Value(ty),
        _ => Target::Any,
    };
    plan_expr(env, expr, "", &RelationDesc::new(vec![]), target).map_err(|e| match e.code {
        SqlState::UNDEFINED_COLUMN => SqlError {
            code: SqlState::new("42P10"),
            message: "cannot use table references in parameter default value".into(),
            ..e
        },
        _ => e,
    })?;
    Ok(qualified_expr(env, expr))
}

/// The columns of the relation that a type's name means.
fn relation_columns(env: &Env, ty: &sql::DataType) -> Option<Vec<(String, SqlType)>> {
    let sql::DataType::Custom(name, args) = ty else { return None };
    let mut parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(crate::parse::ast_fold).collect();
    let last = parts.pop().filter(|_| args.is_empty())?;
    let object = env.resolve(parts.pop().as_deref(), &last)?;
    let desc = object.desc()?;
    env.named.borrow_mut().insert(object.id);
    Some(desc.columns.iter().map(|c| (c.name.clone(), c.ty)).collect())
}

/// Plans the body with the types that are declared: what fails here would fail in every call.
fn check_body(env: &Env, name: &str, desc: &FunctionDesc) -> Result<(), SqlError> {
    let polymorphic = desc.parameters.iter().any(|p| !matches!(p.ty, DeclaredType::Of(_)));
    if polymorphic {
        return bound(desc, name, "hw_args").map(|_| ());
    }
    match &desc.returns {
        Returns::Value(DeclaredType::Of(ty)) => check_value(env, name, desc, *ty),
        Returns::Value(_) => Ok(()),
        Returns::Set(_) | Returns::Table(_) => check_rows(env, name, desc),
    }
}

fn check_value(env: &Env, name: &str, desc: &FunctionDesc, ty: SqlType) -> Result<(), SqlError> {
    let types: Vec<SqlType> = desc.parameters.iter().filter_map(|p| p.ty.with(None)).collect();
    let returned = |typer: &mut crate::typing::Typer, value: crate::typing::Typed| {
        let found = value.ty();
        typer.cast(value, ty, CastContext::Assignment).map_err(|e| match found {
            Some(found) if e.code == SqlState::DATATYPE_MISMATCH => {
                mismatch(&desc.returns, format!("Actual return type is {}.", found.without_modifier()))
            }
            _ => e,
        })
    };
    let checked = body_of(env, name, desc, (&types, "hw_args"), Place::Value, returned);
    checked.map(|_| ()).map_err(|e| match e.message.as_str() {
        "subquery must return only one column" => {
            mismatch(&desc.returns, "Final statement must return exactly one column.")
        }
        _ => e,
    })
}

fn check_rows(env: &Env, name: &str, desc: &FunctionDesc) -> Result<(), SqlError> {
    let body = bound(desc, name, "hw_args")?;
    let query = crate::prepare::rows_query(body, crate::prepare::nulls(desc, "hw_args")?)?;
    let plan = plan_query(env, query)?;
    let found = plan.schema().fields().iter().map(|f| field_type(f)).collect::<Result<Vec<_>, _>>()?;
    let wanted: Vec<SqlType> = match &desc.returns {
        Returns::Table(columns) => columns.iter().map(|(_, ty)| *ty).collect(),
        Returns::Set(ty) | Returns::Value(ty) => ty.with(None).into_iter().collect(),
    };
    let single = wanted.len() == 1;
    match found.len().cmp(&wanted.len()) {
        _ if single && found.len() != 1 => {
            return Err(mismatch(&desc.returns, "Final statement must return exactly one column."));
        }
        std::cmp::Ordering::Less => return Err(mismatch(&desc.returns, "Final statement returns too few columns.")),
        std::cmp::Ordering::Greater => {
            return Err(mismatch(&desc.returns, "Final statement returns too many columns."));
        }
        std::cmp::Ordering::Equal => {}
    }
    for (i, (is, wanted)) in found.iter().zip(&wanted).enumerate() {
        let literal = crate::retype::untyped_literal(env, &plan, i).is_some();
        if is.without_modifier() != *wanted && !can_cast(*is, *wanted, CastContext::Assignment) && !literal {
            let is = is.without_modifier();
            return Err(mismatch(
                &desc.returns,
                match single {
                    true => format!("Actual return type is {is}."),
                    false => format!("Final statement returns {is} instead of {wanted} at column {}.", i + 1),
                },
            ));
        }
    }
    Ok(())
}

/// The statement that makes a function.
pub(super) fn create_sql(name: &QualifiedName, desc: &FunctionDesc) -> String {
    let parameters: Vec<String> = desc
        .parameters
        .iter()
        .map(|p| {
            let name = p.name.as_ref().map(|n| format!("{} ", quote(n))).unwrap_or_default();
            let default = p.default.as_ref().map(|d| format!(" DEFAULT {d}")).unwrap_or_default();
            format!("{name}{}{default}", p.ty)
        })
        .collect();
    let returns = match &desc.returns {
        Returns::Value(ty) => ty.to_string(),
        Returns::Set(ty) => format!("SETOF {ty}"),
        Returns::Table(columns) => {
            let columns: Vec<String> = columns.iter().map(|(n, ty)| format!("{} {ty}", quote(n))).collect();
            format!("TABLE({})", columns.join(", "))
        }
    };
    let volatility = match desc.volatility {
        Volatility::Immutable => " IMMUTABLE",
        Volatility::Stable => " STABLE",
        Volatility::Volatile => "",
    };
    let strict = if desc.strict { " STRICT" } else { "" };
    let body = desc.body.replace('\'', "''");
    format!(
        "CREATE FUNCTION {}({}) RETURNS {returns} LANGUAGE sql{volatility}{strict} AS '{body}'",
        qualified(name),
        parameters.join(", ")
    )
}
