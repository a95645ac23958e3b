//! Syntax of its own that string functions have, as calls: `substring(... FROM ...)`, `overlay(... PLACING ...)`,
//! `position(... IN ...)`, `trim(LEADING ...)`, LIKE and SIMILAR TO with and without ESCAPE, `IS NORMALIZED`.

use super::{call, take, text, trim_function};
use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value,
    ValueWithSpan,
};

/// The call that an expression means, if it is one of these.
pub(super) fn string_call(expr: &mut Expr) -> Option<Expr> {
    Some(match expr {
        Expr::Position { expr, r#in } => call("position", vec![take(r#in), take(expr)]),
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            let mut args = vec![take(expr), take(overlay_what), take(overlay_from)];
            args.extend(overlay_for.as_mut().map(take));
            call("overlay", args)
        }
        Expr::Substring { expr, substring_from, substring_for, shorthand, .. } => {
            let one = || Expr::Value(ValueWithSpan::from(Value::Number("1".into(), false)));
            let mut args = vec![take(expr), substring_from.as_mut().map_or_else(one, take)];
            args.extend(substring_for.as_mut().map(take));
            call(if *shorthand { "substr" } else { "substring" }, args)
        }
        Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
            let mut args = vec![take(expr)];
            args.extend(trim_what.as_mut().map(take));
            args.extend(trim_characters.take().unwrap_or_default());
            call(trim_function(trim_where), args)
        }
        Expr::Like { negated, any: false, expr, pattern, escape_char } => {
            let op = if *negated { BinaryOperator::PGNotLikeMatch } else { BinaryOperator::PGLikeMatch };
            matched(expr, op, escaped("like_escape", pattern, escape_char, true))
        }
        Expr::ILike { negated, any: false, expr, pattern, escape_char } => {
            let op = if *negated { BinaryOperator::PGNotILikeMatch } else { BinaryOperator::PGILikeMatch };
            matched(expr, op, escaped("like_escape", pattern, escape_char, true))
        }
        Expr::SimilarTo { negated, expr, pattern, escape_char } => {
            let op = if *negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
            matched(expr, op, escaped("similar_to_escape", pattern, escape_char, false))
        }
        Expr::IsNormalized { expr, form, negated } => {
            let mut args = vec![take(expr)];
            args.extend(form.map(|f| text(f.to_string())));
            let test = call("is_normalized", args);
            match negated {
                true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(test) },
                false => test,
            }
        }
        Expr::Function(f) => {
            name_form(f);
            return None;
        }
        _ => return None,
    })
}

fn matched(expr: &mut Box<Expr>, op: BinaryOperator, pattern: Expr) -> Expr {
    let sides = (Box::new(Expr::Nested(Box::new(take(expr)))), Box::new(pattern));
    Expr::Nested(Box::new(Expr::BinaryOp { left: sides.0, op, right: sides.1 }))
}

/// The pattern, through `function` where an escape character is given or the function is needed anyway.
fn escaped(function: &str, pattern: &mut Box<Expr>, escape: &mut Option<ValueWithSpan>, optional: bool) -> Expr {
    let mut args = vec![take(pattern)];
    match escape.take() {
        None if optional => args.remove(0),
        None => call(function, args),
        Some(escape) => {
            args.push(Expr::Value(escape));
            call(function, args)
        }
    }
}

/// `normalize(text, NFC)`: the form is a word, not a column.
fn name_form(f: &mut Function) {
    let named = f
        .name
        .0
        .last()
        .and_then(|p| p.as_ident())
        .is_some_and(|i| super::split_position(&i.value).0.eq_ignore_ascii_case("normalize"));
    let FunctionArguments::List(list) = &mut f.args else { return };
    let [_, FunctionArg::Unnamed(FunctionArgExpr::Expr(form))] = list.args.as_mut_slice() else { return };
    if let Expr::Identifier(i) = form
        && named
        && i.quote_style.is_none()
        && ["nfc", "nfd", "nfkc", "nfkd"].iter().any(|n| i.value.eq_ignore_ascii_case(n))
    {
        *form = text(i.value.clone());
    }
}
