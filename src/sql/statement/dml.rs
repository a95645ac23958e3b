//! INSERT, UPDATE, DELETE.

use super::{Planning, finish_query};
use crate::Planned;
use crate::parse::ast::NameRef;
use crate::planner::{Env, Target, plan_expr, plan_query};
use crate::typing::cast_columns_in;
use datafusion_expr::logical_plan::Projection;
use datafusion_expr::{Expr, LogicalPlan};
use hw_plan::{Object, ObjectKind, ScalarExpr, Statement};
use hw_repr::{RelationDesc, SqlError, SqlState, SqlType};
use sqlparser::ast as sql;
use std::sync::Arc;

fn undefined_column(column: &str, table: &str) -> SqlError {
    let message = format!("column \"{column}\" of relation \"{table}\" does not exist");
    SqlError::new(SqlState::UNDEFINED_COLUMN, message)
}

impl Planning<'_> {
    fn table(&self, name: &NameRef) -> Result<(Arc<Object>, RelationDesc), SqlError> {
        let object = self.object(name)?;
        match &object.kind {
            ObjectKind::Table(desc) if !self.catalog.is_system(object.id) => Ok((Arc::clone(&object), desc.clone())),
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

    /// The columns that an INSERT names, by position; none where it names none.
    fn insert_targets(&self, insert: &sql::Insert, table: &str, desc: &RelationDesc) -> Result<Vec<usize>, SqlError> {
        let mut targets = vec![];
        for column in &insert.columns {
            let ident = column.0.last().and_then(|p| p.as_ident());
            let folded = ident.map(crate::parse::ast_fold).unwrap_or_default();
            let found = desc.columns.iter().position(|c| c.name == folded);
            let position = found.ok_or_else(|| self.at_name(undefined_column(&folded, table), column))?;
            if targets.contains(&position) {
                let message = format!("column \"{folded}\" specified more than once");
                return Err(self.at_name(SqlError::new(SqlState::DUPLICATE_COLUMN, message), column));
            }
            targets.push(position);
        }
        Ok(targets)
    }

    pub(super) fn insert(&self, insert: &sql::Insert) -> Result<Planned, SqlError> {
        if insert.on.is_some() {
            return Err(SqlError::unsupported("ON CONFLICT is not supported yet"));
        }
        if insert.returning.is_some() {
            return Err(SqlError::unsupported("RETURNING is not supported yet"));
        }
        let sql::TableObject::TableName(name) = &insert.table else {
            return Err(SqlError::unsupported("INSERT takes the name of a table"));
        };
        let (table, desc) = self.table(&crate::parse::own::name_in(self.text, name)?)?;
        let mut targets = self.insert_targets(insert, &table.name, &desc)?;
        let Some(source) = &insert.source else {
            return Err(SqlError::unsupported("DEFAULT VALUES is not supported yet"));
        };
        let env = self.env(false);
        if matches!(source.body.as_ref(), sql::SetExpr::Values(_)) {
            *env.values_types.borrow_mut() = match targets.is_empty() {
                true => desc.columns.iter().map(|c| (c.name.clone(), c.ty)).collect(),
                false => targets.iter().map(|t| (desc.columns[*t].name.clone(), desc.columns[*t].ty)).collect(),
            };
        }
        let mut source = source.as_ref().clone();
        if let sql::SetExpr::Values(values) = source.body.as_mut() {
            // No column has a default yet: DEFAULT is NULL.
            let cells = values.rows.iter_mut().flat_map(|r| &mut r.content);
            for cell in cells.filter(|c| crate::prepare::is_default(c)) {
                *cell = sql::Expr::Value(sql::Value::Null.into());
            }
        }
        let plan = plan_query(&env, source)?;
        let width = plan.schema().fields().len();
        if targets.is_empty() {
            targets = (0..width.min(desc.arity())).collect();
        }
        if width != targets.len() {
            let which = if width > targets.len() {
                "expressions than target columns"
            } else {
                "target columns than expressions"
            };
            return Err(SqlError::new(SqlState::SYNTAX, format!("INSERT has more {which}")));
        }
        let wanted: Vec<(Option<&str>, SqlType)> =
            targets.iter().map(|t| (Some(desc.columns[*t].name.as_str()), desc.columns[*t].ty)).collect();
        let plan = cast_columns_in(&env, plan, &wanted)?;
        let columns = plan.schema().columns();
        let exprs = desc
            .columns
            .iter()
            .enumerate()
            .map(|(i, c)| match targets.iter().position(|t| *t == i) {
                Some(at) => Ok(Expr::Column(columns[at].clone()).alias_qualified(None::<&str>, &c.name)),
                None => Ok(crate::value::to_literal(&hw_repr::Datum::Null, c.ty)?.alias(&c.name)),
            })
            .collect::<Result<Vec<_>, SqlError>>()?;
        let plan = Projection::try_new(exprs, Arc::new(plan)).map_err(crate::error::from_planner)?;
        let mut query = finish_query(&env, LogicalPlan::Projection(plan))?;
        query.desc = desc;
        Ok(env.planned(Statement::Insert { table: table.id }, Some(query)))
    }

    pub(super) fn update(&self, update: &sql::Update) -> Result<Planned, SqlError> {
        if update.from.is_some() || update.returning.is_some() || !update.table.joins.is_empty() {
            return Err(SqlError::unsupported("UPDATE with FROM or RETURNING is not supported yet"));
        }
        let (table, alias, desc) = self.single_table(&update.table.relation)?;
        let env = self.env(false);
        env.aliases.borrow_mut().insert(table.name.clone(), alias.clone());
        let mut set: Vec<(usize, ScalarExpr)> = vec![];
        for assignment in &update.assignments {
            let sql::AssignmentTarget::ColumnName(name) = &assignment.target else {
                return Err(SqlError::unsupported("assigning several columns at once is not supported"));
            };
            let ident = name.0.last().and_then(|p| p.as_ident());
            let folded = ident.map(crate::parse::ast_fold).unwrap_or_default();
            let found = desc.columns.iter().position(|c| c.name == folded);
            let column = found.ok_or_else(|| self.at_name(undefined_column(&folded, &table.name), name))?;
            if set.iter().any(|(c, _)| *c == column) {
                let message = format!("multiple assignments to same column \"{folded}\"");
                return Err(SqlError::new(SqlState::SYNTAX, message));
            }
            let ty = desc.columns[column].ty;
            if crate::prepare::is_default(&assignment.value) {
                // No column has a default yet: DEFAULT is NULL.
                set.push((column, ScalarExpr::Literal(hw_repr::Datum::Null, ty)));
                continue;
            }
            set.push((column, plan_expr(&env, &assignment.value, &alias, &desc, Target::Column(&folded, ty))?));
        }
        let filter = self.filter(&env, &update.selection, &alias, &desc)?;
        let statement = Statement::Update { table: table.id, filter, set };
        Ok(env.planned(statement, None))
    }

    pub(super) fn delete(&self, delete: &sql::Delete) -> Result<Planned, SqlError> {
        if delete.using.is_some() || delete.returning.is_some() {
            return Err(SqlError::unsupported("DELETE with USING or RETURNING is not supported yet"));
        }
        let (sql::FromTable::WithFromKeyword(from) | sql::FromTable::WithoutKeyword(from)) = &delete.from;
        let [from] = from.as_slice() else {
            return Err(SqlError::unsupported("DELETE takes one table"));
        };
        let (table, alias, desc) = self.single_table(&from.relation)?;
        let env = self.env(false);
        env.aliases.borrow_mut().insert(table.name.clone(), alias.clone());
        let filter = self.filter(&env, &delete.selection, &alias, &desc)?;
        Ok(env.planned(Statement::Delete { table: table.id, filter }, None))
    }

    /// The table of UPDATE or DELETE, and the name it goes by in the statement.
    fn single_table(&self, factor: &sql::TableFactor) -> Result<(Arc<Object>, String, RelationDesc), SqlError> {
        match factor {
            sql::TableFactor::Table { name, alias, args: None, .. } => {
                let (table, desc) = self.table(&crate::parse::own::name_in(self.text, name)?)?;
                let alias = match alias {
                    Some(a) if a.columns.is_empty() => crate::parse::ast_fold(&a.name),
                    Some(_) => return Err(SqlError::unsupported("column names behind a table's alias")),
                    None => table.name.clone(),
                };
                Ok((table, alias, desc))
            }
            _ => Err(SqlError::unsupported("UPDATE and DELETE take one table")),
        }
    }

    fn filter(
        &self,
        env: &Env,
        selection: &Option<sql::Expr>,
        table: &str,
        desc: &RelationDesc,
    ) -> Result<Option<ScalarExpr>, SqlError> {
        selection.as_ref().map(|e| plan_expr(env, e, table, desc, Target::Condition)).transpose()
    }
}
