//! Chunk operations against a sorted list: nothing lost, nothing twice, order kept, sums zero gone.

use super::*;
use differential_dataflow::trace::chunk::{is_graded, merge_chains, settle_all};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Model = BTreeMap<(Vec<u8>, u64), i64>;

fn chain(seed: u64, rows: u64, keys: u64) -> (Vec<RowChunk>, Model) {
    let (mut body, mut model, mut x) = (ChunkBody::default(), Model::new(), seed);
    for _ in 0..rows {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let row = format!("key{:05}", (x >> 33) % keys).into_bytes();
        let (time, diff) = ((x >> 20) % 3, if (x >> 12) % 3 == 0 { -1 } else { 1 });
        body.push(&row, 4, time, diff);
        *model.entry((row, time)).or_insert(0) += diff;
    }
    model.retain(|_, d| *d != 0);
    (merge_runs(&[body.into()], 0), model)
}

fn list(chunks: &[RowChunk]) -> Vec<((Vec<u8>, u64), i64)> {
    let row = |c: &RowChunk, i: usize| ((c.body.row(i).to_vec(), c.body.times.get(i)), c.body.diffs.get(i));
    chunks.iter().flat_map(|c| c.range().map(|i| row(c, i)).collect::<Vec<_>>()).collect()
}

#[test]
fn merge_settle_and_advance_keep_the_sums() {
    for (n, m, keys) in [(10, 10, 5), (30_000, 30_000, 20_000), (30_000, 100, 90_000), (1, 40_000, 50_000)] {
        let ((a, mut model), (b, other)) = (chain(1, n, keys), chain(2, m, keys));
        assert_eq!(list(&a), model.clone().into_iter().collect::<Vec<_>>());
        for (k, d) in other {
            *model.entry(k).or_insert(0) += d;
        }
        model.retain(|_, d| *d != 0);
        let mut merged = VecDeque::new();
        merge_chains(a, b, &mut merged);
        let settled = settle_all(merged);
        assert!(is_graded(&settled));
        assert_eq!(list(&settled), model.clone().into_iter().collect::<Vec<_>>());
        let mut input: VecDeque<RowChunk> = settled.into();
        let mut out = VecDeque::new();
        RowChunk::advance(&mut input, Antichain::from_elem(2).borrow(), true, &mut out);
        let (mut got, mut want) = (BTreeMap::new(), BTreeMap::new());
        list(out.make_contiguous()).into_iter().for_each(|((r, _), d)| *got.entry(r).or_insert(0) += d);
        model.into_iter().for_each(|((r, _), d)| *want.entry(r).or_insert(0) += d);
        want.retain(|_, d| *d != 0);
        assert_eq!(got, want);
    }
}

#[test]
fn runs_are_joined_as_pairs_are() {
    for (rows, keys, runs) in [(10, 5, 3), (3_000, 2_000, 8), (20_000, 90_000, 5), (1, 1, 2)] {
        let (mut chunks, mut want) = (vec![], BTreeMap::new());
        for seed in 0..runs {
            let (run, model) = chain(seed + 1, rows, keys);
            chunks.extend(run);
            model.into_iter().for_each(|((row, _), d)| *want.entry(row).or_insert(0) += d);
        }
        let joined = merge_runs(&chunks, 2);
        assert!(is_graded(&joined));
        let all = list(&joined);
        assert!(all.iter().map(|c| &c.0).is_sorted(), "the rows are in order");
        assert!(all.iter().all(|c| c.1 != 0));
        let mut got = BTreeMap::new();
        all.iter().for_each(|((row, _), d)| *got.entry(row.clone()).or_insert(0) += d);
        let once = |row: &Vec<u8>| all.iter().filter(|c| c.0.0 == *row).count() == 1;
        assert!(got.keys().take(100).all(once), "times at or before the frontier are joined");
        want.retain(|_, d| *d != 0);
        assert_eq!(got, want);
    }
}

/// Offsets of rows are 32 bits: 8,192 long rows must not become one body.
#[test]
fn chunks_of_long_rows_end_early() {
    const ROW: usize = 3 << 20;
    let long = |i: u64| {
        let mut row = format!("key{i:05}").into_bytes();
        row.resize(ROW, b'x');
        row
    };
    let made = |from: u64, time: u64| {
        let mut body = ChunkBody::default();
        (0..30).rev().for_each(|i| body.push(&long(from + 2 * i), 8, time, 1));
        merge_runs(&[body.into()], 0)
    };
    let bounded = |chunks: &[RowChunk]| chunks.iter().all(|c| c.body.data.len() < TARGET_BYTES + ROW);
    let (a, b, later) = (made(0, 1), made(1, 1), made(0, 2));
    assert!(bounded(&a) && a.len() > 1);
    let (mut merged, mut all) = (VecDeque::new(), VecDeque::new());
    merge_chains(a, b, &mut merged);
    merge_chains(merged.into(), later, &mut all);
    let settled = settle_all(all);
    assert!(bounded(&settled));
    assert!(settled.len() <= 90 * ROW / TARGET_BYTES * 2, "{} chunks", settled.len());
    assert_eq!(settled.iter().map(Chunk::len).sum::<usize>(), 90);
    let (mut input, mut out) = (VecDeque::from(settled), VecDeque::new());
    RowChunk::advance(&mut input, Antichain::from_elem(5).borrow(), true, &mut out);
    assert!(bounded(out.make_contiguous()));
    let sums: Vec<(u64, i64)> = list(out.make_contiguous())
        .into_iter()
        .map(|((row, _), d)| (String::from_utf8_lossy(&row[3..8]).parse().expect("a number"), d))
        .collect();
    let want: Vec<(u64, i64)> = (0..60).map(|i| (i, if i % 2 == 0 { 2 } else { 1 })).collect();
    assert_eq!(sums, want);
    assert!(bounded(&merge_runs(out.make_contiguous(), 5)));
}

