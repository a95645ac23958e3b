//! The types that are drawn, their literals and the columns that tables have.
//!
//! Values are few, so that joins and groups meet; numbers of one value have one look in the tables, and floats are multiples
//! of a quarter, whose sums are exact in any order.

use super::tree::Tree;
use crate::Random;

/// A type of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ty {
    /// integer
    Int,
    /// bigint
    Big,
    /// text
    Text,
    /// numeric
    Num,
    /// numeric(10,2)
    Dec,
    /// double precision
    Float,
    /// boolean
    Bool,
    /// date
    Date,
    /// timestamp
    Ts,
    /// jsonb
    Json,
    /// integer[]
    Ints,
}

/// Names of columns and their types: one name has one type everywhere, so that USING and NATURAL fit.
pub const COLUMNS: &[(&str, Ty)] = &[
    ("i", Ty::Int),
    ("j", Ty::Int),
    ("b", Ty::Big),
    ("s", Ty::Text),
    ("t", Ty::Text),
    ("n", Ty::Num),
    ("d", Ty::Dec),
    ("f", Ty::Float),
    ("o", Ty::Bool),
    ("dt", Ty::Date),
    ("ts", Ty::Ts),
    ("js", Ty::Json),
    ("ar", Ty::Ints),
];

impl Ty {
    /// PostgreSQL's name.
    pub fn name(self) -> &'static str {
        match self {
            Ty::Int => "int",
            Ty::Big => "bigint",
            Ty::Text => "text",
            Ty::Num => "numeric",
            Ty::Dec => "numeric(10,2)",
            Ty::Float => "float8",
            Ty::Bool => "boolean",
            Ty::Date => "date",
            Ty::Ts => "timestamp",
            Ty::Json => "jsonb",
            Ty::Ints => "int[]",
        }
    }

    /// Literals that the shrinker puts in place of anything.
    pub fn simplest(self) -> &'static [&'static str] {
        match self {
            Ty::Int => &["1", "0", "NULL::int"],
            Ty::Big => &["1::bigint", "NULL::bigint"],
            Ty::Text => &["'a'::text", "NULL::text"],
            Ty::Num => &["1.5", "NULL::numeric"],
            Ty::Dec => &["1.50::numeric(10,2)", "NULL::numeric(10,2)"],
            Ty::Float => &["1::float8", "NULL::float8"],
            Ty::Bool => &["true", "false", "NULL::boolean"],
            Ty::Date => &["DATE '2020-01-01'", "NULL::date"],
            Ty::Ts => &["TIMESTAMP '2020-01-01'", "NULL::timestamp"],
            Ty::Json => &["'1'::jsonb", "NULL::jsonb"],
            Ty::Ints => &["ARRAY[1]", "NULL::int[]"],
        }
    }

    fn values(self) -> &'static [&'static str] {
        match self {
            Ty::Int => &["0", "1", "2", "3", "4", "-1", "7"],
            Ty::Big => &["0", "1", "2", "3", "3000000000", "-5000000000"],
            Ty::Text => &["'a'", "'b'", "'ab'", "'B'", "''", "'x y'", "'\u{20ac}'"],
            Ty::Num => &["0", "1", "1.5", "-2.25", "3", "0.001", "1000000000000.5"],
            Ty::Dec => &["0.00", "1.50", "1.00", "-2.25", "3.00"],
            Ty::Float => &["0", "1", "1.5", "-2.25", "3", "'NaN'", "'Infinity'"],
            Ty::Bool => &["true", "false"],
            Ty::Date => &["'2020-01-01'", "'2020-02-29'", "'2020-03-01'", "'1999-12-31'"],
            Ty::Ts => &["'2020-01-01 00:00:00'", "'2020-01-01 12:30:00'", "'2020-02-29 23:59:59.5'"],
            Ty::Json => &["'1'", "'{\"a\": 1, \"b\": \"x\"}'", "'{\"a\": 2}'", "'[1, 2]'", "'null'", "'\"a\"'"],
            Ty::Ints => &["'{}'", "'{1}'", "'{1,2}'", "'{2,NULL}'", "'{3,1,2}'"],
        }
    }

    /// A literal as a column takes it, NULL at times.
    pub fn plain(self, random: &mut Random) -> String {
        if random.chance(18) {
            return "NULL".into();
        }
        random.pick(self.values()).to_string()
    }

    /// A literal within a query, with its type where it needs one.
    pub fn literal(self, random: &mut Random) -> Tree {
        if random.chance(6) {
            return Tree::constant(self, &format!("NULL::{}", self.name()));
        }
        let value = random.pick(self.values());
        let bare = match self {
            Ty::Int | Ty::Bool => true,
            Ty::Text => random.chance(50),
            _ => false,
        };
        let words = if bare { value.to_string() } else { format!("{value}::{}", self.name()) };
        let negative = words.starts_with('-');
        Tree::constant(self, &if negative { format!("({words})") } else { words })
    }

    /// True where rows can be put in order by it.
    pub fn is_ordered(self) -> bool {
        self != Ty::Json
    }
}

/// A type of a query's column.
pub fn any(random: &mut Random) -> Ty {
    match random.below(24) {
        0..=7 => Ty::Int,
        8..=9 => Ty::Big,
        10..=13 => Ty::Text,
        14..=15 => Ty::Num,
        16 => Ty::Dec,
        17 => Ty::Float,
        18 => Ty::Bool,
        19 => Ty::Date,
        20 => Ty::Ts,
        21 => Ty::Json,
        22 => Ty::Ints,
        _ => Ty::Int,
    }
}

/// One that rows can be put in order by.
pub fn any_ordered(random: &mut Random) -> Ty {
    let ty = any(random);
    if ty.is_ordered() { ty } else { Ty::Int }
}
