//! What the `regex` crate, which is much faster, can answer: whether an expression without lookaround and back
//! references matches, and, where there is one way to match only, also where.

use super::set::CharSet;
use super::syntax::{Assert, Node, Prefer};
use regex::{Regex, RegexBuilder};
use std::fmt::Write;

/// Bytes that a compiled expression may take.
const BYTES_MAX: usize = 4 << 20;

/// The same expression for the `regex` crate, where it has one.
pub(super) fn translate(node: &Node) -> Option<Regex> {
    let mut out = String::new();
    write_node(node, &mut out)?;
    RegexBuilder::new(&out).size_limit(BYTES_MAX).nest_limit(1_000).build().ok()
}

fn write_node(node: &Node, out: &mut String) -> Option<()> {
    match node {
        Node::Empty => {}
        Node::Set(set) => match set.ranges() {
            // A literal, so that the crate can search for it as one.
            [(a, b)] if a == b => write!(out, "\\x{{{a:x}}}").ok()?,
            // The crate knows no class without members.
            [] => return None,
            _ => set.write_class(out),
        },
        Node::Assert(a) => out.push_str(match a {
            Assert::TextStart => "\\A",
            Assert::TextEnd => "\\z",
            Assert::LineStart => "(?m:^)",
            Assert::LineEnd => "(?m:$)",
            Assert::WordStart => "(?-u:\\b{start})",
            Assert::WordEnd => "(?-u:\\b{end})",
            Assert::WordEdge => "(?-u:\\b)",
            Assert::NoWordEdge => return None,
        }),
        Node::Look { .. } | Node::Back(_) => return None,
        Node::Concat(items) => {
            out.push_str("(?:");
            items.iter().try_for_each(|n| write_node(n, out))?;
            out.push(')');
        }
        Node::Alt(items) => {
            out.push_str("(?:");
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push('|');
                }
                write_node(item, out)?;
            }
            out.push(')');
        }
        Node::Repeat { node, min, max, prefer } => {
            out.push_str("(?:");
            write_node(node, out)?;
            match max {
                Some(max) => write!(out, "){{{min},{max}}}").ok()?,
                None => write!(out, "){{{min},}}").ok()?,
            }
            if *prefer == Some(Prefer::Short) {
                out.push('?');
            }
        }
        Node::Group(_, node) => {
            out.push('(');
            write_node(node, out)?;
            out.push(')');
        }
    }
    Some(())
}

/// Whether each character of a text tells where in the expression it belongs, so that the first match by order of
/// preference is the longest and its groups are those of PostgreSQL's rules.
pub(super) fn is_deterministic(node: &Node) -> bool {
    let mut items = vec![];
    if !flatten(node, &mut items) {
        return false;
    }
    for (i, item) in items.iter().enumerate() {
        let Node::Repeat { node, prefer, min, max } = item else { continue };
        let Node::Set(set) = node.as_ref() else { return false };
        let exact = *max == Some(*min);
        if *prefer == Some(Prefer::Short) || !exact && !ends_apart(set, &items[i + 1..]) {
            return false;
        }
    }
    true
}

/// The items of a branch, groups opened; false where there is more than characters and repeated characters.
fn flatten<'a>(node: &'a Node, out: &mut Vec<&'a Node>) -> bool {
    match node {
        Node::Concat(items) => items.iter().all(|n| flatten(n, out)),
        Node::Group(_, node) => flatten(node, out),
        Node::Empty => true,
        Node::Set(_) | Node::Assert(_) | Node::Repeat { .. } => {
            out.push(node);
            true
        }
        _ => false,
    }
}

/// Whether what follows a repeated character can only begin with others.
fn ends_apart(set: &CharSet, rest: &[&Node]) -> bool {
    for item in rest {
        let (next, optional) = match item {
            Node::Set(next) => (next, false),
            Node::Repeat { node, min, .. } => match node.as_ref() {
                Node::Set(next) => (next, *min == 0),
                _ => return false,
            },
            _ => continue,
        };
        if !set.is_disjoint(next) {
            return false;
        }
        if !optional {
            return true;
        }
    }
    true
}
