//! Seeded tables, changes of them, and queries with aggregates: the material for comparing what is maintained, what is read
//! ad hoc and what PostgreSQL answers.
//!
//! A query has two texts, ours and PostgreSQL's. They are the same but where PostgreSQL's result depends on the order in
//! which it meets the rows: there its text fixes the order as ours is documented (lists without ORDER BY, ties), or computes
//! the exact value (moments of floats, which PostgreSQL itself rounds at every step). Values of one kind have one look, since
//! PostgreSQL shows any of equal ones, but for the column `n`, which only sums and moments read.

use crate::Random;
use crate::rows::Row;
use std::collections::BTreeMap;

/// Columns of the table, `id` first; their types.
pub const COLUMNS: &[(&str, &str)] = &[
    ("id", "int"),
    ("g", "int"),
    ("h", "text"),
    ("s", "smallint"),
    ("i", "int"),
    ("b", "bigint"),
    ("n", "numeric"),
    ("m", "numeric"),
    ("d", "numeric(10,2)"),
    ("r", "real"),
    ("f", "double precision"),
    ("e", "double precision"),
    ("t", "text"),
    ("u", "text"),
    ("o", "boolean"),
    ("dt", "date"),
    ("ts", "timestamp"),
    ("iv", "interval"),
];

/// `CREATE TABLE` of that name.
pub fn create_table(name: &str) -> String {
    let columns: Vec<String> = COLUMNS.iter().map(|(c, ty)| format!("{c} {ty}")).collect();
    format!("CREATE TABLE {name} ({}, PRIMARY KEY (id))", columns.join(", "))
}

/// A literal for a column.
fn literal(random: &mut Random, column: &str, ty: &str) -> String {
    let null = if column == "id" { 0 } else { 12 };
    if random.chance(null) {
        return "NULL".into();
    }
    let small = |random: &mut Random, n: u64| random.below(n) as i64 - (n / 2) as i64;
    match (column, ty) {
        ("g", _) => random.below(4).to_string(),
        ("h", _) => format!("'{}'", random.pick(&["x", "y", "Z"])),
        ("b", _) => (small(random, 41) * 100_000_000_003).to_string(),
        ("n", _) => random.pick(&["1", "1.0", "1.00", "-2.5", "123456.789", "0.0001", "7", "-1000", "0"]).to_string(),
        ("m", _) => format!("{}.{}5", small(random, 9), random.below(3)),
        (_, "numeric(10,2)") => format!("{}.{:02}", small(random, 2000), random.below(100)),
        (_, "real" | "double precision") => {
            // Eighths: sums of them are exact in any order.
            format!("{}", small(random, 65) as f64 / 8.0)
        }
        (_, "text") => {
            format!(
                "'{}'",
                random.pick(&["", "a", "b", "ab", "B", "\u{e9}", "a,b", "x y", "\"q\"", "it''s", "10", "9"])
            )
        }
        (_, "boolean") => random.pick(&["true", "false"]).to_string(),
        (_, "date") => format!("'2024-0{}-1{}'", 1 + random.below(9), random.below(9)),
        (_, "timestamp") => format!("'2024-02-2{} 1{}:00:0{}.5'", random.below(9), random.below(9), random.below(9)),
        (_, "interval") => {
            let spans =
                ["1 day", "02:00:00", "-00:00:01", "1 mon 3 days", "00:00:00.125", "10 days 01:00:00", "-2 mons"];
            format!("'{}'", random.pick(&spans))
        }
        _ => small(random, 21).to_string(),
    }
}

/// The rows that a table has, by `id`, as literals.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    rows: BTreeMap<u64, Vec<String>>,
    next: u64,
}

impl Contents {
    /// The next change: a statement for the table of that name, whatever the system.
    pub fn change(&mut self, random: &mut Random, table: &str) -> String {
        let many = self.rows.len() as u64;
        match random.below(10) {
            0..=4 if many < 60 => self.insert(random, table),
            0..=6 if many > 0 => self.update(random, table),
            _ if many > 0 => self.delete(random, table),
            _ => self.insert(random, table),
        }
    }

    fn insert(&mut self, random: &mut Random, table: &str) -> String {
        let mut rows = vec![];
        for _ in 0..1 + random.below(6) {
            self.next += 1;
            let mut row: Vec<String> = COLUMNS.iter().map(|(c, ty)| literal(random, c, ty)).collect();
            row[0] = self.next.to_string();
            rows.push(format!("({})", row.join(", ")));
            self.rows.insert(self.next, row);
        }
        format!("INSERT INTO {table} VALUES {}", rows.join(", "))
    }

