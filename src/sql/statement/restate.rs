//! The stored texts of objects, written anew where names in them have changed.
//!
//! Plans refer to objects by id and to columns by position; texts, for people and for planning again, by name. A relation
//! that has got another name keeps the old one as its alias within the queries that read it, and columns keep theirs in
//! the alias' list of columns: so nothing else in a query needs to change. Invariant: a restated query means what it meant.

use super::create::{on_error, qualified, quote, retain, with_clause, written};
use super::create_table::table_sql;
use crate::parse::ast::Ast;
use crate::parse::{ast_fold, parse_expr};
use hw_plan::statement::QualifiedName;
use hw_plan::{IndexExpr, Object, ObjectKind};
use hw_repr::{GlobalId, SqlError, SqlType};
use sqlparser::ast as sql;
use std::ops::ControlFlow;

/// What has changed of one object's names.
#[derive(Clone, Debug)]
pub struct Renaming {
    /// The name it had.
    pub from: QualifiedName,
    /// The name it has.
    pub to: QualifiedName,
    /// The names that its columns had, where one has changed.
    pub columns: Option<Vec<String>>,
}

/// `new` with texts that fit its names and those of what it reads; `old` is the object before, `by_id` gives objects as
/// they are then.
pub fn restated(
    old: &Object,
    mut new: Object,
    renamings: &[Renaming],
    by_id: &dyn Fn(GlobalId) -> Option<Object>,
) -> Result<Object, SqlError> {
    let (was, is) = (name_of(old), name_of(&new));
    let moved = |head: &str| {
        let rest = old.create_sql.strip_prefix(&format!("{head} {}", qualified(&was)));
        rest.map_or_else(|| old.create_sql.clone(), |rest| format!("{head} {}{rest}", qualified(&is)))
    };
    match &mut new.kind {
        ObjectKind::View { query, desc } | ObjectKind::MaterializedView { query, desc, .. } => {
            let columns: Vec<String> = desc.columns.iter().map(|c| quote(&c.name)).collect();
            (new.create_sql, *query) = view_sql(&old.create_sql, &is, &columns, renamings)?;
        }
        ObjectKind::Table(desc) => {
            let ObjectKind::Table(old_desc) = &old.kind else {
                return Err(SqlError::internal("a table that was none"));
            };
            rename_in_rules(&mut new.rules, old_desc, desc)?;
            let before = table_sql(&was, old_desc, &old.rules);
            let options = old.create_sql.strip_prefix(&before).unwrap_or_default();
            new.create_sql = format!("{}{options}", table_sql(&is, desc, &new.rules));
        }
        ObjectKind::Index { on, expressions, .. } => {
            if let Some(on) = by_id(*on) {
                rename_in_index(expressions, &on, renamings)?;
                new.create_sql = index_sql(&new, &on);
            }
        }
        ObjectKind::Type(SqlType::Row(row)) => {
            let fields: Vec<String> = row.def().fields.iter().map(|f| format!("{} {}", quote(&f.name), f.ty)).collect();
            new.create_sql = format!("CREATE TYPE {} AS ({})", qualified(&is), fields.join(", "));
        }
        ObjectKind::Type(_) => new.create_sql = moved("CREATE TYPE"),
        ObjectKind::Function(function) => {
            let mut query = crate::parse::parse_query(&function.body)?;
            let _ = sql::VisitMut::visit(query.as_mut(), &mut Renamer(renamings));
            function.body = query.to_string();
            new.create_sql = super::function::create_sql(&is, function);
        }
        ObjectKind::Connection(_) => new.create_sql = moved("CREATE CONNECTION"),
        ObjectKind::Source(_) if was != is => {
            if let Some((head, tail)) = crate::parse::own::around_source_name(&old.create_sql) {
                new.create_sql = format!("{head}{}{tail}", qualified(&is));
            }
        }
        ObjectKind::Source(_) | ObjectKind::SourceOutput { .. } => {}
    }
    Ok(new)
}

fn name_of(object: &Object) -> QualifiedName {
    QualifiedName { schema: object.schema.clone(), name: object.name.clone() }
}

/// The statement that makes an index.
fn index_sql(index: &Object, on: &Object) -> String {
    let ObjectKind::Index { columns, expressions, .. } = &index.kind else { return index.create_sql.clone() };
    let Some(desc) = on.desc() else { return index.create_sql.clone() };
    let names = super::index::parts(columns, expressions, desc);
    let unique = if on.rules.uniques.iter().any(|u| u.name == index.name) { "UNIQUE " } else { "" };
    format!("CREATE {unique}INDEX {} ON {} ({})", quote(&index.name), qualified(&name_of(on)), names.join(", "))
}

/// CREATE statement and query of a view.
fn view_sql(
    create_sql: &str,
    name: &QualifiedName,
    columns: &[String],
    renamings: &[Renaming],
) -> Result<(String, String), SqlError> {
    let Ast::CreateView { materialized, options, mut query, .. } = crate::parse::parse_one(create_sql)? else {
        return Err(SqlError::internal("a view's text is no CREATE VIEW"));
    };
    let (_, retain) = retain(&options)?;
    let (_, errors) = on_error(&options)?;
    let _ = sql::VisitMut::visit(query.as_mut(), &mut Renamer(renamings));
    let kind = if materialized { "MATERIALIZED VIEW" } else { "VIEW" };
    let (list, with, query) = (columns.join(", "), with_clause(&[retain, errors]), query.to_string());
    Ok((format!("CREATE {kind} {} ({list}){with} AS {query}", qualified(name)), query))
}

struct Renamer<'a>(&'a [Renaming]);

