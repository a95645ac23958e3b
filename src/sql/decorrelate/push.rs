//! A query computed for every row of its domain: the different values of the outer columns that it reads.
//!
//! [`push`] gives a plan with the domain's columns beside those of the query. Below, the domain is joined to what reads no outer
//! column; above, every operator keeps its columns: groups and DISTINCT take them as keys. A group of everything, which
//! has a row also where its input has none, takes the domain itself in as rows that its aggregates skip.

use super::scope::{localized, outer_references, renamed};
use super::{input_schema, joined, project};
use crate::error::{external, from_planner};
use crate::planner::Env;
use crate::sets::{expand_of, plan_of};
use arrow::datatypes::FieldRef;
use datafusion_common::metadata::FieldMetadata;
use datafusion_common::{Column, DFSchema, JoinType, NullEquality, ScalarValue, TableReference};
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::logical_plan::{
    Aggregate, Distinct, EmptyRelation, Filter, Join, Limit, SubqueryAlias, Union, Values, Window,
};
use datafusion_expr::{Expr, ExprSchemable, JoinConstraint, LogicalPlan, lit};
use hw_repr::SqlError;
use hw_scalar::sets::Expand;
use std::sync::Arc;

/// The outer columns that a query reads, and their names within it.
#[derive(Clone)]
pub(super) struct Domain {
    /// As the outer plan has them; none where the domain is one row, if any.
    pub outer: Vec<Column>,
    /// As the pushed query has them; never empty.
    pub columns: Vec<Column>,
}

impl Domain {
    pub fn new(env: &Env, refs: Vec<(Column, FieldRef)>) -> Domain {
        Domain::of(env, refs.into_iter().map(|(c, _)| c).collect())
    }

    /// Of these columns.
    pub fn of(env: &Env, outer: Vec<Column>) -> Domain {
        Domain { columns: names(env, outer.len().max(1)), outer }
    }

    /// The columns that `plan` has, each with what it is called here.
    pub fn keys(&self, plan: &LogicalPlan) -> Vec<(Expr, Expr)> {
        let pairs = self.outer.iter().zip(&self.columns).filter(|(o, _)| plan.schema().has_column(o));
        pairs.map(|(o, d)| (Expr::Column(o.clone()), Expr::Column(d.clone()))).collect()
    }

    fn find(&self, outer: &Column) -> Option<Column> {
        let at = self.outer.iter().position(|o| o == outer)?;
        self.columns.get(at).cloned()
    }

    /// The different values in `plan`, or in those of its rows for which `asked` is true.
    pub fn plan(&self, env: &Env, plan: &LogicalPlan, asked: Option<Expr>) -> Result<LogicalPlan, SqlError> {
        let input = match asked {
            Some(condition) => super::filtered(condition, plan.clone())?,
            None => plan.clone(),
        };
        let exprs = match self.outer.is_empty() {
            true => self.columns.iter().map(|d| lit(true).alias_qualified(d.relation.clone(), &d.name)).collect(),
            false => give(&self.outer, &self.columns),
        };
        let plan = project(exprs, input)?;
        let keyed = if env.stored { crate::keys::distinct(&plan, true)? } else { None };
        Ok(keyed.unwrap_or_else(|| LogicalPlan::Distinct(Distinct::All(Arc::new(plan)))))
    }

    /// The same values once more, under other names.
    fn again(&self, env: &Env, domain: &LogicalPlan) -> Result<(Domain, LogicalPlan), SqlError> {
        let columns = names(env, self.columns.len());
        let plan = project(give(&self.columns, &columns), domain.clone())?;
        Ok((Domain { outer: self.outer.clone(), columns }, plan))
    }

    fn exprs(&self) -> Vec<Expr> {
        self.columns.iter().cloned().map(Expr::Column).collect()
    }
}

fn names(env: &Env, count: usize) -> Vec<Column> {
    let alias = env.fresh_name("hw_domain");
    (0..count).map(|i| Column::new(Some(alias.clone()), format!("{alias}_{i}"))).collect()
}

/// Columns under other names.
fn give(from: &[Column], to: &[Column]) -> Vec<Expr> {
    let pairs = from.iter().zip(to);
    pairs.map(|(f, t)| Expr::Column(f.clone()).alias_qualified(t.relation.clone(), &t.name)).collect()
}

