//! Set-returning calls: which functions give rows rather than a value, and a call of one.

use crate::{Func, ScalarExpr};
use hw_repr::SqlType;
use serde::{Deserialize, Serialize};

/// One set-returning call of a [`crate::FlowPlan::FlatMap`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SetCall {
    /// Which; [`Func::is_set`].
    pub func: Func,
    /// Arguments, of exactly the types that the function takes.
    pub args: Vec<ScalarExpr>,
    /// Types of its columns.
    pub types: Vec<SqlType>,
}

impl Func {
    /// Whether it gives rows rather than a value.
    pub fn is_set(self) -> bool {
        use Func::*;
        matches!(
            self,
            GenerateSeries
                | GenerateSubscripts
                | Unnest
                | StringToTable
                | RegexpMatches
                | RegexpSplitToTable
                | JsonElements
                | JsonElementsText
                | JsonEach
                | JsonEachText
                | JsonKeys
                | JsonPathQuery
                | JsonToRecord
                | JsonToRecordset
                | JsonTextElements
                | JsonTextElementsText
                | JsonTextEach
                | JsonTextEachText
                | JsonTextKeys
                | JsonTextToRecord
                | JsonTextToRecordset
                | SetOnce
                | SetOrdinality
        )
    }
}
