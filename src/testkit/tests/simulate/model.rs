//! What the database must hold: tables and views in plain maps, each view computed anew from the rows.

use hw_testkit::Random;
use std::collections::{BTreeMap, BTreeSet};

/// Rows as text, counted.
pub type Bag = BTreeMap<Vec<String>, i64>;
/// k, g, v.
pub type Row = (i64, i64, i64);

/// Values of `g`.
const GROUPS: u64 = 4;
/// Names of tables, and of views: few, so that they are used again.
pub const TABLES: u64 = 3;
pub const VIEWS: u64 = 5;

/// A table (k, g, v).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    keyed: bool,
    rows: BTreeMap<Row, i64>,
}

/// What a view computes, of which relations.
#[derive(Clone, Debug, PartialEq)]
pub enum View {
    Groups(String),
    Distinct(String),
    Filtered(String),
    Joined(String, String),
    Both(String, String),
    Over(String),
    Tops(String, String),
}

/// Everything that is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    pub tables: BTreeMap<String, Table>,
    pub views: BTreeMap<String, View>,
}

/// A statement that changes something.
#[derive(Clone, Debug)]
pub enum Statement {
    Insert { table: String, rows: Vec<Row> },
    Update { table: String, group: i64, add: i64 },
    Delete { table: String, group: i64, below: i64 },
    CreateTable { name: String, keyed: bool },
    DropTable { name: String },
    CreateView { name: String, view: View },
    DropView { name: String },
}

impl View {
    pub fn reads(&self) -> Vec<&str> {
        match self {
            View::Groups(a) | View::Distinct(a) | View::Filtered(a) | View::Over(a) => vec![a],
            View::Joined(a, b) | View::Both(a, b) | View::Tops(a, b) => vec![a, b],
        }
    }

    fn sql(&self) -> String {
        match self {
            View::Groups(t) => {
                format!("SELECT g, count(*) AS n, sum(v) AS s, min(v) AS lo, max(v) AS hi FROM {t} GROUP BY g")
            }
            View::Distinct(t) => format!("SELECT DISTINCT v % 3 AS d FROM {t}"),
            View::Filtered(t) => format!("SELECT k, v + 1 AS w FROM {t} WHERE v % 2 = 0"),
            View::Joined(a, b) => format!("SELECT a.k, a.v, b.v AS w FROM {a} a JOIN {b} b ON a.k = b.k"),
            View::Both(a, b) => format!("SELECT k, g FROM {a} UNION ALL SELECT v, g FROM {b}"),
            View::Over(v) => format!("SELECT count(*) AS groups, sum(n) AS n FROM {v}"),
            View::Tops(t, v) => format!("SELECT a.k, m.hi FROM {t} a JOIN {v} m ON a.g = m.g AND a.v = m.hi"),
        }
    }
}

impl Statement {
    pub fn sql(&self) -> String {
        match self {
            Statement::Insert { table, rows } => {
                let rows: Vec<String> = rows.iter().map(|(k, g, v)| format!("({k}, {g}, {v})")).collect();
                format!("INSERT INTO {table} VALUES {}", rows.join(", "))
            }
            Statement::Update { table, group, add } => format!("UPDATE {table} SET v = v + {add} WHERE g = {group}"),
            Statement::Delete { table, group, below } => {
                format!("DELETE FROM {table} WHERE g = {group} AND v < {below}")
            }
            Statement::CreateTable { name, keyed } => {
                let key = if *keyed { ", PRIMARY KEY (k)" } else { "" };
                format!("CREATE TABLE {name} (k bigint, g bigint, v bigint{key})")
            }
            Statement::DropTable { name } => format!("DROP TABLE {name}"),
            Statement::CreateView { name, view } => format!("CREATE MATERIALIZED VIEW {name} AS {}", view.sql()),
            Statement::DropView { name } => format!("DROP MATERIALIZED VIEW {name}"),
        }
    }

    /// What it makes of the model.
    pub fn apply(&self, model: &mut Model) {
        match self {
            Statement::Insert { table, rows } => {
                if let Some(table) = model.tables.get_mut(table) {
                    rows.iter().for_each(|row| *table.rows.entry(*row).or_default() += 1);
                }
            }
            Statement::Update { table, group, add } => {
                if let Some(table) = model.tables.get_mut(table) {
                    let mut rows = BTreeMap::new();
                    for ((k, g, v), n) in std::mem::take(&mut table.rows) {
                        *rows.entry((k, g, if g == *group { v + add } else { v })).or_default() += n;
                    }
                    table.rows = rows;
                }
            }
            Statement::Delete { table, group, below } => {
                if let Some(table) = model.tables.get_mut(table) {
                    table.rows.retain(|(_, g, v), _| !(g == group && v < below));
                }
            }
            Statement::CreateTable { name, keyed } => {
                model.tables.insert(name.clone(), Table { keyed: *keyed, rows: BTreeMap::new() });
            }
            Statement::DropTable { name } => drop(model.tables.remove(name)),
            Statement::CreateView { name, view } => drop(model.views.insert(name.clone(), view.clone())),
            Statement::DropView { name } => drop(model.views.remove(name)),
        }
    }
}

fn count(bag: &mut Bag, row: Vec<String>, n: i64) {
    *bag.entry(row).or_default() += n;
}

impl Model {
    /// The rows of a relation; `None` where it is not there.
    pub fn contents(&self, name: &str) -> Option<Bag> {
        if let Some(table) = self.tables.get(name) {
            let text = |((k, g, v), n): (&Row, &i64)| (vec![k.to_string(), g.to_string(), v.to_string()], *n);
            return Some(table.rows.iter().map(text).collect());
        }
        Some(self.compute(self.views.get(name)?))
    }

