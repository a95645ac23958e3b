//! Reads a topic on a thread of its own and decodes in the poll loop, from the library's buffers, without a copy.
//!
//! Batches stay open while nobody takes, so a tick finds one batch per partition however the messages trickled in.
//! When the decoded bytes reach the bound the thread stops polling; the library then stops fetching at its own bound.
//!
//! A second thread asks once a second for new partitions and for the upstream's end, and so notices a lost cluster.
//!
//! Positions without a message (aborted transactions, their markers, compaction) are passed in two ways: a later
//! message jumps over them, or an end-of-partition event that certainly came from a fetch made after the end had been
//! asked for (first assignment or a seek in between) moves the position to that end.

use super::ReaderOptions;
use super::assemble::{Assembler, Shape};
use super::connector::{Client, client_config, create_client, kafka_error, listen, range_gone};
use crate::queue::BatchQueue;
use crate::source::{Notify, SourceBatch, SourceReader, SourceState};
use hw_plan::{ConnectionDesc, KafkaSource};
use hw_repr::{RelationDesc, SqlError, SqlState};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Messages taken in while the open batches are locked.
const CHUNK_MESSAGES: usize = 256;
const POLL_TIMEOUT: Duration = Duration::from_millis(50);
const WAIT: Duration = Duration::from_millis(20);
const NETWORK_TIMEOUT: Duration = Duration::from_secs(3);
const RETRY_PAUSE: Duration = Duration::from_millis(300);
/// A partition this long without a message, yet before the known end, is probed.
const PROBE_AFTER: Duration = Duration::from_millis(300);

/// One partition being read.
struct Partition {
    open: Assembler,
    cuts: VecDeque<i64>,
    /// Where a bounded reader ends.
    until: Option<i64>,
    /// The end that was known before the fetch that the next end-of-partition event belongs to.
    probe: Option<i64>,
    /// A message came since this was last looked at.
    active: bool,
    last_message: Instant,
}

impl Partition {
    fn is_done(&self) -> bool {
        self.until.is_some_and(|until| self.open.next() >= until)
    }
}

struct Shared {
    topic: String,
    shape: Arc<Shape>,
    options: ReaderOptions,
    until: Option<BTreeMap<i32, i64>>,
    queue: BatchQueue,
    partitions: Mutex<BTreeMap<i32, Partition>>,
    takers: AtomicUsize,
    /// Bytes in open batches.
    open_bytes: AtomicUsize,
    told: AtomicBool,
    stalled: AtomicBool,
    /// Partitions found while running, with their first position, and a flag that there are some.
    found: Mutex<Vec<(i32, i64)>>,
    has_found: AtomicBool,
}

/// See the module. Dropping it stops its threads.
pub struct KafkaReader {
    shared: Arc<Shared>,
}

impl KafkaReader {
    /// Starts reading everything from `from` (next position per partition) on. Partitions that are not in `from`
    /// begin at their oldest message. `desc` are all columns, `wanted` has one flag for each. Returns at once; the
    /// cluster need not be there yet.
    pub fn start(
        connection: &ConnectionDesc,
        source: &KafkaSource,
        desc: &RelationDesc,
        wanted: &[bool],
        from: BTreeMap<i32, i64>,
        options: ReaderOptions,
    ) -> Result<KafkaReader, SqlError> {
        Self::spawn(connection, source, desc, wanted, from, None, options)
    }

    fn spawn(
        connection: &ConnectionDesc,
        source: &KafkaSource,
        desc: &RelationDesc,
        wanted: &[bool],
        from: BTreeMap<i32, i64>,
        until: Option<BTreeMap<i32, i64>>,
        options: ReaderOptions,
    ) -> Result<KafkaReader, SqlError> {
        let client = Arc::new(reading_client(connection, &options)?);
        let shared = Arc::new(Shared {
            topic: source.topic.clone(),
            shape: Arc::new(Shape::new(source, desc, wanted)?),
            queue: BatchQueue::new(options.max_buffer_bytes, from),
            options,
            until,
            partitions: Mutex::default(),
            takers: AtomicUsize::new(0),
            open_bytes: AtomicUsize::new(0),
            told: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            found: Mutex::default(),
            has_found: AtomicBool::new(false),
        });
        let thread = shared.clone();
        std::thread::Builder::new()
            .name("kafka-read".into())
            .spawn(move || thread.run(&client))
            .map_err(|e| SqlError::new(SqlState::LIMIT_EXCEEDED, format!("could not start a reader thread: {e}")))?;
        Ok(KafkaReader { shared })
    }
}

