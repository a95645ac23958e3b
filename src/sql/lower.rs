//! Logical plan to [`FlowPlan`]: what a maintained view can hold. Everything else is refused with `0A000` and a hint
//! that names the construct; nothing is approximated.

mod join;
mod ranked;
mod scalar;

use crate::grouping::SharedInput;
use crate::planner::RelationSource;
use crate::typing::field_type;
use datafusion_common::DFSchema;
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::logical_plan::{
    Aggregate as DfAggregate, Distinct, Extension, Projection, Sort, TableScan, Values,
};
use datafusion_expr::{Expr, LogicalPlan};
use hw_plan::arranged::Kept;
use hw_plan::{Aggregate, AggregateFunc, CatalogView, FlowPlan, ScalarExpr};
use hw_repr::{Column, Datum, RelationDesc, SqlError, SqlType};
pub(crate) use scalar::lower_expr;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// Lowers an optimised plan. Its scans must be of relations in `catalog`.
pub fn lower(plan: &LogicalPlan, catalog: &dyn CatalogView) -> Result<FlowPlan, SqlError> {
    let lowering =
        Lowering { catalog, shared: RefCell::default(), bound: RefCell::default(), inputs: RefCell::default() };
    let mut flow = lowering.plan(plan)?;
    // What was met first may be read by what comes after it.
    for (id, value) in lowering.shared.into_inner().into_iter().rev() {
        flow = FlowPlan::Let { id, value: Box::new(value), body: Box::new(flow) };
    }
    hw_plan::transform::simplify(&mut flow);
    let kept = Kept::of(&flow, catalog, None);
    hw_plan::delta::choose(&mut flow, &kept);
    Ok(flow)
}

/// Numbers of what is bound here, beyond those that the planner gives.
const FIRST_BOUND: u32 = 1 << 24;

struct Lowering<'a> {
    catalog: &'a dyn CatalogView,
    /// What several branches read, with the number it has in the plan; inner ones first.
    shared: RefCell<Vec<(u32, FlowPlan)>>,
    /// Where in it those are that were bound here, by identity.
    bound: RefCell<HashMap<u64, Vec<usize>>>,
    /// What the planner shares, as it was met first.
    inputs: RefCell<HashMap<u32, Arc<LogicalPlan>>>,
}

fn refuse(what: &str, hint: &str) -> SqlError {
    SqlError::unsupported(format!("{what} is not supported in a materialized view yet")).hint(hint)
}

/// Grouping is by encoded bytes, and those of jsonb differ where only the scale of a number does.
fn refuse_jsonb(keys: &[SqlType]) -> Result<(), SqlError> {
    if keys.contains(&SqlType::Jsonb) {
        return Err(refuse("grouping or DISTINCT by jsonb", "Cast it to text where the text is what counts."));
    }
    Ok(())
}

/// An Mfp that keeps every column.
fn filtered(input: FlowPlan, filter: Vec<ScalarExpr>, schema: &DFSchema) -> FlowPlan {
    if filter.is_empty() {
        return input;
    }
    let project = input.types().into_iter().enumerate().map(|(i, t)| ScalarExpr::Column(i, t)).collect();
    FlowPlan::Mfp { input: Box::new(input), filter, project, names: names(schema) }
}

fn names(schema: &DFSchema) -> Vec<String> {
    schema.fields().iter().map(|f| crate::prepare::shown_name(f.name()).to_string()).collect()
}

fn conjuncts(expr: ScalarExpr) -> Vec<ScalarExpr> {
    match expr {
        ScalarExpr::And(all) => all.into_iter().flat_map(conjuncts).collect(),
        ScalarExpr::Literal(Datum::Bool(true), _) => vec![],
        other => vec![other],
    }
}

fn describe(schema: &DFSchema) -> Result<RelationDesc, SqlError> {
    let columns = schema
        .fields()
        .iter()
        .map(|f| {
            let name = crate::prepare::shown_name(f.name()).to_string();
            Ok(Column { name, ty: field_type(f)?, nullable: f.is_nullable() })
        })
        .collect::<Result<Vec<_>, SqlError>>()?;
    Ok(RelationDesc::new(columns))
}

