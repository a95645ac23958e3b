//! COPY.

use super::create_table::columns_in;
use super::dml::{Fill, Table};
use super::modify::has_subquery;
use super::{Planning, finish_query, plain};
use crate::Planned;
use crate::parse::ast::{CopyAst, CopyOption, CopyWhat, NameRef};
use crate::planner::{Env, Target, plan_expr_in, plan_query};
use hw_plan::{CopyFormat, CopyOptions, Object, ObjectKind, ScalarExpr, Statement};
use hw_repr::{RelationDesc, SqlError, SqlState};

fn invalid(message: impl Into<String>, option: &CopyOption) -> SqlError {
    SqlError::new(SqlState::INVALID_PARAMETER, message).at(option.position)
}

/// One byte, or why not.
fn byte(option: &CopyOption) -> Result<u8, SqlError> {
    match option.value.as_deref().map(str::as_bytes) {
        Some([b]) => Ok(*b),
        _ => {
            let message = format!("COPY {} must be a single one-byte character", option.name);
            Err(SqlError::unsupported(message))
        }
    }
}

fn boolean(option: &CopyOption) -> Result<bool, SqlError> {
    match option.value.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("true" | "on" | "1") => Ok(true),
        Some("false" | "off" | "0") => Ok(false),
        Some(_) => Err(SqlError::new(SqlState::SYNTAX, format!("{} requires a Boolean value", option.name))),
    }
}

impl Planning<'_> {
    pub(super) fn copy(&self, copy: &CopyAst) -> Result<Planned, SqlError> {
        if let (CopyWhat::Table(name, columns), true) = (&copy.what, copy.from) {
            return self.copy_from(name, columns, copy);
        }
        let env = self.env(false);
        let (plan, relation) = match &copy.what {
            CopyWhat::Query(query) if super::writes(query) => {
                return Err(SqlError::unsupported("COPY of what a statement returns that writes is not supported yet"));
            }
            CopyWhat::Query(query) => (plan_query(&env, query.as_ref().clone())?, String::new()),
            CopyWhat::Table(name, columns) => {
                let object = self.relation(name)?;
                if matches!(object.kind, ObjectKind::View { .. }) {
                    let message = format!("cannot copy from view \"{}\"", name.name);
                    let e = SqlError::new(SqlState::WRONG_OBJECT_TYPE, message).at(name.position);
                    return Err(e.hint("Try the COPY (SELECT ...) TO variant."));
                }
                let desc = object.desc().cloned().unwrap_or_default();
                let positions = copied(&object, &desc, columns)?;
                let quote = |n: &str| format!("\"{}\"", n.replace('"', "\"\""));
                let list: Vec<String> = positions.iter().map(|c| quote(&desc.columns[*c].name)).collect();
                let text = format!("SELECT {} FROM {}.{}", list.join(", "), quote(&object.schema), quote(&object.name));
                (plan_query(&env, *crate::parse::parse_query(&text)?)?, object.name.clone())
            }
        };
        let query = finish_query(&env, plan)?;
        let names = query.desc.columns.iter().map(|c| c.name.clone()).collect();
        let options = options(&copy.options, names, relation, false)?;
        Ok(env.planned(Statement::CopyTo { options }, Some(query)))
    }

    fn copy_from(&self, name: &NameRef, columns: &[(String, usize)], copy: &CopyAst) -> Result<Planned, SqlError> {
        let table: Table = self.table(name)?;
        let columns_given = copied(&table.object, &table.desc, columns)?;
        let env = self.env(false);
        let mut identity = false;
        let mut fill = vec![];
        for (i, column) in table.desc.columns.iter().enumerate() {
            fill.push(match columns_given.iter().position(|c| *c == i) {
                Some(at) => ScalarExpr::Column(at, column.ty),
                None => {
                    let fill = self.fill(&env, &table, i)?;
                    identity |= matches!(fill, Fill::Identity);
                    fill.expr(column.ty)
                }
            });
        }
        let names = columns_given.iter().map(|c| table.desc.columns[*c].name.clone()).collect();
        let options = options(&copy.options, names, table.object.name.clone(), true)?;
        let filter = copy.filter.as_ref().map(|e| self.copy_filter(&env, &table, e)).transpose()?;
        let (table, columns) = (table.object.id, columns_given);
        plain(Statement::CopyFrom { table, columns, fill, filter, identity, options })
    }
}

