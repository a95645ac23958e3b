//! Automata without captures: which places a part of the expression can end at. A back reference is taken for the
//! group that it refers to, without captures; [`super::find`] compares the texts.
//!
//! Invariant: a simulation holds every state at most once per place, so its cost is places times states.

use super::set::CharSet;
use super::syntax::{Assert, Node};
use super::{invalid, too_complex};
use crate::ctype;
use hw_repr::SqlError;

/// Most states that an automaton may have.
const STATES_MAX: usize = 200_000;

enum State {
    Set(CharSet, u32),
    Split(u32, u32),
    Jump(u32),
    Assert(Assert, u32),
    Look {
        ahead: bool,
        negate: bool,
        nfa: Box<Nfa>,
        next: u32,
    },
    Accept,
    /// Nothing leads on from here.
    Dead,
}

/// See the module.
pub(super) struct Nfa {
    states: Vec<State>,
    start: u32,
}

/// Buffers of a simulation, to be used again.
#[derive(Default)]
pub(super) struct Scratch {
    now: Vec<u32>,
    next: Vec<u32>,
    seen: Vec<u32>,
    mark: u32,
    stack: Vec<u32>,
}

impl Nfa {
    /// The automaton of `node`; `root` is where back references find their groups.
    pub fn new(node: &Node, root: &Node) -> Result<Nfa, SqlError> {
        let mut nfa = Nfa { states: vec![State::Accept], start: 0 };
        nfa.start = nfa.add(node, root, 0)?;
        Ok(nfa)
    }

    /// As [`Nfa::new`], with any text before it.
    pub fn anywhere(node: &Node, root: &Node) -> Result<Nfa, SqlError> {
        let mut nfa = Nfa::new(node, root)?;
        let inner = nfa.start;
        let any = nfa.push(State::Dead)?;
        nfa.start = nfa.push(State::Split(inner, any))?;
        nfa.states[any as usize] = State::Set(CharSet::all(), nfa.start);
        Ok(nfa)
    }

    fn push(&mut self, state: State) -> Result<u32, SqlError> {
        if self.states.len() >= STATES_MAX {
            return Err(too_complex());
        }
        self.states.push(state);
        Ok(self.states.len() as u32 - 1)
    }

    /// Adds `node` before state `next` and gives its first state.
    fn add(&mut self, node: &Node, root: &Node, next: u32) -> Result<u32, SqlError> {
        match node {
            Node::Empty => Ok(next),
            Node::Set(set) => self.push(State::Set(set.clone(), next)),
            Node::Assert(a) => self.push(State::Assert(*a, next)),
            Node::Look { ahead, negate, node } => {
                let nfa = if *ahead { Nfa::new(node, root)? } else { Nfa::anywhere(node, root)? };
                self.push(State::Look { ahead: *ahead, negate: *negate, nfa: Box::new(nfa), next })
            }
            Node::Concat(items) => items.iter().rev().try_fold(next, |next, item| self.add(item, root, next)),
            Node::Alt(items) => {
                let mut first = None;
                for item in items.iter().rev() {
                    let start = self.add(item, root, next)?;
                    first = Some(match first {
                        None => start,
                        Some(rest) => self.push(State::Split(start, rest))?,
                    });
                }
                first.ok_or_else(|| invalid("out of memory"))
            }
            Node::Repeat { node, min, max, .. } => self.repeat(node, root, *min, *max, next),
            Node::Group(_, node) => self.add(node, root, next),
            Node::Back(index) => match root.group(*index) {
                Some(group) => self.add(&group.without_conditions(), root, next),
                None => self.push(State::Dead),
            },
        }
    }

    fn repeat(&mut self, node: &Node, root: &Node, min: u32, max: Option<u32>, next: u32) -> Result<u32, SqlError> {
        let mut at = next;
        match max {
            None => {
                let split = self.push(State::Dead)?;
                let body = self.add(node, root, split)?;
                self.states[split as usize] = State::Split(body, next);
                at = split;
            }
            Some(max) => {
                for _ in min..max {
                    let body = self.add(node, root, at)?;
                    at = self.push(State::Split(body, next))?;
                }
            }
        }
        for _ in 0..min {
            at = self.add(node, root, at)?;
        }
        if at == next {
            at = self.push(State::Jump(next))?;
        }
        Ok(at)
    }
}

/// A text being searched, and what simulations of it need.
pub(super) struct Place<'a> {
    pub text: &'a [char],
    scratch: Vec<Scratch>,
    /// Simulated steps that are left before the search is given up; only back references can need that many.
    budget: u64,
}

