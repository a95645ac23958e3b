//! Rows as values: `ROW(...)`, fields of rows, `(row).*`, and relations that are named as values (`row_to_json(t)`).

use super::outside::outside;
use super::{FIELD, ROW_OF, SUBSCRIPT, WHOLE_ROW, call, identifier, take, text};
use crate::parse::types::ALL_FIELDS;
use crate::planner::Env;
use hw_repr::{SqlError, SqlState, SqlType};
use sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, ObjectName,
    Select, SelectItem, SelectItemQualifiedWildcardKind as Star, Subscript, TableFactor, Value, ValueWithSpan,
    WildcardAdditionalOptions,
};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// `ROW(...)` as a tuple, or as a call where `t.*` is among the fields.
pub(super) fn row_call(expr: &mut Expr) -> Option<Expr> {
    let Expr::Function(f) = expr else { return None };
    let [name] = f.name.0.as_slice() else { return None };
    let name = name.as_ident().filter(|i| i.quote_style.is_none())?;
    let name = super::split_position(&name.value).0;
    let FunctionArguments::List(list) = &mut f.args else { return None };
    if !name.eq_ignore_ascii_case("row") || f.over.is_some() {
        return None;
    }
    let plain = |a: &FunctionArg| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    };
    match list.args.iter().map(plain).collect::<Option<Vec<_>>>() {
        Some(items) => Some(Expr::Tuple(items)),
        None => {
            f.name = identifier(ROW_OF);
            None
        }
    }
}

/// `root[i][l:u]` and `(root).field` as calls; bounds that are left out are the least and the greatest integer. `None`
/// where the access has another form.
pub(super) fn access(root: &mut Box<Expr>, chain: &mut [AccessExpr]) -> Option<Expr> {
    let known = |a: &AccessExpr| match a {
        AccessExpr::Dot(e) => matches!(e, Expr::Identifier(_)),
        AccessExpr::Subscript(Subscript::Slice { stride, .. }) => stride.is_none(),
        AccessExpr::Subscript(_) => true,
    };
    if !chain.iter().all(known) {
        return None;
    }
    let bound = |n: i32| Expr::Value(ValueWithSpan::from(Value::Number(n.to_string(), false)));
    let mut made = take(root);
    let (mut pattern, mut args) = (String::new(), vec![]);
    let subscripted = |made: Expr, pattern: &mut String, args: &mut Vec<Expr>| match pattern.is_empty() {
        true => made,
        false => {
            let name = format!("{SUBSCRIPT}{}", std::mem::take(pattern));
            call(name, std::iter::once(made).chain(std::mem::take(args)).collect())
        }
    };
    for access in chain {
        match access {
            AccessExpr::Subscript(Subscript::Index { index }) => {
                pattern.push('i');
                args.push(std::mem::replace(index, text("")));
            }
            AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, .. }) => {
                pattern.push('s');
                args.push(lower_bound.take().unwrap_or_else(|| bound(i32::MIN)));
                args.push(upper_bound.take().unwrap_or_else(|| bound(i32::MAX)));
            }
            AccessExpr::Dot(Expr::Identifier(name)) => {
                made = subscripted(made, &mut pattern, &mut args);
                made = call(format!("{FIELD}{}", crate::parse::ast_fold(name)), vec![made]);
            }
            AccessExpr::Dot(_) => return None,
        }
    }
    Some(subscripted(made, &mut pattern, &mut args))
}

/// A relation of a FROM clause.
struct Source<'a> {
    /// As it is named in the SELECT.
    alias: String,
    factor: &'a TableFactor,
}

fn sources(select: &Select) -> Vec<Source<'_>> {
    let all = select.from.iter().flat_map(|f| std::iter::once(&f.relation).chain(f.joins.iter().map(|j| &j.relation)));
    let named = all.filter_map(|factor| {
        let alias = match factor {
            TableFactor::Table { name, alias, args: None, .. } => match alias {
                Some(alias) => crate::parse::ast_fold(&alias.name),
                None => crate::parse::ast_fold(name.0.last()?.as_ident()?),
            },
            TableFactor::Derived { alias: Some(alias), .. } => {
                let name = crate::parse::ast_fold(&alias.name);
                if alias.columns.iter().any(|c| crate::parse::ast_fold(&c.name) == name) {
                    return None;
                }
                name
            }
            _ => return None,
        };
        Some(Source { alias, factor })
    });
    named.collect()
}

/// The columns of a relation of the catalog.
fn columns_of(env: &Env, ctes: &HashSet<String>, factor: &TableFactor) -> Option<Vec<(String, SqlType)>> {
    let TableFactor::Table { name, alias, args: None, .. } = factor else { return None };
    let mut parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(crate::parse::ast_fold).collect();
    let last = parts.pop()?;
    let schema = parts.pop();
    if schema.is_none() && ctes.contains(&last) {
        return None;
    }
    let object = env.resolve(schema.as_deref(), &last)?;
    let mut columns: Vec<(String, SqlType)> = object.desc()?.columns.iter().map(|c| (c.name.clone(), c.ty)).collect();
    for (column, new) in columns.iter_mut().zip(alias.iter().flat_map(|a| &a.columns)) {
        column.0 = crate::parse::ast_fold(&new.name);
    }
    Some(columns)
}

