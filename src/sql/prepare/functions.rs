//! Calls of functions that statements have defined: under a name that says so with the names of the arguments, and in FROM as
//! derived tables over their bodies.

use super::tables::{Call, subquery};
use super::{AT, COERCED, Preparer, call, identifier};
use crate::functions::{UserCall, arrange, bound};
use hw_plan::function::{DeclaredType, FunctionDesc, Returns};
use hw_plan::{Object, ObjectKind};
use hw_repr::{SqlError, SqlState, SqlType};
use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, SetExpr, TableAlias, TableAliasColumnDef,
    TableFactor, TableWithJoins,
};
use std::collections::HashMap;
use std::sync::Arc;

/// The name of an argument, and the argument, where it is a value.
fn parts(arg: &FunctionArg) -> Option<(Option<String>, &Expr)> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some((None, e)),
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(e), .. } => Some((Some(crate::parse::ast_fold(name)), e)),
        FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(e), .. } => {
            Some((Some(crate::parse::ast_fold(name)), e))
        }
        _ => None,
    }
}

/// The arguments, and the names of the last of them.
fn split(args: &[FunctionArg]) -> Option<(Vec<Expr>, Vec<String>)> {
    let (mut values, mut names) = (vec![], vec![]);
    for arg in args {
        let (name, value) = parts(arg)?;
        match name {
            Some(name) => names.push(name),
            None if names.is_empty() => {}
            None => return None,
        }
        values.push(value.clone());
    }
    Some((values, names))
}

impl Preparer<'_, '_> {
    /// A call of a defined function; `None` where it is none.
    pub(super) fn user_call(&self, expr: &Expr) -> Option<Expr> {
        let Expr::Function(f) = expr else { return None };
        let first = f.name.0.first()?.as_ident()?;
        if first.value.starts_with("hw_") || f.over.is_some() {
            return None;
        }
        let found = self.env.user_functions(&f.name);
        let object = found.first()?;
        let args = match &f.args {
            FunctionArguments::List(list) if list.duplicate_treatment.is_none() => list.args.as_slice(),
            FunctionArguments::None => &[],
            _ => return None,
        };
        let (values, names) = split(args)?;
        let boolean = Returns::Value(DeclaredType::Of(SqlType::Bool));
        let condition = found.iter().all(|o| matches!(&o.kind, ObjectKind::Function(f) if f.returns == boolean));
        let user = UserCall { schema: object.schema.clone(), name: object.name.clone(), condition, names };
        let position = self.at(first.span.start).filter(|_| self.env.locate);
        Some(call(position.map_or_else(|| user.encode(), |p| format!("{}{AT}{p}", user.encode())), values))
    }

    /// A defined function in FROM that gives rows, as a derived table; `None` where it is none.
    pub(super) fn user_table(
        &self,
        found: &Call,
        alias: Option<&TableAlias>,
        lateral: bool,
        own: &mut HashMap<String, String>,
    ) -> Result<Option<TableFactor>, SqlError> {
        let Some((values, names)) = split(&found.args) else { return Ok(None) };
        let fits = |o: &Arc<Object>| match &o.kind {
            ObjectKind::Function(f) => arrange(&f.parameters, values.len(), &names).is_some(),
            _ => false,
        };
        let mut functions = self.env.user_functions(&found.name);
        functions.retain(fits);
        let sets = functions.iter().filter(|o| matches!(&o.kind, ObjectKind::Function(f) if f.is_set())).count();
        let object = match functions.as_slice() {
            [one] if sets == 1 => one,
            _ if sets == 0 => return Ok(None),
            _ => {
                let message = format!("several functions {} of so many arguments give rows", found.name);
                return Err(SqlError::unsupported(message).hint("Call one that has a name of its own."));
            }
        };
        let ObjectKind::Function(desc) = &object.kind else { return Ok(None) };
        self.env.name_function(object.id);
        let given = arrange(&desc.parameters, values.len(), &names).unwrap_or_default();
        let name = alias.map_or_else(|| Ident::with_quote('"', &object.name), |a| a.name.clone());
        let shown = crate::parse::ast_fold(&name);
        let source = self.arguments(object, desc, &given, &values)?;
        self.rows_of(object, desc, source, (name, shown, alias), lateral, own).map(Some)
    }

    /// The relation of the parameters in FROM, with its name; nothing where there are no parameters.
    fn arguments(
        &self,
        object: &Object,
        desc: &FunctionDesc,
        given: &[Option<usize>],
        values: &[Expr],
    ) -> Result<Option<(String, TableFactor)>, SqlError> {
        if desc.parameters.is_empty() {
            return Ok(None);
        }
        let (mut columns, mut all) = (vec![], vec![]);
        for (i, (parameter, at)) in desc.parameters.iter().zip(given).enumerate() {
            let DeclaredType::Of(ty) = parameter.ty else {
                let message = format!("function {} of {} in FROM is not supported", object.name, parameter.ty);
                return Err(SqlError::unsupported(message).hint("Declare its parameters with types of their own."));
            };
            let value = match at.and_then(|at| values.get(at)) {
                Some(value) => value.clone(),
                None => crate::parse::parse_expr(parameter.default.as_deref().unwrap_or("NULL"))?,
            };
            let number = format!("${}", i + 1);
            columns.push((number.clone(), coerced(value, ty, true)));
            let column = || Expr::Identifier(Ident::with_quote('"', &number));
            all.push((number.clone(), column()));
            if let Some(name) = &parameter.name {
                all.push((name.clone(), column()));
            }
        }
        let inner = self.env.fresh_name("hw_given");
        let outer = self.env.fresh_name("hw_args");
        let mut table = subquery(all, Ident::new(&outer), false)?;
        let given = subquery(columns, Ident::new(inner), false)?;
        let strict = (0..desc.parameters.len())
            .map(|i| Expr::IsNotNull(Box::new(Expr::Identifier(Ident::with_quote('"', format!("${}", i + 1))))));
        if let TableFactor::Derived { subquery, .. } = &mut table
            && let SetExpr::Select(select) = subquery.body.as_mut()
        {
            select.from = vec![TableWithJoins { relation: given, joins: vec![] }];
            if desc.strict {
                let and = |a, b| Expr::BinaryOp {
                    left: Box::new(a),
                    op: sqlparser::ast::BinaryOperator::And,
                    right: Box::new(b),
                };
                select.selection = strict.reduce(and);
            }
        }
        Ok(Some((outer, table)))
    }

