//! Plans of ad-hoc reads as text: one operator a line, inputs indented below, expressions as a user writes them.

use crate::planner::RelationSource;
use crate::prepare::shown_name;
use crate::value::from_scalar_value;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema};
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::logical_plan::{Aggregate, Join, Limit, Sort, TableScan};
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{Expr, LogicalPlan};
use hw_plan::seek::{Fixed, Way};
use hw_plan::{CatalogView, IndexExpr, Object, ObjectKind, ScalarExpr};
use hw_repr::{Datum, RelationDesc, SqlType};
use hw_scalar::ScalarExprUdf;
use std::fmt::Write;

/// The text of a plan, without a newline at its end.
pub(crate) fn explain(plan: &LogicalPlan, catalog: &dyn CatalogView) -> String {
    let mut out = String::new();
    walk(plan, 0, &[], catalog, &mut out);
    out.truncate(out.trim_end().len());
    out
}

/// `above` are the conditions of filters directly above, the last one is tried first.
fn walk(plan: &LogicalPlan, depth: usize, above: &[&Expr], catalog: &dyn CatalogView, out: &mut String) {
    let line = match plan {
        // Only a name: the line would say nothing.
        LogicalPlan::SubqueryAlias(s) => return walk(&s.input, depth, above, catalog, out),
        LogicalPlan::Projection(p) => format!("Project {}", list(&p.expr)),
        LogicalPlan::Filter(f) => format!("Filter {}", show(&f.predicate)),
        LogicalPlan::Aggregate(a) => aggregate(a),
        LogicalPlan::Sort(s) => sort(s),
        LogicalPlan::Limit(l) => limit(l),
        LogicalPlan::Join(j) => join(j),
        LogicalPlan::TableScan(t) => scan(t, above, catalog),
        LogicalPlan::Union(_) => "Union all".to_string(),
        LogicalPlan::Distinct(_) => "Distinct".to_string(),
        LogicalPlan::Values(v) => format!("Values {} rows", v.values.len()),
        LogicalPlan::EmptyRelation(e) if e.produce_one_row => "One row".to_string(),
        LogicalPlan::EmptyRelation(_) => "No rows".to_string(),
        other => match crate::sets::expand_of(other) {
            Some(node) => format!("Rows {}{}", if node.outer { "or NULLs " } else { "" }, list(&node.calls)),
            None => other.display().to_string(),
        },
    };
    // Writing to a String does not fail.
    let _ = writeln!(out, "{:1$}{line}", "", depth * 2);
    let conditions: Vec<&Expr> = match plan {
        LogicalPlan::Filter(f) => above.iter().copied().chain([&f.predicate]).collect(),
        LogicalPlan::Projection(p) if p.expr.iter().all(|e| matches!(e, Expr::Column(_))) => above.to_vec(),
        _ => vec![],
    };
    plan.inputs().into_iter().for_each(|i| walk(i, depth + 1, &conditions, catalog, out));
}

fn list(exprs: &[Expr]) -> String {
    exprs.iter().map(named).collect::<Vec<_>>().join(", ")
}

fn aggregate(a: &Aggregate) -> String {
    let mut parts = vec!["Aggregate".to_string()];
    if !a.aggr_expr.is_empty() {
        parts.push(list(&a.aggr_expr));
    }
    if !a.group_expr.is_empty() {
        parts.push(format!("group by {}", list(&a.group_expr)));
    }
    parts.join(" ")
}

fn sort(s: &Sort) -> String {
    let keys = s.expr.iter().map(|k| {
        let direction = if k.asc { "" } else { " desc" };
        let nulls = match (k.asc, k.nulls_first) {
            (true, true) => " nulls first",
            (false, false) => " nulls last",
            _ => "",
        };
        format!("{}{direction}{nulls}", show(&k.expr))
    });
    let fetch = s.fetch.map_or_else(String::new, |n| format!(" first {n} rows"));
    format!("Sort {}{fetch}", keys.collect::<Vec<_>>().join(", "))
}