impl Lowering<'_> {
    fn plan(&self, plan: &LogicalPlan) -> Result<FlowPlan, SqlError> {
        match plan {
            LogicalPlan::TableScan(scan) => self.get(scan),
            LogicalPlan::Projection(p) => self.projection(p),
            LogicalPlan::Filter(f) => {
                let input = self.plan(&f.input)?;
                let predicate = lower_expr(&f.predicate, f.input.schema())?;
                Ok(filtered(input, conjuncts(predicate), f.input.schema()))
            }
            LogicalPlan::Join(j) => self.join(j),
            LogicalPlan::Aggregate(a) => self.aggregate(a),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let input = self.plan(input)?;
                refuse_jsonb(&input.types())?;
                Ok(FlowPlan::Distinct { input: Box::new(input) })
            }
            LogicalPlan::Extension(_) if crate::sets::expand_of(plan).is_some() => self.sets(plan),
            LogicalPlan::Extension(e) => self.shared(e),
            LogicalPlan::Union(u) => {
                let inputs = u.inputs.iter().map(|i| self.plan(i)).collect::<Result<Vec<_>, _>>()?;
                Ok(FlowPlan::Union { inputs })
            }
            LogicalPlan::SubqueryAlias(s) => self.plan(&s.input),
            LogicalPlan::Values(v) => self.values(v),
            LogicalPlan::EmptyRelation(e) => {
                let rows = if e.produce_one_row { vec![(vec![], 1)] } else { vec![] };
                Ok(FlowPlan::Constant { rows, desc: describe(&e.schema)? })
            }
            LogicalPlan::Sort(s) if s.fetch.is_none() => self.plan(&s.input),
            LogicalPlan::Sort(s) => {
                let sort = LogicalPlan::Sort(Sort { fetch: None, ..s.clone() });
                self.first_rows(&sort, 0, s.fetch.map(|n| n as u64))
            }
            LogicalPlan::Limit(l) => self.limit(l),
            LogicalPlan::Distinct(Distinct::On(_)) => Err(refuse("DISTINCT ON", "Use min or max with GROUP BY.")),
            LogicalPlan::Window(w) => self.window(w),
            LogicalPlan::RecursiveQuery(_) => Err(refuse("WITH RECURSIVE", "Read it in an ad-hoc SELECT.")),
            other => Err(refuse(&other.display().to_string(), "Read it in an ad-hoc SELECT.")),
        }
    }

    fn get(&self, scan: &TableScan) -> Result<FlowPlan, SqlError> {
        let id = crate::scan_id(scan)
            .ok_or_else(|| SqlError::internal(format!("a scan of {} has no id", scan.table_name)))?;
        let object = self.catalog.get(id).ok_or_else(|| SqlError::internal(format!("{id} is gone")))?;
        let desc = object.desc().ok_or_else(|| SqlError::internal(format!("{id} is no relation")))?;
        let columns: Vec<usize> = match &scan.projection {
            Some(columns) => columns.clone(),
            None => (0..desc.arity()).collect(),
        };
        let name = scan.source.downcast_ref::<RelationSource>().map_or(object.name.as_str(), |s| s.name.as_str());
        let get = FlowPlan::Get {
            id,
            name: format!("{}.{name}", object.schema),
            desc: hw_plan::transform::choose_columns(desc, &columns),
            columns,
        };
        // Filters pushed to a scan are Inexact: they also stay above it.
        Ok(get)
    }

    fn projection(&self, p: &Projection) -> Result<FlowPlan, SqlError> {
        let input = self.plan(&p.input)?;
        let project = p.expr.iter().map(|e| lower_expr(e, p.input.schema())).collect::<Result<Vec<_>, _>>()?;
        Ok(FlowPlan::Mfp { input: Box::new(input), filter: vec![], project, names: names(&p.schema) })
    }

    /// A plan that is read at several places, made once; where it is one that is bound already, that. Subqueries in each
    /// other have copies of what is around them by the hundred.
    fn bind(&self, value: FlowPlan) -> FlowPlan {
        let mut shared = self.shared.borrow_mut();
        let names: Vec<String> = (0..value.types().len()).map(|i| format!("c{i}")).collect();
        let desc = hw_plan::transform::describe(&value, &names);
        let mut bound = self.bound.borrow_mut();
        let alike = bound.entry(hw_plan::arranged::identity(&value)).or_default();
        if let Some((id, _)) = alike.iter().filter_map(|at| shared.get(*at)).find(|(_, known)| *known == value) {
            return FlowPlan::Shared { id: *id, desc };
        }
        let id = FIRST_BOUND + shared.len() as u32;
        alike.push(shared.len());
        shared.push((id, value));
        FlowPlan::Shared { id, desc }
    }

    fn aggregate(&self, a: &DfAggregate) -> Result<FlowPlan, SqlError> {
        let schema = a.input.schema();
        let mut project: Vec<ScalarExpr> = vec![];
        let mut column = |e: ScalarExpr| match project.iter().position(|p| *p == e) {
            Some(found) => found,
            None => {
                project.push(e);
                project.len() - 1
            }
        };
        let mut group = vec![];
        for e in &a.group_expr {
            group.push(column(lower_expr(e, schema)?));
        }
        let mut aggregates = vec![];
        for e in &a.aggr_expr {
            aggregates.push(lower_aggregate(e, schema, &mut column)?);
        }
        let keys: Vec<SqlType> = group.iter().filter_map(|g| project.get(*g)).map(ScalarExpr::ty).collect();
        refuse_jsonb(&keys)?;
        let input = self.plan(&a.input)?;
        let inner = (0..project.len()).map(|i| format!("c{i}")).collect();
        let input = FlowPlan::Mfp { input: Box::new(input), filter: vec![], project, names: inner };
        Ok(FlowPlan::Reduce { input: Box::new(input), group, aggregates, names: names(&a.schema) })
    }

    /// The input of grouping sets: every branch reads the same one.
    fn shared(&self, extension: &Extension) -> Result<FlowPlan, SqlError> {
        let node = SharedInput::of(extension).ok_or_else(|| SqlError::internal("an unknown node of a plan"))?;
        let first = Arc::clone(self.inputs.borrow_mut().entry(node.id).or_insert_with(|| Arc::clone(&node.input)));
        if first != node.input {
            // The optimizer has put a condition of this branch alone into it: one that reads no column.
            return self.plan(&node.input);
        }
        let known = self.shared.borrow().iter().find(|(id, _)| *id == node.id).map(|(_, value)| value.clone());
        let value = match known {
            Some(value) => value,
            None => {
                let value = self.plan(&node.input)?;
                self.shared.borrow_mut().push((node.id, value.clone()));
                value
            }
        };
        let desc = hw_plan::transform::describe(&value, &names(node.input.schema()));
        Ok(FlowPlan::Shared { id: node.id, desc })
    }

    fn sets(&self, plan: &LogicalPlan) -> Result<FlowPlan, SqlError> {
        let node = crate::sets::expand_of(plan).ok_or_else(|| SqlError::internal("a set was lost"))?;
        let schema = node.input.schema();
        let calls = node.calls.iter().map(|c| crate::sets::lower_call(c, schema)).collect::<Result<_, _>>()?;
        let input = Box::new(self.plan(&node.input)?);
        let names = names(plan.schema());
        Ok(FlowPlan::FlatMap { input, keep: node.kept(), calls, outer: node.outer, names })
    }

    fn values(&self, v: &Values) -> Result<FlowPlan, SqlError> {
        let empty = DFSchema::empty();
        let mut rows = vec![];
        for row in &v.values {
            let row = row
                .iter()
                .map(|e| hw_scalar::eval_const(&lower_expr(e, &empty)?))
                .collect::<Result<Vec<Datum>, SqlError>>()?;
            rows.push((row, 1));
        }
        Ok(FlowPlan::Constant { rows, desc: describe(&v.schema)? })
    }
}

