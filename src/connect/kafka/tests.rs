//! The reader against librdkafka's mock cluster: real protocol, no broker.

use super::*;
use crate::source::{RangeDigest, SourceBatch, SourceReader, SourceState};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type};
use hw_plan::{ConnectionDesc, Format, KafkaSource, Metadata, StartAt};
use hw_repr::{Column, GlobalId, RelationDesc, SqlState, SqlType};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

type Mock = MockCluster<'static, DefaultProducerContext>;

struct Setup {
    mock: Mock,
    connection: ConnectionDesc,
    source: KafkaSource,
    desc: RelationDesc,
}

fn setup(partitions: i32) -> Setup {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("t", partitions, 1).unwrap();
    let connection = ConnectionDesc::Kafka { brokers: mock.bootstrap_servers(), properties: BTreeMap::new() };
    let include = vec![Metadata::Key, Metadata::Partition, Metadata::Offset, Metadata::Timestamp];
    let source = KafkaSource {
        connection: GlobalId(1),
        topic: "t".into(),
        start: StartAt::Earliest,
        format: Format::Json,
        include,
    };
    let column = |n: &str, ty| Column { name: n.into(), ty, nullable: n != "id" };
    let desc = RelationDesc::new(vec![
        column("id", SqlType::Int8),
        column("text", SqlType::Text),
        column("key", SqlType::Bytea),
        column("partition", SqlType::Int4),
        column("offset", SqlType::Int8),
        column("time", SqlType::TimestampTz),
    ]);
    Setup { mock, connection, source, desc }
}

impl Setup {
    /// Sends `ids` round robin to the partitions; every id divisible by 10 is not JSON.
    fn produce(&self, ids: std::ops::Range<i64>, partitions: i32) {
        let producer: ThreadedProducer<DefaultProducerContext> =
            ClientConfig::new().set("bootstrap.servers", self.mock.bootstrap_servers()).create().unwrap();
        for id in ids {
            let payload =
                if id % 10 == 0 { format!("oops {id}") } else { format!("{{\"id\":{id},\"text\":\"t{id}\"}}") };
            let key = id.to_string();
            let record = BaseRecord::to("t").partition((id % i64::from(partitions)) as i32).payload(&payload).key(&key);
            producer.send(record).map_err(|(e, _)| e).unwrap();
        }
        producer.flush(Duration::from_secs(20)).unwrap();
    }

    fn reader(&self, from: BTreeMap<i32, i64>, options: ReaderOptions) -> KafkaReader {
        KafkaReader::start(&self.connection, &self.source, &self.desc, &[true; 6], from, options).unwrap()
    }

    fn range(&self, from: &[(i32, i64)], to: &[(i32, i64)], options: ReaderOptions) -> KafkaReader {
        let (from, to) = (from.iter().copied().collect(), to.iter().copied().collect());
        read_range(&self.connection, &self.source, &self.desc, &[true; 6], from, to, options).unwrap()
    }
}