/// True for the right side of a LATERAL join.
pub(super) fn is_lateral(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Subquery(_) => true,
        LogicalPlan::SubqueryAlias(s) => matches!(s.input.as_ref(), LogicalPlan::Subquery(_)),
        _ => false,
    }
}

/// A plan under an alias.
pub(super) fn aliased(plan: LogicalPlan, alias: &TableReference) -> Result<LogicalPlan, SqlError> {
    let alias = SubqueryAlias::try_new(Arc::new(plan), alias.clone()).map_err(from_planner)?;
    Ok(LogicalPlan::SubqueryAlias(alias))
}

fn reads_outer(plan: &LogicalPlan, domain: &Domain) -> bool {
    outer_references(plan).iter().any(|(c, _)| domain.find(c).is_some())
}

/// The query for every row of the domain.
pub(super) fn push(env: &Env, plan: LogicalPlan, domain: &Domain, rows: &LogicalPlan) -> Result<LogicalPlan, SqlError> {
    // What may fail is computed for rows of the domain only: where there are none, not at all.
    let reads = reads_outer(&plan, domain);
    if !reads && (is_opaque(&plan) || !super::plan_fallible(&plan)) {
        return joined(rows.clone(), plan, vec![]);
    }
    if let Some(node) = expand_of(&plan) {
        return push_sets(env, node, domain, rows);
    }
    let replace = |c: &Column| domain.find(c);
    match plan {
        LogicalPlan::Projection(p) => {
            let own = p.input.schema().as_ref().clone();
            let exprs = named(p.expr, &own, &replace)?;
            let input = push(env, Arc::unwrap_or_clone(p.input), domain, rows)?;
            project(domain.exprs().into_iter().chain(exprs).collect(), input)
        }
        LogicalPlan::Filter(f) => {
            let predicate = localized(f.predicate, f.input.schema(), &replace)?;
            let input = push(env, Arc::unwrap_or_clone(f.input), domain, rows)?;
            Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input)).map_err(from_planner)?))
        }
        LogicalPlan::SubqueryAlias(s) => {
            let columns = s.input.schema().columns();
            let new: Vec<Column> = s.schema.columns();
            let input = push(env, Arc::unwrap_or_clone(s.input), domain, rows)?;
            project(domain.exprs().into_iter().chain(give(&columns, &new)).collect(), input)
        }
        LogicalPlan::Aggregate(a) if a.group_expr.is_empty() => push_global(env, a, domain, rows, rows),
        LogicalPlan::Aggregate(a) => {
            let own = a.input.schema().as_ref().clone();
            let group = domain.exprs().into_iter().chain(named(a.group_expr, &own, &replace)?).collect();
            let aggregates = named(a.aggr_expr, &own, &replace)?;
            let input = push(env, Arc::unwrap_or_clone(a.input), domain, rows)?;
            let plan = Aggregate::try_new(Arc::new(input), group, aggregates).map_err(from_planner)?;
            Ok(LogicalPlan::Aggregate(plan))
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let input = push(env, Arc::unwrap_or_clone(input), domain, rows)?;
            Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(input))))
        }
        // Only the order: nothing that is above it looks at that.
        LogicalPlan::Sort(s) if s.fetch.is_none() => push(env, Arc::unwrap_or_clone(s.input), domain, rows),
        LogicalPlan::Join(j) => push_join(env, j, domain, rows),
        LogicalPlan::Union(u) => push_union(env, u, domain, rows),
        LogicalPlan::Values(v) => push(env, rows_of(&v)?, domain, rows),
        LogicalPlan::Limit(l) => push_limit(env, l, domain, rows),
        LogicalPlan::Window(w) => push_window(env, w, domain, rows),
        other => Err(unsupported(&other.display().to_string())),
    }
}

/// A query that reads no outer column and is computed as it is.
fn is_opaque(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Join(j) => j.join_type == JoinType::Full,
        LogicalPlan::Sort(s) => s.fetch.is_some(),
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Distinct(Distinct::All(_))
        | LogicalPlan::Union(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Window(_) => false,
        other => expand_of(other).is_none(),
    }
}

