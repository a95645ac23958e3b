//! Rows of error collections: what failed, as four text columns, and back.
//!
//! Invariants: the row of an error depends on the failing row and on the plan alone, so that a retraction takes away what
//! the row brought; columns are SQLSTATE, message, expression, the failing row as JSON. Detail and hint stand behind the
//! message, each after a NUL, which no text has: an error without them has the bytes that it had in earlier versions.

use crate::layout::Layout;
use crate::types::{batch_of, schema_of};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use hw_plan::{Aggregate, FlowPlan, Func, ScalarExpr};
use hw_repr::{Datum, Diff, SqlError, SqlState, SqlType, Timestamp, UpdateBatch};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Raised whenever the texts of error rows change for the same failing row: what a checkpoint has of them under another
/// version is not gone on from, since later retractions would not meet it.
pub const ERRORS_VERSION: u8 = 1;

/// Bytes of an expression that names a column.
const NAME_BYTES_MAX: usize = 60;

/// An error on its way into the error collection.
pub struct ErrorRow {
    /// What is wrong.
    pub error: SqlError,
    /// Where.
    pub expression: String,
    /// Which row, as JSON.
    pub row: String,
    /// How often.
    pub diff: Diff,
}

/// An error of a view, as readers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewError {
    /// What is wrong: SQLSTATE, message, detail, hint.
    pub error: SqlError,
    /// The expression that fails.
    pub expression: String,
    /// The row on which it fails, as JSON.
    pub row: String,
}

impl ViewError {
    /// From the bytes of a served error row.
    pub fn decode(row: &[u8]) -> Result<ViewError, SqlError> {
        let columns = error_layout().decode(&mut std::iter::once(row))?;
        let text = |i: usize| columns[i].as_string::<i32>().value(0);
        let code = text(0).as_bytes().try_into().map_or(SqlState::INTERNAL, SqlState);
        let mut parts = text(1).split('\0');
        let mut next = || parts.next().filter(|p| !p.is_empty()).map(str::to_owned);
        let mut error = SqlError::new(code, next().unwrap_or_default());
        (error.detail, error.hint) = (next(), next());
        Ok(ViewError { error, expression: text(2).to_owned(), row: text(3).to_owned() })
    }
}

/// The columns of error rows.
pub fn error_types() -> Vec<SqlType> {
    vec![SqlType::Text; 4]
}

/// Error rows are arranged as a whole.
pub fn error_layout() -> Layout {
    Layout::served(&error_types(), &[0, 1, 2, 3])
}

/// Error rows as a batch.
pub fn error_batch(rows: &[ErrorRow], time: Timestamp) -> UpdateBatch {
    let text = |f: &dyn Fn(&ErrorRow) -> String| -> ArrayRef {
        Arc::new(StringArray::from(rows.iter().map(f).collect::<Vec<_>>()))
    };
    let columns = vec![
        text(&|r| r.error.code.as_str().to_owned()),
        text(&|r| message(&r.error)),
        text(&|r| r.expression.clone()),
        text(&|r| r.row.clone()),
    ];
    let diffs: Int64Array = rows.iter().map(|r| r.diff).collect::<Vec<_>>().into();
    let rows = batch_of(&schema_of(&error_types()), columns, rows.len()).expect("invariant: four text columns");
    UpdateBatch { rows, diffs: Some(Arc::new(diffs)), time }
}

/// The message, with what else is said.
fn message(e: &SqlError) -> String {
    match (&e.detail, &e.hint) {
        (None, None) => e.message.clone(),
        (detail, None) => format!("{}\0{}", e.message, detail.as_deref().unwrap_or_default()),
        (detail, Some(hint)) => format!("{}\0{}\0{hint}", e.message, detail.as_deref().unwrap_or_default()),
    }
}

/// Names of a plan's columns, none twice: an object with them has them all.
pub fn column_names(plan: &FlowPlan) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let once = |name: String| {
        let name = if name.is_empty() { "column".to_owned() } else { name };
        let (mut free, mut n) = (name.clone(), 1);
        while !seen.insert(free.clone()) {
            n += 1;
            free = format!("{name}_{n}");
        }
        free
    };
    hw_plan::stack::deep(|| raw_names(plan)).into_iter().map(once).collect()
}

