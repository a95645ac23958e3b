//! GROUPING SETS, ROLLUP and CUBE, which [`crate::prepare`] has written out as lists of sets, and GROUPING().
//!
//! The plan is one aggregate for each set, over an input that they share, and the union of them: so a set without keys has
//! its row even where there is no input, and keys that are NULL are told from those that a set leaves out. In a view the
//! input is maintained once; an ad-hoc read evaluates it for each set.
//!
//! In a correlated subquery nothing can be shared, as it is copied with its domain, and sets in sets would multiply: there
//! all sets with keys are one aggregate, whose first key is the number of the set.

use crate::emit::emit;
use crate::error::from_planner;
use crate::planner::Env;
use crate::typing::field_type;
use crate::value::to_literal;
use datafusion_common::{Column, DFSchemaRef, Result as DfResult, ScalarValue, TableReference};
use datafusion_expr::expr::{AggregateFunction, GroupingSet, ScalarFunction};
use datafusion_expr::logical_plan::{Extension, Projection, Union, UserDefinedLogicalNodeCore};
use datafusion_expr::utils::grouping_set_to_exprlist;
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan};
use hw_plan::{Func, ScalarExpr};
use hw_repr::array::ArrayValue;
use hw_repr::{Datum, SqlError, SqlState, SqlType};
use hw_scalar::sets::{Expand, set_udf};
use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Most sets, as in PostgreSQL.
const SETS_MAX: usize = 4096;

/// A column of the aggregate's output.
enum Output {
    /// The key at this position.
    Key(usize),
    /// GROUPING of the keys at these positions.
    Grouping(Vec<usize>),
    /// The aggregate at this position.
    Aggregate(usize),
}

/// What an aggregate with grouping sets is made of, before its expressions have types.
pub(crate) struct Shape {
    /// The keys of all sets, each once.
    pub exprs: Vec<Expr>,
    /// The aggregates, without GROUPING.
    pub aggregates: Vec<Expr>,
    /// Positions of keys.
    sets: Vec<Vec<usize>>,
    outputs: Vec<(Option<TableReference>, String, Output)>,
    is_plain: bool,
}

fn without_alias(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(a) => without_alias(&a.expr),
        other => other,
    }
}

impl Shape {
    /// Of an aggregate whose output is `schema`.
    pub fn of(group: &[Expr], aggregates: &[Expr], schema: &DFSchemaRef) -> Result<Shape, SqlError> {
        let exprs: Vec<Expr> = grouping_set_to_exprlist(group).map_err(from_planner)?.into_iter().cloned().collect();
        let place = |e: &Expr| exprs.iter().position(|x| without_alias(x) == without_alias(e));
        let sets = match group {
            [Expr::GroupingSet(GroupingSet::GroupingSets(sets))] => sets
                .iter()
                .map(|set| {
                    let places: Option<BTreeSet<usize>> = set.iter().map(place).collect();
                    let places = places.ok_or_else(|| SqlError::internal("a grouping set of other keys"))?;
                    Ok(places.into_iter().collect())
                })
                .collect::<Result<Vec<Vec<usize>>, SqlError>>()?,
            [Expr::GroupingSet(_)] => return Err(SqlError::internal("ROLLUP and CUBE are written out before")),
            _ => vec![(0..exprs.len()).collect()],
        };
        let is_sets = matches!(group, [Expr::GroupingSet(_)]);
        let (mut outputs, mut plain) = (vec![], vec![]);
        let mut fields = schema.iter().map(|(q, f)| (q.cloned(), f.name().clone()));
        for (i, (qualifier, name)) in fields.by_ref().take(exprs.len()).enumerate() {
            outputs.push((qualifier, name, Output::Key(i)));
        }
        // Behind the keys of sets there is a column that tells them apart.
        for ((qualifier, name), e) in fields.skip(usize::from(is_sets)).zip(aggregates) {
            let output = match without_alias(e) {
                Expr::AggregateFunction(f) if crate::aggregate::is_grouping(&f.func) => Output::Grouping(
                    f.params.args.iter().map(|a| place(a).ok_or_else(no_key)).collect::<Result<_, _>>()?,
                ),
                _ => {
                    plain.push(e.clone());
                    Output::Aggregate(plain.len() - 1)
                }
            };
            outputs.push((qualifier, name, output));
        }
        let is_plain = !is_sets && plain.len() == aggregates.len();
        if sets.len() > SETS_MAX {
            let message = format!("too many grouping sets present (maximum {SETS_MAX})");
            return Err(SqlError::new(SqlState::new("54001"), message));
        }
        Ok(Shape { exprs, aggregates: plain, sets, outputs, is_plain })
    }

