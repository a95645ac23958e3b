//! Rewrites the syntax tree before planning: what DataFusion would give a type or a meaning of its own (casts,
//! typed literals, decimal literals, special function syntax) becomes a call that [`crate::lazy`] types later, and
//! every item of a select list gets PostgreSQL's name.
//!
//! Promises: a name made unique has [`MARK`] and a number behind it; [`shown_name`] takes that off again.

use crate::types::sql_type;
use hw_repr::{SqlError, SqlState};
use sqlparser::ast::{
    CastKind, CeilFloorKind, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, Interval, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr, SetOperator,
    SetQuantifier, TrimWhereField, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Separates a column's name from what makes it unique.
const MARK: char = '\u{1}';

/// Prefix of the function that a cast becomes.
pub(crate) const CAST: &str = "hw_cast:";
/// Prefix of the function that a decimal literal becomes.
pub(crate) const NUMBER: &str = "hw_number:";
/// `IS NOT DISTINCT FROM` as a function.
pub(crate) const NOT_DISTINCT: &str = "hw_not_distinct";

/// The name a client sees.
pub(crate) fn shown_name(name: &str) -> &str {
    name.split(MARK).next().unwrap_or(name)
}

/// Rewrites a query in place.
pub(crate) fn prepare_query(query: &mut Query) -> Result<(), SqlError> {
    finish(query.visit(&mut Preparer))
}

/// Rewrites an expression in place.
pub(crate) fn prepare_expr(expr: &mut Expr) -> Result<(), SqlError> {
    finish(expr.visit(&mut Preparer))
}

fn finish(flow: ControlFlow<SqlError>) -> Result<(), SqlError> {
    match flow {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Preparer;

impl VisitorMut for Preparer {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        if query.fetch.is_some() || !query.locks.is_empty() || !query.pipe_operators.is_empty() {
            return ControlFlow::Break(
                SqlError::unsupported("FETCH FIRST, FOR UPDATE and |> are not supported").hint("Use LIMIT."),
            );
        }
        match set_operation_all(&query.body) {
            Some(e) => ControlFlow::Break(e),
            None => ControlFlow::Continue(()),
        }
    }

    // Before the expressions change, so that names come from what was written.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        name_items(select);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match rewrite(expr) {
            Ok(Some(new)) => *expr = new,
            Ok(None) => {}
            Err(e) => return ControlFlow::Break(e),
        }
        ControlFlow::Continue(())
    }
}

/// EXCEPT ALL and INTERSECT ALL count multiplicities, which DataFusion does not.
fn set_operation_all(body: &SetExpr) -> Option<SqlError> {
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return None };
    if *op != SetOperator::Union && matches!(set_quantifier, SetQuantifier::All) {
        return Some(SqlError::unsupported(format!("{op} ALL is not supported yet")).hint(format!("Use {op}.")));
    }
    if set_quantifier.to_string().contains("NAME") {
        return Some(SqlError::unsupported("BY NAME is not supported"));
    }
    set_operation_all(left).or_else(|| set_operation_all(right))
}

fn name_items(select: &mut Select) {
    let wildcard =
        select.projection.iter().any(|i| matches!(i, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    let single = select.projection.len() == 1;
    let mut seen: HashSet<String> = HashSet::new();
    for (n, item) in select.projection.iter_mut().enumerate() {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(expr) => (expr.clone(), output_name(expr)),
            SelectItem::ExprWithAlias { expr, alias } => (
                expr.clone(),
                if alias.quote_style.is_some() { alias.value.clone() } else { alias.value.to_ascii_lowercase() },
            ),
            _ => continue,
        };
        let is_column = matches!(item, SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_)));
        let fresh = seen.insert(name.clone());
        if fresh && is_column && (!wildcard || single) {
            continue;
        }
        let unique = if fresh && (single || !wildcard) { name } else { format!("{name}{MARK}{n}") };
        *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', unique) };
    }
}

