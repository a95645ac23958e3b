//! Queries and subscriptions on the session's side.

use super::ddl::blocking;
use super::{Session, done};
use crate::command::{Command, ReadAt, ReadHold, ReadTable, SubscribeEvent, SubscribeRequest, Subscription};
use crate::errors::LeftOut;
use crate::external;
use crate::session::{Executed, Outcome, RowStream};
use crate::source::{READER_BUFFER_BYTES, relations_of};
use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, new_null_array};
use futures::{StreamExt, stream};
use hw_connect::{SourceReader, SourceState};
use hw_plan::{CatalogView, Object, ObjectKind, ScalarExpr};
use hw_query::{QueryOptions, QueryTable};
use hw_repr::{Column, Datum, GlobalId, RelationDesc, SqlError, SqlState, SqlType, Timestamp};
use hw_sql::Query;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

impl Session {
    pub(super) fn planning_context(&self) -> hw_sql::SessionContextInfo {
        hw_sql::SessionContextInfo {
            search_path: self.settings.search_path(),
            user: self.user.clone(),
            database: self.database.clone(),
            now_us: self.begun_us.unwrap_or_else(super::now_us),
            settings: self.settings.all(&self.user),
            prepared: self.prepared.clone(),
            backend_pid: self.backend_pid,
            inline: self.stale_views(),
        }
    }

    /// Materialized views over what the transaction has written: they are computed, as they do not show it.
    fn stale_views(&self) -> BTreeSet<GlobalId> {
        let mut stale = self.tx.written();
        if stale.is_empty() {
            return stale;
        }
        let catalog = self.handle.snapshot.load_full();
        loop {
            let more: Vec<GlobalId> = catalog
                .objects()
                .iter()
                .filter(|o| !stale.contains(&o.id) && o.depends_on.iter().any(|d| stale.contains(d)))
                .map(|o| o.id)
                .collect();
            if more.is_empty() {
                return stale;
            }
            stale.extend(more);
        }
    }

    pub(super) async fn run_select(
        &mut self,
        query: Option<Query>,
        as_of: Option<ScalarExpr>,
        params: Vec<Datum>,
    ) -> Result<Executed, SqlError> {
        let query = query.ok_or_else(|| SqlError::internal("a query without a plan"))?;
        let desc = query.desc.clone();
        let rows = match &as_of {
            Some(time) => {
                let at = ReadAt::Past(past_time(&hw_scalar::eval_const(time)?)?);
                self.stream(query, at, params).await?.0
            }
            None => self.read(query, params).await?.0,
        };
        Ok(done(Outcome::Rows { desc, rows, tag: "SELECT", count_in_tag: true }))
    }

    pub(super) async fn run_copy_to(
        &mut self,
        query: Option<Query>,
        options: hw_plan::CopyOptions,
        params: Vec<Datum>,
    ) -> Result<Executed, SqlError> {
        let query = query.ok_or_else(|| SqlError::internal("a COPY without a query"))?;
        let desc = query.desc.clone();
        let (rows, _) = self.read(query, params).await?;
        Ok(done(Outcome::CopyOut { desc, rows, options }))
    }

    /// All rows of a query, for a statement that writes, and the time they were read at.
    pub(super) async fn collect(
        &mut self,
        query: Query,
        params: Vec<Datum>,
    ) -> Result<(Vec<RecordBatch>, Option<Arc<ReadHold>>), SqlError> {
        let (mut rows, hold) = self.read(query, params).await?;
        let mut out = vec![];
        while let Some(batch) = rows.next().await {
            out.push(batch?);
        }
        Ok((out, hold))
    }

    /// A query at the transaction's snapshot, which its first read chooses, or now.
    async fn read(&mut self, query: Query, params: Vec<Datum>) -> Result<(RowStream, Option<Arc<ReadHold>>), SqlError> {
        let at = self.tx.hold.clone().map_or(ReadAt::Now, ReadAt::Held);
        let reads = query.depends_on.clone();
        let (rows, hold) = self.stream(query, at, params).await?;
        if self.in_block() {
            if self.tx.hold.is_none() {
                self.tx.hold = hold.clone();
            }
            self.tx.reads.extend(reads);
        }
        Ok((rows, hold))
    }

    async fn stream(
        &mut self,
        query: Query,
        at: ReadAt,
        params: Vec<Datum>,
    ) -> Result<(RowStream, Option<Arc<ReadHold>>), SqlError> {
        let plan = hw_sql::bind_params(query.plan, &params)?;
        let (tables, hold) = self.tables(&query.depends_on, at).await?;
        let rows = hw_query::execute(plan, tables, QueryOptions::default()).await?;
        Ok((rows.map(|r| r.map_err(|e| hw_query::to_sql_error(&e))).boxed(), hold))
    }

