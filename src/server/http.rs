//! The HTTP endpoints: `/healthz`, `/readyz`, `/metrics`. GET and HEAD over HTTP/1.1, one request per connection.

use crate::backend::Backend;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Longest request head in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Time for a whole request and its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests served at once.
const REQUESTS_MAX: usize = 64;

/// Answers requests until `shutdown`.
pub async fn serve(listener: TcpListener, backend: Arc<dyn Backend>, shutdown: CancellationToken) {
    let slots = Arc::new(Semaphore::new(REQUESTS_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, _)) => {
                let backend = backend.clone();
                tokio::spawn(async move {
                    let _slot = slot;
                    let answered = tokio::time::timeout(REQUEST_TIMEOUT, answer(socket, backend.as_ref()));
                    if let Ok(Err(error)) = answered.await {
                        tracing::debug!(%error, "http request failed");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an http connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Reads the head; `None` where it is too long or the client left.
async fn read_head(socket: &mut TcpStream) -> io::Result<Option<String>> {
    let mut head = Vec::with_capacity(1024);
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        if head.len() > HEAD_BYTES_MAX || socket.read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

async fn answer(mut socket: TcpStream, backend: &dyn Backend) -> io::Result<()> {
    let Some(head) = read_head(&mut socket).await? else {
        return write(&mut socket, "400 Bad Request", "text/plain", "bad request\n", true).await;
    };
    let mut words = head.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let with_body = method != "HEAD";
    if !matches!(method, "GET" | "HEAD") {
        let text = "only GET and HEAD are supported\n";
        return write(&mut socket, "405 Method Not Allowed", "text/plain", text, with_body).await;
    }
    let path = target.split('?').next().unwrap_or_default();
    let metrics;
    let (status, kind, body) = match path {
        "/healthz" => ("200 OK", "text/plain", "ok\n"),
        "/readyz" if backend.is_ready() => ("200 OK", "text/plain", "ready\n"),
        "/readyz" => ("503 Service Unavailable", "text/plain", "recovering\n"),
        "/metrics" => {
            metrics = backend.metrics().await;
            ("200 OK", "text/plain; version=0.0.4; charset=utf-8", metrics.as_str())
        }
        _ => ("404 Not Found", "text/plain", "not found: try /healthz, /readyz or /metrics\n"),
    };
    write(&mut socket, status, kind, body, with_body).await
}

async fn write(socket: &mut TcpStream, status: &str, kind: &str, body: &str, with_body: bool) -> io::Result<()> {
    let length = body.len();
    let mut reply =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    if with_body {
        reply.push_str(body);
    }
    socket.write_all(reply.as_bytes()).await?;
    socket.shutdown().await
}
