//! Closing ticks.
//!
//! A tick closes when there is work, its time is at most a millisecond ahead of the clock, the previous tick is durable
//! (or takes longer than [`LOG_WAIT`]) and has passed every live dataflow, or has not for long, or workers are to have one more at
//! hand ([`crate::lag`]). It enters the workers at once while its record is being written; nothing of it is shown before the
//! record is durable.
//!
//! A record that is handed over while the log syncs waits for the next sync. So a tick that closes only then loses no
//! time, and takes with it all that came meanwhile: fewer, larger ticks where the disk is slower than the clock.

use crate::command::{Reply, TableWrite, Written};
use crate::core::{Ack, Core, PendingWrite};
use crate::tables::{Overlay, updates};
use arrow::array::Array;
use hw_repr::{GlobalId, SqlError, SqlState, Timestamp, UpdateBatch};
use hw_store::{DeadLetterRow, SourcePosition, TableWrite as LoggedWrite, TickRecord};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Bytes of source batches that enter one tick.
pub(crate) const TICK_SOURCE_BYTES_MAX: usize = 16 << 20;

/// Bytes of table writes that one tick takes, beyond its first write.
const TICK_WRITE_BYTES: usize = 64 << 20;
/// Bytes of one write: its record has to fit into the log.
pub(crate) const WRITE_BYTES_MAX: usize = 900 << 20;

/// For so long a tick waits for the record before it: a large one is still being written while the next is made.
const LOG_WAIT: Duration = Duration::from_millis(5);

/// What one tick takes from a source.
#[derive(Default)]
pub(crate) struct SourceIntake {
    pub positions: Vec<SourcePosition>,
    pub dead: Vec<DeadLetterRow>,
    /// Per source relation.
    pub batches: BTreeMap<GlobalId, Vec<UpdateBatch>>,
}

impl Core {
    /// True where a tick would hold something.
    pub(crate) fn has_work(&self) -> bool {
        let commits = self.read_only.is_none() && self.commits();
        commits || self.sources.values().any(|s| s.has_data()) || self.idle_tick_due() || self.read_wants_tick()
    }

    /// True where the next tick has more than sources to give.
    pub(crate) fn commits(&self) -> bool {
        !self.writes.is_empty() || !self.changes.is_empty()
    }

    /// True where somebody waits to hear that time has passed.
    fn idle_tick_due(&self) -> bool {
        self.read_only.is_none() && self.subscriptions.idle_tick().is_some_and(|d| self.last_close.elapsed() >= d)
    }

    /// True where the next tick's time has come. A clock that was set back does not hold ticks up.
    fn tick_due(&self) -> bool {
        self.last_tick <= (self.clock)() || self.last_close.elapsed() >= Duration::from_millis(1)
    }

    /// How long the next tick still waits for the log, which wakes the coordinator when it is done.
    fn log_wait(&self) -> Option<Duration> {
        let left = LOG_WAIT.checked_sub(self.last_close.elapsed())?;
        (self.durable < self.last_tick).then_some(left)
    }

    /// How long the next tick may take to become possible where nobody wakes the coordinator.
    pub(crate) fn tick_wait(&self) -> Duration {
        if self.read_only.is_some() || (self.is_behind() && !self.may_run_ahead()) {
            return self.lag_wait();
        }
        self.log_wait().unwrap_or(Duration::from_millis(1))
    }

    /// Closes a tick where one may close.
    pub(crate) fn close_ticks(&mut self) {
        if self.read_only.is_some() || !self.has_work() || !self.tick_due() || self.log_wait().is_some() {
            return;
        }
        if self.is_behind() && !self.may_run_ahead() {
            if !self.may_close_behind() {
                return;
            }
            self.set_laggards_apart();
        }
        self.close_tick();
    }

    /// Closes one tick with everything that waits.
    pub(crate) fn close_tick(&mut self) -> Timestamp {
        self.close_tick_with(true)
    }