fn push_sets(env: &Env, node: &Expand, domain: &Domain, rows: &LogicalPlan) -> Result<LogicalPlan, SqlError> {
    let calls = named(node.calls.clone(), node.input.schema(), &|c| domain.find(c))?;
    let input = match node.input.as_ref() {
        LogicalPlan::EmptyRelation(e) if e.produce_one_row && e.schema.fields().is_empty() => rows.clone(),
        other => push(env, other.clone(), domain, rows)?,
    };
    let calls = calls.into_iter().map(Expr::unalias).collect();
    Ok(plan_of(node.over(Arc::new(input), calls, node.outer).map_err(from_planner)?))
}

fn push_window(env: &Env, w: Window, domain: &Domain, rows: &LogicalPlan) -> Result<LogicalPlan, SqlError> {
    let own = w.input.schema().as_ref().clone();
    let names = NamePreserver::new_for_projection();
    let mut calls = vec![];
    for call in w.window_expr {
        // What is above knows it by the name that it has without the domain's columns.
        let name = names.save(&call);
        let mut call = localized(call, &own, &|c| domain.find(c))?;
        let inner = match &mut call {
            Expr::Alias(a) => a.expr.as_mut(),
            other => other,
        };
        if let Expr::WindowFunction(w) = inner {
            let by = std::mem::take(&mut w.params.partition_by);
            w.params.partition_by = domain.exprs().into_iter().chain(by).collect();
        }
        calls.push(name.restore(call));
    }
    let input = push(env, Arc::unwrap_or_clone(w.input), domain, rows)?;
    Ok(LogicalPlan::Window(Window::try_new(calls, Arc::new(input)).map_err(from_planner)?))
}

/// LIMIT and OFFSET for each row of the domain.
fn push_limit(env: &Env, l: Limit, domain: &Domain, rows: &LogicalPlan) -> Result<LogicalPlan, SqlError> {
    if let LogicalPlan::Projection(p) = l.input.as_ref() {
        // The order that counts may be by columns that are not selected.
        let limit = Limit { skip: l.skip.clone(), fetch: l.fetch.clone(), input: Arc::clone(&p.input) };
        return push(env, project(p.expr.clone(), LogicalPlan::Limit(limit))?, domain, rows);
    }
    let number = |e: &Option<Box<Expr>>| match e.as_deref() {
        None => Ok(None),
        Some(Expr::Literal(ScalarValue::Int64(n), _)) => Ok(*n),
        Some(_) => Err(unsupported("LIMIT with an expression")),
    };
    let (skip, fetch) = (number(&l.skip)?.unwrap_or(0), number(&l.fetch)?);
    let (input, order) = match Arc::unwrap_or_clone(l.input) {
        LogicalPlan::Sort(s) if s.fetch.is_none() => {
            let own = s.input.schema().as_ref().clone();
            let mut order = s.expr;
            for key in &mut order {
                key.expr = localized(key.expr.clone(), &own, &|c| domain.find(c))?;
            }
            (Arc::unwrap_or_clone(s.input), order)
        }
        other => (other, vec![]),
    };
    let pushed = super::decorrelate(env, push(env, input, domain, rows)?)?;
    let columns = pushed.schema().columns().into_iter().map(Expr::Column).collect();
    let (plan, number) = crate::ranked::numbered(env, pushed, domain.exprs(), order)?;
    let number = Expr::Column(number);
    let mut kept = number.clone().gt(lit(skip));
    if let Some(fetch) = fetch {
        kept = kept.and(number.lt_eq(lit(skip.saturating_add(fetch))));
    }
    project(columns, super::filtered(kept, plan)?)
}

fn unsupported(what: &str) -> SqlError {
    SqlError::unsupported(format!("{what} in a correlated subquery is not supported yet")).hint("Use a join.")
}

/// Expressions with the domain's columns, under the names that they had.
fn named(exprs: Vec<Expr>, own: &DFSchema, replace: &dyn Fn(&Column) -> Option<Column>) -> Result<Vec<Expr>, SqlError> {
    let names = NamePreserver::new_for_projection();
    let rename = |e: Expr| {
        let name = names.save(&e);
        Ok(name.restore(localized(e, own, replace)?))
    };
    exprs.into_iter().map(rename).collect()
}

