//! Filters of a plan as conditions over the columns of a relation, from which [`hw_plan::seek`] says what is sought.
//!
//! The filter itself stays in the plan, so a seek only has to return every row that can pass.

mod computed;

use crate::provider::QueryTable;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use hw_plan::seek::{Fixed, Way};
use hw_plan::{Func, ScalarExpr};
use hw_repr::{Datum, PublishedRelation, RelationDesc, SqlType};
use std::sync::Arc;

/// Adds what must hold for `filter` to be true; expressions only where an index has such.
pub(crate) fn add_filter(fixed: &mut Fixed, filter: &Expr, table: &QueryTable) {
    collect_equalities(filter, table.desc(), fixed);
    if let QueryTable::Snapshot { desc, computed, .. } = table
        && !computed.is_empty()
    {
        computed::collect(filter, desc, fixed);
    }
}

/// True where a condition fails for no row of the relation: it cannot, or an index has what it compares, of every row.
pub(crate) fn never_fails(condition: &Expr, table: &QueryTable) -> bool {
    let known: Vec<&ScalarExpr> = match table {
        QueryTable::Snapshot { computed, .. } => computed.iter().flat_map(|c| c.expressions.iter()).collect(),
        _ => vec![],
    };
    computed::lowered(condition, table.desc()).is_some_and(|e| hw_scalar::never_fails(&e, &|e| known.contains(&e)))
}

/// An arrangement of a relation's rows.
pub(crate) struct Arranged<'a> {
    /// The rows.
    pub published: &'a Arc<PublishedRelation>,
    /// By what they are arranged.
    pub way: Way<'a>,
}

impl<'a> Arranged<'a> {
    /// Of a relation that is `desc`, and of what is computed of it.
    pub(crate) fn new(
        desc: &RelationDesc,
        published: &'a Arc<PublishedRelation>,
        expressions: &'a [ScalarExpr],
    ) -> Arranged<'a> {
        let types = desc.columns.iter().map(|c| c.ty).chain(expressions.iter().map(ScalarExpr::ty)).collect();
        Arranged { published, way: Way { key: &published.key, types, expressions } }
    }
}

/// Adds the equalities that must hold for `filter` to be true.
fn collect_equalities(filter: &Expr, desc: &RelationDesc, out: &mut Fixed) {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            collect_equalities(left, desc, out);
            collect_equalities(right, desc, out);
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            if let (Some(l), Some(r)) = (operand(left, desc), operand(right, desc)) {
                out.add_equal(&l, &r);
                out.add_equal(&r, &l);
            }
        }
        Expr::ScalarFunction(call) => {
            let Some(expr) = hw_scalar::ScalarExprUdf::expr(&call.func) else { return };
            let args: Vec<Option<ScalarExpr>> = call.args.iter().map(|a| operand(a, desc)).collect();
            collect_from_scalar(expr, &args, out);
        }
        Expr::Column(_) => {
            if let Some(ScalarExpr::Column(at, SqlType::Bool)) = operand(filter, desc) {
                out.columns.insert(at, Datum::Bool(true));
            }
        }
        _ => {}
    }
}

/// The same for our own expression over `args`: what each of its columns stands for.
fn collect_from_scalar(expr: &ScalarExpr, args: &[Option<ScalarExpr>], out: &mut Fixed) {
    match expr {
        ScalarExpr::And(all) => all.iter().for_each(|e| collect_from_scalar(e, args, out)),
        ScalarExpr::Call { func: Func::Eq, args: sides, .. } if sides.len() == 2 => {
            if let (Some(l), Some(r)) = (substitute(&sides[0], args), substitute(&sides[1], args)) {
                out.add_equal(&l, &r);
                out.add_equal(&r, &l);
            }
        }
        _ => {}
    }
}

fn substitute(side: &ScalarExpr, args: &[Option<ScalarExpr>]) -> Option<ScalarExpr> {
    match side {
        ScalarExpr::Column(i, _) => args.get(*i)?.clone(),
        ScalarExpr::Literal(..) => Some(side.clone()),
        _ => None,
    }
}

/// A column of the relation or a constant; `None` for anything else.
fn operand(expr: &Expr, desc: &RelationDesc) -> Option<ScalarExpr> {
    match expr {
        Expr::Column(column) => {
            let mut named = desc.columns.iter().enumerate().filter(|(_, c)| c.name == column.name);
            let (at, found) = named.next()?;
            named.next().is_none().then_some(ScalarExpr::Column(at, found.ty))
        }
        Expr::Literal(value, _) => literal(value),
        Expr::Alias(alias) => operand(&alias.expr, desc),
        _ => None,
    }
}

fn literal(value: &ScalarValue) -> Option<ScalarExpr> {
    let ty = SqlType::from_arrow(&value.data_type())?;
    let array = value.to_array().ok()?;
    Some(ScalarExpr::Literal(Datum::from_array(array.as_ref(), 0, ty).ok()?, ty))
}
