//! The NEXMARK generator: people who sell, auctions, and bids, 1:3:46.
//!
//! Event `n` is a pure function of the seed, `n`, the epoch and the rate, so any range can be made again byte for byte,
//! however it is split. The position of the source is the event number. Rows are about 200 (person), 500 (auction) and
//! 100 (bid) bytes; half of the bids go to few hot auctions, three of four come from few hot bidders.

use crate::kafka::ReaderOptions;
use crate::queue::BatchQueue;
use crate::source::{Notify, RangeDigest, SourceBatch, SourceReader, SourceState};
use arrow::array::{ArrayRef, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::SchemaRef;
use hw_plan::NexmarkSource;
use hw_repr::{Column, RelationDesc, SqlError, SqlState, SqlType};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Events of one round: one person, three auctions, 46 bids.
pub const ROUND: u64 = 50;
const AUCTIONS: u64 = 3;
/// Event time moves at this rate where the source has none.
const DEFAULT_RATE: u64 = 10_000;
const FIRST_ID: u64 = 1000;
const FIRST_CATEGORY: u64 = 10;
/// Every so many people or auctions a new one becomes the hot one.
const HOT_EVERY: u64 = 100;
const ACTIVE_PEOPLE: u64 = 1000;
const OPEN_AUCTIONS: u64 = 100;
/// Ids this far ahead are referred to before they appear.
const LEAD: u64 = 10;
const CHANNELS: u64 = 10_000;
const PERSON_BYTES: usize = 200;
const AUCTION_BYTES: usize = 500;
const BID_BYTES: usize = 100;
/// Events made at a time.
const CHUNK_EVENTS: u64 = 10_000;
const WAIT: Duration = Duration::from_millis(20);

const FIRST_NAMES: [&str; 12] =
    ["Ada", "Bela", "Chidi", "Dana", "Emre", "Freya", "Goran", "Hana", "Ivo", "Jun", "Kofi", "Lena"];
const LAST_NAMES: [&str; 10] =
    ["Abara", "Berg", "Costa", "Dubois", "Endo", "Fischer", "Garcia", "Hansen", "Ito", "Jansen"];
const PLACES: [(&str, &str); 10] = [
    ("Phoenix", "AZ"),
    ("Tucson", "AZ"),
    ("Los Angeles", "CA"),
    ("San Francisco", "CA"),
    ("Boise", "ID"),
    ("Portland", "OR"),
    ("Bend", "OR"),
    ("Seattle", "WA"),
    ("Kent", "WA"),
    ("Cheyenne", "WY"),
];
const HOT_CHANNELS: [&str; 4] = ["search", "social", "mail", "store"];

/// The three relations: name and columns. Numbers are bigint, times `timestamp`, all else text.
pub fn descs() -> [(&'static str, RelationDesc); 3] {
    let desc = |columns: &[(&str, SqlType)], key: Option<usize>| RelationDesc {
        columns: columns.iter().map(|(n, ty)| Column { name: (*n).into(), ty: *ty, nullable: false }).collect(),
        keys: key.map(|k| vec![k]).into_iter().collect(),
        append_only: true,
    };
    use SqlType::{Int8, Text, Timestamp};
    let person = [
        ("id", Int8),
        ("name", Text),
        ("email_address", Text),
        ("credit_card", Text),
        ("city", Text),
        ("state", Text),
        ("date_time", Timestamp),
        ("extra", Text),
    ];
    let auction = [
        ("id", Int8),
        ("item_name", Text),
        ("description", Text),
        ("initial_bid", Int8),
        ("reserve", Int8),
        ("date_time", Timestamp),
        ("expires", Timestamp),
        ("seller", Int8),
        ("category", Int8),
        ("extra", Text),
    ];
    let bid = [
        ("auction", Int8),
        ("bidder", Int8),
        ("price", Int8),
        ("channel", Text),
        ("url", Text),
        ("date_time", Timestamp),
        ("extra", Text),
    ];
    [("person", desc(&person, Some(0))), ("auction", desc(&auction, Some(0))), ("bid", desc(&bid, None))]
}

/// A counter-based generator: the stream of event `n` does not depend on other events.
struct Random(u64);

impl Random {
    fn new(seed: u64, n: u64) -> Self {
        let mut r = Random(seed ^ n.wrapping_mul(0xD134_2543_DE82_EF95));
        r.next();
        r
    }
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// Uniform in `0..n`.
    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }
    /// 1.00 to 1,000,000.00 in cents, each order of magnitude as likely. Integer arithmetic only: the same everywhere.
    fn price(&mut self) -> i64 {
        let magnitude = 10u64.pow(self.below(6) as u32 + 2);
        (magnitude + self.below(magnitude * 9)) as i64
    }
    /// Appends `len` lower-case letters.
    fn letters(&mut self, len: usize, out: &mut String) {
        let mut left = len;
        while left > 0 {
            let mut bits = self.next();
            for _ in 0..left.min(12) {
                out.push(char::from(b'a' + ((bits & 31) * 26 / 32) as u8));
                bits >>= 5;
            }
            left -= left.min(12);
        }
    }
    /// Appends `min..=max` letters.
    fn text(&mut self, min: usize, max: usize, out: &mut String) {
        let len = min + self.below((max - min + 1) as u64) as usize;
        self.letters(len, out);
    }
    /// Appends letters so that `used` bytes become about `size`, give or take a fifth.
    fn pad(&mut self, used: usize, size: usize, out: &mut String) {
        let missing = size.saturating_sub(used);
        self.text(missing - missing / 5, missing + missing / 5, out);
    }
}

/// People before and with event `n`, less one: the newest person's number.
fn newest_person(n: u64) -> u64 {
    n / ROUND
}

/// The newest auction's number at event `n`.
fn newest_auction(n: u64) -> u64 {
    let in_round = (n % ROUND).min(AUCTIONS);
    (n / ROUND * AUCTIONS + in_round).saturating_sub(1)
}

/// Makes events. Cheap to clone.
#[derive(Clone)]
pub struct NexmarkGenerator {
    seed: u64,
    rate: u64,
    epoch_ms: i64,
    schemas: [SchemaRef; 3],
}

impl NexmarkGenerator {
    /// From the source's description.
    pub fn new(source: &NexmarkSource) -> Self {
        NexmarkGenerator {
            seed: source.seed,
            rate: source.events_per_second.unwrap_or(DEFAULT_RATE).max(1),
            epoch_ms: source.epoch_ms,
            schemas: descs().map(|(_, d)| d.schema()),
        }
    }

    /// Time of event `n`, µs since 1970, on whole milliseconds.
    fn micros(&self, n: u64) -> i64 {
        let ms = (u128::from(n) * 1000 / u128::from(self.rate)) as i64;
        self.epoch_ms.saturating_add(ms).saturating_mul(1000)
    }

    /// The events `from..to` as person, auction and bid rows, each in order.
    pub fn batch(&self, from: u64, to: u64) -> [RecordBatch; 3] {
        let mut tables = [Table::new(8), Table::new(10), Table::new(7)];
        let mut text = String::new();
        for n in from..to {
            let mut r = Random::new(self.seed, n);
            match n % ROUND {
                0 => self.person(n, &mut r, &mut tables[0], &mut text),
                1..=AUCTIONS => self.auction(n, &mut r, &mut tables[1], &mut text),
                _ => self.bid(n, &mut r, &mut tables[2], &mut text),
            }
        }
        let mut schemas = self.schemas.iter();
        tables.map(|t| t.finish(schemas.next().expect("three schemas")))
    }

    fn person(&self, n: u64, r: &mut Random, t: &mut Table, text: &mut String) {
        let mut used = 16;
        t.int((FIRST_ID + newest_person(n)) as i64);
        let first = FIRST_NAMES[r.below(FIRST_NAMES.len() as u64) as usize];
        let last = LAST_NAMES[r.below(LAST_NAMES.len() as u64) as usize];
        used += t.made(text, |s| write(s, format_args!("{first} {last}")));
        used += t.made(text, |s| {
            r.text(3, 7, s);
            s.push('@');
            r.text(3, 5, s);
            s.push_str(".com");
        });
        let card = r.next();
        used += t.made(text, |s| {
            let part = |i: u32| (card >> (14 * i)) % 10_000;
            write(s, format_args!("{:04} {:04} {:04} {:04}", part(0), part(1), part(2), part(3)));
        });
        let (city, state) = PLACES[r.below(PLACES.len() as u64) as usize];
        used += t.text(city) + t.text(state);
        t.time(self.micros(n));
        t.made(text, |s| r.pad(used, PERSON_BYTES, s));
    }

    fn auction(&self, n: u64, r: &mut Random, t: &mut Table, text: &mut String) {
        let mut used = 56;
        t.int((FIRST_ID + newest_auction(n)) as i64);
        used += t.made(text, |s| r.text(3, 20, s));
        used += t.made(text, |s| r.text(3, 100, s));
        let initial = r.price();
        t.int(initial);
        t.int(initial + r.price());
        let now = self.micros(n);
        t.time(now);
        // Open for as long as it takes to make some further auctions.
        let horizon = self.micros(n + OPEN_AUCTIONS * ROUND / AUCTIONS) - now;
        t.time(now + 1000 + r.below((horizon / 500).max(1) as u64) as i64 * 1000);
        t.int(self.someone(n, 4, 0, r));
        t.int((FIRST_CATEGORY + r.below(5)) as i64);
        t.made(text, |s| r.pad(used, AUCTION_BYTES, s));
    }

    fn bid(&self, n: u64, r: &mut Random, t: &mut Table, text: &mut String) {
        let newest = newest_auction(n);
        let auction = match r.below(2) {
            0 => {
                let oldest = newest.saturating_sub(OPEN_AUCTIONS);
                oldest + r.below(newest - oldest + 1 + LEAD)
            }
            _ => newest / HOT_EVERY * HOT_EVERY,
        };
        t.int((FIRST_ID + auction) as i64);
        t.int(self.someone(n, 4, 1, r));
        t.int(r.price());
        let mut used = 32;
        if r.below(2) == 0 {
            let name = HOT_CHANNELS[r.below(HOT_CHANNELS.len() as u64) as usize];
            used += t.text(name);
            used += t.made(text, |s| write(s, format_args!("https://auctions.example/{name}?q=1")));
        } else {
            let channel = r.below(CHANNELS);
            used += t.made(text, |s| write(s, format_args!("channel-{channel}")));
            // The address is a function of the channel.
            used += t.made(text, |s| {
                s.push_str("https://auctions.example/");
                Random::new(77, channel).letters(9, s);
                write(s, format_args!("?channel_id={channel}"));
            });
        }
        t.time(self.micros(n));
        t.made(text, |s| r.pad(used, BID_BYTES, s));
    }

    /// A person's id: the hot one in all but one of `odds` cases, else any active one.
    fn someone(&self, n: u64, odds: u64, hot: u64, r: &mut Random) -> i64 {
        let newest = newest_person(n);
        let id = if r.below(odds) > 0 {
            newest / HOT_EVERY * HOT_EVERY + hot
        } else {
            let active = (newest + 1).min(ACTIVE_PEOPLE);
            newest + 1 - active + r.below(active + LEAD)
        };
        (FIRST_ID + id) as i64
    }
}

fn write(out: &mut String, args: std::fmt::Arguments<'_>) {
    out.write_fmt(args).expect("a string takes everything");
}

enum TableColumn {
    Int(Int64Builder),
    Text(StringBuilder),
    Time(TimestampMicrosecondBuilder),
}

/// Builders of one relation, filled column by column in order.
struct Table {
    columns: Vec<TableColumn>,
    arity: usize,
    at: usize,
}

impl Table {
    fn new(arity: usize) -> Self {
        Table { columns: Vec::with_capacity(arity), arity, at: 0 }
    }

    fn column(&mut self, make: fn() -> TableColumn) -> &mut TableColumn {
        if self.columns.len() < self.arity && self.at == self.columns.len() {
            self.columns.push(make());
        }
        let at = self.at;
        self.at = (at + 1) % self.arity;
        &mut self.columns[at]
    }

    fn int(&mut self, v: i64) {
        if let TableColumn::Int(b) = self.column(|| TableColumn::Int(Int64Builder::new())) {
            b.append_value(v);
        }
    }

    fn time(&mut self, v: i64) {
        if let TableColumn::Time(b) = self.column(|| TableColumn::Time(TimestampMicrosecondBuilder::new())) {
            b.append_value(v);
        }
    }

    /// Returns the bytes added.
    fn text(&mut self, v: &str) -> usize {
        if let TableColumn::Text(b) = self.column(|| TableColumn::Text(StringBuilder::new())) {
            b.append_value(v);
        }
        v.len()
    }

    fn made(&mut self, buffer: &mut String, make: impl FnOnce(&mut String)) -> usize {
        buffer.clear();
        make(buffer);
        self.text(buffer)
    }

    fn finish(self, schema: &SchemaRef) -> RecordBatch {
        if self.columns.is_empty() {
            return RecordBatch::new_empty(schema.clone());
        }
        let array = |c: TableColumn| -> ArrayRef {
            match c {
                TableColumn::Int(mut b) => Arc::new(b.finish()),
                TableColumn::Text(mut b) => Arc::new(b.finish()),
                TableColumn::Time(mut b) => Arc::new(b.finish()),
            }
        };
        RecordBatch::try_new(schema.clone(), self.columns.into_iter().map(array).collect())
            .expect("the columns are made in the order of the schema")
    }
}

/// Makes events on a thread of its own: no faster than its pace, and no further ahead than its bound. One partition, 0.
pub struct NexmarkReader {
    queue: Arc<BatchQueue>,
}

impl NexmarkReader {
    /// Starts at event `from`; ends before event `to` where given, and after the source's last event. A reader with `to`
    /// re-reads a range that was made before, so the pace does not apply to it.
    pub fn start(source: &NexmarkSource, from: i64, to: Option<i64>, options: ReaderOptions) -> Result<Self, SqlError> {
        if from < 0 || to.is_some_and(|to| to < 0) {
            return Err(SqlError::new(SqlState::INVALID_PARAMETER, "an event number cannot be negative"));
        }
        let queue = Arc::new(BatchQueue::new(options.max_buffer_bytes, BTreeMap::from([(0, from)])));
        let maker = Maker {
            generator: NexmarkGenerator::new(source),
            pace: if to.is_some() { None } else { source.events_per_second },
            end: match (to, source.events) {
                (Some(to), Some(events)) => Some((to as u64).min(events)),
                (to, events) => to.map(|t| t as u64).or(events),
            },
            bounded: to.is_some(),
            cuts: options.cuts.get(&0).cloned().unwrap_or_default(),
            queue: queue.clone(),
        };
        std::thread::Builder::new()
            .name("nexmark".into())
            .spawn(move || maker.run(from as u64))
            .map_err(|e| SqlError::new(SqlState::LIMIT_EXCEEDED, format!("could not start a generator thread: {e}")))?;
        Ok(NexmarkReader { queue })
    }
}

struct Maker {
    generator: NexmarkGenerator,
    pace: Option<u64>,
    end: Option<u64>,
    bounded: bool,
    cuts: Vec<i64>,
    queue: Arc<BatchQueue>,
}

impl Maker {
    fn run(&self, from: u64) {
        let mut next = from;
        self.queue.set_state(SourceState::Running, None);
        while !self.queue.is_stopped() {
            if self.end.is_some_and(|end| next >= end) {
                self.queue.set_end(0, next as i64);
                if self.bounded {
                    self.queue.set_state(SourceState::Done, None);
                }
                // An exhausted generator stays as it is: running, without lag.
                return;
            }
            if self.queue.is_paused() || self.queue.is_full(0) {
                self.queue.wait(WAIT);
                continue;
            }
            let due = self.due();
            let mut to = (next + CHUNK_EVENTS).min(due).min(self.end.unwrap_or(u64::MAX));
            if let Some(cut) = self.cuts.iter().find(|cut| **cut as u64 > next) {
                to = to.min(*cut as u64);
            }
            if self.pace.is_some() {
                self.queue.set_end(0, due.min(self.end.unwrap_or(u64::MAX)).min(i64::MAX as u64) as i64);
            }
            if to <= next {
                std::thread::sleep(self.pause());
                continue;
            }
            self.make(next, to);
            next = to;
        }
    }

    /// The event number up to which events may be made by now.
    fn due(&self) -> u64 {
        let Some(rate) = self.pace else { return u64::MAX };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        let elapsed_ms = now.saturating_sub(self.generator.epoch_ms).max(0) as u128;
        u64::try_from(elapsed_ms * u128::from(rate) / 1000).unwrap_or(u64::MAX)
    }

    /// One millisecond, or about the time of one event at slow paces, at most 50 ms so that a stop is noticed.
    fn pause(&self) -> Duration {
        Duration::from_millis((1000 / self.pace.unwrap_or(1000).max(1)).clamp(1, 50))
    }

    fn make(&self, from: u64, to: u64) {
        let outputs = self.generator.batch(from, to);
        let memory = outputs.iter().map(RecordBatch::get_array_memory_size).sum();
        let was_empty = self.queue.is_empty();
        if self.pace.is_none() {
            self.queue.set_end(0, to as i64);
        }
        self.queue.push(SourceBatch {
            partition: 0,
            from: from as i64,
            to: to as i64,
            // A pure function of its position cannot differ the second time: there is nothing to check but the count.
            digest: RangeDigest { count: to - from, crc: 0, bytes: 0 },
            outputs: outputs.into(),
            dead: vec![],
            memory,
        });
        if was_empty {
            self.queue.notify();
        }
    }
}

impl SourceReader for NexmarkReader {
    fn try_take(&self, max_bytes: usize) -> Vec<SourceBatch> {
        self.queue.take(max_bytes)
    }
    fn buffered(&self) -> usize {
        self.queue.bytes()
    }
    fn positions(&self) -> BTreeMap<i32, i64> {
        self.queue.positions()
    }
    fn upstream_end(&self) -> BTreeMap<i32, i64> {
        self.queue.ends()
    }
    fn state(&self) -> (SourceState, Option<SqlError>) {
        self.queue.state()
    }
    fn set_notify(&self, notify: Notify) {
        self.queue.set_notify(notify);
    }
    fn set_paused(&self, paused: bool) {
        self.queue.set_paused(paused);
    }
    fn is_done(&self) -> bool {
        self.queue.state().0 == SourceState::Done && self.queue.is_empty()
    }
}

impl Drop for NexmarkReader {
    fn drop(&mut self) {
        self.queue.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::time::Instant;

    fn source(seed: u64) -> NexmarkSource {
        NexmarkSource { events: None, events_per_second: None, seed, epoch_ms: 1_700_000_000_000 }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_split_of_a_range_gives_the_same_rows(seed: u64, from in 0u64..1_000_000, lens in proptest::collection::vec(0u64..200, 1..6)) {
            let generator = NexmarkGenerator::new(&source(seed));
            let whole = generator.batch(from, from + lens.iter().sum::<u64>());
            let mut at = from;
            let parts: Vec<_> = lens.iter().map(|len| { at += len; generator.batch(at - len, at) }).collect();
            for i in 0..3 {
                let joined = concat_batches(&whole[i].schema(), parts.iter().map(|p| &p[i])).unwrap();
                prop_assert_eq!(&joined, &whole[i]);
            }
        }
    }

    #[test]
    fn proportions_keys_and_sizes() {
        let rounds = 2000;
        let [person, auction, bid] = NexmarkGenerator::new(&source(1)).batch(0, rounds * ROUND);
        assert_eq!([person.num_rows(), auction.num_rows(), bid.num_rows()], [2000, 6000, 92_000]);
        for table in [&person, &auction] {
            let ids = table.column(0).as_primitive::<Int64Type>().values();
            assert!(ids.windows(2).all(|w| w[0] + 1 == w[1]), "ids are dense, and so unique");
            assert_eq!(ids[0], FIRST_ID as i64);
        }
        let width = |b: &RecordBatch| {
            let cell = |c: &ArrayRef| c.as_string_opt::<i32>().map_or(8 * c.len(), |s| s.value_data().len());
            b.columns().iter().map(cell).sum::<usize>() / b.num_rows()
        };
        assert!((190..=210).contains(&width(&person)), "{}", width(&person));
        assert!((480..=520).contains(&width(&auction)), "{}", width(&auction));
        assert!((90..=120).contains(&width(&bid)), "{}", width(&bid));
        let auctions = bid.column(0).as_primitive::<Int64Type>().values();
        let hot = auctions.iter().filter(|a| (**a - FIRST_ID as i64) % HOT_EVERY as i64 == 0).count();
        assert!((45_000..50_000).contains(&hot), "about half of the bids are hot: {hot}");
        let times = bid.column(5).as_primitive::<TimestampMicrosecondType>().values();
        assert!(times.is_sorted() && times.iter().all(|t| t % 1000 == 0));
        let opens = auction.column(5).as_primitive::<TimestampMicrosecondType>().values();
        let expires = auction.column(6).as_primitive::<TimestampMicrosecondType>().values();
        assert!(opens.iter().zip(expires).all(|(o, e)| o < e));
    }

    #[test]
    fn seeds_differ() {
        let first = |seed| NexmarkGenerator::new(&source(seed)).batch(0, 500);
        assert_eq!(first(1), first(1));
        assert_ne!(first(1)[2], first(2)[2]);
    }

    fn drain(reader: &NexmarkReader, until: impl Fn(i64) -> bool) -> Vec<SourceBatch> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut out = vec![];
        while !until(reader.positions()[&0]) {
            assert!(Instant::now() < deadline, "no more events");
            out.extend(reader.try_take(1 << 20));
            std::thread::sleep(Duration::from_millis(1));
        }
        out
    }

    #[test]
    fn readers_give_contiguous_batches_up_to_the_end() {
        let finite = NexmarkSource { events: Some(25_000), ..source(3) };
        let reader = NexmarkReader::start(&finite, 100, None, ReaderOptions::default()).unwrap();
        let batches = drain(&reader, |at| at == 25_000);
        assert!(batches.windows(2).all(|w| w[0].to == w[1].from) && batches[0].from == 100);
        assert!(!reader.is_done(), "a live reader has no end of its own");

        let cuts = BTreeMap::from([(0, vec![150, 12_345])]);
        let options = ReaderOptions { cuts, ..ReaderOptions::default() };
        let reader = NexmarkReader::start(&finite, 100, Some(20_000), options).unwrap();
        let ends: BTreeSet<i64> = drain(&reader, |at| at == 20_000).iter().map(|b| b.to).collect();
        assert!([150, 12_345, 20_000].iter().all(|cut| ends.contains(cut)), "{ends:?}");
        let deadline = Instant::now() + Duration::from_secs(5);
        while !reader.is_done() {
            assert!(Instant::now() < deadline);
        }
    }

    #[test]
    fn a_pace_is_kept_and_a_bound_holds() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let paced = NexmarkSource { events_per_second: Some(2000), epoch_ms: now, ..source(3) };
        let reader = NexmarkReader::start(&paced, 0, None, ReaderOptions::default()).unwrap();
        std::thread::sleep(Duration::from_millis(400));
        reader.try_take(usize::MAX);
        let at = reader.positions()[&0];
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64 - now;
        assert!(at >= 200 && at <= elapsed * 2, "{at} events after {elapsed} ms");

        let options = ReaderOptions { max_buffer_bytes: 4 << 20, ..ReaderOptions::default() };
        let reader = NexmarkReader::start(&source(3), 0, None, options).unwrap();
        std::thread::sleep(Duration::from_millis(400));
        let held: usize = reader.try_take(usize::MAX).iter().map(|b| b.memory).sum();
        assert!(held < 16 << 20, "{held} bytes are held");
    }
}
