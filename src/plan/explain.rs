//! Plans as text, for people and snapshot tests: one operator a line, inputs indented below. A line ends with what the operator
//! holds and what a change of one row costs it.

mod held;
mod joined;

use crate::arranged::Kept;
use crate::flow::RowNumber;
use crate::{Aggregate, FlowPlan, OrderKey, ScalarExpr};
use hw_repr::{Datum, RelationDesc, SqlType};

/// The text of a plan as it is by itself, without a newline at its end.
pub fn explain(plan: &FlowPlan) -> String {
    lines(plan, &Kept::default()).join("\n")
}

/// The text of the arrangement from which a view that is `desc` is read: it stands above the plan's.
/// `kept_by` are the columns by which it is kept: [`crate::Object::kept_by`].
pub fn served(desc: &RelationDesc, kept_by: &[usize]) -> String {
    held::served(desc, kept_by)
}

/// The text of each operator of a plan, an operator before its inputs: the order in which a dataflow numbers them. A literal
/// in one may have more than one line. `kept` are the arrangements that joins find there.
pub fn lines(plan: &FlowPlan, kept: &Kept) -> Vec<String> {
    let mut out = vec![];
    walk(plan, 0, &joined::Readers::of(plan, kept), &mut out);
    out
}

fn list<T>(items: impl IntoIterator<Item = T>, f: impl Fn(T) -> String) -> String {
    items.into_iter().map(f).collect::<Vec<_>>().join(", ")
}

fn walk(plan: &FlowPlan, depth: usize, readers: &joined::Readers<'_>, out: &mut Vec<String>) {
    let line = match plan {
        FlowPlan::Get { id, name, desc, .. } => {
            format!("Get {name} ({id}) columns=[{}]", list(&desc.columns, |c| format!("{} {}", c.name, c.ty)))
        }
        FlowPlan::Constant { rows, desc } => {
            format!(
                "Constant rows={} columns=[{}]",
                rows.len(),
                list(&desc.columns, |c| format!("{} {}", c.name, c.ty))
            )
        }
        FlowPlan::Mfp { filter, project, names, .. } => {
            let filter = if filter.is_empty() { String::new() } else { format!(" filter=[{}]", list(filter, expr)) };
            let columns = list(project.iter().zip(names), |(e, n)| format!("{n} {} := {}", e.ty(), expr(e)));
            format!("Mfp{filter} project=[{columns}]")
        }
        FlowPlan::Join { .. } => joined::join(plan, readers),
        FlowPlan::DeltaJoin { .. } => joined::delta_join(plan, readers),
        FlowPlan::Reduce { group, aggregates, names, .. } => format!(
            "Reduce group=[{}] aggregates=[{}] names=[{}]",
            list(group, |g| format!("#{g}")),
            list(aggregates, aggregate),
            names.join(", ")
        ),
        FlowPlan::TopK { group, order, numbers, skip, limit, .. } => {
            let limit = limit.map_or(String::new(), |(kind, n)| format!(" {} <= {n}", number(kind)));
            let skip = if *skip == 0 { String::new() } else { format!(" row_number > {skip}") };
            format!(
                "TopK group=[{}] order=[{}] numbers=[{}]{skip}{limit}",
                list(group, |g| format!("#{g}")),
                list(order, order_key),
                list(numbers, |n| number(*n).to_string())
            )
        }
        FlowPlan::Distinct { .. } => "Distinct".into(),
        FlowPlan::Union { .. } => "Union".into(),
        FlowPlan::Negate { .. } => "Negate".into(),
        FlowPlan::Let { id, .. } => format!("Let s{id}"),
        FlowPlan::Shared { id, .. } => format!("Shared s{id}"),
        FlowPlan::FlatMap { keep, calls, outer, .. } => format!(
            "FlatMap{} keep=[{}] calls=[{}]",
            if *outer { " outer" } else { "" },
            list(keep, |c| format!("#{c}")),
            list(calls, |c| format!("{}({})", c.func.name(), list(&c.args, expr)))
        ),
    };
    let held = match plan {
        FlowPlan::Join { .. } | FlowPlan::DeltaJoin { .. } => String::new(),
        _ => held::held(plan),
    };
    out.push(format!("{:1$}{line}{held}", "", depth * 2));
    plan.inputs().into_iter().for_each(|i| walk(i, depth + 1, readers, out));
}

