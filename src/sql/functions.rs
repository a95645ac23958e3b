//! Functions that statements define: which one a call means, and its body over its parameters.
//!
//! A call is inlined while expressions get their types: [`crate::typing`] plans the body over a relation of the parameters,
//! which has each under its number (`$1`) and its name, and puts the arguments in the place of its columns. The body sees
//! nothing else of the query around it. A parameter stands behind the columns of the body's own relations, as in PostgreSQL.

use crate::aggregate::aggregate_by_name;
use crate::planner::{Env, VIEW_DEPTH_MAX, is_builtin};
use datafusion_common::{DFSchema, TableReference};
use hw_plan::function::{DeclaredType, FunctionDesc, Parameter, Returns};
use hw_plan::{Object, ObjectKind};
use hw_repr::{GlobalId, SqlError, SqlState, SqlType};
use sqlparser::ast as sql;
use sqlparser::tokenizer::Span;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Prefix of a call of a defined function.
pub(crate) const USER: &str = "hw_user:";
/// Separates the parts of its name.
const PART: char = '\u{3}';

impl Env<'_> {
    /// The functions that statements have defined under a name: without a schema, those of the first schema along the search
    /// path that has any, and none where the name is one of ours.
    pub fn user_functions(&self, name: &sqlparser::ast::ObjectName) -> Vec<Arc<Object>> {
        let mut parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(crate::parse::ast_fold).collect();
        let Some(last) = parts.pop() else { return vec![] };
        match parts.pop() {
            Some(schema) => self.catalog.functions(&schema, &last),
            None if is_builtin(&last) => vec![],
            None => {
                let found = self.session.search_path.iter().map(|s| self.catalog.functions(s, &last));
                found.into_iter().find(|all| !all.is_empty()).unwrap_or_default()
            }
        }
    }

    /// Notes that the statement calls a function, where it is the statement itself.
    pub fn name_function(&self, id: GlobalId) {
        if self.depth.get() == 0 {
            self.named.borrow_mut().insert(id);
            self.functions.borrow_mut().insert(id);
        }
    }

    /// Plans something of the body of a function. `0A000` where the function is part of its own body.
    pub fn within<T>(&self, id: GlobalId, plan: impl FnOnce() -> Result<T, SqlError>) -> Result<T, SqlError> {
        if self.calling.borrow().contains(&id) || self.replacing.get() == Some(id) {
            return Err(SqlError::unsupported("a function that calls itself is not supported"));
        }
        if self.depth.get() >= VIEW_DEPTH_MAX {
            return Err(SqlError::unsupported("functions nest too deeply"));
        }
        self.depth.set(self.depth.get() + 1);
        self.calling.borrow_mut().push(id);
        let planned = self.beside(|| stacker::maybe_grow(1 << 20, 16 << 20, plan));
        self.calling.borrow_mut().pop();
        self.depth.set(self.depth.get() - 1);
        planned
    }

    /// Plans a text that is none of the statement's.
    pub fn beside<T>(&self, plan: impl FnOnce() -> T) -> T {
        let (was, types) = (self.in_view.replace(true), self.values_types.take());
        let star = self.star_of_using.take();
        let planned = plan();
        self.star_of_using.set(star);
        self.values_types.replace(types);
        self.in_view.set(was);
        planned
    }
}

/// A call of a defined function, before its arguments have types.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UserCall {
    pub schema: String,
    pub name: String,
    /// Whether every function of that name gives a boolean, so that a call may be a condition before it is typed.
    pub condition: bool,
    /// The names of the last arguments.
    pub names: Vec<String>,
}

impl UserCall {
    /// The name under which the call is planned.
    pub fn encode(&self) -> String {
        let kind = if self.condition { "condition" } else { "value" };
        let own = [kind, self.schema.as_str(), self.name.as_str()];
        let parts = own.into_iter().chain(self.names.iter().map(String::as_str));
        format!("{USER}{}", parts.collect::<Vec<_>>().join(&PART.to_string()))
    }

    /// The call of that name.
    pub fn decode(name: &str) -> Option<UserCall> {
        let mut parts = name.strip_prefix(USER)?.split(PART).map(str::to_string);
        let (kind, schema, name) = (parts.next()?, parts.next()?, parts.next()?);
        Some(UserCall { schema, name, condition: kind == "condition", names: parts.collect() })
    }