/// Rewrites what a SELECT says of whole rows: `(row).*`, and names of its relations where values stand. A column of that
/// name comes first: where it is not known here whether there is one, the typing of the call decides. `is_value`: a name
/// that means no row.
pub(super) fn whole_rows(
    env: &Env,
    ctes: &HashSet<String>,
    select: &mut Select,
    is_value: impl Fn(&str) -> bool,
) -> Result<(), SqlError> {
    spread_stars(env, ctes, select)?;
    let found = sources(select);
    let known: Vec<Option<Vec<(String, SqlType)>>> = found.iter().map(|s| columns_of(env, ctes, s.factor)).collect();
    let has_column = |name: &str| known.iter().flatten().flatten().any(|(c, _)| c == name);
    let is_row = |a: &String| !has_column(a) && !is_value(a);
    let names: HashSet<String> = found.iter().map(|s| s.alias.clone()).filter(is_row).collect();
    if names.is_empty() {
        return Ok(());
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::Identifier(name)) = item
            && names.contains(&crate::parse::ast_fold(name))
        {
            let alias = Ident::with_quote('"', crate::parse::ast_fold(name));
            *item = SelectItem::ExprWithAlias { expr: Expr::Identifier(name.clone()), alias };
        }
    }
    let mut each = |expr: &mut Expr| name_row(&names, expr);
    let _ = outside(&mut select.projection, &mut each);
    let _ = outside(&mut select.selection, &mut each);
    let _ = outside(&mut select.having, &mut each);
    if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
        let _ = outside(keys, &mut each);
    }
    Ok(())
}

/// A name alone that is a relation's, as its row.
fn name_row(names: &HashSet<String>, expr: &mut Expr) -> ControlFlow<()> {
    if let Expr::Identifier(name) = expr
        && (name.quote_style.is_some() || !super::is_session_word(&name.value))
        && names.contains(&crate::parse::ast_fold(name))
    {
        let relation = ObjectName::from(vec![name.clone()]);
        let mut whole = call(format!("{WHOLE_ROW}:{}", crate::parse::ast_fold(name)), vec![]);
        if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = &mut whole {
            list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(relation))];
        }
        *expr = whole;
    }
    ControlFlow::Continue(())
}

/// The row of `(row).*`.
fn starred(item: &SelectItem) -> Option<Expr> {
    let SelectItem::UnnamedExpr(Expr::CompoundFieldAccess { root, access_chain }) = item else { return None };
    let (last, rest) = access_chain.split_last()?;
    let AccessExpr::Dot(Expr::Identifier(name)) = last else { return None };
    if name.quote_style.is_none() || name.value != ALL_FIELDS {
        return None;
    }
    Some(match rest {
        [] => root.as_ref().clone(),
        rest => Expr::CompoundFieldAccess { root: root.clone(), access_chain: rest.to_vec() },
    })
}

/// `(row).*` as its fields.
fn spread_stars(env: &Env, ctes: &HashSet<String>, select: &mut Select) -> Result<(), SqlError> {
    if !select.projection.iter().any(|i| starred(i).is_some()) {
        return Ok(());
    }
    let mut items = vec![];
    for item in std::mem::take(&mut select.projection) {
        let Some(row) = starred(&item) else {
            items.push(item);
            continue;
        };
        if let Some(relation) = relation_named(env, ctes, &row, select) {
            items.push(SelectItem::QualifiedWildcard(Star::ObjectName(relation), WildcardAdditionalOptions::default()));
            continue;
        }
        let fields = fields_of(env, ctes, &row, select)?;
        items.extend(fields.into_iter().map(|field| {
            let name = Ident::with_quote('"', field);
            let chain = vec![AccessExpr::Dot(Expr::Identifier(name.clone()))];
            let expr = Expr::CompoundFieldAccess { root: Box::new(row.clone()), access_chain: chain };
            SelectItem::ExprWithAlias { expr, alias: name }
        }));
    }
    select.projection = items;
    Ok(())
}

fn inner(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(within) = expr {
        expr = within;
    }
    expr
}

/// The relation that `(t)` names, where there is no column of that name.
fn relation_named(env: &Env, ctes: &HashSet<String>, row: &Expr, select: &Select) -> Option<ObjectName> {
    let Expr::Identifier(name) = inner(row) else { return None };
    let folded = crate::parse::ast_fold(name);
    let mut columns = sources(select).into_iter().filter_map(|s| columns_of(env, ctes, s.factor)).flatten();
    if columns.any(|(c, _)| c == folded) {
        return None;
    }
    sources(select).iter().any(|s| s.alias == folded).then(|| ObjectName::from(vec![name.clone()]))
}

/// Names of the fields of a row whose type is known before it is planned: a cast, a column, a constructor.
fn fields_of(env: &Env, ctes: &HashSet<String>, row: &Expr, select: &Select) -> Result<Vec<String>, SqlError> {
    let column = |relation: Option<String>, name: String| {
        let mut sources = sources(select).into_iter().filter(|s| relation.as_ref().is_none_or(|r| *r == s.alias));
        sources.find_map(|s| columns_of(env, ctes, s.factor)?.into_iter().find(|(c, _)| *c == name).map(|(_, ty)| ty))
    };
    let ty = match inner(row) {
        Expr::Cast { data_type, .. } => Some(crate::types::named_type(env, data_type)?),
        Expr::Identifier(name) => column(None, crate::parse::ast_fold(name)),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., relation, name] => column(Some(crate::parse::ast_fold(relation)), crate::parse::ast_fold(name)),
            _ => None,
        },
        Expr::Tuple(items) => return Ok((1..=items.len()).map(|n| format!("f{n}")).collect()),
        _ => None,
    };
    match ty {
        Some(SqlType::Row(row)) => Ok(row.def().fields.iter().map(|f| f.name.clone()).collect()),
        Some(ty) => Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("type {ty} is not composite"))),
        None => Err(SqlError::unsupported("(row).* of other than a column or a cast is not supported yet")
            .hint("Name the fields, or compute the row in a subquery with a cast.")),
    }
}
