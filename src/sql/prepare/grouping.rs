//! GROUP BY with ROLLUP, CUBE, GROUPING SETS and `()` as one list of grouping sets.

use hw_repr::{SqlError, SqlState};
use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Select, SelectItem, Value};

/// Most sets, as in PostgreSQL.
const SETS_MAX: usize = 4096;
/// Most keys of a CUBE, as in PostgreSQL.
const CUBE_MAX: usize = 12;

type Set = Vec<Expr>;

/// Writes the sets out; a single set that is not empty becomes a plain GROUP BY.
pub(super) fn write_out(select: &mut Select) -> Result<(), SqlError> {
    let GroupByExpr::Expressions(exprs, modifiers) = &mut select.group_by else { return Ok(()) };
    if !exprs.iter().any(has_sets) {
        return Ok(());
    }
    if !modifiers.is_empty() {
        return Err(SqlError::unsupported("this form of GROUP BY is not supported"));
    }
    let mut sets: Vec<Set> = vec![vec![]];
    for expr in exprs.iter() {
        let own = sets_of(expr)?;
        if sets.len() * own.len() > SETS_MAX {
            return Err(too_many());
        }
        sets = sets.iter().flat_map(|a| own.iter().map(|b| [a.as_slice(), b.as_slice()].concat())).collect();
    }
    for set in &mut sets {
        let mut once: Set = vec![];
        for mut expr in std::mem::take(set) {
            if let Some(item) = by_position(&expr, &select.projection) {
                expr = item?;
            }
            if !once.contains(&expr) {
                once.push(expr);
            }
        }
        *set = once;
    }
    *exprs = match sets.as_slice() {
        [one] if !one.is_empty() => sets.remove(0),
        _ => vec![Expr::GroupingSets(sets)],
    };
    Ok(())
}

fn too_many() -> SqlError {
    SqlError::new(SqlState::new("54001"), format!("too many grouping sets present (maximum {SETS_MAX})"))
}

fn has_sets(expr: &Expr) -> bool {
    matches!(expr, Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_) | Expr::Tuple(_))
}

/// The sets that an item of GROUP BY stands for.
fn sets_of(expr: &Expr) -> Result<Vec<Set>, SqlError> {
    Ok(match expr {
        Expr::GroupingSets(elements) => {
            let mut sets = vec![];
            for element in elements {
                match element.as_slice() {
                    // ROLLUP and CUBE within GROUPING SETS.
                    [one] => sets.extend(sets_of(one)?),
                    many => sets.push(flat(many)),
                }
            }
            sets
        }
        Expr::Rollup(units) => rollup(units),
        Expr::Cube(units) => cube(units)?,
        Expr::Tuple(items) => vec![flat(items)],
        Expr::Function(f) => match (nested_name(f), &f.args) {
            (Some(name), FunctionArguments::List(list)) => {
                let units = list.args.iter().map(unit).collect::<Option<Vec<Set>>>();
                match (name, units) {
                    ("rollup", Some(units)) => rollup(&units),
                    ("cube", Some(units)) => cube(&units)?,
                    _ => vec![vec![expr.clone()]],
                }
            }
            _ => vec![vec![expr.clone()]],
        },
        other => vec![vec![other.clone()]],
    })
}

fn nested_name(f: &sqlparser::ast::Function) -> Option<&'static str> {
    let [part] = f.name.0.as_slice() else { return None };
    let name = part.as_ident().filter(|i| i.quote_style.is_none())?;
    ["rollup", "cube"].into_iter().find(|n| name.value.eq_ignore_ascii_case(n))
}

fn unit(arg: &FunctionArg) -> Option<Set> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(flat(std::slice::from_ref(e))),
        _ => None,
    }
}

fn flat(items: &[Expr]) -> Set {
    items
        .iter()
        .flat_map(|e| match e {
            Expr::Tuple(inner) => flat(inner),
            other => vec![other.clone()],
        })
        .collect()
}

fn rollup(units: &[Set]) -> Vec<Set> {
    (0..=units.len()).rev().map(|n| flat(&units[..n].concat())).collect()
}

fn cube(units: &[Set]) -> Result<Vec<Set>, SqlError> {
    if units.len() > CUBE_MAX {
        let message = format!("CUBE is limited to {CUBE_MAX} elements");
        return Err(SqlError::new(SqlState::new("54011"), message));
    }
    let chosen = |mask: usize| {
        let units = units.iter().enumerate().filter(move |(i, _)| mask >> i & 1 == 1);
        flat(&units.flat_map(|(_, u)| u.clone()).collect::<Vec<_>>())
    };
    Ok((0..1usize << units.len()).rev().map(chosen).collect())
}

/// The item of the select list that a number in GROUP BY means.
fn by_position(expr: &Expr, items: &[SelectItem]) -> Option<Result<Expr, SqlError>> {
    let Expr::Value(value) = expr else { return None };
    let Value::Number(digits, false) = &value.value else { return None };
    let at: usize = digits.parse().ok()?;
    Some(match at.checked_sub(1).and_then(|i| items.get(i)) {
        Some(SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. }) => Ok(e.clone()),
        _ => Err(SqlError::new(SqlState::new("42P10"), format!("GROUP BY position {at} is not in select list"))),
    })
}
