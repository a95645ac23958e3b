//! Messages from the client: framing and decoding with every length checked before it is used.
//!
//! pgwire's own decoders read truncated bodies past their end (a panic), so what comes from the network is decoded
//! here; what goes out is encoded by pgwire's message types.

use bytes::{Buf, Bytes, BytesMut};
use hw_repr::SqlError;
use std::collections::BTreeMap;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest message of an authenticated client, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// Longest message before authentication, in bytes.
pub const STARTUP_BYTES_MAX: usize = 10_000;

/// The first message of a connection.
#[derive(Debug)]
pub enum Opening {
    /// SSLRequest or GSSENCRequest: answered with `N`.
    Encryption,
    /// CancelRequest.
    Cancel {
        /// From BackendKeyData.
        pid: i32,
        /// From BackendKeyData.
        secret: i32,
    },
    /// StartupMessage.
    Startup {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
        /// user, database, settings.
        parameters: BTreeMap<String, String>,
    },
}

/// A Bind message.
#[derive(Debug)]
pub struct Bind {
    /// Portal to make.
    pub portal: String,
    /// Statement to bind.
    pub statement: String,
    /// None, one for all, or one for each parameter.
    pub param_formats: Vec<i16>,
    /// Values; `None` is NULL.
    pub params: Vec<Option<Bytes>>,
    /// None, one for all, or one for each column.
    pub result_formats: Vec<i16>,
}

/// A message after startup.
#[derive(Debug)]
pub enum Frontend {
    /// Simple query.
    Query(String),
    /// Prepare a statement.
    Parse {
        /// Its name; empty is the unnamed one.
        name: String,
        /// Its text.
        query: String,
        /// Declared parameter types, 0 for unknown.
        types: Vec<u32>,
    },
    /// Bind.
    Bind(Bind),
    /// Describe a statement (`S`) or portal (`P`).
    Describe(u8, String),
    /// Close a statement (`S`) or portal (`P`).
    Close(u8, String),
    /// Run a portal.
    Execute {
        /// Its name.
        portal: String,
        /// Row limit, 0 for none.
        max_rows: i32,
    },
    /// End of an extended query.
    Sync,
    /// Send what is buffered.
    Flush,
    /// Password or SASL data.
    Password(Bytes),
    /// A piece of what COPY reads; ignored outside COPY, as the next two are.
    CopyData(Bytes),
    /// The end of what COPY reads.
    CopyDone,
    /// The client gives up COPY; why.
    CopyFail(String),
    /// The fast-path function call: not supported.
    FunctionCall,
    /// A message whose text is no UTF-8: whether it is Query, and the error.
    NotText(bool, SqlError),
    /// Goodbye.
    Terminate,
}

/// Why a message cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// The connection broke or ended inside a message.
    Io(io::Error),
    /// It is not a message of the protocol.
    Malformed(String),
    /// A text within it is no UTF-8.
    NotText(SqlError),
}
impl From<io::Error> for ReadError {
    fn from(e: io::Error) -> Self {
        ReadError::Io(e)
    }
}

fn malformed(what: impl Into<String>) -> ReadError {
    ReadError::Malformed(what.into())
}

/// A checked reader over one message's body.
struct Body(Bytes);

impl Body {
    fn need(&self, n: usize) -> Result<(), ReadError> {
        if self.0.len() < n { Err(malformed("insufficient data left in message")) } else { Ok(()) }
    }
    fn u8(&mut self) -> Result<u8, ReadError> {
        self.need(1)?;
        Ok(self.0.get_u8())
    }
    fn u16(&mut self) -> Result<u16, ReadError> {
        self.need(2)?;
        Ok(self.0.get_u16())
    }
    fn i32(&mut self) -> Result<i32, ReadError> {
        self.need(4)?;
        Ok(self.0.get_i32())
    }
    fn cstr(&mut self) -> Result<String, ReadError> {
        let end = self.0.iter().position(|b| *b == 0).ok_or_else(|| malformed("unterminated string in message"))?;
        let raw = self.0.split_to(end);
        self.0.advance(1);
        String::from_utf8(raw.to_vec())
            .map_err(|e| ReadError::NotText(crate::pg::decode::not_utf8(&raw[e.utf8_error().valid_up_to()..])))
    }
    fn i16s(&mut self) -> Result<Vec<i16>, ReadError> {
        let n = usize::from(self.u16()?);
        self.need(n * 2)?;
        Ok((0..n).map(|_| self.0.get_i16()).collect())
    }
    fn end(&self) -> Result<(), ReadError> {
        if self.0.is_empty() { Ok(()) } else { Err(malformed("invalid message format: bytes left over")) }
    }
}

