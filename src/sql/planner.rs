//! Queries: names against a catalog snapshot, `SqlToRel`, then retyping.

use crate::SessionContextInfo;
use crate::aggregate::aggregate_by_name;
use crate::error::{external, from_planner};
use crate::functions::UserCall;
use crate::lazy::{Lazy, OperatorPlanner, lazy};
use crate::optimize::Forgetful;
use crate::prepare::{
    ARRAY_OF, AT, BITS, CAST, CELL, COERCED, FIELD, LITERAL, NEGATIVE, NOT, NOT_DISTINCT, NUMBER, ONCE, OPERATOR,
    ORDINALITY, OVER_ALL, OVER_ANY, POSITIVE, REG_CAST, ROW_OF, SET, SUBQUERY, SUBSCRIPT, TIES, VARIADIC, WHOLE_ROW,
    prepare_query, split_position,
};
use crate::retype::retype_plan;
use crate::sets::Sets;
use crate::system::{Facts, system_function};
use crate::typing::Reg;
use crate::volatile::Volatile;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result as DfResult, TableReference};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use hw_plan::{CatalogView, Func, Object, ObjectKind};
use hw_repr::datum::TimeTzValue;
use hw_repr::{Datum, GlobalId, RelationDesc, SqlError, SqlState, SqlType};
use sqlparser::ast::Query;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Views over views deeper than this are refused.
pub(crate) const VIEW_DEPTH_MAX: usize = 64;

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
    pub depth: Cell<usize>,
    /// For INSERT ... VALUES: names and types of the columns that the values go to.
    pub values_types: RefCell<Vec<(String, SqlType)>>,
    /// The statement's text, where positions in it are wanted; see [`Env::text`].
    pub statement_text: Option<&'a str>,
    /// True while a view's query is planned: its positions mean nothing to the statement that names the view.
    pub in_view: Cell<bool>,
    /// Plan only to find where an error stands (see [`crate::prepare`]).
    pub locate: bool,
    /// Where columns are named first, by their names as written.
    pub column_positions: RefCell<HashMap<String, usize>>,
    /// The aliases of relations.
    pub aliases: RefCell<HashMap<String, String>>,
    /// Where the condition of a WHERE starts.
    pub condition_position: Cell<Option<usize>>,
    /// Where relations are named, by their names as written.
    pub relation_positions: RefCell<HashMap<String, usize>>,
    /// Quoted literals that became text because nothing gave them another type.
    pub settled: RefCell<BTreeSet<String>>,
    facts: OnceCell<Arc<Facts>>,
    names: Cell<usize>,
    /// `*` stands for the columns of a join by USING or NATURAL.
    pub star_of_using: Cell<bool>,
    /// The plan holds something of the moment or of the session.
    momentary: Cell<bool>,
    /// Functions that the statement itself calls, of those that statements have defined.
    pub functions: RefCell<BTreeSet<GlobalId>>,
    /// Those whose bodies are being planned, each within the one before.
    pub calling: RefCell<Vec<GlobalId>>,
    /// The function that is being replaced: it may not be part of itself.
    pub replacing: Cell<Option<GlobalId>>,
    /// Only the type of an expression is asked for: in a view, what depends on the reader or the instant stands for its type.
    pub type_only: Cell<bool>,
    /// Something has stood for its type.
    pub stood_in: Cell<bool>,
}