/// Reads exactly `[from, to)` of each partition in `to`, then is done. Fails with 55000, naming the range, when some of
/// it is gone. Use [`ReaderOptions::cuts`] to have batches end at logged positions.
pub fn read_range(
    connection: &ConnectionDesc,
    source: &KafkaSource,
    desc: &RelationDesc,
    wanted: &[bool],
    from: BTreeMap<i32, i64>,
    to: BTreeMap<i32, i64>,
    options: ReaderOptions,
) -> Result<KafkaReader, SqlError> {
    KafkaReader::spawn(connection, source, desc, wanted, from, Some(to), options)
}

fn reading_client(connection: &ConnectionDesc, options: &ReaderOptions) -> Result<Client, SqlError> {
    let mut config = client_config(connection)?;
    let prefetch_kb = (options.prefetch_bytes / 1024).max(1024).to_string();
    let defaults = [
        ("queued.max.messages.kbytes", prefetch_kb.as_str()),
        ("queued.min.messages", "100000"),
        ("fetch.queue.backoff.ms", "2"),
        ("fetch.error.backoff.ms", "100"),
        ("fetch.wait.max.ms", "250"),
        ("max.poll.interval.ms", "86400000"),
        ("socket.nagle.disable", "true"),
    ];
    for (name, value) in defaults {
        if config.get(name).is_none() {
            config.set(name, value);
        }
    }
    create_client(&config)
}

impl SourceReader for KafkaReader {
    fn try_take(&self, max_bytes: usize) -> Vec<SourceBatch> {
        let shared = &self.shared;
        shared.takers.fetch_add(1, Ordering::SeqCst);
        let mut partitions = shared.lock_partitions();
        shared.takers.fetch_sub(1, Ordering::SeqCst);
        shared.told.store(false, Ordering::SeqCst);
        for partition in partitions.values_mut() {
            shared.close(&mut partition.open);
        }
        shared.open_bytes.store(0, Ordering::Relaxed);
        drop(partitions);
        shared.queue.take(max_bytes)
    }
    fn buffered(&self) -> usize {
        self.shared.queue.bytes() + self.shared.open_bytes.load(Ordering::Relaxed)
    }
    fn positions(&self) -> BTreeMap<i32, i64> {
        self.shared.queue.positions()
    }
    fn upstream_end(&self) -> BTreeMap<i32, i64> {
        self.shared.queue.ends()
    }
    fn state(&self) -> (SourceState, Option<SqlError>) {
        self.shared.queue.state()
    }
    fn set_notify(&self, notify: Notify) {
        self.shared.queue.set_notify(notify);
    }
    fn set_paused(&self, paused: bool) {
        self.shared.queue.set_paused(paused);
    }
    fn is_done(&self) -> bool {
        self.shared.queue.state().0 == SourceState::Done && self.shared.queue.is_empty()
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.shared.queue.stop();
    }
}

impl Shared {
    fn lock_partitions(&self) -> MutexGuard<'_, BTreeMap<i32, Partition>> {
        // A poisoned lock means that the reading thread panicked; the batches closed so far are whole.
        self.partitions.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Moves an open batch to the queue.
    fn close(&self, open: &mut Assembler) {
        if open.is_empty() {
            return;
        }
        match open.finish() {
            Ok(batch) => self.queue.push(batch),
            Err(e) => self.queue.set_state(SourceState::Failed, Some(e)),
        }
    }

    /// Tells the taker once per take.
    fn tell(&self) {
        if !self.told.swap(true, Ordering::SeqCst) {
            self.queue.notify();
        }
    }

    fn fail(&self, error: SqlError) {
        self.queue.set_state(SourceState::Failed, Some(error));
    }

    fn set_stalled(&self, error: SqlError) {
        self.stalled.store(true, Ordering::SeqCst);
        self.queue.set_state(SourceState::Stalled, Some(error));
    }

    fn set_running(&self) {
        self.stalled.store(false, Ordering::SeqCst);
        self.queue.set_state(SourceState::Running, None);
    }

