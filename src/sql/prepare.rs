//! Rewrites the syntax tree before planning: what DataFusion would give a type or a meaning of its own (casts,
//! typed literals, decimal literals, special function syntax) becomes a call that [`crate::lazy`] types later, and
//! every item of a select list gets PostgreSQL's name.
//!
//! Promises: a name made unique has [`MARK`] and a number behind it; [`shown_name`] takes that off again. When
//! [`Env::locate`] is set, operators, calls and quoted literals also carry their position in the text (behind
//! [`AT`]), so that errors can name it; such a tree is planned only to find the position of an error.

mod arrays;
mod asof;
mod composite;
mod distinct;
mod functions;
mod grouping;
mod merged;
mod moments;
mod names;
mod order;
mod outside;
mod rows;
mod strings;
mod subqueries;
mod tables;
mod using;
mod windows;

pub(crate) use functions::{nulls, qualify, rows_query};
pub(crate) use merged::unmerged;
pub(crate) use tables::{ONCE, ORDINALITY, ROWS_FROM, SET};
pub(crate) use using::check_using;

pub(crate) use names::output_name;

use crate::planner::Env;
use crate::types::{named_type, plan_name, reg_type};
use hw_repr::{SqlError, SqlState};
use sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DataType, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident, LimitClause, ObjectName, ObjectNamePart,
    Query, Select, SetExpr, SetOperator, SetQuantifier, Spanned, TableFactor, TrimWhereField, UnaryOperator, Value,
    ValueWithSpan, VisitMut, VisitorMut,
};
use sqlparser::tokenizer::Location;
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Separates a column's name from what makes it unique.
const MARK: char = '\u{1}';

/// Prefix of the function that a cast becomes.
pub(crate) const CAST: &str = "hw_cast:";
/// Prefix of the function that a cast to regclass and the like becomes.
pub(crate) const REG_CAST: &str = "hw_reg:";
/// Prefix of the function that a decimal literal becomes.
pub(crate) const NUMBER: &str = "hw_number:";
/// Prefix of the function that an operator becomes.
pub(crate) const OPERATOR: &str = "hw_op:";
/// A minus sign before anything but an integer literal, as a function.
pub(crate) const NEGATIVE: &str = "hw_negative";
/// A plus sign as a function.
pub(crate) const POSITIVE: &str = "hw_positive";
/// NOT as a function.
pub(crate) const NOT: &str = "hw_not";
/// `IS NOT DISTINCT FROM` as a function.
pub(crate) const NOT_DISTINCT: &str = "hw_not_distinct";
/// `value op ANY (array)`, with the operator behind it.
pub(crate) const OVER_ANY: &str = "hw_any:";
/// `value op ALL (array)`, with the operator behind it.
pub(crate) const OVER_ALL: &str = "hw_all:";
/// `ARRAY[...]`
pub(crate) const ARRAY_OF: &str = "hw_array_of";
/// Subscripts, with a letter for each behind it.
pub(crate) const SUBSCRIPT: &str = "hw_subscript:";
/// `ROW(...)`
pub(crate) const ROW_OF: &str = "hw_row_of";
/// The function that the number of FETCH FIRST ... WITH TIES stands in.
pub(crate) const TIES: &str = "hw_ties";
/// A row of a relation as one value, of `relation.*`.
pub(crate) const WHOLE_ROW: &str = "hw_whole_row";
/// A field of a row, with its name behind it.
pub(crate) const FIELD: &str = "hw_field:";
/// A value as an argument, or assigned to a column: with `argument:` or `column:` and the type behind it.
pub(crate) const COERCED: &str = "hw_coerced:";
/// A bit string, with `b` or `x` and its digits behind it.
pub(crate) const BITS: &str = "hw_bits:";
/// A subquery, with a digest of its text behind it.
pub(crate) const SUBQUERY: &str = "hw_subquery:";
/// A cell of VALUES: any type for now.
pub(crate) const CELL: &str = "hw_cell";
/// A quoted literal whose position is known.
pub(crate) const LITERAL: &str = "hw_literal";
/// The array behind VARIADIC.
pub(crate) const VARIADIC: &str = "hw_variadic";
/// Separates a function's name from its position.
pub(crate) const AT: char = '\u{2}';

/// The name a client sees.
pub(crate) fn shown_name(name: &str) -> &str {
    name.split(MARK).next().unwrap_or(name)
}