    /// As [`Core::close_tick`]; without `contents`, sources and writes wait for the next one.
    pub(crate) fn close_tick_with(&mut self, contents: bool) -> Timestamp {
        let time = (self.clock)().max(self.last_tick + 1);
        let mut record = TickRecord { time, ..TickRecord::default() };
        let mut acks: Vec<Ack> = std::mem::take(&mut self.change_acks);
        record.catalog = std::mem::take(&mut self.changes);
        let intake = if contents { self.take_from_sources(time) } else { SourceIntake::default() };
        record.positions = intake.positions;
        record.dead_letters = intake.dead;
        let tables = if contents { self.take_writes(time, &mut acks) } else { BTreeMap::new() };
        for (table, writes) in &tables {
            for w in writes {
                let diffs = w.diffs.as_ref().map_or_else(|| vec![1; w.len()], |d| d.values().to_vec());
                record.tables.push(LoggedWrite { table: *table, batch: w.rows.clone(), diffs });
            }
        }
        let flying = record.tables.iter().map(|w| &w.batch).chain(intake.batches.values().flatten().map(|b| &b.rows));
        self.in_flight.add(time, flying.map(logged_bytes).sum());
        self.stats.ticks += 1;
        self.stats.dead_letters += record.dead_letters.len() as u64;
        self.submit(record, time, acks);
        for (table, batches) in tables {
            self.send(table, table, batches);
        }
        self.distribute(intake.batches);
        let flows: Vec<GlobalId> =
            self.flows.iter().filter(|(_, f)| f.hydration.is_none()).map(|(id, _)| *id).collect();
        self.engine.tick(time + 1, &flows);
        self.last_tick = time;
        self.last_close = Instant::now();
        time
    }

    fn submit(&mut self, record: TickRecord, time: Timestamp, acks: Vec<Ack>) {
        self.acks.push_back((time, acks));
        let Some(log) = &self.log else { return };
        let (durables, wake) = (self.durables.clone(), self.wake.clone());
        log.submit(
            record,
            Box::new(move |result| {
                durables.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((time, result));
                wake.notify_one();
            }),
        );
    }

    /// Changes for a dataflow; one that cannot take them has failed.
    pub(crate) fn send(&mut self, flow: GlobalId, input: GlobalId, batches: Vec<UpdateBatch>) {
        if let Err(e) = self.engine.send(flow, input, batches) {
            tracing::error!(%flow, error = %e, "a dataflow did not take its input");
            if let Some(flow) = self.flows.get_mut(&flow) {
                flow.failed = Some(e);
            }
        }
    }

    /// Gives source batches to every dataflow that follows the shared stream, and keeps them for those about to join it.
    fn distribute(&mut self, batches: BTreeMap<GlobalId, Vec<UpdateBatch>>) {
        for (source, batches) in batches {
            self.stats.rows_in += batches.iter().map(|b| b.len() as u64).sum::<u64>();
            for (id, flow) in &mut self.flows {
                if !flow.inputs.contains(&source) {
                    continue;
                }
                match &mut flow.hydration {
                    None => {
                        if let Err(e) = self.engine.send(*id, source, batches.clone()) {
                            flow.failed = Some(e);
                        }
                    }
                    Some(h) => h.hold_back(source, &batches),
                }
            }
        }
    }