fn limit(l: &Limit) -> String {
    let part = |word: &str, e: &Option<Box<Expr>>| e.as_ref().map(|e| format!("{word} {}", show(e)));
    let parts = [part("limit", &l.fetch), part("offset", &l.skip)];
    format!("Take {}", parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
}

fn join(j: &Join) -> String {
    let mut conditions: Vec<String> = j.on.iter().map(|(l, r)| format!("{} = {}", show(l), show(r))).collect();
    conditions.extend(j.filter.as_ref().map(show));
    let kind = j.join_type.to_string();
    match conditions.is_empty() {
        true => format!("Join {kind}"),
        false => format!("Join {kind} on {}", conditions.join(" and ")),
    }
}

fn scan(t: &TableScan, above: &[&Expr], catalog: &dyn CatalogView) -> String {
    let source = t.source.downcast_ref::<RelationSource>();
    let name = source.map_or_else(|| t.table_name.to_string(), |s| s.name.clone());
    let columns: Vec<&str> = t.projected_schema.fields().iter().map(|f| f.name().as_str()).collect();
    let conditions = t.filters.iter().chain(above.iter().rev().copied());
    let seek = source.and_then(|s| seek(s, conditions, catalog)).unwrap_or_default();
    format!("Scan {name} ({}){seek}", columns.join(", "))
}

/// By which key a scan seeks, and by how much of it: as reads choose, of all that the catalog has.
fn seek<'a>(
    source: &RelationSource,
    conditions: impl Iterator<Item = &'a Expr>,
    catalog: &dyn CatalogView,
) -> Option<String> {
    let object = catalog.get(source.id).filter(|o| !catalog.is_system(o.id))?;
    let (ObjectKind::Table(desc) | ObjectKind::MaterializedView { desc, .. }) = &object.kind else { return None };
    let schema = DFSchema::try_from(desc.schema().as_ref().clone()).ok()?;
    let keys = keys_of(&object, desc, catalog);
    let mut fixed = Fixed::default();
    for condition in conditions {
        let unqualified = condition.clone().transform(|e| match e {
            Expr::Column(c) => Ok(Transformed::yes(Expr::Column(Column::new_unqualified(c.name)))),
            other => Ok(Transformed::no(other)),
        });
        // One that may fail is tried on every row, but where an index has what it compares, of every row.
        let known = |e: &ScalarExpr| keys.iter().any(|key| key.expressions.contains(e));
        let mut certain = true;
        for part in split_conjunction(&unqualified.ok()?.data) {
            let lowered = crate::lower::lower_expr(part, &schema).ok();
            certain &= lowered.as_ref().is_some_and(|e| hw_scalar::never_fails(e, &known));
            lowered.into_iter().for_each(|e| fixed.add(e));
        }
        if !certain {
            break;
        }
    }
    let ways: Vec<Way> = keys.iter().map(|key| key.way(desc)).collect();
    let (best, parts, _) = hw_plan::seek::best(ways.iter(), &fixed);
    let key = keys.get(best).filter(|_| parts > 0)?;
    Some(format!(" seek by {} on {}", key.name, key.texts[..parts].join(", ")))
}

/// A key by which a relation is arranged.
struct Key {
    name: String,
    /// See [`ObjectKind::Index`].
    columns: Vec<usize>,
    expressions: Vec<ScalarExpr>,
    /// Its parts as they are written.
    texts: Vec<String>,
}

impl Key {
    fn of(name: &str, columns: &[usize], expressions: &[IndexExpr], desc: &RelationDesc) -> Key {
        let texts = crate::statement::index::parts(columns, expressions, desc);
        let expressions = expressions.iter().map(|e| e.expr.clone()).collect();
        Key { name: name.to_string(), columns: columns.to_vec(), expressions, texts }
    }

    fn way(&self, desc: &RelationDesc) -> Way<'_> {
        let types = desc.columns.iter().map(|c| c.ty).chain(self.expressions.iter().map(ScalarExpr::ty)).collect();
        Way { key: &self.columns, types, expressions: &self.expressions }
    }
}

/// In the order in which reads look at them: the relation's own, those of indexes on columns, those with expressions.
fn keys_of(object: &Object, desc: &RelationDesc, catalog: &dyn CatalogView) -> Vec<Key> {
    let own = match object.kept_by() {
        key if key.is_empty() => (0..desc.arity()).collect(),
        key => key,
    };
    let mut indexes: Vec<Key> = catalog
        .objects()
        .iter()
        .filter_map(|o| match &o.kind {
            ObjectKind::Index { on, columns, expressions } if *on == object.id => {
                Some(Key::of(&o.name, columns, expressions, desc))
            }
            _ => None,
        })
        .collect();
    indexes.sort_by_key(|key| !key.expressions.is_empty());
    std::iter::once(Key::of("its key", &own, &[], desc)).chain(indexes).collect()
}

/// An item with its name, where it has one of its own.
fn named(e: &Expr) -> String {
    match e {
        Expr::Alias(a) => {
            let (inner, name) = (show(&a.expr), shown_name(&a.name));
            if inner == name || inner.ends_with(&format!(".{name}")) { inner } else { format!("{inner} as {name}") }
        }
        other => show(other),
    }
}

fn column(name: &str) -> String {
    shown_name(name).to_string()
}