/// A function's name and the position of its call, where it is known.
pub(crate) fn split_position(name: &str) -> (&str, Option<usize>) {
    match name.rsplit_once(AT) {
        Some((name, position)) => (name, position.parse().ok()),
        None => (name, None),
    }
}

/// Rewrites a query in place.
pub(crate) fn prepare_query(env: &Env, query: &mut Query) -> Result<(), SqlError> {
    let mut ctes = HashSet::new();
    collect_ctes(query, &mut ctes);
    finish(query.visit(&mut Preparer { env, ctes, with: vec![], scalars: vec![] }))
}

/// Rewrites an expression in place.
pub(crate) fn prepare_expr(env: &Env, expr: &mut Expr) -> Result<(), SqlError> {
    finish(expr.visit(&mut Preparer { env, ctes: HashSet::new(), with: vec![], scalars: vec![] }))
}

/// Names of all CTEs at any depth.
fn collect_ctes(query: &mut Query, out: &mut HashSet<String>) {
    struct Ctes<'a>(&'a mut HashSet<String>);
    impl VisitorMut for Ctes<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            self.0.extend(query.with.iter().flat_map(|w| &w.cte_tables).map(|c| crate::parse::ast_fold(&c.alias.name)));
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut Ctes(out));
}

fn finish(flow: ControlFlow<SqlError>) -> Result<(), SqlError> {
    match flow {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Preparer<'a, 'b> {
    env: &'a Env<'b>,
    ctes: HashSet<String>,
    /// The CTEs of each query around, with their columns where they are known.
    with: Vec<Vec<(String, Option<Vec<String>>)>>,
    /// A level for each SELECT around; see [`tables`].
    scalars: Vec<tables::Scalars>,
}

impl VisitorMut for Preparer<'_, '_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        self.with.push(self.columns_of_ctes(query));
        if !query.locks.is_empty() || !query.pipe_operators.is_empty() {
            return ControlFlow::Break(SqlError::unsupported("FOR UPDATE and |> are not supported"));
        }
        if let Err(e) = fetch_first(query) {
            return ControlFlow::Break(e);
        }
        distinct::distinct_on(query);
        let read = windows::write_out(query).and_then(|()| merged::same_names(query));
        if let Err(e) = read.and_then(|()| self.merge_joined(query)) {
            return ControlFlow::Break(e);
        }
        order::of_columns(query);
        let found = wrap_cells(self.env, &mut query.body).and_then(|()| mark_all(&mut query.body));
        match found {
            Err(e) => ControlFlow::Break(e),
            Ok(()) => ControlFlow::Continue(()),
        }
    }

    // Before the expressions change, so that names come from what was written.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        let joined = asof::rewrite(select).and_then(|()| self.functions(select));
        if let Err(e) = joined.and_then(|()| self.note_relations(select)) {
            return ControlFlow::Break(e);
        }
        match using::star_of_using(select) {
            Ok(star) => self.env.star_of_using.set(star || self.env.star_of_using.get()),
            Err(e) => return ControlFlow::Break(e),
        }
        self.name_joined(select);
        // The alias of a function of one value is that value.
        let is_value = |name: &str| self.scalars.last().is_some_and(|s| matches!(s.get(name), Some(Some(_))));
        let whole = composite::whole_rows(self.env, &self.ctes, select, is_value);
        if let Err(e) = whole.and_then(|()| grouping::write_out(select)) {
            return ControlFlow::Break(e);
        }
        let of_star = |s: &Select, name: &str| self.star_has(s, name);
        names::name_items(select, |i| self.scalar(i).is_some(), of_star);
        arrays::skip_uncomputed(self.env, &self.ctes, select);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<SqlError> {
        self.scalars.pop();
        subqueries::name_in_select(select);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        self.with.pop();
        subqueries::name_in_order(query);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<SqlError> {
        if let Some(position) = relation.0.first().and_then(|p| p.as_ident()).and_then(|i| self.at(i.span.start)) {
            let parts: Vec<String> =
                relation.0.iter().filter_map(|p| p.as_ident()).map(crate::parse::ast_fold).collect();
            self.env.relation_positions.borrow_mut().entry(parts.join(".")).or_insert(position);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match arrays::rewrite_array(self.env, &self.ctes, expr) {
            Ok(Some(new)) => *expr = new,
            Ok(None) => {}
            Err(e) => return ControlFlow::Break(e),
        }
        if let Err(e) = windows::refuse_of_plain(expr) {
            return ControlFlow::Break(e);
        }
        order_by_constants(expr);
        if let Some(call) = self.user_call(expr) {
            *expr = call;
        }
        if let Some(row) = composite::row_call(expr) {
            *expr = row;
        }
        match moments::overlaps(expr) {
            Ok(Some(new)) => *expr = new,
            Ok(None) => {}
            Err(e) => return ControlFlow::Break(e),
        }
        if let Err(e) = rows::rewrite_rows(expr) {
            return ControlFlow::Break(e);
        }
        if let Some(e) = rows::without_columns(expr) {
            return ControlFlow::Break(e);
        }
        if let Expr::BinaryOp { left, op, right } = expr
            && [left, right].iter().any(|e| matches!(e.as_ref(), Expr::BinaryOp { op, .. } if is_comparison(op)))
            && is_comparison(op)
        {
            // They do not associate: PostgreSQL wants parentheses.
            let e = SqlError::new(SqlState::SYNTAX, format!("syntax error at or near \"{op}\""));
            return ControlFlow::Break(e);
        }
        if let Expr::Identifier(ident) = expr
            && let Some(column) = self.scalar(ident)
        {
            *expr = column;
        }
        self.note_column(expr);
        if self.env.locate {
            self.locate(expr);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match self.rewrite(expr) {
            Ok(Some(new)) => *expr = new,
            Ok(None) => {}
            Err(e) => return ControlFlow::Break(e),
        }
        ControlFlow::Continue(())
    }
}

/// A number in an aggregate's ORDER BY is meant as it is, not as a place of a select list.
fn order_by_constants(expr: &mut Expr) {
    let Expr::Function(f) = expr else { return };
    let FunctionArguments::List(list) = &mut f.args else { return };
    for clause in &mut list.clauses {
        let FunctionArgumentClause::OrderBy(keys) = clause else { continue };
        for key in keys.iter_mut().filter(|key| is_integer(&key.expr)) {
            key.expr = Expr::Nested(Box::new(key.expr.clone()));
        }
    }
}

/// The type of a literal `type '...'`: where it says no length, the value has its own, unlike in a cast.
fn without_default_length(ty: &DataType) -> DataType {
    let named = |name: &str| DataType::Custom(ObjectName::from(vec![Ident::with_quote('"', name)]), vec![]);
    match ty {
        DataType::Bit(None) => named("bit"),
        DataType::Char(None) | DataType::Character(None) => named("bpchar"),
        other => other.clone(),
    }
}

/// Whether it is one of the six that do not associate.
fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator as B;
    matches!(op, B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq)
}

fn position_in(env: &Env, location: Location) -> Option<usize> {
    let text = env.text()?;
    (location.line > 0).then(|| crate::parse::char_position(text, location))
}

impl Preparer<'_, '_> {
    /// One-based position of a place in the statement's text.
    fn at(&self, location: Location) -> Option<usize> {
        position_in(self.env, location)
    }

    /// Remembers where a column is named first.
    fn note_column(&self, expr: &Expr) {
        let parts = match expr {
            Expr::Identifier(one) => std::slice::from_ref(one),
            Expr::CompoundIdentifier(parts) => parts.as_slice(),
            _ => return,
        };
        let Some(position) = parts.first().and_then(|i| self.at(i.span.start)) else { return };
        let name: Vec<String> = parts.iter().map(crate::parse::ast_fold).collect();
        self.env.column_positions.borrow_mut().entry(name.join(".")).or_insert(position);
    }

    /// Remembers the aliases of a FROM clause and refuses a name that is given twice.
    fn note_relations(&self, select: &Select) -> Result<(), SqlError> {
        let mut seen: HashSet<String> = HashSet::new();
        let factors =
            select.from.iter().flat_map(|f| std::iter::once(&f.relation).chain(f.joins.iter().map(|j| &j.relation)));
        for factor in factors {
            let (written, alias) = match factor {
                TableFactor::Table { name, alias, args: None, .. } => {
                    let parts: Vec<String> =
                        name.0.iter().filter_map(|p| p.as_ident()).map(crate::parse::ast_fold).collect();
                    (parts, alias)
                }
                TableFactor::Derived { alias, .. } => (vec![], alias),
                _ => continue,
            };
            let name = match (alias, written.last()) {
                (Some(alias), last) => {
                    let alias = crate::parse::ast_fold(&alias.name);
                    if let Some(last) = last {
                        self.env.aliases.borrow_mut().insert(last.clone(), alias.clone());
                    }
                    alias
                }
                (None, Some(_)) => written.join("."),
                (None, None) => continue,
            };
            if !seen.insert(name.clone()) {
                let message = format!("table name \"{name}\" specified more than once");
                return Err(SqlError::new(SqlState::new("42712"), message));
            }
        }
        if let Some(position) = select.selection.as_ref().and_then(|e| self.at(e.span().start)) {
            self.env.condition_position.set(Some(position));
        }
        Ok(())
    }

    /// Gives operators, calls and quoted literals their positions.
    fn locate(&self, expr: &mut Expr) {
        match expr {
            Expr::BinaryOp { left, op, right } if crate::lazy::operator(op).is_some() => {
                let Some(position) = self.operator_position(left, right, op) else { return };
                let args = vec![take(left), take(right)];
                *expr = call(format!("{OPERATOR}{op}{AT}{position}"), args);
            }
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: operand } => {
                let Some(text) = self.env.text() else { return };
                let start = operand.span().start;
                if start.line == 0 || matches!(operand.as_ref(), Expr::Value(_)) {
                    return;
                }
                let before = &text[..crate::parse::byte_offset(text, start)];
                if let Some(at) = before.rfind('-') {
                    let position = before[..at].chars().count() + 1;
                    *expr = call(format!("{NEGATIVE}{AT}{position}"), vec![take(operand)]);
                }
            }
            Expr::Function(f) => {
                let Some(ObjectNamePart::Identifier(first)) = f.name.0.first() else { return };
                if first.value.starts_with("hw_") || first.value.eq_ignore_ascii_case("array") {
                    return;
                }
                let Some(position) = self.at(first.span.start) else { return };
                let name = f.name.0.iter().filter_map(|p| p.as_ident()).map(crate::parse::ast_fold);
                let name = name.collect::<Vec<_>>().join(".");
                f.name = identifier(format!("{name}{AT}{position}"));
            }
            Expr::Value(v) => {
                if let Value::SingleQuotedString(s) | Value::EscapedStringLiteral(s) = &v.value
                    && let Some(position) = self.at(v.span.start)
                {
                    *expr = call(format!("{LITERAL}:{s}{AT}{position}"), vec![]);
                }
            }
            _ => {}
        }
    }

    /// Where the operator's sign stands between its operands.
    fn operator_position(&self, left: &Expr, right: &Expr, op: &BinaryOperator) -> Option<usize> {
        let text = self.env.text()?;
        let (from, to) = (left.span().end, right.span().start);
        if from.line == 0 || to.line == 0 {
            return None;
        }
        let (from, to) = (crate::parse::byte_offset(text, from), crate::parse::byte_offset(text, to));
        let between = text.get(from..to)?.to_ascii_lowercase();
        let sign = op.to_string().to_ascii_lowercase();
        let found = between.find(&sign).or_else(|| between.find("!=")).or_else(|| between.find("operator"))?;
        Some(text.get(..from + found)?.chars().count() + 1)
    }
}

/// `FETCH FIRST n ROWS ONLY` as LIMIT; WITH TIES as LIMIT of [`TIES`] of the number.
fn fetch_first(query: &mut Query) -> Result<(), SqlError> {
    let Some(fetch) = query.fetch.take() else { return Ok(()) };
    if fetch.percent {
        return Err(SqlError::new(SqlState::SYNTAX, "syntax error at or near \"PERCENT\""));
    }
    if fetch.with_ties && query.order_by.is_none() {
        return Err(SqlError::new(SqlState::SYNTAX, "WITH TIES cannot be specified without ORDER BY clause"));
    }
    let one = || Expr::Value(ValueWithSpan::from(Value::Number("1".into(), false)));
    let quantity = fetch.quantity.unwrap_or_else(one);
    let limit = Some(if fetch.with_ties { call(TIES, vec![quantity]) } else { quantity });
    let offset = match query.limit_clause.take() {
        None => None,
        Some(LimitClause::LimitOffset { limit: None, offset, .. }) => offset,
        Some(_) => return Err(SqlError::new(SqlState::SYNTAX, "multiple LIMIT clauses not allowed")),
    };
    query.limit_clause = Some(LimitClause::LimitOffset { limit, offset, limit_by: vec![] });
    Ok(())
}

/// The left side of EXCEPT ALL and INTERSECT ALL becomes a subquery: that of EXCEPT and INTERSECT is known by its being distinct.
fn mark_all(body: &mut SetExpr) -> Result<(), SqlError> {
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return Ok(()) };
    if set_quantifier.to_string().contains("NAME") {
        return Err(SqlError::unsupported("BY NAME is not supported"));
    }
    mark_all(left)?;
    mark_all(right)?;
    if *op != SetOperator::Union && matches!(set_quantifier, SetQuantifier::All) {
        let mut whole = crate::parse::parse_query("SELECT * FROM (SELECT 1) AS hw_all")?;
        if let SetExpr::Select(select) = whole.body.as_mut()
            && let Some(TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|f| &mut f.relation)
        {
            std::mem::swap(&mut subquery.body, left);
        }
        **left = *whole.body;
    }
    Ok(())
}

