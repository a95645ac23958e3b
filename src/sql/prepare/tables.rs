//! Functions in FROM as derived tables: `f(x) AS t(a)` is `LATERAL (SELECT f(x) AS a) AS t`, where set-returning calls of
//! one select list go on side by side as those of ROWS FROM do; WITH ORDINALITY counts their rows. The alias of a
//! function of one column also names that column, where no column of that name is in sight.

use super::{Preparer, call, identifier};
use hw_plan::Func;
use hw_repr::{SqlError, SqlState};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, JoinOperator,
    ObjectName, ObjectNamePart, Select, SelectItem, SelectItemQualifiedWildcardKind as Star, SetExpr, TableAlias,
    TableFactor, TableWithJoins,
};
use std::collections::HashMap;

/// Prefix of one column of a set-returning call: its number, and the function.
pub(crate) const SET: &str = "hw_set:";
/// A value as one row.
pub(crate) const ONCE: &str = "hw_once";
/// The numbers of rows.
pub(crate) const ORDINALITY: &str = "hw_ordinality";
/// `ROWS FROM`, as the tokens have it.
pub(crate) const ROWS_FROM: &str = "hw_rows_from";

/// Names of a SELECT that mean the column of a function in FROM, or (`None`) a column and so nothing else.
pub(super) type Scalars = HashMap<String, Option<[String; 2]>>;

/// A call in FROM.
pub(super) struct Call {
    pub name: ObjectName,
    pub args: Vec<FunctionArg>,
}

/// What stands in FROM.
struct Table {
    calls: Vec<Call>,
    alias: Option<TableAlias>,
    ordinality: bool,
}

impl Preparer<'_, '_> {
    /// Makes the functions in FROM derived tables, and notes which aliases name a column.
    pub(super) fn functions(&mut self, select: &mut Select) -> Result<(), SqlError> {
        let mut own: HashMap<String, String> = HashMap::new();
        for (i, from) in select.from.iter_mut().enumerate() {
            self.joined(from, i > 0, &mut own)?;
        }
        let outer = self.scalars.iter().flat_map(|s| s.keys().cloned());
        let names: Vec<String> = own.keys().cloned().chain(outer).collect();
        let mut scalars = Scalars::new();
        for name in names {
            if select.from.iter().any(|f| self.has_column(f, &name)) {
                scalars.insert(name, None);
            } else if let Some(column) = own.get(&name) {
                let pair = [name.clone(), column.clone()];
                scalars.insert(name, Some(pair));
            }
        }
        self.scalars.push(scalars);
        Ok(())
    }

    /// The column that a name means as the alias of a function in FROM.
    pub(super) fn scalar(&self, ident: &Ident) -> Option<Expr> {
        let name = crate::parse::ast_fold(ident);
        let [table, column] = self.scalars.iter().rev().find_map(|s| s.get(&name))?.as_ref()?;
        let part = |name: &str| Ident { value: name.to_string(), quote_style: Some('"'), span: ident.span };
        Some(Expr::CompoundIdentifier(vec![part(table), part(column)]))
    }

