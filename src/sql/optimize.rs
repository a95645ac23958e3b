//! The chosen optimizer rules. Expressions that may fail are made volatile meanwhile, so that no rule computes them twice or
//! elsewhere, and conditions that may fail are hidden from the rules (see [`barrier`]): moved, they would meet rows that
//! PostgreSQL never shows them.

mod barrier;
mod unique;

pub(crate) use self::unique::Forgetful;
use self::unique::{ForgetUnique, GroupDistinct};
use crate::error::from_planner;
use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Result as DfResult, ScalarValue};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::logical_plan::Projection;
use datafusion_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion_optimizer::optimizer::{Optimizer, OptimizerContext, OptimizerRule};
use hw_repr::SqlError;
use hw_scalar::ScalarExprUdf;
use std::any::Any;
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Guard {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for Guard {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, args: &[DataType]) -> DfResult<DataType> {
        self.inner.return_type(args)
    }
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DfResult<FieldRef> {
        self.inner.return_field_from_args(args)
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }
}

type Rules = Vec<Arc<dyn OptimizerRule + Send + Sync>>;

/// For a maintained view: nothing that lowering does not know.
pub(crate) fn optimize_view(plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    use datafusion_optimizer as o;
    let rules: Rules = vec![
        Arc::new(o::eliminate_duplicated_expr::EliminateDuplicatedExpr::new()),
        Arc::new(o::extract_equijoin_predicate::ExtractEquijoinPredicate::new()),
        Arc::new(barrier::HideNullSafe),
        Arc::new(o::eliminate_filter::EliminateFilter::new()),
        Arc::new(o::eliminate_cross_join::EliminateCrossJoin::new()),
        Arc::new(o::push_down_filter::PushDownFilter::new()),
        Arc::new(ForgetUnique),
        Arc::new(o::optimize_projections::OptimizeProjections::new()),
    ];
    run(plan, rules)
}

/// For an ad-hoc read.
pub(crate) fn optimize_query(plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    use datafusion_optimizer as o;
    let rules: Rules = vec![
        Arc::new(GroupDistinct),
        Arc::new(o::decorrelate_predicate_subquery::DecorrelatePredicateSubquery::new()),
        Arc::new(o::eliminate_duplicated_expr::EliminateDuplicatedExpr::new()),
        Arc::new(o::extract_equijoin_predicate::ExtractEquijoinPredicate::new()),
        Arc::new(barrier::HideNullSafe),
        Arc::new(o::eliminate_filter::EliminateFilter::new()),
        Arc::new(o::eliminate_cross_join::EliminateCrossJoin::new()),
        Arc::new(o::propagate_empty_relation::PropagateEmptyRelation::new()),
        Arc::new(o::eliminate_outer_join::EliminateOuterJoin::new()),
        Arc::new(o::push_down_filter::PushDownFilter::new()),
        Arc::new(ForgetUnique),
        Arc::new(o::optimize_projections::OptimizeProjections::new()),
    ];
    run(plan, rules)?.transform_up_with_subqueries(first_rows).data().map_err(from_planner)
}

/// LIMIT beside the order that it counts by, which then knows how many rows are wanted: an order that nothing above reads is
/// left out by the physical planner, the one that decides which rows there are among them.
fn first_rows(plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    let LogicalPlan::Limit(mut limit) = plan else { return Ok(Transformed::no(plan)) };
    let number = |e: &Option<Box<Expr>>| match e.as_deref() {
        None => Some(None),
        Some(Expr::Literal(ScalarValue::Int64(n), _)) => n.map(|n| usize::try_from(n).ok()),
        Some(_) => None,
    };
    let (Some(skip), Some(fetch)) = (number(&limit.skip), number(&limit.fetch)) else {
        return Ok(Transformed::no(LogicalPlan::Limit(limit)));
    };
    match Arc::unwrap_or_clone(limit.input) {
        LogicalPlan::Projection(p) => {
            limit.input = p.input;
            let below = first_rows(LogicalPlan::Limit(limit))?.data;
            let plan = Projection::try_new_with_schema(p.expr, Arc::new(below), p.schema)?;
            Ok(Transformed::yes(LogicalPlan::Projection(plan)))
        }
        LogicalPlan::Sort(mut s) => {
            if s.fetch.is_none() {
                s.fetch = fetch.map(|n| n.saturating_add(skip.unwrap_or(0)));
            }
            limit.input = Arc::new(LogicalPlan::Sort(s));
            Ok(Transformed::yes(LogicalPlan::Limit(limit)))
        }
        other => {
            limit.input = Arc::new(other);
            Ok(Transformed::no(LogicalPlan::Limit(limit)))
        }
    }
}

fn run(plan: LogicalPlan, rules: Rules) -> Result<LogicalPlan, SqlError> {
    let context = OptimizerContext::new().without_query_execution_start_time().with_max_passes(4);
    let plan = barrier::raise(plan).and_then(guard).map_err(from_planner)?;
    let plan = Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {}).map_err(from_planner)?;
    let plan = unguard(plan).and_then(barrier::lower).map_err(from_planner)?;
    crate::sets::narrow(plan)
}

fn guard(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    rewrite(plan, &|f: ScalarFunction| match ScalarExprUdf::expr(&f.func) {
        Some(expr) if hw_scalar::may_fail(expr) => {
            let signature = Signature::new(f.func.signature().type_signature.clone(), Volatility::Volatile);
            let func = Arc::new(ScalarUDF::new_from_impl(Guard { inner: f.func, signature }));
            Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args: f.args }))
        }
        _ => Transformed::no(Expr::ScalarFunction(f)),
    })
}

fn unguard(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    rewrite(plan, &|f: ScalarFunction| {
        let any: &dyn Any = f.func.inner().as_ref();
        match any.downcast_ref::<Guard>() {
            Some(g) => {
                let func = Arc::clone(&g.inner);
                Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args: f.args }))
            }
            None => Transformed::no(Expr::ScalarFunction(f)),
        }
    })
}

fn rewrite(plan: LogicalPlan, f: &dyn Fn(ScalarFunction) -> Transformed<Expr>) -> DfResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let is_values = matches!(node, LogicalPlan::Values(_));
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let new = expr.transform_up(|e| match e {
                Expr::ScalarFunction(call) => Ok(f(call)),
                other => Ok(Transformed::no(other)),
            })?;
            // The cells of VALUES have no names.
            Ok(if is_values { new } else { new.update_data(|e| name.restore(e)) })
        })?
        .map_data(LogicalPlan::recompute_schema)
    })
    .data()
}
