//! INSERT, and what the statements that write tables have in common.

use super::{Planning, finish_query};
use crate::Planned;
use crate::parse::ast::NameRef;
use crate::planner::{Env, Target, plan_expr, plan_expr_in, plan_query};
use crate::typing::cast_columns_in;
use datafusion_common::{DFSchema, TableReference};
use datafusion_expr::logical_plan::Projection;
use datafusion_expr::{Expr, LogicalPlan};
use hw_plan::{Object, ObjectKind, OnConflict, OnConflictUpdate, ScalarExpr, Statement};
use hw_repr::{Datum, RelationDesc, SqlError, SqlState, SqlType};
use sqlparser::ast as sql;
use std::sync::Arc;

/// A table that a statement writes.
pub(super) struct Table {
    pub object: Arc<Object>,
    pub desc: RelationDesc,
    /// The name it goes by in the statement.
    pub alias: String,
}

fn undefined_column(column: &str, table: &str) -> SqlError {
    let message = format!("column \"{column}\" of relation \"{table}\" does not exist");
    SqlError::new(SqlState::UNDEFINED_COLUMN, message)
}

/// What a column is filled by where a statement does not.
pub(super) enum Fill {
    /// Its default, or NULL.
    Value(ScalarExpr),
    /// The next value of the identity.
    Identity,
    /// Computed from the others.
    Generated,
}

impl Fill {
    /// What stands for it until the row is complete.
    pub(super) fn expr(self, ty: SqlType) -> ScalarExpr {
        match self {
            Fill::Value(value) => value,
            Fill::Identity | Fill::Generated => ScalarExpr::Literal(Datum::Null, ty),
        }
    }
}

impl Table {
    /// The columns as one schema, under the statement's name of the table.
    pub(super) fn schema(&self) -> Result<DFSchema, SqlError> {
        qualified(&self.alias, &self.desc)
    }

    /// Why a statement may not give a column a value of its own, if so.
    fn refuses(&self, column: usize) -> Option<SqlError> {
        let rule = self.object.rules.column(column)?;
        let name = &self.desc.columns[column].name;
        if rule.generated.is_some() {
            let e = SqlError::new(SqlState::GENERATED_ALWAYS, String::new());
            return Some(e.detail(format!("Column \"{name}\" is a generated column.")));
        }
        if rule.identity.as_ref().is_some_and(|i| i.always) {
            let e = SqlError::new(SqlState::GENERATED_ALWAYS, String::new());
            let detail = format!("Column \"{name}\" is an identity column defined as GENERATED ALWAYS.");
            return Some(e.detail(detail));
        }
        None
    }

    /// As [`Table::refuses`], for INSERT and COPY.
    pub(super) fn refuses_insert(&self, column: usize, overriding: Option<bool>) -> Option<SqlError> {
        let mut e = self.refuses(column)?;
        let generated = self.object.rules.column(column).is_some_and(|r| r.generated.is_some());
        if !generated {
            if overriding.is_some() {
                return None;
            }
            e = e.hint("Use OVERRIDING SYSTEM VALUE to override.");
        }
        let name = &self.desc.columns[column].name;
        Some(SqlError { message: format!("cannot insert a non-DEFAULT value into column \"{name}\""), ..e })
    }

    /// As [`Table::refuses`], for UPDATE.
    pub(super) fn refuses_update(&self, column: usize) -> Option<SqlError> {
        let name = &self.desc.columns[column].name;
        let message = format!("column \"{name}\" can only be updated to DEFAULT");
        self.refuses(column).map(|e| SqlError { message, ..e })
    }
}

/// The columns of a relation under a name.
pub(super) fn qualified(name: &str, desc: &RelationDesc) -> Result<DFSchema, SqlError> {
    DFSchema::try_from_qualified_schema(TableReference::bare(name), desc.schema().as_ref())
        .map_err(crate::error::from_planner)
}