fn raw_names(plan: &FlowPlan) -> Vec<String> {
    match plan {
        FlowPlan::Get { desc, .. } | FlowPlan::Constant { desc, .. } | FlowPlan::Shared { desc, .. } => {
            desc.columns.iter().map(|c| c.name.clone()).collect()
        }
        FlowPlan::Mfp { input, project, names, .. } => {
            let below = hw_plan::stack::deep(|| raw_names(input));
            let name = |(i, e): (usize, &ScalarExpr)| match names.get(i) {
                Some(name) if *name != format!("c{i}") => name.clone(),
                _ => short(expression_text(e, &below)).unwrap_or_else(|| format!("c{i}")),
            };
            project.iter().enumerate().map(name).collect()
        }
        FlowPlan::Reduce { input, group, aggregates, .. } => {
            let below = hw_plan::stack::deep(|| raw_names(input));
            let groups = group.iter().map(|g| below[*g].clone());
            let texts = aggregate_texts(aggregates, &below).into_iter().enumerate();
            groups.chain(texts.map(|(i, text)| short(text).unwrap_or_else(|| format!("aggregate_{i}")))).collect()
        }
        FlowPlan::Let { body, .. } => hw_plan::stack::deep(|| raw_names(body)),
        FlowPlan::Join { .. } => {
            plan.inputs().into_iter().flat_map(|i| hw_plan::stack::deep(|| raw_names(i))).collect()
        }
        FlowPlan::DeltaJoin { inputs, output, .. } => {
            let all: Vec<Vec<String>> = inputs.iter().map(|i| hw_plan::stack::deep(|| raw_names(i))).collect();
            output.iter().map(|(input, column)| all[*input][*column].clone()).collect()
        }
        FlowPlan::FlatMap { input, keep, calls, names, .. } => {
            let below = hw_plan::stack::deep(|| raw_names(input));
            let made = calls.iter().flat_map(|c| c.types.iter().map(|_| c.func.name()));
            let own = |(i, func): (usize, &str)| match names.get(keep.len() + i) {
                Some(name) if !name.starts_with("hw_") => name.clone(),
                _ => func.to_string(),
            };
            keep.iter().map(|c| below[*c].clone()).chain(made.enumerate().map(own)).collect()
        }
        FlowPlan::TopK { input, names, .. } => {
            let mut all = hw_plan::stack::deep(|| raw_names(input));
            all.extend(names.iter().skip(all.len()).cloned());
            all
        }
        FlowPlan::Distinct { .. } | FlowPlan::Negate { .. } | FlowPlan::Union { .. } => {
            plan.inputs().first().map(|i| hw_plan::stack::deep(|| raw_names(i))).unwrap_or_default()
        }
    }
}

/// A text that serves as a name: names of names would grow without bound.
fn short(text: String) -> Option<String> {
    (text.len() <= NAME_BYTES_MAX).then_some(text)
}

/// Aggregates for people, much as they would be written; `names` are those of the input's columns.
pub fn aggregate_texts(aggregates: &[Aggregate], names: &[String]) -> Vec<String> {
    let name = |i: usize| names.get(i).cloned().unwrap_or_else(|| format!("#{i}"));
    let text = |a: &Aggregate| {
        let args: Vec<String> = a.args().map(name).collect();
        let args = if args.is_empty() { "*".to_owned() } else { args.join(", ") };
        let distinct = if a.distinct { "DISTINCT " } else { "" };
        let filter = a.filter.map_or(String::new(), |f| format!(" FILTER (WHERE {})", name(f)));
        format!("{}({distinct}{args}){filter}", a.func.name())
    };
    aggregates.iter().map(text).collect()
}

