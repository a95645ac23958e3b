//! SQL text to plans.
//!
//! A statement's life: [`parse`] splits the text and gives one [`ParsedStatement`] each; [`plan`] resolves names
//! against an immutable catalog snapshot and gives a [`Planned`]: a [`Statement`], and for a query its logical plan
//! with every expression in PostgreSQL's types (`SqlToRel` -> `retype` -> `optimize`); [`bind_params`] puts values
//! for parameters; [`lower`] turns a view's plan into a `FlowPlan`.
//!
//! Pure: no I/O, no clock (the statement's time comes with the session), no threads. DataFusion's coercion never
//! decides what an expression means: operators and calls are typed here and run as `hw_scalar` functions.

mod aggregate;
mod collect;
mod decorrelate;
mod emit;
mod error;
mod explain;
mod functions;
mod grouping;
mod keys;
mod lazy;
mod lower;
mod optimize;
mod parse;
mod planner;
mod prepare;
mod ranked;
mod retype;
mod sets;
mod statement;
mod system;
mod types;
mod typing;
mod value;
mod volatile;
mod window;

pub use lower::lower;
pub use parse::{ParsedStatement, ast, parse};
pub use statement::restate::{Renaming, restated};

use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_expr::logical_plan::{Limit, TableScan};
use datafusion_expr::{Expr, LogicalPlan};
use hw_plan::{CatalogView, OnConflict, OnConflictUpdate, Returning, ScalarExpr, Statement};
use hw_repr::{Datum, GlobalId, RelationDesc, SqlError, SqlState, SqlType};
use std::collections::{BTreeMap, BTreeSet};

/// What planning needs to know of the session.
#[derive(Clone, Debug)]
pub struct SessionContextInfo {
    /// Schemas to look in, in order; the first is where objects are made.
    pub search_path: Vec<String>,
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// The statement's time, µs since 1970: what `now()` is.
    pub now_us: i64,
    /// The session's settings, by their names in lower case: what `current_setting` tells.
    pub settings: BTreeMap<String, String>,
    /// Statements that PREPARE has named.
    pub prepared: BTreeMap<String, PreparedSql>,
    /// What `pg_backend_pid()` is.
    pub backend_pid: i32,
    /// Materialized views that are computed by their queries instead of read.
    pub inline: BTreeSet<GlobalId>,
}

/// A statement that PREPARE has named.
#[derive(Clone, Debug)]
pub struct PreparedSql {
    /// Types of its parameters.
    pub types: Vec<SqlType>,
    /// Its text.
    pub sql: String,
}

/// Parameter types a client declared; `None` and those behind the end are inferred.
#[derive(Clone, Debug, Default)]
pub struct ParamTypes(pub Vec<Option<SqlType>>);

/// A query, planned.
#[derive(Clone, Debug)]
pub struct Query {
    /// Optimised; scans are of tables named `hw_<oid>` (see [`scan_id`]); parameters are placeholders `$n`.
    pub plan: LogicalPlan,
    /// What the client sees; may repeat names.
    pub desc: RelationDesc,
    /// The relations that are scanned.
    pub depends_on: Vec<GlobalId>,
}

/// A statement, planned.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What to do.
    pub statement: Statement,
    /// The query of SELECT, INSERT and SHOW lists.
    pub query: Option<Query>,
    /// Types of all parameters.
    pub param_types: Vec<SqlType>,
    /// True where the plan comes of nothing but the text, the declared types, the catalog and the search path: it can be
    /// used again as long as these are the same.
    pub reusable: bool,
}

/// Plans a statement. Positions in errors count from the start of its own text.
pub fn plan(
    stmt: &ParsedStatement,
    catalog: &dyn CatalogView,
    session: &SessionContextInfo,
    params: &ParamTypes,
) -> Result<Planned, SqlError> {
    let plan = |locate| {
        parse::depth::with_stack(&stmt.text, || {
            statement::plan_statement(&stmt.text, &stmt.ast, catalog, session, params, locate)
        })
    };
    plan(false).map_err(|mut e| {
        // Once more, with positions in the tree, only to learn where the same error stands.
        if e.position.is_none()
            && let Err(again) = plan(true)
            && (again.code, &again.message) == (e.code, &e.message)
        {
            e.position = again.position;
        }
        e
    })
}

/// The relation a scan reads.
pub fn scan_id(scan: &TableScan) -> Option<GlobalId> {
    scan.table_name.table().strip_prefix("hw_")?.parse().ok().map(GlobalId)
}

