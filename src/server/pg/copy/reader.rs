//! Text and CSV to batches, in whatever pieces they arrive.
//!
//! Invariant: `buffer[done..]` begins at the beginning of a record; `scanned` is as far as its end was looked for.

use super::BATCH_ROWS;
use super::columns::ColumnBuilder;
use arrow::array::{RecordBatch, RecordBatchOptions};
use hw_coordinator::{CopyFormat, CopyOptions};
use hw_repr::{RelationDesc, SqlError, SqlState};
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of text after which a batch ends.
const BATCH_BYTES: usize = 8 << 20;
/// Longest record, in bytes.
const RECORD_BYTES_MAX: usize = 256 << 20;

/// Reads the rows of a COPY.
pub struct CopyReader {
    desc: RelationDesc,
    options: CopyOptions,
    columns: Vec<ColumnBuilder>,
    buffer: Vec<u8>,
    done: usize,
    scanned: usize,
    /// Inside quotes, at `scanned`; and behind an escape there.
    quoted: bool,
    escaped: bool,
    /// The line that was read last, from 1.
    line: u32,
    /// Whether lines end with a carriage return too; known from the first.
    returns: Option<bool>,
    header: bool,
    /// `\.` was read: what follows is ignored.
    ended: bool,
    lines: Vec<u32>,
    bytes: usize,
    ready: VecDeque<(RecordBatch, Vec<u32>)>,
    scratch: Scratch,
}

/// A record taken apart: bytes of the fields that were not taken as they stand.
#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    /// Where a field is, or `None` for NULL.
    fields: Vec<Option<Place>>,
}

#[derive(Clone, Copy)]
enum Place {
    Record(usize, usize),
    Scratch(usize, usize),
}

fn bad(message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState::BAD_COPY_FORMAT, message)
}

impl CopyReader {
    /// For columns of these types.
    pub fn new(desc: RelationDesc, options: CopyOptions) -> CopyReader {
        CopyReader {
            columns: desc.columns.iter().map(|c| ColumnBuilder::new(c.ty)).collect(),
            header: options.header,
            desc,
            options,
            buffer: vec![],
            done: 0,
            scanned: 0,
            quoted: false,
            escaped: false,
            line: 0,
            returns: None,
            ended: false,
            lines: vec![],
            bytes: 0,
            ready: VecDeque::new(),
            scratch: Scratch::default(),
        }
    }

    /// A batch that is full, or the last; with the line of each row.
    pub fn next_batch(&mut self) -> Option<(RecordBatch, Vec<u32>)> {
        self.ready.pop_front()
    }

    /// Takes what the client has sent.
    pub fn push(&mut self, data: &[u8]) -> Result<(), SqlError> {
        if self.ended {
            return Ok(());
        }
        if self.done > 0 {
            self.buffer.drain(..self.done);
            self.scanned -= self.done;
            self.done = 0;
        }
        self.buffer.extend_from_slice(data);
        while !self.ended
            && let Some(end) = self.find_end()
        {
            let from = self.done;
            self.done = end + 1;
            self.scanned = self.done;
            self.record(from, end)?;
        }
        if self.buffer.len() - self.done > RECORD_BYTES_MAX {
            return Err(SqlError::new(SqlState::PROGRAM_LIMIT, "a line of COPY is too long").context(self.context()));
        }
        Ok(())
    }

    /// There is no more: the last line may lack its end.
    pub fn finish(&mut self) -> Result<(), SqlError> {
        if !self.ended && self.done < self.buffer.len() {
            if self.quoted {
                self.line += 1;
                let context = self.context_of(self.done, self.buffer.len());
                return Err(bad("unterminated CSV quoted field").context(context));
            }
            let (from, end) = (self.done, self.buffer.len());
            self.done = end;
            self.record(from, end)?;
        }
        self.flush()
    }

    /// As [`CopyReader::context`], with the record that is in `buffer[from..end]`.
    fn context_of(&self, from: usize, end: usize) -> String {
        let record = String::from_utf8_lossy(&self.buffer[from..end]);
        format!("{}: \"{}\"", self.context(), shortened(&record))
    }

    fn context(&self) -> String {
        format!("COPY {}, line {}", self.options.relation, self.line)
    }

    /// The newline that ends the next record.
    fn find_end(&mut self) -> Option<usize> {
        match self.options.format {
            CopyFormat::Text => loop {
                let rest = self.buffer.get(self.scanned..)?;
                let Some(at) = rest.iter().position(|b| *b == b'\n') else {
                    self.scanned = self.buffer.len();
                    return None;
                };
                let at = self.scanned + at;
                // Behind a backslash a newline is data.
                let slashes = self.buffer[self.done..at].iter().rev().take_while(|b| **b == b'\\').count();
                if slashes % 2 == 0 {
                    return Some(at);
                }
                self.scanned = at + 1;
            },
            CopyFormat::Csv => {
                let (quote, escape) = (self.options.quote, self.options.escape);
                let own_escape = quote != escape;
                let mut at = self.scanned;
                while let Some(b) = self.buffer.get(at) {
                    if *b == b'\n' {
                        if !self.quoted {
                            self.scanned = at;
                            return Some(at);
                        }
                        // As PostgreSQL counts: not within the first record.
                        self.line += u32::from(self.returns.is_some());
                    }
                    if self.quoted && own_escape && *b == escape {
                        self.escaped = !self.escaped;
                    } else {
                        if *b == quote && !self.escaped {
                            self.quoted = !self.quoted;
                        }
                        self.escaped = false;
                    }
                    at += 1;
                }
                self.scanned = at;
                None
            }
        }
    }

