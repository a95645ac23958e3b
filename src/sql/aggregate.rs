//! The aggregates by name, with PostgreSQL's argument and result types and errors, and as DataFusion runs them in ad-hoc
//! reads: with the accumulators of maintained views ([`hw_scalar::aggregate`]).
//!
//! A call carries what is no argument of DataFusion's: which arguments are keys of its ORDER BY, and the constants in front
//! of WITHIN GROUP. A partial state travels as bytes.

use crate::error::external;
use crate::value::to_scalar_value;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result as DfResult, ScalarValue};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use hw_plan::{Aggregate, AggregateFunc, OrderKey};
use hw_repr::{Datum, SqlError, SqlType};
use hw_scalar::aggregate::{Evaluator, Input, State};
use std::any::Any;
use std::sync::Arc;

/// What a call is of, besides its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    pub func: AggregateFunc,
    /// Keys of the order; columns are positions among the call's arguments, of which the first are the aggregate's own.
    pub order: Vec<OrderKey>,
    /// Constants in front of WITHIN GROUP.
    pub direct: Vec<Datum>,
}

/// The aggregate of that name, before its arguments have types.
pub(crate) fn aggregate_by_name(name: &str) -> Option<Arc<AggregateUDF>> {
    let func = AggregateFunc::by_name(name)?;
    Some(udaf(Call { func, order: vec![], direct: vec![] }, name))
}

/// An aggregate that is called like this.
pub(crate) fn udaf(call: Call, name: &str) -> Arc<AggregateUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(AggregateUDF::new_from_impl(Udaf { call, name: name.to_string(), signature }))
}

/// Which of ours it is.
pub(crate) fn call_of(udaf: &AggregateUDF) -> Option<&Call> {
    let inner: &dyn Any = udaf.inner().as_ref();
    inner.downcast_ref::<Udaf>().map(|u| &u.call)
}

impl Call {
    /// As a plan has it: `columns` are where the call's arguments stand, `types` are theirs.
    pub fn plan(
        &self,
        types: &[SqlType],
        columns: &[usize],
        distinct: bool,
        filter: Option<usize>,
    ) -> Result<Aggregate, SqlError> {
        let arity = self.func.arity();
        let own = columns.get(..arity).ok_or_else(|| SqlError::internal("an aggregate without its arguments"))?;
        let column = |k: &OrderKey| {
            let column = columns.get(k.column).ok_or_else(|| SqlError::internal("an order by nothing"))?;
            Ok(OrderKey { column: *column, ..*k })
        };
        Ok(Aggregate {
            func: self.func,
            arg: own.first().copied(),
            distinct,
            filter,
            ty: result_type(self.func, types.get(..arity).unwrap_or_default())?,
            more: own.iter().skip(1).copied().collect(),
            order: self.order.iter().map(column).collect::<Result<_, SqlError>>()?,
            direct: self.direct.clone(),
        })
    }
}

/// `42883`, with the types of the arguments.
pub(crate) fn no_aggregate(name: &str, types: &[Option<SqlType>]) -> SqlError {
    let shown = |t: &Option<SqlType>| t.map_or("unknown".to_string(), |t| t.without_modifier().to_string());
    crate::error::undefined_function(&format!("{name}({})", types.iter().map(shown).collect::<Vec<_>>().join(", ")))
}

/// The types that the arguments are converted to; a type that is not known yet is that of a quoted literal or NULL.
/// `42883` where the aggregate does not take them.
pub(crate) fn wanted_types(
    func: AggregateFunc,
    name: &str,
    types: &[Option<SqlType>],
) -> Result<Vec<SqlType>, SqlError> {
    use AggregateFunc as F;
    use SqlType as T;
    let none = || no_aggregate(name, types);
    let float = |t: &Option<T>| match t.map(plain) {
        None | Some(T::Int2 | T::Int4 | T::Int8 | T::Float4 | T::Float8 | T::Numeric(_)) => Ok(T::Float8),
        _ => Err(none()),
    };
    let open = |t: &Option<T>| t.unwrap_or(T::Text);
    let text = |t: &Option<T>| matches!(t.map(plain), None | Some(T::Text | T::Char(_)));
    let bytes = |t: &Option<T>| matches!(t, None | Some(T::Bytea));
    let wanted = match (func, types) {
        (_, [_, _]) if func.is_pair() => types.iter().map(float).collect::<Result<Vec<_>, _>>()?,
        (F::StringAgg, [a, b]) if text(a) && text(b) => vec![T::Text, T::Text],
        (F::StringAgg, [a, b]) if bytes(a) && bytes(b) => vec![T::Bytea, T::Bytea],
        (F::JsonObjectAgg | F::JsonbObjectAgg, [a, b]) => vec![open(a), open(b)],
        (F::PercentileCont, [Some(t)]) if plain(*t) == T::Interval => vec![T::Interval],
        (F::PercentileCont, [one]) => vec![float(one)?],
        (_, [one]) if func.arity() == 1 => vec![open(one)],
        _ => return Err(none()),
    };
    result_type(func, &wanted).map_err(|e| if e.code == hw_repr::SqlState::UNDEFINED_FUNCTION { none() } else { e })?;
    Ok(wanted)
}

