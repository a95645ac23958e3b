//! The syntax tree of an advanced regular expression, and what PostgreSQL derives from it: which length of match a
//! part prefers, and whether that preference is mixed.

use super::set::CharSet;

/// The length of match that is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefer {
    Long,
    Short,
}

/// A condition on a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assert {
    /// `^`, `\A`
    TextStart,
    /// `$`, `\Z`
    TextEnd,
    /// `^` where newlines end lines
    LineStart,
    /// `$` where newlines end lines
    LineEnd,
    /// `\m`
    WordStart,
    /// `\M`
    WordEnd,
    /// `\y`
    WordEdge,
    /// `\Y`
    NoWordEdge,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Empty,
    Set(CharSet),
    Assert(Assert),
    Look {
        ahead: bool,
        negate: bool,
        node: Box<Node>,
    },
    Concat(Vec<Node>),
    Alt(Vec<Node>),
    Repeat {
        node: Box<Node>,
        min: u32,
        max: Option<u32>,
        prefer: Option<Prefer>,
    },
    /// A capturing group.
    Group(usize, Box<Node>),
    Back(usize),
}

impl Node {
    /// The preference of a part is that of its first quantifier; several branches prefer the longest.
    pub fn prefer(&self) -> Option<Prefer> {
        match self {
            Node::Concat(items) => items.iter().find_map(Node::prefer),
            Node::Alt(_) => Some(Prefer::Long),
            Node::Repeat { node, prefer, .. } => prefer.or_else(|| node.prefer()),
            Node::Group(_, node) => node.prefer(),
            Node::Empty | Node::Set(_) | Node::Assert(_) | Node::Look { .. } | Node::Back(_) => None,
        }
    }

    /// Whether parts of it prefer differently.
    pub fn is_mixed(&self) -> bool {
        match self {
            Node::Concat(items) => items.iter().any(Node::is_mixed) || differ(items.iter().filter_map(Node::prefer)),
            Node::Alt(items) => items.iter().any(|n| n.is_mixed() || n.prefer() == Some(Prefer::Short)),
            Node::Repeat { node, prefer, .. } => {
                node.is_mixed() || differ([*prefer, node.prefer()].into_iter().flatten())
            }
            Node::Group(_, node) => node.is_mixed(),
            _ => false,
        }
    }

    pub fn has_group(&self) -> bool {
        matches!(self, Node::Group(..)) || self.children().iter().any(Node::has_group)
    }

    pub fn has_back(&self) -> bool {
        matches!(self, Node::Back(_)) || self.children().iter().any(Node::has_back)
    }

    pub fn children(&self) -> &[Node] {
        match self {
            Node::Concat(items) | Node::Alt(items) => items,
            Node::Repeat { node, .. } | Node::Group(_, node) | Node::Look { node, .. } => std::slice::from_ref(node),
            Node::Empty | Node::Set(_) | Node::Assert(_) | Node::Back(_) => &[],
        }
    }

    /// The same without conditions on places, which what refers back to it need not meet.
    pub fn without_conditions(&self) -> Node {
        let all = |items: &[Node]| items.iter().map(Node::without_conditions).collect();
        match self {
            Node::Assert(_) | Node::Look { .. } => Node::Empty,
            Node::Concat(items) => Node::Concat(all(items)),
            Node::Alt(items) => Node::Alt(all(items)),
            Node::Repeat { node, min, max, prefer } => {
                Node::Repeat { node: Box::new(node.without_conditions()), min: *min, max: *max, prefer: *prefer }
            }
            Node::Group(index, node) => Node::Group(*index, Box::new(node.without_conditions())),
            other => other.clone(),
        }
    }

    /// The group of that number.
    pub fn group(&self, wanted: usize) -> Option<&Node> {
        match self {
            Node::Group(index, node) if *index == wanted => Some(node),
            _ => self.children().iter().find_map(|n| n.group(wanted)),
        }
    }
}

fn differ(mut all: impl Iterator<Item = Prefer>) -> bool {
    let first = all.next();
    all.any(|p| Some(p) != first)
}
