//! Tables, what is in them, and the batches of changes that follow.

use super::tree::{Kind, Tree, list, node, text};
use super::types::{COLUMNS, Ty};
use crate::Random;

/// Rows that the first batch puts into a table, at most.
const ROWS_MAX: u64 = 7;
/// Batches of changes after the first.
const BATCHES: u64 = 4;

/// A table: `id int` and some of [`COLUMNS`].
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Columns with their types, `id` first.
    pub columns: Vec<(&'static str, Ty)>,
    /// True where `id` is its primary key.
    pub keyed: bool,
    next_id: u64,
}

/// A statement that changes one table.
#[derive(Clone, Debug)]
pub struct Change {
    /// The table's name.
    pub table: String,
    /// The statement.
    pub sql: Tree,
}

/// Changes that are made before the next comparison.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The statements in their order.
    pub changes: Vec<Change>,
    /// True where they are one transaction block.
    pub block: bool,
}

impl Table {
    /// One with random columns.
    pub fn draw(random: &mut Random, name: String) -> Table {
        let mut columns = vec![("id", Ty::Int), ("i", Ty::Int)];
        let some = 2 + random.below(4);
        while (columns.len() as u64) < 2 + some {
            let column = COLUMNS[random.below(COLUMNS.len() as u64) as usize];
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        Table { name, columns, keyed: random.chance(50), next_id: 1 }
    }

    /// `CREATE TABLE`.
    pub fn create(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|(name, ty)| format!("{name} {}", ty.name())).collect();
        let key = if self.keyed { ", PRIMARY KEY (id)" } else { "" };
        format!("CREATE TABLE {} ({}{key})", self.name, columns.join(", "))
    }

    fn row(&mut self, random: &mut Random) -> Tree {
        let again = self.next_id > 2 && random.chance(if self.keyed { 3 } else { 25 });
        let id = if again { 1 + random.below(self.next_id - 1) } else { self.next_id };
        self.next_id = self.next_id.max(id + 1);
        let mut values = vec![id.to_string()];
        values.extend(self.columns[1..].iter().map(|(_, ty)| ty.plain(random)));
        text(format!("({})", values.join(", ")))
    }

    fn insert(&mut self, random: &mut Random, rows: u64) -> Change {
        let mut all: Vec<Tree> = (0..rows).map(|_| self.row(random)).collect();
        if !self.keyed && random.chance(50) {
            // Whole rows that are there twice.
            all.push(all[0].clone());
        }
        let sql = node(Kind::Other, &format!("INSERT INTO {} VALUES {{}}", self.name), vec![list("", ", ", 1, all)]);
        Change { table: self.name.clone(), sql }
    }

    fn condition(&self, random: &mut Random) -> String {
        let (name, ty) = self.columns[random.below(self.columns.len() as u64) as usize];
        match random.below(5) {
            0 | 1 => format!("id % 3 = {}", random.below(3)),
            2 => format!("{name} IS NULL"),
            _ if name == "id" || !ty.is_ordered() => format!("id = {}", 1 + random.below(self.next_id)),
            _ => format!("{name} = {}", ty.plain(random)),
        }
    }

    fn change(&mut self, random: &mut Random) -> Change {
        let words = match random.below(10) {
            0..=3 => {
                let rows = 1 + random.below(3);
                return self.insert(random, rows);
            }
            4..=6 => {
                let (name, ty) = self.columns[1 + random.below(self.columns.len() as u64 - 1) as usize];
                let value = ty.plain(random);
                format!("UPDATE {} SET {name} = {value} WHERE {}", self.name, self.condition(random))
            }
            7 => format!("UPDATE {} SET i = i + 1", self.name),
            _ => format!("DELETE FROM {} WHERE {}", self.name, self.condition(random)),
        };
        Change { table: self.name.clone(), sql: text(words) }
    }

    /// Takes everything out.
    pub fn clear(&self) -> Change {
        Change { table: self.name.clone(), sql: text(format!("DELETE FROM {}", self.name)) }
    }
}

/// Some tables.
pub fn draw_tables(random: &mut Random) -> Vec<Table> {
    (1..=2 + random.below(2)).map(|n| Table::draw(random, format!("t{n}"))).collect()
}

/// The batches that fill, change and, in the end, empty them.
pub fn draw_batches(random: &mut Random, tables: &mut [Table]) -> Vec<Batch> {
    let mut first = Batch { changes: vec![], block: random.chance(30) };
    for table in tables.iter_mut() {
        if random.chance(92) {
            let rows = 1 + random.below(ROWS_MAX);
            first.changes.push(table.insert(random, rows));
        }
    }
    let mut batches = vec![first];
    for _ in 0..BATCHES {
        let changes = (0..1 + random.below(4)).map(|_| {
            let at = random.below(tables.len() as u64) as usize;
            tables[at].change(random)
        });
        let changes = changes.collect();
        batches.push(Batch { changes, block: random.chance(40) });
    }
    batches.push(Batch { changes: tables.iter().map(Table::clear).collect(), block: random.chance(30) });
    batches
}