impl Planning<'_> {
    pub(super) fn table(&self, name: &NameRef) -> Result<Table, SqlError> {
        let object = self.object(name)?;
        match &object.kind {
            ObjectKind::Table(desc) if !self.catalog.is_system(object.id) => {
                Ok(Table { desc: desc.clone(), alias: object.name.clone(), object: Arc::clone(&object) })
            }
            _ => Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", name.name))
                .hint("Only tables take INSERT, UPDATE and DELETE.")
                .at(name.position)),
        }
    }

    /// The error at the last part of this name.
    fn at_name(&self, e: SqlError, name: &sql::ObjectName) -> SqlError {
        match name.0.last().and_then(|p| p.as_ident()).map(|i| i.span.start).filter(|s| s.line > 0) {
            Some(start) => e.at(crate::parse::char_position(self.text, start)),
            None => e,
        }
    }

    /// A column that a statement names as a target.
    pub(super) fn target(&self, table: &Table, name: &sql::ObjectName) -> Result<usize, SqlError> {
        if let [first, _, ..] = name.0.as_slice() {
            let first = first.as_ident().map(crate::parse::ast_fold).unwrap_or_default();
            return Err(self.at_name(undefined_column(&first, &table.object.name), name));
        }
        let folded = name.0.last().and_then(|p| p.as_ident()).map(crate::parse::ast_fold).unwrap_or_default();
        let found = table.desc.columns.iter().position(|c| c.name == folded);
        found.ok_or_else(|| self.at_name(undefined_column(&folded, &table.object.name), name))
    }

    /// The columns that an INSERT names, by position; none where it names none.
    fn insert_targets(&self, insert: &sql::Insert, table: &Table) -> Result<Vec<usize>, SqlError> {
        let mut targets = vec![];
        for column in &insert.columns {
            let position = self.target(table, column)?;
            if targets.contains(&position) {
                let message = format!("column \"{}\" specified more than once", table.desc.columns[position].name);
                return Err(self.at_name(SqlError::new(SqlState::DUPLICATE_COLUMN, message), column));
            }
            targets.push(position);
        }
        Ok(targets)
    }

    /// What a column is filled by where nothing is given.
    pub(super) fn fill(&self, env: &Env, table: &Table, column: usize) -> Result<Fill, SqlError> {
        let (ty, name) = (table.desc.columns[column].ty, &table.desc.columns[column].name);
        let Some(rule) = table.object.rules.column(column) else {
            return Ok(Fill::Value(ScalarExpr::Literal(Datum::Null, ty)));
        };
        if rule.generated.is_some() {
            return Ok(Fill::Generated);
        }
        if rule.identity.is_some() {
            return Ok(Fill::Identity);
        }
        let Some(default) = &rule.default else { return Ok(Fill::Value(ScalarExpr::Literal(Datum::Null, ty))) };
        let expr = crate::parse::parse_expr(default)?;
        let none = RelationDesc::new(vec![]);
        let was = env.beside_text(true);
        let value = plan_expr(env, &expr, "", &none, Target::Column(name, ty));
        env.beside_text(was);
        let value = value?;
        Ok(Fill::Value(ScalarExpr::Literal(hw_scalar::eval_const(&value)?, ty)))
    }

    /// Puts what DEFAULT stands for into the cells of VALUES; true where one stands for the next identity.
    fn fill_cells(
        &self,
        table: &Table,
        targets: &[usize],
        values: &mut sql::Values,
        overriding: Option<bool>,
    ) -> Result<bool, SqlError> {
        let mut identity = false;
        for row in &mut values.rows {
            for (cell, column) in row.content.iter_mut().zip(targets) {
                let rule = table.object.rules.column(*column);
                let user = overriding == Some(false) && rule.is_some_and(|r| r.identity.is_some());
                if !crate::prepare::is_default(cell) && !user {
                    if let Some(e) = table.refuses_insert(*column, overriding) {
                        return Err(e);
                    }
                    continue;
                }
                identity |= rule.is_some_and(|r| r.identity.is_some());
                let default = rule.filter(|r| r.generated.is_none() && r.identity.is_none());
                *cell = match default.and_then(|r| r.default.as_ref()) {
                    Some(default) => sql::Expr::Nested(Box::new(crate::parse::parse_expr(default)?)),
                    None => sql::Expr::Value(sql::Value::Null.into()),
                };
            }
            // Cells without a column of their own are counted, and refused, later.
            for cell in row.content.iter_mut().skip(targets.len()).filter(|c| crate::prepare::is_default(c)) {
                *cell = sql::Expr::Value(sql::Value::Null.into());
            }
        }
        Ok(identity)
    }

    pub(super) fn insert(&self, insert: &sql::Insert, overriding: Option<bool>) -> Result<Planned, SqlError> {
        let sql::TableObject::TableName(name) = &insert.table else {
            return Err(SqlError::unsupported("INSERT takes the name of a table"));
        };
        let mut table = self.table(&crate::parse::own::name_in(self.text, name)?)?;
        if let Some(alias) = &insert.table_alias {
            table.alias = crate::parse::ast_fold(&alias.alias);
        }
        let mut targets = self.insert_targets(insert, &table)?;
        let env = self.env(false);
        let mut identity = false;
        let all: Vec<usize> = (0..table.desc.arity()).collect();
        let plan = match &insert.source {
            Some(source) => {
                let mut source = source.as_ref().clone();
                let columns = if targets.is_empty() { &all } else { &targets };
                if let sql::SetExpr::Values(values) = source.body.as_mut() {
                    *env.values_types.borrow_mut() = columns
                        .iter()
                        .map(|t| (table.desc.columns[*t].name.clone(), table.desc.columns[*t].ty))
                        .collect();
                    identity = self.fill_cells(&table, columns, values, overriding)?;
                }
                let values = matches!(source.body.as_ref(), sql::SetExpr::Values(_));
                let plan = plan_query(&env, source)?;
                let width = plan.schema().fields().len();
                if targets.is_empty() {
                    targets = (0..width.min(table.desc.arity())).collect();
                }
                check_width(width, targets.len())?;
                if !values && let Some(e) = targets.iter().find_map(|t| table.refuses_insert(*t, overriding)) {
                    return Err(e);
                }
                plan
            }
            None => {
                targets.clear();
                plan_query(&env, *crate::parse::parse_query("SELECT 1")?)?
            }
        };
        let wanted: Vec<(Option<&str>, SqlType)> =
            targets.iter().map(|t| (Some(table.desc.columns[*t].name.as_str()), table.desc.columns[*t].ty)).collect();
        let plan = if targets.is_empty() { plan } else { cast_columns_in(&env, plan, &wanted)? };
        let columns = plan.schema().columns();
        let mut exprs = vec![];
        for (i, column) in table.desc.columns.iter().enumerate() {
            exprs.push(match targets.iter().position(|t| *t == i) {
                Some(at) => Expr::Column(columns[at].clone()).alias_qualified(None::<&str>, &column.name),
                None => {
                    let fill = self.fill(&env, &table, i)?;
                    identity |= matches!(fill, Fill::Identity);
                    let ScalarExpr::Literal(value, _) = fill.expr(column.ty) else {
                        return Err(SqlError::internal("a default that is no constant"));
                    };
                    crate::value::to_literal(&value, column.ty)?.alias(&column.name)
                }
            });
        }
        let plan = Projection::try_new(exprs, Arc::new(plan)).map_err(crate::error::from_planner)?;
        let mut query = finish_query(&env, LogicalPlan::Projection(plan))?;
        query.desc = table.desc.clone();
        let conflict = match &insert.on {
            None => None,
            Some(sql::OnInsert::OnConflict(on)) => Some(self.on_conflict(&env, &table, on)?),
            Some(_) => return Err(SqlError::new(SqlState::SYNTAX, "syntax error at or near \"ON\"")),
        };
        let returning = self.returning(&env, insert.returning.as_deref(), &table.schema()?)?;
        Ok(env.planned(Statement::Insert { table: table.object.id, identity, conflict, returning }, Some(query)))
    }

    fn on_conflict(&self, env: &Env, table: &Table, on: &sql::OnConflict) -> Result<OnConflict, SqlError> {
        let target = match &on.conflict_target {
            None => None,
            Some(sql::ConflictTarget::Columns(columns)) => Some(conflict_columns(table, columns)?),
            Some(sql::ConflictTarget::OnConstraint(name)) => Some(named_constraint(table, name)?),
        };
        let sql::OnConflictAction::DoUpdate(update) = &on.action else {
            return Ok(OnConflict { target, update: None });
        };
        if target.is_none() {
            let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
            return Err(SqlError::new(SqlState::SYNTAX, message).hint("For example, ON CONFLICT (column_name)."));
        }
        let schema = table.schema()?.join(&qualified("excluded", &table.desc)?).map_err(crate::error::from_planner)?;
        let set = self.assignments(env, table, &update.assignments, &schema)?;
        let filter = update.selection.as_ref();
        let filter = filter.map(|e| plan_expr_in(env, e, &schema, Target::Condition)).transpose()?;
        Ok(OnConflict { target, update: Some(OnConflictUpdate { set, filter }) })
    }

    /// `SET a = 1, (b, c) = (2, 3)`: each column once, and its expression.
    pub(super) fn assigned<'a>(
        &self,
        table: &Table,
        assignments: &'a [sql::Assignment],
    ) -> Result<Vec<(usize, std::borrow::Cow<'a, sql::Expr>)>, SqlError> {
        use std::borrow::Cow;
        let mut out: Vec<(usize, Cow<'a, sql::Expr>)> = vec![];
        let mut add = |name: &sql::ObjectName, value: Cow<'a, sql::Expr>| {
            let column = self.target(table, name)?;
            if out.iter().any(|(c, _)| *c == column) {
                let name = &table.desc.columns[column].name;
                let message = format!("multiple assignments to same column \"{name}\"");
                return Err(SqlError::new(SqlState::SYNTAX, message));
            }
            if !crate::prepare::is_default(&value)
                && let Some(e) = table.refuses_update(column)
            {
                return Err(e);
            }
            out.push((column, value));
            Ok(())
        };
        for assignment in assignments {
            match &assignment.target {
                sql::AssignmentTarget::ColumnName(name) => add(name, Cow::Borrowed(&assignment.value))?,
                sql::AssignmentTarget::Tuple(names) => {
                    for (i, name) in names.iter().enumerate() {
                        add(name, Cow::Owned(part_of_row(&assignment.value, i, names.len())?))?;
                    }
                }
            }
        }
        Ok(out)
    }

    /// Assignments without subqueries.
    pub(super) fn assignments(
        &self,
        env: &Env,
        table: &Table,
        assignments: &[sql::Assignment],
        schema: &DFSchema,
    ) -> Result<Vec<(usize, ScalarExpr)>, SqlError> {
        let mut set = vec![];
        for (column, value) in self.assigned(table, assignments)? {
            let (ty, name) = (table.desc.columns[column].ty, &table.desc.columns[column].name);
            let value = match crate::prepare::is_default(&value) {
                true => match self.fill(env, table, column)? {
                    // Computed anew from the others in any case.
                    Fill::Generated => continue,
                    Fill::Identity => {
                        return Err(SqlError::unsupported("SET of an identity column to DEFAULT is not supported yet"));
                    }
                    fill => fill.expr(ty),
                },
                false => plan_expr_in(env, &value, schema, Target::Column(name, ty))?,
            };
            set.push((column, value));
        }
        Ok(set)
    }
}

