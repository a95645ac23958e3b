//! Joins of every kind from inner joins, unions and negation.
//!
//! A side's rows without a partner are the side less its rows with one; those are found by the distinct keys of the other
//! side, or, where the condition is more than equalities, by the distinct values that the condition reads of the pairs
//! that it lets through. So each row counts as often as it is there, whatever becomes of its partners.

use super::{Lowering, conjuncts, lower_expr, names, refuse};
use crate::error::from_planner;
use datafusion_common::{DFSchema, JoinType, NullEquality};
use datafusion_expr::logical_plan::Join;
use hw_plan::{FlowPlan, ScalarExpr};
use hw_repr::{Datum, SqlError, SqlType};

/// One input of a join: its columns, then computed keys.
struct Side {
    plan: FlowPlan,
    arity: usize,
    extra: Vec<ScalarExpr>,
    names: Vec<String>,
}

impl Side {
    fn new(plan: FlowPlan, schema: &DFSchema) -> Self {
        Side { arity: plan.types().len(), plan, extra: vec![], names: names(schema) }
    }

    fn key(&mut self, e: ScalarExpr) -> usize {
        if let ScalarExpr::Column(c, _) = e {
            return c;
        }
        if let Some(found) = self.extra.iter().position(|x| *x == e) {
            return self.arity + found;
        }
        self.extra.push(e);
        self.names.push(format!("key{}", self.extra.len()));
        self.arity + self.extra.len() - 1
    }

    fn finish(self) -> FlowPlan {
        if self.extra.is_empty() {
            return self.plan;
        }
        let types = self.plan.types().into_iter().enumerate();
        let project = types.map(|(i, t)| ScalarExpr::Column(i, t)).chain(self.extra).collect();
        FlowPlan::Mfp { input: Box::new(self.plan), filter: vec![], project, names: self.names }
    }
}

/// A column of a plan's output.
fn column(types: &[SqlType], at: usize) -> ScalarExpr {
    ScalarExpr::Column(at, types[at])
}

fn projected(input: FlowPlan, project: Vec<ScalarExpr>, names: Vec<String>) -> FlowPlan {
    FlowPlan::Mfp { input: Box::new(input), filter: vec![], project, names }
}

fn unnamed(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("c{i}")).collect()
}

/// What is joined, ready to be read several times.
struct Sides {
    /// Left and right, with their computed keys.
    plans: [FlowPlan; 2],
    /// Their columns without the keys.
    arity: [usize; 2],
    on: Vec<(usize, usize)>,
    null_safe: Vec<bool>,
    /// Over the columns of both, keys included.
    filter: Vec<ScalarExpr>,
}

impl Sides {
    fn width(&self, side: usize) -> usize {
        self.plans[side].types().len()
    }

    /// The first column of a side in the pairs.
    fn offset(&self, side: usize) -> usize {
        if side == 0 { 0 } else { self.width(0) }
    }

    fn key(&self, side: usize, at: usize) -> usize {
        let (l, r) = self.on[at];
        if side == 0 { l } else { r }
    }

    /// All columns of the pairs, before the filter.
    fn joined(&self) -> FlowPlan {
        let [left, right] = self.plans.clone();
        let (on, null_safe) = (self.on.clone(), self.null_safe.clone());
        FlowPlan::Join { left: Box::new(left), right: Box::new(right), on, null_safe }
    }

    /// All columns of the pairs, filtered.
    fn pairs(&self) -> FlowPlan {
        let join = self.joined();
        if self.filter.is_empty() {
            return join;
        }
        let types = join.types();
        let project = (0..types.len()).map(|c| column(&types, c)).collect();
        FlowPlan::Mfp { input: Box::new(join), filter: self.filter.clone(), project, names: unnamed(types.len()) }
    }

    /// Columns of both sides, without computed keys, from all of the pairs.
    fn shown(&self, pairs: FlowPlan, names: &[String]) -> FlowPlan {
        let types = pairs.types();
        let second = self.offset(1);
        let kept = (0..self.arity[0]).chain(second..second + self.arity[1]);
        projected(pairs, kept.map(|c| column(&types, c)).collect(), names.to_vec())
    }

    /// The rows of a side that have a partner, without computed keys. `pairs` are shared where there is a filter.
    fn matched(&self, side: usize, pairs: Option<&FlowPlan>) -> FlowPlan {
        let own = self.plans[side].types();
        let (of_other, own_columns, null_safe) = match pairs {
            None => {
                let other = &self.plans[1 - side];
                let types = other.types();
                let keys = (0..self.on.len()).map(|i| column(&types, self.key(1 - side, i))).collect();
                let own_columns = (0..self.on.len()).map(|i| self.key(side, i)).collect();
                (projected(other.clone(), keys, unnamed(self.on.len())), own_columns, self.null_safe.clone())
            }
            Some(pairs) => {
                let (types, offset) = (pairs.types(), self.offset(side));
                let mut read: Vec<usize> = self.filter.iter().flat_map(ScalarExpr::columns).collect();
                read.retain(|c| (offset..offset + own.len()).contains(c));
                read.extend((0..self.on.len()).map(|i| offset + self.key(side, i)));
                read.sort_unstable();
                read.dedup();
                let keys = read.iter().map(|c| column(&types, *c)).collect();
                let width = read.len();
                let own_columns: Vec<usize> = read.iter().map(|c| c - offset).collect();
                (projected(pairs.clone(), keys, unnamed(width)), own_columns, vec![true; width])
            }
        };
        let on = own_columns.iter().enumerate().map(|(i, c)| (*c, i)).collect();
        let keys = Box::new(FlowPlan::Distinct { input: Box::new(of_other) });
        let join = FlowPlan::Join { left: Box::new(self.plans[side].clone()), right: keys, on, null_safe };
        projected(join, (0..self.arity[side]).map(|c| column(&own, c)).collect(), unnamed(self.arity[side]))
    }

