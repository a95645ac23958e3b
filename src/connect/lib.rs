//! The outside world: what feeds sources.
//!
//! Owns: the contract of a source ([`source::SourceReader`]), the JSON decoder, the Kafka reader and the NEXMARK
//! generator. A reader runs on its own threads, decodes into Arrow batches that say exactly which range of the upstream
//! they hold, and is pulled: its buffer is bounded in bytes, and it stops reading when nobody takes.
//!
//! Deliberately absent: time, ticks, the log (the coordinator binds positions to ticks) and retries of a statement.
//!
//! Invariants:
//! - The batches of a partition are contiguous: each one's `from` is the previous one's `to`.
//! - Whether a message is a row or a dead letter depends on the declared columns alone, never on which are read.
//! - No offset is ever committed upstream for recovery; positions belong to the tick log.

pub mod json;
pub mod kafka;
pub mod nexmark;
pub mod queue;
pub mod source;

pub use json::JsonDecoder;
pub use kafka::{KafkaConnector, KafkaReader, ReaderOptions, TopicInfo, range_gone, read_range};
pub use nexmark::{NexmarkGenerator, NexmarkReader};
pub use source::{DeadLetter, RangeDigest, SourceBatch, SourceReader, SourceState};
