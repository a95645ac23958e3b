//! The expressions of a query outside of its subqueries, whose names are their own.

use sqlparser::ast::{Expr, Query, VisitMut, VisitorMut};
use std::marker::PhantomData;
use std::ops::ControlFlow;

/// Calls `each` on every expression, an outer one before those in it, until one breaks off.
pub(super) fn outside<B>(node: &mut impl VisitMut, each: impl FnMut(&mut Expr) -> ControlFlow<B>) -> ControlFlow<B> {
    node.visit(&mut Outside { depth: 0, each, broken: PhantomData })
}

struct Outside<F, B> {
    depth: usize,
    each: F,
    broken: PhantomData<B>,
}

impl<B, F: FnMut(&mut Expr) -> ControlFlow<B>> VisitorMut for Outside<F, B> {
    type Break = B;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<B> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<B> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<B> {
        if self.depth == 0 { (self.each)(expr) } else { ControlFlow::Continue(()) }
    }
}