/// A row as a JSON object: numbers, booleans and jsonb as they are, all else as text.
pub fn row_json(batch: &RecordBatch, row: usize, types: &[SqlType], names: &[String]) -> String {
    let mut out = String::from("{");
    for (i, (name, ty)) in names.iter().zip(types).enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        json_string(name, &mut out);
        out.push_str(": ");
        let text = Datum::from_array(batch.column(i).as_ref(), row, *ty).ok().and_then(|d| d.to_text());
        match (text, ty) {
            (None, _) => out.push_str("null"),
            (Some(text), SqlType::Bool) => out.push_str(if text.starts_with('t') { "true" } else { "false" }),
            (Some(text), SqlType::Jsonb | SqlType::Json) => out.push_str(&text),
            (Some(text), ty) if is_number(*ty) && text.ends_with(|c: char| c.is_ascii_digit()) => out.push_str(&text),
            (Some(text), _) => json_string(&text, &mut out),
        }
    }
    out.push('}');
    out
}

fn is_number(ty: SqlType) -> bool {
    matches!(
        ty,
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Float4 | SqlType::Float8 | SqlType::Numeric(_)
    )
}

fn json_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// An expression for people, much as it would be written; `names` are those of its columns.
pub fn expression_text(e: &ScalarExpr, names: &[String]) -> String {
    hw_plan::stack::deep(|| text_of(e, names))
}

fn text_of(e: &ScalarExpr, names: &[String]) -> String {
    let all = |es: &[ScalarExpr], by: &str| es.iter().map(|e| expression_text(e, names)).collect::<Vec<_>>().join(by);
    let inner = |e: &ScalarExpr| {
        let text = expression_text(e, names);
        if is_atom(e) { text } else { format!("({text})") }
    };
    let each = |es: &[ScalarExpr], by: &str| es.iter().map(inner).collect::<Vec<_>>().join(by);
    match e {
        ScalarExpr::Column(i, _) => names.get(*i).cloned().unwrap_or_else(|| format!("#{i}")),
        ScalarExpr::Literal(Datum::Null, _) => "NULL".into(),
        ScalarExpr::Literal(d, ty) => {
            let text = d.to_text().unwrap_or_default();
            match ty {
                SqlType::Bool => (if text.starts_with('t') { "true" } else { "false" }).into(),
                ty if is_number(*ty) => text,
                SqlType::Text => format!("'{}'", text.replace('\'', "''")),
                ty => format!("'{}'::{ty}", text.replace('\'', "''")),
            }
        }
        ScalarExpr::Call { func: Func::Neg, args, .. } => format!("-{}", each(args, ", ")),
        ScalarExpr::Call { func, args, .. } if args.len() == 2 && is_operator(*func) => {
            each(args, &format!(" {} ", func.name()))
        }
        ScalarExpr::Call { func, args, .. } => format!("{}({})", func.name(), all(args, ", ")),
        ScalarExpr::Cast { expr, to, .. } => format!("{}::{to}", inner(expr)),
        ScalarExpr::And(parts) => each(parts, " AND "),
        ScalarExpr::Or(parts) => each(parts, " OR "),
        ScalarExpr::Not(e) => format!("NOT {}", inner(e)),
        ScalarExpr::IsNull(e) => format!("{} IS NULL", inner(e)),
        ScalarExpr::Case { branches, otherwise } => {
            let when = |(c, r): &(ScalarExpr, ScalarExpr)| {
                format!("WHEN {} THEN {} ", expression_text(c, names), expression_text(r, names))
            };
            let whens: String = branches.iter().map(when).collect();
            format!("CASE {whens}ELSE {} END", expression_text(otherwise, names))
        }
        ScalarExpr::Coalesce(parts) => format!("COALESCE({})", all(parts, ", ")),
    }
}

fn is_operator(func: Func) -> bool {
    !func.name().starts_with(|c: char| c.is_ascii_alphabetic()) || func == Func::Like || func == Func::ILike
}

