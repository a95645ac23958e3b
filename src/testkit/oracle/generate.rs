//! Random statements that change a table: small domains, so that rows meet, with NULLs and a few extremes.

use crate::random::Random;
use crate::rows::Refusal;
use tokio_postgres::Client;

/// A table and its columns.
#[derive(Clone, Debug)]
pub struct Table {
    name: String,
    /// (name, type, part of a key)
    columns: Vec<(String, String, bool)>,
}

impl Table {
    /// The table that `create` has created, if it is one; names in quotes are left alone.
    pub async fn read(client: &Client, create: &str) -> Result<Option<Table>, Refusal> {
        let lower = create.to_lowercase();
        let Some(rest) = lower.strip_prefix("create table ").filter(|r| !r.contains('"')) else { return Ok(None) };
        let name: String = rest.split(['(', ' ']).next().unwrap_or_default().to_string();
        let keys = key_columns(&lower);
        let described = client.prepare(&format!("SELECT * FROM {name}")).await?;
        let columns = described
            .columns()
            .iter()
            .map(|c| (c.name().to_string(), c.type_().name().to_string(), keys.contains(&c.name().to_string())))
            .collect();
        Ok(Some(Table { name, columns }))
    }

    /// A statement that changes it, or is refused.
    pub fn change(&self, random: &mut Random) -> String {
        match random.below(100) {
            0..=54 => self.insert(random),
            55..=74 => self.update(random),
            75..=97 => format!("DELETE FROM {}{}", self.name, self.condition(random)),
            _ => format!("DELETE FROM {}", self.name),
        }
    }

    fn insert(&self, random: &mut Random) -> String {
        let has_key = self.columns.iter().any(|c| c.2);
        let rows = match random.below(20) {
            0 if !has_key => 100,
            0..=7 => 1,
            _ => 1 + random.below(if has_key { 3 } else { 8 }),
        };
        let row = |random: &mut Random| {
            let values: Vec<String> = self.columns.iter().map(|(_, ty, key)| literal(random, ty, *key)).collect();
            format!("({})", values.join(", "))
        };
        let rows: Vec<String> = (0..rows).map(|_| row(random)).collect();
        format!("INSERT INTO {} VALUES {}", self.name, rows.join(", "))
    }

    fn update(&self, random: &mut Random) -> String {
        let (name, ty, key) = &self.columns[random.below(self.columns.len() as u64) as usize];
        let arithmetic = ["int4", "int8", "numeric"].contains(&ty.as_str());
        let value = if arithmetic && random.chance(50) {
            format!("{name} {} {}", random.pick(&["+", "-"]), 1 + random.below(3))
        } else {
            literal(random, ty, *key)
        };
        format!("UPDATE {} SET {name} = {value}{}", self.name, self.condition(random))
    }

    fn condition(&self, random: &mut Random) -> String {
        let (name, ty, key) = &self.columns[random.below(self.columns.len() as u64) as usize];
        if random.chance(15) {
            return format!(" WHERE {name} IS {}NULL", random.pick(&["", "NOT "]));
        }
        let operator = random.pick(&["=", "=", "=", "<", ">="]);
        format!(" WHERE {name} {operator} {}", literal_not_null(random, ty, *key))
    }
}

/// Columns that `create` declares as PRIMARY KEY, in lower case.
fn key_columns(create: &str) -> Vec<String> {
    let body = create.split_once('(').map_or("", |(_, b)| b);
    if let Some((_, list)) = body.split_once("primary key (") {
        let list = list.split(')').next().unwrap_or_default();
        return list.split(',').map(|c| c.trim().to_string()).collect();
    }
    body.split(',')
        .filter(|c| c.contains("primary key"))
        .filter_map(|c| c.split_whitespace().next().map(str::to_string))
        .collect()
}

fn literal(random: &mut Random, ty: &str, key: bool) -> String {
    if random.chance(if key { 1 } else { 12 }) {
        return "NULL".into();
    }
    literal_not_null(random, ty, key)
}

fn literal_not_null(random: &mut Random, ty: &str, key: bool) -> String {
    let quoted = |s: &str, ty: &str| format!("CAST('{s}' AS {ty})");
    let rare = random.chance(1);
    match ty {
        "int2" | "int4" | "int8" if key => random.below(60).to_string(),
        "int2" if rare => random.pick(&["32767", "-32768"]).into(),
        "int4" if rare => random.pick(&["2147483647", "-2147483648"]).into(),
        "int8" if rare => random.pick(&["9223372036854775807", "-9223372036854775808"]).into(),
        "int2" | "int4" | "int8" => match random.below(40) {
            0 => "0".into(),
            1..=6 => format!("-{}", 1 + random.below(3)),
            _ => (1 + random.below(6)).to_string(),
        },
        "numeric" => random.pick(&["0.5", "1", "1.0", "1.00", "2.25", "-3.10", "7", "0.00", "-0.01", "99.99"]).into(),
        "float4" => quoted(random.pick(&["0.1", "1.5", "-2", "1e30", "0.3333333", "-0", "NaN", "1e-30"]), "real"),
        "float8" => {
            let pool = ["0.1", "0.2", "1e300", "-1e300", "-0", "3", "1e-300", "2.5", "-7.25"];
            quoted(if rare { random.pick(&["NaN", "Infinity", "-Infinity"]) } else { random.pick(&pool) }, ty)
        }
        "bool" => random.pick(&["true", "false"]).into(),
        "text" | "varchar" => format!("'{}'", random.pick(&["a", "b", "c", "ann", "bob", "x", "", "é", "zz", "it''s"])),
        "bytea" => quoted(random.pick(&["\\x", "\\x00", "\\x00ff", "\\xdeadbeef"]), ty),
        "date" => quoted(random.pick(&["2024-02-29", "1999-12-31", "2024-03-01", "0001-01-01", "1970-01-01"]), ty),
        "time" => quoted(random.pick(&["00:00:00", "12:34:56.789", "23:59:59.999999"]), ty),
        "timestamp" => {
            quoted(random.pick(&["2024-02-29 12:34:56", "1969-12-31 23:59:59.5", "2024-03-01 00:00:00"]), ty)
        }
        "timestamptz" => quoted(random.pick(&["2024-02-29 12:34:56+02", "2024-02-29 10:34:56+00", "2000-01-01"]), ty),
        "interval" => {
            quoted(random.pick(&["1 month", "30 days", "1 day", "24:00:00", "-1 year 2 mons", "00:00:00.5"]), ty)
        }
        "uuid" => {
            quoted(random.pick(&["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000"]), ty)
        }
        "jsonb" => {
            quoted(random.pick(&["null", "1", "1.0", "\"a\"", "[1, 2]", "{\"a\": 1}", "{\"b\": {}, \"a\": 2}"]), ty)
        }
        other => quoted("", other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_both_spellings() {
        assert_eq!(key_columns("create table t (id int primary key, a text)"), ["id"]);
        assert_eq!(key_columns("create table t (a int, b int, primary key (a, b))"), ["a", "b"]);
        assert!(key_columns("create table t (a int)").is_empty());
    }
}
