//! Bounds on the nesting of a statement, so that no text can exhaust a thread's stack: the depth is bounded from the
//! tokens before anything recursive runs, long statements get a stack to their measure, and chains of AND and OR, which
//! programs write with thousands of members, become balanced trees.

use hw_repr::{SqlError, SqlState};
use sqlparser::ast::{BinaryOperator, Expr, Statement, VisitMut, VisitorMut};
use sqlparser::tokenizer::{Token, TokenWithSpan};
use std::ops::ControlFlow;

/// Operators, set operations and words like NOT, one in the other.
const OPERATORS_MAX: usize = 1000;
/// Members of a chain of OR.
const CONNECTIVES_MAX: usize = 20_000;
/// Members of a chain of AND: rules over plans take it apart and put it together again as a deep tree.
const CONJUNCTS_MAX: usize = 1000;
/// Texts up to this length, in bytes, run on the stack they are on.
const SHORT_TEXT: usize = 512;
/// Stack for longer ones.
const STACK_BYTES: usize = 256 << 20;

/// Runs `f`, which may recurse as deep as `text` nests.
pub(crate) fn with_stack<T>(text: &str, f: impl FnOnce() -> T) -> T {
    if text.len() <= SHORT_TEXT { f() } else { stacker::grow(STACK_BYTES, f) }
}

/// Operators and connectives since the last comma at one level of parentheses.
#[derive(Clone, Copy, Default)]
struct Level {
    operators: usize,
    connectives: usize,
    conjuncts: usize,
}

/// Counts what nests, token by token.
#[derive(Default)]
struct Depth {
    /// Enclosing levels.
    outer: Vec<Level>,
    here: Level,
    operators: usize,
    connectives: usize,
    conjuncts: usize,
}

impl Depth {
    fn operator(&mut self) {
        self.here.operators += 1;
        self.operators += 1;
    }

    /// The members of a chain of AND and OR do not nest in each other.
    fn connective(&mut self) {
        self.operators -= self.here.operators;
        self.here.operators = 0;
        self.here.connectives += 1;
        self.connectives += 1;
    }

    fn open(&mut self) {
        self.operator();
        self.outer.push(std::mem::take(&mut self.here));
    }

    fn next(&mut self) {
        self.operators -= self.here.operators;
        self.connectives -= self.here.connectives;
        self.conjuncts -= self.here.conjuncts;
        self.here = Level::default();
    }

    fn close(&mut self) {
        self.next();
        self.here = self.outer.pop().unwrap_or_default();
    }

    fn word(&mut self, word: &str) {
        match word.to_ascii_uppercase().as_str() {
            "AND" => {
                self.connective();
                self.here.conjuncts += 1;
                self.conjuncts += 1;
            }
            "OR" => self.connective(),
            "NOT" | "IS" | "LIKE" | "ILIKE" | "BETWEEN" | "IN" | "CASE" | "UNION" | "EXCEPT" | "INTERSECT"
            | "COLLATE" | "OPERATOR" | "JOIN" => self.operator(),
            _ => {}
        }
    }
}

/// `54001` where the tokens nest too deeply.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    let mut depth = Depth::default();
    for t in tokens {
        match &t.token {
            Token::LParen | Token::LBracket => depth.open(),
            Token::RParen | Token::RBracket => depth.close(),
            Token::Comma | Token::SemiColon => depth.next(),
            Token::Word(w) if w.quote_style.is_none() => depth.word(&w.value),
            Token::Word(_)
            | Token::Number(..)
            | Token::Whitespace(_)
            | Token::Period
            | Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::Placeholder(_)
            | Token::EOF => {}
            _ => depth.operator(),
        }
        if depth.operators > OPERATORS_MAX || depth.connectives > CONNECTIVES_MAX || depth.conjuncts > CONJUNCTS_MAX {
            return Err(SqlError::new(SqlState::new("54001"), "stack depth limit exceeded")
                .hint("The statement nests too deeply: split it, or write IN (...) and VALUES for long lists."));
        }
    }
    Ok(())
}

struct Balancer;

impl VisitorMut for Balancer {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::BinaryOp { op, .. } = expr
            && matches!(op, BinaryOperator::And | BinaryOperator::Or)
        {
            let op = op.clone();
            let whole = std::mem::replace(expr, Expr::Tuple(vec![]));
            *expr = tree(&op, operands(&op, whole));
        }
        ControlFlow::Continue(())
    }
}

/// Makes chains of AND and OR balanced; the order of their members stays.
pub(super) fn balance(statement: &mut Statement) {
    let _ = statement.visit(&mut Balancer);
}

/// As [`balance`].
pub(super) fn balance_query(query: &mut sqlparser::ast::Query) {
    let _ = query.visit(&mut Balancer);
}

/// The members of a left-deep chain.
fn operands(wanted: &BinaryOperator, whole: Expr) -> Vec<Expr> {
    let mut out = vec![];
    let mut rest = whole;
    loop {
        match rest {
            Expr::BinaryOp { left, op, right } if op == *wanted => {
                out.push(*right);
                rest = *left;
            }
            first => {
                out.push(first);
                out.reverse();
                return out;
            }
        }
    }
}

fn tree(op: &BinaryOperator, mut members: Vec<Expr>) -> Expr {
    if members.len() <= 1 {
        return members.pop().unwrap_or(Expr::Tuple(vec![]));
    }
    let right = members.split_off(members.len() / 2);
    Expr::BinaryOp { left: Box::new(tree(op, members)), op: op.clone(), right: Box::new(tree(op, right)) }
}
