//! Expressions of a plan as ours over slots, to see when an operand is computed.

use crate::error::from_planner;
use crate::typing::field_type;
use crate::value::from_scalar_value;
use datafusion_common::{Column, DFSchema};
use datafusion_expr::{Expr, ExprSchemable, LogicalPlan, Operator};
use hw_plan::{Func, ScalarExpr};
use hw_repr::{Datum, SqlError, SqlType};
use hw_scalar::{ScalarExprUdf, comparison};

/// Reads plan expressions; what is none of ours (columns, aggregates, subqueries) becomes a slot.
pub(super) struct Lift {
    schema: DFSchema,
    /// What the columns of the lifted expressions stand for.
    pub slots: Vec<Expr>,
}

impl Lift {
    pub fn new(schema: DFSchema) -> Self {
        Lift { schema, slots: vec![] }
    }

    /// The expression over slots.
    pub fn lift(&mut self, expr: &Expr) -> Result<ScalarExpr, SqlError> {
        Ok(match expr {
            Expr::Alias(a) => self.lift(&a.expr)?,
            Expr::Literal(value, metadata) => {
                let (datum, ty) = from_scalar_value(value, metadata.as_ref())?;
                ScalarExpr::Literal(datum, ty)
            }
            Expr::Not(e) => ScalarExpr::Not(Box::new(self.lift(e)?)),
            Expr::IsNull(e) => ScalarExpr::IsNull(Box::new(self.lift(e)?)),
            Expr::IsNotNull(e) => ScalarExpr::Not(Box::new(ScalarExpr::IsNull(Box::new(self.lift(e)?)))),
            Expr::BinaryExpr(b) => {
                let (left, right) = (self.lift(&b.left)?, self.lift(&b.right)?);
                match b.op {
                    Operator::And => ScalarExpr::And(flat(left, right, true)),
                    Operator::Or => ScalarExpr::Or(flat(left, right, false)),
                    op => {
                        let func =
                            comparison(op).ok_or_else(|| SqlError::internal(format!("operator {op} in a plan")))?;
                        super::compare(func, left, right)
                    }
                }
            }
            Expr::InList(l) => {
                let needle = self.lift(&l.expr)?;
                let mut tests = vec![];
                for item in &l.list {
                    tests.push(super::compare(Func::Eq, needle.clone(), self.lift(item)?));
                }
                let any = ScalarExpr::Or(tests);
                if l.negated { ScalarExpr::Not(Box::new(any)) } else { any }
            }
            Expr::ScalarFunction(f) if ScalarExprUdf::expr(&f.func).is_some() => {
                let inner = ScalarExprUdf::expr(&f.func).ok_or_else(|| SqlError::internal("a function was lost"))?;
                let args = f.args.iter().map(|a| self.lift(a)).collect::<Result<Vec<_>, _>>()?;
                if inner.columns().iter().any(|c| *c >= args.len()) {
                    return Err(SqlError::internal("a function reads an argument it does not have"));
                }
                hw_plan::transform::substitute(inner, &args)
            }
            other => self.add(other.clone(), None)?,
        })
    }

    fn add(&mut self, expr: Expr, schema: Option<&DFSchema>) -> Result<ScalarExpr, SqlError> {
        let ty = match &expr {
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => SqlType::Bool,
            other => {
                let (_, field) = other.to_field(schema.unwrap_or(&self.schema)).map_err(from_planner)?;
                field_type(&field)?
            }
        };
        let at = self.slots.iter().position(|s| *s == expr).unwrap_or_else(|| {
            self.slots.push(expr);
            self.slots.len() - 1
        });
        Ok(ScalarExpr::Column(at, ty))
    }

    /// A column that `plan` has by now.
    pub fn column(&mut self, plan: &LogicalPlan, column: Option<&Column>) -> Result<ScalarExpr, SqlError> {
        let column = column.ok_or_else(|| SqlError::internal("a column of a subquery was lost"))?;
        self.add(Expr::Column(column.clone()), Some(plan.schema()))
    }

    /// A column or a literal over `plan`.
    pub fn slot(&mut self, plan: &LogicalPlan, expr: Expr) -> Result<ScalarExpr, SqlError> {
        match expr {
            Expr::Literal(..) => self.lift(&expr),
            other => self.add(other, Some(plan.schema())),
        }
    }

    /// An expression over `plan`, which may have columns that were not there at first.
    pub fn again(&mut self, plan: &LogicalPlan, expr: &Expr) -> Result<ScalarExpr, SqlError> {
        self.schema = plan.schema().as_ref().clone();
        self.lift(expr)
    }

    /// The slots that `wanted` holds of, in the order in which the expression comes to them.
    pub fn in_order(&self, expr: &ScalarExpr, wanted: impl Fn(&Expr) -> bool) -> Vec<usize> {
        fn walk(e: &ScalarExpr, out: &mut Vec<usize>) {
            if let ScalarExpr::Column(i, _) = e
                && !out.contains(i)
            {
                out.push(*i);
            }
            e.children().into_iter().for_each(|c| walk(c, out));
        }
        let mut found = vec![];
        walk(expr, &mut found);
        found.retain(|i| self.slots.get(*i).is_some_and(&wanted));
        found
    }
}

