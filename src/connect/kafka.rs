//! Apache Kafka: statements that ask a cluster something ([`KafkaConnector`]) and readers of a topic ([`KafkaReader`]).
//!
//! Partitions are assigned by hand and read with `read_committed`; no group is joined and nothing is committed.
//! `auto.offset.reset` is `error`: a range that is gone is never skipped silently.

mod assemble;
mod connector;
mod reader;

pub use connector::{KafkaConnector, TopicInfo, range_gone};
pub use reader::{KafkaReader, read_range};

use std::collections::BTreeMap;

/// Settings of one reader.
#[derive(Clone, Debug)]
pub struct ReaderOptions {
    /// Decoded bytes held for the taker; the reader stops reading when they are reached.
    pub max_buffer_bytes: usize,
    /// Undecoded bytes that the client library may fetch ahead.
    pub prefetch_bytes: usize,
    /// A batch is closed at this size even when nobody takes.
    pub batch_bytes: usize,
    /// A batch is closed at this number of messages even when nobody takes.
    pub batch_rows: usize,
    /// Per partition, positions in ascending order at which a batch has to end, so that its digest can be compared with
    /// a logged one.
    pub cuts: BTreeMap<i32, Vec<i64>>,
    /// How often new partitions and the upstream's end are looked for.
    pub refresh_ms: u64,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        ReaderOptions {
            max_buffer_bytes: 32 << 20,
            prefetch_bytes: 16 << 20,
            batch_bytes: 2 << 20,
            batch_rows: 16 << 10,
            cuts: BTreeMap::new(),
            refresh_ms: 1000,
        }
    }
}

#[cfg(test)]
mod tests;
