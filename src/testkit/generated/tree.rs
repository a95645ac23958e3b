//! Statements as trees: what the generator makes and the shrinker takes apart.
//!
//! A tree knows its text and which of its parts may be left out or stand for each other, nothing of SQL's meaning: a smaller
//! tree that makes no sense is refused by PostgreSQL, which is how the shrinker learns of it.

use super::types::Ty;
use std::fmt::{Display, Formatter, Result};

/// What a node is, so that one may be put in another's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A computed value.
    Value(Ty),
    /// A reference to a column.
    Column(Ty),
    /// A literal.
    Constant(Ty),
    /// A query without its parentheses.
    Query,
    /// Something that FROM reads.
    From,
    /// Nothing that another node could replace.
    Other,
}

impl Kind {
    /// The type of a value, however it is computed.
    pub fn ty(self) -> Option<Ty> {
        match self {
            Kind::Value(ty) | Kind::Column(ty) | Kind::Constant(ty) => Some(ty),
            Kind::Query | Kind::From | Kind::Other => None,
        }
    }

    fn replaces(self, other: Kind) -> bool {
        match (self.ty(), other.ty()) {
            (Some(a), Some(b)) => a == b,
            (None, None) => self == other && self != Kind::Other,
            _ => false,
        }
    }
}

/// A statement or a part of one.
#[derive(Clone, Debug)]
pub enum Tree {
    /// Words as they are.
    Text(String),
    /// Parts, one after the other.
    Node {
        /// What it is.
        kind: Kind,
        /// Its parts.
        parts: Vec<Tree>,
    },
    /// Parts that may be left out; nothing at all is written where there are none.
    List {
        /// Written before the first.
        before: &'static str,
        /// Written between two.
        between: &'static str,
        /// How many have to stay.
        least: usize,
        /// The parts.
        items: Vec<Tree>,
    },
}

/// Words.
pub fn text(words: impl Into<String>) -> Tree {
    Tree::Text(words.into())
}

/// A node whose text is `template` with each `{}` replaced by the next part.
pub fn node(kind: Kind, template: &str, parts: Vec<Tree>) -> Tree {
    let mut all = vec![];
    let mut parts = parts.into_iter();
    for (at, words) in template.split("{}").enumerate() {
        if at > 0 {
            all.extend(parts.next());
        }
        if !words.is_empty() {
            all.push(text(words));
        }
    }
    debug_assert!(parts.next().is_none(), "{template}");
    Tree::Node { kind, parts: all }
}

/// Parts with `between` between them, of which at least `least` have to stay.
pub fn list(before: &'static str, between: &'static str, least: usize, items: Vec<Tree>) -> Tree {
    Tree::List { before, between, least, items }
}

