//! JSON messages straight into Arrow columns.
//!
//! A message is one JSON object; a field goes to the column of exactly its name; the last duplicate wins; fields
//! without a column are ignored; columns without a field are NULL. Every declared column is converted, and so checked,
//! whether it is wanted or not; only wanted columns are built. A message either gives one row or an error with its
//! reason and no row.
//!
//! Nothing is allocated per message: spans, cells and the scratch buffer are reused, and the message is read in place.
//!
//! Invariant: every builder holds [`JsonDecoder::rows`] values between calls. A message is appended only after all of
//! its columns have converted, so nothing has to be taken back.

mod convert;
mod scan;

use arrow::array::*;
use arrow::datatypes::IntervalMonthDayNano;
use convert::{Cell, convert};
use hw_repr::{RelationDesc, SqlType};
use scan::{Kind, Span, scan_object, unescape};
use std::collections::HashMap;
use std::sync::Arc;

/// Above this many columns names are found by hash.
const LINEAR_COLUMNS_MAX: usize = 12;
const NO_COLUMN: u32 = u32::MAX;

struct ColumnSpec {
    name: Box<str>,
    ty: SqlType,
    nullable: bool,
}

/// Names to columns, with a guess from the previous message: producers write fields in one order.
struct Names {
    columns: Vec<ColumnSpec>,
    by_name: HashMap<Box<str>, u32>,
    guess: Vec<u32>,
}

impl Names {
    /// The column named `key`, the `nth` field of its message.
    fn find(&mut self, key: &[u8], nth: usize) -> Option<usize> {
        let guess = self.guess.get(nth).copied().unwrap_or(NO_COLUMN);
        if let Some(c) = self.columns.get(guess as usize)
            && c.name.as_bytes() == key
        {
            return Some(guess as usize);
        }
        let found = if self.columns.len() <= LINEAR_COLUMNS_MAX {
            self.columns.iter().position(|c| c.name.as_bytes() == key)
        } else {
            let key = std::str::from_utf8(key).ok()?;
            self.by_name.get(key).map(|i| *i as usize)
        }?;
        // Bounded: no message needs more guesses than that.
        if nth < 1024 {
            if self.guess.len() <= nth {
                self.guess.resize(nth + 1, NO_COLUMN);
            }
            self.guess[nth] = found as u32;
        }
        Some(found)
    }
}

/// See the module.
pub struct JsonDecoder {
    names: Names,
    builders: Vec<Option<Builder>>,
    spans: Vec<Span>,
    cells: Vec<Cell>,
    scratch: Vec<u8>,
    rows: usize,
    bytes: usize,
}

impl JsonDecoder {
    /// A decoder for these payload columns (without metadata columns) that builds those `wanted`.
    pub fn new(desc: &RelationDesc, wanted: &[bool]) -> Self {
        assert_eq!(desc.arity(), wanted.len(), "one flag per column");
        let spec = |c: &hw_repr::Column| ColumnSpec { name: c.name.as_str().into(), ty: c.ty, nullable: c.nullable };
        let columns: Vec<ColumnSpec> = desc.columns.iter().map(spec).collect();
        let by_name = columns.iter().enumerate().map(|(i, c)| (c.name.clone(), i as u32)).collect();
        let builders = desc.columns.iter().zip(wanted).map(|(c, w)| w.then(|| Builder::new(c.ty))).collect();
        JsonDecoder {
            spans: vec![Span::MISSING; columns.len()],
            cells: Vec::with_capacity(columns.len()),
            names: Names { columns, by_name, guess: vec![] },
            builders,
            scratch: vec![],
            rows: 0,
            bytes: 0,
        }
    }

