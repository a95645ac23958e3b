//! Aggregates as plans name them: which there are, and what one is called with.

use hw_repr::{Datum, SqlType};
use serde::{Deserialize, Serialize};

/// One aggregate of a [`crate::FlowPlan::Reduce`]. Which rows with NULL arguments are skipped is the function's affair.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Aggregate {
    /// Which.
    pub func: AggregateFunc,
    /// Input column of the first argument; `None` only for count(*).
    pub arg: Option<usize>,
    /// Over distinct arguments only.
    pub distinct: bool,
    /// A boolean input column; rows where it is not true are skipped.
    pub filter: Option<usize>,
    /// Type of the result.
    pub ty: SqlType,
    /// Input columns of the other arguments. Left out of the serialised form where there are none, as what follows: plans
    /// that need neither keep the form, and so the fingerprint, that they had before these were there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<usize>,
    /// ORDER BY within the aggregate, or WITHIN GROUP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<OrderKey>,
    /// Constant arguments in front of WITHIN GROUP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub direct: Vec<Datum>,
}

/// One key of an ORDER BY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OrderKey {
    /// Input column.
    pub column: usize,
    /// DESC
    pub descending: bool,
    /// NULLS FIRST
    pub nulls_first: bool,
}

impl Aggregate {
    /// Of at most one argument, without an order.
    pub fn new(
        func: AggregateFunc,
        arg: Option<usize>,
        distinct: bool,
        filter: Option<usize>,
        ty: SqlType,
    ) -> Aggregate {
        Aggregate { func, arg, distinct, filter, ty, more: vec![], order: vec![], direct: vec![] }
    }

    /// Input columns of all arguments, in order.
    pub fn args(&self) -> impl Iterator<Item = usize> {
        self.arg.iter().chain(&self.more).copied()
    }
}

/// The aggregates that dataflows maintain and reads compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AggregateFunc {
    /// count(*) or count(x): int8
    Count,
    /// sum: int2/int4 -> int8, int8 -> numeric, numeric -> numeric, float4 -> float4, float8 -> float8, interval
    Sum,
    /// avg: ints and numeric -> numeric (PostgreSQL's scale), floats -> float8, interval
    Avg,
    /// min of any ordered type
    Min,
    /// max of any ordered type
    Max,
    /// bool_and, every
    BoolAnd,
    /// bool_or
    BoolOr,
    /// bit_and of integers
    BitAnd,
    /// bit_or of integers
    BitOr,
    /// bit_xor of integers
    BitXor,
    /// var_pop: integers and numeric -> numeric, floats -> float8
    VarPop,
    /// var_samp, variance
    VarSamp,
    /// stddev_pop
    StddevPop,
    /// stddev_samp, stddev
    StddevSamp,
    /// covar_pop(y, x)
    CovarPop,
    /// covar_samp(y, x)
    CovarSamp,
    /// corr(y, x)
    Corr,
    /// regr_count(y, x)
    RegrCount,
    /// regr_sxx(y, x)
    RegrSxx,
    /// regr_syy(y, x)
    RegrSyy,
    /// regr_sxy(y, x)
    RegrSxy,
    /// regr_avgx(y, x)
    RegrAvgx,
    /// regr_avgy(y, x)
    RegrAvgy,
    /// regr_r2(y, x)
    RegrR2,
    /// regr_slope(y, x)
    RegrSlope,
    /// regr_intercept(y, x)
    RegrIntercept,
    /// string_agg(value, separator) of text or bytea
    StringAgg,
    /// array_agg(value)
    ArrayAgg,
    /// json_agg(value)
    JsonAgg,
    /// jsonb_agg(value)
    JsonbAgg,
    /// json_object_agg(key, value)
    JsonObjectAgg,
    /// jsonb_object_agg(key, value)
    JsonbObjectAgg,
    /// percentile_cont(fraction) WITHIN GROUP (ORDER BY x)
    PercentileCont,
    /// percentile_disc(fraction) WITHIN GROUP (ORDER BY x)
    PercentileDisc,
    /// mode() WITHIN GROUP (ORDER BY x)
    Mode,
    /// first(x ORDER BY ...)
    First,
    /// last(x ORDER BY ...)
    Last,
    /// What a [`crate::FlowPlan::TopK`] keeps; no call has it
    TopRows,
}