    /// One record: `buffer[from..end]`, without its newline.
    fn record(&mut self, from: usize, mut end: usize) -> Result<(), SqlError> {
        self.line += 1;
        let whole = end < self.buffer.len();
        let returns = end > from && self.buffer[end - 1] == b'\r';
        if whole {
            let expected = *self.returns.get_or_insert(returns);
            if expected && !returns {
                return Err(self.literal("newline", "\\n").context(self.context()));
            }
        }
        if returns && self.returns.unwrap_or(true) {
            end -= 1;
        }
        let marker = match self.options.format {
            CopyFormat::Text => end_marker(&self.buffer[from..end]),
            CopyFormat::Csv => (self.buffer[from..end] == *b"\\.").then_some(0),
        };
        if let Some(at) = marker {
            if from + at + 2 < end {
                return Err(bad("end-of-copy marker corrupt").context(self.context()));
            }
            self.ended = true;
            end = from + at;
            if at == 0 {
                return Ok(());
            }
        }
        if std::mem::take(&mut self.header) {
            return match self.options.header_match {
                true => self.match_header(from, end),
                false => Ok(()),
            };
        }
        self.split(from, end)?;
        self.append(from, end)
    }

    fn literal(&self, what: &str, written: &str) -> SqlError {
        match self.options.format {
            CopyFormat::Text => {
                bad(format!("literal {what} found in data")).hint(format!("Use \"{written}\" to represent {what}."))
            }
            CopyFormat::Csv => {
                bad(format!("unquoted {what} found in data")).hint(format!("Use quoted CSV field to represent {what}."))
            }
        }
    }

    fn match_header(&mut self, from: usize, end: usize) -> Result<(), SqlError> {
        self.split(from, end)?;
        let (found, wanted) = (self.scratch.fields.len(), self.options.names.len());
        if found != wanted {
            let message = format!("wrong number of fields in header line: got {found}, expected {wanted}");
            return Err(bad(message).context(self.context_of(from, end)));
        }
        for (n, name) in self.options.names.iter().enumerate() {
            let field = self.field(n, from)?.unwrap_or_default();
            if field != *name {
                let message = format!(
                    "column name mismatch in header line field {}: got \"{field}\", expected \"{name}\"",
                    n + 1
                );
                return Err(bad(message).context(self.context_of(from, end)));
            }
        }
        Ok(())
    }

    /// The text of field `n` of the record at `from`.
    fn field(&self, n: usize, from: usize) -> Result<Option<&str>, SqlError> {
        let bytes = match self.scratch.fields.get(n) {
            Some(Some(Place::Record(a, b))) => &self.buffer[from + a..from + b],
            Some(Some(Place::Scratch(a, b))) => &self.scratch.bytes[*a..*b],
            _ => return Ok(None),
        };
        // No text holds a NUL, however it was written.
        let text = std::str::from_utf8(bytes).ok().filter(|t| !t.contains('\0'));
        text.map(Some).ok_or_else(|| invalid_bytes(bytes).context(self.context()))
    }

    fn append(&mut self, from: usize, end: usize) -> Result<(), SqlError> {
        let (found, wanted) = (self.scratch.fields.len(), self.columns.len());
        if found < wanted {
            let message = format!("missing data for column \"{}\"", self.desc.columns[found].name);
            return Err(bad(message).context(self.context_of(from, end)));
        }
        if found > wanted {
            return Err(bad("extra data after last expected column").context(self.context_of(from, end)));
        }
        for n in 0..wanted {
            // The builder is out of the list while it borrows the field.
            let mut builder =
                std::mem::replace(&mut self.columns[n], ColumnBuilder::Other(hw_repr::SqlType::Bool, vec![]));
            let result = self.field(n, from).and_then(|field| {
                builder.append(field).map_err(|e| {
                    let (context, name) = (self.context(), &self.desc.columns[n].name);
                    let shown = shortened(field.unwrap_or_default());
                    e.context(format!("{context}, column {name}: \"{shown}\""))
                })
            });
            self.columns[n] = builder;
            result?;
        }
        self.lines.push(self.line);
        self.bytes += end - from;
        if self.lines.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SqlError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.lines);
        let columns = self.columns.iter_mut().map(ColumnBuilder::finish).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(lines.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.desc.schema()), columns, &options)
            .map_err(|e| SqlError::internal(e.to_string()))?;
        self.bytes = 0;
        self.ready.push_back((batch, lines));
        Ok(())
    }

    /// Takes a record apart.
    fn split(&mut self, from: usize, end: usize) -> Result<(), SqlError> {
        self.scratch.bytes.clear();
        self.scratch.fields.clear();
        let record = &self.buffer[from..end];
        if record.contains(&0) {
            return Err(invalid_bytes(&[0]).context(self.context()));
        }
        if record.contains(&b'\r') && !(self.options.format == CopyFormat::Csv && record.contains(&self.options.quote))
        {
            return Err(self.literal("carriage return", "\\r").context(self.context()));
        }
        match self.options.format {
            CopyFormat::Text => split_text(record, &self.options, &mut self.scratch),
            CopyFormat::Csv => split_csv(record, &self.options, &mut self.scratch),
        }
        Ok(())
    }
}

