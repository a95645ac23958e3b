//! The same work by programs written for one query each: what the machine could do.
//!
//! Each takes the same batches in the same ticks and gives out the changed rows of every tick as columns (-old, +new),
//! like a view does to its readers. Nothing is durable, ordered or readable meanwhile, so they are a limit, not a peer.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use hashbrown::HashMap;
use std::sync::Arc;

/// A single-purpose program.
pub trait Limit {
    /// Takes a tick; how many rows changed.
    fn tick(&mut self, tick: &[RecordBatch; 3]) -> u64;
}

/// The program for a query, where there is one.
pub fn by_name(name: &str) -> Option<Box<dyn Limit>> {
    Some(match name {
        "q0" => Box::new(Pass(None)),
        "q1" => Box::new(Pass(Some(0.908))),
        "count_sum" => Box::new(Groups::<false>::default()),
        "count_sum_max" | "count_sum_max_retractable" => Box::new(Groups::<true>::default()),
        "q4" => Box::new(Q4::default()),
        "q20" => Box::new(Join { category: Some(10), ..Join::default() }),
        "join" => Box::new(Join::default()),
        _ => return None,
    })
}

fn ints<'a>(batch: &'a RecordBatch, name: &str) -> &'a [i64] {
    batch.column_by_name(name).map_or(&[], |c| c.as_primitive::<Int64Type>().values())
}

fn times<'a>(batch: &'a RecordBatch, name: &str) -> &'a [i64] {
    batch.column_by_name(name).map_or(&[], |c| c.as_primitive::<TimestampMicrosecondType>().values())
}

/// Rows go out as they come; with a factor, the price is multiplied.
struct Pass(Option<f64>);

impl Limit for Pass {
    fn tick(&mut self, tick: &[RecordBatch; 3]) -> u64 {
        let all: Vec<u32> = (0..tick[2].num_rows() as u32).collect();
        let rows = UInt32Array::from(all);
        let mut columns: Vec<ArrayRef> = tick[2].columns().iter().filter_map(|c| take(c, &rows, None).ok()).collect();
        if let Some(factor) = self.0 {
            let thousandths = (factor * 1000.0) as i64;
            let prices: Int64Array = ints(&tick[2], "price").iter().map(|p| p * thousandths).collect::<Vec<_>>().into();
            columns.push(Arc::new(prices));
        }
        std::hint::black_box(&columns);
        rows.len() as u64
    }
}

#[derive(Clone, Copy, Default, PartialEq)]
struct Sums {
    count: i64,
    sum: i64,
    max: i64,
}

/// count, sum and perhaps max of prices by auction.
#[derive(Default)]
struct Groups<const MAX: bool> {
    groups: HashMap<i64, Sums>,
    before: HashMap<i64, Option<Sums>>,
}

impl<const MAX: bool> Limit for Groups<MAX> {
    fn tick(&mut self, tick: &[RecordBatch; 3]) -> u64 {
        for (auction, price) in ints(&tick[2], "auction").iter().zip(ints(&tick[2], "price")) {
            let old = self.groups.get(auction).copied();
            self.before.entry(*auction).or_insert(old);
            let group = self.groups.entry(*auction).or_default();
            group.count += 1;
            group.sum += price;
            if MAX {
                group.max = group.max.max(*price);
            }
        }
        let mut out: [Vec<i64>; 5] = Default::default();
        let mut push = |key: i64, s: Sums, diff: i64| {
            [key, s.count, s.sum, s.max, diff].into_iter().zip(&mut out).for_each(|(v, column)| column.push(v));
        };
        for (key, old) in self.before.drain() {
            if let Some(old) = old {
                push(key, old, -1);
            }
            push(key, self.groups[&key], 1);
        }
        let changed = out[0].len() as u64;
        std::hint::black_box(out.map(Int64Array::from));
        changed
    }
}

struct Auction {
    category: i64,
    begins: i64,
    ends: i64,
    best: Option<i64>,
}

/// Average over a category of each auction's best bid in time.
#[derive(Default)]
struct Q4 {
    auctions: HashMap<i64, Auction>,
    /// Bids that came before their auction: (price, time).
    early: HashMap<i64, Vec<(i64, i64)>>,
    categories: HashMap<i64, (i64, i64)>,
    before: HashMap<i64, (i64, i64)>,
}