    fn some_ids(&self, random: &mut Random) -> Vec<u64> {
        let all: Vec<u64> = self.rows.keys().copied().collect();
        let mut ids: Vec<u64> =
            (0..1 + random.below(4)).map(|_| all[random.below(all.len() as u64) as usize]).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn update(&mut self, random: &mut Random, table: &str) -> String {
        let ids = self.some_ids(random);
        let mut set = vec![];
        for _ in 0..1 + random.below(4) {
            let at = 1 + random.below(COLUMNS.len() as u64 - 1) as usize;
            let (column, ty) = COLUMNS[at];
            if set.iter().any(|(known, _)| *known == at) {
                continue;
            }
            set.push((at, literal(random, column, ty)));
        }
        for id in &ids {
            if let Some(row) = self.rows.get_mut(id) {
                set.iter().for_each(|(at, value)| row[*at].clone_from(value));
            }
        }
        let set: Vec<String> = set.iter().map(|(at, v)| format!("{} = {v}", COLUMNS[*at].0)).collect();
        format!("UPDATE {table} SET {} WHERE id IN ({})", set.join(", "), list(&ids))
    }

    fn delete(&mut self, random: &mut Random, table: &str) -> String {
        // Now and then all of them: groups end.
        let ids = if random.chance(10) { self.rows.keys().copied().collect() } else { self.some_ids(random) };
        ids.iter().for_each(|id| drop(self.rows.remove(id)));
        format!("DELETE FROM {table} WHERE id IN ({})", list(&ids))
    }

    /// All rows in one statement, last first. `None` without rows.
    pub fn insert_all(&self, table: &str) -> Option<String> {
        let rows: Vec<String> = self.rows.values().rev().map(|r| format!("({})", r.join(", "))).collect();
        (!rows.is_empty()).then(|| format!("INSERT INTO {table} VALUES {}", rows.join(", ")))
    }
}

fn list(ids: &[u64]) -> String {
    ids.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// A query over a table whose name stands where `{t}` is.
#[derive(Clone, Debug)]
pub struct Query {
    /// As we are asked.
    pub ours: String,
    /// As PostgreSQL is.
    pub postgres: String,
}

impl Query {
    /// Both texts over this table.
    pub fn over(&self, table: &str) -> Query {
        Query { ours: self.ours.replace("{t}", table), postgres: self.postgres.replace("{t}", table) }
    }
}

/// One aggregate, in both texts. `%` is where a FILTER may stand.
struct Item {
    ours: String,
    postgres: String,
}

fn both(text: String) -> Item {
    Item { postgres: text.clone(), ours: text }
}

/// Aggregates whose text is the same in both.
fn plain(random: &mut Random) -> Item {
    let number = random.pick(&["s", "i", "b", "n", "d", "r", "f", "i + s", "n * 2"]);
    let exact = random.pick(&["s", "i", "b", "n", "m", "d"]);
    let any = random.pick(&["s", "i", "b", "m", "d", "r", "f", "t", "dt", "ts", "iv"]);
    let own_look = random.pick(&["s", "i", "b", "m", "d", "f", "t", "o", "dt", "ts", "iv"]);
    let integer = random.pick(&["s", "i", "b"]);
    both(match random.below(12) {
        0 => "count(*)%".into(),
        1 => format!("count({any})%"),
        2 => format!("count(DISTINCT {own_look})%"),
        3 => format!("sum({number})%"),
        4 => format!("avg({number})%"),
        5 => format!("{}({any})%", random.pick(&["min", "max"])),
        6 => format!("{}(o)%", random.pick(&["bool_and", "bool_or", "every"])),
        7 => format!("{}({integer})%", random.pick(&["bit_and", "bit_or", "bit_xor"])),
        8 => format!("{}({exact})%", random.pick(&["var_pop", "var_samp", "variance"])),
        9 => format!("{}({exact})%", random.pick(&["stddev_pop", "stddev_samp", "stddev"])),
        10 => {
            let of = random.pick(&["i", "b", "m", "d", "f"]);
            format!("{}(DISTINCT {of})%", random.pick(&["sum", "avg", "sum", "max"]))
        }
        _ => format!("{}(iv)%", random.pick(&["sum", "avg"])),
    })
}

/// Variance and regression of floats: PostgreSQL computes the exact sums in numeric and rounds once.
fn moments(random: &mut Random) -> Item {
    // n * sum(ab) - sum(a) * sum(b), over the pairs that count.
    let spread = |a: &str, b: &str, only: &str| {
        let of = |e: &str| format!("sum(({e})::numeric) FILTER (WHERE {only} &)");
        format!(
            "(count(*) FILTER (WHERE {only} &) * {} - {} * {})",
            of(&format!("{a}::numeric * {b}::numeric")),
            of(a),
            of(b)
        )
    };
    // With enough decimals that rounding twice is rounding once.
    let float = |n: &str, d: &str| format!("(({n} + 0.{})/ ({d}))::float8", "0".repeat(60));
    if random.chance(40) {
        let column = random.pick(&["f", "e", "r"]);
        let func = random.pick(&["var_pop", "var_samp", "stddev_pop", "stddev_samp"]);
        let n = format!("(count({column}) FILTER (WHERE true &))");
        let by = if func.ends_with("pop") { n.clone() } else { format!("nullif({n} - 1, 0)") };
        let variance =
            float(&spread(column, column, &format!("{column} IS NOT NULL")), &format!("nullif({n}, 0) * {by}"));
        let value = if func.starts_with("std") { format!("sqrt({variance})") } else { variance };
        return Item { ours: format!("{func}({column})%"), postgres: value };
    }
    let func = random.pick(&[
        "covar_pop",
        "covar_samp",
        "corr",
        "regr_count",
        "regr_sxx",
        "regr_syy",
        "regr_sxy",
        "regr_avgx",
        "regr_avgy",
        "regr_r2",
        "regr_slope",
        "regr_intercept",
    ]);
    let (y, x) = if random.chance(50) { ("f", "e") } else { ("e", "f") };
    let only = format!("{y} IS NOT NULL AND {x} IS NOT NULL");
    let n = format!("nullif(count(*) FILTER (WHERE {only} &), 0)");
    let (sxx, syy) = (float(&spread(x, x, &only), &n), float(&spread(y, y, &only), &n));
    let sxy = float(&spread(x, y, &only), &n);
    let sum = |e: &str| format!("(sum({e}) FILTER (WHERE {only} &))");
    // Without a pair they are NULL, which greatest and least would leave out.
    let guarded = |e: String| format!("CASE WHEN coalesce({sxx}, 0) = 0 THEN NULL ELSE {e} END");
    let postgres = match func {
        "covar_pop" => float(&spread(x, y, &only), &format!("{n} * {n}")),
        "covar_samp" => float(&spread(x, y, &only), &format!("{n} * nullif({n} - 1, 0)")),
        "regr_count" => format!("(count(*) FILTER (WHERE {only} &))"),
        "regr_sxx" => sxx,
        "regr_syy" => syy,
        "regr_sxy" => sxy,
        "regr_avgx" => format!("{} / {n}", sum(x)),
        "regr_avgy" => format!("{} / {n}", sum(y)),
        "corr" => guarded(format!(
            "CASE WHEN {syy} = 0 THEN NULL ELSE greatest(least({sxy} / sqrt({sxx} * {syy}), 1), -1) END"
        )),
        "regr_r2" => {
            guarded(format!("CASE WHEN {syy} = 0 THEN 1 ELSE least(({sxy} * {sxy}) / ({sxx} * {syy}), 1) END"))
        }
        "regr_slope" => guarded(format!("{sxy} / {sxx}")),
        _ => guarded(format!("({} - {} * {sxy} / {sxx}) / {n}", sum(y), sum(x))),
    };
    Item { ours: format!("{func}({y}, {x})%"), postgres }
}

/// Lists: ours by its documented order, PostgreSQL's by the same, spelled out.
fn lists(random: &mut Random) -> Item {
    let key = random.pick(&["i", "t", "dt", "o", "m", "iv", "h"]);
    let direction = random.pick(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
    let any = random.pick(&["s", "i", "b", "m", "d", "t", "o", "dt", "ts", "iv"]);
    match random.below(10) {
        0 => Item { ours: "string_agg(t, ',')%".into(), postgres: "string_agg(t, ',' ORDER BY t)%".into() },
        1 => Item {
            ours: format!("string_agg(t, u ORDER BY {key}{direction})%"),
            postgres: format!("string_agg(t, u ORDER BY {key}{direction}, t, u)%"),
        },
        2 => both(format!("string_agg(DISTINCT t, '|' ORDER BY t{direction})%")),
        3 => Item { ours: format!("jsonb_agg({any})%"), postgres: format!("jsonb_agg({any} ORDER BY {any})%") },
        4 => Item {
            ours: format!("jsonb_agg({any} ORDER BY {key}{direction})%"),
            postgres: format!("jsonb_agg({any} ORDER BY {key}{direction}, {any})%"),
        },
        5 => Item {
            ours: format!("jsonb_object_agg(coalesce(t, '?'), {any} ORDER BY {key}{direction})%"),
            postgres: format!(
                "jsonb_object_agg(coalesce(t, '?'), {any} ORDER BY {key}{direction}, coalesce(t, '?'), {any})%"
            ),
        },
        6 => {
            let of = random.pick(&["f", "i", "m", "b", "iv"]);
            let fraction = random.pick(&["0", "0.1", "0.25", "0.5", "0.75", "0.9", "1"]);
            let direction = random.pick(&["", " DESC"]);
            both(format!("percentile_cont({fraction}) WITHIN GROUP (ORDER BY {of}{direction})%"))
        }
        7 => {
            let fraction = random.pick(&["0", "0.1", "0.25", "0.5", "0.75", "0.9", "1"]);
            let direction = random.pick(&["", " DESC"]);
            both(format!("percentile_disc({fraction}) WITHIN GROUP (ORDER BY {any}{direction})%"))
        }
        8 => {
            let direction = random.pick(&["", " DESC"]);
            both(format!("mode() WITHIN GROUP (ORDER BY {any}{direction})%"))
        }
        _ => {
            let all = format!("array_agg({any} ORDER BY {key}{direction}, {any})%");
            let (func, at) = if random.chance(50) {
                ("first", format!("({all})[1]"))
            } else {
                ("last", format!("({all})[count(*)%]"))
            };
            Item { ours: format!("{func}({any} ORDER BY {key}{direction})%"), postgres: at }
        }
    }
}

/// A query with some aggregates, grouped somehow.
pub fn query(random: &mut Random) -> Query {
    let grouping = [
        ("", ""),
        ("g", " GROUP BY g"),
        ("g, h", " GROUP BY g, h"),
        ("m", " GROUP BY m"),
        ("i % 3", " GROUP BY i % 3"),
        ("g, h, grouping(g, h)", " GROUP BY ROLLUP (g, h)"),
        ("g, h, grouping(g) AS gg, grouping(h, g) AS gh", " GROUP BY CUBE (g, h)"),
        ("g, o, h, grouping(g, o, h)", " GROUP BY GROUPING SETS ((g, o), (h), (), (g))"),
        ("g, h, m, grouping(m, h)", " GROUP BY g, ROLLUP (h, m)"),
        ("", " GROUP BY ()"),
        ("g", " GROUP BY g"),
        ("h", " GROUP BY h"),
    ];
    let (keys, group) = grouping[random.below(grouping.len() as u64) as usize];
    let (mut ours, mut postgres) = (vec![keys.to_string()], vec![keys.to_string()]);
    if keys.is_empty() {
        (ours, postgres) = (vec![], vec![]);
    }
    for _ in 0..2 + random.below(4) {
        let item = match random.below(10) {
            0..=3 => plain(random),
            4..=5 => moments(random),
            _ => lists(random),
        };
        let filter = match random.below(5) {
            0 => random.pick(&["i > 0", "o", "h = 'x'", "t IS NULL", "f < 1"]),
            _ => "",
        };
        let clause = if filter.is_empty() { String::new() } else { format!(" FILTER (WHERE {filter})") };
        let and = if filter.is_empty() { String::new() } else { format!("AND ({filter})") };
        let name = format!("c{}", ours.len());
        ours.push(format!("{} AS {name}", item.ours.replace('%', &clause)));
        postgres.push(format!("{} AS {name}", fill(&item.postgres, &clause, &and)));
    }
    let text = |items: Vec<String>| format!("SELECT {} FROM {{t}}{group}", items.join(", "));
    Query { ours: text(ours), postgres: text(postgres) }
}

fn fill(item: &str, clause: &str, and: &str) -> String {
    item.replace('%', clause).replace('&', and)
}

/// Rows in one order, for comparing and for people.
pub fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort();
    rows
}

/// The rows that only one of both has.
pub fn differ(left: &[Row], right: &[Row]) -> String {
    let show = |sign: char, row: &Row| {
        let values: Vec<&str> = row.iter().map(|v| v.as_deref().unwrap_or("NULL")).collect();
        format!("{sign} ({})\n", values.join(" | "))
    };
    let only = |sign: char, a: &[Row], b: &[Row]| -> String {
        a.iter().filter(|r| !b.contains(r)).take(10).map(|r| show(sign, r)).collect()
    };
    only('<', left, right) + &only('>', right, left)
}
