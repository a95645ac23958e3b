//! Queries: names against a catalog snapshot, `SqlToRel`, then retyping.

use crate::SessionContextInfo;
use crate::aggregate::aggregate_by_name;
use crate::error::{external, from_planner};
use crate::lazy::{Lazy, OperatorPlanner, lazy};
use crate::prepare::{CAST, NOT_DISTINCT, NUMBER, prepare_query};
use crate::retype::retype_plan;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result as DfResult, TableReference};
use datafusion_expr::planner::{ContextProvider, ExprPlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use hw_plan::{CatalogView, Func, Object, ObjectKind};
use hw_repr::{Datum, GlobalId, RelationDesc, SqlError, SqlState, SqlType};
use sqlparser::ast::Query;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Views over views deeper than this are refused.
const VIEW_DEPTH_MAX: usize = 64;

/// What one statement is planned against. Not shared: one per statement.
pub(crate) struct Env<'a> {
    pub catalog: &'a dyn CatalogView,
    pub session: &'a SessionContextInfo,
    /// True for the query of a view: nothing may depend on the session or the moment.
    pub stored: bool,
    parameters: RefCell<Vec<Option<SqlType>>>,
    allow_parameters: bool,
    /// Objects that the statement names.
    pub named: RefCell<BTreeSet<GlobalId>>,
    /// Relations that are read in the end.
    pub scanned: RefCell<BTreeSet<GlobalId>>,
    depth: Cell<usize>,
    /// For INSERT ... VALUES: the types of the columns that the values go to.
    pub values_types: RefCell<Vec<SqlType>>,
}

impl<'a> Env<'a> {
    pub fn new(
        catalog: &'a dyn CatalogView,
        session: &'a SessionContextInfo,
        stored: bool,
        parameters: &[Option<SqlType>],
    ) -> Self {
        Env {
            catalog,
            session,
            stored,
            parameters: RefCell::new(parameters.to_vec()),
            allow_parameters: !stored,
            named: RefCell::default(),
            scanned: RefCell::default(),
            depth: Cell::new(0),
            values_types: RefCell::default(),
        }
    }

    /// `now()` and its kin at the statement's time.
    pub fn now(&self, ty: SqlType) -> Result<Datum, SqlError> {
        if self.stored {
            return Err(SqlError::unsupported("now() is not supported in a view yet")
                .hint("Filter by time when you read the view: SELECT ... FROM view WHERE ts > now() - ..."));
        }
        const DAY: i64 = 86_400_000_000;
        let us = self.session.now_us;
        Ok(match ty {
            SqlType::Date => Datum::Date(i32::try_from(us.div_euclid(DAY)).unwrap_or(i32::MAX)),
            SqlType::Time => Datum::Time(us.rem_euclid(DAY)),
            SqlType::Timestamp => Datum::Timestamp(us),
            _ => Datum::TimestampTz(us),
        })
    }

    /// What the session knows of itself.
    pub fn session_text(&self, name: &str) -> Result<String, SqlError> {
        if self.stored {
            return Err(SqlError::unsupported(format!("{name} is not supported in a view"))
                .hint("A view shows the same rows to every session."));
        }
        Ok(match name {
            "current_user" => self.session.user.clone(),
            "current_database" => self.session.database.clone(),
            "current_schema" => self.session.search_path.first().cloned().unwrap_or_else(|| "public".into()),
            _ => format!("PostgreSQL 16.0 (Headwater {})", env!("CARGO_PKG_VERSION")),
        })
    }

    fn parameter_index(&self, id: &str) -> Result<usize, SqlError> {
        let undefined = || SqlError::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter {id}"));
        if !self.allow_parameters {
            return Err(undefined());
        }
        match id.trim_start_matches('$').parse::<usize>() {
            Ok(n @ 1..=65535) => Ok(n - 1),
            _ => Err(undefined()),
        }
    }

    /// The type of a parameter, where it is known by now.
    pub fn parameter(&self, id: &str) -> Result<Option<SqlType>, SqlError> {
        let index = self.parameter_index(id)?;
        let mut all = self.parameters.borrow_mut();
        if all.len() <= index {
            all.resize(index + 1, None);
        }
        Ok(all[index])
    }

    /// Gives a parameter its type; the first use decides.
    pub fn set_parameter(&self, id: &str, ty: SqlType) -> Result<(), SqlError> {
        let index = self.parameter_index(id)?;
        let mut all = self.parameters.borrow_mut();
        if all.len() <= index {
            all.resize(index + 1, None);
        }
        all[index] = Some(ty);
        Ok(())
    }