/// Cells of VALUES become calls that any type fits; [`crate::retype`] finds the columns' types.
fn wrap_cells(env: &Env, body: &mut SetExpr) -> Result<(), SqlError> {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            wrap_cells(env, left)?;
            wrap_cells(env, right)
        }
        SetExpr::Values(values) => {
            let arity = values.rows.first().map_or(0, |r| r.content.len());
            if let Some(row) = values.rows.iter().find(|r| r.content.len() != arity) {
                let e = SqlError::new(SqlState::SYNTAX, "VALUES lists must all be the same length");
                let start = row.content.first().map(|c| c.span().start);
                return Err(match start.and_then(|s| position_in(env, s)) {
                    Some(position) => e.at(position),
                    None => e,
                });
            }
            for cell in values.rows.iter_mut().flat_map(|r| &mut r.content) {
                let is_null = matches!(cell, Expr::Value(v) if v.value == Value::Null);
                if is_default(cell) {
                    return Err(SqlError::new(SqlState::SYNTAX, "DEFAULT is not allowed in this context"));
                }
                if !is_null {
                    *cell = call(CELL, vec![std::mem::replace(cell, text(""))]);
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The word DEFAULT as a cell of VALUES.
pub(crate) fn is_default(cell: &Expr) -> bool {
    matches!(cell, Expr::Identifier(i) if i.quote_style.is_none() && i.value.eq_ignore_ascii_case("default"))
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

fn identifier(name: impl Into<String>) -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name.into()))])
}