    /// True for a GROUP BY without any of this.
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// The plan, by the typed keys and aggregates.
    pub fn plan(
        &self,
        env: &Env,
        input: Arc<LogicalPlan>,
        group: &[Expr],
        aggregates: &[Expr],
    ) -> Result<LogicalPlan, SqlError> {
        let mut branches = vec![];
        if self.sets.len() > 1 && self.is_correlated(env, &input, group, aggregates)? {
            branches = self.numbered(env, input, group, aggregates)?;
        } else {
            let input = match env.stored && self.sets.len() > 1 {
                true => share(env, input, group, aggregates)?,
                false => input,
            };
            for set in &self.sets {
                branches.push(Arc::new(self.branch(env, Arc::clone(&input), set, group, aggregates)?));
            }
        }
        let plan = match branches.len() {
            1 => branches.remove(0),
            _ => Arc::new(LogicalPlan::Union(Union::try_new(branches).map_err(from_planner)?)),
        };
        let columns = plan.schema().columns().into_iter().zip(&self.outputs);
        let named = columns.map(|(c, (q, name, _))| Expr::Column(c).alias_qualified(q.clone(), name)).collect();
        Ok(LogicalPlan::Projection(Projection::try_new(named, plan).map_err(from_planner)?))
    }

    /// True where the aggregate or what is below it reads columns of queries further out.
    fn is_correlated(
        &self,
        env: &Env,
        input: &Arc<LogicalPlan>,
        group: &[Expr],
        aggregates: &[Expr],
    ) -> Result<bool, SqlError> {
        let every: Vec<usize> = (0..group.len()).collect();
        let plan = self.branch(env, Arc::clone(input), &every, group, aggregates)?;
        Ok(!crate::decorrelate::outer_references(&plan).is_empty())
    }

    /// The rows of all sets in two branches at most: of those with keys, each row of the input standing once for each of
    /// them, and of those without, which differ in nothing.
    fn numbered(
        &self,
        env: &Env,
        input: Arc<LogicalPlan>,
        group: &[Expr],
        aggregates: &[Expr],
    ) -> Result<Vec<Arc<LogicalPlan>>, SqlError> {
        let (keyed, empty): (Vec<&[usize]>, Vec<&[usize]>) =
            self.sets.iter().map(Vec::as_slice).partition(|s| !s.is_empty());
        let mut branches = vec![];
        match keyed.as_slice() {
            [] => (),
            [one] => branches.push(Arc::new(self.branch(env, Arc::clone(&input), one, group, aggregates)?)),
            several => branches.push(Arc::new(self.keyed(env, Arc::clone(&input), several, group, aggregates)?)),
        }
        if !empty.is_empty() {
            let mut plan = self.branch(env, input, &[], group, aggregates)?;
            if empty.len() > 1 {
                let columns = plan.schema().columns().into_iter().map(Expr::Column).collect();
                let (copies, _) = times(env, Arc::new(plan), empty.len())?;
                plan = crate::decorrelate::project(columns, copies)?;
            }
            branches.push(Arc::new(plan));
        }
        Ok(branches)
    }