    /// Every relation of a query, at one time: in a transaction block that of its first read.
    async fn tables(
        &mut self,
        ids: &[GlobalId],
        at: ReadAt,
    ) -> Result<(HashMap<GlobalId, QueryTable>, Option<Arc<ReadHold>>), SqlError> {
        let catalog = self.handle.snapshot.load_full();
        let (system, user): (Vec<GlobalId>, Vec<GlobalId>) = ids.iter().partition(|id| catalog.is_system(**id));
        if matches!(at, ReadAt::Past(_)) && (user.is_empty() || !system.is_empty()) {
            return Err(SqlError::unsupported("AS OF reads tables and materialized views")
                .hint("System relations have no history."));
        }
        let past = matches!(at, ReadAt::Past(_));
        let mut out = HashMap::new();
        for id in system {
            let object =
                self.object(id).ok_or_else(|| SqlError::internal(format!("system relation {id} is missing")))?;
            out.insert(id, self.system_table(&object).await?);
        }
        if user.is_empty() {
            return Ok((out, None));
        }
        let snapshot = self.handle.request(|reply| Command::Read { ids: user, at, reply }).await?;
        self.warn_of(&snapshot.left_out);
        let as_of = snapshot.as_of.at;
        for (id, table) in snapshot.tables {
            let table = match table {
                ReadTable::Arranged { desc, published, indexes, .. } if !past && self.tx.writes(id) => {
                    let published = self.tx.overlaid(id, &desc, &published, as_of);
                    let indexes = indexes.iter().map(|p| self.tx.overlaid(id, &desc, p, as_of)).collect();
                    // What the transaction has written is not in indexes whose keys are computed.
                    QueryTable::Snapshot { desc, published, indexes, computed: vec![], as_of }
                }
                ReadTable::Arranged { desc, published, indexes, computed } => {
                    QueryTable::Snapshot { desc, published, indexes, computed, as_of }
                }
                ReadTable::Source { object, desc, from, to } => {
                    self.source_table(&object, desc, from, to, &snapshot.as_of).await?
                }
            };
            out.insert(id, table);
        }
        Ok((out, Some(snapshot.as_of)))
    }

    /// The client is told of what the statement's read does without.
    fn warn_of(&self, left_out: &LeftOut) {
        *self.warnings.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = left_out.warnings();
    }

    async fn system_table(&self, object: &Arc<Object>) -> Result<QueryTable, SqlError> {
        let desc = object.desc().cloned().unwrap_or_default();
        let snapshot = self.handle.snapshot.load_full();
        let rows = match hw_catalog::builtin::catalog_rows(&snapshot, &object.schema, &object.name) {
            Some(rows) => rows,
            None if object.schema == "headwater" && object.name == "sessions" => self.handle.sessions.rows(),
            None if object.schema == "headwater" && object.name == "settings" => self.settings_rows(),
            None => {
                let name = object.name.clone();
                self.handle.request(|reply| Command::System { name, reply }).await?
            }
        };
        Ok(QueryTable::Batches { batches: vec![rows_to_batch(&desc, &rows)?], desc })
    }

    /// What the server was started with, then the session's settings.
    fn settings_rows(&self) -> Vec<Vec<Datum>> {
        let text = |s: &str| Datum::Text(s.to_string());
        let server = self.handle.options.iter().map(|(n, v, about)| vec![text(n), text(v), text(about)]);
        let own = self.settings.all(&self.user).into_iter().map(|(n, v)| vec![text(&n), text(&v), Datum::Null]);
        server.chain(own).collect()
    }

