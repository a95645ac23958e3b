//! `*` in the stored query of a view, by the columns that it stands for when the view is made, as in PostgreSQL: a column
//! that a relation gets later is none of the view's.
//!
//! Only where it is plain what it stands for: relations of the catalog beside each other or joined ON a condition. Anything
//! else stays as it is written.

use super::create::written;
use crate::parse::ast_fold;
use crate::planner::Env;
use crate::prepare::unmerged;
use sqlparser::ast as sql;

/// The query with the columns in the place of `*`; `None` where there is none, or one that stays.
pub(super) fn without_stars(env: &Env, query: &sql::Query) -> Option<sql::Query> {
    let mut query = query.clone();
    if query.with.is_some() {
        return None;
    }
    let mut found = false;
    body(env, &mut query.body, &mut found)?;
    found.then_some(query)
}

fn body(env: &Env, body: &mut sql::SetExpr, found: &mut bool) -> Option<()> {
    match body {
        sql::SetExpr::Select(select) => {
            let mut items = vec![];
            for item in std::mem::take(&mut select.projection) {
                match &item {
                    sql::SelectItem::Wildcard(options) if is_plain(options) => {
                        let all: Option<Vec<_>> = unmerged(select).map(|f| columns_of(env, f?)).collect();
                        items.extend(all?.into_iter().flat_map(|(_, columns)| columns));
                        *found = true;
                    }
                    sql::SelectItem::QualifiedWildcard(
                        sql::SelectItemQualifiedWildcardKind::ObjectName(name),
                        options,
                    ) if is_plain(options) => {
                        let [sql::ObjectNamePart::Identifier(wanted)] = name.0.as_slice() else { return None };
                        let wanted = ast_fold(wanted);
                        let mut all = unmerged(select).filter_map(|f| columns_of(env, f?));
                        items.extend(all.find(|(name, _)| *name == wanted)?.1);
                        *found = true;
                    }
                    sql::SelectItem::Wildcard(_) | sql::SelectItem::QualifiedWildcard(..) => return None,
                    _ => items.push(item),
                }
            }
            select.projection = items;
            Some(())
        }
        sql::SetExpr::SetOperation { left, right, .. } => {
            self::body(env, left, found)?;
            self::body(env, right, found)
        }
        sql::SetExpr::Query(inner) if inner.with.is_none() => self::body(env, &mut inner.body, found),
        _ => Some(()),
    }
}

fn is_plain(options: &sql::WildcardAdditionalOptions) -> bool {
    options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
}

/// The name of a relation within the query, and its columns as expressions.
fn columns_of(env: &Env, factor: &sql::TableFactor) -> Option<(String, Vec<sql::SelectItem>)> {
    let sql::TableFactor::Table { name, alias, args: None, .. } = factor else { return None };
    let parts: Option<Vec<String>> = name.0.iter().map(|p| p.as_ident().map(ast_fold)).collect();
    let parts = parts?;
    let (schema, own) = match parts.as_slice() {
        [own] => (None, own),
        [.., schema, own] => (Some(schema.as_str()), own),
        [] => return None,
    };
    let object = env.resolve(schema, own)?;
    let shown = alias.as_ref().map_or_else(|| own.clone(), |a| ast_fold(&a.name));
    let renamed = alias.iter().flat_map(|a| &a.columns).map(|c| ast_fold(&c.name));
    let names: Vec<String> = object.desc()?.columns.iter().map(|c| c.name.clone()).collect();
    let given = renamed.count();
    let renamed = alias.iter().flat_map(|a| &a.columns).map(|c| ast_fold(&c.name));
    let item = |column: String| {
        let parts = vec![written(&shown), written(&column)];
        sql::SelectItem::UnnamedExpr(sql::Expr::CompoundIdentifier(parts))
    };
    let columns = renamed.chain(names.into_iter().skip(given)).map(item).collect();
    Some((shown.clone(), columns))
}
