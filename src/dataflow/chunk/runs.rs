//! Sorting changes, or joining several sorted runs, in one pass.

use super::{RowChunk, TARGET, append, flush, is_full, reserve, same_row, seal, sum};
use hw_repr::{ChunkBody, Diff, Timestamp};
use std::collections::VecDeque;

/// The eight bytes that follow those of [`hw_repr::chunk::prefix`], zero-padded: they order rows of equal prefixes as
/// far as they go.
fn second(row: &[u8]) -> u64 {
    match row {
        [first, _, _, _, _, _, _, _, _, rest @ ..] if *first == 1 => match rest.first_chunk::<8>() {
            Some(b) => u64::from_be_bytes(*b),
            None => {
                let mut b = [0u8; 8];
                b[..rest.len()].copy_from_slice(rest);
                u64::from_be_bytes(b)
            }
        },
        [first, ..] if *first > 1 => u64::MAX,
        _ => 0,
    }
}

/// Sixteen bytes that order rows as far as they go: most comparisons never look at the rows.
#[inline]
pub(super) fn first_bytes(body: &ChunkBody, row: usize) -> u128 {
    (u128::from(body.prefixes[row]) << 64) | u128::from(second(body.row(row)))
}

/// Changes as one sorted run: rows that repeat with their times advanced to `since`, then summed. They may come in any order;
/// sorted runs, each the chunks of one after the other, are found and merged. Copies every row once, however many runs there are.
pub fn merge_runs(chunks: &[RowChunk], since: Timestamp) -> Vec<RowChunk> {
    let rows: usize = chunks.iter().map(|c| c.range().len()).sum();
    let mut order: Vec<(u128, u32, u32)> = Vec::with_capacity(rows);
    for (at, chunk) in chunks.iter().enumerate() {
        order.extend(chunk.range().map(|i| (first_bytes(&chunk.body, i), at as u32, i as u32)));
    }
    let bodies: Vec<&ChunkBody> = chunks.iter().map(|c| &**c.body).collect();
    let body = |of: &(u128, u32, u32)| bodies[of.1 as usize];
    // Stable sorting finds the runs and merges them.
    order.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| body(a).row(a.2 as usize).cmp(body(b).row(b.2 as usize))));
    let mut out = VecDeque::new();
    let mut made = ChunkBody::default();
    let mut changes: Vec<(Timestamp, Diff)> = vec![];
    let mut i = 0;
    while let Some(first) = order.get(i) {
        let (from, row) = (body(first), first.2 as usize);
        let same = |o: &&(u128, u32, u32)| o.0 == first.0 && same_row(body(o), o.2 as usize, from, row);
        let copies = 1 + order[i + 1..].iter().take_while(same).count();
        if made.is_empty() {
            reserve(&mut made, from, (order.len() - i).min(TARGET));
        }
        if copies == 1 && from.diffs.get(row) == 0 {
            // Changes that come in any order may be none.
        } else if copies == 1 {
            append(&mut made, from, row, from.times.get(row), from.diffs.get(row));
        } else {
            let change = |o: &(u128, u32, u32)| {
                let (body, row) = (body(o), o.2 as usize);
                (body.times.get(row).max(since), body.diffs.get(row))
            };
            changes.clear();
            changes.extend(order[i..i + copies].iter().map(change));
            sum(&mut changes, |time, diff| append(&mut made, from, row, time, diff));
        }
        if is_full(&made) {
            flush(&mut made, &mut out);
        }
        i += copies;
    }
    flush(&mut made, &mut out);
    out.into_iter().map(seal).collect()
}