impl<'a> Place<'a> {
    pub fn new(text: &'a [char]) -> Place<'a> {
        Place { text, scratch: vec![], budget: u64::MAX }
    }

    /// Bounds the work that is left.
    pub fn limit(&mut self, steps: u64) {
        self.budget = steps;
    }

    /// Calls `visit` with each place in `from..=to` where a match that begins at `from` can end, ascending, until it
    /// gives false.
    pub fn ends(
        &mut self,
        nfa: &Nfa,
        from: usize,
        to: usize,
        mut visit: impl FnMut(usize) -> bool,
    ) -> Result<(), SqlError> {
        let mut s = self.scratch.pop().unwrap_or_default();
        s.seen.resize(s.seen.len().max(nfa.states.len()), 0);
        s.now.clear();
        self.step(&mut s.mark, &mut s.seen)?;
        let mut accepted = self.close(nfa, nfa.start, from, &mut s)?;
        std::mem::swap(&mut s.now, &mut s.next);
        let mut at = from;
        loop {
            if accepted && !visit(at) || at == to || s.now.is_empty() {
                break;
            }
            let c = self.text[at];
            at += 1;
            self.step(&mut s.mark, &mut s.seen)?;
            accepted = false;
            let now = std::mem::take(&mut s.now);
            for state in &now {
                if let State::Set(set, next) = &nfa.states[*state as usize]
                    && set.contains(c)
                {
                    accepted |= self.close(nfa, *next, at, &mut s)?;
                }
            }
            s.now = now;
            s.now.clear();
            std::mem::swap(&mut s.now, &mut s.next);
        }
        s.next.clear();
        self.scratch.push(s);
        Ok(())
    }

    fn step(&mut self, mark: &mut u32, seen: &mut [u32]) -> Result<(), SqlError> {
        self.budget = self.budget.checked_sub(1).ok_or_else(too_complex)?;
        *mark = mark.wrapping_add(1);
        if *mark == 0 {
            seen.fill(0);
            *mark = 1;
        }
        Ok(())
    }

    /// Adds to `s.next` the states that take a character and are reached from `first` without one; whether the end is.
    fn close(&mut self, nfa: &Nfa, first: u32, at: usize, s: &mut Scratch) -> Result<bool, SqlError> {
        let mut accepted = false;
        s.stack.push(first);
        while let Some(state) = s.stack.pop() {
            let seen = &mut s.seen[state as usize];
            if *seen == s.mark {
                continue;
            }
            *seen = s.mark;
            match &nfa.states[state as usize] {
                State::Set(..) => s.next.push(state),
                State::Split(a, b) => s.stack.extend([*b, *a]),
                State::Jump(next) => s.stack.push(*next),
                State::Assert(a, next) if self.holds(*a, at) => s.stack.push(*next),
                State::Assert(..) | State::Dead => {}
                State::Look { ahead, negate, nfa, next } => {
                    if self.sees(nfa, *ahead, at)? != *negate {
                        s.stack.push(*next);
                    }
                }
                State::Accept => accepted = true,
            }
        }
        Ok(accepted)
    }

    fn sees(&mut self, nfa: &Nfa, ahead: bool, at: usize) -> Result<bool, SqlError> {
        match ahead {
            true => Ok(self.shortest(nfa, at, self.text.len())?.is_some()),
            false => self.is_exact(nfa, 0, at),
        }
    }

    fn holds(&self, assert: Assert, at: usize) -> bool {
        let before = at.checked_sub(1).map(|i| self.text[i]);
        let after = self.text.get(at).copied();
        let (left, right) = (before.is_some_and(ctype::is_word), after.is_some_and(ctype::is_word));
        match assert {
            Assert::TextStart => before.is_none(),
            Assert::TextEnd => after.is_none(),
            Assert::LineStart => before.is_none_or(|c| c == '\n'),
            Assert::LineEnd => after.is_none_or(|c| c == '\n'),
            Assert::WordStart => !left && right,
            Assert::WordEnd => left && !right,
            Assert::WordEdge => left != right,
            Assert::NoWordEdge => left == right,
        }
    }

    pub fn longest(&mut self, nfa: &Nfa, from: usize, to: usize) -> Result<Option<usize>, SqlError> {
        let mut last = None;
        self.ends(nfa, from, to, |end| {
            last = Some(end);
            true
        })?;
        Ok(last)
    }

    pub fn shortest(&mut self, nfa: &Nfa, from: usize, to: usize) -> Result<Option<usize>, SqlError> {
        let mut first = None;
        self.ends(nfa, from, to, |end| {
            first = Some(end);
            false
        })?;
        Ok(first)
    }

    /// Whether exactly `from..to` matches.
    pub fn is_exact(&mut self, nfa: &Nfa, from: usize, to: usize) -> Result<bool, SqlError> {
        Ok(self.longest(nfa, from, to)? == Some(to))
    }
}
