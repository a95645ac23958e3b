//! Calls of functions that statements define, inlined: see [`crate::functions`].

use super::{Place, Typed, Typer, cast};
use crate::emit::{column_types, emit};
use crate::error::from_planner;
use crate::functions::{UserCall, as_expression, bound, choose, parameter, parameters};
use crate::planner::{Env, Target, plan_body};
use crate::sets::Sets;
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{Column, DFSchema, ExprSchema, Result as DfResult, TableReference};
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::logical_plan::{Subquery, SubqueryAlias};
use datafusion_expr::{Expr, LogicalPlan};
use hw_plan::ScalarExpr;
use hw_plan::function::FunctionDesc;
use hw_repr::{Datum, RelationDesc, SqlError, SqlState, SqlType};
use hw_scalar::CastContext;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The parts of an expression that inlining may make.
const PARTS_MAX: usize = 100_000;

impl Typer<'_> {
    /// A call, with its body in its place.
    pub(super) fn user_call(&mut self, call: &UserCall, args: &[&Expr], place: Place) -> Result<Typed, SqlError> {
        let values = args.iter().map(|a| self.typed(a, place)).collect::<Result<Vec<_>, _>>()?;
        let types: Vec<Option<SqlType>> = values.iter().map(Typed::ty).collect();
        let chosen = choose(self.env, call, &types)?;
        let (desc, result) = (chosen.desc()?, chosen.result()?);
        self.env.name_function(chosen.object.id);
        let mut arguments = vec![];
        for ((at, ty), declared) in chosen.given.iter().zip(&chosen.types).zip(&desc.parameters) {
            arguments.push(match at.and_then(|at| values.get(at)) {
                Some(value) => self.cast(value.clone(), *ty, CastContext::Implicit)?,
                None => {
                    let text = declared.default.as_deref().unwrap_or("NULL");
                    let expr = crate::parse::parse_expr(text)?;
                    let empty = RelationDesc::new(vec![]);
                    let plan = || crate::planner::plan_expr(self.env, &expr, "", &empty, Target::Value(*ty));
                    self.env.within(chosen.object.id, plan)?
                }
            });
        }
        let null = |a: &ScalarExpr| matches!(a, ScalarExpr::Literal(Datum::Null, _));
        if desc.strict && arguments.iter().any(null) {
            return Ok(Typed::known(ScalarExpr::Literal(Datum::Null, result)));
        }
        let body = self.body(&chosen, result, &arguments, place)?;
        let open: Vec<ScalarExpr> =
            arguments.iter().filter(|a| !matches!(a, ScalarExpr::Literal(..))).cloned().collect();
        let value = match desc.strict && !open.is_empty() {
            true => {
                let mut tests: Vec<ScalarExpr> = open.into_iter().map(|a| ScalarExpr::IsNull(Box::new(a))).collect();
                let any = if tests.len() == 1 { tests.remove(0) } else { ScalarExpr::Or(tests) };
                let null = ScalarExpr::Literal(Datum::Null, result);
                ScalarExpr::Case { branches: vec![(any, null)], otherwise: Box::new(body) }
            }
            false => body,
        };
        Ok(Typed::known(value))
    }

    /// The body over the arguments.
    fn body(
        &mut self,
        chosen: &crate::functions::Chosen,
        result: SqlType,
        arguments: &[ScalarExpr],
        place: Place,
    ) -> Result<ScalarExpr, SqlError> {
        let (env, desc) = (self.env, chosen.desc()?);
        let qualifier = env.fresh_name("hw_args");
        let (value, slots) = env.within(chosen.object.id, || {
            body_of(env, &chosen.object.name, desc, (&chosen.types, &qualifier), place, |typer, value| {
                typer.cast(value, result, CastContext::Assignment)
            })
        })?;
        let mut types: BTreeMap<usize, SqlType> = BTreeMap::new();
        column_types(&value, &mut types);
        let mut columns = vec![];
        for (at, slot) in slots.into_iter().enumerate() {
            let argument = match &slot {
                Expr::Column(c) if of(c, &qualifier) => parameter(desc, &c.name).and_then(|p| arguments.get(p)),
                _ => None,
            };
            columns.push(match (argument, types.get(&at)) {
                (Some(argument), _) => argument.clone(),
                (None, Some(ty)) => {
                    let slot = self.moved(slot, &qualifier, desc, arguments)?;
                    self.slot(slot, *ty).expr
                }
                (None, None) => ScalarExpr::Literal(Datum::Null, SqlType::Text),
            });
        }
        let whole = hw_plan::transform::substitute(&value, &columns);
        if parts(&whole) > PARTS_MAX {
            return Err(SqlError::new(SqlState::new("54001"), "statement too complex")
                .detail(format!("The body of function {} is part of it too often.", chosen.object.name))
                .hint("A parameter that the body names twice stands for its argument twice: call fewer functions in each other."));
        }
        Ok(if arguments.iter().any(|a| matches!(a, ScalarExpr::Literal(..))) { refold(whole) } else { whole })
    }

    /// A slot of the body as one of the caller: parameters within it become the arguments.
    fn moved(
        &mut self,
        slot: Expr,
        qualifier: &str,
        desc: &FunctionDesc,
        arguments: &[ScalarExpr],
    ) -> Result<Expr, SqlError> {
        let emitted = arguments.iter().map(|a| emit(a, &self.slots)).collect::<Result<Vec<_>, _>>()?;
        let mut into = Into { qualifier, desc, plain: emitted, outer: vec![], renamed: HashMap::new() };
        if crate::decorrelate::has_subquery(&slot) {
            for (argument, ty) in into.plain.clone().into_iter().zip(arguments.iter().map(ScalarExpr::ty)) {
                into.outer.push(outer(argument, self.schema, ty));
            }
            into.rename(&slot, || self.env.fresh_number());
        }
        slot.transform_up(|e| into.expr(e, false)).data().map_err(from_planner)
    }
}