fn number(kind: RowNumber) -> &'static str {
    match kind {
        RowNumber::RowNumber => "row_number",
        RowNumber::Rank => "rank",
        RowNumber::DenseRank => "dense_rank",
    }
}

fn order_key(k: &OrderKey) -> String {
    let (direction, nulls) = (if k.descending { " desc" } else { "" }, if k.nulls_first { " nulls first" } else { "" });
    format!("#{}{direction}{nulls}", k.column)
}

fn aggregate(a: &Aggregate) -> String {
    let filter = a.filter.map_or(String::new(), |f| format!(" filter #{f}"));
    format!("{}{filter} {}", aggregate_call(a), a.ty)
}

/// An aggregate with its arguments and their order.
fn aggregate_call(a: &Aggregate) -> String {
    let mut args: Vec<String> = a.args().map(|c| format!("#{c}")).collect();
    if args.is_empty() {
        args.push("*".to_string());
    }
    args.extend(a.direct.iter().map(Datum::to_string));
    let distinct = if a.distinct { "distinct " } else { "" };
    let order = if a.order.is_empty() { String::new() } else { format!(" order by {}", list(&a.order, order_key)) };
    format!("{}({distinct}{}{order})", a.func.name(), args.join(", "))
}

/// The text of an expression; columns are `#position`.
pub fn expr(e: &ScalarExpr) -> String {
    match e {
        ScalarExpr::Column(i, _) => format!("#{i}"),
        ScalarExpr::Literal(d, ty) => literal(d, *ty),
        ScalarExpr::Call { func, args, .. } => match args.as_slice() {
            [a, b] if !func.name().starts_with(|c: char| c.is_ascii_alphabetic()) => {
                format!("({} {} {})", expr(a), func.name(), expr(b))
            }
            _ => format!("{}({})", func.name(), list(args, expr)),
        },
        ScalarExpr::Cast { expr: e, to, explicit } => {
            format!("{}({} as {to})", if *explicit { "cast" } else { "assign" }, expr(e))
        }
        ScalarExpr::And(all) => format!("({})", all.iter().map(expr).collect::<Vec<_>>().join(" and ")),
        ScalarExpr::Or(all) => format!("({})", all.iter().map(expr).collect::<Vec<_>>().join(" or ")),
        ScalarExpr::Not(e) => format!("not {}", expr(e)),
        ScalarExpr::IsNull(e) => format!("({} is null)", expr(e)),
        ScalarExpr::Case { branches, otherwise } => {
            let whens: String = branches.iter().map(|(c, r)| format!("when {} then {} ", expr(c), expr(r))).collect();
            format!("case {whens}else {} end", expr(otherwise))
        }
        ScalarExpr::Coalesce(all) => format!("coalesce({})", list(all, expr)),
    }
}