    /// The rows of these sets as one aggregate by the number of the set and by all their keys, NULL where a set leaves one
    /// out.
    fn keyed(
        &self,
        env: &Env,
        input: Arc<LogicalPlan>,
        sets: &[&[usize]],
        group: &[Expr],
        aggregates: &[Expr],
    ) -> Result<LogicalPlan, SqlError> {
        let ty = |e: &Expr| field_type(&e.to_field(input.schema()).map_err(from_planner)?.1);
        let types = group.iter().map(ty).collect::<Result<Vec<_>, SqlError>>()?;
        let (copies, number) = times(env, Arc::clone(&input), sets.len())?;
        let mut keys = vec![Expr::Column(number)];
        for ((at, key), ty) in group.iter().enumerate().zip(&types) {
            let with: Vec<bool> = sets.iter().map(|s| s.contains(&at)).collect();
            let null = ScalarExpr::Literal(Datum::Null, *ty);
            let key = match with.iter().all(|w| *w) {
                true => key.clone(),
                false => by_number(&keys[0], &with, |with| match with {
                    true => (ScalarExpr::Column(1, *ty), Some(key.clone())),
                    false => (null.clone(), None),
                })?,
            };
            keys.push(key);
        }
        let width = keys.len();
        let plan = crate::keys::group(Arc::new(copies), keys, aggregates.to_vec(), env.stored)?;
        let columns = plan.schema().columns();
        let column = |at: usize| {
            let found = columns.get(at).cloned().map(Expr::Column);
            found.ok_or_else(|| SqlError::internal("an aggregate without one of its columns"))
        };
        let number = column(0)?;
        let mut exprs = vec![];
        for (n, (_, _, output)) in self.outputs.iter().enumerate() {
            let expr = match output {
                Output::Key(key) => column(key + 1)?,
                Output::Aggregate(at) => column(width + at)?,
                Output::Grouping(keys) => {
                    let bits = sets.iter().map(|s| bits(s, keys)).collect::<Result<Vec<_>, _>>()?;
                    let value = |bits: i32| (ScalarExpr::Literal(Datum::Int4(bits), SqlType::Int4), None);
                    by_number(&number, &bits, value)?
                }
            };
            exprs.push(expr.alias(format!("hw_c{n}")));
        }
        crate::decorrelate::project(exprs, plan)
    }

    /// The rows of one set: all outputs, unqualified and numbered.
    fn branch(
        &self,
        env: &Env,
        input: Arc<LogicalPlan>,
        set: &[usize],
        group: &[Expr],
        aggregates: &[Expr],
    ) -> Result<LogicalPlan, SqlError> {
        let ty = |e: &Expr| field_type(&e.to_field(input.schema()).map_err(from_planner)?.1);
        let types = group.iter().map(ty).collect::<Result<Vec<_>, SqlError>>()?;
        let keys: Vec<Expr> = set.iter().map(|g| group[*g].clone()).collect();
        let mut all = aggregates.to_vec();
        if keys.is_empty() && all.is_empty() {
            all.push(count_rows()?);
        }
        let plan = crate::keys::group(input, keys, all, env.stored)?;
        let columns = plan.schema().columns();
        let column = |at: usize| columns.get(at).cloned().map(Expr::Column);
        let mut exprs = vec![];
        for (n, (_, _, output)) in self.outputs.iter().enumerate() {
            let expr = match output {
                Output::Key(key) => match set.iter().position(|s| s == key) {
                    Some(at) => column(at),
                    None => Some(to_literal(&Datum::Null, types[*key])?),
                },
                Output::Grouping(keys) => Some(to_literal(&Datum::Int4(bits(set, keys)?), SqlType::Int4)?),
                Output::Aggregate(at) => column(set.len() + at),
            };
            let expr = expr.ok_or_else(|| SqlError::internal("an aggregate without one of its columns"))?;
            exprs.push(expr.alias(format!("hw_c{n}")));
        }
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan)).map_err(from_planner)?))
    }
}

/// GROUPING of these keys in the rows of a set: a bit for each, the last the lowest, one where the set leaves it out.
fn bits(set: &[usize], keys: &[usize]) -> Result<i32, SqlError> {
    let bits = keys.iter().fold(0i64, |bits, k| bits << 1 | i64::from(!set.contains(k)));
    i32::try_from(bits).map_err(|_| too_many_arguments())
}

/// Every row so many times, with a column that counts them from zero.
fn times(env: &Env, input: Arc<LogicalPlan>, count: usize) -> Result<(LogicalPlan, Column), SqlError> {
    let count = i32::try_from(count).map_err(|_| SqlError::internal("more sets than there can be"))?;
    let numbers = ArrayValue::from_values(SqlType::Int4, (0..count).map(Datum::Int4).collect());
    let ty = SqlType::Int4.array_of().ok_or_else(|| SqlError::internal("no array of numbers"))?;
    let numbers = to_literal(&Datum::Array(Box::new(numbers)), ty)?;
    let call = ScalarFunction::new_udf(set_udf(Func::Unnest, &[ty], SqlType::Int4, 0), vec![numbers]);
    let calls = vec![Expr::ScalarFunction(call)];
    let node = Expand::new(input, calls, env.fresh_name("hw_group"), false, None).map_err(from_planner)?;
    let column = node.column(0, 0);
    Ok((crate::sets::plan_of(node), column))
}