    /// Decodes one message. On an error, which says why, no row is added.
    pub fn push(&mut self, payload: Option<&[u8]>) -> Result<(), String> {
        let payload = payload.ok_or_else(|| "the message has no value".to_string())?;
        if payload.len() >= u32::MAX as usize {
            return Err("the message is larger than 4 GiB".to_string());
        }
        let message = std::str::from_utf8(payload).map_err(|e| format!("invalid UTF-8 at byte {}", e.valid_up_to()))?;
        self.scan(message)?;
        self.cells.clear();
        self.scratch.clear();
        for (column, span) in self.names.columns.iter().zip(&self.spans) {
            let cell = convert(column.ty, message, *span, &mut self.scratch)
                .map_err(|reason| format!("column \"{}\": {reason}", column.name))?;
            if cell == Cell::Null && !column.nullable {
                return Err(format!("column \"{}\": null value violates not-null constraint", column.name));
            }
            self.cells.push(cell);
        }
        for (builder, cell) in self.builders.iter_mut().zip(&self.cells) {
            if let Some(builder) = builder {
                self.bytes += builder.append(cell, message, &self.scratch);
            }
        }
        self.rows += 1;
        Ok(())
    }

    fn scan(&mut self, message: &str) -> Result<(), String> {
        let text = message.as_bytes();
        self.spans.fill(Span::MISSING);
        let (names, spans, scratch) = (&mut self.names, &mut self.spans, &mut self.scratch);
        let mut nth = 0;
        let scanned = scan_object(text, |key, value| {
            let column = if key.kind == Kind::Escaped {
                scratch.clear();
                // A name that stands for no text names no column.
                unescape(&message[key.range()], scratch).ok().and_then(|()| names.find(scratch, nth))
            } else {
                names.find(&text[key.range()], nth)
            };
            if let Some(column) = column {
                spans[column] = value;
            }
            nth += 1;
        });
        scanned.map_err(|e| format!("invalid JSON at byte {}: {}", e.at, e.what))
    }

    /// Rows since the last [`JsonDecoder::finish`].
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// About how many bytes the built columns hold.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The columns built since the last call: the wanted ones, in column order, each [`JsonDecoder::rows`] long.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        self.rows = 0;
        self.bytes = 0;
        self.builders.iter_mut().flatten().map(Builder::finish).collect()
    }
}

