//! DISTINCT within an aggregate: which arguments were seen, how often.
//!
//! Of equal values that look different (1.0 and 1.00) one stands for all: the least, by its bytes, of those that are there.
//! So the result does not depend on which came first.

use super::input::{Input, int, string};
use hw_repr::encoding::RowCodec;
use hw_repr::{Datum, Diff, SqlError, SqlType};
use std::collections::{BTreeMap, HashMap};

type Bytes = Box<[u8]>;

/// Arguments by their encoding, with counts.
#[derive(Debug, Default)]
pub struct Seen {
    /// Where equal arguments have equal bytes.
    plain: HashMap<Bytes, i64>,
    /// Otherwise: by what is equal, the forms that are there.
    forms: HashMap<Bytes, BTreeMap<Bytes, i64>>,
    bytes: usize,
}

/// What a change of one argument means for the distinct ones.
pub enum Change {
    /// The argument itself, so many times more.
    Same(Diff),
    /// Another form stands for it.
    Form {
        /// The one that does no longer.
        gone: Option<Bytes>,
        /// The one that does now.
        come: Option<Bytes>,
    },
}

/// True where equal values of these types may have different bytes.
fn has_forms(types: &[SqlType]) -> bool {
    RowCodec::has_print_tails(types) || types.contains(&SqlType::Jsonb)
}

impl Seen {
    /// Counts arguments, `diff` times.
    pub fn change(&mut self, types: &[SqlType], bytes: &[u8], diff: Diff) -> Result<Change, SqlError> {
        if !has_forms(types) {
            return Ok(Change::Same(self.count(bytes, diff)));
        }
        let key = key_of(types, bytes)?;
        let forms = self.forms.entry(key.clone()).or_default();
        let before = representative(forms).cloned();
        let count = match forms.get_mut(bytes) {
            Some(count) => count,
            None => {
                self.bytes += bytes.len() + key.len() + 96;
                forms.entry(bytes.into()).or_insert(0)
            }
        };
        *count += diff;
        if *count == 0 {
            forms.remove(bytes);
            self.bytes -= bytes.len() + key.len() + 96;
        }
        let after = representative(forms).cloned();
        if forms.is_empty() {
            self.forms.remove(&key);
        }
        if before == after {
            return Ok(Change::Same(0));
        }
        Ok(Change::Form { gone: before, come: after })
    }

    /// By how much the number of distinct ones changes.
    fn count(&mut self, bytes: &[u8], diff: Diff) -> Diff {
        let count = match self.plain.get_mut(bytes) {
            Some(count) => count,
            None => {
                self.bytes += bytes.len() + 48;
                self.plain.entry(bytes.into()).or_insert(0)
            }
        };
        let before = *count > 0;
        *count += diff;
        let after = *count > 0;
        if *count == 0 {
            self.plain.remove(bytes);
            self.bytes -= bytes.len() + 48;
        }
        Diff::from(after) - Diff::from(before)
    }

    /// Heap bytes, estimated.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn values(&self) -> impl Iterator<Item = (&Bytes, &i64)> {
        self.plain.iter().chain(self.forms.values().flatten())
    }

    /// All arguments with their counts.
    pub fn into_values(self) -> impl Iterator<Item = (Bytes, i64)> {
        self.plain.into_iter().chain(self.forms.into_values().flatten())
    }

    /// Appends how many there are, and each with its count.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.values().count() as u32).to_le_bytes());
        for (value, count) in self.values() {
            string(value, out);
            int(*count, out);
        }
    }

    /// What [`Seen::write`] appended.
    pub fn read(&mut self, types: &[SqlType], input: &mut Input<'_>) -> Result<(), SqlError> {
        for _ in 0..input.length()? {
            let value = input.string()?;
            self.change(types, value, input.i64()?)?;
        }
        Ok(())
    }
}

/// The least form that is there. A form may be retracted under another look (state of an earlier version knows only
/// the least), so that all counts decide.
fn representative(forms: &BTreeMap<Bytes, i64>) -> Option<&Bytes> {
    let total: i64 = forms.values().sum();
    forms.iter().find(|(_, n)| **n > 0).map(|(form, _)| form).filter(|_| total > 0)
}

/// Bytes that are equal for equal arguments.
fn key_of(types: &[SqlType], bytes: &[u8]) -> Result<Bytes, SqlError> {
    let mut row = RowCodec::new(types).decode_datums(bytes)?;
    for value in &mut row {
        if let Datum::Jsonb(json) = value {
            *json = plain_numbers(json);
        }
    }
    let mut key = vec![];
    RowCodec::key(types).encode_datums(&row, &mut key)?;
    Ok(key.into())
}

/// Canonical jsonb text with every number in its shortest form: 1.50 as 1.5, 1.0 as 1.
pub fn plain_numbers(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    let (mut in_string, mut escaped) = (false, false);
    while let Some(c) = rest.chars().next() {
        if !in_string && (c == '-' || c.is_ascii_digit()) {
            let end = rest.find(|c: char| !matches!(c, '-' | '+' | '.' | '0'..='9')).unwrap_or(rest.len());
            let number = &rest[..end];
            out.push_str(match number.contains('.') {
                true => number.trim_end_matches('0').trim_end_matches('.'),
                false => number,
            });
            rest = &rest[end..];
            continue;
        }
        match c {
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}