/// What stands for the set of this number: `of[number]` as an expression over the number and what it gives beside it.
fn by_number<T: Copy + PartialEq>(
    number: &Expr,
    of: &[T],
    value: impl Fn(T) -> (ScalarExpr, Option<Expr>),
) -> Result<Expr, SqlError> {
    let mut different: Vec<T> = vec![];
    of.iter().for_each(|t| {
        if !different.contains(t) {
            different.push(*t)
        }
    });
    let last = different.pop().ok_or_else(|| SqlError::internal("no grouping set"))?;
    let mut slots = vec![number.clone()];
    let mut known = |t: T| {
        let (value, slot) = value(t);
        slots.extend(slot);
        value
    };
    let otherwise = Box::new(known(last));
    let mut branches = vec![];
    for t in different {
        let numbers = (0i32..).zip(of).filter(|(_, other)| **other == t);
        let is = |(n, _)| ScalarExpr::Call {
            func: Func::Eq,
            args: vec![ScalarExpr::Column(0, SqlType::Int4), ScalarExpr::Literal(Datum::Int4(n), SqlType::Int4)],
            ty: SqlType::Bool,
        };
        branches.push((ScalarExpr::Or(numbers.map(is).collect()), known(t)));
    }
    if branches.is_empty() {
        return emit(&otherwise, &slots);
    }
    emit(&ScalarExpr::Case { branches, otherwise }, &slots)
}

fn no_key() -> SqlError {
    let message = "arguments to GROUPING must be grouping expressions of the associated query level";
    SqlError::new(SqlState::new("42803"), message)
}

fn too_many_arguments() -> SqlError {
    SqlError::new(SqlState::new("54023"), "GROUPING must have fewer than 32 arguments")
}

fn count_rows() -> Result<Expr, SqlError> {
    let count = crate::aggregate::aggregate_by_name("count").ok_or_else(|| SqlError::internal("there is no count"))?;
    let one = Expr::Literal(ScalarValue::Boolean(Some(true)), None);
    Ok(Expr::AggregateFunction(AggregateFunction::new_udf(count, vec![one], false, None, vec![], None)))
}

/// The columns of the input that the aggregates read, as a node that all of them share.
fn share(
    env: &Env,
    input: Arc<LogicalPlan>,
    group: &[Expr],
    aggregates: &[Expr],
) -> Result<Arc<LogicalPlan>, SqlError> {
    let read = |e| crate::decorrelate::columns_read(e, input.schema());
    let used: Vec<_> = group.iter().chain(aggregates).flat_map(read).collect();
    let columns = input.schema().columns().into_iter().filter(|c| used.contains(c)).map(Expr::Column).collect();
    let narrow = LogicalPlan::Projection(Projection::try_new(columns, input).map_err(from_planner)?);
    let node = SharedInput { id: env.fresh_number(), input: Arc::new(narrow) };
    Ok(Arc::new(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
}

/// A plan that stands at several places of a view's plan and is to be maintained once. No optimizer rule looks through it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub(crate) struct SharedInput {
    /// Which: the same wherever it stands.
    pub id: u32,
    /// What it is.
    pub input: Arc<LogicalPlan>,
}

impl SharedInput {
    /// The node, where it is one.
    pub fn of(extension: &Extension) -> Option<&SharedInput> {
        let node: &dyn Any = extension.node.as_any();
        node.downcast_ref::<SharedInput>()
    }
}

impl UserDefinedLogicalNodeCore for SharedInput {
    fn name(&self) -> &str {
        "Shared"
    }
    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }
    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }
    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }
    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Shared s{}", self.id)
    }
    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DfResult<SharedInput> {
        let input = inputs.pop().map_or_else(|| Arc::clone(&self.input), Arc::new);
        Ok(SharedInput { id: self.id, input })
    }
}
