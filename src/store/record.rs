//! One tick as a record: what entered the dataflows at one instant, and its binary encoding.
//!
//! Layout, version 2. `u` is an unsigned LEB128 integer, `z` a zigzag LEB128 integer, `bytes` a `u` length and so
//! many bytes, `opt` a byte 0 or a byte 1 and the value; lists are a `u` count and their items:
//! ```text
//! version: 1 byte · time: u
//! catalog: list of bytes
//! tables: list of { table: u, rows: bytes (Arrow IPC stream of one batch), diffs: list of z, empty where all are +1 }
//! positions: list of { source: u, partition: z, next: z, count: u, crc: u, bytes: u, read: 1 byte }
//! dead_letters: list of { source: u, partition: z, offset: z, time_us: opt z, key: opt bytes, value: opt bytes,
//!                         headers: opt bytes (jsonb text), reason: bytes (text) }
//! ```
//! Nothing may follow the last list. The checksum is the log's, not the record's. Decoding never panics and never
//! allocates more than the input's length warrants.

use arrow::array::{AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use hw_repr::{GlobalId, SqlError, SqlState};
use std::io::Cursor;
use std::sync::Arc;

/// The version of the encoding.
pub const RECORD_VERSION: u8 = 3;
/// The version before: rows lost the sign of -0.0 where they were kept, so what was inserted as -0.0 may have been
/// deleted as 0.0. Its writes are read without that sign.
const RECORD_BEFORE: u8 = 2;

/// What entered at one tick.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TickRecord {
    /// The tick's time, ms.
    pub time: u64,
    /// Catalog changes, serialised by the catalog.
    pub catalog: Vec<Vec<u8>>,
    /// Rows that no upstream can give again.
    pub tables: Vec<TableWrite>,
    /// How far each source partition advanced.
    pub positions: Vec<SourcePosition>,
    /// Messages that could not be decoded.
    pub dead_letters: Vec<DeadLetterRow>,
}

/// Changes of one relation.
#[derive(Clone, Debug, PartialEq)]
pub struct TableWrite {
    /// The relation.
    pub table: GlobalId,
    /// Its rows.
    pub batch: RecordBatch,
    /// One diff a row.
    pub diffs: Vec<i64>,
}

/// A source partition has advanced. A later record with `read` and a `next` that is no advance gives the digest of
/// everything before `next`, some of which had gone by unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePosition {
    /// The source.
    pub source: GlobalId,
    /// Partition.
    pub partition: i32,
    /// The next offset to read.
    pub next: i64,
    /// Messages in the range that ends before `next`.
    pub count: u64,
    /// CRC32C of the range.
    pub crc: u32,
    /// Bytes that `crc` covers.
    pub bytes: u64,
    /// True where replay reads the range again upstream; false where its rows are in `tables`.
    pub read: bool,
}

/// A message that could not be decoded; the columns of `headwater.dead_letters`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeadLetterRow {
    /// The source.
    pub source: GlobalId,
    /// Partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, µs since 1970.
    pub time_us: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers as jsonb text.
    pub headers: Option<String>,
    /// Why it could not be decoded.
    pub reason: String,
}

impl TickRecord {
    /// Appends the encoding to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), SqlError> {
        out.push(RECORD_VERSION);
        put_u(out, self.time);
        put_u(out, self.catalog.len() as u64);
        self.catalog.iter().for_each(|c| put_bytes(out, c));
        put_u(out, self.tables.len() as u64);
        for write in &self.tables {
            write.encode(out)?;
        }
        put_u(out, self.positions.len() as u64);
        for p in &self.positions {
            put_u(out, u64::from(p.source.0));
            put_z(out, i64::from(p.partition));
            put_z(out, p.next);
            put_u(out, p.count);
            put_u(out, u64::from(p.crc));
            put_u(out, p.bytes);
            out.push(u8::from(p.read));
        }
        put_u(out, self.dead_letters.len() as u64);
        for d in &self.dead_letters {
            put_u(out, u64::from(d.source.0));
            put_z(out, i64::from(d.partition));
            put_z(out, d.offset);
            put_opt(out, d.time_us.as_ref(), |out, t| put_z(out, *t));
            put_opt(out, d.key.as_ref(), |out, k| put_bytes(out, k));
            put_opt(out, d.value.as_ref(), |out, v| put_bytes(out, v));
            put_opt(out, d.headers.as_ref(), |out, h| put_bytes(out, h.as_bytes()));
            put_bytes(out, d.reason.as_bytes());
        }
        Ok(())
    }

    /// The time with which a record begins that may be damaged further on.
    pub(crate) fn time_at_start(bytes: &[u8]) -> Option<u64> {
        let mut input = Input(bytes);
        matches!(input.byte().ok()?, RECORD_BEFORE | RECORD_VERSION).then(|| input.u().ok()).flatten()
    }

    /// The record that `bytes` hold, all of them. Errors are `XX001`.
    pub fn decode(bytes: &[u8]) -> Result<TickRecord, SqlError> {
        let mut input = Input(bytes);
        let version = input.byte()?;
        if !matches!(version, RECORD_BEFORE | RECORD_VERSION) {
            return Err(damaged(format!("tick record of unknown version {version}")));
        }
        let time = input.u()?;
        let catalog = input.list(|i| Ok(i.bytes()?.to_vec()))?;
        let mut tables = input.list(TableWrite::decode)?;
        if version == RECORD_BEFORE {
            tables.iter_mut().try_for_each(|t| without_negative_zeros(&mut t.batch))?;
        }
        let positions = input.list(|i| {
            Ok(SourcePosition {
                source: i.id()?,
                partition: i.z32()?,
                next: i.z()?,
                count: i.u()?,
                crc: i.u32()?,
                bytes: i.u()?,
                read: i.bool()?,
            })
        })?;
        let dead_letters = input.list(|i| {
            Ok(DeadLetterRow {
                source: i.id()?,
                partition: i.z32()?,
                offset: i.z()?,
                time_us: i.opt(Input::z)?,
                key: i.opt(|i| Ok(i.bytes()?.to_vec()))?,
                value: i.opt(|i| Ok(i.bytes()?.to_vec()))?,
                headers: i.opt(Input::text)?,
                reason: i.text()?,
            })
        })?;
        if !input.0.is_empty() {
            return Err(damaged(format!("tick record with {} bytes too many", input.0.len())));
        }
        Ok(TickRecord { time, catalog, tables, positions, dead_letters })
    }
}