    /// `name(types)`, as messages show it.
    fn shown(&self, types: &[Option<SqlType>]) -> String {
        let first = types.len() - self.names.len().min(types.len());
        let one = |(i, t): (usize, &Option<SqlType>)| {
            let ty = t.map_or_else(|| "unknown".to_string(), |t| t.without_modifier().to_string());
            match i.checked_sub(first).and_then(|n| self.names.get(n)) {
                Some(name) => format!("{name} => {ty}"),
                None => ty,
            }
        };
        format!("{}({})", self.name, types.iter().enumerate().map(one).collect::<Vec<_>>().join(", "))
    }
}

/// The function that a call means.
pub(crate) struct Chosen {
    pub object: Arc<Object>,
    /// For each parameter its argument; `None`: its default.
    pub given: Vec<Option<usize>>,
    /// What the parameters are here.
    pub types: Vec<SqlType>,
    /// What `anyelement` is here.
    element: Option<SqlType>,
}

impl Chosen {
    pub fn desc(&self) -> Result<&FunctionDesc, SqlError> {
        match &self.object.kind {
            ObjectKind::Function(f) => Ok(f),
            _ => Err(SqlError::internal("a call of no function")),
        }
    }

    /// The type of the one value that it gives.
    pub fn result(&self) -> Result<SqlType, SqlError> {
        match &self.desc()?.returns {
            Returns::Value(ty) => ty.with(self.element).ok_or_else(undetermined),
            _ => Err(SqlError::unsupported("set-returning functions of users are not supported here")
                .hint("Call it in FROM.")),
        }
    }
}

fn undetermined() -> SqlError {
    let message = "could not determine polymorphic type because input has type unknown";
    SqlError::new(SqlState::DATATYPE_MISMATCH, message)
}

/// Which argument each parameter takes; `None` where so many arguments, of which the last have these names, do not fit.
pub(crate) fn arrange(parameters: &[Parameter], count: usize, names: &[String]) -> Option<Vec<Option<usize>>> {
    let positional = count.checked_sub(names.len())?;
    if count > parameters.len() {
        return None;
    }
    let mut given: Vec<Option<usize>> = (0..parameters.len()).map(|i| (i < positional).then_some(i)).collect();
    for (i, name) in names.iter().enumerate() {
        let at = parameters.iter().position(|p| p.name.as_ref() == Some(name))?;
        if given[at].replace(positional + i).is_some() {
            return None;
        }
    }
    let complete = given.iter().zip(parameters).all(|(g, p)| g.is_some() || p.default.is_some());
    complete.then_some(given)
}

/// What `anyelement` is for arguments of these types; an error where they do not agree, `None` where nothing tells.
fn element_of(desc: &FunctionDesc, given: &[Option<usize>], types: &[Option<SqlType>]) -> Result<Option<SqlType>, ()> {
    let mut element: Option<SqlType> = None;
    for (parameter, at) in desc.parameters.iter().zip(given) {
        let Some(ty) = at.and_then(|at| types.get(at).copied().flatten()) else { continue };
        let found = match parameter.ty {
            DeclaredType::Of(_) => continue,
            DeclaredType::AnyElement => ty.without_modifier(),
            DeclaredType::AnyArray => ty.element().ok_or(())?.without_modifier(),
        };
        if element.replace(found).is_some_and(|e| e != found) {
            return Err(());
        }
    }
    Ok(element)
}

