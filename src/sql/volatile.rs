//! Functions whose value differs from row to row: `random()` and `gen_random_uuid()`. They run in ad-hoc reads and in what
//! statements write, never in a view.

use arrow::array::{ArrayRef, FixedSizeBinaryBuilder, Float64Array};
use arrow::datatypes::DataType;
use datafusion_common::Result as DfResult;
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use hw_repr::SqlType;
use std::sync::Arc;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Volatile {
    /// A float from 0 to below 1.
    Random,
    /// A uuid of version 4.
    Uuid,
}

impl Volatile {
    /// The function of that name.
    pub fn by_name(name: &str) -> Option<Volatile> {
        match name {
            "random" => Some(Volatile::Random),
            "gen_random_uuid" => Some(Volatile::Uuid),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Volatile::Random => "random()",
            Volatile::Uuid => "gen_random_uuid()",
        }
    }

    pub fn ty(self) -> SqlType {
        match self {
            Volatile::Random => SqlType::Float8,
            Volatile::Uuid => SqlType::Uuid,
        }
    }

    /// A call; `name` keeps it apart from every other one.
    pub fn call(self, name: String) -> Expr {
        let udf = VolatileUdf { kind: self, name, signature: Signature::nullary(Volatility::Volatile) };
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(udf)), vec![]))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct VolatileUdf {
    kind: Volatile,
    name: String,
    signature: Signature,
}

impl ScalarUDFImpl for VolatileUdf {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.kind.ty().arrow())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let column: ArrayRef = match self.kind {
            Volatile::Random => Arc::new(Float64Array::from_iter_values((0..rows).map(|_| rand::random::<f64>()))),
            Volatile::Uuid => {
                let mut out = FixedSizeBinaryBuilder::with_capacity(rows, 16);
                for _ in 0..rows {
                    let mut bytes: [u8; 16] = rand::random();
                    bytes[6] = bytes[6] & 0x0f | 0x40;
                    bytes[8] = bytes[8] & 0x3f | 0x80;
                    out.append_value(bytes)?;
                }
                Arc::new(out.finish())
            }
        };
        Ok(ColumnarValue::Array(column))
    }
}