/// Reads exactly `len` more bytes, growing the buffer with what arrives rather than with what is announced.
async fn read_body(io: &mut (impl AsyncRead + Unpin), len: usize) -> Result<Bytes, ReadError> {
    let mut body = BytesMut::with_capacity(len.min(1 << 16));
    let mut limited = io.take(len as u64);
    while body.len() < len {
        if limited.read_buf(&mut body).await? == 0 {
            return Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    Ok(body.freeze())
}

/// Reads the first message of a connection.
pub async fn read_opening(io: &mut (impl AsyncRead + Unpin)) -> Result<Opening, ReadError> {
    let len = io.read_u32().await? as usize;
    if !(8..=STARTUP_BYTES_MAX).contains(&len) {
        return Err(malformed("invalid length of startup packet"));
    }
    let mut body = Body(read_body(io, len - 4).await?);
    let code = body.i32()?;
    match code {
        80_877_103 | 80_877_104 => Ok(Opening::Encryption),
        80_877_102 => Ok(Opening::Cancel { pid: body.i32()?, secret: body.i32()? }),
        _ => {
            let mut parameters = BTreeMap::new();
            let (major, minor) = ((code >> 16) as u16, code as u16);
            if major == 3 {
                loop {
                    let key = body.cstr()?;
                    if key.is_empty() {
                        break;
                    }
                    let value = body.cstr()?;
                    parameters.insert(key, value);
                }
            }
            Ok(Opening::Startup { major, minor, parameters })
        }
    }
}

/// Reads the next message; `None` at a clean end of the stream.
pub async fn read_message(io: &mut (impl AsyncRead + Unpin), bytes_max: usize) -> Result<Option<Frontend>, ReadError> {
    let mut tag = [0u8];
    if io.read(&mut tag).await? == 0 {
        return Ok(None);
    }
    if !b"QPBDCEHSXpdcfF".contains(&tag[0]) {
        return Err(malformed(format!("invalid frontend message type {}", tag[0])));
    }
    let len = io.read_u32().await? as usize;
    if len < 4 || len > bytes_max {
        return Err(malformed(format!("invalid message length {len}")));
    }
    match decode(tag[0], read_body(io, len - 4).await?) {
        Err(ReadError::NotText(error)) => Ok(Some(Frontend::NotText(tag[0] == b'Q', error))),
        read => read.map(Some),
    }
}

fn decode(tag: u8, body: Bytes) -> Result<Frontend, ReadError> {
    let mut b = Body(body);
    let message = match tag {
        b'Q' => Frontend::Query(b.cstr()?),
        b'P' => decode_parse(&mut b)?,
        b'B' => Frontend::Bind(decode_bind(&mut b)?),
        b'D' => Frontend::Describe(b.u8()?, b.cstr()?),
        b'C' => Frontend::Close(b.u8()?, b.cstr()?),
        b'E' => Frontend::Execute { portal: b.cstr()?, max_rows: b.i32()? },
        b'H' => Frontend::Flush,
        b'S' => Frontend::Sync,
        b'X' => Frontend::Terminate,
        b'p' => return Ok(Frontend::Password(b.0)),
        b'F' => return Ok(Frontend::FunctionCall),
        b'd' => return Ok(Frontend::CopyData(b.0)),
        b'c' => Frontend::CopyDone,
        _ => Frontend::CopyFail(b.cstr()?),
    };
    b.end()?;
    Ok(message)
}

fn decode_parse(b: &mut Body) -> Result<Frontend, ReadError> {
    let (name, query) = (b.cstr()?, b.cstr()?);
    let n = usize::from(b.u16()?);
    b.need(n * 4)?;
    Ok(Frontend::Parse { name, query, types: (0..n).map(|_| b.0.get_u32()).collect() })
}

fn decode_bind(b: &mut Body) -> Result<Bind, ReadError> {
    let (portal, statement) = (b.cstr()?, b.cstr()?);
    let param_formats = b.i16s()?;
    let n = usize::from(b.u16()?);
    let mut params = Vec::with_capacity(n);
    for _ in 0..n {
        let len = b.i32()?;
        if len < 0 {
            params.push(None);
        } else {
            b.need(len as usize)?;
            params.push(Some(b.0.split_to(len as usize)));
        }
    }
    Ok(Bind { portal, statement, param_formats, params, result_formats: b.i16s()? })
}

/// SASLInitialResponse: mechanism and data.
pub fn decode_sasl_initial(body: Bytes) -> Result<(String, Bytes), ReadError> {
    let mut b = Body(body);
    let mechanism = b.cstr()?;
    let len = b.i32()?;
    if len < 0 {
        return Ok((mechanism, Bytes::new()));
    }
    b.need(len as usize)?;
    Ok((mechanism, b.0.split_to(len as usize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches panics and over-reads: every prefix and every single-byte change of a Bind decodes or is refused.
    #[test]
    fn damaged_bind_is_refused_not_panicked() {
        let body = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\x01";
        let Ok(Frontend::Bind(bind)) = decode(b'B', Bytes::from_static(body)) else { panic!("must decode") };
        assert_eq!((bind.portal.as_str(), bind.statement.as_str()), ("p", "s"));
        assert_eq!(bind.params, vec![Some(Bytes::from_static(b"ab")), None]);
        assert_eq!(bind.result_formats, vec![1]);
        for cut in 0..body.len() {
            assert!(decode(b'B', Bytes::copy_from_slice(&body[..cut])).is_err(), "cut at {cut}");
        }
        for at in 0..body.len() {
            for value in [0u8, 1, 0x7f, 0xff] {
                let mut damaged = body.to_vec();
                damaged[at] = value;
                let _ = decode(b'B', damaged.into());
            }
        }
    }
}
