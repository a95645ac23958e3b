//! The first few rows of a group from which nothing is retracted: a row that is not among them now will never be.
//!
//! They lie in one piece: entries of [`super::list`] in order, each once however often it is there, behind its length (4
//! bytes, little-endian) and its count (8 bytes). Invariant: without the last entry there are fewer rows than are kept.

use super::input::{Input, int, string};
use super::list::{split, write_args, write_keys};
use super::{Evaluator, Rows, top};
use hw_plan::kept::Kept;
use hw_repr::SqlError;
use hw_repr::small::Small;

/// The kind of an accumulator that is a list, as in [`super::acc::Acc::write`].
const LIST: u8 = 13;

/// Keeps the first few rows of groups.
#[derive(Debug)]
pub struct Few {
    evaluator: Evaluator,
    keep: i64,
}

/// The entries of a list, with their counts.
fn entries(list: &[u8]) -> Result<Vec<(&[u8], i64)>, SqlError> {
    let mut input = Input(list);
    let mut out = vec![];
    while !input.0.is_empty() {
        out.push((input.string()?, input.i64()?));
    }
    Ok(out)
}

impl Few {
    /// For an aggregate that shows the first rows by their row number, and few of them; nothing may ever be retracted from
    /// its input. Others are given back.
    pub fn new(evaluator: Evaluator) -> Result<Few, Box<Evaluator>> {
        match evaluator.agg.kept(evaluator.append_only) {
            Kept::First(keep) => Ok(Few { evaluator, keep }),
            _ => Err(Box::new(evaluator)),
        }
    }

    /// See [`Evaluator::rows`].
    pub fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    /// The list with the row `row` of `rows` in it `copies` times; `None` where it is not among the first.
    pub fn with(&self, list: &[u8], rows: &mut Rows, row: usize, copies: i64) -> Result<Option<Small>, SqlError> {
        let agg = &self.evaluator.agg;
        rows.bytes.clear();
        write_keys(agg, rows, row);
        let known = entries(list)?;
        let full = known.iter().map(|e| e.1).sum::<i64>() >= self.keep;
        let last = known.last().filter(|_| full).map(|e| split(e.0)).transpose()?;
        // Most rows lose by their keys: the others need not be looked at.
        if last.is_some_and(|(keys, _)| keys < rows.bytes.as_slice()) {
            return Ok(None);
        }
        write_args(rows, row);
        let entry = rows.bytes.as_slice();
        if known.last().is_some_and(|e| full && e.0 <= entry) {
            return Ok(None);
        }
        let at = known.partition_point(|e| e.0 < entry);
        let same = known.get(at).is_some_and(|e| e.0 == entry);
        let mut out = Vec::with_capacity(list.len() + entry.len() + 12);
        let mut seen = 0;
        let mine = std::iter::once((entry, copies + if same { known[at].1 } else { 0 }));
        for (entry, count) in
            known[..at].iter().copied().chain(mine).chain(known[at + usize::from(same)..].iter().copied())
        {
            if seen >= self.keep {
                break;
            }
            seen += count;
            string(entry, &mut out);
            int(count, &mut out);
        }
        Ok(Some(Small::new(&out)))
    }

    /// Appends the aggregate's result.
    pub fn result(&self, list: &[u8], out: &mut Vec<u8>) -> Result<(), SqlError> {
        top::write_result(&self.evaluator.agg, entries(list)?.into_iter(), out)
    }

    /// Appends a list as [`Evaluator::write`] does.
    pub fn write(&self, list: &[u8], out: &mut Vec<u8>) -> Result<(), SqlError> {
        out.push(LIST);
        let known = entries(list)?;
        out.extend_from_slice(&(known.len() as u32).to_le_bytes());
        out.extend_from_slice(list);
        out.extend_from_slice(&0u32.to_le_bytes());
        Ok(())
    }

    /// What [`Few::write`] appended, or [`Evaluator::write`]: which may have more rows than are kept.
    pub fn read(&self, input: &mut Input<'_>) -> Result<Small, SqlError> {
        let ([LIST], items) = (input.take()?, input.length()?) else { return Err(super::damaged()) };
        let (mut out, mut seen) = (vec![], 0);
        for _ in 0..items {
            let (entry, count) = (input.string()?, input.i64()?);
            if seen < self.keep && count > 0 {
                seen += count;
                string(entry, &mut out);
                int(count, &mut out);
            }
        }
        if input.length()? != 0 {
            return Err(super::damaged());
        }
        Ok(Small::new(&out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::top_rows;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use hw_plan::flow::RowNumber;
    use hw_plan::{Aggregate, OrderKey};
    use hw_repr::{Datum, SqlType};
    use proptest::prelude::*;
    use std::sync::Arc;

    proptest! {
        /// Catches: a row that was thrown away too early, and copies that are counted wrongly.
        #[test]
        fn it_shows_what_the_whole_list_shows(
            rows in prop::collection::vec((0i64..6, 0i64..4, 1i64..3), 0..60),
            keep in 1u64..5, skip in 0u64..3, descending: bool, saved: bool,
        ) {
            let types = [SqlType::Int8, SqlType::Text];
            let order = [OrderKey { column: 0, descending, nulls_first: false }];
            let agg = Aggregate::top_rows(2, &order, skip, Some((RowNumber::RowNumber, keep)));
            let all = Evaluator::new(&agg, &types, false).expect("an aggregate");
            let few = Few::new(Evaluator::new(&agg, &types, true).expect("an aggregate")).expect("few rows");
            let columns: [ArrayRef; 2] = [
                Arc::new(Int64Array::from(rows.iter().map(|r| r.0).collect::<Vec<_>>())),
                Arc::new(StringArray::from_iter_values(rows.iter().map(|r| "x".repeat(r.1 as usize)))),
            ];
            let (mut state, mut list) = (all.fresh(), Small::default());
            let (mut a, mut b) = (all.rows(|c| columns[c].clone()), few.evaluator().rows(|c| columns[c].clone()));
            for (row, (_, _, copies)) in rows.iter().enumerate() {
                all.add(&mut state, &mut a, row, *copies).expect("added");
                if let Some(next) = few.with(list.bytes(), &mut b, row, *copies).expect("whole") {
                    list = next;
                }
            }
            if saved {
                let mut out = vec![];
                few.write(list.bytes(), &mut out).expect("whole");
                // Either form reads the other's.
                let back = few.read(&mut Input(&out)).expect("whole");
                prop_assert_eq!(&back, &list);
                all.read(&mut Input(&out)).expect("whole");
                let mut out = vec![];
                all.write(&state, &mut out);
                // It may count more of the last one, which is there anyway.
                list = few.read(&mut Input(&out)).expect("whole");
            }
            let mut shown = vec![];
            few.result(list.bytes(), &mut shown).expect("whole");
            let Datum::Bytea(expected) = all.finish(&state).expect("whole") else { panic!("not bytes") };
            prop_assert_eq!(top_rows(&shown).expect("whole"), top_rows(&expected).expect("whole"));
        }
    }
}