/// The function that takes arguments of these types. `42883` where there is none, `42725` where there are several.
pub(crate) fn choose(env: &Env, call: &UserCall, types: &[Option<SqlType>]) -> Result<Chosen, SqlError> {
    let mut open = false;
    let mut fitting: Vec<Chosen> = vec![];
    for object in env.catalog.functions(&call.schema, &call.name) {
        let ObjectKind::Function(desc) = &object.kind else { continue };
        let Some(given) = arrange(&desc.parameters, types.len(), &call.names) else { continue };
        let Ok(element) = element_of(desc, &given, types) else { continue };
        let here: Option<Vec<SqlType>> = desc.parameters.iter().map(|p| p.ty.with(element)).collect();
        let Some(here) = here else {
            open = true;
            continue;
        };
        fitting.push(Chosen { object, given, types: here, element });
    }
    // The types in the order of the arguments.
    let taken = |c: &Chosen| -> Vec<SqlType> {
        let of = |arg: usize| c.given.iter().position(|g| *g == Some(arg)).and_then(|p| c.types.get(p).copied());
        (0..types.len()).filter_map(of).collect()
    };
    let signatures: Vec<Vec<SqlType>> = fitting.iter().map(taken).collect();
    let mut found = hw_scalar::choose_among(&signatures, types);
    let defaults = |at: &usize| fitting.get(*at).map_or(0, |c| c.given.iter().filter(|g| g.is_none()).count());
    if let Some(least) = found.iter().map(defaults).min() {
        let fewest: Vec<usize> = found.iter().copied().filter(|at| defaults(at) == least).collect();
        if fewest.len() == 1 {
            found = fewest;
        }
    }
    match found.as_slice() {
        [at] => Ok(fitting.swap_remove(*at)),
        [] if open && fitting.is_empty() => Err(undetermined()),
        [] => Err(crate::error::undefined_function(&call.shown(types))),
        _ => {
            let message = format!("function {} is not unique", call.shown(types));
            Err(SqlError::new(SqlState::new("42725"), message)
                .hint("Could not choose a best candidate function. You might need to add explicit type casts."))
        }
    }
}

/// The relation of the parameters: each under its number and its name.
pub(crate) fn parameters(qualifier: &str, desc: &FunctionDesc, types: &[SqlType]) -> Result<DFSchema, SqlError> {
    let mut fields = vec![];
    for (i, (parameter, ty)) in desc.parameters.iter().zip(types).enumerate() {
        let names = std::iter::once(format!("${}", i + 1)).chain(parameter.name.clone());
        for name in names {
            fields.push((Some(TableReference::bare(qualifier)), Arc::new(ty.field(&name, true))));
        }
    }
    DFSchema::new_with_metadata(fields, HashMap::new()).map_err(crate::error::from_planner)
}

/// The parameter that a column of that relation is.
pub(crate) fn parameter(desc: &FunctionDesc, column: &str) -> Option<usize> {
    match column.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()) {
        Some(n) => n.checked_sub(1),
        None => desc.parameters.iter().position(|p| p.name.as_deref() == Some(column)),
    }
}

fn bare(name: &str) -> sql::Ident {
    sql::Ident { value: name.to_string(), quote_style: Some('"'), span: Span::empty() }
}