/// The body over the relation of its parameters, as `finish` makes it of its value, and the slots that it reads.
pub(crate) fn body_of(
    env: &Env,
    function: &str,
    desc: &FunctionDesc,
    (types, qualifier): (&[SqlType], &str),
    place: Place,
    finish: impl FnOnce(&mut Typer, Typed) -> Result<ScalarExpr, SqlError>,
) -> Result<(ScalarExpr, Vec<Expr>), SqlError> {
    let schema = parameters(qualifier, desc, types)?;
    let expr = as_expression(bound(desc, function, qualifier)?);
    let planned = plan_body(env, expr, &schema)?;
    let mut inner = Typer::new(env, &schema, &[]);
    inner.sets = Sets::Refused("functions");
    let value = inner.typed(&planned, if place == Place::Conjunct { Place::Nested } else { place })?;
    let value = finish(&mut inner, value)?;
    Ok((value, inner.slots))
}

fn of(column: &Column, qualifier: &str) -> bool {
    column.relation.as_ref().is_some_and(|r| r.table() == qualifier)
}

/// An argument within a subquery of the body. `0A000` where it would be computed for each of its rows anew.
fn outer(argument: Expr, schema: &DFSchema, ty: SqlType) -> Result<Expr, SqlError> {
    if argument.is_volatile() || crate::decorrelate::has_subquery(&argument) {
        return Err(SqlError::unsupported(
            "a subquery or a volatile function is not supported as an argument of a function that reads relations",
        )
        .hint("Compute it in a subquery in FROM, and call the function with its column."));
    }
    let field = Arc::new(ty.field("", true));
    let outside = |e: Expr| match e {
        Expr::Column(c) => {
            let field = schema.field_from_column(&c).map_or_else(|_| Arc::clone(&field), Arc::clone);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, c)))
        }
        other => Ok(Transformed::no(other)),
    };
    argument.transform_up(outside).data().map_err(from_planner)
}

/// Puts the arguments in the place of the parameters.
struct Into<'a> {
    qualifier: &'a str,
    desc: &'a FunctionDesc,
    /// The arguments, where the caller's columns are.
    plain: Vec<Expr>,
    /// The arguments, within a subquery.
    outer: Vec<Result<Expr, SqlError>>,
    /// Relations of the body that have the name of one of the caller's, and their new names.
    renamed: HashMap<String, String>,
}

