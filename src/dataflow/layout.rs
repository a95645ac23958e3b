//! How rows of a relation become bytes in an arrangement, and back.
//!
//! Two layouts: **served** rows keep every print tail, since readers decode them; **keyed** rows begin with a key in
//! which equal SQL values have equal bytes, and carry the key's columns again where the key forgot a print tail.

use crate::exchange::owner;
use crate::types::{batch_of, schema_of};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use hw_plan::placed::Placement;
use hw_repr::chunk::ChunkView;
use hw_repr::encoding::{RowCodec, RowEncoder};
use hw_repr::{ChunkBody, SqlError, SqlType, UpdateBatch};
use std::sync::Arc;

/// A layout of rows with some columns as the key.
#[derive(Clone)]
pub struct Layout {
    /// Columns of the key, in order.
    pub key: Vec<usize>,
    /// Columns that follow.
    pub rest: Vec<usize>,
    /// Equal values of the key have equal bytes.
    canonical: bool,
    key_codec: RowCodec,
    rest_codec: RowCodec,
    row_codec: RowCodec,
    wanted: Vec<usize>,
    schema: SchemaRef,
    /// Rows are on the owners of the keys of these columns, where they are not on those of their own.
    apart: Option<Arc<Apart>>,
}

struct Apart {
    columns: Vec<usize>,
    codec: RowCodec,
}

impl Layout {
    /// For readers: the key, then the other columns ascending, all as they are.
    pub fn served(types: &[SqlType], key: &[usize]) -> Layout {
        let rest = (0..types.len()).filter(|c| !key.contains(c)).collect();
        let canonical = !RowCodec::has_print_tails(&pick(types, key));
        Layout { canonical, ..Self::build(types, key, rest, RowCodec::new(&pick(types, key))) }
    }

    /// For operators: bytes of the key are equal where SQL says so.
    pub fn keyed(types: &[SqlType], key: &[usize]) -> Layout {
        let tails = RowCodec::has_print_tails(&pick(types, key));
        let rest = (0..types.len()).filter(|c| tails || !key.contains(c)).collect();
        Self::build(types, key, rest, RowCodec::key(&pick(types, key)))
    }

    fn build(types: &[SqlType], key: &[usize], rest: Vec<usize>, key_codec: RowCodec) -> Layout {
        let positions: Vec<usize> = key.iter().chain(&rest).copied().collect();
        let find = |c: &usize| positions.iter().rposition(|p| p == c).expect("invariant: every column is placed");
        Layout {
            key_codec,
            rest_codec: RowCodec::new(&pick(types, &rest)),
            row_codec: RowCodec::new(&pick(types, &positions)),
            wanted: (0..types.len()).collect::<Vec<_>>().iter().map(find).collect(),
            key: key.to_vec(),
            rest,
            canonical: true,
            schema: schema_of(types),
            apart: None,
        }
    }

    /// The same for rows that are on the owners of the keys of other columns, where some are given.
    pub fn kept_apart(self, types: &[SqlType], columns: Option<Vec<usize>>) -> Layout {
        let apart = columns.map(|columns| Arc::new(Apart { codec: RowCodec::key(&pick(types, &columns)), columns }));
        Layout { apart, ..self }
    }

    /// See [`Layout::kept_apart`].
    pub fn apart(&self) -> Option<&[usize]> {
        self.apart.as_ref().map(|apart| &apart.columns[..])
    }

    /// The owners of rows `lo..hi` of a body, one of `peers` each.
    pub fn owners(&self, view: &ChunkView, peers: usize) -> Result<Vec<usize>, SqlError> {
        let Some(Apart { columns, codec }) = self.apart.as_deref() else {
            return Ok((view.lo..view.hi).map(|i| owner(view.body.key(i), peers)).collect());
        };
        // A key may name a column twice.
        let mut once = columns.clone();
        once.sort_unstable();
        once.dedup();
        let decoded = self.decode_some(&mut (view.lo..view.hi).map(|i| view.body.row(i)), &once)?;
        let place = |c: &usize| once.iter().position(|o| o == c).expect("invariant: each is among them once");
        let mut encoder = codec.row_encoder(&columns.iter().map(|c| decoded[place(c)].clone()).collect::<Vec<_>>());
        let mut key = vec![];
        let of = |row| {
            key.clear();
            encoder.encode(row, &mut key);
            owner(&key, peers)
        };
        Ok((0..view.hi - view.lo).map(of).collect())
    }

