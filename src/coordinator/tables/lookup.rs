//! Rows of a table by the columns of a unique constraint.
//!
//! In an arrangement by those columns a row is found by its first bytes; where there is none, or where equal values have
//! several encodings, the table is read once.

use super::{decode_published, encode_keys, open_desc};
use arrow::array::{RecordBatch, UInt64Array};
use hw_plan::Object;
use hw_repr::chunk::Merge;
use hw_repr::encoding::RowCodec;
use hw_repr::{PublishedRelation, RelationDesc, SqlError, SqlType, Timestamp};
use std::collections::HashMap;
use std::sync::Arc;

/// A primary key or unique constraint.
#[derive(Clone, Debug)]
pub(crate) struct Constraint {
    pub name: String,
    pub columns: Vec<usize>,
    pub nulls_equal: bool,
}

impl Constraint {
    /// All of a table, the primary key first.
    pub(crate) fn all_of(object: &Object, desc: &RelationDesc) -> Vec<Constraint> {
        let rules = &object.rules;
        let key = desc.keys.first().map(|columns| Constraint {
            name: rules.key_name(&object.name),
            columns: columns.clone(),
            nulls_equal: false,
        });
        let uniques = rules.uniques.iter().map(|u| Constraint {
            name: u.name.clone(),
            columns: u.columns.clone(),
            nulls_equal: u.nulls_equal,
        });
        key.into_iter().chain(uniques).collect()
    }

    /// The types of its columns.
    pub(crate) fn types(&self, desc: &RelationDesc) -> Vec<SqlType> {
        self.columns.iter().map(|c| desc.columns[*c].ty).collect()
    }

    /// The key of each row; `None` where a NULL in it equals nothing.
    pub(crate) fn keys(&self, desc: &RelationDesc, rows: &RecordBatch) -> Vec<Option<Vec<u8>>> {
        let keys = encode_keys(&RowCodec::key(&self.types(desc)), rows, &self.columns);
        let columns: Vec<_> = self.columns.iter().map(|c| rows.column(*c)).filter(|c| c.null_count() > 0).collect();
        if self.nulls_equal || columns.is_empty() {
            return keys.into_iter().map(Some).collect();
        }
        let any_null = |row: usize| columns.iter().any(|c| c.is_null(row));
        keys.into_iter().enumerate().map(|(row, key)| (!any_null(row)).then_some(key)).collect()
    }
}

/// A way to the rows of one constraint.
pub(crate) enum Lookup {
    /// The table has no row.
    Empty,
    /// By the first bytes of the rows of an arrangement.
    Arranged { published: Arc<PublishedRelation>, as_of: Timestamp },
    /// All rows, and which has which key.
    Scanned { rows: RecordBatch, by_key: HashMap<Vec<u8>, usize> },
}

/// True where nothing was ever published of it.
fn is_empty(published: &PublishedRelation) -> bool {
    published.shards.iter().all(|s| s.runs.iter().all(Vec::is_empty))
}

impl Lookup {
    /// For a constraint, given the arrangements of its table.
    pub(crate) fn new(
        constraint: &Constraint,
        desc: &RelationDesc,
        arrangements: &[Arc<PublishedRelation>],
        as_of: Timestamp,
    ) -> Result<Lookup, SqlError> {
        let Some(first) = arrangements.first() else { return Ok(Lookup::Empty) };
        if is_empty(first) {
            return Ok(Lookup::Empty);
        }
        let types = constraint.types(desc);
        let plain = !RowCodec::has_print_tails(&types);
        let fits = arrangements.iter().find(|p| p.key.starts_with(&constraint.columns));
        if let Some(published) = fits.filter(|_| plain) {
            return Ok(Lookup::Arranged { published: published.clone(), as_of });
        }
        let rows = decode_published(first, desc, as_of)?;
        let mut by_key = HashMap::with_capacity(rows.num_rows());
        for (row, key) in constraint.keys(desc, &rows).into_iter().enumerate() {
            if let Some(key) = key {
                by_key.insert(key, row);
            }
        }
        Ok(Lookup::Scanned { rows, by_key })
    }

    /// True where a row with this key is there.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        match self {
            Lookup::Empty => false,
            Lookup::Scanned { by_key, .. } => by_key.contains_key(key),
            Lookup::Arranged { .. } => self.bytes(key).is_some(),
        }
    }

    fn bytes(&self, key: &[u8]) -> Option<Vec<u8>> {
        let Lookup::Arranged { published, as_of } = self else { return None };
        let mut merge = Merge::new(published.shards.clone(), key.to_vec(), *as_of);
        while let Some((place, count)) = merge.next_row() {
            if count > 0 {
                return Some(merge.row(place).to_vec());
            }
        }
        None
    }

    /// The rows with these keys, in their order. Precondition: each is there.
    pub(crate) fn rows(&self, keys: &[Vec<u8>], desc: &RelationDesc) -> Result<RecordBatch, SqlError> {
        let missing = || SqlError::internal("a row that was found is not there");
        match self {
            Lookup::Empty if keys.is_empty() => Ok(RecordBatch::new_empty(open_desc(desc).schema())),
            Lookup::Empty => Err(missing()),
            Lookup::Scanned { rows, by_key } => {
                let at = keys.iter().map(|k| by_key.get(k).map(|i| *i as u64)).collect::<Option<Vec<_>>>();
                take(rows, at.ok_or_else(missing)?)
            }
            Lookup::Arranged { published, .. } => {
                let rows = keys.iter().map(|k| self.bytes(k)).collect::<Option<Vec<_>>>().ok_or_else(missing)?;
                let types: Vec<SqlType> = published.order.iter().map(|c| desc.columns[*c].ty).collect();
                let wanted = (0..desc.arity())
                    .map(|c| published.order.iter().position(|o| *o == c))
                    .collect::<Option<Vec<usize>>>()
                    .ok_or_else(|| SqlError::internal("a published relation lacks a column"))?;
                let columns = RowCodec::new(&types).decode_columns(&mut rows.iter().map(Vec::as_slice), &wanted)?;
                super::with_schema(columns, rows.len(), desc)
            }
        }
    }
}

/// Some rows of a batch, in this order.
pub(crate) fn take(rows: &RecordBatch, at: Vec<u64>) -> Result<RecordBatch, SqlError> {
    arrow::compute::take_record_batch(rows, &UInt64Array::from(at)).map_err(|e| SqlError::internal(e.to_string()))
}
