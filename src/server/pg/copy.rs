//! COPY: rows between the client's text or CSV and columns.
//!
//! What comes is parsed as it arrives, into columns of at most [`BATCH_ROWS`] rows; what goes out is encoded as rows are at
//! hand. Neither side keeps more than a batch and a line.

mod columns;
mod reader;
mod writer;

pub use reader::CopyReader;
pub use writer::CopyWriter;

use crate::pg::cancel::Control;
use crate::pg::connection::{Connection, Fail};
use crate::pg::frontend::Frontend;
use crate::pg::output::FLUSH_BYTES;
use bytes::BufMut;
use futures::StreamExt;
use hw_coordinator::session::{Executed, Outcome, RowStream};
use hw_coordinator::{CopyIn, CopyOptions};
use hw_repr::{RelationDesc, SqlError, SqlState};
use std::io;

/// Rows of a batch.
pub const BATCH_ROWS: usize = 16 << 10;

impl Connection<'_> {
    /// CopyInResponse or CopyOutResponse: all columns as text.
    fn put_copy_response(&mut self, kind: u8, columns: usize) {
        let out = &mut self.out.buffer;
        out.put_u8(kind);
        out.put_i32(7 + 2 * columns as i32);
        out.put_u8(0);
        out.put_u16(columns as u16);
        (0..columns).for_each(|_| out.put_u16(0));
    }

    /// Reads rows until the client says that there are no more, then writes them.
    pub(super) async fn copy_in(&mut self, mut copy: Box<CopyIn>, control: &Control) -> Result<(), Fail> {
        self.put_copy_response(b'G', copy.desc.arity());
        control.guard(self.out.flush()).await??;
        let mut reader = CopyReader::new(copy.desc.clone(), copy.options.clone());
        loop {
            let message = control.guard(self.messages.recv()).await?;
            match message.transpose()? {
                Some(Frontend::CopyData(data)) => reader.push(&data)?,
                Some(Frontend::CopyDone) => {
                    reader.finish()?;
                    break;
                }
                Some(Frontend::CopyFail(why)) => {
                    let message = format!("COPY from stdin failed: {why}");
                    return Err(SqlError::new(SqlState::QUERY_CANCELED, message).into());
                }
                // Clients that use the extended protocol send them with Execute.
                Some(Frontend::Flush | Frontend::Sync) => {}
                None | Some(Frontend::Terminate) => return Err(Fail::Io(io::ErrorKind::UnexpectedEof.into())),
                Some(_) => {
                    let message = "unexpected message type during COPY from stdin";
                    return Err(SqlError::new(SqlState::PROTOCOL_VIOLATION, message).into());
                }
            }
            while let Some((batch, lines)) = reader.next_batch() {
                control.guard(self.session.copy_rows(&mut copy, batch, lines)).await??;
            }
        }
        while let Some((batch, lines)) = reader.next_batch() {
            control.guard(self.session.copy_rows(&mut copy, batch, lines)).await??;
        }
        let commit = self.session.begin_statement();
        let Executed { outcome, .. } = control.guard_commit(self.session.copy_done(copy), &commit).await??;
        match outcome {
            Outcome::Complete { tag } => Ok(self.out.put_complete(tag)?),
            _ => Err(SqlError::internal("COPY gave rows").into()),
        }
    }

    /// Sends the rows of a query.
    pub(super) async fn copy_out(
        &mut self,
        desc: RelationDesc,
        mut rows: RowStream,
        options: CopyOptions,
        control: &Control,
    ) -> Result<(), Fail> {
        self.put_copy_response(b'H', desc.arity());
        let mut writer = CopyWriter::new(desc, options);
        writer.put_header(&mut self.out.buffer);
        let mut count = 0;
        while let Some(batch) = control.guard_rows(rows.next()).await? {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                writer.put_row(&batch, row, &mut self.out.buffer)?;
                if self.out.buffer.len() >= FLUSH_BYTES {
                    control.guard(self.out.flush()).await??;
                }
            }
            count += batch.num_rows();
            control.check()?;
        }
        self.out.buffer.put_u8(b'c');
        self.out.buffer.put_i32(4);
        Ok(self.out.put_complete(format!("COPY {count}"))?)
    }
}
