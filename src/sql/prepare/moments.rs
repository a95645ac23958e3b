//! The syntax of dates and times as calls: `AT TIME ZONE`, `OVERLAPS`, intervals with fields, arguments by name, and `age`
//! of one moment.

use super::{call, cast, quoted, split_position, take, text};
use hw_repr::{SqlError, SqlState};
use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Interval, Value, ValueWithSpan,
};

/// `AT TIME ZONE`; the operands are rewritten already.
pub(super) fn at_time_zone(expr: &mut Expr) -> Option<Expr> {
    let Expr::AtTimeZone { timestamp, time_zone } = expr else { return None };
    let moment = take(timestamp);
    Some(call("timezone", vec![take(time_zone), moment]))
}

/// `OVERLAPS`, before its operands become rows.
pub(super) fn overlaps(expr: &mut Expr) -> Result<Option<Expr>, SqlError> {
    Ok(Some(match expr {
        Expr::BinaryOp { left, op: BinaryOperator::Overlaps, right } => {
            let mut args = period(left, "left")?;
            args.extend(period(right, "right")?);
            call("overlaps", args)
        }
        _ => return Ok(None),
    }))
}

/// The two ends of one side of OVERLAPS.
fn period(expr: &mut Expr, side: &str) -> Result<Vec<Expr>, SqlError> {
    match expr {
        Expr::Tuple(ends) if ends.len() == 2 => Ok(std::mem::take(ends)),
        _ => Err(SqlError::new(
            SqlState::SYNTAX,
            format!("wrong number of parameters on {side} side of OVERLAPS expression"),
        )),
    }
}

/// Arguments by name become arguments by position, and `age(x)` is that of today.
pub(super) fn arguments(f: &mut Function) -> Result<(), SqlError> {
    const INTERVAL_PARTS: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];
    let Some(name) =
        f.name.0.last().and_then(|p| p.as_ident()).map(|i| split_position(&i.value).0.to_ascii_lowercase())
    else {
        return Ok(());
    };
    let FunctionArguments::List(list) = &mut f.args else { return Ok(()) };
    match name.strip_prefix("pg_catalog.").unwrap_or(&name) {
        "age" if list.args.len() == 1 => {
            let today = FunctionArg::Unnamed(FunctionArgExpr::Expr(call("current_date", vec![])));
            list.args.insert(0, today);
            Ok(())
        }
        "make_interval" if list.args.iter().any(|a| named(a).is_some()) => {
            list.args = by_position(std::mem::take(&mut list.args), &INTERVAL_PARTS)?;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn named(arg: &FunctionArg) -> Option<String> {
    match arg {
        FunctionArg::Named { name, .. } => Some(crate::parse::ast_fold(name)),
        FunctionArg::ExprNamed { name: Expr::Identifier(name), .. } => Some(crate::parse::ast_fold(name)),
        _ => None,
    }
}

/// Each argument at the place of its name; what is not given is 0.
fn by_position(args: Vec<FunctionArg>, names: &[&str]) -> Result<Vec<FunctionArg>, SqlError> {
    let zero = || {
        let zero = Expr::Value(ValueWithSpan::from(Value::Number("0".into(), false)));
        FunctionArg::Unnamed(FunctionArgExpr::Expr(zero))
    };
    let mut places: Vec<Option<FunctionArg>> = names.iter().map(|_| None).collect();
    let mut any_named = false;
    for (position, arg) in args.into_iter().enumerate() {
        let at = match named(&arg) {
            Some(name) => {
                any_named = true;
                names
                    .iter()
                    .position(|n| *n == name)
                    .ok_or_else(|| crate::error::undefined_function(&format!("make_interval({name} => unknown)")))?
            }
            None if any_named => {
                return Err(SqlError::new(SqlState::SYNTAX, "positional argument cannot follow named argument"));
            }
            None => position,
        };
        let value = match arg {
            FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } => FunctionArg::Unnamed(arg),
            unnamed => unnamed,
        };
        match places.get_mut(at) {
            Some(place @ None) => *place = Some(value),
            Some(Some(_)) => {
                let message = format!("argument name \"{}\" used more than once", names[at]);
                return Err(SqlError::new(SqlState::SYNTAX, message));
            }
            None => return Err(crate::error::undefined_function("make_interval")),
        }
    }
    Ok(places.into_iter().map(|p| p.unwrap_or_else(zero)).collect())
}

/// An interval literal is a cast to the type that its fields and precision make.
pub(super) fn interval(i: &Interval) -> Result<Expr, SqlError> {
    let Some(s) = quoted(&i.value) else {
        return Err(SqlError::new(SqlState::SYNTAX, "an interval literal needs a string")
            .hint("Write INTERVAL '1 day', or multiply: n * INTERVAL '1 day'."));
    };
    let mut ty = "INTERVAL".to_string();
    for (lead, field) in [(" ", &i.leading_field), (" TO ", &i.last_field)] {
        if let Some(field) = field {
            ty.push_str(lead);
            ty.push_str(&field.to_string().to_ascii_uppercase());
        }
    }
    if let Some(digits) = i.fractional_seconds_precision.or(i.leading_precision) {
        // More than six are six, with a warning in PostgreSQL.
        ty.push_str(&format!("({})", digits.min(6)));
    }
    if crate::types::type_by_name(&ty).is_none() {
        return Err(SqlError::new(SqlState::SYNTAX, format!("there is no type {}", ty.to_ascii_lowercase())));
    }
    Ok(cast(text(s), &ty))
}
