//! The state of drawing one query, and its result.

use super::tables::Table;
use super::tree::{Kind, Tree, text};
use super::types::{self, Ty};
use crate::Random;

/// Relations and subqueries that one query has, at most about.
const RELATIONS_MAX: u64 = 7;

/// Whether evaluating may fail for some row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fails {
    /// Nothing in it does.
    Never,
    /// Something may, and which rows it meets depends on the order of evaluation.
    Perhaps,
    /// Something may, for the rows of the result and no others: it fails everywhere or nowhere.
    Surely,
}

/// A drawn query.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// The query.
    pub query: Tree,
    /// True where the order of its rows is determined.
    pub ordered: bool,
    /// Whether it may fail.
    pub fails: Fails,
}

/// A value that may be used at some place.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub tree: Tree,
    pub ty: Ty,
    /// True for a column with its relation's name, which subqueries may use as well.
    pub simple: bool,
}

impl Entry {
    pub fn column(relation: &str, name: &str, ty: Ty) -> Entry {
        let tree = Tree::Node { kind: Kind::Column(ty), parts: vec![text(format!("{relation}.{name}"))] };
        Entry { tree, ty, simple: true }
    }
}

/// What an expression may use: values of its own query, and those of the queries around it.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub own: Vec<Entry>,
    pub outer: Vec<Entry>,
}

impl Scope {
    /// What a subquery sees from outside.
    pub fn around(&self) -> Vec<Entry> {
        self.own.iter().chain(&self.outer).filter(|e| e.simple).cloned().collect()
    }

    /// The same without what is outside.
    pub fn alone(&self) -> Scope {
        Scope { own: self.own.clone(), outer: vec![] }
    }
}

/// A relation that FROM may name.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    pub name: String,
    pub columns: Vec<(String, Ty)>,
}

/// Draws one query.
pub(super) struct Draw<'a> {
    pub random: &'a mut Random,
    pub relations: Vec<Relation>,
    aliases: u32,
    pub budget: i64,
    /// True where something that may fail can be drawn.
    pub risky: bool,
    pub failing: bool,
    /// True while the select list is drawn that alone may fail.
    pub certain: bool,
}

impl Draw<'_> {
    pub fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("a{}", self.aliases)
    }

    /// One of these; `None` where there are none.
    pub fn one<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let at = self.random.below(of.len() as u64) as usize;
        of.get(at).cloned()
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.random.chance(percent)
    }

    /// True where a subquery may be drawn; counts it.
    pub fn spend(&mut self, percent: u64) -> bool {
        let spent = self.budget > 0 && self.chance(percent);
        self.budget -= i64::from(spent);
        spent
    }

    /// Draws without anything that may fail.
    pub fn safely<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.risky, false);
        let drawn = draw(self);
        self.risky = before;
        drawn
    }
}

/// Draws a query over these tables.
pub fn draw(random: &mut Random, tables: &[Table]) -> Drawn {
    let relations = tables.iter().map(|table| Relation {
        name: table.name.clone(),
        columns: table.columns.iter().map(|(name, ty)| (name.to_string(), *ty)).collect(),
    });
    let relations = relations.collect();
    let budget = 1 + random.below(RELATIONS_MAX) as i64;
    let mode = match random.below(10) {
        0 => Fails::Surely,
        1 => Fails::Perhaps,
        _ => Fails::Never,
    };
    let types: Vec<Ty> = (0..1 + random.below(4)).map(|_| types::any(random)).collect();
    let mut draw =
        Draw { random, relations, aliases: 0, budget, risky: mode == Fails::Perhaps, failing: false, certain: false };
    let (query, ordered) = draw.whole(&types, mode == Fails::Surely);
    let fails = if draw.failing { mode } else { Fails::Never };
    Drawn { query, ordered, fails }
}
