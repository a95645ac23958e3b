//! CREATE INDEX: its key of columns and expressions, and its name.

use super::create::{column_of, qualified, qualified_expr, quote};
use super::modify::has_subquery;
use super::{Planning, plain};
use crate::Planned;
use crate::planner::{Target, plan_expr};
use crate::prepare::output_name;
use hw_plan::statement::QualifiedName;
use hw_plan::{AggregateFunc, IndexExpr, IndexForm, Object, ObjectKind, ScalarExpr, Statement};
use hw_repr::{GlobalId, RelationDesc, SqlError, SqlState, SqlType};
use sqlparser::ast as sql;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// A key in the making.
#[derive(Default)]
struct Key {
    /// See [`hw_plan::ObjectKind::Index`].
    columns: Vec<usize>,
    expressions: Vec<IndexExpr>,
    /// Names of its parts, each once.
    names: Vec<String>,
    /// Types and functions that the expressions name.
    uses: BTreeSet<GlobalId>,
}

impl Key {
    /// PostgreSQL's name of the next part: a repeated one is numbered.
    fn name(&self, base: &str) -> String {
        let numbered = (1..).map(|n| format!("{base}{n}"));
        let mut names = std::iter::once(base.to_string()).chain(numbered);
        names.find(|n| !self.names.contains(n)).unwrap_or_else(|| base.to_string())
    }
}

impl Planning<'_> {
    pub(super) fn create_index(&self, i: &sql::CreateIndex) -> Result<Planned, SqlError> {
        if i.unique || i.predicate.is_some() || !i.include.is_empty() {
            let message = "only CREATE INDEX [name] ON relation (columns and expressions) is supported";
            return Err(SqlError::unsupported(message));
        }
        let on = self.relation(&crate::parse::own::name_in(self.text, &i.table_name)?)?;
        if let ObjectKind::View { .. } = on.kind {
            let message = format!("cannot create index on relation \"{}\"", on.name);
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, message)
                .detail("This operation is not supported for views."));
        }
        let desc = on.desc().cloned().unwrap_or_default();
        let mut key = Key::default();
        for column in &i.columns {
            self.add_part(&mut key, &on, &desc, &column.column.expr)?;
        }
        let name = match &i.name {
            Some(name) => crate::parse::own::name_in(self.text, name)?.name,
            None => {
                let base = format!("{}_{}_idx", on.name, key.names.join("_"));
                let free = |n: &String| self.catalog.resolve(Some(&on.schema), n).is_none();
                let numbered = (1..).map(|k| format!("{base}{k}"));
                std::iter::once(base.clone()).chain(numbered).find(free).unwrap_or(base)
            }
        };
        let name = QualifiedName { schema: on.schema.clone(), name };
        let on_name = QualifiedName { schema: on.schema.clone(), name: on.name.clone() };
        let parts = parts(&key.columns, &key.expressions, &desc).join(", ");
        let create_sql = format!("CREATE INDEX {} ON {} ({parts})", quote(&name.name), qualified(&on_name));
        key.uses.insert(on.id);
        plain(Statement::CreateIndex {
            name,
            on: on.id,
            columns: key.columns,
            expressions: key.expressions,
            depends_on: key.uses.into_iter().collect(),
            if_not_exists: i.if_not_exists,
            create_sql,
        })
    }

    fn add_part(&self, key: &mut Key, on: &Object, desc: &RelationDesc, expr: &sql::Expr) -> Result<(), SqlError> {
        check_form(expr)?;
        let expr = without_parentheses(expr);
        if let sql::Expr::Identifier(_) = expr {
            let column = column_of(expr, desc)?;
            key.names.push(key.name(&desc.columns[column].name));
            key.columns.push(column);
            return Ok(());
        }
        check_calls(expr)?;
        let env = self.env(true);
        let planned = plan_expr(&env, expr, &on.name, desc, Target::Any).map_err(said_of_index)?;
        check_values(&planned, desc)?;
        let mut stored = expr.clone();
        without_qualifiers(&mut stored);
        let base = Some(output_name(expr)).filter(|n| n != "?column?").unwrap_or_else(|| "expr".into());
        let made =
            IndexExpr { name: key.name(&base), sql: qualified_expr(&env, &stored), expr: planned, form: form_of(expr) };
        key.names.push(made.name.clone());
        key.columns.push(desc.arity() + key.expressions.len());
        key.expressions.push(made);
        key.uses.extend(env.functions.take());
        key.uses.extend(env.named.take());
        Ok(())
    }
}

/// The parts of a key as they must be written.
pub(crate) fn parts(columns: &[usize], expressions: &[IndexExpr], on: &RelationDesc) -> Vec<String> {
    let part = |c: &usize| match on.columns.get(*c) {
        Some(column) => Some(quote(&column.name)),
        None => Some(expressions.get(*c - on.arity())?.written()),
    };
    columns.iter().filter_map(part).collect()
}