fn wait(what: &str, mut until: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !until() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn take(reader: &KafkaReader, messages: u64) -> Vec<SourceBatch> {
    let mut out: Vec<SourceBatch> = vec![];
    wait("messages", || {
        out.extend(reader.try_take(1 << 20));
        out.iter().map(|b| b.digest.count).sum::<u64>() >= messages
    });
    out
}

fn drain(reader: &KafkaReader) -> Vec<SourceBatch> {
    let mut out = vec![];
    wait("the end of the range", || {
        out.extend(reader.try_take(1 << 20));
        assert_ne!(reader.state().0, SourceState::Failed, "{:?}", reader.state().1);
        reader.is_done()
    });
    out
}

fn ids(batches: &[SourceBatch]) -> Vec<i64> {
    let mut out: Vec<i64> =
        batches.iter().flat_map(|b| b.rows().column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    out.sort_unstable();
    out
}

fn check_contiguous(batches: &[SourceBatch], from: &BTreeMap<i32, i64>) -> BTreeMap<i32, i64> {
    let mut at = from.clone();
    for b in batches {
        assert_eq!(at.insert(b.partition, b.to), Some(b.from), "batches of a partition are contiguous");
        assert_eq!(b.digest.count as usize, b.rows().num_rows() + b.dead.len());
    }
    at
}

fn digests(batches: &[SourceBatch], partition: i32) -> RangeDigest {
    batches.iter().filter(|b| b.partition == partition).fold(RangeDigest::default(), |d, b| d.join(b.digest))
}

#[test]
fn reads_all_partitions_with_metadata_and_dead_letters() {
    let s = setup(3);
    s.produce(0..300, 3);
    let start = BTreeMap::from([(0, 0), (1, 0), (2, 0)]);
    let reader = s.reader(start.clone(), ReaderOptions::default());
    let told = Arc::new(AtomicUsize::new(0));
    let count = told.clone();
    reader.set_notify(Arc::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
    }));
    let batches = take(&reader, 300);
    assert!(told.load(Ordering::SeqCst) > 0);
    let at = check_contiguous(&batches, &start);
    assert_eq!(at, reader.positions());
    assert_eq!(at, BTreeMap::from([(0, 100), (1, 100), (2, 100)]));
    assert_eq!(ids(&batches), (0..300).filter(|i| i % 10 != 0).collect::<Vec<_>>());
    for b in &batches {
        let rows = b.rows();
        for row in 0..rows.num_rows() {
            let id = rows.column(0).as_primitive::<Int64Type>().value(row);
            assert_eq!(rows.column(1).as_string::<i32>().value(row), format!("t{id}"));
            assert_eq!(rows.column(2).as_binary::<i32>().value(row), id.to_string().as_bytes());
            assert_eq!(rows.column(3).as_primitive::<Int32Type>().value(row), b.partition);
            assert_eq!(rows.column(4).as_primitive::<Int64Type>().value(row), id / 3);
            assert!(!rows.column(5).is_null(row));
        }
        for letter in &b.dead {
            let value = String::from_utf8(letter.value.clone().unwrap()).unwrap();
            let id: i64 = value.strip_prefix("oops ").unwrap().parse().unwrap();
            assert_eq!((letter.offset, letter.partition), (id / 3, b.partition));
            assert_eq!(letter.key.as_deref(), Some(id.to_string().as_bytes()));
            assert!(letter.reason.contains("not a JSON object"), "{}", letter.reason);
        }
    }
    assert_eq!(batches.iter().map(|b| b.dead.len()).sum::<usize>(), 30);
    assert_eq!(reader.state().0, SourceState::Running);
    // What comes later is read as well, and the end is followed.
    s.produce(301..310, 3);
    assert_eq!(ids(&take(&reader, 9)), (301..310).collect::<Vec<_>>());
    wait("the end", || reader.upstream_end() == reader.positions());
}

#[test]
fn a_restart_goes_on_and_a_range_reads_the_same_again() {
    let s = setup(2);
    s.produce(0..400, 2);
    let small = ReaderOptions { batch_rows: 7, ..ReaderOptions::default() };
    let start = BTreeMap::from([(0, 0), (1, 0)]);
    let first = take(&s.reader(start.clone(), small), 400);
    assert!(first.iter().all(|b| b.digest.count <= 7));
    check_contiguous(&first, &start);
    let rest = take(&s.reader(BTreeMap::from([(0, 150), (1, 20)]), ReaderOptions::default()), 230);
    assert_eq!(rest.iter().map(|b| b.digest.count).sum::<u64>(), 230);

    let cuts = BTreeMap::from([(0, vec![50, 120]), (1, vec![180])]);
    let options = ReaderOptions { cuts, ..ReaderOptions::default() };
    let reader = s.range(&[(0, 10), (1, 0)], &[(0, 130), (1, 200)], options);
    let again = drain(&reader);
    assert_eq!(check_contiguous(&again, &BTreeMap::from([(0, 10), (1, 0)])), BTreeMap::from([(0, 130), (1, 200)]));
    let ends: Vec<i64> = again.iter().filter(|b| b.partition == 0).map(|b| b.to).collect();
    for cut in [50, 120, 130] {
        assert!(ends.contains(&cut), "no batch ends at {cut}: {ends:?}");
    }
    assert_eq!(digests(&again, 1), digests(&first, 1), "the same bytes again");
    assert_ne!(digests(&again, 0), digests(&first, 0));
    assert_eq!(reader.state().0, SourceState::Done);
}

