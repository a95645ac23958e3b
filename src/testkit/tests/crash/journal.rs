//! What clients write, and what each knows of it: the state after its last acknowledged statement, and that after the one
//! it had sent.

use hw_testkit::Random;
use hw_testkit::rows::{Refusal, rows, run};
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// Bytes of a row of the table that fills the log.
const FILLER_BYTES: usize = 4096;
/// Rows of it that are kept.
const FILLER_ROWS: usize = 200;
/// Names that the definer uses.
const NAMES: u64 = 4;

/// What one client has in the database.
pub type Model = BTreeMap<String, i64>;

/// Who a client is, and so what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Rows of `led`, by client.
    Writer(i64),
    /// Large rows of `pad`.
    Filler,
    /// Creates and drops tables and views.
    Definer,
}

/// See the module.
#[derive(Clone)]
pub struct Journal {
    pub role: Role,
    pub certain: Model,
    pub possible: Option<Model>,
    next: i64,
    pub acknowledged: u64,
}

fn key(n: i64) -> String {
    format!("{n:09}")
}

fn number(key: &str) -> i64 {
    key.parse().unwrap_or(0)
}

impl Journal {
    pub fn new(role: Role) -> Journal {
        Journal { role, certain: Model::new(), possible: None, next: 0, acknowledged: 0 }
    }

    /// The next statement and what it makes of the model.
    fn statement(&mut self, random: &mut Random) -> (String, Model) {
        match self.role {
            Role::Writer(me) => self.change_rows(me, random),
            Role::Filler => self.fill(random),
            Role::Definer => self.define(random),
        }
    }

    fn some_key(&self, random: &mut Random) -> i64 {
        let at = random.below(self.certain.len() as u64) as usize;
        self.certain.keys().nth(at).map_or(0, |k| number(k))
    }

    fn change_rows(&mut self, me: i64, random: &mut Random) -> (String, Model) {
        let mut model = self.certain.clone();
        match random.below(10) {
            0..=5 => {
                let from = self.next;
                self.next += 1 + random.below(5) as i64;
                let new = (from..self.next).map(|n| (key(n), n * 10));
                model.extend(new);
                let values: Vec<String> = (from..self.next).map(|n| format!("({me}, {n}, {})", n * 10)).collect();
                (format!("INSERT INTO led VALUES {}", values.join(", ")), model)
            }
            6..=7 => {
                let (from, add) = (self.some_key(random), 1 + random.below(9) as i64);
                model.range_mut(key(from)..).for_each(|(_, v)| *v += add);
                (format!("UPDATE led SET v = v + {add} WHERE client = {me} AND n >= {from}"), model)
            }
            _ => {
                let to = self.some_key(random);
                model.retain(|n, _| number(n) > to);
                (format!("DELETE FROM led WHERE client = {me} AND n <= {to}"), model)
            }
        }
    }

    fn fill(&mut self, random: &mut Random) -> (String, Model) {
        let mut model = self.certain.clone();
        if model.len() > FILLER_ROWS {
            let to = self.some_key(random);
            model.retain(|n, _| number(n) > to);
            return (format!("DELETE FROM pad WHERE n <= {to}"), model);
        }
        let from = self.next;
        self.next += 60;
        let mut filler = || {
            let mut text = String::with_capacity(FILLER_BYTES);
            while text.len() < FILLER_BYTES {
                text.push_str(&format!("{:016x}", random.bits()));
            }
            text
        };
        let values: Vec<String> = (from..self.next).map(|n| format!("({n}, '{}')", filler())).collect();
        model.extend((from..self.next).map(|n| (key(n), FILLER_BYTES as i64)));
        (format!("INSERT INTO pad VALUES {}", values.join(", ")), model)
    }

    fn define(&mut self, random: &mut Random) -> (String, Model) {
        let mut model = self.certain.clone();
        let at = random.below(NAMES);
        let (table, view) = (format!("d{at}"), format!("dv{at}"));
        let sql = match (model.contains_key(&table), model.contains_key(&view)) {
            (false, _) => {
                model.insert(table.clone(), 0);
                format!("CREATE TABLE {table} (k bigint)")
            }
            (true, true) => {
                model.remove(&view);
                format!("DROP MATERIALIZED VIEW {view}")
            }
            (true, false) => match random.below(3) {
                0 => {
                    model.remove(&table);
                    format!("DROP TABLE {table}")
                }
                1 => {
                    let rows = model.get(&table).copied().unwrap_or(0) + 1;
                    model.insert(table.clone(), rows);
                    format!("INSERT INTO {table} VALUES ({rows})")
                }
                _ => {
                    model.insert(view.clone(), 1);
                    format!("CREATE MATERIALIZED VIEW {view} AS SELECT count(*) AS n FROM {table}")
                }
            },
        };
        (sql, model)
    }

    /// What the database has of it.
    async fn read(&self, client: &Client) -> Result<Model, Refusal> {
        let sql = match self.role {
            Role::Writer(me) => format!("SELECT n, v FROM led WHERE client = {me}"),
            Role::Filler => "SELECT n, length(filler) FROM pad".into(),
            Role::Definer => return defined(client).await,
        };
        let got = rows(client, &sql).await?;
        let field = |v: &Option<String>| v.as_deref().and_then(|v| v.parse::<i64>().ok()).expect("a number");
        let there: Model = got.iter().map(|row| (key(field(&row[0])), field(&row[1]))).collect();
        assert_eq!(got.len(), there.len(), "a row of {:?} is there twice", self.role);
        Ok(there)
    }

    /// Every acknowledged statement is there once; the one that was under way wholly or not at all.
    pub async fn check(&mut self, client: &Client) -> Result<(), Refusal> {
        let there = self.read(client).await?;
        assert!(
            there == self.certain || Some(&there) == self.possible.as_ref(),
            "{:?}: lost or half a statement\nthere {there:?}\nacknowledged {:?}\nunder way {:?}",
            self.role,
            self.certain,
            self.possible
        );
        self.possible = None;
        self.certain = there;
        Ok(())
    }
}

async fn defined(client: &Client) -> Result<Model, Refusal> {
    let mut there = Model::new();
    for name in (0..NAMES).flat_map(|i| [format!("d{i}"), format!("dv{i}")]) {
        match rows(client, &format!("SELECT count(*) FROM {name}")).await {
            Ok(got) => drop(there.insert(name, got[0][0].as_deref().and_then(|n| n.parse().ok()).unwrap_or(0))),
            Err(e) if e.code == "42P01" => {}
            Err(e) => return Err(e),
        }
    }
    Ok(there)
}

/// Writes until the connection is lost; gives the journal back.
pub async fn write(client: Client, mut journal: Journal, mut random: Random) -> Journal {
    loop {
        let (sql, after) = journal.statement(&mut random);
        journal.possible = Some(after);
        match run(&client, &sql).await {
            Ok(_) => {
                journal.certain = journal.possible.take().unwrap_or_default();
                journal.acknowledged += 1;
            }
            Err(e) => {
                assert!(!e.answered() || e.code == "57P01", "{}: {e}", &sql[..sql.len().min(200)]);
                return journal;
            }
        }
        if journal.role == Role::Definer {
            tokio::time::sleep(std::time::Duration::from_millis(20 + random.below(100))).await;
        }
    }
}