fn without_parentheses(mut expr: &sql::Expr) -> &sql::Expr {
    while let sql::Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// A column is written without its relation: that may get another name.
fn without_qualifiers(expr: &mut sql::Expr) {
    let _ = sql::visit_expressions_mut(expr, |e| {
        if let sql::Expr::CompoundIdentifier(parts) = e
            && let Some(column) = parts.pop()
        {
            *e = sql::Expr::Identifier(column);
        }
        ControlFlow::<()>::Continue(())
    });
}

fn form_of(expr: &sql::Expr) -> IndexForm {
    use sql::Expr as E;
    match expr {
        E::Function(_) | E::Ceil { .. } | E::Floor { .. } | E::Extract { .. } | E::Position { .. } => IndexForm::Call,
        E::Substring { .. } | E::Overlay { .. } | E::Trim { .. } => IndexForm::Call,
        E::BinaryOp { .. } | E::UnaryOp { .. } | E::IsNull(_) | E::IsNotNull(_) => IndexForm::Operator,
        _ => IndexForm::Other,
    }
}

/// PostgreSQL's grammar: a column, what looks like the call of a function, or an expression in parentheses.
fn check_form(expr: &sql::Expr) -> Result<(), SqlError> {
    use sql::Expr as E;
    let near = match expr {
        E::Identifier(_) | E::Nested(_) => return Ok(()),
        E::Cast { kind: sql::CastKind::Cast, .. } => return Ok(()),
        E::Function(f) if f.over.is_some() => "over".to_string(),
        _ if form_of(expr) == IndexForm::Call => return Ok(()),
        E::BinaryOp { op, .. } => op.to_string().to_lowercase(),
        E::UnaryOp { op, .. } => op.to_string().to_lowercase(),
        E::Cast { .. } => "::".to_string(),
        E::CompoundIdentifier(_) | E::CompoundFieldAccess { .. } => ".".to_string(),
        E::IsNull(_) | E::IsNotNull(_) => "is".to_string(),
        E::Tuple(_) => ",".to_string(),
        other => {
            let text = other.to_string();
            text.trim_start_matches('(').split_whitespace().next().unwrap_or_default().to_lowercase()
        }
    };
    Err(SqlError::new(SqlState::SYNTAX, format!("syntax error at or near \"{near}\""))
        .hint("An expression in an index needs parentheses of its own, unless it is the call of a function."))
}

/// No queries, aggregates and window functions.
fn check_calls(expr: &sql::Expr) -> Result<(), SqlError> {
    if has_subquery(expr) {
        return Err(SqlError::unsupported("cannot use subquery in index expression"));
    }
    let found = sql::visit_expressions(expr, |e| {
        let sql::Expr::Function(f) = e else { return ControlFlow::Continue(()) };
        let name = f.name.0.last().and_then(|p| p.as_ident()).map(crate::parse::ast_fold).unwrap_or_default();
        if f.over.is_some() {
            return ControlFlow::Break(("42P20", "window"));
        }
        match AggregateFunc::by_name(&name).is_some() {
            true => ControlFlow::Break(("42803", "aggregate")),
            false => ControlFlow::Continue(()),
        }
    });
    match found {
        ControlFlow::Break((code, kind)) => {
            let message = format!("{kind} functions are not allowed in index expressions");
            Err(SqlError::new(SqlState::new(code), message))
        }
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// What planning says of an expression for every session and instant, in PostgreSQL's words for indexes.
fn said_of_index(e: SqlError) -> SqlError {
    if e.code == SqlState::FEATURE_NOT_SUPPORTED && e.message.ends_with("in a materialized view") {
        let message = "functions in index expression must be marked IMMUTABLE";
        return SqlError { position: e.position, ..SqlError::new(SqlState::INVALID_DEFINITION, message) };
    }
    match e.message.strip_prefix("set-returning functions are not allowed in ") {
        Some(_) => {
            SqlError { message: "set-returning functions are not allowed in index expressions".into(), hint: None, ..e }
        }
        None => e,
    }
}

/// Values that an index can be ordered by, and none whose type can change.
fn check_values(expr: &ScalarExpr, desc: &RelationDesc) -> Result<(), SqlError> {
    if expr.columns().iter().any(|c| *c >= desc.arity()) {
        return Err(SqlError::new(SqlState::UNDEFINED_PARAMETER, "there are no parameters in an index expression"));
    }
    if expr.ty() == SqlType::Json {
        let message = "data type json has no default operator class for access method \"btree\"";
        return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message).hint(
            "You must specify an operator class for the index or define a default operator class for the data type.",
        ));
    }
    let mut todo = vec![expr];
    while let Some(e) = todo.pop() {
        let ty = e.ty();
        if matches!(ty.element().unwrap_or(ty), SqlType::Enum(_) | SqlType::Row(_)) {
            let message = format!("an index expression with values of type {ty} is not supported");
            return Err(
                SqlError::unsupported(message).hint("Enums, composite types and rows can be indexed by a column only.")
            );
        }
        todo.extend(e.children());
    }
    Ok(())
}
