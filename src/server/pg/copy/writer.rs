//! Rows to text and CSV, one CopyData message each.

use arrow::array::{Array, RecordBatch};
use bytes::{BufMut, BytesMut};
use hw_coordinator::{CopyFormat, CopyOptions};
use hw_repr::{RelationDesc, SqlError, text};

/// Writes the rows of a COPY.
pub struct CopyWriter {
    desc: RelationDesc,
    options: CopyOptions,
    value: String,
}

impl CopyWriter {
    /// For rows of these columns.
    pub fn new(desc: RelationDesc, options: CopyOptions) -> CopyWriter {
        CopyWriter { desc, options, value: String::new() }
    }

    /// The line of names, where one is wanted.
    pub fn put_header(&mut self, out: &mut BytesMut) {
        if !self.options.header {
            return;
        }
        let start = begin(out);
        for (n, column) in self.desc.columns.iter().enumerate() {
            if n > 0 {
                out.put_u8(self.options.delimiter);
            }
            match self.options.format {
                CopyFormat::Text => put_text(&column.name, self.options.delimiter, out),
                CopyFormat::Csv => put_csv(&column.name, &self.options, false, self.desc.arity() == 1, out),
            }
        }
        end(start, out);
    }

    /// One row.
    pub fn put_row(&mut self, batch: &RecordBatch, row: usize, out: &mut BytesMut) -> Result<(), SqlError> {
        let start = begin(out);
        for (n, (array, column)) in batch.columns().iter().zip(&self.desc.columns).enumerate() {
            if n > 0 {
                out.put_u8(self.options.delimiter);
            }
            if array.is_null(row) {
                out.put_slice(self.options.null.as_bytes());
                continue;
            }
            self.value.clear();
            text::write_value(array.as_ref(), row, column.ty, &mut self.value);
            match self.options.format {
                CopyFormat::Text => put_text(&self.value, self.options.delimiter, out),
                CopyFormat::Csv => {
                    let force = self.options.force_quote.contains(&n);
                    put_csv(&self.value, &self.options, force, self.desc.arity() == 1, out);
                }
            }
        }
        end(start, out);
        Ok(())
    }
}

fn begin(out: &mut BytesMut) -> usize {
    let start = out.len();
    out.put_u8(b'd');
    out.put_i32(0);
    start
}

fn end(start: usize, out: &mut BytesMut) {
    out.put_u8(b'\n');
    let len = (out.len() - start - 1) as i32;
    out[start + 1..start + 5].copy_from_slice(&len.to_be_bytes());
}

fn put_text(value: &str, delimiter: u8, out: &mut BytesMut) {
    for b in value.bytes() {
        let letter = match b {
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            11 => b'v',
            b'\\' => b'\\',
            b if b == delimiter => b,
            b => {
                out.put_u8(b);
                continue;
            }
        };
        out.put_slice(&[b'\\', letter]);
    }
}

fn put_csv(value: &str, options: &CopyOptions, force: bool, alone: bool, out: &mut BytesMut) {
    let special = |b: u8| b == options.delimiter || b == options.quote || b == b'\n' || b == b'\r';
    let quoted = force || value == options.null || alone && value == "\\." || value.bytes().any(special);
    if !quoted {
        out.put_slice(value.as_bytes());
        return;
    }
    out.put_u8(options.quote);
    for b in value.bytes() {
        if b == options.quote || b == options.escape {
            out.put_u8(options.escape);
        }
        out.put_u8(b);
    }
    out.put_u8(options.quote);
}