impl Display for Tree {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Tree::Text(words) => f.write_str(words),
            Tree::Node { parts, .. } => parts.iter().try_for_each(|part| part.fmt(f)),
            Tree::List { before, between, items, .. } => {
                for (at, item) in items.iter().enumerate() {
                    f.write_str(if at == 0 { before } else { between })?;
                    item.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}

/// A way to make a tree smaller.
#[derive(Clone, Debug)]
pub struct Edit {
    path: Vec<usize>,
    change: Change,
}

#[derive(Clone, Debug)]
enum Change {
    /// Leaves out `count` parts of a list.
    Remove { from: usize, count: usize },
    /// Puts another tree there.
    Replace(Tree),
}

/// Descendants that are tried in a node's place.
const DESCENDANTS_MAX: usize = 8;

impl Tree {
    /// How much there is of it: every step of shrinking makes this less.
    pub fn weight(&self) -> usize {
        match self {
            Tree::Text(_) => 1,
            Tree::Node { kind: Kind::Constant(_), .. } => 1,
            Tree::Node { kind: Kind::Column(_), .. } => 2,
            Tree::Node { parts, .. } => 2 + parts.iter().map(Tree::weight).sum::<usize>(),
            Tree::List { items, .. } => 1 + items.iter().map(|item| 1 + item.weight()).sum::<usize>(),
        }
    }

    /// Every edit that makes it lighter, those that take away the most first.
    pub fn edits(&self) -> Vec<Edit> {
        let mut found = vec![];
        self.collect(&mut vec![], &mut found);
        found.sort_by_key(|(saved, _)| std::cmp::Reverse(*saved));
        found.into_iter().map(|(_, edit)| edit).collect()
    }

    fn collect(&self, path: &mut Vec<usize>, out: &mut Vec<(usize, Edit)>) {
        match self {
            Tree::Text(_) => {}
            Tree::Node { kind, parts } => {
                let weight = self.weight();
                for with in self.replacements(*kind) {
                    let saved = weight.saturating_sub(with.weight());
                    if saved > 0 {
                        out.push((saved, Edit { path: path.clone(), change: Change::Replace(with) }));
                    }
                }
                descend(parts, path, out);
            }
            Tree::List { least, items, .. } => {
                let weigh = |from: usize, count: usize| {
                    items[from..from + count].iter().map(|item| 1 + item.weight()).sum::<usize>()
                };
                let spare = items.len().saturating_sub(*least);
                let mut count = spare;
                while count > 0 {
                    for from in (0..=items.len() - count).step_by(count) {
                        let change = Change::Remove { from, count };
                        out.push((weigh(from, count), Edit { path: path.clone(), change }));
                    }
                    count /= 2;
                }
                descend(items, path, out);
            }
        }
    }

    fn replacements(&self, kind: Kind) -> Vec<Tree> {
        let mut all = vec![];
        if let Some(ty) = kind.ty() {
            all.extend(ty.simplest().iter().map(|words| Tree::constant(ty, words)));
        }
        if kind != Kind::Other {
            let Tree::Node { parts, .. } = self else { return all };
            let mut below: Vec<&Tree> = vec![];
            parts.iter().for_each(|part| part.alike(kind, &mut below));
            all.extend(below.into_iter().take(DESCENDANTS_MAX).cloned());
        }
        all
    }

    fn alike<'a>(&'a self, kind: Kind, out: &mut Vec<&'a Tree>) {
        match self {
            Tree::Text(_) => {}
            Tree::Node { kind: own, parts } => {
                if own.replaces(kind) {
                    out.push(self);
                }
                parts.iter().for_each(|part| part.alike(kind, out));
            }
            Tree::List { items, .. } => items.iter().for_each(|item| item.alike(kind, out)),
        }
    }

    /// A literal.
    pub fn constant(ty: Ty, words: &str) -> Tree {
        Tree::Node { kind: Kind::Constant(ty), parts: vec![text(words)] }
    }

    /// The tree with one edit made.
    pub fn edited(&self, edit: &Edit) -> Tree {
        let mut all = self.clone();
        let mut at = &mut all;
        for step in &edit.path {
            at = match at {
                Tree::Node { parts, .. } => &mut parts[*step],
                Tree::List { items, .. } => &mut items[*step],
                Tree::Text(_) => break,
            };
        }
        match (&edit.change, at) {
            (Change::Replace(with), at) => *at = with.clone(),
            (Change::Remove { from, count }, Tree::List { items, .. }) => drop(items.drain(*from..from + count)),
            (Change::Remove { .. }, _) => {}
        }
        all
    }
}

fn descend(parts: &[Tree], path: &mut Vec<usize>, out: &mut Vec<(usize, Edit)>) {
    for (at, part) in parts.iter().enumerate() {
        path.push(at);
        part.collect(path, out);
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: Tree, b: Tree) -> Tree {
        node(Kind::Value(Ty::Int), "({} + {})", vec![a, b])
    }

    #[test]
    fn every_edit_makes_it_lighter_and_keeps_what_must_stay() {
        let value = sum(Tree::constant(Ty::Int, "7"), sum(Tree::constant(Ty::Int, "8"), Tree::constant(Ty::Int, "9")));
        let items = list("SELECT ", ", ", 1, vec![value.clone(), value]);
        let whole = node(Kind::Query, "{}{}", vec![items, list(" WHERE ", " AND ", 0, vec![text("true")])]);
        assert_eq!(whole.to_string(), "SELECT (7 + (8 + 9)), (7 + (8 + 9)) WHERE true");
        let texts: Vec<String> = whole
            .edits()
            .iter()
            .map(|edit| {
                let smaller = whole.edited(edit);
                assert!(smaller.weight() < whole.weight(), "{smaller}");
                smaller.to_string()
            })
            .collect();
        for wanted in ["SELECT (7 + (8 + 9)) WHERE true", "SELECT (7 + (8 + 9)), (8 + 9) WHERE true"] {
            assert!(texts.iter().any(|t| t == wanted), "{wanted}: {texts:#?}");
        }
        assert!(texts.iter().all(|t| t.starts_with("SELECT ")));
    }
}