/// The body with `$1` and `function.name` as columns of the relation of the parameters. `42P02` of a parameter there is none of.
pub(crate) fn bound(desc: &FunctionDesc, function: &str, qualifier: &str) -> Result<sql::Query, SqlError> {
    struct Names<'a> {
        desc: &'a FunctionDesc,
        function: &'a str,
        qualifier: &'a str,
    }
    impl sql::VisitorMut for Names<'_> {
        type Break = SqlError;
        fn pre_visit_expr(&mut self, expr: &mut sql::Expr) -> ControlFlow<SqlError> {
            match expr {
                sql::Expr::Value(v) => {
                    v.span = Span::empty();
                    if let sql::Value::Placeholder(id) = &v.value {
                        let known = parameter(self.desc, id).is_some_and(|at| at < self.desc.parameters.len());
                        if !known || !id.starts_with('$') {
                            let message = format!("there is no parameter {id}");
                            return ControlFlow::Break(SqlError::new(SqlState::UNDEFINED_PARAMETER, message));
                        }
                        *expr = sql::Expr::CompoundIdentifier(vec![bare(self.qualifier), bare(id)]);
                    }
                }
                // Positions in the body mean nothing to the statement.
                sql::Expr::Identifier(i) => i.span = Span::empty(),
                sql::Expr::CompoundIdentifier(parts) => {
                    parts.iter_mut().for_each(|p| p.span = Span::empty());
                    if let [first, second] = parts.as_mut_slice()
                        && crate::parse::ast_fold(first) == self.function
                        && self.desc.parameters.iter().any(|p| p.name == Some(crate::parse::ast_fold(second)))
                    {
                        *first = bare(self.qualifier);
                    }
                }
                sql::Expr::Function(f) => {
                    for part in &mut f.name.0 {
                        if let sql::ObjectNamePart::Identifier(i) = part {
                            i.span = Span::empty();
                        }
                    }
                }
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut query = *crate::parse::parse_query(&desc.body)?;
    match sql::VisitMut::visit(&mut query, &mut Names { desc, function, qualifier }) {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(query),
    }
}

/// The body of a function of one value as an expression: that of its select list where it has nothing else, else a
/// subquery of at most one row.
pub(crate) fn as_expression(query: sql::Query) -> sql::Expr {
    if let Some(expr) = only_expression(&query) {
        return expr;
    }
    let mut query = query;
    if !is_one_row(&query) {
        let one = sql::Expr::Value(sql::ValueWithSpan::from(sql::Value::Number("1".into(), false)));
        let limit = sql::LimitClause::LimitOffset { limit: Some(one), offset: None, limit_by: vec![] };
        if query.limit_clause.is_some() || query.fetch.is_some() {
            query = around(query);
        }
        query.limit_clause = Some(limit);
    }
    sql::Expr::Subquery(Box::new(query))
}

/// `SELECT * FROM (query) AS hw_body`
fn around(query: sql::Query) -> sql::Query {
    let Ok(mut whole) = crate::parse::parse_query("SELECT * FROM (SELECT 1) AS hw_body") else { return query };
    if let sql::SetExpr::Select(select) = whole.body.as_mut()
        && let Some(sql::TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|f| &mut f.relation)
    {
        **subquery = query;
    }
    *whole
}

fn only_expression(query: &sql::Query) -> Option<sql::Expr> {
    let plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty();
    let sql::SetExpr::Select(select) = query.body.as_ref() else { return None };
    let no_keys = matches!(&select.group_by, sql::GroupByExpr::Expressions(keys, _) if keys.is_empty());
    let only = plain
        && no_keys
        && select.distinct.is_none()
        && select.from.is_empty()
        && select.selection.is_none()
        && select.having.is_none();
    let [sql::SelectItem::UnnamedExpr(expr) | sql::SelectItem::ExprWithAlias { expr, .. }] =
        select.projection.as_slice()
    else {
        return None;
    };
    (only && !calls(expr, &|f| of_many_rows(f))).then(|| expr.clone())
}

/// An aggregate over all rows.
fn is_one_row(query: &sql::Query) -> bool {
    let sql::SetExpr::Select(select) = query.body.as_ref() else { return false };
    let no_keys = matches!(&select.group_by, sql::GroupByExpr::Expressions(keys, _) if keys.is_empty());
    let aggregates = |item: &sql::SelectItem| match item {
        sql::SelectItem::UnnamedExpr(e) | sql::SelectItem::ExprWithAlias { expr: e, .. } => {
            calls(e, &|f| f.over.is_none() && name_of(f).is_some_and(|n| aggregate_by_name(&n).is_some()))
                && !calls(e, &is_set)
        }
        _ => false,
    };
    no_keys && select.projection.iter().any(aggregates)
}

fn name_of(f: &sql::Function) -> Option<String> {
    f.name.0.last().and_then(|p| p.as_ident()).map(crate::parse::ast_fold)
}

fn is_set(f: &sql::Function) -> bool {
    name_of(f).and_then(|n| hw_scalar::function_by_name(&n)).is_some_and(|f| f.is_set())
}

/// Calls that have a meaning over several rows only.
fn of_many_rows(f: &sql::Function) -> bool {
    f.over.is_some() || is_set(f) || name_of(f).is_some_and(|n| aggregate_by_name(&n).is_some())
}

/// Whether an expression has such a call outside of its subqueries.
fn calls(expr: &sql::Expr, which: &dyn Fn(&sql::Function) -> bool) -> bool {
    struct Calls<'a> {
        which: &'a dyn Fn(&sql::Function) -> bool,
        queries: usize,
    }
    impl sql::Visitor for Calls<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, _: &sql::Query) -> ControlFlow<()> {
            self.queries += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &sql::Query) -> ControlFlow<()> {
            self.queries -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &sql::Expr) -> ControlFlow<()> {
            match expr {
                sql::Expr::Function(f) if self.queries == 0 && (self.which)(f) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    sql::Visit::visit(expr, &mut Calls { which, queries: 0 }).is_break()
}