    fn run(self: Arc<Self>, client: &Arc<Client>) {
        let from = self.queue.positions();
        let nothing = |until: &BTreeMap<i32, i64>| until.iter().all(|(p, to)| from.get(p).is_some_and(|f| f >= to));
        if self.until.as_ref().is_some_and(nothing) {
            self.queue.set_state(SourceState::Done, None);
            return;
        }
        let Some(marks) = self.first_marks(client) else { return };
        if let Err(e) = self.begin(client, &from, &marks) {
            self.fail(e);
            return;
        }
        self.set_running();
        let (watch, its_client) = (self.clone(), client.clone());
        let spawned = std::thread::Builder::new().name("kafka-watch".into()).spawn(move || watch.watch(&its_client));
        if let Err(e) = spawned {
            self.fail(SqlError::new(SqlState::LIMIT_EXCEEDED, format!("could not start a reader thread: {e}")));
        }
        while !self.queue.is_stopped() && self.queue.state().0 != SourceState::Failed {
            self.step(client);
            if self.finish_if_done() {
                break;
            }
        }
        self.queue.stop();
    }

    /// Low and end of every partition, as soon as the cluster answers.
    fn first_marks(&self, client: &Client) -> Option<BTreeMap<i32, (i64, i64)>> {
        while !self.queue.is_stopped() {
            match self.marks(client) {
                Ok(marks) => return Some(marks),
                Err(e) => {
                    self.set_stalled(match listen(client) {
                        Some(why) => e.detail(why),
                        None => e,
                    });
                }
            }
            self.queue.wait(RETRY_PAUSE);
        }
        None
    }