impl TableWrite {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), SqlError> {
        if self.diffs.len() != self.batch.num_rows() {
            return Err(SqlError::internal(format!(
                "a table write has {} rows and {} diffs",
                self.batch.num_rows(),
                self.diffs.len()
            )));
        }
        let cannot = |e| SqlError::internal(format!("could not encode a table write: {e}"));
        let mut writer = StreamWriter::try_new(vec![], &self.batch.schema()).map_err(cannot)?;
        writer.write(&self.batch).map_err(cannot)?;
        let rows = writer.into_inner().map_err(cannot)?;
        put_u(out, u64::from(self.table.0));
        put_bytes(out, &rows);
        if self.diffs.iter().all(|d| *d == 1) {
            put_u(out, 0);
        } else {
            put_u(out, self.diffs.len() as u64);
            self.diffs.iter().for_each(|d| put_z(out, *d));
        }
        Ok(())
    }

    fn decode(input: &mut Input<'_>) -> Result<TableWrite, SqlError> {
        let table = input.id()?;
        let rows = input.bytes()?;
        let bad = |e| damaged(format!("rows of a table write cannot be decoded: {e}"));
        let mut reader = StreamReader::try_new(Cursor::new(rows), None).map_err(bad)?;
        let batch = reader.next().ok_or_else(|| damaged("a table write without a batch"))?.map_err(bad)?;
        let mut diffs = input.list(Input::z)?;
        if diffs.is_empty() {
            diffs = vec![1; batch.num_rows()];
        }
        if diffs.len() != batch.num_rows() {
            return Err(damaged("a table write whose rows and diffs differ in number"));
        }
        Ok(TableWrite { table, batch, diffs })
    }
}

/// -0.0 as 0.0.
fn without_negative_zeros(batch: &mut RecordBatch) -> Result<(), SqlError> {
    let columns = batch.columns().iter().map(|column| match column.data_type() {
        DataType::Float32 => Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(|v| v + 0.0)) as _,
        DataType::Float64 => Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(|v| v + 0.0)) as _,
        _ => Arc::clone(column),
    });
    let columns = columns.collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    *batch = RecordBatch::try_new_with_options(batch.schema(), columns, &options)
        .map_err(|e| damaged(format!("rows of a table write cannot be read: {e}")))?;
    Ok(())
}

fn damaged(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::DATA_CORRUPTED, message)
}