    /// The types of all parameters; one that is never used in a way that tells is text.
    pub fn parameter_types(&self) -> Vec<SqlType> {
        self.parameters.borrow().iter().map(|p| p.unwrap_or(SqlType::Text)).collect()
    }

    /// The object of that name.
    pub fn resolve(&self, schema: Option<&str>, name: &str) -> Option<Arc<Object>> {
        if schema.is_none() {
            for s in &self.session.search_path {
                if let Some(found) = self.catalog.resolve(Some(s), name) {
                    return Some(found);
                }
            }
        }
        self.catalog.resolve(schema, name)
    }
}

/// `42P01`
pub(crate) fn undefined_relation(schema: Option<&str>, name: &str) -> SqlError {
    let full = schema.map_or_else(|| name.to_string(), |s| format!("{s}.{name}"));
    SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{full}\" does not exist"))
}

/// A relation of the catalog as DataFusion's planner sees it.
#[derive(Debug)]
pub(crate) struct RelationSource {
    pub id: GlobalId,
    pub name: String,
    schema: SchemaRef,
    /// The plan of a view.
    pub view: Option<LogicalPlan>,
}

impl TableSource for RelationSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn supports_filters_pushdown(
        &self,
        filters: &[&datafusion_expr::Expr],
    ) -> DfResult<Vec<datafusion_expr::TableProviderFilterPushDown>> {
        // The scan may use a filter to seek; the filter itself stays in the plan.
        Ok(vec![datafusion_expr::TableProviderFilterPushDown::Inexact; filters.len()])
    }
}

/// A source for a relation that is read as it is.
pub(crate) fn relation_source(object: &Object, desc: &RelationDesc) -> RelationSource {
    let schema = desc.schema();
    RelationSource { id: object.id, name: object.name.clone(), schema, view: None }
}

struct Context<'a, 'b> {
    env: &'b Env<'a>,
    config: ConfigOptions,
    planners: Vec<Arc<dyn ExprPlanner>>,
}

impl ContextProvider for Context<'_, '_> {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        self.source(&name).map(|s| Arc::new(s) as Arc<dyn TableSource>).map_err(external)
    }
    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }
    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        function(name)
    }
    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        aggregate_by_name(name.strip_prefix("pg_catalog.").unwrap_or(name))
    }
    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }
    fn get_window_meta(&self, _: &str) -> Option<Arc<WindowUDF>> {
        None
    }
    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }
    fn get_variable_field(&self, _: &[String]) -> Option<FieldRef> {
        None
    }
    fn options(&self) -> &ConfigOptions {
        &self.config
    }
    fn udf_names(&self) -> Vec<String> {
        Func::ALL.iter().map(|f| f.name().to_string()).collect()
    }
    fn higher_order_function_names(&self) -> Vec<String> {
        vec![]
    }
    fn udaf_names(&self) -> Vec<String> {
        vec![]
    }
    fn udwf_names(&self) -> Vec<String> {
        vec![]
    }
}

impl Context<'_, '_> {
    fn source(&self, name: &TableReference) -> Result<RelationSource, SqlError> {
        let env = self.env;
        if let Some(database) = name.catalog()
            && database != env.session.database
        {
            return Err(SqlError::unsupported(format!("cross-database references are not implemented: {name}")));
        }
        let object =
            env.resolve(name.schema(), name.table()).ok_or_else(|| undefined_relation(name.schema(), name.table()))?;
        let Some(desc) = object.desc() else {
            return Err(SqlError::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a relation", object.name))
                .hint("A generator's outputs are relations of their own."));
        };
        if env.stored && env.catalog.is_system(object.id) {
            return Err(SqlError::unsupported(format!(
                "a view over system relation \"{}\" is not supported",
                object.name
            )));
        }
        if env.depth.get() == 0 {
            env.named.borrow_mut().insert(object.id);
        }
        let mut source = relation_source(&object, desc);
        if let ObjectKind::View { query, .. } = &object.kind {
            if env.depth.get() >= VIEW_DEPTH_MAX {
                return Err(SqlError::unsupported("views nest too deeply"));
            }
            env.depth.set(env.depth.get() + 1);
            let planned = crate::parse::parse_query(query).and_then(|q| plan_query(env, *q));
            env.depth.set(env.depth.get() - 1);
            source.view = Some(rename(planned?, desc)?);
        }
        Ok(source)
    }
}

