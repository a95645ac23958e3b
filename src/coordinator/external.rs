//! The seam to connectors: what sessions and background jobs ask of upstreams.
//!
//! Everything here may wait for the network, except [`open_reader`], which only starts threads.

use hw_connect::{DeadLetter, KafkaConnector, KafkaReader, NexmarkReader, ReaderOptions, SourceReader};
use hw_plan::{CatalogView, ConnectionDesc, NexmarkSource, Object, ObjectKind, SourceConnector, SourceDesc, StartAt};
use hw_repr::{GlobalId, SqlError, SqlState};
use hw_store::DeadLetterRow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Makes the reader of a generator's events `[from, to)`, or from `from` on.
pub type MakeReader = dyn Fn(i64, Option<i64>) -> Box<dyn SourceReader> + Send + Sync;

static GENERATOR: OnceLock<Box<MakeReader>> = OnceLock::new();

/// From here on this process's generator sources read what `make` gives, so that a benchmark can feed events that were
/// made before its clock starts. Only the first call counts.
pub fn feed_generators_from(make: Box<MakeReader>) {
    let _ = GENERATOR.set(make);
}

/// First position and end per partition.
pub(crate) type Marks = BTreeMap<i32, (i64, i64)>;

/// How to reach what feeds a source.
#[derive(Clone, Debug)]
pub(crate) enum Upstream {
    /// Through a connection object.
    Connection(ConnectionDesc),
    /// Made here.
    Local,
}

/// The upstream of a source, by its connection object.
pub(crate) fn upstream(desc: &SourceDesc, catalog: &dyn CatalogView) -> Result<Upstream, SqlError> {
    match &desc.connector {
        SourceConnector::Nexmark(_) => Ok(Upstream::Local),
        SourceConnector::Kafka(k) => match catalog.get(k.connection).as_deref() {
            Some(Object { kind: ObjectKind::Connection(c), .. }) => Ok(Upstream::Connection(c.clone())),
            _ => Err(SqlError::new(SqlState::UNDEFINED_OBJECT, "the source's connection does not exist")),
        },
    }
}

/// Positions of a source's first rows. Kafka starts are resolved at CREATE; partitions that
/// appear later begin where they are first seen, which is logged.
pub(crate) fn start_positions(connector: &SourceConnector) -> BTreeMap<i32, i64> {
    match connector {
        SourceConnector::Nexmark(_) => BTreeMap::from([(0, 0)]),
        SourceConnector::Kafka(k) => match &k.start {
            StartAt::Offsets(offsets) => offsets.clone(),
            _ => BTreeMap::new(),
        },
    }
}

/// Starts a reader of `[from, to)`, or of everything from `from` on. Batches end at the `cuts`.
pub(crate) fn open_reader(
    object: &Object,
    upstream: &Upstream,
    wanted: &[Vec<usize>],
    from: BTreeMap<i32, i64>,
    to: Option<BTreeMap<i32, i64>>,
    cuts: BTreeMap<i32, Vec<i64>>,
    buffer_bytes: usize,
) -> Result<Box<dyn SourceReader>, SqlError> {
    let ObjectKind::Source(desc) = &object.kind else {
        return Err(SqlError::internal(format!("\"{}\" is not a source", object.name)));
    };
    let mut options = ReaderOptions { max_buffer_bytes: buffer_bytes, cuts, ..ReaderOptions::default() };
    if to.is_some() {
        // Who reads history takes it in small steps.
        (options.batch_bytes, options.batch_rows) = (HISTORY_BATCH_BYTES, HISTORY_BATCH_ROWS);
    }
    match (&desc.connector, upstream) {
        (SourceConnector::Nexmark(n), _) => {
            let at = |m: &BTreeMap<i32, i64>| m.get(&0).copied().unwrap_or(0);
            if let Some(make) = GENERATOR.get() {
                return Ok(make(at(&from), to.as_ref().map(at)));
            }
            Ok(Box::new(NexmarkReader::start(n, at(&from), to.as_ref().map(at), options)?))
        }
        (SourceConnector::Kafka(k), Upstream::Connection(connection)) => {
            let (_, relation) =
                desc.outputs.first().ok_or_else(|| SqlError::internal("a source without a relation"))?;
            let mut columns = vec![false; relation.arity()];
            wanted.iter().flatten().for_each(|c| columns[*c] = true);
            Ok(match to {
                None => Box::new(KafkaReader::start(connection, k, relation, &columns, from, options)?),
                Some(to) => Box::new(hw_connect::read_range(connection, k, relation, &columns, from, to, options)?),
            })
        }
        _ => Err(SqlError::internal("a Kafka source needs a connection")),
    }
}