/// Without a modifier and a name of its own; of numeric, precision and scale stay.
fn plain(ty: SqlType) -> SqlType {
    match ty.without_modifier() {
        SqlType::Alias(alias) => alias.carrier(),
        SqlType::Varchar(_) => SqlType::Text,
        SqlType::Numeric(_) if matches!(ty, SqlType::Numeric(_)) => ty,
        other => other,
    }
}

/// PostgreSQL's result type; `42883` where the aggregate does not take the types.
pub(crate) fn result_type(func: AggregateFunc, args: &[SqlType]) -> Result<SqlType, SqlError> {
    use AggregateFunc as F;
    use SqlType as T;
    let unordered = |t: &T| matches!(t, T::Bool | T::Uuid | T::Jsonb | T::Json | T::Row(_) | T::Bit(_) | T::Varbit(_));
    let no_array = |t: T| {
        let message = format!("could not find array type for data type {t}");
        SqlError::new(hw_repr::SqlState::UNDEFINED_OBJECT, message)
    };
    let plain: Vec<T> = args.iter().map(|t| plain(*t)).collect();
    Ok(match (func, plain.as_slice()) {
        (F::Count, _) | (F::RegrCount, [T::Float8, T::Float8]) => T::Int8,
        (F::Sum, [T::Int2 | T::Int4]) => T::Int8,
        (F::Sum | F::Avg, [T::Numeric(_)]) | (F::Sum, [T::Int8]) | (F::Avg, [T::Int2 | T::Int4 | T::Int8]) => {
            T::Numeric(None)
        }
        (F::Sum, [T::Float4]) => T::Float4,
        (F::Sum | F::Avg, [T::Float8]) | (F::Avg, [T::Float4]) => T::Float8,
        (F::Sum | F::Avg, [T::Interval]) => T::Interval,
        (F::Min | F::Max, [t]) if !unordered(t) => *t,
        (F::BoolAnd | F::BoolOr, [T::Bool]) => T::Bool,
        (F::BitAnd | F::BitOr | F::BitXor, [t @ (T::Int2 | T::Int4 | T::Int8)]) => *t,
        (F::VarPop | F::VarSamp | F::StddevPop | F::StddevSamp, [T::Float4 | T::Float8]) => T::Float8,
        (F::VarPop | F::VarSamp | F::StddevPop | F::StddevSamp, [T::Int2 | T::Int4 | T::Int8 | T::Numeric(_)]) => {
            T::Numeric(None)
        }
        (func, [T::Float8, T::Float8]) if func.is_pair() => T::Float8,
        (F::StringAgg, [t @ (T::Text | T::Bytea), _]) => *t,
        (F::JsonbAgg, [_]) | (F::JsonbObjectAgg, [_, _]) => T::Jsonb,
        (F::JsonAgg, [_]) | (F::JsonObjectAgg, [_, _]) => T::Json,
        (F::ArrayAgg, [t @ T::Array(_)]) => *t,
        (F::ArrayAgg, [_]) => {
            let element = args[0].without_modifier();
            element.array_of().ok_or_else(|| no_array(element))?
        }
        (F::PercentileCont, [t @ (T::Float8 | T::Interval)]) => *t,
        (F::PercentileDisc | F::Mode, [T::Json]) => return Err(no_aggregate(func.name(), &[Some(T::Json)])),
        (F::PercentileDisc | F::Mode | F::First | F::Last, [T::Numeric(_)]) => args[0],
        (F::PercentileDisc | F::Mode | F::First | F::Last, [_]) => args[0].without_modifier(),
        _ => {
            let types: Vec<Option<T>> = args.iter().map(|t| Some(*t)).collect();
            return Err(no_aggregate(func.name(), &types));
        }
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Udaf {
    call: Call,
    name: String,
    signature: Signature,
}

impl Udaf {
    /// The result type, as far as the types of the arguments tell.
    fn guess(&self, args: &[Option<SqlType>]) -> SqlType {
        let own = &args[..self.call.func.arity().min(args.len())];
        let wanted = wanted_types(self.call.func, &self.name, own).and_then(|w| result_type(self.call.func, &w));
        wanted.unwrap_or_else(|_| own.first().copied().flatten().unwrap_or(SqlType::Text))
    }
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
    fn supports_within_group_clause(&self) -> bool {
        self.call.func.within_group().is_some()
    }
    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        // Before retyping, arguments may have types that will not stay: an error then is not final.
        let args: Vec<Option<SqlType>> = types.iter().map(SqlType::from_arrow).collect();
        Ok(self.guess(&args).arrow())
    }
    fn return_field(&self, args: &[FieldRef]) -> DfResult<FieldRef> {
        let args: Vec<Option<SqlType>> = args.iter().map(|f| SqlType::from_field(f)).collect();
        Ok(Arc::new(self.guess(&args).field(&self.name, self.is_nullable())))
    }
    fn is_nullable(&self) -> bool {
        !matches!(self.call.func, AggregateFunc::Count | AggregateFunc::RegrCount)
    }
    fn default_value(&self, data_type: &DataType) -> DfResult<ScalarValue> {
        match self.is_nullable() {
            false => Ok(ScalarValue::Int64(Some(0))),
            true => ScalarValue::try_from(data_type),
        }
    }
    fn accumulator(&self, args: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        let types: Vec<SqlType> =
            args.expr_fields.iter().map(|f| SqlType::from_field(f).unwrap_or(SqlType::Text)).collect();
        let columns: Vec<usize> = (0..types.len()).collect();
        let agg = self.call.plan(&types, &columns, args.is_distinct, None).map_err(external)?;
        let evaluator = Evaluator::new(&agg, &types, true).map_err(external)?;
        Ok(Box::new(Acc { state: evaluator.fresh(), evaluator, ty: agg.ty }))
    }
    fn state_fields(&self, args: StateFieldsArgs) -> DfResult<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[state]", args.name), DataType::Binary, true))])
    }
}

#[derive(Debug)]
struct Acc {
    evaluator: Evaluator,
    state: State,
    ty: SqlType,
}

impl Accumulator for Acc {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let Some(first) = values.first() else { return Ok(()) };
        let mut rows = self.evaluator.rows(|c| Arc::clone(&values[c]));
        self.evaluator.add_all(&mut self.state, &mut rows, first.len()).map_err(external)
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let datum = self.evaluator.finish(&self.state).map_err(external)?;
        to_scalar_value(&datum, self.ty).map_err(external)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.state.bytes()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let mut bytes = vec![];
        self.evaluator.write(&self.state, &mut bytes);
        Ok(vec![ScalarValue::Binary(Some(bytes))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let Some(states) = states.first() else { return Ok(()) };
        for bytes in states.as_binary::<i32>().iter().flatten() {
            let other = self.evaluator.read(&mut Input(bytes)).map_err(external)?;
            self.evaluator.merge(&mut self.state, other).map_err(external)?;
        }
        Ok(())
    }
}

/// GROUPING(...), which retyping replaces by what it is for each grouping set.
pub(crate) fn grouping() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(Grouping { signature: Signature::user_defined(Volatility::Immutable) }))
}

/// True for [`grouping`].
pub(crate) fn is_grouping(udaf: &AggregateUDF) -> bool {
    let inner: &dyn Any = udaf.inner().as_ref();
    inner.is::<Grouping>()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Grouping {
    signature: Signature,
}

impl AggregateUDFImpl for Grouping {
    fn name(&self) -> &str {
        "grouping"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(types.to_vec())
    }
    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(SqlType::Int4.arrow())
    }
    fn is_nullable(&self) -> bool {
        false
    }
    fn accumulator(&self, _: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        Err(external(SqlError::internal("GROUPING was not replaced")))
    }
    fn state_fields(&self, _: StateFieldsArgs) -> DfResult<Vec<FieldRef>> {
        Ok(vec![])
    }
}
