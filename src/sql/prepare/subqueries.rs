//! Subqueries of aggregates, windows and groups under names of their own: `count(*) FILTER (WHERE EXISTS (...))` may stand
//! twice in a SELECT with two queries, and DataFusion tells expressions by names in which a query is not shown.

use super::{SUBQUERY, call};
use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, OrderByKind, Query, Select, SetExpr,
    VisitMut, VisitorMut,
};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;

/// Names the subqueries of what a SELECT computes, where some are in an aggregate, a window or a group.
pub(super) fn name_in_select(select: &mut Select) {
    if has_some(select) {
        let _ = visit_computed(select, &mut Namer { depth: 0 });
    }
}

/// Names those of ORDER BY like those of the SELECT, so that equal ones stay equal.
pub(super) fn name_in_order(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    if let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|o| &mut o.kind)
        && has_some(select)
    {
        let _ = keys.visit(&mut Namer { depth: 0 });
    }
}

fn has_some(select: &mut Select) -> bool {
    let mut finder = Finder::default();
    let _ = visit_computed(select, &mut finder);
    finder.found
}

/// Walks what a SELECT computes behind FROM and WHERE.
fn visit_computed<V: VisitorMut + Grouping>(select: &mut Select, visitor: &mut V) -> ControlFlow<V::Break> {
    select.distinct.visit(visitor)?;
    select.projection.visit(visitor)?;
    select.having.visit(visitor)?;
    visitor.begin_groups();
    match &mut select.group_by {
        GroupByExpr::Expressions(keys, _) => keys.visit(visitor),
        GroupByExpr::All(_) => ControlFlow::Continue(()),
    }
}

trait Grouping {
    fn begin_groups(&mut self) {}
}

/// Looks for subqueries in calls of aggregates, windows and, at last, keys of groups.
#[derive(Default)]
struct Finder {
    depth: usize,
    calls: usize,
    found: bool,
}

impl Finder {
    fn counts(expr: &Expr) -> bool {
        let Expr::Function(Function { name, over, .. }) = expr else { return false };
        let name = name.0.last().and_then(|p| p.as_ident()).map(crate::parse::ast_fold).unwrap_or_default();
        over.is_some() || crate::aggregate::aggregate_by_name(&name).is_some()
    }
}

impl Grouping for Finder {
    fn begin_groups(&mut self) {
        self.calls = 1;
    }
}

impl VisitorMut for Finder {
    type Break = ();
    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.found |= self.depth == 0 && self.calls > 0;
        self.depth += 1;
        ControlFlow::Continue(())
    }
    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.calls += usize::from(self.depth == 0 && Finder::counts(expr));
        ControlFlow::Continue(())
    }
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        self.calls -= usize::from(self.depth == 0 && Finder::counts(expr));
        ControlFlow::Continue(())
    }
}

/// Puts subqueries, not those inside others, into calls with a digest of their text for a name.
struct Namer {
    depth: usize,
}

impl Grouping for Namer {}

impl VisitorMut for Namer {
    type Break = ();
    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }
    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        let is_subquery = match expr {
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => true,
            // The query of these is no value by itself.
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => match named(right) {
                Some(query) => {
                    **right = query;
                    true
                }
                None => false,
            },
            _ => false,
        };
        if is_subquery {
            let mut digest = DefaultHasher::new();
            expr.to_string().hash(&mut digest);
            let name = format!("{SUBQUERY}{:016x}", digest.finish());
            *expr = call(name, vec![expr.clone()]);
        }
        ControlFlow::Continue(())
    }
}

/// The subquery in a call that names it.
fn named(expr: &Expr) -> Option<Expr> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), .. }) = expr else { return None };
    let ours = name.0.last().and_then(|p| p.as_ident()).is_some_and(|i| i.value.starts_with(SUBQUERY));
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(query))] if ours => Some(query.clone()),
        _ => None,
    }
}