    fn marks(&self, client: &Client) -> Result<BTreeMap<i32, (i64, i64)>, SqlError> {
        let error = |e: KafkaError, what: &str| kafka_error(&e, what, client.context().last());
        let metadata = client
            .fetch_metadata(Some(&self.topic), NETWORK_TIMEOUT)
            .map_err(|e| error(e, "could not read metadata"))?;
        let topic = metadata.topics().iter().find(|t| t.name() == self.topic);
        let partitions = topic.filter(|t| t.error().is_none()).map_or(&[][..], |t| t.partitions());
        if partitions.is_empty() {
            return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, format!("topic \"{}\" does not exist", self.topic)));
        }
        let mut out = BTreeMap::new();
        for partition in partitions {
            let marks = client
                .fetch_watermarks(&self.topic, partition.id(), NETWORK_TIMEOUT)
                .map_err(|e| error(e, "could not read offsets"))?;
            self.queue.set_end(partition.id(), marks.1);
            out.insert(partition.id(), marks);
        }
        Ok(out)
    }

    /// Checks that every position can be read and assigns the partitions.
    fn begin(
        &self,
        client: &Client,
        from: &BTreeMap<i32, i64>,
        marks: &BTreeMap<i32, (i64, i64)>,
    ) -> Result<(), SqlError> {
        let asked: Vec<i32> = match &self.until {
            Some(until) => until.keys().copied().collect(),
            None => from
                .keys()
                .chain(marks.keys())
                .copied()
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect(),
        };
        let mut list = TopicPartitionList::new();
        for partition in asked {
            let Some((low, high)) = marks.get(&partition).copied() else {
                return Err(SqlError::new(
                    SqlState::PREREQUISITE_STATE,
                    format!("partition {partition} of topic \"{}\" is gone", self.topic),
                )
                .hint("The topic has been created again; drop the source and create it again."));
            };
            let start = from.get(&partition).copied().unwrap_or(low);
            let until = self.until.as_ref().and_then(|u| u.get(&partition)).copied();
            if until.is_some_and(|until| until <= start) {
                continue;
            }
            self.check_range(partition, start, until, low, high)?;
            self.add(partition, start, until, Some(high));
            list.add_partition_offset(&self.topic, partition, Offset::Offset(start))
                .map_err(|e| SqlError::internal(format!("position {start} is not valid: {e}")))?;
        }
        client.assign(&list).map_err(|e| kafka_error(&e, "could not assign partitions", client.context().last()))
    }

    fn check_range(&self, partition: i32, start: i64, until: Option<i64>, low: i64, high: i64) -> Result<(), SqlError> {
        if start < low {
            return Err(range_gone(&self.topic, partition, start, low));
        }
        let need = until.unwrap_or(start);
        if need > high {
            let message =
                format!("offsets {high} to {} of partition {partition} of topic \"{}\" are gone", need - 1, self.topic);
            return Err(SqlError::new(SqlState::PREREQUISITE_STATE, message)
                .detail(format!("The partition ends at offset {high}, though it was read up to {need} before."))
                .hint("The topic has been truncated or created again."));
        }
        Ok(())
    }

    fn add(&self, partition: i32, start: i64, until: Option<i64>, end: Option<i64>) {
        self.queue.add_partition(partition, start);
        let mut cuts: VecDeque<i64> = self.options.cuts.get(&partition).cloned().unwrap_or_default().into();
        cuts.retain(|cut| *cut > start && until.is_none_or(|until| *cut < until));
        cuts.extend(until);
        let open = Assembler::new(self.shape.clone(), partition, start);
        let state = Partition { open, cuts, until, probe: end, active: false, last_message: Instant::now() };
        self.lock_partitions().insert(partition, state);
    }

    /// One turn of the reading thread.
    fn step(&self, client: &Client) {
        if self.has_found.swap(false, Ordering::SeqCst) {
            self.adopt(client);
        }
        if self.queue.is_paused() || self.queue.is_full(self.open_bytes.load(Ordering::Relaxed)) {
            self.tell();
            self.queue.wait(WAIT);
            return;
        }
        let Some(first) = client.poll(POLL_TIMEOUT) else {
            self.probe_idle(client);
            return;
        };
        let mut partitions = self.lock_partitions();
        let mut failure = None;
        let mut event = Some(first);
        let mut left = CHUNK_MESSAGES;
        while let Some(current) = event {
            match current {
                Ok(message) => self.take_in(&mut partitions, &message),
                Err(KafkaError::PartitionEOF(partition)) => self.at_end(&mut partitions, partition),
                Err(e) => failure = Some(e),
            }
            left -= 1;
            event = if left > 0 && failure.is_none() { client.poll(Duration::ZERO) } else { None };
        }
        let has_something = partitions.values().any(|p| !p.open.is_empty());
        self.open_bytes.store(partitions.values().map(|p| p.open.bytes()).sum(), Ordering::Relaxed);
        drop(partitions);
        if let Some(e) = failure {
            self.complain(client, &e);
        } else if has_something && self.stalled.load(Ordering::SeqCst) {
            self.set_running();
        }
        if has_something || !self.queue.is_empty() {
            self.tell();
        }
        self.give_way();
    }

    /// Lets a taker have the lock that this thread would take again at once.
    fn give_way(&self) {
        for _ in 0..1000 {
            if self.takers.load(Ordering::SeqCst) == 0 {
                break;
            }
            std::thread::yield_now();
        }
    }

    fn take_in(&self, partitions: &mut BTreeMap<i32, Partition>, message: &BorrowedMessage<'_>) {
        let Some(p) = partitions.get_mut(&message.partition()) else { return };
        let offset = message.offset();
        // A message below the position was fetched before a seek.
        if offset < p.open.next() || p.is_done() {
            return;
        }
        self.pass_cuts(p, offset);
        if p.is_done() {
            return;
        }
        p.open.push(message);
        p.active = true;
        self.pass_cuts(p, offset + 1);
        if p.open.bytes() >= self.options.batch_bytes || p.open.count() >= self.options.batch_rows {
            self.close(&mut p.open);
        }
    }

    /// Ends batches at the cuts up to `position`.
    fn pass_cuts(&self, p: &mut Partition, position: i64) {
        while let Some(cut) = p.cuts.pop_front_if(|cut| *cut <= position) {
            p.open.skip_to(cut);
            self.close(&mut p.open);
        }
    }

    fn at_end(&self, partitions: &mut BTreeMap<i32, Partition>, partition: i32) {
        let Some(p) = partitions.get_mut(&partition) else { return };
        if let Some(end) = p.probe.take() {
            let end = p.until.map_or(end, |until| end.min(until));
            self.pass_cuts(p, end);
            p.open.skip_to(end);
        }
    }

    /// Seeks partitions that stand still before the known end to where they are: the end-of-partition event after that
    /// proves that nothing is left before the end.
    fn probe_idle(&self, client: &Client) {
        let ends = self.queue.ends();
        for (id, p) in self.lock_partitions().iter_mut() {
            let behind = ends.get(id).copied().filter(|end| *end > p.open.next());
            let Some(end) = behind else { continue };
            if std::mem::take(&mut p.active) {
                p.last_message = Instant::now();
            }
            if p.is_done() || p.last_message.elapsed() < PROBE_AFTER {
                continue;
            }
            p.last_message = Instant::now() + PROBE_AFTER * 2;
            let at = Offset::Offset(p.open.next());
            match client.seek(&self.topic, *id, at, Duration::ZERO) {
                Ok(()) => p.probe = Some(end),
                Err(e) => tracing::debug!(topic = self.topic, partition = id, "probe: {e}"),
            }
        }
    }

    fn complain(&self, client: &Client, error: &KafkaError) {
        let complaint = client.context().last();
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => self.explain_gone(client),
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                self.fail(kafka_error(error, "reading failed", complaint));
            }
            // One broker of several: the library finds its way, or all are down soon.
            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::OperationTimedOut) => {}
            _ => self.set_stalled(kafka_error(error, &format!("reading topic \"{}\"", self.topic), complaint)),
        }
    }

    /// A position was refused: finds out which, and fails.
    fn explain_gone(&self, client: &Client) {
        let marks = match self.marks(client) {
            Ok(marks) => marks,
            Err(e) => return self.fail(e),
        };
        let at: Vec<(i32, i64)> = self.lock_partitions().iter().map(|(id, p)| (*id, p.open.next())).collect();
        for (id, next) in at {
            let (low, high) = marks.get(&id).copied().unwrap_or((0, 0));
            if let Err(e) = self.check_range(id, next, None, low, high) {
                return self.fail(e);
            }
        }
        let message = format!("the cluster refused a position of topic \"{}\"", self.topic);
        self.fail(
            SqlError::new(SqlState::PREREQUISITE_STATE, message).hint("The topic may have been truncated meanwhile."),
        );
    }

    /// Takes up partitions that the watching thread has found.
    fn adopt(&self, client: &Client) {
        let found = std::mem::take(&mut *self.found.lock().unwrap_or_else(|e| e.into_inner()));
        for (partition, start) in found {
            if self.lock_partitions().contains_key(&partition) {
                continue;
            }
            let mut list = TopicPartitionList::new();
            let assigned = list
                .add_partition_offset(&self.topic, partition, Offset::Offset(start))
                .and_then(|()| client.incremental_assign(&list));
            match assigned {
                Ok(()) => {
                    tracing::info!(topic = self.topic, partition, start, "reading a new partition");
                    self.add(partition, start, None, None);
                }
                Err(e) => {
                    self.set_stalled(kafka_error(&e, "could not assign a new partition", client.context().last()))
                }
            }
        }
    }

    fn finish_if_done(&self) -> bool {
        if self.until.is_none() {
            return false;
        }
        let partitions = self.lock_partitions();
        if !partitions.values().all(Partition::is_done) {
            return false;
        }
        drop(partitions);
        // Invariant: the last cut of every partition is its end, so nothing is open.
        self.queue.set_state(SourceState::Done, None);
        self.queue.notify();
        true
    }

    /// The watching thread.
    fn watch(&self, client: &Client) {
        let interval = Duration::from_millis(self.options.refresh_ms.max(10));
        loop {
            let next = Instant::now() + interval;
            while Instant::now() < next {
                if self.queue.is_stopped() {
                    return;
                }
                std::thread::sleep(interval.min(Duration::from_millis(100)));
            }
            match self.marks(client) {
                Ok(marks) => {
                    if self.stalled.load(Ordering::SeqCst) {
                        self.set_running();
                    }
                    if self.until.is_none() {
                        self.report_new(&marks);
                    }
                }
                Err(e) => self.set_stalled(e),
            }
        }
    }

    fn report_new(&self, marks: &BTreeMap<i32, (i64, i64)>) {
        let known: Vec<i32> = self.lock_partitions().keys().copied().collect();
        let new = marks.iter().filter(|(id, _)| !known.contains(id)).map(|(id, (low, _))| (*id, *low));
        let mut found = self.found.lock().unwrap_or_else(|e| e.into_inner());
        *found = new.collect();
        if !found.is_empty() {
            self.has_found.store(true, Ordering::SeqCst);
        }
    }
}