/// Puts values in the place of parameters: `params[n]` is `$n+1`, of the type that planning gave it.
pub fn bind_params(plan: LogicalPlan, params: &[Datum]) -> Result<LogicalPlan, SqlError> {
    plan.transform_up_with_subqueries(|node| {
        let is_values = matches!(node, LogicalPlan::Values(_));
        let names = datafusion_expr::expr_rewriter::NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let new = expr.transform_up(|e| match e {
                Expr::Placeholder(p) => {
                    let value = bound_value(&p, params).map_err(error::external)?;
                    Ok(Transformed::yes(Expr::Literal(value, None)))
                }
                other => Ok(Transformed::no(other)),
            })?;
            // The cells of VALUES have no names.
            Ok(if is_values { new } else { new.update_data(|e| name.restore(e)) })
        })?
        .map_data(|node| match node {
            LogicalPlan::Limit(limit) => limited(limit).map_err(error::external),
            other => other.recompute_schema(),
        })
    })
    .data()
    .map_err(error::from_planner)
}

/// LIMIT and OFFSET of constants as numbers; NULL is none. `2201W`, `2201X` of negative ones.
fn limited(limit: Limit) -> Result<LogicalPlan, SqlError> {
    let number = |expr: Option<Box<Expr>>, what: &str, code: &str| {
        let Some(expr) = expr else { return Ok(None) };
        let empty = datafusion_common::DFSchema::empty();
        match hw_scalar::eval_const(&lower::lower_expr(&expr, &empty)?)? {
            Datum::Int8(n) if n < 0 => Err(SqlError::new(SqlState::new(code), format!("{what} must not be negative"))),
            Datum::Null => Ok(None),
            value => Ok(Some(Box::new(value::to_literal(&value, SqlType::Int8)?))),
        }
    };
    let skip = number(limit.skip, "OFFSET", "2201X")?;
    let fetch = number(limit.fetch, "LIMIT", "2201W")?;
    Ok(LogicalPlan::Limit(Limit { skip, fetch, input: limit.input }))
}

/// Puts values in the place of parameters in the expressions of UPDATE and DELETE.
pub fn bind_statement(statement: Statement, params: &[Datum]) -> Result<Statement, SqlError> {
    let bind = |mut e: ScalarExpr| {
        planner::bind_columns(&mut e, params)?;
        Ok::<_, SqlError>(e)
    };
    Ok(match statement {
        Statement::Update { table, filter, set, returning } => Statement::Update {
            table,
            filter: filter.map(bind).transpose()?,
            set: bind_set(set, bind)?,
            returning: bind_returning(returning, bind)?,
        },
        Statement::Insert { table, identity, conflict, returning } => {
            let update = |u: OnConflictUpdate| {
                let filter = u.filter.map(bind).transpose()?;
                Ok::<_, SqlError>(OnConflictUpdate { set: bind_set(u.set, bind)?, filter })
            };
            let whole = |c: OnConflict| {
                Ok::<_, SqlError>(OnConflict { target: c.target, update: c.update.map(update).transpose()? })
            };
            let conflict = conflict.map(whole).transpose()?;
            Statement::Insert { table, identity, conflict, returning: bind_returning(returning, bind)? }
        }
        Statement::Modify { table, set, returning } => {
            Statement::Modify { table, set, returning: bind_returning(returning, bind)? }
        }
        Statement::Select { as_of } => Statement::Select { as_of: as_of.map(bind).transpose()? },
        Statement::Delete { table, filter, returning } => Statement::Delete {
            table,
            filter: filter.map(bind).transpose()?,
            returning: bind_returning(returning, bind)?,
        },
        other => other,
    })
}

fn bind_set(
    set: Vec<(usize, ScalarExpr)>,
    bind: impl Fn(ScalarExpr) -> Result<ScalarExpr, SqlError>,
) -> Result<Vec<(usize, ScalarExpr)>, SqlError> {
    set.into_iter().map(|(c, e)| Ok((c, bind(e)?))).collect()
}

fn bind_returning(
    returning: Option<Returning>,
    bind: impl Fn(ScalarExpr) -> Result<ScalarExpr, SqlError>,
) -> Result<Option<Returning>, SqlError> {
    let Some(Returning { desc, exprs }) = returning else { return Ok(None) };
    Ok(Some(Returning { desc, exprs: exprs.into_iter().map(bind).collect::<Result<_, _>>()? }))
}

fn bound_value(
    p: &datafusion_expr::expr::Placeholder,
    params: &[Datum],
) -> Result<datafusion_common::ScalarValue, SqlError> {
    let undefined = || SqlError::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter {}", p.id));
    let index: usize = p.id.trim_start_matches('$').parse().map_err(|_| undefined())?;
    let datum = index.checked_sub(1).and_then(|i| params.get(i)).ok_or_else(undefined)?;
    let ty = p.field.as_ref().and_then(|f| SqlType::from_field(f)).unwrap_or(SqlType::Text);
    value::to_scalar_value(datum, ty)
}

#[cfg(test)]
mod tests;