/// Columns have 32-bit offsets too: what goes on as columns is cut.
#[test]
fn long_rows_become_several_batches() {
    use crate::arrange::{BATCH_BYTES, batches_by_time};
    use crate::layout::Layout;
    use hw_repr::SqlType;
    let layout = Layout::keyed(&[SqlType::Int4, SqlType::Text], &[0]);
    let value = "x".repeat(BATCH_BYTES / 4);
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(arrow::array::Int32Array::from(vec![1, 2, 3])),
        Arc::new(arrow::array::StringArray::from_iter_values([&value, &value, &value])),
    ];
    let schema = crate::types::schema_of(&[SqlType::Int4, SqlType::Text]);
    let rows = crate::types::batch_of(&schema, columns, 3).expect("fits");
    let mut chunks = vec![];
    for time in [1, 2] {
        let mut body = ChunkBody::default();
        let batch = hw_repr::UpdateBatch { rows: rows.clone(), diffs: None, time };
        layout.encode(&batch, &[], &mut body, usize::MAX, &mut |_| panic!("has no limit"));
        chunks.extend(merge_runs(&[body.into()], 0));
    }
    let cut = batches_by_time(&layout, &chunks, |_| Some(7)).expect("decodes");
    assert_eq!(cut.iter().map(hw_repr::UpdateBatch::len).collect::<Vec<_>>(), [4, 2]);
    let kept = batches_by_time(&layout, &chunks, Some).expect("decodes");
    assert_eq!(kept.iter().map(|b| (b.time, b.len())).collect::<Vec<_>>(), [(1, 3), (2, 3)]);
}

/// Rows that come in pairs (one row, retracted later) may cross every bound between chunks: no more than a chunk of them waits.
#[test]
fn pairs_that_cross_every_bound_wait_for_no_more_than_the_next_chunk() {
    const PAIRS: usize = 10 * TARGET;
    let mut body = ChunkBody::default();
    body.push(b"key00", 4, 0, 1);
    let mut chunks = vec![];
    for pair in 0..PAIRS {
        for (time, diff) in [(1, 1), (2, -1)] {
            body.push(format!("key{:09}", pair + 1).as_bytes(), 4, time, diff);
            if is_full(&body) {
                chunks.push(RowChunk::from(std::mem::take(&mut body)));
            }
        }
    }
    chunks.push(body.into());
    let since = Antichain::from_elem(3);
    let (mut input, mut out) = (VecDeque::new(), VecDeque::new());
    for chunk in chunks {
        input.push_back(chunk);
        RowChunk::advance(&mut input, since.borrow(), false, &mut out);
        let waiting: usize = input.iter().map(Chunk::len).sum();
        assert!(waiting <= TARGET, "{waiting} rows wait");
    }
    RowChunk::advance(&mut input, since.borrow(), true, &mut out);
    assert_eq!(list(out.make_contiguous()), [((b"key00".to_vec(), 0), 1)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever the bounds of the chunks and of the calls: rows that repeat are summed as in one go.
    #[test]
    fn advancing_by_pieces_is_the_whole(
        changes in prop::collection::vec((0u8..12, 0u64..4, 1i64..3, any::<bool>()), 1..80),
        cuts in prop::collection::vec((1usize..9, any::<bool>()), 80)
    ) {
        let mut sums: BTreeMap<(u8, u64), i64> = BTreeMap::new();
        changes.iter().for_each(|(row, time, n, add)| {
            *sums.entry((*row, *time)).or_default() += if *add { *n } else { -n };
        });
        sums.retain(|_, d| *d != 0);
        let chunk = |rows: &[((u8, u64), i64)]| {
            let mut body = ChunkBody::default();
            rows.iter().for_each(|((row, time), diff)| body.push(&[*row], 1, *time, *diff));
            RowChunk::from(body)
        };
        let all: Vec<((u8, u64), i64)> = sums.into_iter().collect();
        let since = Antichain::from_elem(2);
        let (mut whole, mut want) = (VecDeque::new(), VecDeque::new());
        if !all.is_empty() {
            whole.push_back(chunk(&all));
        }
        RowChunk::advance(&mut whole, since.borrow(), true, &mut want);
        let (mut input, mut got, mut at) = (VecDeque::new(), VecDeque::new(), 0);
        for (size, call) in cuts {
            let to = (at + size).min(all.len());
            if at < to {
                input.push_back(chunk(&all[at..to]));
            }
            at = to;
            if call {
                RowChunk::advance(&mut input, since.borrow(), false, &mut got);
            }
        }
        RowChunk::advance(&mut input, since.borrow(), true, &mut got);
        prop_assert_eq!(list(got.make_contiguous()), list(want.make_contiguous()));
    }
}