fn show(e: &Expr) -> String {
    match e {
        Expr::Alias(a) => show(&a.expr),
        Expr::Column(c) => match &c.relation {
            Some(r) if !r.table().starts_with("hw_") => format!("{}.{}", r.table(), column(&c.name)),
            _ => column(&c.name),
        },
        Expr::OuterReferenceColumn(_, c) => format!("outer {}", column(&c.name)),
        Expr::Literal(value, metadata) => match from_scalar_value(value, metadata.as_ref()) {
            Ok((datum, ty)) => literal(&datum, ty),
            Err(_) => value.to_string(),
        },
        Expr::BinaryExpr(b) => {
            format!("({} {} {})", show(&b.left), b.op.to_string().to_lowercase(), show(&b.right))
        }
        Expr::Not(e) => format!("not {}", show(e)),
        Expr::IsNull(e) => format!("({} is null)", show(e)),
        Expr::IsNotNull(e) => format!("({} is not null)", show(e)),
        Expr::InList(l) => {
            let not = if l.negated { "not " } else { "" };
            format!("({} {not}in ({}))", show(&l.expr), l.list.iter().map(show).collect::<Vec<_>>().join(", "))
        }
        Expr::Placeholder(p) => p.id.clone(),
        Expr::AggregateFunction(a) => call_of_aggregate(a),
        Expr::ScalarFunction(f) => {
            let args: Vec<String> = f.args.iter().map(show).collect();
            match ScalarExprUdf::expr(&f.func) {
                Some(inner) => scalar(inner, &args),
                None => format!("{}({})", f.name(), args.join(", ")),
            }
        }
        Expr::ScalarSubquery(_) => "(subquery)".to_string(),
        Expr::Exists(_) => "exists (subquery)".to_string(),
        Expr::InSubquery(i) => format!("{} in (subquery)", show(&i.expr)),
        other => other.to_string(),
    }
}

fn list_of(exprs: &[Expr]) -> String {
    exprs.iter().map(show).collect::<Vec<_>>().join(", ")
}

fn call_of_aggregate(a: &AggregateFunction) -> String {
    let constant = |e: &Expr| matches!(e, Expr::Literal(v, _) if !v.is_null());
    let args = match a.params.args.as_slice() {
        [one] if a.func.name() == "count" && constant(one) => "*".to_string(),
        args => {
            let own = crate::aggregate::call_of(&a.func);
            let (own_args, keys) = args.split_at(own.map_or(args.len(), |c| c.func.arity().min(args.len())));
            let direct = own.into_iter().flat_map(|c| &c.direct).map(ToString::to_string);
            let order = if keys.is_empty() { String::new() } else { format!(" order by {}", list_of(keys)) };
            own_args.iter().map(show).chain(direct).collect::<Vec<_>>().join(", ") + &order
        }
    };
    let distinct = if a.params.distinct { "distinct " } else { "" };
    let filter = a.params.filter.as_ref().map_or_else(String::new, |f| format!(" filter (where {})", show(f)));
    format!("{}({distinct}{args}){filter}", a.func.name())
}

/// One of our expressions, its columns replaced by the texts of the arguments.
fn scalar(e: &ScalarExpr, args: &[String]) -> String {
    let all = |list: &[ScalarExpr], with: &str| list.iter().map(|a| scalar(a, args)).collect::<Vec<_>>().join(with);
    match e {
        ScalarExpr::Column(i, _) => args.get(*i).cloned().unwrap_or_else(|| format!("#{i}")),
        ScalarExpr::Literal(d, ty) => literal(d, *ty),
        ScalarExpr::Call { func, args: operands, .. } => match operands.as_slice() {
            [a, b] if is_sign(func.name()) => format!("({} {} {})", scalar(a, args), func.name(), scalar(b, args)),
            [a] if func.name() == "neg" => format!("(-{})", scalar(a, args)),
            _ => format!("{}({})", func.name(), all(operands, ", ")),
        },
        ScalarExpr::Cast { expr, to, .. } => format!("{}::{to}", scalar(expr, args)),
        ScalarExpr::And(list) => format!("({})", all(list, " and ")),
        ScalarExpr::Or(list) => format!("({})", all(list, " or ")),
        ScalarExpr::Not(e) => format!("not {}", scalar(e, args)),
        ScalarExpr::IsNull(e) => format!("({} is null)", scalar(e, args)),
        ScalarExpr::Case { branches, otherwise } => {
            let whens: String =
                branches.iter().map(|(c, r)| format!("when {} then {} ", scalar(c, args), scalar(r, args))).collect();
            format!("case {whens}else {} end", scalar(otherwise, args))
        }
        ScalarExpr::Coalesce(list) => format!("coalesce({})", all(list, ", ")),
    }
}

fn is_sign(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_alphabetic()) || matches!(name, "like" | "ilike" | "is not distinct from")
}

fn literal(d: &Datum, ty: SqlType) -> String {
    let Some(text) = d.to_text() else { return "null".to_string() };
    match ty {
        SqlType::Bool => if text == "t" { "true" } else { "false" }.to_string(),
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Numeric(_) => text,
        SqlType::Text | SqlType::Varchar(_) => format!("'{}'", text.replace('\'', "''")),
        other => format!("'{}'::{other}", text.replace('\'', "''")),
    }
}
