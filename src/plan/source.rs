//! Descriptions of connections and sources.

use hw_repr::{GlobalId, RelationDesc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How to reach an external system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConnectionDesc {
    /// A Kafka cluster.
    Kafka {
        /// `bootstrap.servers`
        brokers: String,
        /// Further librdkafka settings from the statement (security.protocol, sasl.*, ssl.*), by their librdkafka names.
        properties: BTreeMap<String, String>,
    },
}

/// Where a Kafka source begins. Resolved to offsets once, at CREATE, and logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartAt {
    /// The oldest message that is there.
    Earliest,
    /// The end at CREATE.
    Latest,
    /// The first message at or after this time, ms since 1970.
    Timestamp(i64),
    /// Per partition; unnamed partitions start at the earliest.
    Offsets(BTreeMap<i32, i64>),
}

/// How values are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// One JSON object a message, fields by column name.
    Json,
}

/// A column that comes from the message's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metadata {
    /// bytea
    Key,
    /// int4
    Partition,
    /// int8
    Offset,
    /// timestamptz
    Timestamp,
}

/// A Kafka source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KafkaSource {
    /// The connection object.
    pub connection: GlobalId,
    /// Topic.
    pub topic: String,
    /// Where it begins.
    pub start: StartAt,
    /// How values are decoded.
    pub format: Format,
    /// Metadata columns: the last columns of the source, in this order.
    pub include: Vec<Metadata>,
}

/// The NEXMARK generator; `table` says which of its three relations this source is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NexmarkSource {
    /// Events to make in all (all three kinds, 1:3:46); endless where `None`.
    pub events: Option<u64>,
    /// Pace; as fast as the views take it where `None`.
    pub events_per_second: Option<u64>,
    /// Seed.
    pub seed: u64,
    /// Time of the first event, ms since 1970; [`NexmarkSource::AT_CREATE`] until that is resolved.
    pub epoch_ms: i64,
}

impl NexmarkSource {
    /// The epoch of a source that begins when it is created.
    pub const AT_CREATE: i64 = i64::MIN;
}

/// What feeds a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceConnector {
    /// A topic.
    Kafka(KafkaSource),
    /// The generator: makes three relations, see [`SourceDesc::outputs`].
    Nexmark(NexmarkSource),
}

/// A source: what feeds it and which relations it makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceDesc {
    /// What feeds it.
    pub connector: SourceConnector,
    /// (name, description) of each relation it makes. A Kafka source makes one, of its own name and id; a generator
    /// makes person, auction, bid (in this order), each an object of its own.
    pub outputs: Vec<(String, RelationDesc)>,
    /// `WITH (PAUSED)`
    pub paused: bool,
}
