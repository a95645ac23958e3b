//! The candidates of each function and operator, as `pg_proc` and `pg_operator` have them.

mod datetime;
mod json;
mod numbers;
mod sets;
mod text;

use hw_plan::Func;
use hw_repr::SqlType::{self, *};

/// One candidate. Types are base types: no typmod, text for varchar.
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    pub args: Vec<SqlType>,
    pub result: SqlType,
}

const NUM: SqlType = Numeric(None);
const INTS: [SqlType; 3] = [Int2, Int4, Int8];
const NUMBERS: [SqlType; 6] = [Int2, Int4, Int8, NUM, Float4, Float8];
const ALL: [SqlType; 19] = [
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    NUM,
    Text,
    Bytea,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    Jsonb,
    TimeTz,
    Bit(None),
    Varbit(None),
];

fn sig(args: &[SqlType], result: SqlType) -> Signature {
    Signature { args: args.to_vec(), result }
}

fn each(types: &[SqlType], arity: usize) -> Vec<Signature> {
    types.iter().map(|t| sig(&vec![*t; arity], *t)).collect()
}

/// `float4 op float8`, which PostgreSQL has and which decides what `integer op real` means.
fn mixed_floats(result: SqlType) -> [Signature; 2] {
    [sig(&[Float4, Float8], result), sig(&[Float8, Float4], result)]
}

/// The candidates of a function; empty for those resolved by rules of their own.
pub(crate) fn signatures(func: Func) -> Vec<Signature> {
    if func.is_set() {
        return sets::signatures(func);
    }
    if let Some(all) = numbers::signatures(func) {
        return all;
    }
    match func {
        Func::Add | Func::Sub | Func::Mul | Func::Div | Func::Mod | Func::Neg | Func::Abs => arithmetic(func),
        Func::Eq | Func::Ne | Func::Lt | Func::Le | Func::Gt | Func::Ge | Func::NotDistinct => {
            let mut all: Vec<Signature> = ALL.iter().map(|t| sig(&[*t, *t], Bool)).collect();
            all.extend(mixed_floats(Bool));
            all
        }
        Func::Floor
        | Func::Ceil
        | Func::Round
        | Func::Trunc
        | Func::Sqrt
        | Func::Power
        | Func::Exp
        | Func::Ln
        | Func::Sign => mathematics(func),
        Func::Greatest | Func::Least | Func::NullIf | Func::ConcatFn | Func::SingleRow => vec![],
        _ => datetime::signatures(func).unwrap_or_else(|| text::signatures(func)),
    }
}

fn arithmetic(func: Func) -> Vec<Signature> {
    let mut all = match func {
        Func::Neg | Func::Abs => each(&NUMBERS, 1),
        Func::Mod => {
            let mut all = each(&INTS, 2);
            all.push(sig(&[NUM, NUM], NUM));
            all
        }
        _ => {
            let mut all = each(&NUMBERS, 2);
            all.extend(mixed_floats(Float8));
            all
        }
    };
    let more: &[Signature] = &match func {
        Func::Add => vec![
            sig(&[Date, Int4], Date),
            sig(&[Int4, Date], Date),
            sig(&[Date, Interval], Timestamp),
            sig(&[Interval, Date], Timestamp),
            sig(&[Date, Time], Timestamp),
            sig(&[Time, Date], Timestamp),
            sig(&[Timestamp, Interval], Timestamp),
            sig(&[Interval, Timestamp], Timestamp),
            sig(&[TimestampTz, Interval], TimestampTz),
            sig(&[Interval, TimestampTz], TimestampTz),
            sig(&[Time, Interval], Time),
            sig(&[Interval, Time], Time),
            sig(&[TimeTz, Interval], TimeTz),
            sig(&[Interval, TimeTz], TimeTz),
            sig(&[Date, TimeTz], TimestampTz),
            sig(&[TimeTz, Date], TimestampTz),
            sig(&[Interval, Interval], Interval),
        ],
        Func::Sub => vec![
            sig(&[Date, Int4], Date),
            sig(&[Date, Date], Int4),
            sig(&[Date, Interval], Timestamp),
            sig(&[Timestamp, Timestamp], Interval),
            sig(&[TimestampTz, TimestampTz], Interval),
            sig(&[Timestamp, Interval], Timestamp),
            sig(&[TimestampTz, Interval], TimestampTz),
            sig(&[Time, Time], Interval),
            sig(&[Time, Interval], Time),
            sig(&[TimeTz, Interval], TimeTz),
            sig(&[Interval, Interval], Interval),
            sig(&[Jsonb, Text], Jsonb),
            sig(&[Jsonb, Int4], Jsonb),
            sig(&[Jsonb, json::texts()], Jsonb),
        ],
        Func::Mul => vec![sig(&[Interval, Float8], Interval), sig(&[Float8, Interval], Interval)],
        Func::Div => vec![sig(&[Interval, Float8], Interval)],
        Func::Neg => vec![sig(&[Interval], Interval)],
        _ => vec![],
    };
    all.extend_from_slice(more);
    all
}

fn mathematics(func: Func) -> Vec<Signature> {
    let arity = if func == Func::Power { 2 } else { 1 };
    let mut all = each(&[Float8, NUM], arity);
    if matches!(func, Func::Round | Func::Trunc) {
        all.push(sig(&[NUM, Int4], NUM));
    }
    all
}
