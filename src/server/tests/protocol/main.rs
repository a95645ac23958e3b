//! The wire protocol against a fake backend, through tokio-postgres and through raw bytes.

mod fake;

use bytes::BytesMut;
use fake::{serve, types};
use futures::StreamExt;
use hw_repr::SqlType;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

type Boxed = Box<dyn Error + Sync + Send>;

/// A value as its bytes in binary format, of any type.
#[derive(Debug, PartialEq, Clone)]
struct Raw(Vec<u8>);
impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Boxed> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }
    fn accepts(_: &Type) -> bool {
        true
    }
    tokio_postgres::types::to_sql_checked!();
}
impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Raw, Boxed> {
        Ok(Raw(raw.to_vec()))
    }
    fn accepts(_: &Type) -> bool {
        true
    }
}

async fn try_connect(addr: SocketAddr, user: &str, password: &str) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(addr.port()).user(user).password(password).dbname("headwater");
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn connect(addr: SocketAddr) -> Client {
    try_connect(addr, "anyone", "").await.expect("connected")
}

fn code<T>(result: Result<T, tokio_postgres::Error>) -> String {
    let error = result.err().expect("must fail");
    error.code().map_or_else(|| format!("{error:?}"), |c| c.code().to_owned())
}

async fn soon(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..200 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

#[tokio::test]
async fn simple_queries_stop_at_the_first_error() {
    let client = connect(serve(None, 10, true).await.0).await;
    let messages = client.simple_query("rows 2; notice; rows 250").await.expect("runs");
    let rows = messages.iter().filter(|m| matches!(m, SimpleQueryMessage::Row(_))).count();
    let counts: Vec<u64> = messages
        .iter()
        .filter_map(|m| if let SimpleQueryMessage::CommandComplete(n) = m { Some(*n) } else { None })
        .collect();
    assert_eq!((rows, counts), (252, vec![2, 0, 250]));
    let error = client.simple_query("rows 1; é; rows 1").await.expect_err("syntax error");
    let error = error.as_db_error().expect("from the server");
    assert_eq!((error.code().code(), error.detail(), error.hint()), ("42601", Some("A detail."), Some("A hint.")));
    assert_eq!(error.position(), Some(&tokio_postgres::error::ErrorPosition::Original(9)));
    assert_eq!(code(client.simple_query("half").await), "22012");
    assert!(client.simple_query(" ; ").await.is_ok());
    assert_eq!(code(client.simple_query("echo integer $1").await), "42P02");
}

/// A binary value of each type, and its text.
fn samples(ty: SqlType) -> Vec<(Vec<u8>, &'static str)> {
    let hex = |s: &str| (0..s.len() / 2).map(|i| u8::from_str_radix(&s[2 * i..2 * i + 2], 16).expect("hex")).collect();
    let list: Vec<(&str, &str)> = match ty {
        SqlType::Bool => vec![("01", "t"), ("00", "f")],
        SqlType::Int2 => vec![("fffe", "-2")],
        SqlType::Int4 => vec![("7fffffff", "2147483647")],
        SqlType::Int8 => vec![("8000000000000000", "-9223372036854775808")],
        SqlType::Float4 => vec![("3fc00000", "1.5")],
        SqlType::Float8 => vec![("bff8000000000000", "-1.5"), ("7ff0000000000000", "Infinity")],
        SqlType::Numeric(None) => vec![("000300010000000 2000c0d801e78", "123456.78"), ("0000000000000002", "0.00")],
        SqlType::Numeric(_) => vec![("0002000040000002000c1388", "-12.50")],
        SqlType::Text => vec![("68c3a9", "hé"), ("", "")],
        SqlType::Varchar(_) => vec![("616263", "abc")],
        SqlType::Bytea => vec![("00ff", "\\x00ff")],
        SqlType::Date => vec![("00000000", "2000-01-01"), ("ffffffff", "1999-12-31")],
        SqlType::Time => vec![("0000000000000001", "00:00:00.000001")],
        SqlType::Timestamp => vec![("00000000000f4240", "2000-01-01 00:00:01")],
        SqlType::TimestampTz => vec![("ffffffffffffffff", "1999-12-31 23:59:59.999999+00")],
        SqlType::Interval => vec![("00000000000f4240000000020000000d", "1 year 1 mon 2 days 00:00:01")],
        SqlType::Uuid => vec![("00112233445566778899aabbccddeeff", "00112233-4455-6677-8899-aabbccddeeff")],
        SqlType::Jsonb => vec![("017b2261223a20317d", "{\"a\": 1}")],
        SqlType::Json => vec![("7b2261223a317d", "{\"a\":1}")],
        SqlType::Char(_) => vec![("6162", "ab")],
        SqlType::Bit(_) | SqlType::Varbit(_) => vec![("00000009 a080", "101000001"), ("00000000", "")],
        SqlType::Array(_) => vec![
            ("00000001 00000001 00000017 00000002 00000001 00000004 00000001 ffffffff", "{1,NULL}"),
            ("00000000 00000000 00000017", "{}"),
        ],
        SqlType::Alias(_) => vec![("ffffffff", "4294967295")],
        SqlType::TimeTz => vec![("00000000000f4240 00000000", "00:00:01+00")],
        // Those that statements define are not among the types of the test.
        SqlType::Enum(_) | SqlType::Row(_) => vec![],
    };
    list.into_iter().map(|(h, text)| (hex(&h.replace(' ', "")), text)).collect()
}

#[tokio::test]
async fn every_type_in_binary_and_text() {
    let addr = serve(None, 10, true).await.0;
    let client = connect(addr).await;
    for ty in types() {
        let statement = client.prepare(&format!("echo {ty} $1")).await.expect("prepares");
        assert_eq!(statement.params()[0].oid(), ty.oid());
        let null = client.query_one(&statement, &[&None::<Raw>]).await.expect("runs");
        assert_eq!(null.get::<_, Option<Raw>>(0), None);
        for (binary, text) in samples(ty) {
            let row = client.query_one(&statement, &[&Raw(binary.clone())]).await.expect("runs");
            assert_eq!(row.get::<_, Raw>(0), Raw(binary.clone()), "{ty} {text}");
            assert_eq!(text_round_trip(addr, ty, text).await, text, "{ty}");
            if !matches!(ty, SqlType::Text | SqlType::Bytea | SqlType::Varchar(_) | SqlType::Char(_)) {
                let cut = Raw(binary[..binary.len() - 1].to_vec());
                let result = client.query_one(&statement, &[&cut]).await;
                assert!(["22P03", "22P02"].contains(&code(result).as_str()), "{ty}");
            }
        }
    }
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

/// A connection of raw bytes, past ReadyForQuery.
async fn raw_connect(addr: SocketAddr) -> tokio::net::TcpStream {
    let mut socket = tokio::net::TcpStream::connect(addr).await.expect("connected");
    let body = b"\0\x03\0\0user\0me\0\0";
    socket.write_all(&(body.len() as u32 + 4).to_be_bytes()).await.expect("sent");
    socket.write_all(body).await.expect("sent");
    while read(&mut socket).await.0 != b'Z' {}
    socket
}

async fn read(socket: &mut tokio::net::TcpStream) -> (u8, Vec<u8>) {
    let reading = async {
        let tag = socket.read_u8().await.expect("a message");
        let mut body = vec![0; socket.read_u32().await.expect("a length") as usize - 4];
        socket.read_exact(&mut body).await.expect("a body");
        (tag, body)
    };
    tokio::time::timeout(Duration::from_secs(5), reading).await.expect("a message in time")
}

async fn text_round_trip(addr: SocketAddr, ty: SqlType, text: &str) -> String {
    let mut socket = raw_connect(addr).await;
    let bind = [b"\0\0\0\0\0\x01", &(text.len() as u32).to_be_bytes()[..], text.as_bytes(), b"\0\0"].concat();
    let sent = [
        message(b'P', format!("\0echo {ty} $1\0\0\0").as_bytes()),
        message(b'B', &bind),
        message(b'E', b"\0\0\0\0\0"),
        message(b'S', b""),
    ];
    socket.write_all(&sent.concat()).await.expect("sent");
    loop {
        match read(&mut socket).await {
            (b'D', body) => return String::from_utf8(body[6..].to_vec()).expect("UTF-8"),
            (b'1' | b'2', _) => {}
            (tag, body) => panic!("{} {}", tag as char, String::from_utf8_lossy(&body)),
        }
    }
}

#[tokio::test]
async fn portals_stop_at_their_limit_and_go_on() {
    let mut socket = raw_connect(serve(None, 10, true).await.0).await;
    let sent = [
        message(b'P', b"\0rows 250\0\0\0"),
        message(b'B', b"\0\0\0\0\0\0\0\0"),
        message(b'E', b"\0\0\0\0\x78"),
        message(b'E', b"\0\0\0\0\x78"),
        message(b'E', b"\0\0\0\0\x78"),
        message(b'E', b"\0\0\0\0\x78"),
        message(b'S', b""),
        message(b'E', b"\0\0\0\0\0"),
        message(b'P', b"\0rows 1\0\0\0"),
        message(b'S', b""),
    ];
    socket.write_all(&sent.concat()).await.expect("sent");
    let mut seen = String::new();
    let mut rows = vec![0];
    while seen.matches('Z').count() < 2 {
        let (tag, body) = read(&mut socket).await;
        match tag {
            b'D' => *rows.last_mut().expect("one") += 1,
            _ => rows.push(0),
        }
        if tag != b'D' {
            seen.push(tag as char);
        }
        if tag == b'E' {
            assert!(String::from_utf8_lossy(&body).contains("34000"), "the portal ended with its statement");
        }
    }
    // After the error nothing is answered until Sync.
    assert_eq!(seen, "12ssCCZEZ");
    assert_eq!(rows.iter().filter(|n| **n > 0).collect::<Vec<_>>(), [&120, &120, &10]);
}

#[tokio::test]
async fn rows_arrive_while_the_stream_is_open_and_cancel_ends_it() {
    let (addr, fake) = serve(None, 10, true).await;
    let client = connect(addr).await;
    let cancel = client.cancel_token();
    let mut rows = std::pin::pin!(client.query_raw("stream", Vec::<i32>::new()).await.expect("starts"));
    let first = tokio::time::timeout(Duration::from_secs(5), rows.next()).await.expect("flushed when idle");
    assert_eq!(first.expect("a row").expect("a row").get::<_, i32>(0), 0);
    assert_eq!(fake.running.load(Ordering::SeqCst), 1);
    cancel.cancel_query(NoTls).await.expect("sent");
    let end = tokio::time::timeout(Duration::from_secs(5), rows.next()).await.expect("cancelled");
    assert_eq!(code(end.expect("an error")), "57014");
    soon("the stream is dropped", || fake.running.load(Ordering::SeqCst) == 0).await;
    assert_eq!(client.query("rows 3", &[]).await.expect("usable").len(), 3);
    // A cancel request without a running statement does nothing to the next one.
    cancel.cancel_query(NoTls).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(client.query("rows 3", &[]).await.expect("usable").len(), 3);
}

#[tokio::test]
async fn slow_statements_are_cancelled_and_time_out() {
    let (addr, fake) = serve(None, 10, true).await;
    let client = connect(addr).await;
    let cancel = client.cancel_token();
    let (result, ()) = tokio::join!(client.simple_query("slow"), async {
        soon("it runs", || fake.running.load(Ordering::SeqCst) == 1).await;
        cancel.cancel_query(NoTls).await.expect("sent");
    });
    assert_eq!(code(result), "57014");
    client.simple_query("timeout 50").await.expect("set");
    assert_eq!(code(client.simple_query("slow").await), "57014");
    assert_eq!(code(client.query("stream", &[]).await), "57014");
    assert_eq!(fake.running.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_stream() {
    let (addr, fake) = serve(None, 10, true).await;
    let mut socket = raw_connect(addr).await;
    socket.write_all(&message(b'Q', b"stream\0")).await.expect("sent");
    assert_eq!(read(&mut socket).await.0, b'T');
    drop(socket);
    soon("the stream is dropped", || fake.running.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn statements_wait_for_recovery_and_connections_do_not() {
    let (addr, fake) = serve(None, 10, false).await;
    let client = connect(addr).await;
    let waiting = tokio::spawn(async move { client.query("rows 1", &[]).await.map(|r| r.len()) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    fake.ready.send_replace(true);
    assert_eq!(waiting.await.expect("joins").expect("runs"), 1);
}

#[tokio::test]
async fn scram_lets_in_the_right_password_only() {
    let addr = serve(Some("sesame"), 10, true).await.0;
    let client = try_connect(addr, "headwater", "sesame").await.expect("let in");
    assert_eq!(client.query("rows 1", &[]).await.expect("runs").len(), 1);
    assert_eq!(code(try_connect(addr, "headwater", "Sesame").await), "28P01");
    assert_eq!(code(try_connect(addr, "nobody", "sesame").await), "28P01");
}

#[tokio::test]
async fn connections_are_limited() {
    let addr = serve(None, 1, true).await.0;
    let first = connect(addr).await;
    assert_eq!(code(try_connect(addr, "anyone", "").await), "53300");
    drop(first);
    for _ in 0..100 {
        if try_connect(addr, "anyone", "").await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the slot was not given back");
}

#[tokio::test]
async fn text_that_is_no_utf8_fails_its_statement_only() {
    let addr = serve(None, 10, true).await.0;
    let mut socket = raw_connect(addr).await;
    let failed = |body: &[u8]| String::from_utf8_lossy(body).contains("22021");
    socket.write_all(&message(b'Q', b"rows \xc3\x28\0")).await.expect("sent");
    let (tag, body) = read(&mut socket).await;
    assert!(tag == b'E' && failed(&body), "{}", String::from_utf8_lossy(&body));
    assert!(String::from_utf8_lossy(&body).contains("0xc3 0x28"));
    assert_eq!(read(&mut socket).await.0, b'Z');
    // In the extended protocol everything up to Sync is skipped.
    socket.write_all(&message(b'P', b"\0rows \xff\0\0\0")).await.expect("sent");
    socket.write_all(&message(b'S', b"")).await.expect("sent");
    let (tag, body) = read(&mut socket).await;
    assert!(tag == b'E' && failed(&body));
    assert_eq!(read(&mut socket).await.0, b'Z');
    socket.write_all(&message(b'Q', b"rows 1\0")).await.expect("sent");
    assert_eq!(read(&mut socket).await.0, b'T');
}

#[tokio::test]
async fn garbage_ends_its_own_connection_only() {
    let addr = serve(None, 10, true).await.0;
    let client = connect(addr).await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], b"\0\0\0\x09\0\x03\0\0\0", b"\0\0\0\x0a\0\x03\0\0ab"] {
        let mut socket = tokio::net::TcpStream::connect(addr).await.expect("connected");
        socket.write_all(garbage).await.expect("sent");
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(5), socket.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "{garbage:?} is not answered by closing");
    }
    for garbage in
        [message(b'B', b"\0\0\0\x05"), message(b'?', b""), message(b'P', b"\0x\0\xff\xff"), b"Q\0\0\0\x01".to_vec()]
    {
        let mut socket = raw_connect(addr).await;
        socket.write_all(&garbage).await.expect("sent");
        let (tag, body) = read(&mut socket).await;
        assert_eq!(tag, b'E');
        assert!(String::from_utf8_lossy(&body).contains("08P01"));
    }
    assert_eq!(client.query("rows 1", &[]).await.expect("unharmed").len(), 1);
}
