//! Where a match begins and ends, and what its groups capture.
//!
//! PostgreSQL's rules: the match that begins first; of those the longest, or the shortest where the expression
//! prefers that. Then each part, from the left, takes as much or as little as it prefers so that the rest can still
//! match; the first of several branches that fits; a repeated group captures its last repetition.

use super::nfa::{Nfa, Place};
use super::syntax::{Node, Prefer};
use hw_repr::SqlError;

/// Steps of a search with back references, which may have to try very many divisions.
const STEPS_MAX: u64 = 20_000_000;

/// Begin and end of the match and of each group, in characters.
pub(super) type Spans = Vec<Option<(usize, usize)>>;

/// A part that captures or refers back, taken apart; any other is plain.
struct Part {
    nfa: Nfa,
    prefer: Option<Prefer>,
    kind: Kind,
}

enum Kind {
    Plain,
    Group(usize, Box<Part>),
    Back { group: usize, min: u32, max: Option<u32> },
    Concat(Box<Part>, Box<Part>),
    Alt(Vec<Part>),
    Repeat { child: Box<Part>, rest: Nfa, min: u32, max: Option<u32> },
}

/// An expression that can be searched for.
pub(super) struct Finder {
    part: Part,
    groups: usize,
    has_back: bool,
}

struct Planner<'a> {
    root: &'a Node,
}

impl Planner<'_> {
    fn part(&self, node: &Node, kind: Kind) -> Result<Part, SqlError> {
        Ok(Part { nfa: Nfa::new(node, self.root)?, prefer: node.prefer(), kind })
    }

    fn plan(&self, node: &Node) -> Result<Part, SqlError> {
        let kind = match node {
            node if !node.has_group() && !node.has_back() => Kind::Plain,
            Node::Group(index, inner) => Kind::Group(*index, Box::new(self.plan(inner)?)),
            Node::Back(group) => Kind::Back { group: *group, min: 1, max: Some(1) },
            Node::Concat(items) => return self.plan_branch(items),
            Node::Alt(items) => Kind::Alt(items.iter().map(|n| self.plan(n)).collect::<Result<_, _>>()?),
            Node::Repeat { node: child, min, max, prefer } => {
                return self.plan_repeat(node, child, *min, *max, *prefer);
            }
            _ => Kind::Plain,
        };
        self.part(node, kind)
    }

    /// Plain items stay together as far as they prefer alike.
    fn plan_branch(&self, items: &[Node]) -> Result<Part, SqlError> {
        let mut run = 0;
        let mut prefer = None;
        for item in items {
            let own = item.prefer();
            let differs = prefer.is_some() && own.is_some() && own != prefer;
            if item.has_group() || item.has_back() || item.is_mixed() || differs {
                break;
            }
            prefer = prefer.or(own);
            run += 1;
        }
        let take = run.max(1);
        let (head, tail) = items.split_at(take.min(items.len()));
        let first = match head {
            [one] => self.plan(one)?,
            several => self.part(&Node::Concat(several.to_vec()), Kind::Plain)?,
        };
        if tail.is_empty() {
            return Ok(first);
        }
        let rest = self.plan_branch(tail)?;
        self.part(&Node::Concat(items.to_vec()), Kind::Concat(Box::new(first), Box::new(rest)))
    }

    fn plan_repeat(
        &self,
        node: &Node,
        child: &Node,
        min: u32,
        max: Option<u32>,
        prefer: Option<Prefer>,
    ) -> Result<Part, SqlError> {
        if let Node::Back(group) = child {
            return self.part(node, Kind::Back { group: *group, min, max });
        }
        let own = child.prefer();
        if (min, max) == (1, Some(1)) && (prefer.is_none() || (own.is_none() || own == prefer) && !child.is_mixed()) {
            return self.plan(child);
        }
        if min > 0 && !child.has_back() {
            // Only the last repetition's captures count: what is before it is plain.
            let before = Node::Repeat { node: Box::new(child.clone()), min: min - 1, max: max.map(|m| m - 1), prefer };
            let first = self.part(&before, Kind::Plain)?;
            let last = self.plan(child)?;
            let part = self.part(node, Kind::Concat(Box::new(first), Box::new(last)))?;
            return Ok(part);
        }
        let star = Node::Repeat { node: Box::new(child.clone()), min: 0, max: None, prefer };
        let rest = Nfa::new(&star, self.root)?;
        self.part(node, Kind::Repeat { child: Box::new(self.plan(child)?), rest, min, max })
    }
}

impl Finder {
    pub fn new(root: &Node, groups: usize) -> Result<Finder, SqlError> {
        let part = Planner { root }.plan(root)?;
        Ok(Finder { part, groups, has_back: root.has_back() })
    }

    /// The first match that begins at or behind `from`.
    pub fn find(&self, text: &[char], from: usize) -> Result<Option<Spans>, SqlError> {
        let mut search = Search { place: Place::new(text), spans: vec![None; self.groups + 1] };
        if self.has_back {
            search.place.limit(STEPS_MAX);
        }
        for begin in from..=text.len() {
            if let Some(end) = self.end(&mut search, begin)? {
                search.spans[0] = Some((begin, end));
                return Ok(Some(search.spans));
            }
        }
        Ok(None)
    }

