//! The conformance list: expressions, and what PostgreSQL answers to each.
//!
//! Everything is data in `sql-tests/conformance`: `topics/*.txt` has the expressions by topic, `tables.sql` the relations that
//! some of them are over, `answers/*.txt` PostgreSQL's answers as the example `conformance` has written them. This module reads
//! and writes these files and asks a server, PostgreSQL or Headwater alike, by the extended protocol. What Headwater does not
//! answer alike is listed by the test `conformance`, not here.
//!
//! A line of a topic is an expression, `@from TABLE` (the following ones are over its rows; without a name over none), or a comment
//! (`# `). `«a¦b»` in an expression stands for each of its alternatives. A line of answers has fields between tabs: the expression, its
//! type (`-` where analysis already fails) and the result, or one for every row of the table by `id`: text with `\t`, `\n`, `\r` and
//! `\\`, `\N` for NULL, `!` and a SQLSTATE for an error.

use crate::raw::{RawClient, error_field};
use crate::rows::{Refusal, Row};
use crate::{HarnessError, sql_tests};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where the files are.
pub fn directory() -> PathBuf {
    sql_tests().join("conformance")
}

/// An expression and the table whose rows it is over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Expression {
    /// A block of `tables.sql`, or `None` where no column is named.
    pub from: Option<String>,
    /// The expression as SQL.
    pub text: String,
}

impl Expression {
    /// A query of the expression alone, or with the `id` of its table before it; `rows` is a condition on these.
    pub fn query(&self, rows: &str) -> String {
        match &self.from {
            None => format!("SELECT {} AS c", self.text),
            Some(table) => format!("SELECT id, {} AS c FROM {table}{rows} ORDER BY id", self.text),
        }
    }
}

/// What an expression gives for one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A value's text, or NULL.
    Value(Option<String>),
    /// A SQLSTATE.
    Error(String),
}

impl Outcome {
    /// The field of an answers file.
    pub fn field(&self) -> String {
        match self {
            Outcome::Error(code) => format!("!{code}"),
            Outcome::Value(None) => "\\N".into(),
            Outcome::Value(Some(text)) => {
                let text = text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r");
                if text.starts_with('!') { format!("\\{text}") } else { text }
            }
        }
    }

    fn read(field: &str) -> Outcome {
        if let Some(code) = field.strip_prefix('!') {
            return Outcome::Error(code.into());
        }
        if field == "\\N" {
            return Outcome::Value(None);
        }
        let mut text = String::new();
        let mut rest = field.chars();
        while let Some(c) = rest.next() {
            let escaped = if c == '\\' { rest.next() } else { None };
            text.push(match escaped {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some(other) => other,
                None => c,
            });
        }
        Outcome::Value(Some(text))
    }
}

/// What PostgreSQL says of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The expression.
    pub expression: Expression,
    /// Its type as `format_type` has it, with the modifier; `None` where it has none, because analysis fails.
    pub type_name: Option<String>,
    /// For every row of the table, by `id`; a single one without a table or without a type.
    pub outcomes: Vec<Outcome>,
}

/// Expressions, or answers, that belong together.
#[derive(Clone, Debug)]
pub struct Topic<T> {
    /// The files' name.
    pub name: String,
    /// In the order of the file.
    pub entries: Vec<T>,
}

/// A relation that expressions are over, with the types it needs.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// What makes it.
    pub statements: Vec<String>,
}

fn read(path: &Path) -> Result<String, HarnessError> {
    std::fs::read_to_string(path).map_err(HarnessError::wrap(&path.display().to_string()))
}

fn files(directory: &Path) -> Result<Vec<(String, PathBuf)>, HarnessError> {
    let listed = std::fs::read_dir(directory).map_err(HarnessError::wrap(&directory.display().to_string()))?;
    let mut files = vec![];
    for path in listed.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "txt")) {
        let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        files.push((name, path));
    }
    files.sort();
    Ok(files)
}

/// The tables of `tables.sql`.
pub fn tables() -> Result<Vec<Table>, HarnessError> {
    let text = read(&directory().join("tables.sql"))?;
    let mut tables = vec![];
    for block in text.split("\n\n") {
        let lines = block.lines().filter(|l| !l.starts_with("--") && !l.trim().is_empty());
        let statements: Vec<String> = lines.map(|l| l.trim_end_matches(';').to_string()).collect();
        let name = statements.iter().find_map(|s| s.strip_prefix("CREATE TABLE ")?.split_whitespace().next());
        if let Some(name) = name.map(str::to_string) {
            tables.push(Table { name, statements });
        }
    }
    Ok(tables)
}