impl Into<'_> {
    /// Relations of the body get other names than those that the arguments name.
    fn rename(&mut self, slot: &Expr, number: impl Fn() -> u32) {
        let mut named = BTreeSet::new();
        for argument in &self.plain {
            let _ = argument.apply(|e| {
                if let Expr::Column(c) | Expr::OuterReferenceColumn(_, c) = e
                    && let Some(r) = &c.relation
                {
                    named.insert(r.table().to_string());
                }
                Ok(datafusion_common::tree_node::TreeNodeRecursion::Continue)
            });
        }
        let mut own = BTreeSet::new();
        let _ = slot.apply(|e| {
            if let Some(plan) = plan_in(e) {
                let _ = plan.apply_with_subqueries(|node| {
                    if let LogicalPlan::SubqueryAlias(s) = node {
                        own.insert(s.alias.table().to_string());
                    }
                    Ok(datafusion_common::tree_node::TreeNodeRecursion::Continue)
                });
            }
            Ok(datafusion_common::tree_node::TreeNodeRecursion::Continue)
        });
        self.renamed = own.intersection(&named).map(|n| (n.clone(), format!("{n}_{}", number()))).collect();
    }

    fn column(&self, column: Column) -> Column {
        match column.relation.as_ref().and_then(|r| self.renamed.get(r.table())) {
            Some(new) => Column::new(Some(TableReference::bare(new.clone())), column.name),
            None => column,
        }
    }

    /// One expression, whose parts are done.
    fn expr(&self, expr: Expr, inside: bool) -> DfResult<Transformed<Expr>> {
        Ok(Transformed::yes(match expr {
            Expr::Column(c) if of(&c, self.qualifier) => self.argument(&c, false)?,
            Expr::OuterReferenceColumn(_, c) if of(&c, self.qualifier) => self.argument(&c, inside)?,
            Expr::Column(c) if inside => Expr::Column(self.column(c)),
            Expr::OuterReferenceColumn(field, c) if inside => Expr::OuterReferenceColumn(field, self.column(c)),
            Expr::Alias(mut a) if inside => {
                let new = a.relation.as_ref().and_then(|r| self.renamed.get(r.table()));
                if let Some(new) = new.cloned() {
                    a.relation = Some(TableReference::bare(new));
                }
                Expr::Alias(a)
            }
            Expr::ScalarSubquery(q) => Expr::ScalarSubquery(self.subquery(q, inside)?),
            Expr::Exists(mut e) => {
                e.subquery = self.subquery(e.subquery, inside)?;
                Expr::Exists(e)
            }
            Expr::InSubquery(mut i) => {
                i.subquery = self.subquery(i.subquery, inside)?;
                Expr::InSubquery(i)
            }
            Expr::SetComparison(mut c) => {
                c.subquery = self.subquery(c.subquery, inside)?;
                Expr::SetComparison(c)
            }
            other => return Ok(Transformed::no(other)),
        }))
    }

    fn argument(&self, column: &Column, inside: bool) -> DfResult<Expr> {
        let missing = || SqlError::internal(format!("no parameter {}", column.name));
        let at = parameter(self.desc, &column.name).ok_or_else(missing).map_err(crate::error::external)?;
        let found = match inside {
            true => self.outer.get(at).cloned().unwrap_or_else(|| Err(missing())),
            false => self.plain.get(at).cloned().ok_or_else(missing),
        };
        found.map_err(crate::error::external)
    }

    /// A subquery. Those within it are done before it where it is one of another plan.
    fn subquery(&self, q: Subquery, inside: bool) -> DfResult<Subquery> {
        let subquery = if inside { q.subquery } else { Arc::new(self.plan(Arc::unwrap_or_clone(q.subquery))?) };
        let outer_ref_columns = subquery.all_out_ref_exprs();
        Ok(Subquery { subquery, outer_ref_columns, spans: q.spans })
    }

    fn plan(&self, plan: LogicalPlan) -> DfResult<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            let is_values = matches!(node, LogicalPlan::Values(_));
            let names = NamePreserver::new(&node);
            let node = node.map_expressions(|expr| {
                let name = names.save(&expr);
                let new = expr.transform_up(|e| self.expr(e, true))?;
                // The cells of VALUES have no names.
                Ok(if is_values { new } else { new.update_data(|e| name.restore(e)) })
            })?;
            node.map_data(|node| match node {
                LogicalPlan::SubqueryAlias(s) => match self.renamed.get(s.alias.table()) {
                    Some(new) => {
                        let alias = TableReference::bare(new.clone());
                        Ok(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(s.input, alias)?))
                    }
                    None => LogicalPlan::SubqueryAlias(s).recompute_schema(),
                },
                LogicalPlan::Subquery(q) => Ok(LogicalPlan::Subquery(self.subquery(q, true)?)),
                other => other.recompute_schema(),
            })
        })
        .data()
    }
}

fn plan_in(e: &Expr) -> Option<&LogicalPlan> {
    match e {
        Expr::ScalarSubquery(q) => Some(&q.subquery),
        Expr::Exists(e) => Some(&e.subquery.subquery),
        Expr::InSubquery(i) => Some(&i.subquery.subquery),
        Expr::SetComparison(c) => Some(&c.subquery.subquery),
        _ => None,
    }
}

/// How many parts an expression has.
fn parts(expr: &ScalarExpr) -> usize {
    1 + expr.children().into_iter().map(parts).sum::<usize>()
}

/// Calls whose arguments have become constants are computed.
fn refold(expr: ScalarExpr) -> ScalarExpr {
    let all = |es: Vec<ScalarExpr>| es.into_iter().map(refold).collect();
    let boxed = |e: Box<ScalarExpr>| Box::new(refold(*e));
    cast::fold(match expr {
        ScalarExpr::Column(..) | ScalarExpr::Literal(..) => return expr,
        ScalarExpr::Call { func, args, ty } => ScalarExpr::Call { func, args: all(args), ty },
        ScalarExpr::Cast { expr, to, explicit } => ScalarExpr::Cast { expr: boxed(expr), to, explicit },
        ScalarExpr::And(es) => ScalarExpr::And(all(es)),
        ScalarExpr::Or(es) => ScalarExpr::Or(all(es)),
        ScalarExpr::Coalesce(es) => ScalarExpr::Coalesce(all(es)),
        ScalarExpr::Not(e) => ScalarExpr::Not(boxed(e)),
        ScalarExpr::IsNull(e) => ScalarExpr::IsNull(boxed(e)),
        ScalarExpr::Case { branches, otherwise } => {
            let branches = branches.into_iter().map(|(c, r)| (refold(c), refold(r))).collect();
            ScalarExpr::Case { branches, otherwise: boxed(otherwise) }
        }
    })
}