    /// Executes the pending writes in order; one that reads a table this tick has already written waits for the next.
    fn take_writes(&mut self, time: Timestamp, acks: &mut Vec<Ack>) -> BTreeMap<GlobalId, Vec<UpdateBatch>> {
        let mut out: BTreeMap<GlobalId, Vec<UpdateBatch>> = BTreeMap::new();
        let mut overlays: BTreeMap<GlobalId, Overlay> = BTreeMap::new();
        let mut later = std::collections::VecDeque::new();
        let mut blocked: Vec<GlobalId> = vec![];
        let mut bytes = 0;
        for pending in std::mem::take(&mut self.writes) {
            // The client has given up: cancelled, or timed out.
            if pending.reply.is_closed() {
                continue;
            }
            let Some(table) = pending.write.table() else {
                if bytes > TICK_WRITE_BYTES {
                    later.push_back(pending);
                } else if let Some(done) = self.take_transaction(pending, time, &mut out, acks) {
                    bytes += done.bytes;
                    done.tables.into_iter().for_each(|t| overlays.entry(t).or_default().rewrite());
                }
                continue;
            };
            let waits = blocked.contains(&table)
                || bytes > TICK_WRITE_BYTES
                || (pending.write.reads_table() && out.contains_key(&table))
                || overlays.get(&table).is_some_and(Overlay::rewritten)
                || self.engine.frontier(table) <= self.last_tick;
            if waits && self.flows.contains_key(&table) {
                blocked.push(table);
                later.push_back(pending);
                continue;
            }
            let overlay = overlays.entry(table).or_default();
            let checked = self.check_current(&pending.write, &out);
            match checked.and_then(|()| self.check_write(&pending.write, overlay)) {
                Ok(change) => {
                    let changes = change.updates(time);
                    let size = changes.iter().map(|c| logged_bytes(&c.rows)).sum::<usize>();
                    let fits = size <= WRITE_BYTES_MAX;
                    if !fits || !pending.commit.reach() {
                        // The overlay knows of rows that do not come.
                        blocked.push(table);
                        if !fits {
                            let _ = pending.reply.send(Err(too_large(size)));
                        }
                        continue;
                    }
                    bytes += size;
                    if !changes.is_empty() {
                        self.changed.insert(table, time);
                        out.entry(table).or_default().extend(changes);
                    }
                    let deleted = matches!(pending.write, TableWrite::Delete { .. });
                    let rows = match pending.write.returning() {
                        true if deleted => change.removed,
                        true => change.added,
                        false => vec![],
                    };
                    acks.push(acknowledge(pending.reply, Written { count: change.count, rows }));
                }
                Err(e) => drop(pending.reply.send(Err(e))),
            }
        }
        self.writes = later;
        self.stats.writes += acks.len() as u64;
        out
    }

    /// A transaction whose reads still hold; it is told where they do not.
    fn take_transaction(
        &mut self,
        pending: PendingWrite,
        time: Timestamp,
        out: &mut BTreeMap<GlobalId, Vec<UpdateBatch>>,
        acks: &mut Vec<Ack>,
    ) -> Option<Taken> {
        if let Err(e) = self.check_current(&pending.write, out) {
            let _ = pending.reply.send(Err(e));
            return None;
        }
        let PendingWrite { write: TableWrite::Transaction { changes, .. }, commit, reply } = pending else {
            return None;
        };
        let changes: Vec<(GlobalId, UpdateBatch)> =
            changes.into_iter().filter_map(|(id, rows, diff)| Some((id, updates(rows, diff, time)?))).collect();
        let bytes: usize = changes.iter().map(|(_, c)| logged_bytes(&c.rows)).sum();
        if bytes > WRITE_BYTES_MAX {
            let _ = reply.send(Err(too_large(bytes)));
            return None;
        }
        if !commit.reach() {
            return None;
        }
        let mut tables = std::collections::BTreeSet::new();
        for (id, change) in changes {
            tables.insert(id);
            self.changed.insert(id, time);
            out.entry(id).or_default().push(change);
        }
        acks.push(acknowledge(reply, Written::default()));
        Some(Taken { bytes, tables })
    }
}

/// What a transaction has put into a tick.
struct Taken {
    bytes: usize,
    tables: std::collections::BTreeSet<GlobalId>,
}

/// About the bytes that changes take in the log.
pub(crate) fn logged_bytes(rows: &arrow::array::RecordBatch) -> usize {
    let column = |c: &arrow::array::ArrayRef| c.to_data().get_slice_memory_size().unwrap_or(c.get_array_memory_size());
    rows.num_rows() * 8 + rows.columns().iter().map(column).sum::<usize>()
}

pub(crate) fn too_large(bytes: usize) -> SqlError {
    let message = format!("a write of {bytes} bytes exceeds the limit of {WRITE_BYTES_MAX} bytes");
    SqlError::new(SqlState::LIMIT_EXCEEDED, message).hint("Split it into several statements.")
}

fn acknowledge(reply: Reply<Written>, written: Written) -> Ack {
    Box::new(move |result| drop(reply.send(result.map(|()| written))))
}
