//! UPDATE and DELETE: by expressions over the table's row where that is enough, else by a query that finds the rows.

use super::dml::Table;
use super::{Planning, finish_query};
use crate::Planned;
use crate::planner::{Env, Target, plan_expr_in, plan_query};
use crate::typing::cast_columns_in;
use datafusion_common::DFSchema;
use hw_plan::{Returning, ScalarExpr, Statement};
use hw_repr::{Column, RelationDesc, SqlError, SqlState, SqlType};
use sqlparser::ast as sql;
use std::ops::ControlFlow;

/// True where an expression holds a query.
pub(super) fn has_subquery(expr: &sql::Expr) -> bool {
    struct Queries;
    impl sql::Visitor for Queries {
        type Break = ();
        fn pre_visit_query(&mut self, _: &sql::Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    sql::Visit::visit(expr, &mut Queries).is_break()
}

impl Planning<'_> {
    pub(super) fn update(&self, update: &sql::Update, with: Option<sql::With>) -> Result<Planned, SqlError> {
        if !update.table.joins.is_empty() {
            return Err(SqlError::new(SqlState::SYNTAX, "syntax error: UPDATE takes one table"));
        }
        let table = self.single_table(&update.table.relation)?;
        let env = self.env(false);
        env.aliases.borrow_mut().insert(table.object.name.clone(), table.alias.clone());
        let values = self.assigned(&table, &update.assignments)?;
        let queries =
            values.iter().any(|(_, e)| has_subquery(e)) || update.selection.as_ref().is_some_and(has_subquery);
        if update.from.is_some() || with.is_some() || queries {
            let from = match &update.from {
                Some(sql::UpdateTableFromKind::AfterSet(from) | sql::UpdateTableFromKind::BeforeSet(from)) => {
                    from.clone()
                }
                None => vec![],
            };
            let mut set: Vec<(usize, sql::Expr)> = vec![];
            for (column, value) in values {
                if !crate::prepare::is_default(&value) {
                    set.push((column, value.into_owned()));
                    continue;
                }
                let rule = table.object.rules.column(column);
                if rule.is_some_and(|r| r.generated.is_some()) {
                    continue;
                }
                set.push((
                    column,
                    match rule.and_then(|r| r.default.as_ref()) {
                        Some(default) => sql::Expr::Nested(Box::new(crate::parse::parse_expr(default)?)),
                        None => sql::Expr::Value(sql::Value::Null.into()),
                    },
                ));
            }
            let found = Found { table, relation: update.table.relation.clone(), from, with };
            return self.modify(&env, found, Some(set), &update.selection, update.returning.as_deref());
        }
        let schema = table.schema()?;
        let set = self.assignments(&env, &table, &update.assignments, &schema)?;
        let filter = self.filter(&env, &update.selection, &schema)?;
        let returning = self.returning(&env, update.returning.as_deref(), &schema)?;
        Ok(env.planned(Statement::Update { table: table.object.id, filter, set, returning }, None))
    }

    pub(super) fn delete(&self, delete: &sql::Delete, with: Option<sql::With>) -> Result<Planned, SqlError> {
        let (sql::FromTable::WithFromKeyword(from) | sql::FromTable::WithoutKeyword(from)) = &delete.from;
        let [from] = from.as_slice() else {
            return Err(SqlError::new(SqlState::SYNTAX, "syntax error: DELETE takes one table"));
        };
        let table = self.single_table(&from.relation)?;
        let env = self.env(false);
        env.aliases.borrow_mut().insert(table.object.name.clone(), table.alias.clone());
        if delete.using.is_some() || with.is_some() || delete.selection.as_ref().is_some_and(has_subquery) {
            let using = delete.using.clone().unwrap_or_default();
            let found = Found { table, relation: from.relation.clone(), from: using, with };
            return self.modify(&env, found, None, &delete.selection, delete.returning.as_deref());
        }
        let schema = table.schema()?;
        let filter = self.filter(&env, &delete.selection, &schema)?;
        let returning = self.returning(&env, delete.returning.as_deref(), &schema)?;
        Ok(env.planned(Statement::Delete { table: table.object.id, filter, returning }, None))
    }

    /// The table of UPDATE or DELETE, and the name it goes by in the statement.
    fn single_table(&self, factor: &sql::TableFactor) -> Result<Table, SqlError> {
        match factor {
            sql::TableFactor::Table { name, alias, args: None, .. } => {
                let mut table = self.table(&crate::parse::own::name_in(self.text, name)?)?;
                match alias {
                    Some(a) if a.columns.is_empty() => table.alias = crate::parse::ast_fold(&a.name),
                    Some(_) => return Err(SqlError::unsupported("column names behind a table's alias")),
                    None => {}
                }
                Ok(table)
            }
            _ => Err(SqlError::unsupported("UPDATE and DELETE take one table")),
        }
    }

    fn filter(
        &self,
        env: &Env,
        selection: &Option<sql::Expr>,
        schema: &DFSchema,
    ) -> Result<Option<ScalarExpr>, SqlError> {
        selection.as_ref().map(|e| plan_expr_in(env, e, schema, Target::Condition)).transpose()
    }

    /// By `SELECT <new values>, * FROM table, others WHERE condition`.
    fn modify(
        &self,
        env: &Env,
        found: Found,
        set: Option<Vec<(usize, sql::Expr)>>,
        selection: &Option<sql::Expr>,
        returning: Option<&[sql::SelectItem]>,
    ) -> Result<Planned, SqlError> {
        let table = &found.table;
        let mut query = *crate::parse::parse_query("SELECT *")?;
        let sql::SetExpr::Select(select) = query.body.as_mut() else {
            return Err(SqlError::internal("SELECT is no select"));
        };
        let targets: Option<Vec<usize>> = set.as_ref().map(|s| s.iter().map(|(c, _)| *c).collect());
        let star = select.projection.pop();
        for (n, (_, value)) in set.into_iter().flatten().enumerate() {
            let alias = sql::Ident::with_quote('"', format!("?set {n}?"));
            select.projection.push(sql::SelectItem::ExprWithAlias { expr: value, alias });
        }
        let values = select.projection.len();
        select.projection.extend(star);
        select.from = vec![sql::TableWithJoins { relation: found.relation.clone(), joins: vec![] }];
        select.from.extend(found.from.iter().cloned());
        select.selection = selection.clone();
        query.with = found.with.clone();
        let plan = plan_query(env, query)?;
        let mut wanted: Vec<(Option<&str>, SqlType)> = vec![];
        for column in targets.iter().flatten() {
            wanted.push((Some(table.desc.columns[*column].name.as_str()), table.desc.columns[*column].ty));
        }
        let rest = plan.schema().fields().iter().skip(values);
        for field in rest {
            wanted.push((None, crate::typing::field_type(field)?));
        }
        // What RETURNING reads: the row as it becomes, then the columns of the others.
        let fields: Vec<_> = plan.schema().iter().skip(values).map(|(q, f)| (q.cloned(), f.clone())).collect();
        let schema = DFSchema::new_with_metadata(fields, Default::default()).map_err(crate::error::from_planner)?;
        let returning = self.returning(env, returning, &schema)?;
        let plan = cast_columns_in(env, plan, &wanted)?;
        let query = finish_query(env, plan)?;
        Ok(env.planned(Statement::Modify { table: table.object.id, set: targets, returning }, Some(query)))
    }

    /// `RETURNING`, over the columns of `schema`.
    pub(super) fn returning(
        &self,
        env: &Env,
        items: Option<&[sql::SelectItem]>,
        schema: &DFSchema,
    ) -> Result<Option<Returning>, SqlError> {
        let Some(items) = items else { return Ok(None) };
        let (mut columns, mut exprs) = (vec![], vec![]);
        let mut add = |name: String, expr: ScalarExpr, nullable: bool| {
            columns.push(Column { name, ty: expr.ty(), nullable });
            exprs.push(expr);
        };
        for item in items {
            match item {
                sql::SelectItem::UnnamedExpr(e) => {
                    let expr = plan_expr_in(env, e, schema, Target::Any)?;
                    add(crate::prepare::output_name(e), expr, true);
                }
                sql::SelectItem::ExprWithAlias { expr, alias } => {
                    let expr = plan_expr_in(env, expr, schema, Target::Any)?;
                    add(crate::parse::ast_fold(alias), expr, true);
                }
                sql::SelectItem::Wildcard(_) | sql::SelectItem::QualifiedWildcard(..) => {
                    let of = match item {
                        sql::SelectItem::QualifiedWildcard(sql::SelectItemQualifiedWildcardKind::ObjectName(n), _) => {
                            n.0.last().and_then(|p| p.as_ident()).map(crate::parse::ast_fold)
                        }
                        _ => None,
                    };
                    let mut any = false;
                    for (i, (qualifier, field)) in schema.iter().enumerate() {
                        if of.as_ref().is_none_or(|of| qualifier.is_some_and(|q| q.table() == of)) {
                            any = true;
                            let ty = crate::typing::field_type(field)?;
                            add(field.name().clone(), ScalarExpr::Column(i, ty), field.is_nullable());
                        }
                    }
                    if !any {
                        let of = of.unwrap_or_default();
                        let message = format!("missing FROM-clause entry for table \"{of}\"");
                        return Err(SqlError::new(SqlState::UNDEFINED_TABLE, message));
                    }
                }
                other => return Err(SqlError::unsupported(format!("RETURNING {other}"))),
            }
        }
        Ok(Some(Returning { desc: RelationDesc::new(columns), exprs }))
    }
}

/// What a query that finds rows to change is made from.
struct Found {
    table: Table,
    relation: sql::TableFactor,
    from: Vec<sql::TableWithJoins>,
    with: Option<sql::With>,
}