    fn joined(
        &self,
        from: &mut TableWithJoins,
        lateral: bool,
        own: &mut HashMap<String, String>,
    ) -> Result<(), SqlError> {
        self.factor(&mut from.relation, lateral, own)?;
        for join in &mut from.joins {
            let keeps_right = matches!(
                join.join_operator,
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_)
            );
            self.factor(&mut join.relation, !keeps_right, own)?;
        }
        Ok(())
    }

    /// A call in FROM as the derived table that it becomes; other factors stay.
    pub(super) fn factor(
        &self,
        factor: &mut TableFactor,
        lateral: bool,
        own: &mut HashMap<String, String>,
    ) -> Result<(), SqlError> {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor {
            return self.joined(table_with_joins, lateral, own);
        }
        if let Some(table) = function_of(factor)? {
            *factor = self.derived(table, lateral, own)?;
        }
        Ok(())
    }

    /// The calls as a derived table.
    fn derived(&self, table: Table, lateral: bool, own: &mut HashMap<String, String>) -> Result<TableFactor, SqlError> {
        let first = table.calls.first().and_then(|c| last(&c.name)).map(crate::parse::ast_fold).unwrap_or_default();
        let name = table.alias.as_ref().map_or_else(|| Ident::with_quote('"', &first), |a| a.name.clone());
        let shown = crate::parse::ast_fold(&name);
        let single = table.calls.len() == 1;
        let alone = single && !table.ordinality;
        let typed = table.alias.as_ref().is_some_and(|a| a.columns.iter().any(|c| c.data_type.is_some()));
        let mut columns: Vec<(String, Expr)> = vec![];
        if let [call] = table.calls.as_slice()
            && let Some(rows) = self.user_table(call, table.alias.as_ref(), lateral, own)?
        {
            if table.ordinality || typed {
                return Err(SqlError::unsupported("WITH ORDINALITY of a function of users is not supported")
                    .hint("Number its rows with row_number()."));
            }
            return Ok(rows);
        }
        for call in table.calls {
            if is_record(&call.name) {
                return records(call, table.alias, lateral, alone);
            }
            columns.extend(self.columns(call, alone, single.then_some(shown.as_str()))?);
        }
        if typed {
            let message = "a column definition list is only allowed for functions returning \"record\"";
            return Err(SqlError::new(SqlState::SYNTAX, message));
        }
        let scalar = columns.len() == 1;
        if table.ordinality {
            columns.push(("ordinality".into(), super::call(ORDINALITY, vec![])));
        }
        let aliases = table.alias.map(|a| a.columns).unwrap_or_default();
        if aliases.len() > columns.len() {
            let message = format!(
                "table \"{shown}\" has {} columns available but {} columns specified",
                columns.len(),
                aliases.len()
            );
            return Err(SqlError::new(SqlState::new("42P10"), message));
        }
        for ((column, _), alias) in columns.iter_mut().zip(&aliases) {
            *column = crate::parse::ast_fold(&alias.name);
        }
        if let Some((column, _)) = columns.first().filter(|(c, _)| scalar && *c != shown) {
            own.insert(shown, column.clone());
        }
        subquery(columns, name, lateral)
    }

    /// The columns of one call, with their names; `alias` is that of the only call.
    fn columns(&self, call: Call, alone: bool, alias: Option<&str>) -> Result<Vec<(String, Expr)>, SqlError> {
        let name = last(&call.name).map(crate::parse::ast_fold).unwrap_or_default();
        super::arrays::refuse_sets(&call.args)?;
        let func = hw_scalar::function_by_name(&name).filter(|f| f.is_set());
        let plain = alias.map_or_else(|| name.clone(), str::to_string);
        Ok(match func {
            Some(Func::Unnest) if call.args.len() > 1 => {
                let one = |arg: FunctionArg| (name.clone(), function(call.name.clone(), vec![arg]));
                call.args.into_iter().map(one).collect()
            }
            Some(func) => {
                let found = hw_scalar::sets::set_columns(func, hw_repr::SqlType::Text);
                let several = found.len() > 1;
                let column = |(i, (own, _)): (usize, (Option<&str>, hw_repr::SqlType))| {
                    let set = match several {
                        true => function(identifier(format!("{SET}{i}:{name}")), call.args.clone()),
                        false => function(call.name.clone(), call.args.clone()),
                    };
                    (own.map_or_else(|| plain.clone(), str::to_string), set)
                };
                found.into_iter().enumerate().map(column).collect()
            }
            None => {
                let value = function(call.name, call.args);
                vec![(plain, if alone { value } else { super::call(ONCE, vec![value]) })]
            }
        })
    }

    /// Whether a relation of FROM is known to have a column of that name.
    pub(super) fn has_column(&self, from: &TableWithJoins, name: &str) -> bool {
        let mut all = std::iter::once(&from.relation).chain(from.joins.iter().map(|j| &j.relation));
        all.any(|f| self.factor_has(f, name))
    }

    /// Whether a star of the select list may give a column of that name.
    pub(super) fn star_has(&self, select: &Select, name: &str) -> bool {
        let factors =
            || select.from.iter().flat_map(|f| std::iter::once(&f.relation).chain(f.joins.iter().map(|j| &j.relation)));
        select.projection.iter().any(|item| match item {
            SelectItem::Wildcard(_) => select.from.iter().any(|f| self.has_column(f, name)),
            SelectItem::QualifiedWildcard(Star::ObjectName(of), _) => {
                let of = last(of).map(crate::parse::ast_fold);
                factors().any(|f| alias_of(f).is_none_or(|alias| Some(alias) == of) && self.factor_has(f, name))
            }
            _ => false,
        })
    }

    fn factor_has(&self, factor: &TableFactor, name: &str) -> bool {
        match factor {
            TableFactor::NestedJoin { table_with_joins, .. } => self.has_column(table_with_joins, name),
            TableFactor::Table { name: table, args: None, .. } => {
                let mut parts: Vec<String> =
                    table.0.iter().filter_map(|p| p.as_ident()).map(crate::parse::ast_fold).collect();
                let last = parts.pop().unwrap_or_default();
                let schema = parts.pop();
                let shadowed = schema.is_none() && self.ctes.contains(&last);
                let object = if shadowed { None } else { self.env.resolve(schema.as_deref(), &last) };
                object.and_then(|o| o.desc().map(|d| d.columns.iter().any(|c| c.name == name))).unwrap_or(false)
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let aliases = alias.as_ref().map(|a| a.columns.as_slice()).unwrap_or_default();
                if !aliases.is_empty() {
                    return aliases.iter().any(|c| crate::parse::ast_fold(&c.name) == name);
                }
                let SetExpr::Select(select) = subquery.body.as_ref() else { return false };
                let named = select.projection.iter().any(|item| match item {
                    SelectItem::ExprWithAlias { alias, .. } => crate::parse::ast_fold(alias) == name,
                    SelectItem::UnnamedExpr(e) => super::names::output_name(e) == name,
                    _ => false,
                });
                named || self.star_has(select, name)
            }
            _ => false,
        }
    }
}