impl Renamer<'_> {
    /// The renaming of what the last two parts of a name say.
    fn of(&self, parts: &[String]) -> Option<&Renaming> {
        let [.., schema, name] = parts else { return None };
        self.0.iter().find(|r| r.from.schema == *schema && r.from.name == *name)
    }

    fn of_name(&self, name: &sql::ObjectName) -> Option<&Renaming> {
        let parts: Option<Vec<String>> = name.0.iter().map(|p| p.as_ident().map(ast_fold)).collect();
        self.of(&parts?)
    }

    fn data_type(&self, ty: &mut sql::DataType) {
        match ty {
            sql::DataType::Array(sql::ArrayElemTypeDef::SquareBracket(element, _)) => self.data_type(element),
            sql::DataType::Custom(name, _) => {
                if let Some(renaming) = self.of_name(name) {
                    *name = object_name(&renaming.to);
                }
            }
            _ => {}
        }
    }

    /// `schema.name.*` as `name.*`
    fn stars(&self, body: &mut sql::SetExpr) {
        match body {
            sql::SetExpr::Select(select) => {
                for item in &mut select.projection {
                    if let sql::SelectItem::QualifiedWildcard(sql::SelectItemQualifiedWildcardKind::ObjectName(name), _) =
                        item
                        && let Some(renaming) = self.of_name(name)
                    {
                        name.0 = vec![sql::ObjectNamePart::Identifier(written(&renaming.from.name))];
                    }
                }
            }
            sql::SetExpr::SetOperation { left, right, .. } => {
                self.stars(left);
                self.stars(right);
            }
            _ => {}
        }
    }
}

fn object_name(name: &QualifiedName) -> sql::ObjectName {
    sql::ObjectName([&name.schema, &name.name].map(|n| sql::ObjectNamePart::Identifier(written(n))).into())
}

impl sql::VisitorMut for Renamer<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut sql::Query) -> ControlFlow<()> {
        self.stars(&mut query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut sql::TableFactor) -> ControlFlow<()> {
        let sql::TableFactor::Table { name, alias, args: None, .. } = factor else {
            return ControlFlow::Continue(());
        };
        let Some(renaming) = self.of_name(name) else { return ControlFlow::Continue(()) };
        *name = object_name(&renaming.to);
        let needed = renaming.from.name != renaming.to.name || renaming.columns.is_some();
        if alias.is_none() && needed {
            let name = written(&renaming.from.name);
            *alias = Some(sql::TableAlias { explicit: true, name, columns: vec![], at: None });
        }
        if let (Some(alias), Some(columns)) = (alias, &renaming.columns) {
            let named = alias.columns.len();
            let column = |n: &String| sql::TableAliasColumnDef { name: written(n), data_type: None };
            alias.columns.extend(columns.iter().skip(named).map(column));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut sql::Expr) -> ControlFlow<()> {
        match expr {
            sql::Expr::Cast { data_type, .. } => self.data_type(data_type),
            sql::Expr::TypedString(t) => self.data_type(&mut t.data_type),
            sql::Expr::CompoundIdentifier(parts) if parts.len() > 2 => {
                let folded: Vec<String> = parts.iter().map(ast_fold).collect();
                if let Some(renaming) = self.of(&folded[..folded.len() - 1]) {
                    let column = parts.pop();
                    *parts = [written(&renaming.from.name)].into_iter().chain(column).collect();
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// The columns in the texts of checks and generated columns.
fn rename_in_rules(
    rules: &mut hw_plan::TableRules,
    old: &hw_repr::RelationDesc,
    new: &hw_repr::RelationDesc,
) -> Result<(), SqlError> {
    let pairs = renamed(old.columns.iter().map(|c| c.name.as_str()), new);
    let generated = rules.columns.iter_mut().filter_map(|c| c.generated.as_mut());
    for stored in generated.chain(rules.checks.iter_mut().map(|c| &mut c.expr)) {
        rename_columns(&mut stored.sql, &pairs)?;
    }
    Ok(())
}

/// The columns in the texts of an index' expressions.
fn rename_in_index(expressions: &mut [IndexExpr], on: &Object, renamings: &[Renaming]) -> Result<(), SqlError> {
    let name = name_of(on);
    let old = renamings.iter().find(|r| r.to == name).and_then(|r| r.columns.as_ref());
    let (Some(old), Some(new)) = (old, on.desc()) else { return Ok(()) };
    let pairs = renamed(old.iter().map(String::as_str), new);
    expressions.iter_mut().try_for_each(|e| rename_columns(&mut e.sql, &pairs))
}

/// Old and new names of the columns that have got another one.
fn renamed<'a>(old: impl Iterator<Item = &'a str>, new: &'a hw_repr::RelationDesc) -> Vec<(&'a str, &'a str)> {
    old.zip(new.columns.iter().map(|c| c.name.as_str())).filter(|(a, b)| a != b).collect()
}

/// The text of an expression with other names of columns.
fn rename_columns(text: &mut String, pairs: &[(&str, &str)]) -> Result<(), SqlError> {
    let mut expr = parse_expr(text)?;
    let mut changed = false;
    let _ = sql::visit_expressions_mut(&mut expr, |e| {
        let ident = match e {
            sql::Expr::Identifier(ident) => Some(ident),
            sql::Expr::CompoundIdentifier(parts) => parts.last_mut(),
            _ => None,
        };
        if let Some(ident) = ident
            && let Some((_, to)) = pairs.iter().find(|(from, _)| *from == ast_fold(ident))
        {
            (*ident, changed) = (written(to), true);
        }
        ControlFlow::<()>::Continue(())
    });
    if changed {
        *text = expr.to_string();
    }
    Ok(())
}