    /// A source has no arrangement: its messages are read again, from its start to where it is now.
    async fn source_table(
        &self,
        object: &Arc<Object>,
        desc: RelationDesc,
        mut from: BTreeMap<i32, i64>,
        to: Option<BTreeMap<i32, i64>>,
        hold: &ReadHold,
    ) -> Result<QueryTable, SqlError> {
        let catalog = self.handle.snapshot.load_full();
        let (source, output) = match &object.kind {
            ObjectKind::SourceOutput { source, output, .. } => (catalog.get(*source), *output),
            _ => (Some(object.clone()), 0),
        };
        let source = source.ok_or_else(|| SqlError::internal("a relation without its source"))?;
        let ObjectKind::Source(source_desc) = &source.kind else {
            return Err(SqlError::internal(format!("\"{}\" is not a source", source.name)));
        };
        let upstream = external::upstream(source_desc, &*catalog)?;
        let lock = || hold.ends.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = lock().get(&source.id).cloned();
        let to = match to.or(known) {
            Some(to) => to,
            None => {
                let (asked, up) = (source.clone(), upstream.clone());
                let marks = blocking(move || external::upstream_marks(&asked, &up)).await?;
                for (partition, (low, _)) in &marks {
                    from.entry(*partition).or_insert(*low);
                }
                let to: BTreeMap<i32, i64> = marks.into_iter().map(|(p, (_, high))| (p, high)).collect();
                lock().entry(source.id).or_insert(to).clone()
            }
        };
        let mut wanted: Vec<Vec<usize>> =
            relations_of(&source, source_desc, &*catalog).iter().map(|_| vec![]).collect();
        if let Some(columns) = wanted.get_mut(output) {
            *columns = (0..desc.arity()).collect();
        }
        let schema = desc.schema();
        let provider = Arc::new(move || {
            let reader = external::open_reader(
                &source,
                &upstream,
                &wanted,
                from.clone(),
                Some(to.clone()),
                BTreeMap::new(),
                READER_BUFFER_BYTES,
            );
            hw_query::stream_of(schema.clone(), read_all(reader, output))
        });
        Ok(QueryTable::Stream { desc, provider })
    }

    pub(super) async fn run_subscribe(&self, request: SubscribeRequest) -> Result<Executed, SqlError> {
        let (id, progress, up_to) = (request.relation, request.progress, request.up_to);
        // A relation that is still filling is waited for, as a SELECT waits.
        if request.as_of.is_none() {
            let ids = vec![id];
            let snapshot = self.handle.request(|reply| Command::Read { ids, at: ReadAt::Now, reply }).await?;
            self.warn_of(&snapshot.left_out);
        }
        let subscription = self.handle.request(|reply| Command::Subscribe { request, reply }).await?;
        let desc = subscribe_desc(&subscription.desc, progress);
        let ender = Ender { tx: self.handle.tx.clone(), id: subscription.id };
        let rows = subscription_rows(subscription, desc.clone(), progress, up_to, ender);
        Ok(done(Outcome::Rows { desc, rows, tag: "SUBSCRIBE", count_in_tag: false }))
    }
}

/// The time that `AS OF` names, ms since 1970.
fn past_time(value: &Datum) -> Result<Timestamp, SqlError> {
    let ms = match value {
        Datum::Int8(ms) => *ms,
        Datum::TimestampTz(us) => us.div_euclid(1000),
        Datum::Null => return Err(SqlError::new(SqlState::new("22004"), "the time of AS OF is NULL")),
        other => return Err(SqlError::internal(format!("AS OF {other:?}"))),
    };
    Timestamp::try_from(ms)
        .map_err(|_| SqlError::new(SqlState::INVALID_PARAMETER, "the time of AS OF lies before 1970"))
}