/// Gives a plan the column names of a view.
fn rename(plan: LogicalPlan, desc: &RelationDesc) -> Result<LogicalPlan, SqlError> {
    let exprs = plan
        .schema()
        .columns()
        .into_iter()
        .zip(&desc.columns)
        .map(|(c, d)| datafusion_expr::Expr::Column(c).alias_qualified(None::<&str>, &d.name));
    let projection = datafusion_expr::Projection::try_new(exprs.collect(), Arc::new(plan)).map_err(from_planner)?;
    Ok(LogicalPlan::Projection(projection))
}

fn function(name: &str) -> Option<Arc<ScalarUDF>> {
    if let Some(ty) = name.strip_prefix(CAST) {
        return crate::types::type_by_name(ty).map(|ty| lazy(Lazy::Cast(ty), name));
    }
    if let Some(digits) = name.strip_prefix(NUMBER) {
        return Some(lazy(Lazy::Number(digits.to_string()), name));
    }
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    let kind = match name {
        NOT_DISTINCT => Lazy::Call(Func::NotDistinct),
        "coalesce" => Lazy::Coalesce,
        "now" | "current_timestamp" | "transaction_timestamp" | "statement_timestamp" => {
            Lazy::Now(SqlType::TimestampTz)
        }
        "localtimestamp" => Lazy::Now(SqlType::Timestamp),
        "current_date" => Lazy::Now(SqlType::Date),
        "localtime" => Lazy::Now(SqlType::Time),
        "version" => Lazy::Session("version"),
        "current_user" | "session_user" | "user" => Lazy::Session("current_user"),
        "current_database" | "current_catalog" => Lazy::Session("current_database"),
        "current_schema" => Lazy::Session("current_schema"),
        _ => Lazy::Call(hw_scalar::function_by_name(name)?),
    };
    Some(lazy(kind, name))
}

/// Plans a query, every expression with its final types; not yet optimised.
pub(crate) fn plan_query(env: &Env, mut query: Query) -> Result<LogicalPlan, SqlError> {
    prepare_query(&mut query)?;
    let context = Context { env, config: ConfigOptions::default(), planners: vec![Arc::new(OperatorPlanner)] };
    let planner = SqlToRel::new_with_options(&context, parser_options());
    let plan =
        planner.sql_statement_to_plan(sqlparser::ast::Statement::Query(Box::new(query))).map_err(from_planner)?;
    retype_plan(env, plan, &[])
}

/// An expression over the columns of one table, cast to `ty` as an assignment; no subqueries.
pub(crate) fn plan_expr(
    env: &Env,
    expr: &sqlparser::ast::Expr,
    table: &Object,
    desc: &RelationDesc,
    ty: SqlType,
) -> Result<hw_plan::ScalarExpr, SqlError> {
    let mut expr = expr.clone();
    crate::prepare::prepare_expr(&mut expr)?;
    let context = Context { env, config: ConfigOptions::default(), planners: vec![Arc::new(OperatorPlanner)] };
    let planner = SqlToRel::new_with_options(&context, parser_options());
    let schema = datafusion_common::DFSchema::try_from_qualified_schema(
        TableReference::bare(table.name.clone()),
        desc.schema().as_ref(),
    )
    .map_err(from_planner)?;
    let planned = planner.sql_to_expr(expr, &schema, &mut PlannerContext::new()).map_err(from_planner)?;
    let mut typer = crate::typing::Typer::new(env, &schema, &[]);
    let typed = typer.typed(&planned, crate::typing::Place::Value)?;
    let typed = typer.cast(typed, ty, hw_scalar::CastContext::Assignment)?;
    let columns = typer
        .slots
        .iter()
        .map(|s| match s {
            datafusion_expr::Expr::Placeholder(_) => {
                Err(SqlError::unsupported("parameters in UPDATE and DELETE are not supported yet")
                    .hint("Put the values into the statement."))
            }
            datafusion_expr::Expr::ScalarSubquery(_)
            | datafusion_expr::Expr::Exists(_)
            | datafusion_expr::Expr::InSubquery(_) => {
                Err(SqlError::unsupported("a subquery in UPDATE or DELETE is not supported yet"))
            }
            other => crate::lower::lower_expr(other, &schema),
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(hw_plan::transform::substitute(&typed, &columns))
}

fn parser_options() -> ParserOptions {
    ParserOptions::new()
        .with_parse_float_as_decimal(true)
        .with_map_string_types_to_utf8view(false)
        .with_collect_spans(true)
}