    /// The rows of the body over the relation of the parameters.
    fn rows_of(
        &self,
        object: &Object,
        desc: &FunctionDesc,
        source: Option<(String, TableFactor)>,
        (name, shown, alias): (Ident, String, Option<&TableAlias>),
        lateral: bool,
        own: &mut HashMap<String, String>,
    ) -> Result<TableFactor, SqlError> {
        let qualifier = source.as_ref().map(|(q, _)| q.clone()).unwrap_or_default();
        let body = Box::new(self.env.within(object.id, || bound(desc, &object.name, &qualifier))?);
        let mut columns = match &desc.returns {
            Returns::Table(columns) => columns.clone(),
            Returns::Set(DeclaredType::Of(ty)) => vec![(shown.clone(), *ty)],
            _ => return Err(SqlError::unsupported("a set of a polymorphic type is not supported")),
        };
        let rows = self.env.fresh_name("hw_rows");
        let numbered = |i: usize| Ident::with_quote('"', format!("c{i}"));
        let listed = (0..columns.len()).map(|i| TableAliasColumnDef { name: numbered(i), data_type: None });
        let values: Vec<Expr> = columns
            .iter()
            .enumerate()
            .map(|(i, (_, ty))| {
                let column = Expr::CompoundIdentifier(vec![Ident::with_quote('"', &rows), numbered(i)]);
                coerced(column, *ty, false)
            })
            .collect();
        let aliases = alias.map(|a| a.columns.as_slice()).unwrap_or_default();
        if aliases.len() > columns.len() {
            let (has, given) = (columns.len(), aliases.len());
            let message = format!("table \"{shown}\" has {has} columns available but {given} columns specified");
            return Err(SqlError::new(SqlState::new("42P10"), message));
        }
        for ((column, _), alias) in columns.iter_mut().zip(aliases) {
            *column = crate::parse::ast_fold(&alias.name);
        }
        if let [(column, _)] = columns.as_slice()
            && *column != shown
        {
            own.insert(shown, column.clone());
        }
        let named = columns.into_iter().map(|(n, _)| n).zip(values).collect();
        let mut table = subquery(named, name, lateral)?;
        let with_columns =
            TableAlias { explicit: true, name: Ident::with_quote('"', &rows), columns: listed.collect(), at: None };
        let has_source = source.is_some();
        let body =
            TableFactor::Derived { lateral: has_source, subquery: body, alias: Some(with_columns), sample: None };
        if let TableFactor::Derived { subquery, .. } = &mut table
            && let SetExpr::Select(select) = subquery.body.as_mut()
        {
            let from = source.map(|(_, t)| t).into_iter().chain([body]);
            select.from = from.map(|relation| TableWithJoins { relation, joins: vec![] }).collect();
        }
        Ok(table)
    }
}

/// A value as an argument of this type, or assigned to a column of it.
fn coerced(value: Expr, ty: SqlType, argument: bool) -> Expr {
    let context = if argument { "argument" } else { "column" };
    call(format!("{COERCED}{context}:{}", crate::types::name_of(ty)), vec![value])
}

/// The columns of the body, as a query: what CREATE FUNCTION looks at.
pub(crate) fn rows_query(
    body: sqlparser::ast::Query,
    source: Option<TableFactor>,
) -> Result<sqlparser::ast::Query, SqlError> {
    let mut query = *crate::parse::parse_query("SELECT hw_body.* FROM (SELECT 1) AS hw_body")?;
    let body = TableFactor::Derived {
        lateral: source.is_some(),
        subquery: Box::new(body),
        alias: Some(TableAlias { explicit: true, name: Ident::new("hw_body"), columns: vec![], at: None }),
        sample: None,
    };
    if let SetExpr::Select(select) = query.body.as_mut() {
        let from = source.into_iter().chain([body]);
        select.from = from.map(|relation| TableWithJoins { relation, joins: vec![] }).collect();
    }
    Ok(query)
}

/// The relation of the parameters with NULLs of their types.
pub(crate) fn nulls(desc: &FunctionDesc, qualifier: &str) -> Result<Option<TableFactor>, SqlError> {
    let mut columns = vec![];
    for (i, parameter) in desc.parameters.iter().enumerate() {
        let DeclaredType::Of(ty) = parameter.ty else { continue };
        let null = || Expr::Value(sqlparser::ast::ValueWithSpan::from(sqlparser::ast::Value::Null));
        let names = std::iter::once(format!("${}", i + 1)).chain(parameter.name.clone());
        columns.extend(names.map(|n| (n, coerced(null(), ty, true))));
    }
    match columns.is_empty() {
        true => Ok(None),
        false => subquery(columns, Ident::new(qualifier), false).map(Some),
    }
}

/// The names of defined functions qualified in a text that is kept.
pub(crate) fn qualify(env: &crate::planner::Env, name: &mut sqlparser::ast::ObjectName) {
    if name.0.len() == 1
        && let Some(object) = env.user_functions(name).first()
    {
        let mut full = identifier(&object.schema);
        full.0.extend(identifier(&object.name).0);
        *name = full;
    }
}