/// The name by which a query calls a relation; `None` where it has none, or is made of several.
fn alias_of(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(crate::parse::ast_fold(&alias.name))
        }
        TableFactor::Table { name, .. } => last(name).map(crate::parse::ast_fold),
        _ => None,
    }
}

fn last(name: &ObjectName) -> Option<&Ident> {
    name.0.last().and_then(ObjectNamePart::as_ident)
}

fn function(name: ObjectName, args: Vec<FunctionArg>) -> Expr {
    match call("", vec![]) {
        Expr::Function(f) => Expr::Function(Function {
            name,
            args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] }),
            ..f
        }),
        other => other,
    }
}

/// The calls that a table of FROM is; `None` where it is no function.
fn function_of(factor: &mut TableFactor) -> Result<Option<Table>, SqlError> {
    let (calls, alias, ordinality) = match factor {
        TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. } => {
            let args = std::mem::take(&mut args.args);
            match last(name).is_some_and(|i| i.value == ROWS_FROM) {
                true => (args.into_iter().map(call_of).collect::<Result<_, _>>()?, alias, *with_ordinality),
                false => (vec![Call { name: name.clone(), args }], alias, *with_ordinality),
            }
        }
        TableFactor::Function { name, args, alias, with_ordinality, .. } => {
            (vec![Call { name: name.clone(), args: std::mem::take(args) }], alias, *with_ordinality)
        }
        TableFactor::UNNEST { array_exprs, alias, with_ordinality, with_offset: false, .. } => {
            let args = array_exprs.drain(..).map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
            let name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new("unnest"))]);
            (vec![Call { name, args }], alias, *with_ordinality)
        }
        _ => return Ok(None),
    };
    Ok(Some(Table { calls, alias: alias.take(), ordinality }))
}