/// All batches of one output of a bounded reader.
fn read_all(
    reader: Result<Box<dyn SourceReader>, SqlError>,
    output: usize,
) -> impl futures::Stream<Item = Result<RecordBatch, SqlError>> + Send {
    let first = reader.map(|r| (r, Vec::<RecordBatch>::new()));
    stream::unfold(Some(first), move |state| async move {
        let (reader, mut ready) = match state? {
            Ok(state) => state,
            Err(e) => return Some((Err(e), None)),
        };
        loop {
            if let Some(batch) = ready.pop() {
                return Some((Ok(batch), Some(Ok((reader, ready)))));
            }
            let done = reader.is_done();
            let taken = reader.try_take(READER_BUFFER_BYTES);
            if taken.is_empty() {
                match reader.state() {
                    (SourceState::Failed, Some(e)) => return Some((Err(e), None)),
                    _ if done => return None,
                    _ => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
            ready = taken
                .into_iter()
                .rev()
                .filter_map(|mut b| (output < b.outputs.len()).then(|| b.outputs.swap_remove(output)))
                .collect();
        }
    })
}

/// Ends a subscription when the client's stream is dropped.
struct Ender {
    tx: tokio::sync::mpsc::Sender<Command>,
    id: u64,
}

impl Drop for Ender {
    fn drop(&mut self) {
        let _ = self.tx.try_send(Command::Unsubscribe { id: self.id });
    }
}

fn subscription_rows(
    s: Subscription,
    desc: RelationDesc,
    progress: bool,
    up_to: Option<u64>,
    ender: Ender,
) -> RowStream {
    let queued = s.queued_bytes;
    let state = (s.updates, s.as_of, ender, false);
    stream::unfold(state, move |(mut updates, mut seen, ender, over)| {
        let (desc, queued) = (desc.clone(), queued.clone());
        async move {
            if over {
                return None;
            }
            loop {
                match updates.recv().await {
                    Some(event @ SubscribeEvent::Changes { .. }) => {
                        queued.fetch_sub(event.bytes(), std::sync::atomic::Ordering::Relaxed);
                        let SubscribeEvent::Changes { time, rows, diffs } = event else { continue };
                        seen = time;
                        let batch = change_rows(&desc, progress, time, &rows, diffs);
                        return Some((batch, (updates, seen, ender, false)));
                    }
                    Some(SubscribeEvent::Progress(upper)) => {
                        seen = upper;
                        let last = up_to.is_some_and(|t| upper >= t);
                        if progress {
                            return Some((
                                progress_row(&desc, up_to.map_or(upper, |t| upper.min(t))),
                                (updates, seen, ender, last),
                            ));
                        }
                        if last {
                            return None;
                        }
                    }
                    Some(SubscribeEvent::Error(e)) => return Some((Err(e), (updates, seen, ender, true))),
                    None if up_to.is_some_and(|t| seen >= t) => return None,
                    None => {
                        let e = SqlError::new(
                            SqlState::LIMIT_EXCEEDED,
                            "the subscription was ended: the client does not keep up",
                        )
                        .hint(format!("Resume with AS OF {seen}."));
                        return Some((Err(e), (updates, seen, ender, true)));
                    }
                }
            }
        }
    })
    .boxed()
}

/// Columns of a subscription.
pub(super) fn subscribe_desc(relation: &RelationDesc, progress: bool) -> RelationDesc {
    let column = |name: &str, ty, nullable| Column { name: name.into(), ty, nullable };
    let mut columns = vec![column("hw_timestamp", SqlType::Int8, false)];
    if progress {
        columns.push(column("hw_progressed", SqlType::Bool, false));
    }
    columns.push(column("hw_diff", SqlType::Int8, true));
    columns.extend(relation.columns.iter().map(|c| Column { nullable: true, ..c.clone() }));
    RelationDesc::new(columns)
}

fn batch_of(desc: &RelationDesc, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, SqlError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(desc.schema(), columns, &options).map_err(|e| SqlError::internal(e.to_string()))
}

fn change_rows(
    desc: &RelationDesc,
    progress: bool,
    time: u64,
    rows: &RecordBatch,
    diffs: Vec<i64>,
) -> Result<RecordBatch, SqlError> {
    let n = rows.num_rows();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![time as i64; n]))];
    if progress {
        columns.push(Arc::new(BooleanArray::from(vec![false; n])));
    }
    columns.push(Arc::new(Int64Array::from(diffs)));
    columns.extend(rows.columns().iter().cloned());
    batch_of(desc, columns, n)
}

fn progress_row(desc: &RelationDesc, upper: u64) -> Result<RecordBatch, SqlError> {
    let mut columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(vec![upper as i64])), Arc::new(BooleanArray::from(vec![true]))];
    columns.extend(desc.columns.iter().skip(2).map(|c| new_null_array(&c.ty.arrow(), 1)));
    batch_of(desc, columns, 1)
}

/// The result of `SELECT headwater.compact()`.
pub(super) fn compact_desc() -> RelationDesc {
    RelationDesc::new(vec![Column { name: "compact".into(), ty: SqlType::Bool, nullable: false }])
}

/// Rows that are known already.
pub(super) fn literal_rows(desc: RelationDesc, rows: Vec<Vec<Datum>>, tag: &'static str) -> Result<Executed, SqlError> {
    let batch = rows_to_batch(&desc, &rows)?;
    let count_in_tag = tag == "SELECT";
    Ok(done(Outcome::Rows { desc, rows: stream::iter([Ok(batch)]).boxed(), tag, count_in_tag }))
}

fn rows_to_batch(desc: &RelationDesc, rows: &[Vec<Datum>]) -> Result<RecordBatch, SqlError> {
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(desc.arity());
    for (i, column) in desc.columns.iter().enumerate() {
        let values: Vec<Datum> = rows.iter().map(|r| r.get(i).cloned().unwrap_or(Datum::Null)).collect();
        columns.push(hw_repr::datum::datums_to_array(column.ty, &values)?);
    }
    crate::tables::with_schema(columns, rows.len(), desc)
}
