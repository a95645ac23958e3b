//! Messages to the client: a buffer, and when it is written.

use crate::pg::encode::Format;
use bytes::BytesMut;
use hw_coordinator::session::TransactionStatus;
use hw_repr::{RelationDesc, SqlError, SqlType};
use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::data::{FieldDescription, NoData, ParameterDescription, RowDescription};
use pgwire::messages::response::{self, CommandComplete, ErrorResponse, NoticeResponse, ReadyForQuery};
use pgwire::messages::startup::ParameterStatus;
use std::io;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;

/// Rows are written once this many bytes are buffered, or when no row is at hand.
pub const FLUSH_BYTES: usize = 32 << 10;

/// The way to the client.
pub struct Output {
    socket: OwnedWriteHalf,
    /// What is not written yet. Rows are encoded right into it.
    pub buffer: BytesMut,
}

impl Output {
    /// Over a socket.
    pub fn new(socket: OwnedWriteHalf) -> Output {
        Output { socket, buffer: BytesMut::with_capacity(FLUSH_BYTES * 2) }
    }

    /// Writes all that is buffered. May be dropped half-way and called again.
    pub async fn flush(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty() {
            if self.socket.write_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Buffers a message.
    pub fn put(&mut self, message: &Message) -> io::Result<()> {
        let start = self.buffer.len();
        message.encode(&mut self.buffer).map_err(|e| {
            self.buffer.truncate(start);
            io::Error::other(e)
        })
    }

    /// ErrorResponse. `severity` is `ERROR` or `FATAL`.
    pub fn put_error(&mut self, severity: &str, error: &SqlError) -> io::Result<()> {
        self.put(&Message::ErrorResponse(ErrorResponse::new(fields(severity, error))))
    }

    /// NoticeResponse.
    pub fn put_notice(&mut self, severity: &str, error: &SqlError) -> io::Result<()> {
        self.put(&Message::NoticeResponse(NoticeResponse::new(fields(severity, error))))
    }

    /// ParameterStatus.
    pub fn put_parameter(&mut self, name: &str, value: &str) -> io::Result<()> {
        self.put(&Message::ParameterStatus(ParameterStatus::new(clean(name), clean(value))))
    }

    /// CommandComplete.
    pub fn put_complete(&mut self, tag: String) -> io::Result<()> {
        self.put(&Message::CommandComplete(CommandComplete::new(clean(&tag))))
    }

    /// ReadyForQuery.
    pub fn put_ready(&mut self, status: TransactionStatus) -> io::Result<()> {
        let status = match status {
            TransactionStatus::Idle => response::TransactionStatus::Idle,
            TransactionStatus::Active => response::TransactionStatus::Transaction,
            TransactionStatus::Failed => response::TransactionStatus::Error,
        };
        self.put(&Message::ReadyForQuery(ReadyForQuery::new(status)))
    }

    /// RowDescription, or NoData where there are no rows. Without formats: all text.
    pub fn put_description(&mut self, desc: Option<&RelationDesc>, formats: &[Format]) -> io::Result<()> {
        let Some(desc) = desc else { return self.put(&Message::NoData(NoData::new())) };
        let describe = |(i, column): (usize, &hw_repr::Column)| {
            let format = formats.get(i).copied().unwrap_or(Format::Text);
            let (ty, name) = (column.ty, clean(&column.name));
            FieldDescription::new(name, 0, 0, ty.oid(), ty.typlen(), ty.typmod(), format.code())
        };
        let fields = desc.columns.iter().enumerate().map(describe).collect();
        self.put(&Message::RowDescription(RowDescription::new(fields)))
    }

    /// ParameterDescription.
    pub fn put_parameter_types(&mut self, types: &[SqlType]) -> io::Result<()> {
        let oids = types.iter().map(SqlType::oid).collect();
        self.put(&Message::ParameterDescription(ParameterDescription::new(oids)))
    }
}

/// A string of the protocol ends at its first zero byte, so none may be inside.
fn clean(s: &str) -> String {
    s.replace('\0', "\u{fffd}")
}

fn fields(severity: &str, error: &SqlError) -> Vec<(u8, String)> {
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', error.code.as_str().to_owned()),
        (b'M', clean(&error.message)),
    ];
    fields.extend(error.detail.iter().map(|d| (b'D', clean(d))));
    fields.extend(error.hint.iter().map(|h| (b'H', clean(h))));
    fields.extend(error.context.iter().map(|w| (b'W', clean(w))));
    fields.extend(error.position.iter().map(|p| (b'P', p.to_string())));
    fields
}