fn take(e: &mut Box<Expr>) -> Expr {
    std::mem::replace(e.as_mut(), text(""))
}

fn call(name: impl Into<String>, args: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: identifier(name),
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

/// Under which name a prefix operator is planned.
fn prefix_operator(op: &UnaryOperator) -> Option<&'static str> {
    Some(match op {
        UnaryOperator::PGAbs => "hw_abs",
        UnaryOperator::PGSquareRoot => "hw_sqrt",
        UnaryOperator::PGCubeRoot => "hw_cbrt",
        UnaryOperator::BitwiseNot => "hw_bitnot",
        _ => return None,
    })
}

fn is_least_bigint(expr: &Expr) -> bool {
    // It is a number of its own by now.
    let Expr::Function(f) = expr else { return false };
    let name = f.name.0.first().and_then(|p| p.as_ident()).and_then(|i| i.value.strip_prefix(NUMBER));
    name == Some("9223372036854775808")
}

/// The integer literal of `(-n)`.
fn negated_literal(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Nested(inner) => negated_literal(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Some(expr.as_ref()).filter(|e| is_integer(e)),
        _ => None,
    }
}

fn is_integer(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(v) if matches!(&v.value, Value::Number(digits, _) if digits.parse::<i64>().is_ok()))
}

fn cast(expr: Expr, to: &str) -> Expr {
    call(format!("{CAST}{to}"), vec![expr])
}

