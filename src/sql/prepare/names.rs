//! PostgreSQL's names of select items, made unique for DataFusion.

use super::{MARK, trim_function};
use crate::types::sql_type;
use sqlparser::ast::{AccessExpr, ArrayElemTypeDef, DataType, Expr, Ident, Select, SelectItem, SetExpr, Value};
use std::collections::HashSet;

/// Gives every item of a select list its name; a repeated one gets [`MARK`] and its position behind it. `is_alias` tells
/// whether a name will be replaced by that of a column, `is_column_of` whether a star may give a column of that name.
pub(super) fn name_items(
    select: &mut Select,
    is_alias: impl Fn(&Ident) -> bool,
    is_column_of: impl Fn(&Select, &str) -> bool,
) {
    let wildcard =
        select.projection.iter().any(|i| matches!(i, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)));
    let single = select.projection.len() == 1;
    let beside_star: Vec<bool> = match wildcard && !single {
        true => select.projection.iter().map(|i| named(i).is_some_and(|n| !is_column_of(select, &n))).collect(),
        false => vec![],
    };
    let mut seen: HashSet<String> = HashSet::new();
    for (n, item) in select.projection.iter_mut().enumerate() {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(expr) => (expr.clone(), output_name(expr)),
            SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), crate::parse::ast_fold(alias)),
            _ => continue,
        };
        let is_column = match item {
            SelectItem::UnnamedExpr(Expr::Identifier(i)) => {
                (i.quote_style.is_some() || !super::is_session_word(&i.value)) && !is_alias(i)
            }
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(_)) => true,
            _ => false,
        };
        let fresh = seen.insert(name.clone());
        if fresh && is_column && (!wildcard || single) {
            continue;
        }
        let own = single || !wildcard || beside_star.get(n) == Some(&true);
        let unique = if fresh && own { name } else { format!("{name}{MARK}{n}") };
        *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', unique) };
    }
}

/// The name of a select item that is no star.
fn named(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(expr) => Some(output_name(expr)),
        SelectItem::ExprWithAlias { alias, .. } => Some(crate::parse::ast_fold(alias)),
        _ => None,
    }
}

/// PostgreSQL's name of an unnamed select item.
pub(crate) fn output_name(expr: &Expr) -> String {
    match figure(expr) {
        Some((name, _)) => name,
        None => "?column?".into(),
    }
}

/// A name, and whether it is a weak one that an enclosing cast or CASE replaces by its own.
fn figure(expr: &Expr) -> Option<(String, bool)> {
    let fold = crate::parse::ast_fold;
    let strong = |name: &str| Some((name.to_string(), false));
    match expr {
        Expr::Identifier(i) => Some((fold(i), false)),
        Expr::CompoundIdentifier(parts) => parts.last().map(|p| (fold(p), false)),
        Expr::Function(f) => f.name.0.last().and_then(|p| p.as_ident()).map(|i| (fold(i), false)),
        Expr::Tuple(_) => strong("row"),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let named = |a: &AccessExpr| match a {
                AccessExpr::Dot(Expr::Identifier(name)) => Some((fold(name), false)),
                _ => None,
            };
            access_chain.iter().rev().find_map(named).or_else(|| figure(root))
        }
        Expr::Nested(e) | Expr::Collate { expr: e, .. } => figure(e),
        Expr::Cast { expr, data_type, .. } => match figure(expr) {
            Some((name, false)) => Some((name, false)),
            _ => type_name(data_type).map(|t| (t, true)),
        },
        Expr::TypedString(t) => type_name(&t.data_type).map(|t| (t, true)),
        Expr::Interval(_) => Some(("interval".into(), true)),
        Expr::Case { else_result, .. } => match else_result.as_ref().and_then(|e| figure(e)) {
            Some((name, false)) => Some((name, false)),
            _ => Some(("case".into(), true)),
        },
        Expr::Extract { .. } => strong("extract"),
        Expr::Substring { shorthand: true, .. } => strong("substr"),
        Expr::Substring { .. } => strong("substring"),
        Expr::Position { .. } => strong("position"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::BinaryOp { op: sqlparser::ast::BinaryOperator::Overlaps, .. } => strong("overlaps"),
        Expr::Trim { trim_where, .. } => strong(trim_function(trim_where)),
        Expr::Exists { .. } => strong("exists"),
        Expr::Subquery(q) => match q.body.as_ref() {
            SetExpr::Select(s) => match s.projection.first() {
                Some(SelectItem::UnnamedExpr(e)) => Some((output_name(e), false)),
                Some(SelectItem::ExprWithAlias { alias, .. }) => Some((fold(alias), false)),
                _ => None,
            },
            _ => None,
        },
        Expr::Value(v) if matches!(v.value, Value::Boolean(_)) => Some(("bool".into(), true)),
        _ => None,
    }
}

/// The name that a cast to this type gives its result.
fn type_name(ty: &sqlparser::ast::DataType) -> Option<String> {
    if let Some(reg) = crate::types::reg_type(ty) {
        return Some(reg.to_string());
    }
    if let sqlparser::ast::DataType::Custom(name, _) = ty {
        let last = name.0.last().and_then(|p| p.as_ident()).map(crate::parse::ast_fold)?;
        if matches!(last.as_str(), "oid" | "name" | "char" | "xid") {
            return Some(last);
        }
    }
    if let Ok(ty) = sql_type(ty) {
        return Some(internal_type_name(ty).to_string());
    }
    // One that a statement has defined, or an array of these.
    match ty {
        DataType::Custom(name, _) => name.0.last().and_then(|p| p.as_ident()).map(crate::parse::ast_fold),
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => type_name(element),
        _ => None,
    }
}

fn internal_type_name(ty: hw_repr::SqlType) -> &'static str {
    use hw_repr::SqlType as T;
    match ty {
        T::Json => "json",
        T::Char(_) => "bpchar",
        T::Bit(_) => "bit",
        T::Varbit(_) => "varbit",
        // A cast to an array is named after its elements.
        T::Array(element) => internal_type_name(element.ty()),
        T::Alias(hw_repr::AliasType::Char) => "char",
        T::Alias(alias) => alias.name(),
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
        T::TimeTz => "timetz",
        T::Enum(_) | T::Row(_) => "record",
    }
}
