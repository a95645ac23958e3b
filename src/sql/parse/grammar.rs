//! Where PostgreSQL's grammar of expressions is not the parser's: which operators bind tighter, what BETWEEN SYMMETRIC,
//! `LIKE ANY` and ISNULL mean, and which words begin no expression.

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, IntervalFields, ObjectName, ObjectNamePart, SetExpr, UnaryOperator, Value, ValueWithSpan,
};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

type Parsed = Result<Expr, ParserError>;

/// A sign before its operand: above COLLATE, AT TIME ZONE and `^`, below subscripts and `::`.
const SIGN: u8 = 125;
/// Every operator that has no precedence of its own, prefix or infix.
const OTHER: u8 = 70;
/// BETWEEN, IN, LIKE.
const BETWEEN: u8 = 60;
/// IS, ISNULL, NOTNULL.
const IS: u8 = 40;
/// Prefix of the function that an unknown prefix operator becomes.
pub(crate) const PREFIX: &str = "hw_prefix:";

/// Reserved words that begin no expression.
const NO_EXPRESSION: &[&str] = &[
    "AND",
    "AS",
    "ASC",
    "DESC",
    "ELSE",
    "END",
    "EXCEPT",
    "FETCH",
    "FROM",
    "GROUP",
    "HAVING",
    "IN",
    "INTERSECT",
    "INTO",
    "LIMIT",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "THEN",
    "UNION",
    "USING",
    "WHEN",
    "WHERE",
    "WINDOW",
];
/// Types whose names are keywords: with parentheses they begin a literal, never a call.
const TYPES: &[&str] = &[
    "BIT",
    "CHAR",
    "CHARACTER",
    "DEC",
    "DECIMAL",
    "FLOAT",
    "INTERVAL",
    "NCHAR",
    "NUMERIC",
    "TIME",
    "TIMESTAMP",
    "VARCHAR",
];
/// Those that take no parentheses at all.
const PLAIN_TYPES: &[&str] = &["BIGINT", "BOOLEAN", "INT", "INTEGER", "REAL", "SMALLINT"];

/// The unquoted word `n` tokens ahead, upper case.
fn word(p: &Parser, n: usize) -> Option<String> {
    match &p.peek_nth_token_ref(n).token {
        Token::Word(w) if w.quote_style.is_none() => Some(w.value.to_ascii_uppercase()),
        _ => None,
    }
}

fn is_word(p: &Parser, n: usize, wanted: &str) -> bool {
    matches!(&p.peek_nth_token_ref(n).token,
        Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(wanted))
}

fn expect(p: &mut Parser, token: &Token) -> Result<(), ParserError> {
    match p.peek_token_ref().token == *token {
        true => {
            p.advance_token();
            Ok(())
        }
        false => p.expected_ref("another token", p.peek_token_ref()),
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn nested(e: Expr) -> Expr {
    Expr::Nested(Box::new(e))
}

fn call(name: String, arg: Expr) -> Expr {
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))],
            clauses: vec![],
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

/// How tight what comes next binds, where it is not as the parser has it.
pub(super) fn precedence(p: &Parser) -> Option<u8> {
    use Token as T;
    match &p.peek_token_ref().token {
        T::Tilde | T::TildeAsterisk | T::ExclamationMarkTilde | T::ExclamationMarkTildeAsterisk => Some(OTHER),
        T::DoubleTilde | T::DoubleTildeAsterisk | T::ExclamationMarkDoubleTilde => Some(OTHER),
        T::ExclamationMarkDoubleTildeAsterisk | T::DoubleEq | T::Spaceship | T::ExclamationMark => Some(OTHER),
        T::DoubleExclamationMark => Some(OTHER),
        T::Word(w) if w.quote_style.is_none() => match w.value.to_ascii_uppercase().as_str() {
            "ISNULL" => Some(IS),
            "OPERATOR" if p.peek_nth_token_ref(1).token == T::LParen => Some(OTHER),
            _ => None,
        },
        _ => None,
    }
}