fn literal(d: &Datum, ty: SqlType) -> String {
    match d {
        Datum::Null => format!("null::{ty}"),
        Datum::Bool(v) => v.to_string(),
        Datum::Int2(v) => v.to_string(),
        Datum::Int4(v) => v.to_string(),
        Datum::Int8(v) => v.to_string(),
        Datum::Text(v) => format!("'{v}'"),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Kept, lines};
    use crate::flow::RowNumber;
    use crate::{Aggregate, AggregateFunc, FlowPlan, OrderKey, ScalarExpr};
    use hw_repr::{Column, Datum, GlobalId, RelationDesc, SqlType};

    fn table(append_only: bool) -> FlowPlan {
        let column = |i| Column { name: format!("c{i}"), ty: SqlType::Int4, nullable: true };
        let desc = RelationDesc { append_only, ..RelationDesc::new((0..2).map(column).collect()) };
        FlowPlan::Get { id: GlobalId(1), name: "t".into(), desc, columns: vec![0, 1] }
    }

    /// What stands behind the operator's own text.
    fn held(plan: &FlowPlan) -> String {
        lines(plan, &Kept::default())[0].split_once("; ").map(|(_, held)| held.to_string()).unwrap_or_default()
    }

    fn grouped(funcs: &[AggregateFunc], distinct: bool, append_only: bool) -> String {
        let one = |f: &AggregateFunc| Aggregate::new(*f, Some(1), distinct, None, SqlType::Int4);
        let aggregates = funcs.iter().map(one).collect();
        held(&FlowPlan::Reduce { input: Box::new(table(append_only)), group: vec![0], aggregates, names: vec![] })
    }

    #[test]
    fn groupings_say_what_they_keep_and_why() {
        use AggregateFunc::{ArrayAgg, Count, Max, Min, Sum};
        assert_eq!(grouped(&[Count, Sum], false, false), "hashed by (#0); holds: one row per group; change: O(1)");
        assert_eq!(
            grouped(&[Sum, Max], false, false),
            "hashed by (#0); holds: one row per group, values of max(#1), as rows may be retracted; \
             change: O(log k) of its group's k rows"
        );
        assert_eq!(
            grouped(&[Min, Max], true, true),
            "hashed by (#0); holds: one row per group, in it the value of min(distinct #1), max(distinct #1), as nothing is \
             retracted; change: O(1)"
        );
        assert_eq!(
            grouped(&[ArrayAgg, Max], false, false),
            "hashed by (#0); holds: one row per group, values of array_agg(#1), values of max(#1), as rows may be retracted; \
             change: its whole group, for array_agg(#1)"
        );
        assert_eq!(
            grouped(&[Sum], true, true),
            "hashed by (#0); holds: one row per group, distinct values of sum(distinct #1); change: O(1)"
        );
    }

    fn top(group: Vec<usize>, limit: Option<(RowNumber, u64)>, append_only: bool) -> String {
        let order = vec![OrderKey { column: 1, descending: false, nulls_first: false }];
        let input = Box::new(table(append_only));
        held(&FlowPlan::TopK { input, group, order, numbers: vec![], skip: 0, limit, names: vec![] })
    }

    #[test]
    fn first_rows_say_what_they_keep_and_why() {
        let row_number = |n| Some((RowNumber::RowNumber, n));
        assert_eq!(
            top(vec![0], row_number(1), true),
            "hashed by (#0); holds: the first row per group, as nothing is retracted; change: O(1)"
        );
        assert_eq!(
            top(vec![], row_number(3), false),
            "one group; holds: all rows, as some may be retracted; change: O(log k) of all k rows, and the first 3 rows"
        );
        // More than are scanned.
        assert_eq!(
            top(vec![0], row_number(33), true),
            "hashed by (#0); holds: all rows; change: O(log k) of its group's k rows, and the first 33 rows"
        );
        assert_eq!(
            top(vec![0], None, false),
            "hashed by (#0); holds: all rows, as some may be retracted; change: its whole group"
        );
    }

    #[test]
    fn readers_share_what_is_served() {
        let mut desc = RelationDesc::new(vec![Column { name: "a".into(), ty: SqlType::Int4, nullable: false }]);
        assert!(super::served(&desc, &[]).starts_with("Serve by all columns, there is no key, shared by all"));
        desc.keys = vec![vec![0]];
        assert!(super::served(&desc, &[]).starts_with("Serve by (#0), its key, shared by all"));
        assert!(super::served(&desc, &[1]).starts_with("Serve by (#1), its groups, shared by all"));
    }

    /// An operator's text stays one, whatever its literals hold: its place is the operator's number.
    #[test]
    fn a_newline_in_a_literal_begins_no_operator() {
        let row = Box::new(FlowPlan::Constant { rows: vec![(vec![], 1)], desc: RelationDesc::new(vec![]) });
        let text = ScalarExpr::Literal(Datum::Text("a\nb".into()), SqlType::Text);
        let plan = FlowPlan::Mfp { input: row, filter: vec![], project: vec![text], names: vec!["x".into()] };
        assert_eq!(
            lines(&plan, &Kept::default()),
            ["Mfp project=[x text := 'a\nb']; holds: nothing", "  Constant rows=1 columns=[]; holds: nothing"]
        );
    }
}
