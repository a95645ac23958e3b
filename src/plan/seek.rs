//! Conditions that become seeks: `part = constant` for the first parts of an arrangement's key, where a part is a column or an
//! expression.
//!
//! A condition stays where it is, so that a seek only has to give every row that can pass. One place decides: reads seek, and
//! `EXPLAIN` says where.

use crate::{Func, ScalarExpr};
use hw_repr::encoding::RowCodec;
use hw_repr::{Datum, SqlType};
use std::collections::BTreeMap;

/// What conditions say of the rows for which they are true.
#[derive(Clone, Debug, Default)]
pub struct Fixed {
    /// Values of columns.
    pub columns: BTreeMap<usize, Datum>,
    /// Values of expressions over the columns.
    pub expressions: Vec<(ScalarExpr, Datum)>,
}

impl Fixed {
    /// Adds what has one value in all rows for which a condition is true.
    pub fn add(&mut self, condition: ScalarExpr) {
        self.add_being(condition, true);
    }

    /// Of a condition that is `truth`.
    fn add_being(&mut self, condition: ScalarExpr, truth: bool) {
        match condition {
            ScalarExpr::And(all) if truth => all.into_iter().for_each(|e| self.add_being(e, true)),
            ScalarExpr::Not(e) => self.add_being(*e, !truth),
            ScalarExpr::Column(at, SqlType::Bool) => {
                self.columns.insert(at, Datum::Bool(truth));
            }
            ScalarExpr::Column(..) | ScalarExpr::Literal(..) => {}
            condition => {
                if let (true, ScalarExpr::Call { func: Func::Eq, args, .. }) = (truth, &condition)
                    && let [left, right] = args.as_slice()
                {
                    self.add_equal(left, right);
                    self.add_equal(right, left);
                }
                self.expressions.push((condition, Datum::Bool(truth)));
            }
        }
    }

    /// Of an equality that is true.
    pub fn add_equal(&mut self, part: &ScalarExpr, value: &ScalarExpr) {
        let ScalarExpr::Literal(datum, ty) = value else { return };
        if *datum == Datum::Null || part.ty().arrow() != ty.arrow() {
            return;
        }
        match part {
            ScalarExpr::Column(at, _) => drop(self.columns.insert(*at, datum.clone())),
            ScalarExpr::Literal(..) => {}
            other => self.expressions.push((other.clone(), datum.clone())),
        }
    }
}

/// A way to the rows of a relation: an arrangement's key.
#[derive(Clone, Debug)]
pub struct Way<'a> {
    /// Its parts, as positions in `types`.
    pub key: &'a [usize],
    /// Types of the relation's columns, then of `expressions`.
    pub types: Vec<SqlType>,
    /// What is computed.
    pub expressions: &'a [ScalarExpr],
}

impl Way<'_> {
    /// The values of the key's first parts, as far as they are fixed.
    fn values(&self, fixed: &Fixed) -> Vec<Datum> {
        let own = self.types.len() - self.expressions.len();
        let value = |part: &usize| match part.checked_sub(own) {
            None => fixed.columns.get(part).cloned(),
            Some(at) => {
                let wanted = self.expressions.get(at)?;
                fixed.expressions.iter().find(|(e, _)| e == wanted).map(|(_, value)| value.clone())
            }
        };
        self.key.iter().map_while(value).collect()
    }

    /// The most first parts of the key that are fixed and can be sought by, and the bytes with which the rows begin; none where
    /// there are none.
    pub fn prefix(&self, fixed: &Fixed) -> (usize, Vec<u8>) {
        let values = self.values(fixed);
        let encoded = |n: usize| Some((n, encode_prefix(&self.types, self.key, &values[..n])?));
        (1..=values.len()).rev().find_map(encoded).unwrap_or_default()
    }

    /// True where the whole key is fixed.
    pub fn is_fixed(&self, fixed: &Fixed) -> bool {
        let values = self.values(fixed);
        values.len() == self.key.len() && encode_prefix(&self.types, self.key, &values).is_some()
    }
}

/// The way by which rows are read: that with the longest prefix, the first of equal ones. Its number, how many parts of its key
/// are sought by (0: all rows are read), and the prefix.
pub fn best<'a>(ways: impl Iterator<Item = &'a Way<'a>>, fixed: &Fixed) -> (usize, usize, Vec<u8>) {
    let mut best = (0, 0, vec![]);
    for (number, way) in ways.enumerate() {
        let (parts, prefix) = way.prefix(fixed);
        if prefix.len() > best.2.len() {
            best = (number, parts, prefix);
        }
    }
    best
}

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

/// The encoded bytes with which rows begin whose key, positions in `types`, starts with `values`; `None` where they cannot be
/// told.
pub fn encode_prefix(types: &[SqlType], key: &[usize], values: &[Datum]) -> Option<Vec<u8>> {
    if values.len() > key.len() {
        return None;
    }
    let key: Vec<SqlType> = key.iter().take(values.len()).map(|c| types.get(*c).copied()).collect::<Option<_>>()?;
    if !key.iter().zip(values).all(|(ty, d)| seekable(*ty) && fits(d, *ty)) {
        return None;
    }
    let mut out = vec![];
    RowCodec::new(&key).encode_datums(values, &mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lower() -> ScalarExpr {
        ScalarExpr::Call { func: Func::Lower, args: vec![ScalarExpr::Column(0, SqlType::Text)], ty: SqlType::Text }
    }

    fn is(part: ScalarExpr, value: Datum, ty: SqlType) -> ScalarExpr {
        ScalarExpr::Call { func: Func::Eq, args: vec![ScalarExpr::Literal(value, ty), part], ty: SqlType::Bool }
    }

    fn parts(way: &Way, condition: ScalarExpr) -> usize {
        let mut fixed = Fixed::default();
        fixed.add(condition);
        way.prefix(&fixed).0
    }

    #[test]
    fn the_first_parts_of_a_key_are_sought_by() {
        let expressions = [lower()];
        let types = vec![SqlType::Text, SqlType::Int4, SqlType::Text];
        let way = Way { key: &[2, 1], types, expressions: &expressions };
        let by_expression = is(lower(), Datum::Text("x".into()), SqlType::Text);
        let by_column = is(ScalarExpr::Column(1, SqlType::Int4), Datum::Int4(7), SqlType::Int4);
        assert_eq!(parts(&way, by_expression.clone()), 1);
        assert_eq!(parts(&way, ScalarExpr::And(vec![by_column.clone(), by_expression.clone()])), 2);
        assert_eq!(parts(&way, by_column.clone()), 0);
        assert_eq!(parts(&way, ScalarExpr::Or(vec![by_expression.clone(), by_column])), 0);
        assert_eq!(parts(&way, ScalarExpr::Not(Box::new(by_expression))), 0);
        assert_eq!(parts(&way, is(lower(), Datum::Null, SqlType::Text)), 0);
    }

    #[test]
    fn a_condition_is_a_part_itself() {
        let known = ScalarExpr::IsNull(Box::new(ScalarExpr::Column(0, SqlType::Int4)));
        let expressions = [known.clone()];
        let way = Way { key: &[1], types: vec![SqlType::Int4, SqlType::Bool], expressions: &expressions };
        assert_eq!(parts(&way, known.clone()), 1);
        assert_eq!(parts(&way, ScalarExpr::Not(Box::new(known))), 1);
    }
}