/// The expressions of `topics`, alternatives written out. An error where one is there twice.
pub fn topics() -> Result<Vec<Topic<Expression>>, HarnessError> {
    let mut topics = vec![];
    for (name, path) in files(&directory().join("topics"))? {
        let (mut entries, mut from, mut seen) = (vec![], None, HashSet::new());
        for line in read(&path)?.lines().filter(|l| !l.trim().is_empty() && !l.starts_with("# ")) {
            if let Some(table) = from_line(line) {
                from = table;
                continue;
            }
            for text in alternatives(line)? {
                let expression = Expression { from: from.clone(), text };
                if expression.text.contains('\t') || !seen.insert(expression.clone()) {
                    return Err(HarnessError(format!("{name}: twice, or with a tab: {}", expression.text)));
                }
                entries.push(expression);
            }
        }
        topics.push(Topic { name, entries });
    }
    Ok(topics)
}

fn from_line(line: &str) -> Option<Option<String>> {
    let table = line.strip_prefix("@from")?.trim();
    Some((!table.is_empty()).then(|| table.to_string()))
}

/// Every way to read a line: the first `«a¦b»` is written out, then those behind it.
fn alternatives(line: &str) -> Result<Vec<String>, HarnessError> {
    let Some((before, rest)) = line.split_once('«') else { return Ok(vec![line.to_string()]) };
    let Some((within, after)) = rest.split_once('»') else {
        return Err(HarnessError(format!("« without »: {line}")));
    };
    let after = alternatives(after)?;
    let each = within.split('¦').flat_map(|one| after.iter().map(move |rest| format!("{before}{one}{rest}")));
    Ok(each.collect())
}

/// PostgreSQL's answers.
pub fn answers() -> Result<Vec<Topic<Answer>>, HarnessError> {
    let mut topics = vec![];
    for (name, path) in files(&directory().join("answers"))? {
        let (mut entries, mut from) = (vec![], None);
        for line in read(&path)?.lines().filter(|l| !l.is_empty() && !l.starts_with("# ")) {
            if let Some(table) = from_line(line) {
                from = table;
                continue;
            }
            let mut fields = line.split('\t');
            let (Some(text), Some(type_name)) = (fields.next(), fields.next()) else {
                return Err(HarnessError(format!("{}: a line without a type: {line}", path.display())));
            };
            let expression = Expression { from: from.clone(), text: text.to_string() };
            let type_name = (type_name != "-").then(|| type_name.to_string());
            entries.push(Answer { expression, type_name, outcomes: fields.map(Outcome::read).collect() });
        }
        topics.push(Topic { name, entries });
    }
    Ok(topics)
}

/// Writes the answers of a topic; the same answers give the same bytes.
pub fn write_answers(topic: &Topic<Answer>) -> Result<(), HarnessError> {
    let mut text = format!(
        "# What PostgreSQL 15 answers to the expressions of topics/{}.txt. Written by the example `conformance`.\n",
        topic.name
    );
    let mut from = None;
    for answer in &topic.entries {
        if answer.expression.from != from {
            from.clone_from(&answer.expression.from);
            text.push_str(format!("@from {}", from.as_deref().unwrap_or_default()).trim_end());
            text.push('\n');
        }
        text.push_str(&format!("{}\t{}", answer.expression.text, answer.type_name.as_deref().unwrap_or("-")));
        for outcome in &answer.outcomes {
            text.push('\t');
            text.push_str(&outcome.field());
        }
        text.push('\n');
    }
    let path = directory().join("answers").join(format!("{}.txt", topic.name));
    std::fs::write(&path, text).map_err(HarnessError::wrap(&path.display().to_string()))
}

/// The result of a statement.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Type and modifier of each column; `None` where the statement was refused before they were known.
    pub columns: Option<Vec<(u32, i32)>>,
    /// The rows, or why there are none.
    pub rows: Result<Vec<Row>, Refusal>,
}

