//! Questions to a cluster, asked by statements: is it there, what partitions has a topic, where do they begin and end.
//!
//! Every call waits for the network, [`ANSWER_TIMEOUT`] in all, and so belongs on a blocking thread.

use hw_plan::{ConnectionDesc, KafkaSource, StartAt};
use hw_repr::{SqlError, SqlState};
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Within this time a statement has its answer or its error.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// Between attempts while a broker refuses.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Settings that this crate depends on; a statement may not change them.
const OWN_SETTINGS: [&str; 6] = [
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "isolation.level",
    "auto.offset.reset",
    "enable.partition.eof",
];

/// Keeps the last complaint of the client library: it says why a broker is out of reach.
#[derive(Default)]
pub(super) struct Complaints {
    last: Mutex<Option<String>>,
}

impl Complaints {
    fn put(&self, text: &str) {
        *self.last.lock().unwrap_or_else(|e| e.into_inner()) = Some(text.to_string());
    }
    /// The last complaint.
    pub(super) fn last(&self) -> Option<String> {
        self.last.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

impl ClientContext for Complaints {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", "{level:?} {facility} {message}");
    }
    fn error(&self, error: KafkaError, reason: &str) {
        // That all brokers are down follows from the failures, which say why.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            self.put(reason);
        }
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
    }
}
impl ConsumerContext for Complaints {}

pub(super) type Client = BaseConsumer<Complaints>;

/// What the client library has to say about an unanswered question; it says so only while it is polled.
/// Precondition: nothing is assigned, so no message can be lost here.
pub(super) fn listen(client: &Client) -> Option<String> {
    for _ in 0..64 {
        if client.poll(Duration::ZERO).is_none() {
            break;
        }
    }
    client.context().last()
}

/// What a topic looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Partitions in order.
    pub partitions: Vec<i32>,
    /// `cleanup.policy`, where the cluster tells. With `compact` in it the upstream cannot give a range twice.
    pub cleanup_policy: Option<String>,
}

/// The client settings of a connection.
pub(super) fn client_config(connection: &ConnectionDesc) -> Result<ClientConfig, SqlError> {
    let ConnectionDesc::Kafka { brokers, properties } = connection;
    let mut config = ClientConfig::new();
    // Without any group id the library does not consume; none is ever joined.
    config
        .set("group.id", "headwater")
        .set("client.id", "headwater")
        .set("reconnect.backoff.max.ms", "2000")
        .set("allow.auto.create.topics", "false")
        .set("log.connection.close", "false");
    for (name, value) in properties {
        if OWN_SETTINGS.contains(&name.as_str()) {
            return Err(SqlError::new(SqlState::INVALID_PARAMETER, format!("the option \"{name}\" cannot be set"))
                .hint("Headwater decides where a source begins and what it has read."));
        }
        config.set(name, value);
    }
    config
        .set("bootstrap.servers", brokers)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true");
    Ok(config)
}

/// Creates a client; a setting that the library does not take is the user's error.
pub(super) fn create_client(config: &ClientConfig) -> Result<Client, SqlError> {
    config.create_with_context(Complaints::default()).map_err(|e| match e {
        KafkaError::ClientConfig(_, description, name, value) => {
            SqlError::new(SqlState::INVALID_PARAMETER, format!("invalid Kafka option \"{name}\": {description}"))
                .detail(format!("The value is \"{value}\"."))
                .hint("Options are those of librdkafka.")
        }
        e => SqlError::new(SqlState::INVALID_PARAMETER, format!("invalid Kafka options: {e}")),
    })
}

/// The SQLSTATE and words of an error of the client library.
pub(super) fn kafka_error(error: &KafkaError, what: &str, complaint: Option<String>) -> SqlError {
    let code = match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => SqlState::UNDEFINED_OBJECT,
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed,
        ) => SqlState::INSUFFICIENT_PRIVILEGE,
        _ => SqlState::CANNOT_CONNECT,
    };
    let sql = SqlError::new(code, format!("{what}: {error}"));
    match complaint {
        Some(complaint) => sql.detail(complaint),
        None => sql,
    }
}

/// A cluster, as one connection object describes it.
#[derive(Clone)]
pub struct KafkaConnector {
    brokers: String,
    config: ClientConfig,
    client: Arc<Client>,
}

impl KafkaConnector {
    /// Checks the settings (22023) and makes a client. Does not wait for the network.
    pub fn new(connection: &ConnectionDesc) -> Result<Self, SqlError> {
        let ConnectionDesc::Kafka { brokers, .. } = connection;
        let config = client_config(connection)?;
        let client = Arc::new(create_client(&config)?);
        Ok(KafkaConnector { brokers: brokers.clone(), config, client })
    }

    /// Asks the cluster for an answer; 08001 within 10 s when there is none.
    pub fn validate(&self) -> Result<(), SqlError> {
        self.ask("could not connect", |timeout| self.client.fetch_metadata(None, timeout)).map(drop)
    }

