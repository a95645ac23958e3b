//! The lists of what does not come out as in PostgreSQL: files with a line for each expression, fields between tabs.

use hw_testkit::HarnessError;
use hw_testkit::conformance::{Expression, directory};
use std::collections::BTreeMap;

/// How an expression stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// As in PostgreSQL.
    Equal,
    /// Refused as not supported yet.
    Pending,
    /// Different for a reason that is listed.
    Differs,
    /// Different, and to be mended.
    Wrong,
}

/// An expression that is not equal, or is.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The topic it is of.
    pub topic: String,
    /// The expression.
    pub expression: Expression,
    /// `select`, `view` or `both`.
    pub path: String,
    /// How it stands.
    pub status: Status,
    /// What comes instead, or why it is to stay so.
    pub what: String,
}

type Key = (String, Expression);

/// The lists, in the order of their files.
#[derive(Debug, Default)]
pub struct Lists {
    pending: Vec<Entry>,
    wrong: Vec<Entry>,
    /// What is to stay different.
    pub differs: Vec<Entry>,
    by_expression: BTreeMap<Key, Status>,
}

const PENDING: &str =
    "# Expressions that are refused, because something they need is not there yet. Written by the test `conformance`.";
const WRONG: &str =
    "# Expressions that are answered, but not as in PostgreSQL: to be mended. Written by the test `conformance`.";

impl Lists {
    /// The files as they are.
    pub fn read() -> Result<Lists, HarnessError> {
        let pending = read("pending.txt", Status::Pending)?;
        let differs = read("differs.txt", Status::Differs)?;
        let wrong = read("wrong.txt", Status::Wrong)?;
        Ok(Lists { pending, wrong, differs, ..Lists::default() }.indexed())
    }

    /// What has come out. What is to differ, and does, stays listed so.
    pub fn of(entries: impl Iterator<Item = Entry>, differs: &[Entry]) -> Lists {
        let known: BTreeMap<Key, &Entry> = differs.iter().map(|e| (key(e), e)).collect();
        let mut lists = Lists::default();
        for entry in entries {
            match (entry.status, known.get(&key(&entry))) {
                (Status::Equal, _) => {}
                (_, Some(reason)) => lists.differs.push((*reason).clone()),
                (Status::Pending, None) => lists.pending.push(entry),
                (_, None) => lists.wrong.push(entry),
            }
        }
        lists.indexed()
    }

    fn indexed(mut self) -> Lists {
        let all = self.pending.iter().chain(&self.differs).chain(&self.wrong);
        self.by_expression = all.map(|e| (key(e), e.status)).collect();
        self
    }

    /// How an expression is listed.
    pub fn status(&self, topic: &str, expression: &Expression) -> Status {
        let key = (topic.to_string(), expression.clone());
        self.by_expression.get(&key).copied().unwrap_or(Status::Equal)
    }

    /// Writes what is pending and what is wrong.
    pub fn write(&self) -> Result<(), HarnessError> {
        write("pending.txt", PENDING, &self.pending)?;
        write("wrong.txt", WRONG, &self.wrong)
    }

    /// Every expression that has come out otherwise than it is listed here.
    pub fn compare(&self, found: &Lists) -> Vec<String> {
        let show = |(topic, expression): &Key, was: Status, what: &str| {
            let from = expression.from.as_deref().unwrap_or("-");
            format!("{topic}, {from}: {}: listed as {was:?}, {what}", expression.text)
        };
        let mut lines = vec![];
        for entry in found.pending.iter().chain(&found.wrong).chain(&found.differs) {
            let listed = self.status(&entry.topic, &entry.expression);
            if listed != entry.status {
                lines.push(show(&key(entry), listed, &format!("{} {:?}: {}", entry.path, entry.status, entry.what)));
            }
        }
        let gone = self.by_expression.iter().filter(|(key, _)| !found.by_expression.contains_key(key));
        lines.extend(gone.map(|(key, was)| show(key, *was, "but is equal or not tested")));
        lines
    }
}

fn key(entry: &Entry) -> Key {
    (entry.topic.clone(), entry.expression.clone())
}

fn read(name: &str, status: Status) -> Result<Vec<Entry>, HarnessError> {
    let path = directory().join(name);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(e) => return Err(HarnessError(format!("{}: {e}", path.display()))),
    };
    let mut entries = vec![];
    for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with("# ")) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [topic, from, text, path, what] = fields[..] else {
            return Err(HarnessError(format!("{name}: not five fields: {line}")));
        };
        let from = (from != "-").then(|| from.to_string());
        let expression = Expression { from, text: text.into() };
        entries.push(Entry { topic: topic.into(), expression, path: path.into(), status, what: what.into() });
    }
    Ok(entries)
}

fn write(name: &str, head: &str, entries: &[Entry]) -> Result<(), HarnessError> {
    let mut text = format!("{head}\n# Topic, table, expression, where, and what comes.\n");
    for entry in entries {
        let from = entry.expression.from.as_deref().unwrap_or("-");
        let fields = [&entry.topic, from, &entry.expression.text, &entry.path, &entry.what];
        text.push_str(&fields.join("\t"));
        text.push('\n');
    }
    std::fs::write(directory().join(name), text).map_err(|e| HarnessError(format!("{name}: {e}")))
}
