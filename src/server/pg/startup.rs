//! From an accepted socket to a session: encryption requests, cancel requests, protocol version, authentication.

use crate::backend::AuthRule;
use crate::pg::Shared;
use crate::pg::connection::{Connection, Fail};
use crate::pg::frontend::{self, Frontend, Opening, ReadError, STARTUP_BYTES_MAX};
use crate::pg::output::Output;
use crate::pg::scram::{self, Exchange, ScramError};
use base64::Engine;
use bytes::Bytes;
use hw_repr::{SqlError, SqlState};
use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, SecretKey};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

/// Time a client has to send its startup message, and each answer of the authentication.
const AUTHENTICATION_TIMEOUT: Duration = Duration::from_secs(60);
/// Time a last message may take to be written.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

struct Startup {
    minor: u16,
    parameters: BTreeMap<String, String>,
}

/// Serves one connection to its end. Whatever the client sends, only this connection ends.
pub async fn handle(mut socket: TcpStream, shared: Arc<Shared>) {
    let _ = socket.set_nodelay(true);
    let opened = tokio::select! {
        () = shared.shutdown.cancelled() => return,
        opened = tokio::time::timeout(AUTHENTICATION_TIMEOUT, open(&mut socket, &shared)) => opened,
    };
    let (startup, too_new) = match opened {
        Ok(Ok(Some(opened))) => opened,
        Ok(Ok(None)) | Err(_) => return,
        Ok(Err(error)) => {
            tracing::debug!(?error, "not a PostgreSQL client");
            return;
        }
    };
    let (mut reader, writer) = socket.into_split();
    let mut out = Output::new(writer);
    let slot = shared.slots.clone().try_acquire_owned();
    let admitted = tokio::select! {
        () = shared.shutdown.cancelled() => Err(Fail::Sql(crate::pg::connection::shutting_down())),
        admitted = admit(&mut reader, &mut out, &shared, &startup, too_new, slot.is_ok()) => admitted,
    };
    let result = match admitted {
        Ok(user) => Connection::new(reader, &mut out, shared, user, startup.parameters).run().await,
        Err(fail) => Err(fail),
    };
    if let Err(Fail::Sql(error)) = result {
        let _ = out.put_error("FATAL", &error);
        let _ = tokio::time::timeout(FAREWELL_TIMEOUT, out.flush()).await;
    }
}

/// Reads up to the startup message: with it, whether it is of a version that this server does not know. `None` where
/// the connection has served its purpose (a cancel request).
async fn open(socket: &mut TcpStream, shared: &Shared) -> Result<Option<(Startup, bool)>, ReadError> {
    // A client asks for SSL and GSS encryption once each at most.
    for _ in 0..3 {
        match frontend::read_opening(socket).await? {
            Opening::Encryption => socket.write_all(b"N").await?,
            Opening::Cancel { pid, secret } => {
                shared.registry.cancel(pid, secret);
                return Ok(None);
            }
            Opening::Startup { major, minor, parameters } => {
                return Ok(Some((Startup { minor, parameters }, major != 3)));
            }
        }
    }
    Err(ReadError::Malformed("too many encryption requests".into()))
}

/// Version, limits and authentication; gives the user's name.
async fn admit(
    reader: &mut OwnedReadHalf,
    out: &mut Output,
    shared: &Shared,
    startup: &Startup,
    wrong_major: bool,
    has_slot: bool,
) -> Result<String, Fail> {
    if wrong_major {
        let message = "unsupported frontend protocol: this server supports 3.0 to 3.2";
        return Err(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).into());
    }
    if !has_slot {
        return Err(SqlError::new(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
            .hint("Close idle connections, or raise max_connections.")
            .into());
    }
    let options: Vec<String> = startup.parameters.keys().filter(|k| k.starts_with("_pq_.")).cloned().collect();
    let minor = match startup.minor {
        0 | 1 => 0,
        _ => 2,
    };
    if minor != startup.minor || !options.is_empty() {
        let version = (3 << 16) | i32::from(minor);
        out.put(&Message::NegotiateProtocolVersion(NegotiateProtocolVersion::new(version, options)))?;
    }
    let Some(user) = startup.parameters.get("user").filter(|u| !u.is_empty()) else {
        let message = "no PostgreSQL user name specified in startup packet";
        return Err(SqlError::new(SqlState::new("28000"), message).into());
    };
    if startup.parameters.contains_key("replication") {
        return Err(SqlError::unsupported("replication connections are not supported").into());
    }
    match shared.backend.scram_verifier(user).await? {
        AuthRule::Trust => {}
        AuthRule::Scram(verifier) => authenticate(reader, out, user, verifier).await?,
        AuthRule::Reject => {
            authenticate(reader, out, user, scram::decoy(user, &shared.process_secret)).await?;
            return Err(wrong_password(user).into());
        }
    }
    out.put(&Message::Authentication(Authentication::Ok))?;
    Ok(user.clone())
}

fn wrong_password(user: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_PASSWORD, format!("password authentication failed for user \"{user}\""))
}

async fn authenticate(
    reader: &mut OwnedReadHalf,
    out: &mut Output,
    user: &str,
    verifier: crate::backend::ScramVerifier,
) -> Result<(), Fail> {
    let refused = |error: ScramError| match error {
        ScramError::WrongPassword => wrong_password(user),
        ScramError::Malformed(what) => {
            SqlError::new(SqlState::PROTOCOL_VIOLATION, "malformed SCRAM message").detail(what)
        }
    };
    out.put(&Message::Authentication(Authentication::SASL(vec![scram::MECHANISM.to_owned()])))?;
    let (mechanism, first) = frontend::decode_sasl_initial(password(reader, out).await?)?;
    if mechanism != scram::MECHANISM {
        let message = "client selected an invalid SASL authentication mechanism";
        return Err(SqlError::new(SqlState::PROTOCOL_VIOLATION, message).into());
    }
    let nonce = base64::engine::general_purpose::STANDARD.encode(rand::random::<[u8; 18]>());
    let (exchange, reply) = Exchange::start(verifier, &first, &nonce).map_err(refused)?;
    out.put(&Message::Authentication(Authentication::SASLContinue(reply.into())))?;
    let reply = exchange.finish(&password(reader, out).await?).map_err(refused)?;
    out.put(&Message::Authentication(Authentication::SASLFinal(reply.into())))?;
    Ok(())
}

/// Sends what is buffered and waits for the client's answer.
async fn password(reader: &mut OwnedReadHalf, out: &mut Output) -> Result<Bytes, Fail> {
    let answer = async {
        out.flush().await?;
        frontend::read_message(reader, STARTUP_BYTES_MAX).await
    };
    let answer = tokio::time::timeout(AUTHENTICATION_TIMEOUT, answer).await;
    match answer.map_err(|_| Fail::Io(std::io::ErrorKind::TimedOut.into()))?? {
        Some(Frontend::Password(body)) => Ok(body),
        None => Err(Fail::Io(std::io::ErrorKind::UnexpectedEof.into())),
        Some(_) => Err(SqlError::new(SqlState::PROTOCOL_VIOLATION, "expected SASL response").into()),
    }
}

/// BackendKeyData.
pub fn key_data(pid: i32, secret: i32) -> Message {
    Message::BackendKeyData(BackendKeyData::new(pid, SecretKey::I32(secret)))
}