    fn rows(&self, table: &str) -> impl Iterator<Item = (Row, i64)> {
        self.tables.get(table).into_iter().flat_map(|t| t.rows.iter().map(|(row, n)| (*row, *n)))
    }

    /// g -> rows, sum, least, greatest.
    fn groups(&self, table: &str) -> BTreeMap<i64, (i64, i64, i64, i64)> {
        let mut groups = BTreeMap::new();
        for ((_, g, v), n) in self.rows(table) {
            let group = groups.entry(g).or_insert((0, 0, i64::MAX, i64::MIN));
            *group = (group.0 + n, group.1 + v * n, group.2.min(v), group.3.max(v));
        }
        groups
    }

    fn groups_of(&self, view: &str) -> BTreeMap<i64, (i64, i64, i64, i64)> {
        match self.views.get(view) {
            Some(View::Groups(table)) => self.groups(table),
            _ => BTreeMap::new(),
        }
    }

    fn compute(&self, view: &View) -> Bag {
        let mut out = Bag::new();
        match view {
            View::Groups(t) => {
                for (g, (n, s, lo, hi)) in self.groups(t) {
                    count(&mut out, [g, n, s, lo, hi].iter().map(i64::to_string).collect(), 1);
                }
            }
            View::Distinct(t) => {
                let values: BTreeSet<i64> = self.rows(t).map(|((_, _, v), _)| v % 3).collect();
                values.iter().for_each(|v| count(&mut out, vec![v.to_string()], 1));
            }
            View::Filtered(t) => {
                for ((k, _, v), n) in self.rows(t).filter(|((_, _, v), _)| v % 2 == 0) {
                    count(&mut out, vec![k.to_string(), (v + 1).to_string()], n);
                }
            }
            View::Joined(a, b) => {
                for ((k, _, v), n) in self.rows(a) {
                    for ((_, _, w), m) in self.rows(b).filter(|((j, ..), _)| *j == k) {
                        count(&mut out, [k, v, w].iter().map(i64::to_string).collect(), n * m);
                    }
                }
            }
            View::Both(a, b) => {
                self.rows(a).for_each(|((k, g, _), n)| count(&mut out, vec![k.to_string(), g.to_string()], n));
                self.rows(b).for_each(|((_, g, v), n)| count(&mut out, vec![v.to_string(), g.to_string()], n));
            }
            View::Over(v) => {
                let groups = self.groups_of(v);
                let rows: i64 = groups.values().map(|g| g.0).sum();
                let sum = if groups.is_empty() { "NULL".into() } else { rows.to_string() };
                count(&mut out, vec![groups.len().to_string(), sum], 1);
            }
            View::Tops(t, v) => {
                let groups = self.groups_of(v);
                for ((k, g, v), n) in self.rows(t) {
                    if groups.get(&g).is_some_and(|group| group.3 == v) {
                        count(&mut out, vec![k.to_string(), v.to_string()], n);
                    }
                }
            }
        }
        out
    }

    fn is_read(&self, name: &str) -> bool {
        self.views.values().any(|v| v.reads().contains(&name))
    }

    /// A statement that changes rows of one of the tables but those.
    pub fn write(&self, random: &mut Random, next_key: &mut i64, but: &BTreeSet<String>) -> Option<Statement> {
        let names: Vec<&str> = self.tables.keys().filter(|t| !but.contains(*t)).map(String::as_str).collect();
        if names.is_empty() {
            return None;
        }
        let table = random.pick(&names).to_owned();
        let group = random.below(GROUPS) as i64;
        Some(match random.below(10) {
            0..=5 => {
                let many = if random.chance(5) { 400 } else { 8 };
                let rows = 1 + random.below(many) as i64;
                let keyed = self.tables.get(&table).is_some_and(|t| t.keyed);
                let from = if keyed { *next_key } else { random.below(*next_key as u64 + 1) as i64 };
                *next_key += if keyed { rows } else { 0 };
                let row = |k| (k, random.below(GROUPS) as i64, random.below(50) as i64);
                Statement::Insert { table, rows: (from..from + rows).map(row).collect() }
            }
            6..=7 => Statement::Update { table, group, add: 1 + random.below(5) as i64 },
            _ => Statement::Delete { table, group, below: random.below(60) as i64 },
        })
    }

    /// A statement that creates or drops something.
    pub fn define(&self, random: &mut Random) -> Option<Statement> {
        let table = format!("t{}", random.below(TABLES));
        let view = format!("v{}", random.below(VIEWS));
        if !self.tables.contains_key(&table) && (self.tables.is_empty() || random.chance(30)) {
            return Some(Statement::CreateTable { name: table, keyed: random.chance(60) });
        }
        if self.tables.contains_key(&table) && !self.is_read(&table) && random.chance(15) {
            return Some(Statement::DropTable { name: table });
        }
        if self.views.contains_key(&view) {
            return (!self.is_read(&view)).then_some(Statement::DropView { name: view });
        }
        let names: Vec<&str> = self.tables.keys().map(String::as_str).collect();
        if names.is_empty() {
            return None;
        }
        let (a, b) = (random.pick(&names).to_owned(), random.pick(&names).to_owned());
        let groups = self.views.iter().find(|(_, v)| matches!(v, View::Groups(_)));
        let kind = match (random.below(9), groups) {
            (0..=1, _) => View::Groups(a),
            (2, _) => View::Distinct(a),
            (3, _) => View::Filtered(a),
            (4, _) => View::Joined(a, b),
            (5, _) => View::Both(a, b),
            (6, Some((over, _))) => View::Over(over.clone()),
            (7.., Some((over, View::Groups(of)))) => View::Tops(of.clone(), over.clone()),
            _ => View::Groups(a),
        };
        Some(Statement::CreateView { name: view, view: kind })
    }
}
