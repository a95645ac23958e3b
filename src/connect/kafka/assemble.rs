//! Messages of one partition to batches: decodes payloads, fills metadata columns, keeps digest and dead letters.
//!
//! Invariant: `next` is one past the last message taken in, or the position the partition was moved to; a batch always
//! covers `[from, next)` without a hole.

use crate::json::JsonDecoder;
use crate::source::{DeadLetter, RangeDigest, SourceBatch};
use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use hw_plan::{Format, KafkaSource, Metadata};
use hw_repr::{RelationDesc, SqlError};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use std::sync::Arc;

/// What all partitions of a source share.
pub(super) struct Shape {
    payload: RelationDesc,
    wanted: Vec<bool>,
    include: Vec<Metadata>,
    schema: SchemaRef,
    /// Keys become rows and so belong to the digest.
    has_key: bool,
}

impl Shape {
    /// `desc`: all columns, the metadata columns last; one flag per column.
    pub(super) fn new(source: &KafkaSource, desc: &RelationDesc, wanted: &[bool]) -> Result<Self, SqlError> {
        let Format::Json = source.format;
        if wanted.len() != desc.arity() || desc.arity() < source.include.len() {
            return Err(SqlError::internal("the columns of a Kafka source do not fit its description"));
        }
        let payload = desc.columns[..desc.arity() - source.include.len()].to_vec();
        let field = |(c, w): (&hw_repr::Column, &bool)| Field::new(&c.name, c.ty.arrow(), c.nullable || !w);
        let fields: Vec<Field> = desc.columns.iter().zip(wanted).map(field).collect();
        Ok(Shape {
            payload: RelationDesc::new(payload),
            wanted: wanted.to_vec(),
            has_key: source.include.contains(&Metadata::Key),
            include: source.include.clone(),
            schema: Arc::new(Schema::new(fields)),
        })
    }

    fn wants(&self, metadata: Metadata) -> bool {
        let at = self.payload.arity();
        self.include.iter().enumerate().any(|(i, m)| *m == metadata && self.wanted[at + i])
    }
}

/// The open batch of one partition.
pub(super) struct Assembler {
    shape: Arc<Shape>,
    partition: i32,
    from: i64,
    next: i64,
    digest: RangeDigest,
    decoder: JsonDecoder,
    keys: Option<BinaryBuilder>,
    key_bytes: usize,
    offsets: Option<Vec<i64>>,
    times: Option<Vec<Option<i64>>>,
    dead: Vec<DeadLetter>,
    dead_bytes: usize,
}

impl Assembler {
    /// Of a partition read from `from` on.
    pub(super) fn new(shape: Arc<Shape>, partition: i32, from: i64) -> Self {
        let decoder = JsonDecoder::new(&shape.payload, &shape.wanted[..shape.payload.arity()]);
        Assembler {
            keys: shape.wants(Metadata::Key).then(BinaryBuilder::new),
            offsets: shape.wants(Metadata::Offset).then(Vec::new),
            times: shape.wants(Metadata::Timestamp).then(Vec::new),
            shape,
            partition,
            from,
            next: from,
            digest: RangeDigest::default(),
            decoder,
            key_bytes: 0,
            dead: vec![],
            dead_bytes: 0,
        }
    }

    /// The next position to read.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// Messages in the open batch.
    pub(super) fn count(&self) -> usize {
        self.digest.count as usize
    }

    /// Bytes that the open batch holds.
    pub(super) fn bytes(&self) -> usize {
        // A row has its metadata, and NULLs of unwanted columns take a little too.
        self.decoder.bytes() + self.key_bytes + self.dead_bytes + self.decoder.rows() * 8
    }

    /// True when there is nothing to hand out.
    pub(super) fn is_empty(&self) -> bool {
        self.from == self.next
    }

    /// Takes in a message. Precondition: its offset is not below `next`.
    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>) {
        if self.shape.has_key {
            self.digest.update(message.key().unwrap_or_default());
        }
        let payload = message.payload();
        self.digest.update(payload.unwrap_or_default());
        self.digest.message();
        self.next = message.offset() + 1;
        if let Err(reason) = self.decoder.push(payload) {
            let letter = dead_letter(message, reason);
            self.dead_bytes += letter.bytes();
            self.dead.push(letter);
            return;
        }
        if let Some(keys) = &mut self.keys {
            keys.append_option(message.key());
            self.key_bytes += message.key_len() + 5;
        }
        if let Some(offsets) = &mut self.offsets {
            offsets.push(message.offset());
        }
        if let Some(times) = &mut self.times {
            times.push(message.timestamp().to_millis().and_then(|ms| ms.checked_mul(1000)));
        }
    }

    /// Moves on over positions that hold no message.
    pub(super) fn skip_to(&mut self, position: i64) {
        self.next = self.next.max(position);
    }

    /// Closes the open batch. What a `NOT NULL` metadata column lacks makes the batch an internal error, not a panic.
    pub(super) fn finish(&mut self) -> Result<SourceBatch, SqlError> {
        let memory = self.bytes() + 512;
        let rows = self.decoder.rows();
        let mut built = self.decoder.finish().into_iter();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.shape.wanted.len());
        let arity = self.shape.payload.arity();
        for (i, field) in self.shape.schema.fields().iter().enumerate() {
            let column = match self.shape.wanted[i] {
                false => new_null_array(field.data_type(), rows),
                true if i < arity => built.next().ok_or_else(|| SqlError::internal("a wanted column was not built"))?,
                true => self.metadata_column(self.shape.include[i - arity], rows),
            };
            columns.push(column);
        }
        self.clear_metadata();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let rows = RecordBatch::try_new_with_options(self.shape.schema.clone(), columns, &options)
            .map_err(|e| SqlError::internal(format!("decoded columns do not fit the source: {e}")))?;
        let batch = SourceBatch {
            partition: self.partition,
            from: self.from,
            to: self.next,
            digest: std::mem::take(&mut self.digest),
            outputs: vec![rows],
            dead: std::mem::take(&mut self.dead),
            memory,
        };
        self.dead_bytes = 0;
        self.from = self.next;
        Ok(batch)
    }

    fn metadata_column(&self, metadata: Metadata, rows: usize) -> ArrayRef {
        match metadata {
            Metadata::Key => match &self.keys {
                Some(keys) => Arc::new(keys.finish_cloned()),
                None => new_null_array(&DataType::Binary, rows),
            },
            Metadata::Partition => Arc::new(Int32Array::from(vec![self.partition; rows])),
            Metadata::Offset => Arc::new(Int64Array::from(self.offsets.clone().unwrap_or_default())),
            Metadata::Timestamp => {
                let times = self.times.clone().unwrap_or_default();
                Arc::new(TimestampMicrosecondArray::from(times).with_timezone("+00:00"))
            }
        }
    }

    fn clear_metadata(&mut self) {
        self.key_bytes = 0;
        if let Some(keys) = &mut self.keys {
            keys.finish();
        }
        if let Some(offsets) = &mut self.offsets {
            offsets.clear();
        }
        if let Some(times) = &mut self.times {
            times.clear();
        }
    }
}

fn dead_letter(message: &BorrowedMessage<'_>, reason: String) -> DeadLetter {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers.iter().map(|h| (h.key.to_string(), h.value.map(<[u8]>::to_vec))).collect()
    });
    DeadLetter {
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
        reason,
    }
}
