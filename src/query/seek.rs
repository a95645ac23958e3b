//! Filters that become seeks: `key = constant` on a prefix of an arrangement's key.
//!
//! The filter itself stays in the plan, so a seek only has to return every row that can pass.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use hw_plan::{Func, ScalarExpr};
use hw_repr::encoding::RowCodec;
use hw_repr::{Datum, PublishedRelation, RelationDesc, SqlType};
use std::collections::BTreeMap;

/// `column = value` conjuncts by position of the column.
pub(crate) type Equalities = BTreeMap<usize, Datum>;

/// True where two values are equal exactly if their encodings are.
fn seekable(ty: SqlType) -> bool {
    !matches!(ty, SqlType::Numeric(None) | SqlType::Float4 | SqlType::Float8 | SqlType::Interval | SqlType::Jsonb)
}

/// True where `datum` is a value of `ty`, so that encoding it as `ty` is sound.
fn fits(datum: &Datum, ty: SqlType) -> bool {
    match (datum, ty) {
        (Datum::Bool(_), SqlType::Bool)
        | (Datum::Int2(_), SqlType::Int2)
        | (Datum::Int4(_), SqlType::Int4)
        | (Datum::Int8(_), SqlType::Int8)
        | (Datum::Text(_), SqlType::Text | SqlType::Varchar(_))
        | (Datum::Bytea(_), SqlType::Bytea)
        | (Datum::Date(_), SqlType::Date)
        | (Datum::Time(_), SqlType::Time)
        | (Datum::Timestamp(_), SqlType::Timestamp)
        | (Datum::TimestampTz(_), SqlType::TimestampTz)
        | (Datum::Uuid(_), SqlType::Uuid) => true,
        (Datum::Numeric(n), SqlType::Numeric(Some((_, scale)))) => n.scale().map(i64::from) == Some(i64::from(scale)),
        _ => false,
    }
}

/// The encoded bytes with which rows whose key starts with `values` begin; `None` where they cannot be told.
pub(crate) fn encode_prefix(types: &[SqlType], published: &PublishedRelation, values: &[Datum]) -> Option<Vec<u8>> {
    if values.len() > published.key.len() {
        return None;
    }
    let key: Vec<SqlType> =
        published.key.iter().take(values.len()).map(|c| types.get(*c).copied()).collect::<Option<_>>()?;
    if !key.iter().zip(values).all(|(ty, d)| seekable(*ty) && fits(d, *ty)) {
        return None;
    }
    let mut out = vec![];
    RowCodec::new(&key).encode_datums(values, &mut out).ok()?;
    Some(out)
}

/// The values of the key's first columns, as far as `equalities` fix them.
fn fixed_prefix(published: &PublishedRelation, equalities: &Equalities) -> Vec<Datum> {
    published.key.iter().map_while(|c| equalities.get(c).cloned()).collect()
}

/// The longest usable key prefix that `equalities` fix, encoded; empty where there is none.
pub(crate) fn prefix_of(desc: &RelationDesc, published: &PublishedRelation, equalities: &Equalities) -> Vec<u8> {
    let types = desc.types();
    let values = fixed_prefix(published, equalities);
    (1..=values.len()).rev().find_map(|n| encode_prefix(&types, published, &values[..n])).unwrap_or_default()
}

/// True where `equalities` fix the whole key.
pub(crate) fn fixes_key(desc: &RelationDesc, published: &PublishedRelation, equalities: &Equalities) -> bool {
    let values = fixed_prefix(published, equalities);
    values.len() == published.key.len() && encode_prefix(&desc.types(), published, &values).is_some()
}

/// Adds the equalities that must hold for `filter` to be true.
pub(crate) fn collect_equalities(filter: &Expr, desc: &RelationDesc, out: &mut Equalities) {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            collect_equalities(left, desc, out);
            collect_equalities(right, desc, out);
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            if let (Some(l), Some(r)) = (operand(left, desc), operand(right, desc)) {
                add(&l, &r, out);
            }
        }
        Expr::ScalarFunction(call) => {
            let Some(expr) = hw_scalar::ScalarExprUdf::expr(&call.func) else { return };
            let args: Vec<Option<ScalarExpr>> = call.args.iter().map(|a| operand(a, desc)).collect();
            collect_from_scalar(expr, &args, out);
        }
        Expr::Column(_) => {
            if let Some(ScalarExpr::Column(at, SqlType::Bool)) = operand(filter, desc) {
                out.insert(at, Datum::Bool(true));
            }
        }
        _ => {}
    }
}

/// The same for our own expression over `args`: what each of its columns stands for.
fn collect_from_scalar(expr: &ScalarExpr, args: &[Option<ScalarExpr>], out: &mut Equalities) {
    match expr {
        ScalarExpr::And(all) => all.iter().for_each(|e| collect_from_scalar(e, args, out)),
        ScalarExpr::Call { func: Func::Eq, args: sides, .. } if sides.len() == 2 => {
            if let (Some(l), Some(r)) = (substitute(&sides[0], args), substitute(&sides[1], args)) {
                add(&l, &r, out);
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

fn add(left: &ScalarExpr, right: &ScalarExpr, out: &mut Equalities) {
    if let (ScalarExpr::Column(at, ty), ScalarExpr::Literal(value, of))
    | (ScalarExpr::Literal(value, of), ScalarExpr::Column(at, ty)) = (left, right)
        && same_family(*ty, *of)
        && !matches!(value, Datum::Null)
    {
        out.insert(*at, value.clone());
    }
}

/// True where the two types share values and their equality, as text and varchar(n) do.
fn same_family(a: SqlType, b: SqlType) -> bool {
    a.arrow() == b.arrow()
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