/// A literal that the planner would read otherwise; `None` where it stays.
fn literal(value: &Value) -> Result<Option<Expr>, SqlError> {
    match value {
        Value::Number(digits, _) if digits.contains('_') => {
            let end = digits.find('_').map_or(digits.len(), |at| at + 1);
            let message = format!("trailing junk after numeric literal at or near \"{}\"", &digits[..end]);
            Err(SqlError::new(SqlState::SYNTAX, message))
        }
        Value::Number(digits, _) if digits.parse::<i64>().is_err() => {
            Ok(Some(call(format!("{NUMBER}{digits}"), vec![])))
        }
        Value::HexStringLiteral(digits) => Ok(Some(call(format!("{BITS}x{digits}"), vec![]))),
        Value::SingleQuotedByteStringLiteral(digits) => Ok(Some(call(format!("{BITS}b{digits}"), vec![]))),
        _ => Ok(None),
    }
}

impl Preparer<'_, '_> {
    fn rewrite(&self, expr: &mut Expr) -> Result<Option<Expr>, SqlError> {
        Ok(Some(match expr {
            Expr::Value(v) => return literal(&v.value),
            Expr::Cast {
                kind: CastKind::Cast | CastKind::DoubleColon,
                expr,
                data_type,
                array: false,
                format: None,
            } => self.cast(take(expr), data_type)?,
            Expr::Cast { kind: CastKind::TryCast | CastKind::SafeCast, .. } => {
                return Err(SqlError::new(SqlState::SYNTAX, "syntax error at or near \"AS\""));
            }
            Expr::Cast { .. } => {
                return Err(SqlError::unsupported("this form of CAST is not supported").hint("Use CAST(x AS type)."));
            }
            Expr::TypedString(t) if matches!(t.data_type, DataType::Array(_)) => {
                let e = SqlError::new(SqlState::SYNTAX, "a literal of an array type is written as a cast")
                    .hint("Write '...'::type[].");
                return Err(match self.at(t.value.span.start) {
                    Some(position) => e.at(position),
                    None => e,
                });
            }
            Expr::TypedString(t) => {
                let value = t.value.clone().into_string();
                let value = value.ok_or_else(|| SqlError::new(SqlState::SYNTAX, "a typed literal needs a string"))?;
                let literal = match self.at(t.value.span.start).filter(|_| self.env.locate) {
                    Some(position) => call(format!("{LITERAL}:{value}{AT}{position}"), vec![]),
                    None => text(value),
                };
                self.cast(literal, &without_default_length(&t.data_type))?
            }
            Expr::UnaryOp { op, expr } => match self.prefixed(*op, expr) {
                Some(new) => new,
                None => return Ok(None),
            },
            Expr::Interval(i) => moments::interval(i)?,
            Expr::Collate { expr, collation } => self.collate(expr, collation)?,
            Expr::IsNotDistinctFrom(a, b) => call(NOT_DISTINCT, vec![take(a), take(b)]),
            Expr::IsDistinctFrom(a, b) => call(NOT, vec![call(NOT_DISTINCT, vec![take(a), take(b)])]),
            Expr::AtTimeZone { .. } => return Ok(moments::at_time_zone(expr)),
            Expr::AnyOp { left, compare_op, right, .. } if !matches!(right.as_ref(), Expr::Subquery(_)) => {
                call(format!("{OVER_ANY}{compare_op}"), vec![take(left), take(right)])
            }
            Expr::AllOp { left, compare_op, right } if !matches!(right.as_ref(), Expr::Subquery(_)) => {
                call(format!("{OVER_ALL}{compare_op}"), vec![take(left), take(right)])
            }
            Expr::Tuple(items) => call(ROW_OF, std::mem::take(items)),
            Expr::Array(array) => call(ARRAY_OF, std::mem::take(&mut array.elem)),
            Expr::CompoundFieldAccess { root, access_chain } => match composite::access(root, access_chain) {
                Some(new) => new,
                None => return Ok(None),
            },
            Expr::Identifier(i) if i.quote_style.is_none() && is_session_word(&i.value) => {
                call(i.value.to_ascii_lowercase(), vec![])
            }
            Expr::Function(f) => {
                count_star(f);
                moments::arguments(f)?;
                return Ok(strings::string_call(expr));
            }
            other => return Ok(strings::string_call(other).or_else(|| special_call(other))),
        }))
    }