/// VALUES as one SELECT a row.
pub(super) fn rows_of(v: &Values) -> Result<LogicalPlan, SqlError> {
    let one = LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, schema: Arc::new(DFSchema::empty()) });
    let mut inputs = vec![];
    for row in &v.values {
        let cells = row.iter().zip(v.schema.iter());
        let cells = cells.map(|(e, (q, f))| e.clone().alias_qualified(q.cloned(), f.name())).collect();
        inputs.push(Arc::new(project(cells, one.clone())?));
    }
    match inputs.len() {
        1 => Ok(Arc::unwrap_or_clone(inputs.remove(0))),
        _ => Ok(LogicalPlan::Union(Union::try_new(inputs).map_err(from_planner)?)),
    }
}

fn push_union(env: &Env, u: Union, domain: &Domain, rows: &LogicalPlan) -> Result<LogicalPlan, SqlError> {
    let plain: Vec<String> = (0..u.schema.fields().len()).map(|i| format!("u{i}")).collect();
    let mut inputs = vec![];
    for input in u.inputs {
        let columns = input.schema().columns();
        let pushed = push(env, Arc::unwrap_or_clone(input), domain, rows)?;
        let keys = domain.columns.iter().map(|d| Expr::Column(d.clone()).alias_qualified(None::<&str>, &d.name));
        let values = columns.into_iter().zip(&plain).map(|(c, n)| Expr::Column(c).alias_qualified(None::<&str>, n));
        inputs.push(Arc::new(project(keys.chain(values).collect(), pushed)?));
    }
    let union = LogicalPlan::Union(Union::try_new(inputs).map_err(from_planner)?);
    let (from, to): (Vec<Column>, Vec<Column>) = (plain.iter().map(Column::from_name).collect(), u.schema.columns());
    let keys: Vec<Column> = domain.columns.iter().map(|d| Column::from_name(&d.name)).collect();
    project(give(&keys, &domain.columns).into_iter().chain(give(&from, &to)).collect(), union)
}

fn push_join(env: &Env, j: Join, domain: &Domain, rows: &LogicalPlan) -> Result<LogicalPlan, SqlError> {
    let replace = |c: &Column| domain.find(c);
    let (left_schema, right_schema) = (j.left.schema().as_ref().clone(), j.right.schema().as_ref().clone());
    let both = input_schema(&LogicalPlan::Join(j.clone()));
    let filter = j.filter.map(|f| localized(f, &both, &replace)).transpose()?;
    let on =
        j.on.into_iter()
            .map(|(l, r)| Ok((localized(l, &left_schema, &replace)?, localized(r, &right_schema, &replace)?)))
            .collect::<Result<Vec<_>, SqlError>>()?;
    let remake = |left, right, on, filter, null_equality| {
        Join::try_new(
            Arc::new(left),
            Arc::new(right),
            on,
            filter,
            j.join_type,
            j.join_constraint,
            null_equality,
            j.null_aware,
        )
        .map(LogicalPlan::Join)
        .map_err(from_planner)
    };
    let (left, right) = (Arc::unwrap_or_clone(j.left), Arc::unwrap_or_clone(j.right));
    if is_lateral(&right) {
        // What it reads of the domain it finds on its left.
        let left = push(env, left, domain, rows)?;
        let right = renamed(right, &left_schema, &replace).map_err(from_planner)?;
        return remake(left, right, on, filter, j.null_equality);
    }
    let keeps_left = matches!(j.join_type, JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti);
    if keeps_left && !reads_outer(&right, domain) {
        return remake(push(env, left, domain, rows)?, right, on, filter, j.null_equality);
    }
    let keeps_right = matches!(j.join_type, JoinType::Inner | JoinType::Right);
    if keeps_right && !reads_outer(&left, domain) {
        return remake(left, push(env, right, domain, rows)?, on, filter, j.null_equality);
    }
    if !keeps_left && j.join_type != JoinType::Right {
        return Err(unsupported("a full join"));
    }
    // Both sides, of the same row of the domain.
    let (other, again) = domain.again(env, rows)?;
    let (kept, copied) = if keeps_left { (domain, &other) } else { (&other, domain) };
    let (of_left, of_right) = if keeps_left { (rows, &again) } else { (&again, rows) };
    let on_sides = |on: Vec<(Expr, Expr)>| {
        let renamed = |e: Expr| rename(e, domain, &other);
        let side = |(l, r)| Ok(if keeps_left { (l, renamed(r)?) } else { (renamed(l)?, r) });
        on.into_iter().map(side).collect::<Result<Vec<_>, SqlError>>()
    };
    let on = on_sides(on)?;
    let left = push(env, left, kept, of_left)?;
    let right = push(env, right, copied, of_right)?;
    let pairs = kept.columns.iter().cloned().zip(copied.columns.iter().cloned());
    let columns: Vec<Expr> = {
        let semi = matches!(j.join_type, JoinType::LeftSemi | JoinType::LeftAnti);
        let values = left_schema.columns().into_iter().chain(if semi { vec![] } else { right_schema.columns() });
        domain.exprs().into_iter().chain(values.map(Expr::Column)).collect()
    };
    let same_nulls = j.null_equality == NullEquality::NullEqualsNull || on.is_empty();
    let plan = if same_nulls {
        let keys = pairs.map(|(l, r)| (Expr::Column(l), Expr::Column(r)));
        remake(left, right, on.into_iter().chain(keys).collect(), filter, NullEquality::NullEqualsNull)?
    } else {
        let tests = pairs.map(|(l, r)| not_distinct(Expr::Column(l), Expr::Column(r)));
        let filter = tests.chain(filter).reduce(Expr::and);
        remake(left, right, on, filter, j.null_equality)?
    };
    project(columns, plan)
}