impl Planning<'_> {
    /// `WHERE`
    fn copy_filter(&self, env: &Env, table: &Table, filter: &sqlparser::ast::Expr) -> Result<ScalarExpr, SqlError> {
        if has_subquery(filter) {
            return Err(SqlError::unsupported("cannot use subquery in COPY FROM WHERE condition"));
        }
        let planned = plan_expr_in(env, filter, &table.schema()?, Target::Condition)?;
        let mut read = vec![];
        columns_in(&planned, &mut read);
        let generated = |c: &&usize| table.object.rules.column(**c).is_some_and(|r| r.generated.is_some());
        match read.iter().find(generated) {
            None => Ok(planned),
            Some(c) => {
                let message = "generated columns are not supported in COPY FROM WHERE conditions";
                let e = SqlError::new(SqlState::new("42P10"), message);
                Err(e.detail(format!("Column \"{}\" is a generated column.", table.desc.columns[*c].name)))
            }
        }
    }
}

/// The columns that are copied, by position: generated ones never are.
fn copied(object: &Object, desc: &RelationDesc, columns: &[(String, usize)]) -> Result<Vec<usize>, SqlError> {
    let relation = &object.name;
    let generated = |c: &usize| object.rules.column(*c).is_some_and(|r| r.generated.is_some());
    if columns.is_empty() {
        return Ok((0..desc.arity()).filter(|c| !generated(c)).collect());
    }
    let mut out = vec![];
    for (name, position) in columns {
        let found = desc.columns.iter().position(|c| c.name == *name).ok_or_else(|| {
            let message = format!("column \"{name}\" of relation \"{relation}\" does not exist");
            SqlError::new(SqlState::UNDEFINED_COLUMN, message).at(*position)
        })?;
        if out.contains(&found) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message).at(*position));
        }
        if generated(&found) {
            let message = format!("column \"{name}\" is a generated column");
            let e = SqlError::new(SqlState::new("42P10"), message);
            return Err(e.detail("Generated columns cannot be used in COPY.").at(*position));
        }
        out.push(found);
    }
    Ok(out)
}

fn options(given: &[CopyOption], names: Vec<String>, relation: String, from: bool) -> Result<CopyOptions, SqlError> {
    for (n, option) in given.iter().enumerate() {
        if given[..n].iter().any(|o| o.name == option.name) {
            return Err(SqlError::new(SqlState::SYNTAX, "conflicting or redundant options").at(option.position));
        }
    }
    let find = |name: &str| given.iter().find(|o| o.name == name);
    let format = match find("format").map(|o| (o, o.value.clone().unwrap_or_default())) {
        None => CopyFormat::Text,
        Some((_, f)) if f == "text" => CopyFormat::Text,
        Some((_, f)) if f == "csv" => CopyFormat::Csv,
        Some((o, f)) if f == "binary" => {
            return Err(SqlError::unsupported("COPY in binary format is not supported yet").at(o.position));
        }
        Some((o, f)) => return Err(invalid(format!("COPY format \"{f}\" not recognized"), o)),
    };
    let csv = format == CopyFormat::Csv;
    let own_escape = find("escape").is_some();
    let mut out = CopyOptions {
        format,
        delimiter: if csv { b',' } else { b'\t' },
        null: if csv { String::new() } else { "\\N".into() },
        header: false,
        header_match: false,
        quote: b'"',
        escape: b'"',
        force_quote: vec![],
        force_not_null: vec![],
        force_null: vec![],
        names,
        relation,
    };
    for option in given {
        set(&mut out, option, from)?;
    }
    if csv && !own_escape {
        out.escape = out.quote;
    }
    check(&out, csv)?;
    Ok(out)
}