    fn end(&self, search: &mut Search, begin: usize) -> Result<Option<usize>, SqlError> {
        let ends = search.ends(&self.part, begin, search.place.text.len())?;
        for end in ends {
            search.clear();
            if search.divide(&self.part, begin, end)? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }
}

struct Search<'a> {
    place: Place<'a>,
    spans: Spans,
}

impl Search<'_> {
    fn clear(&mut self) {
        self.spans.fill(None);
    }

    /// The ends that a part can have, the preferred first.
    fn ends(&mut self, part: &Part, from: usize, to: usize) -> Result<Vec<usize>, SqlError> {
        let mut ends = vec![];
        self.place.ends(&part.nfa, from, to, |end| {
            ends.push(end);
            true
        })?;
        if part.prefer != Some(Prefer::Short) {
            ends.reverse();
        }
        Ok(ends)
    }

    /// Finds what the groups of a part capture when it matches `from..to`, which its automaton does.
    fn divide(&mut self, part: &Part, from: usize, to: usize) -> Result<bool, SqlError> {
        match &part.kind {
            Kind::Plain => Ok(true),
            Kind::Group(index, inner) => {
                let found = self.divide(inner, from, to)?;
                if found {
                    self.spans[*index] = Some((from, to));
                }
                Ok(found)
            }
            Kind::Back { group, min, max } => Ok(self.repeats(*group, *min, *max, from, to)),
            Kind::Concat(left, right) => {
                for middle in self.ends(left, from, to)? {
                    let before = self.spans.clone();
                    if self.place.is_exact(&right.nfa, middle, to)?
                        && self.divide(left, from, middle)?
                        && self.divide(right, middle, to)?
                    {
                        return Ok(true);
                    }
                    self.spans = before;
                }
                Ok(false)
            }
            Kind::Alt(branches) => {
                for branch in branches {
                    let before = self.spans.clone();
                    if self.place.is_exact(&branch.nfa, from, to)? && self.divide(branch, from, to)? {
                        return Ok(true);
                    }
                    self.spans = before;
                }
                Ok(false)
            }
            Kind::Repeat { child, min: 0, .. } if from == to && child.prefer == Some(Prefer::Short) => Ok(true),
            Kind::Repeat { child, rest, min, max } => {
                let least = (*min as usize).max(1);
                let most = max.map_or(usize::MAX, |m| m as usize).min((to - from).max(least));
                let found = self.iterate((child, rest), (least, most), &mut vec![from], to)?;
                // Nothing is matched once, with captures, before not at all, unless the shortest is preferred.
                Ok(found || *min == 0 && from == to)
            }
        }
    }

    /// Whether `from..to` is what the group captured, so many times.
    fn repeats(&self, group: usize, min: u32, max: Option<u32>, from: usize, to: usize) -> bool {
        let Some((begin, end)) = self.spans[group] else { return false };
        let (unit, text) = (&self.place.text[begin..end], &self.place.text[from..to]);
        if text.is_empty() {
            return min == 0 || unit.is_empty();
        }
        if unit.is_empty() || text.len() % unit.len() != 0 {
            return false;
        }
        let times = text.len() / unit.len();
        times >= min as usize
            && max.is_none_or(|max| times <= max as usize)
            && text.chunks(unit.len()).all(|chunk| chunk == unit)
    }

    /// Divides `places.last()..to` into repetitions behind those that end at `places`; an empty one only where the
    /// least number needs it.
    fn iterate(
        &mut self,
        (child, rest): (&Part, &Nfa),
        (min, max): (usize, usize),
        places: &mut Vec<usize>,
        to: usize,
    ) -> Result<bool, SqlError> {
        let count = places.len();
        let Some(&from) = places.last() else { return Ok(false) };
        if count > max {
            return Ok(false);
        }
        for end in self.ends(child, from, to)? {
            let needed = count < min && min - count >= to - end;
            if end < to && end == from && !needed {
                continue;
            }
            if end < to && !self.place.is_exact(rest, end, to)? {
                continue;
            }
            places.push(end);
            let found = match end == to && count >= min {
                true => self.verify(child, places)?,
                false => self.iterate((child, rest), (min, max), places, to)?,
            };
            if found {
                return Ok(true);
            }
            places.pop();
        }
        Ok(false)
    }

    fn verify(&mut self, child: &Part, places: &[usize]) -> Result<bool, SqlError> {
        let before = self.spans.clone();
        for pair in places.windows(2) {
            self.forget(child);
            if !self.divide(child, pair[0], pair[1])? {
                self.spans = before;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The groups within a part have captured nothing.
    fn forget(&mut self, part: &Part) {
        match &part.kind {
            Kind::Group(index, inner) => {
                self.spans[*index] = None;
                self.forget(inner);
            }
            Kind::Concat(a, b) => {
                self.forget(a);
                self.forget(b);
            }
            Kind::Alt(all) => all.iter().for_each(|p| self.forget(p)),
            Kind::Repeat { child, .. } => self.forget(child),
            Kind::Plain | Kind::Back { .. } => {}
        }
    }
}