fn not_distinct(left: Expr, right: Expr) -> Expr {
    datafusion_expr::binary_expr(left, datafusion_expr::Operator::IsNotDistinctFrom, right)
}

fn rename(expr: Expr, from: &Domain, to: &Domain) -> Result<Expr, SqlError> {
    use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
    expr.transform_up(|e| match &e {
        Expr::Column(c) => Ok(match from.columns.iter().position(|d| d == c) {
            Some(at) => Transformed::yes(Expr::Column(to.columns[at].clone())),
            None => Transformed::no(e),
        }),
        _ => Ok(Transformed::no(e)),
    })
    .data()
    .map_err(from_planner)
}

/// An aggregate of everything: a row for each of `all`, computed of the rows that the input has for `some`.
pub(super) fn push_global(
    env: &Env,
    a: Aggregate,
    domain: &Domain,
    all: &LogicalPlan,
    some: &LogicalPlan,
) -> Result<LogicalPlan, SqlError> {
    let replace = |c: &Column| domain.find(c);
    let own = a.input.schema().as_ref().clone();
    let outputs: Vec<Column> = a.schema.columns();
    let aggregates =
        a.aggr_expr.into_iter().map(|e| localized(e, &own, &replace)).collect::<Result<Vec<_>, SqlError>>()?;
    let input = push(env, Arc::unwrap_or_clone(a.input), domain, some)?;
    // Subqueries in arguments are joined here, where these become columns.
    let (input, aggregates) = super::expressions(env, super::decorrelate(env, input)?, aggregates)?;
    let mut args = Arguments { exprs: vec![], nulls: vec![], schema: input.schema().as_ref().clone() };
    let flag = args.add(lit(true), lit(false));
    let mut calls = vec![];
    for (i, aggregate) in aggregates.into_iter().enumerate() {
        calls.push(args.moved(aggregate.unalias(), &flag)?.alias(format!("a{i}")));
    }
    let keys = || domain.columns.iter().map(|d| Expr::Column(d.clone()).alias_qualified(None::<&str>, &d.name));
    let matched = project(keys().chain(args.exprs).collect(), input)?;
    let none = project(keys().chain(args.nulls).collect(), all.clone())?;
    let union = Union::try_new(vec![Arc::new(matched), Arc::new(none)]).map_err(from_planner)?;
    let group: Vec<Column> = domain.columns.iter().map(|d| Column::from_name(&d.name)).collect();
    let by = group.iter().cloned().map(Expr::Column).collect();
    let plan = Aggregate::try_new(Arc::new(LogicalPlan::Union(union)), by, calls).map_err(from_planner)?;
    let plan = LogicalPlan::Aggregate(plan);
    let found: Vec<Column> = (0..outputs.len()).map(|i| Column::from_name(format!("a{i}"))).collect();
    project(give(&group, &domain.columns).into_iter().chain(give(&found, &outputs)).collect(), plan)
}