    /// An operator before its operand; `None` where it stays.
    fn prefixed(&self, op: UnaryOperator, operand: &mut Box<Expr>) -> Option<Expr> {
        match op {
            // The sign belongs to the literal: that of the least bigint, and one sign takes another away.
            UnaryOperator::Minus if is_least_bigint(operand) => Some(cast(text(i64::MIN.to_string()), "bigint")),
            UnaryOperator::Minus if negated_literal(operand).is_some() => negated_literal(operand).cloned(),
            // DataFusion knows the sign of its own numeric types only.
            UnaryOperator::Minus if !is_integer(operand) => Some(call(NEGATIVE, vec![take(operand)])),
            UnaryOperator::Plus => Some(call(POSITIVE, vec![take(operand)])),
            UnaryOperator::Not => Some(match self.at(operand.span().start) {
                Some(position) if self.env.locate => call(format!("{NOT}{AT}{position}"), vec![take(operand)]),
                _ => call(NOT, vec![take(operand)]),
            }),
            op => prefix_operator(&op).map(|name| call(name, vec![take(operand)])),
        }
    }

    fn cast(&self, expr: Expr, ty: &DataType) -> Result<Expr, SqlError> {
        if let Some(reg) = reg_type(ty) {
            return Ok(call(format!("{REG_CAST}{reg}"), vec![expr]));
        }
        let e = match named_type(self.env, ty) {
            Ok(known) => return Ok(cast(expr, &plan_name(known, ty))),
            Err(e) => e,
        };
        let position = match ty {
            DataType::Custom(name, _) => name.0.first().and_then(|p| p.as_ident()).and_then(|i| self.at(i.span.start)),
            _ => None,
        };
        Err(match position {
            Some(position) => e.at(position),
            None => e,
        })
    }