/// Sizes of the batches of history; see [`ReaderOptions`].
const HISTORY_BATCH_BYTES: usize = 256 << 10;
const HISTORY_BATCH_ROWS: usize = 2 << 10;

/// First position and end of each partition now. Waits for the broker (08001 within 10 s).
pub(crate) fn upstream_marks(object: &Object, upstream: &Upstream) -> Result<Marks, SqlError> {
    match (&object.kind, upstream) {
        (ObjectKind::Source(SourceDesc { connector: SourceConnector::Kafka(k), .. }), Upstream::Connection(c)) => {
            KafkaConnector::new(c)?.watermarks(&k.topic)
        }
        (ObjectKind::Source(SourceDesc { connector: SourceConnector::Nexmark(n), .. }), _) => {
            let elapsed_ms = (crate::platform::now_ms() as i64 - n.epoch_ms).max(0);
            let limit = n.events.map_or(i64::MAX, |e| i64::try_from(e).unwrap_or(i64::MAX));
            let due = n.events_per_second.map(|r| elapsed_ms.saturating_mul(r as i64) / 1000);
            // Without a pace and without an end nothing is due until somebody reads.
            let end = due.unwrap_or(if n.events.is_some() { limit } else { 0 }).min(limit);
            Ok(BTreeMap::from([(0, (0, end))]))
        }
        _ => Ok(BTreeMap::new()),
    }
}

/// Contacts the broker of a new connection.
pub(crate) fn validate_connection(desc: &ConnectionDesc) -> Result<(), SqlError> {
    KafkaConnector::new(desc)?.validate()
}

/// Resolves what a new source leaves open (`START`, the generator's epoch), so that it comes out the same ever after.
pub(crate) fn resolve_source(desc: &mut SourceDesc, catalog: &dyn CatalogView) -> Result<(), SqlError> {
    let up = upstream(desc, catalog)?;
    match (&mut desc.connector, up) {
        (SourceConnector::Kafka(k), Upstream::Connection(c)) => {
            let connector = KafkaConnector::new(&c)?;
            let start = connector.resolve_start(k)?;
            refuse_compacted(&k.topic, connector.describe_topic(&k.topic)?.cleanup_policy.as_deref())?;
            k.start = StartAt::Offsets(start);
        }
        (SourceConnector::Nexmark(n), _) if n.epoch_ms == NexmarkSource::AT_CREATE => {
            n.epoch_ms = crate::platform::now_ms() as i64
        }
        _ => {}
    }
    Ok(())
}

/// A compacted topic cannot give a range twice, which views and recovery depend on.
fn refuse_compacted(topic: &str, policy: Option<&str>) -> Result<(), SqlError> {
    if !policy.unwrap_or_default().split(',').any(|p| p.trim() == "compact") {
        return Ok(());
    }
    Err(SqlError::unsupported(format!("topic \"{topic}\" is compacted, which is not supported yet"))
        .detail("Its cleanup.policy contains \"compact\": the broker removes messages that have been read.")
        .hint("Use a topic with cleanup.policy=delete; the messages of a compacted topic can be copied into one."))
}

/// A connector's dead letter as the tick log keeps it.
pub(crate) fn dead_letter_row(source: GlobalId, letter: DeadLetter) -> DeadLetterRow {
    DeadLetterRow {
        source,
        partition: letter.partition,
        offset: letter.offset,
        time_us: letter.timestamp_ms.map(|ms| ms.saturating_mul(1000)),
        key: letter.key,
        value: letter.value,
        headers: headers_json(&letter.headers),
        reason: letter.reason,
    }
}

/// Headers as a JSON object; bytes that are not UTF-8 are shown with replacement characters.
fn headers_json(headers: &[(String, Option<Vec<u8>>)]) -> Option<String> {
    if headers.is_empty() {
        return None;
    }
    let value = |v: &Option<Vec<u8>>| match v {
        Some(b) => serde_json::Value::String(String::from_utf8_lossy(b).into_owned()),
        None => serde_json::Value::Null,
    };
    let map: serde_json::Map<String, serde_json::Value> = headers.iter().map(|(k, v)| (k.clone(), value(v))).collect();
    Some(serde_json::Value::Object(map).to_string())
}