fn check_width(width: usize, targets: usize) -> Result<(), SqlError> {
    if width == targets {
        return Ok(());
    }
    let which = if width > targets { "expressions than target columns" } else { "target columns than expressions" };
    Err(SqlError::new(SqlState::SYNTAX, format!("INSERT has more {which}")))
}

/// Column `at` of what a row of columns is set to.
fn part_of_row(value: &sql::Expr, at: usize, wanted: usize) -> Result<sql::Expr, SqlError> {
    let count = |n: usize| match n == wanted {
        true => Ok(()),
        false => Err(SqlError::new(SqlState::SYNTAX, "number of columns does not match number of values")),
    };
    match value {
        sql::Expr::Tuple(all) => {
            count(all.len())?;
            Ok(all[at].clone())
        }
        sql::Expr::Nested(one) if wanted == 1 => Ok(one.as_ref().clone()),
        sql::Expr::Subquery(query) => {
            let mut query = query.clone();
            let sql::SetExpr::Select(select) = query.body.as_mut() else {
                return Err(SqlError::unsupported("SET of several columns to this kind of subquery"));
            };
            count(select.projection.len())?;
            select.projection = vec![select.projection[at].clone()];
            Ok(sql::Expr::Subquery(query))
        }
        sql::Expr::Function(f) if f.name.to_string().eq_ignore_ascii_case("row") => {
            let sql::FunctionArguments::List(list) = &f.args else { return count(0).map(|()| value.clone()) };
            count(list.args.len())?;
            match &list.args[at] {
                sql::FunctionArg::Unnamed(sql::FunctionArgExpr::Expr(e)) => Ok(e.clone()),
                _ => Err(SqlError::new(SqlState::SYNTAX, "syntax error in ROW")),
            }
        }
        _ if wanted == 1 => Ok(value.clone()),
        _ => Err(SqlError::unsupported(
            "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression",
        )),
    }
}