fn lower_aggregate(
    expr: &Expr,
    schema: &DFSchema,
    column: &mut impl FnMut(ScalarExpr) -> usize,
) -> Result<Aggregate, SqlError> {
    let call: &AggregateFunction = match expr {
        Expr::Alias(a) => return lower_aggregate(&a.expr, schema, column),
        Expr::AggregateFunction(call) => call,
        other => return Err(SqlError::internal(format!("{other} is no aggregate"))),
    };
    let own = crate::aggregate::call_of(&call.func)
        .ok_or_else(|| SqlError::internal(format!("aggregate {} is not ours", call.func.name())))?;
    let args = call.params.args.iter().map(|a| lower_expr(a, schema)).collect::<Result<Vec<_>, _>>()?;
    let types: Vec<SqlType> = args.iter().map(ScalarExpr::ty).collect();
    let never_null = matches!(args.as_slice(), [ScalarExpr::Literal(d, _)] if *d != Datum::Null);
    let filter = match &call.params.filter {
        Some(f) => Some(column(lower_expr(f, schema)?)),
        None => None,
    };
    if own.func == AggregateFunc::Count && never_null && !call.params.distinct {
        return Ok(Aggregate::new(own.func, None, false, filter, SqlType::Int8));
    }
    let columns: Vec<usize> = args.into_iter().map(column).collect();
    own.plan(&types, &columns, call.params.distinct, filter)
}