/// A connection to a server whose user and database are `headwater`.
#[derive(Debug)]
pub struct Asker {
    addr: SocketAddr,
    client: RawClient,
}

impl Asker {
    /// Connects.
    pub fn connect(addr: SocketAddr) -> Result<Asker, HarnessError> {
        Ok(Asker { addr, client: RawClient::login(addr)? })
    }

    /// Runs one statement by the extended protocol, results as text. A connection that is lost is a refusal with `08000`, and
    /// made anew.
    pub fn ask(&mut self, sql: &str) -> Result<Reply, HarnessError> {
        match self.exchange(sql) {
            Ok(reply) => Ok(reply),
            Err(e) => {
                self.client = RawClient::login(self.addr)?;
                let lost = Refusal { code: "08000".into(), message: e.0, more: String::new() };
                Ok(Reply { columns: None, rows: Err(lost) })
            }
        }
    }

    /// The rows of a statement that must not fail.
    pub fn rows(&mut self, sql: &str) -> Result<Vec<Row>, HarnessError> {
        self.ask(sql)?.rows.map_err(|e| HarnessError(format!("{sql}: {e}")))
    }

    fn exchange(&mut self, sql: &str) -> Result<Reply, HarnessError> {
        let mut out = vec![];
        message(&mut out, b'P', &[b"\0".as_slice(), sql.as_bytes(), b"\0\0\0"].concat());
        // Before Bind, which may evaluate constants and fail.
        message(&mut out, b'D', b"S\0");
        message(&mut out, b'B', b"\0\0\0\0\0\0\0\0");
        message(&mut out, b'E', b"\0\0\0\0\0");
        message(&mut out, b'S', b"");
        self.client.send(&out)?;
        let (mut columns, mut rows, mut refusal) = (None, vec![], None);
        loop {
            let (kind, body) = self.client.message()?;
            match kind {
                b'T' => columns = Some(read_columns(&body).ok_or_else(|| malformed(kind))?),
                b'D' => rows.push(read_row(&body).ok_or_else(|| malformed(kind))?),
                b'E' => refusal = Some(read_refusal(&body)),
                b'Z' => break,
                _ => {}
            }
        }
        Ok(Reply { columns, rows: refusal.map_or(Ok(rows), Err) })
    }

    /// The name of a type: a built-in one from [`type_name`], another one as the server says.
    pub fn type_name(&mut self, (oid, modifier): (u32, i32)) -> Result<String, HarnessError> {
        if let Some(name) = type_name(oid, modifier) {
            return Ok(name);
        }
        let named = self.ask(&format!("SELECT format_type({oid}, {modifier})"))?.rows;
        let name = named.ok().and_then(|rows| rows.into_iter().next()?.into_iter().next()?);
        Ok(name.unwrap_or_else(|| format!("type {oid}")))
    }
}

fn malformed(kind: u8) -> HarnessError {
    HarnessError(format!("a malformed message of type {}", char::from(kind)))
}

fn message(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.push(kind);
    out.extend((body.len() as u32 + 4).to_be_bytes());
    out.extend(body);
}

fn read_columns(body: &[u8]) -> Option<Vec<(u32, i32)>> {
    let count = u16::from_be_bytes(body.get(..2)?.try_into().ok()?);
    let mut at = 2;
    let mut columns = vec![];
    for _ in 0..count {
        // A name, then table, column, type, size, modifier and format.
        at += body.get(at..)?.iter().position(|b| *b == 0)? + 1;
        let oid = u32::from_be_bytes(body.get(at + 6..at + 10)?.try_into().ok()?);
        let modifier = i32::from_be_bytes(body.get(at + 12..at + 16)?.try_into().ok()?);
        columns.push((oid, modifier));
        at += 18;
    }
    Some(columns)
}

fn read_row(body: &[u8]) -> Option<Row> {
    let count = u16::from_be_bytes(body.get(..2)?.try_into().ok()?);
    let mut at = 2;
    let mut row = vec![];
    for _ in 0..count {
        let length = i32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?);
        at += 4;
        let Ok(length) = usize::try_from(length) else {
            row.push(None);
            continue;
        };
        row.push(Some(String::from_utf8_lossy(body.get(at..at + length)?).into_owned()));
        at += length;
    }
    Some(row)
}