/// PostgreSQL's name of an unnamed select item.
fn output_name(expr: &Expr) -> String {
    figure_name(expr).unwrap_or_else(|| "?column?".into())
}

fn figure_name(expr: &Expr) -> Option<String> {
    let fold = crate::parse::ast_fold;
    match expr {
        Expr::Identifier(i) => Some(fold(i)),
        Expr::CompoundIdentifier(parts) => parts.last().map(fold),
        Expr::Function(f) => f.name.0.last().and_then(|p| p.as_ident()).map(fold),
        Expr::Nested(e) => figure_name(e),
        Expr::Cast { expr, data_type, .. } => {
            figure_name(expr).or_else(|| sql_type(data_type).ok().map(|t| internal_type_name(t).to_string()))
        }
        Expr::TypedString(t) => sql_type(&t.data_type).ok().map(|t| internal_type_name(t).to_string()),
        Expr::Interval(_) => Some("interval".into()),
        Expr::Case { else_result, .. } => {
            else_result.as_ref().and_then(|e| figure_name(e)).or_else(|| Some("case".into()))
        }
        Expr::Extract { .. } => Some("extract".into()),
        Expr::Substring { .. } => Some("substring".into()),
        Expr::Position { .. } => Some("position".into()),
        Expr::Ceil { .. } => Some("ceil".into()),
        Expr::Floor { .. } => Some("floor".into()),
        Expr::Trim { trim_where, .. } => Some(trim_function(trim_where).into()),
        Expr::Exists { .. } => Some("exists".into()),
        Expr::Subquery(q) => match q.body.as_ref() {
            sqlparser::ast::SetExpr::Select(s) => match s.projection.first() {
                Some(SelectItem::UnnamedExpr(e)) => figure_name(e),
                Some(SelectItem::ExprWithAlias { alias, .. }) => Some(fold(alias)),
                _ => None,
            },
            _ => None,
        },
        Expr::Value(v) if matches!(v.value, Value::Boolean(_)) => Some("bool".into()),
        _ => None,
    }
}

fn internal_type_name(ty: hw_repr::SqlType) -> &'static str {
    use hw_repr::SqlType as T;
    match ty {
        T::Bool => "bool",
        T::Int2 => "int2",
        T::Int4 => "int4",
        T::Int8 => "int8",
        T::Float4 => "float4",
        T::Float8 => "float8",
        T::Numeric(_) => "numeric",
        T::Text => "text",
        T::Varchar(_) => "varchar",
        T::Bytea => "bytea",
        T::Date => "date",
        T::Time => "time",
        T::Timestamp => "timestamp",
        T::TimestampTz => "timestamptz",
        T::Interval => "interval",
        T::Uuid => "uuid",
        T::Jsonb => "jsonb",
    }
}

fn trim_function(side: &Option<TrimWhereField>) -> &'static str {
    match side {
        Some(TrimWhereField::Leading) => "ltrim",
        Some(TrimWhereField::Trailing) => "rtrim",
        _ => "btrim",
    }
}

fn text(value: impl Into<String>) -> Expr {
    Expr::Value(ValueWithSpan::from(Value::SingleQuotedString(value.into())))
}

fn call(name: impl Into<String>, args: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name.into()))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.into_iter().map(|a| FunctionArg::Unnamed(FunctionArgExpr::Expr(a))).collect(),
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

fn cast(expr: Expr, to: &str) -> Expr {
    call(format!("{CAST}{to}"), vec![expr])
}