/// `0A000` of what a view cannot keep.
pub(crate) fn of_the_reader(what: &str) -> SqlError {
    SqlError::unsupported(format!("{what} is not supported in a materialized view")).hint(
        "It depends on the reader or the instant, and a view shows the same rows to all of them. Use it where the view is read.",
    )
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
            statement_text: None,
            in_view: Cell::new(false),
            locate: false,
            column_positions: RefCell::default(),
            aliases: RefCell::default(),
            condition_position: Cell::new(None),
            relation_positions: RefCell::default(),
            settled: RefCell::default(),
            facts: OnceCell::new(),
            names: Cell::new(0),
            star_of_using: Cell::new(false),
            momentary: Cell::new(false),
            functions: RefCell::default(),
            calling: RefCell::default(),
            replacing: Cell::new(None),
            type_only: Cell::new(false),
            stood_in: Cell::new(false),
        }
    }

    /// The text that positions count in, where they mean something.
    pub fn text(&self) -> Option<&'a str> {
        self.statement_text.filter(|_| !self.in_view.get())
    }

    /// From now on positions mean nothing to the statement, as those of stored text do; gives what it was before.
    pub fn beside_text(&self, beside: bool) -> bool {
        self.in_view.replace(beside)
    }

    /// What catalog functions know.
    pub fn facts(&self) -> Result<Arc<Facts>, SqlError> {
        if self.stored {
            return Err(of_the_reader("a function of the system catalogs"));
        }
        self.momentary.set(true);
        let facts = || Arc::new(Facts::new(self.catalog.facts(), &self.session.search_path));
        Ok(Arc::clone(self.facts.get_or_init(facts)))
    }

    /// A name that no other part of the plan has.
    pub fn fresh_name(&self, prefix: &str) -> String {
        self.names.set(self.names.get() + 1);
        format!("{prefix}_{}", self.names.get())
    }

    /// A number that no other part of the plan has.
    pub fn fresh_number(&self) -> u32 {
        self.names.set(self.names.get() + 1);
        self.names.get() as u32
    }

    /// The value of a setting of the session.
    pub fn setting(&self, name: &str) -> Result<Option<String>, SqlError> {
        if self.stored {
            return Err(of_the_reader("current_setting"));
        }
        self.momentary.set(true);
        Ok(self.session.settings.get(name.to_ascii_lowercase().as_str()).cloned())
    }

    /// An error of DataFusion's planner, with its position in the text.
    pub fn planner_error(&self, error: datafusion_common::DataFusionError) -> SqlError {
        let place = crate::error::place(&error);
        let mut error = from_planner(error);
        if let (None, Some(text), Some((line, column))) = (error.position, self.text(), place) {
            error.position = Some(crate::parse::char_position(text, sqlparser::tokenizer::Location { line, column }));
        }
        self.complete(error)
    }

    /// What the names of the statement add to an error.
    fn complete(&self, mut error: SqlError) -> SqlError {
        let named = |lead: &str, tail: &str| {
            let name = error.message.strip_prefix(lead)?.strip_suffix(tail)?;
            Some(name.trim_matches('"').to_string())
        };
        if let Some(table) = named("missing FROM-clause entry for table \"", "\"") {
            let columns = self.column_positions.borrow();
            let first = columns.iter().filter(|(n, _)| n.split('.').next() == Some(table.as_str())).map(|(_, p)| *p);
            error.position = first.min().or(error.position);
            if let Some(alias) = self.aliases.borrow().get(&table) {
                error.message = format!("invalid reference to FROM-clause entry for table \"{table}\"");
                error = error.hint(format!("Perhaps you meant to reference the table alias \"{alias}\"."));
            }
        } else if let Some(column) = named("column ", " does not exist").filter(|_| error.position.is_none()) {
            error.position = self.column_positions.borrow().get(&column).copied();
        } else if error.message.starts_with("each UNION query") {
            // DataFusion names the whole statement.
            error.position = None;
        } else if error.message.starts_with("argument of WHERE must be") {
            error.position = error.position.or(self.condition_position.get());
        }
        error
    }

    /// `now()` and its kin at the statement's time.
    pub fn now(&self, ty: SqlType) -> Result<Datum, SqlError> {
        const DAY: i64 = 86_400_000_000;
        let us = match (self.stored, self.type_only.get()) {
            (true, false) => {
                return Err(of_the_reader("now()")
                    .hint("It depends on the instant. Filter by time where the view is read: SELECT ... FROM view WHERE ts > now() - ..."));
            }
            (true, true) => {
                self.stood_in.set(true);
                0
            }
            (false, _) => {
                self.momentary.set(true);
                self.session.now_us
            }
        };
        Ok(match ty {
            SqlType::Date => Datum::Date(i32::try_from(us.div_euclid(DAY)).unwrap_or(i32::MAX)),
            SqlType::Time => Datum::Time(us.rem_euclid(DAY)),
            SqlType::TimeTz => Datum::TimeTz(TimeTzValue { micros: us.rem_euclid(DAY), east: 0 }.pack()),
            SqlType::Timestamp => Datum::Timestamp(us),
            _ => Datum::TimestampTz(us),
        })
    }

    /// What the session knows of itself.
    pub fn session_text(&self, name: &str) -> Result<String, SqlError> {
        if self.stored && self.type_only.get() {
            self.stood_in.set(true);
            return Ok(String::new());
        }
        if self.stored {
            return Err(of_the_reader(name));
        }
        self.momentary.set(true);
        Ok(match name {
            "current_user" => self.session.user.clone(),
            "current_database" => self.session.database.clone(),
            "current_schema" => {
                let found = self.session.search_path.iter().find(|s| self.catalog.has_schema(s));
                found.cloned().unwrap_or_default()
            }
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

    /// A planned statement, with what is known of its parameters.
    pub fn planned(&self, statement: hw_plan::Statement, query: Option<crate::Query>) -> crate::Planned {
        let (param_types, reusable) = (self.parameter_types(), !self.momentary.get());
        crate::Planned { statement, query, param_types, reusable }
    }

    /// The types of all parameters; one that is never used in a way that tells is text.
    pub fn parameter_types(&self) -> Vec<SqlType> {
        self.parameters.borrow().iter().map(|p| p.unwrap_or(SqlType::Text)).collect()
    }

    /// The type that a statement has defined under a name.
    pub fn defined_type(&self, name: &sqlparser::ast::ObjectName) -> Option<SqlType> {
        let mut parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(crate::parse::ast_fold).collect();
        let last = parts.pop()?;
        let object = self.resolve(parts.pop().as_deref(), &last)?;
        let ObjectKind::Type(ty) = object.kind else { return None };
        self.named.borrow_mut().insert(object.id);
        Some(ty)
    }

    /// The object of that name: without a schema, the first along `pg_catalog`, the search path and `headwater`.
    pub fn resolve(&self, schema: Option<&str>, name: &str) -> Option<Arc<Object>> {
        if schema.is_some() {
            return self.catalog.resolve(schema, name);
        }
        let path = &self.session.search_path;
        let implied = |s: &'static str| (!path.iter().any(|p| p == s)).then_some(s);
        let all = implied("pg_catalog").into_iter().chain(path.iter().map(String::as_str)).chain(implied("headwater"));
        all.into_iter().find_map(|s| self.catalog.resolve(Some(s), name))
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
    /// The relations that a view's plan scans.
    pub reads: BTreeSet<GlobalId>,
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
    RelationSource { id: object.id, name: object.name.clone(), schema, view: None, reads: BTreeSet::new() }
}

/// Calls that DataFusion's planner has a meaning of its own for, or that are refused by it.
const RESERVED: &[&str] = &[
    "unnest",
    "grouping",
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
];

/// Types whose names are functions of one argument too.
const CASTS: &[&str] = &[
    "bool",
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "numeric",
    "text",
    "varchar",
    "bpchar",
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "interval",
    "uuid",
    "json",
    "jsonb",
];

/// Functions of the catalogs over printed arrays: reached from an argument that is one, never by name.
const HIDDEN: &[&str] =
    &["hw_any_equal", "array_to_string", "array_length", "array_upper", "array_remove", "cardinality"];

struct Context<'a, 'b> {
    env: &'b Env<'a>,
    config: ConfigOptions,
    planners: Vec<Arc<dyn ExprPlanner>>,
    relations: Vec<Arc<dyn RelationPlanner>>,
}

impl ContextProvider for Context<'_, '_> {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        self.source(&name).map(|s| Arc::new(s) as Arc<dyn TableSource>).map_err(external)
    }
    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }
    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relations
    }
    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        function(name).or_else(|| {
            let bare = split_position(name).0;
            let bare = bare.strip_prefix("pg_catalog.").unwrap_or(bare);
            // An unknown one, too, is typed first: the message names the types of its arguments.
            let aggregate = aggregate_by_name(bare).is_some();
            (!aggregate && !RESERVED.contains(&bare)).then(|| lazy(Lazy::Unknown(bare.to_string()), name))
        })
    }
    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        let name = split_position(name).0;
        let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
        if name == "grouping" {
            return Some(crate::aggregate::grouping());
        }
        aggregate_by_name(name)
    }
    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }
    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        let name = split_position(name).0;
        crate::window::window_by_name(name.strip_prefix("pg_catalog.").unwrap_or(name))
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

