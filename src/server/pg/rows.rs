//! Sending the rows of a result: in portions where the portal has a row limit, flushed whenever no row is at hand.

use crate::pg::cancel::Control;
use crate::pg::connection::Fail;
use crate::pg::encode::{BatchEncoder, Format};
use crate::pg::output::{FLUSH_BYTES, Output};
use arrow::array::RecordBatch;
use futures::StreamExt;
use hw_coordinator::session::RowStream;
use hw_repr::RelationDesc;
use std::pin::pin;
use std::task::Poll;

/// A result that is being sent.
pub struct RowCursor {
    desc: RelationDesc,
    formats: Vec<Format>,
    /// `None` at its end.
    stream: Option<RowStream>,
    batch: Option<RecordBatch>,
    /// Next row of `batch`.
    next_row: usize,
    tag: &'static str,
    count_in_tag: bool,
}

/// How far a portion went.
pub enum Portion {
    /// The row limit was reached; there may be more.
    Suspended,
    /// All rows are sent; the command tag.
    Complete(String),
}

impl RowCursor {
    /// Before the first row. Precondition: one format per column.
    pub fn new(
        desc: RelationDesc,
        formats: Vec<Format>,
        rows: RowStream,
        tag: &'static str,
        count_in_tag: bool,
    ) -> RowCursor {
        RowCursor { desc, formats, stream: Some(rows), batch: None, next_row: 0, tag, count_in_tag }
    }

    /// The command tag without a count, and whether one belongs to it.
    pub fn tag(&self) -> (&'static str, bool) {
        (self.tag, self.count_in_tag)
    }

    /// Sends at most `rows_max` rows (0: all). The tag counts the rows of this portion, as PostgreSQL's does.
    pub async fn send(&mut self, rows_max: u64, out: &mut Output, control: &Control) -> Result<Portion, Fail> {
        let rows_max = if rows_max == 0 { u64::MAX } else { rows_max };
        let mut sent = 0;
        loop {
            sent += self.send_batch(rows_max - sent, out, control).await?;
            if sent == rows_max {
                return Ok(Portion::Suspended);
            }
            control.check()?;
            if !self.next_batch(out, control).await? {
                let tag = if self.count_in_tag { format!("{} {sent}", self.tag) } else { self.tag.to_owned() };
                return Ok(Portion::Complete(tag));
            }
        }
    }

    /// Sends what is left of the current batch, up to the limit; gives the number of rows.
    async fn send_batch(&mut self, rows_max: u64, out: &mut Output, control: &Control) -> Result<u64, Fail> {
        let Some(batch) = &self.batch else { return Ok(0) };
        let encoder = BatchEncoder::new(batch, &self.desc, &self.formats)?;
        let (mut sent, mut scratch) = (0, String::new());
        while sent < rows_max && self.next_row < batch.num_rows() {
            encoder.put_row(self.next_row, &mut scratch, &mut out.buffer)?;
            self.next_row += 1;
            sent += 1;
            if out.buffer.len() >= FLUSH_BYTES {
                control.guard(out.flush()).await??;
            }
        }
        Ok(sent)
    }

    /// Waits for the next batch; false at the end. Where it is not at hand, what is buffered is written first.
    async fn next_batch(&mut self, out: &mut Output, control: &Control) -> Result<bool, Fail> {
        (self.batch, self.next_row) = (None, 0);
        let Some(stream) = &mut self.stream else { return Ok(false) };
        let next = {
            let mut next = pin!(stream.next());
            match futures::poll!(next.as_mut()) {
                Poll::Ready(next) => next,
                Poll::Pending => {
                    control.guard(out.flush()).await??;
                    control.guard_rows(next).await?
                }
            }
        };
        match next {
            Some(Ok(batch)) => self.batch = Some(batch),
            Some(Err(error)) => {
                self.stream = None;
                return Err(error.into());
            }
            None => self.stream = None,
        }
        Ok(self.batch.is_some())
    }
}