impl Q4 {
    fn bid(&mut self, auction: i64, price: i64, time: i64) {
        let Some(a) = self.auctions.get_mut(&auction) else {
            return self.early.entry(auction).or_default().push((price, time));
        };
        if time < a.begins || time > a.ends || a.best.is_some_and(|b| b >= price) {
            return;
        }
        let category = self.categories.entry(a.category).or_default();
        self.before.entry(a.category).or_insert(*category);
        category.0 += price - a.best.unwrap_or(0);
        category.1 += i64::from(a.best.is_none());
        a.best = Some(price);
    }
}

impl Limit for Q4 {
    fn tick(&mut self, tick: &[RecordBatch; 3]) -> u64 {
        let a = &tick[1];
        let (ids, categories) = (ints(a, "id"), ints(a, "category"));
        let (begins, ends) = (times(a, "date_time"), times(a, "expires"));
        for i in 0..ids.len() {
            let auction = Auction { category: categories[i], begins: begins[i], ends: ends[i], best: None };
            self.auctions.insert(ids[i], auction);
            for (price, time) in self.early.remove(&ids[i]).unwrap_or_default() {
                self.bid(ids[i], price, time);
            }
        }
        let b = &tick[2];
        let (auctions, prices, at) = (ints(b, "auction"), ints(b, "price"), times(b, "date_time"));
        for i in 0..auctions.len() {
            self.bid(auctions[i], prices[i], at[i]);
        }
        let mut changed = 0;
        for (category, old) in self.before.drain() {
            let new = self.categories[&category];
            changed += u64::from(old.1 > 0) + 1;
            std::hint::black_box((category, old, new.0 as f64 / new.1 as f64));
        }
        changed
    }
}

/// Bids with their auctions, all columns. Auctions stay in the batches they came in.
#[derive(Default)]
struct Join {
    category: Option<i64>,
    /// Every auction so far, as (batch, row).
    at: HashMap<i64, (u32, u32)>,
    auctions: Vec<RecordBatch>,
    /// Bids without their auction yet, as (batch, row).
    waiting: HashMap<i64, Vec<(u32, u32)>>,
    bids: Vec<RecordBatch>,
}

impl Limit for Join {
    fn tick(&mut self, tick: &[RecordBatch; 3]) -> u64 {
        let (batch, mut pairs) = (self.auctions.len() as u32, Vec::new());
        self.auctions.push(tick[1].clone());
        self.bids.push(tick[2].clone());
        let categories = ints(&tick[1], "category");
        for (row, id) in ints(&tick[1], "id").iter().enumerate() {
            if self.category.is_none_or(|c| categories[row] == c) {
                self.at.insert(*id, (batch, row as u32));
                let waiting = self.waiting.get(id).into_iter().flatten();
                pairs.extend(waiting.map(|bid| (*bid, (batch, row as u32))));
            }
        }
        for (row, auction) in ints(&tick[2], "auction").iter().enumerate() {
            let bid = (batch, row as u32);
            match self.at.get(auction) {
                Some(at) => pairs.push((bid, *at)),
                None => self.waiting.entry(*auction).or_default().push(bid),
            }
        }
        let changed = pairs.len() as u64;
        let (bids, auctions): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        std::hint::black_box((gather(&self.bids, &bids), gather(&self.auctions, &auctions)));
        changed
    }
}

/// The rows at (batch, row) of every column.
fn gather(batches: &[RecordBatch], at: &[(u32, u32)]) -> Vec<ArrayRef> {
    // Only the batches that are named enter `interleave`.
    let mut place: HashMap<u32, usize> = HashMap::new();
    let mut used = vec![];
    let mut rows = Vec::with_capacity(at.len());
    for (batch, row) in at {
        let next = used.len();
        let index = *place.entry(*batch).or_insert(next);
        if index == next {
            used.push(*batch);
        }
        rows.push((index, *row as usize));
    }
    let column = |c: usize| {
        let arrays: Vec<&dyn Array> = used.iter().map(|b| batches[*b as usize].column(c).as_ref()).collect();
        arrow::compute::interleave(&arrays, &rows).ok()
    };
    let columns = batches.first().map_or(0, RecordBatch::num_columns);
    if used.is_empty() { vec![] } else { (0..columns).filter_map(column).collect() }
}
