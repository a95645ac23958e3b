//! A relation followed through SUBSCRIBE: its contents at every tick, and a check of what the stream promises.

use crate::Server;
use crate::rows::{Bag, Refusal, Row, rows};
use futures::StreamExt;
use std::collections::BTreeMap;
use std::pin::Pin;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryStream};

/// The contents of `name` at an earlier time, as SUBSCRIBE gives them.
pub async fn contents_at(client: &Client, name: &str, time: u64) -> Result<Bag, Refusal> {
    let mut out = Bag::new();
    for row in rows(client, &format!("SUBSCRIBE {name} AS OF {time} UP TO {}", time + 1)).await? {
        let diff = row.get(1).and_then(|d| d.as_deref()).and_then(|d| d.parse::<i64>().ok()).unwrap_or(0);
        *out.entry(row[2..].to_vec()).or_default() += diff;
    }
    Ok(out)
}

/// A running `SUBSCRIBE ... WITH (PROGRESS)`.
pub struct Follower {
    name: String,
    _client: Client,
    stream: Pin<Box<SimpleQueryStream>>,
    contents: Bag,
    /// Changes of times that are not complete yet.
    pending: BTreeMap<u64, Bag>,
    upper: u64,
    /// Time of the first row, or the first time that was complete.
    first: Option<u64>,
    /// Contents after each tick that changed something, where they are recorded.
    transcript: Option<BTreeMap<u64, Bag>>,
    /// Every change with its time, where they are recorded.
    changes: Option<Vec<(u64, Row)>>,
}

/// How a subscription is ended, or what it does not keep to.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FollowError {
    /// The server ended it.
    #[error("{0}")]
    Ended(Refusal),
    /// The stream breaks a promise of SUBSCRIBE.
    #[error("{0}")]
    Broken(String),
}

impl From<tokio_postgres::Error> for FollowError {
    fn from(e: tokio_postgres::Error) -> Self {
        FollowError::Ended(e.into())
    }
}

impl Follower {
    /// Follows `name` from now on, snapshot included.
    pub async fn start(server: &Server, name: &str) -> Result<Follower, FollowError> {
        let client = server.connect().await?;
        let sql = format!("SUBSCRIBE {name} WITH (PROGRESS)");
        let stream = Box::pin(client.simple_query_raw(&sql).await?);
        Ok(Follower {
            name: name.to_string(),
            _client: client,
            stream,
            contents: Bag::new(),
            pending: BTreeMap::new(),
            upper: 0,
            first: None,
            transcript: None,
            changes: None,
        })
    }

    /// Keeps the contents after each tick from here on.
    pub fn record(&mut self) {
        self.transcript = Some(BTreeMap::new());
    }

    /// The time of the snapshot, once it is complete.
    pub fn first_time(&self) -> Option<u64> {
        self.first
    }

    /// Keeps every inserted row with its tick from here on.
    pub fn record_changes(&mut self) {
        self.changes = Some(vec![]);
    }

    /// The rows inserted since [`Follower::record_changes`].
    pub fn changes(&self) -> &[(u64, Row)] {
        self.changes.as_deref().unwrap_or_default()
    }

    /// What was recorded: contents at each tick that changed something, up to [`Follower::upper`].
    pub fn transcript(&self) -> impl Iterator<Item = (u64, &Bag)> {
        self.transcript.iter().flatten().map(|(t, bag)| (*t, bag))
    }

    /// All times below are complete.
    pub fn upper(&self) -> u64 {
        self.upper
    }

    /// The name of the relation.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The contents at the time before [`Follower::upper`].
    pub fn contents(&self) -> &Bag {
        &self.contents
    }

    /// Reads until `time` is complete.
    pub async fn until(&mut self, time: u64) -> Result<(), FollowError> {
        while self.upper <= time {
            self.step().await?;
        }
        Ok(())
    }

    /// Reads until a row for which `wanted` is true is there; its tick's time.
    pub async fn until_row(&mut self, wanted: impl Fn(&Row) -> bool) -> Result<u64, FollowError> {
        loop {
            let found = self.pending.iter().find(|(_, rows)| rows.keys().any(&wanted)).map(|(t, _)| *t);
            self.step().await?;
            if let Some(time) = found {
                return Ok(time);
            }
        }
    }

    /// Reads one row of the stream.
    pub async fn step(&mut self) -> Result<(), FollowError> {
        match self.stream.next().await {
            Some(Ok(SimpleQueryMessage::Row(row))) => {
                let values: Row = (0..row.len()).map(|i| row.get(i).map(str::to_string)).collect();
                self.take(values)
            }
            Some(Ok(_)) => Ok(()),
            Some(Err(e)) => Err(e.into()),
            None => Err(self.broken("it ended without an error")),
        }
    }

    fn broken(&self, what: &str) -> FollowError {
        FollowError::Broken(format!("SUBSCRIBE {}: {what} (complete below {})", self.name, self.upper))
    }

    fn take(&mut self, row: Row) -> Result<(), FollowError> {
        let field = |i: usize| row.get(i).and_then(|v| v.as_deref());
        let time: u64 =
            field(0).and_then(|t| t.parse().ok()).ok_or_else(|| self.broken("a row without hw_timestamp"))?;
        if time < self.upper {
            return Err(self.broken(&format!("a row at {time} after that time was complete")));
        }
        if self.pending.last_key_value().is_some_and(|(last, _)| *last > time) {
            return Err(self.broken(&format!("a row at {time} after one of a later time")));
        }
        match field(1) {
            Some("t") => self.complete(time),
            Some("f") => {
                let diff: i64 =
                    field(2).and_then(|d| d.parse().ok()).ok_or_else(|| self.broken("a change without hw_diff"))?;
                if diff == 0 {
                    return Err(self.broken("a change of 0 rows"));
                }
                let at = self.pending.entry(time).or_default();
                if at.insert(row[3..].to_vec(), diff).is_some() {
                    return Err(self.broken(&format!("two changes of the same row at {time}: {:?}", &row[3..])));
                }
                Ok(())
            }
            _ => Err(self.broken("hw_progressed is neither true nor false")),
        }
    }

    fn complete(&mut self, upper: u64) -> Result<(), FollowError> {
        self.first.get_or_insert_with(|| self.pending.keys().next().copied().unwrap_or(upper - 1));
        let later = self.pending.split_off(&upper);
        for (time, changes) in std::mem::replace(&mut self.pending, later) {
            for (row, diff) in changes {
                if let Some(all) = &mut self.changes {
                    all.extend((0..diff).map(|_| (time, row.clone())));
                }
                let count = self.contents.get(&row).copied().unwrap_or(0) + diff;
                if count < 0 {
                    return Err(self.broken(&format!("a row is there {count} times at {time}: {row:?}")));
                }
                if count == 0 {
                    self.contents.remove(&row);
                } else {
                    self.contents.insert(row, count);
                }
            }
            if let Some(transcript) = &mut self.transcript {
                transcript.insert(time, self.contents.clone());
            }
        }
        self.upper = upper;
        Ok(())
    }
}
