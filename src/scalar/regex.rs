//! Regular expressions as PostgreSQL has them ("AREs"), with its choice of match: the first, then the longest or the
//! shortest, as the expression prefers.
//!
//! Owns the syntax ([`parse`]), the automata ([`nfa`]), the search with captures ([`find`]) and, for what it can
//! answer, the way through the `regex` crate ([`quick`]). Classes and case are those of [`crate::ctype`].

mod find;
mod nfa;
mod parse;
mod quick;
mod set;
mod similar;
mod syntax;
#[cfg(test)]
mod tests;

use find::Finder;
use hw_repr::{SqlError, SqlState};
use nfa::{Nfa, Place};
pub(crate) use similar::{ESCAPE, similar};
use std::sync::OnceLock;
use syntax::Node;

/// `2201B`, in PostgreSQL's words.
fn invalid(what: &str) -> SqlError {
    SqlError::new(SqlState::new("2201B"), format!("invalid regular expression: {what}"))
}

fn too_complex() -> SqlError {
    invalid("regular expression is too complex")
}

/// How a pattern is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// `i`
    pub ignore_case: bool,
    /// `x`: blanks and comments do not count.
    pub expanded: bool,
    /// `q`: the pattern is a plain text.
    pub literal: bool,
    /// A newline is not matched by a dot or a complemented bracket.
    pub newline_stops: bool,
    /// A newline ends a line for `^` and `$`.
    pub newline_anchors: bool,
}

impl Flags {
    /// Sets one option; false for an unknown letter.
    pub fn set(&mut self, letter: char) -> Result<bool, SqlError> {
        let newline = |f: &mut Flags, stops, anchors| (f.newline_stops, f.newline_anchors) = (stops, anchors);
        match letter {
            'b' | 'e' => {
                let kind = if letter == 'b' { "basic" } else { "extended" };
                return Err(SqlError::unsupported(format!("{kind} regular expressions are not supported"))
                    .hint("Leave the option out: regular expressions are advanced ones."));
            }
            'c' => self.ignore_case = false,
            'i' => self.ignore_case = true,
            'm' | 'n' => newline(self, true, true),
            'p' => newline(self, true, false),
            's' => newline(self, false, false),
            'w' => newline(self, false, true),
            'q' => self.literal = true,
            't' => self.expanded = false,
            'x' => self.expanded = true,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A compiled expression.
pub(crate) struct Regex {
    root: Node,
    groups: usize,
    quick: Option<regex::Regex>,
    deterministic: bool,
    finder: OnceLock<Result<Finder, SqlError>>,
    anywhere: OnceLock<Result<Nfa, SqlError>>,
}

/// Begin and end of a match and of each group, in bytes.
pub(crate) type Found = Vec<Option<(usize, usize)>>;

/// A text to search, possibly many times.
pub(crate) struct Subject<'a> {
    pub text: &'a str,
    /// Its characters, and where in the text each begins, with the end as the last.
    chars: OnceLock<(Vec<char>, Vec<usize>)>,
}

impl<'a> Subject<'a> {
    pub fn new(text: &'a str) -> Subject<'a> {
        Subject { text, chars: OnceLock::new() }
    }

    fn chars(&self) -> &(Vec<char>, Vec<usize>) {
        self.chars.get_or_init(|| {
            let mut places: Vec<usize> = self.text.char_indices().map(|(at, _)| at).collect();
            places.push(self.text.len());
            (self.text.chars().collect(), places)
        })
    }
}

impl Regex {
    /// Compiles a pattern; `2201B` where it is none.
    pub fn new(pattern: &str, flags: Flags) -> Result<Regex, SqlError> {
        let (root, groups) = parse::parse(pattern, flags)?;
        let quick = quick::translate(&root);
        let deterministic = quick.is_some() && quick::is_deterministic(&root);
        let regex = Regex { root, groups, quick, deterministic, finder: OnceLock::new(), anywhere: OnceLock::new() };
        if regex.quick.is_none() {
            // What is too complex is so before the first row.
            regex.finder()?;
        }
        Ok(regex)
    }

    /// How many groups capture.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Whether searches take a time in proportion to the text's length times the pattern's, so that none is given up.
    pub fn is_bounded(&self) -> bool {
        !self.root.has_back()
    }

    fn finder(&self) -> Result<&Finder, SqlError> {
        self.finder.get_or_init(|| Finder::new(&self.root, self.groups)).as_ref().map_err(Clone::clone)
    }

    /// Whether it matches somewhere.
    pub fn is_match(&self, text: &str) -> Result<bool, SqlError> {
        if let Some(quick) = &self.quick {
            return Ok(quick.is_match(text));
        }
        if self.root.has_back() {
            return Ok(self.find(&Subject::new(text), 0)?.is_some());
        }
        let nfa = self.anywhere.get_or_init(|| Nfa::anywhere(&self.root, &self.root));
        let nfa = nfa.as_ref().map_err(Clone::clone)?;
        let chars: Vec<char> = text.chars().collect();
        Ok(Place::new(&chars).shortest(nfa, 0, chars.len())?.is_some())
    }

    /// The first match that begins at or behind byte `from`, which is where a character begins or the end.
    pub fn find(&self, subject: &Subject, from: usize) -> Result<Option<Found>, SqlError> {
        let mut from = from;
        if let Some(quick) = &self.quick {
            if self.deterministic {
                let found = quick.captures_at(subject.text, from);
                return Ok(found.map(|c| c.iter().map(|m| m.map(|m| (m.start(), m.end()))).collect()));
            }
            // Where a match begins does not depend on which is preferred.
            match quick.find_at(subject.text, from) {
                Some(found) => from = found.start(),
                None => return Ok(None),
            }
        }
        let (chars, places) = subject.chars();
        let start = places.binary_search(&from).unwrap_or_else(|at| at);
        let found = self.finder()?.find(chars, start)?;
        Ok(found.map(|spans| spans.into_iter().map(|s| s.map(|(a, b)| (places[a], places[b]))).collect()))
    }
}
