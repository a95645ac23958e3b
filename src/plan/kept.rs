//! What a grouping keeps of each group for an aggregate, and what its result is made from.
//!
//! One place decides: operators keep what [`Aggregate::kept`] says, and `EXPLAIN` names it.

use crate::flow::RowNumber;
use crate::{Aggregate, AggregateFunc, OrderKey};
use hw_repr::{Datum, SqlType};

/// First rows of up to so many are a list that is scanned; more are searched.
pub const FEW: i64 = 32;

/// What is kept of a group for one aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Counts and sums, from which a retraction takes its part away again.
    Totals,
    /// The least or greatest value: nothing is retracted.
    Best,
    /// All values in order with their counts, of which the result is the first or the last.
    Ordered,
    /// The first so many rows in an order: a row that is not among them never will be, as nothing is retracted.
    First(i64),
    /// All values or rows in an order, with their counts.
    List(Made),
}

/// What a result is made from, of all that is kept in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Made {
    /// The first or the last one.
    End,
    /// The first so many.
    First(i64),
    /// Those whose rank, which several may have, is at most this.
    Ranked(i64),
    /// One that is found by its place, from one block to the next.
    Place,
    /// All of them.
    All,
}

impl Aggregate {
    /// The aggregate that keeps rows of `width` columns; see [`crate::FlowPlan::TopK`].
    pub fn top_rows(width: usize, order: &[OrderKey], skip: u64, limit: Option<(RowNumber, u64)>) -> Aggregate {
        let number = |n: u64| Datum::Int8(i64::try_from(n).unwrap_or(i64::MAX));
        let (kind, most) = match limit {
            Some((kind, n)) => (kind as i64, number(n)),
            None => (0, Datum::Null),
        };
        Aggregate {
            func: AggregateFunc::TopRows,
            arg: (width > 0).then_some(0),
            more: (1..width).collect(),
            distinct: false,
            filter: None,
            ty: SqlType::Bytea,
            order: order.to_vec(),
            direct: vec![number(skip), Datum::Int8(kind), most],
        }
    }

    /// What is kept of a group. `append_only`: nothing is ever retracted from the input.
    pub fn kept(&self, append_only: bool) -> Kept {
        use AggregateFunc as F;
        match self.func {
            F::Min | F::Max if append_only => Kept::Best,
            F::Min | F::Max => Kept::Ordered,
            F::TopRows => self.top_rows_kept(append_only),
            F::First | F::Last => Kept::List(Made::End),
            F::PercentileCont | F::PercentileDisc => Kept::List(Made::Place),
            func if func.is_ordered() => Kept::List(Made::All),
            _ => Kept::Totals,
        }
    }

    fn top_rows_kept(&self, append_only: bool) -> Kept {
        let [_, Datum::Int8(kind), Datum::Int8(most)] = self.direct.as_slice() else { return Kept::List(Made::All) };
        match *kind == RowNumber::RowNumber as i64 {
            true if append_only && (1..=FEW).contains(most) => Kept::First(*most),
            true => Kept::List(Made::First(*most)),
            false => Kept::List(Made::Ranked(*most)),
        }
    }

    /// True where each distinct argument is kept with its count: DISTINCT changes nothing about the least and the greatest.
    pub fn keeps_distinct(&self) -> bool {
        self.distinct && !matches!(self.func, AggregateFunc::Min | AggregateFunc::Max)
    }
}