    /// The rows of a side that have none.
    fn unmatched(&self, side: usize, matched: FlowPlan) -> FlowPlan {
        let types = self.plans[side].types();
        let all = (0..self.arity[side]).map(|c| column(&types, c)).collect();
        let all = projected(self.plans[side].clone(), all, unnamed(self.arity[side]));
        FlowPlan::Union { inputs: vec![all, FlowPlan::Negate { input: Box::new(matched) }] }
    }

    /// The same with NULLs for the other side.
    fn padded(&self, side: usize, rows: FlowPlan, names: &[String]) -> FlowPlan {
        let types = rows.types();
        let other = self.plans[1 - side].types();
        let nulls = other.iter().take(self.arity[1 - side]).map(|t| ScalarExpr::Literal(Datum::Null, *t));
        let own = (0..types.len()).map(|c| column(&types, c));
        let project = if side == 0 { own.chain(nulls).collect() } else { nulls.chain(own).collect() };
        projected(rows, project, names.to_vec())
    }
}

impl Lowering<'_> {
    pub(super) fn join(&self, j: &Join) -> Result<FlowPlan, SqlError> {
        if j.null_aware || matches!(j.join_type, JoinType::LeftMark | JoinType::RightMark) {
            return Err(refuse(&format!("a {} join", j.join_type), "Read it in an ad-hoc SELECT."));
        }
        let names = names(&j.schema);
        let mut sides = self.sides(j)?;
        if j.join_type == JoinType::Inner {
            let mut shown = sides.shown(sides.joined(), &names);
            if let FlowPlan::Mfp { filter, .. } = &mut shown {
                *filter = sides.filter;
            }
            return Ok(shown);
        }
        for plan in &mut sides.plans {
            *plan = self.bind(plan.clone());
        }
        let (one, other) = match j.join_type {
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => (0, None),
            JoinType::Full => (0, Some(1)),
            _ => (1, None),
        };
        let pairs = (!sides.filter.is_empty()).then(|| self.bind(sides.pairs()));
        let matched = |side| sides.matched(side, pairs.as_ref());
        match j.join_type {
            JoinType::LeftSemi | JoinType::RightSemi => return Ok(matched(one)),
            JoinType::LeftAnti | JoinType::RightAnti => return Ok(sides.unmatched(one, matched(one))),
            _ => {}
        }
        let mut inputs = vec![sides.shown(pairs.clone().unwrap_or_else(|| sides.pairs()), &names)];
        for side in [Some(one), other].into_iter().flatten() {
            inputs.push(sides.padded(side, sides.unmatched(side, matched(side)), &names));
        }
        Ok(FlowPlan::Union { inputs })
    }

    fn sides(&self, j: &Join) -> Result<Sides, SqlError> {
        let (left, right) = (self.plan(&j.left)?, self.plan(&j.right)?);
        let (mut left, mut right) = (Side::new(left, j.left.schema()), Side::new(right, j.right.schema()));
        let mut on = vec![];
        for (l, r) in &j.on {
            let (l, r) = (lower_expr(l, j.left.schema())?, lower_expr(r, j.right.schema())?);
            if l.ty().arrow() != r.ty().arrow() {
                return Err(SqlError::internal(format!("join keys of types {} and {}", l.ty(), r.ty())));
            }
            on.push((left.key(l), right.key(r)));
        }
        if on.is_empty() {
            // Every row meets every row: by a key that all have.
            let one = || ScalarExpr::Literal(Datum::Bool(true), SqlType::Bool);
            on.push((left.key(one()), right.key(one())));
        }
        let null_safe = vec![j.null_equality == NullEquality::NullEqualsNull; on.len()];
        let arity = [left.arity, right.arity];
        let plans = [left.finish(), right.finish()];
        // Computed keys stand between the columns of the two sides.
        let second = plans[0].types().len();
        let filter = match &j.filter {
            Some(f) => {
                let mut f = lower_expr(f, &j.left.schema().join(j.right.schema()).map_err(from_planner)?)?;
                f.map_columns(&mut |c| if c < arity[0] { c } else { second + c - arity[0] });
                conjuncts(f)
            }
            None => vec![],
        };
        Ok(Sides { plans, arity, on, null_safe, filter })
    }
}