fn read_refusal(body: &[u8]) -> Refusal {
    let field = |f| error_field(body, f).unwrap_or_default();
    Refusal { code: field(b'C'), message: field(b'M'), more: field(b'D') }
}

/// The name of a built-in type as `format_type` has it. `None` for a type that is not here.
pub fn type_name(oid: u32, modifier: i32) -> Option<String> {
    const ARRAYS: &[(u32, u32)] = &[
        (1000, 16),
        (1001, 17),
        (1005, 21),
        (1007, 23),
        (1016, 20),
        (1009, 25),
        (1014, 1042),
        (1015, 1043),
        (1021, 700),
        (1022, 701),
        (1115, 1114),
        (1182, 1082),
        (1183, 1083),
        (1185, 1184),
        (1187, 1186),
        (1231, 1700),
        (2951, 2950),
        (199, 114),
        (3807, 3802),
    ];
    if let Some((_, element)) = ARRAYS.iter().find(|(array, _)| *array == oid) {
        return Some(format!("{}[]", type_name(*element, modifier)?));
    }
    let precision = if modifier >= 0 { format!("({modifier})") } else { String::new() };
    let length = if modifier >= 4 { format!("({})", modifier - 4) } else { String::new() };
    let name = match oid {
        16 => "boolean".into(),
        17 => "bytea".into(),
        20 => "bigint".into(),
        21 => "smallint".into(),
        23 => "integer".into(),
        25 => "text".into(),
        114 => "json".into(),
        700 => "real".into(),
        701 => "double precision".into(),
        1042 if modifier < 4 => "bpchar".into(),
        1042 => format!("character{length}"),
        1043 => format!("character varying{length}"),
        1082 => "date".into(),
        1083 => format!("time{precision} without time zone"),
        1114 => format!("timestamp{precision} without time zone"),
        1184 => format!("timestamp{precision} with time zone"),
        1186 => interval_name(modifier)?,
        1700 if modifier < 4 => "numeric".into(),
        1700 => {
            // The scale is 11 bits with a sign.
            let (precision, scale) = ((modifier - 4) >> 16, (modifier - 4) & 0x7ff);
            format!("numeric({precision},{})", (scale ^ 1024) - 1024)
        }
        2950 => "uuid".into(),
        3802 => "jsonb".into(),
        _ => return None,
    };
    Some(name)
}

/// An interval with a precision at most; one with fields is left to the server.
fn interval_name(modifier: i32) -> Option<String> {
    const ALL_FIELDS: i32 = 0x7fff;
    const FULL_PRECISION: i32 = 0xffff;
    match (modifier >> 16, modifier & 0xffff) {
        _ if modifier < 0 => Some("interval".into()),
        (ALL_FIELDS, FULL_PRECISION) => Some("interval".into()),
        (ALL_FIELDS, precision) => Some(format!("interval({precision})")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_survive_their_fields() {
        let texts = ["", "!x", "\\N", "a\tb\nc\\d\r", "żółć"];
        let values = texts.iter().map(|t| Outcome::Value(Some(t.to_string())));
        for outcome in values.chain([Outcome::Value(None), Outcome::Error("22012".into())]) {
            let field = outcome.field();
            assert!(!field.contains(['\t', '\n', '\r']));
            assert_eq!(Outcome::read(&field), outcome);
        }
    }

    #[test]
    fn alternatives_are_written_out() {
        let all = alternatives("f(«1¦2», «a¦»)").expect("it is well formed");
        assert_eq!(all, ["f(1, a)", "f(1, )", "f(2, a)", "f(2, )"]);
        assert!(alternatives("«1").is_err());
    }

    #[test]
    fn types_have_their_modifiers() {
        let numeric = |p: i32, s: i32| (p << 16 | (s & 0x7ff)) + 4;
        assert_eq!(type_name(1700, numeric(5, -2)).as_deref(), Some("numeric(5,-2)"));
        assert_eq!(type_name(1231, numeric(5, 2)).as_deref(), Some("numeric(5,2)[]"));
        assert_eq!(type_name(1043, 7).as_deref(), Some("character varying(3)"));
        assert_eq!(type_name(1114, 0).as_deref(), Some("timestamp(0) without time zone"));
        assert_eq!(type_name(1186, -1).as_deref(), Some("interval"));
        assert_eq!(type_name(600, -1), None);
    }
}
