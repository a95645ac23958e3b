//! The path language of SQL/JSON (`jsonpath`): expressions that select parts of a document.
//!
//! Owns its syntax ([`parse`]) and its evaluation ([`run`]). In lax mode, the default, arrays are opened and made
//! where a step needs it, and what is not there selects nothing; in strict mode both are errors.

mod datetime;
mod parse;
mod run;

use super::Doc;
use crate::regex::Regex;
use hw_plan::Func;
use hw_repr::SqlError;
pub(crate) use run::Found;
use std::sync::{Arc, Mutex, PoisonError};

/// The functions and operators that take a path.
pub(crate) const FUNCTIONS: &[Func] = &[
    Func::JsonPathExists,
    Func::JsonPathMatch,
    Func::JsonPathQueryArray,
    Func::JsonPathQueryFirst,
    Func::JsonPathExistsOp,
    Func::JsonPathMatchOp,
];

/// Paths kept per expression.
const CACHED_MAX: usize = 16;

/// A path that has been read.
pub(crate) struct Path {
    lax: bool,
    expr: Node,
}

impl Path {
    /// Reads a path. Errors: 42601, 22P02, 2201B.
    pub fn new(text: &str) -> Result<Path, SqlError> {
        parse::parse(text)
    }

    /// Searches a document; `vars` are the named variables. Errors of the data are kept within what is found: a
    /// `silent` search does not raise them.
    pub fn search<'d>(&self, doc: Doc<'d>, vars: Doc<'d>, silent: bool) -> Result<Found, SqlError> {
        run::search(self, doc, vars, silent)
    }
}

/// The last paths read.
#[derive(Default)]
pub(crate) struct Cache(Mutex<Vec<(String, Arc<Path>)>>);

impl Cache {
    pub fn get(&self, text: &str) -> Result<Arc<Path>, SqlError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, path)) = all.iter().find(|(t, _)| t == text) {
            return Ok(Arc::clone(path));
        }
        let path = Arc::new(Path::new(text)?);
        if all.len() == CACHED_MAX {
            all.remove(0);
        }
        all.push((text.to_string(), Arc::clone(&path)));
        Ok(path)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// An expression: of values, or a condition, which is a value where one is wanted.
enum Node {
    /// `$`
    Root,
    /// `@`
    Current,
    /// `last`
    Last,
    /// `$name`
    Variable(String),
    /// A literal as JSON.
    Literal(String),
    /// A part of what another expression gives.
    Access(Box<Node>, Step),
    /// A sign: true for minus.
    Sign(bool, Box<Node>),
    Arithmetic(Arithmetic, Box<Node>, Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    IsUnknown(Box<Node>),
    Exists(Box<Node>),
    StartsWith(Box<Node>, Box<Node>),
    LikeRegex(Box<Node>, Box<Regex>),
}

impl Node {
    fn is_condition(&self) -> bool {
        matches!(
            self,
            Node::Compare(..)
                | Node::And(..)
                | Node::Or(..)
                | Node::Not(_)
                | Node::IsUnknown(_)
                | Node::Exists(_)
                | Node::StartsWith(..)
                | Node::LikeRegex(..)
        )
    }

    /// Whether a step of the chain takes any level.
    fn has_any_level(&self) -> bool {
        matches!(self, Node::Access(base, step) if matches!(step, Step::AnyLevel(..)) || base.has_any_level())
    }
}

enum Step {
    /// `.key`
    Member(String),
    /// `.*`
    AnyMember,
    /// `[a, b to c]`
    Elements(Vec<(Node, Option<Node>)>),
    /// `[*]`
    AnyElement,
    /// `.**{first to last}`
    AnyLevel(u32, u32),
    /// `? (condition)`
    Filter(Box<Node>),
    /// `.name()`
    Method(Method),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Type,
    Size,
    Double,
    Ceiling,
    Floor,
    Abs,
    Datetime,
    KeyValue,
}

impl Method {
    const ALL: [(&'static str, Method); 8] = [
        ("type", Method::Type),
        ("size", Method::Size),
        ("double", Method::Double),
        ("ceiling", Method::Ceiling),
        ("floor", Method::Floor),
        ("abs", Method::Abs),
        ("datetime", Method::Datetime),
        ("keyvalue", Method::KeyValue),
    ];

    fn name(self) -> &'static str {
        Method::ALL.iter().find(|(_, m)| *m == self).map_or("", |(name, _)| name)
    }
}