impl<'a, 'b> Context<'a, 'b> {
    fn new(env: &'b Env<'a>) -> Self {
        let mut config = ConfigOptions::default();
        // The order of a subquery is kept: `ARRAY(SELECT ... ORDER BY ...)` needs it.
        config.sql_parser.enable_subquery_sort_elimination = false;
        let relations: Vec<Arc<dyn RelationPlanner>> = vec![Arc::new(Forgetful::default())];
        Context { env, config, planners: vec![Arc::new(OperatorPlanner)], relations }
    }
    fn undefined(&self, schema: Option<&str>, table: &str) -> SqlError {
        let e = undefined_relation(schema, table);
        let full = schema.map_or_else(|| table.to_string(), |s| format!("{s}.{table}"));
        match self.env.relation_positions.borrow().get(&full) {
            Some(position) => e.at(*position),
            None => e,
        }
    }

    fn source(&self, name: &TableReference) -> Result<RelationSource, SqlError> {
        let env = self.env;
        if let Some(database) = name.catalog()
            && database != env.session.database
        {
            return Err(SqlError::unsupported(format!("cross-database references are not implemented: {name}")));
        }
        let object =
            env.resolve(name.schema(), name.table()).ok_or_else(|| self.undefined(name.schema(), name.table()))?;
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
        let mut source = relation_source(&object, desc);
        let query = match &object.kind {
            ObjectKind::View { query, .. } => Some(query),
            ObjectKind::MaterializedView { query, .. } if env.session.inline.contains(&object.id) => Some(query),
            _ => None,
        };
        if let Some(query) = query {
            if env.depth.get() >= VIEW_DEPTH_MAX {
                return Err(SqlError::unsupported("views nest too deeply"));
            }
            env.depth.set(env.depth.get() + 1);
            let was_in_view = env.in_view.replace(true);
            // What the view reads counts only where a scan of the view stays in the plan: a CTE may hide its name.
            let scanned = env.scanned.take();
            let planned = crate::parse::parse_query(query).and_then(|q| plan_query(env, *q));
            env.in_view.set(was_in_view);
            source.reads = env.scanned.replace(scanned);
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

fn function(full: &str) -> Option<Arc<ScalarUDF>> {
    let named = |kind| Some(lazy(kind, full));
    let name = split_position(full).0;
    if let Some(ty) = name.strip_prefix(CAST) {
        return crate::types::type_by_name(ty).and_then(|ty| named(Lazy::Cast(ty)));
    }
    if let Some(reg) = name.strip_prefix(REG_CAST) {
        return Reg::by_name(reg).and_then(|r| named(Lazy::RegCast(r)));
    }
    if let Some(kind) = with_text(name) {
        return named(kind);
    }
    if let Some(sign) = name.strip_prefix(OPERATOR).filter(|_| full.contains(AT)) {
        return crate::lazy::operator_by_sign(sign).and_then(named);
    }
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    if let Some(pattern) = name.strip_prefix(SUBSCRIPT) {
        return named(Lazy::Subscript(pattern.to_string()));
    }
    if let Some((column, name)) = name.strip_prefix(SET).and_then(|n| n.split_once(':')) {
        return named(Lazy::Set(hw_scalar::function_by_name(name)?, column.parse().ok()?));
    }
    for (prefix, all) in [(OVER_ANY, false), (OVER_ALL, true)] {
        if let Some(sign) = name.strip_prefix(prefix) {
            return named(Lazy::Quantified(sign.to_string(), all));
        }
    }
    if let Some(system) = system_function(name).filter(|_| !HIDDEN.contains(&name)) {
        return named(Lazy::System(system));
    }
    if let Some(sign) = name.strip_prefix(crate::parse::grammar::PREFIX) {
        return named(Lazy::NoOperator(sign.to_string()));
    }
    let kind = match name {
        POSITIVE => Lazy::Positive,
        "array_to_json" => Lazy::ArrayToJson,
        "pg_collation_for" => Lazy::CollationFor,
        volatile if Volatile::by_name(volatile).is_some() => Lazy::Volatile(Volatile::by_name(volatile)?),
        fixed if crate::typing::fixed(fixed).is_some() => crate::typing::fixed(fixed)?,
        paired if crate::typing::pair(paired).is_some() => {
            crate::typing::pair(paired).map(|(p, ty)| Lazy::Pair(p, ty))?
        }
        NOT_DISTINCT => Lazy::Call(Func::NotDistinct),
        NEGATIVE => Lazy::Call(Func::Neg),
        "hw_abs" => Lazy::Call(Func::Abs),
        "hw_sqrt" => Lazy::Call(Func::SquareRoot),
        "hw_cbrt" => Lazy::Call(Func::CubeRoot),
        "hw_bitnot" => Lazy::Call(Func::BitNot),
        NOT => Lazy::Not,
        CELL => Lazy::Cell,
        ARRAY_OF => Lazy::ArrayOf,
        VARIADIC => Lazy::Variadic,
        ONCE => Lazy::Call(Func::SetOnce),
        ORDINALITY => Lazy::Call(Func::SetOrdinality),
        TIES => Lazy::Ties,
        ROW_OF => Lazy::RowOf,
        "pg_typeof" => Lazy::TypeOf,
        "coalesce" => Lazy::Coalesce,
        moment if momentary(moment).is_some() => momentary(moment)?,
        "current_setting" => Lazy::Setting,
        _ => match hw_scalar::function_by_name(name) {
            Some(func) => Lazy::Call(func),
            // A type's name before one argument is a cast.
            None if CASTS.contains(&name) => Lazy::Cast(crate::types::type_by_name(name)?),
            None => return None,
        },
    };
    named(kind)
}

/// Whether a name without a schema is that of a function of ours.
pub(crate) fn is_builtin(name: &str) -> bool {
    function(name).is_some()
        || RESERVED.contains(&name)
        || aggregate_by_name(name).is_some()
        || crate::window::window_by_name(name).is_some()
}

/// What the moment or the session decides.
fn momentary(name: &str) -> Option<Lazy> {
    Some(match name {
        "now" | "current_timestamp" | "transaction_timestamp" | "statement_timestamp" | "clock_timestamp" => {
            Lazy::Now(SqlType::TimestampTz)
        }
        "localtimestamp" => Lazy::Now(SqlType::Timestamp),
        "current_date" => Lazy::Now(SqlType::Date),
        "current_time" => Lazy::Now(SqlType::TimeTz),
        "localtime" => Lazy::Now(SqlType::Time),
        "version" => Lazy::Session("version"),
        "current_user" | "session_user" | "user" | "current_role" => Lazy::Session("current_user"),
        "current_database" | "current_catalog" => Lazy::Session("current_database"),
        "current_schema" => Lazy::Session("current_schema"),
        "pg_backend_pid" => Lazy::Session("pg_backend_pid"),
        _ => return None,
    })
}

/// What stands for a literal, a field or a relation, whose text is behind a prefix.
fn with_text(name: &str) -> Option<Lazy> {
    type OfText = fn(String) -> Lazy;
    let kinds: [(&str, OfText); 2] = [(WHOLE_ROW, Lazy::WholeRow), (LITERAL, Lazy::Text)];
    for (prefix, kind) in kinds {
        if let Some(text) = name.strip_prefix(prefix).and_then(|t| t.strip_prefix(':')) {
            return Some(kind(text.to_string()));
        }
    }
    if let Some(field) = name.strip_prefix(FIELD) {
        return Some(Lazy::Field(field.to_string()));
    }
    if name.starts_with(SUBQUERY) {
        return Some(Lazy::Subquery);
    }
    if let Some(digits) = name.strip_prefix(BITS) {
        return Some(Lazy::Bits(digits.to_string()));
    }
    if let Some(call) = UserCall::decode(name) {
        return Some(Lazy::User(call));
    }
    if let Some((context, ty)) = name.strip_prefix(COERCED).and_then(|n| n.split_once(':')) {
        return Some(Lazy::Coerced(crate::types::type_by_name(ty)?, context == "argument"));
    }
    name.strip_prefix(NUMBER).map(|digits| Lazy::Number(digits.to_string()))
}

/// Plans a query, every expression with its final types; not yet optimised.
pub(crate) fn plan_query(env: &Env, mut query: Query) -> Result<LogicalPlan, SqlError> {
    prepare_query(env, &mut query)?;
    let context = Context::new(env);
    let planner = SqlToRel::new_with_options(&context, parser_options());
    let plan = planner
        .sql_statement_to_plan(sqlparser::ast::Statement::Query(Box::new(query)))
        .map_err(|e| env.planner_error(e))?;
    if env.star_of_using.take() {
        crate::prepare::check_using(&plan)?;
    }
    let plan = crate::decorrelate::name_groups(plan)?;
    crate::decorrelate::decorrelate(env, retype_plan(env, plan, &[])?)
}

/// The body of a function over the columns of `schema`, not yet typed.
pub(crate) fn plan_body(
    env: &Env,
    mut expr: sqlparser::ast::Expr,
    schema: &datafusion_common::DFSchema,
) -> Result<datafusion_expr::Expr, SqlError> {
    crate::prepare::prepare_expr(env, &mut expr)?;
    let context = Context::new(env);
    let planner = SqlToRel::new_with_options(&context, parser_options());
    planner.sql_to_expr(expr, schema, &mut PlannerContext::new()).map_err(|e| env.planner_error(e))
}

/// Column positions from here on are parameters, in the expressions of UPDATE and DELETE.
const PARAMETERS: usize = 1 << 24;

/// Puts values in the place of parameters.
pub(crate) fn bind_columns(expr: &mut hw_plan::ScalarExpr, params: &[Datum]) -> Result<(), SqlError> {
    use hw_plan::ScalarExpr as E;
    match expr {
        E::Column(index, ty) if *index >= PARAMETERS => {
            let value = params.get(*index - PARAMETERS).ok_or_else(|| {
                SqlError::new(
                    SqlState::UNDEFINED_PARAMETER,
                    format!("there is no parameter ${}", *index - PARAMETERS + 1),
                )
            })?;
            *expr = E::Literal(value.clone(), *ty);
            Ok(())
        }
        E::Column(..) | E::Literal(..) => Ok(()),
        E::Call { args, .. } | E::And(args) | E::Or(args) | E::Coalesce(args) => {
            args.iter_mut().try_for_each(|a| bind_columns(a, params))
        }
        E::Cast { expr, .. } | E::Not(expr) | E::IsNull(expr) => bind_columns(expr, params),
        E::Case { branches, otherwise } => {
            for (condition, result) in branches {
                bind_columns(condition, params)?;
                bind_columns(result, params)?;
            }
            bind_columns(otherwise, params)
        }
    }
}

/// What an expression is for.
pub(crate) enum Target<'a> {
    /// The new value of a column of this name and type.
    Column(&'a str, SqlType),
    /// A value of this type.
    Value(SqlType),
    /// A value of whatever type.
    Any,
    /// WHERE
    Condition,
}

/// An expression over the columns of one table, cast to `ty` as an assignment; no subqueries.
pub(crate) fn plan_expr(
    env: &Env,
    expr: &sqlparser::ast::Expr,
    table: &str,
    desc: &RelationDesc,
    target: Target,
) -> Result<hw_plan::ScalarExpr, SqlError> {
    let schema =
        datafusion_common::DFSchema::try_from_qualified_schema(TableReference::bare(table), desc.schema().as_ref())
            .map_err(from_planner)?;
    plan_expr_in(env, expr, &schema, target)
}

/// As [`plan_expr`], over the columns of a schema.
pub(crate) fn plan_expr_in(
    env: &Env,
    expr: &sqlparser::ast::Expr,
    schema: &datafusion_common::DFSchema,
    target: Target,
) -> Result<hw_plan::ScalarExpr, SqlError> {
    let mut expr = expr.clone();
    crate::prepare::prepare_expr(env, &mut expr)?;
    let context = Context::new(env);
    let planner = SqlToRel::new_with_options(&context, parser_options());
    let planned = planner.sql_to_expr(expr, schema, &mut PlannerContext::new()).map_err(|e| env.planner_error(e))?;
    let mut typer = crate::typing::Typer::new(env, schema, &[]);
    typer.sets = Sets::Refused(match target {
        Target::Condition => "WHERE",
        Target::Any => "RETURNING",
        _ => "UPDATE",
    });
    let typed = typer.typed(&planned, crate::typing::Place::Value)?;
    let typed = match target {
        Target::Column(name, ty) => typer.assign(typed, name, ty)?,
        Target::Any => typer.settle(typed)?,
        Target::Value(ty) => typer.cast(typed, ty, hw_scalar::CastContext::Assignment)?,
        Target::Condition => {
            let value = typer.boolean(&planned, crate::typing::Place::Value);
            value?
        }
    };
    let columns = typer
        .slots
        .iter()
        .map(|s| match s {
            datafusion_expr::Expr::Placeholder(p) => {
                let index = env.parameter_index(&p.id)?;
                Ok(hw_plan::ScalarExpr::Column(PARAMETERS + index, env.parameter(&p.id)?.unwrap_or(SqlType::Text)))
            }
            datafusion_expr::Expr::ScalarSubquery(_)
            | datafusion_expr::Expr::Exists(_)
            | datafusion_expr::Expr::InSubquery(_) => Err(SqlError::unsupported("a subquery is not supported here")),
            other => crate::lower::lower_expr(other, schema),
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
