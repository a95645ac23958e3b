//! The wire protocol by hand, for clients that no driver wants to be: ones that stop reading, or send garbage.

use crate::HarnessError;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A blocking connection.
#[derive(Debug)]
pub struct RawClient {
    socket: TcpStream,
}

impl RawClient {
    /// Connects, and nothing else.
    pub fn connect(addr: SocketAddr) -> Result<RawClient, HarnessError> {
        let socket = TcpStream::connect(addr).map_err(HarnessError::wrap("connect"))?;
        socket.set_read_timeout(Some(Duration::from_secs(10))).map_err(HarnessError::wrap("connect"))?;
        Ok(RawClient { socket })
    }

    /// Logs in as `headwater` and waits until the server is ready for a query.
    pub fn login(addr: SocketAddr) -> Result<RawClient, HarnessError> {
        let mut client = RawClient::connect(addr)?;
        let mut body = 196_608i32.to_be_bytes().to_vec();
        body.extend(b"user\0headwater\0database\0headwater\0\0");
        let mut message = (body.len() as i32 + 4).to_be_bytes().to_vec();
        message.extend(body);
        client.send(&message)?;
        client.until(b'Z')?;
        Ok(client)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), HarnessError> {
        self.socket.write_all(bytes).map_err(HarnessError::wrap("send"))
    }

    /// Sends a simple query and reads nothing.
    pub fn query(&mut self, sql: &str) -> Result<(), HarnessError> {
        let mut message = vec![b'Q'];
        message.extend((sql.len() as i32 + 5).to_be_bytes());
        message.extend(sql.as_bytes());
        message.push(0);
        self.send(&message)
    }

    /// Reads one message: its type and body.
    pub fn message(&mut self) -> Result<(u8, Vec<u8>), HarnessError> {
        let mut head = [0u8; 5];
        self.socket.read_exact(&mut head).map_err(HarnessError::wrap("receive"))?;
        let length = i32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut body = vec![0u8; usize::try_from(length - 4).unwrap_or(0)];
        self.socket.read_exact(&mut body).map_err(HarnessError::wrap("receive"))?;
        Ok((head[0], body))
    }

    /// Reads up to a message of this type; its body.
    pub fn until(&mut self, kind: u8) -> Result<Vec<u8>, HarnessError> {
        loop {
            let (got, body) = self.message()?;
            if got == kind {
                return Ok(body);
            }
        }
    }

    /// Reads until the server closes the connection; what it said. An error where it stays open for ten seconds.
    pub fn rest(&mut self) -> Result<Vec<u8>, HarnessError> {
        let mut all = vec![];
        match self.socket.read_to_end(&mut all) {
            Ok(_) => Ok(all),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => Ok(all),
            Err(e) => Err(HarnessError(format!("the connection stays open: {e}"))),
        }
    }
}

/// A field of an ErrorResponse's body, such as `C` for the SQLSTATE.
pub fn error_field(body: &[u8], field: u8) -> Option<String> {
    let found = body.split(|b| *b == 0).find(|part| part.first() == Some(&field))?;
    Some(String::from_utf8_lossy(&found[1..]).into_owned())
}