fn flat(left: ScalarExpr, right: ScalarExpr, and: bool) -> Vec<ScalarExpr> {
    [left, right]
        .into_iter()
        .flat_map(|e| match e {
            ScalarExpr::And(all) if and => all,
            ScalarExpr::Or(all) if !and => all,
            other => vec![other],
        })
        .collect()
}

/// `expr` with `value` in the place of a slot.
pub(super) fn replaced(expr: &ScalarExpr, slot: usize, value: &ScalarExpr) -> ScalarExpr {
    let last = expr.columns().into_iter().max().unwrap_or(0).max(slot);
    let mut types = vec![SqlType::Bool; last + 1];
    fn note(e: &ScalarExpr, types: &mut [SqlType]) {
        if let ScalarExpr::Column(i, ty) = e {
            types[*i] = *ty;
        }
        e.children().into_iter().for_each(|c| note(c, types));
    }
    note(expr, &mut types);
    let mut columns: Vec<ScalarExpr> = types.into_iter().enumerate().map(|(i, t)| ScalarExpr::Column(i, t)).collect();
    columns[slot] = value.clone();
    hw_plan::transform::substitute(expr, &columns)
}

/// When the value of `slot` is looked at: `None` where that is always, or cannot be told without one of the `open` slots.
pub(super) fn demand(expr: &ScalarExpr, slot: usize, open: &[usize]) -> Option<ScalarExpr> {
    let mut ways = vec![];
    collect(expr, slot, &mut vec![], &mut ways);
    // A condition that reads the slot itself comes after another place that does.
    ways.retain(|way| !way.iter().any(|c| c.columns().contains(&slot)));
    let closed = ways.iter().flatten().all(|c| !c.columns().iter().any(|i| open.contains(i)));
    if !closed || ways.iter().any(Vec::is_empty) {
        return None;
    }
    let mut ways: Vec<ScalarExpr> = ways.into_iter().map(|w| one_or(w, ScalarExpr::And)).collect();
    ways.dedup();
    match ways.is_empty() {
        true => None,
        false => Some(one_or(ways, ScalarExpr::Or)),
    }
}

fn one_or(mut all: Vec<ScalarExpr>, many: impl Fn(Vec<ScalarExpr>) -> ScalarExpr) -> ScalarExpr {
    if all.len() == 1 { all.remove(0) } else { many(all) }
}

fn or_else(e: &ScalarExpr, value: bool) -> ScalarExpr {
    ScalarExpr::Coalesce(vec![e.clone(), ScalarExpr::Literal(Datum::Bool(value), SqlType::Bool)])
}

/// Adds, for every place of the slot, the conditions under which it is come to.
fn collect(expr: &ScalarExpr, slot: usize, path: &mut Vec<ScalarExpr>, ways: &mut Vec<Vec<ScalarExpr>>) {
    if let ScalarExpr::Column(i, _) = expr
        && *i == slot
    {
        ways.push(path.clone());
        return;
    }
    if !expr.columns().contains(&slot) {
        return;
    }
    let depth = path.len();
    let negated = |e: ScalarExpr| ScalarExpr::Not(Box::new(e));
    match expr {
        ScalarExpr::And(all) => {
            for operand in all {
                collect(operand, slot, path, ways);
                path.push(or_else(operand, true));
            }
        }
        ScalarExpr::Or(all) => {
            for operand in all {
                collect(operand, slot, path, ways);
                path.push(negated(or_else(operand, false)));
            }
        }
        ScalarExpr::Coalesce(all) => {
            for operand in all {
                collect(operand, slot, path, ways);
                path.push(ScalarExpr::IsNull(Box::new(operand.clone())));
            }
        }
        ScalarExpr::Case { branches, otherwise } => {
            for (condition, result) in branches {
                collect(condition, slot, path, ways);
                path.push(or_else(condition, false));
                collect(result, slot, path, ways);
                path.pop();
                path.push(negated(or_else(condition, false)));
            }
            collect(otherwise, slot, path, ways);
        }
        other => other.children().into_iter().for_each(|c| collect(c, slot, path, ways)),
    }
    path.truncate(depth);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(i: usize) -> ScalarExpr {
        ScalarExpr::Column(i, SqlType::Bool)
    }

    #[test]
    fn an_operand_is_asked_for_behind_what_stands_before_it() {
        assert_eq!(demand(&ScalarExpr::And(vec![slot(1), slot(0)]), 1, &[1]), None);
        assert_eq!(demand(&ScalarExpr::And(vec![slot(0), slot(1)]), 1, &[1]), Some(or_else(&slot(0), true)));
        let case = ScalarExpr::Case { branches: vec![(slot(0), slot(1))], otherwise: Box::new(slot(1)) };
        let yes = or_else(&slot(0), false);
        let no = ScalarExpr::Not(Box::new(yes.clone()));
        assert_eq!(demand(&case, 1, &[1]), Some(ScalarExpr::Or(vec![yes, no])));
    }

    #[test]
    fn a_repeated_operand_is_asked_for_where_it_stands_first() {
        let both = ScalarExpr::Or(vec![slot(0), slot(1), slot(1)]);
        let first = ScalarExpr::Not(Box::new(or_else(&slot(0), false)));
        assert_eq!(demand(&both, 1, &[1]), Some(first));
    }
}