/// The arguments of aggregates as columns, and what stands for them in rows that are skipped.
struct Arguments {
    exprs: Vec<Expr>,
    nulls: Vec<Expr>,
    schema: DFSchema,
}

impl Arguments {
    fn add(&mut self, expr: Expr, none: Expr) -> Expr {
        let name = format!("x{}", self.exprs.len());
        self.exprs.push(expr.alias_qualified(None::<&str>, &name));
        self.nulls.push(none.alias_qualified(None::<&str>, &name));
        Expr::Column(Column::from_name(name))
    }

    fn argument(&mut self, expr: Expr) -> Result<Expr, SqlError> {
        if matches!(expr, Expr::Literal(..)) {
            return Ok(expr);
        }
        let (_, field) = expr.to_field(&self.schema).map_err(from_planner)?;
        let null = ScalarValue::try_from(field.data_type()).map_err(from_planner)?;
        let metadata = (!field.metadata().is_empty()).then(|| FieldMetadata::from(field.as_ref()));
        Ok(self.add(expr, Expr::Literal(null, metadata)))
    }

    fn moved(&mut self, aggregate: Expr, flag: &Expr) -> Result<Expr, SqlError> {
        let Expr::AggregateFunction(mut a) = aggregate else {
            return Err(SqlError::internal(format!("{aggregate} is no aggregate")));
        };
        a.params.args = a.params.args.into_iter().map(|e| self.argument(e)).collect::<Result<_, _>>()?;
        for key in &mut a.params.order_by {
            key.expr = self.argument(key.expr.clone())?;
        }
        a.params.filter = Some(Box::new(match a.params.filter {
            Some(condition) => self.add(*condition, lit(false)),
            None => flag.clone(),
        }));
        Ok(Expr::AggregateFunction(AggregateFunction { func: a.func, params: a.params }))
    }
}

/// A join whose right side, `query`, reads columns of its left.
pub(super) fn lateral(env: &Env, j: Join, query: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    if !matches!(j.join_type, JoinType::Inner | JoinType::Left) {
        return Err(SqlError::new(
            hw_repr::SqlState::new("42P10"),
            "invalid reference to FROM-clause entry: the combining JOIN type must be INNER or LEFT for a LATERAL reference",
        ));
    }
    if let Some(plan) = crate::sets::of_left(&j, &query)? {
        return Ok(plan);
    }
    let columns: Vec<Expr> =
        j.left.schema().columns().into_iter().chain(query.schema().columns()).map(Expr::Column).collect();
    let left = Arc::unwrap_or_clone(j.left);
    let refs = outer_references(&query);
    super::scope::check_aggregates(&query)?;
    if let Some((c, _)) = refs.iter().find(|(c, _)| !left.schema().has_column(c)) {
        return Err(SqlError::internal(format!("{c} is not there where LATERAL needs it")));
    }
    if !j.on.is_empty() {
        return Err(SqlError::unsupported("LATERAL with USING or NATURAL is not supported yet").hint("Use ON."));
    }
    let (on, right) = match refs.is_empty() {
        true => (vec![], super::decorrelate(env, query)?),
        false => {
            let domain = Domain::new(env, refs);
            let rows = domain.plan(env, &left, None)?;
            let pushed = super::decorrelate(env, push(env, query, &domain, &rows)?)?;
            let on = domain.outer.iter().cloned().zip(domain.columns.iter().cloned());
            (on.map(|(o, d)| (Expr::Column(o), Expr::Column(d))).collect(), pushed)
        }
    };
    let null_equality = if on.is_empty() { NullEquality::NullEqualsNothing } else { NullEquality::NullEqualsNull };
    let (left, right) = (Arc::new(left), Arc::new(right));
    if j.join_type == JoinType::Left {
        let join = Join::try_new(left, right, on, j.filter, JoinType::Left, JoinConstraint::On, null_equality, false);
        return project(columns, super::join(env, join.map_err(from_planner)?)?);
    }
    let join = Join::try_new(left, right, on, None, JoinType::Inner, JoinConstraint::On, null_equality, false);
    let mut plan = LogicalPlan::Join(join.map_err(from_planner)?);
    if let Some(condition) = j.filter {
        plan = super::filter(env, Filter::try_new(condition, Arc::new(plan)).map_err(from_planner)?)?;
    }
    project(columns, plan).map_err(external).map_err(from_planner)
}