/// Where `\.` stands that is not behind a backslash.
fn end_marker(record: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(next) = record.get(at..)?.iter().position(|b| *b == b'\\') {
        at += next;
        if record.get(at + 1) == Some(&b'.') {
            return Some(at);
        }
        at += 2;
    }
    None
}

fn split_text(record: &[u8], options: &CopyOptions, out: &mut Scratch) {
    let null = options.null.as_bytes();
    let (mut start, mut at) = (0, 0);
    let mut escapes = false;
    loop {
        match record.get(at) {
            Some(b'\\') => {
                escapes = true;
                at += 2;
                continue;
            }
            Some(b) if *b != options.delimiter => {
                at += 1;
                continue;
            }
            _ => {}
        }
        let end = at.min(record.len());
        let raw = &record[start..end];
        out.fields.push(match raw == null {
            true => None,
            false if !escapes => Some(Place::Record(start, end)),
            false => {
                let begin = out.bytes.len();
                unescape(raw, &mut out.bytes);
                Some(Place::Scratch(begin, out.bytes.len()))
            }
        });
        if end == record.len() {
            return;
        }
        (at, start, escapes) = (end + 1, end + 1, false);
    }
}

/// Backslash sequences become what they stand for.
fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(b) = raw.get(at) {
        at += 1;
        if *b != b'\\' {
            out.push(*b);
            continue;
        }
        let Some(c) = raw.get(at) else {
            out.push(b'\\');
            return;
        };
        at += 1;
        let digits = |from: usize, max: usize, radix: u32| {
            let all = raw[from.min(raw.len())..].iter().take(max);
            all.map_while(|d| (*d as char).to_digit(radix)).collect::<Vec<u32>>()
        };
        match c {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(11),
            b'0'..=b'7' => {
                let found = digits(at - 1, 3, 8);
                at += found.len() - 1;
                out.push(found.iter().fold(0u32, |v, d| v * 8 + d) as u8);
            }
            b'x' => {
                let found = digits(at, 2, 16);
                at += found.len();
                match found.is_empty() {
                    true => out.push(b'x'),
                    false => out.push(found.iter().fold(0u32, |v, d| v * 16 + d) as u8),
                }
            }
            other => out.push(*other),
        }
    }
}

fn split_csv(record: &[u8], options: &CopyOptions, out: &mut Scratch) {
    let (delimiter, quote, escape) = (options.delimiter, options.quote, options.escape);
    let null = options.null.as_bytes();
    let plain = !record.contains(&quote);
    let mut at = 0;
    loop {
        let (start, begin) = (at, out.bytes.len());
        let mut quoted = false;
        if plain {
            at = record[at..].iter().position(|b| *b == delimiter).map_or(record.len(), |n| at + n);
        } else {
            let mut inside = false;
            while let Some(b) = record.get(at) {
                if inside {
                    let next = record.get(at + 1);
                    if *b == escape && next.is_some_and(|n| *n == escape || *n == quote) {
                        out.bytes.extend(next);
                        at += 2;
                        continue;
                    }
                    if *b == quote {
                        inside = false;
                    } else {
                        out.bytes.push(*b);
                    }
                } else if *b == delimiter {
                    break;
                } else if *b == quote {
                    (inside, quoted) = (true, true);
                } else {
                    out.bytes.push(*b);
                }
                at += 1;
            }
        }
        let column = out.fields.len();
        let bytes = if plain { &record[start..at] } else { &out.bytes[begin..] };
        let may = if quoted { options.force_null.contains(&column) } else { !options.force_not_null.contains(&column) };
        out.fields.push(match bytes == null && may {
            true => None,
            false if plain => Some(Place::Record(start, at)),
            false => Some(Place::Scratch(begin, out.bytes.len())),
        });
        if at >= record.len() {
            return;
        }
        at += 1;
    }
}

fn invalid_bytes(bytes: &[u8]) -> SqlError {
    let valid = std::str::from_utf8(bytes).map_or_else(|e| e.valid_up_to(), |_| bytes.len());
    let from = bytes.iter().position(|b| *b == 0).map_or(valid, |nul| nul.min(valid));
    let shown: Vec<String> = bytes.iter().skip(from).take(1).map(|b| format!("0x{b:02x}")).collect();
    let message = format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" "));
    SqlError::new(SqlState::new("22021"), message)
}

/// As much of a value as a message shows.
fn shortened(value: &str) -> String {
    const CHARS_MAX: usize = 100;
    match value.char_indices().nth(CHARS_MAX) {
        Some((cut, _)) => format!("{}...", &value[..cut]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests;
