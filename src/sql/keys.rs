//! Keys of ad-hoc grouping, DISTINCT, sorting and joins for types whose equal values differ in bytes: 1.0 and 1.00,
//! `1 day` and `24:00:00`, -0.0 and 0.0, `{"a": 1}` and `{"a": 1.0}`. DataFusion compares bytes; so it gets the bytes of
//! a key, and the value itself travels beside it.
//!
//! Maintained views group by SQL equality, but what they know of a group is its key, which may be no value that is there
//! (`1` of 1.00, `1 mon` of `30 days`): there too the value travels beside it. A condition on it stays above the group:
//! it may tell equal values apart.

use crate::error::{external, from_planner};
use crate::typing::field_type;
use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder};
use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, Result as DfResult};
use datafusion_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion_expr::logical_plan::{Aggregate, Projection};
use datafusion_expr::{
    AggregateUDF, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use hw_repr::encoding::RowCodec;
use hw_repr::{SqlError, SqlState, SqlType};
use hw_scalar::aggregate::plain_numbers;
use std::sync::Arc;

/// True where equal values of this type may differ in bytes.
pub(crate) fn needs_key(ty: SqlType) -> bool {
    match ty {
        SqlType::Array(element) => needs_key(element.ty().without_modifier()),
        SqlType::Row(row) => row.def().fields.iter().any(|f| needs_key(f.ty.without_modifier())),
        ty => matches!(
            ty.carrier(),
            SqlType::Numeric(None) | SqlType::Interval | SqlType::Jsonb | SqlType::Float4 | SqlType::Float8
        ),
    }
}

/// `42883` of json, which PostgreSQL does not compare: equal documents may differ in text.
pub(crate) fn comparable(ty: SqlType) -> Result<(), SqlError> {
    if ty != SqlType::Json {
        return Ok(());
    }
    let message = "could not identify an equality operator for type json";
    Err(SqlError::new(SqlState::UNDEFINED_FUNCTION, message).hint("Cast it to jsonb."))
}

/// Refuses types whose values have no order here.
pub(crate) fn ordered(ty: SqlType) -> Result<(), SqlError> {
    comparable(ty)?;
    let of_jsonb = matches!(ty, SqlType::Array(element) if element.ty() == SqlType::Jsonb);
    if ty == SqlType::Jsonb || of_jsonb {
        return Err(
            SqlError::unsupported(format!("ORDER BY on type {ty} is not supported yet")).hint("Cast it to text.")
        );
    }
    Ok(())
}

/// The key of a value: equal for equal values and, but for jsonb, in their order. NULL of NULL.
pub(crate) fn key_of(expr: Expr, ty: SqlType) -> Expr {
    let signature = Signature::exact(vec![ty.arrow()], Volatility::Immutable);
    let udf = Arc::new(ScalarUDF::new_from_impl(Key { ty, signature }));
    Expr::ScalarFunction(ScalarFunction::new_udf(udf, vec![expr]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    ty: SqlType,
    signature: Signature,
}

impl ScalarUDFImpl for Key {
    fn name(&self) -> &str {
        "key"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Binary)
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = args.args.into_iter().map(|a| a.into_array(rows)).collect::<DfResult<Vec<ArrayRef>>>()?;
        let [array] = arrays.as_slice() else {
            return Err(external(SqlError::internal("a key has one argument")));
        };
        let mut out = BinaryBuilder::with_capacity(array.len(), array.len() * 16);
        let mut bytes = vec![];
        if self.ty == SqlType::Jsonb {
            for value in array.as_string::<i64>() {
                match value {
                    Some(text) => out.append_value(plain_numbers(text)),
                    None => out.append_null(),
                }
            }
            return Ok(ColumnarValue::Array(Arc::new(out.finish())));
        }
        let codec = RowCodec::key(&[self.ty]);
        let mut encoder = codec.row_encoder(&arrays);
        for row in 0..array.len() {
            if array.is_null(row) {
                out.append_null();
                continue;
            }
            bytes.clear();
            encoder.encode(row, &mut bytes);
            out.append_value(&bytes);
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}

fn type_of(expr: &Expr, schema: &DFSchema) -> Result<SqlType, SqlError> {
    let (_, field) = expr.to_field(schema).map_err(from_planner)?;
    field_type(&field)
}

/// What stands for a group: the least where looks differ, as in a maintained view; else the first.
fn representative(ty: SqlType) -> Result<Arc<AggregateUDF>, SqlError> {
    if !RowCodec::has_print_tails(&[ty]) {
        return Ok(crate::collect::any_value());
    }
    // Rows have no min in PostgreSQL; the first of a list without an order is the least by its form.
    let name = if matches!(ty, SqlType::Row(_)) { "first" } else { "min" };
    crate::aggregate::aggregate_by_name(name).ok_or_else(|| SqlError::internal(format!("there is no {name}")))
}

/// True where the value of a group has to travel beside its key, in a maintained view (`stored`) or ad hoc.
fn travels(ty: SqlType, stored: bool) -> bool {
    if stored { RowCodec::has_print_tails(&[ty]) } else { needs_key(ty) }
}

/// An aggregate whose groups are those of SQL equality; one value of a group stands for it. `stored` in a maintained view.
pub(crate) fn group(
    input: Arc<LogicalPlan>,
    groups: Vec<Expr>,
    aggregates: Vec<Expr>,
    stored: bool,
) -> Result<LogicalPlan, SqlError> {
    let types = groups.iter().map(|g| type_of(g, input.schema())).collect::<Result<Vec<_>, _>>()?;
    types.iter().try_for_each(|t| comparable(*t))?;
    if !types.iter().any(|t| travels(*t, stored)) {
        let plan = Aggregate::try_new(input, groups, aggregates).map_err(from_planner)?;
        return Ok(LogicalPlan::Aggregate(plan));
    }
    let shape = Aggregate::try_new(Arc::clone(&input), groups.clone(), aggregates.clone()).map_err(from_planner)?;
    let beside: Vec<bool> = types.iter().map(|t| travels(*t, stored)).collect();
    let (mut keys, mut all) = (vec![], aggregates);
    let plain = all.len();
    for (i, (expr, ty)) in groups.into_iter().zip(types).enumerate() {
        let expr = expr.unalias();
        if beside[i] {
            let value = AggregateFunction::new_udf(representative(ty)?, vec![expr.clone()], false, None, vec![], None);
            all.push(Expr::AggregateFunction(value).alias(format!("hw_value_{i}")));
            let key = if stored { expr } else { key_of(expr, ty) };
            keys.push(key.alias(format!("hw_key_{i}")));
        } else {
            keys.push(expr.alias(format!("hw_key_{i}")));
        }
    }
    let groups = keys.len();
    let plan = Aggregate::try_new(input, keys, all).map_err(from_planner)?;
    let columns = plan.schema.columns();
    let mut values = groups + plain;
    let mut exprs = vec![];
    for (i, (qualifier, field)) in shape.schema.iter().enumerate() {
        let at = if beside.get(i) == Some(&true) {
            values += 1;
            values - 1
        } else {
            i
        };
        exprs.push(Expr::Column(columns[at].clone()).alias_qualified(qualifier.cloned(), field.name()));
    }
    let plan = Arc::new(LogicalPlan::Aggregate(plan));
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, plan).map_err(from_planner)?))
}

/// DISTINCT by SQL equality; `None` where bytes will do. `stored` in a maintained view.
pub(crate) fn distinct(input: &LogicalPlan, stored: bool) -> Result<Option<LogicalPlan>, SqlError> {
    let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    for column in &columns {
        let ty = type_of(column, input.schema())?;
        comparable(ty)?;
        if travels(ty, stored) {
            return group(Arc::new(input.clone()), columns, vec![], stored).map(Some);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::plain_numbers;

    #[test]
    fn numbers_of_jsonb_lose_their_trailing_zeros_and_strings_do_not() {
        for (json, plain) in [
            ("1.0", "1"),
            ("[1.50, -0.00, 100, 1.0]", "[1.5, -0, 100, 1]"),
            (r#"{"1.0": "2.0", "a\"1.0": 3.0}"#, r#"{"1.0": "2.0", "a\"1.0": 3}"#),
            (r#""a\\", 1.0"#, r#""a\\", 1"#),
            ("null", "null"),
        ] {
            assert_eq!(plain_numbers(json), plain);
        }
    }
}