fn put_u(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push((v as u8) | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}
fn put_z(out: &mut Vec<u8>, v: i64) {
    put_u(out, ((v << 1) ^ (v >> 63)) as u64);
}
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
fn put_opt<T>(out: &mut Vec<u8>, value: Option<&T>, put: impl FnOnce(&mut Vec<u8>, &T)) {
    out.push(u8::from(value.is_some()));
    if let Some(v) = value {
        put(out, v);
    }
}

/// What is left to decode.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Result<u8, SqlError> {
        let (first, rest) = self.0.split_first().ok_or_else(|| damaged("tick record ends too early"))?;
        self.0 = rest;
        Ok(*first)
    }
    fn u(&mut self) -> Result<u64, SqlError> {
        let mut v = 0u64;
        for shift in (0..64).step_by(7) {
            let b = self.byte()?;
            let part = u64::from(b & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            v |= part << shift;
            if b & 0x80 == 0 {
                return Ok(v);
            }
        }
        Err(damaged("tick record with an integer out of range"))
    }
    fn z(&mut self) -> Result<i64, SqlError> {
        let v = self.u()?;
        Ok(((v >> 1) as i64) ^ -((v & 1) as i64))
    }
    fn z32(&mut self) -> Result<i32, SqlError> {
        i32::try_from(self.z()?).map_err(|_| damaged("tick record with an integer out of range"))
    }
    fn u32(&mut self) -> Result<u32, SqlError> {
        u32::try_from(self.u()?).map_err(|_| damaged("tick record with an integer out of range"))
    }
    fn id(&mut self) -> Result<GlobalId, SqlError> {
        Ok(GlobalId(self.u32()?))
    }
    fn bool(&mut self) -> Result<bool, SqlError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(damaged(format!("tick record with a flag of {other}"))),
        }
    }
    fn bytes(&mut self) -> Result<&'a [u8], SqlError> {
        let n = usize::try_from(self.u()?).map_err(|_| damaged("tick record with a length out of range"))?;
        let (bytes, rest) = self.0.split_at_checked(n).ok_or_else(|| damaged("tick record ends too early"))?;
        self.0 = rest;
        Ok(bytes)
    }
    fn text(&mut self) -> Result<String, SqlError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| damaged("tick record with text that is not UTF-8"))
    }
    fn opt<T>(&mut self, item: impl FnOnce(&mut Self) -> Result<T, SqlError>) -> Result<Option<T>, SqlError> {
        if self.bool()? { item(self).map(Some) } else { Ok(None) }
    }
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, SqlError>) -> Result<Vec<T>, SqlError> {
        let n = self.u()?;
        // Every item takes at least one byte, so a damaged count cannot make us reserve more than the input's length.
        let n = usize::try_from(n).ok().filter(|n| *n <= self.0.len());
        let n = n.ok_or_else(|| damaged("tick record with a count out of range"))?;
        let mut items = Vec::with_capacity(n.min(1024));
        for _ in 0..n {
            items.push(item(self)?);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn batch(ints: Vec<Option<i64>>, text: String) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, false)]);
        let texts = StringArray::from(vec![text; ints.len()]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(ints)), Arc::new(texts)])
            .expect("columns of one length")
    }

    prop_compose! {
        fn a_write()(table: u32, rows in prop::collection::vec((any::<Option<i64>>(), any::<i64>()), 0..20), text: String, ones: bool)
            -> TableWrite {
            let (ints, diffs): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
            let diffs = if ones { vec![1; ints.len()] } else { diffs };
            TableWrite { table: GlobalId(table), batch: batch(ints, text), diffs }
        }
    }
    prop_compose! {
        fn a_position()(source: u32, partition: i32, next: i64, count: u64, crc: u32, bytes: u64, read: bool)
            -> SourcePosition {
            SourcePosition { source: GlobalId(source), partition, next, count, crc, bytes, read }
        }
    }
    prop_compose! {
        fn a_letter()(source: u32, partition: i32, offset: i64, time_us: Option<i64>, key: Option<Vec<u8>>,
            value: Option<Vec<u8>>, headers: Option<String>, reason: String) -> DeadLetterRow {
            DeadLetterRow { source: GlobalId(source), partition, offset, time_us, key, value, headers, reason }
        }
    }
    prop_compose! {
        fn a_record()(time: u64, catalog in prop::collection::vec(any::<Vec<u8>>(), 0..3),
            tables in prop::collection::vec(a_write(), 0..3), positions in prop::collection::vec(a_position(), 0..4),
            dead_letters in prop::collection::vec(a_letter(), 0..3)) -> TickRecord {
            TickRecord { time, catalog, tables, positions, dead_letters }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn what_is_encoded_is_decoded(record in a_record()) {
            let mut bytes = vec![];
            record.encode(&mut bytes).expect("encodes");
            prop_assert_eq!(TickRecord::decode(&bytes).expect("decodes"), record);
        }

        #[test]
        fn a_shortened_record_is_refused(record in a_record(), cut: prop::sample::Index) {
            let mut bytes = vec![];
            record.encode(&mut bytes).expect("encodes");
            bytes.truncate(cut.index(bytes.len()));
            prop_assert_eq!(TickRecord::decode(&bytes).expect_err("short").code, SqlState::DATA_CORRUPTED);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let mut framed = vec![RECORD_VERSION];
            framed.extend(bytes);
            let _ = TickRecord::decode(&framed);
        }
    }

    #[test]
    fn rows_and_diffs_must_agree_and_versions_are_checked() {
        let write = TableWrite { table: GlobalId(1), batch: batch(vec![Some(1)], "x".into()), diffs: vec![] };
        let record = TickRecord { tables: vec![write], ..TickRecord::default() };
        assert!(record.encode(&mut vec![]).is_err());
        let mut bytes = vec![];
        TickRecord::default().encode(&mut bytes).expect("encodes");
        bytes[0] = RECORD_VERSION + 1;
        assert!(TickRecord::decode(&bytes).expect_err("version").message.contains("version 4"));
    }
}
