//! Named windows written out: `OVER w`, `OVER (w ORDER BY ...)` and windows that begin with another, as SQL:2016, 7.15 (window
//! clause) and PostgreSQL define them; and OVER, FILTER and DISTINCT of functions that take none.

use super::outside::outside;
use hw_repr::{SqlError, SqlState};
use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArguments, Ident, NamedWindowExpr, OrderByKind, Query, SetExpr,
    WindowSpec, WindowType,
};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Writes out the windows of the SELECT that a query is.
pub(super) fn write_out(query: &mut Query) -> Result<(), SqlError> {
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(()) };
    let mut known: HashMap<String, WindowSpec> = HashMap::new();
    for definition in std::mem::take(&mut select.named_window) {
        let name = crate::parse::ast_fold(&definition.0);
        let spec = match definition.1 {
            NamedWindowExpr::NamedWindow(other) => find(&known, &other)?.clone(),
            NamedWindowExpr::WindowSpec(spec) => begun(&known, spec)?,
        };
        if known.insert(name.clone(), spec).is_some() {
            return Err(error("42P20", format!("window \"{name}\" is already defined")));
        }
    }
    let mut write = |expr: &mut Expr| write_window(&known, expr);
    super::finish(outside(select.as_mut(), &mut write))?;
    match query.order_by.as_mut().map(|o| &mut o.kind) {
        Some(OrderByKind::Expressions(keys)) => {
            keys.iter_mut().try_for_each(|key| super::finish(outside(&mut key.expr, &mut write)))
        }
        _ => Ok(()),
    }
}

fn error(code: &'static str, message: String) -> SqlError {
    SqlError::new(SqlState::new(code), message)
}

fn find<'a>(known: &'a HashMap<String, WindowSpec>, name: &Ident) -> Result<&'a WindowSpec, SqlError> {
    let name = crate::parse::ast_fold(name);
    known.get(&name).ok_or_else(|| error("42704", format!("window \"{name}\" does not exist")))
}

/// A window that may begin with a named one.
fn begun(known: &HashMap<String, WindowSpec>, mut spec: WindowSpec) -> Result<WindowSpec, SqlError> {
    let Some(name) = spec.window_name.take() else { return Ok(spec) };
    let base = find(known, &name)?;
    let name = crate::parse::ast_fold(&name);
    let refused = |what: &str| error("42P20", format!("cannot override {what} clause of window \"{name}\""));
    if !spec.partition_by.is_empty() {
        return Err(refused("PARTITION BY"));
    }
    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
        return Err(refused("ORDER BY"));
    }
    if base.window_frame.is_some() {
        return Err(error("42P20", format!("cannot copy window \"{name}\" because it has a frame clause"))
            .hint("Omit the parentheses in this OVER clause."));
    }
    spec.partition_by = base.partition_by.clone();
    if spec.order_by.is_empty() {
        spec.order_by = base.order_by.clone();
    }
    Ok(spec)
}

/// Puts the window in the place of its name.
fn write_window(known: &HashMap<String, WindowSpec>, expr: &mut Expr) -> ControlFlow<SqlError> {
    let Expr::Function(Function { over: Some(over), .. }) = expr else { return ControlFlow::Continue(()) };
    let written = match over {
        WindowType::NamedWindow(name) => find(known, name).cloned(),
        WindowType::WindowSpec(spec) => begun(known, spec.clone()),
    };
    match written {
        Ok(spec) => *over = WindowType::WindowSpec(spec),
        Err(e) => return ControlFlow::Break(e),
    }
    ControlFlow::Continue(())
}

/// 42809 where a function that is no aggregate has FILTER or DISTINCT, or one that is no window function has OVER.
pub(super) fn refuse_of_plain(expr: &Expr) -> Result<(), SqlError> {
    let Expr::Function(f) = expr else { return Ok(()) };
    let Some(ident) = f.name.0.last().and_then(|p| p.as_ident()) else { return Ok(()) };
    let name = crate::parse::ast_fold(ident);
    let distinct = matches!(&f.args, FunctionArguments::List(list) if list.duplicate_treatment == Some(DuplicateTreatment::Distinct));
    if f.over.is_none() && f.filter.is_none() && !distinct {
        return Ok(());
    }
    let aggregate = name == "grouping" || crate::aggregate::aggregate_by_name(&name).is_some();
    let window = crate::window::window_by_name(&name).is_some();
    if aggregate || hw_scalar::function_by_name(&name).is_none() && !window {
        return Ok(());
    }
    let what = match (distinct, f.filter.is_some()) {
        (true, _) => "DISTINCT",
        (_, true) => "FILTER",
        _ if window => return Ok(()),
        _ => {
            let message = format!("OVER specified, but {name} is not a window function nor an aggregate function");
            return Err(error("42809", message));
        }
    };
    let message = match window {
        true => format!("{what} is not implemented for non-aggregate window functions"),
        false => format!("{what} specified, but {name} is not an aggregate function"),
    };
    Err(error(if window { "0A000" } else { "42809" }, message))
}