    /// The same bytes, of which only some columns are read, none twice: [`Layout::decode`] and its like give these. Not for
    /// writing.
    pub fn reading(&self, columns: &[usize]) -> Layout {
        let schema = self.schema.project(columns).expect("invariant: columns of the relation");
        let wanted = columns.iter().map(|c| self.wanted[*c]).collect();
        Layout { wanted, schema: Arc::new(schema), ..self.clone() }
    }

    /// The columns in the order of their bytes.
    pub fn order(&self) -> Vec<usize> {
        self.key.iter().chain(&self.rest).copied().collect()
    }

    /// True where rows that are placed like this are where they belong.
    pub fn is_placed_by(&self, placed: &Placement) -> bool {
        let own = (self.apart.is_none() && self.canonical).then_some(&self.key[..]);
        let Some(columns) = self.apart().or(own) else { return false };
        columns.len() == placed.len() && columns.iter().zip(placed).all(|(c, equal)| equal.contains(c))
    }

    /// An encoder of the key's bytes.
    pub fn key_encoder(&self, batch: &RecordBatch) -> RowEncoder {
        self.key_codec.row_encoder(&columns(batch, &self.key))
    }

    /// Appends the rows of a batch; those with a NULL in a column of `drop_null` are left out. Whenever `out` reaches `limit`
    /// bytes of rows `full` has to empty it.
    pub fn encode(
        &self,
        batch: &UpdateBatch,
        drop_null: &[usize],
        out: &mut ChunkBody,
        limit: usize,
        full: &mut dyn FnMut(&mut ChunkBody),
    ) {
        self.encode_apart(batch, drop_null, (std::slice::from_mut(out), 0), |_| 0, limit, &mut |_, out| full(out));
    }

    /// The same into several bodies: each row into the one that `of` chooses by its key. A key is written into the one at
    /// `home` first, so that only the keys of the others are moved.
    pub fn encode_apart(
        &self,
        batch: &UpdateBatch,
        drop_null: &[usize],
        (out, home): (&mut [ChunkBody], usize),
        of: impl Fn(&[u8]) -> usize,
        limit: usize,
        full: &mut dyn FnMut(usize, &mut ChunkBody),
    ) {
        let mut key_encoder = self.key_encoder(&batch.rows);
        let mut rest = self.rest_codec.row_encoder(&columns(&batch.rows, &self.rest));
        let strict = columns(&batch.rows, drop_null);
        for row in 0..batch.len() {
            let diff = batch.diff(row);
            if diff == 0 || strict.iter().any(|c| c.is_null(row)) {
                continue;
            }
            let start = out[home].data.len();
            key_encoder.encode(row, &mut out[home].data);
            let key_len = out[home].data.len() - start;
            let at = of(&out[home].data[start..]);
            if let Ok([mine, other]) = out.get_disjoint_mut([home, at]) {
                other.data.extend_from_slice(&mine.data[start..]);
                mine.data.truncate(start);
            }
            let out = &mut out[at];
            rest.encode(row, &mut out.data);
            out.seal(key_len, batch.time, diff);
            if out.data.len() >= limit {
                full(at, out);
            }
        }
    }

    /// The rows as columns of the relation.
    pub fn decode(&self, rows: &mut dyn Iterator<Item = &[u8]>) -> Result<Vec<ArrayRef>, SqlError> {
        self.row_codec.decode_columns(rows, &self.wanted)
    }

    /// Some columns of the relation, none twice.
    pub fn decode_some(
        &self,
        rows: &mut dyn Iterator<Item = &[u8]>,
        columns: &[usize],
    ) -> Result<Vec<ArrayRef>, SqlError> {
        let wanted: Vec<usize> = columns.iter().map(|c| self.wanted[*c]).collect();
        self.row_codec.decode_columns(rows, &wanted)
    }

    /// As a batch.
    pub fn decode_batch(&self, mut rows: &mut dyn ExactSizeIterator<Item = &[u8]>) -> Result<RecordBatch, SqlError> {
        let count = rows.len();
        let columns = self.decode(&mut rows)?;
        batch_of(&self.schema, columns, count)
    }
}

/// The types at some positions.
pub fn pick(types: &[SqlType], at: &[usize]) -> Vec<SqlType> {
    at.iter().map(|i| types[*i]).collect()
}

/// The columns at some positions.
pub fn columns(batch: &RecordBatch, at: &[usize]) -> Vec<ArrayRef> {
    at.iter().map(|i| batch.column(*i).clone()).collect()
}
