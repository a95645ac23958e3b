//! The parser of advanced regular expressions (chapter 9.7.3 of PostgreSQL's manual).

use super::set::CharSet;
use super::syntax::{Assert, Node, Prefer};
use super::{Flags, invalid};
use crate::ctype;
use hw_repr::SqlError;

/// Most repetitions a bound may ask for.
const BOUND_MAX: u32 = 255;
/// How deep parentheses may nest.
const DEPTH_MAX: usize = 200;

const BAD_ESCAPE: &str = "invalid escape \\ sequence";
const BAD_OPERAND: &str = "quantifier operand invalid";
const BRACKETS: &str = "brackets [] not balanced";
const BRACES: &str = "braces {} not balanced";
const PARENS: &str = "parentheses () not balanced";
const BAD_RANGE: &str = "invalid character range";
const BAD_OPTION: &str = "invalid embedded option";

/// The tree of a pattern and how many groups capture.
pub(super) fn parse(pattern: &str, flags: Flags) -> Result<(Node, usize), SqlError> {
    let mut parser = Parser { rest: pattern, flags, groups: 0, closed: vec![], depth: 0, in_look: false };
    parser.director()?;
    if parser.flags.literal {
        let ignore_case = parser.flags.ignore_case;
        let items = parser.rest.chars().map(|c| Node::Set(CharSet::one(c, ignore_case))).collect();
        return Ok((Node::Concat(items), 0));
    }
    let node = parser.branches()?;
    match parser.rest.is_empty() {
        true => Ok((node, parser.groups)),
        false => Err(invalid(PARENS)),
    }
}

struct Parser<'a> {
    rest: &'a str,
    flags: Flags,
    groups: usize,
    /// The groups whose closing parenthesis has been seen.
    closed: Vec<usize>,
    depth: usize,
    in_look: bool,
}