enum Builder {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    Numeric(LargeBinaryBuilder),
    Text(StringBuilder),
    Bytea(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    TimestampTz(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Jsonb(LargeStringBuilder),
}

impl Builder {
    fn new(ty: SqlType) -> Self {
        match ty.carrier() {
            SqlType::Bool => Builder::Bool(BooleanBuilder::new()),
            SqlType::Int2 => Builder::Int2(Int16Builder::new()),
            SqlType::Int4 => Builder::Int4(Int32Builder::new()),
            SqlType::Int8 => Builder::Int8(Int64Builder::new()),
            SqlType::Float4 => Builder::Float4(Float32Builder::new()),
            SqlType::Float8 => Builder::Float8(Float64Builder::new()),
            SqlType::Numeric(Some((p, s))) => Builder::Decimal(Decimal128Builder::new(), p, s),
            SqlType::Numeric(None) => Builder::Numeric(LargeBinaryBuilder::new()),
            SqlType::Text => Builder::Text(StringBuilder::new()),
            SqlType::Bytea => Builder::Bytea(BinaryBuilder::new()),
            SqlType::Date => Builder::Date(Date32Builder::new()),
            SqlType::Time => Builder::Time(Time64MicrosecondBuilder::new()),
            SqlType::Timestamp => Builder::Timestamp(TimestampMicrosecondBuilder::new()),
            SqlType::TimestampTz => Builder::TimestampTz(TimestampMicrosecondBuilder::new()),
            SqlType::Interval => Builder::Interval(IntervalMonthDayNanoBuilder::new()),
            SqlType::Uuid => Builder::Uuid(FixedSizeBinaryBuilder::new(16)),
            SqlType::Jsonb => Builder::Jsonb(LargeStringBuilder::new()),
            other => unreachable!("{other} carries {ty}"),
        }
    }

    /// Appends a converted value and returns about how many bytes that took.
    fn append(&mut self, cell: &Cell, message: &str, scratch: &[u8]) -> usize {
        let int = || match cell {
            Cell::Int(v) => Some(*v),
            _ => None,
        };
        let float = || match cell {
            Cell::Float(v) => Some(*v),
            _ => None,
        };
        let bytes = || match cell {
            Cell::Message(range) => Some(&message.as_bytes()[range.clone()]),
            Cell::Scratch(range) => Some(&scratch[range.clone()]),
            _ => None,
        };
        let text = || match cell {
            Cell::Message(range) => Some(&message[range.clone()]),
            Cell::Scratch(range) => Some(std::str::from_utf8(&scratch[range.clone()]).expect("made from valid text")),
            _ => None,
        };
        match self {
            Builder::Bool(b) => b.append_option(if let Cell::Bool(v) = cell { Some(*v) } else { None }),
            // Invariant: `convert` has checked the range.
            Builder::Int2(b) => b.append_option(int().map(|v| v as i16)),
            Builder::Int4(b) => b.append_option(int().map(|v| v as i32)),
            Builder::Int8(b) => b.append_option(int()),
            Builder::Float4(b) => b.append_option(float().map(|v| v as f32)),
            Builder::Float8(b) => b.append_option(float()),
            Builder::Decimal(b, ..) => b.append_option(if let Cell::Decimal(v) = cell { Some(*v) } else { None }),
            Builder::Numeric(b) => {
                if let Cell::Numeric(v) = cell {
                    let bytes = v.to_bytes();
                    b.append_value(&bytes);
                    return 9 + bytes.len();
                }
                b.append_null();
            }
            Builder::Text(b) => {
                b.append_option(text());
                return 5 + text().map_or(0, str::len);
            }
            Builder::Jsonb(b) => {
                b.append_option(text());
                return 9 + text().map_or(0, str::len);
            }
            Builder::Bytea(b) => {
                b.append_option(bytes());
                return 5 + bytes().map_or(0, <[u8]>::len);
            }
            Builder::Date(b) => b.append_option(int().map(|v| v as i32)),
            Builder::Time(b) => b.append_option(int()),
            Builder::Timestamp(b) | Builder::TimestampTz(b) => b.append_option(int()),
            Builder::Interval(b) => b.append_option(match cell {
                Cell::Interval(v) => Some(IntervalMonthDayNano::new(v.months, v.days, v.micros.saturating_mul(1000))),
                _ => None,
            }),
            Builder::Uuid(b) => match cell {
                Cell::Uuid(v) => b.append_value(v).expect("sixteen bytes"),
                _ => b.append_null(),
            },
        }
        16
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Builder::Bool(b) => Arc::new(b.finish()),
            Builder::Int2(b) => Arc::new(b.finish()),
            Builder::Int4(b) => Arc::new(b.finish()),
            Builder::Int8(b) => Arc::new(b.finish()),
            Builder::Float4(b) => Arc::new(b.finish()),
            Builder::Float8(b) => Arc::new(b.finish()),
            Builder::Decimal(b, p, s) => {
                Arc::new(b.finish().with_precision_and_scale(*p, *s).expect("a declared type is valid"))
            }
            Builder::Numeric(b) => Arc::new(b.finish()),
            Builder::Text(b) => Arc::new(b.finish()),
            Builder::Bytea(b) => Arc::new(b.finish()),
            Builder::Date(b) => Arc::new(b.finish()),
            Builder::Time(b) => Arc::new(b.finish()),
            Builder::Timestamp(b) => Arc::new(b.finish()),
            Builder::TimestampTz(b) => Arc::new(b.finish().with_timezone("+00:00")),
            Builder::Interval(b) => Arc::new(b.finish()),
            Builder::Uuid(b) => Arc::new(b.finish()),
            Builder::Jsonb(b) => Arc::new(b.finish()),
        }
    }
}

#[cfg(test)]
mod tests;