/// Takes one option but FORMAT.
fn set(out: &mut CopyOptions, option: &CopyOption, from: bool) -> Result<(), SqlError> {
    let csv_only = |what: &str| match out.format {
        CopyFormat::Csv => Ok(()),
        _ => Err(SqlError::unsupported(format!("COPY {what} available only in CSV mode"))),
    };
    match option.name.as_str() {
        "format" => {}
        "freeze" => drop(boolean(option)?),
        "delimiter" => out.delimiter = byte(option)?,
        "null" => out.null = option.value.clone().unwrap_or_default(),
        "header" if option.value.as_deref().is_some_and(|v| v.eq_ignore_ascii_case("match")) => {
            (out.header, out.header_match) = (true, true);
            if !from {
                return Err(SqlError::unsupported("cannot use \"match\" with HEADER in COPY TO"));
            }
        }
        "header" => {
            out.header = boolean(option)
                .map_err(|e| SqlError { message: "header requires a Boolean value or \"match\"".into(), ..e })?;
        }
        "quote" => {
            csv_only("quote")?;
            out.quote = byte(option)?;
        }
        "escape" => {
            csv_only("escape")?;
            out.escape = byte(option)?;
        }
        "force_quote" | "force_not_null" | "force_null" => {
            let what = option.name.replace('_', " ");
            let columns = named(option, &out.names)?;
            csv_only(&what)?;
            if (option.name == "force_quote") == from {
                let direction = if from { "TO" } else { "FROM" };
                return Err(SqlError::unsupported(format!("COPY {what} only available using COPY {direction}")));
            }
            match option.name.as_str() {
                "force_quote" => out.force_quote = columns,
                "force_null" => out.force_null = columns,
                _ => out.force_not_null = columns,
            }
        }
        "encoding" => {
            let encoding = option.value.clone().unwrap_or_default().to_ascii_lowercase();
            if !matches!(encoding.as_str(), "utf8" | "utf-8" | "unicode") {
                return Err(SqlError::unsupported(format!("COPY ENCODING '{encoding}' is not supported"))
                    .hint("The supported encoding is UTF8.")
                    .at(option.position));
            }
        }
        other => {
            let e = SqlError::new(SqlState::SYNTAX, format!("option \"{other}\" not recognized"));
            return Err(e.at(option.position));
        }
    }
    Ok(())
}

fn check(options: &CopyOptions, csv: bool) -> Result<(), SqlError> {
    let invalid = |m: &str| Err(SqlError::new(SqlState::INVALID_PARAMETER, m));
    if matches!(options.delimiter, b'\n' | b'\r') {
        return invalid("COPY delimiter cannot be newline or carriage return");
    }
    if options.null.contains(['\n', '\r']) {
        return invalid("COPY null representation cannot use newline or carriage return");
    }
    let reserved = b"\\.abcdefghijklmnopqrstuvwxyz0123456789";
    if !csv && reserved.contains(&options.delimiter) {
        return invalid(&format!("COPY delimiter cannot be \"{}\"", options.delimiter as char));
    }
    if csv && options.delimiter == options.quote {
        return invalid("COPY delimiter and quote must be different");
    }
    let unsupported = |m: &str| Err(SqlError::unsupported(m));
    if options.null.as_bytes().contains(&options.delimiter) {
        return unsupported("COPY delimiter must not appear in the NULL specification");
    }
    if csv && options.null.as_bytes().contains(&options.quote) {
        return unsupported("CSV quote character must not appear in the NULL specification");
    }
    Ok(())
}

/// Positions of the columns that an option names; all for `*`.
fn named(option: &CopyOption, names: &[String]) -> Result<Vec<usize>, SqlError> {
    let Some(columns) = &option.columns else {
        let message = format!("argument to option \"{}\" must be a list of column names", option.name);
        return Err(invalid(message, option));
    };
    if columns.is_empty() {
        return Ok((0..names.len()).collect());
    }
    let find = |(name, position): &(String, usize)| {
        names.iter().position(|n| n == name).ok_or_else(|| {
            let message = format!("column \"{name}\" does not exist");
            SqlError::new(SqlState::UNDEFINED_COLUMN, message).at(*position)
        })
    };
    columns.iter().map(find).collect()
}
