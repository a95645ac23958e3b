//! The first rows of a group in an order, with their numbers: what a top-k keeps in [`hw_plan::AggregateFunc::TopRows`].
//!
//! The result is a byte string of entries, one for rows that are equal in every byte and follow each other: the length of
//! the encoded row (4 bytes), the row, then four numbers of 8 bytes, little-endian: the row number of the first, how many,
//! their rank, their dense rank.

use super::input::{Input, int, string};
use super::list::split;
use super::multiset::Multiset;
use hw_plan::Aggregate;
use hw_plan::flow::RowNumber;
use hw_repr::{Datum, SqlError};

/// Equal rows that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopRow<'a> {
    /// The encoded row.
    pub row: &'a [u8],
    /// The row number of the first of them.
    pub first: i64,
    /// How many.
    pub copies: i64,
    /// As rank() numbers them.
    pub rank: i64,
    /// As dense_rank() numbers them.
    pub dense_rank: i64,
}

/// The rows of a result of [`hw_plan::AggregateFunc::TopRows`].
pub fn top_rows(bytes: &[u8]) -> Result<Vec<TopRow<'_>>, SqlError> {
    let mut input = Input(bytes);
    let mut rows = vec![];
    while !input.0.is_empty() {
        let row = input.string()?;
        let (first, copies, rank, dense_rank) = (input.i64()?, input.i64()?, input.i64()?, input.i64()?);
        rows.push(TopRow { row, first, copies, rank, dense_rank });
    }
    Ok(rows)
}

/// The result over the entries of a group.
pub fn result(agg: &Aggregate, list: &Multiset) -> Result<Datum, SqlError> {
    let mut out = vec![];
    write_result(agg, list.iter(), &mut out)?;
    Ok(Datum::Bytea(out))
}

/// Appends the result over entries in order, each with its count.
pub fn write_result<'a>(
    agg: &Aggregate,
    entries: impl Iterator<Item = (&'a [u8], i64)>,
    out: &mut Vec<u8>,
) -> Result<(), SqlError> {
    let number = |at: usize| match agg.direct.get(at) {
        Some(Datum::Int8(n)) => Some(*n),
        _ => None,
    };
    let (skip, kind, limit) = (number(0).unwrap_or(0), number(1).unwrap_or(0), number(2));
    let (mut seen, mut rank, mut dense_rank) = (0i64, 0i64, 0i64);
    let mut keys: Option<&[u8]> = None;
    for (entry, count) in entries {
        let (own, row) = split(entry)?;
        if keys != Some(own) {
            keys = Some(own);
            rank = seen + 1;
            dense_rank += 1;
        }
        let (first, last) = (seen + 1, seen + count);
        seen = last;
        let shown = match limit {
            None => last,
            Some(most) if kind == RowNumber::RowNumber as i64 => last.min(most),
            Some(most) => {
                let number = if kind == RowNumber::Rank as i64 { rank } else { dense_rank };
                if number <= most { last } else { 0 }
            }
        };
        let first = first.max(skip.saturating_add(1));
        if first <= shown {
            string(row, out);
            for number in [first, shown - first + 1, rank, dense_rank] {
                int(number, out);
            }
        }
        if shown < last {
            break;
        }
    }
    Ok(())
}