/// A member of ROWS FROM.
fn call_of(arg: FunctionArg) -> Result<Call, SqlError> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Function(f))) => match f.args {
            FunctionArguments::List(list) => Ok(Call { name: f.name, args: list.args }),
            FunctionArguments::None => Ok(Call { name: f.name, args: vec![] }),
            FunctionArguments::Subquery(_) => Err(SqlError::unsupported("a query in ROWS FROM is not supported")),
        },
        other => Err(SqlError::new(SqlState::SYNTAX, format!("syntax error at or near \"{other}\""))),
    }
}

fn is_record(name: &ObjectName) -> bool {
    let name = last(name).map(crate::parse::ast_fold).unwrap_or_default();
    matches!(name.as_str(), "jsonb_to_record" | "jsonb_to_recordset" | "json_to_record" | "json_to_recordset")
}

pub(super) fn subquery(columns: Vec<(String, Expr)>, name: Ident, lateral: bool) -> Result<TableFactor, SqlError> {
    let mut subquery = crate::parse::parse_query("SELECT 1")?;
    if let SetExpr::Select(select) = subquery.body.as_mut() {
        let item = |(column, expr)| SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', column) };
        select.projection = columns.into_iter().map(item).collect();
    }
    let alias = TableAlias { explicit: true, name, columns: vec![], at: None };
    Ok(TableFactor::Derived { lateral, subquery, alias: Some(alias), sample: None })
}

/// `jsonb_to_recordset(x) AS t(a int, b text)`: each object, then its members cast to the types of the columns.
fn records(call: Call, alias: Option<TableAlias>, lateral: bool, alone: bool) -> Result<TableFactor, SqlError> {
    let columns = alias.as_ref().map(|a| a.columns.as_slice()).unwrap_or_default();
    let Some(alias) = alias.as_ref().filter(|_| !columns.is_empty() && columns.iter().all(|c| c.data_type.is_some()))
    else {
        let message = "a column definition list is required for functions returning \"record\"";
        return Err(SqlError::new(SqlState::SYNTAX, message));
    };
    if !alone {
        return Err(SqlError::unsupported("records in ROWS FROM or WITH ORDINALITY are not supported yet")
            .hint("Use jsonb_array_elements."));
    }
    let mut items = vec![];
    for column in columns {
        let (name, ty) = (crate::parse::ast_fold(&column.name), column.data_type.clone());
        let ty = ty.map(|t| t.to_string()).unwrap_or_default();
        let key = name.replace('\'', "''");
        let known = crate::types::type_by_name(&ty);
        if known.is_some_and(|t| t.element().is_some()) {
            return Err(SqlError::unsupported(format!("an array as a column of {} is not supported yet", call.name))
                .hint("Take it as jsonb."));
        }
        let text = match known {
            // null is no value, of no type.
            Some(hw_repr::SqlType::Jsonb | hw_repr::SqlType::Json) => {
                format!("CASE WHEN (hw_record.r ->> '{key}') IS NOT NULL THEN CAST(hw_record.r -> '{key}' AS {ty}) END")
            }
            _ => format!("CAST(hw_record.r ->> '{key}' AS {ty})"),
        };
        items.push(format!("{text} AS \"{}\"", name.replace('"', "\"\"")));
    }
    let mut query = crate::parse::parse_query(&format!("SELECT {} FROM (SELECT 1) AS hw_record", items.join(", ")))?;
    if let SetExpr::Select(select) = query.body.as_mut()
        && let Some(from) = select.from.first_mut()
    {
        let rows = function(call.name, call.args);
        from.relation = subquery(vec![("r".into(), rows)], Ident::new("hw_record"), false)?;
    }
    let alias = TableAlias { explicit: true, name: alias.name.clone(), columns: vec![], at: None };
    Ok(TableFactor::Derived { lateral, subquery: query, alias: Some(alias), sample: None })
}
