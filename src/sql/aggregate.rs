//! The aggregates, with PostgreSQL's result types and errors, as DataFusion runs them in ad-hoc reads.
//!
//! A partial state travels as one JSON value in a binary column: exact for every type.

use crate::error::external;
use crate::value::{from_scalar_value, to_scalar_value};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int16Type, Int32Type, Int64Type};
use datafusion_common::{Result as DfResult, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use hw_plan::AggregateFunc;
use hw_repr::datum::Float;
use hw_repr::encoding::RowCodec;
use hw_repr::numeric::Numeric;
use hw_repr::{Datum, FloatSum, SqlError, SqlState, SqlType};
use std::any::Any;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// The aggregate of that name.
pub(crate) fn aggregate_by_name(name: &str) -> Option<Arc<AggregateUDF>> {
    let func = match name {
        "count" => AggregateFunc::Count,
        "sum" => AggregateFunc::Sum,
        "avg" => AggregateFunc::Avg,
        "min" => AggregateFunc::Min,
        "max" => AggregateFunc::Max,
        "bool_and" | "every" => AggregateFunc::BoolAnd,
        "bool_or" => AggregateFunc::BoolOr,
        _ => return None,
    };
    let signature = Signature::user_defined(Volatility::Immutable);
    Some(Arc::new(AggregateUDF::new_from_impl(Udaf { func, name: name.to_string(), signature })))
}

/// Which of ours it is.
pub(crate) fn func_of(udaf: &AggregateUDF) -> Option<AggregateFunc> {
    let inner: &dyn Any = udaf.inner().as_ref();
    inner.downcast_ref::<Udaf>().map(|u| u.func)
}

/// PostgreSQL's result type; `42883` where the aggregate does not take the type.
pub(crate) fn result_type(func: AggregateFunc, arg: SqlType) -> Result<SqlType, SqlError> {
    use AggregateFunc as F;
    use SqlType as T;
    let arg = match arg.without_modifier() {
        T::Alias(alias) => alias.carrier(),
        T::Varchar(_) => T::Text,
        _ => arg,
    };
    Ok(match (func, arg) {
        (F::Count, _) => T::Int8,
        (F::Sum, T::Int2 | T::Int4) => T::Int8,
        (F::Sum | F::Avg, T::Numeric(_)) | (F::Sum, T::Int8) | (F::Avg, T::Int2 | T::Int4 | T::Int8) => {
            T::Numeric(None)
        }
        (F::Sum, T::Float4) => T::Float4,
        (F::Sum | F::Avg, T::Float8) | (F::Avg, T::Float4) => T::Float8,
        (F::Sum | F::Avg, T::Interval) => {
            return Err(SqlError::unsupported("sum and avg of intervals are not supported yet"));
        }
        (F::Min | F::Max, t) if !matches!(t, T::Bool | T::Uuid | T::Jsonb | T::Json) => t,
        (F::BoolAnd | F::BoolOr, T::Bool) => T::Bool,
        _ => {
            let name = match func {
                F::Count => "count",
                F::Sum => "sum",
                F::Avg => "avg",
                F::Min => "min",
                F::Max => "max",
                F::BoolAnd => "bool_and",
                F::BoolOr => "bool_or",
            };
            return Err(crate::error::undefined_function(&format!("{name}({arg})")));
        }
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Udaf {
    func: AggregateFunc,
    name: String,
    signature: Signature,
}

impl AggregateUDFImpl for Udaf {
    fn name(&self) -> &str {
        &self.name
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(types.to_vec())
    }
    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        // Before retyping, arguments may have types that will not stay: an error then is not final.
        let arg = types.first().and_then(SqlType::from_arrow).unwrap_or(SqlType::Text);
        Ok(result_type(self.func, arg).unwrap_or(arg).arrow())
    }
    fn return_field(&self, args: &[FieldRef]) -> DfResult<FieldRef> {
        let arg = args.first().and_then(|f| SqlType::from_field(f)).unwrap_or(SqlType::Text);
        let ty = result_type(self.func, arg).unwrap_or(arg);
        Ok(Arc::new(ty.field(&self.name, self.is_nullable())))
    }
    fn is_nullable(&self) -> bool {
        self.func != AggregateFunc::Count
    }
    fn default_value(&self, data_type: &DataType) -> DfResult<ScalarValue> {
        match self.func {
            AggregateFunc::Count => Ok(ScalarValue::Int64(Some(0))),
            _ => ScalarValue::try_from(data_type),
        }
    }
    fn accumulator(&self, args: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        let arg = args.expr_fields.first().and_then(|f| SqlType::from_field(f)).unwrap_or(SqlType::Text);
        let ty = result_type(self.func, arg).map_err(external)?;
        let seen = args.is_distinct.then(HashMap::new);
        Ok(Box::new(Acc { func: self.func, arg, ty, state: State::default(), seen }))
    }
    fn state_fields(&self, args: StateFieldsArgs) -> DfResult<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[state]", args.name), DataType::Binary, true))])
    }
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
struct State {
    count: i64,
    int: i128,
    numeric: Option<Numeric>,
    float: FloatSum,
    /// min, max, bool_and, bool_or
    best: Option<Datum>,
}

#[derive(Debug)]
struct Acc {
    func: AggregateFunc,
    arg: SqlType,
    ty: SqlType,
    state: State,
    /// What was seen of each value of DISTINCT, by its representative.
    seen: Option<HashMap<Datum, Datum>>,
}

impl Acc {
    fn add(&mut self, value: Datum) -> Result<(), SqlError> {
        if let Some(seen) = &mut self.seen {
            match seen.entry(canonical(&value)) {
                Entry::Occupied(_) => return Ok(()),
                Entry::Vacant(new) => drop(new.insert(value.clone())),
            }
        }
        self.state.count += 1;
        match self.func {
            AggregateFunc::Count => {}
            AggregateFunc::Sum | AggregateFunc::Avg => self.add_number(value)?,
            AggregateFunc::Min => self.keep(value, Ordering::Less)?,
            AggregateFunc::Max => self.keep(value, Ordering::Greater)?,
            AggregateFunc::BoolAnd => self.keep(value, Ordering::Less)?,
            AggregateFunc::BoolOr => self.keep(value, Ordering::Greater)?,
        }
        Ok(())
    }

    fn add_number(&mut self, value: Datum) -> Result<(), SqlError> {
        let s = &mut self.state;
        match value {
            Datum::Int2(v) => s.int += i128::from(v),
            Datum::Int4(v) => s.int += i128::from(v),
            Datum::Int8(v) => s.int += i128::from(v),
            Datum::Float4(v) | Datum::Float8(v) => s.float.add(v.0, 1),
            Datum::Numeric(v) => {
                s.numeric = Some(match &s.numeric {
                    Some(sum) => sum.add(&v)?,
                    None => v,
                });
            }
            other => return Err(SqlError::internal(format!("a sum of {other:?}"))),
        }
        Ok(())
    }

    fn keep(&mut self, value: Datum, wanted: Ordering) -> Result<(), SqlError> {
        let better = match &self.state.best {
            Some(best) => match compare(&value, best)? {
                Ordering::Equal => {
                    let prints = matches!(value, Datum::Numeric(_) | Datum::Interval(_));
                    prints && self.compare_bytes(&value, best)? == wanted
                }
                order => order == wanted,
            },
            None => true,
        };
        if better {
            self.state.best = Some(value);
        }
        Ok(())
    }

    /// Equal values that print differently (1.0 and 1.00): the one that maintained views keep.
    fn compare_bytes(&self, a: &Datum, b: &Datum) -> Result<Ordering, SqlError> {
        let codec = RowCodec::new(&[self.ty]);
        let (mut left, mut right) = (vec![], vec![]);
        codec.encode_datums(std::slice::from_ref(a), &mut left)?;
        codec.encode_datums(std::slice::from_ref(b), &mut right)?;
        Ok(left.cmp(&right))
    }

    fn merge(&mut self, other: State) -> Result<(), SqlError> {
        self.state.count += other.count;
        self.state.int += other.int;
        self.state.float.merge(&other.float);
        if let Some(v) = other.numeric {
            self.state.numeric = Some(match &self.state.numeric {
                Some(sum) => sum.add(&v)?,
                None => v,
            });
        }
        let wanted = match self.func {
            AggregateFunc::Min | AggregateFunc::BoolAnd => Ordering::Less,
            _ => Ordering::Greater,
        };
        match other.best {
            Some(best) => self.keep(best, wanted),
            None => Ok(()),
        }
    }

    fn result(&self) -> Result<Datum, SqlError> {
        let s = &self.state;
        if self.func == AggregateFunc::Count {
            return Ok(Datum::Int8(s.count));
        }
        if s.count == 0 {
            return Ok(Datum::Null);
        }
        Ok(match (self.func, self.ty) {
            (AggregateFunc::Sum, SqlType::Int8) => Datum::Int8(
                i64::try_from(s.int).map_err(|_| SqlError::new(SqlState::OUT_OF_RANGE, "bigint out of range"))?,
            ),
            (AggregateFunc::Sum, SqlType::Numeric(_)) => Datum::Numeric(self.sum()?),
            (AggregateFunc::Avg, SqlType::Numeric(_)) => Datum::Numeric(self.sum()?.div(&Numeric::from_i64(s.count))?),
            (AggregateFunc::Sum, SqlType::Float4) => Datum::Float4(Float(s.float.narrow_sum()?.into())),
            (AggregateFunc::Sum, _) => Datum::Float8(Float(s.float.sum()?)),
            (AggregateFunc::Avg, _) => Datum::Float8(Float(s.float.mean(s.count)?)),
            _ => s.best.clone().unwrap_or(Datum::Null),
        })
    }

    fn sum(&self) -> Result<Numeric, SqlError> {
        Ok(self.state.numeric.clone().unwrap_or_else(|| Numeric::from_i128(self.state.int)))
    }

    /// Integers without one `Datum` a row.
    fn update_fast(&mut self, array: &ArrayRef) -> bool {
        if self.seen.is_some() {
            return false;
        }
        let valid = (array.len() - array.logical_null_count()) as i64;
        match (self.func, self.arg) {
            (AggregateFunc::Count, _) => {}
            (AggregateFunc::Sum | AggregateFunc::Avg, SqlType::Int2) => {
                self.state.int += array.as_primitive::<Int16Type>().iter().flatten().map(i128::from).sum::<i128>();
            }
            (AggregateFunc::Sum | AggregateFunc::Avg, SqlType::Int4) => {
                self.state.int += array.as_primitive::<Int32Type>().iter().flatten().map(i128::from).sum::<i128>();
            }
            (AggregateFunc::Sum | AggregateFunc::Avg, SqlType::Int8) => {
                self.state.int += array.as_primitive::<Int64Type>().iter().flatten().map(i128::from).sum::<i128>();
            }
            _ => return false,
        }
        self.state.count += valid;
        true
    }
}

impl Accumulator for Acc {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let Some(array) = values.first() else { return Ok(()) };
        if self.update_fast(array) {
            return Ok(());
        }
        for row in 0..array.len() {
            let value = ScalarValue::try_from_array(array, row)?;
            if !value.is_null() {
                let (datum, _) = from_scalar_value(&value, None).map_err(external)?;
                self.add(datum).map_err(external)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let datum = self.result().map_err(external)?;
        to_scalar_value(&datum, self.ty).map_err(external)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.seen.as_ref().map_or(0, |s| s.capacity() * size_of::<(Datum, Datum)>())
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let seen: Option<Vec<&Datum>> = self.seen.as_ref().map(|s| s.values().collect());
        let bytes = serde_json::to_vec(&(&self.state, seen))
            .map_err(|e| external(SqlError::internal(format!("state of an aggregate: {e}"))))?;
        Ok(vec![ScalarValue::Binary(Some(bytes))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let Some(states) = states.first() else { return Ok(()) };
        for bytes in states.as_binary::<i32>().iter().flatten() {
            let (state, seen): (State, Option<Vec<Datum>>) = serde_json::from_slice(bytes)
                .map_err(|e| external(SqlError::internal(format!("state of an aggregate: {e}"))))?;
            match seen {
                Some(seen) => {
                    for value in seen {
                        self.add(value).map_err(external)?;
                    }
                }
                None => self.merge(state).map_err(external)?,
            }
        }
        Ok(())
    }
}

/// One representative of equal values.
fn canonical(value: &Datum) -> Datum {
    match value {
        Datum::Numeric(n) => Datum::Numeric(n.normalize()),
        Datum::Float4(f) if f.0 == 0.0 => Datum::Float4(Float(0.0)),
        Datum::Float8(f) if f.0 == 0.0 => Datum::Float8(Float(0.0)),
        Datum::Float8(f) if f.0.is_nan() => Datum::Float8(Float(f64::NAN)),
        Datum::Interval(i) => Datum::Interval(i.justified()),
        Datum::Jsonb(j) => Datum::Jsonb(crate::keys::plain_numbers(j)),
        other => other.clone(),
    }
}

fn interval_micros(i: &hw_repr::datum::IntervalValue) -> i128 {
    (i128::from(i.months) * 30 + i128::from(i.days)) * 86_400_000_000 + i128::from(i.micros)
}

/// PostgreSQL's order of two values of one type.
fn compare(a: &Datum, b: &Datum) -> Result<Ordering, SqlError> {
    let float = |a: f64, b: f64| match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        _ => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
    };
    Ok(match (a, b) {
        (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
        (Datum::Int2(a), Datum::Int2(b)) => a.cmp(b),
        (Datum::Int4(a), Datum::Int4(b)) | (Datum::Date(a), Datum::Date(b)) => a.cmp(b),
        (Datum::Int8(a), Datum::Int8(b))
        | (Datum::Time(a), Datum::Time(b))
        | (Datum::Timestamp(a), Datum::Timestamp(b))
        | (Datum::TimestampTz(a), Datum::TimestampTz(b)) => a.cmp(b),
        (Datum::Float4(a), Datum::Float4(b)) | (Datum::Float8(a), Datum::Float8(b)) => float(a.0, b.0),
        (Datum::Numeric(a), Datum::Numeric(b)) => a.cmp_value(b),
        (Datum::Text(a), Datum::Text(b)) => a.cmp(b),
        (Datum::Bytea(a), Datum::Bytea(b)) => a.cmp(b),
        (Datum::Interval(a), Datum::Interval(b)) => interval_micros(a).cmp(&interval_micros(b)),
        _ => return Err(SqlError::internal(format!("{a:?} and {b:?} do not compare"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: values that lose their scale on the way from one partition to another.
    #[test]
    fn a_distinct_sum_of_two_partitions_has_the_scale_of_its_values() {
        let number = |text| hw_repr::text::parse(SqlType::Numeric(None), text).expect("a number");
        let acc = || Acc {
            func: AggregateFunc::Sum,
            arg: SqlType::Numeric(None),
            ty: SqlType::Numeric(None),
            state: State::default(),
            seen: Some(HashMap::new()),
        };
        let (mut first, mut second, mut both) = (acc(), acc(), acc());
        ["1.50", "2.00"].iter().for_each(|n| first.add(number(n)).expect("added"));
        ["2.00", "1.50", "4.50"].iter().for_each(|n| second.add(number(n)).expect("added"));
        for part in [&mut first, &mut second] {
            let state = part.state().expect("a state")[0].to_array().expect("an array");
            both.merge_batch(&[state]).expect("merged");
        }
        assert_eq!(both.result().expect("a sum").to_text().as_deref(), Some("8.00"));
    }
}
