//! JSON of 1 KB to columns: a few columns of many, all columns, and a program that knows where its two numbers stand.

use crate::process::cpu_seconds;
use clap::Args;
use hw_connect::JsonDecoder;
use hw_repr::{Column, RelationDesc, SqlType};
use serde::Serialize;

/// What to measure.
#[derive(Args)]
pub struct Options {
    /// Messages in all.
    #[arg(long, default_value_t = 1_000_000)]
    messages: usize,
    /// Where the JSON goes.
    #[arg(long, default_value = "bench-decode.json")]
    out: std::path::PathBuf,
}

#[derive(Serialize)]
struct Figures {
    what: &'static str,
    messages: usize,
    /// CPU seconds per million messages.
    cpu: f64,
}

/// Messages that are made before the clock starts, and read again and again.
const DISTINCT: usize = 20_000;
/// Messages to a batch.
const BATCH: usize = 8192;

fn messages() -> Vec<String> {
    let one = |i: usize| {
        let pad = "abcdefgh".repeat(100);
        format!(
            "{{\"k\":{},\"v\":{},\"at\":\"2026-01-02T03:04:05.678Z\",\"price\":{}.25,\"name\":\"customer {i}\",\
             \"active\":true,\"tags\":[\"a\",\"b\",{{\"c\":1}}],\"nothing\":null,\"note\":\"{pad}\"}}",
            i % 100_000,
            i * 7,
            i % 1000
        )
    };
    (0..DISTINCT).map(one).collect()
}

fn desc() -> RelationDesc {
    let columns = [
        ("k", SqlType::Int8),
        ("v", SqlType::Int8),
        ("at", SqlType::TimestampTz),
        ("price", SqlType::Numeric(Some((18, 2)))),
        ("name", SqlType::Text),
        ("active", SqlType::Bool),
        ("tags", SqlType::Jsonb),
        ("note", SqlType::Text),
    ];
    RelationDesc::new(columns.iter().map(|(n, ty)| Column { name: (*n).into(), ty: *ty, nullable: true }).collect())
}

fn decode(messages: &[String], total: usize, wanted: &[bool]) -> Result<(), String> {
    let mut decoder = JsonDecoder::new(&desc(), wanted);
    for i in 0..total {
        decoder.push(Some(messages[i % messages.len()].as_bytes()))?;
        if decoder.rows() == BATCH {
            std::hint::black_box(decoder.finish());
        }
    }
    std::hint::black_box(decoder.finish());
    Ok(())
}

/// Two numbers at the start of the message, by hand.
fn by_hand(messages: &[String], total: usize) {
    let number =
        |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).fold(0i64, |n, b| n * 10 + i64::from(b - b'0'));
    let (mut keys, mut values) = (vec![], vec![]);
    for i in 0..total {
        let text = messages[i % messages.len()].as_bytes();
        keys.push(number(&text[5..]));
        let comma = text.iter().position(|b| *b == b',').unwrap_or(0);
        values.push(number(&text[comma + 5..]));
        // Whoever takes a message for JSON has to look at all of it.
        std::hint::black_box(text.iter().filter(|b| **b == b'"').count());
        if keys.len() == BATCH {
            std::hint::black_box((&keys, &values));
            keys.clear();
            values.clear();
        }
    }
}

/// Measures and prints.
pub fn all(options: &Options) -> Result<(), String> {
    let messages = messages();
    let bytes = messages.iter().map(String::len).sum::<usize>() / messages.len();
    println!("messages of {bytes} bytes\n{:<28}{:>10}{:>12}", "what", "CPU s/M", "M/CPU s");
    let mut figures = vec![];
    let two: Vec<bool> = (0..8).map(|i| i < 2).collect();
    for what in ["by hand, two numbers", "two columns of eight", "all eight columns"] {
        let before = cpu_seconds();
        match what {
            "by hand, two numbers" => by_hand(&messages, options.messages),
            "two columns of eight" => decode(&messages, options.messages, &two)?,
            _ => decode(&messages, options.messages, &[true; 8])?,
        }
        let cpu = (cpu_seconds() - before) / options.messages as f64 * 1e6;
        println!("{what:<28}{cpu:>10.3}{:>12.2}", 1.0 / cpu);
        figures.push(Figures { what, messages: options.messages, cpu });
    }
    let json = serde_json::to_string_pretty(&figures).map_err(|e| e.to_string())?;
    std::fs::write(&options.out, json).map_err(|e| format!("{}: {e}", options.out.display()))
}