    /// Text has one collation here: by bytes, which `C` is and which the database's default is.
    fn collate(&self, expr: &mut Box<Expr>, collation: &ObjectName) -> Result<Expr, SqlError> {
        let parts: Vec<&Ident> = collation.0.iter().filter_map(|p| p.as_ident()).collect();
        let name = parts.last().map(|i| i.value.as_str()).unwrap_or_default();
        let known = matches!(name, "default" | "C" | "POSIX" | "ucs_basic");
        if !known || parts.len() > 2 || parts.len() == 2 && parts[0].value != "pg_catalog" {
            let shown: Vec<&str> = parts.iter().map(|i| i.value.as_str()).collect();
            let e = SqlError::new(
                SqlState::UNDEFINED_OBJECT,
                format!("collation \"{}\" for encoding \"UTF8\" does not exist", shown.join(".")),
            )
            .hint("Text is compared by its bytes: use COLLATE \"C\", or none.");
            return Err(match parts.first().and_then(|i| self.at(i.span.start)) {
                Some(position) => e.at(position),
                None => e,
            });
        }
        Ok(Expr::Nested(Box::new(take(expr))))
    }
}

/// Reserved words that are calls without parentheses.
fn is_session_word(word: &str) -> bool {
    ["current_schema", "current_catalog", "current_role", "current_user", "session_user"]
        .iter()
        .any(|w| word.eq_ignore_ascii_case(w))
}

/// The calls that have a syntax of their own.
fn special_call(expr: &mut Expr) -> Option<Expr> {
    Some(match expr {
        Expr::Extract { field, expr, .. } => {
            let field = field.to_string().to_ascii_lowercase();
            call("extract", vec![text(field.trim_matches('\'')), take(expr)])
        }
        Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
            call("ceil", vec![take(expr)])
        }
        Expr::Floor { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
            call("floor", vec![take(expr)])
        }
        _ => return None,
    })
}

/// `count(*)` counts a constant that is never NULL.
fn count_star(f: &mut Function) {
    let is_count = f.name.0.last().and_then(|p| p.as_ident()).is_some_and(|i| {
        let name = split_position(&i.value).0;
        name.eq_ignore_ascii_case("count") || name.eq_ignore_ascii_case("pg_catalog.count")
    });
    if let FunctionArguments::List(list) = &mut f.args
        && is_count
        && matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)])
    {
        let one = Expr::Value(ValueWithSpan::from(Value::Boolean(true)));
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(one))];
    }
}

/// The text of a quoted literal, located or not.
fn quoted(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(s), .. }) => Some(s.clone()),
        Expr::Function(f) => {
            let name = f.name.0.first()?.as_ident()?;
            Some(split_position(&name.value).0.strip_prefix(LITERAL)?.strip_prefix(':')?.to_string())
        }
        _ => None,
    }
}