    /// Repeats a question until it is answered, is refused for good, or time is up.
    fn ask<T>(&self, what: &str, question: impl Fn(Duration) -> Result<T, KafkaError>) -> Result<T, SqlError> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match question(left.min(Duration::from_secs(3)).max(Duration::from_millis(100))) {
                Ok(answer) => return Ok(answer),
                Err(e) => kafka_error(&e, &format!("{what} (brokers {})", self.brokers), listen(&self.client)),
            };
            if error.code != SqlState::CANNOT_CONNECT || deadline <= Instant::now() + RETRY_PAUSE {
                return Err(
                    error.hint("Check the broker addresses, that the cluster is running, and the security options.")
                );
            }
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    fn partitions(&self, topic: &str) -> Result<Vec<i32>, SqlError> {
        let metadata =
            self.ask("could not read metadata", |timeout| self.client.fetch_metadata(Some(topic), timeout))?;
        let found = metadata.topics().iter().find(|t| t.name() == topic);
        let partitions: Vec<i32> = match found {
            Some(t) if t.error().is_none() => t.partitions().iter().map(|p| p.id()).collect(),
            _ => vec![],
        };
        if partitions.is_empty() {
            let error =
                found.and_then(|t| t.error()).map(|e| format!("The cluster says: {}.", RDKafkaErrorCode::from(e)));
            let sql = SqlError::new(SqlState::UNDEFINED_OBJECT, format!("topic \"{topic}\" does not exist"))
                .hint("Topic names are case-sensitive; create the topic first.");
            return Err(match error {
                Some(error) => sql.detail(error),
                None => sql,
            });
        }
        Ok(partitions)
    }

    /// Partitions and clean-up policy of a topic; 42704 when there is none of that name.
    pub fn describe_topic(&self, topic: &str) -> Result<TopicInfo, SqlError> {
        Ok(TopicInfo { partitions: self.partitions(topic)?, cleanup_policy: self.cleanup_policy(topic) })
    }

    fn cleanup_policy(&self, topic: &str) -> Option<String> {
        let admin: AdminClient<_> = self.config.create().ok()?;
        let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(3)));
        let answer = futures::executor::block_on(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options));
        let resource = answer.ok()?.into_iter().next()?.ok()?;
        resource.get("cleanup.policy")?.value.clone()
    }

    /// Per partition the first position that is there and the end (of what is committed).
    pub fn watermarks(&self, topic: &str) -> Result<BTreeMap<i32, (i64, i64)>, SqlError> {
        let mut out = BTreeMap::new();
        for partition in self.partitions(topic)? {
            let marks = self.ask("could not read offsets", |t| self.client.fetch_watermarks(topic, partition, t))?;
            out.insert(partition, marks);
        }
        Ok(out)
    }

    /// The position each partition begins at, from the START option. Partitions without a name in OFFSETS begin at the
    /// earliest; an offset that is gone is 55000, one past the end 22023.
    pub fn resolve_start(&self, source: &KafkaSource) -> Result<BTreeMap<i32, i64>, SqlError> {
        let marks = self.watermarks(&source.topic)?;
        match &source.start {
            StartAt::Earliest => Ok(marks.into_iter().map(|(p, (low, _))| (p, low)).collect()),
            StartAt::Latest => Ok(marks.into_iter().map(|(p, (_, high))| (p, high)).collect()),
            StartAt::Timestamp(ms) => self.offsets_at(&source.topic, *ms, &marks),
            StartAt::Offsets(offsets) => start_offsets(&source.topic, offsets, &marks),
        }
    }

    fn offsets_at(
        &self,
        topic: &str,
        ms: i64,
        marks: &BTreeMap<i32, (i64, i64)>,
    ) -> Result<BTreeMap<i32, i64>, SqlError> {
        let mut question = TopicPartitionList::new();
        for partition in marks.keys() {
            question
                .add_partition_offset(topic, *partition, Offset::Offset(ms.max(0)))
                .map_err(|e| kafka_error(&e, "invalid timestamp", None))?;
        }
        let answer = self.ask("could not look up offsets", |t| self.client.offsets_for_times(question.clone(), t))?;
        let mut out = BTreeMap::new();
        for element in answer.elements() {
            element.error().map_err(|e| kafka_error(&e, "could not look up offsets", None))?;
            let partition = element.partition();
            let (low, high) = marks.get(&partition).copied().unwrap_or_default();
            let start = match element.offset() {
                Offset::Offset(offset) => offset.max(low),
                // No message is that young.
                _ => high,
            };
            out.insert(partition, start);
        }
        Ok(out)
    }
}

fn start_offsets(
    topic: &str,
    offsets: &BTreeMap<i32, i64>,
    marks: &BTreeMap<i32, (i64, i64)>,
) -> Result<BTreeMap<i32, i64>, SqlError> {
    if let Some(unknown) = offsets.keys().find(|p| !marks.contains_key(p)) {
        return Err(SqlError::new(
            SqlState::INVALID_PARAMETER,
            format!("topic \"{topic}\" has no partition {unknown}"),
        )
        .hint(format!("Its partitions are 0 to {}.", marks.len().saturating_sub(1))));
    }
    let mut out = BTreeMap::new();
    for (partition, (low, high)) in marks {
        let start = offsets.get(partition).copied().unwrap_or(*low);
        if start < *low {
            return Err(range_gone(topic, *partition, start, *low));
        }
        if start > *high {
            let message = format!("offset {start} of partition {partition} is past the end of topic \"{topic}\"");
            return Err(SqlError::new(SqlState::INVALID_PARAMETER, message).detail(format!("The end is {high}.")));
        }
        out.insert(*partition, start);
    }
    Ok(out)
}

/// 55000: `[from, low)` is no longer in the topic.
pub fn range_gone(topic: &str, partition: i32, from: i64, low: i64) -> SqlError {
    let message = format!("offsets {from} to {} of partition {partition} of topic \"{topic}\" are gone", low - 1);
    SqlError::new(SqlState::PREREQUISITE_STATE, message)
        .detail(format!("The oldest message that the topic still has is at offset {low}."))
        .hint("The topic's retention has removed them.")
}