/// The unique constraint over just these columns.
fn conflict_columns(table: &Table, columns: &[sql::Ident]) -> Result<Vec<usize>, SqlError> {
    let mut wanted = vec![];
    for ident in columns {
        let name = crate::parse::ast_fold(ident);
        let found = table.desc.columns.iter().position(|c| c.name == name);
        let missing = || SqlError::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist"));
        wanted.push(found.ok_or_else(missing)?);
    }
    let same = |key: &&Vec<usize>| key.iter().all(|c| wanted.contains(c)) && wanted.iter().all(|c| key.contains(c));
    let keys = table.desc.keys.first().into_iter().chain(table.object.rules.uniques.iter().map(|u| &u.columns));
    keys.into_iter().find(same).cloned().ok_or_else(|| {
        let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
        SqlError::new(SqlState::new("42P10"), message)
    })
}

fn named_constraint(table: &Table, name: &sql::ObjectName) -> Result<Vec<usize>, SqlError> {
    let name = name.0.last().and_then(|p| p.as_ident()).map(crate::parse::ast_fold).unwrap_or_default();
    let rules = &table.object.rules;
    let key = rules.key_name(&table.object.name);
    let unique = rules.uniques.iter().find(|u| u.name == name).map(|u| &u.columns);
    unique.or(table.desc.keys.first().filter(|_| key == name)).cloned().ok_or_else(|| {
        let message = format!("constraint \"{name}\" for table \"{}\" does not exist", table.object.name);
        SqlError::new(SqlState::UNDEFINED_OBJECT, message)
    })
}