/// An expression that begins with an operator or a word that the parser takes otherwise.
pub(super) fn prefix(p: &mut Parser) -> Option<Parsed> {
    use Token as T;
    let unary = |op: UnaryOperator, p: &mut Parser, precedence: u8| {
        p.advance_token();
        let operand = p.parse_subexpr(precedence)?;
        Ok(Expr::UnaryOp { op, expr: Box::new(operand) })
    };
    Some(match &p.peek_token_ref().token {
        T::Minus => unary(UnaryOperator::Minus, p, SIGN),
        T::Plus => unary(UnaryOperator::Plus, p, SIGN),
        T::Tilde => unary(UnaryOperator::BitwiseNot, p, OTHER),
        T::AtSign => unary(UnaryOperator::PGAbs, p, OTHER),
        T::PGSquareRoot => unary(UnaryOperator::PGSquareRoot, p, OTHER),
        T::PGCubeRoot => unary(UnaryOperator::PGCubeRoot, p, OTHER),
        T::ExclamationMark | T::DoubleExclamationMark | T::CustomBinaryOperator(_) | T::Sharp | T::AtAt => {
            let sign = p.peek_token_ref().token.to_string();
            p.advance_token();
            p.parse_subexpr(OTHER).map(|operand| call(format!("{PREFIX}{sign}"), operand))
        }
        T::LParen => return united_query(p),
        T::Colon => p.expected_ref("an expression", p.peek_token_ref()),
        T::Placeholder(name) if name.starts_with(':') => p.expected_ref("an expression", p.peek_token_ref()),
        T::NationalStringLiteral(text) => {
            let text = text.clone();
            let span = p.peek_token_ref().span;
            p.advance_token();
            let value = Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), span });
            Ok(cast(value, DataType::Custom(ObjectName::from(vec![Ident::new("bpchar")]), vec![])))
        }
        T::Word(w) if w.quote_style.is_none() => return by_word(p),
        _ => return None,
    })
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::DoubleColon, expr: Box::new(expr), data_type, array: false, format: None }
}

fn by_word(p: &mut Parser) -> Option<Parsed> {
    let word = word(p, 0)?;
    if NO_EXPRESSION.contains(&word.as_str()) {
        return Some(p.expected_ref("an expression", p.peek_token_ref()));
    }
    let called = p.peek_nth_token_ref(1).token == Token::LParen;
    match word.as_str() {
        "COLLATION" if is_word(p, 1, "FOR") && p.peek_nth_token_ref(2).token == Token::LParen => Some(collation_for(p)),
        "INTERVAL" if called => precise_interval(p).or_else(|| literal_only(p)),
        // The parser takes these for columns.
        "BPCHAR" | "NAME" if is_string(&p.peek_nth_token_ref(1).token) => Some(named_literal(p, &word)),
        name if called && TYPES.contains(&name) => literal_only(p),
        name if called && PLAIN_TYPES.contains(&name) => Some(p.expected_ref("a literal", p.peek_nth_token_ref(1))),
        _ => None,
    }
}

/// `name 'x'`
fn named_literal(p: &mut Parser, name: &str) -> Parsed {
    p.advance_token();
    let ty = DataType::Custom(ObjectName::from(vec![Ident::new(name.to_lowercase())]), vec![]);
    Ok(cast(Expr::Value(p.parse_value()?), ty))
}

/// `collation for (value)`
fn collation_for(p: &mut Parser) -> Parsed {
    p.advance_token();
    p.advance_token();
    expect(p, &Token::LParen)?;
    let value = p.parse_subexpr(0)?;
    expect(p, &Token::RParen)?;
    Ok(call("pg_collation_for".into(), value))
}

