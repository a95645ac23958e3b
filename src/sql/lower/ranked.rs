//! Numbers of rows and the first rows of an order: row_number, rank, dense_rank, LIMIT, OFFSET.

use super::{Lowering, lower_expr, names, refuse, refuse_jsonb};
use crate::window::{Kind, kind_of};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::{Sort as SortKey, WindowFunction, WindowFunctionDefinition};
use datafusion_expr::logical_plan::{Limit, Window};
use datafusion_expr::{Expr, LogicalPlan};
use hw_plan::flow::RowNumber;
use hw_plan::{FlowPlan, OrderKey, ScalarExpr};
use hw_repr::{Datum, SqlError, SqlType};

/// The input of a top-k with the columns that it is grouped and ordered by.
struct Keyed {
    project: Vec<ScalarExpr>,
    names: Vec<String>,
}

impl Keyed {
    fn new(input: &FlowPlan, schema: &DFSchema) -> Keyed {
        let project = input.types().into_iter().enumerate().map(|(i, t)| ScalarExpr::Column(i, t)).collect();
        Keyed { project, names: names(schema) }
    }

    fn column(&mut self, e: ScalarExpr) -> usize {
        match self.project.iter().position(|p| *p == e) {
            Some(found) => found,
            None => {
                self.project.push(e);
                self.names.push(format!("key{}", self.project.len()));
                self.project.len() - 1
            }
        }
    }

    fn order(&mut self, keys: &[SortKey], schema: &DFSchema) -> Result<Vec<OrderKey>, SqlError> {
        let mut order = vec![];
        for key in keys {
            let column = self.column(lower_expr(&key.expr, schema)?);
            order.push(OrderKey { column, descending: !key.asc, nulls_first: key.nulls_first });
        }
        Ok(order)
    }
}

fn number_kind(w: &WindowFunction) -> Option<RowNumber> {
    match &w.fun {
        WindowFunctionDefinition::WindowUDF(func) => match kind_of(func)? {
            Kind::RowNumber => Some(RowNumber::RowNumber),
            Kind::Rank => Some(RowNumber::Rank),
            Kind::DenseRank => Some(RowNumber::DenseRank),
            _ => None,
        },
        WindowFunctionDefinition::AggregateUDF(_) => None,
    }
}

fn call(expr: &Expr) -> Option<&WindowFunction> {
    match expr {
        Expr::Alias(a) => call(&a.expr),
        Expr::WindowFunction(w) => Some(w),
        _ => None,
    }
}

fn constant(e: Option<&Expr>) -> Result<Option<u64>, SqlError> {
    match e {
        None | Some(Expr::Literal(ScalarValue::Int64(None), _)) => Ok(None),
        Some(Expr::Literal(ScalarValue::Int64(Some(n)), _)) => Ok(Some(u64::try_from(*n).unwrap_or(0))),
        Some(_) => Err(refuse("LIMIT or OFFSET of an expression", "Write a number.")),
    }
}

impl Lowering<'_> {
    /// Each call puts its number behind the columns that there are.
    pub(super) fn window(&self, w: &Window) -> Result<FlowPlan, SqlError> {
        let mut plan = self.plan(&w.input)?;
        let schema = w.input.schema();
        let arity = plan.types().len();
        for (made, expr) in w.window_expr.iter().enumerate() {
            let found = call(expr).and_then(|w| number_kind(w).map(|kind| (w, kind)));
            let Some((call, kind)) = found else {
                let what = "a window function other than row_number, rank and dense_rank";
                return Err(refuse(what, "Aggregate in a subquery and join it."));
            };
            let mut keyed = Keyed::new(&plan, schema);
            keyed.names.extend((keyed.names.len()..keyed.project.len()).map(|i| format!("c{i}")));
            let by = call.params.partition_by.iter().map(|e| Ok(keyed.column(lower_expr(e, schema)?)));
            let group = by.collect::<Result<Vec<usize>, SqlError>>()?;
            let order = keyed.order(&call.params.order_by, schema)?;
            refuse_jsonb(&group.iter().map(|g| keyed.project[*g].ty()).collect::<Vec<_>>())?;
            let (width, columns) = (arity + made, keyed.project.len());
            let mut all = keyed.names.clone();
            let input =
                FlowPlan::Mfp { input: Box::new(plan), filter: vec![], project: keyed.project, names: keyed.names };
            let types = input.types();
            all.push(w.schema.field(width).name().clone());
            let numbers = vec![kind];
            let top =
                FlowPlan::TopK { input: Box::new(input), group, order, numbers, skip: 0, limit: None, names: all };
            // The keys go again.
            let mut project: Vec<ScalarExpr> = (0..width).map(|c| ScalarExpr::Column(c, types[c])).collect();
            project.push(ScalarExpr::Column(columns, SqlType::Int8));
            let names = names(&w.schema).into_iter().take(width + 1).collect();
            plan = FlowPlan::Mfp { input: Box::new(top), filter: vec![], project, names };
        }
        Ok(plan)
    }

    pub(super) fn limit(&self, l: &Limit) -> Result<FlowPlan, SqlError> {
        let (skip, fetch) = (constant(l.skip.as_deref())?.unwrap_or(0), constant(l.fetch.as_deref())?);
        if skip == 0 && fetch.is_none() {
            return self.plan(&l.input);
        }
        self.first_rows(&l.input, skip, fetch)
    }

    /// The first rows of a plan, in the order that it has.
    pub(super) fn first_rows(&self, plan: &LogicalPlan, skip: u64, fetch: Option<u64>) -> Result<FlowPlan, SqlError> {
        let (input, keys) = match plan {
            // The order may be by columns that are not selected.
            LogicalPlan::Projection(p) => {
                let input = self.first_rows(&p.input, skip, fetch)?;
                let project = p.expr.iter().map(|e| lower_expr(e, p.input.schema())).collect::<Result<Vec<_>, _>>()?;
                return Ok(FlowPlan::Mfp { input: Box::new(input), filter: vec![], project, names: names(&p.schema) });
            }
            LogicalPlan::SubqueryAlias(s) => return self.first_rows(&s.input, skip, fetch),
            LogicalPlan::Sort(s) if s.fetch.is_none() => (s.input.as_ref(), s.expr.as_slice()),
            other => (other, [].as_slice()),
        };
        let below = self.plan(input)?;
        let types = below.types();
        let mut keyed = Keyed::new(&below, input.schema());
        let order = keyed.order(keys, input.schema())?;
        if keyed.project.is_empty() {
            // Rows without columns are rows still.
            keyed.column(ScalarExpr::Literal(Datum::Bool(true), SqlType::Bool));
        }
        let all = keyed.names.clone();
        let input =
            FlowPlan::Mfp { input: Box::new(below), filter: vec![], project: keyed.project, names: keyed.names };
        let limit = fetch.map(|n| (RowNumber::RowNumber, n.saturating_add(skip)));
        let (group, numbers) = (vec![], vec![]);
        let top = FlowPlan::TopK { input: Box::new(input), group, order, numbers, skip, limit, names: all };
        let project = types.iter().enumerate().map(|(c, t)| ScalarExpr::Column(c, *t)).collect();
        Ok(FlowPlan::Mfp { input: Box::new(top), filter: vec![], project, names: names(plan.schema()) })
    }
}