/// Needs no parentheses inside another expression.
fn is_atom(e: &ScalarExpr) -> bool {
    match e {
        ScalarExpr::Call { func, args, .. } => *func != Func::Neg && !(args.len() == 2 && is_operator(*func)),
        ScalarExpr::And(_) | ScalarExpr::Or(_) | ScalarExpr::Not(_) | ScalarExpr::IsNull(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hw_repr::{Column, RelationDesc};

    fn names(n: &[&str]) -> Vec<String> {
        n.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn errors_come_back_as_they_were() {
        let plain = SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero");
        let cases = [plain.clone(), plain.clone().detail("d"), plain.clone().hint("h"), plain.detail("d").hint("h")];
        for error in cases {
            let row = ErrorRow { error: error.clone(), expression: "a / b".into(), row: "{}".into(), diff: 1 };
            let mut body = hw_repr::ChunkBody::default();
            error_layout().encode(&error_batch(&[row], 1), &[], &mut body, usize::MAX, &mut |_| {});
            let back = ViewError::decode(body.row(0)).expect("decodes");
            assert_eq!(back, ViewError { error, expression: "a / b".into(), row: "{}".into() });
        }
    }

    #[test]
    fn expressions_read_as_they_are_written() {
        let a = || ScalarExpr::Column(0, SqlType::Int4);
        let call = |func, args| ScalarExpr::Call { func, args, ty: SqlType::Int4 };
        let literal = |d, ty| ScalarExpr::Literal(d, ty);
        let sum = call(Func::Add, vec![a(), literal(Datum::Int4(1), SqlType::Int4)]);
        let e = call(Func::Div, vec![sum, call(Func::Neg, vec![a()])]);
        assert_eq!(expression_text(&e, &names(&["a"])), "(a + 1) / (-a)");
        let cast = ScalarExpr::Cast { expr: Box::new(e), to: SqlType::Int2, explicit: true };
        assert_eq!(expression_text(&cast, &names(&["a"])), "((a + 1) / (-a))::smallint");
        let text = literal(Datum::Text("it's".into()), SqlType::Text);
        let lower = call(Func::Lower, vec![text]);
        assert_eq!(expression_text(&ScalarExpr::Coalesce(vec![lower, a()]), &[]), "COALESCE(lower('it''s'), #0)");
    }

    #[test]
    fn columns_without_a_name_of_their_own_are_called_what_they_are() {
        let column = |name: &str| Column { name: name.into(), ty: SqlType::Int8, nullable: true };
        let get = FlowPlan::Get {
            id: hw_repr::GlobalId(1),
            name: "t".into(),
            desc: RelationDesc::new(vec![column("a"), column("b")]),
            columns: vec![0, 1],
        };
        let col = |i| ScalarExpr::Column(i, SqlType::Int8);
        let positive = ScalarExpr::Call {
            func: Func::Gt,
            args: vec![col(0), ScalarExpr::Literal(Datum::Int8(0), SqlType::Int8)],
            ty: SqlType::Bool,
        };
        let project = vec![positive, col(1), col(0)];
        let mfp = FlowPlan::Mfp { input: Box::new(get), filter: vec![], project, names: names(&["c0", "c1", "given"]) };
        assert_eq!(column_names(&mfp), ["a > 0", "b", "given"]);
        let aggregate = |func, arg, distinct, filter| Aggregate::new(func, arg, distinct, filter, SqlType::Int8);
        use hw_plan::AggregateFunc::{BoolAnd, Count, Sum};
        let aggregates = vec![
            aggregate(Sum, Some(1), false, Some(0)),
            aggregate(Count, None, false, None),
            aggregate(BoolAnd, Some(2), true, None),
        ];
        let reduce = FlowPlan::Reduce { input: Box::new(mfp), group: vec![2], aggregates, names: vec![] };
        let expected = ["given", "sum(b) FILTER (WHERE a > 0)", "count(*)", "bool_and(DISTINCT given)"];
        assert_eq!(column_names(&reduce), expected);
    }

    #[test]
    fn columns_of_one_name_are_told_apart() {
        let column = |name: &str| Column { name: name.into(), ty: SqlType::Int8, nullable: true };
        let get = |id| FlowPlan::Get {
            id: hw_repr::GlobalId(id),
            name: "t".into(),
            desc: RelationDesc::new(vec![column("id"), column("id_2")]),
            columns: vec![0, 1],
        };
        let join = FlowPlan::Join { left: Box::new(get(1)), right: Box::new(get(2)), on: vec![], null_safe: vec![] };
        assert_eq!(column_names(&join), ["id", "id_2", "id_3", "id_2_2"]);
    }
}