/// What an escape stands for.
enum Escape {
    Char(char),
    Class(&'static str, bool),
    Assert(Assert),
    Back(usize),
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn eat(&mut self, lead: &str) -> bool {
        match self.rest.strip_prefix(lead) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// `***:`, `***=` and `(?options)` at the start.
    fn director(&mut self) -> Result<(), SqlError> {
        if self.flags.literal {
            return Ok(());
        }
        if self.eat("***=") {
            self.flags.literal = true;
            return Ok(());
        }
        if !self.eat("***:") && self.rest.starts_with("***") {
            return Err(invalid(BAD_OPERAND));
        }
        if !self.rest.starts_with("(?") || !self.rest[2..].starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Ok(());
        }
        self.rest = &self.rest[2..];
        loop {
            match self.next() {
                Some(')') => return Ok(()),
                Some(c) if c.is_ascii_alphabetic() => {
                    if !self.flags.set(c)? {
                        return Err(invalid(BAD_OPTION));
                    }
                }
                _ => return Err(invalid(BAD_OPTION)),
            }
        }
    }

    /// Comments, and blanks where the expanded syntax is on.
    fn skip(&mut self) -> Result<(), SqlError> {
        loop {
            if self.flags.expanded {
                self.rest = self.rest.trim_start_matches(ctype::is_space);
                if self.rest.starts_with('#') {
                    let end = self.rest.find('\n').unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                    continue;
                }
            }
            if !self.rest.starts_with("(?#") {
                return Ok(());
            }
            let end = self.rest.find(')').map_or(self.rest.len(), |at| at + 1);
            self.rest = &self.rest[end..];
        }
    }

    fn branches(&mut self) -> Result<Node, SqlError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(invalid("regular expression is too complex"));
        }
        let mut all = vec![self.branch()?];
        while self.eat("|") {
            all.push(self.branch()?);
        }
        self.depth -= 1;
        Ok(if all.len() == 1 { all.remove(0) } else { Node::Alt(all) })
    }

    fn branch(&mut self) -> Result<Node, SqlError> {
        let mut items = vec![];
        loop {
            self.skip()?;
            match self.peek() {
                None | Some('|') => break,
                Some(')') if self.depth > 1 => break,
                _ => {}
            }
            let atom = self.atom()?;
            if matches!(atom, Node::Assert(_) | Node::Look { .. }) {
                items.push(atom);
                continue;
            }
            self.skip()?;
            items.push(self.quantified(atom)?);
        }
        Ok(match items.len() {
            0 => Node::Empty,
            1 => items.remove(0),
            _ => Node::Concat(items),
        })
    }

    fn quantified(&mut self, atom: Node) -> Result<Node, SqlError> {
        let (min, max) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') if self.rest[1..].starts_with(|c: char| c.is_ascii_digit()) => return self.bounded(atom),
            _ => return Ok(atom),
        };
        self.next();
        let prefer = Some(if self.eat("?") { Prefer::Short } else { Prefer::Long });
        Ok(Node::Repeat { node: Box::new(atom), min, max, prefer })
    }

    fn bounded(&mut self, atom: Node) -> Result<Node, SqlError> {
        self.next();
        let min = self.count()?;
        let mut exact = true;
        let mut max = Some(min);
        if self.eat(",") {
            exact = false;
            max = if self.peek().is_some_and(|c| c.is_ascii_digit()) { Some(self.count()?) } else { None };
            if max.is_some_and(|max| min > max) {
                return Err(invalid("invalid repetition count(s)"));
            }
        }
        if !self.eat("}") {
            return Err(invalid(BRACES));
        }
        let short = self.eat("?");
        // An exact count leaves the preference to what is counted.
        let prefer = match (exact, short) {
            (true, _) => None,
            (false, true) => Some(Prefer::Short),
            (false, false) => Some(Prefer::Long),
        };
        if max == Some(0) {
            return Ok(Node::Empty);
        }
        Ok(Node::Repeat { node: Box::new(atom), min, max, prefer })
    }

    fn count(&mut self) -> Result<u32, SqlError> {
        let mut n = 0;
        while let Some(d) = self.peek().and_then(|c| c.to_digit(10)) {
            n = n * 10 + d;
            if n > BOUND_MAX {
                return Err(invalid("invalid repetition count(s)"));
            }
            self.next();
        }
        Ok(n)
    }

    fn atom(&mut self) -> Result<Node, SqlError> {
        let Some(c) = self.next() else { return Ok(Node::Empty) };
        Ok(match c {
            '(' => self.group()?,
            ')' => return Err(invalid(PARENS)),
            '*' | '+' | '?' => return Err(invalid(BAD_OPERAND)),
            '{' if self.peek().is_some_and(|c| c.is_ascii_digit()) => return Err(invalid(BAD_OPERAND)),
            '.' => {
                let newline = CharSet::one('\n', false);
                Node::Set(if self.flags.newline_stops { newline.complement() } else { CharSet::all() })
            }
            '^' => Node::Assert(if self.flags.newline_anchors { Assert::LineStart } else { Assert::TextStart }),
            '$' => Node::Assert(if self.flags.newline_anchors { Assert::LineEnd } else { Assert::TextEnd }),
            '[' if self.eat("[:<:]]") => Node::Assert(Assert::WordStart),
            '[' if self.eat("[:>:]]") => Node::Assert(Assert::WordEnd),
            '[' => Node::Set(self.bracket()?),
            '\\' => match self.escape()? {
                Escape::Char(c) => Node::Set(CharSet::one(c, self.flags.ignore_case)),
                Escape::Class(name, negate) => {
                    let set = self.class(name)?;
                    Node::Set(if negate { set.complement() } else { set })
                }
                Escape::Assert(a) => Node::Assert(a),
                Escape::Back(n) if self.closed.contains(&n) && !self.in_look => Node::Back(n),
                Escape::Back(_) => return Err(invalid("invalid backreference number")),
            },
            c => Node::Set(CharSet::one(c, self.flags.ignore_case)),
        })
    }

    fn close(&mut self) -> Result<(), SqlError> {
        if self.eat(")") { Ok(()) } else { Err(invalid(PARENS)) }
    }

    /// Behind an opening parenthesis.
    fn group(&mut self) -> Result<Node, SqlError> {
        for (lead, ahead, negate) in
            [("?=", true, false), ("?!", true, true), ("?<=", false, false), ("?<!", false, true)]
        {
            if self.eat(lead) {
                let outer = std::mem::replace(&mut self.in_look, true);
                let node = self.branches()?;
                self.in_look = outer;
                self.close()?;
                return Ok(Node::Look { ahead, negate, node: Box::new(node) });
            }
        }
        if self.eat("?:") || (self.in_look && !self.rest.starts_with('?')) {
            let node = self.branches()?;
            self.close()?;
            // Kept apart from what is around it: a group is one atom.
            return Ok(Node::Concat(vec![node]));
        }
        if self.rest.starts_with('?') {
            return Err(invalid(BAD_OPERAND));
        }
        self.groups += 1;
        let index = self.groups;
        let node = self.branches()?;
        self.close()?;
        self.closed.push(index);
        Ok(Node::Group(index, Box::new(node)))
    }

    fn class(&self, name: &str) -> Result<CharSet, SqlError> {
        let name = if self.flags.ignore_case && matches!(name, "lower" | "upper") { "alpha" } else { name };
        let ranges = ctype::class(name).ok_or_else(|| invalid("invalid character class"))?;
        Ok(CharSet::new(ranges.iter().map(|(a, b)| (*a as u32, *b as u32)).collect()))
    }

    /// Behind an opening bracket.
    fn bracket(&mut self) -> Result<CharSet, SqlError> {
        let negate = self.eat("^");
        let mut ranges = vec![];
        let mut first = true;
        loop {
            match self.peek() {
                None => return Err(invalid(BRACKETS)),
                Some(']') if !first => break,
                Some('-') if !first && !self.rest.starts_with("-]") => return Err(invalid(BAD_RANGE)),
                _ => self.bracket_part(&mut ranges)?,
            }
            first = false;
        }
        self.next();
        let mut set = CharSet::new(ranges);
        if negate {
            if self.flags.newline_stops {
                let mut with: Vec<(u32, u32)> = set.ranges().to_vec();
                with.push(('\n' as u32, '\n' as u32));
                set = CharSet::new(with);
            }
            set = set.complement();
        }
        Ok(set)
    }

    fn bracket_part(&mut self, ranges: &mut Vec<(u32, u32)>) -> Result<(), SqlError> {
        let Some(low) = self.bracket_element(ranges)? else { return Ok(()) };
        let mut high = low;
        if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
            self.next();
            high = match self.peek() {
                None => return Err(invalid(BRACKETS)),
                Some(_) => self.bracket_element(&mut vec![])?.ok_or_else(|| invalid(BAD_RANGE))?,
            };
            if low > high {
                return Err(invalid(BAD_RANGE));
            }
        }
        ranges.push((low as u32, high as u32));
        if self.flags.ignore_case {
            let (low, high) = (low as u32, high as u32);
            for (from, to, shift) in [(65, 90, 32), (97, 122, -32i64)] {
                let (from, to) = (low.max(from), high.min(to));
                if from <= to {
                    let moved = |code: u32| (i64::from(code) + shift) as u32;
                    ranges.push((moved(from), moved(to)));
                }
            }
        }
        Ok(())
    }

    /// A character, or `None` after a class, whose members are added to `ranges`.
    fn bracket_element(&mut self, ranges: &mut Vec<(u32, u32)>) -> Result<Option<char>, SqlError> {
        match self.next() {
            None => Err(invalid(BRACKETS)),
            Some('[') if self.rest.starts_with([':', '.', '=']) => {
                let kind = self.next().unwrap_or(':');
                let end = self.rest.find(&format!("{kind}]")[..]).ok_or_else(|| invalid(BRACKETS))?;
                let name = &self.rest[..end];
                self.rest = &self.rest[end + 2..];
                if kind == ':' {
                    ranges.extend_from_slice(self.class(name)?.ranges());
                    return Ok(None);
                }
                let mut chars = name.chars();
                match (chars.next(), chars.next()) {
                    (Some(c), None) => Ok(Some(c)),
                    _ => Err(invalid("invalid collating element")),
                }
            }
            Some('\\') => match self.escape()? {
                Escape::Char(c) => Ok(Some(c)),
                Escape::Class(name, negate) => {
                    let set = self.class(name)?;
                    ranges.extend_from_slice(if negate { set.complement() } else { set }.ranges());
                    Ok(None)
                }
                _ => Err(invalid(BAD_ESCAPE)),
            },
            Some(c) => Ok(Some(c)),
        }
    }

    /// Behind a backslash.
    fn escape(&mut self) -> Result<Escape, SqlError> {
        let bad = || invalid(BAD_ESCAPE);
        let c = self.next().ok_or_else(bad)?;
        Ok(match c {
            'a' => Escape::Char('\x07'),
            'A' => Escape::Assert(Assert::TextStart),
            'b' => Escape::Char('\x08'),
            'B' => Escape::Char('\\'),
            'c' => {
                let c = self.next().ok_or_else(bad)?;
                Escape::Char(char::from_u32(c as u32 & 31).ok_or_else(bad)?)
            }
            'd' => Escape::Class("digit", false),
            'D' => Escape::Class("digit", true),
            'e' => Escape::Char('\x1b'),
            'f' => Escape::Char('\x0c'),
            'm' => Escape::Assert(Assert::WordStart),
            'M' => Escape::Assert(Assert::WordEnd),
            'n' => Escape::Char('\n'),
            'r' => Escape::Char('\r'),
            's' => Escape::Class("space", false),
            'S' => Escape::Class("space", true),
            't' => Escape::Char('\t'),
            'u' => Escape::Char(self.code(16, 4, 4)?),
            'U' => Escape::Char(self.code(16, 8, 8)?),
            'v' => Escape::Char('\x0b'),
            'w' => Escape::Class("word", false),
            'W' => Escape::Class("word", true),
            'x' => Escape::Char(self.code(16, 1, 255)?),
            'y' => Escape::Assert(Assert::WordEdge),
            'Y' => Escape::Assert(Assert::NoWordEdge),
            'Z' => Escape::Assert(Assert::TextEnd),
            '0'..='9' => self.number(c)?,
            c if c.is_ascii_alphabetic() => return Err(bad()),
            c => Escape::Char(c),
        })
    }

    /// A back reference, or an octal code: one digit that is not zero is the former, and more digits are where there
    /// are that many groups.
    fn number(&mut self, first: char) -> Result<Escape, SqlError> {
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let value = format!("{first}{}", &self.rest[..digits]).parse::<usize>().unwrap_or(usize::MAX);
        if first != '0' && (digits == 0 || value <= self.groups) {
            self.rest = &self.rest[digits..];
            return Ok(Escape::Back(value));
        }
        let mut code = first.to_digit(8).ok_or_else(|| invalid(BAD_ESCAPE))?;
        for _ in 0..2 {
            let Some(d) = self.peek().and_then(|c| c.to_digit(8)).filter(|d| code * 8 + d <= 0xff) else { break };
            code = code * 8 + d;
            self.next();
        }
        Ok(Escape::Char(char::from_u32(code).ok_or_else(|| invalid(BAD_ESCAPE))?))
    }

    fn code(&mut self, radix: u32, least: usize, most: usize) -> Result<char, SqlError> {
        let mut code = 0u32;
        let mut taken = 0;
        while taken < most
            && let Some(d) = self.peek().and_then(|c| c.to_digit(radix))
        {
            code = code.checked_mul(radix).and_then(|c| c.checked_add(d)).ok_or_else(|| invalid(BAD_ESCAPE))?;
            taken += 1;
            self.next();
        }
        let c = char::from_u32(code).filter(|_| taken >= least);
        c.ok_or_else(|| invalid(BAD_ESCAPE))
    }
}