fn rewrite(expr: &mut Expr) -> Result<Option<Expr>, SqlError> {
    let take = |e: &mut Box<Expr>| std::mem::replace(e.as_mut(), text(""));
    Ok(Some(match expr {
        Expr::Value(v) => match &v.value {
            Value::Number(digits, _) if digits.parse::<i64>().is_err() => {
                call(format!("{NUMBER}{}", digits.replace('_', "")), vec![])
            }
            Value::HexStringLiteral(_) | Value::SingleQuotedByteStringLiteral(_) => {
                return Err(SqlError::unsupported("bit string literals are not supported"));
            }
            _ => return Ok(None),
        },
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, array: false, format: None } => {
            sql_type(data_type)?;
            cast(take(expr), &data_type.to_string())
        }
        Expr::Cast { .. } => {
            return Err(SqlError::unsupported("this form of CAST is not supported").hint("Use CAST(x AS type)."));
        }
        Expr::TypedString(t) => {
            sql_type(&t.data_type)?;
            let value = t
                .value
                .clone()
                .into_string()
                .ok_or_else(|| SqlError::new(SqlState::SYNTAX, "a typed literal needs a string"))?;
            cast(text(value), &t.data_type.to_string())
        }
        Expr::Interval(i) => interval(i)?,
        Expr::Extract { field, expr, .. } => {
            call("extract", vec![text(field.to_string().to_ascii_lowercase()), take(expr)])
        }
        Expr::Position { expr, r#in } => call("strpos", vec![take(r#in), take(expr)]),
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            let one = || Expr::Value(ValueWithSpan::from(Value::Number("1".into(), false)));
            let mut args = vec![take(expr), substring_from.as_mut().map_or_else(one, take)];
            args.extend(substring_for.as_mut().map(take));
            call("substr", args)
        }
        Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
            let mut args = vec![take(expr)];
            args.extend(trim_what.as_mut().map(take));
            args.extend(trim_characters.take().unwrap_or_default());
            call(trim_function(trim_where), args)
        }
        Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
            call("ceil", vec![take(expr)])
        }
        Expr::Floor { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
            call("floor", vec![take(expr)])
        }
        Expr::IsNotDistinctFrom(a, b) => call(NOT_DISTINCT, vec![take(a), take(b)]),
        Expr::IsDistinctFrom(a, b) => Expr::UnaryOp {
            op: sqlparser::ast::UnaryOperator::Not,
            expr: Box::new(call(NOT_DISTINCT, vec![take(a), take(b)])),
        },
        Expr::AtTimeZone { .. } => {
            return Err(SqlError::unsupported("AT TIME ZONE is not supported yet")
                .hint("Cast between timestamp and timestamptz; the session's zone is UTC."));
        }
        Expr::Function(f) => {
            count_star(f);
            return Ok(None);
        }
        _ => return Ok(None),
    }))
}

/// `count(*)` counts a constant that is never NULL.
fn count_star(f: &mut Function) {
    let is_count = f.name.0.last().and_then(|p| p.as_ident()).is_some_and(|i| i.value.eq_ignore_ascii_case("count"));
    if let FunctionArguments::List(list) = &mut f.args
        && is_count
        && matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)])
    {
        let one = Expr::Value(ValueWithSpan::from(Value::Boolean(true)));
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(one))];
    }
}

fn interval(i: &Interval) -> Result<Expr, SqlError> {
    if i.leading_precision.is_some() || i.last_field.is_some() || i.fractional_seconds_precision.is_some() {
        return Err(SqlError::unsupported("this form of interval literal is not supported")
            .hint("Write INTERVAL '1 day 2 hours'."));
    }
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(s), .. }) = i.value.as_ref() else {
        return Err(SqlError::new(SqlState::SYNTAX, "an interval literal needs a string")
            .hint("Write INTERVAL '1 day', or multiply: n * INTERVAL '1 day'."));
    };
    let value = match &i.leading_field {
        Some(field) if s.trim().parse::<f64>().is_ok() => format!("{s} {}", field.to_string().to_ascii_lowercase()),
        Some(_) => return Err(SqlError::unsupported("an interval literal with a field needs a plain number")),
        None => s.clone(),
    };
    Ok(cast(text(value), "INTERVAL"))
}