/// `interval(3) '...'`: the parser forgets the digits.
fn precise_interval(p: &mut Parser) -> Option<Parsed> {
    let digits = match &p.peek_nth_token_ref(2).token {
        Token::Number(digits, _) => digits.parse().ok()?,
        _ => return None,
    };
    let closed = p.peek_nth_token_ref(3).token == Token::RParen;
    if !closed || !is_string(&p.peek_nth_token_ref(4).token) {
        return None;
    }
    (0..4).for_each(|_| p.advance_token());
    let fields: Option<IntervalFields> = None;
    Some(p.parse_value().map(|v| cast(Expr::Value(v), DataType::Interval { fields, precision: Some(digits) })))
}

fn is_string(token: &Token) -> bool {
    use Token as T;
    matches!(
        token,
        T::SingleQuotedString(_) | T::EscapedStringLiteral(_) | T::DollarQuotedString(_) | T::UnicodeStringLiteral(_)
    )
}

/// A type with a modifier: a syntax error where no literal follows.
fn literal_only(p: &mut Parser) -> Option<Parsed> {
    let (mut depth, mut at) = (0usize, 1);
    loop {
        match &p.peek_nth_token_ref(at).token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            Token::EOF => break,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    let next = p.peek_nth_token_ref(at);
    let goes_on = ["WITH", "WITHOUT", "VARYING", "CHARACTER"].iter().any(|w| is_word(p, at, w));
    match is_string(&next.token) || goes_on {
        true => None,
        false => Some(p.expected_ref("a literal", next)),
    }
}

/// What goes on behind `left`, where it is not as the parser has it.
pub(super) fn infix(p: &mut Parser, left: &Expr, precedence: u8) -> Option<Parsed> {
    use Token as T;
    match &p.peek_token_ref().token {
        T::DoubleEq | T::Spaceship | T::CustomBinaryOperator(_) | T::ExclamationMark | T::DoubleExclamationMark => {
            let sign = match &p.peek_token_ref().token {
                T::CustomBinaryOperator(sign) => sign.clone(),
                other => other.to_string(),
            };
            p.advance_token();
            let right = p.parse_subexpr(precedence);
            Some(right.map(|right| binary(left.clone(), BinaryOperator::Custom(sign), right)))
        }
        T::Word(w) if w.quote_style.is_none() => infix_word(p, left),
        T::Eq | T::Neq | T::Lt | T::LtEq | T::Gt | T::GtEq => quantified_query(p, left),
        _ => None,
    }
}

/// `((SELECT ...) UNION ...)`: the parser itself takes what is in the first parentheses for all of it.
fn united_query(p: &mut Parser) -> Option<Parsed> {
    let open = (0..).take_while(|at| p.peek_nth_token_ref(*at).token == Token::LParen).count();
    if open < 2 || !["SELECT", "WITH", "VALUES"].iter().any(|word| is_word(p, open, word)) {
        return None;
    }
    let parsed = p.maybe_parse(|p| {
        p.expect_token(&Token::LParen)?;
        let query = p.parse_query()?;
        p.expect_token(&Token::RParen)?;
        match query.body.as_ref() {
            SetExpr::SetOperation { .. } => Ok(query),
            _ => Err(ParserError::ParserError("one query".into())),
        }
    });
    parsed.ok().flatten().map(|query| Ok(Expr::Subquery(query)))
}

/// `value op ANY ((SELECT ...) UNION ...)`, ALL too.
fn quantified_query(p: &mut Parser, left: &Expr) -> Option<Parsed> {
    let compare_op = match &p.peek_token_ref().token {
        Token::Eq => BinaryOperator::Eq,
        Token::Neq => BinaryOperator::NotEq,
        Token::Lt => BinaryOperator::Lt,
        Token::LtEq => BinaryOperator::LtEq,
        Token::Gt => BinaryOperator::Gt,
        _ => BinaryOperator::GtEq,
    };
    let all = is_word(p, 1, "ALL");
    if !(all || is_word(p, 1, "ANY") || is_word(p, 1, "SOME")) || p.peek_nth_token_ref(3).token != Token::LParen {
        return None;
    }
    let parsed = p.maybe_parse(|p| {
        p.advance_token();
        p.advance_token();
        united_query(p).unwrap_or_else(|| Err(ParserError::ParserError("no union".into())))
    });
    let right = Box::new(parsed.ok().flatten()?);
    let left = Box::new(left.clone());
    Some(Ok(match all {
        true => Expr::AllOp { left, compare_op, right },
        false => Expr::AnyOp { left, compare_op, right, is_some: false },
    }))
}

fn infix_word(p: &mut Parser, left: &Expr) -> Option<Parsed> {
    if is_word(p, 0, "ISNULL") {
        p.advance_token();
        return Some(Ok(Expr::IsNull(Box::new(left.clone()))));
    }
    let negated = is_word(p, 0, "NOT");
    let at = usize::from(negated);
    let quantified = ["ANY", "ALL", "SOME"].iter().any(|w| is_word(p, at + 1, w));
    let like = is_word(p, at, "LIKE");
    if (like || is_word(p, at, "ILIKE")) && quantified && p.peek_nth_token_ref(at + 2).token == Token::LParen {
        return Some(like_quantified(p, left, negated, like));
    }
    if is_word(p, at, "BETWEEN") && (is_word(p, at + 1, "SYMMETRIC") || is_word(p, at + 1, "ASYMMETRIC")) {
        let symmetric = is_word(p, at + 1, "SYMMETRIC");
        (0..at + 2).for_each(|_| p.advance_token());
        return Some(between(p, left, negated, symmetric));
    }
    None
}

/// `value [NOT] [I]LIKE ANY (array or query)`, ALL too.
fn like_quantified(p: &mut Parser, left: &Expr, negated: bool, like: bool) -> Parsed {
    use BinaryOperator as B;
    let compare_op = match (like, negated) {
        (true, false) => B::PGLikeMatch,
        (true, true) => B::PGNotLikeMatch,
        (false, false) => B::PGILikeMatch,
        (false, true) => B::PGNotILikeMatch,
    };
    (0..usize::from(negated) + 1).for_each(|_| p.advance_token());
    let all = is_word(p, 0, "ALL");
    p.advance_token();
    let right = match is_word(p, 1, "SELECT") || is_word(p, 1, "WITH") {
        true => p.parse_prefix()?,
        false => {
            expect(p, &Token::LParen)?;
            let array = p.parse_subexpr(0)?;
            expect(p, &Token::RParen)?;
            array
        }
    };
    let (left, right) = (Box::new(left.clone()), Box::new(right));
    Ok(match all {
        true => Expr::AllOp { left, compare_op, right },
        false => Expr::AnyOp { left, compare_op, right, is_some: false },
    })
}

/// `value [NOT] BETWEEN SYMMETRIC one AND other`: between them whichever is the less.
fn between(p: &mut Parser, left: &Expr, negated: bool, symmetric: bool) -> Parsed {
    let one = p.parse_subexpr(BETWEEN)?;
    if !is_word(p, 0, "AND") {
        return p.expected_ref("AND", p.peek_token_ref());
    }
    p.advance_token();
    let other = p.parse_subexpr(BETWEEN)?;
    if !symmetric {
        let (low, high) = (Box::new(one), Box::new(other));
        return Ok(Expr::Between { expr: Box::new(left.clone()), negated, low, high });
    }
    let side = |low: &Expr, high: &Expr| {
        let between = Expr::Between {
            expr: Box::new(nested(left.clone())),
            negated,
            low: Box::new(nested(low.clone())),
            high: Box::new(nested(high.clone())),
        };
        nested(between)
    };
    let op = if negated { BinaryOperator::And } else { BinaryOperator::Or };
    Ok(nested(binary(side(&one, &other), op, side(&other, &one))))
}