impl AggregateFunc {
    /// Names and what they mean; the first name of a function is the one that errors and EXPLAIN show.
    pub const NAMES: &[(&str, AggregateFunc)] = &[
        ("count", AggregateFunc::Count),
        ("sum", AggregateFunc::Sum),
        ("avg", AggregateFunc::Avg),
        ("min", AggregateFunc::Min),
        ("max", AggregateFunc::Max),
        ("bool_and", AggregateFunc::BoolAnd),
        ("every", AggregateFunc::BoolAnd),
        ("bool_or", AggregateFunc::BoolOr),
        ("bit_and", AggregateFunc::BitAnd),
        ("bit_or", AggregateFunc::BitOr),
        ("bit_xor", AggregateFunc::BitXor),
        ("var_pop", AggregateFunc::VarPop),
        ("var_samp", AggregateFunc::VarSamp),
        ("variance", AggregateFunc::VarSamp),
        ("stddev_pop", AggregateFunc::StddevPop),
        ("stddev_samp", AggregateFunc::StddevSamp),
        ("stddev", AggregateFunc::StddevSamp),
        ("covar_pop", AggregateFunc::CovarPop),
        ("covar_samp", AggregateFunc::CovarSamp),
        ("corr", AggregateFunc::Corr),
        ("regr_count", AggregateFunc::RegrCount),
        ("regr_sxx", AggregateFunc::RegrSxx),
        ("regr_syy", AggregateFunc::RegrSyy),
        ("regr_sxy", AggregateFunc::RegrSxy),
        ("regr_avgx", AggregateFunc::RegrAvgx),
        ("regr_avgy", AggregateFunc::RegrAvgy),
        ("regr_r2", AggregateFunc::RegrR2),
        ("regr_slope", AggregateFunc::RegrSlope),
        ("regr_intercept", AggregateFunc::RegrIntercept),
        ("string_agg", AggregateFunc::StringAgg),
        ("array_agg", AggregateFunc::ArrayAgg),
        ("json_agg", AggregateFunc::JsonAgg),
        ("json_object_agg", AggregateFunc::JsonObjectAgg),
        ("jsonb_agg", AggregateFunc::JsonbAgg),
        ("jsonb_object_agg", AggregateFunc::JsonbObjectAgg),
        ("percentile_cont", AggregateFunc::PercentileCont),
        ("percentile_disc", AggregateFunc::PercentileDisc),
        ("mode", AggregateFunc::Mode),
        ("first", AggregateFunc::First),
        ("last", AggregateFunc::Last),
    ];

    /// The function of that name.
    pub fn by_name(name: &str) -> Option<AggregateFunc> {
        Self::NAMES.iter().find(|(n, _)| *n == name).map(|(_, f)| *f)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, f)| *f == self).map_or("aggregate", |(n, _)| n)
    }

    /// How many arguments it takes, besides constants in front of WITHIN GROUP.
    pub fn arity(self) -> usize {
        match self {
            Self::StringAgg | Self::JsonObjectAgg | Self::JsonbObjectAgg => 2,
            _ if self.is_pair() => 2,
            _ => 1,
        }
    }

    /// How many constants stand in front of WITHIN GROUP; `None` where that is not how it is called.
    pub fn within_group(self) -> Option<usize> {
        match self {
            Self::PercentileCont | Self::PercentileDisc => Some(1),
            Self::Mode => Some(0),
            _ => None,
        }
    }

    /// The statistics of pairs (y, x).
    pub fn is_pair(self) -> bool {
        use AggregateFunc as F;
        matches!(
            self,
            F::CovarPop
                | F::CovarSamp
                | F::Corr
                | F::RegrCount
                | F::RegrSxx
                | F::RegrSyy
                | F::RegrSxy
                | F::RegrAvgx
                | F::RegrAvgy
                | F::RegrR2
                | F::RegrSlope
                | F::RegrIntercept
        )
    }

    /// Whether what it gives depends on the order of its rows, or is a list of them.
    pub fn is_ordered(self) -> bool {
        use AggregateFunc as F;
        matches!(
            self,
            F::StringAgg
                | F::ArrayAgg
                | F::JsonAgg
                | F::JsonbAgg
                | F::JsonObjectAgg
                | F::JsonbObjectAgg
                | F::PercentileCont
                | F::PercentileDisc
                | F::Mode
                | F::First
                | F::Last
                | F::TopRows
        )
    }

    /// How many of the first arguments must not be NULL for a row to count.
    pub fn strict_args(self) -> usize {
        match self {
            Self::ArrayAgg | Self::JsonAgg | Self::JsonbAgg | Self::JsonObjectAgg | Self::JsonbObjectAgg => 0,
            Self::First | Self::Last | Self::TopRows => 0,
            _ if self.is_pair() => 2,
            _ => 1,
        }
    }

    /// Whether it can only be NULL where no row of the group counts.
    pub fn gives_a_value(self) -> bool {
        use AggregateFunc as F;
        !self.is_pair() && !matches!(self, F::VarSamp | F::StddevSamp | F::PercentileCont | F::PercentileDisc)
    }

    /// Whether a result can be an error (out of range, above all).
    pub fn may_fail(self) -> bool {
        use AggregateFunc as F;
        let chosen = matches!(self, F::Min | F::Max | F::Mode | F::First | F::Last | F::TopRows | F::PercentileDisc);
        let bits = matches!(self, F::BoolAnd | F::BoolOr | F::BitAnd | F::BitOr | F::BitXor);
        !chosen && !bits && !matches!(self, F::Count | F::RegrCount)
    }
}