#[test]
fn an_empty_range_is_done_at_once() {
    let s = setup(1);
    let reader = s.range(&[(0, 5)], &[(0, 5)], ReaderOptions::default());
    assert!(drain(&reader).is_empty());
}

#[test]
fn a_range_past_the_end_is_gone() {
    let s = setup(1);
    s.produce(1..6, 1);
    let reader = s.range(&[(0, 0)], &[(0, 9)], ReaderOptions::default());
    wait("failure", || reader.state().0 == SourceState::Failed);
    let error = reader.state().1.unwrap();
    assert_eq!(error.code, SqlState::PREREQUISITE_STATE);
    assert_eq!(error.message, "offsets 5 to 8 of partition 0 of topic \"t\" are gone");
}

#[test]
fn what_retention_removed_is_named() {
    let s = setup(1);
    // The mock broker keeps about 5 MB of a partition.
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", s.mock.bootstrap_servers()).create().unwrap();
    let payload = format!("{{\"id\":1,\"text\":\"{}\"}}", "x".repeat(1000));
    for _ in 0..8000 {
        producer.send(BaseRecord::<(), _>::to("t").partition(0).payload(&payload)).map_err(|(e, _)| e).unwrap();
    }
    producer.flush(Duration::from_secs(20)).unwrap();
    let (low, high) = KafkaConnector::new(&s.connection).unwrap().watermarks("t").unwrap()[&0];
    assert!(low > 0 && high == 8000);
    let live = s.reader(BTreeMap::from([(0, 5)]), ReaderOptions::default());
    let range = s.range(&[(0, 5)], &[(0, high)], ReaderOptions::default());
    for reader in [live, range] {
        wait("failure", || reader.state().0 == SourceState::Failed);
        let error = reader.state().1.unwrap();
        assert_eq!(error.code, SqlState::PREREQUISITE_STATE);
        assert_eq!(error.message, format!("offsets 5 to {} of partition 0 of topic \"t\" are gone", low - 1));
    }
    let unknown = s.reader(BTreeMap::new(), ReaderOptions::default());
    assert_eq!(take(&unknown, (high - low) as u64)[0].from, low, "a partition without a position begins at the oldest");
    let start = KafkaSource { start: StartAt::Offsets([(0, 5)].into()), ..s.source.clone() };
    let refused = KafkaConnector::new(&s.connection).unwrap().resolve_start(&start).unwrap_err();
    assert_eq!(refused.code, SqlState::PREREQUISITE_STATE);
}

#[test]
fn a_reader_started_without_a_broker_waits_for_it() {
    let s = setup(1);
    s.produce(1..5, 1);
    s.mock.broker_down(1).unwrap();
    let reader = s.reader(BTreeMap::from([(0, 0)]), ReaderOptions::default());
    wait("stalled", || reader.state().0 == SourceState::Stalled);
    s.mock.broker_up(1).unwrap();
    assert_eq!(ids(&take(&reader, 4)), [1, 2, 3, 4]);
    assert_eq!(reader.state(), (SourceState::Running, None));
}

#[test]
fn memory_stays_bounded_while_nobody_takes() {
    let s = setup(1);
    s.produce(0..20_000, 1);
    let options = ReaderOptions { max_buffer_bytes: 64 << 10, batch_bytes: 16 << 10, ..ReaderOptions::default() };
    let reader = s.reader(BTreeMap::from([(0, 0)]), options);
    wait("end known", || reader.upstream_end().get(&0) == Some(&20_000));
    std::thread::sleep(Duration::from_millis(500));
    let held: usize = reader.try_take(usize::MAX).iter().map(|b| b.memory).sum();
    assert!((32 << 10..160 << 10).contains(&held), "{held} bytes are held");
    take(&reader, 20_000 - reader.positions()[&0] as u64);
    assert_eq!(reader.positions()[&0], 20_000);
}

#[test]
fn unwanted_columns_are_null_and_still_checked() {
    let s = setup(1);
    s.produce(1..15, 1);
    let wanted = [false, true, false, false, false, false];
    let from = BTreeMap::from([(0, 0)]);
    let reader =
        KafkaReader::start(&s.connection, &s.source, &s.desc, &wanted, from, ReaderOptions::default()).unwrap();
    for b in take(&reader, 14) {
        assert_eq!(b.rows().num_columns(), 6);
        assert_eq!(b.rows().column(0).null_count(), b.rows().num_rows());
        assert_eq!(b.rows().column(1).null_count(), 0);
        assert!(b.dead.iter().all(|d| d.offset == 9));
    }
}

#[test]
fn paused_readers_stop_and_go_on() {
    let s = setup(1);
    let reader = s.reader(BTreeMap::new(), ReaderOptions::default());
    wait("running", || reader.state().0 == SourceState::Running);
    reader.set_paused(true);
    assert_eq!(reader.state().0, SourceState::Paused);
    std::thread::sleep(Duration::from_millis(100));
    s.produce(1..5, 1);
    std::thread::sleep(Duration::from_millis(500));
    assert!(reader.try_take(1 << 20).is_empty());
    reader.set_paused(false);
    assert_eq!(ids(&take(&reader, 4)), [1, 2, 3, 4]);
}

#[test]
fn a_lost_broker_is_shown_and_survived() {
    let s = setup(1);
    s.produce(1..5, 1);
    let options = ReaderOptions { refresh_ms: 100, ..ReaderOptions::default() };
    let reader = s.reader(BTreeMap::from([(0, 0)]), options);
    take(&reader, 4);
    s.mock.broker_down(1).unwrap();
    wait("stalled", || reader.state().0 == SourceState::Stalled);
    assert_eq!(reader.state().1.unwrap().code, SqlState::CANNOT_CONNECT);
    s.mock.broker_up(1).unwrap();
    s.produce(5..9, 1);
    assert_eq!(ids(&take(&reader, 4)), [5, 6, 7, 8]);
    wait("running", || reader.state().0 == SourceState::Running);
}

#[test]
fn connector_answers() {
    let s = setup(2);
    s.produce(1..101, 2);
    let connector = KafkaConnector::new(&s.connection).unwrap();
    connector.validate().unwrap();
    assert_eq!(connector.describe_topic("t").unwrap().partitions, [0, 1]);
    assert_eq!(connector.watermarks("t").unwrap(), BTreeMap::from([(0, (0, 50)), (1, (0, 50))]));
    let start = |start| connector.resolve_start(&KafkaSource { start, ..s.source.clone() });
    assert_eq!(start(StartAt::Earliest).unwrap(), BTreeMap::from([(0, 0), (1, 0)]));
    assert_eq!(start(StartAt::Latest).unwrap(), BTreeMap::from([(0, 50), (1, 50)]));
    assert_eq!(start(StartAt::Offsets([(1, 7)].into())).unwrap(), BTreeMap::from([(0, 0), (1, 7)]));
    assert_eq!(start(StartAt::Offsets([(5, 7)].into())).unwrap_err().code, SqlState::INVALID_PARAMETER);
    assert_eq!(start(StartAt::Offsets([(0, 51)].into())).unwrap_err().code, SqlState::INVALID_PARAMETER);
}

#[test]
fn bad_options_and_absent_brokers_are_errors() {
    let connection = |brokers: &str, option: Option<(&str, &str)>| ConnectionDesc::Kafka {
        brokers: brokers.into(),
        properties: option.map(|(k, v)| (k.to_string(), v.to_string())).into_iter().collect(),
    };
    let code = |c: &ConnectionDesc| KafkaConnector::new(c).err().map(|e| e.code);
    assert_eq!(code(&connection("x:1", Some(("no.such.option", "1")))), Some(SqlState::INVALID_PARAMETER));
    assert_eq!(code(&connection("x:1", Some(("auto.offset.reset", "earliest")))), Some(SqlState::INVALID_PARAMETER));
    let begun = Instant::now();
    let error = KafkaConnector::new(&connection("127.0.0.1:1", None)).unwrap().validate().unwrap_err();
    assert_eq!(error.code, SqlState::CANNOT_CONNECT);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(error.detail.is_some_and(|d| d.contains("refused")));
}
